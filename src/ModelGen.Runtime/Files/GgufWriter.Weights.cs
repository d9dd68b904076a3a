using ModelGen.Runtime;

namespace ModelGen;

public sealed partial class GgufWriter
{
    /// <summary>The row of an encoder's table of positions that a sequence's first token has: those before it are left out, since readers of GGUF files begin with the first one. 2 for RoBERTa. Default: 0.</summary>
    /// <exception cref="ArgumentOutOfRangeException">The value is negative.</exception>
    public int FirstPosition
    {
        get;
        init
        {
            ArgumentOutOfRangeException.ThrowIfNegative(value);
            field = value;
        }
    }

    /// <summary>The name that a tensor has in GGUF files.</summary>
    /// <param name="architecture">GGUF's name for the kind of model.</param>
    /// <param name="name">The tensor's name in Hugging Face's checkpoints, or in models of this library.</param>
    /// <returns>The name; null where such files have no place for the tensor, or names of the architecture are not known.</returns>
    public static string? TensorName(string architecture, string name)
    {
        ArgumentNullException.ThrowIfNull(architecture);
        ArgumentNullException.ThrowIfNull(name);
        return HuggingFaceNames.Knows(architecture) && HuggingFaceNames.Of(architecture).ToGguf(name).Name is var found && found != name ? found : null;
    }

    /// <summary>Adds all weights of a model under GGUF's names, with the shapes and the order of rows that GGUF files have.</summary>
    /// <param name="weights">The weights under Hugging Face's names; the file must be open when this one is saved.</param>
    /// <param name="architecture">GGUF's name for the kind of model: <c>llama</c>, <c>gpt2</c>, <c>qwen2</c>, <c>qwen2moe</c>, <c>qwen3</c>, <c>olmo2</c>, <c>smollm3</c>, <c>minicpm</c>, <c>phi2</c>, <c>phi3</c>, <c>stablelm</c>, <c>command-r</c>, <c>cohere2</c>, <c>nemotron</c>, <c>mpt</c>, <c>bloom</c>, <c>gptneox</c>, <c>qwen3moe</c>, <c>qwen35</c>, <c>gemma</c>, <c>gemma2</c>, <c>gemma3</c>, <c>gemma3n</c>, <c>gemma4</c>, <c>gpt-oss</c>, <c>lfm2</c>, <c>mamba2</c>, <c>granitehybrid</c>, <c>modern-bert</c>, <c>nomic-bert</c>, <c>jina-bert-v2</c> or <c>bert</c> (whose pooler and heads are left out).</param>
    /// <param name="headWidth">The channels of a head of queries and keys, which tell the order of their rows.</param>
    /// <param name="typeOf">How each tensor is stored.</param>
    /// <exception cref="NotSupportedException">The architecture's names are not known.</exception>
    /// <exception cref="ModelFileException">Tensors are no floats, are of no name that the architecture has, or are no rows of heads; all are listed.</exception>
    public void Add(WeightFile weights, string architecture, int headWidth, Func<WeightTensor, GgmlType> typeOf) => Add(weights, architecture, headWidth, typeOf, static (_, _) => []);

