using System;
using System.Collections.Generic;
using System.Linq;
using ModelGen.Compiler.Kernels;
using ModelGen.Compiler.Targets.Cpu;

namespace ModelGen.Compiler.Emit.CSharp;

/// <summary>
/// Columns are a worker's own: rows of the right operand, read where they lie, are multiplied with panels of the left one's rows.
/// What comes out is the transpose, which is turned while it is in the first-level cache, or stored as it is where a product reads it in panels.
/// </summary>
internal sealed class TransposedProduct(Func<string, string> name, MatMulKernel kernel, ProductPlan plan, IReadOnlyList<MatMulBlocking> widths) : MatMulProduct(name, kernel, plan, widths)
{
    protected override void Body()
    {
        string group = Constant("group", b => b.GroupStrips * b.Height);
        string columns = CodeWriter.Number(Kernel.Columns);
        long tile = Widths.Max(b => (long)b.GroupStrips * b.Height * b.Width);
        W.Line($"// The transpose is computed: rows of the tile are {Right.Name}'s, read where they lie, and its columns are rows of {Left.Name}.{(Structure.StoresPanels ? " It is stored as it is, in the panels that the next product takes." : "")}");
        W.Line(Structure.StoresPanels ? $"float* tile = stackalloc float[{tile}];" : $"float* transpose = stackalloc float[{tile}], tile = stackalloc float[{tile}];");
        Memory("rows");
        if (Structure.ReadsPanels)
        {
            W.Line($"float* rows = {Left.Name}; // in panels already, as the product before stores it");
        }
        else
        {
            Pack(true, Left.Name, Left.Access.RowStride, Rows, "rows", Width, "V.Lanes", together: !Structure.IsSharedInScratch);
        }

        OpenPieces(columns);
        W.Open($"for (int row = 0; row < {Rows}; row += {Width})");
        Extent("height", Rows, "row");
        W.Open($"for (int column = first; column < last; column += {group})");
        string at = $"{Right.Name} + (long)column * {Right.Access.RowStride}", step = CodeWriter.Number(Right.Access.RowStride), count = group;
        if (HasPadding)
        {
            count = "columns";
            W.Line($"int columns = Math.Min({group}, last - column);");
            (at, step) = ("a", PadRows(at, Right.Access.RowStride, "columns", group));
        }

        PrefetchEpilogue("row", "height", "column", count);
        string distance = Constant("distance", b => b.FetchesRows ? (long)b.FetchedRows * Right.Access.RowStride : 0);
        string fetched = distance == "0" ? "0" : $"row == 0 ? {distance} : 0";
        if (Structure.StoresPanels)
        {
            W.Line($"RegisterTile.MultiplyTiles<V>({group}, vectors, {at}, {step}, rows + (long)row * {Depth}, tile, {Depth}, {fetched});");
            W.Line(MatMulEmitter.PanelEpilogueCall(Name, Kernel, "tile", "row", "column", count, "vectors * V.Lanes"));
        }
        else
        {
            W.Line($"RegisterTile.MultiplyTransposed<V>({group}, {count}, vectors, {at}, {step}, rows + (long)row * {Depth}, transpose, tile, {Depth}, {fetched});");
            Epilogue("tile", "row", "height", "column", count);
        }

        W.Close();
        W.Close();
        W.Close();
    }
}
