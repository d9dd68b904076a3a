using Corpora;
using ModelGen;

namespace Zoo.Rows;

/// <summary>An encoder that is pre-trained by filling masks in the stories' sentences.</summary>
[Bert(Layers = 2, DModel = 64, Heads = 4, FeedForward = 128, Vocab = WordTexts.StoryVocabulary, Context = BertRow.Tokens, Head = BertHead.MaskedLm, MaxBatch = 8, Embeddings = Pooling.Mean, Normalize = true)]
[Trainable(BatchSize = 32, SequenceLength = BertRow.Tokens)]
public partial class StoryBert;

/// <summary>The same encoder with a classifier on top.</summary>
[Bert(Layers = 2, DModel = 64, Heads = 4, FeedForward = 128, Vocab = WordTexts.StoryVocabulary, Context = BertRow.Tokens, Head = BertHead.SequenceClassifier, Classes = 2)]
[Trainable(BatchSize = 32, SequenceLength = BertRow.Tokens)]
public partial class StoryClassifier;

/// <summary>A linear classifier of what the pre-trained encoder, which stays as it is, says at the first token: where the other classifier reads.</summary>
[Bert(Layers = 2, DModel = 64, Heads = 4, FeedForward = 128, Vocab = WordTexts.StoryVocabulary, Context = BertRow.Tokens, Head = BertHead.TokenClassifier, Classes = 2)]
[Trainable(BatchSize = 32, SequenceLength = BertRow.Tokens, Frozen = new[] { "bert." })]
public partial class StoryProbe;

/// <summary>Pre-training, and what it is good for.</summary>
internal sealed class BertRow : ZooRow
{
    /// <summary>The tokens of a sentence or a pair at the most, with those around them.</summary>
    internal const int Tokens = 28;

    private const int Width = 64;
    private const int Batch = 32;

    /// <summary>The labelled tasks, each with sentences and halves of the words of its own, that accuracies are the mean of.</summary>
    private const int Tasks = 5;

    public override string Name => "bert";

    public override string Family => "Bert";

    public override string Description => "An encoder that fills masks in the stories, then tells from 64 labels who acts, among those that no label named, and knows paraphrases.";

    public override RowOutcome Run(RowContext context)
    {
        StoryCorpus stories = StoryCorpus.Generate();
        VocabularyTokenizer words = WordTexts.Of(stories).Tokenizer;
        StoryBert model = Pretrain(context, stories, words);
        double loss = context.Losses.Skip(context.Losses.Count * 9 / 10).Average();
        double margin = FillThrone(context, model, words);
        IReadOnlyList<RewordedSentence> reworded = ParaphraseCorpus.Reword(stories.HeldOutSentences.Where(sentence => sentence.Tagged.Count <= Tokens - 2));
        double paraphrases = RankParaphrases(model, reworded, words);
        double untrained = Enumerable.Range(1, Tasks).Average(i => RankParaphrases(StoryBert.Create(context.Seed + i), reworded, words));
        IReadOnlyList<Paraphrase> pairs = ParaphraseCorpus.Generate();
        double forms = FindForms(model, pairs, words), untrainedForms = Enumerable.Range(1, Tasks).Average(i => FindForms(StoryBert.Create(context.Seed + i), pairs, words));

        string file = Path.GetTempFileName();
        double tuned = 0, scratch = 0, probe = 0;
        try
        {
            model.Save(file);
            for (int i = 0; i < Tasks; i++)
            {
                int seed = (context.Seed * Tasks) + i;
                SentenceTask task = SentenceTask.Agent((ulong)seed);
                string of = FormattableString.Invariant($"64 labels, task {i + 1} of {Tasks}");
                LoadOptions Options(params IReadOnlyList<string> missing) => new() { IgnoreUnexpected = true, MayBeMissing = missing, Seed = seed };
                tuned += Tune(context, $"fine-tuning on {of}", StoryClassifier.Load(file, Options("classifier.", "bert.pooler.")), task, words, seed) / Tasks;
                scratch += Tune(context, $"from scratch on {of}", StoryClassifier.Create(seed), task, words, seed) / Tasks;
                probe += Probe(context, $"a linear probe of the frozen encoder on {of}", StoryProbe.Load(file, Options("classifier.")), task, words, seed) / Tasks;
            }
        }
        finally
        {
            File.Delete(file);
        }
        context.Figures(
            ("from scratch", Percent(scratch)), ("linear probe", Percent(probe)), ("fine-tuned", Percent(tuned)),
            ("the same in another form, nearest among 200", Percent(forms)), ("by encoders that learned nothing", Percent(untrainedForms)),
            ("reworded sentences ranked first", Percent(paraphrases)), ("by encoders that learned nothing", Percent(untrained)));
        return new RowOutcome(StoryBert.ParameterCount,
            new Figure("The [MASK] sat on the throne: king, queen and princess above armadillo, nats at the least", margin, 1),
            new Figure("pre-training: the mean loss of the last tenth of the steps, nats", loss, 0.6, LowerIsBetter: true) { Peer = "bert" },
            new Figure("who acts, from 64 labels, of words that none of them had: accuracy when fine-tuned, over that from scratch", tuned - scratch, 0.2),
            new Figure("the same, fine-tuned over a linear probe", tuned - probe, 0),
            new Figure("the same, a linear probe over from scratch", probe - scratch, 0.1),
            new Figure("reworded sentences ranked before 10 distractors, the mean of tokens", paraphrases, 0.75),
            new Figure("the same, over encoders that learned nothing", paraphrases - untrained, 0.2),
            new Figure("the same in another form is the nearest of 200 sentences, the mean of tokens", forms, 0.8),
            new Figure("the same, over encoders that learned nothing", forms - untrainedForms, 0));
    }

