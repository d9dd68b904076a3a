using System;
using System.Collections.Generic;
using System.Linq;
using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Kernels;
using ModelGen.Compiler.Targets.Cpu;

namespace ModelGen.Compiler.Emit.CSharp;

/// <summary>Row-wise kernels: for each row its phases, each one pass over the columns.</summary>
internal sealed class RowKernelEmitter
{
    /// <summary>The widest vector's lanes: a multiple of them is a whole number of vectors at every width.</summary>
    private const int MostLanes = 16;

    private static readonly Spelling V = Spelling.Generic;

    private readonly CodeWriter _w;
    private readonly RowKernel _kernel;
    private readonly Leaves _leaves;
    private readonly ExprUses _scalarUses = new();
    private readonly Dictionary<Expr, string> _scalars = [];
    private readonly Dictionary<Expr, string> _broadcasts = [];

    private RowKernelEmitter(CodeWriter w, RowKernel kernel, bool flat)
    {
        _w = w;
        _kernel = kernel;
        _leaves = new Leaves(kernel, byRow: !flat);
        foreach (RowPhase phase in kernel.Phases)
        {
            foreach (Expr root in phase.Reductions.Select(r => r.Value).Concat(phase.Stores.Select(s => s.Value)))
            {
                _scalarUses.Count(root);
            }
        }
    }

    public static KernelCode Emit(RowKernel kernel)
    {
        ArgumentKinds arguments = Addressing.Arguments(kernel.Axes, kernel.Operands) | Arguments.Of(kernel.Phases.SelectMany(p => p.Stores))
            | kernel.Phases.SelectMany(p => p.Reductions).Aggregate(ArgumentKinds.None, (kinds, r) => kinds | Arguments.Of(r.Value));
        bool flat = CanFlatten(kernel);
        string shape = $"{Text.Extent(kernel.Rows)}x{kernel.Columns}";
        Store[] stores = [.. kernel.Phases.SelectMany(p => p.Stores)];
        string operation = kernel.Phases.Any(p => p.Reductions.Count > 0) ? "Rows" : stores.All(s => s.Value is OperandExpr) ? "Copy" : !kernel.Operands.Any(o => !o.IsWritten) ? "Fill" : "Map";
        var code = new KernelCode($"{operation}_{shape}", $"{Text.Describe(kernel)}: {(flat ? "every element" : "every row")} of [{kernel.Rows}, {kernel.Columns}].", kernel, arguments);
        code.Generic(w =>
        {
            var emitter = new RowKernelEmitter(w, kernel, flat);
            if (flat)
            {
                emitter.Flat();
            }
            else
            {
                emitter.Rows();
            }
        });
        return code;
    }

    /// <summary>Whether rows follow each other without gaps in every operand, so that the matrix is one long row.</summary>
    private static bool CanFlatten(RowKernel kernel)
        => kernel.Phases.All(p => p.Reductions.Count == 0) && kernel.Rows != RowExtent.Literal(1)
            && kernel.Operands.All(o => o.Access is { Kind: AccessKind.Scalar, Element: ElementType.Float32 } || (o.Access.IsMatrix && o.Access.RowStride == kernel.Columns))
            && kernel.Phases.SelectMany(p => p.Stores).All(s => NoPosition(s.Value));

    private static bool NoPosition(Expr expr)
    {
        bool found = false;
        ExprTransforms.Visit(expr, e => found |= e is ColumnExpr);
        return !found;
    }

    private void Flat()
    {
        const int Granularity = 64;
        string total = _kernel.Rows.IsDynamic ? $"{Text.RowCount(_kernel.Rows)} * {_kernel.Columns}" : CodeWriter.Number((long)_kernel.Rows.Maximum * _kernel.Columns);
        Text.Range(_w, _kernel.IsSerial(), total, Granularity);
        Store[] stores = _kernel.Phases.SelectMany(p => p.Stores).ToArray();
        ExprEmitter setup = Scope("");
        foreach (Store store in stores)
        {
            setup.Hoist(store.Value);
        }

        // Shares of whole vectors, whatever their width, have no rest.
        long multiple = _kernel.Rows.IsDynamic ? _kernel.Columns : (long)_kernel.Rows.Maximum * _kernel.Columns;
        if (multiple % MostLanes == 0)
        {
            _w.Open("for (int i = start; i < end; i += V.Lanes)");
            Block("", "i", null, [], stores);
            _w.Close();
            return;
        }

        _w.Line("int i = start;");
        _w.Open("for (; i <= end - V.Lanes; i += V.Lanes)");
        Block("", "i", null, [], stores);
        _w.Close();
        _w.Open("if (i < end)");
        Block("", "i", "end - i", [], stores);
        _w.Close();
    }

