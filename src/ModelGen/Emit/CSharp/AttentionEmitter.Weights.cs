using System.Collections.Generic;
using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Kernels;
using ModelGen.Compiler.Targets.Cpu;

namespace ModelGen.Compiler.Emit.CSharp;

internal static partial class AttentionEmitter
{
    /// <summary>The weights of attention: scores again, and their exponentials by the log-sum-exp that is known.</summary>
    public static KernelCode Emit(AttentionWeightsKernel kernel, AttentionPlan plan)
    {
        var code = new KernelCode(
            $"AttentionWeights_{Text.Extent(kernel.Batch)}x{Text.Extent(kernel.Queries)}_{kernel.Op.Heads}x{kernel.Op.HeadDim}",
            $"softmax(q·kᵀ·{CodeWriter.Literal(kernel.Op.Scale)}), {kernel.Op.Heads} heads of {kernel.Op.HeadDim}{Describe(kernel.Op.Range)}{ScoreBiasText.Describe(kernel.Op)}.",
            kernel, Arguments.Of(kernel.Batch) | Arguments.Of(kernel.Queries) | Arguments.Of(kernel.Keys) | (kernel.Op.Range.IsCached ? ArgumentKinds.Position : ArgumentKinds.None));
        if (kernel.Op.Range.Pattern is not null)
        {
            code.Generic("Listed", code.Parameters, Bits(plan.Schemes), (w, _) => ListedKeysEmitter.Weights(w, kernel, plan.Schemes));
            return code;
        }

        code.Generic("Tiles", code.Parameters, Bits(plan.Schemes), (w, _) => Weights(w, kernel, plan.Schemes));
        return code;
    }

    private static void Weights(CodeWriter w, AttentionWeightsKernel kernel, IReadOnlyList<AttentionScheme> schemes)
    {
        (int d, int heads, int group) = (kernel.Op.HeadDim, kernel.Op.Heads, kernel.Op.Heads / kernel.Op.KeyValueHeads);
        string count = Text.RowCount(kernel.Queries), all = Text.RowCount(kernel.Keys);
        var range = new KeyRangeText(kernel.Op.Range, count, !kernel.Queries.IsDynamic, kernel.Keys);
        (string rows, string scores, _) = Constants(w, schemes);
        Scratch(w, schemes, AttentionPlan.KeysTransposed, AttentionPlan.Scores);
        ScoreBiasText bias = BiasOf(kernel.Op, kernel);
        (int before, int behind) = kernel.Op.Range.Distances(kernel.Queries.Maximum, kernel.MaximumKeys);
        if (bias.Exists)
        {
            Scratch(w, schemes, AttentionPlan.Biases);
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

        string keys = kernel.Op.Range.HasSequences ? $"(long)sequences[sequence] * {kernel.CacheStride}" : $"(long)sequence * {all} * {Stride(kernel, 1)}";
        string keysOfHead = $"k + {keys} + head / {group} * {d}";
        w.Line($"float* queryRows = q + (long)sequence * {count} * {Stride(kernel, 0)} + head * {d};");
        if (range.RowsFollow)
        {
            Transpose(w, range.FirstRow == "0" ? keysOfHead : $"{keysOfHead} + (long){range.FirstRow} * {Stride(kernel, 1)}", "keysTransposed", Stride(kernel, 1), d, scores);
        }
        else
        {
            OpenRing(w, range, all);
            w.Line($"Panels.PackTransposed({keysOfHead} + (long)row * {Stride(kernel, 1)}, {Stride(kernel, 1)}, {d}, height, keysTransposed + j, columns, {scores});");
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
        w.Line($"RegisterTile.MultiplyRows<V>(height, {Vectors}, queryRows + (long)i * {Stride(kernel, 0)}, {Stride(kernel, 0)}, keysTransposed + n, {scores}, scores + n, {scores}, {d});");
        w.Close();
        w.Line();
        w.Open("for (int row = 0; row < height; row++)");
        w.Line($"float logSum = logsumexp[((long)sequence * {count} + i + row) * {Stride(kernel, 2)} + head];");
        w.Line($"float* target = weights + (((long)sequence * {heads} + head) * {count} + i + row) * {Stride(kernel, 3)};");
        if (kernel.Op.Range.Window is null)
        {
            w.Line($"int high = {range.High("i + row")};");
            if (bias.Exists)
            {
                w.Line($"AttentionRows.Add(scores + row * {scores}, {AttentionPlan.Biases} + {before} + {range.Relative("0", "i + row")}, high);");
            }

            if (kernel.Op.SoftCap > 0)
            {
                w.Line(Capped(kernel.Op, $"scores + row * {scores}", "high"));
            }

            w.Line($"AttentionTiles.Probabilities<V>(scores + row * {scores}, high, {CodeWriter.Literal(kernel.Op.Scale)}, logSum, target, {kernel.Columns}{Sinks(kernel.Op)});");
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
                w.Line(Capped(kernel.Op, $"scores + row * {scores} + low", "seen"));
            }

            Clear(w, "target", "before");
            w.Line($"AttentionTiles.Probabilities<V>(scores + row * {scores} + low, seen, {CodeWriter.Literal(kernel.Op.Scale)}, logSum, target + before, {kernel.Columns} - before{Sinks(kernel.Op)});");
        }

        w.Close();
        w.Close();
        w.Close();
    }
}
