using System.Globalization;
using ModelGen.Tests.Text;
using Xunit;

namespace ModelGen.Tests.Training;

public class TrainingLoopTests
{
    private const int Batch = 3, Length = 5, Vocabulary = 17;

    [Theory]
    [InlineData(BatchOrder.Shuffled, 1)]
    [InlineData(BatchOrder.Shuffled, 2)]
    [InlineData(BatchOrder.Sequential, 1)]
    public void AnInterruptedRunContinuesBitForBit(BatchOrder order, int accumulation)
    {
        using var folder = new TemporaryFolder();
        var options = new TrainingLoopOptions
        {
            Steps = 60,
            EvaluateEvery = 7,
            CheckpointPath = folder.File("run.safetensors"),
            Metadata = new Dictionary<string, string> { ["model"] = "bigram" },
        };

        var expected = new List<(long, float, double, float, float)>();
        var expectedEvaluations = new List<TrainingEvaluation>();
        using BigramTrainer whole = NewTrainer(accumulation);
        TrainingLoop loop = NewLoop(whole, order, options with { CheckpointPath = null });
        loop.OnStep = step => expected.Add((step.Step, step.Loss, step.SmoothedLoss, step.LearningRate, step.GradientNorm));
        loop.OnEvaluate = expectedEvaluations.Add;
        TrainingResult complete = loop.Run();
        Assert.Equal(TrainingStopReason.Completed, complete.Reason);
        Assert.Equal(60, complete.Steps);
        Assert.Equal(60, expected.Count);

        // A new process each time: nothing but the file survives. Some stops fall on a step at which an evaluation is due.
        var found = new List<(long, float, double, float, float)>();
        var foundEvaluations = new List<TrainingEvaluation>();
        TrainingResult? last = null;
        byte[]? weights = null;
        foreach (int stop in new[] { 1, 7, 8, 20, 42, 49, 50, 60 })
        {
            using BigramTrainer trainer = NewTrainer(accumulation);
            TrainingLoop part = NewLoop(trainer, order, options);
            if (stop > 1)
                Assert.Equal("bigram", part.Resume(options.CheckpointPath!)["model"]);
            using var cancellation = new CancellationTokenSource();
            part.OnStep = step =>
            {
                found.Add((step.Step, step.Loss, step.SmoothedLoss, step.LearningRate, step.GradientNorm));
                if (step.Step == stop && stop < 60)
                    cancellation.Cancel();
            };
            part.OnEvaluate = foundEvaluations.Add;
            last = part.Run(cancellation.Token);
            Assert.Equal(stop < 60 ? TrainingStopReason.Cancelled : TrainingStopReason.Completed, last.Reason);
            Assert.Equal(stop, last.Steps);
            weights = System.Runtime.InteropServices.MemoryMarshal.AsBytes(trainer.Weights.Parameter("table")).ToArray();
        }

        Assert.Equal(expected, found);
        Assert.Equal(expectedEvaluations, foundEvaluations);
        Assert.Equal(System.Runtime.InteropServices.MemoryMarshal.AsBytes(whole.Weights.Parameter("table")).ToArray(), weights);
        Assert.Equal(complete with { TokensPerSecond = 0 }, last! with { TokensPerSecond = 0 });
    }

    [Fact]
    public void TheLossFallsAndTheBestCheckpointIsKept()
    {
        using var folder = new TemporaryFolder();
        using BigramTrainer trainer = BigramTrainer.Create(Batch, Length, carriesState: false);
        var evaluations = new List<TrainingEvaluation>();
        var saved = new List<string>();
        TrainingLoop loop = NewLoop(trainer, BatchOrder.Shuffled, new TrainingLoopOptions
        {
            Steps = 150,
            EvaluateEvery = 10,
            BestCheckpointPath = folder.File("best.safetensors"),
            CheckpointPath = folder.File("last.safetensors"),
        });
        loop.OnEvaluate = evaluations.Add;
        loop.OnCheckpoint = saved.Add;
        TrainingResult result = loop.Run();

        Assert.Equal(15, evaluations.Count);
        Assert.Equal(evaluations.Min(e => e.Loss), result.BestLoss);
        Assert.Equal(evaluations.MinBy(e => e.Loss).Step, result.BestStep);
        Assert.Equal(evaluations[^1].Loss, result.ValidationLoss);
        Assert.True(result.BestLoss < 0.7 * evaluations[0].Loss, $"{evaluations[0].Loss} -> {result.BestLoss}");
        Assert.Equal(evaluations.Count(e => e.Improved), saved.Count(path => path.EndsWith("best.safetensors", StringComparison.Ordinal)));
        Assert.Equal(1, saved.Count(path => path.EndsWith("last.safetensors", StringComparison.Ordinal)));

        // The file holds the weights of the best evaluation, not the last ones.
        using BigramTrainer best = BigramTrainer.Create(Batch, Length, carriesState: false);
        best.LoadCheckpoint(folder.File("best.safetensors"));
        Assert.Equal(result.BestStep, best.StepCount);
        Assert.Equal(result.BestLoss, NewEvaluator().Evaluate(best));
    }

