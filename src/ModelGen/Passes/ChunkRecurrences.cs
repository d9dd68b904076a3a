using System;
using System.Collections.Generic;
using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Ops;

namespace ModelGen.Compiler.Passes;

/// <summary>
/// Has linear recurrences take several steps at a time, in products of matrices, with a state only between such chunks, where that is quicker: products of narrow matrices take longer than steps, and where errors are corrected there are more of them.
/// Guarantees: the same values, up to rounding.
/// </summary>
internal static class ChunkRecurrences
{
    // Work within a chunk grows with its length, and more so where steps are corrected; work and memory between chunks shrink with it. A kernel keeps the state in the first caches, so that going over it costs little.
    private const int Longest = 64;

    private const int LongestCorrected = 32;

    private const int LongestOfKernel = 32;

    // The least elements of a head's matrix with which chunks were measured to be quicker than steps (docs/speed.md).
    private const int Least = 16 * 16;

    private const int LeastCorrected = 32 * 32;

    private const int LeastCorrectedOfKernel = 24 * 24;

    /// <summary>Where sequences begin in the graph and have a literal number of steps: written in the graph's operators, which have gradients.</summary>
    public static ModelGraph Run(ModelGraph graph) => Rewrite(graph, Least, LeastCorrected, (recurrence, inputs) =>
    {
        (Dim batch, Dim time) = (inputs[0].Shape[0], inputs[0].Shape[1]);
        int longest = IsCorrected(inputs) ? LongestCorrected : Longest, chunks = (time.Maximum + longest - 1) / longest;

        // As many chunks as there must be, of the same length.
        return batch.IsLiteral && time.IsLiteral ? recurrence with { Chunk = (time.Maximum + chunks - 1) / chunks } : null;
    });

    /// <summary>Where there is no gradient, and however many steps a run brings along: by a kernel that may go on where a run ended.</summary>
    /// <param name="graph">The graph.</param>
    /// <param name="isAlways">Whether it is quicker however narrow heads are.</param>
    public static ModelGraph ForInference(ModelGraph graph, bool isAlways = false)
        => Rewrite(graph, isAlways ? 0 : Least, isAlways ? 0 : LeastCorrectedOfKernel, (_, inputs) => new ChunkedRecurrence(Math.Min(LongestOfKernel, inputs[0].Shape[1].Maximum), IsCorrected(inputs)));

    private static ModelGraph Rewrite(ModelGraph graph, int least, int leastCorrected, Func<LinearRecurrence, IReadOnlyList<Value>, Operator?> chunked)
        => !graph.Contains<LinearRecurrence>() ? graph : GraphRewriter.Rewrite(graph, (builder, node, inputs)
            => node.Op is LinearRecurrence recurrence && inputs[0].Shape[1].Maximum > 1 && (long)inputs[1].Shape.Columns * inputs[2].Shape.Columns >= (IsCorrected(inputs) ? leastCorrected : least)
                && chunked(recurrence, inputs) is { } op ? builder.AddMany(op, node.Name, [.. inputs]) : null);

    private static bool IsCorrected(IReadOnlyList<Value> inputs) => inputs.Count == 5;
}
