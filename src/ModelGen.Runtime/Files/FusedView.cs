using System.Collections.Immutable;

namespace ModelGen.Runtime;

/// <summary>
/// A checkpoint that holds projections of one input as one matrix (<c>shared_mlp.input_linear</c>: <c>mlp.gate_proj</c> above <c>mlp.up_proj</c>), under the names of its parts, which models have as parameters of their own.
/// </summary>
internal sealed class FusedView : RearrangedFile
{
    // Parts have as many rows each.
    private static readonly (string Fused, ImmutableArray<string> Parts)[] s_rules =
    [
        (".shared_mlp.input_linear.weight", [".mlp.gate_proj.weight", ".mlp.up_proj.weight"]),
        (".shared_mlp.output_linear.weight", [".mlp.down_proj.weight"]),
    ];

    private FusedView(WeightFile file, IReadOnlyList<WeightTensor> tensors)
        : base(file, tensors)
    {
    }

    /// <summary>The file, or a view of it that is to be closed instead. A matrix that has no such parts, or beside which the file has one of them, stays what it is.</summary>
    public static WeightFile Of(WeightFile file)
    {
        var tensors = new List<WeightTensor>();
        bool isFused = false;
        foreach (WeightTensor tensor in file.Tensors)
        {
            (string fused, ImmutableArray<string> parts) = s_rules.FirstOrDefault(rule => tensor.Name.EndsWith(rule.Fused, StringComparison.Ordinal));
            string[] names = fused is null ? [] : [.. parts.Select(part => string.Concat(tensor.Name.AsSpan(0, tensor.Name.Length - fused.Length), part))];
            if (names.Length == 0 || !tensor.IsFloat || tensor.Shape.Length != 2 || tensor.Shape[0] == 0 || tensor.Shape[0] % names.Length != 0 || names.Any(name => file.Find(name) is not null))
            {
                tensors.Add(tensor);
                continue;
            }

            isFused = true;
            tensors.AddRange(names.Select((name, number) => new Part(name, [tensor.Shape[0] / names.Length, tensor.Shape[1]], tensor, number * (tensor.Length / names.Length), tensor.ByteLength / names.Length)));
        }

        return isFused ? new FusedView(file, tensors.AsReadOnly()) : file;
    }

    public override void ReadFloats(WeightTensor tensor, long start, Span<float> destination)
    {
        if (tensor is not Part part)
        {
            base.ReadFloats(tensor, start, destination);
            return;
        }

        CheckOwn(tensor);
        CheckRange(tensor, start, destination.Length);
        File.ReadFloats(part.Whole, part.First + start, destination);
    }

    internal override bool TryReadRow(WeightTensor tensor, GgmlType type, long row, Span<byte> destination)
    {
        if (tensor is not Part part)
        {
            return base.TryReadRow(tensor, type, row, destination);
        }

        CheckOwn(tensor);
        return File.TryReadRow(part.Whole, type, (part.First / part.Shape[1]) + row, destination);
    }

    private sealed record Part(string Name, ImmutableArray<long> Shape, WeightTensor Whole, long First, long Bytes)
        : WeightTensor(Name, Shape, Bytes)
    {
        public override string TypeName => Whole.TypeName;

        public override long Length => Shape[0] * Shape[1];

        public override bool IsFloat => Whole.IsFloat;
    }
}
