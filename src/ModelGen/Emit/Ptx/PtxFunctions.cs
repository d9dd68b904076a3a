using System;
using ModelGen.Compiler.Kernels;

namespace ModelGen.Compiler.Emit.Ptx;

/// <summary>
/// Elementary functions as instructions: those of the runtime's <c>VectorMath</c>, polynomial for polynomial (see there for their derivation and their
/// errors, at most 2 ULP), so that a device computes what a processor does but for the places where it rounds once less.
/// </summary>
internal static class PtxFunctions
{
    // 1.5·2^23, and the exponent's bias.
    private const double RoundToExponent = 12582912.0 + 127;

    private static readonly string Hash0 = Int(0x9E3779B1), Hash1 = Int(0x85EBCA77), Hash2 = Int(0xC2B2AE3D);

    public static string Apply(PtxWriter w, UnaryFunction function, string x) => function switch
    {
        UnaryFunction.Negate => w.Op("neg.f32", x),
        UnaryFunction.Sqrt => w.Op("sqrt.rn.f32", x),
        UnaryFunction.Exp => Exp(w, x),
        UnaryFunction.Log => Log(w, x),
        UnaryFunction.Tanh => Tanh(w, x),
        UnaryFunction.Sigmoid => Sigmoid(w, x),
        UnaryFunction.Erf => Erf(w, x),
        _ => throw new ArgumentOutOfRangeException(nameof(function)),
    };

    public static string Apply(PtxWriter w, BinaryFunction function, string a, string b) => function switch
    {
        BinaryFunction.Add => w.Op("add.rn.f32", a, b),
        BinaryFunction.Subtract => w.Op("sub.rn.f32", a, b),
        BinaryFunction.Multiply => w.Op("mul.rn.f32", a, b),
        BinaryFunction.Divide => w.Op("div.rn.f32", a, b),
        BinaryFunction.Maximum => w.Op("max.NaN.f32", a, b),
        BinaryFunction.Minimum => w.Op("min.NaN.f32", a, b),
        _ => throw new ArgumentOutOfRangeException(nameof(function)),
    };

    public static string Exp(PtxWriter w, string x)
    {
        x = w.Op("max.NaN.f32", F(-176.05967), w.Op("min.NaN.f32", F(89), x));
        string t = Fma(w, x, F(0.7213475), F(RoundToExponent)), m = w.Op("sub.rn.f32", t, F(RoundToExponent));
        string r = Fma(w, m, F(0.00042438888), Fma(w, m, F(-1.38671875), x)), square = w.Op("mul.rn.f32", r, r);
        string p = Fma(w, r, F(0.00019628828), F(0.0014105261));
        p = Fma(w, square, p, Fma(w, r, F(0.008335972), F(0.041661207)));
        p = Fma(w, square, p, Fma(w, r, F(0.16666616), F(0.50000036)));
        p = w.Op("add.rn.f32", Fma(w, square, p, r), F(1));
        string scale = Power(w, t);
        return w.Op("mul.rn.f32", w.Op("mul.rn.f32", p, scale), scale);
    }

    public static string Log(PtxWriter w, string x)
    {
        string small = w.Op("setp.lt.f32", x, F(1.17549435e-38));
        string v = w.Op("mov.b32", w.Op("selp.f32", w.Op("mul.rn.f32", x, F(16777216)), x, small));
        string exponent = w.Op("shr.s32", w.Op("sub.s32", v, "1059760811"), "23");
        string fraction = w.Register('f');
        w.Set(fraction, "mov.b32", w.Op("sub.s32", v, w.Op("shl.b32", exponent, "23")));
        string f = w.Op("sub.rn.f32", fraction, F(1));
        string e = w.Op("add.rn.f32", w.Op("cvt.rn.f32.s32", exponent), w.Op("selp.f32", F(-24), F(0), small));
        string p = F(-0.1289304);
        foreach (double c in new[] { 0.13986915, -0.12183972, 0.14005305, -0.16680506, 0.20010446, -0.24999797, 0.33333215, -0.5 })
        {
            p = Fma(w, f, p, F(c));
        }

        p = Fma(w, w.Op("mul.rn.f32", f, f), p, w.Op("mul.rn.f32", e, F(-0.00021219444)));
        string result = Fma(w, e, F(0.693359375), w.Op("add.rn.f32", f, p));
        string positive = w.Op("setp.gt.f32", x, F(0)), zero = w.Op("setp.eq.f32", x, F(0)), finite = w.Op("setp.lt.f32", x, F(double.PositiveInfinity));
        string special = w.Op("selp.f32", F(double.NegativeInfinity), w.Op("selp.f32", x, F(double.NaN), positive), zero);
        return w.Op("selp.f32", w.Op("selp.f32", result, special, positive), special, finite);
    }

    private static string Tanh(PtxWriter w, string x)
    {
        string y = w.Op("max.NaN.f32", F(-20), w.Op("mul.rn.f32", w.Op("abs.f32", x), F(-2)));
        string t = Fma(w, y, F(1.442695), F(RoundToExponent)), r = Reduced(w, y, w.Op("sub.rn.f32", t, F(RoundToExponent)));
        string scale = Power(w, t);
        string g = Fma(w, w.Op("neg.f32", scale), ReducedExpM1(w, r), w.Op("sub.rn.f32", F(1), scale));
        return WithSign(w, w.Op("div.rn.f32", g, w.Op("sub.rn.f32", F(2), g)), x);
    }

