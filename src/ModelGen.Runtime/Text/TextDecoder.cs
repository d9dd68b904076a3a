using System.Buffers;
using System.Text;

namespace ModelGen;

/// <summary>
/// Turns a stream of tokens into text as they arrive. A character whose bytes are spread over several tokens is held back
/// until it is complete. Nothing is allocated after construction. Not for use by several threads at once.
/// </summary>
public sealed class TextDecoder
{
    private readonly ITokenizer _tokenizer;
    private readonly byte[] _bytes;
    private int _pending;

    /// <summary>Makes a decoder for a tokenizer.</summary>
    /// <param name="tokenizer">The tokenizer whose ids are decoded.</param>
    public TextDecoder(ITokenizer tokenizer)
    {
        ArgumentNullException.ThrowIfNull(tokenizer);
        _tokenizer = tokenizer;

        // At most three bytes of an incomplete character wait in front of a token's own.
        _bytes = new byte[3 + tokenizer.MaximumTokenBytes];

        // A character takes at least as many bytes as UTF-16 code units, and an invalid byte becomes one code unit.
        MaximumCharactersPerToken = _bytes.Length;
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
        int end = _pending + _tokenizer.GetBytes(token, _bytes.AsSpan(_pending));
        int start = 0, written = 0;
        while (start < end)
        {
            OperationStatus status = Rune.DecodeFromUtf8(_bytes.AsSpan(start, end - start), out Rune rune, out int consumed);
            if (status == OperationStatus.NeedMoreData)
                break;
            written += rune.EncodeToUtf16(destination[written..]);
            start += consumed;
        }
        _pending = end - start;
        _bytes.AsSpan(start, _pending).CopyTo(_bytes);
        return written;
    }

    /// <summary>Ends the stream: an incomplete character becomes U+FFFD. The decoder is then ready for a new stream.</summary>
    /// <param name="destination">Receives the characters; at least <see cref="MaximumCharactersPerToken"/> long.</param>
    /// <returns>The number of characters written.</returns>
    /// <exception cref="ArgumentException"><paramref name="destination"/> is too short.</exception>
    public int Flush(Span<char> destination)
    {
        RequireSpace(destination);
        if (_pending == 0)
            return 0;
        _pending = 0;
        return Rune.ReplacementChar.EncodeToUtf16(destination);
    }

    /// <summary>Forgets an incomplete character without reporting it.</summary>
    public void Reset() => _pending = 0;

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
