using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;

namespace ModelGen.Runtime;

/// <summary>
/// The block formats of GGUF files: how many bytes a block of elements takes, what floats it stands for, and how floats become one. Layouts are
/// byte for byte those of llama.cpp's ggml.
/// </summary>
internal static unsafe class GgmlBlocks
{
    /// <summary>The most elements of a block.</summary>
    public const int LargestBlock = 256;

    // What the 4 bits of IQ4_NL and of MXFP4 (twice an E2M1 float) stand for.
    internal static ReadOnlySpan<sbyte> NonLinear => [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113];

    private static ReadOnlySpan<sbyte> MicroFloats => [0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12];

    /// <summary>The elements and the bytes of a block; no elements for a type that is not known.</summary>
    public static (int Elements, int Bytes) Size(GgmlType type) => type switch
    {
        GgmlType.F32 or GgmlType.I32 => (1, 4),
        GgmlType.F16 or GgmlType.BF16 or GgmlType.I16 => (1, 2),
        GgmlType.F64 or GgmlType.I64 => (1, 8),
        GgmlType.I8 => (1, 1),
        GgmlType.Q4_0 or GgmlType.IQ4_NL => (32, 18),
        GgmlType.Q4_1 => (32, 20),
        GgmlType.Q5_0 => (32, 22),
        GgmlType.Q5_1 => (32, 24),
        GgmlType.Q8_0 => (32, 34),
        GgmlType.MXFP4 => (32, 17),
        GgmlType.Q2_K => (256, 84),
        GgmlType.Q3_K => (256, 110),
        GgmlType.Q4_K => (256, 144),
        GgmlType.Q5_K => (256, 176),
        GgmlType.Q6_K => (256, 210),
        _ => (0, 0),
    };

    /// <summary>Whether elements are read as floats.</summary>
    public static bool IsFloat(GgmlType type) => Size(type).Elements > 0 && type is not (GgmlType.I8 or GgmlType.I16 or GgmlType.I32 or GgmlType.I64);

    /// <summary>Whether floats can be written in this type.</summary>
    public static bool CanWrite(GgmlType type) => type is GgmlType.F32 or GgmlType.F16 or GgmlType.BF16 or GgmlType.Q8_0 or GgmlType.Q4_0 or GgmlType.Q4_1 or GgmlType.Q5_0 or GgmlType.Q5_1 or GgmlType.IQ4_NL or GgmlType.MXFP4 or GgmlType.Q4_K or GgmlType.Q5_K or GgmlType.Q6_K;

    /// <summary>Reads elements as floats.</summary>
    /// <param name="type">A type for which <see cref="IsFloat"/> holds.</param>
    /// <param name="data">The tensor's first block.</param>
    /// <param name="start">The first element.</param>
    /// <param name="destination">Where they go; its length says how many.</param>
    public static void Read(GgmlType type, byte* data, long start, Span<float> destination)
    {
        (int elements, int bytes) = Size(type);
        if (elements == 1)
        {
            ReadScalars(type, data + (start * bytes), destination);
            return;
        }

        Span<float> part = stackalloc float[LargestBlock];
        part = part[..elements];
        while (!destination.IsEmpty)
        {
            byte* block = data + (start / elements * bytes);
            int within = (int)(start % elements);
            int count = Math.Min(elements - within, destination.Length);
            if (count == elements)
            {
                ReadBlock(type, block, destination[..elements]);
            }
            else
            {
                ReadBlock(type, block, part);
                part.Slice(within, count).CopyTo(destination);
            }

            destination = destination[count..];
            start += count;
        }
    }

