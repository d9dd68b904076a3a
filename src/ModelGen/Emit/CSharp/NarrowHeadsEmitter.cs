using System;
using System.Collections.Generic;
using System.Linq;
using ModelGen.Compiler.Kernels;
using ModelGen.Compiler.Targets.Cpu;

namespace ModelGen.Compiler.Emit.CSharp;

/// <summary>
/// Attention of a single query whose heads are so narrow and few that one vector holds a score of every head, of one position or of
/// several neighbours: a block. Maxima and sums of all heads are then taken together, a block after the other, and reduced once at the
/// end; keys are read once, and values once.
/// </summary>
/// <remarks>
/// The query is held in vectors as wide as those of the keys: one for each vector of a key's row and each of the query heads that share a
/// key head. A block has as many products of such a vector and a vector of keys as a head has channels.
/// </remarks>
internal sealed class NarrowHeadsEmitter
{
    private readonly CodeWriter _w;
    private readonly AttentionKernel _kernel;
    private readonly Spelling _v;
    private readonly KeyRangeText _range;

    /// <summary>Channels of a head, and a vector of only so many.</summary>
    private readonly int _d;
    private readonly Spelling _narrow;

    private readonly int _heads;

    /// <summary>Query heads that share a key head.</summary>
    private readonly int _group;

    /// <summary>Key heads of one vector.</summary>
    private readonly int _together;

    /// <summary>Vectors of the query.</summary>
    private readonly int _vectors;

    /// <summary>Positions of one block.</summary>
    private readonly int _positions;

    private NarrowHeadsEmitter(CodeWriter w, AttentionKernel kernel, Spelling v)
    {
        _w = w;
        _kernel = kernel;
        _v = v;
        _range = new KeyRangeText(kernel.Range, "1", isLiteral: true, kernel.Keys);
        _d = kernel.Op.HeadDim;
        _narrow = v.FilledBy(_d);
        _heads = kernel.Op.Heads;
        _group = _heads / kernel.Op.KeyValueHeads;
        _together = v.Lanes / _d;
        _vectors = _heads / _together;
        _positions = v.Lanes / _heads;
    }

    public static void Emit(CodeWriter w, AttentionKernel kernel, Spelling v) => new NarrowHeadsEmitter(w, kernel, v).Emit();

    private void Emit()
    {
        bool several = AttentionText.HasSequences(_kernel);
        _w.Line("float* scores = (float*)worker.Scratch;");
        if (_kernel.HasLogSumExp)
        {
            _w.Line($"float* logSums = stackalloc float[{_v.Lanes}];");
        }

        if (!_kernel.Range.VariesBySequence)
        {
            _range.DeclareSingle(_w);
        }

        Text.Range(_w, _kernel.IsSerial(), Text.RowCount(_kernel.Batch), 1);
        _w.Open("for (int sequence = start; sequence < end; sequence++)");
        string query = "q", keyRows = "k", valueRows = "v", result = "output";
        if (several)
        {
            _w.Line($"float* query = q + (long)sequence * {Stride(0)};");
            string Rows(int operand) => _kernel.Range.HasSequences ? AttentionText.CacheAt(_kernel) : _kernel.Keys.IsDynamic ? $"(long)sequence * {Text.RowCount(_kernel.Keys)} * {Stride(operand)}" : $"(long)sequence * {(long)_kernel.MaximumKeys * Stride(operand)}";
            _w.Line($"float* keyRows = k + {Rows(1)};");
            _w.Line($"float* valueRows = v + {Rows(2)};");
            _w.Line($"float* result = output + (long)sequence * {Stride(3)};");
            (query, keyRows, valueRows, result) = ("query", "keyRows", "valueRows", "result");
        }

        if (_kernel.Range.VariesBySequence)
        {
            _range.DeclareSingle(_w);
        }

        if (_range.SingleMayBeEmpty)
        {
            _w.Open("if (keys <= 0)");
            _w.Line($"new global::System.Span<float>(result, {_heads * _d}).Clear();");
            if (_kernel.HasLogSumExp)
            {
                _w.Line($"new global::System.Span<float>(logsumexp + (long)sequence * {Stride(4)}, {_heads}).Clear();");
            }

            _w.Line("continue;");
            _w.Close();
            _w.Line();
        }

        for (int u = 0; u < _vectors; u++)
        {
            _w.Line($"{_v.Type} x{u} = {Gathered(query, u, 0, _together)};");
        }

        Scores(keyRows);
        _w.Line($"{_v.Type} shift = maximum * {_v.Broadcast(CodeWriter.Literal(_kernel.Op.Scale))};");
        Values(valueRows);
        if (_kernel.HasLogSumExp)
        {
            _w.Line(_v.Store("shift + VectorMath.Log(sum)", "logSums"));
            for (int u = 0; u < _vectors; u++)
            {
                for (int h = 0; h < _together; h++)
                {
                    _w.Line($"logsumexp[{(several ? $"(long)sequence * {Stride(4)} + " : "")}{Head(u, h)}] = logSums[{Lane(0, u, h)}];");
                }
            }
        }

        _w.Line($"{_v.Type} factor = {_v.Broadcast("1f")} / sum;");
        for (int u = 0; u < _vectors; u++)
        {
            _w.Line($"y{u} *= {Spread("factor", 0, u)};");
            if (_group == 1)
            {
                _w.Line(_v.Store($"y{u}", Text.Plus(result, u * _v.Lanes)));
                continue;
            }

            for (int h = 0; h < _together; h++)
            {
                _w.Line(_narrow.Store(Text.Lanes($"y{u}", _v.Bits, h * _d, _d), Text.Plus(result, Head(u, h) * _d)));
            }
        }

        _w.Close();
    }

