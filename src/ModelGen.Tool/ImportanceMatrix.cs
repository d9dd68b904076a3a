using System.Buffers.Binary;
using System.Text;

namespace ModelGen.Tool;

/// <summary>
/// How much each column of a model's matrices counts: the mean square of what it is multiplied with over a text, as llama.cpp's <c>llama-imatrix</c> writes it, in GGUF or in its older format. Nothing of the file is trusted.
/// </summary>
internal sealed class ImportanceMatrix
{
    private const string Sums = ".in_sum2";
    private const string Counts = ".counts";

    private readonly Dictionary<string, float[]> _columns = new(StringComparer.Ordinal);

    private ImportanceMatrix(string path) => Path = path;

    public string Path { get; }

    /// <summary>How many tensors it knows.</summary>
    public int Count => _columns.Count;

    /// <summary>The names of tensors, as GGUF files have them, that were asked for and are known.</summary>
    public HashSet<string> Used { get; } = new(StringComparer.Ordinal);

    public static ImportanceMatrix Read(string path)
    {
        if (!File.Exists(path))
        {
            throw new ToolException($"{path}: there is no such file.");
        }

        var matrix = new ImportanceMatrix(path);
        if (WeightFile.FormatOf(path) == WeightFileFormat.Gguf)
        {
            matrix.ReadGguf();
        }
        else
        {
            matrix.ReadLegacy(File.ReadAllBytes(path));
        }

        return matrix.Count > 0 ? matrix : throw new ToolException($"{path}: expected an importance matrix, found none of its entries.");
    }

    /// <summary>The importance of a tensor's columns (of a mixture, of each expert's behind each other's); empty if it is not known.</summary>
    /// <param name="name">The tensor's name in GGUF files.</param>
    /// <param name="columns">The tensor's columns.</param>
    /// <param name="matrices">How many matrices it consists of.</param>
    public float[] Of(string name, long columns, long matrices)
    {
        if (!_columns.TryGetValue(name, out float[]? found))
        {
            return [];
        }

        if (found.Length != columns && found.Length != columns * matrices)
        {
            throw new ToolException($"{Path}: {name}: expected {columns}{(matrices > 1 ? $" or {columns * matrices}" : "")} columns, found {found.Length}.");
        }

        Used.Add(name);
        return found;
    }

    private void ReadGguf()
    {
        using GgufFile file = GgufFile.Open(Path);
        foreach (GgufTensor sums in file.Tensors.Where(static tensor => tensor.Name.EndsWith(Sums, StringComparison.Ordinal)))
        {
            string name = sums.Name[..^Sums.Length];
            if (file.Find(name + Counts) is not { } counts || !sums.IsFloat || sums.Length == 0 || counts.Length == 0 || sums.Length % counts.Length != 0 || sums.Length > int.MaxValue || !counts.IsFloat)
            {
                throw new ToolException($"{Path}: tensor '{name}{Counts}': expected a count for each matrix of '{sums.Name}'.");
            }

            float[] values = new float[sums.Length];
            float[] times = new float[counts.Length];
            file.ReadFloats(sums, 0, values);
            file.ReadFloats(counts, 0, times);
            int columns = values.Length / times.Length;
            for (int i = 0; i < values.Length; i++)
            {
                // What was never multiplied counts alike.
                values[i] = times[i / columns] > 0 ? values[i] / times[i / columns] : 1;
            }

            Add(name, values);
        }
    }

    // The number of entries; of each the length of its name, the name, how often it was added to, the number of columns, and for each the sum.
    private void ReadLegacy(byte[] bytes)
    {
        int at = 0;
        int entries = Integer("the number of entries");
        if (entries is < 1 or > 1 << 20)
        {
            throw new ToolException($"{Path}: the number of entries: expected 1 to {1 << 20}, found {entries}: it is no importance matrix.");
        }

        for (int entry = 0; entry < entries; entry++)
        {
            string name = Encoding.UTF8.GetString(Take(Integer($"entry {entry}, the length of its name"), 1, $"entry {entry}, its name"));
            int times = Integer($"entry {entry}, the number of times");
            int columns = Integer($"entry {entry}, the number of columns");
            ReadOnlySpan<byte> data = Take(columns, sizeof(float), $"entry {entry}, columns");
            float[] values = new float[columns];
            for (int i = 0; i < columns; i++)
            {
                float value = BinaryPrimitives.ReadSingleLittleEndian(data[(sizeof(float) * i)..]);
                values[i] = times > 0 ? value / times : value;
            }

            Add(name, values);
        }

        int Integer(string field) => BinaryPrimitives.ReadInt32LittleEndian(Take(1, sizeof(int), field));

        ReadOnlySpan<byte> Take(int count, int size, string field)
        {
            if (count < 1 || (long)count * size > bytes.Length - at)
            {
                throw new ToolException($"{Path}: {field}: expected 1 to {(bytes.Length - at) / size} at {at}, found {count}: the file is truncated, or no importance matrix.");
            }

            at += count * size;
            return bytes.AsSpan(at - (count * size), count * size);
        }
    }

    private void Add(string name, float[] values)
    {
        if (Array.FindIndex(values, static value => !float.IsFinite(value) || value < 0) is >= 0 and int column)
        {
            throw new ToolException(FormattableString.Invariant($"{Path}: {CommandLine.Printable(name, 100)}, column {column}: expected a finite number of 0 or more, found {values[column]}."));
        }

        if (!_columns.TryAdd(name, values.All(static value => value == 0) ? [.. values.Select(static _ => 1f)] : values))
        {
            throw new ToolException($"{Path}: {CommandLine.Printable(name, 100)}: expected one entry, found two.");
        }
    }
}
