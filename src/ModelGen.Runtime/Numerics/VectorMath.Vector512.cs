using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace ModelGen.Runtime;

public static partial class VectorMath
{
    /// <inheritdoc cref="Exp(float)"/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> Exp(Vector512<float> x)
    {
        // MinNative and MaxNative return their second operand where one is NaN: NaN passes through.
        x = Vector512.MinNative(Vector512.Create(ExpHigh), x);
        x = Vector512.MaxNative(Vector512.Create(ExpLow), x);
        Vector512<float> t = Simd.MultiplyAdd(x, Vector512.Create(HalfLog2E), Vector512.Create(RoundToExponent));
        Vector512<float> m = t - Vector512.Create(RoundToExponent);
        Vector512<float> r = Simd.MultiplyAdd(m, Vector512.Create(-TwoLn2High), x);
        r = Simd.MultiplyAdd(m, Vector512.Create(-TwoLn2Low), r);

        // Even and odd terms apart: one operation more than Horner's scheme, and two thirds of its latency.
        Vector512<float> r2 = r * r;
        Vector512<float> p = Simd.MultiplyAdd(r, Vector512.Create(ExpC7), Vector512.Create(ExpC6));
        p = Simd.MultiplyAdd(r2, p, Simd.MultiplyAdd(r, Vector512.Create(ExpC5), Vector512.Create(ExpC4)));
        p = Simd.MultiplyAdd(r2, p, Simd.MultiplyAdd(r, Vector512.Create(ExpC3), Vector512.Create(ExpC2)));
        p = Simd.MultiplyAdd(r2, p, r) + Vector512.Create(1f);

        Vector512<float> scale = (t.AsInt32() << 23).AsSingle();
        return p * scale * scale;
    }

    /// <inheritdoc cref="Log(float)"/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> Log(Vector512<float> x)
    {
        Vector512<float> small = Vector512.LessThan(x, Vector512.Create(MinimumNormal));
        Vector512<float> v = Vector512.ConditionalSelect(small, x * Vector512.Create(DenormalScale), x);
        Vector512<int> exponent = (v.AsInt32() - Vector512.Create(TwoThirdsBits)) >> 23;
        Vector512<float> f = (v.AsInt32() - (exponent << 23)).AsSingle() - Vector512.Create(1f);
        Vector512<float> e = Vector512.ConvertToSingle(exponent) + (small & Vector512.Create(DenormalExponent));

        Vector512<float> p = Simd.MultiplyAdd(f, Vector512.Create(LogC10), Vector512.Create(LogC9));
        p = Simd.MultiplyAdd(f, p, Vector512.Create(LogC8));
        p = Simd.MultiplyAdd(f, p, Vector512.Create(LogC7));
        p = Simd.MultiplyAdd(f, p, Vector512.Create(LogC6));
        p = Simd.MultiplyAdd(f, p, Vector512.Create(LogC5));
        p = Simd.MultiplyAdd(f, p, Vector512.Create(LogC4));
        p = Simd.MultiplyAdd(f, p, Vector512.Create(LogC3));
        p = Simd.MultiplyAdd(f, p, Vector512.Create(LogC2));
        p = Simd.MultiplyAdd(f * f, p, e * Vector512.Create(Ln2Low));
        Vector512<float> result = Simd.MultiplyAdd(e, Vector512.Create(Ln2High), f + p);

        Vector512<float> zero = Vector512.Equals(x, Vector512<float>.Zero);
        Vector512<float> positive = Vector512.GreaterThan(x, Vector512<float>.Zero);
        Vector512<float> finite = Vector512.LessThan(x, Vector512.Create(float.PositiveInfinity));
        Vector512<float> special = Vector512.ConditionalSelect(positive, x, Vector512.Create(float.NaN));
        special = Vector512.ConditionalSelect(zero, Vector512.Create(float.NegativeInfinity), special);
        return Vector512.ConditionalSelect(positive & finite, result, special);
    }

    /// <inheritdoc cref="Tanh(float)"/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> Tanh(Vector512<float> x)
    {
        Vector512<float> sign = x & Vector512.Create(-0f);
        Vector512<float> y = (x ^ sign) * Vector512.Create(-2f);
        y = Vector512.MaxNative(Vector512.Create(TanhLow), y);
        Vector512<float> t = Simd.MultiplyAdd(y, Vector512.Create(Log2E), Vector512.Create(RoundToExponent));
        Vector512<float> n = t - Vector512.Create(RoundToExponent);
        Vector512<float> r = Simd.MultiplyAdd(n, Vector512.Create(-Ln2High), y);
        r = Simd.MultiplyAdd(n, Vector512.Create(-Ln2Low), r);

        Vector512<float> scale = (t.AsInt32() << 23).AsSingle();
        Vector512<float> g = Simd.MultiplyAdd(-scale, ReducedExpM1(r), Vector512.Create(1f) - scale);
        return (g / (Vector512.Create(2f) - g)) | sign;
    }

