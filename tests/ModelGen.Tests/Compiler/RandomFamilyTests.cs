using ModelGen.Compiler;
using ModelGen.Compiler.Families;
using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Passes;
using ModelGen.Compiler.Programs;
using ModelGen.Compiler.Targets.Cpu;
using ModelGen.Tests.Infrastructure;

namespace ModelGen.Tests.Compiler;

/// <summary>
/// Models whose sizes nobody chose, compiled for caches that nobody has, against the reference interpreter: larger than those of the
/// other tests, so that work is cut, packed ahead and helped with.
/// </summary>
public sealed class RandomFamilyTests
{
    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    public void A_training_step_computes_what_the_interpreter_does(int seed) => RandomCase.Run(seed, random =>
    {
        CacheSizes caches = Caches(random);
        foreach (ModelSpec spec in new[] { Gpt(random), Mlp(random), MixedMlp(random), Recurrent(random), Regressor(random), Tagger(random), Seq2Seq(random), Bert(random), Nnlm(random), Words(random), Transformer(random), T5(random), Decoder(random) })
        {
            ModelGraph graph = KernelCases.PrepareTraining(BindExtents.Run(
                FamilyRegistry.Get(spec.Family).Build(spec, BuildMode.Training), spec.Training!.BatchSize, Math.Max(1, spec.Training.SequenceLength)));
            var c = new KernelCase(Describe(spec, caches), graph, Moderate(CaseData.Random(graph, seed)), 2e-4);
            KernelCheck.Compare(c, GraphFunction.Compile([graph], random.Next(2) == 0 ? BufferPlacement.Guarded : BufferPlacement.Planned, caches)[0]);
        }
    });

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    public void A_training_step_of_adapters_computes_what_the_interpreter_does(int seed) => RandomCase.Run(seed, random =>
    {
        CacheSizes caches = Caches(random);
        foreach (ModelSpec spec in new[] { Gpt(random), Mlp(random), Recurrent(random), Tagger(random), Bert(random), Transformer(random), Decoder(random) })
        {
            ModelProgram program = FamilyRegistry.Get(spec.Family).Describe(spec);
            EntryPoint step = program.Find(EntryKind.Step)!;
            int rank = Size(random, 6);
            var lora = new LoraSpec(rank, rank * (1 + random.Next(3)), spec.Family is "RecurrentLm" or "RecurrentTagger" ? 0 : random.Next(2) * 0.3, ["*"]);
            ModelGraph forward = Assert.Single(LowRankAdapters.Add([step.Build()], lora, [step]));
            ModelGraph graph = ModelCompiler.StepGraph(step, forward, program.Frozen, default);
            Assert.NotEmpty(graph.Gradients);
            Assert.All(graph.Gradients, gradient => Assert.Contains(".lora_", gradient.Parameter, StringComparison.Ordinal));
            var c = new KernelCase($"{lora}, {Describe(spec, caches)}", graph, Moderate(CaseData.Random(graph, seed)), 2e-4);
            KernelCheck.Compare(c, GraphFunction.Compile([graph], random.Next(2) == 0 ? BufferPlacement.Guarded : BufferPlacement.Planned, caches)[0]);
        }
    });

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    public void Pieces_of_a_prompt_and_a_token_compute_what_the_interpreter_does(int seed) => RandomCase.Run(seed, random =>
    {
        CacheSizes caches = Caches(random);
        foreach (ModelSpec spec in new[] { Gpt(random), Recurrent(random), Decoder(random) })
        {
            int context = spec.Size("Context", 256);
            int chunk = Math.Min(context, Size(random, 7));
            EntryPoint decode = FamilyRegistry.Get(spec.Family).Describe(spec).Entry("Decode");
            foreach (int most in new[] { chunk, 1 })
            {
                ModelGraph graph = ModelCompiler.InferenceGraph(decode with { Time = most == 1 ? 1 : Dim.Time(most) }, decode.Build(), new SequenceCaches(spec.Int("Context", 0), chunk), default);
                GraphFunction function = GraphFunction.Compile([graph], random.Next(2) == 0 ? BufferPlacement.Guarded : BufferPlacement.Planned, caches)[0];
                foreach (int count in new[] { 1, most, 1 + random.Next(most) }.Distinct())
                {
                    RunArguments run = Moderate(CaseData.Random(graph, seed, time: count, position: random.Next(context - count + 1)));
                    KernelCheck.Compare(new KernelCase($"{count} of {most} tokens at {run.Position}, {Describe(spec, caches)}", graph, run, 2e-4), function);
                }
            }
        }
    });

    private static CacheSizes Caches(Random random) => new(L1: 4 << 10 << random.Next(5), L2: 16 << 10 << random.Next(7), L3: 128 << 10 << random.Next(6));

