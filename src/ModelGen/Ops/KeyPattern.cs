using System;

namespace ModelGen.Compiler.Ops;

/// <summary>Which keys a query sees that do not lie side by side: in a causal range, of those up to its own.</summary>
internal abstract record KeyPattern
{
    /// <summary>As the graph printer shows it.</summary>
    public abstract string Attributes { get; }

    /// <summary>What is wrong with it in such a range; null if nothing is.</summary>
    public abstract string? Problem(KeyRange range);

    /// <summary>The most keys that one query sees of <paramref name="keys"/> in such a range.</summary>
    public abstract int MostKeysOfOne(int keys, KeyRange range);

    /// <summary>The keys that the queries see of <paramref name="keys"/> in such a range, shared out among them: what their work grows with.</summary>
    public virtual int KeysOfEach(int keys, KeyRange range) => MostKeysOfOne(keys, range);

    /// <summary>The first keys of a sequence that every later query sees: a ring keeps them.</summary>
    public virtual int Kept => 0;
}

/// <summary>
/// Beside the window, the first <c>Count</c> keys, and for the first <c>Count</c> queries, all keys: global attention of tokens at fixed positions, which is symmetric
/// (Beltagy et al. 2020, section 3.1).
/// </summary>
internal sealed record GlobalKeys(int Count) : KeyPattern
{
    public override string Attributes => FormattableString.Invariant($"global={Count}");

    public override string? Problem(KeyRange range) => range.Window is null || Count < 1 || Count > KeyRange.LargestWindow ? "global keys are so many, beside a window" : null;

    public override int MostKeysOfOne(int keys, KeyRange range) => range.IsCausal ? (int)Math.Min(keys, range.Window!.Value + 1L + Count) : keys;

    public override int KeysOfEach(int keys, KeyRange range) => range.IsCausal ? MostKeysOfOne(keys, range) : (int)Math.Min(keys, 1 + (2L * range.Window!.Value) + (2L * Count));

    public override int Kept => Count;
}

/// <summary>The nearest keys, at less than the distance <c>Stride</c>, and of the others every one at a multiple of it (Child et al. 2019, section 4.2, "strided").</summary>
internal sealed record StridedKeys(int Stride) : KeyPattern
{
    public override string Attributes => FormattableString.Invariant($"strided={Stride}");

    public override string? Problem(KeyRange range) => range.Window is not null || Stride < 1 || Stride > KeyRange.LargestWindow ? "a stride is one or more, and has no window" : null;

    public override int MostKeysOfOne(int keys, KeyRange range) => (int)Math.Min(keys, ((range.IsCausal ? 1L : 2L) * Stride) + (keys / (long)Stride) + 1);
}

/// <summary>
/// The keys of the query's own block of <c>Stride</c> and, of every other one, the last <c>Summary</c> (Child et al. 2019, section 4.2, "fixed").
/// </summary>
internal sealed record FixedKeys(int Stride, int Summary) : KeyPattern
{
    public override string Attributes => FormattableString.Invariant($"fixed={Stride}/{Summary}");

    public override string? Problem(KeyRange range) => range.Window is not null || Stride < 1 || Stride > KeyRange.LargestWindow || Summary < 1 || Summary > Stride ? "blocks have one key or more, of which so many are seen later, and no window" : null;

    public override int MostKeysOfOne(int keys, KeyRange range) => (int)Math.Min(keys, Stride + ((keys / (long)Stride) * Summary));
}
