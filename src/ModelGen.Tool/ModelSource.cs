using System.Globalization;
using System.Text.Json.Nodes;

namespace ModelGen.Tool;

/// <summary>A model's file: its weights, and what is known of the model.</summary>
internal sealed class ModelSource : IDisposable
{
    /// <summary>The key of a safetensors file's metadata under which its configuration lies where no config.json does.</summary>
    public const string ConfigKey = "modelgen.config";

    private const string DeclarationPrefix = "modelgen.declaration.";

    private ModelSource(WeightFile weights, GgufFile? gguf, ModelConfig? config)
    {
        Weights = weights;
        Gguf = gguf;
        Config = config;
    }

    /// <summary>The weights, under Hugging Face's names.</summary>
    public WeightFile Weights { get; }

    /// <summary>The file as GGUF has it, with its metadata; null where it is of another format.</summary>
    public GgufFile? Gguf { get; }

    /// <summary>What is known of the model; null where it is nothing but its tensors, or what this library recorded of its declaration.</summary>
    public ModelConfig? Config { get; }

    /// <summary>Whether adapters are merged into the weights.</summary>
    public bool IsMerged { get; private init; }

    /// <summary>Opens a file of any format, or the safetensors file of a folder.</summary>
    /// <param name="path">The file or folder.</param>
    /// <param name="adapter">Low-rank adapters to merge into the weights; null for none.</param>
    public static ModelSource Open(string path, string? adapter = null)
    {
        if (Directory.Exists(path))
        {
            string inside = Path.Combine(path, "model.safetensors");
            path = File.Exists(inside) ? inside : throw new ToolException($"{path}: expected a file, or a folder with model.safetensors in it.");
        }

        if (!File.Exists(path))
        {
            throw new ToolException($"{path}: there is no such file.");
        }

        GgufFile? gguf = WeightFile.FormatOf(path) == WeightFileFormat.Gguf ? GgufFile.Open(path) : null;
        WeightFile weights = gguf?.WithHuggingFaceNames() ?? WeightFile.Open(path);
        try
        {
            ModelConfig? config = FindConfig(weights, gguf);
            if (adapter is not null)
            {
                using AdapterFile adapters = AdapterFile.Open(adapter);
                if (config is not null && WeightFile.FormatOf(AdapterFile.Resolve(adapter)) == WeightFileFormat.Gguf)
                {
                    adapters.HeadWidth = GgufExport.HeadWidth(config);
                }

                weights = adapters.MergeInto(weights);
            }

            return new ModelSource(weights, gguf, config) { IsMerged = adapter is not null };
        }
        catch
        {
            weights.Dispose();
            throw;
        }
    }

    /// <summary>The declaration of the file's model.</summary>
    /// <param name="context">The longest sequence; null for the model's, or 4,096 where that is less.</param>
    public ModelCode Declare(int? context)
    {
        if (Weights.Tensors.Count == 0)
        {
            throw new ToolException($"{Weights.Path}: the file has no weights, as files of a vocabulary alone.");
        }

        Dictionary<string, string> recorded = Weights.Metadata
            .Where(static entry => entry.Key.StartsWith(DeclarationPrefix, StringComparison.Ordinal))
            .ToDictionary(static entry => entry.Key[DeclarationPrefix.Length..], static entry => entry.Value, StringComparer.Ordinal);
        ModelCode code = recorded.ContainsKey("Family") ? RecordedDeclaration.Read(recorded, Weights.Path)
            : Config is not null ? ConfigDeclaration.Of(Config, Weights)
            : throw new ToolException($"{Weights.Path}: nothing says what model it is of: expected a config.json beside it, or a file that ModelGen has saved.");
        return DeclaredContext.Limit(code, context);
    }

    /// <summary>As <see cref="Declare"/>, with weights that lie in memory as the file stores them.</summary>
    public ModelCode DeclareAsStored(int? context) => StoredFormats.Add(Declare(context), Weights);

    /// <summary>The weights with the tensors that checkpoints of the model's kind have, where they are joined otherwise than here.</summary>
    public WeightFile WithCheckpointTensors() => Config?.ModelType == "phi3" ? Weights.WithJoinedProjections("phi3") : Weights;

    // The weights are the GGUF file under other names, and close it.
    public void Dispose() => Weights.Dispose();

    private static ModelConfig? FindConfig(WeightFile weights, GgufFile? gguf)
    {
        switch (weights.Format)
        {
            case WeightFileFormat.Gguf:
                return GgufConfig.Of(gguf!);

            case WeightFileFormat.Llama2c:
                Llama2cHeader header = ((Llama2cFile)weights).Header;
                return new ModelConfig(
                    new JsonObject
                    {
                        ["model_type"] = "llama",
                        ["hidden_size"] = header.Width,
                        ["intermediate_size"] = header.FeedForward,
                        ["num_hidden_layers"] = header.Layers,
                        ["num_attention_heads"] = header.Heads,
                        ["num_key_value_heads"] = header.KeyValueHeads,
                        ["vocab_size"] = header.Vocabulary,
                        ["max_position_embeddings"] = header.Context,
                        ["rms_norm_eps"] = 1e-5,
                        ["rope_theta"] = 10000.0,
                        ["hidden_act"] = "silu",
                        ["tie_word_embeddings"] = header.TiedHead,
                        ["bos_token_id"] = 1,
                        ["eos_token_id"] = 2,
                    },
                    weights.Path);

            case WeightFileFormat.Llmc:
                int Field(string name) => int.Parse(weights.Metadata[name], CultureInfo.InvariantCulture);
                return new ModelConfig(
                    new JsonObject
                    {
                        ["model_type"] = "gpt2",
                        ["n_embd"] = Field("C"),
                        ["n_layer"] = Field("L"),
                        ["n_head"] = Field("NH"),
                        ["n_positions"] = Field("maxT"),
                        ["vocab_size"] = Field("V"),
                        ["activation_function"] = "gelu_new",
                        ["layer_norm_epsilon"] = 1e-5,
                        ["bos_token_id"] = 50256,
                        ["eos_token_id"] = 50256,
                    },
                    weights.Path);

            default:
                string beside = Path.Combine(Path.GetDirectoryName(Path.GetFullPath(weights.Path))!, "config.json");
                return weights.Metadata.TryGetValue(ConfigKey, out string? recorded) ? ModelConfig.Parse(recorded, $"{weights.Path}, metadata {ConfigKey}")
                    : File.Exists(beside) ? ModelConfig.Read(beside).OfText()
                    : null;
        }
    }
}
