namespace ModelGen;

/// <summary>A nonlinearity: a function of each element, or, of them only <see cref="Softmax"/>, of each row.</summary>
public enum Activation
{
    /// <summary>max(0, x).</summary>
    Relu,

    /// <summary>x · Φ(x) with the exact normal distribution function (Hendrycks and Gimpel, 2016).</summary>
    Gelu,

    /// <summary>The tanh approximation of GELU, ½x(1 + tanh(√(2/π)(x + 0.044715x³))), as GPT-2 has it.</summary>
    GeluTanh,

    /// <summary>The hyperbolic tangent.</summary>
    Tanh,

    /// <summary>The logistic function, 1 / (1 + e⁻ˣ).</summary>
    Sigmoid,

    /// <summary>x · sigmoid(x), also known as swish.</summary>
    Silu,

    /// <summary>x itself.</summary>
    Identity,

    /// <summary>The exponential linear unit, x where it is positive and eˣ − 1 elsewhere (Clevert et al., 2016, equation 15 with α = 1).</summary>
    Elu,

    /// <summary>The softmax over a row's units, eˣⁱ / Σⱼ eˣʲ: positive shares that add up to 1.</summary>
    Softmax,

    /// <summary>max(0, x)² (So et al., "Primer: Searching for Efficient Transformers for Language Modeling", 2021), as Nemotron has it.</summary>
    ReluSquared,

    /// <summary>x · sigmoid(1.702x), an approximation of GELU (Hendrycks and Gimpel, 2016), as gpt-oss has it.</summary>
    QuickGelu,
}

/// <summary>A recurrent cell.</summary>
public enum Cell
{
    /// <summary>The simple recurrence h' = tanh(Wx + Uh + b) (Elman, 1990).</summary>
    Rnn,

    /// <summary>Long short-term memory with input, forget, cell and output gates in that order (Hochreiter and Schmidhuber, 1997; Gers et al., 2000).</summary>
    Lstm,

    /// <summary>The gated recurrent unit with reset, update and new gates in that order; the reset gate is applied after the recurrent product (Cho et al., 2014).</summary>
    Gru,
}

/// <summary>What training minimizes, as a mean over the examples or positions whose targets are not ignored.</summary>
public enum Loss
{
    /// <summary>Softmax cross-entropy of logits with integer class targets; a target of -1 is ignored.</summary>
    CrossEntropy,

    /// <summary>½(y − t)² with real targets, summed over an example's outputs.</summary>
    SquaredError,

    /// <summary>Binary cross-entropy of logits with targets from 0 to 1, summed over an example's outputs.</summary>
    BinaryCrossEntropy,
}

/// <summary>What a training step computes again in its backward pass instead of keeping it from the forward pass.</summary>
public enum Recomputation
{
    /// <summary>Nothing.</summary>
    None,

    /// <summary>
    /// The inside of each block: only what enters it is kept (gradient checkpointing; Chen et al., "Training Deep Nets with Sublinear
    /// Memory Cost", 2016). A step does the forward pass's arithmetic once more.
    /// </summary>
    Blocks,
}

/// <summary>How a weight file stores the matrix of a linear layer. In memory it is always [outputs, inputs].</summary>
public enum ParameterLayout
{
    /// <summary>[inputs, outputs], as the Conv1D modules of the Hugging Face GPT-2 checkpoints.</summary>
    Conv1D,

    /// <summary>[outputs, inputs], as PyTorch's Linear.</summary>
    Linear,
}

/// <summary>Which other positions a position of self-attention sees: of a decoder, of those before it; of an encoder, on both sides.</summary>
public enum AttentionPattern
{
    /// <summary>All of them.</summary>
    Full,

    /// <summary>The nearest ones, at a distance of less than <c>Window</c> (Beltagy et al., "Longformer: The Long-Document Transformer", 2020, section 3.1).</summary>
    Window,

    /// <summary>
    /// The nearest ones, at a distance of less than <c>Stride</c>, and of the others every one at a multiple of that distance (Child et al., "Generating Long Sequences with
    /// Sparse Transformers", 2019, section 4.2).
    /// </summary>
    Strided,

    /// <summary>
    /// Those of its own block of <c>Stride</c> positions and, of every other block, the last <c>SummaryTokens</c> (Child et al. 2019, section 4.2).
    /// </summary>
    Fixed,
}

/// <summary>How a Transformer knows where a token stands.</summary>
public enum PositionEncoding
{
    /// <summary>A learned vector for each position is added to the token's embedding: positions beyond the last have none.</summary>
    Learned,

    /// <summary>Nothing: only what a position sees, the causal mask for one, tells positions apart.</summary>
    None,

    /// <summary>
    /// Each head takes a fixed slope times the distance off its scores (Press et al., "Train Short, Test Long: Attention with Linear Biases Enables Input
    /// Length Extrapolation", 2022): texts may be longer than those of training.
    /// </summary>
    Alibi,

