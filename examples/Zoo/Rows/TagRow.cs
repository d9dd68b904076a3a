using Corpora;
using ModelGen;
using ModelGen.Plots;

namespace Zoo.Rows;

/// <summary>A part of speech for every word.</summary>
[RecurrentTagger(Cell = Cell.Lstm, Hidden = 48, Embedding = 32, Vocab = TagRow.Vocabulary, Tags = TaggedSentence.TagCount, Context = TagRow.Longest, Dropout = 0.1)]
[Trainable(BatchSize = 32, SequenceLength = TagRow.Longest)]
public partial class PartOfSpeechTagger;

/// <summary>Parts of speech of the story grammar, whose words are often several: what comes after decides.</summary>
internal sealed class TagRow : ZooRow
{
    /// <summary>Room for the grammar's words, and 0 for words that training has not.</summary>
    public const int Vocabulary = 768;

    /// <summary>The most words of a sentence.</summary>
    public const int Longest = 28;

    private const int Batch = PartOfSpeechTagger.BatchSize;

    public override string Name => "tag";

    public override string Family => "RecurrentTagger";

    public override string Description => "A bidirectional LSTM learns parts of speech on the story grammar, where many words have several; beside it, each word's most frequent one.";

    public override RowOutcome Run(RowContext context)
    {
        StoryCorpus corpus = StoryCorpus.Generate((ulong)context.Seed);
        Dictionary<string, int> ids = corpus.Words.Take(Vocabulary - 1).Select((word, i) => (word, i)).ToDictionary(pair => pair.word, pair => pair.i + 1);
        TaggedSentence[] sentences = [.. corpus.TrainingSentences.Where(s => s.Tagged.Count <= Longest)];
        int[][] words = [.. sentences.Select(s => Ids(s, ids))], tags = [.. sentences.Select(s => s.Tagged.Select(w => (int)w.Tag).ToArray())];

        PartOfSpeechTagger model = PartOfSpeechTagger.Create(context.Seed);
        var random = new CounterRandom((ulong)context.Seed, 5);
        int[] tokens = new int[Batch * Longest], lengths = new int[Batch], targets = new int[Batch * Longest];
        using (PartOfSpeechTagger.Trainer trainer = model.CreateTrainer(new AdamW { LearningRate = 4e-3f, GradientClip = 1, Schedule = context.Cosine(1500, warmup: 50) }))
        {
            context.Train($"{sentences.Length} sentences to train on, {corpus.HeldOutSentences.Count} held out", 1500, "words", Batch * Longest, _ =>
            {
                tokens.AsSpan().Clear();
                targets.AsSpan().Fill(-1);
                for (int row = 0; row < Batch; row++)
                {
                    int drawn = random.NextInt32(sentences.Length);
                    lengths[row] = words[drawn].Length;
                    words[drawn].CopyTo(tokens, row * Longest);
                    tags[drawn].CopyTo(targets, row * Longest);
                }
                return trainer.Step(tokens, lengths, targets);
            }, trainer);
        }

        int[] usual = [.. Enumerable.Range(0, Vocabulary).Select(id => (int)PartOfSpeech.Noun)];
        foreach (var group in sentences.SelectMany(s => s.Tagged).GroupBy(w => w.Word))
            usual[ids.GetValueOrDefault(group.Key)] = (int)group.CountBy(w => w.Tag).MaxBy(pair => pair.Value).Key;
        var confusions = new int[TaggedSentence.TagCount, TaggedSentence.TagCount];
        int right = 0, guessed = 0, all = 0;
        using PartOfSpeechTagger.Session session = model.CreateSession();
        var logits = new float[Longest * TaggedSentence.TagCount];
        foreach (TaggedSentence sentence in corpus.HeldOutSentences.Where(s => s.Tagged.Count <= Longest))
        {
            int[] read = Ids(sentence, ids);
            Span<float> given = logits.AsSpan(0, read.Length * TaggedSentence.TagCount);
            session.Predict(read, given);
            for (int i = 0; i < read.Length; i++)
            {
                int tag = Sampler.ArgMax(given.Slice(i * TaggedSentence.TagCount, TaggedSentence.TagCount)), wanted = (int)sentence.Tagged[i].Tag;
                confusions[wanted, tag]++;
                right += tag == wanted ? 1 : 0;
                guessed += usual[read[i]] == wanted ? 1 : 0;
                all++;
            }
        }
        if (context.Plot("tag-confusions") is { } path)
            Pictures.ConfusionMatrix("Parts of speech of held-out sentences", confusions, Enum.GetNames<PartOfSpeech>()).SaveBoth(path);
        context.Figures(("each word's most frequent part of speech", $"{(double)guessed / all:P2} right"));
        return new RowOutcome(
            PartOfSpeechTagger.ParameterCount,
            new Figure("held-out words: accuracy", (double)right / all, 0.99),
            new Figure("of the errors that each word's most frequent tag makes, those left", (double)(all - right) / Math.Max(1, all - guessed), 0.25, LowerIsBetter: true));
    }

    private static int[] Ids(TaggedSentence sentence, Dictionary<string, int> ids) => [.. sentence.Words.Select(word => ids.GetValueOrDefault(word))];
}
