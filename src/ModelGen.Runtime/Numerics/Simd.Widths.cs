using System.Runtime.CompilerServices;

namespace ModelGen.Runtime;

public static unsafe partial class Simd
{
    /// <summary>The one of three numbers that belongs to a vector width: a constant for the compiler.</summary>
    /// <typeparam name="TVector">The vector.</typeparam>
    /// <param name="of512">The number for vectors of 512 bits.</param>
    /// <param name="of256">The number for vectors of 256 bits.</param>
    /// <param name="of128">The number for vectors of 128 bits.</param>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static int Of<TVector>(int of512, int of256, int of128)
        where TVector : struct, IVector<TVector>
        => TVector.Lanes == 16 ? of512 : TVector.Lanes == 8 ? of256 : of128;

    /// <inheritdoc cref="Of{TVector}(int, int, int)"/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static long Of<TVector>(long of512, long of256, long of128)
        where TVector : struct, IVector<TVector>
        => TVector.Lanes == 16 ? of512 : TVector.Lanes == 8 ? of256 : of128;
}
