using System;

namespace ModelGen.Compiler.Ops;

/// <summary>Which keys a query sees that do not lie side by side, in a range that is causal.</summary>
internal abstract record KeyPattern
{
    /// <summary>As the graph printer shows it.</summary>
    public abstract string Attributes { get; }

    /// <summary>What is wrong with it in a range of such a window; null if nothing is.</summary>
    public abstract string? Problem(int? window);

    /// <summary>The most keys that one query sees of <paramref name="keys"/> in a range of such a window.</summary>
    public abstract int MostKeysOfOne(int keys, int? window);

    /// <summary>The first keys of a sequence that every later query sees: a ring keeps them.</summary>
    public virtual int Kept => 0;
}

/// <summary>Beside the window, the first <c>Count</c> keys: global attention to tokens at fixed positions (Beltagy et al. 2020, section 3.1).</summary>
internal sealed record GlobalKeys(int Count) : KeyPattern
{
    public override string Attributes => FormattableString.Invariant($"global={Count}");

    public override string? Problem(int? window) => window is null || Count < 1 || Count > KeyRange.LargestWindow ? "global keys are so many, beside a window" : null;

    public override int MostKeysOfOne(int keys, int? window) => (int)Math.Min(keys, window!.Value + 1L + Count);

    public override int Kept => Count;
}

/// <summary>The latest <c>Stride</c> keys and, of those before, every one at a multiple of that distance (Child et al. 2019, section 4.2, "strided").</summary>
internal sealed record StridedKeys(int Stride) : KeyPattern
{
    public override string Attributes => FormattableString.Invariant($"strided={Stride}");

    public override string? Problem(int? window) => window is not null || Stride < 1 || Stride > KeyRange.LargestWindow ? "a stride is one or more, and has no window" : null;

    public override int MostKeysOfOne(int keys, int? window) => (int)Math.Min(keys, Stride + (keys / (long)Stride) + 1);
}

/// <summary>
/// The keys of the query's own block of <c>Stride</c> and, of every block before, the last <c>Summary</c> (Child et al. 2019, section 4.2, "fixed").
/// </summary>
internal sealed record FixedKeys(int Stride, int Summary) : KeyPattern
{
    public override string Attributes => FormattableString.Invariant($"fixed={Stride}/{Summary}");

    public override string? Problem(int? window) => window is not null || Stride < 1 || Stride > KeyRange.LargestWindow || Summary < 1 || Summary > Stride ? "blocks have one key or more, of which so many are seen later, and no window" : null;

    public override int MostKeysOfOne(int keys, int? window) => (int)Math.Min(keys, Stride + ((keys / (long)Stride) * Summary));
}
