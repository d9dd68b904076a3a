using System.ComponentModel;

namespace ModelGen.Runtime;

/// <summary>
/// Biases of attention's scores by the key's position relative to the query's, as a row of one number for each relative position: of
/// neighbouring keys they lie side by side.
/// </summary>
[EditorBrowsable(EditorBrowsableState.Never)]
public static unsafe class AttentionBias
{
    /// <summary>Attention with linear biases (Press et al., "Train Short, Test Long", 2022): row[i] = −slope · |first + i|.</summary>
    /// <param name="row">Where the biases go.</param>
    /// <param name="first">The first relative position.</param>
    /// <param name="count">How many there are.</param>
    /// <param name="slope">The head's slope.</param>
    public static void Linear(float* row, int first, int count, float slope)
    {
        for (int i = 0; i < count; i++)
        {
            row[i] = -slope * Math.Abs(first + i);
        }
    }

    /// <summary>
    /// Learned biases by buckets of distances (Raffel et al., "Exploring the Limits of Transfer Learning with a Unified Text-to-Text Transformer", 2020,
    /// section 2.1), each times a factor.
    /// </summary>
    /// <param name="row">Where the biases go.</param>
    /// <param name="first">The first relative position.</param>
    /// <param name="count">How many there are.</param>
    /// <param name="starts">The least distance of each bucket of one direction. Keys before the query have the first buckets; those behind it those that follow, if <paramref name="both"/>, and otherwise the first one.</param>
    /// <param name="both">Whether keys behind the query have buckets of their own.</param>
    /// <param name="table">The head's number of the first bucket.</param>
    /// <param name="step">Elements from there to that of the next bucket.</param>
    /// <param name="factor">The factor.</param>
    public static void Buckets(float* row, int first, int count, ReadOnlySpan<int> starts, bool both, float* table, int step, float factor)
    {
        for (int bucket = 0; bucket < (both ? 2 : 1) * starts.Length; bucket++)
        {
            (int from, int to) = Range(bucket, first, count, starts, both);
            if (to > from)
            {
                new Span<float>(row + from, to - from).Fill(table[(long)bucket * step] * factor);
            }
        }
    }

    /// <summary>The gradient of <see cref="Buckets"/>: sums over the relative positions of each bucket, each times a factor.</summary>
    /// <param name="row">The cotangents of the biases.</param>
    /// <param name="first">The first relative position.</param>
    /// <param name="count">How many there are.</param>
    /// <param name="starts">The least distance of each bucket of one direction.</param>
    /// <param name="both">Whether keys behind the query have buckets of their own.</param>
    /// <param name="table">Where the sum of the head's first bucket goes.</param>
    /// <param name="step">Elements from there to that of the next bucket.</param>
    /// <param name="factor">The factor.</param>
    public static void BucketSums(float* row, int first, int count, ReadOnlySpan<int> starts, bool both, float* table, int step, float factor)
    {
        for (int bucket = 0; bucket < (both ? 2 : 1) * starts.Length; bucket++)
        {
            (int from, int to) = Range(bucket, first, count, starts, both);
            float sum = 0;
            for (int i = from; i < to; i++)
            {
                sum += row[i];
            }

            table[(long)bucket * step] = sum * factor;
        }
    }

    /// <summary>As <see cref="Linear"/>, added to the scores of keys that are listed.</summary>
    /// <param name="scores">The scores.</param>
    /// <param name="keys">The keys' positions.</param>
    /// <param name="count">How many there are.</param>
    /// <param name="query">The query's position.</param>
    /// <param name="slope">The head's slope.</param>
    public static void LinearOfListed(float* scores, int* keys, int count, int query, float slope)
    {
        for (int j = 0; j < count; j++)
        {
            scores[j] -= slope * Math.Abs(query - keys[j]);
        }
    }

    /// <summary>As <see cref="Buckets"/>, added to the scores of keys that are listed in their order.</summary>
    /// <param name="scores">The scores.</param>
    /// <param name="keys">The keys' positions.</param>
    /// <param name="count">How many there are.</param>
    /// <param name="query">The query's position.</param>
    /// <param name="starts">The least distance of each bucket of one direction.</param>
    /// <param name="both">Whether keys behind the query have buckets of their own.</param>
    /// <param name="table">The head's number of the first bucket.</param>
    /// <param name="step">Elements from there to that of the next bucket.</param>
    /// <param name="factor">The factor.</param>
    public static void BucketsOfListed(float* scores, int* keys, int count, int query, ReadOnlySpan<int> starts, bool both, float* table, int step, float factor)
    {
        for (int j = 0, bucket = starts.Length - 1; j < count; j++)
        {
            bucket = Next(starts, both, bucket, keys[j] - query);
            scores[j] += table[BucketOf(starts, both, bucket, keys[j] - query) * step] * factor;
        }
    }

    /// <summary>The gradient of <see cref="BucketsOfListed"/>, added to what is there.</summary>
    /// <param name="cotangents">The cotangents of the scores.</param>
    /// <param name="keys">The keys' positions.</param>
    /// <param name="count">How many there are.</param>
    /// <param name="query">The query's position.</param>
    /// <param name="starts">The least distance of each bucket of one direction.</param>
    /// <param name="both">Whether keys behind the query have buckets of their own.</param>
    /// <param name="table">Where the sum of the head's first bucket is.</param>
    /// <param name="step">Elements from there to that of the next bucket.</param>
    /// <param name="factor">The factor.</param>
    public static void SumsOfListed(float* cotangents, int* keys, int count, int query, ReadOnlySpan<int> starts, bool both, float* table, int step, float factor)
    {
        for (int j = 0, bucket = starts.Length - 1; j < count; j++)
        {
            bucket = Next(starts, both, bucket, keys[j] - query);
            table[BucketOf(starts, both, bucket, keys[j] - query) * step] += cotangents[j] * factor;
        }
    }

    // The last bucket of one direction that begins at a key's distance or before, from that of a neighbour on.
    private static int Next(ReadOnlySpan<int> starts, bool both, int bucket, int relative)
    {
        int distance = relative <= 0 ? -relative : both ? relative : 0;
        while (starts[bucket] > distance)
        {
            bucket--;
        }

        while (bucket + 1 < starts.Length && starts[bucket + 1] <= distance)
        {
            bucket++;
        }

        return bucket;
    }

    private static long BucketOf(ReadOnlySpan<int> starts, bool both, int bucket, int relative) => both && relative > 0 ? bucket + starts.Length : bucket;

    // The part of a row that a bucket has.
    private static (int From, int To) Range(int bucket, int first, int count, ReadOnlySpan<int> starts, bool both)
    {
        bool behind = bucket >= starts.Length;
        int number = behind ? bucket - starts.Length : bucket;
        long least = starts[number], end = number + 1 < starts.Length ? starts[number + 1] : int.MaxValue;
        if (behind)
        {
            // The query's own position is none of those behind it.
            return Clip(Math.Max(1, least), end);
        }

        return Clip(1 - end, !both && number == 0 ? int.MaxValue : 1 - least);

        (int From, int To) Clip(long from, long to) => ((int)Math.Clamp(from - first, 0, count), (int)Math.Clamp(to - first, 0, count));
    }
}
