using System;
using System.Collections.Generic;
using System.Linq;
using ModelGen.Compiler.Kernels;
using ModelGen.Compiler.Ops;
using ModelGen.Compiler.Targets.Cpu;

namespace ModelGen.Compiler.Emit.CSharp;

/// <summary>Panels of columns are a worker's own; each is multiplied with all strips of rows.</summary>
internal sealed class PanelProduct(Func<string, string> name, MatMulKernel kernel, ProductPlan plan, IReadOnlyList<MatMulBlocking> widths) : RowProduct(name, kernel, plan, widths)
{
    protected override bool TakesBlocks => Structure.PacksAhead && NeedsOrder;

    protected override string Piece => "panel";

    protected override string Shared => "rows";

    protected override string AheadVectors => Constant(HasRaggedColumns ? "aheadVectors" : "vectors", b => b.Vectors);

    private bool NeedsOrder => Widths[0].NeedsOrder;

    private string StripAt => $"{Packed} + (long)m * {Product(Height, Depth)}";

    protected override void PackShared(bool together) => Pack(Kernel.Form != MatMulForm.TN, LeftAt("0"), Left.Access.RowStride, Rows, Packed, Height, Height, together);

    protected override void Multiply()
    {
        if (Structure.PacksAhead)
        {
            PanelsAhead();
            return;
        }

        switch (Structure.Work)
        {
            case WorkDivision.Units:
                W.Line($"worker.Share({Panels});");
                W.Open("while (worker.Take())");
                break;
            case WorkDivision.Alone:
                W.Open($"for (int p = 0; p < {Panels}; p++)");
                break;
            default:
                W.Line($"worker.Range({Panels}, 1, out int start, out int end);");
                W.Open("for (int p = start; p < end; p++)");
                break;
        }

        string panel = Structure.Work == WorkDivision.Units ? "worker.Unit" : "p";
        W.Line($"int n = {panel} * {Width};");
        Extent();
        if (Plan.RightPanels is not null)
        {
            W.Line($"float* panel = {Right.Name} + (long)n * {Kernel.Depth};");
        }
        else
        {
            PackRight("n", Columns, "panel");
        }

        Strip("0", Strips, StripAt, panel, every: null, () =>
        {
            // A panel beyond the worker's own does no harm.
            if (Structure.FetchesPanels)
            {
                (string rows, string columns) = Kernel.Form == MatMulForm.NT ? (Width, Depth) : (Depth, Width);
                W.Line($"Panels.Prefetch({RightAt($"n + {Width}")}, {Right.Access.RowStride}, {rows}, {columns}, m, {Strips});");
            }
        });
        W.Close();
    }

    private void Extent()
    {
        if (HasRaggedColumns)
        {
            Extent("columns", CodeWriter.Number(Kernel.Columns), "n");
        }
    }

    // Tiles of a panel pack the one that the worker most likely takes next, be it of the next block. Those that have not all their columns
    // are packed when they are taken.
    private void PanelsAhead()
    {
        string later = NeedsOrder ? "later" : "block";
        string every = Constant("every", b => b.StepsOfCopy(b.Strips));
        if (Kernel.Rows.IsDynamic)
        {
            every = "every";
            string block = Constant("depthBlock", b => b.DepthBlock);
            W.Line($"int every = {block} / ({Quotient(block, "strips")});");
        }

        W.Line($"worker.Share({Panels}{(NeedsOrder ? $", {Blocks}" : "")});");
        W.Open("while (worker.Take())");
        W.Line($"int {(NeedsOrder ? "block = worker.Round, " : "")}n = worker.Unit * {Width};");
        if (NeedsOrder)
        {
            W.Line($"int depth = {DepthOf("block")};");
        }

        Extent();
        W.Open("if (!worker.IsForeseen)");
        PackRight("n", Columns, "panel");
        W.Close();
        W.Line();
        W.Line("// The panel that most likely follows is packed by the tiles of this one.");
        W.Line($"bool follows = worker.Foresee({(HasRaggedColumns ? Constant("wholePanels", b => Kernel.Columns / b.Width) : Panels)}, out int following, out {(NeedsOrder ? "int later" : "int _")});");
        W.Line($"ahead.Begin({RightAt($"following * {Width}", later)}, {Right.Access.RowStride}, follows ? {DepthOf(later)} : 0, next, {Width});");
        Strip("0", Strips, StripAt, "worker.Unit", every);
        W.Line();
        Swap();
        W.Close();
    }
}
