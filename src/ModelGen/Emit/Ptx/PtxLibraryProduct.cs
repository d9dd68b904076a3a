using System;
using System.Collections.Generic;
using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Kernels;

namespace ModelGen.Compiler.Emit.Ptx;

/// <summary>The epilogue of a product whose sums a library has computed: a thread for each element.</summary>
internal static class PtxLibraryProduct
{
    /// <summary>The entry.</summary>
    /// <param name="kernel">The product.</param>
    /// <param name="sums">The operand that holds the sums, row by row.</param>
    /// <param name="counts">The extents that a run counts.</param>
    public static PtxEntry Emit(MatMulKernel kernel, int sums, IReadOnlyList<Dim> counts)
    {
        var w = new PtxWriter();
        var k = new PtxKernel(w, kernel, counts);
        long elements = (long)kernel.Rows.Maximum * kernel.Columns;
        string index = k.Element(PtxWriter.Int(elements), PtxEmitter.Threads), sum = w.Op("ld.global.f32", $"[{k.Address(sums, index)}]");
        string row = w.Op("div.s32", index, PtxWriter.Int(kernel.Columns)), column = w.Op("rem.s32", index, PtxWriter.Int(kernel.Columns));
        PtxMatMul.Epilogue(w, k, kernel, row, column, sum);
        return new PtxEntry(FormattableString.Invariant($"Epilogue_{PtxEmitter.Text(kernel.Rows)}x{kernel.Columns}"), $"{kernel.Name}: what follows its sums.", w, PtxEmitter.BlocksFor(elements), PtxEmitter.Threads);
    }
}
