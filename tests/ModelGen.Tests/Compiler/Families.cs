using ModelGen.Compiler;
using ModelGen.Compiler.Families;
using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Programs;

namespace ModelGen.Tests.Compiler;

/// <summary>Small declarations of every family, as the front end would read them.</summary>
internal static class Families
{
    /// <summary>Every declaration by a name that test output shows.</summary>
    public static IReadOnlyDictionary<string, ModelSpec> All { get; } = Declare().ToDictionary(p => p.Name, p => p.Spec);

    public static TheoryData<string> Names => [.. All.Keys];

    public static TheoryData<string> LanguageModels => [.. All.Where(p => p.Value.Family is "Gpt" or "RecurrentLm" or "Decoder" or "Gemma" or "Llama" or "Lfm2" or "Qwen" or "Granite" or "Mamba2" or "GptOss" or "Gemma3n" or "Gemma4").Select(p => p.Key)];

    /// <summary>The forward graph, with the adapters that are declared.</summary>
    public static ModelGraph Build(string name, BuildMode mode)
    {
        ModelGraph graph = FamilyRegistry.Get(All[name].Family).Build(All[name], mode);
        return All[name].Lora is { } lora
            ? Assert.Single(global::ModelGen.Compiler.Passes.LowRankAdapters.Add([graph], lora, [FamilyRegistry.Get(All[name].Family).Describe(All[name]).Find(mode == BuildMode.Training ? EntryKind.Step : EntryKind.Infer)!]))
            : graph;
    }

    /// <summary>The training graph with its extents bound to the declaration's.</summary>
    public static ModelGraph Training(string name)
    {
        TrainingSpec training = All[name].Training!;
        return global::ModelGen.Compiler.Passes.BindExtents.Run(Build(name, BuildMode.Training), training.BatchSize, Math.Max(1, training.SequenceLength));
    }

    public static ModelSpec Spec(string family, int batch, int sequence, params DeclaredArgument[] arguments)
        => new(new TypeIdentity("Tests", [], "Model", "public", "Tests.Model"), family, new EquatableArray<DeclaredArgument>(arguments), new TrainingSpec(batch, sequence), null);

    /// <summary>A declaration whose sources have a length of their own.</summary>
    public static ModelSpec Pairs(ModelSpec spec, int sourceLength) => spec with { Training = spec.Training! with { SourceLength = sourceLength } };

