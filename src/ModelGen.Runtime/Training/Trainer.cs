using System.ComponentModel;
using System.Globalization;
using ModelGen.Runtime;

namespace ModelGen;

/// <summary>
/// The training of a model: its gradients, the optimizer's slots, the training arena and the threads. It updates the model's weights
/// in place. What a recurrence carries goes on from step to step, and from micro-batch to micro-batch, as if each continued the text of the
/// one before, until <see cref="ResetState"/>. A step allocates nothing, and its results do not depend on the number of threads, to the bit. A trainer may
/// be used by one thread at a time: a call that comes while another one runs is refused and changes nothing. While it steps, nothing else
/// may use the model's weights: saving them then throws, and what a session or another trainer computes is of some weights before the step
/// and some after it.
/// </summary>
public abstract unsafe partial class Trainer : IDisposable
{
    // The states on a device: what training carries, and what evaluations do.
    private const int TrainingState = 0;
    private const int EvaluationState = 1;

    private readonly ModelWeights _weights;
    private readonly ProgramLayout _layout;
    private readonly RunGuard _guard = new("trainer");
    private readonly WorkerTeam _team;
    private readonly NativeBlock _arena;
    private readonly PinnedBlock _gradients;
    private readonly NativeBlock _slots;
    // Of weights that are trained and are not single precision in memory, what they are rounded from; laid out as gradients are.
    private readonly NativeBlock? _masters;
    private readonly WeightRounding _rounding;
    private readonly NativeBlock _state;
    private readonly NativeBlock _evaluationState;
    private readonly EntryTask[] _tasks;
    // Set while a checkpoint's numbers are written over the trainer's.
    private bool _isPartlyLoaded;
    private readonly Update?[] _updates;
    private readonly long[] _entrySteps;
    private readonly EntryInput?[] _ignorable;
    private readonly int _slotCount;
    private readonly CudaTraining? _cuda;
    private readonly RankGroup? _ranks;

    // The first of this process's micro-batches among those of all ranks, and how many there are of all.
    private readonly int _firstMicro;
    private readonly int _micros;
    private PlanContext _context;
    private ulong _seed;
    private long _stepCount;
    private Update _lastUpdate;
    private IReadOnlyList<ChangedSetting> _changedSettings = [];

