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
internal abstract unsafe class IndexedFile : WeightFile
{
    // Elements that are gathered at a time.
    private const int Run = 256;

    private readonly MappedFile _file;
    private readonly Dictionary<string, PlacedTensor> _byName = new(StringComparer.Ordinal);

    protected IndexedFile(MappedFile file, IReadOnlyList<PlacedTensor> tensors, IReadOnlyDictionary<string, string> metadata)
    {
        _file = file;
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
        using MappedFile.Reading reading = _file.Read();
        CheckOwn(tensor);
        CheckRange(tensor, start, destination.Length);
        var own = (PlacedTensor)tensor;
        if (!own.IsFloat)
        {
            throw new ModelFileException(Path, $"tensor {Quoted.Text(own.Name)}, type", "floating-point numbers", own.TypeName);
        }

        int size = SafetensorsFormat.SizeOf(own.Type);
        if (own.Strides.IsEmpty)
        {
            Elements.TryReadFloats(_file.Address(own.Offset + (start * size), (long)destination.Length * size), own.Type, destination);
            return;
        }

        ReadStrided(own, size, start, destination);
    }

    // Elements of one run along the last extent are gathered, then converted together.
    private void ReadStrided(PlacedTensor tensor, int size, long start, Span<float> destination)
    {
        if (destination.IsEmpty)
        {
            return;
        }

        int last = tensor.Shape.Length - 1;
        long reach = 1, stride = tensor.Strides[last] * size;
        for (int d = 0; d <= last; d++)
        {
            reach += (tensor.Shape[d] - 1) * tensor.Strides[d];
        }

        byte* from = _file.Address(tensor.Offset, reach * size);
        byte* gathered = stackalloc byte[Run * sizeof(double)];
        while (!destination.IsEmpty)
        {
            long rest = start, at = 0;
            for (int d = last; d >= 0; d--)
            {
                at += rest % tensor.Shape[d] * tensor.Strides[d];
                rest /= tensor.Shape[d];
            }

            int count = (int)Math.Min(Math.Min(Run, destination.Length), tensor.Shape[last] - (start % tensor.Shape[last]));
            byte* source = from + (at * size);
            for (int i = 0; i < count; i++, source += stride)
            {
                switch (size)
                {
                    case 1:
                        gathered[i] = *source;
                        break;
                    case 2:
                        ((ushort*)gathered)[i] = Elements.Load<ushort>(source, 0);
                        break;
                    case 4:
                        ((uint*)gathered)[i] = Elements.Load<uint>(source, 0);
                        break;
                    default:
                        ((ulong*)gathered)[i] = Elements.Load<ulong>(source, 0);
                        break;
                }
            }

            Elements.TryReadFloats(gathered, tensor.Type, destination[..count]);
            destination = destination[count..];
            start += count;
        }
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

    private protected override void Close() => _file.Dispose();
}
