using System;
using ModelGen.Compiler.Kernels;
using ModelGen.Compiler.Targets.Cpu;

namespace ModelGen.Compiler.Emit.CSharp;

/// <summary>
/// Columns are a worker's own: rows of the right operand, read where they lie, are multiplied with panels of the left one's rows.
/// What comes out is the transpose, which is turned while it is in the first-level cache.
/// </summary>
internal sealed class TransposedProduct(CodeWriter w, KernelCode code, Func<string, string> name, MatMulKernel kernel, ProductPlan plan, Spelling v) : MatMulProduct(w, code, name, kernel, plan, v)
{
    /// <summary>Strips of a group whose tiles are called one by one; more are called in a loop.</summary>
    private const int MostUnrolledStrips = 4;

    private KernelOperand Left => Kernel.Operands[0];

    private KernelOperand Right => Kernel.Operands[1];

    /// <summary>Columns of the result that are turned together.</summary>
    private int Group => Blocking.GroupStrips * Blocking.Height;

    private bool IsDynamic => Kernel.Rows.IsDynamic;

    public override void Emit()
    {
        int width = Blocking.Width;
        W.Line($"// The transpose is computed: rows of the tile are {Right.Name}'s, read where they lie, and its columns are rows of {Left.Name}.");
        if (IsDynamic)
        {
            W.Line($"int panels = ({Rows} + {width - 1}) / {width};");
        }

        W.Line($"float* transpose = stackalloc float[{Group * width}];");
        W.Line($"float* tile = stackalloc float[{Group * width}];");
        Memory("rows");
        Pack();

        // A chunk may have far fewer rows than the most there can be: pieces are made for a sixteenth of them.
        int rows = Math.Max(1, Kernel.Rows.Maximum / (IsDynamic ? 16 : 1));
        ForPieces(CodeWriter.Number(Kernel.Columns), Kernel.Columns, Group, Blocking.BlockStrips * Blocking.Height, (long)Group * rows * Kernel.Depth, () =>
        {
            if (IsDynamic)
            {
                W.Open("for (int p = 0; p < panels; p++)");
                Panel("row", "p", Columns);
            }
            else
            {
                ForPanels("row", Columns);
            }
        });
    }

    private void Pack()
    {
        int width = Blocking.Width;
        if (Blocking.IsSharedInScratch)
        {
            W.Line(MatMulEmitter.Pack(true, Left.Name, Left.Access.RowStride, Depth, Rows, "rows", width, V.Lanes));
            return;
        }

        string source = $"{Left.Name} + (long)firstPacked * {CodeWriter.Number((long)width * Left.Access.RowStride)}";
        string target = $"rows + (long)firstPacked * {CodeWriter.Number((long)width * Kernel.Depth)}";
        W.Line($"worker.Range({(IsDynamic ? "panels" : CodeWriter.Number(Blocking.Panels))}, 1, out int firstPacked, out int lastPacked);");
        W.Line(MatMulEmitter.Pack(true, source, Left.Access.RowStride, Depth, $"Math.Min(lastPacked * {width}, {Rows}) - firstPacked * {width}", target, width, V.Lanes));
        W.Line("worker.Barrier();");
    }

    // The worker's columns, a group at a time, of one panel's rows.
    private void Columns(string row, int vectors)
    {
        string height = RowCount(row, vectors);
        string lanes = CodeWriter.Number(vectors * V.Lanes);
        W.Line($"float* panel = rows + (long){row} * {Depth};");
        if (IsDynamic)
        {
            W.Line($"int height = {height};");
            height = "height";
            if (vectors > 1)
            {
                lanes = "lanes";
                W.Line($"int lanes = (height + {V.Lanes - 1}) / {V.Lanes} * {V.Lanes};");
            }
        }

        W.Open($"for (int column = first; column < last; column += {Group})");
        W.Line($"float* a = {Right.Name} + (long)column * {Right.Access.RowStride};");
        (string step, string columns) = (CodeWriter.Number(Right.Access.RowStride), CodeWriter.Number(Group));
        if (Blocking.PaddedElements > 0)
        {
            columns = "columns";
            W.Line($"int columns = Math.Min({Group}, last - column);");
            step = PadRows(Right.Access.RowStride, $"columns < {Group}", "columns", Depth, Group);
        }

        PrefetchEpilogue(row, height, "column", columns);
        if (lanes == "lanes")
        {
            for (int v = vectors; v >= 1; v--)
            {
                W.Open(v == vectors ? $"if (lanes == {v * V.Lanes})" : v > 1 ? $"else if (lanes == {v * V.Lanes})" : "else");
                Tiles(v, step);
                W.Close();
            }

            W.Line();
        }
        else if (Blocking.FetchesRows && vectors == Blocking.Vectors)
        {
            W.Open("if (p == 0)");
            Tiles(vectors, step, fetches: true);
            W.Close();
            W.Open("else");
            Tiles(vectors, step);
            W.Close();
            W.Line();
        }
        else
        {
            Tiles(vectors, step);
        }

        W.Line($"Panels.PackPanelsTransposed(transpose, {lanes}, {lanes}, {columns}, tile, {Group}, {V.Lanes});");
        W.Line(EpilogueCall("tile", row, height, "column", columns));
        W.Close();
    }

    /// <summary>The rows of the panel at <paramref name="row"/>: fewer than it is wide only in the last one.</summary>
    private string RowCount(string row, int vectors)
    {
        int last = Kernel.Rows.Maximum - ((Blocking.Panels - 1) * Blocking.Width);
        return IsDynamic ? $"Math.Min({Blocking.Width}, {Rows} - {row})"
            : vectors < Blocking.Vectors || Blocking.Panels == 1 ? CodeWriter.Number(last)
            : HasNarrowerPanel || last == Blocking.Width ? CodeWriter.Number(Blocking.Width)
            : $"Math.Min({Blocking.Width}, {Rows} - {row})";
    }

    // A group of columns and a panel.
    private void Tiles(int vectors, string step, bool fetches = false)
    {
        PanelTile tile = new(V, Blocking.Height, vectors, StripStep: 0, AheadVectors: 0, fetches);
        string? ahead = fetches ? CodeWriter.Number((long)Blocking.FetchedRows * Right.Access.RowStride) : null;
        int lanes = vectors * V.Lanes;
        if (Blocking.GroupStrips > MostUnrolledStrips)
        {
            W.Open($"for (int i = 0; i < {Group}; i += {Blocking.Height})");
            W.Line(tile.Call($"a + (long)i * {step}, {step}", "panel", $"transpose + i * {lanes}", CodeWriter.Number(lanes), Depth, ahead: ahead));
            W.Close();
            W.Line();
            return;
        }

        for (int i = 0; i < Blocking.GroupStrips; i++)
        {
            int at = i * Blocking.Height;
            string offset = i == 0 ? "" : step == "step" ? $" + {at}L * step" : $" + {CodeWriter.Number((long)at * Right.Access.RowStride)}";
            W.Line(tile.Call($"a{offset}, {step}", "panel", i == 0 ? "transpose" : $"transpose + {at * lanes}", CodeWriter.Number(lanes), Depth, ahead: ahead));
        }
    }
}
