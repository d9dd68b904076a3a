using System;
using ModelGen.Compiler.Kernels;
using ModelGen.Compiler.Targets.Cpu;
using ModelGen.Compiler.Ops;

namespace ModelGen.Compiler.Emit.CSharp;

/// <summary>Strips of rows are a worker's own, as many at a time as the second-level cache holds; they are multiplied with all panels.</summary>
internal sealed class StripProduct(CodeWriter w, KernelCode code, Func<string, string> name, MatMulKernel kernel, ProductPlan plan, Spelling v) : RowProduct(w, code, name, kernel, plan, v)
{
    protected override string Piece => "strip";

    protected override string Shared => "panels";

    protected override string Packed => Blocking.DepthBlocks == 1 && Plan.RightPanels is not null ? Kernel.Operands[1].Name : base.Packed;

    protected override string SharedUnits => CodeWriter.Number(Blocking.Panels);

    protected override int SharedWidth => Blocking.Width;

    protected override int PackedHeight => Blocking.PacksAhead ? Group : Blocking.Height;

    protected override int AheadVectors => Group / V.Lanes;

    /// <summary>Rows of the strips that are multiplied together.</summary>
    private int Group => Blocking.BlockStrips * Blocking.Height;

    protected override void PackSharedWhole() => PackRight("0", CodeWriter.Number(Kernel.Columns), Packed);

    protected override void PackSharedPart(string target)
        => PackRight($"(firstPacked * {Blocking.Width})", $"Math.Min(lastPacked * {Blocking.Width}, {Kernel.Columns}) - firstPacked * {Blocking.Width}", target);

    protected override void Multiply()
    {
        if (FetchesBlock)
        {
            W.Line("bool isFirst = true;");
        }

        if (Blocking.PacksAhead)
        {
            StripsAhead();
            return;
        }

        ForPieces(StripCount, Blocking.Strips, 1, Blocking.BlockStrips, (long)Blocking.Height * Kernel.Columns * Blocking.DepthBlock, () =>
        {
            if (!Blocking.IsLeftInPlace)
            {
                PackLeft("first", "last", "strip");
            }

            AllPanels($"strip + (long)(m - first) * {StripStep}", every: null);
        });
    }

    /// <summary>Whether what a worker packs next comes from memory while its first strips are multiplied, a part with each panel.</summary>
    private bool FetchesBlock => Blocking.DepthBlocks > 1;

    // Tiles of some strips pack those that the worker most likely takes next.
    private void StripsAhead()
    {
        KernelOperand left = Kernel.Operands[0];
        int groups = (Blocking.Strips + Blocking.BlockStrips - 1) / Blocking.BlockStrips;
        int wholeGroups = Kernel.Rows.Maximum / Group;
        W.Line($"worker.Share({groups});");
        W.Open("while (worker.Take())");
        W.Line($"int first = worker.Unit * {Blocking.BlockStrips};");
        W.Line(Blocking.Strips % Blocking.BlockStrips == 0 ? $"int last = first + {Blocking.BlockStrips};" : $"int last = Math.Min(first + {Blocking.BlockStrips}, {StripCount});");
        W.Open("if (!worker.IsForeseen)");
        string count = wholeGroups == groups ? CodeWriter.Number(Group) : $"Math.Min({Group}, {Rows} - first * {Blocking.Height})";
        W.Line(MatMulEmitter.Pack(false, LeftAt("first"), left.Access.RowStride, Depth, count, "strip", Group, Group));
        W.Close();
        W.Line();
        W.Line("// The strips that most likely follow are packed by the tiles of these.");
        W.Line($"bool follow = worker.Foresee({wholeGroups}, out int following, out int _);");
        W.Line($"ahead.Begin({LeftAt($"following * {Blocking.BlockStrips}")}, {left.Access.RowStride}, follow ? {Depth} : 0, next, {Group});");
        AllPanels($"strip + (m - first) * {Blocking.Height}", CodeWriter.Number(Blocking.StepsOfCopy(Blocking.Panels * Blocking.BlockStrips)));
        W.Line();
        Swap();
        W.Close();
    }

    private void AllPanels(string strip, string? every)
    {
        ForPanels("n", (column, vectors) =>
        {
            W.Line($"float* panel = {Packed} + (long){column} * {Depth};");
            if (FetchesBlock)
            {
                KernelOperand right = Kernel.Operands[1];
                bool transposed = Kernel.Form == MatMulForm.NT;
                string count = $"(lastPacked - firstPacked) * {Blocking.Width}";
                string next = $"{RightAt($"(firstPacked * {Blocking.Width})")} + {CodeWriter.Number((long)Blocking.DepthBlock * (transposed ? 1 : right.Access.RowStride))}";
                W.Open("if (isFirst)");
                W.Line($"Panels.Prefetch({next}, {right.Access.RowStride}, {(transposed ? count : Depth)}, {(transposed ? Depth : count)}, {column} / {Blocking.Width}, {Blocking.Panels});");
                W.Close();
                W.Line();
            }

            W.Open("for (int m = first; m < last; m++)");
            Tile("m", strip, "panel", column, vectors, every);
            W.Close();
        });
        if (FetchesBlock)
        {
            W.Line();
            W.Line("isFirst = false;");
        }
    }
}
