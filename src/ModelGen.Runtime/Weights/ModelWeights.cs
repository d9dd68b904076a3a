using System.ComponentModel;

namespace ModelGen.Runtime;

/// <summary>The weights of one model: a single block, aligned to 64 bytes, in which every parameter has a fixed place.</summary>
[EditorBrowsable(EditorBrowsableState.Never)]
public sealed unsafe partial class ModelWeights : IDisposable
{
    // Work for one thread while creating weights: a multiple of the four numbers that one counter yields.
    private const int CreationChunk = 1 << 16;

    private readonly PinnedBlock _block;
    private volatile bool _disposed;

    // In the upper half how many changes have begun, in the lower how many are under way.
    private long _changes;

    private ModelWeights(ParameterTable table)
    {
        Table = table;
        _block = new PinnedBlock(table.TotalLength);
        foreach (ParameterInfo numbers in table.Tables)
        {
            Span<float> rows = _block.Span(numbers.Offset, checked((int)numbers.Length));
            switch (numbers.Kind)
            {
                case ParameterInitializerKind.Sinusoids or ParameterInitializerKind.SinusoidHalves:
                    Sinusoids.Fill(rows, numbers.Shape[^1], (int)numbers.Scale, numbers.Kind == ParameterInitializerKind.SinusoidHalves);
                    break;
                case ParameterInitializerKind.Rotary:
                    Sinusoids.FillRotary(rows, numbers.Frequencies.AsSpan(), numbers.Scale);
                    break;
                default:
                    throw new InvalidOperationException($"The table '{numbers.Name}' has no known initializer: {numbers.Kind}.");
            }
        }
    }

    /// <summary>The parameters.</summary>
    public ParameterTable Table { get; }

    /// <summary>The block's length in floats, the zero gaps that align each parameter included.</summary>
    public long Length => Table.TotalLength;

    /// <summary>The block. Whoever holds the pointer must keep this object alive.</summary>
    /// <exception cref="ObjectDisposedException">The weights were disposed.</exception>
    public float* Pointer
    {
        get
        {
            ObjectDisposedException.ThrowIf(_disposed, this);
            Fetch();
            return _block.Floats;
        }
    }

    /// <summary>Creates random weights. Each parameter draws from a stream of its own, so that it does not depend on the others.</summary>
    /// <param name="table">The parameters.</param>
    /// <param name="seed">The same seed gives the same weights, on every machine.</param>
    public static ModelWeights Create(ParameterTable table, int seed)
    {
        ArgumentNullException.ThrowIfNull(table);
        var weights = new ModelWeights(table);
        for (int index = 0; index < table.Parameters.Count; index++)
        {
            weights.Initialize(index, unchecked((uint)seed));
        }

        return weights;
    }

    /// <summary>
    /// A parameter's elements, row-major. The span keeps them in memory, whatever becomes of the model. A device sees what is written to them
    /// before its next call, but not what is written later without asking for them again.
    /// </summary>
    /// <param name="name">The parameter's name.</param>
    /// <exception cref="ArgumentException">The model has no such parameter.</exception>
    /// <exception cref="InvalidOperationException">The parameter has more elements than a span can hold.</exception>
    /// <exception cref="ObjectDisposedException">The weights were disposed.</exception>
    public Span<float> Parameter(string name)
    {
        ObjectDisposedException.ThrowIf(_disposed, this);
        Span<float> span = Table.Span(_block, name);
        Fetch();
        ChangedHere();
        return span;
    }

    /// <summary>
    /// Ends the use of the weights: the next calls on sessions and trainers of the model throw. What runs ends undisturbed, and spans
    /// stay valid: the memory is freed once nothing refers to it any more.
    /// </summary>
    public void Dispose() => _disposed = true;

    /// <summary>
    /// Says that weights change until <see cref="EndChange()"/>. It shuts nobody out: who reads a long time meanwhile, to
    /// write a file, finds out afterwards (<see cref="ThrowIfChanged"/>). A model's session, which reads at every call, does not ask.
    /// </summary>
    internal void BeginChange() => Interlocked.Add(ref _changes, (1L << 32) + 1);

    /// <summary>The end of a change of this block.</summary>
    internal void EndChange()
    {
        ChangedHere();
        Interlocked.Decrement(ref _changes);
    }

    /// <summary>The block, to write over all of it between <see cref="BeginChange"/> and <see cref="EndOverwriting"/>: what it holds need not be the newest.</summary>
    /// <exception cref="ObjectDisposedException">The weights were disposed.</exception>
    internal float* Overwritten
    {
        get
        {
            ObjectDisposedException.ThrowIf(_disposed, this);
            return _block.Floats;
        }
    }