    [Fact]
    public void PatienceEndsTheRunEarly()
    {
        // Learning nothing is the sure way not to improve.
        using BigramTrainer trainer = BigramTrainer.Create(Batch, Length, learningRate: 0);
        var evaluated = new List<long>();
        TrainingLoop loop = NewLoop(trainer, BatchOrder.Shuffled, new TrainingLoopOptions { Steps = 1000, EvaluateEvery = 4, Patience = 3 });
        loop.OnEvaluate = e => evaluated.Add(e.Step);
        TrainingResult result = loop.Run();
        Assert.Equal(TrainingStopReason.EarlyStop, result.Reason);
        Assert.Equal([4, 8, 12, 16], evaluated);
        Assert.Equal(16, result.Steps);
        Assert.Equal(4, result.BestStep);
    }

    [Fact]
    public void SmallImprovementsDoNotCount()
    {
        using BigramTrainer trainer = NewTrainer();
        TrainingLoop loop = NewLoop(
            trainer, BatchOrder.Shuffled, new TrainingLoopOptions { Steps = 1000, EvaluateEvery = 2, Patience = 2, MinimumImprovement = 100 });
        TrainingResult result = loop.Run();
        Assert.Equal(TrainingStopReason.EarlyStop, result.Reason);
        Assert.Equal(6, result.Steps);
    }

    [Fact]
    public void PatienceSurvivesAResume()
    {
        using var folder = new TemporaryFolder();
        var options = new TrainingLoopOptions
        {
            Steps = 10,
            EvaluateEvery = 4,
            Patience = 3,
            CheckpointPath = folder.File("run.safetensors"),
        };
        using (BigramTrainer first = BigramTrainer.Create(Batch, Length, learningRate: 0))
            Assert.Equal(TrainingStopReason.Completed, NewLoop(first, BatchOrder.Shuffled, options).Run().Reason);
        using BigramTrainer second = BigramTrainer.Create(Batch, Length, learningRate: 0);
        TrainingLoop loop = NewLoop(second, BatchOrder.Shuffled, options with { Steps = 1000 });
        loop.Resume(options.CheckpointPath);

        // Evaluations at 4, 8, 10 (the end of the first run), 12: the first is the best, three more exhaust the patience.
        Assert.Equal(12, loop.Run().Steps);
    }

