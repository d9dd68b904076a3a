using ModelGen.Compiler;
using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Kernels;
using ModelGen.Compiler.Ops;
using ModelGen.Compiler.Targets;
using ModelGen.Compiler.Targets.Cpu;

namespace ModelGen.Tests.Compiler;

/// <summary>Who runs which kernel, where workers meet, and how plans are cut into methods: decided before anything is printed, and read here.</summary>
public sealed class CpuScheduleTests
{
    /// <summary>Training plans are long enough for every kind of step, and this one for more than one method and for chunks of rows.</summary>
    private static readonly ModelSpec Long = Families.Spec("Gpt", 4, 64, DeclaredArgument.Of("Layers", 6L), DeclaredArgument.Of("DModel", 64L), DeclaredArgument.Of("Heads", 4L), DeclaredArgument.Of("Vocab", 50257L), DeclaredArgument.Of("Context", 64L));

    [Theory]
    [MemberData(nameof(Families.Names), MemberType = typeof(Families))]
    public void Workers_meet_wherever_kernels_could_touch_the_same(string family)
    {
        foreach (CompiledPlan plan in Plans(Families.All[family]))
        {
            Check(plan.Cpu);
        }
    }

    [Fact]
    public void Long_plans_are_cut_and_blocks_of_rows_add_up()
    {
        CompiledPlan step = Plans(Long).Single(p => p.Name == "Step");
        CpuSchedule schedule = Check(step.Cpu);
        Assert.True(schedule.Parts.Count > 1);
        Assert.All(schedule.Parts.SkipLast(1), p => Assert.InRange(p.Sum(s => s.KernelCount), CpuSchedule.PartLength, 2 * CpuSchedule.PartLength));
        LoopStep blocks = Assert.Single(schedule.Parts.SelectMany(p => p).OfType<LoopStep>(), l => l.Loop.BlockRows > 0);
        KernelStep[] inside = [.. Kernels(blocks.Body)];
        Assert.Contains(inside, k => k.AddsToEarlierBlocks);
        Assert.All(inside, k => Assert.Equal(k.Kernel.SumsOverRows, k.AddsToEarlierBlocks));
        Assert.DoesNotContain(Kernels(schedule.Parts.SelectMany(p => p)).Except(inside), k => k.AddsToEarlierBlocks);
    }

    /// <summary>Every kernel of a plan is called by what it does and with named offsets: no number tells two kernels, or two buffers, apart.</summary>
    [Theory]
    [MemberData(nameof(Families.Names), MemberType = typeof(Families))]
    public void Plans_speak_of_buffers_and_kernels_by_name(string family)
    {
        IReadOnlyList<EmittedFile> files = [.. ModelCompiler.Compile(Families.All[family], CacheSizes.Default, default).Files];
        string[] plans = [.. files.Where(f => f.Text.Contains("Plan\n{", StringComparison.Ordinal)).Select(f => f.Text)];
        Assert.NotEmpty(plans);
        foreach (string call in plans.SelectMany(p => p.Split('\n')).Where(l => l.EndsWith("worker);", StringComparison.Ordinal) && !l.Contains("context, worker", StringComparison.Ordinal)))
        {
            Assert.Matches(@"^ +[A-Z][A-Za-z]+_\w+\((\(int\*\)\()?[agsw] \+ [AWS]\.\w+", call);
            Assert.DoesNotMatch(@"\b[agsw] \+ \d", call);
        }

        Assert.DoesNotMatch(@"static void \w+_v\d", files.Single(f => f.HintName.EndsWith("Kernels.g.cs", StringComparison.Ordinal)).Text);
    }

