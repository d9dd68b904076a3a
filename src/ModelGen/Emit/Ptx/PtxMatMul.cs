using System;
using System.Collections.Generic;
using System.Linq;
using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Kernels;
using ModelGen.Compiler.Ops;
using ModelGen.Compiler.Targets.Cuda;

namespace ModelGen.Compiler.Emit.Ptx;

/// <summary>
/// Matrix products. In single precision a block of threads has a tile of the result, each of its threads a part of that in registers, and both
/// factors pass through memory that the block shares. Single rows, and rows that are to be summed as such, are dot products, a warp each.
/// Tensor cores have the others where factors may be rounded (<see cref="PtxTensorProduct"/>).
/// </summary>
internal static class PtxMatMul
{
    private const int Warp = 32;
    private const int Tile = RegisterTiles.Tile;
    private const int Depth = RegisterTiles.Depth;
    private const int Each = RegisterTiles.Each;

    // A word more than a tile's side, so that a column of it lies in as many banks as a row.
    private const int Pitch = Tile + 1;

    public static PtxEntry Emit(MatMulKernel kernel, CudaProductPlan plan, IReadOnlyList<Dim> counts)
    {
        var w = new PtxWriter();
        var k = new PtxKernel(w, kernel, counts);
        string comment = $"{kernel.Name}: [{kernel.Rows}, {kernel.Depth}] times [{kernel.Depth}, {kernel.Columns}]", stem = $"{PtxEmitter.Text(kernel.Rows)}x{kernel.Depth}x{kernel.Columns}";
        switch (plan)
        {
            case DotProducts:
                Dots(w, k, kernel);
                return new PtxEntry($"Dot_{stem}", comment + ".", w, plan.Blocks(kernel), DotProducts.Warps * Warp);
            case TensorTiles tensor:
                PtxTensorProduct.Emit(w, k, kernel, tensor, (row, column, sum) => Epilogue(w, k, kernel, row, column, sum));
                string precision = tensor.Precision.ToString().ToLowerInvariant();
                return new PtxEntry($"MatMul{kernel.Form}_{stem}_{precision}", $"{comment}, in {precision} on tensor cores.", w, plan.Blocks(kernel), tensor.Tile.Threads);
            default:
                Tiles(w, k, kernel);
                return new PtxEntry($"MatMul{kernel.Form}_{stem}", comment + ".", w, plan.Blocks(kernel), PtxEmitter.Threads);
        }
    }

    private static void Dots(PtxWriter w, PtxKernel k, MatMulKernel kernel)
    {
        string thread = w.Special("%tid.x"), lane = w.Op("and.b32", thread, "31");
        string row = w.Special("%ctaid.y"), column = w.Op("mad.lo.s32", w.Special("%ctaid.x"), PtxWriter.Int(DotProducts.Warps), w.Op("shr.u32", thread, "5"));
        w.Line($"@{w.Op("setp.ge.s32", row, k.Extent(kernel.Rows))} bra {PtxWriter.Exit};");
        w.Line($"@{w.Op("setp.ge.s32", column, PtxWriter.Int(kernel.Columns))} bra {PtxWriter.Exit};");
        string left = k.Address(0, w.Op("mul.lo.s32", row, PtxWriter.Int(kernel.Operands[0].Access.RowStride)));
        string right = k.Address(1, w.Op("mul.lo.s32", column, PtxWriter.Int(kernel.Operands[1].Access.RowStride)));
        string sum = w.Register('f');
        w.Set(sum, "mov.f32", PtxWriter.Float(0));
        w.For(lane, PtxWriter.Int(kernel.Depth), PtxWriter.Int(Warp), d =>
        {
            string bytes = w.Op("mul.wide.s32", d, "4");
            w.Set(sum, "fma.rn.f32", w.Op("ld.global.f32", $"[{w.Op("add.s64", left, bytes)}]"), w.Op("ld.global.f32", $"[{w.Op("add.s64", right, bytes)}]"), sum);
        });
        string total = k.AllLanes(sum);
        w.If(w.Op("setp.eq.s32", lane, "0"), () => Epilogue(w, k, kernel, row, column, total));
    }