    // The scores of every position, and the largest of each head.
    private void Scores(string keyRows)
    {
        _w.Line($"{_v.Type} maximum = {_v.Broadcast("float.NegativeInfinity")};");
        Blocks("key", keyRows, 1, ragged =>
        {
            string Key(int i, int u) => _group == 1 ? _v.Load(Text.Plus($"key{i}", u * _v.Lanes)) : $"key{i}_{u / _group}";
            if (_group > 1)
            {
                Load("key");
            }

            string[] products = [.. from i in Enumerable.Range(0, _positions) from u in Enumerable.Range(0, _vectors) select $"x{u} * {Key(i, u)}"];
            string[] parts = new string[_d / 4];
            for (int s = 0; s < parts.Length; s++)
            {
                parts[s] = parts.Length == 1 ? "score" : $"s{s}";
                _w.Line($"{_v.Type} {parts[s]} = Simd.{(_v.Lanes == 4 ? "Sums" : "PartialSums")}({string.Join(", ", products.Skip(4 * s).Take(4))});");
            }

            if (parts.Length > 1)
            {
                _w.Line($"{_v.Type} score = Simd.{(_d == _v.Lanes ? "SumsOfParts" : "SumsOfHalves")}({string.Join(", ", parts)});");
            }

            if (_kernel.Op.SoftCap > 0)
            {
                _w.Line($"score = VectorMath.Tanh(score * {_v.Broadcast(CodeWriter.Literal(1 / _kernel.Op.CapOfProducts))}) * {_v.Broadcast(CodeWriter.Literal(_kernel.Op.CapOfProducts))};");
            }

            _w.Line(_v.Store("score", $"scores + (long)j * {_heads}"));
            _w.Line($"maximum = {_v.Class}.MaxNative(maximum, {(ragged ? Valid("score", _v.Broadcast("float.NegativeInfinity")) : "score")});");
        });
        Reduce("maximum", x => $"maximum = {_v.Class}.MaxNative(maximum, {x});");
    }

    // The exponentials of the scores, their sums, and the values that they weigh.
    private void Values(string valueRows)
    {
        _w.Line($"{_v.Type} sum = {_v.Type}.Zero;");
        for (int u = 0; u < _vectors; u++)
        {
            _w.Line($"{_v.Type} y{u} = {_v.Type}.Zero;");
        }

        Blocks("value", valueRows, 2, ragged =>
        {
            _w.Line($"{_v.Type} p = VectorMath.Exp(({_v.Load($"scores + (long)j * {_heads}")} * {_v.Broadcast(CodeWriter.Literal(_kernel.Op.Scale))}) - shift);");
            if (ragged)
            {
                _w.Line($"p = {Valid("p", $"{_v.Type}.Zero")};");
            }

            _w.Line("sum += p;");
            if (_group > 1)
            {
                Load("value");
            }

            for (int i = 0; i < _positions; i++)
            {
                for (int u = 0; u < _vectors; u++)
                {
                    string value = _group == 1 ? _v.Load(Text.Plus($"value{i}", u * _v.Lanes)) : $"value{i}_{u / _group}";
                    _w.Line($"y{u} = {_v.MultiplyAdd(Spread("p", i, u), value, $"y{u}")};");
                }
            }
        });
        Reduce("sum", x => $"sum += {x};");
    }

