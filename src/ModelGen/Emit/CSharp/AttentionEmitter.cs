using System;
using System.Collections.Generic;
using System.Linq;
using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Kernels;
using ModelGen.Compiler.Targets.Cpu;

namespace ModelGen.Compiler.Emit.CSharp;

/// <summary>
/// Attention, one head of one sequence at a time: keys are transposed once into scratch memory, scores of a tile of queries
/// are formed, turned into probabilities and multiplied with the values while they are in cache. A single query reads its
/// cache once with dot products. Backwards, probabilities are formed again for a block of queries at a time.
/// </summary>
internal static class AttentionEmitter
{
    public static KernelCode Emit(AttentionKernel kernel, AttentionPlan plan)
    {
        ArgumentKinds arguments = Arguments.Of(kernel.Queries) | (kernel.Op.Cached ? ArgumentKinds.Position : ArgumentKinds.None);
        var code = new KernelCode(
            $"Attention_{kernel.Batch}x{Text.Extent(kernel.Queries)}_{kernel.Op.Heads}x{kernel.Op.HeadDim}",
            $"softmax(q·kᵀ·{CodeWriter.Literal(kernel.Op.Scale)})·v, {kernel.Op.Heads} heads of {kernel.Op.HeadDim}{(kernel.Op.Causal ? ", causal" : "")}{(kernel.Op.Cached ? ", over the cache" : "")}.",
            kernel, arguments);
        code.ForEachWidth((w, _, v) =>
        {
            AttentionScheme scheme = plan.Scheme(v.Lanes);
            switch (scheme.Algorithm)
            {
                case AttentionAlgorithm.NarrowHeads:
                    NarrowHeadsEmitter.Emit(w, kernel, v);
                    break;
                case AttentionAlgorithm.SingleQuery:
                    SingleQuery(w, kernel, scheme, v);
                    break;
                default:
                    Forward(w, kernel, scheme, v);
                    break;
            }
        });

        return code;
    }

    public static KernelCode Emit(AttentionGradientKernel kernel, AttentionPlan plan)
    {
        var code = new KernelCode(
            $"AttentionGradient_{kernel.Batch}x{kernel.Queries}_{kernel.Op.Heads}x{kernel.Op.HeadDim}",
            $"The gradient of softmax(q·kᵀ·{CodeWriter.Literal(kernel.Op.Scale)})·v, {kernel.Op.Heads} heads of {kernel.Op.HeadDim}{(kernel.Op.Causal ? ", causal" : "")}.",
            kernel, ArgumentKinds.None);
        code.ForEachWidth((w, _, v) => Backward(w, kernel, plan.Scheme(v.Lanes), v));
        return code;
    }

