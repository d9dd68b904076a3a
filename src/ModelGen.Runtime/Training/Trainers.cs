using System.ComponentModel;
using ModelGen.Runtime;

namespace ModelGen;

/// <summary>Trains a model from token ids to token ids: a language model.</summary>
public abstract class TokenTrainer : Trainer
{
    private readonly int _step;
    private readonly int _evaluate;

    /// <summary>Called by emitted code.</summary>
    /// <param name="weights">The model's weights.</param>
    /// <param name="layout">The memory and sizes of the model's plans.</param>
    /// <param name="optimizer">The optimizer.</param>
    /// <param name="options">The trainer's options; null for the defaults.</param>
    [EditorBrowsable(EditorBrowsableState.Never)]
    protected TokenTrainer(ModelWeights weights, ProgramLayout layout, Optimizer optimizer, TrainerOptions? options)
        : base(weights, layout, optimizer, options)
    {
        _step = layout.IndexOf(nameof(Step));
        _evaluate = layout.IndexOf(nameof(Evaluate));
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(layout.Entries[_step].Inputs[0].Classes);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(layout.Entries[_step].Inputs[1].Classes);
    }

    /// <summary>The number of token ids, 0 to one below it.</summary>
    public int VocabularySize => PlanLayout.Entries[_step].Inputs[0].Classes;

    /// <summary>One step: forward and backward over each micro-batch, then clipping and the optimizer.</summary>
    /// <param name="inputs">Token ids: accumulation steps × batch size × sequence length, row-major.</param>
    /// <param name="targets">The id that follows at each position, or -1 where none counts; as many.</param>
    /// <returns>The mean cross-entropy over the targets that count, in nats, averaged over the micro-batches.</returns>
    /// <exception cref="ArgumentException">The lengths are wrong, or all targets of a micro-batch are -1. Nothing has changed.</exception>
    /// <exception cref="ArgumentOutOfRangeException">An id is outside the vocabulary. Nothing has changed.</exception>
    /// <exception cref="InvalidOperationException">Another thread is using the trainer. Nothing has changed.</exception>
    /// <exception cref="ObjectDisposedException">The trainer was disposed.</exception>
    public float Step(ReadOnlySpan<int> inputs, ReadOnlySpan<int> targets)
        => Run(_step, inputs, targets);

    /// <summary>The loss without training. The state of a recurrence is carried from one evaluation to the next, apart from that of training.</summary>
    /// <param name="inputs">Token ids: any number of sequences of the sequence length, row-major. The last micro-batch may be short of sequences: what it lacks does not count.</param>
    /// <param name="targets">The id that follows at each position, or -1 where none counts; as many.</param>
    /// <returns>The mean cross-entropy over all targets that count, in nats.</returns>
    /// <exception cref="ArgumentException">The lengths are wrong, or all targets of a micro-batch are -1.</exception>
    /// <exception cref="ArgumentOutOfRangeException">An id is outside the vocabulary.</exception>
    /// <exception cref="InvalidOperationException">Another thread is using the trainer.</exception>
    /// <exception cref="ObjectDisposedException">The trainer was disposed.</exception>
    public float Evaluate(ReadOnlySpan<int> inputs, ReadOnlySpan<int> targets)
        => Run(_evaluate, inputs, targets);

    private float Run(int entry, ReadOnlySpan<int> inputs, ReadOnlySpan<int> targets)
    {
        using TrainerCall call = Begin(entry);
        call.Check(0, inputs, nameof(inputs));
        call.Check(1, targets, nameof(targets));
        while (call.Next())
        {
            call.Stage(0, inputs);
            call.Stage(1, targets);
            call.Run();
        }

        return call.Loss;
    }
}

/// <summary>Trains a model from real inputs to classes.</summary>
public abstract class ClassifierTrainer : Trainer
{
    private readonly int _step;
    private readonly int _evaluate;

    /// <summary>Called by emitted code.</summary>
    /// <param name="weights">The model's weights.</param>
    /// <param name="layout">The memory and sizes of the model's plans.</param>
    /// <param name="optimizer">The optimizer.</param>
    /// <param name="options">The trainer's options; null for the defaults.</param>
    [EditorBrowsable(EditorBrowsableState.Never)]
    protected ClassifierTrainer(ModelWeights weights, ProgramLayout layout, Optimizer optimizer, TrainerOptions? options)
        : base(weights, layout, optimizer, options)
    {
        _step = layout.IndexOf(nameof(Step));
        _evaluate = layout.IndexOf(nameof(Evaluate));
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(layout.Entries[_step].Inputs[1].Classes);
    }

    /// <summary>The number of inputs of an example.</summary>
    public int InputSize => PlanLayout.Entries[_step].Inputs[0].Length / PlanLayout.BatchSize;

    /// <summary>The number of classes, 0 to one below it.</summary>
    public int Classes => PlanLayout.Entries[_step].Inputs[1].Classes;