    /// <summary>
    /// Each head adds a learned number to its scores, one for each bucket of distances (Raffel et al., "Exploring the Limits of Transfer Learning with a Unified Text-to-Text
    /// Transformer", 2020, section 2.1): <c>relative_attention_bias.weight</c>, which all layers of a stack share. Encoders have buckets of their own for what follows.
    /// </summary>
    Relative,

    /// <summary>sin(p·f) and cos(p·f) in columns 2i and 2i + 1, with frequencies f = 10,000^(−2i/width), are added to the token's embedding (Vaswani et al. 2017, section 3.5). They take memory beside the weights, and no file holds them.</summary>
    Sinusoids,

    /// <summary>Sines in the first half of the columns and cosines in the second, with frequencies 10,000^(−i/(width/2 − 1)), as Tensor2Tensor and OpenNMT have them.</summary>
    SinusoidHalves,

    /// <summary>
    /// Pairs of the columns of each query and key are turned by angles that grow with the position, so that their products depend on the distance (Su et al., "RoFormer: Enhanced Transformer with
    /// Rotary Position Embedding", 2021). Cosines and sines take memory beside the weights, and no file holds them. Of <see cref="DecoderAttribute"/> and its presets.
    /// </summary>
    Rotary,
}

/// <summary>Which columns of a head are a pair that rotary positions turn. One layout is the other with the rows of the query and key projections in another order.</summary>
public enum RotaryLayout
{
    /// <summary>Columns i and i + half of those that are turned, as in Hugging Face's Llama files (and GPT-NeoX).</summary>
    Halves,

    /// <summary>Columns 2i and 2i + 1, as in Meta's Llama files, in llama2.c's, and in GPT-J.</summary>
    Interleaved,
}

/// <summary>How rotary positions are slowed down, so that a model takes longer texts than it was first trained on.</summary>
public enum RotaryScaling
{
    /// <summary>They are not.</summary>
    None,

    /// <summary>All angles are divided by the factor (Chen et al., "Extending Context Window of Large Language Models via Position Interpolation", 2023).</summary>
    Linear,

    /// <summary>Pairs that turn slowly over the first context are divided by the factor, fast ones are not, and those in between partly, as Llama 3.1 has it.</summary>
    Llama3,

    /// <summary>
    /// As <see cref="Llama3"/>, with a ramp over the numbers of pairs, and cosines and sines are multiplied by an attention factor (Peng et al., "YaRN: Efficient Context Window Extension of Large
    /// Language Models", 2023).
    /// </summary>
    Yarn,

    /// <summary>
    /// Each pair is divided by a number of its own, of one list up to the first context and of another beyond it, and cosines and sines are multiplied by an attention factor, as in Phi-3 (Ding et al., "LongRoPE: Extending LLM Context Window
    /// Beyond 2 Million Tokens", 2024).
    /// </summary>
    LongRope,

    /// <summary>
    /// The base grows with the positions n that there are beyond the first context c: by (factor·n/c − (factor − 1))^(r/(r − 2)) for r turned columns, and not at all up to it, as Hugging Face's <c>dynamic</c> has it. n is what is declared (<c>Context</c>),
    /// for short texts too, since keys that were turned once stay in the cache.
    /// </summary>
    Dynamic,
}

/// <summary>How the norms of a decoder normalize.</summary>
public enum Normalization
{
    /// <summary>x / √(mean(x²) + ε) · weight (Zhang and Sennrich, "Root Mean Square Layer Normalization", 2019).</summary>
    RootMeanSquare,

    /// <summary>x / √(mean(x²) + ε) · (1 + weight), as Gemma has it.</summary>
    OffsetRootMeanSquare,

    /// <summary>(x − mean) / √(variance + ε) · weight + bias (Ba et al., "Layer Normalization", 2016).</summary>
    Layer,

    /// <summary>(x − mean) / √(variance + ε) · (1 + weight) + bias, as Nemotron's files have it.</summary>
    OffsetLayer,
}

/// <summary>Where the norms of a block stand.</summary>
public enum NormPlacement
{
    /// <summary>Before attention and before the feed-forward network: <c>input_layernorm</c>, <c>post_attention_layernorm</c>.</summary>
    Before,

    /// <summary>Behind them, before their outputs are added to the residual stream, as in OLMo 2: <c>post_attention_layernorm</c>, <c>post_feedforward_layernorm</c>.</summary>
    After,

    /// <summary>Before and behind, as in Gemma 2 and 3: <c>input_layernorm</c>, <c>post_attention_layernorm</c>, <c>pre_feedforward_layernorm</c>, <c>post_feedforward_layernorm</c>.</summary>
    Both,
}

/// <summary>What of queries and keys is normalized, before they are turned: <c>self_attn.q_norm</c> and <c>self_attn.k_norm</c>.</summary>
public enum QueryKeyNorm
{
    /// <summary>Nothing.</summary>
    None,

