using System;
using System.Collections.Generic;
using System.Globalization;
using System.Linq;
using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Kernels;
using ModelGen.Compiler.Ops;

namespace ModelGen.Compiler.Emit.CSharp;

/// <summary>
/// Matrix products: panels of the right operand are packed by the worker that uses them, the left operand is read where it
/// lies (its literal stride makes rows displacements) or, contracted over its rows, packed once by all workers together; the
/// epilogue runs on the accumulators. A single row is multiplied by dot products instead, at the speed of memory.
/// </summary>
internal static class MatMulEmitter
{
    public static KernelCode Emit(MatMulKernel kernel)
    {
        ArgumentKinds arguments = Arguments.Of(kernel.Rows) | Arguments.Of(kernel.Stores);
        string letters = kernel.Form == MatMulForm.TN ? "Contract" : kernel.Form == MatMulForm.NT ? "Linear" : "Multiply";
        string formula = kernel.Form switch
        {
            MatMulForm.NT => $"[{kernel.Rows}, {kernel.Depth}] · [{kernel.Columns}, {kernel.Depth}]ᵀ",
            MatMulForm.NN => $"[{kernel.Rows}, {kernel.Depth}] · [{kernel.Depth}, {kernel.Columns}]",
            _ => $"[{kernel.Depth}, {kernel.Rows}]ᵀ · [{kernel.Depth}, {kernel.Columns}]",
        };
        var code = new KernelCode($"{letters}_{Text.Extent(kernel.Rows)}x{kernel.Depth}x{kernel.Columns}", $"{Text.Describe(kernel)}: {formula}.", kernel, arguments)
        {
            Workspace = kernel.Workspace is null ? null : "workspace",
        };
        if (kernel.Form == MatMulForm.NT && kernel.Rows == RowExtent.Literal(1))
        {
            code.ForEachWidth((w, _, v) => DotProducts(w, kernel, v));
        }
        else
        {
            code.ForEachWidth((w, name, v) => Panels(w, name, kernel, v, code));
            foreach (Spelling v in Spelling.All)
            {
                code.Method($"Epilogue_{v.Bits}", $"float* tile{Pointers(kernel, declared: true)}{string.Join("", Arguments.Declarations(Arguments.Of(kernel.Stores)).Select(d => ", " + d))}, int row, int rows, int column", (w, _) => Epilogue(w, kernel, v));
            }
        }

        return code;
    }

    private static string Pointers(MatMulKernel kernel, bool declared)
        => string.Join("", kernel.Operands.Skip(2).Select(o => $", {(!declared ? "" : o.Access.Element == ElementType.Int32 ? "int* " : "float* ")}{o.Name}"));

    private static void Panels(CodeWriter w, Func<string, string> name, MatMulKernel kernel, Spelling v, KernelCode code)
    {
        KernelOperand left = kernel.Operands[0];
        KernelOperand right = kernel.Operands[1];
        int height = Math.Min(v.TileRows, kernel.Rows.Maximum);
        int width = v.TileColumns;
        int panels = (kernel.Columns + width - 1) / width;
        string rows = Text.RowCount(kernel.Rows);
        bool contracts = kernel.Form == MatMulForm.TN;
        if (contracts)
        {
            int strips = (kernel.Rows.Maximum + height - 1) / height;
            w.Line(kernel.IsSerial ? $"int firstStrip = 0, lastStrip = {strips};" : $"worker.Range({strips}, 1, out int firstStrip, out int lastStrip);");
            w.Open("for (int strip = firstStrip; strip < lastStrip; strip++)");
            string columns = kernel.Rows.Maximum % height == 0 ? CodeWriter.Number(height) : $"Math.Min({height}, {kernel.Rows.Maximum} - strip * {height})";
            w.Line($"Panels.PackRows({left.Name} + strip * {height}, {left.Access.RowStride}, {kernel.Depth}, {columns}, workspace + (long)strip * {CodeWriter.Number((long)height * kernel.Depth)}, {height});");
            w.Close();
            if (!kernel.IsSerial)
            {
                w.Line("worker.Barrier();");
            }
        }

        // With few panels the rows are divided instead, and every worker packs all panels for itself.
        bool byRows = !kernel.IsSerial && panels < 4 && kernel.Rows.Maximum >= 4 * height;
        w.Line($"float* tile = stackalloc float[{height * width}];");
        w.Line("float* panel = (float*)worker.Scratch;");
        if (byRows)
        {
            w.Line($"worker.Range({rows}, {height}, out int firstRow, out int lastRow);");
            w.Line($"const int start = 0, end = {kernel.Columns};");
        }
        else
        {
            w.Line("const int firstRow = 0;");
            w.Line($"{(kernel.Rows.IsDynamic ? "int" : "const int")} lastRow = {rows};");
            Text.Range(w, kernel.IsSerial, CodeWriter.Number(kernel.Columns), width);
        }

        w.Open($"for (int n = start; n < end; n += {width})");
        string packed = kernel.Columns % width == 0 ? CodeWriter.Number(width) : $"Math.Min({width}, {kernel.Columns} - n)";
        w.Line(kernel.Form == MatMulForm.NT
            ? $"Panels.PackTransposed({right.Name} + (long)n * {right.Access.RowStride}, {right.Access.RowStride}, {kernel.Depth}, {packed}, panel, {width});"
            : $"Panels.PackRows({right.Name} + n, {right.Access.RowStride}, {kernel.Depth}, {packed}, panel, {width});");
        w.Line("int m = firstRow;");
        foreach (int h in Tile.Heights(kernel.Rows, v))
        {
            var tile = new Tile(v, h, contracts ? 1 : left.Access.RowStride, contracts ? height : 1, width, width, kernel.Depth);
            w.Open($"for (; m <= lastRow - {h}; m += {h})");
            w.Line(tile.Call(code, contracts ? $"workspace + (long)m * {kernel.Depth}" : $"{left.Name} + (long)m * {left.Access.RowStride}", "panel", "tile"));
            w.Line($"{name($"Epilogue_{v.Bits}")}(tile{Pointers(kernel, declared: false)}{string.Join("", Arguments.Names(Arguments.Of(kernel.Stores)).Select(n => ", " + n))}, m, {h}, n);");
            w.Close();
        }

        w.Close();
    }

