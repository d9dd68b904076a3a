namespace ModelGen.PackageTests;

/// <summary>
/// A fresh project outside the tree declares a model for CUDA devices. Without a driver it says why it runs on the processor; with a library in the driver's
/// place it finds that, under the JIT and published with NativeAOT, and its calls allocate nothing; drivers that are too old, devices that do not fit, have too little memory or are lost are exceptions. So with a library in cuBLASLt's place, whose products are right.
/// </summary>
[Collection(PackageCollection.Name)]
public sealed class DeviceTests(PackageFeed feed)
{
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void A_driver_is_found_where_there_is_one(bool native)
    {
        NativeAot.Require();
        string folder = feed.NewProject("device", $"<TargetFramework>{NativeAot.Framework}</TargetFramework>{(native ? "<PublishAot>true</PublishAot><TrimmerSingleWarn>false</TrimmerSingleWarn>" : "")}", "Device");
        string output = Path.Combine(folder, "out");
        CommandResult build = Command.Dotnet(folder, [native ? "publish" : "build", "-c", "Release", .. native ? ["-r", NativeAot.RuntimeIdentifier] : Array.Empty<string>(), "-clp:NoSummary", "-o", output]).Succeeded();
        Assert.Empty(build.Warnings);

        string driver = Directory.CreateDirectory(Path.Combine(folder, "driver")).FullName;
        string source = Path.Combine(Repository.Root, "tests", "ModelGen.Tests", "Cuda", "standin.c");
        Command.Run(folder, "cc", ["-shared", "-fPIC", "-O1", "-o", Path.Combine(driver, "libcuda.so.1"), source]).Succeeded();

        // Without cuBLASLt its products are other kernels'.
        Assert.Contains("products Large products of LibraryNet are not cuBLASLt's. cuBLASLt is not installed: libcublasLt.so.12 is not found.", Run("device", ("LD_LIBRARY_PATH", driver)).Lines);
        Command.Run(folder, "cc", ["-shared", "-fPIC", "-O2", "-o", Path.Combine(driver, "libcublasLt.so.12"), Path.Combine(Path.GetDirectoryName(source)!, "standin_cublaslt.c"), "-lm"]).Succeeded();

        CommandResult with = Run("device", ("LD_LIBRARY_PATH", driver));
        Assert.Contains($"dynamic_code {!native}", with.Lines);
        Assert.Contains("auto Stand-in library (CUDA device 0)", with.Lines);
        Assert.Contains("products cuBLASLt 12.4.5", with.Lines);
        Assert.Contains("product True", with.Lines);
        Assert.Contains("allocated 0", with.Lines);
        Assert.Contains("steps 13", with.Lines);
        Assert.Contains("seventh There is no CUDA device 7: the driver knows of 1, from 0 on.", with.Lines);

        // What is wrong with a driver or a device is said, by the error's name where the driver has one, the processor takes its place where it may, and nothing is left behind.
        foreach ((string setting, string value, string said, bool falls) in new[]
        {
            ("STANDIN_VERSION", "11020", "CUDA 11.2, and 11.4 or later is needed", true),
            ("STANDIN_DEVICES", "0", "knows of no device", true),
            ("STANDIN_CAPABILITY", "7", "compute capability 7.0, and 8.0 or later is needed", true),
            ("STANDIN_BYTES", "600", "fails CUDA_ERROR_OUT_OF_MEMORY: ", true),
            ("STANDIN_LOST_AT", "5", "fails CUDA_ERROR_LAUNCH_FAILED: ", false),
        })
        {
            CommandResult failed = Run("fails", ("LD_LIBRARY_PATH", driver), (setting, value));
            Assert.Contains(failed.Lines, line => line.StartsWith("fails ", StringComparison.Ordinal) && line.Contains(said, StringComparison.Ordinal));
            Assert.Contains(failed.Lines, line => line.StartsWith(falls ? "auto CPU (" : "auto Stand-in library", StringComparison.Ordinal));
            Assert.Contains("left 0", failed.Lines);
        }

        if (!File.Exists("/usr/lib/x86_64-linux-gnu/libcuda.so.1"))
        {
            Assert.Contains("auto CPU (There is no NVIDIA driver: the library libcuda.so.1 is not found)", Run().Lines);
        }

        CommandResult Run(string? argument = null, params (string Name, string Value)[] environment)
        {
            string program = Path.Combine(output, native ? "device" : "device.dll");
            string[] arguments = argument is null ? [] : [argument];
            return (native ? Command.Run(folder, program, arguments, environment) : Command.Run(folder, "dotnet", [program, .. arguments], environment)).Succeeded();
        }
    }
}
