using System;
using System.Collections.Generic;
using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Kernels;

namespace ModelGen.Compiler.Emit.Ptx;

/// <summary>Gathers, scatters and index shuffles: a thread for each element.</summary>
internal static class PtxGathers
{
    // Of a table whose gradient is summed, a block's part: the 50,257 rows of a vocabulary are 786 blocks, each of which looks through all indices.
    private const int TableRowsOfBlock = 64;

    public static PtxEntry Emit(EmbeddingKernel kernel, IReadOnlyList<Dim> counts)
    {
        (PtxWriter w, PtxKernel k, string row, string column, _) = Begin(kernel, kernel.Rows, kernel.Columns, counts);
        string token = k.Load(1, Scaled(w, row, kernel.Operands[1].Access.RowStride));
        string number = kernel.Operands[0].Access.Format.IsPlain ? k.Load(0, k.Far(token, kernel.Operands[0].Access.RowStride), column) : new PtxPacked(w, k, 0).Number(token, column);
        k.Store(2, At(w, row, kernel.Operands[2].Access.RowStride, column), number, StoreMode.Replace);
        return Entry($"Embedding_{PtxEmitter.Text(kernel.Rows)}x{kernel.Columns}", $"{kernel.Name}: rows of a table by index, [{kernel.Rows}, {kernel.Columns}].", w, kernel.Rows, kernel.Columns);
    }

    /// <summary>A table of zeros, unless sums go on, and the sums of the rows that go to each of its rows.</summary>
    public static IEnumerable<PtxEntry> Emit(EmbeddingGradientKernel kernel, IReadOnlyList<Dim> counts)
    {
        int tableStride = kernel.Operands[2].Access.RowStride;
        if (kernel.Mode != StoreMode.Add)
        {
            (PtxWriter z, PtxKernel zeros, string zeroRow, string zeroColumn, _) = Begin(kernel, RowExtent.Literal(kernel.TableRows), kernel.Columns, counts);
            if (kernel.Mode == StoreMode.AddWhenAccumulating)
            {
                z.Line($"@{zeros.Accumulates} bra {PtxWriter.Exit};");
            }

            zeros.Store(2, At(z, zeroRow, tableStride, zeroColumn), PtxWriter.Float(0), StoreMode.Replace);
            yield return Entry($"Zeros_{kernel.TableRows}x{kernel.Columns}", $"{kernel.Name}: a table of zeros, [{kernel.TableRows}, {kernel.Columns}].", z, RowExtent.Literal(kernel.TableRows), kernel.Columns);
        }

        yield return Sums(kernel, counts);
    }

