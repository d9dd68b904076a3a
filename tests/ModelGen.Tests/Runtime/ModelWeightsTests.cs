using ModelGen.Runtime;
using ModelGen.Tests.Infrastructure;

namespace ModelGen.Tests.Runtime;

public sealed unsafe class ModelWeightsTests : IDisposable
{
    private readonly TemporaryFile _file = new();

    public void Dispose() => _file.Dispose();

    [Fact]
    public void New_weights_follow_their_initializers()
    {
        var table = new ParameterTable(
            "M",
            new ParameterInfo("normal", [300, 1000], 0, false, ParameterInitializerKind.Normal, 0.02f, true),
            new ParameterInfo("uniform", [100_003], 300_000, false, ParameterInitializerKind.Uniform, 3f, true),
            new ParameterInfo("ones", [5], 400_016, false, ParameterInitializerKind.Ones, 0, true),
            new ParameterInfo("zeros", [5], 400_032, false, ParameterInitializerKind.Zeros, 0, true));
        using ModelWeights weights = ModelWeights.Create(table, seed: 1);
        Assert.Equal(0, (nint)weights.Pointer % 64);
        Assert.Equal(400_048, weights.Length);

        float[] normal = [.. weights.Parameter("normal")];
        Assert.Equal(0, normal.Average(static x => x / 0.02), 0.01);
        Assert.Equal(1, normal.Average(static x => Math.Pow(x / 0.02, 2)), 0.01);
        Assert.Equal(0, normal.Average(static x => Math.Pow(x / 0.02, 3)), 0.03);
        Assert.Equal(3, normal.Average(static x => Math.Pow(x / 0.02, 4)), 0.06);
        Assert.Equal(0.158655, normal.Count(static x => x > 0.02) / 300_000.0, 0.003);
        Assert.True(normal.Distinct().Count() > 290_000);

        float[] uniform = [.. weights.Parameter("uniform")];
        Assert.All(uniform, static x => Assert.InRange(x, -3f, 3f));
        Assert.Equal(0, uniform.Average(), 0.03);
        Assert.Equal(3, uniform.Average(static x => (double)x * x), 0.03);
        Assert.True(uniform.Max() > 2.999f && uniform.Min() < -2.999f);
        Assert.All(weights.Parameter("ones").ToArray(), static x => Assert.Equal(1, x));
        Assert.All(weights.Parameter("zeros").ToArray(), static x => Assert.Equal(0, x));
        Assert.All(new ReadOnlySpan<float>(weights.Pointer + 400_003, 13).ToArray(), static x => Assert.Equal(0, x));
    }

    [Fact]
    public void Weights_depend_on_the_seed_and_on_the_parameter_but_not_on_its_neighbours()
    {
        ParameterInfo first = new("first", [100], 0, false, ParameterInitializerKind.Normal, 1, true);
        ParameterInfo second = new("second", [100], 112, false, ParameterInitializerKind.Normal, 1, true);
        using ModelWeights both = ModelWeights.Create(new ParameterTable("M", first, second), 1);
        using ModelWeights again = ModelWeights.Create(new ParameterTable("M", first, second), 1);
        using ModelWeights longer = ModelWeights.Create(new ParameterTable("M", first with { Shape = [103] }, second), 1);
        using ModelWeights other = ModelWeights.Create(new ParameterTable("M", first, second), 2);
        using ModelWeights negative = ModelWeights.Create(new ParameterTable("M", first, second), -1);
        Assert.Equal(both.Parameter("first"), again.Parameter("first"));
        Assert.Equal(both.Parameter("second"), longer.Parameter("second"));
        Assert.Equal(both.Parameter("first"), longer.Parameter("first")[..100]);
        Assert.False(both.Parameter("first").SequenceEqual(both.Parameter("second")));
        Assert.False(both.Parameter("first").SequenceEqual(other.Parameter("first")));
        Assert.False(both.Parameter("first").SequenceEqual(negative.Parameter("first")));
    }

