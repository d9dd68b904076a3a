using System.Buffers.Binary;
using System.Diagnostics;
using System.Net;
using System.Net.Sockets;
using System.Security.Cryptography;
using System.Text;

namespace ModelGen.Runtime;

/// <summary>
/// The processes that train together, from the view of one: they meet over TCP, where rank 0 compares what all of them are about to train and hands out the name of NCCL's meeting, and stay connected to it, so that a process that
/// ends is noticed by those that would wait for it for ever.
/// </summary>
internal sealed unsafe class RankGroup : IDisposable
{
    // What a connection begins with, so that another program at the port is not taken for a rank.
    private static readonly byte[] s_greeting = "ModelGen rank 1\n"u8.ToArray();

    private const int MaximumText = 1 << 16;
    private const int MaximumDescription = 1000;

    // How often connections are looked at while the device works.
    private static readonly TimeSpan s_lookEvery = TimeSpan.FromMilliseconds(50);

    private static readonly TimeSpan s_longestPoll = TimeSpan.FromSeconds(1);

    // Who leaves behind the last step may be gone before the others have its gradients' sum, which is on its way.
    private static readonly TimeSpan s_grace = TimeSpan.FromSeconds(3);

    private readonly DataParallel _options;
    private readonly NcclLibrary _library;
    private readonly CudaContext _context;
    private readonly nint _stream;

    // Of rank 0 those of the others, in their order; of the others that of rank 0.
    private readonly (int Rank, Socket? Socket)[] _peers = [];
    private readonly Func<string?> _isGone;
    private nint _communicator;
    private string? _broken;
    private string? _gone;
    private long _goneSince;
    private long _lastLook;

