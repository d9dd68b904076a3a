using System.ComponentModel;
using System.Runtime.InteropServices;
using ModelGen.Runtime;

namespace ModelGen;

/// <summary>
/// Inference with a model: the arena, states and threads of the entry points that infer. Nothing is allocated once it is created. A session
/// may be used by one thread at a time: a call that comes while another one runs is refused and changes nothing. Sessions of one model
/// run independently.
/// </summary>
public abstract unsafe class ModelSession : IDisposable
{
    private readonly ModelWeights _weights;
    private readonly RunGuard _guard = new("session");
    private readonly WorkerTeam _team;
    private readonly NativeBlock _arena;
    private readonly NativeBlock _state;
    private readonly float[]?[][] _outputs;
    private readonly EntryTask[] _tasks;
    private PlanContext _context;
    private int _position;

    /// <summary>Called by emitted code.</summary>
    /// <param name="weights">The model's weights.</param>
    /// <param name="layout">The entry points and their memory.</param>
    /// <param name="options">The session's options; null for the defaults.</param>
    /// <exception cref="ArgumentOutOfRangeException">The options ask for a negative number of threads, or for more than 1,024.</exception>
    [EditorBrowsable(EditorBrowsableState.Never)]
    protected ModelSession(ModelWeights weights, ProgramLayout layout, SessionOptions? options)
    {
        ArgumentNullException.ThrowIfNull(weights);
        ArgumentNullException.ThrowIfNull(layout);
        layout.Check();
        int threads = RunChecks.Threads(options?.Threads ?? 0, nameof(options));
        _weights = weights;
        PlanLayout = layout;
        _arena = new NativeBlock(layout.ArenaBytes);
        _state = new NativeBlock(layout.StateBytes);
        _outputs = [.. layout.Entries.Select(entry => new float[]?[entry.Outputs.Length])];
        for (int i = 0; i < layout.Entries.Length; i++)
        {
            for (int o = 0; o < _outputs[i].Length; o++)
            {
                // What varies goes to a caller's span.
                _outputs[i][o] = layout.Entries[i].Outputs[o] is { Varies: false } output ? new float[output.Length] : null;
            }
        }

        _tasks = [.. layout.Entries.Select((_, index) => new EntryTask(this, index))];
        _team = new WorkerTeam(threads, layout.ScratchBytes, _guard);
    }

    /// <summary>The number of steps (tokens) of the sequence that the session holds. It may be read at any time, by any thread.</summary>
    public int Position => _position;

    /// <summary>The number of threads that compute, the caller's included: as many as the options allow, but no more than processors.</summary>
    public int Threads => _team.Count;

    internal Span<float> Arena => new(_arena.Floats, checked((int)(_arena.ByteLength / sizeof(float))));

    internal long StateBytes => _state.ByteLength;

    private protected ProgramLayout PlanLayout { get; }

    /// <summary>Empties the session: no sequence, and zero states.</summary>
    /// <exception cref="InvalidOperationException">Another thread is using the session.</exception>
    /// <exception cref="ObjectDisposedException">The session was disposed.</exception>
    public void Reset()
    {
        using RunGuard.Section call = Enter(nameof(Reset));
        _position = 0;
        _state.Clear();
    }

