using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.Arm;
using System.Runtime.Intrinsics.X86;

namespace ModelGen.Runtime;

public static unsafe partial class Simd
{
    /// <summary>0, 1, 2, 3.</summary>
    public static Vector128<float> Lanes128
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        get => Vector128.Create(0f, 1f, 2f, 3f);
    }

    /// <summary><paramref name="a"/> · <paramref name="b"/> + <paramref name="c"/>, fused where the processor can.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<float> MultiplyAdd(Vector128<float> a, Vector128<float> b, Vector128<float> c) =>
        HasFusedMultiplyAdd ? Vector128.FusedMultiplyAdd(a, b, c) : (a * b) + c;

    /// <summary>
    /// Loads <paramref name="count"/> floats (1 to 3; 0 and 4 work) and zeros; reads nothing beyond <c>p + count</c>.
    /// </summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<float> LoadTail128(float* p, int count)
    {
        if (Avx.IsSupported) return Avx.MaskLoad(p, FirstLanesMask128(count));
        return count switch
        {
            <= 0 => Vector128<float>.Zero,
            1 => Vector128.CreateScalar(*p),
            2 => Vector128.CreateScalar(Unsafe.ReadUnaligned<double>(p)).AsSingle(),
            3 => Vector128.CreateScalar(Unsafe.ReadUnaligned<double>(p)).AsSingle().WithElement(2, p[2]),
            _ => Vector128.Load(p),
        };
    }

    /// <summary>
    /// Stores the first <paramref name="count"/> lanes (1 to 3; 0 and 4 work); writes nothing beyond <c>p + count</c>.
    /// </summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void StoreTail128(float* p, Vector128<float> v, int count)
    {
        // By parts: a masked store is dozens of micro-operations on AMD processors before Zen 5.
        if (count >= 4)
        {
            v.Store(p);
            return;
        }

        if ((count & 2) != 0) Unsafe.WriteUnaligned(p, v.AsDouble().ToScalar());
        if ((count & 1) != 0)
        {
            if ((count & 2) != 0) p[2] = v.GetElement(2);
            else *p = v.ToScalar();
        }
    }

    /// <summary>Keeps the first <paramref name="count"/> lanes and sets the others to <paramref name="fill"/>.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<float> FirstLanes128(Vector128<float> v, int count, float fill) =>
        Vector128.ConditionalSelect(FirstLanesMask128(count), v, Vector128.Create(fill));

    /// <summary>Sum of the lanes: (0 + 2) + (1 + 3).</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static float Sum(Vector128<float> v)
    {
        v += Vector128.Shuffle(v, Vector128.Create(2, 3, 0, 1));
        v += Vector128.Shuffle(v, Vector128.Create(1, 0, 3, 2));
        return v.ToScalar();
    }

    /// <summary>The sums of the lanes of four vectors, each added in the order of <see cref="Sum(Vector128{float})"/>.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<float> Sums(Vector128<float> a, Vector128<float> b, Vector128<float> c, Vector128<float> d)
    {
        if (Sse.IsSupported)
        {
            Vector128<float> ab = Sse.UnpackLow(a, b) + Sse.UnpackHigh(a, b), cd = Sse.UnpackLow(c, d) + Sse.UnpackHigh(c, d);
            return Sse.MoveLowToHigh(ab, cd) + Sse.MoveHighToLow(cd, ab);
        }

        if (AdvSimd.Arm64.IsSupported)
        {
            Vector128<double> ab = (AdvSimd.Arm64.ZipLow(a, b) + AdvSimd.Arm64.ZipHigh(a, b)).AsDouble();
            Vector128<double> cd = (AdvSimd.Arm64.ZipLow(c, d) + AdvSimd.Arm64.ZipHigh(c, d)).AsDouble();
            return AdvSimd.Arm64.ZipLow(ab, cd).AsSingle() + AdvSimd.Arm64.ZipHigh(ab, cd).AsSingle();
        }

        return Vector128.Create(Sum(a), Sum(b), Sum(c), Sum(d));
    }

    /// <inheritdoc cref="Sums(Vector128{float}, Vector128{float}, Vector128{float}, Vector128{float})"/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<float> Sums(Vector256<float> a, Vector256<float> b, Vector256<float> c, Vector256<float> d)
    {
        Vector256<float> sums = PartialSums(a, b, c, d);
        return sums.GetLower() + sums.GetUpper();
    }

    /// <inheritdoc cref="Sums(Vector128{float}, Vector128{float}, Vector128{float}, Vector128{float})"/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<float> Sums(Vector512<float> a, Vector512<float> b, Vector512<float> c, Vector512<float> d)
    {
        Vector512<float> sums = PartialSums(a, b, c, d);
        Vector256<float> half = sums.GetLower() + sums.GetUpper();
        return half.GetLower() + half.GetUpper();
    }

    /// <summary>Stores the columns of a 4 × 4 matrix, of which vectors hold the rows one after the other.</summary>
    /// <param name="row0">The first row.</param>
    /// <param name="row1">The second.</param>
    /// <param name="row2">The third.</param>
    /// <param name="row3">The last.</param>
    /// <param name="p">Where the first column goes.</param>
    /// <param name="stride">Elements from there to where the next one goes.</param>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void StoreColumns(Vector128<float> row0, Vector128<float> row1, Vector128<float> row2, Vector128<float> row3, float* p, long stride)
    {
        if (Sse.IsSupported)
        {
            Vector128<float> low01 = Sse.UnpackLow(row0, row1), low23 = Sse.UnpackLow(row2, row3);
            Vector128<float> high01 = Sse.UnpackHigh(row0, row1), high23 = Sse.UnpackHigh(row2, row3);
            Sse.MoveLowToHigh(low01, low23).Store(p);
            Sse.MoveHighToLow(low23, low01).Store(p + stride);
            Sse.MoveLowToHigh(high01, high23).Store(p + (2 * stride));
            Sse.MoveHighToLow(high23, high01).Store(p + (3 * stride));
            return;
        }

        if (AdvSimd.Arm64.IsSupported)
        {
            Vector128<double> low01 = AdvSimd.Arm64.ZipLow(row0, row1).AsDouble(), low23 = AdvSimd.Arm64.ZipLow(row2, row3).AsDouble();
            Vector128<double> high01 = AdvSimd.Arm64.ZipHigh(row0, row1).AsDouble(), high23 = AdvSimd.Arm64.ZipHigh(row2, row3).AsDouble();
            AdvSimd.Arm64.ZipLow(low01, low23).AsSingle().Store(p);
            AdvSimd.Arm64.ZipHigh(low01, low23).AsSingle().Store(p + stride);
            AdvSimd.Arm64.ZipLow(high01, high23).AsSingle().Store(p + (2 * stride));
            AdvSimd.Arm64.ZipHigh(high01, high23).AsSingle().Store(p + (3 * stride));
            return;
        }

        for (int column = 0; column < 4; column++)
        {
            Vector128.Create(row0.GetElement(column), row1.GetElement(column), row2.GetElement(column), row3.GetElement(column)).Store(p + (column * stride));
        }
    }

    /// <summary>Asks for the cache line at an address. It reads nothing: any address will do.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Prefetch(float* p)
    {
        if (Sse.IsSupported)
        {
            Sse.Prefetch0(p);
        }
    }

    /// <summary>Largest lane; NaN where one is NaN.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static float Max(Vector128<float> v)
    {
        v = Vector128.Max(v, Vector128.Shuffle(v, Vector128.Create(2, 3, 0, 1)));
        v = Vector128.Max(v, Vector128.Shuffle(v, Vector128.Create(1, 0, 3, 2)));
        return v.ToScalar();
    }

    /// <summary>Largest lane, in a quarter of the time; where one is NaN, that or another one.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static float MaxNative(Vector128<float> v)
    {
        v = Vector128.MaxNative(v, Vector128.Shuffle(v, Vector128.Create(2, 3, 0, 1)));
        v = Vector128.MaxNative(v, Vector128.Shuffle(v, Vector128.Create(1, 0, 3, 2)));
        return v.ToScalar();
    }

    /// <inheritdoc cref="Uniform(uint, uint, uint)"/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<float> Uniform(Vector128<uint> counter, uint key0, uint key1)
    {
        Vector128<uint> x = (counter ^ Vector128.Create(OuterKey(key0, key1))) * Vector128.Create(HashMultiplier0);
        x = ((x ^ (x >>> 16)) ^ Vector128.Create(InnerKey(key0, key1))) * Vector128.Create(HashMultiplier1);
        x = (x ^ (x >>> 15)) * Vector128.Create(HashMultiplier2);
        return Vector128.ConvertToSingle(((x ^ (x >>> 16)) >>> 8).AsInt32()) * Vector128.Create(UniformScale);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector128<float> FirstLanesMask128(int count) =>
        Vector128.LessThan(Vector128.Create(0, 1, 2, 3), Vector128.Create(count)).AsSingle();
}
