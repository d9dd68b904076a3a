using System;
using System.Collections.Generic;
using System.Linq;
using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Kernels;
using ModelGen.Compiler.Targets.Cpu;

namespace ModelGen.Compiler.Emit.CSharp;

/// <summary>
/// Attention of a single query, which reads each key and each value once, in the order of memory: positions outside, heads inside, four positions at a
/// time, so that their sums are taken together.
/// </summary>
internal abstract class SingleQueryEmitter
{
    private const int Block = AttentionPlan.RowsTogether;

    private readonly AttentionKernel _kernel;
    private readonly IReadOnlyList<AttentionScheme> _schemes;
    private readonly int _headsTogether;
    private readonly KeyRangeText _range;

    /// <param name="w">Where the text goes.</param>
    /// <param name="kernel">The kernel.</param>
    /// <param name="schemes">Its schemes.</param>
    /// <param name="scores">The elements from one head's scores to the next one's.</param>
    /// <param name="headsTogether">The heads that a vector holds.</param>
    protected SingleQueryEmitter(CodeWriter w, AttentionKernel kernel, IReadOnlyList<AttentionScheme> schemes, string scores, int headsTogether)
    {
        (W, _kernel, _schemes, Scores, _headsTogether) = (w, kernel, schemes, scores, headsTogether);
        _range = AttentionText.RangeOf(kernel);
        Several = AttentionText.HasSequences(kernel);
        (First, Last) = Several ? ("firstHead", "lastHead") : ("start", "end");
        (Query, Result) = Several ? ("query", "result") : ("q", "output");
        HeadDim = kernel.Op.HeadDim;
        HeadsOfKey = kernel.Op.Heads / kernel.Op.KeyValueHeads;
    }

    protected CodeWriter W { get; }

    /// <summary>The elements from one head's scores to the next one's.</summary>
    protected string Scores { get; }

    /// <summary>Whether the kernel goes from sequence to sequence.</summary>
    protected bool Several { get; }

    /// <summary>The first of this worker's heads.</summary>
    protected string First { get; }

    /// <summary>The end of this worker's heads.</summary>
    protected string Last { get; }

    /// <summary>The query's row.</summary>
    protected string Query { get; }

    /// <summary>The result's row.</summary>
    protected string Result { get; }

    protected int HeadDim { get; }

    /// <summary>How many heads read the same keys and values.</summary>
    protected int HeadsOfKey { get; }

    /// <summary>How scores go from some heads at one position to those at the next.</summary>
    protected abstract string ScoresTogether { get; }

    /// <summary>The scores of some rows of keys, in one or some heads.</summary>
    protected abstract void Score(int rows);

    /// <summary>Adds some rows of values to the result, in one or some heads.</summary>
    protected abstract void Add(int rows);

    /// <summary>Divides the result by the sum of the exponentials, in one or some heads.</summary>
    protected abstract void Divide();

    protected void Emit()
    {
        W.Line($"float* scores = (float*)worker.Scratch, factors = stackalloc float[{_kernel.Op.Heads}];");
        if (AttentionText.BiasOf(_kernel.Op, _kernel) is { Exists: true } bias)
        {
            AttentionText.Scratch(W, _schemes, AttentionPlan.Biases);
            bias.Declare(W);
        }

        if (!_kernel.Range.VariesBySequence)
        {
            _range.DeclareSingle(W);
        }

        Text.Range(W, _kernel.IsSerial(), Text.RowCount(_kernel.Batch * RowExtent.Literal(_kernel.Op.Heads)), _headsTogether);
        if (Several)
        {
            OpenSequences();
        }

        if (CacheText.IsRounded(_kernel.Operands[1]))
        {
            AttentionText.Scratch(W, _schemes, AttentionPlan.Widened);
            W.Line($"int firstColumn = {First} / {HeadsOfKey} * {HeadDim}, heldColumns = (({Last} - 1) / {HeadsOfKey} + 1) * {HeadDim} - firstColumn;");
        }

        W.Line("int j = 0;");
        Positions("key", "k", 1, Score);
        W.Line();
        Probabilities();
        W.Line("j = 0;");
        Positions("value", "v", 2, Add);
        W.Line();
        OpenHeads();
        W.Line($"float* row = {Result} + head * {HeadDim};");
        Divide();
        W.Close();
        if (Several)
        {
            W.Close();
        }
    }

    private void OpenHeads() => W.Open($"for (int head = {First}; head < {Last}; {(_headsTogether == 1 ? "head++" : $"head += {_headsTogether}")})");

