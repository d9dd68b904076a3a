using System.Collections.Generic;
using System.Linq;
using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Kernels;

namespace ModelGen.Compiler.Targets.Cuda;

/// <summary>
/// Where blocks that stay must meet: ahead of a kernel that reads what one since the last meeting has written, or writes what one has read or written.
/// Buffers have their places by then, so that two of them in the same memory are one. Kernels that have nothing to do with each other, such as the two
/// products of a layer's backward pass, run into one another, each beginning with the blocks that the ones before have left without work. Nor does a meeting part kernels of which a thread reads what it wrote itself, and what a block
/// has for itself its own threads wait for.
/// </summary>
internal static class CudaMeetings
{
    /// <summary>Steps with the meetings between them.</summary>
    public static IReadOnlyList<CudaStep> Insert(IReadOnlyList<CudaStep> steps)
    {
        var result = new List<CudaStep>();
        List<Touch> since = [], ofBlock = [];
        int begun = 0;
        foreach (CudaStep step in steps)
        {
            Touch[] touches = step is CudaLaunch touching ? [.. TouchesOf(touching)] : [];
            (Touch Earlier, Touch Later)[] pairs = [.. since.SelectMany(earlier => touches.Where(earlier.Meets).Select(later => (earlier, later)))];
            int[] firsts = [.. pairs.Where(p => p.Earlier.IsOfSameThreads(p.Later)).Select(p => p.Earlier.Launch.First).Distinct()];
            if (since.Count > 0 && (step is CudaLoop || pairs.Any(p => !p.Earlier.IsOfSameThreads(p.Later)) || firsts.Length > 1))
            {
                result.Add(new CudaMeeting());
                since.Clear();
                ofBlock.Clear();
                (begun, firsts) = (0, []);
            }
            else if (ofBlock.Any(earlier => touches.Any(earlier.Meets)))
            {
                result.Add(new CudaBarrier());
                ofBlock.Clear();
            }

            switch (step)
            {
                case CudaLoop loop:
                    // A loop's steps meet each other, and so does its last one with what follows.
                    result.Add(loop with { Body = [.. Insert(loop.Body), new CudaMeeting()] });
                    break;
                case CudaLaunch { IsEverywhere: false } launch:
                    launch = launch with { First = firsts.Length == 1 ? firsts[0] : begun };
                    begun = firsts.Length == 1 ? begun : checked(begun + (launch.Blocks.X * launch.Blocks.Y));
                    touches = [.. touches.Select(touch => touch with { Launch = launch })];
                    result.Add(launch);
                    break;
                default:
                    result.Add(step);
                    break;
            }

            since.AddRange(touches.Where(touch => touch.Space != MemorySpace.Block));
            ofBlock.AddRange(touches.Where(touch => touch.Space == MemorySpace.Block));
        }

        return result;
    }

    private static IEnumerable<Touch> TouchesOf(CudaLaunch launch)
        => launch.Parameters.Where(CudaLaunch.IsOperand).Select(name => new Touch(launch, CudaLaunch.IndexOf(name))).ToArray();

    /// <summary>Memory that a kernel reads or writes through an operand.</summary>
    private sealed record Touch
    {
        private readonly Footprint _footprint;
        private readonly int _operand;
        private readonly long _begin;
        private readonly long _end;

        public Touch(CudaLaunch launch, int operand)
        {
            (Launch, _operand, _footprint) = (launch, operand, Footprint.Of(launch.Kernel, operand));
            View view = Operand.View;
            PlanBuffer buffer = view.Buffer;

            // What moves with the run may be anywhere in its buffer.
            bool stays = view is { PositionStride: 0, LastStride: 0, StepStride: 0 } && buffer.Format == StorageFormat.Float32;
            _begin = buffer.Offset + (stays ? PlanBuffer.WordBytes * view.Offset : 0);
            _end = stays ? buffer.Offset + (PlanBuffer.WordBytes * (_footprint.Last + 1)) : buffer.Offset + buffer.Bytes;
        }

        public CudaLaunch Launch { get; init; }

        public MemorySpace Space => Operand.View.Buffer.Space;

        private KernelOperand Operand => Launch.Kernel.Operands[_operand];

        /// <summary>Whether the other kernel's order with this one matters.</summary>
        public bool Meets(Touch later)
            => (Operand.IsWritten || later.Operand.IsWritten) && Space == later.Space && _begin < later._end && later._begin < _end
                && (Operand.View.Buffer != later.Operand.View.Buffer || !(_footprint.IsApartFrom(later._footprint) || IsNewest(later) || later.IsNewest(this)));

        /// <summary>Whether each thread of the other kernel touches what the same thread of this one does, and no more.</summary>
        public bool IsOfSameThreads(Touch later)
            => Launch is { Kernel: MatMulKernel own, Plan: DotProducts plan } && later.Launch is { Kernel: MatMulKernel other, Plan: DotProducts others }
                && _operand > 1 && later._operand > 1 && own.Rows == RowExtent.Literal(1) && other.Rows == own.Rows && own.Columns == other.Columns
                && plan.ColumnsOfBlock == others.ColumnsOfBlock && plan.Format.IsInGroups == others.Format.IsInGroups
                && _begin == later._begin && Operand.Access is { ColumnStride: > 0 } access && access.ColumnStride == later.Operand.Access.ColumnStride && access.Format == later.Operand.Access.Format
                && Operand.View is { PositionStride: 0, LastStride: 0, StepStride: 0 } && later.Operand.View is { PositionStride: 0, LastStride: 0, StepStride: 0 };

        // Whether the other operand is the row of a cache that attention finds elsewhere: of the cache it reads what is older.
        private bool IsNewest(Touch row)
            => Launch.Kernel is AttentionKernel { HasNewest: true } && _operand is 1 or 2 && row.Launch.Kernel is RowKernel && row.Operand.IsWritten && NewestKeys.WritesNewest(row.Operand, Operand);
    }
}
