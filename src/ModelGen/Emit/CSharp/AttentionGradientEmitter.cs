using System;
using System.Collections.Generic;
using System.Linq;
using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Kernels;
using ModelGen.Compiler.Targets.Cpu;

namespace ModelGen.Compiler.Emit.CSharp;

/// <summary>The gradient of attention, the heads that read one head of keys at a time: probabilities are formed again for a block of queries, and taken back to the cotangents of queries, keys and values.</summary>
internal sealed class AttentionGradientEmitter
{
    private readonly CodeWriter _w;
    private readonly AttentionGradientKernel _kernel;
    private readonly IReadOnlyList<AttentionScheme> _schemes;
    private readonly KeyRangeText _range;
    private readonly ScoreBiasText _bias;
    private readonly int _before;
    private readonly string _relatives;
    private readonly int _d;
    private readonly string? _begin;

    // Where tiles end with the head, they go to their place; otherwise, that part of them which the head has.
    private readonly bool _isWhole;

    private readonly string _rows;
    private readonly string _scores;
    private readonly string _padded;
    private readonly string _keyStride;
    private readonly string _block;

    private AttentionGradientEmitter(CodeWriter w, AttentionGradientKernel kernel, IReadOnlyList<AttentionScheme> schemes)
    {
        (_w, _kernel, _schemes) = (w, kernel, schemes);
        _range = new KeyRangeText(kernel.Range, CodeWriter.Number(kernel.Queries), isLiteral: true, RowExtent.Literal(kernel.Keys), "length");
        _bias = AttentionText.BiasOf(kernel.Op, kernel);
        (_before, int behind) = kernel.Range.Distances(kernel.Queries, kernel.Keys);
        _relatives = CodeWriter.Number(_before + 1 + behind);
        _d = kernel.Op.HeadDim;
        _begin = _range.Begin("first");
        _isWhole = schemes.All(s => _d % s.Tile.Columns == 0);
        (_rows, _scores, _padded) = AttentionText.Constants(w, schemes);
        _keyStride = schemes.All(s => s.KeyStride == s.ScoreStride) ? _scores : Constant("keyStride", s => s.KeyStride);
        _block = Constant("block", s => s.QueryBlock);
    }

    // The first key that any query of a block sees.
    private string Start => _begin is null ? "0" : "begin";

    // Rows of a block's scores, counted as keys are.
    private string ProbabilityRows => _begin is null ? "probabilities" : "ofProbabilities";

    private string CotangentRows => _begin is null ? "cotangents" : "ofCotangents";

    public static void Emit(CodeWriter w, AttentionGradientKernel kernel, IReadOnlyList<AttentionScheme> schemes) => new AttentionGradientEmitter(w, kernel, schemes).Emit();

    private void Emit()
    {
        Declare();
        Text.OpenUnits(_w, _kernel, CodeWriter.Number(_kernel.Batch * _kernel.Op.KeyValueHeads), "task");
        _w.Line($"int sequence = task / {_kernel.Op.KeyValueHeads}, keyHead = task % {_kernel.Op.KeyValueHeads};");
        if (_kernel.Range.VariesBySequence)
        {
            _range.Declare(_w);
        }

        PackKeysAndValues();
        int group = _kernel.Op.Heads / _kernel.Op.KeyValueHeads;
        _w.Open(group == 1 ? "for (int head = keyHead; head <= keyHead; head++)" : $"for (int head = keyHead * {group}; head < (keyHead + 1) * {group}; head++)");
        if (_bias.Exists)
        {
            _bias.Fill(_w, CodeWriter.Number(-_before), _relatives);
            if (_bias.IsLearned)
            {
                AttentionText.Clear(_w, AttentionPlan.BiasCotangents, _relatives);
            }
        }

        _w.Open($"for (int first = 0; first < {_range.Queries}; first += {_block})");
        PackQueries();
        _w.Open($"for (int i = 0; i < queries; i += {_rows})");
        Scores();
        ScoreCotangents();
        QueryCotangents();
        _w.Close();
        _w.Line();
        KeyAndValueCotangents();
        _w.Close();
        if (_bias.IsLearned)
        {
            _w.Line();
            _bias.Sum(_w, CodeWriter.Number(-_before), _relatives);
        }

        if (_range.HasPadding)
        {
            _w.Line();
            _w.Open($"for (int i = {_range.Queries}; i < {_kernel.Queries}; i++)");
            AttentionText.Clear(_w, $"dq + ((long)sequence * {_kernel.Queries} + i) * {Stride(6)} + head * {_d}", CodeWriter.Number(_d));
            _w.Close();
        }

        _w.Close();
        _w.Close();
    }