    private static string Sigmoid(PtxWriter w, string x)
    {
        string y = w.Op("max.NaN.f32", F(-40), w.Op("min.NaN.f32", F(110), w.Op("neg.f32", x)));
        string t = Fma(w, y, F(1.442695), F(RoundToExponent - 64)), r = Reduced(w, y, w.Op("sub.rn.f32", t, F(RoundToExponent - 64)));
        string scale = Power(w, t);
        return w.Op("div.rn.f32", F(5.421011e-20), w.Op("add.rn.f32", scale, Fma(w, scale, ReducedExpM1(w, r), F(5.421011e-20))));
    }

    private static string Erf(PtxWriter w, string x)
    {
        string a = w.Op("abs.f32", x), s = w.Op("mul.rn.f32", a, a), near = F(-0.0006099006);
        foreach (double c in new[] { 0.005013506, -0.026779769, 0.112821534, -0.37612522, 0.12837915 })
        {
            near = Fma(w, s, near, F(c));
        }

        near = Fma(w, a, near, a);
        string b = w.Op("min.NaN.f32", F(4), a), q = F(0.00028597514);
        foreach (double c in new[] { -0.004422576, 0.03219401, -0.15020417, -0.91896236, -1.6270674, -0.00024013367 })
        {
            q = Fma(w, b, q, F(c));
        }

        string t = w.Op("add.rn.f32", q, F(RoundToExponent)), f = w.Op("sub.rn.f32", q, w.Op("sub.rn.f32", t, F(RoundToExponent))), p = F(0.0013274756);
        foreach (double c in new[] { 0.009671566, 0.055506993, 0.24022241, 0.693147, 1 })
        {
            p = Fma(w, f, p, F(c));
        }

        string far = Fma(w, w.Op("neg.f32", Power(w, t)), p, F(1));
        return WithSign(w, w.Op("selp.f32", near, far, w.Op("setp.lt.f32", a, F(0.9))), x);
    }

    /// <summary>A number in [0, 1) of an element, a stream and a seed: the runtime's <c>Simd.Uniform</c>, bit for bit.</summary>
    public static string Uniform(PtxWriter w, string element, int stream, string seed)
    {
        string low = w.Once("cvt.u32.u64", seed), high = w.Once("cvt.u32.u64", w.Once("shr.u64", seed, "32"));
        string key = w.Once("xor.b32", low, Int(stream));
        string x = w.Op("mul.lo.u32", w.Op("xor.b32", element, OuterKey(w, key, high)), Hash0);
        x = w.Op("mul.lo.u32", w.Op("xor.b32", w.Op("xor.b32", x, w.Op("shr.u32", x, "16")), InnerKey(w, key, high)), Hash1);
        x = w.Op("mul.lo.u32", w.Op("xor.b32", x, w.Op("shr.u32", x, "15")), Hash2);
        x = w.Op("shr.u32", w.Op("xor.b32", x, w.Op("shr.u32", x, "16")), "8");
        return w.Op("mul.rn.f32", w.Op("cvt.rn.f32.u32", x), F(Math.Pow(2, -24)));
    }

    public static string Fma(PtxWriter w, string a, string b, string c) => w.Op("fma.rn.f32", a, b, c);

    private static string F(double value) => PtxWriter.Float(value);

    private static string Int(long value) => PtxWriter.Int(value);

    private static string OuterKey(PtxWriter w, string key0, string key1)
        => w.Once("add.s32", w.Once("add.s32", Mixed(w, key0, Hash1, 15, Hash2), Mixed(w, key1, Hash2, 13, Hash1)), Int(0x27D4EB2F));

    private static string InnerKey(PtxWriter w, string key0, string key1)
        => w.Once("xor.b32", Mixed(w, w.Once("add.s32", key0, Int(0x165667B1)), Hash2, 17, Hash0), Mixed(w, w.Once("add.s32", key1, Int(0x27D4EB2F)), Hash0, 16, Hash2));

    private static string Mixed(PtxWriter w, string key, string first, int rotation, string second)
    {
        string product = w.Once("mul.lo.u32", key, first);
        return w.Once("mul.lo.u32", w.Once("shf.l.wrap.b32", product, product, Int(rotation)), second);
    }

    // The low mantissa bits as an exponent.
    private static string Power(PtxWriter w, string t)
    {
        string power = w.Register('f');
        string bits = w.Register('r');
        w.Set(bits, "mov.b32", t);
        w.Set(power, "mov.b32", w.Op("shl.b32", bits, "23"));
        return power;
    }

    private static string Reduced(PtxWriter w, string y, string n) => Fma(w, n, F(0.00021219444), Fma(w, n, F(-0.693359375), y));

    private static string ReducedExpM1(PtxWriter w, string r)
    {
        string square = w.Op("mul.rn.f32", r, r);
        string p = Fma(w, r, F(0.0013864546), F(0.008366537));
        p = Fma(w, r, p, F(0.041667502));
        p = Fma(w, square, p, Fma(w, r, F(0.16666543), F(0.49999997)));
        return Fma(w, square, p, r);
    }

    private static string WithSign(PtxWriter w, string magnitude, string x) => w.Op("copysign.f32", x, magnitude);
}