    /// <summary>A metric that rises and then falls: the best step is the metric's, whatever the loss does; without a held-out part, too, and over a resume.</summary>
    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void AMetricDecidesWhatIsBest(bool evaluates)
    {
        using var folder = new TemporaryFolder();
        double[] values = [0.25, 0.5, double.NaN, 0.75, 0.76, 0.75, 0.5, 0.25, 1];
        int next = 0;
        var options = new TrainingLoopOptions
        {
            Steps = 1000,
            EvaluateEvery = 2,
            Patience = 3,
            MinimumImprovement = 0.1,
            Metric = new TrainingMetric("exact match", () => values[next++]),
            CheckpointPath = folder.File("run.safetensors"),
            BestCheckpointPath = folder.File("best.safetensors"),
        };
        using (BigramTrainer first = NewTrainer())
            Assert.Equal(10, Loop(first, options with { Steps = 10 }).Run().Steps);
        using BigramTrainer second = NewTrainer();
        TrainingLoop loop = Loop(second, options);
        loop.Resume(options.CheckpointPath);
        var evaluations = new List<TrainingEvaluation>();
        loop.OnEvaluate = evaluations.Add;
        TrainingResult result = loop.Run();

        // At 10 the value was better by 0.01 only; 12 and 14 are worse.
        Assert.Equal(TrainingStopReason.EarlyStop, result.Reason);
        Assert.Equal((14, 8, 0.75), (result.Steps, result.BestStep, result.BestMetric));
        Assert.Equal([0.75, 0.5], evaluations.Select(e => e.Metric));
        Assert.Equal(evaluates, double.IsFinite(result.ValidationLoss));
        Assert.Equal(evaluates, double.IsFinite(result.BestLoss));
        using BigramTrainer best = NewTrainer();
        best.LoadCheckpoint(options.BestCheckpointPath!);
        Assert.Equal(8, best.StepCount);

        // Nor is it where the same measure is better the other way.
        using BigramTrainer other = NewTrainer();
        next = 0;
        loop = Loop(other, options with { Steps = 14, Metric = new TrainingMetric("exact match", () => values[next++], MetricDirection.Lower), CheckpointPath = null, BestCheckpointPath = null });
        loop.Resume(options.CheckpointPath!);
        Assert.Equal(-1, loop.Run().BestStep);

        // By another measure, nothing is known to be the best.
        using BigramTrainer third = NewTrainer();
        loop = NewLoop(third, BatchOrder.Shuffled, new TrainingLoopOptions { Steps = 14 });
        loop.Resume(options.CheckpointPath);
        Assert.Equal(-1, loop.Run().BestStep);

        TrainingLoop Loop(BigramTrainer trainer, TrainingLoopOptions options)
            => evaluates ? NewLoop(trainer, BatchOrder.Shuffled, options) : new TrainingLoop(trainer, new TokenBatchLoader(Training(), Batch, Length, BatchOrder.Shuffled, 1), null, options);
    }

    [Fact]
    public void EarlyStoppingWatchesEitherDirection()
    {
        var lower = new EarlyStopping(patience: 2, minimumImprovement: 0.5);
        Assert.Equal([true, false, true, false, false], new[] { 3, 2.6, 2.4, 2, double.NaN }.Select(lower.Improves));
        Assert.Equal((2.4, 2, true), (lower.Best, lower.StaleCount, lower.ShouldStop));
        var higher = new EarlyStopping(patience: 0, direction: MetricDirection.Higher);
        Assert.Equal([false, true, true, false], new[] { double.PositiveInfinity, 1, 1.5, 1.5 }.Select(higher.Improves));
        Assert.False(higher.ShouldStop);
        Assert.Throws<ArgumentOutOfRangeException>(() => new EarlyStopping(-1));
        Assert.Throws<ArgumentOutOfRangeException>(() => new EarlyStopping(1, double.NaN));
    }

    [Fact]
    public void CancellationDuringAnEvaluationIsRepeatedAfterResuming()
    {
        using var folder = new TemporaryFolder();
        var options = new TrainingLoopOptions { Steps = 20, EvaluateEvery = 10, CheckpointPath = folder.File("run.safetensors") };
        using var cancellation = new CancellationTokenSource();
        int evaluations = 0;
        using (BigramTrainer trainer = NewTrainer())
        {
            trainer.BeforeEvaluation = () =>
            {
                if (++evaluations == 2)
                    cancellation.Cancel();
            };
            TrainingLoop loop = NewLoop(trainer, BatchOrder.Shuffled, options);
            loop.OnEvaluate = _ => Assert.Fail("the evaluation was not finished");
            TrainingResult result = loop.Run(cancellation.Token);
            Assert.Equal(TrainingStopReason.Cancelled, result.Reason);
            Assert.Equal(10, result.Steps);
        }
        using BigramTrainer resumed = NewTrainer();
        var evaluated = new List<long>();
        TrainingLoop rest = NewLoop(resumed, BatchOrder.Shuffled, options);
        rest.Resume(options.CheckpointPath);
        rest.OnEvaluate = e => evaluated.Add(e.Step);
        rest.Run();
        Assert.Equal([10, 20], evaluated);
    }

