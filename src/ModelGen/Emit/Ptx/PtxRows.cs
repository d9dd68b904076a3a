using System;
using System.Collections.Generic;
using System.Linq;
using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Kernels;

namespace ModelGen.Compiler.Emit.Ptx;

/// <summary>Row-wise kernels. Without reductions each thread has an element; with them, a warp or a block of threads has a row.</summary>
internal static class PtxRows
{
    private const int Warp = 32;

    /// <summary>From so many columns on a row is a block's.</summary>
    private const int WideRow = 1024;

    /// <summary>Of so few rows, which leave the device idle, already from so many columns on.</summary>
    private const int FewRows = 64;
    private const int WideOfFew = 128;

    public static PtxEntry Emit(RowKernel kernel, IReadOnlyList<Dim> counts)
    {
        var w = new PtxWriter();
        var k = new PtxKernel(w, kernel, counts);
        bool reduces = kernel.Phases.Any(p => p.Reductions.Count > 0);
        string comment = $"{kernel.Name}: {(reduces ? "every row" : "every element")} of [{kernel.Rows}, {kernel.Columns}].";
        if (!reduces)
        {
            Elements(w, k, kernel);
            return new PtxEntry($"Map_{PtxEmitter.Text(kernel.Rows)}x{kernel.Columns}", comment, w, PtxEmitter.BlocksFor((long)kernel.Rows.Maximum * kernel.Columns), PtxEmitter.Threads);
        }

        bool wide = kernel.Columns >= WideRow || (kernel.Columns >= WideOfFew && kernel.Rows is { IsDynamic: false, Maximum: <= FewRows });
        Rows(w, k, kernel, wide ? PtxEmitter.Threads : Warp);
        int rows = kernel.Rows.Maximum;
        return new PtxEntry($"Rows_{PtxEmitter.Text(kernel.Rows)}x{kernel.Columns}", comment, w, wide ? (Math.Max(1, rows), 1) : PtxEmitter.BlocksFor((long)rows * Warp), PtxEmitter.Threads);
    }

    private static void Elements(PtxWriter w, PtxKernel k, RowKernel kernel)
    {
        string columns = PtxWriter.Int(kernel.Columns);
        string index = k.Element(k.Extent(kernel.Rows * RowExtent.Literal(kernel.Columns)), PtxEmitter.Threads);
        string row = kernel.Columns == 1 ? index : w.Op("div.s32", index, columns), column = kernel.Columns == 1 ? "0" : w.Op("rem.s32", index, columns);
        var expressions = new PtxExpressions(k, o => k.Number(o, Offset(k, kernel, o, row, column)), _ => true) { Column = column, Position = index };
        foreach (Store store in kernel.Phases.SelectMany(p => p.Stores))
        {
            void Write() => k.Store(store.Operand, Offset(k, kernel, store.Operand, row, column), expressions.Of(store.Value), store.Mode);
            if (kernel.Operands[store.Operand].Access.ColumnStride != 0 || kernel.Columns == 1)
            {
                Write();
            }
            else
            {
                // One of a row's threads stores what the row has one of; what only that one computes is no other's to use.
                w.If(w.Op("setp.eq.s32", column, "0"), () =>
                {
                    Write();
                    expressions.NextElement();
                });
                expressions.NextElement();
            }
        }
    }

