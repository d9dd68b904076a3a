using System;
using System.Collections.Generic;
using System.Linq;
using System.Runtime.CompilerServices;
using ModelGen.Compiler.Autodiff;
using ModelGen.Compiler.Graph;

namespace ModelGen.Compiler.Ops;

/// <summary>
/// An operation and its attributes; two operators are equal when their attributes are. An operator states its
/// shape rule, its cost and its gradient, and the base class it derives from states how it lowers:
/// <see cref="ElementwiseOperator"/> and <see cref="RowReduction"/> by an expression that is fused into a kernel,
/// <see cref="ViewOperator"/> by an address, <see cref="CompositeOperator"/> by other operators, and
/// <see cref="KernelOperator"/> by a kernel class of its own.
/// </summary>
internal abstract record Operator
{
    public abstract string Mnemonic { get; }

    /// <summary>The attributes as the graph printer shows them.</summary>
    public virtual string Attributes => "";

    /// <summary>What several results are called behind the node's name, empty for the node's name alone; null where there is one.</summary>
    public virtual IReadOnlyList<string>? ResultNames => null;

    /// <summary>The operation in the mathematical notation of its inputs' names; null where it is written as a function of them.</summary>
    public virtual string? Spell(IReadOnlyList<string> inputs) => null;

    /// <summary>The numbers that are written behind the inputs where the operation is written as a function of them.</summary>
    public virtual IReadOnlyList<string> Constants => [];

    /// <summary>The shape rule: the types of the results for inputs of these types.</summary>
    public abstract IReadOnlyList<TensorType> Infer(IReadOnlyList<TensorType> inputs);

    /// <summary>The operator with other extents in its attributes. Every operator that holds an extent, a shape, a type or a body overrides this.</summary>
    public virtual Operator BindExtents(Func<Dim, Dim> bind) => this;

    /// <summary>Adds to the inputs' cotangents what flows back through this operator.</summary>
    public virtual void Gradient(GradientContext context)
        => throw new GraphException($"{Mnemonic} has no gradient, and one is asked for at {context.Node}");

    /// <summary>The floating-point operations of one evaluation at the largest extents.</summary>
    public virtual long Flops(Node node) => 0;

    /// <summary>The least number that an index in an input of integers may not be: where it would lead out of what it points into. Null for none.</summary>
    public virtual int? IndexLimit(Node node, int input) => null;

    /// <summary>
    /// Whether each row of the result depends on the same row of the first input alone (the other inputs are
    /// parameters or have the same rows), so that taking some of the rows commutes with the operator.
    /// </summary>
    public virtual bool IsRowWise => false;

    protected static IReadOnlyList<TensorType> Single(TensorType type) => [type];

    protected void Require(bool condition, [InterpolatedStringHandlerArgument(nameof(condition))] ProblemText problem)
    {
        if (!condition)
        {
            throw new GraphException($"{Mnemonic}: {problem}");
        }
    }

    /// <summary>Requires inputs of one integer for each sequence of a batch.</summary>
    protected void RequirePerSequence(IEnumerable<TensorType> inputs, Dim batch)
    {
        foreach (TensorType input in inputs)
        {
            Require(input.Equals(TensorType.Int(Shape.Of(batch))), $"{input} is not one integer for each of {batch} sequences");
        }
    }

    protected static string List(IReadOnlyList<TensorType> types) => string.Join(", ", types.Select(t => t.ToString()));
}

/// <summary>An operator that is written in terms of others and replaced by them before anything else looks at it.</summary>
internal abstract record CompositeOperator : Operator
{
    /// <summary>Whether it states a gradient, and is replaced behind the backward pass then.</summary>
    public virtual bool HasGradient => false;

    public abstract IReadOnlyList<Value> Expand(GraphBuilder builder, string name, IReadOnlyList<Value> inputs);
}

/// <summary>An operator that computes nothing: its result is another way to look at its input's memory.</summary>
internal abstract record ViewOperator : Operator;

/// <summary>An operator with a kernel class of its own.</summary>
internal abstract record KernelOperator : Operator;

/// <summary>A leaf of the graph: a parameter, an input, a state, a constant.</summary>
internal abstract record LeafOperator : Operator
{
    public override void Gradient(GradientContext context)
    {
    }
}
