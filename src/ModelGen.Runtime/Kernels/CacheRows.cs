using System.ComponentModel;
using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace ModelGen.Runtime;

/// <summary>Rows of key/value caches that are not single precision: rounded as they are stored, and widened as they are read. No address needs an alignment beyond that of a row's scales.</summary>
[EditorBrowsable(EditorBrowsableState.Never)]
public static unsafe class CacheRows
{
    private const int BlockColumns = 32;

    /// <summary>Rounds a row to 16-bit floats of IEEE 754, to the nearest and of two to the even one; magnitudes beyond the largest of them are stored as that.</summary>
    /// <param name="source">The row.</param>
    /// <param name="columns">Its elements.</param>
    /// <param name="target">Where it goes, two bytes an element.</param>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void StoreF16(float* source, int columns, byte* target)
    {
        ushort* to = (ushort*)target;
        int i = 0;
        for (; i <= columns - 8; i += 8)
        {
            Vector128.Narrow(Halves(Vector128.Load(source + i).AsUInt32()), Halves(Vector128.Load(source + i + 4).AsUInt32())).Store(to + i);
        }

        for (; i < columns; i++)
        {
            to[i] = (ushort)Halves(Vector128.CreateScalar(source[i]).AsUInt32()).ToScalar();
        }
    }

    /// <summary>Rounds a row to blocks of 32 numbers of 8 bits, −127 to 127, with a scale each: first all numbers of the row, then the scales.</summary>
    /// <param name="source">The row.</param>
    /// <param name="columns">Its elements, a multiple of 32.</param>
    /// <param name="target">Where it goes, nine bytes for eight elements.</param>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void StoreQ8_0(float* source, int columns, byte* target)
    {
        float* scales = (float*)(target + columns);
        for (int block = 0; block < columns / BlockColumns; block++)
        {
            float* row = source + (block * BlockColumns);
            Vector128<float> largest = Vector128<float>.Zero;
            for (int i = 0; i < BlockColumns; i += 4)
            {
                largest = Vector128.Max(largest, Vector128.Abs(Vector128.Load(row + i)));
            }

            largest = Vector128.Max(largest, Vector128.Shuffle(largest, Vector128.Create(2, 3, 0, 1)));
            largest = Vector128.Max(largest, Vector128.Shuffle(largest, Vector128.Create(1, 0, 3, 2)));
            float most = largest.ToScalar();

            // What has no reciprocal is as good as zero. What is no number makes a scale that is none, which its readers see.
            bool isZero = most < 1e-30f;
            scales[block] = isZero ? 0 : most / 127;
            Vector128<float> factor = Vector128.Create(isZero ? 0 : 127 / most), magic = Vector128.Create(12582912f);
            for (int i = 0; i < BlockColumns; i += 16)
            {
                // To the nearest integer, in the lowest bits of a float of 1.5 · 2^23.
                Vector128<int> a = ((Vector128.Load(row + i) * factor) + magic).AsInt32(), b = ((Vector128.Load(row + i + 4) * factor) + magic).AsInt32();
                Vector128<int> c = ((Vector128.Load(row + i + 8) * factor) + magic).AsInt32(), d = ((Vector128.Load(row + i + 12) * factor) + magic).AsInt32();
                Vector128.Narrow(Vector128.Narrow(a, b), Vector128.Narrow(c, d)).Store((sbyte*)target + (block * BlockColumns) + i);
            }
        }
    }

    /// <summary>Widens some columns of some rows of 16-bit floats.</summary>
    /// <typeparam name="TVector">The vector.</typeparam>
    /// <param name="source">The first row.</param>
    /// <param name="rowBytes">Bytes from one row to the next.</param>
    /// <param name="width">Elements of a row.</param>
    /// <param name="rows">The rows.</param>
    /// <param name="first">The first of the columns.</param>
    /// <param name="columns">The columns.</param>
    /// <param name="target">Where they go.</param>
    /// <param name="stride">Elements from one row to the next there.</param>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void LoadF16<TVector>(byte* source, long rowBytes, int width, int rows, int first, int columns, float* target, long stride)
        where TVector : struct, IVector<TVector>
    {
        _ = width;
        for (int row = 0; row < rows; row++)
        {
            ushort* from = (ushort*)source + first;
            int i = 0;
            for (; i <= columns - TVector.Lanes; i += TVector.Lanes)
            {
                TVector.Store(TVector.LoadF16(from + i), target + i);
            }

            if (i < columns)
            {
                TVector.StoreTail(TVector.LoadF16Tail(from + i, columns - i), target + i, columns - i);
            }

            source += rowBytes;
            target += stride;
        }
    }

