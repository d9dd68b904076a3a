using System;
using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Ops;

namespace ModelGen.Compiler.Passes;

/// <summary>
/// Has linear recurrences take several steps at a time, in products of matrices, with a state only between such chunks.
/// Guarantees: the same values, up to rounding.
/// </summary>
internal static class ChunkRecurrences
{
    // Work within a chunk grows with its length, and more so where steps are corrected; work and memory between chunks shrink with it.
    private const int Longest = 64;

    private const int LongestCorrected = 32;

    // A kernel keeps the state in the first caches, so that going over it costs little.
    private const int LongestOfKernel = 32;

    /// <summary>Where sequences begin in the graph and have a literal number of steps: written in the graph's operators, which have gradients.</summary>
    public static ModelGraph Run(ModelGraph graph)
        => !graph.Contains<LinearRecurrence>() ? graph : GraphRewriter.Rewrite(graph, (builder, node, inputs)
            => node.Op is LinearRecurrence recurrence && LengthOf(inputs[0].Shape[0], inputs[0].Shape[1], inputs.Count == 5) is > 1 and int chunk ? builder.AddMany(recurrence with { Chunk = chunk }, node.Name, [.. inputs]) : null);

    /// <summary>Where there is no gradient, and however many steps a run brings along: by a kernel that may go on where a run ended. A single step stays what it is.</summary>
    public static ModelGraph ForInference(ModelGraph graph)
        => !graph.Contains<LinearRecurrence>() ? graph : GraphRewriter.Rewrite(graph, (builder, node, inputs)
            => node.Op is LinearRecurrence && inputs[0].Shape[1].Maximum > 1
                ? builder.AddMany(new ChunkedRecurrence(Math.Min(LongestOfKernel, inputs[0].Shape[1].Maximum), inputs.Count == 5), node.Name, [.. inputs]) : null);

    // As many chunks as there must be, of the same length.
    private static int LengthOf(Dim batch, Dim time, bool isCorrected)
    {
        int longest = isCorrected ? LongestCorrected : Longest, chunks = (time.Maximum + longest - 1) / longest;
        return batch.IsLiteral && time.IsLiteral ? (time.Maximum + chunks - 1) / chunks : 0;
    }
}
