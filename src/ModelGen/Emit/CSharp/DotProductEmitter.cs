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

    public static void Emit(KernelCode code, MatMulKernel kernel, ColumnPieces pieces, int mostRows)
    {
        // A row shorter than a vector is read in narrower ones.
        var shapes = Spelling.All.Select(width => (width.Bits, Vector: width.FilledBy(kernel.Depth))).GroupBy(p => Shape.Of(p.Vector.Lanes, kernel.Depth)).ToArray();
        foreach (var shape in shapes)
        {
            (int Bits, Spelling Vector)[] widths = [.. shape];
            code.Generic(shapes.Length == 1 ? "Each" : CodeWriter.Number(widths[0].Bits), code.Parameters, widths.Select(p => (p.Bits, p.Vector.Bits)),
                (w, name) => Emit(w, code, name, kernel, shape.Key, pieces, mostRows));
        }
    }

    /// <summary>Adds what multiplies few rows to a product that may have many.</summary>
    /// <returns>Prints the choice at the beginning of a method, given the function from suffixes to names and the lanes of the vectors that the method is for.</returns>
    public static Action<CodeWriter, Func<string, string>, IReadOnlyList<int>> EmitFew(KernelCode code, MatMulKernel kernel, ProductPlan plan)
    {
        var counts = RegisterTile.Products.Select((tile, i) => (tile.Lanes, Most: plan.FewRows![i], Shape: Shape.Of(tile.Lanes, kernel.Depth))).ToArray();
        var shapes = counts.Where(c => c.Most > 0).GroupBy(c => c.Shape).ToArray();
        string Suffix(Shape shape) => shapes.Length == 1 ? "FewRows" : $"FewRows{CodeWriter.Number(32 * shapes.First(s => s.Key == shape).First().Lanes)}";
        foreach (var shape in shapes)
        {
            code.Generic(Suffix(shape.Key), code.ParametersWithoutWorkspace, [], (w, name) => Emit(w, code, name, kernel, shape.Key, plan.DotPieces!, plan.MostDotRows));
        }

        return (w, name, lanes) =>
        {
            var own = counts.Where(c => lanes.Contains(c.Lanes)).ToArray();
            if (own.All(c => c.Most == 0))
            {
                return;
            }

            string most = own.Select(c => c.Most).Distinct().Count() == 1 ? CodeWriter.Number(own[0].Most) : $"Simd.Of<V>({string.Join(", ", Spelling.All.Select(s => CodeWriter.Number(counts.First(c => c.Lanes == s.Lanes).Most)))})";
            w.Line($"// Of few rows, each meets the weights where they lie: {kernel.Operands[1].Name} is worth neither packing nor unpacking for them.");
            w.Open($"if ({Text.RowCount(kernel.Rows)} <= {most})");
            var called = own.Where(c => c.Most > 0).GroupBy(c => Suffix(c.Shape)).ToArray();
            for (int i = 0; i < called.Length; i++)
            {
                if (called.Length > 1)
                {
                    string condition = string.Join(" || ", called[i].Select(c => $"typeof(V) == typeof(F{CodeWriter.Number(32 * c.Lanes)})"));
                    w.Open(i == 0 ? $"if ({condition})" : i < called.Length - 1 ? $"else if ({condition})" : "else");
                }

                w.Line($"{name(called[i].Key)}({code.PassedWithoutWorkspace});");
                if (called.Length > 1)
                {
                    w.Close();
                }
            }

            w.Line("return;");
            w.Close();
            w.Line();
        };
    }

    private static void Emit(CodeWriter w, KernelCode code, Func<string, string> name, MatMulKernel kernel, Shape shape, ColumnPieces pieces, int mostRows)
    {
        KernelOperand weight = kernel.Operands[1];
        string stride = CodeWriter.Number(weight.Access.RowStride);
        bool several = kernel.Rows != RowExtent.Literal(1);
        StorageFormat format = weight.Access.Format;
        bool fetches = kernel.IsHelped();
        string suffix = (format.IsPlain ? "" : $"_{format}") + (fetches ? "_Ahead" : "");
        string four = code.Share($"FourDots{kernel.Depth}{suffix}", called => FourDots(called, shape, kernel.Depth, format, fetches));
        string dot = code.Share($"Dot{kernel.Depth}{suffix}", called => Dot(called, shape, kernel.Depth, format));
        string? pair = several ? code.Share($"FourDotsOfTwo{kernel.Depth}{suffix}", called => FourDots(called, shape, kernel.Depth, format, fetches, ofTwo: true)) : null;
        string dots = code.Share($"Dots{(several ? "OfRows" : "")}{kernel.Depth}{suffix}", called => Dots(called, four, pair, dot, shape.WithFour.IsLooped, kernel.Depth, weight.Access.RowStride, several ? kernel.Operands[0].Access.RowStride : 0, format));
        const int Grain = ColumnPieces.Unit;
        int block = pieces.Most * Grain;
        w.Line($"float* sums = stackalloc float[{block * mostRows}];");
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
    // Vectors of 512 bits have registers enough for two inputs, which share what is read and unpacked of a weight; an odd one out is its own second.
    private static string Dots(string name, string four, string? pair, string dot, bool isLooped, int depth, int stride, int inputStride, StorageFormat format)
    {
        bool several = inputStride > 0;
        var w = new CodeWriter();
        w.Line(several
            ? $"// The dot products of rows of {depth} elements with others, in quarters: each of them meets a few of the others while those are at hand."
            : $"// The dot products of a row of {depth} elements with others, in quarters: memory gives more to four streams than to one.");
        w.Line("[@MethodImpl(AggressiveOptimization)]");
        w.OpenMethod($"private static void {name}(float* x, {Pointed(format)}* w, float* sums, int rows{(several ? ", int inputs, int apartSums" : "")})");
        if (isLooped || several)
        {
            w.Line($"float* parts = stackalloc float[{(several ? 8 : 4) * MostLanes}];");
        }

        w.Line("int quarter = rows / 16 * 4;");
        w.Line($"long apart = (long)quarter * {stride};");
        w.Open("for (int n = 0; n < quarter; n += 4)");
        (string input, string result) = several ? ("input", "result") : ("x", "sums");
        if (several)
        {
            w.Open($"if (typeof(V) == typeof(F{CodeWriter.Number(32 * FewRows.PairedLanes)}))");
            w.Open("for (int i = 0; i < inputs; i += 2)");
            w.Line("int second = Math.Min(i + 1, inputs - 1);");
            w.Line($"float* one = x + (long)i * {inputStride}, other = x + (long)second * {inputStride};");
            w.Open("for (int part = 0; part < 4; part++)");
            w.Line($"V.Store({pair}(one, other, w + (long)part * {stride}, apart, out V ofOther), parts + part * V.Lanes);");
            w.Line("V.Store(ofOther, parts + (4 + part) * V.Lanes);");
            w.Close();
            w.Line();
            w.Line("V.StoreSums(V.Load(parts), V.Load(parts + V.Lanes), V.Load(parts + 2 * V.Lanes), V.Load(parts + 3 * V.Lanes), sums + i * apartSums + n, quarter);");
            w.Line("V.StoreSums(V.Load(parts + 4 * V.Lanes), V.Load(parts + 5 * V.Lanes), V.Load(parts + 6 * V.Lanes), V.Load(parts + 7 * V.Lanes), sums + second * apartSums + n, quarter);");
            w.Close();
            w.Line();
            w.Line($"w += {4L * stride};");
            w.Line("continue;");
            w.Close();
            w.Line();
        }

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
    private static string FourDots(string name, Shape shape, int depth, StorageFormat format, bool fetches, bool ofTwo = false)
    {
        var w = new CodeWriter();
        w.Line($"// The products of {depth} elements of {(ofTwo ? "each of two rows" : "a row")} and of four others, summed up to one vector of partial sums.");
        w.Line("[@MethodImpl(AggressiveInlining)]");
        w.OpenMethod($"private static V {name}(float* x, {(ofTwo ? "float* y, " : "")}{Pointed(format)}* w, long apart{(ofTwo ? ", out V second" : "")})");
        w.Line($"{Pointed(format)}* w1 = w + apart, w2 = w1 + apart, w3 = w2 + apart;");
        string[] sums = Products(w, shape.Of(4), depth, ["w", "w1", "w2", "w3"], format, fetches, ofTwo);
        if (ofTwo)
        {
            w.Line($"second = V.PartialSums({string.Join(", ", sums.Select(OfSecond))}){(IsSmall(format) ? $" * {SumFactor}" : "")};");
        }

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
    // Sums of a second row that meets the same others are called e as those of the first are called d.
    private static string[] Products(CodeWriter w, Steps steps, int depth, string[] others, StorageFormat format, bool fetches = false, bool ofTwo = false)
    {
        int step = 0, weights = 0;
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
                if (!format.IsPlain && row is not ("x" or "y"))
                {
                    string load = IsSmall(format) ? "V.LoadSmallF16" : $"V.Load{format}";
                    return tail is null ? $"{load}({pointer})" : $"{load}Tail({pointer}, {tail})";
                }

                return tail is null ? Spelling.Generic.Load(pointer) : Spelling.Generic.LoadTail(pointer, tail);
            }

            string Input(string row) => IsSmall(format) ? $"({Read(row)} * {InputFactor})" : Read(row);
            string x = Input("x"), y = "";
            if (others.Length > 1)
            {
                w.Line($"V x{step} = {x};");
                x = $"x{step}";
                if (ofTwo)
                {
                    w.Line($"V y{step} = {Input("y")};");
                    y = $"y{step}";
                }

                step++;
            }

            for (int o = 0; o < others.Length; o++)
            {
                if (ofTwo)
                {
                    string weight = $"v{weights++}";
                    w.Line($"V {weight} = {Read(others[o])};");
                    foreach ((string own, string sum) in new[] { (x, Sum(way, o)), (y, OfSecond(Sum(way, o))) })
                    {
                        w.Line(isFirst ? $"V {sum} = {own} * {weight};" : $"{sum} = {Spelling.Generic.MultiplyAdd(own, weight, sum)};");
                    }

                    continue;
                }

                w.Line(isFirst ? $"V {Sum(way, o)} = {x} * {Read(others[o])};" : $"{Sum(way, o)} = {Spelling.Generic.MultiplyAdd(x, Read(others[o]), Sum(way, o))};");
            }
        }
    }

    private static string OfSecond(string sums) => sums.Replace('d', 'e');

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
