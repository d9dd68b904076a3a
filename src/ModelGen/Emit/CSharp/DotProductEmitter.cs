using System;
using System.Linq;
using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Kernels;
using ModelGen.Compiler.Targets.Cpu;

namespace ModelGen.Compiler.Emit.CSharp;

/// <summary>
/// Matrix products of a single row: every output is a dot product of the row and a row of the weight, at the speed of memory. The epilogue
/// reads a block of them as a tile of one row; the block is long enough for its vectors to overlap, where one after each few dot products
/// would wait for them. Of several rows that are summed one by one, each meets a few rows of the weight while the caches hold those: memory
/// gives the weight once.
/// </summary>
internal static class DotProductEmitter
{
    /// <summary>The lanes of the widest vector.</summary>
    private const int MostLanes = 16;

    /// <summary>How far ahead each of the streams of halves is asked for, in bytes, and each of floats: the distances that gave most.</summary>
    private const int AheadBytes = 384, AheadBytesOfFloats = 1536;

    // Halves are read 2^112 times too small. The input makes up for 2^64 of that, once for four rows, and their sums for what is left: products are 2^48 times too small between, and
    // lose nothing of those above 2^-78. An input of 2^64 is taken for infinite.
    private const string InputFactor = "V.Create(1.8446744E+19f)", SumFactor = "V.Create(2.8147498E+14f)";

    public static void Emit(KernelCode code, MatMulKernel kernel, ColumnPieces pieces)
    {
        // A row shorter than a vector is read in narrower ones.
        var shapes = Spelling.All.Select(width => (width.Bits, Vector: width.FilledBy(kernel.Depth))).GroupBy(p => Shape.Of(p.Vector.Lanes, kernel.Depth)).ToArray();
        foreach (var shape in shapes)
        {
            (int Bits, Spelling Vector)[] widths = [.. shape];
            code.Generic(shapes.Length == 1 ? "Each" : CodeWriter.Number(widths[0].Bits), code.Parameters, widths.Select(p => (p.Bits, p.Vector.Bits)),
                (w, name) => Emit(w, code, name, kernel, shape.Key, pieces));
        }
    }

    private static void Emit(CodeWriter w, KernelCode code, Func<string, string> name, MatMulKernel kernel, Shape shape, ColumnPieces pieces)
    {
        KernelOperand weight = kernel.Operands[1];
        string stride = CodeWriter.Number(weight.Access.RowStride);
        bool several = kernel.Rows != RowExtent.Literal(1);
        StorageFormat format = weight.Access.Format;
        bool fetches = kernel.IsHelped();
        string suffix = (format.IsPlain ? "" : $"_{format}") + (fetches ? "_Ahead" : "");
        string four = code.Share($"FourDots{kernel.Depth}{suffix}", called => FourDots(called, shape, kernel.Depth, format, fetches));
        string dot = code.Share($"Dot{kernel.Depth}{suffix}", called => Dot(called, shape, kernel.Depth, format));
        string dots = code.Share($"Dots{(several ? "OfRows" : "")}{kernel.Depth}{suffix}", called => Dots(called, four, dot, shape.WithFour.IsLooped, kernel.Depth, weight.Access.RowStride, several ? kernel.Operands[0].Access.RowStride : 0, format));
        const int Grain = ColumnPieces.Unit;
        int block = pieces.Most * Grain;
        w.Line($"float* sums = stackalloc float[{block * kernel.Rows.Maximum}];");
        if (kernel.IsHelped() || code.IsOfPiece)
        {
            if (!code.IsOfPiece)
            {
                w.Line($"worker.Share({pieces.Units});");
                w.Open($"while (worker.Take({pieces.Least}, {pieces.Most}, out int first, out int last))");
            }

            w.Line($"int column = first * {Grain};");
            w.Line($"int columns = {(kernel.Columns % Grain == 0 ? $"(last - first) * {Grain}" : $"Math.Min((last - first) * {Grain}, {kernel.Columns} - column)")};");
        }
        else
        {
            Text.Range(w, kernel.IsSerial(), CodeWriter.Number(kernel.Columns), Grain);
            w.Open($"for (int column = start; column < end; column += {block})");
            w.Line($"int columns = Math.Min({block}, end - column);");
        }

        string rows = Text.RowCount(kernel.Rows);
        w.Line($"{dots}({kernel.Operands[0].Name}, {(format.IsPlain ? "" : "(ushort*)")}{weight.Name} + (long)column * {stride}, sums, columns{(several ? $", {rows}, {block}" : "")});");
        if (several)
        {
            w.Open($"for (int r = 0; r < {rows}; r++)");
        }

        w.Line(MatMulEmitter.EpilogueCall(name, kernel, several ? $"sums + r * {block}" : "sums", several ? "r" : "0", "1", "column", "columns"));
        if (several)
        {
            w.Close();
        }

        if (!code.IsOfPiece)
        {
            w.Close();
        }
    }

