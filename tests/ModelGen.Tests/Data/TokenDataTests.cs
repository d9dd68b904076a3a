using ModelGen.Tests.Text;
using Xunit;

namespace ModelGen.Tests.Data;

public class TokenDataTests
{
    [Fact]
    public void EveryStorageReadsTheSameTokens()
    {
        using var folder = new TemporaryFolder();
        int[] tokens = [.. Enumerable.Range(0, 3001).Select(i => i * 7 % 251)];
        byte[] bytes = [.. tokens.Select(t => (byte)t)];
        File.WriteAllBytes(folder.File("8"), bytes);
        File.WriteAllBytes(folder.File("16"), [.. tokens.SelectMany(t => BitConverter.GetBytes((ushort)t))]);
        File.WriteAllBytes(folder.File("32"), [.. tokens.SelectMany(BitConverter.GetBytes)]);
        File.WriteAllBytes(folder.File("skip"), [1, 2, 3, .. bytes]);

        TokenDataset[] sets =
        [
            TokenDataset.FromBytes(bytes),
            TokenDataset.FromTokens(tokens),
            TokenDataset.FromFile(folder.File("8")),
            TokenDataset.FromFile(folder.File("16"), TokenStorage.UInt16),
            TokenDataset.FromFile(folder.File("32"), TokenStorage.Int32),
            TokenDataset.FromFile(folder.File("skip"), TokenStorage.UInt8, offset: 3),
        ];
        foreach (TokenDataset set in sets)
        {
            Assert.Equal(tokens.Length, set.Length);
            foreach ((int start, int length) in new[] { (0, 3001), (0, 0), (3001, 0), (17, 1500), (3000, 1), (5, 1) })
            {
                var read = new int[length];
                set.CopyTo(start, read);
                Assert.Equal(tokens.Skip(start).Take(length), read);
                set.Slice(start, length).CopyTo(0, read);
                Assert.Equal(tokens.Skip(start).Take(length), read);
            }
            Assert.Throws<ArgumentOutOfRangeException>(() => set.CopyTo(3000, new int[2]));
            Assert.Throws<ArgumentOutOfRangeException>(() => set.CopyTo(-1, new int[2]));
            Assert.Throws<ArgumentOutOfRangeException>(() => set.CopyTo(long.MaxValue, new int[2]));
            Assert.Throws<ArgumentOutOfRangeException>(() => set.Slice(3000, 2));
            Assert.Throws<ArgumentOutOfRangeException>(() => set.Slice(10, 5).CopyTo(4, new int[2]));
            set.RequireVocabulary(251);
            Assert.Contains("Token", Assert.Throws<InvalidDataException>(() => set.RequireVocabulary(250)).Message, StringComparison.Ordinal);
            set.Dispose();
        }
        Assert.Throws<ObjectDisposedException>(() => sets[2].CopyTo(0, new int[1]));
    }

