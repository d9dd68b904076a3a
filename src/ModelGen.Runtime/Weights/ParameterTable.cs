using System.ComponentModel;
using System.Globalization;
using System.Security.Cryptography;
using System.Text;

namespace ModelGen.Runtime;

/// <summary>The parameters of a model, in the order in which they lie in its weight block.</summary>
[EditorBrowsable(EditorBrowsableState.Never)]
public sealed class ParameterTable
{
    /// <summary>Every parameter starts at a multiple of this many floats, 64 bytes.</summary>
    internal const int Alignment = 16;

    private readonly ParameterInfo[] _parameters;
    private readonly Dictionary<string, int> _indexByName;
    private ParameterTable? _trained;

    // Of use to trainers alone: other programs need no hash function.
    private string? _fingerprint;

    /// <summary>Checks and takes a model's parameters.</summary>
    /// <param name="modelName">The model's name, for messages.</param>
    /// <param name="parameters">The parameters in ascending order of their offsets.</param>
    /// <exception cref="ArgumentException">
    /// A name occurs twice, an extent is not positive, an offset is not aligned or overlaps the parameter before, or a
    /// parameter that is transposed or in another format is no matrix, or what is frozen does not come last but for tables.
    /// </exception>
    public ParameterTable(string modelName, params ParameterInfo[] parameters)
    {
        ArgumentException.ThrowIfNullOrEmpty(modelName);
        ArgumentNullException.ThrowIfNull(parameters);
        ModelName = modelName;
        _parameters = parameters.Filter(static parameter => !parameter.IsTable);
        Tables = parameters.Filter(static parameter => parameter.IsTable);
        _indexByName = new Dictionary<string, int>(_parameters.Length, StringComparer.Ordinal);
        Parameters = Array.AsReadOnly(_parameters);

        long end = 0;
        for (int index = 0; index < parameters.Length; index++)
        {
            ParameterInfo parameter = parameters[index];
            if (string.IsNullOrEmpty(parameter.Name) || !(parameter.IsTable ? !_indexByName.ContainsKey(parameter.Name) : _indexByName.TryAdd(parameter.Name, index)))
            {
                throw Invalid(parameter, "its name is empty or not unique");
            }

            if (parameter.Shape.IsDefault || parameter.Shape.Has(static extent => extent <= 0))
            {
                throw Invalid(parameter, "an extent is not positive");
            }

            if (parameter.TransposedInFile && parameter.Shape.Length != 2)
            {
                throw Invalid(parameter, "only a matrix can be transposed in the file");
            }

            if (parameter.Format != WeightFormat.F32 && (parameter.Shape.Length is not (2 or 3) || parameter.IsTable || parameter.Shape[^1] % BlockRows.ColumnsOf(parameter.Format) != 0))
            {
                throw Invalid(parameter, $"it is no matrix of {parameter.Format}, and no stack of them");
            }

            if (index > 0 && (parameters[index - 1].IsTable ? !parameter.IsTable : parameters[index - 1].IsFrozen && parameter is { IsFrozen: false, IsTable: false }))
            {
                throw Invalid(parameter, "it lies behind a table, or is trained and lies behind one that is frozen");
            }

            if (parameter.Offset < end || parameter.Offset % Alignment != 0)
            {
                throw Invalid(parameter, string.Create(CultureInfo.InvariantCulture, $"its offset {parameter.Offset} is not a multiple of {Alignment} from {end} on"));
            }

            end = checked(parameter.Offset + parameter.Words);
        }

        TotalLength = checked((end + Alignment - 1) / Alignment * Alignment);
    }

    /// <summary>The model's name.</summary>
    public string ModelName { get; }

    /// <summary>What lies behind the parameters and is none: tables that follow from the declaration.</summary>
    internal ParameterInfo[] Tables { get; }

    /// <summary>The parameters, in ascending order of their offsets.</summary>
    public IReadOnlyList<ParameterInfo> Parameters { get; }

    /// <summary>The length of the weight block in floats, the gaps that align each parameter included.</summary>
    public long TotalLength { get; }

    /// <summary>What stands before parameters' names and may be left out in files, of all that have it: GPT-2's <c>transformer.</c>.</summary>
    public IReadOnlyList<string> OptionalPrefixes { get; init; } = [];

