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

    /// <summary>
    /// Threads of a block wait where a row is that each block has for itself, or where memory is used again: waits that are left out of the launch are found, as far as other threads read there. So is attention that reads the newest key in the cache, where
    /// another block writes it meanwhile.
    /// </summary>
    [Fact]
    public void Waits_for_rows_of_blocks_that_are_left_out_are_found()
    {
        int waits = 1, found = 0;
        for (int left = 0; left < waits; left++)
        {
            string? fault = Edited(module =>
            {
                int entry = module.IndexOf(".entry Together_Decode(", StringComparison.Ordinal), end = module.IndexOf("\n}", entry, StringComparison.Ordinal);
                MatchCollection all = Regex.Matches(module[entry..end], @"\tbar\.sync 0;\n(?=\n|\t//)");
                waits = all.Count;
                return module.Remove(entry + all[left].Index, all[left].Length);
            });
            found += fault is null ? 0 : 1;
            Assert.Contains("shared memory", fault ?? "shared memory", StringComparison.Ordinal);
        }

        Assert.InRange(waits, 5, 6);
        Assert.True(found >= 4, $"{found} of {waits}");
        Assert.Contains("what another", Edited(module => Regex.Replace(module, @"selp\.b64 (%rd\d+), %rd\d+, (%rd\d+), %p\d+;", "mov.u64 $1, $2;")), StringComparison.Ordinal);

        static string? Edited(Func<string, string> edit)
        {
            string? before = null, after = null;
            using var driver = new StandInDriver { Edit = Changed, Processors = 3, BlocksOfProcessor = 1 };
            Exception? exception = Record.Exception(() =>
            {
                using DeviceGpt.Session session = DeviceGpt.Create(seed: 3).CreateSession(Session(driver));
                session.Prefill(Ids(3, 17));
                session.Decode(1);
            });
            Assert.NotEqual(before, after);
            return exception is null ? null : driver.Fault;

            string Changed(string module)
            {
                string changed = module.Contains("Together_Decode", StringComparison.Ordinal) ? edit(module) : module;
                (before, after) = changed == module ? (before, after) : (module, changed);
                return changed;
            }
        }
    }

    /// <summary>How often all blocks meet in a decoded token.</summary>
    [Theory]
    [InlineData("gpt2", 111, 60)]
    [InlineData("llama", 227, 98)]
    [InlineData("delta", 519, 283)]
    [InlineData("lstm", 12, 4)]
    public void Blocks_meet_so_often_in_a_token(string model, int kernels, int meetings)
    {
        (string Family, DeclaredArgument[] Arguments) declared = model switch
        {
            "gpt2" => ("Gpt", [I("Layers", 12), I("DModel", 768), I("Heads", 12), I("Vocab", 50257), I("Context", 1024)]),
            "llama" => ("Llama", [I("Layers", 16), I("DModel", 2048), I("Heads", 32), I("KeyValueHeads", 8), I("FeedForward", 8192), I("Vocab", 32000), I("Context", 2048)]),
            "delta" => ("Qwen", [I("Layers", 24), I("DModel", 1024), I("Heads", 8), I("KeyValueHeads", 2), I("HeadWidth", 256), I("FeedForward", 3584), I("Vocab", 32000), I("Context", 2048), DeclaredArgument.Of("Mixers", [2, 2, 2, 0]), I("LinearKeyHeads", 16), I("LinearValueHeads", 16), I("LinearKeyWidth", 128), I("ConvolutionTaps", 4), I("AttentionOutputGate", 1), I("TieEmbeddings", 1)]),
            _ => ("RecurrentLm", [I("Cell", 1), I("Layers", 2), I("Embedding", 512), I("Hidden", 512), I("Vocab", 10000)]),
        };
        CudaTogether decode = StepsOf(Compile(declared.Family, null, CudaLaunches.Automatic, declared.Arguments), "Decode").OfType<CudaTogether>().First();
        Assert.Equal((kernels, meetings), (CudaProgram.LaunchesOf(decode.Steps).Count(), decode.Steps.OfType<CudaMeeting>().Count()));
        Assert.True(decode.SharedBytes <= 48 * 1024);

        // Each block computes for itself what is small, and nothing that others than its own threads read.
        Assert.All(CudaProgram.LaunchesOf(decode.Steps), launch => Assert.Equal(launch.IsEverywhere, launch.Kernel.Operands.Any(o => o.IsWritten && o.View.Buffer.Space == MemorySpace.Block)));
        Assert.All(CudaProgram.LaunchesOf(decode.Steps).Where(launch => launch.IsEverywhere), launch => Assert.InRange(launch.Blocks.X * launch.Blocks.Y, 1, RowsOfBlocks.MostBlocks));

        static DeclaredArgument I(string name, long value) => DeclaredArgument.Of(name, value);
    }

    /// <summary>Ahead of each meeting weights are asked for that the products behind it read, 8 MB at the most, and no others; behind each, where memory lies is looked up, so that an assembler keeps nothing of one layer for the others.</summary>
    [Theory]
    [InlineData("Gpt", 60)]
    [InlineData("Llama", 98)]
    public void Weights_are_asked_for_ahead_of_each_meeting(string family, int meetings)
    {
        DeclaredArgument[] arguments = family == "Gpt"
            ? [I("Layers", 12), I("DModel", 768), I("Heads", 12), I("Vocab", 50257), I("Context", 1024)]
            : [I("Layers", 16), I("DModel", 2048), I("Heads", 32), I("KeyValueHeads", 8), I("FeedForward", 8192), I("Vocab", 32000), I("Context", 2048)];
        CompiledPlans plans = Compile(family, null, CudaLaunches.Automatic, arguments);
        string module = plans.Entries.Single(e => e.Entry.Name == "Decode").Cuda!.Module.Text, text = module[module.IndexOf(".entry Together_Decode", StringComparison.Ordinal)..];
        string[] parts = text[..text.IndexOf("\n}\n", StringComparison.Ordinal)].Split("call.uni Meet, (q0, q1);\n");
        Assert.Equal(meetings, parts.Length - 1);
        int lookedUp = Regex.Count(parts[1], @"\tld\.volatile\.shared\.u64 ");
        Assert.InRange(lookedUp, 2, 4);
        for (int i = 1; i < parts.Length; i++)
        {
            IEnumerable<string> asked = Regex.Matches(parts[i - 1], @"add\.s64 %rd\d+, %rd\d+, (\d+);\n\tcvta\.").Select(match => match.Groups[1].Value);
            Assert.Equal(parts[i].Contains("call.uni Dot_1x", StringComparison.Ordinal), parts[i - 1].Contains("\tprefetch.global.L2 ", StringComparison.Ordinal));
            Assert.All(asked, offset => Assert.Matches($@"add\.s64 %rd\d+, %rd\d+, {offset};", parts[i]));
            Assert.Equal(lookedUp, Regex.Count(parts[i], @"\tld\.volatile\.shared\.u64 "));
        }

        static DeclaredArgument I(string name, long value) => DeclaredArgument.Of(name, value);
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

        string Of(params CudaStep[] steps) => string.Join(" ", CudaMeetings.Insert(steps).Select(step => step switch { CudaMeeting => "meet", CudaBarrier => "wait", CudaLoop loop => $"({Names(loop.Body)})", _ => Name(step) }));
        static string Names(IEnumerable<CudaStep> steps) => string.Join(" ", steps.Select(step => step is CudaMeeting ? "meet" : Name(step)));
        static string Name(CudaStep step) => string.Concat(((CudaLaunch)step).Kernel.Operands.Select(o => o.View.Buffer.Name[^1..]));
        Assert.Equal("01 02", Of(Map(0, 1), Map(0, 2)));
        Assert.Equal("01 meet 12", Of(Map(0, 1), Map(1, 2)));
        Assert.Equal("01 meet 20", Of(Map(0, 1), Map(2, 0)));
        Assert.Equal("01 meet 21", Of(Map(0, 1), Map(2, 1)));
        Assert.Equal("01 02 meet 13 20", Of(Map(0, 1), Map(0, 2), Map(1, 3), Map(2, 0)));
        Assert.Equal("03 meet 41", Of(Map(0, 3), Map(4, 1)));
        Assert.Equal("01 meet (02 meet) 23", Of(Map(0, 1), new CudaLoop(new LoopKernel("loop", RowExtent.Literal(3), false, []), [Map(0, 2)]), Map(2, 3)));

        // Columns of one buffer that are apart; what each block has for itself; and the blocks that each kernel begins with.
        PlanBuffer parted = new("p", MemorySpace.Arena, StorageFormat.Float32, 20) { Offset = 400 }, own = new("o", MemorySpace.Block, StorageFormat.Float32, 10) { Offset = 0 };
        CudaLaunch Row(PlanBuffer from, int first, PlanBuffer to, int behind)
        {
            static KernelOperand Of(PlanBuffer buffer, int offset, bool isWritten) => new(buffer.Name, new View(buffer, offset), new Access(StorageFormat.Float32, [RowExtent.Literal(0)], 1), isWritten);
            return new(new RowKernel("row", [Of(from, first, false), Of(to, behind, true)], [RowExtent.Literal(1)], 10, [], 0, 0), "Row", ["p0", "p1"], (2, 1), 256) { IsEverywhere = to.Space == MemorySpace.Block };
        }

        Assert.Equal("0p 1p", Of(Row(buffers[0], 0, parted, 0), Row(buffers[1], 0, parted, 10)));
        Assert.Equal("0p meet 1p", Of(Row(buffers[0], 0, parted, 0), Row(buffers[1], 0, parted, 9)));
        Assert.Equal("0p p1", Of(Row(buffers[0], 0, parted, 10), Row(parted, 0, buffers[1], 0)));
        Assert.Equal("0o wait o1 wait 0o", Of(Row(buffers[0], 0, own, 0), Row(own, 0, buffers[1], 0), Row(buffers[0], 0, own, 0)));
        Assert.Equal("0o meet o0 meet 0o", Of(Row(buffers[0], 0, own, 0), Row(own, 0, buffers[0], 0), Row(buffers[0], 0, own, 0)));
        Assert.Equal([0, 0, 2], CudaMeetings.Insert([Row(buffers[2], 0, own, 0), Row(buffers[0], 0, parted, 0), Row(buffers[1], 0, parted, 10)]).OfType<CudaLaunch>().Select(launch => launch.First));
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

    private static CompiledPlans Compile(string family, TrainingSpec? training, CudaLaunches launches, DeclaredArgument[] arguments)
        => ModelCompiler.Plan(new ModelSpec(new TypeIdentity("Example", [], "Example", "public", "Example.Example"), family, new(arguments), training, null) { HasCuda = true, CudaLaunches = (global::ModelGen.Compiler.CudaLaunches)(int)launches }, CacheSizes.Default, default);
}
