using Corpora;
using Examples;
using ModelGen;

namespace Zoo;

/// <summary>Texts of words as ids: the stories, or the user's, a text for each line. Each begins with &lt;bos&gt; and ends with &lt;eos&gt;.</summary>
internal sealed class WordTexts
{
    /// <summary>The ids that models of the stories have: a round number, and more than there are words.</summary>
    public const int StoryVocabulary = 640;

    private static readonly TextNormalizer s_normalizer = new() { Lowercase = true };

    private WordTexts(IReadOnlyList<string> training, IReadOnlyList<string> heldOut, int maximumSize)
    {
        Tokenizer = TokenizerOf(training, maximumSize, minimumCount: 2);
        Training = [.. training.Select(Encode)];
        HeldOut = [.. heldOut.Select(Encode)];
    }

    public VocabularyTokenizer Tokenizer { get; }

    public IReadOnlyList<int[]> Training { get; }

    public IReadOnlyList<int[]> HeldOut { get; }

    /// <summary>The stories.</summary>
    public static WordTexts Of(StoryCorpus stories, int maximumSize = StoryVocabulary) => new([.. stories.Training.Select(Line)], [.. stories.HeldOut.Select(Line)], maximumSize);

    /// <summary>The stories, or the user's lines of text, of which the last tenth is held out.</summary>
    /// <param name="context">What was asked for.</param>
    /// <param name="maximumSize">The most token ids.</param>
    /// <param name="stories">The number of stories to train on.</param>
    /// <exception cref="UserException">The user's text has too few lines.</exception>
    public static WordTexts Load(RowContext context, int maximumSize, int stories = 4000)
    {
        if (context.TextPath is null)
            return Of(StoryCorpus.Generate(StoryCorpus.DefaultSeed + (ulong)context.Seed - 1, stories), maximumSize);
        string[] lines = [.. context.Text(() => "").Split('\n').Where(line => line.Split((char[]?)null, 3, StringSplitOptions.RemoveEmptyEntries).Length > 1)];
        int heldOut = lines.Length / 10;
        return heldOut > 0 ? new WordTexts(lines[..^heldOut], lines[^heldOut..], maximumSize) : throw new UserException($"{context.TextPath}: expected at least ten lines of two words or more, found {lines.Length}.");
    }

    /// <summary>A vocabulary of the units of texts, in lower case.</summary>
    /// <param name="texts">The texts.</param>
    /// <param name="maximumSize">The most token ids; 0 for no limit.</param>
    /// <param name="minimumCount">How often a unit must have occurred; rarer ones are unknown.</param>
    /// <param name="unit">What texts are cut into.</param>
    public static VocabularyTokenizer TokenizerOf(IEnumerable<string> texts, int maximumSize = 0, long minimumCount = 1, TextUnit unit = TextUnit.WordAndPunctuation)
    {
        var builder = new VocabularyBuilder(unit, s_normalizer);
        builder.Add(texts);
        return new VocabularyTokenizer(builder.Build(minimumCount, maximumSize), unit, s_normalizer);
    }

    /// <summary>What models of so many positions see of texts; the same words are predicted by all.</summary>
    public SequenceDataset Sequences(IEnumerable<int[]> texts, int length) => SequenceDataset.FromSequences(texts.Select(text => Cut(text, length)));

    /// <summary>The n-gram model, of those of two to six words, that does best on the held-out part itself, as far as models of so many positions see it.</summary>
    public (double Loss, int Order) BestNGram(int vocabulary, int length) => Enumerable.Range(2, 5)
        .Select(order => (NGramModel.Train(Training, new NGramOptions { Order = order, VocabularySize = vocabulary }).Evaluate(HeldOut.Select(text => Cut(text, length))), order))
        .Min();

    /// <summary>Continues the beginning of a story, to the end or as far as the session's context goes, and shows it.</summary>
    public void Continue(RowContext context, CausalSession session)
    {
        string prompt = context.Argument ?? "once there was";
        var generator = new TokenGenerator(session, new Sampler(new SamplingOptions { Temperature = 0.7f, Seed = (ulong)context.Seed }, session.VocabularySize));
        int[] start = Tokenizer.EncodeText(prompt, beginning: true);
        generator.Start(start);
        var words = new List<int>();
        while (words.Count + start.Length < session.ContextLength)
        {
            int word = generator.Next();
            if (word == Tokenizer.Vocabulary.EndId || word >= Tokenizer.VocabularySize)
                break;
            words.Add(word);
        }
        context.Message($"{prompt} {Tokenizer.DecodeText(words.ToArray())}");
    }

    private static int[] Cut(int[] text, int length) => text.Length > length + 1 ? text[..(length + 1)] : text;

    public int[] Encode(string text) => Tokenizer.EncodeText(text, beginning: true, end: true);

    private static string Line(Story story) => string.Join(' ', story.Words);
}
