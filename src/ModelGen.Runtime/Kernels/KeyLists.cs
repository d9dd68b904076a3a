using System.ComponentModel;

namespace ModelGen.Runtime;

/// <summary>The keys that a query of attention sees, in their order, where they do not lie side by side. Each gives how many there are.</summary>
[EditorBrowsable(EditorBrowsableState.Never)]
public static unsafe class KeyLists
{
    /// <summary>A window, and the first keys (Beltagy et al., "Longformer: The Long-Document Transformer", 2020, section 3.1).</summary>
    /// <param name="keys">Where the list goes.</param>
    /// <param name="query">The query's position.</param>
    /// <param name="window">The largest distance that the window has.</param>
    /// <param name="first">How many of the first keys are seen as well.</param>
    public static int Window(int* keys, int query, int window, int first)
    {
        int low = Math.Max(0, query - window), n = Append(keys, 0, 0, Math.Min(first, low));
        return Append(keys, n, low, query + 1);
    }

    /// <summary>The latest keys, as many as the stride, and of those before, every one at a multiple of that distance (Child et al., "Generating Long Sequences with Sparse Transformers", 2019, section 4.2).</summary>
    /// <param name="keys">Where the list goes.</param>
    /// <param name="query">The query's position.</param>
    /// <param name="stride">The stride.</param>
    public static int Strided(int* keys, int query, int stride)
    {
        int n = 0;
        for (int key = query % stride; key <= query - stride; key += stride)
        {
            keys[n++] = key;
        }

        return Append(keys, n, Math.Max(0, query - stride + 1), query + 1);
    }

    /// <summary>The keys of the query's own block, and the last ones of every block before (Child et al. 2019, section 4.2).</summary>
    /// <param name="keys">Where the list goes.</param>
    /// <param name="query">The query's position.</param>
    /// <param name="stride">The keys of a block.</param>
    /// <param name="summary">How many of a block's last keys are seen later.</param>
    public static int Fixed(int* keys, int query, int stride, int summary)
    {
        int n = 0, own = query / stride * stride;
        for (int block = 0; block < own; block += stride)
        {
            n = Append(keys, n, block + stride - summary, block + stride);
        }

        return Append(keys, n, own, query + 1);
    }

    /// <summary>As <see cref="Window(int*, int, int, int)"/>, on both sides; the first queries see all keys.</summary>
    /// <param name="keys">Where the list goes.</param>
    /// <param name="query">The query's position.</param>
    /// <param name="window">The largest distance that the window has.</param>
    /// <param name="first">How many of the first keys are seen as well, and how many of the first queries see all keys.</param>
    /// <param name="count">How many keys there are.</param>
    public static int Window(int* keys, int query, int window, int first, int count)
    {
        if (query < first)
        {
            return Append(keys, 0, 0, count);
        }

        int low = Math.Max(0, query - window), n = Append(keys, 0, 0, Math.Min(Math.Min(first, low), count));
        return Append(keys, n, low, Math.Min(query + window + 1, count));
    }

    /// <summary>As <see cref="Strided(int*, int, int)"/>, on both sides.</summary>
    /// <param name="keys">Where the list goes.</param>
    /// <param name="query">The query's position.</param>
    /// <param name="stride">The stride.</param>
    /// <param name="count">How many keys there are.</param>
    public static int Strided(int* keys, int query, int stride, int count)
    {
        int n = 0;
        for (int key = query % stride; key <= query - stride && key < count; key += stride)
        {
            keys[n++] = key;
        }

        n = Append(keys, n, Math.Max(0, query - stride + 1), Math.Min(query + stride, count));
        for (int key = query + stride; key < count; key += stride)
        {
            keys[n++] = key;
        }

        return n;
    }

    /// <summary>As <see cref="Fixed(int*, int, int, int)"/>, with the blocks behind.</summary>
    /// <param name="keys">Where the list goes.</param>
    /// <param name="query">The query's position.</param>
    /// <param name="stride">The keys of a block.</param>
    /// <param name="summary">How many of a block's last keys are seen by all others.</param>
    /// <param name="count">How many keys there are.</param>
    public static int Fixed(int* keys, int query, int stride, int summary, int count)
    {
        int n = 0, own = query / stride * stride;
        for (int block = 0; block < count; block += stride)
        {
            n = Append(keys, n, block == own ? block : block + stride - summary, Math.Min(block + stride, count));
        }

        return n;
    }

    private static int Append(int* keys, int n, int from, int to)
    {
        for (int key = from; key < to; key++)
        {
            keys[n++] = key;
        }

        return n;
    }
}
