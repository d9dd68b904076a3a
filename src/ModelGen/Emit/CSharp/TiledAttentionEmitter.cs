using System.Collections.Generic;
using System.Linq;
using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Kernels;
using ModelGen.Compiler.Targets.Cpu;

namespace ModelGen.Compiler.Emit.CSharp;

/// <summary>
/// Attention of tiles of queries, one head of one sequence at a time: keys are transposed once into scratch memory, scores of a tile
/// are formed, turned into probabilities and multiplied with the values while they are in cache.
/// </summary>
internal sealed class TiledAttentionEmitter
{
    private readonly CodeWriter _w;
    private readonly AttentionKernel _kernel;
    private readonly IReadOnlyList<AttentionScheme> _schemes;
    private readonly KeyRangeText _range;
    private readonly ScoreBiasText _bias;
    private readonly int _before;
    private readonly int _behind;
    private readonly int _d;
    private readonly string _count;
    private readonly string _keyHead;
    private readonly string? _begin;
    private readonly string _rows;
    private readonly string _scores;
    private readonly string _padded;

    private TiledAttentionEmitter(CodeWriter w, AttentionKernel kernel, IReadOnlyList<AttentionScheme> schemes)
    {
        (_w, _kernel, _schemes) = (w, kernel, schemes);
        _range = AttentionText.RangeOf(kernel);
        _bias = AttentionText.BiasOf(kernel.Op, kernel);
        (_before, _behind) = kernel.Range.Distances(kernel.Queries.Maximum, kernel.MaximumKeys);
        _d = kernel.Op.HeadDim;
        _count = Text.RowCount(kernel.Queries);
        _keyHead = kernel.Op.Heads == kernel.Op.KeyValueHeads ? "head" : "keyHead";
        _begin = _range.Begin("i");
        (_rows, _scores, _padded) = AttentionText.Constants(w, schemes);
    }

    private bool IsRounded => CacheText.IsRounded(_kernel.Operands[1]);

    public static void Emit(CodeWriter w, AttentionKernel kernel, IReadOnlyList<AttentionScheme> schemes) => new TiledAttentionEmitter(w, kernel, schemes).Emit();

    private void Emit()
    {
        Declare();
        Text.OpenUnits(_w, _kernel, Text.RowCount(_kernel.Batch * RowExtent.Literal(_kernel.Op.Heads)), "task");
        int group = _kernel.Op.Heads / _kernel.Op.KeyValueHeads;
        _w.Line($"int sequence = task / {_kernel.Op.Heads}, head = task % {_kernel.Op.Heads}{(group == 1 ? "" : $", keyHead = head / {group}")};");
        if (_kernel.Range.VariesBySequence)
        {
            _range.Declare(_w);
        }

        _w.Line($"float* queryRows = q + (long)sequence * {_count} * {Stride(0)} + head * {_d};");
        _w.Line($"float* outputRows = output + (long)sequence * {_count} * {Stride(3)} + head * {_d};");
        PackKeysAndValues();
        if (_bias.Exists)
        {
            _bias.Fill(_w, CodeWriter.Number(-_before), CodeWriter.Number(_before + 1 + _behind));
        }

        _w.Open($"for (int i = 0; i < {_range.Queries}; i += {_rows})");
        _w.Line($"int height = Math.Min({_rows}, {_range.Queries} - i), limit = {_range.Limit("i + height")}{(_begin is null ? "" : $", begin = {_begin}")};");
        Scores();
        Probabilities();
        Outputs();
        _w.Close();
        if (_range.HasPadding)
        {
            ClearPadding();
        }

        _w.Close();
    }

    private void Declare()
    {
        Scratch(AttentionPlan.KeysTransposed, AttentionPlan.Values, AttentionPlan.Scores, AttentionPlan.Tile);
        if (IsRounded)
        {
            Scratch(AttentionPlan.Widened);
        }

        _w.Line($"float* factors = stackalloc float[{_schemes.Max(s => s.Tile.Rows)}];");
        if (_bias.Exists)
        {
            Scratch(AttentionPlan.Biases);
            _bias.Declare(_w);
        }

        if (!_kernel.Range.VariesBySequence)
        {
            _range.Declare(_w);
        }
    }

