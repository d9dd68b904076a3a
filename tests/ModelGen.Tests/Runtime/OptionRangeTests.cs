using System.Reflection;
using ModelGen.Runtime;
using ModelGen.Tests.Decoding;

namespace ModelGen.Tests.Runtime;

/// <summary>Every number among the options of the runtime has a range, and what lies outside is refused by its name, before anything is done with it.</summary>
public sealed class OptionRangeTests
{
    /// <summary>What sets a property to a value and uses the options.</summary>
    private static readonly Dictionary<string, Action<object>> Uses = new()
    {
        ["AdapterOptions.Rank"] = v => _ = new AdapterOptions((int)v, 1),
        ["AdapterOptions.Alpha"] = v => _ = new AdapterOptions(1, Convert.ToSingle(v)),
        ["DecodingOptions.MaxLength"] = v => Sampler(new DecodingOptions { MaxLength = (int)v }),
        ["DecodingOptions.MinLength"] = v => Sampler(new DecodingOptions { MinLength = (int)v }),
        ["DecodingOptions.NoRepeatNGram"] = v => Sampler(new DecodingOptions { NoRepeatNGram = (int)v }),
        ["BeamSearchOptions.Beams"] = v => Search(new BeamSearchOptions { Beams = (int)v }),
        ["BeamSearchOptions.Results"] = v => Search(new BeamSearchOptions { Results = (int)v }),
        ["BeamSearchOptions.LengthPenalty"] = v => Search(new BeamSearchOptions { LengthPenalty = v is int ? double.NaN : (double)v }),
        ["BeamSearchOptions.CoveragePenalty"] = v => Search(new BeamSearchOptions { CoveragePenalty = Convert.ToDouble(v) }),
        ["BeamSearchOptions.Stopping"] = v => Search(new BeamSearchOptions { Stopping = (BeamStopping)v }),
        ["NGramOptions.Order"] = v => NGramModel.Train([[0, 1]], new NGramOptions { VocabularySize = 2, Order = (int)v }),
        ["NGramOptions.VocabularySize"] = v => NGramModel.Train([[0, 1]], new NGramOptions { VocabularySize = (int)v }),
        ["NGramOptions.Smoothing"] = v => NGramModel.Train([[0, 1]], new NGramOptions { VocabularySize = 2, Smoothing = (NGramSmoothing)v }),
        ["SamplingOptions.Temperature"] = v => _ = new SamplingOptions { Temperature = Convert.ToSingle(v) },
        ["SamplingOptions.TopK"] = v => _ = new SamplingOptions { TopK = (int)v },
        ["SamplingOptions.TopP"] = v => _ = new SamplingOptions { TopP = Convert.ToSingle(v) },
        ["SessionOptions.Threads"] = v => Session(new SessionOptions { Threads = (int)v }),
        ["SessionOptions.Batch"] = v => Session(new SessionOptions { Batch = (int)v }),
        ["TrainerOptions.Threads"] = v => Trainer(new TrainerOptions { Threads = (int)v }),
        ["TrainerOptions.AccumulationSteps"] = v => Trainer(new TrainerOptions { AccumulationSteps = (int)v }),
        ["TrainerOptions.Rounding"] = v => Trainer(new TrainerOptions { Rounding = (WeightRounding)v }),
        ["TrainingLoopOptions.Steps"] = v => _ = new TrainingLoopOptions { Steps = (int)v },
        ["TrainingLoopOptions.EvaluateEvery"] = v => _ = new TrainingLoopOptions { Steps = 1, EvaluateEvery = (int)v },
        ["TrainingLoopOptions.SampleEvery"] = v => _ = new TrainingLoopOptions { Steps = 1, SampleEvery = (int)v },
        ["TrainingLoopOptions.CheckpointEvery"] = v => _ = new TrainingLoopOptions { Steps = 1, CheckpointEvery = (int)v },
        ["TrainingLoopOptions.Patience"] = v => _ = new TrainingLoopOptions { Steps = 1, Patience = (int)v },
        ["TrainingLoopOptions.MinimumImprovement"] = v => _ = new TrainingLoopOptions { Steps = 1, MinimumImprovement = Convert.ToDouble(v) },
        ["TrainingLoopOptions.WarmupMeasurementSteps"] = v => _ = new TrainingLoopOptions { Steps = 1, WarmupMeasurementSteps = (int)v },
    };

    public static TheoryData<string> Numbers
        => [.. typeof(DecodingOptions).Assembly.GetExportedTypes().Where(t => t.Name.EndsWith("Options", StringComparison.Ordinal))
            .SelectMany(t => t.GetProperties(BindingFlags.Public | BindingFlags.Instance | BindingFlags.DeclaredOnly).Where(IsRanged).Select(p => $"{t.Name}.{p.Name}"))];

    [Theory]
    [MemberData(nameof(Numbers))]
    public void A_number_out_of_range_is_refused_by_name(string property)
    {
        Action<object> use = Uses[property];
        string name = property[(property.IndexOf('.', StringComparison.Ordinal) + 1)..];
        ArgumentException refused = Assert.ThrowsAny<ArgumentException>(() => use(-1));
        Assert.Contains(name, refused.Message + refused.ParamName, StringComparison.Ordinal);
    }

