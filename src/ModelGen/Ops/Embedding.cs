using System.Collections.Generic;
using System.Linq;
using ModelGen.Compiler.Autodiff;
using ModelGen.Compiler.Graph;

namespace ModelGen.Compiler.Ops;

/// <summary>The rows of a table [V, C], or of [.., C], which has a row for each of its outer extents' indices, that indices [..] name: [.., C].</summary>
internal sealed record Embedding : KernelOperator
{
    public override string Mnemonic => "embedding";

    public override IReadOnlyList<TensorType> Infer(IReadOnlyList<TensorType> inputs)
    {
        Require(inputs.Count == 2 && inputs[0].Shape.Rank >= 2 && inputs[0].Element == ElementType.Float32 && inputs[1].Element == ElementType.Int32, $"takes a table and indices and got {List(inputs)}");
        return Single(TensorType.Float(new Shape(inputs[1].Shape.Dims.Append(inputs[0].Shape[-1]))));
    }

    public override int? IndexLimit(Node node, int input) => input == 1 ? node.Inputs[0].Shape.Rows.Maximum : null;

    public override void Gradient(GradientContext context) => context.Accumulate(0, () =>
    {
        Shape table = context.Input(0).Shape;
        Value rows = context.Add(new EmbeddingGradient(table.Rows.Maximum), context.Input(1), context.OutputCotangent(0));
        return table.Rank == 2 ? rows : context.Add(new Reshape(table), rows);
    });
}

/// <summary>The sum of the cotangent's rows that belong to each index: indices [..], cotangent [.., C] to [<c>Rows</c>, C].</summary>
internal sealed record EmbeddingGradient(int Rows) : KernelOperator
{
    public override string Mnemonic => "embedding_gradient";

    public override IReadOnlyList<TensorType> Infer(IReadOnlyList<TensorType> inputs)
    {
        Require(inputs.Count == 2 && inputs[0].Element == ElementType.Int32, $"takes indices and a cotangent and got {List(inputs)}");
        return Single(TensorType.Float(Shape.Of(Rows, inputs[1].Shape[-1])));
    }

    public override int? IndexLimit(Node node, int input) => input == 0 ? Rows : null;

    public override long Flops(Node node) => node.Inputs[1].Shape.MaximumElements;
}
