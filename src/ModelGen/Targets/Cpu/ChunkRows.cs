using System;
using System.Collections.Generic;
using System.Linq;
using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Kernels;
using ModelGen.Compiler.Ops;
using ModelGen.Compiler.Passes;

namespace ModelGen.Compiler.Targets.Cpu;

/// <summary>
/// Computes a matrix that is too large to keep (the logits of a batch over a large vocabulary, and their gradient) some rows at
/// a time: all kernels that touch it run in a loop over blocks of rows, so that only one block of it ever exists.
/// Guarantees: the same sums, in the same order within a block; what is summed over rows is added block by block.
/// </summary>
internal static class ChunkRows
{
    /// <summary>Fewer rows than this would read the weights too often for what is computed with them.</summary>
    private const int FewestRows = 128;

    public static KernelProgram Run(KernelProgram program, CacheSizes caches)
    {
        // What the outside reads or writes stays whole.
        var pinned = new HashSet<PlanBuffer>(program.Inputs.Values.Concat(program.Outputs.Values).Select(v => v.Buffer));
        List<PlanBuffer> buffers = [.. program.Buffers];
        // What is far larger than the caches is not kept whole.
        long largest = 2L * caches.L3;
        List<Kernel> result = [.. program.Kernels];
        bool changed = false;
        var seen = new HashSet<PlanBuffer>();
        while (result.SelectMany(k => k.Operands).Select(o => o.View.Buffer).FirstOrDefault(b => IsLarge(b, largest) && !pinned.Contains(b) && seen.Add(b)) is { } large)
        {
            if (Group(result, large, largest, pinned) is { } group && Chunk(result, group, largest, buffers) is { } chunked)
            {
                (result, changed) = (chunked, true);
            }
        }

        return changed ? program with { Kernels = result, Buffers = buffers } : program;
    }

    private static bool IsLarge(PlanBuffer buffer, long largest) => buffer.Space == MemorySpace.Arena && buffer.Bytes > largest;

    /// <summary>The kernels that touch a matrix, and every other matrix of its shape that they hand to each other.</summary>
    private static (HashSet<PlanBuffer> Matrices, HashSet<Kernel> Kernels)? Group(List<Kernel> kernels, PlanBuffer first, long largest, ICollection<PlanBuffer> pinned)
    {
        var matrices = new HashSet<PlanBuffer> { first };
        var members = new HashSet<Kernel>();
        bool grows = true;
        while (grows)
        {
            grows = false;
            foreach (Kernel kernel in kernels.Where(k => !members.Contains(k) && (k is LoopKernel loop ? loop.Body.SelectMany(b => b.Operands) : k.Operands).Any(o => matrices.Contains(o.View.Buffer))))
            {
                if (kernel is not (MatMulKernel or RowKernel or ColumnSumKernel))
                {
                    return null;
                }

                grows = true;
                members.Add(kernel);
                foreach (KernelOperand operand in kernel.Operands.Where(o => IsLarge(o.View.Buffer, largest) && o.View.Buffer.Elements == first.Elements && !pinned.Contains(o.View.Buffer)))
                {
                    matrices.Add(operand.View.Buffer);
                }
            }
        }

        return (matrices, members);
    }

    private static List<Kernel>? Chunk(List<Kernel> kernels, (HashSet<PlanBuffer> Matrices, HashSet<Kernel> Kernels) group, long largest, List<PlanBuffer> buffers)
    {
        PlanBuffer matrix = group.Matrices.First();
        int[] extents = group.Kernels.Select(RowsOf).Distinct().ToArray();
        if (extents.Length != 1 || extents[0] < 2 || matrix.Elements % extents[0] != 0)
        {
            return null;
        }

        int rows = extents[0];
        long most = Math.Max(FewestRows, largest / matrix.Format.Bytes(matrix.Elements / rows));
        int block = Enumerable.Range(1, rows / 2).Where(b => rows % b == 0 && b <= most).Max();
        if (2 * block < FewestRows || group.Kernels.Any(k => !CanChunk(k)))
        {
            return null;
        }

        // What stands between the group's kernels goes before the loop, or after it if it needs the loop's results.
        int from = kernels.FindIndex(group.Kernels.Contains);
        int to = kernels.FindLastIndex(group.Kernels.Contains);
        var before = new List<Kernel>();
        var after = new List<Kernel>();
        var written = new HashSet<PlanBuffer>();
        var readLater = new HashSet<PlanBuffer>();
        for (int i = from; i <= to; i++)
        {
            Kernel kernel = kernels[i];
            PlanBuffer[] reads = Lowering.Buffers(kernel, written: false).ToArray();
            PlanBuffer[] writes = Lowering.Buffers(kernel, written: true).ToArray();
            if (group.Kernels.Contains(kernel))
            {
                if (reads.Concat(writes).Any(readLater.Contains))
                {
                    return null;
                }

                written.UnionWith(writes);
                written.UnionWith(reads.Where(r => r.Space != MemorySpace.Weights));
            }
            else if (reads.Concat(writes).Any(b => written.Contains(b) || readLater.Contains(b)))
            {
                after.Add(kernel);
                readLater.UnionWith(writes);
            }
            else
            {
                before.Add(kernel);
            }
        }

        var blocks = group.Matrices.ToDictionary(m => m, m => new PlanBuffer(m.Name, m.Space, m.Format, m.Elements / rows * block) { Columns = m.Columns });
        buffers.AddRange(blocks.Values);
        Kernel[] body = kernels.Skip(from).Take(to - from + 1).Where(group.Kernels.Contains).Select(k => Narrow(k, block, blocks)).ToArray();
        var loop = new LoopKernel(body[0].Name, RowExtent.Literal(rows / block), reverse: false, body) { BlockRows = block };
        return [.. kernels.Take(from), .. before, loop, .. after, .. kernels.Skip(to + 1)];
    }

