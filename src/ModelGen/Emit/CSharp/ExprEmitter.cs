using System;
using System.Collections.Generic;
using System.Globalization;
using System.Linq;
using ModelGen.Compiler.Kernels;

namespace ModelGen.Compiler.Emit.CSharp;

/// <summary>What an expression's leaves are in the kernel that is being printed.</summary>
internal interface IExprLeaves
{
    /// <summary>Whether an operand's element differs between the columns of a row.</summary>
    bool VariesByColumn(int operand);

    /// <summary>An operand that does not vary, as a scalar.</summary>
    string Scalar(OperandExpr operand);

    /// <summary>An operand's elements of the columns that are being computed.</summary>
    string Vector(OperandExpr operand);

    /// <summary>The number of the first column that is being computed.</summary>
    string Column { get; }

    /// <summary>The position in row-major order of the first element that is being computed.</summary>
    string Element { get; }

    string Accumulator { get; }
}

/// <summary>
/// Prints expressions: what is used once stands where it is used, what is used more often has a name. What is the same for a whole
/// row is printed as scalars, ahead of the loop over columns; a product that only a sum reads becomes a multiply-add.
/// </summary>
/// <param name="writer">Where statements go.</param>
/// <param name="spelling">How vectors are spelled.</param>
/// <param name="leaves">What the leaves are.</param>
/// <param name="prefix">Distinguishes this scope's names.</param>
/// <param name="rowScalars">Scalars of the row that are known already; new ones are added.</param>
/// <param name="broadcasts">Vectors of such scalars.</param>
/// <param name="scalarUses">How often each scalar is used in the whole kernel; those that it does not list have names.</param>
internal sealed class ExprEmitter(CodeWriter writer, Spelling spelling, IExprLeaves leaves, string prefix, Dictionary<Expr, string> rowScalars, Dictionary<Expr, string> broadcasts, ExprUses? scalarUses = null)
{
    /// <summary>Longer expressions get names for their parts.</summary>
    private const int LongestInline = 88;

    private readonly Dictionary<Expr, string> _names = [];
    private readonly ExprUses _uses = new();
    private readonly Dictionary<Expr, bool> _varies = [];
    private int _next;

    /// <summary>Counts the uses of every node: only what is used once is contracted, or printed where it is used.</summary>
    public void Count(Expr root) => _uses.Count(root);

    public bool Varies(Expr expr)
    {
        if (!_varies.TryGetValue(expr, out bool varies))
        {
            varies = expr switch
            {
                OperandExpr o => leaves.VariesByColumn(o.Operand),
                ColumnExpr or UniformExpr or AccumulatorExpr => true,
                _ => ExprTransforms.Children(expr).Any(Varies),
            };
            _varies.Add(expr, varies);
        }

        return varies;
    }

    /// <summary>Prints what does not vary under <paramref name="root"/>, and vectors of it where a varying node reads it.</summary>
    public void Hoist(Expr root)
    {
        ExprTransforms.Visit(root, expr =>
        {
            if (!Varies(expr))
            {
                return;
            }

            foreach (Expr child in ExprTransforms.Children(expr))
            {
                if (!Varies(child))
                {
                    Broadcast(child);
                }
            }
        });
        if (!Varies(root))
        {
            Broadcast(root);
        }
    }

    /// <summary>The value as a single number.</summary>
    public string Scalar(Expr expr) => ScalarText(expr).Text;

    /// <summary>The value as a vector.</summary>
    public string Vector(Expr expr) => VectorText(expr).Text;

    private Printed ScalarText(Expr expr)
    {
        switch (expr)
        {
            case ConstantExpr c:
                return new Printed(CodeWriter.Literal(c.Value), c.Value >= 0);
            case RuntimeScalarExpr r:
                return new Printed(Arguments.Name(r.Kind));
        }

        if (rowScalars.TryGetValue(expr, out string? name))
        {
            return new Printed(name);
        }

        Printed text = expr switch
        {
            OperandExpr o => new Printed(leaves.Scalar(o)),
            UnaryExpr u => Unary(u.Function, ScalarText(u.Operand), null),
            BinaryExpr b => Binary(b.Function, ScalarText(b.Left), ScalarText(b.Right), null),
            SelectExpr s => new Printed(ExprSpelling.Select(s.Comparison, ScalarText(s.Left).Atom, ScalarText(s.Right).Atom, ScalarText(s.Then).Atom, ScalarText(s.Otherwise).Atom, null), false),
            _ => throw new InvalidOperationException($"{expr.GetType().Name} is not known here"),
        };
        if (scalarUses is not null && scalarUses.Of(expr) == 1 && text.Text.Length <= LongestInline)
        {
            return text;
        }

        name = prefix + "s" + rowScalars.Count.ToString(CultureInfo.InvariantCulture);
        writer.Line($"float {name} = {text.Text};");
        rowScalars.Add(expr, name);
        return new Printed(name);
    }

