using System.Globalization;

namespace ModelGen.Runtime;

/// <summary>
/// A checkpoint whose experts' matrices, which older files hold one by one (<c>mlp.experts.0.gate_proj.weight</c>, <c>mlp.experts.1.gate_proj.weight</c>, …), are one tensor each, <c>mlp.experts.gate_proj.weight</c> [experts, …], as models have them.
/// </summary>
internal static class ExpertsView
{
    private const string Marker = ".experts.";

    /// <summary>The file, or a view of it that is to be closed instead. Matrices that are not alike, or whose numbers are not 0, 1, 2, …, stay what they are.</summary>
    public static WeightFile Of(WeightFile file) => Of(file, Marker);

    /// <summary>As the other, of whatever matrices have a number behind <paramref name="marker"/>.</summary>
    public static WeightFile Of(WeightFile file, string marker)
    {
        var stacks = new Dictionary<string, Dictionary<int, WeightTensor>>(StringComparer.Ordinal);
        foreach (WeightTensor tensor in file.Tensors)
        {
            if (Split(tensor.Name, marker) is ({ } name, int number))
            {
                if (!stacks.TryGetValue(name, out Dictionary<int, WeightTensor>? parts))
                {
                    stacks.Add(name, parts = []);
                }

                if (!parts.TryAdd(number, tensor))
                {
                    return file;
                }
            }
        }

        foreach ((string name, Dictionary<int, WeightTensor> parts) in new List<KeyValuePair<string, Dictionary<int, WeightTensor>>>(stacks))
        {
            // No two have one number and none is below zero: if none is too large either, none is missing.
            if (!parts.TryGetValue(0, out WeightTensor? first) || parts.Keys.Has(number => number >= parts.Count) || file.Find(name) is not null || first.Shape.IsEmpty || first.Length == 0
                || parts.Values.Has(part => !part.IsFloat || part.TypeName != first.TypeName || !part.Shape.AsSpan().SequenceEqual(first.Shape.AsSpan())))
            {
                stacks.Remove(name);
            }
        }

        return RearrangedFile.Of(file, tensor =>
        {
            if (Split(tensor.Name, marker) is not ({ } name, int number) || !stacks.TryGetValue(name, out Dictionary<int, WeightTensor>? parts))
            {
                return null;
            }

            if (number > 0)
            {
                return [];
            }

            // A vector, one of biases, is a row of what is stacked.
            WeightTensor[] all = new WeightTensor[parts.Count];
            foreach ((int part, WeightTensor of) in parts)
            {
                all[part] = of;
            }

            long rows = all[0].Shape.Length > 1 ? all[0].Length / all[0].Shape[^1] : 1;
            return [new RearrangedFile.Rows(name, [all.Length, .. all[0].Shape], all[0], row => (all[(int)(row / rows)], row % rows, rows - (row % rows)))];
        });
    }

    /// <summary>A name without the number of its expert, and the number; nothing for what has none.</summary>
    private static (string? Name, int Number) Split(string name, string marker)
    {
        int found = name.IndexOf(marker, StringComparison.Ordinal);
        int digits = found + marker.Length, end = found < 0 ? -1 : name.IndexOf('.', digits);
        return end > digits && end - digits < 6 && int.TryParse(name.AsSpan(digits, end - digits), NumberStyles.None, CultureInfo.InvariantCulture, out int number) && (number == 0 || name[digits] != '0') && (number > 0 || end - digits == 1)
            ? (string.Concat(name.AsSpan(0, digits), name.AsSpan(end + 1)), number)
            : (null, 0);
    }
}
