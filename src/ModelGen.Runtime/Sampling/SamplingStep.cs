using System.Globalization;
using ModelGen.Runtime;

namespace ModelGen;

/// <summary>
/// One step of a chain that turns logits into a token: it changes the logits of the tokens that are left, or leaves fewer of them. After the last step a token is drawn by the softmax of
/// what is left. Immutable: what a step remembers of a text is the <see cref="Sampler"/>'s.
/// </summary>
/// <remarks>In the formulas, l(x) is the logit of a token that is left, and p(x) = exp(l(x)) / Σ exp(l) over those.</remarks>
public abstract class SamplingStep
{
    private protected SamplingStep()
    {
    }

    /// <summary>The step as text, with its numbers.</summary>
    public sealed override string ToString() => Describe();

    /// <summary>l(x) := l(x) / <paramref name="temperature"/>; at 0 the likeliest token alone is left, the lowest id among equals.</summary>
    /// <param name="temperature">The temperature.</param>
    /// <exception cref="ArgumentOutOfRangeException">It is negative, infinite or NaN.</exception>
    public static SamplingStep Temperature(float temperature)
    {
        Require(float.IsFinite(temperature) && temperature >= 0, temperature, "a finite number, 0 or more", nameof(temperature));
        return new TemperatureStep(temperature, temperature, 1);
    }

    /// <summary>
    /// A temperature by how undecided the model is: t = <paramref name="minimum"/> + (<paramref name="maximum"/> − <paramref name="minimum"/>) · (H / ln n)^<paramref name="exponent"/>, where H is
    /// the entropy of p and n the number of tokens left (Zhu et al., "Hot or cold? Adaptive temperature sampling for code generation with large language models", 2024, by entropy).
    /// </summary>
    /// <param name="minimum">The temperature where one token has all the probability.</param>
    /// <param name="maximum">The temperature where all have the same.</param>
    /// <param name="exponent">How the temperature follows the entropy.</param>
    /// <exception cref="ArgumentOutOfRangeException">A temperature is negative, not finite, or the larger the first one; or the exponent is not above 0.</exception>
    public static SamplingStep DynamicTemperature(float minimum, float maximum, float exponent = 1f)
    {
        Require(float.IsFinite(minimum) && minimum >= 0, minimum, "a finite number, 0 or more", nameof(minimum));
        Require(float.IsFinite(maximum) && maximum >= minimum, maximum, "a finite number, at least the minimum", nameof(maximum));
        Require(float.IsFinite(exponent) && exponent > 0, exponent, "a finite number above 0", nameof(exponent));
        return new TemperatureStep(minimum, maximum, exponent);
    }

