using System.Buffers.Text;
using System.Globalization;
using System.Text;
using System.Text.Json;

namespace ModelGen;

/// <summary>Reads byte-level vocabularies from the files that came before <c>tokenizer.json</c>: GPT-2's tokens and merges, and tiktoken's ranks. Nothing of them is trusted.</summary>
internal static class ByteLevelFiles
{
    // Far more than any vocabulary in use.
    private const int LargestVocabulary = 1 << 22;

    // Vocabularies have runs of spaces of 128, and rows of signs of about as many.
    private const int LongestToken = 1024;

    // Comparisons of pairs: a vocabulary of 200,000 takes some ten millions.
    private const long MostWork = 2_000_000_000;

    /// <summary>What tiktoken's files do not say of the vocabularies that there are, by their number of ranks: the pattern of words, and names of special tokens.</summary>
    private static readonly (int Ranks, string Pattern, bool AddsBeginning, string? Beginning, string End, (string Name, int Id)[] Special)[] s_known =
    [
        (50_256, "gpt-2", false, null, "<|endoftext|>", [("<|endoftext|>", 50_256)]),
        (50_280, "gpt-2", false, null, "<|endoftext|>", [("<|endoftext|>", 50_256)]),
        (100_256, "dbrx", false, null, "<|endoftext|>", [("<|endoftext|>", 100_257), ("<|fim_prefix|>", 100_258), ("<|fim_middle|>", 100_259), ("<|fim_suffix|>", 100_260), ("<|endofprompt|>", 100_276)]),
        (128_000, "llama-bpe", true, "<|begin_of_text|>", "<|end_of_text|>", Llama3()),
        (151_643, "qwen2", false, null, "<|endoftext|>", [("<|endoftext|>", 151_643), ("<|im_start|>", 151_644), ("<|im_end|>", 151_645)]),
        (199_998, "gpt-4o", false, null, "<|endoftext|>", [("<|endoftext|>", 199_999), ("<|endofprompt|>", 200_018)]),
    ];

    /// <summary>Whether a JSON object has nothing but tokens and their ids, as GPT-2's <c>vocab.json</c> (<c>encoder.json</c>).</summary>
    public static bool IsVocabulary(JsonElement root)
        => root.ValueKind == JsonValueKind.Object && root.EnumerateObject().FirstOrDefault() is { Value.ValueKind: JsonValueKind.Number } && !(root.TryGetProperty("model", out JsonElement model) && model.ValueKind == JsonValueKind.Object);

    /// <summary>Whether a file is of merges, beside which the tokens lie.</summary>
    public static bool IsMerges(string path) => Path.GetFileName(path) is "merges.txt" || path.EndsWith(".bpe", StringComparison.OrdinalIgnoreCase);

    /// <summary>The file of the tokens beside one of merges.</summary>
    public static string TokensBeside(string path) => Beside(path, "tokens", "vocab.json", "encoder.json");

