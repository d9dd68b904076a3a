using System;
using System.Linq;
using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Ops;

namespace ModelGen.Compiler.Families;

/// <summary>Building blocks that families share, in the words of the graph.</summary>
internal static class Layers
{
    /// <summary>A parameter under its full name in weight files, whatever the scope.</summary>
    public static Value Parameter(this GraphBuilder b, string name, Shape shape, Initializer initializer, bool transposedInFile = false)
        => b.Add(new Parameter(b.Qualify(name), shape, initializer, shape.Rank > 1, transposedInFile), name);

    /// <summary>y = xWᵀ + b with parameters <c>name.weight</c> [out, in] and <c>name.bias</c> [out].</summary>
    public static Value Linear(this GraphBuilder b, string name, Value x, int outputs, bool bias, Initializer weight, Initializer? biasInitializer = null, bool transposedInFile = false)
    {
        using (b.Scope(name))
        {
            Value product = b.Add(new MatMul(MatMulForm.NT), bias ? "product" : "", x, b.Parameter("weight", Shape.Of(outputs, x.Shape[-1]), weight, transposedInFile));
            return bias ? b.Add(new Add(), "", product, b.Parameter("bias", Shape.Of(outputs), biasInitializer ?? Initializer.Zeros)) : product;
        }
    }

    /// <summary>Layer normalization with parameters <c>name.weight</c> and, optionally, <c>name.bias</c>.</summary>
    public static Value LayerNorm(this GraphBuilder b, string name, Value x, bool bias, double epsilon, bool weightIsOffset = false)
    {
        using (b.Scope(name))
        {
            Value weight = b.Parameter("weight", Shape.Of(x.Shape[-1]), weightIsOffset ? Initializer.Zeros : Initializer.Ones);
            var op = new LayerNorm(epsilon, weightIsOffset);
            return bias ? b.Add(op, "", x, weight, b.Parameter("bias", Shape.Of(x.Shape[-1]), Initializer.Zeros)) : b.Add(op, "", x, weight);
        }
    }

    /// <summary>Root mean square normalization with the parameter <c>name.weight</c>, which may be what is added to 1 and is zero then at first.</summary>
    public static Value RmsNorm(this GraphBuilder b, string name, Value x, double epsilon, bool weightIsOffset = false)
    {
        using (b.Scope(name))
        {
            return b.Add(new RmsNorm(epsilon, weightIsOffset), "", x, b.Parameter("weight", Shape.Of(x.Shape[-1]), weightIsOffset ? Initializer.Zeros : Initializer.Ones));
        }
    }

    /// <summary>A causal convolution over time, of each channel by itself, with parameters <c>name.weight</c>, [channels, taps] in files, and, optionally, <c>name.bias</c>.</summary>
    public static Value CausalConvolution(this GraphBuilder b, string name, Value x, int taps, bool bias)
    {
        using (b.Scope(name))
        {
            // As PyTorch draws them: a tap in so many is what a channel sees.
            Value weight = b.Parameter("weight", Shape.Of(taps, x.Shape[-1]), Initializer.Uniform(1 / Math.Sqrt(taps)), transposedInFile: true);
            return bias ? b.Add(new CausalConvolution(), "", x, weight, b.Parameter("bias", Shape.Of(x.Shape[-1]), Initializer.Zeros)) : b.Add(new CausalConvolution(), "", x, weight);
        }
    }

    public static Value Activate(this GraphBuilder b, string name, Value x, Activation activation) => activation switch
    {
        Activation.Relu => b.Add(new Relu(), name, x),
        Activation.Gelu => b.Add(new Gelu(), name, x),
        Activation.GeluTanh => b.Add(new GeluTanh(), name, x),
        Activation.Tanh => b.Add(new Tanh(), name, x),
        Activation.Sigmoid => b.Add(new Sigmoid(), name, x),
        Activation.Silu => b.Add(new Silu(), name, x),
        Activation.Elu => b.Add(new Elu(), name, x),
        Activation.Softmax => b.Add(new Softmax(), name, x),
        Activation.ReluSquared => Squared(b, name, b.Add(new Relu(), name + ".relu", x)),
        Activation.QuickGelu => b.Add(new QuickGelu(), name, x),
        Activation.Identity => x,
        _ => throw new ArgumentOutOfRangeException(nameof(activation)),
    };

