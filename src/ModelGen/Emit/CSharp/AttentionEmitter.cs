using System;
using System.Collections.Generic;
using System.Linq;
using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Kernels;

namespace ModelGen.Compiler.Emit.CSharp;

/// <summary>
/// Attention, one head of one sequence at a time: keys are transposed once into scratch memory, scores of a tile of queries
/// are formed, turned into probabilities and multiplied with the values while they are in cache. A single query reads its
/// cache once with dot products. Backwards, probabilities are formed again for a block of queries at a time.
/// </summary>
internal static class AttentionEmitter
{
    public static KernelCode Emit(AttentionKernel kernel)
    {
        ArgumentKinds arguments = Arguments.Of(kernel.Queries) | (kernel.Op.Cached ? ArgumentKinds.Position : ArgumentKinds.None);
        var code = new KernelCode(
            $"Attention_{kernel.Batch}x{Text.Extent(kernel.Queries)}_{kernel.Op.Heads}x{kernel.Op.HeadDim}",
            $"softmax(q·kᵀ·{CodeWriter.Literal(kernel.Op.Scale)})·v, {kernel.Op.Heads} heads of {kernel.Op.HeadDim}{(kernel.Op.Causal ? ", causal" : "")}{(kernel.Op.Cached ? ", over the cache" : "")}.",
            kernel, arguments);
        if (kernel.Queries == RowExtent.Literal(1))
        {
            code.ForEachWidth((w, _, v) => SingleQuery(w, kernel, v));
            return code;
        }

        code.ForEachWidth((w, name, v) => Forward(w, name, kernel, v));
        foreach (Spelling v in Spelling.All)
        {
            int scores = AttentionScratch.ScoreStride(kernel.MaximumKeys, v.Lanes);
            foreach (int height in Heights(kernel.Queries, v))
            {
                AddTile(code, v, $"Scores{height}_{v.Bits}", height, v.TileVectors, 0, "float* a, float* b, float* scores", CodeWriter.Number(kernel.Op.HeadDim),
                    Stride(kernel, 0), 1, scores, false, (w, c, i, j, _) => w.Line(v.Store($"{c} * {v.Broadcast(CodeWriter.Literal(kernel.Op.Scale))}", At("scores", i, scores, j, v))));
                ForColumns(kernel.Op.HeadDim, v, (kind, vectors, last) => AddTile(code, v, $"Values{height}{kind}_{v.Bits}", height, vectors, last, "float* a, float* b, int keys, float* factors, float* output", "keys",
                    scores, 1, Stride(kernel, 2), true, (w, c, i, j, tail) => Text.VectorStore(w, v, $"{c} * {v.Broadcast($"factors[{i}]")}", At("output", i, Stride(kernel, 3), j, v), tail, StoreMode.Replace)));
            }
        }

        return code;
    }

    public static KernelCode Emit(AttentionGradientKernel kernel)
    {
        var code = new KernelCode(
            $"AttentionGradient_{kernel.Batch}x{kernel.Queries}_{kernel.Op.Heads}x{kernel.Op.HeadDim}",
            $"The gradient of softmax(q·kᵀ·{CodeWriter.Literal(kernel.Op.Scale)})·v, {kernel.Op.Heads} heads of {kernel.Op.HeadDim}{(kernel.Op.Causal ? ", causal" : "")}.",
            kernel, ArgumentKinds.None);
        code.ForEachWidth((w, name, v) => Backward(w, name, kernel, v));
        int d = kernel.Op.HeadDim;
        foreach (Spelling v in Spelling.All)
        {
            int scores = AttentionScratch.ScoreStride(kernel.Keys, v.Lanes);
            foreach (int height in Heights(RowExtent.Literal(kernel.Queries), v))
            {
                // Scores from q, and the probabilities' cotangents from the output's cotangent: the same product.
                foreach ((string kind, int operand, double scale) in new[] { ("Scores", 0, kernel.Op.Scale), ("Cotangents", 5, 1.0) })
                {
                    AddTile(code, v, $"{kind}{height}_{v.Bits}", height, v.TileVectors, 0, "float* a, float* b, float* scores", CodeWriter.Number(d), Stride(kernel, operand), 1, scores, false,
                        (w, c, i, j, _) => w.Line(v.Store(scale == 1 ? c : $"{c} * {v.Broadcast(CodeWriter.Literal(scale))}", At("scores", i, scores, j, v))));
                }

                ForColumns(d, v, (kind, vectors, last) => AddTile(code, v, $"Queries{height}{kind}_{v.Bits}", height, vectors, last, "float* a, float* b, int keys, float* output", "keys",
                    scores, 1, Stride(kernel, 1), true, (w, c, i, j, tail) => Text.VectorStore(w, v, c, At("output", i, Stride(kernel, 6), j, v), tail, StoreMode.Replace)));
            }

            foreach (int height in Heights(new RowExtent(1, true, 0, kernel.Keys), v))
            {
                // Contractions over the block's queries, which add to the keys' and values' cotangents.
                foreach ((string kindName, int operand, int target) in new[] { ("Keys", 0, 7), ("Values", 5, 8) })
                {
                    ForColumns(d, v, (kind, vectors, last) => AddTile(code, v, $"{kindName}{height}{kind}_{v.Bits}", height, vectors, last, "float* a, float* b, int queries, float* output", "queries",
                        1, scores, Stride(kernel, operand), true, (w, c, i, j, tail) => Text.VectorStore(w, v, c, At("output", i, Stride(kernel, target), j, v), tail, StoreMode.Add)));
                }
            }
        }

        return code;
    }

