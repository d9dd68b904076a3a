namespace ModelGen;

/// <summary>How an n-gram model gives probability to what it has not seen.</summary>
public enum NGramSmoothing
{
    /// <summary>
    /// Interpolated Kneser–Ney with three discounts for each order, for n-grams seen once, twice and more often (Chen, Goodman, "An empirical study of smoothing techniques for language modeling", 1999, "modified Kneser–Ney").
    /// Where a text has too few n-grams of one, two, three or four occurrences to estimate them, that order has one discount.
    /// </summary>
    ModifiedKneserNey,

    /// <summary>Interpolated Kneser–Ney with one discount for each order (Kneser, Ney, "Improved backing-off for m-gram language modeling", 1995; Chen, Goodman 1999, equation 22).</summary>
    KneserNey,

    /// <summary>
    /// Katz's back-off (Katz, "Estimation of probabilities from sparse data", 1987) with absolute discounting (Ney, Essen, Kneser, 1994): what was seen after a context has its discounted share, what is left goes to the rest in proportion
    /// to the model of one order less.
    /// </summary>
    Katz,
}

/// <summary>What an n-gram model is made with.</summary>
public sealed record NGramOptions
{
    /// <summary>The length n of the longest n-grams: a token depends on the n - 1 before it. From 1 to <see cref="NGramModel.MaximumOrder"/>. Default: 3.</summary>
    public int Order { get; init; } = 3;

    /// <summary>The number of token ids.</summary>
    public required int VocabularySize { get; init; }

    /// <summary>How unseen n-grams get their probability. Default: <see cref="NGramSmoothing.ModifiedKneserNey"/>.</summary>
    public NGramSmoothing Smoothing { get; init; }
}
