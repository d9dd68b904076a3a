using ModelGen.Compiler;
using ModelGen.Compiler.Families;
using ModelGen.Compiler.Ops;
using ModelGen.Compiler.Programs;
using ModelGen.Compiler.Targets.Cpu;
using ModelGen.Tests.Infrastructure;

namespace ModelGen.Tests.Snapshots;

/// <summary>What is emitted for tiny models, file by file: a change of the emitted code is seen in a review.</summary>
public sealed class EmittedModelTests
{
    /// <summary>Surface, weights, plans and kernels of a model that generates.</summary>
    [Fact]
    public void Gpt_for_inference() => Snapshot.VerifyFiles(Emit(training: null));

    /// <summary>Surface, weights and plans of the same model as it trains; its kernels are ten times those above, and tested by what they compute.</summary>
    [Fact]
    public void Gpt_for_training() => Snapshot.VerifyFiles(Emit(new TrainingSpec(2, 4)).Where(f => !f.Name.Contains("Kernels", StringComparison.Ordinal)));

    /// <summary>The surface and the plan of a step of a model of time series; a step of few units is a handful of kernels.</summary>
    [Fact]
    public void Regressor() => Snapshot.VerifyFiles(Emit("RecurrentRegressor", "TinyRegressor", DeclaredArgument.Of("Hidden", 8L), DeclaredArgument.Of("Inputs", 1L))
        .Where(f => f.Name.Contains("Next", StringComparison.Ordinal) || f.Name.Contains("Inference", StringComparison.Ordinal)));

    /// <summary>The surface and the plan of an encoder whose sentences are embedded.</summary>
    [Fact]
    public void Encoder() => Snapshot.VerifyFiles(Emit("Bert", "TinyBert", DeclaredArgument.Of("Layers", 1L), DeclaredArgument.Of("DModel", 8L), DeclaredArgument.Of("Heads", 2L),
            DeclaredArgument.Of("Vocab", 11L), DeclaredArgument.Of("Context", 6L), DeclaredArgument.Of("Embeddings", 1L), DeclaredArgument.Of("Normalize", 1L))
        .Where(f => f.Name.Contains("Embed", StringComparison.Ordinal) || f.Name.Contains("Inference", StringComparison.Ordinal)));

    /// <summary>The weights, the plan and the kernels of a step of a decoder with rotary positions.</summary>
    [Fact]
    public void Decoder() => Snapshot.VerifyFiles(Emit("Decoder", "TinyDecoder", DeclaredArgument.Of("Layers", 1L), DeclaredArgument.Of("DModel", 8L), DeclaredArgument.Of("Heads", 2L), DeclaredArgument.Of("KeyValueHeads", 1L),
            DeclaredArgument.Of("FeedForward", 9L), DeclaredArgument.Of("Vocab", 11L), DeclaredArgument.Of("Context", 6L))
        .Where(f => f.Name.Contains("Decode.", StringComparison.Ordinal) || f.Name.Contains("Weights", StringComparison.Ordinal)));

    /// <summary>The plan of a step of a decoder whose layer is a short convolution.</summary>
    [Fact]
    public void Decoder_with_a_convolution() => Snapshot.VerifyFiles(Emit("Lfm2", "TinyLfm2", DeclaredArgument.Of("Layers", 1L), DeclaredArgument.Of("DModel", 8L), DeclaredArgument.Of("Heads", 2L),
            DeclaredArgument.Of("FeedForward", 9L), DeclaredArgument.Of("Vocab", 11L), DeclaredArgument.Of("Context", 6L), DeclaredArgument.Of("Mixers", [1]))
        .Where(f => f.Name.Contains("Decode.", StringComparison.Ordinal)));

