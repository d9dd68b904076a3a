using System.Globalization;

namespace ModelGen.Runtime;

/// <summary>What becomes of a tensor's elements between a GGUF file and a Hugging Face checkpoint.</summary>
internal enum TensorChange
{
    /// <summary>Nothing.</summary>
    None,

    /// <summary>Rows of query heads change between the orders of <see cref="RotaryRows"/>.</summary>
    QueryRows,

    /// <summary>The same of key heads.</summary>
    KeyRows,

    /// <summary>The matrix is transposed: GPT-2's Conv1D.</summary>
    Transposed,

    /// <summary>Scales of a norm are 1 larger in the GGUF file: Gemma's checkpoints hold them less 1.</summary>
    LessOne,

    /// <summary>Rates of forgetting are −eˣ in the GGUF file.</summary>
    Rates,

    /// <summary>Rates of forgetting, [heads] in checkpoints, are −eˣ and a column [heads, 1] in the GGUF file.</summary>
    RateColumn,

    /// <summary>One number for each head: [heads] in checkpoints, [heads, 1] in GGUF files.</summary>
    Column,

    /// <summary>Scales of a norm of groups: [channels] in checkpoints, a row for each group in GGUF files.</summary>
    Groups,

    /// <summary>Rows of all heads' queries, then of their keys, then of their values, in GGUF files; of each head all three in checkpoints: GPT-NeoX's. Only written.</summary>
    HeadsOfThree,

    /// <summary>A convolution of each channel by itself: [channels, 1, taps] in checkpoints, [channels, taps] in GGUF files.</summary>
    Channels,
}

/// <summary>
/// The names of tensors in GGUF files and in Hugging Face checkpoints, by the architecture that a GGUF file names. A # stands for the number of a block.
/// </summary>
internal sealed class HuggingFaceNames
{
    private static readonly (string Gguf, string HuggingFace)[] s_llama =
    [
        ("token_embd", "model.embed_tokens"),
        ("output_norm", "model.norm"),
        ("output", "lm_head"),
        ("blk.#.attn_norm", "model.layers.#.input_layernorm"),
        ("blk.#.attn_q", "model.layers.#.self_attn.q_proj"),
        ("blk.#.attn_k", "model.layers.#.self_attn.k_proj"),
        ("blk.#.attn_v", "model.layers.#.self_attn.v_proj"),
        ("blk.#.attn_output", "model.layers.#.self_attn.o_proj"),
        ("blk.#.attn_q_norm", "model.layers.#.self_attn.q_norm"),
        ("blk.#.attn_k_norm", "model.layers.#.self_attn.k_norm"),
        ("blk.#.ffn_gate", "model.layers.#.mlp.gate_proj"),
        ("blk.#.ffn_up", "model.layers.#.mlp.up_proj"),
        ("blk.#.ffn_down", "model.layers.#.mlp.down_proj"),
    ];

    // Transformers keeps the experts of a layer as one tensor each since version 5, as GGUF does.
    private static readonly (string Gguf, string HuggingFace)[] s_experts =
    [
        ("blk.#.ffn_gate_inp", "model.layers.#.mlp.gate"),
        ("blk.#.ffn_gate_exps", "model.layers.#.mlp.experts.gate_proj"),
        ("blk.#.ffn_up_exps", "model.layers.#.mlp.experts.up_proj"),
        ("blk.#.ffn_down_exps", "model.layers.#.mlp.experts.down_proj"),
        ("blk.#.ffn_gate_inp_shexp", "model.layers.#.mlp.shared_expert_gate"),
        ("blk.#.ffn_gate_shexp", "model.layers.#.mlp.shared_expert.gate_proj"),
        ("blk.#.ffn_up_shexp", "model.layers.#.mlp.shared_expert.up_proj"),
        ("blk.#.ffn_down_shexp", "model.layers.#.mlp.shared_expert.down_proj"),
    ];

