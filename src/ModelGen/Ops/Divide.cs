using System.Collections.Generic;
using ModelGen.Compiler.Autodiff;
using ModelGen.Compiler.Kernels;

namespace ModelGen.Compiler.Ops;

/// <summary>Quotient of elements. The inputs broadcast.</summary>
internal sealed record Divide : ElementwiseOperator
{
    public override string Mnemonic => "divide";

    public override string? Spell(IReadOnlyList<string> inputs) => $"({inputs[0]} / {inputs[1]})";

    public override int Arity => 2;

    public override Expr Express(IReadOnlyList<Expr> inputs) => inputs[0] / inputs[1];

    public override void Gradient(GradientContext context)
    {
        context.Accumulate(0, () => context.Add(new Divide(), context.OutputCotangent(0), context.Input(1)));
        context.Accumulate(1, () => context.Scale(context.Multiply(context.OutputCotangent(0), context.Add(new Divide(), context.Output(0), context.Input(1))), -1));
    }
}
