using System.Buffers.Binary;
using System.Numerics;

namespace ModelGen.TensorBoard;

/// <summary>TensorFlow's record file: each record is its length, the length's checksum, its bytes and their checksum, little-endian.</summary>
internal sealed class RecordWriter(Stream stream)
{
    private const uint MaskDelta = 0xa282ead8;

    private readonly byte[] _head = new byte[12];
    private readonly byte[] _tail = new byte[4];

    public void Write(ReadOnlySpan<byte> record)
    {
        BinaryPrimitives.WriteUInt64LittleEndian(_head, (ulong)record.Length);
        BinaryPrimitives.WriteUInt32LittleEndian(_head.AsSpan(8), Checksum(_head.AsSpan(0, 8)));
        BinaryPrimitives.WriteUInt32LittleEndian(_tail, Checksum(record));
        stream.Write(_head);
        stream.Write(record);
        stream.Write(_tail);
    }

    /// <summary>CRC-32C (Castagnoli), turned by fifteen bits and moved, so that a checksum of data that holds checksums is no trap.</summary>
    internal static uint Checksum(ReadOnlySpan<byte> bytes)
    {
        uint crc = uint.MaxValue;
        for (; bytes.Length >= sizeof(ulong); bytes = bytes[sizeof(ulong)..])
            crc = BitOperations.Crc32C(crc, BinaryPrimitives.ReadUInt64LittleEndian(bytes));
        foreach (byte value in bytes)
            crc = BitOperations.Crc32C(crc, value);
        crc = ~crc;
        return ((crc >> 15) | (crc << 17)) + MaskDelta;
    }
}
