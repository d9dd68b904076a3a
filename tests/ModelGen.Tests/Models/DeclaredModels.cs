namespace ModelGen.Tests.Models;

// Models of the PyTorch fixtures. Every size is chosen so that it is no multiple of a vector's length, or is one for another model.

[Gpt(Layers = 3, DModel = 30, Heads = 5, Vocab = 97, Context = 37)]
[Trainable(BatchSize = 3, SequenceLength = 29)]
public partial class TiedGpt;

[Gpt(Layers = 2, DModel = 40, Heads = 4, FeedForward = 56, Vocab = 50, Context = 16, Activation = Activation.Relu, TieEmbeddings = false, Bias = false)]
[Trainable(BatchSize = 2, SequenceLength = 16)]
public partial class UntiedGpt;

[Gpt(Layers = 2, DModel = 66, Heads = 6, KeyValueHeads = 2, FeedForward = 70, Vocab = 53, Context = 19, Activation = Activation.Gelu)]
[Trainable(BatchSize = 2, SequenceLength = 17)]
public partial class SharedKeysGpt;

[RecurrentLm(Cell = Cell.Lstm, Layers = 2, Embedding = 18, Hidden = 24, Vocab = 41)]
[Trainable(BatchSize = 3, SequenceLength = 13)]
public partial class LstmLm;

[RecurrentLm(Cell = Cell.Gru, Layers = 2, Embedding = 18, Hidden = 22, Vocab = 41)]
[Trainable(BatchSize = 3, SequenceLength = 13)]
public partial class GruLm;

[RecurrentLm(Cell = Cell.Rnn, Layers = 2, Embedding = 21, Hidden = 21, Vocab = 41, TieEmbeddings = true)]
[Trainable(BatchSize = 3, SequenceLength = 13)]
public partial class RnnLm;

[Mlp(13, 21, 7)]
[Trainable(BatchSize = 5)]
public partial class CrossEntropyMlp;

[Mlp(13, 21, 11, 3, Activation = Activation.Tanh, OutputActivation = Activation.Sigmoid, Loss = Loss.SquaredError)]
[Trainable(BatchSize = 5)]
public partial class SquaredErrorMlp;

[Mlp(5, 17, 16, 15, 9, 8, 7, 6, 5, Activations = [Activation.Tanh, Activation.Elu, Activation.Gelu, Activation.Softmax, Activation.GeluTanh, Activation.Relu, Activation.Silu], OutputActivation = Activation.Softmax, Loss = Loss.SquaredError)]
[Trainable(BatchSize = 5)]
public partial class MixedMlp;

/// <summary>The dense network of RTNeural's tests.</summary>
[Mlp(1, 8, 8, 8, 8, 1, 8, 8, 1, Activations = [Activation.Tanh, Activation.Relu, Activation.Elu, Activation.Softmax, Activation.Identity, Activation.Identity, Activation.Identity])]
public partial class DenseSeries;

[Mlp(9, 19, 2, Activation = Activation.Silu, Loss = Loss.BinaryCrossEntropy)]
[Trainable(BatchSize = 5)]
public partial class BinaryMlp;

// Trained models from elsewhere.

[Gpt(Layers = 3, DModel = 48, Heads = 3, Vocab = 3, Context = 11, TieEmbeddings = false, QkvBias = false, Layout = ParameterLayout.Linear)]
public partial class SortingGpt;

[Gpt(Layers = 3, DModel = 48, Heads = 3, Vocab = 3, Context = 11, TieEmbeddings = false, Layout = ParameterLayout.Linear)]
public partial class SortingGptWithQkvBias;

[Gpt(Layers = 5, DModel = 32, Heads = 4, Vocab = 1000, Context = 512)]
public partial class TinyRandomGpt2;

[Mlp(784, 500, 10)]
public partial class DigitMlp;

[RecurrentLm(Cell = Cell.Lstm, Layers = 2, Embedding = 128, Hidden = 128, Vocab = 65)]
public partial class CharLstm;

// Models that learn something small, and what determinism, resuming and allocation are tested on.

[Gpt(Layers = 2, DModel = 24, Heads = 2, Vocab = 19, Context = 20)]
[Trainable(BatchSize = 4, SequenceLength = 16)]
public partial class LearningGpt;

[Gpt(Layers = 2, DModel = 36, Heads = 3, Vocab = 61, Context = 33, Dropout = 0.1)]
[Trainable(BatchSize = 3, SequenceLength = 21)]
public partial class DropoutGpt;

[RecurrentLm(Cell = Cell.Lstm, Hidden = 20, Embedding = 9, Vocab = 6)]
[Trainable(BatchSize = 8, SequenceLength = 16)]
public partial class LearningLstm;

[RecurrentLm(Cell = Cell.Gru, Hidden = 20, Embedding = 9, Vocab = 6)]
[Trainable(BatchSize = 8, SequenceLength = 16)]
public partial class LearningGru;

[RecurrentLm(Cell = Cell.Rnn, Hidden = 20, Embedding = 9, Vocab = 6)]
[Trainable(BatchSize = 8, SequenceLength = 16)]
public partial class LearningRnn;

[RecurrentLm(Cell = Cell.Lstm, Layers = 2, Hidden = 27, Embedding = 15, Vocab = 41, Dropout = 0.2)]
[Trainable(BatchSize = 5, SequenceLength = 11)]
public partial class DropoutLstm;

[Mlp(2, 8, 2, Activation = Activation.Tanh)]
[Trainable(BatchSize = 4)]
public partial class XorClassifier;

[Mlp(2, 8, 1, Activation = Activation.Tanh, OutputActivation = Activation.Sigmoid, Loss = Loss.SquaredError)]
[Trainable(BatchSize = 4)]
public partial class XorRegression;

[Mlp(2, 8, 1, Activation = Activation.Tanh, Loss = Loss.BinaryCrossEntropy)]
[Trainable(BatchSize = 4)]
public partial class XorBinary;

[Mlp(2, 32, 32, 2, Activation = Activation.Silu)]
[Trainable(BatchSize = 97)]
public partial class SpiralMlp;

// Softmaxes over one score.

[Gpt(Layers = 2, DModel = 24, Heads = 3, Vocab = 11, Context = 4)]
[Trainable(BatchSize = 3, SequenceLength = 1)]
public partial class OnePositionGpt;

[Gpt(Layers = 1, DModel = 8, Heads = 2, Vocab = 1, Context = 4)]
[Trainable(BatchSize = 2, SequenceLength = 3)]
public partial class OneTokenGpt;

// Whose inputs take longer to copy than to compute with.

[Mlp(250000, 1, 2)]
public partial class WideMlp;

// LearningGpt with its embeddings and its first block frozen.

[Gpt(Layers = 2, DModel = 24, Heads = 2, Vocab = 19, Context = 20)]
[Trainable(BatchSize = 4, SequenceLength = 16, Frozen = new[] { "transformer.wte", "transformer.wpe", "transformer.h.0." })]
public partial class FrozenGpt;

// Models that score texts, longer ones than a run takes.

[Gpt(Layers = 2, DModel = 24, Heads = 2, Vocab = 19, Context = 300, Score = true)]
public partial class ScoringGpt;

[RecurrentLm(Cell = Cell.Gru, Layers = 2, Hidden = 20, Embedding = 9, Vocab = 23, Dropout = 0.5, Score = true)]
public partial class ScoringGru;

// A model that keeps everything for its backward pass, and the same one that computes its blocks again.

[Gpt(Layers = 8, DModel = 24, Heads = 2, Vocab = 19, Context = 20, Dropout = 0.1)]
[Trainable(BatchSize = 4, SequenceLength = 16)]
public partial class KeepingGpt;

