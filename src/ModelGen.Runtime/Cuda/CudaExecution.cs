using System.Runtime.CompilerServices;

namespace ModelGen.Runtime;

/// <summary>
/// A session's or a trainer's side of a device: its stream, its memory there, pinned memory that takes inputs and outputs, and the graphs of its
/// entry points. An entry point whose launches are always the same is captured when it runs for the second time; from then on a run is one launch.
/// </summary>
internal sealed unsafe class CudaExecution : IDisposable
{
    // The run's record as kernels and libraries read it, in front of the arena, so that it is copied with the inputs. Behind its numbers are the counters at which
    // blocks meet that stay for several kernels: zeros, which each run brings along.
    private const int RecordBytes = 256;
    private const int RecordSeed = 0;
    private const int RecordPosition = 8;
    private const int RecordAccumulate = 12;
    private const int RecordLossNormalizer = 16;
    private const int RecordGradientScale = 20;
    private const int RecordCounts = 24;

    /// <summary>Where the record has a one, and behind it what products are multiplied with that there are already: a one where the run accumulates gradients, or a zero.</summary>
    internal const int RecordOne = 120;

    // Where the largest number of an output comes to, and its index: the end of the record.
    private const int RecordLargest = RecordBytes - 8;

    // The arena begins at a whole line of 256 bytes.
    private const int ArenaStart = 256;

    private readonly ModelWeights _weights;
    private readonly CudaLayout _cuda;
    private readonly CudaLauncher _launcher;
    private readonly nint[][] _graphs;
    private readonly bool[] _isFixed;
    private readonly bool[] _hasRun;
    private readonly Span[][] _outputs;
    private readonly Span[][] _inputs;
    private ModelWeights.DeviceCopy? _copy;
    private CudaMemory? _arena;
    private CudaMemory? _state;
    private CudaMemory? _exchange;
    private NativeBlock? _staging;
    private CudaLauncher? _sampling;
    private CudaMemory? _drawing;
    private readonly CublasLtProducts? _products;
    private CudaChain? _chain;

    /// <param name="context">The device.</param>
    /// <param name="weights">The model's weights.</param>
    /// <param name="layout">The layout as the processor has it.</param>
    /// <param name="cuda">The device's part of it.</param>
    /// <param name="states">How many sequences, or other runs, have states of their own.</param>
    /// <param name="moves">Whether they are moved about.</param>
    public CudaExecution(CudaContext context, ModelWeights weights, ProgramLayout layout, CudaLayout cuda, int states, bool moves)
    {
        (Context, _weights, _cuda) = (context, weights, cuda);
        Layout = layout.OnDevice(cuda);
        Layout.Check();
        nint[] kernels = context.Kernels(cuda, layout.ModelName, out string? refusal);
        var limitations = new List<string>();
        if (refusal is not null)
        {
            limitations.Add(refusal);
        }

        Limitations = limitations;
        _inputs = [.. Layout.Entries.Select(entry => entry.Inputs.Select(i => new Span(i.Offset, i.Length, i.Extents)).ToArray())];
        _outputs = [.. Layout.Entries.Select(entry => entry.Outputs.Select(o => new Span(o.Offset, o.Length, o.Extents)).ToArray())];
        _graphs = [.. Layout.Entries.Select(_ => new nint[states])];
        _hasRun = new bool[Layout.Entries.Length];
        _isFixed = [.. cuda.Entries.Select(entry => entry.IsFixed)];
        long staged = 1;
        for (int entry = 0; entry < _inputs.Length; entry++)
        {
            foreach (Span span in _inputs[entry].Concat(_outputs[entry]))
            {
                ExtentCounts most = default;
                for (int extent = 0; extent < Layout.Entries[entry].Extents.Length; extent++)
                {
                    most[extent] = Layout.Entries[entry].Extents[extent].Maximum;
                }

                staged = Math.Max(staged, span.Offset + span.LengthOf(most));
            }
        }

        context.Use();
        Stream = context.Driver.CreateStream();
        try
        {
            _copy = weights.Acquire(context, cuda.Weights);
            _arena = new CudaMemory(context, checked(ArenaStart + cuda.ArenaBytes), Stream, $"the arena of {layout.ModelName}");
            _state = new CudaMemory(context, checked(layout.StateBytes * states), Stream, $"the states of {layout.ModelName}");
            _exchange = moves ? new CudaMemory(context, layout.StateBytes, Stream, $"exchanging states of {layout.ModelName}") : null;
            byte* pinned = (byte*)context.Driver.AllocateHost(checked(RecordBytes + (staged * sizeof(float))));
            Unsafe.InitBlockUnaligned(pinned, 0, RecordBytes);
            _staging = new NativeBlock(staged * sizeof(float), pinned + RecordBytes, () => context.Driver.FreeHost(context.Handle, pinned));
            context.Driver.Synchronize(Stream, "zeroing device memory");
            _products = CublasLtProducts.Of(context, cuda.Products, layout.ModelName, limitations);
        }
        catch
        {
            Dispose();
            throw;
        }

        _launcher = new CudaLauncher(context, cuda, kernels, Stream)
        {
            Weights = new CudaArgument(_copy.Memory.Address),
            Arena = new CudaArgument(_arena.Address + ArenaStart),
            Run = new CudaArgument(_arena.Address + ArenaStart - RecordBytes),
            Products = _products,
        };
    }

