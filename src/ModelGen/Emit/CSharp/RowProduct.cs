using System;
using System.Linq;
using ModelGen.Compiler.Kernels;
using ModelGen.Compiler.Targets.Cpu;
using ModelGen.Compiler.Ops;

namespace ModelGen.Compiler.Emit.CSharp;

/// <summary>
/// A product whose tiles are tiles of the result: strips of the left operand's rows meet panels of the right one's columns. What
/// the workers divide, each packs for itself if it must be packed; the other operand is packed by all together.
/// </summary>
internal abstract class RowProduct(CodeWriter w, KernelCode code, Func<string, string> name, MatMulKernel kernel, ProductPlan plan, Spelling v) : MatMulProduct(w, code, name, kernel, plan, v)
{
    /// <summary>Whether the workers take units in turns of their own, so that there is no common loop over blocks of the contraction.</summary>
    protected virtual bool TakesBlocks => false;

    /// <summary>What a worker packs for itself.</summary>
    protected abstract string Piece { get; }

    /// <summary>What is packed by all.</summary>
    protected abstract string Shared { get; }

    /// <summary>The block of the shared operand that is being read.</summary>
    protected virtual string Packed => Blocking.DepthBlocks > 1 ? "packed" : Shared;

    /// <summary>Units of the shared operand, which the workers divide to pack them.</summary>
    protected abstract string SharedUnits { get; }

    /// <summary>Elements of each step of a packed unit of the shared operand.</summary>
    protected abstract int SharedWidth { get; }

    /// <summary>Elements from one step of a packed strip to the next.</summary>
    protected virtual int PackedHeight => Blocking.Height;

    /// <summary>Elements of a packed strip.</summary>
    protected string StripStep => Depth == "depth" ? $"{Blocking.Height} * depth" : CodeWriter.Number((long)Blocking.Height * Blocking.DepthBlock);

    /// <summary>Vectors of a row that is copied ahead.</summary>
    protected abstract int AheadVectors { get; }

    public sealed override void Emit()
    {
        if (Kernel.Rows.IsDynamic)
        {
            W.Line($"int strips = ({Rows} + {Blocking.Height - 1}) / {Blocking.Height};");
        }

        bool blocks = Blocking.DepthBlocks > 1;
        if (!blocks && (!IsPlain || HasRaggedRows || Kernel.Columns % V.Lanes != 0))
        {
            W.Line($"float* tile = stackalloc float[{Blocking.Height * Blocking.Width}];");
        }

        if (Blocking.Scratch.Has(MatMulBlocking.Piece))
        {
            W.Line($"float* {Piece} = {Scratch(MatMulBlocking.Piece)};");
            if (Blocking.PacksAhead)
            {
                W.Line($"float* next = {Scratch(MatMulBlocking.Next)};");
                W.Line("RowCopy ahead = default;");
            }
        }

        Memory(Shared);
        if (!blocks || TakesBlocks)
        {
            PackShared();
            Multiply();
            return;
        }

        W.Open($"for (int block = 0; block < {Blocking.DepthBlocks}; block++)");
        if (Depth == "depth")
        {
            W.Line($"int depth = {DepthOf("block")};");
        }

        if (Blocking.SharedElements > 0)
        {
            W.Line($"float* {Packed} = {Shared} + (block & 1) * {CodeWriter.Number(Blocking.SharedElements)}L;");
        }

        PackShared();
        Multiply();
        W.Close();
    }

    /// <summary>Prints the work on one block of the contraction, or on all of them where <see cref="TakesBlocks"/> says so.</summary>
    protected abstract void Multiply();

    /// <summary>Packs all that is shared, which is little.</summary>
    protected abstract void PackSharedWhole();

    /// <summary>Packs a worker's part of what is shared, units <c>firstPacked</c> to <c>lastPacked</c>.</summary>
    protected abstract void PackSharedPart(string target);

    /// <summary>The steps of a block of the contraction, the last of which has fewer.</summary>
    protected string DepthOf(string block) => $"Math.Min({Blocking.DepthBlock}, {Kernel.Depth} - {block} * {Blocking.DepthBlock})";

    protected string LeftAt(string strip)
    {
        KernelOperand left = Kernel.Operands[0];
        bool contracts = Kernel.Form == MatMulForm.TN;
        string at = contracts ? $"{strip} * {Blocking.Height}" : $"(long){strip} * {CodeWriter.Number((long)Blocking.Height * left.Access.RowStride)}";
        return $"{left.Name} + {at}{DepthOffset(contracts ? left.Access.RowStride : 1)}";
    }

    protected string RightAt(string column, string block = "block")
    {
        KernelOperand right = Kernel.Operands[1];
        bool transposed = Kernel.Form == MatMulForm.NT;
        string at = column == "0" ? "" : transposed ? $" + (long){column} * {right.Access.RowStride}" : $" + {column}";
        return $"{right.Name}{at}{DepthOffset(transposed ? 1 : right.Access.RowStride, block)}";
    }

    protected string DepthOffset(int stride, string block = "block") => Blocking.DepthBlocks == 1 ? "" : $" + (long){block} * {CodeWriter.Number((long)Blocking.DepthBlock * stride)}";

    protected void PackLeft(string first, string last, string target)
        => W.Line(MatMulEmitter.Pack(Kernel.Form != MatMulForm.TN, LeftAt(first), Kernel.Operands[0].Access.RowStride, Depth, $"Math.Min({last} * {Blocking.Height}, {Rows}) - {first} * {Blocking.Height}", target, Blocking.Height, Blocking.Height));