    /// <summary>As <see cref="Add(WeightFile, string, int, Func{WeightTensor, GgmlType})"/>, with blocks chosen by the importance of columns.</summary>
    /// <param name="weights">The weights under Hugging Face's names; the file must be open when this one is saved.</param>
    /// <param name="architecture">GGUF's name for the kind of model.</param>
    /// <param name="headWidth">The channels of a head of queries and keys, which tell the order of their rows.</param>
    /// <param name="typeOf">How each tensor is stored.</param>
    /// <param name="importanceOf">The importance of the columns of a tensor, by its GGUF name and extents; empty where nothing is known.</param>
    /// <exception cref="NotSupportedException">The architecture's names are not known.</exception>
    /// <exception cref="ModelFileException">Tensors are no floats, are of no name that the architecture has, or are no rows of heads; all are listed.</exception>
    public void Add(WeightFile weights, string architecture, int headWidth, Func<WeightTensor, GgmlType> typeOf, Func<string, IReadOnlyList<long>, IReadOnlyList<float>> importanceOf)
    {
        ArgumentNullException.ThrowIfNull(importanceOf);
        ArgumentNullException.ThrowIfNull(weights);
        ArgumentNullException.ThrowIfNull(architecture);
        ArgumentNullException.ThrowIfNull(typeOf);
        if (!HuggingFaceNames.Knows(architecture))
        {
            throw new NotSupportedException($"The names of tensors in GGUF files of the architecture '{Quoted.Printable(architecture, 40)}' are not known here.");
        }

        HuggingFaceNames names = HuggingFaceNames.Of(architecture);

        // Closing a view would close the file, which is the caller's.
        weights = FusedView.Split(FusedView.Joined(weights, names.Joins), names.Splits);
        weights = names.Stacks.Fold(weights, ExpertsView.Of);
        weights = FirstPosition == 0 ? weights : RearrangedFile.Of(weights, tensor =>
            tensor.Name.EndsWith("embeddings.position_embeddings.weight", StringComparison.Ordinal) && tensor.Shape is [> 0 and var positions, _] && positions > FirstPosition
                ? [RearrangedFile.Rows.Of(tensor.Name, tensor.Shape.SetItem(0, positions - FirstPosition), tensor, FirstPosition)] : null);
        string groupsKey = architecture + ".ssm.group_count";
        long groups = Math.Max(1, _sizes.GetValueOrDefault(groupsKey, 1u));
        var problems = new List<ModelFileProblem>();
        var added = new List<(string Name, TensorChange Change, WeightTensor Tensor)>();
        foreach (WeightTensor tensor in weights.Tensors)
        {
            if (names.IsLeftOut(tensor.Name))
            {
                continue;
            }

            (string name, TensorChange change) = names.ToGguf(tensor.Name);
            string field = $"tensor {Quoted.Text(tensor.Name)}";
            string found = $"{tensor.TypeName} {Quoted.List(tensor.Shape.AsSpan())}";
            if (name == tensor.Name)
            {
                problems.Add(new ModelFileProblem(field, $"none: GGUF files of {architecture} have no place for it", found));
            }
            else if (!tensor.IsFloat)
            {
                problems.Add(new ModelFileProblem(field, "floats", found));
            }
            else if (change is TensorChange.QueryRows or TensorChange.KeyRows or TensorChange.HeadsOfThree && (headWidth <= 0 || headWidth % 2 != 0 || tensor.Shape.IsEmpty || tensor.Shape[0] % (change == TensorChange.HeadsOfThree ? 3 * headWidth : headWidth) != 0))
            {
                problems.Add(new ModelFileProblem(field, FormattableString.Invariant($"rows of heads of {headWidth}"), found));
            }
            else if (change == TensorChange.Transposed && tensor.Shape.Length != 2)
            {
                problems.Add(new ModelFileProblem(field, "a matrix", found));
            }
            else if (change == TensorChange.Channels && tensor.Shape is not ([_, 1, _] or [_, _]))
            {
                problems.Add(new ModelFileProblem(field, "a convolution of each channel by itself, [channels, 1, taps]", found));
            }
            else if (change is TensorChange.RateColumn or TensorChange.Column or TensorChange.Groups && (tensor.Shape.Length != 1 || tensor.Length % groups != 0))
            {
                problems.Add(new ModelFileProblem(field, change == TensorChange.Groups ? $"channels of {groups} groups, as {groupsKey} says" : "a number for each head", found));
            }
            else
            {
                added.Add((name, change, tensor));
            }
        }

        if (problems.Count > 0)
        {
            throw new ModelFileException(weights.Path, $"the weights do not fit a GGUF file of {architecture}", problems, "");
        }

        foreach ((string name, TensorChange change, WeightTensor tensor) in added)
        {
            ReadOnlySpan<long> shape = change switch
            {
                TensorChange.Transposed => [tensor.Shape[1], tensor.Shape[0]],
                TensorChange.Channels => [tensor.Shape[0], tensor.Shape[^1]],
                TensorChange.RateColumn or TensorChange.Column => [tensor.Length, 1],
                TensorChange.Groups => [groups, tensor.Length / groups],
                _ => tensor.Shape.AsSpan(),
            };
            GgmlType type = typeOf(tensor);
            IReadOnlyList<float> importance = importanceOf(name, shape.ToArray());
            if (weights.Original(tensor) is { } original && original.Tensor.Name == name && original.Tensor.Shape.AsSpan().SequenceEqual(shape) && original.File.Values.GetValueOrDefault("general.architecture")?.AsText() == architecture)
            {
                // There and back, numbers might be rounded.
                (GgufFile file, GgufTensor source) = original;
                Add(name, shape, type, (start, destination) => file.ReadFloats(source, start, destination), importance, (row, destination) => file.TryReadRows(source, type, row, 1, destination));
                continue;
            }

            Add(name, shape, type, Reader(weights, tensor, change, headWidth), importance, Stored(weights, tensor, type, change, headWidth));
        }
    }

