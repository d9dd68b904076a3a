namespace ModelGen;

/// <summary>
/// Declares a decoder-only Transformer language model of the kind that followed GPT-2: a token embedding, blocks of causal self-attention and a gated feed-forward
/// network with norms before them, a final norm, and a linear head. By default it is Llama's: root mean square norms, rotary positions, <see cref="Activation.Silu"/>, no biases.
/// Parameters carry the names of the Hugging Face layout (<c>model.layers.0.self_attn.q_proj.weight</c>), so that public checkpoints of Llama, Mistral, Qwen and Gemma load by name.
/// </summary>
/// <remarks>Touvron et al., "LLaMA: Open and Efficient Foundation Language Models" (2023).</remarks>
[AttributeUsage(AttributeTargets.Class, AllowMultiple = false, Inherited = false)]
public class DecoderAttribute : Attribute
{
    /// <summary>The number of Transformer blocks. Required, 1 or more.</summary>
    public int Layers { get; set; }

    /// <summary>The width of the residual stream. Required; a multiple of <see cref="Heads"/> where no <see cref="HeadWidth"/> is given.</summary>
    public int DModel { get; set; }

    /// <summary>The number of query heads. Required where a layer has attention, 1 or more.</summary>
    public int Heads { get; set; }

    /// <summary>
    /// The number of heads of keys and values, a divisor of <see cref="Heads"/>: each serves <c>Heads / KeyValueHeads</c> consecutive
    /// query heads, and the cache of decoding shrinks by that factor. Default: <see cref="Heads"/> (which 0 stands for).
    /// </summary>
    /// <remarks>Ainslie et al., "GQA: Training Generalized Multi-Query Transformer Models from Multi-Head Checkpoints" (2023).</remarks>
    public int KeyValueHeads { get; set; }

    /// <summary>The channels of each head of queries, keys and values. Even, where positions turn all of them. Default: <c>DModel / Heads</c> (which 0 stands for).</summary>
    public int HeadWidth { get; set; }

    /// <summary>
    /// In the place of <see cref="HeadWidth"/>, that of each layer, from the first one again where there are more layers: <c>{ 256, 256, 256, 256, 512 }</c> is Gemma 4, whose layers that see all positions have wider heads. Default: all layers have
    /// <see cref="HeadWidth"/>.
    /// </summary>
    public int[] LayerHeadWidths { get; set; } = [];

    /// <summary>In the place of <see cref="KeyValueHeads"/>, those of each layer, from the first one again where there are more layers; divisors of <see cref="Heads"/>. Default: all layers have <see cref="KeyValueHeads"/>.</summary>
    public int[] LayerKeyValueHeads { get; set; } = [];

    /// <summary>
    /// How many of the last layers have no keys and values of their own: they take those of the last layer before all of them that sees the same positions with the same heads, and its cache. Fewer than <see cref="Layers"/>. Default: 0; Gemma 4 E2B has 20.
    /// </summary>
    public int SharedKeyValueLayers { get; set; }

    /// <summary>The number of token ids, 0 to <c>Vocab - 1</c>. Required, 1 or more.</summary>
    public int Vocab { get; set; }

    /// <summary>
    /// The most tokens that a sequence may hold. Required, 1 or more; but where every layer sees a <see cref="Window"/> alone and <see cref="Positions"/> are no table, it may be
    /// left out, and sequences have no end. No parameter's shape follows from it, unless positions are learned: a file's longer context need not be taken whole.
    /// </summary>
    public int Context { get; set; }

    /// <summary>The hidden width of the feed-forward network. Required, 1 or more; but where all layers have a <see cref="TokenMixer.StateSpace"/>, 0, the default, stands for layers without such a network, as Mamba-2's are.</summary>
    public int FeedForward { get; set; }

    /// <summary>In the place of <see cref="FeedForward"/>, the hidden width of each layer, from the first one again where there are more layers. Default: all layers have <see cref="FeedForward"/>.</summary>
    public int[] LayerFeedForward { get; set; } = [];

    /// <summary>
    /// The width of per-layer embeddings: each layer has a row for each token in a second table, <c>embed_tokens_per_layer</c>, and adds a projection of it to the residual stream behind its feed-forward network, let through by the activation of a projection of
    /// that stream. Needs <see cref="BlockForm.Sequential"/>. Default: 0, and there are none; Gemma 3n and Gemma 4 have 256.
    /// </summary>
    public int PerLayerWidth { get; set; }