    private static IEnumerable<(string Name, ModelSpec Spec)> Declare()
    {
        DeclaredArgument I(string name, long value) => DeclaredArgument.Of(name, value);
        DeclaredArgument R(string name, double value) => DeclaredArgument.Of(name, value);
        DeclaredArgument[] gpt = [I("Layers", 2), I("DModel", 8), I("Heads", 2), I("Vocab", 11), I("Context", 6)];
        yield return ("gpt", Spec("Gpt", 2, 5, gpt));
        yield return ("gpt untied without bias", Spec("Gpt", 2, 6, [.. gpt, I("TieEmbeddings", 0), I("Bias", 0), I("Activation", 0), I("FeedForward", 13)]));
        yield return ("gpt with dropout", Spec("Gpt", 3, 4, [.. gpt, R("Dropout", 0.25), I("Activation", 1), I("QkvBias", 0)]));
        yield return ("gpt with shared keys", Spec("Gpt", 2, 5, [I("Layers", 2), I("DModel", 16), I("Heads", 4), I("KeyValueHeads", 2), I("Vocab", 11), I("Context", 6)]));
        yield return ("gpt with a window", Spec("Gpt", 2, 9, [I("Layers", 2), I("DModel", 8), I("Heads", 2), I("Vocab", 11), I("Context", 12), I("Attention", 1), I("Window", 3)]));
        yield return ("gpt with a window and no positions", Spec("Gpt", 2, 9, [I("Layers", 2), I("DModel", 8), I("Heads", 4), I("KeyValueHeads", 2), I("Vocab", 11), I("Attention", 1), I("Window", 2), I("Positions", 1)]));
        yield return ("gpt with linear biases", Spec("Gpt", 2, 9, [I("Layers", 2), I("DModel", 9), I("Heads", 3), I("Vocab", 11), I("Context", 12), I("Attention", 1), I("Window", 5), I("Positions", 2)]));
        yield return ("gpt with relative biases", Spec("Gpt", 2, 9, [I("Layers", 2), I("DModel", 8), I("Heads", 4), I("KeyValueHeads", 2), I("Vocab", 11), I("Context", 12), I("Positions", 3), I("RelativeBuckets", 6), I("RelativeDistance", 8)]));
        yield return ("gpt with global tokens", Spec("Gpt", 2, 9, [I("Layers", 2), I("DModel", 8), I("Heads", 2), I("Vocab", 11), I("Attention", 1), I("Window", 3), I("GlobalTokens", 2), I("Positions", 3), I("RelativeBuckets", 4), I("RelativeDistance", 8)]));
        yield return ("gpt with a stride", Spec("Gpt", 2, 9, [I("Layers", 2), I("DModel", 8), I("Heads", 2), I("Vocab", 11), I("Context", 12), I("Attention", 2), I("Stride", 3)]));
        yield return ("gpt with blocks", Spec("Gpt", 2, 9, [I("Layers", 2), I("DModel", 8), I("Heads", 2), I("KeyValueHeads", 1), I("Vocab", 11), I("Context", 12), I("Attention", 3), I("Stride", 4), I("SummaryTokens", 2), I("Positions", 2)]));
        yield return ("gpt of one of everything", Spec("Gpt", 1, 1, I("Layers", 1), I("DModel", 1), I("Heads", 1), I("Vocab", 2), I("Context", 1)));
        foreach ((int number, string loss) in new[] { (0, "cross-entropy"), (1, "squared error"), (2, "binary cross-entropy") })
        {
            yield return ($"mlp {loss}", Spec("Mlp", 3, 0, DeclaredArgument.Of("Sizes", [5, 7, 4, 3]), I("Loss", number), I("Activation", 3)));
        }

        yield return ("mlp with activated outputs", Spec("Mlp", 5, 0, DeclaredArgument.Of("Sizes", [3, 17, 2]), I("Loss", 1), I("Activation", 5), I("OutputActivation", 4), I("Bias", 0)));
        DeclaredArgument[] bert = [I("Layers", 2), I("DModel", 12), I("Heads", 3), I("FeedForward", 17), I("Vocab", 13), I("Context", 7)];
        yield return ("bert masked", Spec("Bert", 2, 5, [.. bert, I("Head", 1), I("MaxBatch", 3), I("Embeddings", 1), I("Normalize", 1)]));
        yield return ("bert pre-training with dropout", Spec("Bert", 3, 6, [.. bert, I("Head", 1), I("NextSentence", 1), R("Dropout", 0.25), I("Recompute", 1), I("Activation", 0)]));
        yield return ("bert sequence classifier", Spec("Bert", 3, 7, [.. bert, I("Head", 2), I("Classes", 4), I("Segments", 3), I("Embeddings", 2)]));
        yield return ("nnlm", Spec("Nnlm", 3, 0, I("Window", 3), I("Embedding", 5), I("Hidden", 7), I("Vocab", 11)));
        yield return ("nnlm without direct connections", Spec("Nnlm", 5, 0, I("Window", 1), I("Embedding", 3), I("Hidden", 9), I("Vocab", 2), I("DirectConnections", 0)));
        yield return ("word autoencoder", Spec("WordAutoencoder", 4, 0, I("Vocab", 13), I("Code", 5), I("Window", 3)));
        yield return ("bert behind two rows of positions", Spec("Bert", 2, 5, [.. bert, I("Head", 1), I("FirstPosition", 2), I("Segments", 1), I("MaxBatch", 2), I("Embeddings", 1)]));
        yield return ("bert token classifier", Spec("Bert", 2, 3, [.. bert, I("Head", 3), I("Classes", 5)]));
        foreach ((int number, string cell) in new[] { (0, "rnn"), (1, "lstm"), (2, "gru") })
        {
            DeclaredArgument[] sizes = [I("Cell", number), I("Layers", 2), I("Hidden", 5), I("Vocab", 7)];
            yield return (cell, Spec("RecurrentLm", 2, 4, [.. sizes, I("Embedding", 3)]));
            yield return ($"{cell} tied with dropout", Spec("RecurrentLm", 3, 3, [.. sizes, I("TieEmbeddings", 1), R("Dropout", 0.3)]));
            yield return ($"{cell} regressor", Spec("RecurrentRegressor", 3, 4, I("Cell", number), I("Layers", 2), I("Hidden", 5), I("Inputs", 3), I("Outputs", 2), R("Dropout", 0.3), I("CarryState", number & 1)));
            yield return ($"{cell} to {cell}", Spec("RecurrentSeq2Seq", 3, 4, [I("Cell", number), I("Layers", 2), I("Hidden", 5), I("Embedding", 3), I("SourceVocab", 7), I("TargetVocab", 6), I("Attention", number), I("AttentionWeights", number == 0 ? 0 : 1), I("SourceContext", 4), R("Dropout", 0.3), I("MaxBatch", 2)]));
            yield return ($"{cell} tagger", Spec("RecurrentTagger", 3, 4, [.. sizes, I("Embedding", 3), I("Tags", 4), R("Dropout", 0.3), I("Bidirectional", number & 1), I("Context", 6), I("MaxBatch", 2)]));
        }

        DeclaredArgument[] transformer = [I("EncoderLayers", 2), I("DecoderLayers", 2), I("DModel", 8), I("Heads", 2), I("FeedForward", 11), I("SourceVocab", 9), I("TargetVocab", 7), I("Context", 6)];
        yield return ("transformer", Pairs(Spec("Transformer", 2, 5, transformer), sourceLength: 4));
        yield return ("transformer with norms before", Spec("Transformer", 2, 4,
            [.. transformer.Where(a => a.Name != "TargetVocab"), I("TargetVocab", 9), I("PreNorm", 1), I("Shared", 2), I("Positions", 0), I("SourceContext", 5), R("LabelSmoothing", 0.1), R("Dropout", 0.2), I("Activation", 1)]));
        yield return ("transformer without bias", Pairs(Spec("Transformer", 1, 3, [.. transformer, I("Bias", 0), I("Shared", 1), I("FinalNorm", 1), I("Positions", 5), I("FirstPosition", 1), I("AttentionWeights", 1), I("MaxBatch", 3)]), sourceLength: 6));
        yield return ("gpt with windows of layers", Spec("Gpt", 2, 9, [I("Layers", 3), I("DModel", 8), I("Heads", 2), I("Vocab", 11), I("Context", 12), I("Attention", 1), DeclaredArgument.Of("LayerWindows", [3, 0]), I("Positions", 4)]));
        DeclaredArgument[] relative = [I("Positions", 3), I("RelativeBuckets", 6), I("RelativeDistance", 8)];
        yield return ("bert with a window and global tokens", Spec("Bert", 3, 7, [.. bert, I("Head", 3), I("Classes", 5), I("Attention", 1), I("Window", 2), I("GlobalTokens", 1), .. relative]));
        yield return ("bert with a window and linear biases", Spec("Bert", 2, 6, [.. bert, I("Head", 1), I("Attention", 1), I("Window", 3), I("Positions", 2), I("MaxBatch", 2)]));
        yield return ("bert with a stride", Spec("Bert", 2, 7, [.. bert, I("Head", 1), I("Attention", 2), I("Stride", 3), I("Positions", 4)]));
        yield return ("bert with blocks", Spec("Bert", 2, 7, [.. bert, I("Head", 1), I("Attention", 3), I("Stride", 3), I("SummaryTokens", 2), I("Positions", 1)]));
        yield return ("modern bert", Spec("ModernBert", 2, 6, [.. bert, I("Head", 1), I("Attention", 1), DeclaredArgument.Of("LayerWindows", [0, 3]), I("MaxBatch", 2), I("Embeddings", 1), R("Dropout", 0.2), I("Recompute", 1)]));
        yield return ("modern bert classifier", Spec("ModernBert", 3, 5, [.. bert, I("Head", 2), I("Classes", 4), I("ClassifierPooling", 1)]));
        yield return ("bert with norms before and rotary positions", Spec("Bert", 2, 7, [.. bert, I("Head", 2), I("Classes", 3), I("PreNorm", 1), I("GatedFeedForward", 1), I("Bias", 0), I("Positions", 6), R("RotaryFraction", 0.5), I("ClassifierPooling", 2)]));
        yield return ("transformer with a window and relative biases", Pairs(Spec("Transformer", 3, 6, [.. transformer, I("Attention", 1), I("Window", 3), I("MaxBatch", 2), .. relative]), sourceLength: 5));
        yield return ("transformer with global tokens", Pairs(Spec("Transformer", 2, 6, [.. transformer, I("Attention", 1), DeclaredArgument.Of("LayerWindows", [2, 3]), I("GlobalTokens", 1), I("Positions", 2), I("AttentionWeights", 1)]), sourceLength: 5));
        yield return ("transformer with blocks", Pairs(Spec("Transformer", 2, 6, [.. transformer, I("Attention", 3), I("Stride", 3), I("Positions", 1)]), sourceLength: 5));
        DeclaredArgument[] t5 = [I("Layers", 2), I("DModel", 8), I("Heads", 2), I("HeadWidth", 5), I("FeedForward", 11), I("Vocab", 9), I("Context", 6), I("RelativeBuckets", 4), I("RelativeDistance", 5)];
        yield return ("t5", Pairs(Spec("T5", 2, 5, [.. t5, I("MaxBatch", 2)]), sourceLength: 4));
        yield return ("t5 of the first kind", Pairs(Spec("T5", 3, 4, [.. t5, I("DecoderLayers", 1), I("GatedFeedForward", 0), I("Activation", 0), I("TieEmbeddings", 1), R("Dropout", 0.2), R("LabelSmoothing", 0.1), I("AttentionWeights", 1)]), sourceLength: 6));
        DeclaredArgument[] decoder = [I("Layers", 2), I("DModel", 12), I("Heads", 4), I("KeyValueHeads", 2), I("HeadWidth", 6), I("FeedForward", 17), I("Vocab", 11), I("Context", 12)];
        yield return ("decoder", Spec("Decoder", 2, 9, decoder));
        yield return ("decoder of interleaved pairs", Spec("Decoder", 3, 5, [.. decoder, I("RotaryLayout", 1), I("TieEmbeddings", 1), I("QkvBias", 1), R("Dropout", 0.25), I("Recompute", 1)]));
        yield return ("decoder of half-turned heads", Spec("Decoder", 1, 12, [.. decoder, R("RotaryFraction", 0.4), R("RotaryBase", 100), I("Attention", 1), DeclaredArgument.Of("LayerWindows", [3, 0])]));
        yield return ("qwen", Spec("Qwen", 2, 9, decoder));
        yield return ("gemma", Spec("Gemma", 2, 9, [.. decoder, I("Attention", 1), DeclaredArgument.Of("LayerWindows", [3, 0]), R("LogitSoftCap", 2), R("AttentionSoftCap", 3), I("RotaryScaling", 1), R("RotaryFactor", 3)]));
        yield return ("phi", Spec("Phi", 2, 9, [.. decoder, R("RotaryFraction", 0.7)]));
        yield return ("decoder of parallel norms", Spec("Decoder", 2, 9, [.. decoder, I("Norm", 2), I("NormBias", 0), I("Form", 2), I("GatedFeedForward", 0), I("Activation", 1), I("OutputBias", 1), I("FeedForwardBias", 1), I("HeadBias", 1)]));
        yield return ("llama with multipliers", Spec("Llama", 2, 9, [.. decoder, R("EmbeddingMultiplier", 3), R("ResidualMultiplier", 0.5), R("LogitScale", 0.5), R("AttentionScale", 0.3), DeclaredArgument.Of("RotaryPattern", [0, 1]), I("RotaryScaling", 2), R("RotaryFactor", 4), I("RotaryOriginalContext", 8)]));
        yield return ("mistral with norms behind", Spec("Mistral", 2, 9, [.. decoder, I("NormPlacement", 1), I("QueryKeyNorm", 2), I("GatedFeedForward", 0), I("Activation", 9), I("RotaryScaling", 3), R("RotaryFactor", 4), I("RotaryOriginalContext", 40), I("HeadBias", 1), I("TieEmbeddings", 1)]));
        DeclaredArgument[] lists = [DeclaredArgument.OfReals("RotaryShortFactors", [1, 1.5, 2.5]), DeclaredArgument.OfReals("RotaryLongFactors", [1.25, 3, 7])];
        yield return ("decoder of long texts", Spec("Llama", 2, 9, [.. decoder, I("RotaryScaling", 4), I("RotaryOriginalContext", 11), R("RotaryFactor", 4), .. lists]));
        yield return ("decoder with norms of an offset", Spec("Decoder", 2, 9, [.. decoder, I("Norm", 3), I("EmbeddingNorm", 1), I("GatedFeedForward", 0), I("Activation", 9), I("RotaryScaling", 4), I("RotaryOriginalContext", 12), R("RotaryAttentionFactor", 1.5), .. lists]));
        yield return ("decoder with linear biases", Spec("Decoder", 2, 9, [.. decoder, I("Positions", 2)]));
        yield return ("mixture of experts", Spec("Decoder", 2, 9, [.. decoder, I("Experts", 5), I("ActiveExperts", 2), R("BalanceLoss", 0.01), I("MaxBatch", 3)]));
        yield return ("mixture of experts and a shared one", Spec("Qwen", 3, 5, [.. decoder, I("Experts", 4), I("ActiveExperts", 3), I("NormalizeExperts", 0), I("SharedFeedForward", 10), I("SharedExpertGate", 1), I("Recompute", 1), I("GatedFeedForward", 0)]));
        DeclaredArgument[] delta = [DeclaredArgument.Of("Mixers", [2, 0]), I("LinearKeyHeads", 2), I("LinearKeyWidth", 3), I("ConvolutionTaps", 4)];
        yield return ("gated delta rule", Spec("Qwen", 2, 5, [.. decoder, .. delta, I("LinearValueHeads", 4), I("LinearValueWidth", 5), I("AttentionOutputGate", 1), R("RotaryFraction", 0.4), I("MaxBatch", 3)]));
        yield return ("gated delta rule alone", Spec("Decoder", 1, 3, [.. decoder, .. delta.Skip(1), DeclaredArgument.Of("Mixers", [2]), I("Norm", 1), I("TieEmbeddings", 1)]));
        yield return ("lfm2", Spec("Lfm2", 2, 9, [.. decoder, DeclaredArgument.Of("Mixers", [1, 0]), I("MaxBatch", 3)]));
        yield return ("decoder with adapters", Spec("Decoder", 2, 9, [.. decoder, I("Recompute", 1)]) with { Lora = new LoraSpec(3, 6, 0.25, ["*"]) });
        yield return ("lstm with adapters", Spec("RecurrentLm", 2, 4, [I("Cell", 1), I("Layers", 2), I("Hidden", 5), I("Vocab", 7), I("Embedding", 3)]) with { Lora = new LoraSpec(2, 2, 0, ["rnn.*", "decoder"]) });
        yield return ("decoder of long convolutions", Spec("Decoder", 1, 4, [.. decoder, DeclaredArgument.Of("Mixers", [1]), I("ConvolutionTaps", 6), I("ConvolutionBias", 1), I("Form", 1), R("Dropout", 0.25), I("Recompute", 1), I("MaxBatch", 2)]));
        DeclaredArgument[] states = [I("StateHeads", 4), I("StateSize", 3), I("StateHeadWidth", 5), I("ConvolutionTaps", 4)];
        yield return ("granite", Spec("Granite", 2, 5, [.. decoder, .. states, DeclaredArgument.Of("Mixers", [3, 0]), I("StateGroups", 2), R("ResidualMultiplier", 0.5), I("MaxBatch", 3)]));
        yield return ("mamba2", Spec("Mamba2", 1, 4, [I("Layers", 2), I("DModel", 12), I("Vocab", 11), .. states, I("StateBias", 1), I("Score", 1), I("MaxBatch", 3)]));
        yield return ("state space of bounded steps", Spec("Mamba2", 2, 5, [I("Layers", 2), I("DModel", 12), I("Vocab", 11), .. states, R("StateStepMinimum", 1.25), R("StateStepMaximum", 1.35), I("MaxBatch", 2)]));
        DeclaredArgument[] mixed = [.. decoder.Where(a => a.Name is not ("HeadWidth" or "KeyValueHeads" or "Layers")), I("Attention", 1)];
        yield return ("gpt-oss", Spec("GptOss", 2, 9, [.. decoder, I("Experts", 5), I("ActiveExperts", 2), I("Attention", 1), DeclaredArgument.Of("LayerWindows", [3, 0]), R("GateLimit", 0.3), I("MaxBatch", 3)]));
        yield return ("decoder with sinks", Spec("Decoder", 3, 5, [.. decoder, I("AttentionSinks", 1), I("AttentionOutputGate", 1), R("GateLimit", 0.2), R("UpOffset", 0.5), R("Dropout", 0.25), I("Recompute", 1)]));
        yield return ("gemma 3n", Spec("Gemma3n", 2, 9, [.. mixed, I("Layers", 3), I("HeadWidth", 6), DeclaredArgument.Of("LayerWindows", [3, 0, 3]), I("SharedKeyValueLayers", 1), I("PerLayerWidth", 5), I("LaurelRank", 3), I("Streams", 3),
            DeclaredArgument.OfReals("LayerSparsity", [0.7, 0]), R("NormEpsilon", 0.05), R("LogitSoftCap", 2), I("MaxBatch", 3)]));
        yield return ("gemma 3n with dropout", Spec("Gemma3n", 3, 5, [.. mixed, I("Layers", 2), I("HeadWidth", 6), DeclaredArgument.Of("LayerWindows", [3, 0]), I("LaurelRank", 0), I("Streams", 2), R("NormEpsilon", 0.05), R("Dropout", 0.25), I("Recompute", 1)]));
        yield return ("gemma 4", Spec("Gemma4", 2, 9, [.. mixed, I("Layers", 5), DeclaredArgument.Of("LayerWindows", [3, 3, 0, 3, 0]), DeclaredArgument.Of("LayerHeadWidths", [6, 6, 10, 6, 10]), DeclaredArgument.Of("LayerKeyValueHeads", [2, 2, 1, 2, 1]),
            DeclaredArgument.Of("LayerFeedForward", [17, 17, 17, 13, 13]), I("SharedKeyValueLayers", 2), I("PerLayerWidth", 5), R("LogitSoftCap", 2), I("MaxBatch", 3)]));
        yield return ("gemma 4 with dropout", Spec("Gemma4", 3, 5, [.. mixed, I("Layers", 3), I("HeadWidth", 6), DeclaredArgument.Of("LayerWindows", [3, 0, 3]), I("SharedKeyValueLayers", 1), I("PerLayerWidth", 3), R("Dropout", 0.25), I("Recompute", 1)]));
        yield return ("decoder of shared keys", Spec("Decoder", 2, 4, [.. decoder.Where(a => a.Name != "Layers"), I("Layers", 3), I("SharedKeyValueLayers", 2), I("ValueNorm", 1), I("LayerScale", 1), I("PerLayerWidth", 6), I("NormPlacement", 1), R("GlobalRotaryFraction", 0.5)]));
    }
}
