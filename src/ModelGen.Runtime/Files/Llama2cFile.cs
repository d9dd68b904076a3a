using System.Buffers.Binary;
using System.Collections.Immutable;
using System.Globalization;
using System.Runtime.InteropServices;
using ModelGen.Runtime;

namespace ModelGen;

/// <summary>The header of a llama2.c file: the sizes of a Llama model.</summary>
/// <param name="Width">The width of the residual stream, <c>dim</c>.</param>
/// <param name="FeedForward">The width inside the feed-forward network, <c>hidden_dim</c>.</param>
/// <param name="Layers">The number of blocks, <c>n_layers</c>.</param>
/// <param name="Heads">The number of query heads, <c>n_heads</c>.</param>
/// <param name="KeyValueHeads">The number of heads of keys and values, <c>n_kv_heads</c>.</param>
/// <param name="Vocabulary">The number of token ids, <c>vocab_size</c>.</param>
/// <param name="Context">The longest sequence, <c>seq_len</c>.</param>
/// <param name="TiedHead">Whether the head's weight is the token embedding; files say otherwise by a negative <c>vocab_size</c>.</param>
public sealed record Llama2cHeader(int Width, int FeedForward, int Layers, int Heads, int KeyValueHeads, int Vocabulary, int Context, bool TiedHead);

/// <summary>One part of a llama2.c file, as a tensor of its layer.</summary>
/// <param name="Name">The tensor's name in Hugging Face's checkpoints: the file has none.</param>
/// <param name="Shape">The extents, row-major.</param>
/// <param name="Offset">Where the elements start, in bytes from the file's start.</param>
/// <param name="IsRotary">Whether the file keeps rows in the order of neighbouring rotary channels; they are read in Hugging Face's.</param>
public sealed record Llama2cTensor(string Name, ImmutableArray<long> Shape, long Offset, bool IsRotary)
    : WeightTensor(Name, Shape, Shape.Fold(4L, static (product, extent) => product * extent))
{
    /// <inheritdoc/>
    public override string TypeName => "F32";

    /// <inheritdoc/>
    public override long Length => ByteLength / sizeof(float);

    /// <inheritdoc/>
    public override bool IsFloat => true;
}

/// <summary>
/// A Llama model in the first format of llama2.c (<c>run.c</c>'s): seven 32-bit integers, then 32-bit floats without names. Tensors appear under the names, and with the
/// rows in the order, of Hugging Face's Llama checkpoints.
/// </summary>
public sealed class Llama2cFile : WeightFile
{
    internal const int HeaderLength = 7 * sizeof(int);

    // "ak42", which the later formats begin with.
    private const int LaterMagic = 0x616B3432;

    private const string HeadName = "lm_head.weight";

    // Elements written at a time.
    private const int Strip = 1 << 16;

    private static readonly string[] s_fields = ["dim", "hidden_dim", "n_layers", "n_heads", "n_kv_heads", "vocab_size", "seq_len"];

    private readonly FileBytes _file;
    private readonly Dictionary<string, Llama2cTensor> _byName;

    private Llama2cFile(FileBytes file)
    {
        _file = file;
        Header = ReadHeader(file);
        int[] values = Values(Header);
        if (ByteLength(values) != file.Length)
        {
            throw new ModelFileException(file.Path, "length", Invariant($"{ByteLength(values)} bytes for {Describe(values)}"), Invariant($"{file.Length}: the file is truncated or damaged"));
        }

        List<Llama2cTensor> tensors = Layout(Header);
        Tensors = tensors.AsReadOnly();
        _byName = tensors.ToTable(static tensor => tensor.Name, static tensor => tensor);
        Metadata = Fields(s_fields, values).AsReadOnly();
    }

    /// <inheritdoc/>
    public override string Path => _file.Path;

    /// <inheritdoc/>
    public override WeightFileFormat Format => WeightFileFormat.Llama2c;

    /// <summary>The model's sizes.</summary>
    public Llama2cHeader Header { get; }

    /// <inheritdoc/>
    public override IReadOnlyList<Llama2cTensor> Tensors { get; }

