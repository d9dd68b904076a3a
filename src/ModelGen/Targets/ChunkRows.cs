using System;
using System.Collections.Generic;
using System.Linq;
using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Kernels;
using ModelGen.Compiler.Ops;
using ModelGen.Compiler.Passes;
using ModelGen.Compiler.Targets.Cpu;

namespace ModelGen.Compiler.Targets;

/// <summary>Which matrices a target does not keep whole, and the blocks of rows that it has of them instead.</summary>
/// <param name="LargestBytes">The bytes of the largest matrix that is kept whole, and of a block, unless that has the fewest rows.</param>
/// <param name="FewestRows">Fewer rows than this would read the weights too often for what is computed with them.</param>
internal sealed record RowBlocks(long LargestBytes, int FewestRows)
{
    /// <summary>What the rows of a block are a multiple of, all but the last one's.</summary>
    public int Multiple { get; init; } = 1;

    /// <summary>Whether blocks are the steps of a loop, which have as many rows each; otherwise each has kernels of its own, which follow each other, and the last one may have fewer rows.</summary>
    public bool AreSteps { get; init; }

    /// <summary>A device's: half a gigabyte is a fraction of its memory and of what else training keeps there, and of some thousand rows the sums over rows are read and written again seldom enough. Blocks are whole tiles of products.</summary>
    public static RowBlocks OfDevice { get; } = new(512L << 20, 1024) { Multiple = 128 };

    /// <summary>A processor's: what is far larger than its caches comes from memory each time.</summary>
    public static RowBlocks OfProcessor(CacheSizes caches) => new(2L * caches.L3, 128) { AreSteps = true };

    /// <summary>The rows of a block; null where all rows are one.</summary>
    /// <param name="rows">All rows.</param>
    /// <param name="rowBytes">The bytes of one.</param>
    public int? Of(int rows, long rowBytes)
    {
        long most = Math.Max(FewestRows, LargestBytes / rowBytes);
        if (AreSteps)
        {
            int step = Enumerable.Range(1, rows / 2).Where(b => rows % b == 0 && b <= most).Max();
            return 2 * step < FewestRows ? null : step;
        }

        most = Math.Max(Multiple, most / Multiple * Multiple);
        if (most >= rows)
        {
            return null;
        }

        // Blocks that are alike share their kernels' code, which is worth a few more of them.
        int alike = Enumerable.Range(1, (int)(most / Multiple)).Select(b => b * Multiple).Where(b => rows % b == 0).DefaultIfEmpty().Max();
        int even = (int)((rows + most - 1) / most);
        return 4L * alike >= 3 * most ? alike : (((rows + even - 1) / even) + Multiple - 1) / Multiple * Multiple;
    }
}

