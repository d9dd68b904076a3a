using System.Collections.Immutable;
using static ModelGen.Runtime.RearrangedFile;

namespace ModelGen.Runtime;

/// <summary>
/// A checkpoint that holds projections of one input as one matrix (<c>self_attn.qkv_proj</c>, <c>mlp.gate_up_proj</c>, <c>shared_mlp.input_linear</c>, <c>block_sparse_moe.input_linear</c>, <c>experts.gate_up_proj</c>), under the names of its parts,
/// which models have as parameters of their own.
/// </summary>
internal static class FusedView
{
    private static readonly string[] s_queryKeyValue = ["q_proj", "k_proj", "v_proj"];

    private static readonly string[] s_selfAttention = ["query", "key", "value"];

    /// <summary>The file, or a view of it that is to be closed instead. A matrix that has no such parts, or beside which the file has one of them, stays what it is.</summary>
    public static WeightFile Of(WeightFile file)
    {
        WeightFile named = EncoderView.Of(file);
        return RearrangedFile.Of(named, tensor => Parts(named, tensor));
    }

    /// <summary>
    /// As the other, of a checkpoint whose heads have their query, their key and their value beside each other (GPT-NeoX's <c>attention.query_key_value</c> and BLOOM's <c>self_attention.query_key_value</c>: of each head, its rows of all three).
    /// </summary>
    /// <param name="file">The file.</param>
    /// <param name="headWidth">The channels of a head, which no file says.</param>
    public static WeightFile ByHeads(WeightFile file, long headWidth) => headWidth <= 0 ? file : RearrangedFile.Of(file, tensor =>
        ((string[])[".attention", ".self_attention"]).FirstOf(name => Behind(tensor, name + ".query_key_value").Prefix is not null) is { } attention && Behind(tensor, attention + ".query_key_value") is ({ } prefix, { } kind)
            && tensor.IsFloat && tensor.Shape.Length is 1 or 2 && tensor.Length > 0 && tensor.Shape[0] % (3 * headWidth) == 0
            ? s_queryKeyValue.Map((name, which) => new Rows($"{prefix}{attention}.{name}{kind}", tensor.Shape.SetItem(0, tensor.Shape[0] / 3), tensor,
                row => (tensor, (((3 * (row / headWidth)) + which) * headWidth) + (row % headWidth), headWidth - (row % headWidth))))
            : null);

    /// <summary>The other way around: a file whose projections are one matrix where a format wants them so, one behind the other.</summary>
    /// <param name="file">The file; of what is not all there nothing is joined.</param>
    /// <param name="joins">What is joined: names without what they belong to and without their kind, and of what.</param>
    public static WeightFile Joined(WeightFile file, IReadOnlyList<(string Name, string[] Parts)> joins) => joins.Count == 0 ? file : RearrangedFile.Of(file, tensor =>
    {
        foreach ((string name, string[] parts) in joins)
        {
            for (int i = 0; i < parts.Length; i++)
            {
                if (Behind(tensor, parts[i]) is ({ } prefix, { } kind))
                {
                    WeightTensor[] all = parts.Map(part => file.Find(prefix + part + kind)).Filter(static part => part is not null)!;
                    return all.Length < parts.Length || file.Find(prefix + name + kind) is not null || all.Has(part => !part.IsFloat || part.Shape.Length != tensor.Shape.Length || part.Shape.Length is not (1 or 2) || part.Length == 0 || (part.Shape.Length == 2 && part.Shape[1] != tensor.Shape[1])) ? null
                        : i > 0 ? []
                        : [new Rows(prefix + name + kind, tensor.Shape.SetItem(0, all.Fold(0L, static (sum, part) => sum + part.Shape[0])), tensor, row =>
                        {
                            int number = 0;
                            for (; row >= all[number].Shape[0]; number++)
                            {
                                row -= all[number].Shape[0];
                            }

                            return (all[number], row, all[number].Shape[0] - row);
                        })];
                }
            }
        }

        return null;
    });

    /// <summary>The other way around: a file whose matrices are several where a format wants them so, as many rows of each.</summary>
    /// <param name="file">The file.</param>
    /// <param name="splits">What is cut: names without what they belong to and without their kind, and into what.</param>
    public static WeightFile Split(WeightFile file, IReadOnlyList<(string Name, string[] Parts)> splits) => splits.Count == 0 ? file : RearrangedFile.Of(file, tensor =>
    {
        foreach ((string name, string[] parts) in splits)
        {
            if (Behind(tensor, name) is ({ } prefix, { } kind) && tensor.Length > 0 && tensor.Shape[0] % parts.Length == 0)
            {
                long rows = tensor.Shape[0] / parts.Length;
                return Cut(tensor, parts.Map(part => prefix + part + kind), rows);
            }
        }

        return null;
    });