    // The heads of each sequence that are this worker's.
    private void OpenSequences()
    {
        W.Open("for (int task = start; task < end;)");
        W.Line($"int sequence = task / {_kernel.Op.Heads}, firstHead = task % {_kernel.Op.Heads}, lastHead = Math.Min({_kernel.Op.Heads}, firstHead + end - task);");
        W.Line("task += lastHead - firstHead;");
        W.Line($"float* query = q + (long)sequence * {AttentionText.Stride(_kernel, 0)}, result = output + (long)sequence * {AttentionText.Stride(_kernel, 3)};");
        if (_kernel.Range.VariesBySequence)
        {
            _range.DeclareSingle(W);
        }

        if (_range.SingleMayBeEmpty)
        {
            W.Open("if (keys <= 0)");
            AttentionText.Clear(W, $"result + firstHead * {HeadDim}", $"(lastHead - firstHead) * {HeadDim}");
            if (_kernel.HasLogSumExp)
            {
                AttentionText.Clear(W, $"logsumexp + (long)sequence * {AttentionText.Stride(_kernel, 4)} + firstHead", "lastHead - firstHead");
            }

            W.Line("continue;");
            W.Close();
            W.Line();
        }
    }

    // All positions, some at a time and those that are left, each for all heads.
    private void Positions(string name, string operand, int index, Action<int> body)
    {
        foreach (int rows in new[] { Block, 1 })
        {
            W.Open(rows == 1 ? "for (; j < keys; j++)" : $"for (; j <= keys - {rows}; j += {rows})");
            Rows(rows, name, operand, index);
            W.Line($"float* score = scores + ({First} * {Scores}) + j;");
            OpenHeads();
            W.Line($"long at = head * {HeadDim}{(HeadsOfKey > 1 ? $", keyAt = head / {HeadsOfKey} * {HeadDim}" : "")};");
            body(rows);
            W.Line($"score += {ScoresTogether};");
            W.Close();
            W.Close();
            if (rows > 1)
            {
                W.Line();
            }
        }
    }

    // A pointer to the row of each of some positions.
    private void Rows(int rows, string name, string operand, int index)
    {
        KernelOperand cache = _kernel.Operands[index];
        if (CacheText.IsRounded(cache))
        {
            // What of the rows this worker's heads read is widened, at its own columns.
            string width = CodeWriter.Number(cache.Access.RowStride);
            foreach (int i in _range.RowsFollow ? [0] : Enumerable.Range(0, rows))
            {
                W.Line(CacheText.Load(cache, AttentionText.RowOf(_kernel, index, operand, _range.Row(i == 0 ? "j" : $"j + {i}"), Several), _range.RowsFollow ? CodeWriter.Number(rows) : "1", "firstColumn", "heldColumns",
                    $"{AttentionPlan.Widened} + {(i == 0 ? "" : $"{i} * {width} + ")}firstColumn", width));
            }

            W.Line($"float* {string.Join(", ", Enumerable.Range(0, rows).Select(i => $"{name}{i} = {(i == 0 ? AttentionPlan.Widened : $"{AttentionPlan.Widened} + {i} * {width}")}"))};");
            return;
        }

        int stride = AttentionText.Stride(_kernel, index);
        string At(string key)
        {
            string row = _range.Row(key);
            return _kernel.Range.HasSequences ? $"{operand} + {AttentionText.CacheAt(_kernel)} + (long){(row == key && row == "j" ? row : $"({row})")} * {stride}"
                : Several ? $"{operand} + ((long)sequence * {Text.RowCount(_kernel.Keys)} + {row}) * {stride}" : $"{operand} + (long){(row == key ? row : $"({row})")} * {stride}";
        }

        IEnumerable<string> others = Enumerable.Range(1, rows - 1).Select(i => _range.RowsFollow ? $"{name}{i - 1} + {stride}" : At($"j + {i}"));
        W.Line($"float* {name}0 = {At("j")}{string.Join("", others.Select((other, i) => $", {name}{i + 1} = {other}"))};");
    }

