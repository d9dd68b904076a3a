using System.Collections.Immutable;
using System.Globalization;

namespace ModelGen.Runtime;

/// <summary>A GGUF file of low-rank adapters, as llama.cpp reads them, under PEFT's names: <c>blk.0.attn_q.weight.lora_a</c> is <c>base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight</c>.</summary>
internal sealed class AdapterView : WeightFile
{
    /// <summary>What such a file says that it is.</summary>
    public const string TypeKey = "general.type";

    /// <summary>What the key of its type is.</summary>
    public const string KindKey = "adapter.type";

    /// <summary>What updates are scaled with, times the rank; 0 for the rank.</summary>
    public const string AlphaKey = "adapter.lora.alpha";

    /// <summary>What the name of a first factor ends with, behind that of the adapted weight.</summary>
    public const string FirstEnd = ".lora_a";

    /// <summary>What the name of a second factor ends with.</summary>
    public const string SecondEnd = ".lora_b";

    private readonly GgufFile _file;
    private readonly string _architecture;
    private readonly Dictionary<string, Factor> _byName = new(StringComparer.Ordinal);
    private readonly Dictionary<string, string> _metadata = new(StringComparer.Ordinal);

    private AdapterView(GgufFile file)
    {
        _file = file;
        if (Text(KindKey) is not "lora" and var kind)
        {
            throw new ModelFileException(file.Path, $"metadata '{KindKey}'", "lora", kind is null ? "none" : Quoted.Text(kind));
        }

        _architecture = Text("general.architecture") is { } name && HuggingFaceNames.Knows(name) ? name
            : throw new ModelFileException(file.Path, "metadata 'general.architecture'", "one whose names are known", Quoted.Text(Text("general.architecture") ?? ""));
        var problems = new List<ModelFileProblem>();
        var tensors = new List<WeightTensor>();
        var ranks = new HashSet<long>();
        foreach (GgufTensor tensor in file.Tensors)
        {
            bool isFirst = tensor.Name.EndsWith(FirstEnd, StringComparison.Ordinal);
            string weight = isFirst || tensor.Name.EndsWith(SecondEnd, StringComparison.Ordinal) ? tensor.Name[..^FirstEnd.Length] : "";
            (string renamed, TensorChange change) = HuggingFaceNames.Of(_architecture).ToHuggingFace(weight);

            // A table of embeddings has its factors the other way round, and heads that are mixed would have them in parts.
            if (!weight.EndsWith(".weight", StringComparison.Ordinal) || renamed == weight || weight == "token_embd.weight" || change is not (TensorChange.None or TensorChange.QueryRows or TensorChange.KeyRows or TensorChange.Transposed) || tensor.Shape.Length != 2)
            {
                problems.Add(new ModelFileProblem($"tensor {Quoted.Text(tensor.Name)}", $"a factor of a linear layer of {_architecture}, {FirstEnd} or {SecondEnd}, of two dimensions", $"{tensor.TypeName} {Quoted.List(tensor.Shape.AsSpan())}"));
                continue;
            }

            var factor = new Factor($"{AdapterFiles.Prefix}{renamed[..^".weight".Length]}.lora_{(isFirst ? "A" : "B")}.weight", tensor, !isFirst && change is TensorChange.QueryRows or TensorChange.KeyRows);
            ranks.Add(tensor.Shape[isFirst ? 0 : 1]);
            if (!_byName.TryAdd(factor.Name, factor))
            {
                problems.Add(new ModelFileProblem($"tensor {Quoted.Text(tensor.Name)}", "one tensor", $"another that is {Quoted.Text(factor.Name)}"));
            }

            tensors.Add(factor);
        }

        if (problems.Count > 0)
        {
            throw new ModelFileException(file.Path, "it is no file of adapters that is understood here", problems, "");
        }

        Tensors = tensors.AsReadOnly();
        HeadWidth = HuggingFaceView.HeadWidth(file, _architecture);
        double? alpha = file.Values.GetValueOrDefault(AlphaKey)?.AsReal();
        if (alpha is not (null or (>= 0 and <= float.MaxValue)))
        {
            throw new ModelFileException(file.Path, $"metadata '{AlphaKey}'", "a number of 0 or more", alpha.Value.ToString(CultureInfo.InvariantCulture));
        }

        // Without it an update is scaled by 1.
        if (alpha is null or 0 ? ranks.Count == 1 : true)
        {
            double said = alpha is null or 0 ? new List<long>(ranks)[0] : alpha.Value;
            _metadata.Add(FileMetadata.KeyOfOption(AdapterOptions.Prefix + "Alpha"), said.ToString("R", CultureInfo.InvariantCulture));
        }
    }

    /// <summary>The channels of a head, which tell the order of rows of queries and keys; 0 where they are not known, and such rows cannot be read. Files need not say them: the adapted model does.</summary>
    public long HeadWidth { get; set; }

    public override string Path => _file.Path;

    public override WeightFileFormat Format => WeightFileFormat.Gguf;

    public override IReadOnlyList<WeightTensor> Tensors { get; }

    /// <summary>What the file says of the scale, as files of this library say it.</summary>
    public override IReadOnlyDictionary<string, string> Metadata => _metadata;

    /// <summary>Whether a file says that it is one of adapters.</summary>
    public static bool IsOne(GgufFile file) => file.Values.GetValueOrDefault(TypeKey)?.AsText() == "adapter";

