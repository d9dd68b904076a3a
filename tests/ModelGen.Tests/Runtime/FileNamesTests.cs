using ModelGen.Runtime;
using ModelGen.Tests.Infrastructure;

namespace ModelGen.Tests.Runtime;

/// <summary>Files of one model are spelled in several ways, and files of other models are refused with everything that is wrong.</summary>
public sealed class FileNamesTests : IDisposable
{
    private readonly TemporaryFile _file = new();

    // Two layers, a tied head, and a mask for each layer.
    private static readonly (string Name, int[] Shape)[] s_parameters =
        [("base.table", [5, 3]), ("base.h.0.weight", [3, 3]), ("base.h.0.bias", [3]), ("base.h.1.weight", [3, 3]), ("base.h.1.bias", [3]), ("tail.bias", [5])];

    private static ParameterTable Table { get; } = new(
        "M",
        [.. s_parameters.Select((parameter, index) => new ParameterInfo(parameter.Name, [.. parameter.Shape], index * 16, false, ParameterInitializerKind.Normal, 1, true))])
    {
        OptionalPrefixes = ["base."],
        Aliases = [new TensorAlias("head.weight", "base.table")],
        Buffers = [new KnownBuffer("base.h.#.mask", 2)],
    };

    public void Dispose() => _file.Dispose();

    [Theory]
    [InlineData("", false)]
    [InlineData("", true)]
    [InlineData("module.", false)]
    [InlineData("_orig_mod.", true)]
    [InlineData("model.", false)]
    [InlineData("module._orig_mod.", true)]
    [InlineData("model.module.", true)]
    public void A_file_loads_in_every_spelling(string front, bool withoutBase)
    {
        string Spelled(string name) => front + (withoutBase && name.StartsWith("base.", StringComparison.Ordinal) ? name["base.".Length..] : name);
        Save(Spelled, writer =>
        {
            writer.Add(Spelled("base.h.0.mask"), [2, 2], new float[4]);
            writer.Add(Spelled("base.h.11.mask"), [2, 2], new byte[4]);
            writer.Add(Spelled("head.weight"), [5, 3], Values("base.table"));
        });
        Loads();
    }

    [Fact]
    public void A_parameter_may_be_there_under_its_second_name_alone()
    {
        Save(static name => name == "base.table" ? "head.weight" : name);
        Loads();
    }

    [Fact]
    public void A_prefix_of_any_kind_can_be_named_and_what_lacks_it_is_not_looked_at()
    {
        Save(static name => "teacher." + name, static writer => writer.Add("student.x", [1], new float[1]));
        Assert.Throws<ModelFileException>(() => ModelWeights.Load(Table, _file.Path));
        Loads(new LoadOptions { NamePrefix = "teacher." });
    }

    [Fact]
    public void A_file_with_several_sets_of_names_is_read_by_the_models_own_or_refused()
    {
        var doubled = new SafetensorsWriter();
        foreach ((string name, int[] shape) in s_parameters)
        {
            doubled.Add("module." + name, shape, Values(name));
            doubled.Add("model." + name, shape, new float[Values(name).Length]);
        }

        doubled.Save(_file.Path);
        ModelFileException refused = Assert.Throws<ModelFileException>(() => ModelWeights.Load(Table, _file.Path));
        Assert.Contains("module.base.table", refused.Message, StringComparison.Ordinal);
        Assert.Contains("model.base.table", refused.Message, StringComparison.Ordinal);
        Loads(new LoadOptions { NamePrefix = "module." });

        // The names that the model itself writes go first, but the others are not overlooked.
        Save(static name => name, static writer => Array.ForEach(s_parameters, parameter => writer.Add("model." + parameter.Name, parameter.Shape, new float[Values(parameter.Name).Length])));
        refused = Assert.Throws<ModelFileException>(() => ModelWeights.Load(Table, _file.Path));
        Assert.Equal(s_parameters.Select(static parameter => $"tensor 'model.{parameter.Name}'"), refused.Problems.Select(static problem => problem.Field));
        Loads(new LoadOptions { IgnoreUnexpected = true });
    }

