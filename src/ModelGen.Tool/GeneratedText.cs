using System.Text;

namespace ModelGen.Tool;

/// <summary>The text of tokens as they come, which is shown as soon as its characters are whole.</summary>
/// <param name="tokenizer">The tokenizer.</param>
/// <param name="dropsSpace">Whether a space at the beginning is left out.</param>
/// <param name="shown">Where characters are shown at once; null for nowhere.</param>
internal sealed class GeneratedText(TextTokenizer tokenizer, bool dropsSpace, TextWriter? shown)
{
    private readonly TextDecoder _decoder = new(tokenizer);
    private readonly StringBuilder _text = new();
    private char[] _characters = [];
    private bool _dropsSpace = dropsSpace;

    /// <summary>Adds a token.</summary>
    public void Add(int token)
    {
        // A model may have more tokens than its tokenizer: padding of the table.
        if (token < tokenizer.VocabularySize)
        {
            _characters = _characters.Length == 0 ? new char[_decoder.MaximumCharactersPerToken] : _characters;
            Add(_characters.AsSpan(0, _decoder.Append(token, _characters)));
        }
    }

    /// <summary>The whole text, at its end.</summary>
    public string Finish()
    {
        char[] rest = new char[_decoder.MaximumCharactersPerToken];
        Add(rest.AsSpan(0, _decoder.Flush(rest)));
        return _text.ToString();
    }

    private void Add(ReadOnlySpan<char> characters)
    {
        if (characters.IsEmpty)
        {
            return;
        }

        characters = _dropsSpace && characters[0] == ' ' ? characters[1..] : characters;
        _dropsSpace = false;
        _text.Append(characters);
        shown?.Write(CommandLine.ShownText(characters.ToString()));
        shown?.Flush();
    }
}
