using System.Diagnostics;
using System.Globalization;
using System.Text.RegularExpressions;
using ModelGen.Compiler;
using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Ops;
using ModelGen.Compiler.Targets.Cpu;
using ModelGen.Compiler.Targets.Cuda;
using ModelGen.Runtime;
using ModelGen.Tests.Compiler;
using ModelGen.Tests.Infrastructure;
using Launching = ModelGen.Compiler.CudaLaunches;
using Rounding = ModelGen.Compiler.CudaPrecision;

namespace ModelGen.Tests.Ptx;

/// <summary>
/// NVIDIA's assembler takes every module, for every processor that it is for, keeps sums in registers, and has products by groups of warps run into one another. It needs no device; where
/// there is no <c>ptxas</c> of CUDA 12 or later, at MODELGEN_PTXAS or in a folder of the path, these tests are skipped.
/// </summary>
public sealed class PtxAssemblerTests
{
    // Functions that are called put a few words of their caller's aside.
    private const int MostSpilled = 128;

    private static readonly string? s_assembler = Find();

    public static TheoryData<string, string> Modules()
    {
        var data = new TheoryData<string, string>();
        foreach (string family in Families.All.GroupBy(declared => declared.Value.Family).Select(declared => declared.First().Key))
        {
            data.Add(family, nameof(Rounding.F32));
            data.Add(family, nameof(Rounding.BF16));
        }

        return data;
    }

    [Theory]
    [MemberData(nameof(Modules))]
    public void Modules_of_families_are_assembled(string family, string precision)
    {
        Require();
        ModelSpec spec = Families.All[family] with { HasCuda = true, CudaPrecision = Enum.Parse<Rounding>(precision), CudaLaunches = precision == nameof(Rounding.F32) ? Launching.Together : Launching.Automatic, CudaProducts = ModelGen.Compiler.CudaProducts.Warpgroups };
        foreach (CudaModule module in ModelCompiler.Plan(spec, CacheSizes.Default, default).Entries.Select(entry => entry.Cuda!.Module).Distinct())
        {
            Check(module, "sm_80");
        }
    }

    /// <summary>GPT-2 as it is measured: products by groups of warps with all tiles, attention on tensor cores, decoding in one launch.</summary>
    [Theory]
    [InlineData(16, 1024, nameof(Rounding.BF16))]
    [InlineData(4, 64, nameof(Rounding.BF16))]
    [InlineData(4, 64, nameof(Rounding.TF32))]
    [InlineData(4, 64, nameof(Rounding.F32))]
    public void Modules_of_gpt_2_are_assembled(int batch, int length, string precision)
    {
        Require();
        DeclaredArgument I(string name, long value) => DeclaredArgument.Of(name, value);
        ModelSpec spec = Families.Spec("Gpt", batch, length, I("Layers", 2), I("DModel", 768), I("Heads", 12), I("Vocab", 50_257), I("Context", 1024)) with { HasCuda = true, CudaPrecision = Enum.Parse<Rounding>(precision) };
        foreach (CudaModule module in ModelCompiler.Plan(spec, CacheSizes.Default, default).Entries.Select(entry => entry.Cuda!.Module).Distinct())
        {
            Check(module, "sm_80", "sm_90");
        }
    }

    /// <summary>The runtime's own: optimizers, and what chooses tokens.</summary>
    [Fact]
    public void Modules_of_the_runtime_are_assembled()
    {
        Require();
        Assert.Equal("", Problems(System.Text.Encoding.UTF8.GetString(CudaOptimizers.Layout.Module()), "sm_80", "sm_90"));
        Assert.Equal("", Problems(System.Text.Encoding.UTF8.GetString(CudaSampling.Layout.Module()), "sm_80", "sm_90"));
    }

