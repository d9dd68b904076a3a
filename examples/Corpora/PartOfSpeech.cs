namespace Corpora;

/// <summary>What a word is in its sentence: the universal part-of-speech tags (Petrov, Das, McDonald, 2012; Universal Dependencies).</summary>
public enum PartOfSpeech
{
    /// <summary>A determiner: the, a, her in "her crown".</summary>
    Det,

    /// <summary>A common noun.</summary>
    Noun,

    /// <summary>A name.</summary>
    Propn,

    /// <summary>A full verb, infinitives and participles included.</summary>
    Verb,

    /// <summary>An auxiliary verb: was in "was worn".</summary>
    Aux,

    /// <summary>An adjective.</summary>
    Adj,

    /// <summary>An adverb.</summary>
    Adv,

    /// <summary>A preposition.</summary>
    Adp,

    /// <summary>A pronoun, relative ones included.</summary>
    Pron,

    /// <summary>A coordinating conjunction.</summary>
    Cconj,

    /// <summary>A subordinating conjunction: that in "said that", because.</summary>
    Sconj,

    /// <summary>A particle: to before an infinitive, not.</summary>
    Part,

    /// <summary>A number.</summary>
    Num,

    /// <summary>A punctuation mark.</summary>
    Punct,
}

/// <summary>A word, in lower case, with its part of speech.</summary>
/// <param name="Word">The word.</param>
/// <param name="Tag">Its part of speech in this sentence.</param>
public readonly record struct TaggedWord(string Word, PartOfSpeech Tag);

/// <summary>A sentence as words with their parts of speech; the full stop is the last word.</summary>
public sealed class TaggedSentence
{
    /// <summary>The number of parts of speech.</summary>
    public const int TagCount = (int)PartOfSpeech.Punct + 1;

    private readonly TaggedWord[] _words;

    internal TaggedSentence(IEnumerable<TaggedWord> words)
    {
        _words = [.. words];
        Line = string.Join(' ', _words.Select(word => word.Word));
    }

    /// <summary>The words with their tags.</summary>
    public IReadOnlyList<TaggedWord> Tagged => _words;

    /// <summary>The words alone, in lower case: what a model over words reads.</summary>
    public IEnumerable<string> Words => _words.Select(word => word.Word);

    /// <summary>The words with spaces between them. Equal lines are equal sentences.</summary>
    public string Line { get; }

    /// <summary>The sentence as people write it: "The old king sat on the throne."</summary>
    public string Text
    {
        get
        {
            var text = new System.Text.StringBuilder();
            foreach (TaggedWord word in _words)
            {
                if (text.Length > 0 && word.Tag != PartOfSpeech.Punct)
                    text.Append(' ');
                text.Append(text.Length == 0 || word.Tag == PartOfSpeech.Propn ? Casing.Capital(word.Word) : word.Word);
            }
            return text.ToString();
        }
    }

    /// <inheritdoc/>
    public override string ToString() => Line;
}
