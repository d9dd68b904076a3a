namespace ModelGen.Runtime;

/// <summary>What a trainer has on a device beside its plans: gradients, the optimizer's slots, and the updates of its steps.</summary>
internal sealed unsafe class CudaTraining : IDisposable
{
    private readonly CudaMemory _gradients;
    private readonly CudaMemory? _slots;

    /// <param name="execution">The trainer's plans.</param>
    /// <param name="modelName">The model.</param>
    /// <param name="trainedLength">The parameters that have gradients, in floats.</param>
    /// <param name="slots">The optimizer's slots that lie on the device.</param>
    public CudaTraining(CudaExecution execution, string modelName, long trainedLength, int slots)
    {
        (Execution, TrainedLength, Slots) = (execution, trainedLength, slots);
        _gradients = new CudaMemory(execution.Context, checked(trainedLength * sizeof(float)), execution.Stream, $"the gradients of {modelName}");
        try
        {
            _slots = slots > 0 ? new CudaMemory(execution.Context, checked(trainedLength * slots * sizeof(float)), execution.Stream, $"the optimizer's slots of {modelName}") : null;
            execution.Context.Driver.Synchronize(execution.Stream, "zeroing device memory");
        }
        catch
        {
            Dispose();
            throw;
        }

        execution.SetGradients(_gradients.Address);
    }

    public CudaExecution Execution { get; }

    /// <summary>The parameters that have gradients, in floats.</summary>
    public long TrainedLength { get; }

    /// <summary>The optimizer's slots that lie on the device.</summary>
    public int Slots { get; }

    public ulong Gradients => _gradients.Address;

    /// <summary>A slot's address; of one that there is none of, that of the gradients, which kernels that ask for no slot do not look at.</summary>
    public ulong SlotOf(int slot) => slot < Slots ? _slots!.Address + (ulong)(slot * TrainedLength * sizeof(float)) : Gradients;

    /// <summary>What updates the weights there.</summary>
    /// <inheritdoc cref="CudaUpdate(CudaTraining, string, ReadOnlySpan{CudaChunk}, int)"/>
    /// <remarks>A method of what only exists on a device, so that NativeAOT leaves all of it out of a program whose models have no layout for one. The next is such a method too.</remarks>
    public CudaUpdate CreateUpdate(string kernel, ReadOnlySpan<CudaChunk> chunks, int sets) => new(this, kernel, chunks, sets);

    /// <summary>Meets the processes that train together with this one.</summary>
    /// <param name="parallel">Who they are.</param>
    /// <param name="description">What must be the same everywhere, beside the weights.</param>
    /// <param name="weights">The weights.</param>
    public RankGroup Meet(DataParallel parallel, List<KeyValuePair<string, string>> description, ModelWeights weights)
        => new(parallel, Execution, [.. description, new("the digest of the weights", RankGroup.DigestOf(weights.Pointer, weights.Length))]);

    /// <summary>Copies all gradients from the device.</summary>
    public void FetchGradients(float* to) => Fetch(to, Gradients, TrainedLength * sizeof(float), "copying gradients from the device");

    /// <summary>Copies all slots that lie there from the device.</summary>
    public void FetchSlots(float* to) => Fetch(to, SlotOf(0), TrainedLength * Slots * sizeof(float), "copying the optimizer's slots from the device");

    /// <summary>Copies all slots that lie there to the device.</summary>
    public void PutSlots(float* from) => Put(SlotOf(0), from, TrainedLength * Slots * sizeof(float), "copying the optimizer's slots to the device");

    /// <summary>Copies one of the states from the device.</summary>
    public void FetchState(int row, float* to) => Fetch(to, Execution.StateOf(row), Execution.Layout.StateBytes, "copying states from the device");

    /// <summary>Copies one of the states to the device.</summary>
    public void PutState(int row, float* from) => Put(Execution.StateOf(row), from, Execution.Layout.StateBytes, "copying states to the device");

    public void Dispose()
    {
        Execution.Drain();
        _gradients.Dispose();
        _slots?.Dispose();
        Execution.Dispose();
    }

    private void Fetch(float* to, ulong from, long bytes, string what)
    {
        Execution.Context.Use();
        Execution.Context.Driver.CopyToHost(to, from, bytes, Execution.Stream, what);
        Execution.Context.Driver.Synchronize(Execution.Stream, what);
    }

    private void Put(ulong to, float* from, long bytes, string what)
    {
        Execution.Context.Use();
        Execution.Context.Driver.CopyToDevice(to, from, bytes, Execution.Stream, what);
        Execution.Context.Driver.Synchronize(Execution.Stream, what);
    }
}

/// <summary>A part of one parameter that one block of threads updates.</summary>
/// <param name="Offset">Where it begins, in floats.</param>
/// <param name="Length">Its floats.</param>
/// <param name="Coefficients">The number of its coefficients.</param>
internal readonly record struct CudaChunk(long Offset, int Length, int Coefficients);

/// <summary>The end of a step on a device: the gradients' norm, clipping and the optimizer, one launch from the second one on.</summary>
internal sealed unsafe class CudaUpdate : IDisposable
{
    private const string What = "updating the weights";

    // The numbers of a step: the limit of the norm, then the sets of coefficients, whose address is a whole number of sets.
    private const int CoefficientsStart = CudaOptimizers.Coefficients;

