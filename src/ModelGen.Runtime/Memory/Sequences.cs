namespace ModelGen;

/// <summary>
/// What sessions and readers of files ask of short sequences, at once and as arrays, so that a published program needs no LINQ: its iterators exist for every kind
/// of source and element, a quarter of a megabyte for a program that loads a model.
/// </summary>
internal static class Sequences
{
    public static TResult[] Map<T, TResult>(this IEnumerable<T> source, Func<T, TResult> selector)
    {
        TResult[] results = [];
        int count = 0;
        foreach (T item in source)
        {
            Add(ref results, ref count, selector(item));
        }

        return Whole(results, count);
    }

    public static TResult[] Map<T, TResult>(this IEnumerable<T> source, Func<T, int, TResult> selector)
    {
        int index = 0;
        return source.Map(item => selector(item, index++));
    }

    public static T[] Filter<T>(this IEnumerable<T> source, Func<T, bool> predicate)
    {
        T[] results = [];
        int count = 0;
        foreach (T item in source)
        {
            if (predicate(item))
            {
                Add(ref results, ref count, item);
            }
        }

        return Whole(results, count);
    }

    /// <summary>The first items, or all if they are fewer.</summary>
    public static T[] Leading<T>(this IEnumerable<T> source, int count)
    {
        T[] results = [];
        int taken = 0;
        foreach (T item in source)
        {
            if (taken == count)
            {
                break;
            }

            Add(ref results, ref taken, item);
        }

        return Whole(results, taken);
    }

    public static bool Has<T>(this IEnumerable<T> source, Func<T, bool> predicate)
    {
        foreach (T item in source)
        {
            if (predicate(item))
            {
                return true;
            }
        }

        return false;
    }

    public static int CountOf<T>(this IEnumerable<T> source, Func<T, bool> predicate)
    {
        int count = 0;
        foreach (T item in source)
        {
            count += predicate(item) ? 1 : 0;
        }

        return count;
    }

    public static T? FirstOf<T>(this IEnumerable<T> source, Func<T, bool> predicate)
    {
        foreach (T item in source)
        {
            if (predicate(item))
            {
                return item;
            }
        }

        return default;
    }

    public static TSum Fold<T, TSum>(this IEnumerable<T> source, TSum start, Func<TSum, T, TSum> add)
    {
        foreach (T item in source)
        {
            start = add(start, item);
        }

        return start;
    }

    public static Dictionary<string, TValue> ToTable<T, TValue>(this IEnumerable<T> source, Func<T, string> key, Func<T, TValue> value)
    {
        var results = new Dictionary<string, TValue>(StringComparer.Ordinal);
        foreach (T item in source)
        {
            results.Add(key(item), value(item));
        }

        return results;
    }

    private static void Add<T>(ref T[] results, ref int count, T item)
    {
        if (count == results.Length)
        {
            Array.Resize(ref results, Math.Max(4, 2 * count));
        }

        results[count++] = item;
    }

    private static T[] Whole<T>(T[] results, int count)
    {
        Array.Resize(ref results, count);
        return results;
    }
}