    private static int RowsOf(Kernel kernel) => kernel switch
    {
        RowKernel { Rows.IsDynamic: false, Axes.Count: 1 } k => k.Rows.Maximum,
        ColumnSumKernel { SummedRows.IsDynamic: false, Kept.Count: 0, Summed.Count: 1 } k => k.SummedRows.Maximum,
        MatMulKernel { Form: MatMulForm.TN } k => k.Depth,
        MatMulKernel { Rows.IsDynamic: false, Axes.Count: 1 } k => k.Rows.Maximum,
        _ => 0,
    };

    /// <summary>Sums over rows must be able to grow block by block, and nothing may depend on a row's number.</summary>
    private static bool CanChunk(Kernel kernel)
    {
        IEnumerable<Store> stores = kernel switch
        {
            RowKernel k => k.Phases.SelectMany(p => p.Stores),
            ColumnSumKernel k => k.Sums,
            _ => ((MatMulKernel)kernel).Stores,
        };
        IEnumerable<Expr> roots = stores.Select(s => s.Value).Concat(kernel is RowKernel r ? r.Phases.SelectMany(p => p.Reductions).Select(x => x.Value) : []);
        bool usesRow = false;
        foreach (Expr root in roots)
        {
            ExprTransforms.Visit(root, e => usesRow |= e is UniformExpr);
        }

        return !usesRow
            && (!kernel.SumsOverRows || stores.All(s => s.Mode != StoreMode.Replace && (s.Value is AccumulatorExpr || kernel is ColumnSumKernel)));
    }

    private static Kernel Narrow(Kernel kernel, int block, Dictionary<PlanBuffer, PlanBuffer> blocks)
    {
        KernelOperand[] operands = kernel.Operands.Select((o, i) => o with { View = Move(kernel, o, i, block, blocks) }).ToArray();
        long Scale(long total) => total / RowsOf(kernel) * block;
        switch (kernel)
        {
            case RowKernel k:
                return new RowKernel(k.Name, operands, [RowExtent.Literal(block)], k.Columns, k.Phases, Scale(k.Flops), Scale(k.Bytes)) { Derivation = k.Derivation };
            case ColumnSumKernel k:
                return new ColumnSumKernel(k.Name, operands, [], [RowExtent.Literal(block)], k.RowNumber, k.Columns, k.Sums, Scale(k.Flops), Scale(k.Bytes)) { Derivation = k.Derivation };
            default:
                var product = (MatMulKernel)kernel;
                bool contracts = product.Form == MatMulForm.TN;
                return new MatMulKernel(product.Name, operands, product.Form, contracts ? product.Rows : RowExtent.Literal(block), product.Columns, contracts ? block : product.Depth, product.Stores, Scale(product.Flops), Scale(product.Bytes)) { Derivation = product.Derivation };
        }
    }

    private static View Move(Kernel kernel, KernelOperand operand, int index, int block, Dictionary<PlanBuffer, PlanBuffer> blocks)
    {
        View view = operand.View;
        if (blocks.TryGetValue(view.Buffer, out PlanBuffer? small))
        {
            return view with { Buffer = small };
        }

        bool hasRows = operand.Access.RowStrides.Count == 1
            && (!kernel.SumsOverRows || !operand.IsWritten)
            && !(kernel is MatMulKernel { Form: not MatMulForm.TN } && index == 1);
        return hasRows ? view with { StepStride = (long)block * operand.Access.RowStride } : view;
    }
}