    private static void Forward(CodeWriter w, AttentionKernel kernel, AttentionScheme scheme, Spelling v)
    {
        int d = kernel.Op.HeadDim;
        int padded = scheme.PaddedHead;
        int group = kernel.Op.Heads / kernel.Op.KeyValueHeads;
        int scores = scheme.ScoreStride;
        string queries = Text.RowCount(kernel.Queries);
        Scratch(w, scheme, AttentionPlan.KeysTransposed, AttentionPlan.Values, AttentionPlan.Scores);
        w.Line($"float* tile = stackalloc float[{scheme.Tile.Rows * v.TileColumns}];");
        w.Line($"float* factors = stackalloc float[{scheme.Tile.Rows}];");
        w.Line(kernel.Op.Cached ? $"int keys = position + {queries};" : $"const int keys = {kernel.MaximumKeys};");
        Text.OpenUnits(w, kernel, kernel.Batch * kernel.Op.Heads, "task");
        Heads(w, kernel.Op.Heads, group, d);
        string batchKeys = kernel.Op.Cached ? "" : $" + (long)sequence * keys * {Stride(kernel, 1)}";
        string batchValues = kernel.Op.Cached ? "" : $" + (long)sequence * keys * {Stride(kernel, 2)}";
        w.Line($"float* queryRows = q + (long)sequence * {queries} * {Stride(kernel, 0)} + head * {d};");
        w.Line($"float* outputRows = output + (long)sequence * {queries} * {Stride(kernel, 3)} + head * {d};");
        Transpose(w, $"k{batchKeys} + keyHead * {d}", "keysTransposed", Stride(kernel, 1), d, scores, v);
        w.Line($"Panels.PackRows(v{batchValues} + keyHead * {d}, {Stride(kernel, 2)}, keys, {d}, values, {padded});");
        w.Line("int i = 0;");
        foreach (int height in Tile.Heights(kernel.Queries, scheme.Tile))
        {
            var scoreTile = new Tile(v, height, Stride(kernel, 0), 1, scores, scores, d);
            var valueTile = new Tile(v, height, scores, 1, padded, v.TileColumns, null);
            w.Open($"for (; i <= {queries} - {height}; i += {height})");
            w.Line(kernel.Op.Causal ? $"int limit = {(kernel.Op.Cached ? "position + " : "")}i + {height};" : "int limit = keys;");
            w.Open($"for (int n = 0; n < limit; n += {v.TileColumns})");
            w.Line(scoreTile.Call($"queryRows + (long)i * {Stride(kernel, 0)}", "keysTransposed + n", "scores + n"));
            w.Close();
            w.Open($"for (int row = 0; row < {height}; row++)");
            w.Line(kernel.Op.Causal ? $"int valid = limit - {height - 1} + row;" : "int valid = keys;");
            w.Line($"float sum = AttentionRows.Exponentials(scores + row * {scores}, valid, limit, {CodeWriter.Literal(kernel.Op.Scale)}, out float maximum);");
            w.Line("factors[row] = 1 / sum;");
            if (kernel.HasLogSumExp)
            {
                w.Line($"logsumexp[((long)sequence * {queries} + i + row) * {Stride(kernel, 4)} + head] = maximum + VectorMath.Log(sum);");
            }

            w.Close();
            ColumnTiles(w, d, v, c =>
            {
                w.Line(valueTile.Call("scores", $"values + {c}", "tile", "limit"));
                w.Open($"for (int row = 0; row < {height}; row++)");
                w.Line($"{v.Type} factor = {v.Broadcast("factors[row]")};");
                TileRow(w, d, c, v, $"outputRows + (long)(i + row) * {Stride(kernel, 3)}", x => $"{x} * factor", StoreMode.Replace);
                w.Close();
            });
            w.Close();
        }

        w.Close();
    }

