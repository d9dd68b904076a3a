using System.Collections.Immutable;

namespace ModelGen.Runtime;

/// <summary>A GGUF file under the names, and with the shapes and the order of rows, of the Hugging Face checkpoint that it was made from.</summary>
internal sealed class HuggingFaceView : WeightFile
{
    // What only tells how to compute with positions, which a model's declaration says.
    private static readonly string[] s_rotaryFactors = ["rope_freqs.weight", "rope_factors_long.weight", "rope_factors_short.weight"];

    private readonly GgufFile _file;
    private readonly Dictionary<string, Renamed> _byName = new(StringComparer.Ordinal);
    private readonly Dictionary<string, string> _metadata = new(StringComparer.Ordinal);
    private readonly int _headWidth;

    private HuggingFaceView(GgufFile file)
    {
        _file = file;
        string architecture = file.Values.GetValueOrDefault("general.architecture")?.AsText() ?? "";
        HuggingFaceNames names = HuggingFaceNames.Of(architecture);
        var tensors = new List<Renamed>(file.Tensors.Count);
        foreach (GgufTensor tensor in file.Tensors)
        {
            if (Array.IndexOf(s_rotaryFactors, tensor.Name) >= 0)
            {
                continue;
            }

            (string name, TensorChange change) = names.ToHuggingFace(tensor.Name);
            change = change is TensorChange.Transposed or TensorChange.Channels && tensor.Shape.Length != 2 ? TensorChange.None : change;
            ImmutableArray<long> shape = change switch
            {
                TensorChange.Transposed => [tensor.Shape[1], tensor.Shape[0]],
                TensorChange.Channels => [tensor.Shape[0], 1, tensor.Shape[1]],
                TensorChange.RateColumn or TensorChange.Column or TensorChange.Groups => [tensor.Length],
                _ => tensor.Shape,
            };
            var renamed = new Renamed(name, shape, tensor, change);
            if (!_byName.TryAdd(name, renamed))
            {
                throw new ModelFileException(file.Path, $"tensor {Quoted.Text(tensor.Name)}", "one tensor", $"another that is {Quoted.Text(name)}");
            }

            if (change is TensorChange.QueryRows or TensorChange.KeyRows)
            {
                _headWidth = _headWidth > 0 ? _headWidth : HeadWidth(architecture);
                if (tensor.Shape.IsEmpty || tensor.Shape[0] % _headWidth != 0)
                {
                    throw new ModelFileException(file.Path, $"tensor {Quoted.Text(tensor.Name)}, dimensions", FormattableString.Invariant($"rows of heads of {_headWidth}"), Quoted.List(tensor.Shape.AsSpan()));
                }
            }

            tensors.Add(renamed);
        }

        Tensors = tensors.AsReadOnly();
        foreach ((string key, GgufValue value) in file.Values)
        {
            if (key.StartsWith(FileMetadata.Prefix, StringComparison.Ordinal) && value.AsText() is { } text)
            {
                _metadata.Add(key, text);
            }
        }
    }

    public override string Path => _file.Path;

    public override WeightFileFormat Format => WeightFileFormat.Gguf;

    public override IReadOnlyList<WeightTensor> Tensors { get; }

    /// <summary>What this library recorded: the rest is of the file's architecture, not of the checkpoint.</summary>
    public override IReadOnlyDictionary<string, string> Metadata => _metadata;

    /// <summary>The file under other names, whose it then is to close.</summary>
    public static HuggingFaceView Of(GgufFile file)
    {
        try
        {
            return new HuggingFaceView(file);
        }
        catch
        {
            file.Dispose();
            throw;
        }
    }

    public override WeightTensor? Find(string name) => _byName.GetValueOrDefault(name);

    public override void ReadFloats(WeightTensor tensor, long start, Span<float> destination)
    {
        CheckOwn(tensor);
        CheckRange(tensor, start, destination.Length);
        var own = (Renamed)tensor;
        switch (own.Change)
        {
            case TensorChange.None or TensorChange.Channels or TensorChange.Column or TensorChange.Groups:
                _file.ReadFloats(own.Source, start, destination);
                break;
            case TensorChange.LessOne:
                _file.ReadFloats(own.Source, start, destination);
                foreach (ref float value in destination)
                {
                    value -= 1;
                }

                break;
            case TensorChange.Rates or TensorChange.RateColumn:
                _file.ReadFloats(own.Source, start, destination);
                foreach (ref float value in destination)
                {
                    value = MathF.Log(-value);
                }

                break;
            case TensorChange.Transposed:
                ReadTransposed(own, start, destination);
                break;
            default:
                _file.ReadReordered(own.Source, start, destination, row => RotaryRows.ToNeighbours(row, _headWidth));
                break;
        }
    }

