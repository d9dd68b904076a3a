using System.Globalization;
using Google.Protobuf;

namespace ModelGen.TensorBoard;

/// <summary>
/// Writes an event file, which TensorBoard shows: <c>tensorboard --logdir FOLDER</c>. A run is a folder; scalars, texts, histograms and pictures are told apart by their tags, whose part before the first slash
/// groups them. For one thread at a time.
/// </summary>
/// <remarks>Events are messages of TensorFlow's <c>event.proto</c> and <c>summary.proto</c>, written field by field.</remarks>
public sealed class EventFileWriter : IDisposable
{
    private const int StringType = 7;
    private static int s_files;

    private readonly FileStream _file;
    private readonly RecordWriter _records;
    private readonly TimeProvider _time;

    /// <summary>Creates an event file, and its folder if there is none.</summary>
    /// <param name="folder">The run's folder.</param>
    /// <param name="time">The clock that events are dated by; null for the system's.</param>
    /// <exception cref="IOException">The file cannot be created.</exception>
    /// <exception cref="UnauthorizedAccessException">It may not be.</exception>
    public EventFileWriter(string folder, TimeProvider? time = null)
    {
        ArgumentException.ThrowIfNullOrEmpty(folder);
        _time = time ?? TimeProvider.System;
        Directory.CreateDirectory(folder);

        // The name that TensorBoard looks for; what follows tells files of one run apart.
        string name = string.Create(
            CultureInfo.InvariantCulture,
            $"events.out.tfevents.{_time.GetUtcNow().ToUnixTimeSeconds():D10}.{Environment.MachineName}.{Environment.ProcessId}.{Interlocked.Increment(ref s_files) - 1}");
        Path = System.IO.Path.Combine(folder, name);
        _file = new FileStream(Path, FileMode.CreateNew, FileAccess.Write, FileShare.Read);
        _records = new RecordWriter(_file);
        Event(0, static (output, _) =>
        {
            output.WriteTag(3, WireFormat.WireType.LengthDelimited);
            output.WriteString("brain.Event:2");
        }, 0);
        Flush();
    }

    /// <summary>The file.</summary>
    public string Path { get; }

    /// <summary>Adds a number, which becomes a point of its tag's curve.</summary>
    /// <param name="tag">What it is: "loss/train".</param>
    /// <param name="step">The training step.</param>
    /// <param name="value">The number; it is kept in single precision.</param>
    /// <exception cref="ArgumentException">The tag is empty.</exception>
    /// <exception cref="IOException">The file cannot be written.</exception>
    public void AddScalar(string tag, long step, double value) => Value(tag, step, static (output, value) =>
    {
        output.WriteTag(2, WireFormat.WireType.Fixed32);
        output.WriteFloat((float)value);
    }, value);

    /// <summary>Adds a text, which is shown as Markdown.</summary>
    /// <param name="tag">What it is: "sample".</param>
    /// <param name="step">The training step.</param>
    /// <param name="text">The text.</param>
    /// <exception cref="ArgumentException">The tag is empty.</exception>
    /// <exception cref="IOException">The file cannot be written.</exception>
    public void AddText(string tag, long step, string text)
    {
        ArgumentNullException.ThrowIfNull(text);
        Value(tag, step, static (output, text) =>
        {
            // A tensor of one string, and the plug-in that shows it.
            Message(output, 8, static (tensor, text) =>
            {
                tensor.WriteTag(1, WireFormat.WireType.Varint);
                tensor.WriteInt32(StringType);
                Message(tensor, 2, static (shape, _) => Message(shape, 2, static (dimension, _) =>
                {
                    dimension.WriteTag(1, WireFormat.WireType.Varint);
                    dimension.WriteInt64(1);
                }, 0), 0);
                tensor.WriteTag(8, WireFormat.WireType.LengthDelimited);
                tensor.WriteString(text);
            }, text);
            Message(output, 9, static (metadata, _) => Message(metadata, 1, static (plugin, _) =>
            {
                plugin.WriteTag(1, WireFormat.WireType.LengthDelimited);
                plugin.WriteString("text");
            }, 0), 0);
        }, text);
    }