    private static string Describe(ModelSpec spec, CacheSizes caches)
        => $"{spec.Family} {string.Join(", ", spec.Arguments.Select(a => $"{a.Name} = {a.Integer}"))}, {spec.Training}, {caches}";

    /// <summary>Weights as large as where training begins: a recurrence over larger ones is chaotic, and has no digits to compare.</summary>
    private static RunArguments Moderate(RunArguments run)
    {
        foreach ((string name, Tensor tensor) in run.Parameters.Where(p => p.Value.Dims.Length == 2).ToArray())
        {
            run.Parameters[name] = new Tensor(tensor.Dims, [.. tensor.Data.Select(x => x / Math.Sqrt(tensor.Dims[1]))]).InSinglePrecision();
        }

        return run;
    }

    private static ModelSpec Gpt(Random random)
    {
        int heads = 1 + random.Next(6), keyHeads = Enumerable.Range(1, heads).Where(h => heads % h == 0).OrderBy(_ => random.Next()).First();
        int sequence = Size(random, 7);
        return Families.Spec("Gpt", Size(random, 4), sequence,
        [
            Of("Layers", 1), Of("DModel", heads * (1 + random.Next(40))), Of("Heads", heads), Of("KeyValueHeads", keyHeads), Of("FeedForward", Size(random, 9)),
            Of("Vocab", 2 + Size(random, 10)), Of("Context", sequence + random.Next(9)), Of("Bias", random.Next(2)), Of("TieEmbeddings", random.Next(2)),
            .. Attention(random, directions: 1, tables: 1),
        ]);
    }

    private static ModelSpec Decoder(Random random)
    {
        int heads = 1 + random.Next(6), keyHeads = Enumerable.Range(1, heads).Where(h => heads % h == 0).OrderBy(_ => random.Next()).First();
        int sequence = Size(random, 7), width = 2 * (1 + random.Next(40)), turned = 2 * (1 + random.Next(width / 2)), interleaved = random.Next(2), shared = random.Next(3) / 2;
        return Families.Spec("Decoder", Size(random, 4), sequence,
        [
            Of("Layers", 1 + shared), Of("SharedKeyValueLayers", shared), Of("DModel", 1 + Size(random, 7)), Of("Heads", heads), Of("KeyValueHeads", keyHeads), Of("HeadWidth", width), Of("FeedForward", Size(random, 9)),
            Of("Vocab", 2 + Size(random, 10)), Of("Context", sequence + random.Next(9)), Of("QkvBias", random.Next(2)), Of("TieEmbeddings", random.Next(2)),
            DeclaredArgument.Of("RotaryFraction", (turned + 0.5) / (width + 0.5)), Of("RotaryLayout", interleaved),
            .. Mixer(random),
            .. random.Next(3) == 0 ? [Of("Experts", 3 + random.Next(6)), Of("ActiveExperts", 1 + random.Next(3)), Of("NormalizeExperts", random.Next(2)), Of("SharedFeedForward", random.Next(2) * Size(random, 9)), DeclaredArgument.Of("BalanceLoss", 0.1), Of("RouterBias", random.Next(2))] : Array.Empty<DeclaredArgument>(),
            Of("AttentionSinks", random.Next(2)), Of("ValueNorm", random.Next(2)), Of("LayerScale", random.Next(2)), Of("FeedForwardBias", random.Next(2)), Of("PerLayerWidth", random.Next(2) * (2 + Size(random, 6))),
            .. random.Next(2) == 0 ? [DeclaredArgument.Of("GateLimit", 0.3), DeclaredArgument.Of("UpOffset", 0.5)] : Array.Empty<DeclaredArgument>(),
            .. interleaved == 0 ? [DeclaredArgument.Of("GlobalRotaryFraction", 0.5)] : Array.Empty<DeclaredArgument>(),
            Of("LaurelRank", random.Next(2) * Size(random, 5)), Of("EmbeddingNorm", random.Next(2)),
        ]);
    }

    /// <summary>Attention, a convolution or a recurrence of matrices.</summary>
    private static IEnumerable<DeclaredArgument> Mixer(Random random)
    {
        int mixer = Math.Max(0, random.Next(6) - 2), groups = 1 + random.Next(2);
        return mixer == 0 ? [] :
        [
            DeclaredArgument.Of("Mixers", [mixer]), Of("ConvolutionTaps", 1 + random.Next(5)),
            .. mixer switch
            {
                1 => [Of("ConvolutionBias", random.Next(2))],
                2 => [Of("LinearKeyHeads", groups), Of("LinearValueHeads", groups * (1 + random.Next(2))), Of("LinearKeyWidth", Size(random, 5)), Of("LinearValueWidth", Size(random, 5))],
                _ => (DeclaredArgument[])[Of("ConvolutionBias", random.Next(2)), Of("StateGroups", groups), Of("StateHeads", groups * (1 + random.Next(2))), Of("StateSize", Size(random, 5)), Of("StateHeadWidth", Size(random, 5)), Of("StateBias", random.Next(2))],
            },
        ];
    }