    /// <summary>Called by emitted code.</summary>
    /// <param name="weights">The model's weights.</param>
    /// <param name="layout">The memory and sizes of the model's plans.</param>
    /// <param name="optimizer">The optimizer.</param>
    /// <param name="options">The trainer's options; null for the defaults.</param>
    /// <exception cref="ArgumentException">A group of the optimizer fits no parameter, or its slots have no names that tell them apart.</exception>
    /// <exception cref="ArgumentOutOfRangeException">An option is outside its range.</exception>
    [EditorBrowsable(EditorBrowsableState.Never)]
    protected Trainer(ModelWeights weights, ProgramLayout layout, Optimizer optimizer, TrainerOptions? options)
    {
        ArgumentNullException.ThrowIfNull(weights);
        ArgumentNullException.ThrowIfNull(layout);
        ArgumentNullException.ThrowIfNull(optimizer);
        options ??= new TrainerOptions();
        int threads = RunChecks.Threads(options.Threads, nameof(options));
        if (options.AccumulationSteps < 1)
        {
            throw new ArgumentOutOfRangeException(nameof(options), options.AccumulationSteps, "AccumulationSteps must be 1 or more.");
        }

        if (!Enum.IsDefined(options.Rounding))
        {
            throw new ArgumentOutOfRangeException(nameof(options), options.Rounding, "Rounding must be one of WeightRounding.");
        }

        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(layout.BatchSize);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(layout.SequenceLength);
        layout.Check();
        _weights = weights;
        _layout = layout;
        _seed = unchecked((ulong)options.Seed);
        _rounding = options.Rounding;
        Optimizer = optimizer;
        AccumulationSteps = options.AccumulationSteps;
        _slotCount = CountSlots(optimizer);
        foreach (OptimizerGroup group in optimizer.Groups)
        {
            if (!Trained.Parameters.Has(group.Contains))
            {
                throw new ArgumentException($"No trained parameter of {layout.ModelName} has a name that begins with {string.Join(" or ", group.Names.Map(static name => $"'{name}'"))}.", nameof(optimizer));
            }
        }

        // An optimizer without a kernel for devices keeps its slots here, and its gradients are fetched. Where anything of it fails, all of it is gone.
        CudaTraining? device = null;
        Update?[]? updates = null;
        CudaExecution.Choose(
            options.Device,
            layout,
            layout.Cuda?.ForTrainer(weights, layout, Trained.TotalLength, optimizer.DeviceKernel is null ? 0 : optimizer.Slots.Count, training =>
            {
                updates = CreateUpdates(training);
                device = training;
            }),
            out DeviceInUse inUse);
        Device = inUse;
        _cuda = device;
        _updates = updates ?? CreateUpdates(null);
        try
        {
            if (device is not null)
            {
                (layout, threads) = (device.Execution.Layout, 1);
                _layout = layout;
            }

            _arena = device?.Execution.Staging ?? new NativeBlock(layout.ArenaBytes);
            _gradients = new PinnedBlock(Trained.TotalLength);
            _slots = NativeBlock.OfFloats(checked(Trained.TotalLength * _slotCount));
            _masters = CreateMasters();
            _state = new NativeBlock(layout.StateBytes);
            _evaluationState = new NativeBlock(layout.StateBytes);
            _tasks = layout.Entries.Map((_, index) => new EntryTask(this, index));
            _entrySteps = new long[layout.Entries.Length];
            _ignorable = layout.Entries.Map(static entry => Array.Find(entry.Inputs, static input => input.MayBeIgnored));
            _lastUpdate = Array.Find(_updates, update => update is not null) ?? throw new ArgumentException($"The layout of {layout.ModelName} is invalid: nothing in it is a step.");
            (_firstMicro, _micros) = (0, AccumulationSteps);
            if (options.DataParallel is { } parallel)
            {
                _ranks = Meet(parallel, options);
                (_firstMicro, _micros) = (parallel.Rank * AccumulationSteps, checked(parallel.Ranks * AccumulationSteps));
            }

            _team = new WorkerTeam(threads, layout.ScratchBytes, _guard);
        }
        catch
        {
            ReleaseDevice();
            throw;
        }
    }

    /// <summary>The number of steps done, those before a loaded checkpoint included. It may be read at any time, by any thread.</summary>
    public long StepCount => Volatile.Read(ref _stepCount);

    /// <summary>The learning rate of the last step; before the first, that which the first will have. It may be read at any time, by any thread.</summary>
    public float LearningRate => _lastUpdate.LearningRate is var rate && !float.IsNaN(rate) ? rate : ScheduledRate(_lastUpdate.Entry);

    /// <summary>The Euclidean norm of all gradients of the last step, before clipping. It may be read at any time, by any thread.</summary>
    public float GradientNorm => _lastUpdate.GradientNorm;

    /// <summary>The number of sequences (or examples) in a micro-batch.</summary>
    public int BatchSize => _layout.BatchSize;

    /// <summary>The number of positions in a sequence; 1 where there are no sequences.</summary>
    public int SequenceLength => _layout.SequenceLength;

    /// <summary>The number of micro-batches whose gradients are averaged in one step.</summary>
    public int AccumulationSteps { get; }

    /// <summary>Whether the micro-batches of a step behind its first begin with zero states, since their rows continue nothing.</summary>
    internal bool BeginsMicroBatchesAnew { get; set; }

    /// <summary>Where the trainer runs.</summary>
    public DeviceInUse Device { get; }

    /// <summary>The number of threads that compute, the caller's included: as many as the options allow, but no more than processors.</summary>
    public int Threads => _team.Count;

    /// <summary>The optimizer.</summary>
    public Optimizer Optimizer { get; }

