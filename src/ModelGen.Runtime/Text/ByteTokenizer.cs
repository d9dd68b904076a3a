using System.Text;

namespace ModelGen;

/// <summary>Every byte of the UTF-8 text is a token: 256 ids, no training, every text without lone surrogates can be encoded.</summary>
public sealed class ByteTokenizer : ITokenizer
{
    private static readonly UTF8Encoding Utf8 = new(encoderShouldEmitUTF8Identifier: false, throwOnInvalidBytes: true);

    private ByteTokenizer()
    {
    }

    /// <summary>The tokenizer; it has no state.</summary>
    public static ByteTokenizer Instance { get; } = new();

    /// <inheritdoc />
    public int VocabularySize => 256;

    /// <inheritdoc />
    public int MaximumTokenBytes => 1;

    /// <inheritdoc />
    public int CountTokens(ReadOnlySpan<char> text)
    {
        SurrogateCheck.Require(text);
        return Utf8.GetByteCount(text);
    }

    /// <inheritdoc />
    public int Encode(ReadOnlySpan<char> text, Span<int> destination)
    {
        int required = CountTokens(text);
        if (destination.Length < required)
        {
            throw new ArgumentException(
                $"The destination must hold at least {required} tokens, found {destination.Length}.", nameof(destination));
        }
        int written = 0;
        Span<byte> buffer = stackalloc byte[512];
        while (!text.IsEmpty)
        {
            // 3 bytes per UTF-16 code unit is the worst case; a chunk never ends inside a surrogate pair.
            int take = Math.Min(text.Length, buffer.Length / 3);
            if (take < text.Length && char.IsHighSurrogate(text[take - 1]))
                take--;
            int count = Utf8.GetBytes(text[..take], buffer);
            for (int i = 0; i < count; i++)
                destination[written++] = buffer[i];
            text = text[take..];
        }
        return written;
    }

    /// <summary>Widens bytes to token ids.</summary>
    /// <param name="bytes">Any bytes; they need not be valid UTF-8.</param>
    /// <param name="destination">Receives one id for each byte.</param>
    /// <exception cref="ArgumentException"><paramref name="destination"/> is too short.</exception>
    public static void Encode(ReadOnlySpan<byte> bytes, Span<int> destination)
    {
        if (destination.Length < bytes.Length)
        {
            throw new ArgumentException(
                $"The destination must hold at least {bytes.Length} tokens, found {destination.Length}.", nameof(destination));
        }
        for (int i = 0; i < bytes.Length; i++)
            destination[i] = bytes[i];
    }

    /// <inheritdoc />
    public int GetBytes(int token, Span<byte> destination)
    {
        if ((uint)token > 255)
            throw new ArgumentOutOfRangeException(nameof(token), token, "A byte token is in 0 .. 255.");
        if (destination.IsEmpty)
            throw new ArgumentException("The destination must hold at least 1 byte, found 0.", nameof(destination));
        destination[0] = (byte)token;
        return 1;
    }
}
