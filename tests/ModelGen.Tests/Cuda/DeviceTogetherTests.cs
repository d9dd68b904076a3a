using System.Text.RegularExpressions;
using ModelGen.Compiler;
using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Kernels;
using ModelGen.Compiler.Targets.Cpu;
using ModelGen.Compiler.Targets.Cuda;
using static ModelGen.Tests.Cuda.DeviceCheck;

namespace ModelGen.Tests.Cuda;

/// <summary>Whole plans as one launch of blocks that stay: the same bits as of a launch for each kernel, whatever the number of blocks, and what is chosen when.</summary>
public sealed class DeviceTogetherTests
{
    private static AdamW Optimizer => new() { LearningRate = 0.01f, GradientClip = 0.5f, WeightDecay = 0.1f };

    [Fact]
    public void A_gpt_decodes_and_trains_to_the_same_bits()
    {
        Same(driver => Decoded(DeviceGpt.Create(seed: 7), driver), driver => Decoded(SeparateGpt.Create(seed: 7), driver));
        Same(
            driver => Trained(DeviceGpt.Create(seed: 3), m => m.CreateTrainer(Optimizer, On(driver)), (t, i) => t.Step(Ids(10, 17, i), Ids(10, 17, i + 5)), m => DeviceGpt.Parameters.Select(p => m.Parameter(p.Name).ToArray())),
            driver => Trained(SeparateGpt.Create(seed: 3), m => m.CreateTrainer(Optimizer, On(driver)), (t, i) => t.Step(Ids(10, 17, i), Ids(10, 17, i + 5)), m => SeparateGpt.Parameters.Select(p => m.Parameter(p.Name).ToArray())));
    }

    [Fact]
    public void An_lstm_decodes_and_trains_to_the_same_bits()
    {
        Same(driver => Decoded(DeviceLstm.Create(seed: 7), driver), driver => Decoded(SeparateLstm.Create(seed: 7), driver));
        Same(
            driver => Trained(DeviceLstm.Create(seed: 3), m => m.CreateTrainer(Optimizer, On(driver)), (t, i) => t.Step(Ids(12, 13, i), Ids(12, 13, i + 5)), m => DeviceLstm.Parameters.Select(p => m.Parameter(p.Name).ToArray())),
            driver => Trained(SeparateLstm.Create(seed: 3), m => m.CreateTrainer(Optimizer, On(driver)), (t, i) => t.Step(Ids(12, 13, i), Ids(12, 13, i + 5)), m => SeparateLstm.Parameters.Select(p => m.Parameter(p.Name).ToArray())));
    }

    [Fact]
    public void A_transformer_trains_to_the_same_bits() => Same(
        driver => Trained(DeviceTransformer.Create(seed: 3), m => m.CreateTrainer(Optimizer, On(driver)), (t, i) => t.Step(Ids(12, 13, i), [6, 4], Ids(10, 11, i), Ids(10, 11, i + 5)), m => DeviceTransformer.Parameters.Where(p => !p.IsTable).Select(p => m.Parameter(p.Name).ToArray())),
        driver => Trained(SeparateTransformer.Create(seed: 3), m => m.CreateTrainer(Optimizer, On(driver)), (t, i) => t.Step(Ids(12, 13, i), [6, 4], Ids(10, 11, i), Ids(10, 11, i + 5)), m => SeparateTransformer.Parameters.Where(p => !p.IsTable).Select(p => m.Parameter(p.Name).ToArray())));

    [Fact]
    public void A_bert_trains_to_the_same_bits() => Same(
        driver => Trained(DeviceBert.Create(seed: 3), m => m.CreateTrainer(Optimizer, On(driver)), (t, i) => t.Step(Ids(12, 13, i), Ids(12, 2, i), [6, 4], Ids(12, 13, i + 5), [1, 0]), m => DeviceBert.Parameters.Select(p => m.Parameter(p.Name).ToArray())),
        driver => Trained(SeparateBert.Create(seed: 3), m => m.CreateTrainer(Optimizer, On(driver)), (t, i) => t.Step(Ids(12, 13, i), Ids(12, 2, i), [6, 4], Ids(12, 13, i + 5), [1, 0]), m => SeparateBert.Parameters.Select(p => m.Parameter(p.Name).ToArray())));

    /// <summary>How many blocks a device holds changes no bit; one that launches no blocks together has one do all the work.</summary>
    [Fact]
    public void The_number_of_blocks_changes_no_bit()
    {
        float[][] expected = null!;
        foreach ((int processors, int blocks, bool cooperative) in new[] { (2, 2, true), (1, 1, true), (3, 1, true), (1, 16, true), (2, 2, false) })
        {
            using var driver = new StandInDriver { Processors = processors, BlocksOfProcessor = blocks, IsCooperative = cooperative };
            float[][] actual = Decoded(DeviceGpt.Create(seed: 7), driver);
            expected ??= actual;
            Assert.Equal(expected, actual);
            Assert.Equal(cooperative && processors * blocks > 1, driver.Calls.ContainsKey("cuLaunchCooperativeKernel"));
        }
    }