    /// <summary>The model's name.</summary>
    public string ModelName => _layout.ModelName;

    /// <summary>All native memory of this trainer and of the model's weights in bytes, the threads' scratch excepted.</summary>
    internal long MemoryBytes
        => (_weights.Length * sizeof(float)) + _arena.ByteLength + _gradients.ByteLength + _slots.ByteLength + (_masters?.ByteLength ?? 0) + _state.ByteLength + _evaluationState.ByteLength;

    internal Span<float> Arena => new(_arena.Floats, checked((int)(_arena.ByteLength / sizeof(float))));

    private protected ProgramLayout PlanLayout => _layout;

    /// <summary>The parameters that have gradients and slots.</summary>
    private ParameterTable Trained => _weights.Table.Trained;

    /// <summary>The gradient of a parameter at the last step, averaged over its micro-batches, before clipping; zeros before the first step.</summary>
    /// <param name="parameterName">The parameter's name.</param>
    /// <returns>The gradient in the parameter's shape. The next step overwrites it; the trainer's disposal does not.</returns>
    /// <exception cref="ArgumentException">The model has no such parameter, or it is frozen.</exception>
    /// <exception cref="InvalidOperationException">Another thread is using the trainer.</exception>
    /// <exception cref="ObjectDisposedException">The trainer was disposed.</exception>
    public ReadOnlySpan<float> Gradient(string parameterName)
    {
        using RunGuard.Section call = Enter(nameof(Gradient));
        _cuda?.FetchGradients(_gradients.Floats);
        return _weights.Table.Parameters[_weights.Table.IndexOf(parameterName)].IsFrozen
            ? throw new ArgumentException($"The parameter '{parameterName}' is frozen: it has no gradient.", nameof(parameterName))
            : Trained.Span(_gradients, parameterName);
    }

    /// <summary>Zeroes the state that a recurrence carries from one step to the next: as at the start of a text.</summary>
    /// <exception cref="InvalidOperationException">Another thread is using the trainer.</exception>
    /// <exception cref="ObjectDisposedException">The trainer was disposed.</exception>
    public void ResetState()
    {
        using RunGuard.Section call = Enter(nameof(ResetState));
        ClearState();
    }

    /// <summary>
    /// Zeroes the state that a recurrence carries from one evaluation to the next. Evaluations carry a state of their own, so that
    /// they never disturb training.
    /// </summary>
    /// <exception cref="InvalidOperationException">Another thread is using the trainer.</exception>
    /// <exception cref="ObjectDisposedException">The trainer was disposed.</exception>
    public void ResetEvaluationState()
    {
        using RunGuard.Section call = Enter(nameof(ResetEvaluationState));
        _evaluationState.Clear();
        _cuda?.Execution.ClearState(EvaluationState);
    }

    /// <summary>Ends the trainer's threads and frees its memory. The model keeps its weights.</summary>
    /// <exception cref="InvalidOperationException">Another thread is using the trainer.</exception>
    public void Dispose()
    {
        if (_guard.Close())
        {
            _team.End();
            ReleaseDevice();
            _arena.Dispose();
            _gradients.Release();
            _slots.Dispose();
            _masters?.Dispose();
            _state.Dispose();
            _evaluationState.Dispose();
        }

        GC.SuppressFinalize(this);
    }

    /// <summary>
    /// Emitted: runs an entry point's plan over one micro-batch. No worker leaves it before everything is written and no weight is read
    /// any more: a plan ends with a barrier.
    /// </summary>
    /// <param name="entry">The number of the entry point.</param>
    /// <param name="context">Where the memory is, and the micro-batch's numbers.</param>
    /// <param name="worker">The worker that calls.</param>
    [EditorBrowsable(EditorBrowsableState.Never)]
    protected abstract void Execute(int entry, in PlanContext context, Worker worker);

