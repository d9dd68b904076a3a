using System.Globalization;
using System.Text.Json;
using ModelGen.Runtime;

namespace ModelGen;

/// <summary>
/// The tokens of a model with their ids and with how often each occurred: first the special ones, then the others, most frequent first. Immutable, and may be shared between threads.
/// </summary>
public sealed class Vocabulary
{
    /// <summary>Fills batches up: what stands for nothing.</summary>
    public const string Padding = "<pad>";

    /// <summary>The beginning of a sequence.</summary>
    public const string Beginning = "<bos>";

    /// <summary>The end of a sequence.</summary>
    public const string End = "<eos>";

    /// <summary>What is not in the vocabulary.</summary>
    public const string Unknown = "<unk>";

    /// <summary>What a model is to fill in.</summary>
    public const string Mask = "<mask>";

    private const string FormatName = "modelgen.vocabulary";
    private const int MaximumFileBytes = 1 << 30;
    private readonly string[] _tokens;
    private readonly long[] _counts;
    private readonly Dictionary<string, int> _ids;
    private readonly Dictionary<string, int>.AlternateLookup<ReadOnlySpan<char>> _lookup;

    internal Vocabulary(string[] tokens, long[] counts, int specialCount)
    {
        _tokens = tokens;
        _counts = counts;
        SpecialCount = specialCount;
        _ids = new Dictionary<string, int>(tokens.Length, StringComparer.Ordinal);
        for (int id = 0; id < tokens.Length; id++)
        {
            _ids.Add(tokens[id], id);
        }

        _lookup = _ids.GetAlternateLookup<ReadOnlySpan<char>>();
        (PaddingId, BeginningId, EndId, UnknownId, MaskId) = (Special(Padding), Special(Beginning), Special(End), Special(Unknown), Special(Mask));

        int Special(string token) => _ids.TryGetValue(token, out int id) && id < specialCount ? id : -1;
    }

    /// <summary>The special tokens <c>&lt;pad&gt; &lt;bos&gt; &lt;eos&gt; &lt;unk&gt; &lt;mask&gt;</c>.</summary>
    public static IReadOnlyList<string> StandardSpecials { get; } = [Padding, Beginning, End, Unknown, Mask];

    /// <summary>The number of tokens.</summary>
    public int Count => _tokens.Length;

    /// <summary>How many of them are special: they have the ids 0 to one below it, and texts never give them.</summary>
    public int SpecialCount { get; }

    /// <summary>The id of <see cref="Padding"/>; -1 if it is none of the special tokens.</summary>
    public int PaddingId { get; }

    /// <summary>The id of <see cref="Beginning"/>; -1 if it is none of the special tokens.</summary>
    public int BeginningId { get; }

    /// <summary>The id of <see cref="End"/>; -1 if it is none of the special tokens.</summary>
    public int EndId { get; }

    /// <summary>The id of <see cref="Unknown"/>; -1 if it is none of the special tokens.</summary>
    public int UnknownId { get; }

    /// <summary>The id of <see cref="Mask"/>; -1 if it is none of the special tokens.</summary>
    public int MaskId { get; }

    /// <summary>The token of an id.</summary>
    /// <param name="id">The id.</param>
    /// <exception cref="ArgumentOutOfRangeException">There is no such id.</exception>
    public string this[int id] => _tokens[Check(id)];

    /// <summary>How often a token occurred in what the vocabulary was built from; 0 for special ones.</summary>
    /// <param name="id">The token's id.</param>
    /// <exception cref="ArgumentOutOfRangeException">There is no such id.</exception>
    public long CountOf(int id) => _counts[Check(id)];

    /// <summary>The id of a token; that of <see cref="Unknown"/> if it is not in the vocabulary, or -1 where there is none.</summary>
    /// <param name="token">The token, special or not.</param>
    public int IdOf(ReadOnlySpan<char> token) => _lookup.TryGetValue(token, out int id) ? id : UnknownId;

    /// <summary>Whether a token is in the vocabulary.</summary>
    /// <param name="token">The token.</param>
    public bool Contains(ReadOnlySpan<char> token) => _lookup.ContainsKey(token);

    /// <summary>Writes the vocabulary as JSON, beside an existing file and renamed.</summary>
    /// <param name="path">The file.</param>
    /// <exception cref="IOException">The file cannot be written; an existing one is untouched.</exception>
    public void Save(string path)
    {
        AtomicFile.Write(path, stream =>
        {
            using var writer = new Utf8JsonWriter(stream);
            writer.WriteStartObject();
            writer.WriteString("format", FormatName);
            writer.WriteNumber("version", 1);
            writer.WriteNumber("special", SpecialCount);
            writer.WriteStartArray("tokens");
            foreach (string token in _tokens)
            {
                writer.WriteStringValue(token);
            }

            writer.WriteEndArray();
            writer.WriteStartArray("counts");
            foreach (long count in _counts)
            {
                writer.WriteNumberValue(count);
            }

            writer.WriteEndArray();
            writer.WriteEndObject();
        });
    }

