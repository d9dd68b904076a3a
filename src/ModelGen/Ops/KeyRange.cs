using System;
using System.Collections.Generic;
using System.Linq;
using ModelGen.Compiler.Graph;

namespace ModelGen.Compiler.Ops;

/// <summary>
/// Which keys each query of attention sees. Keys stand at positions 0, 1, … of their sequence, and query t at position p = offset + t; the
/// offset is zero, or what a cache held before the run. A query sees the keys that exist, as far as the rules below let it; one that sees
/// none gives zeros, and has no gradient.
/// </summary>
internal sealed record KeyRange
{
    /// <summary>Every query sees every key.</summary>
    public static KeyRange All { get; } = new();

    /// <summary>A query sees the keys up to its own position.</summary>
    public static KeyRange Causal { get; } = new() { IsCausal = true };

    /// <summary>Whether a query sees no key beyond its own position.</summary>
    public bool IsCausal { get; init; }

    /// <summary>The largest distance in positions between a query and a key that it sees; null for any.</summary>
    public int? Window { get; init; }

    /// <summary>What a query sees beside or in the place of the window; null for nothing.</summary>
    public KeyPattern? Pattern { get; init; }

    /// <summary>
    /// Whether keys and values are caches [N, ..], or [B, N, ..] for several sequences, whose first offset + T rows are filled. The offset is
    /// the run's position, unless <see cref="HasPositions"/>.
    /// </summary>
    public bool IsCached { get; init; }

    /// <summary>Whether the caches are rings: position p lies in row p modulo N; behind those that a pattern keeps, which stay where they are.</summary>
    public bool IsRing { get; init; }

    /// <summary>
    /// Whether the keys [S, N, ..] are those of more sequences, of which an input i32 [B] names one for each of the batch: caches, with a
    /// position for each, or keys that exist already, which no query has a position among.
    /// </summary>
    public bool HasSequences { get; init; }

    /// <summary>Whether an input i32 [B] gives each sequence's offset in its cache.</summary>
    public bool HasPositions { get; init; }

    /// <summary>Whether an input i32 [B] says how many queries each sequence has; those behind see nothing.</summary>
    public bool HasQueryLengths { get; init; }

    /// <summary>Whether an input i32 [B] says how many keys each sequence has, in a cache too; those behind do not exist.</summary>
    public bool HasKeyLengths { get; init; }

    /// <summary>Whether sequences of a batch differ in their ranges.</summary>
    public bool VariesBySequence => HasSequences || HasPositions || HasQueryLengths || HasKeyLengths;

    /// <summary>What the inputs behind queries, keys and values are called, in their order.</summary>
    public IReadOnlyList<string> InputNames =>
    [
        .. HasSequences ? ["sequences"] : Array.Empty<string>(),
        .. HasPositions ? ["positions"] : Array.Empty<string>(),
        .. HasQueryLengths ? ["queryLengths"] : Array.Empty<string>(),
        .. HasKeyLengths ? ["keyLengths"] : Array.Empty<string>(),
    ];

    /// <summary>The attributes as the graph printer shows them.</summary>
    public string Attributes => string.Concat(
        IsCausal ? " causal" : "", Window is { } window ? $" window={window}" : "", Pattern is null ? "" : " " + Pattern.Attributes, IsCached ? " cached" : "", IsRing ? " ring" : "", HasSequences ? " sequences" : "",
        HasPositions ? " positions" : "", HasQueryLengths ? " query_lengths" : "", HasKeyLengths ? " key_lengths" : "");

    /// <summary>The largest distance: what is added to a position must not overflow.</summary>
    public const int LargestWindow = 1 << 29;

    /// <summary>The first keys of a sequence that a ring keeps.</summary>
    public int Kept => Pattern?.Kept ?? 0;

    /// <summary>The most keys that one query sees of <paramref name="keys"/>.</summary>
    public int MostKeysOfOne(int keys) => Pattern is not null ? Pattern.MostKeysOfOne(keys, this) : (int)Math.Min(keys, Window is { } window ? (IsCausal ? window : 2L * window) + 1 : keys);

    /// <summary>The keys that the queries see of <paramref name="keys"/>, shared out among them.</summary>
    public int KeysOfEach(int keys) => Pattern?.KeysOfEach(keys, this) ?? MostKeysOfOne(keys);

    /// <summary>The largest distances to keys before and behind a query that any of so many queries sees of so many keys.</summary>
    public (int Before, int Behind) Distances(int queries, int keys)
        => ((int)Math.Min(Window ?? int.MaxValue, IsRing ? int.MaxValue : Math.Max(queries, keys) - 1L), IsCausal ? 0 : Math.Min(Window ?? int.MaxValue, keys - 1));

    /// <summary>The most keys that any of <paramref name="queries"/> neighbours sees.</summary>
    public int MostKeys(int queries, int keys) => (int)Math.Min(keys, Window is { } window ? (IsCausal ? window : 2L * window) + queries : keys);

    /// <summary>The least number that an index of the input called <paramref name="name"/> may not be, of sequences of so many queries and keys, and of so many caches; null for none.</summary>
    public int? LimitOf(string name, int queries, int keys, int caches) => name switch
    {
        "sequences" => caches,
        "positions" => IsRing ? null : keys,
        "queryLengths" => queries + 1,
        _ => keys + 1,
    };

    /// <summary>What is wrong with the range for queries [B, T, ..] and keys [B, S, ..] or [S, ..]; null if nothing is.</summary>
    public string? Problem(Shape queries, Shape keys)
    {
        Dim batch = queries[0], time = queries[1];
        bool perSequence = keys.Rank == 3 && keys[0] == batch;
        return HasSequences && !(keys.Rank == 3 && (IsCached ? HasPositions : !IsCausal && Window is null && Pattern is null)) ? "sequences have caches and positions of their own"
            : Window < 0 ? "a window of less than the query's own position"
            : Pattern is not null && IsCached && !IsCausal ? "a pattern over a cache is of what came before"
            : Pattern?.Problem(this) is { } problem ? problem
            : Window > LargestWindow ? $"a window beyond {LargestWindow}, which is beyond any sequence"
            : IsCached ? !(perSequence || HasSequences || (keys.Rank == 2 && batch == (Dim)1)) ? "there is no cache for each sequence"
                : IsRing && !(IsCausal && Window is { } window && !HasKeyLengths && Kept + window + (long)time.Maximum <= keys[-2].Maximum) ? "a ring holds the window of every query of a run, and no lengths of keys"
                : null
            : !(perSequence || HasSequences) ? "batches differ"
            : IsRing || HasPositions ? "rings and positions are those of caches"
            : (IsCausal || Window is not null || Pattern is not null) && time != keys[1] ? "queries and keys of one sequence are as many"
            : null;
    }
}