    /// <summary>
    /// A block has some rows of the table, and each of its threads a column of these. The block looks through the indices, as many at a time as it has threads; a
    /// warp's ballot says which are its own, and these are added in their order, the sum of a run of equal ones in a register. So the indices are read
    /// once for each part of the table, each row to be added once, and the order is that of the rows.
    /// </summary>
    private static PtxEntry Sums(EmbeddingGradientKernel kernel, IReadOnlyList<Dim> counts)
    {
        const int Words = PtxEmitter.Threads / 32;
        var w = new PtxWriter();
        var k = new PtxKernel(w, kernel, counts);
        int indexStride = kernel.Operands[0].Access.RowStride, rowStride = kernel.Operands[1].Access.RowStride, tableStride = kernel.Operands[2].Access.RowStride;
        string thread = w.Special("%tid.x"), column = w.Op("mad.lo.s32", w.Special("%ctaid.y"), PtxWriter.Int(PtxEmitter.Threads), thread), isColumn = w.Op("setp.lt.s32", column, PtxWriter.Int(kernel.Columns));
        string first = w.Op("mul.lo.s32", w.Special("%ctaid.x"), PtxWriter.Int(TableRowsOfBlock)), rows = kernel.Rows.IsDynamic ? throw new GraphException($"{kernel.Name}: adds up a dynamic number of rows") : PtxWriter.Int(kernel.Rows.Maximum);
        string tokens = w.Shared("tokens", PtxEmitter.Threads), masks = w.Shared("masks", Words);
        string ownToken = w.Op("add.s32", tokens, w.Op("shl.b32", thread, "2")), ownMask = w.Op("add.s32", masks, w.Op("shl.b32", w.Op("shr.u32", thread, "5"), "2")), isFirstLane = w.Op("setp.eq.s32", w.Op("and.b32", thread, "31"), "0");
        string current = w.Op("mov.u32", "-1"), sum = w.Register('f');
        w.Set(sum, "mov.f32", PtxWriter.Float(0));
        w.For("0", rows, PtxWriter.Int(PtxEmitter.Threads), from =>
        {
            string row = w.Op("add.s32", from, thread), token = w.Op("mov.u32", "-1");
            w.If(w.Op("setp.lt.s32", row, rows), () => w.Set(token, "mov.u32", k.Load(0, Scaled(w, row, indexStride))));
            string isElsewhere = w.Op("setp.ge.u32", w.Op("sub.s32", token, first), PtxWriter.Int(TableRowsOfBlock));
            string elsewhere = w.Op("vote.sync.ballot.b32", isElsewhere, "-1");
            w.Line($"st.shared.u32 [{ownToken}], {token};");
            w.If(isFirstLane, () => w.Line($"st.shared.u32 [{ownMask}], {w.Op("xor.b32", elsewhere, "-1")};"));
            w.Barrier();
            w.For("0", PtxWriter.Int(Words), "1", word =>
            {
                string mask = w.Op("ld.shared.u32", $"[{w.Op("mad.lo.s32", word, "4", masks)}]"), next = w.Label(), done = w.Label();
                w.Place(next);
                w.Line($"@{w.Op("setp.eq.s32", mask, "0")} bra {done};");
                string lowest = w.Op("and.b32", mask, w.Op("neg.s32", mask)), slot = w.Op("mad.lo.s32", word, "32", w.Op("bfind.u32", lowest));
                w.Set(mask, "xor.b32", mask, lowest);
                string found = w.Op("ld.shared.u32", $"[{w.Op("mad.lo.s32", slot, "4", tokens)}]");
                w.If(isColumn, () =>
                {
                    w.If(w.Op("setp.ne.s32", found, current), () =>
                    {
                        w.If(w.Op("setp.ge.s32", current, "0"), () => k.Store(2, At(w, current, tableStride, column), sum, StoreMode.Replace));
                        w.Set(current, "mov.u32", found);
                        w.Set(sum, "mov.f32", k.Load(2, At(w, found, tableStride, column)));
                    });
                    w.Set(sum, "add.rn.f32", sum, k.Load(1, At(w, w.Op("add.s32", from, slot), rowStride, column)));
                });
                w.Line($"bra {next};");
                w.Place(done);
            });
            w.Barrier();
        });
        w.If(isColumn, () => w.If(w.Op("setp.ge.s32", current, "0"), () => k.Store(2, At(w, current, tableStride, column), sum, StoreMode.Replace)));
        return new PtxEntry(
            $"EmbeddingGradient_{kernel.Rows}x{kernel.Columns}",
            $"{kernel.Name}: adds {kernel.Rows} rows of {kernel.Columns} into the table rows that the indices name.",
            w,
            ((kernel.TableRows + TableRowsOfBlock - 1) / TableRowsOfBlock, (kernel.Columns + PtxEmitter.Threads - 1) / PtxEmitter.Threads),
            PtxEmitter.Threads);
    }

    public static PtxEntry Emit(ScatterKernel kernel, IReadOnlyList<Dim> counts)
    {
        (PtxWriter w, PtxKernel k, string row, string column, _) = Begin(kernel, kernel.Rows, kernel.Columns, counts);
        StorageFormat format = kernel.Operands[1].Access.Format;
        string sequence = k.FarBytes(k.Load(2, Scaled(w, row, kernel.Operands[2].Access.RowStride)), format.Distance(kernel.Operands[1].Access.RowStride)), position = "0";
        if (kernel.HasPositions)
        {
            position = k.Load(3, Scaled(w, row, kernel.Operands[3].Access.RowStride));
            position = kernel.IsRing ? RingRow(w, position, kernel.Positions, kernel.Kept) : position;
        }

        string value = k.Load(0, At(w, row, kernel.Operands[0].Access.RowStride, column));
        if (format.IsPlain)
        {
            k.Store(1, sequence, kernel.HasPositions ? w.Op("mad.lo.s32", position, PtxWriter.Int(kernel.PositionStride), column) : column, value, StoreMode.Replace);
        }
        else
        {
            StoreRounded(w, k, format, kernel.Columns, w.Op("add.s64", w.Op("add.s64", k.Base(1), sequence), w.Op("mul.wide.s32", position, PtxWriter.Int(format.Distance(kernel.PositionStride)))), column, value);
        }

        return Entry($"ScatterRows_{PtxEmitter.Text(kernel.Rows)}x{kernel.Columns}", $"{kernel.Name}: [{kernel.Rows}, {kernel.Columns}] into rows of states by the number of their sequence.", w, kernel.Rows, kernel.Columns);
    }