    // What Mixtral's checkpoints call experts.
    private static readonly (string Gguf, string HuggingFace)[] s_mixtral =
    [
        ("blk.#.ffn_gate_inp", "model.layers.#.block_sparse_moe.gate"),
        ("blk.#.ffn_gate_exps", "model.layers.#.block_sparse_moe.experts.w1"),
        ("blk.#.ffn_up_exps", "model.layers.#.block_sparse_moe.experts.w3"),
        ("blk.#.ffn_down_exps", "model.layers.#.block_sparse_moe.experts.w2"),
    ];

    // Projections of one input are one matrix.
    private static readonly (string Gguf, string HuggingFace)[] s_phi3 =
    [
        .. s_llama.Filter(static pair => pair.Gguf is not ("blk.#.attn_q" or "blk.#.attn_k" or "blk.#.attn_v" or "blk.#.ffn_gate" or "blk.#.ffn_up")),
        ("blk.#.attn_qkv", "model.layers.#.self_attn.qkv_proj"),
        ("blk.#.ffn_up", "model.layers.#.mlp.gate_up_proj"),
    ];

    private static readonly (string Gguf, string HuggingFace)[] s_gptNeoX =
    [
        .. s_llama.Filter(static pair => pair.Gguf is not ("blk.#.attn_q" or "blk.#.attn_k" or "blk.#.attn_v" or "blk.#.attn_q_norm" or "blk.#.attn_k_norm" or "blk.#.ffn_gate")),
        ("blk.#.attn_qkv", "model.layers.#.self_attn.qkv_proj"),
    ];

    // What its checkpoints call the same.
    private static readonly (string Gguf, string HuggingFace)[] s_gptNeoXOwn =
    [
        ("token_embd", "gpt_neox.embed_in"),
        ("output_norm", "gpt_neox.final_layer_norm"),
        ("output", "embed_out"),
        ("blk.#.attn_norm", "gpt_neox.layers.#.input_layernorm"),
        ("blk.#.ffn_norm", "gpt_neox.layers.#.post_attention_layernorm"),
        ("blk.#.attn_qkv", QueryKeyValue),
        ("blk.#.attn_output", "gpt_neox.layers.#.attention.dense"),
        ("blk.#.ffn_up", "gpt_neox.layers.#.mlp.dense_h_to_4h"),
        ("blk.#.ffn_down", "gpt_neox.layers.#.mlp.dense_4h_to_h"),
    ];

    // Of each head, the rows of its query, its key and its value.
    private const string QueryKeyValue = "gpt_neox.layers.#.attention.query_key_value";

    private static readonly string[] s_byHeads = [QueryKeyValue, "transformer.h.#.self_attention.query_key_value"];

    // What is the same in models with one matrix for queries, keys and values and a plain feed-forward network, by our own names.
    private static readonly (string Gguf, string HuggingFace)[] s_bloom = [.. s_gptNeoX, ("token_embd_norm", "model.embed_norm")];

    private static readonly (string Gguf, string HuggingFace)[] s_bloomOwn =
    [
        ("token_embd", "transformer.word_embeddings"),
        ("token_embd_norm", "transformer.word_embeddings_layernorm"),
        ("output_norm", "transformer.ln_f"),
        ("blk.#.attn_norm", "transformer.h.#.input_layernorm"),
        ("blk.#.ffn_norm", "transformer.h.#.post_attention_layernorm"),
        ("blk.#.attn_qkv", "transformer.h.#.self_attention.query_key_value"),
        ("blk.#.attn_output", "transformer.h.#.self_attention.dense"),
        ("blk.#.ffn_up", "transformer.h.#.mlp.dense_h_to_4h"),
        ("blk.#.ffn_down", "transformer.h.#.mlp.dense_4h_to_h"),
    ];

    private static readonly (string Gguf, string HuggingFace)[] s_mptOwn =
    [
        ("token_embd", "transformer.wte"),
        ("output_norm", "transformer.norm_f"),
        ("blk.#.attn_norm", "transformer.blocks.#.norm_1"),
        ("blk.#.ffn_norm", "transformer.blocks.#.norm_2"),
        ("blk.#.attn_output", "transformer.blocks.#.attn.out_proj"),
        ("blk.#.ffn_up", "transformer.blocks.#.ffn.up_proj"),
        ("blk.#.ffn_down", "transformer.blocks.#.ffn.down_proj"),
    ];

