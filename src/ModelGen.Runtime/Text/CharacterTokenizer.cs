using System.Buffers;
using System.Globalization;
using System.Text;
using System.Text.Json;
using ModelGen.Runtime;

namespace ModelGen;

/// <summary>
/// Every character (Unicode scalar value) of a fixed alphabet is a token. Ids follow the order of the code points.
/// </summary>
public sealed class CharacterTokenizer : ITokenizer
{
    private const string FormatName = "modelgen.character";

    // All of Unicode, 1,112,064 characters, takes at most 15 bytes each: an escaped surrogate pair, quotes and a comma.
    private const int MaximumFileBytes = 20 << 20;

    // An escaped surrogate pair.
    private const int MaximumCharacterBytes = 12;

    private readonly int[] _characters;
    private readonly int[] _asciiIds;
    private readonly Dictionary<int, int> _ids;
    private readonly int _replacementId = -1;

    private CharacterTokenizer(int[] sortedCharacters, Rune? replacement)
    {
        _characters = sortedCharacters;
        _ids = new Dictionary<int, int>(sortedCharacters.Length);
        _asciiIds = new int[128];
        Array.Fill(_asciiIds, -1);
        int bytes = 1;
        for (int i = 0; i < sortedCharacters.Length; i++)
        {
            int value = sortedCharacters[i];
            _ids.Add(value, i);
            if (value < _asciiIds.Length)
                _asciiIds[value] = i;
            bytes = Math.Max(bytes, new Rune(value).Utf8SequenceLength);
        }
        MaximumTokenBytes = bytes;
        if (replacement is { } rune)
        {
            if (!_ids.TryGetValue(rune.Value, out _replacementId))
            {
                throw new ArgumentException(
                    $"The replacement character {Describe(rune)} is not in the alphabet of {sortedCharacters.Length} characters.",
                    nameof(replacement));
            }
            Replacement = rune;
        }
    }

    /// <inheritdoc />
    public int VocabularySize => _characters.Length;

    /// <inheritdoc />
    public int MaximumTokenBytes { get; }

    /// <summary>The character that stands for characters outside the alphabet; null: such a character is an error.</summary>
    public Rune? Replacement { get; }

    /// <summary>Makes a tokenizer for the characters that occur in a text.</summary>
    /// <param name="text">The text.</param>
    /// <param name="replacement">
    /// Encodes every character outside the alphabet; it is added to the alphabet if the text lacks it. Null: such a character is an error.
    /// </param>
    /// <exception cref="ArgumentException">The text is empty or has a lone surrogate.</exception>
    public static CharacterTokenizer FromText(ReadOnlySpan<char> text, Rune? replacement = null)
    {
        if (text.IsEmpty)
            throw new ArgumentException("An alphabet needs at least one character; the text is empty.", nameof(text));
        SurrogateCheck.Require(text);
        var alphabet = new SortedSet<int>();
        foreach (Rune rune in text.EnumerateRunes())
            alphabet.Add(rune.Value);
        if (replacement is { } added)
            alphabet.Add(added.Value);
        return new CharacterTokenizer([.. alphabet], replacement);
    }

    /// <summary>The character of a token.</summary>
    /// <param name="token">The token id.</param>
    /// <exception cref="ArgumentOutOfRangeException">The token id is not in the vocabulary.</exception>
    public Rune Character(int token)
    {
        if ((uint)token >= (uint)_characters.Length)
        {
            throw new ArgumentOutOfRangeException(
                nameof(token), token, $"A token is in 0 .. {_characters.Length - 1}.");
        }
        return new Rune(_characters[token]);
    }

    /// <summary>Whether a character is in the alphabet.</summary>
    /// <param name="character">The character.</param>
    public bool Contains(Rune character) => _ids.ContainsKey(character.Value);

