using System.Diagnostics;
using System.Text.Json;
using ModelGen.Tests.Text;

namespace ModelGen.Tests.CharGpt;

/// <summary>Runs the example as its users do, in a process of its own.</summary>
[Collection(Infrastructure.SerialCollection.Name)]
public class CharGptRunTests
{
    private static readonly string[] s_quick = ["--length", "30", "--sample-every", "0", "--patience", "0"];

    [Theory]
    [InlineData("gpt")]
    [InlineData("lstm")]
    public void AShortRunLearnsSavesAndReports(string model)
    {
        using var folder = new TemporaryFolder();
        Outcome run = Run(folder, [.. s_quick, "--model", model, "--steps", "60", "--evaluate-every", "20", "--json", "--checkpoint", "c.safetensors"]);
        Assert.Equal(0, run.Code);
        string line = Assert.Single(run.Output.TrimEnd('\n').Split('\n'));
        using JsonDocument document = JsonDocument.Parse(line);
        JsonElement json = document.RootElement;
        Assert.Equal(60, json.GetProperty("steps").GetInt64());
        Assert.InRange(json.GetProperty("train_loss").GetDouble(), 0.5, 5.0);
        Assert.InRange(json.GetProperty("validation_loss").GetDouble(), 0.5, 3.5);
        Assert.True(json.GetProperty("tokens_per_second").GetDouble() > 0);
        Assert.Equal(0, json.GetProperty("allocated_bytes_per_step").GetInt64());
        Assert.True(json.GetProperty("vector_bits").GetInt32() >= 128);
        Assert.InRange(json.GetProperty("parameters").GetInt64(), 700_000, 900_000);
        Assert.True(json.GetProperty("sample").GetString()!.Length > 0);
        Assert.InRange(json.GetProperty("trigram_loss").GetDouble(), 1.0, 1.8);
        Assert.Equal(["c.best.safetensors", "c.safetensors"], Directory.GetFiles(folder.Path).Select(Path.GetFileName).Order());
    }

    [Fact]
    public void AnInterruptedRunIsSavedAndResumedBitForBit()
    {
        using var folder = new TemporaryFolder();
        string[] arguments = [.. s_quick, "--steps", "40", "--evaluate-every", "16"];
        Outcome whole = Run(folder, [.. arguments, "--checkpoint", "whole.safetensors"]);
        Assert.Equal(0, whole.Code);

        Outcome interrupted = Run(folder, [.. arguments, "--checkpoint", "part.safetensors"], interruptAfter: "step 1/");
        Assert.Equal(130, interrupted.Code);
        Assert.Contains("interrupted at step", interrupted.Error, StringComparison.Ordinal);
        Assert.True(File.Exists(folder.File("part.safetensors")));

        Outcome resumed = Run(folder, [.. arguments, "--checkpoint", "part.safetensors", "--resume"]);
        Assert.Equal(0, resumed.Code);
        Assert.Contains("resumed from part.safetensors", resumed.Error, StringComparison.Ordinal);
        Assert.Equal(whole.Output, resumed.Output);
        foreach (string suffix in new[] { ".safetensors", ".best.safetensors" })
            Assert.Equal(File.ReadAllBytes(folder.File("whole" + suffix)), File.ReadAllBytes(folder.File("part" + suffix)));

        // What is not as it was is said.
        Assert.DoesNotContain(" from here on", resumed.Error, StringComparison.Ordinal);
        Outcome changed = Run(folder, [.. arguments, "--checkpoint", "part.safetensors", "--resume", "--learning-rate", "0.0125"]);
        Assert.Contains("LearningRate was ", changed.Error, StringComparison.Ordinal);
        Assert.Contains("and is 0.0125 from here on", changed.Error, StringComparison.Ordinal);
    }

    [Fact]
    public void ThreadsDoNotChangeTheResult()
    {
        using var folder = new TemporaryFolder();
        byte[][] files =
        [
            .. new[] { "1", "2", "3" }.Select(threads =>
            {
                string name = $"t{threads}.safetensors";
                Assert.Equal(0, Run(folder, [.. s_quick, "--steps", "5", "--threads", threads, "--checkpoint", name]).Code);
                return File.ReadAllBytes(folder.File(name));
            }),
        ];
        Assert.Equal(files[0], files[1]);
        Assert.Equal(files[0], files[2]);
    }