    // What is taken apart needs memory for its parts, and nothing else does.
    private static IReadOnlyList<WeightTensor>? Parts(WeightFile file, WeightTensor tensor) => tensor.Length == 0 ? null : PartsOf(file, tensor);

    private static IReadOnlyList<WeightTensor>? PartsOf(WeightFile file, WeightTensor tensor)
    {
        if (MicroscaledExperts.Parts(file, tensor) is { } experts)
        {
            return experts;
        }

        if (!tensor.IsFloat || tensor.Shape.IsEmpty)
        {
            return null;
        }

        if (Behind(tensor, ".self_attn.qkv_proj") is ({ } attention, { } kind) && file.Find(attention + ".self_attn.o_proj.weight") is { Shape: [_, > 0 and long queries] } && tensor.Shape[0] > queries && (tensor.Shape[0] - queries) % 2 == 0)
        {
            // As many queries as what they attend to has columns, and keys and values alike.
            long keys = (tensor.Shape[0] - queries) / 2;
            return Cut(tensor, s_queryKeyValue.Map(name => $"{attention}.self_attn.{name}{kind}"), queries, keys, keys);
        }

        // An encoder's, of which models have the gate and what it lets through as one.
        if (Behind(tensor, ".attention.self.qkv") is ({ } encoder, { } projections) && tensor.Shape[0] % 3 == 0)
        {
            long rows = tensor.Shape[0] / 3;
            return Cut(tensor, s_selfAttention.Map(name => $"{encoder}.attention.self.{name}{projections}"), rows);
        }

        if (Behind(tensor, ".intermediate.gate") is ({ } gated, { } end) && file.Find($"{gated}.intermediate.up{end}") is { IsFloat: true } other && other.Shape.AsSpan().SequenceEqual(tensor.Shape.AsSpan()) && file.Find($"{gated}.intermediate.dense{end}") is null)
        {
            long rows = tensor.Shape[0];
            return [new Rows($"{gated}.intermediate.dense{end}", tensor.Shape.SetItem(0, checked(2 * rows)), tensor, row => row < rows ? (tensor, row, rows - row) : (other, row - rows, (2 * rows) - row))];
        }

        if (Behind(tensor, ".intermediate.up") is ({ } let, { } kindOf) && file.Find($"{let}.intermediate.gate{kindOf}") is { IsFloat: true } gate && gate.Shape.AsSpan().SequenceEqual(tensor.Shape.AsSpan()) && file.Find($"{let}.intermediate.dense{kindOf}") is null)
        {
            return [];
        }

        // jina-bert-v2's in older GGUF files, which call what a gate lets through as they do a network's first layer.
        if (Behind(tensor, ".intermediate.dense") is ({ } network, { } ofDense) && file.Find($"{network}.intermediate.gate{ofDense}") is { IsFloat: true } before && before.Shape.AsSpan().SequenceEqual(tensor.Shape.AsSpan()) && file.Find($"{network}.intermediate.up{ofDense}") is null)
        {
            long rows = tensor.Shape[0];
            return [new Rows(tensor.Name, tensor.Shape.SetItem(0, checked(2 * rows)), tensor, row => row < rows ? (before, row, rows - row) : (tensor, row - rows, (2 * rows) - row))];
        }

        if (Behind(tensor, ".intermediate.gate") is ({ } gatedBy, { } ofGate) && file.Find($"{gatedBy}.intermediate.dense{ofGate}") is { IsFloat: true } through && through.Shape.AsSpan().SequenceEqual(tensor.Shape.AsSpan()) && file.Find($"{gatedBy}.intermediate.up{ofGate}") is null)
        {
            return [];
        }

        // gte's, whose gate is below what it lets through.
        if (Behind(tensor, ".intermediate.up_gate") is ({ } turned, { } ofBoth) && tensor.Shape[0] % 2 == 0)
        {
            long rows = tensor.Shape[0] / 2;
            return [new Rows($"{turned}.intermediate.dense{ofBoth}", tensor.Shape, tensor, row => row < rows ? (tensor, row + rows, rows - row) : (tensor, row - rows, (2 * rows) - row))];
        }

        // MPT's, in the same order.
        if (Behind(tensor, ".attn.Wqkv") is ({ } mixer, { } part) && file.Find(mixer + ".attn.out_proj.weight") is { Shape: [_, > 0 and long asked] } && tensor.Shape[0] > asked && (tensor.Shape[0] - asked) % 2 == 0)
        {
            long keys = (tensor.Shape[0] - asked) / 2;
            return Cut(tensor, s_queryKeyValue.Map(name => $"{mixer}.attn.{name}{part}"), asked, keys, keys);
        }

        // Gemma 3n's: a matrix for each stream but the first. Its table of tokens may have rows that the one of layers has not, of pictures and sound.
        if (tensor.Shape is [> 0 and <= 64 and var streams, _, _] && (Prefix(tensor.Name, ".altup_projections.weight") ?? Prefix(tensor.Name, ".altup_unembed_projections.weight")) is not null)
        {
            var matrices = new Rows[streams];
            for (int i = 0; i < matrices.Length; i++)
            {
                matrices[i] = Rows.Of(FormattableString.Invariant($"{tensor.Name[..^"weight".Length]}{i}.weight"), tensor.Shape.RemoveAt(0), tensor, i * tensor.Shape[1]);
            }

            return matrices;
        }

        if (Prefix(tensor.Name, "embed_tokens.weight") is { } tables && tensor.Shape is [var tokens, _] && file.Find(tables + "embed_tokens_per_layer.weight") is { Shape: [> 0 and var known, _] } && known < tokens)
        {
            return [Rows.Of(tensor.Name, tensor.Shape.SetItem(0, known), tensor)];
        }

        if (Behind(tensor, ".mlp.gate_up_proj") is ({ } feedForward, { } of) && tensor.Shape[0] % 2 == 0)
        {
            return Cut(tensor, [$"{feedForward}.mlp.gate_proj{of}", $"{feedForward}.mlp.up_proj{of}"], tensor.Shape[0] / 2);
        }

        if (Prefix(tensor.Name, ".shared_mlp.input_linear.weight") is { } shared && tensor.Shape is [var both, _] && both % 2 == 0)
        {
            return Cut(tensor, [SharedName(file, shared, "gate_proj"), SharedName(file, shared, "up_proj")], both / 2);
        }

        if (Prefix(tensor.Name, ".shared_mlp.output_linear.weight") is { } output)
        {
            return [Rows.Of(SharedName(file, output, "down_proj"), tensor.Shape, tensor)];
        }

        // Granite's experts, and what chooses among them.
        if (Prefix(tensor.Name, ".block_sparse_moe.input_linear.weight") is { } mixture && tensor.Shape is [_, var halves, _] && halves % 2 == 0)
        {
            return Halves(tensor, $"{mixture}.mlp.experts.");
        }

        if (Prefix(tensor.Name, ".block_sparse_moe.output_linear.weight") is { } downs && tensor.Shape.Length == 3)
        {
            return [Rows.Of(downs + ".mlp.experts.down_proj.weight", tensor.Shape, tensor)];
        }

        return Prefix(tensor.Name, ".block_sparse_moe.router.layer.weight") is { } router ? [Rows.Of(router + ".mlp.gate.weight", tensor.Shape, tensor)] : null;
    }

