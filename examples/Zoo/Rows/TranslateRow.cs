using Corpora;
using ModelGen;

namespace Zoo.Rows;

/// <summary>English to French.</summary>
[RecurrentSeq2Seq(Cell = Cell.Gru, Hidden = 128, Embedding = 64, SourceVocab = TranslationTask.Vocabulary, TargetVocab = TranslationTask.Vocabulary, Attention = RecurrentAttention.Dot,
    SourceContext = TranslationCorpus.MaximumLength, AttentionWeights = true, MaxBatch = TranslateRow.Together)]
[Trainable(BatchSize = 64, SequenceLength = TranslationCorpus.MaximumLength + 1, SourceLength = TranslationCorpus.MaximumLength)]
public partial class Translator;

/// <summary>English sentences into French, by a recurrent encoder–decoder with attention.</summary>
internal sealed class TranslateRow : ZooRow
{
    /// <summary>The sentences that are translated at once.</summary>
    public const int Together = 50;

    private const int Steps = 3000;

    public override string Name => "translate";

    public override string Family => "RecurrentSeq2Seq";

    public override string Description => "A GRU encoder–decoder with attention translates English into French, with agreement, negation and word order, from a grammar that writes both.";

    public override (string Name, string Description)? Argument => ("sentence", "An English sentence of the grammar's words to translate, such as \"I am not a student .\".");

    public override RowOutcome Run(RowContext context)
    {
        TranslationTask task = TranslationTask.Generate(training: 40_000, heldOut: 1000);
        if (context.Argument is not null)
            task.Encode(context.Argument);
        Translator model = Translator.Create(context.Seed);
        var optimizer = new AdamW { LearningRate = 4e-3f, GradientClip = 1, WeightDecay = 0.01f, Schedule = context.Cosine(Steps, warmup: 100) };
        using (Translator.Trainer trainer = model.CreateTrainer(optimizer))
        {
            TrainingExport? export = context.Export("translate", model.Save, optimizer, Steps);
            task.HeldOut.Export(export);
            task.Training.Train(context, $"{task.Training.Count} sentences to train on, {task.HeldOut.Count} held out", Steps, trainer, export);
        }

        using Translator.Session session = model.CreateSession(new SessionOptions { Batch = Together });
        double exact = task.ExactMatch(session, beams: 1);
        foreach (string sentence in new[] { "I am a student .", "I do not have a cat .", "Do they see the old king ?" }.Append(context.Argument).OfType<string>().Distinct())
            context.Message($"{sentence} → {task.Translate(session, beams: 1, sentence)}");
        if (context.Plot("translate-attention") is { } plot)
            task.DrawAttention(session, beams: 1, context.Argument ?? "Do they see the old king ?", "Attention of a GRU encoder–decoder", plot);
        return new RowOutcome(Translator.ParameterCount, new Figure("held-out sentences: exact translations", exact, 0.95) { Peer = "translate" });
    }
}
