using System.Collections.Generic;
using System.Linq;
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

    private static readonly Spelling V = Spelling.Generic;

    private readonly CodeWriter _w;

    private ExpertEmitter(CodeWriter w) => _w = w;

    /// <summary>One worker chooses and sorts: there is far less to do than in the products that follow.</summary>
    public static KernelCode Emit(RouteKernel kernel)
    {
        var code = new KernelCode($"Route_{Text.Extent(kernel.Rows)}x{kernel.Experts}", $"Sends [{kernel.Rows}] rows to the {kernel.Chosen} of {kernel.Experts} experts that score highest, sorted by experts.", kernel, Arguments.Of(kernel.Rows));
        code.Plain(w =>
        {
            (int experts, int chosen) = (kernel.Experts, kernel.Chosen);
            string count = Text.RowCount(kernel.Rows);
            Text.Range(w, kernel.IsSerial(), "1", 1);
            w.Open("if (start < end)");
            w.Line($"int* next = stackalloc int[{experts}];");
            w.Line($"new global::System.Span<int>(next, {experts}).Clear();");
            w.Open($"for (int r = 0; r < {count}; r++)");
            w.Line($"float* row = scores + (long)r * {kernel.Operands[0].Access.RowStride}, sent = mask + (long)r * {kernel.Operands[5].Access.RowStride};");
            w.Line($"new global::System.Span<float>(sent, {experts}).Clear();");
            w.Open($"for (int j = 0; j < {chosen}; j++)");
            w.Line("int best = -1;");
            w.Open($"for (int e = 0; e < {experts}; e++)");
            w.Open("if (sent[e] == 0 && (best < 0 || row[e] > row[best]))");
            w.Line("best = e;");
            w.Close();
            w.Close();
            w.Line("sent[best] = 1;");
            w.Line("next[best]++;");
            w.Line($"choices[r * {chosen} + j] = r * {experts} + best;");
            w.Close();
            w.Close();
            w.Line("int first = 0;");
            w.Open($"for (int e = 0; e < {experts}; e++)");
            w.Line("(first, next[e]) = (first + next[e], first);");
            w.Close();
            w.Open($"for (int r = 0; r < {count}; r++)");
            w.Open($"for (int j = r * {chosen}; j < (r + 1) * {chosen}; j++)");
            w.Line($"int expert = choices[j] - r * {experts};");
            w.Line("int copy = next[expert]++;");
            w.Line("rows[copy] = r;");
            w.Line("experts[copy] = expert;");
            w.Line("copies[j] = copy;");
            w.Close();
            w.Close();
            w.Close();
        });
        return code;
    }

    public static KernelCode Emit(ExpertProductKernel kernel)
    {
        var code = new KernelCode($"ExpertMatMul{(kernel.IsTransposed ? "Transposed" : "")}_{Text.Extent(kernel.Rows)}x{kernel.Depth}x{kernel.Columns}",
            $"Each of [{kernel.Rows}, {kernel.Depth}] times its matrix of {kernel.Matrices} of [{kernel.MatrixRows}, {kernel.MatrixColumns}]{(kernel.IsTransposed ? ", transposed" : "")}.", kernel, Arguments.Of(kernel.Rows));
        code.Generic(w =>
        {
            var emitter = new ExpertEmitter(w);
            Text.Range(w, kernel.IsSerial(), CodeWriter.Number(kernel.Columns), kernel.IsTransposed ? BlockVectors * MostLanes : BlockColumns);
            emitter.OpenRuns(Text.RowCount(kernel.Rows));
            w.Line($"float* matrix = weights + (long)expert * {(long)kernel.MatrixRows * kernel.Operands[1].Access.RowStride};");
            if (kernel.IsTransposed)
            {
                emitter.Transposed(kernel);
            }
            else
            {
                emitter.DotProducts(kernel);
            }

            w.Line("r = last;");
            w.Close();
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

            emitter.OpenRuns(CodeWriter.Number(kernel.Rows));
            w.Line($"float* matrix = matrices + (long)expert * {(long)kernel.MatrixRows * stride};");
            emitter.Blocks("c", "start", "end", BlockColumns, rows => emitter.Vectors("d", "0", CodeWriter.Number(kernel.MatrixColumns), kernel.MatrixColumns, (vectors, tail) => emitter.OuterProducts(kernel, rows, vectors, tail)));
            w.Line("r = last;");
            w.Close();
        });
        return code;
    }

    private void OpenRuns(string count)
    {
        _w.Open($"for (int r = 0; r < {count};)");
        _w.Line("int expert = indices[r], last = r + 1;");
        _w.Open($"while (last < {count} && indices[last] == expert)");
        _w.Line("last++;");
        _w.Close();
    }

    /// <summary>A loop over blocks, and one over what is left.</summary>
    private void Blocks(string index, string start, string end, int size, System.Action<int> body)
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
    private void Vectors(string index, string start, string end, int elements, System.Action<int, string?> body)
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

    private void DotProducts(ExpertProductKernel kernel)
        => Blocks("c", "start", "end", BlockColumns, columns => Blocks("i", "r", "last", BlockRows, rows =>
        {
            foreach (int row in Enumerable.Range(0, rows))
            {
                _w.Line($"float* x{row} = input + (long)(i + {row}) * {kernel.Operands[0].Access.RowStride};");
            }

            foreach (int column in Enumerable.Range(0, columns))
            {
                _w.Line($"float* w{column} = matrix + (long)(c + {column}) * {kernel.Operands[1].Access.RowStride};");
            }

            _w.Line($"V {string.Join(", ", Sums(rows, columns).Select(s => s + " = V.Zero"))};");
            _w.Line("int d = 0;");
            _w.Open($"for (; d <= {kernel.Depth} - V.Lanes; d += V.Lanes)");
            Step(null);
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
                foreach (string operand in Enumerable.Range(0, rows).Select(row => "x" + row).Concat(Enumerable.Range(0, columns).Select(column => "w" + column)))
                {
                    _w.Line($"V {operand}v = {Load(operand + " + d", tail)};");
                }

                for (int row = 0; row < rows; row++)
                {
                    for (int column = 0; column < columns; column++)
                    {
                        _w.Line($"s{row}_{column} = V.MultiplyAdd(x{row}v, w{column}v, s{row}_{column});");
                    }
                }
            }
        }));

    private void Transposed(ExpertProductKernel kernel)
        => Blocks("i", "r", "last", TransposedRows, rows => Vectors("c", "start", "end", kernel.Columns, (vectors, tail) =>
        {
            _w.Line($"V {string.Join(", ", Sums(rows, vectors).Select(s => s + " = V.Zero"))};");
            _w.Open($"for (int d = 0; d < {kernel.Depth}; d++)");
            _w.Line($"float* w = matrix + (long)d * {kernel.Operands[1].Access.RowStride} + c;");
            for (int vector = 0; vector < vectors; vector++)
            {
                _w.Line($"V w{vector} = {Load(At("w", vector), tail)};");
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

    private static string Load(string pointer, string? tail) => tail is null ? V.Load(pointer) : V.LoadTail(pointer, tail);
}
