using System;
using System.Collections.Generic;
using ModelGen.Compiler.Autodiff;
using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Kernels;

namespace ModelGen.Compiler.Ops;

/// <summary>The input stretched to a shape.</summary>
internal sealed record BroadcastTo(Shape Shape) : ElementwiseOperator
{
    public override string Mnemonic => "broadcast";

    public override string? Spell(IReadOnlyList<string> inputs) => inputs[0];

    public override int Arity => 1;

    public override Expr Express(IReadOnlyList<Expr> inputs) => inputs[0];

    public override Operator BindExtents(Func<Dim, Dim> bind) => this with { Shape = Shape.Select(bind) };

    public override IReadOnlyList<TensorType> Infer(IReadOnlyList<TensorType> inputs)
    {
        Require(inputs.Count == 1 && Shape.Broadcast(inputs[0].Shape, Shape).Equals(Shape), $"cannot stretch {List(inputs)} to {Shape}");
        return Single(TensorType.Float(Shape));
    }

    public override void Gradient(GradientContext context) => context.Accumulate(0, context.OutputCotangent(0));
}
