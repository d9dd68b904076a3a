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
    public static NcclLibrary Load(string? lacks = null, bool isOld = false) => new(name =>
    {
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
    private static int ncclCommInitRank(nint* communicator, int ranks, NcclLibrary.UniqueId id, int rank)
    {
        ReadOnlySpan<byte> name = id;
        if (rank < 0 || rank >= ranks || name[4..].ContainsAnyExcept((byte)0x5A))
        {
            return InvalidArgument;
        }

        int port = BitConverter.ToInt32(name);
        var meeting = new Meeting(rank, new Socket[rank == 0 ? ranks - 1 : 1]);
        if (rank == 0)
        {
            TcpListener listener;
            lock (s_sync)
            {
                s_listeners.Remove(port, out listener!);
            }

            for (int i = 1; i < ranks; i++)
            {
                Socket socket = listener.AcceptSocket();
                byte[] number = new byte[4];
                socket.Receive(number);
                meeting.Peers[BitConverter.ToInt32(number) - 1] = socket;
            }

            listener.Stop();
        }
        else
        {
            meeting.Peers[0] = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
            meeting.Peers[0].Connect(IPAddress.Loopback, port);
            meeting.Peers[0].Send(BitConverter.GetBytes(rank));
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
        *error = Success;
        return Of(communicator) is null ? InvalidArgument : Success;
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
            to) == Success ? Success : 1;
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
            foreach (Socket socket in meeting.Peers)
            {
                socket.Dispose();
            }

            return Success;
        }
    }

    private sealed class Meeting(int rank, Socket[] peers)
    {
        public int Rank => rank;

        public Socket[] Peers => peers;

        public bool IsOver { get; set; }
    }
}
