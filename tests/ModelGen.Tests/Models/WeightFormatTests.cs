using System.Globalization;
using ModelGen.Runtime;
using ModelGen.Tests.Infrastructure;

namespace ModelGen.Tests.Models;

/// <summary>Weights that do not lie in memory as floats: what kernels compute with them, and how they come from files and go there.</summary>
[Collection(SerialCollection.Name)]
public sealed unsafe class WeightFormatTests : IDisposable
{
    private readonly TemporaryFile _file = new();

    public void Dispose() => _file.Dispose();

    [Theory]
    [InlineData("MODELGEN_VECTOR_BITS", "128")]
    [InlineData("MODELGEN_VECTOR_BITS", "256")]
    [InlineData("MODELGEN_VECTOR_BITS", "512")]
    [InlineData("DOTNET_EnableAVXVNNI", "0")]
    [InlineData("DOTNET_EnableAVX2", "0")]
    [InlineData("DOTNET_EnableHWIntrinsic", "0")]
    public void Every_path_computes_the_products(string variable, string value) => ChildProcess.RunCheck(CheckProducts, (variable, value));

    [Fact]
    public void Formats_of_16_bits_compute_what_their_floats_compute()
    {
        Agree<F16Decoder>(1e-5);
        Agree<BF16Decoder>(1e-5);
    }

    // An input's rounding moves each of its numbers by up to a 254th of its block's largest, and what comes of that is about the square root of their count smaller.
    [Fact]
    public void Quantized_formats_compute_what_their_floats_compute()
    {
        Agree<Q8Decoder>(0.02);
        Agree<Q4Decoder>(0.02);
        Agree<Q4KDecoder>(0.02);
        Agree<Q41Decoder>(0.02);
        Agree<Q50Decoder>(0.02);
        Agree<Q51Decoder>(0.02);
        Agree<IQ4NLDecoder>(0.02);
        Agree<MXFP4Decoder>(0.02);
    }

    [Fact]
    public void Bits_do_not_depend_on_threads_or_on_sequences_beside()
    {
        SameBits<F16Decoder>();
        SameBits<BF16Decoder>();
        SameBits<Q8Decoder>();
        SameBits<Q4Decoder>();
        SameBits<Q4KDecoder>();
        SameBits<Q41Decoder>();
        SameBits<Q50Decoder>();
        SameBits<Q51Decoder>();
        SameBits<IQ4NLDecoder>();
        SameBits<MXFP4Decoder>();
    }

    // Rows are sent to the same experts whatever those are stored as: runs of one row, of a few and of many.
    [Fact]
    public void Experts_of_each_format_compute_what_their_floats_compute()
    {
        Agree<F16Mixture, SingleMixture>(1e-5);
        Agree<BF16Mixture, SingleMixture>(1e-5);
        Agree<Q8Mixture, SingleMixture>(0.02);
        Agree<Q4Mixture, SingleMixture>(0.02);
        Agree<Q4KMixture, SingleMixture>(0.02);
        Agree<Q5Mixture, SingleMixture>(0.02);
    }

    [Fact]
    public void Bits_of_experts_do_not_depend_on_threads_or_on_sequences_beside()
    {
        SameBits<SingleMixture>();
        SameBits<F16Mixture>();
        SameBits<BF16Mixture>();
        SameBits<Q8Mixture>();
        SameBits<Q4Mixture>();
        SameBits<Q4KMixture>();
        SameBits<Q5Mixture>();
    }

    // Stacked as a file has them, one behind the other as older checkpoints have them: blocks are the same.
    [Fact]
    public void Blocks_of_experts_are_taken_as_they_are()
    {
        using var gguf = new TemporaryFile("model.gguf");
        SingleMixture.Create(seed: 3).Save(_file.Path);
        using (WeightFile floats = WeightFile.Open(_file.Path))
        {
            var writer = new GgufWriter();
            writer.Set("general.architecture", "qwen3moe");
            writer.Add(floats, "qwen3moe", 64, tensor => tensor.Shape.Length == 3 ? GgmlType.Q4_0 : GgmlType.F32);
            writer.Save(gguf.Path);
        }

        Dictionary<string, float[]> expected = Floats(gguf.Path);
        Q4Mixture.Load(gguf.Path).Save(_file.Path);
        Dictionary<string, float[]> found = Floats(_file.Path);
        Assert.Equal(expected.Keys.Order(), found.Keys.Order());
        Assert.All(expected, tensor => Assert.Equal(tensor.Value, found[tensor.Key]));
        Assert.All(Q4Mixture.Parameters, parameter => Assert.Equal(parameter.Shape.Length == 3 ? WeightFormat.Q4_0 : WeightFormat.F32, parameter.Format));
    }

