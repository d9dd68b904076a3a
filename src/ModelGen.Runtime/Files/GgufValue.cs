using System.Globalization;
using System.Runtime.CompilerServices;
using System.Text;
using ModelGen.Runtime;

namespace ModelGen;

/// <summary>The type of a value of a GGUF file's metadata. The numbers are those of the format.</summary>
public enum GgufValueType
{
    /// <summary>8-bit unsigned integer.</summary>
    UInt8 = 0,

    /// <summary>8-bit integer.</summary>
    Int8 = 1,

    /// <summary>16-bit unsigned integer.</summary>
    UInt16 = 2,

    /// <summary>16-bit integer.</summary>
    Int16 = 3,

    /// <summary>32-bit unsigned integer.</summary>
    UInt32 = 4,

    /// <summary>32-bit integer.</summary>
    Int32 = 5,

    /// <summary>32-bit float.</summary>
    Float32 = 6,

    /// <summary>A byte of 0 or 1.</summary>
    Bool = 7,

    /// <summary>UTF-8 text.</summary>
    String = 8,

    /// <summary>Values of one type.</summary>
    Array = 9,

    /// <summary>64-bit unsigned integer.</summary>
    UInt64 = 10,

    /// <summary>64-bit integer.</summary>
    Int64 = 11,

    /// <summary>64-bit float.</summary>
    Float64 = 12,
}

/// <summary>A value of a GGUF file's metadata, read from the file when it is asked for: a vocabulary costs nothing until then.</summary>
public sealed unsafe class GgufValue
{
    // Bytes written at a time.
    private const int CopyStrip = 1 << 20;

    private readonly MappedFile _file;
    private readonly long _offset;
    private readonly long _byteLength;

    internal GgufValue(MappedFile file, GgufValueType type, bool isArray, long count, long offset, long byteLength)
    {
        _file = file;
        ElementType = type;
        IsArray = isArray;
        Count = count;
        _offset = offset;
        _byteLength = byteLength;
    }

    /// <summary>The type; of an array, that of its elements.</summary>
    public GgufValueType ElementType { get; }

    /// <summary>Whether the value is an array.</summary>
    public bool IsArray { get; }

    /// <summary>The number of elements; 1 where it is no array.</summary>
    public long Count { get; }

    /// <summary>Whether it is an integer or integers that a signed one of 64 bits can hold.</summary>
    public bool IsInteger => ElementType is GgufValueType.UInt8 or GgufValueType.Int8 or GgufValueType.UInt16 or GgufValueType.Int16
        or GgufValueType.UInt32 or GgufValueType.Int32 or GgufValueType.UInt64 or GgufValueType.Int64;

    /// <summary>An integer; null if it is none, or no single value.</summary>
    /// <exception cref="ObjectDisposedException">The file was closed.</exception>
    public long? AsInteger() => IsArray || !IsInteger ? null : Integers()[0];

    /// <summary>A real number, integers included; null if it is none, or no single value.</summary>
    /// <exception cref="ObjectDisposedException">The file was closed.</exception>
    public double? AsReal()
    {
        if (IsArray || ElementType is GgufValueType.String or GgufValueType.Bool)
        {
            return null;
        }

        return IsInteger ? Integers()[0] : Reals()[0];
    }

    /// <summary>A truth value; null if it is none.</summary>
    /// <exception cref="ObjectDisposedException">The file was closed.</exception>
    public bool? AsFlag()
    {
        if (IsArray || ElementType != GgufValueType.Bool)
        {
            return null;
        }

        using MappedFile.Reading reading = _file.Read();
        return _file.Span(_offset, 1)[0] != 0;
    }

    /// <summary>The truth values, of an array or one.</summary>
    /// <exception cref="InvalidOperationException">The value is none of truth values.</exception>
    /// <exception cref="ObjectDisposedException">The file was closed.</exception>
    public bool[] Flags()
    {
        Require(ElementType == GgufValueType.Bool, "truth values");
        using MappedFile.Reading reading = _file.Read();
        bool[] flags = new bool[checked((int)Count)];
        byte* source = _file.Address(_offset, _byteLength);
        for (int i = 0; i < flags.Length; i++)
        {
            flags[i] = source[i] != 0;
        }

        return flags;
    }

    /// <summary>A text; null if it is none. Bytes that are no UTF-8 become U+FFFD.</summary>
    /// <exception cref="ObjectDisposedException">The file was closed.</exception>
    public string? AsText() => IsArray || ElementType != GgufValueType.String ? null : Texts()[0];

