using System.Globalization;
using System.Text;

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
    // Words by twos: the names in GGUF files, and those in checkpoints. As bytes, of which those of one architecture are read, they take a published program less than code that makes tables of
    // strings.
    private static ReadOnlySpan<byte> Ends => """
        token_embd model.embed_tokens
        output_norm model.norm
        output lm_head
        """u8;

    private static ReadOnlySpan<byte> Block => """
        blk.#.attn_norm model.layers.#.input_layernorm
        blk.#.attn_output model.layers.#.self_attn.o_proj
        blk.#.ffn_down model.layers.#.mlp.down_proj
        """u8;

    private static ReadOnlySpan<byte> Projections => """
        blk.#.attn_q model.layers.#.self_attn.q_proj
        blk.#.attn_k model.layers.#.self_attn.k_proj
        blk.#.attn_v model.layers.#.self_attn.v_proj
        """u8;

    private static ReadOnlySpan<byte> HeadNorms => """
        blk.#.attn_q_norm model.layers.#.self_attn.q_norm
        blk.#.attn_k_norm model.layers.#.self_attn.k_norm
        """u8;

    private static ReadOnlySpan<byte> Gate => """
        blk.#.ffn_gate model.layers.#.mlp.gate_proj
        """u8;

    private static ReadOnlySpan<byte> Up => """
        blk.#.ffn_up model.layers.#.mlp.up_proj
        """u8;

    // Transformers keeps the experts of a layer as one tensor each since version 5, as GGUF does.
    private static ReadOnlySpan<byte> Experts => """
        blk.#.ffn_gate_inp model.layers.#.mlp.gate
        blk.#.ffn_gate_exps model.layers.#.mlp.experts.gate_proj
        blk.#.ffn_up_exps model.layers.#.mlp.experts.up_proj
        blk.#.ffn_down_exps model.layers.#.mlp.experts.down_proj
        blk.#.ffn_gate_inp_shexp model.layers.#.mlp.shared_expert_gate
        blk.#.ffn_gate_shexp model.layers.#.mlp.shared_expert.gate_proj
        blk.#.ffn_up_shexp model.layers.#.mlp.shared_expert.up_proj
        blk.#.ffn_down_shexp model.layers.#.mlp.shared_expert.down_proj
        """u8;

    // What Mixtral's checkpoints call experts.
    private static ReadOnlySpan<byte> MixtralExperts => """
        blk.#.ffn_gate_inp model.layers.#.block_sparse_moe.gate
        blk.#.ffn_gate_exps model.layers.#.block_sparse_moe.experts.w1
        blk.#.ffn_up_exps model.layers.#.block_sparse_moe.experts.w3
        blk.#.ffn_down_exps model.layers.#.block_sparse_moe.experts.w2
        """u8;

    // Projections of one input are one matrix.
    private static ReadOnlySpan<byte> FusedProjections => """
        blk.#.attn_qkv model.layers.#.self_attn.qkv_proj
        """u8;

    private static ReadOnlySpan<byte> FusedGates => """
        blk.#.ffn_up model.layers.#.mlp.gate_up_proj
        """u8;

    // What the checkpoints of GPT-NeoX call what models here have by Llama's names, and those of others below.
    private static ReadOnlySpan<byte> GptNeoX => """
        token_embd gpt_neox.embed_in
        output_norm gpt_neox.final_layer_norm
        output embed_out
        blk.#.attn_norm gpt_neox.layers.#.input_layernorm
        blk.#.ffn_norm gpt_neox.layers.#.post_attention_layernorm
        blk.#.attn_qkv gpt_neox.layers.#.attention.query_key_value
        blk.#.attn_output gpt_neox.layers.#.attention.dense
        blk.#.ffn_up gpt_neox.layers.#.mlp.dense_h_to_4h
        blk.#.ffn_down gpt_neox.layers.#.mlp.dense_4h_to_h
        """u8;

    private static ReadOnlySpan<byte> EmbeddingNorm => """
        token_embd_norm model.embed_norm
        """u8;

    private static ReadOnlySpan<byte> Bloom => """
        token_embd transformer.word_embeddings
        token_embd_norm transformer.word_embeddings_layernorm
        output_norm transformer.ln_f
        blk.#.attn_norm transformer.h.#.input_layernorm
        blk.#.ffn_norm transformer.h.#.post_attention_layernorm
        blk.#.attn_qkv transformer.h.#.self_attention.query_key_value
        blk.#.attn_output transformer.h.#.self_attention.dense
        blk.#.ffn_up transformer.h.#.mlp.dense_h_to_4h
        blk.#.ffn_down transformer.h.#.mlp.dense_4h_to_h
        """u8;

    private static ReadOnlySpan<byte> Mpt => """
        token_embd transformer.wte
        output_norm transformer.norm_f
        blk.#.attn_norm transformer.blocks.#.norm_1
        blk.#.ffn_norm transformer.blocks.#.norm_2
        blk.#.attn_output transformer.blocks.#.attn.out_proj
        blk.#.ffn_up transformer.blocks.#.ffn.up_proj
        blk.#.ffn_down transformer.blocks.#.ffn.down_proj
        blk.#.attn_qkv transformer.blocks.#.attn.Wqkv
        blk.#.attn_qkv transformer.blocks.#.self_attn.qkv_proj
        """u8;

    private static ReadOnlySpan<byte> Phi2 => """
        output_norm model.final_layernorm
        blk.#.attn_output model.layers.#.self_attn.dense
        blk.#.ffn_up model.layers.#.mlp.fc1
        blk.#.ffn_down model.layers.#.mlp.fc2
        """u8;

    private static ReadOnlySpan<byte> NormsAfter => """
        blk.#.post_attention_norm model.layers.#.post_attention_layernorm
        blk.#.post_ffw_norm model.layers.#.post_feedforward_layernorm
        """u8;

    private static ReadOnlySpan<byte> NormsBefore => """
        blk.#.ffn_norm model.layers.#.post_attention_layernorm
        """u8;

    private static ReadOnlySpan<byte> NormsAround => """
        blk.#.post_attention_norm model.layers.#.post_attention_layernorm
        blk.#.ffn_norm model.layers.#.pre_feedforward_layernorm
        blk.#.post_ffw_norm model.layers.#.post_feedforward_layernorm
        """u8;

    private static ReadOnlySpan<byte> Gpt2 => """
        token_embd transformer.wte
        position_embd transformer.wpe
        output_norm transformer.ln_f
        output lm_head
        blk.#.attn_norm transformer.h.#.ln_1
        blk.#.attn_qkv transformer.h.#.attn.c_attn
        blk.#.attn_output transformer.h.#.attn.c_proj
        blk.#.ffn_norm transformer.h.#.ln_2
        blk.#.ffn_up transformer.h.#.mlp.c_fc
        blk.#.ffn_down transformer.h.#.mlp.c_proj
        """u8;

    private static ReadOnlySpan<byte> Lfm2 => """
        token_embd model.embed_tokens
        token_embd_norm model.embedding_norm
        output lm_head
        blk.#.attn_norm model.layers.#.operator_norm
        blk.#.attn_q model.layers.#.self_attn.q_proj
        blk.#.attn_k model.layers.#.self_attn.k_proj
        blk.#.attn_v model.layers.#.self_attn.v_proj
        blk.#.attn_output model.layers.#.self_attn.out_proj
        blk.#.attn_q_norm model.layers.#.self_attn.q_layernorm
        blk.#.attn_k_norm model.layers.#.self_attn.k_layernorm
        blk.#.shortconv.in_proj model.layers.#.conv.in_proj
        blk.#.shortconv.conv model.layers.#.conv.conv
        blk.#.shortconv.out_proj model.layers.#.conv.out_proj
        blk.#.ffn_norm model.layers.#.ffn_norm
        blk.#.ffn_gate model.layers.#.feed_forward.w1
        blk.#.ffn_up model.layers.#.feed_forward.w3
        blk.#.ffn_down model.layers.#.feed_forward.w2
        """u8;

    // What models of this library call the same, beside Llama's names.
    private static ReadOnlySpan<byte> Lfm2Here => """
        token_embd_norm model.norm
        blk.#.ffn_norm model.layers.#.post_attention_layernorm
        """u8;

    // Two of them are called so as a whole, without a word for what they are behind it.
    private static ReadOnlySpan<byte> GatedDelta => """
        blk.#.post_attention_norm model.layers.#.post_attention_layernorm
        blk.#.attn_qkv model.layers.#.linear_attn.in_proj_qkv
        blk.#.attn_gate model.layers.#.linear_attn.in_proj_z
        blk.#.ssm_beta model.layers.#.linear_attn.in_proj_b
        blk.#.ssm_alpha model.layers.#.linear_attn.in_proj_a
        blk.#.ssm_conv1d model.layers.#.linear_attn.conv1d
        blk.#.ssm_a model.layers.#.linear_attn.A_log
        blk.#.ssm_dt.bias model.layers.#.linear_attn.dt_bias
        blk.#.ssm_norm model.layers.#.linear_attn.norm
        blk.#.ssm_out model.layers.#.linear_attn.out_proj
        """u8;

    private static ReadOnlySpan<byte> Bert => """
        token_embd bert.embeddings.word_embeddings
        position_embd bert.embeddings.position_embeddings
        token_types bert.embeddings.token_type_embeddings
        token_embd_norm bert.embeddings.LayerNorm
        blk.#.attn_output bert.encoder.layer.#.attention.output.dense
        blk.#.attn_output_norm bert.encoder.layer.#.attention.output.LayerNorm
        blk.#.ffn_down bert.encoder.layer.#.output.dense
        blk.#.layer_output_norm bert.encoder.layer.#.output.LayerNorm
        """u8;

    private static ReadOnlySpan<byte> BertProjections => """
        blk.#.attn_q bert.encoder.layer.#.attention.self.query
        blk.#.attn_k bert.encoder.layer.#.attention.self.key
        blk.#.attn_v bert.encoder.layer.#.attention.self.value
        blk.#.ffn_up bert.encoder.layer.#.intermediate.dense
        """u8;

    private static ReadOnlySpan<byte> BertGate => "blk.#.ffn_gate bert.encoder.layer.#.intermediate.gate"u8;

    // Projections of one input are one matrix, and a gate and what it lets through are two.
    private static ReadOnlySpan<byte> NomicBert => """
        blk.#.attn_qkv bert.encoder.layer.#.attention.self.qkv
        blk.#.ffn_gate bert.encoder.layer.#.intermediate.gate
        blk.#.ffn_up bert.encoder.layer.#.intermediate.up
        """u8;

    private static ReadOnlySpan<byte> ModernBert => """
        token_embd model.embeddings.tok_embeddings
        token_embd_norm model.embeddings.norm
        output_norm model.final_norm
        blk.#.attn_norm model.layers.#.attn_norm
        blk.#.attn_qkv model.layers.#.attn.Wqkv
        blk.#.attn_output model.layers.#.attn.Wo
        blk.#.ffn_norm model.layers.#.mlp_norm
        blk.#.ffn_up model.layers.#.mlp.Wi
        blk.#.ffn_down model.layers.#.mlp.Wo
        """u8;

    private static ReadOnlySpan<byte> StateSpace => """
        blk.#.ssm_in model.layers.#.mamba.in_proj
        blk.#.ssm_conv1d model.layers.#.mamba.conv1d
        blk.#.ssm_a model.layers.#.mamba.A_log
        blk.#.ssm_d model.layers.#.mamba.D
        blk.#.ssm_dt.bias model.layers.#.mamba.dt_bias
        blk.#.ssm_norm model.layers.#.mamba.norm
        blk.#.ssm_out model.layers.#.mamba.out_proj
        """u8;

    private static ReadOnlySpan<byte> Mamba2 => """
        token_embd backbone.embeddings
        output_norm backbone.norm_f
        output lm_head
        blk.#.attn_norm backbone.layers.#.norm
        blk.#.ssm_in backbone.layers.#.mixer.in_proj
        blk.#.ssm_conv1d backbone.layers.#.mixer.conv1d
        blk.#.ssm_a backbone.layers.#.mixer.A_log
        blk.#.ssm_d backbone.layers.#.mixer.D
        blk.#.ssm_dt.bias backbone.layers.#.mixer.dt_bias
        blk.#.ssm_norm backbone.layers.#.mixer.norm
        blk.#.ssm_out backbone.layers.#.mixer.out_proj
        """u8;

    // What models of this library call the same, beside what a mixer has.
    private static ReadOnlySpan<byte> Mamba2Here => """
        token_embd model.embed_tokens
        output_norm model.norm
        blk.#.attn_norm model.layers.#.input_layernorm
        """u8;

    private static ReadOnlySpan<byte> LayerEmbeddings => """
        per_layer_token_embd model.embed_tokens_per_layer
        per_layer_model_proj model.per_layer_model_projection
        per_layer_proj_norm model.per_layer_projection_norm
        blk.#.inp_gate model.layers.#.per_layer_input_gate
        blk.#.proj model.layers.#.per_layer_projection
        blk.#.post_norm model.layers.#.post_per_layer_input_norm
        """u8;

    // Called so as a whole, as above.
    private static ReadOnlySpan<byte> LayerScale => """
        blk.#.layer_output_scale.weight model.layers.#.layer_scalar
        """u8;

    // One tensor for all streams but the first, where checkpoints have a matrix for each.
    private static ReadOnlySpan<byte> Gemma3n => """
        altup_proj model.altup_projections
        altup_unembd_proj model.altup_unembed_projections
        blk.#.altup_correct_coef model.layers.#.altup.correction_coefs
        blk.#.altup_correct_scale.weight model.layers.#.altup.correct_output_scale
        blk.#.altup_predict_coef model.layers.#.altup.prediction_coefs
        blk.#.altup_router model.layers.#.altup.modality_router
        blk.#.altup_router_norm model.layers.#.altup.router_norm
        blk.#.laurel_l model.layers.#.laurel.linear_left
        blk.#.laurel_r model.layers.#.laurel.linear_right
        blk.#.laurel_post_norm model.layers.#.laurel.post_laurel_norm
        """u8;

    private static ReadOnlySpan<byte> GptOss => """
        blk.#.post_attention_norm model.layers.#.post_attention_layernorm
        blk.#.attn_sinks.weight model.layers.#.self_attn.sinks
        """u8;

    private static ReadOnlySpan<byte> GptOssRouter => """
        blk.#.ffn_gate_inp model.layers.#.mlp.router
        """u8;

    // Of each head, the rows of its query, its key and its value.
    private static readonly string[] s_byHeads = ["gpt_neox.layers.#.attention.query_key_value", "transformer.h.#.self_attention.query_key_value"];

    private static readonly HuggingFaceNames s_none = new("");

    // The names that were asked for last: a file has one architecture.
    private static HuggingFaceNames s_last = s_none;

    private readonly Dictionary<string, string> _toHuggingFace = new(StringComparer.Ordinal);
    private readonly Dictionary<string, string> _toGguf = new(StringComparer.Ordinal);
    private readonly string _architecture;
    private readonly Changes _changes;

    private HuggingFaceNames(string architecture, Changes changes = Changes.None)
    {
        _architecture = architecture;
        _changes = changes;
    }

    /// <summary>Which tensors an architecture's files hold otherwise than checkpoints.</summary>
    private enum Changes
    {
        None,
        Rotary,
        Gemma,
        ShortConvolution,
        GatedDelta,
        StateSpace,
        Transposed,
    }

    /// <summary>What checkpoints may leave out before every name.</summary>
    private string Prefix { get; init; } = "";

    /// <summary>What is one tensor in GGUF files and may be several in checkpoints: names without the layer and the kind.</summary>
    public IReadOnlyList<(string Name, string[] Parts)> Joins { get; private init; } = [];

    /// <summary>What is several tensors in GGUF files and one in checkpoints, as many rows of each.</summary>
    public IReadOnlyList<(string Name, string[] Parts)> Splits { get; private init; } = [];

    /// <summary>What stands before the numbers of matrices that are one tensor in GGUF files and one each in checkpoints.</summary>
    public IReadOnlyList<string> Stacks { get; private init; } = [];

    /// <summary>What some checkpoints leave out before all of their own names.</summary>
    private string Bare { get; init; } = "";

    /// <summary>What the names end with of such tensors.</summary>
    private IReadOnlyList<string> LeftOutEnds { get; init; } = [];

    /// <summary>What the names begin with of tensors that checkpoints have and GGUF files do not.</summary>
    private IReadOnlyList<string> LeftOut { get; init; } = [];

    private static (string Name, string[] Parts) JoinedAttention => (".self_attn.qkv_proj", [".self_attn.q_proj", ".self_attn.k_proj", ".self_attn.v_proj"]);

    /// <summary>Whether the names of an architecture are known.</summary>
    public static bool Knows(string architecture) => !ReferenceEquals(Of(architecture), s_none);

    /// <summary>The names of an architecture; of one that is not known, names stay what they are.</summary>
    public static HuggingFaceNames Of(string architecture)
    {
        HuggingFaceNames last = Volatile.Read(ref s_last);
        if (last._architecture == architecture)
        {
            return last;
        }

        HuggingFaceNames? names = Made(architecture);
        if (names is null)
        {
            return s_none;
        }

        Volatile.Write(ref s_last, names);
        return names;
    }

    private static HuggingFaceNames? Made(string architecture)
    {
        switch (architecture)
        {
            case "llama":
                return Llama(architecture, Changes.Rotary).And(NormsBefore).And(Experts).Or(MixtralExperts);
            case "granite" or "smollm3" or "minicpm":
                return Llama(architecture, Changes.Rotary).And(NormsBefore);
            case "granitemoe":
                return Llama(architecture, Changes.Rotary).And(NormsBefore).And(Experts);
            case "olmoe" or "qwen2moe" or "qwen3moe":
                return Llama(architecture).And(NormsBefore).And(Experts);
            case "qwen2" or "qwen3" or "stablelm" or "command-r" or "cohere2":
                return Llama(architecture).And(NormsBefore);
            case "nemotron" or "gemma":
                return Llama(architecture, Changes.Gemma).And(NormsBefore);
            case "gemma2" or "gemma3":
                return Llama(architecture, Changes.Gemma).And(NormsAround);
            case "olmo2":
                return Llama(architecture).And(NormsAfter);
            case "phi3":
                return new HuggingFaceNames(architecture) { Joins = [JoinedAttention, (".mlp.gate_up_proj", [".mlp.gate_proj", ".mlp.up_proj"])] }
                    .And(Ends).And(Block).And(HeadNorms).And(FusedProjections).And(FusedGates).And(NormsBefore);
            case "gptneox":
                // Masks and angles, which older checkpoints hold, are left out.
                return Plain(new HuggingFaceNames(architecture) { Joins = [JoinedAttention], LeftOutEnds = [".attention.bias", ".attention.masked_bias", ".attention.rotary_emb.inv_freq"] }).Or(GptNeoX);
            case "mpt":
                return Plain(new HuggingFaceNames(architecture) { Joins = [JoinedAttention, (".self_attn.qkv_proj", [".attn.q_proj", ".attn.k_proj", ".attn.v_proj"])] }).Or(Mpt);
            case "bloom":
                return Plain(new HuggingFaceNames(architecture) { Joins = [JoinedAttention], Bare = "transformer." }).And(EmbeddingNorm).Or(Bloom);
            case "phi2":
                // Older files have one matrix for queries, keys and values.
                return Llama(architecture).And(FusedProjections).Or(Phi2);
            case "lfm2":
                return new HuggingFaceNames(architecture, Changes.ShortConvolution).And(Lfm2).Or(Lfm2Here).Or(Block).Or(HeadNorms).Or(Gate).Or(Up);
            case "qwen35":
                return Llama(architecture, Changes.GatedDelta).And(GatedDelta);
            case "mamba2":
                return new HuggingFaceNames(architecture, Changes.StateSpace).And(Mamba2).Or(StateSpace).Or(Mamba2Here);
            case "granitehybrid":
                return Llama(architecture, Changes.StateSpace).And(NormsBefore).And(Experts).And(StateSpace);
            case "gemma4":
                return Llama(architecture).And(NormsAround).And(LayerEmbeddings).And(LayerScale);
            case "gemma3n":
                return Llama(new HuggingFaceNames(architecture) { Stacks = [".altup_projections.", ".altup_unembed_projections."] }).And(NormsAround).And(LayerEmbeddings).And(Gemma3n);
            case "gpt-oss":
                return Llama(architecture).And(GptOss).And(Experts).Or(GptOssRouter);
            case "gpt2":
                return new HuggingFaceNames(architecture, Changes.Transposed).And(Gpt2);
            case "bert" or "jina-bert-v2":
                // A GGUF file of an encoder is one for embeddings: it has neither a pooler nor heads.
                return new HuggingFaceNames(architecture) { Prefix = "bert.", LeftOut = ["bert.pooler.", "bert.embeddings.position_ids", "bert.embeddings.token_type_ids", "bert.cls."] }
                    .And(Bert).And(BertProjections).And(architecture == "bert" ? default : BertGate);
            case "nomic-bert":
                return new HuggingFaceNames(architecture)
                {
                    Prefix = "bert.",
                    LeftOut = ["bert.pooler.", "bert.cls."],
                    Splits = [(".intermediate.dense", [".intermediate.gate", ".intermediate.up"])],
                    Joins = [(".attention.self.qkv", [".attention.self.query", ".attention.self.key", ".attention.self.value"])],
                }.And(Bert).And(NomicBert);
            case "modern-bert":
                return new HuggingFaceNames(architecture) { Prefix = "model.", LeftOut = ["model.head.", "model.decoder.", "model.classifier."] }.And(ModernBert);
            default:
                return null;
        }
    }

    private static HuggingFaceNames Llama(string architecture, Changes changes = Changes.None) => Llama(new HuggingFaceNames(architecture, changes));

    private static HuggingFaceNames Llama(HuggingFaceNames names) => names.And(Ends).And(Block).And(Projections).And(HeadNorms).And(Gate).And(Up);

    // One matrix for queries, keys and values, and a plain feed-forward network, by our own names.
    private static HuggingFaceNames Plain(HuggingFaceNames names) => names.And(Ends).And(Block).And(Up).And(FusedProjections).And(NormsBefore);

    private HuggingFaceNames And(ReadOnlySpan<byte> names)
    {
        while (Word(ref names) is { Length: > 0 } gguf)
        {
            string name = Word(ref names);
            _toHuggingFace.Add(gguf, name);
            _toGguf.Add(name, gguf);
        }

        return this;
    }

    /// <summary>Other names in checkpoints of what a GGUF file calls so.</summary>
    private HuggingFaceNames Or(ReadOnlySpan<byte> names)
    {
        while (Word(ref names) is { Length: > 0 } gguf)
        {
            _toGguf.Add(Word(ref names), gguf);
        }

        return this;
    }

    // The next word; an empty one behind the last.
    private static string Word(ref ReadOnlySpan<byte> text)
    {
        int start = 0;
        while (start < text.Length && text[start] <= ' ')
        {
            start++;
        }

        int end = start;
        while (end < text.Length && text[end] > ' ')
        {
            end++;
        }

        string word = Encoding.ASCII.GetString(text[start..end]);
        text = text[end..];
        return word;
    }

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

    private TensorChange Change(string stem) => _changes switch
    {
        Changes.Rotary => RotaryChange(stem),
        Changes.Gemma => GemmaChange(stem),
        Changes.ShortConvolution => stem == "blk.#.shortconv.conv" ? TensorChange.Channels : TensorChange.None,
        Changes.GatedDelta => stem switch
        {
            "blk.#.ssm_conv1d" => TensorChange.Channels,
            "blk.#.ssm_a" => TensorChange.Rates,
            "blk.#.ssm_norm" => TensorChange.None,
            _ => GemmaChange(stem),
        },
        Changes.StateSpace => StateSpaceChange(stem),
        Changes.Transposed => stem is "blk.#.attn_qkv" or "blk.#.attn_output" or "blk.#.ffn_up" or "blk.#.ffn_down" ? TensorChange.Transposed : TensorChange.None,
        _ => TensorChange.None,
    };

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
            return (whole, Change(ggufStem(wholeStem)));
        }

        int dot = name.LastIndexOf('.');
        if (dot < 0 || name[dot..] is not (".weight" or ".bias") || Find(name[..dot]) is not ({ } other, { } stem))
        {
            return (name, TensorChange.None);
        }

        bool isBias = name.EndsWith(".bias", StringComparison.Ordinal);
        TensorChange change = Change(ggufStem(stem));
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
