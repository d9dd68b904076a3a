using ModelGen.Runtime;

namespace ModelGen;

/// <summary>
/// A safetensors file. Opening it checks the whole header against the file; the elements are read on demand. A read of what others have truncated meanwhile throws
/// (files that this library writes are replaced, never truncated).
/// </summary>
public sealed unsafe class SafetensorsFile : WeightFile
{
    private readonly FileBytes _file;
    private readonly long _dataStart;
    private readonly SafetensorsHeader _header;

    private SafetensorsFile(FileBytes file)
    {
        _file = file;
        Span<byte> prefix = stackalloc byte[SafetensorsFormat.PrefixLength];
        prefix = prefix[..(int)Math.Min(file.Length, prefix.Length)];
        file.Copy(0, prefix);
        int headerLength = SafetensorsFormat.HeaderLength(file.Path, prefix, file.Length);
        _dataStart = SafetensorsFormat.PrefixLength + headerLength;
        _header = SafetensorsFormat.Parse(file.Path, file.Bytes(SafetensorsFormat.PrefixLength, headerLength), file.Length - _dataStart);
        Tensors = _header.Tensors.AsReadOnly();
        Metadata = _header.Metadata.AsReadOnly();
    }

    /// <summary>The file.</summary>
    public override string Path => _file.Path;

    /// <inheritdoc/>
    public override WeightFileFormat Format => WeightFileFormat.Safetensors;

    /// <summary>The tensors, in the order of the header.</summary>
    public override IReadOnlyList<SafetensorsTensor> Tensors { get; }

    /// <summary>The header's metadata; empty if there is none.</summary>
    public override IReadOnlyDictionary<string, string> Metadata { get; }

    /// <summary>Opens a file and checks its header.</summary>
    /// <param name="path">The file.</param>
    /// <exception cref="ModelFileException">The file is no safetensors file, or a damaged one; a directory, a pipe or a device; or may not be read.</exception>
    /// <exception cref="IOException">The file cannot be read.</exception>
    public static new SafetensorsFile Open(string path)
    {
        FileBytes file = FileBytes.Open(path);
        try
        {
            return new SafetensorsFile(file);
        }
        catch
        {
            file.Dispose();
            throw;
        }
    }

    /// <summary>Finds a tensor.</summary>
    /// <param name="name">The tensor's name.</param>
    /// <returns>The tensor, or null if there is none with this name.</returns>
    public override SafetensorsTensor? Find(string name) => _header.ByName.GetValueOrDefault(name);

    /// <summary>Finds a tensor that must be there.</summary>
    /// <param name="name">The tensor's name.</param>
    /// <exception cref="ModelFileException">The file has no tensor with this name.</exception>
    public SafetensorsTensor Get(string name)
        => Find(name) ?? throw new ModelFileException(Path, $"tensor {Quoted.Text(name)}", "a tensor with this name", FormattableString.Invariant($"none among {Tensors.Count} tensors"));

    /// <summary>Reads floating-point elements, converted to 32 bits.</summary>
    /// <param name="tensor">A tensor of this file.</param>
    /// <param name="start">The first element to read.</param>
    /// <param name="destination">Where the elements go; its length says how many.</param>
    /// <exception cref="ModelFileException">The elements are no floating-point numbers.</exception>
    /// <exception cref="ArgumentException">The tensor is not of this file.</exception>
    /// <exception cref="ArgumentOutOfRangeException">The range is not inside the tensor.</exception>
    /// <exception cref="ObjectDisposedException">The file was closed.</exception>
    public override void ReadFloats(WeightTensor tensor, long start, Span<float> destination)
    {
        using FileBytes.Reading reading = _file.Read();
        CheckOwn(tensor);
        CheckRange(tensor, start, destination.Length);
        var own = (SafetensorsTensor)tensor;
        if (!own.IsFloat)
        {
            throw WrongType(tensor, "F32, F16, BF16, F64, F8_E4M3 or F8_E5M2");
        }

        Elements.ReadFloats(_file, _dataStart + own.Offset + (start * SafetensorsFormat.SizeOf(own.Type)), own.Type, destination);
    }

