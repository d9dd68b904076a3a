using System.Buffers.Binary;
using System.Collections.Immutable;
using System.Text;

namespace ModelGen.Runtime;

/// <summary>An array of a NumPy archive.</summary>
/// <param name="Name">Its name.</param>
/// <param name="Type">The element type.</param>
/// <param name="Shape">The extents, row-major.</param>
/// <param name="Member">The archive's member that holds it.</param>
/// <param name="Start">Where its elements begin in the member.</param>
internal sealed record NumPyArray(string Name, SafetensorsType Type, ImmutableArray<long> Shape, ZipMember Member, int Start)
    : WeightTensor(Name, Shape, Member.Length - Start)
{
    public override string TypeName => SafetensorsFormat.NameOf(Type);

    public override long Length => ByteLength / SafetensorsFormat.SizeOf(Type);

    public override bool IsFloat => Elements.IsFloat(Type);
}

/// <summary>The arrays of a NumPy archive (<c>.npz</c>), stored or deflated: <c>numpy.savez</c>'s and <c>numpy.savez_compressed</c>'s.</summary>
internal sealed unsafe class NumPyArchive : WeightFile
{
    private const string Extension = ".npy";

    // A header of NumPy's own fills a multiple of 64 bytes; those of versions 2 and 3 may be longer.
    private const int LongestHeader = 1 << 16;
    private const int PrefixLength = 12;

    private readonly FileBytes _file;
    private readonly Dictionary<string, NumPyArray> _byName = new(StringComparer.Ordinal);
    private readonly Dictionary<string, Inflating> _inflating = new(StringComparer.Ordinal);

    private NumPyArchive(FileBytes file, List<ZipMember> members)
    {
        _file = file;
        var arrays = new List<NumPyArray>(members.Count);
        byte[] head = new byte[PrefixLength + LongestHeader];
        foreach (ZipMember member in members)
        {
            if (!member.Name.EndsWith(Extension, StringComparison.Ordinal))
            {
                throw new ModelFileException(file.Path, $"member {Quoted.Text(member.Name)}", "a NumPy array (.npy)", "something else");
            }

            int length = (int)Math.Min(head.Length, member.Length);
            length = new Inflating(file, member).Read(head.AsSpan(0, length));
            NumPyArray array = NumPyHeader.Read(file.Path, member, head.AsSpan(0, length), member.Name[..^Extension.Length]);
            if (!_byName.TryAdd(array.Name, array))
            {
                throw new ModelFileException(file.Path, $"member {Quoted.Text(member.Name)}", "one of this name", "another");
            }

            arrays.Add(array);
        }

        Tensors = arrays.AsReadOnly();
    }

    public override string Path => _file.Path;

    public override WeightFileFormat Format => WeightFileFormat.NumPy;

    public override IReadOnlyList<WeightTensor> Tensors { get; }

    public override IReadOnlyDictionary<string, string> Metadata { get; } = System.Collections.ObjectModel.ReadOnlyDictionary<string, string>.Empty;

    /// <summary>Takes an archive, whose it then is to close.</summary>
    public static NumPyArchive Of(FileBytes file, List<ZipMember> members) => new(file, members);

    public override WeightTensor? Find(string name) => _byName.GetValueOrDefault(name);

    public override void ReadFloats(WeightTensor tensor, long start, Span<float> destination)
    {
        using FileBytes.Reading reading = _file.Read();
        CheckOwn(tensor);
        CheckRange(tensor, start, destination.Length);
        var own = (NumPyArray)tensor;
        if (!own.IsFloat)
        {
            throw new ModelFileException(Path, $"tensor {Quoted.Text(own.Name)}, descr", "floating-point numbers", own.TypeName);
        }

        int size = SafetensorsFormat.SizeOf(own.Type);
        long from = own.Start + (start * size);
        if (!own.Member.IsCompressed)
        {
            Elements.ReadFloats(_file, own.Member.Offset + from, own.Type, destination);
            return;
        }

        ReadCompressed(own, size, from, destination);
    }

    internal override bool IsReadInOrder(WeightTensor tensor)
    {
        CheckOwn(tensor);
        return ((NumPyArray)tensor).Member.IsCompressed;
    }

    private protected override void Close()
    {
        lock (_inflating)
        {
            _inflating.Clear();
        }

        _file.Dispose();
    }

