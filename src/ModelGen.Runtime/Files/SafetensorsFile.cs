using System.IO.MemoryMappedFiles;
using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;
using ModelGen.Runtime;

namespace ModelGen;

/// <summary>
/// A safetensors file, mapped into memory. Opening it checks the whole header against the file; the elements are read on demand. The
/// file must not be truncated by others while it is open (files that this library writes are replaced, never truncated).
/// </summary>
public sealed unsafe class SafetensorsFile : IDisposable
{
    private readonly MemoryMappedFile _file;
    private readonly MemoryMappedViewAccessor _view;
    private readonly SafeMemoryMappedViewHandle _handle;
    private readonly byte* _data;
    private readonly Dictionary<string, SafetensorsTensor> _byName;
    private int _disposed;

    private SafetensorsFile(string path, FileStream stream)
    {
        Path = path;
        long length = stream.Length;

        // An empty file cannot be mapped.
        int prefixLength = (int)Math.Min(length, SafetensorsFormat.PrefixLength);
        Span<byte> prefix = stackalloc byte[SafetensorsFormat.PrefixLength];
        stream.ReadExactly(prefix[..prefixLength]);
        int headerLength = SafetensorsFormat.HeaderLength(path, prefix[..prefixLength], length);

        _file = MemoryMappedFile.CreateFromFile(stream, mapName: null, capacity: 0, MemoryMappedFileAccess.Read, HandleInheritability.None, leaveOpen: true);
        bool pinned = false;
        try
        {
            _view = _file.CreateViewAccessor(0, length, MemoryMappedFileAccess.Read);
            _handle = _view.SafeMemoryMappedViewHandle;
            byte* start = null;
            _handle.AcquirePointer(ref start);
            pinned = true;
            start += _view.PointerOffset;
            long dataLength = length - SafetensorsFormat.PrefixLength - headerLength;
            SafetensorsHeader header = SafetensorsFormat.Parse(
                path,
                new ReadOnlySpan<byte>(start + SafetensorsFormat.PrefixLength, headerLength),
                dataLength);
            _data = start + SafetensorsFormat.PrefixLength + headerLength;
            Tensors = header.Tensors.AsReadOnly();
            Metadata = header.Metadata.AsReadOnly();
            _byName = header.ByName;
        }
        catch
        {
            if (pinned)
            {
                _handle!.ReleasePointer();
            }

            _view?.Dispose();
            _file.Dispose();
            throw;
        }
    }

    /// <summary>The file.</summary>
    public string Path { get; }

    /// <summary>The tensors, in the order of the header.</summary>
    public IReadOnlyList<SafetensorsTensor> Tensors { get; }

    /// <summary>The header's metadata; empty if there is none.</summary>
    public IReadOnlyDictionary<string, string> Metadata { get; }

    /// <summary>Opens a file and checks its header.</summary>
    /// <param name="path">The file.</param>
    /// <exception cref="ModelFileException">The file is no safetensors file, or a damaged one; a directory, a pipe or a device; or may not be read.</exception>
    /// <exception cref="IOException">The file cannot be read.</exception>
    public static SafetensorsFile Open(string path)
    {
        ArgumentException.ThrowIfNullOrEmpty(path);
        if (!BitConverter.IsLittleEndian)
        {
            throw new PlatformNotSupportedException("Safetensors files are little-endian, and this processor is not.");
        }

        using FileStream stream = InputFile.Open(path, FileShare.Read | FileShare.Delete);
        return new SafetensorsFile(path, stream);
    }

    /// <summary>Finds a tensor.</summary>
    /// <param name="name">The tensor's name.</param>
    /// <returns>The tensor, or null if there is none with this name.</returns>
    public SafetensorsTensor? Find(string name) => _byName.GetValueOrDefault(name);

    /// <summary>Finds a tensor that must be there.</summary>
    /// <param name="name">The tensor's name.</param>
    /// <exception cref="ModelFileException">The file has no tensor with this name.</exception>
    public SafetensorsTensor Get(string name)
        => Find(name) ?? throw new ModelFileException(Path, $"tensor {Quoted.Text(name)}", "a tensor with this name", FormattableString.Invariant($"none among {Tensors.Count} tensors"));