    public CudaContext Context { get; }

    public nint Stream { get; private set; }

    /// <summary>What the device does in another way than it might, and why.</summary>
    public IReadOnlyList<string> Limitations { get; }

    /// <summary>The library that computes products; null for none.</summary>
    public string? ProductLibrary => _products?.Library;

    /// <summary>The layout as the device has it: offsets are those of its arena, and of <see cref="Staging"/>.</summary>
    public ProgramLayout Layout { get; }

    /// <summary>Pinned memory in the place of the arena's beginning: callers' inputs are written there, and outputs come back to it.</summary>
    public NativeBlock Staging => _staging!;

    public ulong Arena => _arena!.Address + ArenaStart;

    public ModelWeights.DeviceCopy Weights => _copy!;

    /// <summary>What tells this program from one of another declaration or of another version of the compiler.</summary>
    public string ModuleDigest
    {
        get
        {
            using var hash = System.Security.Cryptography.IncrementalHash.CreateHash(System.Security.Cryptography.HashAlgorithmName.SHA256);
            hash.AppendData(_cuda.Module());
            if (_launcher.HasWarpgroups)
            {
                hash.AppendData(_cuda.Warpgroups!.Module());
            }

            if (_products is not null)
            {
                hash.AppendData(System.Text.Encoding.UTF8.GetBytes(_products.ToString()));
            }

            return Convert.ToHexStringLower(hash.GetHashAndReset());
        }
    }

    /// <summary>How many runs there were: the outputs of a run lie on the device until the next one.</summary>
    public long Runs { get; private set; }

    /// <summary>The device of the options; null for the processor.</summary>
    /// <param name="device">What is asked for; null for the processor.</param>
    /// <param name="layout">The layout.</param>
    /// <param name="create">Makes what runs there; null where the layout has nothing for a device.</param>
    /// <param name="inUse">What was chosen, and why.</param>
    /// <exception cref="CudaException">There is no such device, or it fails.</exception>
    /// <exception cref="InvalidOperationException">The declaration asks for no CUDA path.</exception>
    public static CudaExecution? Choose(Device? device, ProgramLayout layout, Func<CudaContext, CudaLayout, CudaExecution>? create, out DeviceInUse inUse)
    {
        if (device is null || device.Kind == DeviceKind.Cpu)
        {
            inUse = new DeviceInUse(reason: null);
            return null;
        }

        if (layout.Cuda is not { } cuda || create is null)
        {
            string reason = $"{layout.ModelName} was declared without [Cuda], so that nothing was emitted for a device";
            inUse = new DeviceInUse(reason);
            return device.MayFallBack ? null : throw new InvalidOperationException($"{reason}.");
        }

        try
        {
            CudaContext context = device.Context()!;
            CudaExecution execution = create(context, cuda);
            inUse = new DeviceInUse(context) { Limitations = execution.Limitations, ProductLibrary = execution.ProductLibrary };
            return execution;
        }
        catch (CudaException exception) when (device.MayFallBack)
        {
            inUse = new DeviceInUse(exception.Message.TrimEnd('.'));
            return null;
        }
    }

    /// <summary>The address of the states of one sequence.</summary>
    public ulong StateOf(int row) => _state!.Address + (ulong)(Layout.StateBytes * row);

    /// <summary>Lets launches find gradients.</summary>
    public void SetGradients(ulong address) => _launcher.Gradients = new CudaArgument(address);

