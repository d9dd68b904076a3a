using System.Collections.ObjectModel;

namespace ModelGen.Runtime;

/// <summary>A model's parameters as a file of their own has them: under the model's names, in the shapes of files, each stored as it lies in memory.</summary>
internal sealed unsafe class ParameterView : WeightFile
{
    private readonly float* _block;
    private readonly RowReader? _read;
    private readonly Dictionary<string, Held> _byName = new(StringComparer.Ordinal);

    /// <param name="path">What messages name.</param>
    /// <param name="parameters">The parameters.</param>
    /// <param name="block">The weights, which whoever made this keeps alive.</param>
    /// <param name="read">Gives rows of parameters whose numbers are others than those in memory; null where there are none.</param>
    public ParameterView(string path, IEnumerable<ParameterInfo> parameters, float* block, RowReader? read = null)
    {
        Path = path;
        _block = block;
        _read = read;
        var tensors = new List<WeightTensor>();
        foreach (ParameterInfo parameter in parameters)
        {
            var held = new Held(parameter);
            _byName.Add(parameter.Name, held);
            tensors.Add(held);
        }

        Tensors = tensors.AsReadOnly();
    }

    /// <summary>Gives a row of a parameter as it lies in memory, if it is another one than there.</summary>
    public delegate bool RowReader(ParameterInfo parameter, int row, Span<float> values);

    public override string Path { get; }

    public override WeightFileFormat Format => WeightFileFormat.Gguf;

    public override IReadOnlyList<WeightTensor> Tensors { get; }

    public override IReadOnlyDictionary<string, string> Metadata => ReadOnlyDictionary<string, string>.Empty;

    public override WeightTensor? Find(string name) => _byName.GetValueOrDefault(name);

    public override void ReadFloats(WeightTensor tensor, long start, Span<float> destination)
    {
        CheckOwn(tensor);
        CheckRange(tensor, start, destination.Length);
        ParameterInfo parameter = ((Held)tensor).Parameter;
        if (parameter.TransposedInFile)
        {
            ReadTurned(parameter, start, destination);
            return;
        }

        long columns = Columns(parameter);
        float[]? whole = null;
        while (!destination.IsEmpty)
        {
            (long row, long column) = Math.DivRem(start, columns);
            int count = (int)Math.Min(columns - column, destination.Length);
            if (count == columns)
            {
                ReadRow(parameter, row, destination[..count]);
            }
            else
            {
                ReadRow(parameter, row, whole ??= new float[columns]);
                whole.AsSpan((int)column, count).CopyTo(destination);
            }

            destination = destination[count..];
            start += count;
        }
    }

    internal override bool TryReadRows(WeightTensor tensor, GgmlType type, long row, int count, Span<byte> destination)
    {
        CheckOwn(tensor);
        if (((Held)tensor).Parameter is not { TransposedInFile: false } parameter)
        {
            return false;
        }

        int rowBytes = destination.Length / count;
        for (int i = 0; i < count; i++)
        {
            if (!TryReadStored(parameter, type, row + i, destination.Slice(i * rowBytes, rowBytes)))
            {
                return false;
            }
        }

        return true;
    }

    internal override bool TryReadColumn(WeightTensor tensor, GgmlType type, long column, Span<byte> destination)
    {
        CheckOwn(tensor);
        return ((Held)tensor).Parameter is { TransposedInFile: true } parameter && TryReadStored(parameter, type, column, destination);
    }

    private protected override void Close()
    {
    }

    /// <summary>How a parameter, or what parameters are joined to, lies in memory.</summary>
    public static WeightFormat FormatOf(WeightTensor tensor) => tensor switch
    {
        Held held => held.Parameter.Format,
        RearrangedFile.Rows rows => FormatOf(rows.Like),
        _ => WeightFormat.F32,
    };

    private static int Columns(ParameterInfo parameter) => parameter.Shape.IsEmpty ? 1 : parameter.Columns;

    private bool TryReadStored(ParameterInfo parameter, GgmlType type, long row, Span<byte> destination)
    {
        if (BlockRows.TypeOf(parameter.Format) != type || (_read is not null && _read(parameter, (int)row, [])))
        {
            return false;
        }

        byte* source = (byte*)(_block + parameter.Offset);
        if (BlockRows.Has(parameter.Format))
        {
            BlockRows.Get(parameter.Format, source + (row / BlockRows.GroupRows * BlockRows.GroupBytes(parameter.Format, parameter.Columns)), (int)(row % BlockRows.GroupRows), destination);
        }
        else
        {
            new ReadOnlySpan<byte>(source + (row * destination.Length), destination.Length).CopyTo(destination);
        }

        return true;
    }

    private void ReadRow(ParameterInfo parameter, long row, Span<float> values)
    {
        if (_read is not null && _read(parameter, (int)row, values))
        {
            return;
        }

        if (parameter.Format == WeightFormat.F32)
        {
            new ReadOnlySpan<float>(_block + parameter.Offset + (row * values.Length), values.Length).CopyTo(values);
            return;
        }

        fixed (float* to = values)
        {
            BlockRows.Read(parameter.Format, (byte*)(_block + parameter.Offset), row, values.Length, to);
        }
    }

    // The file's rows are the memory's columns: of each row in memory, the piece that is asked for.
    private void ReadTurned(ParameterInfo parameter, long start, Span<float> destination)
    {
        (int rows, int columns) = (parameter.Shape[0], parameter.Shape[1]);
        float[] values = new float[columns];
        for (int row = 0; row < rows; row++)
        {
            // Elements [column, row] of the file, column by column.
            long first = (start - row + rows - 1) / rows;
            if ((first * rows) + row >= start + destination.Length)
            {
                continue;
            }

            ReadRow(parameter, row, values);
            for (long column = Math.Max(0, first); (column * rows) + row < start + destination.Length; column++)
            {
                destination[(int)((column * rows) + row - start)] = values[column];
            }
        }
    }

    private sealed record Held(ParameterInfo Parameter)
        : WeightTensor(Parameter.Name, [.. Parameter.ShapeInFile.AsSpan().ToArray().Map(static extent => (long)extent).AsSpan()], BlockRows.Bytes(Parameter.Format, Parameter.Shape.AsSpan()))
    {
        public override string TypeName => BlockRows.TypeOf(Parameter.Format).ToString();

        public override long Length => Parameter.Length;

        public override bool IsFloat => true;
    }
}
