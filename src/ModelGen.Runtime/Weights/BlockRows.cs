using System.ComponentModel;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;

namespace ModelGen.Runtime;

/// <summary>
/// Matrices of quantized weights in memory: the blocks of 16 rows beside each other, so that a vector holds four successive numbers of each of some rows,
/// which meet the same four of an input, and a sum of each row is a lane. No bit more than in a file is kept, but for rows that fill the last group up.
/// </summary>
/// <remarks>
/// A group of 16 rows is, for each two blocks of 32 columns, a line of 64 bytes with the 16 scales of the one and of the other (binary16; the upper half of a float of <see cref="WeightFormat.MXFP4"/>), and behind it the numbers of both;
/// where there are minima, for each block its 16 scales, its 16 minima of the other sign, and its numbers. So memory is read in order, and numbers begin at lines. The 16 rows' numbers of a block are, of <see cref="WeightFormat.Q8_0"/>,
/// eight times four bytes of each row, each number more by 128; of the others four times four bytes of each row, each
/// holding the number of its column in its lower half and that of 16 columns further on in its upper one, as in a file; of numbers of 5 bits four bytes more of each row with the fifth ones, of which a byte holds
/// those of every fourth column. The formats of blocks of 256 columns are described at <see cref="SuperBlocks"/>.
/// </remarks>
[EditorBrowsable(EditorBrowsableState.Never)]
public static unsafe class BlockRows
{
    /// <summary>Rows of a group.</summary>
    public const int GroupRows = 16;

    /// <summary>Columns of a block.</summary>
    public const int BlockColumns = 32;

    /// <summary>The bytes of the scales, and minima, that numbers follow: of one block or of two.</summary>
    public const int ScaleLine = 64;

    private const uint Signs = 0x80808080;

    /// <summary>Whether matrices of a format lie in groups of rows.</summary>
    internal static bool Has(WeightFormat format) => format is not (WeightFormat.F32 or WeightFormat.F16 or WeightFormat.BF16);

    /// <summary>The columns that a matrix of a format has a multiple of.</summary>
    internal static int ColumnsOf(WeightFormat format) => SuperBlocks.Has(format) ? SuperBlocks.Columns : Has(format) ? BlockColumns : 1;

    /// <summary>The bytes of a parameter's elements in memory.</summary>
    internal static long Bytes(WeightFormat format, ReadOnlySpan<int> shape)
    {
        if (shape.IsEmpty)
        {
            return sizeof(float);
        }

        long rows = 1;
        foreach (int extent in shape[..^1])
        {
            rows = checked(rows * extent);
        }

        int columns = shape[^1];
        return format switch
        {
            WeightFormat.F32 => checked(rows * columns * sizeof(float)),
            WeightFormat.F16 or WeightFormat.BF16 => checked(rows * columns * sizeof(ushort)),
            _ => checked((rows + GroupRows - 1) / GroupRows * GroupBytes(format, columns)),
        };
    }

    /// <summary>The bytes of a group of rows.</summary>
    internal static long GroupBytes(WeightFormat format, int columns)
        => Has(format) && columns > 0 && columns % ColumnsOf(format) == 0
            ? SuperBlocks.Has(format) ? (long)(columns / SuperBlocks.Columns) * SuperBlocks.Bytes(format) : (((long)(columns / BlockColumns) * (ScaleBytes(format) + (GroupRows * NumberBytes(format)))) + 63) / 64 * 64
            : throw new ArgumentException(FormattableString.Invariant($"Rows of {columns} columns are no blocks of {format}."), nameof(columns));

    /// <summary>The bytes of a block in a file.</summary>
    internal static int BlockBytes(WeightFormat format) => GgmlBlocks.Size(TypeOf(format)).Bytes;

    /// <summary>The type of a format in GGUF files.</summary>
    internal static GgmlType TypeOf(WeightFormat format) => format switch
    {
        WeightFormat.F32 => GgmlType.F32,
        WeightFormat.F16 => GgmlType.F16,
        WeightFormat.BF16 => GgmlType.BF16,
        WeightFormat.Q8_0 => GgmlType.Q8_0,
        WeightFormat.Q4_0 => GgmlType.Q4_0,
        WeightFormat.Q4_K => GgmlType.Q4_K,
        WeightFormat.Q6_K => GgmlType.Q6_K,
        WeightFormat.Q4_1 => GgmlType.Q4_1,
        WeightFormat.Q5_0 => GgmlType.Q5_0,
        WeightFormat.Q5_1 => GgmlType.Q5_1,
        WeightFormat.IQ4_NL => GgmlType.IQ4_NL,
        WeightFormat.MXFP4 => GgmlType.MXFP4,
        WeightFormat.Q5_K => GgmlType.Q5_K,
        _ => throw new ArgumentOutOfRangeException(nameof(format), format, "The format is not known."),
    };

