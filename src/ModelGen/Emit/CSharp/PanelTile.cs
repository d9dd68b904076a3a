using System;
using System.Linq;
using ModelGen.Compiler.Kernels;

namespace ModelGen.Compiler.Emit.CSharp;

/// <summary>
/// The register tile of matrix products over packed operands: for each step of the contraction a row of <c>Vectors</c> vectors
/// from a panel and <c>Height</c> elements from a strip, which follow each other without gaps. It knows no shape, so all
/// products of a model share it.
/// </summary>
/// <param name="V">The vector width.</param>
/// <param name="Rows">Rows that are computed.</param>
/// <param name="Height">Elements from one step of the strip to the next; at least as many as rows.</param>
/// <param name="Vectors">Vectors of a row.</param>
/// <param name="Adds">Whether the sums start from what the result holds.</param>
internal sealed record PanelTile(Spelling V, int Rows, int Height, int Vectors, bool Adds)
{
    /// <summary>A call of the tile; the result's rows are <paramref name="stride"/> elements apart.</summary>
    public string Call(KernelCode code, string strip, string panel, string result, string stride, string depth)
        => $"{code.Share(BaseName, Print)}({strip}, {panel}, {result}, {stride}, {depth});";

    private string BaseName => $"Tile{Rows}x{Vectors * V.Lanes}{(Adds ? "Add" : "")}_{V.Bits}";

    private string Print(string name)
    {
        var w = new CodeWriter();
        w.Line($"// Rows of c{(Adds ? " +" : "")} = a strip of {Rows} rows · a panel of {Vectors * V.Lanes} columns: {Rows * Vectors} accumulators in registers.");
        w.Line("[MethodImpl(MethodImplOptions.AggressiveOptimization)]");
        w.Open($"private static void {name}(float* a, float* b, float* c, int stride, int depth)");
        if (V.Bits == 128)
        {
            // 32 registers hold the tile; where there are 16, it is computed in halves.
            w.Open("if (AdvSimd.Arm64.IsSupported)");
            ByElement(w);
            w.Line("return;");
            w.Close();
            w.Line();
            int half = Math.Min(Rows, 4);
            w.Line("float* first = a, panel = b;");
            w.Open("");
            Broadcasts(w, 0, half);
            w.Close();
            if (Rows > half)
            {
                w.Line();
                w.Line($"a = first + {half};");
                w.Line("b = panel;");
                w.Open("");
                Broadcasts(w, half, Rows);
                w.Close();
            }
        }
        else
        {
            Broadcasts(w, 0, Rows);
        }

        w.Close();
        return w.ToString();
    }

    private void Broadcasts(CodeWriter w, int from, int to)
    {
        Accumulators(w, from, to);
        w.Open("for (int k = 0; k < depth; k++)");
        for (int j = 0; j < Vectors; j++)
        {
            w.Line($"{V.Type} b{j} = {V.Load(Plus("b", j * V.Lanes))};");
        }

        for (int i = from; i < to; i++)
        {
            w.Line($"{V.Type} a{i} = {V.Broadcast($"a[{i - from}]")};");
            for (int j = 0; j < Vectors; j++)
            {
                w.Line($"c{i}_{j} = {V.MultiplyAdd($"a{i}", $"b{j}", $"c{i}_{j}")};");
            }
        }

        w.Line($"a += {Height};");
        w.Line($"b += {Vectors * V.Lanes};");
        w.Close();
        w.Line();
        Stores(w, from, to);
    }

    // Multiply-add by element: a vector of the strip holds the factors of four rows.
    private void ByElement(CodeWriter w)
    {
        Accumulators(w, 0, Rows);
        w.Open("for (int k = 0; k < depth; k++)");
        for (int i = 0; i < Rows; i += 4)
        {
            // A strip ends with its last row: there is no vector to load from the middle of it.
            w.Line(i + 4 <= Height ? $"Vector128<float> a{i / 4} = Vector128.Load({Plus("a", i)});" : $"Vector128<float> a{i / 4} = Simd.LoadTail128({Plus("a", i)}, {Height - i});");
        }

        for (int j = 0; j < Vectors; j++)
        {
            w.Line($"Vector128<float> b{j} = Vector128.Load({Plus("b", j * V.Lanes)});");
        }

        for (int i = 0; i < Rows; i++)
        {
            for (int j = 0; j < Vectors; j++)
            {
                w.Line($"c{i}_{j} = AdvSimd.Arm64.FusedMultiplyAddBySelectedScalar(c{i}_{j}, b{j}, a{i / 4}, {i % 4});");
            }
        }

        w.Line($"a += {Height};");
        w.Line($"b += {Vectors * V.Lanes};");
        w.Close();
        w.Line();
        Stores(w, 0, Rows);
    }

    private void Accumulators(CodeWriter w, int from, int to)
    {
        for (int i = from; i < to; i++)
        {
            w.Line($"{V.Type} {string.Join(", ", Enumerable.Range(0, Vectors).Select(j => $"c{i}_{j} = {(Adds ? V.Load(Result(i, j)) : V.Type + ".Zero")}"))};");
        }
    }

    private void Stores(CodeWriter w, int from, int to)
    {
        for (int i = from; i < to; i++)
        {
            for (int j = 0; j < Vectors; j++)
            {
                w.Line(V.Store($"c{i}_{j}", Result(i, j)));
            }
        }
    }

    private string Result(int row, int vector)
    {
        string start = row switch { 0 => "c", 1 => "c + stride", _ => $"c + {row} * stride" };
        return vector == 0 ? start : $"{start} + {vector * V.Lanes}";
    }

    private static string Plus(string pointer, int offset) => offset == 0 ? pointer : $"{pointer} + {CodeWriter.Number(offset)}";
}
