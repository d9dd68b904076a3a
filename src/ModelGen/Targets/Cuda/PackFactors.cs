using System;
using System.Collections.Generic;
using System.Linq;
using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Kernels;

namespace ModelGen.Compiler.Targets.Cuda;

/// <summary>What products by groups of four warps find beside their own operands.</summary>
/// <param name="Plan">The product's plan.</param>
/// <param name="Left">The operand that is the left factor, packed.</param>
/// <param name="Right">The operand that is the right factor, packed.</param>
/// <param name="Parts">The operand that parts of the contracted extent are summed in; −1 for none.</param>
internal sealed record WarpgroupProduct(WarpgroupTiles Plan, int Left, int Right, int Parts);

/// <summary>
/// Puts kernels before large products that round their factors and lay them out, once for all products that read them: a layer's input for its product and for the gradient of its
/// weight, say. Devices that have no products of four warps pass them over.
/// Guarantees: the same products of the same numbers.
/// </summary>
internal static class PackFactors
{
    /// <summary>A program with what packs factors, and what is packed.</summary>
    /// <param name="program">The program.</param>
    /// <param name="choose">Which products are to be such.</param>
    /// <param name="products">Those products, and where they find their factors.</param>
    public static KernelProgram Run(KernelProgram program, Func<MatMulKernel, WarpgroupTiles?> choose, out IReadOnlyDictionary<Kernel, WarpgroupProduct> products)
    {
        var found = new Dictionary<Kernel, WarpgroupProduct>();
        var kernels = new List<Kernel>();
        List<PlanBuffer> buffers = [.. program.Buffers];
        var packed = new Dictionary<(View, Access, int, int, (RowExtent, int)?), View>();
        foreach (Kernel kernel in program.Kernels)
        {
            Kernel placed = kernel is MatMulKernel product && choose(product) is { } plan ? Pack(product, plan) : kernel;
            kernels.Add(placed);

            // What is written over is to be packed again.
            var written = new HashSet<PlanBuffer>(Footprint.Of(kernel, written: true).Select(f => f.View.Buffer));
            foreach ((View, Access, int, int, (RowExtent, int)?) stale in packed.Keys.Where(key => written.Contains(key.Item1.Buffer)).ToArray())
            {
                packed.Remove(stale);
            }
        }

        products = found;
        return found.Count == 0 ? program : program with { Kernels = kernels, Buffers = buffers };

        MatMulKernel Pack(MatMulKernel product, WarpgroupTiles plan)
        {
            int own = product.Operands.Count;
            List<KernelOperand> operands = [.. product.Operands];
            for (int i = 0; i < 2; i++)
            {
                KernelOperand source = product.Operands[i];
                (int rows, int columns) = WarpgroupTiles.Extents(product, i);
                (RowExtent Rows, int Fewest)? counted = product.Rows.IsDynamic ? (product.Rows, plan.FewestRows) : null;
                if (!packed.TryGetValue((source.View, source.Access, rows, columns, counted), out View? place))
                {
                    long elements = (long)WarpgroupTiles.Padded(rows) * WarpgroupTiles.Padded(columns);
                    place = new View(Made(source.View.Buffer.Name + ".packed", StorageFormat.BFloat16, elements), 0);
                    packed.Add((source.View, source.Access, rows, columns, counted), place);
                    kernels.Add(new CudaPackKernel(source.View.Buffer.Name + ", packed", [source, Of("packed", place, isWritten: true)], i == 0 && product.Rows.IsDynamic ? product.Rows : RowExtent.Literal(rows), columns) { For = counted });
                }

                operands.Add(Of(i == 0 ? "left" : "right", place, isWritten: false));
            }

            if (plan.Splits > 1)
            {
                operands.Add(new KernelOperand("parts", new View(Made(product.Name + ".parts", StorageFormat.Float32, (long)plan.Splits * product.Rows.Maximum * product.Columns), 0), Access.Matrix(product.Columns), IsWritten: true));
            }

            var placed = new MatMulKernel(product.Name, operands, product.Form, product.Rows, product.Columns, product.Depth, product.Stores, product.Flops, product.Bytes) { Axes = product.Axes, RowByRow = product.RowByRow, Derivation = product.Derivation };
            found.Add(placed, new WarpgroupProduct(plan, own, own + 1, plan.Splits > 1 ? own + 2 : -1));
            return placed;
        }

        PlanBuffer Made(string name, StorageFormat format, long elements)
        {
            var buffer = new PlanBuffer(name, MemorySpace.Arena, format, elements);
            buffers.Add(buffer);
            return buffer;
        }

        static KernelOperand Of(string name, View place, bool isWritten) => new(name, place, Access.Matrix(1, StorageFormat.BFloat16), isWritten);
    }
}
