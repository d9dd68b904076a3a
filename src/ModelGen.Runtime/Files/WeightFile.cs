using System.Buffers.Binary;
using System.Collections.Immutable;
using Microsoft.Win32.SafeHandles;
using ModelGen.Runtime;

namespace ModelGen;

/// <summary>A kind of weight file.</summary>
public enum WeightFileFormat
{
    /// <summary>Safetensors: <see cref="SafetensorsFile"/>, or several of them by their index (<c>model.safetensors.index.json</c>).</summary>
    Safetensors,

    /// <summary>GGUF, llama.cpp's: <see cref="GgufFile"/>.</summary>
    Gguf,

    /// <summary>The <c>.bin</c> files of llama2.c: <see cref="Llama2cFile"/>.</summary>
    Llama2c,

    /// <summary>The <c>.bin</c> files of llm.c: a GPT-2 in 32-bit floats or bfloat16.</summary>
    Llmc,

    /// <summary>PyTorch's, as <c>torch.save</c> writes a state dictionary (<c>.pt</c>, <c>.pth</c>, <c>.bin</c>): nothing but tensors and what holds them is read of it, and nothing is run.</summary>
    PyTorch,

    /// <summary>NumPy archives (<c>.npz</c>).</summary>
    NumPy,
}

/// <summary>One tensor of a weight file, whatever its format.</summary>
/// <param name="Name">The tensor's name.</param>
/// <param name="Shape">The extents, row-major; none for a scalar.</param>
/// <param name="ByteLength">The length of the elements in bytes, as the file stores them.</param>
public abstract record WeightTensor(string Name, ImmutableArray<long> Shape, long ByteLength)
{
    /// <summary>What the format calls the type of the elements.</summary>
    public abstract string TypeName { get; }

    /// <summary>The number of elements.</summary>
    public abstract long Length { get; }

    /// <summary>Whether the elements are numbers that <see cref="WeightFile.ReadFloats"/> reads.</summary>
    public abstract bool IsFloat { get; }
}

/// <summary>
/// A file of named weights. Opening it checks everything that its header says against the file; the elements are read on
/// demand, widened to 32-bit floats. A read of what others have truncated meanwhile throws a <see cref="ModelFileException"/>; no file is mapped into memory, where it would end the process.
/// </summary>
public abstract class WeightFile : IDisposable
{
    private protected WeightFile()
    {
    }

    /// <summary>The file.</summary>
    public abstract string Path { get; }

    /// <summary>The file's format.</summary>
    public abstract WeightFileFormat Format { get; }

    /// <summary>The tensors, in the order of the file.</summary>
    public abstract IReadOnlyList<WeightTensor> Tensors { get; }

    /// <summary>What the file says beside its tensors, as text; empty if nothing.</summary>
    public abstract IReadOnlyDictionary<string, string> Metadata { get; }

    /// <summary>
    /// Opens a file of any format that is known here, which its first bytes tell. Tensors have the names, the shapes and the order of rows of Hugging Face's
    /// checkpoints: those of GGUF and llama2.c files are renamed, and rows that they keep in another order are read in this one. Experts' matrices that a checkpoint holds one by one are one tensor, and projections of a gated network that it holds as one are two.
    /// </summary>
    /// <param name="path">The file.</param>
    /// <exception cref="ModelFileException">The file is of no format that is known here, or is damaged; a directory, a pipe or a device; or may not be read.</exception>
    /// <exception cref="IOException">The file cannot be read.</exception>
    public static WeightFile Open(string path)
    {
        WeightFileFormat format = FormatOf(path);
        return format switch
        {
            WeightFileFormat.Gguf when FileReaders.Gguf => GgufFile.Open(path).WithHuggingFaceNames(),
            WeightFileFormat.Llama2c when FileReaders.Llama2c => Llama2cFile.Open(path),
            WeightFileFormat.Llmc when FileReaders.Llmc => LlmcFile.Open(path),
            WeightFileFormat.PyTorch when FileReaders.PyTorch => ExpertsView.Of(FusedView.Of(TextPart.Of(OpenArchive(path, PyTorchFile.Of)))),
            WeightFileFormat.NumPy when FileReaders.NumPy => ExpertsView.Of(FusedView.Of(OpenArchive(path, NumPyArchive.Of))),
            WeightFileFormat.Safetensors when FileReaders.Safetensors => ExpertsView.Of(FusedView.Of(TextPart.Of(IsIndex(path) ? SafetensorsIndex.Open(path) : SafetensorsFile.Open(path)))),
            _ => throw new ModelFileException(path, "format", "one that the program was built to read (ModelGenWeightFiles)", NameOf(format)),
        };
    }

