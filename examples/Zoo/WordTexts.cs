using Corpora;
using Examples;

namespace Zoo;

/// <summary>Texts as ids of words: the story corpus, or the user's, a text for each line. Each begins and ends with <see cref="End"/>.</summary>
internal sealed class WordTexts
{
    /// <summary>What stands between texts.</summary>
    public const int End = 0;

    /// <summary>What stands for a word outside of the vocabulary.</summary>
    public const int Unknown = 1;

    private readonly Dictionary<string, int> _ids;

    private WordTexts(IEnumerable<string> words, IEnumerable<IEnumerable<string>> training, IEnumerable<IEnumerable<string>> heldOut)
    {
        Words = ["<end>", "<unk>", .. words];
        _ids = Words.Select((word, id) => (word, id)).ToDictionary(pair => pair.word, pair => pair.id);
        Training = [.. training.Select(Encode)];
        HeldOut = [.. heldOut.Select(Encode)];
    }

    /// <summary>The words by their ids.</summary>
    public IReadOnlyList<string> Words { get; }

    public IReadOnlyList<int[]> Training { get; }

    public IReadOnlyList<int[]> HeldOut { get; }

    /// <summary>The stories, or the user's lines of text.</summary>
    /// <param name="context">What was asked for.</param>
    /// <param name="vocabulary">The most words, <see cref="End"/> and <see cref="Unknown"/> included.</param>
    /// <param name="stories">The number of stories to train on.</param>
    /// <exception cref="UserException">The user's text has too few lines.</exception>
    public static WordTexts Load(RowContext context, int vocabulary, int stories = 4000)
    {
        if (context.TextPath is null)
        {
            StoryCorpus corpus = StoryCorpus.Generate(StoryCorpus.DefaultSeed + (ulong)context.Seed - 1, stories);
            return new WordTexts(corpus.Words.Take(vocabulary - 2), corpus.Training.Select(story => story.Words), corpus.HeldOut.Select(story => story.Words));
        }
        string[][] lines = [.. context.Text(() => "").Split('\n').Select(Split).Where(words => words.Length > 1)];
        int heldOut = lines.Length / 10;
        if (heldOut == 0)
            throw new UserException($"{context.TextPath}: expected at least ten lines of two words or more, found {lines.Length}.");
        string[][] training = lines[..^heldOut];
        IEnumerable<string> frequent = training.SelectMany(words => words).CountBy(word => word).OrderByDescending(pair => pair.Value).ThenBy(pair => pair.Key, StringComparer.Ordinal).Select(pair => pair.Key);
        return new WordTexts(frequent.Where(word => word is not ("<end>" or "<unk>")).Take(vocabulary - 2), training, lines[^heldOut..]);
    }

    /// <summary>The ids of words, with <see cref="End"/> before and behind.</summary>
    public int[] Encode(IEnumerable<string> words) => [End, .. words.Select(word => _ids.GetValueOrDefault(word, Unknown)), End];

    /// <summary>Lower case, with punctuation as words.</summary>
    public static string[] Split(string text)
    {
        var spaced = new System.Text.StringBuilder();
        foreach (char c in text.ToLowerInvariant())
        {
            if (char.IsPunctuation(c) && c != '\'')
                spaced.Append(' ').Append(c).Append(' ');
            else
                spaced.Append(c);
        }
        return spaced.ToString().Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries);
    }

    /// <summary>The words with spaces between them.</summary>
    public string Decode(IEnumerable<int> ids) => string.Join(' ', ids.Select(id => Words[id]));
}
