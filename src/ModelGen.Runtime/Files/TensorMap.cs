using System.Globalization;

namespace ModelGen.Runtime;

/// <summary>
/// Which tensor of a file holds which parameter. Files of one model are spelled in several ways: a family's prefix is there or not, a
/// training framework has put its own in front, a tied weight has a second name. A file is read in one spelling throughout: the model's
/// own where that is complete, else the only one that is.
/// </summary>
internal sealed class TensorMap
{
    // What training frameworks put before all names: data parallelism, compiled modules, modules that hold the model in a field.
    private static readonly string[] s_wrappers = ["module.", "_orig_mod.", "model."];

    // Wrappers around wrappers that are looked for.
    private const int WrapperDepth = 2;

    private readonly WeightFile _file;
    private readonly ParameterTable _table;
    private readonly Spelling _spelling;
    private readonly WeightTensor?[] _tensors;
    private readonly bool _onlyFront;

    /// <param name="file">The file.</param>
    /// <param name="table">The parameters.</param>
    /// <param name="spelling">Their names in the file.</param>
    /// <param name="onlyFront">Whether tensors without what stands in front are none of this map's.</param>
    private TensorMap(WeightFile file, ParameterTable table, Spelling spelling, bool onlyFront)
    {
        _onlyFront = onlyFront;
        _file = file;
        _table = table;
        _spelling = spelling;
        _tensors = new WeightTensor?[table.Parameters.Count];
        for (int index = 0; index < _tensors.Length; index++)
        {
            string name = table.Parameters[index].Name;
            _tensors[index] = file.Find(spelling.Of(name));
            foreach (TensorAlias alias in table.Aliases)
            {
                if (alias.Parameter == name)
                {
                    _tensors[index] ??= file.Find(spelling.Of(alias.Name));
                }
            }
        }

        Count = _tensors.CountOf(static tensor => tensor is not null);
    }

    /// <summary>The number of parameters that were found.</summary>
    public int Count { get; }

    /// <summary>The tensors that parameters are read from, or that were found in their place.</summary>
    public IEnumerable<WeightTensor> Tensors => _tensors.Filter(static tensor => tensor is not null)!;

    private bool IsComplete => Count == _tensors.Length;

    /// <summary>Whether a parameter has a tensor.</summary>
    public bool Has(int parameter) => _tensors[parameter] is not null;

    /// <summary>The tensor of a parameter, after <see cref="Check"/>.</summary>
    public WeightTensor this[int parameter] => _tensors[parameter]!;

    /// <summary>The tensors under the parameters' own names, with a prefix.</summary>
    public static TensorMap Exact(WeightFile file, ParameterTable table, string prefix) => new(file, table, new Spelling(prefix, ""), onlyFront: true);

    /// <summary>The tensors in the file's spelling; where nothing is complete, in that which finds most.</summary>
    /// <exception cref="ModelFileException">The file is complete in more than one spelling, none of which is the model's own.</exception>
    public static TensorMap Find(WeightFile file, ParameterTable table, string? namePrefix)
    {
        TensorMap? best = null;
        foreach (string front in namePrefix is null ? Fronts(file) : [namePrefix])
        {
            foreach (string leftOut in (string[])["", .. table.OptionalPrefixes])
            {
                var spelling = new Spelling(front, leftOut);
                if (!spelling.TellsApart(table))
                {
                    continue;
                }

                var map = new TensorMap(file, table, spelling, onlyFront: namePrefix is not null);
                if (best is null || map.Count > best.Count)
                {
                    best = map;
                }
                else if (map.IsComplete && best._spelling is not { Front: "", LeftOut: "" } && !map.HasTensorsOf(best))
                {
                    throw new ModelFileException(
                        file.Path,
                        "names",
                        $"one set of the parameters of {table.ModelName}",
                        $"several, as {Quoted.Text(best.NameOf(0))} and as {Quoted.Text(map.NameOf(0))}: LoadOptions.NamePrefix tells which");
                }
            }
        }

        return best!;
    }

    /// <summary>Reports every parameter that is missing, or of another type or shape than the model's.</summary>
    public void Check(List<ModelFileProblem> problems, NearestName nearest, IReadOnlyList<string> mayBeMissing)
    {
        for (int index = 0; index < _tensors.Length; index++)
        {
            ParameterInfo parameter = _table.Parameters[index];
            string field = $"tensor {Quoted.Text(NameOf(index))}";
            if (_tensors[index] is not { } tensor)
            {
                if (mayBeMissing.Has(beginning => parameter.Name.StartsWith(beginning, StringComparison.Ordinal)))
                {
                    continue;
                }

                string found = nearest.Of(NameOf(index)) is { } near ? $"none (the nearest name is {Quoted.Text(near)})" : "none";
                problems.Add(new ModelFileProblem(field, $"a tensor of shape {ShapeOf(parameter)} for {_table.ModelName}", found));
            }
            else if (!tensor.IsFloat)
            {
                problems.Add(new ModelFileProblem($"{field}, dtype", "F32, F16, BF16 or F64", tensor.TypeName));
            }
            else if (!HasShape(tensor, parameter))
            {
                problems.Add(new ModelFileProblem($"{field}, shape", $"{ShapeOf(parameter)} for {_table.ModelName}", Quoted.List(tensor.Shape.AsSpan())));
            }
        }
    }

