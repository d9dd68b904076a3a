using System.Globalization;
using System.Numerics;
using ModelGen.Runtime;

namespace ModelGen;

/// <summary>
/// A file of low-rank adapters (Hu et al., "LoRA", 2021), as PEFT, llama.cpp (GGUF) and <c>SaveAdapters</c> of a model write it: of each adapted weight W [out, in] the factors A [rank, in] and B [out, rank], and
/// how their product is scaled, which PEFT's <c>adapter_config.json</c> beside the file says, or the file itself.
/// </summary>
public sealed class AdapterFile : IDisposable
{
    private const string FirstFactor = ".lora_A.weight";
    private const string SecondFactor = ".lora_B.weight";

    private readonly WeightFile _file;
    private readonly List<(string Module, WeightTensor First, WeightTensor Second)> _pairs = [];
    private readonly double? _alpha;
    private readonly bool _isStabilized;

    private AdapterFile(WeightFile file)
    {
        _file = file;
        var problems = new List<ModelFileProblem>();
        foreach (WeightTensor tensor in file.Tensors)
        {
            string field = $"tensor {Quoted.Text(AdapterView.NameInFile(tensor))}";
            string found = $"{tensor.TypeName} {Quoted.List(tensor.Shape.AsSpan())}";
            bool isFirst = tensor.Name.EndsWith(FirstFactor, StringComparison.Ordinal);
            if (!isFirst && !tensor.Name.EndsWith(SecondFactor, StringComparison.Ordinal))
            {
                problems.Add(new ModelFileProblem(field, "the factors of linear layers alone, lora_A.weight and lora_B.weight", found));
                continue;
            }

            string module = tensor.Name[..^FirstFactor.Length];
            if (file.Find(module + (isFirst ? SecondFactor : FirstFactor)) is not { } other)
            {
                problems.Add(new ModelFileProblem(field, "the other factor beside it", "none"));
            }
            else if (isFirst)
            {
                if (tensor.Shape.Length == 2 && other.Shape.Length == 2 && tensor.Shape[0] == other.Shape[1] && tensor.Shape[0] > 0 && tensor.IsFloat && other.IsFloat && tensor.Length <= Array.MaxLength && other.Length <= Array.MaxLength)
                {
                    _pairs.Add((module.StartsWith(AdapterFiles.Prefix, StringComparison.Ordinal) ? module[AdapterFiles.Prefix.Length..] : module, tensor, other));
                }
                else
                {
                    problems.Add(new ModelFileProblem(field, "floats [rank, in], and [out, rank] in the other factor", $"{found}, and {other.TypeName} {Quoted.List(other.Shape.AsSpan())}"));
                }
            }
        }

        if (problems.Count > 0 || _pairs.Count == 0)
        {
            throw problems.Count > 0 ? new ModelFileException(file.Path, "it is no file of adapters that is understood here", problems, "") : new ModelFileException(file.Path, "tensors", "factors lora_A.weight and lora_B.weight", "none");
        }

        (_alpha, _isStabilized) = AdapterFiles.Scaling(file);
    }

    /// <summary>The weights that are adapted, by the names of their linear layers as PEFT has them: <c>model.layers.0.self_attn.q_proj</c>.</summary>
    public IReadOnlyList<string> Modules
    {
        get
        {
            string[] modules = new string[_pairs.Count];
            for (int i = 0; i < modules.Length; i++)
            {
                modules[i] = _pairs[i].Module;
            }

            return modules;
        }
    }

    /// <summary>The rank of all adapters; 0 if they have several.</summary>
    public int Rank
    {
        get
        {
            long rank = _pairs[0].First.Shape[0];
            foreach ((_, WeightTensor first, _) in _pairs)
            {
                if (first.Shape[0] != rank)
                {
                    return 0;
                }
            }

            return checked((int)rank);
        }
    }

    /// <summary>What an adapter of a rank is scaled with, times that rank (<see cref="LoraAttribute.Alpha"/>).</summary>
    /// <param name="rank">The rank.</param>
    public double Alpha(int rank) => Scale(rank) * rank;

