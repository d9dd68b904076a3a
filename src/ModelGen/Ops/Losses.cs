using System.Collections.Generic;
using System.Globalization;
using System.Linq;
using ModelGen.Compiler.Graph;

namespace ModelGen.Compiler.Ops;

/// <summary>
/// The cross-entropy of each row from logits, log Σ exp(x) − x[target], shifted by the row's maximum; zero where the
/// target is −1. With <c>Smoothing</c> ε the target's probability is to be 1 − ε, and ε is shared by all classes alike, the target's own too: label
/// smoothing (Szegedy et al. 2016, section 7), log Σ exp(x) − (1 − ε)·x[target] − ε·mean(x). Inputs: logits [.., V], targets i32 [..]; result [.., 1].
/// </summary>
internal sealed record CrossEntropy(double Smoothing = 0) : CompositeOperator
{
    public override string Mnemonic => "cross_entropy";

    public override string Attributes => Smoothing == 0 ? "" : string.Format(CultureInfo.InvariantCulture, "smoothing={0:R}", Smoothing);

    public override IReadOnlyList<TensorType> Infer(IReadOnlyList<TensorType> inputs)
    {
        Require(inputs.Count == 2 && inputs[1].Element == ElementType.Int32 && inputs[0].Shape.Dims.Take(inputs[0].Shape.Rank - 1).SequenceEqual(inputs[1].Shape.Dims), $"takes logits and targets and got {List(inputs)}");
        return Single(TensorType.Float(inputs[0].Shape.WithLast(1)));
    }

    public override IReadOnlyList<Value> Expand(GraphBuilder b, string name, IReadOnlyList<Value> inputs)
    {
        Value maximum = b.Add(new StopGradient(), name + ".shift", b.Add(new RowMax(), name + ".maximum", inputs[0]));

        // A choice and no product: what a row holds that does not count, be it infinite, counts neither in the loss nor in the gradient.
        Value counts = b.Add(new IsTarget(), name + ".counts", inputs[1]), zero = b.Add(new Constant(0, Shape.Scalar), "");
        Value x = b.Add(new Where(), name + ".logits", counts, inputs[0], zero);
        Value exponentials = b.Add(new Exp(), name + ".exp", b.Add(new Subtract(), name + ".shifted", x, maximum));
        Value logSum = b.Add(new Add(), name + ".logsumexp", b.Add(new Log(), name + ".log", b.Add(new RowSum(), name + ".sum", exponentials)), maximum);
        Value chosen = b.Add(new RowSum(), name + ".target_logit", b.Add(new SelectColumn(x.Shape.Columns), name + ".target_column", x, inputs[1]));
        if (Smoothing > 0)
        {
            Value mean = b.Add(new Affine(Smoothing / x.Shape.Columns, 0), name + ".uniform", b.Add(new RowSum(), name + ".logits_sum", x));
            chosen = b.Add(new Add(), name + ".smoothed", b.Add(new Affine(1 - Smoothing, 0), name + ".target", chosen), mean);
        }

        Value loss = b.Add(new Subtract(), name + ".nll", logSum, chosen);
        return [b.Add(new Where(), name, counts, loss, zero)];
    }
}

/// <summary>½(y − t)², summed over the columns. Inputs: y and t [.., C]; result [.., 1].</summary>
internal sealed record SquaredError : CompositeOperator
{
    public override string Mnemonic => "squared_error";

    public override IReadOnlyList<TensorType> Infer(IReadOnlyList<TensorType> inputs)
    {
        Require(inputs.Count == 2 && inputs[0].Equals(inputs[1]), $"takes predictions and targets and got {List(inputs)}");
        return Single(TensorType.Float(inputs[0].Shape.WithLast(1)));
    }

