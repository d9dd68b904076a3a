using System.ComponentModel;
using System.Runtime.InteropServices;
using ModelGen.Runtime;

namespace ModelGen;

/// <summary>
/// Inference with a model: the arena, states and threads of the entry points that infer. Nothing is allocated once it is created. A session
/// may be used by one thread at a time: a call that comes while another one runs is refused and changes nothing. Sessions of one model
/// run independently.
/// </summary>
public abstract unsafe partial class ModelSession : IDisposable
{
    private readonly ModelWeights _weights;
    private readonly RunGuard _guard = new("session");
    private readonly WorkerTeam _team;
    private readonly NativeBlock _arena;
    private readonly NativeBlock _state;
    private readonly float[]?[][] _outputs;
    private readonly EntryTask[] _tasks;
    private readonly int[] _positions;
    private readonly RowOrder _order;
    private readonly CudaExecution? _cuda;
    private PlanContext _context;

    /// <summary>Called by emitted code.</summary>
    /// <param name="weights">The model's weights.</param>
    /// <param name="layout">The entry points and their memory.</param>
    /// <param name="options">The session's options; null for the defaults.</param>
    /// <exception cref="ArgumentOutOfRangeException">
    /// The options ask for a negative number of threads, or for more than 1,024; or for no sequences, or for more than the declaration allows.
    /// </exception>
    [EditorBrowsable(EditorBrowsableState.Never)]
    protected ModelSession(ModelWeights weights, ProgramLayout layout, SessionOptions? options)
    {
        ArgumentNullException.ThrowIfNull(weights);
        ArgumentNullException.ThrowIfNull(layout);
        layout.Check();
        int threads = RunChecks.Threads(options?.Threads ?? 0, nameof(options));
        Batch = RunChecks.Batch(options?.Batch ?? 1, layout, nameof(options));
        _positions = new int[Batch];
        Positions = Array.AsReadOnly(_positions);
        _order = new RowOrder(Batch);
        _weights = weights;
        _cuda = CudaExecution.Choose(options?.Device, layout, layout.Cuda?.ForSession(weights, layout, Batch), out DeviceInUse device);
        Device = device;
        if (_cuda is not null)
        {
            (layout, threads) = (_cuda.Layout, 1);
        }

        try
        {
            PlanLayout = layout;
            _arena = _cuda?.Staging ?? new NativeBlock(layout.ArenaBytes);
            _state = new NativeBlock(_cuda is null ? checked(layout.StateBytes * Batch) : 0);
            _outputs = layout.Entries.Map(static entry => new float[]?[entry.Outputs.Length]);
            for (int i = 0; i < layout.Entries.Length; i++)
            {
                for (int o = 0; o < _outputs[i].Length; o++)
                {
                    // What varies goes to a caller's span.
                    _outputs[i][o] = KeepsOutputs && layout.Entries[i].Outputs[o] is { Extents: [] } output ? new float[output.Length] : null;
                }
            }

            _tasks = layout.Entries.Map((_, index) => new EntryTask(this, index));
            _team = new WorkerTeam(threads, layout.ScratchBytes, _guard);
        }
        catch
        {
            _cuda?.Dispose();
            throw;
        }
    }

    /// <summary>The number of steps (tokens) of the sequence that the session holds, the first where it holds several. It may be read at any time, by any thread.</summary>
    public int Position => _positions[0];

    /// <summary>The number of sequences that the session holds, each with its own position and states.</summary>
    public int Batch { get; }

    /// <summary>The number of steps (tokens) of each of the session's sequences. They may be read at any time, by any thread.</summary>
    public IReadOnlyList<int> Positions { get; }

    /// <summary>Where the session runs.</summary>
    public DeviceInUse Device { get; }

    /// <summary>The number of threads that compute, the caller's included: as many as the options allow, but no more than processors.</summary>
    public int Threads => _team.Count;

    internal Span<float> Arena => new(_arena.Floats, checked((int)(_arena.ByteLength / sizeof(float))));

    internal long StateBytes => _state.ByteLength;

    private protected ProgramLayout PlanLayout { get; }

    /// <summary>Whether <see cref="Take"/> is asked for outputs of a fixed size, which are copied to memory of the session's.</summary>
    private protected virtual bool KeepsOutputs => true;

