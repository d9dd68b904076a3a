namespace ModelGen;

/// <summary>
/// Declares a Transformer from one sequence of tokens to another: an encoder of self-attention over a source, and a decoder of causal self-attention
/// over a target and of cross-attention to the encoded source. Parameters carry the names of PyTorch's <c>nn.Transformer</c> (<c>encoder.layers.0.self_attn.in_proj_weight</c>),
/// with or without <c>transformer.</c> before them, beside <c>src_embed.weight</c>, <c>tgt_embed.weight</c>, <c>generator.weight</c> and <c>generator.bias</c>.
/// </summary>
/// <remarks>Vaswani et al., "Attention Is All You Need" (2017), whose base model the defaults are.</remarks>
[AttributeUsage(AttributeTargets.Class, AllowMultiple = false, Inherited = false)]
public sealed class TransformerAttribute : Attribute
{
    /// <summary>The number of layers of the encoder, 1 or more. Default: 6.</summary>
    public int EncoderLayers { get; set; } = 6;

    /// <summary>The number of layers of the decoder, 1 or more. Default: 6.</summary>
    public int DecoderLayers { get; set; } = 6;

    /// <summary>The width of both residual streams, a multiple of <see cref="Heads"/>. Default: 512.</summary>
    public int DModel { get; set; } = 512;

    /// <summary>The number of attention heads; each has <c>DModel / Heads</c> channels. Default: 8.</summary>
    public int Heads { get; set; } = 8;

    /// <summary>The hidden width of the feed-forward networks. Default: 2048.</summary>
    public int FeedForward { get; set; } = 2048;

    /// <summary>The number of token ids of sources. Required, 1 or more.</summary>
    public int SourceVocab { get; set; }

    /// <summary>The number of token ids of targets. Required, 1 or more.</summary>
    public int TargetVocab { get; set; }

    /// <summary>The most tokens of a target, the one that it begins with included. Required, 1 or more.</summary>
    public int Context { get; set; }

    /// <summary>The most tokens of a source. Default: <see cref="Context"/> (which 0 stands for).</summary>
    public int SourceContext { get; set; }

    /// <summary>
    /// Which other positions a position  of self-attention sees. With a pattern, work and memory grow with what is seen, and not with the square of the
    /// length. Default: <see cref="AttentionPattern.Full"/>.
    /// </summary>
    public AttentionPattern Attention { get; set; }

    /// <summary>
    /// With <see cref="AttentionPattern.Window"/>, a position sees those at a distance of less than this: in the encoder on both sides, in the decoder before it. Sessions keep a target's keys and values in a ring of so many, however long it is: 1 or more. A layer sees what the one below saw, so that what is seen of
    /// the text grows by a window with each layer.
    /// </summary>
    public int Window { get; set; }

    /// <summary>
    /// With <see cref="AttentionPattern.Window"/> and in the place of <see cref="Window"/>, the window of each layer of either stack, from the first one again where there are more layers: <c>{ 64, 0 }</c> alternates, and <c>{ 64, 64, 64, 64, 64, 0 }</c>
    /// is five to one. 0 stands for a layer that sees all positions. Default: all layers have <see cref="Window"/>.
    /// </summary>
    public int[] LayerWindows { get; set; } = [];

    /// <summary>
    /// With <see cref="AttentionPattern.Window"/>, how many of a sequence's first positions are seen by all others beside the window; in the encoder, those see all positions: global attention (Beltagy et al. 2020,
    /// section 3.1). Default: 0.
    /// </summary>
    public int GlobalTokens { get; set; }

    /// <summary>
    /// With <see cref="AttentionPattern.Strided"/> and <see cref="AttentionPattern.Fixed"/>, the distance that is seen, or how many positions a block has: 1 or more. About the square root of the
    /// length makes work least.
    /// </summary>
    public int Stride { get; set; }

    /// <summary>With <see cref="AttentionPattern.Fixed"/>, how many of a block's last positions are seen by all other blocks: 1 to <see cref="Stride"/>. Default: 1.</summary>
    public int SummaryTokens { get; set; } = 1;

    /// <summary>
    /// How the model knows positions. <see cref="PositionEncoding.Alibi"/> and <see cref="PositionEncoding.Relative"/> bias the scores of self-attention; cross-attention has no distances. Default: <see cref="PositionEncoding.Sinusoids"/>.
    /// </summary>
    public PositionEncoding Positions { get; set; } = PositionEncoding.Sinusoids;

