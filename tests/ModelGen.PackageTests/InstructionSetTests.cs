using System.Globalization;

namespace ModelGen.PackageTests;

/// <summary>What the package's targets make of a project's settings, as MSBuild evaluates them; the published programs themselves are in <see cref="ConsumerTests"/>.</summary>
[Collection(PackageCollection.Name)]
public sealed class InstructionSetTests(PackageFeed feed)
{
    private const string Haswell = "avx2,bmi,bmi2,fma,lzcnt,movbe,popcnt";

    private static readonly (string Case, string[] Settings, string Expected, string? Warning)[] Cases =
    [
        ("x64, net9.0", ["TargetFramework=net9.0", "RuntimeIdentifier=linux-x64", "PublishAot=true"], Haswell, null),
        ("x64, net10.0", ["TargetFramework=net10.0", "RuntimeIdentifier=linux-x64", "PublishAot=true"], "x86-64-v3", null),
        ("Windows", ["TargetFramework=net9.0", "RuntimeIdentifier=win-x64", "PublishAot=true"], Haswell, null),
        ("macOS", ["TargetFramework=net10.0", "RuntimeIdentifier=osx-x64", "PublishAot=true"], "x86-64-v3", null),
        ("Arm", ["TargetFramework=net9.0", "RuntimeIdentifier=linux-arm64", "PublishAot=true"], "", null),
        ("not NativeAOT", ["TargetFramework=net9.0", "RuntimeIdentifier=linux-x64"], "", null),
        ("old processors", ["TargetFramework=net9.0", "RuntimeIdentifier=linux-x64", "PublishAot=true", "ModelGenOldProcessors=true"], "", null),
        ("user's, slow", ["TargetFramework=net9.0", "RuntimeIdentifier=linux-x64", "PublishAot=true", "IlcInstructionSet=popcnt"], "popcnt", "MG1001"),
        ("user's, AVX only", ["TargetFramework=net9.0", "RuntimeIdentifier=linux-x64", "PublishAot=true", "IlcInstructionSet=avx%2cfma"], "avx,fma", "MG1001"),
        ("user's, AVX2 taken away", ["TargetFramework=net9.0", "RuntimeIdentifier=linux-x64", "PublishAot=true", "IlcInstructionSet=-avx2%2cfma"], "-avx2,fma", "MG1001"),
        ("user's, fast", ["TargetFramework=net9.0", "RuntimeIdentifier=linux-x64", "PublishAot=true", "IlcInstructionSet=popcnt%2cavx2%2cfma"], "popcnt,avx2,fma", null),
        ("user's, native", ["TargetFramework=net9.0", "RuntimeIdentifier=linux-x64", "PublishAot=true", "IlcInstructionSet=native"], "native", null),
        ("user's, net9.0's name", ["TargetFramework=net9.0", "RuntimeIdentifier=linux-x64", "PublishAot=true", "IlcInstructionSet=x86-x64-v3"], "x86-x64-v3", null),
        ("user's, a processor", ["TargetFramework=net9.0", "RuntimeIdentifier=linux-x64", "PublishAot=true", "IlcInstructionSet=skylake"], "skylake", null),
        ("user's, no vectors", ["TargetFramework=net10.0", "RuntimeIdentifier=linux-x64", "PublishAot=true", "IlcInstructionSet=x86-64-v2"], "x86-64-v2", "MG1001"),
        ("user's, AVX-512", ["TargetFramework=net10.0", "RuntimeIdentifier=linux-x64", "PublishAot=true", "IlcInstructionSet=x86-64-v4"], "x86-64-v4", null),
        ("user's, Arm", ["TargetFramework=net10.0", "RuntimeIdentifier=linux-arm64", "PublishAot=true", "IlcInstructionSet=dotprod"], "dotprod", null),
    ];

    [Fact]
    public void TargetsChooseWhatTheKernelsNeedAndWarnWhereTheyCannot()
    {
        string folder = feed.NewProject("settings", "<TargetFrameworks>net9.0;net10.0</TargetFrameworks>");
        Command.Dotnet(folder, "restore").Succeeded();

        // One project that asks about every case: a build of its own for each would take a second a case.
        string calls = string.Concat(Cases.Select((c, i) => string.Create(CultureInfo.InvariantCulture, $"""

                <Message Importance="high" Text="case {i}" />
                <MSBuild Projects="settings.csproj" Targets="Report" Properties="{string.Join(';', c.Settings)}" />
            """)));
        File.WriteAllText(Path.Combine(folder, "ask.proj"), $"""
            <Project>
              <Target Name="Ask">{calls}
              </Target>
            </Project>
            """);
        File.WriteAllText(Path.Combine(folder, "Directory.Build.targets"), """
            <Project>
              <Target Name="Report" DependsOnTargets="_ModelGenCheckInstructionSet">
                <Message Importance="high" Text="instruction set '$(IlcInstructionSet)' unsafe $(AllowUnsafeBlocks)" />
              </Target>
            </Project>
            """);
        string output = Command.Dotnet(folder, "msbuild", "ask.proj", "-t:Ask", "-m:1", "-v:minimal", "-clp:NoSummary").Succeeded().Output;

        string[] answers = [.. output.Split("case ")[1..]];
        Assert.Equal(Cases.Length, answers.Length);
        Assert.All(Cases.Zip(answers), pair =>
        {
            ((string name, _, string expected, string? warning), string answer) = pair;
            Assert.True(answer.Contains($"instruction set '{expected}' unsafe true", StringComparison.Ordinal), $"{name}: {answer}");
            Assert.True(warning is null ? !answer.Contains("warning", StringComparison.Ordinal) : answer.Contains($"warning {warning}", StringComparison.Ordinal), $"{name}: {answer}");
        });
    }
}
