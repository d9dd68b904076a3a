using System.Text;

namespace ModelGen;

/// <summary>
/// Turns a stream of tokens into text as they arrive. A character whose bytes are spread over several tokens is held back
/// until it is complete. Nothing is allocated after construction. Not for use by several threads at once.
/// </summary>
public sealed class TextDecoder
{
    private readonly ITokenizer _tokenizer;
    private readonly Decoder _decoder = new UTF8Encoding(encoderShouldEmitUTF8Identifier: false).GetDecoder();
    private readonly byte[] _bytes;

    /// <summary>Makes a decoder for a tokenizer.</summary>
    /// <param name="tokenizer">The tokenizer whose ids are decoded.</param>
    public TextDecoder(ITokenizer tokenizer)
    {
        ArgumentNullException.ThrowIfNull(tokenizer);
        _tokenizer = tokenizer;
        _bytes = new byte[tokenizer.MaximumTokenBytes];

        // One byte can complete a surrogate pair, or reveal that up to three held-back bytes were invalid.
        MaximumCharactersPerToken = tokenizer.MaximumTokenBytes + 4;
    }

    /// <summary>A destination of this many characters is enough for any call of <see cref="Append"/> or <see cref="Flush"/>.</summary>
    public int MaximumCharactersPerToken { get; }

    /// <summary>Adds one token and writes the characters it completes: none, one or several.</summary>
    /// <param name="token">The token id.</param>
    /// <param name="destination">Receives the characters; at least <see cref="MaximumCharactersPerToken"/> long.</param>
    /// <returns>The number of characters written. Bytes that are not valid UTF-8 become U+FFFD.</returns>
    /// <exception cref="ArgumentOutOfRangeException">The token id is not in the vocabulary.</exception>
    /// <exception cref="ArgumentException"><paramref name="destination"/> is too short; the token was not added.</exception>
    public int Append(int token, Span<char> destination)
    {
        RequireSpace(destination);
        int count = _tokenizer.GetBytes(token, _bytes);
        return _decoder.GetChars(_bytes.AsSpan(0, count), destination, flush: false);
    }

    /// <summary>Ends the stream: an incomplete character becomes U+FFFD. The decoder is then ready for a new stream.</summary>
    /// <param name="destination">Receives the characters; at least <see cref="MaximumCharactersPerToken"/> long.</param>
    /// <returns>The number of characters written.</returns>
    /// <exception cref="ArgumentException"><paramref name="destination"/> is too short.</exception>
    public int Flush(Span<char> destination)
    {
        RequireSpace(destination);
        return _decoder.GetChars([], destination, flush: true);
    }

    /// <summary>Forgets an incomplete character without reporting it.</summary>
    public void Reset() => _decoder.Reset();

    private void RequireSpace(Span<char> destination)
    {
        if (destination.Length < MaximumCharactersPerToken)
        {
            throw new ArgumentException(
                $"The destination must hold at least {MaximumCharactersPerToken} characters, found {destination.Length}.",
                nameof(destination));
        }
    }
}
