using Corpora;
using Examples;
using ModelGen;
using ModelGen.Plots;

namespace Zoo.Rows;

/// <summary>English to French, word by word.</summary>
[Transformer(EncoderLayers = 2, DecoderLayers = 2, DModel = 96, Heads = 4, FeedForward = 192, SourceVocab = 512, TargetVocab = 512, Context = 24, PreNorm = true, LabelSmoothing = 0.1, AttentionWeights = true, MaxBatch = 4)]
[Trainable(BatchSize = 32, SequenceLength = 22, SourceLength = 20)]
public partial class WordTransformer;

/// <summary>Letters to phonemes.</summary>
[Transformer(EncoderLayers = 2, DecoderLayers = 2, DModel = 96, Heads = 4, FeedForward = 192, SourceVocab = 32, TargetVocab = 80, Context = 20, PreNorm = true, LabelSmoothing = 0.1, MaxBatch = 4)]
[Trainable(BatchSize = 64, SequenceLength = 18, SourceLength = 16)]
public partial class SpellingTransformer;

/// <summary>Sentences of a synchronous grammar, and spelling to pronunciation where a dictionary is at hand.</summary>
internal sealed class TransformerRow : ZooRow
{
    private const int Beginning = 1;
    private const int End = 2;
    private const int Specials = 3;

    public override string Name => "transformer";

    public override string Family => "Transformer";

    public override string Description => "An encoder-decoder Transformer: English to French, and spelling to pronunciation where the CMU dictionary is at hand.";

    public override string? TextHelp => "a pronunciation dictionary, a word and its phonemes in each line, as the CMU dictionary has them";

    public override RowOutcome Run(RowContext context)
    {
        TranslationCorpus corpus = TranslationCorpus.Generate();
        var french = new Figure("held-out sentences translated word for word", Translate(context, corpus), 0.95);
        string? dictionary = context.TextPath ?? context.Data("pronunciation", "dict.txt");
        if (dictionary is null)
        {
            context.Message("There is no pronunciation dictionary (MODELGEN_TEST_DATA or --text): it is left out.");
            return new RowOutcome(WordTransformer.ParameterCount, french);
        }
        return new RowOutcome(WordTransformer.ParameterCount, french, new Figure("held-out words: phoneme error rate", Spell(context, dictionary), 0.25, LowerIsBetter: true));
    }

    private static double Translate(RowContext context, TranslationCorpus corpus)
    {
        Dictionary<string, int> english = Numbers(TranslationCorpus.EnglishWords), french = Numbers(TranslationCorpus.FrenchWords);
        Pair[] Pairs(IEnumerable<SentencePair> pairs) => [.. pairs.Select(pair => new Pair([.. pair.English.Select(word => english[word])], [.. pair.French.Select(word => french[word])]))];
        WordTransformer model = WordTransformer.Create(context.Seed);
        const int Steps = 1200;
        using (WordTransformer.Trainer trainer = model.CreateTrainer(new AdamW { LearningRate = 2e-3f, WeightDecay = 0, GradientClip = 1, Schedule = context.Cosine(Steps, warmup: 100) }))
            Train(context, "English to French", Steps, trainer, Pairs(corpus.Training));
        using WordTransformer.Session session = model.CreateSession(new SessionOptions { Batch = 4 });
        var accuracy = new SequenceAccuracy();
        Decode(session, Pairs(corpus.HeldOut.Take(300)), (expected, output) => accuracy.Add(expected, output));
        if (context.Plot("transformer-attention") is { } plot)
            DrawAttention(session, "Do they see the old king ?", english, plot);
        return accuracy.ExactMatch;
    }

