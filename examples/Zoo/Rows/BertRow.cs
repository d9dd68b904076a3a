using Corpora;
using ModelGen;

namespace Zoo.Rows;

/// <summary>An encoder that is pre-trained by filling masks in the stories' sentences.</summary>
[Bert(Layers = 2, DModel = 64, Heads = 4, FeedForward = 128, Vocab = StoryWords.VocabularySize, Context = BertRow.Tokens, Head = BertHead.MaskedLm, MaxBatch = 8, Embeddings = Pooling.Mean, Normalize = true)]
[Trainable(BatchSize = 32, SequenceLength = BertRow.Tokens)]
public partial class StoryBert;

/// <summary>The same encoder with a classifier on top.</summary>
[Bert(Layers = 2, DModel = 64, Heads = 4, FeedForward = 128, Vocab = StoryWords.VocabularySize, Context = BertRow.Tokens, Head = BertHead.SequenceClassifier, Classes = 2)]
[Trainable(BatchSize = 32, SequenceLength = BertRow.Tokens)]
public partial class StoryClassifier;

/// <summary>A linear classifier of what the pre-trained encoder, which stays as it is, says at the first token: where the other classifier reads.</summary>
[Bert(Layers = 2, DModel = 64, Heads = 4, FeedForward = 128, Vocab = StoryWords.VocabularySize, Context = BertRow.Tokens, Head = BertHead.TokenClassifier, Classes = 2)]
[Trainable(BatchSize = 32, SequenceLength = BertRow.Tokens, Frozen = new[] { "bert." })]
public partial class StoryProbe;

