using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace ModelGen.Runtime;

public static unsafe partial class Simd
{
    /// <summary>0, 1, …, 15.</summary>
    public static Vector512<float> Lanes512
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        get => Vector512.Create(0f, 1f, 2f, 3f, 4f, 5f, 6f, 7f, 8f, 9f, 10f, 11f, 12f, 13f, 14f, 15f);
    }

    /// <summary><paramref name="a"/> · <paramref name="b"/> + <paramref name="c"/>, fused where the processor can.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> MultiplyAdd(Vector512<float> a, Vector512<float> b, Vector512<float> c) =>
        HasFusedMultiplyAdd ? Vector512.FusedMultiplyAdd(a, b, c) : (a * b) + c;

    /// <summary>
    /// Loads <paramref name="count"/> floats (1 to 15; 0 and 16 work) and zeros; reads nothing beyond <c>p + count</c>.
    /// </summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> LoadTail512(float* p, int count)
    {
#if NET10_0_OR_GREATER
        if (Avx512F.IsSupported) return Avx512F.MaskLoad(p, FirstLanesMask512(count), Vector512<float>.Zero);
#endif
        return count > 8
            ? Vector512.Create(Vector256.Load(p), LoadTail256(p + 8, count - 8))
            : Vector512.Create(LoadTail256(p, count), Vector256<float>.Zero);
    }

    /// <summary>
    /// Stores the first <paramref name="count"/> lanes (1 to 15; 0 and 16 work); writes nothing beyond <c>p + count</c>.
    /// </summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void StoreTail512(float* p, Vector512<float> v, int count)
    {
#if NET10_0_OR_GREATER
        if (Avx512F.IsSupported)
        {
            Avx512F.MaskStore(p, FirstLanesMask512(count), v);
            return;
        }
#endif
        if (count > 8)
        {
            v.GetLower().Store(p);
            StoreTail256(p + 8, v.GetUpper(), count - 8);
        }
        else
        {
            StoreTail256(p, v.GetLower(), count);
        }
    }

    /// <summary>Keeps the first <paramref name="count"/> lanes and sets the others to <paramref name="fill"/>.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> FirstLanes512(Vector512<float> v, int count, float fill) =>
        Vector512.ConditionalSelect(FirstLanesMask512(count), v, Vector512.Create(fill));

    /// <summary>Sum of the lanes: the two halves are added, then summed as a <see cref="Vector256{T}"/>.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static float Sum(Vector512<float> v) => Sum(v.GetLower() + v.GetUpper());

    /// <inheritdoc cref="Join(Vector128{float}, Vector128{float})"/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> Join(Vector256<float> lower, Vector256<float> upper) =>
        Avx512DQ.IsSupported ? Avx512DQ.InsertVector256(lower.ToVector512Unsafe(), upper, 1) : Vector512.Create(lower, upper);

    /// <inheritdoc cref="PartialSums(Vector256{float}, Vector256{float}, Vector256{float}, Vector256{float})"/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> PartialSums(Vector512<float> a, Vector512<float> b, Vector512<float> c, Vector512<float> d)
    {
        if (Avx512F.IsSupported)
        {
            Vector512<float> ab = Avx512F.UnpackLow(a, b) + Avx512F.UnpackHigh(a, b), cd = Avx512F.UnpackLow(c, d) + Avx512F.UnpackHigh(c, d);
            return Avx512F.Shuffle(ab, cd, 0x44) + Avx512F.Shuffle(ab, cd, 0xEE);
        }

        return Vector512.Create(PartialSums(a.GetLower(), b.GetLower(), c.GetLower(), d.GetLower()), PartialSums(a.GetUpper(), b.GetUpper(), c.GetUpper(), d.GetUpper()));
    }

    /// <summary>The sums of the 128-bit parts of four vectors, side by side: the lane sums of 16 vectors, from their partial ones.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> SumsOfParts(Vector512<float> a, Vector512<float> b, Vector512<float> c, Vector512<float> d)
    {
        if (Avx512F.IsSupported)
        {
            Vector512<float> ab = Avx512F.Shuffle4x128(a, b, 0x44) + Avx512F.Shuffle4x128(a, b, 0xEE), cd = Avx512F.Shuffle4x128(c, d, 0x44) + Avx512F.Shuffle4x128(c, d, 0xEE);
            return Avx512F.Shuffle4x128(ab, cd, 0x88) + Avx512F.Shuffle4x128(ab, cd, 0xDD);
        }

        return Vector512.Create(SumsOfParts(a.GetLower() + a.GetUpper(), b.GetLower() + b.GetUpper()), SumsOfParts(c.GetLower() + c.GetUpper(), d.GetLower() + d.GetUpper()));
    }

    /// <summary>
    /// The sums of neighbouring 128-bit parts, of one vector and then of the other: the sums of both halves of eight vectors, from their
    /// partial ones.
    /// </summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> SumsOfHalves(Vector512<float> a, Vector512<float> b) => Avx512F.IsSupported
        ? Avx512F.Shuffle4x128(a, b, 0x88) + Avx512F.Shuffle4x128(a, b, 0xDD)
        : Vector512.Create(SumsOfParts(a.GetLower(), a.GetUpper()), SumsOfParts(b.GetLower(), b.GetUpper()));

    /// <inheritdoc cref="StoreColumns(Vector128{float}, Vector128{float}, Vector128{float}, Vector128{float}, float*, long)"/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void StoreColumns(Vector512<float> rows, float* p, long stride)
    {
        Vector512<float> columns = Vector512.Shuffle(rows, Vector512.Create(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15));
        columns.GetLower().GetLower().Store(p);
        columns.GetLower().GetUpper().Store(p + stride);
        columns.GetUpper().GetLower().Store(p + (2 * stride));
        columns.GetUpper().GetUpper().Store(p + (3 * stride));
    }

    /// <summary>Largest lane; NaN where one is NaN.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static float Max(Vector512<float> v) => Max(Vector256.Max(v.GetLower(), v.GetUpper()));

    /// <inheritdoc cref="MaxNative(Vector128{float})"/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static float MaxNative(Vector512<float> v) => MaxNative(Vector256.MaxNative(v.GetLower(), v.GetUpper()));

    /// <inheritdoc cref="Uniform(uint, uint, uint)"/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> Uniform(Vector512<uint> counter, uint key0, uint key1)
    {
        Vector512<uint> x = (counter ^ Vector512.Create(OuterKey(key0, key1))) * Vector512.Create(HashMultiplier0);
        x = ((x ^ (x >>> 16)) ^ Vector512.Create(InnerKey(key0, key1))) * Vector512.Create(HashMultiplier1);
        x = (x ^ (x >>> 15)) * Vector512.Create(HashMultiplier2);
        return Vector512.ConvertToSingle(((x ^ (x >>> 16)) >>> 8).AsInt32()) * Vector512.Create(UniformScale);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector512<float> FirstLanesMask512(int count) =>
        Vector512.LessThan(
            Vector512.Create(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15), Vector512.Create(count)).AsSingle();
}