    /// <summary>
    /// Blocks meet where one needs what others have computed: meetings that are left out are found as races. Between kernels so small that the same thread
    /// writes and reads there is none to find, which is so for a third of them here.
    /// </summary>
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Meetings_that_are_left_out_are_found(bool trains)
    {
        int meetings = 1;
        var superfluous = new List<int>();
        for (int left = 0; left < meetings; left++)
        {
            using var driver = new StandInDriver { Edit = Without, Processors = 3, BlocksOfProcessor = 1 };
            DeviceGpt model = DeviceGpt.Create(seed: 3);
            Exception? exception = Record.Exception(() =>
            {
                if (trains)
                {
                    using DeviceGpt.Trainer trainer = model.CreateTrainer(Optimizer, On(driver));
                    trainer.Step(Ids(10, 17), Ids(10, 17, 3));
                }
                else
                {
                    using DeviceGpt.Session session = model.CreateSession(Session(driver));
                    session.Prefill(Ids(8, 17));
                    session.Decode(1);
                }
            });
            if (exception is null)
            {
                superfluous.Add(left);
            }
            else
            {
                Assert.Contains("what another", driver.Fault, StringComparison.Ordinal);
            }

            string Without(string module)
            {
                MatchCollection all = Regex.Matches(module, @"\tadd\.s32 (%r\d+), \1, %r\d+;\n\t\{\n(?:\t\.param.*\n\tst\.param.*\n)*\tcall\.uni Meet, .*\n\t\}\n");
                meetings = Math.Max(meetings, all.Count);
                return left < all.Count ? module.Remove(all[left].Index, all[left].Length) : module;
            }
        }

        Assert.True(meetings > 10);
        Assert.True(3 * superfluous.Count < 2 * meetings, $"{superfluous.Count} of {meetings} were not found: {string.Join(", ", superfluous)}");
    }

    /// <summary>Kernels that have nothing to do with each other do not wait for each other; memory that two buffers share is one.</summary>
    [Fact]
    public void Blocks_meet_only_where_they_must()
    {
        PlanBuffer[] buffers = [.. Enumerable.Range(0, 5).Select(i => new PlanBuffer($"b{i}", MemorySpace.Arena, StorageFormat.Float32, 10) { Offset = 40 * Math.Min(i, 3) })];
        CudaLaunch Map(int from, int to)
        {
            KernelOperand Operand(int buffer, bool isWritten) => new($"b{buffer}", new View(buffers[buffer], 0), new Access(StorageFormat.Float32, [RowExtent.Literal(10)], 1), isWritten);
            return new(new RowKernel("map", [Operand(from, false), Operand(to, true)], [RowExtent.Literal(1)], 10, [], 0, 0), "Map", ["p0", "p1"], (1, 1), 256);
        }

        string Of(params CudaStep[] steps) => string.Join(" ", CudaMeetings.Insert(steps).Select(step => step switch { CudaMeeting => "meet", CudaLoop loop => $"({Names(loop.Body)})", _ => Name(step) }));
        static string Names(IEnumerable<CudaStep> steps) => string.Join(" ", steps.Select(step => step is CudaMeeting ? "meet" : Name(step)));
        static string Name(CudaStep step) => string.Concat(((CudaLaunch)step).Kernel.Operands.Select(o => o.View.Buffer.Name[1..]));
        Assert.Equal("01 02", Of(Map(0, 1), Map(0, 2)));
        Assert.Equal("01 meet 12", Of(Map(0, 1), Map(1, 2)));
        Assert.Equal("01 meet 20", Of(Map(0, 1), Map(2, 0)));
        Assert.Equal("01 meet 21", Of(Map(0, 1), Map(2, 1)));
        Assert.Equal("01 02 meet 13 20", Of(Map(0, 1), Map(0, 2), Map(1, 3), Map(2, 0)));
        Assert.Equal("03 meet 41", Of(Map(0, 3), Map(4, 1)));
        Assert.Equal("01 meet (02 meet) 23", Of(Map(0, 1), new CudaLoop(new LoopKernel("loop", RowExtent.Literal(3), false, []), [Map(0, 2)]), Map(2, 3)));
    }

