using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Kernels;

namespace ModelGen.Compiler.Targets.Cpu;

/// <summary>
/// A product with quantized weights: the input's rows are rounded to 8-bit blocks as well, and groups of 16 rows of the weights, which the workers divide, meet all of them.
/// </summary>
internal sealed class BlockProductPlan : KernelPlan
{
    /// <summary>The part of a worker's memory that holds the input in blocks.</summary>
    public const string Input = "input";

    /// <summary>The part of a worker's memory that holds a group that was unpacked.</summary>
    public const string Group = "group";

    // As the runtime has it: of 32 columns of 16 rows, a byte for each number, and 32 floats.
    private const int UnpackedBytes = 640;

    // Rounding this many elements is quicker than meeting at a barrier.
    private const long RoundedByEach = 8192;

    /// <summary>Decides.</summary>
    /// <param name="kernel">The product.</param>
    public BlockProductPlan(MatMulKernel kernel)
    {
        // As the runtime has it: the numbers, then a scale and two words more of each block, whole cache lines.
        InputBytes = (kernel.Depth + (kernel.Depth / StorageFormat.BlockColumns * 12) + 63) / 64 * 64;
        IsInputShared = !kernel.IsSerial() && (long)kernel.Rows.Maximum * kernel.Depth > RoundedByEach && kernel.Rows != RowExtent.Literal(1);
        long elements = (long)kernel.Rows.Maximum * InputBytes / PlanBuffer.WordBytes;
        Workspace = IsInputShared ? new PlanBuffer(kernel.Name + ".blocks", MemorySpace.Arena, StorageFormat.Float32, elements) : null;
        IsUnpacked = kernel.Operands[1].Access.Format.IsUnpacked && kernel.Rows != RowExtent.Literal(1);
        Layout = ScratchLayout.Of((Input, IsInputShared ? 0 : elements), (Group, IsUnpacked ? kernel.Depth / StorageFormat.BlockColumns * UnpackedBytes / PlanBuffer.WordBytes : 0));
    }

    /// <summary>The bytes of a row of the input in blocks.</summary>
    public int InputBytes { get; }

    /// <summary>Whether the workers round the input's rows together; otherwise each does for itself.</summary>
    public bool IsInputShared { get; }

    /// <summary>Whether each group is unpacked before all rows meet it.</summary>
    public bool IsUnpacked { get; }

    /// <inheritdoc/>
    public override PlanBuffer? Workspace { get; }

    /// <inheritdoc/>
    public override string Signature => IsInputShared ? " workspace" : "";

    private ScratchLayout Layout { get; }

    /// <inheritdoc/>
    public override ScratchLayout Scratch(int lanes) => Layout;
}