    private static string Percent(double share) => share.ToString("P1", System.Globalization.CultureInfo.InvariantCulture);

    /// <summary>Sentences between their special tokens, cut to what the encoder takes.</summary>
    private static SequenceDataset Encode(IEnumerable<TaggedSentence> sentences, VocabularyTokenizer words) => SequenceDataset.FromSequences(sentences.Select(sentence =>
    {
        int[] ids = words.EncodeText(sentence.Line, beginning: true, end: true);
        return ids.Length <= Tokens ? ids : [.. ids[..(Tokens - 1)], ids[^1]];
    }));

    private static (int[] Tokens, int[] Lengths) Padded(SequenceDataset sentences, VocabularyTokenizer words)
    {
        (int[] tokens, int[] lengths) = (new int[sentences.Count * Tokens], new int[sentences.Count]);
        sentences.CopyPadded([.. Enumerable.Range(0, sentences.Count)], words.Vocabulary.PaddingId, tokens, lengths);
        return (tokens, lengths);
    }

    /// <summary>
    /// Fills masks: in sentences of the stories, and in pairs of a sentence and the same in another form, where what is masked in one can be read off the other (the objective of Conneau and Lample, "Cross-lingual
    /// Language Model Pretraining", 2019, with active and passive for two languages). From sentences alone it learns which words are of a kind, and to forget which of them it was, since king or queen is all the same to a throne; pairs
    /// make it say what a sentence says, in whatever form. So do tokens that are to be predicted and stay as they are, more of them than in the paper: their vectors must keep what they are.
    /// </summary>
    private static StoryBert Pretrain(RowContext context, StoryCorpus stories, VocabularyTokenizer words)
    {
        const int Steps = 7000, Pairs = 20_000, Alone = Batch / 2, Paired = Batch - Alone;
        SequenceDataset sentences = Encode(stories.TrainingSentences.Where(s => s.Tagged.Count <= Tokens - 2), words);
        SequenceDataset pairs = SequenceDataset.FromSequences(ParaphraseCorpus.Generate(seed: 99, Pairs, heldOut: false)
            .Select(pair => (int[])[.. words.EncodeText(pair.First.Line, beginning: true, end: true), .. words.EncodeText(pair.Second.Line, end: true)]).Where(pair => pair.Length <= Tokens));
        Vocabulary vocabulary = words.Vocabulary;
        var masking = new TokenMasking(vocabulary.MaskId, vocabulary.Count, vocabulary.SpecialCount) { Probability = 0.4, MaskedShare = 0.5 };
        StoryBert model = StoryBert.Create(context.Seed);
        var random = new CounterRandom((ulong)context.Seed, 13);
        SequenceBatchLoader ofSentences = new(sentences, Alone, seed: (ulong)context.Seed), ofPairs = new(pairs, Paired, seed: (ulong)context.Seed);
        int[] rows = new int[Alone], pairRows = new int[Paired], tokens = new int[Batch * Tokens], inputs = new int[Batch * Tokens], targets = new int[Batch * Tokens], counts = new int[Batch];
        var optimizer = new AdamW { LearningRate = 6e-3f, WeightDecay = 0.01f, GradientClip = 1, Schedule = context.Cosine(Steps, warmup: 200) };
        using StoryBert.Trainer trainer = model.CreateTrainer(optimizer);
        context.Export("bert", model.Save, optimizer, Steps)?.Batch("tokens", inputs, Batch, Tokens).Batch("lengths", counts, Batch).Batch("targets", targets, Batch, Tokens);
        context.Train(FormattableString.Invariant($"masked words of {sentences.Count} sentences and {pairs.Count} pairs"), Steps, "tokens", Batch * Tokens, _ =>
        {
            ofSentences.Next(rows);
            sentences.CopyPadded(rows, vocabulary.PaddingId, tokens.AsSpan(0, Alone * Tokens), counts.AsSpan(0, Alone));
            ofPairs.Next(pairRows);
            pairs.CopyPadded(pairRows, vocabulary.PaddingId, tokens.AsSpan(Alone * Tokens), counts.AsSpan(Alone));
            masking.Mask(tokens, inputs, targets, ref random);
            return trainer.Step(inputs, default, counts, targets);
        }, trainer);
        return model;
    }