[Gpt(Layers = 8, DModel = 24, Heads = 2, Vocab = 19, Context = 20, Dropout = 0.1, Recompute = Recomputation.Blocks)]
[Trainable(BatchSize = 4, SequenceLength = 16)]
public partial class RecomputingGpt;

// Models whose sessions hold several sequences; sizes are no multiples of a vector's length, nor of each other's.

[RecurrentLm(Cell = Cell.Lstm, Layers = 2, Embedding = 18, Hidden = 35, Vocab = 41, MaxBatch = 5)]
public partial class BatchedLstm;

[RecurrentLm(Cell = Cell.Gru, Layers = 2, Embedding = 18, Hidden = 22, Vocab = 37, MaxBatch = 5)]
public partial class BatchedGru;

[RecurrentLm(Cell = Cell.Rnn, Layers = 1, Embedding = 64, Hidden = 64, Vocab = 259, TieEmbeddings = true, MaxBatch = 5)]
public partial class BatchedRnn;

[Gpt(Layers = 3, DModel = 30, Heads = 5, Vocab = 97, Context = 37, MaxBatch = 4)]
public partial class BatchedGpt;

[Gpt(Layers = 2, DModel = 66, Heads = 6, KeyValueHeads = 2, FeedForward = 70, Vocab = 53, Context = 29, Activation = Activation.Gelu, TieEmbeddings = false, Bias = false, MaxBatch = 4)]
public partial class BatchedSharedKeysGpt;

[Gpt(Layers = 2, DModel = 64, Heads = 16, Vocab = 50, Context = 31, HeadBias = true, MaxBatch = 7)]
public partial class BatchedNarrowGpt;

[Gpt(Layers = 1, DModel = 128, Heads = 2, Vocab = 300, Context = 300, Activation = Activation.Relu, MaxBatch = 256)]
public partial class BatchedWideGpt;

// Models whose next tokens may be guessed.

[Gpt(Layers = 2, DModel = 48, Heads = 3, Vocab = 41, Context = 60, Drafts = 5)]
public partial class DraftedGpt;

[Llama(Layers = 1, DModel = 32, Heads = 4, KeyValueHeads = 2, FeedForward = 40, Vocab = 41, Context = 64, Drafts = 3)]
public partial class DraftedDecoder;

// Encoders.

[Bert(Layers = 2, DModel = 30, Heads = 5, FeedForward = 70, Vocab = 53, Context = 23, Head = BertHead.MaskedLm, NextSentence = true, MaxBatch = 4, Embeddings = Pooling.Mean, Normalize = true)]
[Trainable(BatchSize = 3, SequenceLength = 17)]
public partial class PretrainingBert;

[Bert(Layers = 2, DModel = 30, Heads = 5, FeedForward = 70, Vocab = 53, Context = 23, Head = BertHead.MaskedLm, Activation = Activation.Relu)]
[Trainable(BatchSize = 3, SequenceLength = 17)]
public partial class MaskedBert;

[Bert(Layers = 2, DModel = 30, Heads = 5, FeedForward = 70, Vocab = 53, Context = 23, Head = BertHead.SequenceClassifier, Classes = 4, MaxBatch = 4)]
[Trainable(BatchSize = 5, SequenceLength = 17)]
public partial class SequenceBert;

[Bert(Layers = 2, DModel = 30, Heads = 5, FeedForward = 70, Vocab = 53, Context = 23, Head = BertHead.TokenClassifier, Classes = 7, MaxBatch = 3)]
[Trainable(BatchSize = 3, SequenceLength = 17)]
public partial class TokenBert;

[Bert(Layers = 2, DModel = 30, Heads = 5, FeedForward = 70, Vocab = 53, Context = 23, MaxBatch = 3, Embeddings = Pooling.FirstToken)]
public partial class BareBert;

[ModernBert(Layers = 3, DModel = 30, Heads = 5, FeedForward = 35, Vocab = 53, Context = 23, Head = BertHead.MaskedLm, Attention = AttentionPattern.Window, LayerWindows = new[] { 0, 4, 4 }, MaxBatch = 3, Embeddings = Pooling.Mean, Normalize = true)]
[Trainable(BatchSize = 3, SequenceLength = 17)]
public partial class MaskedModernBert;

[ModernBert(Layers = 2, DModel = 30, Heads = 5, FeedForward = 35, Vocab = 53, Context = 23, Head = BertHead.SequenceClassifier, Classes = 4, ClassifierPooling = Pooling.Mean, Attention = AttentionPattern.Window, LayerWindows = new[] { 5, 0 }, MaxBatch = 5)]
[Trainable(BatchSize = 5, SequenceLength = 17)]
public partial class SequenceModernBert;

[Bert(Layers = 2, DModel = 30, Heads = 5, FeedForward = 35, Vocab = 53, Context = 23, Head = BertHead.TokenClassifier, Classes = 7, PreNorm = true, GatedFeedForward = true, Bias = false, Activation = Activation.Silu, Segments = 0, MaxBatch = 3)]
[Trainable(BatchSize = 3, SequenceLength = 17)]
public partial class PreNormBert;

[Bert(Layers = 2, DModel = 30, Heads = 5, FeedForward = 35, Vocab = 53, Context = 23, Head = BertHead.MaskedLm, Positions = PositionEncoding.Rotary, RotaryBase = 1000, GatedFeedForward = true, Bias = false, Activation = Activation.Silu,
    Embeddings = Pooling.Mean, Normalize = true, MaxBatch = 3)]
[Trainable(BatchSize = 3, SequenceLength = 17)]
public partial class NomicBert;

[Bert(Layers = 2, DModel = 30, Heads = 5, FeedForward = 35, Vocab = 53, Context = 23, Head = BertHead.SequenceClassifier, Classes = 4, Positions = PositionEncoding.Alibi, GatedFeedForward = true, FeedForwardInputBias = false, MaxBatch = 5)]
[Trainable(BatchSize = 5, SequenceLength = 17)]
public partial class JinaBert;

// NTK scaling by 8 of heads of 6 columns: 8^(1/3), 8^(2/3) and 8.
[Bert(Layers = 2, DModel = 30, Heads = 5, FeedForward = 35, Vocab = 53, Context = 23, Head = BertHead.TokenClassifier, Classes = 7, Positions = PositionEncoding.Rotary, RotaryBase = 20000, RotaryScaling = RotaryScaling.LongRope,
    RotaryOriginalContext = 23, RotaryAttentionFactor = 1, RotaryShortFactors = new double[] { 2, 4, 8 }, RotaryLongFactors = new double[] { 2, 4, 8 }, GatedFeedForward = true, FeedForwardInputBias = false, Segments = 0, MaxBatch = 3)]
[Trainable(BatchSize = 3, SequenceLength = 17)]
public partial class GteBert;

[Nnlm(Window = 3, Embedding = 7, Hidden = 13, Vocab = 29)]
[Trainable(BatchSize = 11)]
public partial class DirectNnlm;

[Nnlm(Window = 4, Embedding = 6, Hidden = 10, Vocab = 23, DirectConnections = false)]
[Trainable(BatchSize = 9)]
public partial class IndirectNnlm;

[WordAutoencoder(Vocab = 27, Code = 9)]
[Trainable(BatchSize = 13)]
public partial class WordCodes;

// What models hand out of their inside.

[Gpt(Layers = 3, DModel = 30, Heads = 5, Vocab = 97, Context = 37, HiddenStates = true, AttentionWeights = true)]
public partial class OpenGpt;