    [Fact]
    public void Weights_are_as_large_as_their_format()
    {
        Assert.Equal(Q8Decoder.WeightBytes, Bytes(Q8Decoder.Parameters, 34));
        Assert.Equal(Q4Decoder.WeightBytes, Bytes(Q4Decoder.Parameters, 18));
        Assert.Equal(Q41Decoder.WeightBytes, Interleaved(Q41Decoder.Parameters, 20));
        Assert.Equal(Q50Decoder.WeightBytes, Interleaved(Q50Decoder.Parameters, 22));
        Assert.Equal(Q51Decoder.WeightBytes, Interleaved(Q51Decoder.Parameters, 24));
        Assert.Equal(IQ4NLDecoder.WeightBytes, Interleaved(IQ4NLDecoder.Parameters, 18));
        Assert.Equal(MXFP4Decoder.WeightBytes, Interleaved(MXFP4Decoder.Parameters, 18));
        Assert.All(Q8Decoder.Parameters, parameter => Assert.Equal(parameter.Shape.Length == 2 ? WeightFormat.Q8_0 : WeightFormat.F32, parameter.Format));
        Assert.InRange(F16Decoder.WeightBytes, SingleDecoder.WeightBytes / 2, SingleDecoder.WeightBytes / 2 * 1.02);

        // Groups of 16 rows, whose scales fill cache lines, and the table of angles behind them.
        static long Bytes(IReadOnlyList<ParameterInfo> parameters, int block)
            => parameters.Sum(p => p.Shape.Length == 1 ? Align(4L * p.Length) : (p.Shape[0] + 15) / 16 * (Align(p.Shape[1]) + ((long)p.Shape[1] / 32 * 16 * (block - 2)))) + (64 * 16 * 4);

        // Each block's scales before its numbers.
        static long Interleaved(IReadOnlyList<ParameterInfo> parameters, int block)
            => parameters.Sum(p => p.Shape.Length == 1 ? Align(4L * p.Length) : (p.Shape[0] + 15) / 16 * Align((long)p.Shape[1] / 32 * 16 * block)) + (64 * 16 * 4);

        static long Align(long bytes) => (bytes + 63) / 64 * 64;
    }

    [Fact]
    public void Saved_weights_load_to_the_same_again()
    {
        Saved<F16Decoder>();
        Saved<BF16Decoder>();
        Saved<Q8Decoder>();
        Saved<Q4Decoder>();
        Saved<Q41Decoder>();
        Saved<Q50Decoder>();
        Saved<Q51Decoder>();
        Saved<MXFP4Decoder>();

        // What K-quants and IQ4_NL stand for is quantized to something near, as llama.cpp's are: their scales are searched for.
        void Saved<TModel>()
            where TModel : ICausalLanguageModel<TModel>
        {
            TModel.Create(seed: 3).Save(_file.Path);
            byte[] first = File.ReadAllBytes(_file.Path);
            TModel.Load(_file.Path).Save(_file.Path);
            Assert.Equal(first, File.ReadAllBytes(_file.Path));
        }
    }

    [Fact]
    public void There_is_no_span_of_floats_of_what_is_packed()
    {
        InvalidOperationException exception = Assert.Throws<InvalidOperationException>(() => { Q8Decoder.Create().Parameter("lm_head.weight"); });
        Assert.Contains("Q8_0", exception.Message, StringComparison.Ordinal);
        Assert.Equal(96, Q8Decoder.Create().Parameter("model.norm.weight").Length);
    }