    [Fact]
    public void BadFilesAreReported()
    {
        using var folder = new TemporaryFolder();
        File.WriteAllBytes(folder.File("empty"), []);
        File.WriteAllBytes(folder.File("odd"), [1, 2, 3]);
        File.WriteAllBytes(folder.File("negative"), [1, 0, 0, 0, 0xFF, 0xFF, 0xFF, 0xFF]);
        Assert.Throws<FileNotFoundException>(() => TokenDataset.FromFile(folder.File("none")));
        Assert.Throws<InvalidDataException>(() => TokenDataset.FromFile(folder.File("empty")));
        Assert.Throws<InvalidDataException>(() => TokenDataset.FromFile(folder.File("odd"), TokenStorage.UInt16));
        Assert.Throws<InvalidDataException>(() => TokenDataset.FromFile(folder.File("odd"), offset: 3));
        Assert.Throws<ArgumentException>(() => TokenDataset.FromTokens(new[] { 1, -1 }));
        using TokenDataset negative = TokenDataset.FromFile(folder.File("negative"), TokenStorage.Int32);
        Assert.Contains("token 1", Assert.Throws<InvalidDataException>(() => negative.CopyTo(0, new int[2])).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void TheLastPartIsHeldOut()
    {
        TokenDataset whole = TokenDataset.FromBytes(new byte[] { 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10 });
        (TokenDataset training, TokenDataset validation) = whole.Split(0.2);
        Assert.Equal(9, training.Length);
        Assert.Equal(2, validation.Length);
        var read = new int[2];
        validation.CopyTo(0, read);
        Assert.Equal([9, 10], read);
        Assert.Equal(0, whole.Split(0).Validation.Length);
        Assert.Throws<ArgumentOutOfRangeException>(() => whole.Split(1));
        Assert.Throws<ArgumentOutOfRangeException>(() => whole.Split(-0.1));
        Assert.Throws<ArgumentOutOfRangeException>(() => whole.Split(double.NaN));
    }

    [Theory]
    [InlineData(1, 1, 2)]
    [InlineData(3, 4, 5)]
    [InlineData(3, 4, 100)]
    [InlineData(12, 64, 10_007)]
    [InlineData(7, 5, 36)]
    [InlineData(2, 3, 4 * 3 + 1)]
    public void EveryWindowComesOncePerEpoch(int batch, int length, int tokens)
    {
        var loader = new TokenBatchLoader(Counting(tokens), batch, length, BatchOrder.Shuffled, seed: 5);
        var inputs = new int[batch * length];
        var targets = new int[batch * length];
        long windows = (tokens - 1) / length;
        Assert.Equal(windows, loader.CountInEpoch);

        var starts = new List<int>();
        while (starts.Count < 3 * windows + batch)
        {
            Assert.True(loader.NextBatch(inputs, targets));
            for (int row = 0; row < batch; row++)
            {
                int start = inputs[row * length];
                starts.Add(start);
                for (int i = 0; i < length; i++)
                {
                    Assert.Equal(start + i, inputs[row * length + i]);
                    Assert.Equal(start + i + 1, targets[row * length + i]);
                }
            }
        }
        Assert.Equal(Enumerable.Range(0, (int)windows).Select(w => w * length), starts.Take((int)windows).Order());

        // Later epochs start at a random phase; every one of their windows still comes once.
        var second = starts.Skip((int)windows).ToArray();
        int phase = second[0] % length;
        int count = (tokens - 1 - phase) / length;
        Assert.Equal(Enumerable.Range(0, count).Select(w => phase + w * length), second.Take(count).Order());
    }

    [Fact]
    public void EpochsAndSeedsShuffleDifferently()
    {
        const int windows = 500;
        int[] First(ulong seed, long epoch)
        {
            var loader = new TokenBatchLoader(Counting(2 * windows + 1), 100, 2, BatchOrder.Shuffled, seed) { State = new LoaderState(epoch, 0) };
            var inputs = new int[200];
            loader.NextBatch(inputs, new int[200]);
            return inputs;
        }

        Assert.Equal(First(1, 0), First(1, 0));
        Assert.NotEqual(First(1, 0), First(2, 0));
        Assert.NotEqual(First(1, 0), First(1, 1));
        Assert.NotEqual(First(1, 1), First(1, 2));
    }

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    [InlineData(16)]
    [InlineData(17)]
    [InlineData(1000)]
    [InlineData(65537)]
    public void ThePermutationIsABijection(int count)
    {
        for (ulong tweak = 0; tweak < 3; tweak++)
        {
            var seen = new bool[count];
            for (int i = 0; i < count; i++)
            {
                long image = Permutation.Apply(i, count, 99, tweak);
                if (image < 0 || image >= count || seen[image])
                    Assert.Fail($"{i} goes to {image}, which is out of range or taken");
                seen[image] = true;
            }
        }
    }

    [Fact]
    public void ThePermutationHandlesHugeCounts()
    {
        long count = long.MaxValue - 12345;
        var seen = new HashSet<long>();
        for (long i = 0; i < 1000; i++)
        {
            long image = Permutation.Apply(i, count, 1, 0);
            Assert.InRange(image, 0, count - 1);
            Assert.True(seen.Add(image));
        }
    }

    [Fact]
    public void ThePermutationPutsEveryIndexAnywhere()
    {
        const int count = 12, keys = 24_000;
        var table = new int[count, count];
        for (ulong key = 0; key < keys; key++)
        {
            for (int i = 0; i < count; i++)
                table[i, Permutation.Apply(i, count, 7, key)]++;
        }
        double expected = keys / (double)count, chiSquare = 0;
        foreach (int cell in table)
            chiSquare += (cell - expected) * (cell - expected) / expected;
        double freedom = (count - 1) * (count - 1);
        Assert.True(chiSquare < freedom + 6 * Math.Sqrt(2 * freedom), $"chi-square {chiSquare} for {freedom} degrees of freedom");
    }

    [Theory]
    [InlineData(BatchOrder.Shuffled)]
    [InlineData(BatchOrder.Sequential)]
    public void AStateContinuesExactly(BatchOrder order)
    {
        TokenDataset data = Counting(1003);
        var uninterrupted = new TokenBatchLoader(data, 4, 6, order, seed: 3);
        var states = new List<LoaderState>();
        var batches = new List<(bool Anew, int[] Inputs, int[] Targets)>();
        for (int i = 0; i < 150; i++)
        {
            states.Add(uninterrupted.State);
            var inputs = new int[24];
            var targets = new int[24];
            batches.Add((uninterrupted.NextBatch(inputs, targets), inputs, targets));
        }
        Assert.True(uninterrupted.State.Epoch >= 3);
        for (int i = 0; i < 150; i += 7)
        {
            var resumed = new TokenBatchLoader(data, 4, 6, order, seed: 3) { State = states[i] };
            var inputs = new int[24];
            var targets = new int[24];
            Assert.Equal(batches[i].Anew, resumed.NextBatch(inputs, targets));
            Assert.Equal(batches[i].Inputs, inputs);
            Assert.Equal(batches[i].Targets, targets);
        }
        Assert.Throws<ArgumentOutOfRangeException>(() => uninterrupted.State = new LoaderState(-1, 0));
        Assert.Throws<ArgumentOutOfRangeException>(() => uninterrupted.State = new LoaderState(0, -1));
        Assert.Throws<ArgumentOutOfRangeException>(() => uninterrupted.State = new LoaderState(0, uninterrupted.CountInEpoch + 5));
    }

    [Theory]
    [InlineData(1, 1, 2)]
    [InlineData(3, 4, 13)]
    [InlineData(3, 4, 101)]
    [InlineData(5, 7, 400)]
    public void SequentialRowsContinueEachOther(int batch, int length, int tokens)
    {
        var loader = new TokenBatchLoader(Counting(tokens), batch, length, BatchOrder.Sequential, seed: 8);
        var inputs = new int[batch * length];
        var targets = new int[batch * length];
        var next = new int[batch];
        int resets = 0;
        long sinceReset = 0, expectedInEpoch = loader.CountInEpoch;
        Assert.Equal((tokens - 1) / batch / length, expectedInEpoch);
        for (int step = 0; step < 4 * expectedInEpoch + 2; step++)
        {
            bool anew = loader.NextBatch(inputs, targets);
            if (anew)
            {
                if (resets++ > 0)
                    Assert.Equal(expectedInEpoch, sinceReset);
                expectedInEpoch = loader.CountInEpoch;
                sinceReset = 0;
            }
            sinceReset++;
            for (int row = 0; row < batch; row++)
            {
                if (!anew)
                    Assert.Equal(next[row], inputs[row * length]);
                for (int i = 0; i < length; i++)
                {
                    Assert.Equal(inputs[row * length] + i, inputs[row * length + i]);
                    Assert.Equal(inputs[row * length] + i + 1, targets[row * length + i]);
                }
                next[row] = targets[(row + 1) * length - 1];
                if (row > 0 && anew)
                    Assert.True(inputs[row * length] >= inputs[(row - 1) * length] + loader.CountInEpoch * length, "streams overlap");
            }
        }
        Assert.True(resets >= 3);
    }

    [Fact]
    public void TooLittleDataAndWrongSizesAreReported()
    {
        Assert.Contains(
            "at least 65 tokens", Assert.Throws<ArgumentException>(() => new TokenBatchLoader(Counting(64), 12, 64)).Message, StringComparison.Ordinal);
        Assert.Throws<ArgumentException>(() => new TokenBatchLoader(Counting(24), 4, 6, BatchOrder.Sequential));
        Assert.NotNull(new TokenBatchLoader(Counting(25), 4, 6, BatchOrder.Sequential));
        Assert.Throws<ArgumentOutOfRangeException>(() => new TokenBatchLoader(Counting(24), 0, 6));
        Assert.Throws<ArgumentOutOfRangeException>(() => new TokenBatchLoader(Counting(24), 2, -1));
        Assert.Throws<ArgumentOutOfRangeException>(() => new TokenBatchLoader(Counting(24), 2, 1, (BatchOrder)7));
        Assert.Throws<ArgumentOutOfRangeException>(() => new TokenBatchLoader(Counting(24), 1 << 20, 1 << 20));
        var loader = new TokenBatchLoader(Counting(100), 4, 6);
        Assert.Throws<ArgumentException>(() => loader.NextBatch(new int[23], new int[24]));
        Assert.Throws<ArgumentException>(() => loader.NextBatch(new int[24], new int[25]));
        Assert.Equal(new LoaderState(0, 0), loader.State);
    }

    [Fact]
    public void LoadingAllocatesNothing()
    {
        using var folder = new TemporaryFolder();
        File.WriteAllBytes(folder.File("data"), new byte[2000]);
        using TokenDataset file = TokenDataset.FromFile(folder.File("data"));
        foreach (BatchOrder order in new[] { BatchOrder.Shuffled, BatchOrder.Sequential })
        {
            var loader = new TokenBatchLoader(file.Split(0.1).Training, 4, 6, order);
            var inputs = new int[24];
            var targets = new int[24];
            long before = 0;
            for (int i = 0; i < 800; i++)
            {
                if (i == 400)
                    before = GC.GetAllocatedBytesForCurrentThread();
                loader.NextBatch(inputs, targets);
            }
            Assert.Equal(0, GC.GetAllocatedBytesForCurrentThread() - before);
        }
    }

    private static TokenDataset Counting(int length) => TokenDataset.FromTokens(Enumerable.Range(0, length).ToArray());
}
