using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace ModelGen.Runtime;

public static partial class VectorMath
{
    /// <inheritdoc cref="Exp(float)"/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<float> Exp(Vector256<float> x)
    {
        // MinNative and MaxNative return their second operand where one is NaN: NaN passes through.
        x = Vector256.MinNative(Vector256.Create(ExpHigh), x);
        x = Vector256.MaxNative(Vector256.Create(ExpLow), x);
        Vector256<float> t = Simd.MultiplyAdd(x, Vector256.Create(HalfLog2E), Vector256.Create(RoundToExponent));
        Vector256<float> m = t - Vector256.Create(RoundToExponent);
        Vector256<float> r = Simd.MultiplyAdd(m, Vector256.Create(-TwoLn2High), x);
        r = Simd.MultiplyAdd(m, Vector256.Create(-TwoLn2Low), r);

        // Even and odd terms apart: one operation more than Horner's scheme, and two thirds of its latency.
        Vector256<float> r2 = r * r;
        Vector256<float> p = Simd.MultiplyAdd(r, Vector256.Create(ExpC7), Vector256.Create(ExpC6));
        p = Simd.MultiplyAdd(r2, p, Simd.MultiplyAdd(r, Vector256.Create(ExpC5), Vector256.Create(ExpC4)));
        p = Simd.MultiplyAdd(r2, p, Simd.MultiplyAdd(r, Vector256.Create(ExpC3), Vector256.Create(ExpC2)));
        p = Simd.MultiplyAdd(r2, p, r) + Vector256.Create(1f);

        Vector256<float> scale = (t.AsInt32() << 23).AsSingle();
        return p * scale * scale;
    }

    /// <inheritdoc cref="Log(float)"/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<float> Log(Vector256<float> x)
    {
        Vector256<float> small = Vector256.LessThan(x, Vector256.Create(MinimumNormal));
        Vector256<float> v = Vector256.ConditionalSelect(small, x * Vector256.Create(DenormalScale), x);
        Vector256<int> exponent = (v.AsInt32() - Vector256.Create(TwoThirdsBits)) >> 23;
        Vector256<float> f = (v.AsInt32() - (exponent << 23)).AsSingle() - Vector256.Create(1f);
        Vector256<float> e = Vector256.ConvertToSingle(exponent) + (small & Vector256.Create(DenormalExponent));

        Vector256<float> p = Simd.MultiplyAdd(f, Vector256.Create(LogC10), Vector256.Create(LogC9));
        p = Simd.MultiplyAdd(f, p, Vector256.Create(LogC8));
        p = Simd.MultiplyAdd(f, p, Vector256.Create(LogC7));
        p = Simd.MultiplyAdd(f, p, Vector256.Create(LogC6));
        p = Simd.MultiplyAdd(f, p, Vector256.Create(LogC5));
        p = Simd.MultiplyAdd(f, p, Vector256.Create(LogC4));
        p = Simd.MultiplyAdd(f, p, Vector256.Create(LogC3));
        p = Simd.MultiplyAdd(f, p, Vector256.Create(LogC2));
        p = Simd.MultiplyAdd(f * f, p, e * Vector256.Create(Ln2Low));
        Vector256<float> result = Simd.MultiplyAdd(e, Vector256.Create(Ln2High), f + p);

        Vector256<float> zero = Vector256.Equals(x, Vector256<float>.Zero);
        Vector256<float> positive = Vector256.GreaterThan(x, Vector256<float>.Zero);
        Vector256<float> finite = Vector256.LessThan(x, Vector256.Create(float.PositiveInfinity));
        Vector256<float> special = Vector256.ConditionalSelect(positive, x, Vector256.Create(float.NaN));
        special = Vector256.ConditionalSelect(zero, Vector256.Create(float.NegativeInfinity), special);
        return Vector256.ConditionalSelect(positive & finite, result, special);
    }

    /// <inheritdoc cref="Tanh(float)"/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<float> Tanh(Vector256<float> x)
    {
        Vector256<float> sign = x & Vector256.Create(-0f);
        Vector256<float> y = (x ^ sign) * Vector256.Create(-2f);
        y = Vector256.MaxNative(Vector256.Create(TanhLow), y);
        Vector256<float> t = Simd.MultiplyAdd(y, Vector256.Create(Log2E), Vector256.Create(RoundToExponent));
        Vector256<float> n = t - Vector256.Create(RoundToExponent);
        Vector256<float> r = Simd.MultiplyAdd(n, Vector256.Create(-Ln2High), y);
        r = Simd.MultiplyAdd(n, Vector256.Create(-Ln2Low), r);

        Vector256<float> scale = (t.AsInt32() << 23).AsSingle();
        Vector256<float> g = Simd.MultiplyAdd(-scale, ReducedExpM1(r), Vector256.Create(1f) - scale);
        return (g / (Vector256.Create(2f) - g)) | sign;
    }

