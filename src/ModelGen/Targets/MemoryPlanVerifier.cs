using System;
using System.Collections.Generic;
using System.Linq;
using System.Runtime.CompilerServices;
using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Kernels;

namespace ModelGen.Compiler.Targets;

/// <summary>The rule that a plan of memory keeps.</summary>
internal static class MemoryPlanVerifier
{
    /// <summary>
    /// Checks a memory plan: between a buffer's first write and its last read, nothing else writes where it lies, but the kernel that reads it
    /// for the last time, in the buffer's place.
    /// </summary>
    /// <exception cref="GraphException">Two buffers that are alive overlap, or one lies outside the arena.</exception>
    public static void Verify(IPlacedProgram placed, long arenaBytes)
    {
        KernelProgram program = placed.Program;
        var alive = new AliveBuffers();
        var begun = new HashSet<PlanBuffer>();

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

        // The kernel that alone uses a buffer; null where several do, or the caller.
        var users = new Dictionary<PlanBuffer, Kernel?>();
        foreach (Kernel kernel in program.Kernels)
        {
            foreach (PlanBuffer buffer in Arena(kernel, written: false).Concat(Arena(kernel, written: true)))
            {
                users[buffer] = !users.TryGetValue(buffer, out Kernel? other) || other == kernel ? kernel : null;
            }
        }

        foreach (View view in program.Outputs.Values.Concat(program.Inputs.Values))
        {
            users[view.Buffer] = null;
        }

        // What dies with each kernel.
        var ends = new List<PlanBuffer>?[program.Kernels.Count];
        foreach (View input in program.Inputs.Values)
        {
            Require(input.Buffer.Offset >= 0 && input.Buffer.Offset + input.Buffer.Bytes <= arenaBytes, $"the input {input.Buffer} lies outside the arena");
            Require(!alive.Overlapping(input.Buffer).Any(), $"the input {input.Buffer} lies over another");
            Begin(input.Buffer, 0);
        }

        var lost = new Dictionary<PlanBuffer, string>();
        int ended = 0;
        for (int first = 0, next; first < program.Kernels.Count; first = next)
        {
            next = End(program.Kernels, first);
            for (; ended < first; ended++)
            {
                foreach (PlanBuffer buffer in ends[ended] ?? [])
                {
                    alive.Remove(buffer);
                }
            }

            if (program.Kernels[first] is not LoopKernel loop)
            {
                Visit(program.Kernels, first, next, next - 1);
                continue;
            }

            // Twice: what the second step needs must outlive the first. What a step makes for itself begins anew.
            VisitStep(loop, first);
            foreach (PlanBuffer buffer in OwnOfSteps(loop))
            {
                begun.Remove(buffer);
            }

            VisitStep(loop, first);
        }

        foreach (KeyValuePair<string, View> output in program.Outputs)
        {
            Require(!lost.TryGetValue(output.Value.Buffer, out string? by), $"the output {output.Key} is overwritten by '{by}'");
        }

        void Begin(PlanBuffer buffer, int at)
        {
            begun.Add(buffer);
            alive.Remove(buffer);
            alive.Add(buffer);
            int end = lastReads.TryGetValue(buffer, out int last) ? Math.Max(at, last) : at;
            if (end < ends.Length)
            {
                (ends[end] ??= []).Add(buffer);
            }
        }

        // One past the last of the kernels that run together with one.
        int End(IReadOnlyList<Kernel> kernels, int first)
        {
            int end = first + 1;
            while (end < kernels.Count && kernels[end] is not LoopKernel && placed.RunsBesideEarlier(kernels[end]))
            {
                end++;
            }

            return end;
        }

        void VisitStep(LoopKernel loop, int position)
        {
            for (int first = 0, next; first < loop.Body.Count; first = next)
            {
                Visit(loop.Body, first, next = End(loop.Body, first), position);
            }
        }

        // Kernels that run together, as one.
        void Visit(IReadOnlyList<Kernel> kernels, int first, int end, int position)
        {
            var lostHere = new List<PlanBuffer>();
            Kernel[] together = [.. kernels.Skip(first).Take(end - first)];
            Kernel kernel = together[0];
            PlanBuffer[] reads = [.. together.SelectMany(k => Arena(k, written: false)).Distinct()];
            PlanBuffer[] writes = [.. together.SelectMany(k => Arena(k, written: true)).Distinct()];

            // The first worker runs what it runs alone in order: what one of those begins, the next one may read.
            var begunHere = new HashSet<PlanBuffer>();
            foreach (Kernel reader in together)
            {
                foreach (PlanBuffer buffer in Arena(reader, written: false).Where(b => !begunHere.Contains(b)))
                {
                    Require(!lost.TryGetValue(buffer, out string? by), $"'{reader.Name}' reads {buffer}, which '{by}' has overwritten");
                }

                begunHere.UnionWith(Arena(reader, written: true).Where(b => !begun.Contains(b)));
            }

            foreach (PlanBuffer buffer in writes)
            {
                Require(buffer.Offset >= 0 && buffer.Offset + buffer.Bytes <= arenaBytes, $"{buffer} lies outside the arena");
                foreach (PlanBuffer other in alive.Overlapping(buffer).Concat(lostHere.Where(o => Overlap(o, buffer))).ToArray())
                {
                    Require(!writes.Contains(other), $"'{kernel.Name}' writes {buffer} and {other}, which overlap");
                    Require(!reads.Contains(other) || IsReplaced(together, other, buffer), $"'{kernel.Name}' writes {buffer} over {other}, which it reads");
                    lost[other] = kernel.Name;
                    lostHere.Add(other);
                    alive.Remove(other);
                }

                if (!begun.Contains(buffer))
                {
                    lost.Remove(buffer);
                    Begin(buffer, position);
                }
            }
        }

        IEnumerable<PlanBuffer> OwnOfSteps(LoopKernel loop)
        {
            var read = new HashSet<PlanBuffer>();
            var own = new HashSet<PlanBuffer>();
            foreach (Kernel inner in loop.Body)
            {
                read.UnionWith(Arena(inner, written: false));
                own.UnionWith(Arena(inner, written: true).Where(b => !read.Contains(b) && users[b] == loop));
            }

            return own;
        }

        // A loop's are those of its kernels; workers write the memory that they share.
        PlanBuffer[] Arena(Kernel kernel, bool written)
            => kernel is LoopKernel loop ? loop.Body.SelectMany(k => Arena(k, written)).Distinct().ToArray()
                : placed.OperandsOf(kernel).Where(o => o.IsWritten == written).Select(o => o.View.Buffer)
                    .Concat(written && placed.WorkspaceOf(kernel) is { } workspace ? [workspace] : []).Where(b => b.Space == MemorySpace.Arena).Distinct().ToArray();

        // A kernel that reads a buffer for the last time may put its result there, if no other that runs meanwhile touches either.
        bool IsReplaced(Kernel[] together, PlanBuffer read, PlanBuffer written)
            => read.Offset == written.Offset && together.Any(k => k.InPlaceCandidates.Any(p => k.Operands[p.Read].View.Buffer == read && k.Operands[p.Written].View.Buffer == written)
                && together.All(other => other == k || !placed.BuffersOf(other).Any(b => b == read || b == written)));

        static void Require(bool condition, [InterpolatedStringHandlerArgument(nameof(condition))] ProblemText problem)
        {
            if (!condition)
            {
                throw new GraphException($"after the memory plan: {problem}");
            }
        }
    }

