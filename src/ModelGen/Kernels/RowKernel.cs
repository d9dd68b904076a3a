using System.Collections.Generic;
using System.Linq;
using ModelGen.Compiler.Graph;

namespace ModelGen.Compiler.Kernels;

internal enum ReductionKind
{
    Sum,
    Maximum,
}

/// <summary>A row-wise reduction; later phases read it as row value <c>Index</c>.</summary>
internal sealed record Reduction(int Index, ReductionKind Kind, Expr Value);

/// <summary>One pass over a row's columns: reductions first become known when it has ended.</summary>
internal sealed record RowPhase(IReadOnlyList<Reduction> Reductions, IReadOnlyList<Store> Stores);

/// <summary>Element-wise work and row-wise reductions over a matrix: for every row, its phases in order.</summary>
internal sealed class RowKernel(string name, IReadOnlyList<KernelOperand> operands, EquatableArray<RowExtent> axes, int columns, IReadOnlyList<RowPhase> phases, long flops, long bytes)
    : Kernel(name, operands, flops, bytes)
{
    /// <summary>The extents whose indices make a row, outermost first: as few as let every operand's address be affine.</summary>
    public EquatableArray<RowExtent> Axes { get; } = axes;

    /// <summary>The rows there are: the product of the axes.</summary>
    public RowExtent Rows { get; } = RowExtent.Product(axes);

    public int Columns { get; } = columns;

    public IReadOnlyList<RowPhase> Phases { get; } = phases;

    public override IEnumerable<(int Read, int Written)> InPlaceCandidates
    {
        get
        {
            // The last phase that reads an operand, and where in it the element is loaded: before the stores, or for one of them.
            var loads = new Dictionary<int, (int Phase, int Order)>();
            for (int phase = 0; phase < Phases.Count; phase++)
            {
                int order = -1;
                foreach (Expr root in Phases[phase].Reductions.Select(r => r.Value))
                {
                    Load(root, phase, order);
                }

                foreach (Store store in Phases[phase].Stores)
                {
                    Load(store.Value, phase, ++order);
                }
            }

            for (int phase = 0; phase < Phases.Count; phase++)
            {
                for (int order = 0; order < Phases[phase].Stores.Count; order++)
                {
                    Store store = Phases[phase].Stores[order];
                    Access written = Operands[store.Operand].Access;
                    foreach (KeyValuePair<int, (int Phase, int Order)> load in loads)
                    {
                        if (store.Mode == StoreMode.Replace && written.Kind == AccessKind.Element && Operands[load.Key].Access.Equals(written)
                            && (load.Value.Phase < phase || (load.Value.Phase == phase && load.Value.Order <= order)))
                        {
                            yield return (load.Key, store.Operand);
                        }
                    }
                }
            }

            void Load(Expr root, int phase, int order) => ExprTransforms.Visit(root, e =>
            {
                if (e is OperandExpr o && !(loads.TryGetValue(o.Operand, out (int Phase, int Order) known) && known.Phase == phase))
                {
                    loads[o.Operand] = (phase, order);
                }
            });
        }
    }
}