    public static PtxEntry Emit(AppendRowsKernel kernel, IReadOnlyList<Dim> counts)
    {
        (PtxWriter w, PtxKernel k, string row, string column, _) = Begin(kernel, kernel.Batch * kernel.Rows, kernel.Columns, counts);
        string count = k.Extent(kernel.Rows);
        string sequence = w.Op("div.s32", row, count), t = w.Op("rem.s32", row, count);
        int next = 2;
        string position = kernel.Has("positions") ? k.Load(next++, Scaled(w, sequence, 1)) : k.Position;
        if (kernel.Has("lengths"))
        {
            w.Line($"@{w.Op("setp.ge.s32", t, k.Load(next, Scaled(w, sequence, 1)))} bra {PtxWriter.Exit};");
        }

        string at = w.Op("add.s32", position, t);
        if (kernel.IsRing)
        {
            at = RingRow(w, at, kernel.StateRows, kernel.Kept);
        }
        else
        {
            w.Line($"@{w.Op("setp.ge.s32", at, PtxWriter.Int(kernel.StateRows))} bra {PtxWriter.Exit};");
        }

        StorageFormat format = kernel.Operands[1].Access.Format;
        string target = w.Op("mad.lo.s32", sequence, PtxWriter.Int(kernel.StateRows), at), value = k.Load(0, At(w, row, kernel.Operands[0].Access.RowStride, column));
        if (format.IsPlain)
        {
            k.Store(1, At(w, target, kernel.Operands[1].Access.RowStride, column), value, StoreMode.Replace);
        }
        else
        {
            StoreRounded(w, k, format, kernel.Columns, w.Op("add.s64", k.Base(1), w.Op("mul.wide.s32", target, PtxWriter.Int(format.Distance(kernel.Operands[1].Access.RowStride)))), column, value);
        }

        return Entry($"AppendRows_{PtxEmitter.Text(kernel.Batch)}x{PtxEmitter.Text(kernel.Rows)}x{kernel.Columns}", $"{kernel.Name}: rows [{kernel.Batch}, {kernel.Rows}, {kernel.Columns}] into states of {kernel.StateRows} rows.", w, kernel.Batch * kernel.Rows, kernel.Columns);
    }

    public static PtxEntry Emit(TransposeIndicesKernel kernel, IReadOnlyList<Dim> counts)
    {
        (PtxWriter w, PtxKernel k, string t, string b, string index) = Begin(kernel, kernel.Inner, kernel.Outer, counts);
        string source = k.Load(0, w.Op("mad.lo.s32", b, k.Extent(kernel.Inner), t));
        w.Line($"st.global.u32 [{k.Address(1, index)}], {source};");
        return Entry($"TransposeIndices_{kernel.Outer}x{PtxEmitter.Text(kernel.Inner)}", $"{kernel.Name}: indices [{kernel.Outer}, {kernel.Inner}] as [{kernel.Inner}, {kernel.Outer}].", w, kernel.Inner, kernel.Outer);
    }

