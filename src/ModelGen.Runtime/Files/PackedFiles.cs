using System.Runtime.InteropServices;

namespace ModelGen.Runtime;

/// <summary>Moves parameters that do not lie in memory as floats to and from files.</summary>
internal static unsafe class PackedFiles
{
    /// <summary>Gives a row's floats.</summary>
    public delegate void RowReader(long row, Span<float> values);

    /// <summary>
    /// Adds a parameter to a safetensors file: 16-bit floats as they are. There is no type of blocks in such files: quantized numbers are written as the floats that they stand for,
    /// which quantize to the same again.
    /// </summary>
    public static void Add(SafetensorsWriter writer, ParameterInfo parameter, string prefix, byte* source)
    {
        SafetensorsType type = parameter.Format switch { WeightFormat.F16 => SafetensorsType.F16, WeightFormat.BF16 => SafetensorsType.BF16, _ => SafetensorsType.F32 };
        writer.Add(prefix + parameter.Name, parameter.ShapeInFile.AsSpan(), type, parameter.Length, stream =>
        {
            (int rows, int columns) = (parameter.Rows, parameter.Columns);
            if (!parameter.TransposedInFile)
            {
                float[] values = new float[columns];
                for (int row = 0; row < rows; row++)
                {
                    Write(stream, type, source, parameter.Format, row, values);
                }

                return;
            }

            float[] all = new float[parameter.Length];
            fixed (float* memory = all)
            {
                for (int row = 0; row < rows; row++)
                {
                    BlockRows.Read(parameter.Format, source, row, columns, memory + ((long)row * columns));
                }
            }

            float[] turned = new float[parameter.Length];
            parameter.ToFile(all, turned);
            Write(stream, type, turned);
        });
    }

    /// <summary>Reads a parameter from a file: blocks of the format as they are, other elements converted.</summary>
    /// <exception cref="ModelFileException">A block's scale is no number.</exception>
    public static void Read(WeightFile file, WeightTensor tensor, ParameterInfo parameter, byte* target)
    {
        int columns = parameter.Columns;
        if (parameter.TransposedInFile)
        {
            float[] turned = new float[parameter.Length];
            float[] all = new float[parameter.Length];
            file.ReadFloats(tensor, 0, turned);
            parameter.FromFile(turned, all);
            Fill(parameter, target, (row, values) => all.AsSpan((int)row * columns, columns).CopyTo(values));
            return;
        }

        GgmlType type = BlockRows.TypeOf(parameter.Format);
        byte[] stored = new byte[GgmlBlocks.Size(type).Bytes * (columns / GgmlBlocks.Size(type).Elements)];
        if (!file.TryReadRow(tensor, type, 0, stored))
        {
            Fill(parameter, target, (row, values) => file.ReadFloats(tensor, row * columns, values));
            return;
        }

        for (int row = 0; row < parameter.Rows; row++)
        {
            file.TryReadRow(tensor, type, row, stored);
            if (!Put(parameter.Format, target, row, columns, stored))
            {
                throw new ModelFileException(file.Path, $"tensor {Quoted.Text(tensor.Name)}, row {row}", $"scales that are numbers, in blocks of {type}", "one that is none");
            }
        }
    }

    /// <summary>Converts a parameter's rows to its format.</summary>
    public static void Fill(ParameterInfo parameter, byte* target, RowReader read)
    {
        (int rows, int columns) = (parameter.Rows, parameter.Columns);
        GgmlType type = BlockRows.TypeOf(parameter.Format);
        int rowBytes = GgmlBlocks.Size(type).Bytes * (columns / GgmlBlocks.Size(type).Elements);
        int strips = (rows + BlockRows.GroupRows - 1) / BlockRows.GroupRows;
        if (parameter.Length < 1 << 20)
        {
            for (int strip = 0; strip < strips; strip++)
            {
                Strip(strip);
            }
        }
        else
        {
            Crew.For(strips, Strip);
        }

        void Strip(int strip)
        {
            float[] values = new float[columns];
            byte[] stored = new byte[rowBytes];
            for (int row = strip * BlockRows.GroupRows; row < Math.Min(rows, (strip + 1) * BlockRows.GroupRows); row++)
            {
                read(row, values);
                GgmlBlocks.Write(type, values, stored);
                Put(parameter.Format, target, row, columns, stored);
            }
        }
    }

    private static bool Put(WeightFormat format, byte* target, long row, int columns, ReadOnlySpan<byte> stored)
    {
        if (BlockRows.Has(format))
        {
            return BlockRows.Put(format, stored, target + (row / BlockRows.GroupRows * BlockRows.GroupBytes(format, columns)), (int)(row % BlockRows.GroupRows));
        }

        stored.CopyTo(new Span<byte>(target + (row * stored.Length), stored.Length));
        return true;
    }

    private static void Write(Stream stream, SafetensorsType type, byte* source, WeightFormat format, long row, float[] values)
    {
        if (type != SafetensorsType.F32)
        {
            int bytes = values.Length * sizeof(ushort);
            stream.Write(new ReadOnlySpan<byte>(source + (row * bytes), bytes));
            return;
        }

        fixed (float* to = values)
        {
            BlockRows.Read(format, source, row, values.Length, to);
        }

        stream.Write(MemoryMarshal.AsBytes(values.AsSpan()));
    }

    private static void Write(Stream stream, SafetensorsType type, float[] values)
    {
        if (type == SafetensorsType.F32)
        {
            stream.Write(MemoryMarshal.AsBytes(values.AsSpan()));
            return;
        }

        byte[] stored = new byte[values.Length * sizeof(ushort)];
        GgmlBlocks.Write(type == SafetensorsType.F16 ? GgmlType.F16 : GgmlType.BF16, values, stored);
        stream.Write(stored);
    }
}