    [Fact]
    public void Decoding_lengths_fit_each_other()
    {
        Assert.Equal("MinLength", Assert.Throws<ArgumentOutOfRangeException>(() => Sampler(new DecodingOptions { MaxLength = 3, MinLength = 4 })).ParamName);
        Assert.Equal("MinLength", Assert.Throws<ArgumentOutOfRangeException>(() => Sampler(new DecodingOptions { MinLength = 9 })).ParamName);
        Sampler(new DecodingOptions { MaxLength = 3, MinLength = 3 });
    }

    /// <summary>A prefix is whole in an output or the call is refused; it was cut to the context without a word.</summary>
    [Fact]
    public void A_prefix_that_the_context_has_no_room_for_is_refused()
    {
        var options = new BeamSearchOptions { Beams = 2 };
        var search = new BeamSearch(new TableDecoder(2, 5, 1, context: 6), options);
        search.Search([[1, 2, 3]], [[1, 1, 1, 1]]);
        Assert.Equal("prefixes", Assert.Throws<ArgumentException>(() => search.Search([[1, 2, 3]], [[1, 1, 1, 1, 1]])).ParamName);
        var sampler = new SequenceSampler(new TableDecoder(2, 5, 1, context: 6), options, new SamplingOptions());
        Assert.Equal("prefixes", Assert.Throws<ArgumentException>(() => sampler.Sample([[1, 2, 3]], [[1, 1, 1, 1, 1]])).ParamName);
    }

    [Fact]
    public void Lists_of_options_are_no_null()
    {
        Assert.Equal("Groups", Assert.Throws<ArgumentNullException>(() => new AdamW { Groups = null! }).ParamName);
        Assert.Equal("Groups", Assert.Throws<ArgumentException>(() => new Sgd { Groups = [null!] }).ParamName);
        Assert.Equal("EndTokens", Assert.Throws<ArgumentNullException>(() => Sampler(new DecodingOptions { EndTokens = null! })).ParamName);
        Assert.Equal("Ignore", Assert.Throws<ArgumentNullException>(() => new LoadOptions { Ignore = null! }).ParamName);
        Assert.Equal("Ignore", Assert.Throws<ArgumentNullException>(() => new LoadOptions { Ignore = [null!] }).ParamName);
        Assert.Equal("Suppressed", Assert.Throws<ArgumentNullException>(() => Sampler(new DecodingOptions { Suppressed = null! })).ParamName);
    }

    /// <summary>A mask that is a word would be drawn as a random one, and stand among what is to be predicted.</summary>
    [Fact]
    public void A_mask_is_a_special_token()
        => Assert.Equal("maskToken", Assert.Throws<ArgumentOutOfRangeException>(() => new TokenMasking(maskToken: 5, vocabularySize: 10, firstWord: 5)).ParamName);

    /// <summary>A step up the gradient, or to nowhere, is refused before the weights have moved.</summary>
    [Theory]
    [InlineData(-0.5)]
    [InlineData(double.NaN)]
    [InlineData(double.PositiveInfinity)]
    public void A_schedule_below_zero_is_refused(double factor)
    {
        using ModelWeights weights = ModelWeights.Create(FakeModels.Table(), seed: 4);
        using var trainer = new FakeTrainer(weights, new Sgd { LearningRate = 0.1f, Schedule = new Always(factor) });
        float[] before = weights.Parameter("wide").ToArray();
        InvalidOperationException refused = Assert.Throws<InvalidOperationException>(() => trainer.Step(FakeModels.Tokens(6, 1), FakeModels.Tokens(6, 2)));
        Assert.Contains("Always", refused.Message, StringComparison.Ordinal);
        Assert.Equal(before, weights.Parameter("wide").ToArray());
        Assert.Equal(0, trainer.StepCount);
    }

    private static bool IsRanged(PropertyInfo property)
        => property.CanWrite && property.Name != "Seed" && (property.PropertyType.IsEnum || property.PropertyType == typeof(int) || property.PropertyType == typeof(long) || property.PropertyType == typeof(float) || property.PropertyType == typeof(double));

    private static void Sampler(DecodingOptions options) => _ = new SequenceSampler(new TableDecoder(2, 5, 1, context: 6), options, new SamplingOptions());

    private static void Search(BeamSearchOptions options) => _ = new BeamSearch(new TableDecoder(4, 5, 1, context: 6, sources: 3), options);

    private static void Session(SessionOptions options)
    {
        using ModelWeights weights = ModelWeights.Create(FakeModels.Table(), seed: 4);
        using var _ = new FakeSession(weights, options);
    }

    private static void Trainer(TrainerOptions options)
    {
        using ModelWeights weights = ModelWeights.Create(FakeModels.Table(), seed: 4);
        using var _ = new FakeTrainer(weights, new Sgd(), options);
    }

    private sealed class Always(double factor) : ILearningRateSchedule
    {
        public double Factor(long step) => factor;

        public override string ToString() => nameof(Always);
    }
}
