using ModelGen.Tests.Infrastructure;
using ModelGen.Tests.Runtime;
using ModelGen.Tests.Text;

namespace ModelGen.Tests.Data;

[Collection(SerialCollection.Name)]
public sealed class SequenceDataTests
{
    [Fact]
    public void Sequences_come_back_from_memory_and_from_a_file()
    {
        using var folder = new TemporaryFolder();
        string path = folder.File("sequences.tokens");
        for (int seed = 0; seed < 20; seed++)
        {
            RandomCase.Run(seed, random =>
            {
                int[][] sequences = Sequences(random, 1 + random.Next(50));
                using (var writer = new SequenceFileWriter(path))
                {
                    foreach (int[] sequence in sequences)
                    {
                        writer.Add(sequence);
                    }
                }

                using SequenceDataset mapped = SequenceDataset.FromFile(path);
                foreach (SequenceDataset data in new[] { SequenceDataset.FromSequences(sequences), mapped })
                {
                    Assert.Equal(sequences.Length, data.Count);
                    Assert.Equal(sequences.Max(s => s.Length), data.MaximumLength);
                    Assert.Equal(sequences.Sum(s => s.Length), data.Tokens.Length);
                    for (int i = 0; i < sequences.Length; i++)
                    {
                        Assert.Equal(sequences[i], data.ToArray(i));
                    }
                }
            });
        }
    }

    [Fact]
    public void Damaged_files_are_refused()
    {
        using var folder = new TemporaryFolder();
        string path = folder.File("sequences.tokens"), ends = path + SequenceFileWriter.EndsSuffix;
        using (var writer = new SequenceFileWriter(path))
        {
            Assert.Throws<ArgumentException>(() => writer.Add([]));
            Assert.Throws<ArgumentException>(() => writer.Add([1, -1]));
            writer.Add([1, 2, 3]);
            writer.Add([4]);
        }

        byte[] right = File.ReadAllBytes(ends);
        foreach (long[] wrong in new long[][] { [3], [3, 5], [4, 3], [3, 3], [-1, 4], [0, 4], [1, 2, 3, 3, 4], [3, long.MaxValue] })
        {
            File.WriteAllBytes(ends, [.. wrong.SelectMany(BitConverter.GetBytes)]);
            Assert.Throws<ModelFileException>(() => SequenceDataset.FromFile(path));
        }

        File.WriteAllBytes(ends, right[1..]);
        Assert.Throws<ModelFileException>(() => SequenceDataset.FromFile(path));
        File.WriteAllBytes(ends, right);
        SequenceDataset.FromFile(path).Dispose();
        File.Delete(ends);
        Assert.Throws<FileNotFoundException>(() => SequenceDataset.FromFile(path));
        Assert.Throws<ArgumentException>(() => SequenceDataset.FromSequences([]));
        Assert.Throws<ArgumentException>(() => SequenceDataset.FromSequences([[1], []]));
    }

    [Fact]
    public void A_split_takes_every_sequence_once_and_pairs_alike()
    {
        for (int seed = 0; seed < 30; seed++)
        {
            RandomCase.Run(seed, random =>
            {
                int count = 1 + random.Next(200);
                SequenceDataset sources = SequenceDataset.FromSequences(Enumerable.Range(0, count).Select(i => new[] { i }));
                SequenceDataset targets = SequenceDataset.FromSequences(Enumerable.Range(0, count).Select(i => Enumerable.Repeat(i, 1 + (i % 3)).ToArray()));
                double fraction = random.NextDouble() * 0.99;
                (SequenceDataset training, SequenceDataset validation) = sources.Split(fraction, seed: 7);
                (SequenceDataset trainingTargets, SequenceDataset validationTargets) = targets.Split(fraction, seed: 7);
                Assert.Equal((int)(count * fraction), validation.Count);
                Assert.Equal(Enumerable.Range(0, count), All(training).Concat(All(validation)).Order());
                Assert.Equal(All(training), All(trainingTargets));
                Assert.Equal(All(validation), All(validationTargets));
                Assert.Throws<InvalidOperationException>(() => training.Split(0.5));
            });
        }

        // It is a random part, not the last one.
        SequenceDataset hundred = SequenceDataset.FromSequences(Enumerable.Range(0, 100).Select(i => new[] { i }));
        Assert.InRange(All(hundred.Split(0.5).Validation).Count(i => i < 50), 10, 40);
        Assert.NotEqual(All(hundred.Split(0.5).Validation), All(hundred.Split(0.5, seed: 1).Validation));

        static int[] All(SequenceDataset data) => [.. Enumerable.Range(0, data.Count).Select(i => data.ToArray(i)[0])];
    }