    [Fact]
    public void CallbacksComeWhenTheyAreDue()
    {
        using var folder = new TemporaryFolder();
        using BigramTrainer trainer = NewTrainer();
        var events = new List<string>();
        TrainingLoop loop = NewLoop(trainer, BatchOrder.Shuffled, new TrainingLoopOptions
        {
            Steps = 7,
            EvaluateEvery = 3,
            SampleEvery = 2,
            CheckpointEvery = 4,
            CheckpointPath = folder.File("run.safetensors"),
        });
        loop.OnStep = step => events.Add(string.Create(CultureInfo.InvariantCulture, $"step {step.Step}/{step.TotalSteps}"));
        loop.OnEvaluate = e => events.Add(string.Create(CultureInfo.InvariantCulture, $"evaluate {e.Step}"));
        loop.OnSample = step => events.Add(string.Create(CultureInfo.InvariantCulture, $"sample {step}"));
        loop.OnCheckpoint = path => events.Add("save");
        loop.Run();
        Assert.Equal(
            [
                "step 1/7", "step 2/7", "sample 2", "step 3/7", "evaluate 3", "step 4/7", "sample 4", "save", "step 5/7", "step 6/7",
                "evaluate 6", "sample 6", "step 7/7", "evaluate 7", "save",
            ],
            events);
    }

    /// <summary>What a result says of its run, it does not say of the runs before it.</summary>
    [Fact]
    public void ASecondRunIsMeasuredByItself()
    {
        using BigramTrainer trainer = NewTrainer();
        using var cancellation = new CancellationTokenSource();
        TrainingLoop loop = NewLoop(trainer, BatchOrder.Shuffled, new TrainingLoopOptions { Steps = 20, MeasureAllocations = true, WarmupMeasurementSteps = 5 });
        loop.OnStep = step =>
        {
            if (step.Step == 12)
                cancellation.Cancel();
        };
        TrainingResult first = loop.Run(cancellation.Token);
        Assert.Equal((TrainingStopReason.Cancelled, 12, 7), (first.Reason, first.Steps, first.MeasuredSteps));
        TrainingResult second = loop.Run();
        Assert.Equal((TrainingStopReason.Completed, 20, 3), (second.Reason, second.Steps, second.MeasuredSteps));
        TrainingResult third = loop.Run();
        Assert.Equal((TrainingStopReason.Completed, 20, 0, 0d), (third.Reason, third.Steps, third.MeasuredSteps, third.TokensPerSecond));
    }

    [Fact]
    public void OtherSettingsOfTheOptimizerAreTold()
    {
        using var folder = new TemporaryFolder();
        string path = folder.File("run.safetensors");
        using (BigramTrainer trainer = NewTrainer())
        {
            NewLoop(trainer, BatchOrder.Shuffled, new TrainingLoopOptions { Steps = 3, CheckpointPath = path }).Run();
        }
        using BigramTrainer same = NewTrainer();
        NewLoop(same, BatchOrder.Shuffled, new TrainingLoopOptions { Steps = 4 }).Resume(path);
        Assert.Empty(same.ChangedSettings);
        using BigramTrainer other = BigramTrainer.Create(Batch, Length, Vocabulary, accumulation: 2, learningRate: 0.05f);
        NewLoop(other, BatchOrder.Shuffled, new TrainingLoopOptions { Steps = 4 }).Resume(path);
        Assert.Equal([new("LearningRate", "0.1", "0.05"), new("AccumulationSteps", "1", "2")], other.ChangedSettings);
    }

    [Fact]
    public void NoStepsStillEvaluateAndSave()
    {
        using var folder = new TemporaryFolder();
        using BigramTrainer trainer = NewTrainer();
        TrainingResult result = NewLoop(
            trainer, BatchOrder.Shuffled, new TrainingLoopOptions { Steps = 0, CheckpointPath = folder.File("run.safetensors") }).Run();
        Assert.Equal(0, result.Steps);
        Assert.True(double.IsNaN(result.SmoothedLoss));
        Assert.InRange(result.ValidationLoss, 2, 4);
        Assert.True(File.Exists(folder.File("run.safetensors")));
    }

    [Fact]
    public void TheStateIsResetWhenRowsBeginAnew()
    {
        using BigramTrainer shuffled = NewTrainer();
        NewLoop(shuffled, BatchOrder.Shuffled, new TrainingLoopOptions { Steps = 30 }).Run();
        Assert.Equal(30, shuffled.FreshSteps);

        using BigramTrainer sequential = NewTrainer();
        var loader = new TokenBatchLoader(Training(), Batch, Length, BatchOrder.Sequential, 1);
        long perEpoch = loader.CountInEpoch;
        new TrainingLoop(sequential, loader, null, new TrainingLoopOptions { Steps = 2 * perEpoch - 3 }).Run();
        Assert.Equal(2, sequential.FreshSteps);
    }

