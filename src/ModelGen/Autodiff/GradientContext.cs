using System;
using System.Linq;
using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Ops;

namespace ModelGen.Compiler.Autodiff;

/// <summary>What an operator's gradient rule works with: one node, its results' cotangents, and a builder for the answer.</summary>
internal sealed class GradientContext(ReverseMode engine, Node node)
{
    private string _name = "d " + node.Name;

    public Node Node { get; } = node;

    public ReverseMode Engine => engine;

    public GraphBuilder Builder => engine.Builder;

    public Value Input(int index) => engine.Forward(Node.Inputs[index]);

    public Value Output(int index) => engine.Forward(new Value(Node, index));

    public bool HasCotangent(int output) => engine.HasCotangent(new Value(Node, output));

    /// <summary>The cotangent of a result; zeros where nothing depends on it.</summary>
    public Value OutputCotangent(int output) => engine.Cotangent(new Value(Node, output));

    /// <summary>Whether anything that is differentiated for depends on this input.</summary>
    public bool Needs(int input) => engine.Needs(Node.Inputs[input]);

    /// <summary>Adds to an input's cotangent; a cotangent of a broadcast result is summed to the input's shape.</summary>
    public void Accumulate(int input, Value cotangent) => Accumulate(input, () => cotangent);

    /// <summary>As <see cref="Accumulate(int, Value)"/>, and computes nothing for an input that needs no cotangent.</summary>
    public void Accumulate(int input, Func<Value> cotangent)
    {
        if (Needs(input))
        {
            // What is computed for an input is called after it: before it is summed, after its rows.
            string outer = _name, own = Node.Inputs[input].OwnName is { Length: > 0 } name ? "d " + name : outer;
            _name = own != outer && Node.Op is ElementwiseOperator && !Node.Outputs[0].Shape.Equals(Input(input).Shape) ? own + ".rows" : own;
            Value value = cotangent();
            _name = own;
            engine.Accumulate(Node.Inputs[input], SumTo(value, Input(input).Shape));
            _name = outer;
        }
    }

    public Value Add(Operator op, params Value[] inputs) => Builder.Add(op, _name, inputs);

    public Value[] AddAll(Operator op, params Value[] inputs) => Builder.AddMany(op, _name, inputs);

    public Value Multiply(Value a, Value b) => Add(new Multiply(), a, b);

    public Value Scale(Value a, double factor) => Add(new Affine(factor, 0), a);

    private Value SumTo(Value value, Shape shape)
    {
        if (value.Shape.Equals(shape))
        {
            return value;
        }

        Value rows = (shape.Rank == 0 || shape[-1] == (Dim)1) && value.Shape.Rank > 0 && value.Shape[-1] != (Dim)1 ? Add(new RowSum(), value) : value;
        if (rows.Shape.Equals(shape))
        {
            return rows;
        }

        if (shape.MaximumElements == 1)
        {
            Value total = rows.Shape.MaximumElements == 1 ? rows : Add(new ColumnSum(Shape.Of(1)), rows);
            return total.Shape.Equals(shape) ? total : Add(new Reshape(shape), total);
        }

        // Outer extents of one are summed over like those that are missing, and come back as a view.
        Value sum = Add(new ColumnSum(new Shape(shape.Dims.SkipWhile(d => d == (Dim)1))), rows);
        return sum.Shape.Equals(shape) ? sum : Add(new Reshape(shape), sum);
    }
}