    /// <summary>Runs an entry point over inputs that were staged, and brings its outputs to <see cref="Staging"/>.</summary>
    /// <param name="entry">The entry point.</param>
    /// <param name="row">Whose states it reads and updates.</param>
    /// <param name="run">The run's numbers; its addresses are of no matter.</param>
    public void Run(int entry, int row, in PlanContext run)
    {
        Start(entry, row, in run);
        Finish(entry);
    }

    /// <summary>Gives a run to the device, as <see cref="Run"/>, and does not wait for it, unless it fails: then nothing of it goes on behind the exception.</summary>
    public void Start(int entry, int row, in PlanContext run)
    {
        try
        {
            Give(entry, row, in run);
        }
        catch (CudaException)
        {
            Drain();
            throw;
        }
    }

    /// <summary>Loads what finds the largest number of an output, for a session that is to.</summary>
    public void PrepareLargest() => _sampling ??= new CudaLauncher(Context, CudaSampling.Layout, Context.Kernels(CudaSampling.Layout, "sampling"), Stream);

    /// <summary>Runs an entry point as <see cref="Run"/>, and brings back the largest number of its first output alone.</summary>
    /// <returns>The number's index; −1 where it is none, or not finite: then all outputs are brought to <see cref="Staging"/>.</returns>
    public int RunForLargest(int entry, int row, in PlanContext run)
    {
        try
        {
            PrepareLargest();
            Begin(entry, row, in run);
            Span logits = _outputs[entry][0];
            CudaArgument result = new(Arena - RecordBytes + RecordLargest);
            _sampling!.Launch(CudaSampling.Largest, 1, 1, CudaSampling.Threads, [new CudaArgument(Arena + (ulong)(logits.Offset * sizeof(float))), checked((int)logits.LengthOf(in run.Counts)), result]);
            byte* found = Staging.Bytes - RecordBytes + RecordLargest;
            Context.Driver.CopyToHost(found, Arena - RecordBytes + RecordLargest, 8, Stream, "copying the likeliest token from the device");
            Finish(entry);
            if (float.IsFinite(*(float*)found))
            {
                return ((int*)found)[1];
            }

            BringOutputs(entry, in run);
            return -1;
        }
        catch (CudaException)
        {
            Drain();
            throw;
        }
    }

    /// <summary>Loads what draws from so many logits.</summary>
    public void PrepareDrawing(int count)
    {
        PrepareLargest();
        Context.Use();
        _drawing ??= new CudaMemory(Context, (CudaChain.MaximumSteps + 1) * sizeof(CudaDrawingStep) + CudaDrawing.ScratchBytes(count), "drawing tokens");
    }

    /// <summary>Runs an entry point as <see cref="Run"/>, and brings back what is drawn from its first output alone.</summary>
    /// <param name="entry">The entry point.</param>
    /// <param name="row">Whose states it reads and updates.</param>
    /// <param name="run">The run's numbers.</param>
    /// <param name="chain">How to draw.</param>
    /// <param name="uniform">A number in [0, 1) that decides.</param>
    /// <param name="isNumberUsed">Whether there were tokens to decide among.</param>
    /// <returns>The token; −1 where the processor has to draw it (<see cref="CudaDrawing"/>): then all outputs are brought to <see cref="Staging"/>.</returns>
    public int RunForDraw(int entry, int row, in PlanContext run, CudaChain chain, double uniform, out bool isNumberUsed)
    {
        try
        {
            Span logits = _outputs[entry][0];
            int count = checked((int)logits.LengthOf(in run.Counts));
            PrepareDrawing(count);
            if (chain != _chain)
            {
                GiveSteps(chain);
            }

            Begin(entry, row, in run);
            CudaArgument result = new(Arena - RecordBytes + RecordLargest);
            ulong scratch = _drawing!.Address + (ulong)((CudaChain.MaximumSteps + 1) * sizeof(CudaDrawingStep));
            _sampling!.Launch(
                CudaSampling.Draw,
                1,
                1,
                CudaSampling.Threads,
                [new CudaArgument(Arena + (ulong)(logits.Offset * sizeof(float))), count, new CudaArgument(scratch), new CudaArgument(_drawing.Address), chain.Steps.Length + 1, CudaDrawing.ShiftOf(count), new CudaArgument(BitConverter.DoubleToUInt64Bits(uniform)), result]);
            int* found = (int*)(Staging.Bytes - RecordBytes + RecordLargest);
            Context.Driver.CopyToHost(found, Arena - RecordBytes + RecordLargest, 8, Stream, "copying a drawn token from the device");
            Finish(entry);
            isNumberUsed = found[1] != 0 || chain.DrawsAlways;
            if (found[0] == CudaDrawing.Undecided)
            {
                BringOutputs(entry, in run);
            }

            return found[0];
        }
        catch (CudaException)
        {
            Drain();
            throw;
        }
    }

