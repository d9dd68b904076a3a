namespace ModelGen.PackageTests;

/// <summary>What the package's targets make of the cache sizes that a project sets.</summary>
[Collection(PackageCollection.Name)]
public sealed class CacheSettingsTests(PackageFeed feed)
{
    private static readonly (string Property, string Value, bool IsNumber)[] Cases =
    [
        ("ModelGenL1CacheKilobytes", "64", true),
        ("ModelGenL2CacheKilobytes", "999999", true),
        ("ModelGenL3CacheKilobytes", "", true),
        ("ModelGenL1CacheKilobytes", "64 KB", false),
        ("ModelGenL1CacheKilobytes", "0", false),
        ("ModelGenL2CacheKilobytes", "-1", false),
        ("ModelGenL3CacheKilobytes", "1000000", false),
    ];

    [Fact]
    public void WhatIsNoNumberOfKilobytesIsAnErrorThatNamesTheProperty()
    {
        string folder = feed.NewProject("caches", "<TargetFramework>net10.0</TargetFramework>");
        Command.Dotnet(folder, "restore").Succeeded();
        string calls = string.Concat(Cases.Select(c => $"""

                <Message Importance="high" Text="case {c.Property}={c.Value}" />
                <MSBuild Projects="caches.csproj" Targets="_ModelGenCheckCaches" Properties="{c.Property}={c.Value}" ContinueOnError="ErrorAndContinue" />
            """));
        File.WriteAllText(Path.Combine(folder, "ask.proj"), $"""
            <Project>
              <Target Name="Ask">{calls}
              </Target>
            </Project>
            """);
        string output = Command.Dotnet(folder, "msbuild", "ask.proj", "-t:Ask", "-m:1", "-v:minimal", "-clp:NoSummary").Output;

        string[] answers = [.. output.Split("case ")[1..]];
        Assert.Equal(Cases.Length, answers.Length);
        Assert.All(Cases.Zip(answers), pair =>
        {
            ((string property, string value, bool isNumber), string answer) = pair;
            Assert.True(isNumber ? !answer.Contains("error", StringComparison.Ordinal) : answer.Contains($"error MG1002: {property} is '{value}', but should be", StringComparison.Ordinal), answer);
        });
    }
}
