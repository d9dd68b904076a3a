namespace ModelGen.PackageTests;

/// <summary>What the package's targets make of the weight files that a project says it reads.</summary>
[Collection(PackageCollection.Name)]
public sealed class WeightFileSettingsTests(PackageFeed feed)
{
    private static readonly (string Value, string Answer)[] Cases =
    [
        ("", ""),
        ("Gguf", "Safetensors=false;Llama2c=false;Llmc=false;PyTorch=false;NumPy=false"),
        ("gguf%3bSafetensors%3bllama2c", "Llmc=false;PyTorch=false;NumPy=false"),
        ("Gguf%3bOnnx", "error MG1003: ModelGenWeightFiles has 'Onnx', but should name some of Safetensors, Gguf, Llama2c, Llmc, PyTorch, NumPy"),
    ];

    [Fact]
    public void ReadersThatAProjectDoesNotListAreSwitchedOffAndUnknownOnesAreErrors()
    {
        string folder = feed.NewProject("readers", "<TargetFramework>net10.0</TargetFramework>");
        Command.Dotnet(folder, "restore").Succeeded();
        File.WriteAllText(Path.Combine(folder, "Directory.Build.targets"), """
            <Project>
              <Target Name="Show" DependsOnTargets="_ModelGenCheckWeightFiles">
                <ItemGroup><_Off Include="@(RuntimeHostConfigurationOption)" Condition="$([System.String]::Copy('%(Identity)').StartsWith('ModelGen.Files.'))" /></ItemGroup>
                <Message Importance="high" Text="off @(_Off->'%(Identity)=%(Value)')." />
              </Target>
            </Project>
            """);
        foreach ((string value, string answer) in Cases)
        {
            string output = Command.Dotnet(folder, "msbuild", "readers.csproj", "-t:Show", "-v:minimal", "-clp:NoSummary", $"-p:ModelGenWeightFiles={value}").Output;
            string expected = answer.StartsWith("error", StringComparison.Ordinal) ? answer : $"off {(answer.Length == 0 ? "" : "ModelGen.Files." + answer.Replace(";", ";ModelGen.Files.", StringComparison.Ordinal))}.";
            Assert.Contains(expected, output, StringComparison.Ordinal);
        }
    }
}