    // Older files of Phi-2 have one matrix for queries, keys and values.
    private static readonly (string Gguf, string HuggingFace)[] s_phi2 = [.. s_llama, ("blk.#.attn_qkv", "model.layers.#.self_attn.qkv_proj")];

    private static readonly (string Gguf, string HuggingFace)[] s_phi2Own =
    [
        ("output_norm", "model.final_layernorm"),
        ("blk.#.attn_output", "model.layers.#.self_attn.dense"),
        ("blk.#.ffn_up", "model.layers.#.mlp.fc1"),
        ("blk.#.ffn_down", "model.layers.#.mlp.fc2"),
    ];

    private static readonly (string Gguf, string HuggingFace)[] s_after =
    [
        ("blk.#.post_attention_norm", "model.layers.#.post_attention_layernorm"),
        ("blk.#.post_ffw_norm", "model.layers.#.post_feedforward_layernorm"),
    ];

    private static readonly (string Name, string[] Parts) s_joinedMpt = (".self_attn.qkv_proj", [".attn.q_proj", ".attn.k_proj", ".attn.v_proj"]);

    private static readonly (string Name, string[] Parts) s_joinedAttention = (".self_attn.qkv_proj", [".self_attn.q_proj", ".self_attn.k_proj", ".self_attn.v_proj"]);

    private static readonly (string Name, string[] Parts) s_joinedGates = (".mlp.gate_up_proj", [".mlp.gate_proj", ".mlp.up_proj"]);

    private static readonly (string Gguf, string HuggingFace)[] s_preNorm = [("blk.#.ffn_norm", "model.layers.#.post_attention_layernorm")];

    private static readonly (string Gguf, string HuggingFace)[] s_sandwich =
    [
        ("blk.#.post_attention_norm", "model.layers.#.post_attention_layernorm"),
        ("blk.#.ffn_norm", "model.layers.#.pre_feedforward_layernorm"),
        ("blk.#.post_ffw_norm", "model.layers.#.post_feedforward_layernorm"),
    ];

    private static readonly (string Gguf, string HuggingFace)[] s_gpt2 =
    [
        ("token_embd", "transformer.wte"),
        ("position_embd", "transformer.wpe"),
        ("output_norm", "transformer.ln_f"),
        ("output", "lm_head"),
        ("blk.#.attn_norm", "transformer.h.#.ln_1"),
        ("blk.#.attn_qkv", "transformer.h.#.attn.c_attn"),
        ("blk.#.attn_output", "transformer.h.#.attn.c_proj"),
        ("blk.#.ffn_norm", "transformer.h.#.ln_2"),
        ("blk.#.ffn_up", "transformer.h.#.mlp.c_fc"),
        ("blk.#.ffn_down", "transformer.h.#.mlp.c_proj"),
    ];

    private static readonly (string Gguf, string HuggingFace)[] s_lfm2 =
    [
        ("token_embd", "model.embed_tokens"),
        ("token_embd_norm", "model.embedding_norm"),
        ("output", "lm_head"),
        ("blk.#.attn_norm", "model.layers.#.operator_norm"),
        ("blk.#.attn_q", "model.layers.#.self_attn.q_proj"),
        ("blk.#.attn_k", "model.layers.#.self_attn.k_proj"),
        ("blk.#.attn_v", "model.layers.#.self_attn.v_proj"),
        ("blk.#.attn_output", "model.layers.#.self_attn.out_proj"),
        ("blk.#.attn_q_norm", "model.layers.#.self_attn.q_layernorm"),
        ("blk.#.attn_k_norm", "model.layers.#.self_attn.k_layernorm"),
        ("blk.#.shortconv.in_proj", "model.layers.#.conv.in_proj"),
        ("blk.#.shortconv.conv", "model.layers.#.conv.conv"),
        ("blk.#.shortconv.out_proj", "model.layers.#.conv.out_proj"),
        ("blk.#.ffn_norm", "model.layers.#.ffn_norm"),
        ("blk.#.ffn_gate", "model.layers.#.feed_forward.w1"),
        ("blk.#.ffn_up", "model.layers.#.feed_forward.w3"),
        ("blk.#.ffn_down", "model.layers.#.feed_forward.w2"),
    ];

