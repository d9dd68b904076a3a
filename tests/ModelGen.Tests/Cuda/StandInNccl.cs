using System.Net;
using System.Net.Sockets;
using System.Reflection;
using System.Runtime.InteropServices;
using ModelGen.Runtime;

namespace ModelGen.Tests.Cuda;

/// <summary>
/// NCCL on the processor, for ranks in one process or in several: sums of floats over connections of its own, in a stream of the stand-in driver's. As a device does that waits for a rank which is gone, it waits for ever, and says nothing, until the
/// meeting is aborted.
/// </summary>
internal static unsafe class StandInNccl
{
    private const int Success = 0;
    private const int InvalidArgument = 4;
    private const int InProgress = 7;

    private static readonly Lock s_sync = new();
    private static readonly Dictionary<int, TcpListener> s_listeners = [];
    private static readonly Dictionary<nint, Meeting> s_meetings = [];
    private static readonly nint s_text = Marshal.StringToCoTaskMemUTF8("invalid argument");
    private static long s_handles = 0x77000;

    /// <summary>Meetings that nobody has left.</summary>
    public static int Live
    {
        get
        {
            lock (s_sync)
            {
                return s_meetings.Count;
            }
        }
    }

    /// <summary>The runtime's view of it.</summary>
    /// <param name="lacks">A function that it does not have.</param>
    /// <param name="isOld">Whether it is of an old version.</param>
    /// <param name="instead">What ranks that meet without blocking come to: <c>Failing</c> or <c>Absent</c>.</param>
    public static NcclLibrary Load(string? lacks = null, bool isOld = false, string? instead = null) => new(name =>
    {
        name = instead is not null && name == nameof(ncclCommInitRankConfig) ? instead : name;
        name = isOld && name == nameof(ncclGetVersion) ? nameof(OldVersion) : name;
        return name == lacks ? 0 : typeof(StandInNccl).GetMethod(name, BindingFlags.Static | BindingFlags.NonPublic)?.MethodHandle.GetFunctionPointer() ?? 0;
    });

    [UnmanagedCallersOnly]
    private static byte* ncclGetErrorString(int result) => result == InvalidArgument ? (byte*)s_text : null;

    [UnmanagedCallersOnly]
    private static int ncclGetVersion(int* version)
    {
        *version = 22_304;
        return Success;
    }

    [UnmanagedCallersOnly]
    private static int OldVersion(int* version)
    {
        *version = 2_804;
        return Success;
    }

    [UnmanagedCallersOnly]
    private static int ncclGetUniqueId(NcclLibrary.UniqueId* id)
    {
        var listener = new TcpListener(IPAddress.Loopback, 0);
        listener.Start();
        int port = ((IPEndPoint)listener.LocalEndpoint).Port;
        lock (s_sync)
        {
            s_listeners.Add(port, listener);
        }

        new Span<byte>(id, NcclLibrary.UniqueId.Bytes).Fill(0x5A);
        *(int*)id = port;
        return Success;
    }

    [UnmanagedCallersOnly]
    private static int ncclCommInitRank(nint* communicator, int ranks, NcclLibrary.UniqueId id, int rank) => Meet(communicator, ranks, id, rank);

    /// <summary>Returns before the meeting is complete, which others wait for in a thread of its own.</summary>
    [UnmanagedCallersOnly]
    private static int ncclCommInitRankConfig(nint* communicator, int ranks, NcclLibrary.UniqueId id, int rank, NcclLibrary.Config* config)
    {
        if (config->Size != 24 || config->Magic != 0xCAFEBEEF || config->Version != 21_400 || config->Blocking != 0)
        {
            return InvalidArgument;
        }

        nint handle = *communicator = (nint)Interlocked.Increment(ref s_handles);
        var meeting = new Meeting(rank, new Socket[rank == 0 ? ranks - 1 : 1]) { State = InProgress };
        lock (s_sync)
        {
            s_meetings.Add(handle, meeting);
        }

        new Thread(() =>
        {
            try
            {
                nint other;
                int result = Meet(&other, ranks, id, rank, meeting);
                meeting.State = result;
            }
            catch (Exception exception) when (exception is SocketException or ObjectDisposedException or InvalidOperationException)
            {
                // It waits for ever, unless it is aborted.
            }
        })
        { IsBackground = true }.Start();
        return InProgress;
    }

    /// <summary>A library whose rank fails when it is to meet the others.</summary>
    [UnmanagedCallersOnly]
    private static int Failing(nint* communicator, int ranks, NcclLibrary.UniqueId id, int rank, NcclLibrary.Config* config)
    {
        *communicator = 0;
        return 1;
    }

    /// <summary>A library whose rank never comes.</summary>
    [UnmanagedCallersOnly]
    private static int Absent(nint* communicator, int ranks, NcclLibrary.UniqueId id, int rank, NcclLibrary.Config* config)
    {
        *communicator = (nint)Interlocked.Increment(ref s_handles);
        lock (s_sync)
        {
            s_meetings.Add(*communicator, new Meeting(rank, []) { State = InProgress });
        }

        return InProgress;
    }

