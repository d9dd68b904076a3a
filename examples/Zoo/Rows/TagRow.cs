using Corpora;
using ModelGen;
using ModelGen.Plots;

namespace Zoo.Rows;

/// <summary>A part of speech for every word.</summary>
[RecurrentTagger(Cell = Cell.Lstm, Hidden = 48, Embedding = 32, Vocab = TagRow.Vocabulary, Tags = TaggedSentence.TagCount, Context = TagRow.Longest)]
[Trainable(BatchSize = 32, SequenceLength = TagRow.Longest)]
public partial class PartOfSpeechTagger;

/// <summary>Parts of speech of the story grammar, whose words are often several: what comes after decides.</summary>
internal sealed class TagRow : ZooRow
{
    /// <summary>Room for the grammar's words.</summary>
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
        TaggedSentence[] sentences = [.. corpus.TrainingSentences.Where(s => s.Tagged.Count <= Longest)], heldOut = [.. corpus.HeldOutSentences.Where(s => s.Tagged.Count <= Longest)];
        VocabularyTokenizer tokenizer = WordTexts.TokenizerOf(sentences.Select(s => s.Line), Vocabulary);
        (SequenceDataset Words, SequenceDataset Tags) Encoded(TaggedSentence[] of)
            => (SequenceDataset.FromSequences(of.Select(s => tokenizer.EncodeText(s.Line))), SequenceDataset.FromSequences(of.Select(s => s.Tagged.Select(w => (int)w.Tag).ToArray())));
        (SequenceDataset words, SequenceDataset tags) = Encoded(sentences);
        (SequenceDataset heldOutWords, SequenceDataset heldOutTags) = Encoded(heldOut);

        const int Steps = 1500;
        PartOfSpeechTagger model = PartOfSpeechTagger.Create(context.Seed);
        var loader = new SequenceBatchLoader(words, Batch, seed: (ulong)context.Seed);
        int[] rows = new int[Batch], tokens = new int[Batch * Longest], lengths = new int[Batch], targets = new int[Batch * Longest];
        var optimizer = new AdamW { LearningRate = 4e-3f, GradientClip = 1, Schedule = context.Cosine(Steps, warmup: 50) };
        using (PartOfSpeechTagger.Trainer trainer = model.CreateTrainer(optimizer))
        {
            if (context.Export("tag", model.Save, optimizer, Steps) is { } export)
            {
                int count = heldOut.Length;
                int[] allRows = [.. Enumerable.Range(0, count)], allTokens = new int[count * Longest], allLengths = new int[count], allTags = new int[count * Longest];
                heldOutWords.CopyPadded(allRows, tokenizer.Vocabulary.PaddingId, allTokens, allLengths);
                heldOutTags.CopyPadded(allRows, -1, allTags, default);
                export.Batch("tokens", tokens, Batch, Longest).Batch("lengths", lengths, Batch).Batch("targets", targets, Batch, Longest)
                    .Data("tokens", allTokens, count, Longest).Data("lengths", allLengths, count).Data("targets", allTags, count, Longest);
            }
            context.Train($"{sentences.Length} sentences to train on, {heldOut.Length} held out", Steps, "words", Batch * Longest, _ =>
            {
                loader.Next(rows);
                words.CopyPadded(rows, tokenizer.Vocabulary.PaddingId, tokens, lengths);
                tags.CopyPadded(rows, -1, targets, default);
                return trainer.Step(tokens, lengths, targets);
            }, trainer);
        }

        int[] usual = [.. Enumerable.Repeat((int)PartOfSpeech.Noun, tokenizer.VocabularySize)];
        foreach (var group in sentences.SelectMany(s => s.Tagged).GroupBy(w => w.Word))
            usual[tokenizer.Vocabulary.IdOf(group.Key)] = (int)group.CountBy(w => w.Tag).MaxBy(pair => pair.Value).Key;
        var confusions = new int[TaggedSentence.TagCount, TaggedSentence.TagCount];
        int right = 0, guessed = 0, all = 0;
        using PartOfSpeechTagger.Session session = model.CreateSession();
        var logits = new float[Longest * TaggedSentence.TagCount];
        for (int sentence = 0; sentence < heldOut.Length; sentence++)
        {
            int[] read = heldOutWords.ToArray(sentence), wanted = heldOutTags.ToArray(sentence);
            Span<float> given = logits.AsSpan(0, read.Length * TaggedSentence.TagCount);
            session.Predict(read, given);
            for (int i = 0; i < read.Length; i++)
            {
                int tag = Sampler.ArgMax(given.Slice(i * TaggedSentence.TagCount, TaggedSentence.TagCount));
                confusions[wanted[i], tag]++;
                right += tag == wanted[i] ? 1 : 0;
                guessed += usual[read[i]] == wanted[i] ? 1 : 0;
                all++;
            }
        }
        if (context.Plot("tag-confusions") is { } path)
            Pictures.ConfusionMatrix("Parts of speech of held-out sentences", confusions, Enum.GetNames<PartOfSpeech>()).SaveBoth(path);
        context.Figures(("each word's most frequent part of speech", $"{(double)guessed / all:P2} right"));
        return new RowOutcome(
            PartOfSpeechTagger.ParameterCount,
            new Figure("held-out words: accuracy", (double)right / all, 0.99) { Peer = "tag" },
            new Figure("of the errors that each word's most frequent tag makes, those left", (double)(all - right) / Math.Max(1, all - guessed), 0.25, LowerIsBetter: true));
    }
}
