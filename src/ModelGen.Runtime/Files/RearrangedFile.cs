namespace ModelGen.Runtime;

/// <summary>Another file whose tensors are partly joined or cut otherwise; the rest of them are the file's own.</summary>
internal abstract class RearrangedFile : WeightFile
{
    private readonly Dictionary<string, WeightTensor> _byName = new(StringComparer.Ordinal);

    private protected RearrangedFile(WeightFile file, IReadOnlyList<WeightTensor> tensors)
    {
        (File, Tensors) = (file, tensors);
        foreach (WeightTensor tensor in tensors)
        {
            _byName.Add(tensor.Name, tensor);
        }
    }

    public sealed override string Path => File.Path;

    public sealed override WeightFileFormat Format => File.Format;

    public sealed override IReadOnlyList<WeightTensor> Tensors { get; }

    public sealed override IReadOnlyDictionary<string, string> Metadata => File.Metadata;

    /// <summary>The file, which is closed with this one.</summary>
    private protected WeightFile File { get; }

    public sealed override WeightTensor? Find(string name) => _byName.GetValueOrDefault(name);

    public override void ReadFloats(WeightTensor tensor, long start, Span<float> destination)
    {
        CheckOwn(tensor);
        File.ReadFloats(tensor, start, destination);
    }

    internal override bool TryReadRow(WeightTensor tensor, GgmlType type, long row, Span<byte> destination)
    {
        CheckOwn(tensor);
        return File.TryReadRow(tensor, type, row, destination);
    }

    private protected sealed override void Close() => File.Dispose();
}
