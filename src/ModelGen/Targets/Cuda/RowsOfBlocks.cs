using System;
using System.Collections.Generic;
using System.Linq;
using ModelGen.Compiler.Kernels;

namespace ModelGen.Compiler.Targets.Cuda;

/// <summary>
/// Small rows that every block of those that stay computes for itself, into shared memory, in the place of one block that computes them for all and a meeting behind it: norms between the products of a decoded
/// token, its embedding. Each block runs the kernel that would be launched, so that all have the same bits, and kernels that read the row read the block's own.
/// </summary>
internal static class RowsOfBlocks
{
    /// <summary>
    /// A kernel of more blocks of threads is not computed by each for itself: these would come one after the other, each in about the third of the time that a meeting takes with the one block that it is for.
    /// </summary>
    public const int MostBlocks = 3;

    /// <summary>Nor is one that reads more: of some hundred blocks, all at once, the second-level cache has that many bytes in about the time of a meeting.</summary>
    public const long MostRead = 32 << 10;

    private const int Alignment = 16;

    /// <summary>Puts rows into each block's own memory where that pays.</summary>
    /// <param name="program">The kernels, all of which are known.</param>
    /// <param name="together">Kernels of one launch.</param>
    /// <param name="emit">The launch of a kernel whose operands lie elsewhere.</param>
    /// <param name="replaced">The kernels whose operands do.</param>
    public static CudaTogether Run(KernelProgram program, CudaTogether together, Func<Kernel, CudaLaunch> emit, IDictionary<Kernel, Kernel> replaced)
    {
        CudaLaunch?[] launches = [.. together.Steps.Select(step => step as CudaLaunch)];
        var at = new Dictionary<Kernel, int>();
        for (int i = 0; i < launches.Length; i++)
        {
            if (launches[i] is { } launch)
            {
                // Of a kernel of several launches none is touched.
                at[launch.Kernel] = at.ContainsKey(launch.Kernel) ? -1 : i;
            }
        }

        var uses = new Dictionary<PlanBuffer, List<(Kernel Kernel, int Operand)>>();
        foreach (Kernel kernel in program.Kernels.SelectMany(k => k.Leaves))
        {
            for (int operand = 0; operand < kernel.Operands.Count; operand++)
            {
                PlanBuffer buffer = kernel.Operands[operand].View.Buffer;
                if (!uses.TryGetValue(buffer, out List<(Kernel, int)>? all))
                {
                    uses.Add(buffer, all = []);
                }

                all.Add((kernel, operand));
            }
        }

        var outside = new HashSet<PlanBuffer>(program.Inputs.Values.Concat(program.Outputs.Values).Select(view => view.Buffer));

        // What functions need of a block's memory for themselves lies ahead of the rows.
        int first = Aligned(CudaProgram.LaunchesOf(together.Steps).Max(launch => launch.ScratchBytes)), end = first;
        var placed = new Dictionary<PlanBuffer, (PlanBuffer Buffer, int First, int Last)>();
        var everywhere = new HashSet<int>();
        for (int i = 0; i < launches.Length; i++)
        {
            if (launches[i] is { } launch && at[launch.Kernel] == i && IsSmall(launch) && Place(launch, i))
            {
                everywhere.Add(i);
            }
        }

        if (everywhere.Count == 0)
        {
            return together;
        }

        CudaStep[] steps = [.. together.Steps.Select((step, i) => step is CudaLaunch launch && launch.Kernel.Operands.Any(o => placed.ContainsKey(o.View.Buffer)) ? Moved(launch) with { IsEverywhere = everywhere.Contains(i) } : step)];
        return together with { Steps = steps, SharedBytes = end };

        CudaLaunch Moved(CudaLaunch launch)
        {
            Kernel kernel = launch.Kernel.WithOperands([.. launch.Kernel.Operands.Select(o => placed.TryGetValue(o.View.Buffer, out (PlanBuffer Buffer, int, int) own) ? o with { View = o.View with { Buffer = own.Buffer } } : o)]);
            replaced.Add(launch.Kernel, kernel);
            return emit(kernel);
        }

        // Whether all that a kernel writes may lie in each block's memory, and where.
        bool Place(CudaLaunch launch, int index)
        {
            var found = new List<(PlanBuffer Buffer, PlanBuffer Own, int Last)>();
            foreach (KernelOperand operand in launch.Kernel.Operands.Where(o => o.IsWritten))
            {
                PlanBuffer buffer = operand.View.Buffer;
                bool suits = buffer.Space == MemorySpace.Arena && buffer.Format == StorageFormat.Float32 && buffer.Bytes <= CudaGrouping.MostShared - first && !outside.Contains(buffer) && found.All(f => f.Buffer != buffer)
                    && uses[buffer].All(use => use.Kernel == launch.Kernel ? use.Kernel.Operands[use.Operand].IsWritten : Reads(use.Kernel, use.Operand))
                    && uses[buffer].All(use => use.Kernel.Operands[use.Operand].View is { PositionStride: 0, LastStride: 0, StepStride: 0 });
                if (!suits)
                {
                    return false;
                }

                int last = uses[buffer].Max(use => at[use.Kernel]);
                int offset = Offset(buffer, index, last, found);
                if (last == index || offset + buffer.Bytes > CudaGrouping.MostShared)
                {
                    return false;
                }

                found.Add((buffer, new PlanBuffer(buffer.Name, MemorySpace.Block, buffer.Format, buffer.Elements) { Columns = buffer.Columns, Offset = offset }, last));
            }

            foreach ((PlanBuffer buffer, PlanBuffer own, int last) in found)
            {
                placed.Add(buffer, (own, index, last));
                end = Math.Max(end, checked((int)(own.Offset + own.Bytes)));
            }

            return found.Count > 0;

            // Whether a kernel that follows reads a buffer, and finds it in a block's memory.
            bool Reads(Kernel kernel, int operand) => at.TryGetValue(kernel, out int when) && when > index && !kernel.Operands[operand].IsWritten && kernel switch
            {
                RowKernel or ColumnSumKernel => true,
                MatMulKernel => operand != 1 && launches[when]!.Plan is DotProducts,
                ExpertProductKernel => operand == 0,
                AttentionKernel => launches[when]!.Plan is null && operand == 0,
                _ => false,
            };
        }

        // The lowest place that is free from a step to another.
        int Offset(PlanBuffer buffer, int from, int to, List<(PlanBuffer Buffer, PlanBuffer Own, int Last)> beside)
        {
            int offset = first;
            foreach ((PlanBuffer other, _, _) in placed.Values.Where(p => p.First <= to && p.Last >= from).Concat(beside.Select(b => (b.Own, from, b.Last))).OrderBy(p => p.Item1.Offset))
            {
                if (offset + buffer.Bytes <= other.Offset)
                {
                    break;
                }

                offset = Math.Max(offset, Aligned(checked((int)(other.Offset + other.Bytes))));
            }

            return offset;
        }
    }

    /// <summary>Whether each block may as well compute it: it stores what it computes, has few blocks and reads little.</summary>
    private static bool IsSmall(CudaLaunch launch)
    {
        bool stores = launch.Kernel switch
        {
            RowKernel rows => !rows.Rows.IsDynamic && rows.Phases.All(phase => phase.Stores.All(store => store.Mode == StoreMode.Replace)),
            EmbeddingKernel rows => !rows.Rows.IsDynamic,
            _ => false,
        };
        return stores && (long)launch.Blocks.X * launch.Blocks.Y <= MostBlocks && Enumerable.Range(0, launch.Kernel.Operands.Count).Where(o => !launch.Kernel.Operands[o].IsWritten && !(launch.Kernel is EmbeddingKernel && o == 0)).Sum(o => PlanBuffer.WordBytes * Footprint.Of(launch.Kernel, o).Elements) <= MostRead;
    }

    private static int Aligned(int bytes) => (bytes + Alignment - 1) / Alignment * Alignment;
}
