using System.Buffers.Binary;
using System.Globalization;
using System.Runtime.InteropServices;
using System.Text;
using System.Text.Json;
using ModelGen;

namespace Zoo;

/// <summary>
/// Writes what a training starts from and sees, so that another library can repeat it (tests/fixtures/train_zoo.py does): a folder with the initial weights
/// (<c>weights.safetensors</c>, whose metadata has the declaration), the optimizer (<c>training.json</c>), the learning rate of each step, every batch in order (<c>batches.NAME.npy</c>,
/// steps × shape) and what is measured afterwards (<c>data.NAME.npy</c>). The arrays are NumPy's format, version 1.0.
/// </summary>
internal sealed class TrainingExport : IDisposable
{
    private const int HeaderBytes = 128;
    private readonly string _folder;
    private readonly List<Growing> _batches = [];
    private int _steps;

    /// <param name="folder">Where the training's folder is made.</param>
    /// <param name="name">Its name.</param>
    /// <param name="save">Writes the weights, before the first step.</param>
    /// <param name="optimizer">The optimizer.</param>
    /// <param name="steps">The number of steps.</param>
    /// <param name="labelSmoothing">ε of the loss, which weight files do not tell.</param>
    public TrainingExport(string folder, string name, Action<string> save, AdamW optimizer, long steps, double labelSmoothing)
    {
        _folder = Path.Combine(folder, name);
        Directory.CreateDirectory(_folder);
        save(Path.Combine(_folder, "weights.safetensors"));
        float[] rates = [.. Enumerable.Range(0, (int)steps).Select(step => (float)(optimizer.LearningRate * (optimizer.Schedule?.Factor(step) ?? 1)))];
        Write("learning_rates.npy", MemoryMarshal.AsBytes<float>(rates), "<f4", rates.Length);
        using FileStream file = File.Create(Path.Combine(_folder, "training.json"));
        using var json = new Utf8JsonWriter(file);
        json.WriteStartObject();
        json.WriteNumber("beta1", optimizer.Beta1);
        json.WriteNumber("beta2", optimizer.Beta2);
        json.WriteNumber("epsilon", optimizer.Epsilon);
        json.WriteNumber("weight_decay", optimizer.WeightDecay);
        json.WriteNumber("gradient_clip", optimizer.GradientClip);
        json.WriteNumber("label_smoothing", labelSmoothing);
        json.WriteEndObject();
    }

    /// <summary>An array that holds a part of the batch after each step.</summary>
    public TrainingExport Batch(string name, int[] values, params int[] shape) => Add(name, () => MemoryMarshal.AsBytes<int>(values), values.Length, "<i4", shape);

    /// <inheritdoc cref="Batch(string, int[], int[])"/>
    public TrainingExport Batch(string name, float[] values, params int[] shape) => Add(name, () => MemoryMarshal.AsBytes<float>(values), values.Length, "<f4", shape);

    /// <summary>An array that is there once.</summary>
    public TrainingExport Data(string name, int[] values, params int[] shape)
    {
        Write($"data.{name}.npy", MemoryMarshal.AsBytes<int>(values), "<i4", shape);
        return this;
    }

    /// <inheritdoc cref="Data(string, int[], int[])"/>
    public TrainingExport Data(string name, float[] values, params int[] shape)
    {
        Write($"data.{name}.npy", MemoryMarshal.AsBytes<float>(values), "<f4", shape);
        return this;
    }

    /// <summary>Writes the batch of a step.</summary>
    public void Append()
    {
        foreach (Growing batch in _batches)
            batch.File.Write(batch.Bytes());
        _steps++;
    }

    /// <summary>Completes the files.</summary>
    public void Dispose()
    {
        foreach (Growing batch in _batches)
        {
            batch.File.Position = 0;
            batch.File.Write(Header(batch.Type, [_steps, .. batch.Shape]));
            batch.File.Dispose();
        }
    }

    private delegate ReadOnlySpan<byte> BytesOf();

    private sealed record Growing(FileStream File, BytesOf Bytes, string Type, int[] Shape);

    private TrainingExport Add(string name, BytesOf bytes, int length, string type, int[] shape)
    {
        if (shape.Aggregate(1, (a, b) => a * b) != length)
            throw new ArgumentException($"{name} has {length} elements, which are not the shape's.", nameof(shape));
        FileStream file = File.Create(Path.Combine(_folder, $"batches.{name}.npy"));
        file.Write(new byte[HeaderBytes]);
        _batches.Add(new Growing(file, bytes, type, shape));
        return this;
    }

    private void Write(string name, ReadOnlySpan<byte> bytes, string type, params int[] shape)
    {
        using FileStream file = File.Create(Path.Combine(_folder, name));
        file.Write(Header(type, shape));
        file.Write(bytes);
    }

    private static byte[] Header(string type, int[] shape)
    {
        string extents = string.Concat(shape.Select(extent => string.Create(CultureInfo.InvariantCulture, $"{extent}, ")));
        string text = $"{{'descr': '{type}', 'fortran_order': False, 'shape': ({extents}), }}".PadRight(HeaderBytes - 11) + "\n";
        byte[] header = new byte[HeaderBytes];
        ReadOnlySpan<byte> magic = [0x93, (byte)'N', (byte)'U', (byte)'M', (byte)'P', (byte)'Y', 1, 0];
        magic.CopyTo(header);
        BinaryPrimitives.WriteUInt16LittleEndian(header.AsSpan(8), HeaderBytes - 10);
        Encoding.ASCII.GetBytes(text).CopyTo(header, 10);
        return header;
    }
}