    [Fact]
    public void Batches_are_padded_and_shifted()
    {
        SequenceDataset data = SequenceDataset.FromSequences([[1, 5, 6, 2], [1, 2], [1, 7, 2]]);
        int[] tokens = new int[8], lengths = new int[2], targets = new int[6];
        data.CopyPadded([2, 0], padding: 9, tokens, lengths);
        Assert.Equal([1, 7, 2, 9, 1, 5, 6, 2], tokens);
        Assert.Equal([3, 4], lengths);
        data.CopyShifted([1, 0], padding: 0, tokens.AsSpan(0, 6), targets);
        Assert.Equal([1, 0, 0, 1, 5, 6], tokens[..6]);
        Assert.Equal([2, -1, -1, 5, 6, 2], targets);
        Assert.Throws<ArgumentException>(() => data.CopyPadded([0], 0, new int[3], []));
        Assert.Throws<ArgumentException>(() => data.CopyPadded([0, 1], 0, new int[7], []));
        Assert.Throws<ArgumentException>(() => data.CopyPadded([0, 1], 0, new int[8], new int[1]));
        Assert.Throws<ArgumentException>(() => data.CopyShifted([0], 0, new int[2], new int[2]));
        Assert.Throws<ArgumentOutOfRangeException>(() => data.CopyPadded([3], 0, new int[4], []));
    }

    [Fact]
    public void An_epoch_takes_each_sequence_at_most_once_and_may_be_resumed_anywhere()
    {
        for (int seed = 0; seed < 60; seed++)
        {
            RandomCase.Run(seed, random =>
            {
                int batch = 1 + random.Next(5), count = batch + random.Next(60), bucket = 1 + random.Next(6);
                bool shuffled = random.Next(4) > 0;
                SequenceDataset data = SequenceDataset.FromSequences(Sequences(random, count));
                var loader = new SequenceBatchLoader(data, batch, bucket, seed: 5, shuffled);
                List<(LoaderState State, int[] Rows)> batches = [];
                for (int i = 0; i < 3 * loader.BatchesInEpoch; i++)
                {
                    int[] rows = new int[batch];
                    LoaderState state = loader.State;
                    Assert.Equal(rows.Length == 0 ? 0 : loader.Next(rows), rows.Max(data.Length));
                    batches.Add((state, rows));
                }

                for (int epoch = 0; epoch < 3; epoch++)
                {
                    int[] seen = [.. batches.Skip(epoch * loader.BatchesInEpoch).Take(loader.BatchesInEpoch).SelectMany(b => b.Rows)];
                    Assert.Equal(count / batch * batch, seen.Distinct().Count());
                    if (!shuffled && bucket == 1)
                    {
                        Assert.Equal(Enumerable.Range(0, seen.Length), seen);
                    }
                }

                var resumed = new SequenceBatchLoader(data, batch, bucket, seed: 5, shuffled);
                foreach ((LoaderState state, int[] expected) in batches.OrderBy(_ => random.Next()))
                {
                    int[] rows = new int[batch];
                    resumed.State = state;
                    resumed.Next(rows);
                    Assert.Equal(expected, rows);
                }
            });
        }
    }

    [Fact]
    public void Buckets_waste_less_padding()
    {
        var random = new Random(1);
        SequenceDataset data = SequenceDataset.FromSequences(Sequences(random, 1000));
        double plain = Padding(new SequenceBatchLoader(data, 10)), bucketed = Padding(new SequenceBatchLoader(data, 10, bucketBatches: 20));
        Assert.True(bucketed < plain / 4, $"{bucketed} of {plain}");

        double Padding(SequenceBatchLoader loader)
        {
            int[] rows = new int[10];
            int padding = 0;
            for (int i = 0; i < loader.BatchesInEpoch; i++)
            {
                int longest = loader.Next(rows);
                padding += rows.Sum(row => longest - data.Length(row));
            }

            return padding;
        }
    }

    [Fact]
    public void Loading_allocates_nothing()
    {
        SequenceDataset data = SequenceDataset.FromSequences(Sequences(new Random(2), 100)).Split(0.2).Training;
        var loader = new SequenceBatchLoader(data, 4, bucketBatches: 5);
        int[] rows = new int[4], tokens = new int[4 * data.MaximumLength], lengths = new int[4], targets = new int[4 * data.MaximumLength];
        Assert.Equal(0, Allocated.Least(() =>
        {
            for (int i = 0; i < 30; i++)
            {
                loader.Next(rows);
                data.CopyPadded(rows, 0, tokens, lengths);
                data.CopyShifted(rows, 0, tokens, targets);
            }
        }));
        Assert.Throws<ArgumentException>(() => loader.Next(new int[3]));
        Assert.Throws<ArgumentOutOfRangeException>(() => loader.State = new LoaderState(0, 21));
        Assert.Throws<ArgumentException>(() => new SequenceBatchLoader(data, 81));
    }

    private static int[][] Sequences(Random random, int count) => [.. Enumerable.Range(0, count).Select(_ => Enumerable.Range(0, 1 + random.Next(20)).Select(_ => random.Next(100)).ToArray())];
}
