using System.Collections.Generic;
using System.Linq;
using ModelGen.Compiler.Graph;

namespace ModelGen.Compiler.Ops;

/// <summary>
/// The weights of <see cref="Attention"/>, which itself never stores them: softmax(<c>Scale</c>·QKᵀ), computed again from the log-sum-exp.
/// Inputs: q [B, T, Heads·HeadDim], k [B, S, KeyValueHeads·HeadDim] or a cache [S, ..], the log-sum-exp [B, T, Heads], what the range asks for, i32 [B] each (the keys of more sequences than
/// the batch has are [N, S, ..]), and the table of a learned bias. Result: [B, Heads, T, <c>Keys</c>], the most positions that there can be, of rings too: zero for those that a query does not see.
/// </summary>
internal sealed record AttentionWeights(Attention Of, int Keys) : KernelOperator
{
    /// <summary>The inputs before those that attention takes behind queries, keys and values.</summary>
    public const int Tensors = 3;

    public override string Mnemonic => "attention_weights";

    public override string Attributes => $"{Of.Attributes} keys={Keys}";

    public override IReadOnlyList<TensorType> Infer(IReadOnlyList<TensorType> inputs)
    {
        Require(inputs.Count == Tensors + Of.Extras && inputs[0].Shape.Rank == 3 && inputs[1].Shape.Rank > 1 && inputs[2].Equals(TensorType.Float(inputs[0].Shape.WithLast(Of.Heads))), $"the inputs do not fit {Attributes}: {List(inputs)}");
        Require(Of.Range is { HasPositions: false, HasQueryLengths: false }, $"has no positions or lengths of queries: {Attributes}");
        RequirePerSequence(inputs.Skip(Tensors).Take(Of.Range.InputNames.Count), inputs[0].Shape[0]);
        Of.RequireBias(inputs);
        Require(Of.Range.IsRing || inputs[1].Shape[-2].Maximum <= Keys, $"{inputs[1].Shape[-2]} keys are more than {Keys}");
        string? problem = Of.Range.Problem(inputs[0].Shape, inputs[1].Shape);
        Require(problem is null, $"{problem}: {Attributes} of {List(inputs)}");
        return Single(TensorType.Float(Shape.Of(inputs[0].Shape[0], Of.Heads, inputs[0].Shape[1], Keys)));
    }

    public override int? IndexLimit(Node node, int input) => Of.IndexLimit(node, input);

    public override long Flops(Node node) => Of.Flops(node, 2);
}
