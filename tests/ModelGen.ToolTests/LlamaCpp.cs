using System.Reflection;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics.X86;
using LLama;
using LLama.Common;
using LLama.Native;

namespace ModelGen.ToolTests;

/// <summary>llama.cpp, as LLamaSharp packs it: another reader of our files, and the reference of the block formats.</summary>
internal static unsafe class LlamaCpp
{
    private static readonly Lazy<string?> s_folder = new(Load);

    private static nint s_base;

    /// <summary>Skips the test where there is no llama.cpp for this machine.</summary>
    public static void Require() => Assert.SkipWhen(s_folder.Value is null, "llama.cpp is not here for this machine.");

    /// <summary>The logits behind each of a text's tokens.</summary>
    public static float[][] Logits(string path, ReadOnlySpan<int> tokens, string? adapter = null)
    {
        Require();
        var parameters = new ModelParams(path) { ContextSize = 512, Threads = 1, BatchThreads = 1, GpuLayerCount = 0, FlashAttention = false, TypeK = GGMLType.GGML_TYPE_F32, TypeV = GGMLType.GGML_TYPE_F32 };
        using LLamaWeights weights = LLamaWeights.LoadFromFile(parameters);
        using LLamaContext context = weights.CreateContext(parameters);
        if (adapter is not null)
        {
            context.NativeHandle.SetLoraAdapters([(weights.NativeHandle.LoadLoraFromFile(adapter), 1f)]);
        }

        var logits = new float[tokens.Length][];
        for (int i = 0; i < tokens.Length; i++)
        {
            var batch = new LLamaBatch();
            batch.Add(tokens[i], i, LLamaSeqId.Zero, true);
            Assert.Equal(DecodeResult.Ok, context.Decode(batch));
            logits[i] = context.NativeHandle.GetLogitsIth(0).ToArray();
        }

        return logits;
    }

    /// <summary>exp of the mean of −ln p over the second half of every chunk, each read from nothing.</summary>
    public static double Perplexity(string path, ReadOnlySpan<int> tokens, int chunk)
    {
        Require();
        var parameters = new ModelParams(path) { ContextSize = (uint)chunk, BatchSize = (uint)chunk, UBatchSize = (uint)chunk, Threads = 1, BatchThreads = 1, GpuLayerCount = 0, FlashAttention = false, TypeK = GGMLType.GGML_TYPE_F32, TypeV = GGMLType.GGML_TYPE_F32 };
        using LLamaWeights weights = LLamaWeights.LoadFromFile(parameters);
        using LLamaContext context = weights.CreateContext(parameters);
        double sum = 0;
        int counted = 0;
        for (int start = 0; start + chunk <= tokens.Length; start += chunk)
        {
            context.NativeHandle.MemoryClear();
            var batch = new LLamaBatch();
            for (int i = 0; i < chunk; i++)
            {
                batch.Add(i == 0 ? weights.Vocab.BOS!.Value : tokens[start + i], i, LLamaSeqId.Zero, true);
            }

            Assert.Equal(DecodeResult.Ok, context.Decode(batch));
            for (int i = (chunk / 2) - 1; i < chunk - 1; i++)
            {
                ReadOnlySpan<float> logits = context.NativeHandle.GetLogitsIth(i);
                double largest = logits[Sampler.ArgMax(logits)], total = 0;
                foreach (float logit in logits)
                {
                    total += Math.Exp(logit - largest);
                }

                sum += largest + Math.Log(total) - logits[tokens[start + i + 1]];
                counted++;
            }
        }

        return Math.Exp(sum / counted);
    }

