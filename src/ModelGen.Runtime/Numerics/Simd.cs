using System.ComponentModel;
using System.Globalization;
using System.Numerics;
using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.Arm;
using System.Runtime.Intrinsics.X86;

namespace ModelGen.Runtime;

/// <summary>
/// Shape-free SIMD building blocks of the emitted kernels: choice of the vector width, ragged tails, reductions in a fixed tree,
/// multiply-add and counter-based random numbers. Meant for generated code; everything inlines into the caller.
/// </summary>
/// <remarks>
/// The width is the widest the processor runs well, unless the environment variable <c>MODELGEN_VECTOR_BITS</c> or the runtime
/// configuration property <c>ModelGen.VectorBits</c> (128, 256 or 512; the environment wins) says otherwise. A width the processor
/// lacks gives the same numbers from narrower instructions, only slower. A program published with NativeAOT has the widths it was published for.
/// </remarks>
[EditorBrowsable(EditorBrowsableState.Never)]
public static unsafe partial class Simd
{
    private const string EnvironmentName = "MODELGEN_VECTOR_BITS";
    private const string PropertyName = "ModelGen.VectorBits";
    private const int NotForced = 0;
    private const int Invalid = -1;

    // Once the class is initialized the JIT takes this for a constant, so a kernel keeps only the path of its width.
    private static readonly int Forced = ReadForced();

    // Under NativeAOT it is constant that nobody chooses, so that a program has only the kernels of the width it was published for.
    private static bool CanForce
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        get => RuntimeFeature.IsDynamicCodeSupported;
    }

    /// <summary>Whether kernels take their 512-bit path.</summary>
    /// <exception cref="InvalidOperationException">The forced vector width is none of 128, 256 and 512.</exception>
    public static bool Use512
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        get
        {
            if (!CanForce) return Vector512.IsHardwareAccelerated;
            if (Forced == Invalid) ThrowInvalid();
            return Forced == 512 || (Vector512.IsHardwareAccelerated && Forced == NotForced);
        }
    }

    /// <summary>Whether kernels may take their 256-bit path; true also where the 512-bit path is in use.</summary>
    /// <exception cref="InvalidOperationException">The forced vector width is none of 128, 256 and 512.</exception>
    public static bool Use256
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        get
        {
            if (!CanForce) return Vector256.IsHardwareAccelerated;
            if (Forced == Invalid) ThrowInvalid();
            return Forced >= 256 || (Vector256.IsHardwareAccelerated && Forced == NotForced);
        }
    }

    /// <summary>Width in bits of the path in use: 512, 256 or 128.</summary>
    /// <exception cref="InvalidOperationException">The forced vector width is none of 128, 256 and 512.</exception>
    public static int VectorBits => Use512 ? 512 : Use256 ? 256 : 128;

    /// <summary>
    /// Instructions the path in use compiles to: <c>AVX-512</c>, <c>AVX2+FMA</c>, <c>AVX2</c>, <c>SSE</c>, <c>NEON</c> or <c>scalar</c>. A forced
    /// width that the processor lacks runs as narrower instructions, and those are named.
    /// </summary>
    /// <exception cref="InvalidOperationException">The forced vector width is none of 128, 256 and 512.</exception>
    public static string PathName =>
        Use512 && Vector512.IsHardwareAccelerated ? "AVX-512"
        : Use256 && Vector256.IsHardwareAccelerated ? HasFusedMultiplyAdd ? "AVX2+FMA" : "AVX2"
        : AdvSimd.IsSupported ? "NEON"
        : Vector128.IsHardwareAccelerated ? "SSE"
        : "scalar";

    /// <summary>Whether <c>MultiplyAdd</c> rounds once (a fused instruction) or twice (multiply, then add).</summary>
    public static bool HasFusedMultiplyAdd
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        get => Fma.IsSupported || AdvSimd.IsSupported;
    }

    /// <summary><paramref name="a"/> · <paramref name="b"/> + <paramref name="c"/>, fused exactly where the vector overloads are.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static float MultiplyAdd(float a, float b, float c) =>
        HasFusedMultiplyAdd ? MathF.FusedMultiplyAdd(a, b, c) : (a * b) + c;

    /// <summary>
    /// Uniform number in [0, 1) with 24 random bits, a pure function of its arguments: the same for every vector width, thread and
    /// machine.
    /// </summary>
    /// <param name="counter">Index of the number in its stream.</param>
    /// <param name="key0">First half of the key that selects the stream.</param>
    /// <param name="key1">Second half of the key.</param>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static float Uniform(uint counter, uint key0, uint key1)
    {
        uint x = (counter ^ OuterKey(key0, key1)) * HashMultiplier0;
        x = ((x ^ (x >> 16)) ^ InnerKey(key0, key1)) * HashMultiplier1;
        x = (x ^ (x >> 15)) * HashMultiplier2;
        return (int)((x ^ (x >> 16)) >> 8) * UniformScale;
    }

    // Three rounds of multiply and xorshift over 32 bits, a key before the first and another before the second. With one key alone
    // the streams of two keys would be permutations of each other (counter ^ d under key ^ d). Two multiplications with a rotation
    // between spread the difference of neighbouring keys over all bits; each key is one expression without temporaries, which the
    // JIT moves out of a loop.
    // The constants are five of the 32-bit primes of xxHash, odd and with about half their bits set.
    private const uint HashMultiplier0 = 0x9E3779B1u;
    private const uint HashMultiplier1 = 0x85EBCA77u;
    private const uint HashMultiplier2 = 0xC2B2AE3Du;
    private const uint OuterOffset = 0x27D4EB2Fu;
    private const uint InnerOffset = 0x165667B1u;
    private const float UniformScale = 1f / (1 << 24);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static uint OuterKey(uint key0, uint key1) =>
        (BitOperations.RotateLeft(key0 * HashMultiplier1, 15) * HashMultiplier2) +
        (BitOperations.RotateLeft(key1 * HashMultiplier2, 13) * HashMultiplier1) + OuterOffset;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static uint InnerKey(uint key0, uint key1) =>
        (BitOperations.RotateLeft((key0 + InnerOffset) * HashMultiplier2, 17) * HashMultiplier0) ^
        (BitOperations.RotateLeft((key1 + OuterOffset) * HashMultiplier0, 16) * HashMultiplier2);

    /// <summary>
    /// The width that <paramref name="text"/> asks for, 0 where it is null or empty, -1 where it is none of the accepted ones.
    /// </summary>
    internal static int ParseVectorBits(string? text) =>
        string.IsNullOrWhiteSpace(text) ? NotForced
        : int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out int bits) && bits is 128 or 256 or 512 ? bits
        : Invalid;

    private static string? ForcedText()
    {
        string? text = Environment.GetEnvironmentVariable(EnvironmentName);
        return string.IsNullOrWhiteSpace(text)
            ? Convert.ToString(AppContext.GetData(PropertyName), CultureInfo.InvariantCulture)
            : text;
    }

    private static int ReadForced() => ParseVectorBits(ForcedText());

    // Thrown from the properties and not from the static constructor, which would bury it in a TypeInitializationException.
    private static void ThrowInvalid() =>
        throw new InvalidOperationException(
            $"The vector width '{ForcedText()}' given by the environment variable {EnvironmentName} or the runtime configuration " +
            $"property {PropertyName} is not supported: expected 128, 256 or 512, or nothing for the widest that the processor has.");
}
