namespace ModelGen;

/// <summary>How a text is continued.</summary>
public sealed record TextGenerationOptions
{
    private readonly int _maxTokens = int.MaxValue;

    /// <summary>The most tokens that are added; the context is a limit besides.</summary>
    /// <exception cref="ArgumentOutOfRangeException">The value is negative.</exception>
    public int MaxTokens
    {
        get => _maxTokens;
        init
        {
            ArgumentOutOfRangeException.ThrowIfNegative(value, nameof(MaxTokens));
            _maxTokens = value;
        }
    }

    /// <summary>How tokens are chosen.</summary>
    public SamplingOptions Sampling { get; init; } = new();

    /// <summary>Texts that end the answer, and are no part of it.</summary>
    public IReadOnlyList<string> Stops { get; init; } = [];

    /// <summary>Special tokens that are part of the text, by their names: marks of tool calls, for example. Others are no text.</summary>
    public IReadOnlyList<int> ShownTokens { get; init; } = [];

    /// <summary>Whether tokens that end an answer do so.</summary>
    public bool StopsAtEnd { get; init; } = true;

    /// <summary>What may come next, by a grammar; null for everything. It is begun anew.</summary>
    public TokenConstraint? Constraint { get; init; }
}

/// <summary>Why a text ended.</summary>
public enum TextEnd
{
    /// <summary>It has not.</summary>
    None,

    /// <summary>A token that ends an answer was chosen.</summary>
    EndToken,

    /// <summary>One of the texts was reached that end it.</summary>
    StopText,

    /// <summary>There are as many tokens as were asked for, or as the context holds.</summary>
    Length,
}
