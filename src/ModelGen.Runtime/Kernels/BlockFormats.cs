using System.ComponentModel;
using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace ModelGen.Runtime;

/// <summary>How kernels read the numbers of a quantized format, four columns of some rows at a time.</summary>
[EditorBrowsable(EditorBrowsableState.Never)]
public unsafe interface IBlockFormat
{
    /// <summary>By how much the numbers that <see cref="Dot{TBytes}(Vector256{int}, Vector256{byte}, Vector256{sbyte})"/> takes are more than those that they stand for.</summary>
    static abstract int Offset<TBytes>()
        where TBytes : struct, IByteProducts;

    /// <summary>The bytes of 16 rows' numbers in a block.</summary>
    static abstract int Bytes { get; }

    /// <summary>The columns that have a scale: 32 or 16.</summary>
    static abstract int ScaleColumns { get; }

    /// <summary>The bytes of 16 rows' scales in a block of 32 columns, and of their minima behind them, where those do not lie in blocks of 256.</summary>
    static abstract int ScaleBytes { get; }

    /// <summary>Whether scales are upper halves of floats, and not binary16.</summary>
    static abstract bool HasUpperHalves { get; }

    /// <summary>Whether numbers count from a minimum on.</summary>
    static abstract bool HasMinima { get; }

    /// <summary>How many steps of four columns sums of 16 bits hold the products of, without instructions that sum up four at once: a sum is of two products in each step.</summary>
    static abstract int PairSteps { get; }

    /// <summary>The numbers of columns 4 · <paramref name="step"/> to 4 · step + 3 of all rows.</summary>
    /// <param name="block">The 16 rows' numbers in the block.</param>
    /// <param name="step">0 to 7.</param>
    static abstract Vector512<byte> LoadAll(byte* block, int step);

    /// <summary>The numbers of columns 4 · <paramref name="step"/> to 4 · step + 3 of eight rows.</summary>
    /// <param name="block">The 16 rows' numbers in the block.</param>
    /// <param name="step">0 to 7.</param>
    /// <param name="half">0 for the first eight rows, 1 for the others.</param>
    static abstract Vector256<byte> Load(byte* block, int step, int half);

    /// <summary>The numbers of columns 4 · <paramref name="step"/> to 4 · step + 3 of four rows.</summary>
    /// <param name="block">The 16 rows' numbers in the block.</param>
    /// <param name="step">0 to 7.</param>
    /// <param name="quarter">Which four rows: 0 to 3.</param>
    static abstract Vector128<byte> LoadQuarter(byte* block, int step, int quarter);

    /// <summary>Adds, for each row, the products of its four numbers with those of the input.</summary>
    /// <param name="sums">A sum of each row.</param>
    /// <param name="weights">Numbers of weights.</param>
    /// <param name="input">Four numbers of the input, for each row.</param>
    static abstract Vector256<int> Dot<TBytes>(Vector256<int> sums, Vector256<byte> weights, Vector256<sbyte> input)
        where TBytes : struct, IByteProducts;

    /// <inheritdoc cref="Dot{TBytes}(Vector256{int}, Vector256{byte}, Vector256{sbyte})"/>
    static abstract Vector128<int> Dot<TBytes>(Vector128<int> sums, Vector128<byte> weights, Vector128<sbyte> input)
        where TBytes : struct, IByteProducts;
}

/// <summary>
/// Whether the processor has an instruction that sums up products of four bytes. Compiled code that is for other processors too asks while it runs: it asks a row's kernel once, and not at each
/// product of it.
/// </summary>
[EditorBrowsable(EditorBrowsableState.Never)]
public interface IByteProducts
{
    /// <summary>Whether it has.</summary>
    static abstract bool HasDotProduct { get; }
}

/// <summary>It has: AVX-VNNI, or <c>sdot</c> of Arm.</summary>
[EditorBrowsable(EditorBrowsableState.Never)]
public readonly struct ByteDotProduct : IByteProducts
{
    /// <inheritdoc/>
    public static bool HasDotProduct
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        get => true;
    }
}

