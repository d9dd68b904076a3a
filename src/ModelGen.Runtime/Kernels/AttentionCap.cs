using System.ComponentModel;
using System.Runtime.CompilerServices;

namespace ModelGen.Runtime;

/// <summary>Scores of attention that are squeezed into ±limit, limit · tanh(score / limit) (Gemma Team, "Gemma 2: Improving Open Language Models at a Practical Size", 2024, section 2).</summary>
[EditorBrowsable(EditorBrowsableState.Never)]
public static unsafe class AttentionCap
{
    /// <summary>Squeezes scores, in place.</summary>
    /// <param name="row">The scores, before they are scaled.</param>
    /// <param name="count">How many; none where it is negative.</param>
    /// <param name="limit">The cap, divided by the factor of the scores.</param>
    public static void Apply(float* row, int count, float limit)
    {
        if (Simd.Use512)
        {
            Apply<F512>(row, count, limit);
        }
        else if (Simd.Use256)
        {
            Apply<F256>(row, count, limit);
        }
        else
        {
            Apply<F128>(row, count, limit);
        }
    }

    /// <summary>
    /// As <see cref="AttentionRows.Backward(float*, float*, int, int, float, float, float, bool)"/>, of scores that are squeezed before they are scaled: with t = tanh(score / limit),
    /// p = exp(scale · limit · t − logSumExp), ds = p · (dp − delta) · scale · (1 − t²).
    /// </summary>
    /// <param name="scores">Scores, not yet squeezed; becomes probabilities.</param>
    /// <param name="cotangents">Cotangents of the probabilities; becomes those of the scores.</param>
    /// <param name="valid">How many of them count.</param>
    /// <param name="total">Up to where both rows are set to zero.</param>
    /// <param name="logSumExp">The row's log Σ exp of squeezed and scaled scores.</param>
    /// <param name="delta">The inner product of the row's output and its cotangent.</param>
    /// <param name="scale">The factor of the scores.</param>
    /// <param name="limit">The cap, divided by the factor of the scores.</param>
    /// <param name="hasSink">Whether the log-sum-exp is of a sink's score too.</param>
    public static void Backward(float* scores, float* cotangents, int valid, int total, float logSumExp, float delta, float scale, float limit, bool hasSink = false)
        => Backward(scores, cotangents, 0, 0, valid, total, logSumExp, delta, scale, limit, hasSink);

    /// <summary>As the shorter overload, of rows whose first elements do not count either.</summary>
    /// <param name="scores">Scores, not yet squeezed; becomes probabilities.</param>
    /// <param name="cotangents">Cotangents of the probabilities; becomes those of the scores.</param>
    /// <param name="begin">From where on both rows are set to zero.</param>
    /// <param name="low">The first element that counts.</param>
    /// <param name="high">The end of those that count.</param>
    /// <param name="total">Up to where both rows are set to zero.</param>
    /// <param name="logSumExp">The row's log Σ exp of squeezed and scaled scores.</param>
    /// <param name="delta">The inner product of the row's output and its cotangent.</param>
    /// <param name="scale">The factor of the scores.</param>
    /// <param name="limit">The cap, divided by the factor of the scores.</param>
    /// <param name="hasSink">Whether the log-sum-exp is of a sink's score too.</param>
    public static void Backward(float* scores, float* cotangents, int begin, int low, int high, int total, float logSumExp, float delta, float scale, float limit, bool hasSink = false)
    {
        high = Math.Max(low, high);
        if (high - low == 1 && !hasSink)
        {
            // The softmax of one score is 1 whatever the score and whatever rounding says.
            scores[low] = 1;
            cotangents[low] = 0;
        }
        else if (Simd.Use512)
        {
            Backward<F512>(scores + low, cotangents + low, high - low, logSumExp, delta, scale, limit);
        }
        else if (Simd.Use256)
        {
            Backward<F256>(scores + low, cotangents + low, high - low, logSumExp, delta, scale, limit);
        }
        else
        {
            Backward<F128>(scores + low, cotangents + low, high - low, logSumExp, delta, scale, limit);
        }

        AttentionRows.Clear(scores, begin, low);
        AttentionRows.Clear(cotangents, begin, low);
        AttentionRows.Clear(scores, high, total);
        AttentionRows.Clear(cotangents, high, total);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Apply<TVector>(float* row, int count, float limit)
        where TVector : struct, IVector<TVector>
    {
        TVector factor = TVector.Create(limit), inverse = TVector.Create(1 / limit);
        int j = 0;
        for (; j <= count - TVector.Lanes; j += TVector.Lanes)
        {
            TVector.Store(TVector.Tanh(TVector.Load(row + j) * inverse) * factor, row + j);
        }

        if (j < count)
        {
            TVector.StoreTail(TVector.Tanh(TVector.LoadTail(row + j, count - j) * inverse) * factor, row + j, count - j);
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Backward<TVector>(float* scores, float* cotangents, int count, float logSumExp, float delta, float scale, float limit)
        where TVector : struct, IVector<TVector>
    {
        TVector inverse = TVector.Create(1 / limit), cap = TVector.Create(limit * scale), shift = TVector.Create(logSumExp), mean = TVector.Create(delta), factor = TVector.Create(scale), one = TVector.Create(1);
        for (int j = 0; j < count; j += TVector.Lanes)
        {
            bool whole = count - j >= TVector.Lanes;
            TVector t = TVector.Tanh((whole ? TVector.Load(scores + j) : TVector.LoadTail(scores + j, count - j)) * inverse);
            TVector p = TVector.Exp((t * cap) - shift);
            TVector d = p * ((whole ? TVector.Load(cotangents + j) : TVector.LoadTail(cotangents + j, count - j)) - mean) * factor * (one - (t * t));
            if (whole)
            {
                TVector.Store(p, scores + j);
                TVector.Store(d, cotangents + j);
            }
            else
            {
                TVector.StoreTail(p, scores + j, count - j);
                TVector.StoreTail(d, cotangents + j, count - j);
            }
        }
    }
}
