using System;
using System.Collections.Generic;
using System.Linq;
using ModelGen.Compiler.Graph;

namespace ModelGen.Compiler.Ops;

/// <summary>
/// A state of every sequence that a session holds: [N, ..], where a <see cref="StateRead"/> sees that of one. All states of a sequence lie
/// together, so that from one sequence's to the next it is as far as a sequence's states are long.
/// </summary>
internal sealed record SequenceStates(string State, Shape Shape) : LeafOperator
{
    public override string Mnemonic => "states";

    public override string Attributes => State;

    public override Operator BindExtents(Func<Dim, Dim> bind) => this with { Shape = Shape.Select(bind) };

    public override IReadOnlyList<TensorType> Infer(IReadOnlyList<TensorType> inputs)
    {
        Require(Shape.Rank > 1 && Shape.Dims.All(d => d.IsLiteral), $"{State} of {Shape}");
        return Single(TensorType.Float(Shape));
    }
}

/// <summary>
/// Writes row b of x [B, .., C] into the states [N, C] or, with positions, [N, P, C] of several sequences: into that of the sequence that
/// element b of an i32 [B] names, at the position that element b of another names. Gives the states as they are then. The sequences differ.
/// </summary>
internal sealed record ScatterRows : KernelOperator
{
    /// <summary>Whether position p lies in row p modulo P.</summary>
    public bool IsRing { get; init; }

    /// <summary>Of a ring, the first rows, which hold the first positions for good; the others go around behind them.</summary>
    public int Kept { get; init; }

    public override string Mnemonic => "scatter_rows";

    public override string Attributes => IsRing ? Kept > 0 ? $"ring behind {Kept}" : "ring" : "";

    public override IReadOnlyList<TensorType> Infer(IReadOnlyList<TensorType> inputs)
    {
        Require((inputs.Count == 4 || (inputs.Count == 3 && !IsRing)) && Kept >= 0 && (IsRing || Kept == 0) && Kept < inputs[0].Shape[1].Maximum && inputs[0].Shape.Rank == inputs.Count - 1 && inputs[1].Element == ElementType.Float32 && inputs[0].Shape[-1] == inputs[1].Shape[-1]
            && inputs.Skip(2).All(i => i.Element == ElementType.Int32 && i.Shape.Rank == 1 && RowExtent.Of(i.Shape[0]) == inputs[1].Shape.Rows),
            $"takes states, rows of them and where each goes, and got {List(inputs)}");
        return Single(inputs[0]);
    }

    public override int? IndexLimit(Node node, int input) => input < 2 || (IsRing && input == 3) ? null : node.Inputs[0].Shape[input - 2].Maximum;
}
