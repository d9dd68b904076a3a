namespace ModelGen.PackageTests;

/// <summary>
/// Models compile without a warning and compute the same bits in projects of the most different settings, with the compiler of the
/// installed SDK. Settings that the C# compiler alone shows the effect of stand in ModelGen.Tests, where they are fast.
/// </summary>
[Collection(PackageCollection.Name)]
public sealed class ProjectSettingsTests(PackageFeed feed)
{
    private const string Program = """
        #pragma warning disable
        public static class Program
        {
            public static void Main()
            {
                int[] inputs = new int[24], targets = new int[24];
                for (int i = 0; i < 24; i++) { inputs[i] = i * i % 7; targets[i] = (i + 1) * (i + 1) % 7; }
                using (var trainer = Models.Net.Create(1).CreateTrainer(new ModelGen.AdamW()))
                    for (int i = 0; i < 3; i++) System.Console.WriteLine("gpt " + System.BitConverter.SingleToInt32Bits(trainer.Step(inputs, targets)));
                using (var trainer = Models.Recurrent.Create(1).CreateTrainer(new ModelGen.AdamW()))
                    for (int i = 0; i < 3; i++) System.Console.WriteLine("gru " + System.BitConverter.SingleToInt32Bits(trainer.Step(inputs, targets)));
                using (var session = Models.Net.Create(2).CreateSession())
                    foreach (float logit in session.Prefill(new[] { 1, 2, 3 }).ToArray()) System.Console.WriteLine("logit " + System.BitConverter.SingleToInt32Bits(logit));
                float[] outputs = new float[2];
                using (var session = Models.Perceptron.Create(3).CreateSession()) session.Predict(new[] { 1f, 2f, 3f }, outputs);
                foreach (float output in outputs) System.Console.WriteLine("mlp " + System.BitConverter.SingleToInt32Bits(output));
            }
        }

        namespace Models
        {
            [ModelGen.Gpt(Layers = 2, DModel = 20, Heads = 4, Vocab = 7, Context = 12, Dropout = 0.3)] [ModelGen.Trainable(BatchSize = 2, SequenceLength = 12)]
            public partial class Net { }

            [ModelGen.RecurrentLm(Cell = ModelGen.Cell.Gru, Layers = 2, Hidden = 9, Embedding = 5, Vocab = 7, Dropout = 0.3)] [ModelGen.Trainable(BatchSize = 2, SequenceLength = 12)]
            public partial class Recurrent { }

            [ModelGen.Mlp(3, 5, 2)] [ModelGen.Trainable(BatchSize = 4)]
            public partial class Perceptron { }
        }

        """;

    [Fact]
    public void ModelsComputeTheSameInProjectsOfAnySettings()
    {
        string[] plain = BuildAndRun(
            "<TargetFramework>net10.0</TargetFramework><LangVersion>12</LangVersion><Nullable>disable</Nullable><ImplicitUsings>disable</ImplicitUsings>",
            "Debug", "net10.0");
        string strict = $"""
            <TargetFrameworks>net9.0;net10.0</TargetFrameworks>
            <LangVersion>preview</LangVersion>
            <CheckForOverflowUnderflow>true</CheckForOverflowUnderflow>
            <AllowUnsafeBlocks>false</AllowUnsafeBlocks>
            <AnalysisMode>All</AnalysisMode>
            <EnforceCodeStyleInBuild>true</EnforceCodeStyleInBuild>
            <TreatWarningsAsErrors>true</TreatWarningsAsErrors>
            <WarningLevel>9999</WarningLevel>
            <RootNamespace>9 odd.Näme-class</RootNamespace>
            <SignAssembly>true</SignAssembly>
            <AssemblyOriginatorKeyFile>{Path.Combine(Repository.Root, "src", "ModelGen.Runtime", "ModelGen.snk")}</AssemblyOriginatorKeyFile>
            <Deterministic>true</Deterministic>
            <PathMap>$(MSBuildProjectDirectory)=/_</PathMap>
            """;
        foreach (string framework in new[] { "net10.0", "net9.0" })
        {
            Assert.Equal(plain, BuildAndRun(strict, "Release", framework));
        }
    }

    [Fact]
    public void ProjectThatForbidsUnsafeCodeIsHeldToIt()
    {
        string folder = feed.NewProject("safe", "<TargetFramework>net10.0</TargetFramework><AllowUnsafeBlocks>false</AllowUnsafeBlocks>");
        File.WriteAllText(Path.Combine(folder, "Program.cs"), Program);
        File.WriteAllText(Path.Combine(folder, "Own.cs"), "internal static class Own { public static unsafe int Read(int* p) => *p; }\n");
        CommandResult build = Command.Dotnet(folder, "build", "-clp:NoSummary");
        Assert.NotEqual(0, build.ExitCode);
        string[] errors = [.. build.Lines.Where(line => line.Contains(": error ", StringComparison.Ordinal)).Distinct()];
        string error = Assert.Single(errors);
        Assert.Contains("Own.cs(1,43): error MG0022", error, StringComparison.Ordinal);
    }

    private string[] BuildAndRun(string properties, string configuration, string framework)
    {
        string folder = feed.NewProject("settings", properties);
        File.WriteAllText(Path.Combine(folder, "Program.cs"), Program);
        CommandResult build = Command.Dotnet(folder, "build", "-c", configuration, "-f", framework, "-clp:NoSummary").Succeeded();
        Assert.Empty(build.Warnings);
        string program = Path.Combine(folder, "bin", configuration, framework, "settings.dll");

        // Where only a later runtime is installed, that one.
        return [.. Command.Run(folder, "dotnet", [program], ("DOTNET_ROLL_FORWARD", "Major")).Succeeded().Lines];
    }
}