    private static void Epilogue(CodeWriter w, MatMulKernel kernel, Spelling v)
    {
        w.Open("for (int r = row; r < row + rows; r++)");
        foreach (KernelOperand operand in kernel.Operands.Skip(2))
        {
            if (operand.Access.Kind == AccessKind.Element)
            {
                string r = operand.Access.Period > 0 ? $"(r % {operand.Access.Period})" : "r";
                w.Line($"float* {operand.Name}_r = {operand.Name} + (long){r} * {operand.Access.RowStride};");
            }
        }

        var scalars = new Dictionary<Expr, string>();
        var broadcasts = new Dictionary<Expr, string>();
        var leaves = new TileLeaves(kernel, v);
        var setup = new ExprEmitter(w, v, leaves, "", scalars, broadcasts);
        foreach (Store store in kernel.Stores)
        {
            setup.Hoist(store.Value);
        }

        bool ragged = kernel.Columns % v.Lanes != 0;
        if (kernel.Columns % v.TileColumns == 0)
        {
            for (int j = 0; j < v.TileVectors; j++)
            {
                w.Open("");
                Block(j == 0 ? "column" : $"(column + {j * v.Lanes})", j == 0 ? "tile" : $"tile + {j * v.Lanes}", null);
                w.Close();
            }
        }
        else
        {
            w.Line($"int columns = Math.Min({v.TileColumns}, {kernel.Columns} - column);");
            w.Line("int j = 0;");
            w.Open($"for (; j <= columns - {v.Lanes}; j += {v.Lanes})");
            Block("(column + j)", "tile + j", null);
            w.Close();
            if (ragged)
            {
                w.Open("if (j < columns)");
                Block("(column + j)", "tile + j", "columns - j");
                w.Close();
            }
        }

        w.Line($"tile += {v.TileColumns};");
        w.Close();

        void Block(string column, string accumulator, string? tail)
        {
            leaves.Column = column;
            leaves.Tail = tail;
            leaves.Accumulator = v.Load(accumulator);
            var emitter = new ExprEmitter(w, v, leaves, "e", scalars, broadcasts);
            foreach (Store store in kernel.Stores)
            {
                emitter.Count(store.Value);
            }

            foreach (Store store in kernel.Stores)
            {
                KernelOperand target = kernel.Operands[store.Operand];
                Text.VectorStore(w, v, emitter.Vector(store.Value), $"{target.Name}_r + {column}", tail, store.Mode);
            }
        }
    }

