using System.Diagnostics;
using System.Text;
using System.Text.RegularExpressions;
using Xunit.Sdk;

namespace ModelGen.PackageTests;

/// <summary>A finished child process: its exit code, and its standard output and error in one text.</summary>
internal sealed partial record CommandResult(string Line, int ExitCode, string Output)
{
    /// <summary>The output's lines that are not blank.</summary>
    public IEnumerable<string> Lines => Output.Split('\n', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries);

    /// <summary>The warnings of a build, each with its code.</summary>
    public IEnumerable<string> Warnings => Lines.Where(line => WarningCode().IsMatch(line));

    [GeneratedRegex("warning [A-Z]+[0-9]+")]
    private static partial Regex WarningCode();

    /// <summary>Fails the test, with everything the process said, unless it ended with 0.</summary>
    public CommandResult Succeeded()
        => ExitCode == 0 ? this : throw new XunitException($"{Line}{Environment.NewLine}ended with {ExitCode}:{Environment.NewLine}{Output}");
}

internal static class Command
{
    private static readonly TimeSpan Limit = TimeSpan.FromMinutes(8);

    // What the surrounding `dotnet test` sets for its own build must not steer the builds started here.
    private static readonly string[] ForeignVariables = ["MSBUILD", "VSTEST", "TESTINGPLATFORM", "COREHOST", "DOTNET_HOST_PATH", "CONFIGURATION"];

    public static CommandResult Dotnet(string folder, params string[] arguments) => Run(folder, "dotnet", arguments);

    public static CommandResult Run(string folder, string program, IEnumerable<string> arguments, params (string Name, string Value)[] environment)
    {
        var start = new ProcessStartInfo(program, arguments)
        {
            WorkingDirectory = folder,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
            RedirectStandardInput = true,
        };
        foreach (string name in start.Environment.Keys.Where(IsForeign).ToArray())
        {
            start.Environment.Remove(name);
        }

        // A build server that outlives its parent would hold the pipes below open.
        start.Environment["MSBUILDDISABLENODEREUSE"] = "1";
        start.Environment["UseSharedCompilation"] = "false";
        start.Environment["DOTNET_CLI_USE_MSBUILD_SERVER"] = "0";
        start.Environment["DOTNET_NOLOGO"] = "1";
        start.Environment["DOTNET_CLI_UI_LANGUAGE"] = "en";
        foreach ((string name, string value) in environment)
        {
            start.Environment[name] = value;
        }

        string line = $"{program} {string.Join(' ', start.ArgumentList)}";
        var output = new StringBuilder();
        using var process = new Process { StartInfo = start };
        process.OutputDataReceived += (_, e) => Append(e.Data);
        process.ErrorDataReceived += (_, e) => Append(e.Data);
        process.Start();
        process.StandardInput.Close();
        process.BeginOutputReadLine();
        process.BeginErrorReadLine();
        if (!process.WaitForExit(Limit))
        {
            process.Kill(entireProcessTree: true);
            throw new XunitException($"{line}{Environment.NewLine}did not end in {Limit.TotalMinutes} minutes:{Environment.NewLine}{output}");
        }

        process.WaitForExit();
        lock (output)
        {
            return new CommandResult(line, process.ExitCode, output.ToString());
        }

        void Append(string? text)
        {
            if (text is not null)
            {
                lock (output)
                {
                    output.Append(text).Append('\n');
                }
            }
        }
    }

    private static bool IsForeign(string name) => ForeignVariables.Any(prefix => name.StartsWith(prefix, StringComparison.OrdinalIgnoreCase));
}
