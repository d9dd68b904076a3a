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
                Tiles(code, kernel, v);
            }
        }

        return code;
    }

    private static int TileRows(MatMulKernel kernel, Spelling v) => Math.Min(v.TileRows, kernel.Rows.Maximum);

    /// <summary>The heights of the tiles that cover the rows: whole tiles and what is left, or single rows where that is not known.</summary>
    private static IEnumerable<int> Heights(MatMulKernel kernel, Spelling v)
    {
        int height = TileRows(kernel, v);
        yield return height;
        if (kernel.Rows.IsDynamic)
        {
            if (height > 2)
            {
                yield return 2;
            }

            if (height > 1)
            {
                yield return 1;
            }
        }
        else if (kernel.Rows.Maximum % height is > 0 and int rest)
        {
            yield return rest;
        }
    }

    private static void Panels(CodeWriter w, Func<string, string> name, MatMulKernel kernel, Spelling v, KernelCode code)
    {
        KernelOperand left = kernel.Operands[0];
        KernelOperand right = kernel.Operands[1];
        int height = TileRows(kernel, v);
        int width = v.TileColumns;
        (int full, int restVectors, _) = Tile.Cover(kernel.Columns, v);
        int panels = full + (restVectors > 0 ? 1 : 0);
        string rows = Text.RowCount(kernel.Rows);
        if (kernel.Form == MatMulForm.TN)
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
        w.Line("float* panel = (float*)worker.Scratch;");
        if (byRows)
        {
            w.Line($"worker.Range({rows}, {height}, out int firstRow, out int lastRow);");
            w.Line($"int start = 0, end = {kernel.Columns};");
        }
        else
        {
            w.Line($"const int firstRow = 0;");
            w.Line($"{(kernel.Rows.IsDynamic ? "int" : "const int")} lastRow = {rows};");
            Text.Range(w, kernel.IsSerial, CodeWriter.Number(kernel.Columns), width);
        }

        w.Open($"for (int n = start; n < end; n += {width})");
        string packed = restVectors == 0 ? CodeWriter.Number(width) : $"Math.Min({width}, {kernel.Columns} - n)";
        w.Line(kernel.Form == MatMulForm.NT
            ? $"Panels.PackTransposed({right.Name} + (long)n * {right.Access.RowStride}, {right.Access.RowStride}, {kernel.Depth}, {packed}, panel, {width});"
            : $"Panels.PackRows({right.Name} + n, {right.Access.RowStride}, {kernel.Depth}, {packed}, panel, {width});");
        if (full > 0 && restVectors > 0)
        {
            w.Open($"if (n < {full * width})");
            RowLoop("");
            w.Close();
            w.Open("else");
            RowLoop("Last");
            w.Close();
        }
        else
        {
            RowLoop(full > 0 ? "" : "Last");
        }

        w.Close();

        void RowLoop(string kind)
        {
            w.Line("int m = firstRow;");
            int[] heights = Heights(kernel, v).ToArray();
            for (int i = 0; i < heights.Length; i++)
            {
                int h = heights[i];
                bool last = i == heights.Length - 1;
                w.Open(last && !kernel.Rows.IsDynamic && i > 0 ? "if (m < lastRow)" : $"for (; m <= lastRow - {h}; m += {h})");
                string a = kernel.Form == MatMulForm.TN ? $"workspace + (long)m * {kernel.Depth}" : $"{left.Name} + (long)m * {left.Access.RowStride}";
                string pointers = string.Join("", kernel.Operands.Skip(2).Select(o => ", " + o.Name));
                string extra = string.Join("", Arguments.Names(TileArguments(kernel)).Select(n => ", " + n));
                w.Line($"{name($"Tile{h}{kind}_{v.Bits}")}({a}, panel{pointers}{extra}, m, n);");
                w.Close();
            }
        }
    }

    private static ArgumentKinds TileArguments(MatMulKernel kernel) => Arguments.Of(kernel.Stores);

    private static void Tiles(KernelCode code, MatMulKernel kernel, Spelling v)
    {
        (int full, int restVectors, int restLast) = Tile.Cover(kernel.Columns, v);
        string pointers = string.Join("", kernel.Operands.Skip(2).Select(o => $", {(o.Access.Element == ElementType.Int32 ? "int" : "float")}* {o.Name}"));
        string extra = string.Join("", Arguments.Declarations(TileArguments(kernel)).Select(d => ", " + d));
        foreach (int height in Heights(kernel, v))
        {
            for (int kind = 0; kind < 2; kind++)
            {
                if (kind == 0 ? full == 0 : restVectors == 0)
                {
                    continue;
                }

                var tile = new Tile(v, height, kind == 0 ? v.TileVectors : restVectors, kind == 0 ? 0 : restLast)
                {
                    ARow = kernel.Form == MatMulForm.TN ? 1 : kernel.Operands[0].Access.RowStride,
                    AStep = kernel.Form == MatMulForm.TN ? TileRows(kernel, v) : 1,
                    BStep = v.TileColumns,
                    Depth = CodeWriter.Number(kernel.Depth),
                };
                code.Method($"Tile{height}{(kind == 0 ? "" : "Last")}_{v.Bits}", $"float* a, float* b{pointers}{extra}, int row, int column", (w, _) =>
                {
                    tile.Contract(w);
                    Epilogue(w, kernel, tile);
                });
            }
        }
    }

    private static void Epilogue(CodeWriter w, MatMulKernel kernel, Tile tile)
    {
        for (int i = 0; i < tile.Rows; i++)
        {
            w.Open("");
            string row = i == 0 ? "row" : $"(row + {i})";
            foreach (KernelOperand operand in kernel.Operands.Skip(2))
            {
                if (operand.Access.Kind == AccessKind.Element)
                {
                    string r = operand.Access.Period > 0 ? $"({row} % {operand.Access.Period})" : row;
                    w.Line($"float* {operand.Name}_r = {operand.Name} + (long){r} * {operand.Access.RowStride} + column;");
                }
            }

            var scalars = new Dictionary<Expr, string>();
            var broadcasts = new Dictionary<Expr, string>();
            for (int j = 0; j < tile.Vectors; j++)
            {
                var leaves = new TileLeaves(kernel, tile.V, row, j, tile.TailOf(j), Tile.Accumulator(i, j));
                var emitter = new ExprEmitter(w, tile.V, leaves, $"e{j.ToString(CultureInfo.InvariantCulture)}", scalars, broadcasts);
                foreach (Store store in kernel.Stores)
                {
                    emitter.Count(store.Value);
                }

                foreach (Store store in kernel.Stores)
                {
                    KernelOperand target = kernel.Operands[store.Operand];
                    Text.VectorStore(w, tile.V, emitter.Vector(store.Value), $"{target.Name}_r{(j == 0 ? "" : $" + {j * tile.V.Lanes}")}", tile.TailOf(j), store.Mode);
                }
            }

            w.Close();
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

    private sealed class TileLeaves(MatMulKernel kernel, Spelling v, string row, int vector, string? tail, string accumulator) : IExprLeaves
    {
        public string Accumulator => accumulator;

        public string Columns => $"({v.Broadcast($"(float)(column + {vector * v.Lanes})")} + Simd.Lanes{v.Bits})";

        public string Elements => $"{v.Class}.Create((uint)({row} * {kernel.Columns} + column + {vector * v.Lanes})) + Vector{v.Bits}<uint>.Indices";

        public bool VariesByColumn(int operand) => kernel.Operands[operand].Access.Kind is AccessKind.Element or AccessKind.ColumnVector;

        public string Scalar(OperandExpr operand)
        {
            KernelOperand o = kernel.Operands[operand.Operand];
            return o.Access.Kind == AccessKind.Scalar ? $"{o.Name}[0]" : $"{o.Name}[(long){(o.Access.Period > 0 ? $"({row} % {o.Access.Period})" : row)} * {o.Access.RowStride}]";
        }

        public string Vector(OperandExpr operand)
        {
            KernelOperand o = kernel.Operands[operand.Operand];
            string pointer = o.Access.Kind == AccessKind.Element ? $"{o.Name}_r" : $"{o.Name} + column";
            pointer += vector == 0 ? "" : $" + {vector * v.Lanes}";
            return tail is null ? v.Load(pointer) : v.LoadTail(pointer, tail);
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
