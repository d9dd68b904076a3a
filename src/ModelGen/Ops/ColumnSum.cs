using System;
using System.Collections.Generic;
using System.Linq;
using ModelGen.Compiler.Autodiff;
using ModelGen.Compiler.Graph;

namespace ModelGen.Compiler.Ops;

/// <summary>
/// The sum over the row extents that <c>Shape</c> lacks, or has as one: what broadcasting becomes backwards. The innermost extent stays
/// (<see cref="RowSum"/> sums over it).
/// </summary>
internal sealed record ColumnSum(Shape Shape) : KernelOperator
{
    public override string Mnemonic => "column_sum";

    public override string? Spell(IReadOnlyList<string> inputs) => $"sum over rows of {inputs[0]}";

    public override Operator BindExtents(Func<Dim, Dim> bind) => this with { Shape = Shape.Select(bind) };

    public override IReadOnlyList<TensorType> Infer(IReadOnlyList<TensorType> inputs)
    {
        Require(inputs.Count == 1 && Shape.Rank > 0 && inputs[0].Shape.Rank >= Shape.Rank && inputs[0].Shape[-1] == Shape[-1]
            && Enumerable.Range(1, Shape.Rank).All(i => Shape[-i] == inputs[0].Shape[-i] || Shape[-i] == (Dim)1),
            $"cannot sum {List(inputs)} to {Shape}");
        return Single(TensorType.Float(Shape));
    }

    public override void Gradient(GradientContext context)
        => context.Accumulate(0, () => context.Add(new BroadcastTo(context.Input(0).Shape), context.OutputCotangent(0)));

    public override long Flops(Node node) => node.Inputs[0].Shape.MaximumElements;
}
