using System;
using System.Collections.Generic;
using System.Linq;
using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Kernels;
using ModelGen.Compiler.Ops;
using ModelGen.Compiler.Targets.Cpu;

namespace ModelGen.Compiler.Emit.CSharp;

/// <summary>
/// Attention to keys that do not lie side by side: for each query a list of those that it sees, over which scores, probabilities and sums are
/// taken. What is not seen costs nothing.
/// </summary>
internal sealed class ListedKeysEmitter
{
    private static readonly Spelling V = Spelling.Generic;

    private readonly CodeWriter _w;
    private readonly Kernel _kernel;
    private readonly Attention _op;
    private readonly int _d;
    private readonly bool _hasTail;

    private ListedKeysEmitter(CodeWriter w, Kernel kernel, Attention op, IReadOnlyList<AttentionScheme> schemes)
    {
        _w = w;
        _kernel = kernel;
        _op = op;
        _d = op.HeadDim;
        _hasTail = schemes.Any(s => op.HeadDim % s.Tile.Lanes != 0);
    }

    public static void Forward(CodeWriter w, AttentionKernel kernel, IReadOnlyList<AttentionScheme> schemes)
        => new ListedKeysEmitter(w, kernel, kernel.Op, schemes).Forward(kernel, schemes);

    public static void Backward(CodeWriter w, AttentionGradientKernel kernel, IReadOnlyList<AttentionScheme> schemes)
        => new ListedKeysEmitter(w, kernel, kernel.Op, schemes).Backward(kernel, schemes);

    public static void Weights(CodeWriter w, AttentionWeightsKernel kernel, IReadOnlyList<AttentionScheme> schemes)
        => new ListedKeysEmitter(w, kernel, kernel.Op, schemes).Weights(kernel, schemes);

    private void Forward(AttentionKernel kernel, IReadOnlyList<AttentionScheme> schemes)
    {
        KeyRange range = _op.Range;
        string count = Text.RowCount(kernel.Queries);
        AttentionText.Scratch(_w, schemes, AttentionPlan.Scores);
        DeclareLists(schemes);
        ScoreBiasText bias = AttentionText.BiasOf(_op, kernel);
        bias.Declare(_w);
        Text.Range(_w, kernel.IsSerial(), Text.RowCount(kernel.Batch * kernel.Queries * RowExtent.Literal(_op.Heads)), 1);
        _w.Line("int last = -1, n = 0, query = 0;");
        _w.Open("for (int task = start; task < end; task++)");
        _w.Line($"int row = task / {_op.Heads}, head = task % {_op.Heads}, sequence = row / {count};");
        _w.Open("if (row != last)");
        _w.Line("last = row;");
        string offset = range.HasPositions ? "positions[sequence] + " : range.IsCached ? "position + " : "";
        _w.Line($"query = {offset}row - (sequence * {count});");
        List(kernel.Keys, $"row - (sequence * {count})");
        _w.Close();
        _w.Line();
        string cache = range.HasSequences ? $"{AttentionText.CacheAt(kernel)}" : kernel.Batch == RowExtent.Literal(1) ? "0" : $"(long)sequence * {Text.RowCount(kernel.Keys)} * ";
        string Keys(string name, int operand) => range.HasSequences ? $"{name} + {cache} + {KeyHead()}" : cache == "0" ? $"{name} + {KeyHead()}" : $"{name} + {cache}{Stride(operand)} + {KeyHead()}";
        _w.Line($"float* keys = {Keys("k", 1)}, values = {Keys("v", 2)};");
        _w.Line($"float* given = q + (long)row * {Stride(0)} + head * {_d}, result = output + (long)row * {Stride(3)} + head * {_d};");
        Clear("result");
        _w.Open("if (n == 0)");
        if (kernel.HasLogSumExp)
        {
            _w.Line($"logsumexp[(long)row * {Stride(4)} + head] = 0;");
        }

        _w.Line("continue;");
        _w.Close();
        _w.Line();
        Products("given", "keys", 1, "scores");
        bias.AddListed(_w, "scores", "query");
        Cap();
        _w.Line($"float sum = AttentionRows.Exponentials(scores, n, n, {CodeWriter.Literal(_op.Scale)}, out {(kernel.HasLogSumExp ? "float maximum" : "float _")}), factor = 1 / sum;");
        if (kernel.HasLogSumExp)
        {
            _w.Line($"logsumexp[(long)row * {Stride(4)} + head] = maximum + VectorMath.Log(sum);");
        }

        Sums("scores", " * factor", "values", 2, "result");
        _w.Close();
    }

