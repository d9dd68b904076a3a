using System.Collections.Generic;
using ModelGen.Compiler.Graph;

namespace ModelGen.Compiler.Ops;

/// <summary>
/// Writes rows x [1, T, C] into a state [N, C] at rows <c>position</c> … and gives the state as it is then:
/// how a key/value cache grows.
/// </summary>
internal sealed record AppendState : KernelOperator
{
    public override string Mnemonic => "append_state";

    public override IReadOnlyList<TensorType> Infer(IReadOnlyList<TensorType> inputs)
    {
        Require(inputs.Count == 2 && inputs[0].Shape.Rank == 2 && inputs[0].Shape[-1] == inputs[1].Shape[-1], $"takes a state and rows of it and got {List(inputs)}");
        return Single(inputs[0]);
    }
}
