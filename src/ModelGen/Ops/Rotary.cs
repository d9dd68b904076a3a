using System.Collections.Generic;
using System.Globalization;
using System.Linq;
using ModelGen.Compiler.Graph;

namespace ModelGen.Compiler.Ops;

/// <summary>
/// Rotary position embedding (Su et al. 2021, equation 34): of each head of <c>HeadWidth</c> columns, the first <c>Rotated</c> are pairs, and pair i is
/// turned by an angle of its position: (a, b) becomes (a·cos − b·sin, b·cos + a·sin). Pair i is columns i and i + <c>Rotated</c>/2, or, interleaved, 2i and 2i + 1.
/// Inputs: x [B, T, heads · <c>HeadWidth</c>], and the positions' cosines and, behind them, sines [T, <c>Rotated</c>].
/// </summary>
internal sealed record Rotary(int HeadWidth, int Rotated, bool IsInterleaved) : CompositeOperator
{
    public override string Mnemonic => "rotary";

    public override string Attributes => string.Format(CultureInfo.InvariantCulture, "d={0}{1}{2}", HeadWidth, Rotated == HeadWidth ? "" : string.Format(CultureInfo.InvariantCulture, " rotated={0}", Rotated), IsInterleaved ? " interleaved" : "");

    public override IReadOnlyList<TensorType> Infer(IReadOnlyList<TensorType> inputs)
    {
        Require(inputs.Count == 2 && Rotated > 0 && Rotated % 2 == 0 && Rotated <= HeadWidth && inputs[0].Shape.Rank == 3 && inputs[0].Shape.Columns % HeadWidth == 0
            && inputs[1].Shape.Equals(Shape.Of(inputs[0].Shape[1], Rotated)), $"the inputs do not fit {Attributes}: {List(inputs)}");
        return Single(inputs[0]);
    }

    public override long Flops(Node node) => 3 * node.Outputs[0].Shape.MaximumElements * Rotated / HeadWidth;

    public override IReadOnlyList<Value> Expand(GraphBuilder b, string name, IReadOnlyList<Value> inputs)
    {
        Shape shape = inputs[0].Shape;
        int pairs = Rotated / 2;
        Shape heads = Shape.Of(shape[0], shape[1], shape.Columns / HeadWidth, HeadWidth);
        Value x = b.Add(new Reshape(heads), name + ".heads", inputs[0]);
        Value turned = Rotated == HeadWidth ? x : b.Add(new SliceColumns(0, Rotated), name + ".turned", x);
        if (IsInterleaved)
        {
            // Pairs as rows of two columns: what is computed has one column, and vectors run along the pairs.
            turned = b.Add(new Reshape(new Shape([.. heads.Dims.Take(3), pairs, 2])), name + ".pairs", turned);
        }

        int half = IsInterleaved ? 1 : pairs;
        Value Angles(int first, string what)
        {
            Value angles = b.Add(new Unsqueeze(1), name + "." + what, b.Add(new SliceColumns(first, pairs), name + "." + what, inputs[1]));
            return IsInterleaved ? b.Add(new Unsqueeze(0), name + "." + what, angles) : angles;
        }

        Value cos = Angles(0, "cos"), sin = Angles(pairs, "sin");
        Value first = b.Add(new SliceColumns(0, half), name + ".a", turned), second = b.Add(new SliceColumns(half, half), name + ".b", turned);
        Value Product(Value part, Value angle) => b.Add(new Multiply(), name + ".product", part, angle);
        Value[] parts =
        [
            b.Add(new Subtract(), name + ".first", Product(first, cos), Product(second, sin)),
            b.Add(new Add(), name + ".second", Product(second, cos), Product(first, sin)),
        ];
        Value Rest() => b.Add(new SliceColumns(Rotated, HeadWidth - Rotated), name + ".rest", x);
        Value result = IsInterleaved || Rotated == HeadWidth ? b.Add(new ConcatColumns(), name + ".rotated", parts) : b.Add(new ConcatColumns(), name + ".rotated", [.. parts, Rest()]);
        if (IsInterleaved && Rotated < HeadWidth)
        {
            Value flat = b.Add(new Reshape(heads.WithLast(Rotated)), name + ".rotated", result);
            result = b.Add(new ConcatColumns(), name + ".all", flat, Rest());
        }

        return [b.Add(new Reshape(shape), name, result)];
    }
}
