using System;

namespace ModelGen.Compiler.Targets.Cpu;

/// <summary>
/// The block of a result that is held in registers: <c>Rows</c> × <c>Vectors</c> accumulators, with the vectors of one row of the
/// right operand and a broadcast of the left beside them. The runtime computes it, at any shape up to these.
/// </summary>
/// <param name="Lanes">Elements of a vector.</param>
/// <param name="Rows">Rows of the block.</param>
/// <param name="Vectors">Vectors of each row.</param>
internal sealed record RegisterTile(int Lanes, int Rows, int Vectors)
{
    /// <summary>A multiple of the rows of every tile.</summary>
    public const int WholeRows = 24;

    /// <summary>Of matrix products: for 32 registers of 512 bits, 16 of 256 bits, and 32 of 128 bits (Arm; half a tile at a time where there are 16).</summary>
    public static RegisterTile[] Products { get; } = [new(16, 8, 3), new(8, 6, 2), new(4, 8, 3)];

    /// <summary>Of attention, whose heads are most often a multiple of two vectors.</summary>
    public static RegisterTile[] Heads { get; } = [new(16, 12, 2), new(8, 6, 2), new(4, 6, 2)];

    /// <summary>Elements of a row.</summary>
    public int Columns => Vectors * Lanes;

    /// <summary>
    /// Whether the left operand may lie in rows: x86 broadcasts an element from anywhere, while Arm multiplies by elements of a
    /// vector, which must hold a column's.
    /// </summary>
    public bool ReadsInPlace => Lanes > 4;

    /// <summary>The one of <paramref name="tiles"/> for a vector width.</summary>
    public static RegisterTile Of(RegisterTile[] tiles, int lanes) => Array.Find(tiles, t => t.Lanes == lanes);
}