    // Rows of queries and keys lie in another order in such a file.
    [Theory]
    [InlineData(GgmlType.Q8_0)]
    [InlineData(GgmlType.Q4_0)]
    [InlineData(GgmlType.Q4_1)]
    [InlineData(GgmlType.Q5_0)]
    [InlineData(GgmlType.Q5_1)]
    [InlineData(GgmlType.IQ4_NL)]
    [InlineData(GgmlType.MXFP4)]
    public void Blocks_of_a_file_are_taken_as_they_are(GgmlType type)
    {
        using var gguf = new TemporaryFile("model.gguf");
        Write(gguf.Path, type);
        Dictionary<string, float[]> expected = Floats(gguf.Path), found;
        switch (type)
        {
            case GgmlType.Q8_0:
                Q8Decoder.Load(gguf.Path).Save(_file.Path);
                break;
            case GgmlType.Q4_0:
                Q4Decoder.Load(gguf.Path).Save(_file.Path);
                break;
            case GgmlType.Q4_1:
                Q41Decoder.Load(gguf.Path).Save(_file.Path);
                break;
            case GgmlType.Q5_0:
                Q50Decoder.Load(gguf.Path).Save(_file.Path);
                break;
            case GgmlType.Q5_1:
                Q51Decoder.Load(gguf.Path).Save(_file.Path);
                break;
            case GgmlType.IQ4_NL:
                IQ4NLDecoder.Load(gguf.Path).Save(_file.Path);
                break;
            default:
                MXFP4Decoder.Load(gguf.Path).Save(_file.Path);
                break;
        }

        found = Floats(_file.Path);
        Assert.Equal(expected.Keys.Order(), found.Keys.Order());
        Assert.All(expected, tensor => Assert.Equal(tensor.Value, found[tensor.Key]));
    }

    // A scale that is infinite, or a minimum, or an exponent that stands for no number.
    [Fact]
    public void Scales_that_are_no_numbers_are_refused()
    {
        Refused<Q8Decoder>(GgmlType.Q8_0, 34, 0, 0, 0x7C);
        Refused<Q41Decoder>(GgmlType.Q4_1, 20, 2, 1, 0xFC);
        Refused<MXFP4Decoder>(GgmlType.MXFP4, 17, 0, 0xFF);
    }

    private void Refused<TModel>(GgmlType type, int size, int at, params ReadOnlySpan<byte> scale)
        where TModel : ICausalLanguageModel<TModel>
    {
        using var gguf = new TemporaryFile("model.gguf");
        Write(gguf.Path, type);
        long offset;
        using (GgufFile file = GgufFile.Open(gguf.Path))
        {
            GgufTensor tensor = file.Tensors.First(t => t.Name == "blk.1.ffn_down.weight");
            offset = tensor.Offset + (size * 5 * 3) + size + at;
        }

        byte[] bytes = File.ReadAllBytes(gguf.Path);
        scale.CopyTo(bytes.AsSpan((int)offset));
        File.WriteAllBytes(gguf.Path, bytes);
        ModelFileException exception = Assert.Throws<ModelFileException>(() => TModel.Load(gguf.Path));
        Assert.Contains("down_proj.weight', row 3", exception.Message, StringComparison.Ordinal);
    }

    [Check]
    private static void CheckProducts()
    {
        if (Environment.GetEnvironmentVariable("DOTNET_EnableAVXVNNI") == "0")
        {
            Assert.False(System.Runtime.Intrinsics.X86.AvxVnni.IsSupported);
        }

        Products<Q8_0>(WeightFormat.Q8_0);
        Products<Q4_0>(WeightFormat.Q4_0);
        Products<Q4_K>(WeightFormat.Q4_K);
        Products<Q5_K>(WeightFormat.Q5_K);
        Products<Q6_K>(WeightFormat.Q6_K);
        Products<Q4_1>(WeightFormat.Q4_1);
        Products<Q5_0>(WeightFormat.Q5_0);
        Products<Q5_1>(WeightFormat.Q5_1);
        Products<IQ4_NL>(WeightFormat.IQ4_NL);
        Products<MXFP4>(WeightFormat.MXFP4);
        using var test = new WeightFormatTests();
        test.Formats_of_16_bits_compute_what_their_floats_compute();
        test.Quantized_formats_compute_what_their_floats_compute();
        test.Bits_do_not_depend_on_threads_or_on_sequences_beside();
        test.Experts_of_each_format_compute_what_their_floats_compute();
        test.Bits_of_experts_do_not_depend_on_threads_or_on_sequences_beside();
    }

