using System;
using System.Collections.Generic;
using System.Linq;
using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Kernels;

namespace ModelGen.Compiler.Targets.Cuda;

/// <summary>
/// Attention of a single query reads the query's own key and value where they were computed, and of the caches the older rows only. What copies both into the caches then runs beside it, and no block waits for that.
/// </summary>
internal static class NewestKeys
{
    /// <summary>Gives attention the newest rows where they are copied as they are.</summary>
    /// <param name="program">All kernels.</param>
    /// <param name="together">Kernels of one launch.</param>
    /// <param name="emit">The launch of a kernel that has more operands.</param>
    /// <param name="replaced">The kernels that have.</param>
    public static CudaTogether Run(KernelProgram program, CudaTogether together, Func<Kernel, CudaLaunch> emit, IDictionary<Kernel, Kernel> replaced)
    {
        var writers = new Dictionary<PlanBuffer, int>();
        foreach (KernelOperand operand in program.Kernels.SelectMany(kernel => kernel.Leaves).SelectMany(kernel => kernel.Operands).Where(o => o.IsWritten))
        {
            writers[operand.View.Buffer] = (writers.TryGetValue(operand.View.Buffer, out int others) ? others : 0) + 1;
        }

        CudaStep[] steps = [.. together.Steps];
        for (int i = 0; i < steps.Length; i++)
        {
            if (steps[i] is not CudaLaunch { Kernel: AttentionKernel attention, Plan: null } || !IsSingle(attention) || Source(attention, 1, i) is not { } keys || Source(attention, 2, i) is not { } values)
            {
                continue;
            }

            // The table of a learned bias stays the last operand.
            int before = attention.Operands.Count - (attention.Op.HasTable ? 1 : 0);
            Kernel with = attention.WithOperands([.. attention.Operands.Take(before), Operand(AttentionKernel.NewestKeys, keys), Operand(AttentionKernel.NewestValues, values), .. attention.Operands.Skip(before)]);
            replaced.Add(attention, with);
            steps[i] = emit(with);

            KernelOperand Operand(string name, View view) => new(name, view, Access.Matrix(attention.Op.KeyValueHeads * attention.Op.HeadDim), IsWritten: false);
        }

        return together with { Steps = steps };

        // Where the row comes from that alone is written to a cache ahead of attention, and stays until then.
        View? Source(AttentionKernel attention, int operand, int index)
        {
            KernelOperand cache = attention.Operands[operand];
            if (cache.View is not { PositionStride: 0, LastStride: 0, StepStride: 0 } || cache.Access.Format != StorageFormat.Float32 || !writers.TryGetValue(cache.View.Buffer, out int count) || count != 1)
            {
                return null;
            }

            for (int i = index - 1; i >= 0; i--)
            {
                if (steps[i] is not CudaLaunch { Kernel: RowKernel copy } || copy.Operands.All(o => o.View.Buffer != cache.View.Buffer))
                {
                    continue;
                }

                bool isCopy = copy is { Columns: var columns, Phases: { Count: 1 } phases } && copy.Rows == RowExtent.Literal(1) && columns == attention.Op.KeyValueHeads * attention.Op.HeadDim
                    && phases[0] is { Reductions.Count: 0, Stores: { Count: 1 } stores } && stores[0] is { Mode: StoreMode.Replace, Value: OperandExpr } && WritesNewest(copy.Operands[stores[0].Operand], cache);
                if (!isCopy || copy.Operands[((OperandExpr)copy.Phases[0].Stores[0].Value).Operand] is not { View: { PositionStride: 0, LastStride: 0, StepStride: 0, Buffer: { Space: MemorySpace.Arena } buffer } view, Access: { ColumnStride: 1 } access } || access.Format != StorageFormat.Float32)
                {
                    return null;
                }

                bool stays = Enumerable.Range(i + 1, index - i - 1).All(between => steps[between] is CudaLaunch launch && launch.Kernel.Operands.All(o => !o.IsWritten || o.View.Buffer != buffer));
                return stays ? view : null;
            }

            return null;
        }
    }

    /// <summary>Whether an operand is the row of the run's position in a cache that another operand has from its first row on.</summary>
    public static bool WritesNewest(KernelOperand row, KernelOperand cache)
        => row.View.Buffer == cache.View.Buffer && row.View.Offset == cache.View.Offset && row.View.PositionStride == cache.Access.RowStride && row.View is { LastStride: 0, StepStride: 0 } && row.Access.ColumnStride == 1;

    // One query, at the run's position, of one sequence's own cache whose rows are positions.
    private static bool IsSingle(AttentionKernel attention)
        => attention is { Caches: 0, HasNewest: false, Range: { IsCached: true, IsRing: false, HasPositions: false, HasKeyLengths: false, HasQueryLengths: false, HasSequences: false } }
            && attention.Queries == RowExtent.Literal(1) && attention.Batch == RowExtent.Literal(1);
}