    // What models of this library call the same.
    private static readonly (string Gguf, string HuggingFace)[] s_lfm2Own =
    [
        ("token_embd_norm", "model.norm"),
        .. s_llama.Filter(static pair => pair.Gguf is "blk.#.attn_norm" or "blk.#.attn_output" or "blk.#.attn_q_norm" or "blk.#.attn_k_norm" or "blk.#.ffn_gate" or "blk.#.ffn_up" or "blk.#.ffn_down"),
        ("blk.#.ffn_norm", "model.layers.#.post_attention_layernorm"),
    ];

    // Two of them are called so as a whole, without a word for what they are behind it.
    private static readonly (string Gguf, string HuggingFace)[] s_gatedDelta =
    [
        ("blk.#.post_attention_norm", "model.layers.#.post_attention_layernorm"),
        ("blk.#.attn_qkv", "model.layers.#.linear_attn.in_proj_qkv"),
        ("blk.#.attn_gate", "model.layers.#.linear_attn.in_proj_z"),
        ("blk.#.ssm_beta", "model.layers.#.linear_attn.in_proj_b"),
        ("blk.#.ssm_alpha", "model.layers.#.linear_attn.in_proj_a"),
        ("blk.#.ssm_conv1d", "model.layers.#.linear_attn.conv1d"),
        ("blk.#.ssm_a", "model.layers.#.linear_attn.A_log"),
        ("blk.#.ssm_dt.bias", "model.layers.#.linear_attn.dt_bias"),
        ("blk.#.ssm_norm", "model.layers.#.linear_attn.norm"),
        ("blk.#.ssm_out", "model.layers.#.linear_attn.out_proj"),
    ];

    private static readonly (string Gguf, string HuggingFace)[] s_bert =
    [
        ("token_embd", "bert.embeddings.word_embeddings"),
        ("position_embd", "bert.embeddings.position_embeddings"),
        ("token_types", "bert.embeddings.token_type_embeddings"),
        ("token_embd_norm", "bert.embeddings.LayerNorm"),
        ("blk.#.attn_q", "bert.encoder.layer.#.attention.self.query"),
        ("blk.#.attn_k", "bert.encoder.layer.#.attention.self.key"),
        ("blk.#.attn_v", "bert.encoder.layer.#.attention.self.value"),
        ("blk.#.attn_output", "bert.encoder.layer.#.attention.output.dense"),
        ("blk.#.attn_output_norm", "bert.encoder.layer.#.attention.output.LayerNorm"),
        ("blk.#.ffn_up", "bert.encoder.layer.#.intermediate.dense"),
        ("blk.#.ffn_down", "bert.encoder.layer.#.output.dense"),
        ("blk.#.layer_output_norm", "bert.encoder.layer.#.output.LayerNorm"),
    ];

    // Projections of one input are one matrix, and a gate and what it lets through are two.
    private static readonly (string Gguf, string HuggingFace)[] s_nomicBert =
    [
        .. s_bert.Filter(static pair => pair.Gguf is not ("blk.#.attn_q" or "blk.#.attn_k" or "blk.#.attn_v" or "blk.#.ffn_up")),
        ("blk.#.attn_qkv", "bert.encoder.layer.#.attention.self.qkv"),
        ("blk.#.ffn_gate", "bert.encoder.layer.#.intermediate.gate"),
        ("blk.#.ffn_up", "bert.encoder.layer.#.intermediate.up"),
    ];

