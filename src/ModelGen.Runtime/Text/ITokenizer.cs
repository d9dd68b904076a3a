namespace ModelGen;

/// <summary>
/// Turns text into token ids and token ids into bytes of UTF-8. A tokenizer is immutable and may be shared between threads.
/// </summary>
/// <remarks>A token may hold part of a character only: use <see cref="TextDecoder"/> to turn a stream of tokens into text.</remarks>
public interface ITokenizer
{
    /// <summary>The number of token ids: valid ids are 0 .. <see cref="VocabularySize"/> - 1.</summary>
    int VocabularySize { get; }

    /// <summary>The largest number of bytes one token stands for.</summary>
    int MaximumTokenBytes { get; }

    /// <summary>How many tokens <see cref="Encode(ReadOnlySpan{char}, Span{int})"/> writes for a text.</summary>
    /// <param name="text">The text.</param>
    /// <exception cref="ArgumentException">The text cannot be encoded; see <see cref="Encode(ReadOnlySpan{char}, Span{int})"/>.</exception>
    int CountTokens(ReadOnlySpan<char> text);

    /// <summary>Encodes a text without allocating.</summary>
    /// <param name="text">The text. All of it is encoded: nothing is ever left out silently.</param>
    /// <param name="destination">Receives the token ids; at least <see cref="CountTokens"/> long.</param>
    /// <returns>The number of tokens written.</returns>
    /// <exception cref="ArgumentException">
    /// The text has a lone surrogate or a character outside the vocabulary, or <paramref name="destination"/> is too short.
    /// </exception>
    int Encode(ReadOnlySpan<char> text, Span<int> destination);

    /// <summary>Writes the UTF-8 bytes of one token. They need not be whole characters.</summary>
    /// <param name="token">The token id.</param>
    /// <param name="destination">Receives the bytes; <see cref="MaximumTokenBytes"/> is always enough.</param>
    /// <returns>The number of bytes written.</returns>
    /// <exception cref="ArgumentOutOfRangeException">The token id is not in the vocabulary.</exception>
    /// <exception cref="ArgumentException"><paramref name="destination"/> is too short.</exception>
    int GetBytes(int token, Span<byte> destination);
}