    // The head's keys, transposed, and its values, as tiles read them.
    private void PackKeysAndValues()
    {
        bool oneSequence = _kernel.Batch == RowExtent.Literal(1);
        string keyRows = _kernel.Range is { IsCached: false, VariesBySequence: false } ? "keys" : Text.RowCount(_kernel.Keys);
        string Rows(int operand) => (_kernel.Range.HasSequences ? " + " + AttentionText.CacheAt(_kernel) : _kernel.Range.IsCached && oneSequence ? "" : $" + (long)sequence * {keyRows} * {Stride(operand)}") + $" + {_keyHead} * {_d}";
        if (IsRounded)
        {
            // A tile of a head's rows is widened, and then packed as others are.
            string Widened(int operand, string name) => CacheText.Load(
                _kernel.Operands[operand], AttentionText.RowOf(_kernel, operand, name, "row", several: !oneSequence), "height", $"{_keyHead} * {_d}", CodeWriter.Number(_d), AttentionPlan.Widened, CodeWriter.Number(_d));
            if (_range.RowsFollow)
            {
                _w.Open($"for (int j = 0, row = {_range.FirstRow}, height; j < keys; j += height, row += height)");
                _w.Line("height = Math.Min(columns, keys - j);");
            }
            else
            {
                AttentionText.OpenRing(_w, _range, keyRows);
            }

            _w.Line(Widened(1, "k"));
            _w.Line($"Panels.PackTransposed({AttentionPlan.Widened}, {_d}, {_d}, height, keysTransposed + j, columns, {_scores});");
            _w.Line(Widened(2, "v"));
            _w.Line($"Panels.PackRows({AttentionPlan.Widened}, {_d}, height, {_d}, values + j * {_padded}, {_padded});");
            _w.Close();
            _w.Line();
        }
        else if (_range.RowsFollow)
        {
            string row = _range.FirstRow == "0" ? "" : $" + (long){_range.FirstRow} * ";
            AttentionText.Transpose(_w, $"k{Rows(1)}{(row.Length > 0 ? row + Stride(1) : "")}", "keysTransposed", Stride(1), _d, _scores);
            _w.Line($"Panels.PackRows(v{Rows(2)}{(row.Length > 0 ? row + Stride(2) : "")}, {Stride(2)}, keys, {_d}, values, {_padded});");
        }
        else
        {
            AttentionText.OpenRing(_w, _range, keyRows);
            _w.Line($"Panels.PackTransposed(k{Rows(1)} + (long)row * {Stride(1)}, {Stride(1)}, {_d}, height, keysTransposed + j, columns, {_scores});");
            _w.Line($"Panels.PackRows(v{Rows(2)} + (long)row * {Stride(2)}, {Stride(2)}, height, {_d}, values + j * {_padded}, {_padded});");
            _w.Close();
            _w.Line();
        }
    }

    // A tile of queries times the keys that any of them sees.
    private void Scores()
    {
        _w.Open($"for (int n = {(_begin is null ? "0" : "begin")}; n < limit; n += columns)");
        _w.Line($"RegisterTile.MultiplyRows<V>(height, {AttentionText.Vectors}, queryRows + (long)i * {Stride(0)}, {Stride(0)}, keysTransposed + n, {_scores}, scores + n, {_scores}, {_d});");
        _w.Close();
        _w.Line();
    }

    // Exponentials of each row's scores, and the inverse of their sum.
    private void Probabilities()
    {
        _w.Open("for (int row = 0; row < height; row++)");
        string scale = CodeWriter.Literal(_kernel.Op.Scale), maximum = _kernel.HasLogSumExp ? "float maximum" : "float _", some = _range.MayBeEmpty ? "high > low ? " : "", none = _range.MayBeEmpty ? " : 0" : "";
        bool capped = _kernel.Op.SoftCap > 0;
        if (_range.IsBounded || _bias.Exists || capped)
        {
            _w.Line($"int low = {_range.Low("i + row")}, high = {_range.High("i + row")};");
        }

        if (capped)
        {
            _w.Line(AttentionText.Capped(_kernel.Op, $"scores + row * {_scores} + low", "high - low"));
        }

        if (_bias.Exists)
        {
            _w.Line($"AttentionRows.Add(scores + row * {_scores} + low, {AttentionPlan.Biases} + {_before} + {_range.Relative("low", "i + row")}, high - low);");
        }

        if (_range.IsBounded)
        {
            _w.Line($"float sum = AttentionRows.Exponentials(scores + row * {_scores}, {(_begin is null ? "0" : "begin")}, low, high, limit, {scale}, out {maximum});");
        }
        else
        {
            _w.Line($"float sum = AttentionRows.Exponentials(scores + row * {_scores}, {(_kernel.Range.IsCausal ? "limit - height + 1 + row" : "keys")}, limit, {scale}, out {maximum});");
        }

        _w.Line($"factors[row] = {some}1 / sum{none};");
        if (_kernel.HasLogSumExp)
        {
            _w.Line($"logsumexp[((long)sequence * {_count} + i + row) * {Stride(4)} + head] = {some}maximum + VectorMath.Log(sum){none};");
        }

        _w.Close();
        _w.Line();
    }

    // Exponentials times values, scaled on the way to their place.
    private void Outputs()
    {
        string Behind(string pointer, string step = "") => _begin is null ? pointer : $"{pointer} + begin{step}";
        _w.Open($"for (int c = 0; c < {_d}; c += columns)");
        _w.Line($"RegisterTile.MultiplyRows<V>(height, {AttentionText.Vectors}, {Behind("scores")}, {_scores}, {Behind("values", $" * {_padded}")} + c, {_padded}, tile, columns, {(_begin is null ? "limit" : "limit - begin")});");
        _w.Line($"AttentionTiles.Scale<V>(tile, columns, height, Math.Min(columns, {_d} - c), outputRows + (long)i * {Stride(3)} + c, {Stride(3)}, factors);");
        _w.Close();
    }

    private void ClearPadding()
    {
        _w.Line();
        _w.Open($"for (int i = {_range.Queries}; i < {_count}; i++)");
        AttentionText.Clear(_w, $"outputRows + (long)i * {Stride(3)}", CodeWriter.Number(_d));
        if (_kernel.HasLogSumExp)
        {
            _w.Line($"logsumexp[((long)sequence * {_count} + i) * {Stride(4)} + head] = 0;");
        }

        _w.Close();
    }

    private void Scratch(params string[] parts) => AttentionText.Scratch(_w, _schemes, parts);

    private int Stride(int operand) => AttentionText.Stride(_kernel, operand);
}
