using System;
using System.Collections.Generic;
using System.Linq;
using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Kernels;
using ModelGen.Compiler.Targets.Cuda;

namespace ModelGen.Compiler.Emit.Ptx;

/// <summary>Rows that each meet a matrix of their own: which that is, in what order they come, and their products (those with rows of the matrices are <see cref="PtxMatMul"/>'s).</summary>
internal static class PtxExperts
{
    private const int Lanes = 32;
    private const int WordBytes = 4;

    // Of what a warp sorts, the turns whose choices are read together.
    private const int TurnsAhead = 4;

    /// <summary>A thread chooses for each row.</summary>
    public static PtxEntry Emit(ChooseKernel kernel, IReadOnlyList<Dim> counts)
    {
        (int experts, int chosen) = (kernel.Experts, kernel.Chosen);
        (PtxWriter w, PtxKernel k, string row, _) = Begin(kernel, kernel.Rows, 1, counts);
        int scoreStride = kernel.Operands[0].Access.RowStride, maskStride = kernel.Operands[2].Access.RowStride;
        w.For("0", PtxWriter.Int(experts), "1", e => k.Store(2, At(w, row, maskStride, e), PtxWriter.Float(0), StoreMode.Replace));
        string best = w.Register('r'), highest = w.Register('f');
        w.Set(highest, "mov.f32", PtxWriter.Float(0));
        w.For("0", PtxWriter.Int(chosen), "1", j =>
        {
            // As many as there are stands for none yet.
            w.Set(best, "mov.u32", PtxWriter.Int(experts));
            w.For("0", PtxWriter.Int(experts), "1", e => w.If(w.Op("setp.eq.f32", k.Load(2, At(w, row, maskStride, e)), PtxWriter.Float(0)), () =>
            {
                string score = k.Load(0, At(w, row, scoreStride, e)), take = w.Label(), leave = w.Label();
                w.Line($"@{w.Op("setp.eq.s32", best, PtxWriter.Int(experts))} bra {take};");
                w.Line($"@!{w.Op("setp.gt.f32", score, highest)} bra {leave};");
                w.Place(take);
                w.Set(best, "mov.u32", e);
                w.Set(highest, "mov.f32", score);
                w.Place(leave);
            }));
            k.Store(2, At(w, row, maskStride, best), PtxWriter.Float(1), StoreMode.Replace);
            StoreIndex(w, k, 1, At(w, row, chosen, j), At(w, row, experts, best));
        });
        return Entry($"Choose_{PtxEmitter.Text(kernel.Rows)}x{experts}", $"{kernel.Name}: the {chosen} of {experts} experts that score highest, for [{kernel.Rows}] rows.", w, kernel.Rows, 1);
    }

