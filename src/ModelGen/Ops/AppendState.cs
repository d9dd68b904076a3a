using System;
using System.Collections.Generic;
using System.Linq;
using ModelGen.Compiler.Graph;

namespace ModelGen.Compiler.Ops;

/// <summary>
/// Writes rows x [1, T, C] into a state [N, C], or x [B, T, C] into [B, N, C], at rows <c>position</c> … and gives the state as it is then:
/// how a key/value cache grows. Inputs: the state, the rows; where there are any, the positions and the lengths i32 [B] of the sequences.
/// </summary>
internal sealed record AppendState : KernelOperator
{
    /// <summary>Whether position p lies in row p modulo N.</summary>
    public bool IsRing { get; init; }

    /// <summary>Of a ring, the first rows, which hold the first positions for good; the others go around behind them.</summary>
    public int Kept { get; init; }

    /// <summary>Whether each sequence has a position of its own, and not the run's.</summary>
    public bool HasPositions { get; init; }

    /// <summary>Whether only so many of each sequence's rows are written.</summary>
    public bool HasLengths { get; init; }

    /// <summary>What the inputs behind the rows are called, in their order.</summary>
    public IReadOnlyList<string> InputNames => [.. HasPositions ? ["positions"] : Array.Empty<string>(), .. HasLengths ? ["lengths"] : Array.Empty<string>()];

    public override string Mnemonic => "append_state";

    public override string Attributes => string.Join(" ", new[] { IsRing ? Kept > 0 ? $"ring behind {Kept}" : "ring" : "", HasPositions ? "positions" : "", HasLengths ? "lengths" : "" }.Where(a => a.Length > 0));

    public override IReadOnlyList<TensorType> Infer(IReadOnlyList<TensorType> inputs)
    {
        Require(inputs.Count == 2 + InputNames.Count && inputs[1].Shape.Rank == 3 && inputs[0].Shape.Rank is 2 or 3 && inputs[0].Shape[-1] == inputs[1].Shape[-1]
            && inputs[0].Shape[-2].IsLiteral && Kept >= 0 && (IsRing || Kept == 0) && inputs[1].Shape[1].Maximum <= inputs[0].Shape[-2].Maximum - Kept
            && (inputs[0].Shape.Rank == 2 ? (Dim)1 : inputs[0].Shape[0]) == inputs[1].Shape[0], $"takes a state and rows of it and got {List(inputs)}");
        RequirePerSequence(inputs.Skip(2), inputs[1].Shape[0]);
        return Single(inputs[0]);
    }

    public override int? IndexLimit(Node node, int input)
        => input < 2 ? null : InputNames[input - 2] == "lengths" ? node.Inputs[1].Shape[1].Maximum + 1 : IsRing ? null : node.Inputs[0].Shape[-2].Maximum;
}
