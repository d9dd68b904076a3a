using System.Text.Json;

namespace ModelGen.PackageTests;

/// <summary>The main example, published with NativeAOT by one property, trains as it does under the JIT.</summary>
[Collection(PackageCollection.Name)]
public sealed class CharGptTests : IDisposable
{
    private static readonly string Project = Path.Combine(Repository.Root, "examples", "CharGpt");
    private static readonly string[] Arguments = ["--steps", "30", "--seed", "7", "--json"];

    private readonly TemporaryFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Theory]
    [InlineData(NativeAot.Framework)]
    [InlineData(NativeAot.OldestFramework)]
    public void PublishedExampleTrainsAsUnderTheJit(string framework)
    {
        NativeAot.Require();
        CommandResult publish = Command.Dotnet(
            _folder.Path, "publish", Project, "-c", "Release", "-r", NativeAot.RuntimeIdentifier, "-p:Aot=true", $"-p:AotFramework={framework}", "-p:TrimmerSingleWarn=false", "-o", _folder.Combine("native")).Succeeded();
        // Packages that the example uses answer for their own warnings; this project's assemblies have none.
        Assert.DoesNotContain(publish.Warnings, line => line.Contains("ModelGen", StringComparison.Ordinal) || line.Contains("CharGpt", StringComparison.Ordinal));

        Command.Dotnet(_folder.Path, "build", Project, "-c", "Release", "-o", _folder.Combine("jit")).Succeeded();
        JsonElement jit = Train("jit", "dotnet", [_folder.Combine("jit", "CharGpt.dll"), .. Arguments]);
        JsonElement native = Train("native", _folder.Combine("native", "CharGpt"), Arguments);

        Assert.Equal(256, native.GetProperty("vector_bits").GetInt32());
        Assert.Equal(0, native.GetProperty("allocated_bytes_per_step").GetInt64());
        foreach (string same in new[] { "steps", "train_loss", "validation_loss", "parameters", "vector_bits", "sample" })
        {
            Assert.Equal(jit.GetProperty(same).GetRawText(), native.GetProperty(same).GetRawText());
        }
    }

    /// <summary>Runs in a folder of its own, since the example saves its checkpoint where it is run.</summary>
    private JsonElement Train(string name, string program, string[] arguments)
    {
        string folder = Directory.CreateDirectory(_folder.Combine(name + "-run")).FullName;
        CommandResult run = Command.Run(folder, program, arguments, ("MODELGEN_VECTOR_BITS", "256")).Succeeded();
        return JsonDocument.Parse(run.Lines.Last(line => line.StartsWith('{'))).RootElement;
    }
}
