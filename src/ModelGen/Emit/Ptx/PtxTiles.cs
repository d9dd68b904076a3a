using System;

namespace ModelGen.Compiler.Emit.Ptx;

/// <summary>In which order blocks go through the tiles of a product.</summary>
internal static class PtxTiles
{
    /// <summary>A block's tile: those that run at once are some tiles high, column by column of these, so that they read few tiles of both factors.</summary>
    /// <param name="w">Where instructions go.</param>
    /// <param name="x">The block's number of the columns' dimension.</param>
    /// <param name="y">The block's number of the rows' dimension.</param>
    /// <param name="columns">Columns of tiles.</param>
    /// <param name="rows">Rows of tiles.</param>
    /// <param name="height">How many rows of tiles are gone through together.</param>
    public static (string Row, string Column) Place(PtxWriter w, string x, string y, int columns, int rows, int height)
    {
        int high = Math.Min(rows, height);
        if (high == 1 || columns == 1)
        {
            return (y, x);
        }

        string index = w.Op("mad.lo.s32", y, PtxWriter.Int(columns), x), band = w.Op("div.s32", index, PtxWriter.Int(high * columns)), within = w.Op("rem.s32", index, PtxWriter.Int(high * columns));
        string first = w.Op("mul.lo.s32", band, PtxWriter.Int(high));
        string ofBand = rows % high == 0 ? PtxWriter.Int(high) : w.Op("min.s32", w.Op("sub.s32", PtxWriter.Int(rows), first), PtxWriter.Int(high));
        return (w.Op("add.s32", first, w.Op("rem.s32", within, ofBand)), w.Op("div.s32", within, ofBand));
    }
}
