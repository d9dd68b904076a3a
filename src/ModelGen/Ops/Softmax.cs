using System.Collections.Generic;
using ModelGen.Compiler.Graph;

namespace ModelGen.Compiler.Ops;

/// <summary>The softmax of each row, e^(x − m) / Σ e^(x − m) with the row's largest element m, which cancels and keeps the exponential in range.</summary>
internal sealed record Softmax : CompositeOperator
{
    public override string Mnemonic => "softmax";

    public override bool IsRowWise => true;

    public override IReadOnlyList<TensorType> Infer(IReadOnlyList<TensorType> inputs)
    {
        Require(inputs.Count == 1 && inputs[0].Element == ElementType.Float32 && inputs[0].Shape.Rank > 0, $"takes one f32 tensor and got {List(inputs)}");
        return Single(inputs[0]);
    }

    public override long Flops(Node node) => 20 * node.Outputs[0].Shape.MaximumElements;

    public override IReadOnlyList<Value> Expand(GraphBuilder b, string name, IReadOnlyList<Value> inputs)
    {
        Value shifted = b.Add(new Subtract(), name + ".shifted", inputs[0], b.Add(new StopGradient(), name + ".shift", b.Add(new RowMax(), name + ".maximum", inputs[0])));
        Value exponentials = b.Add(new Exp(), name + ".exp", shifted);
        return [b.Add(new Divide(), name, exponentials, b.Add(new RowSum(), name + ".sum", exponentials))];
    }
}
