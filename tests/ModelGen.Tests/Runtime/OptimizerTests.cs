using ModelGen.Runtime;
using ModelGen.Tests.Infrastructure;

namespace ModelGen.Tests.Runtime;

/// <summary>Each optimizer against a scalar implementation in double precision, written from PyTorch's documentation.</summary>
public sealed unsafe class OptimizerTests
{
    private static readonly int[] s_lengths = [0, 1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 33, 63, 64, 65, 127, 200, 257, 4096];

    public static TheoryData<int> Lengths => [.. s_lengths];

    [Theory]
    [MemberData(nameof(Lengths))]
    public void AdamW_follows_the_formula(int length)
    {
        foreach (bool decay in new[] { false, true })
        {
            var optimizer = new AdamW { LearningRate = 3e-3f, Beta1 = 0.8f, Beta2 = 0.95f, Epsilon = 1e-6f, WeightDecay = 0.1f };
            double[] m = new double[length];
            double[] v = new double[length];
            Check(optimizer, length, decay, (w, g, i, step) =>
            {
                const double beta1 = 0.8;
                const double beta2 = 0.95;
                m[i] = (beta1 * m[i]) + ((1 - beta1) * g);
                v[i] = (beta2 * v[i]) + ((1 - beta2) * g * g);
                double corrected1 = m[i] / (1 - Math.Pow(beta1, step));
                double corrected2 = v[i] / (1 - Math.Pow(beta2, step));
                return w - (decay ? 3e-3 * 0.1 * w : 0) - (3e-3 * corrected1 / (Math.Sqrt(corrected2) + 1e-6));
            });
        }
    }

    [Theory]
    [MemberData(nameof(Lengths))]
    public void Sgd_follows_the_formula(int length)
    {
        foreach (bool decay in new[] { false, true })
        {
            foreach ((float momentum, bool nesterov) in new[] { (0f, false), (0f, true), (0.9f, false), (0.9f, true) })
            {
                var optimizer = new Sgd { LearningRate = 0.02f, Momentum = momentum, Nesterov = nesterov, WeightDecay = 0.05f };
                double[] b = new double[length];
                double mu = momentum == 0 ? 0 : 0.9;
                Check(optimizer, length, decay, (w, g, i, step) =>
                {
                    g += decay ? 0.05 * w : 0;
                    b[i] = step == 1 ? g : (mu * b[i]) + g;
                    return w - (0.02 * (nesterov ? g + (mu * b[i]) : b[i]));
                });
            }
        }
    }

    [Fact]
    public void Cutting_a_range_changes_no_bit()
    {
        foreach (Optimizer optimizer in new Optimizer[] { new AdamW(), new Sgd { Momentum = 0.9f, Nesterov = true, WeightDecay = 0.1f }, new Sgd() })
        {
            const int length = 100;
            float[] whole = Values(length, 1);
            float[] parts = Values(length, 1);
            float[] gradients = Values(length, 2);
            float[] slots = new float[length * 2];
            float[] slotsOfParts = new float[length * 2];
            for (int step = 1; step <= 5; step++)
            {
                Update(optimizer, whole, gradients, slots, 0, length, step, 0.5f, decay: true);
                int start = 0;
                foreach (int part in new[] { 1, 6, 3, 17, 8, 65 })
                {
                    Update(optimizer, parts, gradients, slotsOfParts, start, part, step, 0.5f, decay: true);
                    start += part;
                }
            }

            Assert.Equal(whole, parts);
            Assert.Equal(slots, slotsOfParts);
        }
    }

    [Fact]
    public void Without_momentum_Sgd_needs_no_memory()
    {
        Assert.Empty(new Sgd().Slots);
        Assert.Equal(["momentum_buffer"], new Sgd { Momentum = 0.5f }.Slots);
        Assert.Equal(["exp_avg", "exp_avg_sq"], new AdamW().Slots);
    }