    protected void PackRight(string column, string count, string target)
        => W.Line(MatMulEmitter.Pack(Kernel.Form == MatMulForm.NT, RightAt(column), Kernel.Operands[1].Access.RowStride, Depth, count, target, Blocking.Width, V.Lanes));

    protected void Swap() => W.Line($"float* done = {Piece};").Line($"{Piece} = next;").Line("next = done;");

    /// <summary>
    /// Multiplies a strip and a panel, and runs the epilogue where that ends the contraction; with a number of steps, rows of what is
    /// multiplied next are copied meanwhile.
    /// </summary>
    protected void Tile(string m, string strip, string panel, string column, int vectors, string? every = null)
    {
        int height = Blocking.Height;
        int width = vectors * V.Lanes;
        int blocks = Blocking.DepthBlocks;
        int stripStep = Blocking.IsLeftInPlace ? 0 : PackedHeight;
        int aheadVectors = every is null ? 0 : AheadVectors;
        PanelTile tile = new(V, height, vectors, stripStep, aheadVectors);
        int rest = Kernel.Rows.Maximum % height;
        string rows = rest == 0 && !Kernel.Rows.IsDynamic ? CodeWriter.Number(height) : "height";
        W.Line($"int row = {m} * {height};");
        if (rows == "height")
        {
            W.Line($"int height = Math.Min({height}, {Rows} - row);");
        }

        string left = strip;
        if (Blocking.IsLeftInPlace)
        {
            KernelOperand operand = Kernel.Operands[0];
            left = $"{operand.Name} + (long)row * {operand.Access.RowStride}{DepthOffset(1)}, {operand.Access.RowStride}";
            if (Blocking.PaddedElements > 0)
            {
                W.Line($"float* a = {operand.Name} + (long)row * {operand.Access.RowStride}{DepthOffset(1)};");
                left = $"a, {PadRows(operand.Access.RowStride, $"height < {height}", "height", Depth, height)}";
            }
        }

        string columns = ColumnCount(column, vectors);
        void Multiply(string left, string result, string stride, string adds = "false")
            => W.Line(tile.Call(left, panel, result, stride, Depth, adds, every));

        if (blocks > 1)
        {
            if (Plan.FetchedOperands.Count > 0)
            {
                W.Open($"if (block == {blocks - 1})");
                PrefetchEpilogue("row", rows, column, columns);
                W.Close();
                W.Line();
            }

            // Sums of the blocks before wait in the workspace, each tile in a place of its own.
            long tileSize = (long)height * Blocking.Width;
            W.Line($"float* sums = workspace + ({m} * {Blocking.Panels}L + {column} / {Blocking.Width}) * {tileSize};");
            Multiply(left, "sums", CodeWriter.Number(width), adds: "block > 0");
            W.Open($"if (block == {blocks - 1})").Line(EpilogueCall("sums", "row", rows, column, columns)).Close();
            return;
        }

        if (columns == CodeWriter.Number(width) && IsPlain)
        {
            // What needs no epilogue goes from the registers to its place.
            Store store = Kernel.Stores[0];
            KernelOperand target = Kernel.Operands[store.Operand];
            string result = $"{target.Name} + (long)row * {target.Access.RowStride} + {column}";
            string stride = CodeWriter.Number(target.Access.RowStride);
            if (rows == "height")
            {
                W.Open($"if (height == {height})");
            }

            Multiply(left, result, stride, store.Mode switch { StoreMode.Replace => "false", StoreMode.Add => "true", _ => "accumulate" });
            if (rows != "height")
            {
                return;
            }

            W.Line();
            W.Line("continue;").Close();
            W.Line();
        }

        PrefetchEpilogue("row", rows, column, columns);
        Multiply(left, "tile", CodeWriter.Number(width));
        W.Line(EpilogueCall("tile", "row", rows, column, columns));
    }

    /// <summary>Whether nothing but the product is stored.</summary>
    protected bool IsPlain => Kernel.Stores.Count == 1 && Kernel.Stores[0].Value is AccumulatorExpr && Kernel.Operands[Kernel.Stores[0].Operand].Access.IsMatrix;

    protected bool HasRaggedRows => Kernel.Rows.IsDynamic || Kernel.Rows.Maximum % Blocking.Height != 0;

    /// <summary>The columns of the panel at <paramref name="column"/>: fewer than it is wide only in the last one.</summary>
    protected string ColumnCount(string column, int vectors)
    {
        int last = Kernel.Columns - ((Blocking.Panels - 1) * Blocking.Width);
        return vectors < Blocking.Vectors || Blocking.Panels == 1 ? CodeWriter.Number(last)
            : Blocking.LastVectors < Blocking.Vectors || last == Blocking.Width ? CodeWriter.Number(Blocking.Width)
            : $"Math.Min({Blocking.Width}, {Kernel.Columns} - {column})";
    }

    private void PackShared()
    {
        if (Blocking.SharedElements == 0)
        {
            return;
        }

        if (Blocking.IsSharedInScratch)
        {
            PackSharedWhole();
            return;
        }

        W.Line($"worker.Range({SharedUnits}, 1, out int firstPacked, out int lastPacked);");
        PackSharedPart($"{Packed} + (long)firstPacked * {SharedWidth} * {Depth}");
        W.Line("worker.Barrier();");
    }
}
