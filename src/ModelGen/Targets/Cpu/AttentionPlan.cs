using System;
using System.Collections.Generic;
using System.Linq;
using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Kernels;
using ModelGen.Compiler.Ops;

namespace ModelGen.Compiler.Targets.Cpu;

/// <summary>How attention is computed.</summary>
internal enum AttentionAlgorithm
{
    /// <summary>Tiles of queries meet transposed keys, and their probabilities the values.</summary>
    Tiles,

    /// <summary>One query: keys and values are read once, head after head at each position.</summary>
    SingleQuery,

    /// <summary>One query whose heads are narrower than a vector and share one.</summary>
    SharedHeads,

    /// <summary>One query whose heads are so narrow and few that a vector holds a score of each.</summary>
    NarrowHeads,

    /// <summary>One query after the other over a list of the keys that it sees, forwards and backwards.</summary>
    Listed,

    /// <summary>Backwards: probabilities are formed again, a block of queries at a time.</summary>
    Gradient,
}

/// <summary>Attention or its gradient at one vector width.</summary>
/// <param name="Algorithm">How it is computed.</param>
/// <param name="Tile">The register tile.</param>
/// <param name="ScoreStride">Elements from one row of scores to the next and, unless <see cref="KeyStride"/> says otherwise, of transposed keys.</param>
/// <param name="PaddedHead">Elements of a head's row that is copied for the tile.</param>
/// <param name="QueryBlock">Queries that share one pass over the keys, backwards; otherwise 0.</param>
/// <param name="Scratch">A worker's own memory.</param>
internal sealed record AttentionScheme(AttentionAlgorithm Algorithm, RegisterTile Tile, int ScoreStride, int PaddedHead, int QueryBlock, ScratchLayout Scratch)
{
    /// <summary>Elements from one row of transposed keys to the next.</summary>
    public int KeyStride { get; init; } = ScoreStride;
}

/// <summary>Attention or its gradient.</summary>
internal sealed class AttentionPlan : KernelPlan
{
    /// <summary>Names of the parts of a worker's memory.</summary>
    public const string KeysTransposed = "keysTransposed", ValuesTransposed = "valuesTransposed", KeyRows = "keyRows", Values = "values", Scores = "scores",
        Probabilities = "probabilities", Cotangents = "cotangents", Queries = "queryBlock", OutputCotangents = "outputBlock", Tile = "tile", Biases = "biases", BiasCotangents = "biasCotangents", Listed = "listed", Rows = "rows", Widened = "widened";

    // So many blocks of queries compute an eighth more than what causal attention needs.
    private const int CausalBlocks = 8;

    /// <summary>Rows of keys, or of values, that a single query meets together.</summary>
    public const int RowsTogether = 4;

    // A line more spreads rows over the cache's sets.
    private const int Line = 16;

    private readonly Dictionary<int, AttentionScheme> _schemes;

    public AttentionPlan(AttentionKernel kernel)
        => _schemes = RegisterTile.Heads.ToDictionary(t => t.Lanes, t => Forward(kernel, t));

    public AttentionPlan(AttentionWeightsKernel kernel)
        => _schemes = RegisterTile.Heads.ToDictionary(t => t.Lanes, t =>
        {
            if (kernel.Op.Range.Pattern is not null)
            {
                return OfLists(kernel.Op.Range, kernel.MaximumKeys, t, Scores);
            }

            int stride = StrideOfScores(KeysOf(kernel.Op.Range, kernel.Queries, kernel.MaximumKeys, t), t);
            return new AttentionScheme(AttentionAlgorithm.Tiles, t, stride, 0, 0, ScratchLayout.Of(
                (KeysTransposed, (long)kernel.Op.HeadDim * stride),
                (Scores, (long)stride * t.Rows),
                (Biases, BiasesOf(kernel.Op, kernel.Queries.Maximum, kernel.MaximumKeys))));
        });

    public AttentionPlan(AttentionGradientKernel kernel, CacheSizes caches)
        => _schemes = RegisterTile.Heads.ToDictionary(t => t.Lanes, t => Backward(kernel, t, caches));

    /// <summary>What is done at each width, the widest first.</summary>
    public IReadOnlyList<AttentionScheme> Schemes => [.. _schemes.Values.OrderByDescending(s => s.Tile.Lanes)];

    /// <summary>What is done at vectors of <paramref name="lanes"/> elements.</summary>
    public AttentionScheme Scheme(int lanes) => _schemes[lanes];

    /// <inheritdoc/>
    public override ScratchLayout Scratch(int lanes) => Scheme(lanes).Scratch;

