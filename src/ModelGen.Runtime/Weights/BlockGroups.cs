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
        if (!(Sse2.IsSupported || AdvSimd.Arm64.IsSupported))
        {
            return false;
        }

        bool isWide = Avx512F.IsSupported && (nuint)group % 64 == 0;
        return SuperBlocks.Has(format) ? PutSuperBlocks(format, rows, rowBytes, group, isWide) : BlockRows.Has(format) && PutBlocks(format, rows, rowBytes, group, isWide);
    }

    // Of each block, or of each two, a line of scales and minima, and then their numbers, as BlockRows says.
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static bool PutBlocks(WeightFormat format, byte* rows, int rowBytes, byte* group, bool isWide)
    {
        bool isPower = format == WeightFormat.MXFP4, hasMinima = format is WeightFormat.Q4_1 or WeightFormat.Q5_1, hasFifths = BlockRows.HasFifths(format);
        int numbers = format == WeightFormat.Q8_0 ? 32 : 16, header = isPower ? 1 : hasMinima ? 2 * sizeof(ushort) : sizeof(ushort), first = header + (hasFifths ? sizeof(uint) : 0);
        int size = first + numbers, blocks = rowBytes / size, words = BlockRows.NumberBytes(format) / sizeof(uint) * Rows;
        var flip = Vector128.Create(format == WeightFormat.Q8_0 ? Signs : 0);
        ushort* scales = (ushort*)group;
        uint* target = (uint*)(group + BlockRows.ScaleLine);
        int special = 0;
        for (int block = 0; block < blocks; block++)
        {
            for (int row = 0; row < Rows; row++)
            {
                byte* from = rows + ((long)row * rowBytes);
                if (isPower)
                {
                    scales[row] = BlockRows.HalfPower(*from);
                    special |= (*from + 1) << 7;
                    continue;
                }

                // What is no finite number has all bits of the exponent, from which one more carries.
                ushort scale = *(ushort*)from;
                scales[row] = scale;
                special |= (scale & 0x7C00) + 0x0400;
                if (hasMinima)
                {
                    ushort minimum = *(ushort*)(from + sizeof(ushort));
                    scales[Rows + row] = (ushort)(minimum ^ 0x8000);
                    special |= (minimum & 0x7C00) + 0x0400;
                }
            }

            for (int at = 0; at < numbers; at += 16)
            {
                Turn(rows + first + at, rowBytes, flip, target + (at * Rows / sizeof(uint)), Rows, isWide);
            }

            if (hasFifths)
            {
                PutFifths(rows + header, rowBytes, target + (4 * Rows));
            }

            target += words;
            if (hasMinima || block % 2 != 0)
            {
                scales = (ushort*)target;
                target += BlockRows.ScaleLine / sizeof(uint);
            }
            else
            {
                scales += Rows;
            }

            rows += size;
        }

        Fence(isWide);
        return (special & 0x8000) == 0;
    }

    // The fifth bits of 16 rows, a word of each, by their columns.
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void PutFifths(byte* source, long rowBytes, uint* target)
    {
        for (int row = 0; row < Rows; row += 4)
        {
            byte* from = source + (row * rowBytes);
            var bits = Vector128.Create(*(uint*)from, *(uint*)(from + rowBytes), *(uint*)(from + (2 * rowBytes)), *(uint*)(from + (3 * rowBytes)));
            Vector128<uint> columns = default;
            for (int column = 0; column < 4; column++)
            {
                Vector128<uint> every = (bits >>> column) & Vector128.Create(0x11111111u);
                every = (every | (every >>> 3)) & Vector128.Create(0x03030303u);
                every = (every | (every >>> 6)) & Vector128.Create(0x000F000Fu);
                columns |= ((every | (every >>> 12)) & Vector128.Create(0xFFu)) << (8 * column);
            }

            columns.Store(target + row);
        }
    }

    // Scales and minima of a block, then its numbers, as SuperBlocks says.
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static bool PutSuperBlocks(WeightFormat format, byte* rows, int rowBytes, byte* group, bool isWide)
    {
        int size = BlockRows.BlockBytes(format), bytes = SuperBlocks.Bytes(format);
        bool areNumbers = true;
        for (int at = 0; at < rowBytes; at += size)
        {
            if (Avx512F.IsSupported && isWide)
            {
                areNumbers &= format == WeightFormat.Q6_K ? PutScales(rows, rowBytes, group) : PutScalesAndMinima(rows, rowBytes, group);
            }
            else
            {
                for (int row = 0; row < Rows; row++)
                {
                    areNumbers &= SuperBlocks.PutHeader(format, new ReadOnlySpan<byte>(rows + ((long)row * rowBytes), size), group, row);
                }
            }

            uint* numbers = (uint*)(group + SuperBlocks.HeaderBytes);
            if (format == WeightFormat.Q6_K)
            {
                // Of each half and four columns a line of lower bits for two quarters, one for the others, and one of upper bits.
                for (int part = 0; part < 4; part++)
                {
                    int half = part / 2, columns = part % 2 * 16;
                    uint* target = numbers + (((8 * half) + (columns / 4)) * 3 * Rows);
                    Turn(rows + (64 * half) + columns, rowBytes, default, target, 3 * Rows, isWide);
                    Turn(rows + (64 * half) + 32 + columns, rowBytes, default, target + Rows, 3 * Rows, isWide);
                    Turn(rows + 128 + (32 * half) + columns, rowBytes, default, target + (2 * Rows), 3 * Rows, isWide);
                }
            }
            else if (format == WeightFormat.Q4_K)
            {
                for (int byteAt = 0; byteAt < 128; byteAt += 16)
                {
                    Turn(rows + 16 + byteAt, rowBytes, default, numbers + (byteAt * 4), Rows, isWide);
                }
            }
            else
            {
                // Words eight by eight over the steps of a product, the fifth bits behind the others.
                const int Step = SuperBlocks.FifthsStep / sizeof(uint);
                for (int byteAt = 0; byteAt < 128; byteAt += 16)
                {
                    Turn(rows + 48 + byteAt, rowBytes, default, numbers + (byteAt % 32 / 4 * Step) + (byteAt / 32 * Rows), Step, isWide);
                }

                for (int byteAt = 0; byteAt < 32; byteAt += 16)
                {
                    Turn(rows + 16 + byteAt, rowBytes, default, (uint*)(group + SuperBlocks.FifthsAt) + (byteAt / 4 * Step), Step, isWide);
                }
            }

            rows += size;
            group += bytes;
        }

        Fence(isWide);
        return areNumbers;
    }

    // Of a block of Q4_K or Q5_K in 16 rows: what multiplies scales and minima, then the scales and the minima of the eighths, which lie in twelve bytes of a row.
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static bool PutScalesAndMinima(byte* rows, long rowBytes, byte* group)
    {
        Transpose(rows, rowBytes, default, out Vector512<uint> factors, out Vector512<uint> first, out Vector512<uint> second, out Vector512<uint> third);
        Avx512F.ConvertToVector256UInt16(factors).Store((ushort*)group);
        Avx512F.ConvertToVector256UInt16(factors >>> 16).Store((ushort*)group + Rows);
        Vector512<uint> sixes = Vector512.Create(0x3F3F3F3Fu), fours = Vector512.Create(0x0F0F0F0Fu), twos = Vector512.Create(0x30303030u);
        PutBytes(first & sixes, group + SuperBlocks.ScalesAt);
        PutBytes((third & fours) | ((first >>> 2) & twos), group + SuperBlocks.ScalesAt + (4 * Rows));
        PutBytes(second & sixes, group + SuperBlocks.MinimaAt);
        PutBytes(((third >>> 4) & fours) | ((second >>> 2) & twos), group + SuperBlocks.MinimaAt + (4 * Rows));

        // All bits of an exponent, from which one more carries.
        return (((factors & Vector512.Create(0x7C007C00u)) + Vector512.Create(0x04000400u)) & Vector512.Create(0x80008000u)) == Vector512<uint>.Zero;
    }

    // Of a block of Q6_K in 16 rows: what multiplies the scales, and the scales of the sixteenths.
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static bool PutScales(byte* rows, long rowBytes, byte* group)
    {
        int special = 0;
        for (int row = 0; row < Rows; row++)
        {
            ushort factor = *(ushort*)(rows + (row * rowBytes) + 208);
            ((ushort*)group)[row] = factor;
            special |= (factor & 0x7C00) + 0x0400;
        }

        Transpose(rows + 192, rowBytes, default, out Vector512<uint> a, out Vector512<uint> b, out Vector512<uint> c, out Vector512<uint> d);
        PutBytes(a, group + SuperBlocks.ScalesAt);
        PutBytes(b, group + SuperBlocks.ScalesAt + (4 * Rows));
        PutBytes(c, group + SuperBlocks.ScalesAt + (8 * Rows));
        PutBytes(d, group + SuperBlocks.ScalesAt + (12 * Rows));
        return (special & 0x8000) == 0;
    }

    // The first bytes of 16 words, the second ones, and so on.
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void PutBytes(Vector512<uint> words, byte* target)
    {
        Avx512F.ConvertToVector128Byte(words).Store(target);
        Avx512F.ConvertToVector128Byte(words >>> 8).Store(target + Rows);
        Avx512F.ConvertToVector128Byte(words >>> 16).Store(target + (2 * Rows));
        Avx512F.ConvertToVector128Byte(words >>> 24).Store(target + (3 * Rows));
    }

    // What was written past the caches is there before whatever tells other threads of it.
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Fence(bool isWide)
    {
        if (Avx512F.IsSupported && isWide)
        {
            Sse.StoreFence();
        }
    }

    // Four words of each of 16 rows: a line of the first ones, a step further on one of the second ones, and so on. Whole lines go past the caches, which weights do not fit: a line that is written so need not be read before.
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Turn(byte* source, long rowBytes, Vector128<uint> flip, uint* target, int step, bool isWide)
    {
        if (Avx512F.IsSupported && isWide)
        {
            Transpose(source, rowBytes, flip, out Vector512<uint> a, out Vector512<uint> b, out Vector512<uint> c, out Vector512<uint> d);
            Avx512F.StoreAlignedNonTemporal(target, a);
            Avx512F.StoreAlignedNonTemporal(target + step, b);
            Avx512F.StoreAlignedNonTemporal(target + (2 * step), c);
            Avx512F.StoreAlignedNonTemporal(target + (3 * step), d);
            return;
        }

        for (int row = 0; row < Rows; row += 4)
        {
            TurnFour(source + (row * rowBytes), rowBytes, flip, target + row, step);
        }
    }

    // The same of four rows.
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void TurnFour(byte* source, long rowBytes, Vector128<uint> flip, uint* target, int step)
    {
        Vector128<uint> a = Vector128.Load((uint*)source) ^ flip, b = Vector128.Load((uint*)(source + rowBytes)) ^ flip;
        Vector128<uint> c = Vector128.Load((uint*)(source + (2 * rowBytes))) ^ flip, d = Vector128.Load((uint*)(source + (3 * rowBytes))) ^ flip;
        Vector128<uint> ac = Low(a, c), bd = Low(b, d);
        Low(ac, bd).Store(target);
        High(ac, bd).Store(target + step);
        (ac, bd) = (High(a, c), High(b, d));
        Low(ac, bd).Store(target + (2 * step));
        High(ac, bd).Store(target + (3 * step));
    }

    // The first words of 16 rows, their second ones, and so on.
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Transpose(byte* source, long rowBytes, Vector128<uint> flip, out Vector512<uint> first, out Vector512<uint> second, out Vector512<uint> third, out Vector512<uint> fourth)
    {
        Vector512<uint> flips = Vector512.Create(Vector256.Create(flip, flip), Vector256.Create(flip, flip));
        Vector512<uint> a = FourRows(source, rowBytes) ^ flips, b = FourRows(source + rowBytes, rowBytes) ^ flips;
        Vector512<uint> c = FourRows(source + (2 * rowBytes), rowBytes) ^ flips, d = FourRows(source + (3 * rowBytes), rowBytes) ^ flips;
        Vector512<uint> ac = Avx512F.UnpackLow(a, c), bd = Avx512F.UnpackLow(b, d);
        (first, second) = (Avx512F.UnpackLow(ac, bd), Avx512F.UnpackHigh(ac, bd));
        (ac, bd) = (Avx512F.UnpackHigh(a, c), Avx512F.UnpackHigh(b, d));
        (third, fourth) = (Avx512F.UnpackLow(ac, bd), Avx512F.UnpackHigh(ac, bd));
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
