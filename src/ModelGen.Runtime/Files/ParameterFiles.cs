using System.Runtime.InteropServices;
using System.Text;

namespace ModelGen.Runtime;

/// <summary>Moves blocks that are laid out as a model's weights to and from safetensors files, one tensor for each parameter.</summary>
internal static unsafe class ParameterFiles
{
    // Rows of a transposed matrix that are handled together: whole cache lines on the strided side.
    private const int TransposeRows = 32;

    // Elements converted or written at a time.
    private const int Strip = 1 << 20;

    /// <summary>Adds every parameter's part of a block, under its name with a prefix.</summary>
    public static void Add(SafetensorsWriter writer, ParameterTable table, string prefix, float* block)
    {
        foreach (ParameterInfo parameter in table.Parameters)
        {
            float* source = block + parameter.Offset;
            writer.Add(
                prefix + parameter.Name,
                parameter.ShapeInFile.AsSpan(),
                SafetensorsType.F32,
                parameter.Length,
                stream => Write(stream, parameter, source));
        }
    }

    /// <summary>
    /// Checks that a file has every parameter, of the right type and shape, and that it holds no further ones of the same pattern:
    /// a file of a deeper model is not one of a shallower.
    /// </summary>
    public static void Check(SafetensorsFile file, ParameterTable table, string prefix)
    {
        var patterns = new HashSet<string>(StringComparer.Ordinal);
        foreach (ParameterInfo parameter in table.Parameters)
        {
            string name = prefix + parameter.Name;
            patterns.Add(Pattern(name));
            string field = $"tensor '{name}'";
            SafetensorsTensor tensor = file.Find(name)
                ?? throw new ModelFileException(
                    file.Path,
                    field,
                    $"a tensor of shape {Shape(parameter)} for {table.ModelName}",
                    FormattableString.Invariant($"none among {file.Tensors.Count} tensors"));
            if (!tensor.IsFloat)
            {
                throw new ModelFileException(file.Path, $"{field}, dtype", "F32, F16, BF16 or F64", SafetensorsFormat.NameOf(tensor.Type));
            }

            if (!SameShape(tensor, parameter))
            {
                throw new ModelFileException(file.Path, $"{field}, shape", $"{Shape(parameter)} for {table.ModelName}", SafetensorsFormat.Format(tensor.Shape.AsSpan()));
            }
        }

        foreach (SafetensorsTensor tensor in file.Tensors)
        {
            if (tensor.IsFloat && tensor.Name.StartsWith(prefix, StringComparison.Ordinal) && !table.Contains(tensor.Name[prefix.Length..]) && patterns.Contains(Pattern(tensor.Name)))
            {
                throw new ModelFileException(
                    file.Path,
                    $"tensor '{SafetensorsFormat.Printable(tensor.Name)}'",
                    $"only the parameters of {table.ModelName}",
                    "one more of the same kind: the file is of a model with more layers");
            }
        }
    }

    /// <summary>Reads every parameter's part of a block, after <see cref="Check"/>.</summary>
    public static void Read(SafetensorsFile file, ParameterTable table, string prefix, float* block)
    {
        foreach (ParameterInfo parameter in table.Parameters)
        {
            SafetensorsTensor tensor = file.Get(prefix + parameter.Name);
            float* target = block + parameter.Offset;
            if (parameter.TransposedInFile)
            {
                ReadTransposed(file, tensor, target, parameter.Shape[1], parameter.Shape[0]);
                continue;
            }

            for (long start = 0; start < parameter.Length; start += Strip)
            {
                file.ReadFloats(tensor, start, new Span<float>(target + start, (int)Math.Min(Strip, parameter.Length - start)));
            }
        }
    }

    // The file's rows are the memory's columns.
    private static void ReadTransposed(SafetensorsFile file, SafetensorsTensor tensor, float* target, int rows, int columns)
    {
        float[] strip = new float[checked(TransposeRows * columns)];
        for (int first = 0; first < rows; first += TransposeRows)
        {
            int count = Math.Min(TransposeRows, rows - first);
            file.ReadFloats(tensor, (long)first * columns, strip.AsSpan(0, count * columns));
            for (int column = 0; column < columns; column++)
            {
                float* line = target + ((long)column * rows) + first;
                for (int row = 0; row < count; row++)
                {
                    line[row] = strip[(row * columns) + column];
                }
            }
        }
    }

    private static void Write(Stream stream, ParameterInfo parameter, float* source)
    {
        if (!parameter.TransposedInFile)
        {
            for (long start = 0; start < parameter.Length; start += Strip)
            {
                stream.Write(MemoryMarshal.AsBytes(new ReadOnlySpan<float>(source + start, (int)Math.Min(Strip, parameter.Length - start))));
            }

            return;
        }

        int rows = parameter.Shape[1];
        int columns = parameter.Shape[0];
        float[] strip = new float[checked(TransposeRows * columns)];
        for (int first = 0; first < rows; first += TransposeRows)
        {
            int count = Math.Min(TransposeRows, rows - first);
            for (int column = 0; column < columns; column++)
            {
                float* line = source + ((long)column * rows) + first;
                for (int row = 0; row < count; row++)
                {
                    strip[(row * columns) + column] = line[row];
                }
            }

            stream.Write(MemoryMarshal.AsBytes(strip.AsSpan(0, count * columns)));
        }
    }

    private static bool SameShape(SafetensorsTensor tensor, ParameterInfo parameter)
    {
        ReadOnlySpan<int> expected = parameter.ShapeInFile.AsSpan();
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

    private static string Shape(ParameterInfo parameter) => $"[{string.Join(", ", parameter.ShapeInFile)}]";

    /// <summary>A name with each run of digits replaced: what the layers' parameters of one kind have in common.</summary>
    private static string Pattern(string name)
    {
        var pattern = new StringBuilder(name.Length);
        foreach (char c in name)
        {
            if (!char.IsAsciiDigit(c))
            {
                pattern.Append(c);
            }
            else if (pattern.Length == 0 || pattern[^1] != '#')
            {
                pattern.Append('#');
            }
        }

        return pattern.ToString();
    }
}
