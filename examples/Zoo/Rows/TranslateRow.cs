using Corpora;
using Examples;
using ModelGen;
using ModelGen.Plots;

namespace Zoo.Rows;

/// <summary>English to French.</summary>
[RecurrentSeq2Seq(Cell = Cell.Gru, Hidden = 128, Embedding = 64, SourceVocab = TranslateRow.Vocabulary, TargetVocab = TranslateRow.Vocabulary, Attention = RecurrentAttention.Dot,
    SourceContext = TranslationCorpus.MaximumLength, AttentionWeights = true, MaxBatch = TranslateRow.Together)]
[Trainable(BatchSize = 64, SequenceLength = TranslationCorpus.MaximumLength + 1, SourceLength = TranslationCorpus.MaximumLength)]
public partial class Translator;

/// <summary>English sentences into French, by a recurrent encoder–decoder with attention.</summary>
internal sealed class TranslateRow : ZooRow
{
    /// <summary>Room for the words of either language, behind the four ids that are none.</summary>
    public const int Vocabulary = 512;

    /// <summary>The sentences that are translated at once.</summary>
    public const int Together = 50;

    private const int Unknown = 3;
    private const int Bos = 1;
    private const int Eos = 2;
    private const int FirstWord = 4;
    private const int Batch = Translator.BatchSize;
    private const int Source = TranslationCorpus.MaximumLength;
    private const int Target = TranslationCorpus.MaximumLength + 1;
    private const int Steps = 3000;

    public override string Name => "translate";

    public override string Family => "RecurrentSeq2Seq";

    public override string Description => "A GRU encoder–decoder with attention translates English into French, with agreement, negation and word order, from a grammar that writes both.";

    public override (string Name, string Description)? Argument => ("sentence", "An English sentence of the grammar's words to translate, such as \"I am not a student .\".");

    public override RowOutcome Run(RowContext context)
    {
        TranslationCorpus corpus = TranslationCorpus.Generate(training: 40_000);
        Dictionary<string, int> english = Ids(TranslationCorpus.EnglishWords), french = Ids(TranslationCorpus.FrenchWords);
        if (english.Count + FirstWord > Vocabulary || french.Count + FirstWord > Vocabulary)
            throw new InvalidOperationException("The grammar has more words than the model has ids.");
        int[]? asked = context.Argument is null ? null : Encode(TranslationCorpus.TokenizeEnglish(context.Argument), english);
        if (asked is { Length: 0 or > Source } || asked?.Contains(Unknown) == true)
            throw new UserException($"\"{context.Argument}\": expected 1 to {Source} words that the grammar has, such as \"I am not a student .\".");
        (int[] English, int[] French)[] pairs = [.. corpus.Training.Select(pair => (Encode(pair.English, english), Encode(pair.French, french)))];

        Translator model = Translator.Create(context.Seed);
        var random = new CounterRandom((ulong)context.Seed, 7);
        int[] source = new int[Batch * Source], lengths = new int[Batch], inputs = new int[Batch * Target], targets = new int[Batch * Target];
        using (Translator.Trainer trainer = model.CreateTrainer(new AdamW { LearningRate = 4e-3f, GradientClip = 1, WeightDecay = 0.01f, Schedule = context.Cosine(Steps, warmup: 100) }))
        {
            context.Train($"{pairs.Length} sentences to train on, {corpus.HeldOut.Count} held out", Steps, "sentences", Batch, _ =>
            {
                source.AsSpan().Clear();
                inputs.AsSpan().Clear();
                targets.AsSpan().Fill(-1);
                for (int row = 0; row < Batch; row++)
                {
                    (int[] from, int[] to) = pairs[random.NextInt32(pairs.Length)];
                    from.CopyTo(source, row * Source);
                    lengths[row] = from.Length;
                    inputs[row * Target] = Bos;
                    to.CopyTo(inputs, (row * Target) + 1);
                    to.CopyTo(targets, row * Target);
                    targets[(row * Target) + to.Length] = Eos;
                }
                return trainer.Step(source, lengths, inputs, targets);
            }, trainer);
        }

        using Translator.Session session = model.CreateSession(new SessionOptions { Batch = Together });
        int right = 0;
        foreach (SentencePair[] some in corpus.HeldOut.Chunk(Together))
        {
            IReadOnlyList<int>[] written = Translate(session, [.. some.Select(pair => Encode(pair.English, english))]);
            right += some.Where((pair, i) => written[i].SequenceEqual(Encode(pair.French, french))).Count();
        }
        foreach (string sentence in new[] { "I am a student .", "I do not have a cat .", "Do they see the old king ?" }.Append(context.Argument).OfType<string>().Distinct())
        {
            IReadOnlyList<string> words = TranslationCorpus.TokenizeEnglish(sentence);
            int[] ids = Encode(words, english);
            if (ids.Contains(Unknown))
                continue;
            string[] french2 = [.. Translate(session, [ids])[0].Select(id => id >= FirstWord && id - FirstWord < TranslationCorpus.FrenchWords.Count ? TranslationCorpus.FrenchWords[id - FirstWord] : "?")];
            context.Message($"{sentence} → {TranslationCorpus.WriteFrench(french2)}");
        }
        if (context.Plot("translate-attention") is { } plot)
            DrawAttention(session, context.Argument ?? "Do they see the old king ?", english, plot);
        return new RowOutcome(Translator.ParameterCount, new Figure("held-out sentences: exact translations", (double)right / corpus.HeldOut.Count, 0.95));
    }

