using System.Collections.Generic;
using System.Linq;
using ModelGen.Compiler.Kernels;

namespace ModelGen.Compiler.Targets.Cuda;

/// <summary>
/// Where blocks that stay must meet: ahead of a kernel that reads what one since the last meeting has written, or writes what one has read or written.
/// Buffers have their places by then, so that two of them in the same memory are one. Kernels that have nothing to do with each other, such as the two
/// products of a layer's backward pass, run into one another.
/// </summary>
internal static class CudaMeetings
{
    /// <summary>Steps with the meetings between them.</summary>
    public static IReadOnlyList<CudaStep> Insert(IReadOnlyList<CudaStep> steps)
    {
        var result = new List<CudaStep>();
        var since = new List<Touch>();
        foreach (CudaStep step in steps)
        {
            Touch[] touches = step is CudaLaunch launch ? [.. TouchesOf(launch)] : [];
            if (since.Count > 0 && (step is CudaLoop || since.Any(earlier => touches.Any(earlier.Bars))))
            {
                result.Add(new CudaMeeting());
                since.Clear();
            }

            // A loop's steps meet each other, and so does its last one with what follows.
            result.Add(step is CudaLoop loop ? loop with { Body = [.. Insert(loop.Body), new CudaMeeting()] } : step);
            since.AddRange(touches);
        }

        return result;
    }

    private static IEnumerable<Touch> TouchesOf(CudaLaunch launch) => launch.Parameters.Where(CudaLaunch.IsOperand).Select(name =>
    {
        KernelOperand operand = launch.OperandOf(name);
        PlanBuffer buffer = operand.View.Buffer;
        return new Touch(buffer.Space, buffer.Offset, buffer.Offset + buffer.Bytes, operand.IsWritten);
    });

    /// <summary>Memory that a kernel reads or writes.</summary>
    private readonly record struct Touch(MemorySpace Space, long Begin, long End, bool Writes)
    {
        /// <summary>Whether another kernel must wait with what it does there.</summary>
        public bool Bars(Touch later) => (Writes || later.Writes) && Space == later.Space && Begin < later.End && later.Begin < End;
    }
}
