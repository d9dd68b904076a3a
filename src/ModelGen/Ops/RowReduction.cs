using System.Collections.Generic;
using ModelGen.Compiler.Autodiff;
using ModelGen.Compiler.Graph;

namespace ModelGen.Compiler.Ops;

/// <summary>A reduction of each row to one number: [.., C] to [.., 1].</summary>
internal abstract record RowReduction : Operator
{
    public override bool IsRowWise => true;

    public override IReadOnlyList<TensorType> Infer(IReadOnlyList<TensorType> inputs)
    {
        Require(inputs.Count == 1 && inputs[0].Element == ElementType.Float32 && inputs[0].Shape.Rank > 0, $"takes one f32 tensor and got {List(inputs)}");
        return Single(TensorType.Float(inputs[0].Shape.WithLast(1)));
    }

    public override long Flops(Node node) => node.Inputs[0].Shape.MaximumElements;
}

/// <summary>The sum of each row, in a fixed tree.</summary>
internal sealed record RowSum : RowReduction
{
    public override string Mnemonic => "row_sum";

    public override void Gradient(GradientContext context)
        => context.Accumulate(0, () => context.Add(new BroadcastTo(context.Input(0).Shape), context.OutputCotangent(0)));
}

/// <summary>The largest element of each row. It has no gradient: softmax uses it as a shift, which cancels.</summary>
internal sealed record RowMax : RowReduction
{
    public override string Mnemonic => "row_max";
}