    /// <summary>Gives rows as they are stored, where a change leaves them whole.</summary>
    private static StoredReader? Stored(WeightFile weights, WeightTensor tensor, GgmlType type, TensorChange change, int headWidth) => tensor.Shape.Length < 2 ? null : change switch
    {
        TensorChange.None => (row, destination) => weights.TryReadRows(tensor, type, row, 1, destination),
        TensorChange.Transposed => (row, destination) => weights.TryReadColumn(tensor, type, row, destination),
        TensorChange.QueryRows or TensorChange.KeyRows => (row, destination) => weights.TryReadRows(tensor, type, RotaryRows.ToHalves(row, headWidth), 1, destination),
        TensorChange.HeadsOfThree => (row, destination) => weights.TryReadRows(tensor, type, ThirdOfHead(row, tensor.Shape[0], headWidth), 1, destination),
        _ => null,
    };

    /// <summary>Where a row of all heads' queries, keys and values lies among heads' own.</summary>
    private static long ThirdOfHead(long row, long rows, int headWidth)
    {
        (long which, long within) = Math.DivRem(row, rows / 3);
        return (((3 * (within / headWidth)) + which) * headWidth) + (within % headWidth);
    }

    private static TensorReader Reader(WeightFile weights, WeightTensor tensor, TensorChange change, int headWidth)
    {
        switch (change)
        {
            case TensorChange.None or TensorChange.Channels or TensorChange.Column or TensorChange.Groups:
                return (start, destination) => weights.ReadFloats(tensor, start, destination);

            case TensorChange.LessOne:
                return (start, destination) =>
                {
                    weights.ReadFloats(tensor, start, destination);
                    foreach (ref float value in destination)
                    {
                        value += 1;
                    }
                };

            case TensorChange.Rates or TensorChange.RateColumn:
                return (start, destination) =>
                {
                    weights.ReadFloats(tensor, start, destination);
                    foreach (ref float value in destination)
                    {
                        value = -MathF.Exp(value);
                    }
                };

            case TensorChange.Transposed:
                float[]? all = null;
                return (start, destination) =>
                {
                    if (all is null)
                    {
                        all = new float[tensor.Length];
                        weights.ReadFloats(tensor, 0, all);
                    }

                    long rows = tensor.Shape[0];
                    long columns = tensor.Shape[1];
                    for (int i = 0; i < destination.Length; i++)
                    {
                        long at = start + i;
                        destination[i] = all[(at % rows * columns) + (at / rows)];
                    }

                    all = start + destination.Length == tensor.Length ? null : all;
                };

            case TensorChange.HeadsOfThree:
                return (start, destination) => weights.ReadReordered(tensor, start, destination, row => ThirdOfHead(row, tensor.Shape[0], headWidth));

            default:
                return (start, destination) => weights.ReadReordered(tensor, start, destination, row => RotaryRows.ToHalves(row, headWidth));
        }
    }
}
