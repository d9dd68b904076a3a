using System;
using ModelGen.Compiler.Kernels;
using ModelGen.Compiler.Targets.Cpu;
using ModelGen.Compiler.Ops;

namespace ModelGen.Compiler.Emit.CSharp;

/// <summary>Panels of columns are a worker's own; each is multiplied with all strips of rows.</summary>
internal sealed class PanelProduct(CodeWriter w, KernelCode code, Func<string, string> name, MatMulKernel kernel, ProductPlan plan, Spelling v) : RowProduct(w, code, name, kernel, plan, v)
{
    protected override bool TakesBlocks => NeedsOrder && Blocking.PacksAhead;

    protected override string Piece => "panel";

    protected override string Shared => "rows";

    protected override string SharedUnits => StripCount;

    protected override int SharedWidth => Blocking.Height;

    protected override int AheadVectors => Blocking.Vectors;

    /// <summary>Whether the sums of the blocks before must be there for a panel's next one, and no barrier sees to that.</summary>
    private bool NeedsOrder => Blocking.DepthBlocks > 1 && (Blocking.SharedElements == 0 || Blocking.IsSharedInScratch);

    /// <summary>Panels that have all their columns: those that are packed ahead.</summary>
    private int FullPanels => Kernel.Columns / Blocking.Width;

    protected override void PackSharedWhole()
    {
        KernelOperand left = Kernel.Operands[0];
        W.Line(MatMulEmitter.Pack(Kernel.Form != MatMulForm.TN, left.Name, left.Access.RowStride, Depth, Rows, Packed, Blocking.Height, Blocking.Height));
    }

    protected override void PackSharedPart(string target) => PackLeft("firstPacked", "lastPacked", target);

    protected override void Multiply()
    {
        if (Blocking.PacksAhead)
        {
            PanelsAhead();
        }
        else if (Kernel.IsSerial())
        {
            ForPanels("n", Whole);
        }
        else if (Kernel.IsHelped() && !NeedsOrder && Blocking.Panels > 1)
        {
            PanelsTaken();
        }
        else
        {
            PanelsOfRange();
        }
    }

    private void PanelsOfRange()
    {
        W.Line($"worker.Range({Blocking.Panels}, 1, out int start, out int end);");
        if (WholePanels > 0)
        {
            W.Open($"for (int p = start; p < {(HasNarrowerPanel ? $"Math.Min(end, {WholePanels})" : "end")}; p++)");
            Panel("n", "p", Whole);
        }

        if (HasNarrowerPanel)
        {
            W.Open($"if (end == {Blocking.Panels} && start < end)");
            NarrowerPanel("n", Whole);
        }
    }

    private void PanelsTaken()
    {
        // The last worker opens its share before it turns to the narrower panel, so that others may help it.
        W.Line($"worker.Share({WholePanels});");
        if (HasNarrowerPanel)
        {
            W.Open("if (worker.Index == worker.Count - 1)");
            NarrowerPanel("n", Whole);
        }

        W.Open("while (worker.Take())");
        Panel("n", "worker.Unit", Whole);
    }

    // Packs a panel and multiplies it with all strips.
    private void Whole(string column, int vectors)
    {
        if (Plan.RightPanels is not null)
        {
            W.Line($"float* panel = {Kernel.Operands[1].Name} + (long){column} * {Kernel.Depth};");
        }
        else
        {
            PackRight(column, ColumnCount(column, vectors), "panel");
        }

        // A panel beyond the worker's own does no harm.
        bool fetches = Blocking.FetchesPanels;
        if (fetches)
        {
            W.Line($"float* next = {RightAt($"({column} + {vectors * V.Lanes})")};");
        }

        W.Open($"for (int m = 0; m < {StripCount}; m++)");
        if (fetches)
        {
            (string rows, string columns) = (Depth, CodeWriter.Number(Blocking.Width));
            (rows, columns) = Kernel.Form == MatMulForm.NT ? (columns, rows) : (rows, columns);
            W.Line($"Panels.Prefetch(next, {Kernel.Operands[1].Access.RowStride}, {rows}, {columns}, m, {StripCount});");
        }

        Strip(column, vectors, every: null);
        W.Close();
    }

    private void Strip(string column, int vectors, string? every) => Tile("m", $"{Packed} + (long)m * {StripStep}", "panel", column, vectors, every);

    // Tiles of a panel pack the one that the worker most likely takes next, be it of the next block.
    private void PanelsAhead()
    {
        (int width, int stride) = (Blocking.Width, Kernel.Operands[1].Access.RowStride);
        bool isRagged = NeedsOrder && Depth == "depth";
        string later = NeedsOrder ? "later" : "block";
        string every = CodeWriter.Number(Blocking.StepsOfCopy(Blocking.Strips));
        if (Kernel.Rows.IsDynamic)
        {
            every = "every";
            W.Line($"int every = {Blocking.DepthBlock} / (({Blocking.DepthBlock} + strips - 1) / strips);");
        }

        W.Line($"worker.Share({Blocking.Panels}{(NeedsOrder ? $", {Blocking.DepthBlocks}" : "")});");
        W.Open("while (worker.Take())");
        W.Line($"int {(NeedsOrder ? "block = worker.Round, " : "")}n = worker.Unit * {width};");
        if (isRagged)
        {
            W.Line($"int depth = {DepthOf("block")};");
        }

        if (FullPanels < Blocking.Panels)
        {
            W.Open($"if (n == {FullPanels * width})");
            PackRight("n", ColumnCount("n", Blocking.LastVectors), "panel");
            AllStrips(Blocking.LastVectors, every: null);
            W.Line("continue;");
            W.Close();
            W.Line();
        }

        W.Open("if (!worker.IsForeseen)");
        PackRight("n", CodeWriter.Number(width), "panel");
        W.Close();
        W.Line();
        W.Line("// The panel that most likely follows is packed by the tiles of this one.");
        W.Line($"bool follows = worker.Foresee({FullPanels}, out int following, out {(NeedsOrder ? "int later" : "int _")});");
        W.Line($"ahead.Begin({RightAt($"following * {width}", later)}, {stride}, follows ? {(isRagged ? DepthOf(later) : Depth)} : 0, next, {width});");
        AllStrips(Blocking.Vectors, every);
        W.Line();
        Swap();
        W.Close();

        void AllStrips(int vectors, string? every)
        {
            W.Open($"for (int m = 0; m < {StripCount}; m++)");
            Strip("n", vectors, every);
            W.Close();
        }
    }
}