    // The products of rounded inputs and weights, of both in double precision: what the kernel adds is its rounding between blocks.
    private static void Products<TFormat>(WeightFormat format)
        where TFormat : struct, IBlockFormat
    {
        var random = new Random(5);
        bool isSuper = SuperBlocks.Has(format);
        foreach (int blocks in isSuper ? new[] { 8, 24 } : [1, 2, 3, 24])
        {
            int columns = 32 * blocks, inputBytes = BlockRows.InputBytes(columns);
            float[] weights = [.. Enumerable.Range(0, 16 * columns).Select(i => (random.NextSingle() - 0.5f) * (i % 37 == 0 ? 9 : 1))];
            GgmlType type = BlockRows.TypeOf(format);
            byte[] stored = new byte[16 * columns / BlockRows.ColumnsOf(format) * BlockRows.BlockBytes(format)];
            GgmlBlocks.Write(type, weights, stored);
            using var group = new GuardedBuffer((int)BlockRows.GroupBytes(format, columns) / 4);
            byte[] back = new byte[stored.Length / 16];
            float[] row = new float[columns];
            for (int r = 0; r < 16; r++)
            {
                Span<byte> blocksOfRow = stored.AsSpan(r * back.Length, back.Length);
                Assert.True(BlockRows.Put(format, blocksOfRow, (byte*)group.Pointer, r));
                BlockRows.Get(format, (byte*)group.Pointer, r, back);
                Assert.True(blocksOfRow.SequenceEqual(back));
                fixed (byte* from = blocksOfRow)
                fixed (float* to = row)
                {
                    GgmlBlocks.Read(type, from, 0, weights.AsSpan(r * columns, columns));
                    BlockRows.Read(format, (byte*)group.Pointer, r, columns, to);
                    Assert.Equal(weights.AsSpan(r * columns, columns).ToArray(), row);
                }
            }

            using var unpacked = new GuardedBuffer(blocks * 160);
            BlockTile.Unpack<TFormat>((byte*)group.Pointer, blocks, (byte*)unpacked.Pointer);

            foreach (int rows in new[] { 1, 2, 4, 5, 9 })
            {
                using var inputs = new GuardedBuffer(rows * columns);
                using var rounded = new GuardedBuffer(rows * inputBytes / 4);
                using var sums = new GuardedBuffer(rows * 16);
                for (int i = 0; i < rows * columns; i++)
                {
                    // One block of zeros, and blocks of other magnitudes.
                    inputs.Pointer[i] = i / 32 % 7 == 3 ? 0 : (random.NextSingle() - 0.5f) * MathF.Pow(10, (i / 32 % 5) - 2);
                }

                for (int r = 0; r < rows; r++)
                {
                    BlockRows.Quantize(inputs.Pointer + (r * columns), columns, (byte*)rounded.Pointer + (r * inputBytes));
                }

                void Multiply<TVector>(bool isUnpacked)
                    where TVector : struct, IVector<TVector>
                {
                    if (isUnpacked)
                    {
                        BlockTile.MultiplyUnpacked<TVector, TFormat>((byte*)rounded.Pointer, rows, (byte*)unpacked.Pointer, blocks, sums.Pointer);
                    }
                    else
                    {
                        BlockTile.Multiply<TVector, TFormat>((byte*)rounded.Pointer, rows, (byte*)group.Pointer, blocks, sums.Pointer);
                    }
                }

                Multiply<F512>(isUnpacked: true);
                float[] found = sums.Span.ToArray();
                for (int r = 0; r < rows; r++)
                {
                    sbyte* numbers = (sbyte*)rounded.Pointer + (r * inputBytes);
                    float* scales = (float*)(numbers + columns);
                    for (int n = 0; n < 16; n++)
                    {
                        double expected = 0, magnitude = 0;
                        for (int k = 0; k < columns; k++)
                        {
                            double x = inputs.Pointer[(r * columns) + k], step = scales[k / 32];
                            Assert.InRange(Math.Abs((numbers[k] * step) - x), 0, (step / 2 * 1.0001) + 1e-30);
                            double product = (double)weights[(n * columns) + k] * numbers[k] * step;
                            expected += product;
                            magnitude += Math.Abs(product);
                        }

                        Assert.Equal(expected, found[(r * 16) + n], (magnitude * (isSuper || TFormat.HasMinima ? 1e-6 : 3e-7)) + 1e-30);
                    }
                }

                // Rows by themselves, and narrower vectors, give the same bits.
                Same(() => Multiply<F128>(isUnpacked: true), "128 bits, unpacked");
                Same(() => Multiply<F256>(isUnpacked: true), "256 bits, unpacked");
                if (!isSuper)
                {
                    Same(() => Multiply<F128>(isUnpacked: false), "128 bits");
                    Same(() => Multiply<F256>(isUnpacked: false), "256 bits");
                }

                Same(() =>
                {
                    for (int r = 0; r < rows; r++)
                    {
                        BlockTile.Multiply<F128, TFormat>((byte*)rounded.Pointer + (r * inputBytes), (byte*)group.Pointer, blocks, sums.Pointer + (r * 16));
                    }
                }, "single rows of 128 bits");
                Same(() =>
                {
                    for (int r = 0; r < rows; r++)
                    {
                        BlockTile.Multiply<F512, TFormat>((byte*)rounded.Pointer + (r * inputBytes), (byte*)group.Pointer, blocks, sums.Pointer + (r * 16));
                    }
                }, "single rows");

                void Same(Action multiply, string what)
                {
                    sums.Span.Clear();
                    multiply();
                    Compare.Bits(found, sums.Span.ToArray(), string.Create(CultureInfo.InvariantCulture, $"{format} of {blocks} blocks, {rows} rows: {what}"));
                }
            }
        }
    }

