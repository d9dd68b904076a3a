using System.Runtime.InteropServices;
using System.Text;
using ModelGen.Runtime;
using ModelGen.Tests.Ptx;

namespace ModelGen.Tests.Cuda;

/// <summary>The kernels that end a step, against the processor's: the norm within rounding, the updates to the bit.</summary>
public sealed unsafe class DeviceOptimizerTests
{
    private const int Length = 1403;

    public static TheoryData<string> Optimizers => ["adamw", "adamw with clipping", "descent", "momentum", "nesterov"];

    [Theory]
    [MemberData(nameof(Optimizers))]
    public void Updates_are_those_of_the_processor_to_the_bit(string name)
    {
        Optimizer optimizer = name switch
        {
            "adamw" => new AdamW { WeightDecay = 0.1f },
            "adamw with clipping" => new AdamW { GradientClip = 0.25f },
            "descent" => new Sgd { WeightDecay = 0.02f, GradientClip = 3 },
            "momentum" => new Sgd { Momentum = 0.9f },
            _ => new Sgd { Momentum = 0.9f, Nesterov = true, WeightDecay = 0.02f },
        };
        (float[] weights, float[] gradients) = (Numbers(0), Numbers(1));
        float[][] slots = [Numbers(2), [.. Numbers(3).Select(Math.Abs)]];
        float[][] expectedSlots = [[.. slots[0]], [.. slots[1]]];
        float[] expected = [.. weights], combined = [.. expectedSlots[0], .. expectedSlots[1]];
        OptimizerUpdate update = optimizer.CreateUpdate(null);
        update.Begin(step: 3, learningRate: 0.01f);

        // Chunks of ragged lengths, with weight decay and without.
        (int Start, int Length, bool Decays)[] chunks = [(0, 1024, true), (1024, 300, false), (1324, 79, true)];
        double sum = gradients.Sum(g => (double)g * g);
        float scale = optimizer.GradientClip == 0 ? 1 : (float)Math.Min(1, optimizer.GradientClip / (Math.Sqrt(sum) + 1e-6));

        float[] numbers = new float[24], sums = new float[2 + chunks.Length];
        numbers[0] = optimizer.GradientClip;
        update.WriteCoefficients(decays: false, numbers.AsSpan(8, 8));
        update.WriteCoefficients(decays: true, numbers.AsSpan(16, 8));
        byte[] table = [.. chunks.SelectMany(c => BitConverter.GetBytes(4L * c.Start).Concat(BitConverter.GetBytes(c.Length)).Concat(BitConverter.GetBytes(c.Decays ? 1 : 0)).Concat(BitConverter.GetBytes(c.Start == 0 ? 4L * Length : 0)))];

        // Behind the weights is the copy of the first chunk in bfloat16, and of the others there is none.
        float[] block = [.. weights, .. new float[Length]];

        Dictionary<string, PtxEntryPoint> kernels = PtxEntryPoint.Read(Encoding.UTF8.GetString(CudaOptimizers.Layout.Module()));
        Assert.Equal(CudaOptimizers.Layout.Kernels, kernels.Keys);
        var machine = new PtxMachine();
        fixed (float* w = block, g = gradients, m = slots[0], v = slots[1], n = numbers, s = sums)
        fixed (byte* t = table)
        {
            machine.Allow(w, 4 * block.Length, nameof(weights));
            machine.Allow(g, 4 * Length, nameof(gradients));
            machine.Allow(m, 4 * Length, "slot 0");
            machine.Allow(v, 4 * Length, "slot 1");
            machine.Allow(n, 4 * numbers.Length, nameof(numbers));
            machine.Allow(s, 4 * sums.Length, nameof(sums));
            machine.Allow(t, table.Length, nameof(table));
            machine.Launch(kernels["SumOfSquares"], chunks.Length, 1, 256, Arguments((ulong)t, (ulong)g, (ulong)(s + 2)));
            machine.Launch(kernels["Norm"], 1, 1, 256, Arguments((ulong)(s + 2), (ulong)chunks.Length, (ulong)n, (ulong)s));
            Assert.Equal(Math.Sqrt(sum), sums[0], 1e-5 * Math.Sqrt(sum));
            Assert.Equal(scale, sums[1], 1e-6f);
            sums[1] = scale;
            machine.Launch(kernels[optimizer.DeviceKernel!], chunks.Length, 1, 256, Arguments((ulong)t, (ulong)(n + 8), (ulong)s, (ulong)w, (ulong)g, (ulong)m, (ulong)v));
        }

        fixed (float* w = expected, g = gradients, c = combined)
        {
            foreach ((int start, int length, bool decays) in chunks)
            {
                update.Update(new OptimizerRange(w + start, g + start, c + start, Length, length) { SlotCount = 2, GradientScale = scale, Step = 3, LearningRate = 0.01f, WeightDecay = decays });
            }
        }

        Assert.Equal(expected, block[..Length]);
        ReadOnlySpan<ushort> halves = MemoryMarshal.Cast<float, ushort>(block.AsSpan(Length));
        for (int i = 0; i < halves.Length; i++)
        {
            uint bits = i < chunks[0].Length ? BitConverter.SingleToUInt32Bits(expected[i]) : 0;
            Assert.Equal((ushort)((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16), halves[i]);
        }

        Assert.Equal(combined, (float[])[.. slots[0], .. slots[1]]);
    }

    private static byte[] Arguments(params ulong[] values)
    {
        // A count is a word, and what follows it is aligned as addresses are.
        return MemoryMarshal.AsBytes(values.AsSpan()).ToArray();
    }

    private static float[] Numbers(int seed)
    {
        var random = new Random(seed);
        return [.. Enumerable.Range(0, Length).Select(_ => (float)((2 * random.NextDouble()) - 1))];
    }
}
