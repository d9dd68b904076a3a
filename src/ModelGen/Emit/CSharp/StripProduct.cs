using System;
using System.Collections.Generic;
using ModelGen.Compiler.Kernels;
using ModelGen.Compiler.Ops;
using ModelGen.Compiler.Targets.Cpu;

namespace ModelGen.Compiler.Emit.CSharp;

/// <summary>Strips of rows are a worker's own, as many at a time as the second-level cache holds; they are multiplied with all panels.</summary>
internal sealed class StripProduct(Func<string, string> name, MatMulKernel kernel, ProductPlan plan, IReadOnlyList<MatMulBlocking> widths) : RowProduct(name, kernel, plan, widths)
{
    protected override string Piece => "strip";

    protected override string Shared => "panels";

    protected override string Packed => !Structure.CutsDepth && Plan.RightPanels is not null ? Right.Name : base.Packed;

    protected override string StripStep => Structure.PacksAhead ? Group : Height;

    protected override string AheadVectors => Constant("aheadVectors", b => b.BlockStrips * b.Height / b.Lanes);

    /// <summary>Rows of the strips that are multiplied together.</summary>
    private string Group => Constant("group", b => b.BlockStrips * b.Height);

    /// <summary>Whether what a worker packs next comes from memory while its first strips are multiplied, a part with each panel.</summary>
    private bool FetchesBlock => Structure.CutsDepth && Right.Access.Format.IsPlain;

    protected override void PackShared(bool together)
    {
        if (!Right.Access.Format.IsPlain)
        {
            string first = Structure.CutsDepth ? $"block * {DepthBlock}" : "0";
            W.Line($"Panels.PackPanels({(together ? "worker, " : "")}global::ModelGen.WeightFormat.{Right.Access.Format}, {Right.Name}, {Right.Access.RowStride}, {first}, {Depth}, {Packed}, {Width}, V.Lanes);");
            return;
        }

        Pack(Kernel.Form == MatMulForm.NT, RightAt("0"), Right.Access.RowStride, CodeWriter.Number(Kernel.Columns), Packed, Width, "V.Lanes", together);
    }

    protected override void Multiply()
    {
        if (FetchesBlock)
        {
            W.Line($"worker.Range({Panels}, 1, out int firstPacked, out int lastPacked);");
            W.Line("bool isFirst = true;");
        }

        if (Structure.PacksAhead)
        {
            StripsAhead();
            return;
        }

        OpenPieces(Strips);
        if (!Structure.IsLeftInPlace)
        {
            PackLeft("first", "last", "strip");
        }

        AllPanels($"strip + (long)(m - first) * {Product(Height, Depth)}", every: null);
        W.Close();
    }

    // Tiles of some strips pack those that the worker most likely takes next.
    private void StripsAhead()
    {
        string strips = Constant("blockStrips", b => b.BlockStrips);
        W.Line($"worker.Share({Quotient(Strips, strips)});");
        W.Open("while (worker.Take())");
        W.Line($"int first = worker.Unit * {strips}, last = Math.Min(first + {strips}, {Strips});");
        W.Open("if (!worker.IsForeseen)");
        Pack(false, LeftAt($"first * {Height}"), Left.Access.RowStride, $"Math.Min({Group}, {Rows} - first * {Height})", "strip", Group, Group);
        W.Close();
        W.Line();
        W.Line("// The strips that most likely follow are packed by the tiles of these.");
        W.Line($"bool follow = worker.Foresee({Constant("wholeGroups", b => Kernel.Rows.Maximum / (b.BlockStrips * b.Height))}, out int following, out int _);");
        W.Line($"ahead.Begin({LeftAt($"following * {Group}")}, {Left.Access.RowStride}, follow ? {Depth} : 0, next, {Group});");
        AllPanels($"strip + (m - first) * {Height}", Constant("every", b => b.StepsOfCopy(b.Panels * b.BlockStrips)));
        W.Line();
        Swap();
        W.Close();
    }

    private void AllPanels(string strip, string? every)
    {
        W.Open($"for (int n = 0; n < {Kernel.Columns}; n += {Width})");
        if (HasRaggedColumns)
        {
            Extent("columns", CodeWriter.Number(Kernel.Columns), "n");
        }

        W.Line($"float* panel = {Packed} + (long)n * {Depth};");
        if (FetchesBlock)
        {
            bool transposed = Kernel.Form == MatMulForm.NT;
            string count = $"(lastPacked - firstPacked) * {Width}";
            W.Open("if (isFirst)");
            W.Line($"Panels.Prefetch({RightAt($"firstPacked * {Width}", "(block + 1)")}, {Right.Access.RowStride}, {(transposed ? count : Depth)}, {(transposed ? Depth : count)}, n / {Width}, {Panels});");
            W.Close();
            W.Line();
        }

        Strip("first", "last", strip, $"n / {Width}", every);
        W.Close();
        if (FetchesBlock)
        {
            W.Line();
            W.Line("isFirst = false;");
        }
    }
}
