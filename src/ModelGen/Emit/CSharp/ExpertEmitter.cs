using System;
using System.Collections.Generic;
using System.Linq;
using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Kernels;
using ModelGen.Compiler.Targets.Cpu;

namespace ModelGen.Compiler.Emit.CSharp;

/// <summary>
/// Rows that each meet a matrix of their own, by runs of rows that meet the same one. Workers divide the columns of what is stored, so that each sum is one worker's; every sum is added up in one order, whatever block it is
/// computed in, so that a row's bits do not depend on the rows beside it.
/// </summary>
internal sealed class ExpertEmitter
{
    // A block of sums that stays in the registers of the narrower widths, with what it is computed from.
    private const int BlockRows = 2;
    private const int BlockColumns = 4;
    private const int BlockVectors = 2;
    private const int TransposedRows = 4;
    private const int MostLanes = 16;

    // What a worker takes at a time of the columns of a product that others help with.
    private const int TakenColumns = 16;
    private const int LeastTaken = 2;
    private const int MostTaken = 16;

    // How far ahead halves are asked for, in bytes.
    private const int AheadBytes = 6144;

    private static readonly Spelling V = Spelling.Generic;

    private readonly CodeWriter _w;

    private ExpertEmitter(CodeWriter w) => _w = w;

    /// <summary>Those that score highest are kept sorted while a row is read once: an expert that is none of them costs one comparison. Of equal ones the first is better.</summary>
    public static KernelCode Emit(ChooseKernel kernel)
    {
        var code = new KernelCode($"Choose_{Text.Extent(kernel.Rows)}x{kernel.Experts}", $"Sends [{kernel.Rows}] rows to the {kernel.Chosen} of {kernel.Experts} experts that score highest.", kernel, Arguments.Of(kernel.Rows));
        code.Plain(w =>
        {
            (int experts, int chosen) = (kernel.Experts, kernel.Chosen);
            Text.Range(w, kernel.IsSerial(), Text.RowCount(kernel.Rows), 1);
            w.Line($"int* best = stackalloc int[{chosen}];");
            w.Line($"float* highest = stackalloc float[{chosen}];");
            w.Open("for (int r = start; r < end; r++)");
            w.Line($"float* row = scores + (long)r * {kernel.Operands[0].Access.RowStride}, sent = mask + (long)r * {kernel.Operands[2].Access.RowStride};");
            w.Open($"for (int e = 0; e < {experts}; e++)");
            w.Line("float score = row[e];");
            w.Line($"int at = Math.Min(e, {chosen - 1});");
            w.Open($"if (e >= {chosen} && !(score > highest[{chosen - 1}]))");
            w.Line("continue;");
            w.Close();
            w.Line();
            w.Open("for (; at > 0 && score > highest[at - 1]; at--)");
            w.Line("(highest[at], best[at]) = (highest[at - 1], best[at - 1]);");
            w.Close();
            w.Line();
            w.Line("(highest[at], best[at]) = (score, e);");
            w.Close();
            w.Line();
            w.Line($"new global::System.Span<float>(sent, {experts}).Clear();");
            w.Open($"for (int j = 0; j < {chosen}; j++)");
            w.Line("sent[best[j]] = 1;");
            w.Line($"choices[r * {chosen} + j] = r * {experts} + best[j];");
            w.Close();
            w.Close();
        });
        return code;
    }

    /// <summary>Counted, and put where the counts say: the first worker does it alone, since it takes a fraction of a meeting.</summary>
    public static KernelCode Emit(SortKernel kernel)
    {
        var code = new KernelCode($"Sort_{Text.Extent(kernel.Rows)}x{kernel.Chosen}by{kernel.Experts}", $"Sorts what [{kernel.Rows}] rows are sent to, {kernel.Chosen} each, by experts.", kernel, Arguments.Of(kernel.Rows));
        code.Plain(w =>
        {
            (int experts, int chosen) = (kernel.Experts, kernel.Chosen);
            string count = Text.RowCount(kernel.Rows);
            w.Line($"int* next = stackalloc int[{experts}];");
            w.Line($"new global::System.Span<int>(next, {experts}).Clear();");
            Choices("next[choices[j] - first]++;");
            w.Line("int before = 0;");
            w.Open($"for (int e = 0; e < {experts}; e++)");
            w.Line("(before, next[e]) = (before + next[e], before);");
            w.Close();
            w.Line();
            Choices("int expert = choices[j] - first, copy = next[expert]++;", "rows[copy] = r;", "experts[copy] = expert;", "copies[j] = copy;");

            void Choices(params string[] lines)
            {
                w.Open($"for (int r = 0; r < {count}; r++)");
                w.Line($"int first = r * {experts};");
                w.Open($"for (int j = r * {chosen}; j < (r + 1) * {chosen}; j++)");
                foreach (string line in lines)
                {
                    w.Line(line);
                }

                w.Close();
                w.Close();
                w.Line();
            }
        });
        return code;
    }