/// <summary>Pre-training, and what it is good for.</summary>
internal sealed class BertRow : ZooRow
{
    /// <summary>The tokens of a sentence at the most, with those around it.</summary>
    internal const int Tokens = 20;

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
        var words = new StoryWords(stories);
        StoryBert model = Pretrain(context, stories, words);
        double margin = FillThrone(context, model, words);
        IReadOnlyList<RewordedSentence> reworded = ParaphraseCorpus.Reword(stories.HeldOutSentences.Where(sentence => sentence.Tagged.Count <= Tokens - 2));
        double paraphrases = RankParaphrases(model, reworded, words);
        double untrained = Enumerable.Range(1, Tasks).Average(i => RankParaphrases(StoryBert.Create(context.Seed + i), reworded, words));
        CompareForms(context, model, words);

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
            ("paraphrases ranked first", Percent(paraphrases)), ("by encoders that learned nothing", Percent(untrained)));
        return new RowOutcome(StoryBert.ParameterCount,
            new Figure("The [MASK] sat on the throne: king, queen and princess above armadillo, nats at the least", margin, 1),
            new Figure("who acts, from 64 labels, of words that none of them had: accuracy when fine-tuned, over that from scratch", tuned - scratch, 0.05),
            new Figure("the same, fine-tuned over a linear probe", tuned - probe, 0),
            new Figure("the same, a linear probe over from scratch", probe - scratch, 0),
            new Figure("reworded sentences ranked before 10 distractors, the mean of tokens", paraphrases, 0.5),
            new Figure("the same, over encoders that learned nothing", paraphrases - untrained, 0.2));
    }

    private static string Percent(double share) => share.ToString("P1", System.Globalization.CultureInfo.InvariantCulture);

    /// <summary>A sentence between its special tokens, padded; the number of its tokens.</summary>
    private static int Encode(IEnumerable<string> sentence, StoryWords words, Span<int> tokens)
    {
        int[] ids = [StoryWords.Begin, .. words.Ids(sentence).Take(Tokens - 2), StoryWords.End];
        tokens.Fill(StoryWords.Pad);
        ids.CopyTo(tokens);
        return ids.Length;
    }

    private static (int[] Tokens, int[] Lengths) EncodeAll(IEnumerable<TaggedSentence> sentences, StoryWords words)
    {
        TaggedSentence[] all = [.. sentences];
        (int[] tokens, int[] lengths) = (new int[all.Length * Tokens], new int[all.Length]);
        for (int i = 0; i < all.Length; i++)
            lengths[i] = Encode(all[i].Words, words, tokens.AsSpan(i * Tokens, Tokens));
        return (tokens, lengths);
    }

    private static StoryBert Pretrain(RowContext context, StoryCorpus stories, StoryWords words)
    {
        const int Steps = 7000;
        (int[] sentences, int[] lengths) = EncodeAll(stories.TrainingSentences.Where(s => s.Tagged.Count <= Tokens - 2), words);
        var masking = new TokenMasking(StoryWords.Mask, words.Count, StoryWords.FirstWord) { Probability = 0.25 };
        StoryBert model = StoryBert.Create(context.Seed);
        var random = new CounterRandom((ulong)context.Seed, 13);
        int[] tokens = new int[Batch * Tokens], inputs = new int[Batch * Tokens], targets = new int[Batch * Tokens], counts = new int[Batch];
        using StoryBert.Trainer trainer = model.CreateTrainer(new AdamW { LearningRate = 6e-3f, WeightDecay = 0.01f, GradientClip = 1, Schedule = context.Cosine(Steps, warmup: 200) });
        context.Train(FormattableString.Invariant($"masked words of {lengths.Length} sentences"), Steps, "tokens", Batch * Tokens, _ =>
        {
            for (int i = 0; i < Batch; i++)
            {
                int sentence = random.NextInt32(lengths.Length);
                sentences.AsSpan(sentence * Tokens, Tokens).CopyTo(tokens.AsSpan(i * Tokens));
                counts[i] = lengths[sentence];
            }
            masking.Mask(tokens, inputs, targets, ref random);
            return trainer.Step(inputs, default, counts, targets);
        }, trainer);
        return model;
    }

    /// <summary>How much more probable the least of king, queen and princess is than armadillo, in nats.</summary>
    private static double FillThrone(RowContext context, StoryBert model, StoryWords words)
    {
        int[] tokens = [StoryWords.Begin, words["the"], StoryWords.Mask, .. words.Ids(["sat", "on", "the", "throne", "."]), StoryWords.End];
        var logits = new float[tokens.Length * StoryWords.VocabularySize];
        using StoryBert.Session session = model.CreateSession();
        session.Predict(1, tokens.Length, tokens, default, default, logits);
        float[] mask = logits[(2 * StoryWords.VocabularySize)..(3 * StoryWords.VocabularySize)];
        int[] best = [.. Enumerable.Range(0, words.Count).OrderByDescending(id => mask[id]).Take(8)];
        context.Message($"The [MASK] sat on the throne: {string.Join(", ", best.Select(id => words[id]))}");
        return new[] { "king", "queen", "princess" }.Min(word => mask[words[word]]) - mask[words["armadillo"]];
    }

    private static float[] Embed(StoryBert model, IReadOnlyList<TaggedSentence> sentences, StoryWords words)
    {
        const int Chunk = 8;
        (int[] tokens, int[] lengths) = EncodeAll(sentences, words);
        var embeddings = new float[sentences.Count * Width];
        using StoryBert.Session session = model.CreateSession();
        for (int first = 0; first < sentences.Count; first += Chunk)
        {
            int count = Math.Min(Chunk, sentences.Count - first);
            session.Embed(count, Tokens, tokens.AsSpan(first * Tokens, count * Tokens), default, lengths.AsSpan(first, count), embeddings.AsSpan(first * Width, count * Width));
        }
        return embeddings;
    }

    private static double Cosine(float[] one, int i, float[] other, int j) => Enumerable.Range(0, Width).Sum(c => (double)one[(i * Width) + c] * other[(j * Width) + c]);

    /// <summary>The share of sentences that are nearer to their paraphrase than to all their distractors.</summary>
    private static double RankParaphrases(StoryBert model, IReadOnlyList<RewordedSentence> reworded, StoryWords words)
    {
        int distractors = reworded[0].Distractors.Count;
        float[] sentences = Embed(model, [.. reworded.Select(one => one.Sentence)], words), paraphrases = Embed(model, [.. reworded.Select(one => one.Paraphrase)], words);
        float[] others = Embed(model, [.. reworded.SelectMany(one => one.Distractors)], words);
        return Enumerable.Range(0, reworded.Count).Average(i =>
            Cosine(sentences, i, paraphrases, i) > Enumerable.Range(i * distractors, distractors).Max(j => Cosine(sentences, i, others, j)) ? 1.0 : 0.0);
    }

    /// <summary>
    /// Says how often the same in another form (active, passive, cleft, place first) is nearest among 200 sentences. It is no figure of learning: forms share their words, and vectors
    /// of words that mean nothing yet find them, while those that were learned by filling masks say what form a sentence has.
    /// </summary>
    private static void CompareForms(RowContext context, StoryBert model, StoryWords words)
    {
        IReadOnlyList<Paraphrase> pairs = ParaphraseCorpus.Generate();
        double Nearest(StoryBert encoder)
        {
            float[] first = Embed(encoder, [.. pairs.Select(pair => pair.First)], words), second = Embed(encoder, [.. pairs.Select(pair => pair.Second)], words);
            return Enumerable.Range(0, pairs.Count).Average(i => Enumerable.Range(0, pairs.Count).MaxBy(j => Cosine(first, i, second, j)) == i ? 1.0 : 0.0);
        }
        context.Message($"The same in another form, nearest among {pairs.Count} by common words: {Percent(Nearest(model))}, and {Percent(Nearest(StoryBert.Create(context.Seed + 1)))} by an encoder that learned nothing");
    }

    private static double Tune(RowContext context, string what, StoryClassifier model, SentenceTask task, StoryWords words, int seed)
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

    private static double Probe(RowContext context, string what, StoryProbe model, SentenceTask task, StoryWords words, int seed)
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
    private static double Accuracy(SentenceTask task, StoryWords words, Classifier classify, int outputs)
    {
        (int[] sentences, int[] lengths) = EncodeAll(task.HeldOut.Select(one => one.Sentence), words);
        var logits = new float[2 * outputs];
        int right = 0;
        for (int i = 0; i < lengths.Length; i++)
        {
            classify(sentences.AsSpan(i * Tokens, lengths[i]), logits.AsSpan(0, 2 * Math.Min(outputs, lengths[i])));
            right += (logits[1] > logits[0] ? 1 : 0) == task.HeldOut[i].Label ? 1 : 0;
        }
        return right / (double)lengths.Length;
    }

    /// <summary>Batches of the labelled sentences, drawn with replacement.</summary>
    private sealed class TaskBatches
    {
        private readonly int[] _sentences;
        private readonly int[] _lengths;
        private readonly int[] _labels;
        private CounterRandom _random;

        public TaskBatches(SentenceTask task, StoryWords words, int seed)
        {
            (_sentences, _lengths) = EncodeAll(task.Training.Select(one => one.Sentence), words);
            _labels = [.. task.Training.Select(one => one.Label)];
            _random = new CounterRandom((ulong)seed, 14);
        }

        public int[] Tokens { get; } = new int[Batch * BertRow.Tokens];

        public int[] Lengths { get; } = new int[Batch];

        public int[] Labels { get; } = new int[Batch];

        public void Next()
        {
            for (int i = 0; i < Batch; i++)
            {
                int sentence = _random.NextInt32(_lengths.Length);
                _sentences.AsSpan(sentence * BertRow.Tokens, BertRow.Tokens).CopyTo(Tokens.AsSpan(i * BertRow.Tokens));
                (Lengths[i], Labels[i]) = (_lengths[sentence], _labels[sentence]);
            }
        }
    }
}