    /// <summary>Gates above what they let through, of each expert: [experts, 2 · hidden, width].</summary>
    public static IReadOnlyList<WeightTensor> Halves(WeightTensor tensor, string prefix)
    {
        long hidden = tensor.Shape[1] / 2;
        return ((string[])["gate_proj", "up_proj"]).Map((name, which) => new Rows($"{prefix}{name}.weight", tensor.Shape.SetItem(1, hidden), tensor,
            row => (tensor, (((2 * (row / hidden)) + which) * hidden) + (row % hidden), hidden - (row % hidden))));
    }

    private static string SharedName(WeightFile file, string layer, string name)
        => file.Find(layer + ".block_sparse_moe.router.layer.weight") is null ? $"{layer}.mlp.{name}.weight" : $"{layer}.mlp.shared_expert.{name}.weight";

    /// <summary>Parts, one behind the other.</summary>
    /// <param name="tensor">What is cut.</param>
    /// <param name="names">The names of the parts.</param>
    /// <param name="rows">The rows of each; of the last ones there may be fewer numbers, which then are the last number.</param>
    private static List<WeightTensor> Cut(WeightTensor tensor, string[] names, params ReadOnlySpan<long> rows)
    {
        var parts = new List<WeightTensor>();
        long first = 0;
        for (int i = 0; i < names.Length; i++)
        {
            long count = rows[Math.Min(i, rows.Length - 1)];
            parts.Add(Rows.Of(names[i], tensor.Shape.SetItem(0, count), tensor, first));
            first += count;
        }

        return parts;
    }

    /// <summary>What a tensor belongs to whose name goes on so, and its kind: <c>.weight</c>, a matrix, or <c>.bias</c>, a vector.</summary>
    private static (string? Prefix, string? Kind) Behind(WeightTensor tensor, string name)
    {
        string? kind = tensor.Shape.Length switch { 2 => ".weight", 1 => ".bias", _ => null };
        return kind is not null && tensor.Name.EndsWith(kind, StringComparison.Ordinal) && tensor.Name.AsSpan(0, tensor.Name.Length - kind.Length).EndsWith(name, StringComparison.Ordinal)
            ? (tensor.Name[..^(name.Length + kind.Length)], kind)
            : (null, null);
    }

    public static string? Prefix(string name, string end) => name.EndsWith(end, StringComparison.Ordinal) ? name[..^end.Length] : null;
}
