using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace ModelGen.Runtime;

public static partial class VectorMath
{
    /// <inheritdoc cref="Exp(float)"/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<float> Exp(Vector128<float> x)
    {
        // MinNative and MaxNative return their second operand where one is NaN: NaN passes through.
        x = Vector128.MinNative(Vector128.Create(ExpHigh), x);
        x = Vector128.MaxNative(Vector128.Create(ExpLow), x);
        Vector128<float> t = Simd.MultiplyAdd(x, Vector128.Create(HalfLog2E), Vector128.Create(RoundToExponent));
        Vector128<float> m = t - Vector128.Create(RoundToExponent);
        Vector128<float> r = Simd.MultiplyAdd(m, Vector128.Create(-TwoLn2High), x);
        r = Simd.MultiplyAdd(m, Vector128.Create(-TwoLn2Low), r);

        // Even and odd terms apart: one operation more than Horner's scheme, and two thirds of its latency.
        Vector128<float> r2 = r * r;
        Vector128<float> p = Simd.MultiplyAdd(r, Vector128.Create(ExpC7), Vector128.Create(ExpC6));
        p = Simd.MultiplyAdd(r2, p, Simd.MultiplyAdd(r, Vector128.Create(ExpC5), Vector128.Create(ExpC4)));
        p = Simd.MultiplyAdd(r2, p, Simd.MultiplyAdd(r, Vector128.Create(ExpC3), Vector128.Create(ExpC2)));
        p = Simd.MultiplyAdd(r2, p, r) + Vector128.Create(1f);

        Vector128<float> scale = (t.AsInt32() << 23).AsSingle();
        return p * scale * scale;
    }

    /// <inheritdoc cref="Log(float)"/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<float> Log(Vector128<float> x)
    {
        Vector128<float> small = Vector128.LessThan(x, Vector128.Create(MinimumNormal));
        Vector128<float> v = Vector128.ConditionalSelect(small, x * Vector128.Create(DenormalScale), x);
        Vector128<int> exponent = (v.AsInt32() - Vector128.Create(TwoThirdsBits)) >> 23;
        Vector128<float> f = (v.AsInt32() - (exponent << 23)).AsSingle() - Vector128.Create(1f);
        Vector128<float> e = Vector128.ConvertToSingle(exponent) + (small & Vector128.Create(DenormalExponent));

        Vector128<float> p = Simd.MultiplyAdd(f, Vector128.Create(LogC10), Vector128.Create(LogC9));
        p = Simd.MultiplyAdd(f, p, Vector128.Create(LogC8));
        p = Simd.MultiplyAdd(f, p, Vector128.Create(LogC7));
        p = Simd.MultiplyAdd(f, p, Vector128.Create(LogC6));
        p = Simd.MultiplyAdd(f, p, Vector128.Create(LogC5));
        p = Simd.MultiplyAdd(f, p, Vector128.Create(LogC4));
        p = Simd.MultiplyAdd(f, p, Vector128.Create(LogC3));
        p = Simd.MultiplyAdd(f, p, Vector128.Create(LogC2));
        p = Simd.MultiplyAdd(f * f, p, e * Vector128.Create(Ln2Low));
        Vector128<float> result = Simd.MultiplyAdd(e, Vector128.Create(Ln2High), f + p);

        Vector128<float> zero = Vector128.Equals(x, Vector128<float>.Zero);
        Vector128<float> positive = Vector128.GreaterThan(x, Vector128<float>.Zero);
        Vector128<float> finite = Vector128.LessThan(x, Vector128.Create(float.PositiveInfinity));
        Vector128<float> special = Vector128.ConditionalSelect(positive, x, Vector128.Create(float.NaN));
        special = Vector128.ConditionalSelect(zero, Vector128.Create(float.NegativeInfinity), special);
        return Vector128.ConditionalSelect(positive & finite, result, special);
    }

    /// <inheritdoc cref="Tanh(float)"/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<float> Tanh(Vector128<float> x)
    {
        Vector128<float> sign = x & Vector128.Create(-0f);
        Vector128<float> y = (x ^ sign) * Vector128.Create(-2f);
        y = Vector128.MaxNative(Vector128.Create(TanhLow), y);
        Vector128<float> t = Simd.MultiplyAdd(y, Vector128.Create(Log2E), Vector128.Create(RoundToExponent));
        Vector128<float> n = t - Vector128.Create(RoundToExponent);
        Vector128<float> r = Simd.MultiplyAdd(n, Vector128.Create(-Ln2High), y);
        r = Simd.MultiplyAdd(n, Vector128.Create(-Ln2Low), r);

        Vector128<float> scale = (t.AsInt32() << 23).AsSingle();
        Vector128<float> g = Simd.MultiplyAdd(-scale, ReducedExpM1(r), Vector128.Create(1f) - scale);
        return (g / (Vector128.Create(2f) - g)) | sign;
    }