    /// <summary>Brings the outputs of the last run to <see cref="Staging"/>.</summary>
    public void BringOutputs(int entry, in PlanContext run)
    {
        Context.Use();
        CopyOut(entry, in run.Counts);
        Finish(entry);
    }

    // The device reads the steps where they lie here, so that it is waited for; they change with the sampler alone.
    private void GiveSteps(CudaChain chain)
    {
        const string What = "copying a chain of samplers to the device";
        Span<CudaDrawingStep> steps = stackalloc CudaDrawingStep[CudaChain.MaximumSteps + 1];
        chain.Steps.CopyTo(steps);
        steps[chain.Steps.Length] = new CudaDrawingStep(CudaDrawingKind.Draw, 0, 0);
        Context.Use();
        _chain = null;
        fixed (CudaDrawingStep* first = steps)
        {
            Context.Driver.CopyToDevice(_drawing!.Address, first, (chain.Steps.Length + 1) * sizeof(CudaDrawingStep), Stream, What);
            Context.Driver.Synchronize(Stream, What);
        }

        _chain = chain;
    }

    private void Give(int entry, int row, in PlanContext run)
    {
        Begin(entry, row, in run);
        CopyOut(entry, in run.Counts);
    }

    private void Begin(int entry, int row, in PlanContext run)
    {
        Runs++;
        Context.Use();
        _weights.Update(_copy!);
        WriteRecord(in run);
        CopyIn(entry, in run.Counts);
        Launch(entry, row, in run.Counts);
    }

    private void CopyOut(int entry, in ExtentCounts counts)
    {
        foreach (Span span in _outputs[entry])
        {
            Context.Driver.CopyToHost(Staging.Floats + span.Offset, Arena + (ulong)(span.Offset * sizeof(float)), span.LengthOf(in counts) * sizeof(float), Stream, "copying outputs from the device");
        }
    }

    /// <summary>Waits for what the device was given where something has failed already, or what it uses is about to be given back.</summary>
    public void Drain()
    {
        if (Stream != 0)
        {
            Context.Driver.TrySynchronize(Context.Handle, Stream);
        }
    }

    /// <summary>Waits for what the device was given.</summary>
    public void Finish(int entry)
    {
        try
        {
            Context.Driver.Synchronize(Stream, Layout.Entries[entry].Name);
        }
        catch (CudaException)
        {
            Drain();
            throw;
        }
    }

    /// <summary>Has the states of one sequence zeroed ahead of the next run; nobody waits for it.</summary>
    public void ClearState(int row) => ClearState(row, 0, Layout.StateBytes);

    /// <summary>The same of a part of the states.</summary>
    public void ClearState(int row, long offset, long bytes)
    {
        if (bytes > 0)
        {
            Context.Use();
            Context.Driver.Clear(StateOf(row) + (ulong)offset, bytes, Stream, "zeroing states");
        }
    }

    /// <summary>Copies a part of the states of one sequence to the host, or from it.</summary>
    public unsafe void CopyState(int row, long offset, void* host, long bytes, bool toDevice)
    {
        const string What = "copying states";
        if (bytes == 0)
        {
            return;
        }

        Context.Use();
        if (toDevice)
        {
            Context.Driver.CopyToDevice(StateOf(row) + (ulong)offset, host, bytes, Stream, What);
        }
        else
        {
            Context.Driver.CopyToHost(host, StateOf(row) + (ulong)offset, bytes, Stream, What);
        }

        Context.Driver.Synchronize(Stream, What);
    }

