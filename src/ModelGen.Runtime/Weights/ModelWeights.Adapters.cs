using System.Numerics;
using System.Runtime.InteropServices;

namespace ModelGen.Runtime;

public sealed unsafe partial class ModelWeights
{
    private const string FirstFactor = ".lora_A.weight";
    private const string SecondFactor = ".lora_B.weight";

    /// <summary>
    /// Saves the adapters alone, as a safetensors file under PEFT's names, written beside an existing one and renamed; where it is called
    /// <c>adapter_model.safetensors</c>, as PEFT has it, <c>adapter_config.json</c> beside it is written too.
    /// </summary>
    /// <param name="path">The file.</param>
    /// <exception cref="ArgumentException">The name ends in <c>.gguf</c>: such a file has the names of another, which is to be given.</exception>
    /// <exception cref="IOException">The file cannot be written; an existing one is untouched.</exception>
    /// <exception cref="InvalidOperationException">The model has no adapters, or a trainer steps meanwhile, on another thread; an existing file is untouched.</exception>
    /// <exception cref="ObjectDisposedException">The weights were disposed.</exception>
    public void SaveAdapters(string path)
    {
        ArgumentException.ThrowIfNullOrEmpty(path);
        if (path.EndsWith(".gguf", StringComparison.OrdinalIgnoreCase))
        {
            throw new ArgumentException("A GGUF file of adapters has the names of the model's GGUF file, which is to be given: SaveAdapters(path, original).", nameof(path));
        }

        AdapterOptions options = Adapters;
        ParameterTable adapters = Table.AdapterTable;
        long version = Version();
        var writer = new SafetensorsWriter { BeforeReplacing = () => ThrowIfChanged(version) };
        FileMetadata.Add(writer, adapters);
        ParameterFiles.Add(writer, adapters, AdapterFiles.Prefix, Pointer);
        writer.Save(path);
        if (AdapterFiles.HasConfig(path))
        {
            AdapterFiles.SaveConfig(path, options, [.. Table.Parameters.Filter(IsAdapted)]);
        }

        GC.KeepAlive(this);
    }

    /// <summary>Saves the adapters alone, as a GGUF file that llama.cpp reads beside that of the model, written beside an existing one and renamed.</summary>
    /// <param name="path">The file.</param>
    /// <param name="original">The model's GGUF file, of a known architecture.</param>
    /// <exception cref="ModelFileException">The model's file is damaged or of an architecture whose names are not known, or adapted weights have no place in such a file.</exception>
    /// <exception cref="IOException">The file cannot be written, in which case an existing one is untouched; or the other one cannot be read.</exception>
    /// <exception cref="InvalidOperationException">The model has no adapters, or a trainer steps meanwhile, on another thread; an existing file is untouched.</exception>
    /// <exception cref="ObjectDisposedException">The weights were disposed.</exception>
    public void SaveAdapters(string path, string original)
    {
        ArgumentException.ThrowIfNullOrEmpty(path);
        ArgumentException.ThrowIfNullOrEmpty(original);
        AdapterOptions options = Adapters;
        long version = Version();
        string architecture;
        using (GgufFile file = GgufFile.Open(original))
        {
            architecture = KnownArchitecture(file);
        }

        var view = new ParameterView(path, Table.AdapterTable.Parameters, Pointer);
        var pairs = new List<(string, WeightTensor, WeightTensor)>();
        foreach (ParameterInfo weight in Table.Parameters.Filter(IsAdapted))
        {
            pairs.Add((Module(weight), view.Find(NameOf(weight, FirstFactor))!, view.Find(NameOf(weight, SecondFactor))!));
        }

        AdapterView.Save(path, view, pairs, architecture, HeadWidth(Table), options.Alpha, () => ThrowIfChanged(version));
        GC.KeepAlive(this);
    }

