using System.Collections.Generic;
using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Kernels;
using ModelGen.Compiler.Targets.Cpu;

namespace ModelGen.Compiler.Emit.CSharp;

/// <summary>The weights of attention, tiles of queries at a time: scores again, and their exponentials by the log-sum-exp that is known.</summary>
internal static class AttentionWeightsEmitter
{
    public static void Emit(CodeWriter w, AttentionWeightsKernel kernel, IReadOnlyList<AttentionScheme> schemes)
    {
        (int d, int heads, int group) = (kernel.Op.HeadDim, kernel.Op.Heads, kernel.Op.Heads / kernel.Op.KeyValueHeads);
        string count = Text.RowCount(kernel.Queries), all = Text.RowCount(kernel.Keys);
        var range = new KeyRangeText(kernel.Op.Range, count, !kernel.Queries.IsDynamic, kernel.Keys);
        (string rows, string scores, _) = AttentionText.Constants(w, schemes);
        AttentionText.Scratch(w, schemes, AttentionPlan.KeysTransposed, AttentionPlan.Scores);
        ScoreBiasText bias = AttentionText.BiasOf(kernel.Op, kernel);
        (int before, int behind) = kernel.Op.Range.Distances(kernel.Queries.Maximum, kernel.MaximumKeys);
        if (bias.Exists)
        {
            AttentionText.Scratch(w, schemes, AttentionPlan.Biases);
            bias.Declare(w);
        }

        if (!kernel.Op.Range.VariesBySequence)
        {
            range.Declare(w);
        }

        Text.OpenUnits(w, kernel, Text.RowCount(kernel.Batch * RowExtent.Literal(heads)), "task");
        w.Line($"int sequence = task / {heads}, head = task % {heads};");
        if (kernel.Op.Range.VariesBySequence)
        {
            range.Declare(w);
        }

        string keys = kernel.Op.Range.HasSequences ? $"(long)sequences[sequence] * {kernel.CacheStride}" : $"(long)sequence * {all} * {AttentionText.Stride(kernel, 1)}";
        string keysOfHead = $"k + {keys} + head / {group} * {d}";
        w.Line($"float* queryRows = q + (long)sequence * {count} * {AttentionText.Stride(kernel, 0)} + head * {d};");
        if (range.RowsFollow)
        {
            AttentionText.Transpose(w, range.FirstRow == "0" ? keysOfHead : $"{keysOfHead} + (long){range.FirstRow} * {AttentionText.Stride(kernel, 1)}", "keysTransposed", AttentionText.Stride(kernel, 1), d, scores);
        }
        else
        {
            AttentionText.OpenRing(w, range, all);
            w.Line($"Panels.PackTransposed({keysOfHead} + (long)row * {AttentionText.Stride(kernel, 1)}, {AttentionText.Stride(kernel, 1)}, {d}, height, keysTransposed + j, columns, {scores});");
            w.Close();
            w.Line();
        }

        if (bias.Exists)
        {
            bias.Fill(w, CodeWriter.Number(-before), CodeWriter.Number(before + 1 + behind));
        }

        w.Open($"for (int i = 0; i < {count}; i += {rows})");
        w.Line($"int height = Math.Min({rows}, {count} - i), limit = {range.Limit("i + height")};");
        w.Open($"for (int n = {range.Begin("i") ?? "0"}; n < limit; n += columns)");
        w.Line($"RegisterTile.MultiplyRows<V>(height, {AttentionText.Vectors}, queryRows + (long)i * {AttentionText.Stride(kernel, 0)}, {AttentionText.Stride(kernel, 0)}, keysTransposed + n, {scores}, scores + n, {scores}, {d});");
        w.Close();
        w.Line();
        w.Open("for (int row = 0; row < height; row++)");
        w.Line($"float logSum = logsumexp[((long)sequence * {count} + i + row) * {AttentionText.Stride(kernel, 2)} + head];");
        w.Line($"float* target = weights + (((long)sequence * {heads} + head) * {count} + i + row) * {AttentionText.Stride(kernel, 3)};");
        if (kernel.Op.Range.Window is null)
        {
            w.Line($"int high = {range.High("i + row")};");
            if (bias.Exists)
            {
                w.Line($"AttentionRows.Add(scores + row * {scores}, {AttentionPlan.Biases} + {before} + {range.Relative("0", "i + row")}, high);");
            }

            if (kernel.Op.SoftCap > 0)
            {
                w.Line(AttentionText.Capped(kernel.Op, $"scores + row * {scores}", "high"));
            }

            w.Line($"AttentionTiles.Probabilities<V>(scores + row * {scores}, high, {CodeWriter.Literal(kernel.Op.Scale)}, logSum, target, {kernel.Columns}{AttentionText.Sinks(kernel.Op)});");
        }
        else
        {
            // Weights stand at the keys' positions, of which the first that any query sees may not be the sequence's.
            w.Line($"int low = {range.Low("i + row")}, seen = Math.Max(0, {range.High("i + row")} - low), before = {(range.FirstPosition == "0" ? "low" : $"{range.FirstPosition} + low")};");
            if (bias.Exists)
            {
                w.Line($"AttentionRows.Add(scores + row * {scores} + low, {AttentionPlan.Biases} + {before} + {range.Relative("low", "i + row")}, seen);");
            }

            if (kernel.Op.SoftCap > 0)
            {
                w.Line(AttentionText.Capped(kernel.Op, $"scores + row * {scores} + low", "seen"));
            }

            AttentionText.Clear(w, "target", "before");
            w.Line($"AttentionTiles.Probabilities<V>(scores + row * {scores} + low, seen, {CodeWriter.Literal(kernel.Op.Scale)}, logSum, target + before, {kernel.Columns} - before{AttentionText.Sinks(kernel.Op)});");
        }

        w.Close();
        w.Close();
        w.Close();
    }
}
