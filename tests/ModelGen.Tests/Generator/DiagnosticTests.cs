using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.CSharp;
using Microsoft.CodeAnalysis.Diagnostics;
using ModelGen.Compiler.Diagnostics;
using ModelGen.Compiler.Families;

namespace ModelGen.Tests.Generator;

/// <summary>
/// Each diagnostic, at its exact place and with no other beside it: not from the analyzer, not from the generator, and not
/// from the C# compiler, whose errors would bury the one that matters.
/// </summary>
public sealed class DiagnosticTests
{
    private const string Tiny = GeneratorHarness.Tiny;

    private const string Use = "static class Use { static object M() => Model.Create(1); }";

    [Theory]
    [InlineData($"{Tiny} [Trainable(BatchSize = 2, SequenceLength = 3)] public partial class Model;")]
    [InlineData($"{Tiny} [Trainable(BatchSize = 2, SequenceLength = 6)] public partial class Model;")]
    [InlineData("[Gpt(Layers = 1, DModel = 8, Heads = 1, Vocab = 11, Context = 6, FeedForward = 0, LayerNormEpsilon = 1e-12, Dropout = 0.999)] [Trainable(BatchSize = 1, SequenceLength = 1)] public partial class Model;")]
    [InlineData("[Gpt(Layers = 1, DModel = 1, Heads = 1, Vocab = 1, Context = 1, Bias = false, QkvBias = true, HeadBias = true, TieEmbeddings = false)] public partial class Model;")]
    [InlineData("[Gpt(Layers = 1, DModel = 16384, Heads = 64, KeyValueHeads = 1, FeedForward = 16384, Vocab = 100, Context = 65536)] public partial class Model;")]
    [InlineData("[Mlp(2, 1)] public partial class Model;")]
    [InlineData("[Mlp(2, 8, 1, OutputActivation = Activation.Sigmoid)] public partial class Model;")]
    [InlineData("[Mlp(2, 8, 1, OutputActivation = Activation.Sigmoid, Loss = Loss.SquaredError)] [Trainable(BatchSize = 4)] public partial class Model;")]
    [InlineData("[Mlp(2, 8, 1, Loss = Loss.BinaryCrossEntropy)] [Trainable(BatchSize = 4)] public partial class Model;")]
    [InlineData("[Mlp(2, 8, 5, Loss = Loss.BinaryCrossEntropy)] [Trainable(BatchSize = 4)] public partial class Model;")]
    [InlineData("[Mlp(784, 500, 10)] [Trainable(BatchSize = 4)] public partial class Model;")]
    [InlineData("[RecurrentLm(Hidden = 3, Vocab = 5)] public partial class Model;")]
    [InlineData("[RecurrentLm(Hidden = 3, Embedding = 0, Vocab = 5, TieEmbeddings = true)] [Trainable(BatchSize = 2, SequenceLength = 100000)] public partial class Model;")]
    [InlineData("[RecurrentRegressor(Hidden = 3, Inputs = 2)] public partial class Model;")]
    [InlineData("[RecurrentTagger(Hidden = 3, Vocab = 5, Tags = 2)] public partial class Model;")]
    [InlineData("[RecurrentSeq2Seq(Hidden = 3, SourceVocab = 5, TargetVocab = 4)] public partial class Model;")]
    [InlineData("[RecurrentSeq2Seq(Cell = Cell.Lstm, Layers = 2, Hidden = 3, Embedding = 2, SourceVocab = 5, TargetVocab = 4, Attention = RecurrentAttention.Dot, SourceContext = 7, Dropout = 0.5, MaxBatch = 2)] [Trainable(BatchSize = 2, SequenceLength = 3, SourceLength = 4)] public partial class Model;")]
    [InlineData("[RecurrentTagger(Cell = Cell.Gru, Layers = 2, Hidden = 3, Embedding = 2, Vocab = 5, Tags = 2, Bidirectional = false, Dropout = 0.1, Context = 7, MaxBatch = 3)] [Trainable(BatchSize = 2, SequenceLength = 9)] public partial class Model;")]
    [InlineData("[Bert(Layers = 1, DModel = 8, Heads = 2, Vocab = 11, Context = 6)] public partial class Model;")]
    [InlineData("[T5(Layers = 1, DModel = 7, Heads = 2, HeadWidth = 3, FeedForward = 9, Vocab = 11, Context = 6, AttentionWeights = true, MaxBatch = 2)] [Trainable(BatchSize = 2, SequenceLength = 6, SourceLength = 5)] public partial class Model;")]
    [InlineData("[Bert(Layers = 1, DModel = 8, Heads = 2, Vocab = 11, Context = 6, FeedForward = 0, Segments = 1, Pooler = false, MaxBatch = 256, Embeddings = Pooling.FirstToken, Normalize = true)] public partial class Model;")]
    [InlineData("[ModernBert(Layers = 1, DModel = 8, Heads = 2, Vocab = 11, Context = 6, Head = BertHead.SequenceClassifier, Classes = 2, ClassifierPooling = Pooling.Mean)] [Trainable(BatchSize = 2, SequenceLength = 6)] public partial class Model;")]
    [InlineData("[Bert(Layers = 1, DModel = 8, Heads = 2, Vocab = 11, Context = 6, Segments = 0, PreNorm = true, GatedFeedForward = true, Bias = false, FeedForwardInputBias = true, NormBias = false, Positions = PositionEncoding.Rotary, RotaryScaling = RotaryScaling.Linear, RotaryFactor = 2)] public partial class Model;")]
    [InlineData("[Bert(Layers = 1, DModel = 8, Heads = 2, Vocab = 11, Context = 6, Head = BertHead.MaskedLm, NextSentence = true, Dropout = 0.1)] [Trainable(BatchSize = 2, SequenceLength = 6)] public partial class Model;")]
    [InlineData("[Bert(Layers = 1, DModel = 8, Heads = 2, Vocab = 11, Context = 6, Head = BertHead.SequenceClassifier, Classes = 2)] [Trainable(BatchSize = 2, SequenceLength = 3, Frozen = new[] { \"bert.\" })] public partial class Model;")]
    [InlineData($"{Tiny} [Lora(Rank = 2, Alpha = 4, Dropout = 0.1, On = new[] {{ \"*.c_attn\", \"*.mlp.*\" }})] [Trainable(BatchSize = 2, SequenceLength = 3, Frozen = new[] {{ \"transformer.h.0.mlp\" }})] public partial class Model;")]
    [InlineData($"{Tiny} [Lora(Rank = 1)] [Cuda] public partial class Model;")]
    [InlineData("[Llama(Layers = 1, DModel = 32, Heads = 2, FeedForward = 64, Vocab = 11, Context = 6, Weights = WeightFormat.BF16, WeightsOf = new[] { \"lm_head.weight: F32\" })] [Trainable(BatchSize = 1, SequenceLength = 2)] public partial class Model;")]
    [InlineData("[Llama(Layers = 1, DModel = 32, Heads = 2, FeedForward = 64, Vocab = 11, Context = 6, Weights = WeightFormat.Q8_0, WeightsOf = new[] { \"lm_head.weight: F16\" })] [Lora(Rank = 2)] [Trainable(BatchSize = 1, SequenceLength = 2)] public partial class Model;")]
    [InlineData("[Nnlm(Window = 1, Embedding = 1, Hidden = 1, Vocab = 1, DirectConnections = false)] [Trainable(BatchSize = 1)] public partial class Model;")]
    [InlineData("[Decoder(Layers = 1, DModel = 8, Heads = 2, FeedForward = 9, Vocab = 11, Context = 6, KeyValueHeads = 1, HeadWidth = 6, RotaryFraction = 0.4, RotaryBase = 1e6, RotaryLayout = RotaryLayout.Interleaved)] [Trainable(BatchSize = 1, SequenceLength = 6)] public partial class Model;")]
    [InlineData("[Decoder(Layers = 1, DModel = 9, Heads = 3, FeedForward = 9, Vocab = 11, Positions = PositionEncoding.None, Attention = AttentionPattern.Window, Window = 3)] public partial class Model;")]
    [InlineData("[Llama(Layers = 2, DModel = 8, Heads = 2, FeedForward = 9, Vocab = 11, Context = 6, RotaryScaling = RotaryScaling.Llama3, RotaryFactor = 8, RotaryOriginalContext = 4, RotaryPattern = new[] { 1, 0 })] public partial class Model;")]
    [InlineData("[Qwen(Layers = 2, DModel = 8, Heads = 2, FeedForward = 9, Vocab = 11, Context = 6, QkvBias = true, QueryKeyNorm = QueryKeyNorm.None)] [Trainable(BatchSize = 1, SequenceLength = 6)] public partial class Model;")]
    [InlineData("[Gemma(Layers = 2, DModel = 8, Heads = 2, FeedForward = 9, Vocab = 11, Context = 6, Attention = AttentionPattern.Window, LayerWindows = new[] { 3, 0 }, LogitSoftCap = 30, EmbeddingMultiplier = 2)] public partial class Model;")]
    [InlineData("[Phi(Layers = 2, DModel = 8, Heads = 2, FeedForward = 9, Vocab = 11, Context = 6, RotaryFraction = 0.5, NormBias = false)] public partial class Model;")]
    [InlineData("[Llama(Layers = 2, DModel = 8, Heads = 4, FeedForward = 9, Vocab = 11, Context = 6, RotaryScaling = RotaryScaling.Dynamic, RotaryFactor = 4, RotaryOriginalContext = 4)] public partial class Model;")]
    [InlineData("[Mistral(Layers = 2, DModel = 8, Heads = 2, FeedForward = 9, Vocab = 11, Context = 6, RotaryScaling = RotaryScaling.Yarn, RotaryFactor = 4, RotaryOriginalContext = 4, NormPlacement = NormPlacement.After)] public partial class Model;")]
    [InlineData("[Llama(Layers = 2, DModel = 8, Heads = 2, FeedForward = 9, Vocab = 11, Context = 6, RotaryScaling = RotaryScaling.LongRope, RotaryFactor = 4, RotaryOriginalContext = 4, RotaryShortFactors = new[] { 1, 1.5 }, RotaryLongFactors = new double[] { 2, 4 }, Norm = Normalization.OffsetLayer, NormBias = false, EmbeddingNorm = true)] public partial class Model;")]
    [InlineData("[Gemma3n(Layers = 2, DModel = 8, Heads = 2, FeedForward = 9, Vocab = 11, Context = 6, Streams = 2, LaurelRank = 3, LayerSparsity = new[] { 0.9, 0 }, PerLayerWidth = 3)] [Trainable(BatchSize = 1, SequenceLength = 6)] public partial class Model;")]
    [InlineData("[WordAutoencoder(Vocab = 2)] [Trainable(BatchSize = 1)] public partial class Model;")]
    [InlineData("[RecurrentLm(Hidden = 8, Embedding = 6, Vocab = 5, TieEmbeddings = true)] public partial class Model;")]
    [InlineData("[RecurrentRegressor(Cell = Cell.Rnn, Layers = 2, Hidden = 3, Inputs = 2, Outputs = 4, Dropout = 0.5, CarryState = true)] [Trainable(BatchSize = 2, SequenceLength = 3)] public partial class Model;")]
    [InlineData($"{Tiny} [Trainable(BatchSize = 2, SequenceLength = 3)] [MemoryBudget(InferenceBytes = 100000000, TrainingBytes = 100000000)] public partial class Model;")]
    [InlineData($"{Tiny} [MemoryBudget(InferenceBytes = 0, TrainingBytes = 0)] public partial class Model;")]
    [InlineData("[MemoryBudget]" + Tiny + " public partial class Model { public static object Create(string name) => Create(name.Length); public void Load() { } public int Extra; public partial class Deep; }")]
    [InlineData("public class Model;")]
    public Task Good_declarations_have_no_diagnostics(string declaration) => GeneratorHarness.ExpectAsync("using ModelGen;\n" + declaration);