    /// <summary>Whether each layer's output is multiplied by a learned number, <c>layer_scalar</c>, as in Gemma 4. Default: false.</summary>
    public bool LayerScale { get; set; }

    /// <summary>
    /// The residual streams, 1 to 16, as in Gemma 3n: a block is computed of the first of them, and what learned coefficients make of its change corrects all (<c>altup</c>). With <see cref="PerLayerWidth"/>, what a layer knows of a token is added to all but the first. Default: 1.
    /// </summary>
    /// <remarks>Baykal et al., "Alternating Updates for Efficient Transformers" (2023).</remarks>
    public int Streams { get; set; } = 1;

    /// <summary>
    /// The rank of a product of two matrices beside attention (<c>laurel</c>), whose normalized result is added to its input and the sum to attention's, 1/√2 times. 0 stands for none, which is the default.
    /// </summary>
    /// <remarks>Menghani et al., "LAuReL: Learned Augmented Residual Layer" (2024).</remarks>
    public int LaurelRank { get; set; }

    /// <summary>
    /// The share of each layer's gates that is set to 0 before their activation, 0 to 0.9999, from the first layer again where there are more layers: of a gate, what lies above the quantile of a normal distribution with the mean and the deviation of its columns, less that quantile, is kept.
    /// Default: none.
    /// </summary>
    public double[] LayerSparsity { get; set; } = [];

    /// <summary>
    /// How the matrices of weights lie in memory while the model runs, tables of embeddings and experts' matrices included; norms and biases are always single precision, and so are matrices whose rows are no whole blocks and, in formats of blocks, experts whose rows are no multiple of 16. Files of any format load into any
    /// of these: blocks of the same format are taken as they are, others are converted. Training changes <see cref="WeightFormat.F32"/> and <see cref="WeightFormat.BF16"/> (from a master copy of its own), and with <see cref="LoraAttribute"/> leaves any as it is. On a CUDA device <see cref="WeightFormat.F16"/>, <see cref="WeightFormat.BF16"/>, <see cref="WeightFormat.Q8_0"/> and <see cref="WeightFormat.Q4_0"/> stay packed, and the others, and experts' matrices, are widened to single precision when they are copied there. Default: <see cref="WeightFormat.F32"/>.
    /// </summary>
    public WeightFormat Weights { get; set; }

    /// <summary>
    /// Parameters that lie in memory otherwise than <see cref="Weights"/> says: patterns of their names, in which * stands for anything, and formats, as in <c>"*.v_proj.weight: Q6_K"</c>.
    /// The first that fits counts.
    /// </summary>
    public string[] WeightsOf { get; set; } = [];

    /// <summary>
    /// How the keys and values that a session remembers lie in memory, in caches and in rings of layers with windows: they are rounded when they are written, and attention reads them as single
    /// precision. States of recurrent mixers, and caches whose attention weights are handed out (<see cref="AttentionWeights"/>), are single precision. The same on a CUDA device.
    /// Default: <see cref="CacheFormat.F32"/>.
    /// </summary>
    public CacheFormat KeyValueCache { get; set; }

    /// <summary>The activation of the feed-forward network, of its gate where it has one. Default: <see cref="Activation.Silu"/>.</summary>
    public Activation Activation { get; set; } = Activation.Silu;

    /// <summary>
    /// Whether the feed-forward network is gated, <c>down_proj(activation(gate_proj(x)) ⊙ up_proj(x))</c> (Shazeer, "GLU Variants Improve Transformer", 2020), or plain,
    /// <c>down_proj(activation(up_proj(x)))</c>. Default: true.
    /// </summary>
    public bool GatedFeedForward { get; set; } = true;

    /// <summary>
    /// With <see cref="GatedFeedForward"/>, what the gate is at the most, before its activation, and what it lets through in either direction: gpt-oss has 7. Default: 0, and neither has a limit.
    /// </summary>
    public double GateLimit { get; set; }

    /// <summary>With <see cref="GatedFeedForward"/>, what is added to what the gate lets through: gpt-oss has 1. Default: 0.</summary>
    public double UpOffset { get; set; }

    /// <summary>
    /// The number of experts of each layer's feed-forward network, each of the width <see cref="FeedForward"/>: a mixture in which a token goes through <see cref="ActiveExperts"/> of them alone, <c>mlp.experts</c>, as its scores by <c>mlp.gate</c>
    /// say. 1 to 1,024. Default: 0, and all tokens go through one network.
    /// </summary>
    /// <remarks>Shazeer et al., "Outrageously Large Neural Networks: The Sparsely-Gated Mixture-of-Experts Layer" (2017); Jiang et al., "Mixtral of Experts" (2024).</remarks>
    public int Experts { get; set; }

