using System.Collections.Generic;
using System.Globalization;
using System.Linq;
using ModelGen.Compiler.Autodiff;
using ModelGen.Compiler.Graph;

namespace ModelGen.Compiler.Ops;

/// <summary>The extents in another order: extent i of the result is extent <c>Axes</c>[i] of the input. [1, 0] transposes a matrix.</summary>
internal sealed record Permute(EquatableArray<int> Axes) : ViewOperator
{
    public override string Mnemonic => "permute";

    public override string Attributes => string.Join(",", Axes.Select(a => a.ToString(CultureInfo.InvariantCulture)));

    public override IReadOnlyList<TensorType> Infer(IReadOnlyList<TensorType> inputs)
    {
        Require(inputs.Count == 1 && inputs[0].Element == ElementType.Float32 && Axes.OrderBy(a => a).SequenceEqual(Enumerable.Range(0, inputs[0].Shape.Rank)), $"no permutation of {List(inputs)}");
        return Single(TensorType.Float(new Shape(Axes.Select(a => inputs[0].Shape[a]))));
    }

    public override void Gradient(GradientContext context)
        => context.Accumulate(0, () => context.Add(new Permute(new EquatableArray<int>([.. Enumerable.Range(0, Axes.Count).OrderBy(i => Axes[i])])), context.OutputCotangent(0)));
}
