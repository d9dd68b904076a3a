using System;
using System.Collections.Generic;
using System.Globalization;
using System.Linq;
using ModelGen.Compiler.Kernels;

namespace ModelGen.Compiler.Emit.CSharp;

/// <summary>
/// The register tile that matrix products and attention share: <c>Rows</c> × <c>Vectors</c> accumulators, one broadcast of
/// <c>a</c> and <c>Vectors</c> loads of <c>b</c> for each step of the contraction. Strides are literal, so that a tile's rows are
/// displacements from one pointer.
/// </summary>
internal sealed record Tile(Spelling V, int Rows, int Vectors, int LastCount)
{
    /// <summary>Elements from one row of <c>a</c> to the next, and from one step of the contraction to the next.</summary>
    public int ARow { get; init; }

    public int AStep { get; init; } = 1;

    /// <summary>Elements from one step's row of <c>b</c> to the next.</summary>
    public int BStep { get; init; }

    /// <summary>Whether the last vector of <c>b</c> must not be read beyond its <c>LastCount</c> elements.</summary>
    public bool BIsRagged { get; init; }

    public string Depth { get; init; } = "";

    public bool IsPartial(int vector) => vector == Vectors - 1 && LastCount > 0;

    public static string Accumulator(int row, int vector) => $"c{row}_{vector}";

    /// <summary>Prints the accumulators and the contraction over <c>a</c> and <c>b</c>, which it moves.</summary>
    public void Contract(CodeWriter w)
    {
        for (int i = 0; i < Rows; i++)
        {
            w.Line($"{V.Type} {string.Join(", ", Enumerable.Range(0, Vectors).Select(j => $"{Accumulator(i, j)} = {V.Type}.Zero"))};");
        }

        w.Open($"for (int k = 0; k < {Depth}; k++)");
        for (int j = 0; j < Vectors; j++)
        {
            string pointer = j == 0 ? "b" : $"b + {j * V.Lanes}";
            w.Line($"{V.Type} b{j} = {(BIsRagged && IsPartial(j) ? V.LoadTail(pointer, CodeWriter.Number(LastCount)) : V.Load(pointer))};");
        }

        for (int i = 0; i < Rows; i++)
        {
            w.Line($"{V.Type} a{i} = {V.Broadcast($"a[{CodeWriter.Number((long)i * ARow)}]")};");
            for (int j = 0; j < Vectors; j++)
            {
                w.Line($"{Accumulator(i, j)} = {V.MultiplyAdd($"a{i}", $"b{j}", Accumulator(i, j))};");
            }
        }

        w.Line(AStep == 1 ? "a++;" : $"a += {CodeWriter.Number(AStep)};");
        w.Line($"b += {CodeWriter.Number(BStep)};");
        w.Close();
    }

    /// <summary>How many elements of a vector count, or null for all of them.</summary>
    public string? TailOf(int vector) => IsPartial(vector) ? CodeWriter.Number(LastCount) : null;

    /// <summary>The tiles that cover a number of columns: full ones, and one for what is left.</summary>
    public static (int Full, int RestVectors, int RestLast) Cover(int columns, Spelling v)
    {
        int rest = columns % v.TileColumns;
        return (columns / v.TileColumns, (rest + v.Lanes - 1) / v.Lanes, rest % v.Lanes);
    }
}
