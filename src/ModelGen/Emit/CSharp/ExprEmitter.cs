using System;
using System.Collections.Generic;
using System.Globalization;
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

    /// <summary>The numbers of the columns that are being computed.</summary>
    string Columns { get; }

    /// <summary>The positions in row-major order of the elements that are being computed, as unsigned integers.</summary>
    string Elements { get; }

    string Accumulator { get; }
}

/// <summary>
/// Prints expressions as statements, each shared subexpression once. What is the same for a whole row is printed as
/// scalars, ahead of the loop over columns; a product that only a sum reads becomes a multiply-add.
/// </summary>
/// <param name="writer">Where statements go.</param>
/// <param name="spelling">The vector width, or null to print single numbers.</param>
/// <param name="leaves">What the leaves are.</param>
/// <param name="prefix">Distinguishes this scope's names.</param>
/// <param name="rowScalars">Scalars of the row that are known already; new ones are added.</param>
internal sealed class ExprEmitter(CodeWriter writer, Spelling? spelling, IExprLeaves leaves, string prefix, Dictionary<Expr, string> rowScalars, Dictionary<Expr, string> broadcasts)
{
    private readonly Dictionary<Expr, string> _names = [];
    private readonly Dictionary<Expr, int> _uses = [];
    private readonly Dictionary<Expr, bool> _varies = [];
    private int _next;

    /// <summary>Counts the uses of every node, so that only unshared products are contracted.</summary>
    public void Count(Expr root)
    {
        Use(root);

        void Use(Expr expr)
        {
            _uses.TryGetValue(expr, out int uses);
            _uses[expr] = uses + 1;
            if (uses > 0)
            {
                return;
            }

            switch (expr)
            {
                case UnaryExpr u:
                    Use(u.Operand);
                    break;
                case BinaryExpr b:
                    Use(b.Left);
                    Use(b.Right);
                    break;
                case SelectExpr s:
                    Use(s.Left);
                    Use(s.Right);
                    Use(s.Then);
                    Use(s.Otherwise);
                    break;
            }
        }
    }

    public bool Varies(Expr expr)
    {
        if (!_varies.TryGetValue(expr, out bool varies))
        {
            varies = expr switch
            {
                OperandExpr o => leaves.VariesByColumn(o.Operand),
                ColumnExpr or UniformExpr or AccumulatorExpr => true,
                UnaryExpr u => Varies(u.Operand),
                BinaryExpr b => Varies(b.Left) || Varies(b.Right),
                SelectExpr s => Varies(s.Left) || Varies(s.Right) || Varies(s.Then) || Varies(s.Otherwise),
                _ => false,
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

            foreach (Expr child in Children(expr))
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

    /// <summary>The value as a single number, printed where it is not known yet.</summary>
    public string Scalar(Expr expr)
    {
        switch (expr)
        {
            case ConstantExpr c:
                return CodeWriter.Literal(c.Value);
            case RuntimeScalarExpr r:
                return Arguments.Name(r.Kind);
        }

        if (rowScalars.TryGetValue(expr, out string? name))
        {
            return name;
        }

        string text = expr switch
        {
            OperandExpr o => leaves.Scalar(o),
            UnaryExpr u => ExprSpelling.Unary(u.Function, Scalar(u.Operand), null),
            BinaryExpr b => ExprSpelling.Binary(b.Function, Scalar(b.Left), Scalar(b.Right), null),
            SelectExpr s => ExprSpelling.Select(s.Comparison, Scalar(s.Left), Scalar(s.Right), Scalar(s.Then), Scalar(s.Otherwise), null),
            AccumulatorExpr => leaves.Accumulator,
            ColumnExpr => leaves.Columns,
            UniformExpr u => Uniform(u),
            _ => throw new InvalidOperationException($"{expr.GetType().Name} is not known here"),
        };
        name = prefix + "s" + rowScalars.Count.ToString(CultureInfo.InvariantCulture);
        writer.Line($"float {name} = {text};");
        rowScalars.Add(expr, name);
        return name;
    }

    /// <summary>The value as a vector, printed where it is not known yet.</summary>
    public string Vector(Expr expr)
    {
        if (!Varies(expr))
        {
            return Broadcast(expr);
        }

        if (_names.TryGetValue(expr, out string? name))
        {
            return name;
        }

        string text = expr switch
        {
            OperandExpr o => leaves.Vector(o),
            AccumulatorExpr => leaves.Accumulator,
            ColumnExpr => leaves.Columns,
            UniformExpr u => Uniform(u),
            UnaryExpr u => ExprSpelling.Unary(u.Function, Vector(u.Operand), spelling),
            BinaryExpr { Function: BinaryFunction.Add } b when Contracts(b.Left) is { } m => spelling!.MultiplyAdd(Vector(m.Left), Vector(m.Right), Vector(b.Right)),
            BinaryExpr { Function: BinaryFunction.Add } b when Contracts(b.Right) is { } m => spelling!.MultiplyAdd(Vector(m.Left), Vector(m.Right), Vector(b.Left)),
            BinaryExpr b => ExprSpelling.Binary(b.Function, Vector(b.Left), Vector(b.Right), spelling),
            SelectExpr s => ExprSpelling.Select(s.Comparison, Vector(s.Left), Vector(s.Right), Vector(s.Then), Vector(s.Otherwise), spelling),
            _ => throw new InvalidOperationException($"{expr.GetType().Name} is not known here"),
        };
        name = prefix + "v" + (_next++).ToString(CultureInfo.InvariantCulture);
        writer.Line($"{spelling!.Type} {name} = {text};");
        _names.Add(expr, name);
        return name;
    }

    private string Uniform(UniformExpr uniform)
        => $"Simd.Uniform({leaves.Elements}, (uint)seed ^ {CodeWriter.Number(uniform.Stream)}u, (uint)(seed >> 32))";

    private BinaryExpr? Contracts(Expr expr)
        => expr is BinaryExpr { Function: BinaryFunction.Multiply } m && Varies(m) && !_names.ContainsKey(m) && (!_uses.TryGetValue(m, out int uses) || uses <= 1) ? m : null;

    private string Broadcast(Expr expr)
    {
        if (expr is ConstantExpr c)
        {
            return c.Value == 0 ? $"{spelling!.Type}.Zero" : spelling!.Broadcast(CodeWriter.Literal(c.Value));
        }

        if (!broadcasts.TryGetValue(expr, out string? name))
        {
            string scalar = Scalar(expr);
            name = prefix + "b" + broadcasts.Count.ToString(CultureInfo.InvariantCulture);
            writer.Line($"{spelling!.Type} {name} = {spelling.Broadcast(scalar)};");
            broadcasts.Add(expr, name);
        }

        return name;
    }

    private static IEnumerable<Expr> Children(Expr expr) => expr switch
    {
        UnaryExpr u => [u.Operand],
        BinaryExpr b => [b.Left, b.Right],
        SelectExpr s => [s.Left, s.Right, s.Then, s.Otherwise],
        _ => [],
    };
}