    private static bool Overlap(PlanBuffer a, PlanBuffer b) => a != b && a.Offset < b.Offset + b.Bytes && b.Offset < a.Offset + a.Bytes;

    /// <summary>Buffers that are alive together, in the order of their offsets: no two of them overlap.</summary>
    private sealed class AliveBuffers
    {
        private readonly List<PlanBuffer> _byOffset = [];

        public void Add(PlanBuffer buffer) => _byOffset.Insert(FirstBeyond(buffer.Offset), buffer);

        public void Remove(PlanBuffer buffer)
        {
            for (int i = FirstBeyond(buffer.Offset); i < _byOffset.Count && _byOffset[i].Offset <= buffer.Offset; i++)
            {
                if (_byOffset[i] == buffer)
                {
                    _byOffset.RemoveAt(i);
                    return;
                }
            }
        }

        /// <summary>Those that lie where a buffer does, but for itself.</summary>
        public IEnumerable<PlanBuffer> Overlapping(PlanBuffer buffer)
        {
            for (int i = FirstBeyond(buffer.Offset); i < _byOffset.Count && _byOffset[i].Offset < buffer.Offset + buffer.Bytes; i++)
            {
                if (Overlap(_byOffset[i], buffer))
                {
                    yield return _byOffset[i];
                }
            }
        }

        // The first that ends beyond an offset: ends are in the order of offsets.
        private int FirstBeyond(long offset)
        {
            int low = 0, high = _byOffset.Count;
            while (low < high)
            {
                int middle = (low + high) / 2;
                if (_byOffset[middle].Offset + _byOffset[middle].Bytes > offset)
                {
                    high = middle;
                }
                else
                {
                    low = middle + 1;
                }
            }

            return low;
        }
    }
}
