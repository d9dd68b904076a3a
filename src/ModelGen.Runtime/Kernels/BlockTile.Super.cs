using System.ComponentModel;
using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace ModelGen.Runtime;

/// <summary>Numbers of 4 bits, an eighth of 256 with a scale and a minimum: <see cref="WeightFormat.Q4_K"/>.</summary>
[EditorBrowsable(EditorBrowsableState.Never)]
public readonly unsafe struct Q4_K : IBlockFormat
{
    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static int Offset<TBytes>()
        where TBytes : struct, IByteProducts
        => 0;

    /// <inheritdoc/>
    public static int Bytes => 2048;

    /// <inheritdoc/>
    public static int ScaleColumns => 32;

    /// <inheritdoc/>
    public static int ScaleBytes => 0;

    /// <inheritdoc/>
    public static bool HasUpperHalves => false;

    /// <inheritdoc/>
    public static int PairSteps => 8;

    /// <inheritdoc/>
    public static bool HasMinima => true;

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
        => Q4_0.Dot<TBytes>(sums, weights, input);

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<int> Dot<TBytes>(Vector128<int> sums, Vector128<byte> weights, Vector128<sbyte> input)
        where TBytes : struct, IByteProducts
        => Q4_0.Dot<TBytes>(sums, weights, input);
}

/// <summary>Numbers of 5 bits, an eighth of 256 with a scale and a minimum: <see cref="WeightFormat.Q5_K"/>.</summary>
[EditorBrowsable(EditorBrowsableState.Never)]
public readonly unsafe struct Q5_K : IBlockFormat
{
    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static int Offset<TBytes>()
        where TBytes : struct, IByteProducts
        => 0;

    /// <inheritdoc/>
    public static int Bytes => 2560;

    /// <inheritdoc/>
    public static int ScaleColumns => 32;

    /// <inheritdoc/>
    public static int ScaleBytes => 0;

    /// <inheritdoc/>
    public static bool HasUpperHalves => false;

    /// <inheritdoc/>
    public static int PairSteps => 4;

    /// <inheritdoc/>
    public static bool HasMinima => true;

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
        => Q4_0.Dot<TBytes>(sums, weights, input);

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<int> Dot<TBytes>(Vector128<int> sums, Vector128<byte> weights, Vector128<sbyte> input)
        where TBytes : struct, IByteProducts
        => Q4_0.Dot<TBytes>(sums, weights, input);
}

/// <summary>Numbers of 6 bits, a sixteenth of 256 with a scale: <see cref="WeightFormat.Q6_K"/>.</summary>
[EditorBrowsable(EditorBrowsableState.Never)]
public readonly unsafe struct Q6_K : IBlockFormat
{
    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static int Offset<TBytes>()
        where TBytes : struct, IByteProducts
        => 32;

    /// <inheritdoc/>
    public static int Bytes => 3072;

    /// <inheritdoc/>
    public static int ScaleColumns => 16;

    /// <inheritdoc/>
    public static int ScaleBytes => 0;

    /// <inheritdoc/>
    public static bool HasUpperHalves => false;

    // Two products are no more than 16,002.
    /// <inheritdoc/>
    public static int PairSteps => 2;

    /// <inheritdoc/>
    public static bool HasMinima => false;

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
        => Q4_0.Dot<TBytes>(sums, weights, input);

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<int> Dot<TBytes>(Vector128<int> sums, Vector128<byte> weights, Vector128<sbyte> input)
        where TBytes : struct, IByteProducts
        => Q4_0.Dot<TBytes>(sums, weights, input);
}

// Blocks of 256, and several rows with what is dear to unpack. A single row meets blocks as they lie; several meet what was unpacked of a group: a byte for each number, and the scales as floats.
public static unsafe partial class BlockTile
{
    // Of 32 columns of 16 rows: 512 bytes of numbers, and 32 floats that say what they stand for.
    private const int UnpackedBytes = 640;

    private const int SuperParts = SuperBlocks.Columns / BlockRows.BlockColumns;

