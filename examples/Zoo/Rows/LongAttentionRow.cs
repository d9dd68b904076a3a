using ModelGen;

namespace Zoo.Rows;

/// <summary>A window of 16 positions, and the first one: two layers of it.</summary>
[Gpt(Layers = 2, DModel = 48, Heads = 4, Vocab = 33, Attention = AttentionPattern.Window, Window = 16, GlobalTokens = 1, Positions = PositionEncoding.Relative)]
[Trainable(BatchSize = 8, SequenceLength = 192)]
public partial class GlobalRecall;

/// <summary>The same without the first position: two layers see 31 positions.</summary>
[Gpt(Layers = 2, DModel = 48, Heads = 4, Vocab = 33, Attention = AttentionPattern.Window, Window = 16, Positions = PositionEncoding.Relative)]
[Trainable(BatchSize = 8, SequenceLength = 192)]
public partial class WindowRecall;

/// <summary>
/// A sequence begins with one of 16 keys; symbols at random follow, and wherever a question stands among them, the key is the answer. A window alone cannot know it once the
/// key is out of reach; with the first position as a global token it can, however far: also at twenty times the length of training, where the session holds no more than before.
/// </summary>
internal sealed class LongAttentionRow : ZooRow
{
    private const int Keys = 16, Question = 32, Length = 192, Batch = 8;
    private const int Far = 20 * Length, Sequences = 8;

    public override string Name => "gpt-window";

    public override string Family => "Gpt";

    public override string Description => "Recall of a key from far behind, by a sliding window with a global token, and by a window alone.";

    public override RowOutcome Run(RowContext context)
    {
        GlobalRecall model = GlobalRecall.Create(context.Seed);
        using (GlobalRecall.Trainer trainer = model.CreateTrainer(Optimizer(context)))
            Train(context, "a window with a global token", trainer);
        double far = Recall(model.CreateSession(new SessionOptions { Threads = 1 }), context.Seed);

        WindowRecall narrow = WindowRecall.Create(context.Seed);
        using (WindowRecall.Trainer trainer = narrow.CreateTrainer(Optimizer(context)))
            Train(context, "a window alone", trainer);
        double chance = Recall(narrow.CreateSession(new SessionOptions { Threads = 1 }), context.Seed);
        return new RowOutcome(
            GlobalRecall.ParameterCount,
            new Figure(FormattableString.Invariant($"recall of a key {Length} to {Far} positions behind, window of 16 and a global token"), far, 0.99),
            new Figure("the same by the window alone, which guesses one of 16", chance, 0.2, LowerIsBetter: true));
    }

    private static AdamW Optimizer(RowContext context) => new() { LearningRate = 3e-3f, Schedule = context.Cosine(Steps, warmup: 20) };

    private const int Steps = 300;

    private static void Train(RowContext context, string what, TokenTrainer trainer)
    {
        var random = new CounterRandom((ulong)context.Seed, 11);
        int[] inputs = new int[Batch * Length], targets = new int[Batch * Length];
        context.Train(what, Steps, "tokens", inputs.Length, _ =>
        {
            for (int row = 0; row < Batch; row++)
                Draw(inputs.AsSpan(row * Length, Length), targets.AsSpan(row * Length, Length), ref random);
            return trainer.Step(inputs, targets);
        }, trainer);
    }

    /// <summary>A key, then symbols, one in eight of them a question; what is no question has no target.</summary>
    private static void Draw(Span<int> tokens, Span<int> targets, ref CounterRandom random)
    {
        tokens[0] = Keys + random.NextInt32(Keys);
        targets[0] = -1;
        for (int i = 1; i < tokens.Length; i++)
        {
            bool asks = random.NextInt32(8) == 0;
            tokens[i] = asks ? Question : random.NextInt32(Keys);
            targets[i] = asks ? tokens[0] : -1;
        }
    }

    /// <summary>The share of questions whose most likely answer is the key, of those that stand beyond the length of training.</summary>
    private static double Recall(CausalSession session, int seed)
    {
        using (session)
        {
            var random = new CounterRandom((ulong)seed, 12);
            int[] tokens = new int[Far], targets = new int[Far];
            int asked = 0, right = 0;
            for (int sequence = 0; sequence < Sequences; sequence++)
            {
                Draw(tokens, targets, ref random);
                session.Reset();
                session.Prefill(tokens.AsSpan(0, Length));
                for (int i = Length, from = Length; i < Far; i++)
                {
                    if (targets[i] >= 0)
                    {
                        asked++;
                        right += Sampler.ArgMax(session.Prefill(tokens.AsSpan(from, i + 1 - from))) == targets[i] ? 1 : 0;
                        from = i + 1;
                    }
                }
            }
            return (double)right / asked;
        }
    }
}
