using System.Diagnostics;
using System.Globalization;
using System.Reflection;
using System.Runtime.InteropServices;
using LLama;
using LLama.Common;
using LLama.Native;
using ModelGen;
using ModelGen.Tool;

// llamacpp [--shapes NAME,…] [--formats F32,Q8_0,…] [--threads N] [--build avx512] [--folder DIR] [--rounds N] [--batch N] [--load] [--write]: the same GGUF files of
// random weights here and in llama.cpp, round by round. --batch decodes so many sequences together; --load measures from nothing to the first token's logits; --write only writes the files.
string Option(string name, string otherwise) => Array.IndexOf(args, name) is >= 0 and int at && at + 1 < args.Length ? args[at + 1] : otherwise;
int threads = int.Parse(Option("--threads", "1"), CultureInfo.InvariantCulture), rounds = int.Parse(Option("--rounds", "5"), CultureInfo.InvariantCulture), sequences = int.Parse(Option("--batch", "1"), CultureInfo.InvariantCulture);
string build = Option("--build", "avx512"), folder = Option("--folder", Path.Combine(Path.GetTempPath(), "modelgen-llamacpp"));
Directory.CreateDirectory(folder);
Llama.Load(build);
foreach (string name in Option("--shapes", "llama110").Split(','))
{
    Shape shape = Shape.All.FirstOrDefault(shape => shape.Name == name) ?? throw new ArgumentException($"--shapes: expected {string.Join(", ", Shape.All.Select(static shape => shape.Name))}, found {name}.");
    foreach (string format in Option("--formats", "F32,F16,Q8_0,Q4_0,Q4_K_M").Split(','))
    {
        string path = Path.Combine(folder, $"{name}-{format}.gguf");
        if (!File.Exists(path))
        {
            shape.Write(path, format);
        }

        string about = FormattableString.Invariant($"{name,-12} {format,6}, {threads} threads, {build}");
        if (args.Contains("--write"))
        {
            Console.WriteLine($"{path}: {new FileInfo(path).Length:N0} bytes");
        }
        else if (args.Contains("--load"))
        {
            Console.WriteLine($"{about}: {Loading(path)}");
        }
        else
        {
            Console.WriteLine($"{about}: {Running(path, shape)}");
        }
    }
}

// What a file's model does in a second here and there.
string Running(string path, Shape shape)
{
    int[] prompt = [.. Enumerable.Range(0, 256).Select(i => i * 91 % shape.Vocabulary)];
    using LoadedModel model = LoadedModel.Of(path, null, 1024, new SessionOptions { Threads = threads, Batch = sequences }, sequences == 1 ? null : code => code.With("MaxBatch", sequences.ToString(CultureInfo.InvariantCulture)));
    using var peer = new Llama(path, threads, sequences);
    CausalSession ours = model.Session;
    if (sequences > 1)
    {
        int[] rows = new int[sequences];
        string together = Beside(16, sequences * 16, ours.Reset, i => ours.Decode(Row(i)), peer.Reset, i => peer.Decode(Row(i)));
        return $"{sequences} sequences together {together} tokens/s";

        int[] Row(int step)
        {
            for (int row = 0; row < rows.Length; row++)
            {
                rows[row] = prompt[(step + (17 * row)) % prompt.Length];
            }

            return rows;
        }
    }

    double difference = 0, range = 0;
    foreach (int token in prompt.AsSpan(0, 8))
    {
        ReadOnlySpan<float> a = ours.Decode(token), b = peer.Decode([token]);
        for (int i = 0; i < a.Length; i++)
        {
            (difference, range) = (Math.Max(difference, Math.Abs(a[i] - b[i])), Math.Max(range, Math.Abs(b[i])));
        }
    }

    string decode = Beside(16, 16, ours.Reset, i => ours.Decode(prompt[i]), peer.Reset, i => peer.Decode([prompt[i]]));
    string prefill = Beside(1, prompt.Length, ours.Reset, _ => ours.Prefill(prompt), peer.Reset, _ => peer.Prefill(prompt));
    return FormattableString.Invariant($"decode {decode}; prefill 256 {prefill} tokens/s; logits differ by {difference:G2} of {range:G3}");
}

