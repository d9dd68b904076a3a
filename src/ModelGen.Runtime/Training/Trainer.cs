using System.ComponentModel;
using System.Runtime.InteropServices;
using ModelGen.Runtime;

namespace ModelGen;

/// <summary>
/// The training of a model: its gradients, the optimizer's slots, the training arena and the threads. It updates the model's weights
/// in place. What a recurrence carries goes on from step to step, as if each continued the text of the one before, until
/// <see cref="ResetState"/>. A step allocates nothing, and its results do not depend on the number of threads, to the bit. A trainer may
/// be used by one thread at a time: a call that comes while another one runs is refused and changes nothing. While it steps, nothing else
/// may read the model's weights.
/// </summary>
public abstract unsafe partial class Trainer : IDisposable
{
    private readonly ModelWeights _weights;
    private readonly TrainerLayout _layout;
    private readonly RunGuard _guard = new("trainer");
    private readonly WorkerTeam _team;
    private readonly NativeBlock _arena;
    private readonly PinnedBlock _gradients;
    private readonly NativeBlock _slots;
    private readonly NativeBlock _state;
    private readonly NativeBlock _evaluationState;
    private readonly StepTask _stepTask;
    private readonly EvaluateTask _evaluateTask;
    private readonly Update _update;
    private readonly int _slotCount;
    private readonly PlanPlaces _stepPlaces;
    private readonly PlanPlaces _evaluatePlaces;
    private PlanContext _context;
    private ulong _seed;
    private long _stepCount;

    /// <summary>Called by emitted code.</summary>
    /// <param name="weights">The model's weights.</param>
    /// <param name="layout">The memory and sizes of the model's plans.</param>
    /// <param name="optimizer">The optimizer.</param>
    /// <param name="options">The trainer's options; null for the defaults.</param>
    /// <exception cref="ArgumentOutOfRangeException">An option is outside its range.</exception>
    [EditorBrowsable(EditorBrowsableState.Never)]
    private protected Trainer(ModelWeights weights, TrainerLayout layout, Optimizer optimizer, TrainerOptions? options)
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

        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(layout.BatchSize);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(layout.SequenceLength);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(layout.InputSize);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(layout.TargetSize);
        Positions = checked(layout.BatchSize * layout.SequenceLength);
        InputLength = checked(Positions * layout.InputSize);
        TargetLength = checked(Positions * layout.TargetSize);
        _stepPlaces = new PlanPlaces(layout.InputOffset, layout.TargetOffset, layout.LossOffset);
        _evaluatePlaces = new PlanPlaces(
            layout.EvaluateInputOffset ?? layout.InputOffset,
            layout.EvaluateTargetOffset ?? layout.TargetOffset,
            layout.EvaluateLossOffset ?? layout.LossOffset);
        foreach (PlanPlaces places in new[] { _stepPlaces, _evaluatePlaces })
        {
            RunChecks.InsideArena(layout.ModelName, nameof(layout.InputOffset), places.Inputs, InputLength, layout.ArenaBytes);
            RunChecks.InsideArena(layout.ModelName, nameof(layout.TargetOffset), places.Targets, TargetLength, layout.ArenaBytes);
            RunChecks.InsideArena(layout.ModelName, nameof(layout.LossOffset), places.Loss, 1, layout.ArenaBytes);
        }

