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
        Lifetimes lifetimes = Lifetimes.Of(target);
        Dictionary<PlanBuffer, PlanBuffer> owners = ShareInPlace(lifetimes);
        var fixedBuffers = program.Inputs.Values.Concat(program.Outputs.Values).Select(v => v.Buffer).Where(b => b.Space == MemorySpace.Arena).Select(b => OwnerOf(b, owners)).Distinct().ToList();
        long total = PlaceFirst(fixedBuffers, lifetimes);
        total = Math.Max(total, PlaceFree(fixedBuffers, lifetimes.Buffers.Except(owners.Keys).Except(fixedBuffers), lifetimes));
        foreach (PlanBuffer buffer in owners.Keys)
        {
            buffer.Offset = OwnerOf(buffer, owners).Offset;
        }

        return total;
    }

    // Pairs that share memory become one buffer for the placement: a result lies where the operand does that dies with it.
    private static Dictionary<PlanBuffer, PlanBuffer> ShareInPlace(Lifetimes lifetimes)
    {
        var owners = new Dictionary<PlanBuffer, PlanBuffer>();
        foreach ((PlanBuffer read, PlanBuffer written, int when) in lifetimes.InPlace)
        {
            // Others that run meanwhile might read what is overwritten, or write beside the result.
            if (!lifetimes.Has(read) || !lifetimes.Has(written) || !lifetimes.IsUsedOnce(read, when) || !lifetimes.IsUsedOnce(written, when))
            {
                continue;
            }

            PlanBuffer a = OwnerOf(read, owners);
            PlanBuffer b = OwnerOf(written, owners);
            if (a != b && a.Bytes == b.Bytes && lifetimes[a].Last == when && lifetimes[b].First == when && lifetimes[written].First == when && lifetimes[read].Last == when)
            {
                owners.Add(b, a);
                lifetimes[a].Last = lifetimes[b].Last;
            }
        }

        return owners;
    }

    private static PlanBuffer OwnerOf(PlanBuffer buffer, Dictionary<PlanBuffer, PlanBuffer> owners)
    {
        while (owners.TryGetValue(buffer, out PlanBuffer? next))
        {
            buffer = next;
        }

        return buffer;
    }

    // What callers write and read is alive always, and lies one behind the other.
    private static long PlaceFirst(IEnumerable<PlanBuffer> buffers, Lifetimes lifetimes)
    {
        long total = 0;
        foreach (PlanBuffer buffer in buffers)
        {
            buffer.Offset = total;
            total += Align(buffer.Bytes);
            lifetimes[buffer].First = 0;
            lifetimes[buffer].Last = int.MaxValue;
        }

        return total;
    }

    // Largest first, each at the lowest offset that is free for its whole life.
    private static long PlaceFree(IEnumerable<PlanBuffer> placed, IEnumerable<PlanBuffer> buffers, Lifetimes lifetimes)
    {
        long total = 0;

        // Those that have a place, lowest first.
        var taken = placed.Select(b => (Buffer: b, lifetimes[b].First, lifetimes[b].Last)).OrderBy(t => t.Buffer.Offset).ToList();
        foreach (PlanBuffer buffer in buffers.OrderByDescending(b => b.Bytes).ThenBy(b => lifetimes[b].First).ThenBy(b => b.Name, StringComparer.Ordinal))
        {
            Life life = lifetimes[buffer];
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

        return total;
    }

    // From the first moment at which a buffer is used to the last.
    private sealed class Life
    {
        public int First { get; set; }

        public int Last { get; set; }
    }

    /// <summary>When each of the arena's buffers is alive, in moments of a program's schedule.</summary>
    private sealed class Lifetimes
    {
        private readonly IPlacedProgram _target;
        private readonly Dictionary<PlanBuffer, Life> _lives = [];
        private readonly Dictionary<(PlanBuffer Buffer, int At), int> _uses = [];
        private int _position;

        private Lifetimes(IPlacedProgram target) => _target = target;

        public IEnumerable<PlanBuffer> Buffers => _lives.Keys;

        /// <summary>Operands and results that a kernel lets share memory, and when it runs.</summary>
        public List<(PlanBuffer Read, PlanBuffer Written, int At)> InPlace { get; } = [];

        public Life this[PlanBuffer buffer] => _lives[buffer];

        public bool Has(PlanBuffer buffer) => _lives.ContainsKey(buffer);

        public bool IsUsedOnce(PlanBuffer buffer, int when) => _uses[(buffer, when)] == 1;

        public static Lifetimes Of(IPlacedProgram target)
        {
            var lifetimes = new Lifetimes(target);
            KernelProgram program = target.Program;
            foreach (View view in program.Inputs.Values)
            {
                lifetimes.Touch(view.Buffer, 0);
            }

            foreach (Kernel kernel in program.Kernels)
            {
                lifetimes.Visit(kernel);
            }

            foreach (View view in program.Outputs.Values)
            {
                lifetimes.Touch(view.Buffer, lifetimes._position + 1);
            }

            lifetimes.ExtendOverLoops(program.Kernels);
            return lifetimes;
        }

        private void Visit(Kernel kernel)
        {
            if (kernel is LoopKernel loop)
            {
                foreach (Kernel inner in loop.Body)
                {
                    Visit(inner);
                }

                return;
            }

            _position += Length(kernel);
            foreach (PlanBuffer buffer in _target.BuffersOf(kernel))
            {
                Touch(buffer, _position);
                _uses[(buffer, _position)] = (_uses.TryGetValue((buffer, _position), out int others) ? others : 0) + 1;
            }

            foreach ((int read, int written) in kernel.InPlaceCandidates)
            {
                View source = kernel.Operands[read].View;
                View result = kernel.Operands[written].View;

                // Read once more, through another operand, the buffer could be needed after it is overwritten.
                bool readOnce = kernel.Operands.Count(o => o.View.Buffer == source.Buffer) == 1 && kernel.Operands.Count(o => o.View.Buffer == result.Buffer) == 1;
                if (readOnce && source with { Buffer = result.Buffer } == result && source.Offset == 0)
                {
                    InPlace.Add((source.Buffer, result.Buffer, _position));
                }
            }
        }

        private void Touch(PlanBuffer buffer, int when)
        {
            if (buffer.Space != MemorySpace.Arena)
            {
                return;
            }

            if (!_lives.TryGetValue(buffer, out Life? life))
            {
                _lives.Add(buffer, life = new Life { First = when });
            }

            life.Last = when;
        }

        // A buffer that crosses the border of a loop is alive during all of it.
        private void ExtendOverLoops(IEnumerable<Kernel> kernels)
        {
            int at = 1;
            foreach (Kernel kernel in kernels)
            {
                int length = Length(kernel);
                if (kernel is LoopKernel)
                {
                    int end = at + length - 1;
                    foreach (Life life in _lives.Values)
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
        }

        // The moments that a kernel takes: none of its own where it runs beside the one before it.
        private int Length(Kernel kernel) => kernel is LoopKernel loop ? loop.Body.Sum(Length) : _target.RunsBesideEarlier(kernel) ? 0 : 1;
    }
}
