using ModelGen.Runtime;
using static ModelGen.Tests.Cuda.DeviceCheck;

namespace ModelGen.Tests.Cuda;

/// <summary>The likeliest token, found on the device: the processor's token, and nothing else comes back.</summary>
public sealed class DeviceSamplingTests
{
    [Fact]
    public void Greedy_tokens_are_the_processors()
    {
        using var driver = new StandInDriver();
        DeviceGpt model = DeviceGpt.Create(seed: 7);
        using DeviceGpt.Session here = model.CreateSession(), there = model.CreateSession(Session(driver));
        TokenGenerator expected = Greedy(here), actual = Greedy(there);

        // Beyond the context, where the text begins again.
        Assert.Equal(Enumerable.Range(0, 15).Select(_ => expected.Next()), Enumerable.Range(0, 15).Select(_ => actual.Next()));
        Assert.Null(driver.Fault);
        here.Reset();
        there.Reset();
        for (int token = 0; token < 5; token++)
        {
            Assert.Equal(here.DecodeGreedy(token), there.DecodeGreedy(token));
        }

        Assert.Throws<ArgumentOutOfRangeException>(() => there.DecodeGreedy(17));
        Assert.Equal(5, there.Position);
    }

    [Fact]
    public void Eight_bytes_of_a_token_come_back()
    {
        using var driver = new StandInDriver();
        using DeviceGpt.Session session = DeviceGpt.Create(seed: 7).CreateSession(Session(driver));
        session.DecodeGreedy(1);
        driver.Calls.Clear();
        driver.CopiedToHost = 0;
        session.DecodeGreedy(2);
        Assert.Equal(8, driver.CopiedToHost);
        Assert.Equal(
            ["cuLaunchCooperativeKernel 1", "cuLaunchKernel 1", "cuMemcpyDtoHAsync_v2 1", "cuMemcpyHtoDAsync_v2 1", "cuStreamSynchronize 1"],
            driver.Calls.OrderBy(c => c.Key, StringComparer.Ordinal).Select(c => FormattableString.Invariant($"{c.Key} {c.Value}")));
    }

    /// <summary>The first of several, wherever they lie; and numbers that are none.</summary>
    [Theory]
    [InlineData(1, 0)]
    [InlineData(31, 30)]
    [InlineData(1000, 999)]
    [InlineData(5000, 1024, 3000, 4999)]
    [InlineData(5000, 4997)]
    [InlineData(40, 7, 8, 39)]
    public unsafe void The_first_of_the_largest_is_found(int count, params int[] largest)
    {
        float[] logits = [.. Numbers(count).Select(x => x - 3)];
        foreach (int index in largest)
        {
            logits[index] = -0.5f;
        }

        Assert.Equal((-0.5f, largest[0]), Largest(logits));
        Assert.Equal(Sampler.ArgMax(logits), Largest(logits).Index);
        logits[^1] = float.NaN;
        Assert.Equal((float.NaN, int.MaxValue), Largest(logits));
        Assert.Equal((float.NegativeInfinity, 0), Largest([.. Enumerable.Repeat(float.NegativeInfinity, count)]));
    }

    /// <summary>What the processor says of logits that are no numbers is said, and not before a token is asked for that they would choose.</summary>
    [Fact]
    public void Logits_that_are_no_numbers_are_refused_as_on_the_processor()
    {
        using var driver = new StandInDriver();
        DeviceGpt model = DeviceGpt.Create(seed: 7);
        using DeviceGpt.Session here = model.CreateSession(), there = model.CreateSession(Session(driver));
        TokenGenerator expected = Greedy(here), actual = Greedy(there);
        Assert.Equal(expected.Next(), actual.Next());
        model.Parameter("transformer.ln_f.weight")[0] = float.NaN;
        Assert.Equal(expected.Next(), actual.Next());
        string message = Assert.Throws<ArgumentException>(() => expected.Next()).Message;
        Assert.Equal(message, Assert.Throws<ArgumentException>(() => actual.Next()).Message);
        Assert.Equal(message, Assert.Throws<ArgumentException>(() => there.DecodeGreedy(3)).Message);
        Assert.Null(driver.Fault);
    }