    private void Backward(AttentionGradientKernel kernel, IReadOnlyList<AttentionScheme> schemes)
    {
        int group = _op.Heads / _op.KeyValueHeads;
        AttentionText.Scratch(_w, schemes, AttentionPlan.Probabilities, AttentionPlan.Cotangents);
        DeclareLists(schemes);
        ScoreBiasText bias = AttentionText.BiasOf(_op, kernel);
        bias.Declare(_w);
        Text.OpenUnits(_w, kernel, CodeWriter.Number(kernel.Batch * _op.KeyValueHeads), "task");
        _w.Line($"int sequence = task / {_op.KeyValueHeads}, keyHead = task % {_op.KeyValueHeads}, n = 0;");
        string Keys(int operand) => $" + (long)sequence * {kernel.Keys} * {Stride(operand)} + keyHead * {_d}";
        _w.Line($"float* keys = k{Keys(1)}, values = v{Keys(2)}, keyCotangents = dk{Keys(7)}, valueCotangents = dv{Keys(8)};");
        _w.Open($"for (int j = 0; j < {kernel.Keys}; j++)");
        Clear($"keyCotangents + (long)j * {Stride(7)}");
        Clear($"valueCotangents + (long)j * {Stride(8)}");
        _w.Close();
        _w.Line();
        if (bias.IsLearned)
        {
            _w.Open($"for (int bucket = 0; bucket < {_op.Bias!.TableRows}; bucket++)");
            _w.Line($"new global::System.Span<float>({bias.TableCotangent} + (bucket * {_kernel.Operands[_kernel.Operands.Count - 1].Access.RowStride}) + (keyHead * {group}), {group}).Clear();");
            _w.Close();
            _w.Line();
        }

        _w.Open($"for (int query = 0; query < {kernel.Queries}; query++)");
        List(RowExtent.Literal(kernel.Keys), "query");
        _w.Line($"long row = ((long)sequence * {kernel.Queries}) + query;");
        _w.Open($"for (int head = keyHead * {group}; head < (keyHead + 1) * {group}; head++)");
        _w.Line($"float* given = q + row * {Stride(0)} + head * {_d}, cotangent = d_output + row * {Stride(5)} + head * {_d}, target = dq + row * {Stride(6)} + head * {_d};");
        Clear("target");
        _w.Open("if (n == 0)");
        _w.Line("continue;");
        _w.Close();
        _w.Line();
        _w.Line($"V total = V.Zero;");
        _w.Line($"float* of = output + row * {Stride(3)} + head * {_d};");
        Parts((at, tail) => _w.Line($"total = V.MultiplyAdd({Read("of + " + at, tail)}, {Read("cotangent + " + at, tail)}, total);"));
        Products("given", "keys", 1, "probabilities");
        bias.AddListed(_w, "probabilities", "query");
        Products("cotangent", "values", 2, "cotangents");
        _w.Line($"{AttentionText.Backwards(_op)}(probabilities, cotangents, n, n, logsumexp[row * {Stride(4)} + head], V.Sum(total), {AttentionText.Factors(_op)});");
        if (bias.IsLearned)
        {
            bias.SumListed(_w, "cotangents", "query");
        }

        Sums("cotangents", "", "keys", 1, "target");
        _w.Open("for (int j = 0; j < n; j++)");
        _w.Line($"float* key = keyCotangents + (long)listed[j] * {Stride(7)}, value = valueCotangents + (long)listed[j] * {Stride(8)};");
        _w.Line("V s = V.Create(cotangents[j]), p = V.Create(probabilities[j]);");
        Parts((at, tail) =>
        {
            Store($"V.MultiplyAdd(s, {Read("given + " + at, tail)}, {Read("key + " + at, tail)})", "key + " + at, tail);
            Store($"V.MultiplyAdd(p, {Read("cotangent + " + at, tail)}, {Read("value + " + at, tail)})", "value + " + at, tail);
        });
        _w.Close();
        _w.Close();
        _w.Close();
        _w.Close();
    }