    [Fact]
    public void MicroBatchesOfShuffledWindowsBeginAnew()
    {
        using BigramTrainer accumulating = NewTrainer(accumulation: 3);
        TrainingLoop loop = NewLoop(accumulating, BatchOrder.Shuffled, new TrainingLoopOptions { Steps = 10 });
        loop.Run();
        Assert.Equal(30, accumulating.FreshSteps);

        // Only the loop knows that they are independent: a caller's own steps go on, as they are said to.
        accumulating.ResetState();
        int[] inputs = new int[3 * Batch * Length];
        accumulating.Step(inputs, inputs);
        Assert.Equal(31, accumulating.FreshSteps);
    }

    [Fact]
    public void EvaluationsOfIndependentWindowsBeginAnew()
    {
        using BigramTrainer trainer = NewTrainer();
        var evaluator = new LossEvaluator(Training(), Batch, Length);
        Assert.True(evaluator.Batches > 3);
        double sum = 0, count = 0, carried = 0;
        foreach (bool carries in (bool[])[false, true])
        {
            trainer.ResetEvaluationState();
            for (long batch = 0; batch < evaluator.Batches; batch++)
            {
                int counted = evaluator.Load(batch);
                if (!carries)
                    trainer.ResetEvaluationState();
                double loss = counted * (double)trainer.Evaluate(evaluator.LoadedInputs, evaluator.LoadedTargets);
                (sum, count, carried) = carries ? (sum, count, carried + loss) : (sum + loss, count + counted, carried);
            }
        }
        Assert.NotEqual(sum, carried);
        Assert.Equal(sum / count, evaluator.Evaluate(trainer));
    }

    [Fact]
    public void EvaluationsLeaveTheTrainingStateAlone()
    {
        static float[] Losses(long evaluateEvery)
        {
            using BigramTrainer trainer = NewTrainer();
            var losses = new List<float>();
            TrainingLoop loop = NewLoop(trainer, BatchOrder.Sequential, new TrainingLoopOptions { Steps = 40, EvaluateEvery = evaluateEvery });
            loop.OnStep = step => losses.Add(step.Loss);
            loop.Run();
            return [.. losses];
        }

        Assert.Equal(Losses(0), Losses(3));
    }

    [Fact]
    public void ALossThatIsNotFiniteEndsTheRunAndKeepsTheCheckpoint()
    {
        using var folder = new TemporaryFolder();
        using BigramTrainer trainer = NewTrainer();
        string path = folder.File("run.safetensors");
        TrainingLoop loop = NewLoop(trainer, BatchOrder.Shuffled, new TrainingLoopOptions { Steps = 10, CheckpointEvery = 2, CheckpointPath = path });
        byte[]? saved = null;
        loop.OnCheckpoint = _ => saved = File.ReadAllBytes(path);
        loop.OnStep = step =>
        {
            if (step.Step == 5)
                trainer.Weights.Parameter("table").Fill(float.NaN);
        };
        Assert.Contains("Step 6", Assert.Throws<ArithmeticException>(() => loop.Run()).Message, StringComparison.Ordinal);
        Assert.Equal(saved, File.ReadAllBytes(path));
    }

    [Fact]
    public void ACheckpointOfAnotherRunIsRefused()
    {
        using var folder = new TemporaryFolder();
        string path = folder.File("run.safetensors");
        using BigramTrainer trainer = NewTrainer();
        NewLoop(trainer, BatchOrder.Shuffled, new TrainingLoopOptions { Steps = 3, CheckpointPath = path }).Run();

        void Refused(string field, TokenBatchLoader loader)
        {
            using BigramTrainer other = NewTrainer();
            var exception = Assert.Throws<ModelFileException>(
                () => new TrainingLoop(other, loader, null, new TrainingLoopOptions { Steps = 5 }).Resume(path));
            Assert.Equal(field, exception.Field);
        }

        Refused("loop.seed", new TokenBatchLoader(Training(), Batch, Length, BatchOrder.Shuffled, 2));
        Refused("loop.order", new TokenBatchLoader(Training(), Batch, Length, BatchOrder.Sequential, 1));
        Refused("loop.data_length", new TokenBatchLoader(Data(399), Batch, Length, BatchOrder.Shuffled, 1));
        Refused("loop.data_fingerprint", new TokenBatchLoader(Data(400, 1), Batch, Length, BatchOrder.Shuffled, 1));

        using BigramTrainer foreign = BigramTrainer.Create(Batch, Length, vocabulary: 18);
        Assert.Throws<ModelFileException>(
            () => new TrainingLoop(
                foreign, new TokenBatchLoader(Training(), Batch, Length, BatchOrder.Shuffled, 1), null, new TrainingLoopOptions { Steps = 5 }).Resume(path));

        // A checkpoint that no loop wrote.
        trainer.SaveCheckpoint(path);
        Refused("loop.format", new TokenBatchLoader(Training(), Batch, Length, BatchOrder.Shuffled, 1));

        // Damaged loop state.
        trainer.SaveCheckpoint(path, new Dictionary<string, string>
        {
            ["loop.format"] = "1",
            ["loop.order"] = "Shuffled",
            ["loop.seed"] = "1",
            ["loop.data_length"] = "400",
            ["loop.data_fingerprint"] = "nonsense",
        });
        Refused("loop.data_fingerprint", new TokenBatchLoader(Training(), Batch, Length, BatchOrder.Shuffled, 1));
    }

