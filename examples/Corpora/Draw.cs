using ModelGen;

namespace Corpora;

/// <summary>Random choices that are the same for the same seed, everywhere.</summary>
internal sealed class Draw(ulong seed, ulong stream = 0)
{
    private CounterRandom _random = new(seed, stream);

    public int Below(int count) => _random.NextInt32(count);

    public bool Chance(int percent) => _random.NextInt32(100) < percent;

    public T One<T>(IReadOnlyList<T> choices) => choices[_random.NextInt32(choices.Count)];

    /// <summary>One that is none of those.</summary>
    public T Other<T>(IReadOnlyList<T> choices, params ReadOnlySpan<T> not)
    {
        while (true)
        {
            T choice = One(choices);
            if (!not.Contains(choice))
                return choice;
        }
    }

    public double Unit() => _random.NextDouble();

    public double Normal() => _random.NextNormal();

    public void Shuffle<T>(Span<T> items) => _random.Shuffle(items);
}

/// <summary>Which part of a corpus a text belongs to. It depends on the text alone, so that no text is ever in both.</summary>
internal static class Partition
{
    /// <summary>About one text in ten is held out (FNV-1a, Fowler, Noll and Vo, then mixed so that short texts spread).</summary>
    public static bool IsHeldOut(ReadOnlySpan<char> text)
    {
        ulong hash = 14695981039346656037;
        foreach (char c in text)
            hash = (hash ^ c) * 1099511628211;
        hash = (hash ^ (hash >> 32)) * 0x9E3779B97F4A7C15;
        return (hash >> 32) % 10 == 0;
    }
}
