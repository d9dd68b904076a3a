using System.Buffers.Binary;
using System.Runtime.InteropServices;
using System.Text.Json;

namespace ModelGen.Tests.Infrastructure;

/// <summary>
/// A safetensors file read in the plainest way: what the runtime's own reader and writer are compared with, and how
/// fixtures are read that hold integers.
/// </summary>
public sealed class ReferenceFile
{
    private readonly Dictionary<string, (string Type, int[] Shape, int Start, int End)> _tensors = [];
    private readonly byte[] _bytes;

    public ReferenceFile(string path)
    {
        _bytes = File.ReadAllBytes(path);
        int headerLength = checked((int)BinaryPrimitives.ReadUInt64LittleEndian(_bytes));
        using JsonDocument header = JsonDocument.Parse(_bytes.AsMemory(8, headerLength));
        foreach (JsonProperty property in header.RootElement.EnumerateObject())
        {
            if (property.Name == "__metadata__")
            {
                continue;
            }

            JsonElement offsets = property.Value.GetProperty("data_offsets");
            _tensors.Add(property.Name, (
                property.Value.GetProperty("dtype").GetString()!,
                [.. property.Value.GetProperty("shape").EnumerateArray().Select(e => e.GetInt32())],
                8 + headerLength + offsets[0].GetInt32(),
                8 + headerLength + offsets[1].GetInt32()));
        }
    }

    /// <summary>Opens a committed fixture.</summary>
    public static ReferenceFile OfFixture(string name) => new(SourceTree.Fixture(name + ".safetensors"));

    public IEnumerable<string> Names => _tensors.Keys;

    public bool Has(string name) => _tensors.ContainsKey(name);

    public int[] Shape(string name) => _tensors[name].Shape;

    public float[] Floats(string name) => Elements<float>(name, "F32");

    public double[] Doubles(string name) => Array.ConvertAll(Floats(name), x => (double)x);

    /// <summary>The integers of a tensor of 32- or 64-bit integers.</summary>
    public int[] Ints(string name)
        => _tensors[name].Type == "I64"
            ? Array.ConvertAll(Elements<long>(name, "I64"), x => checked((int)x))
            : Elements<int>(name, "I32");

    private T[] Elements<T>(string name, string type)
        where T : unmanaged
    {
        (string actual, _, int start, int end) = _tensors[name];
        Assert.Equal(type, actual);
        return MemoryMarshal.Cast<byte, T>(_bytes.AsSpan(start, end - start)).ToArray();
    }
}
