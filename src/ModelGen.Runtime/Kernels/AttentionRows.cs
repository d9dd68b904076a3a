using System.ComponentModel;
using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace ModelGen.Runtime;

/// <summary>Row operations of attention whose length is known only when they run.</summary>
[EditorBrowsable(EditorBrowsableState.Never)]
public static unsafe class AttentionRows
{
    /// <summary>
    /// Turns a row of scores into unnormalized probabilities, exp(scale · score − maximum), in place. A score that is NaN stays one, and
    /// makes the sum one; the maximum may be that of the others.
    /// </summary>
    /// <param name="row">The scores; a last vector of them is read and written whole.</param>
    /// <param name="valid">How many of them count.</param>
    /// <param name="total">Up to where the row is set to zero.</param>
    /// <param name="scale">The factor of the scores.</param>
    /// <param name="maximum">The largest scaled score that counts.</param>
    /// <returns>The sum of the exponentials.</returns>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static float Exponentials(float* row, int valid, int total, float scale, out float maximum)
    {
        float sum;
        if (Simd.Use512)
        {
            sum = Exponentials512(row, valid, scale, out maximum);
        }
        else if (Simd.Use256)
        {
            sum = Exponentials256(row, valid, scale, out maximum);
        }
        else
        {
            sum = Exponentials128(row, valid, scale, out maximum);
        }

        for (int j = valid; j < total; j++)
        {
            row[j] = 0;
        }

        return sum;
    }

    /// <summary>As the shorter overload, of a row whose first scores do not count either; where none does, the sum and the maximum are zero.</summary>
    /// <param name="row">The scores; the last vector of those that count is read and written whole.</param>
    /// <param name="begin">From where on the row is set to zero.</param>
    /// <param name="low">The first score that counts.</param>
    /// <param name="high">The end of those that count.</param>
    /// <param name="total">Up to where the row is set to zero.</param>
    /// <param name="scale">The factor of the scores.</param>
    /// <param name="maximum">The largest scaled score that counts.</param>
    /// <returns>The sum of the exponentials.</returns>
    public static float Exponentials(float* row, int begin, int low, int high, int total, float scale, out float maximum)
    {
        if (high <= low)
        {
            Clear(row, begin, total);
            maximum = 0;
            return 0;
        }

        Clear(row, begin, low);
        return Exponentials(row + low, high - low, total - low, scale, out maximum);
    }

