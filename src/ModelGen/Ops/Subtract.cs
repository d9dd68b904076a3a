using System.Collections.Generic;
using ModelGen.Compiler.Autodiff;
using ModelGen.Compiler.Kernels;

namespace ModelGen.Compiler.Ops;

/// <summary>Difference. The inputs broadcast.</summary>
internal sealed record Subtract : ElementwiseOperator
{
    public override string Mnemonic => "subtract";

    public override string? Spell(IReadOnlyList<string> inputs) => $"({inputs[0]} - {inputs[1]})";

    public override int Arity => 2;

    public override Expr Express(IReadOnlyList<Expr> inputs) => inputs[0] - inputs[1];

    public override void Gradient(GradientContext context)
    {
        context.Accumulate(0, context.OutputCotangent(0));
        context.Accumulate(1, () => context.Scale(context.OutputCotangent(0), -1));
    }
}