    private void Rows()
    {
        bool isRow = _kernel.Rows == RowExtent.Literal(1) && _kernel.IsSerial();
        if (!isRow)
        {
            Text.Range(_w, _kernel.IsSerial(), Text.RowCount(_kernel.Rows), 1);
            _w.Open("for (int r = start; r < end; r++)");
        }

        foreach (KernelOperand operand in _kernel.Operands)
        {
            if (_leaves.HasRowPointer(operand))
            {
                _w.Line($"float* {operand.Name}_r = {operand.Name} + {Addressing.Row(_kernel.Axes, operand.Access.RowStrides)};");
            }
        }

        var rowValues = new Dictionary<int, string>();
        foreach (RowPhase phase in _kernel.Phases)
        {
            Phase(phase, rowValues);
        }

        if (!isRow)
        {
            _w.Close();
        }
    }

    private void Phase(RowPhase phase, Dictionary<int, string> rowValues)
    {
        Store[] wide = phase.Stores.Where(s => _kernel.Operands[s.Operand].Access.Kind == AccessKind.Element).ToArray();
        Expr[] roots = [.. phase.Reductions.Select(r => r.Value), .. wide.Select(s => s.Value)];

        // Leaves that read a reduction are its local; the same object may appear as several nodes.
        foreach (Expr root in roots.Concat(phase.Stores.Select(s => s.Value)))
        {
            ExprTransforms.Visit(root, e =>
            {
                if (e is RowValueExpr value && !_scalars.ContainsKey(e))
                {
                    _scalars.Add(e, rowValues[value.Index]);
                }
            });
        }

        ExprEmitter setup = Scope("");
        foreach (Expr root in roots)
        {
            setup.Hoist(root);
        }

        if (roots.Length > 0)
        {
            Columns(phase.Reductions, wide, rowValues);
        }

        foreach (Store store in phase.Stores.Where(s => _kernel.Operands[s.Operand].Access.Kind != AccessKind.Element))
        {
            string target = $"{_kernel.Operands[store.Operand].Name}[{Addressing.Row(_kernel.Axes, _kernel.Operands[store.Operand].Access.RowStrides)}]";
            string value = setup.Scalar(store.Value);
            _w.Line(store.Mode switch
            {
                StoreMode.Replace => $"{target} = {value};",
                StoreMode.Add => $"{target} += {value};",
                _ => $"{target} = accumulate ? {target} + {value} : {value};",
            });
        }
    }

    private void Columns(IReadOnlyList<Reduction> reductions, Store[] stores, Dictionary<int, string> rowValues)
    {
        // A second accumulator hides the latency of a reduction's chain of additions, where every width has four vectors.
        int columns = _kernel.Columns;
        int ways = reductions.Count > 0 && columns >= 4 * MostLanes ? 2 : 1;
        foreach (Reduction reduction in reductions)
        {
            string identity = reduction.Kind == ReductionKind.Sum ? V.Zero : V.Broadcast("float.NegativeInfinity");
            _w.Line($"V {string.Join(", ", Enumerable.Range(0, ways).Select(k => $"{Accumulator(reduction, k)} = {identity}"))};");
        }

        if (columns >= 4)
        {
            _w.Open($"for (int c = 0; c < {Whole(ways)}; c += {V.LanesOf(ways)})");
            for (int k = 0; k < ways; k++)
            {
                Block(ways > 1 ? $"w{k}_" : "", k == 0 ? "c" : "c + V.Lanes", null, reductions, stores, k);
            }

            _w.Close();
            if (ways > 1 && columns % (ways * MostLanes) != 0)
            {
                _w.Open($"for (int c = {Whole(ways)}; c < {Whole(1)}; c += V.Lanes)");
                Block("", "c", null, reductions, stores);
                _w.Close();
            }
        }

        if (columns % MostLanes != 0)
        {
            _w.Open(columns % 4 == 0 ? $"if ({columns} % V.Lanes != 0)" : "");
            Block("", columns < 4 ? "0" : Whole(1), columns < 4 ? CodeWriter.Number(columns) : $"{columns} % V.Lanes", reductions, stores);
            _w.Close();
        }

        foreach (Reduction reduction in reductions)
        {
            string vector = Accumulator(reduction, 0);
            if (ways > 1)
            {
                vector = reduction.Kind == ReductionKind.Sum ? $"{vector} + {Accumulator(reduction, 1)}" : V.Maximum(vector, Accumulator(reduction, 1));
            }

            string name = $"{(reduction.Kind == ReductionKind.Sum ? "sum" : "max")}{reduction.Index}";
            _w.Line($"float {name} = {V.Reduced(reduction.Kind, vector)};");
            rowValues.Add(reduction.Index, name);
        }

        // The columns of whole groups of vectors.
        string Whole(int vectors) => columns % (vectors * MostLanes) == 0 ? CodeWriter.Number(columns)
            : vectors == 1 ? $"{columns} / V.Lanes * V.Lanes" : $"{columns} / ({V.LanesOf(vectors)}) * ({V.LanesOf(vectors)})";
    }

