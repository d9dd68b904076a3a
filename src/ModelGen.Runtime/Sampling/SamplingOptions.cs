namespace ModelGen;

/// <summary>How the next token is chosen from logits. Immutable; every value is checked when it is set.</summary>
/// <remarks>The order is that of the field: temperature, then top-k, then top-p on the renormalized rest, then a draw; or the steps of <see cref="Chain"/>, in the order in which they stand there.</remarks>
public sealed record SamplingOptions
{
    private readonly float _temperature = 1f;
    private readonly int _topK;
    private readonly float _topP = 1f;

    /// <summary>Divides the logits. 1 leaves the model's distribution, 0 is greedy: the most likely token, the lowest id among equals.</summary>
    /// <exception cref="ArgumentOutOfRangeException">The value is negative, infinite or NaN.</exception>
    public float Temperature
    {
        get => _temperature;
        init
        {
            if (!float.IsFinite(value) || value < 0f)
                throw new ArgumentOutOfRangeException(nameof(Temperature), value, "The temperature must be a finite number, 0 or more.");
            _temperature = value;
        }
    }

    /// <summary>Keeps this many of the most likely tokens, lower ids first among equals. 0 keeps all.</summary>
    /// <exception cref="ArgumentOutOfRangeException">The value is negative.</exception>
    public int TopK
    {
        get => _topK;
        init
        {
            if (value < 0)
                throw new ArgumentOutOfRangeException(nameof(TopK), value, "Top-k must be 0 (off) or more.");
            _topK = value;
        }
    }

    /// <summary>
    /// Keeps the fewest most likely tokens whose probabilities sum to at least this (nucleus sampling,
    /// Holtzman et al., "The curious case of neural text degeneration", 2020). 1 keeps all.
    /// </summary>
    /// <exception cref="ArgumentOutOfRangeException">The value is not above 0 and at most 1.</exception>
    public float TopP
    {
        get => _topP;
        init
        {
            if (!(value > 0f && value <= 1f))
                throw new ArgumentOutOfRangeException(nameof(TopP), value, "Top-p must be above 0 and at most 1.");
            _topP = value;
        }
    }

    /// <summary>
    /// Steps that stand in the place of <see cref="Temperature"/>, <see cref="TopK"/> and <see cref="TopP"/>, which then keep their defaults; after the last one a token is drawn. Null: those three.
    /// </summary>
    /// <example><code>
    /// new SamplingOptions { Chain = [SamplingStep.Penalties(last: 64, repetition: 1.1f), SamplingStep.TopK(40), SamplingStep.MinP(0.05f), SamplingStep.Temperature(0.8f)] }
    /// </code></example>
    public IReadOnlyList<SamplingStep>? Chain { get; init; }

    /// <summary>The seed of the draws.</summary>
    public ulong Seed { get; init; }
}