    /// <summary>Puts a row's blocks, as a file holds them, into its group.</summary>
    /// <param name="format">The format.</param>
    /// <param name="source">The blocks of the row.</param>
    /// <param name="group">The group.</param>
    /// <param name="row">The row's number in the group.</param>
    /// <returns>Whether all scales are numbers: kernels take them for such.</returns>
    internal static bool Put(WeightFormat format, ReadOnlySpan<byte> source, byte* group, int row)
    {
        if (SuperBlocks.Has(format))
        {
            return SuperBlocks.Put(format, source, group, row);
        }

        int size = BlockBytes(format), blocks = source.Length / size, scaleBytes = ScaleBytes(format);
        uint flip = format == WeightFormat.Q8_0 ? Signs : 0;
        bool areNumbers = true;
        for (int block = 0; block < blocks; block++)
        {
            ReadOnlySpan<byte> from = source.Slice(block * size, size);
            ushort* scales = (ushort*)(group + ScalesOf(format, block)) + row;
            byte* target = group + NumbersOf(format, block) + (4 * row);
            if (format == WeightFormat.MXFP4)
            {
                areNumbers &= from[0] != 255;
                *scales = HalfPower(from[0]);
                from = from[1..];
            }
            else
            {
                areNumbers &= IsNumber(*scales = MemoryMarshal.Read<ushort>(from));
                from = from[sizeof(ushort)..];
                if (scaleBytes > GroupRows * sizeof(ushort))
                {
                    ushort minimum = MemoryMarshal.Read<ushort>(from);
                    areNumbers &= IsNumber(minimum);
                    scales[GroupRows] = (ushort)(minimum ^ 0x8000);
                    from = from[sizeof(ushort)..];
                }
            }

            if (HasFifths(format))
            {
                *(uint*)(target + (16 * GroupRows)) = FifthsByColumn(MemoryMarshal.Read<uint>(from));
                from = from[sizeof(uint)..];
            }

            ReadOnlySpan<uint> words = MemoryMarshal.Cast<byte, uint>(from);
            for (int i = 0; i < words.Length; i++)
            {
                *(uint*)(target + (i * 4 * GroupRows)) = words[i] ^ flip;
            }
        }

        return areNumbers;
    }

    /// <summary>A row's blocks as a file holds them.</summary>
    /// <param name="format">The format.</param>
    /// <param name="group">The group.</param>
    /// <param name="row">The row's number in the group.</param>
    /// <param name="destination">Where the blocks go.</param>
    internal static void Get(WeightFormat format, byte* group, int row, Span<byte> destination)
    {
        if (SuperBlocks.Has(format))
        {
            SuperBlocks.Get(format, group, row, destination);
            return;
        }

        int size = BlockBytes(format), blocks = destination.Length / size;
        for (int block = 0; block < blocks; block++)
        {
            GetBlock(format, group, row, block, destination.Slice(block * size, size));
        }
    }

    private static void GetBlock(WeightFormat format, byte* group, int row, int block, Span<byte> to)
    {
        int scaleBytes = ScaleBytes(format);
        ushort* scales = (ushort*)(group + ScalesOf(format, block)) + row;
        byte* source = group + NumbersOf(format, block) + (4 * row);
        if (format == WeightFormat.MXFP4)
        {
            to[0] = (byte)(*scales < 0x80 ? *scales >> 6 : (*scales >> 7) + 1);
            to = to[1..];
        }
        else
        {
            MemoryMarshal.Write(to, *scales);
            to = to[sizeof(ushort)..];
            if (scaleBytes > GroupRows * sizeof(ushort))
            {
                MemoryMarshal.Write(to, (ushort)(scales[GroupRows] ^ 0x8000));
                to = to[sizeof(ushort)..];
            }
        }

        if (HasFifths(format))
        {
            MemoryMarshal.Write(to, FifthsInOrder(*(uint*)(source + (16 * GroupRows))));
            to = to[sizeof(uint)..];
        }

        uint flip = format == WeightFormat.Q8_0 ? Signs : 0;
        Span<uint> words = MemoryMarshal.Cast<byte, uint>(to);
        for (int i = 0; i < words.Length; i++)
        {
            words[i] = *(uint*)(source + (i * 4 * GroupRows)) ^ flip;
        }
    }

    /// <summary>Where the 16 rows' scales of a block are in a group.</summary>
    private static long ScalesOf(WeightFormat format, int block)
    {
        int each = ScaleLine / ScaleBytes(format);
        return ((long)(block / each) * (ScaleLine + (each * GroupRows * NumberBytes(format)))) + (block % each * ScaleBytes(format));
    }