    /// <summary>Called by emitted code: begins a step or an evaluation, whose inputs follow.</summary>
    /// <param name="entry">The number of the entry point.</param>
    /// <exception cref="InvalidOperationException">Another thread is using the trainer.</exception>
    /// <exception cref="ObjectDisposedException">The trainer was disposed.</exception>
    [EditorBrowsable(EditorBrowsableState.Never)]
    protected TrainerCall Begin(int entry) => new(this, entry, Enter(_layout.Entries[entry].Name));

    /// <summary>Enters the critical section that a public call is.</summary>
    private protected RunGuard.Section Enter(string call)
    {
        RunGuard.Section section = _guard.Enter(call, this);
        if (_isPartlyLoaded && call != nameof(LoadCheckpoint))
        {
            section.Dispose();
            throw new InvalidOperationException($"Loading a checkpoint of {ModelName} failed halfway, and what the trainer holds is of two runs. Load one again before {call}, or make another trainer.");
        }

        return section;
    }

    /// <summary>Meets the processes that train together with this one.</summary>
    private RankGroup Meet(DataParallel parallel, TrainerOptions options)
    {
        if (parallel.Rank >= parallel.Ranks)
        {
            throw new ArgumentException(FormattableString.Invariant($"There is no rank {parallel.Rank} of {parallel.Ranks}: they count from 0 on."), nameof(options));
        }

        if (_cuda is null)
        {
            throw new InvalidOperationException($"Training by several processes needs a CUDA device for each: {Device.FallbackReason ?? "the options ask for the processor"}.");
        }

        // Whatever of this is not the same everywhere would give other gradients, or another update.
        List<KeyValuePair<string, string>> description =
        [
            new("the model", ModelName),
            new("what its parameters are", _weights.Table.Fingerprint),
            new("the batch size", BatchSize.ToString(CultureInfo.InvariantCulture)),
            new("the sequence length", SequenceLength.ToString(CultureInfo.InvariantCulture)),
            new("the precision and order of its kernels", _cuda.Execution.ModuleDigest),
            new("the optimizer", Optimizer.Name),
            new("the seed", options.Seed.ToString(CultureInfo.InvariantCulture)),
        ];
        foreach ((string name, string value) in TrainingSettings())
        {
            description.Add(new("the setting " + name, value));
        }

        return _cuda.Meet(parallel, description, _weights);
    }

    /// <summary>The parameter of the master copy that a parameter is rounded from; null for one that is trained where it lies, or not at all.</summary>
    private ParameterInfo? MasterOf(ParameterInfo parameter) => parameter is { IsFrozen: false, Format: not WeightFormat.F32 } ? Trained.Parameters[Trained.IndexOf(parameter.Name)] : null;

    /// <summary>The master copy as weights are now; null where none is needed.</summary>
    private NativeBlock? CreateMasters()
    {
        if (!_weights.Table.Parameters.Has(parameter => MasterOf(parameter) is not null))
        {
            return null;
        }

        NativeBlock masters = NativeBlock.OfFloats(Trained.TotalLength);
        foreach (ParameterInfo parameter in _weights.Table.Parameters)
        {
            if (MasterOf(parameter) is { } master)
            {
                int columns = parameter.Columns;
                for (int row = 0; row < parameter.Rows; row++)
                {
                    BlockRows.Read(parameter.Format, (byte*)(_weights.Pointer + parameter.Offset), row, columns, masters.Floats + master.Offset + ((long)row * columns));
                }
            }
        }

        return masters;
    }

    /// <summary>The number of an optimizer's slots, whose names must tell them apart in a checkpoint: better said now than when hours of training are to be saved.</summary>
    private static int CountSlots(Optimizer optimizer)
    {
        IReadOnlyList<string> slots = optimizer.Slots ?? throw new ArgumentException($"The Slots of the optimizer {optimizer.Name} are null; expected a list, which may be empty.", nameof(optimizer));
        for (int slot = 0; slot < slots.Count; slot++)
        {
            string name = slots[slot] ?? throw new ArgumentException(FormattableString.Invariant($"Slot {slot} of the optimizer {optimizer.Name} has no name: it is null."), nameof(optimizer));
            for (int other = 0; other < slot; other++)
            {
                if (slots[other] == name)
                {
                    throw new ArgumentException(FormattableString.Invariant($"The slots {other} and {slot} of the optimizer {optimizer.Name} are both called '{name}'; expected a name of its own for each."), nameof(optimizer));
                }
            }
        }

        return slots.Count;
    }

