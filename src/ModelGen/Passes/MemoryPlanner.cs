using System;
using System.Collections.Generic;
using System.Linq;
using ModelGen.Compiler.Kernels;
using ModelGen.Compiler.Targets;

namespace ModelGen.Compiler.Passes;

/// <summary>
/// Gives every arena buffer an offset by liveness: buffers whose lifetimes do not overlap share memory, and a result
/// takes its dying operand's place where the kernel allows it. Kernels that may run at the same time are one moment. Buffers are placed largest first, each at the lowest
/// offset that is free for its whole life. Inputs, then outputs, lie at the start, so that all plans of a trainer or a
/// session that have the same ones have them in the same place.
/// Guarantees: two buffers that are alive at the same time overlap only as a kernel's in-place pair; offsets are
/// multiples of a cache line.
/// </summary>
internal static class MemoryPlanner
{
    /// <summary>Bytes in a cache line.</summary>
    private const int Line = 64;

    /// <summary>The bytes that some bytes take, up to the next cache line.</summary>
    public static long Align(long bytes) => (bytes + Line - 1) / Line * Line;

    /// <returns>The arena's size in bytes.</returns>
    public static long Plan(IPlacedProgram target)
    {
        KernelProgram program = target.Program;
        var lives = new Dictionary<PlanBuffer, Life>();
        var inPlace = new List<(PlanBuffer Read, PlanBuffer Written, int At)>();
        var uses = new Dictionary<(PlanBuffer Buffer, int At), int>();
        int position = 0;
        foreach (View view in program.Inputs.Values)
        {
            Touch(view.Buffer, 0);
        }

        foreach (Kernel kernel in program.Kernels)
        {
            Visit(kernel);
        }

        foreach (View view in program.Outputs.Values)
        {
            Touch(view.Buffer, position + 1);
        }

        // Others that run meanwhile might read what is overwritten, or write beside the result.
        bool IsUsedOnce(PlanBuffer buffer, int when) => uses[(buffer, when)] == 1;

        // A buffer that crosses the border of a loop is alive during all of it.
        int at = 1;
        foreach (Kernel kernel in program.Kernels)
        {
            int length = Length(kernel);
            if (kernel is LoopKernel)
            {
                int end = at + length - 1;
                foreach (Life life in lives.Values)
                {
                    bool inside = life.First >= at && life.Last <= end;
                    bool touches = life.First <= end && life.Last >= at;
                    if (touches && !inside)
                    {
                        life.First = Math.Min(life.First, at);
                        life.Last = Math.Max(life.Last, end);
                    }
                }
            }

            at += length;
        }

        // Pairs that share memory become one buffer for the placement.
        var owner = new Dictionary<PlanBuffer, PlanBuffer>();
        PlanBuffer Owner(PlanBuffer buffer)
        {
            while (owner.TryGetValue(buffer, out PlanBuffer? next))
            {
                buffer = next;
            }

            return buffer;
        }

        foreach ((PlanBuffer read, PlanBuffer written, int when) in inPlace)
        {
            if (!lives.ContainsKey(read) || !lives.ContainsKey(written) || !IsUsedOnce(read, when) || !IsUsedOnce(written, when))
            {
                continue;
            }

            PlanBuffer a = Owner(read);
            PlanBuffer b = Owner(written);
            if (a != b && a.Bytes == b.Bytes && lives[a].Last == when && lives[b].First == when && lives[written].First == when && lives[read].Last == when)
            {
                owner.Add(b, a);
                lives[a].Last = lives[b].Last;
            }
        }

        long total = 0;
        var placed = new List<PlanBuffer>();
        foreach (PlanBuffer buffer in program.Inputs.Values.Concat(program.Outputs.Values).Select(v => v.Buffer).Where(b => b.Space == MemorySpace.Arena).Select(Owner).Distinct())
        {
            buffer.Offset = total;
            total += Align(buffer.Bytes);
            lives[buffer].First = 0;
            lives[buffer].Last = int.MaxValue;
            placed.Add(buffer);
        }

        // Those that have a place, lowest first.
        var taken = placed.Select(b => (Buffer: b, lives[b].First, lives[b].Last)).OrderBy(t => t.Buffer.Offset).ToList();
        foreach (PlanBuffer buffer in lives.Keys.Except(owner.Keys).Except(placed).OrderByDescending(b => b.Bytes).ThenBy(b => lives[b].First).ThenBy(b => b.Name, StringComparer.Ordinal))
        {
            Life life = lives[buffer];
            long size = Align(buffer.Bytes);
            long offset = 0;
            int next = 0;
            for (; next < taken.Count; next++)
            {
                (PlanBuffer other, int first, int last) = taken[next];
                if (first <= life.Last && last >= life.First)
                {
                    if (other.Offset >= offset + size)
                    {
                        break;
                    }

                    offset = Math.Max(offset, other.Offset + Align(other.Bytes));
                }
            }

            buffer.Offset = offset;
            while (next > 0 && taken[next - 1].Buffer.Offset > offset)
            {
                next--;
            }

            taken.Insert(next, (buffer, life.First, life.Last));
            total = Math.Max(total, offset + size);
        }

        foreach (PlanBuffer buffer in owner.Keys)
        {
            buffer.Offset = Owner(buffer).Offset;
        }

        return total;

        void Visit(Kernel kernel)
        {
            if (kernel is LoopKernel loop)
            {
                foreach (Kernel inner in loop.Body)
                {
                    Visit(inner);
                }

                return;
            }

            position += target.RunsBesideEarlier(kernel) ? 0 : 1;
            foreach (PlanBuffer buffer in target.BuffersOf(kernel))
            {
                Touch(buffer, position);
                uses[(buffer, position)] = (uses.TryGetValue((buffer, position), out int others) ? others : 0) + 1;
            }

            foreach ((int read, int written) in kernel.InPlaceCandidates)
            {
                View source = kernel.Operands[read].View;
                View result = kernel.Operands[written].View;

                // Read once more, through another operand, the buffer could be needed after it is overwritten.
                bool readOnce = kernel.Operands.Count(o => o.View.Buffer == source.Buffer) == 1 && kernel.Operands.Count(o => o.View.Buffer == result.Buffer) == 1;
                if (readOnce && source with { Buffer = result.Buffer } == result && source.Offset == 0)
                {
                    inPlace.Add((source.Buffer, result.Buffer, position));
                }
            }
        }

        void Touch(PlanBuffer buffer, int when)
        {
            if (buffer.Space != MemorySpace.Arena)
            {
                return;
            }

            if (!lives.TryGetValue(buffer, out Life? life))
            {
                lives.Add(buffer, life = new Life { First = when });
            }

            life.Last = when;
        }

        int Length(Kernel kernel) => kernel is LoopKernel loop ? loop.Body.Sum(Length) : target.RunsBesideEarlier(kernel) ? 0 : 1;
    }

    private sealed class Life
    {
        public int First { get; set; }

        public int Last { get; set; }
    }
}