    /// <summary>Writes floats, whole blocks of them.</summary>
    /// <param name="type">A type for which <see cref="CanWrite"/> holds.</param>
    /// <param name="source">The floats.</param>
    /// <param name="destination">The blocks.</param>
    public static void Write(GgmlType type, ReadOnlySpan<float> source, Span<byte> destination)
    {
        (int elements, int bytes) = Size(type);
        int blocks = source.Length / elements;
        if (blocks * elements != source.Length || destination.Length != blocks * bytes)
        {
            throw new ArgumentException(FormattableString.Invariant($"{source.Length} elements are no whole number of blocks of {elements}, or do not fill {destination.Length} bytes."), nameof(source));
        }

        switch (type)
        {
            case GgmlType.F32:
                MemoryMarshal.AsBytes(source).CopyTo(destination);
                break;
            case GgmlType.F16:
                Span<Half> halves = MemoryMarshal.Cast<byte, Half>(destination);
                for (int i = 0; i < source.Length; i++)
                {
                    halves[i] = (Half)source[i];
                }

                break;
            case GgmlType.BF16:
                Span<ushort> uppers = MemoryMarshal.Cast<byte, ushort>(destination);
                for (int i = 0; i < source.Length; i++)
                {
                    uppers[i] = UpperHalf(source[i]);
                }

                break;
            default:
                for (int block = 0; block < blocks; block++)
                {
                    WriteBlock(type, source.Slice(block * elements, elements), destination.Slice(block * bytes, bytes));
                }

                break;
        }
    }

    /// <summary>Reads 16-bit floats of IEEE 754.</summary>
    public static void ReadHalves(byte* source, Span<float> destination)
    {
        int i = 0;
        for (; i <= destination.Length - Vector256<float>.Count; i += Vector256<float>.Count)
        {
            // Exponent and fraction in the place of a float's, times what the exponents' biases differ by: subnormals come right too. What has the largest exponent keeps the largest one.
            Vector256<uint> halves = Widened(source + (2L * i));
            Vector256<uint> magnitude = (halves & Vector256.Create(0x7FFFu)) << 13;
            Vector256<uint> special = Vector256.GreaterThan(magnitude, Vector256.Create(0x7BFFu << 13)) & Vector256.Create(0x7F800000u);
            Vector256<uint> value = (magnitude.AsSingle() * BitConverter.UInt32BitsToSingle(0x77800000)).AsUInt32() | special | ((halves & Vector256.Create(0x8000u)) << 16);
            value.AsSingle().CopyTo(destination[i..]);
        }

        for (; i < destination.Length; i++)
        {
            destination[i] = HalfAt(source + (2L * i));
        }
    }

    /// <summary>Reads 16-bit floats that are the upper halves of 32-bit ones.</summary>
    public static void ReadUpperHalves(byte* source, Span<float> destination)
    {
        int i = 0;
        for (; i <= destination.Length - Vector256<float>.Count; i += Vector256<float>.Count)
        {
            (Widened(source + (2L * i)) << 16).AsSingle().CopyTo(destination[i..]);
        }

        for (; i < destination.Length; i++)
        {
            destination[i] = BitConverter.UInt32BitsToSingle((uint)Unsafe.ReadUnaligned<ushort>(source + (2L * i)) << 16);
        }
    }

    private static Vector256<uint> Widened(byte* source)
    {
        (Vector128<uint> lower, Vector128<uint> upper) = Vector128.Widen(Vector128.Load((ushort*)source));
        return Vector256.Create(lower, upper);
    }

    private static void ReadScalars(GgmlType type, byte* source, Span<float> destination)
    {
        switch (type)
        {
            case GgmlType.F32:
                new ReadOnlySpan<byte>(source, destination.Length * sizeof(float)).CopyTo(MemoryMarshal.AsBytes(destination));
                break;
            case GgmlType.F16:
                ReadHalves(source, destination);
                break;
            case GgmlType.BF16:
                ReadUpperHalves(source, destination);
                break;
            default:
                for (int i = 0; i < destination.Length; i++)
                {
                    destination[i] = (float)Unsafe.ReadUnaligned<double>(source + (8L * i));
                }

                break;
        }
    }

