using System.Collections.Generic;
using System.Linq;
using System.Runtime.CompilerServices;
using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Kernels;

namespace ModelGen.Compiler.Targets.Cpu;

/// <summary>The rule that a plan of memory keeps.</summary>
internal static class MemoryPlanVerifier
{
    /// <summary>
    /// Checks a memory plan: between a buffer's first write and its last read, nothing else writes where it lies, but the kernel that reads it
    /// for the last time, in the buffer's place.
    /// </summary>
    /// <exception cref="GraphException">Two buffers that are alive overlap, or one lies outside the arena.</exception>
    public static void Verify(CpuProgram cpu, long arenaElements)
    {
        KernelProgram program = cpu.Program;
        var alive = new HashSet<PlanBuffer>(program.Inputs.Values.Select(v => v.Buffer));
        var begun = new HashSet<PlanBuffer>(alive);

        // What is read no more need not be looked at.
        var lastReads = new Dictionary<PlanBuffer, int>();
        for (int i = 0; i < program.Kernels.Count; i++)
        {
            foreach (PlanBuffer buffer in Arena(program.Kernels[i], written: false))
            {
                lastReads[buffer] = i;
            }
        }

        foreach (View output in program.Outputs.Values)
        {
            lastReads[output.Buffer] = int.MaxValue;
        }

        int position = -1;
        var lost = new Dictionary<PlanBuffer, string>();
        foreach (Kernel kernel in program.Kernels)
        {
            position++;
            alive.RemoveWhere(b => !lastReads.TryGetValue(b, out int last) || last < position);
            if (kernel is not LoopKernel loop)
            {
                Visit(kernel);
                continue;
            }

            // Twice: what the second step needs must outlive the first. What a step makes for itself begins anew.
            foreach (Kernel inner in loop.Body)
            {
                Visit(inner);
            }

            foreach (PlanBuffer buffer in OwnOfSteps(loop))
            {
                begun.Remove(buffer);
            }

            foreach (Kernel inner in loop.Body)
            {
                Visit(inner);
            }
        }

        foreach (KeyValuePair<string, View> output in program.Outputs)
        {
            Require(!lost.TryGetValue(output.Value.Buffer, out string? by), $"the output {output.Key} is overwritten by '{by}'");
        }

        void Visit(Kernel kernel)
        {
            PlanBuffer[] reads = Arena(kernel, written: false);
            PlanBuffer[] writes = Arena(kernel, written: true);
            foreach (PlanBuffer buffer in reads)
            {
                Require(!lost.TryGetValue(buffer, out string? by), $"'{kernel.Name}' reads {buffer}, which '{by}' has overwritten");
            }

            foreach (PlanBuffer buffer in writes)
            {
                Require(buffer.Offset >= 0 && buffer.Offset + buffer.Size <= arenaElements, $"{buffer} lies outside the arena");
                if (begun.Add(buffer))
                {
                    alive.Add(buffer);
                    lost.Remove(buffer);
                }

                foreach (PlanBuffer other in alive)
                {
                    if (other != buffer && other.Offset < buffer.Offset + buffer.Size && buffer.Offset < other.Offset + other.Size)
                    {
                        Require(!writes.Contains(other), $"'{kernel.Name}' writes {buffer} and {other}, which overlap");
                        Require(!reads.Contains(other) || kernel.InPlaceCandidates.Any(p => kernel.Operands[p.Read].View.Buffer == other && kernel.Operands[p.Written].View.Buffer == buffer && other.Offset == buffer.Offset), $"'{kernel.Name}' writes {buffer} over {other}, which it reads");
                        lost[other] = kernel.Name;
                    }
                }
            }

            alive.ExceptWith(lost.Keys);
        }

        IEnumerable<PlanBuffer> OwnOfSteps(LoopKernel loop)
        {
            var outside = new HashSet<PlanBuffer>(program.Kernels.Where(k => k != loop).SelectMany(k => Arena(k, false).Concat(Arena(k, true))).Concat(program.Outputs.Values.Concat(program.Inputs.Values).Select(v => v.Buffer)));
            var read = new HashSet<PlanBuffer>();
            var own = new HashSet<PlanBuffer>();
            foreach (Kernel inner in loop.Body)
            {
                read.UnionWith(Arena(inner, written: false));
                own.UnionWith(Arena(inner, written: true).Where(b => !read.Contains(b) && !outside.Contains(b)));
            }

            return own;
        }

        // A loop's are those of its kernels; workers write the memory that they share.
        PlanBuffer[] Arena(Kernel kernel, bool written)
            => kernel is LoopKernel loop ? loop.Body.SelectMany(k => Arena(k, written)).Distinct().ToArray()
                : cpu.OperandsOf(kernel).Where(o => o.IsWritten == written).Select(o => o.View.Buffer)
                    .Concat(written && cpu.PlanOf(kernel).Workspace is { } workspace ? [workspace] : []).Where(b => b.Space == MemorySpace.Arena).Distinct().ToArray();

        static void Require(bool condition, [InterpolatedStringHandlerArgument(nameof(condition))] ProblemText problem)
        {
            if (!condition)
            {
                throw new GraphException($"after the memory plan: {problem}");
            }
        }
    }
}
