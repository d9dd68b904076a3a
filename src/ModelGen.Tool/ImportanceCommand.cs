using System.CommandLine;
using System.Globalization;
using System.Text;
using System.Text.Json.Nodes;
using ModelGen.Runtime;

namespace ModelGen.Tool;

/// <summary>Makes an importance matrix: how large, over a text, is what each column of a model's matrices is multiplied with.</summary>
internal static class ImportanceCommand
{
    private delegate void Measurer(ReadOnlySpan<int> tokens, InputMeasure measure);

    public static Command Create()
    {
        var model = new ModelFlags();
        Option<string> text = new("--text") { Description = "The text, UTF-8: of the kind that the model is for.", HelpName = "FILE", Required = true };
        Option<string> output = new("--output", "-o") { Description = "The file to write: GGUF, as llama.cpp's llama-imatrix writes it, or its older format where the name ends in .dat.", HelpName = "FILE", Required = true };
        Option<int> chunk = new("--chunk") { Description = "Tokens that are read together, each chunk as a text of its own.", HelpName = "N", DefaultValueFactory = static _ => 512 };
        Option<int> chunks = new("--chunks") { Description = "Read so many chunks at the most; 0 for the whole text.", HelpName = "N", DefaultValueFactory = static _ => 0 };
        Option<bool> json = new("--json") { Description = "Print one line of JSON and nothing else." };
        var command = new Command("imatrix", "Make an importance matrix from a text, for quantize --imatrix: the mean squares of what each column of a matrix is multiplied with; of a mixture's experts, of each expert's matrix over the tokens that were sent to it.") { text, output, chunk, chunks, json };
        model.AddTo(command);
        command.SetAction(result =>
        {
            (int size, int most) = (result.GetValue(chunk), result.GetValue(chunks));
            if (size < 1 || most < 0)
            {
                throw new UsageException($"--chunk, --chunks: expected 1 token or more and 0 chunks or more, found {size} and {most}.");
            }

            string path = result.GetValue(text)!;
            string read = File.Exists(path) ? File.ReadAllText(path) : throw new ToolException($"{path}: there is no such file.");
            using LoadedModel loaded = model.Load(result, static code => code.With(nameof(DecoderAttribute.MeasureInputs), "true"));
            bool isJson = result.GetValue(json);
            string target = result.GetValue(output)!;
            SortedDictionary<string, Sums> found = Measure(loaded, read, size, most, isJson ? null : "measuring", out int count);
            if (target.EndsWith(".dat", StringComparison.OrdinalIgnoreCase))
            {
                SaveLegacy(found, target, Path.GetFileName(path), count);
            }
            else
            {
                Save(found, target, Path.GetFileName(path), count, size);
            }

            Console.Out.WriteLine(isJson
                ? new JsonObject { ["file"] = target, ["entries"] = found.Count, ["tokens"] = found.Values.Max(static sums => sums.Counts.Max()), ["chunks"] = count }.ToJsonString(JsonText.Options)
                : string.Create(CultureInfo.InvariantCulture, $"{target}: {found.Count} matrices, {count} chunks of {size} tokens"));
            return ExitCode.Success;
        });
        return command;
    }

