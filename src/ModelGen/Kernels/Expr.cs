using System;
using System.Collections.Generic;
using System.Globalization;

namespace ModelGen.Compiler.Kernels;

internal enum UnaryFunction
{
    Negate,
    Exp,
    Log,
    Tanh,
    Sigmoid,
    Erf,
    Sqrt,
}

internal enum BinaryFunction
{
    Add,
    Subtract,
    Multiply,
    Divide,
    Maximum,
    Minimum,
}

internal enum Comparison
{
    Equal,
    GreaterThan,
    GreaterThanOrEqual,
}

/// <summary>A number that is known only when a plan runs, the same for every element.</summary>
internal enum RuntimeScalarKind
{
    /// <summary>One over the number of targets that count towards the loss.</summary>
    LossNormalizer,

    /// <summary>One over the number of accumulated micro-batches.</summary>
    GradientScale,
}

/// <summary>
/// A scalar expression: what a kernel computes for one element. Expressions form a DAG: a backend computes a
/// shared subexpression once, so identity matters and equality is by reference.
/// </summary>
internal abstract class Expr
{
    public static Expr Constant(double value) => new ConstantExpr(value);

    public static Expr operator +(Expr a, Expr b)
        => a is ConstantExpr { Value: 0 } ? b : b is ConstantExpr { Value: 0 } ? a
            : Fold(a, b, (x, y) => x + y) ?? new BinaryExpr(BinaryFunction.Add, a, b);

    public static Expr operator -(Expr a, Expr b)
        => b is ConstantExpr { Value: 0 } ? a : a is ConstantExpr { Value: 0 } ? -b
            : Fold(a, b, (x, y) => x - y) ?? new BinaryExpr(BinaryFunction.Subtract, a, b);

    public static Expr operator *(Expr a, Expr b)
        => a is ConstantExpr { Value: 1 } ? b : b is ConstantExpr { Value: 1 } ? a
            : a is ConstantExpr { Value: 0 } ? a : b is ConstantExpr { Value: 0 } ? b
            : Fold(a, b, (x, y) => x * y) ?? new BinaryExpr(BinaryFunction.Multiply, a, b);

    public static Expr operator /(Expr a, Expr b)
        => b is ConstantExpr { Value: 1 } ? a : a is ConstantExpr { Value: 0 } ? a
            : Fold(a, b, (x, y) => x / y) ?? new BinaryExpr(BinaryFunction.Divide, a, b);

    public static Expr operator -(Expr a) => a is ConstantExpr c ? Constant(-c.Value) : new UnaryExpr(UnaryFunction.Negate, a);

    public static implicit operator Expr(double value) => Constant(value);

    public static Expr Apply(UnaryFunction function, Expr x) => new UnaryExpr(function, x);

    public static Expr Max(Expr a, Expr b) => new BinaryExpr(BinaryFunction.Maximum, a, b);

    public static Expr Min(Expr a, Expr b) => new BinaryExpr(BinaryFunction.Minimum, a, b);

    public static Expr Select(Comparison comparison, Expr left, Expr right, Expr then, Expr otherwise)
        => new SelectExpr(comparison, left, right, then, otherwise);

    private static Expr? Fold(Expr a, Expr b, Func<double, double, double> f)
        => a is ConstantExpr x && b is ConstantExpr y ? Constant(f(x.Value, y.Value)) : null;
}

/// <summary>A literal, rounded to single precision when it is printed.</summary>
internal sealed class ConstantExpr(double value) : Expr
{
    public double Value { get; } = value;

    public override string ToString() => Value.ToString("R", CultureInfo.InvariantCulture);
}

/// <summary>The element of operand <see cref="Operand"/> that belongs to the element being computed.</summary>
internal sealed class OperandExpr(int operand) : Expr
{
    public int Operand { get; } = operand;
}

/// <summary>The result of a row-wise reduction computed in an earlier phase of the same kernel.</summary>
internal sealed class RowValueExpr(int index) : Expr
{
    public int Index { get; } = index;
}

/// <summary>The accumulator of a matrix product, in an epilogue.</summary>
internal sealed class AccumulatorExpr : Expr;

/// <summary>The column of the element being computed, as a number.</summary>
internal sealed class ColumnExpr : Expr;

internal sealed class RuntimeScalarExpr(RuntimeScalarKind kind) : Expr
{
    public RuntimeScalarKind Kind { get; } = kind;
}

internal sealed class UnaryExpr(UnaryFunction function, Expr operand) : Expr
{
    public UnaryFunction Function { get; } = function;

    public Expr Operand { get; } = operand;
}

internal sealed class BinaryExpr(BinaryFunction function, Expr left, Expr right) : Expr
{
    public BinaryFunction Function { get; } = function;

    public Expr Left { get; } = left;

    public Expr Right { get; } = right;
}

internal sealed class SelectExpr(Comparison comparison, Expr left, Expr right, Expr then, Expr otherwise) : Expr
{
    public Comparison Comparison { get; } = comparison;

    public Expr Left { get; } = left;

    public Expr Right { get; } = right;

    public Expr Then { get; } = then;

    public Expr Otherwise { get; } = otherwise;
}

/// <summary>
/// A number in [0, 1) that depends on the step's seed, on <see cref="Stream"/> and on the element's position and on
/// nothing else, so that the backward pass draws the same one again instead of storing it.
/// </summary>
internal sealed class UniformExpr(int stream) : Expr
{
    public int Stream { get; } = stream;
}

