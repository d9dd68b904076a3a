using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.Arm;

namespace ModelGen.Runtime;

/// <content>Arm multiplies a vector by an element of another: a vector of the strip holds the factors of four rows.</content>
public static unsafe partial class RegisterTile
{
    private static void ByElement(int rows, int vectors, float* a, long aStep, float* b, long bStep, float* c, long cStep, int depth, bool adds)
    {
        switch (vectors)
        {
            case 1:
                ByElement<One>(rows, a, aStep, b, bStep, c, cStep, depth, adds);
                break;
            case 2:
                ByElement<Two>(rows, a, aStep, b, bStep, c, cStep, depth, adds);
                break;
            default:
                ByElement<Three>(rows, a, aStep, b, bStep, c, cStep, depth, adds);
                break;
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void ByElement<TVectors>(int rows, float* a, long aStep, float* b, long bStep, float* c, long cStep, int depth, bool adds)
        where TVectors : unmanaged
    {
        switch (rows)
        {
            case 1:
                RunByElement<One, TVectors>(a, aStep, b, bStep, c, cStep, depth, adds);
                break;
            case 2:
                RunByElement<Two, TVectors>(a, aStep, b, bStep, c, cStep, depth, adds);
                break;
            case 3:
                RunByElement<Three, TVectors>(a, aStep, b, bStep, c, cStep, depth, adds);
                break;
            case 4:
                RunByElement<Four, TVectors>(a, aStep, b, bStep, c, cStep, depth, adds);
                break;
            case 5:
                RunByElement<Five, TVectors>(a, aStep, b, bStep, c, cStep, depth, adds);
                break;
            case 6:
                RunByElement<Six, TVectors>(a, aStep, b, bStep, c, cStep, depth, adds);
                break;
            case 7:
                RunByElement<Seven, TVectors>(a, aStep, b, bStep, c, cStep, depth, adds);
                break;
            case 8:
                RunByElement<Eight, TVectors>(a, aStep, b, bStep, c, cStep, depth, adds);
                break;
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void RunByElement<TRows, TVectors>(float* a, long aStep, float* b, long bStep, float* c, long cStep, int depth, bool adds)
        where TRows : unmanaged
        where TVectors : unmanaged
    {
        Vector128<float> c0_0 = default, c0_1 = default, c0_2 = default;
        Vector128<float> c1_0 = default, c1_1 = default, c1_2 = default;
        Vector128<float> c2_0 = default, c2_1 = default, c2_2 = default;
        Vector128<float> c3_0 = default, c3_1 = default, c3_2 = default;
        Vector128<float> c4_0 = default, c4_1 = default, c4_2 = default;
        Vector128<float> c5_0 = default, c5_1 = default, c5_2 = default;
        Vector128<float> c6_0 = default, c6_1 = default, c6_2 = default;
        Vector128<float> c7_0 = default, c7_1 = default, c7_2 = default;

        for (int k = 0; k < depth; k++)
        {
            Vector128<float> b0 = Vector128.Load(b);
            Vector128<float> b1 = sizeof(TVectors) > 1 ? Vector128.Load(b + 4) : default;
            Vector128<float> b2 = sizeof(TVectors) > 2 ? Vector128.Load(b + 8) : default;

            // A strip ends with its last row: there is no vector to load from the middle of it.
            Vector128<float> x = sizeof(TRows) >= 4 ? Vector128.Load(a) : Simd.LoadTail128(a, sizeof(TRows));
            Element0<TVectors>(x, b0, b1, b2, ref c0_0, ref c0_1, ref c0_2);
            if (sizeof(TRows) > 1) Element1<TVectors>(x, b0, b1, b2, ref c1_0, ref c1_1, ref c1_2);
            if (sizeof(TRows) > 2) Element2<TVectors>(x, b0, b1, b2, ref c2_0, ref c2_1, ref c2_2);
            if (sizeof(TRows) > 3) Element3<TVectors>(x, b0, b1, b2, ref c3_0, ref c3_1, ref c3_2);
            if (sizeof(TRows) > 4) x = sizeof(TRows) >= 8 ? Vector128.Load(a + 4) : Simd.LoadTail128(a + 4, sizeof(TRows) - 4);
            if (sizeof(TRows) > 4) Element0<TVectors>(x, b0, b1, b2, ref c4_0, ref c4_1, ref c4_2);
            if (sizeof(TRows) > 5) Element1<TVectors>(x, b0, b1, b2, ref c5_0, ref c5_1, ref c5_2);
            if (sizeof(TRows) > 6) Element2<TVectors>(x, b0, b1, b2, ref c6_0, ref c6_1, ref c6_2);
            if (sizeof(TRows) > 7) Element3<TVectors>(x, b0, b1, b2, ref c7_0, ref c7_1, ref c7_2);
            a += aStep;
            b += bStep;
        }

        Store<F128, TVectors>(c, adds, new F128(c0_0), new F128(c0_1), new F128(c0_2));
        if (sizeof(TRows) > 1) Store<F128, TVectors>(c + cStep, adds, new F128(c1_0), new F128(c1_1), new F128(c1_2));
        if (sizeof(TRows) > 2) Store<F128, TVectors>(c + (2 * cStep), adds, new F128(c2_0), new F128(c2_1), new F128(c2_2));
        if (sizeof(TRows) > 3) Store<F128, TVectors>(c + (3 * cStep), adds, new F128(c3_0), new F128(c3_1), new F128(c3_2));
        if (sizeof(TRows) > 4) Store<F128, TVectors>(c + (4 * cStep), adds, new F128(c4_0), new F128(c4_1), new F128(c4_2));
        if (sizeof(TRows) > 5) Store<F128, TVectors>(c + (5 * cStep), adds, new F128(c5_0), new F128(c5_1), new F128(c5_2));
        if (sizeof(TRows) > 6) Store<F128, TVectors>(c + (6 * cStep), adds, new F128(c6_0), new F128(c6_1), new F128(c6_2));
        if (sizeof(TRows) > 7) Store<F128, TVectors>(c + (7 * cStep), adds, new F128(c7_0), new F128(c7_1), new F128(c7_2));
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Element0<TVectors>(Vector128<float> x, Vector128<float> b0, Vector128<float> b1, Vector128<float> b2, ref Vector128<float> c0, ref Vector128<float> c1, ref Vector128<float> c2)
        where TVectors : unmanaged
    {
        c0 = AdvSimd.Arm64.FusedMultiplyAddBySelectedScalar(c0, b0, x, 0);
        if (sizeof(TVectors) > 1) c1 = AdvSimd.Arm64.FusedMultiplyAddBySelectedScalar(c1, b1, x, 0);
        if (sizeof(TVectors) > 2) c2 = AdvSimd.Arm64.FusedMultiplyAddBySelectedScalar(c2, b2, x, 0);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Element1<TVectors>(Vector128<float> x, Vector128<float> b0, Vector128<float> b1, Vector128<float> b2, ref Vector128<float> c0, ref Vector128<float> c1, ref Vector128<float> c2)
        where TVectors : unmanaged
    {
        c0 = AdvSimd.Arm64.FusedMultiplyAddBySelectedScalar(c0, b0, x, 1);
        if (sizeof(TVectors) > 1) c1 = AdvSimd.Arm64.FusedMultiplyAddBySelectedScalar(c1, b1, x, 1);
        if (sizeof(TVectors) > 2) c2 = AdvSimd.Arm64.FusedMultiplyAddBySelectedScalar(c2, b2, x, 1);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Element2<TVectors>(Vector128<float> x, Vector128<float> b0, Vector128<float> b1, Vector128<float> b2, ref Vector128<float> c0, ref Vector128<float> c1, ref Vector128<float> c2)
        where TVectors : unmanaged
    {
        c0 = AdvSimd.Arm64.FusedMultiplyAddBySelectedScalar(c0, b0, x, 2);
        if (sizeof(TVectors) > 1) c1 = AdvSimd.Arm64.FusedMultiplyAddBySelectedScalar(c1, b1, x, 2);
        if (sizeof(TVectors) > 2) c2 = AdvSimd.Arm64.FusedMultiplyAddBySelectedScalar(c2, b2, x, 2);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Element3<TVectors>(Vector128<float> x, Vector128<float> b0, Vector128<float> b1, Vector128<float> b2, ref Vector128<float> c0, ref Vector128<float> c1, ref Vector128<float> c2)
        where TVectors : unmanaged
    {
        c0 = AdvSimd.Arm64.FusedMultiplyAddBySelectedScalar(c0, b0, x, 3);
        if (sizeof(TVectors) > 1) c1 = AdvSimd.Arm64.FusedMultiplyAddBySelectedScalar(c1, b1, x, 3);
        if (sizeof(TVectors) > 2) c2 = AdvSimd.Arm64.FusedMultiplyAddBySelectedScalar(c2, b2, x, 3);
    }
}
