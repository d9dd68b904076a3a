using System.ComponentModel;
using System.Runtime.CompilerServices;

namespace ModelGen.Runtime;

/// <summary>Where the register tiles of attention go: rows of a head, whose columns need not fill vectors.</summary>
[EditorBrowsable(EditorBrowsableState.Never)]
public static unsafe class AttentionTiles
{
    /// <summary>Stores rows of a tile, each times a factor.</summary>
    /// <typeparam name="TVector">The vectors of the tile.</typeparam>
    /// <param name="tile">The tile's first row.</param>
    /// <param name="tileStep">Elements from one row of the tile to the next.</param>
    /// <param name="rows">Rows.</param>
    /// <param name="columns">Elements of a row: of the tile, those in front.</param>
    /// <param name="target">Where the first row goes.</param>
    /// <param name="targetStep">Elements from there to where the next one goes.</param>
    /// <param name="factors">A factor for each row.</param>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Scale<TVector>(float* tile, int tileStep, int rows, int columns, float* target, long targetStep, float* factors)
        where TVector : struct, IVector<TVector>
    {
        for (int row = 0; row < rows; row++)
        {
            TVector factor = TVector.Create(factors[row]);
            int j = 0;
            for (; j <= columns - TVector.Lanes; j += TVector.Lanes)
            {
                TVector.Store(TVector.Load(tile + j) * factor, target + j);
            }

            if (j < columns)
            {
                TVector.StoreTail(TVector.Load(tile + j) * factor, target + j, columns - j);
            }

            tile += tileStep;
            target += targetStep;
        }
    }

    /// <summary>A query's weights from its scores, exp(scale · score − logSumExp), and zeros for the keys that it does not see.</summary>
    /// <typeparam name="TVector">The vectors to compute with.</typeparam>
    /// <param name="scores">The scores, of which a last vector is read whole.</param>
    /// <param name="valid">How many keys it sees.</param>
    /// <param name="scale">The factor of the scores.</param>
    /// <param name="logSumExp">log Σ exp(scale · score).</param>
    /// <param name="target">Where the weights go.</param>
    /// <param name="total">All keys.</param>
    /// <param name="hasSink">Whether the log-sum-exp is of a sink's score too.</param>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Probabilities<TVector>(float* scores, int valid, float scale, float logSumExp, float* target, int total, bool hasSink = false)
        where TVector : struct, IVector<TVector>
    {
        int j = 0;
        if (valid == 1 && !hasSink)
        {
            // The softmax of one score is 1 whatever rounding says.
            target[j++] = 1;
        }

        TVector factor = TVector.Create(scale), shift = TVector.Create(logSumExp);
        for (; j <= valid - TVector.Lanes; j += TVector.Lanes)
        {
            TVector.Store(TVector.Exp((TVector.Load(scores + j) * factor) - shift), target + j);
        }

        if (j < valid)
        {
            TVector.StoreTail(TVector.Exp((TVector.Load(scores + j) * factor) - shift), target + j, valid - j);
        }

        new Span<float>(target + valid, total - valid).Clear();
    }

    /// <summary>Stores rows of a tile.</summary>
    /// <inheritdoc cref="Scale"/>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Store<TVector>(float* tile, int tileStep, int rows, int columns, float* target, long targetStep)
        where TVector : struct, IVector<TVector>
    {
        for (int row = 0; row < rows; row++)
        {
            int j = 0;
            for (; j <= columns - TVector.Lanes; j += TVector.Lanes)
            {
                TVector.Store(TVector.Load(tile + j), target + j);
            }

            if (j < columns)
            {
                TVector.StoreTail(TVector.Load(tile + j), target + j, columns - j);
            }

            tile += tileStep;
            target += targetStep;
        }
    }

    /// <summary>Adds rows of a tile to what is there.</summary>
    /// <inheritdoc cref="Scale"/>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Add<TVector>(float* tile, int tileStep, int rows, int columns, float* target, long targetStep)
        where TVector : struct, IVector<TVector>
    {
        for (int row = 0; row < rows; row++)
        {
            int j = 0;
            for (; j <= columns - TVector.Lanes; j += TVector.Lanes)
            {
                TVector.Store(TVector.Load(target + j) + TVector.Load(tile + j), target + j);
            }

            if (j < columns)
            {
                TVector.StoreTail(TVector.LoadTail(target + j, columns - j) + TVector.Load(tile + j), target + j, columns - j);
            }

            tile += tileStep;
            target += targetStep;
        }
    }

    /// <summary>The inner product of two rows, of which the second is filled up to whole vectors.</summary>
    /// <typeparam name="TVector">The vectors to compute with.</typeparam>
    /// <param name="a">The first row.</param>
    /// <param name="b">The second row.</param>
    /// <param name="columns">Elements of a row.</param>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static float Product<TVector>(float* a, float* b, int columns)
        where TVector : struct, IVector<TVector>
    {
        TVector products = TVector.Zero;
        int j = 0;
        for (; j <= columns - TVector.Lanes; j += TVector.Lanes)
        {
            products = TVector.MultiplyAdd(TVector.Load(a + j), TVector.Load(b + j), products);
        }

        if (j < columns)
        {
            products = TVector.MultiplyAdd(TVector.LoadTail(a + j, columns - j), TVector.Load(b + j), products);
        }

        return TVector.Sum(products);
    }
}