    public static KernelCode Emit(ExpertProductKernel kernel, KernelPlan plan)
    {
        StorageFormat format = kernel.Operands[1].Access.Format;
        var code = new KernelCode($"ExpertMatMul{(kernel.IsTransposed ? "Transposed" : "")}_{Text.Extent(kernel.Rows)}x{kernel.Depth}x{kernel.Columns}{(format.IsPlain ? "" : "_" + format)}",
            $"Each of [{kernel.Rows}, {kernel.Depth}] times its matrix of {kernel.Matrices} of [{kernel.MatrixRows}, {kernel.MatrixColumns}]{(kernel.IsTransposed ? ", transposed" : "")}{(format.IsPlain ? "" : $", of {format} weights")}.", kernel, Arguments.Of(kernel.Rows));
        code.Generic(w =>
        {
            var emitter = new ExpertEmitter(w);
            string columns = CodeWriter.Number(kernel.Columns);
            if (kernel.IsHelped() && !kernel.IsTransposed)
            {
                int units = (kernel.Columns + TakenColumns - 1) / TakenColumns;
                w.Line($"worker.Share({units});");
                w.Open($"while (worker.Take({Math.Min(LeastTaken, units)}, {Math.Min(MostTaken, units)}, out int firstUnit, out int lastUnit))");
                w.Line($"int start = firstUnit * {TakenColumns}, end = {(kernel.Columns % TakenColumns == 0 ? $"lastUnit * {TakenColumns}" : $"Math.Min(lastUnit * {TakenColumns}, {columns})")};");
            }
            else
            {
                Text.Range(w, kernel.IsSerial(), columns, format.IsInGroups ? format.ReadColumns : kernel.IsTransposed ? BlockVectors * MostLanes : BlockColumns);
            }

            OpenRuns(w, Text.RowCount(kernel.Rows));
            if (format.IsInGroups)
            {
                emitter.Unpacked(kernel, format);
                w.Line("r = last;");
                w.Close();
                return;
            }

            string pointed = Pointed(format);
            w.Line($"{pointed}* matrix = {(format.IsPlain ? "" : $"({pointed}*)")}weights + (long)expert * {(long)kernel.MatrixRows * kernel.Operands[1].Access.RowStride};");
            if (kernel.IsTransposed)
            {
                emitter.Transposed(kernel);
            }
            else
            {
                emitter.DotProducts(kernel, plan as ExpertRowsPlan);
            }

            w.Line("r = last;");
            w.Close();
            if (kernel.IsHelped() && !kernel.IsTransposed)
            {
                w.Close();
            }
        });
        return code;
    }