    /// <summary>
    /// The channels of a head of the model that is adapted. GGUF files of Llama have rows of queries and keys in an order that only it tells, and need not say it; 0 where it is not known: such rows cannot be
    /// read then, unless the file that they are merged into says it. Other files have no use for it.
    /// </summary>
    /// <exception cref="ArgumentOutOfRangeException">The value is negative.</exception>
    public int HeadWidth
    {
        get => _file is AdapterView view ? (int)Math.Min(view.HeadWidth, int.MaxValue) : 0;
        set
        {
            ArgumentOutOfRangeException.ThrowIfNegative(value);
            if (_file is AdapterView view)
            {
                view.HeadWidth = value;
            }
        }
    }

    /// <summary>Writes the adapters as a GGUF file that llama.cpp reads beside a model's.</summary>
    /// <param name="path">The file, written beside an existing one and renamed.</param>
    /// <param name="architecture">GGUF's name for the kind of the model that is adapted, as <see cref="GgufWriter.Add(WeightFile, string, int, Func{WeightTensor, GgmlType})"/> takes it.</param>
    /// <param name="headWidth">The channels of a head of queries and keys, which tell the order of their rows.</param>
    /// <exception cref="NotSupportedException">The architecture's names are not known.</exception>
    /// <exception cref="InvalidOperationException">The adapters have several ranks and a scale that does not go by the rank, or an alpha that is not positive, which such a file cannot say.</exception>
    /// <exception cref="ModelFileException">Adapted weights have no place in such a file, as parts of a matrix have that it holds as one; all are listed.</exception>
    /// <exception cref="IOException">The file cannot be written; an existing one is untouched.</exception>
    public void SaveGguf(string path, string architecture, int headWidth)
    {
        ArgumentException.ThrowIfNullOrEmpty(path);
        ArgumentNullException.ThrowIfNull(architecture);
        if (Rank == 0 && (_isStabilized || _alpha is null))
        {
            throw new InvalidOperationException("The adapters have several ranks, and no one number that a GGUF file could say of their scales.");
        }

        // 0 there stands for the rank.
        double alpha = Rank == 0 ? _alpha!.Value : Alpha(Rank);
        if ((float)alpha is not (> 0 and <= float.MaxValue))
        {
            throw new InvalidOperationException(string.Create(CultureInfo.InvariantCulture, $"The adapters are scaled with {alpha} times the rank's inverse, and a GGUF file has positive numbers of single precision for it."));
        }

        HeadWidth = headWidth;
        AdapterView.Save(path, _file, _pairs, architecture, headWidth, alpha);
    }

    /// <summary>Opens a file.</summary>
    /// <param name="path">The file, or the folder of PEFT's that <c>adapter_model.safetensors</c> is in.</param>
    /// <exception cref="ModelFileException">The file is damaged, or is no file of adapters of linear layers alone.</exception>
    /// <exception cref="IOException">The file cannot be read.</exception>
    public static AdapterFile Open(string path)
    {
        ArgumentNullException.ThrowIfNull(path);
        WeightFile file = WeightFile.Open(Resolve(path));
        try
        {
            return new AdapterFile(file);
        }
        catch
        {
            file.Dispose();
            throw;
        }
    }

    /// <summary>The file that a folder of PEFT's has, or the path itself.</summary>
    /// <param name="path">A file or a folder.</param>
    public static string Resolve(string path) => Directory.Exists(path) ? Path.Combine(path, AdapterFiles.ModelName) : path;