    /// <summary>Copies the states of a sequence to another one; through a third place, where they are exchanged.</summary>
    public void MoveState(int to, int from, bool exchange)
    {
        const string What = "copying states";
        Context.Use();
        if (exchange)
        {
            Context.Driver.CopyOnDevice(_exchange!.Address, StateOf(to), Layout.StateBytes, Stream, What);
        }

        Context.Driver.CopyOnDevice(StateOf(to), StateOf(from), Layout.StateBytes, Stream, What);
        if (exchange)
        {
            Context.Driver.CopyOnDevice(StateOf(from), _exchange!.Address, Layout.StateBytes, Stream, What);
        }

        Context.Driver.Synchronize(Stream, What);
    }

    public void Dispose()
    {
        Drain();
        foreach (nint graph in _graphs.SelectMany(g => g).Where(g => g != 0))
        {
            Context.Driver.DestroyGraph(Context.Handle, graph);
        }

        if (Stream != 0)
        {
            Context.Driver.DestroyStream(Context.Handle, Stream);
            Stream = 0;
        }

        _arena?.Dispose();
        _state?.Dispose();
        _exchange?.Dispose();
        _drawing?.Dispose();
        _products?.Dispose();
        _staging?.Dispose();
        if (_copy is { } copy)
        {
            _copy = null;
            _weights.Release(copy);
        }
    }

    private void WriteRecord(in PlanContext run)
    {
        byte* record = Staging.Bytes - RecordBytes;
        *(ulong*)(record + RecordSeed) = run.Seed;
        *(int*)(record + RecordPosition) = run.Position;
        *(int*)(record + RecordAccumulate) = run.Accumulate ? 1 : 0;
        *(float*)(record + RecordLossNormalizer) = run.LossNormalizer;
        *(float*)(record + RecordGradientScale) = run.GradientScale;
        *(float*)(record + RecordOne) = 1;
        *(float*)(record + RecordOne + sizeof(float)) = run.Accumulate ? 1 : 0;
        for (int i = 0; i < ExtentCounts.Length; i++)
        {
            ((int*)(record + RecordCounts))[i] = run.Counts[i];
        }
    }

    private void CopyIn(int entry, in ExtentCounts counts)
    {
        const string What = "copying inputs to the device";
        bool varies = false;
        long end = 0;
        foreach (Span span in _inputs[entry])
        {
            varies |= span.Varies;
            end = Math.Max(end, span.Offset + span.LengthOf(in counts));
        }

        // Inputs lie side by side behind the record.
        Context.Driver.CopyToDevice(Arena - RecordBytes, Staging.Bytes - RecordBytes, RecordBytes + (varies ? 0 : end * sizeof(float)), Stream, What);
        foreach (Span span in varies ? _inputs[entry] : [])
        {
            Context.Driver.CopyToDevice(Arena + (ulong)(span.Offset * sizeof(float)), Staging.Floats + span.Offset, span.LengthOf(in counts) * sizeof(float), Stream, What);
        }
    }

    private void Launch(int entry, int row, in ExtentCounts counts)
    {
        nint graph = _graphs[entry][row];
        if (graph == 0)
        {
            _launcher.State = new CudaArgument(StateOf(row));
            _launcher.SetCounts(in counts);
            if (!_isFixed[entry] || !_hasRun[entry])
            {
                // A driver may load kernels when they are first launched, which is no time to capture them.
                Layout.Cuda!.Launch(entry, _launcher);
                _hasRun[entry] = true;
                return;
            }

            graph = _graphs[entry][row] = CaptureEntry(entry);
        }

        Context.Driver.LaunchGraph(graph, Stream, Layout.Entries[entry].Name);
    }

    // A method of its own: what a lambda captures is allocated where the method begins, whether it is used or not.
    private nint CaptureEntry(int entry) => Capture(() => Layout.Cuda!.Launch(entry, _launcher), Layout.Entries[entry].Name);

    /// <summary>What is launched, as one launch.</summary>
    public nint Capture(Action launch, string name)
    {
        Context.Driver.BeginCapture(Stream);
        bool failed = true;
        nint graph = 0;
        try
        {
            launch();
            failed = false;
        }
        finally
        {
            graph = Context.Driver.EndCapture(Stream, failed, name);
        }

        return graph;
    }

    /// <summary>Where an input or output lies, and how much of it a run has.</summary>
    private sealed class Span(long offset, int length, int[] extents)
    {
        public long Offset => offset;

        public bool Varies => extents.Length > 0;

        public long LengthOf(in ExtentCounts counts)
        {
            long elements = length;
            foreach (int extent in extents)
            {
                elements *= counts[extent];
            }

            return elements;
        }
    }
}