[Gpt(Layers = 2, DModel = 66, Heads = 6, KeyValueHeads = 2, FeedForward = 70, Vocab = 53, Context = 19, Activation = Activation.Gelu, HiddenStates = true, AttentionWeights = true)]
public partial class OpenSharedKeysGpt;

[Gpt(Layers = 2, DModel = 40, Heads = 4, KeyValueHeads = 2, Vocab = 50, Context = 600, TieEmbeddings = false, Bias = false, AttentionWeights = true)]
public partial class OpenAttentionGpt;

[RecurrentLm(Cell = Cell.Lstm, Layers = 2, Embedding = 18, Hidden = 35, Vocab = 41, HiddenStates = true)]
public partial class OpenLstm;

[Gpt(Layers = 3, DModel = 30, Heads = 5, Vocab = 97, Context = 700, Attention = AttentionPattern.Window, LayerWindows = new[] { 9, 0, 4 }, GlobalTokens = 2, Positions = PositionEncoding.Alibi, AttentionWeights = true)]
public partial class OpenWindowGpt;

[Gpt(Layers = 2, DModel = 40, Heads = 4, KeyValueHeads = 2, Vocab = 50, Context = 600, Attention = AttentionPattern.Window, Window = 6, Positions = PositionEncoding.None, AttentionWeights = true)]
public partial class OpenRingGpt;

// Attention that sees a part of what came before.

[Gpt(Layers = 3, DModel = 30, Heads = 5, Vocab = 97, Attention = AttentionPattern.Window, Window = 7, Positions = PositionEncoding.None, MaxBatch = 3, Score = true)]
[Trainable(BatchSize = 3, SequenceLength = 29)]
public partial class EndlessGpt;

[Gpt(Layers = 3, DModel = 30, Heads = 5, Vocab = 97, Attention = AttentionPattern.Window, Window = 7, Positions = PositionEncoding.Alibi, MaxBatch = 3)]
[Trainable(BatchSize = 3, SequenceLength = 29)]
public partial class AlibiGpt;

[Gpt(Layers = 2, DModel = 40, Heads = 4, KeyValueHeads = 2, FeedForward = 56, Vocab = 50, Context = 700, Positions = PositionEncoding.Relative, RelativeBuckets = 8, RelativeDistance = 20, AttentionWeights = true, MaxBatch = 2)]
[Trainable(BatchSize = 2, SequenceLength = 33)]
public partial class RelativeGpt;

[Gpt(Layers = 2, DModel = 36, Heads = 3, Vocab = 61, Context = 700, Attention = AttentionPattern.Strided, Stride = 6, Positions = PositionEncoding.None, MaxBatch = 2)]
[Trainable(BatchSize = 2, SequenceLength = 42)]
public partial class StridedGpt;

[Gpt(Layers = 2, DModel = 40, Heads = 4, KeyValueHeads = 2, Vocab = 50, Context = 700, Attention = AttentionPattern.Fixed, Stride = 8, SummaryTokens = 3, Positions = PositionEncoding.Alibi, MaxBatch = 2)]
[Trainable(BatchSize = 2, SequenceLength = 40)]
public partial class FixedGpt;

[Gpt(Layers = 2, DModel = 40, Heads = 4, KeyValueHeads = 2, Vocab = 50, Attention = AttentionPattern.Window, Window = 7, GlobalTokens = 3, Positions = PositionEncoding.Relative, RelativeBuckets = 8, RelativeDistance = 20, MaxBatch = 2)]
[Trainable(BatchSize = 2, SequenceLength = 33)]
public partial class GlobalGpt;

[Gpt(Layers = 2, DModel = 40, Heads = 4, KeyValueHeads = 2, FeedForward = 56, Vocab = 50, Context = 700, Attention = AttentionPattern.Window, Window = 24, MaxBatch = 2)]
[Trainable(BatchSize = 2, SequenceLength = 48)]
public partial class WindowGpt;
// Time series: those of the PyTorch fixtures, and the networks of RTNeural's tests.

[RecurrentRegressor(Cell = Cell.Gru, Layers = 2, Hidden = 11, Inputs = 3, Outputs = 2)]
[Trainable(BatchSize = 3, SequenceLength = 13)]
public partial class GruRegressor;

[RecurrentRegressor(Cell = Cell.Lstm, Layers = 2, Hidden = 9, Inputs = 2, Outputs = 3, CarryState = true)]
[Trainable(BatchSize = 3, SequenceLength = 7)]
public partial class LstmRegressor;

[RecurrentRegressor(Cell = Cell.Lstm, Layers = 4, Hidden = 8, Inputs = 1)]
public partial class AudioLstm;

[RecurrentRegressor(Cell = Cell.Gru, Layers = 4, Hidden = 8, Inputs = 1)]
public partial class AudioGru;
[Gpt(Layers = 5, DModel = 32, Heads = 4, Vocab = 1000, Context = 512, MaxBatch = 12)]
public partial class TinyRandomGpt2InBatches;

// Labels of tokens, and tied embeddings narrower than a layer, of the PyTorch fixtures.

[RecurrentTagger(Cell = Cell.Lstm, Layers = 2, Hidden = 9, Embedding = 7, Vocab = 23, Tags = 5, Context = 11, MaxBatch = 5)]
[Trainable(BatchSize = 5, SequenceLength = 11)]
public partial class LstmTagger;

[RecurrentTagger(Cell = Cell.Gru, Layers = 2, Hidden = 7, Embedding = 9, Vocab = 19, Tags = 6, Context = 9, MaxBatch = 4)]
[Trainable(BatchSize = 4, SequenceLength = 9)]
public partial class GruTagger;

[RecurrentTagger(Cell = Cell.Rnn, Hidden = 10, Embedding = 6, Vocab = 19, Tags = 3, Bidirectional = false, Context = 8, MaxBatch = 3)]
[Trainable(BatchSize = 3, SequenceLength = 8)]
public partial class RnnTagger;

[RecurrentLm(Cell = Cell.Gru, Embedding = 14, Hidden = 23, Vocab = 37, TieEmbeddings = true)]
[Trainable(BatchSize = 3, SequenceLength = 11)]
public partial class ProjectedGruLm;

// From one sequence to another: those of the PyTorch fixtures, and a trained model that spells out how words are spoken.

[RecurrentSeq2Seq(Cell = Cell.Gru, Layers = 2, Hidden = 10, Embedding = 7, SourceVocab = 17, TargetVocab = 13, SourceContext = 9, MaxBatch = 4)]
[Trainable(BatchSize = 4, SequenceLength = 5, SourceLength = 6)]
public partial class PlainSeq2Seq;

[RecurrentSeq2Seq(Cell = Cell.Lstm, Layers = 2, Hidden = 9, Embedding = 6, SourceVocab = 17, TargetVocab = 13, Attention = RecurrentAttention.Dot, SourceContext = 7, MaxBatch = 4)]
[Trainable(BatchSize = 4, SequenceLength = 5, SourceLength = 7)]
public partial class DotSeq2Seq;

[RecurrentSeq2Seq(Hidden = 11, Embedding = 6, SourceVocab = 17, TargetVocab = 13, Attention = RecurrentAttention.Additive, SourceContext = 10, MaxBatch = 4)]
[Trainable(BatchSize = 4, SequenceLength = 5, SourceLength = 7)]
public partial class AdditiveSeq2Seq;

[RecurrentSeq2Seq(Cell = Cell.Lstm, Layers = 2, Hidden = 8, Embedding = 5, SourceVocab = 11, TargetVocab = 9, Attention = RecurrentAttention.Additive, SourceContext = 6, MaxBatch = 3)]
[Trainable(BatchSize = 3, SequenceLength = 4, SourceLength = 5)]
public partial class AdditiveLstmSeq2Seq;

