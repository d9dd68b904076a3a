namespace ModelGen.Extensions.AI;

/// <summary>Who uses a session: one call at a time. What is owned is disposed when nobody uses it any more, at the end of a call that is under way.</summary>
/// <param name="owner">What calls are told of that come too late.</param>
/// <param name="owned">What is disposed; null for nothing.</param>
internal sealed class SessionTurns(object owner, IDisposable? owned) : IDisposable
{
    // Nothing of it is left behind, as nobody asks for its wait handle: calls that wait may outlast the owner.
    private readonly SemaphoreSlim _turn = new(1, 1);
    private volatile bool _isDisposed;

    /// <summary>Waits for one's turn.</summary>
    /// <exception cref="ObjectDisposedException">The owner was disposed.</exception>
    public async Task EnterAsync(CancellationToken cancellationToken)
    {
        ObjectDisposedException.ThrowIf(_isDisposed, owner);
        await _turn.WaitAsync(cancellationToken).ConfigureAwait(false);
        if (_isDisposed)
        {
            Leave();
            throw new ObjectDisposedException(owner.GetType().FullName);
        }
    }

    /// <summary>Ends one's turn.</summary>
    public void Leave()
    {
        _turn.Release();
        Clear();
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _isDisposed = true;
        Clear();
    }

    private void Clear()
    {
        // Whoever disposes says so before looking for a turn, and whoever leaves looks behind giving his back: one of them sees both.
        if (_isDisposed && _turn.Wait(0, CancellationToken.None))
        {
            owned?.Dispose();
            _turn.Release();
        }
    }
}
