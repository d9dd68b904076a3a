using System.Diagnostics;
using System.Globalization;
using System.Reflection;
using System.Runtime.InteropServices;
using LLama;
using LLama.Common;
using LLama.Native;
using ModelGen;

// llamacpp [--threads N] [--build avx512] [--formats F32,Q8_0,…] [--folder DIR] [--rounds N]: the same GGUF files of random weights here and in llama.cpp, round by round.
string Option(string name, string otherwise) => Array.IndexOf(args, name) is >= 0 and int at && at + 1 < args.Length ? args[at + 1] : otherwise;
int threads = int.Parse(Option("--threads", "1"), CultureInfo.InvariantCulture), rounds = int.Parse(Option("--rounds", "5"), CultureInfo.InvariantCulture);
string build = Option("--build", "avx512"), folder = Option("--folder", Path.Combine(Path.GetTempPath(), "modelgen-llamacpp"));
Directory.CreateDirectory(folder);
Llama.Load(build);
int[] prompt = [.. Enumerable.Range(0, 256).Select(i => i * 91 % 32000)];
foreach (GgmlType type in Option("--formats", "F32,F16,BF16,Q8_0,Q4_0,Q4_K,Q6_K").Split(',').Select(Enum.Parse<GgmlType>))
{
    string path = Path.Combine(folder, $"{type}.gguf");
    if (!File.Exists(path))
    {
        Files.Write(path, type);
    }

    using CausalSession ours = Files.Session(path, type, threads);
    using var peer = new Llama(path, threads);
    double difference = 0, range = 0;
    foreach (int token in prompt.AsSpan(0, 8))
    {
        ReadOnlySpan<float> a = ours.Decode(token), b = peer.Decode(token);
        for (int i = 0; i < a.Length; i++)
        {
            (difference, range) = (Math.Max(difference, Math.Abs(a[i] - b[i])), Math.Max(range, Math.Abs(b[i])));
        }
    }

    List<double> decodes = [], peersDecodes = [], prefills = [], peersPrefills = [];
    for (int round = 0; round < rounds; round++)
    {
        const int Steps = 16;
        decodes.Add(Rate(Steps, ours.Reset, () => Array.ForEach(prompt[..Steps], token => ours.Decode(token))));
        peersDecodes.Add(Rate(Steps, peer.Reset, () => Array.ForEach(prompt[..Steps], token => peer.Decode(token))));
        prefills.Add(Rate(prompt.Length, ours.Reset, () => ours.Prefill(prompt)));
        peersPrefills.Add(Rate(prompt.Length, peer.Reset, () => peer.Prefill(prompt)));
    }

    Console.WriteLine(FormattableString.Invariant($"{type,5}, {threads} threads, {build}: decode {Beside(decodes, peersDecodes)}; prefill 256 {Beside(prefills, peersPrefills)} tokens/s; logits differ by {difference:G2} of {range:G3}"));
}

static double Rate(int tokens, Action before, Action run)
{
    before();
    Thread.Sleep(20);
    long start = Stopwatch.GetTimestamp();
    run();
    return tokens / Stopwatch.GetElapsedTime(start).TotalSeconds;
}

static string Beside(List<double> own, List<double> peers)
{
    (double a, double b) = (own.Order().ElementAt(own.Count / 2), peers.Order().ElementAt(peers.Count / 2));
    return FormattableString.Invariant($"{a:F1} (best {own.Max():F1}) to {b:F1} (best {peers.Max():F1}): {a / b:F2}, best rounds {own.Max() / peers.Max():F2}");
}

/// <summary>The files that both read, and the model of each format.</summary>
internal static class Files
{
    public static void Write(string path, GgmlType type)
    {
        string floats = Path.ChangeExtension(path, ".safetensors");
        Llama110.Create(seed: 1).Save(floats);
        using (WeightFile file = WeightFile.Open(floats))
        {
            var writer = new GgufWriter();
            writer.Set("general.architecture", "llama");
            writer.Set("general.quantization_version", 2u);
            writer.Set("tokenizer.ggml.model", "no_vocab");
            writer.Set("llama.attention.layer_norm_rms_epsilon", 1e-5f);
            writer.Set("llama.rope.freq_base", 10000f);
            foreach ((string key, uint value) in (ReadOnlySpan<(string, uint)>)[("context_length", 1024), ("embedding_length", 768), ("block_count", 12), ("feed_forward_length", 2048), ("attention.head_count", 12),
                ("attention.head_count_kv", 12), ("rope.dimension_count", 64), ("vocab_size", 32000)])
            {
                writer.Set("llama." + key, value);
            }

            writer.Add(file, "llama", 64, tensor => tensor.Shape.Length == 2 ? type : GgmlType.F32);
            writer.Save(path);
        }

        File.Delete(floats);
    }

