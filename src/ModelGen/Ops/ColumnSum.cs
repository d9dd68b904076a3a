using System.Collections.Generic;
using System.Linq;
using ModelGen.Compiler.Autodiff;
using ModelGen.Compiler.Graph;

namespace ModelGen.Compiler.Ops;

/// <summary>The sum over the outermost extents: [.., <c>Shape</c>] to <c>Shape</c>. What broadcasting becomes backwards.</summary>
internal sealed record ColumnSum(Shape Shape) : KernelOperator
{
    public override string Mnemonic => "column_sum";

    public override IReadOnlyList<TensorType> Infer(IReadOnlyList<TensorType> inputs)
    {
        Require(inputs.Count == 1 && inputs[0].Shape.Rank >= Shape.Rank && inputs[0].Shape.Dims.Skip(inputs[0].Shape.Rank - Shape.Rank).SequenceEqual(Shape.Dims),
            $"cannot sum {List(inputs)} to {Shape}");
        return Single(TensorType.Float(Shape));
    }

    public override void Gradient(GradientContext context)
        => context.Accumulate(0, context.Add(new BroadcastTo(context.Input(0).Shape), context.OutputCotangent(0)));

    public override long Flops(Node node) => node.Inputs[0].Shape.MaximumElements;
}
