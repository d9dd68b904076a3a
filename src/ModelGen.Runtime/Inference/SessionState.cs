using System.Globalization;
using ModelGen.Runtime;

namespace ModelGen;

/// <summary>
/// What a session holds of one sequence: the keys and values of its tokens, or the state of a recurrence. It is taken from a session (<see cref="CausalSession.Capture"/>) and put into any session of the same model, any number of
/// times: a long prompt is computed once, and continued from often. It does not know the weights: those of another training give other states.
/// </summary>
public sealed class SessionState
{
    private const string StateName = "state";
    private const string Prefix = "modelgen.session.";

    private readonly string _model;

    // What a file says of the model's declaration; where an earlier version wrote it, nothing.
    private readonly IReadOnlyDictionary<string, string> _metadata;

    internal SessionState(string model, IReadOnlyDictionary<string, string> metadata, int position, byte[] bytes)
    {
        _model = model;
        _metadata = metadata;
        Position = position;
        Bytes = bytes;
    }

    /// <summary>The number of steps (tokens) of the sequence.</summary>
    public int Position { get; }

    /// <summary>The size in bytes: of caches, the part that is filled.</summary>
    public long ByteLength => Bytes.LongLength;

    internal byte[] Bytes { get; }

    /// <summary>Reads a state from a file.</summary>
    /// <param name="path">The file.</param>
    /// <exception cref="ModelFileException">The file is damaged, or holds something else. Whether it is of a session's model is seen when it is put into one.</exception>
    /// <exception cref="IOException">The file cannot be read.</exception>
    public static SessionState Load(string path)
    {
        using SafetensorsFile file = SafetensorsFile.Open(path);
        SafetensorsTensor tensor = file.Get(StateName);
        if (tensor.Type != SafetensorsType.U8 || tensor.ByteLength > Array.MaxLength)
        {
            throw new ModelFileException(path, $"tensor '{StateName}'", FormattableString.Invariant($"at most {Array.MaxLength} bytes (U8)"), FormattableString.Invariant($"{tensor.ByteLength} of {tensor.TypeName}"));
        }

        string model = file.Metadata.GetValueOrDefault(Prefix + "model") ?? throw new ModelFileException(path, $"__metadata__ '{Prefix}model'", "the name of a model", "none");
        string? position = file.Metadata.GetValueOrDefault(Prefix + "position");
        if (!int.TryParse(position, NumberStyles.None, CultureInfo.InvariantCulture, out int steps))
        {
            throw new ModelFileException(path, $"__metadata__ '{Prefix}position'", "the number of steps", position is null ? "none" : Quoted.Text(position));
        }

        byte[] bytes = new byte[tensor.ByteLength];
        file.ReadBytes(tensor, 0, bytes);
        return new SessionState(model, file.Metadata, steps, bytes);
    }

    /// <summary>Writes the state to a file, beside an existing one and renamed.</summary>
    /// <param name="path">The file.</param>
    /// <exception cref="IOException">The file cannot be written; an existing one is untouched.</exception>
    public void Save(string path)
    {
        var writer = new SafetensorsWriter();
        foreach ((string key, string value) in _metadata)
        {
            if (FileMetadata.IsOfDeclaration(key))
            {
                writer.Metadata[key] = value;
            }
        }

        writer.Metadata[Prefix + "model"] = _model;
        writer.Metadata[Prefix + "position"] = Position.ToString(CultureInfo.InvariantCulture);
        writer.Add(StateName, [Bytes.Length], Bytes);
        writer.Save(path);
    }

    /// <summary>Requires that this is a state of a model of this declaration, whose sessions have states of this layout.</summary>
    internal void CheckFit(ProgramLayout layout, IReadOnlyList<DeclaredOption> declaration, string parameter)
    {
        int limit = layout.ContextLength > 0 ? layout.ContextLength : layout.PositionLimit;
        long length = layout.PackedStateBytes(Position);
        if (_model != layout.ModelName || Bytes.LongLength != length || (limit > 0 && Position > limit))
        {
            throw new ArgumentException(
                FormattableString.Invariant($"Expected a state of {layout.ModelName} with {length} bytes at step {Position}{(limit > 0 ? FormattableString.Invariant($" of {limit}") : "")}, found one of {Quoted.Printable(_model, 100)} with {Bytes.LongLength}."),
                parameter);
        }

        // As many bytes may be the keys of other heads, or of other positions.
        foreach ((string name, string expected, string found) in FileMetadata.Differences(_metadata, declaration, training: false))
        {
            throw new ArgumentException($"The state is of a {layout.ModelName} that was declared otherwise: {Quoted.Printable(name, 100)}, expected {expected}, found {found}.", parameter);
        }
    }
}
