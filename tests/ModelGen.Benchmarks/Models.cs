namespace ModelGen.Benchmarks;

/// <summary>GPT-2 124M, in the training shape that the peers are measured at.</summary>
[Gpt(Layers = 12, DModel = 768, Heads = 12, Vocab = 50257, Context = 1024)]
[Trainable(BatchSize = 4, SequenceLength = 64)]
public partial class Gpt2;

/// <summary>The 0.8M-parameter model of the CharGpt example.</summary>
[Gpt(Layers = 4, DModel = 128, Heads = 4, Vocab = 256, Context = 64)]
[Trainable(BatchSize = 12, SequenceLength = 64)]
public partial class CharGpt;

/// <summary>
/// The sizes of stories260K, whose four key and value heads serve two query heads each. Two matrices of 256 channels stand for its three of
/// 172: with the biases, 45,568 parameters in a layer for its 45,312, and more in all.
/// </summary>
[Gpt(Layers = 5, DModel = 64, Heads = 8, KeyValueHeads = 4, FeedForward = 256, Vocab = 512, Context = 512)]
public partial class Gpt260K;

/// <summary>The language model of word-level LSTM examples.</summary>
[RecurrentLm(Cell = Cell.Lstm, Layers = 2, Hidden = 512, Embedding = 512, Vocab = 10000)]
[Trainable(BatchSize = 32, SequenceLength = 35)]
public partial class WordLstm;

/// <summary>A single cell with eight inputs and eight hidden units; its smallest possible vocabulary head is not timed.</summary>
[RecurrentLm(Cell = Cell.Lstm, Layers = 1, Hidden = 8, Embedding = 8, Vocab = 2)]
public partial class LstmCell8;

/// <summary>A single cell with 64 inputs and 64 hidden units.</summary>
[RecurrentLm(Cell = Cell.Lstm, Layers = 1, Hidden = 64, Embedding = 64, Vocab = 2)]
public partial class LstmCell64;

/// <summary>A model of time series with eight hidden units: a step is little more than a call.</summary>
[RecurrentRegressor(Cell = Cell.Lstm, Hidden = 8, Inputs = 1)]
public partial class Series8;

/// <summary>The same with the other gated cell.</summary>
[RecurrentRegressor(Cell = Cell.Gru, Hidden = 8, Inputs = 1)]
public partial class GruSeries8;

/// <summary>A network so small that everything but its arithmetic counts.</summary>
[Mlp(4, 2, 1, Activation = Activation.Relu, Loss = Loss.SquaredError)]
[Trainable(BatchSize = 4)]
public partial class TinyMlp;

/// <summary>
/// Every matrix product of GPT-2's training step, without biases and activations: a layer that is neither the first nor the last has
/// its three products pure.
/// </summary>
[Mlp(8, 768, 2304, 768, 768, 3072, 768, 50257, 8, Activation = Activation.Identity, Bias = false, Loss = Loss.SquaredError)]
[Trainable(BatchSize = 256)]
public partial class Gpt2Products;

/// <summary>Attention of GPT-2's shape, over short sequences.</summary>
[Gpt(Layers = 1, DModel = 768, Heads = 12, FeedForward = 16, Vocab = 16, Context = 64)]
[Trainable(BatchSize = 4, SequenceLength = 64)]
public partial class Attention64;

/// <summary>Attention of GPT-2's shape, over sequences of 256.</summary>
[Gpt(Layers = 1, DModel = 768, Heads = 12, FeedForward = 16, Vocab = 16, Context = 256)]
[Trainable(BatchSize = 4, SequenceLength = 256)]
public partial class Attention256;

/// <summary>Attention of GPT-2's shape, over its whole context.</summary>
[Gpt(Layers = 1, DModel = 768, Heads = 12, FeedForward = 16, Vocab = 16, Context = 1024)]
[Trainable(BatchSize = 4, SequenceLength = 1024)]
public partial class Attention1024;

/// <summary>What the models below are compared with.</summary>
[Gpt(Layers = 2, DModel = 128, Heads = 4, Vocab = 256, Context = 64)]
[Trainable(BatchSize = 4, SequenceLength = 64)]
public partial class ScalingBase;