    // Four rows at a time, a quarter of all apart: of four streams, more of memory's lines are under way than of one, and rows side by
    // side would be one. What does not make quarters is read row by row. Where several rows meet them, inputs lie a stride apart.
    // A loop over the row is there once: of four, the last would be beyond what a compiler cares to inline. Rows that are spelled out are
    // so four times, which leaves the common one in registers.
    private static string Dots(string name, string four, string dot, bool isLooped, int depth, int stride, int inputStride, StorageFormat format)
    {
        bool several = inputStride > 0;
        var w = new CodeWriter();
        w.Line(several
            ? $"// The dot products of rows of {depth} elements with others, in quarters: each of them meets a few of the others while those are at hand."
            : $"// The dot products of a row of {depth} elements with others, in quarters: memory gives more to four streams than to one.");
        w.Line("[@MethodImpl(AggressiveOptimization)]");
        w.OpenMethod($"private static void {name}(float* x, {Pointed(format)}* w, float* sums, int rows{(several ? ", int inputs, int apartSums" : "")})");
        if (isLooped)
        {
            w.Line($"float* parts = stackalloc float[{4 * MostLanes}];");
        }

        w.Line("int quarter = rows / 16 * 4;");
        w.Line($"long apart = (long)quarter * {stride};");
        w.Open("for (int n = 0; n < quarter; n += 4)");
        (string input, string result) = several ? ("input", "result") : ("x", "sums");
        OpenInputs();
        if (isLooped)
        {
            w.Open("for (int part = 0; part < 4; part++)");
            w.Line($"V.Store({four}({input}, w + (long)part * {stride}, apart), parts + part * V.Lanes);");
            w.Close();
            w.Line();
            w.Line($"V.StoreSums(V.Load(parts), V.Load(parts + V.Lanes), V.Load(parts + 2 * V.Lanes), V.Load(parts + 3 * V.Lanes), {result} + n, quarter);");
        }
        else
        {
            for (int i = 0; i < 4; i++)
            {
                w.Line($"V p{i} = {four}({input}, {Text.Plus("w", i * stride)}, apart);");
            }

            w.Line($"V.StoreSums(p0, p1, p2, p3, {result} + n, quarter);");
        }

        CloseInputs();
        w.Line($"w += {4L * stride};");
        w.Close();
        w.Line();
        w.Line("w += 3 * apart;");
        w.Open("for (int n = 4 * quarter; n < rows; n++)");
        OpenInputs();
        w.Line($"{result}[n] = V.Sum({dot}({input}, w));");
        CloseInputs();
        w.Line($"w += {stride};");
        w.Close();
        w.Close();
        return w.ToString();

        void OpenInputs()
        {
            if (several)
            {
                w.Line("float* input = x, result = sums;");
                w.Open("for (int i = 0; i < inputs; i++)");
            }
        }

        void CloseInputs()
        {
            if (several)
            {
                w.Line($"input += {inputStride};");
                w.Line("result += apartSums;");
                w.Close();
                w.Line();
            }
        }
    }

    // The dot products of a row with four others, but for the sums of 128-bit parts.
    private static string FourDots(string name, Shape shape, int depth, StorageFormat format, bool fetches)
    {
        var w = new CodeWriter();
        w.Line($"// The products of {depth} elements of a row and of four others, summed up to one vector of partial sums.");
        w.Line("[@MethodImpl(AggressiveInlining)]");
        w.OpenMethod($"private static V {name}(float* x, {Pointed(format)}* w, long apart)");
        w.Line($"{Pointed(format)}* w1 = w + apart, w2 = w1 + apart, w3 = w2 + apart;");
        string[] sums = Products(w, shape.Of(4), depth, ["w", "w1", "w2", "w3"], format, fetches);
        w.Line($"return V.PartialSums({string.Join(", ", sums)}){(IsSmall(format) ? $" * {SumFactor}" : "")};");
        w.Close();
        return w.ToString();
    }

    // The dot product of two rows, but for the sum of its last vector.
    private static string Dot(string name, Shape shape, int depth, StorageFormat format)
    {
        var w = new CodeWriter();
        w.Line($"// The products of {depth} elements, summed up to one vector.");
        w.Line("[@MethodImpl(AggressiveInlining)]");
        w.OpenMethod($"private static V {name}(float* x, {Pointed(format)}* w)");
        string sum = Products(w, shape.Of(1), depth, ["w"], format)[0];
        w.Line($"return {(IsSmall(format) ? $"({sum}) * {SumFactor}" : sum)};");
        w.Close();
        return w.ToString();
    }

