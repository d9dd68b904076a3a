using System.ComponentModel;

namespace ModelGen.Runtime;

/// <summary>A number that a caller of an entry point chooses: the examples, sequences or steps of a run.</summary>
/// <param name="Name">The name, for messages.</param>
/// <param name="Maximum">The most that a run takes.</param>
[EditorBrowsable(EditorBrowsableState.Never)]
public sealed record EntryExtent(string Name, int Maximum);

/// <summary>What a caller passes to an entry point, and where its plan takes it. Elements are 32 bits wide, integers or floats.</summary>
/// <param name="Name">The name, for messages.</param>
/// <param name="Offset">Where the plan takes it, in elements from the start of the arena.</param>
/// <param name="Length">The number of elements where each of its extents is one: of a whole run where none varies.</param>
[EditorBrowsable(EditorBrowsableState.Never)]
public sealed record EntryInput(string Name, long Offset, int Length)
{
    /// <summary>The extents that vary, by their number in <see cref="EntryLayout.Extents"/>: a run takes <see cref="Length"/> elements times the count of each.</summary>
    public int[] Extents { get; init; } = [];

    /// <summary>The number of values that an integer may take, 0 to one below it; 0 for floats.</summary>
    public int Classes { get; init; }

    /// <summary>Whether an integer may also be -1, which says that its row does not count.</summary>
    public bool MayBeIgnored { get; init; }

    /// <summary>What all elements are where a caller leaves the input out, by an empty span; null where it must not.</summary>
    public double? Default { get; init; }
}

/// <summary>What an entry point hands out, and where its plan leaves it: floats.</summary>
/// <param name="Name">The name, for messages.</param>
/// <param name="Offset">Where the plan leaves it, in elements from the start of the arena.</param>
/// <param name="Length">The number of elements where each of its extents is one: of a whole run where none varies.</param>
[EditorBrowsable(EditorBrowsableState.Never)]
public sealed record EntryOutput(string Name, long Offset, int Length)
{
    /// <summary>The extents that vary, by their number in <see cref="EntryLayout.Extents"/>.</summary>
    public int[] Extents { get; init; } = [];

    /// <summary>Whether a caller may leave it where it is, by an empty span.</summary>
    public bool IsOptional { get; init; }
}

/// <summary>One entry point of a model, as its plan was compiled. Two plans share no offset but by what each of them says.</summary>
[EditorBrowsable(EditorBrowsableState.Never)]
public sealed class EntryLayout
{
    /// <summary>The name of what the user calls.</summary>
    public required string Name { get; init; }

    /// <summary>What a run takes, in order.</summary>
    public required EntryInput[] Inputs { get; init; }

    /// <summary>What a run hands out, in order. Of a step it is the mean loss, of an evaluation the loss of every row.</summary>
    public required EntryOutput[] Outputs { get; init; }

    /// <summary>The extents that vary, in the order in which a run brings their counts along.</summary>
    public EntryExtent[] Extents { get; init; } = [];

    /// <summary>Which of <see cref="Extents"/> are the steps of a sequence that a run continues; with none of that number, it is one step.</summary>
    public int Steps { get; init; }

    /// <summary>The most rows (time steps, examples) of a run, where one extent varies.</summary>
    internal int MaximumCount => Extents.Length == 0 ? 1 : Extents[0].Maximum;

    /// <summary>Whether a run continues the sequence that earlier runs began.</summary>
    public bool Continues { get; init; }

    /// <summary>Whether a run computes the gradients of its first output, from which the optimizer updates parameters.</summary>
    public bool IsStep { get; init; }

    /// <summary>The names of the parameters that a step updates; null for all that are not frozen.</summary>
    public string[]? Updates { get; init; }
}

/// <summary>A state that grows by a row with each step of its sequence, from the first row on: rows behind the position are zeros.</summary>
/// <param name="Offset">Where it lies among the states of a sequence, in bytes.</param>
/// <param name="RowBytes">The bytes of a row.</param>
/// <param name="Rows">The number of rows.</param>
[EditorBrowsable(EditorBrowsableState.Never)]
public sealed record StateCache(long Offset, long RowBytes, int Rows);

/// <summary>The entry points that one session or one trainer runs, and the memory that it needs for them.</summary>
[EditorBrowsable(EditorBrowsableState.Never)]
public sealed class ProgramLayout
{
    /// <summary>The model's name, for messages.</summary>
    public required string ModelName { get; init; }

    /// <summary>The size of the arena in bytes.</summary>
    public required long ArenaBytes { get; init; }

    /// <summary>The size in bytes of what lives on between runs: key/value caches, the carried state of a recurrence.</summary>
    public long StateBytes { get; init; }

    /// <summary>The scratch memory of each worker in bytes.</summary>
    public required long ScratchBytes { get; init; }

    /// <summary>The entry points, in the order in which emitted code numbers them.</summary>
    public required EntryLayout[] Entries { get; init; }

