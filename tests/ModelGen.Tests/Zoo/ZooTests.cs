using System.Diagnostics;
using System.Text.Json;
using ModelGen.Tests.Text;

namespace ModelGen.Tests.Zoo;

/// <summary>Runs the zoo as its users do, in a process of its own.</summary>
[Collection(Infrastructure.SerialCollection.Name)]
public sealed class ZooTests
{
    [Fact]
    public void List_names_every_row_first_in_its_line()
    {
        (int code, string output, _) = Run("list");
        Assert.Equal(0, code);
        Assert.Equal(global::Zoo.ZooRows.All.Select(row => row.Name), output.TrimEnd('\n').Split('\n').Select(line => line.Split(' ')[0]));
        Assert.All(global::Zoo.ZooRows.All, row => Assert.Matches("^[a-z][a-z0-9-]*$", row.Name));
        Assert.Equal(global::Zoo.ZooRows.All.Count, global::Zoo.ZooRows.All.Select(row => row.Name).Distinct().Count());
    }

    /// <summary>Every row's family is a file of the repository.</summary>
    [Fact]
    public void Families_have_files() => Assert.All(global::Zoo.ZooRows.All, row => Assert.True(global::Zoo.Repository.Lines(row.FamilyFile) > 0, row.FamilyFile));

    /// <summary>A run of too few steps reports so, in one line of JSON and by its exit code.</summary>
    [Fact]
    public void A_short_run_misses_its_target_and_says_so()
    {
        (int code, string output, string error) = Run("mlp", "--steps", "30", "--json");
        Assert.Equal(1, code);
        using JsonDocument document = JsonDocument.Parse(Assert.Single(output.TrimEnd('\n').Split('\n')));
        JsonElement json = document.RootElement;
        Assert.Equal("Mlp", json.GetProperty("family").GetString());
        Assert.False(json.GetProperty("met").GetBoolean());
        Assert.Equal(0, json.GetProperty("allocated_bytes_per_step").GetInt64());
        Assert.True(json.GetProperty("seconds").GetDouble() > 0);
        Assert.True(json.GetProperty("parameters").GetInt64() > 1000);
        Assert.Contains("step 30/30", error, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("--steps: expected a number, at least 1", "mlp", "--steps", "0")]
    [InlineData("--seed: expected a number", "mlp", "--seed", "x")]
    [InlineData("nothere.gz: there is no such file", "mlp", "--steps", "1", "--text", "nothere.gz")]
    public void Mistakes_are_one_line(string expected, params string[] arguments)
    {
        (int code, string output, string error) = Run(arguments);
        Assert.NotEqual(0, code);
        Assert.Contains(expected, error.TrimEnd('\n').Split('\n')[^1], StringComparison.Ordinal);
    }

    private static (int Code, string Output, string Error) Run(params string[] arguments)
    {
        using var folder = new TemporaryFolder();
        var start = new ProcessStartInfo("dotnet") { RedirectStandardOutput = true, RedirectStandardError = true, WorkingDirectory = folder.Path };
        start.ArgumentList.Add(typeof(global::Zoo.ZooRow).Assembly.Location);
        foreach (string argument in arguments)
            start.ArgumentList.Add(argument);
        using Process process = Process.Start(start)!;
        Task<string> error = process.StandardError.ReadToEndAsync();
        string output = process.StandardOutput.ReadToEnd();
        if (!process.WaitForExit(TimeSpan.FromMinutes(5)))
        {
            process.Kill(entireProcessTree: true);
            Assert.Fail("The zoo did not end within five minutes.");
        }
        return (process.ExitCode, output.ReplaceLineEndings("\n"), error.Result.ReplaceLineEndings("\n"));
    }
}
