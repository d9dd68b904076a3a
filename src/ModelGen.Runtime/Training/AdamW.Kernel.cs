using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using ModelGen.Runtime;

namespace ModelGen;

public sealed partial class AdamW
{
    /// <summary>What a step's ranges share: the formula's numbers, with those of the step folded in.</summary>
    private readonly record struct Coefficients
    {
        public Coefficients(AdamW optimizer, long step, float learningRate, double weightDecay)
        {
            Beta1 = optimizer._beta1;
            Beta2 = optimizer._beta2;
            Rest1 = (float)(1 - optimizer._exactBeta1);
            Rest2 = (float)(1 - optimizer._exactBeta2);
            Epsilon = optimizer._epsilon;
            Decay = (float)(1 - (learningRate * weightDecay));
            Root = (float)Math.Sqrt(Correction(optimizer._exactBeta2, step));
            NegativeRate = (float)-(learningRate / Correction(optimizer._exactBeta1, step));
        }

        public float Beta1 { get; }

        public float Beta2 { get; }

        public float Rest1 { get; }

        public float Rest2 { get; }

        public float Epsilon { get; }

        /// <summary>1 − ηλ.</summary>
        public float Decay { get; }

        /// <summary>√(1 − β₂ᵗ).</summary>
        public float Root { get; }

        /// <summary>−η/(1 − β₁ᵗ).</summary>
        public float NegativeRate { get; }

        /// <summary>1 − βᵗ, which is 1 to the last bit from where βᵗ, at most e⁻⁽¹⁻ᵝ⁾ᵗ, is below 2⁻⁵⁷; there the power, a tenth of a tiny model's step, is not computed.</summary>
        private static double Correction(double beta, long step) => step * (1 - beta) > 40 ? 1 : 1 - Math.Pow(beta, step);
    }

    private sealed class Updater(AdamW optimizer, double weightDecay) : OptimizerUpdate(optimizer)
    {
        private readonly AdamW _optimizer = optimizer;
        private Coefficients _coefficients;

        public override void Begin(long step, float learningRate) => _coefficients = new Coefficients(_optimizer, step, learningRate, weightDecay);

        public override void WriteCoefficients(bool decays, Span<float> coefficients)
        {
            ref readonly Coefficients c = ref _coefficients;
            ReadOnlySpan<float> values = [decays ? c.Decay : 1, c.Beta1, c.Beta2, c.Rest1, c.Rest2, c.Epsilon, c.Root, c.NegativeRate];
            values.CopyTo(coefficients);
        }

        public override void Update(in OptimizerRange range) => Kernel.Update(in _coefficients, in range);

        public override double UpdateAndSum(in OptimizerRange range) => Kernel.UpdateAndSum(in _coefficients, in range);
    }

    /// <summary>
    /// The update of a range, at each vector width. Every operation is element-wise and rounds once, so the lanes of all widths agree
    /// to the bit, wherever a range begins or ends. It runs at the speed of memory: the root and the divisions hide behind it.
    /// </summary>
    private static unsafe class Kernel
    {
        public static void Update(in Coefficients c, in OptimizerRange range)
        {
            if (Simd.Use512)
            {
                Run512<No>(in c, in range);
            }
            else if (Simd.Use256)
            {
                Run256<No>(in c, in range);
            }
            else
            {
                Run128(in c, in range);
            }
        }

        public static double UpdateAndSum(in Coefficients c, in OptimizerRange range)
        {
            if (Simd.Use512)
            {
                return Run512<Yes>(in c, in range);
            }

            if (Simd.Use256)
            {
                return Run256<Yes>(in c, in range);
            }

            double sum = GradientMath.SumOfSquares(range.Gradients);
            Run128(in c, in range);
            return sum;
        }

        private static double Run512<TSum>(in Coefficients c, in OptimizerRange range)
            where TSum : struct, IChoice
        {
            float* w = range.WeightPointer;
            float* g = range.GradientPointer;
            float* m = range.SlotPointer(0);
            float* v = range.SlotPointer(1);
            Vector512<float> scale = Vector512.Create(range.GradientScale);
            Vector512<float> decay = Vector512.Create(range.WeightDecay ? c.Decay : 1);
            Vector512<float> beta1 = Vector512.Create(c.Beta1);
            Vector512<float> beta2 = Vector512.Create(c.Beta2);
            Vector512<float> rest1 = Vector512.Create(c.Rest1);
            Vector512<float> rest2 = Vector512.Create(c.Rest2);
            Vector512<float> root = Vector512.Create(c.Root);
            Vector512<float> epsilon = Vector512.Create(c.Epsilon);
            Vector512<float> negativeRate = Vector512.Create(c.NegativeRate);
            Vector512<double> sum0 = Vector512<double>.Zero;
            Vector512<double> sum1 = Vector512<double>.Zero;
            int length = range.Length;
            int i = 0;
            for (; i <= length - 16; i += 16)
            {
                Vector512<float> gradient = Vector512.Load(g + i);
                if (TSum.Value)
                {
                    GradientMath.AddSquares(gradient, ref sum0, ref sum1);
                }

                gradient *= scale;
                Vector512<float> first = (Vector512.Load(m + i) * beta1) + (gradient * rest1);
                Vector512<float> second = (Vector512.Load(v + i) * beta2) + (gradient * rest2 * gradient);
                first.Store(m + i);
                second.Store(v + i);
                ((Vector512.Load(w + i) * decay) + (first * negativeRate / ((Vector512.Sqrt(second) / root) + epsilon))).Store(w + i);
            }

            if (i < length)
            {
                int rest = length - i;
                Vector512<float> gradient = Simd.LoadTail512(g + i, rest);
                if (TSum.Value)
                {
                    GradientMath.AddSquares(gradient, ref sum0, ref sum1);
                }

                gradient *= scale;
                Vector512<float> first = (Simd.LoadTail512(m + i, rest) * beta1) + (gradient * rest1);
                Vector512<float> second = (Simd.LoadTail512(v + i, rest) * beta2) + (gradient * rest2 * gradient);
                Simd.StoreTail512(m + i, first, rest);
                Simd.StoreTail512(v + i, second, rest);
                Simd.StoreTail512(w + i, (Simd.LoadTail512(w + i, rest) * decay) + (first * negativeRate / ((Vector512.Sqrt(second) / root) + epsilon)), rest);
            }

            return TSum.Value ? GradientMath.Total(sum0, sum1) : 0;
        }