    internal override bool TryReadRows(WeightTensor tensor, GgmlType type, long row, int count, Span<byte> destination)
    {
        CheckOwn(tensor);
        var own = (Renamed)tensor;
        if (own.Change == TensorChange.None)
        {
            return _file.TryReadRows(own.Source, type, row, count, destination);
        }

        if (own.Change is not (TensorChange.QueryRows or TensorChange.KeyRows))
        {
            return false;
        }

        // Of a head at a time, whose rows lie together in another order; of a part of one, row by row.
        int rowBytes = destination.Length / count, done = 0;
        if (row % _headWidth == 0 && count >= _headWidth)
        {
            byte[] head = GC.AllocateUninitializedArray<byte>(_headWidth * rowBytes);
            for (; done <= count - _headWidth; done += _headWidth)
            {
                if (!_file.TryReadRows(own.Source, type, row + done, _headWidth, head))
                {
                    return false;
                }

                for (int i = 0; i < _headWidth; i++)
                {
                    head.AsSpan((int)RotaryRows.ToNeighbours(i, _headWidth) * rowBytes, rowBytes).CopyTo(destination[((done + i) * rowBytes)..]);
                }
            }
        }

        for (int i = done; i < count; i++)
        {
            if (!_file.TryReadRows(own.Source, type, RotaryRows.ToNeighbours(row + i, _headWidth), 1, destination.Slice(i * rowBytes, rowBytes)))
            {
                return false;
            }
        }

        return true;
    }

    internal override bool TryReadColumn(WeightTensor tensor, GgmlType type, long column, Span<byte> destination)
    {
        CheckOwn(tensor);
        var own = (Renamed)tensor;
        return own.Change == TensorChange.Transposed && _file.TryReadRows(own.Source, type, column, 1, destination);
    }

    internal override (GgufFile File, GgufTensor Tensor)? Original(WeightTensor tensor)
    {
        CheckOwn(tensor);
        return (_file, ((Renamed)tensor).Source);
    }

    internal override void AddSources(WeightTensor tensor, HashSet<WeightTensor> sources)
    {
        CheckOwn(tensor);
        sources.Add(((Renamed)tensor).Source);
    }

    private protected override void Close() => _file.Dispose();

    private int HeadWidth(string architecture)
    {
        long headWidth = HeadWidth(_file, architecture);
        return headWidth is > 0 and <= int.MaxValue && headWidth % 2 == 0
            ? (int)headWidth
            : throw new ModelFileException(_file.Path, $"metadata '{architecture}.attention.head_count'", "heads of an even width, which the rotary order of their rows is told by", FormattableString.Invariant($"heads of {headWidth} channels"));
    }

    /// <summary>The channels of a head, as a file's metadata say them; 0 where they do not.</summary>
    public static long HeadWidth(GgufFile file, string architecture)
    {
        long heads = Integer("attention.head_count"), width = Integer("embedding_length");
        return Integer("attention.key_length") is not 0 and var headWidth ? headWidth : heads > 0 && width % heads == 0 ? width / heads : 0;

        long Integer(string key) => file.Values.GetValueOrDefault($"{architecture}.{key}")?.AsInteger() ?? 0;
    }

    private void ReadTransposed(Renamed tensor, long start, Span<float> destination)
    {
        if (destination.IsEmpty)
        {
            return;
        }

        // A column of what is asked for is a piece of a row in the file.
        long rows = tensor.Shape[0];
        long columns = tensor.Shape[1];
        long firstRow = start / columns;
        int count = (int)(((start + destination.Length - 1) / columns) - firstRow + 1);
        float[] piece = GC.AllocateUninitializedArray<float>(count);
        for (long column = 0; column < columns; column++)
        {
            _file.ReadFloats(tensor.Source, (column * rows) + firstRow, piece);
            for (int row = 0; row < count; row++)
            {
                long at = ((firstRow + row) * columns) + column - start;
                if (at >= 0 && at < destination.Length)
                {
                    destination[(int)at] = piece[row];
                }
            }
        }
    }

    private sealed record Renamed(string Name, ImmutableArray<long> Shape, GgufTensor Source, TensorChange Change)
        : WeightTensor(Name, Shape, Source.ByteLength)
    {
        public override string TypeName => Source.TypeName;

        public override long Length => Source.Length;

        public override bool IsFloat => Source.IsFloat;
    }
}
