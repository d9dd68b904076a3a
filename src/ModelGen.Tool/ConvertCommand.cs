using System.CommandLine;
using System.Globalization;
using System.Text.Json.Nodes;

namespace ModelGen.Tool;

/// <summary>Writes a model's file in another format, or with its weights stored otherwise.</summary>
internal static class ConvertCommand
{
    public static Command Create()
    {
        Argument<string> input = new("IN") { Description = "A GGUF, safetensors or llama2.c file." };
        Argument<string> output = new("OUT") { Description = "The file to write: .gguf, .safetensors, .safetensors.index.json (and the files that it names), .pt (PyTorch), .npz (NumPy) or .bin (llama2.c, or llm.c of a GPT-2)." };
        Option<string?> weights = new("--weights") { Description = "How matrices are stored: F32, F16 or BF16 (not all have all); in safetensors also F8_E4M3 and F8_E5M2; in GGUF also Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, IQ4_NL, MXFP4, Q4_K, Q5_K, Q6_K. Blocks that the input has in this type are copied. [default: each tensor as the input stores it]", HelpName = "TYPE" };
        Option<string?> tokenizer = new("--tokenizer") { Description = "A tokenizer to put into a GGUF file, where the input has none: tokenizer.json, tokenizer.model, vocab.txt, vocab.json with merges.txt, tiktoken's ranks, tok512.bin, or a GGUF file.", HelpName = "FILE" };
        Option<string?> merge = new("--merge") { Description = "Low-rank adapters to merge into the weights: a file of PEFT's, of llama.cpp's (GGUF) or of SaveAdapters, or PEFT's folder.", HelpName = "FILE" };
        Option<string?> adapted = new("--base") { Description = "The input is low-rank adapters of this model: write them as a GGUF file that llama.cpp reads beside it.", HelpName = "MODEL" };
        Option<string> shard = new("--shard-size") { Description = "Of a .safetensors.index.json, the most bytes of tensors in a file: 500M, 5G.", HelpName = "SIZE", DefaultValueFactory = static _ => "5G" };
        Option<bool> json = new("--json") { Description = "Print one line of JSON." };
        var command = new Command("convert", "Write a model's file in another format, which the extension tells.") { input, output, weights, tokenizer, merge, adapted, shard, json };
        command.SetAction(result =>
        {
            if (result.GetValue(adapted) is { } model)
            {
                string target = result.GetValue(output)!;
                Require(result.GetValue(weights) is null && result.GetValue(tokenizer) is null && result.GetValue(merge) is null, "--base: expected no other option, since adapters alone are written.");
                Require(target.EndsWith(".gguf", StringComparison.OrdinalIgnoreCase), $"{target}: expected a name that ends in .gguf.");
                using ModelSource source = ModelSource.Open(model);
                GgufExport.SaveAdapters(result.GetValue(input)!, source, target);
                Report(target, null, result.GetValue(json), null);
                return ExitCode.Success;
            }

            Run(result.GetValue(input)!, result.GetValue(output)!, result.GetValue(weights), result.GetValue(tokenizer), result.GetValue(merge), Size(result.GetValue(shard)!), result.GetValue(json));
            return ExitCode.Success;
        });
        return command;
    }

    private static void Run(string input, string output, string? weights, string? tokenizerPath, string? adapter, long shardSize, bool json)
    {
        string extension = output.EndsWith(SafetensorsExport.IndexExtension, StringComparison.OrdinalIgnoreCase) ? SafetensorsExport.IndexExtension : Path.GetExtension(output).ToLowerInvariant();
        using ModelSource source = ModelSource.Open(input, adapter);
        Require(tokenizerPath is null || extension == ".gguf", "--tokenizer: expected a .gguf file to write, which alone can hold one.");
        switch (extension)
        {
            case ".gguf":
                // A GGUF file's own vocabulary goes along as it is.
                GgmlType? type = weights is null ? null : Type(weights);
                GgufExport.Save(source, output, type, source.Gguf is not null && tokenizerPath is null ? null : Tokenizers.Find(source, tokenizerPath));
                break;

            case ".safetensors":
                SafetensorsExport.Save(source, output, SafetensorsExport.Type(weights));
                break;

            case SafetensorsExport.IndexExtension:
                SafetensorsExport.SaveShards(source, output, SafetensorsExport.Type(weights), shardSize);
                break;

            case ".npz":
                StoredElement? element = Element(weights, "a NumPy file");
                Require(element != StoredElement.BF16, "--weights: expected F32 or F16 for a NumPy file, found BF16.");
                ArchiveExport.SaveNumPy(source.WithCheckpointTensors(), output, element);
                SaveConfig(source, output);
                break;

            case ".pt" or ".pth":
                ArchiveExport.SavePyTorch(source.WithCheckpointTensors(), output, Element(weights, "a PyTorch file"));
                SaveConfig(source, output);
                break;

            case ".bin" when LlmcExport.Holds(source):
                LlmcExport.Save(source, output, Element(weights, "a llm.c file"));
                break;

            case ".bin":
                Require(Element(weights, "a llama2.c file") is null or StoredElement.F32, $"--weights: expected F32 for a llama2.c file, found {weights}.");
                Llama2cFile.Save(output, Llama2cExport.Header(source), source.Weights);
                break;

            default:
                throw new UsageException($"{output}: expected a name that ends in .gguf, .safetensors, .safetensors.index.json, .pt, .npz or .bin.");
        }

        Report(output, source.Weights.Tensors.Count, json, weights?.ToUpperInvariant() ?? "as stored");
    }