    // Elements are mostly read in order: the stream stays where the last read ended.
    private void ReadCompressed(NumPyArray array, int size, long from, Span<float> destination)
    {
        byte* strip = stackalloc byte[4096];
        lock (_inflating)
        {
            if (!_inflating.TryGetValue(array.Name, out Inflating? stream) || stream.Position > from)
            {
                _inflating[array.Name] = stream = new Inflating(_file, array.Member);
            }

            bool isWhole = stream.Skip(from);
            while (isWhole && !destination.IsEmpty)
            {
                int count = Math.Min(destination.Length, 4096 / size);
                isWhole = stream.Read(new Span<byte>(strip, count * size)) == count * size;
                Elements.TryReadFloats(strip, array.Type, destination[..count]);
                destination = destination[count..];
            }

            if (!isWhole)
            {
                throw new ModelFileException(Path, $"member {Quoted.Text(array.Member.Name)}", FormattableString.Invariant($"{array.Member.Length} bytes"), "fewer, deflated");
            }
        }
    }

    /// <summary>The bytes of a member, in order.</summary>
    private sealed class Inflating(FileBytes file, ZipMember member)
    {
        private readonly Inflater? _inflater = member.IsCompressed ? new Inflater(new FileInput(file, member.Offset, member.StoredLength)) : null;

        public long Position { get; private set; }

        /// <summary>Reads bytes; fewer where there are no more.</summary>
        public int Read(Span<byte> destination)
        {
            int count;
            if (_inflater is null)
            {
                count = (int)Math.Min(destination.Length, member.StoredLength - Position);
                file.Copy(member.Offset + Position, destination[..count]);
            }
            else
            {
                try
                {
                    count = _inflater.Read(destination);
                }
                catch (InvalidDataException exception)
                {
                    throw new ModelFileException(file.Path, $"member {Quoted.Text(member.Name)}", "deflated bytes", "others: the file is damaged", exception);
                }
            }

            Position += count;
            return count;
        }

        public bool Skip(long position)
        {
            Span<byte> passed = stackalloc byte[1024];
            while (Position < position)
            {
                int count = (int)Math.Min(passed.Length, position - Position);
                if (Read(passed[..count]) < count)
                {
                    return false;
                }
            }

            return true;
        }
    }
}

/// <summary>Deflated bytes of a file.</summary>
internal sealed class FileInput(FileBytes file, long offset, long length) : Inflater.IInput
{
    private long _read;

    public int Read(Span<byte> destination)
    {
        int count = (int)Math.Min(destination.Length, length - _read);
        file.Copy(offset + _read, destination[..count]);
        _read += count;
        return count;
    }
}

/// <summary>The header of a NumPy array: magic, version, length, and a Python dictionary of <c>descr</c>, <c>fortran_order</c> and <c>shape</c> (NEP 1).</summary>
internal static class NumPyHeader
{
    private static readonly string[] s_names = ["<f4", "<f8", "<f2", "|b1", "|u1", "|i1", "<i2", "<u2", "<i4", "<u4", "<i8", "<u8"];

    // In the same order.
    private static readonly SafetensorsType[] s_types =
    [
        SafetensorsType.F32, SafetensorsType.F64, SafetensorsType.F16, SafetensorsType.Bool, SafetensorsType.U8, SafetensorsType.I8,
        SafetensorsType.I16, SafetensorsType.U16, SafetensorsType.I32, SafetensorsType.U32, SafetensorsType.I64, SafetensorsType.U64,
    ];