/// <summary>Structural operations on expressions.</summary>
internal static class ExprTransforms
{
    /// <summary>Replaces leaves (and anything else <paramref name="replace"/> answers for), keeping what is shared shared.</summary>
    public static Expr Rewrite(Expr expr, Func<Expr, Expr?> replace) => Rewrite(expr, replace, []);

    private static Expr Rewrite(Expr expr, Func<Expr, Expr?> replace, Dictionary<Expr, Expr> done)
    {
        if (!done.TryGetValue(expr, out Expr? result))
        {
            result = replace(expr) ?? expr switch
            {
                UnaryExpr u => new UnaryExpr(u.Function, Rewrite(u.Operand, replace, done)),
                BinaryExpr b => new BinaryExpr(b.Function, Rewrite(b.Left, replace, done), Rewrite(b.Right, replace, done)),
                SelectExpr s => new SelectExpr(s.Comparison, Rewrite(s.Left, replace, done), Rewrite(s.Right, replace, done), Rewrite(s.Then, replace, done), Rewrite(s.Otherwise, replace, done)),
                _ => expr,
            };
            done.Add(expr, result);
        }

        return result;
    }

    /// <summary>Visits every node of the DAG once, operands before their users.</summary>
    public static void Visit(Expr expr, Action<Expr> visit, HashSet<Expr>? seen = null)
    {
        seen ??= [];
        if (!seen.Add(expr))
        {
            return;
        }

        switch (expr)
        {
            case UnaryExpr u:
                Visit(u.Operand, visit, seen);
                break;
            case BinaryExpr b:
                Visit(b.Left, visit, seen);
                Visit(b.Right, visit, seen);
                break;
            case SelectExpr s:
                Visit(s.Left, visit, seen);
                Visit(s.Right, visit, seen);
                Visit(s.Then, visit, seen);
                Visit(s.Otherwise, visit, seen);
                break;
        }

        visit(expr);
    }

    /// <summary>The nodes that one is made of.</summary>
    public static IReadOnlyList<Expr> Children(Expr expr) => expr switch
    {
        UnaryExpr u => [u.Operand],
        BinaryExpr b => [b.Left, b.Right],
        SelectExpr s => [s.Left, s.Right, s.Then, s.Otherwise],
        _ => [],
    };

    /// <summary>The number of floating-point operations one element costs; a transcendental function counts as ten.</summary>
    public static int Cost(Expr expr)
    {
        int cost = 0;
        Visit(expr, e => cost += e switch
        {
            UnaryExpr { Function: UnaryFunction.Negate } => 1,
            UnaryExpr { Function: UnaryFunction.Sqrt } => 4,
            UnaryExpr => 10,
            BinaryExpr { Function: BinaryFunction.Divide } => 4,
            BinaryExpr => 1,
            SelectExpr => 2,
            UniformExpr => 10,
            _ => 0,
        });
        return cost;
    }

    /// <summary>The derivative of an expression with respect to operand <paramref name="operand"/>, by the chain rule.</summary>
    public static Expr Differentiate(Expr expr, int operand) => Differentiate(expr, operand, []);

    private static Expr Differentiate(Expr expr, int operand, Dictionary<Expr, Expr> done)
    {
        if (done.TryGetValue(expr, out Expr? known))
        {
            return known;
        }

        Expr D(Expr e) => Differentiate(e, operand, done);
        Expr derivative = expr switch
        {
            OperandExpr o => o.Operand == operand ? 1.0 : 0.0,
            UnaryExpr u => D(u.Operand) is ConstantExpr { Value: 0 } zero ? zero : u.Function switch
            {
                UnaryFunction.Negate => -D(u.Operand),
                UnaryFunction.Exp => expr * D(u.Operand),
                UnaryFunction.Log => D(u.Operand) / u.Operand,
                UnaryFunction.Tanh => (1.0 - (expr * expr)) * D(u.Operand),
                UnaryFunction.Sigmoid => (expr * (1.0 - expr)) * D(u.Operand),
                UnaryFunction.Erf => (Expr.Constant(2 / Math.Sqrt(Math.PI)) * Expr.Apply(UnaryFunction.Exp, -(u.Operand * u.Operand))) * D(u.Operand),
                UnaryFunction.Sqrt => (0.5 / expr) * D(u.Operand),
                _ => throw new InvalidOperationException(u.Function.ToString()),
            },
            BinaryExpr b => b.Function switch
            {
                BinaryFunction.Add => D(b.Left) + D(b.Right),
                BinaryFunction.Subtract => D(b.Left) - D(b.Right),
                BinaryFunction.Multiply => (D(b.Left) * b.Right) + (b.Left * D(b.Right)),
                BinaryFunction.Divide => (D(b.Left) - (expr * D(b.Right))) / b.Right,
                BinaryFunction.Maximum => Expr.Select(Comparison.GreaterThan, b.Left, b.Right, D(b.Left), D(b.Right)),
                BinaryFunction.Minimum => Expr.Select(Comparison.GreaterThan, b.Left, b.Right, D(b.Right), D(b.Left)),
                _ => throw new InvalidOperationException(b.Function.ToString()),
            },
            SelectExpr s => Expr.Select(s.Comparison, s.Left, s.Right, D(s.Then), D(s.Otherwise)),
            _ => 0.0,
        };
        done.Add(expr, derivative);
        return derivative;
    }
}
