using System.Buffers.Binary;
using System.Text;
using ModelGen.Plots;
using ModelGen.TensorBoard;
using ModelGen.Tests.Models;
using ModelGen.Tests.Text;

namespace ModelGen.Tests.TensorBoard;

/// <summary>Event files, read back by a parser of the test's own: records with their checksums, and protocol buffers field by field.</summary>
public sealed class EventFileTests
{
    [Fact]
    public void Scalars_are_read_back()
    {
        using var folder = new TemporaryFolder();
        List<Event> events = Write(folder.Path, writer =>
        {
            writer.AddScalar("loss/train", 1, 2.5);
            writer.AddScalar("loss/train", 1_000_000_007, double.NaN);
            writer.AddScalar("größe", 0, -1e30);
        });
        Assert.Equal("brain.Event:2", events[0].Text(3));
        Assert.Equal(["loss/train", "loss/train", "größe"], events.Skip(1).Select(one => one.Summary.Text(1)));
        Assert.Equal([1, 1_000_000_007, 0], events.Skip(1).Select(one => (long)one.Number(2)));
        Assert.Equal([2.5f, float.NaN, -1e30f], events.Skip(1).Select(one => BitConverter.UInt32BitsToSingle((uint)one.Summary.Number(2))));
        Assert.All(events, one => Assert.Equal(1_700_000_000.25, BitConverter.UInt64BitsToDouble(one.Number(1))));
    }

    [Fact]
    public void Texts_histograms_and_pictures_are_read_back()
    {
        using var folder = new TemporaryFolder();
        byte[] png = Pictures.HeatMap("", [1f, 2f], ["a"], ["b", "c"]).ToPng();
        List<Event> events = Write(folder.Path, writer =>
        {
            writer.AddText("sample", 3, "Once upon a time.");
            writer.AddHistogram("weights", 4, [1f, 2f, 2f, 5f, float.NaN]);
            writer.AddImage("map", 5, png);
        });
        Event text = events[1].Summary;
        Assert.Equal("Once upon a time.", text.Message(8).Text(8));
        Assert.Equal(7ul, text.Message(8).Number(1));
        Assert.Equal("text", text.Message(9).Message(1).Text(1));

        Event histogram = events[2].Summary.Message(5);
        Assert.Equal([1, 5, 4, 10, 34], Enumerable.Range(1, 5).Select(field => BitConverter.UInt64BitsToDouble(histogram.Number(field))));
        double[] limits = histogram.Doubles(6), counts = histogram.Doubles(7);
        Assert.Equal(limits.Length, counts.Length);
        Assert.Equal(limits.Order(), limits);
        Assert.Equal(4, counts.Sum());
        Assert.Equal(5, limits[^1]);
        Assert.Equal(2, counts[Array.FindIndex(limits, limit => limit > 2)]);

        Event image = events[3].Summary.Message(4);
        Assert.Equal(png, image.Bytes(4));
        Assert.Equal(BinaryPrimitives.ReadUInt32BigEndian(png.AsSpan(16)), image.Number(2));
    }

    [Fact]
    public void A_training_loop_is_followed()
    {
        using var folder = new TemporaryFolder();
        int[] tokens = [.. Enumerable.Range(0, 400).Select(i => i * i % 11)];
        LearningGpt model = LearningGpt.Create(1);
        using TokenTrainer trainer = model.CreateTrainer(new AdamW { LearningRate = 1e-2f });
        TokenDataset data = TokenDataset.FromTokens(tokens);
        var loop = new TrainingLoop(
            trainer, new TokenBatchLoader(data, trainer.BatchSize, trainer.SequenceLength), new LossEvaluator(data, trainer.BatchSize, trainer.SequenceLength), new TrainingLoopOptions { Steps = 7, EvaluateEvery = 3 });
        var losses = new List<float>();
        loop.OnStep = step => losses.Add(step.Loss);
        List<Event> events = Write(folder.Path, writer =>
        {
            loop.WriteEvents(writer, every: 2);
            loop.Run(TestContext.Current.CancellationToken);
        });
        ILookup<string, Event> byTag = events.Skip(1).ToLookup(one => one.Summary.Text(1));
        Assert.Equal([2, 4, 6, 7], byTag["loss/train"].Select(one => (int)one.Number(2)));
        Assert.Equal([losses[1], losses[3], losses[5], losses[6]], byTag["loss/train"].Select(one => BitConverter.UInt32BitsToSingle((uint)one.Summary.Number(2))));
        Assert.Equal([3, 6, 7], byTag["loss/validation"].Select(one => (int)one.Number(2)));
        Assert.Equal(["loss/train", "loss/train_smoothed", "loss/validation", "loss/validation_best", "training/gradient_norm", "training/learning_rate", "training/tokens_per_second"], byTag.Select(group => group.Key).Order(StringComparer.Ordinal));
    }