    [Theory]
    [InlineData("loop.epoch", "-1", "loop.position")]
    [InlineData("loop.position", "999999", "loop.position")]
    [InlineData("loop.position", "x", "loop.position")]
    [InlineData("loop.best_loss", "", "loop.best_loss")]
    [InlineData("loop.stale_evaluations", "-3", "loop.stale_evaluations")]
    [InlineData("loop.smoothed_sum", "1,5", "loop.smoothed_sum")]
    [InlineData("loop.smoothed_sum", "-1", "loop.smoothed_sum")]
    [InlineData("loop.smoothed_sum", "Infinity", "loop.smoothed_sum")]
    [InlineData("loop.smoothed_weight", "NaN", "loop.smoothed_weight")]
    [InlineData("loop.smoothed_weight", "1.1", "loop.smoothed_weight")]
    [InlineData("loop.best_loss", "-0.5", "loop.best_loss")]
    [InlineData("loop.best_loss", "NaN", "loop.best_loss")]
    [InlineData("loop.last_loss", "-1", "loop.last_loss")]
    [InlineData("loop.best_step", "4", "loop.best_step")]
    [InlineData("loop.evaluated_step", "4", "loop.evaluated_step")]
    [InlineData("loop.evaluated_step", "-2", "loop.evaluated_step")]
    [InlineData("loop.stale_evaluations", "2147483648", "loop.stale_evaluations")]
    [InlineData("loop.epoch", "9223372036854775807", "loop.position")]
    [InlineData("loop.sequence_length", "99", "loop.sequence_length")]
    [InlineData("loop.order", "\u001b[31mShuffled", "loop.order")]
    public void DamagedLoopStateIsRefused(string key, string value, string field)
    {
        using var folder = new TemporaryFolder();
        string path = folder.File("run.safetensors");
        using BigramTrainer trainer = NewTrainer();
        NewLoop(trainer, BatchOrder.Shuffled, new TrainingLoopOptions { Steps = 3, CheckpointPath = path }).Run();
        var metadata = new Dictionary<string, string>(trainer.LoadCheckpoint(path)) { [key] = value };
        trainer.SaveCheckpoint(path, metadata);
        TrainingLoop loop = NewLoop(trainer, BatchOrder.Shuffled, new TrainingLoopOptions { Steps = 3 });
        trainer.Weights.Parameter("table")[0] = 7;
        ModelFileException refused = Assert.Throws<ModelFileException>(() => loop.Resume(path));
        Assert.Equal(field, refused.Field);
        Assert.DoesNotContain('\u001b', refused.Message);

        // Neither the loop nor the trainer was restored.
        Assert.Equal(7, trainer.Weights.Parameter("table")[0]);
    }

    [Theory]
    [InlineData("NaN", 2, 2, false)]
    [InlineData("-0.5", 2, 2, false)]
    [InlineData("0.5", 2, 2, true)]
    [InlineData("0.5", 3, 2, false)]
    [InlineData("0.5", -1, 2, false)]
    [InlineData("NaN", -1, 2, true)]
    public void TheBestLossIsOneOfAnEvaluation(string bestLoss, int bestStep, int evaluatedStep, bool fits)
    {
        using var folder = new TemporaryFolder();
        string path = folder.File("run.safetensors");
        using BigramTrainer trainer = NewTrainer();
        NewLoop(trainer, BatchOrder.Shuffled, new TrainingLoopOptions { Steps = 3, CheckpointPath = path }).Run();
        var metadata = new Dictionary<string, string>(trainer.LoadCheckpoint(path))
        {
            ["loop.best_loss"] = bestLoss,
            ["loop.last_loss"] = "0.75",
            ["loop.best_step"] = $"{bestStep}",
            ["loop.evaluated_step"] = $"{evaluatedStep}",
        };
        trainer.SaveCheckpoint(path, metadata);
        TrainingLoop loop = NewLoop(trainer, BatchOrder.Shuffled, new TrainingLoopOptions { Steps = 3 });
        if (fits)
            loop.Resume(path);
        else
            Assert.Throws<ModelFileException>(() => loop.Resume(path));
    }