    /// <summary>What the mean head attends to, for each word of a translation: source words × target words.</summary>
    private static void DrawAttention(WordTransformer.Session session, string sentence, Dictionary<string, int> english, string path)
    {
        IReadOnlyList<string> words = TranslationCorpus.TokenizeEnglish(sentence);
        var search = new BeamSearch(session, new BeamSearchOptions { Beams = 4, EndTokens = [End], Alignment = true });
        session.Encode(0, [.. words.Select(word => english[word])]);
        search.Search([Beginning]);
        Hypothesis found = search.Result(0);
        string[] written = [.. found.Tokens.ToArray().Select(id => id == End ? "(end)" : id >= Specials && id - Specials < TranslationCorpus.FrenchWords.Count ? TranslationCorpus.FrenchWords[id - Specials] : "?")];
        var weights = new float[written.Length * words.Count];
        for (int t = 0; t < written.Length; t++)
            found.Alignment.Slice(t * session.AlignmentLength, words.Count).CopyTo(weights.AsSpan(t * words.Count));
        Pictures.AttentionMap("Cross-attention, the mean of all heads", weights, written, words).SaveBoth(path);
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
        Dictionary<string, int> letters = Numbers(Enumerable.Range('A', 26).Select(letter => ((char)letter).ToString()));
        Dictionary<string, int> phonemes = Numbers(entries.SelectMany(entry => entry[1..]).Distinct().Order(StringComparer.Ordinal));
        if (entries.Length < 2000 || phonemes.Count + Specials > SpellingTransformer.TargetVocabularySize)
            throw new UserException(FormattableString.Invariant($"{path}: expected at least 2000 words of at most 16 letters and {SpellingTransformer.TargetVocabularySize - Specials} phonemes, found {entries.Length} and {phonemes.Count}."));
        Pair[] pairs = [.. entries.Select(entry => new Pair([.. entry[0].Select(letter => letters[letter.ToString()])], [.. entry[1..].Select(phoneme => phonemes[phoneme])]))];
        var random = new CounterRandom((ulong)context.Seed, 3);
        for (int i = pairs.Length - 1; i > 0; i--)
        {
            int j = random.NextInt32(i + 1);
            (pairs[i], pairs[j]) = (pairs[j], pairs[i]);
        }
        const int Steps = 1000, HeldOut = 400;
        SpellingTransformer model = SpellingTransformer.Create(context.Seed);
        using (SpellingTransformer.Trainer trainer = model.CreateTrainer(new AdamW { LearningRate = 2e-3f, WeightDecay = 0, GradientClip = 1, Schedule = context.Cosine(Steps, warmup: 100) }))
            Train(context, FormattableString.Invariant($"spelling to pronunciation: {pairs.Length - HeldOut} words to train on, {HeldOut} held out"), Steps, trainer, pairs[HeldOut..]);
        using SpellingTransformer.Session session = model.CreateSession(new SessionOptions { Batch = 4 });
        var errors = new ErrorRate();
        Decode(session, pairs[..HeldOut], (expected, output) => errors.Add(expected, output));
        return errors.Value;
    }

    private static Dictionary<string, int> Numbers(IEnumerable<string> tokens) => tokens.Select((token, i) => (token, i)).ToDictionary(t => t.token, t => Specials + t.i, StringComparer.Ordinal);

    private static void Train(RowContext context, string what, int steps, SequencePairTrainer trainer, Pair[] pairs)
    {
        (int batch, int sources, int targets) = (trainer.BatchSize, trainer.SourceLength, trainer.SequenceLength);
        int[] source = new int[batch * sources], lengths = new int[batch], inputs = new int[batch * targets], wanted = new int[batch * targets];
        var random = new CounterRandom((ulong)context.Seed, 11);
        context.Train(what, steps, "pairs", batch, _ =>
        {
            Array.Clear(source);
            Array.Clear(inputs);
            Array.Fill(wanted, -1);
            for (int i = 0; i < batch; i++)
            {
                Pair pair = pairs[random.NextInt32(pairs.Length)];
                pair.Source.CopyTo(source, i * sources);
                lengths[i] = pair.Source.Length;
                inputs[i * targets] = Beginning;
                pair.Target.CopyTo(inputs, i * targets + 1);
                pair.Target.CopyTo(wanted, i * targets);
                wanted[i * targets + pair.Target.Length] = End;
            }
            return trainer.Step(source, lengths, inputs, wanted);
        }, trainer);
    }

    private static void Decode(EncoderDecoderSession session, IEnumerable<Pair> pairs, Action<int[], int[]> each)
    {
        var search = new BeamSearch(session, new BeamSearchOptions { Beams = 4, EndTokens = [End] });
        foreach (Pair pair in pairs)
        {
            session.Encode(0, pair.Source);
            search.Search([Beginning]);
            each(pair.Target, search.Result(0).Content.ToArray());
        }
    }

    private sealed record Pair(int[] Source, int[] Target);
}
