using ModelGen.Compiler;
using ModelGen.Compiler.Kernels;
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
            Check(plan.Program.Kernels);
        }
    }

    [Fact]
    public void Long_plans_are_cut_and_blocks_of_rows_add_up()
    {
        CompiledPlan step = Plans(Long).Single(p => p.Name == "Step");
        CpuSchedule schedule = Check(step.Program.Kernels);
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

    private static CpuSchedule Check(IReadOnlyList<Kernel> kernels)
    {
        CpuSchedule schedule = CpuSchedule.Of(kernels);
        Assert.Equal(kernels.SelectMany(Flat), schedule.Parts.SelectMany(Kernels).Select(k => k.Kernel));
        foreach (IReadOnlyList<ScheduleStep> part in schedule.Parts)
        {
            CheckSteps(part);
        }

        return schedule;

        static IEnumerable<Kernel> Flat(Kernel kernel) => kernel is LoopKernel loop ? loop.Body.SelectMany(Flat) : [kernel];
    }

    private static void CheckSteps(IReadOnlyList<ScheduleStep> steps)
    {
        for (int i = 0; i < steps.Count; i++)
        {
            switch (steps[i])
            {
                case KernelStep kernel:
                    Assert.False(kernel.Kernel.IsSerial());
                    Assert.IsType<BarrierStep>(steps[i + 1]);
                    break;
                case FirstWorkerStep alone:
                    Assert.All(Kernels(alone.Body), k => Assert.True(k.Kernel.IsSerial()));
                    Assert.IsType<BarrierStep>(steps[i + 1]);
                    break;
                case LoopStep loop:
                    Assert.All(Kernels(loop.Body), k => Assert.Same(loop.Loop, k.Loop));
                    Assert.IsType<BarrierStep>(loop.Body[^1]);
                    CheckSteps(loop.Body);
                    break;
                default:
                    Assert.True(i > 0 && steps[i - 1] is KernelStep or FirstWorkerStep, "a barrier after nothing");
                    break;
            }
        }
    }

    private static IEnumerable<KernelStep> Kernels(IEnumerable<ScheduleStep> steps) => steps.SelectMany(s => s switch
    {
        KernelStep kernel => [kernel],
        LoopStep loop => Kernels(loop.Body),
        FirstWorkerStep alone => Kernels(alone.Body),
        _ => [],
    });

    private static IEnumerable<CompiledPlan> Plans(ModelSpec spec)
    {
        CompiledPlans plans = ModelCompiler.Plan(spec, CacheSizes.Default, default);
        return plans.Inference.Concat(plans.Training);
    }
}