    /// <summary>One step: forward and backward over each micro-batch, then clipping and the optimizer.</summary>
    /// <param name="inputs">Accumulation steps × batch size × inputs, row-major.</param>
    /// <param name="targets">The class of each example, or -1 for one that does not count.</param>
    /// <returns>The mean cross-entropy over the examples that count, in nats, averaged over the micro-batches.</returns>
    /// <exception cref="ArgumentException">The lengths are wrong, or all targets of a micro-batch are -1. Nothing has changed.</exception>
    /// <exception cref="ArgumentOutOfRangeException">A target is no class. Nothing has changed.</exception>
    /// <exception cref="InvalidOperationException">Another thread is using the trainer. Nothing has changed.</exception>
    /// <exception cref="ObjectDisposedException">The trainer was disposed.</exception>
    public float Step(ReadOnlySpan<float> inputs, ReadOnlySpan<int> targets)
        => Run(_step, inputs, targets);

    /// <summary>The loss without training.</summary>
    /// <param name="inputs">Any number of examples × inputs, row-major.</param>
    /// <param name="targets">The class of each example, or -1 for one that does not count.</param>
    /// <returns>The mean cross-entropy over all examples that count, in nats.</returns>
    /// <exception cref="ArgumentException">The lengths are wrong, or all targets of a micro-batch are -1.</exception>
    /// <exception cref="ArgumentOutOfRangeException">A target is no class.</exception>
    /// <exception cref="InvalidOperationException">Another thread is using the trainer.</exception>
    /// <exception cref="ObjectDisposedException">The trainer was disposed.</exception>
    public float Evaluate(ReadOnlySpan<float> inputs, ReadOnlySpan<int> targets)
        => Run(_evaluate, inputs, targets);

    private float Run(int entry, ReadOnlySpan<float> inputs, ReadOnlySpan<int> targets)
    {
        using TrainerCall call = Begin(entry);
        call.Check(0, inputs, nameof(inputs));
        call.Check(1, targets, nameof(targets));
        while (call.Next())
        {
            call.Stage(0, inputs);
            call.Stage(1, targets);
            call.Run();
        }

        return call.Loss;
    }
}

/// <summary>Trains a model from real inputs to real targets.</summary>
public abstract class RegressionTrainer : Trainer
{
    private readonly int _step;
    private readonly int _evaluate;

    /// <summary>Called by emitted code.</summary>
    /// <param name="weights">The model's weights.</param>
    /// <param name="layout">The memory and sizes of the model's plans.</param>
    /// <param name="optimizer">The optimizer.</param>
    /// <param name="options">The trainer's options; null for the defaults.</param>
    [EditorBrowsable(EditorBrowsableState.Never)]
    protected RegressionTrainer(ModelWeights weights, ProgramLayout layout, Optimizer optimizer, TrainerOptions? options)
        : base(weights, layout, optimizer, options)
    {
        _step = layout.IndexOf(nameof(Step));
        _evaluate = layout.IndexOf(nameof(Evaluate));
        ArgumentOutOfRangeException.ThrowIfNotEqual(layout.Entries[_step].Inputs[1].Classes, 0);
    }

    /// <summary>The number of inputs of an example.</summary>
    public int InputSize => PlanLayout.Entries[_step].Inputs[0].Length / PlanLayout.BatchSize;

    /// <summary>The number of targets of an example.</summary>
    public int TargetSize => PlanLayout.Entries[_step].Inputs[1].Length / PlanLayout.BatchSize;

    /// <summary>One step: forward and backward over each micro-batch, then clipping and the optimizer.</summary>
    /// <param name="inputs">Accumulation steps × batch size × inputs, row-major.</param>
    /// <param name="targets">Accumulation steps × batch size × targets, row-major.</param>
    /// <returns>The mean over the examples of their loss, which is summed over their targets; averaged over the micro-batches.</returns>
    /// <exception cref="ArgumentException">The lengths are wrong. Nothing has changed.</exception>
    /// <exception cref="InvalidOperationException">Another thread is using the trainer. Nothing has changed.</exception>
    /// <exception cref="ObjectDisposedException">The trainer was disposed.</exception>
    public float Step(ReadOnlySpan<float> inputs, ReadOnlySpan<float> targets)
        => Run(_step, inputs, targets);

    /// <summary>The loss without training.</summary>
    /// <param name="inputs">Any number of examples × inputs, row-major.</param>
    /// <param name="targets">As many examples × targets, row-major.</param>
    /// <returns>The mean over the examples of their loss, which is summed over their targets.</returns>
    /// <exception cref="ArgumentException">The lengths are wrong.</exception>
    /// <exception cref="InvalidOperationException">Another thread is using the trainer.</exception>
    /// <exception cref="ObjectDisposedException">The trainer was disposed.</exception>
    public float Evaluate(ReadOnlySpan<float> inputs, ReadOnlySpan<float> targets)
        => Run(_evaluate, inputs, targets);

    private float Run(int entry, ReadOnlySpan<float> inputs, ReadOnlySpan<float> targets)
    {
        using TrainerCall call = Begin(entry);
        call.Check(0, inputs, nameof(inputs));
        call.Check(1, targets, nameof(targets));
        while (call.Next())
        {
            call.Stage(0, inputs);
            call.Stage(1, targets);
            call.Run();
        }

        return call.Loss;
    }
}
