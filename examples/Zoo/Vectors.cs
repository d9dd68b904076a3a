namespace Zoo;

internal static class Vectors
{
    /// <summary>The cosine of the angle between two vectors.</summary>
    public static double Cosine(ReadOnlySpan<float> a, ReadOnlySpan<float> b)
    {
        (double product, double first, double second) = (0, 0, 0);
        for (int i = 0; i < a.Length; i++)
            (product, first, second) = (product + ((double)a[i] * b[i]), first + ((double)a[i] * a[i]), second + ((double)b[i] * b[i]));
        return product / Math.Sqrt(first * second);
    }
}