    [Fact]
    public void Settings_outside_their_range_are_refused()
    {
        Assert.Throws<ArgumentOutOfRangeException>("LearningRate", () => new AdamW { LearningRate = -1 });
        Assert.Throws<ArgumentOutOfRangeException>("LearningRate", () => new Sgd { LearningRate = float.NaN });
        Assert.Throws<ArgumentOutOfRangeException>("GradientClip", () => new Sgd { GradientClip = float.PositiveInfinity });
        Assert.Throws<ArgumentOutOfRangeException>("Beta1", () => new AdamW { Beta1 = 1 });
        Assert.Throws<ArgumentOutOfRangeException>("Beta2", () => new AdamW { Beta2 = -0.1f });
        Assert.Throws<ArgumentOutOfRangeException>("Epsilon", () => new AdamW { Epsilon = -1 });
        Assert.Throws<ArgumentOutOfRangeException>("WeightDecay", () => new AdamW { WeightDecay = -1 });
        Assert.Throws<ArgumentOutOfRangeException>("Momentum", () => new Sgd { Momentum = 1.5f });
    }

    /// <summary>Vaswani et al. 2017, section 5.3, and its peak, 0.0007 for the base model.</summary>
    [Fact]
    public void The_papers_schedule_rises_to_the_end_of_the_warm_up_and_falls_with_the_root_of_the_step()
    {
        var schedule = new InverseSquareRoot(512);
        for (long step = 1; step < 50_000; step += 173)
        {
            Assert.Equal(Math.Pow(512, -0.5) * Math.Min(Math.Pow(step, -0.5), step * Math.Pow(4000, -1.5)), schedule.Factor(step - 1), 1e-15);
        }

        Assert.Equal(6.987712e-4, schedule.Factor(3999), 1e-9);
        Assert.Equal("InverseSquareRoot(512, 4000)", schedule.ToString());
        Assert.Throws<ArgumentOutOfRangeException>(() => new InverseSquareRoot(0));
        Assert.Throws<ArgumentOutOfRangeException>(() => new InverseSquareRoot(512, 0));
        Assert.Throws<ArgumentOutOfRangeException>(() => schedule.Factor(-1));
    }

    [Fact]
    public void The_schedule_has_the_shape_of_nanoGPT()
    {
        var schedule = new WarmupCosine(100, 2000, 0.1);
        Assert.Equal(1 / 101.0, schedule.Factor(0), 15);
        Assert.Equal(100 / 101.0, schedule.Factor(99), 15);
        Assert.Equal(1, schedule.Factor(100), 15);
        Assert.Equal(0.55, schedule.Factor(1050), 12);
        Assert.Equal(0.1, schedule.Factor(2000), 15);
        Assert.Equal(0.1, schedule.Factor(long.MaxValue), 15);
        for (long step = 100; step < 2000; step++)
        {
            Assert.True(schedule.Factor(step) > schedule.Factor(step + 1));
        }

        Assert.Equal(1, new WarmupCosine(0, 10, 0).Factor(0), 15);
        Assert.Equal(0.5, new WarmupCosine(0, 0, 0.5).Factor(0), 15);
        Assert.Equal(1, new Constant().Factor(7));
        Assert.Throws<ArgumentOutOfRangeException>(() => new WarmupCosine(-1, 10));
        Assert.Throws<ArgumentOutOfRangeException>(() => new WarmupCosine(11, 10));
        Assert.Throws<ArgumentOutOfRangeException>(() => new WarmupCosine(1, 10, double.NaN));
        Assert.Throws<ArgumentOutOfRangeException>(() => schedule.Factor(-1));
    }

    [Theory]
    [InlineData("MODELGEN_VECTOR_BITS", "128")]
    [InlineData("MODELGEN_VECTOR_BITS", "256")]
    [InlineData("MODELGEN_VECTOR_BITS", "512")]
    [InlineData("DOTNET_EnableAVX2", "0")]
    [InlineData("DOTNET_EnableHWIntrinsic", "0")]
    public void Every_vector_width_gives_the_bits_of_the_scalar_formula(string variable, string value)
        => ChildProcess.RunCheck(BitsOfTheScalarFormula, (variable, value));

    [Fact]
    public void The_width_in_use_gives_the_bits_of_the_scalar_formula() => BitsOfTheScalarFormula();

    [Check]
    private static void BitsOfTheScalarFormula()
    {
        foreach (int length in s_lengths)
        {
            SumsHaveTheirOrder(length);
            AdamWRoundsEachOperationOnce(length);
        }
    }