    [Fact]
    public void WrongSetupsAreReported()
    {
        using BigramTrainer trainer = NewTrainer();
        using BigramTrainer accumulating = NewTrainer(2);
        var options = new TrainingLoopOptions { Steps = 1 };
        Assert.Throws<ArgumentException>(() => new TrainingLoop(trainer, new TokenBatchLoader(Training(), 4, Length), null, options));
        Assert.Throws<ArgumentException>(() => new TrainingLoop(trainer, new TokenBatchLoader(Training(), Batch, 6), null, options));
        Assert.Throws<ArgumentException>(
            () => new TrainingLoop(trainer, new TokenBatchLoader(Training(), Batch, Length), new LossEvaluator(Held(), Batch, 4), options));
        Assert.Throws<ArgumentException>(
            () => new TrainingLoop(accumulating, new TokenBatchLoader(Training(), Batch, Length, BatchOrder.Sequential), null, options));
        Assert.Throws<ArgumentException>(
            () => NewLoop(trainer, BatchOrder.Shuffled, options with { Metadata = new Dictionary<string, string> { ["loop.x"] = "" } }));
        Assert.Throws<ArgumentOutOfRangeException>(() => new TrainingLoopOptions { Steps = -1 });
        Assert.Throws<ArgumentOutOfRangeException>(() => options with { Patience = -1 });
        Assert.Throws<ArgumentOutOfRangeException>(() => options with { EvaluateEvery = -1 });
        Assert.Throws<ArgumentOutOfRangeException>(() => options with { MinimumImprovement = double.NaN });
    }

    [Fact]
    public void MeasuredStepsAllocateNothing()
    {
        using BigramTrainer trainer = NewTrainer();
        long least = long.MaxValue;

        // The test host's other threads may allocate while a round runs: what the loop allocates would be in every round.
        for (int round = 0; round < 100 && least > 0; round++)
        {
            // Ten rounds are over in less time than the host may take to get quiet.
            Thread.Sleep(round);
            var loop = new TrainingLoop(
                trainer,
                new TokenBatchLoader(Training(), Batch, Length, BatchOrder.Shuffled, 1),
                null,
                new TrainingLoopOptions { Steps = trainer.StepCount + 60, MeasureAllocations = true, WarmupMeasurementSteps = 40 });
            TrainingResult result = loop.Run();
            Assert.Equal(20, result.MeasuredSteps);
            least = Math.Min(least, result.AllocatedBytes);
        }
        Assert.Equal(0, least);
    }

    [Fact]
    public void AnAllocationInAStepIsMeasured()
    {
        using BigramTrainer trainer = NewTrainer();
        object? kept = null;
        trainer.BeforeStep = () => kept = new byte[1000];
        TrainingLoop loop = NewLoop(trainer, BatchOrder.Shuffled, new TrainingLoopOptions { Steps = 20, MeasureAllocations = true });
        TrainingResult result = loop.Run();
        Assert.Equal(10, result.MeasuredSteps);
        Assert.True(result.AllocatedBytes >= 10_000, $"{result.AllocatedBytes} bytes");
        GC.KeepAlive(kept);
    }

    [Theory]
    [InlineData(2, false)]
    [InlineData(16, false)]
    [InlineData(31, false)]
    [InlineData(97, false)]
    [InlineData(2, true)]
    [InlineData(15, true)]
    [InlineData(16, true)]
    [InlineData(97, true)]
    public void EveryHeldOutTokenIsPredictedOnce(int tokens, bool carryState)
    {
        var evaluator = new LossEvaluator(TokenDataset.FromTokens(Enumerable.Range(0, tokens).ToArray()), Batch, Length, carryState);
        var predicted = new List<int>();
        for (long batch = 0; batch < evaluator.Batches; batch++)
        {
            int counted = evaluator.Load(batch);
            int targets = 0;
            for (int i = 0; i < Batch * Length; i++)
            {
                if (evaluator.LoadedTargets[i] == -1)
                    continue;
                Assert.Equal(evaluator.LoadedInputs[i] + 1, evaluator.LoadedTargets[i]);
                predicted.Add(evaluator.LoadedTargets[i]);
                targets++;
            }
            Assert.Equal(targets, counted);
            Assert.True(targets > 0);
        }
        Assert.Equal(Enumerable.Range(1, tokens - 1), predicted.Order());
    }