    // Zeros, and the probabilities of the listed keys where they stand.
    private void Weights(AttentionWeightsKernel kernel, IReadOnlyList<AttentionScheme> schemes)
    {
        string count = Text.RowCount(kernel.Queries);
        AttentionText.Scratch(_w, schemes, AttentionPlan.Scores);
        DeclareLists(schemes);
        ScoreBiasText bias = AttentionText.BiasOf(_op, kernel);
        bias.Declare(_w);
        Text.OpenUnits(_w, kernel, Text.RowCount(kernel.Batch * RowExtent.Literal(_op.Heads)), "task");
        _w.Line($"int sequence = task / {_op.Heads}, head = task % {_op.Heads}, n = 0;");
        _w.Line($"float* keys = k + (long)sequence * {Text.RowCount(kernel.Keys)} * {Stride(1)} + {KeyHead()};");
        _w.Open($"for (int i = 0; i < {count}; i++)");
        _w.Line($"int query = {(_op.Range.IsCached ? "position + " : "")}i;");
        List(kernel.Keys, "i");
        _w.Line($"long row = ((long)sequence * {count}) + i;");
        _w.Line($"float* given = q + row * {Stride(0)} + head * {_d}, target = weights + (((long)task * {count}) + i) * {Stride(3)};");
        _w.Line($"new global::System.Span<float>(target, {kernel.Columns}).Clear();");
        Products("given", "keys", 1, "scores");
        bias.AddListed(_w, "scores", "query");
        Cap();
        _w.Line($"AttentionTiles.Probabilities<V>(scores, n, {CodeWriter.Literal(_op.Scale)}, logsumexp[row * {Stride(2)} + head], scores, n{AttentionText.Sinks(_op)});");
        _w.Open("for (int j = 0; j < n; j++)");
        _w.Line("target[listed[j]] = scores[j];");
        _w.Close();
        _w.Close();
        _w.Close();
    }

    private void Cap()
    {
        if (_op.SoftCap > 0)
        {
            _w.Line(AttentionText.Capped(_op, "scores", "n"));
        }
    }

    private void DeclareLists(IReadOnlyList<AttentionScheme> schemes)
    {
        string At(string part) => AttentionText.Constant(_w, schemes, part + "At", s => s.Scratch.OffsetOf(part));
        _w.Line($"int* listed = (int*)((float*)worker.Scratch + {At(AttentionPlan.Listed)});");
        if (_op.Range.IsRing)
        {
            _w.Line($"int* rows = (int*)((float*)worker.Scratch + {At(AttentionPlan.Rows)});");
        }
    }

    // The keys that a query sees, in their order, and the rows of the cache where those of a ring lie.
    private void List(RowExtent rows, string number)
    {
        KeyRange range = _op.Range;
        string keyRows = Text.RowCount(rows);

        // Without a causal limit, lists end with the keys that exist: a caller's lengths are checked against the most keys, and a run may have fewer.
        string existing = !range.HasKeyLengths ? keyRows : rows.IsDynamic ? $"Math.Min(keyLengths[sequence], {keyRows})" : "keyLengths[sequence]";
        string end = range.IsCausal ? "" : $", {existing}";
        string list = range.Pattern switch
        {
            GlobalKeys pattern => $"KeyLists.Window(listed, query, {range.Window}, {pattern.Count}{end})",
            StridedKeys pattern => $"KeyLists.Strided(listed, query, {pattern.Stride}{end})",
            FixedKeys pattern => $"KeyLists.Fixed(listed, query, {pattern.Stride}, {pattern.Summary}{end})",
            _ => throw new InvalidOperationException($"{range.Pattern} has no list"),
        };
        string[] conditions = [.. range.HasQueryLengths ? [$"{number} < queryLengths[sequence]"] : Array.Empty<string>(), .. range is { HasPositions: true, IsRing: false } ? [$"query < {keyRows}"] : Array.Empty<string>()];
        _w.Line(conditions.Length > 0 ? $"n = {string.Join(" && ", conditions)} ? {list} : 0;" : $"n = {list};");
        if (range is { HasKeyLengths: true, IsCausal: true })
        {
            _w.Open("while (n > 0 && listed[n - 1] >= keyLengths[sequence])");
            _w.Line("n--;");
            _w.Close();
        }

        if (range.IsRing)
        {
            _w.Open("for (int j = 0; j < n; j++)");
            _w.Line($"rows[j] = {GatherEmitter.RingRow("listed[j]", rows.Maximum, range.Kept)};");
            _w.Close();
        }
    }