    private static string Accumulator(Reduction reduction, int way) => $"{(reduction.Kind == ReductionKind.Sum ? "sums" : "maxima")}{reduction.Index}_{way}";

    /// <summary>Reductions and stores of one vector of columns, or of the first <paramref name="tail"/> lanes of one.</summary>
    private void Block(string prefix, string column, string? tail, IReadOnlyList<Reduction> reductions, Store[] stores, int way = 0)
    {
        _leaves.Column = column;
        _leaves.Tail = tail;
        ExprEmitter emitter = Scope(prefix);
        foreach (Expr root in reductions.Select(r => r.Value).Concat(stores.Select(s => s.Value)))
        {
            emitter.Count(root);
        }

        foreach (Reduction reduction in reductions)
        {
            string name = Accumulator(reduction, way);
            string value = emitter.Vector(reduction.Value);
            if (tail is not null)
            {
                value = V.FirstLanes(value, tail, reduction.Kind == ReductionKind.Sum ? "0f" : "float.NegativeInfinity");
            }

            _w.Line(reduction.Kind == ReductionKind.Sum ? $"{name} += {value};" : $"{name} = {V.Maximum(name, value)};");
        }

        foreach (Store store in stores)
        {
            Addressing.Store(_w, V, emitter.Vector(store.Value), _leaves.Pointer(store.Operand), tail, store.Mode, _kernel.Operands[store.Operand].Access.ColumnStride);
        }
    }

    private ExprEmitter Scope(string prefix) => new(_w, V, _leaves, prefix, _scalars, _broadcasts, _scalarUses);

    private sealed class Leaves(RowKernel kernel, bool byRow) : IExprLeaves
    {
        public string Column { get; set; } = "";

        public string? Tail { get; set; }

        public string Accumulator => throw new InvalidOperationException("a row kernel has no accumulator");

        public string Element => byRow && kernel.Rows != RowExtent.Literal(1) ? $"r * {kernel.Columns} + {Column}" : Column;

        public bool VariesByColumn(int operand) => kernel.Operands[operand].Access.Kind is AccessKind.Element or AccessKind.ColumnVector;

        public string Scalar(OperandExpr operand)
        {
            KernelOperand o = kernel.Operands[operand.Operand];
            return $"{o.Name}[{Addressing.Row(kernel.Axes, o.Access.RowStrides)}]";
        }

        public string Vector(OperandExpr operand) => Addressing.Load(V, Pointer(operand.Operand), Tail, kernel.Operands[operand.Operand].Access.ColumnStride);

        public string Pointer(int operand)
        {
            KernelOperand o = kernel.Operands[operand];
            return Addressing.Column(HasRowPointer(o) ? o.Name + "_r" : o.Name, Column, o.Access.ColumnStride);
        }

        /// <summary>Whether an operand's rows have a pointer of their own.</summary>
        public bool HasRowPointer(KernelOperand operand) => byRow && operand.Access.Kind == AccessKind.Element && kernel.Rows != RowExtent.Literal(1);
    }
}
