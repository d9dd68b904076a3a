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
    [InlineData(WeightFormat.Q4_1)]
    [InlineData(WeightFormat.Q5_0)]
    [InlineData(WeightFormat.Q5_1)]
    [InlineData(WeightFormat.IQ4_NL)]
    [InlineData(WeightFormat.MXFP4)]
    [InlineData(WeightFormat.Q4_K)]
    [InlineData(WeightFormat.Q5_K)]
    [InlineData(WeightFormat.Q6_K)]
    public void AGroupIsWhatItsRowsAreOneByOne(WeightFormat format)
    {
        var random = new Random(11);
        foreach (int blocks in new[] { 1, 2, 3, 5, 32 })
        {
            int rowBytes = blocks * BlockRows.BlockBytes(format), groupBytes = (int)BlockRows.GroupBytes(format, BlockRows.ColumnsOf(format) * blocks);
            byte[] rows = Rows(random, blocks, format);
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
    [InlineData(WeightFormat.Q4_1)]
    [InlineData(WeightFormat.Q5_0)]
    [InlineData(WeightFormat.Q5_1)]
    [InlineData(WeightFormat.IQ4_NL)]
    [InlineData(WeightFormat.MXFP4)]
    [InlineData(WeightFormat.Q4_K)]
    [InlineData(WeightFormat.Q5_K)]
    [InlineData(WeightFormat.Q6_K)]
    public void WhereAGroupBeginsDoesNotMatter(WeightFormat format)
    {
        const int Blocks = 5;
        int rowBytes = Blocks * BlockRows.BlockBytes(format), groupBytes = (int)BlockRows.GroupBytes(format, BlockRows.ColumnsOf(format) * Blocks);
        byte[] rows = Rows(new Random(12), Blocks, format);
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
    [InlineData(WeightFormat.Q8_0, 0x7C00)]
    [InlineData(WeightFormat.Q8_0, 0xFC00)]
    [InlineData(WeightFormat.Q8_0, 0x7E01)]
    [InlineData(WeightFormat.Q4_1, 0x7C00)]
    [InlineData(WeightFormat.Q4_1, 0xFE01)]
    [InlineData(WeightFormat.Q5_0, 0xFC00)]
    [InlineData(WeightFormat.Q5_1, 0x7E01)]
    [InlineData(WeightFormat.IQ4_NL, 0x7C01)]
    [InlineData(WeightFormat.MXFP4, 0x55FF)]
    [InlineData(WeightFormat.Q4_K, 0x7C00)]
    [InlineData(WeightFormat.Q4_K, 0xFE01)]
    [InlineData(WeightFormat.Q5_K, 0xFC00)]
    [InlineData(WeightFormat.Q6_K, 0xFC00)]
    [InlineData(WeightFormat.Q6_K, 0x7C01)]
    public void AScaleThatIsNoNumberIsLeftToSingleRows(WeightFormat format, int scale)
    {
        const int Blocks = 3;
        int size = BlockRows.BlockBytes(format), groupBytes = (int)BlockRows.GroupBytes(format, BlockRows.ColumnsOf(format) * Blocks);
        byte* memory = (byte*)NativeMemory.AlignedAlloc((nuint)groupBytes + 64, 64);
        try
        {
            foreach (int at in new[] { 0, 7, (16 * Blocks) - 1 })
            {
                foreach (int place in ScalesOf(format))
                {
                    byte[] rows = Rows(new Random(3), Blocks, format);
                    BitConverter.TryWriteBytes(rows.AsSpan((at * size) + place), (ushort)scale);
                    fixed (byte* from = rows)
                    {
                        Assert.False(BlockGroups.TryPut(format, from, Blocks * size, memory));
                        Assert.False(BlockGroups.TryPut(format, from, Blocks * size, memory + 16));
                    }
                }
            }
        }
        finally
        {
            NativeMemory.AlignedFree(memory);
        }
    }

    // Where a block has numbers of binary16.
    private static int[] ScalesOf(WeightFormat format) => format switch { WeightFormat.Q6_K => [208], WeightFormat.Q4_K or WeightFormat.Q5_K or WeightFormat.Q4_1 or WeightFormat.Q5_1 => [0, 2], _ => [0] };

    // The largest finite scale, of either sign, is one too; of a power of two, any exponent but the last.
    private static byte[] Rows(Random random, int blocks, WeightFormat format)
    {
        int size = BlockRows.BlockBytes(format);
        byte[] rows = new byte[BlockRows.GroupRows * blocks * size];
        random.NextBytes(rows);
        for (int block = 0; block < BlockRows.GroupRows * blocks; block++)
        {
            foreach (int place in ScalesOf(format))
            {
                if (format == WeightFormat.MXFP4)
                {
                    rows[(block * size) + place] = (byte)(block < 3 ? block : block % 5 == 0 ? 254 : random.Next(255));
                    continue;
                }

                BitConverter.TryWriteBytes(rows.AsSpan((block * size) + place), block % 5 == 0 ? (ushort)(block % 2 == 0 ? 0x7BFF : 0xFBFF) : (ushort)random.Next(0x7C00));
            }
        }

        return rows;
    }
}
