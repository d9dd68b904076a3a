using System.Linq;
using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Ops;

namespace ModelGen.Compiler.Passes;

/// <summary>
/// Has linear recurrences over a literal number of steps take several at a time, in products of matrices, with a state only between such chunks. It is for graphs whose sequences begin in them: what goes on where a run ended is carried step by step.
/// Guarantees: the same values, up to rounding.
/// </summary>
internal static class ChunkRecurrences
{
    // Work within a chunk grows with its length, and more so where steps are corrected; work and memory between chunks shrink with it.
    private const int Longest = 64;

    private const int LongestCorrected = 32;

    public static ModelGraph Run(ModelGraph graph)
        => !graph.Contains<LinearRecurrence>() ? graph : GraphRewriter.Rewrite(graph, (builder, node, inputs)
            => node.Op is LinearRecurrence recurrence && LengthOf(inputs[0].Shape[0], inputs[0].Shape[1], inputs.Count == 5) is > 1 and int chunk ? builder.AddMany(recurrence with { Chunk = chunk }, node.Name, [.. inputs]) : null);

    // As many chunks as there must be, of the same length.
    private static int LengthOf(Dim batch, Dim time, bool isCorrected)
    {
        int longest = isCorrected ? LongestCorrected : Longest, chunks = (time.Maximum + longest - 1) / longest;
        return batch.IsLiteral && time.IsLiteral ? (time.Maximum + chunks - 1) / chunks : 0;
    }
}