    /// <summary>How much more probable the least of king, queen and princess is than armadillo, in nats.</summary>
    private static double FillThrone(RowContext context, StoryBert model, VocabularyTokenizer words)
    {
        Vocabulary vocabulary = words.Vocabulary;
        int[] tokens = words.EncodeText($"the {Vocabulary.Mask} sat on the throne .", beginning: true, end: true, specials: true);
        var logits = new float[tokens.Length * WordTexts.StoryVocabulary];
        using StoryBert.Session session = model.CreateSession();
        session.Predict(1, tokens.Length, tokens, default, default, logits);
        float[] mask = logits.AsSpan(Array.IndexOf(tokens, vocabulary.MaskId) * WordTexts.StoryVocabulary, WordTexts.StoryVocabulary).ToArray();
        int[] best = [.. Enumerable.Range(0, vocabulary.Count).OrderByDescending(id => mask[id]).Take(8)];
        context.Message($"The [MASK] sat on the throne: {string.Join(", ", best.Select(id => vocabulary[id]))}");
        return new[] { "king", "queen", "princess" }.Min(word => mask[vocabulary.IdOf(word)]) - mask[vocabulary.IdOf("armadillo")];
    }

    private static float[] Embed(StoryBert model, IEnumerable<TaggedSentence> sentences, VocabularyTokenizer words)
    {
        const int Chunk = 8;
        (int[] tokens, int[] lengths) = Padded(Encode(sentences, words), words);
        var embeddings = new float[lengths.Length * Width];
        using StoryBert.Session session = model.CreateSession();
        for (int first = 0; first < lengths.Length; first += Chunk)
        {
            int count = Math.Min(Chunk, lengths.Length - first);
            session.Embed(count, Tokens, tokens.AsSpan(first * Tokens, count * Tokens), default, lengths.AsSpan(first, count), embeddings.AsSpan(first * Width, count * Width));
        }
        return embeddings;
    }

    private static double Cosine(float[] one, int i, float[] other, int j) => Vectors.Cosine(one.AsSpan(i * Width, Width), other.AsSpan(j * Width, Width));

    /// <summary>The share of sentences that are nearer to their paraphrase than to all their distractors.</summary>
    private static double RankParaphrases(StoryBert model, IReadOnlyList<RewordedSentence> reworded, VocabularyTokenizer words)
    {
        int distractors = reworded[0].Distractors.Count;
        float[] sentences = Embed(model, reworded.Select(one => one.Sentence), words), paraphrases = Embed(model, reworded.Select(one => one.Paraphrase), words);
        float[] others = Embed(model, reworded.SelectMany(one => one.Distractors), words);
        return Enumerable.Range(0, reworded.Count).Average(i =>
            Cosine(sentences, i, paraphrases, i) > Enumerable.Range(i * distractors, distractors).Max(j => Cosine(sentences, i, others, j)) ? 1.0 : 0.0);
    }