    [Fact]
    public void A_token_of_a_large_model_and_a_step_of_a_small_one_are_one_launch_and_large_steps_are_not()
    {
        CompiledPlans gpt = Compile("Gpt", new TrainingSpec(16, 1024), ("Layers", 12), ("DModel", 768), ("Heads", 12), ("Vocab", 50257), ("Context", 1024));
        CudaTogether decode = Assert.IsType<CudaTogether>(Assert.Single(StepsOf(gpt, "Decode")));
        Assert.Equal(4, decode.BlocksOfProcessor);
        Assert.Equal(6283, decode.Blocks);
        Assert.All(CudaProgram.LaunchesOf(StepsOf(gpt, "Step")).Where(l => l.Kernel.Flops > CudaGrouping.MostFlops), launch => Assert.Contains(launch, StepsOf(gpt, "Step")));
        Assert.True(CudaProgram.LaunchesOf(StepsOf(gpt, "Step")).Count(l => l.Kernel.Flops > CudaGrouping.MostFlops) > 100);

        CompiledPlans small = Compile("Gpt", new TrainingSpec(12, 64), ("Layers", 4), ("DModel", 128), ("Heads", 4), ("Vocab", 65), ("Context", 64));
        CudaTogether step = Assert.IsType<CudaTogether>(Assert.Single(StepsOf(small, "Step")));
        int kernels = CudaProgram.LaunchesOf(step.Steps).Count(), meetings = step.Steps.OfType<CudaMeeting>().Count();
        Assert.InRange(meetings, 2, kernels - 20);
    }

    /// <summary>The products over a whole vocabulary are launches, and the recurrence between them is one.</summary>
    [Fact]
    public void A_recurrence_is_one_launch_between_large_products()
    {
        IReadOnlyList<CudaStep> steps = StepsOf(Compile("RecurrentLm", new TrainingSpec(32, 35), ("Layers", 2), ("Hidden", 512), ("Vocab", 10000)), "Step");
        Assert.Contains(steps, step => step is CudaLaunch { Kernel.Flops: > CudaGrouping.MostFlops });
        Assert.DoesNotContain(steps, step => step is CudaLoop);
        Assert.Contains(steps.OfType<CudaTogether>(), together => together.Steps.OfType<CudaLoop>().Any());
    }

    [Fact]
    public void What_a_declaration_asks_for_is_done()
    {
        Assert.All(StepsOf(Compile("Mlp", new TrainingSpec(3, 0), CudaLaunches.Separate), "Step"), step => Assert.IsType<CudaLaunch>(step));
        Assert.IsType<CudaTogether>(Assert.Single(StepsOf(Compile("Mlp", new TrainingSpec(3, 0), CudaLaunches.Automatic), "Step")));
        Assert.IsType<CudaTogether>(Assert.Single(StepsOf(Compile("Mlp", new TrainingSpec(60_000, 0), CudaLaunches.Together), "Step")));
    }

    private static TrainerOptions On(StandInDriver driver) => new() { Seed = 5, Device = DeviceOf(driver) };

    private static void Same(Func<StandInDriver, float[][]> together, Func<StandInDriver, float[][]> separate)
    {
        // One after the other: calls that name no context are for the driver that was made last.
        using var one = new StandInDriver();
        float[][] expected = separate(one);
        using var other = new StandInDriver();
        Assert.Equal(expected, together(other));
        Assert.Equal((null, null), (one.Fault, other.Fault));
        Assert.True(other.Calls.ContainsKey("cuLaunchCooperativeKernel"));
        Assert.False(one.Calls.ContainsKey("cuLaunchCooperativeKernel"));
        Assert.True(one.KernelsRun > 2 * other.KernelsRun, $"{one.KernelsRun} kernels by themselves, {other.KernelsRun} launches");
    }

    private static float[][] Decoded<TModel>(TModel model, StandInDriver driver)
        where TModel : ICausalLanguageModel<TModel>
    {
        using CausalSession session = model.CreateSession(Session(driver));
        List<float[]> logits = [session.Prefill(Ids(3, 13)).ToArray()];
        foreach (int token in Ids(4, 13, 9))
        {
            logits.Add(session.Decode(token).ToArray());
        }

        return [.. logits];
    }

    private static float[][] Trained<TModel, TTrainer>(TModel model, Func<TModel, TTrainer> create, Func<TTrainer, int, float> step, Func<TModel, IEnumerable<float[]>> weights)
        where TTrainer : Trainer
    {
        using TTrainer trainer = create(model);
        float[] losses = [.. Enumerable.Range(0, 3).Select(i => step(trainer, i))];
        return [losses, .. weights(model)];
    }

    private static IReadOnlyList<CudaStep> StepsOf(CompiledPlans plans, string entry) => plans.Entries.Single(e => e.Entry.Name == entry).Cuda!.Device.Steps;

    private static CompiledPlans Compile(string family, TrainingSpec training, params (string Name, long Value)[] arguments)
        => Compile(family, training, CudaLaunches.Automatic, [.. arguments.Select(a => DeclaredArgument.Of(a.Name, a.Value))]);

    private static CompiledPlans Compile(string family, TrainingSpec training, CudaLaunches launches)
        => Compile(family, training, launches, [DeclaredArgument.Of("Sizes", [5, 7, 3])]);

    private static CompiledPlans Compile(string family, TrainingSpec training, CudaLaunches launches, DeclaredArgument[] arguments)
        => ModelCompiler.Plan(new ModelSpec(new TypeIdentity("Example", [], "Example", "public", "Example.Example"), family, new(arguments), training, null) { HasCuda = true, CudaLaunches = (global::ModelGen.Compiler.CudaLaunches)(int)launches }, CacheSizes.Default, default);
}