    /// <summary>What ends the steps of each entry point that is one.</summary>
    private Update?[] CreateUpdates(CudaTraining? device)
    {
        var updates = new Update?[_layout.Entries.Length];
        try
        {
            for (int entry = 0; entry < updates.Length; entry++)
            {
                updates[entry] = _layout.Entries[entry].IsStep ? new Update(this, device, entry, _layout.Entries[entry].Updates) : null;
            }

            return updates;
        }
        catch
        {
            foreach (Update? update in updates)
            {
                update?.Dispose();
            }

            throw;
        }
    }

    /// <summary>Gives back what the trainer has on a device, once the device is done with it.</summary>
    private void ReleaseDevice()
    {
        _ranks?.Dispose();
        _cuda?.Execution.Drain();
        foreach (Update? update in _updates)
        {
            update?.Dispose();
        }

        _cuda?.Dispose();
    }

    /// <summary>Zeroes the training state, inside of a call's section.</summary>
    private void ClearState()
    {
        _state.Clear();
        _cuda?.Execution.ClearState(TrainingState);
    }

    /// <summary>Before the first micro-batch of a step.</summary>
    private void BeginStep(int entry)
    {
        if (StepCount == MaximumStepCount)
        {
            throw new InvalidOperationException(FormattableString.Invariant($"There is no step after {MaximumStepCount}."));
        }

        _updates[entry]!.Begin();
    }

    /// <summary>Copies one micro-batch of an input that was checked to where the plan takes it; what the last one lacks is padding.</summary>
    private void Stage<T>(int entry, int index, ReadOnlySpan<T> values, int micro)
        where T : unmanaged
    {
        EntryInput input = _layout.Entries[entry].Inputs[index];
        if (values.IsEmpty && input.Default is { } number)
        {
            // It was left out.
            if (input.Classes > 0)
            {
                new Span<int>(_arena.Floats + input.Offset, input.Length).Fill((int)number);
            }
            else
            {
                new Span<float>(_arena.Floats + input.Offset, input.Length).Fill((float)number);
            }

            return;
        }

        ReadOnlySpan<T> part = values[(micro * input.Length)..];
        var place = new Span<T>(_arena.Floats + input.Offset, input.Length);
        if (part.Length >= place.Length)
        {
            part[..place.Length].CopyTo(place);
            return;
        }

        part.CopyTo(place);
        new Span<byte>(_arena.Floats + input.Offset + part.Length, (place.Length - part.Length) * sizeof(float)).Fill((byte)(input.MayBeIgnored ? 0xFF : 0));
    }

    /// <summary>Runs one staged micro-batch of a step; the last one updates the weights.</summary>
    /// <returns>Its mean loss.</returns>
    private float RunStep(int entry, int micro)
    {
        if (micro > 0 && BeginsMicroBatchesAnew)
        {
            ClearState();
        }

        _context = new PlanContext
        {
            Count = Positions,
            Seed = WeightRandom.MixSeed(_seed, (ulong)_stepCount, (ulong)(_firstMicro + micro)),
            LossNormalizer = 1f / Counted(entry, _layout.BatchSize),
            GradientScale = 1f / _micros,
            Accumulate = micro > 0,
        };
        if (_cuda is not null)
        {
            return RunStepOnDevice(_cuda, entry, updates: micro == AccumulationSteps - 1);
        }

        _context.Weights = _weights.Pointer;
        _context.Gradients = _gradients.Floats;
        _context.Arena = _arena.Floats;
        _context.State = _state.Floats;
        if (micro < AccumulationSteps - 1)
        {
            _tasks[entry].Updates = false;
            _team.RunInside(_tasks[entry]);
        }
        else
        {
            _tasks[entry].Updates = true;
            _weights.BeginChange();
            try
            {
                _team.RunInside(_tasks[entry]);
            }
            finally
            {
                _weights.EndChange();
            }
        }

        return _arena.Floats[_layout.Entries[entry].Outputs[0].Offset];
    }