    /// <inheritdoc />
    public int CountTokens(ReadOnlySpan<char> text)
    {
        SurrogateCheck.Require(text);
        int count = 0;
        int index = 0;
        foreach (Rune rune in text.EnumerateRunes())
        {
            Id(rune, index);
            index += rune.Utf16SequenceLength;
            count++;
        }
        return count;
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
        foreach (Rune rune in text.EnumerateRunes())
            destination[written++] = Id(rune, -1);
        return written;
    }

    /// <inheritdoc />
    public int GetBytes(int token, Span<byte> destination)
    {
        Rune rune = Character(token);
        if (!rune.TryEncodeToUtf8(destination, out int written))
        {
            throw new ArgumentException(
                $"The destination must hold at least {rune.Utf8SequenceLength} bytes, found {destination.Length}.",
                nameof(destination));
        }
        return written;
    }

    /// <summary>Writes the alphabet as JSON, beside an existing file and renamed.</summary>
    /// <param name="path">The file.</param>
    /// <exception cref="IOException">The file cannot be written; an existing one is untouched.</exception>
    public void Save(string path)
    {
        ArgumentException.ThrowIfNullOrEmpty(path);
        AtomicFile.Write(path, stream =>
        {
            using var writer = new Utf8JsonWriter(stream);
            writer.WriteStartObject();
            writer.WriteString("format", FormatName);
            writer.WriteNumber("version", 1);
            if (Replacement is { } replacement)
                writer.WriteString("replacement", replacement.ToString());
            writer.WriteStartArray("characters");
            foreach (int value in _characters)
                writer.WriteStringValue(new Rune(value).ToString());
            writer.WriteEndArray();
            writer.WriteEndObject();
        });
    }

    /// <summary>Reads what <see cref="Save"/> wrote.</summary>
    /// <param name="path">The file to read.</param>
    /// <exception cref="ModelFileException">The file is not such a file; is a directory, a pipe or a device; or may not be read.</exception>
    /// <exception cref="IOException">The file cannot be read.</exception>
    public static CharacterTokenizer Load(string path)
    {
        using FileStream stream = InputFile.TryOpen(path, FileShare.Read)
            ?? throw new ModelFileException(path, "JSON", "a valid document", "an empty file, a pipe or a device");
        if (stream.Length > MaximumFileBytes)
        {
            throw new ModelFileException(
                path, "length", string.Create(CultureInfo.InvariantCulture, $"at most {MaximumFileBytes} bytes"), stream.Length.ToString(CultureInfo.InvariantCulture));
        }
        byte[] bytes = new byte[stream.Length];
        stream.ReadExactly(bytes);
        return new Parser(path, bytes).Parse();
    }

