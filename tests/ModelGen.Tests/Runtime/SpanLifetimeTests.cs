using System.Runtime.CompilerServices;
using ModelGen.Runtime;
using ModelGen.Tests.Infrastructure;
using ModelGen.Tests.Models;

namespace ModelGen.Tests.Runtime;

/// <summary>A span that the user holds keeps its memory alive, and nothing else does.</summary>
[Collection(SerialCollection.Name)]
public sealed class SpanLifetimeTests
{
    // Large enough that memory that was freed would be gone, or another model's.
    private const int Wide = 1_500_000;

    [Fact]
    public void A_parameter_outlives_its_model()
    {
        TiedGpt kept = TiedGpt.Create(seed: 7);
        string name = TiedGpt.Parameters[0].Name;
        Span<float> parameter = TiedGpt.Create(seed: 7).Parameter(name);
        Collect(() => TiedGpt.Create(seed: 8));
        Assert.True(parameter.SequenceEqual(kept.Parameter(name)));
        parameter.Fill(3);
        Collect(() => TiedGpt.Create(seed: 8));
        Assert.False(parameter.ContainsAnyExcept(3));
    }

    [Fact]
    public void Parameters_outlive_their_weights_and_a_disposal()
    {
        using ModelWeights kept = New(1);
        Span<float> forgotten = New(1).Parameter("wide");
        Span<float> disposed = Disposed();
        Collect(() => New(2));
        Assert.True(forgotten.SequenceEqual(kept.Parameter("wide")));
        Assert.True(disposed.SequenceEqual(kept.Parameter("wide")));
        disposed.Fill(2);
        Collect(() => New(2));
        Assert.False(disposed.ContainsAnyExcept(2));

        static Span<float> Disposed()
        {
            using ModelWeights weights = New(1);
            return weights.Parameter("wide");
        }
    }

    [Fact]
    public void A_gradient_outlives_its_trainer()
    {
        using ModelWeights weights = New(1);
        float[] expected = [.. Gradient(weights, dispose: false)];
        Assert.Contains(expected, static gradient => gradient != 0);
        ReadOnlySpan<float> forgotten = Gradient(weights, dispose: false);
        ReadOnlySpan<float> disposed = Gradient(weights, dispose: true);
        Collect(() => Gradient(weights, dispose: true));
        Assert.True(forgotten.SequenceEqual(expected));
        Assert.True(disposed.SequenceEqual(expected));
    }

    [Fact]
    public void What_nobody_refers_to_is_collected()
    {
        long before = GC.GetTotalMemory(forceFullCollection: true);
        for (int i = 0; i < 12; i++)
        {
            Use(i);
        }

        Assert.InRange(GC.GetTotalMemory(forceFullCollection: true) - before, long.MinValue, 5L * Wide * sizeof(float));

        [MethodImpl(MethodImplOptions.NoInlining)]
        static void Use(int seed)
        {
            ModelWeights weights = New(seed);
            Gradient(weights, dispose: seed % 2 == 0);
        }
    }

    [Fact]
    public void A_block_is_zeroed_aligned_and_as_long_as_it_says()
    {
        for (int floats = 0; floats < 200; floats++)
        {
            var block = new PinnedBlock(floats);
            unsafe
            {
                Assert.Equal(0, (nint)block.Floats % 64);
                Assert.Equal((floats + 15) / 16 * 64, block.ByteLength);
                Span<float> all = block.Span(0, (int)(block.ByteLength / sizeof(float)));
                Assert.False(all.ContainsAnyExcept(0));
                all.Fill(floats);
                Assert.Equal(all.Length, all.Count(floats));
                Assert.True(all.IsEmpty || Unsafe.AreSame(ref all[0], ref *block.Floats));
            }
        }
    }

    [Fact]
    public void A_block_that_is_too_large_is_refused_with_a_reason()
    {
        Assert.Throws<ArgumentOutOfRangeException>(() => new PinnedBlock(-1));
        Assert.Throws<ArgumentOutOfRangeException>(() => new PinnedBlock(16L << 31));
        Assert.Throws<OverflowException>(() => new PinnedBlock(long.MaxValue));
    }

    [Fact]
    public void A_parameter_longer_than_a_span_says_so()
    {
        var table = new ParameterTable("M", new ParameterInfo("huge", [1 << 16, 1 << 16], 0, false, ParameterInitializerKind.Zeros, 0, true));
        var block = new PinnedBlock(16);
        InvalidOperationException exception = Assert.Throws<InvalidOperationException>(() => { table.Span(block, "huge"); });
        Assert.Contains("4294967296 elements", exception.Message, StringComparison.Ordinal);
    }

    private static ModelWeights New(int seed) => ModelWeights.Create(FakeModels.Table(Wide), seed);

    [MethodImpl(MethodImplOptions.NoInlining)]
    private static ReadOnlySpan<float> Gradient(ModelWeights weights, bool dispose)
    {
        var trainer = new FakeTrainer(weights, new Sgd { LearningRate = 0 }, new TrainerOptions { Threads = 1 });
        trainer.Step(FakeModels.Tokens(6, 1), FakeModels.Tokens(6, 2));
        ReadOnlySpan<float> gradient = trainer.Gradient("wide");
        if (dispose)
        {
            trainer.Dispose();
        }

        return gradient;
    }

    /// <summary>Collects whatever can be, finalizers included, and has others take the memory that became free.</summary>
    private static void Collect(Action allocate)
    {
        for (int i = 0; i < 3; i++)
        {
            GC.Collect();
            GC.WaitForPendingFinalizers();
            allocate();
        }
    }
}
