using System;
using System.Collections.Generic;
using System.Globalization;
using System.Linq;
using System.Text;

namespace ModelGen.Compiler.Grammars;

/// <summary>
/// Reads the bytes of a vocabulary's tokens from Hugging Face's <c>tokenizer.json</c>, as <c>TextTokenizer.Load</c> does while a program runs: byte-level BPE, BPE of SentencePiece's pieces, Unigram and WordPiece. How a text is cut into tokens
/// does not matter for masks, and is not read.
/// </summary>
internal static class TokenTableJson
{
    private const int LargestText = 1 << 27;
    private const int LargestVocabulary = 1 << 22;

    // Where SentencePiece writes a space.
    private const char Space = '▁';

    private enum Kind
    {
        Normal,
        Control,
        UserDefined,
    }

    /// <summary>Whether a text is JSON, if it is a vocabulary at all.</summary>
    public static bool IsOne(string text)
    {
        int at = 0;
        while (at < text.Length && (char.IsWhiteSpace(text[at]) || text[at] == '\uFEFF'))
        {
            at++;
        }

        return at < text.Length && text[at] == '{';
    }

    /// <exception cref="GrammarException">It is no <c>tokenizer.json</c>, or one of another kind of model.</exception>
    public static TokenTable Read(string text)
    {
        SchemaJson root = SchemaJson.Parse(text.TrimStart('\uFEFF'), LargestText);
        SchemaJson model = Member(root, "model", SchemaJsonKind.Object);
        string kind = model.Find("type") is { Kind: SchemaJsonKind.String } type ? type.Text : "BPE";
        var byId = new Dictionary<int, (string Token, Kind Kind)>();
        switch (kind)
        {
            case "Unigram":
                foreach (SchemaJson piece in Member(model, "vocab", SchemaJsonKind.Array).Items)
                {
                    Add(piece, byId.Count, FirstOfTwo(piece) ?? throw Wrong(piece, "expected a token and its score"), Kind.Normal);
                }

                break;

            case "BPE" or "WordPiece":
                foreach ((string name, SchemaJson value) in Member(model, "vocab", SchemaJsonKind.Object).Members)
                {
                    Add(value, Id(value), name, Kind.Normal);
                }

                break;

            default:
                throw Wrong(model, "the tokenizer's model is known here if it is BPE, WordPiece or Unigram");
        }

        foreach (SchemaJson token in root.Find("added_tokens") is { Kind: SchemaJsonKind.Array } added ? added.Items : [])
        {
            SchemaJson id = Member(token, "id", SchemaJsonKind.Number);
            byId.Remove(Id(id));
            Add(token, Id(id), Member(token, "content", SchemaJsonKind.String).Text, token.Find("special") is { Kind: SchemaJsonKind.True } ? Kind.Control : Kind.UserDefined);
        }

        int count = byId.Count == 0 ? throw Wrong(model, "expected tokens") : byId.Keys.Max() + 1;
        if (count > (4 * byId.Count) + 1024)
        {
            throw Wrong(model, FormattableString.Invariant($"expected ids without large gaps, found {byId.Count} tokens with ids up to {count - 1}"));
        }

        var ids = new Dictionary<string, int>(StringComparer.Ordinal);
        var special = new Dictionary<string, int>(StringComparer.Ordinal);
        for (int id = 0; id < count; id++)
        {
            if (byId.TryGetValue(id, out (string Token, Kind Kind) entry))
            {
                First(ids, entry.Token, id);
            }
        }

        bool isWords = kind == "WordPiece", isBytes = kind == "BPE" && root.Find("pre_tokenizer") is { } words && Steps(words).Any(static step => Type(step) == "ByteLevel");
        if (kind == "BPE" && !isBytes && model.Find("byte_fallback") is not { Kind: SchemaJsonKind.True })
        {
            throw Wrong(model, "the tokenizer works neither on bytes (ByteLevel) nor with bytes to fall back on (byte_fallback)");
        }

        int unknown = kind == "Unigram" ? model.Find("unk_id") is { Kind: SchemaJsonKind.Number } given ? Id(given) : -1 : kind == "BPE" && !isBytes && ids.TryGetValue("<unk>", out int known) ? known : -1;
        byte[][] bytes = new byte[count][];
        for (int id = 0; id < count; id++)
        {
            if (!byId.TryGetValue(id, out (string Token, Kind Kind) entry))
            {
                bytes[id] = [];
                continue;
            }

            string token = isWords ? Word(entry.Token) : entry.Token;
            if (entry.Kind == Kind.Control || (entry.Kind == Kind.UserDefined && token.Length > 0))
            {
                First(special, token, id);
            }

            bytes[id] = entry.Kind == Kind.Control || id == unknown ? []
                : entry.Kind == Kind.UserDefined ? Encoding.UTF8.GetBytes(token)
                : isBytes ? BytesOf(token)
                : isWords ? Encoding.UTF8.GetBytes(IsName(token) || token.Length == 0 || token[0] != Space ? token : " " + token.Substring(1))
                : PieceOf(token);
        }

        string? last = LastOf(root);
        string?[] ends = isWords ? ["[SEP]"] : isBytes ? [last, "<|end_of_text|>", "<|endoftext|>", "<|im_end|>", "</s>"] : kind == "Unigram" ? [last, "</s>"] : ["</s>", "<eos>"];
        var found = new List<int>();
        if (ends.FirstOrDefault(name => name is not null && ids.ContainsKey(name)) is { } end)
        {
            found.Add(ids[end]);
        }

        found.AddRange(EndTokenNames.All.Where(special.ContainsKey).Select(name => special[name]));
        return new TokenTable(bytes, found);

        void Add(SchemaJson where, int id, string token, Kind of)
        {
            if (byId.ContainsKey(id))
            {
                throw Wrong(where, FormattableString.Invariant($"the id {id} has another token already"));
            }

            byId.Add(id, (token, of));
        }
    }