    private static void SumsHaveTheirOrder(int length)
    {
        float[] values = Values(length, 5);
        double[] lanes = new double[16];
        for (int i = 0; i < length; i++)
        {
            lanes[i % 16] += (double)values[i] * values[i];
        }

        for (int half = 8; half > 0; half /= 2)
        {
            for (int lane = 0; lane < half; lane++)
            {
                lanes[lane] += lanes[lane + half];
            }
        }

        Assert.Equal(lanes[0], GradientMath.SumOfSquares(values));
    }

    private static void AdamWRoundsEachOperationOnce(int length)
    {
        var optimizer = new AdamW { LearningRate = 3e-3f, WeightDecay = 0.1f };
        OptimizerUpdate update = optimizer.CreateUpdate(null);
        float[] weights = Values(length, 1);
        float[] slots = new float[2 * length];
        float[] expected = Values(length, 1);
        float[] m = new float[length];
        float[] v = new float[length];
        // Up to where the powers of 0.9 and 0.999 no longer matter, and beyond.
        foreach (int step in new[] { 1, 2, 3, 399, 400, 401, 39_999, 40_001, 5_000_000 })
        {
            float[] gradients = Values(length, step + 10);
            update.Begin(step, optimizer.LearningRate);
            fixed (float* w = weights, g = gradients, s = slots)
            {
                var range = new OptimizerRange(w, g, s, length, length) { SlotCount = 2, GradientScale = 0.5f, Step = step, LearningRate = optimizer.LearningRate, WeightDecay = true };
                Assert.Equal(GradientMath.SumOfSquares(gradients), update.UpdateAndSum(in range));
            }

            float root = (float)Math.Sqrt(1 - Math.Pow(0.999, step));
            float rate = (float)-(optimizer.LearningRate / (1 - Math.Pow(0.9, step)));
            float decay = (float)(1 - ((double)optimizer.LearningRate * 0.1));
            for (int i = 0; i < length; i++)
            {
                float gradient = gradients[i] * 0.5f;
                m[i] = (m[i] * 0.9f) + (gradient * (float)(1 - 0.9));
                v[i] = (v[i] * 0.999f) + (gradient * (float)(1 - 0.999) * gradient);
                expected[i] = (expected[i] * decay) + (m[i] * rate / ((MathF.Sqrt(v[i]) / root) + 1e-8f));
            }

            Assert.Equal(expected, weights);
            Assert.Equal([.. m, .. v], slots);
        }
    }

    private static void Check(Optimizer optimizer, int length, bool decay, Func<double, double, int, int, double> reference)
    {
        // Guards around everything: an element too far must not be touched.
        const float guard = 12345;
        float[] weights = [guard, .. Values(length, 1), guard];
        float[] slots = new float[(length + 2) * 2];
        slots[length + 1] = slots[0] = guard;
        slots[(2 * length) + 3] = slots[length + 2] = guard;
        double[] expected = [.. weights[1..^1].Select(static w => (double)w)];
        for (int step = 1; step <= 20; step++)
        {
            float[] gradients = [guard, .. Values(length, step + 10), guard];
            Update(optimizer, weights, gradients, slots, 1, length, step, 0.5f, decay);
            for (int i = 0; i < length; i++)
            {
                expected[i] = reference(expected[i], 0.5 * gradients[i + 1], i, step);
                Assert.InRange(weights[i + 1], expected[i] - 2e-6, expected[i] + 2e-6);
            }
        }

        Assert.Equal(guard, weights[0]);
        Assert.Equal(guard, weights[^1]);
        Assert.Equal([guard, guard, guard, guard], new[] { slots[0], slots[length + 1], slots[length + 2], slots[^1] });
    }

    private static void Update(Optimizer optimizer, float[] weights, float[] gradients, float[] slots, int start, int length, int step, float scale, bool decay)
    {
        fixed (float* w = weights, g = gradients, s = slots)
        {
            var range = new OptimizerRange(w + start, g + start, s + start, slots.Length / 2, length)
            {
                SlotCount = optimizer.Slots.Count,
                GradientScale = scale,
                Step = step,
                LearningRate = optimizer.LearningRate,
                WeightDecay = decay,
            };
            optimizer.Update(in range);
        }
    }

    private static float[] Values(int length, int seed)
    {
        var random = new Random(seed);
        return [.. Enumerable.Range(0, length).Select(_ => (random.NextSingle() * 2) - 1)];
    }
}
