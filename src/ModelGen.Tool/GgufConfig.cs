using System.Text.Json.Nodes;

namespace ModelGen.Tool;

/// <summary>What the metadata of a GGUF file says of its model, in the terms of Hugging Face's configurations.</summary>
internal static class GgufConfig
{
    /// <summary>The blocks of the one Gemma 2 and the one Gemma 3 whose scores are divided by the root of the width over the heads: 27B.</summary>
    public static int LargestGemma(string architecture) => architecture == "gemma2" ? 46 : 62;

    // What models save under their own names.
    private const string OwnArchitecture = "modelgen";

    // What all models have that slow rotary positions down by a table: Llama 3.1 and 3.2. The file holds what follows from it.
    private const int FirstContext = 8192;
    private const double LowFrequency = 1;
    private const double HighFrequency = 4;

    /// <summary>How each pair of rotary columns is slowed down by Llama 3.1's rule.</summary>
    /// <param name="pairs">The number of pairs.</param>
    /// <param name="rotaryBase">The base of the angles.</param>
    /// <param name="factor">What slow pairs are divided by.</param>
    /// <param name="low">The turns over the first context at the most of a slow pair.</param>
    /// <param name="high">The turns at least of a fast one.</param>
    /// <param name="context">The first context.</param>
    public static float[] RotaryFactors(int pairs, double rotaryBase, double factor, double low, double high, double context)
    {
        float[] factors = new float[pairs];
        for (int pair = 0; pair < pairs; pair++)
        {
            double turns = context * Math.Pow(rotaryBase, -(double)pair / pairs) / (2 * Math.PI);
            double part = Math.Clamp((turns - low) / (high - low), 0, 1);
            factors[pair] = (float)(1 / (((1 - part) / factor) + part));
        }

        return factors;
    }

    /// <summary>The configuration; null if the file names no architecture, or was saved by a model, whose declaration it then records.</summary>
    public static ModelConfig? Of(GgufFile file)
    {
        if (file.Values.GetValueOrDefault("general.architecture")?.AsText() is not { } architecture || architecture == OwnArchitecture)
        {
            return null;
        }

        var entries = new GgufEntries(file, architecture, new JsonObject { ["model_type"] = architecture });
        JsonObject values = entries.Values;
        switch (architecture)
        {
            case "gpt2":
                GgufDecoderConfig.Gpt2(entries);
                break;
            case "bert":
                GgufEncoderConfig.Bert(entries);
                break;
            case "jina-bert-v2":
                GgufEncoderConfig.JinaBert(entries);
                break;
            case "nomic-bert":
                GgufEncoderConfig.NomicBert(entries);
                break;
            case "modern-bert":
                GgufEncoderConfig.ModernBert(entries);
                break;
            default:
                GgufDecoderConfig.Read(entries);
                break;
        }

        // The table of token embeddings says it in every file, the metadata in some.
        if (file.Find("token_embd.weight") is { Shape.Length: 2 } table)
        {
            values["vocab_size"] = table.Shape[0];
        }

        entries.Integer("tokenizer.ggml.bos_token_id", "bos_token_id", isOfArchitecture: false);
        entries.Integer("tokenizer.ggml.eos_token_id", "eos_token_id", isOfArchitecture: false);
        values["tie_word_embeddings"] = file.Find("output.weight") is null;
        if (architecture != "gemma4" && RotaryScaling(entries) is { } scaling)
        {
            values["rope_scaling"] = scaling;
        }

        return new ModelConfig(values, file.Path);
    }

    private static JsonObject? RotaryScaling(GgufEntries entries)
        => entries.File.Find("rope_factors_long.weight") is { } beyond && entries.File.Find("rope_factors_short.weight") is { } within ? LongRope(entries, within, beyond)
            : entries.Find("rope.scaling.type")?.AsText() is { } type and not "none" ? Scaling(entries, type)
            : entries.File.Find("rope_freqs.weight") is { Shape: [> 0 and < 4096] } table ? Llama3(entries, table)
            : null;

    private static JsonObject LongRope(GgufEntries entries, GgufTensor within, GgufTensor beyond)
    {
        var scaling = new JsonObject
        {
            ["rope_type"] = "longrope",
            ["short_factor"] = Factors(within),
            ["long_factor"] = Factors(beyond),
            ["attention_factor"] = entries.Find("rope.scaling.attn_factor")?.AsReal() ?? 1,
        };
        FirstContextOf(entries, scaling);
        return scaling;

        JsonArray Factors(GgufTensor tensor)
        {
            if (tensor.Shape is not [> 0 and < 4096])
            {
                throw new ToolException($"{entries.File.Path}: tensor '{tensor.Name}': expected a factor for each pair of turned channels.");
            }

            float[] values = new float[tensor.Length];
            entries.File.ReadFloats(tensor, 0, values);
            return new JsonArray([.. values.Select(static value => (JsonNode)double.Parse(value.ToString("R", System.Globalization.CultureInfo.InvariantCulture), System.Globalization.CultureInfo.InvariantCulture))]);
        }
    }

    private static JsonObject Scaling(GgufEntries entries, string type)
    {
        var scaling = new JsonObject { ["rope_type"] = type };
        if (entries.Find("rope.scaling.factor")?.AsReal() is { } factor)
        {
            scaling["factor"] = factor;
        }

        FirstContextOf(entries, scaling);
        return scaling;
    }

    private static void FirstContextOf(GgufEntries entries, JsonObject scaling)
    {
        if (entries.Number("rope.scaling.original_context_length") is { } context)
        {
            scaling["original_max_position_embeddings"] = context;
        }
    }

    // The table holds what follows from the rule, by which the rule is known.
    private static JsonObject Llama3(GgufEntries entries, GgufTensor table)
    {
        float[] found = new float[table.Length];
        entries.File.ReadFloats(table, 0, found);
        double rotaryBase = entries.Find("rope.freq_base")?.AsReal() ?? 10000;
        double factor = found.Max();
        float[] expected = RotaryFactors(found.Length, rotaryBase, factor, LowFrequency, HighFrequency, FirstContext);
        for (int pair = 0; pair < found.Length; pair++)
        {
            if (!(Math.Abs(found[pair] - expected[pair]) <= 1e-3 * Math.Abs(expected[pair])))
            {
                throw new ToolException(FormattableString.Invariant($"{entries.File.Path}: tensor 'rope_freqs.weight': expected Llama 3.1's factors, {expected[pair]:G5} for pair {pair}, found {found[pair]:G5}."));
            }
        }

        return new JsonObject
        {
            ["rope_type"] = "llama3",
            ["factor"] = factor,
            ["low_freq_factor"] = LowFrequency,
            ["high_freq_factor"] = HighFrequency,
            ["original_max_position_embeddings"] = FirstContext,
        };
    }
}
