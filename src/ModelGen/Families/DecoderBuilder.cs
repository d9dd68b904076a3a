using System;
using System.Collections.Generic;
using System.Linq;
using ModelGen.Compiler.Declarations;
using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Ops;
using ModelGen.Compiler.Programs;

namespace ModelGen.Compiler.Families;

/// <summary>The graph, for inference or for training. Parameters are named as in the Hugging Face layout of the families.</summary>
internal sealed partial class DecoderBuilder(DecoderOptions options, bool isTraining)
{
    private readonly BuildMode _mode = isTraining ? BuildMode.Training : BuildMode.Inference;
    private readonly Initializer _normal = Initializer.Normal(0.02);

    // Of what is added to the residual stream (Radford et al. 2019, section 2.3).
    private readonly Initializer _residual = Initializer.Normal(0.02 / Math.Sqrt(2.0 * options.Layers));

    private readonly GraphBuilder _b = new();

    // Of each width of heads.
    private readonly Dictionary<int, RotaryAngles?> _angles = [];

    // Of each layer, the keys and values that later ones may share.
    private readonly Dictionary<int, (Value Keys, Value Values)> _kept = [];

    // What each layer knows of a token beside the residual stream, [B, T, layers, width]; null for nothing.
    private Value? _perLayer;

    private Value[] _biases = [];

    // What is lost by unevenly used experts; null for nothing.
    private Value? _balance;

    public ModelGraph Build(Input tokenIds, Input? targetIds)
    {
        Value tokens = _b.Add(tokenIds, tokenIds.InputName);
        Value table, x;
        using (_b.Scope("model"))
        {
            table = _b.Parameter("embed_tokens.weight", Shape.Of(options.Vocabulary, options.Width), _normal);
            x = Embed(tokens, table);
            _perLayer = options.PerLayerWidth > 0 ? PerLayer(tokens, x) : null;
            Value[] streams = Open(x);
            for (int layer = 0; layer < options.Layers; layer++)
            {
                HiddenState(layer, streams[0]);
                using (_b.Scope($"layers.{layer}"))
                {
                    _b.Recomputed = options.Recompute == Recomputation.Blocks ? new Recomputed(_b.Qualify(""), 0) : default;
                    streams = options.Streams > 1 ? Alternate(layer, streams) : [Output(layer, BlockBody(layer, streams[0]))];
                }
            }

            _b.Recomputed = default;
            x = Norm("norm", Close(streams));
            HiddenState(options.Layers, x);
        }

        Value logits = Head(x, table);
        _b.Output("logits", logits);
        if (targetIds is not null)
        {
            Value targets = _b.Add(targetIds, targetIds.InputName);
            _b.Loss(_b.Add(new CrossEntropy(), "loss.rows", logits, targets), _balance);
        }

        return _b.Build();
    }

    private Value Embed(Value tokens, Value table)
    {
        Dim time = tokens.Shape[1];
        _biases = options.Attention.BiasTable(_b, options.Heads, _normal);
        Value? positions = options.Attention.PositionTable(_b, "embed_positions.weight", options.Context, options.Width);
        Value x = _b.Add(new Embedding(), positions is null && options.EmbeddingMultiplier.Equals(1) ? "embeddings" : "embed_tokens", table, tokens);
        x = Times(positions is null ? "embeddings" : "embed_tokens.scaled", x, options.EmbeddingMultiplier);
        x = positions is null ? x : _b.Add(new Add(), "embeddings", x, _b.Add(new RowsAtPosition(time), "embed_positions", positions.Value));
        x = options.EmbeddingNorm ? Norm("embed_norm", x) : x;
        foreach (int width in options.HeadWidths)
        {
            _angles[width] = options.Rotary.Angles(_b, options.Attention.Positions, time, options.Context, width, width == options.HeadWidths[0]);
        }

        return _b.Dropout("embed_dropout", x, options.Dropout, _mode);
    }

    /// <summary>
    /// Per-layer embeddings (Gemma 3n, Google DeepMind 2025): for each layer a row of a second table, √width times, and a projection of the sum of the embeddings, 1/√DModel times and normalized; together 1/√2 times.
    /// </summary>
    private Value PerLayer(Value tokens, Value x)
    {
        int width = options.PerLayerWidth, all = options.Layers * width;
        Shape each = Shape.Of(x.Shape[0], x.Shape[1], options.Layers, width);
        Value table = _b.Parameter("embed_tokens_per_layer.weight", Shape.Of(options.Vocabulary, all), _normal);
        Value rows = Times("embed_tokens_per_layer.scaled", _b.Add(new Embedding(), "embed_tokens_per_layer", table, tokens), Math.Sqrt(width));
        Value projected = Times("per_layer_model_projection.scaled", _b.Linear("per_layer_model_projection", x, all, bias: false, _normal), 1 / Math.Sqrt(options.Width));
        Value normed = Norm("per_layer_projection_norm", _b.Add(new Reshape(each), "per_layer_model_projection.layers", projected));
        return Times("per_layer", _b.Add(new Add(), "per_layer.sum", normed, _b.Add(new Reshape(each), "embed_tokens_per_layer.layers", rows)), Math.Sqrt(0.5));
    }

