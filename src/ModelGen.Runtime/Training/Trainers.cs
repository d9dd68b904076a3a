using System.ComponentModel;
using System.Runtime.InteropServices;
using ModelGen.Runtime;

namespace ModelGen;

/// <summary>Trains a model from token ids to token ids: a language model.</summary>
public abstract class TokenTrainer : Trainer
{
    /// <summary>Called by emitted code.</summary>
    /// <param name="weights">The model's weights.</param>
    /// <param name="layout">The memory and sizes of the model's plans.</param>
    /// <param name="optimizer">The optimizer.</param>
    /// <param name="options">The trainer's options; null for the defaults.</param>
    [EditorBrowsable(EditorBrowsableState.Never)]
    protected TokenTrainer(ModelWeights weights, TrainerLayout layout, Optimizer optimizer, TrainerOptions? options)
        : base(weights, layout, optimizer, options)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(layout.VocabularySize);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(layout.TargetClasses);
    }

    /// <summary>The number of token ids, 0 to one below it.</summary>
    public int VocabularySize => PlanLayout.VocabularySize;

    /// <summary>One step: forward and backward over each micro-batch, then clipping and the optimizer.</summary>
    /// <param name="inputs">Token ids: accumulation steps × batch size × sequence length, row-major.</param>
    /// <param name="targets">The id that follows at each position, or -1 where none counts; as many.</param>
    /// <returns>The mean cross-entropy over the targets that count, in nats, averaged over the micro-batches.</returns>
    /// <exception cref="ArgumentException">The lengths are wrong, or all targets of a micro-batch are -1. Nothing has changed.</exception>
    /// <exception cref="ArgumentOutOfRangeException">An id is outside the vocabulary. Nothing has changed.</exception>
    /// <exception cref="InvalidOperationException">Another thread is using the trainer. Nothing has changed.</exception>
    /// <exception cref="ObjectDisposedException">The trainer was disposed.</exception>
    public float Step(ReadOnlySpan<int> inputs, ReadOnlySpan<int> targets)
    {
        using RunGuard.Section call = Enter(nameof(Step));
        CheckStepLength(inputs.Length, targets.Length);
        RunChecks.TokenIds(inputs, PlanLayout.VocabularySize, nameof(inputs));
        CheckClassTargets(targets, nameof(targets));
        return StepChecked(MemoryMarshal.AsBytes(inputs), MemoryMarshal.AsBytes(targets), targets);
    }

    /// <summary>The loss without training. The state of a recurrence is carried from one evaluation to the next, apart from that of training.</summary>
    /// <param name="inputs">Token ids: any number of micro-batches of batch size × sequence length, row-major.</param>
    /// <param name="targets">The id that follows at each position, or -1 where none counts; as many.</param>
    /// <returns>The mean cross-entropy over all targets that count, in nats.</returns>
    /// <exception cref="ArgumentException">The lengths are wrong, or all targets of a micro-batch are -1.</exception>
    /// <exception cref="ArgumentOutOfRangeException">An id is outside the vocabulary.</exception>
    /// <exception cref="InvalidOperationException">Another thread is using the trainer.</exception>
    /// <exception cref="ObjectDisposedException">The trainer was disposed.</exception>
    public float Evaluate(ReadOnlySpan<int> inputs, ReadOnlySpan<int> targets)
    {
        using RunGuard.Section call = Enter(nameof(Evaluate));
        CheckEvaluateLength(inputs.Length, targets.Length);
        RunChecks.TokenIds(inputs, PlanLayout.VocabularySize, nameof(inputs));
        CheckClassTargets(targets, nameof(targets));
        return EvaluateChecked(MemoryMarshal.AsBytes(inputs), MemoryMarshal.AsBytes(targets), targets);
    }
}

