using System.ComponentModel;
using ModelGen.Runtime;

namespace ModelGen;

/// <summary>
/// Trains a model from one sequence of token ids to another, by teacher forcing: each token of a target is predicted from its source and
/// from those that stand before it in the target.
/// </summary>
public abstract class SequencePairTrainer : Trainer
{
    private readonly int _step;
    private readonly int _evaluate;

    /// <summary>Called by emitted code.</summary>
    /// <param name="weights">The model's weights.</param>
    /// <param name="layout">The memory and sizes of the model's plans.</param>
    /// <param name="optimizer">The optimizer.</param>
    /// <param name="options">The trainer's options; null for the defaults.</param>
    [EditorBrowsable(EditorBrowsableState.Never)]
    protected SequencePairTrainer(ModelWeights weights, ProgramLayout layout, Optimizer optimizer, TrainerOptions? options)
        : base(weights, layout, optimizer, options)
    {
        _step = layout.IndexOf(nameof(Step));
        _evaluate = layout.IndexOf(nameof(Evaluate));
        ArgumentOutOfRangeException.ThrowIfNotEqual(layout.Entries[_step].Inputs.Length, 4);
        ArgumentOutOfRangeException.ThrowIfNotEqual(layout.Entries[_evaluate].Inputs.Length, 4);
    }

    /// <summary>The number of token ids of sources, 0 to one below it.</summary>
    public int SourceVocabularySize => PlanLayout.Entries[_step].Inputs[0].Classes;

    /// <summary>The number of token ids of targets, 0 to one below it.</summary>
    public int TargetVocabularySize => PlanLayout.Entries[_step].Inputs[3].Classes;

    /// <summary>The number of tokens of each source of a micro-batch, padding included.</summary>
    public int SourceLength => PlanLayout.Entries[_step].Inputs[0].Length / PlanLayout.BatchSize;

    /// <summary>One step: forward and backward over each micro-batch, then clipping and the optimizer.</summary>
    /// <param name="source">The sources' token ids: accumulation steps × batch size × source length, row-major. What stands behind a source's length is not looked at, but must be a token's id.</param>
    /// <param name="sourceLengths">How many tokens of each source count, 0 to the source length: accumulation steps × batch size.</param>
    /// <param name="inputs">The targets' token ids, shifted right behind the one that every target begins with: accumulation steps × batch size × sequence length, row-major.</param>
    /// <param name="targets">The id that follows at each position, or -1 where none counts, as behind a target's end; as many.</param>
    /// <returns>The mean loss over the targets that count, in nats, averaged over the micro-batches.</returns>
    /// <exception cref="ArgumentException">The lengths are wrong, or all targets of a micro-batch are -1. Nothing has changed.</exception>
    /// <exception cref="ArgumentOutOfRangeException">An id is outside its vocabulary, or a length is beyond the source length. Nothing has changed.</exception>
    /// <exception cref="InvalidOperationException">Another thread is using the trainer. Nothing has changed.</exception>
    /// <exception cref="ObjectDisposedException">The trainer was disposed.</exception>
    public float Step(ReadOnlySpan<int> source, ReadOnlySpan<int> sourceLengths, ReadOnlySpan<int> inputs, ReadOnlySpan<int> targets)
        => Run(_step, source, sourceLengths, inputs, targets);

    /// <summary>The loss without training.</summary>
    /// <param name="source">Any number of sources, as <see cref="Step"/> takes them. The last micro-batch may be short of pairs: what it lacks does not count.</param>
    /// <param name="sourceLengths">How many tokens of each count.</param>
    /// <param name="inputs">As many targets, shifted right.</param>
    /// <param name="targets">The id that follows at each position, or -1 where none counts; as many.</param>
    /// <returns>The mean loss over all targets that count, in nats.</returns>
    /// <exception cref="ArgumentException">The lengths are wrong, or all targets of a micro-batch are -1.</exception>
    /// <exception cref="ArgumentOutOfRangeException">An id is outside its vocabulary, or a length is beyond the source length.</exception>
    /// <exception cref="InvalidOperationException">Another thread is using the trainer.</exception>
    /// <exception cref="ObjectDisposedException">The trainer was disposed.</exception>
    public float Evaluate(ReadOnlySpan<int> source, ReadOnlySpan<int> sourceLengths, ReadOnlySpan<int> inputs, ReadOnlySpan<int> targets)
        => Run(_evaluate, source, sourceLengths, inputs, targets);

    private float Run(int entry, ReadOnlySpan<int> source, ReadOnlySpan<int> sourceLengths, ReadOnlySpan<int> inputs, ReadOnlySpan<int> targets)
    {
        using TrainerCall call = Begin(entry);
        call.Check(0, source, nameof(source));
        call.Check(1, sourceLengths, nameof(sourceLengths));
        call.Check(2, inputs, nameof(inputs));
        call.Check(3, targets, nameof(targets));
        while (call.Next())
        {
            call.Stage(0, source);
            call.Stage(1, sourceLengths);
            call.Stage(2, inputs);
            call.Stage(3, targets);
            call.Run();
        }

        return call.Loss;
    }
}
