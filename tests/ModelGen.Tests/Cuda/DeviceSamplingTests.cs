using ModelGen.Runtime;
using static ModelGen.Tests.Cuda.DeviceCheck;

namespace ModelGen.Tests.Cuda;

/// <summary>The likeliest token, found on the device: the processor's token, and nothing else comes back.</summary>
public sealed class DeviceSamplingTests
{
    [Fact]
    public void Greedy_tokens_are_the_processors()
    {
        using var driver = new StandInDriver();
        DeviceGpt model = DeviceGpt.Create(seed: 7);
        using DeviceGpt.Session here = model.CreateSession(), there = model.CreateSession(Session(driver));
        TokenGenerator expected = Greedy(here), actual = Greedy(there);

        // Beyond the context, where the text begins again.
        Assert.Equal(Enumerable.Range(0, 15).Select(_ => expected.Next()), Enumerable.Range(0, 15).Select(_ => actual.Next()));
        Assert.Null(driver.Fault);
        here.Reset();
        there.Reset();
        for (int token = 0; token < 5; token++)
        {
            Assert.Equal(here.DecodeGreedy(token), there.DecodeGreedy(token));
        }

        Assert.Throws<ArgumentOutOfRangeException>(() => there.DecodeGreedy(17));
        Assert.Equal(5, there.Position);
    }

    [Fact]
    public void Eight_bytes_of_a_token_come_back()
    {
        using var driver = new StandInDriver();
        using DeviceGpt.Session session = DeviceGpt.Create(seed: 7).CreateSession(Session(driver));
        session.DecodeGreedy(1);
        driver.Calls.Clear();
        driver.CopiedToHost = 0;
        session.DecodeGreedy(2);
        Assert.Equal(8, driver.CopiedToHost);
        Assert.Equal(
            ["cuLaunchCooperativeKernel 1", "cuLaunchKernel 1", "cuMemcpyDtoHAsync_v2 1", "cuMemcpyHtoDAsync_v2 1", "cuStreamSynchronize 1"],
            driver.Calls.OrderBy(c => c.Key, StringComparer.Ordinal).Select(c => FormattableString.Invariant($"{c.Key} {c.Value}")));
    }

    /// <summary>The first of several, wherever they lie; and numbers that are none.</summary>
    [Theory]
    [InlineData(1, 0)]
    [InlineData(31, 30)]
    [InlineData(1000, 999)]
    [InlineData(5000, 1024, 3000, 4999)]
    [InlineData(5000, 4997)]
    [InlineData(40, 7, 8, 39)]
    public unsafe void The_first_of_the_largest_is_found(int count, params int[] largest)
    {
        float[] logits = [.. Numbers(count).Select(x => x - 3)];
        foreach (int index in largest)
        {
            logits[index] = -0.5f;
        }

        Assert.Equal((-0.5f, largest[0]), Largest(logits));
        Assert.Equal(Sampler.ArgMax(logits), Largest(logits).Index);
        logits[^1] = float.NaN;
        Assert.Equal((float.NaN, int.MaxValue), Largest(logits));
        Assert.Equal((float.NegativeInfinity, 0), Largest([.. Enumerable.Repeat(float.NegativeInfinity, count)]));
    }

    /// <summary>What the processor says of logits that are no numbers is said, and not before a token is asked for that they would choose.</summary>
    [Fact]
    public void Logits_that_are_no_numbers_are_refused_as_on_the_processor()
    {
        using var driver = new StandInDriver();
        DeviceGpt model = DeviceGpt.Create(seed: 7);
        using DeviceGpt.Session here = model.CreateSession(), there = model.CreateSession(Session(driver));
        TokenGenerator expected = Greedy(here), actual = Greedy(there);
        Assert.Equal(expected.Next(), actual.Next());
        model.Parameter("transformer.ln_f.weight")[0] = float.NaN;
        Assert.Equal(expected.Next(), actual.Next());
        string message = Assert.Throws<ArgumentException>(() => expected.Next()).Message;
        Assert.Equal(message, Assert.Throws<ArgumentException>(() => actual.Next()).Message);
        Assert.Equal(message, Assert.Throws<ArgumentException>(() => there.DecodeGreedy(3)).Message);
        Assert.Null(driver.Fault);
    }

    private static TokenGenerator Greedy(CausalSession session)
    {
        var generator = new TokenGenerator(session, new Sampler(new SamplingOptions { Temperature = 0 }, session.VocabularySize));
        generator.Start([1, 2, 3]);
        return generator;
    }

    private static unsafe (float Value, int Index) Largest(float[] logits)
    {
        var machine = new Ptx.PtxMachine();
        int* result = stackalloc int[2];
        fixed (float* first = logits)
        {
            machine.Allow(first, logits.Length * sizeof(float), "logits");
            machine.Allow(result, 8, "result");
            byte[] parameters = new byte[24];
            BitConverter.TryWriteBytes(parameters, (ulong)first);
            BitConverter.TryWriteBytes(parameters.AsSpan(8), logits.Length);
            BitConverter.TryWriteBytes(parameters.AsSpan(16), (ulong)result);
            machine.Launch(Ptx.PtxEntryPoint.Read(System.Text.Encoding.UTF8.GetString(CudaSampling.Layout.Module()))["Largest"], 1, 1, CudaSampling.Threads, parameters);
        }

        return (BitConverter.Int32BitsToSingle(result[0]), result[1]);
    }
}
