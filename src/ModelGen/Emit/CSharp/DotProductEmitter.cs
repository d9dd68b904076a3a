using System;
using System.Linq;
using ModelGen.Compiler.Kernels;
using ModelGen.Compiler.Targets.Cpu;

namespace ModelGen.Compiler.Emit.CSharp;

/// <summary>
/// Matrix products of a single row: every output is a dot product of the row and a row of the weight, at the speed of memory. The epilogue
/// reads a block of them as a tile of one row; the block is long enough for its vectors to overlap, where one after each few dot products
/// would wait for them.
/// </summary>
internal static class DotProductEmitter
{
    /// <summary>The dot products that workers divide: a vector of the widest kind.</summary>
    private const int Grain = 16;

    /// <summary>The most dot products of one call of the epilogue. Streams are a quarter of it apart: the farther, the more memory gives.</summary>
    private const int Block = 1024;

    /// <summary>The fewest dot products that a worker takes together.</summary>
    private const int LeastTogether = 64;

    public static void Emit(CodeWriter w, KernelCode code, Func<string, string> name, MatMulKernel kernel, Spelling width)
    {
        // A row shorter than a vector is read in narrower ones.
        Spelling v = width.FilledBy(kernel.Depth);
        KernelOperand weight = kernel.Operands[1];
        string stride = CodeWriter.Number(weight.Access.RowStride);
        string four = code.Share($"FourDots{kernel.Depth}_{v.Bits}", called => FourDots(called, v, kernel.Depth));
        string dot = code.Share($"Dot{kernel.Depth}_{v.Bits}", called => Dot(called, v, kernel.Depth));
        string dots = code.Share($"Dots{kernel.Depth}_{v.Bits}", called => Dots(called, four, dot, v, kernel.Depth, weight.Access.RowStride));
        int block = Math.Min(Block, (kernel.Columns + Grain - 1) / Grain * Grain);
        w.Line($"float* sums = stackalloc float[{block}];");
        if (kernel.IsHelped())
        {
            w.Line($"worker.Share({(kernel.Columns + Grain - 1) / Grain});");
            w.Open($"while (worker.Take({Math.Min(block, LeastTogether) / Grain}, {block / Grain}, out int first, out int last))");
            w.Line($"int column = first * {Grain};");
            w.Line($"int columns = {(kernel.Columns % Grain == 0 ? $"(last - first) * {Grain}" : $"Math.Min((last - first) * {Grain}, {kernel.Columns} - column)")};");
        }
        else
        {
            Text.Range(w, kernel.IsSerial(), CodeWriter.Number(kernel.Columns), Grain);
            w.Open($"for (int column = start; column < end; column += {block})");
            w.Line($"int columns = Math.Min({block}, end - column);");
        }

        w.Line($"{dots}({kernel.Operands[0].Name}, {weight.Name} + (long)column * {stride}, sums, columns);");
        w.Line(MatMulEmitter.EpilogueCall(name, kernel, width, "sums", "0", "1", "column", "columns"));
        w.Close();
    }

    // Four rows at a time, a quarter of all apart: of four streams, more of memory's lines are under way than of one, and rows side by
    // side would be one. What does not make quarters is read row by row.
    private static string Dots(string name, string four, string dot, Spelling v, int depth, int stride)
    {
        var w = new CodeWriter();
        w.Line($"// The dot products of a row of {depth} elements with others, in quarters: memory gives more to four streams than to one.");
        w.Line("[@MethodImpl(MethodImplOptions.AggressiveOptimization)]");
        w.OpenMethod($"private static void {name}(float* x, float* w, float* sums, int rows)");
        w.Line("int quarter = rows / 16 * 4;");
        w.Line($"long apart = (long)quarter * {stride};");
        w.Open("for (int n = 0; n < quarter; n += 4)");
        for (int i = 0; i < 4; i++)
        {
            w.Line($"{v.Type} p{i} = {four}(x, {Text.Plus("w", i * stride)}, apart);");
        }

        w.Line($"Simd.StoreColumns({v.Lanes switch { 16 => "Simd.SumsOfParts(p0, p1, p2, p3)", 8 => "Simd.SumsOfParts(p0, p1), Simd.SumsOfParts(p2, p3)", _ => "p0, p1, p2, p3" }}, sums + n, quarter);");
        w.Line($"w += {4L * stride};");
        w.Close();
        w.Line();
        w.Line("w += 3 * apart;");
        w.Open("for (int n = 4 * quarter; n < rows; n++)");
        w.Line($"sums[n] = Simd.Sum({dot}(x, w));");
        w.Line($"w += {stride};");
        w.Close();
        w.Close();
        return w.ToString();
    }

