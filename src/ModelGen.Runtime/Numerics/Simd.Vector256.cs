using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace ModelGen.Runtime;

public static unsafe partial class Simd
{
    /// <summary>0, 1, …, 7.</summary>
    public static Vector256<float> Lanes256
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        get => Vector256.Create(0f, 1f, 2f, 3f, 4f, 5f, 6f, 7f);
    }

    /// <summary><paramref name="a"/> · <paramref name="b"/> + <paramref name="c"/>, fused where the processor can.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<float> MultiplyAdd(Vector256<float> a, Vector256<float> b, Vector256<float> c) =>
        HasFusedMultiplyAdd ? Vector256.FusedMultiplyAdd(a, b, c) : (a * b) + c;

    /// <summary>
    /// Loads <paramref name="count"/> floats (1 to 7; 0 and 8 work) and zeros; reads nothing beyond <c>p + count</c>.
    /// </summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<float> LoadTail256(float* p, int count)
    {
        if (Avx.IsSupported) return Avx.MaskLoad(p, FirstLanesMask256(count));
        return count > 4
            ? Vector256.Create(Vector128.Load(p), LoadTail128(p + 4, count - 4))
            : Vector256.Create(LoadTail128(p, count), Vector128<float>.Zero);
    }

    /// <summary>
    /// Stores the first <paramref name="count"/> lanes (1 to 7; 0 and 8 work); writes nothing beyond <c>p + count</c>.
    /// </summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void StoreTail256(float* p, Vector256<float> v, int count)
    {
        if (count > 4)
        {
            v.GetLower().Store(p);
            StoreTail128(p + 4, v.GetUpper(), count - 4);
        }
        else
        {
            StoreTail128(p, v.GetLower(), count);
        }
    }

    /// <summary>Keeps the first <paramref name="count"/> lanes and sets the others to <paramref name="fill"/>.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<float> FirstLanes256(Vector256<float> v, int count, float fill) =>
        Vector256.ConditionalSelect(FirstLanesMask256(count), v, Vector256.Create(fill));

    /// <summary>Sum of the lanes: the two halves are added, then summed as a <see cref="Vector128{T}"/>.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static float Sum(Vector256<float> v) => Sum(v.GetLower() + v.GetUpper());

    /// <summary>Two vectors as one of twice the width; the framework's own way goes through memory at 512 bits.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<float> Join(Vector128<float> lower, Vector128<float> upper) =>
        Avx.IsSupported ? Avx.InsertVector128(lower.ToVector256Unsafe(), upper, 1) : Vector256.Create(lower, upper);

    /// <summary>For each 128 bits, the sums of those lanes of the four vectors.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<float> PartialSums(Vector256<float> a, Vector256<float> b, Vector256<float> c, Vector256<float> d)
    {
        if (Avx.IsSupported)
        {
            Vector256<float> ab = Avx.UnpackLow(a, b) + Avx.UnpackHigh(a, b), cd = Avx.UnpackLow(c, d) + Avx.UnpackHigh(c, d);
            return Avx.Shuffle(ab, cd, 0x44) + Avx.Shuffle(ab, cd, 0xEE);
        }

        return Vector256.Create(Sums(a.GetLower(), b.GetLower(), c.GetLower(), d.GetLower()), Sums(a.GetUpper(), b.GetUpper(), c.GetUpper(), d.GetUpper()));
    }

    /// <summary>The sums of the 128-bit parts of two vectors, side by side: the lane sums of eight vectors, from their partial ones.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<float> SumsOfParts(Vector256<float> a, Vector256<float> b) => Avx.IsSupported
        ? Avx.Permute2x128(a, b, 0x20) + Avx.Permute2x128(a, b, 0x31)
        : Vector256.Create(a.GetLower() + a.GetUpper(), b.GetLower() + b.GetUpper());

    /// <inheritdoc cref="StoreColumns(Vector128{float}, Vector128{float}, Vector128{float}, Vector128{float}, float*, long)"/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void StoreColumns(Vector256<float> rows01, Vector256<float> rows23, float* p, long stride)
        => StoreColumns(rows01.GetLower(), rows01.GetUpper(), rows23.GetLower(), rows23.GetUpper(), p, stride);

    /// <summary>Largest lane; NaN where one is NaN.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static float Max(Vector256<float> v) => Max(Vector128.Max(v.GetLower(), v.GetUpper()));

    /// <inheritdoc cref="MaxNative(Vector128{float})"/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static float MaxNative(Vector256<float> v) => MaxNative(Vector128.MaxNative(v.GetLower(), v.GetUpper()));

    /// <inheritdoc cref="Uniform(uint, uint, uint)"/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<float> Uniform(Vector256<uint> counter, uint key0, uint key1)
    {
        Vector256<uint> x = (counter ^ Vector256.Create(OuterKey(key0, key1))) * Vector256.Create(HashMultiplier0);
        x = ((x ^ (x >>> 16)) ^ Vector256.Create(InnerKey(key0, key1))) * Vector256.Create(HashMultiplier1);
        x = (x ^ (x >>> 15)) * Vector256.Create(HashMultiplier2);
        return Vector256.ConvertToSingle(((x ^ (x >>> 16)) >>> 8).AsInt32()) * Vector256.Create(UniformScale);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector256<float> FirstLanesMask256(int count) =>
        Vector256.LessThan(Vector256.Create(0, 1, 2, 3, 4, 5, 6, 7), Vector256.Create(count)).AsSingle();
}
