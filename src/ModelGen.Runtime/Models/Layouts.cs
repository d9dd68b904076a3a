using System.ComponentModel;

namespace ModelGen.Runtime;

/// <summary>The memory and sizes of a model's prefill and decode plans. Offsets are in floats from the start of the arena.</summary>
[EditorBrowsable(EditorBrowsableState.Never)]
public sealed class SessionLayout
{
    /// <summary>The model's name, for messages.</summary>
    public required string ModelName { get; init; }

    /// <summary>The size of the arena in bytes.</summary>
    public required long ArenaBytes { get; init; }

    /// <summary>The size of the key/value cache or the recurrent state in bytes.</summary>
    public required long StateBytes { get; init; }

    /// <summary>The scratch memory of each worker in bytes.</summary>
    public required long ScratchBytes { get; init; }

    /// <summary>The number of token ids.</summary>
    public required int VocabularySize { get; init; }

    /// <summary>The most tokens that a session holds; 0 where there is no limit.</summary>
    public required int ContextLength { get; init; }

    /// <summary>The most tokens in one run of the prefill plan.</summary>
    public required int PrefillChunk { get; init; }

    /// <summary>Where the prefill plan takes its token ids, as 32-bit integers: <see cref="PrefillChunk"/> of them.</summary>
    public required long TokensOffset { get; init; }

    /// <summary>Where the decode plan takes its token id; null where the prefill plan takes its first.</summary>
    public long? TokensOffsetDecode { get; init; }

    /// <summary>Where the prefill plan leaves the last token's logits.</summary>
    public required long LogitsOffsetPrefill { get; init; }

    /// <summary>Where the decode plan leaves the token's logits.</summary>
    public required long LogitsOffsetDecode { get; init; }
}

/// <summary>The memory and sizes of a feed-forward model's plan. Offsets are in floats from the start of the arena.</summary>
[EditorBrowsable(EditorBrowsableState.Never)]
public sealed class FeedForwardLayout
{
    /// <summary>The model's name, for messages.</summary>
    public required string ModelName { get; init; }

    /// <summary>The size of the arena in bytes.</summary>
    public required long ArenaBytes { get; init; }

    /// <summary>The scratch memory of each worker in bytes.</summary>
    public required long ScratchBytes { get; init; }

    /// <summary>The number of inputs in a row.</summary>
    public required int InputSize { get; init; }

    /// <summary>The number of outputs in a row.</summary>
    public required int OutputSize { get; init; }

    /// <summary>The most rows in one run.</summary>
    public required int MaximumBatch { get; init; }

    /// <summary>Where the run's inputs go.</summary>
    public required long InputOffset { get; init; }

    /// <summary>Where the plan leaves its outputs.</summary>
    public required long OutputOffset { get; init; }
}

/// <summary>The memory and sizes of a model's training and evaluation plans. Offsets are in floats from the start of the arena.</summary>
[EditorBrowsable(EditorBrowsableState.Never)]
public sealed class TrainerLayout
{
    /// <summary>The model's name, for messages.</summary>
    public required string ModelName { get; init; }

    /// <summary>The size of the arena in bytes.</summary>
    public required long ArenaBytes { get; init; }

    /// <summary>The size in bytes of the state that a recurrence carries from step to step; 0 where there is none.</summary>
    public required long StateBytes { get; init; }

    /// <summary>The scratch memory of each worker in bytes.</summary>
    public required long ScratchBytes { get; init; }

    /// <summary>The number of sequences (or examples) in a micro-batch.</summary>
    public required int BatchSize { get; init; }

    /// <summary>The number of positions in a sequence; 1 where there are no sequences.</summary>
    public required int SequenceLength { get; init; }

    /// <summary>The number of input elements at each position: 1 for token ids.</summary>
    public required int InputSize { get; init; }

    /// <summary>The number of target elements at each position: 1 for class targets.</summary>
    public required int TargetSize { get; init; }

    /// <summary>The number of input token ids; 0 where the inputs are floats.</summary>
    public required int VocabularySize { get; init; }

    /// <summary>The number of target classes; 0 where the targets are floats.</summary>
    public required int TargetClasses { get; init; }

    /// <summary>Where the step plan takes a micro-batch's inputs, as floats or 32-bit integers.</summary>
    public required long InputOffset { get; init; }

    /// <summary>Where the step plan takes a micro-batch's targets, as floats or 32-bit integers.</summary>
    public required long TargetOffset { get; init; }

    /// <summary>Where the step plan leaves the micro-batch's mean loss.</summary>
    public required long LossOffset { get; init; }

    /// <summary>Where the evaluation plan takes its inputs; null where the step plan does.</summary>
    public long? EvaluateInputOffset { get; init; }

    /// <summary>Where the evaluation plan takes its targets; null where the step plan does.</summary>
    public long? EvaluateTargetOffset { get; init; }

    /// <summary>Where the evaluation plan leaves its loss; null where the step plan does.</summary>
    public long? EvaluateLossOffset { get; init; }
}