    /// <summary>The header's fields, as the format names them.</summary>
    public override IReadOnlyDictionary<string, string> Metadata { get; }

    /// <summary>Opens a file and checks its header against its length.</summary>
    /// <param name="path">The file.</param>
    /// <exception cref="ModelFileException">The file is no llama2.c file, or a damaged one; a directory, a pipe or a device; or may not be read.</exception>
    /// <exception cref="IOException">The file cannot be read.</exception>
    public static new Llama2cFile Open(string path)
    {
        FileBytes file = FileBytes.Open(path);
        try
        {
            using FileBytes.Reading reading = file.Read();
            return new Llama2cFile(file);
        }
        catch
        {
            file.Dispose();
            throw;
        }
    }

    /// <summary>Writes a model's weights as a llama2.c file, beside an existing one and renamed.</summary>
    /// <param name="path">The file to create or replace.</param>
    /// <param name="header">The model's sizes.</param>
    /// <param name="weights">The weights, under the names of Hugging Face's Llama checkpoints.</param>
    /// <exception cref="ModelFileException">The weights lack tensors that the sizes ask for, or have them in other shapes, or have others; all are listed.</exception>
    /// <exception cref="ArgumentException">The sizes do not fit each other.</exception>
    /// <exception cref="IOException">The file cannot be written; an existing one is untouched.</exception>
    public static void Save(string path, Llama2cHeader header, WeightFile weights)
    {
        ArgumentNullException.ThrowIfNull(header);
        ArgumentNullException.ThrowIfNull(weights);
        int[] values = Values(header);
        if (Problem(values) is { } problem)
        {
            throw new ArgumentException($"{problem.Field}: expected {problem.Expected}, found {problem.Found}.", nameof(header));
        }

        List<Llama2cTensor> layout = Layout(header);
        CheckFit(weights, layout);
        AtomicFile.Write(path, stream =>
        {
            stream.Write(MemoryMarshal.AsBytes(values.AsSpan()));
            float[] strip = new float[Strip];
            foreach (Llama2cTensor tensor in layout)
            {
                if (tensor.Name == HeadName)
                {
                    WriteTables(stream, header);
                }

                WeightTensor source = weights.Find(tensor.Name)!;
                int columns = (int)tensor.Shape[^1];
                int headWidth = header.Width / header.Heads;
                int count;
                for (long start = 0; start < tensor.Length; start += count)
                {
                    count = (int)Math.Min(tensor.IsRotary ? columns : Strip, tensor.Length - start);
                    strip = strip.Length < count ? new float[count] : strip;
                    long from = tensor.IsRotary ? RotaryRows.ToHalves(start / columns, headWidth) * columns : start;
                    weights.ReadFloats(source, from, strip.AsSpan(0, count));
                    stream.Write(MemoryMarshal.AsBytes(strip.AsSpan(0, count)));
                }
            }

            if (header.TiedHead)
            {
                WriteTables(stream, header);
            }
        });
    }

    /// <inheritdoc/>
    public override Llama2cTensor? Find(string name) => _byName.GetValueOrDefault(name);

    /// <inheritdoc/>
    public override void ReadFloats(WeightTensor tensor, long start, Span<float> destination)
    {
        using FileBytes.Reading reading = _file.Read();
        CheckOwn(tensor);
        CheckRange(tensor, start, destination.Length);
        var own = (Llama2cTensor)tensor;
        if (!own.IsRotary)
        {
            Copy(own.Offset, start, destination);
            return;
        }

        long columns = own.Shape[^1];
        while (!destination.IsEmpty)
        {
            long column = start % columns;
            int count = (int)Math.Min(columns - column, destination.Length);
            Copy(own.Offset, (RotaryRows.ToNeighbours(start / columns, Header.Width / Header.Heads) * columns) + column, destination[..count]);
            destination = destination[count..];
            start += count;
        }
    }

    /// <summary>Whether a file's first bytes are such a header, as far as they can tell. Those of a safetensors file are none: its text begins where the number of layers has two bytes of zero.</summary>
    internal static bool LooksLikeOne(ReadOnlySpan<byte> head)
        => head.Length >= HeaderLength && (BinaryPrimitives.ReadInt32LittleEndian(head) == LaterMagic || Problem(MemoryMarshal.Cast<byte, int>(head[..HeaderLength])) is null);