    private static void Backward(CodeWriter w, AttentionGradientKernel kernel, AttentionScheme scheme, Spelling v)
    {
        int d = kernel.Op.HeadDim;
        int padded = scheme.PaddedHead;
        int group = kernel.Op.Heads / kernel.Op.KeyValueHeads;
        int scores = scheme.ScoreStride;
        int block = scheme.QueryBlock;
        Scratch(w, scheme, AttentionPlan.KeysTransposed, AttentionPlan.ValuesTransposed, AttentionPlan.KeyRows, AttentionPlan.Probabilities, AttentionPlan.Cotangents, AttentionPlan.Queries, AttentionPlan.OutputCotangents);
        w.Line($"float* tile = stackalloc float[{scheme.Tile.Rows * v.TileColumns}];");
        Text.OpenUnits(w, kernel, kernel.Batch * kernel.Op.KeyValueHeads, "task");
        w.Line($"int sequence = task / {kernel.Op.KeyValueHeads};");
        w.Line($"int keyHead = task % {kernel.Op.KeyValueHeads};");
        w.Line($"const int keys = {kernel.Keys};");
        foreach ((string rows, string operand, int index) in new[] { ("keyCotangents", "dk", 7), ("valueCotangents", "dv", 8) })
        {
            w.Line($"float* {rows} = {operand} + (long)sequence * {kernel.Keys} * {Stride(kernel, index)} + keyHead * {d};");
        }

        Transpose(w, $"k + (long)sequence * keys * {Stride(kernel, 1)} + keyHead * {d}", "keysTransposed", Stride(kernel, 1), d, scores, v);
        Transpose(w, $"v + (long)sequence * keys * {Stride(kernel, 2)} + keyHead * {d}", "valuesTransposed", Stride(kernel, 2), d, scores, v);
        w.Line($"Panels.PackRows(k + (long)sequence * keys * {Stride(kernel, 1)} + keyHead * {d}, {Stride(kernel, 1)}, keys, {d}, keyRows, {padded});");
        w.Open("for (int j = 0; j < keys; j++)");
        w.Line($"new global::System.Span<float>(keyCotangents + (long)j * {Stride(kernel, 7)}, {d}).Clear();");
        w.Line($"new global::System.Span<float>(valueCotangents + (long)j * {Stride(kernel, 8)}, {d}).Clear();");
        w.Close();
        w.Open($"for (int head = keyHead * {group}; head < (keyHead + 1) * {group}; head++)");
        w.Open($"for (int first = 0; first < {kernel.Queries}; first += {block})");
        w.Line($"int queries = Math.Min({block}, {kernel.Queries} - first);");
        w.Line(kernel.Op.Causal ? "int limit = first + queries;" : "int limit = keys;");
        w.Line($"long firstRow = (long)sequence * {kernel.Queries} + first;");
        w.Line($"Panels.PackRows(q + firstRow * {Stride(kernel, 0)} + head * {d}, {Stride(kernel, 0)}, queries, {d}, queryBlock, {padded});");
        w.Line($"Panels.PackRows(d_output + firstRow * {Stride(kernel, 5)} + head * {d}, {Stride(kernel, 5)}, queries, {d}, outputBlock, {padded});");
        w.Line("int i = 0;");
        foreach (int height in Tile.Heights(RowExtent.Literal(kernel.Queries), scheme.Tile))
        {
            var scoreTile = new Tile(v, height, padded, 1, scores, scores, d);
            var queryTile = new Tile(v, height, scores, 1, padded, v.TileColumns, null);
            w.Open($"for (; i <= queries - {height}; i += {height})");
            w.Open($"for (int n = 0; n < limit; n += {v.TileColumns})");
            w.Line(scoreTile.Call($"queryBlock + i * {padded}", "keysTransposed + n", $"probabilities + i * {scores} + n"));
            w.Line(scoreTile.Call($"outputBlock + i * {padded}", "valuesTransposed + n", $"cotangents + i * {scores} + n"));
            w.Close();
            w.Open($"for (int row = i; row < i + {height}; row++)");
            w.Line($"float* o = output + (firstRow + row) * {Stride(kernel, 3)} + head * {d};");
            w.Line($"float* g = outputBlock + row * {padded};");
            w.Line($"{v.Type} products = {v.Type}.Zero;");
            foreach ((int at, string? tail) in Parts(d, v))
            {
                w.Line($"products = {v.MultiplyAdd(Read(v, $"o + {at}", tail), v.Load($"g + {at}"), "products")};");
            }

            w.Line($"float logSum = logsumexp[(firstRow + row) * {Stride(kernel, 4)} + head];");
            w.Line($"AttentionRows.Backward(probabilities + row * {scores}, cotangents + row * {scores}, {(kernel.Op.Causal ? "first + row + 1" : "keys")}, limit, logSum, Simd.Sum(products), {CodeWriter.Literal(kernel.Op.Scale)});");
            w.Close();
            ColumnTiles(w, d, v, c =>
            {
                w.Line(queryTile.Call($"cotangents + i * {scores}", $"keyRows + {c}", "tile", "limit"));
                w.Open($"for (int row = 0; row < {height}; row++)");
                TileRow(w, d, c, v, $"dq + (firstRow + i + row) * {Stride(kernel, 6)} + head * {d}", x => x, StoreMode.Replace);
                w.Close();
            });
            w.Close();
        }

        // Contractions over the block's queries, which add to the keys' and values' cotangents.
        w.Line("int m = 0;");
        foreach (int height in Tile.Heights(RowExtent.Of(Dim.Time(kernel.Keys)), scheme.Tile))
        {
            var keyTile = new Tile(v, height, 1, scores, padded, v.TileColumns, null);
            w.Open($"for (; m <= limit - {height}; m += {height})");
            ColumnTiles(w, d, v, c =>
            {
                foreach ((string a, string b, string target, int index) in new[] { ("cotangents", "queryBlock", "keyCotangents", 7), ("probabilities", "outputBlock", "valueCotangents", 8) })
                {
                    w.Line(keyTile.Call($"{a} + m", $"{b} + {c}", "tile", "queries"));
                    w.Open($"for (int row = 0; row < {height}; row++)");
                    TileRow(w, d, c, v, $"{target} + (long)(m + row) * {Stride(kernel, index)}", x => x, StoreMode.Add);
                    w.Close();
                }
            });
            w.Close();
        }

        w.Close();
        w.Close();
        w.Close();
    }