    [Theory]
    [InlineData($"{Tiny} public class {{|MG0001:Model|}};")]
    [InlineData($"{Tiny} class {{|MG0001:@event|}} {{ }}")]
    [InlineData($"public partial class Outer {{ {Tiny} sealed class {{|MG0001:Model|}} {{ }} }}")]
    [InlineData($"public class {{|MG0002:Outer|}} {{ {Tiny} public partial class Model; }}")]
    [InlineData($"public class {{|MG0002:Outer|}}<T> {{ {Tiny} public class {{|MG0001:Model|}}; }}")]
    [InlineData($"interface {{|MG0002:IOuter|}} {{ partial struct Middle {{ record {{|MG0002:Inner|}} {{ {Tiny} public partial class Model; }} }} }}")]
    public Task Types_must_be_partial(string declaration) => GeneratorHarness.ExpectAsync("using ModelGen;\n" + declaration);

    [Fact]
    public async Task Container_is_reported_once_and_where_an_editor_looks()
    {
        await GeneratorHarness.ExpectAsync($"using ModelGen;\npublic class {{|MG0002:Outer|}} {{ {Tiny} public partial class A; {Tiny} public partial class B; }}");
        string text = $"using ModelGen;\npublic class Outer {{ {Tiny} public partial class A; public class Plain {{ {Tiny} partial class B; }} }}";
        IEnumerable<string> found = (await GeneratorHarness.ModelDiagnosticsAsync(GeneratorHarness.Run(text)))
            .Select(diagnostic => $"{diagnostic.Id} {text[diagnostic.Location.SourceSpan.Start..diagnostic.Location.SourceSpan.End]}");
        Assert.Equal(["MG0002 Outer", "MG0002 Plain"], found.Order(StringComparer.Ordinal));
    }

    [Theory]
    [InlineData($"{Tiny} public static partial class {{|MG0003:Model|}};", "static")]
    [InlineData($"{Tiny} public abstract partial class {{|MG0003:Model|}};", "abstract")]
    [InlineData($"{Tiny} public partial record {{|MG0003:Model|}};", "a record")]
    [InlineData($"{Tiny} public partial record class {{|MG0003:Model|}}(int X);", "a record")]
    [InlineData($"{Tiny} public partial class {{|MG0003:Model|}}<T>;", "generic")]
    [InlineData($"{Tiny} file partial class {{|MG0003:Model|}};", "visible in one file only")]
    [InlineData($"file partial class Outer {{ {Tiny} public partial class {{|MG0003:Model|}}; }}", "visible in one file only")]
    [InlineData($"{Tiny} public partial class {{|MG0003:Model|}}(int x) {{ public int X => x; }}", "declared with a primary constructor")]
    [InlineData($"{Tiny} public partial class {{|MG0003:Model|}} {{ public required int X {{ get; set; }} }}", "not complete without 'X', a required member")]
    [InlineData($"public class Base {{ public required int X; }} public class Middle : Base; {Tiny} public partial class {{|MG0003:Model|}} : Middle;", "not complete without 'X', a required member")]
    [InlineData($"public class Base {{ protected Base(int x) => X = x; public int X {{ get; }} }} {Tiny} public partial class {{|MG0003,CS7036:Model|}} : Base;", "derived from 'Base', whose constructors all take arguments or are out of its reach")]
    [InlineData($"public class Base(int x) {{ public int X => x; }} {Tiny} public partial class {{|MG0003,CS7036:Model|}} : Base;", "derived from 'Base', whose constructors all take arguments or are out of its reach")]
    [InlineData($"public class Base {{ private Base() {{ }} public static object Make() => new Base(); }} {Tiny} public partial class {{|MG0003,CS0122:Model|}} : Base;", "derived from 'Base', whose constructors all take arguments or are out of its reach")]
    [InlineData($"{Tiny} public partial class Base; {Tiny} public partial class {{|MG0003,CS1729:Model|}} : Base;", "derived from 'Base', which is a model itself")]
    [InlineData($"{Tiny} public partial class Base; public class {{|CS1729:Middle|}} : Base; {Tiny} public partial class {{|MG0003:Model|}} : Middle;", "derived from 'Base', which is a model itself")]
    [InlineData($"[{{|CS0592:Gpt|}}(Layers = 1, DModel = 8, Heads = 2, Vocab = 11, Context = 6)] public partial struct {{|MG0003:Model|}};", "not a class")]
    [InlineData($"[{{|CS0592:Gpt|}}(Layers = 1, DModel = 8, Heads = 2, Vocab = 11, Context = 6)] public partial interface {{|MG0003:Model|}};", "not a class")]
    public async Task Other_kinds_of_types_cannot_be_models(string declaration, string kind)
    {
        IReadOnlyList<string> messages = await GeneratorHarness.ExpectAsync("using ModelGen;\n" + declaration);
        Assert.Contains($"'Model' cannot be a model, because it is {kind}; declare a plain partial class", messages);
    }

    [Fact]
    public async Task Class_declares_one_model()
    {
        IReadOnlyList<string> messages = await GeneratorHarness.ExpectAsync(
            $"using ModelGen;\n[Mlp(2, 3, 2)] [{{|MG0004:Gpt|}}(Layers = 1)] [{{|MG0004:ModelGen.RecurrentLm|}}(Hidden = 1, Vocab = 1)] public partial class Model;");
        Assert.Equal("'Model' is already declared by [Mlp]; a class declares one model, so remove [Gpt] or move it to another class", messages[0]);
    }

    [Fact]
    public async Task Attributes_beside_a_family_need_one()
    {
        IReadOnlyList<string> messages = await GeneratorHarness.ExpectAsync(
            "using ModelGen;\n[{|MG0005:Trainable|}(BatchSize = 2)] [{|MG0005:MemoryBudget|}(InferenceBytes = 3)] [{|MG0005:Lora|}(Rank = 3)] public class Model;");
        string families = string.Join(", ", FamilyRegistry.All.Select(family => $"[{family.Name}]"));
        Assert.Equal($"[Trainable] has no effect on 'Model', which declares no model; add one of {families}", messages[0]);
    }

    [Theory]
    [InlineData("[{|MG0006,MG0006,MG0006,MG0006,MG0006:Gpt|}] public partial class Model;", "Layers", "DModel", "Heads", "Vocab", "Context")]
    [InlineData("[{|MG0006:Gpt|}(DModel = 8, Heads = 2, Vocab = 11, Context = 6)] public partial class Model;", "Layers")]
    [InlineData("[{|MG0006:ModelGen.GptAttribute|}(Layers = 1, DModel = 8, Heads = 2, Vocab = 11)] public partial class Model;", "Context")]
    [InlineData("[{|MG0006:Gpt|}(Layers = 1, DModel = 8, Heads = 2, Vocab = 11, Context = 6, Attention = AttentionPattern.Window)] public partial class Model;", "Window")]
    [InlineData("[{|MG0006:Gpt|}(Layers = 1, DModel = 8, Heads = 2, Vocab = 11, Attention = AttentionPattern.Window, Window = 4)] public partial class Model;", "Context")]
    [InlineData("[{|MG0006:Gpt|}(Layers = 1, DModel = 8, Heads = 2, Vocab = 11, Positions = PositionEncoding.None)] public partial class Model;", "Context")]
    [InlineData("[{|MG0006,MG0006:RecurrentLm|}] public partial class Model;", "Hidden", "Vocab")]
    [InlineData("[{|MG0006:RecurrentLm|}(Hidden = 4)] public partial class Model;", "Vocab")]
    [InlineData("[{|MG0006,MG0006,MG0006:RecurrentTagger|}] public partial class Model;", "Hidden", "Vocab", "Tags")]
    [InlineData("[{|MG0006,MG0006,MG0006,MG0006,MG0006:Bert|}] public partial class Model;", "Layers", "DModel", "Heads", "Vocab", "Context")]
    [InlineData("[{|MG0006:Bert|}(Layers = 1, DModel = 8, Heads = 2, Vocab = 11, Context = 6, Head = BertHead.TokenClassifier)] public partial class Model;", "Classes")]
    [InlineData("[{|MG0006,MG0006,MG0006,MG0006:Nnlm|}] public partial class Model;", "Window", "Embedding", "Hidden", "Vocab")]
    [InlineData("[{|MG0006,MG0006,MG0006,MG0006,MG0006,MG0006:Decoder|}] public partial class Model;", "Layers", "DModel", "Heads", "FeedForward", "Vocab", "Context")]
    [InlineData("[{|MG0006:Llama|}(Layers = 2, DModel = 8, Heads = 2, FeedForward = 9, Vocab = 11, Context = 6, RotaryScaling = RotaryScaling.Llama3)] public partial class Model;", "RotaryOriginalContext")]
    [InlineData("[{|MG0006:Llama|}(Layers = 2, DModel = 8, Heads = 2, FeedForward = 9, Vocab = 11, Context = 6, RotaryScaling = RotaryScaling.Dynamic)] public partial class Model;", "RotaryOriginalContext")]
    [InlineData("[{|MG0006:Llama|}(Layers = 2, DModel = 8, Heads = 2, FeedForward = 9, Vocab = 11, Context = 6, RotaryScaling = RotaryScaling.LongRope, RotaryOriginalContext = 4, RotaryShortFactors = new[] { 1.0, 1 })] public partial class Model;", "RotaryLongFactors")]
    [InlineData("[{|MG0006,MG0006:Decoder|}(Layers = 2, DModel = 8, Heads = 2, FeedForward = 9, Vocab = 11, Context = 6, Mixers = new[] { TokenMixer.GatedDelta })] public partial class Model;", "LinearKeyHeads", "LinearKeyWidth")]
    [InlineData("[{|MG0006,MG0006,MG0006,MG0006:Mamba2|}] public partial class Model;", "Layers", "DModel", "Vocab", "StateHeads")]
    [InlineData("[{|MG0006:Granite|}(Layers = 2, DModel = 8, Heads = 2, FeedForward = 9, Vocab = 11, Context = 6, Mixers = new[] { TokenMixer.StateSpace, TokenMixer.Attention })] public partial class Model;", "StateHeads")]
    [InlineData("[{|MG0006:WordAutoencoder|}(Code = 3)] public partial class Model;", "Vocab")]
    [InlineData("[{|MG0006,MG0006,MG0006:RecurrentSeq2Seq|}] public partial class Model;", "Hidden", "SourceVocab", "TargetVocab")]
    [InlineData("[{|MG0006,MG0006:RecurrentRegressor|}] public partial class Model;", "Hidden", "Inputs")]
    [InlineData("[RecurrentRegressor(Hidden = 4, Inputs = 1)] [{|MG0006:Trainable|}(BatchSize = 1)] public partial class Model;", "SequenceLength")]
    [InlineData(Tiny + " [{|MG0006,MG0006:Trainable|}] public partial class Model;", "BatchSize", "SequenceLength")]
    [InlineData(Tiny + " [{|MG0006:Trainable|}(BatchSize = 1)] public partial class Model;", "SequenceLength")]
    [InlineData("[Mlp(2, 3, 2)] [{|MG0006:Trainable|}] public partial class Model;", "BatchSize")]
    public async Task Required_arguments_must_be_given(string declaration, params string[] missing)
    {
        IReadOnlyList<string> messages = await GeneratorHarness.ExpectAsync($"using ModelGen;\n{declaration}\n{Use}");
        Assert.Equal(missing.Order(), messages.Select(message => message.Split(' ')[^1]).Order());
    }

