using System;
using System.Collections.Generic;
using System.Linq;
using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Kernels;
using ModelGen.Compiler.Ops;

namespace ModelGen.Compiler.Passes;

/// <summary>Builds one kernel's expressions and collects its operands.</summary>
/// <param name="lowering">The graph that is lowered.</param>
/// <param name="cluster">The nodes that the kernel computes; the others are read, or computed again where they are not stored.</param>
/// <param name="rows">The extents of the kernel's rows.</param>
/// <param name="columns">The kernel's columns.</param>
/// <param name="matrices">Names of operands that come before those of the expressions: the factors of a product, whose epilogue reads vectors of contiguous columns alone.</param>
internal sealed class KernelExpressions(Lowering lowering, Cluster? cluster, IReadOnlyList<Dim> rows, int columns, params string[] matrices)
{
    private readonly Dictionary<Value, Expr> _exprs = [];
    private readonly ExprTable _unique = new();
    private readonly Dictionary<(View, string), int> _reads = [];
    private readonly Dictionary<Expr, int> _phases = [];
    private readonly List<PendingOperand> _operands = [];
    private readonly HashSet<string> _names = [.. matrices];
    private readonly Dictionary<Value, int> _readValues = [];

    public IReadOnlyList<Dim> Rows { get; } = rows;

    public int Columns { get; } = columns;

    public IReadOnlyList<PendingOperand> Operands => _operands;

    /// <summary>The values that are read from memory, and the operands that they are.</summary>
    public IReadOnlyDictionary<Value, int> Reads => _readValues;

    public List<(int Phase, Reduction Reduction)> Reductions { get; } = [];

    public Expr Of(Value value)
    {
        if (_exprs.TryGetValue(value, out Expr? known))
        {
            return known;
        }

        Expr expr;
        if (value.Op is Constant constant)
        {
            expr = constant.Value;
        }
        else if (value.Op is RuntimeScalar scalar)
        {
            expr = new RuntimeScalarExpr(scalar.Kind);
        }
        else if (cluster?.MatMul == value.Node)
        {
            expr = new AccumulatorExpr();
        }
        else if (cluster is not null && value.Op is RowReduction op && cluster.Nodes.Contains(value.Node))
        {
            Expr input = Of(value.Node.Inputs[0]);
            int index = Reductions.Count;
            Reductions.Add((PhaseOf(input), new Reduction(index, op is RowSum ? ReductionKind.Sum : ReductionKind.Maximum, input)));
            expr = new RowValueExpr(index);
        }
        else if (value.Op is ElementwiseOperator elementwise && (cluster is not null && cluster.Nodes.Contains(value.Node) || !lowering.Fusion.IsStored(value)))
        {
            expr = elementwise.Express(value.Node.Inputs.Select(Of).ToArray());
        }
        else
        {
            _readValues.Add(value, Read(value));
            expr = new OperandExpr(_readValues[value]);
        }

        expr = _unique.Unify(expr);
        _exprs.Add(value, expr);
        return expr;
    }

    /// <summary>The phase in which an expression is known: one after that of every reduction it reads.</summary>
    public int PhaseOf(Expr expr)
    {
        if (!_phases.TryGetValue(expr, out int phase))
        {
            phase = expr switch
            {
                RowValueExpr r => Reductions.First(x => x.Reduction.Index == r.Index).Phase + 1,
                UnaryExpr u => PhaseOf(u.Operand),
                BinaryExpr b => Math.Max(PhaseOf(b.Left), PhaseOf(b.Right)),
                SelectExpr s => Math.Max(Math.Max(PhaseOf(s.Left), PhaseOf(s.Right)), Math.Max(PhaseOf(s.Then), PhaseOf(s.Otherwise))),
                _ => 0,
            };
            _phases.Add(expr, phase);
        }

        return phase;
    }

    public int Write(Value value)
    {
        _operands.Add(PendingOperand.Of(Unique(OperandNames.Role(value.Name)), lowering.Placement.PlaceOf(value), value.Type, Rows, Columns, isWritten: true));
        return matrices.Length + _operands.Count - 1;
    }

    private int Read(Value value)
    {
        TensorView view = lowering.ViewOf(value);
        view = view.ColumnStride.IsDynamic && value.Type.Element == ElementType.Float32 ? lowering.CopyOf(value) : view;
        PendingOperand operand = PendingOperand.Of("", view, value.Type, Rows, Columns, isWritten: false);
        if (matrices.Length > 0 && operand.ColumnStride > 1)
        {
            operand = PendingOperand.Of("", lowering.CopyOf(value), value.Type, Rows, Columns, isWritten: false);
        }

        var key = (operand.View, $"{string.Join(",", operand.Strides)} {operand.ColumnStride}");
        if (!_reads.TryGetValue(key, out int index))
        {
            _reads.Add(key, index = matrices.Length + _operands.Count);
            _operands.Add(operand with { Name = Unique(OperandNames.Role(value.Name)) });
        }

        return index;
    }

    private string Unique(string name)
    {
        string unique = OperandNames.Unique(name, _names);
        _names.Add(unique);
        return unique;
    }
}