    public static CausalSession Session(string path, GgmlType type, int threads)
    {
        var session = new SessionOptions { Threads = threads };
        return type switch
        {
            GgmlType.F32 => Llama110.Load(path).CreateSession(session),
            GgmlType.F16 => Llama110F16.Load(path).CreateSession(session),
            GgmlType.BF16 => Llama110BF16.Load(path).CreateSession(session),
            GgmlType.Q8_0 => Llama110Q8.Load(path).CreateSession(session),
            GgmlType.Q4_0 => Llama110Q4.Load(path).CreateSession(session),
            GgmlType.Q4_K => Llama110Q4K.Load(path).CreateSession(session),
            GgmlType.Q6_K => Llama110Q6K.Load(path).CreateSession(session),
            _ => throw new ArgumentOutOfRangeException(nameof(type), type, "There is no model of this format."),
        };
    }
}

/// <summary>llama.cpp with flash attention and one sequence.</summary>
internal sealed class Llama : IDisposable
{
    private readonly LLamaWeights _weights;
    private readonly LLamaContext _context;
    private int _position;

    public Llama(string path, int threads)
    {
        var parameters = new ModelParams(path) { ContextSize = 1024, Threads = threads, BatchThreads = threads, GpuLayerCount = 0, FlashAttention = true, BatchSize = 512, UBatchSize = 512 };
        _weights = LLamaWeights.LoadFromFile(parameters);
        _context = _weights.CreateContext(parameters);
    }

    /// <summary>Loads one of the package's builds, in the order of their needs.</summary>
    public static void Load(string build)
    {
        string root = typeof(Llama).Assembly.GetCustomAttributes<AssemblyMetadataAttribute>().Single(static entry => entry.Key == "LlamaCpp").Value!;
        string folder = Path.Combine(root, "linux-x64", "native", build);
        foreach (string library in (string[])["libggml-base.so", "libggml-cpu.so", "libggml.so"])
        {
            NativeLibrary.Load(Path.Combine(folder, library));
        }

        NativeLibraryConfig.LLama.WithLibrary(Path.Combine(folder, "libllama.so")).WithLogCallback(static (_, _) => { });
    }

    public void Reset()
    {
        _context.NativeHandle.MemoryClear();
        _position = 0;
    }

    public ReadOnlySpan<float> Decode(int token) => Prefill([token]);

    public ReadOnlySpan<float> Prefill(int[] tokens)
    {
        var batch = new LLamaBatch();
        for (int i = 0; i < tokens.Length; i++)
        {
            batch.Add(tokens[i], _position++, LLamaSeqId.Zero, i == tokens.Length - 1);
        }

        return _context.Decode(batch) == DecodeResult.Ok ? _context.NativeHandle.GetLogitsIth(tokens.Length - 1) : throw new InvalidOperationException("llama.cpp does not decode.");
    }

    public void Dispose()
    {
        _context.Dispose();
        _weights.Dispose();
    }
}

[Llama(Layers = 12, DModel = 768, Heads = 12, Vocab = 32000, Context = 1024, FeedForward = 2048, TieEmbeddings = true)]
internal partial class Llama110;

[Llama(Layers = 12, DModel = 768, Heads = 12, Vocab = 32000, Context = 1024, FeedForward = 2048, TieEmbeddings = true, Weights = WeightFormat.F16)]
internal partial class Llama110F16;

[Llama(Layers = 12, DModel = 768, Heads = 12, Vocab = 32000, Context = 1024, FeedForward = 2048, TieEmbeddings = true, Weights = WeightFormat.BF16)]
internal partial class Llama110BF16;

[Llama(Layers = 12, DModel = 768, Heads = 12, Vocab = 32000, Context = 1024, FeedForward = 2048, TieEmbeddings = true, Weights = WeightFormat.Q8_0)]
internal partial class Llama110Q8;

[Llama(Layers = 12, DModel = 768, Heads = 12, Vocab = 32000, Context = 1024, FeedForward = 2048, TieEmbeddings = true, Weights = WeightFormat.Q4_0)]
internal partial class Llama110Q4;

[Llama(Layers = 12, DModel = 768, Heads = 12, Vocab = 32000, Context = 1024, FeedForward = 2048, TieEmbeddings = true, Weights = WeightFormat.Q4_K)]
internal partial class Llama110Q4K;

[Llama(Layers = 12, DModel = 768, Heads = 12, Vocab = 32000, Context = 1024, FeedForward = 2048, TieEmbeddings = true, Weights = WeightFormat.Q6_K)]
internal partial class Llama110Q6K;
