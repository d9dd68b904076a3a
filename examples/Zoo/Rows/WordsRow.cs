using Corpora;
using ModelGen;
using ModelGen.Plots;

namespace Zoo.Rows;

/// <summary>A narrow code for the words of the stories.</summary>
[WordAutoencoder(Vocab = WordTexts.StoryVocabulary, Code = 256, Window = 4)]
[Trainable(BatchSize = 256)]
public partial class StoryCodes;

/// <summary>Codes of words that are learned from their contexts alone: those of a kind come to lie near each other.</summary>
internal sealed class WordsRow : ZooRow
{
    private const int Window = 4;
    private const int Size = 256;
    private const int Seeds = 5;

    private static readonly string[][] s_kinds =
    [
        ["king", "queen", "prince", "princess", "duke", "duchess", "emperor", "empress"],
        ["armadillo", "fox", "wolf", "hare", "badger", "hedgehog", "otter", "squirrel"],
        ["farmer", "shepherd", "miller", "gardener", "milkmaid", "weaver", "baker", "grandmother"],
        ["sailor", "captain", "fisherman", "pirate", "diver", "pilot"],
    ];

    public override string Name => "words";

    public override string Family => "WordAutoencoder";

    public override string Description => "A code of 256 numbers for each word, from which a missing word is told by the words around it; five seeds.";

    public override RowOutcome Run(RowContext context)
    {
        StoryCorpus stories = StoryCorpus.Generate();
        VocabularyTokenizer tokenizer = WordTexts.Of(stories).Tokenizer;
        Vocabulary words = tokenizer.Vocabulary;
        (int[] contexts, int[] lengths, int[] targets) = Gaps(stories, tokenizer);
        int king = words.IdOf("king"), queen = words.IdOf("queen"), armadillo = words.IdOf("armadillo"), right = 0;
        double ofAKind = 0;
        float[] codes = [];
        for (int seed = 0; seed < Seeds; seed++)
        {
            codes = Train(context, context.Seed + seed, contexts, lengths, targets, words.Count);
            right += Cosine(codes, king, queen) > Cosine(codes, king, armadillo) ? 1 : 0;
            ofAKind += s_kinds.SelectMany(kind => kind, (kind, word) => kind.Contains(Nearest(codes, words, words.IdOf(word), 1).Single().Word) ? 1.0 : 0.0).Average() / Seeds;
        }
        foreach (string word in new[] { "king", "queen", "armadillo", "captain", "castle", "bread", "sailed", "golden" })
            context.Message($"{word}: {string.Join(", ", Nearest(codes, words, words.IdOf(word), 6).Select(n => $"{n.Word} {n.Cosine:F2}"))}");
        Draw(context, codes, words, stories);
        return new RowOutcome(StoryCodes.ParameterCount,
            new Figure("seeds of five in which king is nearer to queen than to armadillo", right, Seeds),
            new Figure("people and animals whose nearest word is one of their own kind", ofAKind, 0.9));
    }

    /// <summary>Every word with those around it, of the same sentence.</summary>
    private static (int[] Contexts, int[] Lengths, int[] Targets) Gaps(StoryCorpus stories, VocabularyTokenizer tokenizer)
    {
        (List<int> contexts, List<int> lengths, List<int> targets) = ([], [], []);
        foreach (TaggedSentence sentence in stories.TrainingSentences)
        {
            int[] ids = tokenizer.EncodeText(sentence.Line);
            for (int i = 0; i < ids.Length; i++)
            {
                int before = contexts.Count;
                for (int j = Math.Max(0, i - Window); j <= Math.Min(ids.Length - 1, i + Window); j++)
                {
                    if (j != i)
                        contexts.Add(ids[j]);
                }
                int length = contexts.Count - before;
                contexts.AddRange(Enumerable.Repeat(tokenizer.Vocabulary.PaddingId, 2 * Window - length));
                lengths.Add(length);
                targets.Add(ids[i]);
            }
        }
        return ([.. contexts], [.. lengths], [.. targets]);
    }

