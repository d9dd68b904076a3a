namespace ModelGen;

/// <summary>How a session runs.</summary>
public sealed record SessionOptions
{
    /// <summary>
    /// The most threads, the caller's included, up to 1,024; 0 for one per processor. There are never more than processors, since those
    /// would only wait for each other. The results do not depend on it. Default: 0.
    /// </summary>
    public int Threads { get; init; }
}

/// <summary>How a trainer runs.</summary>
public sealed record TrainerOptions
{
    /// <summary>
    /// The most threads, the caller's included, up to 1,024; 0 for one per processor. There are never more than processors, since those
    /// would only wait for each other. The results do not depend on it. Default: 0.
    /// </summary>
    public int Threads { get; init; }

    /// <summary>The number of micro-batches whose gradients are averaged in one step. Default: 1.</summary>
    public int AccumulationSteps { get; init; } = 1;

    /// <summary>The seed of everything random in training, such as dropout. Default: 0.</summary>
    public int Seed { get; init; }
}