    /// <summary>The share of sentences whose nearest among all the others, which are in any form too, is the same in another form (active, passive, cleft, place first).</summary>
    private static double FindForms(StoryBert model, IReadOnlyList<Paraphrase> pairs, VocabularyTokenizer words)
    {
        float[] first = Embed(model, pairs.Select(pair => pair.First), words), second = Embed(model, pairs.Select(pair => pair.Second), words);
        return Enumerable.Range(0, pairs.Count).Average(i => Enumerable.Range(0, pairs.Count).MaxBy(j => Cosine(first, i, second, j)) == i ? 1.0 : 0.0);
    }

    private static double Tune(RowContext context, string what, StoryClassifier model, SentenceTask task, VocabularyTokenizer words, int seed)
    {
        const int Steps = 250;
        var batches = new TaskBatches(task, words, seed);
        using (StoryClassifier.Trainer trainer = model.CreateTrainer(new AdamW { LearningRate = 1e-3f, WeightDecay = 0.01f, GradientClip = 1, Schedule = context.Cosine(Steps, warmup: 20) }))
        {
            context.Train(what, Steps, "tokens", Batch * Tokens, _ =>
            {
                batches.Next();
                return trainer.Step(batches.Tokens, default, batches.Lengths, batches.Labels);
            }, trainer);
        }
        using StoryClassifier.Session session = model.CreateSession();
        return Accuracy(task, words, (tokens, logits) => session.Predict(1, tokens.Length, tokens, default, default, logits), outputs: 1);
    }

    private static double Probe(RowContext context, string what, StoryProbe model, SentenceTask task, VocabularyTokenizer words, int seed)
    {
        const int Steps = 250;
        var batches = new TaskBatches(task, words, seed);
        int[] targets = new int[Batch * Tokens];
        Array.Fill(targets, -1);
        using (StoryProbe.Trainer trainer = model.CreateTrainer(new AdamW { LearningRate = 2e-2f, WeightDecay = 0.01f, Schedule = context.Cosine(Steps, warmup: 20) }))
        {
            context.Train(what, Steps, "tokens", Batch * Tokens, _ =>
            {
                batches.Next();
                for (int i = 0; i < Batch; i++)
                    targets[i * Tokens] = batches.Labels[i];
                return trainer.Step(batches.Tokens, default, batches.Lengths, targets);
            }, trainer);
        }
        using StoryProbe.Session session = model.CreateSession();
        return Accuracy(task, words, (tokens, logits) => session.Predict(1, tokens.Length, tokens, default, default, logits), outputs: Tokens);
    }

    private delegate void Classifier(ReadOnlySpan<int> tokens, Span<float> logits);

    /// <summary>The share of held-out sentences whose class is the likelier one at the first of at most so many outputs.</summary>
    private static double Accuracy(SentenceTask task, VocabularyTokenizer words, Classifier classify, int outputs)
    {
        (int[] sentences, int[] lengths) = Padded(Encode(task.HeldOut.Select(one => one.Sentence), words), words);
        var logits = new float[2 * outputs];
        int right = 0;
        for (int i = 0; i < lengths.Length; i++)
        {
            classify(sentences.AsSpan(i * Tokens, lengths[i]), logits.AsSpan(0, 2 * Math.Min(outputs, lengths[i])));
            right += (logits[1] > logits[0] ? 1 : 0) == task.HeldOut[i].Label ? 1 : 0;
        }
        return right / (double)lengths.Length;
    }

    /// <summary>Batches of the labelled sentences.</summary>
    private sealed class TaskBatches(SentenceTask task, VocabularyTokenizer words, int seed)
    {
        private readonly SequenceDataset _sentences = Encode(task.Training.Select(one => one.Sentence), words);
        private readonly int[] _labels = [.. task.Training.Select(one => one.Label)];
        private readonly int[] _rows = new int[Batch];
        private SequenceBatchLoader? _loader;

        public int[] Tokens { get; } = new int[Batch * BertRow.Tokens];

        public int[] Lengths { get; } = new int[Batch];

        public int[] Labels { get; } = new int[Batch];

        public void Next()
        {
            (_loader ??= new SequenceBatchLoader(_sentences, Batch, seed: (ulong)seed)).Next(_rows);
            _sentences.CopyPadded(_rows, words.Vocabulary.PaddingId, Tokens, Lengths);
            for (int i = 0; i < Batch; i++)
                Labels[i] = _labels[_rows[i]];
        }
    }
}