    private protected override void Close() => _file.Dispose();

    private static string Invariant(FormattableString text) => FormattableString.Invariant(text);

    private static string Describe(int[] values) => string.Join(", ", s_fields.Map((field, i) => Invariant($"{field} {values[i]}")));

    /// <summary>A header's numbers by their names.</summary>
    internal static Dictionary<string, string> Fields(ReadOnlySpan<string> names, ReadOnlySpan<int> values)
    {
        var fields = new Dictionary<string, string>(StringComparer.Ordinal);
        for (int i = 0; i < names.Length; i++)
        {
            fields.Add(names[i], values[i].ToString(CultureInfo.InvariantCulture));
        }

        return fields;
    }

    private static int[] Values(Llama2cHeader header)
        => [header.Width, header.FeedForward, header.Layers, header.Heads, header.KeyValueHeads, header.TiedHead ? header.Vocabulary : -header.Vocabulary, header.Context];

    private static Llama2cHeader ReadHeader(FileBytes file)
    {
        if (file.Length < HeaderLength)
        {
            throw new ModelFileException(file.Path, "header", Invariant($"{HeaderLength} bytes"), Invariant($"a file of {file.Length} bytes"));
        }

        int[] values = new int[HeaderLength / sizeof(int)];
        file.Copy(0, MemoryMarshal.AsBytes(values.AsSpan()));
        if (values[0] == LaterMagic)
        {
            throw new ModelFileException(file.Path, "version", "the first format of llama2.c (export.py --version 0)", Invariant($"version {values[1]}"));
        }

        if (Problem(values) is { } problem)
        {
            throw new ModelFileException(file.Path, problem.Field, problem.Expected, problem.Found);
        }

        return new Llama2cHeader(values[0], values[1], values[2], values[3], values[4], Math.Abs(values[5]), values[6], values[5] > 0);
    }

    private static ModelFileProblem? Problem(ReadOnlySpan<int> values)
    {
        for (int i = 0; i < values.Length; i++)
        {
            // The vocabulary's sign says whether there is a head of its own; its least value has no counterpart.
            long value = i == 5 ? Math.Abs((long)values[i]) : values[i];
            int most = i == 2 ? 1 << 14 : int.MaxValue;
            if (value <= 0 || value > most)
            {
                return new ModelFileProblem(s_fields[i], Invariant($"1 to {most}{(i == 5 ? ", or its negative" : "")}"), Invariant($"{values[i]}"));
            }
        }

        return values[0] % values[3] != 0 || values[0] / values[3] % 2 != 0
                ? new ModelFileProblem("n_heads", Invariant($"a divisor of dim {values[0]} that leaves an even width"), Invariant($"{values[3]}"))
            : values[3] % values[4] != 0 ? new ModelFileProblem("n_kv_heads", Invariant($"a divisor of n_heads {values[3]}"), Invariant($"{values[4]}"))
            : ByteLength(values) >= Int128.One << 62 ? new ModelFileProblem("header", "sizes of a model below 2^62 bytes", Quoted.List(values.ToArray().Map(static value => (long)value)))
            : null;
    }

    /// <summary>The length of a file with this header, which no 64-bit integer need hold.</summary>
    private static Int128 ByteLength(ReadOnlySpan<int> values)
    {
        Int128 width = values[0];
        Int128 keyWidth = width / values[3] * values[4];
        Int128 layer = width * ((2 * width) + (2 * keyWidth) + (3 * (Int128)values[1]) + 2);
        Int128 table = width * Math.Abs((long)values[5]);
        return HeaderLength + (sizeof(float) * ((table * (values[5] > 0 ? 1 : 2)) + (layer * values[2]) + width + (width / values[3] * values[6])));
    }