[RecurrentSeq2Seq(Cell = Cell.Gru, Hidden = 256, SourceVocab = 29, TargetVocab = 74)]
public partial class GraphemesToPhonemes;
// Transformers from one sequence to another: those of the fixtures, and one that decodes several targets at once.

[Transformer(EncoderLayers = 2, DecoderLayers = 2, DModel = 20, Heads = 4, FeedForward = 27, SourceVocab = 13, TargetVocab = 11, Context = 8, SourceContext = 9, FinalNorm = true, MaxBatch = 4)]
[Trainable(BatchSize = 3, SequenceLength = 7, SourceLength = 9)]
public partial class PostNormTransformer;

[Transformer(EncoderLayers = 1, DecoderLayers = 2, DModel = 24, Heads = 3, FeedForward = 40, SourceVocab = 15, TargetVocab = 15, Context = 6, SourceContext = 8,
    Positions = PositionEncoding.Learned, PreNorm = true, Activation = Activation.Gelu, Shared = EmbeddingSharing.All, ScaleEmbeddings = false, LabelSmoothing = 0.1, MaxBatch = 3)]
[Trainable(BatchSize = 4, SequenceLength = 6, SourceLength = 5)]
public partial class PreNormTransformer;

[T5(Layers = 2, DModel = 20, Heads = 3, HeadWidth = 8, FeedForward = 27, Vocab = 13, Context = 16, SourceContext = 17, RelativeBuckets = 8, RelativeDistance = 9, MaxBatch = 3)]
[Trainable(BatchSize = 3, SequenceLength = 11, SourceLength = 13)]
public partial class GatedT5;

[T5(Layers = 2, DecoderLayers = 1, DModel = 24, Heads = 3, FeedForward = 31, Vocab = 15, Context = 14, RelativeBuckets = 6, RelativeDistance = 10, GatedFeedForward = false, Activation = Activation.Relu, TieEmbeddings = true, LabelSmoothing = 0.1, MaxBatch = 3)]
[Trainable(BatchSize = 3, SequenceLength = 12, SourceLength = 9)]
public partial class TiedT5;

[Transformer(EncoderLayers = 1, DecoderLayers = 1, DModel = 24, Heads = 2, FeedForward = 48, SourceVocab = 9, TargetVocab = 9, Context = 8, Shared = EmbeddingSharing.TargetAndHead)]
[Trainable(BatchSize = 8, SequenceLength = 8, SourceLength = 7)]
public partial class LearningTransformer;

// Transformers in both directions whose self-attention sees a part, and knows distances: those of the fixtures.

[Transformer(EncoderLayers = 2, DecoderLayers = 2, DModel = 20, Heads = 4, FeedForward = 27, SourceVocab = 13, TargetVocab = 11, Context = 16, SourceContext = 17, FinalNorm = true, MaxBatch = 4,
    Attention = AttentionPattern.Window, Window = 3, GlobalTokens = 1, Positions = PositionEncoding.Relative, RelativeBuckets = 8, RelativeDistance = 9, AttentionWeights = true)]
[Trainable(BatchSize = 3, SequenceLength = 11, SourceLength = 13)]
public partial class WindowTransformer;

[Transformer(EncoderLayers = 2, DecoderLayers = 2, DModel = 18, Heads = 3, FeedForward = 30, SourceVocab = 13, TargetVocab = 13, Context = 15, SourceContext = 16, PreNorm = true, Activation = Activation.Gelu,
    Shared = EmbeddingSharing.All, ScaleEmbeddings = false, LabelSmoothing = 0.1, MaxBatch = 3, Attention = AttentionPattern.Strided, Stride = 3, Positions = PositionEncoding.Alibi)]
[Trainable(BatchSize = 3, SequenceLength = 12, SourceLength = 14)]
public partial class StridedTransformer;

[Transformer(EncoderLayers = 1, DecoderLayers = 2, DModel = 16, Heads = 2, FeedForward = 24, SourceVocab = 13, TargetVocab = 11, Context = 100_000, SourceContext = 9, Attention = AttentionPattern.Window, Window = 5, Positions = PositionEncoding.Alibi, MaxBatch = 2)]
public partial class LongTransformer;

[Bert(Layers = 2, DModel = 30, Heads = 5, FeedForward = 70, Vocab = 53, Context = 23, Head = BertHead.MaskedLm, Attention = AttentionPattern.Window, Window = 4, GlobalTokens = 1, Positions = PositionEncoding.Relative, RelativeBuckets = 8, RelativeDistance = 11, MaxBatch = 3)]
[Trainable(BatchSize = 3, SequenceLength = 17)]
public partial class WindowBert;

[Bert(Layers = 2, DModel = 30, Heads = 5, FeedForward = 70, Vocab = 53, Context = 23, Head = BertHead.TokenClassifier, Classes = 7, Attention = AttentionPattern.Fixed, Stride = 4, SummaryTokens = 2, Positions = PositionEncoding.Alibi, MaxBatch = 3)]
[Trainable(BatchSize = 3, SequenceLength = 17)]
public partial class FixedBert;

[Bert(Layers = 2, DModel = 30, Heads = 5, FeedForward = 70, Vocab = 53, Context = 23, Head = BertHead.TokenClassifier, Classes = 7, Activation = Activation.Relu, Attention = AttentionPattern.Window, LayerWindows = new[] { 3, 0 }, Positions = PositionEncoding.Sinusoids, MaxBatch = 3)]
[Trainable(BatchSize = 3, SequenceLength = 17)]
public partial class LayerWindowsBert;

[Gpt(Layers = 5, DModel = 40, Heads = 4, KeyValueHeads = 2, Vocab = 50, Context = 700, Attention = AttentionPattern.Window, LayerWindows = new[] { 6, 11, 0 }, Positions = PositionEncoding.SinusoidHalves, MaxBatch = 2)]
[Trainable(BatchSize = 2, SequenceLength = 33)]
public partial class LayerWindowsGpt;

// The trained transliteration model of the reference data.

[Transformer(EncoderLayers = 6, DecoderLayers = 6, DModel = 32, Heads = 8, FeedForward = 128, SourceVocab = 51, TargetVocab = 43, Context = 32,
    Positions = PositionEncoding.SinusoidHalves, FirstPosition = 1, PreNorm = true, MaxBatch = 8)]
public partial class Transliterator;

// What hands out the attention of each decoded token.

[Transformer(EncoderLayers = 1, DecoderLayers = 2, DModel = 24, Heads = 3, FeedForward = 40, SourceVocab = 15, TargetVocab = 13, Context = 7, SourceContext = 19, Positions = PositionEncoding.Learned, AttentionWeights = true, MaxBatch = 3)]
public partial class AligningTransformer;

[RecurrentSeq2Seq(Cell = Cell.Gru, Layers = 2, Hidden = 9, Embedding = 6, SourceVocab = 15, TargetVocab = 13, Attention = RecurrentAttention.Dot, SourceContext = 19, AttentionWeights = true, MaxBatch = 3)]
public partial class AligningDotSeq2Seq;

[RecurrentSeq2Seq(Cell = Cell.Lstm, Layers = 2, Hidden = 9, Embedding = 6, SourceVocab = 15, TargetVocab = 13, Attention = RecurrentAttention.Additive, SourceContext = 19, AttentionWeights = true, MaxBatch = 3)]
public partial class AligningAdditiveSeq2Seq;

// Decoders of the kind that followed GPT-2.