    /// <summary>The vocabulary of a file of tokens and of the merges beside it.</summary>
    public static TokenizerVocabulary OfMerges(string path, JsonElement root)
    {
        var byId = new Dictionary<int, string>();
        foreach (JsonProperty entry in root.EnumerateObject())
        {
            if (entry.Value.ValueKind != JsonValueKind.Number || !entry.Value.TryGetInt32(out int id) || id < 0 || id >= LargestVocabulary || !byId.TryAdd(id, entry.Name))
            {
                throw new ModelFileException(path, $"token '{Shown(entry.Name)}'", FormattableString.Invariant($"an id from 0 to below {LargestVocabulary}, each once"), Shown(entry.Value.ToString()));
            }
        }

        string mergesPath = Path.GetFileName(path) == "encoder.json" ? Beside(path, "merges", "vocab.bpe", "merges.txt") : Beside(path, "merges", "merges.txt", "vocab.bpe");
        var merges = new List<string>();
        int number = 0;
        foreach (string line in Encoding.UTF8.GetString(TokenizerFiles.Bytes(mergesPath)).Split('\n').Select(static line => line.TrimEnd('\r')))
        {
            number++;
            if (line.Length == 0 || (number == 1 && line.StartsWith("#version", StringComparison.Ordinal)))
            {
                continue;
            }

            int space = line.IndexOf(' ', StringComparison.Ordinal);
            merges.Add(space > 0 && space < line.Length - 1 && line.IndexOf(' ', space + 1) < 0 ? line
                : throw new ModelFileException(mergesPath, FormattableString.Invariant($"line {number}"), "two tokens with a space between", $"'{Shown(line)}'"));
        }

        int count = byId.Count == 0 ? 0 : byId.Keys.Max() + 1;
        if (count == 0 || count > (4 * byId.Count) + 1024)
        {
            throw new ModelFileException(path, "ids", "tokens, without large gaps", FormattableString.Invariant($"{byId.Count} tokens with ids up to {count - 1}"));
        }

        string[] tokens = [.. Enumerable.Range(0, count).Select(id => byId.GetValueOrDefault(id) ?? "")];
        return new TokenizerVocabulary
        {
            Kind = TokenizerKind.ByteLevel,
            Tokens = tokens,
            Kinds = [.. tokens.Select((token, id) => !byId.ContainsKey(id) ? TokenKind.Unused : IsSpecial(token) ? TokenKind.Control : TokenKind.Normal)],
            Merges = merges,
            BeginningToken = Find(tokens, "<|endoftext|>") ?? Find(tokens, "<s>"),
            EndToken = Find(tokens, "<|endoftext|>") ?? Find(tokens, "</s>"),
        };
    }

    /// <summary>Whether a file is one of tiktoken's: lines of a token's bytes in base 64 and its rank.</summary>
    public static bool LooksLikeRanks(ReadOnlySpan<byte> bytes)
    {
        int end = bytes.IndexOf((byte)'\n');
        ReadOnlySpan<byte> line = (end < 0 ? bytes : bytes[..end]).TrimEnd((byte)'\r');
        int space = line.IndexOf((byte)' ');
        return space > 0 && space % 4 == 0 && Base64.IsValid(line[..space]) && line[(space + 1)..] is { Length: > 0 and < 10 } rank && rank.IndexOfAnyExceptInRange((byte)'0', (byte)'9') < 0;
    }

    /// <summary>The vocabulary of one of tiktoken's files that are known by their number of tokens.</summary>
    public static TokenizerVocabulary OfRanks(string path, byte[] bytes)
    {
        SortedDictionary<int, string> ranks = Ranks(path, bytes);
        foreach ((int count, string pattern, bool addsBeginning, string? beginning, string ending, (string Name, int Id)[] special) in s_known)
        {
            if (count == ranks.Count)
            {
                TokenizerVocabulary vocabulary = OfRanks(path, ranks, pattern, special);
                return vocabulary with { BeginningToken = Find(vocabulary.Tokens, beginning ?? ending), EndToken = Find(vocabulary.Tokens, ending), TurnEndTokens = [.. new[] { Find(vocabulary.Tokens, "<|eot_id|>"), Find(vocabulary.Tokens, "<|im_end|>") }.OfType<int>()], AddsBeginning = addsBeginning };
            }
        }

        throw new NotSupportedException($"{path}: a file of tiktoken's does not say how words are found, and no known one has {ranks.Count.ToString(CultureInfo.InvariantCulture)} tokens ({string.Join(", ", s_known.Select(static known => known.Ranks.ToString(CultureInfo.InvariantCulture)))} have): TokenizerFiles.ReadTiktoken takes a pattern.");
    }

    /// <summary>The vocabulary of a file of tiktoken's.</summary>
    public static TokenizerVocabulary OfRanks(string path, byte[] bytes, string pattern, IEnumerable<(string Name, int Id)> special) => OfRanks(path, Ranks(path, bytes), pattern, special);

