namespace ModelGen.Compiler.Kernels;

/// <summary>Which block of memory a buffer lies in.</summary>
internal enum MemorySpace
{
    Weights,
    Gradients,
    State,
    Arena,
}

/// <summary>A contiguous piece of memory. Offsets and sizes count 4-byte elements.</summary>
internal sealed class PlanBuffer(string name, MemorySpace space, long size)
{
    public string Name { get; } = name;

    public MemorySpace Space { get; } = space;

    public long Size { get; } = size;

    /// <summary>Where the buffer starts in its space: known at once for parameters and states, after planning in the arena.</summary>
    public long Offset { get; set; } = -1;

    public override string ToString() => Name;
}
