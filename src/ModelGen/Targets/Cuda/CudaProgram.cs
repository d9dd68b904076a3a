using System.Collections.Generic;
using System.Globalization;
using System.Linq;
using ModelGen.Compiler.Emit.Ptx;
using ModelGen.Compiler.Kernels;

namespace ModelGen.Compiler.Targets.Cuda;

/// <summary>One thing that a device does.</summary>
internal abstract record CudaStep;

/// <summary>An entry is launched with the addresses of a kernel's operands, or a function called by blocks that stay.</summary>
/// <param name="Kernel">The kernel, or a part of it.</param>
/// <param name="Entry">The entry's name, or the function's.</param>
/// <param name="Parameters">What the entry is given, by name and in order: <c>run</c>, <c>step</c>, <c>draw</c>, and <c>p0</c>, <c>p1</c>, … for operands.</param>
/// <param name="Blocks">Blocks of threads.</param>
/// <param name="Threads">Threads of a block.</param>
internal sealed record CudaLaunch(Kernel Kernel, string Entry, IReadOnlyList<string> Parameters, (int X, int Y) Blocks, int Threads) : CudaStep
{
    /// <summary>Whether blocks that stay may run it: all kernels of such a launch have blocks of one size, and share memory that leaves room for what the launch keeps there.</summary>
    public bool CanStay => Threads == PtxEmitter.Threads && ScratchBytes <= CudaGrouping.MostShared;

    /// <summary>Its instructions, until they are in a module under its name.</summary>
    public PtxEntry? Code { get; init; }

    /// <summary>What the device does for the kernel where there is a choice.</summary>
    public CudaKernelPlan? Plan { get; init; }

    /// <summary>Bytes that the threads of a block share, of those that need no asking.</summary>
    public int ScratchBytes { get; init; }

    /// <summary>Whether its blocks have memory that their threads share.</summary>
    public bool Shares => ScratchBytes > 0;

    /// <summary>Of blocks that stay, whether each computes all of it for itself.</summary>
    public bool IsEverywhere { get; init; }

    /// <summary>Of blocks that stay, the one that takes the kernel's first block, counted around: those ahead of it have work already.</summary>
    public int First { get; init; }

    /// <summary>Of kernels whose rounding is drawn, the number that tells this one's draws from those of all others of the module, which may be the same entry's.</summary>
    public int Draw { get; init; }

    /// <summary>Bytes of such memory that the launch asks for, beside what the entry declares.</summary>
    public int SharedBytes { get; init; }

    /// <summary>Whether a parameter is the address of an operand.</summary>
    public static bool IsOperand(string parameter) => parameter[0] == 'p';

    /// <summary>The operand whose address a parameter is.</summary>
    public KernelOperand OperandOf(string parameter) => Kernel.Operands[IndexOf(parameter)];

    /// <summary>The index of that operand.</summary>
    public static int IndexOf(string parameter) => int.Parse(parameter.Substring(1), CultureInfo.InvariantCulture);
}

/// <summary>Steps for each step of a loop, whose number every launch gets.</summary>
internal sealed record CudaLoop(LoopKernel Loop, IReadOnlyList<CudaStep> Body) : CudaStep;

/// <summary>What is launched for a product by groups of four warps where the device has these, and otherwise.</summary>
/// <param name="Warpgroups">Launches of the module for such devices: what packs the factors, the product, and what adds its parts.</param>
/// <param name="Otherwise">The launch of the module for all devices.</param>
internal sealed record CudaChoice(IReadOnlyList<CudaLaunch> Warpgroups, CudaLaunch Otherwise) : CudaStep
{
    /// <summary>What is done where cuBLASLt is there and computes the product; null where it is not asked.</summary>
    public CudaLibraryCall? Library { get; init; }
}

/// <summary>A call of cuBLASLt, and the launch of what it leaves to do.</summary>
/// <param name="Kernel">The product.</param>
/// <param name="Product">How the call computes it.</param>
/// <param name="Epilogue">What follows the sums; null where the call does all.</param>
internal sealed record CudaLibraryCall(MatMulKernel Kernel, LibraryProduct Product, CudaLaunch? Epilogue);

