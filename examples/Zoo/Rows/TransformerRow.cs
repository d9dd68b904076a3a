using Examples;
using ModelGen;

namespace Zoo.Rows;

/// <summary>English to French, word by word.</summary>
[Transformer(EncoderLayers = 2, DecoderLayers = 2, DModel = 96, Heads = 4, FeedForward = 192, SourceVocab = TranslationTask.Vocabulary, TargetVocab = TranslationTask.Vocabulary, Context = 24, PreNorm = true, LabelSmoothing = TransformerRow.LabelSmoothing, AttentionWeights = true, MaxBatch = 4)]
[Trainable(BatchSize = 32, SequenceLength = 22, SourceLength = 20)]
public partial class WordTransformer;

/// <summary>Letters to phonemes.</summary>
[Transformer(EncoderLayers = 2, DecoderLayers = 2, DModel = 96, Heads = 4, FeedForward = 192, SourceVocab = 32, TargetVocab = 80, Context = 20, PreNorm = true, LabelSmoothing = TransformerRow.LabelSmoothing, MaxBatch = 4)]
[Trainable(BatchSize = 64, SequenceLength = 18, SourceLength = 16)]
public partial class SpellingTransformer;

/// <summary>Sentences of a synchronous grammar, and spelling to pronunciation where a dictionary is at hand.</summary>
internal sealed class TransformerRow : ZooRow
{
    /// <summary>ε of the loss of both.</summary>
    public const double LabelSmoothing = 0.1;

    /// <summary>The beams of a translation.</summary>
    private const int Beams = 4;

    public override string Name => "transformer";

    public override string Family => "Transformer";

    public override string Description => "An encoder-decoder Transformer: English to French, and spelling to pronunciation where the CMU dictionary is at hand.";

    public override string? TextHelp => "a pronunciation dictionary, a word and its phonemes in each line, as the CMU dictionary has them";

    public override RowOutcome Run(RowContext context)
    {
        var french = new Figure("held-out sentences translated word for word", Translate(context), 0.95) { Peer = "transformer-french" };
        string? dictionary = context.TextPath ?? context.Data("pronunciation", "dict.txt");
        if (dictionary is null)
        {
            context.Message("There is no pronunciation dictionary (MODELGEN_TEST_DATA or --text): it is left out.");
            return new RowOutcome(WordTransformer.ParameterCount, french);
        }
        return new RowOutcome(WordTransformer.ParameterCount, french, new Figure("held-out words: phoneme error rate", Spell(context, dictionary), 0.25, LowerIsBetter: true) { Peer = "transformer-spelling" });
    }

    private static AdamW Optimizer(RowContext context, int steps) => new() { LearningRate = 2e-3f, WeightDecay = 0, GradientClip = 1, Schedule = context.Cosine(steps, warmup: 100) };

    private static double Translate(RowContext context)
    {
        const int Steps = 1200;
        TranslationTask task = TranslationTask.Generate(training: 20_000, heldOut: 300);
        WordTransformer model = WordTransformer.Create(context.Seed);
        AdamW optimizer = Optimizer(context, Steps);
        using (WordTransformer.Trainer trainer = model.CreateTrainer(optimizer))
        {
            TrainingExport? export = context.Export("transformer-french", model.Save, optimizer, Steps, LabelSmoothing);
            task.HeldOut.Export(export);
            task.Training.Train(context, "English to French", Steps, trainer, export);
        }
        using WordTransformer.Session session = model.CreateSession(new SessionOptions { Batch = Beams });
        if (context.Plot("transformer-attention") is { } plot)
            task.DrawAttention(session, Beams, "Do they see the old king ?", "Cross-attention, the mean of all heads", plot);
        return task.ExactMatch(session, Beams);
    }

    private static double Spell(RowContext context, string path)
    {
        if (!File.Exists(path))
            throw new UserException($"{path}: there is no such file.");
        string[][] entries =
        [
            .. File.ReadLines(path).Select(line => line.Split(' ', StringSplitOptions.RemoveEmptyEntries))
                .Where(words => words.Length is > 1 and <= 17 && words[0].Length <= 16 && words[0].All(char.IsAsciiLetterUpper)),
        ];
        string[] words = [.. entries.Select(entry => entry[0])], sounds = [.. entries.Select(entry => string.Join(' ', entry[1..]))];
        VocabularyTokenizer letters = WordTexts.TokenizerOf(words, unit: TextUnit.Character), phonemes = WordTexts.TokenizerOf(sounds, unit: TextUnit.Word);
        if (entries.Length < 2000 || phonemes.VocabularySize > SpellingTransformer.TargetVocabularySize)
            throw new UserException(FormattableString.Invariant($"{path}: expected at least 2000 words of at most 16 letters and {SpellingTransformer.TargetVocabularySize - phonemes.Vocabulary.SpecialCount} phonemes, found {entries.Length} and {phonemes.VocabularySize - phonemes.Vocabulary.SpecialCount}."));

        const int Steps = 1000, HeldOut = 400;
        (SequencePairs training, SequencePairs heldOut) = SequencePairs.Of(words.Select(word => letters.EncodeText(word)), sounds.Select(sound => phonemes.EncodeText(sound, beginning: true, end: true)), phonemes.Vocabulary)
            .Split(HeldOut, context.Seed);
        SpellingTransformer model = SpellingTransformer.Create(context.Seed);
        AdamW optimizer = Optimizer(context, Steps);
        using (SpellingTransformer.Trainer trainer = model.CreateTrainer(optimizer))
        {
            TrainingExport? export = context.Export("transformer-spelling", model.Save, optimizer, Steps, LabelSmoothing);
            heldOut.Export(export);
            training.Train(context, FormattableString.Invariant($"spelling to pronunciation: {training.Count} words to train on, {heldOut.Count} held out"), Steps, trainer, export);
        }
        using SpellingTransformer.Session session = model.CreateSession(new SessionOptions { Batch = Beams });
        var errors = new ErrorRate();
        heldOut.Decode(session, Beams, (expected, output) => errors.Add(expected, output));
        return errors.Value;
    }
}
