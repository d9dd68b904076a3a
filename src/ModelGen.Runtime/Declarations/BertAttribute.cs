namespace ModelGen;

/// <summary>
/// Declares a Transformer encoder with the architecture of BERT: token, position and segment embeddings, post-norm blocks of bidirectional
/// self-attention and a two-layer feed-forward network, and a head that predicts masked tokens, classifies sequences or classifies tokens.
/// Batches are padded: an entry point takes the number of tokens of each sequence, and what lies behind changes nothing.
/// Parameters carry the names of the Hugging Face BERT layout, so that public checkpoints load by name.
/// </summary>
/// <remarks>Devlin et al., "BERT: Pre-training of Deep Bidirectional Transformers for Language Understanding" (2019).</remarks>
[AttributeUsage(AttributeTargets.Class, AllowMultiple = false, Inherited = false)]
public class BertAttribute : Attribute
{
    /// <summary>The number of Transformer blocks. Required, 1 or more.</summary>
    public int Layers { get; set; }

    /// <summary>The width of the hidden states. Required, a multiple of <see cref="Heads"/>.</summary>
    public int DModel { get; set; }

    /// <summary>The number of attention heads; each has <c>DModel / Heads</c> channels. Required, 1 or more.</summary>
    public int Heads { get; set; }

    /// <summary>The number of token ids, 0 to <c>Vocab - 1</c>. Required, 1 or more.</summary>
    public int Vocab { get; set; }

    /// <summary>The most tokens of a sequence, and the number of learned positions. Required, 1 or more.</summary>
    public int Context { get; set; }

    /// <summary>The hidden width of the feed-forward network. Default: four times <see cref="DModel"/> (which 0 stands for).</summary>
    public int FeedForward { get; set; }

    /// <summary>
    /// Which other positions a position sees. With a pattern, work and memory grow with what is seen, and not with the square of the
    /// length. Default: <see cref="AttentionPattern.Full"/>.
    /// </summary>
    public AttentionPattern Attention { get; set; }

    /// <summary>
    /// With <see cref="AttentionPattern.Window"/>, a position sees those at a distance of less than this, on both sides; Longformer's attention window <c>w</c> is <c>w / 2 + 1</c> here: 1 or more. A layer sees what the one below saw, so that what is seen of
    /// the text grows by a window with each layer.
    /// </summary>
    public int Window { get; set; }

    /// <summary>
    /// With <see cref="AttentionPattern.Window"/> and in the place of <see cref="Window"/>, the window of each layer, from the first one again where there are more layers: <c>{ 64, 0 }</c> alternates, and <c>{ 64, 64, 64, 64, 64, 0 }</c>
    /// is five to one. 0 stands for a layer that sees all positions. Default: all layers have <see cref="Window"/>.
    /// </summary>
    public int[] LayerWindows { get; set; } = [];

    /// <summary>
    /// With <see cref="AttentionPattern.Window"/>, how many of a sequence's first positions are seen by all others beside the window; they see all positions. 1 is the token that stands for the sequence: global attention (Beltagy et al. 2020,
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

    /// <summary>How the model knows where a token stands; segments are added in any case. Default: <see cref="PositionEncoding.Learned"/>; <see cref="PositionEncoding.Rotary"/> in <see cref="ModernBertAttribute"/>.</summary>
    public PositionEncoding Positions { get; set; }

    /// <summary>
    /// With <see cref="PositionEncoding.Learned"/>, the row of the table of positions that a sequence's first token has; the table has <see cref="Context"/> rows more than this. RoBERTa's checkpoints begin with row 2. 0 or more.
    /// Default: 0.
    /// </summary>
    public int FirstPosition { get; set; }

    /// <summary>
    /// With <see cref="PositionEncoding.Relative"/>, the number of buckets, half of them for each direction; in each, half are for a distance each, and the others for ranges that grow with the distance. Even, 4 or more. Default: 32,
    /// as T5 has it.
    /// </summary>
    public int RelativeBuckets { get; set; } = 32;

    /// <summary>
    /// With <see cref="PositionEncoding.Relative"/>, the distance from which on all share the last bucket. More than a quarter of <see cref="RelativeBuckets"/>. Default: 128, as T5 has it.
    /// </summary>
    public int RelativeDistance { get; set; } = 128;

    /// <summary>
    /// With <see cref="PositionEncoding.Rotary"/>, what the angles follow from: pair i of r turned columns turns by <c>RotaryBase</c>^(−2i/r) radians from one position to the next. Greater than 1.
    /// Default: 10,000; 160,000 in <see cref="ModernBertAttribute"/>.
    /// </summary>
    public double RotaryBase { get; set; } = 10_000;