[Decoder(Layers = 2, DModel = 40, Heads = 4, KeyValueHeads = 2, FeedForward = 52, Vocab = 53, Context = 19)]
[Trainable(BatchSize = 2, SequenceLength = 17)]
public partial class LlamaDecoder;

[Decoder(Layers = 3, DModel = 30, Heads = 3, HeadWidth = 16, FeedForward = 44, Vocab = 47, Context = 21, RotaryLayout = RotaryLayout.Interleaved, RotaryFraction = 0.5, RotaryBase = 500, NormEpsilon = 1e-6, TieEmbeddings = true, MaxBatch = 3)]
[Trainable(BatchSize = 3, SequenceLength = 17)]
public partial class InterleavedDecoder;

[Decoder(Layers = 2, DModel = 36, Heads = 6, KeyValueHeads = 3, HeadWidth = 16, FeedForward = 50, Vocab = 51, Context = 700, QkvBias = true, RotaryBase = 1e6, TieEmbeddings = true)]
[Trainable(BatchSize = 2, SequenceLength = 17)]
public partial class BiasedDecoder;

/// <summary>The trained model of the reference data, whose pairs lie as in Meta's files.</summary>
[Decoder(Layers = 5, DModel = 64, Heads = 8, KeyValueHeads = 4, FeedForward = 172, Vocab = 512, Context = 512, RotaryLayout = RotaryLayout.Interleaved, TieEmbeddings = true)]
[Trainable(BatchSize = 4, SequenceLength = 128)]
public partial class Stories260K;

/// <summary>The same with pairs as in Hugging Face's files.</summary>
[Decoder(Layers = 5, DModel = 64, Heads = 8, KeyValueHeads = 4, FeedForward = 172, Vocab = 512, Context = 512, TieEmbeddings = true, MaxBatch = 3)]
public partial class Stories260KInHalves;

[Qwen(Layers = 2, DModel = 32, Heads = 4, KeyValueHeads = 2, HeadWidth = 10, FeedForward = 44, Vocab = 43, Context = 30, TieEmbeddings = true, MaxBatch = 2)]
[Trainable(BatchSize = 2, SequenceLength = 17)]
public partial class QwenDecoder;

[Gemma(Layers = 3, DModel = 32, Heads = 4, KeyValueHeads = 2, HeadWidth = 12, FeedForward = 40, Vocab = 41, Context = 300, Attention = AttentionPattern.Window, LayerWindows = new[] { 5, 5, 0 },
    LogitSoftCap = 3, AttentionScale = 0.25, RotaryScaling = RotaryScaling.Linear, RotaryFactor = 8, MaxBatch = 2)]
[Trainable(BatchSize = 2, SequenceLength = 17)]
public partial class GemmaDecoder;

[Phi(Layers = 2, DModel = 36, Heads = 3, FeedForward = 50, Vocab = 45, Context = 30)]
[Trainable(BatchSize = 2, SequenceLength = 17)]
public partial class PhiDecoder;

[Llama(Layers = 2, DModel = 36, Heads = 3, FeedForward = 44, Vocab = 43, Context = 30, HeadWidth = 16, RotaryFraction = 0.75, RotaryScaling = RotaryScaling.LongRope, RotaryOriginalContext = 16, RotaryFactor = 2.5,
    RotaryShortFactors = new[] { 1, 1.1, 1.2, 1.3, 1.4, 1.5 }, RotaryLongFactors = new[] { 1.05, 1.4, 2.2, 3.7, 7.9, 12.5 }, RotaryBase = 100, MaxBatch = 2)]
[Trainable(BatchSize = 2, SequenceLength = 17)]
public partial class LongRopeDecoder;

[Llama(Layers = 2, DModel = 32, Heads = 4, KeyValueHeads = 2, FeedForward = 44, Vocab = 43, Context = 30, RotaryScaling = RotaryScaling.LongRope, RotaryOriginalContext = 30, RotaryAttentionFactor = 1.3,
    RotaryShortFactors = new[] { 1.2, 0.9, 1.7, 3.5 }, RotaryLongFactors = new double[] { 2, 4, 8, 16 }, RotaryBase = 50, TieEmbeddings = true)]
[Trainable(BatchSize = 2, SequenceLength = 17)]
public partial class ShortRopeDecoder;

[Llama(Layers = 2, DModel = 36, Heads = 3, KeyValueHeads = 1, FeedForward = 44, Vocab = 43, Context = 30, HeadWidth = 16, RotaryFraction = 0.75, RotaryScaling = RotaryScaling.Dynamic, RotaryOriginalContext = 16,
    RotaryFactor = 2.5, RotaryBase = 100)]
[Trainable(BatchSize = 2, SequenceLength = 17)]
public partial class DynamicRopeDecoder;

[Decoder(Layers = 2, DModel = 36, Heads = 6, FeedForward = 50, Vocab = 43, Context = 30, Norm = Normalization.Layer, EmbeddingNorm = true, Positions = PositionEncoding.Alibi, GatedFeedForward = false, Activation = Activation.GeluTanh,
    OutputBias = true, FeedForwardBias = true, TieEmbeddings = true, MaxBatch = 2)]
[Trainable(BatchSize = 2, SequenceLength = 17)]
public partial class BloomDecoder;

[Decoder(Layers = 2, DModel = 36, Heads = 3, FeedForward = 50, Vocab = 43, Context = 30, Norm = Normalization.Layer, Form = BlockForm.Parallel, GatedFeedForward = false, Activation = Activation.GeluTanh, FeedForwardBias = true, HeadBias = true,
    RotaryLayout = RotaryLayout.Interleaved, RotaryFraction = 0.5)]
[Trainable(BatchSize = 2, SequenceLength = 17)]
public partial class GptJDecoder;

[Decoder(Layers = 2, DModel = 32, Heads = 4, KeyValueHeads = 2, FeedForward = 44, Vocab = 43, Context = 30, Norm = Normalization.OffsetLayer, GatedFeedForward = false, Activation = Activation.ReluSquared, RotaryFraction = 0.5, MaxBatch = 2)]
[Trainable(BatchSize = 2, SequenceLength = 17)]
public partial class NemotronDecoder;

[Decoder(Layers = 4, DModel = 32, Heads = 4, KeyValueHeads = 2, FeedForward = 44, Vocab = 43, Context = 30, Norm = Normalization.Layer, NormBias = false, Form = BlockForm.Parallel, RotaryLayout = RotaryLayout.Interleaved, LogitScale = 0.0625,
    Attention = AttentionPattern.Window, LayerWindows = new[] { 5, 5, 5, 0 }, RotaryPattern = new[] { 1, 1, 1, 0 }, RotaryBase = 50, TieEmbeddings = true, MaxBatch = 2)]
[Trainable(BatchSize = 2, SequenceLength = 17)]
public partial class CohereDecoder;

[Decoder(Layers = 2, DModel = 40, Heads = 4, FeedForward = 60, Vocab = 45, Context = 30, Norm = Normalization.Layer, NormBias = false, Form = BlockForm.ParallelTwoNorms, GatedFeedForward = false, Activation = Activation.Gelu,
    OutputBias = true, FeedForwardBias = true, RotaryFraction = 0.4)]
[Trainable(BatchSize = 2, SequenceLength = 17)]
public partial class NeoxDecoder;

[Llama(Layers = 4, DModel = 32, Heads = 4, KeyValueHeads = 2, FeedForward = 44, Vocab = 43, Context = 30, EmbeddingMultiplier = 6, ResidualMultiplier = 0.25, LogitScale = 0.5, AttentionScale = 0.15,
    RotaryPattern = new[] { 1, 1, 0 }, RotaryScaling = RotaryScaling.Llama3, RotaryFactor = 8, RotaryOriginalContext = 16, RotaryBase = 100, TieEmbeddings = true)]