    /// <summary>Empties the session: no sequence, and zero states.</summary>
    /// <exception cref="InvalidOperationException">Another thread is using the session.</exception>
    /// <exception cref="ObjectDisposedException">The session was disposed.</exception>
    public void Reset()
    {
        using RunGuard.Section call = Enter(nameof(Reset));
        Array.Clear(_positions);
        _state.Clear();
        for (int row = 0; row < Batch && _cuda is not null; row++)
        {
            _cuda.ClearState(row);
        }

        for (int row = 0; row < Batch; row++)
        {
            Forget(row);
        }
    }

    /// <summary>Empties one of the session's sequences; the others go on.</summary>
    /// <param name="row">The number of the sequence, 0 to below <see cref="Batch"/>.</param>
    /// <exception cref="ArgumentOutOfRangeException">There is no such sequence.</exception>
    /// <exception cref="InvalidOperationException">Another thread is using the session.</exception>
    /// <exception cref="ObjectDisposedException">The session was disposed.</exception>
    public void Reset(int row)
    {
        using RunGuard.Section call = Enter(nameof(Reset));
        CheckRow(row);
        Clear(row);
    }

    /// <summary>Ends the session's threads and frees its memory.</summary>
    /// <exception cref="InvalidOperationException">Another thread is using the session.</exception>
    public void Dispose()
    {
        if (_guard.Close())
        {
            _team.End();
            _cuda?.Dispose();
            _arena.Dispose();
            _state.Dispose();
        }

        GC.SuppressFinalize(this);
    }

    /// <summary>Emitted: runs an entry point's plan.</summary>
    /// <param name="entry">The number of the entry point.</param>
    /// <param name="context">Where the memory is, and what is run.</param>
    /// <param name="worker">The worker that calls.</param>
    [EditorBrowsable(EditorBrowsableState.Never)]
    protected abstract void Execute(int entry, in PlanContext context, Worker worker);

    /// <summary>Called by emitted code: begins a call of an entry point, whose inputs follow.</summary>
    /// <param name="entry">The number of the entry point.</param>
    /// <exception cref="InvalidOperationException">Another thread is using the session.</exception>
    /// <exception cref="ObjectDisposedException">The session was disposed.</exception>
    [EditorBrowsable(EditorBrowsableState.Never)]
    protected SessionCall Begin(int entry) => new(this, entry, Enter(PlanLayout.Entries[entry].Name));

    /// <summary>Enters the critical section that a public call is.</summary>
    private protected RunGuard.Section Enter(string call) => _guard.Enter(call, this);

    /// <summary>Empties one of the sequences, inside of a call's section.</summary>
    private protected void Clear(int row)
    {
        _positions[row] = 0;
        if (_cuda is not null)
        {
            _cuda.ClearState(row);
        }
        else
        {
            NativeMemory.Clear(StateOf(row), (nuint)PlanLayout.StateBytes);
        }

        Forget(row);
    }

    /// <summary>Forgets what else is kept of a sequence.</summary>
    private protected virtual void Forget(int row)
    {
    }

    /// <summary>Lets each sequence continue what another one was, inside of a call's section.</summary>
    private protected void ReorderSequences(ReadOnlySpan<int> from)
    {
        foreach ((int to, int source, bool exchange) in _order.Moves(from))
        {
            MoveState(to, source, exchange);
            Move(to, source, exchange);
            (_positions[to], _positions[source]) = (_positions[source], exchange ? _positions[to] : _positions[source]);
        }
    }

    /// <summary>Copies what else is kept of a sequence to another one, or exchanges what is kept of the two.</summary>
    private protected virtual void Move(int to, int from, bool exchange)
    {
    }

    /// <summary>Copies the states of a sequence to another one, or exchanges them. Of caches, what holds something is copied, and what held something else is cleared.</summary>
    private void MoveState(int to, int from, bool exchange)
    {
        if (_cuda is not null)
        {
            _cuda.MoveState(to, from, exchange);
            return;
        }

        if (!exchange)
        {
            byte* source = (byte*)StateOf(from), target = (byte*)StateOf(to);
            long copied = 0;
            foreach (StateCache cache in PlanLayout.Caches)
            {
                NativeMemory.Copy(source + copied, target + copied, (nuint)(cache.Offset - copied));
                long filled = cache.RowBytes * Math.Min(_positions[from], cache.Rows), before = cache.RowBytes * Math.Min(_positions[to], cache.Rows);
                NativeMemory.Copy(source + cache.Offset, target + cache.Offset, (nuint)filled);
                NativeMemory.Clear(target + cache.Offset + filled, (nuint)Math.Max(0, before - filled));
                copied = cache.Offset + (cache.RowBytes * cache.Rows);
            }

            NativeMemory.Copy(source + copied, target + copied, (nuint)(PlanLayout.StateBytes - copied));
            return;
        }

        for (long start = 0, floats = PlanLayout.StateBytes / sizeof(float); start < floats; start += int.MaxValue)
        {
            int count = (int)Math.Min(int.MaxValue, floats - start);
            RowOrder.Exchange(new Span<float>(StateOf(to) + start, count), new Span<float>(StateOf(from) + start, count));
        }
    }

