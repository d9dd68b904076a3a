using System.Diagnostics;
using ModelGen.Benchmarks.Measuring;
using ModelGen.Runtime;
using ModelGen.Tests.Infrastructure;

namespace ModelGen.Tests.Models;

/// <summary>Big enough that its products are nearly all of the work, small enough that a step fits between two interruptions of a busy machine.</summary>
[Mlp(128, 256, 256, 128, Loss = Loss.SquaredError)]
[Trainable(BatchSize = 96)]
public partial class SpeedMlp;

/// <summary>
/// Emitted products against multiply-adds in registers, on one thread: a share of what the processor can do, whatever processor that is,
/// where a time would say more about the machine. The floors are about half of what a healthy kernel reaches. Both are taken in short
/// turns and each counts with its best: a turn that another process disturbs counts for neither.
/// </summary>
[Collection(SerialCollection.Name)]
public sealed class KernelSpeedTests
{
    private const double ForwardFloor = 0.45;
    private const double StepFloor = 0.45;
    private const int CalibrationsPerTurn = 4;
    private const int FewestTurns = 100;
    private static readonly TimeSpan s_patience = TimeSpan.FromSeconds(30);

    private static double ForwardFlops => 2.0 * SpeedMlp.BatchSize * ((128 * 256) + (256 * 256) + (256 * 128));

#if DEBUG
    private const string? NotOptimized = "The kernels are not optimized in this configuration; run the tests with -c Release.";
#else
    private const string? NotOptimized = null;
#endif

    [Fact(Skip = NotOptimized)]
    public void Inference_keeps_its_share_of_the_processor()
    {
        using FeedForwardSession session = SpeedMlp.Create(1).CreateSession(new SessionOptions { Threads = 1 });
        var inputs = new float[SpeedMlp.BatchSize * SpeedMlp.InputSize];
        var outputs = new float[SpeedMlp.BatchSize * SpeedMlp.OutputSize];
        AssertShare(ForwardFloor, ForwardFlops, () => session.Predict(inputs, outputs));
    }

    [Fact(Skip = NotOptimized)]
    public void Training_keeps_its_share_of_the_processor()
    {
        using RegressionTrainer trainer = SpeedMlp.Create(1).CreateTrainer(new Sgd { LearningRate = 1e-4f }, new TrainerOptions { Threads = 1 });
        var inputs = new float[SpeedMlp.BatchSize * SpeedMlp.InputSize];
        var targets = new float[SpeedMlp.BatchSize * SpeedMlp.OutputSize];

        // Backward has two products for each of forward's, but for the first layer's inputs, whose gradient nobody needs.
        double flops = (3 * ForwardFlops) - (2.0 * SpeedMlp.BatchSize * 128 * 256);
        AssertShare(StepFloor, flops, () => trainer.Step(inputs, targets));
    }

    private static void AssertShare(double floor, double flops, Action operation)
    {
        double bestPeak = 0, bestRate = 0;
        long start = Stopwatch.GetTimestamp();
        for (int turn = 1; ; turn++)
        {
            bestPeak = Math.Max(bestPeak, Rate(Calibration.FmaFlops * CalibrationsPerTurn, static () =>
            {
                for (int i = 0; i < CalibrationsPerTurn; i++)
                {
                    Calibration.Fma();
                }
            }));
            bestRate = Math.Max(bestRate, Rate(flops, operation));
            if (turn >= FewestTurns && bestRate >= floor * bestPeak)
            {
                return;
            }

            Assert.True(
                turn < FewestTurns || Stopwatch.GetElapsedTime(start) < s_patience,
                FormattableString.Invariant($"At best {bestRate / 1e9:0.0} GFLOP/s of {bestPeak / 1e9:0.0} in registers ({Simd.PathName}): {bestRate / bestPeak:0.00}, expected {floor} or more."));
        }
    }

    private static double Rate(double flops, Action operation)
    {
        long start = Stopwatch.GetTimestamp();
        operation();
        return flops / Stopwatch.GetElapsedTime(start).TotalSeconds;
    }
}
