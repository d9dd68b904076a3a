using System.Collections.Immutable;
using System.Globalization;
using System.Runtime.InteropServices;

namespace ModelGen.Runtime;

/// <summary>
/// A GPT-2 in the format of llm.c: 256 32-bit integers, then the parameters of all layers, one kind after another, without names. Tensors appear under the names and in the shapes of Hugging Face's GPT-2 checkpoints: matrices are
/// transposed, and the rows that pad the vocabulary left out.
/// </summary>
internal sealed class LlmcFile : IndexedFile
{
    public const int Magic = 20240326;

    private const int HeaderLength = 256 * sizeof(int);
    private const int SingleVersion = 3;
    private const int HalfVersion = 5;
    private const int MostLayers = 1 << 14;

    private static readonly string[] s_fields = ["magic", "version", "maxT", "V", "L", "NH", "C", "Vp"];

    private LlmcFile(FileBytes file, List<PlacedTensor> tensors, Dictionary<string, string> metadata)
        : base(file, tensors.AsReadOnly(), metadata)
    {
    }

    public override WeightFileFormat Format => WeightFileFormat.Llmc;

    public static new LlmcFile Open(string path)
    {
        FileBytes file = FileBytes.Open(path);
        try
        {
            using FileBytes.Reading reading = file.Read();
            return Read(file);
        }
        catch
        {
            file.Dispose();
            throw;
        }
    }

    private static LlmcFile Read(FileBytes file)
    {
        if (file.Length < HeaderLength)
        {
            throw new ModelFileException(file.Path, "header", Invariant($"{HeaderLength} bytes"), Invariant($"a file of {file.Length}"));
        }

        int[] header = new int[s_fields.Length];
        file.Copy(0, MemoryMarshal.AsBytes(header.AsSpan()));
        if (header[1] is not (SingleVersion or HalfVersion))
        {
            throw new ModelFileException(file.Path, "version", "3 (32-bit floats) or 5 (bfloat16)", Invariant($"{header[1]}"));
        }

        for (int i = 2; i < header.Length; i++)
        {
            int most = i == 4 ? MostLayers : int.MaxValue;
            if (header[i] <= 0 || header[i] > most)
            {
                throw new ModelFileException(file.Path, s_fields[i], Invariant($"1 to {most}"), Invariant($"{header[i]}"));
            }
        }

        (int context, int vocabulary, int layers, int heads, int width, int padded) = (header[2], header[3], header[4], header[5], header[6], header[7]);
        if (width % heads != 0)
        {
            throw new ModelFileException(file.Path, "NH", Invariant($"a divisor of C {width}"), Invariant($"{heads}"));
        }

        if (padded < vocabulary)
        {
            throw new ModelFileException(file.Path, "Vp", Invariant($"at least V {vocabulary}"), Invariant($"{padded}"));
        }

        SafetensorsType type = header[1] == SingleVersion ? SafetensorsType.F32 : SafetensorsType.BF16;
        int size = SafetensorsFormat.SizeOf(type);
        (string Name, long Rows, long Columns)[] kinds =
        [
            ("ln_1.weight", 1, width), ("ln_1.bias", 1, width), ("attn.c_attn.weight", 3L * width, width), ("attn.c_attn.bias", 1, 3L * width), ("attn.c_proj.weight", width, width), ("attn.c_proj.bias", 1, width),
            ("ln_2.weight", 1, width), ("ln_2.bias", 1, width), ("mlp.c_fc.weight", 4L * width, width), ("mlp.c_fc.bias", 1, 4L * width), ("mlp.c_proj.weight", width, 4L * width), ("mlp.c_proj.bias", 1, width),
        ];
        Int128 elements = (Int128)width * ((long)padded + context + 2);
        foreach ((_, long rows, long columns) in kinds)
        {
            elements += layers * ((Int128)rows * columns);
        }

        if (elements * size != file.Length - HeaderLength)
        {
            throw new ModelFileException(file.Path, "length", Invariant($"{HeaderLength + (elements * size)} bytes for {string.Join(", ", s_fields.Map((field, i) => Invariant($"{field} {header[i]}")))}"), Invariant($"{file.Length}: the file is truncated or damaged"));
        }

        var tensors = new List<PlacedTensor>(4 + (kinds.Length * layers));
        long at = HeaderLength;
        tensors.Add(new PlacedTensor("transformer.wte.weight", type, [vocabulary, width], at));
        at += (long)padded * width * size;
        tensors.Add(new PlacedTensor("transformer.wpe.weight", type, [context, width], at));
        at += (long)context * width * size;
        foreach ((string name, long rows, long columns) in kinds)
        {
            for (int layer = 0; layer < layers; layer++)
            {
                string full = string.Create(CultureInfo.InvariantCulture, $"transformer.h.{layer}.{name}");
                bool isMatrix = name is "attn.c_attn.weight" or "attn.c_proj.weight" or "mlp.c_fc.weight" or "mlp.c_proj.weight";
                ImmutableArray<long> shape = isMatrix ? [columns, rows] : [columns];
                tensors.Add(new PlacedTensor(full, type, shape, at) { Strides = isMatrix ? [1, columns] : [] });
                at += rows * columns * size;
            }
        }

        tensors.Add(new PlacedTensor("transformer.ln_f.weight", type, [width], at));
        tensors.Add(new PlacedTensor("transformer.ln_f.bias", type, [width], at + ((long)width * size)));
        return new LlmcFile(file, tensors, Llama2cFile.Fields(s_fields.AsSpan(1), header.AsSpan(1)));
    }

    private static string Invariant(FormattableString text) => FormattableString.Invariant(text);
}