    /// <summary>Requires that the session has a sequence of this number.</summary>
    private protected void CheckRow(int row)
    {
        if ((uint)row >= (uint)Batch)
        {
            throw new ArgumentOutOfRangeException(nameof(row), row, FormattableString.Invariant($"The session holds {Batch} sequences, 0 to {Batch - 1}."));
        }
    }

    /// <summary>Requires that a sequence has room for more steps.</summary>
    private protected void CheckSpace(int count, int row = 0)
    {
        int position = _positions[row];
        int limit = PlanLayout.ContextLength > 0 ? PlanLayout.ContextLength : PlanLayout.PositionLimit;
        if (limit > 0 && count > limit - position)
        {
            string holds = Batch == 1 ? "the session holds" : FormattableString.Invariant($"sequence {row} of the session has");
            throw new InvalidOperationException(
                FormattableString.Invariant($"{count} more tokens do not fit: {holds} {position}, and {(PlanLayout.ContextLength > 0 ? "the context length" : "the number of its positions")} is {limit}. Reset {(Batch == 1 ? "the session" : "it")} to start over."));
        }
    }

    /// <summary>Notes that a sequence has more steps. A recurrence has no limit, and its plans do not use the position.</summary>
    private protected void Advance(int row, int count) => _positions[row] = (int)Math.Min((long)_positions[row] + count, int.MaxValue);

    /// <summary>Copies an input that was checked to where the plan takes it.</summary>
    private protected void Stage<T>(int entry, int input, ReadOnlySpan<T> values)
        where T : unmanaged
        => MemoryMarshal.AsBytes(values).CopyTo(new Span<byte>(_arena.Floats + PlanLayout.Entries[entry].Inputs[input].Offset, checked(values.Length * sizeof(float))));

    /// <summary>Runs an entry point over inputs that were staged.</summary>
    /// <param name="entry">The number of the entry point.</param>
    /// <param name="count">How many rows or steps the run has.</param>
    /// <param name="row">The sequence whose states the run reads and continues; of one that takes several, the first.</param>
    private protected void Run(int entry, int count, int row = 0)
    {
        ExtentCounts counts = default;
        counts[0] = count;
        Run(entry, counts, count, row);
    }

    /// <summary>Whether the session's device chooses from an output by itself.</summary>
    private protected bool ChoosesOnDevice => _cuda is not null;

    /// <summary>Loads what that takes: to find the largest of so many numbers, or to draw from them.</summary>
    private protected void PrepareChoosing(int count, bool draws)
    {
        if (draws)
        {
            _cuda?.PrepareDrawing(count);
        }
        else
        {
            _cuda?.PrepareLargest();
        }
    }

    /// <summary>Runs an entry point of one row or step, as <see cref="Run(int, int, int)"/>, on a device that chooses from its first output.</summary>
    /// <param name="entry">The number of the entry point.</param>
    /// <param name="row">The sequence.</param>
    /// <param name="chain">How to draw; null for the largest number.</param>
    /// <param name="uniform">The number in [0, 1) that decides.</param>
    /// <param name="isNumberUsed">Whether there was something to decide.</param>
    /// <returns>The index of what was chosen; −1 where the device has not: then the outputs are there as after any run.</returns>
    private protected int RunToChoose(int entry, int row, CudaChain? chain, double uniform, out bool isNumberUsed)
    {
        ExtentCounts counts = default;
        counts[0] = 1;
        _context = new PlanContext { Counts = counts, Position = _positions[row] };
        isNumberUsed = false;
        int chosen = chain is null ? _cuda!.RunForLargest(entry, row, in _context) : _cuda!.RunForDraw(entry, row, in _context, chain, uniform, out isNumberUsed);
        if (PlanLayout.Entries[entry].Continues)
        {
            Advance(row, 1);
        }

        return chosen;
    }

    /// <summary>How many runs there were on a device.</summary>
    private protected long DeviceRuns => _cuda?.Runs ?? 0;

