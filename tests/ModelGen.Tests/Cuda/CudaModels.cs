namespace ModelGen.Tests.Cuda;

// Tiny models of every family with a path for devices: every kernel of theirs is run by the machine for PTX.

[Gpt(Layers = 2, DModel = 12, Heads = 2, Vocab = 17, Context = 9)]
[Trainable(BatchSize = 2, SequenceLength = 5)]
[Cuda]
public partial class DeviceGpt;

[Gpt(Layers = 2, DModel = 12, Heads = 3, Vocab = 17, Attention = AttentionPattern.Window, Window = 4, Positions = PositionEncoding.Alibi, MaxBatch = 3, Score = true, HiddenStates = true)]
[Trainable(BatchSize = 2, SequenceLength = 5)]
[Cuda]
public partial class DeviceWindowGpt;

[RecurrentLm(Cell = Cell.Lstm, Layers = 2, Embedding = 6, Hidden = 9, Vocab = 13, MaxBatch = 3, Dropout = 0.2)]
[Trainable(BatchSize = 3, SequenceLength = 4)]
[Cuda]
public partial class DeviceLstm;

[Transformer(DModel = 12, Heads = 2, EncoderLayers = 1, DecoderLayers = 2, FeedForward = 16, SourceVocab = 13, TargetVocab = 11, Context = 8, MaxBatch = 3, AttentionWeights = true)]
[Trainable(BatchSize = 2, SequenceLength = 5, SourceLength = 6)]
[Cuda]
public partial class DeviceTransformer;

[T5(Layers = 1, DModel = 12, Heads = 2, HeadWidth = 5, FeedForward = 16, Vocab = 13, Context = 8, RelativeBuckets = 4, RelativeDistance = 5, MaxBatch = 3)]
[Trainable(BatchSize = 2, SequenceLength = 5, SourceLength = 6)]
[Cuda]
public partial class DeviceT5;

[RecurrentSeq2Seq(Cell = Cell.Gru, Layers = 1, Hidden = 8, Embedding = 5, SourceVocab = 13, TargetVocab = 11, Attention = RecurrentAttention.Additive, SourceContext = 7, MaxBatch = 3)]
[Trainable(BatchSize = 2, SequenceLength = 5, SourceLength = 6)]
[Cuda]
public partial class DeviceSeq2Seq;

[Bert(Layers = 2, DModel = 12, Heads = 3, FeedForward = 17, Vocab = 13, Context = 7, Head = BertHead.MaskedLm, NextSentence = true, MaxBatch = 3, Embeddings = Pooling.Mean, Normalize = true)]
[Trainable(BatchSize = 2, SequenceLength = 6)]
[Cuda]
public partial class DeviceBert;

[Mlp(5, 7, 3)]
[Trainable(BatchSize = 4)]
[Cuda]
public partial class DeviceMlp;

[Nnlm(Window = 3, Embedding = 5, Hidden = 7, Vocab = 11)]
[Trainable(BatchSize = 3)]
[Cuda]
public partial class DeviceNnlm;

[WordAutoencoder(Vocab = 9, Code = 4, Window = 1)]
[Trainable(BatchSize = 3)]
[Cuda]
public partial class DeviceWords;

[RecurrentRegressor(Cell = Cell.Lstm, Layers = 2, Hidden = 6, Inputs = 2, Outputs = 3, CarryState = true)]
[Trainable(BatchSize = 2, SequenceLength = 4)]
[Cuda]
public partial class DeviceRegressor;

[RecurrentTagger(Cell = Cell.Gru, Layers = 1, Hidden = 5, Embedding = 6, Vocab = 11, Tags = 4, Context = 7, MaxBatch = 3)]
[Trainable(BatchSize = 2, SequenceLength = 5)]
[Cuda]
public partial class DeviceTagger;

[Decoder(Layers = 2, DModel = 12, Heads = 4, KeyValueHeads = 2, HeadWidth = 4, FeedForward = 14, Vocab = 17, Context = 9, MaxBatch = 3)]
[Trainable(BatchSize = 2, SequenceLength = 5)]
[Cuda]
public partial class DeviceDecoder;

[Gpt(Layers = 2, DModel = 12, Heads = 2, Vocab = 17, Context = 24)]
[Trainable(BatchSize = 2, SequenceLength = 18)]
[Cuda(Precision = CudaPrecision.BF16)]
public partial class RoundedGpt;

[RecurrentLm(Cell = Cell.Lstm, Layers = 2, Embedding = 6, Hidden = 9, Vocab = 13, MaxBatch = 3, Dropout = 0.2)]
[Trainable(BatchSize = 3, SequenceLength = 4)]
[Cuda(Precision = CudaPrecision.TF32)]
public partial class RoundedLstm;