/// <summary>It has not.</summary>
[EditorBrowsable(EditorBrowsableState.Never)]
public readonly struct BytePairs : IByteProducts
{
    /// <inheritdoc/>
    public static bool HasDotProduct
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        get => false;
    }
}

/// <summary>Numbers of 8 bits: <see cref="WeightFormat.Q8_0"/>.</summary>
[EditorBrowsable(EditorBrowsableState.Never)]
public readonly unsafe struct Q8_0 : IBlockFormat
{
    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static int Offset<TBytes>()
        where TBytes : struct, IByteProducts
        => TBytes.HasDotProduct && X86Base.IsSupported ? 128 : 0;

    /// <inheritdoc/>
    public static int Bytes
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        get => 512;
    }

    /// <inheritdoc/>
    public static int ScaleColumns
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        get => 32;
    }

    /// <inheritdoc/>
    public static int ScaleBytes
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        get => 32;
    }

    /// <inheritdoc/>
    public static bool HasUpperHalves
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        get => false;
    }

    // Two products are no more than 32,512.
    /// <inheritdoc/>
    public static int PairSteps
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        get => 1;
    }

    /// <inheritdoc/>
    public static bool HasMinima
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        get => false;
    }

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<byte> LoadAll(byte* block, int step) => Vector512.Load(block + (64 * step));

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<byte> Load(byte* block, int step, int half) => Vector256.Load(block + (64 * step) + (32 * half));

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<byte> LoadQuarter(byte* block, int step, int quarter) => Vector128.Load(block + (64 * step) + (16 * quarter));

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<int> Dot<TBytes>(Vector256<int> sums, Vector256<byte> weights, Vector256<sbyte> input)
        where TBytes : struct, IByteProducts
    {
        if (TBytes.HasDotProduct && X86Base.IsSupported)
        {
            return AvxVnni.MultiplyWideningAndAdd(sums, weights, input);
        }

        // Magnitudes of weights, 128 at the most, and inputs of their signs: two products are no more than 32,512.
        Vector256<sbyte> signed = (weights ^ Vector256.Create((byte)0x80)).AsSByte();
        Vector256<short> pairs = Avx2.MultiplyAddAdjacent(Avx2.Abs(signed), Avx2.Sign(input, signed));
        return sums + Avx2.MultiplyAddAdjacent(pairs, Vector256<short>.One);
    }

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<int> Dot<TBytes>(Vector128<int> sums, Vector128<byte> weights, Vector128<sbyte> input)
        where TBytes : struct, IByteProducts
    {
        if (TBytes.HasDotProduct && X86Base.IsSupported)
        {
            return AvxVnni.MultiplyWideningAndAdd(sums, weights, input);
        }

        Vector128<sbyte> signed = (weights ^ Vector128.Create((byte)0x80)).AsSByte();
        if (Ssse3.IsSupported)
        {
            Vector128<short> pairs = Ssse3.MultiplyAddAdjacent(Ssse3.Abs(signed), Ssse3.Sign(input, signed));
            return sums + Sse2.MultiplyAddAdjacent(pairs, Vector128<short>.One);
        }

        return BlockTile.Dot<TBytes>(sums, signed, input);
    }
}