    /// <summary>
    /// Turns a row of scores and of the probabilities' cotangents into probabilities and the scores' cotangents, in place:
    /// p = exp(scale · score − logSumExp), ds = p · (dp − delta) · scale (Dao et al. 2022, algorithm 4).
    /// </summary>
    /// <param name="scores">Scores; becomes probabilities. A last vector of them, and of the cotangents, is read and written whole.</param>
    /// <param name="cotangents">Cotangents of the probabilities; becomes those of the scores.</param>
    /// <param name="valid">How many of them count.</param>
    /// <param name="total">Up to where both rows are set to zero.</param>
    /// <param name="logSumExp">The row's log Σ exp(scale · score).</param>
    /// <param name="delta">The inner product of the row's output and its cotangent.</param>
    /// <param name="scale">The factor of the scores.</param>
    /// <param name="hasSink">Whether the log-sum-exp is of a sink's score too.</param>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Backward(float* scores, float* cotangents, int valid, int total, float logSumExp, float delta, float scale, bool hasSink = false)
    {
        int j = 0;
        if (valid == 1 && !hasSink)
        {
            // The softmax of one score is 1 whatever the score. Rounding would leave a gradient of 1e-7, which AdamW takes for a direction.
            scores[0] = 1;
            cotangents[0] = 0;
        }
        else if (Simd.Use512)
        {
            for (; j < valid; j += 16)
            {
                Vector512<float> p = VectorMath.Exp((Vector512.Load(scores + j) * Vector512.Create(scale)) - Vector512.Create(logSumExp));
                Vector512<float> d = p * (Vector512.Load(cotangents + j) - Vector512.Create(delta)) * Vector512.Create(scale);
                if (valid - j < 16)
                {
                    p = Simd.FirstLanes512(p, valid - j, 0);
                    d = Simd.FirstLanes512(d, valid - j, 0);
                }

                Vector512.Store(p, scores + j);
                Vector512.Store(d, cotangents + j);
            }
        }
        else if (Simd.Use256)
        {
            for (; j < valid; j += 8)
            {
                Vector256<float> p = VectorMath.Exp((Vector256.Load(scores + j) * Vector256.Create(scale)) - Vector256.Create(logSumExp));
                Vector256<float> d = p * (Vector256.Load(cotangents + j) - Vector256.Create(delta)) * Vector256.Create(scale);
                if (valid - j < 8)
                {
                    p = Simd.FirstLanes256(p, valid - j, 0);
                    d = Simd.FirstLanes256(d, valid - j, 0);
                }

                Vector256.Store(p, scores + j);
                Vector256.Store(d, cotangents + j);
            }
        }
        else
        {
            for (; j < valid; j += 4)
            {
                Vector128<float> p = VectorMath.Exp((Vector128.Load(scores + j) * Vector128.Create(scale)) - Vector128.Create(logSumExp));
                Vector128<float> d = p * (Vector128.Load(cotangents + j) - Vector128.Create(delta)) * Vector128.Create(scale);
                if (valid - j < 4)
                {
                    p = Simd.FirstLanes128(p, valid - j, 0);
                    d = Simd.FirstLanes128(d, valid - j, 0);
                }

                Vector128.Store(p, scores + j);
                Vector128.Store(d, cotangents + j);
            }
        }

        for (j = valid; j < total; j++)
        {
            scores[j] = 0;
            cotangents[j] = 0;
        }
    }

    /// <summary>As the shorter overload, of rows whose first elements do not count either.</summary>
    /// <param name="scores">Scores; becomes probabilities. The last vector of those that count, and of the cotangents, is read and written whole.</param>
    /// <param name="cotangents">Cotangents of the probabilities; becomes those of the scores.</param>
    /// <param name="begin">From where on both rows are set to zero.</param>
    /// <param name="low">The first element that counts.</param>
    /// <param name="high">The end of those that count.</param>
    /// <param name="total">Up to where both rows are set to zero.</param>
    /// <param name="logSumExp">The row's log Σ exp(scale · score).</param>
    /// <param name="delta">The inner product of the row's output and its cotangent.</param>
    /// <param name="scale">The factor of the scores.</param>
    /// <param name="hasSink">Whether the log-sum-exp is of a sink's score too.</param>
    public static void Backward(float* scores, float* cotangents, int begin, int low, int high, int total, float logSumExp, float delta, float scale, bool hasSink = false)
    {
        if (high <= low)
        {
            Clear(scores, begin, total);
            Clear(cotangents, begin, total);
            return;
        }

        Clear(scores, begin, low);
        Clear(cotangents, begin, low);
        Backward(scores + low, cotangents + low, high - low, total - low, logSumExp, delta, scale, hasSink);
    }

    /// <summary>Adds a row to another one.</summary>
    /// <param name="row">What is added to.</param>
    /// <param name="addend">What is added.</param>
    /// <param name="count">Elements; none where it is negative.</param>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Add(float* row, float* addend, int count)
    {
        int j = 0;
        if (Simd.Use512)
        {
            for (; j <= count - 16; j += 16)
            {
                Vector512.Store(Vector512.Load(row + j) + Vector512.Load(addend + j), row + j);
            }
        }

        if (Simd.Use256)
        {
            for (; j <= count - 8; j += 8)
            {
                Vector256.Store(Vector256.Load(row + j) + Vector256.Load(addend + j), row + j);
            }
        }

        for (; j <= count - 4; j += 4)
        {
            Vector128.Store(Vector128.Load(row + j) + Vector128.Load(addend + j), row + j);
        }

        for (; j < count; j++)
        {
            row[j] += addend[j];
        }
    }