    private static void ReadBlock(GgmlType type, byte* block, Span<float> values)
    {
        // Of the formats that begin with them.
        float scale = HalfAt(block);
        float minimum = HalfAt(block + 2);
        switch (type)
        {
            case GgmlType.Q4_0:
                for (int i = 0; i < 16; i++)
                {
                    values[i] = ((block[2 + i] & 15) - 8) * scale;
                    values[i + 16] = ((block[2 + i] >> 4) - 8) * scale;
                }

                break;
            case GgmlType.Q4_1:
                for (int i = 0; i < 16; i++)
                {
                    values[i] = ((block[4 + i] & 15) * scale) + minimum;
                    values[i + 16] = ((block[4 + i] >> 4) * scale) + minimum;
                }

                break;
            case GgmlType.Q5_0:
                uint fifths = Unsafe.ReadUnaligned<uint>(block + 2);
                for (int i = 0; i < 16; i++)
                {
                    values[i] = (((block[6 + i] & 15) | FifthBit(fifths, i)) - 16) * scale;
                    values[i + 16] = (((block[6 + i] >> 4) | FifthBit(fifths, i + 16)) - 16) * scale;
                }

                break;
            case GgmlType.Q5_1:
                fifths = Unsafe.ReadUnaligned<uint>(block + 4);
                for (int i = 0; i < 16; i++)
                {
                    values[i] = (((block[8 + i] & 15) | FifthBit(fifths, i)) * scale) + minimum;
                    values[i + 16] = (((block[8 + i] >> 4) | FifthBit(fifths, i + 16)) * scale) + minimum;
                }

                break;
            case GgmlType.Q8_0:
                Vector256<float> scales = Vector256.Create(scale);
                for (int i = 0; i < 32; i += 16)
                {
                    (Vector128<short> lower, Vector128<short> upper) = Vector128.Widen(Vector128.Load((sbyte*)block + 2 + i));
                    (Vector128<int> first, Vector128<int> second) = Vector128.Widen(lower);
                    (Vector256.ConvertToSingle(Vector256.Create(first, second)) * scales).CopyTo(values[i..]);
                    (first, second) = Vector128.Widen(upper);
                    (Vector256.ConvertToSingle(Vector256.Create(first, second)) * scales).CopyTo(values[(i + 8)..]);
                }

                break;
            case GgmlType.IQ4_NL:
                for (int i = 0; i < 16; i++)
                {
                    values[i] = scale * NonLinear[block[2 + i] & 15];
                    values[i + 16] = scale * NonLinear[block[2 + i] >> 4];
                }

                break;
            case GgmlType.MXFP4:
                // The table holds doubles of the floats, so the power of two is halved: below the least normal one it is a subnormal.
                float half = BitConverter.UInt32BitsToSingle(block[0] < 2 ? 0x00200000u << block[0] : (uint)(block[0] - 1) << 23);
                for (int i = 0; i < 16; i++)
                {
                    values[i] = half * MicroFloats[block[1 + i] & 15];
                    values[i + 16] = half * MicroFloats[block[1 + i] >> 4];
                }

                break;
            case GgmlType.Q2_K:
                ReadQ2(block, values);
                break;
            case GgmlType.Q3_K:
                ReadQ3(block, values);
                break;
            case GgmlType.Q4_K:
                ReadQ4Or5(block, fifths: null, block + 16, values);
                break;
            case GgmlType.Q5_K:
                ReadQ4Or5(block, block + 16, block + 48, values);
                break;
            case GgmlType.Q6_K:
                ReadQ6(block, values);
                break;
            default:
                throw new ArgumentOutOfRangeException(nameof(type), type, "The type has no blocks.");
        }
    }

    // 16 bytes of scales (low half) and minima (high half) of the groups, 64 of elements, then what multiplies scales and minima.
    private static void ReadQ2(byte* block, Span<float> values)
    {
        float scale = HalfAt(block + 80);
        float minimum = HalfAt(block + 82);
        for (int group = 0; group < 16; group++)
        {
            // A byte holds an element of each of four groups that lie two apart.
            byte* elements = block + 16 + (32 * (group / 8)) + (16 * (group % 2));
            int shift = 2 * (group % 8 / 2);
            float by = scale * (block[group] & 15);
            float less = minimum * (block[group] >> 4);
            for (int i = 0; i < 16; i++)
            {
                values[(16 * group) + i] = (by * ((elements[i] >> shift) & 3)) - less;
            }
        }
    }

