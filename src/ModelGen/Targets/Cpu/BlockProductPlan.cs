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

    // Rounding this many elements is quicker than meeting at a barrier.
    private const long RoundedByEach = 8192;

    /// <summary>Decides.</summary>
    /// <param name="kernel">The product.</param>
    public BlockProductPlan(MatMulKernel kernel)
    {
        // As the runtime has it: the numbers, a scale and a sum of each block, whole cache lines.
        InputBytes = (kernel.Depth + (kernel.Depth / StorageFormat.BlockColumns * 8) + 63) / 64 * 64;
        IsInputShared = !kernel.IsSerial() && (long)kernel.Rows.Maximum * kernel.Depth > RoundedByEach && kernel.Rows != RowExtent.Literal(1);
        long elements = (long)kernel.Rows.Maximum * InputBytes / PlanBuffer.WordBytes;
        Workspace = IsInputShared ? new PlanBuffer(kernel.Name + ".blocks", MemorySpace.Arena, StorageFormat.Float32, elements) : null;
        Layout = IsInputShared ? ScratchLayout.Empty : ScratchLayout.Of((Input, elements));
    }

    /// <summary>The bytes of a row of the input in blocks.</summary>
    public int InputBytes { get; }

    /// <summary>Whether the workers round the input's rows together; otherwise each does for itself.</summary>
    public bool IsInputShared { get; }

    /// <inheritdoc/>
    public override PlanBuffer? Workspace { get; }

    /// <inheritdoc/>
    public override string Signature => IsInputShared ? " workspace" : "";

    private ScratchLayout Layout { get; }

    /// <inheritdoc/>
    public override ScratchLayout Scratch(int lanes) => Layout;
}