    /// <summary>
    /// With <see cref="PositionEncoding.Rotary"/>, the base of layers that see a window alone (<see cref="LayerWindows"/>), whose angles are not scaled then. 0 stands for the default: <see cref="RotaryBase"/>; 10,000 in
    /// <see cref="ModernBertAttribute"/>.
    /// </summary>
    public double WindowRotaryBase { get; set; }

    /// <summary>With <see cref="PositionEncoding.Rotary"/>, the part of each head's columns, the first ones, that is turned: more than 0, at most 1. Default: 1.</summary>
    public double RotaryFraction { get; set; } = 1;

    /// <summary>With <see cref="PositionEncoding.Rotary"/>, which columns are a pair, as the files to load have it. Default: <see cref="RotaryLayout.Halves"/>, as Hugging Face's.</summary>
    public RotaryLayout RotaryLayout { get; set; }

    /// <summary>
    /// With <see cref="PositionEncoding.Rotary"/>, 1 for layers whose queries and keys are turned and 0 for those that know no positions, from the first one again where there are more layers.
    /// Default: all are turned.
    /// </summary>
    public int[] RotaryPattern { get; set; } = [];

    /// <summary>With <see cref="PositionEncoding.Rotary"/>, how angles are slowed down. Default: <see cref="RotaryScaling.None"/>.</summary>
    public RotaryScaling RotaryScaling { get; set; }

    /// <summary>With a <see cref="RotaryScaling"/>, the factor: 1 or more. With <see cref="RotaryScaling.LongRope"/> only <see cref="RotaryAttentionFactor"/> follows from it. Default: 1.</summary>
    public double RotaryFactor { get; set; } = 1;

    /// <summary>With <see cref="RotaryScaling.Llama3"/>, <see cref="RotaryScaling.Yarn"/>, <see cref="RotaryScaling.LongRope"/> and <see cref="RotaryScaling.Dynamic"/>, the positions that the model was first trained on. Required there, 1 or more; 2 or more with LongRoPE.</summary>
    public int RotaryOriginalContext { get; set; }

    /// <summary>With <see cref="RotaryScaling.Llama3"/>, how many times a pair turns over the first context at the most to be divided by the whole factor. Default: 1.</summary>
    public double RotaryLowFrequencyFactor { get; set; } = 1;

    /// <summary>With <see cref="RotaryScaling.Llama3"/>, how many times a pair turns over the first context at least to stay as it was. Default: 4.</summary>
    public double RotaryHighFrequencyFactor { get; set; } = 4;

    /// <summary>With <see cref="RotaryScaling.Yarn"/>, how many times the pair turns over the first context that the ramp begins with. Default: 32.</summary>
    public double RotaryBetaFast { get; set; } = 32;

    /// <summary>With <see cref="RotaryScaling.Yarn"/>, how many times the pair turns over the first context that the ramp ends with. Default: 1.</summary>
    public double RotaryBetaSlow { get; set; } = 1;

    /// <summary>
    /// With <see cref="RotaryScaling.Yarn"/> and <see cref="RotaryScaling.LongRope"/>, what cosines and sines are multiplied by. Default, which 0 stands for: 0.1·ln(<see cref="RotaryFactor"/>) + 1; with the latter
    /// √(1 + ln(<see cref="RotaryFactor"/>) / ln(<see cref="RotaryOriginalContext"/>)).
    /// </summary>
    public double RotaryAttentionFactor { get; set; }

    /// <summary>
    /// With <see cref="RotaryScaling.LongRope"/>, what the angle of each pair of turned columns is divided by where <see cref="Context"/> is at most <see cref="RotaryOriginalContext"/>. As many as there are pairs, 1e-6 to 1e6; required there.
    /// </summary>
    public double[] RotaryShortFactors { get; set; } = [];

    /// <summary>
    /// With <see cref="RotaryScaling.LongRope"/>, the same where <see cref="Context"/> is more than <see cref="RotaryOriginalContext"/>: for all texts of such a model, short ones too, since keys that were turned once stay in the cache.
    /// </summary>
    public double[] RotaryLongFactors { get; set; } = [];

    /// <summary>
    /// Whether norms are before attention and the feed-forward network, with one more at the end, and not behind each residual connection. In the Hugging Face layout they are then <c>attention.LayerNorm</c>,
    /// <c>intermediate.LayerNorm</c> and <c>LayerNorm</c>. Default: false; true in <see cref="ModernBertAttribute"/>.
    /// </summary>
    public bool PreNorm { get; set; }

