using System;
using System.Linq;
using ModelGen.Compiler.Kernels;

namespace ModelGen.Compiler.Emit.CSharp;

/// <summary>
/// The register tile of matrix products: for each step of the contraction a row of <c>Vectors</c> vectors from a packed panel, and
/// an element of each of <c>Rows</c> rows, either from a packed strip or from where the rows lie. It knows no shape, so all
/// products of a model share it.
/// </summary>
/// <param name="V">The vector width.</param>
/// <param name="Rows">Rows that are computed.</param>
/// <param name="Vectors">Vectors of a row.</param>
/// <param name="Adds">Whether the sums are added to what the result holds, which comes from memory meanwhile.</param>
/// <param name="StripStep">Elements from one step of a packed strip to the next; 0 where the left operand's rows are read where they lie.</param>
/// <param name="AheadVectors">Vectors of a row of what is multiplied next, where such rows are copied, one after each so many steps; otherwise 0.</param>
/// <param name="Fetches">Whether rows that are multiplied next, as far apart as those of the tile, are asked for meanwhile.</param>
internal sealed record PanelTile(Spelling V, int Rows, int Vectors, bool Adds, int StripStep, int AheadVectors, bool Fetches = false)
{
    private const int Line = 16;

    // Rows whose distance from a pointer is at most twice the step: x86 adds that to an address for nothing.
    private const int RowsOfPointer = 3;

    /// <summary>A call of the tile.</summary>
    /// <param name="code">The kernel that calls it.</param>
    /// <param name="left">The strip, or the first row and the elements from one row to the next.</param>
    /// <param name="right">The panel.</param>
    /// <param name="result">The result's first element.</param>
    /// <param name="stride">Elements from one row of the result to the next.</param>
    /// <param name="depth">Steps of the contraction.</param>
    /// <param name="ahead">
    /// What is copied meanwhile, and the steps for each row of it, if anything is; or the elements from the rows to those that are asked for.
    /// </param>
    public string Call(KernelCode code, string left, string right, string result, string stride, string depth, string? ahead = null)
        => $"{code.Share(BaseName, Print)}({left}, {right}, {result}, {stride}, {depth}{(ahead is null ? "" : $", {ahead}")});";

    private bool IsInPlace => StripStep == 0;

    private bool PacksAhead => AheadVectors > 0;

    private string BaseName => $"Tile{Rows}x{Vectors * V.Lanes}{(IsInPlace ? "" : StripStep == Rows ? "Strip" : $"Strip{StripStep}")}{(Adds ? "Add" : "")}{(!PacksAhead ? "" : AheadVectors == Vectors ? "Ahead" : $"Ahead{AheadVectors * V.Lanes}")}{(Fetches ? "Fetch" : "")}_{V.Bits}";

    private string Print(string name)
    {
        var w = new CodeWriter();
        string rows = IsInPlace ? $"{Rows} rows of a, aStep elements apart," : $"a strip of {Rows} rows{(StripStep == Rows ? "" : $" out of {StripStep}")}";
        w.Line($"// c {(Adds ? "+=" : "=")} {rows} · a panel of {Vectors * V.Lanes} columns: {Rows * Vectors} accumulators in registers.{(PacksAhead ? " What is multiplied next is packed meanwhile." : Fetches ? " The rows that come next are asked for meanwhile." : "")}");
        w.Line("[@MethodImpl(MethodImplOptions.AggressiveOptimization)]");
        w.OpenMethod($"private static void {name}(float* a{(IsInPlace ? ", long aStep" : "")}, float* b, float* c, int stride, int depth{(PacksAhead ? ", RowCopy* ahead, int every" : Fetches ? ", long ahead" : "")})");
        if (Adds)
        {
            w.Line($"Panels.PrefetchTile(c, stride, {Rows}, {Vectors * V.Lanes});");
        }

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
            for (int i = RowsOfPointer; IsInPlace && i < Rows; i += RowsOfPointer)
            {
                w.Line($"float* a{i} = a + {i} * aStep;");
            }

            Broadcasts(w, 0, Rows);
        }