    /// <summary>What a layer knows of its token, let through by its own output; and the whole by a learned factor.</summary>
    private Value Output(int layer, Value x)
    {
        x = _perLayer is null ? x : Residual("per_layer_input", x, PerLayerAnswer(layer, x));
        return options.LayerScale ? _b.Add(new Multiply(), "scaled", x, _b.Parameter("layer_scalar", Shape.Of(1), Initializer.Ones)) : x;
    }

    /// <summary>What a layer knows of its token, let through by a vector.</summary>
    private Value PerLayerAnswer(int layer, Value x)
    {
        int width = options.PerLayerWidth;
        Value own = _b.Add(new SliceColumns(layer * width, width), "per_layer_input", _b.Add(new Reshape(Shape.Of(x.Shape[0], x.Shape[1], options.Layers * width)), "per_layer_inputs", _perLayer!.Value));
        Value gate = _b.Activate("per_layer_input_gate.act", _b.Linear("per_layer_input_gate", x, width, bias: false, _normal), options.Activation);
        return Norm("post_per_layer_input_norm", _b.Linear("per_layer_projection", _b.Add(new Multiply(), "per_layer_input.gated", gate, own), options.Width, bias: false, _residual));
    }

    /// <summary>The logits: scaled, and squeezed into ±cap (Gemma Team 2024, section 2).</summary>
    private Value Head(Value x, Value table)
    {
        Value logits = options.TieEmbeddings ? _b.Add(new MatMul(MatMulForm.NT), options.HeadBias ? "lm_head.product" : "lm_head", x, table)
            : _b.Linear("lm_head", x, options.Vocabulary, options.HeadBias, _normal);
        if (options is { TieEmbeddings: true, HeadBias: true })
        {
            logits = _b.Add(new Add(), "lm_head", logits, _b.Parameter("lm_head.bias", Shape.Of(options.Vocabulary), Initializer.Zeros));
        }

        double cap = options.LogitSoftCap;
        if (cap <= 0)
        {
            return Times("logits", logits, options.LogitScale);
        }

        return Times("logits", _b.Add(new Tanh(), "logits.tanh", Times("logits.scaled", logits, options.LogitScale / cap)), cap);
    }

    private Value BlockBody(int layer, Value x)
    {
        NormPlacement placement = options.NormPlacement;
        if (options.Form != BlockForm.Sequential)
        {
            Value normed = Norm("input_layernorm", x);
            Value fed = Transform(layer, options.Form == BlockForm.Parallel ? normed : Norm("post_attention_layernorm", x));
            return Residual("mlp", Residual("self_attn", x, Mix(layer, normed)), fed);
        }

        Value input = placement == NormPlacement.After ? x : Norm("input_layernorm", x);
        Value? augmented = options.LaurelRank > 0 ? Laurel(input) : null;
        Value mixed = Mix(layer, input);
        x = Residual("self_attn", x, placement == NormPlacement.Before ? mixed : Norm("post_attention_layernorm", mixed));
        x = augmented is { } laurel ? Times("laurel.residual", _b.Add(new Add(), "laurel.sum", x, laurel), Math.Sqrt(0.5)) : x;
        if (options.FeedForward == 0)
        {
            return x;
        }

        Value output = Transform(layer, placement == NormPlacement.After ? x : Norm(placement == NormPlacement.Both ? "pre_feedforward_layernorm" : "post_attention_layernorm", x));
        return Residual("mlp", x, placement == NormPlacement.Before ? output : Norm("post_feedforward_layernorm", output));
    }

    private Value Residual(string name, Value x, Value branch)
        => _b.Add(new Add(), name + ".residual", x, _b.Dropout(name + ".dropout", Times(name + ".scaled", branch, options.ResidualMultiplier), options.Dropout, _mode));

    private Value Times(string name, Value x, double factor) => factor.Equals(1) ? x : _b.Add(new Affine(factor, 0), name, x);

