// The enumerations of the attributes, value for value as the runtime declares them: the compiler does not reference the runtime.

namespace ModelGen.Compiler;

internal enum Activation
{
    Relu,
    Gelu,
    GeluTanh,
    Tanh,
    Sigmoid,
    Silu,
    Identity,
    Elu,
    Softmax,
    ReluSquared,
    QuickGelu,
}

internal enum CudaPrecision
{
    F32,
    TF32,
    BF16,
}

internal enum Cell
{
    Rnn,
    Lstm,
    Gru,
}

internal enum Loss
{
    CrossEntropy,
    SquaredError,
    BinaryCrossEntropy,
}

internal enum Recomputation
{
    None,
    Blocks,
}

internal enum ParameterLayout
{
    Conv1D,
    Linear,
}

internal enum AttentionPattern
{
    Full,
    Window,
    Strided,
    Fixed,
}

internal enum PositionEncoding
{
    Learned,
    None,
    Alibi,
    Relative,
    Sinusoids,
    SinusoidHalves,
    Rotary,
}

internal enum BertHead
{
    None,
    MaskedLm,
    SequenceClassifier,
    TokenClassifier,
}

internal enum Pooling
{
    None,
    Mean,
    FirstToken,
}

internal enum RecurrentAttention
{
    None,
    Dot,
    Additive,
}

internal enum EmbeddingSharing
{
    None,
    TargetAndHead,
    All,
}

internal enum RotaryLayout
{
    Halves,
    Interleaved,
}

internal enum RotaryScaling
{
    None,
    Linear,
    Llama3,
    Yarn,
    LongRope,
    Dynamic,
}

internal enum Normalization
{
    RootMeanSquare,
    OffsetRootMeanSquare,
    Layer,
    OffsetLayer,
}

internal enum NormPlacement
{
    Before,
    After,
    Both,
}

internal enum QueryKeyNorm
{
    None,
    Head,
    Whole,
}

internal enum BlockForm
{
    Sequential,
    Parallel,
    ParallelTwoNorms,
}

internal enum TokenMixer
{
    Attention,
    ShortConvolution,
    GatedDelta,
    StateSpace,
}

internal enum CudaRounding
{
    Nearest,
    Stochastic,
}

internal enum CudaLaunches
{
    Automatic,
    Separate,
    Together,
}

internal enum CudaProducts
{
    Automatic,
    Warps,
    Warpgroups,
    CublasLt,
}
