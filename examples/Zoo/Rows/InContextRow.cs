using Corpora;
using ModelGen;
using ModelGen.Plots;

namespace Zoo.Rows;

/// <summary>A GPT over the tokens of mappings: eleven pairs of a rule. It has a bucket for each distance: where letters and digits of a distance share one, the first pairs of a long prompt are lost.</summary>
[Gpt(Layers = 2, DModel = 64, Heads = 4, Vocab = FewShotMappings.VocabularySize, Context = 22, Positions = PositionEncoding.Relative, RelativeBuckets = 64)]
[Trainable(BatchSize = 64, SequenceLength = 22)]
public partial class MappingGpt;

/// <summary>
/// In-context learning (Brown et al., "Language Models are Few-Shot Learners", 2020): the weights are trained on many rules, and a rule that they have never seen is learned from the prompt alone. Accuracy
/// must rise with the number of pairs that the prompt shows.
/// </summary>
internal sealed class InContextRow : ZooRow
{
    private const int Pairs = 11;
    private const int Length = Pairs * FewShotMappings.PairLength;
    private const int Batch = 64;
    private const int Steps = 6000;
    private const int Prompts = 4000;

    public override string Name => "incontext";

    public override string Family => "Gpt";

    public override string Description => "A GPT trained on many small mappings reads pairs of a rule that it has never seen in its prompt, and answers for another pair: zero, one, five and ten shots.";

    public override RowOutcome Run(RowContext context)
    {
        var random = new CounterRandom((ulong)context.Seed, 1);
        int[] inputs = new int[Batch * Length], targets = new int[Batch * Length];
        MappingGpt model = MappingGpt.Create(context.Seed);
        int[] prompts = HeldOut(context.Seed);
        var optimizer = new AdamW { LearningRate = 3e-3f, Beta2 = 0.99f, WeightDecay = 0.01f, GradientClip = 1, Schedule = context.Cosine(Steps, warmup: 100) };
        using (MappingGpt.Trainer trainer = model.CreateTrainer(optimizer))
        {
            context.Export("incontext", model.Save, optimizer, Steps)?.Batch("inputs", inputs, Batch, Length).Batch("targets", targets, Batch, Length).Data("prompts", prompts, Prompts, Length);
            context.Train("mappings", Steps, "tokens", Batch * Length, step =>
            {
                // Prompts of few letters first, those that are asked for at last.
                bool easy = step < (context.Steps ?? Steps) * 2 / 5;
                for (int row = 0; row < Batch; row++)
                {
                    Span<int> tokens = inputs.AsSpan(row * Length, Length);
                    FewShotMappings.Write(ref random, heldOut: false, tokens, letters: easy ? 1 + random.NextInt32(FewShotMappings.Choices) : FewShotMappings.Choices);

                    // Only answers are learned: letters are drawn by lot.
                    for (int t = 0; t < Length; t++)
                        targets[row * Length + t] = t + 1 < Length && FewShotMappings.IsAnswer(t + 1) ? tokens[t + 1] : -1;
                }
                return trainer.Step(inputs, targets);
            }, trainer);
        }

        double[] accuracy = Accuracy(model, prompts), best = [.. Enumerable.Range(0, Pairs).Select(FewShotMappings.BestAccuracy)];
        context.Figures([.. new[] { 0, 1, 5, 10 }.Select(shots => ($"held-out rules, {shots} shots", FormattableString.Invariant($"{accuracy[shots]:P1} (a perfect reader: {best[shots]:P1})")))]);
        if (context.Plot("incontext-shots") is { } plot)
        {
            double[] shots = [.. Enumerable.Range(0, Pairs).Select(k => (double)k)];
            Pictures.Lines("Few-shot accuracy on rules never seen", "pairs in the prompt", "accuracy", [new Line("GPT", shots, accuracy), new Line("perfect reader", shots, best)], markers: true).SaveBoth(plot);
        }
        if (context.Plot("incontext-loss") is { } losses)
            Pictures.LossCurves("GPT over mappings", [Line.OfSteps("training", context.Losses)]).SaveBoth(losses);
        return new RowOutcome(
            MappingGpt.ParameterCount,
            new Figure("accuracy on held-out rules, 10 shots", accuracy[10], 0.95 * best[10]) { Peer = "incontext" },
            new Figure("accuracy on held-out rules, 5 shots", accuracy[5], 0.95 * best[5]),
            new Figure("the least rise from 0 to 1 to 5 to 10 shots", new[] { accuracy[1] - accuracy[0], accuracy[5] - accuracy[1], accuracy[10] - accuracy[5] }.Min(), 0.05));
    }

    /// <summary>Prompts under rules that training never sees.</summary>
    private static int[] HeldOut(int seed)
    {
        var random = new CounterRandom((ulong)seed, 2);
        var prompts = new int[Prompts * Length];
        for (int prompt = 0; prompt < Prompts; prompt++)
            FewShotMappings.Write(ref random, heldOut: true, prompts.AsSpan(prompt * Length, Length));
        return prompts;
    }

    /// <summary>How often the digit is right, greedily, by the number of pairs before the question.</summary>
    private static double[] Accuracy(MappingGpt model, int[] prompts)
    {
        using MappingGpt.Session session = model.CreateSession();
        var right = new int[Pairs];
        for (int prompt = 0; prompt < Prompts; prompt++)
        {
            ReadOnlySpan<int> tokens = prompts.AsSpan(prompt * Length, Length);
            session.Reset();
            for (int t = 0; t < Length; t++)
            {
                int guess = Sampler.ArgMax(session.Decode(tokens[t]));
                if (t + 1 < Length && FewShotMappings.IsAnswer(t + 1) && guess == tokens[t + 1])
                    right[t / FewShotMappings.PairLength]++;
            }
        }
        return [.. right.Select(count => (double)count / Prompts)];
    }
}
