using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace ModelGen.Runtime;

/// <summary>
/// 16-bit floats as 32-bit ones. Of binary16, the bits go to a float's place, behind copies of the sign that are masked out, and a product by 2^112 makes up for what the
/// exponents' biases differ by, of numbers below the least normal one too.
/// </summary>
internal static unsafe class Halves
{
    /// <summary>What a half's bits in a float's place are to be multiplied with: 2^112.</summary>
    public const float Bias = 5.192296858534828e33f;

    /// <summary>The sign, the exponent and the fraction of a half in a float's place.</summary>
    public const uint Bits = 0x8FFFE000;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> LoadF16512(ushort* p) => LoadSmallF16512(p) * Bias;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<float> LoadF16256(ushort* p) => LoadSmallF16256(p) * Bias;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<float> LoadF16128(ushort* p) => LoadSmallF16128(p) * Bias;

    // Without the product.
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> LoadSmallF16512(ushort* p)
    {
        Vector512<int> wide = Avx512F.IsSupported ? Avx512F.ConvertToVector512Int32(Vector256.Load((short*)p)) : Vector512.Create(Widened256(p), Widened256(p + 8)).AsInt32();
        return ((wide << 13).AsUInt32() & Vector512.Create(Bits)).AsSingle();
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<float> LoadSmallF16256(ushort* p) => ((Widened256(p) << 13).AsUInt32() & Vector256.Create(Bits)).AsSingle();

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<float> LoadSmallF16128(ushort* p) => ((Widened128(p) << 13).AsUInt32() & Vector128.Create(Bits)).AsSingle();

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> LoadBF16512(ushort* p)
        => ((Avx512F.IsSupported ? Avx512F.ConvertToVector512Int32(Vector256.Load((short*)p)) : Vector512.Create(Widened256(p), Widened256(p + 8))) << 16).AsSingle();

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<float> LoadBF16256(ushort* p) => (Widened256(p) << 16).AsSingle();

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<float> LoadBF16128(ushort* p) => (Widened128(p) << 16).AsSingle();

    /// <summary>Copies some numbers, and zeros behind them.</summary>
    public static void CopyTail(ushort* source, int count, ushort* target, int lanes)
    {
        for (int i = 0; i < lanes; i++)
        {
            target[i] = i < count ? source[i] : (ushort)0;
        }
    }

    // With the sign of 16 bits, which stays where it is.
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector256<int> Widened256(ushort* p)
        => Avx2.IsSupported ? Avx2.ConvertToVector256Int32((short*)p) : Vector256.Create(Widened128(p), Widened128(p + 4));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector128<int> Widened128(ushort* p) => Vector128.WidenLower(Vector128.CreateScalarUnsafe(*(long*)p).AsInt16());
}