    /// <summary>With <see cref="Experts"/>, how many of them each token goes through. Required there, 1 to <see cref="Experts"/>.</summary>
    public int ActiveExperts { get; set; }

    /// <summary>
    /// With <see cref="Experts"/>, whether the weights of those that a token goes through sum up to 1, as in Mixtral and Qwen3; otherwise they are the softmax over all of them, as in OLMoE and Qwen1.5. Default: true.
    /// </summary>
    public bool NormalizeExperts { get; set; } = true;

    /// <summary>With <see cref="Experts"/>, whether the scores of experts have a bias, <c>mlp.gate.bias</c>. Default: false. Experts have biases where <see cref="FeedForwardBias"/> says so.</summary>
    public bool RouterBias { get; set; }

    /// <summary>With <see cref="Experts"/>, the width of one more network that all tokens go through, <c>mlp.shared_expert</c>. Default: 0, and there is none.</summary>
    public int SharedFeedForward { get; set; }

    /// <summary>With <see cref="SharedFeedForward"/>, whether the shared network's output is multiplied by the sigmoid of a linear layer, <c>mlp.shared_expert_gate</c>, as in Qwen1.5. Default: false.</summary>
    public bool SharedExpertGate { get; set; }

    /// <summary>
    /// With <see cref="Experts"/>, what training adds to the loss for experts that get more than their share, of each layer: this factor times <c>Experts · Σ f · P</c> of the tokens <c>f</c> that an expert gets, as a part of all, and its mean probability
    /// <c>P</c> (Fedus et al., "Switch Transformers", 2021). 0 or more. Default: 0.
    /// </summary>
    public double BalanceLoss { get; set; }

    /// <summary>How norms normalize. Default: <see cref="Normalization.RootMeanSquare"/>.</summary>
    public Normalization Norm { get; set; }

    /// <summary>Where the norms of a block stand. Default: <see cref="NormPlacement.Before"/>.</summary>
    public NormPlacement NormPlacement { get; set; }

    /// <summary>What is added to the mean square, or to the variance, in each norm. Default: 1e-5.</summary>
    public double NormEpsilon { get; set; } = 1e-5;

    /// <summary>With <see cref="Normalization.Layer"/> and <see cref="Normalization.OffsetLayer"/>, whether norms have biases. Default: true.</summary>
    public bool NormBias { get; set; } = true;

    /// <summary>Whether the embeddings go through a norm, <c>model.embed_norm</c>, before the first block, as in BLOOM. Default: false.</summary>
    public bool EmbeddingNorm { get; set; }

    /// <summary>Whether queries and keys are normalized. Default: <see cref="QueryKeyNorm.None"/>.</summary>
    public QueryKeyNorm QueryKeyNorm { get; set; }

    /// <summary>How attention and the feed-forward network of a block stand to each other. Default: <see cref="BlockForm.Sequential"/>.</summary>
    public BlockForm Form { get; set; }

    /// <summary>
    /// What mixes the tokens of each layer, from the first one again where there are more layers: <c>{ TokenMixer.ShortConvolution, TokenMixer.ShortConvolution, TokenMixer.Attention }</c> is two to one. Default: all
    /// layers have attention.
    /// </summary>
    public TokenMixer[] Mixers { get; set; } = [];

    /// <summary>With <see cref="TokenMixer.ShortConvolution"/>, <see cref="TokenMixer.GatedDelta"/> and <see cref="TokenMixer.StateSpace"/>, how many steps a convolution sees, its own included: 1 to 64. Default: 3; 4 in <see cref="Mamba2Attribute"/> and <see cref="GraniteAttribute"/>; Qwen3.5 has 4.</summary>
    public int ConvolutionTaps { get; set; } = 3;

    /// <summary>With <see cref="TokenMixer.GatedDelta"/>, the heads of queries and keys. Required there, 1 or more.</summary>
    public int LinearKeyHeads { get; set; }

    /// <summary>With <see cref="TokenMixer.GatedDelta"/>, the heads of values, a multiple of <see cref="LinearKeyHeads"/>, each of which serves as many consecutive ones. Default: <see cref="LinearKeyHeads"/> (which 0 stands for).</summary>
    public int LinearValueHeads { get; set; }

    /// <summary>With <see cref="TokenMixer.GatedDelta"/>, the channels of each head of queries and keys. Required there, 1 or more.</summary>
    public int LinearKeyWidth { get; set; }

