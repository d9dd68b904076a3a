using System.Text.RegularExpressions;

namespace ModelGen;

/// <summary>What is trained.</summary>
public sealed record ByteLevelTrainingOptions
{
    /// <summary>The tokens to end with, special tokens and the 256 bytes included; fewer where the texts have no more pairs. Default: 32,000.</summary>
    public int VocabularySize { get; init; } = 32_000;

    /// <summary>The least number of times that a pair must stand in the texts to be merged. Default: 2.</summary>
    public int MinimumCount { get; init; } = 2;

    /// <summary>The name of the pattern that finds words, within which pairs are merged: <c>gpt-2</c>, <c>dbrx</c> (at most three digits together), <c>qwen2</c>, <c>smollm</c> (each digit by itself). Default: <c>gpt-2</c>.</summary>
    public string Pattern { get; init; } = "gpt-2";

    /// <summary>Special tokens, which have the first ids; the first of them is what texts begin and end with. Default: <c>&lt;|endoftext|&gt;</c>.</summary>
    public IReadOnlyList<string> SpecialTokens { get; init; } = ["<|endoftext|>"];
}

/// <summary>
/// Makes a vocabulary of byte-level byte-pair encoding of texts: the pair of neighbouring tokens that stands in their words most often becomes a token, again and again. Of pairs that are equally often the one of the lower ids is taken, as
/// Hugging Face's trainer does. What is trained depends on the texts and the options alone.
/// </summary>
/// <remarks>Sennrich et al., "Neural Machine Translation of Rare Words with Subword Units" (2016); Radford et al., "Language Models are Unsupervised Multitask Learners" (2019), section 2.2.</remarks>
public sealed class ByteLevelTrainer
{
    private readonly Dictionary<string, long> _words = new(StringComparer.Ordinal);
    private readonly ByteLevelTrainingOptions _options;
    private readonly Regex _pattern;

    /// <summary>Makes a trainer.</summary>
    /// <param name="options">What is trained; null for the defaults.</param>
    /// <exception cref="ArgumentOutOfRangeException">The vocabulary is too small for the special tokens and the bytes, or a number is not positive.</exception>
    /// <exception cref="ArgumentException">A special token is empty or there twice.</exception>
    /// <exception cref="NotSupportedException">There is no pattern of the name.</exception>
    public ByteLevelTrainer(ByteLevelTrainingOptions? options = null)
    {
        _options = options ?? new ByteLevelTrainingOptions();
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(_options.MinimumCount);
        if (_options.SpecialTokens.Any(string.IsNullOrEmpty) || _options.SpecialTokens.Distinct(StringComparer.Ordinal).Count() != _options.SpecialTokens.Count || _options.SpecialTokens.Any(static token => token.Length == 1))
        {
            throw new ArgumentException("Special tokens have two characters or more, and are there once.", nameof(options));
        }

        if (_options.VocabularySize < 256 + _options.SpecialTokens.Count)
        {
            throw new ArgumentOutOfRangeException(nameof(options), _options.VocabularySize, FormattableString.Invariant($"Expected at least {256 + _options.SpecialTokens.Count} tokens: the bytes and {_options.SpecialTokens.Count} special ones."));
        }

        _pattern = WordPatterns.Of(_options.Pattern);
    }

    /// <summary>Counts the words of a text; words do not reach from one text into the next.</summary>
    /// <param name="text">The text.</param>
    /// <exception cref="ArgumentException">The text has a lone surrogate.</exception>
    public void Add(string text)
    {
        ArgumentNullException.ThrowIfNull(text);
        TextTokenizer.Checked(text);
        foreach ((int start, int length) in new ByteLevelTokenizer.WordPattern(_pattern).PreTokenize(text))
        {
            System.Runtime.InteropServices.CollectionsMarshal.GetValueRefOrAddDefault(_words, text.Substring(start, length), out _)++;
        }
    }