    /// <summary>Adds the distribution of numbers, such as a layer's weights or gradients, in thirty buckets of equal width.</summary>
    /// <param name="tag">What they are.</param>
    /// <param name="step">The training step.</param>
    /// <param name="values">The numbers; those that are not finite are left out.</param>
    /// <exception cref="ArgumentException">The tag is empty, or no number is finite.</exception>
    /// <exception cref="IOException">The file cannot be written.</exception>
    public void AddHistogram(string tag, long step, ReadOnlySpan<float> values) => Value(tag, step, static (output, histogram) => Message(output, 5, static (message, histogram) =>
    {
        ReadOnlySpan<double> summary = [histogram.Least, histogram.Greatest, histogram.Count, histogram.Sum, histogram.SumOfSquares];
        for (int i = 0; i < summary.Length; i++)
        {
            message.WriteTag(i + 1, WireFormat.WireType.Fixed64);
            message.WriteDouble(summary[i]);
        }
        Packed(message, 6, histogram.Limits);
        Packed(message, 7, histogram.Counts);
    }, histogram), Histogram.Of(values));

    /// <summary>Adds a picture.</summary>
    /// <param name="tag">What it is.</param>
    /// <param name="step">The training step.</param>
    /// <param name="png">The bytes of a PNG file.</param>
    /// <exception cref="ArgumentException">The tag is empty, or the bytes are no PNG file.</exception>
    /// <exception cref="IOException">The file cannot be written.</exception>
    public void AddImage(string tag, long step, byte[] png)
    {
        ArgumentNullException.ThrowIfNull(png);
        ReadOnlySpan<byte> signature = [0x89, (byte)'P', (byte)'N', (byte)'G', 13, 10, 26, 10];
        if (png.Length < 24 || !png.AsSpan().StartsWith(signature))
            throw new ArgumentException("Expected the bytes of a PNG file.", nameof(png));
        Value(tag, step, static (output, png) => Message(output, 4, static (image, png) =>
        {
            // The width and height of the file's header, and its colours: red, green, blue and opacity.
            int width = System.Buffers.Binary.BinaryPrimitives.ReadInt32BigEndian(png.AsSpan(16)), height = System.Buffers.Binary.BinaryPrimitives.ReadInt32BigEndian(png.AsSpan(20));
            ReadOnlySpan<int> numbers = [height, width, 4];
            for (int i = 0; i < numbers.Length; i++)
            {
                image.WriteTag(i + 1, WireFormat.WireType.Varint);
                image.WriteInt32(numbers[i]);
            }
            image.WriteTag(4, WireFormat.WireType.LengthDelimited);
            image.WriteBytes(UnsafeByteOperations.UnsafeWrap(png));
        }, png), png);
    }

    /// <summary>Writes what is held back to the file.</summary>
    /// <exception cref="IOException">The file cannot be written.</exception>
    public void Flush() => _file.Flush();

    /// <summary>Writes what is held back and closes the file.</summary>
    public void Dispose() => _file.Dispose();

    private void Value<T>(string tag, long step, Action<CodedOutputStream, T> write, T argument)
    {
        ArgumentException.ThrowIfNullOrEmpty(tag);
        Event(step, static (output, state) => Message(output, 5, static (summary, state) => Message(summary, 1, static (value, state) =>
        {
            value.WriteTag(1, WireFormat.WireType.LengthDelimited);
            value.WriteString(state.tag);
            state.write(value, state.argument);
        }, state), state), (tag, write, argument));
    }

    private void Event<T>(long step, Action<CodedOutputStream, T> write, T argument)
    {
        using var buffer = new MemoryStream();
        using (var output = new CodedOutputStream(buffer, leaveOpen: true))
        {
            output.WriteTag(1, WireFormat.WireType.Fixed64);
            output.WriteDouble((_time.GetUtcNow() - DateTimeOffset.UnixEpoch).TotalSeconds);
            if (step != 0)
            {
                output.WriteTag(2, WireFormat.WireType.Varint);
                output.WriteInt64(step);
            }
            write(output, argument);
        }
        _records.Write(buffer.GetBuffer().AsSpan(0, (int)buffer.Length));
    }

    /// <summary>A message inside of another: its length comes first, so it is written apart.</summary>
    private static void Message<T>(CodedOutputStream output, int field, Action<CodedOutputStream, T> write, T argument)
    {
        using var buffer = new MemoryStream();
        using (var inner = new CodedOutputStream(buffer, leaveOpen: true))
            write(inner, argument);
        output.WriteTag(field, WireFormat.WireType.LengthDelimited);
        output.WriteBytes(ByteString.CopyFrom(buffer.GetBuffer(), 0, (int)buffer.Length));
    }

    private static void Packed(CodedOutputStream output, int field, double[] values)
    {
        output.WriteTag(field, WireFormat.WireType.LengthDelimited);
        output.WriteLength(values.Length * sizeof(double));
        foreach (double value in values)
            output.WriteDouble(value);
    }
}