    /// <summary>
    /// Loads adapters from a file that <see cref="SaveAdapters(string)"/>, PEFT or, as GGUF, llama.cpp's tools wrote. If the file does not fit, nothing has changed. It must hold each of the model's adapters in its
    /// shape and nothing else; what <c>adapter_config.json</c> beside a file of PEFT's says of their scale must be the model's.
    /// </summary>
    /// <param name="path">The file.</param>
    /// <exception cref="ModelFileException">The file is damaged, or is of another model or of other adapters.</exception>
    /// <exception cref="IOException">The file cannot be read.</exception>
    /// <exception cref="InvalidOperationException">The model has no adapters.</exception>
    /// <exception cref="ObjectDisposedException">The weights were disposed.</exception>
    public void LoadAdapters(string path)
    {
        AdapterOptions options = Adapters;
        ParameterTable adapters = Table.AdapterTable;
        using WeightFile file = WeightFile.Open(path);
        if (file is AdapterView view)
        {
            view.HeadWidth = HeadWidth(Table) is > 0 and var width ? width : view.HeadWidth;
        }

        var check = new FitCheck(file, adapters, training: false);
        check.Declaration();
        TensorMap map = TensorMap.Find(file, adapters, AdapterFiles.Prefix);
        if (map.Count == 0 && TensorMap.Find(file, adapters, null) is { Count: > 0 } other)
        {
            map = other;
        }

        var known = new HashSet<WeightTensor>(map.Tensors, ReferenceEqualityComparer.Instance);
        check.Parameters(map, [.. file.Tensors.Filter(tensor => !known.Contains(tensor))], ignoreUnexpected: false);
        if (!file.Metadata.ContainsKey(FileMetadata.Model))
        {
            AdapterFiles.CheckConfig(path, options, check);
        }

        check.ThrowIfAny();
        float* block = Pointer;
        BeginChange();
        try
        {
            ParameterFiles.Read(file, adapters, map, block);
        }
        finally
        {
            EndChange();
        }

        GC.KeepAlive(this);
    }

    /// <summary>
    /// Adds what the adapters add to the weights that they adapt, W + s·B·A (Hu et al. 2021, section 4.1), and sets B to zero, so that the model computes the same as before up to rounding.
    /// Weights in a format of fewer bits are rounded to it again. What a trainer of the model remembers of the adapters' gradients means nothing afterwards: another one is to be made.
    /// </summary>
    /// <exception cref="InvalidOperationException">The model has no adapters.</exception>
    /// <exception cref="ObjectDisposedException">The weights were disposed.</exception>
    public void MergeAdapters()
    {
        _ = Adapters;
        float* block = Pointer;
        BeginChange();
        try
        {
            foreach (ParameterInfo weight in Table.Parameters.Filter(IsAdapted))
            {
                if (weight.Format == WeightFormat.F32)
                {
                    for (int row = 0; row < weight.Shape[0]; row++)
                    {
                        AddUpdate(block, weight, row, new Span<float>(block + weight.Offset + ((long)row * weight.Shape[1]), weight.Shape[1]));
                    }
                }
                else
                {
                    // A row is read before it is written, and no other is touched.
                    PackedFiles.Fill(weight, (byte*)(block + weight.Offset), (row, values) => ReadMerged(block, weight, (int)row, values));
                }

                ParameterInfo second = Factor(weight, SecondFactor);
                new Span<float>(block + second.Offset, checked((int)second.Length)).Clear();
            }
        }
        finally
        {
            EndChange();
        }

        GC.KeepAlive(this);
    }