    /// <summary>For each tile of columns, with its first column.</summary>
    private static void ColumnTiles(CodeWriter w, int columns, Spelling v, Action<string> tile)
    {
        if (columns <= v.TileColumns)
        {
            tile("0");
            return;
        }

        w.Open($"for (int c = 0; c < {columns}; c += {v.TileColumns})");
        tile("c");
        w.Close();
    }

    /// <summary>Stores one row of a tile: the columns of it that the result has.</summary>
    private static void TileRow(CodeWriter w, int columns, string first, Spelling v, string target, Func<string, string> value, StoreMode mode)
    {
        w.Line($"float* target = {target};");
        bool single = columns <= v.TileColumns;
        for (int j = 0; j < v.TileVectors; j++)
        {
            string at = single ? CodeWriter.Number(j * v.Lanes) : j == 0 ? "c" : $"c + {j * v.Lanes}";
            string x = value(v.Load($"tile + row * {v.TileColumns}{(j == 0 ? "" : $" + {j * v.Lanes}")}"));
            int left = columns - (j * v.Lanes);
            if (single)
            {
                if (left > 0)
                {
                    Text.VectorStore(w, v, x, $"target + {at}", left >= v.Lanes ? null : CodeWriter.Number(left), mode);
                }
            }
            else if (columns % v.TileColumns == 0)
            {
                Text.VectorStore(w, v, x, $"target + {at}", null, mode);
            }
            else
            {
                w.Open($"if ({at} + {v.Lanes} <= {columns})");
                Text.VectorStore(w, v, x, $"target + {at}", null, mode);
                w.Close();
                w.Open($"else if ({at} < {columns})");
                Text.VectorStore(w, v, x, $"target + {at}", $"{columns} - ({at})", mode);
                w.Close();
            }
        }
    }