    /// <summary>Leaves the <paramref name="count"/> likeliest tokens, lower ids first among equals (Fan et al., "Hierarchical neural story generation", 2018). 0 leaves all.</summary>
    /// <param name="count">How many.</param>
    /// <exception cref="ArgumentOutOfRangeException">It is negative.</exception>
    public static SamplingStep TopK(int count)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(count);
        return new TopKStep(count);
    }

    /// <summary>Leaves the fewest likeliest tokens with Σ p ≥ <paramref name="mass"/> (Holtzman et al., "The curious case of neural text degeneration", 2020).</summary>
    /// <param name="mass">The probability; 1 leaves all.</param>
    /// <param name="minimum">How many are left at least.</param>
    /// <exception cref="ArgumentOutOfRangeException">The mass is not above 0 and at most 1, or the minimum is below 1.</exception>
    public static SamplingStep TopP(float mass, int minimum = 1)
    {
        Require(mass is > 0 and <= 1, mass, "above 0 and at most 1", nameof(mass));
        ArgumentOutOfRangeException.ThrowIfLessThan(minimum, 1);
        return new TopPStep(mass, minimum);
    }

    /// <summary>Leaves the tokens with p(x) ≥ <paramref name="ratio"/> · max p (Nguyen et al., "Turning up the heat: min-p sampling for creative and coherent LLM outputs", 2024).</summary>
    /// <param name="ratio">The part of the likeliest token's probability; 0 leaves all.</param>
    /// <exception cref="ArgumentOutOfRangeException">It is not from 0 to 1.</exception>
    public static SamplingStep MinP(float ratio)
    {
        Require(ratio is >= 0 and <= 1, ratio, "from 0 to 1", nameof(ratio));
        return new MinPStep(ratio);
    }

    /// <summary>Leaves the fewest tokens with Σ p ≥ <paramref name="mass"/>, those first whose −ln p(x) is nearest to the entropy (Meister et al., "Locally typical sampling", 2023), lower ids first among equals.</summary>
    /// <param name="mass">The probability; 1 leaves all.</param>
    /// <exception cref="ArgumentOutOfRangeException">It is not above 0 and at most 1.</exception>
    public static SamplingStep Typical(float mass)
    {
        Require(mass is > 0 and <= 1, mass, "above 0 and at most 1", nameof(mass));
        return new TypicalStep(mass);
    }

    /// <summary>Leaves the tokens with l(x) ≥ max l − <paramref name="deviations"/> · σ, where σ is the standard deviation of the finite logits (Tang et al., "Top-nσ: not all logits are you need", 2024).</summary>
    /// <param name="deviations">How many standard deviations.</param>
    /// <exception cref="ArgumentOutOfRangeException">It is negative or not finite.</exception>
    public static SamplingStep TopNSigma(float deviations)
    {
        Require(float.IsFinite(deviations) && deviations >= 0, deviations, "a finite number, 0 or more", nameof(deviations));
        return new TopNSigmaStep(deviations);
    }

    /// <summary>
    /// Excludes the top choices: with the probability <paramref name="probability"/>, of the tokens with p(x) ≥ <paramref name="threshold"/> the least likely alone is left beside those below.
    /// Nothing changes where fewer than two reach it. One number is drawn whenever the step runs.
    /// </summary>
    /// <param name="probability">How often.</param>
    /// <param name="threshold">What a top choice reaches.</param>
    /// <exception cref="ArgumentOutOfRangeException">The probability is not from 0 to 1, or the threshold not above 0 and at most 1.</exception>
    public static SamplingStep ExcludeTopChoices(float probability, float threshold)
    {
        Require(probability is >= 0 and <= 1, probability, "from 0 to 1", nameof(probability));
        Require(threshold is > 0 and <= 1, threshold, "above 0 and at most 1", nameof(threshold));
        return new ExcludeTopChoicesStep(probability, threshold);
    }

    /// <summary>
    /// Mirostat 2 (Basu et al., "Mirostat: a neural text decoding algorithm that directly controls perplexity", 2021): leaves the tokens of a surprise −log2 p(x) ≤ μ, or the likeliest if there is none;
    /// after the draw, μ := μ − <paramref name="rate"/> · (−log2 p'(x) − <paramref name="surprise"/>), where p' is over what was left. μ is 2 · <paramref name="surprise"/> at first. The last step of a chain.
    /// </summary>
    /// <param name="surprise">The surprise that is aimed at, τ, in bits.</param>
    /// <param name="rate">How fast μ follows, η.</param>
    /// <exception cref="ArgumentOutOfRangeException">One is negative or not finite.</exception>
    public static SamplingStep Mirostat(float surprise = 5f, float rate = 0.1f)
    {
        Require(float.IsFinite(surprise) && surprise >= 0, surprise, "a finite number, 0 or more", nameof(surprise));
        Require(float.IsFinite(rate) && rate >= 0, rate, "a finite number, 0 or more", nameof(rate));
        return new MirostatStep(surprise, rate);
    }

    /// <summary>
    /// Penalties of tokens that occur c > 0 times among the last ones: l(x) := l(x) / <paramref name="repetition"/> where l(x) > 0, l(x) · <paramref name="repetition"/> elsewhere (Keskar et al., "CTRL", 2019), then
    /// l(x) := l(x) − c · <paramref name="frequency"/> − <paramref name="presence"/>.
    /// </summary>
    /// <param name="last">How many of the last tokens count.</param>
    /// <param name="repetition">What logits are divided by; 1 changes nothing.</param>
    /// <param name="frequency">What each occurrence costs.</param>
    /// <param name="presence">What any occurrence costs.</param>
    /// <exception cref="ArgumentOutOfRangeException"><paramref name="last"/> is negative or above 2^20, the repetition not above 0, or a number not finite.</exception>
    public static SamplingStep Penalties(int last = 64, float repetition = 1f, float frequency = 0f, float presence = 0f)
    {
        RequireLast(last);
        Require(float.IsFinite(repetition) && repetition > 0, repetition, "a finite number above 0", nameof(repetition));
        Require(float.IsFinite(frequency), frequency, "a finite number", nameof(frequency));
        Require(float.IsFinite(presence), presence, "a finite number", nameof(presence));
        return new PenaltiesStep(last, repetition, frequency, presence);
    }

    /// <summary>
    /// Don't repeat yourself: a token that would lengthen a repetition of n ≥ <paramref name="allowedLength"/> tokens costs <paramref name="multiplier"/> · <paramref name="growth"/>^(n − <paramref name="allowedLength"/>).
    /// n is the length of the longest end of the text that stands somewhere before with this token behind it, and has no token of <paramref name="breakers"/> in it; a breaker costs nothing.
    /// </summary>
    /// <param name="multiplier">What the shortest repetition that counts costs.</param>
    /// <param name="growth">How much more each further token costs.</param>
    /// <param name="allowedLength">The shortest repetition that counts.</param>
    /// <param name="last">How many of the last tokens are looked at.</param>
    /// <param name="breakers">Tokens that end a repetition: line breaks, quotes, the marks of turns.</param>
    /// <exception cref="ArgumentOutOfRangeException">A number is negative or not finite, the growth below 1, <paramref name="allowedLength"/> below 1, or <paramref name="last"/> above 2^20.</exception>
    public static SamplingStep DontRepeat(float multiplier, float growth = 1.75f, int allowedLength = 2, int last = 1024, IEnumerable<int>? breakers = null)
    {
        Require(float.IsFinite(multiplier) && multiplier >= 0, multiplier, "a finite number, 0 or more", nameof(multiplier));
        Require(float.IsFinite(growth) && growth >= 1, growth, "a finite number, 1 or more", nameof(growth));
        ArgumentOutOfRangeException.ThrowIfLessThan(allowedLength, 1);
        RequireLast(last);
        return new DontRepeatStep(multiplier, growth, allowedLength, last, breakers is null ? [] : [.. breakers]);
    }

    /// <summary>l(x) := l(x) + b(x) for some tokens; negative infinity excludes one.</summary>
    /// <param name="biases">The tokens and what is added to their logits.</param>
    /// <exception cref="ArgumentOutOfRangeException">A bias is NaN or positive infinity, or a token negative.</exception>
    public static SamplingStep LogitBias(IEnumerable<KeyValuePair<int, float>> biases)
    {
        ArgumentNullException.ThrowIfNull(biases);
        KeyValuePair<int, float>[] list = [.. biases];
        foreach ((int token, float bias) in list)
        {
            ArgumentOutOfRangeException.ThrowIfNegative(token, nameof(biases));
            Require(bias < float.PositiveInfinity, bias, "a number, or negative infinity", nameof(biases));
        }

        return new LogitBiasStep(list);
    }

    /// <summary>What a sampler does and remembers for this step.</summary>
    internal abstract SamplingState CreateState(int vocabularySize);

    /// <summary>Whether a device does this step; a step that changes nothing is none there.</summary>
    internal virtual bool IsKnownToDevices(out CudaDrawingStep? step)
    {
        step = null;
        return false;
    }

    private protected abstract string Describe();

    private static void RequireLast(int last)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(last);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(last, 1 << 20);
    }

    private static void Require(bool holds, float value, string expected, string name)
    {
        if (!holds)
        {
            throw new ArgumentOutOfRangeException(name, value, string.Create(CultureInfo.InvariantCulture, $"Expected {expected}."));
        }
    }
}
