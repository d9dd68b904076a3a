using System;
using System.Collections.Generic;
using System.Globalization;
using System.Linq;
using ModelGen.Compiler.Graph;

namespace ModelGen.Compiler.Ops;

/// <summary>What attention adds to a scaled score before the softmax: a number for each head and each position of the key relative to the query's.</summary>
internal abstract record ScoreBias
{
    /// <summary>As the graph printer shows it.</summary>
    public abstract string Attributes { get; }

    /// <summary>The rows of the learned table [rows, heads] that it is looked up in; 0 where nothing is learned.</summary>
    public virtual int TableRows => 0;
}

/// <summary>Attention with linear biases (Press et al. 2022): −m·|distance| with a slope m for each head, from a geometric sequence.</summary>
internal sealed record AlibiBias : ScoreBias
{
    public override string Attributes => "alibi";

    /// <summary>
    /// The slopes of the paper: 2^(−8/n), 2^(−16/n), … for n heads; where n is no power of two, those of the next lower one, and then every
    /// second one of twice as many.
    /// </summary>
    public static IReadOnlyList<double> Slopes(int heads)
    {
        int lower = 1;
        while (2 * lower <= heads)
        {
            lower *= 2;
        }

        return [.. Enumerable.Range(1, heads).Select(h => h <= lower ? Math.Pow(2, -8.0 * h / lower) : Math.Pow(2, -8.0 * ((2 * (h - lower)) - 1) / (2 * lower)))];
    }
}

/// <summary>
/// A learned number for each head and each bucket of relative positions (Raffel et al. 2020, section 2.1): short distances have a bucket each, longer
/// ones share buckets that grow with the logarithm of the distance up to <c>MaxDistance</c>, from which on there is one. Where keys behind the query count too, they have
/// the second half of the buckets.
/// </summary>
internal sealed record RelativeBias(int Buckets, int MaxDistance, bool IsBidirectional) : ScoreBias
{
    public override string Attributes => string.Format(CultureInfo.InvariantCulture, "relative={0}/{1}{2}", Buckets, MaxDistance, IsBidirectional ? " both" : "");

    public override int TableRows => Buckets;

    /// <summary>The buckets of one direction.</summary>
    public int BucketsOfOne => IsBidirectional ? Buckets / 2 : Buckets;

    /// <summary>The least distance of each bucket of one direction; buckets that are too narrow for a whole number have that of the next.</summary>
    public IReadOnlyList<int> Starts
    {
        get
        {
            int count = BucketsOfOne, exact = count / 2;
            var starts = new int[count];
            for (int bucket = 1; bucket < count; bucket++)
            {
                // Buckets grow with the distance, which may be large: the least one is found by halves.
                int least = starts[bucket - 1], most = MaxDistance;
                while (least < most)
                {
                    int middle = least + ((most - least) / 2);
                    (least, most) = BucketOf(middle) < bucket ? (middle + 1, most) : (least, middle);
                }

                starts[bucket] = least;
            }

            return starts;

            int BucketOf(int distance) => distance < exact || exact == 0 ? Math.Min(distance, count - 1)
                : Math.Min(count - 1, exact + (int)Math.Floor((Math.Log((double)distance / exact) / Math.Log((double)MaxDistance / exact) * (count - exact)) + 1e-9));
        }
    }

    /// <summary>What is wrong with it; null if nothing is.</summary>
    public string? Problem => Buckets < (IsBidirectional ? 4 : 2) || (IsBidirectional && Buckets % 2 != 0) ? $"{Buckets} buckets" : MaxDistance <= BucketsOfOne / 2 ? $"buckets up to a distance of {MaxDistance}" : null;
}