    // 32 bytes of the elements' highest bits, 64 of their lower two, 12 of the groups' scales, then what multiplies those.
    private static void ReadQ3(byte* block, Span<float> values)
    {
        float all = HalfAt(block + 108);
        byte* scales = block + 96;
        for (int group = 0; group < 16; group++)
        {
            // Four bits in the first eight bytes, eight groups in the low halves and then eight in the high ones; two bits in the last four.
            int low = group < 8 ? scales[group] & 15 : scales[group - 8] >> 4;
            int high = (scales[8 + (group % 4)] >> (2 * (group / 4))) & 3;
            float by = all * ((low | (high << 4)) - 32);
            byte* elements = block + 32 + (32 * (group / 8)) + (16 * (group % 2));
            byte* thirds = block + (16 * (group % 2));
            int shift = 2 * (group % 8 / 2);
            for (int i = 0; i < 16; i++)
            {
                values[(16 * group) + i] = by * (((elements[i] >> shift) & 3) - ((thirds[i] >> (group / 2) & 1) != 0 ? 0 : 4));
            }
        }
    }

    // What multiplies scales and minima, 12 bytes of eight scales and minima of 6 bits, with 5 bits 32 bytes of the fifth ones, 128 bytes of the lower four.
    private static void ReadQ4Or5(byte* block, byte* fifths, byte* quarters, Span<float> values)
    {
        float scale = HalfAt(block);
        float minimum = HalfAt(block + 2);
        byte* packed = block + 4;
        for (int group = 0; group < 8; group++)
        {
            int sixScale = group < 4 ? packed[group] & 63 : (packed[group + 4] & 15) | ((packed[group - 4] >> 6) << 4);
            int sixMinimum = group < 4 ? packed[group + 4] & 63 : (packed[group + 4] >> 4) | ((packed[group] >> 6) << 4);
            float by = scale * sixScale;
            float less = minimum * sixMinimum;
            byte* elements = quarters + (32 * (group / 2));
            int shift = 4 * (group % 2);
            for (int i = 0; i < 32; i++)
            {
                int high = fifths == null ? 0 : ((fifths[i] >> group) & 1) << 4;
                values[(32 * group) + i] = (by * (((elements[i] >> shift) & 15) + high)) - less;
            }
        }
    }

    // 128 bytes of the elements' lower four bits, 64 of their upper two, 16 signed scales, and what multiplies those.
    private static void ReadQ6(byte* block, Span<float> values)
    {
        float all = HalfAt(block + 208);
        for (int group = 0; group < 16; group++)
        {
            int half = group / 8;
            int quarter = group % 8 / 2;
            byte* low = block + (64 * half) + (32 * (quarter % 2)) + (16 * (group % 2));
            byte* high = block + 128 + (32 * half) + (16 * (group % 2));
            float by = all * (sbyte)block[192 + group];
            for (int i = 0; i < 16; i++)
            {
                int element = ((low[i] >> (4 * (quarter / 2))) & 15) | (((high[i] >> (2 * quarter)) & 3) << 4);
                values[(16 * group) + i] = by * (element - 32);
            }
        }
    }

    private static void WriteBlock(GgmlType type, ReadOnlySpan<float> values, Span<byte> block)
    {
        switch (type)
        {
            case GgmlType.Q8_0:
                float largest = 0;
                foreach (float value in values)
                {
                    largest = Math.Max(largest, Math.Abs(value));
                }

                float by = Inverse(largest / 127, block);
                for (int i = 0; i < values.Length; i++)
                {
                    block[2 + i] = (byte)(sbyte)MathF.Round(values[i] * by, MidpointRounding.AwayFromZero);
                }

                break;
            case GgmlType.Q4_K:
            case GgmlType.Q5_K:
            case GgmlType.Q6_K:
            case GgmlType.IQ4_NL:
                WeightedBlocks.Write(type, values, importance: [], block);
                break;
            case GgmlType.MXFP4:
                WriteMicroFloats(values, block);
                break;
            case GgmlType.Q4_0:
            case GgmlType.Q5_0:
                int levels = type == GgmlType.Q4_0 ? 16 : 32;
                float extreme = Extreme(values) / -(levels / 2);
                Pack(values, Inverse(extreme, block), offset: 0, (levels / 2) + 0.5f, levels, block[2..]);
                break;
            default:
                levels = type == GgmlType.Q4_1 ? 16 : 32;
                (float least, float most) = (float.MaxValue, -float.MaxValue);
                foreach (float value in values)
                {
                    // Of two zeros the first, which Min does not leave.
                    (least, most) = (value < least ? value : least, value > most ? value : most);
                }

                float step = (most - least) / (levels - 1);
                BitConverter.TryWriteBytes(block[2..], (Half)least);
                Pack(values, Inverse(step, block), least, 0.5f, levels, block[4..]);
                break;
        }
    }