    // Exponentials of each head's scores, and their sums.
    private void Probabilities()
    {
        W.Open($"for (int head = {First}; head < {Last}; head++)");
        if (AttentionText.BiasOf(_kernel.Op, _kernel) is { Exists: true } bias)
        {
            bias.Fill(W, _range.FirstOfSingle, "keys");
            W.Line($"AttentionRows.Add(scores + (head * {Scores}), {AttentionPlan.Biases}, keys);");
        }

        if (_kernel.Op.SoftCap > 0)
        {
            W.Line(AttentionText.Capped(_kernel.Op, $"scores + (head * {Scores})", "keys"));
        }

        W.Line($"float sum = AttentionRows.Exponentials(scores + (head * {Scores}), keys, keys, {CodeWriter.Literal(_kernel.Op.Scale)}, out {(_kernel.HasLogSumExp ? "float maximum" : "float _")});");
        W.Line("factors[head] = 1 / sum;");
        if (_kernel.HasLogSumExp)
        {
            W.Line($"logsumexp[{(Several ? $"(long)sequence * {AttentionText.Stride(_kernel, 4)} + " : "")}head] = maximum + VectorMath.Log(sum);");
        }

        W.Close();
        W.Line();
        AttentionText.Clear(W, $"{Result} + {First} * {HeadDim}", $"({Last} - {First}) * {HeadDim}");
    }
}

/// <summary>A single query whose heads are vectors of their own, and what is left of one.</summary>
internal sealed class SeparateHeadsEmitter : SingleQueryEmitter
{
    private readonly bool _loops;
    private readonly bool _hasTail;
    private readonly string? _narrow;
    private readonly string _keyAt;

    private SeparateHeadsEmitter(CodeWriter w, AttentionKernel kernel, IReadOnlyList<AttentionScheme> schemes, int[] lanes)
        : base(w, kernel, schemes, AttentionText.Constant(w, schemes, "scoreStride", s => s.ScoreStride), 1)
    {
        _loops = lanes.Any(n => HeadDim >= 2 * n);
        _hasTail = lanes.Any(n => HeadDim % n != 0);
        _narrow = lanes.Any(n => HeadDim < n) ? CodeWriter.Number(HeadDim) : null;
        _keyAt = HeadsOfKey == 1 ? "at" : "keyAt";
    }

    protected override string ScoresTogether => Scores;

    /// <param name="w">Where the text goes.</param>
    /// <param name="kernel">The kernel.</param>
    /// <param name="schemes">Its schemes.</param>
    /// <param name="lanes">Of each width that the text is for, the lanes of the vectors that heads are read in.</param>
    public static void Emit(CodeWriter w, AttentionKernel kernel, IReadOnlyList<AttentionScheme> schemes, int[] lanes)
        => new SeparateHeadsEmitter(w, kernel, schemes, lanes).Emit();

    protected override void Score(int rows)
    {
        IEnumerable<int> all = Enumerable.Range(0, rows);
        W.Line($"V x = {Read($"{Query} + at", _narrow)}, {string.Join(", ", all.Select(i => $"d{i} = x * {Read($"key{i} + {_keyAt}", _narrow)}"))};");
        Parts("V.Lanes", (at, tail) =>
        {
            W.Line($"x = {Read($"{Query} + at + {at}", tail)};");
            foreach (int i in all)
            {
                W.Line($"d{i} = V.MultiplyAdd(x, {Read($"key{i} + {_keyAt} + {at}", tail)}, d{i});");
            }
        });
        W.Line(rows == 1 ? "*score = V.Sum(d0);" : $"V.StoreSums({string.Join(", ", all.Select(i => $"d{i}"))}, score);");
    }

    protected override void Add(int rows)
    {
        W.Line($"V {string.Join(", ", Enumerable.Range(0, rows).Select(i => $"p{i} = V.Create(score[{i}])"))};");
        Parts("0", (at, tail) =>
        {
            string Value(int i) => Read($"value{i} + {_keyAt} + {at}", tail);
            string sum = $"p0 * {Value(0)}";
            if (rows > 1)
            {
                // Two chains, so that what the last four positions left is added last.
                W.Line($"V y = V.MultiplyAdd(p1, {Value(1)}, {sum}), z = V.MultiplyAdd(p3, {Value(3)}, p2 * {Value(2)});");
                sum = "(y + z)";
            }

            Text.VectorStore(W, Spelling.Generic, sum, $"{Result} + at + {at}", tail, StoreMode.Add);
        });
    }

    protected override void Divide()
    {
        W.Line("V factor = V.Create(factors[head]);");
        Parts("0", (at, tail) => Text.VectorStore(W, Spelling.Generic, $"{Read($"row + {at}", tail)} * factor", $"row + {at}", tail, StoreMode.Replace));
    }