        private static double Run256<TSum>(in Coefficients c, in OptimizerRange range)
            where TSum : struct, IChoice
        {
            float* w = range.WeightPointer;
            float* g = range.GradientPointer;
            float* m = range.SlotPointer(0);
            float* v = range.SlotPointer(1);
            Vector256<float> scale = Vector256.Create(range.GradientScale);
            Vector256<float> decay = Vector256.Create(range.WeightDecay ? c.Decay : 1);
            Vector256<float> beta1 = Vector256.Create(c.Beta1);
            Vector256<float> beta2 = Vector256.Create(c.Beta2);
            Vector256<float> rest1 = Vector256.Create(c.Rest1);
            Vector256<float> rest2 = Vector256.Create(c.Rest2);
            Vector256<float> root = Vector256.Create(c.Root);
            Vector256<float> epsilon = Vector256.Create(c.Epsilon);
            Vector256<float> negativeRate = Vector256.Create(c.NegativeRate);
            Vector256<double> sum0 = Vector256<double>.Zero;
            Vector256<double> sum1 = Vector256<double>.Zero;
            Vector256<double> sum2 = Vector256<double>.Zero;
            Vector256<double> sum3 = Vector256<double>.Zero;
            int length = range.Length;
            int i = 0;
            for (; i <= length - 8; i += 8)
            {
                Vector256<float> gradient = Vector256.Load(g + i);
                if (TSum.Value)
                {
                    // The four sums take turns: sixteen lanes, eight at a time.
                    GradientMath.AddSquares(gradient, ref sum0, ref sum1);
                    (sum0, sum1, sum2, sum3) = (sum2, sum3, sum0, sum1);
                }

                gradient *= scale;
                Vector256<float> first = (Vector256.Load(m + i) * beta1) + (gradient * rest1);
                Vector256<float> second = (Vector256.Load(v + i) * beta2) + (gradient * rest2 * gradient);
                first.Store(m + i);
                second.Store(v + i);
                ((Vector256.Load(w + i) * decay) + (first * negativeRate / ((Vector256.Sqrt(second) / root) + epsilon))).Store(w + i);
            }

            if (i < length)
            {
                int rest = length - i;
                Vector256<float> gradient = Simd.LoadTail256(g + i, rest);
                if (TSum.Value)
                {
                    GradientMath.AddSquares(gradient, ref sum0, ref sum1);
                }

                gradient *= scale;
                Vector256<float> first = (Simd.LoadTail256(m + i, rest) * beta1) + (gradient * rest1);
                Vector256<float> second = (Simd.LoadTail256(v + i, rest) * beta2) + (gradient * rest2 * gradient);
                Simd.StoreTail256(m + i, first, rest);
                Simd.StoreTail256(v + i, second, rest);
                Simd.StoreTail256(w + i, (Simd.LoadTail256(w + i, rest) * decay) + (first * negativeRate / ((Vector256.Sqrt(second) / root) + epsilon)), rest);
            }

            // The pairs commute, so it does not matter whose turn it was.
            return TSum.Value ? GradientMath.Total(sum0, sum1, sum2, sum3) : 0;
        }

        private static void Run128(in Coefficients c, in OptimizerRange range)
        {
            float* w = range.WeightPointer;
            float* g = range.GradientPointer;
            float* m = range.SlotPointer(0);
            float* v = range.SlotPointer(1);
            float scale = range.GradientScale;
            float decay = range.WeightDecay ? c.Decay : 1;
            int length = range.Length;
            int i = 0;
            for (; i <= length - 4; i += 4)
            {
                Vector128<float> gradient = Vector128.Load(g + i) * scale;
                Vector128<float> first = (Vector128.Load(m + i) * c.Beta1) + (gradient * c.Rest1);
                Vector128<float> second = (Vector128.Load(v + i) * c.Beta2) + (gradient * c.Rest2 * gradient);
                first.Store(m + i);
                second.Store(v + i);
                ((Vector128.Load(w + i) * decay) + (first * c.NegativeRate / ((Vector128.Sqrt(second) / c.Root) + Vector128.Create(c.Epsilon)))).Store(w + i);
            }

            for (; i < length; i++)
            {
                float gradient = g[i] * scale;
                float first = (m[i] * c.Beta1) + (gradient * c.Rest1);
                float second = (v[i] * c.Beta2) + (gradient * c.Rest2 * gradient);
                m[i] = first;
                v[i] = second;
                w[i] = (w[i] * decay) + (first * c.NegativeRate / ((MathF.Sqrt(second) / c.Root) + c.Epsilon));
            }
        }

        /// <summary>A condition that is settled when the code is compiled.</summary>
        private interface IChoice
        {
            static abstract bool Value { get; }
        }

        private readonly struct Yes : IChoice
        {
            public static bool Value => true;
        }

        private readonly struct No : IChoice
        {
            public static bool Value => false;
        }
    }
}
