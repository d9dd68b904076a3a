using System.Collections.Generic;
using System.Globalization;
using System.Linq;
using ModelGen.Compiler.Autodiff;
using ModelGen.Compiler.Graph;

namespace ModelGen.Compiler.Ops;

/// <summary>
/// Scaled dot-product attention (Vaswani et al. 2017, section 3.2.1) of <c>Heads</c> query heads over
/// <c>KeyValueHeads</c> key/value heads of <c>HeadDim</c> columns: softmax(<c>Scale</c>·QKᵀ)V, streamed, so that no T × T
/// matrix exists. <c>Causal</c>: a query sees the keys up to its own position. <c>Cached</c>: keys and values are caches
/// [N, ..] whose first position + T rows are filled, and the batch is one.
/// Inputs: q [B, T, Heads·HeadDim], k and v [B, S, KeyValueHeads·HeadDim]. Results: the output, as q, and the rows'
/// log-sum-exp [B, T, Heads], which the gradient needs.
/// </summary>
internal sealed record Attention(int Heads, int KeyValueHeads, int HeadDim, double Scale, bool Causal, bool Cached) : KernelOperator
{
    public override string Mnemonic => "attention";

    public override string Attributes => string.Format(CultureInfo.InvariantCulture, "heads={0}/{1} d={2} scale={3:R}{4}{5}",
        Heads, KeyValueHeads, HeadDim, Scale, Causal ? " causal" : "", Cached ? " cached" : "");

    public override IReadOnlyList<TensorType> Infer(IReadOnlyList<TensorType> inputs)
    {
        Require(inputs.Count == 3 && inputs[0].Shape.Rank == 3 && inputs[0].Shape.Columns == Heads * HeadDim
            && inputs[1].Shape.Columns == KeyValueHeads * HeadDim && inputs[2].Shape.Equals(inputs[1].Shape)
            && Heads % KeyValueHeads == 0, $"the inputs do not fit {Attributes}: {List(inputs)}");
        Require(Cached ? inputs[1].Shape.Rank == 2 && inputs[0].Shape[0] == (Dim)1 : inputs[1].Shape.Rank == 3 && inputs[1].Shape[0] == inputs[0].Shape[0], $"batches differ: {List(inputs)}");
        Require(!Causal || Cached || inputs[0].Shape[1] == inputs[1].Shape[1], $"causal attention without a cache is self-attention: {List(inputs)}");
        return [inputs[0], TensorType.Float(inputs[0].Shape.WithLast(Heads))];
    }

    public override void Gradient(GradientContext context)
    {
        Value[] gradients = context.AddAll(new AttentionGradient(this), context.Input(0), context.Input(1), context.Input(2), context.Output(0), context.Output(1), context.OutputCotangent(0));
        for (int i = 0; i < 3; i++)
        {
            context.Accumulate(i, gradients[i]);
        }
    }

    public override long Flops(Node node)
        => 4L * Heads * HeadDim * node.Inputs[0].Shape.Rows.Maximum * node.Inputs[1].Shape[-2].Maximum / (Causal ? 2 : 1);
}

/// <summary>
/// The gradient of <see cref="Attention"/>, with probabilities computed again from the saved log-sum-exp (Dao et al.
/// 2022, algorithm 4). Inputs: q, k, v, output, log-sum-exp, the output's cotangent. Results: those of q, k and v.
/// </summary>
internal sealed record AttentionGradient(Attention Of) : KernelOperator
{
    public override string Mnemonic => "attention_gradient";

    public override string Attributes => Of.Attributes;

    public override IReadOnlyList<TensorType> Infer(IReadOnlyList<TensorType> inputs)
    {
        Require(inputs.Count == 6 && !Of.Cached && inputs[3].Equals(inputs[0]) && inputs[5].Equals(inputs[0]), $"the inputs do not fit {Attributes}: {List(inputs)}");
        return inputs.Take(3).ToArray();
    }

    public override long Flops(Node node)
        => 10L * Of.Heads * Of.HeadDim * node.Inputs[0].Shape.Rows.Maximum * node.Inputs[1].Shape[-2].Maximum / (Of.Causal ? 2 : 1);
}