    /// <summary>The end of a change in which all of this block was written over.</summary>
    internal void EndOverwriting()
    {
        OverwrittenHere();
        Interlocked.Decrement(ref _changes);
    }

    /// <summary>The end of a change that came to nothing.</summary>
    internal void EndWithoutChange() => Interlocked.Decrement(ref _changes);

    /// <summary>The end of a change of a device's copy.</summary>
    /// <param name="copy">The copy.</param>
    internal void EndChange(DeviceCopy copy)
    {
        ChangedOn(copy);
        Interlocked.Decrement(ref _changes);
    }

    /// <summary>What the weights are now, for <see cref="ThrowIfChanged"/>.</summary>
    /// <exception cref="InvalidOperationException">They are changing.</exception>
    internal long Version()
    {
        long version = Volatile.Read(ref _changes);
        return (int)version != 0 ? throw Changing() : version;
    }

    /// <summary>Throws if weights may have changed since a version.</summary>
    /// <exception cref="InvalidOperationException">They have changed, or are changing.</exception>
    internal void ThrowIfChanged(long version)
    {
        // What was read of the weights was read before.
        Interlocked.MemoryBarrier();
        if (Volatile.Read(ref _changes) != version)
        {
            throw Changing();
        }
    }

    private InvalidOperationException Changing()
        => new($"A trainer changes the weights of {Table.ModelName} while they are being saved: the file would hold some of before its step and some of after it.");

    private void Initialize(int index, uint seed)
    {
        ParameterInfo parameter = Table.Parameters[index];
        float* target = Pointer + parameter.Offset;
        long length = parameter.Length;
        if (parameter.Format != WeightFormat.F32)
        {
            byte* matrix = (byte*)target;
            PackedFiles.Fill(parameter, matrix, (row, values) =>
            {
                fixed (float* to = values)
                {
                    switch (parameter.Kind)
                    {
                        case ParameterInitializerKind.Zeros or ParameterInitializerKind.Ones:
                            values.Fill(parameter.Kind == ParameterInitializerKind.Ones ? 1 : 0);
                            break;
                        default:
                            long start = row * values.Length;
                            new RandomFill(to - start, length, (uint)index, seed, parameter.Scale, parameter.Kind == ParameterInitializerKind.Normal).Range(start, start + values.Length);
                            break;
                    }
                }
            });
            GC.KeepAlive(this);
            return;
        }

        switch (parameter.Kind)
        {
            case ParameterInitializerKind.Zeros:
                break;

            case ParameterInitializerKind.Ones:
                for (long i = 0; i < length; i++)
                {
                    target[i] = 1;
                }

                break;

            case ParameterInitializerKind.Normal:
            case ParameterInitializerKind.Uniform:
                var fill = new RandomFill(target, length, (uint)index, seed, parameter.Scale, parameter.Kind == ParameterInitializerKind.Normal);
                long chunks = (length + CreationChunk - 1) / CreationChunk;
                if (chunks > 1)
                {
                    Crew.For(checked((int)chunks), fill.Chunk);
                }
                else
                {
                    fill.Chunk(0);
                }

                break;

            default:
                throw new InvalidOperationException($"The parameter '{parameter.Name}' has no known initializer: {parameter.Kind}.");
        }

        GC.KeepAlive(this);
    }

    private sealed class RandomFill(float* target, long length, uint stream, uint key, float scale, bool normal)
    {
        public void Chunk(int chunk) => Range((long)chunk * CreationChunk, Math.Min(length, ((long)chunk + 1) * CreationChunk));

        public void Range(long start, long end)
        {
            Span<uint> words = stackalloc uint[4];
            for (long i = start - (start % words.Length); i < end; i += words.Length)
            {
                // The counter is the position; the stream is the parameter.
                words[0] = (uint)(i / words.Length);
                words[1] = (uint)((i / words.Length) >> 32);
                words[2] = stream;
                words[3] = 0;
                CounterRandom.Block(words, key, 0);
                for (int word = (int)Math.Max(0, start - i); word < Math.Min(words.Length, end - i); word++)
                {
                    target[i + word] = Value(words[word]);
                }
            }
        }

        private float Value(uint bits)
        {
            double unit = WeightRandom.OpenUnit(bits);
            return (float)(scale * (normal ? WeightRandom.NormalQuantile(unit) : (2 * unit) - 1));
        }
    }
}
