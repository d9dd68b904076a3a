using System;
using System.Collections.Generic;
using System.Linq;
using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Kernels;
using ModelGen.Compiler.Ops;

namespace ModelGen.Compiler.Emit.Ptx;

/// <summary>
/// Matrix products in single precision. A block of threads has a tile of the result, each of its threads a part of that in registers, and both
/// factors pass through memory that the block shares. Single rows, and rows that are to be summed as such, are dot products, a warp each.
/// </summary>
internal static class PtxMatMul
{
    private const int Warp = 32;
    private const int Tile = 64;
    private const int Depth = 16;
    private const int Each = 4;

    // A word more than a tile's side, so that a column of it lies in as many banks as a row.
    private const int Pitch = Tile + 1;

    public static PtxEntry Emit(MatMulKernel kernel, IReadOnlyList<Dim> counts)
    {
        var w = new PtxWriter();
        var k = new PtxKernel(w, kernel, counts);
        string comment = $"{kernel.Name}: [{kernel.Rows}, {kernel.Depth}] times [{kernel.Depth}, {kernel.Columns}].", stem = $"{PtxEmitter.Text(kernel.Rows)}x{kernel.Depth}x{kernel.Columns}";
        if (kernel.Form == MatMulForm.NT && (kernel.RowByRow || kernel.Rows == RowExtent.Literal(1)))
        {
            Dots(w, k, kernel);
            int warps = PtxEmitter.Threads / Warp;
            return new PtxEntry($"Dot_{stem}", comment, w, ((kernel.Columns + warps - 1) / warps, Math.Max(1, kernel.Rows.Maximum)), PtxEmitter.Threads);
        }

        Tiles(w, k, kernel);
        return new PtxEntry($"MatMul{kernel.Form}_{stem}", comment, w, ((kernel.Columns + Tile - 1) / Tile, Math.Max(1, (kernel.Rows.Maximum + Tile - 1) / Tile)), PtxEmitter.Threads);
    }

    private static void Dots(PtxWriter w, PtxKernel k, MatMulKernel kernel)
    {
        string thread = w.Special("%tid.x"), lane = w.Op("and.b32", thread, "31");
        string row = w.Special("%ctaid.y"), column = w.Op("mad.lo.s32", w.Special("%ctaid.x"), PtxWriter.Int(PtxEmitter.Threads / Warp), w.Op("shr.u32", thread, "5"));
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
        string left = w.Shared("left", Depth * Pitch), right = w.Shared("right", Depth * Pitch);
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
            for (int d = 0; d < Depth; d++)
            {
                string[] a = [.. Enumerable.Range(0, Each).Select(i => w.Op("ld.shared.f32", FormattableString.Invariant($"[{leftRow}+{4 * ((d * Pitch) + (16 * i))}]")))];
                string[] b = [.. Enumerable.Range(0, Each).Select(j => w.Op("ld.shared.f32", FormattableString.Invariant($"[{rightColumn}+{4 * ((d * Pitch) + (16 * j))}]")))];
                for (int i = 0; i < Each * Each; i++)
                {
                    w.Set(sums[i / Each, i % Each], "fma.rn.f32", a[i / Each], b[i % Each], sums[i / Each, i % Each]);
                }
            }

            w.Barrier();
        });
        for (int i = 0; i < Each; i++)
        {
            string row = w.Op("add.s32", firstRow, w.Op("add.s32", y, PtxWriter.Int(16 * i))), next = w.Label();
            w.Line($"@{w.Op("setp.ge.s32", row, rows)} bra {next};");
            for (int j = 0; j < Each; j++)
            {
                string column = w.Op("add.s32", firstColumn, w.Op("add.s32", x, PtxWriter.Int(16 * j))), sum = sums[i, j];
                w.If(w.Op("setp.lt.s32", column, columns), () => Epilogue(w, k, kernel, row, column, sum));
            }

            w.Place(next);
        }

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