    private static void Forward(CodeWriter w, Func<string, string> name, AttentionKernel kernel, Spelling v)
    {
        int d = kernel.Op.HeadDim;
        int group = kernel.Op.Heads / kernel.Op.KeyValueHeads;
        int scores = AttentionScratch.ScoreStride(kernel.MaximumKeys, v.Lanes);
        string queries = Text.RowCount(kernel.Queries);
        w.Line("float* transposed = (float*)worker.Scratch;");
        w.Line($"float* scores = transposed + {d * scores};");
        w.Line($"float* factors = stackalloc float[{v.TileRows}];");
        w.Line(kernel.Op.Cached ? $"int keys = position + {queries};" : $"const int keys = {kernel.MaximumKeys};");
        Text.Range(w, kernel.IsSerial, CodeWriter.Number((long)kernel.Batch * kernel.Op.Heads), 1);
        w.Open("for (int task = start; task < end; task++)");
        Heads(w, kernel.Op.Heads, group, d);
        string batchKeys = kernel.Op.Cached ? "" : $" + (long)sequence * keys * {Stride(kernel, 1)}";
        string batchValues = kernel.Op.Cached ? "" : $" + (long)sequence * keys * {Stride(kernel, 2)}";
        w.Line($"float* keyRows = k{batchKeys} + keyHead * {d};");
        w.Line($"float* valueRows = v{batchValues} + keyHead * {d};");
        w.Line($"float* queryRows = q + (long)sequence * {queries} * {Stride(kernel, 0)} + head * {d};");
        w.Line($"float* outputRows = output + (long)sequence * {queries} * {Stride(kernel, 3)} + head * {d};");
        Transpose(w, "keyRows", "transposed", Stride(kernel, 1), d, scores, v);
        w.Line("int i = 0;");
        foreach (int height in Heights(kernel.Queries, v))
        {
            w.Open($"for (; i <= {queries} - {height}; i += {height})");
            w.Line(kernel.Op.Causal ? $"int limit = {(kernel.Op.Cached ? "position + " : "")}i + {height};" : "int limit = keys;");
            w.Open($"for (int n = 0; n < limit; n += {v.TileColumns})");
            w.Line($"{name($"Scores{height}_{v.Bits}")}(queryRows + (long)i * {Stride(kernel, 0)}, transposed + n, scores + n);");
            w.Close();
            w.Open($"for (int row = 0; row < {height}; row++)");
            w.Line(kernel.Op.Causal ? $"int valid = limit - {height - 1} + row;" : "int valid = keys;");
            w.Line($"float sum = AttentionRows.Exponentials(scores + row * {scores}, valid, limit, out float maximum);");
            w.Line("factors[row] = 1 / sum;");
            if (kernel.HasLogSumExp)
            {
                w.Line($"logsumexp[((long)sequence * {queries} + i + row) * {Stride(kernel, 4)} + head] = maximum + VectorMath.Log(sum);");
            }

            w.Close();
            ColumnCalls(w, d, v, kind => $"{name($"Values{height}{kind}_{v.Bits}")}(scores, valueRows + c, limit, factors, outputRows + (long)i * {Stride(kernel, 3)} + c);");
            w.Close();
        }

        w.Close();
    }

