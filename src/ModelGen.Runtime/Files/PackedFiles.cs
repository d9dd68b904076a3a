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

    /// <summary>Reads rows of a parameter from a file: blocks of the format as they are, other elements converted.</summary>
    /// <param name="file">The file.</param>
    /// <param name="tensor">Its tensor.</param>
    /// <param name="parameter">The parameter.</param>
    /// <param name="target">Where it lies.</param>
    /// <param name="first">The first row, which begins a group; of a matrix that the file holds the transpose of, 0.</param>
    /// <param name="count">The rows: whole groups, or up to the last; of such a matrix, all.</param>
    /// <param name="buffers">Where rows lie meanwhile.</param>
    /// <exception cref="ModelFileException">A block's scale is no number.</exception>
    public static void Read(WeightFile file, WeightTensor tensor, ParameterInfo parameter, byte* target, long first, long count, RowBuffers buffers)
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
        int rowBytes = GgmlBlocks.Size(type).Bytes * (columns / GgmlBlocks.Size(type).Elements);
        if (!BlockRows.Has(parameter.Format))
        {
            // As in the file.
            if (!file.TryReadRows(tensor, type, first, checked((int)count), new Span<byte>(target + (first * rowBytes), checked((int)(count * rowBytes)))))
            {
                FillRows(parameter, target, first, first + count, Floats);
            }

            return;
        }

        byte[] stored = buffers.Take(checked((int)(count * rowBytes)));
        if (file.TryReadRows(tensor, type, first, (int)count, stored.AsSpan(0, (int)count * rowBytes)))
        {
            Lay();
        }
        else
        {
            FillRows(parameter, target, first, first + count, Floats);
        }

        buffers.Return(stored);

        void Lay()
        {
            fixed (byte* from = stored)
            {
                for (int row = 0; row < count; row += BlockRows.GroupRows)
                {
                    byte* group = target + ((first + row) / BlockRows.GroupRows * BlockRows.GroupBytes(parameter.Format, columns));
                    if (row <= count - BlockRows.GroupRows && BlockGroups.TryPut(parameter.Format, from + ((long)row * rowBytes), rowBytes, group))
                    {
                        continue;
                    }

                    for (int i = row; i < Math.Min(count, row + BlockRows.GroupRows); i++)
                    {
                        if (!BlockRows.Put(parameter.Format, stored.AsSpan(i * rowBytes, rowBytes), group, i - row))
                        {
                            throw new ModelFileException(file.Path, $"tensor {Quoted.Text(tensor.Name)}, row {first + i}", $"scales that are numbers, in blocks of {type}", "one that is none");
                        }
                    }
                }
            }
        }

        void Floats(long row, Span<float> values) => file.ReadFloats(tensor, row * columns, values);
    }

    /// <summary>Memory that rows lie in between the file and their place, for each thread that loads: new arrays of that size would be cleared, and their pages made, every time.</summary>
    public sealed class RowBuffers
    {
        private readonly Lock _lock = new();
        private readonly List<byte[]> _free = [];

        /// <summary>An array of at least a length, with anything in it.</summary>
        public byte[] Take(int length)
        {
            lock (_lock)
            {
                if (_free.Count > 0)
                {
                    byte[] buffer = _free[^1];
                    _free.RemoveAt(_free.Count - 1);
                    if (buffer.Length >= length)
                    {
                        return buffer;
                    }
                }
            }

            return GC.AllocateUninitializedArray<byte>(length);
        }

        /// <summary>Takes an array back.</summary>
        public void Return(byte[] buffer)
        {
            lock (_lock)
            {
                _free.Add(buffer);
            }
        }
    }

    /// <summary>Converts a parameter's rows to its format.</summary>
    public static void Fill(ParameterInfo parameter, byte* target, RowReader read)
    {
        int rows = parameter.Rows, strips = (rows + BlockRows.GroupRows - 1) / BlockRows.GroupRows;
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

        void Strip(int strip) => FillRows(parameter, target, (long)strip * BlockRows.GroupRows, Math.Min(rows, ((long)strip + 1) * BlockRows.GroupRows), read);
    }

    private static void FillRows(ParameterInfo parameter, byte* target, long first, long end, RowReader read)
    {
        int columns = parameter.Columns;
        GgmlType type = BlockRows.TypeOf(parameter.Format);
        float[] values = new float[columns];
        byte[] stored = new byte[GgmlBlocks.Size(type).Bytes * (columns / GgmlBlocks.Size(type).Elements)];
        for (long row = first; row < end; row++)
        {
            read(row, values);
            GgmlBlocks.Write(type, values, stored);
            Put(parameter.Format, target, row, columns, stored);
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
