using System;
using System.Collections.Generic;
using System.Linq;
using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Kernels;
using ModelGen.Compiler.Ops;
using ModelGen.Compiler.Targets.Cpu;

namespace ModelGen.Compiler.Emit.CSharp;

/// <summary>
/// Matrix products. The register tile reads a packed panel of columns and rows of the other operand, where they lie or packed into
/// strips; what it multiplies next is packed meanwhile, a row at a time, and the epilogue runs on the tile while it is in the
/// first-level cache. How the work is cut and divided is <see cref="MatMulBlocking"/>'s choice. A single row
/// is multiplied by dot products instead (<see cref="DotProductEmitter"/>).
/// </summary>
internal static class MatMulEmitter
{
    /// <summary>Lanes of the widest vectors.</summary>
    private const int WidestLanes = 16;

    private const string PanelEpilogueSuffix = "PanelEpilogue";

    public static KernelCode Emit(MatMulKernel kernel, ProductPlan plan, bool ofPiece)
    {
        ArgumentKinds arguments = Arguments.Of(kernel.Rows) | EpilogueArguments(kernel);
        string letters = kernel.Form == MatMulForm.TN ? "Contract" : kernel.Form == MatMulForm.NT ? "Linear" : "Multiply";
        string formula = kernel.Form switch
        {
            MatMulForm.NT => $"[{kernel.Rows}, {kernel.Depth}] · [{kernel.Columns}, {kernel.Depth}]ᵀ",
            MatMulForm.NN => $"[{kernel.Rows}, {kernel.Depth}] · [{kernel.Depth}, {kernel.Columns}]",
            _ => $"[{kernel.Depth}, {kernel.Rows}]ᵀ · [{kernel.Depth}, {kernel.Columns}]",
        };
        var code = new KernelCode($"{letters}_{Text.Extent(kernel.Rows)}x{kernel.Depth}x{kernel.Columns}{(kernel.Operands[1].Access.Format is { IsPlain: false } packed ? $"_{packed}" : "")}", $"{Text.Describe(kernel)}: {formula}{(ofPiece ? ", some columns" : "")}.", kernel, arguments)
        {
            Workspace = plan.Workspace is null ? null : "workspace",
            IsOfPiece = ofPiece,
        };
        if (plan.IsDotProducts)
        {
            DotProductEmitter.Emit(code, kernel, plan.DotPieces!, plan.MostDotRows);
        }
        else
        {
            Action<CodeWriter, Func<string, string>, IReadOnlyList<int>>? few = plan.FewRows is null ? null : DotProductEmitter.EmitFew(code, kernel, plan);
            foreach (IReadOnlyList<MatMulBlocking> widths in plan.Algorithms)
            {
                string suffix = plan.Algorithms.Count == 1 ? "Each" : CodeWriter.Number(32 * widths[0].Lanes);
                code.Generic(suffix, code.Parameters, widths.Select(b => (32 * b.Lanes, 32 * b.Lanes)), (w, name) =>
                {
                    few?.Invoke(w, name, [.. widths.Select(b => b.Lanes)]);
                    MatMulProduct.Of(name, kernel, plan, widths).Emit(w);
                });
            }
        }

        AddEpilogue(code, kernel);
        return code;
    }

    /// <summary>Adds the methods that run the epilogue on tiles of sums.</summary>
    public static void AddEpilogue(KernelCode code, MatMulKernel kernel)
    {
        code.Generic("Epilogue", $"float* tile{Pointers(kernel, declared: true)}{Declared(EpilogueArguments(kernel))}{(IsRow(kernel) ? "" : ", int row, int rows")}, int column, int columns", [], (w, _) => Epilogue(w, kernel));
        code.Generic(PanelEpilogueSuffix, $"float* tile{Pointers(kernel, declared: true)}{Declared(EpilogueArguments(kernel))}, int row, int column, int columns, int width", [], (w, _) => PanelEpilogue(w, kernel));
    }