    /// <summary>The plan of a step of a decoder whose layer is a gated delta rule.</summary>
    [Fact]
    public void Decoder_with_a_gated_delta_rule() => Snapshot.VerifyFiles(Emit("Decoder", "TinyDelta", DeclaredArgument.Of("Layers", 1L), DeclaredArgument.Of("DModel", 8L), DeclaredArgument.Of("Heads", 2L),
            DeclaredArgument.Of("FeedForward", 9L), DeclaredArgument.Of("Vocab", 11L), DeclaredArgument.Of("Context", 6L), DeclaredArgument.Of("Mixers", [2]), DeclaredArgument.Of("LinearKeyHeads", 2L), DeclaredArgument.Of("LinearKeyWidth", 3L))
        .Where(f => f.Name.Contains("Decode.", StringComparison.Ordinal)));

    /// <summary>The plan of a step of a decoder whose feed-forward networks are experts, and the kernels.</summary>
    [Fact]
    public void Decoder_with_experts() => Snapshot.VerifyFiles(Emit("Decoder", "TinyMixture", DeclaredArgument.Of("Layers", 1L), DeclaredArgument.Of("DModel", 8L), DeclaredArgument.Of("Heads", 2L),
            DeclaredArgument.Of("FeedForward", 9L), DeclaredArgument.Of("Vocab", 11L), DeclaredArgument.Of("Context", 6L), DeclaredArgument.Of("Experts", 4L), DeclaredArgument.Of("ActiveExperts", 2L))
        .Where(f => f.Name.Contains("Decode.", StringComparison.Ordinal)));

    /// <summary>What each preset of a decoder has that a plain one has otherwise: options that its files record, and parameters.</summary>
    [Fact]
    public void Presets_of_a_decoder()
    {
        string[] plain = [.. Says("Decoder")];
        Snapshot.Verify(string.Concat(FamilyRegistry.All.OfType<Decoder>().Select(preset => $"{preset.Name}\n{string.Concat(Says(preset.Name).Except(plain).Select(line => $"  {line}\n"))}")));

        static IEnumerable<string> Says(string preset)
        {
            ModelProgram program = FamilyRegistry.Get(preset).Describe(new ModelSpec(
                new TypeIdentity("Example", [], "Tiny", "public", "Example.Tiny"),
                preset,
                [DeclaredArgument.Of("Layers", 1L), DeclaredArgument.Of("DModel", 8L), DeclaredArgument.Of("Heads", 2L), DeclaredArgument.Of("FeedForward", 9L), DeclaredArgument.Of("Vocab", 11L), DeclaredArgument.Of("Context", 6L)],
                null,
                null));
            return [.. program.Files.Options.Select(o => $"{o.Name} = {o.Value}"), .. program.Entries[0].Build().NodesOf<Parameter>().Select(node => (Parameter)node.Op).Select(p => $"{p.ParameterName} {p.Shape}")];
        }
    }

    /// <summary>The plan of a step of a decoder that is normalized before and behind its layers, queries and keys too.</summary>
    [Fact]
    public void Decoder_with_more_norms() => Snapshot.VerifyFiles(Emit("Gemma", "TinyGemma", DeclaredArgument.Of("Layers", 1L), DeclaredArgument.Of("DModel", 8L), DeclaredArgument.Of("Heads", 2L), DeclaredArgument.Of("KeyValueHeads", 1L),
            DeclaredArgument.Of("FeedForward", 9L), DeclaredArgument.Of("Vocab", 11L), DeclaredArgument.Of("Context", 6L))
        .Where(f => f.Name.Contains("Decode.", StringComparison.Ordinal)));

    /// <summary>The plan of a step of a decoder whose attention and feed-forward network run beside each other.</summary>
    [Fact]
    public void Parallel_decoder() => Snapshot.VerifyFiles(Emit("Phi", "TinyPhi", DeclaredArgument.Of("Layers", 1L), DeclaredArgument.Of("DModel", 8L), DeclaredArgument.Of("Heads", 2L),
            DeclaredArgument.Of("FeedForward", 9L), DeclaredArgument.Of("Vocab", 11L), DeclaredArgument.Of("Context", 6L))
        .Where(f => f.Name.Contains("Decode.", StringComparison.Ordinal)));

