using System.Runtime.CompilerServices;

namespace ModelGen.Runtime;

/// <summary>Elements as files store them, little-endian and at any byte, converted.</summary>
internal static unsafe class Elements
{
    /// <summary>Whether elements of a type are read as floats.</summary>
    public static bool IsFloat(SafetensorsType type)
        => type is SafetensorsType.F8E4M3 or SafetensorsType.F8E5M2 or SafetensorsType.F16 or SafetensorsType.BF16 or SafetensorsType.F32 or SafetensorsType.F64;

    /// <summary>Reads elements that follow each other, converted to 32-bit floats; false where the type has none.</summary>
    /// <param name="source">The first element.</param>
    /// <param name="type">The type of the elements.</param>
    /// <param name="destination">Where they go; its length says how many.</param>
    public static bool TryReadFloats(byte* source, SafetensorsType type, Span<float> destination)
    {
        switch (type)
        {
            case SafetensorsType.F32:
                new ReadOnlySpan<byte>(source, destination.Length * sizeof(float)).CopyTo(System.Runtime.InteropServices.MemoryMarshal.AsBytes(destination));
                return true;
            case SafetensorsType.F16:
                GgmlBlocks.ReadHalves(source, destination);
                return true;
            case SafetensorsType.BF16:
                GgmlBlocks.ReadUpperHalves(source, destination);
                return true;
            case SafetensorsType.F64:
                for (int i = 0; i < destination.Length; i++)
                {
                    destination[i] = (float)Load<double>(source, i);
                }

                return true;
            case SafetensorsType.F8E5M2:
                for (int i = 0; i < destination.Length; i++)
                {
                    // The upper half of binary16.
                    destination[i] = (float)BitConverter.UInt16BitsToHalf((ushort)(source[i] << 8));
                }

                return true;
            case SafetensorsType.F8E4M3:
                for (int i = 0; i < destination.Length; i++)
                {
                    destination[i] = FromE4M3(source[i]);
                }

                return true;
            default:
                return false;
        }
    }

    /// <summary>Floats as 8-bit floats, F8_E4M3 or F8_E5M2: the nearest one, of two equally near ones the even one; magnitudes beyond the largest number become that.</summary>
    public static void ToEightBits(SafetensorsType type, ReadOnlySpan<float> values, Span<byte> destination)
    {
        (int fraction, int bias, int largest) = type == SafetensorsType.F8E4M3 ? (3, 7, 0x7E) : (2, 15, 0x7B);
        for (int i = 0; i < values.Length; i++)
        {
            destination[i] = ToEightBits(values[i], fraction, bias, largest);
        }
    }

    /// <summary>Reads elements of a file that follow each other, converted to 32-bit floats.</summary>
    /// <param name="file">The file.</param>
    /// <param name="offset">Where the first one is.</param>
    /// <param name="type">The type of the elements, one of floats.</param>
    /// <param name="destination">Where they go; its length says how many.</param>
    public static void ReadFloats(FileBytes file, long offset, SafetensorsType type, Span<float> destination)
    {
        if (type == SafetensorsType.F32)
        {
            // A span of bytes has fewer than 2^31.
            while (!destination.IsEmpty)
            {
                int count = Math.Min(destination.Length, 1 << 28);
                file.Copy(offset, System.Runtime.InteropServices.MemoryMarshal.AsBytes(destination[..count]));
                destination = destination[count..];
                offset += (long)count * sizeof(float);
            }

            return;
        }

        int size = SafetensorsFormat.SizeOf(type), room = Math.Min(FileBytes.StripBytes / size, destination.Length);
        byte* strip = stackalloc byte[room * size];
        while (!destination.IsEmpty)
        {
            int count = Math.Min(destination.Length, room);
            file.Copy(offset, new Span<byte>(strip, count * size));
            TryReadFloats(strip, type, destination[..count]);
            destination = destination[count..];
            offset += (long)count * size;
        }
    }

    /// <summary>An element of whatever alignment.</summary>
    public static T Load<T>(byte* source, int index)
        where T : unmanaged
        => Unsafe.ReadUnaligned<T>(source + ((long)index * sizeof(T)));

    private static byte ToEightBits(float value, int fraction, int bias, int largest)
    {
        byte sign = (byte)(BitConverter.SingleToUInt32Bits(value) >> 24 & 0x80);
        if (float.IsNaN(value))
        {
            return (byte)(sign | 0x7F);
        }

        double magnitude = Math.Abs((double)value);
        if (double.IsInfinity(magnitude))
        {
            return (byte)(sign | largest);
        }

        // In steps of the last bit, of which there are as many for each power of two; numbers below the least power have its.
        int exponent = Math.Max(magnitude == 0 ? 1 - bias : Math.ILogB(magnitude), 1 - bias);
        double steps = Math.Round(Math.ScaleB(magnitude, fraction - exponent), MidpointRounding.ToEven);
        return (byte)(sign | (int)Math.Min(largest, ((exponent + bias - 1) << fraction) + steps));
    }

    /// <summary>
    /// An 8-bit float of 4 exponent bits with a bias of 7 and 3 fraction bits, without infinities (Micikevicius et al., "FP8 Formats for Deep Learning", 2022, table 1): only all ones is no number.
    /// </summary>
    private static float FromE4M3(byte bits)
    {
        int magnitude = bits & 0x7F;
        uint sign = (uint)(bits & 0x80) << 24;
        if (magnitude == 0x7F)
        {
            return float.NaN;
        }

        float value = magnitude < 8
            ? magnitude * (1f / 512)
            : BitConverter.UInt32BitsToSingle((uint)(magnitude << 20) + (120u << 23));
        return BitConverter.UInt32BitsToSingle(BitConverter.SingleToUInt32Bits(value) | sign);
    }
}
