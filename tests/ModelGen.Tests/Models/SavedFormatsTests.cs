using ModelGen.Runtime;
using ModelGen.Tests.Infrastructure;

namespace ModelGen.Tests.Models;

/// <summary>Weights that do not lie in memory as floats go to files as the blocks that they came as.</summary>
[Collection(SerialCollection.Name)]
public sealed unsafe class SavedFormatsTests : IDisposable
{
    private readonly TemporaryFile _original = new("original.gguf");
    private readonly TemporaryFile _saved = new("saved.gguf");
    private readonly TemporaryFile _again = new("again.gguf");

    private delegate Span<float> Values(string name);

    public void Dispose()
    {
        _original.Dispose();
        _saved.Dispose();
        _again.Dispose();
    }

    // 101 rows are six groups and a rest; rows of 96 and of 160 are no blocks of 256; query and key rows lie in another order in the file.
    [Fact]
    public void Blocks_of_a_decoder_are_saved_as_they_were_loaded()
    {
        Saved<F16Decoder>("llama", 16);
        Saved<BF16Decoder>("llama", 16);
        Saved<Q8Decoder>("llama", 16);
        Saved<Q4Decoder>("llama", 16);
        Saved<Q4KDecoder>("llama", Q4KDecoder.Parameters.First(static parameter => parameter.Name.EndsWith("layers.0.self_attn.q_proj.weight", StringComparison.Ordinal)).Shape[0] / 8);
    }

    [Fact]
    public void Blocks_of_experts_are_saved_as_they_were_loaded()
    {
        Saved<F16Mixture>("qwen3moe", 64);
        Saved<BF16Mixture>("qwen3moe", 64);
        Saved<Q8Mixture>("qwen3moe", 64);
        Saved<Q4Mixture>("qwen3moe", 64);
        Saved<Q4KMixture>("qwen3moe", 64);
    }

    // Of llama.cpp's numbers: 0 for floats, and what most of a model's layers are.
    [Fact]
    public void A_file_saved_in_other_formats_says_so()
    {
        using var floats = new TemporaryFile("floats.safetensors");
        Q8Decoder.Create(seed: 3).Save(floats.Path);
        using (WeightFile file = WeightFile.Open(floats.Path))
        {
            var writer = new GgufWriter();
            writer.Set("general.architecture", "llama");
            writer.SetFileType();
            writer.Set("llama.attention.key_length", 16u);
            writer.Add(file, "llama", 16, static _ => GgmlType.F32);
            writer.Save(_original.Path);
        }

        Assert.Equal(0, Said(_original.Path));
        F16Decoder.Load(_original.Path).Save(_saved.Path, _original.Path);
        Assert.Equal(1, Said(_saved.Path));
        Q8Decoder.Load(_original.Path).Save(_saved.Path, _original.Path);
        Assert.Equal(7, Said(_saved.Path));
        Q4Decoder.Load(_saved.Path).Save(_again.Path, _saved.Path);
        Assert.Equal(2, Said(_again.Path));
        Q8Decoder.Load(_saved.Path).Save(_again.Path, _saved.Path);
        Assert.Equal(7, Said(_again.Path));

        static long? Said(string path)
        {
            using GgufFile file = GgufFile.Open(path);
            return file.Values["general.file_type"].AsInteger();
        }
    }

    [Fact]
    public void Merged_adapters_are_rounded_to_the_formats_in_memory()
    {
        var model = LoraOverQ4K.Create(seed: 3);
        foreach (ParameterInfo parameter in LoraOverQ4K.Parameters.Where(static parameter => parameter.Adapts is not null))
        {
            Span<float> values = model.Parameter(parameter.Name);
            for (int i = 0; i < values.Length; i++)
            {
                values[i] = MathF.Sin(i + parameter.Name.Length) / 10;
            }
        }

        using var floats = new TemporaryFile("merged.safetensors");
        model.SaveMerged(floats.Path);
        model.SaveMerged(_saved.Path);
        using GgufFile merged = GgufFile.Open(_saved.Path);
        using WeightFile expected = WeightFile.Open(floats.Path);
        Assert.Equal(expected.Tensors.Select(static tensor => tensor.Name).Order(), merged.Tensors.Select(static tensor => tensor.Name).Order());
        Assert.Contains(merged.Tensors, static tensor => tensor.Type is GgmlType.Q4_K or GgmlType.Q6_K);
        int changed = 0;
        foreach (GgufTensor tensor in merged.Tensors)
        {
            Assert.Equal(LoraOverQ4K.Parameters.Single(parameter => parameter.Name == tensor.Name).Format.ToString(), tensor.TypeName);
            float[] values = new float[tensor.Length];
            expected.ReadFloats(expected.Find(tensor.Name)!, 0, values);
            byte[] blocks = new byte[tensor.ByteLength];
            GgmlBlocks.Write(tensor.Type, values, blocks);
            bool isAdapted = LoraOverQ4K.Parameters.Any(parameter => parameter.Adapts == tensor.Name);
            changed += isAdapted ? 1 : 0;

            // What is not adapted keeps its blocks, which its floats need not quantize to.
            if (isAdapted || tensor.Type == GgmlType.F32)
            {
                Assert.Equal(blocks, Bytes(merged, tensor));
            }
        }

        Assert.True(changed > 1);
    }

