using System.Buffers;

namespace ModelGen;

/// <summary>The edit distance of Levenshtein (1966): the fewest insertions, deletions and substitutions that make one sequence of another.</summary>
public static class EditDistance
{
    /// <summary>The distance of two sequences. Time is the product of their lengths, memory the length of the second.</summary>
    /// <param name="a">A sequence.</param>
    /// <param name="b">Another one.</param>
    /// <typeparam name="T">The elements' type: token ids, characters, words.</typeparam>
    public static int Of<T>(ReadOnlySpan<T> a, ReadOnlySpan<T> b)
        where T : IEquatable<T>
    {
        // What both begin or end with costs nothing.
        int same = a.CommonPrefixLength(b);
        a = a[same..];
        b = b[same..];
        while (!a.IsEmpty && !b.IsEmpty && a[^1].Equals(b[^1]))
        {
            a = a[..^1];
            b = b[..^1];
        }

        int[] rented = ArrayPool<int>.Shared.Rent(b.Length + 1);
        Span<int> row = rented.AsSpan(0, b.Length + 1);
        for (int j = 0; j < row.Length; j++)
        {
            row[j] = j;
        }

        for (int i = 0; i < a.Length; i++)
        {
            // Before row[j] is the distance of i + 1 elements and j, diagonal that of i and j.
            int diagonal = row[0];
            row[0] = i + 1;
            for (int j = 0; j < b.Length; j++)
            {
                int substituted = diagonal + (a[i].Equals(b[j]) ? 0 : 1);
                diagonal = row[j + 1];
                row[j + 1] = Math.Min(substituted, 1 + Math.Min(row[j], diagonal));
            }
        }

        int distance = row[b.Length];
        ArrayPool<int>.Shared.Return(rented);
        return distance;
    }
}

/// <summary>The error rate of sequences: edits to make them right, divided by the length of what is right. Of words it is the word error rate, of characters or phonemes theirs.</summary>
public sealed class ErrorRate
{
    /// <summary>The insertions, deletions and substitutions of all sequences.</summary>
    public long Edits { get; private set; }

    /// <summary>The length of all right sequences.</summary>
    public long Length { get; private set; }

    /// <summary>The number of sequences.</summary>
    public long SequenceCount { get; private set; }

    /// <summary>Edits for each element of what is right; NaN without any. It may exceed one.</summary>
    public double Value => (double)Edits / Length;

    /// <summary>Adds a sequence.</summary>
    /// <param name="expected">What is right.</param>
    /// <param name="predicted">What was predicted.</param>
    /// <typeparam name="T">The elements' type: token ids, characters, words.</typeparam>
    public void Add<T>(ReadOnlySpan<T> expected, ReadOnlySpan<T> predicted)
        where T : IEquatable<T>
    {
        Edits += EditDistance.Of(expected, predicted);
        Length += expected.Length;
        SequenceCount++;
    }
}
