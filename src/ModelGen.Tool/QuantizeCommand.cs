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
        Argument<string> type = new("TYPE") { Description = "How matrices are stored: Q8_0, Q5_1, Q5_0, Q4_1, Q4_0, F16 or BF16." };
        Option<string?> tokenizer = new("--tokenizer") { Description = "A tokenizer to put into the file, where the input has none.", HelpName = "FILE" };
        Option<bool> json = new("--json") { Description = "Print one line of JSON and nothing else." };
        var command = new Command("quantize", "Write a model's GGUF file with its matrices stored smaller. Of each tensor the root mean square error is shown, beside the root mean square of its numbers.") { input, output, type, tokenizer, json };
        command.SetAction(result =>
        {
            string target = result.GetValue(output)!;
            if (!target.EndsWith(".gguf", StringComparison.OrdinalIgnoreCase))
            {
                throw new UsageException($"{target}: expected a name that ends in .gguf.");
            }

            using ModelSource source = ModelSource.Open(result.GetValue(input)!);
            string? path = result.GetValue(tokenizer);
            GgufExport.Save(source, target, ConvertCommand.Type(result.GetValue(type)!), source.Gguf is not null && path is null ? null : Tokenizers.Find(source, path));
            Report(source, target, result.GetValue(json));
            return ExitCode.Success;
        });
        return command;
    }

    private static void Report(ModelSource source, string output, bool json)
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
            Console.Out.WriteLine(new JsonObject
            {
                ["file"] = output,
                ["bytes_before"] = before,
                ["bytes"] = after,
                ["tensors"] = new JsonArray([.. lines.Select(static line => (JsonNode)new JsonObject { ["name"] = line.Tensor.Name, ["type"] = line.Tensor.TypeName, ["rmse"] = line.Error, ["rms"] = line.Size })]),
            }.ToJsonString(JsonText.Options));
            return;
        }

        foreach ((WeightTensor tensor, double error, double size) in lines)
        {
            Console.Out.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{CommandLine.Printable(tensor.Name, 100),-50} {tensor.TypeName,-6} error {error:G4} of {size:G4} ({(size > 0 ? error / size : 0):P2})"));
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