[Trainable(BatchSize = 2, SequenceLength = 17)]
public partial class GraniteDecoder;

[Mistral(Layers = 2, DModel = 32, Heads = 4, FeedForward = 44, Vocab = 43, Context = 30, NormPlacement = NormPlacement.After, QueryKeyNorm = QueryKeyNorm.Whole, GatedFeedForward = false, Activation = Activation.ReluSquared,
    RotaryScaling = RotaryScaling.Yarn, RotaryFactor = 4, RotaryOriginalContext = 64, RotaryBase = 500)]
[Trainable(BatchSize = 2, SequenceLength = 17)]
public partial class OlmoDecoder;

[Gemma(Layers = 2, DModel = 32, Heads = 4, KeyValueHeads = 2, HeadWidth = 12, FeedForward = 40, Vocab = 41, Context = 30, QueryKeyNorm = QueryKeyNorm.None, RotaryBase = 10_000, Attention = AttentionPattern.Window,
    LayerWindows = new[] { 4, 0 }, AttentionScale = 0.5, AttentionSoftCap = 0.6, LogitSoftCap = 2, MaxBatch = 2)]
[Trainable(BatchSize = 2, SequenceLength = 17)]
public partial class CappedDecoder;

[Mistral(Layers = 2, DModel = 32, Heads = 4, KeyValueHeads = 2, FeedForward = 28, Vocab = 43, Context = 30, Experts = 5, ActiveExperts = 2, BalanceLoss = 0.02, MaxBatch = 3)]
[Trainable(BatchSize = 2, SequenceLength = 17)]
public partial class MixtralDecoder;

[Decoder(Layers = 2, DModel = 30, Heads = 3, FeedForward = 21, Vocab = 41, Context = 30, Experts = 6, ActiveExperts = 3, NormalizeExperts = false, SharedFeedForward = 18, SharedExpertGate = true, QueryKeyNorm = QueryKeyNorm.Whole,
    TieEmbeddings = true)]
[Trainable(BatchSize = 3, SequenceLength = 5)]
public partial class OlmoeDecoder;

[Qwen(Layers = 3, DModel = 32, Heads = 4, KeyValueHeads = 2, HeadWidth = 10, FeedForward = 44, Vocab = 43, Context = 30, Mixers = new[] { TokenMixer.GatedDelta, TokenMixer.GatedDelta, TokenMixer.Attention }, LinearKeyHeads = 2,
    LinearValueHeads = 4, LinearKeyWidth = 6, LinearValueWidth = 9, ConvolutionTaps = 4, Norm = Normalization.OffsetRootMeanSquare, AttentionOutputGate = true, RotaryFraction = 0.4, TieEmbeddings = true, MaxBatch = 3)]
[Trainable(BatchSize = 2, SequenceLength = 11)]
public partial class DeltaDecoder;

[Qwen(Layers = 2, DModel = 128, Heads = 4, KeyValueHeads = 2, HeadWidth = 32, FeedForward = 512, Vocab = 43, Context = 60, Mixers = new[] { TokenMixer.GatedDelta, TokenMixer.Attention }, LinearKeyHeads = 2,
    LinearValueHeads = 4, LinearKeyWidth = 32, LinearValueWidth = 32, ConvolutionTaps = 4, TieEmbeddings = true, MaxBatch = 2, Weights = WeightFormat.F16)]
public partial class WideDelta;

[Granite(Layers = 2, DModel = 128, Heads = 4, KeyValueHeads = 2, FeedForward = 512, Vocab = 43, Context = 60, Mixers = new[] { TokenMixer.StateSpace, TokenMixer.Attention }, StateHeads = 8, StateSize = 32, StateHeadWidth = 32, MaxBatch = 2,
    Weights = WeightFormat.BF16)]
public partial class WideSpace;

[Lfm2(Layers = 2, DModel = 128, Heads = 4, KeyValueHeads = 2, FeedForward = 512, Vocab = 43, Context = 60, Mixers = new[] { TokenMixer.ShortConvolution, TokenMixer.Attention }, MaxBatch = 2, Weights = WeightFormat.F16)]
public partial class WideConvolution;

[Gemma(Layers = 3, DModel = 128, Heads = 4, KeyValueHeads = 2, HeadWidth = 32, FeedForward = 512, Vocab = 43, Context = 60, Attention = AttentionPattern.Window, LayerWindows = new[] { 5, 0, 9 }, MaxBatch = 2, Drafts = 9)]
public partial class WideWindow;

[Lfm2(Layers = 3, DModel = 32, Heads = 4, KeyValueHeads = 2, FeedForward = 44, Vocab = 43, Context = 30, Mixers = new[] { TokenMixer.ShortConvolution, TokenMixer.Attention }, MaxBatch = 3)]
[Trainable(BatchSize = 2, SequenceLength = 17)]
public partial class Lfm2Decoder;

[Decoder(Layers = 2, DModel = 30, Heads = 3, FeedForward = 44, Vocab = 43, Context = 30, Mixers = new[] { TokenMixer.ShortConvolution }, ConvolutionTaps = 5, ConvolutionBias = true, Form = BlockForm.Parallel,
    GatedFeedForward = false, Activation = Activation.Gelu, MaxBatch = 2)]
[Trainable(BatchSize = 3, SequenceLength = 4)]
public partial class ConvolutionDecoder;

[Mamba2(Layers = 2, DModel = 30, Vocab = 43, StateHeads = 6, StateGroups = 3, StateSize = 7, StateHeadWidth = 5, MaxBatch = 3)]
[Trainable(BatchSize = 2, SequenceLength = 13)]
public partial class Mamba2Decoder;

[Granite(Layers = 3, DModel = 32, Heads = 4, KeyValueHeads = 2, FeedForward = 44, Vocab = 43, Context = 30, Mixers = new[] { TokenMixer.StateSpace, TokenMixer.StateSpace, TokenMixer.Attention }, StateHeads = 4, StateSize = 6,
    StateHeadWidth = 9, StateBias = true, EmbeddingMultiplier = 6, ResidualMultiplier = 0.4, LogitScale = 0.5, AttentionScale = 0.15, MaxBatch = 3)]
[Trainable(BatchSize = 3, SequenceLength = 9)]
public partial class GraniteHybrid;
[GptOss(Layers = 3, DModel = 32, Heads = 4, KeyValueHeads = 2, HeadWidth = 10, FeedForward = 22, Vocab = 43, Context = 30, Attention = AttentionPattern.Window, LayerWindows = new[] { 5, 0 }, Experts = 5, ActiveExperts = 2, GateLimit = 0.25,
    RotaryScaling = RotaryScaling.Yarn, RotaryFactor = 4, RotaryOriginalContext = 64, MaxBatch = 3)]
[Trainable(BatchSize = 2, SequenceLength = 17)]
public partial class GptOssDecoder;

[Gemma4(Layers = 5, DModel = 32, Heads = 4, FeedForward = 40, Vocab = 41, Context = 300, Attention = AttentionPattern.Window, LayerWindows = new[] { 5, 5, 0, 5, 0 }, LayerHeadWidths = new[] { 8, 8, 16, 8, 16 },
    LayerKeyValueHeads = new[] { 2, 2, 1, 2, 1 }, LayerFeedForward = new[] { 40, 40, 40, 56, 56 }, SharedKeyValueLayers = 2, PerLayerWidth = 6, LogitSoftCap = 3, NormEpsilon = 0.3, MaxBatch = 3)]
