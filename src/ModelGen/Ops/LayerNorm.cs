using System.Collections.Generic;
using System.Globalization;
using ModelGen.Compiler.Graph;

namespace ModelGen.Compiler.Ops;

/// <summary>
/// Layer normalization (Ba et al. 2016, equation 4): (x − mean) / √(variance + <c>Epsilon</c>) · γ + β, with the variance
/// taken in a second pass; · (1 + γ) where the weight is an offset. Inputs: x [.., C], γ [C] and, optionally, β [C].
/// </summary>
internal sealed record LayerNorm(double Epsilon, bool WeightIsOffset = false) : CompositeOperator
{
    public override string Mnemonic => "layer_norm";

    public override string Attributes => string.Format(CultureInfo.InvariantCulture, "epsilon={0:R}{1}", Epsilon, WeightIsOffset ? " 1+weight" : "");

    public override bool IsRowWise => true;

    public override IReadOnlyList<TensorType> Infer(IReadOnlyList<TensorType> inputs)
    {
        Require(inputs.Count is 2 or 3 && inputs[1].Shape.Equals(Shape.Of(inputs[0].Shape[-1])), $"the inputs do not fit: {List(inputs)}");
        return Single(inputs[0]);
    }

    public override long Flops(Node node) => 8 * node.Outputs[0].Shape.MaximumElements;

    public override IReadOnlyList<Value> Expand(GraphBuilder b, string name, IReadOnlyList<Value> inputs)
    {
        Value x = inputs[0];
        double perColumn = 1.0 / x.Shape.Columns;
        Value mean = b.Add(new Affine(perColumn, 0), name + ".mean", b.Add(new RowSum(), name + ".sum", x));
        Value centred = b.Add(new Subtract(), name + ".centred", x, mean);
        Value squares = b.Add(new RowSum(), name + ".squares", b.Add(new Multiply(), name + ".squared", centred, centred));
        Value deviation = b.Add(new Rsqrt(Epsilon), name + ".rstd", b.Add(new Affine(perColumn, 0), name + ".variance", squares));
        Value normal = b.Add(new Multiply(), name + ".normal", centred, deviation);
        Value scaled = b.Add(new Multiply(), inputs.Count == 2 && !WeightIsOffset ? name : name + ".scaled", normal, inputs[1]);

        // As in RmsNorm.
        scaled = WeightIsOffset ? b.Add(new Add(), inputs.Count == 2 ? name : name + ".whole", normal, scaled) : scaled;
        return [inputs.Count == 2 ? scaled : b.Add(new Add(), name, scaled, inputs[2])];
    }
}
