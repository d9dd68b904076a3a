using System;
using System.Collections.Generic;
using System.Globalization;
using System.Linq;
using ModelGen.Compiler.Autodiff;
using ModelGen.Compiler.Graph;

namespace ModelGen.Compiler.Ops;

/// <summary>
/// Scaled dot-product attention (Vaswani et al. 2017, section 3.2.1) of <c>Heads</c> query heads over
/// <c>KeyValueHeads</c> key/value heads of <c>HeadDim</c> columns: softmax(<c>Scale</c>·QKᵀ)V, streamed, so that no T × T
/// matrix exists. <c>Range</c> says which keys a query sees.
/// Inputs: q [B, T, Heads·HeadDim], k and v [B, S, KeyValueHeads·HeadDim], what the range asks for, i32 [B] each, and the table [rows, Heads] of a learned
/// <see cref="Bias"/>. Results: the output, as q, and the rows' log-sum-exp [B, T, Heads], which the gradient needs; both are zero where a query sees no key.
/// </summary>
internal sealed record Attention(int Heads, int KeyValueHeads, int HeadDim, double Scale, KeyRange Range) : KernelOperator
{
    /// <summary>What is added to the scaled scores; null for nothing.</summary>
    public ScoreBias? Bias { get; init; }

    /// <summary>What scaled scores are squeezed into, cap · tanh(score / cap) (Gemma Team 2024, section 2); 0 for nothing.</summary>
    public double SoftCap { get; init; }

    /// <summary>Whether the log-sum-exp is of a sink's score too, so that the probabilities of the keys add up to less than 1: for what computes them again from it.</summary>
    public bool HasSinks { get; init; }

    /// <summary>The cap of scores that are not yet scaled.</summary>
    public double CapOfProducts => SoftCap / Scale;

    /// <summary>Whether the last input is a table that the bias is looked up in.</summary>
    public bool HasTable => Bias is { TableRows: > 0 };

    /// <summary>The inputs behind queries, keys and values: what the range asks for, and the table.</summary>
    public int Extras => Range.InputNames.Count + (HasTable ? 1 : 0);

    public override string Mnemonic => "attention";

    public override IReadOnlyList<string>? ResultNames => ["", "logsumexp"];

    public override string Attributes => string.Format(CultureInfo.InvariantCulture, "heads={0}/{1} d={2} scale={3:R}{4}{5}{6}{7}",
        Heads, KeyValueHeads, HeadDim, Scale, Range.Attributes, Bias is null ? "" : " " + Bias.Attributes, SoftCap > 0 ? string.Format(CultureInfo.InvariantCulture, " cap={0:R}", SoftCap) : "", HasSinks ? " sinks" : "");

    public override IReadOnlyList<TensorType> Infer(IReadOnlyList<TensorType> inputs)
    {
        Require(inputs.Count == 3 + Extras && inputs[0].Shape.Rank == 3 && inputs[0].Shape.Columns == Heads * HeadDim
            && inputs[1].Shape.Rank > 1 && inputs[1].Shape.Columns == KeyValueHeads * HeadDim && inputs[2].Shape.Equals(inputs[1].Shape)
            && Heads % KeyValueHeads == 0, $"the inputs do not fit {Attributes}: {List(inputs)}");
        string? problem = Range.Problem(inputs[0].Shape, inputs[1].Shape);
        Require(problem is null, $"{problem}: {Attributes} of {List(inputs)}");
        RequirePerSequence(inputs.Skip(3).Take(Range.InputNames.Count), inputs[0].Shape[0]);
        RequireBias(inputs);
        return [inputs[0], TensorType.Float(inputs[0].Shape.WithLast(Heads))];
    }

    public override int? IndexLimit(Node node, int input)
        => input < 3 || input >= 3 + Range.InputNames.Count ? null : Range.LimitOf(Range.InputNames[input - 3], node.Inputs[0].Shape[1].Maximum, node.Inputs[1].Shape[-2].Maximum, node.Inputs[1].Shape[0].Maximum);