    [Fact]
    public void Everything_that_does_not_fit_is_listed_with_the_nearest_names()
    {
        Save(static name => name switch
        {
            "base.h.0.weight" => "base.h.0.wieght",
            "base.h.1.bias" => "entirely.different",
            _ => name,
        });
        ModelFileException refused = Assert.Throws<ModelFileException>(() => ModelWeights.Load(Table, _file.Path));
        Assert.Equal(
            [
                new("tensor 'base.h.0.weight'", "a tensor of shape [3, 3] for M", "none (the nearest name is 'base.h.0.wieght')"),
                new("tensor 'base.h.1.bias'", "a tensor of shape [3] for M", "none"),
                new("tensor 'base.h.0.wieght'", "no such parameter", "F32 [3, 3]"),
                new("tensor 'entirely.different'", "no such parameter", "F32 [3]"),
            ],
            refused.Problems.OrderBy(static problem => problem.Found.StartsWith('F')).ThenBy(static problem => problem.Field));
        Assert.All(refused.Problems, problem => Assert.Contains(problem.Field, refused.Message, StringComparison.Ordinal));
        Assert.Equal(refused.Problems[0].Field, refused.Field);
        Assert.Throws<ModelFileException>(() => ModelWeights.Load(Table, _file.Path, new LoadOptions { IgnoreUnexpected = true }));

        // What is missing is named as the file would spell it.
        Save(static name => name.EndsWith("h.1.bias", StringComparison.Ordinal) ? "x" : name.Replace("base.", "", StringComparison.Ordinal));
        Assert.Equal("tensor 'h.1.bias'", Assert.Throws<ModelFileException>(() => ModelWeights.Load(Table, _file.Path)).Field);
    }

    [Fact]
    public void Tensors_that_the_model_does_not_have_are_refused_unless_asked_for()
    {
        Save(static name => name, static writer =>
        {
            writer.Add("base.h.2.bias", [3], new float[3]);
            writer.Add("base.h.0.mask", [4], new float[4]);
            writer.Add("counter", [], new long[1]);
        });
        ModelFileException refused = Assert.Throws<ModelFileException>(() => ModelWeights.Load(Table, _file.Path));
        Assert.Equal(["tensor 'counter'", "tensor 'base.h.2.bias'", "tensor 'base.h.0.mask'"], refused.Problems.Select(static problem => problem.Field));
        Assert.Contains("LoadOptions.IgnoreUnexpected", refused.Message, StringComparison.Ordinal);
        Loads(new LoadOptions { IgnoreUnexpected = true });
    }

    [Fact]
    public void Tensors_of_names_that_are_ignored_are_passed_over_and_no_others()
    {
        Save(static name => name, static writer =>
        {
            writer.Add("base.h.2.bias", [3], new float[3]);
            writer.Add("base.h.0.attn.bias", [4], new float[4]);
            writer.Add("vision.0.weight", [2], new float[2]);
        });
        ModelFileException refused = Assert.Throws<ModelFileException>(() => ModelWeights.Load(Table, _file.Path, new LoadOptions { Ignore = ["*.attn.bias", "vision.*"] }));
        Assert.Equal(["tensor 'base.h.2.bias'"], refused.Problems.Select(static problem => problem.Field));
        Loads(new LoadOptions { Ignore = ["*.attn.bias", "vision.*", "base.*.2.*"] });

        // A parameter stays one, whatever fits its name; and one that is not there is still asked for.
        Loads(new LoadOptions { Ignore = ["*"] });
        Save(static name => name == "tail.bias" ? "tail.x" : name);
        Assert.Equal("tensor 'tail.bias'", Assert.Throws<ModelFileException>(() => ModelWeights.Load(Table, _file.Path, new LoadOptions { Ignore = ["tail.*"] })).Field);
    }

    [Theory]
    [InlineData("a.b", "a.b", true)]
    [InlineData("a.b", "a.c", false)]
    [InlineData("a.b", "", false)]
    [InlineData("", "*", true)]
    [InlineData("a.b", "**", true)]
    [InlineData("h.0.attn.bias", "*.attn.bias", true)]
    [InlineData("h.0.attn.bias", "*.attn.", false)]
    [InlineData("h.0.attn.bias", "h.*.bias", true)]
    [InlineData("aba", "ab*ba", false)]
    [InlineData("abba", "ab*ba", true)]
    [InlineData("a.x.y.z", "a*x*y*z", true)]
    [InlineData("a.y.x.z", "a*x*y*z", false)]
    [InlineData("A.b", "a.*", false)]
    public void A_star_stands_for_anything(string name, string pattern, bool fits) => Assert.Equal(fits, NamePattern.Fits(name, pattern));

