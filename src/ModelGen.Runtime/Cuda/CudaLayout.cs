using System.ComponentModel;

namespace ModelGen.Runtime;

/// <summary>The text of a module, which lies in the program's own image.</summary>
[EditorBrowsable(EditorBrowsableState.Never)]
public delegate ReadOnlySpan<byte> CudaModuleText();

/// <summary>Launches an entry point's kernels, one after the other.</summary>
/// <param name="entry">The number of the entry point.</param>
/// <param name="cuda">Where they go.</param>
[EditorBrowsable(EditorBrowsableState.Never)]
public delegate void CudaPlan(int entry, CudaLauncher cuda);

/// <summary>Where an entry point's plan takes its inputs and leaves its outputs on a device.</summary>
/// <param name="Inputs">Of each input, where it lies in the arena, in floats.</param>
/// <param name="Outputs">Of each output, where it lies in the arena, in floats.</param>
[EditorBrowsable(EditorBrowsableState.Never)]
public sealed record CudaEntry(long[] Inputs, long[] Outputs)
{
    /// <summary>Whether its launches are captured once, as a graph: every run launches the same, and one by one.</summary>
    public bool IsFixed { get; init; } = true;
}

/// <summary>Where parameters lie on a device, some of which are packed on the processor and are not there, and some are there twice.</summary>
/// <param name="Length">The length of the block in floats.</param>
/// <param name="Offsets">Where each begins, in floats, in the order of the processor's block, tables behind the others; none where all of them lie as there.</param>
/// <param name="Widened">The numbers of those that are single precision there, and packed on the processor, in ascending order.</param>
[EditorBrowsable(EditorBrowsableState.Never)]
public sealed record CudaWeights(long Length, long[] Offsets, int[] Widened)
{
    /// <summary>The copies in bfloat16 of single precision weights, which lie behind all of them.</summary>
    public CudaWeightCopy[] Copies { get; init; } = [];
}

/// <summary>A copy in bfloat16 of a weight on a device.</summary>
/// <param name="From">Where the weight begins, in floats.</param>
/// <param name="To">Where the copy begins, in floats.</param>
/// <param name="Length">The elements of both.</param>
[EditorBrowsable(EditorBrowsableState.Never)]
public readonly record struct CudaWeightCopy(long From, long To, long Length);

/// <summary>The module for devices of compute capability 9.0, which have products by groups of four warps (<c>wgmma</c>) that no other has.</summary>
/// <param name="Module">The PTX module.</param>
/// <param name="Kernels">The names of its kernels, which launches number behind those of the module for all devices.</param>
/// <param name="SharedBytes">Of each kernel, the shared memory that a block asks for.</param>
[EditorBrowsable(EditorBrowsableState.Never)]
public sealed record CudaWarpgroups(CudaModuleText Module, string[] Kernels, int[] SharedBytes);

/// <summary>How the factors of a product lie: rows of the left one times columns of the right one, or either of them the other way round.</summary>
[EditorBrowsable(EditorBrowsableState.Never)]
public enum CudaProductForm
{
    /// <summary>x y.</summary>
    NN,

    /// <summary>x yᵀ.</summary>
    NT,

    /// <summary>xᵀ y.</summary>
    TN,
}

/// <summary>What a product that a library computes is added to.</summary>
[EditorBrowsable(EditorBrowsableState.Never)]
public enum CudaProductSum
{
    /// <summary>Nothing.</summary>
    Replaces,

    /// <summary>The source.</summary>
    Adds,

    /// <summary>The source, where the run accumulates gradients.</summary>
    AddsWhenAccumulating,
}

/// <summary>What becomes of each sum of a product that a library computes.</summary>
[EditorBrowsable(EditorBrowsableState.Never)]
public enum CudaProductActivation
{
    /// <summary>It stays.</summary>
    None,

    /// <summary>max(x, 0).</summary>
    Relu,

    /// <summary>GELU in its form with tanh.</summary>
    GeluTanh,
}

/// <summary>A product that a library may compute, row-major; the result is single precision, and the factors are unless <paramref name="Precision"/> is bfloat16.</summary>
/// <param name="Form">How the factors lie.</param>
/// <param name="Precision">What is multiplied.</param>
/// <param name="Rows">Rows of the result.</param>
/// <param name="Columns">Columns of the result.</param>
/// <param name="Depth">The contracted extent.</param>
/// <param name="Strides">Of left factor, right factor, source and result, the elements from one row to the next.</param>
/// <param name="Alignments">Of left factor, right factor, source, result and bias, the bytes of which each begins at a multiple, 256 at most; zero for no bias.</param>
[EditorBrowsable(EditorBrowsableState.Never)]
public sealed record CudaProduct(CudaProductForm Form, CudaPrecision Precision, int Rows, int Columns, int Depth, int[] Strides, int[] Alignments)
{
    /// <summary>What the product is added to.</summary>
    public CudaProductSum Sum { get; init; }

