using System.Text;
using System.Text.Json;

namespace ModelGen.PackageTests;

/// <summary>A fresh project outside the tree compiles a grammar and a JSON schema for the vocabulary of a <c>tokenizer.json</c>, and computes with them under the JIT and published with NativeAOT.</summary>
[Collection(PackageCollection.Name)]
public sealed class GrammarTests(PackageFeed feed)
{
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Compiled_grammars_run_as_those_that_are_read(bool native)
    {
        NativeAot.Require();
        string folder = feed.NewProject("grammars", $"<TargetFramework>{NativeAot.Framework}</TargetFramework>{(native ? "<PublishAot>true</PublishAot><TrimmerSingleWarn>false</TrimmerSingleWarn>" : "")}", "Grammars");

        // The feed is the core's own, which others of its tests count.
        string beside = Directory.CreateDirectory(Path.Combine(folder, "feed")).FullName;
        Command.Dotnet(Repository.Root, "pack", Path.Combine("src", "ModelGen.Text"), "-c", "Release", "-o", beside, $"-p:PackageVersion={feed.Version}").Succeeded();
        File.WriteAllText(Path.Combine(folder, "Directory.Build.targets"), $"""
            <Project>
              <PropertyGroup>
                <RestoreAdditionalProjectSources>{beside}</RestoreAdditionalProjectSources>
              </PropertyGroup>
              <ItemGroup>
                <PackageReference Include="ModelGen.Text" Version="{feed.Version}" />
                <AdditionalFiles Include="model/tokenizer.json" />
              </ItemGroup>
            </Project>
            """);
        string vocabulary = Path.Combine(Directory.CreateDirectory(Path.Combine(folder, "model")).FullName, "tokenizer.json");
        File.WriteAllText(vocabulary, Vocabulary());
        string output = Path.Combine(folder, "out");
        CommandResult build = Command.Dotnet(folder, [native ? "publish" : "build", "-c", "Release", .. native ? ["-r", NativeAot.RuntimeIdentifier] : Array.Empty<string>(), "-clp:NoSummary", "-o", output]).Succeeded();
        Assert.DoesNotContain(build.Warnings, static line => line.Contains("MG0", StringComparison.Ordinal));
        string program = Path.Combine(output, native ? "grammars" : "grammars.dll");
        CommandResult run = (native ? Command.Run(folder, program, [vocabulary]) : Command.Run(folder, "dotnet", [program, vocabulary])).Succeeded();
        Assert.Contains($"dynamic_code {!native}", run.Lines);
        Assert.Contains("answer masks True False", run.Lines);
        Assert.Contains("person masks True False", run.Lines);
        Assert.Contains("matches True False True False", run.Lines);
        Assert.DoesNotContain(run.Lines, static line => line.Contains("differs", StringComparison.Ordinal));
        string answer = Assert.Single(run.Lines, static line => line.StartsWith("answer text ", StringComparison.Ordinal))["answer text ".Length..];
        Assert.Matches("^(yes|no), [0-9]{1,3}$", answer);
        Assert.Single(run.Lines, static line => line.StartsWith("person text {\"name\":\"", StringComparison.Ordinal));
    }

    // A unigram model: printable ASCII, some words, and bytes for the rest.
    private static string Vocabulary()
    {
        string[] pieces = ["<unk>", "</s>", .. Enumerable.Range(0, 256).Select(static value => $"<0x{value:X2}>"), .. Enumerable.Range('!', 94).Select(static c => ((char)c).ToString()), "▁", "yes", "no", "{\"", "\":", "name", "age", ",▁", "12", "▁yes"];
        using var stream = new MemoryStream();
        using (var json = new Utf8JsonWriter(stream))
        {
            json.WriteStartObject();
            json.WriteStartArray("added_tokens");
            json.WriteStartObject();
            json.WriteNumber("id", 1);
            json.WriteString("content", "</s>");
            json.WriteBoolean("special", true);
            json.WriteEndObject();
            json.WriteEndArray();
            json.WriteStartObject("model");
            json.WriteString("type", "Unigram");
            json.WriteNumber("unk_id", 0);
            json.WriteBoolean("byte_fallback", true);
            json.WriteStartArray("vocab");
            foreach (string piece in pieces)
            {
                json.WriteStartArray();
                json.WriteStringValue(piece);
                json.WriteNumberValue(-piece.Length);
                json.WriteEndArray();
            }

            json.WriteEndArray();
            json.WriteEndObject();
            json.WriteEndObject();
        }

        return Encoding.UTF8.GetString(stream.ToArray());
    }
}