    // One row: every output is a dot product of the row and a row of the weight, four of them at a time.
    private static void DotProducts(CodeWriter w, MatMulKernel kernel, Spelling v)
    {
        KernelOperand input = kernel.Operands[0];
        KernelOperand weight = kernel.Operands[1];
        int vectors = kernel.Depth / v.Lanes;
        int tail = kernel.Depth % v.Lanes;
        int ways = vectors >= 2 ? 2 : 1;
        Text.Range(w, kernel.IsSerial, CodeWriter.Number(kernel.Columns), 16);
        w.Line("int n = start;");
        foreach (int rows in new[] { 4, 1 })
        {
            w.Open(rows == 1 ? "for (; n < end; n++)" : $"for (; n <= end - {rows}; n += {rows})");
            w.Line($"float* w0 = {weight.Name} + (long)n * {weight.Access.RowStride};");
            for (int i = 1; i < rows; i++)
            {
                w.Line($"float* w{i} = w{i - 1} + {weight.Access.RowStride};");
            }

            for (int i = 0; i < rows; i++)
            {
                w.Line($"{v.Type} {string.Join(", ", Enumerable.Range(0, ways).Select(k => $"d{i}_{k} = {v.Type}.Zero"))};");
            }

            if (vectors / ways > 0)
            {
                w.Open($"for (int k = 0; k < {vectors / ways * ways * v.Lanes}; k += {ways * v.Lanes})");
                for (int k = 0; k < ways; k++)
                {
                    string at = k == 0 ? "k" : $"k + {k * v.Lanes}";
                    w.Line($"{v.Type} x{k} = {v.Load($"{input.Name} + {at}")};");
                    for (int i = 0; i < rows; i++)
                    {
                        w.Line($"d{i}_{k} = {v.MultiplyAdd($"x{k}", v.Load($"w{i} + {at}"), $"d{i}_{k}")};");
                    }
                }

                w.Close();
            }

            for (int k = vectors / ways * ways * v.Lanes; k < vectors * v.Lanes; k += v.Lanes)
            {
                Single(CodeWriter.Number(k), null);
            }

            if (tail > 0)
            {
                Single(CodeWriter.Number(vectors * v.Lanes), CodeWriter.Number(tail));
            }

            for (int i = 0; i < rows; i++)
            {
                w.Open("");
                w.Line($"float dot = Simd.Sum({(ways == 1 ? $"d{i}_0" : $"d{i}_0 + d{i}_1")});");
                string column = i == 0 ? "n" : $"(n + {i})";
                var emitter = new ExprEmitter(w, null, new DotLeaves(kernel, column), "e", [], []);
                foreach (Store store in kernel.Stores)
                {
                    string value = emitter.Scalar(store.Value);
                    string target = $"{kernel.Operands[store.Operand].Name}[{column}]";
                    w.Line(store.Mode switch
                    {
                        StoreMode.Replace => $"{target} = {value};",
                        StoreMode.Add => $"{target} += {value};",
                        _ => $"{target} = accumulate ? {target} + {value} : {value};",
                    });
                }

                w.Close();
            }

            w.Close();

            void Single(string at, string? count)
            {
                string Read(string pointer) => count is null ? v.Load($"{pointer} + {at}") : v.LoadTail($"{pointer} + {at}", count);
                w.Open("");
                w.Line($"{v.Type} x = {Read(input.Name)};");
                for (int i = 0; i < rows; i++)
                {
                    w.Line($"d{i}_0 = {v.MultiplyAdd("x", Read($"w{i}"), $"d{i}_0")};");
                }

                w.Close();
            }
        }
    }

    private sealed class TileLeaves(MatMulKernel kernel, Spelling v) : IExprLeaves
    {
        public string Column { get; set; } = "";

        public string? Tail { get; set; }

        public string Accumulator { get; set; } = "";

        public string Columns => $"({v.Broadcast($"(float){Column}")} + Simd.Lanes{v.Bits})";

        public string Elements => $"{v.Class}.Create((uint)(r * {kernel.Columns} + {Column})) + Vector{v.Bits}<uint>.Indices";

        public bool VariesByColumn(int operand) => kernel.Operands[operand].Access.Kind is AccessKind.Element or AccessKind.ColumnVector;

        public string Scalar(OperandExpr operand)
        {
            KernelOperand o = kernel.Operands[operand.Operand];
            return o.Access.Kind == AccessKind.Scalar ? $"{o.Name}[0]" : $"{o.Name}[(long){(o.Access.Period > 0 ? $"(r % {o.Access.Period})" : "r")} * {o.Access.RowStride}]";
        }

        public string Vector(OperandExpr operand)
        {
            KernelOperand o = kernel.Operands[operand.Operand];
            string pointer = (o.Access.Kind == AccessKind.Element ? $"{o.Name}_r" : o.Name) + " + " + Column;
            return Tail is null ? v.Load(pointer) : v.LoadTail(pointer, Tail);
        }
    }

    private sealed class DotLeaves(MatMulKernel kernel, string column) : IExprLeaves
    {
        public string Accumulator => "dot";

        public string Columns => $"(float){column}";

        public string Elements => $"(uint){column}";

        public bool VariesByColumn(int operand) => true;

        public string Scalar(OperandExpr operand)
        {
            KernelOperand o = kernel.Operands[operand.Operand];
            return o.Access.Kind is AccessKind.Scalar or AccessKind.RowScalar ? $"{o.Name}[0]" : $"{o.Name}[{column}]";
        }

        public string Vector(OperandExpr operand) => throw new InvalidOperationException();
    }
}
