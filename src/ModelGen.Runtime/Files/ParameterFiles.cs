using System.Runtime.InteropServices;

namespace ModelGen.Runtime;

/// <summary>Moves blocks that are laid out as a model's weights to and from safetensors files, one tensor for each parameter.</summary>
internal static unsafe class ParameterFiles
{
    // Rows of a transposed matrix that are handled together: whole cache lines on the strided side.
    private const int TransposeRows = 32;

    // Elements that are worth several threads.
    private const long ParallelLength = 1 << 22;

    // Elements converted or written at a time.
    private const int Strip = 1 << 20;

    /// <summary>Adds every parameter's part of a block, under its name with a prefix.</summary>
    public static void Add(SafetensorsWriter writer, ParameterTable table, string prefix, float* block)
    {
        foreach (ParameterInfo parameter in table.Parameters)
        {
            Add(writer, parameter, prefix, block);
        }
    }

    /// <summary>Adds a parameter's part of a block, under its name with a prefix.</summary>
    public static void Add(SafetensorsWriter writer, ParameterInfo parameter, string prefix, float* block)
    {
        float* source = block + parameter.Offset;
        if (parameter.Format != WeightFormat.F32)
        {
            PackedFiles.Add(writer, parameter, prefix, (byte*)source);
            return;
        }

        writer.Add(
            prefix + parameter.Name,
            parameter.ShapeInFile.AsSpan(),
            SafetensorsType.F32,
            parameter.Length,
            stream => Write(stream, parameter, source));
    }

    /// <summary>Reads every parameter's part of a block, after the map was checked; what the file may lack and does keeps its numbers.</summary>
    public static void Read(WeightFile file, ParameterTable table, TensorMap map, float* block)
    {
        // Widening weights takes a processor longer than reading them does.
        if (table.TotalLength < ParallelLength)
        {
            for (int index = 0; index < table.Parameters.Count; index++)
            {
                Read(index);
            }

            return;
        }

        Crew.For(table.Parameters.Count, Read);

        void Read(int index)
        {
            ParameterInfo parameter = table.Parameters[index];
            if (!map.Has(index))
            {
                return;
            }

            WeightTensor tensor = map[index];
            float* target = block + parameter.Offset;
            if (parameter.Format != WeightFormat.F32)
            {
                PackedFiles.Read(file, tensor, parameter, (byte*)target);
                return;
            }

            if (parameter.TransposedInFile)
            {
                ReadTransposed(file, tensor, target, parameter.Shape[1], parameter.Shape[0]);
                return;
            }

            for (long start = 0; start < parameter.Length; start += Strip)
            {
                file.ReadFloats(tensor, start, new Span<float>(target + start, (int)Math.Min(Strip, parameter.Length - start)));
            }
        }
    }

    // The file's rows are the memory's columns.
    private static void ReadTransposed(WeightFile file, WeightTensor tensor, float* target, int rows, int columns)
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
}
