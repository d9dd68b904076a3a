using System.Diagnostics.CodeAnalysis;

namespace ModelGen.Runtime;

/// <summary>
/// Makes each public call on an object one critical section: it is entered before the call looks at anything that changes, and left
/// after its last copy. Nobody waits: a call that comes during another one is refused, before it has
/// touched anything, and what is closed stays closed.
/// </summary>
/// <param name="what">What is guarded, for messages: "session".</param>
internal sealed class RunGuard(string what)
{
    private const int Free = 0;
    private const int Running = 1;
    private const int Closed = 2;

    private int _state;

    // For messages: whoever is inside writes it, and those who are refused may see it a moment late.
    private string _call = "another call";

    /// <summary>Enters the critical section; the caller leaves it by disposing what is returned. Allocates nothing.</summary>
    /// <param name="call">The public method's name.</param>
    /// <param name="owner">The guarded object. It stays alive up to the section's end, so that no finalizer frees its memory before.</param>
    /// <exception cref="ObjectDisposedException">The owner was disposed.</exception>
    /// <exception cref="InvalidOperationException">Another call is running.</exception>
    public Section Enter(string call, object owner)
    {
        int state = Interlocked.CompareExchange(ref _state, Running, Free);
        if (state != Free)
        {
            ThrowRefused(call, state, owner);
        }

        _call = call;
        return new Section(this, owner);
    }

    /// <summary>Closes the guard for good. Whoever closed it may free what it guards: nobody is inside, and nobody will be.</summary>
    /// <returns>Whether this call closed it: false if it was closed before.</returns>
    /// <exception cref="InvalidOperationException">A call is running.</exception>
    public bool Close()
    {
        int state = Interlocked.CompareExchange(ref _state, Closed, Free);
        return state == Running ? throw Busy("Dispose") : state == Free;
    }

    [DoesNotReturn]
    private void ThrowRefused(string call, int state, object owner)
    {
        ObjectDisposedException.ThrowIf(state == Closed, owner);
        throw Busy(call);
    }

    private InvalidOperationException Busy(string call)
        => new($"{call} was called while {Volatile.Read(ref _call)} is running: a {what} may be used by one thread at a time.");

    /// <summary>A call's critical section.</summary>
    public readonly ref struct Section
    {
        private readonly RunGuard _guard;
        private readonly object _owner;

        internal Section(RunGuard guard, object owner)
        {
            _guard = guard;
            _owner = owner;
        }

        /// <summary>Leaves the section.</summary>
        public void Dispose()
        {
            Volatile.Write(ref _guard._state, Free);
            GC.KeepAlive(_owner);
        }
    }
}