    // Products of a row x and others, as sums of few vectors for each: expressions of their totals.
    private static string[] Products(CodeWriter w, Steps steps, int depth, string[] others, StorageFormat format, bool fetches = false)
    {
        int step = 0;
        int ways = steps.Ways;
        string Sum(int way, int other) => $"d{way}{(others.Length == 1 ? "" : $"_{other}")}";
        string At(int vectors) => vectors switch { 0 => "0", 1 => "V.Lanes", _ => $"{vectors} * V.Lanes" };
        for (int i = 0; i < steps.Done; i++)
        {
            Step(i, At(i), isFirst: true);
        }

        string at = At(steps.Done);
        if (steps.IsLooped)
        {
            // With nothing left but what the loop reads, it ends with the row.
            bool isAll = steps.Left == 0 && !steps.HasTail;
            if (!isAll)
            {
                w.Line($"int k = {at};");
            }

            w.Open(isAll ? $"for (int k = {at}; k < {depth}; k += {At(ways)})" : $"for (; k <= {depth} - {At(ways)}; k += {At(ways)})");
            for (int i = 0; i < ways; i++)
            {
                Step(i, i == 0 ? "k" : "k + " + At(i));
                if (fetches)
                {
                    foreach (string other in others)
                    {
                        w.Line($"Panels.PrefetchAhead({other} + k{(i == 0 ? "" : " + " + At(i))}, {(format.IsPlain ? AheadBytesOfFloats : AheadBytes)});");
                    }
                }
            }

            w.Close();
            w.Line();
        }

        string Behind(int i) => !steps.IsLooped ? At(steps.Done + i) : i == 0 ? "k" : "k + " + At(i);
        for (int i = 0; i < steps.Left; i++)
        {
            Step((steps.Done + i) % ways, Behind(i));
        }

        if (steps.HasTail)
        {
            string tail = Behind(steps.Left);
            Step(0, tail, isFirst: steps.Done == 0, tail == "0" ? CodeWriter.Number(depth) : tail == "k" ? $"{depth} - k" : $"{depth} - ({tail})");
        }

        return [.. Enumerable.Range(0, others.Length).Select(o => ways == 4 ? $"({Sum(0, o)} + {Sum(1, o)}) + ({Sum(2, o)} + {Sum(3, o)})" : string.Join(" + ", Enumerable.Range(0, ways).Select(i => Sum(i, o))))];

        void Step(int way, string at, bool isFirst = false, string? tail = null)
        {
            string Read(string row)
            {
                string pointer = at == "0" ? row : $"{row} + {at}";
                if (!format.IsPlain && row != "x")
                {
                    string load = IsSmall(format) ? "V.LoadSmallF16" : $"V.Load{format}";
                    return tail is null ? $"{load}({pointer})" : $"{load}Tail({pointer}, {tail})";
                }

                return tail is null ? Spelling.Generic.Load(pointer) : Spelling.Generic.LoadTail(pointer, tail);
            }

            string x = IsSmall(format) ? $"({Read("x")} * {InputFactor})" : Read("x");
            if (others.Length > 1)
            {
                w.Line($"V x{step} = {x};");
                x = $"x{step}";
                step++;
            }

            for (int o = 0; o < others.Length; o++)
            {
                w.Line(isFirst ? $"V {Sum(way, o)} = {x} * {Read(others[o])};" : $"{Sum(way, o)} = {Spelling.Generic.MultiplyAdd(x, Read(others[o]), Sum(way, o))};");
            }
        }
    }

    private static bool IsSmall(StorageFormat format) => format == StorageFormat.Float16;

    /// <summary>What a pointer to weights points at.</summary>
    private static string Pointed(StorageFormat format) => format.IsPlain ? "float" : "ushort";

    /// <summary>How the vectors of a row are summed up.</summary>
    /// <param name="Ways">Sums at the same time.</param>
    /// <param name="Done">Vectors that begin them.</param>
    /// <param name="IsLooped">Whether a loop follows.</param>
    /// <param name="Left">Whole vectors after that, spelled out.</param>
    /// <param name="HasTail">Whether a part of a vector is left.</param>
    private sealed record Steps(int Ways, int Done, bool IsLooped, int Left, bool HasTail)
    {
        public static Steps Of(int lanes, int depth, int mostWays)
        {
            // Of rows that are spelled out, the compiler keeps the common one in registers: no more of it than there is room for.
            int longestUnrolled = lanes == 16 ? 8 : 4;
            int vectors = depth / lanes;
            int ways = Math.Min(mostWays, vectors > 4 ? 4 : vectors > 1 ? 2 : 1);
            int done = Math.Min(ways, vectors);
            int looped = vectors > longestUnrolled ? vectors / ways * ways : done;
            return new Steps(ways, done, looped > done, vectors - looped, depth % lanes > 0);
        }
    }

    /// <summary>The text of a row's dot products, with four rows and with one: the same for widths of one shape.</summary>
    private sealed record Shape(Steps WithFour, Steps WithOne)
    {
        public static Shape Of(int lanes, int depth) => new(Steps.Of(lanes, depth, mostWays: 2), Steps.Of(lanes, depth, mostWays: 4));

        public Steps Of(int rows) => rows == 1 ? WithOne : WithFour;
    }
}
