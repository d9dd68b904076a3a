using System.Collections.Immutable;

namespace ModelGen.Runtime;

/// <summary>A tensor of a file whose elements lie in it one after another, or with strides.</summary>
/// <param name="Name">The tensor's name.</param>
/// <param name="Type">The element type.</param>
/// <param name="Shape">The extents, row-major.</param>
/// <param name="Offset">Where the first element is, in bytes from the file's start.</param>
internal sealed record PlacedTensor(string Name, SafetensorsType Type, ImmutableArray<long> Shape, long Offset)
    : WeightTensor(Name, Shape, SafetensorsFormat.SizeOf(Type) * Shape.Fold(1L, static (product, extent) => product * extent))
{
    /// <summary>The elements from one index to the next of each extent; none where they follow each other.</summary>
    public ImmutableArray<long> Strides { get; init; } = [];

    public override string TypeName => SafetensorsFormat.NameOf(Type);

    public override long Length => ByteLength / SafetensorsFormat.SizeOf(Type);

    public override bool IsFloat => Elements.IsFloat(Type);
}

/// <summary>A file of tensors whose places were read, and checked, when it was opened.</summary>
internal abstract class IndexedFile : WeightFile
{
    private readonly FileBytes _file;
    private readonly StridedElements _strided;
    private readonly Dictionary<string, PlacedTensor> _byName = new(StringComparer.Ordinal);

    protected IndexedFile(FileBytes file, IReadOnlyList<PlacedTensor> tensors, IReadOnlyDictionary<string, string> metadata)
    {
        _file = file;
        _strided = new StridedElements(file);
        Tensors = tensors;
        Metadata = metadata;
        foreach (PlacedTensor tensor in tensors)
        {
            if (!_byName.TryAdd(tensor.Name, tensor))
            {
                throw new ModelFileException(file.Path, $"tensor {Quoted.Text(tensor.Name)}", "one of this name", "another");
            }
        }
    }

    public override string Path => _file.Path;

    public override IReadOnlyList<WeightTensor> Tensors { get; }

    public override IReadOnlyDictionary<string, string> Metadata { get; }

    public override WeightTensor? Find(string name) => _byName.GetValueOrDefault(name);

    public override void ReadFloats(WeightTensor tensor, long start, Span<float> destination)
    {
        using FileBytes.Reading reading = _file.Read();
        CheckOwn(tensor);
        CheckRange(tensor, start, destination.Length);
        var own = (PlacedTensor)tensor;
        if (!own.IsFloat)
        {
            throw new ModelFileException(Path, $"tensor {Quoted.Text(own.Name)}, type", "floating-point numbers", own.TypeName);
        }

        if (own.Strides.IsEmpty)
        {
            Elements.ReadFloats(_file, own.Offset + (start * SafetensorsFormat.SizeOf(own.Type)), own.Type, destination);
            return;
        }

        _strided.Read(own, start, destination);
    }

    /// <summary>The elements of a shape; null where it has a negative extent, or more elements than 2⁶⁰.</summary>
    protected static long? CountOf(ReadOnlySpan<long> shape)
    {
        Int128 count = 1;
        foreach (long extent in shape)
        {
            count *= extent;
            if (extent < 0 || count > 1L << 60)
            {
                return null;
            }
        }

        return (long)count;
    }

    private protected override void Close()
    {
        _strided.Clear();
        _file.Dispose();
    }
}