/// <summary>
/// Computes a matrix that is too large to keep (the logits of a batch over a large vocabulary, and their gradient) some rows at
/// a time: all kernels that touch it run for one block of rows after the other, so that only one block of it ever exists.
/// Guarantees: the same sums, in the same order within a block; what is summed over rows is added block by block.
/// </summary>
internal static class ChunkRows
{
    /// <summary>Rewrites a program.</summary>
    /// <param name="program">The kernels, of which it is decided what is added to gradients.</param>
    /// <param name="sizes">What is too large, and the blocks that there are instead.</param>
    public static KernelProgram Run(KernelProgram program, RowBlocks sizes)
    {
        // What the outside reads or writes stays whole.
        var pinned = new HashSet<PlanBuffer>(program.Inputs.Values.Concat(program.Outputs.Values).Select(v => v.Buffer));
        List<PlanBuffer> buffers = [.. program.Buffers];
        long largest = sizes.LargestBytes;
        List<Kernel> result = [.. program.Kernels];
        bool changed = false;
        var seen = new HashSet<PlanBuffer>();
        while (result.SelectMany(k => k.Operands).Select(o => o.View.Buffer).FirstOrDefault(b => IsLarge(b, largest) && !pinned.Contains(b) && seen.Add(b)) is { } large)
        {
            if (Group(result, large, largest, pinned) is { } group && Chunk(result, group, sizes, buffers) is { } chunked)
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

    private static List<Kernel>? Chunk(List<Kernel> kernels, (HashSet<PlanBuffer> Matrices, HashSet<Kernel> Kernels) group, RowBlocks sizes, List<PlanBuffer> buffers)
    {
        PlanBuffer matrix = group.Matrices.First();
        int[] extents = group.Kernels.Select(RowsOf).Distinct().ToArray();
        if (extents.Length != 1 || extents[0] < 2 || matrix.Elements % extents[0] != 0)
        {
            return null;
        }

        int rows = extents[0];
        if (sizes.Of(rows, matrix.Format.Bytes(matrix.Elements / rows)) is not { } block || group.Kernels.Any(k => !CanChunk(k) || k.Operands.Where((o, i) => group.Matrices.Contains(o.View.Buffer) && !(MovesWithRows(k, o, i) && HasRows(o, rows))).Any()))
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

        buffers.RemoveAll(group.Matrices.Contains);
        Kernel[] members = kernels.Skip(from).Take(to - from + 1).Where(group.Kernels.Contains).ToArray();
        Kernel[] result = sizes.AreSteps ? [Loop()] : [.. Enumerable.Range(0, (rows + block - 1) / block).SelectMany(i => Block(i * block, Math.Min(block, rows - (i * block)), isStep: false))];
        return [.. kernels.Take(from), .. before, .. result, .. after, .. kernels.Skip(to + 1)];

        LoopKernel Loop()
        {
            Kernel[] body = Block(0, block, isStep: true);
            return new LoopKernel(body[0].Name, RowExtent.Literal(rows / block), reverse: false, body) { BlockRows = block };
        }

        Kernel[] Block(int first, int count, bool isStep)
        {
            var own = group.Matrices.ToDictionary(m => m, m => new PlanBuffer(m.Name, m.Space, m.Format, m.Elements / rows * count) { Columns = m.Columns });
            buffers.AddRange(own.Values);
            return [.. members.Select(k => Narrow(k, new RowBlock(first, count, isStep, own)))];
        }
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

    /// <summary>Whether an operand's rows are those of its buffer, or a part of their columns.</summary>
    private static bool HasRows(KernelOperand operand, int rows)
        => operand.Access.RowStrides.Count == 1 && operand.View.Buffer.Elements / rows is var columns && operand.Access.RowStrides[0] == RowExtent.Literal(checked((int)columns)) && operand.View.Offset < columns
            && operand.View is { PositionStride: 0, LastStride: 0, StepStride: 0 };

    /// <summary>Whether an operand's rows are those that blocks are of: not those of a sum over them, nor those of a right factor.</summary>
    private static bool MovesWithRows(Kernel kernel, KernelOperand operand, int index)
        => operand.Access.RowStrides.Count == 1 && (!kernel.SumsOverRows || !operand.IsWritten) && !(kernel is MatMulKernel { Form: not MatMulForm.TN } && index == 1);

    private static Kernel Narrow(Kernel kernel, RowBlock block)
    {
        KernelOperand[] operands = kernel.Operands.Select((o, i) => o with { View = Move(kernel, o, i, block) }).ToArray();
        int rows = block.Rows;
        long Scale(long total) => total / RowsOf(kernel) * rows;

        // What the first block has begun, the others add to; in a loop that is the loop's matter. Each block's stores are a list of their own, as they tell kernels of one name apart.
        Store[] Stores(IEnumerable<Store> stores) => [.. stores.Select(s => kernel.SumsOverRows && block.First > 0 ? s with { Mode = StoreMode.Add } : s)];
        switch (kernel)
        {
            case RowKernel k:
                return new RowKernel(k.Name, operands, [RowExtent.Literal(rows)], k.Columns, k.Phases, Scale(k.Flops), Scale(k.Bytes)) { Derivation = k.Derivation };
            case ColumnSumKernel k:
                return new ColumnSumKernel(k.Name, operands, [], [RowExtent.Literal(rows)], k.RowNumber, k.Columns, Stores(k.Sums), Scale(k.Flops), Scale(k.Bytes)) { Derivation = k.Derivation };
            default:
                var product = (MatMulKernel)kernel;
                bool contracts = product.Form == MatMulForm.TN;
                return new MatMulKernel(product.Name, operands, product.Form, contracts ? product.Rows : RowExtent.Literal(rows), product.Columns, contracts ? rows : product.Depth, Stores(product.Stores), Scale(product.Flops), Scale(product.Bytes))
                {
                    RowByRow = product.RowByRow,
                    Derivation = product.Derivation,
                };
        }
    }

    private static View Move(Kernel kernel, KernelOperand operand, int index, RowBlock block)
    {
        View view = operand.View;
        if (block.Matrices.TryGetValue(view.Buffer, out PlanBuffer? small))
        {
            return view with { Buffer = small };
        }

        return !MovesWithRows(kernel, operand, index) ? view
            : block.IsStep ? view with { StepStride = (long)block.Rows * operand.Access.RowStride }
            : view with { Offset = view.Offset + ((long)block.First * operand.Access.RowStride) };
    }

    /// <summary>Some rows.</summary>
    /// <param name="First">The first one; of a loop's steps that of the first step.</param>
    /// <param name="Rows">How many there are.</param>
    /// <param name="IsStep">Whether they are a loop's, and move with its steps.</param>
    /// <param name="Matrices">Of each matrix that is not kept whole, what there is of it.</param>
    private sealed record RowBlock(int First, int Rows, bool IsStep, IReadOnlyDictionary<PlanBuffer, PlanBuffer> Matrices);
}