/// <summary>A launch that is needed where cuBLASLt computes products, and nowhere else: it rounds a factor of theirs.</summary>
internal sealed record CudaForLibrary(CudaLaunch Launch) : CudaStep;

/// <summary>Blocks that stay meet: what all of them have written is seen by all of them behind it.</summary>
internal sealed record CudaMeeting : CudaStep;

/// <summary>Of blocks that stay, the threads of each wait for one another: what some have written to the block's own memory is seen by all behind it.</summary>
internal sealed record CudaBarrier : CudaStep;

/// <summary>Steps that have one launch between them, of blocks that stay and meet between kernels of which one needs the other's results.</summary>
/// <param name="Entry">The entry's name.</param>
/// <param name="Steps">Launches, which are calls here, loops of them, and, once buffers have their places, the meetings in between.</param>
/// <param name="Number">The number of the counter at which blocks meet, among those of the program.</param>
internal sealed record CudaTogether(string Entry, IReadOnlyList<CudaStep> Steps, int Number) : CudaStep
{
    /// <summary>The most blocks that any of its kernels has work for.</summary>
    public int Blocks => CudaProgram.LaunchesOf(Steps).Max(launch => launch.IsEverywhere ? 1 : checked(launch.Blocks.X * launch.Blocks.Y));

    /// <summary>Bytes that the threads of a block share, with the rows that each block has for itself.</summary>
    public int SharedBytes { get; init; }

    /// <summary>Of those at most so many on each of the device's processors, if it holds as many at once.</summary>
    public int BlocksOfProcessor => CudaGrouping.BlocksOfProcessor;

    /// <summary>The threads of a block.</summary>
    public int Threads => PtxEmitter.Threads;

    /// <summary>The memory that its kernels' operands lie in, in the order of the entry's parameters behind the first one, which is the run's record.</summary>
    public IReadOnlyList<MemorySpace> Spaces
    {
        get
        {
            var used = new HashSet<MemorySpace>(CudaProgram.LaunchesOf(Steps).SelectMany(launch => launch.Kernel.Operands).Select(operand => operand.View.Buffer.Space));
            return [.. new[] { MemorySpace.Weights, MemorySpace.Gradients, MemorySpace.State, MemorySpace.Arena }.Where(used.Contains)];
        }
    }
}

/// <summary>Kernels, and what is launched for them, one step after the other.</summary>
/// <param name="Program">The kernels and their buffers.</param>
/// <param name="Steps">The steps.</param>
internal sealed record CudaProgram(KernelProgram Program, IReadOnlyList<CudaStep> Steps) : IPlacedProgram
{
    /// <summary>All launches of a kernel on devices without products of four warps, and calls by blocks that stay; those of loops once.</summary>
    public IEnumerable<CudaLaunch> Launches => LaunchesOf(Steps);

    /// <summary>
    /// Whether its launches are captured as a graph: every run launches the same, as no loop has as many steps as a run has of something, and there
    /// are several, none of blocks that stay.
    /// </summary>
    public bool IsCaptured => !Steps.Any(step => step is CudaTogether || step is CudaLoop { Loop.Steps.IsDynamic: true });

    public IReadOnlyList<KernelOperand> OperandsOf(Kernel kernel) => kernel.Operands;

    public PlanBuffer? WorkspaceOf(Kernel kernel) => null;

    public bool RunsBesideEarlier(Kernel kernel) => false;

    /// <summary>The calls of cuBLASLt on machines that have it.</summary>
    public IEnumerable<CudaLibraryCall> LibraryCalls => Steps.OfType<CudaChoice>().Where(choice => choice.Library is not null).Select(choice => choice.Library!);

    /// <summary>The launches of steps, those of loops once.</summary>
    public static IEnumerable<CudaLaunch> LaunchesOf(IEnumerable<CudaStep> steps) => steps.SelectMany(step => step switch
    {
        CudaLoop loop => LaunchesOf(loop.Body),
        CudaTogether together => LaunchesOf(together.Steps),
        CudaChoice choice => [choice.Otherwise],
        CudaLaunch launch => [launch],
        _ => [],
    });
}
