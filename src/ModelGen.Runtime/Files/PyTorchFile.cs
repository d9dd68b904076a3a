using System.Collections.Immutable;
using System.Collections.ObjectModel;

namespace ModelGen.Runtime;

/// <summary>The tensors of a PyTorch file, as <c>torch.save</c> writes it since PyTorch 1.6: a ZIP archive of storages, and a pickle that says which tensors are views of them (<see cref="PickleReader"/>).</summary>
internal sealed class PyTorchFile : IndexedFile
{
    private const string PickleName = "/data.pkl";

    // A pickle of the number 0x1950A86A20F9469CFC6C.
    private static ReadOnlySpan<byte> OldMagic => [0x80, 2, 0x8A, 10, 0x6C, 0xFC, 0x9C, 0x46, 0xF9, 0x20, 0x6A, 0xA8, 0x50, 0x19];

    private PyTorchFile(FileBytes file, List<PlacedTensor> tensors)
        : base(file, tensors.AsReadOnly(), ReadOnlyDictionary<string, string>.Empty)
    {
    }

    public override WeightFileFormat Format => WeightFileFormat.PyTorch;

    /// <summary>Whether an archive is such a file.</summary>
    public static bool IsOne(List<ZipMember> members) => members.Exists(IsPickle);

    /// <summary>Whether a file begins as PyTorch's did before 1.6.</summary>
    public static bool LooksOld(ReadOnlySpan<byte> head) => head.StartsWith(OldMagic);

    /// <summary>Takes an archive, whose it then is to close.</summary>
    public static PyTorchFile Of(FileBytes file, List<ZipMember> members)
    {
        ZipMember pickle = members.Find(IsPickle)!;
        string folder = pickle.Name[..(pickle.Name.Length - PickleName.Length + 1)];
        var byName = new Dictionary<string, ZipMember>(StringComparer.Ordinal);
        foreach (ZipMember member in members)
        {
            if (!byName.TryAdd(member.Name, member))
            {
                throw new ModelFileException(file.Path, $"member {Quoted.Text(member.Name)}", "one of this name", "another");
            }
        }

        if (byName.TryGetValue(folder + "byteorder", out ZipMember? order) && !(order.StoredLength == 6 && file.Bytes(order.Offset, 6).AsSpan().SequenceEqual("little"u8)))
        {
            throw new ModelFileException(file.Path, "byteorder", "little", "another");
        }

        if (pickle.IsCompressed || pickle.Length > SafetensorsFormat.MaximumHeaderLength)
        {
            throw new ModelFileException(file.Path, "data.pkl", FormattableString.Invariant($"at most {SafetensorsFormat.MaximumHeaderLength} bytes, stored as they are"), pickle.IsCompressed ? "compressed ones" : FormattableString.Invariant($"{pickle.Length}"));
        }

        var tensors = new List<PlacedTensor>();
        foreach ((string name, PickledTensor tensor) in PickleReader.ReadTensors(file.Path, file.Bytes(pickle.Offset, (int)pickle.Length)))
        {
            tensors.Add(Place(file, byName.GetValueOrDefault($"{folder}data/{tensor.Storage.Key}"), name, tensor));
        }

        return new PyTorchFile(file, tensors);
    }

    private static bool IsPickle(ZipMember member) => member.Name.EndsWith(PickleName, StringComparison.Ordinal) && member.Name.IndexOf('/', StringComparison.Ordinal) == member.Name.Length - PickleName.Length;

    private static PlacedTensor Place(FileBytes file, ZipMember? member, string name, PickledTensor tensor)
    {
        string field = $"tensor {Quoted.Text(name)}";
        if (member is null || member.IsCompressed)
        {
            throw new ModelFileException(file.Path, field, $"the storage {Quoted.Text(tensor.Storage.Key)} in the archive, stored as it is", member is null ? "none" : "a compressed one");
        }

        if (CountOf(tensor.Shape) is not { } count)
        {
            throw new ModelFileException(file.Path, $"{field}, size", "at most 2^60 elements", Quoted.List(tensor.Shape));
        }

        // The last element that is reached, and whether each follows the one before.
        int size = SafetensorsFormat.SizeOf(tensor.Type);
        Int128 last = tensor.Offset;
        long dense = 1;
        bool isDense = true;
        for (int d = tensor.Shape.Length - 1; d >= 0; d--)
        {
            last += count == 0 ? 0 : (Int128)(tensor.Shape[d] - 1) * tensor.Strides[d];
            isDense &= tensor.Shape[d] <= 1 || tensor.Strides[d] == dense;
            dense *= count == 0 ? 1 : tensor.Shape[d];
        }

        if (count > 0 && (last + 1) * size > member.Length)
        {
            throw new ModelFileException(file.Path, field, FormattableString.Invariant($"elements within the {member.Length} bytes of its storage"), FormattableString.Invariant($"one that ends at {(long)Int128.Min((last + 1) * size, long.MaxValue)}"));
        }

        // Elements that are shared by several indices could be more than the file has bytes.
        if ((Int128)count * size > member.Length)
        {
            throw new ModelFileException(file.Path, $"{field}, size", FormattableString.Invariant($"at most the {member.Length} bytes of its storage"), Quoted.List(tensor.Shape));
        }

        return new PlacedTensor(name, tensor.Type, ImmutableArray.Create(tensor.Shape), count == 0 ? 0 : member.Offset + (tensor.Offset * size)) { Strides = isDense || count == 0 ? [] : ImmutableArray.Create(tensor.Strides) };
    }
}