    /// <summary>The name that a factor has where it lies.</summary>
    public static string NameInFile(WeightTensor tensor) => tensor is Factor factor ? factor.Source.Name : tensor.Name;

    /// <summary>The file under other names, whose it then is to close.</summary>
    /// <exception cref="ModelFileException">It has tensors that are no factors of linear layers, or its adapters are of another kind.</exception>
    public static AdapterView Of(GgufFile file)
    {
        try
        {
            return new AdapterView(file);
        }
        catch
        {
            file.Dispose();
            throw;
        }
    }

    public override WeightTensor? Find(string name) => _byName.GetValueOrDefault(name);

    public override void ReadFloats(WeightTensor tensor, long start, Span<float> destination)
    {
        CheckOwn(tensor);
        CheckRange(tensor, start, destination.Length);
        var factor = (Factor)tensor;
        if (!factor.IsOfHeads)
        {
            _file.ReadFloats(factor.Source, start, destination);
            return;
        }

        if (HeadWidth is <= 0 or > int.MaxValue || HeadWidth % 2 != 0 || factor.Shape[0] % HeadWidth != 0)
        {
            throw new ModelFileException(Path, $"tensor {Quoted.Text(factor.Source.Name)}", HeadWidth > 0 ? FormattableString.Invariant($"rows of heads of {HeadWidth}") : "the width of a head of the model that it adapts, which tells the order of its rows", Quoted.List(factor.Shape.AsSpan()));
        }

        _file.ReadReordered(factor.Source, start, destination, row => RotaryRows.ToNeighbours(row, (int)HeadWidth));
    }

    /// <summary>Writes factors as such a file.</summary>
    /// <param name="path">The file.</param>
    /// <param name="factors">The factors, under the names of their weights: of each <c>lora_A</c> [rank, in] and <c>lora_B</c> [out, rank].</param>
    /// <param name="pairs">The adapted weights, without <c>.weight</c>, and their factors.</param>
    /// <param name="architecture">GGUF's name for the kind of model.</param>
    /// <param name="headWidth">The channels of a head; 0 where they are not known.</param>
    /// <param name="alpha">What an update is scaled with, times its rank.</param>
    /// <param name="beforeReplacing">Called when everything is written and nothing is replaced yet.</param>
    /// <exception cref="ModelFileException">Weights have no place in files of the architecture; all are listed.</exception>
    public static void Save(string path, WeightFile factors, IReadOnlyList<(string Module, WeightTensor First, WeightTensor Second)> pairs, string architecture, long headWidth, double alpha, Action? beforeReplacing = null)
    {
        if (!HuggingFaceNames.Knows(architecture))
        {
            throw new NotSupportedException($"The names of tensors in GGUF files of the architecture '{Quoted.Printable(architecture, 40)}' are not known here.");
        }

        var writer = new GgufWriter { BeforeReplacing = beforeReplacing };
        writer.Set("general.architecture", architecture);
        writer.Set(TypeKey, "adapter");
        writer.Set(KindKey, "lora");
        writer.Set(AlphaKey, (float)alpha);
        if (headWidth is > 0 and <= int.MaxValue)
        {
            writer.Set(architecture + ".attention.key_length", (uint)headWidth);
        }

        var problems = new List<ModelFileProblem>();
        foreach ((string module, WeightTensor first, WeightTensor second) in pairs)
        {
            string weight = module + ".weight", field = $"tensor {Quoted.Text(first.Name)}";
            (string name, TensorChange change) = HuggingFaceNames.Of(architecture).ToGguf(weight);
            bool isOfHeads = change is TensorChange.QueryRows or TensorChange.KeyRows;
            if (name == weight || name == "token_embd.weight" || change is not (TensorChange.None or TensorChange.Transposed or TensorChange.QueryRows or TensorChange.KeyRows))
            {
                problems.Add(new ModelFileProblem(field, $"none: files of adapters of {architecture} have no place for it", $"factors of {Quoted.Text(weight)}"));
                continue;
            }

            if (isOfHeads && (headWidth is <= 0 or > int.MaxValue || headWidth % 2 != 0 || second.Shape[0] % headWidth != 0))
            {
                problems.Add(new ModelFileProblem(field, FormattableString.Invariant($"rows of heads of {headWidth}"), Quoted.List(second.Shape.AsSpan())));
                continue;
            }

            writer.Add(name + FirstEnd, first.Shape.AsSpan(), GgmlType.F32, (start, destination) => factors.ReadFloats(first, start, destination));
            writer.Add(name + SecondEnd, second.Shape.AsSpan(), GgmlType.F32, isOfHeads ? (start, destination) => factors.ReadReordered(second, start, destination, row => RotaryRows.ToHalves(row, (int)headWidth)) : (start, destination) => factors.ReadFloats(second, start, destination));
        }

        if (problems.Count > 0)
        {
            throw new ModelFileException(factors.Path, $"the adapters do not fit a GGUF file of {architecture}", problems, "");
        }

        writer.Save(path);
    }

    private protected override void Close() => _file.Dispose();

    private string? Text(string key) => _file.Values.GetValueOrDefault(key)?.AsText();

    private sealed record Factor(string Name, GgufTensor Source, bool IsOfHeads)
        : WeightTensor(Name, Source.Shape, Source.ByteLength)
    {
        public override string TypeName => Source.TypeName;

        public override long Length => Source.Length;

        public override bool IsFloat => Source.IsFloat;
    }
}
