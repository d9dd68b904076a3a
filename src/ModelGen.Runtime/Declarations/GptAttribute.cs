namespace ModelGen;

/// <summary>
/// Declares a decoder-only Transformer language model with the architecture of GPT-2: learned token and position embeddings,
/// pre-norm blocks of causal self-attention and a two-layer feed-forward network, a final layer norm, and a linear head.
/// Parameters carry the names of the Hugging Face GPT-2 layout, so that public checkpoints load by name.
/// </summary>
/// <remarks>Radford et al., "Language Models are Unsupervised Multitask Learners" (2019).</remarks>
[AttributeUsage(AttributeTargets.Class, AllowMultiple = false, Inherited = false)]
public sealed class GptAttribute : Attribute
{
    /// <summary>The number of Transformer blocks. Required, 1 or more.</summary>
    public int Layers { get; set; }

    /// <summary>The width of the residual stream. Required, a multiple of <see cref="Heads"/>.</summary>
    public int DModel { get; set; }

    /// <summary>The number of attention heads; each has <c>DModel / Heads</c> channels. Required, 1 or more.</summary>
    public int Heads { get; set; }

    /// <summary>
    /// The number of heads of keys and values, a divisor of <see cref="Heads"/>: each serves <c>Heads / KeyValueHeads</c> consecutive
    /// query heads, and the cache of decoding shrinks by that factor. <c>attn.c_attn</c> then has
    /// <c>DModel + 2 · KeyValueHeads · DModel / Heads</c> outputs: queries, keys, values. Default: <see cref="Heads"/> (which 0 stands for).
    /// </summary>
    /// <remarks>
    /// 1 is multi-query attention (Shazeer, "Fast Transformer Decoding: One Write-Head is All You Need", 2019); in between is grouped-query
    /// attention (Ainslie et al., "GQA: Training Generalized Multi-Query Transformer Models from Multi-Head Checkpoints", 2023).
    /// </remarks>
    public int KeyValueHeads { get; set; }

    /// <summary>The number of token ids, 0 to <c>Vocab - 1</c>. Required, 1 or more.</summary>
    public int Vocab { get; set; }

    /// <summary>
    /// The most tokens that a sequence may hold: the number of learned positions. Required, 1 or more; but where every layer sees a
    /// <see cref="Window"/> alone and <see cref="Positions"/> are no table, it may be left out, and sequences have no end.
    /// </summary>
    public int Context { get; set; }

    /// <summary>
    /// Which earlier positions a position sees. With a pattern, work and memory grow with what is seen, and not with the square of the
    /// length. Default: <see cref="AttentionPattern.Full"/>.
    /// </summary>
    public AttentionPattern Attention { get; set; }

    /// <summary>
    /// With <see cref="AttentionPattern.Window"/>, how many of the latest positions each position sees, its own included: 1 or more. Sessions keep the keys
    /// and values of a window and of a run in a ring, however long the sequence. A layer sees what the one below saw, so that what is seen of
    /// the text grows by a window with each layer.
    /// </summary>
    public int Window { get; set; }

    /// <summary>
    /// With <see cref="AttentionPattern.Window"/> and in the place of <see cref="Window"/>, the window of each layer, from the first one again where there are more layers: <c>{ 64, 0 }</c> alternates, and <c>{ 64, 64, 64, 64, 64, 0 }</c>
    /// is five to one. 0 stands for a layer that sees all positions. Default: all layers have <see cref="Window"/>.
    /// </summary>
    public int[] LayerWindows { get; set; } = [];

    /// <summary>
    /// With <see cref="AttentionPattern.Window"/>, how many of a sequence's first positions are seen by all later ones beside the window: global attention (Beltagy et al. 2020,
    /// section 3.1). A session's ring keeps them. Default: 0.
    /// </summary>
    public int GlobalTokens { get; set; }

    /// <summary>
    /// With <see cref="AttentionPattern.Strided"/> and <see cref="AttentionPattern.Fixed"/>, how many of the latest positions are seen, or how many a block has: 1 or more. About the square root of the
    /// length makes work least.
    /// </summary>
    public int Stride { get; set; }

    /// <summary>With <see cref="AttentionPattern.Fixed"/>, how many of a block's last positions are seen by all later blocks: 1 to <see cref="Stride"/>. Default: 1.</summary>
    public int SummaryTokens { get; set; } = 1;

    /// <summary>How the model knows where a token stands. Default: <see cref="PositionEncoding.Learned"/>.</summary>
    public PositionEncoding Positions { get; set; }