    /// <summary>Full attention as often as all patterns together.</summary>
    /// <param name="random">The random numbers.</param>
    /// <param name="directions">In how many directions self-attention looks, so that each has its buckets.</param>
    /// <param name="tables">What widths are multiples of: 2 for a table of sinusoids in halves.</param>
    private static IEnumerable<DeclaredArgument> Attention(Random random, int directions, int tables)
    {
        var pattern = (AttentionPattern)Math.Max(0, random.Next(7) - 3);
        yield return Of("Attention", (int)pattern);
        int stride = Size(random, 6);
        if (pattern is AttentionPattern.Window)
        {
            yield return random.Next(3) == 0 ? DeclaredArgument.Of("LayerWindows", [stride]) : Of("Window", stride);
            yield return Of("GlobalTokens", Math.Max(0, random.Next(12) - 6));
        }

        if (pattern is AttentionPattern.Strided or AttentionPattern.Fixed)
        {
            yield return Of("Stride", stride);
        }

        if (pattern is AttentionPattern.Fixed)
        {
            yield return Of("SummaryTokens", 1 + random.Next(stride));
        }

        var positions = (PositionEncoding)random.Next(tables == 2 ? 6 : 5);
        yield return Of("Positions", (int)positions);
        if (positions == PositionEncoding.Relative)
        {
            int buckets = directions * (2 + random.Next(40 / directions));
            yield return Of("RelativeBuckets", buckets);
            yield return Of("RelativeDistance", (buckets / 2) + 1 + random.Next(150));
        }
    }

    private static ModelSpec Mlp(Random random) => Families.Spec("Mlp", Size(random, 11), 0,
        DeclaredArgument.Of("Sizes", [Size(random, 7), Size(random, 8), Size(random, 7)]), Of("Loss", 1), Of("Activation", 3), Of("Bias", random.Next(2)));

    /// <summary>Every activation but those with a kink, which differences do not take well.</summary>
    private static ModelSpec MixedMlp(Random random)
    {
        int[] smooth = [.. Enum.GetValues<Activation>().Where(activation => activation != Activation.Relu).Select(activation => (int)activation)];
        int[] hidden = [.. Enumerable.Range(0, 1 + random.Next(4)).Select(_ => Size(random, 6))];
        return Families.Spec("Mlp", Size(random, 6), 0,
            DeclaredArgument.Of("Sizes", [Size(random, 5), .. hidden, Size(random, 5)]), Of("Loss", 1), DeclaredArgument.Of("Activations", [.. hidden.Select(_ => smooth[random.Next(smooth.Length)])]), Of("OutputActivation", smooth[random.Next(smooth.Length)]));
    }

    private static ModelSpec Recurrent(Random random) => Families.Spec("RecurrentLm", Size(random, 6), Size(random, 5),
        Of("Cell", random.Next(3)), Of("Layers", 1 + random.Next(2)), Of("Hidden", Size(random, 7)), Of("Embedding", Size(random, 7)), Of("Vocab", 2 + Size(random, 9)));

    private static ModelSpec Regressor(Random random) => Families.Spec("RecurrentRegressor", Size(random, 6), Size(random, 5),
        Of("Cell", random.Next(3)), Of("Layers", 1 + random.Next(2)), Of("Hidden", Size(random, 7)), Of("Inputs", Size(random, 6)), Of("Outputs", Size(random, 6)), Of("CarryState", random.Next(2)));

    private static ModelSpec Tagger(Random random) => Families.Spec("RecurrentTagger", Size(random, 6), Size(random, 5),
        Of("Cell", random.Next(3)), Of("Layers", 1 + random.Next(2)), Of("Hidden", Size(random, 6)), Of("Embedding", Size(random, 6)), Of("Vocab", 2 + Size(random, 8)), Of("Tags", Size(random, 5)), Of("Bidirectional", random.Next(2)));