    public static NumPyArray Read(string path, ZipMember member, ReadOnlySpan<byte> head, string name)
    {
        string field = $"member {Quoted.Text(member.Name)}";
        if (head.Length < 10 || head[0] != 0x93 || !head[1..6].SequenceEqual("NUMPY"u8) || head[6] is 0 or > 3)
        {
            throw new ModelFileException(path, field, "a NumPy array of version 1, 2 or 3", "something else");
        }

        int prefix = head[6] == 1 ? 10 : 12;
        long length = head[6] == 1 ? BinaryPrimitives.ReadUInt16LittleEndian(head[8..]) : head.Length < 12 ? long.MaxValue : BinaryPrimitives.ReadUInt32LittleEndian(head[8..]);
        if (length > head.Length - prefix)
        {
            throw new ModelFileException(path, $"{field}, header length", FormattableString.Invariant($"at most {head.Length - prefix}"), FormattableString.Invariant($"{length}"));
        }

        ReadOnlySpan<byte> text = head.Slice(prefix, (int)length);
        var reader = new Reader(path, field, Encoding.Latin1.GetString(text));
        (string descr, bool isFortran, long[] shape) = reader.Read();
        int index = Array.IndexOf(s_names, descr);
        if (index < 0)
        {
            throw new ModelFileException(path, $"{field}, descr", $"one of {string.Join(", ", s_names)}", Quoted.Text(descr));
        }

        if (isFortran && shape.CountOf(static extent => extent > 1) > 1)
        {
            throw new ModelFileException(path, $"{field}, fortran_order", "False", "True");
        }

        Int128 bytes = SafetensorsFormat.SizeOf(s_types[index]);
        foreach (long extent in shape)
        {
            bytes *= extent;
            if (bytes > long.MaxValue)
            {
                break;
            }
        }

        int start = prefix + (int)length;
        return bytes == member.Length - start
            ? new NumPyArray(name, s_types[index], [.. shape.AsSpan()], member, start)
            : throw new ModelFileException(path, $"{field}, shape", FormattableString.Invariant($"extents of {member.Length - start} bytes"), Quoted.List(shape));
    }

    /// <summary>Reads the dictionary's few forms, and nothing else of Python.</summary>
    private sealed class Reader(string path, string field, string text)
    {
        private int _at;

        public (string Descr, bool IsFortran, long[] Shape) Read()
        {
            string? descr = null;
            bool? isFortran = null;
            long[]? shape = null;
            Expect('{');
            while (!Take('}'))
            {
                string key = Text();
                Expect(':');
                switch (key)
                {
                    case "descr" when descr is null:
                        descr = Text();
                        break;
                    case "fortran_order" when isFortran is null:
                        isFortran = Truth();
                        break;
                    case "shape" when shape is null:
                        shape = Extents();
                        break;
                    default:
                        throw Wrong();
                }

                if (!Take(','))
                {
                    Expect('}');
                    break;
                }
            }

            Space();
            return _at == text.Length && descr is not null && isFortran is not null && shape is not null ? (descr, isFortran.Value, shape) : throw Wrong();
        }

        private long[] Extents()
        {
            var extents = new List<long>();
            Expect('(');
            while (!Take(')'))
            {
                Space();
                int start = _at;
                while (_at < text.Length && char.IsAsciiDigit(text[_at]))
                {
                    _at++;
                }

                if (extents.Count == SafetensorsFormat.MaximumRank || !long.TryParse(text.AsSpan(start, _at - start), System.Globalization.NumberStyles.None, System.Globalization.CultureInfo.InvariantCulture, out long extent))
                {
                    throw Wrong();
                }

                extents.Add(extent);
                if (!Take(','))
                {
                    Expect(')');
                    break;
                }
            }

            return [.. extents];
        }

        private bool Truth()
        {
            Space();
            foreach ((string word, bool value) in ((string, bool)[])[("True", true), ("False", false)])
            {
                if (string.CompareOrdinal(text, _at, word, 0, word.Length) == 0)
                {
                    _at += word.Length;
                    return value;
                }
            }

            throw Wrong();
        }

        private string Text()
        {
            Space();
            char quote = _at < text.Length ? text[_at] : '\0';
            int end = quote is '\'' or '"' ? text.IndexOf(quote, _at + 1) : -1;
            if (end < 0)
            {
                throw Wrong();
            }

            string found = text[(_at + 1)..end];
            _at = end + 1;
            return found;
        }

        private bool Take(char c)
        {
            Space();
            if (_at < text.Length && text[_at] == c)
            {
                _at++;
                return true;
            }

            return false;
        }

        private void Expect(char c)
        {
            if (!Take(c))
            {
                throw Wrong();
            }
        }

        private void Space()
        {
            while (_at < text.Length && text[_at] is ' ' or '\n' or '\t')
            {
                _at++;
            }
        }

        private ModelFileException Wrong() => new(path, $"{field}, header", "descr, fortran_order and shape", Quoted.Text(text));
    }
}