        _weights = weights;
        _layout = layout;
        _seed = unchecked((ulong)options.Seed);
        Optimizer = optimizer;
        AccumulationSteps = options.AccumulationSteps;
        _slotCount = optimizer.Slots.Count;
        _arena = new NativeBlock(layout.ArenaBytes);
        _gradients = new PinnedBlock(weights.Length);
        _slots = NativeBlock.OfFloats(checked(weights.Length * _slotCount));
        _state = new NativeBlock(layout.StateBytes);
        _evaluationState = new NativeBlock(layout.StateBytes);
        _stepTask = new StepTask(this);
        _evaluateTask = new EvaluateTask(this);
        _update = new Update(this);
        _team = new WorkerTeam(threads, layout.ScratchBytes, _guard);
    }

    /// <summary>The number of steps done, those before a loaded checkpoint included. It may be read at any time, by any thread.</summary>
    public long StepCount => Volatile.Read(ref _stepCount);

    /// <summary>The learning rate of the last step; before the first, that which the first will have. It may be read at any time, by any thread.</summary>
    public float LearningRate => _update.LearningRate is var rate && !float.IsNaN(rate) ? rate : ScheduledRate();

    /// <summary>The Euclidean norm of all gradients of the last step, before clipping. It may be read at any time, by any thread.</summary>
    public float GradientNorm => _update.GradientNorm;

    /// <summary>The number of sequences (or examples) in a micro-batch.</summary>
    public int BatchSize => _layout.BatchSize;

    /// <summary>The number of positions in a sequence; 1 where there are no sequences.</summary>
    public int SequenceLength => _layout.SequenceLength;

    /// <summary>The number of micro-batches whose gradients are averaged in one step.</summary>
    public int AccumulationSteps { get; }

    /// <summary>The number of threads that compute, the caller's included: as many as the options allow, but no more than processors.</summary>
    public int Threads => _team.Count;

    /// <summary>The optimizer.</summary>
    public Optimizer Optimizer { get; }

    /// <summary>The model's name.</summary>
    public string ModelName => _layout.ModelName;

    /// <summary>All native memory of this trainer and of the model's weights in bytes, the threads' scratch excepted.</summary>
    internal long MemoryBytes
        => (_weights.Length * sizeof(float)) + _arena.ByteLength + _gradients.ByteLength + _slots.ByteLength + _state.ByteLength + _evaluationState.ByteLength;

    internal Span<float> Arena => new(_arena.Floats, checked((int)(_arena.ByteLength / sizeof(float))));

    private protected TrainerLayout PlanLayout => _layout;

    private protected int Positions { get; }

    /// <summary>The number of input elements of a micro-batch.</summary>
    private protected int InputLength { get; }

    /// <summary>The number of target elements of a micro-batch.</summary>
    private protected int TargetLength { get; }

    /// <summary>The gradient of a parameter at the last step, averaged over its micro-batches, before clipping; zeros before the first step.</summary>
    /// <param name="parameterName">The parameter's name.</param>
    /// <returns>The gradient in the parameter's shape. The next step overwrites it; the trainer's disposal does not.</returns>
    /// <exception cref="ArgumentException">The model has no such parameter.</exception>
    /// <exception cref="InvalidOperationException">Another thread is using the trainer.</exception>
    /// <exception cref="ObjectDisposedException">The trainer was disposed.</exception>
    public ReadOnlySpan<float> Gradient(string parameterName)
    {
        using RunGuard.Section call = Enter(nameof(Gradient));
        return _weights.Table.Span(_gradients, parameterName);
    }

    /// <summary>Zeroes the state that a recurrence carries from one step to the next: as at the start of a text.</summary>
    /// <exception cref="InvalidOperationException">Another thread is using the trainer.</exception>
    /// <exception cref="ObjectDisposedException">The trainer was disposed.</exception>
    public void ResetState()
    {
        using RunGuard.Section call = Enter(nameof(ResetState));
        _state.Clear();
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
    }

    /// <summary>Ends the trainer's threads and frees its memory. The model keeps its weights.</summary>
    /// <exception cref="InvalidOperationException">Another thread is using the trainer.</exception>
    public void Dispose()
    {
        if (_guard.Close())
        {
            _team.End();
            _arena.Dispose();
            _gradients.Release();
            _slots.Dispose();
            _state.Dispose();
            _evaluationState.Dispose();
        }

        GC.SuppressFinalize(this);
    }

    /// <summary>
    /// Emitted: runs the forward and backward pass of one micro-batch. No worker leaves it before all gradients are written and no
    /// weight is read any more: a plan ends with a barrier.
    /// </summary>
    /// <param name="context">Where the memory is, and the micro-batch's numbers.</param>
    /// <param name="worker">The worker that calls.</param>
    [EditorBrowsable(EditorBrowsableState.Never)]
    protected abstract void ExecuteStep(in PlanContext context, Worker worker);

    /// <summary>Emitted: runs the forward pass of one micro-batch, without dropout.</summary>
    /// <param name="context">Where the memory is, and the micro-batch's numbers.</param>
    /// <param name="worker">The worker that calls.</param>
    [EditorBrowsable(EditorBrowsableState.Never)]
    protected abstract void ExecuteEvaluate(in PlanContext context, Worker worker);

    /// <summary>Enters the critical section that a public call is.</summary>
    private protected RunGuard.Section Enter(string call) => _guard.Enter(call, this);

    /// <summary>One step over micro-batches that were checked. Elements are 32 bits wide, integers or floats.</summary>
    private protected float StepChecked(ReadOnlySpan<byte> inputs, ReadOnlySpan<byte> targets, ReadOnlySpan<int> classTargets)
    {
        int inputBytes = InputLength * sizeof(float);
        int targetBytes = TargetLength * sizeof(float);
        double loss = 0;
        if (StepCount == MaximumStepCount)
        {
            throw new InvalidOperationException(FormattableString.Invariant($"There is no step after {MaximumStepCount}."));
        }

        _update.Begin();
        for (int micro = 0; micro < AccumulationSteps; micro++)
        {
            float* arena = Stage(_stepPlaces, inputs.Slice(micro * inputBytes, inputBytes), targets.Slice(micro * targetBytes, targetBytes));
            _context = new PlanContext
            {
                Weights = _weights.Pointer,
                Gradients = _gradients.Floats,
                Arena = arena,
                State = _state.Floats,
                Count = Positions,
                Seed = WeightRandom.MixSeed(_seed, (ulong)StepCount, (ulong)micro),
                LossNormalizer = LossNormalizer(classTargets, micro, out _),
                GradientScale = 1f / AccumulationSteps,
                Accumulate = micro > 0,
            };
            _stepTask.Updates = micro == AccumulationSteps - 1;
            _team.RunInside(_stepTask);
            loss += arena[_stepPlaces.Loss];
        }

        _update.End();
        Volatile.Write(ref _stepCount, _stepCount + 1);
        return (float)(loss / AccumulationSteps);
    }

    /// <summary>The mean loss, over the targets that are not ignored, of micro-batches that were checked.</summary>
    private protected float EvaluateChecked(ReadOnlySpan<byte> inputs, ReadOnlySpan<byte> targets, ReadOnlySpan<int> classTargets)
    {
        int inputBytes = InputLength * sizeof(float);
        int targetBytes = TargetLength * sizeof(float);
        double loss = 0;
        long count = 0;
        for (int micro = 0; micro < inputs.Length / inputBytes; micro++)
        {
            float* arena = Stage(_evaluatePlaces, inputs.Slice(micro * inputBytes, inputBytes), targets.Slice(micro * targetBytes, targetBytes));
            _context = new PlanContext
            {
                Weights = _weights.Pointer,
                Arena = arena,
                State = _evaluationState.Floats,
                Count = Positions,
                LossNormalizer = LossNormalizer(classTargets, micro, out int counted),
                GradientScale = 1,
            };
            _team.RunInside(_evaluateTask);
            loss += arena[_evaluatePlaces.Loss] * (double)counted;
            count += counted;
        }

        return (float)(loss / count);
    }

    /// <summary>Checks class targets: -1 is ignored, but a micro-batch must have one that is not.</summary>
    private protected void CheckClassTargets(ReadOnlySpan<int> targets, string parameterName)
    {
        int classes = _layout.TargetClasses;
        for (int start = 0; start < targets.Length; start += TargetLength)
        {
            ReadOnlySpan<int> micro = targets.Slice(start, TargetLength);
            bool any = false;
            for (int index = 0; index < micro.Length; index++)
            {
                // One unsigned comparison covers negative targets.
                if ((uint)micro[index] < (uint)classes)
                {
                    any = true;
                }
                else if (micro[index] != -1)
                {
                    throw new ArgumentOutOfRangeException(
                        parameterName,
                        micro[index],
                        FormattableString.Invariant($"The target {micro[index]} at index {start + index} is neither a class, 0 to {classes - 1} ({classes} classes), nor -1 (ignored)."));
                }
            }

            if (!any)
            {
                throw new ArgumentException(
                    FormattableString.Invariant($"All {TargetLength} targets from index {start} on, a whole micro-batch, are -1 (ignored): there is no loss to compute."),
                    parameterName);
            }
        }
    }

    /// <summary>Checks that inputs and targets are the micro-batches of one step.</summary>
    private protected void CheckStepLength(int inputs, int targets)
    {
        CheckLength(inputs, InputLength, _layout.InputSize, "inputs", isStep: true);
        CheckLength(targets, TargetLength, _layout.TargetSize, "targets", isStep: true);
    }

    /// <summary>Checks that inputs and targets are equally many micro-batches.</summary>
    private protected void CheckEvaluateLength(int inputs, int targets)
    {
        CheckLength(inputs, InputLength, _layout.InputSize, "inputs", isStep: false);
        CheckLength(targets, TargetLength, _layout.TargetSize, "targets", isStep: false);
        if (inputs / InputLength != targets / TargetLength)
        {
            throw new ArgumentException(
                FormattableString.Invariant($"The inputs are {inputs / InputLength} micro-batches, but the targets are {targets / TargetLength}."),
                "targets");
        }
    }

    private void CheckLength(int found, int microBatch, int size, string parameterName, bool isStep)
    {
        bool right = isStep ? found == (long)microBatch * AccumulationSteps : found > 0 && found % microBatch == 0;
        if (!right)
        {
            string shape = FormattableString.Invariant($"batch size {_layout.BatchSize} × sequence length {_layout.SequenceLength} × {size}");
            throw new ArgumentException(
                isStep
                    ? FormattableString.Invariant($"A step takes {(long)microBatch * AccumulationSteps} {parameterName} (accumulation steps {AccumulationSteps} × {shape}), but there are {found}.")
                    : FormattableString.Invariant($"An evaluation takes a multiple of {microBatch} {parameterName} ({shape}), but there are {found}."),
                parameterName);
        }
    }

    private float* Stage(PlanPlaces places, ReadOnlySpan<byte> inputs, ReadOnlySpan<byte> targets)
    {
        float* arena = _arena.Floats;
        inputs.CopyTo(new Span<byte>(arena + places.Inputs, inputs.Length));
        targets.CopyTo(new Span<byte>(arena + places.Targets, targets.Length));
        return arena;
    }

    private float LossNormalizer(ReadOnlySpan<int> classTargets, int micro, out int counted)
    {
        // Real targets all count, and an example's elements are summed, not averaged.
        counted = Positions;
        if (_layout.TargetClasses > 0)
        {
            counted = TargetLength - MemoryExtensions.Count(classTargets.Slice(micro * TargetLength, TargetLength), -1);
        }

        return 1f / counted;
    }

    private float ScheduledRate()
        => Optimizer.Schedule is { } schedule ? (float)(Optimizer.LearningRate * schedule.Factor(StepCount)) : Optimizer.LearningRate;

    /// <summary>Where a plan takes its inputs and targets and leaves its loss, in floats from the arena's start.</summary>
    private readonly record struct PlanPlaces(long Inputs, long Targets, long Loss);

    private sealed class StepTask(Trainer trainer) : ITeamTask
    {
        /// <summary>Whether the update of the weights follows upon this micro-batch.</summary>
        public bool Updates { get; set; }

        public void Execute(Worker worker)
        {
            trainer.ExecuteStep(in trainer._context, worker);
            if (Updates)
            {
                trainer._update.Execute(worker);
            }
        }
    }

    private sealed class EvaluateTask(Trainer trainer) : ITeamTask
    {
        public void Execute(Worker worker) => trainer.ExecuteEvaluate(in trainer._context, worker);
    }
}