    private static void Rows(PtxWriter w, PtxKernel k, RowKernel kernel, int team)
    {
        string row, lane;
        string thread = w.Special("%tid.x");
        if (team == Warp)
        {
            row = w.Op("mad.lo.s32", w.Special("%ctaid.x"), PtxWriter.Int(PtxEmitter.Threads / Warp), w.Op("shr.u32", thread, "5"));
            lane = w.Op("and.b32", thread, "31");
        }
        else
        {
            (row, lane) = (w.Special("%ctaid.x"), thread);
        }

        w.Line($"@{w.Op("setp.ge.s32", row, k.Extent(kernel.Rows))} bra {PtxWriter.Exit};");
        string? partials = team == Warp ? null : w.Shared("partials", kernel.Phases.Sum(p => p.Reductions.Count) * (team / Warp));
        int combined = 0;
        string column = "";
        var expressions = new PtxExpressions(k, o => k.Number(o, Offset(k, kernel, o, row, column)), o => kernel.Operands[o].Access.ColumnStride != 0);
        foreach (RowPhase phase in kernel.Phases)
        {
            Store[] wide = [.. phase.Stores.Where(s => kernel.Operands[s.Operand].Access.ColumnStride != 0)];
            foreach (Expr root in phase.Reductions.Select(r => r.Value).Concat(phase.Stores.Select(s => s.Value)))
            {
                expressions.Hoist(root);
            }

            string[] sums = [.. phase.Reductions.Select(r =>
            {
                string sum = w.Register('f');
                w.Set(sum, "mov.f32", PtxWriter.Float(r.Kind == ReductionKind.Sum ? 0 : double.NegativeInfinity));
                return sum;
            })];
            if (sums.Length + wide.Length > 0)
            {
                w.For(lane, PtxWriter.Int(kernel.Columns), PtxWriter.Int(team), c =>
                {
                    column = c;
                    expressions.NextElement();
                    expressions.Column = c;
                    expressions.Position = w.Op("mad.lo.s32", row, PtxWriter.Int(kernel.Columns), c);
                    for (int i = 0; i < sums.Length; i++)
                    {
                        w.Set(sums[i], Combining(phase.Reductions[i].Kind), sums[i], expressions.Of(phase.Reductions[i].Value));
                    }

                    foreach (Store store in wide)
                    {
                        k.Store(store.Operand, Offset(k, kernel, store.Operand, row, c), expressions.Of(store.Value), store.Mode);
                    }
                });
            }

            for (int i = 0; i < sums.Length; i++)
            {
                string total = k.AllLanes(sums[i], phase.Reductions[i].Kind);
                expressions.RowValues[phase.Reductions[i].Index] = partials is null ? total : OfBlock(w, total, partials, 4 * (team / Warp) * combined++, thread, team / Warp, phase.Reductions[i].Kind);
            }

            Store[] single = [.. phase.Stores.Except(wide)];
            if (single.Length > 0)
            {
                // In the order of the phase's stores, a row's one number comes behind its columns.
                string[] values = [.. single.Select(s => expressions.Of(s.Value))];
                w.If(w.Op("setp.eq.s32", lane, "0"), () =>
                {
                    for (int i = 0; i < single.Length; i++)
                    {
                        k.Store(single[i].Operand, Offset(k, kernel, single[i].Operand, row, "0"), values[i], single[i].Mode);
                    }
                });
            }
        }
    }

    /// <summary>What all warps of a block have, in every thread, combined in the order of the warps. Each reduction has words of its own, so that none waits for the last one's readers.</summary>
    private static string OfBlock(PtxWriter w, string value, string partials, int place, string thread, int warps, ReductionKind kind)
    {
        string slot = w.Op("add.s32", partials, w.Op("shl.b32", w.Op("shr.u32", thread, "5"), "2"));
        w.If(w.Op("setp.eq.s32", w.Op("and.b32", thread, "31"), "0"), () => w.Line(FormattableString.Invariant($"st.shared.f32 [{slot}+{place}], {value};")));
        w.Barrier();
        string total = w.Op("ld.shared.f32", FormattableString.Invariant($"[{partials}+{place}]"));
        for (int i = 1; i < warps; i++)
        {
            total = w.Op(Combining(kind), total, w.Op("ld.shared.f32", FormattableString.Invariant($"[{partials}+{place + (4 * i)}]")));
        }

        return total;
    }

    private static string Combining(ReductionKind kind) => kind == ReductionKind.Sum ? "add.rn.f32" : "max.NaN.f32";

    private static string? Offset(PtxKernel k, RowKernel kernel, int operand, string row, string column)
    {
        Access access = kernel.Operands[operand].Access;
        string? rows = k.RowOffset(kernel.Axes, access.RowStrides, row);
        return access.ColumnStride == 0 ? rows : k.Sum(rows, k.Times(column, PtxWriter.Int(access.ColumnStride)));
    }
}

