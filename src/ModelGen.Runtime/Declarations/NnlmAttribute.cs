namespace ModelGen;

/// <summary>
/// Declares the neural probabilistic language model of Bengio et al.: the embeddings of the last words stand beside each other as one vector x, and the
/// logits of the next word are y = b + Wx + U tanh(d + Hx). <c>Predict(window, logits)</c> takes any number of windows of <see cref="Window"/> tokens,
/// the oldest first; <c>Step(window, targets)</c> a batch of them with the token that follows each, -1 where none counts.
/// Parameters are called as in the paper: C, H, d, U, b, W. Weight decay applies to the matrices and not to the biases, as there.
/// </summary>
/// <remarks>Bengio, Ducharme, Vincent and Jauvin, "A Neural Probabilistic Language Model", Journal of Machine Learning Research 3 (2003), equation 1.</remarks>
[AttributeUsage(AttributeTargets.Class, AllowMultiple = false, Inherited = false)]
public sealed class NnlmAttribute : Attribute
{
    /// <summary>The number of words that the next one is predicted from (the paper's n − 1). Required, 1 or more.</summary>
    public int Window { get; set; }

    /// <summary>The width of a word's embedding (the paper's m). Required, 1 or more.</summary>
    public int Embedding { get; set; }

    /// <summary>The number of hidden units (the paper's h). Required, 1 or more.</summary>
    public int Hidden { get; set; }

    /// <summary>The number of token ids, 0 to <c>Vocab - 1</c>. Required, 1 or more.</summary>
    public int Vocab { get; set; }

    /// <summary>Whether the embeddings reach the logits directly too, by W. Default: true; the paper's models were trained with and without.</summary>
    public bool DirectConnections { get; set; } = true;
}
