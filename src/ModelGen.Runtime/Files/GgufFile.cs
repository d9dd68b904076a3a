using System.Collections.Immutable;
using System.Collections.ObjectModel;
using ModelGen.Runtime;

namespace ModelGen;

/// <summary>One tensor of a GGUF file.</summary>
/// <param name="Name">The tensor's name.</param>
/// <param name="Type">How the elements are stored.</param>
/// <param name="Shape">The extents, row-major: the reverse of the file's order. None for a scalar.</param>
/// <param name="Offset">Where the elements start, in bytes from the file's start.</param>
/// <param name="ByteLength">The length of the elements in bytes.</param>
public sealed record GgufTensor(string Name, GgmlType Type, ImmutableArray<long> Shape, long Offset, long ByteLength)
    : WeightTensor(Name, Shape, ByteLength)
{
    /// <inheritdoc/>
    public override string TypeName => Type.ToString();

    /// <inheritdoc/>
    public override long Length => ByteLength / GgmlBlocks.Size(Type).Bytes * GgmlBlocks.Size(Type).Elements;

    /// <inheritdoc/>
    public override bool IsFloat => GgmlBlocks.IsFloat(Type);
}

/// <summary>
/// A GGUF file of version 2 or 3, with its tensors as the file names and stores them. Opening it checks everything that the header says
/// against the file. <see cref="WeightFile.Open"/> gives the same weights under Hugging Face's names.
/// </summary>
public sealed unsafe class GgufFile : WeightFile
{
    private readonly FileBytes _file;
    private readonly Dictionary<string, GgufTensor> _byName;
    private ReadOnlyDictionary<string, string>? _texts;

    private GgufFile(FileBytes file, GgufHeader header)
    {
        _file = file;
        _byName = header.ByName;
        Version = header.Version;
        Tensors = header.Tensors.AsReadOnly();
        Values = header.Values.AsReadOnly();
    }

    /// <summary>What the file begins with.</summary>
    internal static ReadOnlySpan<byte> Magic => "GGUF"u8;

    /// <inheritdoc/>
    public override string Path => _file.Path;

    /// <inheritdoc/>
    public override WeightFileFormat Format => WeightFileFormat.Gguf;

    /// <summary>The version of the format.</summary>
    public int Version { get; }

    /// <inheritdoc/>
    public override IReadOnlyList<GgufTensor> Tensors { get; }

    /// <summary>The metadata: the architecture, its sizes, the vocabulary.</summary>
    public IReadOnlyDictionary<string, GgufValue> Values { get; }

    /// <summary>The metadata as text, of arrays how many values they have.</summary>
    public override IReadOnlyDictionary<string, string> Metadata
        => _texts ??= TextsOf(Values);

    /// <summary>Opens a file and checks its header.</summary>
    /// <param name="path">The file.</param>
    /// <exception cref="ModelFileException">The file is no GGUF file, or a damaged one; a directory, a pipe or a device; or may not be read.</exception>
    /// <exception cref="IOException">The file cannot be read.</exception>
    public static new GgufFile Open(string path)
    {
        FileBytes file = FileBytes.Open(path);
        try
        {
            using FileBytes.Reading reading = file.Read();
            return new GgufFile(file, GgufFormat.Parse(file));
        }
        catch
        {
            file.Dispose();
            throw;
        }
    }

    /// <summary>The same weights under Hugging Face's names, as <see cref="WeightFile.Open"/> gives them, without reading the header again. Closing them closes this file, also where they cannot be had.</summary>
    /// <exception cref="ModelFileException">Two tensors have one name there, or rows are none of heads; or it is a file of adapters that is not understood.</exception>
    public WeightFile WithHuggingFaceNames() => AdapterView.IsOne(this) ? AdapterView.Of(this) : FusedView.Of(HuggingFaceView.Of(this));

    /// <inheritdoc/>
    public override GgufTensor? Find(string name) => _byName.GetValueOrDefault(name);

    /// <inheritdoc/>
    public override void ReadFloats(WeightTensor tensor, long start, Span<float> destination)
    {
        using FileBytes.Reading reading = _file.Read();
        CheckOwn(tensor);
        CheckRange(tensor, start, destination.Length);
        var own = (GgufTensor)tensor;
        if (!own.IsFloat)
        {
            throw new ModelFileException(Path, $"tensor {Quoted.Text(tensor.Name)}, type", "a type of floats", tensor.TypeName);
        }

        if (own.Type == GgmlType.F32)
        {
            Elements.ReadFloats(_file, own.Offset + (start * sizeof(float)), SafetensorsType.F32, destination);
            return;
        }

        (int elements, int bytes) = GgmlBlocks.Size(own.Type);
        int room = (int)Math.Min(FileBytes.StripBytes / bytes, (destination.Length / elements) + 2L);
        byte* strip = stackalloc byte[room * bytes];
        while (!destination.IsEmpty)
        {
            int within = (int)(start % elements), count = Math.Min(destination.Length, (room * elements) - within);
            _file.Copy(own.Offset + (start / elements * bytes), new Span<byte>(strip, (within + count + elements - 1) / elements * bytes));
            GgmlBlocks.Read(own.Type, strip, within, destination[..count]);
            destination = destination[count..];
            start += count;
        }
    }

    /// <summary>Reads blocks as they are stored.</summary>
    /// <param name="tensor">A tensor of this file.</param>
    /// <param name="startByte">The first byte to read, from the tensor's start.</param>
    /// <param name="destination">Where the bytes go; its length says how many.</param>
    /// <exception cref="ArgumentException">The tensor is not of this file.</exception>
    /// <exception cref="ArgumentOutOfRangeException">The range is not inside the tensor.</exception>
    /// <exception cref="ObjectDisposedException">The file was closed.</exception>
    public void ReadBytes(GgufTensor tensor, long startByte, Span<byte> destination)
    {
        using FileBytes.Reading reading = _file.Read();
        CheckOwn(tensor);
        if (startByte < 0 || startByte > tensor.ByteLength - destination.Length)
        {
            throw new ArgumentOutOfRangeException(nameof(startByte), startByte, FormattableString.Invariant($"{destination.Length} bytes from {startByte} on are not inside the tensor's {tensor.ByteLength}."));
        }

        _file.Copy(tensor.Offset + startByte, destination);
    }

    internal override bool TryReadRows(WeightTensor tensor, GgmlType type, long row, int count, Span<byte> destination)
    {
        if (tensor is not GgufTensor own || own.Type != type)
        {
            return false;
        }

        ReadBytes(own, row * (destination.Length / count), destination);
        return true;
    }

    private protected override void Close() => _file.Dispose();

    private static ReadOnlyDictionary<string, string> TextsOf(IReadOnlyDictionary<string, GgufValue> values)
    {
        var texts = new Dictionary<string, string>(values.Count, StringComparer.Ordinal);
        foreach ((string key, GgufValue value) in values)
        {
            texts.Add(key, value.ToString());
        }

        return texts.AsReadOnly();
    }
}
