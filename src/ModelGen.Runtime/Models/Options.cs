namespace ModelGen;

/// <summary>How a session runs.</summary>
public sealed record SessionOptions
{
    /// <summary>
    /// The most threads, the caller's included, up to 1,024; 0 for one per processor. There are never more than processors, since those
    /// would only wait for each other. The results do not depend on it. Default: 0.
    /// </summary>
    public int Threads { get; init; }

    /// <summary>
    /// The number of sequences that a session holds, each with its own position and states: from 1 to what the model's declaration
    /// gives as <c>MaxBatch</c>. A step of all of them reads the weights once. Default: 1.
    /// </summary>
    public int Batch { get; init; } = 1;

    /// <summary>
    /// Where it runs. On a CUDA device, <see cref="Threads"/> is of no matter. Default: <see cref="Device.Cpu"/>.
    /// </summary>
    public Device Device { get; init; } = Device.Cpu;
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

    /// <summary>How weights that are trained in another format than single precision are rounded from the trainer's master copy of them. Default: <see cref="WeightRounding.Nearest"/>.</summary>
    public WeightRounding Rounding { get; init; }

    /// <summary>
    /// Where it trains. On a CUDA device, <see cref="Threads"/> is of no matter. Default: <see cref="Device.Cpu"/>.
    /// </summary>
    public Device Device { get; init; } = Device.Cpu;

    /// <summary>
    /// Which one of several processes this is that train together, each on a CUDA device of its own; making the trainer waits for the others. Null: it trains alone. Default: null.
    /// </summary>
    public DataParallel? DataParallel { get; init; }
}