    /// <summary>
    /// With <see cref="PositionEncoding.Relative"/>, the number of buckets: half of them for a distance each, the others for ranges that grow with the distance. 2 or more. Default: 32,
    /// as T5 has it.
    /// </summary>
    public int RelativeBuckets { get; set; } = 32;

    /// <summary>
    /// With <see cref="PositionEncoding.Relative"/>, the distance from which on all share the last bucket. More than half of <see cref="RelativeBuckets"/>. Default: 128, as T5 has it.
    /// </summary>
    public int RelativeDistance { get; set; } = 128;

    /// <summary>The hidden width of the feed-forward network. Default: four times <see cref="DModel"/> (which 0 stands for).</summary>
    public int FeedForward { get; set; }

    /// <summary>The activation inside the feed-forward network. Default: <see cref="Activation.GeluTanh"/>.</summary>
    public Activation Activation { get; set; } = Activation.GeluTanh;

    /// <summary>Whether the head's weight is the token embedding. Default: true. False gives the head its own <c>lm_head.weight</c>.</summary>
    public bool TieEmbeddings { get; set; } = true;

    /// <summary>Whether linear layers and layer norms have a bias. Default: true.</summary>
    public bool Bias { get; set; } = true;

    /// <summary>Whether the projection to queries, keys and values has a bias. Default: as <see cref="Bias"/>.</summary>
    public bool QkvBias { get; set; } = true;

    /// <summary>Whether the head has a bias, <c>lm_head.bias</c>. Default: false.</summary>
    public bool HeadBias { get; set; }

    /// <summary>What is added to the variance in each layer norm. Default: 1e-5.</summary>
    public double LayerNormEpsilon { get; set; } = 1e-5;

    /// <summary>
    /// The probability that an element is dropped while training, at the sum of the embeddings and at the output of each attention
    /// and feed-forward branch; 0 to below 1. Default: 0.
    /// </summary>
    public double Dropout { get; set; }

    /// <summary>
    /// What a training step computes again in its backward pass to need less memory; gradients are the same. Default:
    /// <see cref="Recomputation.None"/>.
    /// </summary>
    public Recomputation Recompute { get; set; }

    /// <summary>
    /// The most guessed tokens that sessions check in one pass (<see cref="CausalSession.Verify"/>, <see cref="SpeculativeGenerator"/>), 0 to 255. It takes a plan of its own. Default: 0.
    /// </summary>
    public int Drafts { get; set; }

    /// <summary>
    /// Whether sessions can score texts: <c>Score(tokens, logProbabilities)</c> appends tokens and gives the log-probability of each of them
    /// in one pass. It takes a plan of its own, and an arena for the logits of several hundred positions. Default: false.
    /// </summary>
    public bool Score { get; set; }

    /// <summary>
    /// Whether sessions tell how large the inputs of linear layers are: <c>MeasureInputs(tokens, measure)</c> appends tokens and gives the squares of what every weight is multiplied with, summed over them, of which an importance
    /// matrix is made. It takes a plan of its own. Experts are left out. Default: false.
    /// </summary>
    public bool MeasureInputs { get; set; }

    /// <summary>
    /// Whether sessions hand out hidden states: <c>Forward(tokens, logits, hiddenStates)</c> appends tokens and gives, for each of them, the logits,
    /// the sum of the embeddings, the output of each block but the last, and the output of the final layer norm: <c>Layers + 1</c> rows of <see cref="DModel"/>.
    /// It takes a plan of its own, and nothing of any other. Default: false.
    /// </summary>
    public bool HiddenStates { get; set; }

    /// <summary>
    /// Whether sessions hand out attention weights: <c>Forward(tokens, logits, attentionWeights)</c> appends tokens and gives, for each of them, the logits,
    /// and how much each head of each block attends to each position: <c>Layers × Heads</c> rows, each of which sums up to 1. It takes a plan of its own,
    /// and nothing of any other. Default: false.
    /// </summary>
    public bool AttentionWeights { get; set; }

    /// <summary>
    /// The most sequences that a session may hold (<see cref="SessionOptions.Batch"/>), 1 to 256. With more than one there is a plan that
    /// decodes all of them in one step, which takes not much longer than a step of one. Default: 1.
    /// </summary>
    public int MaxBatch { get; set; } = 1;

    /// <summary>
    /// How weight files store the matrices of the blocks. Default: <see cref="ParameterLayout.Conv1D"/>, as the Hugging Face GPT-2
    /// checkpoints do.
    /// </summary>
    public ParameterLayout Layout { get; set; } = ParameterLayout.Conv1D;
}
