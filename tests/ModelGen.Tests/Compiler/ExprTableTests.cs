using ModelGen.Compiler.Kernels;
using ModelGen.Compiler.Ops;

namespace ModelGen.Tests.Compiler;

/// <summary>Equal expressions become one node, and no others.</summary>
public sealed class ExprTableTests
{
    [Fact]
    public void Equal_expressions_become_one()
    {
        var table = new ExprTable();
        foreach (Func<Expr> make in (Func<Expr>[])
        [
            () => new ConstantExpr(0.1), () => new OperandExpr(3), () => new RowValueExpr(1), () => new UniformExpr(2), () => new RuntimeScalarExpr(RuntimeScalarKind.GradientScale),
            () => new AccumulatorExpr(), () => new ColumnExpr(), () => Expr.Apply(UnaryFunction.Tanh, new OperandExpr(0)), () => new OperandExpr(0) - new OperandExpr(1),
            () => Expr.Select(Comparison.Equal, new OperandExpr(0), 1.0, new OperandExpr(1), new AccumulatorExpr()),
        ])
        {
            Expr first = table.Unify(make());
            Assert.Same(first, table.Unify(make()));
            Assert.Same(first, table.Unify(first));
        }
    }

    [Fact]
    public void Sums_and_products_are_the_same_either_way_round()
    {
        var table = new ExprTable();
        (Expr a, Expr b) = (new OperandExpr(0), new OperandExpr(1));
        Assert.Same(table.Unify(a + b), table.Unify(b + a));
        Assert.Same(table.Unify(a * b), table.Unify(b * a));
        Assert.NotSame(table.Unify(a - b), table.Unify(b - a));
        Assert.NotSame(table.Unify(a / b), table.Unify(b / a));

        // With a NaN, the order of a maximum counts.
        Assert.NotSame(table.Unify(Expr.Max(a, b)), table.Unify(Expr.Max(b, a)));
    }

    [Fact]
    public void Different_expressions_stay_apart()
    {
        var table = new ExprTable();
        Expr x = new OperandExpr(0);
        Expr[] all =
        [
            0.0, -0.0, 1.0, x, new OperandExpr(1), new RowValueExpr(0), new RowValueExpr(1), new UniformExpr(0), new UniformExpr(1), new AccumulatorExpr(), new ColumnExpr(),
            new RuntimeScalarExpr(RuntimeScalarKind.GradientScale), new RuntimeScalarExpr(RuntimeScalarKind.LossNormalizer), Expr.Apply(UnaryFunction.Exp, x), Expr.Apply(UnaryFunction.Log, x),
            x + new OperandExpr(1), x * new OperandExpr(1), Expr.Select(Comparison.Equal, x, 0.0, x, 1.0), Expr.Select(Comparison.GreaterThan, x, 0.0, x, 1.0), Expr.Select(Comparison.Equal, x, 0.0, 1.0, x),
        ];
        Assert.Equal(all.Length, all.Select(table.Unify).Distinct().Count());
    }

    /// <summary>What the table is for: a kernel that stores an activation and its derivative takes the sigmoid of both once.</summary>
    [Fact]
    public void A_derivative_shares_what_the_function_computed()
    {
        Expr gelu = new GeluTanh().Express([new OperandExpr(0)]);
        Expr derivative = ExprTransforms.Differentiate(new GeluTanh().Express([new OperandExpr(0)]), 0);
        var table = new ExprTable();
        var nodes = new HashSet<Expr>();
        ExprTransforms.Visit(table.Unify(gelu), _ => { }, nodes);
        ExprTransforms.Visit(table.Unify(derivative), _ => { }, nodes);
        Assert.Single(nodes, n => n is UnaryExpr { Function: UnaryFunction.Sigmoid });
    }
}
