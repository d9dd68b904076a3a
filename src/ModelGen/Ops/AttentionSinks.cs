using System.Collections.Generic;
using System.Linq;
using ModelGen.Compiler.Autodiff;
using ModelGen.Compiler.Graph;

namespace ModelGen.Compiler.Ops;

/// <summary>
/// What attention <c>Of</c> gives where each head has a sink, a learned score among those that the softmax is over, which no value belongs to (OpenAI, "gpt-oss model card", 2025; Xiao et al. 2024, section 3.3): of its output and log-sum-exp L without
/// one and the score s, output · σ(L − s) and log(eᴸ + eˢ).
/// Inputs: output [B, T, Heads·HeadDim], log-sum-exp [B, T, Heads], sinks [Heads], and all that attention takes. Results: the output and the log-sum-exp. The gradient is that of attention with probabilities
/// computed again from the latter, which belong to the former, and reaches queries, keys and values directly.
/// </summary>
internal sealed record AttentionSinks(Attention Of) : CompositeOperator
{
    /// <summary>The inputs before those of attention.</summary>
    public const int Tensors = 3;

    public override string Mnemonic => "attention_sinks";

    public override string Attributes => Of.Attributes;

    public override IReadOnlyList<string>? ResultNames => ["", "logsumexp"];

    public override bool HasGradient => true;

    public override IReadOnlyList<TensorType> Infer(IReadOnlyList<TensorType> inputs)
    {
        Require(inputs.Count > Tensors && inputs[Tensors].Equals(inputs[0]) && inputs[1].Equals(TensorType.Float(inputs[0].Shape.WithLast(Of.Heads))) && inputs[2].Equals(TensorType.Float(Shape.Of(Of.Heads))), $"the inputs do not fit {Attributes}: {List(inputs)}");
        return Of.Infer([.. inputs.Skip(Tensors)]);
    }

    public override int? IndexLimit(Node node, int input) => null;

    public override IReadOnlyList<Value> Expand(GraphBuilder b, string name, IReadOnlyList<Value> inputs)
    {
        (Value output, Value sum, Value sinks) = (inputs[0], inputs[1], inputs[2]);
        Shape heads = HeadsOf(output.Shape);
        Value share = b.Add(new Sigmoid(), name + ".share", b.Add(new Subtract(), name + ".above", sum, sinks));
        Value kept = b.Add(new Multiply(), name + ".kept", b.Add(new Reshape(heads), name + ".heads", output), b.Add(new Reshape(heads.WithLast(1)), name + ".shares", share));
        Value total = b.Add(new Add(), name + ".logsumexp", sum, b.Add(new Softplus(), name + ".added", b.Add(new Subtract(), name + ".below", sinks, sum)));
        return [b.Add(new Reshape(output.Shape), name, kept), total];
    }

    public override void Gradient(GradientContext context)
    {
        Value output = context.Output(0), sum = context.Output(1), cotangent = context.OutputCotangent(0);
        if (context.HasCotangent(1))
        {
            throw new GraphException($"{context.Node}: the log-sum-exp has no gradient");
        }

        Value[] gradients = context.AddAll(new AttentionGradient(Of with { HasSinks = true }), [.. Enumerable.Range(Tensors, 3).Select(context.Input), output, sum, cotangent, .. Enumerable.Range(Tensors + 3, Of.Extras).Select(context.Input)]);
        for (int i = 0; i < 3; i++)
        {
            context.Accumulate(Tensors + i, gradients[i]);
        }

        if (Of.HasTable)
        {
            context.Accumulate(Tensors + 2 + Of.Extras, gradients[3]);
        }

        // A sink's probability times what all that is no sink would gain together: it has no value.
        context.Accumulate(2, () =>
        {
            Value gain = context.Add(new RowSum(), context.Add(new Reshape(HeadsOf(output.Shape)), context.Multiply(output, cotangent)));
            Value probability = context.Add(new Exp(), context.Add(new Subtract(), context.Input(2), sum));
            return context.Scale(context.Multiply(probability, context.Add(new Reshape(sum.Shape), gain)), -1);
        });
    }

    private Shape HeadsOf(Shape rows) => Shape.Of(rows[0], rows[1], Of.Heads, Of.HeadDim);
}
