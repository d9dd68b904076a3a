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
using CacheFormat = ModelGen.Compiler.CacheFormat;
using Drawing = ModelGen.Compiler.CudaRounding;
using Launching = ModelGen.Compiler.CudaLaunches;
using Rounding = ModelGen.Compiler.CudaPrecision;
using WeightFormat = ModelGen.Compiler.WeightFormat;

namespace ModelGen.Tests.Ptx;

/// <summary>
/// NVIDIA's assembler takes every module, for every processor that it is for, keeps sums in registers, and has products by groups of warps run into one another. It needs no device; where
/// there is no <c>ptxas</c> of CUDA 12 or later, at MODELGEN_PTXAS or in a folder of the path, these tests are skipped.
/// </summary>
public sealed class PtxAssemblerTests
{
    // Functions that are called put a few words of their caller's aside, and so does what draws a token, of one block, in double precision: so many bytes of text at the most, or of so few words whatever the calls.
    private const int MostSpilled = 96;
    private const int FewWords = 16;

    private static readonly string? s_assembler = Find();

    private const string Drawn = "BF16, drawn";

    /// <summary>In single precision and in bfloat16 every declaration that kernels are tested with; in tf32, and with rounding that is drawn, one of each family.</summary>
    [Theory]
    [InlineData(nameof(Rounding.F32))]
    [InlineData(nameof(Rounding.TF32))]
    [InlineData(nameof(Rounding.BF16))]
    [InlineData(Drawn)]
    public void Modules_of_families_are_assembled(string precision)
    {
        Require();
        Rounding rounding = precision == Drawn ? Rounding.BF16 : Enum.Parse<Rounding>(precision);
        bool isOfEach = precision is Drawn or nameof(Rounding.TF32);
        Assemble(Families.All.Where(declared => !isOfEach || Families.All.First(other => other.Value.Family == declared.Value.Family).Key == declared.Key).SelectMany(declared => ModulesOf(declared.Value with
        {
            HasCuda = true,
            CudaPrecision = rounding,
            CudaRounding = precision == Drawn ? Drawing.Stochastic : Drawing.Nearest,
            CudaLaunches = rounding == Rounding.TF32 ? Launching.Separate : rounding == Rounding.F32 ? Launching.Together : Launching.Automatic,
            CudaProducts = ModelGen.Compiler.CudaProducts.Warpgroups,
        }).Select(module => ($"{declared.Key}, {precision}", module))));
    }

    /// <summary>Weights that stay packed in every format that devices have kernels for, and caches that are rounded: of one sequence and of several, decoded by one launch and by many; experts' too.</summary>
    [Fact]
    public void Modules_of_packed_weights_and_caches_are_assembled()
    {
        Require();
        DeclaredArgument I(string name, long value) => DeclaredArgument.Of(name, value);
        DeclaredArgument[] sizes = [I("Layers", 2), I("DModel", 64), I("Heads", 2), I("KeyValueHeads", 1), I("FeedForward", 96), I("Vocab", 53), I("Context", 24), I("MaxBatch", 3)];
        var modules = new List<(string, CudaModule)>();
        foreach (WeightFormat format in new[] { WeightFormat.F16, WeightFormat.BF16, WeightFormat.Q8_0, WeightFormat.Q4_0, WeightFormat.Q6_K })
        {
            foreach (CacheFormat cache in Enum.GetValues<CacheFormat>())
            {
                foreach (Rounding precision in Enum.GetValues<Rounding>())
                {
                    DeclaredArgument[] experts = cache == CacheFormat.F32 ? [I("Experts", 4), I("ActiveExperts", 2)] : [];
                    ModelSpec spec = Families.Spec("Decoder", 2, 9, [.. sizes, .. experts, I("Weights", (long)format), I("KeyValueCache", (long)cache)]) with
                    {
                        HasCuda = true,
                        CudaPrecision = precision,
                        Training = null,
                        CudaLaunches = cache == CacheFormat.Q8_0 ? Launching.Separate : Launching.Automatic,
                    };
                    modules.AddRange(ModulesOf(spec).Select(module => ($"{format}, {cache}, {precision}", module)));
                }
            }
        }

        Assemble(modules);
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
        Assemble(ModulesOf(spec).Select(module => ("gpt-2", module)), "sm_80", "sm_90");
    }

