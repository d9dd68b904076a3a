using System.ComponentModel;
using System.Runtime.CompilerServices;

namespace ModelGen.Runtime;

/// <summary>
/// What a chunk of steps of a linear recurrence is beside its loops (Dao and Gu 2024, section 6; Yang et al. 2024, section 3.3): products of small matrices whose rows are filled up to whole vectors, and what decays between two steps.
/// </summary>
[EditorBrowsable(EditorBrowsableState.Never)]
public static unsafe class RecurrenceChunks
{
    // Rows that meet what came before them in products; within such a block, one meets the other.
    private const int Block = 8;

    /// <summary>Sums of the logarithms of decays up to each step, and what is kept from the start to each step, and from there to the end.</summary>
    /// <param name="logs">The logarithm of the first step's decay.</param>
    /// <param name="logStep">Elements from one to the next.</param>
    /// <param name="steps">The steps.</param>
    /// <param name="sums">Where the sums go.</param>
    /// <param name="fromStart">Where the decays from the start to each step go.</param>
    /// <param name="toEnd">Where the decays from each step to the end go.</param>
    /// <returns>What is kept from the start to the end.</returns>
    public static float Decays(float* logs, long logStep, int steps, float* sums, float* fromStart, float* toEnd)
    {
        float sum = 0;
        for (int i = 0; i < steps; i++)
        {
            sum += logs[i * logStep];
            sums[i] = sum;
        }

        for (int i = 0; i < steps; i++)
        {
            fromStart[i] = VectorMath.Exp(sums[i]);
            toEnd[i] = VectorMath.Exp(sum - sums[i]);
        }

        return fromStart[steps - 1];
    }

    /// <summary>c = a · b, or c += a · b, of rows that are filled up to whole vectors.</summary>
    /// <typeparam name="TVector">The vectors of b and c.</typeparam>
    /// <param name="rows">Rows of a and c.</param>
    /// <param name="columns">Columns of b and c: a multiple of 16.</param>
    /// <param name="a">The first row.</param>
    /// <param name="aStep">Elements from one row of a to the next.</param>
    /// <param name="b">The row of the first step of the contraction.</param>
    /// <param name="bStep">Elements from one row of b to the next.</param>
    /// <param name="c">The first row of the result.</param>
    /// <param name="cStep">Elements from one row of the result to the next.</param>
    /// <param name="depth">Steps of the contraction.</param>
    /// <param name="adds">Whether the sums are added to what c holds.</param>
    [MethodImpl(MethodImplOptions.NoInlining | MethodImplOptions.AggressiveOptimization)]
    public static void Multiply<TVector>(int rows, int columns, float* a, long aStep, float* b, long bStep, float* c, long cStep, int depth, bool adds = false)
        where TVector : struct, IVector<TVector>
    {
        int height = TVector.Lanes == 8 ? 6 : 8, vectors = TVector.Lanes == 8 ? 2 : 3;
        for (int j = 0; j < columns; j += vectors * TVector.Lanes)
        {
            int wide = Math.Min(vectors, (columns - j) / TVector.Lanes);
            for (int i = 0; i < rows; i += height)
            {
                RegisterTile.MultiplyRows<TVector>(Math.Min(height, rows - i), wide, a + (i * aStep), aStep, b + j, bStep, c + (i * cStep) + j, cStep, depth, adds);
            }
        }
    }

    /// <summary>Products of queries with keys, times what is kept from a key's step to the query's; zeros for the keys behind it.</summary>
    /// <typeparam name="TVector">The vectors to compute with.</typeparam>
    /// <param name="products">The products, a row for each query; rows are filled up to whole vectors.</param>
    /// <param name="stride">Elements from one row to the next.</param>
    /// <param name="steps">The steps.</param>
    /// <param name="sums">The sums of <see cref="Decays"/>.</param>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Decay<TVector>(float* products, int stride, int steps, float* sums)
        where TVector : struct, IVector<TVector>
    {
        for (int i = 0; i < steps; i++, products += stride)
        {
            DecayRow<TVector>(products, i + 1, steps, sums, sums[i], 1);
        }
    }

    /// <summary>Products of keys with the keys before them, times what is kept from one's step to the other's and −β: what a step's error owes to what earlier ones took in.</summary>
    /// <typeparam name="TVector">The vectors to compute with.</typeparam>
    /// <param name="products">The products, a row for each key; rows are filled up to whole vectors.</param>
    /// <param name="stride">Elements from one row to the next.</param>
    /// <param name="steps">The steps.</param>
    /// <param name="sums">The sums of <see cref="Decays"/>.</param>
    /// <param name="strengths">The strength β of the first step.</param>
    /// <param name="strengthStep">Elements from one to the next.</param>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Decay<TVector>(float* products, int stride, int steps, float* sums, float* strengths, long strengthStep)
        where TVector : struct, IVector<TVector>
    {
        for (int i = 0; i < steps; i++, products += stride)
        {
            DecayRow<TVector>(products, i, steps, sums, sums[i], -strengths[i * strengthStep]);
        }
    }

