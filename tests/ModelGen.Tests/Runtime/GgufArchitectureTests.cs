using ModelGen.Runtime;
using ModelGen.Tests.Infrastructure;

namespace ModelGen.Tests.Runtime;

/// <summary>GGUF files of all architectures with any of the tensors that one of them has, in shapes that they need not have: under Hugging Face's names they are read and written again, or refused.</summary>
public sealed class GgufArchitectureTests : IDisposable
{
    private const int Rounds = 600;
    private const int HeadWidth = 16;

    private static readonly string[] s_architectures =
    [
        "llama", "gpt2", "qwen2", "qwen2moe", "qwen3", "qwen3moe", "qwen35", "olmo2", "smollm3", "minicpm", "phi2", "phi3", "stablelm", "command-r", "cohere2", "nemotron", "mpt", "bloom", "gptneox", "gemma", "gemma2", "gemma3", "gemma3n", "gemma4", "gpt-oss", "lfm2", "mamba2",
        "granitehybrid", "modern-bert", "nomic-bert", "bert", "unheard",
    ];

    private static readonly string[] s_ofBlocks =
    [
        "attn_qkv", "attn_q", "attn_k", "attn_v", "attn_output", "attn_norm", "attn_q_norm", "attn_sinks", "attn_gate", "ffn_up", "ffn_gate", "ffn_down", "ffn_norm", "ffn_gate_inp", "ffn_gate_exps", "ffn_up_exps", "layer_output_norm", "post_attention_norm",
        "ssm_a", "ssm_d", "ssm_dt", "ssm_in", "ssm_conv1d", "ssm_norm", "shortconv.conv", "laurel_l", "altup_predict_coef", "per_layer_inp_gate",
    ];

    private static readonly string[] s_others =
    [
        "token_embd.weight", "token_embd_norm.weight", "output.weight", "output_norm.weight", "altup_proj.weight", "altup_unembd_proj.weight", "per_layer_token_embd.weight", "rope_freqs.weight", "rope_factors_long.weight", "rope_factors_short.weight", "position_embd.weight",
        "token_types.weight",
    ];

    private readonly TemporaryFile _file = new("random.gguf");
    private readonly TemporaryFile _again = new("again.gguf");

    public void Dispose()
    {
        _file.Dispose();
        _again.Dispose();
    }

    [Fact]
    public void Any_tensors_are_read_and_written_again_or_refused()
    {
        int read = 0, written = 0;
        for (int seed = 0; seed < Rounds; seed++)
        {
            RandomCase.Run(seed, random =>
            {
                string architecture = Write(random, out bool isOdd);
                try
                {
                    using WeightFile file = WeightFile.Open(_file.Path);
                    ReadAll(file);
                    read++;
                    foreach (WeightTensor tensor in file.Tensors)
                    {
                        written += IsWritten(file, tensor, architecture, isOdd ? random.Next(0, HeadWidth + 1) : HeadWidth) ? 1 : 0;
                    }
                }
                catch (ModelFileException)
                {
                    // Two tensors of one name, or rows of no heads.
                }
            });
        }

        Assert.InRange(read, Rounds / 2, Rounds - 1);
        Assert.InRange(written, Rounds, int.MaxValue);
    }

    [Fact]
    public void Heads_without_rows_are_read()
    {
        var writer = new GgufWriter();
        writer.Set("general.architecture", "llama");
        writer.Set("llama.attention.key_length", (uint)HeadWidth);
        writer.Add("blk.0.attn_q.weight", [0, 32], GgmlType.F32, static (_, _) => { });
        writer.Save(_file.Path);
        using WeightFile file = WeightFile.Open(_file.Path);
        WeightTensor tensor = Assert.Single(file.Tensors);
        Assert.Equal("model.layers.0.self_attn.q_proj.weight", tensor.Name);
        file.ReadFloats(tensor, 0, []);
        Assert.Equal(0, tensor.Length);
    }

    private string Write(Random random, out bool isOdd)
    {
        bool odd = isOdd = random.Next(3) == 0;
        string architecture = s_architectures[random.Next(s_architectures.Length)];
        var writer = new GgufWriter();
        writer.Set("general.architecture", architecture);
        foreach ((string key, int usual) in ((string, int)[])[("attention.head_count", 2), ("embedding_length", 2 * HeadWidth), ("attention.key_length", HeadWidth), ("ssm.group_count", 2)])
        {
            if (!odd || random.Next(4) > 0)
            {
                writer.Set($"{architecture}.{key}", (uint)(odd ? random.Next(0, (2 * usual) + 1) : usual));
            }
        }

        foreach (string name in Enumerable.Range(0, 12).Select(_ => random.Next(3) == 0 ? s_others[random.Next(s_others.Length)] : $"blk.{random.Next(3)}.{s_ofBlocks[random.Next(s_ofBlocks.Length)]}.{(random.Next(6) == 0 ? "bias" : "weight")}").Distinct().ToArray())
        {
            int rank = odd && random.Next(8) == 0 ? random.Next(0, 5) : name.Contains("norm", StringComparison.Ordinal) || name.EndsWith("bias", StringComparison.Ordinal) ? 1 : name.Contains("exps", StringComparison.Ordinal) || name.StartsWith("altup", StringComparison.Ordinal) ? 3 : 2;
            long[] shape = [.. Enumerable.Range(0, rank).Select(_ => (long)(odd && random.Next(6) == 0 ? new[] { 0, 1, 2, 3, 7, 24 }[random.Next(6)] : new[] { 16, 32, 48 }[random.Next(3)]))];
            writer.Add(name, shape, rank > 1 && shape[^1] % 32 == 0 && random.Next(4) == 0 ? GgmlType.Q8_0 : GgmlType.F32, static (_, values) => values.Fill(1));
        }

        writer.Save(_file.Path);
        return architecture;
    }

    private bool IsWritten(WeightFile file, WeightTensor tensor, string architecture, int headWidth)
    {
        var writer = new GgufWriter();
        writer.Set("general.architecture", architecture);
        writer.Set(architecture + ".ssm.group_count", 2u);
        writer.Set(architecture + ".attention.key_length", (uint)HeadWidth);
        try
        {
            writer.Add(new Single(file, tensor), architecture, headWidth, static _ => GgmlType.F32);
        }
        catch (Exception exception) when (exception is ModelFileException || (exception is NotSupportedException && architecture == "unheard"))
        {
            return false;
        }

        writer.Save(_again.Path);
        using GgufFile again = GgufFile.Open(_again.Path);
        ReadAll(again);
        return true;
    }

    private static void ReadAll(WeightFile file)
    {
        foreach (WeightTensor tensor in file.Tensors.Where(static tensor => tensor.IsFloat))
        {
            float[] values = new float[tensor.Length];
            file.ReadFloats(tensor, 0, values);
            file.ReadFloats(tensor, tensor.Length / 3, values.AsSpan(0, (int)(tensor.Length / 2)));
        }
    }

    /// <summary>One tensor of a file.</summary>
    private sealed class Single(WeightFile file, WeightTensor tensor) : WeightFile
    {
        public override string Path => file.Path;

        public override WeightFileFormat Format => file.Format;

        public override IReadOnlyList<WeightTensor> Tensors => [tensor];

        public override IReadOnlyDictionary<string, string> Metadata => file.Metadata;

        public override WeightTensor? Find(string name) => name == tensor.Name ? tensor : null;

        public override void ReadFloats(WeightTensor tensor, long start, Span<float> destination) => file.ReadFloats(tensor, start, destination);

        private protected override void Close()
        {
        }
    }
}