    /// <summary>What each word of a translation attends to: source words × target words.</summary>
    private static void DrawAttention(Translator.Session session, string sentence, Dictionary<string, int> english, string path)
    {
        IReadOnlyList<string> words = TranslationCorpus.TokenizeEnglish(sentence);
        session.Encode(0, Encode(words, english));
        var written = new List<string>();
        var weights = new List<float>();
        var tokens = new int[Together];
        tokens.AsSpan().Fill(-1);
        for (tokens[0] = Bos; tokens[0] != Eos && written.Count < Target;)
        {
            tokens[0] = Sampler.ArgMax(session.Decode(tokens)[..Vocabulary]);
            weights.AddRange(session.AttentionWeights(0, 0, 0));
            int word = tokens[0] - FirstWord;
            written.Add(tokens[0] == Eos ? "(end)" : word >= 0 && word < TranslationCorpus.FrenchWords.Count ? TranslationCorpus.FrenchWords[word] : "?");
        }
        Pictures.AttentionMap("Attention of a GRU encoder–decoder", weights.ToArray(), written, words).SaveBoth(path);
    }

    /// <summary>The most probable word after the other, for several sentences at once.</summary>
    private static IReadOnlyList<int>[] Translate(Translator.Session session, int[][] sentences)
    {
        var written = new List<int>[sentences.Length];
        var tokens = new int[Together];
        for (int row = 0; row < Together; row++)
        {
            session.Encode(row, sentences[Math.Min(row, sentences.Length - 1)]);
            tokens[row] = Bos;
        }
        for (int row = 0; row < sentences.Length; row++)
            written[row] = [];
        var ended = new bool[sentences.Length];
        for (int t = 0; t < Target && ended.Contains(false); t++)
        {
            ReadOnlySpan<float> logits = session.Decode(tokens);
            for (int row = 0; row < Together; row++)
            {
                tokens[row] = Sampler.ArgMax(logits.Slice(row * Vocabulary, Vocabulary));
                if (row < sentences.Length && !(ended[row] |= tokens[row] == Eos))
                    written[row].Add(tokens[row]);
            }
        }
        return written;
    }

    private static Dictionary<string, int> Ids(IReadOnlyList<string> words) => words.Select((word, i) => (word, i)).ToDictionary(pair => pair.word, pair => pair.i + FirstWord);

    private static int[] Encode(IReadOnlyList<string> words, Dictionary<string, int> ids) => [.. words.Select(word => ids.GetValueOrDefault(word, Unknown))];
}