/// <summary>Numbers of 4 bits: <see cref="WeightFormat.Q4_0"/>.</summary>
[EditorBrowsable(EditorBrowsableState.Never)]
public readonly unsafe struct Q4_0 : IBlockFormat
{
    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static int Offset<TBytes>()
        where TBytes : struct, IByteProducts
        => 8;

    /// <inheritdoc/>
    public static int Bytes
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        get => 256;
    }

    /// <inheritdoc/>
    public static int ScaleColumns
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        get => 32;
    }

    /// <inheritdoc/>
    public static int ScaleBytes
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        get => 32;
    }

    /// <inheritdoc/>
    public static bool HasUpperHalves
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        get => false;
    }

    // Two products are no more than 3,810.
    /// <inheritdoc/>
    public static int PairSteps
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        get => 8;
    }

    /// <inheritdoc/>
    public static bool HasMinima
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        get => false;
    }

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<byte> LoadAll(byte* block, int step)
    {
        Vector512<byte> bytes = Vector512.Load(block + (64 * (step % 4)));
        return (step < 4 ? bytes : (bytes.AsUInt16() >>> 4).AsByte()) & Vector512.Create((byte)15);
    }

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<byte> Load(byte* block, int step, int half)
    {
        Vector256<byte> bytes = Vector256.Load(block + (64 * (step % 4)) + (32 * half));
        return (step < 4 ? bytes : (bytes.AsUInt16() >>> 4).AsByte()) & Vector256.Create((byte)15);
    }

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<byte> LoadQuarter(byte* block, int step, int quarter)
    {
        Vector128<byte> bytes = Vector128.Load(block + (64 * (step % 4)) + (16 * quarter));
        return (step < 4 ? bytes : (bytes.AsUInt16() >>> 4).AsByte()) & Vector128.Create((byte)15);
    }

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<int> Dot<TBytes>(Vector256<int> sums, Vector256<byte> weights, Vector256<sbyte> input)
        where TBytes : struct, IByteProducts
        => TBytes.HasDotProduct && X86Base.IsSupported ? AvxVnni.MultiplyWideningAndAdd(sums, weights, input)
            : sums + Avx2.MultiplyAddAdjacent(Avx2.MultiplyAddAdjacent(weights, input), Vector256<short>.One);

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<int> Dot<TBytes>(Vector128<int> sums, Vector128<byte> weights, Vector128<sbyte> input)
        where TBytes : struct, IByteProducts
        => TBytes.HasDotProduct && X86Base.IsSupported ? AvxVnni.MultiplyWideningAndAdd(sums, weights, input)
            : Ssse3.IsSupported ? sums + Sse2.MultiplyAddAdjacent(Ssse3.MultiplyAddAdjacent(weights, input), Vector128<short>.One)
            : BlockTile.Dot<TBytes>(sums, weights.AsSByte(), input);
}

/// <summary>Numbers of 4 bits from a minimum on: <see cref="WeightFormat.Q4_1"/>.</summary>
[EditorBrowsable(EditorBrowsableState.Never)]
public readonly unsafe struct Q4_1 : IBlockFormat
{
    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static int Offset<TBytes>()
        where TBytes : struct, IByteProducts
        => 0;

    /// <inheritdoc/>
    public static int Bytes
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        get => 256;
    }

    /// <inheritdoc/>
    public static int ScaleColumns
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        get => 32;
    }

    /// <inheritdoc/>
    public static int ScaleBytes
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        get => 64;
    }

    /// <inheritdoc/>
    public static bool HasUpperHalves
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        get => false;
    }

    /// <inheritdoc/>
    public static int PairSteps
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        get => 8;
    }

    /// <inheritdoc/>
    public static bool HasMinima
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        get => true;
    }

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<byte> LoadAll(byte* block, int step) => Q4_0.LoadAll(block, step);

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<byte> Load(byte* block, int step, int half) => Q4_0.Load(block, step, half);

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<byte> LoadQuarter(byte* block, int step, int quarter) => Q4_0.LoadQuarter(block, step, quarter);

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<int> Dot<TBytes>(Vector256<int> sums, Vector256<byte> weights, Vector256<sbyte> input)
        where TBytes : struct, IByteProducts
        => Q4_0.Dot<TBytes>(sums, weights, input);

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<int> Dot<TBytes>(Vector128<int> sums, Vector128<byte> weights, Vector128<sbyte> input)
        where TBytes : struct, IByteProducts
        => Q4_0.Dot<TBytes>(sums, weights, input);
}