    /// <summary>As <see cref="RunStep"/>, once the run's numbers are known.</summary>
    private float RunStepOnDevice(CudaTraining cuda, int entry, bool updates)
    {
        try
        {
            return StartAndFinish(cuda, entry, updates);
        }
        catch (CudaException exception)
        {
            // Nobody shall wait for this rank. What was given to the device before still uses the memory of this step.
            _ranks?.Break(FormattableString.Invariant($"A rank of the training has failed: {exception.Message}"));
            cuda.Execution.Drain();
            throw;
        }
    }

    private float StartAndFinish(CudaTraining cuda, int entry, bool updates)
    {
        cuda.Execution.Start(entry, TrainingState, in _context);
        if (updates && _ranks is not null)
        {
            _updates[entry]!.AddOfAllRanks(_ranks, cuda);
        }

        if (!updates)
        {
            cuda.Execution.Finish(entry);
        }
        else if (_updates[entry]!.HasKernel)
        {
            _weights.BeginChange();
            try
            {
                _updates[entry]!.StartOnDevice();
                _ranks?.Wait(_layout.Entries[entry].Name);
                cuda.Execution.Finish(entry);
            }
            finally
            {
                // An update that was launched may have been done, whatever failed behind it.
                if (_updates[entry]!.IsLaunched)
                {
                    _weights.EndChange(cuda.Execution.Weights);
                }
                else
                {
                    _weights.EndWithoutChange();
                }
            }
        }
        else
        {
            // The optimizer is somebody's own: its update runs here, and the weights follow with the next run.
            _ranks?.Wait(_layout.Entries[entry].Name);
            cuda.Execution.Finish(entry);
            cuda.FetchGradients(_gradients.Floats);
            _weights.BeginChange();
            try
            {
                _team.RunInside(_updates[entry]!);
            }
            finally
            {
                _weights.EndChange();
            }
        }

        return _arena.Floats[_layout.Entries[entry].Outputs[0].Offset];
    }

    /// <summary>After the last micro-batch of a step.</summary>
    private void EndStep(int entry)
    {
        _lastUpdate = _updates[entry]!;
        _lastUpdate.End();
        _entrySteps[entry]++;
        Volatile.Write(ref _stepCount, _stepCount + 1);
    }

    /// <summary>Runs one staged micro-batch of an evaluation, of which only the first examples are given.</summary>
    /// <returns>The sum of the losses of what counts, and how many count.</returns>
    private (double Loss, long Count) RunEvaluation(int entry, int examples)
    {
        int counted = Counted(entry, examples);
        _context = new PlanContext { Count = Positions, LossNormalizer = 1f / counted, GradientScale = 1 };
        if (_cuda is not null)
        {
            _cuda.Execution.Run(entry, EvaluationState, in _context);
        }
        else
        {
            _context.Weights = _weights.Pointer;
            _context.Arena = _arena.Floats;
            _context.State = _evaluationState.Floats;
            _team.RunInside(_tasks[entry]);
        }

        // Rows that are ignored have no loss, wherever they lie; real targets are all there but for the last examples.
        EntryOutput losses = _layout.Entries[entry].Outputs[0];
        int rows = _ignorable[entry] is null ? losses.Length / _layout.BatchSize * examples : losses.Length;
        double sum = 0;
        foreach (float loss in new ReadOnlySpan<float>(_arena.Floats + losses.Offset, rows))
        {
            sum += loss;
        }

        return (sum, counted);
    }

    private int Positions => _layout.BatchSize * _layout.SequenceLength;