    public static KernelCode Emit(ExpertGradientKernel kernel)
    {
        var code = new KernelCode($"ExpertWeightGradient_{kernel.Rows}x{kernel.MatrixRows}x{kernel.MatrixColumns}",
            $"Adds the outer products of {kernel.Rows} rows into their matrices, {kernel.Matrices} of [{kernel.MatrixRows}, {kernel.MatrixColumns}].", kernel,
            kernel.Mode == StoreMode.AddWhenAccumulating ? ArgumentKinds.Accumulate : ArgumentKinds.None);
        code.Generic(w =>
        {
            var emitter = new ExpertEmitter(w);
            int stride = kernel.Operands[3].Access.RowStride;
            Text.Range(w, kernel.IsSerial(), CodeWriter.Number(kernel.MatrixRows), BlockColumns);
            if (kernel.Mode != StoreMode.Add)
            {
                if (kernel.Mode == StoreMode.AddWhenAccumulating)
                {
                    w.Open("if (!accumulate)");
                }

                w.Open($"for (int e = 0; e < {kernel.Matrices}; e++)");
                w.Open("for (int c = start; c < end; c++)");
                w.Line($"new global::System.Span<float>(matrices + ((long)e * {kernel.MatrixRows} + c) * {stride}, {kernel.MatrixColumns}).Clear();");
                w.Close();
                w.Close();
                if (kernel.Mode == StoreMode.AddWhenAccumulating)
                {
                    w.Close();
                }
            }

            OpenRuns(w, CodeWriter.Number(kernel.Rows));
            w.Line($"float* matrix = matrices + (long)expert * {(long)kernel.MatrixRows * stride};");
            emitter.Blocks("c", "start", "end", BlockColumns, rows => emitter.Vectors("d", "0", CodeWriter.Number(kernel.MatrixColumns), kernel.MatrixColumns, (vectors, tail) => emitter.OuterProducts(kernel, rows, vectors, tail)));
            w.Line("r = last;");
            w.Close();
        });
        return code;
    }

    /// <summary>Opens a loop over runs of rows that meet the same matrix, <c>expert</c>: from <c>r</c> to <c>last</c>, which the loop's end is to go on from.</summary>
    public static void OpenRuns(CodeWriter w, string count)
    {
        w.Open($"for (int r = 0; r < {count};)");
        w.Line("int expert = indices[r], last = r + 1;");
        w.Open($"while (last < {count} && indices[last] == expert)");
        w.Line("last++;");
        w.Close();
    }

    /// <summary>A loop over blocks, and one over what is left.</summary>
    private void Blocks(string index, string start, string end, int size, Action<int> body)
    {
        _w.Line($"int {index} = {start};");
        _w.Open($"for (; {index} <= {end} - {size}; {index} += {size})");
        body(size);
        _w.Close();
        _w.Open($"for (; {index} < {end}; {index}++)");
        body(1);
        _w.Close();
    }

    /// <summary>Loops over blocks of vectors, vectors, and the elements behind the last whole one.</summary>
    private void Vectors(string index, string start, string end, int elements, Action<int, string?> body)
    {
        _w.Line($"int {index} = {start};");
        foreach (int vectors in new[] { BlockVectors, 1 })
        {
            _w.Open($"for (; {index} <= {end} - {V.LanesOf(vectors)}; {index} += {V.LanesOf(vectors)})");
            body(vectors, null);
            _w.Close();
        }

        if (elements % MostLanes != 0)
        {
            _w.Open($"if ({index} < {end})");
            body(1, $"{end} - {index}");
            _w.Close();
        }
    }

    private void DotProducts(ExpertProductKernel kernel, ExpertRowsPlan? plan)
    {
        StorageFormat format = kernel.Operands[1].Access.Format;
        long stride = kernel.Operands[1].Access.RowStride;
        if (plan is null)
        {
            Blocks("c", "start", "end", BlockColumns, columns => Rows(columns, format, "matrix + (long)c * " + stride, stride));
            return;
        }

        // What many rows meet is widened once.
        _w.Line("float* widened = (float*)worker.Scratch;");
        Blocks("c", "start", "end", BlockColumns, columns =>
        {
            _w.Line($"{Pointed(format)}* block = matrix + (long)c * {stride};");
            _w.Open($"if (last - r >= {ExpertRowsPlan.WidenedRows})");
            _w.Open($"for (int n = 0; n < {columns}; n++)");
            _w.Line($"{Pointed(format)}* from = block + n * {stride};");
            _w.Line($"float* to = widened + n * {plan.RowWords};");
            _w.Line("int d = 0;");
            _w.Open($"for (; d <= {kernel.Depth} - V.Lanes; d += V.Lanes)");
            _w.Line(V.Store(Load("from + d", null, format), "to + d"));
            _w.Close();
            if (kernel.Depth % MostLanes != 0)
            {
                _w.Line();
                _w.Open($"if (d < {kernel.Depth})");
                _w.Line(V.StoreTail(Load("from + d", $"{kernel.Depth} - d", format), "to + d", $"{kernel.Depth} - d"));
                _w.Close();
            }

            _w.Close();
            _w.Line();
            Rows(columns, StorageFormat.Float32, "widened", plan.RowWords);
            _w.Close();
            _w.Open("else");
            Rows(columns, format, "block", stride);
            _w.Close();
        });

        void Rows(int columns, StorageFormat stored, string first, long apart) => Blocks("i", "r", "last", BlockRows, rows => DotProducts(kernel, rows, columns, stored, first, apart));
    }