/// <summary>Numbers of 5 bits: <see cref="WeightFormat.Q5_0"/>.</summary>
[EditorBrowsable(EditorBrowsableState.Never)]
public readonly unsafe struct Q5_0 : IBlockFormat
{
    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static int Offset<TBytes>()
        where TBytes : struct, IByteProducts
        => 16;

    /// <inheritdoc/>
    public static int Bytes
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        get => 320;
    }

    /// <inheritdoc/>
    public static int ScaleColumns
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        get => 32;
    }

    /// <inheritdoc/>
    public static int ScaleBytes
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        get => 32;
    }

    /// <inheritdoc/>
    public static bool HasUpperHalves
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        get => false;
    }

    // Two products are no more than 7,874.
    /// <inheritdoc/>
    public static int PairSteps
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        get => 4;
    }

    /// <inheritdoc/>
    public static bool HasMinima
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        get => false;
    }

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<byte> LoadAll(byte* block, int step)
    {
        Vector512<ushort> fifths = Vector512.Load(block + 256).AsUInt16();
        return Q4_0.LoadAll(block, step) | ((step < 4 ? fifths << (4 - step) : fifths >>> (step - 4)).AsByte() & Vector512.Create((byte)16));
    }

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<byte> Load(byte* block, int step, int half)
    {
        Vector256<ushort> fifths = Vector256.Load(block + 256 + (32 * half)).AsUInt16();
        return Q4_0.Load(block, step, half) | ((step < 4 ? fifths << (4 - step) : fifths >>> (step - 4)).AsByte() & Vector256.Create((byte)16));
    }

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<byte> LoadQuarter(byte* block, int step, int quarter)
    {
        Vector128<ushort> fifths = Vector128.Load(block + 256 + (16 * quarter)).AsUInt16();
        return Q4_0.LoadQuarter(block, step, quarter) | ((step < 4 ? fifths << (4 - step) : fifths >>> (step - 4)).AsByte() & Vector128.Create((byte)16));
    }

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<int> Dot<TBytes>(Vector256<int> sums, Vector256<byte> weights, Vector256<sbyte> input)
        where TBytes : struct, IByteProducts
        => Q4_0.Dot<TBytes>(sums, weights, input);

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<int> Dot<TBytes>(Vector128<int> sums, Vector128<byte> weights, Vector128<sbyte> input)
        where TBytes : struct, IByteProducts
        => Q4_0.Dot<TBytes>(sums, weights, input);
}

/// <summary>Numbers of 5 bits from a minimum on: <see cref="WeightFormat.Q5_1"/>.</summary>
[EditorBrowsable(EditorBrowsableState.Never)]
public readonly unsafe struct Q5_1 : IBlockFormat
{
    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static int Offset<TBytes>()
        where TBytes : struct, IByteProducts
        => 0;

    /// <inheritdoc/>
    public static int Bytes
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        get => 320;
    }

    /// <inheritdoc/>
    public static int ScaleColumns
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        get => 32;
    }

    /// <inheritdoc/>
    public static int ScaleBytes
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        get => 64;
    }

    /// <inheritdoc/>
    public static bool HasUpperHalves
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        get => false;
    }

    /// <inheritdoc/>
    public static int PairSteps
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        get => 4;
    }

    /// <inheritdoc/>
    public static bool HasMinima
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        get => true;
    }

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<byte> LoadAll(byte* block, int step) => Q5_0.LoadAll(block, step);

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<byte> Load(byte* block, int step, int half) => Q5_0.Load(block, step, half);

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<byte> LoadQuarter(byte* block, int step, int quarter) => Q5_0.LoadQuarter(block, step, quarter);

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<int> Dot<TBytes>(Vector256<int> sums, Vector256<byte> weights, Vector256<sbyte> input)
        where TBytes : struct, IByteProducts
        => Q4_0.Dot<TBytes>(sums, weights, input);

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<int> Dot<TBytes>(Vector128<int> sums, Vector128<byte> weights, Vector128<sbyte> input)
        where TBytes : struct, IByteProducts
        => Q4_0.Dot<TBytes>(sums, weights, input);
}