    [Fact]
    public void A_metric_is_followed_with_or_without_a_held_out_part()
    {
        foreach (bool holdsOut in new[] { true, false })
        {
            using var folder = new TemporaryFolder();
            TokenDataset data = TokenDataset.FromTokens(Enumerable.Range(0, 400).Select(i => i * i % 11).ToArray());
            using TokenTrainer trainer = LearningGpt.Create(1).CreateTrainer(new AdamW { LearningRate = 1e-2f });
            double value = 0;
            var loop = new TrainingLoop(
                trainer,
                new TokenBatchLoader(data, trainer.BatchSize, trainer.SequenceLength),
                holdsOut ? new LossEvaluator(data, trainer.BatchSize, trainer.SequenceLength) : null,
                new TrainingLoopOptions { Steps = 4, EvaluateEvery = 2, Metric = new TrainingMetric("accuracy", () => value += 0.25) });
            List<Event> events = Write(folder.Path, writer =>
            {
                loop.WriteEvents(writer);
                loop.Run(TestContext.Current.CancellationToken);
            });
            ILookup<string, Event> byTag = events.Skip(1).ToLookup(one => one.Summary.Text(1));
            Assert.Equal([2, 4], byTag["metric/validation"].Select(one => (int)one.Number(2)));
            Assert.Equal([0.25f, 0.5f], byTag["metric/validation"].Select(one => BitConverter.UInt32BitsToSingle((uint)one.Summary.Number(2))));
            Assert.Equal(holdsOut ? 2 : 0, byTag["loss/validation"].Count());
            Assert.Equal(holdsOut ? 2 : 0, byTag["loss/validation_best"].Count());
        }
    }

    [Fact]
    public void What_cannot_be_shown_is_refused()
    {
        using var folder = new TemporaryFolder();
        using var writer = new EventFileWriter(folder.Path);
        Assert.Throws<ArgumentException>(() => writer.AddScalar("", 1, 1));
        Assert.Throws<ArgumentException>(() => writer.AddHistogram("h", 1, [float.NaN]));
        Assert.Throws<ArgumentException>(() => writer.AddImage("i", 1, new byte[100]));

        // Two files of one run in one second have names of their own.
        using var other = new EventFileWriter(folder.Path);
        Assert.NotEqual(writer.Path, other.Path);
    }

    private static List<Event> Write(string folder, Action<EventFileWriter> write)
    {
        string path;
        using (var writer = new EventFileWriter(folder, new FixedTime()))
        {
            path = writer.Path;
            write(writer);
        }
        Assert.StartsWith("events.out.tfevents.1700000000.", Path.GetFileName(path), StringComparison.Ordinal);
        byte[] file = File.ReadAllBytes(path);
        var events = new List<Event>();
        for (int at = 0; at < file.Length;)
        {
            int length = (int)BinaryPrimitives.ReadUInt64LittleEndian(file.AsSpan(at));
            Assert.Equal(Mask(file.AsSpan(at, 8)), BinaryPrimitives.ReadUInt32LittleEndian(file.AsSpan(at + 8)));
            byte[] record = file[(at + 12)..(at + 12 + length)];
            Assert.Equal(Mask(record), BinaryPrimitives.ReadUInt32LittleEndian(file.AsSpan(at + 12 + length)));
            events.Add(new Event(record));
            at += 16 + length;
        }
        return events;
    }

    /// <summary>CRC-32C, bit by bit, masked.</summary>
    private static uint Mask(ReadOnlySpan<byte> bytes)
    {
        uint crc = uint.MaxValue;
        foreach (byte value in bytes)
        {
            crc ^= value;
            for (int bit = 0; bit < 8; bit++)
                crc = (crc & 1) == 1 ? (crc >> 1) ^ 0x82f63b78 : crc >> 1;
        }
        crc = ~crc;
        return ((crc >> 15) | (crc << 17)) + 0xa282ead8;
    }

    private sealed class FixedTime : TimeProvider
    {
        public override DateTimeOffset GetUtcNow() => DateTimeOffset.FromUnixTimeMilliseconds(1_700_000_000_250);
    }

    /// <summary>A message's fields, read from the wire.</summary>
    private sealed class Event
    {
        private readonly Dictionary<int, ulong> _numbers = [];
        private readonly Dictionary<int, byte[]> _bytes = [];

        public Event(byte[] message)
        {
            int at = 0;
            while (at < message.Length)
            {
                ulong tag = Varint();
                int field = (int)(tag >> 3);
                switch (tag & 7)
                {
                    case 0:
                        _numbers[field] = Varint();
                        break;
                    case 1:
                        _numbers[field] = BinaryPrimitives.ReadUInt64LittleEndian(message.AsSpan(at));
                        at += 8;
                        break;
                    case 5:
                        _numbers[field] = BinaryPrimitives.ReadUInt32LittleEndian(message.AsSpan(at));
                        at += 4;
                        break;
                    case 2:
                        int length = (int)Varint();
                        _bytes[field] = message[at..(at + length)];
                        at += length;
                        break;
                    default:
                        Assert.Fail($"Wire type {tag & 7}.");
                        break;
                }
            }

            ulong Varint()
            {
                ulong value = 0;
                for (int shift = 0; ; shift += 7)
                {
                    byte next = message[at++];
                    value |= (ulong)(next & 127) << shift;
                    if (next < 128)
                        return value;
                }
            }
        }

        /// <summary>The value of a summary of one.</summary>
        public Event Summary => Message(5).Message(1);

        /// <summary>A number; 0, which is not written, where there is none.</summary>
        public ulong Number(int field) => _numbers.GetValueOrDefault(field);

        public byte[] Bytes(int field) => _bytes[field];

        public string Text(int field) => Encoding.UTF8.GetString(_bytes[field]);

        public Event Message(int field) => new(_bytes[field]);

        public double[] Doubles(int field) => [.. _bytes[field].Chunk(8).Select(bytes => BinaryPrimitives.ReadDoubleLittleEndian(bytes))];
    }
}
