using System.Collections.Generic;
using ModelGen.Compiler.Graph;

namespace ModelGen.Compiler.Ops;

/// <summary>Indices [B, T] as [T, B]: recurrences run over time-major sequences, whose every step is one contiguous matrix.</summary>
internal sealed record TransposeIndices : KernelOperator
{
    public override string Mnemonic => "transpose_indices";

    public override IReadOnlyList<TensorType> Infer(IReadOnlyList<TensorType> inputs)
    {
        Require(inputs.Count == 1 && inputs[0].Element == ElementType.Int32 && inputs[0].Shape.Rank == 2, $"takes i32 [B, T] and got {List(inputs)}");
        return Single(TensorType.Int(Shape.Of(inputs[0].Shape[1], inputs[0].Shape[0])));
    }
}