    /// <summary>Unpacks a group of rows.</summary>
    /// <typeparam name="TFormat">The format.</typeparam>
    /// <param name="group">The group.</param>
    /// <param name="blocks">The blocks of 32 columns of a row.</param>
    /// <param name="target">640 bytes for each of them.</param>
    public static void Unpack<TFormat>(byte* group, int blocks, byte* target)
        where TFormat : struct, IBlockFormat
    {
        if (TFormat.ScaleBytes == 0)
        {
            UnpackSuper<TFormat>(group, blocks, target);
        }
        else
        {
            UnpackFlat<TFormat>(group, blocks, target);
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void UnpackFlat<TFormat>(byte* group, int blocks, byte* target)
        where TFormat : struct, IBlockFormat
    {
        byte* numbers = group + BlockRows.ScaleLine;
        for (int block = 0; block < blocks; block++)
        {
            UnpackNumbers<TFormat>(numbers, target);
            float* factors = (float*)(target + 512);
            for (int i = 0; i < TFormat.ScaleBytes / sizeof(ushort); i += 4)
            {
                Scales128<TFormat>(group + (2 * i)).Store(factors + i);
            }

            Next<TFormat>(block, ref group, ref numbers);
            target += UnpackedBytes;
        }
    }

    // A method of its own: with the loop above around it, what it comes to on Arm ends that code generator (of .NET 10.0).
    [MethodImpl(MethodImplOptions.NoInlining | MethodImplOptions.AggressiveOptimization)]
    private static void UnpackNumbers<TFormat>(byte* numbers, byte* target)
        where TFormat : struct, IBlockFormat
    {
        UnpackStep<TFormat>(numbers, 0, target);
        UnpackStep<TFormat>(numbers, 1, target);
        UnpackStep<TFormat>(numbers, 2, target);
        UnpackStep<TFormat>(numbers, 3, target);
        UnpackStep<TFormat>(numbers, 4, target);
        UnpackStep<TFormat>(numbers, 5, target);
        UnpackStep<TFormat>(numbers, 6, target);
        UnpackStep<TFormat>(numbers, 7, target);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void UnpackStep<TFormat>(byte* numbers, int step, byte* target)
        where TFormat : struct, IBlockFormat
    {
        target += 64 * step;
        if (Avx2.IsSupported)
        {
            TFormat.Load(numbers, step, 0).Store(target);
            TFormat.Load(numbers, step, 1).Store(target + 32);
            return;
        }

        TFormat.LoadQuarter(numbers, step, 0).Store(target);
        TFormat.LoadQuarter(numbers, step, 1).Store(target + 16);
        TFormat.LoadQuarter(numbers, step, 2).Store(target + 32);
        TFormat.LoadQuarter(numbers, step, 3).Store(target + 48);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void UnpackSuper<TFormat>(byte* group, int blocks, byte* target)
        where TFormat : struct, IBlockFormat
    {
        const int Rows = BlockRows.GroupRows;
        Vector256<byte> fifteen = Vector256.Create((byte)15), sixteens = Vector256.Create((byte)0x30);
        float* scales = stackalloc float[2 * Rows];
        for (int first = 0; first < blocks; first += SuperParts)
        {
            // A row's scale of all its blocks, and of minima the one behind: halves are dear to widen one by one.
            for (int row = 0; row < (TFormat.HasMinima ? 2 : 1) * Rows; row += 8)
            {
                Halves.LoadF16256((ushort*)group + row).Store(scales + row);
            }

            byte* numbers = group + SuperBlocks.HeaderBytes;
            if (typeof(TFormat) == typeof(Q5_K))
            {
                for (int at = 0; at < 512; at += 32)
                {
                    byte* line = numbers + (at / 64 * SuperBlocks.FifthsStep) + (at % 64), to = target + at;
                    Vector256<ushort> high = Vector256.Load(line + 256).AsUInt16();
                    Fives(line, false, high << 4).Store(to);
                    Fives(line, true, high << 3).Store(to + UnpackedBytes);
                    Fives(line + 64, false, high << 2).Store(to + (2 * UnpackedBytes));
                    Fives(line + 64, true, high << 1).Store(to + (3 * UnpackedBytes));
                    Fives(line + 128, false, high).Store(to + (4 * UnpackedBytes));
                    Fives(line + 128, true, high >>> 1).Store(to + (5 * UnpackedBytes));
                    Fives(line + 192, false, high >>> 2).Store(to + (6 * UnpackedBytes));
                    Fives(line + 192, true, high >>> 3).Store(to + (7 * UnpackedBytes));
                }
            }

            if (TFormat.HasMinima)
            {
                for (int part = 0; part < SuperParts; part += 2)
                {
                    for (int i = 0; i < 512 && typeof(TFormat) == typeof(Q4_K); i += 32)
                    {
                        Vector256<byte> v = Vector256.Load(numbers + i);
                        (v & fifteen).Store(target + i);
                        ((v.AsUInt16() >>> 4).AsByte() & fifteen).Store(target + UnpackedBytes + i);
                    }

                    numbers += 512;
                    for (int each = part; each < part + 2; each++)
                    {
                        float* factors = (float*)(target + 512);
                        Factors(group + SuperBlocks.ScalesAt + (each * Rows), scales, factors);
                        Factors(group + SuperBlocks.MinimaAt + (each * Rows), scales + Rows, factors + Rows);
                        target += UnpackedBytes;
                    }
                }

                group += SuperBlocks.HeaderBytes + TFormat.Bytes;
                continue;
            }

            for (int half = 0; half < 2; half++)
            {
                for (int i = 0; i < 512; i += 32)
                {
                    // Two bits of each of four blocks, which lie in the lower and upper halves of two others' bytes.
                    Vector256<byte> v0 = Vector256.Load(numbers), v1 = Vector256.Load(numbers + 64);
                    Vector256<ushort> h = Vector256.Load(numbers + 128).AsUInt16();
                    ((v0 & fifteen) | ((h << 4).AsByte() & sixteens)).Store(target + i);
                    ((v1 & fifteen) | ((h << 2).AsByte() & sixteens)).Store(target + UnpackedBytes + i);
                    (((v0.AsUInt16() >>> 4).AsByte() & fifteen) | (h.AsByte() & sixteens)).Store(target + (2 * UnpackedBytes) + i);
                    (((v1.AsUInt16() >>> 4).AsByte() & fifteen) | ((h >>> 2).AsByte() & sixteens)).Store(target + (3 * UnpackedBytes) + i);
                    numbers += i % 64 == 0 ? 32 : 160;
                }

                for (int part = 4 * half; part < 4 * (half + 1); part++)
                {
                    float* factors = (float*)(target + 512);
                    SignedFactors(group + SuperBlocks.ScalesAt + (2 * part * Rows), scales, factors);
                    SignedFactors(group + SuperBlocks.ScalesAt + (((2 * part) + 1) * Rows), scales, factors + Rows);
                    target += UnpackedBytes;
                }
            }

            group = numbers;
        }
    }

    /// <summary>The products of some rows of an input with the 16 rows of an unpacked group.</summary>
    /// <inheritdoc cref="Multiply{TVector, TFormat}(byte*, int, byte*, int, float*)"/>
    public static void MultiplyUnpacked<TVector, TFormat>(byte* input, int rows, byte* group, int blocks, float* sums)
        where TVector : struct, IVector<TVector>
        where TFormat : struct, IBlockFormat
    {
        if (HasDotProduct)
        {
            MultiplyUnpacked<TVector, TFormat, ByteDotProduct>(input, rows, group, blocks, sums);
        }
        else
        {
            MultiplyUnpacked<TVector, TFormat, BytePairs>(input, rows, group, blocks, sums);
        }
    }

    private static void MultiplyUnpacked<TVector, TFormat, TBytes>(byte* input, int rows, byte* group, int blocks, float* sums)
        where TVector : struct, IVector<TVector>
        where TFormat : struct, IBlockFormat
        where TBytes : struct, IByteProducts
    {
        int step = BlockRows.InputBytes(blocks * BlockRows.BlockColumns);
        int row = 0;
        if (TVector.Lanes > 4 && Avx2.IsSupported)
        {
            for (; row <= rows - Rows; row += Rows)
            {
                UnpackedRows256<TFormat, TBytes>(input, step, group, blocks, sums);
                input += Rows * step;
                sums += Rows * BlockRows.GroupRows;
            }
        }

        for (; row < rows; row++)
        {
            UnpackedRow128<TFormat, TBytes>(input, group, blocks, sums);
            input += step;
            sums += BlockRows.GroupRows;
        }
    }

    private static void SuperRow<TVector, TFormat, TBytes>(byte* input, byte* group, int blocks, float* sums)
        where TVector : struct, IVector<TVector>
        where TFormat : struct, IBlockFormat
        where TBytes : struct, IByteProducts
    {
        if (IsWide<TVector>())
        {
            if (TFormat.HasMinima)
            {
                if (typeof(TFormat) == typeof(Q5_K))
                {
                    Q5KRow512(input, group, blocks, sums);
                }
                else
                {
                    Q4KRow512(input, group, blocks, sums);
                }
            }
            else
            {
                Q6KRow512(input, group, blocks, sums);
            }

            return;
        }

        if (TVector.Lanes > 4 && Avx2.IsSupported)
        {
            if (TFormat.HasMinima)
            {
                if (typeof(TFormat) == typeof(Q5_K))
                {
                    Q5KRow256<TBytes>(input, group, blocks, sums);
                }
                else
                {
                    Q4KRow256<TBytes>(input, group, blocks, sums);
                }
            }
            else
            {
                Q6KRow256<TBytes>(input, group, blocks, sums);
            }

            return;
        }

        // A block at a time, which adds to the sums of those before.
        byte* unpacked = stackalloc byte[SuperParts * UnpackedBytes];
        new Span<float>(sums, BlockRows.GroupRows).Clear();
        for (int first = 0; first < blocks; first += SuperParts)
        {
            Unpack<TFormat>(group, SuperParts, unpacked);
            UnpackedRow128<TFormat, TBytes>(input, unpacked, blocks, sums, first, SuperParts);
            group += SuperBlocks.HeaderBytes + TFormat.Bytes;
        }
    }

    // The scales of 16 rows in a part of a block.
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Factors(byte* parts, float* scales, float* factors)
    {
        if (Avx2.IsSupported)
        {
            (Bytes256(parts) * Vector256.Load(scales)).Store(factors);
            (Bytes256(parts + 8) * Vector256.Load(scales + 8)).Store(factors + 8);
            return;
        }

        for (int row = 0; row < BlockRows.GroupRows; row++)
        {
            factors[row] = parts[row] * scales[row];
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void SignedFactors(byte* parts, float* scales, float* factors)
    {
        if (Avx2.IsSupported)
        {
            (SignedBytes256(parts) * Vector256.Load(scales)).Store(factors);
            (SignedBytes256(parts + 8) * Vector256.Load(scales + 8)).Store(factors + 8);
            return;
        }

        for (int row = 0; row < BlockRows.GroupRows; row++)
        {
            factors[row] = (sbyte)parts[row] * scales[row];
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector256<float> Bytes256(byte* p) => Vector256.ConvertToSingle(Avx2.ConvertToVector256Int32(p));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector256<float> SignedBytes256(byte* p) => Vector256.ConvertToSingle(Avx2.ConvertToVector256Int32((sbyte*)p));

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Q4KRow256<TBytes>(byte* input, byte* group, int blocks, float* sums)
        where TBytes : struct, IByteProducts
    {
        float* scales = (float*)(input + (blocks * BlockRows.BlockColumns));
        float* starts = scales + blocks;
        Vector256<byte> fifteen = Vector256.Create((byte)15);
        Vector256<float> s0 = Vector256<float>.Zero, s1 = s0;
        for (int first = 0; first < blocks; first += SuperParts)
        {
            Vector256<float> d0 = Scales256(group), d1 = Scales256(group + 16), m0 = Scales256(group + 32), m1 = Scales256(group + 48);
            byte* parts = group + SuperBlocks.ScalesAt, words = group + SuperBlocks.HeaderBytes;
            for (int part = 0; part < SuperParts; part += 2)
            {
                Vector256<int> a0 = Vector256<int>.Zero, a1 = a0, b0 = a0, b1 = a0;
                PrefetchHeader(group, part);
                for (int step = 0; step < 8; step += Sums256<Q4_K, TBytes>.Steps)
                {
                    Sums256<Q4_K, TBytes> sa0 = default, sa1 = default, sb0 = default, sb1 = default;
                    for (int k = step; k < step + Sums256<Q4_K, TBytes>.Steps; k++)
                    {
                        Sse.Prefetch1(words + (64 * k) + Ahead);
                        Vector256<byte> v0 = Vector256.Load(words + (64 * k)), v1 = Vector256.Load(words + (64 * k) + 32);
                        Vector256<byte> a = v0 & fifteen, b = v1 & fifteen, c = (v0.AsUInt16() >>> 4).AsByte() & fifteen, d = (v1.AsUInt16() >>> 4).AsByte() & fifteen;
                        Vector256<sbyte> x = Four256(input + (4 * k));
                        sa0.Add(ref a0, a, x);
                        sa1.Add(ref a1, b, x);
                        x = Four256(input + 32 + (4 * k));
                        sb0.Add(ref b0, c, x);
                        sb1.Add(ref b1, d, x);
                    }

                    sa0.End(ref a0);
                    sa1.End(ref a1);
                    sb0.End(ref b0);
                    sb1.End(ref b1);
                }

                Vector256<float> scale = Vector256.Create(scales[part]), less = Vector256.Create(starts[part]);
                s0 = MultiplyAdd(Vector256.ConvertToSingle(a0), Bytes256(parts) * d0 * scale, s0);
                s1 = MultiplyAdd(Vector256.ConvertToSingle(a1), Bytes256(parts + 8) * d1 * scale, s1);
                s0 = MultiplyAdd(Bytes256(parts + 128) * m0, less, s0);
                s1 = MultiplyAdd(Bytes256(parts + 136) * m1, less, s1);
                scale = Vector256.Create(scales[part + 1]);
                less = Vector256.Create(starts[part + 1]);
                s0 = MultiplyAdd(Vector256.ConvertToSingle(b0), Bytes256(parts + 16) * d0 * scale, s0);
                s1 = MultiplyAdd(Vector256.ConvertToSingle(b1), Bytes256(parts + 24) * d1 * scale, s1);
                s0 = MultiplyAdd(Bytes256(parts + 144) * m0, less, s0);
                s1 = MultiplyAdd(Bytes256(parts + 152) * m1, less, s1);
                parts += 32;
                words += 512;
                input += 64;
            }

            scales += SuperParts;
            starts += SuperParts;
            group += SuperBlocks.HeaderBytes + Q4_K.Bytes;
        }

        s0.Store(sums);
        s1.Store(sums + 8);
    }

    // A half of the rows at a time: of four columns of all eighths, five lines.
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Q5KRow256<TBytes>(byte* input, byte* group, int blocks, float* sums)
        where TBytes : struct, IByteProducts
    {
        float* scales = (float*)(input + (blocks * BlockRows.BlockColumns)), less = scales + blocks;
        for (int side = 0; side < 2; side++)
        {
            Vector256<float> s = Vector256<float>.Zero;
            byte* x = input, block = group;
            for (int first = 0; first < blocks; first += SuperParts)
            {
                Vector256<float> d = Scales256(block + (16 * side)), m = Scales256(block + 32 + (16 * side));
                byte* parts = block + SuperBlocks.ScalesAt + (8 * side), words = block + SuperBlocks.HeaderBytes + (32 * side);
                Vector256<int> i0 = Vector256<int>.Zero, i1 = i0, i2 = i0, i3 = i0, i4 = i0, i5 = i0, i6 = i0, i7 = i0;
                for (int step = 0; step < 8; step += Sums256<Q5_K, TBytes>.Steps)
                {
                    Sums256<Q5_K, TBytes> p0 = default, p1 = default, p2 = default, p3 = default, p4 = default, p5 = default, p6 = default, p7 = default;
                    for (int k = step; k < step + Sums256<Q5_K, TBytes>.Steps; k++)
                    {
                        byte* line = words + (SuperBlocks.FifthsStep * k), four = x + (4 * k);
                        Vector256<ushort> high = Vector256.Load(line + 256).AsUInt16();
                        if (side == 0)
                        {
                            Sse.Prefetch1(line + Ahead);
                            Sse.Prefetch1(line + 64 + Ahead);
                            Sse.Prefetch1(line + 128 + Ahead);
                            Sse.Prefetch1(line + 192 + Ahead);
                            Sse.Prefetch1(line + 256 + Ahead);
                        }

                        p0.Add(ref i0, Fives(line, false, high << 4), Four256(four));
                        p1.Add(ref i1, Fives(line, true, high << 3), Four256(four + 32));
                        p2.Add(ref i2, Fives(line + 64, false, high << 2), Four256(four + 64));
                        p3.Add(ref i3, Fives(line + 64, true, high << 1), Four256(four + 96));
                        p4.Add(ref i4, Fives(line + 128, false, high), Four256(four + 128));
                        p5.Add(ref i5, Fives(line + 128, true, high >>> 1), Four256(four + 160));
                        p6.Add(ref i6, Fives(line + 192, false, high >>> 2), Four256(four + 192));
                        p7.Add(ref i7, Fives(line + 192, true, high >>> 3), Four256(four + 224));
                    }

                    p0.End(ref i0);
                    p1.End(ref i1);
                    p2.End(ref i2);
                    p3.End(ref i3);
                    p4.End(ref i4);
                    p5.End(ref i5);
                    p6.End(ref i6);
                    p7.End(ref i7);
                }

                float* by = scales + first, minimum = less + first;
                s = Part(i0, parts, 0, d, m, by, minimum, s);
                s = Part(i1, parts, 1, d, m, by, minimum, s);
                s = Part(i2, parts, 2, d, m, by, minimum, s);
                s = Part(i3, parts, 3, d, m, by, minimum, s);
                s = Part(i4, parts, 4, d, m, by, minimum, s);
                s = Part(i5, parts, 5, d, m, by, minimum, s);
                s = Part(i6, parts, 6, d, m, by, minimum, s);
                s = Part(i7, parts, 7, d, m, by, minimum, s);
                x += SuperBlocks.Columns;
                block += SuperBlocks.HeaderBytes + Q5_K.Bytes;
            }

            s.Store(sums + (8 * side));
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector256<float> Part(Vector256<int> products, byte* parts, int part, Vector256<float> d, Vector256<float> m, float* scales, float* less, Vector256<float> sum)
    {
        sum = MultiplyAdd(Vector256.ConvertToSingle(products), Bytes256(parts + (16 * part)) * d * Vector256.Create(scales[part]), sum);
        return MultiplyAdd(Bytes256(parts + 128 + (16 * part)) * m, Vector256.Create(less[part]), sum);
    }

    // Four bits of a line's bytes, and the fifth ones where they are to be.
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector256<byte> Fives(byte* line, bool isUpper, Vector256<ushort> fifths)
    {
        Vector256<byte> v = Vector256.Load(line);
        return ((isUpper ? (v.AsUInt16() >>> 4).AsByte() : v) & Vector256.Create((byte)15)) | (fifths.AsByte() & Vector256.Create((byte)16));
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Q6KRow256<TBytes>(byte* input, byte* group, int blocks, float* sums)
        where TBytes : struct, IByteProducts
    {
        float* scales = (float*)(input + (blocks * BlockRows.BlockColumns));
        int* starts = (int*)(scales + (2 * blocks));
        Vector256<float> s0 = Vector256<float>.Zero, s1 = s0;
        for (int first = 0; first < blocks; first += SuperParts)
        {
            Vector256<float> d0 = Scales256(group), d1 = Scales256(group + 16);
            byte* parts = group + SuperBlocks.ScalesAt, words = group + SuperBlocks.HeaderBytes;
            for (int half = 0; half < 2; half++)
            {
                // Lower halves of bytes, and their upper halves, two blocks each.
                PrefetchHeader(group, 4 * half);
                PrefetchHeader(group, (4 * half) + 2);
                Q6KPart<TBytes>(0, words, input, parts, scales, starts, d0, d1, ref s0, ref s1);
                Q6KPart<TBytes>(1, words, input + 32, parts + 32, scales + 1, starts + 1, d0, d1, ref s0, ref s1);
                Q6KPart<TBytes>(2, words, input + 64, parts + 64, scales + 2, starts + 2, d0, d1, ref s0, ref s1);
                Q6KPart<TBytes>(3, words, input + 96, parts + 96, scales + 3, starts + 3, d0, d1, ref s0, ref s1);
                words += 1536;
                input += 128;
                parts += 128;
                scales += 4;
                starts += 4;
            }

            group += SuperBlocks.HeaderBytes + Q6_K.Bytes;
        }

        s0.Store(sums);
        s1.Store(sums + 8);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Q6KPart<TBytes>(int quarter, byte* words, byte* input, byte* parts, float* scales, int* starts, Vector256<float> d0, Vector256<float> d1, ref Vector256<float> s0, ref Vector256<float> s1)
        where TBytes : struct, IByteProducts
    {
        Vector256<float> scale = Vector256.Create(*scales);
        for (int side = 0; side < 2; side++)
        {
            Vector256<int> i0 = Start256<Q6_K, TBytes>((byte*)starts, side), i1 = i0;
            for (int step = 4 * side; step < (4 * side) + 4; step += 2)
            {
                Sums256<Q6_K, TBytes> p0 = default, p1 = default;
                for (int k = step; k < step + 2; k++)
                {
                    byte* low = words + (192 * k) + (64 * (quarter % 2)), high = words + (192 * k) + 128;
                    if (quarter < 3)
                    {
                        Sse.Prefetch1(words + (192 * k) + (64 * quarter) + Ahead);
                    }

                    Vector256<sbyte> x = Four256(input + (4 * k));
                    p0.Add(ref i0, Six(quarter, low, high), x);
                    p1.Add(ref i1, Six(quarter, low + 32, high + 32), x);
                }

                p0.End(ref i0);
                p1.End(ref i1);
            }

            s0 = MultiplyAdd(Vector256.ConvertToSingle(i0), SignedBytes256(parts + (16 * side)) * d0 * scale, s0);
            s1 = MultiplyAdd(Vector256.ConvertToSingle(i1), SignedBytes256(parts + (16 * side) + 8) * d1 * scale, s1);
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector256<byte> Six(int quarter, byte* low, byte* high)
    {
        Vector256<byte> v = Vector256.Load(low);
        Vector256<ushort> h = Vector256.Load(high).AsUInt16();
        Vector256<byte> upper = (quarter == 0 ? h << 4 : quarter == 1 ? h << 2 : quarter == 2 ? h : h >>> 2).AsByte() & Vector256.Create((byte)0x30);
        return ((quarter < 2 ? v : (v.AsUInt16() >>> 4).AsByte()) & Vector256.Create((byte)15)) | upper;
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void UnpackedRows256<TFormat, TBytes>(byte* input, int inputStep, byte* group, int blocks, float* sums)
        where TFormat : struct, IBlockFormat
        where TBytes : struct, IByteProducts
    {
        nint at = blocks * BlockRows.BlockColumns;
        nint less = at + (blocks * sizeof(float)), starts = less + (blocks * sizeof(float));
        byte* x0 = input, x1 = x0 + inputStep, x2 = x1 + inputStep, x3 = x2 + inputStep;
        Vector256<float> s00 = Vector256<float>.Zero, s01 = s00, s10 = s00, s11 = s00, s20 = s00, s21 = s00, s30 = s00, s31 = s00;
        for (nint block = 0; block < blocks; block++)
        {
            float* factors = (float*)(group + 512);
            nint scale = at + (block * 4);
            for (int part = 0; part < 32 / TFormat.ScaleColumns; part++)
            {
                nint start = starts + (block * 4);
                Vector256<int> i00 = Start256<TFormat, TBytes>(x0 + start, part), i10 = Start256<TFormat, TBytes>(x1 + start, part), i20 = Start256<TFormat, TBytes>(x2 + start, part), i30 = Start256<TFormat, TBytes>(x3 + start, part);
                Vector256<int> i01 = i00, i11 = i10, i21 = i20, i31 = i30;
                nint column = (block * BlockRows.BlockColumns) + (part * TFormat.ScaleColumns);
                int each = Sums256<TFormat, TBytes>.Steps;
                for (int step = part * TFormat.ScaleColumns / 4; step < (part + 1) * TFormat.ScaleColumns / 4; step += each)
                {
                    Sums256<TFormat, TBytes> p00 = default, p01 = default, p10 = default, p11 = default, p20 = default, p21 = default, p30 = default, p31 = default;
                    for (int k = step; k < step + each; k++)
                    {
                        Vector256<byte> w0 = Vector256.Load(group + (64 * k)), w1 = Vector256.Load(group + (64 * k) + 32);
                        Vector256<sbyte> x = Four256(x0 + column);
                        p00.Add(ref i00, w0, x);
                        p01.Add(ref i01, w1, x);
                        x = Four256(x1 + column);
                        p10.Add(ref i10, w0, x);
                        p11.Add(ref i11, w1, x);
                        x = Four256(x2 + column);
                        p20.Add(ref i20, w0, x);
                        p21.Add(ref i21, w1, x);
                        x = Four256(x3 + column);
                        p30.Add(ref i30, w0, x);
                        p31.Add(ref i31, w1, x);
                        column += 4;
                    }

                    p00.End(ref i00);
                    p01.End(ref i01);
                    p10.End(ref i10);
                    p11.End(ref i11);
                    p20.End(ref i20);
                    p21.End(ref i21);
                    p30.End(ref i30);
                    p31.End(ref i31);
                }

                Vector256<float> f0 = Vector256.Load(factors + (16 * part)), f1 = Vector256.Load(factors + (16 * part) + 8);
                Vector256<float> d = Vector256.Create(*(float*)(x0 + scale));
                s00 = MultiplyAdd(Vector256.ConvertToSingle(i00), f0 * d, s00);
                s01 = MultiplyAdd(Vector256.ConvertToSingle(i01), f1 * d, s01);
                d = Vector256.Create(*(float*)(x1 + scale));
                s10 = MultiplyAdd(Vector256.ConvertToSingle(i10), f0 * d, s10);
                s11 = MultiplyAdd(Vector256.ConvertToSingle(i11), f1 * d, s11);
                d = Vector256.Create(*(float*)(x2 + scale));
                s20 = MultiplyAdd(Vector256.ConvertToSingle(i20), f0 * d, s20);
                s21 = MultiplyAdd(Vector256.ConvertToSingle(i21), f1 * d, s21);
                d = Vector256.Create(*(float*)(x3 + scale));
                s30 = MultiplyAdd(Vector256.ConvertToSingle(i30), f0 * d, s30);
                s31 = MultiplyAdd(Vector256.ConvertToSingle(i31), f1 * d, s31);
                if (TFormat.HasMinima)
                {
                    nint least = less + (block * 4);
                    f0 = Vector256.Load(factors + 16);
                    f1 = Vector256.Load(factors + 24);
                    d = Vector256.Create(*(float*)(x0 + least));
                    s00 = MultiplyAdd(f0, d, s00);
                    s01 = MultiplyAdd(f1, d, s01);
                    d = Vector256.Create(*(float*)(x1 + least));
                    s10 = MultiplyAdd(f0, d, s10);
                    s11 = MultiplyAdd(f1, d, s11);
                    d = Vector256.Create(*(float*)(x2 + least));
                    s20 = MultiplyAdd(f0, d, s20);
                    s21 = MultiplyAdd(f1, d, s21);
                    d = Vector256.Create(*(float*)(x3 + least));
                    s30 = MultiplyAdd(f0, d, s30);
                    s31 = MultiplyAdd(f1, d, s31);
                }
            }

            group += UnpackedBytes;
        }

        s00.Store(sums);
        s01.Store(sums + 8);
        s10.Store(sums + 16);
        s11.Store(sums + 24);
        s20.Store(sums + 32);
        s21.Store(sums + 40);
        s30.Store(sums + 48);
        s31.Store(sums + 56);
    }

    private static void UnpackedRow128<TFormat, TBytes>(byte* input, byte* group, int blocks, float* sums)
        where TFormat : struct, IBlockFormat
        where TBytes : struct, IByteProducts
    {
        new Span<float>(sums, BlockRows.GroupRows).Clear();
        UnpackedRow128<TFormat, TBytes>(input, group, blocks, sums, 0, blocks);
    }

    // Adds the products of some of the blocks.
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void UnpackedRow128<TFormat, TBytes>(byte* input, byte* group, int blocks, float* sums, int first, int count)
        where TFormat : struct, IBlockFormat
        where TBytes : struct, IByteProducts
    {
        float* scales = (float*)(input + (blocks * BlockRows.BlockColumns));
        float* less = scales + blocks;
        int* pairs = (int*)(less + blocks);
        Vector128<float> s0 = Vector128.Load(sums), s1 = Vector128.Load(sums + 4), s2 = Vector128.Load(sums + 8), s3 = Vector128.Load(sums + 12);
        for (int block = first; block < first + count; block++)
        {
            float* factors = (float*)(group + 512);
            Vector128<float> scale = Vector128.Create(scales[block]);
            for (int part = 0; part < 32 / TFormat.ScaleColumns; part++)
            {
                Vector128<int> i0 = Start128<TFormat, TBytes>((byte*)(pairs + block), part), i1 = i0, i2 = i0, i3 = i0;
                for (int step = part * TFormat.ScaleColumns / 4; step < (part + 1) * TFormat.ScaleColumns / 4; step++)
                {
                    Vector128<sbyte> x = Vector128.Create(*(int*)(input + (block * BlockRows.BlockColumns) + (4 * step))).AsSByte();
                    i0 = TFormat.Dot<TBytes>(i0, Vector128.Load(group + (64 * step)), x);
                    i1 = TFormat.Dot<TBytes>(i1, Vector128.Load(group + (64 * step) + 16), x);
                    i2 = TFormat.Dot<TBytes>(i2, Vector128.Load(group + (64 * step) + 32), x);
                    i3 = TFormat.Dot<TBytes>(i3, Vector128.Load(group + (64 * step) + 48), x);
                }

                float* f = factors + (16 * part);
                s0 = MultiplyAdd(Vector128.ConvertToSingle(i0), Vector128.Load(f) * scale, s0);
                s1 = MultiplyAdd(Vector128.ConvertToSingle(i1), Vector128.Load(f + 4) * scale, s1);
                s2 = MultiplyAdd(Vector128.ConvertToSingle(i2), Vector128.Load(f + 8) * scale, s2);
                s3 = MultiplyAdd(Vector128.ConvertToSingle(i3), Vector128.Load(f + 12) * scale, s3);
                if (TFormat.HasMinima)
                {
                    Vector128<float> by = Vector128.Create(less[block]);
                    s0 = MultiplyAdd(Vector128.Load(factors + 16), by, s0);
                    s1 = MultiplyAdd(Vector128.Load(factors + 20), by, s1);
                    s2 = MultiplyAdd(Vector128.Load(factors + 24), by, s2);
                    s3 = MultiplyAdd(Vector128.Load(factors + 28), by, s3);
                }
            }

            group += UnpackedBytes;
        }

        s0.Store(sums);
        s1.Store(sums + 4);
        s2.Store(sums + 8);
        s3.Store(sums + 12);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector128<float> MultiplyAdd(Vector128<float> a, Vector128<float> b, Vector128<float> c) => F128.MultiplyAdd(new F128(a), new F128(b), new F128(c)).Value;
}