    /// <summary>The aliases that the file has beside their parameter, whose elements must be equal.</summary>
    public IEnumerable<(WeightTensor Copy, int Parameter)> Copies()
    {
        foreach (TensorAlias alias in _table.Aliases)
        {
            int parameter = _table.IndexOf(alias.Parameter);
            if (_file.Find(_spelling.Of(alias.Name)) is { } copy && _tensors[parameter] is { } original && !ReferenceEquals(copy, original))
            {
                yield return (copy, parameter);
            }
        }
    }

    /// <summary>What of the file is neither a parameter nor a known buffer.</summary>
    public List<WeightTensor> Unexpected()
    {
        var known = new HashSet<WeightTensor>(Tensors, ReferenceEqualityComparer.Instance);
        foreach ((WeightTensor copy, _) in Copies())
        {
            known.Add(copy);
        }

        string[] buffers = _table.Buffers.Map(buffer => _spelling.Of(buffer.Pattern));
        var unexpected = new List<WeightTensor>();
        foreach (WeightTensor tensor in _file.Tensors)
        {
            if (!known.Contains(tensor)
                && (!_onlyFront || tensor.Name.StartsWith(_spelling.Front, StringComparison.Ordinal))
                && !IsBuffer(tensor, buffers))
            {
                unexpected.Add(tensor);
            }
        }

        return unexpected;
    }

    private bool IsBuffer(WeightTensor tensor, string[] patterns)
    {
        for (int i = 0; i < patterns.Length; i++)
        {
            if (_table.Buffers[i].Rank == tensor.Shape.Length && Matches(tensor.Name, patterns[i]))
            {
                return true;
            }
        }

        return false;
    }

    private static string ShapeOf(ParameterInfo parameter) => $"[{string.Join(", ", parameter.ShapeInFile)}]";

    private static bool HasShape(WeightTensor tensor, ParameterInfo parameter)
    {
        ReadOnlySpan<int> expected = parameter.ShapeInFile.AsSpan();
        if (tensor.Shape.Length == 3 && expected.Length == 2 && parameter.TransposedInFile)
        {
            // A convolution of each channel by itself has one channel to read: [channels, 1, taps].
            return tensor.Shape[0] == expected[0] && tensor.Shape[1] == 1 && tensor.Shape[2] == expected[1];
        }

        if (tensor.Shape.Length != expected.Length)
        {
            return false;
        }

        for (int i = 0; i < expected.Length; i++)
        {
            if (tensor.Shape[i] != expected[i])
            {
                return false;
            }
        }

        return true;
    }

    /// <summary>The wrappers that tensors of the file carry, and their outer ones; none first.</summary>
    private static List<string> Fronts(WeightFile file)
    {
        var fronts = new List<string> { "" };
        foreach (WeightTensor tensor in file.Tensors)
        {
            int length = 0;
            for (int depth = 0; depth < WrapperDepth && WrapperLength(tensor.Name.AsSpan(length)) is > 0 and int wrapper; depth++)
            {
                length += wrapper;
                if (!Contains(fronts, tensor.Name.AsSpan(0, length)))
                {
                    fronts.Add(tensor.Name[..length]);
                }
            }
        }

        return fronts;
    }

    private static int WrapperLength(ReadOnlySpan<char> name)
    {
        foreach (string wrapper in s_wrappers)
        {
            if (name.StartsWith(wrapper, StringComparison.Ordinal))
            {
                return wrapper.Length;
            }
        }

        return 0;
    }

    private static bool Contains(List<string> fronts, ReadOnlySpan<char> front)
    {
        foreach (string known in fronts)
        {
            if (front.SequenceEqual(known))
            {
                return true;
            }
        }

        return false;
    }

    /// <summary>Whether a name is a pattern's, in which # stands for a number.</summary>
    private static bool Matches(ReadOnlySpan<char> name, ReadOnlySpan<char> pattern)
    {
        while (true)
        {
            int number = pattern.IndexOf('#');
            if (number < 0)
            {
                return name.SequenceEqual(pattern);
            }

            if (!name.StartsWith(pattern[..number], StringComparison.Ordinal))
            {
                return false;
            }

            name = name[number..];
            int digits = name.IndexOfAnyExceptInRange('0', '9');
            if (digits is 0 || (digits < 0 && name.IsEmpty))
            {
                return false;
            }

            name = digits < 0 ? [] : name[digits..];
            pattern = pattern[(number + 1)..];
        }
    }

    private bool HasTensorsOf(TensorMap other)
    {
        for (int index = 0; index < _tensors.Length; index++)
        {
            if (!ReferenceEquals(_tensors[index], other._tensors[index]))
            {
                return false;
            }
        }

        return true;
    }

    private string NameOf(int parameter) => _spelling.Of(_table.Parameters[parameter].Name);

    /// <summary>How a file spells the parameters' names: what stands in front of them, and which of their own prefixes it leaves out.</summary>
    private sealed class Spelling(string front, string leftOut)
    {
        public string Front { get; } = front;

        public string LeftOut { get; } = leftOut;

        public string Of(string name) => Front + (name.StartsWith(LeftOut, StringComparison.Ordinal) ? name[LeftOut.Length..] : name);

        /// <summary>Whether all parameters keep names of their own.</summary>
        public bool TellsApart(ParameterTable table)
            => LeftOut.Length == 0 || new HashSet<string>(table.Parameters.Map(parameter => Of(parameter.Name)), StringComparer.Ordinal).Count == table.Parameters.Count;
    }
}