    public override void Gradient(GradientContext context)
    {
        if (context.HasCotangent(1))
        {
            throw new GraphException($"{context.Node}: the log-sum-exp has no gradient");
        }

        Value[] inputs = [context.Input(0), context.Input(1), context.Input(2), context.Output(0), context.Output(1), context.OutputCotangent(0), .. Enumerable.Range(3, Extras).Select(context.Input)];
        Value[] gradients = context.AddAll(new AttentionGradient(this), inputs);
        for (int i = 0; i < 3; i++)
        {
            context.Accumulate(i, gradients[i]);
        }

        if (HasTable)
        {
            context.Accumulate(2 + Extras, gradients[3]);
        }
    }

    /// <summary>Requires that the last of the inputs is the table that a learned bias is looked up in.</summary>
    internal void RequireBias(IReadOnlyList<TensorType> inputs)
    {
        Require(Bias is not RelativeBias { Problem: { } problem }, $"a relative bias of {(Bias as RelativeBias)?.Problem}: {Attributes}");
        Require(Bias is null || Scale != 0, $"a bias beside scores that are all zero: {Attributes}");
        Require(SoftCap == 0 || (SoftCap > 0 && Bias is null && Scale > 0), $"a cap of {SoftCap.ToString("R", CultureInfo.InvariantCulture)} on scores with a bias, or on none: {Attributes}");
        Require(!HasTable || inputs[inputs.Count - 1].Equals(TensorType.Float(Shape.Of(Bias!.TableRows, Heads))), $"the table does not fit {Attributes}: {List(inputs)}");
    }

    public override long Flops(Node node) => Flops(node, 4);

    /// <summary>So many operations for each column of each pair of a query and a key that it sees.</summary>
    internal long Flops(Node node, int each)
    {
        int keys = node.Inputs[1].Shape[-2].Maximum;
        long products = (long)each * Heads * HeadDim * node.Inputs[0].Shape.Rows.Maximum;
        return Range is { Window: null, Pattern: null } ? products * keys / (Range.IsCausal ? 2 : 1) : products * Range.KeysOfEach(keys);
    }
}

/// <summary>
/// The gradient of <see cref="Attention"/>, with probabilities computed again from the saved log-sum-exp (Dao et al.
/// 2022, algorithm 4). Inputs: q, k, v, output, log-sum-exp, the output's cotangent, and what attention takes behind q, k and v. Results: those of q, k and v and,
/// for each sequence, of a learned bias's table [B, rows, Heads].
/// </summary>
internal sealed record AttentionGradient(Attention Of) : KernelOperator
{
    /// <summary>The inputs before those that attention takes behind queries, keys and values.</summary>
    public const int Tensors = 6;

    public override string Mnemonic => "attention_gradient";

    public override IReadOnlyList<string>? ResultNames => ["q", "k", "v", "bias"];

    public override string Attributes => Of.Attributes;

    public override IReadOnlyList<TensorType> Infer(IReadOnlyList<TensorType> inputs)
    {
        Require(inputs.Count == Tensors + Of.Extras && !Of.Range.IsCached && inputs[3].Equals(inputs[0]) && inputs[5].Equals(inputs[0]), $"the inputs do not fit {Attributes}: {List(inputs)}");
        RequirePerSequence(inputs.Skip(Tensors).Take(Of.Range.InputNames.Count), inputs[0].Shape[0]);
        Of.RequireBias(inputs);
        return [.. inputs.Take(3), .. Of.HasTable ? [TensorType.Float(new Shape([inputs[0].Shape[0], .. inputs[inputs.Count - 1].Shape.Dims]))] : Array.Empty<TensorType>()];
    }

    public override int? IndexLimit(Node node, int input) => input < Tensors ? null : Of.IndexLimit(node, input - Tensors + 3);

    public override long Flops(Node node) => Of.Flops(node, 10);
}