    private readonly CudaTraining _training;
    private readonly long _numberBytes;
    private readonly CudaMemory? _table;
    private readonly CudaMemory? _numbers;
    private readonly CudaMemory? _sums;
    private readonly NativeBlock? _staging;
    private readonly Action _launch;
    private bool _hasRun;
    private nint _graph;

    /// <param name="training">The trainer's memory.</param>
    /// <param name="kernel">The optimizer's kernel.</param>
    /// <param name="chunks">What there is to update.</param>
    /// <param name="sets">Sets of coefficients.</param>
    public CudaUpdate(CudaTraining training, string kernel, ReadOnlySpan<CudaChunk> chunks, int sets)
    {
        _training = training;
        CudaExecution execution = training.Execution;
        CudaContext context = execution.Context;
        CudaDriver driver = context.Driver;
        _numberBytes = (CoefficientsStart + (sets * CudaOptimizers.Coefficients)) * sizeof(float);
        byte[] table = new byte[chunks.Length * CudaOptimizers.ChunkBytes];
        for (int i = 0; i < chunks.Length; i++)
        {
            Span<byte> place = table.AsSpan(i * CudaOptimizers.ChunkBytes);
            BitConverter.TryWriteBytes(place, chunks[i].Offset * sizeof(float));
            BitConverter.TryWriteBytes(place[sizeof(long)..], chunks[i].Length);
            BitConverter.TryWriteBytes(place[(sizeof(long) + sizeof(int))..], chunks[i].Coefficients);
            BitConverter.TryWriteBytes(place[(sizeof(long) + (2 * sizeof(int)))..], execution.Weights.CopyOf(chunks[i].Offset));
        }

        context.Use();
        nint[] kernels = context.Kernels(CudaOptimizers.Layout, "the optimizers");
        try
        {
            _table = new CudaMemory(context, table.Length, execution.Stream, "the table of parameters");
            _numbers = new CudaMemory(context, _numberBytes, execution.Stream, "the optimizer's numbers");

            // The sums of chunks, behind the norm and what gradients are multiplied with.
            _sums = new CudaMemory(context, (2 + chunks.Length) * sizeof(float), execution.Stream, "the gradients' sums");
            long staged = _numberBytes + (2 * sizeof(float));
            void* pinned = driver.AllocateHost(staged);
            _staging = new NativeBlock(staged, pinned, () => driver.FreeHost(context.Handle, pinned));
            fixed (byte* first = table)
            {
                driver.CopyToDevice(_table.Address, first, table.Length, execution.Stream, "copying the table of parameters to the device");
                driver.Synchronize(execution.Stream, "copying the table of parameters to the device");
            }

            int count = chunks.Length, number = CudaOptimizers.NumberOf(kernel);
            var launcher = new CudaLauncher(context, CudaOptimizers.Layout, kernels, execution.Stream);
            CudaArgument chunkTable = new(_table.Address), numbers = new(_numbers.Address), result = new(_sums.Address), gradients = new(training.Gradients), weights = new(execution.Weights.Memory.Address);
            CudaArgument slot0 = new(training.SlotOf(0)), slot1 = new(training.SlotOf(1));
            _launch = () =>
            {
                // A step may update nothing; a grid has a block at least.
                if (count > 0)
                {
                    launcher.Launch(CudaOptimizers.SumOfSquares, count, 1, CudaOptimizers.Threads, [chunkTable, gradients, result + 2]);
                }

                launcher.Launch(CudaOptimizers.Norm, 1, 1, CudaOptimizers.Threads, [result + 2, count, numbers, result]);
                if (count > 0)
                {
                    launcher.Launch(number, count, 1, CudaOptimizers.Threads, [chunkTable, numbers + CoefficientsStart, result, weights, gradients, slot0, slot1]);
                }
            };
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    /// <summary>Where the numbers of a set of coefficients are written, before <see cref="Start"/>.</summary>
    public Span<float> CoefficientsOf(int set) => new(_staging!.Floats + CoefficientsStart + (set * CudaOptimizers.Coefficients), CudaOptimizers.Coefficients);

    /// <summary>Updates the weights behind what the device has been given before.</summary>
    /// <param name="limit">The largest norm of the gradients; 0 for none.</param>
    public void Start(float limit)
    {
        CudaExecution execution = _training.Execution;
        CudaDriver driver = execution.Context.Driver;
        IsLaunched = false;
        *_staging!.Floats = limit;
        driver.CopyToDevice(_numbers!.Address, _staging.Floats, _numberBytes, execution.Stream, What);
        if (_graph == 0 && _hasRun)
        {
            _graph = execution.Capture(_launch, What);
        }

        IsLaunched = true;
        if (_graph != 0)
        {
            driver.LaunchGraph(_graph, execution.Stream, What);
        }
        else
        {
            _launch();
            _hasRun = true;
        }

        driver.CopyToHost(_staging.Bytes + _numberBytes, _sums!.Address, 2 * sizeof(float), execution.Stream, What);
    }

    /// <summary>Whether the device was given the last update.</summary>
    public bool IsLaunched { get; private set; }

    /// <summary>The norm of the last update's gradients, before clipping, once the device is done.</summary>
    public float Norm => *(float*)(_staging!.Bytes + _numberBytes);

    public void Dispose()
    {
        _training.Execution.Drain();
        if (_graph != 0)
        {
            _training.Execution.Context.Driver.DestroyGraph(_training.Execution.Context.Handle, _graph);
        }

        _table?.Dispose();
        _numbers?.Dispose();
        _sums?.Dispose();
        _staging?.Dispose();
    }
}
