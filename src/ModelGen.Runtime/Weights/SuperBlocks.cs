using System.Buffers.Binary;

namespace ModelGen.Runtime;

/// <summary>
/// The formats of blocks of 256 columns in memory: of each block, the 16 rows of a group beside each other. First 320 bytes: the rows' scales (binary16); of
/// <see cref="WeightFormat.Q4_K"/> and <see cref="WeightFormat.Q5_K"/> what multiplies their minima (binary16), then the scales and the minima of the eighths, a byte for each row; of
/// <see cref="WeightFormat.Q6_K"/>, 32 bytes further on, the scales of the sixteenths, a byte for each row. Then the bytes of numbers, four of each row after the other: of
/// <see cref="WeightFormat.Q4_K"/> in the order that a file has them in; of the others in the order in which a product takes them, which memory is read in at its best. Of <see cref="WeightFormat.Q5_K"/> those are, of four columns of
/// all eighths, the lower bits, of two eighths in a line, and the fifth ones of all; of <see cref="WeightFormat.Q6_K"/>, of each half of a block and four columns of its quarters, the lower bits of the first and the third, of the
/// second and the fourth, and the upper ones of all.
/// </summary>
internal static unsafe class SuperBlocks
{
    /// <summary>Columns of a block.</summary>
    public const int Columns = 256;

    /// <summary>Bytes before the numbers of 16 rows.</summary>
    public const int HeaderBytes = 320;

    /// <summary>Where the scales of parts begin.</summary>
    public const int ScalesAt = 64;

    /// <summary>Where the minima of <see cref="WeightFormat.Q4_K"/> and <see cref="WeightFormat.Q5_K"/> begin.</summary>
    public const int MinimaAt = 192;

    /// <summary>The bytes of four columns of each eighth of <see cref="WeightFormat.Q5_K"/>: four lines of two eighths each, and one of the fifth bits of all.</summary>
    public const int FifthsStep = 320;

    /// <summary>Where the fifth bits of <see cref="WeightFormat.Q5_K"/> begin.</summary>
    public const int FifthsAt = HeaderBytes + 256;

    private const int Rows = BlockRows.GroupRows;

    public static bool Has(WeightFormat format) => format is WeightFormat.Q4_K or WeightFormat.Q5_K or WeightFormat.Q6_K;

    /// <summary>The bytes of 16 rows of a block.</summary>
    public static int Bytes(WeightFormat format) => HeaderBytes + (Rows * NumberBytes(format));

    public static bool Put(WeightFormat format, ReadOnlySpan<byte> source, byte* group, int row)
    {
        int size = BlockRows.BlockBytes(format);
        bool areNumbers = true;
        for (int at = 0; at < source.Length; at += size)
        {
            ReadOnlySpan<byte> block = source.Slice(at, size);
            areNumbers &= PutHeader(format, block, group, row);
            if (format == WeightFormat.Q6_K)
            {
                PutSixths(block, group + HeaderBytes, row);
            }
            else
            {
                PutWords(block[^128..], group + HeaderBytes, row, format == WeightFormat.Q5_K);
                if (format == WeightFormat.Q5_K)
                {
                    PutWords(block.Slice(16, 32), group + FifthsAt, row, isSpread: true);
                }
            }

            group += Bytes(format);
        }

        return areNumbers;
    }

    /// <summary>Puts what stands before the numbers of a row's block: scales and minima.</summary>
    /// <returns>Whether the scales are numbers.</returns>
    public static bool PutHeader(WeightFormat format, ReadOnlySpan<byte> block, byte* group, int row)
    {
        byte* scales = group + ScalesAt + row, minima = group + MinimaAt + row;
        if (format == WeightFormat.Q6_K)
        {
            ushort only = BinaryPrimitives.ReadUInt16LittleEndian(block[208..]);
            ((ushort*)group)[row] = only;
            for (int i = 0; i < 16; i++)
            {
                scales[i * Rows] = block[192 + i];
            }

            return IsNumber(only);
        }

        ushort scale = BinaryPrimitives.ReadUInt16LittleEndian(block), minimum = BinaryPrimitives.ReadUInt16LittleEndian(block[2..]);
        (((ushort*)group)[row], ((ushort*)group)[Rows + row]) = (scale, minimum);
        for (int i = 0; i < 8; i++)
        {
            (scales[i * Rows], minima[i * Rows]) = Sixes(block.Slice(4, 12), i);
        }

        return IsNumber(scale) && IsNumber(minimum);
    }