    /// <summary>Sums over a text, by the names of matrices in GGUF files.</summary>
    internal static SortedDictionary<string, Sums> Measure(LoadedModel model, string text, int chunk, int most, string? progress, out int count)
    {
        TextTokenizer tokenizer = model.Tokenizer ?? throw new UsageException($"{model.Source.Weights.Path} has no tokenizer: expected --tokenizer FILE.");
        int context = model.Host.ContextLength;
        if (context > 0 && chunk > context)
        {
            throw new UsageException($"--chunk: expected at most {context}, which the context holds, found {chunk}.");
        }

        Measurer measure = model.Session.GetType().GetMethod("MeasureInputs", [typeof(ReadOnlySpan<int>), typeof(InputMeasure)])?.CreateDelegate<Measurer>(model.Session)
            ?? throw new ToolException("The file's model cannot be measured.");
        int[] tokens = tokenizer.EncodePrompt(text);
        int whole = tokens.Length / chunk;
        whole = most > 0 ? Math.Min(whole, most) : whole;
        count = whole;
        if (whole == 0)
        {
            throw new ToolException($"The text has {tokens.Length} tokens: expected a chunk of {chunk} at least (--chunk).");
        }

        IReadOnlyDictionary<string, string> names = GgufExport.Names(model.Source);
        string architecture = GgufExport.Architecture(model.Source);
        var found = new SortedDictionary<string, Sums>(StringComparer.Ordinal);
        Progress.Run(progress, whole, step =>
        {
            for (int i = 0; i < whole; i++)
            {
                int[] part = tokens[(i * chunk)..((i + 1) * chunk)];
                if (tokenizer.Vocabulary is { AddsBeginning: true, BeginningToken: { } beginning })
                {
                    part[0] = beginning;
                }

                model.Session.Reset();
                measure(part, (weight, sums, counts) =>
                {
                    // What has no place in GGUF files is not quantized there either.
                    if (Name(names, architecture, weight) is not { } name)
                    {
                        return;
                    }

                    if (!found.TryGetValue(name, out Sums? entry))
                    {
                        found.Add(name, entry = new Sums(new double[sums.Length], new long[counts.Length]));
                    }

                    for (int matrix = 0; matrix < counts.Length; matrix++)
                    {
                        entry.Counts[matrix] += (long)counts[matrix];
                    }

                    for (int column = 0; column < sums.Length; column++)
                    {
                        entry.Columns[column] += sums[column];
                    }
                });
                step();
            }
        });
        return found.Count > 0 ? found : throw new ToolException("The model has no matrices that can be measured.");
    }

    // Some checkpoints' names have a prefix that a declaration has not, and some the other way round; others have names of their own for what models call otherwise.
    private static string? Name(IReadOnlyDictionary<string, string> names, string architecture, string weight)
        => names.TryGetValue(weight, out string? name) ? name
            : GgufWriter.TensorName(architecture, weight) is { } known ? names.Values.Contains(known) ? known : null
            : names.Where(pair => pair.Key.EndsWith("." + weight, StringComparison.Ordinal) || weight.EndsWith("." + pair.Key, StringComparison.Ordinal)).Select(static pair => pair.Value).ToArray() is [var one] ? one
            : null;

    private static void Save(SortedDictionary<string, Sums> found, string path, string text, int chunks, int chunk)
    {
        var writer = new GgufWriter();
        writer.Set("general.type", "imatrix");
        writer.Set("imatrix.datasets", [text]);
        writer.Set("imatrix.chunk_count", (uint)chunks);
        writer.Set("imatrix.chunk_size", (uint)chunk);
        foreach ((string name, Sums sums) in found)
        {
            writer.Add(name + ".in_sum2", [sums.Counts.Length, sums.Columns.Length / sums.Counts.Length], GgmlType.F32, (start, destination) =>
            {
                for (int i = 0; i < destination.Length; i++)
                {
                    destination[i] = (float)sums.Columns[start + i];
                }
            });
            writer.Add(name + ".counts", [sums.Counts.Length, 1], GgmlType.F32, (start, destination) =>
            {
                for (int i = 0; i < destination.Length; i++)
                {
                    destination[i] = sums.Counts[start + i];
                }
            });
        }

        writer.Save(path);
    }

    // The sums are those of the chunks' means; what no token was sent to counts alike.
    private static void SaveLegacy(SortedDictionary<string, Sums> found, string path, string text, int chunks) => AtomicFile.Write(path, stream =>
    {
        using var writer = new BinaryWriter(stream, Encoding.UTF8, leaveOpen: true);
        writer.Write(found.Count);
        foreach ((string name, Sums sums) in found)
        {
            Text(name);
            writer.Write(chunks);
            writer.Write(sums.Columns.Length);
            int columns = sums.Columns.Length / sums.Counts.Length;
            for (int i = 0; i < sums.Columns.Length; i++)
            {
                long tokens = sums.Counts[i / columns];
                writer.Write((float)((tokens > 0 ? sums.Columns[i] / tokens : 1) * chunks));
            }
        }

        writer.Write(chunks);
        Text(text);

        void Text(string value)
        {
            byte[] bytes = Encoding.UTF8.GetBytes(value);
            writer.Write(bytes.Length);
            writer.Write(bytes);
        }
    });

    /// <summary>Sums of squares.</summary>
    /// <param name="Columns">Of each column, of each matrix behind each other's.</param>
    /// <param name="Counts">The tokens that were summed over, of each matrix.</param>
    internal sealed record Sums(double[] Columns, long[] Counts);
}