    /// <summary>What steps would take in if none came before them in the chunk: β(v − eᵍ known).</summary>
    /// <typeparam name="TVector">The vectors to compute with.</typeparam>
    /// <param name="known">What the state knows of each key, and where the errors go; rows are filled up to whole vectors.</param>
    /// <param name="stride">Elements from one row to the next.</param>
    /// <param name="steps">The steps.</param>
    /// <param name="columns">Elements of a value.</param>
    /// <param name="values">The first value.</param>
    /// <param name="valueStep">Elements from one value to the next.</param>
    /// <param name="fromStart">What is kept from the start to each step.</param>
    /// <param name="strengths">The strength β of the first step.</param>
    /// <param name="strengthStep">Elements from one to the next.</param>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Errors<TVector>(float* known, int stride, int steps, int columns, float* values, long valueStep, float* fromStart, float* strengths, long strengthStep)
        where TVector : struct, IVector<TVector>
    {
        for (int i = 0; i < steps; i++, known += stride, values += valueStep)
        {
            float strength = strengths[i * strengthStep];
            TVector factor = TVector.Create(strength), kept = TVector.Create(-strength * fromStart[i]);
            int j = 0;
            for (; j <= columns - TVector.Lanes; j += TVector.Lanes)
            {
                TVector.Store(TVector.MultiplyAdd(TVector.Load(values + j), factor, TVector.Load(known + j) * kept), known + j);
            }

            if (j < columns)
            {
                TVector.Store(TVector.MultiplyAdd(TVector.LoadTail(values + j, columns - j), factor, TVector.Load(known + j) * kept), known + j);
            }
        }
    }

    /// <summary>x ← (I − L)⁻¹x for a matrix L below the diagonal: row after row, each with those before it.</summary>
    /// <typeparam name="TVector">The vectors to compute with.</typeparam>
    /// <param name="links">The matrix, of which the columns of earlier rows are read.</param>
    /// <param name="linkStride">Elements from one of its rows to the next.</param>
    /// <param name="rows">The rows x.</param>
    /// <param name="stride">Elements from one of them to the next.</param>
    /// <param name="steps">Rows.</param>
    /// <param name="columns">Columns of x: a multiple of 16.</param>
    public static void Solve<TVector>(float* links, int linkStride, float* rows, int stride, int steps, int columns)
        where TVector : struct, IVector<TVector>
    {
        for (int first = 0; first < steps; first += Block)
        {
            int end = Math.Min(first + Block, steps);
            if (first > 0)
            {
                Multiply<TVector>(end - first, columns, links + ((long)first * linkStride), linkStride, rows, stride, rows + ((long)first * stride), stride, first, adds: true);
            }

            for (int i = first + 1; i < end; i++)
            {
                Multiply<TVector>(1, columns, links + ((long)i * linkStride) + first, linkStride, rows + ((long)first * stride), stride, rows + ((long)i * stride), stride, i - first, adds: true);
            }
        }
    }

    /// <summary>c += L · x for a matrix L that is zero above the diagonal.</summary>
    /// <typeparam name="TVector">The vectors to compute with.</typeparam>
    /// <param name="lower">The matrix L.</param>
    /// <param name="lowerStride">Elements from one of its rows to the next.</param>
    /// <param name="rows">The rows x.</param>
    /// <param name="stride">Elements from one of them to the next.</param>
    /// <param name="result">The rows c.</param>
    /// <param name="resultStride">Elements from one of them to the next.</param>
    /// <param name="steps">Rows.</param>
    /// <param name="columns">Columns of x and c: a multiple of 16.</param>
    public static void AddBelow<TVector>(float* lower, int lowerStride, float* rows, int stride, float* result, int resultStride, int steps, int columns)
        where TVector : struct, IVector<TVector>
    {
        for (int first = 0; first < steps; first += Block)
        {
            int end = Math.Min(first + Block, steps);
            Multiply<TVector>(end - first, columns, lower + ((long)first * lowerStride), lowerStride, rows, stride, result + ((long)first * resultStride), resultStride, end, adds: true);
        }
    }

    /// <summary>Multiplies each row with a number.</summary>
    /// <typeparam name="TVector">The vectors to compute with.</typeparam>
    /// <param name="rows">The first row.</param>
    /// <param name="stride">Elements from one row to the next.</param>
    /// <param name="count">Rows.</param>
    /// <param name="columns">Columns: a multiple of 16.</param>
    /// <param name="factors">A factor for each row.</param>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Scale<TVector>(float* rows, int stride, int count, int columns, float* factors)
        where TVector : struct, IVector<TVector>
    {
        for (int i = 0; i < count; i++, rows += stride)
        {
            ScaleRow(rows, columns, TVector.Create(factors[i]));
        }
    }

    /// <summary>Multiplies all rows with one number.</summary>
    /// <typeparam name="TVector">The vectors to compute with.</typeparam>
    /// <param name="rows">The first row.</param>
    /// <param name="stride">Elements from one row to the next.</param>
    /// <param name="count">Rows.</param>
    /// <param name="columns">Columns: a multiple of 16.</param>
    /// <param name="factor">The factor.</param>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Scale<TVector>(float* rows, int stride, int count, int columns, float factor)
        where TVector : struct, IVector<TVector>
    {
        TVector all = TVector.Create(factor);
        for (int i = 0; i < count; i++, rows += stride)
        {
            ScaleRow(rows, columns, all);
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void ScaleRow<TVector>(float* row, int columns, TVector factor)
        where TVector : struct, IVector<TVector>
    {
        for (int j = 0; j < columns; j += TVector.Lanes)
        {
            TVector.Store(TVector.Load(row + j) * factor, row + j);
        }
    }

    // Of earlier steps nothing grows: the exponents are not positive, and what stands behind them is cleared.
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void DecayRow<TVector>(float* row, int seen, int steps, float* sums, float sum, float factor)
        where TVector : struct, IVector<TVector>
    {
        TVector own = TVector.Create(sum), times = TVector.Create(factor);
        for (int j = 0; j < seen; j += TVector.Lanes)
        {
            TVector.Store(TVector.Load(row + j) * times * TVector.Exp(own - TVector.Load(sums + j)), row + j);
        }

        new Span<float>(row + seen, steps - seen).Clear();
    }
}
