namespace Corpora;

/// <summary>A sentence in English and in French, as words in lower case; elided words keep their apostrophe: <c>j' ai</c>.</summary>
/// <param name="English">The English words.</param>
/// <param name="French">The French words.</param>
public sealed record SentencePair(IReadOnlyList<string> English, IReadOnlyList<string> French)
{
    /// <summary>The English sentence with spaces between its words: "i am a student .".</summary>
    public string EnglishLine => string.Join(' ', English);

    /// <summary>The French sentence with spaces between its words: "je suis étudiant .".</summary>
    public string FrenchLine => string.Join(' ', French);
}

/// <summary>English sentences with their translations into French, from one grammar that writes both.</summary>
/// <remarks>
/// <para>What a model can get wrong:</para>
/// <list type="bullet">
/// <item>gender and number, which English does not show: determiners, adjectives and professions agree with their noun, wherever it stands, verbs with their subject, and two subjects are
/// masculine if one of them is;</item>
/// <item>word order: some adjectives come before the noun and some after it, pronouns before the verb ("I see him ." → "Je le vois ."), adverbs after it, owners after what they own ("the king 's cat" →
/// "le chat du roi");</item>
/// <item>negation around the verb, with "de" for "a" and "some" behind it: "I do not have a cat ." → "Je n'ai pas de chat .";</item>
/// <item>sounds: le, la, je, ne, de, me, te and que lose their vowel before another, ma, ta, sa, ce, beau, nouveau and vieux change their form there, and de and à grow together with le and les;</item>
/// <item>professions without an article ("I am a student ." → "Je suis étudiant ."), questions ("Est-ce que …").</item>
/// </list>
/// <para>English determines French: "you" is "tu", and "I", "you", "we" and "they" are masculine. About a tenth of all sentences are held out, by a hash of the English one, so that no training
/// part of any seed has them. The same seed and counts give the same sentences everywhere.</para>
/// </remarks>
public sealed class TranslationCorpus
{
    /// <summary>The seed that the examples use.</summary>
    public const ulong DefaultSeed = 14;

    private TranslationCorpus(IReadOnlyList<SentencePair> training, IReadOnlyList<SentencePair> heldOut)
    {
        Training = training;
        HeldOut = heldOut;
    }

    /// <summary>The sentences to train on, each once.</summary>
    public IReadOnlyList<SentencePair> Training { get; }

    /// <summary>The held-out sentences, each once.</summary>
    public IReadOnlyList<SentencePair> HeldOut { get; }

    /// <summary>Every English word that the grammar has, in alphabetical order.</summary>
    public static IReadOnlyList<string> EnglishWords { get; } = SynchronousGrammar.Words(pair => pair.English);

    /// <summary>Every French word that the grammar has, in alphabetical order.</summary>
    public static IReadOnlyList<string> FrenchWords { get; } = SynchronousGrammar.Words(pair => pair.French);

    /// <summary>The most words of a sentence, in either language.</summary>
    public const int MaximumLength = 20;

    /// <summary>Writes the sentences.</summary>
    /// <param name="seed">The seed.</param>
    /// <param name="training">The number of sentences to train on.</param>
    /// <param name="heldOut">The number of held-out sentences.</param>
    /// <exception cref="ArgumentOutOfRangeException">A number is negative.</exception>
    public static TranslationCorpus Generate(ulong seed = DefaultSeed, int training = 20_000, int heldOut = 1000)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(training);
        ArgumentOutOfRangeException.ThrowIfNegative(heldOut);
        return new TranslationCorpus(Write(seed, 0, training, heldOut: false), Write(seed, 1, heldOut, heldOut: true));
    }

    /// <summary>Splits a sentence that people wrote into the words that the grammar knows: "I don't see him." → i, do, not, see, him, ".".</summary>
    /// <param name="text">The sentence.</param>
    public static IReadOnlyList<string> TokenizeEnglish(string text)
    {
        ArgumentNullException.ThrowIfNull(text);
        string spaced = text.ToLowerInvariant().Replace("n't", " not", StringComparison.Ordinal).Replace("s' ", "s ' ", StringComparison.Ordinal)
            .Replace("'s", " 's ", StringComparison.Ordinal).Replace(".", " . ", StringComparison.Ordinal)
            .Replace("?", " ? ", StringComparison.Ordinal);
        return spaced.Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries);
    }

    /// <summary>Writes French words as people do: "Je n'ai pas de chat .".</summary>
    /// <param name="words">The words.</param>
    public static string WriteFrench(IEnumerable<string> words)
    {
        ArgumentNullException.ThrowIfNull(words);
        return Casing.Capital(string.Join(' ', words).Replace("' ", "'", StringComparison.Ordinal));
    }

    private static List<SentencePair> Write(ulong seed, ulong stream, int count, bool heldOut)
    {
        var draw = new Draw(seed, stream);
        var seen = new HashSet<string>();
        var pairs = new List<SentencePair>(count);
        while (pairs.Count < count)
        {
            SentencePair pair = SynchronousGrammar.Sentence(draw);
            if (pair.English.Count <= MaximumLength && pair.French.Count <= MaximumLength && Partition.IsHeldOut(pair.EnglishLine) == heldOut && seen.Add(pair.EnglishLine))
                pairs.Add(pair);
        }
        return pairs;
    }
}