    [Fact]
    public void Adapters_are_saved_under_the_names_of_the_models_file()
    {
        Write<Q8Decoder>("llama", 16);
        var model = LoraOverQ8.Load(_original.Path);
        ParameterInfo[] adapters = [.. LoraOverQ8.Parameters.Where(static parameter => parameter.Adapts is not null)];
        foreach (ParameterInfo parameter in adapters)
        {
            Span<float> values = model.Parameter(parameter.Name);
            for (int i = 0; i < values.Length; i++)
            {
                values[i] = MathF.Sin(i + (7 * parameter.Name.Length));
            }
        }

        Assert.Throws<ArgumentException>(() => model.SaveAdapters(_saved.Path));
        model.SaveAdapters(_saved.Path, _original.Path);
        using (GgufFile file = GgufFile.Open(_saved.Path))
        {
            Assert.Equal("adapter", file.Metadata["general.type"]);
            Assert.Equal(adapters.Length, file.Tensors.Count);
            Assert.All(file.Tensors, static tensor => Assert.Matches("^(blk\\.[01]\\.(attn_(q|k|v|output)|ffn_(gate|up|down))|output)\\.weight\\.lora_[ab]$", tensor.Name));

            // Rows 0, 8, 1, 9, … of a head of 16.
            float[] rows = new float[8];
            GgufTensor second = file.Find("blk.0.attn_q.weight.lora_b")!;
            file.ReadFloats(second, 4, rows);
            Span<float> memory = model.Parameter("model.layers.0.self_attn.q_proj.lora_B.weight");
            Assert.Equal([.. memory.Slice(8 * 4, 4), .. memory.Slice(4, 4)], rows);
        }

        var other = LoraOverQ8.Load(_original.Path);
        other.LoadAdapters(_saved.Path);
        Assert.All(adapters, parameter => Assert.Equal(model.Parameter(parameter.Name).ToArray(), other.Parameter(parameter.Name).ToArray()));
        Assert.Throws<ModelFileException>(() => LoraOverQ4K.Create().LoadAdapters(_saved.Path));
    }

    [Fact]
    public void Files_of_other_models_are_no_original()
    {
        Write<Q8Decoder>("llama", 16);
        File.WriteAllText(_saved.Path, "old");
        ModelFileException exception = Assert.Throws<ModelFileException>(() => Q8Mixture.Create().Save(_saved.Path, _original.Path));
        Assert.Contains("model.layers.0.mlp.experts", exception.Message, StringComparison.Ordinal);
        Assert.Equal("old", File.ReadAllText(_saved.Path));
        Q8Decoder.Create().Save(_saved.Path);
        exception = Assert.Throws<ModelFileException>(() => Q8Decoder.Create().Save(_again.Path, _saved.Path));
        Assert.Contains("general.architecture", exception.Message, StringComparison.Ordinal);
        File.WriteAllText(_saved.Path, "no file");
        Assert.Throws<ModelFileException>(() => Q8Decoder.Create().Save(_again.Path, _saved.Path));
    }