    /// <summary>The rows of a staged micro-batch that count: those that are not ignored, or those of the given examples.</summary>
    private int Counted(int entry, int examples)
        => _ignorable[entry] is { } input
            ? input.Length - MemoryExtensions.Count(new ReadOnlySpan<int>(_arena.Floats + input.Offset, input.Length), -1)
            : examples * _layout.SequenceLength;

    private float ScheduledRate(int entry) => ScheduledRate(entry, Optimizer.LearningRate);

    private float ScheduledRate(int entry, float rate)
    {
        if (Optimizer.Schedule is not { } schedule)
        {
            return rate;
        }

        double factor = schedule.Factor(_entrySteps[entry]);
        if (!(factor >= 0 && double.IsFinite(factor)))
        {
            throw new InvalidOperationException(FormattableString.Invariant($"The schedule {schedule} is {factor} at step {_entrySteps[entry]}, expected a finite factor of 0 or more."));
        }

        float scaled = (float)(rate * factor);
        return float.IsFinite(scaled) ? scaled : throw new InvalidOperationException(FormattableString.Invariant($"The schedule {schedule} is {factor} at step {_entrySteps[entry]}, which makes the learning rate of {rate} more than a float holds."));
    }

    /// <summary>
    /// One step or evaluation: all inputs are checked, and then staged and run one micro-batch after the other. Only an evaluation's last
    /// micro-batch may have fewer examples than the others.
    /// </summary>
    [EditorBrowsable(EditorBrowsableState.Never)]
    public ref struct TrainerCall
    {
        private readonly Trainer _trainer;
        private readonly EntryLayout _layout;
        private readonly int _entry;
        private readonly RunGuard.Section _section;
        private int _examples;
        private int _micro;
        private double _loss;
        private long _counted;

        internal TrainerCall(Trainer trainer, int entry, RunGuard.Section section)
        {
            _trainer = trainer;
            _entry = entry;
            _layout = trainer._layout.Entries[entry];
            _section = section;
            _micro = -1;
        }

        /// <summary>Checks an input of integers.</summary>
        /// <param name="index">The input's number.</param>
        /// <param name="values">Its elements: micro-batches, row-major; or none, where it may be left out.</param>
        /// <param name="name">What messages call it.</param>
        /// <exception cref="ArgumentException">There are too few or too many, or all of a micro-batch are ignored.</exception>
        /// <exception cref="ArgumentOutOfRangeException">An integer is outside its range.</exception>
        public void Check(int index, scoped ReadOnlySpan<int> values, string name)
        {
            EntryInput input = _layout.Inputs[index];
            if (values.IsEmpty && input.Default is not null)
            {
                return;
            }

            CheckLength(input, values.Length, name);
            if (input.MayBeIgnored)
            {
                CheckTargets(input, values, name);
            }
            else
            {
                RunChecks.TokenIds(values, input.Classes, name);
            }
        }

        /// <summary>Checks an input of floats.</summary>
        /// <param name="index">The input's number.</param>
        /// <param name="values">Its elements: micro-batches, row-major; or none, where it may be left out.</param>
        /// <param name="name">What messages call it.</param>
        /// <exception cref="ArgumentException">There are too few or too many.</exception>
        public void Check(int index, scoped ReadOnlySpan<float> values, string name)
        {
            if (!values.IsEmpty || _layout.Inputs[index].Default is null)
            {
                CheckLength(_layout.Inputs[index], values.Length, name);
            }
        }

        /// <summary>Goes on to the next micro-batch, whose inputs are then staged; false if there is none.</summary>
        public bool Next()
        {
            if (_examples == 0)
            {
                throw new ArgumentException($"Nothing says how many examples {_layout.Name} is to take: all inputs that would were left out.");
            }

            if (_micro < 0 && _layout.IsStep)
            {
                _trainer.BeginStep(_entry);
            }

            _micro++;
            if ((long)_micro * _trainer._layout.BatchSize < _examples)
            {
                return true;
            }

            if (_layout.IsStep)
            {
                _trainer.EndStep(_entry);
            }

            return false;
        }

        /// <summary>Takes this micro-batch's part of an input.</summary>
        /// <param name="index">The input's number.</param>
        /// <param name="values">All its elements.</param>
        /// <typeparam name="T">Integers or floats of 32 bits.</typeparam>
        public readonly void Stage<T>(int index, scoped ReadOnlySpan<T> values)
            where T : unmanaged
            => _trainer.Stage(_entry, index, values, _micro);

        /// <summary>Runs this micro-batch.</summary>
        public void Run()
        {
            if (_layout.IsStep)
            {
                _loss += _trainer.RunStep(_entry, _micro);
                _counted++;
                return;
            }

            int batch = _trainer._layout.BatchSize;
            (double loss, long counted) = _trainer.RunEvaluation(_entry, Math.Min(batch, _examples - (_micro * batch)));
            _loss += loss;
            _counted += counted;
        }

        /// <summary>The mean loss: of a step over its micro-batches, of an evaluation over everything that counts.</summary>
        public readonly float Loss => (float)(_loss / _counted);

        /// <summary>Ends the call.</summary>
        public readonly void Dispose() => _section.Dispose();

        private void CheckLength(EntryInput input, int found, string name)
        {
            ProgramLayout layout = _trainer._layout;
            int example = input.Length / layout.BatchSize;
            long expected = (long)input.Length * _trainer.AccumulationSteps;
            bool right = _layout.IsStep ? found == expected : found > 0 && found % example == 0;
            if (!right)
            {
                int size = example / layout.SequenceLength;
                string shape = FormattableString.Invariant($"sequence length {layout.SequenceLength} × {size}");
                throw new ArgumentException(
                    _layout.IsStep
                        ? FormattableString.Invariant($"A step takes {expected} {name} (accumulation steps {_trainer.AccumulationSteps} × batch size {layout.BatchSize} × {shape}), but there are {found}.")
                        : FormattableString.Invariant($"An evaluation takes a multiple of {example} {name} ({shape}), but there are {found}."),
                    name);
            }

            int examples = found / example;
            if (_examples != 0 && examples != _examples)
            {
                throw new ArgumentException(FormattableString.Invariant($"The inputs are {_examples} examples, but the {name} are {examples}."), name);
            }

            _examples = examples;
        }

        /// <summary>Checks class targets: -1 is ignored, but a micro-batch must have one that is not.</summary>
        private readonly void CheckTargets(EntryInput input, ReadOnlySpan<int> targets, string name)
        {
            for (int start = 0; start < targets.Length; start += input.Length)
            {
                ReadOnlySpan<int> micro = targets.Slice(start, Math.Min(input.Length, targets.Length - start));
                bool any = false;
                for (int index = 0; index < micro.Length; index++)
                {
                    // One unsigned comparison covers negative targets.
                    if ((uint)micro[index] < (uint)input.Classes)
                    {
                        any = true;
                    }
                    else if (micro[index] != -1)
                    {
                        throw new ArgumentOutOfRangeException(
                            name,
                            micro[index],
                            FormattableString.Invariant($"The target {micro[index]} at index {start + index} is neither a class, 0 to {input.Classes - 1} ({input.Classes} classes), nor -1 (ignored)."));
                    }
                }

                if (!any)
                {
                    throw new ArgumentException(
                        FormattableString.Invariant($"All {micro.Length} targets from index {start} on, a whole micro-batch, are -1 (ignored): there is no loss to compute."),
                        name);
                }
            }
        }
    }

    private sealed class EntryTask(Trainer trainer, int entry) : ITeamTask
    {
        /// <summary>Whether the update of the weights follows upon this micro-batch.</summary>
        public bool Updates { get; set; }

        public void Execute(Worker worker)
        {
            trainer.Execute(entry, in trainer._context, worker);
            if (Updates)
            {
                trainer._updates[entry]!.Execute(worker);
            }
        }
    }
}