    private static readonly (string Gguf, string HuggingFace)[] s_modernBert =
    [
        ("token_embd", "model.embeddings.tok_embeddings"),
        ("token_embd_norm", "model.embeddings.norm"),
        ("output_norm", "model.final_norm"),
        ("blk.#.attn_norm", "model.layers.#.attn_norm"),
        ("blk.#.attn_qkv", "model.layers.#.attn.Wqkv"),
        ("blk.#.attn_output", "model.layers.#.attn.Wo"),
        ("blk.#.ffn_norm", "model.layers.#.mlp_norm"),
        ("blk.#.ffn_up", "model.layers.#.mlp.Wi"),
        ("blk.#.ffn_down", "model.layers.#.mlp.Wo"),
    ];

    private static readonly (string Gguf, string HuggingFace)[] s_stateSpace =
    [
        ("blk.#.ssm_in", "model.layers.#.mamba.in_proj"),
        ("blk.#.ssm_conv1d", "model.layers.#.mamba.conv1d"),
        ("blk.#.ssm_a", "model.layers.#.mamba.A_log"),
        ("blk.#.ssm_d", "model.layers.#.mamba.D"),
        ("blk.#.ssm_dt.bias", "model.layers.#.mamba.dt_bias"),
        ("blk.#.ssm_norm", "model.layers.#.mamba.norm"),
        ("blk.#.ssm_out", "model.layers.#.mamba.out_proj"),
    ];

    private static readonly (string Gguf, string HuggingFace)[] s_mamba2 =
    [
        ("token_embd", "backbone.embeddings"),
        ("output_norm", "backbone.norm_f"),
        ("output", "lm_head"),
        ("blk.#.attn_norm", "backbone.layers.#.norm"),
        .. s_stateSpace.Map(static pair => (pair.Gguf, pair.HuggingFace.Replace("model.layers.#.mamba.", "backbone.layers.#.mixer.", StringComparison.Ordinal))),
    ];

    // Two of them are called so as a whole, as above.
    private static readonly (string Gguf, string HuggingFace)[] s_gemma4 =
    [
        ("per_layer_token_embd", "model.embed_tokens_per_layer"),
        ("per_layer_model_proj", "model.per_layer_model_projection"),
        ("per_layer_proj_norm", "model.per_layer_projection_norm"),
        ("blk.#.inp_gate", "model.layers.#.per_layer_input_gate"),
        ("blk.#.proj", "model.layers.#.per_layer_projection"),
        ("blk.#.post_norm", "model.layers.#.post_per_layer_input_norm"),
        ("blk.#.layer_output_scale.weight", "model.layers.#.layer_scalar"),
    ];

    // One tensor for all streams but the first, where checkpoints have a matrix for each.
    private static readonly (string Gguf, string HuggingFace)[] s_gemma3n =
    [
        .. s_gemma4.Filter(static pair => pair.Gguf != "blk.#.layer_output_scale.weight"),
        ("altup_proj", "model.altup_projections"),
        ("altup_unembd_proj", "model.altup_unembed_projections"),
        ("blk.#.altup_correct_coef", "model.layers.#.altup.correction_coefs"),
        ("blk.#.altup_correct_scale.weight", "model.layers.#.altup.correct_output_scale"),
        ("blk.#.altup_predict_coef", "model.layers.#.altup.prediction_coefs"),
        ("blk.#.altup_router", "model.layers.#.altup.modality_router"),
        ("blk.#.altup_router_norm", "model.layers.#.altup.router_norm"),
        ("blk.#.laurel_l", "model.layers.#.laurel.linear_left"),
        ("blk.#.laurel_r", "model.layers.#.laurel.linear_right"),
        ("blk.#.laurel_post_norm", "model.layers.#.laurel.post_laurel_norm"),
    ];

    private static readonly (string Gguf, string HuggingFace)[] s_gptOss =
    [
        ("blk.#.post_attention_norm", "model.layers.#.post_attention_layernorm"),
        ("blk.#.attn_sinks.weight", "model.layers.#.self_attn.sinks"),
    ];

    private static readonly HuggingFaceNames s_none = new([], _ => TensorChange.None);