    private Value Norm(string name, Value x) => options.HasLayerNorm
        ? _b.LayerNorm(name, x, options.NormBias, options.NormEpsilon, options.Norm == Normalization.OffsetLayer)
        : _b.RmsNorm(name, x, options.NormEpsilon, options.Norm == Normalization.OffsetRootMeanSquare);

    private TokenMixers Mixers => new(_b, options.Mixing, options.NormEpsilon, _normal, _residual);

    private Value Mix(int layer, Value x) => options.MixerOf(layer) switch
    {
        TokenMixer.ShortConvolution => Mixers.Convolve(x),
        TokenMixer.GatedDelta => Mixers.Delta(x),
        TokenMixer.StateSpace => Mixers.StateSpace(x),
        _ => Attend(layer, x),
    };

    private Value Attend(int layer, Value x)
    {
        int headWidth = options.HeadWidthOf(layer), keyHeads = options.KeyValueHeadsOf(layer), source = options.KeysFrom(layer);
        int queries = options.Heads * headWidth, keys = keyHeads * headWidth;
        KeyRange range = options.Attention.RangeOf(layer, isCausal: true);
        using (_b.Scope("self_attn"))
        {
            Value asked = _b.Linear("q_proj", x, options.AttentionOutputGate ? 2 * queries : queries, options.QkvBias, _normal);
            Value? gate = null;
            if (options.AttentionOutputGate)
            {
                // Of each head, the query and, beside it, what its output is let through by.
                Value heads = _b.Add(new Reshape(Shape.Of(x.Shape[0], x.Shape[1], options.Heads, 2 * headWidth)), "q_proj.heads", asked);
                Value Half(string name, int first) => _b.Add(new Reshape(x.Shape.WithLast(queries)), name, _b.Add(new SliceColumns(first, headWidth), name + ".heads", heads));
                gate = _b.Add(new Sigmoid(), "gate", Half("gate.logits", headWidth));
                asked = Half("q_proj.q", 0);
            }

            Value q = NormedHeads("q_norm", asked, options.Heads);
            Value k, v;
            if (source < layer)
            {
                (k, v) = _kept[source];
                q = _angles[headWidth]?.Turn(_b, layer, range, q) ?? q;
            }
            else
            {
                k = NormedHeads("k_norm", _b.Linear("k_proj", x, keys, options.QkvBias, _normal), keyHeads);
                v = _b.Linear("v_proj", x, keys, options.QkvBias, _normal);
                v = options.ValueNorm ? HeadByHead("v_norm", v, keyHeads, heads => _b.Add(new RmsNorm(options.NormEpsilon), "v_norm", heads)) : v;
                (q, k) = _angles[headWidth]?.Turn(_b, layer, range, q, k) ?? (q, k);
                _kept[layer] = (k, v);
            }

            var op = new Attention(options.Heads, keyHeads, headWidth, options.AttentionScaleOf(layer), range)
            {
                Bias = options.Attention.BiasOf(isCausal: true),
                SoftCap = options.AttentionSoftCap,
            };
            string? weights = options.AttentionWeights && !isTraining ? CommonPrograms.AttentionWeights(Enumerable.Range(0, layer).Count(before => options.MixerOf(before) == TokenMixer.Attention)) : null;
            Value? sinks = options.AttentionSinks ? _b.Parameter("sinks", Shape.Of(options.Heads), _normal) : null;
            Value attended = _b.Attend("attention", op, [q, k, v, .. _biases], weights, options.Context, sinks);
            attended = gate is { } part ? _b.Add(new Multiply(), "attention.gated", attended, part) : attended;
            return _b.Linear("o_proj", attended, options.Width, options.OutputBias, _residual);
        }
    }

    private Value NormedHeads(string name, Value x, int heads)
    {
        switch (options.QueryKeyNorm)
        {
            case QueryKeyNorm.Whole:
                return Norm(name, x);
            case QueryKeyNorm.Head:
                return HeadByHead(name, x, heads, rows => Norm(name, rows));
            default:
                return x;
        }
    }

    private Value HeadByHead(string name, Value x, int heads, Func<Value, Value> norm)
    {
        Value rows = _b.Add(new Reshape(Shape.Of(x.Shape[0], x.Shape[1], heads, x.Shape.Columns / heads)), name + ".heads", x);
        return _b.Add(new Reshape(x.Shape), name + ".all", norm(rows));
    }

    private void HiddenState(int layer, Value value)
    {
        if (options.HiddenStates && !isTraining)
        {
            _b.Output(CommonPrograms.HiddenStates(layer), value);
        }
    }
}
