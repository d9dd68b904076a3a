using System.Text.Json;
using ModelGen.Tests.Infrastructure;
using ModelGen.Tool;

namespace ModelGen.ToolTests;

/// <summary>Making an importance matrix: the mean squares are those of a plain model in double precision, and quantizing by them loses less where it counts.</summary>
[Collection(ToolCommand.Collection)]
public sealed class ImportanceMatrixTests : IDisposable
{
    private const int Chunk = 48;

    private readonly string _folder = Directory.CreateTempSubdirectory("modelgen-imatrix").FullName;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Fact]
    public void Columns_are_the_mean_squares_of_what_matrices_read()
    {
        string data = TestData.File("stories260K", "stories260K.bin");
        string vocabulary = TestData.File("stories260K", "tok512.bin");
        string text = File.ReadAllText(TestData.File("stories260K", "expected_greedy_200.txt"));
        File.WriteAllText(Beside("text.txt"), text);
        JsonElement made = ToolCommand.Json("imatrix", data, "--tokenizer", vocabulary, "--text", Beside("text.txt"), "--chunk", $"{Chunk}", "-o", Beside("m.gguf"));

        // Beside an older file, and renamed: whoever reads the older one meanwhile reads all of it.
        File.WriteAllText(Beside("m.dat"), "the older one");
        using (StreamReader? older = OlderFile.Open(Beside("m.dat")))
        {
            ToolCommand.Json("imatrix", data, "--tokenizer", vocabulary, "--text", Beside("text.txt"), "--chunk", $"{Chunk}", "-o", Beside("m.dat"), "--threads", "2");
            Assert.Equal("the older one", older?.ReadToEnd() ?? "the older one");
        }

        Assert.Equal(["m.dat", "m.gguf", "text.txt"], Directory.GetFiles(_folder).Select(Path.GetFileName).Order(StringComparer.Ordinal));
        TextTokenizer tokenizer = TextTokenizer.Load(vocabulary);
        int[] tokens = tokenizer.EncodePrompt(text);
        int chunks = tokens.Length / Chunk;
        Assert.True(chunks > 1);
        Assert.Equal(chunks, made.GetProperty("chunks").GetInt32());
        Assert.Equal(chunks * Chunk, made.GetProperty("tokens").GetInt32());

        var expected = new Dictionary<string, double[]>(StringComparer.Ordinal);
        using (WeightFile file = WeightFile.Open(data))
        {
            for (int chunk = 0; chunk < chunks; chunk++)
            {
                int[] part = tokens[(chunk * Chunk)..((chunk + 1) * Chunk)];
                part[0] = 1;
                Run(file, part, expected, []);
            }
        }

        Assert.Equal(expected.Count, made.GetProperty("entries").GetInt32());
        foreach (string path in new[] { Beside("m.gguf"), Beside("m.dat") })
        {
            var matrix = ImportanceMatrix.Read(path);
            foreach ((string name, double[] sums) in expected)
            {
                float[] found = matrix.Of(name, sums.Length, 1);
                double largest = sums.Max() / (chunks * Chunk);
                for (int column = 0; column < sums.Length; column++)
                {
                    double mean = sums[column] / (chunks * Chunk);
                    Assert.True(Math.Abs(found[column] - mean) <= (1e-4 * mean) + (1e-7 * largest), $"{path}, {name}, column {column}: expected {mean}, found {found[column]}");
                }
            }
        }

        // What it is for: with it the error of weights, each squared and times what its column is multiplied with, is less.
        ToolCommand.Json("quantize", data, Beside("plain.gguf"), "Q4_0", "--tokenizer", vocabulary);
        JsonElement quantized = ToolCommand.Json("quantize", data, Beside("weighted.gguf"), "Q4_0", "--tokenizer", vocabulary, "--imatrix", Beside("m.gguf"));
        Assert.True(quantized.GetProperty("importance_entries").GetInt32() >= 35);
        double plain = Error(Beside("plain.gguf"));
        double weighted = Error(Beside("weighted.gguf"));
        Assert.InRange(weighted / plain, 0.2, 0.95);

        double Error(string path)
        {
            using WeightFile before = WeightFile.Open(data);
            using WeightFile after = WeightFile.Open(path);
            double error = 0;
            foreach ((string name, double[] sums) in expected.Where(static entry => !entry.Key.StartsWith("token_embd", StringComparison.Ordinal)))
            {
                string other = HuggingFaceName(name);
                float[] one = Floats(before, other);
                float[] two = Floats(after, other);
                for (int i = 0; i < one.Length; i++)
                {
                    error += sums[i % sums.Length] / (chunks * Chunk) * Math.Pow(one[i] - two[i], 2);
                }
            }

            return error;
        }
    }

    // Each expert's matrices by the tokens that were sent to it, and how many those were.
    [Fact]
    public void Experts_have_sums_and_counts_of_their_own()
    {
        const int Experts = 5;
        string model = RandomCheckpoint.Write(_folder, "mixtral", """ "num_key_value_heads": 2, "rope_theta": 10000.0, "rms_norm_eps": 1e-5, "num_local_experts": 5, "num_experts_per_tok": 2, "tie_word_embeddings": false """);
        string vocabulary = TestData.File("stories260K", "tok512.bin");
        string text = File.ReadAllText(TestData.File("stories260K", "expected_greedy_200.txt"));
        File.WriteAllText(Beside("text.txt"), text);
        int[] tokens = TextTokenizer.Load(vocabulary).EncodePrompt(text);
        int chunks = tokens.Length / Chunk;
        var expected = new Dictionary<string, double[]>(StringComparer.Ordinal);
        var sent = new Dictionary<string, int[]>(StringComparer.Ordinal);
        using (WeightFile file = WeightFile.Open(model))
        {
            for (int chunk = 0; chunk < chunks; chunk++)
            {
                int[] part = tokens[(chunk * Chunk)..((chunk + 1) * Chunk)];
                part[0] = 1;
                Run(file, part, expected, sent);
            }
        }

        Assert.Equal(9, sent.Count);
        Assert.All(sent.Values, counts => Assert.Equal(2 * chunks * Chunk, counts.Sum()));
        foreach (string extension in (string[])["gguf", "dat"])
        {
            JsonElement made = ToolCommand.Json("imatrix", model, "--tokenizer", vocabulary, "--text", Beside("text.txt"), "--chunk", $"{Chunk}", "-o", Beside("m." + extension), "--threads", extension == "gguf" ? "1" : "2");
            Assert.Equal(expected.Count, made.GetProperty("entries").GetInt32());
            var matrix = ImportanceMatrix.Read(Beside("m." + extension));
            foreach ((string name, double[] sums) in expected)
            {
                int matrices = sent.ContainsKey(name) ? Experts : 1, columns = sums.Length / matrices;
                float[] found = matrix.Of(name, columns, matrices);
                Assert.Equal(sums.Length, found.Length);
                for (int i = 0; i < found.Length; i++)
                {
                    int count = sent.TryGetValue(name, out int[]? counts) ? counts[i / columns] : chunks * Chunk;
                    double mean = count > 0 ? sums[i] / count : 1;
                    Assert.True(Math.Abs(found[i] - mean) <= (2e-4 * mean) + 1e-7, $"{extension}, {name}, {i}: expected {mean}, found {found[i]}");
                }
            }
        }

        // As llama.cpp has it: a row and a count for each expert.
        using (GgufFile file = GgufFile.Open(Beside("m.gguf")))
        {
            foreach ((string name, int[] counts) in sent)
            {
                GgufTensor sums = file.Find(name + ".in_sum2")!, times = file.Find(name + ".counts")!;
                Assert.Equal([Experts, name.Contains("down", StringComparison.Ordinal) ? 160 : 96], sums.Shape);
                Assert.Equal([Experts, 1], times.Shape);
                float[] found = new float[Experts];
                file.ReadFloats(times, 0, found);
                Assert.Equal(counts.Select(static count => (float)count), found);
            }
        }

        Assert.True(ToolCommand.Json("quantize", model, Beside("weighted.gguf"), "Q4_0", "--tokenizer", vocabulary, "--imatrix", Beside("m.gguf")).GetProperty("importance_entries").GetInt32() >= 9 + 12);
    }

    [Fact]
    public void What_cannot_be_measured_is_refused()
    {
        string data = TestData.File("stories260K", "stories260K.bin");
        string vocabulary = TestData.File("stories260K", "tok512.bin");
        File.WriteAllText(Beside("short.txt"), "Once.");
        Assert.Equal(1, ToolCommand.Run("imatrix", data, "--tokenizer", vocabulary, "--text", Beside("short.txt"), "-o", Beside("x.gguf")).Code);
        Assert.Equal(1, ToolCommand.Run("imatrix", data, "--tokenizer", vocabulary, "--text", Beside("none.txt"), "-o", Beside("x.gguf")).Code);
        Assert.Equal(2, ToolCommand.Run("imatrix", data, "--text", Beside("short.txt"), "-o", Beside("x.gguf")).Code);
        Assert.Equal(2, ToolCommand.Run("imatrix", data, "--tokenizer", vocabulary, "--text", Beside("short.txt"), "-o", Beside("x.gguf"), "--chunk", "0").Code);
        Assert.Equal(2, ToolCommand.Run("imatrix", data, "--tokenizer", vocabulary, "--text", Beside("short.txt")).Code);
        Assert.False(File.Exists(Beside("x.gguf")));
    }

    private string Beside(string name) => Path.Combine(_folder, name);

    private static string HuggingFaceName(string name)
    {
        string[] parts = name.Split('.');
        string module = parts[2] switch
        {
            "attn_q" => "self_attn.q_proj",
            "attn_k" => "self_attn.k_proj",
            "attn_v" => "self_attn.v_proj",
            "attn_output" => "self_attn.o_proj",
            "ffn_gate" => "mlp.gate_proj",
            "ffn_up" => "mlp.up_proj",
            _ => "mlp.down_proj",
        };
        return $"model.layers.{parts[1]}.{module}.weight";
    }

    private static float[] Floats(WeightFile file, string name)
    {
        WeightTensor tensor = file.Find(name)!;
        float[] values = new float[tensor.Length];
        file.ReadFloats(tensor, 0, values);
        return values;
    }

    // Llama's forward pass, one token after the other, in double precision; what every matrix reads is squared and added.
    private static void Run(WeightFile file, int[] tokens, Dictionary<string, double[]> sums, Dictionary<string, int[]> sent)
    {
        bool isMixture = file.Tensors.Any(static tensor => tensor.Name.Contains("experts", StringComparison.Ordinal));
        int Width = isMixture ? 96 : 64, Heads = isMixture ? 6 : 8, KeyHeads = isMixture ? 2 : 4, HeadWidth = Width / Heads, Layers = isMixture ? 3 : 5;
        float[] table = Floats(file, "model.embed_tokens.weight");
        double[][] rows = [.. tokens.Select(token => Enumerable.Range(0, Width).Select(i => (double)table[(token * Width) + i]).ToArray())];
        for (int layer = 0; layer < Layers; layer++)
        {
            string prefix = $"model.layers.{layer}.";
            string block = $"blk.{layer}.";
            double[][] normal = Norm(rows, prefix + "input_layernorm.weight");
            double[][] queries = Linear(normal, "self_attn.q_proj", "attn_q");
            double[][] keys = Linear(normal, "self_attn.k_proj", "attn_k");
            double[][] values = Linear(normal, "self_attn.v_proj", "attn_v");
            for (int t = 0; t < tokens.Length; t++)
            {
                Rotate(queries[t], t);
                Rotate(keys[t], t);
            }

            double[][] mixed = [.. tokens.Select((_, t) => Attend(t))];
            Add(Linear(mixed, "self_attn.o_proj", "attn_output"));
            normal = Norm(rows, prefix + "post_attention_layernorm.weight");
            if (isMixture)
            {
                Add(Mixture(normal));
                continue;
            }

            double[][] gate = Linear(normal, "mlp.gate_proj", "ffn_gate");
            double[][] up = Linear(normal, "mlp.up_proj", "ffn_up");
            double[][] hidden = [.. gate.Select((row, t) => row.Select((x, i) => x / (1 + Math.Exp(-x)) * up[t][i]).ToArray())];
            Add(Linear(hidden, "mlp.down_proj", "ffn_down"));

            // The two likeliest experts of each token, by their probabilities' shares.
            double[][] Mixture(double[][] x)
            {
                double[][] scores = Linear(x, "block_sparse_moe.gate", "ffn_gate_inp"), result = [.. x.Select(row => new double[row.Length])];
                for (int t = 0; t < x.Length; t++)
                {
                    int[] chosen = [.. Enumerable.Range(0, scores[t].Length).OrderByDescending(expert => scores[t][expert]).Take(2)];
                    double[] shares = [.. chosen.Select(expert => Math.Exp(scores[t][expert] - scores[t][chosen[0]]))];
                    for (int i = 0; i < 2; i++)
                    {
                        double[] gate = Expert("w1", "ffn_gate_exps", chosen[i], x[t]), up = Expert("w3", "ffn_up_exps", chosen[i], x[t]);
                        double[] down = Expert("w2", "ffn_down_exps", chosen[i], [.. gate.Select((value, c) => value / (1 + Math.Exp(-value)) * up[c])]);
                        for (int c = 0; c < down.Length; c++)
                        {
                            result[t][c] += shares[i] / shares.Sum() * down[c];
                        }
                    }
                }

                return result;
            }

            double[] Expert(string name, string gguf, int expert, double[] x)
            {
                float[] weight = Floats(file, $"{prefix}block_sparse_moe.experts.{name}.weight");
                int all = weight.Length / 5, columns = x.Length;
                string entry = block + gguf + ".weight";
                if (!sums.TryGetValue(entry, out double[]? squares))
                {
                    sums.Add(entry, squares = new double[5 * columns]);
                    sent.Add(entry, new int[5]);
                }

                sent[entry][expert]++;
                for (int i = 0; i < columns; i++)
                {
                    squares[(expert * columns) + i] += x[i] * x[i];
                }

                return [.. Enumerable.Range(0, all / columns).Select(o => Enumerable.Range(0, columns).Sum(i => weight[(expert * all) + (o * columns) + i] * x[i]))];
            }

            double[][] Linear(double[][] x, string name, string gguf)
            {
                Square(block + gguf + ".weight", x);
                float[] weight = Floats(file, prefix + name + ".weight");
                int columns = x[0].Length;
                return [.. x.Select(row => Enumerable.Range(0, weight.Length / columns).Select(o => Enumerable.Range(0, columns).Sum(i => weight[(o * columns) + i] * row[i])).ToArray())];
            }

            double[] Attend(int t)
            {
                double[] result = new double[Width];
                for (int head = 0; head < Heads; head++)
                {
                    int from = head * KeyHeads / Heads * HeadWidth;
                    double[] scores = [.. Enumerable.Range(0, t + 1).Select(s => Enumerable.Range(0, HeadWidth).Sum(i => queries[t][(head * HeadWidth) + i] * keys[s][from + i]) / Math.Sqrt(HeadWidth))];
                    double largest = scores.Max();
                    double[] weights = [.. scores.Select(score => Math.Exp(score - largest))];
                    double sum = weights.Sum();
                    for (int i = 0; i < HeadWidth; i++)
                    {
                        result[(head * HeadWidth) + i] = Enumerable.Range(0, t + 1).Sum(s => weights[s] / sum * values[s][from + i]);
                    }
                }

                return result;
            }
        }

        // A head of its own, or one that is tied to the embeddings.
        Square(isMixture ? "output.weight" : "token_embd.weight", Norm(rows, "model.norm.weight"));

        double[][] Norm(double[][] x, string name)
        {
            float[] weight = Floats(file, name);
            return [.. x.Select(row => row.Select((value, i) => value / Math.Sqrt((row.Sum(static v => v * v) / row.Length) + 1e-5) * weight[i]).ToArray())];
        }

        void Add(double[][] x)
        {
            for (int t = 0; t < x.Length; t++)
            {
                rows[t] = [.. rows[t].Select((value, i) => value + x[t][i])];
            }
        }

        void Square(string name, double[][] x)
        {
            if (!sums.TryGetValue(name, out double[]? columns))
            {
                sums.Add(name, columns = new double[x[0].Length]);
            }

            foreach (double[] row in x)
            {
                for (int i = 0; i < row.Length; i++)
                {
                    columns[i] += row[i] * row[i];
                }
            }
        }

        // Hugging Face's order: an element and the one half a head further on are a pair.
        void Rotate(double[] row, int position)
        {
            for (int head = 0; head < row.Length; head += HeadWidth)
            {
                for (int i = 0; i < HeadWidth / 2; i++)
                {
                    double angle = position * Math.Pow(10_000, -2.0 * i / HeadWidth);
                    (double a, double b) = (row[head + i], row[head + i + (HeadWidth / 2)]);
                    row[head + i] = (a * Math.Cos(angle)) - (b * Math.Sin(angle));
                    row[head + i + (HeadWidth / 2)] = (a * Math.Sin(angle)) + (b * Math.Cos(angle));
                }
            }
        }
    }
}
