using ModelGen.Compiler.Graph;

namespace ModelGen.Compiler.Kernels;

/// <summary>Which block of memory a buffer lies in.</summary>
internal enum MemorySpace
{
    Weights,
    Gradients,
    State,
    Arena,

    /// <summary>What each block of a device's threads has for itself: shared memory.</summary>
    Block,
}

/// <summary>A contiguous piece of memory: some elements, stored in one format.</summary>
internal sealed class PlanBuffer(string name, MemorySpace space, StorageFormat format, long elements)
{
    /// <summary>What emitted code counts in: its pointers to blocks of memory are pointers to floats.</summary>
    public const int WordBytes = 4;

    public string Name { get; } = name;

    public MemorySpace Space { get; } = space;

    public StorageFormat Format { get; } = format;

    public long Elements { get; } = elements;

    /// <summary>Elements of one of its rows, where it is a matrix: what readers count its parts in. Nothing is decided by it.</summary>
    public int Columns { get; init; }

    public long Bytes => Format.Bytes(Elements);

    /// <summary>Where the buffer starts in its space, in bytes: known at once for parameters and states, after planning in the arena.</summary>
    public long Offset { get; set; } = -1;

    /// <summary>Where an element lies in the buffer's space, in words.</summary>
    /// <exception cref="GraphException">It does not begin a word.</exception>
    public long WordOf(long element)
    {
        long bytes = Offset + Format.Distance(element);
        return bytes % WordBytes == 0 ? bytes / WordBytes : throw new GraphException($"element {element} of {Name} lies {bytes} bytes into its space, which is no whole number of words");
    }

    public override string ToString() => Name;
}
