using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Text.Json;
using ModelGen.PackageTests;

namespace ModelGen.ArmTests;

/// <summary>A test that compiles for arm64 and runs the result in an emulator; skipped, with the reason, where that cannot be done.</summary>
[AttributeUsage(AttributeTargets.Method)]
internal sealed class ArmFactAttribute : FactAttribute
{
    public ArmFactAttribute([CallerFilePath] string? sourceFilePath = null, [CallerLineNumber] int sourceLineNumber = -1)
        : base(sourceFilePath, sourceLineNumber) => Skip = Toolchain.WhyNot;
}

/// <inheritdoc cref="ArmFactAttribute"/>
[AttributeUsage(AttributeTargets.Method)]
internal sealed class ArmTheoryAttribute : TheoryAttribute
{
    public ArmTheoryAttribute([CallerFilePath] string? sourceFilePath = null, [CallerLineNumber] int sourceLineNumber = -1)
        : base(sourceFilePath, sourceLineNumber) => Skip = Toolchain.WhyNot;
}

/// <summary>The programs that compile, link, run and disassemble for arm64 on an x64 machine.</summary>
internal static class Toolchain
{
    public const string Linker = "aarch64-linux-gnu-gcc";
    public const string Symbols = "aarch64-linux-gnu-nm";
    public const string Disassembler = "aarch64-linux-gnu-objdump";

    /// <summary>Where the linker's C library lies: a link without it would fail after everything else had been done.</summary>
    private const string Libraries = "/usr/aarch64-linux-gnu/lib/libc.a";

    private static readonly string[] Emulators = ["qemu-aarch64-static", "qemu-aarch64"];

    private static readonly Lazy<Found> Search = new(Find);

    /// <summary>Why nothing can be compiled for arm64 here; null where it can.</summary>
    public static string? WhyNot => Search.Value.WhyNot;

    public static string Emulator => Search.Value.Emulator;

    /// <summary>The NativeAOT compiler.</summary>
    public static string Compiler => Search.Value.Paths.Compiler;

    /// <summary>The SDK's C# compiler, for <c>dotnet exec</c>.</summary>
    public static string CSharpCompiler => Search.Value.Paths.CSharpCompiler;

    /// <summary>The folder of the core library that the compiler takes.</summary>
    public static string CoreLibraries => Search.Value.Paths.CoreLibraries;

    /// <summary>The folder of the other framework assemblies.</summary>
    public static string FrameworkLibraries => Search.Value.Paths.FrameworkLibraries;

    private static Found Find()
    {
        if (!OperatingSystem.IsLinux() || RuntimeInformation.OSArchitecture != Architecture.X64)
        {
            return Found.Not($"cross-compiles on linux-x64, this machine is {RuntimeInformation.RuntimeIdentifier}");
        }

        string? emulator = Emulators.FirstOrDefault(OnPath);
        string[] missing =
        [
            .. new[] { Linker, Symbols, Disassembler }.Where(program => !OnPath(program)),
            .. emulator is null ? [Emulators[0]] : Array.Empty<string>(),
            .. File.Exists(Libraries) ? Array.Empty<string>() : [Libraries],
        ];
        if (missing.Length > 0)
        {
            return Found.Not($"not installed: {string.Join(", ", missing)} (docs/testing-arm.md names the packages)");
        }

        string folder = Path.Combine(Repository.Root, "tests", "ModelGen.ArmTests", "Toolchain");
        CommandResult restore = Command.Dotnet(folder, "restore");
        if (restore.ExitCode != 0)
        {
            return Found.Not($"the NativeAOT compiler cannot be restored: {restore.Lines.FirstOrDefault(line => line.Contains("error", StringComparison.Ordinal)) ?? restore.Output}");
        }

        // A run of its own: where packages lie is known to an evaluation after the restore.
        CommandResult properties = Command.Dotnet(folder, "msbuild", $"-getProperty:{nameof(ToolPaths.CSharpCompiler)},{nameof(ToolPaths.Compiler)},{nameof(ToolPaths.CoreLibraries)},{nameof(ToolPaths.FrameworkLibraries)}").Succeeded();
        ToolPaths paths = JsonDocument.Parse(properties.Output).RootElement.GetProperty("Properties").Deserialize<ToolPaths>()!;
        return new Found(null, emulator!, paths);
    }

    private static bool OnPath(string program)
        => (Environment.GetEnvironmentVariable("PATH") ?? "").Split(Path.PathSeparator).Any(folder => File.Exists(Path.Combine(folder, program)));

    private sealed record ToolPaths(string CSharpCompiler, string Compiler, string CoreLibraries, string FrameworkLibraries);

    private sealed record Found(string? WhyNot, string Emulator, ToolPaths Paths)
    {
        public static Found Not(string reason) => new(reason, "", new ToolPaths("", "", "", ""));
    }
}