    /// <summary>The embedding of tokens, pooled as the file says and divided by its norm.</summary>
    public static float[] Embedding(string path, ReadOnlySpan<int> tokens)
    {
        Require();
        var parameters = new ModelParams(path) { ContextSize = 512, BatchSize = 512, UBatchSize = 512, Threads = 1, BatchThreads = 1, GpuLayerCount = 0, Embeddings = true, FlashAttention = false };
        using LLamaWeights weights = LLamaWeights.LoadFromFile(parameters);
        using LLamaContext context = weights.CreateContext(parameters);
        var batch = new LLamaBatch();
        for (int i = 0; i < tokens.Length; i++)
        {
            batch.Add(tokens[i], i, LLamaSeqId.Zero, true);
        }

        context.NativeHandle.Encode(batch);
        float[] embedding = context.NativeHandle.GetEmbeddingsSeq(LLamaSeqId.Zero).ToArray();
        double norm = Math.Sqrt(embedding.Sum(static value => (double)value * value));
        return [.. embedding.Select(value => (float)(value / norm))];
    }

    /// <summary>llama.cpp's tokens of a text.</summary>
    public static int[] Tokenize(string path, string text, bool special = false) => Tokenize(path, [text], special)[0];

    /// <summary>llama.cpp's tokens of texts.</summary>
    public static int[][] Tokenize(string path, string[] texts, bool special = false)
    {
        Require();
        var parameters = new ModelParams(path) { VocabOnly = true };
        using LLamaWeights weights = LLamaWeights.LoadFromFile(parameters);
        return [.. texts.Select(text => weights.Tokenize(text, true, special, System.Text.Encoding.UTF8).Select(static token => (int)token).ToArray())];
    }

    /// <summary>Blocks as ggml makes them from floats, rows of 256.</summary>
    public static byte[] Quantize(GgmlType type, float[] values, int rowBytes, float[]? importance = null, int columns = 256)
    {
        Require();
        var quantize = (delegate* unmanaged[Cdecl]<int, float*, void*, long, long, long, float*, nuint>)NativeLibrary.GetExport(s_base, "ggml_quantize_chunk");
        byte[] blocks = new byte[values.Length / columns * rowBytes];
        fixed (float* source = values)
        fixed (byte* target = blocks)
        fixed (float* weights = importance)
        {
            Assert.Equal((nuint)blocks.Length, quantize((int)type, source, target, 0, values.Length / columns, columns, weights));
        }

        return blocks;
    }

    /// <summary>The floats that ggml reads blocks as.</summary>
    public static float[] Dequantize(GgmlType type, byte[] blocks, int count)
    {
        Require();
        var traits = (delegate* unmanaged[Cdecl]<int, Traits*>)NativeLibrary.GetExport(s_base, "ggml_get_type_traits");
        var toFloat = (delegate* unmanaged[Cdecl]<void*, float*, long, void>)traits((int)type)->ToFloat;
        float[] values = new float[count];
        fixed (byte* source = blocks)
        fixed (float* target = values)
        {
            toFloat(source, target, count);
        }

        return values;
    }

    private static string? Load()
    {
        string root = typeof(LlamaCpp).Assembly.GetCustomAttributes<AssemblyMetadataAttribute>().Single(static entry => entry.Key == "LlamaCpp").Value!;
        string folder = Path.Combine(root, "linux-x64", "native", Avx2.IsSupported ? "avx2" : "noavx");
        if (!OperatingSystem.IsLinux() || RuntimeInformation.ProcessArchitecture != Architecture.X64 || !Directory.Exists(folder))
        {
            return null;
        }

        // In the order of their needs, so that each finds those before it.
        s_base = NativeLibrary.Load(Path.Combine(folder, "libggml-base.so"));
        NativeLibrary.Load(Path.Combine(folder, "libggml-cpu.so"));
        NativeLibrary.Load(Path.Combine(folder, "libggml.so"));
        NativeLibraryConfig.LLama.WithLibrary(Path.Combine(folder, "libllama.so")).WithLogCallback(static (_, _) => { });
        return folder;
    }

    [StructLayout(LayoutKind.Sequential)]
    private struct Traits
    {
        public nint Name;
        public long BlockElements;
        public long BlockInterleave;
        public nuint BlockBytes;
        public byte IsQuantized;
        public nint ToFloat;
        public nint FromFloat;
    }
}
