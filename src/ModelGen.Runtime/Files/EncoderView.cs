using static ModelGen.Runtime.RearrangedFile;

namespace ModelGen.Runtime;

/// <summary>Checkpoints of encoders that compute what BERT does, under BERT's names: RoBERTa's, DistilBERT's, nomic-bert's, jina-bert-v2's and gte's.</summary>
internal static class EncoderView
{
    private const string Scope = "bert.";

    // The block's number is before, and the kind behind.
    private static readonly (string Name, string Bert)[] s_distilled =
    [
        ("attention.q_lin", "attention.self.query"),
        ("attention.k_lin", "attention.self.key"),
        ("attention.v_lin", "attention.self.value"),
        ("attention.out_lin", "attention.output.dense"),
        ("sa_layer_norm", "attention.output.LayerNorm"),
        ("ffn.lin1", "intermediate.dense"),
        ("ffn.lin2", "output.dense"),
        ("output_layer_norm", "output.LayerNorm"),
    ];

    private static readonly (string Name, string Bert)[] s_nomic =
    [
        ("attn.Wqkv", "attention.self.qkv"),
        ("attn.out_proj", "attention.output.dense"),
        ("norm1", "attention.output.LayerNorm"),
        ("mlp.fc12", "intermediate.gate"),
        ("mlp.fc11", "intermediate.up"),
        ("mlp.fc2", "output.dense"),
        ("norm2", "output.LayerNorm"),
    ];

    private static readonly (string Name, string Bert)[] s_jina =
    [
        ("mlp.gated_layers", "intermediate.dense"),
        ("mlp.wo", "output.dense"),
        ("mlp.layernorm", "output.LayerNorm"),
    ];

    private static readonly (string Name, string Bert)[] s_gte =
    [
        ("attention.qkv_proj", "attention.self.qkv"),
        ("attention.o_proj", "attention.output.dense"),
        ("attn_ln", "attention.output.LayerNorm"),
        ("mlp.up_gate_proj", "intermediate.up_gate"),
        ("mlp.down_proj", "output.dense"),
        ("mlp_ln", "output.LayerNorm"),
    ];

    private static readonly (string Name, string Bert)[] s_gteHead =
    [
        ("lm_head.dense", "cls.predictions.transform.dense"),
        ("lm_head.norm", "cls.predictions.transform.LayerNorm"),
        ("lm_head.decoder", "cls.predictions.decoder"),
    ];

    private static readonly (string Name, string Bert)[] s_distilledHead =
    [
        ("vocab_transform", "cls.predictions.transform.dense"),
        ("vocab_layer_norm", "cls.predictions.transform.LayerNorm"),
        ("vocab_projector", "cls.predictions.decoder"),
    ];

    // A class is read from what is BERT's pooler, too.
    private static readonly (string Name, string Bert)[] s_robertaHeads =
    [
        ("lm_head.dense", "cls.predictions.transform.dense"),
        ("lm_head.layer_norm", "cls.predictions.transform.LayerNorm"),
        ("lm_head.decoder", "cls.predictions.decoder"),
        ("lm_head.bias", "cls.predictions.bias"),
        ("classifier.dense", Scope + "pooler.dense"),
        ("classifier.out_proj", "classifier"),
    ];

    /// <summary>The file, or a view of it that is to be closed instead.</summary>
    public static WeightFile Of(WeightFile file)
    {
        Func<string, string?>? rename = file.Tensors.FirstOf(static tensor => tensor.Name.EndsWith("transformer.layer.0.attention.q_lin.weight", StringComparison.Ordinal)) is not null ? Distilled
            : file.Tensors.FirstOf(static tensor => tensor.Name.EndsWith("encoder.layers.0.attn.Wqkv.weight", StringComparison.Ordinal)) is not null ? Nomic
            : file.Tensors.FirstOf(static tensor => tensor.Name.EndsWith("encoder.layer.0.mlp.gated_layers.weight", StringComparison.Ordinal)) is not null ? Jina
            : file.Tensors.FirstOf(static tensor => tensor.Name.EndsWith("encoder.layer.0.mlp.up_gate_proj.weight", StringComparison.Ordinal)) is not null ? Gte
            : file.Tensors.FirstOf(static tensor => tensor.Name.StartsWith("roberta.embeddings.", StringComparison.Ordinal)) is not null ? Roberta
            : null;
        return rename is null ? file : RearrangedFile.Of(file, tensor => rename(tensor.Name) is { } name && name != tensor.Name ? [Rows.Of(name, tensor.Shape, tensor)] : null);
    }

    private static string? Roberta(string name) => name.StartsWith("roberta.", StringComparison.Ordinal) ? Scope + name["roberta.".Length..] : Behind(name, s_robertaHeads);

    private static string? Distilled(string name)
    {
        string inner = Without(name, "distilbert.");
        return inner.StartsWith("embeddings.", StringComparison.Ordinal) ? Scope + inner : Block(inner, "transformer.layer.", s_distilled) ?? Behind(name, s_distilledHead);
    }

    private static string? Nomic(string name)
    {
        string inner = Without(name, Scope);
        return inner.StartsWith("embeddings.", StringComparison.Ordinal) ? Scope + inner
            : inner is "emb_ln.weight" or "emb_ln.bias" ? $"{Scope}embeddings.LayerNorm{inner["emb_ln".Length..]}"
            : Block(inner, "encoder.layers.", s_nomic);
    }

    // All under one scope, which a file has for all of an encoder or for nothing.
    private static string? Jina(string name)
    {
        string inner = Without(name, Scope);
        return Block(inner, "encoder.layer.", s_jina) ?? (((string[])["embeddings.", "encoder.", "pooler."]).Has(part => inner.StartsWith(part, StringComparison.Ordinal)) ? Scope + inner : null);
    }

    private static string? Gte(string name)
    {
        string inner = Without(name, "new.");
        return inner.StartsWith("embeddings.", StringComparison.Ordinal) || inner.StartsWith("pooler.", StringComparison.Ordinal) ? Scope + inner : Block(inner, "encoder.layer.", s_gte) ?? Behind(name, s_gteHead);
    }

    private static string Without(string name, string scope) => name.StartsWith(scope, StringComparison.Ordinal) ? name[scope.Length..] : name;

    private static string? Block(string name, string layers, (string Name, string Bert)[] names)
        => name.StartsWith(layers, StringComparison.Ordinal) && name.IndexOf('.', layers.Length) is > 0 and int dot && Behind(name[(dot + 1)..], names) is { } found ? $"{Scope}encoder.layer.{name[layers.Length..dot]}.{found}" : null;

    private static string? Behind(string name, (string Name, string Bert)[] names)
    {
        foreach ((string known, string bert) in names)
        {
            if (name.StartsWith(known, StringComparison.Ordinal) && name[known.Length..] is "" or ".weight" or ".bias")
            {
                return bert + name[known.Length..];
            }
        }

        return null;
    }
}