    /// <summary>Reads a file that says what it likes: nothing is made longer than it may be.</summary>
    private ref struct Parser(string path, byte[] bytes)
    {
        private readonly string _path = path;
        private Utf8JsonReader _reader = new(bytes, new JsonReaderOptions { MaxDepth = 2 });

        public CharacterTokenizer Parse()
        {
            try
            {
                return ReadDocument();
            }
            catch (Exception exception) when (exception is JsonException or InvalidOperationException)
            {
                // The latter is Utf8JsonReader's report of an escape sequence of half a surrogate pair.
                throw new ModelFileException(
                    _path, "JSON", "a valid document", string.Create(CultureInfo.InvariantCulture, $"an error after byte {_reader.BytesConsumed}"), exception);
            }
        }

        private CharacterTokenizer ReadDocument()
        {
            bool hasFormat = false, hasVersion = false;
            Rune? replacement = null;
            List<int>? characters = null;
            Expect("the document", JsonTokenType.StartObject);
            while (_reader.Read() && _reader.TokenType == JsonTokenType.PropertyName)
            {
                if (_reader.ValueTextEquals("format"u8) && !hasFormat)
                {
                    hasFormat = true;
                    Expect("format", JsonTokenType.String);
                    if (!_reader.ValueTextEquals(FormatName))
                        throw new ModelFileException(_path, "format", $"\"{FormatName}\"", $"\"{Quoted.Raw(_reader.ValueSpan)}\"");
                }
                else if (_reader.ValueTextEquals("version"u8) && !hasVersion)
                {
                    hasVersion = true;
                    Expect("version", JsonTokenType.Number);
                    if (!_reader.TryGetInt32(out int version) || version != 1)
                        throw new ModelFileException(_path, "version", "1", Quoted.Raw(_reader.ValueSpan));
                }
                else if (_reader.ValueTextEquals("replacement"u8) && replacement is null)
                {
                    Expect("replacement", JsonTokenType.String);
                    replacement = ReadRune("replacement");
                }
                else if (_reader.ValueTextEquals("characters"u8) && characters is null)
                {
                    Expect("characters", JsonTokenType.StartArray);
                    characters = ReadCharacters();
                }
                else
                {
                    throw new ModelFileException(
                        _path, Quoted.Raw(_reader.ValueSpan), "format, version, replacement and characters, once each", "this field");
                }
            }
            while (_reader.Read())
            {
                // Reads to the end, so that anything after the object is reported.
            }
            if (!hasFormat)
                throw new ModelFileException(_path, "format", $"\"{FormatName}\"", "nothing");
            if (!hasVersion)
                throw new ModelFileException(_path, "version", "1", "nothing");
            if (characters is not { Count: > 0 })
                throw new ModelFileException(_path, "characters", "at least one character", "none");
            if (replacement is { } rune && characters.BinarySearch(rune.Value) < 0)
                throw new ModelFileException(_path, "replacement", "one of the characters", Describe(rune));
            return new CharacterTokenizer([.. characters], replacement);
        }

        // Ascending, so that there are no more than there are characters.
        private List<int> ReadCharacters()
        {
            var characters = new List<int>();
            while (_reader.Read() && _reader.TokenType != JsonTokenType.EndArray)
            {
                if (_reader.TokenType != JsonTokenType.String)
                    throw new ModelFileException(_path, FieldOf(characters.Count), "a string", _reader.TokenType.ToString());
                Rune rune = ReadRune("characters", characters.Count);
                if (characters.Count > 0 && rune.Value <= characters[^1])
                {
                    throw new ModelFileException(
                        _path, FieldOf(characters.Count), $"a code point above {Describe(new Rune(characters[^1]))}", Describe(rune));
                }
                characters.Add(rune.Value);
            }
            return characters;
        }

        private readonly Rune ReadRune(string field, int index = -1)
        {
            Span<char> text = stackalloc char[MaximumCharacterBytes];
            if (_reader.ValueSpan.Length <= MaximumCharacterBytes)
            {
                int length = _reader.CopyString(text);
                if (Rune.DecodeFromUtf16(text[..length], out Rune rune, out int consumed) == OperationStatus.Done && consumed == length)
                    return rune;
            }
            throw new ModelFileException(_path, index < 0 ? field : FieldOf(index), "exactly one character", Quoted.Utf8(_reader.ValueSpan));
        }

        private void Expect(string field, JsonTokenType expected)
        {
            if (!_reader.Read() || _reader.TokenType != expected)
                throw new ModelFileException(_path, field, expected.ToString(), _reader.TokenType.ToString());
        }

        private static string FieldOf(int index) => string.Create(CultureInfo.InvariantCulture, $"characters[{index}]");
    }

    private int Id(Rune rune, int index)
    {
        int value = rune.Value;
        if (value < _asciiIds.Length)
        {
            if (_asciiIds[value] >= 0)
                return _asciiIds[value];
        }
        else if (_ids.TryGetValue(value, out int id))
        {
            return id;
        }
        if (_replacementId >= 0)
            return _replacementId;
        throw new ArgumentException(
            $"The character {Describe(rune)} at index {index} is not in the alphabet of {VocabularySize} characters, and no replacement is set.",
            "text");
    }

    private static string Describe(Rune rune)
    {
        string code = string.Create(CultureInfo.InvariantCulture, $"U+{rune.Value:X4}");
        return Quoted.IsPrintable(rune) ? $"'{rune}' ({code})" : code;
    }
}