    /// <summary>What becomes of each sum.</summary>
    public CudaProductActivation Activation { get; init; }

    /// <summary>What it is called in messages.</summary>
    internal string Name => FormattableString.Invariant($"MatMul{Form}_{Rows}x{Depth}x{Columns}");
}

/// <summary>What a session or a trainer needs on a device.</summary>
[EditorBrowsable(EditorBrowsableState.Never)]
public class CudaLayout
{
    /// <summary>The PTX module.</summary>
    public required CudaModuleText Module { get; init; }

    /// <summary>The names of the kernels in the module, in the order in which launches number them.</summary>
    public required string[] Kernels { get; init; }

    /// <summary>What devices load beside it that have products by groups of four warps; null where no product is large enough.</summary>
    public CudaWarpgroups? Warpgroups { get; init; }

    /// <summary>The products that cuBLASLt computes where it is installed; none where the declaration does not ask for it.</summary>
    public CudaProduct[] Products { get; init; } = [];

    /// <summary>The size of the arena on the device in bytes.</summary>
    public required long ArenaBytes { get; init; }

    /// <summary>Where parameters lie on the device; null where they lie there as on the processor.</summary>
    public CudaWeights? Weights { get; init; }

    /// <summary>Of each entry point, where its inputs and outputs lie.</summary>
    public required CudaEntry[] Entries { get; init; }

    /// <summary>Launches an entry point's kernels.</summary>
    public required CudaPlan Launch { get; init; }

    /// <summary>How a session is made on a device.</summary>
    /// <remarks>Virtual, so that NativeAOT leaves all of it out of a program whose models have no such layout.</remarks>
    internal virtual Func<CudaContext, CudaLayout, CudaExecution> ForSession(ModelWeights weights, ProgramLayout layout, int batch)
        => (context, cuda) => new CudaExecution(context, weights, layout, cuda, batch, moves: batch > 1);

    /// <summary>How a trainer is made on a device.</summary>
    /// <param name="weights">The model's weights.</param>
    /// <param name="layout">The trainer's entry points.</param>
    /// <param name="trainedLength">The parameters that have gradients, in floats.</param>
    /// <param name="slots">The optimizer's slots that lie on the device.</param>
    /// <param name="created">What is to be done with it; where that fails, all of it is gone.</param>
    /// <remarks>Virtual, as <see cref="ForSession"/>.</remarks>
    internal virtual Func<CudaContext, CudaLayout, CudaExecution> ForTrainer(ModelWeights weights, ProgramLayout layout, long trainedLength, int slots, Action<CudaTraining> created)
        => (context, cuda) =>
        {
            var execution = new CudaExecution(context, weights, layout, cuda, states: 2, moves: false);
            IDisposable whole = execution;
            try
            {
                var training = new CudaTraining(execution, layout.ModelName, trainedLength, slots);
                whole = training;
                created(training);
                return execution;
            }
            catch
            {
                whole.Dispose();
                throw;
            }
        };
}

/// <summary>What a kernel is given: an address in the device's memory, or an integer.</summary>
[EditorBrowsable(EditorBrowsableState.Never)]
public readonly struct CudaArgument
{
    internal CudaArgument(ulong bits) => Bits = bits;

    internal ulong Bits { get; }

    /// <summary>An integer.</summary>
    /// <param name="value">The integer.</param>
    public static implicit operator CudaArgument(int value) => new((uint)value);

    /// <summary>The address some floats further on.</summary>
    /// <param name="address">An address.</param>
    /// <param name="floats">How many.</param>
    public static CudaArgument operator +(CudaArgument address, long floats) => new(unchecked(address.Bits + (ulong)(floats * sizeof(float))));
}

/// <summary>Where emitted code launches kernels: the memory of one run of a plan, and the numbers that a loop runs to.</summary>
[EditorBrowsable(EditorBrowsableState.Never)]
public sealed unsafe class CudaLauncher
{
    private readonly CudaContext _context;
    private readonly CudaLayout _layout;
    private readonly nint[] _kernels;
    private readonly nint _stream;
    private readonly int[] _resident;
    private ExtentCounts _counts;

    internal CudaLauncher(CudaContext context, CudaLayout layout, nint[] kernels, nint stream)
        => (_context, _layout, _kernels, _stream, _resident) = (context, layout, kernels, stream, new int[kernels.Length]);

    /// <summary>The weight block.</summary>
    public CudaArgument Weights { get; internal set; }

    /// <summary>The gradient block, laid out as the weights.</summary>
    public CudaArgument Gradients { get; internal set; }

    /// <summary>The arena of intermediate buffers.</summary>
    public CudaArgument Arena { get; internal set; }

    /// <summary>What lives on between runs.</summary>
    public CudaArgument State { get; internal set; }