    // Whole blocks of positions, then one whose missing positions repeat the last.
    private void Blocks(string name, string rows, int operand, Action<bool> body)
    {
        _w.Line(name == "key" ? "int j = 0;" : "j = 0;");
        _w.Open($"for (; j <= keys - {_positions}; j += {_positions})");
        Pointers(i => _range.RowsFollow ? $"{name}{i - 1} + {Stride(operand)}" : At($"j + {i}"));
        body(false);
        _w.Close();
        if (_positions == 1)
        {
            return;
        }

        _w.Line();
        _w.Open("if (j < keys)");
        Pointers(i => _range.RowsFollow ? $"{name}0 + (long)Math.Min({i}, keys - 1 - j) * {Stride(operand)}" : At($"Math.Min(j + {i}, keys - 1)"));
        body(true);
        _w.Close();

        string At(string key)
        {
            string row = _range.Row(key);
            return $"{rows} + (long){(row == key ? row : $"({row})")} * {Stride(operand)}";
        }

        void Pointers(Func<int, string> next)
        {
            _w.Line($"float* {name}0 = {At("j")};");
            for (int i = 1; i < _positions; i++)
            {
                _w.Line($"float* {name}{i} = {next(i)};");
            }
        }
    }

    // Vectors that several query heads read.
    private void Load(string name)
    {
        for (int i = 0; i < _positions; i++)
        {
            for (int c = 0; c < _vectors / _group; c++)
            {
                _w.Line($"{_v.Type} {name}{i}_{c} = {_v.Load(Text.Plus($"{name}{i}", c * _v.Lanes))};");
            }
        }
    }

    // A value in the lanes of positions that exist, another in those beyond the last.
    private string Valid(string value, string otherwise)
    {
        var positions = new int[_v.Lanes];
        ForEachLane((lane, i, _, _) => positions[lane] = i);
        return $"{_v.Class}.ConditionalSelect({_v.Class}.LessThan({_v.Class}.Create({string.Join(", ", positions.Select(i => $"{i}f"))}), {_v.Broadcast("(float)(keys - j)")}), {value}, {otherwise})";
    }

    // Makes of a vector one that holds in each lane what all lanes of its head come to.
    private void Reduce(string vector, Func<string, string> combine)
    {
        _w.Line();
        for (int step = 1; step < _positions; step *= 2)
        {
            var from = new int[_v.Lanes];
            ForEachLane((lane, i, u, h) => from[lane] = Lane(i ^ step, u, h));
            _w.Line(combine(Shuffle(vector, from)));
        }
    }

    // For each lane of a query's vector, what a block holds for its head at a position.
    private string Spread(string block, int i, int u)
        => Shuffle(block, Enumerable.Range(0, _v.Lanes).Select(lane => Lane(i, u, lane / _d)));

    private string Shuffle(string vector, IEnumerable<int> from) => $"{_v.Class}.Shuffle({vector}, {_v.Class}.Create({string.Join(", ", from)}))";

    // Heads that share no neighbours in the operand are joined to a vector.
    private string Gathered(string row, int u, int first, int count)
        => _group == 1 ? _v.Load(Text.Plus(row, u * _v.Lanes))
            : count == 1 ? _narrow.Load(Text.Plus(row, Head(u, first) * _d))
            : $"Simd.Join({Gathered(row, u, first, count / 2)}, {Gathered(row, u, first + (count / 2), count / 2)})";

    /// <summary>The query head in a part of a vector of the query.</summary>
    private int Head(int u, int h) => ((((u / _group) * _together) + h) * _group) + (u % _group);

    /// <summary>
    /// The lane of a block that belongs to the position <paramref name="i"/> and the head in part <paramref name="h"/> of the query's vector
    /// <paramref name="u"/>: where the sums of four products at a time, taken by 128 bits, put it.
    /// </summary>
    private int Lane(int i, int u, int h)
    {
        int product = (i * _vectors) + u;
        return (product / 4 * 4 * _together) + (h * 4) + (product % 4);
    }

    private void ForEachLane(Action<int, int, int, int> action)
    {
        for (int i = 0; i < _positions; i++)
        {
            for (int u = 0; u < _vectors; u++)
            {
                for (int h = 0; h < _together; h++)
                {
                    action(Lane(i, u, h), i, u, h);
                }
            }
        }
    }

    private int Stride(int operand) => _kernel.Operands[operand].Access.RowStride;
}
