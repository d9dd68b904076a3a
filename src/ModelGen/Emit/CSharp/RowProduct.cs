using System;
using System.Collections.Generic;
using System.Linq;
using ModelGen.Compiler.Kernels;
using ModelGen.Compiler.Ops;
using ModelGen.Compiler.Targets.Cpu;

namespace ModelGen.Compiler.Emit.CSharp;

/// <summary>
/// A product whose tiles are tiles of the result: strips of the left operand's rows meet panels of the right one's columns. What
/// the workers divide, each packs for itself if it must be packed; the other operand is packed by all together.
/// </summary>
internal abstract class RowProduct(Func<string, string> name, MatMulKernel kernel, ProductPlan plan, IReadOnlyList<MatMulBlocking> widths) : MatMulProduct(name, kernel, plan, widths)
{
    /// <summary>Whether the workers take units in turns of their own, so that there is no common loop over blocks of the contraction.</summary>
    protected virtual bool TakesBlocks => false;

    /// <summary>What a worker packs for itself.</summary>
    protected abstract string Piece { get; }

    /// <summary>What is packed by all.</summary>
    protected abstract string Shared { get; }

    /// <summary>The block of the shared operand that is being read.</summary>
    protected virtual string Packed => Structure.CutsDepth ? "packed" : Shared;

    /// <summary>Elements from one step of a packed strip to the next.</summary>
    protected virtual string StripStep => Height;

    /// <summary>Vectors of a row that is copied ahead.</summary>
    protected abstract string AheadVectors { get; }

    /// <summary>Strips of rows.</summary>
    protected string Strips => Kernel.Rows.IsDynamic ? "strips" : Constant("stripCount", b => b.Strips);

    protected string Panels => Constant("panelCount", b => b.Panels);

    /// <summary>Whether nothing but the product is stored.</summary>
    private bool IsPlain => MatMulEmitter.IsPlain(Kernel);

    private bool HasRaggedRows => Kernel.Rows.IsDynamic || IsRagged(b => Kernel.Rows.Maximum % b.Height == 0);

    protected bool HasRaggedColumns => IsRagged(b => Kernel.Columns % b.Width == 0);

    private bool HasRaggedVectors => IsRagged(b => Kernel.Columns % b.Lanes == 0);

    /// <summary>The columns of a panel, and the vectors that hold them.</summary>
    protected string Columns => HasRaggedColumns ? "columns" : Width;

    private string Vectors => HasRaggedColumns ? "vectors" : Constant("vectors", b => b.Vectors);

    private string PanelStep => HasRaggedColumns ? "vectors * V.Lanes" : Width;

    protected string DepthBlock => Constant("depthBlock", b => b.DepthBlock);

    protected string Blocks => Constant("blocks", b => b.DepthBlocks);

    protected sealed override void Body()
    {
        if (Kernel.Rows.IsDynamic)
        {
            W.Line($"int strips = {Quotient(Rows, Height)};");
        }

        if (!Structure.CutsDepth && (!IsPlain || HasRaggedRows || HasRaggedVectors))
        {
            W.Line($"float* tile = stackalloc float[{Widths.Max(b => (long)b.Height * b.Width)}];");
        }

        if (Widths.Any(b => b.Scratch.Has(MatMulBlocking.Piece)))
        {
            W.Line($"float* {Piece} = {Scratch(MatMulBlocking.Piece, "pieceAt")};");
            if (Structure.PacksAhead)
            {
                W.Line($"float* next = {Scratch(MatMulBlocking.Next, "nextAt")};");
                W.Line("RowCopy ahead = default;");
            }
        }

        Memory(Shared);
        if (!Structure.CutsDepth || TakesBlocks)
        {
            PackShared();
            Multiply();
            return;
        }

        W.Open($"for (int block = 0; block < {Blocks}; block++)");
        W.Line($"int depth = {DepthOf("block")};");
        if (Structure.HasShared)
        {
            W.Line($"float* {Packed} = {Shared} + (block & 1) * {Long(Constant("sharedElements", b => b.SharedElements))};");
        }

        PackShared();
        Multiply();
        W.Close();
    }

    /// <summary>Prints the work on one block of the contraction, or on all of them where <see cref="TakesBlocks"/> says so.</summary>
    protected abstract void Multiply();

    /// <summary>Packs all that is shared: by all together, or, where it is little, by each for itself.</summary>
    protected abstract void PackShared(bool together);

    /// <summary>The steps of a block of the contraction, the last of which has fewer.</summary>
    protected string DepthOf(string block)
        => !Structure.CutsDepth ? Depth : IsRagged(b => Kernel.Depth % b.DepthBlock == 0) ? Rest(DepthBlock, CodeWriter.Number(Kernel.Depth), $"{block} * {DepthBlock}") : DepthBlock;

    protected string LeftAt(string row, string block = "block")
    {
        bool contracts = Kernel.Form == MatMulForm.TN;
        string at = row == "0" ? "" : contracts ? $" + {row}" : $" + {Long(row)} * {Left.Access.RowStride}";
        return $"{Left.Name}{at}{DepthOffset(contracts ? Left.Access.RowStride : 1, block)}";
    }