    /// <summary>
    /// Rounds a number of a row to where a cache has it: a half, or of a block of 32 columns, which a warp has, a byte, with the block's scale. Operations are those of the processor (<c>CacheRows</c>): equal rows give equal bits.
    /// </summary>
    private static void StoreRounded(PtxWriter w, PtxKernel k, StorageFormat format, int columns, string row, string column, string value)
    {
        if (format == StorageFormat.Float16)
        {
            string bounded = w.Op("max.NaN.f32", PtxWriter.Float(-65504), w.Op("min.NaN.f32", PtxWriter.Float(65504), value));
            w.Line($"st.global.b16 [{w.Op("add.s64", row, w.Op("mul.wide.s32", column, "2"))}], {w.Op("cvt.rn.f16.f32", bounded)};");
            return;
        }

        if (format.BlockElements != columns || columns % StorageFormat.BlockColumns != 0)
        {
            throw new GraphException($"rows of {columns} elements in rows of {format.BlockElements}");
        }

        // A block's elements are a warp's: what is written to a row, and whether it is, is the same for all of them.
        string most = k.AllLanes(w.Op("abs.f32", value), ReductionKind.Maximum), isZero = w.Op("setp.lt.f32", most, PtxWriter.Float(1e-30));
        string scale = w.Op("selp.f32", PtxWriter.Float(0), w.Op("div.rn.f32", most, PtxWriter.Float(127)), isZero);
        string factor = w.Op("selp.f32", PtxWriter.Float(0), w.Op("div.rn.f32", PtxWriter.Float(127), most), isZero);

        // To the nearest integer, in the lowest bits of a number of 1.5 * 2^23; the bytes of four lanes are a word.
        string word = w.Op("and.b32", w.Op("mov.b32", w.Op("add.rn.f32", w.Op("mul.rn.f32", value, factor), PtxWriter.Float(12582912))), "255");
        word = w.Op("shl.b32", word, w.Op("shl.b32", w.Op("and.b32", column, "3"), "3"));
        foreach (string distance in new[] { "1", "2" })
        {
            word = w.Op("or.b32", word, w.Op("shfl.sync.bfly.b32", word, distance, "31", "-1"));
        }

        w.If(w.Op("setp.eq.s32", w.Op("and.b32", column, "3"), "0"), () => w.Line($"st.global.u32 [{w.Op("add.s64", row, w.Op("cvt.s64.s32", column))}], {word};"));
        w.If(w.Op("setp.eq.s32", w.Op("and.b32", column, "31"), "0"), () =>
            w.Line($"st.global.f32 [{w.Op("add.s64", row, w.Op("cvt.s64.s32", w.Op("mad.lo.s32", w.Op("shr.u32", column, "5"), "4", PtxWriter.Int(columns))))}], {scale};"));
    }

    /// <summary>The row that a position lies in, of a ring of so many rows of which the first ones are kept.</summary>
    public static string RingRow(PtxWriter w, string position, int rows, int kept)
    {
        if (kept == 0)
        {
            return w.Op("rem.u32", position, PtxWriter.Int(rows));
        }

        string turning = w.Op("add.s32", w.Op("rem.u32", w.Op("sub.s32", position, PtxWriter.Int(kept)), PtxWriter.Int(rows - kept)), PtxWriter.Int(kept));
        return w.Op("selp.b32", position, turning, w.Op("setp.lt.s32", position, PtxWriter.Int(kept)));
    }

    private static (PtxWriter W, PtxKernel K, string Row, string Column, string Index) Begin(Kernel kernel, RowExtent rows, int columns, IReadOnlyList<Dim> counts)
    {
        var w = new PtxWriter();
        var k = new PtxKernel(w, kernel, counts);
        string index = k.Element(k.Extent(rows * RowExtent.Literal(columns)), PtxEmitter.Threads);
        return (w, k, w.Op("div.s32", index, PtxWriter.Int(columns)), w.Op("rem.s32", index, PtxWriter.Int(columns)), index);
    }

    private static PtxEntry Entry(string stem, string comment, PtxWriter w, RowExtent rows, int columns)
        => new(stem, comment, w, PtxEmitter.BlocksFor((long)rows.Maximum * columns), PtxEmitter.Threads);

    private static string Scaled(PtxWriter w, string row, int stride) => stride == 1 ? row : w.Op("mul.lo.s32", row, PtxWriter.Int(stride));

    private static string At(PtxWriter w, string row, int stride, string column) => w.Op("mad.lo.s32", row, PtxWriter.Int(stride), column);
}
