using System;
using System.Collections.Generic;
using System.Linq;
using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Kernels;
using ModelGen.Compiler.Ops;

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

/// <summary>
/// Matrix products of the same columns, each of which reads of the ones before it only what they store in its own columns: whoever takes some
/// columns computes those of all of them, one product after the other.
/// </summary>
/// <param name="Products">The products.</param>
/// <param name="Pieces">How columns are taken.</param>
internal sealed record ChainStep(IReadOnlyList<KernelStep> Products, ColumnPieces Pieces) : ScheduleStep
{
    public override int KernelCount => Products.Count;
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
/// How a team of workers runs a plan's kernels: who runs what, where they meet, and how the whole is cut into methods. Kernels that do not
/// touch what each other write, such as the products of one input with several weights, stand between the same two meetings: whoever is
/// through with its share of one goes on to the next.
/// Guarantees: between two kernels of which one may read or write what the other writes, there is a barrier, or the first
/// worker runs both, or they are products of one <see cref="ChainStep"/>.
/// </summary>
/// <param name="Parts">The steps of each method: the compiler gives up optimizing very long ones.</param>
internal sealed record CpuSchedule(IReadOnlyList<IReadOnlyList<ScheduleStep>> Parts)
{
    /// <summary>Kernels of one method: far below the size at which the JIT gives up optimizing.</summary>
    public const int PartLength = 60;

    private static readonly BarrierStep Meeting = new();

    private readonly HashSet<Kernel> _joined = [];

    /// <summary>Whether a kernel may run while the one before it does: no meeting is between them, and others than the first worker run one of them.</summary>
    public bool RunsBesideEarlier(Kernel kernel) => _joined.Contains(kernel);

    /// <summary>Decides.</summary>
    /// <param name="kernels">The kernels in order.</param>
    /// <param name="planOf">How each of them is executed.</param>
    public static CpuSchedule Of(IReadOnlyList<Kernel> kernels, Func<Kernel, KernelPlan> planOf)
    {
        var parts = new List<IReadOnlyList<ScheduleStep>>();
        var schedule = new CpuSchedule(parts);
        var part = new List<ScheduleStep>();
        foreach (IReadOnlyList<ScheduleStep> phase in schedule.Phases(kernels, null, planOf))
        {
            if (part.Sum(s => s.KernelCount) >= PartLength)
            {
                parts.Add(part);
                part = [];
            }

            part.AddRange(phase);
        }

        parts.Add(part);
        return schedule;
    }

    // What is between two meetings, with the later one; or a loop, whose steps end with one.
    private List<IReadOnlyList<ScheduleStep>> Phases(IReadOnlyList<Kernel> kernels, LoopKernel? loop, Func<Kernel, KernelPlan> planOf)
    {
        var phases = new List<IReadOnlyList<ScheduleStep>>();
        var phase = new Phase(loop, planOf);
        foreach (Kernel kernel in kernels)
        {
            if (kernel is LoopKernel inner && !kernel.IsSerial())
            {
                End();
                phases.Add([new LoopStep(inner, [.. Phases(inner.Body, inner, planOf).SelectMany(p => p)])]);
                continue;
            }

            if (!phase.TryAdd(kernel))
            {
                End();
                phase.TryAdd(kernel);
            }
        }

        End();
        return phases;

        void End()
        {
            if (phase.Kernels.Count > 0)
            {
                phases.Add([.. phase.Steps(), Meeting]);
                if (phase.IsDivided)
                {
                    _joined.UnionWith(phase.Kernels.Skip(1).SelectMany(k => k.Leaves));
                }
            }

            phase = new Phase(loop, planOf);
        }
    }

    /// <summary>What runs between two meetings.</summary>
    private sealed class Phase(LoopKernel? loop, Func<Kernel, KernelPlan> planOf)
    {
        private readonly List<Kernel> _alone = [];
        private readonly List<List<Kernel>> _divided = [];
        private readonly Dictionary<Kernel, (Footprint[] Read, Footprint[] Written)> _touched = [];
        private bool _hasWorkspace;

        // Whether a loop is among them, or one that others must not run beside.
        private bool _isClosed;

        /// <summary>The kernels in the program's order.</summary>
        public List<Kernel> Kernels { get; } = [];

        /// <summary>Whether workers divide any of them.</summary>
        public bool IsDivided => _divided.Count > 0;

        /// <summary>Adds a kernel, unless that would have to wait for one that is there.</summary>
        public bool TryAdd(Kernel kernel)
        {
            if (kernel.IsSerial())
            {
                // The first worker runs those that it runs alone in their order, and before the others. Loops stay among themselves.
                if (IsDivided && (kernel is LoopKernel || Divided.Any(k => !AreApart(k, kernel))))
                {
                    return false;
                }

                _alone.Add(kernel);
                Add(kernel);
                return true;
            }

            bool hasWorkspace = planOf(kernel).Workspace is not null;
            if (_isClosed || (Kernels.Count > 0 && planOf(kernel).StandsAlone) || _alone.Any(k => !AreApart(k, kernel)))
            {
                return false;
            }

            if (hasWorkspace && _hasWorkspace)
            {
                // Workers meet within each of them: one meeting less is not worth memory for both.
                return false;
            }

            Kernel[] awaited = [.. Divided.Where(k => !AreApart(k, kernel))];
            if (awaited.Length == 0)
            {
                _divided.Add([kernel]);
            }
            else if (_divided.Count > 0 && _divided[_divided.Count - 1] is var chain && awaited.All(chain.Contains) && awaited.All(k => Follows(kernel, k)) && chain.All(k => HasSamePieces(kernel, k)))
            {
                chain.Add(kernel);
            }
            else
            {
                return false;
            }

            Add(kernel);
            return true;
        }