    [Theory]
    [InlineData(0.5, 0)]
    [InlineData(0.975, 1.9599639845400545)]
    [InlineData(0.84134474606854293, 1)]
    [InlineData(0.001, -3.0902323061678132)]
    [InlineData(1e-6, -4.753424308822899)]
    [InlineData(1e-9, -5.997807015007685)]
    [InlineData(0.075, -1.4395314709384563)]
    public void The_normal_quantile_is_accurate(double probability, double expected)
    {
        Assert.Equal(expected, WeightRandom.NormalQuantile(probability), 1e-14 * Math.Max(1, Math.Abs(expected)));
        if (probability > 1e-5)
        {
            Assert.Equal(-expected, WeightRandom.NormalQuantile(1 - probability), 1e-12);
        }
    }

    [Fact]
    public void What_is_saved_is_loaded()
    {
        using ModelWeights weights = ModelWeights.Create(FakeModels.Table(), seed: 3);
        weights.Save(_file.Path);
        using ModelWeights loaded = ModelWeights.Load(FakeModels.Table(), _file.Path);
        Assert.Equal(
            new ReadOnlySpan<uint>(weights.Pointer, (int)weights.Length),
            new ReadOnlySpan<uint>(loaded.Pointer, (int)loaded.Length));

        using SafetensorsFile file = SafetensorsFile.Open(_file.Path);
        SafetensorsTensor transposed = file.Get("block.0.weight");
        Assert.Equal<long>([5, 7], transposed.Shape);
        float[] values = new float[35];
        file.ReadFloats(transposed, 0, values);
        for (int row = 0; row < 7; row++)
        {
            for (int column = 0; column < 5; column++)
            {
                Assert.Equal(weights.Parameter("block.0.weight")[(row * 5) + column], values[(column * 7) + row]);
            }
        }
    }

    [Theory]
    [InlineData(1, 1)]
    [InlineData(31, 70)]
    [InlineData(70, 31)]
    [InlineData(32, 64)]
    [InlineData(97, 1)]
    public void Transposed_matrices_of_any_size_come_back(int rows, int columns)
    {
        var table = new ParameterTable("M", new ParameterInfo("w", [rows, columns], 0, TransposedInFile: true, ParameterInitializerKind.Normal, 1, true));
        using ModelWeights weights = ModelWeights.Create(table, seed: 3);
        weights.Save(_file.Path);
        using ModelWeights loaded = ModelWeights.Load(table, _file.Path);
        Assert.Equal(weights.Parameter("w"), loaded.Parameter("w"));
    }

    [Fact]
    public void Half_precision_files_are_converted()
    {
        var table = new ParameterTable("M", new ParameterInfo("w", [2, 3], 0, TransposedInFile: true, ParameterInitializerKind.Normal, 1, true));
        var writer = new SafetensorsWriter();
        writer.Add("w", [3, 2], SafetensorsType.F16, 6, static stream =>
        {
            for (int i = 0; i < 6; i++)
            {
                stream.Write(BitConverter.GetBytes((Half)(i * 0.25)));
            }
        });
        writer.Save(_file.Path);
        using ModelWeights loaded = ModelWeights.Load(table, _file.Path);
        Assert.Equal([0, 0.5f, 1, 0.25f, 0.75f, 1.25f], loaded.Parameter("w").ToArray());
    }