    /// <summary>Which format a file is of, by its first bytes; safetensors where they tell nothing else.</summary>
    /// <param name="path">The file.</param>
    /// <exception cref="ModelFileException">The file is empty; a directory, a pipe or a device; or may not be read.</exception>
    /// <exception cref="IOException">The file cannot be read.</exception>
    public static WeightFileFormat FormatOf(string path)
    {
        Span<byte> head = stackalloc byte[Llama2cFile.HeaderLength];
        head = Head(path, head);

        // A length below 2^32 and the JSON behind it, whatever else the length looks like.
        if (head.Length > sizeof(long) && head[sizeof(long)] == (byte)'{' && BinaryPrimitives.ReadUInt32LittleEndian(head[sizeof(uint)..]) == 0)
        {
            return WeightFileFormat.Safetensors;
        }

        if ((FileReaders.PyTorch || FileReaders.NumPy) && head.StartsWith(ZipContainer.Magic))
        {
            using FileBytes file = FileBytes.Open(path);
            using FileBytes.Reading reading = file.Read();
            return PyTorchFile.IsOne(ZipContainer.Read(file)) ? WeightFileFormat.PyTorch : WeightFileFormat.NumPy;
        }

        if (PyTorchFile.LooksOld(head))
        {
            throw new ModelFileException(path, "format", "a file of PyTorch 1.6 or later: torch.save(torch.load(old), new) writes one", "an older one");
        }

        return head.StartsWith(GgufFile.Magic) ? WeightFileFormat.Gguf
            : head.Length >= sizeof(int) && BinaryPrimitives.ReadInt32LittleEndian(head) == LlmcFile.Magic ? WeightFileFormat.Llmc
            : Llama2cFile.LooksLikeOne(head) ? WeightFileFormat.Llama2c
            : WeightFileFormat.Safetensors;
    }

    /// <summary>
    /// The same weights with projections of one input joined as Hugging Face's checkpoints of an architecture hold them: Phi-3's queries, keys and values (<c>self_attn.qkv_proj</c>), and its gates and what they let through
    /// (<c>mlp.gate_up_proj</c>), which <see cref="Open"/> gives as parts. Closing it closes this file, and where nothing is joined it is this file.
    /// </summary>
    /// <param name="architecture">GGUF's name for the kind of model.</param>
    public WeightFile WithJoinedProjections(string architecture)
    {
        ArgumentNullException.ThrowIfNull(architecture);
        return architecture == "phi3" ? FusedView.Joined(this, HuggingFaceNames.Of(architecture).Joins) : this;
    }

    /// <summary>Finds a tensor.</summary>
    /// <param name="name">The tensor's name.</param>
    /// <returns>The tensor, or null if there is none with this name.</returns>
    public abstract WeightTensor? Find(string name);

    /// <summary>Reads elements, converted to 32-bit floats.</summary>
    /// <param name="tensor">A tensor of this file.</param>
    /// <param name="start">The first element to read.</param>
    /// <param name="destination">Where the elements go; its length says how many.</param>
    /// <exception cref="ModelFileException">The elements are of a type that is not read.</exception>
    /// <exception cref="ArgumentException">The tensor is not of this file.</exception>
    /// <exception cref="ArgumentOutOfRangeException">The range is not inside the tensor.</exception>
    /// <exception cref="ObjectDisposedException">The file was closed.</exception>
    public abstract void ReadFloats(WeightTensor tensor, long start, Span<float> destination);

    /// <summary>Whether what lies before an element is read to come to it, as where it is compressed: pieces of such a tensor are to be read one after the other.</summary>
    /// <param name="tensor">A tensor of this file.</param>
    internal virtual bool IsReadInOrder(WeightTensor tensor) => false;

    /// <summary>Reads elements of a tensor as if its rows were in another order.</summary>
    /// <param name="tensor">A tensor of this file.</param>
    /// <param name="start">The first element, in that order.</param>
    /// <param name="destination">Where the elements go.</param>
    /// <param name="rowAt">Where a row lies.</param>
    internal void ReadReordered(WeightTensor tensor, long start, Span<float> destination, Func<long, long> rowAt)
    {
        long columns = tensor.Length / Math.Max(1, tensor.Shape[0]);
        while (!destination.IsEmpty)
        {
            (long row, long column) = Math.DivRem(start, columns);
            int count = (int)Math.Min(columns - column, destination.Length);
            ReadFloats(tensor, (rowAt(row) * columns) + column, destination[..count]);
            destination = destination[count..];
            start += count;
        }
    }