    private static readonly Dictionary<string, HuggingFaceNames> s_architectures = new(StringComparer.Ordinal)
    {
        ["llama"] = new([.. s_llama, .. s_preNorm, .. s_experts], RotaryChange) { Others = s_mixtral },
        ["granite"] = new([.. s_llama, .. s_preNorm], RotaryChange),
        ["granitemoe"] = new([.. s_llama, .. s_preNorm, .. s_experts], RotaryChange),
        ["olmoe"] = new([.. s_llama, .. s_preNorm, .. s_experts], static _ => TensorChange.None),
        ["phi3"] = new([.. s_phi3, .. s_preNorm], static _ => TensorChange.None) { Joins = [s_joinedAttention, s_joinedGates] },
        ["gptneox"] = new([.. s_gptNeoX, .. s_preNorm], static _ => TensorChange.None)
        {
            Others = s_gptNeoXOwn,
            Joins = [s_joinedAttention],

            // Masks and angles, which older checkpoints hold.
            LeftOutEnds = [".attention.bias", ".attention.masked_bias", ".attention.rotary_emb.inv_freq"],
        },
        ["phi2"] = new(s_phi2, static _ => TensorChange.None) { Others = s_phi2Own },
        ["stablelm"] = new([.. s_llama, .. s_preNorm], static _ => TensorChange.None),
        ["command-r"] = new([.. s_llama, .. s_preNorm], static _ => TensorChange.None),
        ["cohere2"] = new([.. s_llama, .. s_preNorm], static _ => TensorChange.None),
        ["nemotron"] = new([.. s_llama, .. s_preNorm], GemmaChange),
        ["mpt"] = new([.. s_gptNeoX, .. s_preNorm], static _ => TensorChange.None)
        {
            Others = [.. s_mptOwn, ("blk.#.attn_qkv", "transformer.blocks.#.attn.Wqkv"), ("blk.#.attn_qkv", "transformer.blocks.#.self_attn.qkv_proj")],
            Joins = [s_joinedAttention, s_joinedMpt],
        },
        ["bloom"] = new([.. s_bloom, .. s_preNorm], static _ => TensorChange.None) { Others = s_bloomOwn, Joins = [s_joinedAttention], Bare = "transformer." },
        ["olmo2"] = new([.. s_llama, .. s_after], static _ => TensorChange.None),
        ["smollm3"] = new([.. s_llama, .. s_preNorm], RotaryChange),
        ["minicpm"] = new([.. s_llama, .. s_preNorm], RotaryChange),
        ["qwen2moe"] = new([.. s_llama, .. s_preNorm, .. s_experts], static _ => TensorChange.None),
        ["qwen2"] = new([.. s_llama, .. s_preNorm], static _ => TensorChange.None),
        ["qwen3"] = new([.. s_llama, .. s_preNorm], static _ => TensorChange.None),
        ["qwen3moe"] = new([.. s_llama, .. s_preNorm, .. s_experts], static _ => TensorChange.None),
        ["gemma"] = new([.. s_llama, .. s_preNorm], GemmaChange),
        ["gemma2"] = new([.. s_llama, .. s_sandwich], GemmaChange),
        ["gemma3"] = new([.. s_llama, .. s_sandwich], GemmaChange),
        ["lfm2"] = new(s_lfm2, static stem => stem == "blk.#.shortconv.conv" ? TensorChange.Channels : TensorChange.None) { Others = s_lfm2Own },
        ["qwen35"] = new([.. s_llama, .. s_gatedDelta], static stem => stem switch
        {
            "blk.#.ssm_conv1d" => TensorChange.Channels,
            "blk.#.ssm_a" => TensorChange.Rates,
            "blk.#.ssm_norm" => TensorChange.None,
            _ => GemmaChange(stem),
        }),
        ["mamba2"] = new(s_mamba2, StateSpaceChange) { Others = [.. s_stateSpace, ("token_embd", "model.embed_tokens"), ("output_norm", "model.norm"), ("blk.#.attn_norm", "model.layers.#.input_layernorm")] },
        ["granitehybrid"] = new([.. s_llama, .. s_preNorm, .. s_experts, .. s_stateSpace], StateSpaceChange),
        ["gemma4"] = new([.. s_llama, .. s_sandwich, .. s_gemma4], static _ => TensorChange.None),
        ["gemma3n"] = new([.. s_llama, .. s_sandwich, .. s_gemma3n], static _ => TensorChange.None) { Stacks = [".altup_projections.", ".altup_unembed_projections."] },
        ["gpt-oss"] = new([.. s_llama, .. s_gptOss, .. s_experts], static _ => TensorChange.None) { Others = [("blk.#.ffn_gate_inp", "model.layers.#.mlp.router")] },
        ["gpt2"] = new(s_gpt2, static stem => stem is "blk.#.attn_qkv" or "blk.#.attn_output" or "blk.#.ffn_up" or "blk.#.ffn_down" ? TensorChange.Transposed : TensorChange.None),
        ["bert"] = new(s_bert, static _ => TensorChange.None)
        {
            Prefix = "bert.",

            // A GGUF file of an encoder is one for embeddings: it has neither a pooler nor heads.
            LeftOut = ["bert.pooler.", "bert.embeddings.position_ids", "bert.embeddings.token_type_ids", "bert.cls."],
        },
        ["nomic-bert"] = new(s_nomicBert, static _ => TensorChange.None)
        {
            Prefix = "bert.",
            LeftOut = ["bert.pooler.", "bert.cls."],
            Splits = [(".intermediate.dense", [".intermediate.gate", ".intermediate.up"])],
            Joins = [(".attention.self.qkv", [".attention.self.query", ".attention.self.key", ".attention.self.value"])],
        },
        ["modern-bert"] = new(s_modernBert, static _ => TensorChange.None)
        {
            Prefix = "model.",
            LeftOut = ["model.head.", "model.decoder.", "model.classifier."],
        },
    };

