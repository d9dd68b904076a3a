using System.Runtime.InteropServices;
using ModelGen.Runtime;
using ModelGen.Tests.Infrastructure;

namespace ModelGen.Tests.Runtime;

/// <summary>Groups of rows that are laid out at once, against the same rows put one by one.</summary>
public sealed unsafe class BlockGroupsTests
{
    [Theory]
    [InlineData(WeightFormat.Q8_0)]
    [InlineData(WeightFormat.Q4_0)]
    public void AGroupIsWhatItsRowsAreOneByOne(WeightFormat format)
    {
        var random = new Random(11);
        foreach (int blocks in new[] { 1, 2, 3, 5, 32 })
        {
            int rowBytes = blocks * BlockRows.BlockBytes(format), groupBytes = (int)BlockRows.GroupBytes(format, 32 * blocks);
            byte[] rows = Rows(random, blocks, BlockRows.BlockBytes(format));
            using var together = new GuardedBuffer(groupBytes / 4);
            using var single = new GuardedBuffer(groupBytes / 4);
            using var stored = new GuardedBuffer((rows.Length + 3) / 4);
            byte* from = (byte*)stored.Pointer + ((rows.Length + 3) / 4 * 4) - rows.Length;
            rows.CopyTo(new Span<byte>(from, rows.Length));
            new Span<byte>(together.Pointer, groupBytes).Clear();
            new Span<byte>(single.Pointer, groupBytes).Clear();
            Assert.True(BlockGroups.TryPut(format, from, rowBytes, (byte*)together.Pointer));
            for (int row = 0; row < BlockRows.GroupRows; row++)
            {
                Assert.True(BlockRows.Put(format, rows.AsSpan(row * rowBytes, rowBytes), (byte*)single.Pointer, row));
            }

            Assert.Equal(new Span<byte>(single.Pointer, groupBytes).ToArray(), new Span<byte>(together.Pointer, groupBytes).ToArray());
        }
    }

    // Whole cache lines are written in another way than what begins inside one.
    [Theory]
    [InlineData(WeightFormat.Q8_0)]
    [InlineData(WeightFormat.Q4_0)]
    public void WhereAGroupBeginsDoesNotMatter(WeightFormat format)
    {
        const int Blocks = 5;
        int rowBytes = Blocks * BlockRows.BlockBytes(format), groupBytes = (int)BlockRows.GroupBytes(format, 32 * Blocks);
        byte[] rows = Rows(new Random(12), Blocks, BlockRows.BlockBytes(format));
        byte* memory = (byte*)NativeMemory.AlignedAlloc((nuint)groupBytes + 64, 64);
        try
        {
            fixed (byte* from = rows)
            {
                byte[]? first = null;
                foreach (int offset in new[] { 0, 4, 16, 60, 64 })
                {
                    NativeMemory.Clear(memory, (nuint)groupBytes + 64);
                    Assert.True(BlockGroups.TryPut(format, from, rowBytes, memory + offset));
                    first ??= new Span<byte>(memory, groupBytes).ToArray();
                    Assert.Equal(first, new Span<byte>(memory + offset, groupBytes).ToArray());
                    Assert.True(new Span<byte>(memory, offset).IndexOfAnyExcept((byte)0) < 0 && new Span<byte>(memory + offset + groupBytes, 64 - offset).IndexOfAnyExcept((byte)0) < 0);
                }
            }
        }
        finally
        {
            NativeMemory.AlignedFree(memory);
        }
    }

    [Theory]
    [InlineData(0x7C00)]
    [InlineData(0xFC00)]
    [InlineData(0x7E01)]
    public void AScaleThatIsNoNumberIsLeftToSingleRows(int scale)
    {
        const int Blocks = 3;
        int size = BlockRows.BlockBytes(WeightFormat.Q8_0);
        byte* group = stackalloc byte[(int)BlockRows.GroupBytes(WeightFormat.Q8_0, 32 * Blocks)];
        foreach (int at in new[] { 0, 7, (16 * Blocks) - 1 })
        {
            byte[] rows = Rows(new Random(3), Blocks, size);
            BitConverter.TryWriteBytes(rows.AsSpan(at * size), (ushort)scale);
            fixed (byte* from = rows)
            {
                Assert.False(BlockGroups.TryPut(WeightFormat.Q8_0, from, Blocks * size, group));
            }
        }
    }

    // The largest finite scale, of either sign, is one too.
    private static byte[] Rows(Random random, int blocks, int size)
    {
        byte[] rows = new byte[BlockRows.GroupRows * blocks * size];
        random.NextBytes(rows);
        for (int block = 0; block < BlockRows.GroupRows * blocks; block++)
        {
            BitConverter.TryWriteBytes(rows.AsSpan(block * size), block % 5 == 0 ? (ushort)(block % 2 == 0 ? 0x7BFF : 0xFBFF) : (ushort)random.Next(0x7C00));
        }

        return rows;
    }
}
