namespace ModelGen.Runtime;

/// <summary>
/// Elements of a file that do not lie in a tensor's order: those of a matrix that the file holds the transpose of, or of columns. They are asked for row by row, where the file has them elsewhere for each element: so they
/// are put in order a panel at a time, which the reads that follow find.
/// </summary>
internal sealed unsafe class StridedElements(FileBytes file, int panelElements = StridedElements.PanelElements)
{
    /// <summary>Of a panel: enough for what a column's part costs to read, and what a thread that loads takes of a matrix several times over.</summary>
    private const int PanelElements = 1 << 22;

    // What lies between elements is read with them up to this many times their length.
    private const int MostSpread = 4;

    private readonly Lock _lock = new();
    private readonly List<Panel> _panels = [];

    // As many as threads may be loading from, each its own.
    private readonly int _room = Math.Min(Environment.ProcessorCount, 8) + 1;

    /// <summary>Reads elements, converted to 32-bit floats.</summary>
    /// <param name="tensor">A tensor with strides, inside the file.</param>
    /// <param name="start">The first element.</param>
    /// <param name="destination">Where they go; they are inside the tensor.</param>
    public void Read(PlacedTensor tensor, long start, Span<float> destination)
    {
        int size = SafetensorsFormat.SizeOf(tensor.Type);
        while (!destination.IsEmpty)
        {
            Panel panel = Find(tensor, start);
            int within = (int)(start - panel.Start), count = Math.Min(destination.Length, (panel.Bytes.Length / size) - within);
            fixed (byte* source = panel.Bytes)
            {
                Elements.TryReadFloats(source + ((long)within * size), tensor.Type, destination[..count]);
            }

            destination = destination[count..];
            start += count;
        }
    }

    /// <summary>Forgets what was read.</summary>
    public void Clear()
    {
        lock (_lock)
        {
            _panels.Clear();
        }
    }

    private Panel Find(PlacedTensor tensor, long start)
    {
        // Whole rows, where they are no longer than a panel.
        long columns = tensor.Shape[^1];
        long length = columns <= panelElements ? panelElements / columns * columns : panelElements;
        long first = start / length * length;
        lock (_lock)
        {
            int index = _panels.FindIndex(panel => panel.Start == first && ReferenceEquals(panel.Tensor, tensor));
            Panel found = index >= 0 ? _panels[index] : new Panel(tensor, first, Gather(tensor, first, (int)Math.Min(length, tensor.Length - first)));
            if (index >= 0)
            {
                _panels.RemoveAt(index);
            }
            else if (_panels.Count == _room)
            {
                _panels.RemoveAt(_room - 1);
            }

            _panels.Insert(0, found);
            return found;
        }
    }

    /// <summary>Elements in the tensor's order, as they are stored.</summary>
    private byte[] Gather(PlacedTensor tensor, long start, int count)
    {
        int size = SafetensorsFormat.SizeOf(tensor.Type);
        byte[] bytes = GC.AllocateUninitializedArray<byte>(checked(count * size));
        int last = tensor.Shape.Length - 1;
        long columns = tensor.Shape[last], stride = tensor.Strides[last] * size;

        // The bytes from the first to the last of them.
        long least = long.MaxValue, most = 0;
        for (int at = 0; at < count;)
        {
            int run = (int)Math.Min(columns - ((start + at) % columns), count - at);
            long place = PlaceOf(tensor, start + at, size);
            least = Math.Min(least, place);
            most = Math.Max(most, place + ((run - 1) * stride) + size);
            at += run;
        }

        if (most - least <= (long)MostSpread * bytes.Length && most - least <= Array.MaxLength)
        {
            byte[] all = file.Bytes(least, (int)(most - least));
            fixed (byte* from = all, to = bytes)
            {
                for (int at = 0; at < count;)
                {
                    int run = (int)Math.Min(columns - ((start + at) % columns), count - at);
                    Copy(from + (PlaceOf(tensor, start + at, size) - least), stride, to + ((long)at * size), size, run, size);
                    at += run;
                }
            }

            return bytes;
        }

        byte[]? line = null;
        for (int at = 0; at < count;)
        {
            long index = start + at, place = PlaceOf(tensor, index, size);
            int run = (int)Math.Min(columns - (index % columns), count - at);
            if (stride == size)
            {
                file.Copy(place, bytes.AsSpan(at * size, run * size));
                at += run;
                continue;
            }

            // Whole rows whose elements follow those of the row before are read column by column.
            int rows = last > 0 && tensor.Strides[last - 1] == 1 && run == columns
                ? (int)Math.Min((count - at) / columns, tensor.Shape[last - 1] - (index / columns % tensor.Shape[last - 1]))
                : 1;
            line = line is not null && line.Length >= rows * size ? line : new byte[rows * size];
            fixed (byte* from = line, to = bytes)
            {
                for (int column = 0; column < run; column++)
                {
                    file.Copy(place + (column * stride), line.AsSpan(0, rows * size));
                    Copy(from, size, to + (((long)at + column) * size), columns * size, rows, size);
                }
            }

            at += rows * run;
        }

        return bytes;
    }

    private static long PlaceOf(PlacedTensor tensor, long index, int size)
    {
        long place = 0;
        for (int d = tensor.Shape.Length - 1; d >= 0; d--)
        {
            place += index % tensor.Shape[d] * tensor.Strides[d];
            index /= tensor.Shape[d];
        }

        return tensor.Offset + (place * size);
    }

    private static void Copy(byte* from, long fromStride, byte* to, long toStride, int count, int size)
    {
        for (int i = 0; i < count; i++, from += fromStride, to += toStride)
        {
            switch (size)
            {
                case 1:
                    *to = *from;
                    break;
                case 2:
                    *(ushort*)to = Elements.Load<ushort>(from, 0);
                    break;
                case 4:
                    *(uint*)to = Elements.Load<uint>(from, 0);
                    break;
                default:
                    *(ulong*)to = Elements.Load<ulong>(from, 0);
                    break;
            }
        }
    }

    /// <summary>Elements of a tensor from one on, in its order.</summary>
    private sealed class Panel(PlacedTensor tensor, long start, byte[] bytes)
    {
        public PlacedTensor Tensor { get; } = tensor;

        public long Start { get; } = start;

        public byte[] Bytes { get; } = bytes;
    }
}