    private static TokenizerVocabulary OfRanks(string path, SortedDictionary<int, string> ranks, string pattern, IEnumerable<(string Name, int Id)> special)
    {
        var specialById = new Dictionary<int, string>();
        foreach ((string name, int id) in special)
        {
            if (id < 0 || id >= LargestVocabulary || ranks.ContainsKey(id) || !specialById.TryAdd(id, name))
            {
                throw new ModelFileException(path, $"special token '{Shown(name)}'", "an id of its own", FormattableString.Invariant($"{id}"));
            }
        }

        int count = Math.Max(ranks.Keys.Last(), specialById.Count > 0 ? specialById.Keys.Max() : 0) + 1;
        if (count > (4 * ranks.Count) + 1024)
        {
            throw new ModelFileException(path, "ranks", "ids without large gaps", FormattableString.Invariant($"{ranks.Count} tokens with ids up to {count - 1}"));
        }

        var tokens = new string[count];
        var kinds = new TokenKind[count];
        for (int id = 0; id < count; id++)
        {
            (tokens[id], kinds[id]) = ranks.TryGetValue(id, out string? token) ? (token, TokenKind.Normal) : specialById.TryGetValue(id, out string? name) ? (name, TokenKind.Control) : ("", TokenKind.Unused);
        }

        return new TokenizerVocabulary { Kind = TokenizerKind.ByteLevel, Tokens = tokens, Kinds = kinds, Merges = Merges(path, ranks), Pattern = pattern };
    }

    private static SortedDictionary<int, string> Ranks(string path, byte[] bytes)
    {
        var ranks = new SortedDictionary<int, string>();
        byte[] token = new byte[LongestToken + 3];
        int number = 0;
        for (int at = 0; at < bytes.Length;)
        {
            int end = bytes.AsSpan(at).IndexOf((byte)'\n');
            ReadOnlySpan<byte> line = bytes.AsSpan(at, end < 0 ? bytes.Length - at : end).TrimEnd((byte)'\r');
            at += end < 0 ? bytes.Length - at : end + 1;
            number++;
            if (line.IsEmpty)
            {
                continue;
            }

            int space = line.IndexOf((byte)' ');
            if (space <= 0 || Base64.GetMaxDecodedFromUtf8Length(space) > token.Length
                || Base64.DecodeFromUtf8(line[..space], token, out _, out int length) != System.Buffers.OperationStatus.Done || length is 0 or > LongestToken
                || !Utf8Parser.TryParse(line[(space + 1)..], out int rank, out int digits) || digits != line.Length - space - 1 || rank < 0 || rank >= LargestVocabulary)
            {
                throw new ModelFileException(path, FormattableString.Invariant($"line {number}"), FormattableString.Invariant($"1 to {LongestToken} bytes in base 64 and a rank below {LargestVocabulary}"), "something else");
            }

            string spelled = string.Create(length, token, static (spelled, from) =>
            {
                for (int i = 0; i < spelled.Length; i++)
                {
                    spelled[i] = ByteLevelTokenizer.Spelled(from[i]);
                }
            });
            if (!ranks.TryAdd(rank, spelled))
            {
                throw new ModelFileException(path, FormattableString.Invariant($"line {number}"), "a rank of its own", FormattableString.Invariant($"{rank} again"));
            }
        }

        return ranks.Count > 0 ? ranks : throw new ModelFileException(path, "lines", "tokens and their ranks", "none");
    }