    /// <summary>Token for token what the processor draws, whatever keeps some of the tokens; only tokens come back.</summary>
    [Theory]
    [MemberData(nameof(Options))]
    public void Drawn_tokens_are_the_processors(SamplingOptions options)
    {
        using var driver = new StandInDriver();
        DeviceGpt model = DeviceGpt.Create(seed: 7);
        using DeviceGpt.Session here = model.CreateSession(), there = model.CreateSession(Session(driver));
        Sampler expected = new(options, 17), actual = new(options, 17);
        TokenGenerator one = new(here, expected), other = new(there, actual);
        one.Start([1, 2, 3]);
        other.Start([1, 2, 3]);
        long copied = driver.CopiedToHost;
        for (int i = 0; i < 5; i++)
        {
            Assert.Equal(one.Next(), other.Next());
            Assert.Equal(expected.Position, actual.Position);
        }

        Assert.Equal(copied + (5 * 8), driver.CopiedToHost);

        // Beyond the context, where the text begins again.
        Assert.Equal(Enumerable.Range(0, 9).Select(_ => one.Next()), Enumerable.Range(0, 9).Select(_ => other.Next()));
        Assert.Null(driver.Fault);
    }

    public static TheoryData<SamplingOptions> Options() =>
    [
        new SamplingOptions { Seed = 3 },
        new SamplingOptions { Seed = 4, Temperature = 3 },
        new SamplingOptions { Seed = 5, TopK = 5 },
        new SamplingOptions { Seed = 6, TopP = 0.7f },
        new SamplingOptions { Seed = 7, Temperature = 0.7f, TopK = 6, TopP = 0.9f },
        new SamplingOptions { Seed = 8, TopK = 1 },
        new SamplingOptions { Seed = 9, Chain = [SamplingStep.MinP(0.5f), SamplingStep.Temperature(2)] },
        new SamplingOptions { Seed = 10, Chain = [SamplingStep.Temperature(2), SamplingStep.TopK(9), SamplingStep.MinP(0.7f), SamplingStep.TopP(0.8f), SamplingStep.Temperature(0.5f)] },
        new SamplingOptions { Seed = 11, Chain = [SamplingStep.TopP(0.6f), SamplingStep.Temperature(0)] },
        new SamplingOptions { Seed = 12, Chain = [] },
    ];

    /// <summary>What a device does not do is done here, by logits that come back.</summary>
    [Fact]
    public void What_a_device_does_not_know_is_drawn_by_the_processor()
    {
        using var driver = new StandInDriver();
        DeviceGpt model = DeviceGpt.Create(seed: 7);
        using DeviceGpt.Session here = model.CreateSession(), there = model.CreateSession(Session(driver));
        var options = new SamplingOptions { Seed = 1, Chain = [SamplingStep.Penalties(8, 1.3f), SamplingStep.TopK(5)] };
        TokenGenerator one = new(here, new Sampler(options, 17)), other = new(there, new Sampler(options, 17));
        one.Start([1, 2]);
        other.Start([1, 2]);
        long copied = driver.CopiedToHost;
        Assert.Equal(Enumerable.Range(0, 5).Select(_ => one.Next()), Enumerable.Range(0, 5).Select(_ => other.Next()));
        Assert.Equal(copied + (5 * 17 * sizeof(float)), driver.CopiedToHost);
    }

    /// <summary>Every way to keep tokens, over logits with equal ones, ones that are excluded, zeros of both signs and more tokens than threads: the processor's token or none, and seldom none.</summary>
    [Theory]
    [InlineData(1, 1)]
    [InlineData(2, 30)]
    [InlineData(40, 60)]
    [InlineData(1000, 20)]
    [InlineData(3000, 12)]
    public void The_processors_token_or_none_is_drawn(int count, int cases)
    {
        var random = new CounterRandom(31, (ulong)count);
        int undecided = 0;
        for (int i = 0; i < cases; i++)
        {
            float[] logits = new float[count];
            for (int j = 0; j < count; j++)
            {
                float logit = random.NextNormal() * (i % 3 == 0 ? 1 : 4);
                logits[j] = (random.NextInt32(8)) switch
                {
                    0 when i % 4 == 1 => float.NegativeInfinity,
                    1 when i % 4 == 2 => -0f,
                    2 when i % 4 == 2 => 0f,
                    3 or 4 => MathF.Round(logit),
                    _ => logit,
                };
            }

            logits[random.NextInt32(count)] = 1.5f;
            SamplingOptions options = RandomOptions(ref random, count);
            Sampler sampler = new(options, count), check = new(options, count);
            Assert.True(sampler.CanChooseOnDevice(out CudaChain? chain));
            CounterRandom number = sampler.Random;
            int expected = check.Sample(logits);
            (int token, bool isNumberUsed) = Draw(logits, chain!, number.NextDouble());
            if (token == CudaDrawing.Undecided)
            {
                undecided++;
                continue;
            }

            Assert.True(expected == token, $"{expected} expected, {token} found by {string.Join(", ", options.Chain?.Select(s => s.ToString()) ?? [options.ToString()])}");
            Assert.Equal(check.Position != 0, isNumberUsed);
        }

        Assert.True(undecided <= cases / 20, $"{undecided} of {cases} were not decided");
    }