/// <summary>Sums over rows: a block of threads has some columns, each of its warps every so-manieth row.</summary>
internal static class PtxColumnSum
{
    private const int Lanes = 32;
    private const int Warps = 8;

    public static PtxEntry Emit(ColumnSumKernel kernel, IReadOnlyList<Dim> counts)
    {
        var w = new PtxWriter();
        var k = new PtxKernel(w, kernel, counts);
        int blocks = (kernel.Columns + Lanes - 1) / Lanes;
        string thread = w.Special("%tid.x"), lane = w.Op("and.b32", thread, "31"), warp = w.Op("shr.u32", thread, "5");
        string block = w.Special("%ctaid.x"), kept = w.Special("%ctaid.y");
        string column = w.Op("mad.lo.s32", block, PtxWriter.Int(Lanes), lane), inside = w.Op("setp.lt.s32", column, PtxWriter.Int(kernel.Columns));

        // The rows that are kept are fewer than the grid's where the run counts fewer.
        w.Line($"@{w.Op("setp.ge.s32", kept, k.Extent(kernel.KeptRows))} bra {PtxWriter.Exit};");
        string partials = w.Shared("partials", kernel.Sums.Count * Warps * Lanes);
        string[] sums = [.. kernel.Sums.Select(_ =>
        {
            string sum = w.Register('f');
            w.Set(sum, "mov.f32", PtxWriter.Float(0));
            return sum;
        })];
        w.If(inside, () => w.For(warp, k.Extent(kernel.SummedRows), PtxWriter.Int(Warps), row =>
        {
            string? Row(IReadOnlyList<RowExtent> strides)
                => k.Sum(k.RowOffset(kernel.Kept, [.. strides.Take(kernel.Kept.Count)], kept), k.RowOffset(kernel.Summed, [.. strides.Skip(kernel.Kept.Count)], row));

            string? Offset(int operand)
            {
                Access access = kernel.Operands[operand].Access;
                return access.ColumnStride == 0 ? Row(access.RowStrides) : k.Sum(Row(access.RowStrides), k.Times(column, PtxWriter.Int(access.ColumnStride)));
            }

            string number = Row(kernel.RowNumber) ?? "0";
            var expressions = new PtxExpressions(k, o => k.Number(o, Offset(o)), _ => true) { Column = column, Position = number == "0" ? column : w.Op("mad.lo.s32", number, PtxWriter.Int(kernel.Columns), column) };
            for (int i = 0; i < sums.Length; i++)
            {
                w.Set(sums[i], "add.rn.f32", sums[i], expressions.Of(kernel.Sums[i].Value));
            }
        }));
        string slot = w.Op("add.s32", partials, w.Op("shl.b32", thread, "2"));
        for (int i = 0; i < sums.Length; i++)
        {
            w.Line(FormattableString.Invariant($"st.shared.f32 [{slot}+{4 * i * Warps * Lanes}], {sums[i]};"));
        }

        w.Barrier();
        w.If(w.Op("setp.eq.s32", warp, "0"), () => w.If(inside, () =>
        {
            for (int i = 0; i < sums.Length; i++)
            {
                string total = sums[i];
                for (int other = 1; other < Warps; other++)
                {
                    total = w.Op("add.rn.f32", total, w.Op("ld.shared.f32", FormattableString.Invariant($"[{slot}+{4 * ((i * Warps) + other) * Lanes}]")));
                }

                Access target = kernel.Operands[kernel.Sums[i].Operand].Access;
                k.Store(kernel.Sums[i].Operand, k.Sum(k.RowOffset(kernel.Kept, [.. target.RowStrides.Take(kernel.Kept.Count)], kept), k.Times(column, PtxWriter.Int(target.ColumnStride))), total, kernel.Sums[i].Mode);
            }
        }));
        return new PtxEntry($"ColumnSum_{PtxEmitter.Text(kernel.SummedRows)}x{kernel.Columns}", $"{kernel.Name}: sums over {kernel.SummedRows} rows of {kernel.Columns} columns, for each of {kernel.KeptRows}.", w, (blocks, Math.Max(1, kernel.KeptRows.Maximum)), Warps * Lanes);
    }
}