    /// <summary>The texts, of an array or one.</summary>
    /// <exception cref="InvalidOperationException">The value is none of texts.</exception>
    /// <exception cref="ObjectDisposedException">The file was closed.</exception>
    public string[] Texts()
    {
        Require(ElementType == GgufValueType.String, "texts");
        using MappedFile.Reading reading = _file.Read();
        string[] texts = new string[checked((int)Count)];
        long at = _offset;
        for (int i = 0; i < texts.Length; i++)
        {
            int length = (int)Unsafe.ReadUnaligned<long>(_file.Address(at, sizeof(long)));
            texts[i] = Encoding.UTF8.GetString(_file.Span(at + sizeof(long), length));
            at += sizeof(long) + length;
        }

        return texts;
    }

    /// <summary>The bytes of the texts, of an array or one.</summary>
    /// <exception cref="InvalidOperationException">The value is none of texts.</exception>
    /// <exception cref="ObjectDisposedException">The file was closed.</exception>
    public byte[][] TextBytes()
    {
        Require(ElementType == GgufValueType.String, "texts");
        using MappedFile.Reading reading = _file.Read();
        byte[][] texts = new byte[checked((int)Count)][];
        long at = _offset;
        for (int i = 0; i < texts.Length; i++)
        {
            int length = (int)Unsafe.ReadUnaligned<long>(_file.Address(at, sizeof(long)));
            texts[i] = _file.Span(at + sizeof(long), length).ToArray();
            at += sizeof(long) + length;
        }

        return texts;
    }

    /// <summary>The integers, of an array or one. Unsigned ones beyond 2^63 come out negative.</summary>
    /// <exception cref="InvalidOperationException">The value is none of integers.</exception>
    /// <exception cref="ObjectDisposedException">The file was closed.</exception>
    public long[] Integers()
    {
        Require(IsInteger, "integers");
        using MappedFile.Reading reading = _file.Read();
        long[] integers = new long[checked((int)Count)];
        int size = GgufFormat.SizeOf(ElementType);
        byte* source = _file.Address(_offset, _byteLength);
        for (int i = 0; i < integers.Length; i++, source += size)
        {
            integers[i] = ElementType switch
            {
                GgufValueType.UInt8 => *source,
                GgufValueType.Int8 => (sbyte)*source,
                GgufValueType.UInt16 => Unsafe.ReadUnaligned<ushort>(source),
                GgufValueType.Int16 => Unsafe.ReadUnaligned<short>(source),
                GgufValueType.UInt32 => Unsafe.ReadUnaligned<uint>(source),
                GgufValueType.Int32 => Unsafe.ReadUnaligned<int>(source),
                _ => Unsafe.ReadUnaligned<long>(source),
            };
        }

        return integers;
    }

    /// <summary>The floats, of an array or one.</summary>
    /// <exception cref="InvalidOperationException">The value is none of floats.</exception>
    /// <exception cref="ObjectDisposedException">The file was closed.</exception>
    public double[] Reals()
    {
        Require(ElementType is GgufValueType.Float32 or GgufValueType.Float64, "floats");
        using MappedFile.Reading reading = _file.Read();
        double[] reals = new double[checked((int)Count)];
        int size = GgufFormat.SizeOf(ElementType);
        byte* source = _file.Address(_offset, _byteLength);
        for (int i = 0; i < reals.Length; i++, source += size)
        {
            reals[i] = ElementType == GgufValueType.Float32 ? Unsafe.ReadUnaligned<float>(source) : Unsafe.ReadUnaligned<double>(source);
        }

        return reals;
    }

    /// <summary>The value as text; of an array, how many values there are.</summary>
    public override string ToString()
    {
        if (IsArray)
        {
            return string.Create(CultureInfo.InvariantCulture, $"[{Count} × {ElementType}]");
        }

        return ElementType switch
        {
            GgufValueType.String => AsText()!,
            GgufValueType.Bool => AsFlag()!.Value ? "true" : "false",
            GgufValueType.UInt64 => unchecked((ulong)Integers()[0]).ToString(CultureInfo.InvariantCulture),
            GgufValueType.Float32 => ((float)Reals()[0]).ToString("R", CultureInfo.InvariantCulture),
            GgufValueType.Float64 => Reals()[0].ToString("R", CultureInfo.InvariantCulture),
            _ => Integers()[0].ToString(CultureInfo.InvariantCulture),
        };
    }

    /// <summary>Writes the value's bytes, without what says its type and its count.</summary>
    internal void CopyTo(Stream stream)
    {
        using MappedFile.Reading reading = _file.Read();
        for (long done = 0; done < _byteLength; done += CopyStrip)
        {
            stream.Write(_file.Span(_offset + done, (int)Math.Min(CopyStrip, _byteLength - done)));
        }
    }

    private void Require(bool holds, string expected)
    {
        if (!holds)
        {
            throw new InvalidOperationException($"The value holds no {expected}: its type is {ElementType}.");
        }
    }
}
