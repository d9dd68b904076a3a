using System.Collections.Generic;
using System.Globalization;
using System.Linq;
using ModelGen.Compiler.Autodiff;
using ModelGen.Compiler.Graph;

namespace ModelGen.Compiler.Ops;

/// <summary>
/// Sends each row to the <c>Chosen</c> of E experts that score highest, of equal ones the first. Rows are sent in as many copies, and the copies lie in the order of their experts (and of rows, for one expert), so that an expert's are beside
/// each other. Input: scores [.., E]. Results, i32 [.., <c>Chosen</c>]: of each copy, the number of its row, and its expert; of each row's choices, best first, the number of its copy, and row · E + expert; and, [.., E], 1 where a row is sent
/// and 0 elsewhere, which has no gradient.
/// </summary>
internal sealed record Route(int Chosen) : KernelOperator
{
    public const int Rows = 0, Experts = 1, Copies = 2, Choices = 3, Mask = 4;

    public override string Mnemonic => "route";

    public override string Attributes => Chosen.ToString(CultureInfo.InvariantCulture);

    public override IReadOnlyList<string>? ResultNames => ["rows", "experts", "copies", "choices", "mask"];

    public override IReadOnlyList<TensorType> Infer(IReadOnlyList<TensorType> inputs)
    {
        Require(inputs.Count == 1 && inputs[0].Element == ElementType.Float32 && inputs[0].Shape.Rank > 1 && Chosen >= 1 && Chosen <= inputs[0].Shape.Columns, $"{Attributes} experts are not in {List(inputs)}");
        TensorType indices = TensorType.Int(inputs[0].Shape.WithLast(Chosen));
        return [indices, indices, indices, indices, inputs[0]];
    }

    public override void Gradient(GradientContext context)
    {
    }

    public override long Flops(Node node) => node.Inputs[0].Shape.MaximumElements * Chosen;
}

/// <summary>
/// The product of each row with its expert's matrix: x [.., C], w [E, N, C] and experts i32 [..] to [.., N], y = w[expert]·x; or, <c>IsTransposed</c>, w [E, C, N], y = w[expert]ᵀ·x. It is quickest where rows of one expert follow each other.
/// </summary>
internal sealed record ExpertMatMul(bool IsTransposed = false) : KernelOperator
{
    public override string Mnemonic => "expert_matmul";

    public override string Attributes => IsTransposed ? "transposed" : "";

    public override IReadOnlyList<TensorType> Infer(IReadOnlyList<TensorType> inputs)
    {
        Require(inputs.Count == 3 && inputs[0].Shape.Rank > 1 && inputs[1].Shape.Rank == 3 && inputs[1].Shape[IsTransposed ? 1 : 2] == inputs[0].Shape[-1] && inputs[2].Equals(TensorType.Int(new Shape(inputs[0].Shape.Dims.Take(inputs[0].Shape.Rank - 1)))),
            $"the inputs do not fit: {List(inputs)}");
        return Single(TensorType.Float(inputs[0].Shape.WithLast(inputs[1].Shape[IsTransposed ? 2 : 1])));
    }

    public override int? IndexLimit(Node node, int input) => input == 2 ? node.Inputs[1].Shape[0].Maximum : null;

    public override long Flops(Node node) => 2 * node.Inputs[0].Shape.MaximumElements * node.Outputs[0].Shape.Columns;

    public override void Gradient(GradientContext context)
    {
        context.Accumulate(0, () => context.Add(new ExpertMatMul(!IsTransposed), context.OutputCotangent(0), context.Input(1), context.Input(2)));
        context.Accumulate(1, () => IsTransposed
            ? context.Add(new ExpertWeightGradient(context.Input(1).Shape[0].Maximum), context.Input(0), context.OutputCotangent(0), context.Input(2))
            : context.Add(new ExpertWeightGradient(context.Input(1).Shape[0].Maximum), context.OutputCotangent(0), context.Input(0), context.Input(2)));
    }
}

/// <summary>The sum of the outer products of each expert's rows: a [.., N], b [.., C] and experts i32 [..] to [<c>Experts</c>, N, C].</summary>
internal sealed record ExpertWeightGradient(int Experts) : KernelOperator
{
    public override string Mnemonic => "expert_weight_gradient";

    public override IReadOnlyList<TensorType> Infer(IReadOnlyList<TensorType> inputs)
    {
        Require(inputs.Count == 3 && inputs[0].Shape.HasRowsOf(inputs[1].Shape) && inputs[2].Equals(TensorType.Int(new Shape(inputs[0].Shape.Dims.Take(inputs[0].Shape.Rank - 1)))), $"the inputs do not fit: {List(inputs)}");
        return Single(TensorType.Float(Shape.Of(Experts, inputs[0].Shape[-1], inputs[1].Shape[-1])));
    }

    public override int? IndexLimit(Node node, int input) => input == 2 ? Experts : null;

    public override long Flops(Node node) => 2 * node.Inputs[0].Shape.MaximumElements * node.Inputs[1].Shape.Columns;
}