    /// <summary>
    /// Whether the feed-forward network is gated: its first layer gives 2 · <see cref="FeedForward"/> columns, of which the activation of the first half is multiplied by the second (Shazeer, "GLU Variants Improve Transformer", 2020).
    /// Default: false; true in <see cref="ModernBertAttribute"/>.
    /// </summary>
    public bool GatedFeedForward { get; set; }

    /// <summary>Whether the projections of attention and of the feed-forward network have biases. Default: true; false in <see cref="ModernBertAttribute"/>.</summary>
    public bool Bias { get; set; } = true;

    /// <summary>
    /// Whether the first layer of the feed-forward network has a bias, which the gates of jina-bert-v2 and gte have not, whose other projections have. Default: <see cref="Bias"/>.
    /// </summary>
    public bool FeedForwardInputBias { get; set; } = true;

    /// <summary>Whether norms have biases. Default: true; false in <see cref="ModernBertAttribute"/>.</summary>
    public bool NormBias { get; set; } = true;

    /// <summary>
    /// With <see cref="BertHead.SequenceClassifier"/>, which vector of a sequence its class is read from. Default: <see cref="Pooling.None"/>, the pooler's output; <see cref="Pooling.FirstToken"/> in
    /// <see cref="ModernBertAttribute"/>, whose encoders have no pooler.
    /// </summary>
    public Pooling ClassifierPooling { get; set; }

    /// <summary>The number of segment ids: which sentence of a pair a token is of. With 0 there are none, and no such input. Default: 2; 0 in <see cref="ModernBertAttribute"/>.</summary>
    public int Segments { get; set; } = 2;

    /// <summary>The activation inside the feed-forward network and the head of masked tokens. Default: <see cref="Activation.Gelu"/>.</summary>
    public Activation Activation { get; set; } = Activation.Gelu;

    /// <summary>
    /// What is on top. <c>Predict(batch, steps, tokens, segments, lengths, …)</c> gives its logits: <see cref="BertHead.MaskedLm"/>
    /// [batch, steps, <see cref="Vocab"/>], <see cref="BertHead.SequenceClassifier"/> [batch, <see cref="Classes"/>],
    /// <see cref="BertHead.TokenClassifier"/> [batch, steps, <see cref="Classes"/>]; with <see cref="BertHead.None"/> (the default), the
    /// hidden states [batch, steps, <see cref="DModel"/>] and the pooler's output [batch, <see cref="DModel"/>].
    /// </summary>
    public BertHead Head { get; set; }

    /// <summary>The number of classes of a classifier, 2 or more. Required with <see cref="BertHead.SequenceClassifier"/> and <see cref="BertHead.TokenClassifier"/>.</summary>
    public int Classes { get; set; }

    /// <summary>
    /// Whether a <see cref="BertHead.MaskedLm"/> also says whether a second sentence follows the first: logits [batch, 2] from the pooler, class 0
    /// where it does, and a term of the loss. Default: false.
    /// </summary>
    public bool NextSentence { get; set; }

    /// <summary>Whether a model without a head has the pooler, tanh(Wh + b) of the first token's hidden state h. Default: true. Models with a head have it where the head needs it.</summary>
    public bool Pooler { get; set; } = true;

    /// <summary>
    /// What <c>Embed(batch, steps, tokens, segments, lengths, embeddings)</c> gives for each sequence, [batch, <see cref="DModel"/>]; with
    /// <see cref="Pooling.None"/> (the default) there is no such entry point.
    /// </summary>
    public Pooling Embeddings { get; set; }

    /// <summary>Whether embeddings are divided by their Euclidean norm, so that their dot product is the cosine. Default: false.</summary>
    public bool Normalize { get; set; }

    /// <summary>The most sequences of one call of a session, 1 to 256; memory is planned for so many of <see cref="Context"/> tokens each. Default: 1.</summary>
    public int MaxBatch { get; set; } = 1;

    /// <summary>What is added to the variance in each layer norm. Default: 1e-12; 1e-5 in <see cref="ModernBertAttribute"/>.</summary>
    public double LayerNormEpsilon { get; set; } = 1e-12;

    /// <summary>
    /// The probability that an element is dropped while training, at the embeddings, at the output of each attention and feed-forward branch, and
    /// at a classifier's input; 0 to below 1. Attention weights are not dropped. Default: 0 (the paper's models had 0.1).
    /// </summary>
    public double Dropout { get; set; }

    /// <summary>
    /// What a training step computes again in its backward pass to need less memory; gradients are the same. Default:
    /// <see cref="Recomputation.None"/>.
    /// </summary>
    public Recomputation Recompute { get; set; }
}
