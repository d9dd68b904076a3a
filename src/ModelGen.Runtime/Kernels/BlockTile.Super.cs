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
    public static int Offset => 0;

    /// <inheritdoc/>
    public static int Bytes => 512;

    /// <inheritdoc/>
    public static int ScaleColumns => 32;

    /// <inheritdoc/>
    public static bool HasMinima => true;

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<byte> Load(byte* block, int step, int half) => Vector256.Load(block + (64 * step) + (32 * half));

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<byte> LoadQuarter(byte* block, int step, int quarter) => Vector128.Load(block + (64 * step) + (16 * quarter));

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<int> Dot(Vector256<int> sums, Vector256<byte> weights, Vector256<sbyte> input) => Q4_0.Dot(sums, weights, input);

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<int> Dot(Vector128<int> sums, Vector128<byte> weights, Vector128<sbyte> input) => Q4_0.Dot(sums, weights, input);
}

/// <summary>Numbers of 6 bits, a sixteenth of 256 with a scale: <see cref="WeightFormat.Q6_K"/>.</summary>
[EditorBrowsable(EditorBrowsableState.Never)]
public readonly unsafe struct Q6_K : IBlockFormat
{
    /// <inheritdoc/>
    public static int Offset => 32;

    /// <inheritdoc/>
    public static int Bytes => 512;

    /// <inheritdoc/>
    public static int ScaleColumns => 16;

    /// <inheritdoc/>
    public static bool HasMinima => false;

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<byte> Load(byte* block, int step, int half) => Vector256.Load(block + (64 * step) + (32 * half));

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<byte> LoadQuarter(byte* block, int step, int quarter) => Vector128.Load(block + (64 * step) + (16 * quarter));

    // Two products are no more than 16,002.
    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<int> Dot(Vector256<int> sums, Vector256<byte> weights, Vector256<sbyte> input) => Q4_0.Dot(sums, weights, input);

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<int> Dot(Vector128<int> sums, Vector128<byte> weights, Vector128<sbyte> input) => Q4_0.Dot(sums, weights, input);
}

// Blocks of 256. A single row meets them as they lie; several meet what was unpacked of a group: a byte for each number, and the scales as floats.
public static unsafe partial class BlockTile
{
    // Of 32 columns of 16 rows: 512 bytes of numbers, and 32 floats that say what they stand for.
    private const int UnpackedBytes = 640;

    private const int SuperParts = SuperBlocks.Columns / BlockRows.BlockColumns;

