using System.ComponentModel;
using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace ModelGen.Runtime;

/// <summary>
/// Vectors whose lanes lie <c>stride</c> elements apart in memory, as the columns of a transposed matrix do. Lanes are read and written one by
/// one: processors have gathers, but are no faster with them at these widths, and touch nothing beyond the last lane.
/// </summary>
[EditorBrowsable(EditorBrowsableState.Never)]
public static unsafe class Strided
{
    /// <summary>Lane i is <c>p[i · stride]</c>.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<float> Load128(float* p, nint stride)
        => Vector128.Create(p[0], p[stride], p[2 * stride], p[3 * stride]);

    /// <inheritdoc cref="Load128"/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<float> Load256(float* p, nint stride)
        => Vector256.Create(Load128(p, stride), Load128(p + (4 * stride), stride));

    /// <inheritdoc cref="Load128"/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> Load512(float* p, nint stride)
        => Vector512.Create(Load256(p, stride), Load256(p + (8 * stride), stride));

    /// <summary>As <see cref="Load128"/>, the first <paramref name="count"/> lanes; the others are zero.</summary>
    public static Vector128<float> LoadTail128(float* p, nint stride, int count)
        => Vector128.Create(count > 0 ? p[0] : 0, count > 1 ? p[stride] : 0, count > 2 ? p[2 * stride] : 0, count > 3 ? p[3 * stride] : 0);

    /// <inheritdoc cref="LoadTail128"/>
    public static Vector256<float> LoadTail256(float* p, nint stride, int count)
        => Vector256.Create(LoadTail128(p, stride, count), LoadTail128(p + (4 * stride), stride, count - 4));

    /// <inheritdoc cref="LoadTail128"/>
    public static Vector512<float> LoadTail512(float* p, nint stride, int count)
        => Vector512.Create(LoadTail256(p, stride, count), LoadTail256(p + (8 * stride), stride, count - 8));

    /// <summary>Stores lane i at <c>p[i · stride]</c>.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Store128(float* p, nint stride, Vector128<float> v)
    {
        p[0] = v.GetElement(0);
        p[stride] = v.GetElement(1);
        p[2 * stride] = v.GetElement(2);
        p[3 * stride] = v.GetElement(3);
    }

    /// <inheritdoc cref="Store128"/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Store256(float* p, nint stride, Vector256<float> v)
    {
        Store128(p, stride, v.GetLower());
        Store128(p + (4 * stride), stride, v.GetUpper());
    }

    /// <inheritdoc cref="Store128"/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Store512(float* p, nint stride, Vector512<float> v)
    {
        Store256(p, stride, v.GetLower());
        Store256(p + (8 * stride), stride, v.GetUpper());
    }

    /// <summary>As <see cref="Store128"/>, the first <paramref name="count"/> lanes.</summary>
    public static void StoreTail128(float* p, nint stride, Vector128<float> v, int count)
    {
        for (int i = 0; i < count && i < 4; i++)
        {
            p[i * stride] = v.GetElement(i);
        }
    }

    /// <inheritdoc cref="StoreTail128"/>
    public static void StoreTail256(float* p, nint stride, Vector256<float> v, int count)
    {
        StoreTail128(p, stride, v.GetLower(), count);
        StoreTail128(p + (4 * stride), stride, v.GetUpper(), count - 4);
    }

    /// <inheritdoc cref="StoreTail128"/>
    public static void StoreTail512(float* p, nint stride, Vector512<float> v, int count)
    {
        StoreTail256(p, stride, v.GetLower(), count);
        StoreTail256(p + (8 * stride), stride, v.GetUpper(), count - 8);
    }
}
