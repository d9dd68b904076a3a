using System.Globalization;

namespace ModelGen.PackageTests;

/// <summary>A fresh project outside the tree installs the package, declares models of all families and trains them: under the JIT, and published with NativeAOT.</summary>
[Collection(PackageCollection.Name)]
public sealed class ConsumerTests(PackageFeed feed, JitConsumer jitConsumer) : IClassFixture<JitConsumer>
{
    private static readonly string[] Families = ["gpt", "lstm", "gru", "mlp"];

    // A few percent above what the program is in bytes where it is published for the newest framework.
    private const long SizeLimit = 1_940_000;

    [Fact]
    public void FreshProjectBuildsWithoutWarningAndTrains()
    {
        CommandResult run = jitConsumer.Run();

        Assert.Empty(jitConsumer.Build.Warnings);
        foreach (string family in Families)
        {
            float[] losses = Losses(run, family);
            Assert.Equal(10, losses.Length);
            Assert.All(losses, loss => Assert.True(float.IsFinite(loss) && loss > 0, run.Output));
            Assert.True(losses[^1] < losses[0], $"{family} does not learn: {string.Join(' ', losses)}");
        }
    }

    [Theory]
    [InlineData(NativeAot.Framework)]
    [InlineData(NativeAot.OldestFramework)]
    public void PublishedProgramComputesWhatTheJitComputes(string framework)
    {
        NativeAot.Require();
        // A published program has at most the 256-bit kernels, even where the JIT would take wider ones.
        CommandResult jit = jitConsumer.Run(("MODELGEN_VECTOR_BITS", "256"));
        (CommandResult publish, CommandResult native, string folder) = RunPublished(framework);

        Assert.Empty(publish.Warnings);
        Assert.Empty(PublishedCode.CallsInProducts(folder, "consumer") ?? []);
        Assert.InRange(new FileInfo(Path.Combine(folder, "consumer")).Length, 1, framework == NativeAot.Framework ? SizeLimit : long.MaxValue);
        Assert.Contains("vector_bits 256", native.Lines);
        Assert.Contains("path AVX2+FMA", native.Lines);
        Assert.Contains("dynamic_code False", native.Lines);
        Assert.Contains("dynamic_code True", jit.Lines);
        Assert.Equal(Numbers(jit), Numbers(native));
    }

    [Theory]
    [InlineData(NativeAot.Framework, "x86-64-v2", "Add avx2 to it")]
    [InlineData(NativeAot.OldestFramework, "popcnt", "Add avx2,fma to it")]
    public void WithoutAvx2ThePublishWarnsAndTheProgramIsStillRight(string framework, string instructions, string advice)
    {
        NativeAot.Require();
        CommandResult jit = jitConsumer.Run();
        (CommandResult publish, CommandResult native, _) = RunPublished(framework, $"-p:IlcInstructionSet={instructions}");

        Assert.All(publish.Warnings, line => Assert.Contains("warning MG1001", line, StringComparison.Ordinal));
        Assert.NotEmpty(publish.Warnings);
        Assert.All(publish.Warnings, line => Assert.Contains(advice, line, StringComparison.Ordinal));
        Assert.Contains("vector_bits 128", native.Lines);
        Assert.Contains("path SSE", native.Lines);
        foreach (string family in Families)
        {
            // Other vectors, another order of additions: close, not equal.
            Assert.All(Losses(jit, family).Zip(Losses(native, family)), pair => Assert.Equal(pair.First, pair.Second, 1e-3f));
        }
    }

    private (CommandResult Publish, CommandResult Run, string Folder) RunPublished(string framework, params string[] arguments)
    {
        string folder = feed.NewProject("consumer", $"<TargetFramework>{framework}</TargetFramework><PublishAot>true</PublishAot><TrimmerSingleWarn>false</TrimmerSingleWarn>");
        string output = Path.Combine(folder, "out");
        CommandResult publish = Command.Dotnet(folder, ["publish", "-c", "Release", "-r", NativeAot.RuntimeIdentifier, "-clp:NoSummary", "-o", output, .. arguments]).Succeeded();
        return (publish, Command.Run(folder, Path.Combine(output, "consumer"), []).Succeeded(), output);
    }

    private static float[] Losses(CommandResult run, string family)
        => [.. run.Lines.Select(line => line.Split(' ')).Where(p => p.Length == 3 && p[0] == family && int.TryParse(p[1], out _)).Select(p => float.Parse(p[2], CultureInfo.InvariantCulture))];

    private static string[] Numbers(CommandResult run) => [.. run.Lines.Where(line => Families.Contains(line.Split(' ')[0]))];
}

/// <summary>The consumer, built once for the JIT and run as often as a test likes.</summary>
public sealed class JitConsumer
{
    private readonly string _program;

    public JitConsumer(PackageFeed feed)
    {
        ArgumentNullException.ThrowIfNull(feed);
        string folder = feed.NewProject("consumer", "<TargetFramework>net10.0</TargetFramework><GenerateDocumentationFile>true</GenerateDocumentationFile>");
        string output = Path.Combine(folder, "out");
        Build = Command.Dotnet(folder, "build", "-c", "Release", "-clp:NoSummary", "-o", output).Succeeded();
        _program = Path.Combine(output, "consumer.dll");
    }

    internal CommandResult Build { get; }

    internal CommandResult Run(params (string Name, string Value)[] environment) => Command.Run(Path.GetDirectoryName(_program)!, "dotnet", [_program], environment).Succeeded();
}