    /// <summary>The tensors in the order of the file, each with its place. The tables of rotations that the file holds besides are nobody's.</summary>
    private static List<Llama2cTensor> Layout(Llama2cHeader header)
    {
        int headWidth = header.Width / header.Heads;
        long keyWidth = (long)headWidth * header.KeyValueHeads;
        long width = header.Width;
        long hidden = header.FeedForward;
        var tensors = new List<Llama2cTensor>();
        long at = HeaderLength;
        Add("model.embed_tokens.weight", [header.Vocabulary, width]);
        AddLayers("input_layernorm", [width]);
        AddLayers("self_attn.q_proj", [width, width], isRotary: true);
        AddLayers("self_attn.k_proj", [keyWidth, width], isRotary: true);
        AddLayers("self_attn.v_proj", [keyWidth, width]);
        AddLayers("self_attn.o_proj", [width, width]);
        AddLayers("post_attention_layernorm", [width]);
        AddLayers("mlp.gate_proj", [hidden, width]);
        AddLayers("mlp.down_proj", [width, hidden]);
        AddLayers("mlp.up_proj", [hidden, width]);
        Add("model.norm.weight", [width]);
        at += TablesLength(header);
        if (!header.TiedHead)
        {
            Add(HeadName, [header.Vocabulary, width]);
        }

        return tensors;

        void Add(string name, ImmutableArray<long> shape, bool isRotary = false)
        {
            var tensor = new Llama2cTensor(name, shape, at, isRotary);
            tensors.Add(tensor);
            at += tensor.ByteLength;
        }

        void AddLayers(string name, ImmutableArray<long> shape, bool isRotary = false)
        {
            for (int layer = 0; layer < header.Layers; layer++)
            {
                Add(Invariant($"model.layers.{layer}.{name}.weight"), shape, isRotary);
            }
        }
    }

    private static long TablesLength(Llama2cHeader header) => (long)header.Context * (header.Width / header.Heads) * sizeof(float);

    // The cosines and then the sines of all positions, behind the final norm.
    private static void WriteTables(Stream stream, Llama2cHeader header)
    {
        int pairs = header.Width / header.Heads / 2;
        float[] row = new float[pairs];
        for (int table = 0; table < 2; table++)
        {
            for (int position = 0; position < header.Context; position++)
            {
                for (int pair = 0; pair < pairs; pair++)
                {
                    double angle = position * Math.Pow(10000, -(double)pair / pairs);
                    row[pair] = (float)(table == 0 ? Math.Cos(angle) : Math.Sin(angle));
                }

                stream.Write(MemoryMarshal.AsBytes(row.AsSpan()));
            }
        }
    }

    private static void CheckFit(WeightFile weights, List<Llama2cTensor> layout)
    {
        var problems = new List<ModelFileProblem>();
        foreach (Llama2cTensor tensor in layout)
        {
            string field = $"tensor {Quoted.Text(tensor.Name)}";
            if (weights.Find(tensor.Name) is not { } found)
            {
                problems.Add(new ModelFileProblem(field, $"a tensor of shape {Quoted.List(tensor.Shape.AsSpan())}", "none"));
            }
            else if (!found.IsFloat || !found.Shape.AsSpan().SequenceEqual(tensor.Shape.AsSpan()))
            {
                problems.Add(new ModelFileProblem(field, $"floats of shape {Quoted.List(tensor.Shape.AsSpan())}", $"{found.TypeName} {Quoted.List(found.Shape.AsSpan())}"));
            }
        }

        var known = new HashSet<string>(layout.Map(static tensor => tensor.Name), StringComparer.Ordinal);
        foreach (WeightTensor tensor in weights.Tensors.Filter(tensor => !known.Contains(tensor.Name)).Leading(100))
        {
            problems.Add(new ModelFileProblem($"tensor {Quoted.Text(tensor.Name)}", "none: the format has no place for it", $"{tensor.TypeName} {Quoted.List(tensor.Shape.AsSpan())}"));
        }

        if (problems.Count > 0)
        {
            throw new ModelFileException(weights.Path, "the weights do not fit a llama2.c file", problems, "");
        }
    }

    private void Copy(long offset, long start, Span<float> destination) => Elements.ReadFloats(_file, offset + (start * sizeof(float)), SafetensorsType.F32, destination);
}