    /// <summary>Tokens of large models, of which one launch calls hundreds of functions: what it needs of one layer it does not keep for the others.</summary>
    [Theory]
    [InlineData("Llama", nameof(Rounding.F32))]
    [InlineData("Llama", nameof(Rounding.BF16))]
    [InlineData("Qwen", nameof(Rounding.F32))]
    [InlineData("Qwen", nameof(Rounding.BF16))]
    public void Tokens_of_large_models_are_assembled(string family, string precision)
    {
        Require();
        DeclaredArgument I(string name, long value) => DeclaredArgument.Of(name, value);
        DeclaredArgument[] arguments = family == "Llama"
            ? [I("Layers", 16), I("DModel", 2048), I("Heads", 32), I("KeyValueHeads", 8), I("FeedForward", 8192), I("Vocab", 32000), I("Context", 2048)]
            : [I("Layers", 24), I("DModel", 1024), I("Heads", 8), I("KeyValueHeads", 2), I("HeadWidth", 256), I("FeedForward", 3584), I("Vocab", 32000), I("Context", 2048), DeclaredArgument.Of("Mixers", [2, 2, 2, 0]), I("LinearKeyHeads", 16), I("LinearValueHeads", 16), I("LinearKeyWidth", 128), I("ConvolutionTaps", 4), I("AttentionOutputGate", 1), DeclaredArgument.Of("RotaryFraction", 0.25), I("TieEmbeddings", 1)];
        ModelSpec spec = Families.Spec(family, 1, 1, arguments) with { Training = null, HasCuda = true, CudaPrecision = Enum.Parse<Rounding>(precision) };
        CudaModule[] modules = [.. ModulesOf(spec)];
        Assert.All(modules, module => Assert.Contains("Together_Decode", module.Entries));
        Assemble(modules.Select(module => (family, module)), "sm_80", "sm_90");
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

    private static IEnumerable<CudaModule> ModulesOf(ModelSpec spec) => ModelCompiler.Plan(spec, CacheSizes.Default, default).Entries.Select(entry => entry.Cuda!.Module).Distinct();

    /// <summary>Modules are taken, each text once; what is said of one begins with its name.</summary>
    private static void Assemble(IEnumerable<(string Name, CudaModule Module)> modules, params string[] processors)
    {
        (string Name, string Text, string[] Processors)[] texts =
        [
            .. modules.SelectMany(m => new[] { (m.Name, m.Module.Text, processors.Length == 0 ? ["sm_80"] : processors), (m.Name, m.Module.WarpgroupText, ["sm_90a"]) })
                .Where(m => m.Item2.Length > 0).DistinctBy(m => m.Item2),
        ];
        Assert.NotEmpty(texts);
        var problems = new string[texts.Length];
        Parallel.For(0, texts.Length, i => problems[i] = Problems(texts[i].Text, texts[i].Processors) is { Length: > 0 } said ? $"{texts[i].Name}: {said}" : "");
        Assert.Equal("", string.Join('\n', problems.Where(problem => problem.Length > 0)));
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
            problems.AddRange(said.Split('\n').Where(line => Regex.IsMatch(line, "error|fatal|warning|Potential Performance Loss") || (Regex.Match(line, @"(\d+) bytes stack frame, (\d+) bytes spill stores") is { Success: true } spilled && int.Parse(spilled.Groups[1].Value, CultureInfo.InvariantCulture) > FewWords && int.Parse(spilled.Groups[2].Value, CultureInfo.InvariantCulture) > MostSpilled)).Select(line => $"{processor}: {line}"));
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