        w.Close();
        return w.ToString();
    }

    private void Broadcasts(CodeWriter w, int from, int to)
    {
        Accumulators(w, from, to);
        if (PacksAhead)
        {
            w.Open("for (int left = depth; left > 0; left -= every)");
            // Straight on: the end of a loop of so few copies would be mispredicted each time.
            w.Open("if (ahead->Rows > 0)");
            w.Line("float* from = ahead->Source, to = ahead->Target, later = ahead->Later;");
            for (int j = 0; j < AheadVectors; j++)
            {
                w.Line(V.Store(V.Load(Text.Plus("from", j * V.Lanes)), Text.Plus("to", j * V.Lanes)));
            }

            for (int j = 0; j < AheadVectors * V.Lanes; j += Line)
            {
                w.Line($"RowCopy.Fetch({Text.Plus("later", j)});");
            }

            w.Line("ahead->Advance();");
            w.Close();
            w.Line();
            w.Line("int steps = Math.Min(every, left);");
        }

        if (Fetches)
        {
            w.Open($"for (int left = depth; left > 0; left -= {Line})");
            for (int i = from; i < to; i++)
            {
                w.Line($"RowCopy.Fetch({Pointer(i / RowsOfPointer * RowsOfPointer)} + ahead{(i % RowsOfPointer) switch { 0 => "", 1 => " + aStep", _ => $" + {i % RowsOfPointer} * aStep" }});");
            }

            w.Line($"int steps = Math.Min({Line}, left);");
        }

        w.Open($"for (int k = 0; k < {(PacksAhead || Fetches ? "steps" : "depth")}; k++)");
        for (int j = 0; j < Vectors; j++)
        {
            w.Line($"{V.Type} b{j} = {V.Load(Text.Plus("b", j * V.Lanes))};");
        }

        for (int i = from; i < to; i++)
        {
            w.Line($"{V.Type} x{i} = {V.Broadcast(IsInPlace ? InPlace(i) : $"a[{i - from}]")};");
            for (int j = 0; j < Vectors; j++)
            {
                w.Line($"c{i}_{j} = {V.MultiplyAdd($"x{i}", $"b{j}", $"c{i}_{j}")};");
            }
        }

        for (int i = 0; i < (IsInPlace ? Rows : 1); i += RowsOfPointer)
        {
            w.Line(IsInPlace ? $"{Pointer(i)}++;" : $"a += {StripStep};");
        }

        w.Line($"b += {Vectors * V.Lanes};");
        w.Close();
        if (PacksAhead || Fetches)
        {
            w.Close();
        }

        w.Line();
        Stores(w, from, to);
    }

    private static string InPlace(int row)
        => $"{Pointer(row / RowsOfPointer * RowsOfPointer)}[{(row % RowsOfPointer) switch { 0 => "0", 1 => "aStep", _ => $"{row % RowsOfPointer} * aStep" }}]";

    private static string Pointer(int row) => row == 0 ? "a" : $"a{row}";

    // Multiply-add by element: a vector of the strip holds the factors of four rows.
    private void ByElement(CodeWriter w)
    {
        Accumulators(w, 0, Rows);
        w.Open("for (int k = 0; k < depth; k++)");
        for (int i = 0; i < Rows; i += 4)
        {
            // A strip ends with its last row: there is no vector to load from the middle of it.
            w.Line(i + 4 <= Rows ? $"Vector128<float> a{i / 4} = Vector128.Load({Text.Plus("a", i)});" : $"Vector128<float> a{i / 4} = Simd.LoadTail128({Text.Plus("a", i)}, {Rows - i});");
        }

        for (int j = 0; j < Vectors; j++)
        {
            w.Line($"Vector128<float> b{j} = Vector128.Load({Text.Plus("b", j * V.Lanes)});");
        }

        for (int i = 0; i < Rows; i++)
        {
            for (int j = 0; j < Vectors; j++)
            {
                w.Line($"c{i}_{j} = AdvSimd.Arm64.FusedMultiplyAddBySelectedScalar(c{i}_{j}, b{j}, a{i / 4}, {i % 4});");
            }
        }

        w.Line($"a += {Rows};");
        w.Line($"b += {Vectors * V.Lanes};");
        w.Close();
        w.Line();
        Stores(w, 0, Rows);
    }

    private void Accumulators(CodeWriter w, int from, int to)
    {
        for (int i = from; i < to; i++)
        {
            w.Line($"{V.Type} {string.Join(", ", Enumerable.Range(0, Vectors).Select(j => $"c{i}_{j} = {V.Type}.Zero"))};");
        }
    }

    private void Stores(CodeWriter w, int from, int to)
    {
        for (int i = from; i < to; i++)
        {
            for (int j = 0; j < Vectors; j++)
            {
                w.Line(V.Store(Adds ? $"{V.Load(Result(i, j))} + c{i}_{j}" : $"c{i}_{j}", Result(i, j)));
            }
        }
    }

    private string Result(int row, int vector)
    {
        string start = row switch { 0 => "c", 1 => "c + stride", _ => $"c + {row} * stride" };
        return vector == 0 ? start : $"{start} + {vector * V.Lanes}";
    }
}