    private static int Meet(nint* communicator, int ranks, NcclLibrary.UniqueId id, int rank, Meeting? known = null)
    {
        ReadOnlySpan<byte> name = id;
        if (rank < 0 || rank >= ranks || name[4..].ContainsAnyExcept((byte)0x5A))
        {
            return InvalidArgument;
        }

        int port = BitConverter.ToInt32(name);
        Meeting meeting = known ?? new Meeting(rank, new Socket[rank == 0 ? ranks - 1 : 1]);
        if (rank == 0)
        {
            TcpListener listener;
            lock (s_sync)
            {
                s_listeners.Remove(port, out listener!);
            }

            meeting.Listener = listener;

            for (int i = 1; i < ranks; i++)
            {
                Socket socket = listener.AcceptSocket();
                byte[] number = new byte[4];
                socket.Receive(number);
                meeting.Peers[BitConverter.ToInt32(number) - 1] = socket;
            }

            listener.Stop();

            // All are there: nobody goes on before.
            foreach (Socket peer in meeting.Peers)
            {
                peer.Send([1]);
            }
        }
        else
        {
            meeting.Peers[0] = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
            meeting.Peers[0].Connect(IPAddress.Loopback, port);
            meeting.Peers[0].Send(BitConverter.GetBytes(rank));
            if (meeting.Peers[0].Receive(new byte[1]) == 0)
            {
                throw new InvalidOperationException("Rank 0 is gone.");
            }
        }

        if (known is not null)
        {
            return Success;
        }

        *communicator = (nint)Interlocked.Increment(ref s_handles);
        lock (s_sync)
        {
            s_meetings.Add(*communicator, meeting);
        }

        return Success;
    }

    [UnmanagedCallersOnly]
    private static int ncclCommDestroy(nint communicator) => Leave(communicator);

    [UnmanagedCallersOnly]
    private static int ncclCommAbort(nint communicator) => Leave(communicator);

    [UnmanagedCallersOnly]
    private static int ncclCommGetAsyncError(nint communicator, int* error)
    {
        Meeting? meeting = Of(communicator);
        *error = meeting?.Seen() ?? Success;
        return meeting is null ? InvalidArgument : Success;
    }

    [UnmanagedCallersOnly]
    private static int ncclAllReduce(ulong from, ulong to, nuint count, int type, int operation, nint communicator, nint stream)
    {
        if (Of(communicator) is not { } meeting || type != 7 || operation != 0 || count == 0)
        {
            return InvalidArgument;
        }

        byte[][] received = [.. meeting.Peers.Select(_ => new byte[(int)count * sizeof(float)])];
        int[] lengths = new int[received.Length];
        bool hasSent = false;
        return StandInDriver.Give(
            stream,
            () =>
            {
                if (meeting.IsOver)
                {
                    return Success;
                }

                try
                {
                    if (meeting.Rank > 0 && !hasSent)
                    {
                        meeting.Peers[0].Send(new ReadOnlySpan<byte>((void*)from, (int)count * sizeof(float)));
                        hasSent = true;
                    }

                    for (int i = 0; i < received.Length; i++)
                    {
                        while (lengths[i] < received[i].Length && meeting.Peers[i].Available > 0)
                        {
                            lengths[i] += meeting.Peers[i].Receive(received[i].AsSpan(lengths[i]));
                        }

                        if (lengths[i] < received[i].Length)
                        {
                            return StandInDriver.NotReady;
                        }
                    }

                    var sums = new Span<float>((void*)to, (int)count);
                    if (meeting.Rank > 0)
                    {
                        MemoryMarshal.Cast<byte, float>(received[0]).CopyTo(sums);
                        return Success;
                    }

                    new ReadOnlySpan<float>((void*)from, (int)count).CopyTo(sums);
                    foreach (byte[] each in received)
                    {
                        ReadOnlySpan<float> theirs = MemoryMarshal.Cast<byte, float>(each);
                        for (int i = 0; i < sums.Length; i++)
                        {
                            sums[i] += theirs[i];
                        }
                    }

                    foreach (Socket peer in meeting.Peers)
                    {
                        peer.Send(MemoryMarshal.AsBytes(sums));
                    }

                    return Success;
                }
                catch (Exception exception) when (exception is SocketException or ObjectDisposedException)
                {
                    return meeting.IsOver ? Success : StandInDriver.NotReady;
                }
            },
            from,
            to) == Success ? meeting.Begun() : 1;
    }

    private static Meeting? Of(nint communicator)
    {
        lock (s_sync)
        {
            return s_meetings.GetValueOrDefault(communicator);
        }
    }

    private static int Leave(nint communicator)
    {
        lock (s_sync)
        {
            if (!s_meetings.Remove(communicator, out Meeting? meeting))
            {
                return InvalidArgument;
            }

            meeting.IsOver = true;
            meeting.Listener?.Stop();
            foreach (Socket? socket in meeting.Peers)
            {
                socket?.Dispose();
            }

            return Success;
        }
    }

    private sealed class Meeting(int rank, Socket[] peers)
    {
        public int Rank => rank;

        public Socket[] Peers => peers;

        public bool IsOver { get; set; }

        /// <summary>What it is at: complete, or on the way there.</summary>
        public volatile int State;

        public TcpListener? Listener { get; set; }

        // Looks that are still to see the first sum on its way, of a meeting that blocks nobody.
        private int _begins = -1;

        /// <summary>What a look at it sees.</summary>
        public int Seen() => State != Success ? State : _begins > 0 && --_begins > 0 ? InProgress : Success;

        /// <summary>A sum begins: the first one returns before ranks are connected.</summary>
        public int Begun()
        {
            bool isFirst = _begins == -1 && Listener is not null;
            _begins = isFirst ? 3 : Math.Max(_begins, 0);
            return isFirst ? InProgress : Success;
        }
    }
}
