using System.Collections.Generic;
using ModelGen.Compiler.Graph;

namespace ModelGen.Compiler.Ops;

/// <summary>
/// The weights of <see cref="Attention"/>, which itself never stores them: softmax(<c>Scale</c>·QKᵀ), computed again from the log-sum-exp.
/// Inputs: q [B, T, Heads·HeadDim], k [B, S, KeyValueHeads·HeadDim] or a cache [S, ..], the log-sum-exp [B, T, Heads], the table of a learned bias. Result: [B, Heads, T, <c>Keys</c>],
/// the most keys that there can be: zero for those that a query does not see.
/// </summary>
internal sealed record AttentionWeights(Attention Of, int Keys) : KernelOperator
{
    public override string Mnemonic => "attention_weights";

    public override string Attributes => $"{Of.Attributes} keys={Keys}";

    public override IReadOnlyList<TensorType> Infer(IReadOnlyList<TensorType> inputs)
    {
        Require(inputs.Count == (Of.HasTable ? 4 : 3) && inputs[0].Shape.Rank == 3 && inputs[1].Shape.Rank > 1 && inputs[2].Equals(TensorType.Float(inputs[0].Shape.WithLast(Of.Heads))), $"the inputs do not fit {Attributes}: {List(inputs)}");
        Require(Of.Range is { Window: null, Pattern: null, IsRing: false, VariesBySequence: false }, $"has no windows, patterns, rings or lengths: {Attributes}");
        Of.RequireBias(inputs);
        Require(inputs[1].Shape[-2].Maximum <= Keys, $"{inputs[1].Shape[-2]} keys are more than {Keys}");
        string? problem = Of.Range.Problem(inputs[0].Shape, inputs[1].Shape);
        Require(problem is null, $"{problem}: {Attributes} of {List(inputs)}");
        return Single(TensorType.Float(Shape.Of(inputs[0].Shape[0], Of.Heads, inputs[0].Shape[1], Keys)));
    }

    public override long Flops(Node node) => 2L * Of.HeadDim * node.Outputs[0].Shape.MaximumElements / (Of.Range.IsCausal ? 2 : 1);
}
