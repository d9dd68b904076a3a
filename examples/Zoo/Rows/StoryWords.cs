using Corpora;

namespace Zoo.Rows;

/// <summary>The words of the stories as ids, behind the special tokens that models over words have.</summary>
internal sealed class StoryWords
{
    public const int Pad = 0;
    public const int Begin = 1;
    public const int End = 2;
    public const int Unknown = 3;
    public const int Mask = 4;
    public const int FirstWord = 5;

    /// <summary>The ids that the models of the stories have: a round number, and more than there are words.</summary>
    public const int VocabularySize = 640;

    private readonly Dictionary<string, int> _ids = [];
    private readonly List<string> _words = ["<pad>", "<bos>", "<eos>", "<unk>", "<mask>"];

    public StoryWords(StoryCorpus stories)
    {
        foreach (string word in stories.Words)
        {
            _ids.Add(word, _words.Count);
            _words.Add(word);
        }
        if (_words.Count > VocabularySize)
            throw new InvalidOperationException(FormattableString.Invariant($"There are {_words.Count} words, and the models have {VocabularySize}."));
    }

    public int Count => _words.Count;

    public int this[string word] => _ids.GetValueOrDefault(word, Unknown);

    public string this[int id] => _words[id];

    public IEnumerable<int> Ids(IEnumerable<string> words) => words.Select(word => this[word]);
}