    /// <summary>The plans of the encoder and of a step of the decoder of T5.</summary>
    [Fact]
    public void Encoder_decoder_of_t5() => Snapshot.VerifyFiles(Emit("T5", "TinyT5", DeclaredArgument.Of("Layers", 1L), DeclaredArgument.Of("DModel", 8L), DeclaredArgument.Of("Heads", 2L), DeclaredArgument.Of("HeadWidth", 3L),
            DeclaredArgument.Of("FeedForward", 9L), DeclaredArgument.Of("Vocab", 11L), DeclaredArgument.Of("Context", 6L))
        .Where(f => f.Name.Contains("Decode.", StringComparison.Ordinal) || f.Name.Contains("Encode.", StringComparison.Ordinal)));

    /// <summary>The kernels, the plan of a step and the parameters of a decoder with quantized weights.</summary>
    [Fact]
    public void Decoder_with_quantized_weights() => Snapshot.VerifyFiles(Emit("Llama", "TinyQuantized", DeclaredArgument.Of("Layers", 1L), DeclaredArgument.Of("DModel", 32L), DeclaredArgument.Of("Heads", 2L),
            DeclaredArgument.Of("FeedForward", 64L), DeclaredArgument.Of("Vocab", 19L), DeclaredArgument.Of("Context", 6L), DeclaredArgument.Of("Weights", 3L))
        .Where(f => f.Name.Contains("Decode.", StringComparison.Ordinal) || f.Name.Contains("Weights", StringComparison.Ordinal) || f.Name.Contains("Kernels", StringComparison.Ordinal)));

    /// <summary>The surface and the plan of a prediction from a window.</summary>
    [Fact]
    public void Words_from_a_window() => Snapshot.VerifyFiles(Emit("Nnlm", "TinyNnlm", DeclaredArgument.Of("Window", 2L), DeclaredArgument.Of("Embedding", 3L), DeclaredArgument.Of("Hidden", 5L), DeclaredArgument.Of("Vocab", 7L))
        .Where(f => f.Name.Contains("Predict", StringComparison.Ordinal) || f.Name.Contains("Inference", StringComparison.Ordinal)));

    /// <summary>The surface and the plan of codes of words.</summary>
    [Fact]
    public void Codes_of_words() => Snapshot.VerifyFiles(Emit("WordAutoencoder", "TinyWords", DeclaredArgument.Of("Vocab", 7L), DeclaredArgument.Of("Code", 3L))
        .Where(f => f.Name.Contains("Predict", StringComparison.Ordinal) || f.Name.Contains("Inference", StringComparison.Ordinal)));

    /// <summary>The surface, the plan of one sentence and that of a padded batch of a stack that reads both ways.</summary>
    [Fact]
    public void Tagger() => Snapshot.VerifyFiles(Emit("RecurrentTagger", "TinyTagger", DeclaredArgument.Of("Cell", 1L), DeclaredArgument.Of("Layers", 1L), DeclaredArgument.Of("Hidden", 5L),
            DeclaredArgument.Of("Embedding", 3L), DeclaredArgument.Of("Vocab", 7L), DeclaredArgument.Of("Tags", 4L), DeclaredArgument.Of("Bidirectional", 1L), DeclaredArgument.Of("Context", 6L), DeclaredArgument.Of("MaxBatch", 2L))
        .Where(f => f.Name.Contains("Predict", StringComparison.Ordinal) || f.Name.Contains("Inference", StringComparison.Ordinal)));

