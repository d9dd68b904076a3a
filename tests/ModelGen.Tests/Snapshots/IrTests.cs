using ModelGen.Compiler;
using ModelGen.Compiler.Autodiff;
using ModelGen.Compiler.Families;
using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Passes;
using ModelGen.Tests.Infrastructure;

namespace ModelGen.Tests.Snapshots;

/// <summary>The text of the graphs of tiny models: as a family builds them, and with the derived backward program.</summary>
public sealed class IrTests
{
    private static readonly ModelSpec TinyGpt = Spec(
        "Gpt",
        new TrainingSpec(2, 4),
        DeclaredArgument.Of("Layers", 1L),
        DeclaredArgument.Of("DModel", 8L),
        DeclaredArgument.Of("Heads", 2L),
        DeclaredArgument.Of("Vocab", 11L),
        DeclaredArgument.Of("Context", 6L));

    private static readonly ModelSpec TinyLstm = Spec(
        "RecurrentLm",
        new TrainingSpec(2, 4),
        DeclaredArgument.Of("Cell", 1L),
        DeclaredArgument.Of("Hidden", 5L),
        DeclaredArgument.Of("Embedding", 3L),
        DeclaredArgument.Of("Vocab", 7L));

    private static readonly ModelSpec TinyRegressor = Spec(
        "RecurrentRegressor",
        new TrainingSpec(2, 4),
        DeclaredArgument.Of("Cell", 2L),
        DeclaredArgument.Of("Hidden", 5L),
        DeclaredArgument.Of("Inputs", 3L),
        DeclaredArgument.Of("Outputs", 2L));

    private static readonly ModelSpec TinyTagger = Spec(
        "RecurrentTagger",
        new TrainingSpec(2, 4),
        DeclaredArgument.Of("Cell", 0L),
        DeclaredArgument.Of("Hidden", 5L),
        DeclaredArgument.Of("Embedding", 3L),
        DeclaredArgument.Of("Vocab", 7L),
        DeclaredArgument.Of("Tags", 4L));

    private static readonly ModelSpec TinyBert = Spec(
        "Bert",
        new TrainingSpec(2, 4),
        DeclaredArgument.Of("Layers", 1L),
        DeclaredArgument.Of("DModel", 8L),
        DeclaredArgument.Of("Heads", 2L),
        DeclaredArgument.Of("FeedForward", 9L),
        DeclaredArgument.Of("Vocab", 11L),
        DeclaredArgument.Of("Context", 6L),
        DeclaredArgument.Of("Head", 1L),
        DeclaredArgument.Of("NextSentence", 1L));

    private static readonly ModelSpec TinyModernBert = Spec(
        "ModernBert",
        new TrainingSpec(2, 4),
        DeclaredArgument.Of("Layers", 2L),
        DeclaredArgument.Of("DModel", 8L),
        DeclaredArgument.Of("Heads", 2L),
        DeclaredArgument.Of("FeedForward", 9L),
        DeclaredArgument.Of("Vocab", 11L),
        DeclaredArgument.Of("Context", 6L),
        DeclaredArgument.Of("Head", 1L),
        DeclaredArgument.Of("Attention", 1L),
        DeclaredArgument.Of("LayerWindows", [0, 3]));

    private static readonly ModelSpec TinyDecoder = Spec(
        "Decoder",
        new TrainingSpec(2, 4),
        DeclaredArgument.Of("Layers", 1L),
        DeclaredArgument.Of("DModel", 8L),
        DeclaredArgument.Of("Heads", 2L),
        DeclaredArgument.Of("KeyValueHeads", 1L),
        DeclaredArgument.Of("FeedForward", 9L),
        DeclaredArgument.Of("Vocab", 11L),
        DeclaredArgument.Of("Context", 6L));

    private static readonly ModelSpec TinyNnlm = Spec(
        "Nnlm", new TrainingSpec(2, 0), DeclaredArgument.Of("Window", 2L), DeclaredArgument.Of("Embedding", 3L), DeclaredArgument.Of("Hidden", 5L), DeclaredArgument.Of("Vocab", 7L));