    /// <summary>Ends the session's threads and frees its memory.</summary>
    /// <exception cref="InvalidOperationException">Another thread is using the session.</exception>
    public void Dispose()
    {
        if (_guard.Close())
        {
            _team.End();
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

    private protected void CheckSpace(int count)
    {
        if (PlanLayout.ContextLength > 0 && count > PlanLayout.ContextLength - _position)
        {
            throw new InvalidOperationException(
                FormattableString.Invariant($"{count} more tokens do not fit: the session holds {_position}, and the context length is {PlanLayout.ContextLength}. Reset the session to start over."));
        }
    }

    /// <summary>Copies an input that was checked to where the plan takes it.</summary>
    private protected void Stage<T>(int entry, int input, ReadOnlySpan<T> values)
        where T : unmanaged
        => MemoryMarshal.AsBytes(values).CopyTo(new Span<byte>(_arena.Floats + PlanLayout.Entries[entry].Inputs[input].Offset, checked(values.Length * sizeof(float))));

    /// <summary>Runs an entry point over inputs that were staged.</summary>
    private protected void Run(int entry, int count)
    {
        _context = new PlanContext
        {
            Weights = _weights.Pointer,
            Arena = _arena.Floats,
            State = _state.Floats,
            Count = count,
            Position = _position,
        };
        _team.RunInside(_tasks[entry]);
        if (PlanLayout.Entries[entry].Continues)
        {
            // A recurrence has no limit, and its plans do not use the position.
            _position = (int)Math.Min((long)_position + count, int.MaxValue);
        }
    }

    /// <summary>What the last run left, where it lies.</summary>
    private protected ReadOnlySpan<float> Result(int entry, int output, int count)
    {
        EntryOutput layout = PlanLayout.Entries[entry].Outputs[output];
        return new ReadOnlySpan<float>(_arena.Floats + layout.Offset, layout.Varies ? checked(layout.Length * count) : layout.Length);
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
        private int _count;

        internal SessionCall(ModelSession session, int entry, RunGuard.Section section)
        {
            _session = session;
            _entry = entry;
            _layout = session.PlanLayout.Entries[entry];
            _section = section;
        }

        /// <summary>Checks and takes an input of integers.</summary>
        /// <param name="index">The input's number.</param>
        /// <param name="values">Its elements, row-major.</param>
        /// <exception cref="ArgumentException">There are too few or too many.</exception>
        /// <exception cref="ArgumentOutOfRangeException">An integer is outside its range.</exception>
        public void Input(int index, scoped ReadOnlySpan<int> values)
        {
            EntryInput input = _layout.Inputs[index];
            CheckLength(input, values.Length);
            RunChecks.Ids(values, input);
            _session.Stage(_entry, index, values);
        }

        /// <summary>Checks and takes an input of floats.</summary>
        /// <param name="index">The input's number.</param>
        /// <param name="values">Its elements, row-major.</param>
        /// <exception cref="ArgumentException">There are too few or too many.</exception>
        public void Input(int index, scoped ReadOnlySpan<float> values)
        {
            CheckLength(_layout.Inputs[index], values.Length);
            _session.Stage(_entry, index, values);
        }

        /// <summary>Checks that a caller's span can take an output; the rows of the run must be known.</summary>
        /// <param name="index">The output's number.</param>
        /// <param name="destination">Where it is to go.</param>
        /// <exception cref="ArgumentException">The span is too short or too long.</exception>
        public readonly void Expect(int index, scoped Span<float> destination)
        {
            EntryOutput output = _layout.Outputs[index];
            long length = output.Varies ? (long)output.Length * _count : output.Length;
            if (destination.Length != length)
            {
                throw new ArgumentException(FormattableString.Invariant($"There are {length} elements of {output.Name}, but there is room for {destination.Length}."), output.Name);
            }
        }

        /// <summary>Runs the entry point.</summary>
        /// <exception cref="InvalidOperationException">The steps do not fit into the context.</exception>
        public readonly void Run()
        {
            int count = Math.Max(1, _count);
            if (_layout.Continues)
            {
                _session.CheckSpace(count);
            }

            _session.Run(_entry, count);
        }

        /// <summary>Copies an output to a caller's span.</summary>
        /// <param name="index">The output's number.</param>
        /// <param name="destination">Where it goes.</param>
        public readonly void Output(int index, scoped Span<float> destination) => _session.Result(_entry, index, Math.Max(1, _count)).CopyTo(destination);

        /// <summary>An output, until the next call.</summary>
        /// <param name="index">The output's number.</param>
        public readonly ReadOnlySpan<float> Output(int index) => _session.Take(_entry, index);

        /// <summary>Ends the call.</summary>
        public readonly void Dispose() => _section.Dispose();

        private void CheckLength(EntryInput input, int length)
        {
            if (!input.Varies)
            {
                if (length != input.Length)
                {
                    throw new ArgumentException(FormattableString.Invariant($"{_layout.Name} takes {input.Length} elements of {input.Name}, but there are {length}."), input.Name);
                }

                return;
            }

            (int rows, int remainder) = Math.DivRem(length, input.Length);
            if (remainder != 0 || rows == 0 || rows > _layout.MaximumCount || (_count != 0 && rows != _count))
            {
                string expected = _count != 0
                    ? FormattableString.Invariant($"{_count} rows, as the inputs before")
                    : FormattableString.Invariant($"1 to {_layout.MaximumCount} rows");
                throw new ArgumentException(FormattableString.Invariant($"{_layout.Name} takes {expected}, of {input.Length} elements of {input.Name} each, but there are {length} elements."), input.Name);
            }

            _count = rows;
        }
    }

    private sealed class EntryTask(ModelSession session, int entry) : ITeamTask
    {
        public void Execute(Worker worker) => session.Execute(entry, in session._context, worker);
    }
}