    /// <summary>Each head, with weights that the heads share, as in Qwen3 and Gemma 3.</summary>
    Head,

    /// <summary>All heads of a position at once, as in OLMo 2.</summary>
    Whole,
}

/// <summary>How attention and the feed-forward network of a block stand to each other.</summary>
public enum BlockForm
{
    /// <summary>The feed-forward network reads what attention has added to the residual stream.</summary>
    Sequential,

    /// <summary>Both read the same normalized input, <c>input_layernorm</c>, as in GPT-J and Phi.</summary>
    Parallel,

    /// <summary>Both read the block's input, each through a norm of its own, as in GPT-NeoX: <c>input_layernorm</c> and <c>post_attention_layernorm</c>.</summary>
    ParallelTwoNorms,
}

/// <summary>What is on top of a BERT encoder.</summary>
public enum BertHead
{
    /// <summary>Nothing: the hidden states.</summary>
    None,

    /// <summary>
    /// The logits of every token of the vocabulary at every position, where some of the input's tokens are masked: a linear layer, an activation, a
    /// layer norm, and the token embedding with a bias.
    /// </summary>
    MaskedLm,

    /// <summary>The logits of a sequence's classes: a linear layer on the pooler's output.</summary>
    SequenceClassifier,

    /// <summary>The logits of each token's classes: a linear layer on the hidden states.</summary>
    TokenClassifier,
}

/// <summary>How the hidden states of a sequence become one vector.</summary>
public enum Pooling
{
    /// <summary>Not at all.</summary>
    None,

    /// <summary>Their mean over the sequence's tokens, without padding (Reimers and Gurevych, "Sentence-BERT", 2019).</summary>
    Mean,

    /// <summary>The first token's, which BERT reserves for the whole sequence ([CLS]).</summary>
    FirstToken,
}

/// <summary>How a recurrent decoder looks at the source.</summary>
public enum RecurrentAttention
{
    /// <summary>Not at all: all it has of the source is the state that the encoder ends in (Sutskever et al., "Sequence to Sequence Learning with Neural Networks", 2014).</summary>
    None,

    /// <summary>By the dot product of its state with each of the encoder's outputs, after the cell's step (Luong et al., "Effective Approaches to Attention-based Neural Machine Translation", 2015).</summary>
    Dot,

    /// <summary>
    /// By <c>v · tanh(Wh + Ur)</c> of its state before the step and each of the encoder's outputs; the cell reads what it saw beside the token (Bahdanau et al., "Neural
    /// Machine Translation by Jointly Learning to Align and Translate", 2015).
    /// </summary>
    Additive,
}

/// <summary>What mixes the tokens of a decoder's layer.</summary>
public enum TokenMixer
{
    /// <summary>Causal self-attention, <c>self_attn</c>.</summary>
    Attention,

    /// <summary>
    /// A gated short convolution, <c>conv</c>: of B, C and x, three projections of the input, <c>C ⊙ convolution(B ⊙ x)</c>, projected. The convolution is causal and of each channel by itself; a session carries the
    /// last <see cref="DecoderAttribute.ConvolutionTaps"/> − 1 of its inputs, however long the sequence (Liquid AI, "LFM2 Technical Report", 2025).
    /// </summary>
    ShortConvolution,

    /// <summary>
    /// The gated delta rule, <c>linear_attn</c>: each head has a matrix that forgets a part of itself with each token, is corrected towards the token's value at its key, and is read at its query. Queries, keys and values, of
    /// <see cref="DecoderAttribute.LinearKeyHeads"/> and <see cref="DecoderAttribute.LinearValueHeads"/> heads, come through a causal convolution of <see cref="DecoderAttribute.ConvolutionTaps"/> steps and a SiLU; what is read is normalized and gated.
    /// A session carries the matrices and the convolution's last inputs, however long the sequence (Yang et al., "Gated Delta Networks: Improving Mamba2 with Delta Rule", 2024).
    /// </summary>
    GatedDelta,

    /// <summary>
    /// A selective state space, <c>mamba</c>: each head has a matrix that forgets a part of itself with each token, at a pace of the token's own, takes the token in at B, and is read at C. Its input, B and C come through a causal convolution of
    /// <see cref="DecoderAttribute.ConvolutionTaps"/> steps and a SiLU; what is read is gated and normalized. A session carries the matrices and the convolution's last inputs, however long the sequence (Dao and Gu, "Transformers are SSMs: Generalized
    /// Models and Efficient Algorithms Through Structured State Space Duality", 2024).
    /// </summary>
    StateSpace,
}

/// <summary>Which kernels of a model have one launch between them on a CUDA device.</summary>
public enum CudaLaunches
{
    /// <summary>Those that are done in about the time that a launch takes: a decoded token, a small model's step, a recurrence.</summary>
    Automatic,

    /// <summary>None: each has a launch of its own, and what every run launches is captured as a graph.</summary>
    Separate,

    /// <summary>All that can.</summary>
    Together,
}