    private static void First(Dictionary<string, int> table, string token, int id)
    {
        if (!table.ContainsKey(token))
        {
            table.Add(token, id);
        }
    }

    private static int Id(SchemaJson value)
        => value.Kind == SchemaJsonKind.Number && int.TryParse(value.Raw, NumberStyles.None, CultureInfo.InvariantCulture, out int id) && id < LargestVocabulary ? id
            : throw Wrong(value, FormattableString.Invariant($"expected an id of 0 to below {LargestVocabulary}"));

    private static SchemaJson Member(SchemaJson value, string name, SchemaJsonKind kind)
        => value.Kind == SchemaJsonKind.Object && value.Find(name) is { } found && found.Kind == kind ? found : throw Wrong(value, $"expected '{name}', as a tokenizer.json has it");

    private static GrammarException Wrong(SchemaJson value, string what) => GrammarException.At(value.Place, what + ".");

    private static string? Type(SchemaJson step) => step.Find("type") is { Kind: SchemaJsonKind.String } type ? type.Text : null;

    private static IEnumerable<SchemaJson> Steps(SchemaJson step)
    {
        yield return step;
        foreach (string name in new[] { "pretokenizers", "normalizers", "processors" })
        {
            foreach (SchemaJson part in step.Find(name) is { Kind: SchemaJsonKind.Array } parts ? parts.Items : [])
            {
                foreach (SchemaJson inner in Steps(part))
                {
                    yield return inner;
                }
            }
        }
    }

    // Of a text and what belongs to it, the text.
    private static string? FirstOfTwo(SchemaJson? value) => value is { Kind: SchemaJsonKind.Array, Items.Count: 2 } && value.Items[0].Kind == SchemaJsonKind.String ? value.Items[0].Text : null;

    // What is put behind a text.
    private static string? LastOf(SchemaJson root)
    {
        foreach (SchemaJson step in root.Find("post_processor") is { Kind: SchemaJsonKind.Object } processor ? Steps(processor) : [])
        {
            if (Type(step) == "TemplateProcessing" && step.Find("single") is { Kind: SchemaJsonKind.Array, Items.Count: > 0 } single)
            {
                return single.Items[single.Items.Count - 1].Find("SpecialToken")?.Find("id") is { Kind: SchemaJsonKind.String } token ? token.Text : null;
            }

            if (Type(step) is "RobertaProcessing" or "BertProcessing" && FirstOfTwo(step.Find("cls")) is not null && FirstOfTwo(step.Find("sep")) is { } last)
            {
                return last;
            }
        }

        return null;
    }

    // Pieces within words have ## before them there, those that begin one a space here.
    private static string Word(string token) => IsName(token) ? token : token.StartsWith("##", StringComparison.Ordinal) ? token.Substring(2) : Space + token;

    private static bool IsName(string token) => token.Length > 2 && token[0] == '[' && token[token.Length - 1] == ']';

    private static byte[] PieceOf(string token)
        => token.Length == 6 && token.StartsWith("<0x", StringComparison.Ordinal) && token[5] == '>' && byte.TryParse(token.Substring(3, 2), NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out byte value)
            ? [value]
            : Encoding.UTF8.GetBytes(token.Replace(Space, ' '));

    // A character for each byte: printable ones of Latin-1 as themselves, the others from U+0100 on. A token that spells none stands for its characters.
    private static byte[] BytesOf(string token)
    {
        byte[] bytes = new byte[token.Length];
        for (int i = 0; i < bytes.Length; i++)
        {
            char c = token[i];
            int value = c < 256 ? IsPrintable(c) ? c : -1 : c - 256 < s_others.Length ? s_others[c - 256] : -1;
            if (value < 0)
            {
                return Encoding.UTF8.GetBytes(token);
            }

            bytes[i] = (byte)value;
        }

        return bytes;
    }

    private static readonly byte[] s_others = [.. Enumerable.Range(0, 256).Where(static value => !IsPrintable((char)value)).Select(static value => (byte)value)];

    private static bool IsPrintable(char c) => c is (>= '!' and <= '~') or (>= '\u00A1' and <= '\u00AC') or (>= '\u00AE' and <= '\u00FF');
}
