using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using ModelGen.Runtime;

namespace ModelGen.Benchmarks.Measuring;

/// <summary>What the machine can do, in plain loops: the measure of every kernel.</summary>
internal static unsafe class Calibration
{
    private const int FmaIterations = 20_000;
    private const int Accumulators = 12;

    // The results of loops go here, so that they are not removed.
    private static float s_sink;

    /// <summary>Floating-point operations of <see cref="Fma"/>.</summary>
    public static double FmaFlops => 2.0 * FmaIterations * Accumulators * (Simd.Use512 ? 16 : Simd.Use256 ? 8 : 4);

    /// <summary>Multiply-adds in registers alone, in more independent chains than their latency times their rate, at the width in use.</summary>
    public static void Fma() => s_sink = Simd.Use512 ? Fma512(FmaIterations) : Simd.Use256 ? Fma256(FmaIterations) : Fma128(FmaIterations);

    /// <summary>Reads a block once, front to back, in one stream.</summary>
    /// <param name="block">The block, aligned to 64 bytes.</param>
    /// <param name="length">Its length in floats; a multiple of 128.</param>
    public static void Read(float* block, long length)
    {
        Vector256<float> sum0 = default, sum1 = default, sum2 = default, sum3 = default;
        for (long i = 0; i < length; i += 32)
        {
            sum0 += Vector256.Load(block + i);
            sum1 += Vector256.Load(block + i + 8);
            sum2 += Vector256.Load(block + i + 16);
            sum3 += Vector256.Load(block + i + 24);
        }

        s_sink = Vector256.Sum(sum0 + sum1 + sum2 + sum3);
    }

    /// <summary>Reads a block once, in four streams, which keeps more requests under way than one on many processors.</summary>
    /// <param name="block">The block, aligned to 64 bytes.</param>
    /// <param name="length">Its length in floats; a multiple of 128.</param>
    public static void ReadStreams(float* block, long length)
    {
        long quarter = length / 4;
        Vector256<float> sum0 = default, sum1 = default, sum2 = default, sum3 = default;
        for (long i = 0; i < quarter; i += 16)
        {
            sum0 += Vector256.Load(block + i) + Vector256.Load(block + i + 8);
            sum1 += Vector256.Load(block + quarter + i) + Vector256.Load(block + quarter + i + 8);
            sum2 += Vector256.Load(block + (2 * quarter) + i) + Vector256.Load(block + (2 * quarter) + i + 8);
            sum3 += Vector256.Load(block + (3 * quarter) + i) + Vector256.Load(block + (3 * quarter) + i + 8);
        }

        s_sink = Vector256.Sum(sum0 + sum1 + sum2 + sum3);
    }

    /// <summary>Copies a block with ordinary stores, which fetch the target's lines before they overwrite them.</summary>
    /// <param name="source">The source, aligned to 64 bytes.</param>
    /// <param name="target">The target, aligned to 64 bytes.</param>
    /// <param name="length">The length in floats; a multiple of 32.</param>
    public static void Copy(float* source, float* target, long length)
    {
        for (long i = 0; i < length; i += 32)
        {
            Vector256.Load(source + i).Store(target + i);
            Vector256.Load(source + i + 8).Store(target + i + 8);
            Vector256.Load(source + i + 16).Store(target + i + 16);
            Vector256.Load(source + i + 24).Store(target + i + 24);
        }
    }