    /// <summary>
    /// Of a decoder with the sizes of real ones: queries, keys and values are computed between the same two meetings, whoever takes columns of the gate computes what it is multiplied with,
    /// and an input is rounded once for all that read it. A layer meets eight times: in an order that has these names.
    /// </summary>
    [Theory]
    [InlineData("F32")]
    [InlineData("F16")]
    [InlineData("BF16")]
    [InlineData("Q8_0")]
    [InlineData("Q4_0")]
    [InlineData("Q4_K")]
    [InlineData("Q6_K")]
    [InlineData("Q5_1")]
    [InlineData("Q4_K", "*.v_proj.weight: Q6_K", "*.k_proj.weight: Q5_K", "*.up_proj.weight: Q5_0")]
    public void Products_that_share_their_input_run_between_the_same_meetings(string weights, params string[] others)
    {
        CompiledPlan decode = Plans(Wide(weights, others)).Single(p => p.Name == "Decode");
        CpuSchedule schedule = Check(decode.Cpu);
        ScheduleStep[] steps = [.. schedule.Parts.SelectMany(p => p)];
        Assert.Equal((8 * 2) + 2, steps.Count(s => s is BarrierStep));
        foreach (int layer in (int[])[0, 1])
        {
            string[] projections = [.. new[] { "q_proj", "k_proj", "v_proj" }.Select(n => $"model.layers.{layer}.self_attn.{n}.weight")];
            int[] at = [.. projections.Select(p => Array.FindIndex(steps, s => s is KernelStep { Kernel: MatMulKernel k } && k.Operands[1].View.Buffer.Name == p))];
            Assert.Equal([at[0], at[0] + 1, at[0] + 2], at);
            ChainStep chain = Assert.Single(steps.OfType<ChainStep>(), c => c.Products[0].Kernel.Operands[1].View.Buffer.Name == $"model.layers.{layer}.mlp.gate_proj.weight");
            Assert.Equal($"model.layers.{layer}.mlp.up_proj.weight", chain.Products[1].Kernel.Operands[1].View.Buffer.Name);
            Assert.Equal(2, chain.Products.Count);
        }

        RoundKernel[] rounded = [.. decode.Program.Kernels.OfType<RoundKernel>()];
        Assert.Equal(weights[0] == 'Q' ? 5 : 0, rounded.Length);
        Assert.Equal(rounded.Length, rounded.Select(r => r.Operands[0].View.Buffer).Distinct().Count());
    }

    /// <summary>What a chain's later product does not take from its own columns, it waits for.</summary>
    [Fact]
    public void Products_that_read_other_columns_wait()
    {
        PlanBuffer Buffer(string name, MemorySpace space, long elements) => new(name, space, StorageFormat.Float32, elements);
        PlanBuffer input = Buffer("input", MemorySpace.Arena, 1024), weight = Buffer("weight", MemorySpace.Weights, 1024 * 1024), between = Buffer("between", MemorySpace.Arena, 1024), output = Buffer("output", MemorySpace.Arena, 1024);
        RowExtent one = RowExtent.Literal(1);
        MatMulKernel Product(string name, PlanBuffer left, PlanBuffer to, params KernelOperand[] read) => new(name,
            [new("x", new View(left, 0), Access.Matrix(1024), false), new("w", new View(weight, 0), Access.Matrix(1024), false), .. read, new("y", new View(to, 0), Access.Matrix(1024), true)],
            MatMulForm.NT, one, 1024, 1024, [new Store(2 + read.Length, read.Length == 0 ? new AccumulatorExpr() : new AccumulatorExpr() * new OperandExpr(2), StoreMode.Replace)], 2L << 20, 4L << 20);
        KernelOperand Own(int stride, long offset = 0) => new("a", new View(between, offset), new Access(StorageFormat.Float32, [RowExtent.Literal(1024)], stride), false);
        Assert.Equal(1, Meetings(Product("first", input, between), Product("second", input, output, Own(1))));
        Assert.Equal(2, Meetings(Product("first", input, between), Product("second", input, output, Own(0))));
        Assert.Equal(2, Meetings(Product("first", input, between), Product("second", between, output)));
        Assert.Equal(2, Meetings(Product("first", input, between), Product("second", output, input)));
        Assert.Equal(1, Meetings(Product("first", input, between), Product("second", input, output)));

        static int Meetings(params Kernel[] kernels)
        {
            var plans = kernels.ToDictionary(k => k, k => (KernelPlan)new ProductPlan((MatMulKernel)k, null, CacheSizes.Default));
            return CpuSchedule.Of(kernels, k => plans[k]).Parts.SelectMany(p => p).Count(s => s is BarrierStep);
        }
    }

    private static ModelSpec Wide(string weights, params string[] others)
    {
        ModelSpec spec = Families.Spec("Llama", 0, 0, DeclaredArgument.Of("Layers", 2L), DeclaredArgument.Of("DModel", 768L), DeclaredArgument.Of("Heads", 12L), DeclaredArgument.Of("FeedForward", 2048L), DeclaredArgument.Of("Vocab", 32000L), DeclaredArgument.Of("Context", 64L), DeclaredArgument.Of("Weights", (long)Enum.Parse<global::ModelGen.WeightFormat>(weights)));
        return spec with { Training = null, WeightsOf = [.. others] };
    }

