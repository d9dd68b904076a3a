using System.Collections.Generic;
using System.Linq;
using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Kernels;
using ModelGen.Compiler.Ops;
using ModelGen.Compiler.Passes;

namespace ModelGen.Compiler.Targets.Cpu;

/// <summary>
/// From kernels to what the processor does: which rows are taken in chunks, what is packed ahead of a loop, and each kernel's plan.
/// Guarantees: nothing depends on how many workers there will be.
/// </summary>
internal static class CpuTarget
{
    /// <summary>Decides everything that is to be decided for a program.</summary>
    public static CpuProgram Plan(KernelProgram program, CacheSizes caches)
    {
        var buffers = program.Buffers.ToList();
        var kernels = new List<Kernel>();
        var plans = new Dictionary<Kernel, KernelPlan>();
        List<Kernel> chunked = ChunkRows.Run(program.Kernels, caches, [.. program.Inputs.Values.Concat(program.Outputs.Values).Select(v => v.Buffer)], buffers);
        if (!chunked.SequenceEqual(program.Kernels))
        {
            KernelVerifier.Verify(chunked, program.Inputs.Values.Select(v => v.Buffer), program.Counts, nameof(ChunkRows));
        }

        foreach (Kernel kernel in chunked)
        {
            Dictionary<Kernel, View> packed = kernel is LoopKernel { BlockRows: 0, Steps.Maximum: > 1 } loop ? PackInvariants(loop, kernels, buffers) : [];
            kernels.Add(kernel);
            Decide(kernel, packed);
        }

        foreach (PackKernel pack in kernels.OfType<PackKernel>())
        {
            plans.Add(pack, PlainPlan.Instance);
        }

        buffers.AddRange(plans.Values.Select(p => p.Workspace).OfType<PlanBuffer>());
        return new CpuProgram(program with { Kernels = kernels, Buffers = buffers }, plans);

        void Decide(Kernel kernel, Dictionary<Kernel, View> packed)
        {
            plans.Add(kernel, kernel switch
            {
                MatMulKernel k => new ProductPlan(k, packed.TryGetValue(k, out View? panels) ? panels : null, caches),
                AttentionKernel k => new AttentionPlan(k),
                AttentionWeightsKernel k => new AttentionPlan(k),
                AttentionGradientKernel k => new AttentionPlan(k, caches),
                _ => PlainPlan.Instance,
            });
            if (kernel is LoopKernel loop)
            {
                foreach (Kernel inner in loop.Body)
                {
                    Decide(inner, packed);
                }
            }
        }
    }

    /// <summary>Packs the right operands of a loop's products that are the same at every step once, before the loop.</summary>
    private static Dictionary<Kernel, View> PackInvariants(LoopKernel loop, List<Kernel> kernels, List<PlanBuffer> buffers)
    {
        var panels = new Dictionary<Kernel, View>();
        var packed = new Dictionary<(View, Access, MatMulForm), View>();
        var written = new HashSet<PlanBuffer>(loop.Body.SelectMany(k => k.Operands).Where(o => o.IsWritten).Select(o => o.View.Buffer));
        foreach (MatMulKernel product in loop.Body.OfType<MatMulKernel>().Where(k => !ProductPlan.AreDotProducts(k)))
        {
            KernelOperand source = product.Operands[1];
            if (source.View.StepStride != 0 || written.Contains(source.View.Buffer))
            {
                continue;
            }

            if (!packed.TryGetValue((source.View, source.Access, product.Form), out View? place))
            {
                var buffer = new PlanBuffer(source.View.Buffer.Name + ".panels", MemorySpace.Arena, MatMulBlocking.PackedElements(product.Columns, product.Depth));
                buffers.Add(buffer);
                packed.Add((source.View, source.Access, product.Form), place = new View(buffer, 0));
                var target = new KernelOperand("panels", place, Access.Matrix(1), IsWritten: true);
                kernels.Add(new PackKernel(source.View.Buffer.Name + ", in panels", [source, target], product.Form, product.Columns, product.Depth, 8L * product.Columns * product.Depth));
            }

            panels.Add(product, place);
        }

        return panels;
    }
}