    private void Declare()
    {
        Scratch(AttentionPlan.KeysTransposed, AttentionPlan.ValuesTransposed, AttentionPlan.KeyRows, AttentionPlan.Probabilities, AttentionPlan.Cotangents, AttentionPlan.Queries, AttentionPlan.OutputCotangents);
        if (!_isWhole)
        {
            Scratch(AttentionPlan.Tile);
        }

        if (_bias.Exists)
        {
            Scratch(AttentionPlan.Biases);
            if (_bias.IsLearned)
            {
                Scratch(AttentionPlan.BiasCotangents);
            }

            _bias.Declare(_w);
        }

        if (!_kernel.Range.VariesBySequence)
        {
            _range.Declare(_w);
        }
    }

    // The head's keys as rows, keys and values transposed, and cotangents of both that are zero.
    private void PackKeysAndValues()
    {
        string all = _kernel.Range.VariesBySequence ? CodeWriter.Number(_kernel.Keys) : "keys";
        string Rows(int operand) => $" + (long)sequence * {all} * {Stride(operand)} + keyHead * {_d}";
        _w.Line($"float* keyCotangents = dk{Rows(7)}, valueCotangents = dv{Rows(8)};");
        AttentionText.Transpose(_w, $"k{Rows(1)}", "keysTransposed", Stride(1), _d, _keyStride);
        AttentionText.Transpose(_w, $"v{Rows(2)}", "valuesTransposed", Stride(2), _d, _keyStride);
        _w.Line($"Panels.PackRows(k{Rows(1)}, {Stride(1)}, keys, {_d}, keyRows, {_padded});");
        _w.Open($"for (int j = 0; j < {all}; j++)");
        AttentionText.Clear(_w, $"keyCotangents + (long)j * {Stride(7)}", CodeWriter.Number(_d));
        AttentionText.Clear(_w, $"valueCotangents + (long)j * {Stride(8)}", CodeWriter.Number(_d));
        _w.Close();
        _w.Line();
    }

    // A block of queries and of what flows to its results.
    private void PackQueries()
    {
        _w.Line($"int queries = Math.Min({_block}, {_range.Queries} - first), limit = {_range.Limit("first + queries")}{(_begin is null ? "" : $", begin = {_begin}")};");
        if (_begin is not null)
        {
            _w.Line("// Rows of the block's scores hold what it sees, and are counted as keys are.");
            _w.Line($"float* {ProbabilityRows} = probabilities - begin, {CotangentRows} = cotangents - begin;");
        }

        _w.Line($"long firstRow = (long)sequence * {_kernel.Queries} + first;");
        _w.Line($"Panels.PackRows(q + firstRow * {Stride(0)} + head * {_d}, {Stride(0)}, queries, {_d}, queryBlock, {_padded});");
        _w.Line($"Panels.PackRows(d_output + firstRow * {Stride(5)} + head * {_d}, {Stride(5)}, queries, {_d}, outputBlock, {_padded});");
    }

    // A tile of queries times keys, and of what flows to its results times values.
    private void Scores()
    {
        _w.Line($"int height = Math.Min({_rows}, queries - i);");
        _w.Open($"for (int n = {Start}; n < limit; n += columns)");
        _w.Line($"RegisterTile.MultiplyRows<V>(height, {AttentionText.Vectors}, queryBlock + i * {_padded}, {_padded}, keysTransposed + n, {_keyStride}, {ProbabilityRows} + i * {_scores} + n, {_scores}, {_d});");
        _w.Line($"RegisterTile.MultiplyRows<V>(height, {AttentionText.Vectors}, outputBlock + i * {_padded}, {_padded}, valuesTransposed + n, {_keyStride}, {CotangentRows} + i * {_scores} + n, {_scores}, {_d});");
        _w.Close();
        _w.Line();
    }