    /// <summary>Where the roundings of sums decide, no token is given: half of equal ones, a number between two tokens.</summary>
    [Fact]
    public void What_roundings_decide_the_processor_decides()
    {
        float[] equal = [1, 1, 1, 1];
        Assert.Equal(CudaDrawing.Undecided, Draw(equal, Chain(new SamplingOptions { TopP = 0.5f }), 0.1).Token);
        Assert.Equal(1, Draw(equal, Chain(new SamplingOptions { TopP = 0.4999f }), 0.6).Token);
        Assert.Equal(CudaDrawing.Undecided, Draw(equal, Chain(new SamplingOptions()), 0.25).Token);
        Assert.Equal(0, Draw(equal, Chain(new SamplingOptions()), 0.2499999).Token);
        Assert.Equal(1, Draw(equal, Chain(new SamplingOptions()), 0.2500001).Token);
        Assert.Equal(CudaDrawing.Undecided, Draw([1, float.NaN, 0], Chain(new SamplingOptions()), 0.3).Token);
        Assert.Equal(CudaDrawing.Undecided, Draw([float.NegativeInfinity], Chain(new SamplingOptions()), 0.3).Token);

        static CudaChain Chain(SamplingOptions options) => new Sampler(options, 4).CanChooseOnDevice(out CudaChain? chain) ? chain! : throw new InvalidOperationException();
    }

    /// <summary>Without any of its barriers the kernel is reported.</summary>
    [Fact]
    public void Every_barrier_is_needed()
    {
        const string Barrier = "\tbar.sync 0;\n";
        string[] parts = System.Text.Encoding.UTF8.GetString(CudaSampling.Layout.Module()).Split(Barrier);
        var options = new SamplingOptions { Chain = [SamplingStep.MinP(0.01f), SamplingStep.TopP(0.9f), SamplingStep.Temperature(0.7f), SamplingStep.TopP(0.8f), SamplingStep.TopK(9)] };
        Assert.True(new Sampler(options, 100).CanChooseOnDevice(out CudaChain? chain));
        int found = 0, barriers = 0;
        for (int left = 0; left < parts.Length - 1; left++)
        {
            if (!string.Concat(parts[..(left + 1)]).Contains(CudaDrawing.Name + "(", StringComparison.Ordinal))
            {
                continue;
            }

            barriers++;
            string module = string.Concat(parts.Select((part, j) => j == parts.Length - 1 || j == left ? part : part + Barrier));
            Ptx.PtxEntryPoint entry = Ptx.PtxEntryPoint.Read(module)[CudaDrawing.Name];
            found += Record.Exception(() => Draw([.. Numbers(100)], chain!, 0.37, entry)) is Ptx.PtxException ? 1 : 0;
        }

        Assert.Equal(11, barriers);
        Assert.Equal(barriers, found);
    }

    /// <summary>A constraint that comes between two tokens holds for the next one, and draws that were moved are from where they were moved to.</summary>
    [Theory]
    [InlineData(0f)]
    [InlineData(1f)]
    public void What_comes_between_two_tokens_counts_for_the_next_one(float temperature)
    {
        using var driver = new StandInDriver();
        DeviceGpt model = DeviceGpt.Create(seed: 7);
        using DeviceGpt.Session here = model.CreateSession(), there = model.CreateSession(Session(driver));
        var options = new SamplingOptions { Temperature = temperature, Seed = 2 };
        Sampler expected = new(options, 17), actual = new(options, 17);
        TokenGenerator one = new(here, expected), other = new(there, actual);
        one.Start([1, 2]);
        other.Start([1, 2]);
        Assert.Equal(one.Next(), other.Next());
        foreach (int only in (int[])[5, 11])
        {
            (expected.Constraint, actual.Constraint) = (new Only(only), new Only(only));
            Assert.Equal(only, one.Next());
            Assert.Equal(only, other.Next());
            (expected.Constraint, actual.Constraint) = (null, null);
            Assert.Equal(one.Next(), other.Next());
        }

        (expected.Position, actual.Position) = (40, 40);
        Assert.Equal(one.Next(), other.Next());
        Assert.Equal(expected.Position, actual.Position);

        // Logits are gone that lay on the device when something else ran there.
        there.Decode(3);
        actual.Constraint = new Only(3);
        Assert.Contains("has been used for something else", Assert.Throws<InvalidOperationException>(() => other.Next()).Message, StringComparison.Ordinal);
    }

    private sealed class Only(int token) : TokenConstraint
    {
        public override void Accept(int accepted)
        {
        }

