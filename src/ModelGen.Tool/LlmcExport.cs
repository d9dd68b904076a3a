using System.Buffers.Binary;
using System.Globalization;
using ModelGen.Runtime;

namespace ModelGen.Tool;

/// <summary>Writes a GPT-2 as llm.c has it: 256 32-bit integers, then the parameters of all layers, one kind after another, in 32-bit floats or bfloat16.</summary>
internal static class LlmcExport
{
    private const int Magic = 20240326;
    private const int SingleVersion = 3;
    private const int HalfVersion = 5;

    // llm.c's programs ask for a vocabulary whose rows are a multiple of it.
    private const int RowsOfVocabulary = 128;

    // What the header says, and what is GPT-2's own. Everything else that a declaration can say differs from what llm.c computes.
    private static readonly string[] s_held = ["Layers", "DModel", "Heads", "Vocab", "Context"];

    /// <summary>Whether a model is of the kind that such files hold.</summary>
    public static bool Holds(ModelSource source) => source.Config?.ModelType == "gpt2";

    public static void Save(ModelSource source, string output, StoredElement? asked)
    {
        ModelConfig config = source.Config!;
        WeightFile weights = source.Weights;
        ModelCode code = ConfigDeclaration.Of(config, weights);
        if (code.Arguments.FirstOrDefault(static argument => !s_held.Contains(argument.Name)) is { Name: { } option } differing)
        {
            throw new ToolException($"{config.Origin}: the model is declared with {option} = {differing.Value}: expected what llm.c computes with, whose files have no place for another.");
        }

        StoredElement type = asked ?? StoredElement.F32;
        if (type == StoredElement.F16)
        {
            throw new UsageException("--weights: expected F32 or BF16 for a llm.c file, found F16.");
        }

        (int layers, int width, int heads, int vocabulary) = (config.Required("n_layer"), config.Required("n_embd"), config.Required("n_head"), config.Required("vocab_size"));
        int context = config.Integer("n_positions") ?? config.Required("n_ctx");
        if (layers is < 1 or > 1 << 14 || width is < 1 or > 1 << 24 || vocabulary is < 1 or > 1 << 26 || context is < 1 or > 1 << 26)
        {
            throw new ToolException($"{config.Origin}: expected sizes of a GPT-2, found n_layer {layers}, n_embd {width}, vocab_size {vocabulary} and n_positions {context}.");
        }

        int padded = (vocabulary + RowsOfVocabulary - 1) / RowsOfVocabulary * RowsOfVocabulary;
        (string Name, int Rows, int Columns)[] kinds =
        [
            ("ln_1.weight", 1, width), ("ln_1.bias", 1, width), ("attn.c_attn.weight", width, 3 * width), ("attn.c_attn.bias", 1, 3 * width), ("attn.c_proj.weight", width, width), ("attn.c_proj.bias", 1, width),
            ("ln_2.weight", 1, width), ("ln_2.bias", 1, width), ("mlp.c_fc.weight", width, 4 * width), ("mlp.c_fc.bias", 1, 4 * width), ("mlp.c_proj.weight", 4 * width, width), ("mlp.c_proj.bias", 1, width),
        ];
        AtomicFile.Write(output, stream =>
        {
            Span<int> header = stackalloc int[256];
            header.Clear();
            ReadOnlySpan<int> fields = [Magic, type == StoredElement.BF16 ? HalfVersion : SingleVersion, context, vocabulary, layers, heads, width, padded];
            fields.CopyTo(header);
            Span<byte> bytes = stackalloc byte[header.Length * sizeof(int)];
            for (int i = 0; i < header.Length; i++)
            {
                BinaryPrimitives.WriteInt32LittleEndian(bytes[(i * sizeof(int))..], header[i]);
            }

            stream.Write(bytes);
            Write("wte.weight", vocabulary, width, isTransposed: false);
            stream.Write(new byte[(long)(padded - vocabulary) * width * (type == StoredElement.BF16 ? sizeof(ushort) : sizeof(float))]);
            Write("wpe.weight", context, width, isTransposed: false);
            foreach ((string name, int rows, int columns) in kinds)
            {
                for (int layer = 0; layer < layers; layer++)
                {
                    Write(string.Create(CultureInfo.InvariantCulture, $"h.{layer}.{name}"), rows, columns, isTransposed: rows > 1);
                }
            }

            Write("ln_f.weight", 1, width, isTransposed: false);
            Write("ln_f.bias", 1, width, isTransposed: false);

            void Write(string name, int rows, int columns, bool isTransposed)
            {
                WeightTensor tensor = weights.Find("transformer." + name) ?? weights.Find(name) ?? throw new ToolException($"{weights.Path}: tensor '{name}': expected one of this name, found none.");
                if (tensor.Length != (long)rows * columns)
                {
                    throw new ToolException($"{weights.Path}: tensor '{tensor.Name}': expected {(long)rows * columns} elements, found {tensor.Length}.");
                }

                if (!isTransposed)
                {
                    ArchiveExport.WriteElements(weights, tensor, type, stream);
                    return;
                }

                // llm.c has a row for each output.
                float[] values = new float[tensor.Length];
                weights.ReadFloats(tensor, 0, values);
                float[] row = new float[rows];
                byte[] stored = new byte[rows * sizeof(float)];
                for (int column = 0; column < columns; column++)
                {
                    for (int i = 0; i < rows; i++)
                    {
                        row[i] = values[(i * columns) + column];
                    }

                    stream.Write(ArchiveExport.Stored(row, type, stored));
                }
            }
        });
    }
}