// From nothing to the logits of one token, and how long it takes to read the file: with its pages in memory, and without.
string Loading(string path)
{
    List<double>[] warm = [[], [], []], cold = [[], [], []];
    for (int round = -1; round < rounds; round++)
    {
        foreach (List<double>[] times in (List<double>[][])[cold, warm])
        {
            foreach ((int who, Action run) in (ReadOnlySpan<(int, Action)>)[
                (0, () => { using LoadedModel model = LoadedModel.Of(path, null, 1024, new SessionOptions { Threads = threads }); model.Session.Decode(1); }),
                (1, () => { using var peer = new Llama(path, threads, 1); peer.Decode([1]); }),
                (2, () => Pages.Read(path))])
            {
                if (times == cold)
                {
                    Pages.Drop(path);
                }

                long start = Stopwatch.GetTimestamp();
                run();
                if (round >= 0)
                {
                    times[who].Add(Stopwatch.GetElapsedTime(start).TotalMilliseconds);
                }
            }
        }
    }

    return $"first token, file in memory: {Three(warm)}; not in memory: {Three(cold)}";

    static string Three(List<double>[] times) => string.Create(CultureInfo.InvariantCulture, $"ours {Median(times[0]):N0} ms (best {times[0].Min():N0}), llama.cpp {Median(times[1]):N0} ms (best {times[1].Min():N0}), reading it {Median(times[2]):N0} ms (best {times[2].Min():N0})");
}

// Alternating rounds of the two: medians and best.
string Beside(int steps, int tokens, Action reset, Action<int> run, Action resetPeer, Action<int> runPeer)
{
    List<double> own = [], peers = [];
    for (int round = 0; round < rounds; round++)
    {
        own.Add(Rate(reset, run));
        peers.Add(Rate(resetPeer, runPeer));
    }

    return FormattableString.Invariant($"{Median(own):F1} (best {own.Max():F1}) to {Median(peers):F1} (best {peers.Max():F1}): {Median(own) / Median(peers):F2}, best rounds {own.Max() / peers.Max():F2}");

    double Rate(Action before, Action<int> step)
    {
        before();
        Thread.Sleep(20);
        long start = Stopwatch.GetTimestamp();
        for (int i = 0; i < steps; i++)
        {
            step(i);
        }

        return tokens / Stopwatch.GetElapsedTime(start).TotalSeconds;
    }
}

static double Median(List<double> values) => values.Order().ElementAt(values.Count / 2);

/// <summary>llama.cpp with flash attention.</summary>
internal sealed class Llama : IDisposable
{
    private readonly LLamaWeights _weights;
    private readonly LLamaContext _context;
    private int _position;

    public Llama(string path, int threads, int sequences)
    {
        var parameters = new ModelParams(path) { ContextSize = (uint)(1024 * sequences), SeqMax = (uint)sequences, Threads = threads, BatchThreads = threads, GpuLayerCount = 0, FlashAttention = true, BatchSize = 512, UBatchSize = 512 };
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

    /// <summary>A token of each sequence.</summary>
    public ReadOnlySpan<float> Decode(ReadOnlySpan<int> tokens)
    {
        var batch = new LLamaBatch();
        for (int i = 0; i < tokens.Length; i++)
        {
            batch.Add(tokens[i], _position, (LLamaSeqId)i, true);
        }

        _position++;
        return Logits(batch, tokens.Length - 1);
    }

    /// <summary>Tokens of the one sequence.</summary>
    public ReadOnlySpan<float> Prefill(ReadOnlySpan<int> tokens)
    {
        var batch = new LLamaBatch();
        for (int i = 0; i < tokens.Length; i++)
        {
            batch.Add(tokens[i], _position++, LLamaSeqId.Zero, i == tokens.Length - 1);
        }

        return Logits(batch, tokens.Length - 1);
    }

    public void Dispose()
    {
        _context.Dispose();
        _weights.Dispose();
    }

    private ReadOnlySpan<float> Logits(LLamaBatch batch, int row)
        => _context.Decode(batch) == DecodeResult.Ok ? _context.NativeHandle.GetLogitsIth(row) : throw new InvalidOperationException("llama.cpp does not decode.");
}

/// <summary>A file's pages in the system's memory.</summary>
internal static unsafe partial class Pages
{
    private const int DontNeed = 4;

    /// <summary>Reads the file from its beginning to its end.</summary>
    public static void Read(string path)
    {
        byte[] buffer = GC.AllocateUninitializedArray<byte>(1 << 22);
        using Microsoft.Win32.SafeHandles.SafeFileHandle file = File.OpenHandle(path, options: FileOptions.SequentialScan);
        for (long at = 0; RandomAccess.Read(file, buffer, at) is > 0 and int read; at += read)
        {
        }
    }

    /// <summary>Asks the system to forget the file's pages.</summary>
    public static void Drop(string path)
    {
        using FileStream file = new(path, FileMode.Open, FileAccess.ReadWrite);
        file.Flush(flushToDisk: true);
        if (Advise(file.SafeFileHandle.DangerousGetHandle().ToInt32(), 0, 0, DontNeed) != 0)
        {
            throw new IOException($"{path}: the system keeps its pages.");
        }
    }

    [LibraryImport("libc", EntryPoint = "posix_fadvise")]
    private static partial int Advise(int file, nint offset, nint length, int advice);
}