        public override void Exclude(Span<float> logits)
        {
            float kept = logits[token];
            logits.Fill(float.NegativeInfinity);
            logits[token] = kept;
        }

        public override void Reset()
        {
        }
    }

    private static SamplingOptions RandomOptions(ref CounterRandom random, int count)
    {
        ulong seed = random.NextUInt32();
        if (random.NextInt32(2) == 0)
        {
            return new SamplingOptions
            {
                Seed = seed,
                Temperature = 0.1f + (3 * random.NextSingle()),
                TopK = random.NextInt32(2) == 0 ? 0 : random.NextInt32(count + 2),
                TopP = random.NextInt32(2) == 0 ? 1 : 0.01f + (0.98f * random.NextSingle()),
            };
        }

        var chain = new List<SamplingStep>();
        for (int i = random.NextInt32(5); i > 0; i--)
        {
            chain.Add(random.NextInt32(4) switch
            {
                0 => SamplingStep.Temperature(random.NextInt32(9) == 0 ? 0 : 0.2f + (2 * random.NextSingle())),
                1 => SamplingStep.TopK(random.NextInt32(count + 2)),
                2 => SamplingStep.TopP(0.01f + (0.98f * random.NextSingle())),
                _ => SamplingStep.MinP(random.NextInt32(9) == 0 ? 1 : random.NextSingle() / 2),
            });
        }

        return new SamplingOptions { Seed = seed, Chain = chain };
    }

    private static unsafe (int Token, bool IsNumberUsed) Draw(float[] logits, CudaChain chain, double uniform, Ptx.PtxEntryPoint? entry = null)
    {
        var machine = new Ptx.PtxMachine();
        int* result = stackalloc int[2];
        CudaDrawingStep[] steps = [.. chain.Steps, new CudaDrawingStep(CudaDrawingKind.Draw, 0, 0)];
        double[] scratch = new double[2 * logits.Length];
        fixed (float* first = logits)
        fixed (CudaDrawingStep* step = steps)
        fixed (double* memory = scratch)
        {
            machine.Allow(first, logits.Length * sizeof(float), "logits");
            machine.Allow(step, steps.Length * sizeof(CudaDrawingStep), "steps");
            machine.Allow(memory, CudaDrawing.ScratchBytes(logits.Length), "scratch");
            machine.Allow(result, 8, "result");
            byte[] parameters = new byte[56];
            BitConverter.TryWriteBytes(parameters, (ulong)first);
            BitConverter.TryWriteBytes(parameters.AsSpan(8), logits.Length);
            BitConverter.TryWriteBytes(parameters.AsSpan(16), (ulong)memory);
            BitConverter.TryWriteBytes(parameters.AsSpan(24), (ulong)step);
            BitConverter.TryWriteBytes(parameters.AsSpan(32), steps.Length);
            BitConverter.TryWriteBytes(parameters.AsSpan(36), CudaDrawing.ShiftOf(logits.Length));
            BitConverter.TryWriteBytes(parameters.AsSpan(40), uniform);
            BitConverter.TryWriteBytes(parameters.AsSpan(48), (ulong)result);
            machine.Launch(entry ?? s_draw, 1, 1, CudaSampling.Threads, parameters);
        }

        return (result[0], result[1] != 0 || chain.DrawsAlways);
    }

    private static readonly Ptx.PtxEntryPoint s_draw = Ptx.PtxEntryPoint.Read(System.Text.Encoding.UTF8.GetString(CudaSampling.Layout.Module()))[CudaDrawing.Name];

    private static TokenGenerator Greedy(CausalSession session)
    {
        var generator = new TokenGenerator(session, new Sampler(new SamplingOptions { Temperature = 0 }, session.VocabularySize));
        generator.Start([1, 2, 3]);
        return generator;
    }

    private static unsafe (float Value, int Index) Largest(float[] logits)
    {
        var machine = new Ptx.PtxMachine();
        int* result = stackalloc int[2];
        fixed (float* first = logits)
        {
            machine.Allow(first, logits.Length * sizeof(float), "logits");
            machine.Allow(result, 8, "result");
            byte[] parameters = new byte[24];
            BitConverter.TryWriteBytes(parameters, (ulong)first);
            BitConverter.TryWriteBytes(parameters.AsSpan(8), logits.Length);
            BitConverter.TryWriteBytes(parameters.AsSpan(16), (ulong)result);
            machine.Launch(Ptx.PtxEntryPoint.Read(System.Text.Encoding.UTF8.GetString(CudaSampling.Layout.Module()))["Largest"], 1, 1, CudaSampling.Threads, parameters);
        }

        return (BitConverter.Int32BitsToSingle(result[0]), result[1]);
    }
}