    /// <summary>The most tokens that a session holds; 0 where there is no limit.</summary>
    public int ContextLength { get; init; }

    /// <summary>Where there is no such limit, but runs find what came before by their position: the positions that they can tell apart; otherwise 0.</summary>
    public int PositionLimit { get; init; }

    /// <summary>The most sequences that a session holds, each with states of its own of <see cref="StateBytes"/>.</summary>
    public int MaximumBatch { get; init; } = 1;

    /// <summary>The caches among a sequence's states, in the order in which they lie.</summary>
    public StateCache[] Caches { get; init; } = [];

    /// <summary>Whether there are other states beside the caches: of a recurrence, of rings, of memories.</summary>
    public bool HasOtherStates { get; init; }

    /// <summary>The number of sequences (or examples) in a training micro-batch.</summary>
    public int BatchSize { get; init; } = 1;

    /// <summary>The number of positions in a sequence of a micro-batch; 1 where there are no sequences.</summary>
    public int SequenceLength { get; init; } = 1;

    /// <summary>What it needs on a CUDA device; null where the declaration asks for no such path.</summary>
    public CudaLayout? Cuda { get; init; }

    /// <summary>The same entry points where their inputs and outputs lie on a device.</summary>
    internal ProgramLayout OnDevice(CudaLayout cuda) => new()
    {
        ModelName = ModelName,
        ArenaBytes = cuda.ArenaBytes,
        StateBytes = StateBytes,
        ScratchBytes = 0,
        ContextLength = ContextLength,
        PositionLimit = PositionLimit,
        MaximumBatch = MaximumBatch,
        Caches = Caches,
        HasOtherStates = HasOtherStates,
        BatchSize = BatchSize,
        SequenceLength = SequenceLength,
        Cuda = cuda,
        Entries = [.. Entries.Map((entry, i) => new EntryLayout
        {
            Name = entry.Name,
            Inputs = [.. entry.Inputs.Map((input, k) => input with { Offset = cuda.Entries[i].Inputs[k] })],
            Outputs = [.. entry.Outputs.Map((output, k) => output with { Offset = cuda.Entries[i].Outputs[k] })],
            Extents = entry.Extents,
            Steps = entry.Steps,
            Continues = entry.Continues,
            IsStep = entry.IsStep,
            Updates = entry.Updates,
        })],
    };

    /// <summary>The bytes of a sequence's states without the rows of caches behind its position.</summary>
    internal long PackedStateBytes(int position) => StateBytes - Caches.Fold(0L, (sum, cache) => sum + (cache.RowBytes * (cache.Rows - Math.Min(position, cache.Rows))));

    /// <summary>The number of an entry point.</summary>
    /// <exception cref="ArgumentException">There is none of that name.</exception>
    internal int IndexOf(string name)
    {
        int index = Array.FindIndex(Entries, entry => entry.Name == name);
        return index >= 0 ? index : throw new ArgumentException($"The layout of {ModelName} is invalid: it has no entry point {name}.");
    }

    /// <summary>Requires that everything which is copied or read lies inside the arena.</summary>
    internal void Check()
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(MaximumBatch);
        long end = 0;
        foreach (StateCache cache in Caches)
        {
            ArgumentOutOfRangeException.ThrowIfNegativeOrZero(cache.RowBytes);
            ArgumentOutOfRangeException.ThrowIfNegativeOrZero(cache.Rows);
            if (cache.Offset < end || cache.Offset > StateBytes || cache.Rows > (StateBytes - cache.Offset) / cache.RowBytes)
            {
                throw new ArgumentException($"The layout of {ModelName} is invalid: a cache is not inside the states, or not behind the one before it.");
            }

            end = cache.Offset + (cache.RowBytes * cache.Rows);
        }

        foreach (EntryLayout entry in Entries)
        {
            if (entry.Extents.Length > ExtentCounts.Length)
            {
                throw new ArgumentException($"The layout of {ModelName} is invalid: {entry.Name} has {entry.Extents.Length} extents.");
            }

            foreach (EntryExtent extent in entry.Extents)
            {
                ArgumentOutOfRangeException.ThrowIfNegativeOrZero(extent.Maximum);
            }

            foreach (EntryInput input in entry.Inputs)
            {
                Inside(entry, input.Name, input.Offset, input.Length, input.Extents);
            }

            foreach (EntryOutput output in entry.Outputs)
            {
                Inside(entry, output.Name, output.Offset, output.Length, output.Extents);
            }
        }

        void Inside(EntryLayout entry, string name, long offset, int length, int[] extents)
        {
            ArgumentOutOfRangeException.ThrowIfNegativeOrZero(length);
            long elements = length;
            foreach (int extent in extents)
            {
                elements = checked(elements * entry.Extents[extent].Maximum);
            }

            RunChecks.InsideArena(ModelName, entry.Name + "." + name, offset, elements, ArenaBytes);
        }
    }
}