    /// <inheritdoc cref="Sigmoid(float)"/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<float> Sigmoid(Vector256<float> x)
    {
        Vector256<float> y = Vector256.MinNative(Vector256.Create(-SigmoidLow), x ^ Vector256.Create(-0f));
        y = Vector256.MaxNative(Vector256.Create(-SigmoidHigh), y);
        Vector256<float> t = Simd.MultiplyAdd(y, Vector256.Create(Log2E), Vector256.Create(RoundToScaledExponent));
        Vector256<float> n = t - Vector256.Create(RoundToScaledExponent);
        Vector256<float> r = Simd.MultiplyAdd(n, Vector256.Create(-Ln2High), y);
        r = Simd.MultiplyAdd(n, Vector256.Create(-Ln2Low), r);

        Vector256<float> scale = (t.AsInt32() << 23).AsSingle();
        Vector256<float> unit = Vector256.Create(SigmoidUnit);
        return unit / (scale + Simd.MultiplyAdd(scale, ReducedExpM1(r), unit));
    }

    /// <inheritdoc cref="Erf(float)"/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<float> Erf(Vector256<float> x)
    {
        Vector256<float> sign = x & Vector256.Create(-0f);
        Vector256<float> a = x ^ sign;

        Vector256<float> s = a * a;
        Vector256<float> near = Simd.MultiplyAdd(s, Vector256.Create(ErfC5), Vector256.Create(ErfC4));
        near = Simd.MultiplyAdd(s, near, Vector256.Create(ErfC3));
        near = Simd.MultiplyAdd(s, near, Vector256.Create(ErfC2));
        near = Simd.MultiplyAdd(s, near, Vector256.Create(ErfC1));
        near = Simd.MultiplyAdd(s, near, Vector256.Create(ErfC0));
        near = Simd.MultiplyAdd(a, near, a);

        Vector256<float> b = Vector256.MinNative(Vector256.Create(ErfHigh), a);
        Vector256<float> q = Simd.MultiplyAdd(b, Vector256.Create(-ErfcC6), Vector256.Create(-ErfcC5));
        q = Simd.MultiplyAdd(b, q, Vector256.Create(-ErfcC4));
        q = Simd.MultiplyAdd(b, q, Vector256.Create(-ErfcC3));
        q = Simd.MultiplyAdd(b, q, Vector256.Create(-ErfcC2));
        q = Simd.MultiplyAdd(b, q, Vector256.Create(-ErfcC1));
        q = Simd.MultiplyAdd(b, q, Vector256.Create(-ErfcC0));
        Vector256<float> t = q + Vector256.Create(RoundToExponent);
        Vector256<float> f = q - (t - Vector256.Create(RoundToExponent));
        Vector256<float> p = Simd.MultiplyAdd(f, Vector256.Create(Exp2C5), Vector256.Create(Exp2C4));
        p = Simd.MultiplyAdd(f, p, Vector256.Create(Exp2C3));
        p = Simd.MultiplyAdd(f, p, Vector256.Create(Exp2C2));
        p = Simd.MultiplyAdd(f, p, Vector256.Create(Exp2C1));
        p = Simd.MultiplyAdd(f, p, Vector256.Create(1f));
        Vector256<float> far = Simd.MultiplyAdd(-(t.AsInt32() << 23).AsSingle(), p, Vector256.Create(1f));

        return Vector256.ConditionalSelect(Vector256.LessThan(a, Vector256.Create(ErfSplit)), near, far) | sign;
    }

    // e^r - 1 for |r| <= ln2/2.
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector256<float> ReducedExpM1(Vector256<float> r)
    {
        Vector256<float> r2 = r * r;
        Vector256<float> p = Simd.MultiplyAdd(r, Vector256.Create(Expm1C6), Vector256.Create(Expm1C5));
        p = Simd.MultiplyAdd(r, p, Vector256.Create(Expm1C4));
        p = Simd.MultiplyAdd(r2, p, Simd.MultiplyAdd(r, Vector256.Create(Expm1C3), Vector256.Create(Expm1C2)));
        return Simd.MultiplyAdd(r2, p, r);
    }
}