    /// <summary>The surface, and the plans of a recurrent encoder and of a decoder that looks back at it.</summary>
    [Fact]
    public void Recurrent_encoder_and_decoder() => Snapshot.VerifyFiles(Emit("RecurrentSeq2Seq", "TinySeq2Seq", DeclaredArgument.Of("Cell", 2L), DeclaredArgument.Of("Layers", 1L), DeclaredArgument.Of("Hidden", 5L),
            DeclaredArgument.Of("Embedding", 3L), DeclaredArgument.Of("SourceVocab", 7L), DeclaredArgument.Of("TargetVocab", 6L), DeclaredArgument.Of("Attention", 1L), DeclaredArgument.Of("SourceContext", 4L))
        .Where(f => f.Name.Contains("code", StringComparison.Ordinal) || f.Name.Contains("Inference", StringComparison.Ordinal)));

    /// <summary>The surface and the plans of a recurrent model that generates.</summary>
    [Fact]
    public void Recurrent_language_model() => Snapshot.VerifyFiles(Emit("RecurrentLm", "TinyLstm", DeclaredArgument.Of("Cell", 1L), DeclaredArgument.Of("Layers", 1L), DeclaredArgument.Of("Hidden", 5L), DeclaredArgument.Of("Embedding", 3L), DeclaredArgument.Of("Vocab", 7L))
        .Where(f => f.Name.Contains("Decode", StringComparison.Ordinal) || f.Name.Contains("Inference", StringComparison.Ordinal)));

    /// <summary>The surface, the plan of a prediction and that of a step of a feed-forward net.</summary>
    [Fact]
    public void Feed_forward() => Snapshot.VerifyFiles(Emit("Mlp", "TinyMlp", new TrainingSpec(3, 0), DeclaredArgument.Of("Sizes", [5, 7, 3]))
        .Where(f => f.Name.Contains("Predict", StringComparison.Ordinal) || f.Name.Contains("Step", StringComparison.Ordinal) || f.Name.Contains("ing.g", StringComparison.Ordinal) || f.Name.Contains("Inference", StringComparison.Ordinal)));

    /// <summary>A family whose emitted code nobody has looked at is not finished.</summary>
    [Fact]
    public void Every_family_has_a_snapshot()
    {
        string source = File.ReadAllText(Path.Combine(SourceTree.Root, "tests", "ModelGen.Tests", "Snapshots", "EmittedModelTests.cs"));
        Assert.All(FamilyRegistry.All.GroupBy(f => f.GetType()), family => Assert.Contains($"\"{family.Key.Name}\",", source, StringComparison.Ordinal));
    }

    /// <summary>The surface, and the plans that fill and read what a decoder remembers of its source.</summary>
    [Fact]
    public void Transformer() => Snapshot.VerifyFiles(Emit("Transformer", "TinyTransformer",
        DeclaredArgument.Of("EncoderLayers", 1L), DeclaredArgument.Of("DecoderLayers", 1L), DeclaredArgument.Of("DModel", 8L), DeclaredArgument.Of("Heads", 2L), DeclaredArgument.Of("FeedForward", 16L),
        DeclaredArgument.Of("SourceVocab", 7L), DeclaredArgument.Of("TargetVocab", 9L), DeclaredArgument.Of("Context", 6L), DeclaredArgument.Of("MaxBatch", 2L))
        .Where(f => !f.Name.Contains("Kernels", StringComparison.Ordinal) && !f.Name.Contains("Offsets", StringComparison.Ordinal)));

    /// <summary>The kernels of a decoder whose attention sees a window, in a ring, and adds learned biases.</summary>
    [Fact]
    public void Gpt_with_a_window() => Snapshot.VerifyFiles(EmitKernels("WindowGpt", DeclaredArgument.Of("Attention", 1L), DeclaredArgument.Of("Window", 4L), DeclaredArgument.Of("Positions", 3L), DeclaredArgument.Of("RelativeBuckets", 4L), DeclaredArgument.Of("RelativeDistance", 4L)));

