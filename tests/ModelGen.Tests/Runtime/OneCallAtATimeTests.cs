using ModelGen.Runtime;
using ModelGen.Tests.Infrastructure;
using ModelGen.Tests.Training;

namespace ModelGen.Tests.Runtime;

/// <summary>What works on a session, a trainer or a file keeps a second call out, too, before that has changed anything.</summary>
[Collection(SerialCollection.Name)]
public sealed class OneCallAtATimeTests : IDisposable
{
    private readonly TemporaryFile _file = new();

    public void Dispose() => _file.Dispose();

    [Fact]
    public void A_generator_refuses_a_second_call()
    {
        using ModelWeights weights = ModelWeights.Create(FakeModels.Table(), seed: 1);
        int[] expected;
        using (var gate = new Gate())
        using (var session = new GatedSession(weights, gate))
        {
            TokenGenerator undisturbed = Generator(session);
            undisturbed.Start([1, 2, 3]);
            expected = Continue(undisturbed);
        }

        using var held = new Gate();
        using var disturbed = new GatedSession(weights, held);
        TokenGenerator generator = Generator(disturbed);
        held.Arm();
        var thread = new Thread(() => generator.Start([1, 2, 3]));
        thread.Start();
        held.AwaitHeld();
        Refused("Next was called while Start is running", () => generator.Next());
        Refused("Start was called while Start is running", () => generator.Start([9]));
        held.Open();
        thread.Join();
        Assert.Equal(expected, Continue(generator));

        static TokenGenerator Generator(CausalSession session)
            => new(session, new Sampler(new SamplingOptions { Temperature = 0 }, session.VocabularySize));

        // Beyond the context, where the history counts.
        static int[] Continue(TokenGenerator generator) => [.. Enumerable.Range(0, 20).Select(_ => generator.Next())];
    }

    [Fact]
    public void An_evaluator_refuses_a_second_evaluation()
    {
        var evaluator = new LossEvaluator(Data(90), batchSize: 2, sequenceLength: 5);
        using BigramTrainer trainer = BigramTrainer.Create(2, 5);
        using BigramTrainer other = BigramTrainer.Create(2, 5);
        double expected = evaluator.Evaluate(trainer);
        int refusals = 0;
        trainer.BeforeEvaluation = () =>
        {
            Refused("Evaluate was called while Evaluate is running", () => evaluator.Evaluate(other));
            refusals++;
        };
        Assert.Equal(expected, evaluator.Evaluate(trainer));
        Assert.Equal(evaluator.Batches, refusals);
    }

    [Fact]
    public void A_training_loop_refuses_a_second_run()
    {
        var options = new TrainingLoopOptions { Steps = 12 };
        using BigramTrainer undisturbed = BigramTrainer.Create(2, 5);
        new TrainingLoop(undisturbed, new TokenBatchLoader(Data(90), 2, 5), null, options).Run();

        using BigramTrainer trainer = BigramTrainer.Create(2, 5);
        var loop = new TrainingLoop(trainer, new TokenBatchLoader(Data(90), 2, 5), null, options);
        int refusals = 0;
        trainer.BeforeStep = () =>
        {
            Refused("Run was called while Run is running", () => loop.Run());
            Refused("Resume was called while Run is running", () => loop.Resume(_file.Path));
            refusals++;
        };
        loop.Run();
        Assert.Equal(12, refusals);
        Assert.True(undisturbed.Weights.Parameter("table").SequenceEqual(trainer.Weights.Parameter("table")));
    }

    [Fact]
    public void A_file_is_unmapped_only_between_reads()
    {
        float[] values = [.. Enumerable.Range(0, 1 << 20).Select(static i => (float)i)];
        var writer = new SafetensorsWriter();
        writer.Add("x", [values.Length], values);
        writer.Save(_file.Path);
        for (int round = 0; round < 30; round++)
        {
            SafetensorsFile file = SafetensorsFile.Open(_file.Path);
            SafetensorsTensor tensor = file.Get("x");
            int reads = 0;
            bool right = true;
            Thread[] readers = [.. Enumerable.Range(0, 2).Select(reader => new Thread(() =>
            {
                float[] floats = new float[values.Length];
                byte[] bytes = new byte[sizeof(float) * values.Length];
                try
                {
                    while (true)
                    {
                        if (reader == 0)
                        {
                            file.ReadFloats(tensor, 0, floats);
                            right &= floats[^1] == values[^1];
                        }
                        else
                        {
                            file.ReadBytes(tensor, 0, bytes);
                        }

                        Interlocked.Increment(ref reads);
                    }
                }
                catch (ObjectDisposedException)
                {
                }
            }))];
            Array.ForEach(readers, static thread => thread.Start());
            SpinWait.SpinUntil(() => Volatile.Read(ref reads) > 2);
            file.Dispose();
            Array.ForEach(readers, static thread => thread.Join());
            Assert.True(right);
        }
    }

    private static TokenDataset Data(int length) => TokenDataset.FromTokens(Enumerable.Range(0, length).Select(static i => i * i % 17).ToArray());

    private static void Refused(string message, Action call)
        => Assert.Contains(message, Assert.Throws<InvalidOperationException>(call).Message, StringComparison.Ordinal);

    /// <summary>A session of four tokens of context, whose next token is the sum of all.</summary>
    private sealed unsafe class GatedSession(ModelWeights weights, Gate gate) : CausalSession(weights, Layout, new SessionOptions { Threads = 1 })
    {
        private static ProgramLayout Layout
            => FakeLayouts.Causal("Gated", 64, 16, FakeModels.Vocabulary, context: 4, chunk: 4, prefill: (0, 16), decode: (0, 16));

        protected override void Execute(int entry, in PlanContext context, Worker worker)
        {
            gate.Pass();
            foreach (int token in new ReadOnlySpan<int>(context.Arena, context.Count))
            {
                context.State[0] += token;
            }

            var logits = new Span<float>(context.Arena + 16, FakeModels.Vocabulary);
            logits.Clear();
            logits[(int)context.State[0] % FakeModels.Vocabulary] = 1;
        }
    }
}