/// <summary>Twice the layers.</summary>
[Gpt(Layers = 4, DModel = 128, Heads = 4, Vocab = 256, Context = 64)]
[Trainable(BatchSize = 4, SequenceLength = 64)]
public partial class ScalingLayers4;

/// <summary>Four times the layers.</summary>
[Gpt(Layers = 8, DModel = 128, Heads = 4, Vocab = 256, Context = 64)]
[Trainable(BatchSize = 4, SequenceLength = 64)]
public partial class ScalingLayers8;

/// <summary>Twice the width.</summary>
[Gpt(Layers = 2, DModel = 256, Heads = 8, Vocab = 256, Context = 64)]
[Trainable(BatchSize = 4, SequenceLength = 64)]
public partial class ScalingWidth256;

/// <summary>Four times the width.</summary>
[Gpt(Layers = 2, DModel = 512, Heads = 16, Vocab = 256, Context = 64)]
[Trainable(BatchSize = 4, SequenceLength = 64)]
public partial class ScalingWidth512;

/// <summary>Four times the length.</summary>
[Gpt(Layers = 2, DModel = 128, Heads = 4, Vocab = 256, Context = 256)]
[Trainable(BatchSize = 4, SequenceLength = 256)]
public partial class ScalingLength256;

/// <summary>Sixteen times the length.</summary>
[Gpt(Layers = 2, DModel = 128, Heads = 4, Vocab = 256, Context = 1024)]
[Trainable(BatchSize = 4, SequenceLength = 1024)]
public partial class ScalingLength1024;

/// <summary>A recurrent encoder–decoder without attention.</summary>
[RecurrentSeq2Seq(Hidden = 512, SourceVocab = 2000, TargetVocab = 2000, Attention = RecurrentAttention.None, SourceContext = 30)]
[Trainable(BatchSize = 32, SequenceLength = 30)]
public partial class Seq2SeqNone;

/// <summary>A recurrent encoder–decoder with dot products for attention.</summary>
[RecurrentSeq2Seq(Hidden = 512, SourceVocab = 2000, TargetVocab = 2000, Attention = RecurrentAttention.Dot, SourceContext = 30)]
[Trainable(BatchSize = 32, SequenceLength = 30)]
public partial class Seq2SeqDot;

/// <summary>A recurrent encoder–decoder with additive attention.</summary>
[RecurrentSeq2Seq(Hidden = 512, SourceVocab = 2000, TargetVocab = 2000, Attention = RecurrentAttention.Additive, SourceContext = 30)]
[Trainable(BatchSize = 32, SequenceLength = 30)]
public partial class Seq2SeqAdditive;

/// <summary>
/// One encoder and one decoder layer of the base model (Vaswani et al. 2017). The layers are what is measured: the vocabularies are small, and nothing is dropped, which costs the peer
/// more than it costs us.
/// </summary>
[Transformer(EncoderLayers = 1, DecoderLayers = 1, DModel = 512, Heads = 8, FeedForward = 2048, SourceVocab = 1000, TargetVocab = 1000, Context = 64)]
[Trainable(BatchSize = 8, SequenceLength = 64)]
public partial class TransformerBaseLayers;

// One narrow layer over long sequences, by patterns of attention.

[Gpt(Layers = 1, DModel = 64, Heads = 4, Vocab = 64, Attention = AttentionPattern.Window, Window = 256, Context = 16384, Positions = PositionEncoding.Alibi)]
[Trainable(BatchSize = 1, SequenceLength = 1024)]
public partial class Window1K;

[Gpt(Layers = 1, DModel = 64, Heads = 4, Vocab = 64, Attention = AttentionPattern.Window, Window = 256, Context = 16384, Positions = PositionEncoding.Alibi)]
[Trainable(BatchSize = 1, SequenceLength = 4096)]
public partial class Window4K;

[Gpt(Layers = 1, DModel = 64, Heads = 4, Vocab = 64, Attention = AttentionPattern.Window, Window = 256, Context = 16384, Positions = PositionEncoding.Alibi)]
[Trainable(BatchSize = 1, SequenceLength = 16384)]
public partial class Window16K;