    [Fact]
    public void BadFilesAreOneLine()
    {
        using var folder = new TemporaryFolder();
        File.WriteAllText(folder.File("empty.txt"), "");
        File.WriteAllText(folder.File("short.txt"), new string('a', 60));
        File.WriteAllText(folder.File("noise.safetensors"), "this is no checkpoint");
        Assert.Equal(0, Run(folder, [.. s_quick, "--model", "lstm", "--steps", "1", "--checkpoint", "lstm.safetensors"]).Code);

        Fails(folder, "none.txt: there is no such file", "--text", "none.txt");
        Fails(folder, "empty.txt is empty", "--text", "empty.txt");
        Fails(folder, "short.txt: expected at least 72 bytes", "--text", "short.txt");
        Fails(folder, "none.safetensors: there is no such checkpoint", "--resume", "--checkpoint", "none.safetensors");
        Fails(folder, "lstm.safetensors", "--resume", "--checkpoint", "lstm.safetensors");
        Fails(folder, "noise.safetensors", "--resume", "--checkpoint", "noise.safetensors");
        Fails(folder, "no such directory", "--checkpoint", "nowhere/c.safetensors");
        Fails(folder, "loop.seed", "--model", "lstm", "--resume", "--checkpoint", "lstm.safetensors", "--seed", "5");
    }

    [Fact]
    public void TheShortestTextThatIsAcceptedTrains()
    {
        using var folder = new TemporaryFolder();
        File.WriteAllText(folder.File("short.txt"), string.Concat(Enumerable.Repeat("abcdefgh", 9)));
        Outcome run = Run(folder, [.. s_quick, "--text", "short.txt", "--steps", "2", "--json"]);
        Assert.Equal(0, run.Code);
        Assert.True(File.Exists(folder.File("chargpt-gpt.safetensors")));
    }

    private static void Fails(TemporaryFolder folder, string expected, params string[] arguments)
    {
        Outcome run = Run(folder, [.. s_quick, "--steps", "1", .. arguments]);
        Assert.NotEqual(0, run.Code);
        Assert.Equal("", run.Output);
        string line = Assert.Single(run.Error.TrimEnd('\n').Split('\n'));
        Assert.StartsWith("error: ", line, StringComparison.Ordinal);
        Assert.Contains(expected, line, StringComparison.Ordinal);
    }

    private static Outcome Run(TemporaryFolder folder, string[] arguments, string? interruptAfter = null)
    {
        var start = new ProcessStartInfo("dotnet")
        {
            WorkingDirectory = folder.Path,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        };
        if (interruptAfter is not null && OperatingSystem.IsLinux())
        {
            // A process that a script started in the background ignores SIGINT, and so do those it starts.
            start.FileName = "env";
            start.ArgumentList.Add("--default-signal=INT");
            start.ArgumentList.Add("dotnet");
        }
        start.ArgumentList.Add(typeof(global::CharGpt.StoryGpt).Assembly.Location);
        foreach (string argument in arguments)
            start.ArgumentList.Add(argument);
        using Process process = Process.Start(start)!;
        var error = new System.Text.StringBuilder();
        process.ErrorDataReceived += (_, e) =>
        {
            if (e.Data is not { } line)
                return;
            error.Append(line).Append('\n');
            if (interruptAfter is not null && line.StartsWith(interruptAfter, StringComparison.Ordinal))
                Process.Start("kill", ["-INT", process.Id.ToString(System.Globalization.CultureInfo.InvariantCulture)])?.WaitForExit();
        };
        process.BeginErrorReadLine();
        string output = process.StandardOutput.ReadToEnd();
        if (!process.WaitForExit(TimeSpan.FromMinutes(5)))
        {
            process.Kill(entireProcessTree: true);
            Assert.Fail("CharGpt did not end within five minutes.");
        }
        process.WaitForExit();
        return new Outcome(process.ExitCode, output.ReplaceLineEndings("\n"), error.ToString());
    }

    private sealed record Outcome(int Code, string Output, string Error);
}