    private static void Tiles(PtxWriter w, PtxKernel k, MatMulKernel kernel)
    {
        string thread = w.Special("%tid.x"), x = w.Op("and.b32", thread, "15"), y = w.Op("shr.u32", thread, "4");
        string firstRow = w.Op("mul.lo.s32", w.Special("%ctaid.y"), PtxWriter.Int(Tile)), firstColumn = w.Op("mul.lo.s32", w.Special("%ctaid.x"), PtxWriter.Int(Tile));
        string left = w.Shared("tiles", Math.Max(2 * Depth * Pitch, Each * Each * PtxEmitter.Threads)), right = w.Once("add.s32", left, PtxWriter.Int(4 * Depth * Pitch));
        string rows = k.Extent(kernel.Rows), columns = PtxWriter.Int(kernel.Columns), depth = PtxWriter.Int(kernel.Depth);
        w.Line($"@{w.Op("setp.ge.s32", firstRow, rows)} bra {PtxWriter.Exit};");
        string[,] sums = new string[Each, Each];
        for (int i = 0; i < Each * Each; i++)
        {
            sums[i / Each, i % Each] = w.Register('f');
            w.Set(sums[i / Each, i % Each], "mov.f32", PtxWriter.Float(0));
        }

        string leftRow = w.Op("add.s32", left, w.Op("shl.b32", y, "2")), rightColumn = w.Op("add.s32", right, w.Op("shl.b32", x, "2"));
        w.For("0", depth, PtxWriter.Int(Depth), from =>
        {
            Fill(0, left, firstRow, rows, from, kernel.Form == MatMulForm.TN);
            Fill(1, right, firstColumn, columns, from, kernel.Form != MatMulForm.NT);
            w.Barrier();
            string leftAt = w.Op("mov.u32", leftRow), rightAt = w.Op("mov.u32", rightColumn);
            int turns = (Math.Min(kernel.Depth, Depth) + RegisterTiles.Unrolled - 1) / RegisterTiles.Unrolled;
            w.For("0", PtxWriter.Int(turns), "1", _ =>
            {
                for (int d = 0; d < RegisterTiles.Unrolled; d++)
                {
                    string[] a = [.. Enumerable.Range(0, Each).Select(i => w.Op("ld.shared.f32", FormattableString.Invariant($"[{leftAt}+{4 * ((d * Pitch) + (16 * i))}]")))];
                    string[] b = [.. Enumerable.Range(0, Each).Select(j => w.Op("ld.shared.f32", FormattableString.Invariant($"[{rightAt}+{4 * ((d * Pitch) + (16 * j))}]")))];
                    for (int i = 0; i < Each * Each; i++)
                    {
                        w.Set(sums[i / Each, i % Each], "fma.rn.f32", a[i / Each], b[i % Each], sums[i / Each, i % Each]);
                    }
                }

                w.Set(leftAt, "add.s32", leftAt, PtxWriter.Int(4 * RegisterTiles.Unrolled * Pitch));
                w.Set(rightAt, "add.s32", rightAt, PtxWriter.Int(4 * RegisterTiles.Unrolled * Pitch));
            });
            w.Barrier();
        });

        // Registers have no index and shared memory does: through words of its own each thread comes to its sums one by one, and the epilogue is there once.
        string own = w.Op("add.s32", left, w.Op("shl.b32", thread, "2"));
        for (int i = 0; i < Each * Each; i++)
        {
            w.Line(FormattableString.Invariant($"st.shared.f32 [{own}+{4 * i * PtxEmitter.Threads}], {sums[i / Each, i % Each]};"));
        }

        w.For("0", PtxWriter.Int(Each * Each), "1", i =>
        {
            string row = w.Op("add.s32", firstRow, w.Op("mad.lo.s32", w.Op("shr.u32", i, "2"), "16", y)), column = w.Op("add.s32", firstColumn, w.Op("mad.lo.s32", w.Op("and.b32", i, "3"), "16", x));
            w.If(w.Op("and.pred", w.Op("setp.lt.s32", row, rows), w.Op("setp.lt.s32", column, columns)), () =>
                Epilogue(w, k, kernel, row, column, w.Op("ld.shared.f32", $"[{w.Op("mad.lo.s32", i, PtxWriter.Int(4 * PtxEmitter.Threads), own)}]")));
        });

        // A tile of a factor, contracted extent outermost, with zeros beyond its ends. Neighbouring threads read neighbouring elements.
        void Fill(int operand, string shared, string first, string limit, string from, bool depthIsRow)
        {
            string inner = w.Op("and.b32", thread, depthIsRow ? PtxWriter.Int(Tile - 1) : PtxWriter.Int(Depth - 1)), outer = w.Op("shr.u32", thread, depthIsRow ? "6" : "4");
            int stride = kernel.Operands[operand].Access.RowStride, step = PtxEmitter.Threads / (depthIsRow ? Tile : Depth);
            for (int i = 0; i < (depthIsRow ? Depth : Tile) / step; i++)
            {
                string far = i == 0 ? outer : w.Op("add.s32", outer, PtxWriter.Int(i * step));
                (string d, string n) = depthIsRow ? (far, inner) : (inner, far);
                string depthIndex = w.Op("add.s32", from, d), index = w.Op("add.s32", first, n);
                string value = w.Register('f');
                w.Set(value, "mov.f32", PtxWriter.Float(0));
                string inside = w.Op("and.pred", w.Op("setp.lt.s32", depthIndex, depth), w.Op("setp.lt.s32", index, limit));
                w.If(inside, () =>
                {
                    (string row, string column) = depthIsRow ? (depthIndex, index) : (index, depthIndex);
                    w.Set(value, "ld.global.f32", $"[{k.Address(operand, w.Op("mad.lo.s32", row, PtxWriter.Int(stride), column))}]");
                });
                w.Line($"st.shared.f32 [{w.Op("add.s32", shared, w.Op("shl.b32", w.Op("mad.lo.s32", d, PtxWriter.Int(Pitch), n), "2"))}], {value};");
            }
        }
    }

    private static void Epilogue(PtxWriter w, PtxKernel k, MatMulKernel kernel, string row, string column, string sum)
    {
        string? Offset(int operand)
        {
            Access access = kernel.Operands[operand].Access;
            string? rows = k.RowOffset(kernel.Axes, access.RowStrides, row);
            return access.ColumnStride == 0 ? rows : k.Sum(rows, k.Times(column, PtxWriter.Int(access.ColumnStride)));
        }

        var expressions = new PtxExpressions(k, o => k.Number(o, Offset(o)), _ => true)
        {
            Accumulator = sum,
            Column = column,
            Position = w.Op("mad.lo.s32", row, PtxWriter.Int(kernel.Columns), column),
        };
        foreach (Store store in kernel.Stores)
        {
            k.Store(store.Operand, Offset(store.Operand), expressions.Of(store.Value), store.Mode);
        }
    }
}