    private static ModelSpec Bert(Random random)
    {
        bool isModern = random.Next(2) == 0;
        int heads = 1 + random.Next(5), sequence = Size(random, 6), head = 1 + random.Next(3);
        return Families.Spec(isModern ? "ModernBert" : "Bert", Size(random, 3), sequence,
        [
            Of("Layers", 1 + random.Next(2)), Of("DModel", heads * (isModern ? 2 * (1 + random.Next(15)) : 1 + random.Next(30))), Of("Heads", heads), Of("FeedForward", Size(random, 8)), Of("Vocab", 2 + Size(random, 9)),
            Of("Context", sequence + random.Next(9)), Of("Segments", random.Next(4)), Of("Head", head), .. head == 1 ? new[] { Of("NextSentence", isModern ? 0 : random.Next(2)) } : [Of("Classes", 2 + random.Next(9))],
            Of("PreNorm", random.Next(2)), Of("GatedFeedForward", random.Next(2)), Of("Bias", random.Next(2)), .. random.Next(2) == 0 ? [] : new[] { Of("FeedForwardInputBias", random.Next(2)) }, Of("NormBias", random.Next(2)), .. head == 2 ? new[] { Of("ClassifierPooling", (isModern ? 1 : 0) + random.Next(2)) } : [],
            .. isModern && random.Next(2) == 0 ? [] : Attention(random, directions: 2, tables: 1),
        ]);
    }

    private static ModelSpec Nnlm(Random random) => Families.Spec("Nnlm", Size(random, 8), 0,
        Of("Window", Size(random, 4)), Of("Embedding", Size(random, 5)), Of("Hidden", Size(random, 7)), Of("Vocab", 2 + Size(random, 9)), Of("DirectConnections", random.Next(2)));

    private static ModelSpec Words(Random random) => Families.Spec("WordAutoencoder", Size(random, 7), 0, Of("Vocab", 2 + Size(random, 9)), Of("Code", Size(random, 7)), Of("Window", Size(random, 3)));

    private static ModelSpec Seq2Seq(Random random)
    {
        ModelSpec spec = Families.Spec("RecurrentSeq2Seq", Size(random, 5), Size(random, 4), Of("Cell", random.Next(3)), Of("Layers", 1 + random.Next(2)), Of("Hidden", Size(random, 6)), Of("Embedding", Size(random, 6)),
            Of("SourceVocab", 2 + Size(random, 7)), Of("TargetVocab", 2 + Size(random, 7)), Of("Attention", random.Next(3)));
        return spec with { Training = spec.Training! with { SourceLength = Size(random, 4) } };
    }

    private static ModelSpec T5(Random random)
    {
        int heads = 1 + random.Next(5), sequence = Size(random, 6), source = Size(random, 6), buckets = 2 * (2 + random.Next(6));
        return Families.Pairs(
            Families.Spec("T5", Size(random, 4), sequence,
                Of("Layers", 1 + random.Next(2)), Of("DecoderLayers", 1), Of("DModel", 1 + random.Next(90)), Of("Heads", heads), Of("HeadWidth", 1 + random.Next(20)), Of("FeedForward", Size(random, 9)),
                Of("Vocab", 2 + Size(random, 8)), Of("Context", sequence + random.Next(9)), Of("SourceContext", source + random.Next(5)), Of("RelativeBuckets", buckets), Of("RelativeDistance", buckets + random.Next(9)),
                Of("GatedFeedForward", random.Next(2)), Of("TieEmbeddings", random.Next(2)), DeclaredArgument.Of("LabelSmoothing", random.Next(2) * 0.1)),
            source);
    }

    private static ModelSpec Transformer(Random random)
    {
        int heads = 1 + random.Next(6), sequence = Size(random, 6), source = Size(random, 6), vocabulary = 2 + Size(random, 8), shared = random.Next(3);
        return Families.Pairs(
            Families.Spec("Transformer", Size(random, 4), sequence,
            [
                Of("EncoderLayers", 1), Of("DecoderLayers", 1 + random.Next(2)), Of("DModel", heads * 2 * (1 + random.Next(20))), Of("Heads", heads), Of("FeedForward", Size(random, 9)),
                Of("SourceVocab", vocabulary), Of("TargetVocab", shared == (int)EmbeddingSharing.All ? vocabulary : 2 + Size(random, 8)), Of("Context", sequence + random.Next(9)),
                Of("SourceContext", source + random.Next(5)), Of("PreNorm", random.Next(2)), Of("FinalNorm", random.Next(2)), Of("Shared", shared),
                Of("Bias", random.Next(2)), Of("HeadBias", random.Next(2)), Of("ScaleEmbeddings", random.Next(2)), DeclaredArgument.Of("LabelSmoothing", random.Next(2) * 0.1),
                .. Attention(random, directions: 2, tables: 2),
            ]),
            source);
    }

    private static DeclaredArgument Of(string name, long value) => DeclaredArgument.Of(name, value);

    /// <summary>Small sizes as often as large ones.</summary>
    private static int Size(Random random, int bits) => 1 + random.Next(1 << (1 + random.Next(bits)));
}