// As above, with a launch for each kernel, captured as graphs.

[Gpt(Layers = 2, DModel = 12, Heads = 2, Vocab = 17, Context = 9)]
[Trainable(BatchSize = 2, SequenceLength = 5)]
[Cuda(Launches = CudaLaunches.Separate)]
public partial class SeparateGpt;

[RecurrentLm(Cell = Cell.Lstm, Layers = 2, Embedding = 6, Hidden = 9, Vocab = 13, MaxBatch = 3, Dropout = 0.2)]
[Trainable(BatchSize = 3, SequenceLength = 4)]
[Cuda(Launches = CudaLaunches.Separate)]
public partial class SeparateLstm;

[Transformer(DModel = 12, Heads = 2, EncoderLayers = 1, DecoderLayers = 2, FeedForward = 16, SourceVocab = 13, TargetVocab = 11, Context = 8, MaxBatch = 3, AttentionWeights = true)]
[Trainable(BatchSize = 2, SequenceLength = 5, SourceLength = 6)]
[Cuda(Launches = CudaLaunches.Separate)]
public partial class SeparateTransformer;

[Bert(Layers = 2, DModel = 12, Heads = 3, FeedForward = 17, Vocab = 13, Context = 7, Head = BertHead.MaskedLm, NextSentence = true, MaxBatch = 3, Embeddings = Pooling.Mean, Normalize = true)]
[Trainable(BatchSize = 2, SequenceLength = 6)]
[Cuda(Launches = CudaLaunches.Separate)]
public partial class SeparateBert;

[Mlp(5, 7, 3)]
[Trainable(BatchSize = 4)]
[Cuda(Precision = CudaPrecision.BF16, Launches = CudaLaunches.Together)]
public partial class RoundedMlp;

[Gpt(Layers = 2, DModel = 12, Heads = 2, Vocab = 17, Context = 24)]
[Trainable(BatchSize = 2, SequenceLength = 18)]
[Cuda(Precision = CudaPrecision.BF16, Rounding = CudaRounding.Stochastic)]
public partial class StochasticGpt;

// Long enough a context for 200 tokens.
[Gpt(Layers = 1, DModel = 12, Heads = 2, Vocab = 29, Context = 204)]
[Trainable(BatchSize = 2, SequenceLength = 5)]
[Cuda]
public partial class LongGpt;

// Recurrences that are one launch of a prompt, narrow ones and wide ones.

[Mamba2(Layers = 2, DModel = 12, Vocab = 17, StateHeads = 4, StateSize = 3, StateHeadWidth = 5, ConvolutionTaps = 4, MaxBatch = 3)]
[Cuda]
public partial class DeviceStateSpace;

[Decoder(Layers = 2, DModel = 16, Heads = 2, KeyValueHeads = 1, FeedForward = 24, Vocab = 17, Context = 24, Mixers = new[] { TokenMixer.GatedDelta, TokenMixer.Attention }, LinearKeyHeads = 2, LinearKeyWidth = 32, LinearValueHeads = 4, LinearValueWidth = 24, ConvolutionTaps = 4, MaxBatch = 3)]
[Cuda(Launches = CudaLaunches.Separate)]
public partial class DeviceDelta;

// Experts whose weights stay packed.

[Decoder(Layers = 2, DModel = 64, Heads = 4, KeyValueHeads = 2, FeedForward = 96, Vocab = 53, Context = 24, MaxBatch = 3, Experts = 4, ActiveExperts = 2, Weights = WeightFormat.F16)]
[Cuda]
public partial class DeviceHalfExperts;

// Weights that stay packed on the device, those of the last one but for what its kernels do not read.

[Decoder(Layers = 2, DModel = 64, Heads = 4, KeyValueHeads = 2, FeedForward = 96, Vocab = 53, Context = 24, MaxBatch = 3, Weights = WeightFormat.F16)]
[Cuda]
public partial class DeviceHalf;

[Decoder(Layers = 2, DModel = 64, Heads = 4, KeyValueHeads = 2, FeedForward = 96, Vocab = 53, Context = 24, MaxBatch = 3, Weights = WeightFormat.BF16)]
[Cuda(Launches = CudaLaunches.Separate)]
public partial class DeviceBrain;

[Decoder(Layers = 2, DModel = 64, Heads = 4, KeyValueHeads = 2, FeedForward = 96, Vocab = 53, Context = 24, MaxBatch = 3, Weights = WeightFormat.Q8_0)]
[Cuda]
public partial class DeviceEight;