/// <summary>Trains a model from real inputs to classes.</summary>
public abstract class ClassifierTrainer : Trainer
{
    /// <summary>Called by emitted code.</summary>
    /// <param name="weights">The model's weights.</param>
    /// <param name="layout">The memory and sizes of the model's plans.</param>
    /// <param name="optimizer">The optimizer.</param>
    /// <param name="options">The trainer's options; null for the defaults.</param>
    [EditorBrowsable(EditorBrowsableState.Never)]
    protected ClassifierTrainer(ModelWeights weights, TrainerLayout layout, Optimizer optimizer, TrainerOptions? options)
        : base(weights, layout, optimizer, options)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(layout.TargetClasses);
    }

    /// <summary>The number of inputs of an example.</summary>
    public int InputSize => PlanLayout.InputSize;

    /// <summary>The number of classes, 0 to one below it.</summary>
    public int Classes => PlanLayout.TargetClasses;

    /// <summary>One step: forward and backward over each micro-batch, then clipping and the optimizer.</summary>
    /// <param name="inputs">Accumulation steps × batch size × inputs, row-major.</param>
    /// <param name="targets">The class of each example, or -1 for one that does not count.</param>
    /// <returns>The mean cross-entropy over the examples that count, in nats, averaged over the micro-batches.</returns>
    /// <exception cref="ArgumentException">The lengths are wrong, or all targets of a micro-batch are -1. Nothing has changed.</exception>
    /// <exception cref="ArgumentOutOfRangeException">A target is no class. Nothing has changed.</exception>
    /// <exception cref="InvalidOperationException">Another thread is using the trainer. Nothing has changed.</exception>
    /// <exception cref="ObjectDisposedException">The trainer was disposed.</exception>
    public float Step(ReadOnlySpan<float> inputs, ReadOnlySpan<int> targets)
    {
        using RunGuard.Section call = Enter(nameof(Step));
        CheckStepLength(inputs.Length, targets.Length);
        CheckClassTargets(targets, nameof(targets));
        return StepChecked(MemoryMarshal.AsBytes(inputs), MemoryMarshal.AsBytes(targets), targets);
    }

    /// <summary>The loss without training.</summary>
    /// <param name="inputs">Any number of micro-batches of batch size × inputs, row-major.</param>
    /// <param name="targets">The class of each example, or -1 for one that does not count.</param>
    /// <returns>The mean cross-entropy over all examples that count, in nats.</returns>
    /// <exception cref="ArgumentException">The lengths are wrong, or all targets of a micro-batch are -1.</exception>
    /// <exception cref="ArgumentOutOfRangeException">A target is no class.</exception>
    /// <exception cref="InvalidOperationException">Another thread is using the trainer.</exception>
    /// <exception cref="ObjectDisposedException">The trainer was disposed.</exception>
    public float Evaluate(ReadOnlySpan<float> inputs, ReadOnlySpan<int> targets)
    {
        using RunGuard.Section call = Enter(nameof(Evaluate));
        CheckEvaluateLength(inputs.Length, targets.Length);
        CheckClassTargets(targets, nameof(targets));
        return EvaluateChecked(MemoryMarshal.AsBytes(inputs), MemoryMarshal.AsBytes(targets), targets);
    }
}

/// <summary>Trains a model from real inputs to real targets.</summary>
public abstract class RegressionTrainer : Trainer
{
    /// <summary>Called by emitted code.</summary>
    /// <param name="weights">The model's weights.</param>
    /// <param name="layout">The memory and sizes of the model's plans.</param>
    /// <param name="optimizer">The optimizer.</param>
    /// <param name="options">The trainer's options; null for the defaults.</param>
    [EditorBrowsable(EditorBrowsableState.Never)]
    protected RegressionTrainer(ModelWeights weights, TrainerLayout layout, Optimizer optimizer, TrainerOptions? options)
        : base(weights, layout, optimizer, options)
    {
        ArgumentOutOfRangeException.ThrowIfNotEqual(layout.TargetClasses, 0);
    }

    /// <summary>The number of inputs of an example.</summary>
    public int InputSize => PlanLayout.InputSize;

    /// <summary>The number of targets of an example.</summary>
    public int TargetSize => PlanLayout.TargetSize;

    /// <summary>One step: forward and backward over each micro-batch, then clipping and the optimizer.</summary>
    /// <param name="inputs">Accumulation steps × batch size × inputs, row-major.</param>
    /// <param name="targets">Accumulation steps × batch size × targets, row-major.</param>
    /// <returns>The mean over the examples of their loss, which is summed over their targets; averaged over the micro-batches.</returns>
    /// <exception cref="ArgumentException">The lengths are wrong. Nothing has changed.</exception>
    /// <exception cref="InvalidOperationException">Another thread is using the trainer. Nothing has changed.</exception>
    /// <exception cref="ObjectDisposedException">The trainer was disposed.</exception>
    public float Step(ReadOnlySpan<float> inputs, ReadOnlySpan<float> targets)
    {
        using RunGuard.Section call = Enter(nameof(Step));
        CheckStepLength(inputs.Length, targets.Length);
        return StepChecked(MemoryMarshal.AsBytes(inputs), MemoryMarshal.AsBytes(targets), default);
    }

    /// <summary>The loss without training.</summary>
    /// <param name="inputs">Any number of micro-batches of batch size × inputs, row-major.</param>
    /// <param name="targets">As many micro-batches of batch size × targets, row-major.</param>
    /// <returns>The mean over the examples of their loss, which is summed over their targets.</returns>
    /// <exception cref="ArgumentException">The lengths are wrong.</exception>
    /// <exception cref="InvalidOperationException">Another thread is using the trainer.</exception>
    /// <exception cref="ObjectDisposedException">The trainer was disposed.</exception>
    public float Evaluate(ReadOnlySpan<float> inputs, ReadOnlySpan<float> targets)
    {
        using RunGuard.Section call = Enter(nameof(Evaluate));
        CheckEvaluateLength(inputs.Length, targets.Length);
        return EvaluateChecked(MemoryMarshal.AsBytes(inputs), MemoryMarshal.AsBytes(targets), default);
    }
}