    private static CpuSchedule Check(CpuProgram program)
    {
        CpuSchedule schedule = program.Schedule;
        Assert.Equal(program.Program.Kernels.SelectMany(Flat).OrderBy(k => k.GetHashCode()), schedule.Parts.SelectMany(Kernels).Select(k => k.Kernel).OrderBy(k => k.GetHashCode()));
        foreach (IReadOnlyList<ScheduleStep> part in schedule.Parts)
        {
            CheckSteps(program, part);
        }

        return schedule;

        static IEnumerable<Kernel> Flat(Kernel kernel) => kernel is LoopKernel loop ? loop.Body.SelectMany(Flat) : [kernel];
    }

    private static void CheckSteps(CpuProgram program, IReadOnlyList<ScheduleStep> steps)
    {
        var together = new List<ScheduleStep>();
        foreach (ScheduleStep step in steps)
        {
            switch (step)
            {
                case BarrierStep:
                    Assert.NotEmpty(together);
                    Kernel[] inOrder = [.. together.SelectMany(s => Kernels([s])).Select(k => k.Kernel)];
                    Assert.True(together.All(s => s is FirstWorkerStep) || inOrder.Count(program.RunsBesideEarlier) == inOrder.Length - 1);
                    together.Clear();
                    continue;
                case KernelStep kernel:
                    Assert.False(kernel.Kernel.IsSerial());
                    break;
                case FirstWorkerStep alone:
                    Assert.All(Kernels(alone.Body), k => Assert.True(k.Kernel.IsSerial()));
                    break;
                case ChainStep chain:
                    Assert.True(chain.Products.Count > 1);
                    Assert.All(chain.Products, k => Assert.False(k.Kernel.IsSerial()));
                    break;
                case LoopStep loop:
                    Assert.Empty(together);
                    Assert.All(Kernels(loop.Body), k => Assert.Same(loop.Loop, k.Loop));
                    Assert.IsType<BarrierStep>(loop.Body[^1]);
                    CheckSteps(program, loop.Body);
                    continue;
            }

            // Whatever runs at the same time touches nothing that the other writes, said here in whole buffers but for what is written by columns or rows.
            foreach (Kernel kernel in Kernels([step]).Select(k => k.Kernel))
            {
                foreach (Kernel other in together.SelectMany(s => Kernels([s])).Select(k => k.Kernel))
                {
                    Assert.True(AreApart(program, kernel, other), $"{kernel.Name} and {other.Name} touch the same");
                }
            }

            together.Add(step);
        }

        Assert.Empty(together);
    }

    private static bool AreApart(CpuProgram program, Kernel first, Kernel second)
    {
        IReadOnlyList<KernelOperand> some = program.OperandsOf(first), others = program.OperandsOf(second);
        for (int i = 0; i < some.Count; i++)
        {
            for (int j = 0; j < others.Count; j++)
            {
                bool overlap = some[i].View.Buffer == others[j].View.Buffer && (some[i].IsWritten || others[j].IsWritten);
                if (overlap && !(Whole(first, i) is { } a && Whole(second, j) is { } b && a.IsApartFrom(b)))
                {
                    return false;
                }
            }
        }

        return (program.WorkspaceOf(first) is not { } workspace || workspace != program.WorkspaceOf(second)) && !(program.PlanOf(first).StandsAlone || program.PlanOf(second).StandsAlone);

        static Footprint? Whole(Kernel kernel, int operand) => kernel is PackKernel or RoundKernel ? null : Footprint.Of(kernel, operand);
    }

    private static IEnumerable<KernelStep> Kernels(IEnumerable<ScheduleStep> steps) => steps.SelectMany(s => s switch
    {
        KernelStep kernel => [kernel],
        LoopStep loop => Kernels(loop.Body),
        FirstWorkerStep alone => Kernels(alone.Body),
        ChainStep chain => chain.Products,
        _ => [],
    });

    private static IEnumerable<CompiledPlan> Plans(ModelSpec spec)
    {
        CompiledPlans plans = ModelCompiler.Plan(spec, CacheSizes.Default, default);
        return plans.Inference.Concat(plans.Training);
    }
}
