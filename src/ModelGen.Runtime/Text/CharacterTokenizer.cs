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

    // A file cannot make the loader take more memory than the whole of Unicode needs.
    private const long MaximumFileBytes = 64L << 20;

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
    /// <exception cref="ModelFileException">The file is not such a file.</exception>
    /// <exception cref="IOException">The file cannot be read.</exception>
    public static CharacterTokenizer Load(string path)
    {
        ArgumentException.ThrowIfNullOrEmpty(path);
        long length = new FileInfo(path).Length;
        if (length > MaximumFileBytes)
            throw new ModelFileException(path, "length", $"at most {MaximumFileBytes} bytes", $"{length}");
        byte[] bytes = File.ReadAllBytes(path);
        try
        {
            return Parse(path, bytes);
        }
        catch (JsonException exception)
        {
            throw new ModelFileException(path, "JSON", "a valid document", exception.Message, exception);
        }
        catch (InvalidOperationException exception)
        {
            // Utf8JsonReader's report of a string that is not valid UTF-8 or UTF-16.
            throw new ModelFileException(path, "JSON", "valid strings", exception.Message, exception);
        }
    }

    private static CharacterTokenizer Parse(string path, byte[] bytes)
    {
        var reader = new Utf8JsonReader(bytes);
        string? format = null, replacementText = null;
        int? version = null;
        List<int>? characters = null;
        Expect(ref reader, path, "the document", JsonTokenType.StartObject);
        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            string field = reader.GetString()!;
            switch (field)
            {
                case "format" when format is null:
                    Expect(ref reader, path, field, JsonTokenType.String);
                    format = reader.GetString();
                    break;
                case "version" when version is null:
                    Expect(ref reader, path, field, JsonTokenType.Number);
                    version = reader.TryGetInt32(out int number) ? number : -1;
                    break;
                case "replacement" when replacementText is null:
                    Expect(ref reader, path, field, JsonTokenType.String);
                    replacementText = reader.GetString();
                    break;
                case "characters" when characters is null:
                    Expect(ref reader, path, field, JsonTokenType.StartArray);
                    characters = ReadCharacters(ref reader, path);
                    break;
                default:
                    throw new ModelFileException(path, field, "format, version, replacement and characters, once each", "this field");
            }
        }
        while (reader.Read())
        {
            // Reads to the end, so that anything after the object is reported.
        }
        if (format != FormatName)
            throw new ModelFileException(path, "format", $"\"{FormatName}\"", format is null ? "nothing" : $"\"{format}\"");
        if (version != 1)
            throw new ModelFileException(path, "version", "1", version?.ToString(CultureInfo.InvariantCulture) ?? "nothing");
        if (characters is not { Count: > 0 })
            throw new ModelFileException(path, "characters", "at least one character", "none");
        Rune? replacement = null;
        if (replacementText is not null)
        {
            replacement = SingleRune(path, "replacement", replacementText);
            if (!characters.Contains(replacement.Value.Value))
                throw new ModelFileException(path, "replacement", "one of the characters", Describe(replacement.Value));
        }
        return new CharacterTokenizer([.. characters], replacement);
    }

    private static List<int> ReadCharacters(ref Utf8JsonReader reader, string path)
    {
        var characters = new List<int>();
        while (reader.Read() && reader.TokenType != JsonTokenType.EndArray)
        {
            string field = string.Create(CultureInfo.InvariantCulture, $"characters[{characters.Count}]");
            if (reader.TokenType != JsonTokenType.String)
                throw new ModelFileException(path, field, "a string", reader.TokenType.ToString());
            Rune rune = SingleRune(path, field, reader.GetString()!);
            if (characters.Count > 0 && rune.Value <= characters[^1])
                throw new ModelFileException(path, field, $"a code point above {Describe(new Rune(characters[^1]))}", Describe(rune));
            characters.Add(rune.Value);
        }
        return characters;
    }

    private static Rune SingleRune(string path, string field, string text)
    {
        if (Rune.DecodeFromUtf16(text, out Rune rune, out int consumed) != System.Buffers.OperationStatus.Done
            || consumed != text.Length)
        {
            throw new ModelFileException(path, field, "exactly one character", $"\"{text}\"");
        }
        return rune;
    }

    private static void Expect(ref Utf8JsonReader reader, string path, string field, JsonTokenType expected)
    {
        if (!reader.Read() || reader.TokenType != expected)
            throw new ModelFileException(path, field, expected.ToString(), reader.TokenType.ToString());
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
        return Rune.IsControl(rune) ? code : $"'{rune}' ({code})";
    }
}
