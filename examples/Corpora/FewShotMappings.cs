using ModelGen;

namespace Corpora;

/// <summary>
/// Prompts that show pairs of a rule and ask for another: in-context learning. An input is two letters, an output two digits; a rule gives each first letter a digit of one kind,
/// each second letter a digit of the other kind, one to one, and says which of the two comes first: <c>a q → 3 7 ; c q → 1 7 ; a r →</c>.
/// </summary>
/// <remarks>
/// <para>A prompt of all letters never asks for a pair that it has shown, so copying is of no use: the answer is put together from what different pairs say of the two letters, in the rule's order. What no pair has
/// shown can only be guessed, among what is left; the more pairs, the less of that, so that accuracy must rise with their number. Without any pair two answers in a hundred are right.</para>
/// <para>There are 28,800 rules. About a tenth is held out, by a hash of the rule: training never sees them.</para>
/// </remarks>
public static class FewShotMappings
{
    /// <summary>The choices for a letter and for a digit.</summary>
    public const int Choices = 5;

    /// <summary>The number of token ids.</summary>
    public const int VocabularySize = (4 * Choices) + 2;

    /// <summary>The tokens of a pair: two letters, the arrow, two digits and the semicolon.</summary>
    public const int PairLength = 6;

    /// <summary>Where in a pair the digits are.</summary>
    public const int AnswerOffset = 3;

    /// <summary>The most pairs of a prompt: all there are.</summary>
    public const int MaximumPairs = Choices * Choices;

    private const int Arrow = 4 * Choices;
    private const int Semicolon = Arrow + 1;

    /// <summary>Writes a prompt of whole pairs under a fresh rule: each pair is a question about which those before it are the examples.</summary>
    /// <param name="random">The numbers.</param>
    /// <param name="heldOut">Whether the rule is a held-out one.</param>
    /// <param name="tokens">Receives whole pairs, <see cref="PairLength"/> tokens each, at most <see cref="MaximumPairs"/>.</param>
    /// <param name="letters">
    /// How many different first letters and second letters the prompt uses, 1 to <see cref="Choices"/>. No pair comes twice before all of them have come. Fewer letters come up again sooner: among prompts of
    /// all kinds a model finds out first that what a prompt has shown helps at all, and then how, where it otherwise guesses for long.
    /// </param>
    /// <exception cref="ArgumentException">The tokens are no whole number of pairs, or too many.</exception>
    /// <exception cref="ArgumentOutOfRangeException"><paramref name="letters"/> is out of range.</exception>
    public static void Write(ref CounterRandom random, bool heldOut, Span<int> tokens, int letters = Choices)
    {
        (int pairs, int rest) = Math.DivRem(tokens.Length, PairLength);
        if (rest != 0 || pairs > MaximumPairs)
            throw new ArgumentException(FormattableString.Invariant($"Expected whole pairs of {PairLength} tokens, at most {MaximumPairs}, found {tokens.Length} tokens."), nameof(tokens));
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(letters);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(letters, Choices);
        Span<int> first = stackalloc int[Choices], second = stackalloc int[Choices], lefts = stackalloc int[Choices], rights = stackalloc int[Choices];
        Span<int> inputs = stackalloc int[MaximumPairs];
        inputs = inputs[..(letters * letters)];
        bool swapped;
        do
        {
            Permute(ref random, first);
            Permute(ref random, second);
            swapped = random.NextInt32(2) == 1;
        }
        while (IsHeldOut(first, second, swapped) != heldOut);

        Permute(ref random, lefts);
        Permute(ref random, rights);
        for (int i = 0; i < pairs; i++)
        {
            if (i % inputs.Length == 0)
                Permute(ref random, inputs);
            (int left, int right) = Math.DivRem(inputs[i % inputs.Length], letters);
            (left, right) = (lefts[left], rights[right]);
            Span<int> pair = tokens.Slice(i * PairLength, PairLength);
            int one = (2 * Choices) + first[left], other = (3 * Choices) + second[right];
            pair[0] = left;
            pair[1] = Choices + right;
            pair[2] = Arrow;
            pair[3] = swapped ? other : one;
            pair[4] = swapped ? one : other;
            pair[5] = Semicolon;
        }
    }

    /// <summary>Whether a token of a prompt is a digit, which the pairs before it and its letters determine, as far as they do.</summary>
    /// <param name="position">The token's place in the prompt.</param>
    public static bool IsAnswer(int position) => position % PairLength is AnswerOffset or AnswerOffset + 1;

    /// <summary>A prompt for people: "a q → 3 7 ;".</summary>
    /// <param name="tokens">The tokens.</param>
    /// <exception cref="ArgumentOutOfRangeException">A token is none of this vocabulary.</exception>
    public static string Show(ReadOnlySpan<int> tokens)
    {
        const string Names = "abcdepqrst1234567890→;";
        var text = new System.Text.StringBuilder();
        foreach (int token in tokens)
        {
            if ((uint)token >= VocabularySize)
                throw new ArgumentOutOfRangeException(nameof(tokens), token, "There is no such token.");
            text.Append(text.Length > 0 ? " " : "").Append(Names[token]);
        }
        return text.ToString();
    }

    /// <summary>How often a perfect reader of the pairs before would be right, both digits together: what no model can surpass.</summary>
    /// <param name="shots">The number of pairs before the question.</param>
    /// <exception cref="ArgumentOutOfRangeException">It is negative, or leaves no question.</exception>
    public static double BestAccuracy(int shots)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(shots);
        ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual(shots, MaximumPairs);
        const int Trials = 100_000;
        var random = new CounterRandom(1);
        Span<int> inputs = stackalloc int[MaximumPairs];
        double sum = 0;
        for (int trial = 0; trial < Trials; trial++)
        {
            Permute(ref random, inputs);
            int seenFirst = 0, seenSecond = 0;
            for (int i = 0; i < shots; i++)
            {
                seenFirst |= 1 << (inputs[i] / Choices);
                seenSecond |= 1 << (inputs[i] % Choices);
            }
            sum += Chance(seenFirst, inputs[shots] / Choices) * Chance(seenSecond, inputs[shots] % Choices) * (shots == 0 ? 0.5 : 1);
        }
        return sum / Trials;

        static double Chance(int seen, int asked) =>
            (seen >> asked & 1) == 1 ? 1 : 1.0 / (Choices - System.Numerics.BitOperations.PopCount((uint)seen));
    }

    private static bool IsHeldOut(ReadOnlySpan<int> first, ReadOnlySpan<int> second, bool swapped)
    {
        Span<char> rule = stackalloc char[(2 * Choices) + 1];
        for (int i = 0; i < Choices; i++)
        {
            rule[i] = (char)('0' + first[i]);
            rule[Choices + i] = (char)('0' + second[i]);
        }
        rule[^1] = swapped ? 's' : 'u';
        return Partition.IsHeldOut(rule);
    }

    private static void Permute(ref CounterRandom random, Span<int> items)
    {
        for (int i = 0; i < items.Length; i++)
        {
            int j = random.NextInt32(i + 1);
            items[i] = items[j];
            items[j] = i;
        }
    }
}