    [Theory]
    [InlineData("[Gpt(Layers = {|MG0007:0|}, DModel = {|MG0007:-8|}, Heads = {|MG0007:0|}, Vocab = {|MG0007:int.MinValue|}, Context = {|MG0007:-(1 + 1)|}, FeedForward = {|MG0007:-1|})] public partial class Model;")]
    [InlineData("[Gpt(Layers = 1, DModel = 8, Heads = 2, Vocab = 11, Context = 6, Attention = AttentionPattern.Window, Window = {|MG0007:0|})] public partial class Model;")]
    [InlineData("[Gpt(Layers = 1, DModel = 8, Heads = 2, Vocab = 11, Context = 6, Positions = PositionEncoding.Relative, RelativeBuckets = {|MG0007:1|})] public partial class Model;")]
    [InlineData("[Gpt(Layers = 1, DModel = 8, Heads = 2, Vocab = 11, Context = 6, Positions = PositionEncoding.Relative, RelativeBuckets = 40, RelativeDistance = {|MG0007:20|})] public partial class Model;")]
    [InlineData("[Gpt(Layers = 1, DModel = 8, Heads = 2, Vocab = 11, Context = 6, Attention = AttentionPattern.Fixed, Stride = {|MG0007:0|})] public partial class Model;")]
    [InlineData("[Gpt(Layers = 1, DModel = 8, Heads = 2, Vocab = 11, Context = 6, Attention = AttentionPattern.Window, Window = 3, GlobalTokens = {|MG0007:-1|})] public partial class Model;")]
    [InlineData("[RecurrentLm(Layers = {|MG0007:0|}, Hidden = {|MG0007:0|}, Embedding = {|MG0007:-1|}, Vocab = {|MG0007:0|})] public partial class Model;")]
    [InlineData("[RecurrentTagger(Layers = {|MG0007:0|}, Hidden = {|MG0007:0|}, Embedding = {|MG0007:-1|}, Vocab = {|MG0007:0|}, Tags = {|MG0007:0|}, Context = {|MG0007:0|}, MaxBatch = {|MG0007:0|}, Dropout = {|MG0010:-0.5|})] public partial class Model;")]
    [InlineData("[T5(Layers = {|MG0007:0|}, DecoderLayers = {|MG0007:-1|}, DModel = {|MG0007:0|}, Heads = {|MG0007:0|}, HeadWidth = {|MG0007:-1|}, FeedForward = {|MG0007:0|}, Vocab = {|MG0007:0|}, Context = {|MG0007:0|}, RelativeBuckets = {|MG0010:5|}, Dropout = {|MG0010:1.0|}, NormEpsilon = {|MG0010:0.0|})] public partial class Model;")]
    [InlineData("[Bert(Layers = {|MG0007:0|}, DModel = {|MG0007:0|}, Heads = {|MG0007:0|}, Vocab = {|MG0007:0|}, Context = {|MG0007:0|}, FeedForward = {|MG0007:-1|}, Segments = {|MG0007:-1|}, FirstPosition = {|MG0007:-1|}, MaxBatch = {|MG0007:0|}, Head = BertHead.SequenceClassifier, Classes = {|MG0007:1|}, Dropout = {|MG0010:1.0|}, LayerNormEpsilon = {|MG0010:0.0|})] public partial class Model;")]
    [InlineData("[Nnlm(Window = {|MG0007:0|}, Embedding = {|MG0007:0|}, Hidden = {|MG0007:0|}, Vocab = {|MG0007:0|})] public partial class Model;")]
    [InlineData("[Decoder(Layers = {|MG0007:0|}, DModel = {|MG0007:0|}, Heads = {|MG0007:0|}, KeyValueHeads = {|MG0007:-1|}, HeadWidth = {|MG0007:-2|}, FeedForward = {|MG0007:0|}, Vocab = {|MG0007:0|}, Context = {|MG0007:0|}, NormEpsilon = {|MG0010:0.0|}, Dropout = {|MG0010:1.0|}, RotaryBase = {|MG0010:1.0|}, RotaryFraction = {|MG0010:1.5|})] public partial class Model;")]
    [InlineData("[Decoder(Layers = 2, DModel = 8, Heads = 2, FeedForward = 9, Vocab = 11, Context = 6, EmbeddingMultiplier = {|MG0010:-1.0|}, ResidualMultiplier = {|MG0010:0.0|}, LogitScale = {|MG0010:0.0|}, LogitSoftCap = {|MG0010:-1.0|}, AttentionScale = {|MG0010:-1.0|}, AttentionSoftCap = {|MG0010:-1.0|})] public partial class Model;")]
    [InlineData("[Decoder(Layers = 2, DModel = 8, Heads = 2, FeedForward = 9, Vocab = 11, Context = 6, EmbeddingMultiplier = {|MG0010:1e-50|}, LogitSoftCap = {|MG0010:1e-50|}, AttentionScale = {|MG0010:1e-50|}, AttentionSoftCap = {|MG0010:1e39|})] public partial class Model;")]
    [InlineData("[Decoder(Layers = 2, DModel = 8, Heads = 2, FeedForward = 9, Vocab = 11, Context = 6, LogitScale = 1e-20, LogitSoftCap = {|MG0010:1e20|}, AttentionScale = 1e20, AttentionSoftCap = {|MG0010:1e-30|})] public partial class Model;")]
    [InlineData("[Decoder(Layers = 2, DModel = 8, Heads = 2, FeedForward = 9, Vocab = 11, Context = 6, RotaryScaling = RotaryScaling.Llama3, RotaryOriginalContext = {|MG0007:0|}, RotaryFactor = {|MG0010:0.5|}, RotaryLowFrequencyFactor = {|MG0010:0.0|}, RotaryHighFrequencyFactor = {|MG0010:0.0|})] public partial class Model;")]
    [InlineData("[Decoder(Layers = 2, DModel = 8, Heads = 2, FeedForward = 9, Vocab = 11, Context = 6, RotaryScaling = RotaryScaling.Yarn, RotaryOriginalContext = 4, RotaryBetaSlow = {|MG0010:0.0|}, RotaryBetaFast = {|MG0010:-1.0|}, RotaryAttentionFactor = {|MG0010:-1.0|}, WindowRotaryBase = {|MG0010:1.0|})] public partial class Model;")]
    [InlineData("[Decoder(Layers = 2, DModel = 8, Heads = 2, FeedForward = 9, Vocab = 11, Context = 6, RotaryPattern = {|MG0010:new[] { 1, 2 }|})] public partial class Model;")]
    [InlineData("[Decoder(Layers = 2, DModel = 8, Heads = 2, FeedForward = 9, Vocab = 11, Context = 6, RotaryPattern = {|MG0010:new[] { 0 }|})] public partial class Model;")]
    [InlineData("[Gemma3n(Layers = 2, DModel = 8, Heads = 2, FeedForward = 9, Vocab = 11, Context = 6, Streams = {|MG0007:0|}, LaurelRank = {|MG0007:-1|}, LayerSparsity = new[] { 0.5, {|MG0010:1.0|} })] public partial class Model;")]
    [InlineData("[Decoder(Layers = 2, DModel = 8, Heads = 2, FeedForward = 9, Vocab = 11, Context = 6, RotaryScaling = RotaryScaling.LongRope, RotaryOriginalContext = {|MG0007:1|}, RotaryShortFactors = new[] { 1.0, {|MG0010:0.0|} }, RotaryLongFactors = new[] { {|MG0010:1e7|}, 1 })] public partial class Model;")]
    [InlineData("[Decoder(Layers = 2, DModel = 8, Heads = 2, FeedForward = 9, Vocab = 11, Context = 6, RotaryScaling = RotaryScaling.LongRope, RotaryOriginalContext = 4, RotaryShortFactors = {|MG0010:new[] { 1.0 }|}, RotaryLongFactors = new[] { 1.0, 1 })] public partial class Model;")]
    [InlineData("[Decoder(Layers = 2, DModel = 8, Heads = 2, FeedForward = 9, Vocab = 11, Context = 6, LayerHeadWidths = new[] { 4, 8 }, RotaryScaling = RotaryScaling.LongRope, RotaryOriginalContext = 4, RotaryShortFactors = {|MG0010:new[] { 1.0, 1 }|}, RotaryLongFactors = new[] { 1.0, 1 })] public partial class Model;")]
    [InlineData("[Decoder(Layers = 2, DModel = 8, Heads = 2, FeedForward = 9, Vocab = 11, Context = 6, RotaryPattern = {|MG0010:new[] { 1, 0, 1 }|})] public partial class Model;")]
    [InlineData("[Decoder(Layers = 1, DModel = 8, Heads = 2, FeedForward = 9, Vocab = 11, Context = 6, Mixers = {|MG0010:new[] { TokenMixer.ShortConvolution, TokenMixer.Attention }|})] public partial class Model;")]
    [InlineData("[Lfm2(Layers = 1, DModel = 8, Heads = 2, FeedForward = 9, Vocab = 11, Context = 6, Mixers = {|MG0010:new TokenMixer[0]|})] public partial class Model;")]
    [InlineData("[Mamba2(Layers = {|MG0007:0|}, DModel = {|MG0007:0|}, Vocab = {|MG0007:0|}, StateHeads = {|MG0007:0|}, StateGroups = {|MG0007:0|}, StateSize = {|MG0007:0|}, StateHeadWidth = {|MG0007:-1|}, ConvolutionTaps = {|MG0007:0|}, FeedForward = {|MG0007:-1|}, Heads = {|MG0007:-1|}, Context = {|MG0007:-1|})] public partial class Model;")]
    [InlineData("[WordAutoencoder(Vocab = {|MG0007:1|}, Code = {|MG0007:0|}, Window = {|MG0007:0|})] public partial class Model;")]
    [InlineData("[RecurrentSeq2Seq(Layers = {|MG0007:0|}, Hidden = {|MG0007:0|}, Embedding = {|MG0007:-1|}, SourceVocab = {|MG0007:0|}, TargetVocab = {|MG0007:0|}, SourceContext = {|MG0007:0|}, Dropout = {|MG0010:2.0|})] public partial class Model;")]
    [InlineData("[RecurrentRegressor(Layers = {|MG0007:0|}, Hidden = {|MG0007:0|}, Inputs = {|MG0007:-1|}, Outputs = {|MG0007:0|}, Dropout = {|MG0010:1.0|})] public partial class Model;")]
    [InlineData("[Mlp(2, {|MG0007:0|}, {|MG0007:-3|})] [Trainable(BatchSize = {|MG0007:0|})] public partial class Model;")]
    [InlineData("[Mlp(new int[] { 2, {|MG0007:0|}, 3 }, Bias = false)] public partial class Model;")]
    [InlineData("[Mlp(new[] { {|MG0007:0|}, 3 })] public partial class Model;")]
    [InlineData("[Mlp([2, 3, {|MG0007:-1|}])] public partial class Model;")]
    [InlineData("[Mlp(sizes: [2, {|MG0007:0|}, 3])] public partial class Model;")]
    [InlineData(Tiny + " [Trainable(BatchSize = {|MG0007:-1|}, SequenceLength = {|MG0007:0|})] public partial class Model;")]
    [InlineData(Tiny + " [Trainable(BatchSize = 1, SequenceLength = 1)] [MemoryBudget(InferenceBytes = {|MG0007:-1|}, TrainingBytes = {|MG0007:long.MinValue|})] public partial class Model;")]
    public Task Sizes_must_be_positive(string declaration) => GeneratorHarness.ExpectAsync($"using ModelGen;\n{declaration}\n{Use}");