    private readonly Dictionary<string, string> _toHuggingFace;
    private readonly Dictionary<string, string> _toGguf;
    private readonly Func<string, TensorChange> _change;

    private HuggingFaceNames((string Gguf, string HuggingFace)[] names, Func<string, TensorChange> change)
    {
        _toHuggingFace = names.ToTable(static pair => pair.Gguf, static pair => pair.HuggingFace);
        _toGguf = names.ToTable(static pair => pair.HuggingFace, static pair => pair.Gguf);
        _change = change;
    }

    /// <summary>What checkpoints may leave out before every name.</summary>
    private string Prefix { get; init; } = "";

    /// <summary>What is one tensor in GGUF files and may be several in checkpoints: names without the layer and the kind.</summary>
    public IReadOnlyList<(string Name, string[] Parts)> Joins { get; private init; } = [];

    /// <summary>What is several tensors in GGUF files and one in checkpoints, as many rows of each.</summary>
    public IReadOnlyList<(string Name, string[] Parts)> Splits { get; private init; } = [];

    /// <summary>What stands before the numbers of matrices that are one tensor in GGUF files and one each in checkpoints.</summary>
    public IReadOnlyList<string> Stacks { get; private init; } = [];

    /// <summary>Other names in checkpoints of what a GGUF file calls so.</summary>
    private (string Gguf, string HuggingFace)[] Others
    {
        init
        {
            foreach ((string gguf, string name) in value)
            {
                _toGguf.Add(name, gguf);
            }
        }
    }

    /// <summary>What some checkpoints leave out before all of their own names.</summary>
    private string Bare { get; init; } = "";

    /// <summary>What the names end with of such tensors.</summary>
    private IReadOnlyList<string> LeftOutEnds { get; init; } = [];

    /// <summary>What the names begin with of tensors that checkpoints have and GGUF files do not.</summary>
    private IReadOnlyList<string> LeftOut { get; init; } = [];

    /// <summary>Whether the names of an architecture are known.</summary>
    public static bool Knows(string architecture) => s_architectures.ContainsKey(architecture);

    /// <summary>The names of an architecture; of one that is not known, names stay what they are.</summary>
    public static HuggingFaceNames Of(string architecture) => s_architectures.GetValueOrDefault(architecture, s_none);

