using System.Text.RegularExpressions;

namespace ModelGen.PackageTests;

/// <summary>The README is the first thing a user copies from, so what it shows is run.</summary>
[Collection(PackageCollection.Name)]
public sealed partial class ReadmeTests(PackageFeed feed)
{
    [Fact]
    public void FirstProgramLearnsItsSentence()
    {
        string readme = File.ReadAllText(Path.Combine(Repository.Root, "README.md"));
        string folder = feed.NewProject("readme", "<TargetFramework>net10.0</TargetFramework>");
        File.WriteAllText(Path.Combine(folder, "Program.cs"), CSharpBlock().Match(readme).Groups[1].Value);
        CommandResult run = Command.Dotnet(folder, "run", "-c", "Release").Succeeded();
        Assert.Equal("sat on the mat.", run.Output.Trim());
    }

    [Fact]
    public void LinksLeadToFiles()
    {
        foreach (string page in Directory.GetFiles(Path.Combine(Repository.Root, "docs"), "*.md", SearchOption.AllDirectories).Append(Path.Combine(Repository.Root, "README.md")).Append(Path.Combine(Repository.Root, "CONTRIBUTING.md")))
        {
            foreach (Match link in Link().Matches(File.ReadAllText(page)))
            {
                string target = link.Groups[1].Value;
                Assert.True(Path.Exists(Path.Combine(Path.GetDirectoryName(page)!, target)), $"{Path.GetRelativePath(Repository.Root, page)} links to {target}");
            }
        }
    }

    [GeneratedRegex("```csharp\n(.*?)```", RegexOptions.Singleline)]
    private static partial Regex CSharpBlock();

    // Links within the repository, without their fragment.
    [GeneratedRegex(@"\]\((?!https?:)([^)#]+)")]
    private static partial Regex Link();
}
