using System.CommandLine;
using System.Globalization;
using System.Text.Json.Nodes;

namespace ModelGen.Tool;

/// <summary>Writes a model's file with smaller weights, and tells what each tensor loses by it.</summary>
internal static class QuantizeCommand
{
    // Elements compared at a time.
    private const int Strip = 1 << 18;

    public static Command Create()
    {
        Argument<string> input = new("IN") { Description = "A GGUF, safetensors or llama2.c file." };
        Argument<string> output = new("OUT") { Description = "The GGUF file to write." };
        Argument<string> type = new("TYPE") { Description = "How matrices are stored: Q8_0, Q6_K, Q5_K, Q5_1, Q5_0, Q4_K, Q4_1, Q4_0, IQ4_NL, MXFP4, F16 or BF16." };
        Option<string?> tokenizer = new("--tokenizer") { Description = "A tokenizer to put into the file, where the input has none.", HelpName = "FILE" };
        Option<string?> imatrix = new("--imatrix") { Description = "An importance matrix, as llama.cpp's llama-imatrix writes it (GGUF or its older format): blocks are chosen so that the error is least in the columns that count most.", HelpName = "FILE" };
        Option<string?> text = new("--text") { Description = "A text, UTF-8: tell its perplexity before and after.", HelpName = "FILE" };
        Option<int> chunk = new("--chunk") { Description = "Tokens of the text that are read together.", HelpName = "N", DefaultValueFactory = static _ => 512 };
        Option<int> chunks = new("--chunks") { Description = "Read so many chunks of it at the most; 0 for all.", HelpName = "N", DefaultValueFactory = static _ => 0 };
        Option<bool> json = new("--json") { Description = "Print one line of JSON and nothing else." };
        var command = new Command("quantize", "Write a model's GGUF file with its matrices stored smaller. Of each tensor the root mean square error is shown, beside the root mean square of its numbers.") { input, output, type, tokenizer, imatrix, text, chunk, chunks, json };
        command.SetAction(result =>
        {
            string target = result.GetValue(output)!;
            if (!target.EndsWith(".gguf", StringComparison.OrdinalIgnoreCase))
            {
                throw new UsageException($"{target}: expected a name that ends in .gguf.");
            }

            if (result.GetValue(chunk) < 4 || result.GetValue(chunks) < 0)
            {
                throw new UsageException($"--chunk, --chunks: expected 4 tokens or more and 0 chunks or more, found {result.GetValue(chunk)} and {result.GetValue(chunks)}.");
            }

            string? read = result.GetValue(text) is not { } file ? null : File.Exists(file) ? File.ReadAllText(file) : throw new ToolException($"{file}: there is no such file.");
            using ModelSource source = ModelSource.Open(result.GetValue(input)!);
            string? path = result.GetValue(tokenizer);
            ImportanceMatrix? importance = result.GetValue(imatrix) is { } matrix ? ImportanceMatrix.Read(matrix) : null;
            GgufExport.Save(source, target, ConvertCommand.Type(result.GetValue(type)!, "TYPE"), source.Gguf is not null && path is null ? null : Tokenizers.Find(source, path), importance);
            bool isJson = result.GetValue(json);
            (PerplexityCommand.Figures, PerplexityCommand.Figures)? perplexity = read is null ? null : (Measure(result.GetValue(input)!), Measure(target));
            Report(source, target, importance, perplexity, isJson);
            return ExitCode.Success;

            PerplexityCommand.Figures Measure(string model)
            {
                using LoadedModel loaded = LoadedModel.Of(model, model == target ? null : path, null, new SessionOptions(), static code => code.With("Score", "true"));
                return PerplexityCommand.Measure(loaded, read!, result.GetValue(chunk), result.GetValue(chunks), isJson ? null : "scoring");
            }
        });
        return command;
    }

    private static void Report(ModelSource source, string output, ImportanceMatrix? importance, (PerplexityCommand.Figures Before, PerplexityCommand.Figures After)? perplexity, bool json)
    {
        using WeightFile written = WeightFile.Open(output);
        var lines = new List<(WeightTensor Tensor, double Error, double Size)>();
        Progress.Run(json ? null : "comparing", source.Weights.Tensors.Count, step =>
        {
            foreach (WeightTensor tensor in source.Weights.Tensors)
            {
                if (tensor.Length > 0 && written.Find(tensor.Name) is { } other && other.Length == tensor.Length)
                {
                    (double error, double size) = Compare(source.Weights, tensor, written, other);
                    lines.Add((other, error, size));
                }

                step();
            }
        });
        long before = new FileInfo(source.Weights.Path).Length;
        long after = new FileInfo(output).Length;
        if (json)
        {
            var line = new JsonObject
            {
                ["file"] = output,
                ["bytes_before"] = before,
                ["bytes"] = after,
                ["tensors"] = new JsonArray([.. lines.Select(static one => (JsonNode)new JsonObject { ["name"] = one.Tensor.Name, ["type"] = one.Tensor.TypeName, ["rmse"] = one.Error, ["rms"] = one.Size })]),
            };
            if (importance is not null)
            {
                line["importance_entries"] = importance.Used.Count;
            }

            if (perplexity is { } measured)
            {
                line["perplexity_before"] = measured.Before.Perplexity;
                line["perplexity"] = measured.After.Perplexity;
                line["perplexity_error"] = measured.After.Error;
            }

            Console.Out.WriteLine(line.ToJsonString(JsonText.Options));
            return;
        }

        foreach ((WeightTensor tensor, double error, double size) in lines)
        {
            Console.Out.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{CommandLine.Printable(tensor.Name, 100),-50} {tensor.TypeName,-6} error {error:G4} of {size:G4} ({(size > 0 ? error / size : 0):P2})"));
        }

        if (importance is not null)
        {
            Console.Out.WriteLine(string.Create(CultureInfo.InvariantCulture, $"importance of the columns of {importance.Used.Count} tensors, of {importance.Count} in {importance.Path}"));
        }

        if (perplexity is { } figures)
        {
            Console.Out.WriteLine(string.Create(CultureInfo.InvariantCulture, $"perplexity {figures.After.Perplexity:F4} ± {figures.After.Error:F4}, before {figures.Before.Perplexity:F4} ({(figures.After.Perplexity / figures.Before.Perplexity) - 1:P2})"));
        }

        Console.Out.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{output}: {after:N0} bytes, before {before:N0}"));
    }

    private static (double Error, double Size) Compare(WeightFile one, WeightTensor tensor, WeightFile other, WeightTensor written)
    {
        float[] before = new float[Math.Min(Strip, tensor.Length)];
        float[] after = new float[before.Length];
        double error = 0;
        double size = 0;
        for (long start = 0; start < tensor.Length; start += Strip)
        {
            int count = (int)Math.Min(Strip, tensor.Length - start);
            one.ReadFloats(tensor, start, before.AsSpan(0, count));
            other.ReadFloats(written, start, after.AsSpan(0, count));
            for (int i = 0; i < count; i++)
            {
                double difference = (double)before[i] - after[i];
                error += difference * difference;
                size += (double)before[i] * before[i];
            }
        }

        return (Math.Sqrt(error / tensor.Length), Math.Sqrt(size / tensor.Length));
    }
}