    // Readers of such files take the one matrix where there is one, and the head where there is one: either would be what the model was before.
    [Fact]
    public void What_a_model_holds_in_another_form_is_not_copied_as_it_was()
    {
        using var floats = new TemporaryFile("floats.safetensors");
        PhiDecoder.Create(seed: 3).Save(floats.Path);
        using (WeightFile file = FusedView.Joined(WeightFile.Open(floats.Path), [(".self_attn.qkv_proj", [".self_attn.q_proj", ".self_attn.k_proj", ".self_attn.v_proj"])]))
        {
            WriteFloats(file, "phi2", static (_, _) => { });
        }

        PhiDecoder fused = PhiDecoder.Load(_original.Path);
        Double(PhiDecoder.Parameters, fused.Parameter);
        fused.Save(_saved.Path, _original.Path);
        PhiDecoder apart = PhiDecoder.Load(_saved.Path);
        Assert.All(PhiDecoder.Parameters, parameter => Assert.Equal(fused.Parameter(parameter.Name).ToArray(), apart.Parameter(parameter.Name).ToArray()));
        using (GgufFile before = GgufFile.Open(_original.Path), after = GgufFile.Open(_saved.Path))
        {
            Assert.NotNull(before.Find("blk.1.attn_qkv.weight"));
            Assert.Null(after.Find("blk.1.attn_qkv.weight"));
            Assert.NotNull(after.Find("blk.1.attn_q.weight"));
            Assert.NotNull(after.Find("rope_freqs.weight"));
        }

        TrainedFloats.Create(seed: 3).Save(floats.Path);
        using (WeightFile file = WeightFile.Open(floats.Path))
        {
            WeightTensor table = file.Find("model.embed_tokens.weight")!;
            WriteFloats(file, "llama", (writer, type) => writer.Add("output.weight", table.Shape.AsSpan(), type, (start, destination) => file.ReadFloats(table, start, destination)));
        }

        TrainedFloats tied = TrainedFloats.Load(_original.Path);
        Double(TrainedFloats.Parameters, tied.Parameter);
        tied.Save(_saved.Path, _original.Path);
        TrainedFloats again = TrainedFloats.Load(_saved.Path);
        Assert.Equal(tied.Parameter("model.embed_tokens.weight").ToArray(), again.Parameter("model.embed_tokens.weight").ToArray());
        using (GgufFile after = GgufFile.Open(_saved.Path))
        {
            float[] head = new float[101 * 96];
            after.ReadFloats(after.Find("output.weight")!, 0, head);
            Assert.Equal(tied.Parameter("model.embed_tokens.weight").ToArray(), head);
        }

        void WriteFloats(WeightFile file, string architecture, Action<GgufWriter, GgmlType> more)
        {
            var writer = new GgufWriter();
            writer.Set("general.architecture", architecture);
            writer.Set(architecture + ".attention.key_length", architecture == "llama" ? 16u : 12u);
            writer.Add(file, architecture, architecture == "llama" ? 16 : 12, static _ => GgmlType.F32);
            writer.Add("rope_freqs.weight", [3], GgmlType.F32, static (_, values) => values.Fill(1));
            more(writer, GgmlType.F32);
            writer.Save(_original.Path);
        }

        static void Double(IReadOnlyList<ParameterInfo> parameters, Values of)
        {
            foreach (ParameterInfo parameter in parameters)
            {
                foreach (ref float value in of(parameter.Name))
                {
                    value *= 2;
                }
            }
        }
    }

    [Fact]
    public void A_program_without_such_files_writes_none_of_another_format()
    {
        AppContext.SetSwitch("ModelGen.Files.Gguf", false);
        try
        {
            Assert.Throws<NotSupportedException>(() => Q8Decoder.Create().Save(_saved.Path));
            Assert.Throws<NotSupportedException>(() => LoraOverQ8.Create().SaveMerged(_saved.Path));
            Assert.False(File.Exists(_saved.Path));
        }
        finally
        {
            AppContext.SetSwitch("ModelGen.Files.Gguf", true);
        }
    }

    // Also in types that are read and not made.
    [Fact]
    public void Blocks_of_every_type_are_copied()
    {
        GgmlType[] types = [.. Enum.GetValues<GgmlType>().Where(static type => GgmlBlocks.Size(type).Elements > 0)];
        var random = new Random(5);
        var expected = new Dictionary<string, byte[]>();
        var writer = new GgufWriter();
        foreach (GgmlType type in types)
        {
            (int elements, int bytes) = GgmlBlocks.Size(type);
            int rowBytes = 3 * bytes;
            byte[] blocks = new byte[5 * rowBytes];
            random.NextBytes(blocks);
            expected.Add(type.ToString(), blocks);
            writer.Add(type.ToString(), [5, 3 * elements], type, static (_, _) => throw new InvalidOperationException(), [], (row, destination) =>
            {
                blocks.AsSpan((int)row * rowBytes, rowBytes).CopyTo(destination);
                return true;
            });
        }

        writer.Save(_original.Path);
        using GgufFile original = GgufFile.Open(_original.Path);
        var copier = new GgufWriter();
        foreach (GgufTensor tensor in original.Tensors)
        {
            copier.Add(original, tensor);
        }

        copier.Save(_saved.Path);
        using GgufFile copy = GgufFile.Open(_saved.Path);
        Assert.Equal(types.Length, copy.Tensors.Count);
        Assert.All(copy.Tensors, tensor => Assert.Equal(expected[tensor.Name], Bytes(copy, tensor)));
        Assert.Throws<ArgumentException>(() => new GgufWriter().Add(original, copy.Tensors[0]));
        Assert.Throws<NotSupportedException>(() => new GgufWriter().Add("q", [1, 256], GgmlType.Q3_K, static (_, _) => { }));
    }

