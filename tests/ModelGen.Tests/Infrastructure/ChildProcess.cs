using System.Diagnostics;
using System.Reflection;

namespace ModelGen.Tests.Infrastructure;

/// <summary>
/// Runs checks of this assembly in a process of their own, for what is decided once per process: the instruction sets the JIT may
/// use, the forced vector width, a crash.
/// </summary>
public static class ChildProcess
{
    /// <summary>How a child ended and what it wrote.</summary>
    public readonly record struct Result(int ExitCode, string Output, string Error);

    private static readonly TimeSpan Limit = TimeSpan.FromMinutes(10);

    /// <summary>
    /// Runs <paramref name="check"/>, a static method marked <see cref="CheckAttribute"/>, with environment variables added, and fails
    /// the calling test with what the child wrote unless it passes.
    /// </summary>
    public static void RunCheck(Action check, params (string Name, string Value)[] environment)
    {
        Result result = Run(check, environment);
        string setting = string.Join(' ', environment.Select(variable => $"{variable.Name}={variable.Value}"));
        Assert.True(
            result.ExitCode == CheckEntryPoint.Passed,
            $"{check.Method.Name} with {setting} ended with {result.ExitCode}.\n{result.Error}\n{result.Output}");
    }

    /// <summary>Runs <paramref name="check"/> like <see cref="RunCheck"/>, whatever its outcome.</summary>
    public static Result Run(Action check, params (string Name, string Value)[] environment)
    {
        MethodInfo method = check.Method;
        Assert.True(
            method.IsStatic && method.GetCustomAttribute<CheckAttribute>() is not null,
            $"{CheckEntryPoint.NameOf(method)} is not a static method marked [Check].");
        return Start(["--check", CheckEntryPoint.NameOf(method)], environment);
    }

    /// <summary>Starts this assembly as a program with <paramref name="arguments"/> and waits for its end.</summary>
    public static Result Start(IReadOnlyList<string> arguments, params (string Name, string Value)[] environment)
    {
        // The test host was started with the runtime configuration of this assembly, which lies beside it; the dotnet that runs
        // the host is the one to run the child.
        string assembly = typeof(ChildProcess).Assembly.Location;
        string folder = Path.GetDirectoryName(assembly)!;
        string name = Path.GetFileNameWithoutExtension(assembly);
        ProcessStartInfo start = new(DotnetPath())
        {
            RedirectStandardOutput = true,
            RedirectStandardError = true,
            UseShellExecute = false,
        };
        start.ArgumentList.Add("exec");
        start.ArgumentList.Add("--runtimeconfig");
        start.ArgumentList.Add(Path.Combine(folder, name + ".runtimeconfig.json"));
        start.ArgumentList.Add("--depsfile");
        start.ArgumentList.Add(Path.Combine(folder, name + ".deps.json"));
        start.ArgumentList.Add(assembly);
        foreach (string argument in arguments) start.ArgumentList.Add(argument);
        foreach ((string variable, string value) in environment) start.Environment[variable] = value;

        using Process process = Process.Start(start)!;
        Task<string> output = process.StandardOutput.ReadToEndAsync();
        Task<string> error = process.StandardError.ReadToEndAsync();
        if (!process.WaitForExit(Limit))
        {
            process.Kill(entireProcessTree: true);
            throw new TimeoutException($"'{string.Join(' ', arguments)}' did not end within {Limit}.");
        }

        return new Result(process.ExitCode, output.GetAwaiter().GetResult(), error.GetAwaiter().GetResult());
    }

    private static string DotnetPath()
    {
        string program = OperatingSystem.IsWindows() ? "dotnet.exe" : "dotnet";
        if (Environment.ProcessPath is { } self && Path.GetFileName(self) == program) return self;
        return Environment.GetEnvironmentVariable("DOTNET_HOST_PATH") is { Length: > 0 } host ? host : program;
    }
}
