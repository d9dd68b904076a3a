namespace ModelGen;

/// <summary>
/// Declares a recurrent encoder–decoder: layers of cells read the source, and as many write the target, beginning with the state that the encoder ends in (Cho et al.,
/// Sutskever et al., 2014), with attention to the encoder's outputs or without. Gates and parameter names are PyTorch's: <c>encoder.embedding.weight</c>,
/// <c>encoder.rnn.weight_ih_l0</c>, …, <c>decoder.rnn.weight_ih_l0</c>, …, <c>head.weight</c>.
/// <para>
/// A session encodes a source, <c>Encode(source)</c>, and goes on with the target, <c>Decode(token)</c>, from the token that targets begin with. A trainer's
/// <c>Step(source, sourceLengths, inputs, targets)</c> takes padded batches; inputs are the targets behind that token (teacher forcing), or in part what the model wrote
/// itself (<see cref="ScheduledSampling"/>).
/// </para>
/// </summary>
[AttributeUsage(AttributeTargets.Class, AllowMultiple = false, Inherited = false)]
public sealed class RecurrentSeq2SeqAttribute : Attribute
{
    /// <summary>The cell, of the encoder and of the decoder. Default: <see cref="Cell.Gru"/>.</summary>
    public Cell Cell { get; set; } = Cell.Gru;

    /// <summary>The number of recurrent layers of the encoder, and of the decoder. Default: 1.</summary>
    public int Layers { get; set; } = 1;

    /// <summary>The number of units in each recurrent layer. Required, 1 or more.</summary>
    public int Hidden { get; set; }

    /// <summary>The width of both token embeddings. Default: <see cref="Hidden"/> (which 0 stands for).</summary>
    public int Embedding { get; set; }

    /// <summary>The number of token ids of sources, 0 to <c>SourceVocab - 1</c>. Required, 1 or more.</summary>
    public int SourceVocab { get; set; }

    /// <summary>The number of token ids of targets, 0 to <c>TargetVocab - 1</c>. Required, 1 or more.</summary>
    public int TargetVocab { get; set; }

    /// <summary>How the decoder looks at the source. Default: <see cref="RecurrentAttention.None"/>.</summary>
    public RecurrentAttention Attention { get; set; } = RecurrentAttention.None;

    /// <summary>The most tokens of a source in a session. Default: 64.</summary>
    public int SourceContext { get; set; } = 64;

    /// <summary>
    /// The probability that an element is dropped while training, at both embeddings, between the encoder's layers and before the head; 0 to below 1. Default: 0.
    /// </summary>
    public double Dropout { get; set; }

    /// <summary>
    /// Whether each step of a session also gives what it attends to in the source (<see cref="EncoderDecoderSession.Alignment"/>,
    /// <see cref="EncoderDecoderSession.AttentionWeights"/>), which takes an <see cref="Attention"/>; beam search then knows the alignment of its outputs. It takes about as long as the attention itself. Default: false.
    /// </summary>
    public bool AttentionWeights { get; set; }

    /// <summary>
    /// The most pairs that a session may hold (<see cref="SessionOptions.Batch"/>), 1 to 256. With more than one there is a plan that
    /// decodes all of them in one step, which takes not much longer than a step of one. Default: 1.
    /// </summary>
    public int MaxBatch { get; set; } = 1;
}
