using Corpora;
using ModelGen;

namespace Zoo.Rows;

/// <summary>Bengio's model over the words of the stories.</summary>
[Nnlm(Window = 4, Embedding = 40, Hidden = 80, Vocab = WordTexts.StoryVocabulary)]
[Trainable(BatchSize = 256)]
public partial class StoryNnlm;

/// <summary>The neural probabilistic language model against counting.</summary>
internal sealed class NnlmRow : ZooRow
{
    private const int Window = 4;

    public override string Name => "nnlm";

    public override string Family => "Nnlm";

    public override string Description => "Bengio's neural language model of the stories' words, four at a time, against the best n-gram model of the same text.";

    public override RowOutcome Run(RowContext context)
    {
        WordTexts texts = WordTexts.Of(StoryCorpus.Generate());
        double counted = double.PositiveInfinity;
        for (int order = 2; order <= 6; order++)
        {
            NGramModel model = NGramModel.Train(texts.Training, new NGramOptions { Order = order, VocabularySize = texts.Tokenizer.VocabularySize });
            double perplexity = Math.Exp(model.Evaluate(texts.HeldOut));
            context.Message(FormattableString.Invariant($"{order}-gram: perplexity {perplexity:F2} on the held-out stories"));
            counted = Math.Min(counted, perplexity);
        }
        double learned = Math.Exp(Train(context, Windows(texts.Training), Windows(texts.HeldOut)));
        return new RowOutcome(StoryNnlm.ParameterCount,
            new Figure("perplexity on held-out stories; the target is the best n-gram model's", learned, counted, LowerIsBetter: true) { Peer = "nnlm" });
    }

    /// <summary>Every token but the first of each text, behind the four before it; a text begins behind as many begins.</summary>
    private static (int[] Windows, int[] Targets) Windows(IReadOnlyList<int[]> texts)
    {
        (List<int> windows, List<int> targets) = ([], []);
        foreach (int[] text in texts)
        {
            for (int i = 1; i < text.Length; i++)
            {
                for (int j = i - Window; j < i; j++)
                    windows.Add(text[Math.Max(0, j)]);
                targets.Add(text[i]);
            }
        }
        return ([.. windows], [.. targets]);
    }

    private static double Train(RowContext context, (int[] Windows, int[] Targets) training, (int[] Windows, int[] Targets) heldOut)
    {
        const int Steps = 6000, Batch = 256;
        StoryNnlm model = StoryNnlm.Create(context.Seed);
        var random = new CounterRandom((ulong)context.Seed, 12);
        int[] windows = new int[Batch * Window], targets = new int[Batch];
        var optimizer = new AdamW { LearningRate = 4e-3f, WeightDecay = 0.01f, GradientClip = 1, Schedule = context.Cosine(Steps, warmup: 100) };
        using StoryNnlm.Trainer trainer = model.CreateTrainer(optimizer);
        context.Export("nnlm", model.Save, optimizer, Steps)?.Batch("window", windows, Batch, Window).Batch("targets", targets, Batch)
            .Data("window", heldOut.Windows, heldOut.Targets.Length, Window).Data("targets", heldOut.Targets, heldOut.Targets.Length);
        context.Train(FormattableString.Invariant($"{training.Targets.Length} words"), Steps, "words", Batch, _ =>
        {
            for (int i = 0; i < Batch; i++)
            {
                int place = random.NextInt32(training.Targets.Length);
                training.Windows.AsSpan(place * Window, Window).CopyTo(windows.AsSpan(i * Window));
                targets[i] = training.Targets[place];
            }
            return trainer.Step(windows, targets);
        }, trainer);
        return trainer.Evaluate(heldOut.Windows, heldOut.Targets);
    }
}