    /// <summary>Unpacks a group of rows of blocks of 256 columns.</summary>
    /// <typeparam name="TFormat"><see cref="Q4_K"/> or <see cref="Q6_K"/>.</typeparam>
    /// <param name="group">The group.</param>
    /// <param name="blocks">The blocks of 32 columns of a row.</param>
    /// <param name="target">640 bytes for each of them.</param>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Unpack<TFormat>(byte* group, int blocks, byte* target)
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
            if (TFormat.HasMinima)
            {
                for (int part = 0; part < SuperParts; part += 2)
                {
                    for (int i = 0; i < 512; i += 32)
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

                group = numbers;
                continue;
            }

            byte* high = numbers + 2048;
            for (int half = 0; half < 2; half++)
            {
                for (int i = 0; i < 512; i += 32)
                {
                    // Two bits of each of four blocks, which lie in the lower and upper halves of two others' bytes.
                    Vector256<byte> v0 = Vector256.Load(numbers + i), v1 = Vector256.Load(numbers + 512 + i);
                    Vector256<ushort> h = Vector256.Load(high + i).AsUInt16();
                    ((v0 & fifteen) | ((h << 4).AsByte() & sixteens)).Store(target + i);
                    ((v1 & fifteen) | ((h << 2).AsByte() & sixteens)).Store(target + UnpackedBytes + i);
                    (((v0.AsUInt16() >>> 4).AsByte() & fifteen) | (h.AsByte() & sixteens)).Store(target + (2 * UnpackedBytes) + i);
                    (((v1.AsUInt16() >>> 4).AsByte() & fifteen) | ((h >>> 2).AsByte() & sixteens)).Store(target + (3 * UnpackedBytes) + i);
                }

                numbers += 1024;
                high += 512;
                for (int part = 4 * half; part < 4 * (half + 1); part++)
                {
                    float* factors = (float*)(target + 512);
                    SignedFactors(group + SuperBlocks.ScalesAt + (2 * part * Rows), scales, factors);
                    SignedFactors(group + SuperBlocks.ScalesAt + (((2 * part) + 1) * Rows), scales, factors + Rows);
                    target += UnpackedBytes;
                }
            }

            group = high;
        }
    }

    /// <summary>The products of some rows of an input with the 16 rows of an unpacked group.</summary>
    /// <inheritdoc cref="Multiply{TVector, TFormat}(byte*, int, byte*, int, float*)"/>
    public static void MultiplyUnpacked<TVector, TFormat>(byte* input, int rows, byte* group, int blocks, float* sums)
        where TVector : struct, IVector<TVector>
        where TFormat : struct, IBlockFormat
    {
        int step = BlockRows.InputBytes(blocks * BlockRows.BlockColumns);
        int row = 0;
        if (TVector.Lanes > 4 && Avx2.IsSupported)
        {
            for (; row <= rows - Rows; row += Rows)
            {
                UnpackedRows256<TFormat>(input, step, group, blocks, sums);
                input += Rows * step;
                sums += Rows * BlockRows.GroupRows;
            }
        }

        for (; row < rows; row++)
        {
            UnpackedRow128<TFormat>(input, group, blocks, sums);
            input += step;
            sums += BlockRows.GroupRows;
        }
    }

    private static void SuperRow<TVector, TFormat>(byte* input, byte* group, int blocks, float* sums)
        where TVector : struct, IVector<TVector>
        where TFormat : struct, IBlockFormat
    {
        if (TVector.Lanes > 4 && Avx2.IsSupported)
        {
            if (TFormat.HasMinima)
            {
                Q4KRow256(input, group, blocks, sums);
            }
            else
            {
                Q6KRow256(input, group, blocks, sums);
            }

            return;
        }

        // A block at a time, which adds to the sums of those before.
        byte* unpacked = stackalloc byte[SuperParts * UnpackedBytes];
        new Span<float>(sums, BlockRows.GroupRows).Clear();
        for (int first = 0; first < blocks; first += SuperParts)
        {
            Unpack<TFormat>(group, SuperParts, unpacked);
            UnpackedRow128<TFormat>(input, unpacked, blocks, sums, first, SuperParts);
            group += SuperBlocks.HeaderBytes + (TFormat.HasMinima ? 2048 : 3072);
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
    private static void Q4KRow256(byte* input, byte* group, int blocks, float* sums)
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
                for (int step = 0; step < 8; step++)
                {
                    Sse.Prefetch0(words + (64 * step) + Ahead);
                    Vector256<byte> v0 = Vector256.Load(words + (64 * step)), v1 = Vector256.Load(words + (64 * step) + 32);
                    Vector256<sbyte> x = Four256(input + (4 * step));
                    a0 = Q4_0.Dot(a0, v0 & fifteen, x);
                    a1 = Q4_0.Dot(a1, v1 & fifteen, x);
                    x = Four256(input + 32 + (4 * step));
                    b0 = Q4_0.Dot(b0, (v0.AsUInt16() >>> 4).AsByte() & fifteen, x);
                    b1 = Q4_0.Dot(b1, (v1.AsUInt16() >>> 4).AsByte() & fifteen, x);
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
            group += SuperBlocks.HeaderBytes + 2048;
        }

        s0.Store(sums);
        s1.Store(sums + 8);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Q6KRow256(byte* input, byte* group, int blocks, float* sums)
    {
        float* scales = (float*)(input + (blocks * BlockRows.BlockColumns));
        int* starts = (int*)(scales + blocks);
        Vector256<float> s0 = Vector256<float>.Zero, s1 = s0;
        for (int first = 0; first < blocks; first += SuperParts)
        {
            Vector256<float> d0 = Scales256(group), d1 = Scales256(group + 16);
            byte* parts = group + SuperBlocks.ScalesAt, low = group + SuperBlocks.HeaderBytes, high = low + 2048;
            for (int half = 0; half < 2; half++)
            {
                // Lower halves of bytes, and their upper halves, two blocks each.
                Q6KPart(0, low, high, input, parts, scales, starts, d0, d1, ref s0, ref s1);
                Q6KPart(1, low + 512, high, input + 32, parts + 32, scales + 1, starts + 2, d0, d1, ref s0, ref s1);
                Q6KPart(2, low, high, input + 64, parts + 64, scales + 2, starts + 4, d0, d1, ref s0, ref s1);
                Q6KPart(3, low + 512, high, input + 96, parts + 96, scales + 3, starts + 6, d0, d1, ref s0, ref s1);
                low += 1024;
                high += 512;
                input += 128;
                parts += 128;
                scales += 4;
                starts += 8;
            }

            group += SuperBlocks.HeaderBytes + 3072;
        }

        s0.Store(sums);
        s1.Store(sums + 8);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Q6KPart(int quarter, byte* low, byte* high, byte* input, byte* parts, float* scales, int* starts, Vector256<float> d0, Vector256<float> d1, ref Vector256<float> s0, ref Vector256<float> s1)
    {
        Vector256<float> scale = Vector256.Create(*scales);
        for (int side = 0; side < 2; side++)
        {
            Vector256<int> i0 = Vector256.Create(starts[side]), i1 = i0;
            for (int step = 4 * side; step < (4 * side) + 4; step++)
            {
                Sse.Prefetch0((quarter < 2 ? low : high) + (64 * step) + Ahead);
                Vector256<sbyte> x = Four256(input + (4 * step));
                i0 = Q4_0.Dot(i0, Six(quarter, low + (64 * step), high + (64 * step)), x);
                i1 = Q4_0.Dot(i1, Six(quarter, low + (64 * step) + 32, high + (64 * step) + 32), x);
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
    private static void UnpackedRows256<TFormat>(byte* input, int inputStep, byte* group, int blocks, float* sums)
        where TFormat : struct, IBlockFormat
    {
        nint at = blocks * BlockRows.BlockColumns;
        nint starts = at + (blocks * sizeof(float));
        byte* x0 = input, x1 = x0 + inputStep, x2 = x1 + inputStep, x3 = x2 + inputStep;
        Vector256<float> s00 = Vector256<float>.Zero, s01 = s00, s10 = s00, s11 = s00, s20 = s00, s21 = s00, s30 = s00, s31 = s00;
        for (nint block = 0; block < blocks; block++)
        {
            float* factors = (float*)(group + 512);
            nint scale = at + (block * 4);
            for (int part = 0; part < 32 / TFormat.ScaleColumns; part++)
            {
                nint start = starts + (((32 / TFormat.ScaleColumns * block) + part) * 4);
                Vector256<int> i00 = Vector256<int>.Zero, i10 = i00, i20 = i00, i30 = i00;
                if (!TFormat.HasMinima)
                {
                    i00 = Vector256.Create(*(int*)(x0 + start));
                    i10 = Vector256.Create(*(int*)(x1 + start));
                    i20 = Vector256.Create(*(int*)(x2 + start));
                    i30 = Vector256.Create(*(int*)(x3 + start));
                }

                Vector256<int> i01 = i00, i11 = i10, i21 = i20, i31 = i30;
                nint column = (block * BlockRows.BlockColumns) + (part * TFormat.ScaleColumns);
                for (int step = part * TFormat.ScaleColumns / 4; step < (part + 1) * TFormat.ScaleColumns / 4; step++)
                {
                    Vector256<byte> w0 = TFormat.Load(group, step, 0), w1 = TFormat.Load(group, step, 1);
                    Vector256<sbyte> x = Four256(x0 + column);
                    i00 = TFormat.Dot(i00, w0, x);
                    i01 = TFormat.Dot(i01, w1, x);
                    x = Four256(x1 + column);
                    i10 = TFormat.Dot(i10, w0, x);
                    i11 = TFormat.Dot(i11, w1, x);
                    x = Four256(x2 + column);
                    i20 = TFormat.Dot(i20, w0, x);
                    i21 = TFormat.Dot(i21, w1, x);
                    x = Four256(x3 + column);
                    i30 = TFormat.Dot(i30, w0, x);
                    i31 = TFormat.Dot(i31, w1, x);
                    column += 4;
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
                    f0 = Vector256.Load(factors + 16);
                    f1 = Vector256.Load(factors + 24);
                    d = Vector256.Create(*(float*)(x0 + start));
                    s00 = MultiplyAdd(f0, d, s00);
                    s01 = MultiplyAdd(f1, d, s01);
                    d = Vector256.Create(*(float*)(x1 + start));
                    s10 = MultiplyAdd(f0, d, s10);
                    s11 = MultiplyAdd(f1, d, s11);
                    d = Vector256.Create(*(float*)(x2 + start));
                    s20 = MultiplyAdd(f0, d, s20);
                    s21 = MultiplyAdd(f1, d, s21);
                    d = Vector256.Create(*(float*)(x3 + start));
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

    private static void UnpackedRow128<TFormat>(byte* input, byte* group, int blocks, float* sums)
        where TFormat : struct, IBlockFormat
    {
        new Span<float>(sums, BlockRows.GroupRows).Clear();
        UnpackedRow128<TFormat>(input, group, blocks, sums, 0, blocks);
    }

    // Adds the products of some of the blocks.
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void UnpackedRow128<TFormat>(byte* input, byte* group, int blocks, float* sums, int first, int count)
        where TFormat : struct, IBlockFormat
    {
        float* scales = (float*)(input + (blocks * BlockRows.BlockColumns));
        int* starts = (int*)(scales + blocks);
        Vector128<float> s0 = Vector128.Load(sums), s1 = Vector128.Load(sums + 4), s2 = Vector128.Load(sums + 8), s3 = Vector128.Load(sums + 12);
        for (int block = first; block < first + count; block++)
        {
            float* factors = (float*)(group + 512);
            Vector128<float> scale = Vector128.Create(scales[block]);
            for (int part = 0; part < 32 / TFormat.ScaleColumns; part++)
            {
                int start = (32 / TFormat.ScaleColumns * block) + part;
                Vector128<int> i0 = TFormat.HasMinima ? Vector128<int>.Zero : Vector128.Create(starts[start]), i1 = i0, i2 = i0, i3 = i0;
                for (int step = part * TFormat.ScaleColumns / 4; step < (part + 1) * TFormat.ScaleColumns / 4; step++)
                {
                    Vector128<sbyte> x = Vector128.Create(*(int*)(input + (block * BlockRows.BlockColumns) + (4 * step))).AsSByte();
                    i0 = TFormat.Dot(i0, TFormat.LoadQuarter(group, step, 0), x);
                    i1 = TFormat.Dot(i1, TFormat.LoadQuarter(group, step, 1), x);
                    i2 = TFormat.Dot(i2, TFormat.LoadQuarter(group, step, 2), x);
                    i3 = TFormat.Dot(i3, TFormat.LoadQuarter(group, step, 3), x);
                }

                float* f = factors + (16 * part);
                s0 = MultiplyAdd(Vector128.ConvertToSingle(i0), Vector128.Load(f) * scale, s0);
                s1 = MultiplyAdd(Vector128.ConvertToSingle(i1), Vector128.Load(f + 4) * scale, s1);
                s2 = MultiplyAdd(Vector128.ConvertToSingle(i2), Vector128.Load(f + 8) * scale, s2);
                s3 = MultiplyAdd(Vector128.ConvertToSingle(i3), Vector128.Load(f + 12) * scale, s3);
                if (TFormat.HasMinima)
                {
                    Vector128<float> less = Vector128.Create(((float*)starts)[block]);
                    s0 = MultiplyAdd(Vector128.Load(factors + 16), less, s0);
                    s1 = MultiplyAdd(Vector128.Load(factors + 20), less, s1);
                    s2 = MultiplyAdd(Vector128.Load(factors + 24), less, s2);
                    s3 = MultiplyAdd(Vector128.Load(factors + 28), less, s3);
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