        private IEnumerable<Kernel> Divided => _divided.SelectMany(static kernels => kernels);

        private void Add(Kernel kernel)
        {
            Kernels.Add(kernel);
            _isClosed |= kernel is LoopKernel || planOf(kernel).StandsAlone;
            _hasWorkspace |= planOf(kernel).Workspace is not null;
        }

        public IEnumerable<ScheduleStep> Steps()
        {
            if (_alone.Count > 0)
            {
                yield return new FirstWorkerStep([.. _alone.Select(k => Alone(k, loop))]);
            }

            foreach (List<Kernel> kernels in _divided)
            {
                yield return kernels.Count == 1 ? new KernelStep(kernels[0], loop)
                    : new ChainStep([.. kernels.Select(k => new KernelStep(k, loop))], kernels.Select(k => planOf(k).ColumnPieces!).Aggregate((a, b) => a.And(b)));
            }
        }

        // Whether no one of two kernels touches what the other writes.
        private bool AreApart(Kernel first, Kernel second)
        {
            (Footprint[] read, Footprint[] written) = TouchedBy(first);
            (Footprint[] otherRead, Footprint[] otherWritten) = TouchedBy(second);
            return AllApart(written, otherWritten) && AllApart(written, otherRead) && AllApart(otherWritten, read);
        }

        private (Footprint[] Read, Footprint[] Written) TouchedBy(Kernel kernel)
        {
            if (!_touched.TryGetValue(kernel, out (Footprint[] Read, Footprint[] Written) touched))
            {
                touched = ([.. Touched(kernel, false)], [.. Touched(kernel, true)]);
                _touched.Add(kernel, touched);
            }

            return touched;
        }

        private static bool AllApart(Footprint[] some, Footprint[] others)
        {
            foreach (Footprint one in some)
            {
                foreach (Footprint other in others)
                {
                    if (!one.IsApartFrom(other))
                    {
                        return false;
                    }
                }
            }

            return true;
        }

        // A target's own operands lie in buffers of theirs, which are touched as a whole.
        private IEnumerable<Footprint> Touched(Kernel kernel, bool written)
        {
            if (kernel is LoopKernel inner)
            {
                return inner.Body.SelectMany(k => Touched(k, written)).Select(f => new Footprint(new View(f.View.Buffer, 0), [(RowExtent.Literal(1), RowExtent.Literal(int.MaxValue))]));
            }

            bool isTargets = kernel is PackKernel or RoundKernel;
            IEnumerable<Footprint> own = isTargets ? [] : Footprint.Of(kernel, written);
            return own.Concat(planOf(kernel).Operands(kernel).Where(o => o.IsWritten == written && (isTargets || !kernel.Operands.Contains(o)))
                .Select(o => new Footprint(o.View, [(RowExtent.Literal(1), RowExtent.Literal(int.MaxValue))])));
        }

        private bool HasSamePieces(Kernel first, Kernel second) => planOf(first).ColumnPieces is { } a && planOf(second).ColumnPieces is { } b && a.Columns == b.Columns;

        // Whether all that a product touches of what another one stores, and the other way around, are the same elements of the result, read by its epilogue.
        private bool Follows(Kernel kernel, Kernel earlier)
        {
            if (kernel is not MatMulKernel next || earlier is not MatMulKernel product || next.Rows != product.Rows || !next.Axes.Equals(product.Axes) || next.Columns != product.Columns)
            {
                return false;
            }

            IReadOnlyList<KernelOperand> own = planOf(next).Operands(next), others = planOf(product).Operands(product);
            for (int i = 0; i < own.Count; i++)
            {
                for (int j = 0; j < others.Count; j++)
                {
                    if ((own[i].IsWritten || others[j].IsWritten) && own[i].View.Buffer == others[j].View.Buffer && !(IsOfResult(own[i], i) && IsOfResult(others[j], j) && own[i].View == others[j].View && own[i].Access.Equals(others[j].Access))
                        && !(i < next.Operands.Count && j < product.Operands.Count && Footprint.Of(next, i).IsApartFrom(Footprint.Of(product, j))))
                    {
                        return false;
                    }
                }
            }

            return true;

            static bool IsOfResult(KernelOperand operand, int index) => index >= 2 && operand.Access.Kind == AccessKind.Element;
        }
    }

    private static ScheduleStep Alone(Kernel kernel, LoopKernel? loop)
        => kernel is LoopKernel inner ? new LoopStep(inner, [.. inner.Body.Select(k => Alone(k, inner))]) : new KernelStep(kernel, loop);
}