    private static Value Squared(GraphBuilder b, string name, Value x) => b.Add(new Multiply(), name, x, x);

    /// <summary>
    /// Dropout in a training graph; otherwise nothing. Its random stream follows from its name, so that a change elsewhere in the model
    /// changes no mask.
    /// </summary>
    public static Value Dropout(this GraphBuilder b, string name, Value x, double probability, BuildMode mode)
        => mode == BuildMode.Training && probability > 0 ? b.Add(new Dropout(probability, (int)(StableHash.Of(b.Qualify(name)) & int.MaxValue)), name, x) : x;

    /// <summary>Attention [B, T, heads · columns]; its weights are an output too, where one is named.</summary>
    /// <param name="b">The graph.</param>
    /// <param name="name">The node's name.</param>
    /// <param name="attention">The attention.</param>
    /// <param name="inputs">Queries, keys and values, what the range asks for, and the table of a learned bias.</param>
    /// <param name="weights">The name of the weights' output; null for none.</param>
    /// <param name="keys">The most keys that there can be, which weights have a column for each of.</param>
    /// <param name="sinks">The score of each head's sink; null for none.</param>
    public static Value Attend(this GraphBuilder b, string name, Attention attention, Value[] inputs, string? weights = null, int keys = 0, Value? sinks = null)
    {
        Value[] results = b.AddMany(attention, name, inputs);
        results = sinks is { } scores ? b.AddMany(new AttentionSinks(attention), name + ".output", [results[0], results[1], scores, .. inputs]) : results;
        if (weights is not null)
        {
            b.Output(weights, b.Add(new AttentionWeights(attention with { HasSinks = sinks is not null }, keys), name + ".weights", [inputs[0], inputs[1], results[1], .. inputs.Skip(3)]));
        }

        return results[0];
    }

    /// <summary>
    /// The mean of each sequence's rows, x [B, T, C] and lengths i32 [B] to [B, C], without padding: a sum by a mask or, where T varies, attention of
    /// a query of zeros, which scores all keys alike. A sequence of length zero gives zeros.
    /// </summary>
    public static Value MeanOverLengths(this GraphBuilder b, string name, Value x, Value lengths, int heads)
    {
        Shape one = Shape.Of(x.Shape[0], 1, x.Shape[-1]), result = Shape.Of(x.Shape[0], x.Shape[-1]);
        if (x.Shape[1].IsLiteral)
        {
            int steps = x.Shape[1].Maximum;
            Value mask = b.Add(new LengthMask(steps), name + ".mask", lengths);
            Value present = b.Add(new Multiply(), name + ".present", x, b.Add(new Reshape(Shape.Of(x.Shape[0], steps, 1)), name + ".mask.steps", mask));
            Value sum = b.Add(new Reshape(result), name + ".sum", b.Add(new ColumnSum(one), name + ".sums", present));
            return b.Add(new Divide(), name, sum, b.Add(new Affine(1, 1e-30), name + ".length", b.Add(new RowSum(), name + ".steps", mask)));
        }

        var mean = new Attention(heads, heads, x.Shape.Columns / heads, 1, KeyRange.All with { HasKeyLengths = true });
        Value pooled = b.Add(mean, name, b.Add(new Constant(0, one), name + ".query"), x, x, lengths);
        return b.Add(new Reshape(result), name, pooled);
    }

    /// <summary>Each row divided by its Euclidean norm.</summary>
    public static Value Normalize(this GraphBuilder b, string name, Value x)
    {
        Value squares = b.Add(new RowSum(), name + ".sum", b.Add(new Multiply(), name + ".squares", x, x));
        return b.Add(new Multiply(), name, x, b.Add(new Rsqrt(1e-24), name + ".factor", squares));
    }

    /// <summary>What a step minimizes, the mean of the rows' losses over the targets that count and what is added to it, [1, 1], and what an evaluation adds up, the rows' losses.</summary>
    public static void Loss(this GraphBuilder b, Value rows, Value? penalty = null)
    {
        b.Output("losses", rows);
        Value mean = b.Add(new MeanLoss(), penalty is null ? "loss" : "loss.mean", rows);
        b.Output("loss", penalty is { } added ? b.Add(new Add(), "loss", mean, added) : mean);
    }
}