    private static float[] Train(RowContext context, int seed, int[] contexts, int[] lengths, int[] targets, int count)
    {
        const int Steps = 700, Batch = 256;
        StoryCodes model = StoryCodes.Create(seed);
        var random = new CounterRandom((ulong)seed, 11);
        int[] batchContexts = new int[Batch * 2 * Window], batchLengths = new int[Batch], batchTargets = new int[Batch];
        using (StoryCodes.Trainer trainer = model.CreateTrainer(new AdamW { LearningRate = 3e-3f, WeightDecay = 0.05f, Schedule = context.Cosine(Steps, warmup: 50) }))
        {
            context.Train(FormattableString.Invariant($"codes of words, seed {seed}"), Steps, "words", Batch, _ =>
            {
                for (int i = 0; i < Batch; i++)
                {
                    int gap = random.NextInt32(targets.Length);
                    contexts.AsSpan(gap * 2 * Window, 2 * Window).CopyTo(batchContexts.AsSpan(i * 2 * Window));
                    (batchLengths[i], batchTargets[i]) = (lengths[gap], targets[gap]);
                }
                return trainer.Step(batchContexts, batchLengths, batchTargets);
            }, trainer);
        }

        var codes = new float[count * Size];
        using StoryCodes.Session session = model.CreateSession();
        for (int first = 0; first < count; first += 256)
        {
            int rows = Math.Min(256, count - first);
            session.Encode(Enumerable.Range(first, rows).ToArray(), codes.AsSpan(first * Size, rows * Size));
        }
        return codes;
    }

    private static double Cosine(float[] codes, int a, int b) => Vectors.Cosine(codes.AsSpan(a * Size, Size), codes.AsSpan(b * Size, Size));

    private static IEnumerable<(string Word, double Cosine)> Nearest(float[] codes, Vocabulary words, int word, int count)
        => Enumerable.Range(words.SpecialCount, words.Count - words.SpecialCount).Where(other => other != word)
            .Select(other => (words[other], Cosine(codes, word, other))).OrderByDescending(pair => pair.Item2).Take(count);

    /// <summary>Two maps, each by the two directions in which its words differ most: the frequent nouns, adjectives, verbs and names, and people and animals alone.</summary>
    private static void Draw(RowContext context, float[] codes, Vocabulary words, StoryCorpus stories)
    {
        if (context.Plot("words-map") is not { } path)
            return;
        Dictionary<string, PartOfSpeech> tags = stories.TrainingSentences.SelectMany(s => s.Tagged).GroupBy(w => w.Word)
            .ToDictionary(g => g.Key, g => g.GroupBy(w => w.Tag).MaxBy(t => t.Count())!.Key);
        PartOfSpeech[] shown = [PartOfSpeech.Noun, PartOfSpeech.Adj, PartOfSpeech.Verb, PartOfSpeech.Propn];
        Map("Codes of words, in the plane of their greatest variance", path, [.. stories.Words.Where(word => shown.Contains(tags[word])).Take(120).Select(word => (word, tags[word].ToString()))]);
        Map("Codes of people and animals", context.Plot("words-kinds")!, [.. s_kinds.SelectMany(kind => kind.Select(word => (word, kind[0] + ", " + kind[1] + ", …")))]);

        void Map(string title, string file, (string Word, string Group)[] chosen)
        {
            float[] vectors = [.. chosen.SelectMany(word =>
            {
                float[] code = codes[(words.IdOf(word.Word) * Size)..((words.IdOf(word.Word) + 1) * Size)];
                float norm = MathF.Sqrt(code.Sum(x => x * x));
                return code.Select(x => x / norm);
            })];
            IReadOnlyList<(double X, double Y)> places = PrincipalComponents.Project(vectors, Size);
            Pictures.EmbeddingMap(title, [.. chosen.Select((word, i) => new MapPoint(word.Word, places[i].X, places[i].Y, word.Group))]).SaveBoth(file);
        }
    }
}