    /// <summary>Makes the vocabulary of what was added.</summary>
    /// <param name="cancellation">Ends it.</param>
    public TokenizerVocabulary Train(CancellationToken cancellation = default)
    {
        List<string> tokens = [.. _options.SpecialTokens];
        int special = tokens.Count;

        // Bytes in the order of the characters that they are spelled as: GPT-2's begins with ! too.
        tokens.AddRange(Enumerable.Range(0, 256).Select(static value => ByteLevelTokenizer.Spelled((byte)value)).Order().Select(static spelled => spelled.ToString()));
        var ids = tokens.Select(static (token, id) => (token, id)).Skip(special).ToDictionary(static pair => pair.token, static pair => pair.id, StringComparer.Ordinal);
        var words = new List<int[]>(_words.Count);
        var counts = new List<long>(_words.Count);
        foreach ((string word, long count) in _words)
        {
            words.Add([.. ByteLevelTokenizer.Spelled(word).Select(spelled => ids[spelled.ToString()])]);
            counts.Add(count);
        }

        var pairs = new Dictionary<(int Left, int Right), (long Count, HashSet<int> Words)>();
        var queue = new PriorityQueue<(int Left, int Right, long Count), (long Rare, int Left, int Right)>();
        for (int word = 0; word < words.Count; word++)
        {
            for (int i = 0; i + 1 < words[word].Length; i++)
            {
                Change((words[word][i], words[word][i + 1]), counts[word], word);
            }
        }

        foreach ((var pair, var (count, _)) in pairs)
        {
            Offer(pair, count);
        }

        var merges = new List<string>();
        var changed = new HashSet<(int, int)>();
        while (tokens.Count < _options.VocabularySize && queue.TryDequeue(out (int Left, int Right, long Count) best, out _))
        {
            cancellation.ThrowIfCancellationRequested();
            if (!pairs.TryGetValue((best.Left, best.Right), out (long Count, HashSet<int> Words) found) || found.Count != best.Count)
            {
                // Its number has changed since; it was offered again with the new one.
                continue;
            }

            if (found.Count < _options.MinimumCount)
            {
                break;
            }

            // No text becomes a special token.
            if (_options.SpecialTokens.Contains(tokens[best.Left] + tokens[best.Right]))
            {
                pairs.Remove((best.Left, best.Right));
                continue;
            }

            // Two pairs may make the same token: it is one, with the ids of both.
            string token = tokens[best.Left] + tokens[best.Right];
            if (!ids.TryGetValue(token, out int made))
            {
                made = tokens.Count;
                tokens.Add(token);
                ids.Add(token, made);
            }

            merges.Add($"{tokens[best.Left]} {tokens[best.Right]}");
            changed.Clear();
            foreach (int word in found.Words)
            {
                words[word] = Merge(words[word], best.Left, best.Right, made, (pair, sign) =>
                {
                    Change(pair, sign * counts[word], word);
                    changed.Add(pair);
                });
            }

            pairs.Remove((best.Left, best.Right));
            foreach ((int, int) pair in changed)
            {
                if (pairs.TryGetValue(pair, out (long Count, HashSet<int> Words) now) && now.Count > 0)
                {
                    Offer(pair, now.Count);
                }
            }
        }

        return new TokenizerVocabulary
        {
            Kind = TokenizerKind.ByteLevel,
            Tokens = tokens,
            Kinds = [.. tokens.Select((_, id) => id < special ? TokenKind.Control : TokenKind.Normal)],
            Merges = merges,
            Pattern = _options.Pattern,
            BeginningToken = special > 0 ? 0 : null,
            EndToken = special > 0 ? 0 : null,
        };

        void Change((int Left, int Right) pair, long by, int word)
        {
            if (!pairs.TryGetValue(pair, out (long Count, HashSet<int> Words) found))
            {
                found = (0, []);
            }

            // A word stays in the set of a pair that it has no longer: merging finds nothing there then.
            if (by > 0)
            {
                found.Words.Add(word);
            }

            pairs[pair] = (found.Count + by, found.Words);
        }

        void Offer((int Left, int Right) pair, long count) => queue.Enqueue((pair.Left, pair.Right, count), (-count, pair.Left, pair.Right));
    }

    /// <summary>Makes the vocabulary of texts.</summary>
    /// <param name="texts">The texts.</param>
    /// <param name="options">What is trained; null for the defaults.</param>
    /// <param name="cancellation">Ends it.</param>
    public static TokenizerVocabulary Train(IEnumerable<string> texts, ByteLevelTrainingOptions? options = null, CancellationToken cancellation = default)
    {
        ArgumentNullException.ThrowIfNull(texts);
        var trainer = new ByteLevelTrainer(options);
        foreach (string text in texts)
        {
            cancellation.ThrowIfCancellationRequested();
            trainer.Add(text);
        }

        return trainer.Train(cancellation);
    }

    // From the left on; what neighbours are no longer and what they are now is told.
    private static int[] Merge(int[] word, int left, int right, int made, Action<(int, int), int> change)
    {
        var merged = new List<int>(word.Length);
        bool any = false;
        for (int i = 0; i < word.Length; i++)
        {
            bool isPair = i + 1 < word.Length && word[i] == left && word[i + 1] == right;
            any |= isPair;
            merged.Add(isPair ? made : word[i]);
            i += isPair ? 1 : 0;
        }

        if (!any)
        {
            return word;
        }

        for (int i = 0; i + 1 < word.Length; i++)
        {
            change((word[i], word[i + 1]), -1);
        }

        for (int i = 0; i + 1 < merged.Count; i++)
        {
            change((merged[i], merged[i + 1]), 1);
        }

        return [.. merged];
    }
}