    public override IReadOnlyList<Value> Expand(GraphBuilder b, string name, IReadOnlyList<Value> inputs)
    {
        Value difference = b.Add(new Subtract(), name + ".difference", inputs[0], inputs[1]);
        Value squares = b.Add(new Multiply(), name + ".squared", difference, difference);
        return [b.Add(new Affine(0.5, 0), name, b.Add(new RowSum(), name + ".sum", squares))];
    }
}

/// <summary>
/// The binary cross-entropy of each column from logits x and targets t in [0, 1], log(1 + e^x) − t·x, summed over the
/// columns. Inputs: x and t [.., C]; result [.., 1].
/// </summary>
internal sealed record BinaryCrossEntropy : CompositeOperator
{
    public override string Mnemonic => "binary_cross_entropy";

    public override IReadOnlyList<TensorType> Infer(IReadOnlyList<TensorType> inputs)
    {
        Require(inputs.Count == 2 && inputs[0].Equals(inputs[1]), $"takes logits and targets and got {List(inputs)}");
        return Single(TensorType.Float(inputs[0].Shape.WithLast(1)));
    }

    public override IReadOnlyList<Value> Expand(GraphBuilder b, string name, IReadOnlyList<Value> inputs)
    {
        Value fit = b.Add(new Multiply(), name + ".fit", inputs[0], inputs[1]);
        return [b.Add(new RowSum(), name, b.Add(new Subtract(), name + ".nll", b.Add(new Softplus(), name + ".softplus", inputs[0]), fit))];
    }
}

/// <summary>The mean of per-row losses over the targets that count: their sum times the run's normalizer, a scalar.</summary>
internal sealed record MeanLoss : CompositeOperator
{
    public override string Mnemonic => "mean_loss";

    public override IReadOnlyList<TensorType> Infer(IReadOnlyList<TensorType> inputs)
    {
        Require(inputs.Count == 1 && inputs[0].Shape.Columns == 1, $"takes per-row losses and got {List(inputs)}");
        return Single(TensorType.Float(Shape.Of(1, 1)));
    }

    public override IReadOnlyList<Value> Expand(GraphBuilder b, string name, IReadOnlyList<Value> inputs)
    {
        Value row = b.Add(new Reshape(Shape.Of(1, checked((int)inputs[0].Shape.MaximumElements))), name + ".row", inputs[0]);
        Value normalizer = b.Add(new RuntimeScalar(Kernels.RuntimeScalarKind.LossNormalizer), "");
        return [b.Add(new Multiply(), name, b.Add(new RowSum(), name + ".sum", row), normalizer)];
    }
}

/// <summary>
/// What is lost by sending many rows to few of E experts (Fedus et al. 2021, equations 4 to 6): E · Σ f · P of the rows f that an expert gets and its mean probability P. Inputs: probabilities [.., E], and [.., E], 1 where a row is sent; result [1, 1].
/// </summary>
internal sealed record BalanceLoss : CompositeOperator
{
    public override string Mnemonic => "balance_loss";

    public override IReadOnlyList<TensorType> Infer(IReadOnlyList<TensorType> inputs)
    {
        Require(inputs.Count == 2 && inputs[0].Equals(inputs[1]) && inputs[0].Shape.Rank > 1, $"takes probabilities and what is sent and got {List(inputs)}");
        return Single(TensorType.Float(Shape.Of(1, 1)));
    }

    public override IReadOnlyList<Value> Expand(GraphBuilder b, string name, IReadOnlyList<Value> inputs)
    {
        int experts = inputs[0].Shape.Columns;
        double rows = inputs[0].Shape.Rows.Maximum;
        Value Sum(string what, Value of) => b.Add(new Reshape(Shape.Of(1, experts)), name + what, b.Add(new ColumnSum(Shape.Of(experts)), name + what, of));
        Value product = b.Add(new Multiply(), name + ".product", Sum(".probabilities", inputs[0]), Sum(".sent", inputs[1]));
        return [b.Add(new Affine(experts / (rows * rows), 0), name, b.Add(new RowSum(), name + ".sum", product))];
    }
}
