using System.Buffers.Binary;
using System.IO.Compression;
using System.Text.Json;
using ModelGen.Tests.Infrastructure;

namespace ModelGen.Tests.Models;

/// <summary>Models that others trained, loaded by parameter name, do what they were trained to do.</summary>
public sealed class TrainedModelTests
{
    private static string SortingFile => TestData.File("gpt-nano-sort", "gpt-nano-sort.safetensors");

    private static ReferenceFile SortingPartials => new(TestData.File("gpt-nano-sort", "gpt-nano-sort-partials.safetensors"));

    [Fact]
    public void Sorting_gpt_sorts_a_thousand_inputs()
    {
        SortingGpt model = SortingGpt.Load(SortingFile);
        using CausalSession session = model.CreateSession();
        Random random = new(1);
        for (int trial = 0; trial < 1000; trial++)
        {
            int[] letters = [.. Enumerable.Range(0, 6).Select(_ => random.Next(3))];
            session.Reset();
            List<int> output = [Sampler.ArgMax(session.Prefill(letters))];
            while (output.Count < letters.Length)
            {
                output.Add(Sampler.ArgMax(session.Decode(output[^1])));
            }

            Assert.Equal(letters.Order(), output);
        }
    }

    [Fact]
    public void Sorting_gpt_agrees_with_double_precision()
    {
        SortingGptReference reference = new(new ReferenceFile(SortingFile));
        SortingGpt model = SortingGpt.Load(SortingFile);
        using CausalSession session = model.CreateSession();
        int[] tokens = [2, 0, 1, 2, 2, 1, 0, 1, 1, 2, 2];
        float[] expected = Array.ConvertAll(reference.Logits(tokens), x => (float)x);
        for (int t = 0; t < tokens.Length; t++)
        {
            Compare.Absolute(expected.AsSpan(t * 3, 3), session.Decode(tokens[t]), 1e-5, $"position {t}");
        }
    }

    /// <summary>The logits that were recorded beside the trained model; see <see cref="SortingGptReference"/> for the biases.</summary>
    [Fact]
    public void Sorting_gpt_gives_the_recorded_logits()
    {
        ReferenceFile partials = SortingPartials;
        int[] tokens = partials.Ints("idx");
        (int batch, int time) = (partials.Shape("idx")[0], partials.Shape("idx")[1]);
        float[] expected = partials.Floats("lm_head");
        SortingGptWithQkvBias model = SortingModel(partials, time);
        using CausalSession session = model.CreateSession();
        for (int b = 0; b < batch; b++)
        {
            session.Reset();
            for (int t = 0; t < time; t++)
            {
                Compare.Absolute(expected.AsSpan(((b * time) + t) * 3, 3), session.Decode(tokens[(b * time) + t]), 1e-5, $"sequence {b}, position {t}");
            }
        }
    }

    private static SortingGptWithQkvBias SortingModel(ReferenceFile partials, int time)
    {
        ReferenceFile file = new(SortingFile);
        double[][] biases = new SortingGptReference(file).RecoverQkvBiases(partials, time);
        SortingGptWithQkvBias model = SortingGptWithQkvBias.Create();
        foreach (ParameterInfo parameter in SortingGptWithQkvBias.Parameters)
        {
            float[] values = file.Has(parameter.Name)
                ? file.Floats(parameter.Name)
                : Array.ConvertAll(biases[int.Parse(parameter.Name.Split('.')[2])], x => (float)x);
            values.CopyTo(model.Parameter(parameter.Name));
        }

        return model;
    }

    [Fact]
    public void Tiny_random_gpt2_gives_the_known_greedy_outputs()
    {
        using JsonDocument known = JsonDocument.Parse(File.ReadAllBytes(TestData.File("tiny-random-gpt2", "expected.json")));
        int[][] prompts = known.RootElement.GetProperty("input_ids").Deserialize<int[][]>()!;
        int[][] outputs = known.RootElement.GetProperty("greedy_numpy").Deserialize<int[][]>()!;
        float[][] logits = known.RootElement.GetProperty("logits_last_row_numpy").Deserialize<float[][]>()!;
        TinyRandomGpt2 model = TinyRandomGpt2.Load(TestData.File("tiny-random-gpt2", "model.safetensors"));
        using CausalSession session = model.CreateSession();
        Assert.NotEmpty(prompts);
        for (int i = 0; i < prompts.Length; i++)
        {
            session.Reset();
            ReadOnlySpan<float> last = session.Prefill(prompts[i]);
            Compare.Absolute(logits[i], last[..logits[i].Length], 1e-5, $"logits after prompt {i}");
            List<int> tokens = [.. prompts[i], Sampler.ArgMax(last)];
            while (tokens.Count < outputs[i].Length)
            {
                tokens.Add(Sampler.ArgMax(session.Decode(tokens[^1])));
            }

            Assert.Equal(outputs[i], tokens);
        }
    }

