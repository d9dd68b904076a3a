using System.Globalization;
using ModelGen.Compiler;
using ModelGen.Compiler.Families;
using ModelGen.Compiler.Programs;

namespace ModelGen.Tests.Compiler;

/// <summary>What decoders' attributes, options and files say of each other.</summary>
public sealed class DecoderOptionTests
{
    private static readonly DeclaredArgument[] Small =
    [
        DeclaredArgument.Of("Layers", 2L), DeclaredArgument.Of("DModel", 8L), DeclaredArgument.Of("Heads", 2L), DeclaredArgument.Of("FeedForward", 9L), DeclaredArgument.Of("Vocab", 11L), DeclaredArgument.Of("Context", 6L),
    ];

    /// <summary>Families that have presets, and those, by name.</summary>
    public static TheoryData<string> Presets => [.. FamilyRegistry.All.GroupBy(family => family.GetType()).Where(presets => presets.Count() > 1).SelectMany(presets => presets.Select(family => family.Name))];

    /// <summary>Declarations that compute otherwise than a plain one.</summary>
    public static TheoryData<string, object> Others => new()
    {
        { "RotaryBase", 100.0 },
        { "RotaryFraction", 0.5 },
        { "RotaryLayout", 1L },
        { "RotaryPattern", new[] { 1, 0 } },
        { "RotaryScaling", 1L },
        { "Mixers", new[] { 1, 0 } },
        { "Experts", 3L },
        { "AttentionOutputGate", 1L },
        { "AttentionSinks", 1L },
        { "ValueNorm", 1L },
        { "LayerScale", 1L },
        { "GateLimit", 7.0 },
        { "UpOffset", 1.0 },
        { "PerLayerWidth", 4L },
        { "EmbeddingNorm", 1L },
        { "Streams", 2L },
        { "LaurelRank", 3L },
        { "LayerSparsity", new[] { 0.5, 0 } },
        { "LayerHeadWidths", new[] { 4, 6 } },
        { "LayerKeyValueHeads", new[] { 1, 2 } },
        { "LayerFeedForward", new[] { 9, 11 } },
        { "GlobalRotaryFraction", 0.5 },
        { "WindowRotaryBase", 100.0 },
        { "QkvBias", 1L },
        { "NormEpsilon", 1e-6 },
        { "QueryKeyNorm", 1L },
        { "AttentionSoftCap", 5.0 },
        { "LogitSoftCap", 5.0 },
        { "EmbeddingMultiplier", 3.0 },
        { "AttentionScale", 0.25 },
    };

    /// <summary>An attribute's properties show an editor what holds where nothing is given; the compiler has its own.</summary>
    [Theory]
    [MemberData(nameof(Presets))]
    public void Attributes_and_compiler_have_the_same_defaults(string preset)
    {
        Type type = typeof(DecoderAttribute).Assembly.GetType($"ModelGen.{preset}Attribute", throwOnError: true)!;
        object attribute = Activator.CreateInstance(type)!;
        int compared = 0;
        foreach (FileOption option in Options(preset))
        {
            if (Small.Any(given => given.Name == option.Name) || type.GetProperty(option.Name)?.GetValue(attribute) is not { } value || value is 0 or 0.0)
            {
                continue; // Given, of no attribute, or a default that 0 stands for.
            }

            string text = value is bool flag ? flag ? "true" : "false" : value is TokenMixer[] mixers ? string.Join(", ", mixers.Select(mixer => (int)mixer)) : value is double number ? number.ToString("R", CultureInfo.InvariantCulture) : value.ToString()!;
            Assert.Equal($"{option.Name} = {text}", $"{option.Name} = {option.Value}");
            compared++;
        }

        Assert.InRange(compared, preset == "Bert" ? 3 : 6, int.MaxValue);
    }

    /// <summary>Weights of one declaration that come into another which computes something else are noticed either way, though files record some options only where they are not the usual ones.</summary>
    [Theory]
    [MemberData(nameof(Others))]
    public void Files_of_another_declaration_are_noticed_both_ways(string name, object value)
    {
        DeclaredArgument[] windows = [DeclaredArgument.Of("Attention", 1L), DeclaredArgument.Of("LayerWindows", [3, 0])];
        DeclaredArgument[] other = [value switch { long integer => DeclaredArgument.Of(name, integer), double real => DeclaredArgument.Of(name, real), double[] reals => DeclaredArgument.OfReals(name, reals), _ => DeclaredArgument.Of(name, (int[])value) }];
        IReadOnlyList<FileOption> plain = Options("Decoder", windows), changed = Options("Decoder", [.. windows, .. other, .. name == "Experts" ? [DeclaredArgument.Of("ActiveExperts", 2L)] : name == "RotaryScaling" ? [DeclaredArgument.Of("RotaryFactor", 4.0)] : Array.Empty<DeclaredArgument>()]);
        Assert.True(IsRefused(plain, changed), $"A plain declaration takes files with {name}.");
        Assert.True(IsRefused(changed, plain), $"A declaration with {name} takes plain files.");
    }

    private static bool IsRefused(IReadOnlyList<FileOption> declared, IReadOnlyList<FileOption> recorded)
        => declared.Any(option => (recorded.FirstOrDefault(r => r.Name == option.Name)?.Value ?? option.Absent) is { } found && found != option.Value)
            || recorded.Any(option => declared.All(d => d.Name != option.Name));

    private static IReadOnlyList<FileOption> Options(string family, params DeclaredArgument[] further)
        => FamilyRegistry.Get(family).Describe(new ModelSpec(new TypeIdentity("Tests", [], "Model", "public", "Tests.Model"), family, [.. Small, .. further], null, null)).Files.Options;

    // What is being typed is compiled too, for its public members: with logarithms that were looked for without an end, an editor stood still.
    [Theory]
    [InlineData(3L, 0L, 1.0)]
    [InlineData(4L, 0L, 1.0)]
    [InlineData(4L, -3L, 2.0)]
    [InlineData(4L, 8L, double.PositiveInfinity)]
    [InlineData(3L, 8L, -1.0)]
    [InlineData(3L, 8L, 0.0)]
    [InlineData(4L, 8L, double.NaN)]
    [InlineData(5L, 0L, 2.0)]
    [InlineData(5L, -3L, -2.0)]
    [InlineData(5L, 1L, double.PositiveInfinity)]
    public async Task Wrong_scales_of_rotary_positions_have_a_surface(long scaling, long original, double factor)
    {
        var spec = new ModelSpec(new TypeIdentity("Tests", [], "Model", "public", "Tests.Model"), "Decoder",
            [.. Small, DeclaredArgument.Of("RotaryScaling", scaling), DeclaredArgument.Of("RotaryOriginalContext", original), DeclaredArgument.Of("RotaryFactor", factor)], null, null);
        CompiledModel surface = await Task.Run(() => ModelCompiler.CompileSurface(spec, "wrong", CancellationToken.None), TestContext.Current.CancellationToken).WaitAsync(TimeSpan.FromMinutes(1), TestContext.Current.CancellationToken);
        Assert.Single(surface.Files);
    }

    [Fact]
    public void What_has_no_logarithm_has_none()
        => Assert.All([0, -1, double.NaN, double.PositiveInfinity, double.NegativeInfinity], static x => Assert.True(double.IsNaN(PortableMath.Log(x))));
}
