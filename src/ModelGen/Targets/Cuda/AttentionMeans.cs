using System.Collections.Generic;
using System.Linq;
using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Kernels;

namespace ModelGen.Compiler.Targets.Cuda;

/// <summary>
/// Gives the gradient of attention on tensor cores memory for a number of each row, the mean of its cotangents: what goes through the keys for queries leaves it there, and what goes
/// through the queries for keys and values, once for each 64 keys, reads it instead of two rows.
/// </summary>
internal static class AttentionMeans
{
    /// <summary>Rewrites a program.</summary>
    /// <param name="program">The kernels.</param>
    /// <param name="plans">What the device does for attention.</param>
    /// <param name="placed">The plan of each gradient that has such memory.</param>
    public static KernelProgram Run(KernelProgram program, System.Func<Kernel, TensorAttention?> plans, out IReadOnlyDictionary<Kernel, TensorAttention> placed)
    {
        var found = new Dictionary<Kernel, TensorAttention>();
        List<PlanBuffer> buffers = [.. program.Buffers];
        Kernel[] kernels = [.. program.Kernels.Select(Placed)];
        placed = found;
        return found.Count == 0 ? program : program with { Kernels = kernels, Buffers = buffers };

        Kernel Placed(Kernel kernel)
        {
            if (kernel is LoopKernel loop)
            {
                Kernel[] body = [.. loop.Body.Select(Placed)];
                return body.SequenceEqual(loop.Body) ? loop : new LoopKernel(loop.Name, loop.Steps, loop.Reverse, body) { BlockRows = loop.BlockRows, Derivation = loop.Derivation };
            }

            if (kernel is not AttentionGradientKernel gradient || plans(gradient) is not { } plan)
            {
                return kernel;
            }

            var buffer = new PlanBuffer($"{gradient.Name}.{TensorAttention.Means}", MemorySpace.Arena, StorageFormat.Float32, (long)gradient.Batch * gradient.Queries * gradient.Op.Heads);
            buffers.Add(buffer);
            Kernel with = gradient.WithOperands([.. gradient.Operands, new KernelOperand(TensorAttention.Means, new View(buffer, 0), Access.Matrix(gradient.Op.Heads), IsWritten: true)]);
            found.Add(with, plan);
            return with;
        }
    }
}
