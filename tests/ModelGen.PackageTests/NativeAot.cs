using System.Runtime.InteropServices;
using System.Runtime.Intrinsics.X86;

namespace ModelGen.PackageTests;

/// <summary>Publishing with NativeAOT for linux-x64, where the result can be run too.</summary>
internal static class NativeAot
{
    /// <summary>What is published unless a test asks for <see cref="OldestFramework"/>.</summary>
    public const string Framework = "net10.0";

    public const string OldestFramework = "net9.0";

    public const string RuntimeIdentifier = "linux-x64";

    private static readonly Lazy<string?> Reason = new(FindReason);

    /// <summary>Skips the test that asks, with the reason, where NativeAOT cannot be tested.</summary>
    public static void Require() => Assert.SkipWhen(Reason.Value is not null, Reason.Value ?? "");

    private static string? FindReason()
    {
        if (!OperatingSystem.IsLinux() || RuntimeInformation.OSArchitecture != Architecture.X64)
        {
            return $"publishes for {RuntimeIdentifier}, this machine is {RuntimeInformation.RuntimeIdentifier}";
        }

        if (!Avx2.IsSupported || !Fma.IsSupported)
        {
            return "this processor has no AVX2 and FMA, for which ModelGen publishes";
        }

        if (!OnPath("clang") && !OnPath("gcc"))
        {
            return "NativeAOT links with clang or gcc, and neither is installed";
        }

        using var folder = new TemporaryFolder();
        File.WriteAllText(folder.Combine("probe.csproj"), $"""
            <Project Sdk="Microsoft.NET.Sdk">
              <PropertyGroup>
                <OutputType>Exe</OutputType>
                <TargetFrameworks>{Framework};{OldestFramework}</TargetFrameworks>
                <PublishAot>true</PublishAot>
              </PropertyGroup>
            </Project>
            """);
        CommandResult restore = Command.Dotnet(folder.Path, "restore", "-r", RuntimeIdentifier);
        return restore.ExitCode == 0 ? null : $"the NativeAOT compiler for {Framework} and {OldestFramework} cannot be restored: {restore.Lines.FirstOrDefault(l => l.Contains("error", StringComparison.Ordinal))}";
    }

    private static bool OnPath(string program)
        => (Environment.GetEnvironmentVariable("PATH") ?? "").Split(Path.PathSeparator).Any(folder => File.Exists(Path.Combine(folder, program)));
}