    /// <inheritdoc cref="Sigmoid(float)"/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<float> Sigmoid(Vector128<float> x)
    {
        Vector128<float> y = Vector128.MinNative(Vector128.Create(-SigmoidLow), x ^ Vector128.Create(-0f));
        y = Vector128.MaxNative(Vector128.Create(-SigmoidHigh), y);
        Vector128<float> t = Simd.MultiplyAdd(y, Vector128.Create(Log2E), Vector128.Create(RoundToScaledExponent));
        Vector128<float> n = t - Vector128.Create(RoundToScaledExponent);
        Vector128<float> r = Simd.MultiplyAdd(n, Vector128.Create(-Ln2High), y);
        r = Simd.MultiplyAdd(n, Vector128.Create(-Ln2Low), r);

        Vector128<float> scale = (t.AsInt32() << 23).AsSingle();
        Vector128<float> unit = Vector128.Create(SigmoidUnit);
        return unit / (scale + Simd.MultiplyAdd(scale, ReducedExpM1(r), unit));
    }

    /// <inheritdoc cref="Erf(float)"/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<float> Erf(Vector128<float> x)
    {
        Vector128<float> sign = x & Vector128.Create(-0f);
        Vector128<float> a = x ^ sign;

        Vector128<float> s = a * a;
        Vector128<float> near = Simd.MultiplyAdd(s, Vector128.Create(ErfC5), Vector128.Create(ErfC4));
        near = Simd.MultiplyAdd(s, near, Vector128.Create(ErfC3));
        near = Simd.MultiplyAdd(s, near, Vector128.Create(ErfC2));
        near = Simd.MultiplyAdd(s, near, Vector128.Create(ErfC1));
        near = Simd.MultiplyAdd(s, near, Vector128.Create(ErfC0));
        near = Simd.MultiplyAdd(a, near, a);

        Vector128<float> b = Vector128.MinNative(Vector128.Create(ErfHigh), a);
        Vector128<float> q = Simd.MultiplyAdd(b, Vector128.Create(-ErfcC6), Vector128.Create(-ErfcC5));
        q = Simd.MultiplyAdd(b, q, Vector128.Create(-ErfcC4));
        q = Simd.MultiplyAdd(b, q, Vector128.Create(-ErfcC3));
        q = Simd.MultiplyAdd(b, q, Vector128.Create(-ErfcC2));
        q = Simd.MultiplyAdd(b, q, Vector128.Create(-ErfcC1));
        q = Simd.MultiplyAdd(b, q, Vector128.Create(-ErfcC0));
        Vector128<float> t = q + Vector128.Create(RoundToExponent);
        Vector128<float> f = q - (t - Vector128.Create(RoundToExponent));
        Vector128<float> p = Simd.MultiplyAdd(f, Vector128.Create(Exp2C5), Vector128.Create(Exp2C4));
        p = Simd.MultiplyAdd(f, p, Vector128.Create(Exp2C3));
        p = Simd.MultiplyAdd(f, p, Vector128.Create(Exp2C2));
        p = Simd.MultiplyAdd(f, p, Vector128.Create(Exp2C1));
        p = Simd.MultiplyAdd(f, p, Vector128.Create(1f));
        Vector128<float> far = Simd.MultiplyAdd(-(t.AsInt32() << 23).AsSingle(), p, Vector128.Create(1f));

        return Vector128.ConditionalSelect(Vector128.LessThan(a, Vector128.Create(ErfSplit)), near, far) | sign;
    }

    // e^r - 1 for |r| <= ln2/2.
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector128<float> ReducedExpM1(Vector128<float> r)
    {
        Vector128<float> r2 = r * r;
        Vector128<float> p = Simd.MultiplyAdd(r, Vector128.Create(Expm1C6), Vector128.Create(Expm1C5));
        p = Simd.MultiplyAdd(r, p, Vector128.Create(Expm1C4));
        p = Simd.MultiplyAdd(r2, p, Simd.MultiplyAdd(r, Vector128.Create(Expm1C3), Vector128.Create(Expm1C2)));
        return Simd.MultiplyAdd(r2, p, r);
    }
}
