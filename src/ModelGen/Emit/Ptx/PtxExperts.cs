using System.Collections.Generic;
using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Kernels;

namespace ModelGen.Compiler.Emit.Ptx;

/// <summary>Rows that each meet a matrix of their own: a thread for each element of what is stored.</summary>
internal static class PtxExperts
{
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

    /// <summary>A thread for each choice counts what is sorted before it.</summary>
    public static PtxEntry Emit(SortKernel kernel, IReadOnlyList<Dim> counts)
    {
        (int experts, int chosen) = (kernel.Experts, kernel.Chosen);
        (PtxWriter w, PtxKernel k, string row, string column) = Begin(kernel, kernel.Rows, chosen, counts);
        string own = At(w, row, chosen, column), expert = Expert(own, row), before = w.Register('r');
        w.Set(before, "mov.u32", "0");
        w.For("0", k.Extent(kernel.Rows * RowExtent.Literal(chosen)), "1", other =>
        {
            string theirs = Expert(other, w.Op("div.s32", other, PtxWriter.Int(chosen))), counted = w.Label(), next = w.Label();
            w.Line($"@{w.Op("setp.lt.s32", theirs, expert)} bra {counted};");
            w.Line($"@!{w.Op("setp.eq.s32", theirs, expert)} bra {next};");
            w.Line($"@!{w.Op("setp.lt.s32", other, own)} bra {next};");
            w.Place(counted);
            w.Set(before, "add.s32", before, "1");
            w.Place(next);
        });
        StoreIndex(w, k, 1, before, row);
        StoreIndex(w, k, 2, before, expert);
        StoreIndex(w, k, 3, own, before);
        return Entry($"Sort_{PtxEmitter.Text(kernel.Rows)}x{chosen}by{experts}", $"{kernel.Name}: sorts what [{kernel.Rows}] rows are sent to, by experts.", w, kernel.Rows, chosen);

        string Expert(string choice, string ofRow) => w.Op("sub.s32", k.Load(0, choice), w.Op("mul.lo.s32", ofRow, PtxWriter.Int(experts)));
    }

    public static PtxEntry Emit(ExpertProductKernel kernel, IReadOnlyList<Dim> counts)
    {
        (PtxWriter w, PtxKernel k, string row, string column) = Begin(kernel, kernel.Rows, kernel.Columns, counts);
        int stride = kernel.Operands[1].Access.RowStride;
        string matrix = k.Far(k.Load(2, row), (long)kernel.MatrixRows * stride), sum = w.Register('f');
        w.Set(sum, "mov.f32", PtxWriter.Float(0));
        w.For("0", PtxWriter.Int(kernel.Depth), "1", d => w.Set(sum, "fma.rn.f32",
            k.Load(0, At(w, row, kernel.Operands[0].Access.RowStride, d)), k.Load(1, matrix, kernel.IsTransposed ? At(w, d, stride, column) : At(w, column, stride, d)), sum));
        k.Store(3, At(w, row, kernel.Operands[3].Access.RowStride, column), sum, StoreMode.Replace);
        return Entry($"ExpertMatMul_{PtxEmitter.Text(kernel.Rows)}x{kernel.Depth}x{kernel.Columns}", $"{kernel.Name}: each of [{kernel.Rows}, {kernel.Depth}] times its matrix of {kernel.Matrices}.", w, kernel.Rows, kernel.Columns);
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