    private static readonly ModelSpec TinyWords = Spec("WordAutoencoder", new TrainingSpec(2, 0), DeclaredArgument.Of("Vocab", 7L), DeclaredArgument.Of("Code", 3L));

    private static readonly ModelSpec TinySeq2Seq = Spec(
        "RecurrentSeq2Seq",
        new TrainingSpec(2, 4),
        DeclaredArgument.Of("Cell", 2L),
        DeclaredArgument.Of("Hidden", 5L),
        DeclaredArgument.Of("Embedding", 3L),
        DeclaredArgument.Of("SourceVocab", 7L),
        DeclaredArgument.Of("TargetVocab", 6L),
        DeclaredArgument.Of("Attention", 2L));

    private static readonly ModelSpec TinyTransformer = Spec(
        "Transformer",
        new TrainingSpec(2, 4) { SourceLength = 3 },
        DeclaredArgument.Of("EncoderLayers", 1L),
        DeclaredArgument.Of("DecoderLayers", 1L),
        DeclaredArgument.Of("DModel", 8L),
        DeclaredArgument.Of("Heads", 2L),
        DeclaredArgument.Of("FeedForward", 16L),
        DeclaredArgument.Of("SourceVocab", 7L),
        DeclaredArgument.Of("TargetVocab", 9L),
        DeclaredArgument.Of("Context", 6L));

    private static readonly ModelSpec TinyMlp = Spec("Mlp", new TrainingSpec(2, 0), DeclaredArgument.Of("Sizes", [3, 5, 2]));

    [Fact]
    public void Bert_as_built() => Snapshot.Verify(GraphPrinter.Print(Build(TinyBert, BuildMode.Training)));

    [Fact]
    public void Decoder_as_built() => Snapshot.Verify(GraphPrinter.Print(Build(TinyDecoder, BuildMode.Inference)));

    [Fact]
    public void Decoder_differentiated() => Snapshot.Verify(GraphPrinter.Print(Differentiate(TinyDecoder)));

    [Fact]
    public void Short_convolution_differentiated() => Snapshot.Verify(GraphPrinter.Print(Differentiate(TinyDecoder with { Arguments = [.. TinyDecoder.Arguments, DeclaredArgument.Of("Mixers", [1])] })));

    [Fact]
    public void Mixture_of_experts_differentiated() => Snapshot.Verify(GraphPrinter.Print(Differentiate(TinyDecoder with { Arguments = [.. TinyDecoder.Arguments, DeclaredArgument.Of("Experts", 4L), DeclaredArgument.Of("ActiveExperts", 2L), DeclaredArgument.Of("BalanceLoss", 0.01)] })));

    [Fact]
    public void Nnlm_as_built() => Snapshot.Verify(GraphPrinter.Print(Build(TinyNnlm, BuildMode.Training)));

    [Fact]
    public void Word_autoencoder_as_built() => Snapshot.Verify(GraphPrinter.Print(Build(TinyWords, BuildMode.Training)));

    [Fact]
    public void Modern_bert_as_built() => Snapshot.Verify(GraphPrinter.Print(Build(TinyModernBert, BuildMode.Training)));

    [Fact]
    public void Gpt_as_built() => Snapshot.Verify(GraphPrinter.Print(Build(TinyGpt, BuildMode.Inference)));

    [Fact]
    public void Gpt_differentiated() => Snapshot.Verify(GraphPrinter.Print(Differentiate(TinyGpt)));

    /// <summary>The encoder, which ends with what it remembers; the decoder; and both as a training step has them.</summary>
    [Fact]
    public void Transformer_as_built()
        => Snapshot.VerifyFiles(new[] { "Encode", "Decode", "Step" }.Select(entry => ($"{entry}.txt", GraphPrinter.Print(FamilyRegistry.Get("Transformer").Describe(TinyTransformer).Entry(entry).Build()))));

