using ModelGen.Runtime;

namespace ModelGen;

/// <summary>
/// The instructions that all models of this process compute with: chosen by the processor under the JIT, and by what the program was
/// published for under NativeAOT. Print it once where speed matters.
/// </summary>
/// <remarks>
/// The environment variable <c>MODELGEN_VECTOR_BITS</c> or the runtime configuration property <c>ModelGen.VectorBits</c> (128, 256 or
/// 512; the environment wins) choose a narrower path. See docs/nativeaot.md for what a publish does.
/// </remarks>
public static class ComputePath
{
    /// <summary>
    /// The path's name: <c>AVX-512</c>, <c>AVX2+FMA</c>, <c>AVX2</c>, <c>SSE</c>, <c>NEON</c> or <c>scalar</c>. On an x64 processor of
    /// the last ten years anything but the first two means that a program was published for older ones.
    /// </summary>
    /// <exception cref="InvalidOperationException">The width that the environment or the configuration asks for is none of 128, 256 and 512.</exception>
    public static string Name => Simd.PathName;

    /// <summary>The width of the vectors in bits: 512, 256 or 128.</summary>
    /// <exception cref="InvalidOperationException">The width that the environment or the configuration asks for is none of 128, 256 and 512.</exception>
    public static int VectorBits => Simd.VectorBits;

    /// <summary>Whether a multiplication and an addition are one instruction, which rounds once.</summary>
    public static bool HasFusedMultiplyAdd => Simd.HasFusedMultiplyAdd;
}
