using System.Collections.Generic;
using System.Linq;
using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Kernels;
using ModelGen.Compiler.Ops;

namespace ModelGen.Compiler.Targets.Cpu;

/// <summary>A program with what is rounded ahead of its products.</summary>
/// <param name="Program">The kernels, those that round among them.</param>
/// <param name="Blocks">For each product that finds its input rounded, where.</param>
internal sealed record RoundedProgram(KernelProgram Program, IReadOnlyDictionary<Kernel, View> Blocks);

/// <summary>
/// Rounds what products with quantized weights read once for all of them, where that costs no meeting of the workers or several products read the same: a single row that one product
/// reads is otherwise rounded by each worker for itself.
/// Guarantees: the same products of the same numbers.
/// </summary>
internal static class RoundInputs
{
    // Rounding this many elements is quicker than meeting at a barrier.
    private const long RoundedByEach = 8192;

    public static RoundedProgram Run(KernelProgram program)
    {
        var blocks = new Dictionary<Kernel, View>();
        List<PlanBuffer> buffers = [.. program.Buffers];
        List<Kernel> kernels = [];
        for (int i = 0; i < program.Kernels.Count; i++)
        {
            if (Product.Of(program.Kernels[i]) is { } product && !blocks.ContainsKey(product.Kernel))
            {
                Kernel[] readers = [.. Readers(program.Kernels, i, product)];
                bool isCheap = product.Rows == RowExtent.Literal(1) || (long)product.Rows.Maximum * product.Depth <= RoundedByEach;
                if (!isCheap || readers.Length > 1 || (i > 0 && program.Kernels[i - 1].IsSerial()))
                {
                    View place = Round(product, kernels, buffers);
                    foreach (Kernel reader in readers)
                    {
                        blocks.Add(reader, place);
                    }
                }
            }

            kernels.Add(program.Kernels[i]);
        }

        return new RoundedProgram(blocks.Count == 0 ? program : program with { Kernels = kernels, Buffers = buffers }, blocks);
    }

    /// <summary>Whether a product's weights are quantized, and meet an input that is: that of an input gradient unpacks them instead.</summary>
    public static bool IsQuantized(Kernel kernel) => kernel is MatMulKernel { Form: MatMulForm.NT } or ExpertProductKernel { IsTransposed: false } && kernel.Operands[1].Access.Format.IsInGroups;

    // The products that read what one does, and find it rounded, until something else is written there.
    private static IEnumerable<Kernel> Readers(IReadOnlyList<Kernel> kernels, int first, Product product)
    {
        KernelOperand input = product.Input;
        for (int i = first; i < kernels.Count && kernels[i] is not LoopKernel; i++)
        {
            if (Product.Of(kernels[i]) is { } other && other.Input.View == input.View && other.Input.Access.Equals(input.Access) && other.Rows == product.Rows && other.Depth == product.Depth)
            {
                yield return other.Kernel;
            }

            if (kernels[i].Operands.Any(o => o.IsWritten && o.View.Buffer == input.View.Buffer))
            {
                yield break;
            }
        }
    }

    private static View Round(Product product, List<Kernel> kernels, List<PlanBuffer> buffers)
    {
        KernelOperand input = product.Input;
        int words = BlockProductPlan.BytesOfRow(product.Depth) / PlanBuffer.WordBytes;
        long elements = (long)product.Rows.Maximum * product.Depth;
        var buffer = new PlanBuffer(input.View.Buffer.Name + ".blocks", MemorySpace.Arena, StorageFormat.Float32, (long)product.Rows.Maximum * words);
        buffers.Add(buffer);
        var place = new View(buffer, 0);
        kernels.Add(new RoundKernel(input.View.Buffer.Name + ", in blocks", [input with { Name = "source" }, new KernelOperand("blocks", place, Access.Matrix(words), IsWritten: true)],
            product.Rows, product.Depth, elements, 5 * elements));
        return place;
    }

    /// <summary>What rounding has to know of a product with quantized weights.</summary>
    private sealed record Product(Kernel Kernel, RowExtent Rows, int Depth)
    {
        public KernelOperand Input => Kernel.Operands[0];

        /// <summary>A product; null for what is none, or one of other weights.</summary>
        public static Product? Of(Kernel kernel) => !IsQuantized(kernel) ? null : kernel switch
        {
            MatMulKernel product => new Product(product, product.Rows, product.Depth),
            ExpertProductKernel product => new Product(product, product.Rows, product.Depth),
            _ => null,
        };
    }
}