    private static void Backward(CodeWriter w, Func<string, string> name, AttentionGradientKernel kernel, Spelling v)
    {
        int d = kernel.Op.HeadDim;
        int group = kernel.Op.Heads / kernel.Op.KeyValueHeads;
        int scores = AttentionScratch.ScoreStride(kernel.Keys, v.Lanes);
        w.Line("float* keysTransposed = (float*)worker.Scratch;");
        w.Line($"float* valuesTransposed = keysTransposed + {d * scores};");
        w.Line($"float* probabilities = valuesTransposed + {d * scores};");
        w.Line($"float* cotangents = probabilities + {AttentionScratch.QueryBlock * scores};");
        Text.Range(w, kernel.IsSerial, CodeWriter.Number((long)kernel.Batch * kernel.Op.KeyValueHeads), 1);
        w.Open("for (int task = start; task < end; task++)");
        w.Line($"int sequence = task / {kernel.Op.KeyValueHeads};");
        w.Line($"int keyHead = task % {kernel.Op.KeyValueHeads};");
        w.Line($"const int keys = {kernel.Keys};");
        foreach ((string rows, string operand, int index) in new[] { ("keyRows", "k", 1), ("valueRows", "v", 2), ("keyCotangents", "dk", 7), ("valueCotangents", "dv", 8) })
        {
            w.Line($"float* {rows} = {operand} + (long)sequence * {kernel.Keys} * {Stride(kernel, index)} + keyHead * {d};");
        }

        Transpose(w, "keyRows", "keysTransposed", Stride(kernel, 1), d, scores, v);
        Transpose(w, "valueRows", "valuesTransposed", Stride(kernel, 2), d, scores, v);
        w.Open("for (int j = 0; j < keys; j++)");
        w.Line($"new Span<float>(keyCotangents + (long)j * {Stride(kernel, 7)}, {d}).Clear();");
        w.Line($"new Span<float>(valueCotangents + (long)j * {Stride(kernel, 8)}, {d}).Clear();");
        w.Close();
        w.Open($"for (int head = keyHead * {group}; head < (keyHead + 1) * {group}; head++)");
        foreach ((string rows, string operand, int index) in new[] { ("queryRows", "q", 0), ("outputRows", "output", 3), ("outputCotangents", "d_output", 5), ("queryCotangents", "dq", 6) })
        {
            w.Line($"float* {rows} = {operand} + (long)sequence * {kernel.Queries} * {Stride(kernel, index)} + head * {d};");
        }

        w.Open($"for (int first = 0; first < {kernel.Queries}; first += {AttentionScratch.QueryBlock})");
        w.Line($"int queries = Math.Min({AttentionScratch.QueryBlock}, {kernel.Queries} - first);");
        w.Line(kernel.Op.Causal ? "int limit = first + queries;" : "const int limit = keys;");
        w.Line("int i = 0;");
        foreach (int height in Heights(RowExtent.Literal(kernel.Queries), v))
        {
            w.Open($"for (; i <= queries - {height}; i += {height})");
            w.Open($"for (int n = 0; n < limit; n += {v.TileColumns})");
            w.Line($"{name($"Scores{height}_{v.Bits}")}(queryRows + (long)(first + i) * {Stride(kernel, 0)}, keysTransposed + n, probabilities + i * {scores} + n);");
            w.Line($"{name($"Cotangents{height}_{v.Bits}")}(outputCotangents + (long)(first + i) * {Stride(kernel, 5)}, valuesTransposed + n, cotangents + i * {scores} + n);");
            w.Close();
            w.Open($"for (int row = i; row < i + {height}; row++)");
            w.Line($"float* o = outputRows + (long)(first + row) * {Stride(kernel, 3)};");
            w.Line($"float* g = outputCotangents + (long)(first + row) * {Stride(kernel, 5)};");
            w.Line($"{v.Type} products = {v.Type}.Zero;");
            Columns(w, d, v, (at, tail) => w.Line($"products = {v.MultiplyAdd(Read(v, $"o + {at}", tail), Read(v, $"g + {at}", tail), "products")};"));
            w.Line($"float logSum = logsumexp[((long)sequence * {kernel.Queries} + first + row) * {Stride(kernel, 4)} + head];");
            w.Line($"AttentionRows.Backward(probabilities + row * {scores}, cotangents + row * {scores}, {(kernel.Op.Causal ? "first + row + 1" : "keys")}, limit, logSum, Simd.Sum(products), {CodeWriter.Literal(kernel.Op.Scale)});");
            w.Close();
            ColumnCalls(w, d, v, kind => $"{name($"Queries{height}{kind}_{v.Bits}")}(cotangents + i * {scores}, keyRows + c, limit, queryCotangents + (long)(first + i) * {Stride(kernel, 6)} + c);");
            w.Close();
        }

        w.Line("int m = 0;");
        foreach (int height in Heights(new RowExtent(1, true, 0, kernel.Keys), v))
        {
            w.Open($"for (; m <= limit - {height}; m += {height})");
            ColumnCalls(w, d, v, kind => $"{name($"Keys{height}{kind}_{v.Bits}")}(cotangents + m, queryRows + (long)first * {Stride(kernel, 0)} + c, queries, keyCotangents + (long)m * {Stride(kernel, 7)} + c);");
            ColumnCalls(w, d, v, kind => $"{name($"Values{height}{kind}_{v.Bits}")}(probabilities + m, outputCotangents + (long)first * {Stride(kernel, 5)} + c, queries, valueCotangents + (long)m * {Stride(kernel, 8)} + c);");
            w.Close();
        }

        w.Close();
        w.Close();
        w.Close();
    }