    /// <summary>Brings the outputs of the device's last run, which was of this entry point, to where any run leaves them.</summary>
    private protected void BringOutputs(int entry) => _cuda!.BringOutputs(entry, in _context);

    private void Run(int entry, ExtentCounts counts, int steps, int row)
    {
        _context = new PlanContext { Counts = counts, Position = _positions[row] };
        if (_cuda is not null)
        {
            _cuda.Run(entry, row, in _context);
        }
        else
        {
            _context.Weights = _weights.Pointer;
            _context.Arena = _arena.Floats;
            _context.State = StateOf(row);
            _team.RunInside(_tasks[entry]);
        }

        if (PlanLayout.Entries[entry].Continues)
        {
            Advance(row, steps);
        }
    }

    private float* StateOf(int row) => _state.Floats + (PlanLayout.StateBytes / sizeof(float) * row);

    /// <summary>What the last run left, where it lies.</summary>
    private protected ReadOnlySpan<float> Result(int entry, int output, int count)
    {
        EntryOutput layout = PlanLayout.Entries[entry].Outputs[output];
        return new ReadOnlySpan<float>(_arena.Floats + layout.Offset, layout.Extents.Length == 0 ? layout.Length : checked(layout.Length * count));
    }

    /// <summary>Gives every element of an input that was left out the same value.</summary>
    private void Fill(EntryInput input, long length)
    {
        if (input.Classes > 0)
        {
            new Span<int>(_arena.Floats + input.Offset, checked((int)length)).Fill((int)input.Default!.Value);
        }
        else
        {
            new Span<float>(_arena.Floats + input.Offset, checked((int)length)).Fill((float)input.Default!.Value);
        }
    }

    // A copy is safe to hold after the session is disposed; it costs nothing beside what it took to compute it.
    private protected ReadOnlySpan<float> Take(int entry, int output)
    {
        float[] copy = _outputs[entry][output] ?? throw new InvalidOperationException($"{PlanLayout.Entries[entry].Outputs[output].Name} has as many rows as a run: it goes to a caller's span.");
        Result(entry, output, 1).CopyTo(copy);
        return copy;
    }

