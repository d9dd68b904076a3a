using System.Diagnostics;
using System.Globalization;
using System.Net;
using System.Net.Sockets;
using ModelGen.Runtime;
using ModelGen.Tests.Infrastructure;
using static ModelGen.Tests.Cuda.DeviceCheck;

namespace ModelGen.Tests.Cuda;

/// <summary>Several ranks that train together, on the stand-ins for the driver and for NCCL, in one process and in several.</summary>
[Collection(SerialCollection.Name)]
public sealed class DataParallelTests
{
    private const int Steps = 6;
    private const string Port = "MODELGEN_TEST_RANK_PORT";
    private const string File = "MODELGEN_TEST_RANK_FILE";

    private static AdamW Optimizer => new() { LearningRate = 0.01f, Epsilon = 1e-3f, GradientClip = 0.5f, WeightDecay = 0.1f, Schedule = new WarmupCosine(2, 10) };

    /// <summary>Two processes, two micro-batches each, against one that accumulates all four: on the device to a few bits, on the processor within tolerance. Both processes end with the same bits.</summary>
    [Fact]
    public async Task Two_processes_train_as_one_does_with_the_batches_of_both()
    {
        int port = FreePort();
        using var file = new TemporaryFile("rank1.safetensors");
        Task child = Task.Run(() => ChildProcess.RunCheck(SecondRank, (Port, port.ToString(CultureInfo.InvariantCulture)), (File, file.Path)), TestContext.Current.CancellationToken);
        DeviceGpt here = Train(0, port, out float[] losses);
        await child;
        DeviceGpt there = DeviceGpt.Load(file.Path);
        foreach (ParameterInfo parameter in DeviceGpt.Parameters)
        {
            Assert.Equal(here.Parameter(parameter.Name).ToArray(), there.Parameter(parameter.Name).ToArray());
        }

        using var driver = new StandInDriver();
        foreach (TrainerOptions options in (TrainerOptions[])[new() { AccumulationSteps = 4, Device = DeviceOf(driver) }, new() { AccumulationSteps = 4 }])
        {
            DeviceGpt model = DeviceGpt.Create(seed: 3);
            using DeviceGpt.Trainer trainer = model.CreateTrainer(Optimizer, options);
            for (int i = 0; i < Steps; i++)
            {
                trainer.Step([.. Inputs(0, i), .. Inputs(1, i)], [.. Targets(0, i), .. Targets(1, i)]);
            }

            foreach (ParameterInfo parameter in DeviceGpt.Parameters)
            {
                Near(driver, model.Parameter(parameter.Name), here.Parameter(parameter.Name), 1e-5f);
            }
        }

        // One rank alone comes to somewhere else.
        DeviceGpt alone = DeviceGpt.Create(seed: 3);
        using (DeviceGpt.Trainer trainer = alone.CreateTrainer(Optimizer, new TrainerOptions { AccumulationSteps = 2 }))
        {
            Assert.Equal(losses[0], trainer.Step(Inputs(0, 0), Targets(0, 0)), 1e-4);
            for (int i = 1; i < Steps; i++)
            {
                trainer.Step(Inputs(0, i), Targets(0, i));
            }
        }

        Assert.Contains(DeviceGpt.Parameters, parameter => alone.Parameter(parameter.Name).ToArray().Zip(here.Parameter(parameter.Name).ToArray()).Any(pair => Math.Abs(pair.First - pair.Second) > 1e-3f));
    }

    [Check]
    private static void SecondRank()
    {
        DeviceGpt model = Train(1, int.Parse(Environment.GetEnvironmentVariable(Port)!, CultureInfo.InvariantCulture), out _);
        model.Save(Environment.GetEnvironmentVariable(File)!);
    }

    private static DeviceGpt Train(int rank, int port, out float[] losses)
    {
        using var driver = new StandInDriver();
        DeviceGpt model = DeviceGpt.Create(seed: 3);
        losses = new float[Steps];
        using (DeviceGpt.Trainer trainer = model.CreateTrainer(Optimizer, Options(driver, rank, 2, port) with { AccumulationSteps = 2 }))
        {
            for (int i = 0; i < Steps; i++)
            {
                losses[i] = trainer.Step(Inputs(rank, i), Targets(rank, i));
            }
        }

        Empty(driver);
        return model;
    }

