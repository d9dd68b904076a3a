namespace ModelGen.PackageTests;

/// <summary>The program that a machine with a GPU runs, published with NativeAOT: it says that there is no driver, and what fails on one whose kernels do nothing.</summary>
[Collection(PackageCollection.Name)]
public sealed class GpuCheckTests
{
    [Fact]
    public void It_is_one_native_program_that_says_what_it_found()
    {
        NativeAot.Require();
        using var folder = new TemporaryFolder();
        string output = folder.Combine("out"), driver = Directory.CreateDirectory(folder.Combine("driver")).FullName;
        CommandResult publish = Command.Dotnet(Path.Combine(Repository.Root, "tests", "gpu-check"), "publish", "-c", "Release", "-r", NativeAot.RuntimeIdentifier, "-p:Measured=false", "-clp:NoSummary", "-o", output).Succeeded();
        Assert.Empty(publish.Warnings);
        string program = Path.Combine(output, "gpu-check");
        if (!File.Exists("/usr/lib/x86_64-linux-gnu/libcuda.so.1"))
        {
            CommandResult without = Command.Run(folder.Path, program, []);
            Assert.Equal(2, without.ExitCode);
            Assert.Contains("no device: There is no NVIDIA driver: the library libcuda.so.1 is not found.", without.Lines);
        }

        Command.Run(folder.Path, "cc", ["-shared", "-fPIC", "-O1", "-o", Path.Combine(driver, "libcuda.so.1"), Path.Combine(Repository.Root, "tests", "ModelGen.Tests", "Cuda", "standin.c")]).Succeeded();
        CommandResult with = Command.Run(folder.Path, program, [], ("LD_LIBRARY_PATH", driver));
        Assert.Equal(1, with.ExitCode);
        Assert.Contains("\"card\": \"Stand-in library\",", with.Lines);
        Assert.Contains(with.Lines, line => line.StartsWith("FAILED DeviceGpt: prefill and decode", StringComparison.Ordinal));
    }
}
