using System;
using System.Linq;
using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Ops;

namespace ModelGen.Compiler.Families;

/// <content>Alternating updates (AltUp: Baykal et al. 2023, as Gemma 3n has it): several residual streams, of which a block computes one, and predicts and corrects the others.</content>
internal sealed partial class DecoderBuilder
{
    // Below this, the mean square of a stream is taken for it.
    private const double LeastMeanSquare = 1e-5;

    // So that nothing has a root and a slope.
    private const double Tiny = 1e-20;

    /// <summary>The streams before the first block: the embeddings, and projections of them of the same magnitude.</summary>
    private Value[] Open(Value x) => options.Streams == 1 ? [x]
        : [x, .. Enumerable.Range(0, options.Streams - 1).Select(i => Like(x, _b.Linear($"altup_projections.{i}", x, options.Width, bias: false, _normal), $"altup_projections.{i}"))];

    /// <summary>What the streams are together behind the last block: the mean of the first and of projections of the others, of the same magnitude.</summary>
    private Value Close(Value[] streams)
    {
        Value sum = streams[0];
        for (int i = 0; i < streams.Length - 1; i++)
        {
            string name = $"altup_unembed_projections.{i}";
            sum = _b.Add(new Add(), name + ".sum", sum, Like(streams[0], _b.Linear(name, streams[i + 1], options.Width, bias: false, _normal), name));
        }

        return streams.Length == 1 ? sum : Times("altup.mean", sum, 1.0 / streams.Length);
    }

    /// <summary>Another vector in the direction of <paramref name="x"/>, whose root mean square is that of <paramref name="target"/>.</summary>
    private Value Like(Value target, Value x, string name)
    {
        Value wanted = MeanSquare(name + ".target", target);
        Value root = _b.Add(new Multiply(), name + ".target.root", wanted, _b.Add(new Rsqrt(Tiny), name + ".target.rsqrt", wanted));
        Value own = _b.Add(new Rsqrt(0), name + ".rsqrt", _b.Add(new Clamp(LeastMeanSquare, double.PositiveInfinity), name + ".magnitude", MeanSquare(name, x)));
        return _b.Add(new Multiply(), name + ".scaled", x, _b.Add(new Multiply(), name + ".factor", root, own));
    }

    private Value MeanSquare(string name, Value x) => Times(name + ".mean_square", _b.Add(new RowSum(), name + ".squares", _b.Add(new Multiply(), name + ".squared", x, x)), 1.0 / x.Shape.Columns);

    /// <summary>A block over several streams: they are predicted from each other, the block is computed of the first, and what it changed there, times numbers of their own, corrects all.</summary>
    private Value[] Alternate(int layer, Value[] streams)
    {
        int count = streams.Length;
        Value[] predicted = new Value[count], corrected = new Value[count];
        Value norm, router;
        using (_b.Scope("altup"))
        {
            norm = _b.Parameter("router_norm.weight", Shape.Of(options.Width), Initializer.Ones);
            router = _b.Parameter("modality_router.weight", Shape.Of(count, options.Width), _normal);
            Value coefficients = _b.Linear("prediction_coefs", Modalities("predict", streams[0], norm, router), count * count, bias: false, _normal);
            for (int j = 0; j < count; j++)
            {
                Value sum = streams[j];
                for (int i = 0; i < count; i++)
                {
                    sum = _b.Add(new Add(), $"predicted.{j}", sum, _b.Add(new Multiply(), $"predicted.{j}.{i}", streams[i], _b.Add(new SliceColumns((j * count) + i, 1), $"prediction.{j}.{i}", coefficients)));
                }

                predicted[j] = sum;
            }
        }

        Value activated = BlockBody(layer, predicted[0]);
        using (_b.Scope("altup"))
        {
            Value coefficients = _b.Add(new Affine(1, 1), "correction", _b.Linear("correction_coefs", Modalities("correct", activated, norm, router), count, bias: false, _normal));
            Value innovation = _b.Add(new Subtract(), "innovation", activated, predicted[0]);
            for (int j = 0; j < count; j++)
            {
                corrected[j] = _b.Add(new Add(), $"corrected.{j}", predicted[j], _b.Add(new Multiply(), $"correction.{j}", innovation, _b.Add(new SliceColumns(j, 1), $"correction.{j}.part", coefficients)));
            }
        }

        if (_perLayer is not null)
        {
            // What a layer knows of its token, let through by the first stream, is added to the others.
            Value scale = _b.Parameter("altup.correct_output_scale", Shape.Of(options.Width), Initializer.Ones);
            Value answer = PerLayerAnswer(layer, _b.Add(new Multiply(), "altup.scaled", corrected[0], scale));
            for (int j = 1; j < count; j++)
            {
                corrected[j] = _b.Add(new Add(), $"per_layer_input.residual.{j}", corrected[j], answer);
            }
        }

        return corrected;
    }

    /// <summary>What tells the streams' coefficients: tanh of a projection of a normalized stream, 1/DModel times.</summary>
    private Value Modalities(string name, Value x, Value norm, Value router)
    {
        Value normed = Times(name + ".scaled", _b.Add(new RmsNorm(options.NormEpsilon), name + ".router_norm", x, norm), 1.0 / options.Width);
        return _b.Add(new Tanh(), name + ".modalities", _b.Add(new MatMul(MatMulForm.NT), name + ".router", normed, router));
    }

    /// <summary>A learned augmented residual (LAuReL: Menghani et al. 2024): what is normalized, with a product of two narrow matrices of it.</summary>
    private Value Laurel(Value normed)
    {
        using (_b.Scope("laurel"))
        {
            Value narrow = _b.Linear("linear_left", normed, options.LaurelRank, bias: false, _normal);
            return _b.Add(new Add(), "output", normed, Norm("post_laurel_norm", _b.Linear("linear_right", narrow, options.Width, bias: false, _residual)));
        }
    }

    /// <summary>
    /// What of a gate's columns lies above a quantile of a normal distribution with their mean and deviation, and 0 of the others (Gemma 3n): a share <paramref name="sparsity"/> of them, if they are so distributed.
    /// </summary>
    private Value Sparse(string name, Value x, double sparsity)
    {
        double perColumn = 1.0 / x.Shape.Columns;
        Value mean = Times(name + ".mean", _b.Add(new RowSum(), name + ".sum", x), perColumn);
        Value centred = _b.Add(new Subtract(), name + ".centred", x, mean);
        Value variance = MeanSquare(name, centred);
        Value deviation = _b.Add(new Multiply(), name + ".deviation", variance, _b.Add(new Rsqrt(Tiny), name + ".rstd", variance));
        return _b.Add(new Relu(), name + ".sparse", _b.Add(new Subtract(), name + ".above", centred, Times(name + ".cutoff", deviation, NormalQuantile.Of(sparsity))));
    }
}