    /// <summary>Copies a block with stores that bypass the caches.</summary>
    /// <param name="source">The source, aligned to 64 bytes.</param>
    /// <param name="target">The target, aligned to 64 bytes.</param>
    /// <param name="length">The length in floats; a multiple of 32.</param>
    public static void CopyNonTemporal(float* source, float* target, long length)
    {
        for (long i = 0; i < length; i += 32)
        {
            Vector256.Load(source + i).StoreAlignedNonTemporal(target + i);
            Vector256.Load(source + i + 8).StoreAlignedNonTemporal(target + i + 8);
            Vector256.Load(source + i + 16).StoreAlignedNonTemporal(target + i + 16);
            Vector256.Load(source + i + 24).StoreAlignedNonTemporal(target + i + 24);
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static float Fma512(int iterations)
    {
        Vector512<float> factor = Vector512.Create(0.999f), addend = Vector512.Create(0.001f);
        Vector512<float> a0 = addend, a1 = addend, a2 = addend, a3 = addend, a4 = addend, a5 = addend;
        Vector512<float> b0 = addend, b1 = addend, b2 = addend, b3 = addend, b4 = addend, b5 = addend;
        for (int i = 0; i < iterations; i++)
        {
            a0 = Simd.MultiplyAdd(a0, factor, addend);
            a1 = Simd.MultiplyAdd(a1, factor, addend);
            a2 = Simd.MultiplyAdd(a2, factor, addend);
            a3 = Simd.MultiplyAdd(a3, factor, addend);
            a4 = Simd.MultiplyAdd(a4, factor, addend);
            a5 = Simd.MultiplyAdd(a5, factor, addend);
            b0 = Simd.MultiplyAdd(b0, factor, addend);
            b1 = Simd.MultiplyAdd(b1, factor, addend);
            b2 = Simd.MultiplyAdd(b2, factor, addend);
            b3 = Simd.MultiplyAdd(b3, factor, addend);
            b4 = Simd.MultiplyAdd(b4, factor, addend);
            b5 = Simd.MultiplyAdd(b5, factor, addend);
        }

        return Vector512.Sum(a0 + a1 + a2 + a3 + a4 + a5 + b0 + b1 + b2 + b3 + b4 + b5);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static float Fma256(int iterations)
    {
        Vector256<float> factor = Vector256.Create(0.999f), addend = Vector256.Create(0.001f);
        Vector256<float> a0 = addend, a1 = addend, a2 = addend, a3 = addend, a4 = addend, a5 = addend;
        Vector256<float> b0 = addend, b1 = addend, b2 = addend, b3 = addend, b4 = addend, b5 = addend;
        for (int i = 0; i < iterations; i++)
        {
            a0 = Simd.MultiplyAdd(a0, factor, addend);
            a1 = Simd.MultiplyAdd(a1, factor, addend);
            a2 = Simd.MultiplyAdd(a2, factor, addend);
            a3 = Simd.MultiplyAdd(a3, factor, addend);
            a4 = Simd.MultiplyAdd(a4, factor, addend);
            a5 = Simd.MultiplyAdd(a5, factor, addend);
            b0 = Simd.MultiplyAdd(b0, factor, addend);
            b1 = Simd.MultiplyAdd(b1, factor, addend);
            b2 = Simd.MultiplyAdd(b2, factor, addend);
            b3 = Simd.MultiplyAdd(b3, factor, addend);
            b4 = Simd.MultiplyAdd(b4, factor, addend);
            b5 = Simd.MultiplyAdd(b5, factor, addend);
        }

        return Vector256.Sum(a0 + a1 + a2 + a3 + a4 + a5 + b0 + b1 + b2 + b3 + b4 + b5);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static float Fma128(int iterations)
    {
        Vector128<float> factor = Vector128.Create(0.999f), addend = Vector128.Create(0.001f);
        Vector128<float> a0 = addend, a1 = addend, a2 = addend, a3 = addend, a4 = addend, a5 = addend;
        Vector128<float> b0 = addend, b1 = addend, b2 = addend, b3 = addend, b4 = addend, b5 = addend;
        for (int i = 0; i < iterations; i++)
        {
            a0 = Simd.MultiplyAdd(a0, factor, addend);
            a1 = Simd.MultiplyAdd(a1, factor, addend);
            a2 = Simd.MultiplyAdd(a2, factor, addend);
            a3 = Simd.MultiplyAdd(a3, factor, addend);
            a4 = Simd.MultiplyAdd(a4, factor, addend);
            a5 = Simd.MultiplyAdd(a5, factor, addend);
            b0 = Simd.MultiplyAdd(b0, factor, addend);
            b1 = Simd.MultiplyAdd(b1, factor, addend);
            b2 = Simd.MultiplyAdd(b2, factor, addend);
            b3 = Simd.MultiplyAdd(b3, factor, addend);
            b4 = Simd.MultiplyAdd(b4, factor, addend);
            b5 = Simd.MultiplyAdd(b5, factor, addend);
        }

        return Vector128.Sum(a0 + a1 + a2 + a3 + a4 + a5 + b0 + b1 + b2 + b3 + b4 + b5);
    }
}