    /// <inheritdoc cref="Sigmoid(float)"/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> Sigmoid(Vector512<float> x)
    {
        Vector512<float> y = Vector512.MinNative(Vector512.Create(-SigmoidLow), x ^ Vector512.Create(-0f));
        y = Vector512.MaxNative(Vector512.Create(-SigmoidHigh), y);
        Vector512<float> t = Simd.MultiplyAdd(y, Vector512.Create(Log2E), Vector512.Create(RoundToScaledExponent));
        Vector512<float> n = t - Vector512.Create(RoundToScaledExponent);
        Vector512<float> r = Simd.MultiplyAdd(n, Vector512.Create(-Ln2High), y);
        r = Simd.MultiplyAdd(n, Vector512.Create(-Ln2Low), r);

        Vector512<float> scale = (t.AsInt32() << 23).AsSingle();
        Vector512<float> unit = Vector512.Create(SigmoidUnit);
        return unit / (scale + Simd.MultiplyAdd(scale, ReducedExpM1(r), unit));
    }

    /// <inheritdoc cref="Erf(float)"/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> Erf(Vector512<float> x)
    {
        Vector512<float> sign = x & Vector512.Create(-0f);
        Vector512<float> a = x ^ sign;

        Vector512<float> s = a * a;
        Vector512<float> near = Simd.MultiplyAdd(s, Vector512.Create(ErfC5), Vector512.Create(ErfC4));
        near = Simd.MultiplyAdd(s, near, Vector512.Create(ErfC3));
        near = Simd.MultiplyAdd(s, near, Vector512.Create(ErfC2));
        near = Simd.MultiplyAdd(s, near, Vector512.Create(ErfC1));
        near = Simd.MultiplyAdd(s, near, Vector512.Create(ErfC0));
        near = Simd.MultiplyAdd(a, near, a);

        Vector512<float> b = Vector512.MinNative(Vector512.Create(ErfHigh), a);
        Vector512<float> q = Simd.MultiplyAdd(b, Vector512.Create(-ErfcC6), Vector512.Create(-ErfcC5));
        q = Simd.MultiplyAdd(b, q, Vector512.Create(-ErfcC4));
        q = Simd.MultiplyAdd(b, q, Vector512.Create(-ErfcC3));
        q = Simd.MultiplyAdd(b, q, Vector512.Create(-ErfcC2));
        q = Simd.MultiplyAdd(b, q, Vector512.Create(-ErfcC1));
        q = Simd.MultiplyAdd(b, q, Vector512.Create(-ErfcC0));
        Vector512<float> t = q + Vector512.Create(RoundToExponent);
        Vector512<float> f = q - (t - Vector512.Create(RoundToExponent));
        Vector512<float> p = Simd.MultiplyAdd(f, Vector512.Create(Exp2C5), Vector512.Create(Exp2C4));
        p = Simd.MultiplyAdd(f, p, Vector512.Create(Exp2C3));
        p = Simd.MultiplyAdd(f, p, Vector512.Create(Exp2C2));
        p = Simd.MultiplyAdd(f, p, Vector512.Create(Exp2C1));
        p = Simd.MultiplyAdd(f, p, Vector512.Create(1f));
        Vector512<float> far = Simd.MultiplyAdd(-(t.AsInt32() << 23).AsSingle(), p, Vector512.Create(1f));

        return Vector512.ConditionalSelect(Vector512.LessThan(a, Vector512.Create(ErfSplit)), near, far) | sign;
    }

    // e^r - 1 for |r| <= ln2/2.
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector512<float> ReducedExpM1(Vector512<float> r)
    {
        Vector512<float> r2 = r * r;
        Vector512<float> p = Simd.MultiplyAdd(r, Vector512.Create(Expm1C6), Vector512.Create(Expm1C5));
        p = Simd.MultiplyAdd(r, p, Vector512.Create(Expm1C4));
        p = Simd.MultiplyAdd(r2, p, Simd.MultiplyAdd(r, Vector512.Create(Expm1C3), Vector512.Create(Expm1C2)));
        return Simd.MultiplyAdd(r2, p, r);
    }
}
