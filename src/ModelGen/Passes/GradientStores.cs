using System.Collections.Generic;
using System.Linq;
using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Kernels;

namespace ModelGen.Compiler.Passes;

/// <summary>
/// Decides how each store meets what a gradient holds already: the first one of a run takes its place (or is added, when the
/// run accumulates), every later one of a parameter that is used more than once is added. A first one that leaves rows
/// out gets zeros before it where others follow that meet its rows; those that share no row with another take its place each.
/// Guarantees: after a run that does not accumulate, a gradient is the sum of its contributions, whatever it held before, but
/// for rows that none of them covers, which are left alone.
/// </summary>
internal static class GradientStores
{
    public static KernelProgram Run(KernelProgram program)
    {
        ILookup<PlanBuffer, (long First, long End)> stores = program.Kernels
            .SelectMany(k => Written(k).Select(o => (o.View.Buffer, Rows: (o.View.Offset, o.View.Offset + Covered(k)))))
            .ToLookup(s => s.Buffer, s => s.Rows);
        if (stores.Count == 0)
        {
            return program;
        }

        // Where no store meets another, each is the first one of its rows.
        var meeting = new HashSet<PlanBuffer>(stores.Where(s => Meet([.. s.OrderBy(r => r.First)])).Select(s => s.Key));
        var begun = new HashSet<PlanBuffer>();
        var result = new List<Kernel>();
        foreach (Kernel kernel in program.Kernels)
        {
            foreach (PlanBuffer buffer in Written(kernel).Where(o => meeting.Contains(o.View.Buffer) && Covered(kernel) < o.View.Buffer.Elements).Select(o => o.View.Buffer))
            {
                if (begun.Add(buffer))
                {
                    result.Add(Zeros(buffer));
                }
            }

            result.Add(WithModes(kernel, meeting, begun));
        }

        return program with { Kernels = result };
    }

    private static bool Meet(IReadOnlyList<(long First, long End)> stores) => Enumerable.Range(1, stores.Count - 1).Any(i => stores[i].First < stores[i - 1].End);

    private static IEnumerable<KernelOperand> Written(Kernel kernel) => kernel.Operands.Where(o => o.IsWritten && o.View.Buffer.Space == MemorySpace.Gradients);

    /// <summary>The elements that each of a kernel's stores covers.</summary>
    private static long Covered(Kernel kernel) => kernel switch
    {
        RowKernel k => (long)k.Rows.Maximum * k.Columns,
        MatMulKernel k => (long)k.Rows.Maximum * k.Columns,
        ColumnSumKernel k => (long)k.KeptRows.Maximum * k.Columns,
        EmbeddingGradientKernel k => (long)k.TableRows * k.Columns,
        ExpertGradientKernel k => (long)k.Matrices * k.MatrixRows * k.MatrixColumns,
        _ => throw new GraphException($"{kernel.Name}: a {kernel.GetType().Name} does not write gradients"),
    };

    private static Kernel Zeros(PlanBuffer buffer)
    {
        int columns = checked((int)buffer.Elements);
        var operand = new KernelOperand("gradient", new View(buffer, 0), Access.Matrix(columns, buffer.Format), true);
        return new RowKernel(buffer.Name + ".zeros", [operand], [RowExtent.Literal(1)], columns, [new RowPhase([], [new Store(0, 0.0, StoreMode.AddWhenAccumulating)])], 0, buffer.Bytes)
        {
            Derivation = Derivations.OfCopy(buffer.Name, null, 0),
        };
    }

    private static Kernel WithModes(Kernel kernel, HashSet<PlanBuffer> meeting, HashSet<PlanBuffer> begun)
    {
        if (!Written(kernel).Any())
        {
            return kernel;
        }

        StoreMode Mode(int operand, StoreMode mode)
            => kernel.Operands[operand].View.Buffer is { Space: MemorySpace.Gradients } buffer && meeting.Contains(buffer) && !begun.Add(buffer) ? StoreMode.Add : mode;
        Store[] Modes(IEnumerable<Store> stores) => stores.Select(s => s with { Mode = Mode(s.Operand, s.Mode) }).ToArray();
        return kernel switch
        {
            RowKernel k => new RowKernel(k.Name, k.Operands, k.Axes, k.Columns, k.Phases.Select(p => p with { Stores = Modes(p.Stores) }).ToArray(), k.Flops, k.Bytes) { Derivation = k.Derivation },
            MatMulKernel k => k.With(Modes(k.Stores)),
            ColumnSumKernel k => k.With(Modes(k.Sums)),
            EmbeddingGradientKernel k => new EmbeddingGradientKernel(k.Name, k.Operands, k.Rows, k.Columns, k.TableRows, Mode(2, k.Mode), k.Bytes) { Derivation = k.Derivation },
            ExpertGradientKernel k => new ExpertGradientKernel(k.Name, k.Operands, k.Rows, k.Matrices, k.MatrixRows, k.MatrixColumns, Mode(3, k.Mode), k.Flops, k.Bytes) { Derivation = k.Derivation },
            _ => throw new GraphException($"{kernel.Name}: a {kernel.GetType().Name} does not write gradients"),
        };
    }
}