    public static KernelCode Emit(PackKernel kernel)
    {
        var code = new KernelCode($"Pack_{kernel.Depth}x{kernel.Columns}", $"{kernel.Operands[0].Name}, [{kernel.Depth}, {kernel.Columns}], packed into panels of columns.", kernel, ArgumentKinds.None);
        code.Generic(w =>
        {
            long[] widths = [.. RegisterTile.Products.Select(t => (long)MatMulBlocking.PackedVectors(kernel.Columns, t) * t.Lanes)];
            bool transposed = kernel.Form == MatMulForm.NT;
            KernelOperand source = kernel.Operands[0];
            w.Line($"int width = Simd.Of<V>({string.Join(", ", widths)});");
            w.Line(kernel.IsSerial() ? $"const int start = 0, end = {kernel.Columns};" : $"worker.Range({kernel.Columns}, width, out int start, out int end);");
            w.Line($"Panels.PackPanels{(transposed ? "Transposed" : "")}({source.Name} + {(transposed ? $"(long)start * {source.Access.RowStride}" : "start")}, {source.Access.RowStride}, {kernel.Depth}, end - start, panels + (long)start * {kernel.Depth}, width, V.Lanes);");
        });
        return code;
    }

    /// <summary>Runs the epilogue on a tile of sums, whose rows are filled up to whole vectors.</summary>
    public static string EpilogueCall(Func<string, string> name, MatMulKernel kernel, string tile, string row, string rows, string column, string columns)
    {
        if (!IsPlain(kernel))
        {
            return $"{name("Epilogue")}({tile}{Pointers(kernel, declared: false)}{string.Join("", Arguments.Names(EpilogueArguments(kernel)).Select(n => ", " + n))}{(IsRow(kernel) ? "" : $", {row}, {rows}")}, {column}, {columns});";
        }

        Store store = kernel.Stores[0];
        KernelOperand target = kernel.Operands[store.Operand];
        string at = row == "0" ? "" : $" + (long){row} * {target.Access.RowStride}";
        return $"RegisterTile.Store<V>({tile}, {rows}, {columns}, {target.Name}{at} + {column}, {target.Access.RowStride}{Adds(store) switch { "false" => "", var adds => ", " + adds }});";
    }

    /// <summary>Whether nothing but the product is stored.</summary>
    public static bool IsPlain(MatMulKernel kernel)
        => kernel.Stores.Count == 1 && kernel.Stores[0].Value is AccumulatorExpr && kernel.Operands[kernel.Stores[0].Operand].Access.IsMatrix;

    /// <summary>Whether what is stored is added to what is there, as an expression.</summary>
    public static string Adds(Store store) => store.Mode switch { StoreMode.Replace => "false", StoreMode.Add => "true", _ => "accumulate" };

    /// <summary>Runs the epilogue on a transposed tile of sums, a row for each column of the result, and stores it in a panel of <paramref name="width"/> rows of the result.</summary>
    public static string PanelEpilogueCall(Func<string, string> name, MatMulKernel kernel, string tile, string row, string column, string columns, string width)
        => $"{name(PanelEpilogueSuffix)}({tile}{Pointers(kernel, declared: false)}{string.Join("", Arguments.Names(EpilogueArguments(kernel)).Select(n => ", " + n))}, {row}, {column}, {columns}, {width});";

    private static string Declared(ArgumentKinds arguments) => string.Join("", Arguments.Declarations(arguments).Select(d => ", " + d));

    private static bool IsRow(MatMulKernel kernel) => kernel.Rows == RowExtent.Literal(1);

    public static ArgumentKinds EpilogueArguments(MatMulKernel kernel)
        => Arguments.Of(kernel.Stores) | Addressing.Arguments(kernel.Axes.Count > 1 ? kernel.Axes : [], kernel.Operands.Skip(2));

    private static string Pointers(MatMulKernel kernel, bool declared)
        => string.Join("", kernel.Operands.Skip(2).Select(o => $", {(!declared ? "" : o.Access.Element == ElementType.Int32 ? "int* " : "float* ")}{o.Name}"));

    private static bool HasRowPointer(MatMulKernel kernel, KernelOperand operand) => operand.Access.Kind == AccessKind.Element && !IsRow(kernel);

    private static string RowPointer(MatMulKernel kernel, KernelOperand operand) => HasRowPointer(kernel, operand) ? operand.Name + "_r" : operand.Name;

