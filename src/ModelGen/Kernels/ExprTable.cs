using System;
using System.Collections.Generic;

namespace ModelGen.Compiler.Kernels;

/// <summary>
/// Makes one node of all that compute the same, so that a kernel computes it once: a function and its derivative come from different
/// places, and mostly the one holds the other.
/// </summary>
internal sealed class ExprTable
{
    private readonly Dictionary<(object Kind, Expr? A, Expr? B, Expr? C, Expr? D), Expr> _nodes = [];
    private readonly Dictionary<Expr, Expr> _done = [];

    /// <summary>The expression, with nodes that earlier ones have.</summary>
    public Expr Unify(Expr expr)
    {
        if (!_done.TryGetValue(expr, out Expr? unified))
        {
            unified = expr switch
            {
                ConstantExpr c => Node(expr, ("constant", BitConverter.DoubleToInt64Bits(c.Value))),
                OperandExpr o => Node(expr, ("operand", o.Operand)),
                RowValueExpr r => Node(expr, ("row", r.Index)),
                UniformExpr u => Node(expr, ("uniform", u.Stream)),
                RuntimeScalarExpr s => Node(expr, s.Kind),
                UnaryExpr u => Unary(u, Unify(u.Operand)),
                BinaryExpr b => Binary(b, Unify(b.Left), Unify(b.Right)),
                SelectExpr s => Select(s, Unify(s.Left), Unify(s.Right), Unify(s.Then), Unify(s.Otherwise)),
                _ => Node(expr, expr.GetType()),
            };
            _done[expr] = unified;
            _done[unified] = unified;
        }

        return unified;
    }

    private Expr Unary(UnaryExpr u, Expr x) => Node(x == u.Operand ? u : new UnaryExpr(u.Function, x), u.Function, x);

    private Expr Binary(BinaryExpr b, Expr left, Expr right)
    {
        // Sums and products are the same either way round, to the last bit.
        return b.Function is BinaryFunction.Add or BinaryFunction.Multiply && _nodes.TryGetValue((b.Function, right, left, null, null), out Expr? turned)
            ? turned
            : Node(left == b.Left && right == b.Right ? b : new BinaryExpr(b.Function, left, right), b.Function, left, right);
    }

    private Expr Select(SelectExpr s, Expr left, Expr right, Expr then, Expr otherwise)
        => Node(left == s.Left && right == s.Right && then == s.Then && otherwise == s.Otherwise ? s : new SelectExpr(s.Comparison, left, right, then, otherwise), s.Comparison, left, right, then, otherwise);

    private Expr Node(Expr expr, object kind, Expr? a = null, Expr? b = null, Expr? c = null, Expr? d = null)
    {
        if (!_nodes.TryGetValue((kind, a, b, c, d), out Expr? node))
        {
            _nodes.Add((kind, a, b, c, d), node = expr);
        }

        return node;
    }
}
