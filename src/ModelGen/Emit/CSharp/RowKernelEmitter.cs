using System;
using System.Collections.Generic;
using System.Globalization;
using System.Linq;
using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Kernels;
using ModelGen.Compiler.Targets.Cpu;

namespace ModelGen.Compiler.Emit.CSharp;

/// <summary>Row-wise kernels: for each row its phases, each one pass over the columns.</summary>
internal static class RowKernelEmitter
{
    public static KernelCode Emit(RowKernel kernel)
    {
        ArgumentKinds arguments = Addressing.Arguments(kernel.Axes, kernel.Operands) | Arguments.Of(kernel.Phases.SelectMany(p => p.Stores))
            | kernel.Phases.SelectMany(p => p.Reductions).Aggregate(ArgumentKinds.None, (kinds, r) => kinds | Arguments.Of(r.Value));
        bool flat = CanFlatten(kernel);
        string shape = $"{Text.Extent(kernel.Rows)}x{kernel.Columns}";
        bool reduces = kernel.Phases.Any(p => p.Reductions.Count > 0);
        var code = new KernelCode((reduces ? "Rows_" : "Map_") + shape, $"{Text.Describe(kernel)}: {(flat ? "every element" : "every row")} of [{kernel.Rows}, {kernel.Columns}].", kernel, arguments);
        code.ForEachWidth((writer, _, spelling) =>
        {
            if (flat)
            {
                Flat(writer, kernel, spelling);
            }
            else
            {
                Rows(writer, kernel, spelling);
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

    private static void Flat(CodeWriter w, RowKernel kernel, Spelling v)
    {
        string total = kernel.Rows.IsDynamic ? $"{Text.RowCount(kernel.Rows)} * {kernel.Columns}" : CodeWriter.Number((long)kernel.Rows.Maximum * kernel.Columns);
        Text.Range(w, kernel.IsSerial(), total, 64);
        Store[] stores = kernel.Phases.SelectMany(p => p.Stores).ToArray();
        var leaves = new Leaves(kernel, v) { Column = "i" };
        var scalars = new Dictionary<Expr, string>();
        var broadcasts = new Dictionary<Expr, string>();
        var setup = new ExprEmitter(w, v, leaves, "", scalars, broadcasts);
        foreach (Store store in stores)
        {
            setup.Hoist(store.Value);
        }

        w.Line("int i = start;");
        w.Open($"for (; i <= end - {v.Lanes}; i += {v.Lanes})");
        Block(null);
        w.Close();
        w.Open("if (i < end)");
        Block("end - i");
        w.Close();

        void Block(string? tail)
        {
            leaves.Tail = tail;
            var emitter = new ExprEmitter(w, v, leaves, "", scalars, broadcasts);
            foreach (Store store in stores)
            {
                emitter.Count(store.Value);
            }

            foreach (Store store in stores)
            {
                Text.VectorStore(w, v, emitter.Vector(store.Value), $"{kernel.Operands[store.Operand].Name} + i", tail, store.Mode);
            }
        }
    }

    private static void Rows(CodeWriter w, RowKernel kernel, Spelling v)
    {
        Text.Range(w, kernel.IsSerial(), Text.RowCount(kernel.Rows), 1);
        w.Open("for (int r = start; r < end; r++)");
        foreach (KernelOperand operand in kernel.Operands)
        {
            if (operand.Access.Kind is AccessKind.Element)
            {
                w.Line($"float* {operand.Name}_r = {operand.Name} + {Addressing.Row(kernel.Axes, operand.Access.RowStrides)};");
            }
        }

        var scalars = new Dictionary<Expr, string>();
        var broadcasts = new Dictionary<Expr, string>();
        var leaves = new Leaves(kernel, v) { ByRow = true };
        Reduction[] reductions = kernel.Phases.SelectMany(p => p.Reductions).ToArray();
        var rowValues = new Dictionary<int, string>();

        // Leaves that read a reduction are its local; the same object may appear as several nodes.
        foreach (RowPhase phase in kernel.Phases)
        {
            Phase(w, kernel, v, phase, leaves, scalars, broadcasts, rowValues);
        }

        w.Close();
    }

    private static void Phase(CodeWriter w, RowKernel kernel, Spelling v, RowPhase phase, Leaves leaves, Dictionary<Expr, string> scalars, Dictionary<Expr, string> broadcasts, Dictionary<int, string> rowValues)
    {
        IEnumerable<Expr> roots = phase.Reductions.Select(r => r.Value).Concat(phase.Stores.Select(s => s.Value));
        foreach (Expr root in roots)
        {
            ExprTransforms.Visit(root, e =>
            {
                if (e is RowValueExpr value && !scalars.ContainsKey(e))
                {
                    scalars.Add(e, rowValues[value.Index]);
                }
            });
        }

        var setup = new ExprEmitter(w, v, leaves, "", scalars, broadcasts);
        Store[] wide = phase.Stores.Where(s => kernel.Operands[s.Operand].Access.Kind == AccessKind.Element).ToArray();
        foreach (Expr root in phase.Reductions.Select(r => r.Value).Concat(wide.Select(s => s.Value)))
        {
            setup.Hoist(root);
        }

        if (phase.Reductions.Count > 0 || wide.Length > 0)
        {
            Columns(w, kernel, v, phase.Reductions, wide, leaves, scalars, broadcasts, rowValues);
        }

        foreach (Store store in phase.Stores.Where(s => kernel.Operands[s.Operand].Access.Kind != AccessKind.Element))
        {
            string target = $"{kernel.Operands[store.Operand].Name}[{Addressing.Row(kernel.Axes, kernel.Operands[store.Operand].Access.RowStrides)}]";
            string value = setup.Scalar(store.Value);
            w.Line(store.Mode switch
            {
                StoreMode.Replace => $"{target} = {value};",
                StoreMode.Add => $"{target} += {value};",
                _ => $"{target} = accumulate ? {target} + {value} : {value};",
            });
        }
    }

    private static void Columns(CodeWriter w, RowKernel kernel, Spelling v, IReadOnlyList<Reduction> reductions, Store[] stores, Leaves leaves, Dictionary<Expr, string> scalars, Dictionary<Expr, string> broadcasts, Dictionary<int, string> rowValues)
    {
        // A second accumulator hides the latency of a reduction's chain of additions.
        int vectors = kernel.Columns / v.Lanes;
        int ways = reductions.Count > 0 && vectors >= 4 ? 2 : 1;
        int tail = kernel.Columns % v.Lanes;
        foreach (Reduction reduction in reductions)
        {
            for (int k = 0; k < ways; k++)
            {
                w.Line($"{v.Type} reduced{reduction.Index}_{k} = {(reduction.Kind == ReductionKind.Sum ? v.Type + ".Zero" : v.Broadcast("float.NegativeInfinity"))};");
            }
        }

        if (vectors > 0)
        {
            int step = ways * v.Lanes;
            int end = vectors / ways * step;
            if (end == step)
            {
                w.Open("");
                for (int k = 0; k < ways; k++)
                {
                    Block(k, CodeWriter.Number(k * v.Lanes), null);
                }

                w.Close();
            }
            else
            {
                w.Open($"for (int c = 0; c < {end}; c += {step})");
                for (int k = 0; k < ways; k++)
                {
                    Block(k, k == 0 ? "c" : $"c + {k * v.Lanes}", null);
                }

                w.Close();
            }

            int rest = (vectors * v.Lanes) - end;
            if (rest == v.Lanes)
            {
                w.Open("");
                Block(0, CodeWriter.Number(end), null);
                w.Close();
            }
            else if (rest > 0)
            {
                w.Open($"for (int c = {end}; c < {end + rest}; c += {v.Lanes})");
                Block(0, "c", null);
                w.Close();
            }
        }

        if (tail > 0)
        {
            w.Open("");
            Block(0, CodeWriter.Number(kernel.Columns - tail), CodeWriter.Number(tail));
            w.Close();
        }

        foreach (Reduction reduction in reductions)
        {
            string a(int k) => $"reduced{reduction.Index}_{k}";
            string Combine(string x, string y) => reduction.Kind == ReductionKind.Sum ? $"{x} + {y}" : $"{v.Class}.Max({x}, {y})";
            string vector = ways == 1 ? a(0) : Combine(a(0), a(1));
            string name = $"{(reduction.Kind == ReductionKind.Sum ? "sum" : "max")}{reduction.Index}";
            w.Line($"float {name} = Simd.{(reduction.Kind == ReductionKind.Sum ? "Sum" : "Max")}({vector});");
            rowValues.Add(reduction.Index, name);
        }

        void Block(int way, string column, string? tailCount)
        {
            leaves.Column = column;
            leaves.Tail = tailCount;
            var emitter = new ExprEmitter(w, v, leaves, ways > 1 ? $"w{way.ToString(CultureInfo.InvariantCulture)}_" : "", scalars, broadcasts);
            foreach (Expr root in reductions.Select(r => r.Value).Concat(stores.Select(s => s.Value)))
            {
                emitter.Count(root);
            }

            foreach (Reduction reduction in reductions)
            {
                string name = $"reduced{reduction.Index}_{way}";
                string value = emitter.Vector(reduction.Value);
                if (tailCount is not null)
                {
                    value = v.FirstLanes(value, tailCount, reduction.Kind == ReductionKind.Sum ? "0f" : "float.NegativeInfinity");
                }

                w.Line(reduction.Kind == ReductionKind.Sum ? $"{name} += {value};" : $"{name} = {v.Class}.Max({name}, {value});");
            }

            foreach (Store store in stores)
            {
                KernelOperand target = kernel.Operands[store.Operand];
                Addressing.Store(w, v, emitter.Vector(store.Value), Addressing.Column($"{target.Name}_r", column, target.Access.ColumnStride), tailCount, store.Mode, target.Access.ColumnStride);
            }
        }
    }

    private sealed class Leaves(RowKernel kernel, Spelling v) : IExprLeaves
    {
        public string Column { get; set; } = "";

        public string? Tail { get; set; }

        public bool ByRow { get; init; }

        public string Accumulator => "";

        public string Columns => $"({v.Broadcast($"(float)({Column})")} + Simd.Lanes{v.Bits})";

        public string Elements => $"{v.Class}.Create({(ByRow ? $"(uint)(r * {kernel.Columns} + {Column})" : $"(uint)({Column})")}) + Vector{v.Bits}<uint>.Indices";

        public bool VariesByColumn(int operand) => kernel.Operands[operand].Access.Kind is AccessKind.Element or AccessKind.ColumnVector;

        public string Scalar(OperandExpr operand)
        {
            KernelOperand o = kernel.Operands[operand.Operand];
            return $"{o.Name}[{Addressing.Row(kernel.Axes, o.Access.RowStrides)}]";
        }

        public string Vector(OperandExpr operand)
        {
            KernelOperand o = kernel.Operands[operand.Operand];
            string row = ByRow && o.Access.Kind == AccessKind.Element ? o.Name + "_r" : o.Name;
            return Addressing.Load(v, Addressing.Column(row, Column, o.Access.ColumnStride), Tail, o.Access.ColumnStride);
        }
    }
}