    private static AttentionScheme Forward(AttentionKernel kernel, RegisterTile tile)
    {
        if (kernel.Range.Pattern is not null)
        {
            return OfLists(kernel.Range, kernel.MaximumKeys, tile, Scores);
        }

        int stride = StrideOfScores(KeysOf(kernel.Range, kernel.Queries, kernel.MaximumKeys, tile), tile), padded = Padded(kernel.Op.HeadDim, tile);
        KernelOperand keys = kernel.Operands[1];
        bool isRounded = !keys.Access.Format.IsPlain;
        if (kernel.Queries == RowExtent.Literal(1) && isRounded)
        {
            return new AttentionScheme(AttentionAlgorithm.SingleQuery, tile, stride, padded, 0, ScratchLayout.Of(
                (Scores, (long)stride * kernel.Op.Heads),
                (Biases, kernel.Op.Bias is null ? 0 : stride),
                (Widened, RowsTogether * (long)keys.Access.RowStride)));
        }

        if (kernel.Queries == RowExtent.Literal(1))
        {
            // Biases are added to scores of one head that lie side by side.
            AttentionAlgorithm algorithm = kernel.Op.Bias is null && HeadsFillVectors(kernel.Op, tile.Lanes) ? AttentionAlgorithm.NarrowHeads
                : HeadsShareVectors(kernel.Op, tile.Lanes) ? AttentionAlgorithm.SharedHeads : AttentionAlgorithm.SingleQuery;
            return new AttentionScheme(algorithm, tile, stride, padded, 0, ScratchLayout.Of((Scores, (long)stride * kernel.Op.Heads), (Biases, kernel.Op.Bias is null ? 0 : stride)));
        }

        return new AttentionScheme(AttentionAlgorithm.Tiles, tile, stride, padded, 0, ScratchLayout.Of(
            (KeysTransposed, (long)kernel.Op.HeadDim * stride),
            (Values, (long)stride * padded),
            (Scores, (long)stride * tile.Rows),
            (Tile, tile.Rows * tile.Columns),
            (Biases, BiasesOf(kernel.Op, kernel.Queries.Maximum, kernel.MaximumKeys)),
            (Widened, isRounded ? tile.Columns * (long)kernel.Op.HeadDim : 0)));
    }

    private static AttentionScheme Backward(AttentionGradientKernel kernel, RegisterTile tile, CacheSizes caches)
    {
        if (kernel.Range.Pattern is not null)
        {
            return OfLists(kernel.Range, kernel.Keys, tile, Probabilities, Cotangents);
        }

        long stride = StrideOfScores(kernel.Keys, tile), padded = Padded(kernel.Op.HeadDim, tile);

        // Every pass adds to all keys' cotangents, so there should be few; but a block of queries and its output's cotangents stay in the
        // first-level cache, and causal attention computes half a block's square in vain.
        // A block's queries all meet what any of them sees, a block more than a window.
        int most = Math.Min(caches.L1 / (2 * 4 * (int)padded), kernel.Range.IsCausal ? kernel.Queries / CausalBlocks : kernel.Queries + RegisterTile.WholeRows - 1);
        most = Math.Min(most, Math.Max(kernel.Range.Window ?? most, RegisterTile.WholeRows));
        int block = Math.Max(1, most / RegisterTile.WholeRows) * RegisterTile.WholeRows;

        // What a block sees begins in any column of a tile.
        long scores = kernel.Range.Window is null ? stride : StrideOfScores(Math.Min(kernel.Keys, kernel.Range.MostKeys(block, kernel.Keys) + tile.Columns), tile);
        return new AttentionScheme(AttentionAlgorithm.Gradient, tile, (int)scores, (int)padded, block, ScratchLayout.Of(
            (KeysTransposed, kernel.Op.HeadDim * stride),
            (ValuesTransposed, kernel.Op.HeadDim * stride),
            (KeyRows, stride * padded),
            (Probabilities, block * scores),
            (Cotangents, block * scores),
            (Queries, block * padded),
            (OutputCotangents, block * padded),
            (Tile, tile.Rows * tile.Columns),
            (Biases, BiasesOf(kernel.Op, kernel.Queries, kernel.Keys)),
            (BiasCotangents, kernel.Op.HasTable ? BiasesOf(kernel.Op, kernel.Queries, kernel.Keys) : 0)))
        { KeyStride = (int)stride };
    }

    // Lists of keys as long as one query's, and rows of as many numbers.
    private static AttentionScheme OfLists(KeyRange range, int keys, RegisterTile tile, params string[] rows)
    {
        int most = StrideOfScores(range.MostKeysOfOne(range.IsRing ? int.MaxValue : keys), tile);
        return new AttentionScheme(AttentionAlgorithm.Listed, tile, most, 0, 0, ScratchLayout.Of([.. rows.Select(row => (row, (long)most)), (Listed, most), (Rows, range.IsRing ? most : 0)]));
    }

    // A ring's rows are copied in tiles that end where the ring does, and the last of which may begin anywhere.
    private static int KeysOf(KeyRange range, RowExtent queries, int keys, RegisterTile tile) => range.MostKeys(queries.Maximum, keys) + (range.IsRing ? tile.Columns : 0);

    private static int BiasesOf(Attention attention, int queries, int keys)
    {
        (int before, int behind) = attention.Range.Distances(queries, keys);
        return attention.Bias is null ? 0 : before + 1 + behind;
    }

    private static int StrideOfScores(int keys, RegisterTile tile) => Padded(keys, tile) + Line;

    private static int Padded(int columns, RegisterTile tile) => (columns + tile.Columns - 1) / tile.Columns * tile.Columns;

    // Whether several heads fill a vector.
    private static bool HeadsShareVectors(Attention attention, int lanes)
        => attention.Heads == attention.KeyValueHeads && attention.HeadDim >= 4 && attention.HeadDim < lanes && lanes % attention.HeadDim == 0 && attention.Heads % (lanes / attention.HeadDim) == 0;

    // Whether heads fill vectors evenly, those of keys and those of scores.
    private static bool HeadsFillVectors(Attention attention, int lanes)
        => attention.HeadDim is 4 or 8 or 16 && lanes % attention.HeadDim == 0 && attention.KeyValueHeads % (lanes / attention.HeadDim) == 0 && lanes % attention.Heads == 0;
}