    private void DotProducts(ExpertProductKernel kernel, int rows, int columns, StorageFormat format, string first, long apart)
    {
        foreach (int row in Enumerable.Range(0, rows))
        {
            _w.Line($"float* x{row} = input + (long)(i + {row}) * {kernel.Operands[0].Access.RowStride};");
        }

        foreach (int column in Enumerable.Range(0, columns))
        {
            _w.Line($"{Pointed(format)}* w{column} = {Text.Plus(first, column * apart)};");
        }

        _w.Line($"V {string.Join(", ", Sums(rows, columns).Select(s => s + " = V.Zero"))};");
        _w.Line("int d = 0;");
        _w.Open($"for (; d <= {kernel.Depth} - V.Lanes; d += V.Lanes)");
        Step(null);
        if (!format.IsPlain && rows == 1)
        {
            // A single row meets each of them once, at the speed of memory.
            for (int column = 0; column < columns; column++)
            {
                _w.Line($"Panels.PrefetchAhead(w{column} + d, {AheadBytes});");
            }
        }

        _w.Close();
        if (kernel.Depth % MostLanes != 0)
        {
            _w.Open($"if (d < {kernel.Depth})");
            Step($"{kernel.Depth} - d");
            _w.Close();
        }

        for (int row = 0; row < rows; row++)
        {
            string target = $"output + (long)(i + {row}) * {kernel.Operands[3].Access.RowStride} + c";
            _w.Line(columns == BlockColumns ? $"V.StoreSums({string.Join(", ", Enumerable.Range(0, columns).Select(column => $"s{row}_{column}"))}, {target});" : $"*({target}) = V.Sum(s{row}_0);");
        }

        void Step(string? tail)
        {
            for (int row = 0; row < rows; row++)
            {
                _w.Line($"V x{row}v = {Load($"x{row} + d", tail)};");
            }

            for (int column = 0; column < columns; column++)
            {
                _w.Line($"V w{column}v = {Load($"w{column} + d", tail, format)};");
            }

            for (int row = 0; row < rows; row++)
            {
                for (int column = 0; column < columns; column++)
                {
                    _w.Line($"s{row}_{column} = V.MultiplyAdd(x{row}v, w{column}v, s{row}_{column});");
                }
            }
        }
    }

    private void Transposed(ExpertProductKernel kernel)
    {
        StorageFormat format = kernel.Operands[1].Access.Format;
        Blocks("i", "r", "last", TransposedRows, rows => Vectors("c", "start", "end", kernel.Columns, (vectors, tail) =>
        {
            _w.Line($"V {string.Join(", ", Sums(rows, vectors).Select(s => s + " = V.Zero"))};");
            _w.Open($"for (int d = 0; d < {kernel.Depth}; d++)");
            _w.Line($"{Pointed(format)}* w = matrix + (long)d * {kernel.Operands[1].Access.RowStride} + c;");
            for (int vector = 0; vector < vectors; vector++)
            {
                _w.Line($"V w{vector} = {Load(At("w", vector), tail, format)};");
            }

            for (int row = 0; row < rows; row++)
            {
                _w.Line($"V x{row} = V.Create(input[(long)(i + {row}) * {kernel.Operands[0].Access.RowStride} + d]);");
                for (int vector = 0; vector < vectors; vector++)
                {
                    _w.Line($"s{row}_{vector} = V.MultiplyAdd(x{row}, w{vector}, s{row}_{vector});");
                }
            }

            _w.Close();
            for (int row = 0; row < rows; row++)
            {
                for (int vector = 0; vector < vectors; vector++)
                {
                    Text.VectorStore(_w, V, $"s{row}_{vector}", At($"output + (long)(i + {row}) * {kernel.Operands[3].Access.RowStride} + c", vector), tail, StoreMode.Replace);
                }
            }
        }));
    }

