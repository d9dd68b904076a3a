namespace ModelGen;

/// <summary>
/// Declares an encoder–decoder with the architecture of T5 1.1 (and Flan-T5): root mean square norms before each sublayer, learned biases of relative positions, a gated feed-forward network, no bias in any layer, and scores that
/// are not scaled. Its sessions and trainers are those of <see cref="TransformerAttribute"/>. Parameters carry the names of the Hugging Face T5 layout (<c>encoder.block.0.layer.0.SelfAttention.q.weight</c>), so that public
/// checkpoints load by name. The first T5 has <see cref="GatedFeedForward"/> false, <see cref="Activation.Relu"/> and <see cref="TieEmbeddings"/>.
/// </summary>
/// <remarks>Raffel et al., "Exploring the Limits of Transfer Learning with a Unified Text-to-Text Transformer" (2020).</remarks>
[AttributeUsage(AttributeTargets.Class, AllowMultiple = false, Inherited = false)]
public sealed class T5Attribute : Attribute
{
    /// <summary>The number of layers of the encoder. Required, 1 or more.</summary>
    public int Layers { get; set; }

    /// <summary>The number of layers of the decoder. Default: <see cref="Layers"/> (which 0 stands for).</summary>
    public int DecoderLayers { get; set; }

    /// <summary>The width of both residual streams. Required, 1 or more; a multiple of <see cref="Heads"/> unless <see cref="HeadWidth"/> is given.</summary>
    public int DModel { get; set; }

    /// <summary>The number of attention heads. Required, 1 or more.</summary>
    public int Heads { get; set; }

    /// <summary>The channels of each head, T5's <c>d_kv</c>. Default: <c>DModel / Heads</c> (which 0 stands for).</summary>
    public int HeadWidth { get; set; }

    /// <summary>The hidden width of the feed-forward networks. Required, 1 or more.</summary>
    public int FeedForward { get; set; }

    /// <summary>The number of token ids, of sources and of targets. Required, 1 or more.</summary>
    public int Vocab { get; set; }

    /// <summary>The most tokens of a target, the one that it begins with included. Required, 1 or more.</summary>
    public int Context { get; set; }

    /// <summary>The most tokens of a source. Default: <see cref="Context"/> (which 0 stands for).</summary>
    public int SourceContext { get; set; }

    /// <summary>
    /// The number of buckets of distances, half of them for each direction in the encoder, and all for what came before in the decoder; in each, half are for a distance each, and the others for ranges that grow with the distance.
    /// Even, 4 or more. Default: 32.
    /// </summary>
    public int RelativeBuckets { get; set; } = 32;

    /// <summary>The distance from which on all share the last bucket. More than half of <see cref="RelativeBuckets"/>. Default: 128.</summary>
    public int RelativeDistance { get; set; } = 128;

    /// <summary>Whether the feed-forward network is wo(activation(wi_0 x) ⊙ wi_1 x) (Shazeer 2020), and not wo(activation(wi x)). Default: true.</summary>
    public bool GatedFeedForward { get; set; } = true;

    /// <summary>The activation inside the feed-forward networks. Default: <see cref="Activation.GeluTanh"/>.</summary>
    public Activation Activation { get; set; } = Activation.GeluTanh;

    /// <summary>Whether the head's weight is that of the embeddings, what it multiplies being divided by √<see cref="DModel"/>. Default: false, <c>lm_head.weight</c>.</summary>
    public bool TieEmbeddings { get; set; }

    /// <summary>What is added to the mean square in each norm. Default: 1e-6.</summary>
    public double NormEpsilon { get; set; } = 1e-6;

    /// <summary>The share ε of a target's probability that training spreads over all tokens alike, 0 to below 1 (label smoothing; Szegedy et al. 2016). Default: 0.</summary>
    public double LabelSmoothing { get; set; }

    /// <summary>
    /// The probability that an element is dropped while training, at the embeddings, inside the feed-forward networks, at the output of each sublayer and of each stack; 0 to below 1. Attention weights are not dropped.
    /// The paper has 0.1. Default: 0.
    /// </summary>
    public double Dropout { get; set; }

    /// <summary>
    /// Whether each step of a session also gives what it attends to in the source (<see cref="EncoderDecoderSession.Alignment"/>, <see cref="EncoderDecoderSession.AttentionWeights"/>), of every head of every decoder layer.
    /// Default: false.
    /// </summary>
    public bool AttentionWeights { get; set; }

    /// <summary>The most sequences that a session may hold (<see cref="SessionOptions.Batch"/>), 1 to 256: a beam, for one. Default: 1.</summary>
    public int MaxBatch { get; set; } = 1;
}
