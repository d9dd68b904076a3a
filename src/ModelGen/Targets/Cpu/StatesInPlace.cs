using System.Collections.Generic;
using System.Linq;
using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Kernels;

namespace ModelGen.Compiler.Targets.Cpu;

/// <summary>
/// Stores what a run leaves of a state where the state lies, instead of in the arena, from which a copy would bring it there at the run's end: the copy, a second place for the state,
/// and the memory that both touch are saved. It is done where every element of the old state is read for the last time before it is overwritten: by kernels that come earlier, by any that
/// reads other elements, or by the one that writes it, which says so itself (<see cref="Kernel.InPlaceCandidates"/>). All else keeps its copy: what is read in another order than it is
/// written, as the rows of a window that move up by one; what a loop reads and writes; what is read later; and what the caller reads.
/// Guarantees: the same numbers, in the order in which the kernels stand, whoever runs them: meetings follow from what kernels read and write (<see cref="CpuSchedule"/>).
/// </summary>
internal static class StatesInPlace
{
    public static KernelProgram Run(KernelProgram program)
    {
        (Kernel Copy, PlanBuffer Next, PlanBuffer State)[] copies = [.. program.Kernels.Select(k => (Copy: k, Operands: Copied(k))).Where(c => c.Operands is not null).Select(c => (c.Copy, c.Operands!.Value.From, c.Operands.Value.To))];
        if (copies.Length == 0)
        {
            return program;
        }

        ILookup<PlanBuffer, Use> uses = program.Kernels.SelectMany((kernel, i) => kernel.Leaves.SelectMany(leaf => leaf.Operands.Select((operand, o) => (operand.View.Buffer, Use: new Use(i, kernel as LoopKernel, leaf, o)))))
            .ToLookup(u => u.Buffer, u => u.Use);
        PlanBuffer[] states = [.. uses.Select(u => u.Key).Where(b => b.Space == MemorySpace.State)];
        var outside = new HashSet<PlanBuffer>(program.Inputs.Values.Concat(program.Outputs.Values).Select(v => v.Buffer));
        var places = new Dictionary<PlanBuffer, PlanBuffer>();
        var dropped = new HashSet<Kernel>();
        foreach ((Kernel copy, PlanBuffer next, PlanBuffer state) in copies)
        {
            // A state of several sequences lies over that of the first of them.
            bool isAlone = states.All(other => other == state || other.Offset >= state.Offset + state.Bytes || state.Offset >= other.Offset + other.Bytes);
            if (isAlone && !outside.Contains(next) && !places.ContainsKey(next) && MayReplace(copy, [.. uses[next]], [.. uses[state]]))
            {
                places.Add(next, state);
                dropped.Add(copy);
            }
        }

        return places.Count == 0 ? program : program with
        {
            Kernels = [.. program.Kernels.Where(k => !dropped.Contains(k)).Select(k => Placed(k, places))],
            Buffers = [.. program.Buffers.Where(b => !places.ContainsKey(b))],
        };
    }

    /// <summary>What a kernel copies, element by element, from all of a buffer of the arena to all of a state; null for any other kernel.</summary>
    private static (PlanBuffer From, PlanBuffer To)? Copied(Kernel kernel)
        => kernel is RowKernel { Phases: { Count: 1 } phases, Operands: { Count: 2 } operands } && phases[0] is { Reductions.Count: 0, Stores: { Count: 1 } stores }
            && stores[0] is { Mode: StoreMode.Replace, Value: OperandExpr source } store && source.Operand != store.Operand
            && operands[source.Operand] is var read && operands[store.Operand] is var written
            && read.View.Buffer is { Space: MemorySpace.Arena } from && written.View.Buffer is { Space: MemorySpace.State } to
            && from.Elements == to.Elements && from.Format == to.Format && read.Access.Equals(written.Access)
            && read.View == new View(from, 0) && written.View == new View(to, 0) && Footprint.Of(kernel, store.Operand) is var whole && whole.Elements == to.Elements && whole.Last == to.Elements - 1
            && whole.Steps.All(s => !s.Count.IsDynamic && !s.Stride.IsDynamic)
            ? (from, to) : null;

    /// <summary>Whether no element of a state is read after the first kernel that would overwrite it has begun, but by that one, element by element.</summary>
    private static bool MayReplace(Kernel copy, IReadOnlyList<Use> next, IReadOnlyList<Use> state)
    {
        Use[] writes = [.. next.Where(u => u.Operand.IsWritten)];
        return writes.Length > 0 && state.All(u => u.Kernel == copy || (!u.Operand.IsWritten && writes.All(w => IsReadBefore(u, w))));
    }

    private static bool IsReadBefore(Use read, Use write)
    {
        if (read.Position < write.Position)
        {
            return true;
        }

        PlanBuffer state = read.Operand.View.Buffer;
        Footprint overwritten = write.Touched;
        return read.Touched.IsApartFrom(overwritten with { View = overwritten.View with { Buffer = state } })
            || (read.Kernel == write.Kernel && read.Loop is null && read.Operand.View == write.Operand.View with { Buffer = state } && read.Kernel.InPlaceCandidates.Contains((read.Index, write.Index)));
    }

    private static Kernel Placed(Kernel kernel, Dictionary<PlanBuffer, PlanBuffer> places)
    {
        if (kernel is LoopKernel loop)
        {
            return loop.Leaves.Any(Touches) ? new LoopKernel(loop.Name, loop.Steps, loop.Reverse, [.. loop.Body.Select(k => Placed(k, places))]) { BlockRows = loop.BlockRows, Derivation = loop.Derivation } : loop;
        }

        return Touches(kernel) ? kernel.WithOperands([.. kernel.Operands.Select(o => places.TryGetValue(o.View.Buffer, out PlanBuffer? state) ? o with { View = o.View with { Buffer = state } } : o)]) : kernel;

        bool Touches(Kernel leaf) => leaf.Operands.Any(o => places.ContainsKey(o.View.Buffer));
    }

    /// <summary>A kernel's use of a buffer.</summary>
    /// <param name="Position">Where the kernel, or the loop around it, stands in the program.</param>
    /// <param name="Loop">The loop around it; null for none.</param>
    /// <param name="Kernel">The kernel.</param>
    /// <param name="Index">Its operand.</param>
    private sealed record Use(int Position, LoopKernel? Loop, Kernel Kernel, int Index)
    {
        public KernelOperand Operand => Kernel.Operands[Index];

        /// <summary>What it touches, over all steps of the loop.</summary>
        public Footprint Touched => Footprint.Of(Kernel, Index) is var step && Loop is { } loop && step.View.StepStride != 0
            ? new Footprint(step.View with { StepStride = 0 }, [.. step.Steps, (RowExtent.Literal(checked((int)step.View.StepStride)), loop.Steps)]) : step;
    }
}
