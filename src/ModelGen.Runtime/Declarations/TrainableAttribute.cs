namespace ModelGen;

/// <summary>Asks for training code beside the inference code of a declared model. Without it no training code is emitted.</summary>
[AttributeUsage(AttributeTargets.Class, AllowMultiple = false, Inherited = false)]
public sealed class TrainableAttribute : Attribute
{
    /// <summary>The number of sequences (or examples) in each micro-batch. Required, 1 or more.</summary>
    public int BatchSize { get; set; }

    /// <summary>
    /// The number of tokens in each sequence of a micro-batch. Required by models over sequences, at most the model's context;
    /// not given for others.
    /// </summary>
    public int SequenceLength { get; set; }

    /// <summary>
    /// The number of tokens in each source of a micro-batch of an encoder–decoder, padding included; at most the model's context. Default: as
    /// <see cref="SequenceLength"/>, which is that of the targets. Not given for others.
    /// </summary>
    public int SourceLength { get; set; }

    /// <summary>
    /// Parameters that training leaves as they are: the beginnings of their names in weight files, such as <c>transformer.wte</c>. They
    /// have no gradient and no optimizer state, and no memory for either. Default: none.
    /// </summary>
    public string[] Frozen { get; set; } = [];
}
