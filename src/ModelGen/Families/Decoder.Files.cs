using System;
using System.Collections.Generic;
using System.Linq;
using ModelGen.Compiler.Declarations;
using ModelGen.Compiler.Programs;

namespace ModelGen.Compiler.Families;

/// <content>What files record of a declaration, and what they call parameters.</content>
internal sealed partial class Decoder
{
    private static FileConventions Files(DecoderOptions options) => new(
    [
        FileOption.Of("Layers", options.Layers),
        FileOption.Of("DModel", options.Width),
        FileOption.Of("Heads", options.Heads),
        FileOption.Of("KeyValueHeads", options.KeyValueHeads),
        FileOption.Of("HeadWidth", options.HeadWidth),
        FileOption.Of("Vocab", options.Vocabulary),
        FileOption.Of("Context", options.Context) with { IsLimit = options.Attention.ContextIsLimit },
        FileOption.Of("FeedForward", options.FeedForward),
        FileOption.Of("Activation", options.Activation),
        FileOption.Of("GatedFeedForward", options.GatedFeedForward),
        FileOption.Of("TieEmbeddings", options.TieEmbeddings),
        FileOption.Of("QkvBias", options.QkvBias),
        FileOption.Of("OutputBias", options.OutputBias),
        FileOption.Of("FeedForwardBias", options.FeedForwardBias),
        FileOption.Of("HeadBias", options.HeadBias),
        FileOption.Of("Norm", options.Norm),
        FileOption.Of("NormPlacement", options.NormPlacement),
        FileOption.Of("NormEpsilon", options.NormEpsilon),
        .. options.HasLayerNorm ? [FileOption.Of("NormBias", options.NormBias)] : Array.Empty<FileOption>(),
        .. options.EmbeddingNorm ? [FileOption.Of("EmbeddingNorm", true) with { Absent = "false" }] : Array.Empty<FileOption>(),
        .. options.AttentionOutputGate ? [FileOption.Of("AttentionOutputGate", true) with { Absent = "false" }] : Array.Empty<FileOption>(),
        .. options.AttentionSinks ? [FileOption.Of("AttentionSinks", true) with { Absent = "false" }] : Array.Empty<FileOption>(),
        .. options.ValueNorm ? [FileOption.Of("ValueNorm", true) with { Absent = "false" }] : Array.Empty<FileOption>(),
        .. options.GateLimit > 0 ? [FileOption.Of("GateLimit", options.GateLimit) with { Absent = "0" }] : Array.Empty<FileOption>(),
        .. options.UpOffset.Equals(0) ? Array.Empty<FileOption>() : [FileOption.Of("UpOffset", options.UpOffset) with { Absent = "0" }],
        .. options.LayerScale ? [FileOption.Of("LayerScale", true) with { Absent = "false" }] : Array.Empty<FileOption>(),
        .. options.LayerHeadWidths.Count > 0 ? [FileOption.Of("LayerHeadWidths", options.LayerHeadWidths) with { Absent = "" }] : Array.Empty<FileOption>(),
        .. options.LayerKeyValueHeads.Count > 0 ? [FileOption.Of("LayerKeyValueHeads", options.LayerKeyValueHeads) with { Absent = "" }] : Array.Empty<FileOption>(),
        .. options.LayerFeedForward.Count > 0 ? [FileOption.Of("LayerFeedForward", options.LayerFeedForward) with { Absent = "" }] : Array.Empty<FileOption>(),
        .. options.SharedKeyValueLayers > 0 ? [FileOption.Of("SharedKeyValueLayers", options.SharedKeyValueLayers) with { Absent = "0" }] : Array.Empty<FileOption>(),
        .. options.PerLayerWidth > 0 ? [FileOption.Of("PerLayerWidth", options.PerLayerWidth) with { Absent = "0" }] : Array.Empty<FileOption>(),
        .. options.Streams > 1 ? [FileOption.Of("Streams", options.Streams) with { Absent = "1" }] : Array.Empty<FileOption>(),
        .. options.LaurelRank > 0 ? [FileOption.Of("LaurelRank", options.LaurelRank) with { Absent = "0" }] : Array.Empty<FileOption>(),
        .. options.LayerSparsity.Any(share => share > 0) ? [FileOption.Of("LayerSparsity", options.LayerSparsity) with { Absent = "" }] : Array.Empty<FileOption>(),
        .. options.Mixing.Files,
        .. options.Experts > 0
            ?
            [
                FileOption.Of("Experts", options.Experts) with { Absent = "0" },
                FileOption.Of("ActiveExperts", options.ActiveExperts),
                FileOption.Of("NormalizeExperts", options.NormalizeExperts),
                .. options.RouterBias ? [FileOption.Of("RouterBias", true) with { Absent = "false" }] : Array.Empty<FileOption>(),
                FileOption.Of("SharedFeedForward", options.SharedFeedForward),
                FileOption.Of("SharedExpertGate", options.SharedExpertGate),
                FileOption.Of("BalanceLoss", options.BalanceLoss) with { TrainingOnly = true },
            ]
            : Array.Empty<FileOption>(),
        FileOption.Of("QueryKeyNorm", options.QueryKeyNorm),
        FileOption.Of("Form", options.Form),
        FileOption.Of("AttentionScale", options.AttentionScale),
        FileOption.Of("AttentionSoftCap", options.AttentionSoftCap),
        FileOption.Of("EmbeddingMultiplier", options.EmbeddingMultiplier),
        FileOption.Of("ResidualMultiplier", options.ResidualMultiplier),
        FileOption.Of("LogitScale", options.LogitScale),
        FileOption.Of("LogitSoftCap", options.LogitSoftCap),
        .. options.Attention.Files,
        .. options.Attention.Positions == PositionEncoding.Rotary ? options.Rotary.Files : [],
        FileOption.Of("Dropout", options.Dropout) with { TrainingOnly = true },
    ])
    {
        Family = DecoderPreset.Plain.Name,
        OptionalPrefixes = ["model."],
        Aliases = [.. options.TieEmbeddings ? [("lm_head.weight", "model.embed_tokens.weight")] : Array.Empty<(string, string)>(), .. options.Mixing.Mixes(TokenMixer.ShortConvolution) ? ConvolutionNames(options) : [], .. StateSpaceNames(options), .. options is { Experts: > 0, GatedFeedForward: true } ? ExpertNames(options) : [], .. options is { Experts: > 0, RouterBias: true } ? RouterNames(options) : [], .. IsNeoX(options) ? NeoXNames(options) : [], .. OtherNames(options)],

        // What older files hold of rotary positions, which the declaration says.
        Buffers =
        [
            ("model.layers.#.self_attn.rotary_emb.inv_freq", 1),
            .. SharedKeys(options),
            .. IsGptJ(options) ? [("transformer.h.#.attn.bias", 4), ("transformer.h.#.attn.masked_bias", 0)] : Array.Empty<(string, int)>(),
            .. IsNeoX(options) ? [("gpt_neox.layers.#.attention.rotary_emb.inv_freq", 1), ("gpt_neox.layers.#.attention.bias", 4), ("gpt_neox.layers.#.attention.masked_bias", 0)] : Array.Empty<(string, int)>(),
        ],
    };

