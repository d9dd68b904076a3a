using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace ModelGen.Runtime;

/// <summary>Rounds floats to bfloat16, the upper halves of floats.</summary>
internal static unsafe class BFloat16Rounding
{
    // What no number becomes, lest its payload is lost with its lower half.
    private const uint Quiet = 64;

    /// <summary>Rounds to the nearest, and between two to the even one.</summary>
    /// <param name="source">The floats.</param>
    /// <param name="target">The upper halves.</param>
    /// <param name="length">How many.</param>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Nearest(float* source, ushort* target, int length)
    {
        int i = 0;
        for (; i <= length - 8; i += 8)
        {
            Vector128.Narrow(Rounded(Vector128.Load(source + i)), Rounded(Vector128.Load(source + i + 4))).Store(target + i);
        }

        for (; i < length; i++)
        {
            uint bits = BitConverter.SingleToUInt32Bits(source[i]);
            target[i] = Upper(source[i], bits + 0x7FFF + ((bits >> 16) & 1));
        }
    }

    /// <summary>Rounds up with the probability of what the lower half is of a whole step, and down otherwise.</summary>
    /// <param name="source">The floats.</param>
    /// <param name="target">The upper halves.</param>
    /// <param name="length">How many.</param>
    /// <param name="position">The first one's place among all that are rounded in a step, a multiple of 8.</param>
    /// <param name="step">The step.</param>
    /// <param name="seed">The seed.</param>
    public static void Stochastic(float* source, ushort* target, int length, long position, long step, ulong seed)
    {
        Span<uint> words = stackalloc uint[4];
        for (int i = 0; i < length; i += 8)
        {
            long block = (position + i) / 8;
            (words[0], words[1], words[2], words[3]) = ((uint)block, (uint)(block >> 32), (uint)step, (uint)(step >> 32));

            // Other keys than those of dropout.
            CounterRandom.Block(words, (uint)seed ^ 0x0B1A5EDu, (uint)(seed >> 32));
            for (int j = 0; j < Math.Min(8, length - i); j++)
            {
                float value = source[i + j];
                uint noise = (words[j / 2] >> (16 * (j % 2))) & 0xFFFF;
                target[i + j] = Upper(value, BitConverter.SingleToUInt32Bits(value) + (float.IsFinite(value) ? noise : 0));
            }
        }
    }

    private static Vector128<uint> Rounded(Vector128<float> values)
    {
        Vector128<uint> bits = values.AsUInt32();
        Vector128<uint> rounded = (bits + Vector128.Create(0x7FFFu) + ((bits >>> 16) & Vector128.Create(1u))) >>> 16;
        return Vector128.ConditionalSelect(Vector128.Equals(values, values).AsUInt32(), rounded, (bits >>> 16) | Vector128.Create(Quiet));
    }

    private static ushort Upper(float value, uint rounded)
        => (ushort)(float.IsNaN(value) ? (BitConverter.SingleToUInt32Bits(value) >> 16) | Quiet : rounded >> 16);
}