    // Of each row, probabilities, and what flows to the scores.
    private void ScoreCotangents()
    {
        _w.Open("for (int row = i; row < i + height; row++)");
        _w.Line($"float products = AttentionTiles.Product<V>(output + (firstRow + row) * {Stride(3)} + head * {_d}, outputBlock + row * {_padded}, {_d});");
        _w.Line($"float logSum = logsumexp[(firstRow + row) * {Stride(4)} + head];");
        string bounds = _range.IsBounded ? $"{Start}, {_range.Low("first + row")}, {_range.High("first + row")}" : _range.High("first + row");
        string ofRelative = $" + {_before} + {_range.Relative("low", "first + row")}";
        if (_bias.Exists)
        {
            _w.Line($"int low = {_range.Low("first + row")}, high = {_range.High("first + row")};");
            _w.Line($"AttentionRows.Add({ProbabilityRows} + row * {_scores} + low, {AttentionPlan.Biases}{ofRelative}, high - low);");
        }

        _w.Line($"{AttentionText.Backwards(_kernel.Op)}({ProbabilityRows} + row * {_scores}, {CotangentRows} + row * {_scores}, {bounds}, limit, logSum, products, {AttentionText.Factors(_kernel.Op)});");
        if (_bias.IsLearned)
        {
            _w.Line($"AttentionRows.Add({AttentionPlan.BiasCotangents}{ofRelative}, {CotangentRows} + row * {_scores} + low, high - low);");
        }

        _w.Close();
        _w.Line();
    }

    // What flows to the scores times keys.
    private void QueryCotangents()
    {
        string Behind(string pointer, string step = "") => _begin is null ? pointer : $"{pointer} + begin{step}";
        _w.Open($"for (int c = 0; c < {_d}; c += columns)");
        string target = $"dq + (firstRow + i) * {Stride(6)} + head * {_d} + c";
        string tile = $"RegisterTile.MultiplyRows<V>(height, {AttentionText.Vectors}, {Behind($"{CotangentRows} + i * {_scores}")}, {_scores}, {Behind("keyRows", $" * {_padded}")} + c, {_padded}";
        string depth = _begin is null ? "limit" : "limit - begin";
        if (_isWhole)
        {
            _w.Line($"{tile}, {target}, {Stride(6)}, {depth});");
        }
        else
        {
            _w.Line($"{tile}, tile, columns, {depth});");
            _w.Line($"AttentionTiles.Store<V>(tile, columns, height, Math.Min(columns, {_d} - c), {target}, {Stride(6)});");
        }

        _w.Close();
    }

    private void KeyAndValueCotangents()
    {
        _w.Line("// Contractions over the block's queries, which add to the keys' and values' cotangents.");
        _w.Open($"for (int m = {Start}; m < limit; m += {_rows})");
        _w.Line($"int height = Math.Min({_rows}, limit - m);");
        _w.Open($"for (int c = 0; c < {_d}; c += columns)");
        Contract(CotangentRows, "queryBlock", "keyCotangents", 7);
        Contract(ProbabilityRows, "outputBlock", "valueCotangents", 8);
        _w.Close();
        _w.Close();
    }

    private void Contract(string left, string right, string target, int operand)
    {
        string tile = $"RegisterTile.MultiplyStrip<V>(height, {AttentionText.Vectors}, {left} + m, {_scores}, {right} + c, {_padded}", sums = $"{target} + (long)m * {Stride(operand)} + c";
        if (_isWhole)
        {
            _w.Line($"{tile}, {sums}, {Stride(operand)}, queries, true);");
            return;
        }

        _w.Line($"{tile}, tile, columns, queries);");
        _w.Line($"AttentionTiles.Add<V>(tile, columns, height, Math.Min(columns, {_d} - c), {sums}, {Stride(operand)});");
    }

    private string Constant(string name, Func<AttentionScheme, long> value) => AttentionText.Constant(_w, _schemes, name, value);

    private void Scratch(params string[] parts) => AttentionText.Scratch(_w, _schemes, parts);

    private int Stride(int operand) => AttentionText.Stride(_kernel, operand);
}