    /// <summary>
    /// With <see cref="PositionEncoding.Relative"/>, the number of buckets, half of them for each direction in the encoder, and all for what came before in the decoder; in each, half are for a distance each, and the others for ranges that grow with the distance. Even, 4 or more. Default: 32,
    /// as T5 has it.
    /// </summary>
    public int RelativeBuckets { get; set; } = 32;

    /// <summary>
    /// With <see cref="PositionEncoding.Relative"/>, the distance from which on all share the last bucket. More than half of <see cref="RelativeBuckets"/>. Default: 128, as T5 has it.
    /// </summary>
    public int RelativeDistance { get; set; } = 128;

    /// <summary>The number of the first position, with sinusoids, 0 or more. Default: 0.</summary>
    public int FirstPosition { get; set; }

    /// <summary>
    /// Whether layer norms stand before each sublayer, x + f(norm(x)), and not behind it, norm(x + f(x)), as in the paper: PyTorch's <c>norm_first</c>.
    /// Default: false.
    /// </summary>
    public bool PreNorm { get; set; }

    /// <summary>Whether encoder and decoder end with a layer norm, as those of PyTorch's <c>nn.Transformer</c> do. Default: as <see cref="PreNorm"/>: the paper has none.</summary>
    public bool FinalNorm { get; set; }

    /// <summary>The activation inside the feed-forward networks. Default: <see cref="Activation.Relu"/>.</summary>
    public Activation Activation { get; set; } = Activation.Relu;

    /// <summary>Which of the embeddings of sources, those of targets and the head's weight are one parameter. Default: <see cref="EmbeddingSharing.None"/>.</summary>
    public EmbeddingSharing Shared { get; set; }

    /// <summary>Whether embeddings are multiplied by √<see cref="DModel"/>. Default: true.</summary>
    public bool ScaleEmbeddings { get; set; } = true;

    /// <summary>Whether linear layers and layer norms have a bias. Default: true.</summary>
    public bool Bias { get; set; } = true;

    /// <summary>Whether the head has a bias, <c>generator.bias</c>. Default: as <see cref="Bias"/>, but false where the head shares its weight.</summary>
    public bool HeadBias { get; set; } = true;

    /// <summary>What is added to the variance in each layer norm. Default: 1e-5.</summary>
    public double LayerNormEpsilon { get; set; } = 1e-5;

    /// <summary>
    /// The share ε of a target's probability that training spreads over all tokens alike, 0 to below 1 (label smoothing; Szegedy et al., "Rethinking
    /// the Inception Architecture for Computer Vision", 2016); the paper has 0.1. Steps and evaluations give the smoothed loss. Default: 0.
    /// </summary>
    public double LabelSmoothing { get; set; }

    /// <summary>
    /// The probability that an element is dropped while training, at the sums of embeddings and positions and at the output of each sublayer; 0 to
    /// below 1. The paper has 0.1. Default: 0.
    /// </summary>
    public double Dropout { get; set; }

    /// <summary>
    /// Whether each step of a session also gives what it attends to in the source (<see cref="EncoderDecoderSession.Alignment"/>,
    /// <see cref="EncoderDecoderSession.AttentionWeights"/>), of every head of every decoder layer; beam search then knows the alignment of its outputs. It takes about as long as the attention itself. Default: false.
    /// </summary>
    public bool AttentionWeights { get; set; }

    /// <summary>The most sequences that a session may hold (<see cref="SessionOptions.Batch"/>), 1 to 256: a beam, for one. Default: 1.</summary>
    public int MaxBatch { get; set; } = 1;
}

/// <summary>Which embeddings are one parameter.</summary>
public enum EmbeddingSharing
{
    /// <summary>None: <c>src_embed.weight</c>, <c>tgt_embed.weight</c> and <c>generator.weight</c>.</summary>
    None,

    /// <summary>The head's weight is <c>tgt_embed.weight</c> (Press and Wolf, 2017).</summary>
    TargetAndHead,

    /// <summary>All three are <c>src_embed.weight</c>, for one vocabulary of sources and targets, as in the paper.</summary>
    All,
}