    [Fact]
    public void Mlp_reads_9831_of_10000_digits()
    {
        byte[] images = Unzip(TestData.File("mnist", "t10k-images-idx3-ubyte.gz"));
        byte[] labels = Unzip(TestData.File("mnist", "t10k-labels-idx1-ubyte.gz"));
        int count = BinaryPrimitives.ReadInt32BigEndian(images.AsSpan(4));
        Assert.Equal(10_000, count);
        float[] inputs = Array.ConvertAll(images[16..], pixel => pixel / 255f);
        float[] outputs = new float[count * 10];
        DigitMlp model = DigitMlp.Load(TestData.File("mnist", "mnist_mlp.safetensors"));
        using FeedForwardSession session = model.CreateSession();
        session.Predict(inputs, outputs);
        Assert.Equal(9831, Enumerable.Range(0, count).Count(i => Sampler.ArgMax(outputs.AsSpan(10 * i, 10)) == labels[8 + i]));
    }

    /// <summary>
    /// The mean loss on the first 2,000 characters of the plays. The known figure leaves out the letters U and u, whose entries in
    /// the vocabulary file are damaged (their keys are empty and two spaces, for ids 40 and 13); with both mended the model
    /// does much better, since it reads the text it was trained on.
    /// </summary>
    [Fact]
    public void Lstm_scores_the_known_loss_on_shakespeare()
    {
        Dictionary<string, int> vocabulary = JsonSerializer.Deserialize<Dictionary<string, int>>(File.ReadAllText(TestData.File("char-lstm", "vocab.json")))!;
        string text = File.ReadAllText(TestData.File("text", "tinyshakespeare.txt"))[..2000];
        CharLstm model = ConvertedLstm();
        using CausalSession session = model.CreateSession();
        int[] asKnown = [.. text.Where(c => vocabulary.ContainsKey(c.ToString())).Select(c => vocabulary[c.ToString()])];
        Assert.Equal(1.684, MeanLoss(session, asKnown), 0.001);

        Assert.True(vocabulary.Remove("", out int upper) & vocabulary.Remove("  ", out int lower));
        vocabulary.Add("U", upper);
        vocabulary.Add("u", lower);
        session.Reset();

        // What the same model scores when computed in double precision with numpy.
        Assert.Equal(1.2837788, MeanLoss(session, [.. text.Select(c => vocabulary[c.ToString()])]), 1e-5);
    }

    private static double MeanLoss(CausalSession session, int[] tokens)
    {
        double total = 0;
        for (int t = 0; t + 1 < tokens.Length; t++)
        {
            ReadOnlySpan<float> logits = session.Decode(tokens[t]);
            double maximum = double.NegativeInfinity;
            foreach (float logit in logits)
            {
                maximum = Math.Max(maximum, logit);
            }

            double sum = 0;
            foreach (float logit in logits)
            {
                sum += Math.Exp(logit - maximum);
            }

            total += Math.Log(sum) + maximum - logits[tokens[t + 1]];
        }

        return total / (tokens.Length - 1);
    }

    /// <summary>
    /// From TensorFlow's BasicLSTMCell: one matrix [inputs then state, gates] with the gates input, candidate, forget, output, and 1
    /// added to the forget gate, to PyTorch's two matrices [gates, inputs] with input, forget, candidate, output.
    /// </summary>
    private static CharLstm ConvertedLstm()
    {
        const int Size = 128;
        ReadOnlySpan<int> gates = [0, 2, 1, 3];
        ReferenceFile file = new(TestData.File("char-lstm", "shakespeare.safetensors"));
        CharLstm model = CharLstm.Create();
        file.Floats("embedding").CopyTo(model.Parameter("embedding.weight"));
        for (int layer = 0; layer < 2; layer++)
        {
            float[] weights = file.Floats($"rnnlm/multi_rnn_cell/cell_{layer}/basic_lstm_cell/weights");
            float[] biases = file.Floats($"rnnlm/multi_rnn_cell/cell_{layer}/basic_lstm_cell/biases");
            Span<float> fromInput = model.Parameter($"rnn.weight_ih_l{layer}");
            Span<float> fromState = model.Parameter($"rnn.weight_hh_l{layer}");
            Span<float> bias = model.Parameter($"rnn.bias_ih_l{layer}");
            model.Parameter($"rnn.bias_hh_l{layer}").Clear();
            for (int gate = 0; gate < 4; gate++)
            {
                for (int unit = 0; unit < Size; unit++)
                {
                    int row = (gate * Size) + unit;
                    int column = (gates[gate] * Size) + unit;
                    bias[row] = biases[column] + (gate == 1 ? 1 : 0);
                    for (int i = 0; i < Size; i++)
                    {
                        fromInput[(row * Size) + i] = weights[(i * 4 * Size) + column];
                        fromState[(row * Size) + i] = weights[((Size + i) * 4 * Size) + column];
                    }
                }
            }
        }

        float[] head = file.Floats("rnnlm/softmax_w");
        Span<float> decoder = model.Parameter("decoder.weight");
        for (int i = 0; i < decoder.Length; i++)
        {
            decoder[i] = head[(i % Size * 65) + (i / Size)];
        }

        file.Floats("rnnlm/softmax_b").CopyTo(model.Parameter("decoder.bias"));
        return model;
    }

    private static byte[] Unzip(string path)
    {
        using GZipStream stream = new(File.OpenRead(path), CompressionMode.Decompress);
        using MemoryStream bytes = new();
        stream.CopyTo(bytes);
        return bytes.ToArray();
    }
}
