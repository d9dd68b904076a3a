using System.Numerics;
using System.Runtime.InteropServices;

namespace ModelGen.Runtime;

/// <summary>Checks numbers that computation goes on from.</summary>
internal static class FloatRange
{
    /// <summary>The first number that is not finite or, where that is asked for, is negative; -1 if there is none.</summary>
    public static int FirstOutside(ReadOnlySpan<float> values, bool nonNegative)
    {
        float least = nonNegative ? 0 : float.MinValue;
        ReadOnlySpan<Vector<float>> vectors = MemoryMarshal.Cast<float, Vector<float>>(values);
        int index = 0;
        var low = new Vector<float>(least);
        var high = new Vector<float>(float.MaxValue);

        // What is not a number is not within bounds either.
        while (index < vectors.Length && Vector.GreaterThanOrEqualAll(vectors[index], low) && Vector.LessThanOrEqualAll(vectors[index], high))
        {
            index++;
        }

        for (int i = index * Vector<float>.Count; i < values.Length; i++)
        {
            if (!(values[i] >= least && values[i] <= float.MaxValue))
            {
                return i;
            }
        }

        return -1;
    }
}
