using System.IO.Compression;
using ModelGen.Runtime;
using ModelGen.Tests.Infrastructure;

namespace ModelGen.Tests.Runtime;

/// <summary>The reader of deflated bytes, against the framework's writer and against data that is damaged or cut off.</summary>
public sealed unsafe class InflaterTests
{
    [Fact]
    public void WhatIsDeflatedComesBackInAnyPieces()
    {
        var random = new Random(7);
        foreach (byte[] plain in Texts(random))
        {
            foreach (CompressionLevel level in (CompressionLevel[])[CompressionLevel.NoCompression, CompressionLevel.Fastest, CompressionLevel.Optimal, CompressionLevel.SmallestSize])
            {
                byte[] deflated = Deflate(plain, level);
                fixed (byte* input = deflated)
                {
                    var reader = new Inflater(new Bytes(input, deflated.Length, 1 + random.Next((2 * deflated.Length) + 1)));
                    byte[] back = new byte[plain.Length];
                    for (int at = 0; at < back.Length;)
                    {
                        int count = Math.Min(back.Length - at, random.Next(1, 5000));
                        Assert.Equal(count, reader.Read(back.AsSpan(at, count)));
                        at += count;
                    }

                    Assert.Equal(0, reader.Read(new byte[1]));
                    Assert.True(plain.AsSpan().SequenceEqual(back), $"{plain.Length} bytes, {level}");
                }
            }
        }
    }

    [Fact]
    public void WhatIsCutOffEndsEarlyWithWhatWasThere()
    {
        foreach (byte[] plain in Texts(new Random(9)).Where(static text => text.Length is > 0 and < 5000))
        {
            byte[] deflated = Deflate(plain, CompressionLevel.Optimal);
            for (int length = 0; length < deflated.Length; length++)
            {
                // In memory of its own length, so that a read behind the end would be one of other memory.
                using var memory = new GuardedBuffer((length + 3) / 4);
                byte* input = (byte*)memory.Pointer + ((length + 3) / 4 * 4) - length;
                deflated.AsSpan(0, length).CopyTo(new Span<byte>(input, length));
                byte[] back = new byte[plain.Length + 1];
                int count = new Inflater(new Bytes(input, length, 7)).Read(back);
                Assert.True(count <= plain.Length && plain.AsSpan(0, count).SequenceEqual(back.AsSpan(0, count)));
            }
        }
    }

    [Fact]
    public void DamagedDataIsRefusedOrReadAsSomethingElse()
    {
        var random = new Random(13);
        int refused = 0;
        foreach (byte[] plain in Texts(random).Where(static text => text.Length is > 100 and < 5000))
        {
            byte[] deflated = Deflate(plain, CompressionLevel.Optimal);
            for (int round = 0; round < 300; round++)
            {
                byte[] damaged = [.. deflated];
                for (int i = 0; i < 1 + (round % 3); i++)
                {
                    damaged[random.Next(damaged.Length)] = (byte)random.Next(256);
                }

                fixed (byte* input = damaged)
                {
                    try
                    {
                        Assert.InRange(new Inflater(new Bytes(input, damaged.Length, 1000)).Read(new byte[3 * plain.Length]), 0, 3 * plain.Length);
                    }
                    catch (InvalidDataException)
                    {
                        refused++;
                    }
                }
            }
        }

        Assert.True(refused > 100, $"{refused} were refused");
    }

    [Theory]
    [InlineData("a block of no kind", new byte[] { 0b111 })]
    [InlineData("a stored block whose length is not its complement's", new byte[] { 1, 5, 0, 5, 0, 0, 0, 0, 0, 0 })]
    [InlineData("too many codes of literals", new byte[] { 0b1111_1101, 0xFF, 0xFF, 0xFF })]
    [InlineData("a match before the first byte", new byte[] { 0b0000_0011, 0b0000_0010, 0, 0 })]
    public void WhatNoWriterWritesIsRefused(string what, byte[] deflated)
    {
        fixed (byte* input = deflated)
        {
            var reader = new Inflater(new Bytes(input, deflated.Length, 1));
            bool isRefused = false;
            try
            {
                reader.Read(new byte[100]);
            }
            catch (InvalidDataException)
            {
                isRefused = true;
            }

            Assert.True(isRefused, what);
        }
    }

    // Of no bytes, of one, of bytes without order, of few kinds, of runs, of matches at all distances, and of more than the window.
    private static IEnumerable<byte[]> Texts(Random random)
    {
        yield return [];
        yield return [42];
        byte[] noise = new byte[3001];
        random.NextBytes(noise);
        yield return noise;
        yield return [.. Enumerable.Range(0, 4099).Select(_ => (byte)(random.Next(3) * random.Next(3)))];
        yield return new byte[70_001];
        byte[] far = new byte[200_003];
        random.NextBytes(far.AsSpan(0, 40_000));
        for (int at = 40_000; at < far.Length;)
        {
            int distance = random.Next(1, 32_769), length = Math.Min(far.Length - at, random.Next(3, 400));
            for (int i = 0; i < length; i++, at++)
            {
                far[at] = far[at - distance];
            }
        }

        yield return far;

        // Rare symbols have long codes.
        yield return [.. Enumerable.Range(0, 120_000).Select(_ => (byte)Math.Min(255, (int)(-12 * Math.Log2(1 - random.NextDouble()))))];
    }

    /// <summary>Bytes of memory, at most so many at a time.</summary>
    private sealed class Bytes(byte* input, int length, int most) : Inflater.IInput
    {
        private int _read;

        public int Read(Span<byte> destination)
        {
            int count = Math.Min(Math.Min(destination.Length, most), length - _read);
            new ReadOnlySpan<byte>(input + _read, count).CopyTo(destination);
            _read += count;
            return count;
        }
    }

    private static byte[] Deflate(byte[] plain, CompressionLevel level)
    {
        var bytes = new MemoryStream();
        using (var stream = new DeflateStream(bytes, level, leaveOpen: true))
        {
            stream.Write(plain);
        }

        return bytes.ToArray();
    }
}
