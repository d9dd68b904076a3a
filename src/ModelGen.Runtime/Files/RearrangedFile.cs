using System.Collections.Immutable;

namespace ModelGen.Runtime;

/// <summary>Another file whose tensors are partly joined, cut or unpacked otherwise; the rest of them are the file's own.</summary>
internal sealed class RearrangedFile : WeightFile
{
    private readonly WeightFile _file;
    private readonly Dictionary<string, WeightTensor> _byName;

    private RearrangedFile(WeightFile file, IReadOnlyList<WeightTensor> tensors, Dictionary<string, WeightTensor> byName) => (_file, Tensors, _byName) = (file, tensors, byName);

    /// <summary>Says where rows of a tensor lie from one on: the tensor, the row there, and how many of them follow each other.</summary>
    public delegate (WeightTensor Tensor, long Row, long Count) RowLocator(long row);

    /// <summary>Gives elements of a tensor from one on.</summary>
    public delegate void ElementReader(long start, Span<float> destination);

    public override string Path => _file.Path;

    public override WeightFileFormat Format => _file.Format;

    public override IReadOnlyList<WeightTensor> Tensors { get; }

    public override IReadOnlyDictionary<string, string> Metadata => _file.Metadata;

    /// <summary>The file, or a view of it that is to be closed instead.</summary>
    /// <param name="file">The file.</param>
    /// <param name="replace">What stands in the place of a tensor: itself for null, and for an empty list nothing. Where the file has a name of another already, or two of them would be one, all stays as it is.</param>
    public static WeightFile Of(WeightFile file, Func<WeightTensor, IReadOnlyList<WeightTensor>?> replace)
    {
        var tensors = new List<WeightTensor>(file.Tensors.Count);
        var byName = new Dictionary<string, WeightTensor>(file.Tensors.Count, StringComparer.Ordinal);
        bool isOther = false;
        foreach (WeightTensor tensor in file.Tensors)
        {
            IReadOnlyList<WeightTensor> others = replace(tensor) is { } found && !found.Has(other => file.Find(other.Name) is { } there && !ReferenceEquals(there, tensor)) ? found : [tensor];
            isOther |= others is not [var only] || !ReferenceEquals(only, tensor);
            tensors.AddRange(others);
        }

        return isOther && tensors.TrueForAll(tensor => byName.TryAdd(tensor.Name, tensor)) ? new RearrangedFile(file, tensors.AsReadOnly(), byName) : file;
    }

    public override WeightTensor? Find(string name) => _byName.GetValueOrDefault(name);

    public override void ReadFloats(WeightTensor tensor, long start, Span<float> destination)
    {
        CheckOwn(tensor);
        switch (Own(tensor))
        {
            case Computed computed:
                CheckRange(tensor, start, destination.Length);
                computed.Read(start, destination);
                break;

            case Rows rows:
                CheckRange(tensor, start, destination.Length);
                long columns = rows.Columns;
                while (!destination.IsEmpty)
                {
                    (long row, long at) = Math.DivRem(start, columns);
                    (WeightTensor source, long first, long count) = rows.At(row);
                    int read = (int)Math.Min((count * columns) - at, destination.Length);
                    _file.ReadFloats(source, (first * columns) + at, destination[..read]);
                    destination = destination[read..];
                    start += read;
                }

                break;

            default:
                _file.ReadFloats(tensor, start, destination);
                break;
        }
    }

    internal override bool TryReadRows(WeightTensor tensor, GgmlType type, long row, int count, Span<byte> destination)
    {
        CheckOwn(tensor);
        switch (Own(tensor))
        {
            case Computed:
                return false;
            case Rows rows:
                int rowBytes = destination.Length / count;
                while (count > 0)
                {
                    (WeightTensor source, long found, long together) = rows.At(row);
                    int read = (int)Math.Min(together, count);
                    if (!_file.TryReadRows(source, type, found, read, destination[..(read * rowBytes)]))
                    {
                        return false;
                    }

                    destination = destination[(read * rowBytes)..];
                    row += read;
                    count -= read;
                }

                return true;
            default:
                return _file.TryReadRows(tensor, type, row, count, destination);
        }
    }

