using System.Runtime.InteropServices;

namespace ModelGen.Benchmarks.Measuring;

/// <summary>Native memory, aligned to a cache line, in which every float is a small number.</summary>
internal sealed unsafe class FloatBlock : IDisposable
{
    public FloatBlock(long length)
    {
        Length = length;
        Pointer = (float*)NativeMemory.AlignedAlloc(checked((nuint)(length * sizeof(float))), 64);
        for (long i = 0; i < length; i++)
        {
            // Of both signs and about zero on the average, so that long sums stay small.
            Pointer[i] = ((i * 37 % 101) - 50) * 0.01f;
        }
    }

    public long Length { get; }

    public float* Pointer { get; private set; }

    public void Dispose()
    {
        NativeMemory.AlignedFree(Pointer);
        Pointer = null;
    }
}