    /// <summary>Self-attention to windows and a first token, in both directions, and to the whole source across; with a table of biases for each stack.</summary>
    [Fact]
    public void Transformer_with_windows_as_built()
        => Snapshot.Verify(GraphPrinter.Print(Build(
            TinyTransformer with
            {
                Arguments =
                [
                    .. TinyTransformer.Arguments, DeclaredArgument.Of("Attention", 1L), DeclaredArgument.Of("Window", 2L), DeclaredArgument.Of("GlobalTokens", 1L),
                    DeclaredArgument.Of("Positions", 3L), DeclaredArgument.Of("RelativeBuckets", 4L), DeclaredArgument.Of("RelativeDistance", 4L),
                ],
            },
            BuildMode.Training)));

    /// <summary>Encoder and decoder of T5 as a training step has them.</summary>
    [Fact]
    public void T5_as_built() => Snapshot.Verify(GraphPrinter.Print(Build(
        Spec("T5", new TrainingSpec(2, 4) { SourceLength = 3 }, DeclaredArgument.Of("Layers", 1L), DeclaredArgument.Of("DModel", 8L), DeclaredArgument.Of("Heads", 2L), DeclaredArgument.Of("HeadWidth", 3L),
            DeclaredArgument.Of("FeedForward", 9L), DeclaredArgument.Of("Vocab", 11L), DeclaredArgument.Of("Context", 6L), DeclaredArgument.Of("RelativeBuckets", 4L), DeclaredArgument.Of("RelativeDistance", 4L)),
        BuildMode.Training)));

    [Fact]
    public void Lstm_as_built() => Snapshot.Verify(GraphPrinter.Print(Build(TinyLstm, BuildMode.Inference)));

    [Fact]
    public void Lstm_differentiated() => Snapshot.Verify(GraphPrinter.Print(Differentiate(TinyLstm)));

    [Fact]
    public void Regressor_as_built() => Snapshot.Verify(GraphPrinter.Print(Build(TinyRegressor, BuildMode.Inference)));

    [Fact]
    public void Regressor_differentiated() => Snapshot.Verify(GraphPrinter.Print(Differentiate(TinyRegressor)));

    [Fact]
    public void Tagger_as_built() => Snapshot.Verify(GraphPrinter.Print(Build(TinyTagger, BuildMode.Training)));

    [Fact]
    public void Seq2Seq_as_built() => Snapshot.Verify(GraphPrinter.Print(Build(TinySeq2Seq, BuildMode.Training)));

    [Fact]
    public void Mlp_differentiated() => Snapshot.Verify(GraphPrinter.Print(Differentiate(TinyMlp)));

    [Fact]
    public void Adapters_differentiated()
    {
        global::ModelGen.Compiler.Programs.ModelProgram program = FamilyRegistry.Get(TinyMlp.Family).Describe(TinyMlp);
        global::ModelGen.Compiler.Programs.EntryPoint step = program.Find(global::ModelGen.Compiler.Programs.EntryKind.Step)!;
        ModelGraph adapted = Assert.Single(LowRankAdapters.Add([step.Build()], new LoraSpec(2, 4, 0.1, ["fc1"]), [step]));
        Snapshot.Verify(GraphPrinter.Print(ModelCompiler.StepGraph(step, adapted, program.Frozen, default)));
    }

    private static ModelSpec Spec(string family, TrainingSpec training, params DeclaredArgument[] arguments)
        => new(new TypeIdentity("", [], "Tiny", "public", "Tiny"), family, new EquatableArray<DeclaredArgument>(arguments), training, null);

    private static ModelGraph Build(ModelSpec spec, BuildMode mode) => FamilyRegistry.Get(spec.Family).Build(spec, mode);

    private static ModelGraph Differentiate(ModelSpec spec)
    {
        ModelGraph bound = BindExtents.Run(Build(spec, BuildMode.Training), spec.Training!.BatchSize, Math.Max(1, spec.Training.SequenceLength));
        return Simplify.Run(RemoveStopGradient.Run(ReverseMode.Differentiate(ExpandComposites.BeforeDifferentiation(bound), "loss")));
    }
}