    private static void Epilogue(CodeWriter w, MatMulKernel kernel)
    {
        Spelling v = Spelling.Generic;
        if (!IsRow(kernel))
        {
            w.Open("for (int r = row; r < row + rows; r++)");
        }

        foreach (KernelOperand operand in kernel.Operands.Skip(2))
        {
            if (HasRowPointer(kernel, operand))
            {
                w.Line($"float* {operand.Name}_r = {operand.Name} + {Addressing.Row(kernel.Axes, operand.Access.RowStrides)};");
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

        // Rows of the tile lie as far from each other as its panel is wide.
        bool ragged = kernel.Columns % WidestLanes != 0;
        w.Line("int j = 0;");
        w.Open("for (; j <= columns - V.Lanes; j += V.Lanes)");
        Block("column + j", "tile + j", null);
        w.Close();
        if (ragged)
        {
            w.Open("if (j < columns)");
            Block("column + j", "tile + j", "columns - j");
            if (!IsRow(kernel))
            {
                w.Line("j += V.Lanes;");
            }

            w.Close();
        }

        if (!IsRow(kernel))
        {
            w.Line();
            w.Line("tile += j;");
            w.Close();
        }

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
                Text.VectorStore(w, v, emitter.Vector(store.Value), $"{RowPointer(kernel, target)} + {column}", tail, store.Mode);
            }
        }
    }

    private static void PanelEpilogue(CodeWriter w, MatMulKernel kernel)
    {
        Spelling v = Spelling.Generic;
        Store store = kernel.Stores[0];
        w.Line($"float* panel = {kernel.Operands[store.Operand].Name} + (long)row * {kernel.Columns} + (long)column * width;");
        w.Open("for (int c = column; c < column + columns; c++)");
        var leaves = new PanelLeaves(kernel, v);
        var scalars = new Dictionary<Expr, string>();
        var broadcasts = new Dictionary<Expr, string>();
        new ExprEmitter(w, v, leaves, "", scalars, broadcasts).Hoist(store.Value);
        w.Open("for (int j = 0; j < width; j += V.Lanes)");
        var emitter = new ExprEmitter(w, v, leaves, "e", scalars, broadcasts);
        emitter.Count(store.Value);
        Text.VectorStore(w, v, emitter.Vector(store.Value), "panel + j", null, StoreMode.Replace);
        w.Close();
        w.Line();
        w.Line("tile += width;");
        w.Line("panel += width;");
        w.Close();
    }

    // Vectors run along the rows of the result: what a column has is the same in all lanes.
    private sealed class PanelLeaves(MatMulKernel kernel, Spelling v) : IExprLeaves
    {
        public string Column => throw new NotSupportedException();

        public string Element => throw new NotSupportedException();

        public string Accumulator => v.Load("tile + j");

        public bool VariesByColumn(int operand) => false;

        public string Scalar(OperandExpr operand)
        {
            KernelOperand o = kernel.Operands[operand.Operand];
            return $"{o.Name}[{(o.Access.Kind == AccessKind.ColumnVector ? "c" : "0")}]";
        }

        public string Vector(OperandExpr operand) => throw new NotSupportedException();
    }

    private sealed class TileLeaves(MatMulKernel kernel, Spelling v) : IExprLeaves
    {
        public string Column { get; set; } = "";

        public string? Tail { get; set; }

        public string Accumulator { get; set; } = "";

        public string Element => IsRow(kernel) ? Column : $"r * {kernel.Columns} + {Column}";

        public bool VariesByColumn(int operand) => kernel.Operands[operand].Access.Kind is AccessKind.Element or AccessKind.ColumnVector;

        public string Scalar(OperandExpr operand)
        {
            KernelOperand o = kernel.Operands[operand.Operand];
            return $"{o.Name}[{Addressing.Row(kernel.Axes, o.Access.RowStrides)}]";
        }

        public string Vector(OperandExpr operand)
        {
            KernelOperand o = kernel.Operands[operand.Operand];
            string pointer = RowPointer(kernel, o) + " + " + Column;
            return Tail is null ? v.Load(pointer) : v.LoadTail(pointer, Tail);
        }
    }
}