    /// <summary>Where the 16 rows' numbers of a block are in a group.</summary>
    private static long NumbersOf(WeightFormat format, int block) => ((block / (ScaleLine / ScaleBytes(format))) + 1L) * ScaleLine + ((long)block * GroupRows * NumberBytes(format));

    /// <summary>The bytes of 16 rows' scales and minima in a block of 32 columns.</summary>
    private static int ScaleBytes(WeightFormat format) => (format is WeightFormat.Q4_1 or WeightFormat.Q5_1 ? 2 : 1) * GroupRows * sizeof(ushort);

    /// <summary>The bytes of a row's numbers in a block of 32 columns.</summary>
    internal static int NumberBytes(WeightFormat format) => format == WeightFormat.Q8_0 ? 32 : HasFifths(format) ? 20 : 16;

    internal static bool HasFifths(WeightFormat format) => format is WeightFormat.Q5_0 or WeightFormat.Q5_1;

    private static bool IsNumber(ushort half) => (half & 0x7C00) != 0x7C00;

    // Half of 2^(exponent − 127), as the upper half of a float: numbers are twice the floats of 4 bits. The least two are below the least normal float.
    internal static ushort HalfPower(byte exponent) => (ushort)(exponent < 2 ? 0x20 << exponent : (exponent - 1) << 7);

    // From a bit for each of 32 columns to bytes that hold those of every fourth.
    private static uint FifthsByColumn(uint bits)
    {
        uint columns = 0;
        for (int column = 0; column < 4; column++)
        {
            uint every = (bits >> column) & 0x11111111;
            every = (every | (every >> 3)) & 0x03030303;
            every = (every | (every >> 6)) & 0x000F000F;
            columns |= ((every | (every >> 12)) & 0xFF) << (8 * column);
        }

        return columns;
    }

    private static uint FifthsInOrder(uint columns)
    {
        uint bits = 0;
        for (int column = 0; column < 4; column++)
        {
            uint every = (columns >> (8 * column)) & 0xFF;
            every = (every | (every << 12)) & 0x000F000F;
            every = (every | (every << 6)) & 0x03030303;
            bits |= ((every | (every << 3)) & 0x11111111) << column;
        }

        return bits;
    }

    /// <summary>A row as floats, as an embedding gives it.</summary>
    /// <param name="format">The format.</param>
    /// <param name="matrix">The first group.</param>
    /// <param name="row">The row.</param>
    /// <param name="columns">Elements of a row.</param>
    /// <param name="target">Where they go.</param>
    public static void Read(WeightFormat format, byte* matrix, long row, int columns, float* target) => Read(format, matrix, row, columns, 0, columns, target);

