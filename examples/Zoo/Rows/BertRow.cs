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

/// <summary>A linear classifier of what the pre-trained encoder says of a sentence.</summary>
[Mlp(64, 2)]
[Trainable(BatchSize = 64)]
public partial class LinearProbe;

/// <summary>Pre-training, and what it is good for.</summary>
internal sealed class BertRow : ZooRow
{
    /// <summary>The tokens of a sentence at the most, with those around it.</summary>
    internal const int Tokens = 20;

    private const int Width = 64;
    private const int Batch = 32;

    public override string Name => "bert";

    public override string Family => "Bert";

    public override string Description => "An encoder that fills masks in the stories, then tells from 64 labels what can be and what cannot, and finds paraphrases.";

    public override RowOutcome Run(RowContext context)
    {
        StoryCorpus stories = StoryCorpus.Generate();
        var words = new StoryWords(stories);
        StoryBert model = Pretrain(context, stories, words);
        double margin = FillThrone(context, model, words);
        double paraphrases = FindParaphrases(model, words);

        SentenceTask task = SentenceTask.Plausible();
        string file = Path.GetTempFileName();
        double tuned, scratch, probe;
        try
        {
            model.Save(file);
            StoryClassifier pretrained = StoryClassifier.Load(file, new LoadOptions { IgnoreUnexpected = true, MayBeMissing = ["classifier.", "bert.pooler."], Seed = context.Seed });
            tuned = Tune(context, "fine-tuning on 64 labels", pretrained, task, words);
            scratch = Tune(context, "from scratch on 64 labels", StoryClassifier.Create(context.Seed), task, words);
            probe = Probe(context, model, task, words);
        }
        finally
        {
            File.Delete(file);
        }
        context.Figures(
            ("from scratch", scratch.ToString("P1", System.Globalization.CultureInfo.InvariantCulture)),
            ("linear probe", probe.ToString("P1", System.Globalization.CultureInfo.InvariantCulture)),
            ("fine-tuned", tuned.ToString("P1", System.Globalization.CultureInfo.InvariantCulture)));
        return new RowOutcome(StoryBert.ParameterCount,
            new Figure("The [MASK] sat on the throne: king, queen and princess above armadillo, nats at the least", margin, 1),
            new Figure("plausible or not from 64 labels: accuracy when fine-tuned, over that from scratch", tuned - scratch, 0.05),
            new Figure("the same, fine-tuned over a linear probe", tuned - probe, 0),
            new Figure("the same, a linear probe over from scratch", probe - scratch, 0),
            new Figure("paraphrases that are nearest among 200", paraphrases, 0.5));
    }

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

    /// <summary>The share of sentences whose paraphrase is nearer than all others' paraphrases.</summary>
    private static double FindParaphrases(StoryBert model, StoryWords words)
    {
        IReadOnlyList<Paraphrase> pairs = ParaphraseCorpus.Generate();
        float[] first = Embed(model, [.. pairs.Select(p => p.First)], words), second = Embed(model, [.. pairs.Select(p => p.Second)], words);
        double Cosine(int i, int j) => Enumerable.Range(0, Width).Sum(c => (double)first[i * Width + c] * second[j * Width + c]);
        return Enumerable.Range(0, pairs.Count).Average(i => Enumerable.Range(0, pairs.Count).MaxBy(j => Cosine(i, j)) == i ? 1.0 : 0.0);
    }

    private static double Tune(RowContext context, string what, StoryClassifier model, SentenceTask task, StoryWords words)
    {
        const int Steps = 250;
        (int[] sentences, int[] lengths) = EncodeAll(task.Training.Select(s => s.Sentence), words);
        int[] tokens = new int[Batch * Tokens], counts = new int[Batch], targets = new int[Batch];
        var random = new CounterRandom((ulong)context.Seed, 14);
        using (StoryClassifier.Trainer trainer = model.CreateTrainer(new AdamW { LearningRate = 5e-4f, WeightDecay = 0.01f, GradientClip = 1, Schedule = context.Cosine(Steps, warmup: 20) }))
        {
            context.Train(what, Steps, "tokens", Batch * Tokens, _ =>
            {
                for (int i = 0; i < Batch; i++)
                {
                    int sentence = random.NextInt32(lengths.Length);
                    sentences.AsSpan(sentence * Tokens, Tokens).CopyTo(tokens.AsSpan(i * Tokens));
                    (counts[i], targets[i]) = (lengths[sentence], task.Training[sentence].Label);
                }
                return trainer.Step(tokens, default, counts, targets);
            }, trainer);
        }
        (int[] test, int[] testLengths) = EncodeAll(task.HeldOut.Select(s => s.Sentence), words);
        using StoryClassifier.Session session = model.CreateSession();
        var logits = new float[2];
        int right = 0;
        for (int i = 0; i < testLengths.Length; i++)
        {
            session.Predict(1, testLengths[i], test.AsSpan(i * Tokens, testLengths[i]), default, default, logits);
            right += (logits[1] > logits[0] ? 1 : 0) == task.HeldOut[i].Label ? 1 : 0;
        }
        return right / (double)testLengths.Length;
    }

    private static double Probe(RowContext context, StoryBert model, SentenceTask task, StoryWords words)
    {
        const int Steps = 500;
        float[] features = Embed(model, [.. task.Training.Select(s => s.Sentence)], words), test = Embed(model, [.. task.HeldOut.Select(s => s.Sentence)], words);
        int[] labels = [.. task.Training.Select(s => s.Label)];
        LinearProbe probe = LinearProbe.Create(context.Seed);
        using (LinearProbe.Trainer trainer = probe.CreateTrainer(new AdamW { LearningRate = 0.05f, WeightDecay = 0.01f }))
            context.Train("a linear probe of the frozen encoder", Steps, "examples", labels.Length, _ => trainer.Step(features, labels), trainer);
        var logits = new float[task.HeldOut.Count * 2];
        using LinearProbe.Session session = probe.CreateSession();
        session.Predict(test, logits);
        return Enumerable.Range(0, task.HeldOut.Count).Average(i => (logits[2 * i + 1] > logits[2 * i] ? 1 : 0) == task.HeldOut[i].Label ? 1.0 : 0.0);
    }
}
