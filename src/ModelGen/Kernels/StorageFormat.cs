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

    /// <summary>16-bit floats of IEEE 754.</summary>
    public static StorageFormat Float16 { get; } = new("F16", ElementType.Float32, 1, 2);

    /// <summary>The upper halves of 32-bit floats.</summary>
    public static StorageFormat BFloat16 { get; } = new("BF16", ElementType.Float32, 1, 2);

    /// <summary>Rows of a group of <see cref="InGroups"/>.</summary>
    public const int GroupRows = 16;

    /// <summary>Columns of a block of numbers with a scale.</summary>
    public const int BlockColumns = 32;

    /// <summary>
    /// Quantized rows, those of 16 beside each other: the scales of all blocks of a group, up to a multiple of 64 bytes, and then their numbers. A group is the smallest part that has
    /// an address.
    /// </summary>
    /// <param name="name">The format.</param>
    /// <param name="columns">Elements of a row.</param>
    /// <param name="numberBytes">The bytes of a block's numbers in a row.</param>
    public static StorageFormat InGroups(string name, int columns, int numberBytes)
    {
        int blocks = columns / BlockColumns;
        return columns % BlockColumns == 0
            ? new(name, ElementType.Float32, GroupRows * columns, checked((((blocks * GroupRows * 2) + 63) / 64 * 64) + (blocks * GroupRows * numberBytes))) { IsInGroups = true, ReadColumns = BlockColumns }
            : throw new GraphException($"rows of {columns} elements are no blocks of {name}");
    }

    /// <summary>
    /// Quantized rows, those of 16 beside each other, whose numbers lie block by block behind its scales, up to a multiple of 64 bytes; several rows meet a group that was unpacked.
    /// </summary>
    /// <param name="name">The format.</param>
    /// <param name="columns">Elements of a row.</param>
    /// <param name="bytes">The bytes of a block in a row.</param>
    public static StorageFormat InInterleavedGroups(string name, int columns, int bytes)
        => columns % BlockColumns == 0
            ? new(name, ElementType.Float32, GroupRows * columns, checked(((columns / BlockColumns * GroupRows * bytes) + 63) / 64 * 64)) { IsInGroups = true, IsUnpacked = true, ReadColumns = BlockColumns }
            : throw new GraphException($"rows of {columns} elements are no blocks of {name}");

    /// <summary>As <see cref="InGroups"/>, of blocks of 256 columns, each with its scales before its numbers.</summary>
    /// <param name="name">The format.</param>
    /// <param name="columns">Elements of a row.</param>
    /// <param name="bytes">The bytes of a block of 16 rows.</param>
    public static StorageFormat InSuperBlocks(string name, int columns, int bytes)
        => columns % SuperColumns == 0
            ? new(name, ElementType.Float32, GroupRows * columns, checked(columns / SuperColumns * bytes)) { IsInGroups = true, IsUnpacked = true, ReadColumns = SuperColumns }
            : throw new GraphException($"rows of {columns} elements are no blocks of {name}");

    /// <summary>Rows of numbers of 8 bits and, behind them, a scale of single precision for each 32 of them. A row is the smallest part that has an address.</summary>
    /// <param name="name">The format.</param>
    /// <param name="columns">Elements of a row.</param>
    public static StorageFormat InRows(string name, int columns)
        => columns % BlockColumns == 0
            ? new(name, ElementType.Float32, columns, columns + (columns / BlockColumns * 4))
            : throw new GraphException($"rows of {columns} elements are no blocks of {name}");

    /// <summary>Columns of a block of <see cref="InSuperBlocks"/>.</summary>
    public const int SuperColumns = 256;

    /// <summary>Whether a group is unpacked where several rows meet it.</summary>
    public bool IsUnpacked { get; private init; }

    /// <summary>Columns that are read together from a row of a group: those of a block.</summary>
    public int ReadColumns { get; private init; } = 1;

    /// <summary>Whether it is one of <see cref="InGroups"/>, of <see cref="InInterleavedGroups"/> or of <see cref="InSuperBlocks"/>.</summary>
    public bool IsInGroups { get; private init; }

    /// <summary>Whether an element is a word of its own, which every kernel reads.</summary>
    public bool IsPlain => BlockElements == 1 && BlockBytes == PlanBuffer.WordBytes;

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