    private static void SingleQuery(CodeWriter w, AttentionKernel kernel, Spelling v)
    {
        int d = kernel.Op.HeadDim;
        int group = kernel.Op.Heads / kernel.Op.KeyValueHeads;
        w.Line("float* scores = (float*)worker.Scratch;");
        w.Line(kernel.Op.Cached ? "int keys = position + 1;" : $"const int keys = {(kernel.Op.Causal ? 1 : kernel.MaximumKeys)};");
        Text.Range(w, kernel.IsSerial, CodeWriter.Number((long)kernel.Batch * kernel.Op.Heads), 1);
        w.Open("for (int task = start; task < end; task++)");
        Heads(w, kernel.Op.Heads, group, d);
        string batchKeys = kernel.Op.Cached ? "" : $" + (long)sequence * {kernel.MaximumKeys} * {Stride(kernel, 1)}";
        string batchValues = kernel.Op.Cached ? "" : $" + (long)sequence * {kernel.MaximumKeys} * {Stride(kernel, 2)}";
        w.Line($"float* keyRows = k{batchKeys} + keyHead * {d};");
        w.Line($"float* valueRows = v{batchValues} + keyHead * {d};");
        w.Line($"float* query = q + (long)sequence * {Stride(kernel, 0)} + head * {d};");
        w.Line($"float* result = output + (long)sequence * {Stride(kernel, 3)} + head * {d};");
        var parts = Parts(d, v).ToArray();
        for (int p = 0; p < parts.Length; p++)
        {
            w.Line($"{v.Type} q{p} = {Read(v, $"query + {parts[p].At}", parts[p].Tail)};");
        }

        w.Open("for (int j = 0; j < keys; j++)");
        w.Line($"float* key = keyRows + (long)j * {Stride(kernel, 1)};");
        w.Line($"{v.Type} dot = {v.Type}.Zero;");
        for (int p = 0; p < parts.Length; p++)
        {
            w.Line($"dot = {v.MultiplyAdd($"q{p}", Read(v, $"key + {parts[p].At}", parts[p].Tail), "dot")};");
        }

        w.Line($"scores[j] = Simd.Sum(dot) * {CodeWriter.Literal(kernel.Op.Scale)};");
        w.Close();
        w.Line("float sum = AttentionRows.Exponentials(scores, keys, keys, out float maximum);");
        if (kernel.HasLogSumExp)
        {
            w.Line($"logsumexp[(long)sequence * {Stride(kernel, 4)} + head] = maximum + VectorMath.Log(sum);");
        }

        for (int p = 0; p < parts.Length; p++)
        {
            w.Line($"{v.Type} o{p} = {v.Type}.Zero;");
        }

        w.Open("for (int j = 0; j < keys; j++)");
        w.Line($"float* value = valueRows + (long)j * {Stride(kernel, 2)};");
        w.Line($"{v.Type} probability = {v.Broadcast("scores[j]")};");
        for (int p = 0; p < parts.Length; p++)
        {
            w.Line($"o{p} = {v.MultiplyAdd("probability", Read(v, $"value + {parts[p].At}", parts[p].Tail), $"o{p}")};");
        }

        w.Close();
        w.Line($"{v.Type} factor = {v.Broadcast("1 / sum")};");
        for (int p = 0; p < parts.Length; p++)
        {
            Text.VectorStore(w, v, $"o{p} * factor", $"result + {parts[p].At}", parts[p].Tail, StoreMode.Replace);
        }

        w.Close();
    }