[Decoder(Layers = 2, DModel = 64, Heads = 4, KeyValueHeads = 2, FeedForward = 96, Vocab = 53, Context = 24, MaxBatch = 3, TieEmbeddings = true, Weights = WeightFormat.Q4_0)]
[Cuda(Precision = CudaPrecision.TF32)]
public partial class DeviceFour;

[Decoder(Layers = 1, DModel = 256, Heads = 4, KeyValueHeads = 2, FeedForward = 96, Vocab = 53, Context = 24, Weights = WeightFormat.Q4_K, WeightsOf = new[] { "*.v_proj.weight: Q6_K", "*.o_proj.weight: Q8_0", "lm_head.weight: BF16" })]
[Cuda(Precision = CudaPrecision.BF16)]
public partial class DeviceMixed;

[Decoder(Layers = 2, DModel = 64, Heads = 4, KeyValueHeads = 2, FeedForward = 96, Vocab = 53, Context = 24, MaxBatch = 3)]
public partial class PlainDecoder;

[Decoder(Layers = 2, DModel = 64, Heads = 4, KeyValueHeads = 2, FeedForward = 96, Vocab = 53, Context = 24, MaxBatch = 3, TieEmbeddings = true)]
public partial class PlainTiedDecoder;

[Decoder(Layers = 1, DModel = 256, Heads = 4, KeyValueHeads = 2, FeedForward = 96, Vocab = 53, Context = 24)]
public partial class PlainWideDecoder;

// Caches that are rounded.

[Decoder(Layers = 2, DModel = 64, Heads = 4, KeyValueHeads = 2, FeedForward = 96, Vocab = 53, Context = 24, MaxBatch = 3, KeyValueCache = CacheFormat.F16)]
[Cuda]
public partial class DeviceHalfCache;

[Decoder(Layers = 2, DModel = 64, Heads = 2, KeyValueHeads = 1, FeedForward = 96, Vocab = 53, Context = 24, MaxBatch = 3, KeyValueCache = CacheFormat.Q8_0, Weights = WeightFormat.F16)]
[Cuda(Launches = CudaLaunches.Separate)]
public partial class DeviceByteCache;

[Decoder(Layers = 1, DModel = 64, Heads = 4, KeyValueHeads = 2, FeedForward = 96, Vocab = 53, Context = 24, Weights = WeightFormat.Q8_0, WeightsOf = new[] { "*.down_proj.weight: Q4_0", "*.q_proj.weight: BF16", "*.k_proj.weight: F16" })]
[Lora(Rank = 2)]
[Trainable(BatchSize = 2, SequenceLength = 9)]
[Cuda]
public partial class DeviceQlora;

// Products by groups of four warps where the device has those, whatever it costs.

[Gpt(Layers = 2, DModel = 12, Heads = 2, Vocab = 17, Context = 24)]
[Trainable(BatchSize = 2, SequenceLength = 18)]
[Cuda(Precision = CudaPrecision.BF16, Products = CudaProducts.Warpgroups)]
public partial class WarpgroupGpt;

[Gpt(Layers = 2, DModel = 12, Heads = 2, Vocab = 17, Context = 24)]
[Trainable(BatchSize = 2, SequenceLength = 18)]
[Cuda(Precision = CudaPrecision.BF16, Rounding = CudaRounding.Stochastic, Products = CudaProducts.Warpgroups)]
public partial class StochasticWarpgroupGpt;

// Products of several rows by cuBLASLt where it is installed, those of the twins above and of others otherwise.

[Gpt(Layers = 2, DModel = 12, Heads = 2, Vocab = 17, Context = 9)]
[Trainable(BatchSize = 2, SequenceLength = 5)]
[Cuda(Launches = CudaLaunches.Separate, Products = CudaProducts.CublasLt)]
public partial class LibraryGpt;

[Gpt(Layers = 2, DModel = 12, Heads = 2, Vocab = 17, Context = 24)]
[Trainable(BatchSize = 2, SequenceLength = 18)]
[Cuda(Precision = CudaPrecision.BF16, Launches = CudaLaunches.Separate, Products = CudaProducts.CublasLt)]
public partial class RoundedLibraryGpt;

[RecurrentLm(Cell = Cell.Lstm, Layers = 2, Embedding = 6, Hidden = 9, Vocab = 13, MaxBatch = 3, Dropout = 0.2)]
[Trainable(BatchSize = 3, SequenceLength = 4)]
[Cuda(Precision = CudaPrecision.TF32, Launches = CudaLaunches.Separate, Products = CudaProducts.CublasLt)]
public partial class LibraryLstm;

[Mlp(7, 21, 12, 3, Activation = Activation.Relu)]
[Trainable(BatchSize = 6)]
[Cuda(Launches = CudaLaunches.Separate, Products = CudaProducts.CublasLt)]
public partial class LibraryMlp;