    /// <summary>Reads rows of a tensor as they are stored, if they are stored in the type that is asked for.</summary>
    /// <param name="tensor">A tensor of this file.</param>
    /// <param name="type">The type.</param>
    /// <param name="row">The first row.</param>
    /// <param name="count">Their number, 1 or more.</param>
    /// <param name="destination">Where their bytes go, one row behind the other: as long as they are.</param>
    /// <returns>Whether they were read: a file may have to convert.</returns>
    internal virtual bool TryReadRows(WeightTensor tensor, GgmlType type, long row, int count, Span<byte> destination) => false;

    /// <summary>Reads a column of a matrix as it is stored, if it is stored in the type that is asked for and with its columns one behind the other.</summary>
    /// <param name="tensor">A matrix of this file.</param>
    /// <param name="type">The type.</param>
    /// <param name="column">The column.</param>
    /// <param name="destination">Where its bytes go: as long as a column is.</param>
    /// <returns>Whether it was read.</returns>
    internal virtual bool TryReadColumn(WeightTensor tensor, GgmlType type, long column, Span<byte> destination) => false;

    /// <summary>The tensor of a GGUF file that all of a tensor's elements lie in, if there is one: under another name, or in another order.</summary>
    /// <param name="tensor">A tensor of this file.</param>
    internal virtual (GgufFile File, GgufTensor Tensor)? Original(WeightTensor tensor) => null;

    /// <summary>Adds the tensors of a GGUF file that a tensor's elements lie in, whatever became of them.</summary>
    /// <param name="tensor">A tensor of this file.</param>
    /// <param name="sources">Where they go.</param>
    internal virtual void AddSources(WeightTensor tensor, HashSet<WeightTensor> sources)
    {
    }

    /// <summary>Reads bytes of a tensor as they are stored, if the file stores them one behind the other.</summary>
    /// <param name="tensor">A tensor of this file.</param>
    /// <param name="start">The first byte.</param>
    /// <param name="destination">Where they go.</param>
    /// <returns>Whether they were read.</returns>
    internal virtual bool TryReadBytes(WeightTensor tensor, long start, Span<byte> destination) => false;

    /// <summary>Closes the file. Reads of other threads that have begun end undisturbed.</summary>
    public void Dispose()
    {
        Close();
        GC.SuppressFinalize(this);
    }

    private protected abstract void Close();

    private static Span<byte> Head(string path, Span<byte> head)
    {
        using SafeFileHandle file = InputFile.OpenHandle(path, FileShare.Read | FileShare.Delete);
        int length = 0;
        while (length < head.Length && RandomAccess.Read(file, head[length..], length) is > 0 and int read)
        {
            length += read;
        }

        return head[..length];
    }

    private static bool IsIndex(string path)
    {
        Span<byte> head = stackalloc byte[sizeof(long)];
        return SafetensorsIndex.LooksLikeOne(Head(path, head));
    }

    // Not by the enumeration's own names, with which it would have to bring all of itself along.
    private static string NameOf(WeightFileFormat format) => format switch
    {
        WeightFileFormat.Gguf => "GGUF",
        WeightFileFormat.Llama2c => "llama2.c",
        WeightFileFormat.Llmc => "llm.c",
        WeightFileFormat.PyTorch => "PyTorch",
        WeightFileFormat.NumPy => "NumPy",
        _ => "safetensors, or none that is known",
    };

    private static WeightFile OpenArchive(string path, Func<FileBytes, List<ZipMember>, WeightFile> open)
    {
        FileBytes file = FileBytes.Open(path);
        try
        {
            using FileBytes.Reading reading = file.Read();
            return open(file, ZipContainer.Read(file));
        }
        catch
        {
            file.Dispose();
            throw;
        }
    }

    /// <summary>Requires that a range of elements lies inside a tensor.</summary>
    private protected static void CheckRange(WeightTensor tensor, long start, int count)
    {
        if (start < 0 || start > tensor.Length - count)
        {
            throw new ArgumentOutOfRangeException(nameof(start), start, FormattableString.Invariant($"{count} elements from {start} on are not inside the tensor's {tensor.Length}."));
        }
    }

    /// <summary>Requires that a tensor is one of this file's.</summary>
    private protected void CheckOwn(WeightTensor tensor)
    {
        ArgumentNullException.ThrowIfNull(tensor);
        if (!ReferenceEquals(Find(tensor.Name), tensor))
        {
            throw new ArgumentException("The tensor is not of this file.", nameof(tensor));
        }
    }
}