    protected string RightAt(string column, string block = "block")
    {
        bool transposed = Kernel.Form == MatMulForm.NT;
        string at = column == "0" ? "" : transposed ? $" + {Long(column)} * {Right.Access.RowStride}" : $" + {column}";
        return $"{(Right.Access.Format.IsPlain ? "" : "(ushort*)")}{Right.Name}{at}{DepthOffset(transposed ? 1 : Right.Access.RowStride, block)}";
    }

    protected string DepthOffset(int stride, string block) => !Structure.CutsDepth ? "" : $" + {Long(block)} * {Product(DepthBlock, CodeWriter.Number(stride))}";

    protected void PackLeft(string first, string last, string target)
        => Pack(Kernel.Form != MatMulForm.TN, LeftAt($"{first} * {Height}"), Left.Access.RowStride, $"Math.Min({last} * {Height}, {Rows}) - {first} * {Height}", target, Height, Height);

    protected void PackRight(string column, string count, string target)
        => Pack(Kernel.Form == MatMulForm.NT, Right.Access.Format.IsPlain ? RightAt(column) : $"global::ModelGen.WeightFormat.{Right.Access.Format}, {RightAt(column)}", Right.Access.RowStride, count, target, Width, "V.Lanes");

    protected void Swap() => W.Line($"float* done = {Piece};").Line($"{Piece} = next;").Line("next = done;");

    /// <summary>Multiplies strips and a panel, and runs the epilogue where that ends the contraction.</summary>
    /// <param name="first">The first strip.</param>
    /// <param name="last">The last strip, exclusive.</param>
    /// <param name="strip">Where strip <c>m</c> lies, if it was packed.</param>
    /// <param name="panel">The panel's number.</param>
    /// <param name="every">A number of steps after each of which a row of what is multiplied next is copied.</param>
    /// <param name="before">Prints what comes before each.</param>
    protected void Strip(string first, string last, string strip, string panel, string? every, Action? before = null)
    {
        W.Open($"for (int m = {first}; m < {last}; m++)");
        before?.Invoke();
        string rows = HasRaggedRows ? "rowCount" : Height;
        W.Line($"int row = m * {Height}{(HasRaggedRows ? $", rowCount = {Rest(Height, Rows, "row")}" : "")};");
        string left = strip, step = StripStep;
        if (Structure.IsLeftInPlace)
        {
            (left, step) = (LeftAt("row"), CodeWriter.Number(Left.Access.RowStride));
            if (HasPadding)
            {
                (left, step) = ("a", PadRows(left, Left.Access.RowStride, rows, Height));
            }
        }

        if (Structure.CutsDepth)
        {
            string isLast = $"block == {(int.TryParse(Blocks, out int blocks) ? CodeWriter.Number(blocks - 1) : "blocks - 1")}";
            if (Plan.FetchedOperands.Count > 0)
            {
                W.Open($"if ({isLast})");
                PrefetchEpilogue("row", rows, "n", Columns);
                W.Close();
                W.Line();
            }

            // Sums of the blocks before wait in the workspace, each tile in a place of its own.
            W.Line($"float* sums = workspace + (m * {Long(Panels)} + {panel}) * {Product(Height, Width)};");
            Tile(left, step, "sums", PanelStep, every, "block > 0");
            W.Open($"if ({isLast})");
            Epilogue("sums", "row", rows, "n", Columns);
            W.Close();
            W.Close();
            return;
        }

        bool always = !HasRaggedRows && !HasRaggedVectors;
        if (IsPlain)
        {
            // What needs no epilogue goes from the registers to its place.
            Store store = Kernel.Stores[0];
            KernelOperand target = Kernel.Operands[store.Operand];
            if (!always)
            {
                IEnumerable<string> conditions = [.. HasRaggedRows ? new[] { $"rowCount == {Height}" } : [], .. HasRaggedVectors ? new[] { $"{Columns} == {PanelStep}" } : []];
                W.Open($"if ({string.Join(" && ", conditions)})");
            }

            Tile(left, step, $"{target.Name} + (long)row * {target.Access.RowStride} + n", CodeWriter.Number(target.Access.RowStride), every, MatMulEmitter.Adds(store));
            if (always)
            {
                W.Close();
                return;
            }

            W.Line("continue;");
            W.Close();
            W.Line();
        }

        PrefetchEpilogue("row", rows, "n", Columns);
        Tile(left, step, "tile", PanelStep, every, "false");
        Epilogue("tile", "row", rows, "n", Columns);
        W.Close();
    }

    private void Tile(string left, string step, string result, string stride, string? every, string adds)
    {
        string method = $"RegisterTile.Multiply{(Structure.IsLeftInPlace ? "Rows" : "Strip")}";
        string operands = $"{left}, {step}, panel, {PanelStep}, {result}, {stride}, {Depth}";
        W.Line(every is null
            ? $"{method}<V>({Height}, {Vectors}, {operands}{(adds == "false" ? "" : ", " + adds)});"
            : $"{method}Ahead<V>({Vectors}, {operands}, {adds}, &ahead, {AheadVectors}, {every});");
    }

    private void PackShared()
    {
        if (Structure.HasShared)
        {
            PackShared(together: !Structure.IsSharedInScratch);
        }
    }
}