[Trainable(BatchSize = 2, SequenceLength = 17)]
public partial class Gemma4Decoder;

[Gemma3n(Layers = 5, DModel = 32, Heads = 4, KeyValueHeads = 2, FeedForward = 40, Vocab = 41, Context = 300, Attention = AttentionPattern.Window, LayerWindows = new[] { 5, 5, 0 }, SharedKeyValueLayers = 2, PerLayerWidth = 6, Streams = 3,
    LaurelRank = 7, LayerSparsity = new[] { 0.8, 0, 0.3 }, LogitSoftCap = 3, NormEpsilon = 0.02, MaxBatch = 3)]
[Trainable(BatchSize = 2, SequenceLength = 17)]
public partial class Gemma3nDecoder;

[Decoder(Layers = 2, DModel = 30, Heads = 3, FeedForward = 44, Vocab = 43, Context = 30, AttentionSinks = true, AttentionSoftCap = 0.7, GateLimit = 0.3, UpOffset = 0.5, SharedKeyValueLayers = 1, LayerScale = true, PerLayerWidth = 4,
    FeedForwardBias = true, NormEpsilon = 0.02, TieEmbeddings = true, Recompute = Recomputation.Blocks, AttentionWeights = true, MaxBatch = 2)]
[Trainable(BatchSize = 3, SequenceLength = 9)]
public partial class SinkDecoder;

// One decoder in every format of weights: rows of three and of five blocks, groups that are not filled, and two sequences at a time.
[Llama(Layers = 2, DModel = 96, Heads = 6, KeyValueHeads = 2, FeedForward = 160, Vocab = 101, Context = 64, MaxBatch = 3)]
public partial class SingleDecoder;

[Llama(Layers = 2, DModel = 96, Heads = 6, KeyValueHeads = 2, FeedForward = 160, Vocab = 101, Context = 64, MaxBatch = 3, Weights = WeightFormat.F16)]
public partial class F16Decoder;

[Llama(Layers = 2, DModel = 96, Heads = 6, KeyValueHeads = 2, FeedForward = 160, Vocab = 101, Context = 64, MaxBatch = 3, Weights = WeightFormat.BF16)]
public partial class BF16Decoder;

[Llama(Layers = 2, DModel = 96, Heads = 6, KeyValueHeads = 2, FeedForward = 160, Vocab = 101, Context = 64, MaxBatch = 3, Weights = WeightFormat.Q8_0)]
public partial class Q8Decoder;

[Llama(Layers = 2, DModel = 96, Heads = 6, KeyValueHeads = 2, FeedForward = 160, Vocab = 101, Context = 64, MaxBatch = 3, Weights = WeightFormat.Q4_0)]
public partial class Q4Decoder;

[Llama(Layers = 2, DModel = 96, Heads = 6, KeyValueHeads = 2, FeedForward = 160, Vocab = 101, Context = 64, MaxBatch = 3, Weights = WeightFormat.Q4_1)]
public partial class Q41Decoder;

[Llama(Layers = 2, DModel = 96, Heads = 6, KeyValueHeads = 2, FeedForward = 160, Vocab = 101, Context = 64, MaxBatch = 3, Weights = WeightFormat.Q5_0)]
public partial class Q50Decoder;

[Llama(Layers = 2, DModel = 96, Heads = 6, KeyValueHeads = 2, FeedForward = 160, Vocab = 101, Context = 64, MaxBatch = 3, Weights = WeightFormat.Q5_1)]
public partial class Q51Decoder;

[Llama(Layers = 2, DModel = 96, Heads = 6, KeyValueHeads = 2, FeedForward = 160, Vocab = 101, Context = 64, MaxBatch = 3, Weights = WeightFormat.IQ4_NL)]
public partial class IQ4NLDecoder;

[Llama(Layers = 2, DModel = 96, Heads = 6, KeyValueHeads = 2, FeedForward = 160, Vocab = 101, Context = 64, MaxBatch = 3, Weights = WeightFormat.MXFP4)]
public partial class MXFP4Decoder;

// Rows of blocks of 256 and, in the feed-forward network, of none; a file's mixture.
[Llama(Layers = 2, DModel = 256, Heads = 8, KeyValueHeads = 2, FeedForward = 160, Vocab = 101, Context = 64, MaxBatch = 3)]
public partial class WideDecoder;

[Llama(Layers = 2, DModel = 256, Heads = 8, KeyValueHeads = 2, FeedForward = 160, Vocab = 101, Context = 64, MaxBatch = 3, Weights = WeightFormat.Q4_K, WeightsOf = new[] { "*.v_proj.weight: Q6_K", "*.o_proj.weight: Q5_K", "lm_head.weight: Q6_K" })]
public partial class Q4KDecoder;

// Low-rank adapters: of a decoder, of GPT-2's transposed weights beside a tied head, of a recurrence, and several over one file.
[Decoder(Layers = 2, DModel = 40, Heads = 4, KeyValueHeads = 2, FeedForward = 52, Vocab = 53, Context = 19)]
[Lora(Rank = 3, Alpha = 6, On = new[] { "*.q_proj", "*.v_proj", "*.mlp.*" })]
[Trainable(BatchSize = 2, SequenceLength = 17)]
public partial class LoraDecoder;

[Gpt(Layers = 2, DModel = 30, Heads = 5, FeedForward = 56, Vocab = 47, Context = 19)]
[Lora(Rank = 5, On = new[] { "*.attn.*", "*.c_fc" })]
[Trainable(BatchSize = 2, SequenceLength = 17)]
public partial class LoraGpt;

[RecurrentLm(Cell = Cell.Lstm, Layers = 2, Embedding = 18, Hidden = 24, Vocab = 41)]
[Lora(Rank = 2, Alpha = 3, On = new[] { "rnn.weight_*", "decoder" })]
[Trainable(BatchSize = 3, SequenceLength = 13)]
public partial class LoraLstm;

/// <summary>As <see cref="LlamaDecoder"/>, with adapters everywhere, some of whose inputs are dropped.</summary>
[Decoder(Layers = 2, DModel = 40, Heads = 4, KeyValueHeads = 2, FeedForward = 52, Vocab = 53, Context = 19)]
[Lora(Rank = 4, Alpha = 8, Dropout = 0.2)]
[Trainable(BatchSize = 2, SequenceLength = 17)]
public partial class DropoutLoraDecoder;

[Decoder(Layers = 5, DModel = 64, Heads = 8, KeyValueHeads = 4, FeedForward = 172, Vocab = 512, Context = 512, TieEmbeddings = true)]
[Lora(Rank = 4, Alpha = 8)]
[Trainable(BatchSize = 4, SequenceLength = 128)]
public partial class LoraStories260K;

[Decoder(Layers = 5, DModel = 64, Heads = 8, KeyValueHeads = 4, FeedForward = 172, Vocab = 512, Context = 512, TieEmbeddings = true)]
[Trainable(BatchSize = 4, SequenceLength = 128)]
public partial class TunedStories260K;

// Adapters over weights in other formats, and the same over floats.
[Llama(Layers = 2, DModel = 96, Heads = 6, KeyValueHeads = 2, FeedForward = 160, Vocab = 101, Context = 64)]
[Lora(Rank = 4, Alpha = 8)]
[Trainable(BatchSize = 2, SequenceLength = 17)]
public partial class LoraOverFloats;

[Llama(Layers = 2, DModel = 96, Heads = 6, KeyValueHeads = 2, FeedForward = 160, Vocab = 101, Context = 64, Weights = WeightFormat.BF16)]
[Lora(Rank = 4, Alpha = 8)]
[Trainable(BatchSize = 2, SequenceLength = 17)]
public partial class LoraOverBF16;

