using System.Text.Json;
using ModelGen.Tests.Infrastructure;
using ModelGen.Tool;

namespace ModelGen.ToolTests;

/// <summary>What the tool says of models: errors of smaller weights, perplexity, speed.</summary>
[Collection(ToolCommand.Collection)]
public sealed class MeasureTests : IDisposable
{
    private readonly TemporaryFile _folder = new("out");

    public void Dispose() => _folder.Dispose();

    [Fact]
    public void Perplexity_is_that_of_the_model_step_by_step()
    {
        string data = TestData.File("stories260K", "stories260K.bin");
        string vocabulary = TestData.File("stories260K", "tok512.bin");
        string text = string.Concat(Enumerable.Repeat(File.ReadAllText(TestData.File("stories260K", "expected_greedy_200.txt")) + " ", 2));
        File.WriteAllText(Beside("text.txt"), text);
        JsonElement line = ToolCommand.Json("perplexity", data, "--tokenizer", vocabulary, "--text", Beside("text.txt"), "--chunk", "64");

        // The second half of every whole chunk, each beginning with the token that texts begin with.
        using LoadedModel model = LoadedModel.Of(data, vocabulary, null, new SessionOptions { Threads = 1 });
        int[] tokens = model.Tokenizer!.EncodePrompt(text);
        double sum = 0;
        int count = 0;
        for (int chunk = 0; chunk + 64 <= tokens.Length; chunk += 64)
        {
            model.Session.Reset();
            for (int i = 0; i < 63; i++)
            {
                ReadOnlySpan<float> logits = model.Session.Decode(i == 0 ? 1 : tokens[chunk + i]);
                if (i >= 31)
                {
                    sum -= Sampler.LogProbability(logits, tokens[chunk + i + 1]);
                    count++;
                }
            }
        }

        Assert.Equal(count, line.GetProperty("tokens").GetInt32());
        Assert.Equal(Math.Exp(sum / count), line.GetProperty("perplexity").GetDouble(), 1e-3);
        Assert.InRange(line.GetProperty("perplexity").GetDouble(), 1, 10);
        Assert.Equal(32, ToolCommand.Json("perplexity", data, "--tokenizer", vocabulary, "--text", Beside("text.txt"), "--chunk", "64", "--chunks", "1").GetProperty("tokens").GetInt32());
        Assert.Equal(2, ToolCommand.Run("perplexity", data, "--tokenizer", vocabulary, "--text", Beside("text.txt"), "--chunk", "3").Code);
        Assert.Equal(2, ToolCommand.Run("perplexity", data, "--tokenizer", vocabulary, "--text", Beside("text.txt"), "--chunk", "1000").Code);
        Assert.Equal(2, ToolCommand.Run("perplexity", data).Code);
        Assert.Equal(1, ToolCommand.Run("perplexity", data, "--tokenizer", vocabulary, "--text", Beside("none.txt")).Code);

        // Fewer bits foresee it less well.
        ToolCommand.Json("quantize", data, Beside("q.gguf"), "Q4_0", "--tokenizer", vocabulary);
        double quantized = ToolCommand.Json("perplexity", Beside("q.gguf"), "--text", Beside("text.txt"), "--chunk", "64").GetProperty("perplexity").GetDouble();
        Assert.InRange(quantized, line.GetProperty("perplexity").GetDouble() * 1.001, line.GetProperty("perplexity").GetDouble() * 3);
    }

    [Fact]
    public void Quantize_tells_the_error_of_every_tensor()
    {
        string data = TestData.File("stories260K", "stories260K.bin");
        double before = 0;
        foreach (string type in (string[])["F16", "Q8_0", "Q5_0", "Q4_0"])
        {
            JsonElement line = ToolCommand.Json("quantize", data, Beside(type + ".gguf"), type);
            JsonElement tensor = line.GetProperty("tensors").EnumerateArray().Single(static one => one.GetProperty("name").GetString() == "model.layers.2.self_attn.q_proj.weight");
            Assert.Equal(type, tensor.GetProperty("type").GetString());
            double error = tensor.GetProperty("rmse").GetDouble() / tensor.GetProperty("rms").GetDouble();
            Assert.InRange(error, before, 0.2);
            Assert.True(error > before);
            before = error;
            Assert.All(line.GetProperty("tensors").EnumerateArray().Where(static one => one.GetProperty("name").GetString()!.Contains("norm", StringComparison.Ordinal)), static norm => Assert.Equal(0, norm.GetProperty("rmse").GetDouble()));
        }

        Assert.InRange(before, 0.02, 0.2);
        ToolCommand.Result shown = ToolCommand.Run("quantize", data, Beside("x.gguf"), "Q8_0");
        Assert.Equal(0, shown.Code);
        Assert.Contains("model.layers.0.mlp.up_proj.weight", shown.Output, StringComparison.Ordinal);
        ToolCommand.Result refused = ToolCommand.Run("quantize", data, Beside("x.gguf"), "Q3");
        Assert.Equal(2, refused.Code);
        Assert.StartsWith("error: TYPE: expected one of F32,", refused.Error, StringComparison.Ordinal);
        Assert.Equal(2, ToolCommand.Run("quantize", data, Beside("x.bin"), "Q8_0").Code);
    }

    [Fact]
    public void Bench_measures_prompt_and_answer()
    {
        string data = TestData.File("stories260K", "stories260K.bin");
        JsonElement line = ToolCommand.Json("bench", data, "--prompt-tokens", "32", "--tokens", "8", "--rounds", "2");
        Assert.True(line.GetProperty("prefill_tokens_per_second").GetDouble() > 0);
        Assert.True(line.GetProperty("tokens_per_second_best").GetDouble() >= line.GetProperty("tokens_per_second").GetDouble());
        Assert.Contains("tokens/s", ToolCommand.Run("bench", data, "--prompt-tokens", "4", "--tokens", "2", "--rounds", "1").Output, StringComparison.Ordinal);
        Assert.Equal(2, ToolCommand.Run("bench", data, "--prompt-tokens", "1000").Code);
        Assert.Equal(2, ToolCommand.Run("bench", data, "--rounds", "0").Code);
    }

    private string Beside(string name) => Path.Combine(Path.GetDirectoryName(_folder.Path)!, name);
}
