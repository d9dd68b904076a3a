using System.Globalization;
using System.Runtime.InteropServices;

namespace ModelGen.Tests.Infrastructure;

/// <summary>Comparisons of tensors whose failures say where and by how much.</summary>
public static class Compare
{
    /// <summary>Requires that no element is further than <paramref name="tolerance"/> from what is expected; not a number is never near.</summary>
    public static void Absolute(ReadOnlySpan<float> expected, ReadOnlySpan<float> actual, double tolerance, string what)
    {
        Assert.True(expected.Length == actual.Length, $"{what}: {actual.Length} elements, expected {expected.Length}.");
        double worst = 0;
        int at = -1;
        for (int i = 0; i < expected.Length; i++)
        {
            double distance = Math.Abs((double)expected[i] - actual[i]);
            if (!(distance <= worst))
            {
                worst = distance;
                at = i;
                if (double.IsNaN(distance))
                {
                    break;
                }
            }
        }

        if (!(worst <= tolerance))
        {
            Assert.Fail(string.Create(CultureInfo.InvariantCulture, $"{what}: element {at} of {expected.Length} is {actual[at]:R}, expected {expected[at]:R}: off by {worst:E2}, allowed {tolerance:E0}."));
        }
    }

    /// <summary>Requires that the norm of the difference is at most <paramref name="tolerance"/> times the norm of what is expected.</summary>
    public static void RelativeToNorm(ReadOnlySpan<float> expected, ReadOnlySpan<float> actual, double tolerance, string what)
    {
        Assert.True(expected.Length == actual.Length, $"{what}: {actual.Length} elements, expected {expected.Length}.");
        double difference = 0;
        double norm = 0;
        double worst = -1;
        int at = 0;
        for (int i = 0; i < expected.Length; i++)
        {
            double d = (double)expected[i] - actual[i];
            difference += d * d;
            norm += (double)expected[i] * expected[i];
            if (!(Math.Abs(d) <= worst))
            {
                worst = Math.Abs(d);
                at = i;
            }
        }

        double relative = Math.Sqrt(difference) / Math.Sqrt(norm);
        if (!(relative <= tolerance))
        {
            Assert.Fail(string.Create(CultureInfo.InvariantCulture, $"{what}: the difference is {relative:E2} of the norm {Math.Sqrt(norm):G4}, allowed {tolerance:E0}; furthest at element {at} of {expected.Length}: {actual[at]:R}, expected {expected[at]:R}."));
        }
    }

    /// <summary>Requires the same bits.</summary>
    public static void Bits(ReadOnlySpan<float> expected, ReadOnlySpan<float> actual, string what)
    {
        Assert.True(expected.Length == actual.Length, $"{what}: {actual.Length} elements, expected {expected.Length}.");
        ReadOnlySpan<int> a = MemoryMarshal.Cast<float, int>(expected);
        ReadOnlySpan<int> b = MemoryMarshal.Cast<float, int>(actual);
        int same = a.CommonPrefixLength(b);
        if (same < a.Length)
        {
            Assert.Fail(string.Create(CultureInfo.InvariantCulture, $"{what}: element {same} of {a.Length} is {actual[same]:R} (0x{b[same]:X8}), expected {expected[same]:R} (0x{a[same]:X8})."));
        }
    }
}