    [Fact]
    public async Task Size_computed_elsewhere_is_judged_by_its_value()
    {
        IReadOnlyList<string> messages = await GeneratorHarness.ExpectAsync(
            "using ModelGen;\n[Gpt(Layers = {|MG0007:Consts.N|}, DModel = 8, Heads = 2, Vocab = 11, Context = 6)] public partial class Model;",
            GeneratorHarness.ParseOptions,
            GeneratorHarness.Options,
            "internal static class Consts { public const int N = unchecked(int.MaxValue + 1); }");
        Assert.Equal(["Layers must be at least 1, but is -2147483648"], messages);
    }

    [Fact]
    public async Task Width_must_be_a_multiple_of_the_heads()
    {
        IReadOnlyList<string> messages = await GeneratorHarness.ExpectAsync(
            $"using ModelGen;\n[Gpt(Layers = 1, DModel = {{|MG0008:100|}}, Heads = 3, Vocab = 11, Context = 6)] public partial class Model;\n{Use}");
        Assert.Equal(["DModel must be a multiple of Heads, but 100 is not a multiple of 3"], messages);
    }

    [Theory]
    [InlineData("Gpt(Layers = 1, DModel = 8, Heads = 2, Vocab = 11, Context = 6)", "{|MG0006:Lora|}", "[Lora] requires Rank")]
    [InlineData("Gpt(Layers = 1, DModel = 8, Heads = 2, Vocab = 11, Context = 6)", "Lora(Rank = {|MG0007:0|})", "Rank must be at least 1, but is 0")]
    [InlineData("Gpt(Layers = 1, DModel = 8, Heads = 2, Vocab = 11, Context = 6)", "Lora(Rank = 2, Alpha = {|MG0010:-1|})", "Alpha must be finite and greater than 0 in single precision, but is -1")]
    [InlineData("Gpt(Layers = 1, DModel = 8, Heads = 2, Vocab = 11, Context = 6)", "Lora(Rank = 2, Dropout = {|MG0010:1|})", "Dropout must be at least 0 and less than 1, but is 1")]
    [InlineData("Gpt(Layers = 1, DModel = 8, Heads = 2, Vocab = 11, Context = 6)", "Lora(Rank = 2, On = new[] { \"*.c_fc\", {|MG0010:\"*.q_proj\"|} })", "On must be a pattern of names of weights that only linear layers read, but is '*.q_proj'")]
    [InlineData("Gpt(Layers = 1, DModel = 8, Heads = 2, Vocab = 11, Context = 6)", "Lora(Rank = 2, On = new[] { {|MG0010:\"transformer.wte\"|} })", "On must be a pattern of names of weights that only linear layers read, but is 'transformer.wte'")]
    [InlineData("Gpt(Layers = 1, DModel = 8, Heads = 2, Vocab = 11, Context = 6)", "Lora(Rank = 2, On = {|MG0010:new string[] { }|})", "On must be one pattern of names or more, but is an empty list")]
    [InlineData("Gpt(Layers = 1, DModel = 8, Heads = 2, Vocab = 11, Context = 6)", "Lora(Rank = {|MG0017:2000000000|})", "")]
    [InlineData("Nnlm(Window = 2, Embedding = 3, Hidden = 4, Vocab = 5)", "Lora(Rank = 2, On = new[] { {|MG0010:\"*embedding*\"|} })", "")]
    [InlineData("RecurrentLm(Hidden = 8, Embedding = 6, Vocab = 5)", "Lora(Rank = 2, Dropout = {|MG0012:0.1|})", "")]
    [InlineData("Gpt(Layers = 1, DModel = 8, Heads = 2, Vocab = 11, Context = 6)", "Lora(Rank = 2)] [Trainable(BatchSize = 1, SequenceLength = 3, Frozen = {|MG0010:new[] { \"transformer.\" }|})", "Frozen must be a part of the parameters, but is all of them")]
    [InlineData("Gpt(Layers = 1, DModel = 8, Heads = 2, Vocab = 11, Context = 6)", "Lora(Rank = 2)] [Trainable(BatchSize = 1, SequenceLength = 3, Frozen = {|MG0010:new[] { \"transformer.wte\" }|})", "Frozen must be what names of parameters begin with, but is 'transformer.wte'")]
    public async Task Adapters_are_of_something(string family, string lora, string message)
    {
        IReadOnlyList<string> messages = await GeneratorHarness.ExpectAsync($"using ModelGen;\n[{family}] [{lora}] public partial class Model;");
        if (message.Length > 0)
        {
            Assert.Equal([message], messages);
        }
    }

    [Fact]
    public async Task What_is_frozen_exists_and_is_not_everything()
    {
        const string Declaration = "using ModelGen;\n[Gpt(Layers = 1, DModel = 8, Heads = 2, Vocab = 11, Context = 6)]\n";
        IReadOnlyList<string> messages = await GeneratorHarness.ExpectAsync(
            Declaration + "[Trainable(BatchSize = 1, SequenceLength = 3, Frozen = {|MG0010:new[] { \"transformer.wte\", \"h.0.\" }|})] public partial class Model;");
        Assert.Equal(["Frozen must be what names of parameters begin with, but is 'h.0.'"], messages);
        messages = await GeneratorHarness.ExpectAsync(
            Declaration + "[Trainable(BatchSize = 1, SequenceLength = 3, Frozen = {|MG0010:new[] { \"transformer.\" }|})] public partial class Model;");
        Assert.Equal(["Frozen must be a part of the parameters, but is all of them"], messages);
    }