    internal override bool TryReadColumn(WeightTensor tensor, GgmlType type, long column, Span<byte> destination)
    {
        CheckOwn(tensor);
        return tensor is not (Computed or Rows) && _file.TryReadColumn(tensor, type, column, destination);
    }

    internal override (GgufFile File, GgufTensor Tensor)? Original(WeightTensor tensor)
    {
        CheckOwn(tensor);
        return tensor is Computed or Rows ? null : _file.Original(tensor);
    }

    internal override bool IsReadInOrder(WeightTensor tensor)
    {
        CheckOwn(tensor);
        return Own(tensor) switch
        {
            null => _file.IsReadInOrder(tensor),
            Rows rows => _file.IsReadInOrder(rows.Like),
            _ => false,
        };
    }

    internal override void AddSources(WeightTensor tensor, HashSet<WeightTensor> sources)
    {
        CheckOwn(tensor);
        switch (Own(tensor))
        {
            case null:
                _file.AddSources(tensor, sources);
                break;

            case Rows rows:
                for (long row = 0, end = rows.Length / Math.Max(1, rows.Columns); row < end;)
                {
                    (WeightTensor source, _, long together) = rows.At(row);
                    _file.AddSources(source, sources);
                    row += together;
                }

                break;
        }
    }

    internal override bool TryReadBytes(WeightTensor tensor, long start, Span<byte> destination)
    {
        CheckOwn(tensor);
        return Own(tensor) is null && _file.TryReadBytes(tensor, start, destination);
    }

    private protected override void Close() => _file.Dispose();

    /// <summary>The tensor, if it is of this view; null for what the file has as it is, which may be of a view itself.</summary>
    private WeightTensor? Own(WeightTensor tensor) => ReferenceEquals(_file.Find(tensor.Name), tensor) ? null : tensor;

    /// <summary>A tensor whose rows are rows of others, which are as wide.</summary>
    /// <param name="Name">The name.</param>
    /// <param name="Shape">The extents; of a vector, each element is a row.</param>
    /// <param name="Like">One of the others, whose type it has.</param>
    /// <param name="At">Where its rows lie.</param>
    public sealed record Rows(string Name, ImmutableArray<long> Shape, WeightTensor Like, RowLocator At)
        : WeightTensor(Name, Shape, (long)((Int128)Like.ByteLength * Count(Shape) / Math.Max(1, Like.Length)))
    {
        public override string TypeName => Like.TypeName;

        public override long Length => Count(Shape);

        public override bool IsFloat => Like.IsFloat;

        public long Columns => Shape.Length > 1 ? Shape[^1] : 1;

        /// <summary>A part of another tensor's rows that follow each other; all of them under another name.</summary>
        public static Rows Of(string name, ImmutableArray<long> shape, WeightTensor whole, long first = 0)
        {
            long rows = shape.Length > 1 ? Count(shape) / Math.Max(1, shape[^1]) : Count(shape);
            return new Rows(name, shape, whole, row => (whole, first + row, rows - row));
        }
    }

    /// <summary>A tensor whose elements follow from others.</summary>
    /// <param name="Name">The name.</param>
    /// <param name="Shape">The extents.</param>
    /// <param name="ByteLength">The bytes that they follow from.</param>
    /// <param name="StoredAs">How those are stored.</param>
    /// <param name="Read">Gives the elements.</param>
    public sealed record Computed(string Name, ImmutableArray<long> Shape, long ByteLength, string StoredAs, ElementReader Read)
        : WeightTensor(Name, Shape, ByteLength)
    {
        public override string TypeName => StoredAs;

        public override long Length => Count(Shape);

        public override bool IsFloat => true;
    }

    private static long Count(ImmutableArray<long> shape) => shape.Fold(1L, static (product, extent) => checked(product * extent));
}
