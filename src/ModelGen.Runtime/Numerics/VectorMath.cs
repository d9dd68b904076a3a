using System.ComponentModel;

namespace ModelGen.Runtime;

/// <summary>
/// Elementary functions in single precision for scalars and for 128-, 256- and 512-bit vectors, inlined into emitted kernels. Over the
/// whole float range, special values included, a result is at most 2 ULP away from the double-precision result rounded to float.
/// </summary>
/// <remarks>
/// <para>
/// Every width performs the same operations in the same order, so a lane of any width equals the scalar bit for bit. Results do
/// differ between processors with and without fused multiply-add, within the bound.
/// </para>
/// <para>
/// The polynomials are minimax fits (Remez exchange, coefficients restricted to float) made with Sollya's <c>fpminimax</c>; each
/// states its interval and error. The argument reductions are those of W. J. Cody and W. Waite, Software Manual for the Elementary
/// Functions, Prentice-Hall, 1980: a constant is split so that the product of its leading part and a small integer is exact.
/// </para>
/// </remarks>
[EditorBrowsable(EditorBrowsableState.Never)]
public static partial class VectorMath
{
    // Adding 1.5·2^23 rounds to the nearest integer and leaves that integer in the low mantissa bits; the further 127 is the exponent
    // bias, so that a shift by 23 alone makes the power of two.
    private const float RoundToExponent = 12582912f + 127f;

    private const float Log2E = 1.442695f;
    private const float Ln2High = 0.693359375f;
    private const float Ln2Low = -0.00021219444f;

    // Exp: x = 2m·ln2 + r, |r| <= ln2, e^x = p(r)·2^m·2^m. Reducing by 2·ln2 costs one degree more than by ln2, but gives both factors of
    // a scaling that neither overflows early nor rounds twice into the denormals from a single shift.
    // e^r = 1 + r + r^2·(c2 + … + c7·r^5) on [-0.6932, 0.6932], relative error 1.5e-8.
    // Below the lower bound 2^m is exactly zero: masked scores of minus infinity raise no slow denormal product.
    private const float ExpLow = -176.05967f;
    private const float ExpHigh = 89f;
    private const float HalfLog2E = 0.7213475f;
    private const float TwoLn2High = 1.38671875f;
    private const float TwoLn2Low = -0.00042438888f;
    private const float ExpC2 = 0.50000036f;
    private const float ExpC3 = 0.16666616f;
    private const float ExpC4 = 0.041661207f;
    private const float ExpC5 = 0.008335972f;
    private const float ExpC6 = 0.0014105261f;
    private const float ExpC7 = 0.00019628828f;

    // Log: x = 2^e·(1 + f), 2/3 <= 1 + f < 4/3. log(1 + f) = f - f^2/2 + f^3·(c3 + … + c10·f^7) on [-1/3, 1/3], relative error 4.7e-9.
    private const float MinimumNormal = 1.17549435e-38f;
    private const float DenormalScale = 16777216f;
    private const float DenormalExponent = -24f;
    private const int TwoThirdsBits = 0x3F2AAAAB;
    private const float LogC2 = -0.5f;
    private const float LogC3 = 0.33333215f;
    private const float LogC4 = -0.24999797f;
    private const float LogC5 = 0.20010446f;
    private const float LogC6 = -0.16680506f;
    private const float LogC7 = 0.14005305f;
    private const float LogC8 = -0.12183972f;
    private const float LogC9 = 0.13986915f;
    private const float LogC10 = -0.1289304f;

    // e^r - 1 = r + r^2·(c2 + … + c6·r^4) on [-0.34667, 0.34667], relative error 1.4e-8: the part that Tanh and Sigmoid share.
    private const float Expm1C2 = 0.49999997f;
    private const float Expm1C3 = 0.16666543f;
    private const float Expm1C4 = 0.041667502f;
    private const float Expm1C5 = 0.008366537f;
    private const float Expm1C6 = 0.0013864546f;

    // Tanh: with g = 1 - e^(-2|x|), tanh|x| = g / (2 - g). g is formed without cancellation, where -2|x| = n·ln2 + r, as
    // (1 - 2^n) - 2^n·(e^r - 1). Beyond |x| = 9.02 the result rounds to 1, so the argument is cut at -20.
    private const float TanhLow = -20f;

    // Sigmoid: with -x = n·ln2 + r, 1 + e^-x = 2^n + (1 + 2^n·(e^r - 1)), which rounds once less than 1 + e^-x would. Everything is
    // scaled by 2^-64, so that 2^n neither overflows before the quotient has become denormal nor vanishes before it is 1.
    private const float RoundToScaledExponent = 12582912f + 127f - 64f;
    private const float SigmoidUnit = 5.421011e-20f;
    private const float SigmoidLow = -110f;
    private const float SigmoidHigh = 40f;

    // Erf, |x| < 0.9: x + x·(c0 + … + c5·x^10), absolute error of the factor 1.6e-8. Above: 1 - 2^-q(|x|), where q = -log2(erfc) has degree 6
    // and an error of 1.7e-9 in erf up to 4, from where erf rounds to 1; 2^f = 1 + … + c5·f^5 on [-0.5, 0.5] with relative error
    // 9.5e-8, of which erf sees a quarter at most.
    private const float ErfSplit = 0.9f;
    private const float ErfHigh = 4f;
    private const float ErfC0 = 0.12837915f;
    private const float ErfC1 = -0.37612522f;
    private const float ErfC2 = 0.112821534f;
    private const float ErfC3 = -0.026779769f;
    private const float ErfC4 = 0.005013506f;
    private const float ErfC5 = -0.0006099006f;
    private const float ErfcC0 = 0.00024013367f;
    private const float ErfcC1 = 1.6270674f;
    private const float ErfcC2 = 0.91896236f;
    private const float ErfcC3 = 0.15020417f;
    private const float ErfcC4 = -0.03219401f;
    private const float ErfcC5 = 0.004422576f;
    private const float ErfcC6 = -0.00028597514f;
    private const float Exp2C1 = 0.693147f;
    private const float Exp2C2 = 0.24022241f;
    private const float Exp2C3 = 0.055506993f;
    private const float Exp2C4 = 0.009671566f;
    private const float Exp2C5 = 0.0013274756f;
}