    /// <summary>Reads a part of a row.</summary>
    /// <param name="format">The format.</param>
    /// <param name="matrix">The first group.</param>
    /// <param name="row">The row.</param>
    /// <param name="columns">Elements of a row.</param>
    /// <param name="first">The first of them to read, which begins a block.</param>
    /// <param name="count">Elements to read: whole blocks.</param>
    /// <param name="target">Where they go.</param>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Read(WeightFormat format, byte* matrix, long row, int columns, int first, int count, float* target)
    {
        if (!Has(format))
        {
            GgmlBlocks.Read(TypeOf(format), matrix, (row * columns) + first, new Span<float>(target, count));
            return;
        }

        int size = BlockBytes(format);
        byte* group = matrix + (row / GroupRows * GroupBytes(format, columns));
        int within = (int)(row % GroupRows);
        if (SuperBlocks.Has(format))
        {
            byte* stored = stackalloc byte[size];
            group += first / SuperBlocks.Columns * SuperBlocks.Bytes(format);
            for (int at = 0; at < count; at += SuperBlocks.Columns)
            {
                SuperBlocks.Get(format, group, within, new Span<byte>(stored, size));
                GgmlBlocks.Read(TypeOf(format), stored, 0, new Span<float>(target + at, SuperBlocks.Columns));
                group += SuperBlocks.Bytes(format);
            }

            return;
        }

        int begin = first / BlockColumns;
        if (format is not (WeightFormat.Q8_0 or WeightFormat.Q4_0))
        {
            byte* stored = stackalloc byte[size];
            for (int block = begin; block < begin + (count / BlockColumns); block++)
            {
                GetBlock(format, group, within, block, new Span<byte>(stored, size));
                GgmlBlocks.Read(TypeOf(format), stored, 0, new Span<float>(target, BlockColumns));
                target += BlockColumns;
            }

            return;
        }

        int numbers = NumberBytes(format);
        for (int block = begin; block < begin + (count / BlockColumns); block++)
        {
            byte* source = group + NumbersOf(format, block) + (4 * within);
            Vector128<float> scale = Vector128.Create(GgmlBlocks.HalfAt(group + ScalesOf(format, block) + (2 * within)));
            for (int i = 0; i < numbers; i += 4)
            {
                uint word = *(uint*)(source + (i * GroupRows));
                if (format == WeightFormat.Q8_0)
                {
                    (scale * Vector128.ConvertToSingle(Bytes4(word) - Vector128.Create(128))).Store(target + i);
                }
                else
                {
                    (scale * Vector128.ConvertToSingle(Bytes4(word & 0x0F0F0F0F) - Vector128.Create(8))).Store(target + i);
                    (scale * Vector128.ConvertToSingle(Bytes4((word >> 4) & 0x0F0F0F0F) - Vector128.Create(8))).Store(target + i + 16);
                }
            }

            target += BlockColumns;
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector128<int> Bytes4(uint word) => Vector128.WidenLower(Vector128.WidenLower(Vector128.CreateScalar(word).AsByte())).AsInt32();

    /// <summary>The bytes of an input row in blocks: its numbers, then a scale of each block, then what minima are multiplied with, then two sums of 16 bits of each; whole cache lines.</summary>
    /// <param name="columns">Elements of the row, a multiple of 32.</param>
    public static int InputBytes(int columns) => (columns + (columns / BlockColumns * 12) + 63) / 64 * 64;

    /// <summary>
    /// Rounds a row of an input to blocks of 32 numbers of 8 bits, −127 to 127, with a scale each, whatever the format of the weights that meet it, and notes of each block what those may ask for:
    /// minus the sum of what the numbers stand for, by which minima are multiplied, and minus the sums of the first and the last 16 numbers, which numbers of weights that are more by an offset multiply with that.
    /// </summary>
    /// <param name="row">The row.</param>
    /// <param name="columns">Its elements, a multiple of 32.</param>
    /// <param name="target">Where the blocks go, of <see cref="InputBytes"/>.</param>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Quantize(float* row, int columns, byte* target)
    {
        int blocks = columns / BlockColumns;
        float* scales = (float*)(target + columns);
        float* less = scales + blocks;
        short* pairs = (short*)(less + blocks);
        for (int block = 0; block < blocks; block++)
        {
            // Bits of magnitudes are ordered as the magnitudes are, and what is no number comes last.
            Vector128<int> magnitude = Vector128.Create(0x7FFFFFFF);
            Vector128<int> largest = Vector128<int>.Zero;
            for (int i = 0; i < BlockColumns; i += 4)
            {
                largest = Vector128.Max(largest, Vector128.Load(row + i).AsInt32() & magnitude);
            }

            largest = Vector128.Max(largest, Vector128.Shuffle(largest, Vector128.Create(2, 3, 0, 1)));
            largest = Vector128.Max(largest, Vector128.Shuffle(largest, Vector128.Create(1, 0, 3, 2)));
            float most = BitConverter.Int32BitsToSingle(largest.ToScalar());

            // What has no reciprocal is as good as zero.
            bool isZero = most < 1e-30f;
            Vector128<float> factor = Vector128.Create(isZero ? 0 : 127 / most);

            // To the nearest integer, in the lowest bits of a float of 1.5 · 2^23.
            Vector128<float> magic = Vector128.Create(12582912f);
            Vector128<int> sum = Vector128<int>.Zero, before = sum;
            for (int i = 0; i < BlockColumns; i += 16)
            {
                before = sum;
                Vector128<int> a = ((Vector128.Load(row + i) * factor) + magic).AsInt32(), b = ((Vector128.Load(row + i + 4) * factor) + magic).AsInt32();
                Vector128<int> c = ((Vector128.Load(row + i + 8) * factor) + magic).AsInt32(), d = ((Vector128.Load(row + i + 12) * factor) + magic).AsInt32();
                sum += (a + b) + (c + d);
                Vector128.Narrow(Vector128.Narrow(a, b), Vector128.Narrow(c, d)).Store((sbyte*)target + i);
            }

            float scale = isZero ? 0 : most / 127;
            scales[block] = scale;
            const int Magic = 0x4B400000;
            int total = unchecked(Vector128.Sum(sum) - (32 * Magic)), first = unchecked(Vector128.Sum(before) - (16 * Magic));
            less[block] = -scale * total;
            pairs[2 * block] = (short)-first;
            pairs[(2 * block) + 1] = (short)(first - total);
            row += BlockColumns;
            target += BlockColumns;
        }
    }
}
