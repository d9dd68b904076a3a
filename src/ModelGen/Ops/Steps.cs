using System;
using System.Collections.Generic;
using System.Globalization;
using ModelGen.Compiler.Autodiff;
using ModelGen.Compiler.Graph;

namespace ModelGen.Compiler.Ops;

/// <summary>
/// A sequence behind the <c>Steps</c> steps that came before it: x [B, T, C] to [B, <c>Steps</c> + T, C]. Inputs: x and, where a sequence goes on, those steps
/// [B, <c>Steps</c>, C]; at a sequence's beginning they are zeros. Sessions carry them from run to run as a state.
/// </summary>
internal sealed record Preceded(int Steps) : KernelOperator
{
    public override string Mnemonic => "preceded";

    public override string Attributes => Steps.ToString(CultureInfo.InvariantCulture);

    public override IReadOnlyList<TensorType> Infer(IReadOnlyList<TensorType> inputs)
    {
        Require(Steps > 0 && inputs.Count is 1 or 2 && inputs[0].Element == ElementType.Float32 && inputs[0].Shape.Rank == 3
            && (inputs.Count == 1 || inputs[1].Equals(TensorType.Float(Before(inputs[0].Shape)))), $"{Attributes} steps do not fit: {List(inputs)}");
        Shape shape = inputs[0].Shape;
        return Single(TensorType.Float(Shape.Of(shape[0], shape[1] + Steps, shape[2])));
    }

    /// <summary>The shape of the steps before a sequence.</summary>
    public Shape Before(Shape of) => Shape.Of(of[0], Steps, of[2]);

    public override void Gradient(GradientContext context)
    {
        context.Accumulate(0, () => context.Add(new SliceSteps(Steps, context.Input(0).Shape[1]), context.OutputCotangent(0)));
        if (context.Node.Inputs.Count > 1)
        {
            context.Accumulate(1, () => context.Add(new SliceSteps(0, Steps), context.OutputCotangent(0)));
        }
    }
}

/// <summary><c>Length</c> steps of a sequence [B, T, C], from step <c>Offset</c> on.</summary>
internal sealed record SliceSteps(int Offset, Dim Length) : ViewOperator
{
    public override string Mnemonic => "slice_steps";

    public override string Attributes => string.Format(CultureInfo.InvariantCulture, "{0}..{1}", Offset, Length + Offset);

    public override Operator BindExtents(Func<Dim, Dim> bind) => this with { Length = bind(Length) };

    public override IReadOnlyList<TensorType> Infer(IReadOnlyList<TensorType> inputs)
    {
        Require(inputs.Count == 1 && inputs[0].Element == ElementType.Float32 && inputs[0].Shape.Rank == 3 && Offset >= 0 && Holds(inputs[0].Shape[1]), $"steps {Attributes} are not in {List(inputs)}");
        return Single(TensorType.Float(Shape.Of(inputs[0].Shape[0], Length, inputs[0].Shape[2])));
    }

    public override void Gradient(GradientContext context)
        => context.Accumulate(0, () => context.Add(new PadSteps(Offset, context.Input(0).Shape[1].Maximum), context.OutputCotangent(0)));

    // Whatever a varying number of steps is, which is 1 at least.
    private bool Holds(Dim steps) => steps.IsLiteral ? Length.IsLiteral && Offset + Length.Maximum <= steps.Maximum
        : Length.IsLiteral ? Offset + Length.Maximum <= steps.Plus + 1
        : Length.Symbol == steps.Symbol && Length.Maximum - Length.Plus == steps.Maximum - steps.Plus && Offset + Length.Plus <= steps.Plus;
}

/// <summary>A sequence as the steps from <c>Offset</c> on of a longer one that is zero before and behind: <see cref="SliceSteps"/>, backwards.</summary>
internal sealed record PadSteps(int Offset, int Steps) : KernelOperator
{
    public override string Mnemonic => "pad_steps";

    public override string Attributes => string.Format(CultureInfo.InvariantCulture, "at {0} of {1}", Offset, Steps);