    private static int Stride(Kernel kernel, int operand) => kernel.Operands[operand].Access.RowStride;

    private static void Heads(CodeWriter w, int heads, int group, int d)
    {
        w.Line($"int sequence = task / {heads};");
        w.Line($"int head = task % {heads};");
        w.Line(group == 1 ? "int keyHead = head;" : $"int keyHead = head / {group};");
    }

    // The transposed rows end in zeros up to a whole tile, so that a tile may always be read whole.
    private static void Transpose(CodeWriter w, string rows, string target, int stride, int d, int scores, Spelling v)
    {
        w.Open($"for (int j = 0; j < keys; j += {v.TileColumns})");
        w.Line($"Panels.PackTransposed({rows} + (long)j * {stride}, {stride}, {d}, Math.Min({v.TileColumns}, keys - j), {target} + j, {v.TileColumns}, {scores});");
        w.Close();
    }

    private static IEnumerable<int> Heights(RowExtent rows, Spelling v)
    {
        int height = Math.Min(v.TileRows, rows.Maximum);
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
        else
        {
            // The last block of queries may be shorter than a tile.
            int rest = rows.Maximum % height;
            if (rest > 0)
            {
                yield return rest;
            }
        }
    }

    private static void AddTile(KernelCode code, Spelling v, string suffix, int rows, int vectors, int last, string parameters, string depth, int aRow, int aStep, int bStep, bool ragged, Action<CodeWriter, string, int, int, string?> store)
    {
        var tile = new Tile(v, rows, vectors, last) { ARow = aRow, AStep = aStep, BStep = bStep, BIsRagged = ragged, Depth = depth };
        code.Method(suffix, parameters, (w, _) =>
        {
            tile.Contract(w);
            for (int i = 0; i < rows; i++)
            {
                for (int j = 0; j < vectors; j++)
                {
                    store(w, Tile.Accumulator(i, j), i, j, tile.TailOf(j));
                }
            }
        });
    }

    private static string At(string pointer, int row, int stride, int vector, Spelling v)
    {
        long offset = ((long)row * stride) + (vector * v.Lanes);
        return offset == 0 ? pointer : $"{pointer} + {CodeWriter.Number(offset)}";
    }

    private static void ForColumns(int columns, Spelling v, Action<string, int, int> add)
    {
        (int full, int restVectors, int restLast) = Tile.Cover(columns, v);
        if (full > 0)
        {
            add("", v.TileVectors, 0);
        }

        if (restVectors > 0)
        {
            add("Last", restVectors, restLast);
        }
    }

    private static void ColumnCalls(CodeWriter w, int columns, Spelling v, Func<string, string> call)
    {
        (int full, int restVectors, _) = Tile.Cover(columns, v);
        if (full > 0)
        {
            w.Open($"for (int c = 0; c < {full * v.TileColumns}; c += {v.TileColumns})");
            w.Line(call(""));
            w.Close();
        }

        if (restVectors > 0)
        {
            w.Open("");
            w.Line($"const int c = {full * v.TileColumns};");
            w.Line(call("Last"));
            w.Close();
        }
    }

    private static IEnumerable<(int At, string? Tail)> Parts(int columns, Spelling v)
    {
        for (int c = 0; c < columns; c += v.Lanes)
        {
            yield return (c, columns - c >= v.Lanes ? null : CodeWriter.Number(columns - c));
        }
    }

    private static void Columns(CodeWriter w, int columns, Spelling v, Action<int, string?> each)
    {
        foreach ((int at, string? tail) in Parts(columns, v))
        {
            each(at, tail);
        }
    }

    private static string Read(Spelling v, string pointer, string? tail) => tail is null ? v.Load(pointer) : v.LoadTail(pointer, tail);
}
