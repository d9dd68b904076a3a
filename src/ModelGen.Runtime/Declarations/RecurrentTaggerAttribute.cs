namespace ModelGen;

/// <summary>
/// Declares a model that labels every token of a sentence (part of speech, named entities): a token embedding, recurrent layers that read the sentence
/// forwards and backwards, and a linear head over each token. Gates and parameter names are PyTorch's: <c>rnn.weight_ih_l0</c>,
/// <c>rnn.weight_ih_l0_reverse</c>, …, <c>head.weight</c>. The bidirectional network: Schuster and Paliwal, 1997.
/// <para>
/// A session's <c>Predict(tokens, logits)</c> takes one sentence of up to <see cref="Context"/> tokens and gives <see cref="Tags"/> logits for each.
/// With <see cref="MaxBatch"/>, <c>PredictBatch(tokens, lengths, logits)</c> takes so many padded sentences. A trainer's <c>Step(tokens, lengths, targets)</c>
/// takes [<c>BatchSize</c>, <c>SequenceLength</c>] tokens, the lengths of the sentences, and the labels, -1 where none counts, as behind a sentence's end.
/// What the padding holds changes nothing.
/// </para>
/// </summary>
[AttributeUsage(AttributeTargets.Class, AllowMultiple = false, Inherited = false)]
public sealed class RecurrentTaggerAttribute : Attribute
{
    /// <summary>The cell. Default: <see cref="Cell.Lstm"/>.</summary>
    public Cell Cell { get; set; } = Cell.Lstm;

    /// <summary>The number of recurrent layers, one upon the other. Default: 1.</summary>
    public int Layers { get; set; } = 1;

    /// <summary>The number of units in each recurrent layer, in each direction. Required, 1 or more.</summary>
    public int Hidden { get; set; }

    /// <summary>The width of the token embedding. Default: <see cref="Hidden"/> (which 0 stands for).</summary>
    public int Embedding { get; set; }

    /// <summary>The number of token ids, 0 to <c>Vocab - 1</c>. Required, 1 or more.</summary>
    public int Vocab { get; set; }

    /// <summary>The number of labels, 0 to <c>Tags - 1</c>. Required, 1 or more.</summary>
    public int Tags { get; set; }

    /// <summary>Whether sentences are read backwards too, so that a label may depend on what follows. Default: true.</summary>
    public bool Bidirectional { get; set; } = true;

    /// <summary>
    /// The probability that an element is dropped while training, at the embedding and at the output of each recurrent layer; 0 to below 1. Default: 0.
    /// </summary>
    public double Dropout { get; set; }

    /// <summary>The most tokens of a sentence that a session takes. Default: 256.</summary>
    public int Context { get; set; } = 256;

    /// <summary>The number of sentences that <c>PredictBatch</c> takes, 1 to 256; with 1 there is none. Default: 1.</summary>
    public int MaxBatch { get; set; } = 1;
}
