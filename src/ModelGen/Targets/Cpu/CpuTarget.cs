using System.Collections.Generic;
using System.Linq;
using ModelGen.Compiler.Kernels;

namespace ModelGen.Compiler.Targets.Cpu;

/// <summary>
/// From kernels to what the processor does: each kernel's plan.
/// Guarantees: nothing depends on how many workers there will be.
/// </summary>
internal static class CpuTarget
{
    /// <summary>Decides how each kernel is executed.</summary>
    public static CpuProgram Plan(PackedProgram packed, CacheSizes caches)
    {
        RoundedProgram rounded = RoundInputs.Run(packed.Program);
        KernelProgram program = rounded.Program;
        IReadOnlyDictionary<MatMulKernel, MatMulKernel> readers = PassedPanels.Find(program);
        IReadOnlyDictionary<MatMulKernel, int[]> few = FewRows.Find(program, packed.Panels, readers, caches);
        readers = readers.Where(p => !AreDots(p.Key) && !AreDots(p.Value)).ToDictionary(p => p.Key, p => p.Value);
        Dictionary<MatMulKernel, MatMulKernel> writers = readers.ToDictionary(p => p.Value, p => p.Key);
        var plans = new Dictionary<Kernel, KernelPlan>();
        foreach (Kernel kernel in program.Kernels)
        {
            Decide(kernel);
        }

        return new CpuProgram(program with { Buffers = [.. program.Buffers, .. plans.Values.Select(p => p.Workspace).OfType<PlanBuffer>()] }, plans);

        bool AreDots(MatMulKernel kernel) => ProductPlan.AreDotProducts(kernel) || ProductPlan.AreAllFew(kernel, Of(few, kernel));

        static TValue? Of<TKey, TValue>(IReadOnlyDictionary<TKey, TValue> values, TKey key)
            where TValue : class => values.TryGetValue(key, out TValue? value) ? value : null;

        void Decide(Kernel kernel)
        {
            plans.Add(kernel, kernel switch
            {
                MatMulKernel k when RoundInputs.IsQuantized(k) => new BlockProductPlan(k, Of(rounded.Blocks, k)),
                ExpertProductKernel { IsTransposed: false } k when ExpertRowsPlan.Widens(k) => new ExpertRowsPlan(k),
                ExpertProductKernel k when RoundInputs.IsQuantized(k) => new ExpertBlockPlan(k, Of(rounded.Blocks, k)),
                MatMulKernel k => new ProductPlan(k, Of(packed.Panels, k), caches, Of(readers, k), Of(writers, k), Of(few, k)),
                AttentionKernel k => new AttentionPlan(k),
                AttentionWeightsKernel k => new AttentionPlan(k),
                AttentionGradientKernel k => new AttentionPlan(k, caches),
                RecurrenceKernel k => new RecurrencePlan(k),
                _ => PlainPlan.Instance,
            });
            if (kernel is LoopKernel loop)
            {
                foreach (Kernel inner in loop.Body)
                {
                    Decide(inner);
                }
            }
        }
    }
}