    public static void Get(WeightFormat format, byte* group, int row, Span<byte> destination)
    {
        int size = BlockRows.BlockBytes(format);
        for (int at = 0; at < destination.Length; at += size)
        {
            Span<byte> block = destination.Slice(at, size);
            byte* scales = group + ScalesAt + row, minima = group + MinimaAt + row;
            if (format != WeightFormat.Q6_K)
            {
                BinaryPrimitives.WriteUInt16LittleEndian(block, ((ushort*)group)[row]);
                BinaryPrimitives.WriteUInt16LittleEndian(block[2..], ((ushort*)group)[Rows + row]);
                Span<byte> packed = block.Slice(4, 12);
                packed.Clear();
                for (int i = 0; i < 8; i++)
                {
                    PutSixes(packed, i, scales[i * Rows], minima[i * Rows]);
                }

                GetWords(group + HeaderBytes, row, block[^128..], format == WeightFormat.Q5_K);
                if (format == WeightFormat.Q5_K)
                {
                    GetWords(group + FifthsAt, row, block.Slice(16, 32), isSpread: true);
                }
            }
            else
            {
                BinaryPrimitives.WriteUInt16LittleEndian(block[208..], ((ushort*)group)[row]);
                for (int i = 0; i < 16; i++)
                {
                    block[192 + i] = scales[i * Rows];
                }

                GetSixths(group + HeaderBytes, row, block);
            }

            group += Bytes(format);
        }
    }

    /// <summary>The scale and the minimum of an eighth, of 6 bits each: in the first four the low bits of a byte, in the others four bits here and two of the first ones' high bits.</summary>
    public static (byte Scale, byte Minimum) Sixes(ReadOnlySpan<byte> packed, int part)
        => part < 4 ? ((byte)(packed[part] & 63), (byte)(packed[part + 4] & 63))
            : ((byte)((packed[part + 4] & 15) | (packed[part - 4] >> 6 << 4)), (byte)((packed[part + 4] >> 4) | (packed[part] >> 6 << 4)));

    /// <summary>Puts a scale and a minimum into twelve bytes that were zeros at first.</summary>
    public static void PutSixes(Span<byte> packed, int part, int scale, int minimum)
    {
        if (part < 4)
        {
            packed[part] |= (byte)scale;
            packed[part + 4] |= (byte)minimum;
            return;
        }

        packed[part + 4] |= (byte)((scale & 15) | ((minimum & 15) << 4));
        packed[part - 4] |= (byte)(scale >> 4 << 6);
        packed[part] |= (byte)(minimum >> 4 << 6);
    }

    private static int NumberBytes(WeightFormat format) => format switch { WeightFormat.Q4_K => 128, WeightFormat.Q5_K => 160, _ => 192 };

    private static bool IsNumber(ushort half) => (half & 0x7C00) != 0x7C00;

    // Where four columns of a half are: the lower bits of two quarters, those of the other two, and the upper bits.
    private static int WordOf(int half, int step, int line) => (((8 * half) + step) * 3) + line;

    private static void PutSixths(ReadOnlySpan<byte> block, byte* target, int row)
    {
        for (int half = 0; half < 2; half++)
        {
            for (int step = 0; step < 8; step++)
            {
                ((uint*)target)[(WordOf(half, step, 0) * Rows) + row] = BinaryPrimitives.ReadUInt32LittleEndian(block[((64 * half) + (4 * step))..]);
                ((uint*)target)[(WordOf(half, step, 1) * Rows) + row] = BinaryPrimitives.ReadUInt32LittleEndian(block[((64 * half) + 32 + (4 * step))..]);
                ((uint*)target)[(WordOf(half, step, 2) * Rows) + row] = BinaryPrimitives.ReadUInt32LittleEndian(block[(128 + (32 * half) + (4 * step))..]);
            }
        }
    }

    private static void GetSixths(byte* source, int row, Span<byte> block)
    {
        for (int half = 0; half < 2; half++)
        {
            for (int step = 0; step < 8; step++)
            {
                BinaryPrimitives.WriteUInt32LittleEndian(block[((64 * half) + (4 * step))..], ((uint*)source)[(WordOf(half, step, 0) * Rows) + row]);
                BinaryPrimitives.WriteUInt32LittleEndian(block[((64 * half) + 32 + (4 * step))..], ((uint*)source)[(WordOf(half, step, 1) * Rows) + row]);
                BinaryPrimitives.WriteUInt32LittleEndian(block[(128 + (32 * half) + (4 * step))..], ((uint*)source)[(WordOf(half, step, 2) * Rows) + row]);
            }
        }
    }

    // Words of a row; spread, eight by eight over the lines of as many steps.
    private static int Place(int word, bool isSpread) => isSpread ? (word % 8 * (FifthsStep / 4)) + (word / 8 * Rows) : word * Rows;

    private static void PutWords(ReadOnlySpan<byte> numbers, byte* target, int row, bool isSpread)
    {
        for (int i = 0; i < numbers.Length; i += 4)
        {
            ((uint*)target)[Place(i / 4, isSpread) + row] = BinaryPrimitives.ReadUInt32LittleEndian(numbers[i..]);
        }
    }

    private static void GetWords(byte* source, int row, Span<byte> numbers, bool isSpread)
    {
        for (int i = 0; i < numbers.Length; i += 4)
        {
            BinaryPrimitives.WriteUInt32LittleEndian(numbers[i..], ((uint*)source)[Place(i / 4, isSpread) + row]);
        }
    }
}
