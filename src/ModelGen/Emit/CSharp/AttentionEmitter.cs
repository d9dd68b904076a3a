using System;
using System.Collections.Generic;
using System.Linq;
using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Kernels;
using ModelGen.Compiler.Ops;
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
        ArgumentKinds arguments = Arguments.Of(kernel.Batch) | Arguments.Of(kernel.Queries) | Arguments.Of(kernel.Keys) | (kernel.Range is { IsCached: true, HasPositions: false } ? ArgumentKinds.Position : ArgumentKinds.None);
        var code = new KernelCode(
            $"Attention_{Text.Extent(kernel.Batch)}x{Text.Extent(kernel.Queries)}_{kernel.Op.Heads}x{kernel.Op.HeadDim}",
            $"softmax(q·kᵀ·{CodeWriter.Literal(kernel.Op.Scale)})·v, {kernel.Op.Heads} heads of {kernel.Op.HeadDim}{Describe(kernel.Range)}{ScoreBiasText.Describe(kernel.Op)}.",
            kernel, arguments);
        foreach (IGrouping<AttentionAlgorithm, AttentionScheme> group in plan.Schemes.GroupBy(s => s.Algorithm))
        {
            AttentionScheme[] schemes = [.. group];
            switch (group.Key)
            {
                case AttentionAlgorithm.Tiles:
                    code.Generic("Tiles", code.Parameters, Bits(schemes), (w, _) => TiledAttentionEmitter.Emit(w, kernel, schemes));
                    break;
                case AttentionAlgorithm.Listed:
                    code.Generic("Listed", code.Parameters, Bits(schemes), (w, _) => ListedKeysEmitter.Forward(w, kernel, schemes));
                    break;
                case AttentionAlgorithm.SingleQuery:
                    // A head that does not fill a vector is read in narrower ones.
                    (int Bits, int VectorBits)[] widths = [.. schemes.Select(s => Spelling.OfLanes(s.Tile.Lanes)).Select(v => (v.Bits, v.FilledBy(kernel.Op.HeadDim).Bits))];
                    code.Generic("Single", code.Parameters, widths, (w, _) => SeparateHeadsEmitter.Emit(w, kernel, plan.Schemes, [.. widths.Select(x => x.VectorBits / 32)]));
                    break;
                default:
                    foreach (AttentionScheme scheme in schemes)
                    {
                        Spelling v = Spelling.OfLanes(scheme.Tile.Lanes);
                        code.ForWidth(v.Bits, CodeWriter.Number(v.Bits), w =>
                        {
                            if (group.Key == AttentionAlgorithm.NarrowHeads)
                            {
                                NarrowHeadsEmitter.Emit(w, kernel, v);
                            }
                            else
                            {
                                SharedHeadsEmitter.Emit(w, kernel, scheme, v);
                            }
                        });
                    }

                    break;
            }
        }

        return code;
    }

    public static KernelCode Emit(AttentionGradientKernel kernel, AttentionPlan plan)
    {
        var code = new KernelCode(
            $"AttentionGradient_{kernel.Batch}x{kernel.Queries}_{kernel.Op.Heads}x{kernel.Op.HeadDim}",
            $"The gradient of softmax(q·kᵀ·{CodeWriter.Literal(kernel.Op.Scale)})·v, {kernel.Op.Heads} heads of {kernel.Op.HeadDim}{Describe(kernel.Range)}{ScoreBiasText.Describe(kernel.Op)}.",
            kernel, ArgumentKinds.None);
        if (kernel.Range.Pattern is not null)
        {
            code.Generic("Listed", code.Parameters, Bits(plan.Schemes), (w, _) => ListedKeysEmitter.Backward(w, kernel, plan.Schemes));
            return code;
        }

        code.Generic("Tiles", code.Parameters, Bits(plan.Schemes), (w, _) => AttentionGradientEmitter.Emit(w, kernel, plan.Schemes));
        return code;
    }

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

        code.Generic("Tiles", code.Parameters, Bits(plan.Schemes), (w, _) => AttentionWeightsEmitter.Emit(w, kernel, plan.Schemes));
        return code;
    }

    private static string Describe(KeyRange range) => string.Concat(
        range.IsCausal ? ", causal" : "",
        range.Window is { } window ? $", at a distance of {window} at the most" : "",
        range.Pattern switch
        {
            GlobalKeys pattern => $", and to the first {pattern.Count}{(range.IsCausal ? "" : ", which see all")}",
            StridedKeys pattern => $", to the {(range.IsCausal ? "latest" : "nearest")} {pattern.Stride} and to every {pattern.Stride}th {(range.IsCausal ? "before" : "beyond")}",
            FixedKeys pattern => $", within blocks of {pattern.Stride} and to the last {pattern.Summary} of those {(range.IsCausal ? "before" : "around")}",
            _ => "",
        },
        range.IsRing ? ", over the ring" : range.IsCached ? ", over the cache" : "",
        range.VariesBySequence ? ", each sequence's own" : "");

    private static IEnumerable<(int, int)> Bits(IEnumerable<AttentionScheme> schemes) => schemes.Select(s => (32 * s.Tile.Lanes, 32 * s.Tile.Lanes));
}