    [Fact]
    public void A_second_name_must_be_a_copy_or_the_file_is_of_another_model()
    {
        float[] other = Values("base.table");
        other[7] += 1;
        Save(static name => name, writer => writer.Add("head.weight", [5, 3], other));
        ModelFileException refused = Assert.Throws<ModelFileException>(() => ModelWeights.Load(Table, _file.Path));
        Assert.Equal("tensor 'head.weight'", refused.Field);
        Assert.Contains("at 7", refused.Found, StringComparison.Ordinal);
        Loads(new LoadOptions { IgnoreUnexpected = true });
        Loads(new LoadOptions { Ignore = ["head.*"] });
        Assert.Throws<ModelFileException>(() => ModelWeights.Load(Table, _file.Path, new LoadOptions { Ignore = ["tail.*"] }));

        Save(static name => name, static writer => writer.Add("head.weight", [3, 5], Values("base.table")));
        Assert.Equal("F32 [3, 5]", Assert.Throws<ModelFileException>(() => ModelWeights.Load(Table, _file.Path)).Found);
    }

    [Fact]
    public void Any_number_of_unexpected_tensors_makes_a_short_message()
    {
        Save(static name => name, static writer =>
        {
            for (int i = 0; i < 5000; i++)
            {
                writer.Add($"\u001b[31m{i}{new string('x', 300)}", [0], Array.Empty<float>());
            }
        });
        ModelFileException refused = Assert.Throws<ModelFileException>(() => ModelWeights.Load(Table, _file.Path));
        Assert.InRange(refused.Message.Length, 1000, 50_000);
        Assert.DoesNotContain('\u001b', refused.Message);
        Assert.Contains("4900 more", refused.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Any_number_of_recorded_options_makes_a_short_message()
    {
        Save(static name => name, static writer =>
        {
            for (int i = 0; i < 5000; i++)
            {
                writer.Metadata[$"modelgen.declaration.\u202e{i}{new string('x', 300)}"] = "\u001b";
            }
        });
        ParameterTable declared = new("M", [.. Table.Parameters]) { Declaration = [new DeclaredOption("Family", "F")] };
        ModelFileException refused = Assert.Throws<ModelFileException>(() => ModelWeights.Load(declared, _file.Path));
        Assert.Equal(21, refused.Problems.Count);
        Assert.InRange(refused.Message.Length, 1000, 10_000);
        Assert.DoesNotContain('\u001b', refused.Message);
        Assert.DoesNotContain('\u202e', refused.Message);
    }

    [Fact]
    public void Finding_the_spelling_allocates_in_proportion_to_the_file()
    {
        Save(static name => "module." + name, static writer =>
        {
            for (int i = 0; i < 20_000; i++)
            {
                writer.Add($"module._orig_mod.{i}", [0], Array.Empty<float>());
            }
        });
        Assert.Throws<ModelFileException>(() => ModelWeights.Load(Table, _file.Path));
        long before = GC.GetAllocatedBytesForCurrentThread();
        Assert.Throws<ModelFileException>(() => ModelWeights.Load(Table, _file.Path));

        // The header, which is nearly all of the file, once as it is, and what is made of it.
        Assert.InRange(GC.GetAllocatedBytesForCurrentThread() - before, 0, ((1 + 8) * new FileInfo(_file.Path).Length) + 200_000);
    }

    [Fact]
    public void A_second_name_that_is_taken_or_of_no_parameter_is_refused()
    {
        Assert.Throws<ArgumentException>(() => new ParameterTable("M", [.. Table.Parameters]) { Aliases = [new TensorAlias("base.table", "tail.bias")] });
        Assert.Throws<ArgumentException>(() => new ParameterTable("M", [.. Table.Parameters]) { Aliases = [new TensorAlias("x", "y")] });
    }

    private static float[] Values(string name)
    {
        using ModelWeights weights = ModelWeights.Create(Table, seed: 7);
        return weights.Parameter(name).ToArray();
    }

    private void Save(Func<string, string> spelled, Action<SafetensorsWriter>? more = null)
    {
        var writer = new SafetensorsWriter();
        foreach ((string name, int[] shape) in s_parameters)
        {
            writer.Add(spelled(name), shape, Values(name));
        }

        more?.Invoke(writer);
        writer.Save(_file.Path);
    }

    private void Loads(LoadOptions? options = null)
    {
        using ModelWeights loaded = ModelWeights.Load(Table, _file.Path, options);
        foreach ((string name, _) in s_parameters)
        {
            Assert.Equal(Values(name), loaded.Parameter(name).ToArray());
        }
    }
}