    /// <summary>What the assembler refuses, spills or has wait is reported: a register that is not declared, more sums than there are registers, and sums of groups of warps that nothing has written ahead of the loop.</summary>
    [Fact]
    public void What_an_assembler_says_is_found()
    {
        Require();
        ModelGraph graph = KernelCases.Prepare(OperatorCases.Case("product", b => [b.Add(new MatMul(MatMulForm.NT), "product", OperatorCases.Parameter(b, "a", 256, 256), OperatorCases.Parameter(b, "b", 256, 256))]).Graph);
        string text = PtxFunction.Compile(graph, precision: Rounding.BF16, warpgroups: _ => new WarpgroupTiles(256, 1)).Module;
        Assert.Equal("", Problems(text, "sm_90a"));
        Assert.Contains("C7515", Problems(Regex.Replace(text, @"\tmov\.f32 %f\d+, 0f00000000;\n", ""), "sm_90a"), StringComparison.Ordinal);
        Assert.Contains("error", Problems(text.Replace(".reg .f32", ".reg .f16", StringComparison.Ordinal), "sm_90a"), StringComparison.Ordinal);
        Assert.Contains("Register allocation failed", Problems(Crowded(text, 2), "sm_90a"), StringComparison.Ordinal);
        string warps = PtxFunction.Compile(graph, products: kernel => Assert.IsType<TensorTiles>(CudaProductPlan.Of(kernel, Rounding.BF16)) with { Tile = TensorTile.For(Rounding.BF16)[0] }).Module;
        Assert.Equal("", Problems(warps, "sm_80"));
        Assert.Contains("spill", Problems(Crowded(warps, 5), "sm_80"), StringComparison.Ordinal);

        // So many blocks on a processor leave each thread fewer registers.
        static string Crowded(string module, int blocks) => Regex.Replace(module, @"\.maxntid (\d+), 1, 1", FormattableString.Invariant($".maxntid $1, 1, 1\n.minnctapersm {blocks}"));
    }

    private static void Check(CudaModule module, params string[] processors)
    {
        Assert.Equal("", Problems(module.Text, processors));
        if (module.WarpgroupText.Length > 0)
        {
            Assert.Equal("", Problems(module.WarpgroupText, "sm_90a"));
        }
    }

    /// <summary>What the assembler has against a module: errors, warnings, what is spilled, and what it says of speed.</summary>
    private static string Problems(string module, params string[] processors)
    {
        var problems = new List<string>();
        foreach (string processor in processors)
        {
            using var file = new TemporaryFile("module.ptx");
            File.WriteAllText(file.Path, module);
            var start = new ProcessStartInfo(s_assembler!, ["-v", "-arch=" + processor, "-o", file.Path + ".cubin", file.Path]) { RedirectStandardError = true, RedirectStandardOutput = true };
            using Process process = Process.Start(start)!;
            Task<string> output = process.StandardOutput.ReadToEndAsync();
            string said = process.StandardError.ReadToEnd() + output.Result;
            process.WaitForExit();
            problems.AddRange(said.Split('\n').Where(line => Regex.IsMatch(line, "error|fatal|warning|Potential Performance Loss") || (Regex.Match(line, @"(\d+) bytes spill stores") is { Success: true } spilled && int.Parse(spilled.Groups[1].Value, CultureInfo.InvariantCulture) > MostSpilled)).Select(line => $"{processor}: {line}"));
            if (process.ExitCode != 0 && problems.Count == 0)
            {
                problems.Add($"{processor}: exit {process.ExitCode}: {said}");
            }
        }

        return string.Join('\n', problems);
    }

    private static void Require() => Assert.SkipWhen(s_assembler is null, "There is no ptxas of CUDA 12 or later, at MODELGEN_PTXAS or on the path.");

    private static string? Find()
    {
        string[] candidates = [Environment.GetEnvironmentVariable("MODELGEN_PTXAS") ?? "", .. (Environment.GetEnvironmentVariable("PATH") ?? "").Split(Path.PathSeparator).Select(folder => Path.Combine(folder, OperatingSystem.IsWindows() ? "ptxas.exe" : "ptxas"))];
        return candidates.FirstOrDefault(path => File.Exists(path) && IsNewEnough(path));
    }

    private static bool IsNewEnough(string path)
    {
        using Process process = Process.Start(new ProcessStartInfo(path, ["--version"]) { RedirectStandardOutput = true })!;
        string version = process.StandardOutput.ReadToEnd();
        process.WaitForExit();
        return Regex.Match(version, @"release (\d+)\.") is { Success: true } match && int.Parse(match.Groups[1].Value, CultureInfo.InvariantCulture) >= 12;
    }
}