    /// <summary>Reads what <see cref="Save"/> wrote.</summary>
    /// <param name="path">The file.</param>
    /// <exception cref="ModelFileException">The file is no such file; is a directory, a pipe or a device; or may not be read.</exception>
    /// <exception cref="IOException">The file cannot be read.</exception>
    public static Vocabulary Load(string path)
    {
        using FileStream stream = InputFile.TryOpen(path, FileShare.Read) ?? throw new ModelFileException(path, "JSON", "a valid document", "an empty file, a pipe or a device");
        if (stream.Length > MaximumFileBytes)
        {
            throw new ModelFileException(path, "length", FormattableString.Invariant($"at most {MaximumFileBytes} bytes"), stream.Length.ToString(CultureInfo.InvariantCulture));
        }

        JsonDocument document;
        try
        {
            document = JsonDocument.Parse(stream, new JsonDocumentOptions { MaxDepth = 2 });
        }
        catch (JsonException exception)
        {
            throw new ModelFileException(path, "JSON", "a valid document", Quoted.Printable(exception.Message, 120), exception);
        }

        using (document)
        {
            try
            {
                return Read(path, document.RootElement);
            }
            catch (InvalidOperationException exception)
            {
                // An escape sequence of half a surrogate pair in a text or a name.
                throw new ModelFileException(path, "JSON", "valid Unicode", "half a surrogate pair", exception);
            }
        }
    }

    private static Vocabulary Read(string path, JsonElement root)
    {
        if (root.ValueKind != JsonValueKind.Object || !root.TryGetProperty("format", out JsonElement format) || format.ValueKind != JsonValueKind.String || !format.ValueEquals(FormatName))
        {
            throw new ModelFileException(path, "format", $"\"{FormatName}\"", "something else");
        }

        if (Number("version", 1, 1) != 1)
        {
            throw new ModelFileException(path, "version", "1", "another one");
        }

        JsonElement tokens = List("tokens"), counts = List("counts");
        int length = tokens.GetArrayLength(), special = (int)Number("special", 0, length);
        if (length == 0 || counts.GetArrayLength() != length)
        {
            throw new ModelFileException(path, "counts", FormattableString.Invariant($"one for each of {length} tokens, at least one"), FormattableString.Invariant($"{counts.GetArrayLength()}"));
        }

        string[] texts = new string[length];
        long[] numbers = new long[length];
        var seen = new HashSet<string>(length, StringComparer.Ordinal);
        for (int id = 0; id < length; id++)
        {
            texts[id] = TextOf(tokens[id], id);
            if (!seen.Add(texts[id]))
            {
                throw new ModelFileException(path, FormattableString.Invariant($"tokens[{id}]"), "each token once", Quoted.Text(texts[id]));
            }

            numbers[id] = counts[id].ValueKind == JsonValueKind.Number && counts[id].TryGetInt64(out long count) && count >= 0
                ? count
                : throw new ModelFileException(path, FormattableString.Invariant($"counts[{id}]"), "an integer, 0 or more", Quoted.Printable(counts[id].GetRawText(), 60));
        }

        return new Vocabulary(texts, numbers, special);

        JsonElement List(string name) => root.TryGetProperty(name, out JsonElement list) && list.ValueKind == JsonValueKind.Array ? list : throw new ModelFileException(path, name, "a list", "none");

        long Number(string name, long minimum, long maximum)
            => root.TryGetProperty(name, out JsonElement number) && number.ValueKind == JsonValueKind.Number && number.TryGetInt64(out long value) && value >= minimum && value <= maximum
                ? value
                : throw new ModelFileException(path, name, FormattableString.Invariant($"an integer from {minimum} to {maximum}"), "something else");

        string TextOf(JsonElement element, int id)
        {
            try
            {
                return element.ValueKind == JsonValueKind.String && element.GetString() is { Length: > 0 } text ? text : throw new ModelFileException(path, FormattableString.Invariant($"tokens[{id}]"), "a text", "none");
            }
            catch (InvalidOperationException exception)
            {
                // An escape sequence of half a surrogate pair.
                throw new ModelFileException(path, FormattableString.Invariant($"tokens[{id}]"), "valid Unicode", "half a surrogate pair", exception);
            }
        }
    }

    private int Check(int id)
        => (uint)id < (uint)_tokens.Length ? id : throw new ArgumentOutOfRangeException(nameof(id), id, FormattableString.Invariant($"The ids are 0 to {_tokens.Length - 1}."));
}