    /// <summary>With <see cref="TokenMixer.GatedDelta"/>, the channels of each head of values. Default: <see cref="LinearKeyWidth"/> (which 0 stands for).</summary>
    public int LinearValueWidth { get; set; }

    /// <summary>With <see cref="TokenMixer.StateSpace"/>, the heads. Required there, 1 or more.</summary>
    public int StateHeads { get; set; }

    /// <summary>With <see cref="TokenMixer.StateSpace"/>, the groups of B and C, a divisor of <see cref="StateHeads"/>, each of which serves as many consecutive heads and is normalized by itself. Default: 1.</summary>
    public int StateGroups { get; set; } = 1;

    /// <summary>With <see cref="TokenMixer.StateSpace"/>, the channels of B and C, which are the rows of each head's matrix. 1 or more. Default: 128.</summary>
    public int StateSize { get; set; } = 128;

    /// <summary>With <see cref="TokenMixer.StateSpace"/>, the channels of each head, which are the columns of its matrix. 1 or more. Default: 64.</summary>
    public int StateHeadWidth { get; set; } = 64;

    /// <summary>With <see cref="TokenMixer.StateSpace"/>, whether the projections around it have biases. Default: false.</summary>
    public bool StateBias { get; set; }

    /// <summary>With <see cref="TokenMixer.StateSpace"/>, what steps, the softplus of their projection, are at the least: the first of <c>time_step_limit</c> of Mamba-2's configurations. 0 or more. Default: 0.</summary>
    public double StateStepMinimum { get; set; }

    /// <summary>With <see cref="TokenMixer.StateSpace"/>, what steps are at the most, more than <see cref="StateStepMinimum"/>: the second of <c>time_step_limit</c>. Default: 0, and they have no limit.</summary>
    public double StateStepMaximum { get; set; }

    /// <summary>Whether values are normalized, head by head and by no weight, as in Gemma 4. Default: false.</summary>
    public bool ValueNorm { get; set; }

    /// <summary>
    /// Whether each head has a sink, <c>self_attn.sinks</c>: a learned score beside those of the keys in the softmax, which no value belongs to, so that a head may attend to nothing, as in gpt-oss. The weights of <see cref="AttentionWeights"/> add up
    /// to less than 1 then. Default: false.
    /// </summary>
    /// <remarks>OpenAI, "gpt-oss-120b and gpt-oss-20b Model Card" (2025); Xiao et al., "Efficient Streaming Language Models with Attention Sinks" (2024).</remarks>
    public bool AttentionSinks { get; set; }

    /// <summary>Whether attention's output is multiplied by the sigmoid of a second projection of its input, which <c>self_attn.q_proj</c> holds beside each head's query, as in Qwen3.5. Default: false.</summary>
    public bool AttentionOutputGate { get; set; }

    /// <summary>
    /// With <see cref="TokenMixer.ShortConvolution"/>, whether the convolution and the projections around it have biases; with <see cref="TokenMixer.StateSpace"/>, whether the convolution has. Default: false; true in <see cref="Mamba2Attribute"/> and
    /// <see cref="GraniteAttribute"/>.
    /// </summary>
    public bool ConvolutionBias { get; set; }

    /// <summary>What products of queries and keys are multiplied by, greater than 0. Default: 1/√<see cref="HeadWidth"/> (which 0 stands for).</summary>
    public double AttentionScale { get; set; }

    /// <summary>Squeezes scaled scores of attention into ±cap as <c>cap · tanh(score / cap)</c> does, as Gemma 2 has it. Default: 0, and they are left as they are.</summary>
    public double AttentionSoftCap { get; set; }

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

    /// <summary>How the model knows where a token stands. Default: <see cref="PositionEncoding.Rotary"/>.</summary>
    public PositionEncoding Positions { get; set; } = PositionEncoding.Rotary;

    /// <summary>
    /// With <see cref="PositionEncoding.Relative"/>, the number of buckets: half of them for a distance each, the others for ranges that grow with the distance. 2 or more. Default: 32,
    /// as T5 has it.
    /// </summary>
    public int RelativeBuckets { get; set; } = 32;

    /// <summary>
    /// With <see cref="PositionEncoding.Relative"/>, the distance from which on all share the last bucket. More than half of <see cref="RelativeBuckets"/>. Default: 128, as T5 has it.
    /// </summary>
    public int RelativeDistance { get; set; } = 128;