    /// <summary>The kernels of a decoder whose attention has a stride, and linear biases.</summary>
    [Fact]
    public void Gpt_with_a_stride() => Snapshot.VerifyFiles(EmitKernels("StridedGpt", DeclaredArgument.Of("Context", 12L), DeclaredArgument.Of("Attention", 2L), DeclaredArgument.Of("Stride", 4L), DeclaredArgument.Of("Positions", 2L)));

    /// <summary>The kernels of an encoder that sees a window on both sides and, beside it, a first token that sees all.</summary>
    [Fact]
    public void Encoder_with_a_window() => Snapshot.VerifyFiles(Emit("Bert", "WindowBert", DeclaredArgument.Of("Layers", 2L), DeclaredArgument.Of("DModel", 16L), DeclaredArgument.Of("Heads", 2L), DeclaredArgument.Of("FeedForward", 8L), DeclaredArgument.Of("Vocab", 11L), DeclaredArgument.Of("Context", 12L),
        DeclaredArgument.Of("Attention", 1L), DeclaredArgument.Of("Window", 3L), DeclaredArgument.Of("GlobalTokens", 1L), DeclaredArgument.Of("Positions", 3L), DeclaredArgument.Of("RelativeBuckets", 4L), DeclaredArgument.Of("RelativeDistance", 4L))
        .Where(f => f.Name.Contains("Kernels", StringComparison.Ordinal)));

    /// <summary>The launches and the memory plan of a net that infers and trains on a device; of the modules, which have a snapshot of their own, the entries' names.</summary>
    [Fact]
    public void Path_for_a_device() => Snapshot.VerifyFiles(
        ModelCompiler.Compile(
            new ModelSpec(new TypeIdentity("Example", [], "TinyMlp", "public", "Example.TinyMlp"), "Mlp", [DeclaredArgument.Of("Sizes", [5, 7, 3])], new TrainingSpec(3, 0), null) { HasCuda = true },
            CacheSizes.Default,
            CancellationToken.None).Files.Where(f => f.HintName.Contains("Cuda", StringComparison.Ordinal)).Select(f => (f.HintName, WithoutEntries(f.Text))));

    private static string WithoutEntries(string text) => System.Text.RegularExpressions.Regex.Replace(text, @"^  (\t.*|L\d+:|EXIT:)\n", "", System.Text.RegularExpressions.RegexOptions.Multiline);

    private static IEnumerable<(string Name, string Text)> EmitKernels(string name, params DeclaredArgument[] arguments)
        => Emit("Gpt", name, [DeclaredArgument.Of("Layers", 1L), DeclaredArgument.Of("DModel", 16L), DeclaredArgument.Of("Heads", 2L), DeclaredArgument.Of("Vocab", 11L), .. arguments])
            .Where(f => f.Name.Contains("Kernels", StringComparison.Ordinal));

    private static IEnumerable<(string Name, string Text)> Emit(string family, string name, params DeclaredArgument[] arguments) => Emit(family, name, null, arguments);

    private static IEnumerable<(string Name, string Text)> Emit(string family, string name, TrainingSpec? training, params DeclaredArgument[] arguments)
        => ModelCompiler.Compile(new ModelSpec(new TypeIdentity("Example", [], name, "public", "Example." + name), family, new(arguments), training, null), CacheSizes.Default, CancellationToken.None)
            .Files.Select(f => (f.HintName, f.Text));

    private static IEnumerable<(string Name, string Text)> Emit(TrainingSpec? training)
    {
        ModelSpec spec = new(
            new TypeIdentity("Example", [], "TinyGpt", "public", "Example.TinyGpt"),
            "Gpt",
            [
                DeclaredArgument.Of("Layers", 1L),
                DeclaredArgument.Of("DModel", 8L),
                DeclaredArgument.Of("Heads", 2L),
                DeclaredArgument.Of("Vocab", 11L),
                DeclaredArgument.Of("Context", 6L),
            ],
            training,
            null);
        return ModelCompiler.Compile(spec, CacheSizes.Default, CancellationToken.None).Files.Select(f => (f.HintName, f.Text));
    }
}
