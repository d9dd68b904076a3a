using System.ComponentModel;
using System.Runtime.CompilerServices;

namespace ModelGen.Runtime;

/// <summary>What one run of a plan gets: where its memory is, and the numbers that change from run to run.</summary>
[EditorBrowsable(EditorBrowsableState.Never)]
public unsafe struct PlanContext
{
    /// <summary>The weight block.</summary>
    public float* Weights;

    /// <summary>The gradient block, laid out as the weights; null outside training.</summary>
    public float* Gradients;

    /// <summary>The arena of intermediate buffers.</summary>
    public float* Arena;

    /// <summary>What lives on between runs: the key/value cache, or the carried state of a recurrence.</summary>
    public float* State;

    /// <summary>The counts of the named extents that vary from run to run, in the plan's order.</summary>
    public ExtentCounts Counts;

    /// <summary>The number of tokens (or rows) in this run: the count of the plan's first extent.</summary>
    public int Count
    {
        readonly get => Counts[0];
        set => Counts[0] = value;
    }

    /// <summary>The number of tokens already in the cache.</summary>
    public int Position;

    /// <summary>The dropout seed of this micro-batch.</summary>
    public ulong Seed;

    /// <summary>One over the number of class targets that are not ignored, or of examples with real targets.</summary>
    public float LossNormalizer;

    /// <summary>One over the number of micro-batches in this step.</summary>
    public float GradientScale;

    /// <summary>Whether gradients are added to what the block holds (after the first micro-batch of a step) or overwrite it.</summary>
    public bool Accumulate;
}

/// <summary>How many indices each of a plan's named extents has in one run.</summary>
[EditorBrowsable(EditorBrowsableState.Never)]
[InlineArray(Length)]
public struct ExtentCounts
{
    /// <summary>The most extents that a plan has.</summary>
    public const int Length = 4;

    private int _first;
}