    /// <summary>The record of the run: seed, position, counts, and the scalars of a step.</summary>
    public CudaArgument Run { get; internal set; }

    /// <summary>Whether the device has loaded <see cref="CudaLayout.Warpgroups"/>.</summary>
    public bool HasWarpgroups => _kernels.Length > _layout.Kernels.Length;

    /// <summary>Whether a library computes any of <see cref="CudaLayout.Products"/>.</summary>
    public bool HasProducts => Products is not null;

    /// <summary>How many indices a named extent has in this run.</summary>
    /// <param name="extent">The extent's number.</param>
    public int Counts(int extent) => _counts[extent];

    /// <summary>Launches a kernel behind what was launched before.</summary>
    /// <param name="kernel">The kernel's number.</param>
    /// <param name="blocksX">Blocks of threads, the quicker index.</param>
    /// <param name="blocksY">Blocks of threads, the other one.</param>
    /// <param name="threads">Threads of a block.</param>
    /// <param name="arguments">The kernel's parameters, in order.</param>
    /// <exception cref="CudaException">The driver refuses.</exception>
    public void Launch(int kernel, int blocksX, int blocksY, int threads, ReadOnlySpan<CudaArgument> arguments)
    {
        void** addresses = stackalloc void*[arguments.Length];
        fixed (CudaArgument* first = arguments)
        {
            for (int i = 0; i < arguments.Length; i++)
            {
                addresses[i] = first + i;
            }

            int ofWarpgroups = kernel - _layout.Kernels.Length, shared = ofWarpgroups < 0 ? 0 : _layout.Warpgroups!.SharedBytes[ofWarpgroups];
            int result = _context.Driver.Launch(_kernels[kernel], blocksX, blocksY, threads, shared, _stream, addresses);
            if (result != 0)
            {
                throw _context.Driver.Error(result, "cuLaunchKernel", $"launching {(ofWarpgroups < 0 ? _layout.Kernels[kernel] : _layout.Warpgroups!.Kernels[ofWarpgroups])}");
            }
        }
    }

    /// <summary>Launches a kernel of kernels: blocks that are all there at once and stay, as many as the device holds or fewer, behind what was launched before.</summary>
    /// <param name="kernel">The kernel's number.</param>
    /// <param name="blocks">The most blocks that there is work for.</param>
    /// <param name="blocksOfProcessor">The most blocks on each of the device's processors.</param>
    /// <param name="threads">Threads of a block.</param>
    /// <param name="arguments">The kernel's parameters, in order.</param>
    /// <exception cref="CudaException">The driver refuses.</exception>
    public void LaunchTogether(int kernel, int blocks, int blocksOfProcessor, int threads, ReadOnlySpan<CudaArgument> arguments)
    {
        if (_resident[kernel] == 0)
        {
            _resident[kernel] = _context.Resident(_kernels[kernel], blocksOfProcessor, threads, _layout.Kernels[kernel]);
        }

        void** addresses = stackalloc void*[arguments.Length];
        fixed (CudaArgument* first = arguments)
        {
            for (int i = 0; i < arguments.Length; i++)
            {
                addresses[i] = first + i;
            }

            // One block waits for nobody: where a device does not hold several at once for certain, it does all the work.
            int grid = Math.Min(blocks, _resident[kernel]);
            int result = grid == 1 ? _context.Driver.Launch(_kernels[kernel], 1, 1, threads, 0, _stream, addresses) : _context.Driver.LaunchTogether(_kernels[kernel], grid, threads, _stream, addresses);
            if (result != 0)
            {
                throw _context.Driver.Error(result, grid == 1 ? "cuLaunchKernel" : "cuLaunchCooperativeKernel", $"launching {_layout.Kernels[kernel]}");
            }
        }
    }

    /// <summary>Whether a library computes one of <see cref="CudaLayout.Products"/>.</summary>
    /// <param name="product">Its number.</param>
    public bool Multiplies(int product) => Products is { } products && products.Computes(product);

    /// <summary>Has the library compute a product behind what was launched before.</summary>
    /// <param name="product">The number of one that it computes.</param>
    /// <param name="left">The left factor.</param>
    /// <param name="right">The right factor.</param>
    /// <param name="source">What the product is added to; the result where that is nothing.</param>
    /// <param name="result">The result.</param>
    /// <param name="bias">The vector that is added to each row.</param>
    /// <exception cref="CudaException">The library refuses.</exception>
    public void Multiply(int product, CudaArgument left, CudaArgument right, CudaArgument source, CudaArgument result, CudaArgument bias)
        => Products!.Multiply(product, left.Bits, right.Bits, source.Bits, result.Bits, bias.Bits, Run.Bits, _stream);

    /// <summary>The products of the layout that a library computes; null where there is none.</summary>
    internal CublasLtProducts? Products { get; init; }

    internal void SetCounts(in ExtentCounts counts) => _counts = counts;
}
