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
        // The first piece of each parameter, and behind the last one the number of all. A parameter may be most of a model.
        int[] firsts = new int[table.Parameters.Count + 1];
        for (int index = 0; index < table.Parameters.Count; index++)
        {
            firsts[index + 1] = firsts[index] + (!map.Has(index) ? 0 : file.IsReadInOrder(map[index]) ? 1 : PiecesOf(table.Parameters[index]));
        }

        var buffers = new PackedFiles.RowBuffers();

        // Widening weights takes a processor longer than reading them does.
        if (table.TotalLength < ParallelLength)
        {
            for (int piece = 0; piece < firsts[^1]; piece++)
            {
                Read(piece);
            }

            return;
        }

        Crew.For(firsts[^1], Read);

        void Read(int piece)
        {
            int index = Array.BinarySearch(firsts, piece);
            index = index < 0 ? ~index - 1 : index;

            // Of parameters without a piece the last one has it.
            while (firsts[index + 1] == piece)
            {
                index++;
            }

            // What is not cut into its pieces has all of them.
            ParameterInfo parameter = table.Parameters[index];
            int within = piece - firsts[index], end = firsts[index + 1] - firsts[index] == 1 ? PiecesOf(parameter) : within + 1;
            for (; within < end; within++)
            {
                ReadPiece(file, map[index], parameter, block + parameter.Offset, within, buffers);
            }
        }
    }

    private static void ReadPiece(WeightFile file, WeightTensor tensor, ParameterInfo parameter, float* target, int piece, PackedFiles.RowBuffers buffers)
    {
        if (parameter.Format != WeightFormat.F32)
        {
            long rows = parameter.TransposedInFile ? parameter.Rows : RowsOfPiece(parameter), first = piece * rows;
            PackedFiles.Read(file, tensor, parameter, (byte*)target, first, Math.Min(rows, parameter.Rows - first), buffers);
        }
        else if (parameter.TransposedInFile)
        {
            ReadTransposed(file, tensor, target, parameter.Shape[1], parameter.Shape[0]);
        }
        else
        {
            long start = (long)piece * Strip;
            file.ReadFloats(tensor, start, new Span<float>(target + start, (int)Math.Min(Strip, parameter.Length - start)));
        }
    }

    /// <summary>How many pieces a parameter is read in.</summary>
    private static int PiecesOf(ParameterInfo parameter)
        => parameter.TransposedInFile ? 1
            : parameter.Format == WeightFormat.F32 ? checked((int)((parameter.Length + Strip - 1) / Strip))
            : (parameter.Rows + RowsOfPiece(parameter) - 1) / RowsOfPiece(parameter);

    /// <summary>The rows that are read together: whole groups.</summary>
    private static int RowsOfPiece(ParameterInfo parameter) => Math.Max(1, Strip / parameter.Columns / BlockRows.GroupRows) * BlockRows.GroupRows;

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