    internal static void Clear(float* row, int from, int to)
    {
        for (int j = from; j < to; j++)
        {
            row[j] = 0;
        }
    }

    private static float Exponentials512(float* row, int valid, float scale, out float maximum)
    {
        Vector512<float> max = Vector512.Create(float.NegativeInfinity);
        int full = valid & ~15;
        for (int j = 0; j < full; j += 16)
        {
            max = Vector512.MaxNative(max, Vector512.Load(row + j));
        }

        int tail = valid - full;
        if (tail > 0)
        {
            max = Vector512.MaxNative(max, Simd.FirstLanes512(Vector512.Load(row + full), tail, float.NegativeInfinity));
        }

        maximum = Simd.MaxNative(max) * scale;
        Vector512<float> shift = Vector512.Create(maximum), factor = Vector512.Create(scale);
        Vector512<float> sum = Vector512<float>.Zero;
        for (int j = 0; j < full; j += 16)
        {
            Vector512<float> e = VectorMath.Exp((Vector512.Load(row + j) * factor) - shift);
            Vector512.Store(e, row + j);
            sum += e;
        }

        if (tail > 0)
        {
            Vector512<float> e = Simd.FirstLanes512(VectorMath.Exp((Vector512.Load(row + full) * factor) - shift), tail, 0);
            Vector512.Store(e, row + full);
            sum += e;
        }

        return Simd.Sum(sum);
    }

    private static float Exponentials256(float* row, int valid, float scale, out float maximum)
    {
        Vector256<float> max = Vector256.Create(float.NegativeInfinity);
        int full = valid & ~7;
        for (int j = 0; j < full; j += 8)
        {
            max = Vector256.MaxNative(max, Vector256.Load(row + j));
        }

        int tail = valid - full;
        if (tail > 0)
        {
            max = Vector256.MaxNative(max, Simd.FirstLanes256(Vector256.Load(row + full), tail, float.NegativeInfinity));
        }

        maximum = Simd.MaxNative(max) * scale;
        Vector256<float> shift = Vector256.Create(maximum), factor = Vector256.Create(scale);
        Vector256<float> sum = Vector256<float>.Zero;
        for (int j = 0; j < full; j += 8)
        {
            Vector256<float> e = VectorMath.Exp((Vector256.Load(row + j) * factor) - shift);
            Vector256.Store(e, row + j);
            sum += e;
        }

        if (tail > 0)
        {
            Vector256<float> e = Simd.FirstLanes256(VectorMath.Exp((Vector256.Load(row + full) * factor) - shift), tail, 0);
            Vector256.Store(e, row + full);
            sum += e;
        }

        return Simd.Sum(sum);
    }

    private static float Exponentials128(float* row, int valid, float scale, out float maximum)
    {
        Vector128<float> max = Vector128.Create(float.NegativeInfinity);
        int full = valid & ~3;
        for (int j = 0; j < full; j += 4)
        {
            max = Vector128.MaxNative(max, Vector128.Load(row + j));
        }

        int tail = valid - full;
        if (tail > 0)
        {
            max = Vector128.MaxNative(max, Simd.FirstLanes128(Vector128.Load(row + full), tail, float.NegativeInfinity));
        }

        maximum = Simd.MaxNative(max) * scale;
        Vector128<float> shift = Vector128.Create(maximum), factor = Vector128.Create(scale);
        Vector128<float> sum = Vector128<float>.Zero;
        for (int j = 0; j < full; j += 4)
        {
            Vector128<float> e = VectorMath.Exp((Vector128.Load(row + j) * factor) - shift);
            Vector128.Store(e, row + j);
            sum += e;
        }

        if (tail > 0)
        {
            Vector128<float> e = Simd.FirstLanes128(VectorMath.Exp((Vector128.Load(row + full) * factor) - shift), tail, 0);
            Vector128.Store(e, row + full);
            sum += e;
        }

        return Simd.Sum(sum);
    }
}