    [Fact]
    public void A_file_of_another_model_is_refused()
    {
        using ModelWeights weights = ModelWeights.Create(FakeModels.Table(), seed: 3);
        weights.Save(_file.Path);
        ModelFileException exception = Assert.Throws<ModelFileException>(() => ModelWeights.Load(FakeModels.Table(wide: 4000), _file.Path));
        Assert.Equal("tensor 'wide', shape", exception.Field);
        Assert.StartsWith("[4000]", exception.Expected, StringComparison.Ordinal);
        Assert.Equal("[4321]", exception.Found);

        // The same number of elements in another shape, or with one more extent, is not the same shape.
        Refused("tensor 'gain', shape", writer => writer.Add("gain", [11, 3], new float[33]));
        Refused("tensor 'gain', shape", writer => writer.Add("gain", [3, 11, 1], new float[33]));
        Refused("tensor 'gain', dtype", writer => writer.Add("gain", [3, 11], new long[33]));
        Refused("tensor 'gain'", static _ => { });
        Refused("tensor 'block.0.weight', shape", writer => writer.Add("gain", [3, 11], new float[33]), transposed: false);
        Refused("tensor 'block.12.bias'", writer =>
        {
            writer.Add("gain", [3, 11], new float[33]);
            writer.Add("block.12.bias", [1], new float[1]);
        });

        void Refused(string field, Action<SafetensorsWriter> add, bool transposed = true)
        {
            var writer = new SafetensorsWriter();
            writer.Add("block.0.weight", transposed ? [5, 7] : [7, 5], new float[35]);
            writer.Add("block.0.bias", [1], new float[1]);
            writer.Add("wide", [4321], new float[4321]);
            add(writer);
            writer.Save(_file.Path);
            Assert.Equal(field, Assert.Throws<ModelFileException>(() => ModelWeights.Load(FakeModels.Table(), _file.Path)).Field);
        }
    }

    [Fact]
    public void Missing_files_and_unknown_parameters_are_errors()
    {
        Assert.ThrowsAny<IOException>(() => ModelWeights.Load(FakeModels.Table(), _file.Path));
        ModelWeights weights = ModelWeights.Create(FakeModels.Table(), seed: 3);
        Assert.Throws<ArgumentException>("name", () => { weights.Parameter("none"); });
        weights.Dispose();
        Assert.Throws<ObjectDisposedException>(() => { weights.Parameter("wide"); });
        Assert.Throws<ObjectDisposedException>(() => weights.Save(_file.Path));
    }

    [Fact]
    public void A_table_that_makes_no_sense_is_refused()
    {
        ParameterInfo valid = new("a", [3], 0, false, ParameterInitializerKind.Zeros, 0, false);
        Assert.Throws<ArgumentException>(() => new ParameterTable("M", valid, valid with { Offset = 16 }));
        Assert.Throws<ArgumentException>(() => new ParameterTable("M", valid, valid with { Name = "b" }));
        Assert.Throws<ArgumentException>(() => new ParameterTable("M", valid, valid with { Name = "b", Offset = 8 }));
        Assert.Throws<ArgumentException>(() => new ParameterTable("M", valid with { Shape = [0] }));
        Assert.Throws<ArgumentException>(() => new ParameterTable("M", valid with { Shape = [-3, -1] }));
        Assert.Throws<ArgumentException>(() => new ParameterTable("M", valid with { TransposedInFile = true }));
        Assert.Throws<ArgumentException>(() => new ParameterTable("M", valid with { Name = "" }));
        Assert.Equal(16, new ParameterTable("M", valid).TotalLength);
        Assert.Equal(0, new ParameterTable("M").TotalLength);
        Assert.NotEqual(new ParameterTable("M", valid).Fingerprint, new ParameterTable("M", valid with { Shape = [4] }).Fingerprint);
        Assert.Equal(new ParameterTable("M", valid).Fingerprint, new ParameterTable("N", valid).Fingerprint);
        Assert.Equal(valid, valid with { Shape = [3] });
        Assert.NotEqual(valid, valid with { Shape = [4] });
    }

    [Fact]
    public void Public_checkpoints_open()
    {
        using SafetensorsFile gpt = SafetensorsFile.Open(TestData.File("tiny-random-gpt2", "model.safetensors"));
        Assert.Equal("pt", gpt.Metadata["format"]);
        Assert.Equal<long>([32, 96], gpt.Get("transformer.h.0.attn.c_attn.weight").Shape);
        using SafetensorsFile partials = SafetensorsFile.Open(TestData.File("gpt-nano-sort", "gpt-nano-sort-partials.safetensors"));
        long[] tokens = new long[33];
        partials.ReadIntegers(partials.Get("idx"), 0, tokens);
        Assert.All(tokens, static token => Assert.InRange(token, 0, 2));
    }
}