    private void Saved<TModel>(string architecture, int headWidth)
        where TModel : ICausalLanguageModel<TModel>
    {
        Write<TModel>(architecture, headWidth);
        TModel model = TModel.Load(_original.Path);
        model.Save(_saved.Path);
        Save(model, _again.Path);
        Compare();

        // Through the file under the model's own names.
        Save(TModel.Load(_saved.Path), _again.Path);
        Compare();
        using GgufFile own = GgufFile.Open(_saved.Path);
        Assert.All(own.Tensors, tensor => Assert.Equal(Parameters<TModel>().Single(parameter => parameter.Name == tensor.Name).Format.ToString(), tensor.TypeName));
        Assert.Contains(own.Tensors, static tensor => tensor.Type != GgmlType.F32);

        void Save(TModel saved, string path) => typeof(TModel).GetMethod("Save", [typeof(string), typeof(string)])!.CreateDelegate<Action<string, string>>(saved)(path, _original.Path);

        void Compare()
        {
            using GgufFile before = GgufFile.Open(_original.Path);
            using GgufFile after = GgufFile.Open(_again.Path);
            Assert.Equal(before.Metadata.OrderBy(static entry => entry.Key), after.Metadata.OrderBy(static entry => entry.Key));
            Assert.Equal(before.Tensors.Select(static tensor => tensor.Name).Order(), after.Tensors.Select(static tensor => tensor.Name).Order());
            Assert.All(before.Tensors, tensor =>
            {
                Assert.Equal(tensor.Type, after.Find(tensor.Name)!.Type);
                Assert.Equal(Bytes(before, tensor), Bytes(after, after.Find(tensor.Name)!));
            });
        }
    }

    private static IReadOnlyList<ParameterInfo> Parameters<TModel>() => (IReadOnlyList<ParameterInfo>)typeof(TModel).GetProperty("Parameters")!.GetValue(null)!;

    // Any bits but scales that are no numbers.
    private void Write<TModel>(string architecture, int headWidth)
        where TModel : ICausalLanguageModel<TModel>
    {
        IReadOnlyList<ParameterInfo> parameters = Parameters<TModel>();
        using var floats = new TemporaryFile("floats.safetensors");
        TModel.Create(seed: 3).Save(floats.Path);
        using (WeightFile file = WeightFile.Open(floats.Path))
        {
            var writer = new GgufWriter();
            writer.Set("general.architecture", architecture);
            writer.Set("general.name", "blocks");
            writer.Set(architecture + ".attention.key_length", (uint)headWidth);
            writer.Set("tokenizer.ggml.tokens", ["a", "b"]);
            writer.Add(file, architecture, headWidth, tensor => BlockRows.TypeOf(parameters.Single(parameter => parameter.Name == tensor.Name).Format));
            writer.Add("rope_freqs.weight", [3], GgmlType.F32, static (_, values) => values.Fill(1));
            writer.Save(_original.Path);
        }

        var random = new Random(7);
        byte[] bytes = File.ReadAllBytes(_original.Path);
        using (GgufFile file = GgufFile.Open(_original.Path))
        {
            foreach (GgufTensor tensor in file.Tensors.Where(static tensor => tensor.Type != GgmlType.F32))
            {
                random.NextBytes(bytes.AsSpan((int)tensor.Offset, (int)tensor.ByteLength));
                int size = GgmlBlocks.Size(tensor.Type).Bytes;
                for (long block = tensor.Offset; size > 2 && block < tensor.Offset + tensor.ByteLength; block += size)
                {
                    foreach (int scale in tensor.Type == GgmlType.Q6_K ? [208] : tensor.Type is GgmlType.Q4_K or GgmlType.Q5_K or GgmlType.Q4_1 or GgmlType.Q5_1 ? (int[])[0, 2] : [0])
                    {
                        bytes[block + scale + 1] &= 0xBF;
                    }
                }
            }
        }

        File.WriteAllBytes(_original.Path, bytes);
    }

    private static byte[] Bytes(GgufFile file, GgufTensor tensor)
    {
        byte[] bytes = new byte[tensor.ByteLength];
        file.ReadBytes(tensor, 0, bytes);
        return bytes;
    }
}