    private string KeyHead() => _op.Heads == _op.KeyValueHeads ? $"head * {_d}" : $"head / {_op.Heads / _op.KeyValueHeads} * {_d}";

    // Inner products of a row and those of the listed keys.
    private void Products(string row, string of, int operand, string target)
    {
        _w.Open("for (int j = 0; j < n; j += 4)");
        Rows(of, operand);
        _w.Line("V d0 = V.Zero, d1 = V.Zero, d2 = V.Zero, d3 = V.Zero;");
        Parts((at, tail) =>
        {
            _w.Line($"V x = {Read($"{row} + {at}", tail)};");
            for (int i = 0; i < 4; i++)
            {
                _w.Line($"d{i} = V.MultiplyAdd(x, {Read($"row{i} + {at}", tail)}, d{i});");
            }
        });
        _w.Line($"V.StoreSums(d0, d1, d2, d3, {target} + j);");
        _w.Close();
        _w.Line();
    }

    // Adds the rows of the listed keys, each times its weight, to one row.
    private void Sums(string weights, string factor, string of, int operand, string target)
    {
        _w.Open("for (int j = 0; j < n; j += 4)");
        Rows(of, operand);
        _w.Line($"V p0 = V.Create({weights}[j]{factor}), {string.Join(", ", Enumerable.Range(1, 3).Select(i => $"p{i} = j + {i} < n ? V.Create({weights}[j + {i}]{factor}) : V.Zero"))};");
        Parts((at, tail) =>
        {
            string Value(int i) => Read($"row{i} + {at}", tail);
            _w.Line($"V y = V.MultiplyAdd(p1, {Value(1)}, p0 * {Value(0)}), z = V.MultiplyAdd(p3, {Value(3)}, p2 * {Value(2)});");
            Store($"{Read($"{target} + {at}", tail)} + (y + z)", $"{target} + {at}", tail);
        });
        _w.Close();
        _w.Line();
    }

    // Pointers to the rows of four keys; where there are fewer, the last stands for those that are missing.
    private void Rows(string of, int operand)
    {
        string list = _op.Range.IsRing ? "rows" : "listed";
        _w.Line($"float* row0 = {of} + (long){list}[j] * {Stride(operand)}, {string.Join(", ", Enumerable.Range(1, 3).Select(i => $"row{i} = {of} + (long){list}[Math.Min(j + {i}, n - 1)] * {Stride(operand)}"))};");
    }

    private void Parts(Action<string, string?> body)
    {
        if (_hasTail)
        {
            _w.Open($"for (int c = 0; c < {_d}; c += V.Lanes)");
            _w.Open($"if (c <= {_d} - V.Lanes)");
            body("c", null);
            _w.Close();
            _w.Open("else");
            body("c", $"{_d} - c");
            _w.Close();
            _w.Close();
        }
        else
        {
            _w.Open($"for (int c = 0; c < {_d}; c += V.Lanes)");
            body("c", null);
            _w.Close();
        }

        _w.Line();
    }

    private void Clear(string row) => _w.Line($"new global::System.Span<float>({row}, {_d}).Clear();");

    private void Store(string value, string pointer, string? tail) => _w.Line(tail is null ? V.Store(value, pointer) : V.StoreTail(value, pointer, tail));

    private static string Read(string pointer, string? tail) => tail is null ? V.Load(pointer) : V.LoadTail(pointer, tail);

    private int Stride(int operand) => _kernel.Operands[operand].Access.RowStride;
}