    /// <summary>What files of Gemma 3n hold of keys and values in layers that take those of earlier ones, and nothing is computed with.</summary>
    private static IEnumerable<(string Pattern, int Rank)> SharedKeys(DecoderOptions options)
        => Enumerable.Range(0, Math.Max(0, options.Layers)).Where(layer => layer >= options.Layers - options.SharedKeyValueLayers)
            .SelectMany(layer => new[] { ("k_proj.weight", 2), ("v_proj.weight", 2), ("k_norm.weight", 1) }.Select(tensor => ($"model.layers.{layer}.self_attn.{tensor.Item1}", tensor.Item2)));

    /// <summary>What Mixtral's files call experts.</summary>
    private static IEnumerable<(string Name, string Parameter)> ExpertNames(DecoderOptions options)
    {
        (string Theirs, string Ours)[] names = [("gate", "gate"), ("experts.w1", "experts.gate_proj"), ("experts.w3", "experts.up_proj"), ("experts.w2", "experts.down_proj")];
        return Enumerable.Range(0, options.Layers).SelectMany(layer => names.Select(name => ($"model.layers.{layer}.block_sparse_moe.{name.Theirs}.weight", $"model.layers.{layer}.mlp.{name.Ours}.weight")));
    }

    /// <summary>What the files of models of state spaces alone, Mamba-2's, call parameters otherwise.</summary>
    private static IEnumerable<(string Name, string Parameter)> StateSpaceNames(DecoderOptions options)
    {
        if (options is not { FeedForward: 0, NormPlacement: NormPlacement.Before, Form: BlockForm.Sequential })
        {
            yield break;
        }

        yield return ("backbone.embeddings.weight", "model.embed_tokens.weight");
        yield return ("backbone.embedding.weight", "model.embed_tokens.weight");
        yield return ("backbone.norm_f.weight", "model.norm.weight");
        string[] all = ["in_proj.weight", "conv1d.weight", "dt_bias", "A_log", "D", "norm.weight", "out_proj.weight", .. options.Mixing.ConvolutionBias ? ["conv1d.bias"] : Array.Empty<string>(), .. options.Mixing.StateBias ? ["in_proj.bias", "out_proj.bias"] : Array.Empty<string>()];
        for (int layer = 0; layer < options.Layers; layer++)
        {
            yield return ($"backbone.layers.{layer}.norm.weight", $"model.layers.{layer}.input_layernorm.weight");
            foreach (string name in all)
            {
                yield return ($"backbone.layers.{layer}.mixer.{name}", $"model.layers.{layer}.mamba.{name}");
            }
        }
    }

