using ModelGen.Runtime;
using ModelGen.Tests.Runtime;

namespace ModelGen.Tests.Sampling;

public class TokenGeneratorTests
{
    private const int Vocabulary = 11;

    [Fact]
    public void WithoutALimitTheWholeHistoryCounts()
    {
        using SumSession session = SumSession.Create(contextLength: 0);
        var generator = new TokenGenerator(session, Greedy());
        generator.Start([3, 4]);
        var history = new List<int> { 3, 4 };
        for (int i = 0; i < 50; i++)
        {
            int expected = (history.Sum() + history.Count) % Vocabulary;
            Assert.Equal(expected, generator.Next());
            history.Add(expected);
        }
    }

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(7)]
    [InlineData(8)]
    public void AFullContextStartsAgainFromItsLastHalf(int contextLength)
    {
        using SumSession session = SumSession.Create(contextLength);
        var generator = new TokenGenerator(session, Greedy());
        foreach (int[] prompt in new int[][] { [5], [1, 2, 3], [1, 2, 3, 4, 5, 6, 7, 8, 9, 10] })
        {
            generator.Start(prompt);
            List<int> held = [.. prompt.TakeLast(contextLength)];
            for (int i = 0; i < 40; i++)
            {
                int expected = (held.Sum() + held.Count) % Vocabulary;
                Assert.Equal(expected, generator.Next());
                held.Add(expected);
                if (held.Count > contextLength)
                    held = [.. held.TakeLast(Math.Max(1, contextLength / 2))];
                Assert.Equal(held.Count, session.Position);
            }
        }
    }

    [Fact]
    public void WrongUseIsReported()
    {
        using SumSession session = SumSession.Create(8);
        Assert.Throws<ArgumentException>(() => new TokenGenerator(session, new Sampler(new SamplingOptions(), Vocabulary + 1)));
        var generator = new TokenGenerator(session, Greedy());
        Assert.Throws<InvalidOperationException>(() => generator.Next());
        Assert.Throws<ArgumentException>(() => generator.Start([]));
        Assert.Throws<ArgumentOutOfRangeException>(() => generator.Start([Vocabulary]));
        Assert.Throws<InvalidOperationException>(() => generator.Next());
    }

    [Fact]
    public void ASessionOfSeveralSequencesIsRefused()
    {
        using SumSession session = SumSession.Create(8, batch: 2);
        ArgumentException refused = Assert.Throws<ArgumentException>(() => new TokenGenerator(session, Greedy()));
        Assert.Equal("session", refused.ParamName);
    }

    /// <summary>What it goes on with is what it would have gone on with: of what was drawn, too, and of steps that remember the text.</summary>
    [Theory]
    [InlineData(1, false)]
    [InlineData(6, false)]
    [InlineData(1, true)]
    [InlineData(6, true)]
    public void ACallThatFailsIsNotPartOfTheHistory(int before, bool draws)
    {
        using SumSession session = SumSession.Create(8);
        using SumSession undisturbed = SumSession.Create(8);
        var generator = new TokenGenerator(session, draws ? Drawing() : Greedy());
        var expected = new TokenGenerator(undisturbed, draws ? Drawing() : Greedy());
        generator.Start([3, 4]);
        expected.Start([3, 4]);
        for (int i = 0; i < before; i++)
            Assert.Equal(expected.Next(), generator.Next());
        session.Fails = true;
        Assert.Throws<TimeoutException>(() => generator.Next());
        session.Fails = false;
        if (before == 6)
        {
            // The context was full, and the session has already forgotten it.
            Assert.Throws<InvalidOperationException>(() => generator.Next());
            return;
        }
        for (int i = 0; i < 20; i++)
            Assert.Equal(expected.Next(), generator.Next());
    }

    /// <summary>As above, of a session that another thread looks into now and then, beyond the end of its context.</summary>
    [Fact]
    public async Task ARefusedCallLosesNothing()
    {
        using SumSession session = SumSession.Create(8);
        using SumSession undisturbed = SumSession.Create(8);
        var generator = new TokenGenerator(session, Drawing());
        var expected = new TokenGenerator(undisturbed, Drawing());
        generator.Start([3, 4]);
        expected.Start([3, 4]);
        using var ready = new ManualResetEventSlim();
        bool done = false;
        Task looking = Task.Run(() =>
        {
            while (!Volatile.Read(ref done))
            {
                try
                {
                    session.Capture();
                }
                catch (InvalidOperationException)
                {
                    // The generator is in it.
                }

                ready.Set();
            }
        });
        ready.Wait(TestContext.Current.CancellationToken);
        int refused = 0;
        for (int i = 0; i < 100_000 && (i < 2000 || refused < 5); i++)
        {
            int next = -1;
            while (next < 0)
            {
                try
                {
                    next = generator.Next();
                }
                catch (InvalidOperationException exception) when (exception.Message.StartsWith("Start ", StringComparison.Ordinal))
                {
                    // Refused when a full context had been emptied: it starts over, with the draw behind it.
                    expected.Next();
                    expected.Start([3, 4]);
                    while (!Starts(generator))
                    {
                    }

                    break;
                }
                catch (InvalidOperationException)
                {
                    refused++;
                }
            }

            if (next >= 0)
                Assert.Equal(expected.Next(), next);
        }

        Volatile.Write(ref done, true);
        await looking;

        static bool Starts(TokenGenerator generator)
        {
            try
            {
                generator.Start([3, 4]);
                return true;
            }
            catch (InvalidOperationException)
            {
                return false;
            }
        }
    }

    [Fact]
    public void GeneratingAllocatesNothing()
    {
        using SumSession session = SumSession.Create(8);
        var generator = new TokenGenerator(session, new Sampler(new SamplingOptions { TopK = 4 }, Vocabulary));
        int[] prompt = [1, 2, 3];
        long before = 0;
        for (int i = 0; i < 400; i++)
        {
            if (i == 200)
                before = GC.GetAllocatedBytesForCurrentThread();
            if (i % 50 == 0)
                generator.Start(prompt);
            generator.Next();
        }
        Assert.Equal(0, GC.GetAllocatedBytesForCurrentThread() - before);
    }

    private static Sampler Drawing() => new(new SamplingOptions { Chain = [SamplingStep.Penalties(last: 8, repetition: 1.5f), SamplingStep.Temperature(3f)], Seed = 3 }, Vocabulary);

    private static Sampler Greedy() => new(new SamplingOptions { Temperature = 0 }, Vocabulary);

    /// <summary>Its most likely next token is the sum of all tokens held plus their number, modulo the vocabulary.</summary>
    private sealed unsafe class SumSession : CausalSession
    {
        private SumSession(ModelWeights weights, ProgramLayout layout, int batch)
            : base(weights, layout, new SessionOptions { Threads = 1, Batch = batch })
        {
        }

        public bool Fails { get; set; }

        public static SumSession Create(int contextLength, int batch = 1) => new(
            ModelWeights.Create(new ParameterTable("Sum", new ParameterInfo("unused", [1], 0, false, ParameterInitializerKind.Zeros, 0, false)), 0),
            FakeLayouts.Causal("Sum", 64, 16, Vocabulary, contextLength, chunk: 4, prefill: (0, 16), decode: (0, 32), batch: batch), batch);

        protected override void Execute(int entry, in PlanContext context, Worker worker)
        {
            if (Fails)
                throw new TimeoutException();
            Run(context, entry == 0 ? 16 : 32);
        }

        private static void Run(in PlanContext context, int logits)
        {
            int* tokens = (int*)context.Arena;
            for (int i = 0; i < context.Count; i++)
                context.State[0] += tokens[i];
            var target = new Span<float>(context.Arena + logits, Vocabulary);
            target.Clear();
            target[((int)context.State[0] + context.Position + context.Count) % Vocabulary] = 9;
        }
    }
}