    /// <summary>
    /// A model's file with these adapters merged into the weights: W + s·B·A (Hu et al. 2021, section 4.1), computed as they are read. Tensors that are stored transposed, as GPT-2's, are merged transposed.
    /// </summary>
    /// <param name="file">The model's file, which the new one closes.</param>
    /// <exception cref="ModelFileException">An adapted weight is not in the model's file, or has another shape; all are listed.</exception>
    /// <exception cref="ObjectDisposedException">This file was closed.</exception>
    public WeightFile MergeInto(WeightFile file)
    {
        ArgumentNullException.ThrowIfNull(file);
        if (HeadWidth == 0 && file.Tensors.Count > 0 && file.Original(file.Tensors[0]) is { } original && original.File.Values.GetValueOrDefault("general.architecture")?.AsText() is { } architecture)
        {
            HeadWidth = (int)Math.Clamp(HuggingFaceView.HeadWidth(original.File, architecture), 0, int.MaxValue);
        }

        var problems = new List<ModelFileProblem>();
        var updates = new Dictionary<WeightTensor, Update>(ReferenceEqualityComparer.Instance);
        foreach ((string module, WeightTensor first, WeightTensor second) in _pairs)
        {
            long rows = second.Shape[0];
            long columns = first.Shape[1];
            string field = $"tensor {Quoted.Text(module + ".weight")}";
            if (Find(file, module + ".weight") is not { } weight)
            {
                problems.Add(new ModelFileProblem(field, $"floats {Quoted.List([rows, columns])}, which {_file.Path} adapts", "none"));
                continue;
            }

            bool isPlain = weight.Shape.AsSpan().SequenceEqual([rows, columns]);
            if (!weight.IsFloat || (!isPlain && !weight.Shape.AsSpan().SequenceEqual([columns, rows])) || !updates.TryAdd(weight, new Update(Read(first), Read(second), (int)first.Shape[0], (int)columns, (float)Scale((int)first.Shape[0]), !isPlain)))
            {
                problems.Add(new ModelFileProblem(field, $"floats {Quoted.List([rows, columns])}, which {_file.Path} adapts once", $"{weight.TypeName} {Quoted.List(weight.Shape.AsSpan())}"));
            }
        }

        if (problems.Count == 0)
        {
            return RearrangedFile.Of(file, tensor => updates.TryGetValue(tensor, out Update? update) ? [new RearrangedFile.Computed(tensor.Name, tensor.Shape, tensor.ByteLength, tensor.TypeName, (start, destination) =>
            {
                file.ReadFloats(tensor, start, destination);
                update.AddTo(start, destination);
            })] : null);
        }

        throw new ModelFileException(file.Path, $"the adapters of {_file.Path} are of another model", problems, "");
    }

    /// <summary>Closes the file.</summary>
    public void Dispose() => _file.Dispose();

    private double Scale(int rank) => (_alpha ?? rank) / (_isStabilized ? Math.Sqrt(rank) : rank);

    private float[] Read(WeightTensor tensor)
    {
        float[] values = new float[tensor.Length];
        _file.ReadFloats(tensor, 0, values);
        return values;
    }

    // By its name; or where one of the two has a prefix that the other has not, as published files of GPT-2 and of Llama do.
    private static WeightTensor? Find(WeightFile file, string name)
    {
        if (file.Find(name) is { } found)
        {
            return found;
        }

        WeightTensor[] alike = [.. file.Tensors.Filter(tensor => tensor.Name.EndsWith("." + name, StringComparison.Ordinal) || name.EndsWith("." + tensor.Name, StringComparison.Ordinal))];
        return alike.Length == 1 ? alike[0] : null;
    }

    private sealed record Update(float[] First, float[] Second, int Rank, int Columns, float Scale, bool IsTransposed)
    {
        /// <summary>Adds the update's elements from one on.</summary>
        public void AddTo(long start, Span<float> destination)
        {
            int rows = Second.Length / Rank;
            if (IsTransposed)
            {
                for (int i = 0; i < destination.Length; i++)
                {
                    (long column, long row) = Math.DivRem(start + i, rows);
                    float sum = 0;
                    for (int r = 0; r < Rank; r++)
                    {
                        sum += Second[(row * Rank) + r] * First[((long)r * Columns) + column];
                    }

                    destination[i] += Scale * sum;
                }

                return;
            }

            while (!destination.IsEmpty)
            {
                (long row, long column) = Math.DivRem(start, Columns);
                int count = (int)Math.Min(Columns - column, destination.Length);
                for (int r = 0; r < Rank; r++)
                {
                    float factor = Scale * Second[(row * Rank) + r];
                    ReadOnlySpan<float> source = First.AsSpan((int)(((long)r * Columns) + column), count);
                    Span<float> target = destination[..count];
                    int i = 0;
                    for (; i <= count - Vector<float>.Count; i += Vector<float>.Count)
                    {
                        (new Vector<float>(target[i..]) + (factor * new Vector<float>(source[i..]))).CopyTo(target[i..]);
                    }

                    for (; i < count; i++)
                    {
                        target[i] += factor * source[i];
                    }
                }

                destination = destination[count..];
                start += count;
            }
        }
    }
}
