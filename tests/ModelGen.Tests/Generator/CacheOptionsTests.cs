using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.CSharp;
using Microsoft.CodeAnalysis.Diagnostics;
using ModelGen.Compiler;
using ModelGen.Compiler.Declarations;
using ModelGen.Compiler.Targets.Cpu;

namespace ModelGen.Tests.Generator;

/// <summary>The caches that a project says its models are for.</summary>
public sealed class CacheOptionsTests
{
    private const string Model = "[ModelGen.Mlp(700, 900, 10)] public partial class Model;";

    [Theory]
    [InlineData("512", 512 << 10)]
    [InlineData("1", 1 << 10)]
    [InlineData(null, 1 << 20)]
    [InlineData("", 1 << 20)]
    [InlineData("0", 1 << 20)]
    [InlineData("-4", 1 << 20)]
    [InlineData("4 MB", 1 << 20)]
    [InlineData("99999999999", 1 << 20)]
    public void A_size_is_a_number_of_kilobytes(string? text, int bytes)
    {
        Assert.Equal(CacheSizes.Default with { L2 = bytes }, CacheOptions.Read(new Options(("ModelGenL2CacheKilobytes", text))));
        Assert.Equal(CacheSizes.Default, CacheOptions.Read(new Options(("ModelGenL4CacheKilobytes", text))));
    }

    [Fact]
    public void Every_level_has_its_property()
        => Assert.Equal(new CacheSizes(64 << 10, 512 << 10, 4 << 20), CacheOptions.Read(new Options(("ModelGenL1CacheKilobytes", "64"), ("ModelGenL2CacheKilobytes", "512"), ("ModelGenL3CacheKilobytes", "4096"))));

    [Fact]
    public void Another_size_compiles_models_again_and_the_same_does_not()
    {
        CSharpCompilation compilation = GeneratorHarness.Compile(Model);
        GeneratorDriver driver = GeneratorHarness.CreateDriver(compilation).RunGenerators(compilation);
        SortedDictionary<string, string> byDefault = new(GeneratorHarness.TextOf(driver.GetRunResult().Results[0]).ToDictionary(f => f.Key, f => f.Value));

        driver = driver.WithUpdatedAnalyzerConfigOptions(new Provider(("ModelGenL2CacheKilobytes", "16"), ("ModelGenL3CacheKilobytes", "64"))).RunGenerators(compilation);
        SortedDictionary<string, string> small = new(GeneratorHarness.TextOf(driver.GetRunResult().Results[0]).ToDictionary(f => f.Key, f => f.Value));
        Assert.Equal(byDefault.Keys, small.Keys);
        Assert.NotEqual(byDefault.Values, small.Values);

        driver = driver.WithUpdatedAnalyzerConfigOptions(new Provider(("ModelGenL2CacheKilobytes", "16"), ("ModelGenL3CacheKilobytes", "64"))).RunGenerators(compilation);
        Assert.All(
            driver.GetRunResult().Results[0].TrackedSteps[StepNames.CompiledModel].SelectMany(s => s.Outputs),
            output => Assert.True(output.Reason is IncrementalStepRunReason.Cached or IncrementalStepRunReason.Unchanged));
    }

    private sealed class Options(params (string Name, string? Value)[] properties) : AnalyzerConfigOptions
    {
        public override bool TryGetValue(string key, out string value)
        {
            string? found = properties.FirstOrDefault(p => "build_property." + p.Name == key).Value;
            value = found ?? "";
            return found is not null;
        }
    }

    private sealed class Provider(params (string Name, string? Value)[] properties) : AnalyzerConfigOptionsProvider
    {
        public override AnalyzerConfigOptions GlobalOptions { get; } = new Options(properties);

        public override AnalyzerConfigOptions GetOptions(SyntaxTree tree) => GlobalOptions;

        public override AnalyzerConfigOptions GetOptions(AdditionalText textFile) => GlobalOptions;
    }
}
