using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.Arm;
using System.Runtime.Intrinsics.X86;

namespace ModelGen.Runtime;

/// <summary>Lays 16 rows of quantized weights out at once, as <see cref="BlockRows.Put"/> does one by one: words of four rows are turned in registers, at about the speed of memory.</summary>
internal static unsafe class BlockGroups
{
    private const int Rows = BlockRows.GroupRows;
    private const uint Signs = 0x80808080;

    /// <summary>Puts a group's rows, as a file holds them.</summary>
    /// <param name="format">The format.</param>
    /// <param name="rows">The rows, one behind the other.</param>
    /// <param name="rowBytes">The bytes of a row.</param>
    /// <param name="group">The group.</param>
    /// <returns>Whether it was done: not where the format or the processor is another, or where a scale is no number. Then the rows are to be put one by one.</returns>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static bool TryPut(WeightFormat format, byte* rows, int rowBytes, byte* group)
    {
        if (!(Sse2.IsSupported || AdvSimd.Arm64.IsSupported) || format is not (WeightFormat.Q8_0 or WeightFormat.Q4_0))
        {
            return false;
        }

        int numbers = format == WeightFormat.Q8_0 ? 32 : 16, size = sizeof(ushort) + numbers, blocks = rowBytes / size;
        var flip = Vector128.Create(format == WeightFormat.Q8_0 ? Signs : 0);
        ushort* scales = (ushort*)group;
        uint* target = (uint*)(group + BlockRows.ScaleLine);
        int special = 0;
        bool isWide = Avx512F.IsSupported && (nuint)group % 64 == 0;
        for (int block = 0; block < blocks; block++)
        {
            for (int row = 0; row < Rows; row++)
            {
                ushort scale = *(ushort*)(rows + ((long)row * rowBytes));
                scales[row] = scale;

                // What is no finite number has all bits of the exponent, from which one more carries.
                special |= (scale & 0x7C00) + 0x0400;
            }

            for (int at = 0; at < numbers; at += 16)
            {
                byte* source = rows + sizeof(ushort) + at;
                if (Avx512F.IsSupported && isWide)
                {
                    TurnAll(source, rowBytes, flip, target);
                    target += 4 * Rows;
                    continue;
                }

                for (int row = 0; row < Rows; row += 4)
                {
                    Turn(source, rowBytes, flip, target + row);
                    source += 4L * rowBytes;
                }

                target += 4 * Rows;
            }

            // Two blocks have a line of scales, and then their numbers.
            bool isSecond = block % 2 != 0;
            scales += isSecond ? Rows + (numbers * Rows) : Rows;
            target += isSecond ? Rows : 0;
            rows += size;
        }

        if (Avx512F.IsSupported && isWide)
        {
            // What was written past the caches is there before whatever tells other threads of it.
            Sse.StoreFence();
        }

        return (special & 0x8000) == 0;
    }

    // Four words of each of four rows: to where the first words of all rows are, and so on.
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Turn(byte* source, long rowBytes, Vector128<uint> flip, uint* target)
    {
        Vector128<uint> a = Vector128.Load((uint*)source) ^ flip, b = Vector128.Load((uint*)(source + rowBytes)) ^ flip;
        Vector128<uint> c = Vector128.Load((uint*)(source + (2 * rowBytes))) ^ flip, d = Vector128.Load((uint*)(source + (3 * rowBytes))) ^ flip;
        Vector128<uint> ac = Low(a, c), bd = Low(b, d);
        Low(ac, bd).Store(target);
        High(ac, bd).Store(target + Rows);
        (ac, bd) = (High(a, c), High(b, d));
        Low(ac, bd).Store(target + (2 * Rows));
        High(ac, bd).Store(target + (3 * Rows));
    }

    // Four words of each of 16 rows, whole lines of which go past the caches: weights do not fit them, and a line that is written so need not be read before.
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void TurnAll(byte* source, long rowBytes, Vector128<uint> flip, uint* target)
    {
        Vector512<uint> flips = Vector512.Create(Vector256.Create(flip, flip), Vector256.Create(flip, flip));
        Vector512<uint> a = FourRows(source, rowBytes) ^ flips, b = FourRows(source + rowBytes, rowBytes) ^ flips;
        Vector512<uint> c = FourRows(source + (2 * rowBytes), rowBytes) ^ flips, d = FourRows(source + (3 * rowBytes), rowBytes) ^ flips;
        Vector512<uint> ac = Avx512F.UnpackLow(a, c), bd = Avx512F.UnpackLow(b, d);
        Avx512F.StoreAlignedNonTemporal(target, Avx512F.UnpackLow(ac, bd));
        Avx512F.StoreAlignedNonTemporal(target + Rows, Avx512F.UnpackHigh(ac, bd));
        (ac, bd) = (Avx512F.UnpackHigh(a, c), Avx512F.UnpackHigh(b, d));
        Avx512F.StoreAlignedNonTemporal(target + (2 * Rows), Avx512F.UnpackLow(ac, bd));
        Avx512F.StoreAlignedNonTemporal(target + (3 * Rows), Avx512F.UnpackHigh(ac, bd));
    }

    // Four words of a row, of that four further on, and so on.
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector512<uint> FourRows(byte* source, long rowBytes)
    {
        Vector512<uint> rows = Vector128.Load((uint*)source).ToVector256Unsafe().ToVector512Unsafe();
        rows = Avx512F.InsertVector128(rows, Vector128.Load((uint*)(source + (4 * rowBytes))), 1);
        rows = Avx512F.InsertVector128(rows, Vector128.Load((uint*)(source + (8 * rowBytes))), 2);
        return Avx512F.InsertVector128(rows, Vector128.Load((uint*)(source + (12 * rowBytes))), 3);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector128<uint> Low(Vector128<uint> a, Vector128<uint> b) => Sse2.IsSupported ? Sse2.UnpackLow(a, b) : AdvSimd.Arm64.ZipLow(a, b);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector128<uint> High(Vector128<uint> a, Vector128<uint> b) => Sse2.IsSupported ? Sse2.UnpackHigh(a, b) : AdvSimd.Arm64.ZipHigh(a, b);
}