    [Fact]
    public void CarriedRowsContinueFromBatchToBatch()
    {
        var evaluator = new LossEvaluator(TokenDataset.FromTokens(Enumerable.Range(0, 100).ToArray()), Batch, Length, carryState: true);
        evaluator.Load(0);
        int[] ends = [.. Enumerable.Range(0, Batch).Select(row => evaluator.LoadedTargets[(row + 1) * Length - 1])];
        evaluator.Load(1);
        Assert.Equal(ends, Enumerable.Range(0, Batch).Select(row => evaluator.LoadedInputs[row * Length]));
    }

    [Fact]
    public void ALimitSpreadsTheWindowsEvenly()
    {
        var evaluator = new LossEvaluator(TokenDataset.FromTokens(Enumerable.Range(0, 1001).ToArray()), Batch, Length, maximumBatches: 4);
        Assert.Equal(4, evaluator.Batches);
        var starts = new List<int>();
        for (long batch = 0; batch < 4; batch++)
        {
            Assert.Equal(Batch * Length, evaluator.Load(batch));
            for (int row = 0; row < Batch; row++)
                starts.Add(evaluator.LoadedInputs[row * Length]);
        }
        Assert.Equal(starts.Order().Distinct(), starts);
        Assert.Equal(0, starts[0]);
        Assert.InRange(starts[^1], 900, 1000);
    }

    [Fact]
    public void TheEvaluationIsTheMeanOverAllTokens()
    {
        // 31 tokens make a last batch that is not full: means of batches must be weighted.
        using BigramTrainer trainer = BigramTrainer.Create(Batch, Length, carriesState: false);
        TokenDataset data = Data(31);
        double loss = new LossEvaluator(data, Batch, Length).Evaluate(trainer);
        var tokens = new int[31];
        data.CopyTo(0, tokens);
        Span<float> table = trainer.Weights.Parameter("table");
        double expected = 0;
        for (int i = 0; i < 30; i++)
        {
            Span<float> row = table.Slice(tokens[i] * Vocabulary, Vocabulary);
            double sum = 0;
            foreach (float logit in row)
                sum += Math.Exp(logit);
            expected += (Math.Log(sum) - row[tokens[i + 1]]) / 30;
        }
        Assert.Equal(expected, loss, 1e-5);
    }

    [Fact]
    public void EvaluatingNothingIsReported()
    {
        Assert.Throws<ArgumentException>(() => new LossEvaluator(TokenDataset.FromTokens(new[] { 1 }), 1, 1));
        using BigramTrainer trainer = NewTrainer();
        Assert.Throws<ArgumentException>(() => new LossEvaluator(Held(), Batch, 4).Evaluate(trainer));
        Assert.Throws<ArgumentOutOfRangeException>(() => new LossEvaluator(Held(), 1, 1, maximumBatches: -1));
    }

    private static BigramTrainer NewTrainer(int accumulation = 1) => BigramTrainer.Create(Batch, Length, Vocabulary, accumulation);

    private static TrainingLoop NewLoop(BigramTrainer trainer, BatchOrder order, TrainingLoopOptions options) =>
        new(trainer, new TokenBatchLoader(Training(), Batch, Length, order, 1), NewEvaluator(), options);

    private static LossEvaluator NewEvaluator() => new(Held(), Batch, Length);

    private static TokenDataset Training() => Data(400);

    private static TokenDataset Held() => Data(90, 5);

    // Mostly predictable: the next token is 3 more, one in five is random.
    private static TokenDataset Data(int length, ulong stream = 0)
    {
        var random = new CounterRandom(1, stream);
        var tokens = new int[length];
        for (int i = 1; i < length; i++)
            tokens[i] = random.NextInt32(5) == 0 ? random.NextInt32(Vocabulary) : (tokens[i - 1] + 3) % Vocabulary;
        return TokenDataset.FromTokens(tokens);
    }
}
