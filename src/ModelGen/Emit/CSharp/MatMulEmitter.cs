using System;
using System.Collections.Generic;
using System.Linq;
using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Kernels;
using ModelGen.Compiler.Targets.Cpu;
using ModelGen.Compiler.Ops;

namespace ModelGen.Compiler.Emit.CSharp;

/// <summary>
/// Matrix products. The register tile reads a packed panel of columns and rows of the other operand, where they lie or packed into
/// strips; what it multiplies next is packed meanwhile, a row at a time, and the epilogue runs on the tile while it is in the
/// first-level cache. How the work is cut and divided is <see cref="MatMulBlocking"/>'s choice. A single row
/// is multiplied by dot products instead (<see cref="DotProductEmitter"/>).
/// </summary>
internal static class MatMulEmitter
{
    public static KernelCode Emit(MatMulKernel kernel, ProductPlan plan)
    {
        ArgumentKinds arguments = Arguments.Of(kernel.Rows) | EpilogueArguments(kernel);
        string letters = kernel.Form == MatMulForm.TN ? "Contract" : kernel.Form == MatMulForm.NT ? "Linear" : "Multiply";
        string formula = kernel.Form switch
        {
            MatMulForm.NT => $"[{kernel.Rows}, {kernel.Depth}] · [{kernel.Columns}, {kernel.Depth}]ᵀ",
            MatMulForm.NN => $"[{kernel.Rows}, {kernel.Depth}] · [{kernel.Depth}, {kernel.Columns}]",
            _ => $"[{kernel.Depth}, {kernel.Rows}]ᵀ · [{kernel.Depth}, {kernel.Columns}]",
        };
        var code = new KernelCode($"{letters}_{Text.Extent(kernel.Rows)}x{kernel.Depth}x{kernel.Columns}", $"{Text.Describe(kernel)}: {formula}.", kernel, arguments)
        {
            Workspace = plan.Workspace is null ? null : "workspace",
        };
        if (plan.IsDotProducts)
        {
            code.ForEachWidth((w, name, v) => DotProductEmitter.Emit(w, code, name, kernel, v));
        }
        else
        {
            code.ForEachWidth((w, name, v) => MatMulProduct.Of(w, code, name, kernel, plan, v).Emit());
        }

        foreach (Spelling v in Spelling.All)
        {
            code.Method($"Epilogue_{v.Bits}", $"float* tile{Pointers(kernel, declared: true)}{string.Join("", Arguments.Declarations(EpilogueArguments(kernel)).Select(d => ", " + d))}, int row, int rows, int column, int columns", (w, _) => Epilogue(w, kernel, v));
        }

        return code;
    }

    public static KernelCode Emit(PackKernel kernel)
    {
        var code = new KernelCode($"Pack_{kernel.Depth}x{kernel.Columns}", $"{kernel.Operands[0].Name}, [{kernel.Depth}, {kernel.Columns}], packed into panels of columns.", kernel, ArgumentKinds.None);
        code.ForEachWidth((w, _, v) =>
        {
            int width = MatMulBlocking.PackedVectors(kernel.Columns, v.PanelTile) * v.Lanes;
            Text.Range(w, kernel.IsSerial(), CodeWriter.Number(kernel.Columns), width);
            w.Line(Pack(kernel.Form == MatMulForm.NT, $"{kernel.Operands[0].Name} + {(kernel.Form == MatMulForm.NT ? $"(long)start * {kernel.Operands[0].Access.RowStride}" : "start")}", kernel.Operands[0].Access.RowStride,
                CodeWriter.Number(kernel.Depth), "end - start", $"panels + (long)start * {kernel.Depth}", width, v.Lanes));
        });
        return code;
    }

    /// <summary>Runs the epilogue on a tile of sums.</summary>
    public static string EpilogueCall(Func<string, string> name, MatMulKernel kernel, Spelling v, string tile, string row, string rows, string column, string columns)
        => $"{name($"Epilogue_{v.Bits}")}({tile}{Pointers(kernel, declared: false)}{string.Join("", Arguments.Names(EpilogueArguments(kernel)).Select(n => ", " + n))}, {row}, {rows}, {column}, {columns});";

    private static ArgumentKinds EpilogueArguments(MatMulKernel kernel)
        => Arguments.Of(kernel.Stores) | (kernel.Axes.Count > 1 ? Addressing.Arguments(kernel.Axes, kernel.Operands.Skip(2)) : ArgumentKinds.None);

    private static string Pointers(MatMulKernel kernel, bool declared)
        => string.Join("", kernel.Operands.Skip(2).Select(o => $", {(!declared ? "" : o.Access.Element == ElementType.Int32 ? "int* " : "float* ")}{o.Name}"));

    /// <summary>Packs rows, or columns, into panels.</summary>
    public static string Pack(bool transposed, string source, int stride, string depth, string count, string target, int width, int granule)
        => $"Panels.PackPanels{(transposed ? "Transposed" : "")}({source}, {stride}, {depth}, {count}, {target}, {width}, {granule});";

    private static void Epilogue(CodeWriter w, MatMulKernel kernel, Spelling v)
    {
        w.Open("for (int r = row; r < row + rows; r++)");
        foreach (KernelOperand operand in kernel.Operands.Skip(2))
        {
            if (operand.Access.Kind == AccessKind.Element)
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
        bool ragged = kernel.Columns % v.Lanes != 0;
        w.Line("int j = 0;");
        w.Open($"for (; j <= columns - {v.Lanes}; j += {v.Lanes})");
        Block("(column + j)", "tile + j", null);
        w.Close();
        if (ragged)
        {
            w.Open("if (j < columns)");
            Block("(column + j)", "tile + j", "columns - j");
            w.Line($"j += {v.Lanes};");
            w.Close();
        }

        w.Line();
        w.Line("tile += j;");
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

    private sealed class TileLeaves(MatMulKernel kernel, Spelling v) : IExprLeaves
    {
        public string Column { get; set; } = "";

        public string? Tail { get; set; }

        public string Accumulator { get; set; } = "";

        public string Element => $"r * {kernel.Columns} + {Column}";

        public bool VariesByColumn(int operand) => kernel.Operands[operand].Access.Kind is AccessKind.Element or AccessKind.ColumnVector;

        public string Scalar(OperandExpr operand)
        {
            KernelOperand o = kernel.Operands[operand.Operand];
            return $"{o.Name}[{Addressing.Row(kernel.Axes, o.Access.RowStrides)}]";
        }

        public string Vector(OperandExpr operand)
        {
            KernelOperand o = kernel.Operands[operand.Operand];
            string pointer = (o.Access.Kind == AccessKind.Element ? $"{o.Name}_r" : o.Name) + " + " + Column;
            return Tail is null ? v.Load(pointer) : v.LoadTail(pointer, Tail);
        }
    }
}
