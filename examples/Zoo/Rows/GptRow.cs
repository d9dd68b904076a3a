using ModelGen;
using ModelGen.Plots;

namespace Zoo.Rows;

/// <summary>A decoder-only Transformer over the words of stories.</summary>
[Gpt(Layers = 3, DModel = 96, Heads = 4, Vocab = 512, Context = 128)]
[Trainable(BatchSize = 16, SequenceLength = 128)]
public partial class WordGpt;

/// <summary>A GPT over stories, which remembers over sentences what an n-gram model cannot: who the hero is, what he owns and where he lives.</summary>
internal sealed class GptRow : ZooRow
{
    private const int Length = 128;
    private const int Batch = 16;
    private const int Steps = 1200;

    public override string Name => "gpt";

    public override string Family => "Gpt";

    public override string Description => "A decoder-only Transformer over the words of stories, beside the best n-gram model of the same text.";

    public override string? TextHelp => "a text for each line; the last tenth of the lines is held out";

    public override (string Name, string Description)? Argument => ("prompt", "The beginning of a story to continue.");

    public override RowOutcome Run(RowContext context)
    {
        WordTexts texts = WordTexts.Load(context, WordGpt.VocabularySize, stories: 12_000);
        (double ngram, int order) = texts.BestNGram(WordGpt.VocabularySize, Length);
        SequenceDataset training = texts.Sequences(texts.Training, Length), heldOut = texts.Sequences(texts.HeldOut, Length);
        var loader = new SequenceBatchLoader(training, Batch, seed: (ulong)context.Seed);
        int padding = texts.Tokenizer.Vocabulary.PaddingId;
        int[] rows = new int[Batch], inputs = new int[Batch * Length], targets = new int[Batch * Length];

        // Each word's target is the next one; behind the end nothing counts.
        int[] heldOutInputs = new int[heldOut.Count * Length], heldOutTargets = new int[heldOut.Count * Length];
        heldOut.CopyShifted([.. Enumerable.Range(0, heldOut.Count)], padding, heldOutInputs, heldOutTargets);
        List<double> at = [], validation = [];
        WordGpt model = WordGpt.Create(context.Seed);
        double loss;
        var optimizer = new AdamW { LearningRate = 3e-3f, Beta2 = 0.99f, WeightDecay = 0.1f, GradientClip = 1, Schedule = context.Cosine(Steps, warmup: 100) };
        using (WordGpt.Trainer trainer = model.CreateTrainer(optimizer))
        {
            context.Export("gpt", model.Save, optimizer, Steps)?.Batch("inputs", inputs, Batch, Length).Batch("targets", targets, Batch, Length)
                .Data("inputs", heldOutInputs, heldOut.Count, Length).Data("targets", heldOutTargets, heldOut.Count, Length);
            context.Train("stories", Steps, "tokens", Batch * Length, _ =>
            {
                loader.Next(rows);
                training.CopyShifted(rows, padding, inputs, targets);
                return trainer.Step(inputs, targets);
            }, trainer, (step, view) =>
            {
                if (step % 200 == 0)
                {
                    at.Add(step);
                    validation.Add(trainer.Evaluate(heldOutInputs, heldOutTargets));
                    view.Evaluation(new TrainingEvaluation(step, validation[^1], validation.Min(), validation[^1] == validation.Min()));
                }
            });
            loss = trainer.Evaluate(heldOutInputs, heldOutTargets);
        }
        using (WordGpt.Session session = model.CreateSession())
            texts.Continue(context, session);
        if (context.Plot("gpt-loss") is { } plot)
        {
            Pictures.LossCurves("GPT over the words of stories", [Line.OfSteps("training", context.Losses), new Line("held out", at, validation), new Line($"{order}-gram, held out", [1, context.Losses.Count], [ngram, ngram])]).SaveBoth(plot);
        }
        return new RowOutcome(WordGpt.ParameterCount, new Figure($"perplexity of held-out stories (target: the {order}-gram model's)", Math.Exp(loss), Math.Exp(ngram), LowerIsBetter: true) { Peer = "gpt" });
    }
}