    /// <summary>Second names of parameters.</summary>
    /// <exception cref="ArgumentException">One is a parameter's name, or is one's of no parameter.</exception>
    public IReadOnlyList<TensorAlias> Aliases
    {
        get;
        init
        {
            foreach (TensorAlias alias in value)
            {
                if (Contains(alias.Name) || !Contains(alias.Parameter))
                {
                    throw new ArgumentException($"The second name '{alias.Name}' of the parameter '{alias.Parameter}' is invalid: it is taken, or there is no such parameter.", nameof(Aliases));
                }
            }

            field = value;
        }
    } = [];

    /// <summary>What files may hold beside parameters.</summary>
    public IReadOnlyList<KnownBuffer> Buffers { get; init; } = [];

    /// <summary>The low-rank adapters among the parameters; null where there are none.</summary>
    public AdapterOptions? Adapters { get; init; }

    /// <summary>The declaration, option by option, as files record it; empty where there is none.</summary>
    public IReadOnlyList<DeclaredOption> Declaration { get; init; } = [];

    /// <summary>The adapters alone, in files that hold nothing else.</summary>
    internal ParameterTable AdapterTable
        => new(ModelName, Array.FindAll(_parameters, static parameter => parameter.Adapts is not null)) { OptionalPrefixes = OptionalPrefixes, Declaration = Declaration, Adapters = Adapters };

    /// <summary>The parameters that are not frozen, all in single precision: gradients, optimizer slots and master copies are laid out as these.</summary>
    public ParameterTable Trained => _trained ??= CreateTrained();

    /// <summary>A hash of the parameters' names and shapes: equal exactly if files of one model fit the other. 64 hexadecimal digits.</summary>
    public string Fingerprint => _fingerprint ??= ComputeFingerprint(_parameters);

    /// <summary>The position of a parameter in <see cref="Parameters"/>.</summary>
    /// <param name="name">The parameter's name.</param>
    /// <exception cref="ArgumentException">The model has no such parameter.</exception>
    public int IndexOf(string name)
    {
        ArgumentNullException.ThrowIfNull(name);
        return _indexByName.TryGetValue(name, out int index)
            ? index
            : throw new ArgumentException($"The model {ModelName} has no parameter '{name}'; its parameters are listed in its Parameters property.", nameof(name));
    }

    /// <summary>A parameter's part of a block that is laid out as the weights.</summary>
    internal Span<float> Span(PinnedBlock block, string name)
    {
        ParameterInfo parameter = _parameters[IndexOf(name)];
        if (parameter.Format != WeightFormat.F32)
        {
            throw new InvalidOperationException($"The parameter '{name}' lies in memory as {parameter.Format}: there is no span of its floats. Save writes them to a file.");
        }

        return parameter.Length <= int.MaxValue
            ? block.Span(parameter.Offset, (int)parameter.Length)
            : throw new InvalidOperationException(FormattableString.Invariant($"The parameter '{name}' has {parameter.Length} elements, more than a span can hold."));
    }

    internal bool Contains(string name) => _indexByName.ContainsKey(name);

    internal ReadOnlySpan<ParameterInfo> AsSpan() => _parameters;

    private ParameterTable CreateTrained()
    {
        if (Tables.Length == 0 && !Array.Exists(_parameters, static parameter => parameter.IsFrozen || parameter.Format != WeightFormat.F32))
        {
            return this;
        }

        ParameterInfo[] trained = Array.FindAll(_parameters, static parameter => !parameter.IsFrozen);
        long end = 0;
        for (int index = 0; index < trained.Length; index++)
        {
            trained[index] = trained[index] with { Offset = end, Format = WeightFormat.F32 };
            end += (trained[index].Length + Alignment - 1) / Alignment * Alignment;
        }

        return new ParameterTable(ModelName, trained);
    }

    private static string ComputeFingerprint(ParameterInfo[] parameters)
    {
        var text = new StringBuilder();
        foreach (ParameterInfo parameter in parameters)
        {
            text.Append(parameter.Name).Append('\n').AppendJoin('x', parameter.ShapeInFile).Append('\n');
        }

        return Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(text.ToString())));
    }

    private static ArgumentException Invalid(ParameterInfo parameter, string problem)
        => new($"The parameter '{parameter.Name}' is invalid: {problem}.", "parameters");
}