    /// <summary>Ranks draw dropout of their own, as micro-batches of one process do; and an optimizer of one's own, whose update runs here, has the gradients of all.</summary>
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Dropout_and_optimizers_of_ones_own(bool own)
    {
        int port = FreePort();
        Optimizer Of() => own ? new Descent() : new Sgd { LearningRate = 0.1f };
        (DeviceLstm Model, float Loss, float Norm)[] ranks = Together(2, (rank, driver) =>
        {
            DeviceLstm model = DeviceLstm.Create(seed: 5);
            using DeviceLstm.Trainer trainer = model.CreateTrainer(Of(), Options(driver, rank, 2, port));
            float loss = trainer.Step(Ids(12, 13), Ids(12, 13, 5));
            return (model, loss, trainer.GradientNorm);
        });
        Assert.NotEqual(ranks[0].Loss, ranks[1].Loss);
        Assert.Equal(ranks[0].Norm, ranks[1].Norm);
        DeviceLstm before = DeviceLstm.Create(seed: 5);
        foreach (ParameterInfo parameter in DeviceLstm.Parameters)
        {
            Assert.Equal(ranks[0].Model.Parameter(parameter.Name).ToArray(), ranks[1].Model.Parameter(parameter.Name).ToArray());
            Assert.NotEqual(before.Parameter(parameter.Name).ToArray(), ranks[0].Model.Parameter(parameter.Name).ToArray());
        }
    }

    public static TheoryData<int, string> Differences => new()
    {
        { 0, "the model is DeviceWindowGpt there, and DeviceGpt on rank 0" },
        { 1, "the digest of the weights is " },
        { 2, "the setting LearningRate is 0.25 there, and 0.01 on rank 0" },
        { 3, "the setting AccumulationSteps is 2 there, and 1 on rank 0" },
        { 4, "A process came as rank 1 of 3, and there are 2 to rank 0." },
        { 5, "the optimizer is Sgd there, and AdamW on rank 0" },
    };

    [Theory]
    [MemberData(nameof(Differences))]
    public void Ranks_that_train_something_else_are_told_in_what(int difference, string expected)
    {
        int port = FreePort();
        string[] messages = Together(2, (rank, driver) =>
        {
            TrainerOptions options = Options(driver, rank, 2, port);
            return Assert.Throws<CudaException>(() => (Trainer)(rank == 0 ? DeviceGpt.Create(3).CreateTrainer(Optimizer, options) : difference switch
            {
                0 => DeviceWindowGpt.Create(3).CreateTrainer(Optimizer, options),
                1 => DeviceGpt.Create(4).CreateTrainer(Optimizer, options),
                2 => DeviceGpt.Create(3).CreateTrainer(new AdamW { LearningRate = 0.25f, Epsilon = 1e-3f, GradientClip = 0.5f, WeightDecay = 0.1f, Schedule = new WarmupCosine(2, 10) }, options),
                3 => DeviceGpt.Create(3).CreateTrainer(Optimizer, options with { AccumulationSteps = 2 }),
                4 => DeviceGpt.Create(3).CreateTrainer(Optimizer, Options(driver, rank, 3, port)),
                _ => DeviceGpt.Create(3).CreateTrainer(new Sgd { LearningRate = 0.1f }, options),
            })).Message;
        });
        Assert.All(messages, message => Assert.Contains(expected, message, StringComparison.Ordinal));
    }

    /// <summary>Who waits for a rank that is gone is told, and does not wait for ever: before a step, and in the middle of one.</summary>
    [Theory]
    [InlineData(0, true)]
    [InlineData(1, true)]
    [InlineData(0, false)]
    [InlineData(1, false)]
    [InlineData(2, false)]
    public void A_rank_that_is_gone_is_noticed(int gone, bool fails)
    {
        int port = FreePort();
        const int Ranks = 3;
        long start = Stopwatch.GetTimestamp();
        using var left = new ManualResetEventSlim();
        Together(Ranks, (rank, driver) =>
        {
            DeviceMlp model = DeviceMlp.Create(seed: 3);
            using (DeviceMlp.Trainer trainer = model.CreateTrainer(new Sgd { LearningRate = 0.1f }, Options(driver, rank, Ranks, port)))
            {
                trainer.Step(Numbers(20), Ids(4, 3, rank));
                if (rank == gone)
                {
                    if (fails)
                    {
                        driver.Failures["cuMemcpyHtoDAsync_v2"] = (driver.Calls["cuMemcpyHtoDAsync_v2"] + 1, 719);
                        Assert.Contains("CUDA_ERROR_LAUNCH_FAILED", Assert.Throws<CudaException>(() => trainer.Step(Numbers(20), Ids(4, 3, rank))).Message, StringComparison.Ordinal);
                    }

                    left.Set();
                    return 0;
                }

                if (rank == (gone == 0 ? 1 : 0))
                {
                    left.Wait(TimeSpan.FromSeconds(30));
                }

                CudaException exception = Assert.Throws<CudaException>(() => trainer.Step(Numbers(20), Ids(4, 3, rank)));
                Assert.Contains(fails ? "A rank of the training has failed: " : FormattableString.Invariant($"Rank {gone} has left the training"), exception.Message, StringComparison.Ordinal);
                Assert.Equal(exception.Message, Assert.Throws<CudaException>(() => trainer.Step(Numbers(20), Ids(4, 3, rank))).Message);
                Assert.Equal(1, trainer.StepCount);
            }

            return 0;
        });
        Assert.True(Stopwatch.GetElapsedTime(start) < TimeSpan.FromSeconds(60));
        Assert.Equal(0, StandInNccl.Live);
    }

