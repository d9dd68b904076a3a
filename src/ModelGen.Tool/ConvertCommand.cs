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
        Argument<string> output = new("OUT") { Description = "The file to write: .gguf, .safetensors or .bin (llama2.c)." };
        Option<string?> weights = new("--weights") { Description = "How matrices are stored: F32, F16 or BF16; in GGUF also Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, IQ4_NL, MXFP4, Q4_K, Q5_K, Q6_K. Blocks that the input has in this type are copied. [default: each tensor as the input stores it]", HelpName = "TYPE" };
        Option<string?> tokenizer = new("--tokenizer") { Description = "A tokenizer to put into a GGUF file, where the input has none: tokenizer.json, tokenizer.model, vocab.txt, vocab.json with merges.txt, tiktoken's ranks, tok512.bin, or a GGUF file.", HelpName = "FILE" };
        Option<string?> merge = new("--merge") { Description = "Low-rank adapters to merge into the weights: a file of PEFT's, of llama.cpp's (GGUF) or of SaveAdapters, or PEFT's folder.", HelpName = "FILE" };
        Option<string?> adapted = new("--base") { Description = "The input is low-rank adapters of this model: write them as a GGUF file that llama.cpp reads beside it.", HelpName = "MODEL" };
        Option<bool> json = new("--json") { Description = "Print one line of JSON." };
        var command = new Command("convert", "Write a model's file in another format, which the extension tells.") { input, output, weights, tokenizer, merge, adapted, json };
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

            Run(result.GetValue(input)!, result.GetValue(output)!, result.GetValue(weights), result.GetValue(tokenizer), result.GetValue(merge), result.GetValue(json));
            return ExitCode.Success;
        });
        return command;
    }

    private static void Run(string input, string output, string? weights, string? tokenizerPath, string? adapter, bool json)
    {
        GgmlType? type = weights is null ? null : Type(weights);
        using ModelSource source = ModelSource.Open(input, adapter);
        switch (Path.GetExtension(output).ToLowerInvariant())
        {
            case ".gguf":
                // A GGUF file's own vocabulary goes along as it is.
                GgufExport.Save(source, output, type, source.Gguf is not null && tokenizerPath is null ? null : Tokenizers.Find(source, tokenizerPath));
                break;

            case ".safetensors":
                Require(tokenizerPath is null, "--tokenizer: expected a .gguf file to write, which alone can hold one.");
                SaveSafetensors(source, output, type switch
                {
                    null => null,
                    GgmlType.F32 => SafetensorsType.F32,
                    GgmlType.F16 => SafetensorsType.F16,
                    GgmlType.BF16 => SafetensorsType.BF16,
                    _ => throw new UsageException($"--weights: expected F32, F16 or BF16 for a safetensors file, found {type}."),
                });
                break;

            case ".bin":
                Require(tokenizerPath is null, "--tokenizer: expected a .gguf file to write, which alone can hold one.");
                Require(type is null or GgmlType.F32, $"--weights: expected F32 for a llama2.c file, found {type}.");
                Llama2cFile.Save(output, Llama2cExport.Header(source), source.Weights);
                break;

            default:
                throw new UsageException($"{output}: expected a name that ends in .gguf, .safetensors or .bin.");
        }

        Report(output, source.Weights.Tensors.Count, json, type?.ToString() ?? "as stored");
    }

    private static void Report(string output, int? tensors, bool json, string? weights)
    {
        long bytes = new FileInfo(output).Length;
        if (json)
        {
            Console.Out.WriteLine(new JsonObject { ["file"] = output, ["bytes"] = bytes, ["tensors"] = tensors, ["weights"] = weights }.ToJsonString());
        }
        else
        {
            Console.Out.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{output}: {(tensors is null ? "" : $"{tensors} tensors, ")}{bytes:N0} bytes"));
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

    private static void SaveSafetensors(ModelSource source, string output, SafetensorsType? type)
    {
        var writer = new SafetensorsWriter();
        foreach ((string key, string value) in source.Weights.Metadata)
        {
            if (source.Weights.Format is not (WeightFileFormat.Llama2c or WeightFileFormat.Llmc))
            {
                writer.Metadata[key] = value;
            }
        }

        writer.Metadata["format"] = "pt";
        if (source.Config is { } config)
        {
            writer.Metadata[ModelSource.ConfigKey] = config.Values.ToJsonString();
        }

        // Closing what is joined would close the source's file, which is the source's to close.
        WeightFile weights = source.WithCheckpointTensors();
        foreach (WeightTensor tensor in weights.Tensors)
        {
            int[] shape = [.. tensor.Shape.Select(extent => extent <= int.MaxValue ? (int)extent : throw new ToolException($"The tensor {tensor.Name} has an extent of {extent}, which is not written."))];

            // Such a file has no blocks: what they stand for is written.
            SafetensorsType stored = tensor.TypeName switch { nameof(GgmlType.F16) => SafetensorsType.F16, nameof(GgmlType.BF16) => SafetensorsType.BF16, _ => SafetensorsType.F32 };
            writer.Add(tensor.Name, shape, type is null ? stored : tensor.Shape.Length > 1 ? type.Value : SafetensorsType.F32, (start, destination) => weights.ReadFloats(tensor, start, destination));
        }

        writer.Save(output);
    }
}
