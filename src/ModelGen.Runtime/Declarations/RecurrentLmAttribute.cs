namespace ModelGen;

/// <summary>
/// Declares a recurrent language model: a token embedding, one or more layers of recurrent cells over time, and a linear head.
/// Gates and parameter names are PyTorch's (<c>rnn.weight_ih_l0</c>, …). It is trained by truncated back-propagation through time:
/// the state is carried from one training step to the next.
/// </summary>
[AttributeUsage(AttributeTargets.Class, AllowMultiple = false, Inherited = false)]
public sealed class RecurrentLmAttribute : Attribute
{
    /// <summary>The cell. Default: <see cref="Cell.Lstm"/>.</summary>
    public Cell Cell { get; set; } = Cell.Lstm;

    /// <summary>The number of recurrent layers, one upon the other. Default: 1.</summary>
    public int Layers { get; set; } = 1;

    /// <summary>The number of units in each recurrent layer. Required, 1 or more.</summary>
    public int Hidden { get; set; }

    /// <summary>The width of the token embedding. Default: <see cref="Hidden"/> (which 0 stands for).</summary>
    public int Embedding { get; set; }

    /// <summary>The number of token ids, 0 to <c>Vocab - 1</c>. Required, 1 or more.</summary>
    public int Vocab { get; set; }

    /// <summary>
    /// Whether the head's weight is the token embedding (Press and Wolf, 2017). Where that is not as wide as a layer, a linear map without bias stands before the head,
    /// <c>projection.weight</c> [<see cref="Embedding"/>, <see cref="Hidden"/>]. Default: false.
    /// </summary>
    public bool TieEmbeddings { get; set; }

    /// <summary>
    /// The probability that an element is dropped while training, at the embedding and at the output of each recurrent layer;
    /// 0 to below 1. Default: 0.
    /// </summary>
    public double Dropout { get; set; }

    /// <summary>
    /// Whether sessions can score texts: <c>Score(tokens, logProbabilities)</c> appends tokens and gives the log-probability of each of them
    /// in one pass. It takes a plan of its own, and an arena for the logits of several hundred positions. Default: false.
    /// </summary>
    public bool Score { get; set; }

    /// <summary>
    /// Whether sessions hand out hidden states: <c>Forward(tokens, logits, hiddenStates)</c> appends tokens and gives, for each of them, the logits and the
    /// output of each layer, a row of <see cref="Hidden"/>. It takes a plan of its own, and nothing of any other. Default: false.
    /// </summary>
    public bool HiddenStates { get; set; }

    /// <summary>
    /// The most sequences that a session may hold (<see cref="SessionOptions.Batch"/>), 1 to 256. With more than one there is a plan that
    /// decodes all of them in one step, which takes not much longer than a step of one. Default: 1.
    /// </summary>
    public int MaxBatch { get; set; } = 1;
}