    /// <summary>Reads integer elements, widened to 64 bits.</summary>
    /// <param name="tensor">A tensor of this file.</param>
    /// <param name="start">The first element to read.</param>
    /// <param name="destination">Where the elements go; its length says how many.</param>
    /// <exception cref="ModelFileException">The elements are no integers, or unsigned ones of 64 bits.</exception>
    /// <exception cref="ArgumentException">The tensor is not of this file.</exception>
    /// <exception cref="ArgumentOutOfRangeException">The range is not inside the tensor.</exception>
    /// <exception cref="ObjectDisposedException">The file was closed.</exception>
    public void ReadIntegers(SafetensorsTensor tensor, long start, Span<long> destination)
    {
        using FileBytes.Reading reading = _file.Read();
        CheckOwn(tensor);
        CheckRange(tensor, start, destination.Length);
        if (Elements.IsFloat(tensor.Type) || tensor.Type == SafetensorsType.U64)
        {
            throw WrongType(tensor, "BOOL, U8, I8, I16, U16, I32, U32 or I64");
        }

        int size = SafetensorsFormat.SizeOf(tensor.Type), room = Math.Min(FileBytes.StripBytes / size, destination.Length);
        byte* strip = stackalloc byte[room * size];
        while (!destination.IsEmpty)
        {
            int count = Math.Min(destination.Length, room);
            ReadBytes(tensor, start * size, new Span<byte>(strip, count * size));
            for (int i = 0; i < count; i++)
            {
                destination[i] = tensor.Type switch
                {
                    SafetensorsType.Bool or SafetensorsType.U8 => strip[i],
                    SafetensorsType.I8 => (sbyte)strip[i],
                    SafetensorsType.I16 => Elements.Load<short>(strip, i),
                    SafetensorsType.U16 => Elements.Load<ushort>(strip, i),
                    SafetensorsType.I32 => Elements.Load<int>(strip, i),
                    SafetensorsType.U32 => Elements.Load<uint>(strip, i),
                    _ => Elements.Load<long>(strip, i),
                };
            }

            destination = destination[count..];
            start += count;
        }
    }

    /// <summary>Reads elements as they are stored, little-endian.</summary>
    /// <param name="tensor">A tensor of this file.</param>
    /// <param name="startByte">The first byte to read, from the tensor's start.</param>
    /// <param name="destination">Where the bytes go; its length says how many.</param>
    /// <exception cref="ArgumentException">The tensor is not of this file.</exception>
    /// <exception cref="ArgumentOutOfRangeException">The range is not inside the tensor.</exception>
    /// <exception cref="ObjectDisposedException">The file was closed.</exception>
    public void ReadBytes(SafetensorsTensor tensor, long startByte, Span<byte> destination)
    {
        using FileBytes.Reading reading = _file.Read();
        CheckOwn(tensor);
        if (startByte < 0 || startByte > tensor.ByteLength - destination.Length)
        {
            throw new ArgumentOutOfRangeException(nameof(startByte), startByte, FormattableString.Invariant($"{destination.Length} bytes from {startByte} on are not inside the tensor's {tensor.ByteLength}."));
        }

        _file.Copy(_dataStart + tensor.Offset + startByte, destination);
    }

    internal override bool TryReadRows(WeightTensor tensor, GgmlType type, long row, int count, Span<byte> destination)
    {
        if (tensor is not SafetensorsTensor own || (own.Type, type) is not ((SafetensorsType.F32, GgmlType.F32) or (SafetensorsType.F16, GgmlType.F16) or (SafetensorsType.BF16, GgmlType.BF16)))
        {
            return false;
        }

        ReadBytes(own, row * (destination.Length / count), destination);
        return true;
    }

    internal override bool TryReadBytes(WeightTensor tensor, long start, Span<byte> destination)
    {
        ReadBytes((SafetensorsTensor)tensor, start, destination);
        return true;
    }

    private protected override void Close() => _file.Dispose();

    private ModelFileException WrongType(WeightTensor tensor, string expected)
        => new(Path, $"tensor {Quoted.Text(tensor.Name)}, dtype", expected, tensor.TypeName);
}