    /// <summary>
    /// As transposed, of quantized weights: parts of four rows of the matrix are unpacked, and every row of the run adds its products with them, in the order of the matrix's rows.
    /// </summary>
    private void Unpacked(ExpertProductKernel kernel, StorageFormat format)
    {
        const int Rows = 4;
        int part = Math.Min(kernel.Columns, StorageFormat.SuperColumns);
        (int inputStride, int stride) = (kernel.Operands[0].Access.RowStride, kernel.Operands[3].Access.RowStride);
        _w.Line($"float* unpacked = stackalloc float[{Rows * part}];");
        _w.Open($"for (int c = start; c < end; c += {part})");
        _w.Line($"int width = Math.Min({part}, end - c);");
        _w.Open("for (int i = r; i < last; i++)");
        _w.Line($"new global::System.Span<float>(output + (long)i * {stride} + c, width).Clear();");
        _w.Close();
        _w.Line();
        _w.Open($"for (int d = 0; d < {kernel.Depth}; d += {Rows})");
        _w.Open($"for (int k = 0; k < {Rows}; k++)");
        _w.Line($"BlockRows.Read(global::ModelGen.WeightFormat.{format}, weights, (long)expert * {kernel.Depth} + d + k, {kernel.Columns}, c, width, unpacked + k * {part});");
        _w.Close();
        _w.Line();
        _w.Open("for (int i = r; i < last; i++)");
        _w.Line($"float* x = input + (long)i * {inputStride} + d, sum = output + (long)i * {stride} + c;");
        for (int k = 0; k < Rows; k++)
        {
            _w.Line($"V x{k} = V.Create(x[{k}]);");
        }

        // Whole blocks are whole vectors.
        _w.Open("for (int n = 0; n < width; n += V.Lanes)");
        _w.Line($"V s = V.Load(sum + n);");
        for (int k = 0; k < Rows; k++)
        {
            _w.Line($"s = V.MultiplyAdd(x{k}, V.Load(unpacked + {(k == 0 ? "" : $"{k * part} + ")}n), s);");
        }

        _w.Line("V.Store(s, sum + n);");
        _w.Close();
        _w.Close();
        _w.Close();
        _w.Close();
        _w.Line();
    }

    private void OuterProducts(ExpertGradientKernel kernel, int rows, int vectors, string? tail)
    {
        _w.Line($"V {string.Join(", ", Sums(rows, vectors).Select(s => s + " = V.Zero"))};");
        _w.Open("for (int i = r; i < last; i++)");
        _w.Line($"float* left = lefts + (long)i * {kernel.Operands[0].Access.RowStride} + c, right = rights + (long)i * {kernel.Operands[1].Access.RowStride} + d;");
        for (int vector = 0; vector < vectors; vector++)
        {
            _w.Line($"V right{vector} = {Load(At("right", vector), tail)};");
        }

        for (int row = 0; row < rows; row++)
        {
            _w.Line($"V left{row} = V.Create(left[{row}]);");
            for (int vector = 0; vector < vectors; vector++)
            {
                _w.Line($"s{row}_{vector} = V.MultiplyAdd(left{row}, right{vector}, s{row}_{vector});");
            }
        }

        _w.Close();
        for (int row = 0; row < rows; row++)
        {
            for (int vector = 0; vector < vectors; vector++)
            {
                Text.VectorStore(_w, V, $"s{row}_{vector}", At($"matrix + (long)(c + {row}) * {kernel.Operands[3].Access.RowStride} + d", vector), tail, StoreMode.Add);
            }
        }
    }

    private static IEnumerable<string> Sums(int rows, int columns) => Enumerable.Range(0, rows * columns).Select(i => $"s{i / columns}_{i % columns}");

    private static string At(string pointer, int vectors) => vectors == 0 ? pointer : $"{pointer} + {V.LanesOf(vectors)}";

    /// <summary>What a pointer to weights points at.</summary>
    private static string Pointed(StorageFormat format) => format.IsPlain ? "float" : "ushort";

    private static string Load(string pointer, string? tail) => tail is null ? V.Load(pointer) : V.LoadTail(pointer, tail);

    private static string Load(string pointer, string? tail, StorageFormat format)
        => format.IsPlain ? Load(pointer, tail) : tail is null ? $"V.Load{format}({pointer})" : $"V.Load{format}Tail({pointer}, {tail})";
}
