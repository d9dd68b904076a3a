using System.Collections.Immutable;
using System.Globalization;

namespace ModelGen.Runtime;

/// <summary>
/// A checkpoint whose experts' matrices, which older files hold one by one (<c>mlp.experts.0.gate_proj.weight</c>, <c>mlp.experts.1.gate_proj.weight</c>, …), are one tensor each, <c>mlp.experts.gate_proj.weight</c> [experts, …], as models have them.
/// </summary>
internal sealed class ExpertsView : RearrangedFile
{
    private const string Marker = ".experts.";

    private ExpertsView(WeightFile file, IReadOnlyList<WeightTensor> tensors)
        : base(file, tensors)
    {
    }

    /// <summary>The file, or a view of it that is to be closed instead. Matrices that are not alike, or whose numbers are not 0, 1, 2, …, stay what they are.</summary>
    public static WeightFile Of(WeightFile file)
    {
        var stacks = new Dictionary<string, SortedDictionary<int, WeightTensor>>(StringComparer.Ordinal);
        foreach (WeightTensor tensor in file.Tensors)
        {
            if (Split(tensor.Name) is ({ } name, int number))
            {
                if (!stacks.TryGetValue(name, out SortedDictionary<int, WeightTensor>? parts))
                {
                    stacks.Add(name, parts = []);
                }

                if (!parts.TryAdd(number, tensor))
                {
                    return file;
                }
            }
        }

        foreach ((string name, SortedDictionary<int, WeightTensor> parts) in stacks.ToArray())
        {
            WeightTensor first = parts.Values.First();
            if (parts.Keys.Last() != parts.Count - 1 || file.Find(name) is not null || parts.Values.Any(part => !part.IsFloat || part.TypeName != first.TypeName || !part.Shape.AsSpan().SequenceEqual(first.Shape.AsSpan())))
            {
                stacks.Remove(name);
            }
        }

        if (stacks.Count == 0)
        {
            return file;
        }

        var tensors = new List<WeightTensor>();
        foreach (WeightTensor tensor in file.Tensors)
        {
            if (Split(tensor.Name) is not ({ } name, int number) || !stacks.TryGetValue(name, out SortedDictionary<int, WeightTensor>? parts))
            {
                tensors.Add(tensor);
            }
            else if (number == 0)
            {
                tensors.Add(new Stack(name, [.. parts.Values]));
            }
        }

        return new ExpertsView(file, tensors.AsReadOnly());
    }

    public override void ReadFloats(WeightTensor tensor, long start, Span<float> destination)
    {
        if (tensor is not Stack stack)
        {
            base.ReadFloats(tensor, start, destination);
            return;
        }

        CheckOwn(tensor);
        CheckRange(tensor, start, destination.Length);
        long each = stack.Parts[0].Length;
        while (!destination.IsEmpty)
        {
            (long part, long at) = Math.DivRem(start, each);
            int count = (int)Math.Min(each - at, destination.Length);
            File.ReadFloats(stack.Parts[(int)part], at, destination[..count]);
            destination = destination[count..];
            start += count;
        }
    }

    internal override bool TryReadRow(WeightTensor tensor, GgmlType type, long row, Span<byte> destination)
    {
        if (tensor is not Stack stack)
        {
            return base.TryReadRow(tensor, type, row, destination);
        }

        CheckOwn(tensor);
        long rows = stack.Parts[0].Shape[0];
        return File.TryReadRow(stack.Parts[(int)(row / rows)], type, row % rows, destination);
    }

    /// <summary>A name without the number of its expert, and the number; nothing for what has none.</summary>
    private static (string? Name, int Number) Split(string name)
    {
        int marker = name.IndexOf(Marker, StringComparison.Ordinal);
        int digits = marker + Marker.Length, end = marker < 0 ? -1 : name.IndexOf('.', digits);
        return end > digits && end - digits < 6 && int.TryParse(name.AsSpan(digits, end - digits), NumberStyles.None, CultureInfo.InvariantCulture, out int number) && (number == 0 || name[digits] != '0') && (number > 0 || end - digits == 1)
            ? (string.Concat(name.AsSpan(0, digits), name.AsSpan(end + 1)), number)
            : (null, 0);
    }

    private sealed record Stack(string Name, ImmutableArray<WeightTensor> Parts)
        : WeightTensor(Name, [Parts.Length, .. Parts[0].Shape], Parts.Sum(static part => part.ByteLength))
    {
        public override string TypeName => Parts[0].TypeName;

        public override long Length => Parts.Length * Parts[0].Length;

        public override bool IsFloat => Parts[0].IsFloat;
    }
}