    // The dot products of a row with four others, but for the sums of 128-bit parts.
    private static string FourDots(string name, Spelling v, int depth)
    {
        var w = new CodeWriter();
        w.Line($"// The products of {depth} elements of a row and of four others, summed up to one vector of partial sums.");
        w.Line("[@MethodImpl(MethodImplOptions.AggressiveInlining)]");
        w.OpenMethod($"private static {v.Type} {name}(float* x, float* w, long apart)");
        w.Line("float* w1 = w + apart, w2 = w1 + apart, w3 = w2 + apart;");
        string[] sums = Products(w, v, depth, ["w", "w1", "w2", "w3"], mostWays: 2);
        w.Line($"return Simd.{(v.Lanes == 4 ? "Sums" : "PartialSums")}({string.Join(", ", sums)});");
        w.Close();
        return w.ToString();
    }

    // The dot product of two rows, but for the sum of its last vector.
    private static string Dot(string name, Spelling v, int depth)
    {
        var w = new CodeWriter();
        w.Line($"// The products of {depth} elements, summed up to one vector.");
        w.Line("[@MethodImpl(MethodImplOptions.AggressiveInlining)]");
        w.OpenMethod($"private static {v.Type} {name}(float* x, float* w)");
        w.Line($"return {Products(w, v, depth, ["w"], mostWays: 4)[0]};");
        w.Close();
        return w.ToString();
    }

    // Products of a row x and others, as sums of few vectors for each: expressions of their totals.
    private static string[] Products(CodeWriter w, Spelling v, int depth, string[] others, int mostWays)
    {
        // Of rows that are spelled out, the compiler keeps the common one in registers: no more of it than there is room for.
        int longestUnrolled = v.Lanes == 16 ? 8 : 4;
        int vectors = depth / v.Lanes, tail = depth % v.Lanes;
        int ways = Math.Min(mostWays, vectors > 4 ? 4 : vectors > 1 ? 2 : 1);
        int step = 0;
        string Sum(int way, int other) => $"d{way}{(others.Length == 1 ? "" : $"_{other}")}";
        int done = Math.Min(ways, vectors);
        for (int i = 0; i < done; i++)
        {
            Step(i, CodeWriter.Number(i * v.Lanes), isFirst: true);
        }

        int looped = vectors > longestUnrolled ? vectors / ways * ways : done;
        if (looped > done)
        {
            w.Open($"for (int k = {done * v.Lanes}; k < {looped * v.Lanes}; k += {ways * v.Lanes})");
            for (int i = 0; i < ways; i++)
            {
                Step(i, Text.Plus("k", i * v.Lanes));
            }

            w.Close();
            w.Line();
        }

        for (int i = looped; i < vectors; i++)
        {
            Step(i % ways, CodeWriter.Number(i * v.Lanes));
        }

        if (tail > 0)
        {
            Step(0, CodeWriter.Number(vectors * v.Lanes), isFirst: vectors == 0, CodeWriter.Number(tail));
        }

        return [.. Enumerable.Range(0, others.Length).Select(o => ways == 4 ? $"({Sum(0, o)} + {Sum(1, o)}) + ({Sum(2, o)} + {Sum(3, o)})" : string.Join(" + ", Enumerable.Range(0, ways).Select(i => Sum(i, o))))];

        void Step(int way, string at, bool isFirst = false, string? tail = null)
        {
            string Read(string row)
            {
                string pointer = at == "0" ? row : $"{row} + {at}";
                return tail is null ? v.Load(pointer) : v.LoadTail(pointer, tail);
            }

            string x = Read("x");
            if (others.Length > 1)
            {
                w.Line($"{v.Type} x{step} = {x};");
                x = $"x{step}";
                step++;
            }

            for (int o = 0; o < others.Length; o++)
            {
                w.Line(isFirst ? $"{v.Type} {Sum(way, o)} = {x} * {Read(others[o])};" : $"{Sum(way, o)} = {v.MultiplyAdd(x, Read(others[o]), Sum(way, o))};");
            }
        }
    }
}
