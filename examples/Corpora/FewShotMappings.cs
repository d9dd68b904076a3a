using ModelGen;

namespace Corpora;

/// <summary>
/// Prompts that show pairs of a rule and ask for another: in-context learning. A rule gives each of eight letters a digit of its own: <c>c 4 a 7 f 1 a</c>.
/// </summary>
/// <remarks>
/// <para>Weights cannot hold the answer, since every prompt has a fresh rule: the model must find the letter in the prompt and say what followed it there (Olsson et al., "In-context Learning and Induction
/// Heads", 2022), and where the letter is new, guess among the digits that are left. The more pairs, the less of that, so that accuracy must rise with their number; without any pair one answer in eight is right.</para>
/// <para>There are 40,320 rules. About a tenth is held out, by a hash of the rule: training never sees them.</para>
/// </remarks>
public static class FewShotMappings
{
    /// <summary>The number of letters, and of digits.</summary>
    public const int Choices = 8;

    /// <summary>The number of token ids: letters, then digits.</summary>
    public const int VocabularySize = 2 * Choices;

    /// <summary>The tokens of a pair: a letter and its digit.</summary>
    public const int PairLength = 2;

    /// <summary>Writes a prompt of whole pairs under a fresh rule, letters drawn by lot: each pair is a question about which those before it are the examples.</summary>
    /// <param name="random">The numbers.</param>
    /// <param name="heldOut">Whether the rule is a held-out one.</param>
    /// <param name="tokens">Receives whole pairs, <see cref="PairLength"/> tokens each.</param>
    /// <param name="letters">
    /// How many different letters the prompt draws from, 1 to <see cref="Choices"/>. Fewer come up again sooner: among prompts of all kinds a model finds out first that what a prompt has shown helps at all,
    /// and then how, where with all letters alone it guesses for long.
    /// </param>
    /// <exception cref="ArgumentException">The tokens are no whole number of pairs.</exception>
    /// <exception cref="ArgumentOutOfRangeException"><paramref name="letters"/> is out of range.</exception>
    public static void Write(ref CounterRandom random, bool heldOut, Span<int> tokens, int letters = Choices)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(letters);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(letters, Choices);
        if (tokens.Length % PairLength != 0)
            throw new ArgumentException(FormattableString.Invariant($"Expected whole pairs of {PairLength} tokens, found {tokens.Length} tokens."), nameof(tokens));
        Span<int> rule = stackalloc int[Choices], drawn = stackalloc int[Choices];
        Permute(ref random, drawn);
        do
            Permute(ref random, rule);
        while (IsHeldOut(rule) != heldOut);
        for (int i = 0; i < tokens.Length; i += PairLength)
        {
            tokens[i] = drawn[random.NextInt32(letters)];
            tokens[i + 1] = Choices + rule[tokens[i]];
        }
    }

    /// <summary>Whether a token of a prompt is a digit, which the pairs before it and its letter determine, as far as they do.</summary>
    /// <param name="position">The token's place in the prompt.</param>
    public static bool IsAnswer(int position) => position % PairLength == 1;

    /// <summary>A prompt for people: "c 4 a 7".</summary>
    /// <param name="tokens">The tokens.</param>
    /// <exception cref="ArgumentOutOfRangeException">A token is none of this vocabulary.</exception>
    public static string Show(ReadOnlySpan<int> tokens)
    {
        const string Names = "abcdefgh12345678";
        var text = new System.Text.StringBuilder();
        foreach (int token in tokens)
        {
            if ((uint)token >= VocabularySize)
                throw new ArgumentOutOfRangeException(nameof(tokens), token, "There is no such token.");
            text.Append(text.Length > 0 ? " " : "").Append(Names[token]);
        }
        return text.ToString();
    }

    /// <summary>How often a perfect reader of the pairs before would be right: what no model can surpass.</summary>
    /// <param name="shots">The number of pairs before the question.</param>
    /// <exception cref="ArgumentOutOfRangeException">It is negative.</exception>
    public static double BestAccuracy(int shots)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(shots);

        // The chances of having seen so many different letters, pair by pair.
        Span<double> seen = stackalloc double[Choices + 1];
        seen.Clear();
        seen[0] = 1;
        for (int i = 0; i < shots; i++)
        {
            for (int k = Choices; k > 0; k--)
                seen[k] = (seen[k] * k / Choices) + (seen[k - 1] * (Choices - k + 1) / Choices);
            seen[0] = 0;
        }

        // A letter seen is known; of the others one in those left is right.
        double sum = seen[Choices];
        for (int k = 0; k < Choices; k++)
            sum += seen[k] * (k + 1) / Choices;
        return sum;
    }

    private static bool IsHeldOut(ReadOnlySpan<int> rule)
    {
        Span<char> text = stackalloc char[Choices];
        for (int i = 0; i < Choices; i++)
            text[i] = (char)('0' + rule[i]);
        return Partition.IsHeldOut(text);
    }

    private static void Permute(ref CounterRandom random, Span<int> items)
    {
        for (int i = 0; i < items.Length; i++)
            items[i] = i;
        random.Shuffle(items);
    }
}