    /// <summary>
    /// A block sorts by counting, each of its warps a part of the choices, 32 at a time: lanes that have the same expert find each other, the first of them counts them, and what is ahead of a lane
    /// is what was counted before and those of its own before it. First each warp counts, then the counts become where each warp's choices of each expert begin, then each goes through its part again.
    /// </summary>
    public static PtxEntry Emit(SortKernel kernel, IReadOnlyList<Dim> counts)
    {
        (int experts, int chosen) = (kernel.Experts, kernel.Chosen);
        var w = new PtxWriter();
        var k = new PtxKernel(w, kernel, counts);

        // A count for each warp and expert, and a sum for each expert: fewer warps count where there are very many experts.
        int warps = PtxEmitter.Threads / Lanes;
        while (warps > 1 && WordBytes * (warps + 1) * (long)experts > TensorTile.SharedBytes)
        {
            warps /= 2;
        }

        if (WordBytes * (warps + 1) * (long)experts > TensorTile.SharedBytes)
        {
            throw new DeviceLimitException(FormattableString.Invariant($"{kernel.Name} sorts by {experts} experts, and a block of threads has memory for the counts of {TensorTile.SharedBytes / WordBytes / 2}"));
        }

        string thread = w.Special("%tid.x"), lane = w.Op("and.b32", thread, PtxWriter.Int(Lanes - 1)), warp = w.Op("shr.u32", thread, "5"), counted = w.Shared("counts", (warps + 1) * experts);
        string sums = w.Op("add.s32", counted, PtxWriter.Int(WordBytes * warps * experts)), own = w.Op("mad.lo.s32", warp, PtxWriter.Int(WordBytes * experts), counted);
        string before = w.Op("sub.s32", w.Op("shl.b32", "1", lane), "1"), all = k.Extent(kernel.Rows * RowExtent.Literal(chosen));
        w.For(thread, PtxWriter.Int(warps * experts), PtxWriter.Int(PtxEmitter.Threads), i => w.Line($"st.shared.u32 [{w.Op("mad.lo.s32", i, PtxWriter.Int(WordBytes), counted)}], 0;"));
        w.Barrier();

        // A warp's part begins and ends at a whole turn.
        string turns = w.Op("div.s32", w.Op("add.s32", all, PtxWriter.Int((Lanes * warps) - 1)), PtxWriter.Int(Lanes * warps)), part = w.Op("shl.b32", turns, "5");
        string begin = w.Op("mul.lo.s32", warp, part), end = w.Op("min.s32", w.Op("add.s32", begin, part), all);
        string counting = w.Op("setp.lt.s32", warp, PtxWriter.Int(warps));
        Pass((_, _, _, _) => { });
        w.Barrier();
        w.For(thread, PtxWriter.Int(experts), PtxWriter.Int(PtxEmitter.Threads), expert =>
        {
            string sum = w.Op("mov.u32", "0"), at = w.Op("mad.lo.s32", expert, PtxWriter.Int(WordBytes), counted);
            for (int i = 0; i < warps; i++)
            {
                w.Set(sum, "add.s32", sum, w.Op("ld.shared.u32", FormattableString.Invariant($"[{at}+{i * WordBytes * experts}]")));
            }

            w.Line($"st.shared.u32 [{w.Op("mad.lo.s32", expert, PtxWriter.Int(WordBytes), sums)}], {sum};");
        });
        w.Barrier();
        w.For(thread, PtxWriter.Int(experts), PtxWriter.Int(PtxEmitter.Threads), expert =>
        {
            string from = w.Op("mov.u32", "0"), at = w.Op("mad.lo.s32", expert, PtxWriter.Int(WordBytes), counted);
            w.For("0", expert, "1", earlier => w.Set(from, "add.s32", from, w.Op("ld.shared.u32", $"[{w.Op("mad.lo.s32", earlier, PtxWriter.Int(WordBytes), sums)}]")));
            for (int i = 0; i < warps; i++)
            {
                string place = FormattableString.Invariant($"[{at}+{i * WordBytes * experts}]"), count = w.Op("ld.shared.u32", place);
                w.Line($"st.shared.u32 {place}, {from};");
                w.Set(from, "add.s32", from, count);
            }
        });
        w.Barrier();
        Pass((choice, row, expert, place) =>
        {
            StoreIndex(w, k, 1, place, row);
            StoreIndex(w, k, 2, place, expert);
            StoreIndex(w, k, 3, choice, place);
        });
        return new PtxEntry($"Sort_{PtxEmitter.Text(kernel.Rows)}x{chosen}by{experts}", $"{kernel.Name}: sorts what [{kernel.Rows}] rows are sent to, by experts.", w, (1, 1), PtxEmitter.Threads);

        // Goes through a warp's choices in order, adds them to the counts, and tells of each what was there before it. What is read of several turns comes together.
        void Pass(Action<string, string, string, string> each) => w.If(counting, () => w.For(begin, end, PtxWriter.Int(Lanes * TurnsAhead), from =>
        {
            string[] choices = [.. Enumerable.Range(0, TurnsAhead).Select(i => w.Op("add.s32", i == 0 ? from : w.Op("add.s32", from, PtxWriter.Int(i * Lanes)), lane))];
            string[] isThere = [.. choices.Select(choice => w.Op("setp.lt.s32", choice, end))], loaded = [.. choices.Select(_ => w.Register('r'))];
            for (int i = 0; i < TurnsAhead; i++)
            {
                // What is not there is sent to an expert that is none.
                w.Set(loaded[i], "mov.u32", PtxWriter.Int(-1));
                w.Line($"@{isThere[i]} ld.global.u32 {loaded[i]}, [{k.Address(0, choices[i])}];");
            }

            for (int i = 0; i < TurnsAhead; i++)
            {
                string row = w.Op("div.s32", choices[i], PtxWriter.Int(chosen));
                string expert = w.Op("selp.b32", w.Op("sub.s32", loaded[i], w.Op("mul.lo.s32", row, PtxWriter.Int(experts))), PtxWriter.Int(-1), isThere[i]);
                string same = w.Op("match.any.sync.b32", expert, "-1"), ahead = w.Op("popc.b32", w.Op("and.b32", same, before)), at = w.Op("mad.lo.s32", expert, PtxWriter.Int(WordBytes), own), count = w.Op("mov.u32", "0");
                w.Line($"@{isThere[i]} ld.shared.u32 {count}, [{at}];");
                w.Line("bar.warp.sync -1;");
                string isFirst = w.Op("and.pred", isThere[i], w.Op("setp.eq.s32", ahead, "0"));
                w.Line($"@{isFirst} st.shared.u32 [{at}], {w.Op("add.s32", count, w.Op("popc.b32", same))};");
                w.Line("bar.warp.sync -1;");
                w.If(isThere[i], () => each(choices[i], row, expert, w.Op("add.s32", count, ahead)));
            }
        }));
    }