    // A single query reads each key and each value once, in the order of memory: positions outside, heads inside, four positions at a
    // time, so that their sums are taken together. Heads narrower than a vector share one, where they fill it.
    private static void SingleQuery(CodeWriter w, AttentionKernel kernel, AttentionScheme scheme, Spelling width)
    {
        const int Block = 4;
        int d = kernel.Op.HeadDim;
        int heads = kernel.Op.Heads;
        int group = heads / kernel.Op.KeyValueHeads;
        int scores = scheme.ScoreStride;
        bool several = kernel.Batch > 1;

        // Heads of one vector; where they would not fill it, a head is read in narrower vectors.
        bool shares = group == 1 && d >= 4 && d < width.Lanes && width.Lanes % d == 0 && heads % (width.Lanes / d) == 0;
        int together = shares ? width.Lanes / d : 1;
        Spelling v = shares ? width : width.FilledBy(d);
        (int At, string? Tail)[] parts = [.. Parts(together * d, v)];
        (string first, string last) = several ? ("firstHead", "lastHead") : ("start", "end");
        w.Line("float* scores = (float*)worker.Scratch;");
        w.Line($"float* factors = stackalloc float[{heads}];");
        w.Line(kernel.Op.Cached ? "int keys = position + 1;" : $"const int keys = {(kernel.Op.Causal ? 1 : kernel.MaximumKeys)};");
        Text.Range(w, kernel.IsSerial(), CodeWriter.Number((long)kernel.Batch * heads), together);
        if (several)
        {
            w.Open("for (int task = start; task < end;)");
            w.Line($"int sequence = task / {heads};");
            w.Line($"int firstHead = task % {heads};");
            w.Line($"int lastHead = Math.Min({heads}, firstHead + end - task);");
            w.Line("task += lastHead - firstHead;");
            w.Line($"float* query = q + (long)sequence * {Stride(kernel, 0)};");
            w.Line($"float* result = output + (long)sequence * {Stride(kernel, 3)};");
        }

        string keyAt = group == 1 ? "at" : "keyAt";
        (string queries, string results) = several ? ("query", "result") : ("q", "output");
        string Rows(string operand, int index) => several && !kernel.Op.Cached ? $"{operand} + ((long)sequence * {kernel.MaximumKeys} + j) * {Stride(kernel, index)}" : $"{operand} + (long)j * {Stride(kernel, index)}";

        w.Line("int j = 0;");
        Positions("key", "k", 1, rows =>
        {
            for (int p = 0; p < parts.Length; p++)
            {
                w.Line($"{v.Type} x{p} = {Read(v, Text.Plus($"{queries} + at", parts[p].At), parts[p].Tail)};");
                for (int i = 0; i < rows; i++)
                {
                    string key = Read(v, Text.Plus($"key{i} + {keyAt}", parts[p].At), parts[p].Tail);
                    w.Line(p == 0 ? $"{v.Type} d{i} = x{p} * {key};" : $"d{i} = {v.MultiplyAdd($"x{p}", key, $"d{i}")};");
                }
            }

            string products = string.Join(", ", Enumerable.Range(0, rows).Select(i => $"d{i}"));
            if (rows > 1 && shares)
            {
                w.Line($"{v.Type} sums = Simd.PartialSums({products});");
            }

            for (int h = 0; h < together; h++)
            {
                string to = Text.Plus("score", h * scores);
                w.Line(rows == 1 ? $"{(h == 0 ? "*score" : $"score[{h * scores}]")} = Simd.Sum({(shares ? Text.Lanes("d0", v.Bits, h * d, d) : "d0")});"
                    : !shares ? $"Vector128.Store(Simd.Sums({products}), {to});"
                    : d == 4 ? $"Vector128.Store({Text.Lanes("sums", v.Bits, h * d, d)}, {to});"
                    : $"Vector128.Store({Text.Lanes("sums", v.Bits, h * d, 4)} + {Text.Lanes("sums", v.Bits, (h * d) + 4, 4)}, {to});");
            }
        });

        w.Line();
        w.Open($"for (int head = {first}; head < {last}; head++)");
        w.Line($"float sum = AttentionRows.Exponentials(scores + (head * {scores}), keys, keys, {CodeWriter.Literal(kernel.Op.Scale)}, out {(kernel.HasLogSumExp ? "float maximum" : "float _")});");
        w.Line("factors[head] = 1 / sum;");
        if (kernel.HasLogSumExp)
        {
            w.Line($"logsumexp[{(several ? $"(long)sequence * {Stride(kernel, 4)} + " : "")}head] = maximum + VectorMath.Log(sum);");
        }

        w.Close();
        w.Line();
        w.Line($"new global::System.Span<float>({results} + {first} * {d}, ({last} - {first}) * {d}).Clear();");
        w.Line("j = 0;");
        Positions("value", "v", 2, rows =>
        {
            for (int i = 0; i < rows; i++)
            {
                w.Line($"{v.Type} p{i} = {Spread(v.Bits, together, h => $"score[{(h * scores) + i}]")};");
            }

            for (int p = 0; p < parts.Length; p++)
            {
                (int at, string? tail) = parts[p];
                string Value(int i) => Read(v, Text.Plus($"value{i} + {keyAt}", at), tail);
                string sum = $"p0 * {Value(0)}";
                if (rows > 1)
                {
                    // Two chains, so that what the last four positions left is added last.
                    w.Line($"{v.Type} y{p} = {v.MultiplyAdd("p1", Value(1), sum)};");
                    w.Line($"{v.Type} z{p} = {v.MultiplyAdd("p3", Value(3), $"p2 * {Value(2)}")};");
                    sum = $"(y{p} + z{p})";
                }

                Text.VectorStore(w, v, sum, Text.Plus($"{results} + at", at), tail, StoreMode.Add);
            }
        });

        w.Line();
        w.Open(ForHeads());
        w.Line($"float* row = {results} + head * {d};");
        w.Line($"{v.Type} factor = {Spread(v.Bits, together, h => h == 0 ? "factors[head]" : $"factors[head + {h}]")};");
        foreach ((int at, string? tail) in parts)
        {
            Text.VectorStore(w, v, $"{Read(v, Text.Plus("row", at), tail)} * factor", Text.Plus("row", at), tail, StoreMode.Replace);
        }

        w.Close();
        if (several)
        {
            w.Close();
        }

        string ForHeads() => $"for (int head = {first}; head < {last}; {(together == 1 ? "head++" : $"head += {together}")})";

        void Positions(string name, string operand, int index, Action<int> body)
        {
            foreach (int rows in new[] { Block, 1 })
            {
                w.Open(rows == 1 ? "for (; j < keys; j++)" : $"for (; j <= keys - {rows}; j += {rows})");
                w.Line($"float* {name}0 = {Rows(operand, index)};");
                for (int i = 1; i < rows; i++)
                {
                    w.Line($"float* {name}{i} = {name}{i - 1} + {Stride(kernel, index)};");
                }

                w.Line($"float* score = scores + ({first} * {scores}) + j;");
                w.Open(ForHeads());
                w.Line($"long at = head * {d};");
                if (group > 1)
                {
                    w.Line($"long keyAt = head / {group} * {d};");
                }

                body(rows);
                w.Line($"score += {together * scores};");
                w.Close();
                w.Close();
                if (rows > 1)
                {
                    w.Line();
                }
            }
        }
    }

    // A vector whose equal parts hold a scalar each.
    private static string Spread(int bits, int parts, Func<int, string> scalar) => parts == 1 ? $"Vector{bits}.Create({scalar(0)})"
        : $"Simd.Join({Spread(bits / 2, parts / 2, scalar)}, {Spread(bits / 2, parts / 2, i => scalar((parts / 2) + i))})";

    // The parts of a worker's own memory, where the plan put them.
    private static void Scratch(CodeWriter w, AttentionScheme scheme, params string[] parts)
    {
        foreach (string part in parts)
        {
            w.Line($"float* {part} = {Text.Plus("(float*)worker.Scratch", scheme.Scratch.OffsetOf(part))};");
        }
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

    private static IEnumerable<(int At, string? Tail)> Parts(int columns, Spelling v)
    {
        for (int c = 0; c < columns; c += v.Lanes)
        {
            yield return (c, columns - c >= v.Lanes ? null : CodeWriter.Number(columns - c));
        }
    }

    private static string Read(Spelling v, string pointer, string? tail) => tail is null ? v.Load(pointer) : v.LoadTail(pointer, tail);
}