/// <summary>Numbers of a table of 16: <see cref="WeightFormat.IQ4_NL"/>.</summary>
[EditorBrowsable(EditorBrowsableState.Never)]
public readonly unsafe struct IQ4_NL : IBlockFormat
{
    // −127, −104, −83, −65, −49, −35, −22, −10, 1, 13, 25, 38, 53, 69, 89 and 113, each more by 128, as numbers of 8 bits are: the first in the lowest byte.
    private const ulong Lower = 0x766A5D4F3F2D1801, Upper = 0xF1D9C5B5A6998D81;

    /// <summary>The table, for each 16 bytes.</summary>
    internal static Vector512<byte> Table512
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        get => Vector512.Create(Lower, Upper, Lower, Upper, Lower, Upper, Lower, Upper).AsByte();
    }

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static int Offset<TBytes>()
        where TBytes : struct, IByteProducts
        => Q8_0.Offset<TBytes>();

    /// <inheritdoc/>
    public static int Bytes
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        get => 256;
    }

    /// <inheritdoc/>
    public static int ScaleColumns
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        get => 32;
    }

    /// <inheritdoc/>
    public static int ScaleBytes
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        get => 32;
    }

    /// <inheritdoc/>
    public static bool HasUpperHalves
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        get => false;
    }

    /// <inheritdoc/>
    public static int PairSteps
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        get => 1;
    }

    /// <inheritdoc/>
    public static bool HasMinima
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        get => false;
    }

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<byte> LoadAll(byte* block, int step) => BlockTile.LookUp(Table512, Q4_0.LoadAll(block, step));

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<byte> Load(byte* block, int step, int half) => BlockTile.LookUp(Vector256.Create(Lower, Upper, Lower, Upper).AsByte(), Q4_0.Load(block, step, half));

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<byte> LoadQuarter(byte* block, int step, int quarter) => BlockTile.LookUp(Vector128.Create(Lower, Upper).AsByte(), Q4_0.LoadQuarter(block, step, quarter));

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<int> Dot<TBytes>(Vector256<int> sums, Vector256<byte> weights, Vector256<sbyte> input)
        where TBytes : struct, IByteProducts
        => Q8_0.Dot<TBytes>(sums, weights, input);

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<int> Dot<TBytes>(Vector128<int> sums, Vector128<byte> weights, Vector128<sbyte> input)
        where TBytes : struct, IByteProducts
        => Q8_0.Dot<TBytes>(sums, weights, input);
}

/// <summary>Floats of 4 bits, as whole numbers of halves: <see cref="WeightFormat.MXFP4"/>.</summary>
[EditorBrowsable(EditorBrowsableState.Never)]
public readonly unsafe struct MXFP4 : IBlockFormat
{
    // Twice the floats 0, 0.5, 1, 1.5, 2, 3, 4, 6 and the same below zero, each more by 12: the first in the lowest byte.
    private const ulong Lower = 0x181412100F0E0D0C, Upper = 0x00040608090A0B0C;

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static int Offset<TBytes>()
        where TBytes : struct, IByteProducts
        => 12;

    /// <inheritdoc/>
    public static int Bytes
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        get => 256;
    }

    /// <inheritdoc/>
    public static int ScaleColumns
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        get => 32;
    }

    /// <inheritdoc/>
    public static int ScaleBytes
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        get => 32;
    }

    /// <inheritdoc/>
    public static bool HasUpperHalves
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        get => true;
    }

    // Two products are no more than 6,096.
    /// <inheritdoc/>
    public static int PairSteps
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        get => 4;
    }

    /// <inheritdoc/>
    public static bool HasMinima
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        get => false;
    }

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<byte> LoadAll(byte* block, int step) => BlockTile.LookUp(Vector512.Create(Lower, Upper, Lower, Upper, Lower, Upper, Lower, Upper).AsByte(), Q4_0.LoadAll(block, step));

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<byte> Load(byte* block, int step, int half) => BlockTile.LookUp(Vector256.Create(Lower, Upper, Lower, Upper).AsByte(), Q4_0.Load(block, step, half));

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<byte> LoadQuarter(byte* block, int step, int quarter) => BlockTile.LookUp(Vector128.Create(Lower, Upper).AsByte(), Q4_0.LoadQuarter(block, step, quarter));

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<int> Dot<TBytes>(Vector256<int> sums, Vector256<byte> weights, Vector256<sbyte> input)
        where TBytes : struct, IByteProducts
        => Q4_0.Dot<TBytes>(sums, weights, input);

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<int> Dot<TBytes>(Vector128<int> sums, Vector128<byte> weights, Vector128<sbyte> input)
        where TBytes : struct, IByteProducts
        => Q4_0.Dot<TBytes>(sums, weights, input);
}
