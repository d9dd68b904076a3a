using System.Collections.Generic;
using System.Linq;
using ModelGen.Compiler.Autodiff;
using ModelGen.Compiler.Graph;

namespace ModelGen.Compiler.Ops;

/// <summary>Which operand of a matrix product is taken transposed. The outer extents of the first operand count as rows.</summary>
internal enum MatMulForm
{
    /// <summary>x [.., K] · W [N, K]ᵀ = [.., N]: a linear layer.</summary>
    NT,

    /// <summary>x [.., K] · W [K, N] = [.., N]: a linear layer's input gradient.</summary>
    NN,

    /// <summary>a [.., N]ᵀ · b [.., K] = [N, K], contracted over all outer extents: a linear layer's weight gradient.</summary>
    TN,
}

/// <summary>A matrix product. The three forms are closed under differentiation.</summary>
internal sealed record MatMul(MatMulForm Form) : KernelOperator
{
    /// <summary>
    /// Whether each row of the result is summed in the order in which it would be as the only one: rows that different sequences have in
    /// one product are then bit for bit those of their own products.
    /// </summary>
    public bool RowByRow { get; init; }

    public override string Mnemonic => "matmul";

    public override string Attributes => Form + (RowByRow ? " row by row" : "");

    public override bool IsRowWise => Form != MatMulForm.TN;

    public override IReadOnlyList<TensorType> Infer(IReadOnlyList<TensorType> inputs)
    {
        Require(Form == MatMulForm.NT || !RowByRow, $"only the rows of a linear layer are summed one by one");
        Require(inputs.Count == 2 && inputs.All(i => i.Element == ElementType.Float32), $"takes two f32 tensors and got {List(inputs)}");
        Shape a = inputs[0].Shape;
        Shape b = inputs[1].Shape;
        if (Form == MatMulForm.TN)
        {
            Require(a.Dims.Take(a.Rank - 1).SequenceEqual(b.Dims.Take(b.Rank - 1)), $"rows differ: {List(inputs)}");
            return Single(TensorType.Float(Shape.Of(a[-1], b[-1])));
        }

        (Dim contracted, Dim columns) = Form == MatMulForm.NT ? (b[-1], b[0]) : (b[0], b[-1]);
        Require(b.Rank == 2 && a[-1] == contracted, $"the contracted extents differ: {List(inputs)}");
        return Single(TensorType.Float(a.WithLast(columns)));
    }

    public override void Gradient(GradientContext context)
    {
        Value d = context.OutputCotangent(0);
        Value a = context.Input(0);
        Value b = context.Input(1);
        switch (Form)
        {
            case MatMulForm.NT:
                context.Accumulate(0, () => context.Add(new MatMul(MatMulForm.NN), d, b));
                context.Accumulate(1, () => context.Add(new MatMul(MatMulForm.TN), d, a));
                break;
            case MatMulForm.NN:
                context.Accumulate(0, () => context.Add(new MatMul(MatMulForm.NT), d, b));
                context.Accumulate(1, () => context.Add(new MatMul(MatMulForm.TN), a, d));
                break;
            default:
                context.Accumulate(0, () => context.Add(new MatMul(MatMulForm.NT), b, d));
                context.Accumulate(1, () => context.Add(new MatMul(MatMulForm.NN), a, d));
                break;
        }
    }

    public override long Flops(Node node)
        => 2 * node.Outputs[0].Shape.MaximumElements * (Form == MatMulForm.TN ? node.Inputs[0].Shape.Rows.Maximum : node.Inputs[0].Shape.Columns);
}
