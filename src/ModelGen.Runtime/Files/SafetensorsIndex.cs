using System.Collections.ObjectModel;
using System.Text.Unicode;

namespace ModelGen.Runtime;

/// <summary>
/// Safetensors files that hold the tensors of one model, by the index beside them (<c>model.safetensors.index.json</c>), which says which file has which tensor. The files lie in the index's own folder: a path that leads elsewhere is refused.
/// </summary>
internal sealed class SafetensorsIndex : WeightFile
{
    private const int MaximumShards = 4096;

    private readonly List<SafetensorsFile> _shards = [];
    private readonly Dictionary<string, (SafetensorsFile Shard, SafetensorsTensor Tensor)> _byName = new(StringComparer.Ordinal);

    private SafetensorsIndex(string path)
    {
        Path = path;
        try
        {
            List<(string Tensor, string File)> map = ReadMap(path);
            string folder = System.IO.Path.GetDirectoryName(System.IO.Path.GetFullPath(path))!;
            var byFile = new Dictionary<string, SafetensorsFile>(StringComparer.Ordinal);
            var tensors = new List<WeightTensor>(map.Count);
            var missing = new List<ModelFileProblem>();
            foreach ((string name, string file) in map)
            {
                if (!byFile.TryGetValue(file, out SafetensorsFile? shard))
                {
                    shard = Open(path, folder, file, byFile.Count);
                    byFile.Add(file, shard);
                    _shards.Add(shard);
                }

                if (shard.Find(name) is { } tensor)
                {
                    _byName.Add(name, (shard, tensor));
                    tensors.Add(tensor);
                }
                else
                {
                    missing.Add(new ModelFileProblem($"weight_map {Quoted.Text(name)}", $"a tensor of {Quoted.Text(file)}", "none of this name there"));
                }
            }

            if (missing.Count > 0)
            {
                throw new ModelFileException(path, "the index does not fit its files", missing, "");
            }

            Tensors = tensors.AsReadOnly();
            Metadata = _shards.Count > 0 ? _shards[0].Metadata : ReadOnlyDictionary<string, string>.Empty;
        }
        catch
        {
            Close();
            throw;
        }
    }

    public override string Path { get; }

    public override WeightFileFormat Format => WeightFileFormat.Safetensors;

    public override IReadOnlyList<WeightTensor> Tensors { get; }

    /// <summary>That of the first file: the index says only how large all are.</summary>
    public override IReadOnlyDictionary<string, string> Metadata { get; }

    public static new SafetensorsIndex Open(string path) => new(path);

    /// <summary>Whether a file begins as JSON does, and not with the length of a safetensors header, which has bytes of zero.</summary>
    public static bool LooksLikeOne(ReadOnlySpan<byte> head)
        => head.Length >= 8 && head[0] is (byte)'{' or (byte)' ' or (byte)'\t' or (byte)'\r' or (byte)'\n' && !head[..8].Contains((byte)0);

    public override WeightTensor? Find(string name) => _byName.TryGetValue(name, out (SafetensorsFile Shard, SafetensorsTensor Tensor) found) ? found.Tensor : null;

    public override void ReadFloats(WeightTensor tensor, long start, Span<float> destination)
    {
        CheckOwn(tensor);
        _byName[tensor.Name].Shard.ReadFloats(tensor, start, destination);
    }

    internal override bool TryReadRows(WeightTensor tensor, GgmlType type, long row, int count, Span<byte> destination)
    {
        CheckOwn(tensor);
        return _byName[tensor.Name].Shard.TryReadRows(tensor, type, row, count, destination);
    }

    internal override bool TryReadBytes(WeightTensor tensor, long start, Span<byte> destination)
    {
        CheckOwn(tensor);
        return _byName[tensor.Name].Shard.TryReadBytes(tensor, start, destination);
    }

    private protected override void Close() => _shards.ForEach(static shard => shard.Dispose());

    private static SafetensorsFile Open(string path, string folder, string file, int count)
    {
        if (count == MaximumShards)
        {
            throw new ModelFileException(path, "weight_map", FormattableString.Invariant($"at most {MaximumShards} files"), "more");
        }

        if (file.Length == 0 || file is "." or ".." || file.AsSpan().IndexOfAny('/', '\\', ':') >= 0 || file.Contains('\0', StringComparison.Ordinal))
        {
            throw new ModelFileException(path, "weight_map", "names of files in the index's folder", Quoted.Text(file));
        }

        return SafetensorsFile.Open(System.IO.Path.Combine(folder, file));
    }

    private static List<(string Tensor, string File)> ReadMap(string path)
    {
        using FileBytes file = FileBytes.Open(path);
        using FileBytes.Reading reading = file.Read();
        if (file.Length > SafetensorsFormat.MaximumHeaderLength)
        {
            throw new ModelFileException(path, "length", FormattableString.Invariant($"at most {SafetensorsFormat.MaximumHeaderLength} bytes"), FormattableString.Invariant($"{file.Length}"));
        }

        byte[] text = file.Bytes(0, (int)file.Length);
        if (!Utf8.IsValid(text))
        {
            throw new ModelFileException(path, "file", "UTF-8 text", "bytes that are not");
        }

        try
        {
            return ReadMap(path, text);
        }
        catch (Exception exception) when (exception is FormatException or InvalidOperationException)
        {
            throw new ModelFileException(path, "file", "the well-formed JSON of an index", "something else", exception);
        }
    }

    private static List<(string Tensor, string File)> ReadMap(string path, ReadOnlySpan<byte> text)
    {
        List<(string, string)>? map = null;
        var names = new HashSet<string>(StringComparer.Ordinal);
        var reader = new JsonScanner(text, deepest: 16);
        reader.Read();
        if (reader.Token != JsonToken.StartObject)
        {
            throw new ModelFileException(path, "file", "a JSON object with a weight_map", "something else");
        }

        while (reader.Read() && reader.Token == JsonToken.PropertyName)
        {
            bool isMap = reader.Is("weight_map");
            reader.Read();
            if (!isMap)
            {
                reader.Skip();
                continue;
            }

            if (map is not null || reader.Token != JsonToken.StartObject)
            {
                throw new ModelFileException(path, "weight_map", "an object of the files of tensors", map is null ? "something else" : "another");
            }

            map = [];
            while (reader.Read() && reader.Token == JsonToken.PropertyName)
            {
                string tensor = Text(path, ref reader);
                reader.Read();
                string shard = reader.Token == JsonToken.String ? Text(path, ref reader) : throw new ModelFileException(path, $"weight_map {Quoted.Text(tensor)}", "the name of a file", "something else");
                if (!names.Add(tensor))
                {
                    throw new ModelFileException(path, $"weight_map {Quoted.Text(tensor)}", "one entry", "another");
                }

                if (map.Count == SafetensorsFormat.MaximumTensors)
                {
                    throw new ModelFileException(path, "weight_map", FormattableString.Invariant($"at most {SafetensorsFormat.MaximumTensors} tensors"), "more");
                }

                map.Add((tensor, shard));
            }
        }

        // Reads to the end, where only white space may follow.
        while (reader.Read())
        {
        }

        return map ?? throw new ModelFileException(path, "weight_map", "an object of the files of tensors", "none");
    }

    private static string Text(string path, ref JsonScanner reader)
        => reader.Value.Length <= SafetensorsFormat.MaximumNameBytes ? reader.Text()
            : throw new ModelFileException(path, "weight_map", FormattableString.Invariant($"names of at most {SafetensorsFormat.MaximumNameBytes} bytes"), Quoted.Utf8(reader.Value));
}