    /// <summary>
    /// Saves the model as one without adapters, which are merged into the weights of the file: one that the same declaration without <see cref="LoraAttribute"/> loads. This model stays as it is.
    /// Where the name ends in <c>.gguf</c>, weights are stored in the formats that they have in memory, adapted ones rounded to them.
    /// </summary>
    /// <param name="path">The file, written beside an existing one and renamed.</param>
    /// <exception cref="IOException">The file cannot be written; an existing one is untouched.</exception>
    /// <exception cref="NotSupportedException">The name ends in <c>.gguf</c>, and the program was built without such files (<c>ModelGenWeightFiles</c>).</exception>
    /// <exception cref="InvalidOperationException">The model has no adapters, or a trainer steps meanwhile, on another thread; an existing file is untouched.</exception>
    /// <exception cref="ObjectDisposedException">The weights were disposed.</exception>
    public void SaveMerged(string path)
    {
        _ = Adapters;
        if (IsGguf(path))
        {
            float* weights = Pointer;
            SaveGguf(path, Table.Parameters.Filter(static parameter => parameter.Adapts is null), withAdapters: false, (parameter, row, values) =>
            {
                if (!IsAdapted(parameter))
                {
                    return false;
                }

                if (!values.IsEmpty)
                {
                    ReadMerged(weights, parameter, row, values);
                }

                return true;
            });
            return;
        }

        ThrowIfLeftOut(path);
        long version = Version();
        float* block = Pointer;
        var writer = new SafetensorsWriter { BeforeReplacing = () => ThrowIfChanged(version) };
        FileMetadata.Add(writer, Table, withAdapters: false);
        foreach (ParameterInfo parameter in Table.Parameters)
        {
            if (IsAdapted(parameter))
            {
                writer.Add(parameter.Name, parameter.ShapeInFile.AsSpan(), SafetensorsType.F32, parameter.Length, stream => Write(stream, parameter));
            }
            else if (parameter.Adapts is null)
            {
                ParameterFiles.Add(writer, parameter, prefix: "", block);
            }
        }

        writer.Save(path);
        GC.KeepAlive(this);

        void Write(Stream stream, ParameterInfo weight)
        {
            float[] merged = new float[weight.Length];
            for (int row = 0; row < weight.Shape[0]; row++)
            {
                ReadMerged(block, weight, row, merged.AsSpan(row * weight.Shape[1], weight.Shape[1]));
            }

            float[] file = new float[merged.Length];
            weight.ToFile(merged, file);
            stream.Write(MemoryMarshal.AsBytes<float>(file));
        }
    }

    private AdapterOptions Adapters => Table.Adapters ?? throw new InvalidOperationException($"The model {Table.ModelName} has no adapters: [Lora] declares them.");

    /// <summary>What a file may lack: all adapters, where it has none of them.</summary>
    private static IEnumerable<string> MissingAdapters(ParameterTable table, TensorMap map)
    {
        var names = new List<string>();
        for (int index = 0; index < table.Parameters.Count; index++)
        {
            if (table.Parameters[index].Adapts is not null)
            {
                if (map.Has(index))
                {
                    return [];
                }

                names.Add(table.Parameters[index].Name);
            }
        }

        return names;
    }

    private bool IsAdapted(ParameterInfo parameter) => parameter.Adapts is null && Table.Contains(NameOf(parameter, FirstFactor));

    private static string Module(ParameterInfo weight) => weight.Name.EndsWith(".weight", StringComparison.Ordinal) ? weight.Name[..^".weight".Length] : weight.Name;

    private static string NameOf(ParameterInfo weight, string factor) => Module(weight) + factor;

    private ParameterInfo Factor(ParameterInfo weight, string factor) => Table.Parameters[Table.IndexOf(NameOf(weight, factor))];

    /// <summary>A row of a weight with its update.</summary>
    private void ReadMerged(float* block, ParameterInfo weight, int row, Span<float> values)
    {
        fixed (float* to = values)
        {
            BlockRows.Read(weight.Format, (byte*)(block + weight.Offset), row, values.Length, to);
        }

        AddUpdate(block, weight, row, values);
    }

    /// <summary>Adds the update of a row, s·(B·A)[row].</summary>
    private void AddUpdate(float* block, ParameterInfo weight, int row, Span<float> values)
    {
        ParameterInfo first = Factor(weight, FirstFactor), second = Factor(weight, SecondFactor);
        int rank = first.Shape[0];
        for (int r = 0; r < rank; r++)
        {
            float factor = (float)(Adapters.Scale * block[second.Offset + ((long)row * rank) + r]);
            var source = new ReadOnlySpan<float>(block + first.Offset + ((long)r * values.Length), values.Length);
            int column = 0;
            for (; column <= values.Length - Vector<float>.Count; column += Vector<float>.Count)
            {
                (new Vector<float>(values[column..]) + (factor * new Vector<float>(source[column..]))).CopyTo(values[column..]);
            }

            for (; column < values.Length; column++)
            {
                values[column] += factor * source[column];
            }
        }
    }
}