    /// <summary>Meets the others.</summary>
    /// <param name="options">Who they are.</param>
    /// <param name="execution">The trainer's plans, in whose stream gradients are added.</param>
    /// <param name="description">What is trained, by names, which must be the same everywhere.</param>
    /// <exception cref="CudaException">NCCL is missing or fails; the others do not come, or are about to train something else.</exception>
    public RankGroup(DataParallel options, CudaExecution execution, IReadOnlyList<KeyValuePair<string, string>> description)
    {
        (_options, _context, _stream) = (options, execution.Context, execution.Stream);
        _isGone = Gone;
        _library = options.Library();
        try
        {
            _peers = new (int, Socket?)[options.Rank == 0 ? options.Ranks - 1 : 1];
            description = [.. description, new("NCCL's version", FormattableString.Invariant($"{_library.Version}"))];
            NcclLibrary.UniqueId id = options.Rank == 0 ? Host(description) : Join(description);
            _context.Use();
            try
            {
                _communicator = _library.Meet(in id, options.Ranks, options.Rank, options.Timeout, _isGone);
            }
            catch (CudaException exception)
            {
                // The others wait for this one as it does for them.
                Break(FormattableString.Invariant($"A rank of the training has failed: {exception.Message}"));
                throw;
            }
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    /// <summary>Adds floats of all ranks in place, behind what the device was given before.</summary>
    /// <exception cref="CudaException">A rank is gone, or NCCL fails.</exception>
    public void AddInPlace(ulong floats, long count)
    {
        const string What = "adding the gradients of all ranks";
        Look();
        if ((_broken ?? _gone) is { } reason)
        {
            Break(reason);
            throw new CudaException(reason);
        }

        try
        {
            _library.AddInPlace(_communicator, floats, count, _stream, What, _options.Timeout, _isGone);
        }
        catch (CudaException exception)
        {
            Break(exception.Message);
            throw;
        }
    }

    /// <summary>Waits for the device; where a rank is gone that it would wait for, it is made to stop.</summary>
    /// <exception cref="CudaException">A rank is gone, or the device or NCCL fails.</exception>
    public void Wait(string what)
    {
        var spin = new SpinWait();
        while (!_context.Driver.IsDone(_stream, what))
        {
            spin.SpinOnce(sleep1Threshold: 200);
            if (Stopwatch.GetElapsedTime(_lastLook) < s_lookEvery)
            {
                continue;
            }

            Look();
            if (_gone is { } reason && Stopwatch.GetElapsedTime(_goneSince) > s_grace)
            {
                Break(reason);
                throw new CudaException(reason);
            }

            try
            {
                _library.CheckForErrors(_communicator, what);
            }
            catch (CudaException exception)
            {
                Break(exception.Message);
                throw;
            }
        }
    }

    /// <summary>Ends the meeting where this rank has failed, so that nobody waits for it, and says why to those that this rank alone is connected to.</summary>
    public void Break(string reason)
    {
        _broken ??= reason;
        Leave(isBroken: true);
        for (int i = 0; i < _peers.Length; i++)
        {
            try
            {
                if (_peers[i].Socket is { } socket)
                {
                    SendText(socket, reason);
                }
            }
            catch (Exception exception) when (IsOfNetwork(exception))
            {
                // It is gone itself.
            }

            Hang(i);
        }
    }

    public void Dispose()
    {
        Leave(isBroken: false);
        for (int i = 0; i < _peers.Length; i++)
        {
            Hang(i);
        }
    }

    private void Leave(bool isBroken)
    {
        if (_communicator == 0)
        {
            return;
        }

        try
        {
            _context.Use();
        }
        catch (CudaException)
        {
            // The device has failed: the library is told all the same.
        }

        _library.Leave(_communicator, isBroken);
        _communicator = 0;
    }

    private void Hang(int peer)
    {
        _peers[peer].Socket?.Dispose();
        _peers[peer].Socket = null;
    }

    /// <summary>Why a rank will not come to what all wait for; null where nothing is known of that, or it may have been there before it left.</summary>
    private string? Gone()
    {
        if (Stopwatch.GetElapsedTime(_lastLook) >= s_lookEvery)
        {
            Look();
        }

        return _gone is { } reason && Stopwatch.GetElapsedTime(_goneSince) > s_grace ? reason : null;
    }

    // A connection that has something to read has been closed, or says why it is about to be.
    private void Look()
    {
        _lastLook = Stopwatch.GetTimestamp();
        for (int i = 0; i < _peers.Length; i++)
        {
            if (_peers[i].Socket is not { } socket || !socket.Poll(0, SelectMode.SelectRead))
            {
                continue;
            }

            long since = Stopwatch.GetTimestamp();
            string why = FormattableString.Invariant($"Rank {_peers[i].Rank} has left the training: its process has ended, or its trainer was disposed.");
            try
            {
                socket.ReceiveTimeout = 1000;
                why = ReceiveText(socket);

                // It has failed, and has not given what is waited for.
                since = 0;
            }
            catch (Exception exception) when (IsOfNetwork(exception))
            {
                // It ended without a word.
            }

            Hang(i);
            if (_gone is null)
            {
                (_gone, _goneSince) = (why, since);
            }
        }
    }

    /// <summary>Rank 0: waits for the others and compares.</summary>
    private NcclLibrary.UniqueId Host(IReadOnlyList<KeyValuePair<string, string>> description)
    {
        NcclLibrary.UniqueId id = _library.NewId();
        using var listener = new Socket(_options.Address.AddressFamily, SocketType.Stream, ProtocolType.Tcp);
        if (_options.Ranks == 1)
        {
            return id;
        }

        try
        {
            listener.Bind(_options.Address);
            listener.Listen(_options.Ranks);
        }
        catch (SocketException exception)
        {
            throw new CudaException($"Rank 0 cannot listen at {_options.Address}: {exception.Message}");
        }

        long start = Stopwatch.GetTimestamp();
        string? problem = null;
        for (int found = 0; found < _peers.Length && problem is null;)
        {
            TimeSpan left = _options.Timeout - Stopwatch.GetElapsedTime(start);
            if (left <= TimeSpan.Zero)
            {
                problem = FormattableString.Invariant($"Rank {Array.FindIndex(_peers, peer => peer.Socket is null) + 1} has not come to {_options.Address} within {_options.Timeout}: {found + 1} of {_options.Ranks} ranks are there.");
                break;
            }

            if (!listener.Poll(left < s_longestPoll ? left : s_longestPoll, SelectMode.SelectRead))
            {
                continue;
            }

            Socket socket = listener.Accept();
            try
            {
                problem = Greet(socket, description, left, out int rank);
                if (rank > 0)
                {
                    found += _peers[rank - 1].Socket is null ? 1 : 0;
                    problem ??= _peers[rank - 1].Socket is null ? null : FormattableString.Invariant($"Two processes are rank {rank}.");
                    _peers[rank - 1].Socket?.Dispose();
                    _peers[rank - 1] = (rank, socket);
                }
                else
                {
                    if (problem is not null)
                    {
                        SendText(socket, problem);
                    }

                    socket.Dispose();
                }
            }
            catch (Exception exception) when (IsOfNetwork(exception))
            {
                // It is no rank, or one that did not wait: the place is kept.
                socket.Dispose();
            }
        }

        foreach ((int rank, Socket? socket) in _peers)
        {
            try
            {
                if (socket is not null)
                {
                    SendText(socket, problem ?? "");
                    if (problem is null)
                    {
                        Send(socket, id);
                    }
                }
            }
            catch (Exception exception) when (IsOfNetwork(exception))
            {
                problem ??= FormattableString.Invariant($"Rank {rank} has left before training began.");
            }
        }

        return problem is null ? id : throw new CudaException(problem);
    }

    /// <summary>Reads what another process says of itself.</summary>
    /// <returns>What is wrong with it; null if nothing is.</returns>
    private string? Greet(Socket socket, IReadOnlyList<KeyValuePair<string, string>> description, TimeSpan left, out int rank)
    {
        socket.NoDelay = true;
        socket.ReceiveTimeout = Milliseconds(left < TimeSpan.FromSeconds(10) ? left : TimeSpan.FromSeconds(10));
        socket.SendTimeout = socket.ReceiveTimeout;
        rank = 0;
        byte[] greeting = new byte[s_greeting.Length];
        Receive(socket, greeting);
        if (!greeting.AsSpan().SequenceEqual(s_greeting))
        {
            return null;
        }

        // All of it is read before anything is said: a connection that is closed with something unread takes with it what was said last.
        int claimed = ReceiveInteger(socket), ranks = ReceiveInteger(socket), count = ReceiveInteger(socket);
        if (count is < 0 or > MaximumDescription)
        {
            throw new InvalidDataException("That is no rank.");
        }

        var theirs = new KeyValuePair<string, string>[count];
        for (int i = 0; i < count; i++)
        {
            theirs[i] = new(ReceiveText(socket), ReceiveText(socket));
        }

        if (claimed < 1 || claimed >= _options.Ranks || ranks != _options.Ranks)
        {
            return FormattableString.Invariant($"A process came as rank {claimed} of {ranks}, and there are {_options.Ranks} to rank 0.");
        }

        rank = claimed;
        int other = Enumerable.Range(0, Math.Min(count, description.Count)).FirstOrDefault(i => theirs[i].Key != description[i].Key || theirs[i].Value != description[i].Value, -1);
        if (other < 0 && count == description.Count)
        {
            return null;
        }

        return other < 0 || theirs[other].Key != description[other].Key
            ? FormattableString.Invariant($"Rank {rank} has other options, or is of another version of ModelGen.")
            : FormattableString.Invariant($"Rank {rank} trains something else: {description[other].Key} is {Quoted.Printable(theirs[other].Value, 200)} there, and {description[other].Value} on rank 0. All ranks train one declaration, from the same weights and with the same options.");
    }

    /// <summary>Another rank: finds rank 0, which may come later.</summary>
    private NcclLibrary.UniqueId Join(IReadOnlyList<KeyValuePair<string, string>> description)
    {
        long start = Stopwatch.GetTimestamp();
        while (true)
        {
            var socket = new Socket(_options.Address.AddressFamily, SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
            try
            {
                socket.Connect(_options.Address);

                // Where nobody listens, a connection that is given the port that it looks for has found itself.
                if (!Equals(socket.LocalEndPoint, socket.RemoteEndPoint))
                {
                    _peers[0] = (0, socket);
                    break;
                }

                socket.Dispose();
            }
            catch (SocketException exception)
            {
                socket.Dispose();
                if (Stopwatch.GetElapsedTime(start) > _options.Timeout)
                {
                    throw new CudaException($"Rank 0 is not found at {_options.Address}: {exception.Message}");
                }

                Thread.Sleep(20);
            }
        }

        Socket host = _peers[0].Socket!;
        string problem;
        NcclLibrary.UniqueId id = default;
        try
        {
            // Rank 0 answers when all are there.
            host.ReceiveTimeout = Milliseconds(_options.Timeout + TimeSpan.FromSeconds(5));
            host.SendTimeout = Milliseconds(_options.Timeout);
            Send(host, s_greeting);
            SendInteger(host, _options.Rank);
            SendInteger(host, _options.Ranks);
            SendInteger(host, description.Count);
            foreach ((string name, string value) in description)
            {
                SendText(host, name);
                SendText(host, value);
            }

            problem = ReceiveText(host);
            if (problem.Length == 0)
            {
                Receive(host, id);
            }
        }
        catch (Exception exception) when (IsOfNetwork(exception))
        {
            throw new CudaException($"Rank 0 at {_options.Address} has not answered: {exception.Message}");
        }

        return problem.Length == 0 ? id : throw new CudaException(problem);
    }

    private static bool IsOfNetwork(Exception exception) => exception is SocketException or ObjectDisposedException or InvalidDataException;

    private static int Milliseconds(TimeSpan time) => (int)Math.Clamp(time.TotalMilliseconds, 1, int.MaxValue);

    private static void Send(Socket socket, ReadOnlySpan<byte> bytes)
    {
        while (!bytes.IsEmpty)
        {
            bytes = bytes[socket.Send(bytes)..];
        }
    }

    private static void Receive(Socket socket, Span<byte> bytes)
    {
        while (!bytes.IsEmpty)
        {
            int received = socket.Receive(bytes);
            bytes = received > 0 ? bytes[received..] : throw new InvalidDataException("The connection was closed.");
        }
    }

    private static void SendInteger(Socket socket, int value)
    {
        Span<byte> bytes = stackalloc byte[sizeof(int)];
        BinaryPrimitives.WriteInt32LittleEndian(bytes, value);
        Send(socket, bytes);
    }

    private static int ReceiveInteger(Socket socket)
    {
        Span<byte> bytes = stackalloc byte[sizeof(int)];
        Receive(socket, bytes);
        return BinaryPrimitives.ReadInt32LittleEndian(bytes);
    }

    private static void SendText(Socket socket, string text)
    {
        byte[] bytes = Encoding.UTF8.GetBytes(text);
        SendInteger(socket, bytes.Length);
        Send(socket, bytes);
    }

    private static string ReceiveText(Socket socket)
    {
        int length = ReceiveInteger(socket);
        if (length is < 0 or > MaximumText)
        {
            throw new InvalidDataException("That is no rank.");
        }

        byte[] bytes = new byte[length];
        Receive(socket, bytes);
        return Encoding.UTF8.GetString(bytes);
    }

    /// <summary>The digest of a block of floats, for <see cref="RankGroup(DataParallel, CudaExecution, IReadOnlyList{KeyValuePair{string, string}})"/>.</summary>
    public static string DigestOf(float* floats, long count)
    {
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        for (long start = 0; start < count; start += 1 << 24)
        {
            hash.AppendData(System.Runtime.InteropServices.MemoryMarshal.AsBytes(new ReadOnlySpan<float>(floats + start, (int)Math.Min(1 << 24, count - start))));
        }

        return Convert.ToHexStringLower(hash.GetHashAndReset());
    }
}