[Gpt(Layers = 1, DModel = 64, Heads = 4, Vocab = 64, Attention = AttentionPattern.Strided, Stride = 128, Context = 16384, Positions = PositionEncoding.Alibi)]
[Trainable(BatchSize = 1, SequenceLength = 1024)]
public partial class Strided1K;

[Gpt(Layers = 1, DModel = 64, Heads = 4, Vocab = 64, Attention = AttentionPattern.Strided, Stride = 128, Context = 16384, Positions = PositionEncoding.Alibi)]
[Trainable(BatchSize = 1, SequenceLength = 4096)]
public partial class Strided4K;

[Gpt(Layers = 1, DModel = 64, Heads = 4, Vocab = 64, Attention = AttentionPattern.Strided, Stride = 128, Context = 16384, Positions = PositionEncoding.Alibi)]
[Trainable(BatchSize = 1, SequenceLength = 16384)]
public partial class Strided16K;

[Gpt(Layers = 1, DModel = 64, Heads = 4, Vocab = 64, Context = 16384, Positions = PositionEncoding.Alibi)]
[Trainable(BatchSize = 1, SequenceLength = 1024)]
public partial class Full1K;

[Gpt(Layers = 1, DModel = 64, Heads = 4, Vocab = 64, Context = 16384, Positions = PositionEncoding.Alibi)]
[Trainable(BatchSize = 1, SequenceLength = 4096)]
public partial class Full4K;

[Gpt(Layers = 1, DModel = 64, Heads = 4, Vocab = 64, Context = 16384, Positions = PositionEncoding.Alibi)]
[Trainable(BatchSize = 1, SequenceLength = 16384)]
public partial class Full16K;

/// <summary>BERT-base (Devlin et al. 2019): what it hands out are the hidden states.</summary>
[Bert(Layers = 12, DModel = 768, Heads = 12, Vocab = 30522, Context = 512, Pooler = false)]
public partial class BertBase;

/// <summary>The sizes of all-MiniLM-L6-v2.</summary>
[Bert(Layers = 6, DModel = 384, Heads = 12, FeedForward = 1536, Vocab = 30522, Context = 512, Pooler = false)]
public partial class MiniLm;

// Two of the sixteen layers of Llama 3.2 1B and an eighth of its vocabulary, in each format that its weights may have.

[Llama(Layers = 2, DModel = 2048, Heads = 32, KeyValueHeads = 8, FeedForward = 8192, Vocab = 16032, Context = 128, TieEmbeddings = true, Weights = WeightFormat.F32)]
public partial class LlamaLayersF32;

[Llama(Layers = 2, DModel = 2048, Heads = 32, KeyValueHeads = 8, FeedForward = 8192, Vocab = 16032, Context = 128, TieEmbeddings = true, Weights = WeightFormat.F16)]
public partial class LlamaLayersF16;

[Llama(Layers = 2, DModel = 2048, Heads = 32, KeyValueHeads = 8, FeedForward = 8192, Vocab = 16032, Context = 128, TieEmbeddings = true, Weights = WeightFormat.BF16)]
public partial class LlamaLayersBF16;

[Llama(Layers = 2, DModel = 2048, Heads = 32, KeyValueHeads = 8, FeedForward = 8192, Vocab = 16032, Context = 128, TieEmbeddings = true, Weights = WeightFormat.Q8_0)]
public partial class LlamaLayersQ80;

[Llama(Layers = 2, DModel = 2048, Heads = 32, KeyValueHeads = 8, FeedForward = 8192, Vocab = 16032, Context = 128, TieEmbeddings = true, Weights = WeightFormat.Q4_0)]
public partial class LlamaLayersQ40;

[Llama(Layers = 2, DModel = 2048, Heads = 32, KeyValueHeads = 8, FeedForward = 8192, Vocab = 16032, Context = 128, TieEmbeddings = true, Weights = WeightFormat.Q4_K)]
public partial class LlamaLayersQ4K;

[Llama(Layers = 2, DModel = 2048, Heads = 32, KeyValueHeads = 8, FeedForward = 8192, Vocab = 16032, Context = 128, TieEmbeddings = true, Weights = WeightFormat.Q6_K)]
public partial class LlamaLayersQ6K;