    private Printed VectorText(Expr expr)
    {
        if (!Varies(expr))
        {
            return new Printed(Broadcast(expr));
        }

        if (_names.TryGetValue(expr, out string? name))
        {
            return new Printed(name);
        }

        Printed text = expr switch
        {
            OperandExpr o => new Printed(leaves.Vector(o)),
            AccumulatorExpr => new Printed(leaves.Accumulator),
            ColumnExpr => new Printed($"{spelling.Broadcast($"(float)({leaves.Column})")} + {spelling.Indices}", false),
            UniformExpr u => new Printed(spelling.Uniform($"(uint)({leaves.Element})", $"(uint)seed ^ {CodeWriter.Number(u.Stream)}u", "(uint)(seed >> 32)")),
            UnaryExpr u => Unary(u.Function, VectorText(u.Operand), spelling),
            BinaryExpr { Function: BinaryFunction.Add } b when Contracts(b.Left) is { } m => MultiplyAdd(m, b.Right),
            BinaryExpr { Function: BinaryFunction.Add } b when Contracts(b.Right) is { } m => MultiplyAdd(m, b.Left),
            BinaryExpr b => Binary(b.Function, VectorText(b.Left), VectorText(b.Right), spelling),
            SelectExpr s => new Printed(ExprSpelling.Select(s.Comparison, Vector(s.Left), Vector(s.Right), Vector(s.Then), Vector(s.Otherwise), spelling)),
            _ => throw new InvalidOperationException($"{expr.GetType().Name} is not known here"),
        };
        if (_uses.Of(expr) <= 1 && text.Text.Length <= LongestInline)
        {
            return text;
        }

        name = prefix + "v" + (_next++).ToString(CultureInfo.InvariantCulture);
        writer.Line($"{spelling.Type} {name} = {text.Text};");
        _names.Add(expr, name);
        return new Printed(name);
    }

    private Printed MultiplyAdd(BinaryExpr product, Expr summand) => new(spelling.MultiplyAdd(Vector(product.Left), Vector(product.Right), Vector(summand)));

    private static Printed Unary(UnaryFunction function, Printed x, Spelling? vector)
        => function == UnaryFunction.Negate ? new Printed(ExprSpelling.Unary(function, x.Atom, vector), false) : new Printed(ExprSpelling.Unary(function, x.Text, vector));

    private static Printed Binary(BinaryFunction function, Printed a, Printed b, Spelling? vector)
        => function is BinaryFunction.Maximum or BinaryFunction.Minimum ? new Printed(ExprSpelling.Binary(function, a.Text, b.Text, vector)) : new Printed(ExprSpelling.Binary(function, a.Atom, b.Atom, vector), false);

    private BinaryExpr? Contracts(Expr expr)
        => expr is BinaryExpr { Function: BinaryFunction.Multiply } m && Varies(m) && !_names.ContainsKey(m) && _uses.Of(m) <= 1 ? m : null;

    private string Broadcast(Expr expr)
    {
        if (expr is ConstantExpr c)
        {
            return c.Value == 0 ? spelling.Zero : spelling.Broadcast(CodeWriter.Literal(c.Value));
        }

        if (!broadcasts.TryGetValue(expr, out string? name))
        {
            string scalar = Scalar(expr);
            name = prefix + "b" + broadcasts.Count.ToString(CultureInfo.InvariantCulture);
            writer.Line($"{spelling.Type} {name} = {spelling.Broadcast(scalar)};");
            broadcasts.Add(expr, name);
        }

        return name;
    }

    /// <summary>Printed text, and whether it needs no parentheses as an operand.</summary>
    private readonly record struct Printed(string Text, bool IsAtom = true)
    {
        public string Atom => IsAtom ? Text : $"({Text})";
    }
}

/// <summary>How many expressions, or statements, use each node of a DAG.</summary>
internal sealed class ExprUses
{
    private readonly Dictionary<Expr, int> _uses = [];

    /// <summary>Counts one more use of an expression, and those of what it is made of when it is met first.</summary>
    public void Count(Expr root)
    {
        _uses.TryGetValue(root, out int uses);
        _uses[root] = uses + 1;
        if (uses == 0)
        {
            foreach (Expr child in ExprTransforms.Children(root))
            {
                Count(child);
            }
        }
    }

    public int Of(Expr expr) => _uses.TryGetValue(expr, out int uses) ? uses : 0;
}
