using System;
using System.Collections.Generic;
using System.Linq;
using ModelGen.Compiler.Autodiff;
using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Kernels;

namespace ModelGen.Compiler.Ops;

/// <summary>An operator whose every element is one scalar expression of the broadcast elements of its inputs.</summary>
internal abstract record ElementwiseOperator : Operator
{
    public abstract int Arity { get; }

    /// <summary>The element as an expression of the inputs' elements.</summary>
    public abstract Expr Express(IReadOnlyList<Expr> inputs);

    public override bool IsRowWise => true;

    public override IReadOnlyList<TensorType> Infer(IReadOnlyList<TensorType> inputs)
    {
        Require(inputs.Count == Arity, $"takes {Arity} inputs and got {inputs.Count}");
        Require(inputs.All(i => i.Element == ElementType.Float32), $"takes f32 and got {List(inputs)}");
        return Single(TensorType.Float(inputs.Select(i => i.Shape).Aggregate(Shape.Broadcast)));
    }

    public override long Flops(Node node)
        => node.Outputs[0].Shape.MaximumElements * ExprTransforms.Cost(Express(Enumerable.Range(0, Arity).Select(i => (Expr)new OperandExpr(i)).ToArray()));
}

/// <summary>An element-wise function of one input; unless it states better, its gradient is its expression differentiated.</summary>
internal abstract record UnaryOperator : ElementwiseOperator
{
    public override int Arity => 1;

    public abstract Expr Express(Expr x);

    public override Expr Express(IReadOnlyList<Expr> inputs) => Express(inputs[0]);

    public override void Gradient(GradientContext context)
        => context.Accumulate(0, () => context.Multiply(context.OutputCotangent(0), context.Builder.Add(new Derivative(this), context.Node.Name + ".derivative", context.Input(0))));
}

/// <summary>The derivative of a unary operator at its input, derived from the operator's expression.</summary>
internal sealed record Derivative(UnaryOperator Of) : UnaryOperator
{
    public override string Mnemonic => "derivative";

    public override string? Spell(IReadOnlyList<string> inputs) => Of.Spell(inputs) is null ? $"{Of.Mnemonic}'({inputs[0]})" : null;

    public override string Attributes => Of.Attributes.Length == 0 ? Of.Mnemonic : Of.Mnemonic + " " + Of.Attributes;

    public override Expr Express(Expr x)
    {
        // Differentiated with respect to a leaf of its own, which x then takes the place of.
        var leaf = new OperandExpr(0);
        Expr derivative = ExprTransforms.Differentiate(Of.Express(leaf), 0);
        return ExprTransforms.Rewrite(derivative, e => ReferenceEquals(e, leaf) ? x : null);
    }

    public override void Gradient(GradientContext context) => throw new GraphException("second derivatives are not supported");
}