    public static PtxEntry Emit(ExpertProductKernel kernel, IReadOnlyList<Dim> counts)
    {
        if (!kernel.IsTransposed)
        {
            return PtxMatMul.Emit(kernel, counts);
        }

        (PtxWriter w, PtxKernel k, string row, string column) = Begin(kernel, kernel.Rows, kernel.Columns, counts);
        int stride = kernel.Operands[1].Access.RowStride;
        string expert = k.Load(2, row), sum = w.Register('f');
        PtxPacked? packed = kernel.Operands[1].Access.Format.IsPlain ? null : new PtxPacked(w, k, 1);
        string matrix = packed is null ? k.Far(expert, (long)kernel.MatrixRows * stride) : w.Op("mul.lo.s32", expert, PtxWriter.Int(kernel.MatrixRows));
        w.Set(sum, "mov.f32", PtxWriter.Float(0));
        w.For("0", PtxWriter.Int(kernel.Depth), "1", d => w.Set(sum, "fma.rn.f32",
            k.Load(0, At(w, row, kernel.Operands[0].Access.RowStride, d)), packed is null ? k.Load(1, matrix, At(w, d, stride, column)) : packed.Number(w.Op("add.s32", matrix, d), column), sum));
        k.Store(3, At(w, row, kernel.Operands[3].Access.RowStride, column), sum, StoreMode.Replace);
        return Entry($"ExpertMatMul_{PtxEmitter.Text(kernel.Rows)}x{kernel.Depth}x{kernel.Columns}", $"{kernel.Name}: each of [{kernel.Rows}, {kernel.Depth}] times its matrix of {kernel.Matrices}, transposed.", w, kernel.Rows, kernel.Columns);
    }

    public static PtxEntry Emit(ExpertGradientKernel kernel, IReadOnlyList<Dim> counts)
    {
        RowExtent rows = RowExtent.Literal(kernel.Matrices * kernel.MatrixRows);
        (PtxWriter w, PtxKernel k, string row, string column) = Begin(kernel, rows, kernel.MatrixColumns, counts);
        string matrix = w.Op("div.s32", row, PtxWriter.Int(kernel.MatrixRows)), left = w.Op("rem.s32", row, PtxWriter.Int(kernel.MatrixRows)), sum = w.Register('f');
        w.Set(sum, "mov.f32", PtxWriter.Float(0));
        w.For("0", PtxWriter.Int(kernel.Rows), "1", r => w.If(w.Op("setp.eq.s32", k.Load(2, r), matrix), () => w.Set(sum, "fma.rn.f32",
            k.Load(0, At(w, r, kernel.Operands[0].Access.RowStride, left)), k.Load(1, At(w, r, kernel.Operands[1].Access.RowStride, column)), sum)));
        k.Store(3, At(w, row, kernel.Operands[3].Access.RowStride, column), sum, kernel.Mode);
        return Entry($"ExpertWeightGradient_{kernel.Rows}x{kernel.MatrixRows}x{kernel.MatrixColumns}", $"{kernel.Name}: the outer products of {kernel.Rows} rows, in {kernel.Matrices} matrices.", w, rows, kernel.MatrixColumns);
    }

    private static (PtxWriter W, PtxKernel K, string Row, string Column) Begin(Kernel kernel, RowExtent rows, int columns, IReadOnlyList<Dim> counts)
    {
        var w = new PtxWriter();
        var k = new PtxKernel(w, kernel, counts);
        string index = k.Element(k.Extent(rows * RowExtent.Literal(columns)), PtxEmitter.Threads);
        return (w, k, w.Op("div.s32", index, PtxWriter.Int(columns)), w.Op("rem.s32", index, PtxWriter.Int(columns)));
    }

    private static PtxEntry Entry(string stem, string comment, PtxWriter w, RowExtent rows, int columns)
        => new(stem, comment, w, PtxEmitter.BlocksFor((long)rows.Maximum * columns), PtxEmitter.Threads);

    private static void StoreIndex(PtxWriter w, PtxKernel k, int operand, string element, string value) => w.Line($"st.global.u32 [{k.Address(operand, element)}], {value};");

    private static string At(PtxWriter w, string row, int stride, string column) => w.Op("mad.lo.s32", row, PtxWriter.Int(stride), column);
}