    /// <summary>Whether it has the parts of GPT-NeoX (Black et al. 2022), whatever their sizes.</summary>
    private static bool IsNeoX(DecoderOptions options)
        => options is
        {
            Norm: Normalization.Layer, NormBias: true, NormPlacement: NormPlacement.Before, Form: BlockForm.ParallelTwoNorms or BlockForm.Sequential, GatedFeedForward: false, QkvBias: true, OutputBias: true, FeedForwardBias: true, HeadBias: false,
            Experts: 0, QueryKeyNorm: QueryKeyNorm.None,
        }
            && options.AttentionLayers == options.Layers && options.KeyValueHeads == options.Heads;

    /// <summary>What its files call parameters. Of one matrix for queries, keys and values, a view gives the three.</summary>
    private static IEnumerable<(string Name, string Parameter)> NeoXNames(DecoderOptions options)
    {
        yield return ("gpt_neox.embed_in.weight", "model.embed_tokens.weight");
        yield return ("embed_out.weight", options.TieEmbeddings ? "model.embed_tokens.weight" : "lm_head.weight");
        (string Theirs, string Ours)[] names =
        [
            ("input_layernorm", "input_layernorm"), ("post_attention_layernorm", "post_attention_layernorm"), ("attention.q_proj", "self_attn.q_proj"), ("attention.k_proj", "self_attn.k_proj"), ("attention.v_proj", "self_attn.v_proj"),
            ("attention.dense", "self_attn.o_proj"), ("mlp.dense_h_to_4h", "mlp.up_proj"), ("mlp.dense_4h_to_h", "mlp.down_proj"),
        ];
        foreach (string kind in new[] { "weight", "bias" })
        {
            yield return ($"gpt_neox.final_layer_norm.{kind}", $"model.norm.{kind}");
            for (int layer = 0; layer < options.Layers; layer++)
            {
                foreach ((string theirs, string ours) in names)
                {
                    yield return ($"gpt_neox.layers.{layer}.{theirs}.{kind}", $"model.layers.{layer}.{ours}.{kind}");
                }
            }
        }
    }

    /// <summary>Whether it has a plain feed-forward network behind or beside attention in every layer, and layer norms.</summary>
    private static bool IsPlain(DecoderOptions options)
        => options is { Norm: Normalization.Layer, NormPlacement: NormPlacement.Before, GatedFeedForward: false, Experts: 0, QueryKeyNorm: QueryKeyNorm.None } && options.AttentionLayers == options.Layers;

    /// <summary>Whether it has the parts of GPT-J (Wang and Komatsuzaki 2021), whatever their sizes.</summary>
    private static bool IsGptJ(DecoderOptions options) => IsPlain(options) && options is { Form: BlockForm.Parallel, QkvBias: false, FeedForwardBias: true };

