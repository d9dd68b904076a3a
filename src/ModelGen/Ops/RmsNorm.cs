using System.Collections.Generic;
using System.Globalization;
using ModelGen.Compiler.Graph;

namespace ModelGen.Compiler.Ops;

/// <summary>
/// Root mean square normalization (Zhang and Sennrich 2019, equation 4): x / √(mean(x²) + <c>Epsilon</c>) · γ, or · (1 + γ) where the weight is an offset.
/// Inputs: x [.., C] and, optionally, γ [C].
/// </summary>
internal sealed record RmsNorm(double Epsilon, bool WeightIsOffset = false) : CompositeOperator
{
    public override string Mnemonic => "rms_norm";

    public override string Attributes => string.Format(CultureInfo.InvariantCulture, "epsilon={0:R}{1}", Epsilon, WeightIsOffset ? " 1+weight" : "");

    public override bool IsRowWise => true;

    public override IReadOnlyList<TensorType> Infer(IReadOnlyList<TensorType> inputs)
    {
        Require(inputs.Count == 1 || (inputs.Count == 2 && inputs[1].Shape.Equals(Shape.Of(inputs[0].Shape[-1]))), $"the inputs do not fit: {List(inputs)}");
        return Single(inputs[0]);
    }

    public override long Flops(Node node) => 5 * node.Outputs[0].Shape.MaximumElements;

    public override IReadOnlyList<Value> Expand(GraphBuilder b, string name, IReadOnlyList<Value> inputs)
    {
        Value x = inputs[0];
        Value squares = b.Add(new RowSum(), name + ".squares", b.Add(new Multiply(), name + ".squared", x, x));
        Value factor = b.Add(new Rsqrt(Epsilon), name + ".rrms", b.Add(new Affine(1.0 / x.Shape.Columns, 0), name + ".mean_square", squares));
        Value normal = b.Add(new Multiply(), inputs.Count == 1 ? name : name + ".normal", x, factor);
        if (inputs.Count == 1)
        {
            return [normal];
        }

        // n + n·γ, and not n·(1 + γ): 1 + γ would be a vector of its own in memory.
        Value scaled = b.Add(new Multiply(), WeightIsOffset ? name + ".scaled" : name, normal, inputs[1]);
        return [WeightIsOffset ? b.Add(new Add(), name, normal, scaled) : scaled];
    }
}