    [Theory]
    [InlineData("[Gpt(Layers = 2, DModel = 8, Heads = 2, Vocab = 11, Context = 6, Attention = AttentionPattern.Window, LayerWindows = {|MG0010:new[] { 3, 4, 5 }|})]", "LayerWindows must be a list of windows, for 2 layers at the most, but is a list of 3")]
    [InlineData("[Bert(Layers = 2, DModel = 8, Heads = 2, Vocab = 11, Context = 6, Attention = AttentionPattern.Window, LayerWindows = {|MG0010:new int[] { }|})]", "LayerWindows must be a list of windows, for 2 layers at the most, but is an empty list")]
    [InlineData("[Transformer(SourceVocab = 5, TargetVocab = 6, Context = 4, Attention = AttentionPattern.Window, LayerWindows = {|MG0010:new[] { 0, 0 }|})]", "LayerWindows must be a list of windows, for 6 layers at the most, but is a list without a window")]
    [InlineData("[Bert(Layers = 2, DModel = 8, Heads = 2, Vocab = 11, Context = 6, Positions = PositionEncoding.Relative, RelativeBuckets = {|MG0010:5|})]", "RelativeBuckets must be even, half of them for each direction, but is 5")]
    [InlineData("[Bert(Layers = 2, DModel = 8, Heads = 2, Vocab = 11, Context = 6, Positions = PositionEncoding.Relative, RelativeBuckets = {|MG0007:2|})]", "RelativeBuckets must be at least 4, but is 2")]
    [InlineData("[Transformer(SourceVocab = 5, TargetVocab = 6, Context = 4, Positions = PositionEncoding.Relative, RelativeBuckets = 16, RelativeDistance = {|MG0007:8|})]", "RelativeDistance must be at least 9, but is 8")]
    [InlineData("[{|MG0006:Bert|}(Layers = 2, DModel = 8, Heads = 2, Vocab = 11, Context = 6, Attention = AttentionPattern.Window)]", "Window")]
    public async Task Attention_of_every_Transformer_is_checked_alike(string declaration, string message)
    {
        IReadOnlyList<string> messages = await GeneratorHarness.ExpectAsync($"using ModelGen;\n{declaration} public partial class Model;\n{Use}");
        Assert.Contains(message, Assert.Single(messages), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Heads_must_be_a_multiple_of_the_key_value_heads()
    {
        IReadOnlyList<string> messages = await GeneratorHarness.ExpectAsync(
            $"using ModelGen;\n[Gpt(Layers = 1, DModel = 8, Heads = 4, KeyValueHeads = {{|MG0008:3|}}, Vocab = 11, Context = 6)] public partial class Model;\n{Use}");
        Assert.Equal(["Heads must be a multiple of KeyValueHeads, but 4 is not a multiple of 3"], messages);
        messages = await GeneratorHarness.ExpectAsync($"using ModelGen;\n[Mamba2(Layers = 1, DModel = 8, Vocab = 11, StateHeads = 4, StateGroups = {{|MG0008:3|}})] public partial class Model;\n{Use}");
        Assert.Equal(["StateHeads must be a multiple of StateGroups, but 4 is not a multiple of 3"], messages);
        messages = await GeneratorHarness.ExpectAsync(
            $"using ModelGen;\n[Gpt(Layers = 1, DModel = 8, Heads = 4, KeyValueHeads = {{|MG0007:-1|}}, Vocab = 11, Context = 6)] public partial class Model;\n{Use}");
        Assert.Equal(["KeyValueHeads must be at least 0, but is -1"], messages);
    }

    [Fact]
    public async Task Training_sequence_must_fit_the_context()
    {
        IReadOnlyList<string> messages = await GeneratorHarness.ExpectAsync(
            $"using ModelGen;\n{Tiny} [Trainable(BatchSize = 2, SequenceLength = {{|MG0009:7|}})] public partial class Model;\n{Use}");
        Assert.Equal(["SequenceLength must not exceed Context, but is 7 where Context is 6"], messages);
    }

    [Theory]
    [InlineData("Dropout = {|MG0010:1|}")]
    [InlineData("Dropout = {|MG0010:1.5f|}")]
    [InlineData("Dropout = {|MG0010:-0.1|}")]
    [InlineData("Dropout = {|MG0010:double.NaN|}")]
    [InlineData("Dropout = {|MG0010:double.PositiveInfinity|}")]
    [InlineData("LayerNormEpsilon = {|MG0010:0|}")]
    [InlineData("LayerNormEpsilon = {|MG0010:-1e-5|}")]
    [InlineData("LayerNormEpsilon = {|MG0010:double.NaN|}")]
    [InlineData("LayerNormEpsilon = {|MG0010:1e-300|}")]
    [InlineData("LayerNormEpsilon = {|MG0010:1e300|}")]
    [InlineData("LayerNormEpsilon = {|MG0010:double.NegativeInfinity|}, Dropout = {|MG0010:2|}")]
    public Task Values_must_be_in_range(string argument)
        => GeneratorHarness.ExpectAsync($"using ModelGen;\n[Gpt(Layers = 1, DModel = 8, Heads = 2, Vocab = 11, Context = 6, {argument})] public partial class Model;\n{Use}");

    /// <summary>Options of a BERT that do not go together.</summary>
    [Theory]
    [InlineData("DModel = {|MG0008:9|}, Heads = 2")]
    [InlineData("DModel = 8, Heads = 2, Classes = {|MG0012:3|}")]
    [InlineData("DModel = 8, Heads = 2, NextSentence = {|MG0012:true|}")]
    [InlineData("DModel = 8, Heads = 2, Head = BertHead.MaskedLm, Pooler = {|MG0012:false|}")]
    [InlineData("DModel = 8, Heads = 2, Normalize = {|MG0012:true|}")]
    public Task Options_of_a_bert_fit_each_other(string options)
        => GeneratorHarness.ExpectAsync($"using ModelGen;\n[Bert(Layers = 1, Vocab = 11, Context = 6, {options})] public partial class Model;\n{Use}");

    [Fact]
    public async Task A_bert_without_a_head_has_nothing_to_train()
    {
        await GeneratorHarness.ExpectAsync($"using ModelGen;\n[Bert(Layers = 1, DModel = 8, Heads = 2, Vocab = 11, Context = 6, Head = {{|MG0012:BertHead.None|}})] [Trainable(BatchSize = 1, SequenceLength = 2)] public partial class Model;\n{Use}");
        await GeneratorHarness.ExpectAsync($"using ModelGen;\n[Bert(Layers = 1, DModel = 8, Heads = 2, Vocab = 11, Context = 6, Head = BertHead.MaskedLm)] [Trainable(BatchSize = 1, SequenceLength = {{|MG0009:7|}})] public partial class Model;\n{Use}");
    }

    [Theory]
    [InlineData("EncoderLayers = {|MG0007:0|}, DecoderLayers = {|MG0007:-1|}")]
    [InlineData("DModel = {|MG0007:0|}, Heads = {|MG0007:0|}, FeedForward = {|MG0007:0|}")]
    [InlineData("DModel = {|MG0008:9|}")]
    [InlineData("Heads = {|MG0008:7|}")]
    [InlineData("SourceContext = {|MG0007:-1|}, FirstPosition = {|MG0007:-1|}")]
    [InlineData("LabelSmoothing = {|MG0010:1|}, Dropout = {|MG0010:-0.1|}, LayerNormEpsilon = {|MG0010:0|}")]
    [InlineData("MaxBatch = {|MG0007:0|}")]
    [InlineData("MaxBatch = {|MG0017:257|}")]
    [InlineData("EncoderLayers = {|MG0017:100000|}")]
    [InlineData("Positions = {|MG0011:(PositionEncoding)9|}, Shared = {|MG0011:(EmbeddingSharing)(-1)|}")]
    public Task Arguments_of_a_transformer(string arguments)
        => GeneratorHarness.ExpectAsync($"using ModelGen;\n[Transformer(SourceVocab = 5, TargetVocab = 6, Context = 4, {arguments})] public partial class Model;\n{Use}");

    [Theory]
    [InlineData("SequenceLength = {|MG0009:{|MG0010:5|}|}")]
    [InlineData("SequenceLength = 4, SourceLength = {|MG0010:5|}")]
    [InlineData("SequenceLength = 4, SourceLength = {|MG0007:-1|}")]
    public Task Lengths_of_a_transformers_training(string arguments)
        => GeneratorHarness.ExpectAsync($"using ModelGen;\n[Transformer(SourceVocab = 5, TargetVocab = 6, Context = 4)] [Trainable(BatchSize = 1, {arguments})] public partial class Model;\n{Use}");

    [Fact]
    public async Task Dropout_of_a_recurrent_model_must_be_in_range()
    {
        IReadOnlyList<string> messages = await GeneratorHarness.ExpectAsync(
            $"using ModelGen;\n[RecurrentLm(Hidden = 3, Vocab = 5, Dropout = {{|MG0010:1.25|}})] public partial class Model;\n{Use}");
        Assert.Equal(["Dropout must be at least 0 and less than 1, but is 1.25"], messages);
    }

    [Fact]
    public async Task A_devices_precision_must_be_defined()
    {
        IReadOnlyList<string> messages = await GeneratorHarness.ExpectAsync($"using ModelGen;\n[Mlp(2, 3, 2)] [Cuda(Precision = {{|MG0011:(CudaPrecision)3|}})] public partial class Model;\n{Use}");
        Assert.Equal(["Precision must be one of CudaPrecision.F32, TF32, BF16, but is 3"], messages);
    }

    [Fact]
    public async Task Choices_must_be_defined()
    {
        IReadOnlyList<string> messages = await GeneratorHarness.ExpectAsync(
            $"using ModelGen;\n[Mlp(2, 3, 2, Activation = {{|MG0011:(Activation)99|}}, Loss = {{|MG0011:(Loss)(-1)|}})] public partial class Model;\n{Use}");
        Assert.Equal("Activation must be one of Activation.Relu, Gelu, GeluTanh, Tanh, Sigmoid, Silu, Identity, Elu, Softmax, ReluSquared, QuickGelu, but is 99", messages[0]);
    }

    [Theory]
    [InlineData("[Mlp(2, 3, 2, OutputActivation = {|MG0012:Activation.Sigmoid|})] [Trainable(BatchSize = 1)] public partial class Model;")]
    [InlineData("[Mlp(2, 3, 2, Activation = {|MG0012:Activation.Tanh|}, Activations = [Activation.Tanh])] public partial class Model;")]
    [InlineData("[Mlp(2, 3, 4, 2, Activations = {|MG0010:[Activation.Tanh]|})] public partial class Model;")]
    [InlineData("[Mlp(2, 3, 4, 2, Activations = new[] { Activation.Tanh, {|MG0011:(Activation)99|} })] public partial class Model;")]
    [InlineData("[Mlp(2, 3, 2)] [Cuda(Launches = {|MG0011:(CudaLaunches)7|})] public partial class Model;")]
    [InlineData("[Mlp(2, 3, 2)] [Cuda(Products = {|MG0011:(CudaProducts)7|})] public partial class Model;")]
    [InlineData("[Mlp(2, 3, 2, OutputActivation = {|MG0012:Activation.Tanh|}, Loss = Loss.CrossEntropy)] public partial class Model;")]
    [InlineData("[Mlp(2, 3, 1, Loss = Loss.BinaryCrossEntropy, OutputActivation = {|MG0012:Activation.Sigmoid|})] [Trainable(BatchSize = 1)] public partial class Model;")]
    [InlineData(Tiny + " [MemoryBudget(TrainingBytes = {|MG0012:1|})] public partial class Model;")]
    [InlineData(Tiny + " [Trainable(BatchSize = 1, SequenceLength = 2, SourceLength = {|MG0012:2|})] public partial class Model;")]
    [InlineData("[Transformer(SourceVocab = 5, TargetVocab = 6, Context = 4, Shared = {|MG0012:EmbeddingSharing.All|})] public partial class Model;")]
    [InlineData("[Transformer(SourceVocab = 5, TargetVocab = 6, Context = 4, Positions = PositionEncoding.Learned, FirstPosition = {|MG0012:1|})] public partial class Model;")]
    [InlineData("[ModernBert(Layers = 1, DModel = 8, Heads = 2, Vocab = 11, Context = 6, FirstPosition = {|MG0012:2|})] public partial class Model;")]
    [InlineData("[Transformer(SourceVocab = 5, TargetVocab = 6, Context = 4, DModel = 9, Heads = 3, Positions = {|MG0012:PositionEncoding.SinusoidHalves|})] public partial class Model;")]
    [InlineData("[Gpt(Layers = 1, DModel = 8, Heads = 2, Vocab = 11, Context = 6, Window = {|MG0012:3|})] public partial class Model;")]
    [InlineData("[Gpt(Layers = 1, DModel = 8, Heads = 2, Vocab = 11, Context = 6, Attention = AttentionPattern.Strided, Stride = 3, GlobalTokens = {|MG0012:3|}, SummaryTokens = {|MG0012:2|})] public partial class Model;")]
    [InlineData("[Gpt(Layers = 1, DModel = 8, Heads = 2, Vocab = 11, Context = 6, Attention = AttentionPattern.Window, Window = 3, Stride = {|MG0012:3|})] public partial class Model;")]
    [InlineData("[Gpt(Layers = 1, DModel = 8, Heads = 2, Vocab = 11, Context = 6, Positions = PositionEncoding.Alibi, RelativeBuckets = {|MG0012:16|}, RelativeDistance = {|MG0012:64|})] public partial class Model;")]
    [InlineData("[Gpt(Layers = 1, DModel = 8, Heads = 2, Vocab = 11, Attention = AttentionPattern.Window, Window = 3, Positions = PositionEncoding.None, AttentionWeights = {|MG0012:true|})] public partial class Model;")]
    [InlineData("[RecurrentSeq2Seq(Hidden = 5, SourceVocab = 5, TargetVocab = 6, AttentionWeights = {|MG0012:true|})] public partial class Model;")]
    [InlineData("[Gpt(Layers = 1, DModel = 9, Heads = 3, Vocab = 11, Context = 6, Positions = {|MG0012:PositionEncoding.SinusoidHalves|})] public partial class Model;")]
    [InlineData("[Gpt(Layers = 1, DModel = 8, Heads = 2, Vocab = 11, Context = 6, Positions = {|MG0012:PositionEncoding.Rotary|})] public partial class Model;")]
    [InlineData("[Decoder(Layers = 1, DModel = 8, Heads = 2, FeedForward = 9, Vocab = 11, Context = 6, HeadWidth = {|MG0012:5|})] public partial class Model;")]
    [InlineData("[Decoder(Layers = 1, DModel = 8, Heads = 2, FeedForward = 9, Vocab = 11, Context = 6, RotaryFraction = {|MG0012:0.3|})] public partial class Model;")]
    [InlineData("[Decoder(Layers = 2, DModel = 8, Heads = 2, FeedForward = 9, Vocab = 11, Context = 6, NormBias = {|MG0012:true|})] public partial class Model;")]
    [InlineData("[Decoder(Layers = 2, DModel = 8, Heads = 2, FeedForward = 9, Vocab = 11, Context = 6, ActiveExperts = {|MG0012:3|}, BalanceLoss = {|MG0012:0.1|}, SharedExpertGate = {|MG0012:true|})] public partial class Model;")]
    [InlineData("[Decoder(Layers = 2, DModel = 8, Heads = 2, FeedForward = 9, Vocab = 11, Context = 6, GatedFeedForward = false, GateLimit = {|MG0012:7|}, UpOffset = {|MG0012:1|})] public partial class Model;")]
    [InlineData("[Decoder(Layers = 2, DModel = 8, Heads = 2, FeedForward = 9, Vocab = 11, Context = 6, RouterBias = {|MG0012:true|})] public partial class Model;")]
    [InlineData("[Decoder(Layers = 2, DModel = 8, Heads = 2, FeedForward = 9, Vocab = 11, Context = 6, Form = BlockForm.Parallel, PerLayerWidth = {|MG0012:4|})] public partial class Model;")]
    [InlineData("[Decoder(Layers = 2, DModel = 8, Heads = 2, FeedForward = 9, Vocab = 11, Context = 6, RotaryLayout = RotaryLayout.Interleaved, GlobalRotaryFraction = {|MG0012:0.5|})] public partial class Model;")]
    [InlineData("[Decoder(Layers = 2, DModel = 8, Heads = 2, FeedForward = 9, Vocab = 11, Context = 6, Positions = PositionEncoding.None, GlobalRotaryFraction = {|MG0012:0.5|})] public partial class Model;")]
    [InlineData("[Decoder(Layers = 2, DModel = 8, Heads = 2, FeedForward = 9, Vocab = 11, Context = 6, Attention = AttentionPattern.Window, LayerWindows = new[] { 3, 0 }, SharedKeyValueLayers = {|MG0012:1|})] public partial class Model;")]
    [InlineData("[Decoder(Layers = 2, DModel = 8, Heads = 2, FeedForward = 9, Vocab = 11, Context = 6, LayerHeadWidths = new[] { 4, 6 }, SharedKeyValueLayers = {|MG0012:1|})] public partial class Model;")]
    [InlineData("[Decoder(Layers = 2, DModel = 8, Heads = 2, FeedForward = 9, Vocab = 11, Context = 6, LayerHeadWidths = {|MG0012:new[] { 4, 5 }|})] public partial class Model;")]
    [InlineData("[Decoder(Layers = 2, DModel = 8, Heads = 2, FeedForward = 9, Vocab = 11, Context = 6, LayerHeadWidths = {|MG0010:new int[0]|})] public partial class Model;")]
    [InlineData("[Decoder(Layers = 2, DModel = 8, Heads = 2, FeedForward = 9, Vocab = 11, Context = 6, LayerFeedForward = {|MG0010:new[] { 4, 5, 6 }|})] public partial class Model;")]
    [InlineData("[Decoder(Layers = 2, DModel = 8, Heads = 2, FeedForward = 9, Vocab = 11, Context = 6, LayerFeedForward = new[] { 4, {|MG0010:0|} })] public partial class Model;")]
    [InlineData("[Decoder(Layers = 2, DModel = 8, Heads = 2, FeedForward = 9, Vocab = 11, Context = 6, LayerKeyValueHeads = {|MG0008:new[] { 1, 3 }|})] public partial class Model;")]
    [InlineData("[Decoder(Layers = 2, DModel = 8, Heads = 2, FeedForward = 9, Vocab = 11, Context = 6, GateLimit = {|MG0010:-1|}, GlobalRotaryFraction = {|MG0010:1.5|})] public partial class Model;")]
    [InlineData("[Decoder(Layers = 2, DModel = 8, Heads = 2, FeedForward = 9, Vocab = 11, Context = 6, SharedKeyValueLayers = {|MG0017:2|})] public partial class Model;")]
    [InlineData("[Decoder(Layers = 2, DModel = 8, Heads = 2, FeedForward = 9, Vocab = 11, Context = 6, Experts = 4, ActiveExperts = 2, SharedExpertGate = {|MG0012:true|})] public partial class Model;")]
    [InlineData("[Decoder(Layers = 2, DModel = 8, Heads = 2, FeedForward = 9, Vocab = 11, Context = 6, LinearKeyHeads = {|MG0012:2|}, LinearValueWidth = {|MG0012:4|})] public partial class Model;")]
    [InlineData("[Decoder(Layers = 2, DModel = 8, Heads = 2, FeedForward = 9, Vocab = 11, Context = 6, Mixers = new[] { TokenMixer.GatedDelta }, LinearKeyHeads = 2, LinearKeyWidth = 4, ConvolutionBias = {|MG0012:true|})] public partial class Model;")]
    [InlineData("[Decoder(Layers = 2, DModel = 8, Heads = 2, FeedForward = 9, Vocab = 11, Context = 6, StateHeads = {|MG0012:2|}, StateGroups = {|MG0012:2|}, StateSize = {|MG0012:2|}, StateHeadWidth = {|MG0012:4|}, StateBias = {|MG0012:true|}, StateStepMaximum = {|MG0012:1|})] public partial class Model;")]
    [InlineData("[Mamba2(Layers = 2, DModel = 8, Vocab = 11, StateHeads = 2, StateStepMinimum = 0.5, StateStepMaximum = {|MG0010:0.25|})] public partial class Model;")]
    [InlineData("[Mamba2(Layers = 2, DModel = 8, Vocab = 11, StateHeads = 2, StateStepMinimum = {|MG0010:-1|})] public partial class Model;")]
    [InlineData("[Mamba2(Layers = 2, DModel = 8, Vocab = 11, StateHeads = 2, Activation = {|MG0012:Activation.Gelu|}, GatedFeedForward = {|MG0012:false|}, FeedForwardBias = {|MG0012:true|}, Form = {|MG0012:BlockForm.Parallel|})] public partial class Model;")]
    [InlineData("[Decoder(Layers = 2, DModel = 8, Heads = 2, FeedForward = 9, Vocab = 11, Context = 6, ConvolutionTaps = {|MG0012:3|}, ConvolutionBias = {|MG0012:true|})] public partial class Model;")]
    [InlineData("[Gemma(Layers = 2, DModel = 8, Heads = 2, FeedForward = 9, Vocab = 11, Context = 6, Form = BlockForm.Parallel, NormPlacement = {|MG0012:NormPlacement.Both|})] public partial class Model;")]
    [InlineData("[Decoder(Layers = 2, DModel = 8, Heads = 2, FeedForward = 9, Vocab = 11, Context = 6, RotaryFactor = {|MG0012:2.0|}, RotaryBetaFast = {|MG0012:2.0|}, RotaryHighFrequencyFactor = {|MG0012:2.0|}, RotaryOriginalContext = {|MG0012:8|})] public partial class Model;")]
    [InlineData("[Decoder(Layers = 2, DModel = 8, Heads = 2, FeedForward = 9, Vocab = 11, Context = 6, RotaryLongFactors = {|MG0012:new[] { 1.0, 1 }|}, RotaryShortFactors = {|MG0012:new[] { 1.0, 1 }|}, RotaryAttentionFactor = {|MG0012:1.5|})] public partial class Model;")]
    [InlineData("[Gemma3n(Layers = 2, DModel = 8, Heads = 2, FeedForward = 9, Vocab = 11, Context = 6, GatedFeedForward = false, LayerSparsity = {|MG0012:new[] { 0.5 }|}, NormPlacement = {|MG0012:NormPlacement.After|})] public partial class Model;")]
    [InlineData("[Decoder(Layers = 2, DModel = 8, Heads = 2, FeedForward = 9, Vocab = 11, Context = 6, Positions = PositionEncoding.None, RotaryPattern = {|MG0012:new[] { 1, 0 }|}, WindowRotaryBase = {|MG0012:50.0|})] public partial class Model;")]
    [InlineData("[Decoder(Layers = 1, DModel = 8, Heads = 2, FeedForward = 9, Vocab = 11, Context = 6, Positions = PositionEncoding.Alibi, AttentionSoftCap = {|MG0012:5.0|})] public partial class Model;")]
    [InlineData("[Decoder(Layers = 1, DModel = {|MG0012:10|}, Heads = 2, FeedForward = 9, Vocab = 11, Context = 6)] public partial class Model;")]
    [InlineData("[Decoder(Layers = 1, DModel = 8, Heads = 2, FeedForward = 9, Vocab = 11, Context = 6, Positions = PositionEncoding.Alibi, RotaryBase = {|MG0012:500.0|}, RotaryFraction = {|MG0012:0.5|}, RotaryLayout = {|MG0012:RotaryLayout.Halves|})] public partial class Model;")]
    [InlineData("[Llama(Layers = 1, DModel = 8, Heads = 2, FeedForward = 9, Vocab = 11, Context = 6, Weights = {|MG0012:WeightFormat.F16|})] [Trainable(BatchSize = 1, SequenceLength = 2)] public partial class Model;")]
    [InlineData("[Llama(Layers = 1, DModel = 32, Heads = 2, FeedForward = 64, Vocab = 11, Context = 6, WeightsOf = new[] { \"lm_head.weight: BF16\", {|MG0012:\"*.q_proj.weight: Q8_0\"|} })] [Trainable(BatchSize = 1, SequenceLength = 2)] public partial class Model;")]
    [InlineData("[Llama(Layers = 1, DModel = 8, Heads = 2, FeedForward = 9, Vocab = 11, Context = 6, WeightsOf = new[] { {|MG0012:\"lm_head.weight: BF16\"|} })] [Trainable(BatchSize = 1, SequenceLength = 2)] [Cuda] public partial class Model;")]
    [InlineData("[Llama(Layers = 1, DModel = 8, Heads = 2, FeedForward = 9, Vocab = 11, Context = 6, Weights = {|MG0012:WeightFormat.BF16|})] [Trainable(BatchSize = 1, SequenceLength = 2)] [Cuda] public partial class Model;")]
    [InlineData("[Mlp(2, 3, 2)] [Cuda(Rounding = {|MG0012:CudaRounding.Stochastic|})] public partial class Model;")]
    [InlineData("[Mlp(2, 3, 2)] [Cuda(Precision = CudaPrecision.TF32, Rounding = {|MG0012:CudaRounding.Stochastic|})] public partial class Model;")]
    [InlineData("[Llama(Layers = 1, DModel = 8, Heads = 2, FeedForward = 9, Vocab = 11, Context = 6, KeyValueCache = {|MG0012:CacheFormat.Q8_0|})] public partial class Model;")]
    [InlineData("[Gpt(Layers = 2, DModel = 8, Heads = 2, Vocab = 11, Context = 6, Attention = AttentionPattern.Window, Window = {|MG0012:3|}, LayerWindows = new[] { 3, 0 })] public partial class Model;")]
    [InlineData("[Gpt(Layers = 2, DModel = 8, Heads = 2, Vocab = 11, Context = 6, LayerWindows = {|MG0012:new[] { 3, 0 }|})] public partial class Model;")]
    [InlineData("[ModernBert(Layers = 1, DModel = 8, Heads = 2, Vocab = 11, Context = 6, Pooler = {|MG0012:true|}, ClassifierPooling = {|MG0012:Pooling.None|})] public partial class Model;")]
    [InlineData("[ModernBert(Layers = 1, DModel = 8, Heads = 2, Vocab = 11, Context = 6, Head = BertHead.MaskedLm, NextSentence = {|MG0012:true|})] public partial class Model;")]
    [InlineData("[ModernBert(Layers = 1, DModel = 8, Heads = 2, Vocab = 11, Context = 6, Head = BertHead.SequenceClassifier, Classes = 2, ClassifierPooling = {|MG0012:Pooling.None|})] public partial class Model;")]
    [InlineData("[Bert(Layers = 1, DModel = 8, Heads = 2, Vocab = 11, Context = 6, RotaryBase = {|MG0012:100.0|})] public partial class Model;")]
    [InlineData("[Bert(Layers = 1, DModel = 8, Heads = 2, Vocab = 11, Context = 6, Window = {|MG0012:3|}, Stride = {|MG0012:2|})] public partial class Model;")]
    [InlineData("[Bert(Layers = 1, DModel = 8, Heads = 2, Vocab = 11, Context = 6, RelativeBuckets = {|MG0012:16|})] public partial class Model;")]
    [InlineData("[Transformer(SourceVocab = 5, TargetVocab = 6, Context = 4, Attention = AttentionPattern.Fixed, Stride = 2, GlobalTokens = {|MG0012:1|})] public partial class Model;")]
    [InlineData("[Transformer(SourceVocab = 5, TargetVocab = 6, Context = 4, Positions = PositionEncoding.Alibi, FirstPosition = {|MG0012:1|}, RelativeDistance = {|MG0012:16|})] public partial class Model;")]
    public Task Arguments_must_go_together(string declaration) => GeneratorHarness.ExpectAsync($"using ModelGen;\n{declaration}\n{Use}");

    [Theory]
    [InlineData("[{|MG0013:Mlp|}] public partial class Model;")]
    [InlineData("[{|MG0013:Mlp|}()] public partial class Model;")]
    [InlineData("[{|MG0013:Mlp|}(Bias = false)] public partial class Model;")]
    [InlineData("[Mlp({|MG0013:3|})] public partial class Model;")]
    public Task Perceptron_needs_two_sizes(string declaration) => GeneratorHarness.ExpectAsync($"using ModelGen;\n{declaration}\n{Use}");

    [Theory]
    [InlineData("[Mlp(2, 3, {|MG0014:1|})] [Trainable(BatchSize = 4)] public partial class Model;")]
    [InlineData("[Mlp(2, 3, {|MG0014:1|}, Loss = Loss.CrossEntropy)] public partial class Model;")]
    public async Task Classes_must_be_two_or_more(string declaration)
    {
        IReadOnlyList<string> messages = await GeneratorHarness.ExpectAsync($"using ModelGen;\n{declaration}\n{Use}");
        Assert.Equal(["Loss.CrossEntropy requires an output of at least 2 classes, but the output has size 1"], messages);
    }

    [Fact]
    public async Task Perceptron_has_no_sequence_length()
    {
        IReadOnlyList<string> messages = await GeneratorHarness.ExpectAsync(
            $"using ModelGen;\n[Mlp(2, 3, 2)] [Trainable(BatchSize = 4, SequenceLength = {{|MG0015:5|}})] public partial class Model;\n{Use}");
        Assert.Equal(["[Mlp] has no sequences, so SequenceLength has no meaning for it; remove it"], messages);
    }

    [Theory]
    [InlineData("[Gpt(Layers = {|MG0017:1025|}, DModel = 8, Heads = 2, Vocab = 11, Context = 6)] public partial class Model;")]
    [InlineData("[Decoder(Layers = 2, DModel = 8, Heads = 2, FeedForward = 9, Vocab = 11, Context = 6, Experts = {|MG0017:1025|}, ActiveExperts = 2)] public partial class Model;")]
    [InlineData("[Decoder(Layers = 2, DModel = 8, Heads = 2, FeedForward = 9, Vocab = 11, Context = 6, Experts = 4, ActiveExperts = {|MG0017:5|})] public partial class Model;")]
    [InlineData("[Lfm2(Layers = 2, DModel = 8, Heads = 2, FeedForward = 9, Vocab = 11, Context = 6, Mixers = new[] { TokenMixer.ShortConvolution }, ConvolutionTaps = {|MG0017:65|})] public partial class Model;")]
    [InlineData("[Decoder(Layers = {|MG0017:1025|}, DModel = 8, Heads = 2, FeedForward = 9, Vocab = 11, Context = 6)] public partial class Model;")]
    [InlineData("[{|MG0017:Decoder|}(Layers = 1, DModel = 65536, Heads = 2, FeedForward = 65536, Vocab = 11, Context = 6)] public partial class Model;")]
    [InlineData("[Gpt(Layers = {|MG0017:int.MaxValue|}, DModel = 8, Heads = 2, Vocab = 11, Context = 6)] public partial class Model;")]
    [InlineData("[{|MG0017:Gpt|}(Layers = 1, DModel = 32768, Heads = 2, Vocab = 65536, Context = 6)] public partial class Model;")]
    [InlineData("[{|MG0017,MG0017:Gpt|}(Layers = 1024, DModel = int.MaxValue, Heads = 1, Vocab = int.MaxValue, Context = int.MaxValue, FeedForward = int.MaxValue)] public partial class Model;")]
    [InlineData("[Gpt(Layers = 1, DModel = 8, Heads = 1, Vocab = 50257, Context = 1024)] [Trainable(BatchSize = {|MG0017:64|}, SequenceLength = 1024)] public partial class Model;")]
    [InlineData("[{|MG0017:Mlp|}(int.MaxValue, int.MaxValue)] public partial class Model;")]
    [InlineData("[Gpt(Layers = 1, DModel = 8, Heads = 2, Vocab = 11, Context = 6, Drafts = {|MG0017:256|})] public partial class Model;")]
    [InlineData("[Llama(Layers = 1, DModel = 8, Heads = 2, FeedForward = 9, Vocab = 11, Context = 6, Drafts = {|MG0017:256|})] public partial class Model;")]
    [InlineData("[Bert(Layers = {|MG0017:5000|}, DModel = 8, Heads = 2, Vocab = 11, Context = 6, MaxBatch = {|MG0017:257|})] public partial class Model;")]
    [InlineData("[{|MG0017:Bert|}(Layers = 1, DModel = 8, Heads = 2, Vocab = 100000, Context = 512, MaxBatch = 256, Head = BertHead.MaskedLm)] public partial class Model;")]
    [InlineData("[{|MG0017:Nnlm|}(Window = 100, Embedding = 1000, Hidden = 8, Vocab = 100000)] public partial class Model;")]
    [InlineData("[WordAutoencoder(Vocab = 11, Window = {|MG0017:1025|})] public partial class Model;")]
    [InlineData("[RecurrentLm(Layers = {|MG0017:5000|}, Hidden = 8, Vocab = 11)] public partial class Model;")]
    [InlineData("[{|MG0017:RecurrentLm|}(Hidden = 100000, Vocab = 11)] public partial class Model;")]
    [InlineData("[RecurrentLm(Hidden = 8, Vocab = 11, MaxBatch = {|MG0007:0|})] public partial class Model;")]
    [InlineData("[Gpt(Layers = 48, DModel = 1600, Heads = 25, Vocab = 257, Context = 20000, MaxBatch = {|MG0017:2|})] public partial class Model;")]
    [InlineData("[RecurrentLm(Hidden = 8, Vocab = 11, MaxBatch = {|MG0017:257|})] public partial class Model;")]
    [InlineData("[RecurrentLm(Hidden = 8, Vocab = 10000000, MaxBatch = {|MG0017:256|})] public partial class Model;")]
    [InlineData("[RecurrentTagger(Layers = {|MG0017:5000|}, Hidden = 8, Vocab = 5, Tags = 2, MaxBatch = {|MG0017:300|})] public partial class Model;")]
    [InlineData("[{|MG0017:RecurrentTagger|}(Hidden = 8, Vocab = 5, Tags = 2, Context = 1000000000)] public partial class Model;")]
    [InlineData("[RecurrentSeq2Seq(Layers = {|MG0017:5000|}, Hidden = 8, SourceVocab = 5, TargetVocab = 2)] public partial class Model;")]
    [InlineData("[{|MG0017:RecurrentSeq2Seq|}(Hidden = 8, SourceVocab = 5, TargetVocab = 2, SourceContext = 1000000000)] public partial class Model;")]
    [InlineData("[RecurrentSeq2Seq(Hidden = 8, SourceVocab = 5, TargetVocab = 2, Attention = RecurrentAttention.Additive)] [Trainable(BatchSize = {|MG0017:1000|}, SequenceLength = 1000, SourceLength = 1000)] public partial class Model;")]
    [InlineData("[RecurrentSeq2Seq(Hidden = 1024, SourceVocab = 5, TargetVocab = 2)] [Trainable(BatchSize = {|MG0017:64|}, SequenceLength = 1, SourceLength = 65536)] public partial class Model;")]
    [InlineData("[Transformer(SourceVocab = 5, TargetVocab = 2, Context = 65536)] [Trainable(BatchSize = {|MG0017:64|}, SequenceLength = 1, SourceLength = 65536)] public partial class Model;")]
    [InlineData("[Gpt(Layers = 1, DModel = 32, Heads = 32, Vocab = 8, Context = 12, Positions = PositionEncoding.Relative, RelativeBuckets = 1024, RelativeDistance = 1024)] [Trainable(BatchSize = {|MG0017:70000|}, SequenceLength = 2)] public partial class Model;")]
    [InlineData("[Gpt(Layers = 1, DModel = 8, Heads = 2, Vocab = 11, Context = 6, Positions = PositionEncoding.Relative, RelativeBuckets = {|MG0017:415|})] public partial class Model;")]
    [InlineData("[RecurrentRegressor(Layers = {|MG0017:5000|}, Hidden = 8, Inputs = 1)] public partial class Model;")]
    [InlineData("[{|MG0017,MG0017:RecurrentRegressor|}(Hidden = 100000, Inputs = 100000000)] public partial class Model;")]
    [InlineData("[RecurrentRegressor(Hidden = 8, Inputs = 1)] [Trainable(BatchSize = {|MG0017:100000|}, SequenceLength = 100000)] public partial class Model;")]
    public Task Models_must_be_representable(string declaration) => GeneratorHarness.ExpectAsync($"using ModelGen;\n{declaration}\n{Use}");

    [Theory]
    [InlineData("[Gpt(Layers = 48, DModel = 1600, Heads = 25, Vocab = 50257, Context = 1024)] [Trainable(BatchSize = 32, SequenceLength = 1024)] public partial class Model;")]
    [InlineData("[Gpt(Layers = 1024, DModel = 128, Heads = 4, Vocab = 256, Context = 256)] public partial class Model;")]
    [InlineData("[Gpt(Layers = 1, DModel = 64, Heads = 4, Vocab = 1000000, Context = 100000)] public partial class Model;")]
    [InlineData("[Gpt(Layers = 1, DModel = 64, Heads = 4, Vocab = 1000000, Context = 100000)] [Trainable(BatchSize = 2, SequenceLength = 1000)] public partial class Model;")]
    [InlineData("[Gpt(Layers = 1, DModel = 26000, Heads = 2, Vocab = 82000, Context = 6, FeedForward = 1)] public partial class Model;")]
    public void Large_models_are_representable(string declaration)
        => Assert.Empty(DeclarationReading.Read($"using ModelGen;\n{declaration}").Problems);

    /// <summary>Only one row of logits is ever computed: neither a limit nor an index counts a vocabulary for each position of the context.</summary>
    [Fact]
    public void Large_vocabulary_and_long_context_go_together()
    {
        GeneratorRun run = GeneratorHarness.Run("[ModelGen.Gpt(Layers = 1, DModel = 64, Heads = 4, Vocab = 1000000, Context = 100000)] public partial class Model;");
        Assert.Empty(run.Result.Diagnostics);
        Assert.Empty(run.Output.GetDiagnostics().Where(d => d.Severity >= DiagnosticSeverity.Warning && d.Id != "CS1591"));
        IFieldSymbol arena = run.Output.GetTypeByMetadataName("Model")!.GetMembers("InferenceArenaBytes").OfType<IFieldSymbol>().Single();
        Assert.InRange((long)arena.ConstantValue!, 4L * 1_000_000, 20L * 1_000_000);
    }

    [Fact]
    public async Task Memory_budgets_must_be_kept()
    {
        IReadOnlyList<string> messages = await GeneratorHarness.ExpectAsync(
            $"using ModelGen;\n{Tiny} [Trainable(BatchSize = 2, SequenceLength = 3)] [MemoryBudget(InferenceBytes = {{|MG0018:100|}}, TrainingBytes = {{|MG0018:200|}})] public partial class Model;\n{Use}");
        Assert.StartsWith("InferenceBytes allows 100 bytes, but 'Model' needs ", messages[0], StringComparison.Ordinal);
        Assert.StartsWith("TrainingBytes allows 200 bytes, but 'Model' needs ", messages[1], StringComparison.Ordinal);

        // The budget is exact: what is needed is enough, and one byte less is not.
        long needed = long.Parse(messages[0].Split(' ')[7].TrimEnd(':'), System.Globalization.CultureInfo.InvariantCulture);
        await GeneratorHarness.ExpectAsync($"using ModelGen;\n{Tiny} [MemoryBudget(InferenceBytes = {needed})] public partial class Model;");
        await GeneratorHarness.ExpectAsync($"using ModelGen;\n{Tiny} [MemoryBudget(InferenceBytes = {{|MG0018:{needed - 1}|}})] public partial class Model;");
    }

    [Fact]
    public async Task Unsafe_code_must_be_allowed()
    {
        IReadOnlyList<string> messages = await GeneratorHarness.ExpectAsync(
            $"using ModelGen;\n[{{|MG0019:Gpt|}}(Layers = 1, DModel = 8, Heads = 2, Vocab = 11, Context = 6)] public partial class Model;\n{Use}",
            GeneratorHarness.ParseOptions,
            GeneratorHarness.Options.WithAllowUnsafe(false));
        Assert.Contains("AllowUnsafeBlocks", messages[0]);
    }

    [Theory]
    [InlineData(LanguageVersion.CSharp11, "11.0")]
    [InlineData(LanguageVersion.CSharp9, "9.0")]
    public async Task Language_version_must_be_recent(LanguageVersion version, string name)
    {
        IReadOnlyList<string> messages = await GeneratorHarness.ExpectAsync(
            "using ModelGen;\n[{|MG0020:Gpt|}(Layers = 1, DModel = 8, Heads = 2, Vocab = 11, Context = 6)] public partial class Model { }\n",
            GeneratorHarness.ParseOptions.WithLanguageVersion(version),
            GeneratorHarness.Options);
        Assert.StartsWith($"'Model' cannot be compiled as C# {name}; ", messages[0], StringComparison.Ordinal);
    }

    [Fact]
    public Task Oldest_supported_language_version_is_enough()
        => GeneratorHarness.ExpectAsync(
            $"using ModelGen;\n{Tiny} [Trainable(BatchSize = 2, SequenceLength = 3)] public partial class Model;\n{Use}",
            GeneratorHarness.ParseOptions.WithLanguageVersion(LanguageVersion.CSharp12),
            GeneratorHarness.Options);

    [Theory]
    [InlineData("Model", "public static Model {|MG0021:Create|}(int number) => null!;")]
    [InlineData("Model", "public int {|MG0021:ParameterCount|} => 0;")]
    [InlineData("Model", "public sealed class {|MG0021:Session|} { }")]
    [InlineData("Model", "public void {|MG0021:Save|}(string file) { }")]
    public async Task Members_must_not_collide_with_emitted_ones(string name, string member)
    {
        MarkedSource source = MarkedSource.Parse($"using ModelGen;\n{Tiny} public partial class {name} {{ {member} }}");
        GeneratorRun run = GeneratorHarness.Run(source.Text);

        // The C# compiler reports the duplicate as well, on whichever of the two it happens to see last.
        Diagnostic diagnostic = Assert.Single(await GeneratorHarness.ModelDiagnosticsAsync(run));
        Assert.Equal(Assert.Single(source.Expected), (diagnostic.Id, diagnostic.Location.SourceSpan));
        Assert.Equal("File0.cs", diagnostic.Location.SourceTree!.FilePath);
    }

    [Fact]
    public async Task Class_must_not_have_the_name_of_an_emitted_member()
    {
        MarkedSource source = MarkedSource.Parse($"using ModelGen;\n{Tiny} public partial class {{|MG0021:Parameters|}};");
        Diagnostic diagnostic = Assert.Single(await GeneratorHarness.ModelDiagnosticsAsync(GeneratorHarness.Run(source.Text)));
        Assert.Equal(Assert.Single(source.Expected), (diagnostic.Id, diagnostic.Location.SourceSpan));
    }

    /// <summary>The nested types are called otherwise there, since a member cannot have its class's name.</summary>
    [Theory]
    [InlineData("Session")]
    [InlineData("Trainer")]
    public async Task Class_may_be_called_as_the_emitted_nested_types_are(string name)
    {
        GeneratorRun run = GeneratorHarness.Run($"using ModelGen;\n/// <summary>Documented.</summary>\n{Tiny} [Trainable(BatchSize = 2, SequenceLength = 3)] public partial class {name};");
        Assert.Empty(await GeneratorHarness.DiagnosticsAsync(run));
        INamedTypeSymbol model = run.Output.GetTypeByMetadataName(name)!;
        Assert.Equal(new[] { "Session", "Trainer" }.Select(n => n == name ? "Model" + n : n).Order(StringComparer.Ordinal), model.GetTypeMembers().Select(t => t.Name).Order(StringComparer.Ordinal));
    }

    [Fact]
    public Task All_problems_are_reported_at_once()
        => GeneratorHarness.ExpectAsync(
            $$"""
            using ModelGen;
            [Gpt(Layers = {|MG0007:-1|}, DModel = {|MG0008:10|}, Heads = 4, Vocab = {|MG0007:0|}, Context = 16, Activation = {|MG0011:(Activation)77|}, Dropout = {|MG0010:1|}, LayerNormEpsilon = {|MG0010:0|})]
            [Trainable(BatchSize = {|MG0007:0|}, SequenceLength = {|MG0009:17|})]
            public abstract partial class {|MG0003:Model|};
            {{Use}}
            """);

    [Theory]
    [InlineData("[Gpt(Layers = {|CS0029:\"two\"|}, DModel = 8, Heads = 3, Vocab = 11, Context = 6)] public partial class Model;")]
    [InlineData("[Gpt({|CS0246:Layer|} = 2, DModel = 8, Heads = 3, Vocab = 11, Context = 6)] public partial class Model;")]
    [InlineData("[Gpt(Layers = {|CS0103:Unknown|}, DModel = 8, Heads = 3, Vocab = 11, Context = 6)] public partial class Model;")]
    [InlineData("[Mlp(2, {|CS0182:Use.NotConstant|}, 0)] public partial class Model;")]
    public Task What_the_compiler_rejects_is_not_reported_twice(string declaration)
        => GeneratorHarness.ExpectAsync($"using ModelGen;\n{declaration}\nstatic class Use {{ public static int NotConstant = 1; static object M() => Model.Create(1); }}");

    [Fact]
    public void Generator_reports_no_diagnostics_of_declarations()
    {
        GeneratorRun run = GeneratorHarness.Run("using ModelGen;\n[Gpt(Layers = 0)] public partial class Model; [Mlp(0)] class Other;");
        Assert.Empty(run.Result.Diagnostics);
    }

    [Theory]
    [InlineData("// <auto-generated/>\n")]
    [InlineData("")]
    public async Task Declaration_in_a_file_marked_as_generated_is_checked(string header)
    {
        GeneratorRun run = GeneratorHarness.Run($"{header}using ModelGen;\n[Mlp(0, 2)] public partial class Model;");
        Assert.Equal(["MG0007"], (await GeneratorHarness.DiagnosticsAsync(run)).Select(diagnostic => diagnostic.Id));
    }

    [Fact]
    public async Task Severity_can_be_configured_like_that_of_any_analyzer()
    {
        GeneratorRun run = GeneratorHarness.Run(GeneratorHarness.Compile(
            GeneratorHarness.ParseOptions,
            GeneratorHarness.Options.WithSpecificDiagnosticOptions([new("MG0015", ReportDiagnostic.Suppress)]),
            "using ModelGen;\n[Mlp(2, 3, 2)] [Trainable(BatchSize = 4, SequenceLength = 5)] public partial class Model;"));
        Assert.Empty(await run.Output.WithAnalyzers([new ModelDeclarationAnalyzer()]).GetAnalyzerDiagnosticsAsync());
    }
}