    public override IReadOnlyList<TensorType> Infer(IReadOnlyList<TensorType> inputs)
    {
        Require(inputs.Count == 1 && inputs[0].Element == ElementType.Float32 && inputs[0].Shape.Rank == 3 && inputs[0].Shape[1].IsLiteral && Offset >= 0 && Offset + (long)inputs[0].Shape[1].Maximum <= Steps,
            $"{Attributes} steps do not hold {List(inputs)}");
        return Single(TensorType.Float(Shape.Of(inputs[0].Shape[0], Steps, inputs[0].Shape[2])));
    }

    public override void Gradient(GradientContext context)
        => context.Accumulate(0, () => context.Add(new SliceSteps(Offset, context.Input(0).Shape[1]), context.OutputCotangent(0)));
}

/// <summary>The last <c>Steps</c> steps of a sequence [B, T, C], which is that long whatever T is.</summary>
internal sealed record LastSteps(int Steps) : ViewOperator
{
    public override string Mnemonic => "last_steps";

    public override string Attributes => Steps.ToString(CultureInfo.InvariantCulture);

    public override IReadOnlyList<TensorType> Infer(IReadOnlyList<TensorType> inputs)
    {
        Require(inputs.Count == 1 && inputs[0].Element == ElementType.Float32 && inputs[0].Shape.Rank == 3 && Steps > 0 && Steps <= (inputs[0].Shape[1].IsLiteral ? inputs[0].Shape[1].Maximum : inputs[0].Shape[1].Plus + 1),
            $"{List(inputs)} may be shorter than {Attributes} steps");
        return Single(TensorType.Float(Shape.Of(inputs[0].Shape[0], Steps, inputs[0].Shape[2])));
    }

    public override void Gradient(GradientContext context)
        => context.Accumulate(0, () => context.Add(new PadSteps(context.Input(0).Shape[1].Maximum - Steps, context.Input(0).Shape[1].Maximum), context.OutputCotangent(0)));
}

/// <summary>
/// A causal convolution over time, of each channel by itself: y[t] = Σᵢ w[i] ⊙ x[t − K + 1 + i] of K taps, where steps before a sequence's first are zeros, or what a session carries on.
/// Inputs: x [B, T, C], w [K, C] and, optionally, a bias [C].
/// </summary>
internal sealed record CausalConvolution : CompositeOperator
{
    public override string Mnemonic => "causal_convolution";

    public override IReadOnlyList<TensorType> Infer(IReadOnlyList<TensorType> inputs)
    {
        Require(inputs.Count is 2 or 3 && inputs[0].Shape.Rank == 3 && inputs[1].Shape.Rank == 2 && inputs[1].Shape.Columns == inputs[0].Shape.Columns && (inputs.Count == 2 || inputs[2].Shape.Equals(Shape.Of(inputs[0].Shape[2]))),
            $"the inputs do not fit: {List(inputs)}");
        return Single(inputs[0]);
    }

    public override long Flops(Node node) => 2 * node.Outputs[0].Shape.MaximumElements * node.Inputs[1].Shape[0].Maximum;

    public override IReadOnlyList<Value> Expand(GraphBuilder b, string name, IReadOnlyList<Value> inputs)
    {
        (Value x, Value weight) = (inputs[0], inputs[1]);
        int taps = weight.Shape[0].Maximum;
        Value all = taps == 1 ? x : b.Add(new Preceded(taps - 1), name + ".all", x);
        Value sum = default;
        for (int i = 0; i < taps; i++)
        {
            Value step = taps == 1 ? x : b.Add(new SliceSteps(i, x.Shape[1]), name + ".steps", all);
            bool isLast = i == taps - 1 && inputs.Count == 2;
            Value tap = b.Add(new Multiply(), taps == 1 && isLast ? name : name + ".tap", step, b.Add(new SliceRows(i, 1), name + ".weight", weight));
            sum = i == 0 ? tap : b.Add(new Add(), isLast ? name : name + ".sum", sum, tap);
        }

        return [inputs.Count == 2 ? sum : b.Add(new Add(), name, sum, inputs[2])];
    }
}
