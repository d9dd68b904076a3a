namespace Corpora;

/// <summary>
/// Words with their tags as text: <c>sat/V on/P the/D throne/N</c>. <c>[a|b|]</c> is a choice, which may be nothing, hold words with tags of its own, and be nested.
/// </summary>
internal static class Template
{
    /// <summary>Decides the choices; what is left has none.</summary>
    public static string Choose(string template, Draw draw)
    {
        int open = template.IndexOf('[', StringComparison.Ordinal);
        while (open >= 0)
        {
            int depth = 0, close = open, start = open + 1;
            var choices = new List<string>();
            for (; ; close++)
            {
                char c = template[close];
                if (c == '[')
                    depth++;
                bool ends = c == ']' && --depth == 0;
                if (ends || (c == '|' && depth == 1))
                {
                    choices.Add(template[start..close]);
                    start = close + 1;
                }
                if (ends)
                    break;
            }
            template = template[..open] + draw.One(choices) + template[(close + 1)..];
            open = template.IndexOf('[', StringComparison.Ordinal);
        }
        return template;
    }

    /// <summary>Reads a template without choices. Its "a" becomes "an" where a vowel follows.</summary>
    public static IReadOnlyList<TaggedWord> Parse(string template)
    {
        string[] parts = template.Split(' ', StringSplitOptions.RemoveEmptyEntries);
        var words = new TaggedWord[parts.Length];
        for (int i = 0; i < parts.Length; i++)
        {
            int slash = parts[i].LastIndexOf('/');
            string word = parts[i][..slash];
            if (word == "a" && i + 1 < parts.Length && "aeiou".Contains(parts[i + 1][0], StringComparison.Ordinal))
                word = "an";
            words[i] = new TaggedWord(word, Tag(parts[i][(slash + 1)..]));
        }
        return words;
    }

    private static PartOfSpeech Tag(string letter) => letter switch
    {
        "D" => PartOfSpeech.Det,
        "N" => PartOfSpeech.Noun,
        "M" => PartOfSpeech.Propn,
        "V" => PartOfSpeech.Verb,
        "X" => PartOfSpeech.Aux,
        "J" => PartOfSpeech.Adj,
        "R" => PartOfSpeech.Adv,
        "P" => PartOfSpeech.Adp,
        "O" => PartOfSpeech.Pron,
        "C" => PartOfSpeech.Cconj,
        "S" => PartOfSpeech.Sconj,
        "T" => PartOfSpeech.Part,
        "#" => PartOfSpeech.Num,
        "." => PartOfSpeech.Punct,
        _ => throw new InvalidOperationException($"{letter}: no tag."),
    };
}