    /// <summary>The name in a checkpoint of what a GGUF file calls so, and what becomes of it. A name that is not known stays.</summary>
    public (string Name, TensorChange Change) ToHuggingFace(string name) => Translate(name, _toHuggingFace, stem => stem);

    /// <summary>The name in a GGUF file of what a checkpoint calls so, and what became of it. A name that is not known stays.</summary>
    public (string Name, TensorChange Change) ToGguf(string name)
    {
        bool isOfHeads = false;
        foreach (string whole in Bare.Length > 0 ? (string[])[Whole(name), Bare + name] : [Whole(name)])
        {
            (string found, TensorChange change) = Translate(whole, _toGguf, stem =>
            {
                isOfHeads = Array.IndexOf(s_byHeads, stem) >= 0;
                return _toGguf[stem];
            });
            if (found != whole)
            {
                return (found, isOfHeads ? TensorChange.HeadsOfThree : change);
            }
        }

        return (name, TensorChange.None);
    }

    /// <summary>Whether a tensor of a checkpoint has no place in GGUF files and is needed for nothing that they are for.</summary>
    public bool IsLeftOut(string name) => LeftOut.Has(start => Whole(name).StartsWith(start, StringComparison.Ordinal)) || LeftOutEnds.Has(end => name.EndsWith(end, StringComparison.Ordinal));

    private string Whole(string name) => name.StartsWith(Prefix, StringComparison.Ordinal) ? name : Prefix + name;

    private static TensorChange GemmaChange(string stem) => stem.EndsWith("norm", StringComparison.Ordinal) ? TensorChange.LessOne : TensorChange.None;

    private static TensorChange RotaryChange(string stem) => stem switch
    {
        "blk.#.attn_q" => TensorChange.QueryRows,
        "blk.#.attn_k" => TensorChange.KeyRows,
        _ => TensorChange.None,
    };

    private static TensorChange StateSpaceChange(string stem) => stem switch
    {
        "blk.#.attn_q" => TensorChange.QueryRows,
        "blk.#.attn_k" => TensorChange.KeyRows,
        "blk.#.ssm_conv1d" => TensorChange.Channels,
        "blk.#.ssm_a" => TensorChange.RateColumn,
        "blk.#.ssm_d" => TensorChange.Column,
        "blk.#.ssm_norm" => TensorChange.Groups,
        _ => TensorChange.None,
    };

    private (string Name, TensorChange Change) Translate(string name, Dictionary<string, string> names, Func<string, string> ggufStem)
    {
        if (Find(name) is ({ } whole, { } wholeStem))
        {
            return (whole, _change(ggufStem(wholeStem)));
        }

        int dot = name.LastIndexOf('.');
        if (dot < 0 || name[dot..] is not (".weight" or ".bias") || Find(name[..dot]) is not ({ } other, { } stem))
        {
            return (name, TensorChange.None);
        }

        bool isBias = name.EndsWith(".bias", StringComparison.Ordinal);
        TensorChange change = _change(ggufStem(stem));
        return (other + name[dot..], change is TensorChange.Transposed or TensorChange.LessOne or TensorChange.Channels && isBias ? TensorChange.None : change);

        // The other name, and the name that it is known by.
        (string? Name, string? Stem) Find(string of)
        {
            // The number of a block, if there is one, is the first part that consists of digits.
            string[] parts = of.Split('.');
            int block = Array.FindIndex(parts, static part => part.Length is > 0 and < 10 && !part.AsSpan().ContainsAnyExceptInRange('0', '9'));
            string number = block < 0 ? "" : parts[block];
            if (block >= 0)
            {
                parts[block] = "#";
            }

            string known = string.Join('.', parts);
            return names.TryGetValue(known, out string? found) && (block < 0 || number == int.Parse(number, CultureInfo.InvariantCulture).ToString(CultureInfo.InvariantCulture))
                ? (found.Replace("#", number, StringComparison.Ordinal), known)
                : (null, null);
        }
    }
}
