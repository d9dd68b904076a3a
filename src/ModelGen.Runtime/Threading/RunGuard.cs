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
    // No call has this name, as calls are named after their methods.
    private static readonly string s_closed = "(closed)";

    private string? _running;

    /// <summary>Enters the critical section; the caller leaves it by disposing what is returned. Allocates nothing.</summary>
    /// <param name="call">The public method's name.</param>
    /// <param name="owner">The guarded object. It stays alive up to the section's end, so that no finalizer frees its memory before.</param>
    /// <exception cref="ObjectDisposedException">The owner was disposed.</exception>
    /// <exception cref="InvalidOperationException">Another call is running.</exception>
    public Section Enter(string call, object owner)
    {
        string? running = Interlocked.CompareExchange(ref _running, call, null);
        if (running is not null)
        {
            ThrowRefused(call, running, owner);
        }

        return new Section(this, owner);
    }

    /// <summary>Closes the guard for good. Whoever closed it may free what it guards: nobody is inside, and nobody will be.</summary>
    /// <returns>Whether this call closed it: false if it was closed before.</returns>
    /// <exception cref="InvalidOperationException">A call is running.</exception>
    public bool Close()
    {
        string? running = Interlocked.CompareExchange(ref _running, s_closed, null);
        if (running is not null && !ReferenceEquals(running, s_closed))
        {
            throw Busy("Dispose", running);
        }

        return running is null;
    }

    [DoesNotReturn]
    private void ThrowRefused(string call, string running, object owner)
    {
        ObjectDisposedException.ThrowIf(ReferenceEquals(running, s_closed), owner);
        throw Busy(call, running);
    }

    private InvalidOperationException Busy(string call, string running)
        => new($"{call} was called while {running} is running: a {what} may be used by one thread at a time.");

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
            Volatile.Write(ref _guard._running, null);
            GC.KeepAlive(_owner);
        }
    }
}
