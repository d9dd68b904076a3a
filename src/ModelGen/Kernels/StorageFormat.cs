using ModelGen.Compiler.Graph;

namespace ModelGen.Compiler.Kernels;

/// <summary>How elements lie in memory: in blocks of some elements that take some bytes. A plain number is a block by itself.</summary>
/// <param name="Name">The name, as files of tensors spell it.</param>
/// <param name="Element">What an element is where a kernel computes with it.</param>
/// <param name="BlockElements">The elements of a block.</param>
/// <param name="BlockBytes">The bytes of a block.</param>
internal sealed record StorageFormat(string Name, ElementType Element, int BlockElements, int BlockBytes)
{
    public static StorageFormat Float32 { get; } = new("F32", ElementType.Float32, 1, 4);

    public static StorageFormat Int32 { get; } = new("I32", ElementType.Int32, 1, 4);

    /// <summary>The format of what a kernel computes with, unpacked.</summary>
    public static StorageFormat Of(ElementType element) => element == ElementType.Int32 ? Int32 : Float32;

    /// <summary>The bytes that some elements take; a block that is begun counts whole.</summary>
    public long Bytes(long elements) => checked((elements + BlockElements - 1) / BlockElements * BlockBytes);

    /// <summary>The bytes from the first element to another, which begins a block.</summary>
    /// <exception cref="GraphException">It does not.</exception>
    public long Distance(long elements)
        => elements % BlockElements == 0 ? Bytes(elements) : throw new GraphException($"element {elements} lies within a block of {Name}");

    public override string ToString() => Name;
}