    private static StoredElement? Element(string? weights, string file)
        => weights is null ? null : Enum.TryParse(weights, ignoreCase: true, out StoredElement type) && Enum.IsDefined(type) && !char.IsAsciiDigit(weights[0]) ? type
            : throw new UsageException($"--weights: expected F32, F16 or BF16 for {file}, found {weights}.");

    // Such files have no place for it. One that is there already says it.
    private static void SaveConfig(ModelSource source, string output)
    {
        string path = Path.Combine(Path.GetDirectoryName(Path.GetFullPath(output))!, "config.json");
        if (source.Config is { } config && !File.Exists(path))
        {
            File.WriteAllText(path, config.Values.ToJsonString(new System.Text.Json.JsonSerializerOptions { WriteIndented = true }) + "\n");
        }
    }

    private static long Size(string text)
    {
        int shift = text.Length == 0 ? 0 : char.ToUpperInvariant(text[^1]) switch { 'K' => 10, 'M' => 20, 'G' => 30, _ => 0 };
        return long.TryParse(shift > 0 ? text.AsSpan(0, text.Length - 1) : text, NumberStyles.None, CultureInfo.InvariantCulture, out long size) && size is > 0 and < 1L << 32 ? size << shift
            : throw new UsageException($"--shard-size: expected a number of bytes, with K, M or G behind it for more, found '{text}'.");
    }

    private static void Report(string output, int? tensors, bool json, string? weights)
    {
        long bytes = new FileInfo(output).Length + (output.EndsWith(SafetensorsExport.IndexExtension, StringComparison.OrdinalIgnoreCase) ? SafetensorsExport.ShardBytes(output) : 0);

        // Not always what was asked for: rows may be no whole blocks.
        (string Type, int Count)[] types = [];
        if (tensors is not null)
        {
            using WeightFile written = WeightFile.Open(output);
            types = [.. written.Tensors.GroupBy(static tensor => tensor.TypeName).Select(static group => (group.Key, group.Count())).OrderByDescending(static type => type.Item2)];
        }

        if (json)
        {
            var line = new JsonObject { ["file"] = output, ["bytes"] = bytes, ["tensors"] = tensors, ["weights"] = weights };
            if (tensors is not null)
            {
                line["types"] = new JsonObject(types.Select(static type => KeyValuePair.Create(type.Type, (JsonNode?)type.Count)));
            }

            Console.Out.WriteLine(line.ToJsonString(JsonText.Options));
        }
        else
        {
            string stored = string.Join(", ", types.Select(static type => string.Create(CultureInfo.InvariantCulture, $"{type.Count} {type.Type}")));
            Console.Out.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{output}: {(tensors is null ? "" : $"{tensors} tensors ({stored}), ")}{bytes:N0} bytes"));
        }
    }

    /// <summary>A type by its name.</summary>
    /// <param name="name">The name.</param>
    /// <param name="option">What it was given as, for messages.</param>
    public static GgmlType Type(string name, string option = "--weights")
    {
        int index = Array.FindIndex(GgufExport.Written, type => string.Equals(type.ToString(), name, StringComparison.OrdinalIgnoreCase));
        return index >= 0 ? GgufExport.Written[index] : throw new UsageException($"{option}: expected one of {string.Join(", ", GgufExport.Written)}, found {name}.");
    }

    private static void Require(bool holds, string message)
    {
        if (!holds)
        {
            throw new UsageException(message);
        }
    }
}