    /// <summary>Reads floating-point elements, converted to 32 bits.</summary>
    /// <param name="tensor">A tensor of this file.</param>
    /// <param name="start">The first element to read.</param>
    /// <param name="destination">Where the elements go; its length says how many.</param>
    /// <exception cref="ModelFileException">The elements are no floating-point numbers of 16, 32 or 64 bits.</exception>
    /// <exception cref="ArgumentException">The tensor is not of this file.</exception>
    /// <exception cref="ArgumentOutOfRangeException">The range is not inside the tensor.</exception>
    /// <exception cref="ObjectDisposedException">The file was closed.</exception>
    public void ReadFloats(SafetensorsTensor tensor, long start, Span<float> destination)
    {
        using Reading reading = Read();
        byte* source = Locate(tensor, start, destination.Length);
        switch (tensor.Type)
        {
            case SafetensorsType.F32:
                new ReadOnlySpan<byte>(source, destination.Length * sizeof(float)).CopyTo(MemoryMarshal.AsBytes(destination));
                break;
            case SafetensorsType.F16:
                for (int i = 0; i < destination.Length; i++)
                {
                    destination[i] = (float)BitConverter.UInt16BitsToHalf(Load<ushort>(source, i));
                }

                break;
            case SafetensorsType.BF16:
                for (int i = 0; i < destination.Length; i++)
                {
                    destination[i] = BitConverter.UInt32BitsToSingle((uint)Load<ushort>(source, i) << 16);
                }

                break;
            case SafetensorsType.F64:
                for (int i = 0; i < destination.Length; i++)
                {
                    destination[i] = (float)Load<double>(source, i);
                }

                break;
            default:
                throw WrongType(tensor, "F32, F16, BF16 or F64");
        }
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
        using Reading reading = Read();
        byte* source = Locate(tensor, start, destination.Length);
        for (int i = 0; i < destination.Length; i++)
        {
            destination[i] = tensor.Type switch
            {
                SafetensorsType.Bool or SafetensorsType.U8 => source[i],
                SafetensorsType.I8 => (sbyte)source[i],
                SafetensorsType.I16 => Load<short>(source, i),
                SafetensorsType.U16 => Load<ushort>(source, i),
                SafetensorsType.I32 => Load<int>(source, i),
                SafetensorsType.U32 => Load<uint>(source, i),
                SafetensorsType.I64 => Load<long>(source, i),
                _ => throw WrongType(tensor, "BOOL, U8, I8, I16, U16, I32, U32 or I64"),
            };
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
        using Reading reading = Read();
        Check(tensor);
        if (startByte < 0 || startByte > tensor.ByteLength - destination.Length)
        {
            throw new ArgumentOutOfRangeException(nameof(startByte), startByte, FormattableString.Invariant($"{destination.Length} bytes from {startByte} on are not inside the tensor's {tensor.ByteLength}."));
        }

        new ReadOnlySpan<byte>(_data + tensor.Offset + startByte, destination.Length).CopyTo(destination);
    }

    /// <summary>Closes the file. Reads of other threads that have begun end undisturbed.</summary>
    public void Dispose()
    {
        if (Interlocked.Exchange(ref _disposed, 1) == 0)
        {
            _handle.ReleasePointer();
            _view.Dispose();
            _file.Dispose();
        }
    }

    // Tensors start at any byte.
    private static T Load<T>(byte* source, int index)
        where T : unmanaged
        => System.Runtime.CompilerServices.Unsafe.ReadUnaligned<T>(source + ((long)index * sizeof(T)));

    private Reading Read()
    {
        ObjectDisposedException.ThrowIf(Volatile.Read(ref _disposed) != 0, this);
        return new Reading(_handle);
    }

    private byte* Locate(SafetensorsTensor tensor, long start, int count)
    {
        Check(tensor);
        if (start < 0 || start > tensor.Length - count)
        {
            throw new ArgumentOutOfRangeException(nameof(start), start, FormattableString.Invariant($"{count} elements from {start} on are not inside the tensor's {tensor.Length}."));
        }

        return _data + tensor.Offset + (start * SafetensorsFormat.SizeOf(tensor.Type));
    }

    private void Check(SafetensorsTensor tensor)
    {
        ArgumentNullException.ThrowIfNull(tensor);
        ObjectDisposedException.ThrowIf(Volatile.Read(ref _disposed) != 0, this);
        if (!ReferenceEquals(Find(tensor.Name), tensor))
        {
            throw new ArgumentException("The tensor is not of this file.", nameof(tensor));
        }
    }

    private ModelFileException WrongType(SafetensorsTensor tensor, string expected)
        => new(Path, $"tensor {Quoted.Text(tensor.Name)}, dtype", expected, SafetensorsFormat.NameOf(tensor.Type));

    /// <summary>Keeps the mapping until a read has ended, whoever closes the file meanwhile.</summary>
    private readonly ref struct Reading
    {
        private readonly SafeMemoryMappedViewHandle _handle;

        public Reading(SafeMemoryMappedViewHandle handle)
        {
            bool added = false;
            handle.DangerousAddRef(ref added);
            _handle = handle;
        }

        public void Dispose() => _handle.DangerousRelease();
    }
}
