using ModelGen.Runtime;

namespace ModelGen;

public abstract partial class CausalSession
{
    /// <summary>
    /// Whether a sequence can be taken back to any of its steps: whether all that is kept of it grows by a row with each step. That is so of attention to everything before; a recurrence, a short convolution and the ring of a
    /// window forget, and can be taken back only to where they were captured.
    /// </summary>
    public bool CanRewind => GrowsByRows;

    /// <summary>Takes a sequence back to an earlier step, as if what followed had never been appended.</summary>
    /// <param name="position">The number of steps (tokens) to keep: 0 to the sequence's own.</param>
    /// <param name="row">The number of the sequence, 0 to below <see cref="ModelSession.Batch"/>.</param>
    /// <exception cref="ArgumentOutOfRangeException">There is no such sequence, or it has fewer steps. The session is unchanged.</exception>
    /// <exception cref="InvalidOperationException">The model forgets (<see cref="CanRewind"/>), or another thread is using the session. The session is unchanged.</exception>
    /// <exception cref="ObjectDisposedException">The session was disposed.</exception>
    public void Rewind(int position, int row = 0)
    {
        using RunGuard.Section call = Enter(nameof(Rewind));
        RewindTo(position, row);
    }

    /// <summary>Copies what the session holds of a sequence. Of caches, what is filled.</summary>
    /// <param name="row">The number of the sequence, 0 to below <see cref="ModelSession.Batch"/>.</param>
    /// <exception cref="ArgumentOutOfRangeException">There is no such sequence.</exception>
    /// <exception cref="InvalidOperationException">Another thread is using the session.</exception>
    /// <exception cref="ObjectDisposedException">The session was disposed.</exception>
    public SessionState Capture(int row = 0)
    {
        using RunGuard.Section call = Enter(nameof(Capture));
        return CaptureState(row);
    }

    /// <summary>Lets a sequence go on from a state that was captured of one of the same model, by this session or another one, on any device. What it was before is forgotten.</summary>
    /// <param name="state">The state.</param>
    /// <param name="row">The number of the sequence, 0 to below <see cref="ModelSession.Batch"/>.</param>
    /// <exception cref="ArgumentException">The state is another model's, or one's of this name that was declared otherwise. The session is unchanged.</exception>
    /// <exception cref="ArgumentOutOfRangeException">There is no such sequence. The session is unchanged.</exception>
    /// <exception cref="InvalidOperationException">Another thread is using the session. The session is unchanged.</exception>
    /// <exception cref="ObjectDisposedException">The session was disposed.</exception>
    public void Restore(SessionState state, int row = 0)
    {
        ArgumentNullException.ThrowIfNull(state);
        using RunGuard.Section call = Enter(nameof(Restore));
        RestoreState(state, row);
    }
}