    /// <summary>One call of an entry point: its inputs, the run, its outputs. Nothing runs before all inputs have been checked.</summary>
    [EditorBrowsable(EditorBrowsableState.Never)]
    public ref struct SessionCall
    {
        private readonly ModelSession _session;
        private readonly EntryLayout _layout;
        private readonly int _entry;
        private readonly RunGuard.Section _section;

        // Zero as long as nothing says how many.
        private ExtentCounts _counts;
        private ulong _omitted;

        internal SessionCall(ModelSession session, int entry, RunGuard.Section section)
        {
            _session = session;
            _entry = entry;
            _layout = session.PlanLayout.Entries[entry];
            _section = section;
        }

        /// <summary>Takes the count of an extent, where several vary; inputs follow.</summary>
        /// <param name="extent">The extent's number.</param>
        /// <param name="count">Its count.</param>
        /// <param name="name">What messages call it.</param>
        /// <exception cref="ArgumentOutOfRangeException">A run takes no so many.</exception>
        public void Count(int extent, int count, string name)
        {
            int most = _layout.Extents[extent].Maximum;
            if (count < 1 || count > most)
            {
                throw new ArgumentOutOfRangeException(name, count, FormattableString.Invariant($"{_layout.Name} takes 1 to {most} for {name}."));
            }

            _counts[extent] = count;
        }

        /// <summary>Checks and takes an input of integers.</summary>
        /// <param name="index">The input's number.</param>
        /// <param name="values">Its elements, row-major; or none, where it may be left out.</param>
        /// <exception cref="ArgumentException">There are too few or too many.</exception>
        /// <exception cref="ArgumentOutOfRangeException">An integer is outside its range.</exception>
        public void Input(int index, scoped ReadOnlySpan<int> values)
        {
            EntryInput input = _layout.Inputs[index];
            if (!Omits(input, index, values.Length))
            {
                CheckLength(input, values.Length);
                RunChecks.Ids(values, input);
                _session.Stage(_entry, index, values);
            }
        }

        /// <summary>Checks and takes an input of floats.</summary>
        /// <param name="index">The input's number.</param>
        /// <param name="values">Its elements, row-major; or none, where it may be left out.</param>
        /// <exception cref="ArgumentException">There are too few or too many.</exception>
        public void Input(int index, scoped ReadOnlySpan<float> values)
        {
            EntryInput input = _layout.Inputs[index];
            if (!Omits(input, index, values.Length))
            {
                CheckLength(input, values.Length);
                _session.Stage(_entry, index, values);
            }
        }

        /// <summary>Checks that a caller's span can take an output; the counts of the run must be known.</summary>
        /// <param name="index">The output's number.</param>
        /// <param name="destination">Where it is to go; nowhere, where it may be left out.</param>
        /// <exception cref="ArgumentException">The span is too short or too long.</exception>
        public readonly void Expect(int index, scoped Span<float> destination)
        {
            EntryOutput output = _layout.Outputs[index];
            long length = LengthOf(output.Length, output.Extents);
            if (destination.Length != length && !(output.IsOptional && destination.IsEmpty))
            {
                throw new ArgumentException(FormattableString.Invariant($"There are {length} elements of {output.Name}, but there is room for {destination.Length}."), output.Name);
            }
        }

        /// <summary>Runs the entry point.</summary>
        /// <exception cref="ArgumentException">No input says how many rows the run has.</exception>
        /// <exception cref="InvalidOperationException">The steps do not fit into the context.</exception>
        public readonly void Run()
        {
            for (int extent = 0; extent < _layout.Extents.Length; extent++)
            {
                if (_counts[extent] == 0)
                {
                    throw new ArgumentException($"Nothing says how many {_layout.Extents[extent].Name} {_layout.Name} is to take: all inputs that would were left out.");
                }
            }

            for (int index = 0; _omitted >> index != 0; index++)
            {
                if ((_omitted >> index & 1) != 0)
                {
                    _session.Fill(_layout.Inputs[index], LengthOf(_layout.Inputs[index].Length, _layout.Inputs[index].Extents));
                }
            }

            int steps = _layout.Steps < _layout.Extents.Length ? _counts[_layout.Steps] : 1;
            if (_layout.Continues)
            {
                _session.CheckSpace(steps);
            }

            ExtentCounts counts = _counts;
            counts[0] = Math.Max(1, counts[0]);
            _session.Run(_entry, counts, steps, 0);
        }

        /// <summary>Copies an output to a caller's span.</summary>
        /// <param name="index">The output's number.</param>
        /// <param name="destination">Where it goes; nowhere, where it may be left out.</param>
        public readonly void Output(int index, scoped Span<float> destination)
        {
            if (!destination.IsEmpty)
            {
                EntryOutput output = _layout.Outputs[index];
                new ReadOnlySpan<float>(_session._arena.Floats + output.Offset, checked((int)LengthOf(output.Length, output.Extents))).CopyTo(destination);
            }
        }

        /// <summary>An output, until the next call.</summary>
        /// <param name="index">The output's number.</param>
        public readonly ReadOnlySpan<float> Output(int index) => _session.Take(_entry, index);

        /// <summary>Ends the call.</summary>
        public readonly void Dispose() => _section.Dispose();

        private bool Omits(EntryInput input, int index, int length)
        {
            bool omits = length == 0 && input.Default is not null;
            _omitted |= omits ? 1UL << index : 0;
            return omits;
        }

        private readonly long LengthOf(long length, int[] extents)
        {
            foreach (int extent in extents)
            {
                length *= _counts[extent];
            }

            return length;
        }

        private void CheckLength(EntryInput input, int length)
        {
            if (_layout.Extents.Length == 1 && input.Extents.Length == 1 && _counts[0] == 0)
            {
                // The first input says how many rows there are.
                (int rows, int remainder) = Math.DivRem(length, input.Length);
                if (remainder != 0 || rows == 0 || rows > _layout.MaximumCount)
                {
                    throw new ArgumentException(FormattableString.Invariant($"{_layout.Name} takes 1 to {_layout.MaximumCount} rows, of {input.Length} elements of {input.Name} each, but there are {length} elements."), input.Name);
                }

                _counts[0] = rows;
                return;
            }

            long expected = LengthOf(input.Length, input.Extents);
            if (length != expected)
            {
                string of = input.Extents.Length == 0 ? "" : _layout.Extents.Length > 1 ? ", by the counts that were given"
                    : FormattableString.Invariant($", for {_counts[0]} rows, as the inputs before");
                throw new ArgumentException(FormattableString.Invariant($"{_layout.Name} takes {expected} elements of {input.Name}{of}, but there are {length}."), input.Name);
            }
        }
    }

    private sealed class EntryTask(ModelSession session, int entry) : ITeamTask
    {
        public void Execute(Worker worker) => session.Execute(entry, in session._context, worker);
    }
}