    /// <summary>A rank that fails between the others' greeting and NCCL's meeting, or never comes to that, keeps nobody waiting longer than the timeout says, whoever it is.</summary>
    [Theory]
    [InlineData(0, "Failing")]
    [InlineData(1, "Failing")]
    [InlineData(2, "Failing")]
    [InlineData(0, "Absent")]
    [InlineData(2, "Absent")]
    public void A_rank_that_does_not_come_to_the_meeting_is_noticed(int missing, string how)
    {
        int port = FreePort();
        const int Ranks = 3;
        long start = Stopwatch.GetTimestamp();
        string[] messages = Together(Ranks, (rank, driver) =>
        {
            TrainerOptions options = Options(driver, rank, Ranks, port);
            DataParallel parallel = options.DataParallel! with { Timeout = TimeSpan.FromSeconds(how == "Absent" ? 4 : 100) };
            options = options with { DataParallel = rank == missing ? parallel with { Library = () => StandInNccl.Load(instead: how) } : parallel };
            string message = Throws(options).Message;
            Empty(driver);
            return message;
        });
        Assert.All(messages, message => Assert.True(message.Contains("meeting as rank", StringComparison.OrdinalIgnoreCase), message));
        Assert.True(Stopwatch.GetElapsedTime(start) < TimeSpan.FromSeconds(60));
        Assert.Equal(0, StandInNccl.Live);
    }

    /// <summary>Versions of NCCL before 2.14 have meetings that block alone.</summary>
    [Fact]
    public void Ranks_meet_in_an_older_library()
    {
        int port = FreePort();
        float[] losses = Together(2, (rank, driver) =>
        {
            TrainerOptions options = Options(driver, rank, 2, port);
            using DeviceMlp.Trainer trainer = Create(options with { DataParallel = options.DataParallel! with { Library = () => StandInNccl.Load(lacks: "ncclCommInitRankConfig") } });
            return trainer.Step(Numbers(20), Ids(4, 3));
        });
        Assert.Equal(losses[0], losses[1]);
        Assert.Equal(0, StandInNccl.Live);
    }

    /// <summary>Who comes to the port and is no rank, or says nothing, keeps nobody from meeting; who never comes is named.</summary>
    [Fact]
    public void Strangers_and_ranks_that_never_come()
    {
        int port = FreePort();
        Together(2, (rank, driver) =>
        {
            if (rank == 1)
            {
                using var stranger = Connect(port);
                stranger.Send("GET / HTTP/1.1\r\n\r\n"u8);
                Connect(port).Dispose();
            }

            DeviceMlp.Create(3).CreateTrainer(new Sgd { LearningRate = 0.1f }, Options(driver, rank, 2, port)).Dispose();
            return 0;
        });
        using var driver = new StandInDriver();
        TrainerOptions alone = Options(driver, 0, 3, FreePort());
        alone = alone with { DataParallel = alone.DataParallel! with { Timeout = TimeSpan.FromMilliseconds(200) } };
        Assert.Contains("Rank 1 has not come to 127.0.0.1:", Throws(alone).Message, StringComparison.Ordinal);
        alone = alone with { DataParallel = alone.DataParallel with { Rank = 2 } };
        Assert.Contains("Rank 0 is not found at 127.0.0.1:", Throws(alone).Message, StringComparison.Ordinal);
        Empty(driver);

        static Socket Connect(int port)
        {
            while (true)
            {
                var socket = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
                try
                {
                    socket.Connect(IPAddress.Loopback, port);
                    return socket;
                }
                catch (SocketException)
                {
                    socket.Dispose();
                    Thread.Sleep(10);
                }
            }
        }
    }