[Llama(Layers = 2, DModel = 96, Heads = 6, KeyValueHeads = 2, FeedForward = 160, Vocab = 101, Context = 64, Weights = WeightFormat.Q8_0)]
[Lora(Rank = 4, Alpha = 8)]
[Trainable(BatchSize = 2, SequenceLength = 17)]
public partial class LoraOverQ8;

[Llama(Layers = 2, DModel = 256, Heads = 8, KeyValueHeads = 2, FeedForward = 512, Vocab = 101, Context = 64)]
[Lora(Rank = 4, Alpha = 8, On = new[] { "*.self_attn.*" })]
[Trainable(BatchSize = 2, SequenceLength = 17)]
public partial class WideLoraOverFloats;

[Llama(Layers = 2, DModel = 256, Heads = 8, KeyValueHeads = 2, FeedForward = 512, Vocab = 101, Context = 64, Weights = WeightFormat.Q4_K, WeightsOf = new[] { "*.v_proj.weight: Q6_K", "*.o_proj.weight: Q4_0", "*.k_proj.weight: F16", "lm_head.weight: Q6_K" })]
[Lora(Rank = 4, Alpha = 8, On = new[] { "*.self_attn.*" })]
[Trainable(BatchSize = 2, SequenceLength = 17)]
public partial class LoraOverQ4K;
// One decoder with every format of the key/value cache: heads of a block, keys that queries share, and three sequences at a time.
[Llama(Layers = 2, DModel = 128, Heads = 4, KeyValueHeads = 2, FeedForward = 96, Vocab = 101, Context = 64, MaxBatch = 3)]
public partial class SingleCacheDecoder;

[Llama(Layers = 2, DModel = 128, Heads = 4, KeyValueHeads = 2, FeedForward = 96, Vocab = 101, Context = 64, MaxBatch = 3, KeyValueCache = CacheFormat.F16)]
public partial class F16CacheDecoder;

[Llama(Layers = 2, DModel = 128, Heads = 4, KeyValueHeads = 2, FeedForward = 96, Vocab = 101, Context = 64, MaxBatch = 3, KeyValueCache = CacheFormat.Q8_0)]
public partial class Q8CacheDecoder;

// Weights that are trained as bfloat16, and the same as floats.
[Llama(Layers = 2, DModel = 96, Heads = 6, KeyValueHeads = 2, FeedForward = 160, Vocab = 101, Context = 64, TieEmbeddings = true, Weights = WeightFormat.BF16)]
[Trainable(BatchSize = 2, SequenceLength = 17)]
public partial class TrainedBF16;

[Llama(Layers = 2, DModel = 96, Heads = 6, KeyValueHeads = 2, FeedForward = 160, Vocab = 101, Context = 64, TieEmbeddings = true)]
[Trainable(BatchSize = 2, SequenceLength = 17)]
public partial class TrainedFloats;

// One mixture with its experts in every format: what chooses among them is the same in all.
[Qwen(Layers = 1, DModel = 256, Heads = 4, KeyValueHeads = 2, FeedForward = 256, Vocab = 101, Context = 64, Experts = 7, ActiveExperts = 3, MaxBatch = 3)]
public partial class SingleMixture;

[Qwen(Layers = 1, DModel = 256, Heads = 4, KeyValueHeads = 2, FeedForward = 256, Vocab = 101, Context = 64, Experts = 7, ActiveExperts = 3, MaxBatch = 3, WeightsOf = new[] { "*.experts.*: F16" })]
public partial class F16Mixture;

[Qwen(Layers = 1, DModel = 256, Heads = 4, KeyValueHeads = 2, FeedForward = 256, Vocab = 101, Context = 64, Experts = 7, ActiveExperts = 3, MaxBatch = 3, WeightsOf = new[] { "*.experts.*: BF16" })]
public partial class BF16Mixture;

[Qwen(Layers = 1, DModel = 256, Heads = 4, KeyValueHeads = 2, FeedForward = 256, Vocab = 101, Context = 64, Experts = 7, ActiveExperts = 3, MaxBatch = 3, WeightsOf = new[] { "*.experts.*: Q8_0" })]
public partial class Q8Mixture;

[Qwen(Layers = 1, DModel = 256, Heads = 4, KeyValueHeads = 2, FeedForward = 256, Vocab = 101, Context = 64, Experts = 7, ActiveExperts = 3, MaxBatch = 3, WeightsOf = new[] { "*.experts.*: Q4_0" })]
public partial class Q4Mixture;

[Qwen(Layers = 1, DModel = 256, Heads = 4, KeyValueHeads = 2, FeedForward = 256, Vocab = 101, Context = 64, Experts = 7, ActiveExperts = 3, MaxBatch = 3, WeightsOf = new[] { "*.experts.down*: Q5_1", "*.experts.gate*: Q5_0", "*.experts.*: MXFP4" })]
public partial class Q5Mixture;

[Qwen(Layers = 1, DModel = 256, Heads = 4, KeyValueHeads = 2, FeedForward = 256, Vocab = 101, Context = 64, Experts = 7, ActiveExperts = 3, MaxBatch = 3, WeightsOf = new[] { "*.experts.down*: Q6_K", "*.experts.*: Q4_K" })]
public partial class Q4KMixture;

// Adapters before frozen experts, whose input gradients unpack them.
[Qwen(Layers = 1, DModel = 256, Heads = 4, KeyValueHeads = 2, FeedForward = 256, Vocab = 101, Context = 34, Experts = 5, ActiveExperts = 2)]
[Trainable(BatchSize = 2, SequenceLength = 17)]
[Lora(Rank = 4, Alpha = 8, On = new[] { "*.self_attn.*" })]
public partial class LoraMixture;

[Qwen(Layers = 1, DModel = 256, Heads = 4, KeyValueHeads = 2, FeedForward = 256, Vocab = 101, Context = 34, Experts = 5, ActiveExperts = 2, WeightsOf = new[] { "*.experts.down*: BF16", "*.experts.*: F16" })]
[Trainable(BatchSize = 2, SequenceLength = 17)]
[Lora(Rank = 4, Alpha = 8, On = new[] { "*.self_attn.*" })]
public partial class LoraOverF16Mixture;

[Qwen(Layers = 1, DModel = 256, Heads = 4, KeyValueHeads = 2, FeedForward = 256, Vocab = 101, Context = 34, Experts = 5, ActiveExperts = 2, WeightsOf = new[] { "*.experts.down*: Q6_K", "*.experts.up*: Q4_K", "*.experts.*: Q8_0" })]
[Trainable(BatchSize = 2, SequenceLength = 17)]
[Lora(Rank = 4, Alpha = 8, On = new[] { "*.self_attn.*" })]
public partial class LoraOverQ4KMixture;
// Heads wide enough for recurrences to be taken in chunks: sequences of several, the last of them shorter.
[Decoder(Layers = 2, DModel = 16, Heads = 2, FeedForward = 20, Vocab = 43, Context = 128, Mixers = new[] { TokenMixer.GatedDelta, TokenMixer.StateSpace }, LinearKeyHeads = 1, LinearValueHeads = 2, LinearKeyWidth = 32, LinearValueWidth = 33,
    StateHeads = 2, StateSize = 16, StateHeadWidth = 17, ConvolutionTaps = 4, ConvolutionBias = true, TieEmbeddings = true, MaxBatch = 3)]
[Trainable(BatchSize = 2, SequenceLength = 70)]
public partial class ChunkedDecoder;
