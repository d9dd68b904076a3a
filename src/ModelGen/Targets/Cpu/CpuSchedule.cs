using System.Collections.Generic;
using System.Linq;
using ModelGen.Compiler.Kernels;

namespace ModelGen.Compiler.Targets.Cpu;

/// <summary>One thing that the workers of a team do.</summary>
internal abstract record ScheduleStep
{
    /// <summary>The kernels that it runs, loops' among them, each once.</summary>
    public abstract int KernelCount { get; }
}

/// <summary>A kernel: all workers run it, each its share, or one alone where it stands in a <see cref="FirstWorkerStep"/>.</summary>
/// <param name="Kernel">The kernel.</param>
/// <param name="Loop">The loop whose step its views move with, if there is one.</param>
internal sealed record KernelStep(Kernel Kernel, LoopKernel? Loop) : ScheduleStep
{
    public override int KernelCount => 1;

    /// <summary>Whether all blocks of rows but the first add to what the ones before have summed up.</summary>
    public bool AddsToEarlierBlocks => Loop is { BlockRows: > 0 } && Kernel.SumsOverRows;
}

/// <summary>Steps for each step of a loop.</summary>
internal sealed record LoopStep(LoopKernel Loop, IReadOnlyList<ScheduleStep> Body) : ScheduleStep
{
    public override int KernelCount => Body.Sum(s => s.KernelCount);
}

/// <summary>Kernels too small to be worth a meeting: the first worker runs them alone, one after the other.</summary>
internal sealed record FirstWorkerStep(IReadOnlyList<ScheduleStep> Body) : ScheduleStep
{
    public override int KernelCount => Body.Sum(s => s.KernelCount);
}

/// <summary>The workers meet: what each wrote before is visible to all.</summary>
internal sealed record BarrierStep : ScheduleStep
{
    public override int KernelCount => 0;
}

/// <summary>
/// How a team of workers runs a plan's kernels: who runs what, where they meet, and how the whole is cut into methods.
/// Guarantees: between two kernels of which one may read or write what the other writes, there is a barrier, or the first
/// worker runs both.
/// </summary>
/// <param name="Parts">The steps of each method: the compiler gives up optimizing very long ones.</param>
internal sealed record CpuSchedule(IReadOnlyList<IReadOnlyList<ScheduleStep>> Parts)
{
    /// <summary>Kernels of one method: far below the size at which the JIT gives up optimizing.</summary>
    public const int PartLength = 60;

    private static readonly BarrierStep Meeting = new();

    public static CpuSchedule Of(IReadOnlyList<Kernel> kernels)
    {
        var parts = new List<IReadOnlyList<ScheduleStep>>();
        var part = new List<ScheduleStep>();
        foreach (ScheduleStep step in Steps(kernels, null))
        {
            // A part ends after a barrier or a loop, which has met at its own end.
            if (part.Sum(s => s.KernelCount) >= PartLength && step is not BarrierStep)
            {
                parts.Add(part);
                part = [];
            }

            part.Add(step);
        }

        parts.Add(part);
        return new CpuSchedule(parts);
    }

    private static List<ScheduleStep> Steps(IReadOnlyList<Kernel> kernels, LoopKernel? loop)
    {
        var steps = new List<ScheduleStep>();
        for (int i = 0; i < kernels.Count;)
        {
            int end = i;
            while (end < kernels.Count && kernels[end].IsSerial())
            {
                end++;
            }

            if (end > i)
            {
                steps.Add(new FirstWorkerStep([.. kernels.Skip(i).Take(end - i).Select(k => Alone(k, loop))]));
                steps.Add(Meeting);
                i = end;
                continue;
            }

            if (kernels[i] is LoopKernel inner)
            {
                steps.Add(new LoopStep(inner, Steps(inner.Body, inner)));
            }
            else
            {
                steps.Add(new KernelStep(kernels[i], loop));
                steps.Add(Meeting);
            }

            i++;
        }

        return steps;
    }

    private static ScheduleStep Alone(Kernel kernel, LoopKernel? loop)
        => kernel is LoopKernel inner ? new LoopStep(inner, [.. inner.Body.Select(k => Alone(k, inner))]) : new KernelStep(kernel, loop);
}