    [Fact]
    public void What_is_missing_is_said()
    {
        using var driver = new StandInDriver();
        TrainerOptions options = Options(driver, 0, 1, FreePort());
        DataParallel parallel = options.DataParallel!;
        Assert.Contains("the library libmodelgen-no-nccl.so is not found", Throws(options with { DataParallel = parallel with { Library = () => NcclLibrary.Load("libmodelgen-no-nccl.so") } }).Message, StringComparison.Ordinal);
        Assert.Contains("it has no ncclCommAbort", Throws(options with { DataParallel = parallel with { Library = () => StandInNccl.Load(lacks: "ncclCommAbort") } }).Message, StringComparison.Ordinal);
        Assert.Contains("NCCL is of version 2.8.4, and 2.10.0 or later is needed", Throws(options with { DataParallel = parallel with { Library = () => StandInNccl.Load(isOld: true) } }).Message, StringComparison.Ordinal);
        Assert.Contains("needs a CUDA device for each: the options ask for the processor", Assert.Throws<InvalidOperationException>(() => Create(options with { Device = Device.Cpu })).Message, StringComparison.Ordinal);
        Assert.Contains("There is no rank 1 of 1", Assert.Throws<ArgumentException>(() => Create(options with { DataParallel = parallel with { Rank = 1 } })).Message, StringComparison.Ordinal);
        Assert.Throws<ArgumentOutOfRangeException>(() => parallel with { Ranks = 0 });
        Assert.Throws<ArgumentOutOfRangeException>(() => parallel with { Rank = -1 });
        Assert.Throws<ArgumentOutOfRangeException>(() => parallel with { Timeout = TimeSpan.Zero });
        Empty(driver);
    }

    private static CudaException Throws(TrainerOptions options) => Assert.Throws<CudaException>(() => Create(options));

    private static DeviceMlp.Trainer Create(TrainerOptions options) => DeviceMlp.Create(3).CreateTrainer(new Sgd { LearningRate = 0.1f }, options);

    private static TrainerOptions Options(StandInDriver driver, int rank, int ranks, int port) => new()
    {
        Device = DeviceOf(driver),
        DataParallel = new DataParallel { Rank = rank, Ranks = ranks, Address = new IPEndPoint(IPAddress.Loopback, port), Timeout = TimeSpan.FromSeconds(100), Library = () => StandInNccl.Load() },
    };

    /// <summary>Runs ranks beside each other, each with a device of its own.</summary>
    private static T[] Together<T>(int ranks, Func<int, StandInDriver, T> run)
    {
        var results = new T[ranks];
        var failures = new Exception?[ranks];
        Thread[] threads = [.. Enumerable.Range(0, ranks).Select(rank => new Thread(() =>
        {
            try
            {
                using var driver = new StandInDriver();
                results[rank] = run(rank, driver);
                Assert.Null(driver.Fault);
            }
            catch (Exception exception)
            {
                failures[rank] = exception;
            }
        }))];
        foreach (Thread thread in threads)
        {
            thread.Start();
        }

        foreach (Thread thread in threads)
        {
            thread.Join();
        }

        Assert.Equal("", string.Join("\n", failures.OfType<Exception>()));
        return results;
    }

    private static int FreePort()
    {
        using var listener = new TcpListener(IPAddress.Loopback, 0);
        listener.Start();
        return ((IPEndPoint)listener.LocalEndpoint).Port;
    }

    private static int[] Inputs(int rank, int step) => Ids(20, 17, (10 * step) + (3 * rank));

    private static int[] Targets(int rank, int step) => Ids(20, 17, (10 * step) + (3 * rank) + 5);

    /// <summary>An optimizer without a kernel for devices.</summary>
    private sealed class Descent() : Optimizer(0.1f)
    {
        public override string Name => "descent";

        public override IReadOnlyList<string> Slots => [];

        public override void Update(in OptimizerRange range)
        {
            for (int i = 0; i < range.Length; i++)
            {
                range.Weights[i] -= range.LearningRate * range.GradientScale * range.Gradients[i];
            }
        }
    }
}
