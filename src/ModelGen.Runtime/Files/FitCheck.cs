using System.Globalization;

namespace ModelGen.Runtime;

/// <summary>Gathers everything in which a file does not fit a model, to report it at once.</summary>
/// <param name="file">The file.</param>
/// <param name="table">The model's parameters.</param>
/// <param name="training">Whether the file is to train on from, which leaves no options.</param>
internal sealed class FitCheck(WeightFile file, ParameterTable table, bool training)
{
    // Tensors beyond the model's that are listed one by one: a file may have any number.
    private const int UnexpectedLimit = 100;

    // Elements compared at a time.
    private const int Strip = 1 << 14;

    private readonly List<ModelFileProblem> _problems = [];
    private bool _hasDeclaration;
    private bool _hasUnexpected;

    /// <summary>Anything else that does not fit.</summary>
    public void Add(string field, string expected, string found) => _problems.Add(new ModelFileProblem(field, expected, found));

    /// <summary>Compares the declaration that the file records, if it does, option by option.</summary>
    public void Declaration()
    {
        int before = _problems.Count;
        foreach ((string name, string expected, string found) in FileMetadata.Differences(file.Metadata, table.Declaration, training))
        {
            Add($"declaration, {Quoted.Printable(name, 100)}", expected, found);
        }

        _hasDeclaration |= _problems.Count > before;
    }

    /// <summary>Checks that every parameter is there, and that what else is there belongs to it.</summary>
    /// <param name="map">The parameters' tensors.</param>
    /// <param name="unexpected">What is not the model's.</param>
    /// <param name="ignoreUnexpected">Whether that is passed over.</param>
    /// <param name="mayBeMissing">What the names of parameters begin with that need not be there; null for nothing.</param>
    /// <param name="ignore">Patterns of the names of copies that need not be any; null for none.</param>
    public void Parameters(TensorMap map, IReadOnlyList<WeightTensor> unexpected, bool ignoreUnexpected, IReadOnlyList<string>? mayBeMissing = null, IReadOnlyList<string>? ignore = null)
    {
        int before = _problems.Count;
        map.Check(_problems, new NearestName(unexpected), mayBeMissing ?? []);
        if (ignoreUnexpected)
        {
            return;
        }

        Unexpected(unexpected);
        if (_problems.Count == before)
        {
            Copies(map, ignore ?? []);
        }
    }

    /// <summary>Reports tensors that the model does not have.</summary>
    public void Unexpected(IReadOnlyList<WeightTensor> unexpected)
    {
        foreach (WeightTensor tensor in unexpected.Leading(UnexpectedLimit))
        {
            Add($"tensor {Quoted.Text(tensor.Name)}", "no such parameter", $"{tensor.TypeName} {Quoted.List(tensor.Shape.AsSpan())}");
        }

        if (unexpected.Count > UnexpectedLimit)
        {
            Add("tensors", "no further ones", string.Create(CultureInfo.InvariantCulture, $"{unexpected.Count - UnexpectedLimit} more"));
        }

        _hasUnexpected |= unexpected.Count > 0;
    }

    /// <summary>Throws if anything was found.</summary>
    public void ThrowIfAny()
    {
        if (_problems.Count == 0)
        {
            return;
        }

        string advice = (_hasDeclaration, _hasUnexpected) switch
        {
            _ when training => "",
            (true, true) => "LoadOptions.IgnoreDeclaration and IgnoreUnexpected (or Ignore, by name) load it nevertheless.",
            (true, false) => "LoadOptions.IgnoreDeclaration loads it nevertheless.",
            (false, true) => "LoadOptions.IgnoreUnexpected passes over tensors that the model does not have, Ignore over those of some names.",
            _ => "",
        };
        string summary = string.Create(CultureInfo.InvariantCulture, $"the file does not fit {table.ModelName}{(_problems.Count > 1 ? $", in {_problems.Count} respects" : "")}");
        throw new ModelFileException(file.Path, summary, _problems, advice);
    }

    // A head that is tied in the declaration must be so in the file, or the model would compute something else.
    private void Copies(TensorMap map, IReadOnlyList<string> ignore)
    {
        foreach ((WeightTensor copy, int parameter) in map.Copies())
        {
            if (NamePattern.IsOneOf(copy.Name, ignore))
            {
                continue;
            }

            WeightTensor original = map[parameter];
            string field = $"tensor {Quoted.Text(copy.Name)}";
            string expected = $"a copy of {Quoted.Text(original.Name)}, which {table.ModelName} has in its place";
            if (!copy.IsFloat || !copy.Shape.AsSpan().SequenceEqual(original.Shape.AsSpan()))
            {
                Add(field, expected, $"{copy.TypeName} {Quoted.List(copy.Shape.AsSpan())}");
                _hasUnexpected = true;
            }
            else if (FirstDifference(copy, original) is { } element)
            {
                Add(field, expected, string.Create(CultureInfo.InvariantCulture, $"other elements, the first at {element}"));
                _hasUnexpected = true;
            }
        }
    }

    private long? FirstDifference(WeightTensor left, WeightTensor right)
    {
        float[] a = new float[(int)Math.Min(Strip, left.Length)];
        float[] b = new float[a.Length];
        for (long start = 0; start < left.Length; start += Strip)
        {
            int count = (int)Math.Min(Strip, left.Length - start);
            file.ReadFloats(left, start, a.AsSpan(0, count));
            file.ReadFloats(right, start, b.AsSpan(0, count));
            int equal = a.AsSpan(0, count).CommonPrefixLength(b.AsSpan(0, count));
            if (equal < count)
            {
                return start + equal;
            }
        }

        return null;
    }
}