    /// <summary>
    /// With <see cref="PositionEncoding.Rotary"/>, what the angles follow from: pair i of r turned columns turns by <c>RotaryBase</c>^(−2i/r) radians from one position to the next. Greater than 1.
    /// Default: 10,000.
    /// </summary>
    public double RotaryBase { get; set; } = 10_000;

    /// <summary>
    /// With <see cref="PositionEncoding.Rotary"/>, the base of layers that see a window alone (<see cref="LayerWindows"/>), whose angles are not scaled then: Gemma 3 has 10,000 for those and 1,000,000 for the
    /// others. 0 stands for the default: <see cref="RotaryBase"/>; 10,000 in <see cref="GemmaAttribute"/>.
    /// </summary>
    public double WindowRotaryBase { get; set; }

    /// <summary>With <see cref="PositionEncoding.Rotary"/>, the part of each head's columns, the first ones, that is turned: more than 0, at most 1. Default: 1.</summary>
    public double RotaryFraction { get; set; } = 1;

    /// <summary>
    /// With <see cref="PositionEncoding.Rotary"/>, the part of the pairs of each head's columns, the quickest ones, that turn in layers that see all positions; the others stand still there. More than 0, at most 1, which is the default; Gemma 4 has 0.25.
    /// </summary>
    public double GlobalRotaryFraction { get; set; } = 1;

    /// <summary>With <see cref="PositionEncoding.Rotary"/>, which columns are a pair, as the files to load have it. Default: <see cref="RotaryLayout.Halves"/>, as Hugging Face's.</summary>
    public RotaryLayout RotaryLayout { get; set; }

    /// <summary>
    /// With <see cref="PositionEncoding.Rotary"/>, 1 for layers whose queries and keys are turned and 0 for those that know no positions, from the first one again where there are more layers:
    /// <c>{ 1, 1, 1, 0 }</c> is SmolLM3. Default: all are turned.
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

    /// <summary>Whether the head's weight is the token embedding. Default: false, and the head has its own <c>lm_head.weight</c>.</summary>
    public bool TieEmbeddings { get; set; }

    /// <summary>Whether the projections to queries, keys and values have biases. Default: false.</summary>
    public bool QkvBias { get; set; }

    /// <summary>Whether the projection behind attention, <c>self_attn.o_proj</c>, has a bias. Default: false.</summary>
    public bool OutputBias { get; set; }

    /// <summary>Whether the layers of the feed-forward network have biases. Default: false.</summary>
    public bool FeedForwardBias { get; set; }

    /// <summary>Whether the head has a bias, <c>lm_head.bias</c>. Default: false.</summary>
    public bool HeadBias { get; set; }

    /// <summary>What token embeddings are multiplied by, greater than 0: √<see cref="DModel"/> in Gemma, a number of its own in Granite. 0 stands for the default: 1; √<see cref="DModel"/> in <see cref="GemmaAttribute"/>.</summary>
    public double EmbeddingMultiplier { get; set; } = 1;

    /// <summary>What the outputs of attention and of the feed-forward network are multiplied by before they are added to the residual stream, greater than 0, as in Granite. Default: 1.</summary>
    public double ResidualMultiplier { get; set; } = 1;

    /// <summary>What logits are multiplied by, greater than 0, as in Cohere; Granite's <c>logits_scaling</c> is what they are divided by. Default: 1.</summary>
    public double LogitScale { get; set; } = 1;

    /// <summary>Squeezes scaled logits into ±cap as <c>cap · tanh(logits / cap)</c> does, as Gemma 2 has it. Default: 0, and they are left as they are.</summary>
    public double LogitSoftCap { get; set; }

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
    /// the sum of the embeddings, the output of each block but the last, and the output of the final norm: <c>Layers + 1</c> rows of <see cref="DModel"/>.
    /// It takes a plan of its own, and nothing of any other. Default: false.
    /// </summary>
    public bool HiddenStates { get; set; }

    /// <summary>
    /// Whether sessions hand out attention weights: <c>Forward(tokens, logits, attentionWeights)</c> appends tokens and gives, for each of them, the logits,
    /// and how much each head of each block attends to each position: <c>Layers × Heads</c> rows, each of which sums up to 1 unless there are <see cref="AttentionSinks"/>. It takes a plan of its own,
    /// and nothing of any other. Default: false.
    /// </summary>
    public bool AttentionWeights { get; set; }

    /// <summary>
    /// The most sequences that a session may hold (<see cref="SessionOptions.Batch"/>), 1 to 256. With more than one there is a plan that
    /// decodes all of them in one step, which takes not much longer than a step of one. Default: 1.
    /// </summary>
    public int MaxBatch { get; set; } = 1;
}