    // The vectors of a head from one on, and what is left.
    private void Parts(string from, Action<string, string?> body)
    {
        string at = "c";
        if (_loops || from == "0" || _hasTail)
        {
            if (_hasTail)
            {
                W.Line($"int c = {from};");
            }

            W.Open(_hasTail ? $"for (; c <= {HeadDim} - V.Lanes; c += V.Lanes)" : $"for (int c = {from}; c < {HeadDim}; c += V.Lanes)");
            body(at, null);
            W.Close();
        }

        W.Line();
        if (_hasTail)
        {
            W.Open($"if (c < {HeadDim})");
            body(at, $"{HeadDim} - c");
            W.Close();
            W.Line();
        }
    }

    private static string Read(string pointer, string? tail) => tail is null ? Spelling.Generic.Load(pointer) : Spelling.Generic.LoadTail(pointer, tail);
}

/// <summary>A single query whose heads are narrower than a vector and share one, where they fill it.</summary>
internal sealed class SharedHeadsEmitter : SingleQueryEmitter
{
    private readonly Spelling _v;
    private readonly int _scores;
    private readonly int _together;

    private SharedHeadsEmitter(CodeWriter w, AttentionKernel kernel, AttentionScheme scheme, Spelling v)
        : base(w, kernel, [scheme], CodeWriter.Number(scheme.ScoreStride), v.Lanes / kernel.Op.HeadDim)
        => (_v, _scores, _together) = (v, scheme.ScoreStride, v.Lanes / kernel.Op.HeadDim);

    protected override string ScoresTogether => CodeWriter.Number(_together * _scores);

    public static void Emit(CodeWriter w, AttentionKernel kernel, AttentionScheme scheme, Spelling v) => new SharedHeadsEmitter(w, kernel, scheme, v).Emit();

    protected override void Score(int rows)
    {
        W.Line($"{_v.Type} x0 = {_v.Load($"{Query} + at")};");
        for (int i = 0; i < rows; i++)
        {
            W.Line($"{_v.Type} d{i} = x0 * {_v.Load($"key{i} + at")};");
        }

        string products = string.Join(", ", Enumerable.Range(0, rows).Select(i => $"d{i}"));
        if (rows > 1)
        {
            W.Line($"{_v.Type} sums = Simd.PartialSums({products});");
        }

        for (int h = 0; h < _together; h++)
        {
            string to = Text.Plus("score", h * _scores);
            W.Line(rows == 1 ? $"{(h == 0 ? "*score" : $"score[{h * _scores}]")} = Simd.Sum({Text.Lanes("d0", _v.Bits, h * HeadDim, HeadDim)});"
                : HeadDim == 4 ? $"Vector128.Store({Text.Lanes("sums", _v.Bits, h * HeadDim, HeadDim)}, {to});"
                : $"Vector128.Store({Text.Lanes("sums", _v.Bits, h * HeadDim, 4)} + {Text.Lanes("sums", _v.Bits, (h * HeadDim) + 4, 4)}, {to});");
        }
    }

    protected override void Add(int rows)
    {
        for (int i = 0; i < rows; i++)
        {
            W.Line($"{_v.Type} p{i} = {Spread(_v.Bits, _together, h => $"score[{(h * _scores) + i}]")};");
        }

        string Value(int i) => _v.Load($"value{i} + at");
        string sum = $"p0 * {Value(0)}";
        if (rows > 1)
        {
            // Two chains, so that what the last four positions left is added last.
            W.Line($"{_v.Type} y0 = {_v.MultiplyAdd("p1", Value(1), sum)};");
            W.Line($"{_v.Type} z0 = {_v.MultiplyAdd("p3", Value(3), $"p2 * {Value(2)}")};");
            sum = "(y0 + z0)";
        }

        Text.VectorStore(W, _v, sum, $"{Result} + at", null, StoreMode.Add);
    }

    protected override void Divide()
    {
        W.Line($"{_v.Type} factor = {Spread(_v.Bits, _together, h => h == 0 ? "factors[head]" : $"factors[head + {h}]")};");
        Text.VectorStore(W, _v, $"{_v.Load("row")} * factor", "row", null, StoreMode.Replace);
    }

    // A vector whose equal parts hold a scalar each.
    private static string Spread(int bits, int parts, Func<int, string> scalar) => parts == 1 ? $"Vector{bits}.Create({scalar(0)})"
        : $"Simd.Join({Spread(bits / 2, parts / 2, scalar)}, {Spread(bits / 2, parts / 2, i => scalar((parts / 2) + i))})";
}