    // What of two tokens becomes each token: its bytes, merged by the ranks below its own until two are left.
    private static List<string> Merges(string path, SortedDictionary<int, string> ranks)
    {
        var rankOf = new Dictionary<string, int>(ranks.Count, StringComparer.Ordinal);
        foreach ((int rank, string token) in ranks)
        {
            if (!rankOf.TryAdd(token, rank))
            {
                throw new ModelFileException(path, FormattableString.Invariant($"rank {rank}"), "a token of its own", FormattableString.Invariant($"that of rank {rankOf[token]}"));
            }
        }

        Dictionary<string, int>.AlternateLookup<ReadOnlySpan<char>> lookup = rankOf.GetAlternateLookup<ReadOnlySpan<char>>();
        var merges = new List<string>(ranks.Count);
        Span<int> starts = stackalloc int[LongestToken + 1];
        Span<int> pairs = stackalloc int[LongestToken];
        long work = 0;
        foreach ((int rank, string token) in ranks)
        {
            int parts = token.Length;
            work += (long)parts * parts;
            if (work > MostWork)
            {
                throw new ModelFileException(path, "tokens", "of the lengths that vocabularies have", "too many long ones");
            }

            for (int i = 0; i <= parts; i++)
            {
                starts[i] = i;
            }

            for (int i = 0; i < parts - 1; i++)
            {
                pairs[i] = Pair(token, starts, i, rank, lookup);
            }

            while (parts > 2)
            {
                int best = IndexOfLeast(pairs[..(parts - 1)]);
                if (pairs[best] == int.MaxValue)
                {
                    throw new ModelFileException(path, FormattableString.Invariant($"rank {rank}"), "a token that two earlier ones make", "one that they do not");
                }

                starts[(best + 2)..(parts + 1)].CopyTo(starts[(best + 1)..]);
                pairs[(best + 1)..(parts - 1)].CopyTo(pairs[best..]);
                parts--;
                if (best < parts - 1)
                {
                    pairs[best] = Pair(token, starts, best, rank, lookup);
                }

                if (best > 0)
                {
                    pairs[best - 1] = Pair(token, starts, best - 1, rank, lookup);
                }
            }

            if (parts == 2)
            {
                merges.Add($"{token.AsSpan(0, starts[1])} {token.AsSpan(starts[1])}");
            }
        }

        return merges;
    }

    private static int Pair(string token, ReadOnlySpan<int> starts, int part, int below, Dictionary<string, int>.AlternateLookup<ReadOnlySpan<char>> lookup)
        => lookup.TryGetValue(token.AsSpan(starts[part]..starts[part + 2]), out int rank) && rank < below ? rank : int.MaxValue;

    // The first of equals, as merging goes from left to right.
    private static int IndexOfLeast(ReadOnlySpan<int> values)
    {
        int least = 0;
        for (int i = 1; i < values.Length; i++)
        {
            least = values[i] < values[least] ? i : least;
        }

        return least;
    }

    private static (string Name, int Id)[] Llama3()
    {
        string[] names =
        [
            "<|begin_of_text|>", "<|end_of_text|>", "<|reserved_special_token_0|>", "<|reserved_special_token_1|>", "<|reserved_special_token_2|>", "<|reserved_special_token_3|>", "<|start_header_id|>", "<|end_header_id|>",
            "<|reserved_special_token_4|>", "<|eot_id|>", .. Enumerable.Range(5, 246).Select(static number => FormattableString.Invariant($"<|reserved_special_token_{number}|>")),
        ];
        return [.. names.Select(static (name, index) => (name, 128_000 + index))];
    }

    // Nothing in such a file says which tokens are none of texts: names in angle brackets are, as in all that were published so.
    private static bool IsSpecial(string token) => (token.Length > 4 && token.StartsWith("<|", StringComparison.Ordinal) && token.EndsWith("|>", StringComparison.Ordinal)) || token is "<s>" or "</s>" or "<pad>" or "<unk>" or "<mask>";

    private static int? Find(IReadOnlyList<string> tokens, string name)
    {
        for (int id = 0; id < tokens.Count; id++)
        {
            if (tokens[id] == name)
            {
                return id;
            }
        }

        return null;
    }

    private static string Beside(string path, string what, params string[] names)
    {
        string folder = Path.GetDirectoryName(Path.GetFullPath(path))!;
        return names.Select(name => Path.Combine(folder, name)).FirstOrDefault(File.Exists) ?? throw new ModelFileException(path, what, $"{string.Join(" or ", names)} beside it", "neither");
    }

    private static string Shown(string text) => text.Length > 40 ? text[..40] + "…" : text;
}
