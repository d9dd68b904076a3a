using System;
using System.Collections.Generic;
using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Targets.Cpu;

namespace ModelGen.Compiler.Emit.CSharp;

/// <summary>
/// The register tile that matrix products and attention share: <c>Rows</c> × two vectors of accumulators, one broadcast of
/// <c>a</c> and two loads of <c>b</c> for each step of the contraction. Strides are literal, so that a tile's rows are
/// displacements from one pointer. Tiles with the same strides are one method, whoever calls it.
/// </summary>
/// <param name="V">The vector width.</param>
/// <param name="Rows">Rows of the tile.</param>
/// <param name="ARow">Elements from one row of <c>a</c> to the next.</param>
/// <param name="AStep">Elements of <c>a</c> from one step of the contraction to the next.</param>
/// <param name="BStep">Elements from one step's row of <c>b</c> to the next.</param>
/// <param name="CRow">Elements from one row of the result to the next.</param>
/// <param name="Depth">Steps of the contraction, or null where the caller passes them.</param>
internal sealed record Tile(Spelling V, int Rows, int ARow, int AStep, int BStep, int CRow, int? Depth)
{
    /// <summary>A call of the tile from a kernel's text.</summary>
    public string Call(string a, string b, string c, string? depth = null)
        => $"RegisterTile.Multiply{(AStep == 1 ? "Rows" : "Strip")}<F{V.Bits}>({Rows}, {V.TileVectors}, {a}, {(AStep == 1 ? ARow : AStep)}, {b}, {BStep}, {c}, {CRow}, {(Depth is { } d ? CodeWriter.Number(d) : depth)});";

    /// <summary>
    /// The heights of the tiles that cover a number of rows: whole tiles and what is left, or pairs and single rows where
    /// that is not known.
    /// </summary>
    public static IEnumerable<int> Heights(RowExtent rows, RegisterTile tile)
    {
        int height = Math.Min(tile.Rows, rows.Maximum);
        yield return height;
        if (rows.IsDynamic)
        {
            if (height > 2)
            {
                yield return 2;
            }

            if (height > 1)
            {
                yield return 1;
            }
        }
        else if (rows.Maximum % height is > 0 and int rest)
        {
            yield return rest;
        }
    }
}
