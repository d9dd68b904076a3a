using System.Text;

namespace ModelGen;

/// <summary>Conveniences over <see cref="ITokenizer"/> that allocate their results.</summary>
public static class TokenizerExtensions
{
    /// <summary>Encodes a text into a new array.</summary>
    /// <param name="tokenizer">The tokenizer.</param>
    /// <param name="text">The text.</param>
    /// <exception cref="ArgumentException">The text has a lone surrogate or a character outside the vocabulary.</exception>
    public static int[] Encode(this ITokenizer tokenizer, ReadOnlySpan<char> text)
    {
        ArgumentNullException.ThrowIfNull(tokenizer);
        var tokens = new int[tokenizer.CountTokens(text)];
        tokenizer.Encode(text, tokens);
        return tokens;
    }

    /// <summary>Decodes a whole sequence of tokens. Bytes that are not valid UTF-8 become U+FFFD.</summary>
    /// <param name="tokenizer">The tokenizer.</param>
    /// <param name="tokens">The token ids.</param>
    /// <exception cref="ArgumentOutOfRangeException">A token id is not in the vocabulary.</exception>
    public static string Decode(this ITokenizer tokenizer, ReadOnlySpan<int> tokens)
    {
        var decoder = new TextDecoder(tokenizer);
        var text = new StringBuilder(tokens.Length + 1);
        var characters = new char[decoder.MaximumCharactersPerToken];
        foreach (int token in tokens)
            text.Append(characters, 0, decoder.Append(token, characters));
        text.Append(characters, 0, decoder.Flush(characters));
        return text.ToString();
    }
}