    // OCP Microscaling Formats (MX) 1.0: a power of two, by which the largest element has the largest exponent of a float of 4 bits, 2.
    private static void WriteMicroFloats(ReadOnlySpan<float> values, Span<byte> block)
    {
        float largest = Math.Abs(Extreme(values));
        int exponent = largest > 0 ? Math.Clamp(Math.ILogB(largest) - 2 + 127, 0, 254) : 0;
        block[0] = (byte)exponent;
        PackNearest(values, (float)Math.ScaleB(1.0, 128 - exponent), MicroFloats, block[1..]);
    }

    private static void PackNearest(ReadOnlySpan<float> values, float by, ReadOnlySpan<sbyte> table, Span<byte> elements)
    {
        for (int i = 0; i < 16; i++)
        {
            elements[i] = (byte)(Nearest(table, values[i] * by) | (Nearest(table, values[i + 16] * by) << 4));
        }
    }

    private static int Nearest(ReadOnlySpan<sbyte> table, float value)
    {
        int nearest = 0;
        for (int i = 1; i < table.Length; i++)
        {
            nearest = Math.Abs(value - table[i]) < Math.Abs(value - table[nearest]) ? i : nearest;
        }

        return nearest;
    }

    /// <summary>Writes a block's scale and gives what elements are multiplied by.</summary>
    private static float Inverse(float scale, Span<byte> block)
    {
        BitConverter.TryWriteBytes(block, (Half)scale);
        return scale != 0 ? 1 / scale : 0;
    }

    /// <summary>The element farthest from zero, with its sign; the first among equals.</summary>
    internal static float Extreme(ReadOnlySpan<float> values)
    {
        float extreme = 0;
        foreach (float value in values)
        {
            extreme = Math.Abs(value) > Math.Abs(extreme) ? value : extreme;
        }

        return extreme;
    }

    // Two elements that lie 16 apart share a byte; of 32 levels, the fifth bits stand in front of all.
    private static void Pack(ReadOnlySpan<float> values, float by, float offset, float rounding, int levels, Span<byte> elements)
    {
        Span<byte> quarters = levels > 16 ? elements[4..] : elements;
        uint fifths = 0;
        for (int i = 0; i < 16; i++)
        {
            int low = Level(values[i]);
            int high = Level(values[i + 16]);
            quarters[i] = (byte)((low & 15) | ((high & 15) << 4));
            fifths |= ((uint)(low >> 4) << i) | ((uint)(high >> 4) << (i + 16));
        }

        if (levels > 16)
        {
            BitConverter.TryWriteBytes(elements, fifths);
        }

        int Level(float value) => Math.Clamp((int)(((value - offset) * by) + rounding), 0, levels - 1);
    }

    private static int FifthBit(uint fifths, int element) => (int)((fifths >> element) & 1) << 4;

    internal static float HalfAt(byte* source) => (float)BitConverter.UInt16BitsToHalf(Unsafe.ReadUnaligned<ushort>(source));

    // To the nearest, ties to even; a NaN stays one.
    private static ushort UpperHalf(float value)
    {
        uint bits = BitConverter.SingleToUInt32Bits(value);
        return float.IsNaN(value) ? (ushort)((bits >> 16) | 64) : (ushort)((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16);
    }
}