    /// <summary>What files of Phi-1.5 and 2, of GPT-J, of BLOOM and of MPT call parameters: stems, each with what it is called here.</summary>
    private static IEnumerable<(string Name, string Parameter)> OtherNames(DecoderOptions options)
    {
        if (!IsPlain(options))
        {
            return [];
        }

        if (options is { Form: BlockForm.Parallel, QkvBias: true })
        {
            return Stems(options, "model.layers.", [("model.final_layernorm", "model.norm")], [("self_attn.dense", "self_attn.o_proj"), ("mlp.fc1", "mlp.up_proj"), ("mlp.fc2", "mlp.down_proj")]);
        }

        if (IsGptJ(options))
        {
            return Stems(options, "transformer.h.", [("transformer.wte", "model.embed_tokens"), ("transformer.ln_f", "model.norm")],
                [("ln_1", "input_layernorm"), ("attn.q_proj", "self_attn.q_proj"), ("attn.k_proj", "self_attn.k_proj"), ("attn.v_proj", "self_attn.v_proj"), ("attn.out_proj", "self_attn.o_proj"), ("mlp.fc_in", "mlp.up_proj"), ("mlp.fc_out", "mlp.down_proj")]);
        }

        if (options is { Form: BlockForm.Sequential, Attention.Positions: PositionEncoding.Alibi, EmbeddingNorm: true })
        {
            // With what transformers puts in front of all names, and without.
            return new[] { "transformer.", "" }.SelectMany(prefix => Stems(options, prefix + "h.", [(prefix + "word_embeddings", "model.embed_tokens"), (prefix + "word_embeddings_layernorm", "model.embed_norm"), (prefix + "ln_f", "model.norm")],
                [
                    ("input_layernorm", "input_layernorm"), ("self_attention.q_proj", "self_attn.q_proj"), ("self_attention.k_proj", "self_attn.k_proj"), ("self_attention.v_proj", "self_attn.v_proj"), ("self_attention.dense", "self_attn.o_proj"),
                    ("post_attention_layernorm", "post_attention_layernorm"), ("mlp.dense_h_to_4h", "mlp.up_proj"), ("mlp.dense_4h_to_h", "mlp.down_proj"),
                ]));
        }

        return options is { Form: BlockForm.Sequential, Attention.Positions: PositionEncoding.Alibi }
            ? Stems(options, "transformer.blocks.", [("transformer.wte", "model.embed_tokens"), ("transformer.norm_f", "model.norm")],
                [
                    ("norm_1", "input_layernorm"), ("attn.q_proj", "self_attn.q_proj"), ("attn.k_proj", "self_attn.k_proj"), ("attn.v_proj", "self_attn.v_proj"), ("attn.out_proj", "self_attn.o_proj"),
                    ("norm_2", "post_attention_layernorm"), ("ffn.up_proj", "mlp.up_proj"), ("ffn.down_proj", "mlp.down_proj"),
                ])
            : [];
    }

    /// <summary>Names of weights and of biases, where there are any.</summary>
    private static IEnumerable<(string Name, string Parameter)> Stems(DecoderOptions options, string blocks, (string Theirs, string Ours)[] ends, (string Theirs, string Ours)[] ofBlocks)
    {
        bool Has(string stem, string kind) => kind == "weight" || (stem.Contains("norm") ? options.NormBias
            : stem.EndsWith("embed_tokens", StringComparison.Ordinal) ? false
            : stem.StartsWith("mlp.", StringComparison.Ordinal) ? options.FeedForwardBias
            : stem == "self_attn.o_proj" ? options.OutputBias : options.QkvBias);
        foreach (string kind in new[] { "weight", "bias" })
        {
            foreach ((string theirs, string ours) in ends.Where(pair => Has(pair.Ours, kind)))
            {
                yield return ($"{theirs}.{kind}", $"{ours}.{kind}");
            }

            foreach ((string theirs, string ours) in ofBlocks.Where(pair => Has(pair.Ours, kind)))
            {
                for (int layer = 0; layer < options.Layers; layer++)
                {
                    yield return ($"{blocks}{layer}.{theirs}.{kind}", $"model.layers.{layer}.{ours}.{kind}");
                }
            }
        }
    }

    /// <summary>What files of gpt-oss call what chooses experts.</summary>
    private static IEnumerable<(string Name, string Parameter)> RouterNames(DecoderOptions options)
        => Enumerable.Range(0, options.Layers).SelectMany(layer => new[] { "weight", "bias" }.Select(kind => ($"model.layers.{layer}.mlp.router.{kind}", $"model.layers.{layer}.mlp.gate.{kind}")));

    /// <summary>What the files of models with short convolutions call parameters otherwise.</summary>
    private static IEnumerable<(string Name, string Parameter)> ConvolutionNames(DecoderOptions options)
    {
        (string Theirs, string Ours)[] all = [("operator_norm", "input_layernorm"), ("ffn_norm", "post_attention_layernorm"), ("feed_forward.w1", "mlp.gate_proj"), ("feed_forward.w3", "mlp.up_proj"), ("feed_forward.w2", "mlp.down_proj")];
        (string Theirs, string Ours)[] attention = [("self_attn.out_proj", "self_attn.o_proj"), ("self_attn.q_layernorm", "self_attn.q_norm"), ("self_attn.k_layernorm", "self_attn.k_norm")];
        if (options is not { NormPlacement: NormPlacement.Before, Form: BlockForm.Sequential, Norm: Normalization.RootMeanSquare, GatedFeedForward: true, QueryKeyNorm: QueryKeyNorm.Head, OutputBias: false, FeedForwardBias: false })
        {
            yield break;
        }

        yield return ("model.embedding_norm.weight", "model.norm.weight");
        for (int layer = 0; layer < options.Layers; layer++)
        {
            foreach ((string theirs, string ours) in options.MixerOf(layer) == TokenMixer.Attention ? all.Concat(attention) : all)
            {
                yield return ($"model.layers.{layer}.{theirs}.weight", $"model.layers.{layer}.{ours}.weight");
            }
        }
    }
}
