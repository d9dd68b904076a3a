using System.Buffers.Binary;
using System.Globalization;
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

/// <summary>A value of a GGUF file's metadata, read from the file when it is asked for: a vocabulary costs nothing until then. A file that others have changed or truncated meanwhile gives other values, or a <see cref="ModelFileException"/>.</summary>
public sealed class GgufValue
{
    private readonly FileBytes _file;
    private readonly string _key;
    private readonly long _offset;
    private readonly long _byteLength;

    internal GgufValue(FileBytes file, string key, GgufValueType type, bool isArray, long count, long offset, long byteLength)
    {
        _file = file;
        _key = key;
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

        return Flags()[0];
    }

    /// <summary>The truth values, of an array or one.</summary>
    /// <exception cref="InvalidOperationException">The value is none of truth values.</exception>
    /// <exception cref="ObjectDisposedException">The file was closed.</exception>
    public bool[] Flags()
    {
        Require(ElementType == GgufValueType.Bool, "truth values");
        using FileBytes.Reading reading = _file.Read();
        bool[] flags = new bool[checked((int)Count)];
        FileWindow bytes = Bytes();
        for (int i = 0; i < flags.Length; i++)
        {
            flags[i] = bytes.At(_offset + i, 1)[0] != 0;
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
        using FileBytes.Reading reading = _file.Read();
        string[] texts = new string[checked((int)Count)];
        FileWindow bytes = Bytes();
        long at = _offset;
        for (int i = 0; i < texts.Length; i++)
        {
            texts[i] = Encoding.UTF8.GetString(Text(bytes, ref at));
        }

        return texts;
    }

    /// <summary>The bytes of the texts, of an array or one.</summary>
    /// <exception cref="InvalidOperationException">The value is none of texts.</exception>
    /// <exception cref="ObjectDisposedException">The file was closed.</exception>
    public byte[][] TextBytes()
    {
        Require(ElementType == GgufValueType.String, "texts");
        using FileBytes.Reading reading = _file.Read();
        byte[][] texts = new byte[checked((int)Count)][];
        FileWindow bytes = Bytes();
        long at = _offset;
        for (int i = 0; i < texts.Length; i++)
        {
            texts[i] = Text(bytes, ref at).ToArray();
        }

        return texts;
    }

    /// <summary>The integers, of an array or one. Unsigned ones beyond 2^63 come out negative.</summary>
    /// <exception cref="InvalidOperationException">The value is none of integers.</exception>
    /// <exception cref="ObjectDisposedException">The file was closed.</exception>
    public long[] Integers()
    {
        Require(IsInteger, "integers");
        using FileBytes.Reading reading = _file.Read();
        long[] integers = new long[checked((int)Count)];
        int size = GgufFormat.SizeOf(ElementType);
        FileWindow bytes = Bytes();
        for (int i = 0; i < integers.Length; i++)
        {
            ReadOnlySpan<byte> source = bytes.At(_offset + ((long)i * size), size);
            integers[i] = ElementType switch
            {
                GgufValueType.UInt8 => source[0],
                GgufValueType.Int8 => (sbyte)source[0],
                GgufValueType.UInt16 => BinaryPrimitives.ReadUInt16LittleEndian(source),
                GgufValueType.Int16 => BinaryPrimitives.ReadInt16LittleEndian(source),
                GgufValueType.UInt32 => BinaryPrimitives.ReadUInt32LittleEndian(source),
                GgufValueType.Int32 => BinaryPrimitives.ReadInt32LittleEndian(source),
                _ => BinaryPrimitives.ReadInt64LittleEndian(source),
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
        using FileBytes.Reading reading = _file.Read();
        double[] reals = new double[checked((int)Count)];
        int size = GgufFormat.SizeOf(ElementType);
        FileWindow bytes = Bytes();
        for (int i = 0; i < reals.Length; i++)
        {
            ReadOnlySpan<byte> source = bytes.At(_offset + ((long)i * size), size);
            reals[i] = ElementType == GgufValueType.Float32 ? BinaryPrimitives.ReadSingleLittleEndian(source) : BinaryPrimitives.ReadDoubleLittleEndian(source);
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
        using FileBytes.Reading reading = _file.Read();
        FileWindow bytes = Bytes();
        for (long done = 0; done < _byteLength; done += bytes.Room)
        {
            stream.Write(bytes.At(_offset + done, (int)Math.Min(bytes.Room, _byteLength - done)));
        }
    }

    private FileWindow Bytes() => new(_file, _offset, _offset + _byteLength);

    // The lengths were checked when the file was opened; others may have changed them since.
    private ReadOnlySpan<byte> Text(FileWindow bytes, ref long at)
    {
        long left = _offset + _byteLength - at - sizeof(long);
        ulong length = left >= 0 ? BinaryPrimitives.ReadUInt64LittleEndian(bytes.At(at, sizeof(long))) : 0;
        if (left < 0 || length > (ulong)left || length > int.MaxValue)
        {
            throw new ModelFileException(_file.Path, $"metadata {Quoted.Text(_key)}, length", FormattableString.Invariant($"at most the {Math.Max(left, 0)} bytes that follow, as when the file was opened"), left < 0 ? "no more of the value" : FormattableString.Invariant($"{length}: the file was changed meanwhile"));
        }

        ReadOnlySpan<byte> text = bytes.At(at + sizeof(long), (int)length);
        at += sizeof(long) + (int)length;
        return text;
    }

    private void Require(bool holds, string expected)
    {
        if (!holds)
        {
            throw new InvalidOperationException($"The value holds no {expected}: its type is {ElementType}.");
        }
    }
}
