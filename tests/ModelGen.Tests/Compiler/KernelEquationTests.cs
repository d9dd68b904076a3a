using ModelGen.Compiler;
using ModelGen.Compiler.Emit.CSharp;
using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Kernels;
using ModelGen.Compiler.Ops;
using ModelGen.Compiler.Targets.Cpu;

namespace ModelGen.Tests.Compiler;

/// <summary>The equation over each kernel in emitted plans: readers can find in it every buffer, parameter and state that the kernel touches.</summary>
public sealed class KernelEquationTests
{
    [Theory]
    [MemberData(nameof(Families.Names), MemberType = typeof(Families))]
    public void Equations_name_what_kernels_read_and_write(string family)
    {
        CompiledPlans plans = ModelCompiler.Plan(Families.All[family], CacheSizes.Default, default);
        var names = new DeclaredNames(plans.Layout.Parameters.Select(p => p.Parameter.ParameterName));
        string[] problems = [.. plans.Entries.SelectMany(e => EquationCheck.Problems(e.Plan.Cpu, names).Select(p => $"{e.Entry.Name}: {p}"))];
        Assert.True(problems.Length == 0, string.Join("\n", problems));
    }

    /// <summary>A recurrence is what several kernels compute parts of: no two of a plan that compute different parts of one say the same, that they compute it.</summary>
    [Theory]
    [MemberData(nameof(Families.Names), MemberType = typeof(Families))]
    public void Kernels_of_a_recurrence_say_which_part_of_it_they_compute(string family)
    {
        CompiledPlans plans = ModelCompiler.Plan(Families.All[family], CacheSizes.Default, default);
        foreach (CompiledEntry entry in plans.Entries)
        {
            HashSet<string> recurrences = [.. entry.Entry.Build().Nodes.Where(n => n.Op is LinearRecurrence or ScanOverLengths).Select(n => n.Op.Mnemonic)];
            var said = from kernel in entry.Plan.Cpu.Program.Kernels.SelectMany(Flat)
                       from term in kernel.Derivation.Terms.Where(t => t.Kind == TermKind.Function && t.Stored.Count > 0 && recurrences.Contains(t.Mnemonic))
                       from origin in kernel.Derivation.Origins.Where(o => !o.IsGradient && o.Mnemonic == term.Mnemonic)
                       group term.Name by (origin.Mnemonic, origin.Name);
            Assert.All(said, parts => Assert.True(parts.Distinct().Count() == 1, $"{entry.Entry.Name}: {parts.Key} is said to be what computes {string.Join(", ", parts.Distinct())}"));
        }

        static IEnumerable<Kernel> Flat(Kernel kernel) => kernel is LoopKernel loop ? loop.Body.SelectMany(Flat) : [kernel];
    }

    /// <summary>What no family happens to have: views of views, reductions of everything, parameters that several operations share.</summary>
    [Theory]
    [InlineData(false, false)]
    [InlineData(true, false)]
    [InlineData(false, true)]
    public void Equations_of_random_graphs_do_so_too(bool differentiable, bool dynamic)
    {
        var problems = new List<string>();

        // One of these graphs adds to a gradient in several phases of one kernel, the last of them through the first operand.
        foreach (int seed in Enumerable.Range(0, 60).Append(167))
        {
            ModelGraph source = RandomGraphs.Build(new Random(seed), differentiable, dynamic);
            ModelGraph graph = differentiable ? KernelCases.PrepareTraining(GradientCheck.WithLoss(source)) : KernelCases.Prepare(source);
            ModelLayout layout = ModelLayout.Of(graph);
            CpuProgram program = ModelCompiler.Target(ModelCompiler.Kernels(graph, layout, default), CacheSizes.Default, default);
            problems.AddRange(EquationCheck.Problems(program, new DeclaredNames(layout.Parameters.Select(p => p.Parameter.ParameterName))).Select(p => $"seed {seed}: {p}"));
        }

        Assert.True(problems.Count == 0, string.Join("\n", problems.Take(20)));
    }

    /// <summary>Logits of a large vocabulary are computed in blocks of rows, whose gradients add up.</summary>
    [Fact]
    public void Equations_of_blocks_of_rows_say_which_and_that_they_add_up()
    {
        ModelSpec spec = Families.Spec("Gpt", 4, 64, DeclaredArgument.Of("Layers", 1L), DeclaredArgument.Of("DModel", 64L), DeclaredArgument.Of("Heads", 4L), DeclaredArgument.Of("Vocab", 50257L), DeclaredArgument.Of("Context", 64L));
        CompiledPlans plans = ModelCompiler.Plan(spec, CacheSizes.Default, default);
        var names = new DeclaredNames(plans.Layout.Parameters.Select(p => p.Parameter.ParameterName));
        Assert.Empty(EquationCheck.Problems(plans.Entry("Step").Plan.Cpu, names));
        string step = ModelCompiler.Compile(spec, CacheSizes.Default, default).Files.Single(f => f.HintName.EndsWith(".Step.g.cs", StringComparison.Ordinal)).Text;
        Assert.Contains("// lm_head = matmul(ln_f[block], wte.weight)", step, StringComparison.Ordinal);
        Assert.Contains("// d wte.weight += (d lm_head)ᵀ · ln_f[block]", step, StringComparison.Ordinal);
    }
}
