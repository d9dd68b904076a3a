using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using ModelGen.Leaf;

namespace ModelGen.ArmTests;

/// <summary>
/// Builds an image: regions of memory with red zones between them, and commands that work on them. Memory that nothing was
/// put into holds a NaN, so that whatever is read without having been written shows.
/// </summary>
internal sealed class MemoryImage
{
    private const int Line = 64;
    private const uint Poison = 0x7FC0_5EED;
    private const uint RedZone = 0x7FC0_0BAD;

    private readonly List<byte> _bytes = [.. new byte[Line]];
    private readonly List<Leaf.Command> _commands = [];
    private readonly List<int> _redZones = [];

    /// <summary>Reserves a region, aligned as the runtime aligns memory.</summary>
    /// <param name="elements">Floats or 32-bit integers.</param>
    /// <param name="zero">Whether it is zero and not poison.</param>
    /// <returns>Where it is, in bytes from the image's start.</returns>
    public long Reserve(long elements, bool zero = false)
    {
        int offset = Append(zero ? 0 : Poison, checked((int)elements));
        _redZones.Add(_bytes.Count);
        Append(RedZone, Line / sizeof(uint));
        return offset;
    }

    /// <summary>Reserves a region that holds <paramref name="values"/>.</summary>
    public long Place<T>(ReadOnlySpan<T> values)
        where T : unmanaged
    {
        long offset = Reserve(values.Length);
        Write(offset, values);
        return offset;
    }

    public void Write<T>(long offset, ReadOnlySpan<T> values)
        where T : unmanaged
        => MemoryMarshal.AsBytes(values).CopyTo(CollectionsMarshal.AsSpan(_bytes)[checked((int)offset)..]);

    public void Add(Leaf.Command command) => _commands.Add(command);

    /// <summary>Copies elements from one place to another when its turn comes.</summary>
    public void Copy(long from, long to, long elements) => Add(new Leaf.Command { Kind = CommandKind.Copy, From = from, To = to, Length = elements * sizeof(float) });

    /// <summary>Keeps elements as they are when its turn comes.</summary>
    /// <returns>Where they are kept.</returns>
    public long Keep(long from, long elements)
    {
        long kept = Reserve(elements);
        Copy(from, kept, elements);
        return kept;
    }

    /// <summary>The finished image.</summary>
    public byte[] ToArray()
    {
        List<byte> image = [.. _bytes];
        ImageHeader header = new() { CommandsOffset = image.Count, CommandCount = _commands.Count };
        image.AddRange(MemoryMarshal.AsBytes(CollectionsMarshal.AsSpan(_commands)));
        MemoryMarshal.Write(CollectionsMarshal.AsSpan(image), in header);
        return [.. image];
    }

    /// <summary>Requires that nothing was written between the regions.</summary>
    public void CheckRedZones(ReadOnlySpan<byte> result)
    {
        foreach (int zone in _redZones)
        {
            foreach (uint word in MemoryMarshal.Cast<byte, uint>(result.Slice(zone, Line)))
            {
                Assert.True(word == RedZone, $"The memory behind the region that ends at byte {zone} was written to.");
            }
        }
    }

    public static ReadOnlySpan<float> Floats(ReadOnlySpan<byte> result, long offset, int count)
        => MemoryMarshal.Cast<byte, float>(result.Slice(checked((int)offset), count * Unsafe.SizeOf<float>()));

    private int Append(uint pattern, int words)
    {
        int offset = _bytes.Count;
        int length = checked(((words * sizeof(uint)) + Line - 1) / Line * Line);
        CollectionsMarshal.SetCount(_bytes, offset + length);
        MemoryMarshal.Cast<byte, uint>(CollectionsMarshal.AsSpan(_bytes).Slice(offset, length)).Fill(pattern);
        return offset;
    }
}