    private void Agree<TModel>(double tolerance)
        where TModel : ICausalLanguageModel<TModel>
    {
        if (typeof(TModel) == typeof(Q4KDecoder))
        {
            Agree<TModel, WideDecoder>(tolerance);
        }
        else
        {
            Agree<TModel, SingleDecoder>(tolerance);
        }
    }

    private void Agree<TModel, TFloats>(double tolerance)
        where TModel : ICausalLanguageModel<TModel>
        where TFloats : ICausalLanguageModel<TFloats>
    {
        TModel model = TModel.Create(seed: 3);
        model.Save(_file.Path);
        int[] tokens = [.. Enumerable.Range(0, 40).Select(i => i * 29 % 101)];
        using CausalSession session = model.CreateSession(new SessionOptions { Threads = 1 });
        using CausalSession expected = TFloats.Load(_file.Path).CreateSession(new SessionOptions { Threads = 1 });
        Near(session.Prefill(tokens), expected.Prefill(tokens));
        foreach (int token in tokens.AsSpan(0, 12))
        {
            Near(session.Decode(token), expected.Decode(token));
        }

        void Near(ReadOnlySpan<float> found, ReadOnlySpan<float> wanted)
            => Compare.RelativeToNorm(wanted.ToArray(), found.ToArray(), tolerance, typeof(TModel).Name);
    }

    private static void SameBits<TModel>()
        where TModel : ICausalLanguageModel<TModel>
    {
        TModel model = TModel.Create(seed: 3);
        int[] tokens = [.. Enumerable.Range(0, 23).Select(i => i * 31 % 101)];
        using CausalSession one = model.CreateSession(new SessionOptions { Threads = 1 });
        float[] prefill = one.Prefill(tokens).ToArray(), decode = one.Decode(5).ToArray();
        for (int threads = 2; threads <= 3; threads++)
        {
            using CausalSession session = model.CreateSession(new SessionOptions { Threads = threads });
            Compare.Bits(prefill, session.Prefill(tokens).ToArray(), $"{typeof(TModel).Name}, a prompt with {threads} threads");
            Compare.Bits(decode, session.Decode(5).ToArray(), $"{typeof(TModel).Name}, a token with {threads} threads");
        }

        using CausalSession batch = model.CreateSession(new SessionOptions { Threads = 2, Batch = 3 });
        batch.Prefill(1, tokens);
        batch.Prefill(2, [7, 8]);
        Compare.Bits(decode, batch.Decode([-1, 5, 9]).Slice(TModel.VocabularySize, TModel.VocabularySize).ToArray(), $"{typeof(TModel).Name}, beside another sequence");
    }

    private void Write(string path, GgmlType type)
    {
        SingleDecoder.Create(seed: 3).Save(_file.Path);
        using WeightFile floats = WeightFile.Open(_file.Path);
        var writer = new GgufWriter();
        writer.Set("general.architecture", "llama");
        writer.Set("llama.embedding_length", 96u);
        writer.Set("llama.attention.head_count", 6u);
        writer.Add(floats, "llama", 16, tensor => tensor.Shape.Length == 2 ? type : GgmlType.F32);
        writer.Save(path);
    }

    private static Dictionary<string, float[]> Floats(string path)
    {
        using WeightFile file = WeightFile.Open(path);
        return file.Tensors.ToDictionary(tensor => tensor.Name, tensor =>
        {
            float[] values = new float[tensor.Length];
            file.ReadFloats(tensor, 0, values);
            return values;
        });
    }
}