    /// <summary>As <see cref="LoadF16{TVector}"/>, of rows that <see cref="StoreQ8_0"/> stored: whole blocks of 32 columns.</summary>
    /// <typeparam name="TVector">The vector.</typeparam>
    /// <param name="source">The first row.</param>
    /// <param name="rowBytes">Bytes from one row to the next.</param>
    /// <param name="width">Elements of a row.</param>
    /// <param name="rows">The rows.</param>
    /// <param name="first">The first of the columns, a multiple of 32.</param>
    /// <param name="columns">The columns, a multiple of 32.</param>
    /// <param name="target">Where they go.</param>
    /// <param name="stride">Elements from one row to the next there.</param>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void LoadQ8_0<TVector>(byte* source, long rowBytes, int width, int rows, int first, int columns, float* target, long stride)
        where TVector : struct, IVector<TVector>
    {
        for (int row = 0; row < rows; row++)
        {
            float* scales = (float*)(source + width) + (first / BlockColumns);
            sbyte* numbers = (sbyte*)source + first;
            for (int i = 0; i < columns; i += BlockColumns)
            {
                // Integers of 8 bits and their products with a scale are the same at every width.
                float scale = scales[i / BlockColumns];
                if (TVector.Lanes == 16 && Avx512F.IsSupported)
                {
                    Vector512<float> s = Vector512.Create(scale);
                    (Avx512F.ConvertToVector512Single(Avx512F.ConvertToVector512Int32(Vector128.Load(numbers + i))) * s).Store(target + i);
                    (Avx512F.ConvertToVector512Single(Avx512F.ConvertToVector512Int32(Vector128.Load(numbers + i + 16))) * s).Store(target + i + 16);
                }
                else if (TVector.Lanes >= 8 && Avx2.IsSupported)
                {
                    Vector256<float> s = Vector256.Create(scale);
                    for (int j = i; j < i + BlockColumns; j += 8)
                    {
                        (Avx.ConvertToVector256Single(Avx2.ConvertToVector256Int32(numbers + j)) * s).Store(target + j);
                    }
                }
                else
                {
                    Vector128<float> s = Vector128.Create(scale);
                    for (int j = i; j < i + BlockColumns; j += 16)
                    {
                        Vector128<sbyte> bytes = Vector128.Load(numbers + j);
                        Vector128<short> low = Vector128.WidenLower(bytes), high = Vector128.WidenUpper(bytes);
                        (Vector128.ConvertToSingle(Vector128.WidenLower(low)) * s).Store(target + j);
                        (Vector128.ConvertToSingle(Vector128.WidenUpper(low)) * s).Store(target + j + 4);
                        (Vector128.ConvertToSingle(Vector128.WidenLower(high)) * s).Store(target + j + 8);
                        (Vector128.ConvertToSingle(Vector128.WidenUpper(high)) * s).Store(target + j + 12);
                    }
                }
            }

            source += rowBytes;
            target += stride;
        }
    }

    // Magnitudes below 2^-14 have the exponent of the smallest: added to 0.5, their last place is that of those halves. Others lose 13 bits, to the nearest.
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector128<uint> Halves(Vector128<uint> bits)
    {
        Vector128<uint> magnitude = Vector128.Min(bits & Vector128.Create(0x7FFFFFFFu), Vector128.Create(0x477FE000u));
        Vector128<uint> half = Vector128.Create(0x3F000000u);
        Vector128<uint> small = (magnitude.AsSingle() + half.AsSingle()).AsUInt32() - half;
        Vector128<uint> normal = (magnitude + Vector128.Create(0xC8000FFFu) + ((magnitude >>> 13) & Vector128<uint>.One)) >>> 13;
        Vector128<uint> rounded = Vector128.ConditionalSelect(Vector128.LessThan(magnitude, Vector128.Create(0x38800000u)), small, normal);
        return rounded | ((bits & Vector128.Create(0x80000000u)) >>> 16);
    }
}
