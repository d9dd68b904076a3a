using System.Buffers.Binary;
using System.Globalization;
using System.Text;

namespace ModelGen;

/// <summary>
/// Reads SentencePiece's <c>tokenizer.model</c>: the message ModelProto of sentencepiece_model.proto in the wire format of protocol buffers, of which pieces (1), trainer_spec (2) and normalizer_spec (3) are looked at. Nothing of it is trusted.
/// </summary>
internal static class SentencePieceModel
{
    private const int LargestVocabulary = 1 << 22;

    public static TokenizerVocabulary Read(string path, byte[] file)
    {
        var tokens = new List<string>();
        var scores = new List<float>();
        var kinds = new List<TokenKind>();
        int type = 1, unknown = 0, beginning = 1, end = 2;
        bool addsSpace = true, removesExtraSpaces = true, isSuffix = false;
        byte[] map = [];
        foreach ((int field, ulong _, ReadOnlyMemory<byte> value) in Fields(path, file))
        {
            switch (field)
            {
                case 1:
                    Piece(value);
                    break;
                case 2:
                    foreach ((int entry, ulong number, _) in Fields(path, value))
                    {
                        // Numbers below zero stand for no token.
                        switch (entry)
                        {
                            case 3: type = (int)Math.Min(number, 100); break;
                            case 24: isSuffix = number != 0; break;
                            case 40: unknown = unchecked((int)number); break;
                            case 41: beginning = unchecked((int)number); break;
                            case 42: end = unchecked((int)number); break;
                        }
                    }

                    break;
                case 3:
                    foreach ((int entry, ulong number, ReadOnlyMemory<byte> bytes) in Fields(path, value))
                    {
                        switch (entry)
                        {
                            case 2: map = bytes.ToArray(); break;
                            case 3: addsSpace = number != 0; break;
                            case 4: removesExtraSpaces = number != 0; break;
                            case 5 when number == 0: throw new NotSupportedException($"{path}: the tokenizer does not spell spaces as ▁ (escape_whitespaces), which is not done here.");
                        }
                    }

                    break;
            }
        }

        if (tokens.Count == 0)
        {
            throw new ModelFileException(path, "pieces", "tokens", "none");
        }

        if (type is not (1 or 2) || isSuffix)
        {
            throw new NotSupportedException($"{path}: the tokenizer cuts words or characters, or has spaces behind words, but unigram and BPE models with spaces before words alone are known here.");
        }

        int? Id(int id) => id >= 0 && id < tokens.Count ? id : null;

        bool isUnigram = type == 1;
        return new TokenizerVocabulary
        {
            Kind = isUnigram ? TokenizerKind.Unigram : TokenizerKind.SentencePiece,
            Tokens = tokens,
            Kinds = kinds,
            Scores = scores,
            CharacterMap = map,
            RemovesExtraSpaces = removesExtraSpaces,
            BeginningToken = Id(beginning),
            EndToken = Id(end),
            UnknownToken = Id(unknown),

            // The file does not say it: decoders' prompts begin with a token (Llama), encoders' texts end with one (T5).
            AddsBeginning = !isUnigram && Id(beginning) is not null,
            AddsEnd = isUnigram && Id(end) is not null,
            AddsSpace = addsSpace,
        };

        void Piece(ReadOnlyMemory<byte> message)
        {
            string name = FormattableString.Invariant($"piece {tokens.Count}");
            (string token, float score, ulong kind) = ("", 0, 1);
            foreach ((int entry, ulong number, ReadOnlyMemory<byte> bytes) in Fields(path, message))
            {
                switch (entry)
                {
                    case 1: token = Encoding.UTF8.GetString(bytes.Span); break;
                    case 2: score = BitConverter.UInt32BitsToSingle((uint)number); break;
                    case 3: kind = number; break;
                }
            }

            if (!float.IsFinite(score))
            {
                throw new ModelFileException(path, name + ", score", "a finite number", score.ToString(CultureInfo.InvariantCulture));
            }

            if (kind is < 1 or > 6 || tokens.Count == LargestVocabulary)
            {
                throw new ModelFileException(path, name + ", type", FormattableString.Invariant($"a kind of 1 to 6, and at most {LargestVocabulary} pieces"), FormattableString.Invariant($"{kind}"));
            }

            tokens.Add(token);
            scores.Add(score);
            kinds.Add((TokenKind)kind);
        }
    }

    // Each field of a message: its number, its value where it is a number, and its bytes where it has a length.
    private static List<(int Field, ulong Number, ReadOnlyMemory<byte> Bytes)> Fields(string path, ReadOnlyMemory<byte> message)
    {
        var fields = new List<(int, ulong, ReadOnlyMemory<byte>)>();
        for (int at = 0; at < message.Length;)
        {
            ulong tag = Varint(ref at);
            int field = (int)Math.Min(tag >> 3, int.MaxValue);
            switch (tag & 7)
            {
                case 0:
                    fields.Add((field, Varint(ref at), default));
                    break;
                case 1:
                    fields.Add((field, BinaryPrimitives.ReadUInt64LittleEndian(Take(8, ref at).Span), default));
                    break;
                case 2:
                    ulong length = Varint(ref at);
                    fields.Add((field, 0, Take(length, ref at)));
                    break;
                case 5:
                    fields.Add((field, BinaryPrimitives.ReadUInt32LittleEndian(Take(4, ref at).Span), default));
                    break;
                case ulong kind:
                    throw new ModelFileException(path, "message", "fields of the kinds 0, 1, 2 and 5", FormattableString.Invariant($"{kind} at {at} of {message.Length}: it is no tokenizer.model, or damaged"));
            }
        }

        return fields;

        ReadOnlyMemory<byte> Take(ulong length, ref int at)
        {
            if (length > (ulong)(message.Length - at))
            {
                throw new ModelFileException(path, "message", FormattableString.Invariant($"at most {message.Length - at} bytes at {at}"), FormattableString.Invariant($"{length}: the file is truncated or damaged"));
            }

            at += (int)length;
            return message.Slice(at - (int)length, (int)length);
        }

        ulong Varint(ref int at)
        {
            ulong value = 0;
            for (int shift = 0; shift < 64; shift += 7)
            {
                byte part = at < message.Length ? message.Span[at++] : throw new ModelFileException(path, "message", "the rest of a number", FormattableString.Invariant($"the end at {message.Length}: the file is truncated"));
                value |= (ulong)(part & 0x7F) << shift;
                if (part < 0x80)
                {
                    return value;
                }
            }

            throw new ModelFileException(path, "message", "a number of at most 10 bytes", FormattableString.Invariant($"a longer one before {at}"));
        }
    }
}
