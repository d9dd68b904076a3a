using System.ComponentModel;
using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.Arm;
using System.Runtime.Intrinsics.X86;

namespace ModelGen.Runtime;

/// <summary>How kernels read the numbers of a quantized format, four columns of some rows at a time.</summary>
[EditorBrowsable(EditorBrowsableState.Never)]
public unsafe interface IBlockFormat
{
    /// <summary>By how much the numbers that <see cref="Dot(Vector256{int}, Vector256{byte}, Vector256{sbyte})"/> takes are more than those that they stand for.</summary>
    static abstract int Offset { get; }

    /// <summary>The bytes of 16 rows' numbers in a block.</summary>
    static abstract int Bytes { get; }

    /// <summary>The columns that have a scale: 32 or 16.</summary>
    static abstract int ScaleColumns { get; }

    /// <summary>Whether numbers count from a minimum on.</summary>
    static abstract bool HasMinima { get; }

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
    static abstract Vector256<int> Dot(Vector256<int> sums, Vector256<byte> weights, Vector256<sbyte> input);

    /// <inheritdoc cref="Dot(Vector256{int}, Vector256{byte}, Vector256{sbyte})"/>
    static abstract Vector128<int> Dot(Vector128<int> sums, Vector128<byte> weights, Vector128<sbyte> input);
}

/// <summary>Numbers of 8 bits: <see cref="WeightFormat.Q8_0"/>.</summary>
[EditorBrowsable(EditorBrowsableState.Never)]
public readonly unsafe struct Q8_0 : IBlockFormat
{
    /// <inheritdoc/>
    public static int Offset
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        get => AvxVnni.IsSupported ? 128 : 0;
    }

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
    public static bool HasMinima
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        get => false;
    }

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<byte> Load(byte* block, int step, int half) => Vector256.Load(block + (64 * step) + (32 * half));

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<byte> LoadQuarter(byte* block, int step, int quarter) => Vector128.Load(block + (64 * step) + (16 * quarter));

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<int> Dot(Vector256<int> sums, Vector256<byte> weights, Vector256<sbyte> input)
    {
        if (AvxVnni.IsSupported)
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
    public static Vector128<int> Dot(Vector128<int> sums, Vector128<byte> weights, Vector128<sbyte> input)
    {
        if (AvxVnni.IsSupported)
        {
            return AvxVnni.MultiplyWideningAndAdd(sums, weights, input);
        }

        Vector128<sbyte> signed = (weights ^ Vector128.Create((byte)0x80)).AsSByte();
        if (Ssse3.IsSupported)
        {
            Vector128<short> pairs = Ssse3.MultiplyAddAdjacent(Ssse3.Abs(signed), Ssse3.Sign(input, signed));
            return sums + Sse2.MultiplyAddAdjacent(pairs, Vector128<short>.One);
        }

        return BlockTile.Dot(sums, signed, input);
    }
}

/// <summary>Numbers of 4 bits: <see cref="WeightFormat.Q4_0"/>.</summary>
[EditorBrowsable(EditorBrowsableState.Never)]
public readonly unsafe struct Q4_0 : IBlockFormat
{
    /// <inheritdoc/>
    public static int Offset
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        get => 8;
    }

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
    public static bool HasMinima
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        get => false;
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
    public static Vector256<int> Dot(Vector256<int> sums, Vector256<byte> weights, Vector256<sbyte> input)
        => AvxVnni.IsSupported ? AvxVnni.MultiplyWideningAndAdd(sums, weights, input)
            : sums + Avx2.MultiplyAddAdjacent(Avx2.MultiplyAddAdjacent(weights, input), Vector256<short>.One);

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<int> Dot(Vector128<int> sums, Vector128<byte> weights, Vector128<sbyte> input)
        => AvxVnni.IsSupported ? AvxVnni.MultiplyWideningAndAdd(sums, weights, input)
            : Ssse3.IsSupported ? sums + Sse2.MultiplyAddAdjacent(Ssse3.MultiplyAddAdjacent(weights, input), Vector128<short>.One)
            : BlockTile.Dot(sums, weights.AsSByte(), input);
}

/// <summary>
/// Products of quantized rows of an input with groups of 16 rows of quantized weights (<see cref="BlockRows"/>): in each block, sums of integer products, exact; between
/// blocks, floats, times both scales. A lane is a row's, and adds up in the order of the blocks whatever the width of the vectors: the bits are the same at all of them, where
/// the processor has fused multiply-adds.
/// </summary>
[EditorBrowsable(EditorBrowsableState.Never)]
public static unsafe partial class BlockTile
{
    /// <summary>Rows of an input that meet a group together.</summary>
    public const int Rows = 4;

    // Weights that are asked for ahead, in bytes: streams of one core end at each page, the next of which is not looked for before it is met.
    private const int Ahead = 8192;

    /// <summary>The products of some rows of an input with the 16 rows of a group.</summary>
    /// <typeparam name="TVector">The kernel's vector, which says how wide others may be.</typeparam>
    /// <typeparam name="TFormat">The format of the weights.</typeparam>
    /// <param name="input">The first row, in blocks; the next one is <see cref="BlockRows.InputBytes"/> away.</param>
    /// <param name="rows">The rows.</param>
    /// <param name="group">The group.</param>
    /// <param name="blocks">The blocks of a row.</param>
    /// <param name="sums">Sixteen products of the first row; those of the next one follow.</param>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Multiply<TVector, TFormat>(byte* input, int rows, byte* group, int blocks, float* sums)
        where TVector : struct, IVector<TVector>
        where TFormat : struct, IBlockFormat
    {
        int step = BlockRows.InputBytes(blocks * BlockRows.BlockColumns);
        byte* numbers = group + BlockRows.NumbersAt(blocks);
        int row = 0;
        if (TVector.Lanes == 4 || !Avx2.IsSupported)
        {
            for (; row < rows; row++)
            {
                Row128<TFormat>(input, group, numbers, blocks, sums);
                input += step;
                sums += BlockRows.GroupRows;
            }

            return;
        }

        for (; row <= rows - Rows; row += Rows)
        {
            Rows256<TFormat>(input, step, group, numbers, blocks, sums);
            input += Rows * step;
            sums += Rows * BlockRows.GroupRows;
        }

        for (; row < rows; row++)
        {
            Row256<TFormat>(input, group, numbers, blocks, sums);
            input += step;
            sums += BlockRows.GroupRows;
        }
    }

    /// <summary>The products of one row of an input with the 16 rows of a group.</summary>
    /// <inheritdoc cref="Multiply{TVector, TFormat}(byte*, int, byte*, int, float*)"/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Multiply<TVector, TFormat>(byte* input, byte* group, int blocks, float* sums)
        where TVector : struct, IVector<TVector>
        where TFormat : struct, IBlockFormat
    {
        if (typeof(TFormat) == typeof(Q4_K) || typeof(TFormat) == typeof(Q6_K))
        {
            SuperRow<TVector, TFormat>(input, group, blocks, sums);
            return;
        }

        byte* numbers = group + BlockRows.NumbersAt(blocks);
        if (TVector.Lanes == 4 || !Avx2.IsSupported)
        {
            Row128<TFormat>(input, group, numbers, blocks, sums);
        }
        else
        {
            Row256<TFormat>(input, group, numbers, blocks, sums);
        }
    }

    /// <summary>As the formats', of signed numbers, where there are no instructions of x86.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal static Vector128<int> Dot(Vector128<int> sums, Vector128<sbyte> weights, Vector128<sbyte> input)
    {
        if (Dp.IsSupported)
        {
            return Dp.DotProduct(sums, weights, input);
        }

        if (AdvSimd.IsSupported)
        {
            Vector128<int> lower = AdvSimd.AddPairwiseWidening(AdvSimd.MultiplyWideningLower(weights.GetLower(), input.GetLower()));
            Vector128<int> upper = AdvSimd.AddPairwiseWidening(AdvSimd.MultiplyWideningUpper(weights, input));
            return AdvSimd.Arm64.IsSupported ? sums + AdvSimd.Arm64.AddPairwise(lower, upper) : sums + Vector128.Create(AdvSimd.AddPairwise(lower.GetLower(), lower.GetUpper()), AdvSimd.AddPairwise(upper.GetLower(), upper.GetUpper()));
        }

        // The four numbers of a row are the bytes of a lane.
        Vector128<int> w = weights.AsInt32(), x = input.AsInt32();
        return sums + (((w << 24) >> 24) * ((x << 24) >> 24)) + (((w << 16) >> 24) * ((x << 16) >> 24)) + (((w << 8) >> 24) * ((x << 8) >> 24)) + ((w >> 24) * (x >> 24));
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector256<float> Scales256(byte* halves)
        => Halves.LoadF16256((ushort*)halves);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector256<float> MultiplyAdd(Vector256<float> a, Vector256<float> b, Vector256<float> c) => F256.MultiplyAdd(new F256(a), new F256(b), new F256(c)).Value;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector256<sbyte> Four256(byte* input) => Vector256.Create(*(int*)input).AsSByte();

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Row256<TFormat>(byte* input, byte* halves, byte* numbers, int blocks, float* sums)
        where TFormat : struct, IBlockFormat
    {
        float* scales = (float*)(input + (blocks * BlockRows.BlockColumns));
        int* starts = (int*)(scales + blocks);
        Vector256<float> s0 = Vector256<float>.Zero, s1 = s0;
        for (int block = 0; block < blocks; block++)
        {
            Vector256<int> i0 = Vector256.Create(starts[block]), i1 = i0;
            Step256<TFormat>(input, numbers, 0, ref i0, ref i1);
            Step256<TFormat>(input, numbers, 1, ref i0, ref i1);
            Step256<TFormat>(input, numbers, 2, ref i0, ref i1);
            Step256<TFormat>(input, numbers, 3, ref i0, ref i1);
            Step256<TFormat>(input, numbers, 4, ref i0, ref i1);
            Step256<TFormat>(input, numbers, 5, ref i0, ref i1);
            Step256<TFormat>(input, numbers, 6, ref i0, ref i1);
            Step256<TFormat>(input, numbers, 7, ref i0, ref i1);
            Vector256<float> scale = Vector256.Create(scales[block]);
            s0 = MultiplyAdd(Vector256.ConvertToSingle(i0), Scales256(halves) * scale, s0);
            s1 = MultiplyAdd(Vector256.ConvertToSingle(i1), Scales256(halves + 16) * scale, s1);
            input += BlockRows.BlockColumns;
            halves += 2 * BlockRows.GroupRows;
            numbers += TFormat.Bytes;
        }

        s0.Store(sums);
        s1.Store(sums + 8);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Step256<TFormat>(byte* input, byte* numbers, int step, ref Vector256<int> i0, ref Vector256<int> i1)
        where TFormat : struct, IBlockFormat
    {
        Vector256<sbyte> x = Four256(input + (4 * step));
        if (64 * step < TFormat.Bytes)
        {
            Sse.Prefetch0(numbers + (64 * step) + Ahead);
        }

        i0 = TFormat.Dot(i0, TFormat.Load(numbers, step, 0), x);
        i1 = TFormat.Dot(i1, TFormat.Load(numbers, step, 1), x);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Rows256<TFormat>(byte* input, int inputStep, byte* halves, byte* numbers, int blocks, float* sums)
        where TFormat : struct, IBlockFormat
    {
        nint at = blocks * BlockRows.BlockColumns;
        nint starts = at + (blocks * sizeof(float));
        byte* x0 = input, x1 = x0 + inputStep, x2 = x1 + inputStep, x3 = x2 + inputStep;
        Vector256<float> s00 = Vector256<float>.Zero, s01 = s00, s10 = s00, s11 = s00, s20 = s00, s21 = s00, s30 = s00, s31 = s00;
        for (nint block = 0; block < blocks; block++)
        {
            nint start = starts + (block * 4);
            Vector256<int> i00 = Vector256.Create(*(int*)(x0 + start)), i01 = i00, i10 = Vector256.Create(*(int*)(x1 + start)), i11 = i10;
            Vector256<int> i20 = Vector256.Create(*(int*)(x2 + start)), i21 = i20, i30 = Vector256.Create(*(int*)(x3 + start)), i31 = i30;
            nint column = block * BlockRows.BlockColumns;
            for (int step = 0; step < 8; step++)
            {
                Vector256<byte> w0 = TFormat.Load(numbers, step, 0), w1 = TFormat.Load(numbers, step, 1);
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

            Vector256<float> h0 = Scales256(halves), h1 = Scales256(halves + 16);
            nint scale = at + (block * 4);
            Vector256<float> d = Vector256.Create(*(float*)(x0 + scale));
            s00 = MultiplyAdd(Vector256.ConvertToSingle(i00), h0 * d, s00);
            s01 = MultiplyAdd(Vector256.ConvertToSingle(i01), h1 * d, s01);
            d = Vector256.Create(*(float*)(x1 + scale));
            s10 = MultiplyAdd(Vector256.ConvertToSingle(i10), h0 * d, s10);
            s11 = MultiplyAdd(Vector256.ConvertToSingle(i11), h1 * d, s11);
            d = Vector256.Create(*(float*)(x2 + scale));
            s20 = MultiplyAdd(Vector256.ConvertToSingle(i20), h0 * d, s20);
            s21 = MultiplyAdd(Vector256.ConvertToSingle(i21), h1 * d, s21);
            d = Vector256.Create(*(float*)(x3 + scale));
            s30 = MultiplyAdd(Vector256.ConvertToSingle(i30), h0 * d, s30);
            s31 = MultiplyAdd(Vector256.ConvertToSingle(i31), h1 * d, s31);
            halves += 2 * BlockRows.GroupRows;
            numbers += TFormat.Bytes;
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

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector128<float> Scales128(byte* halves)
        => Halves.LoadF16128((ushort*)halves);

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Row128<TFormat>(byte* input, byte* halves, byte* numbers, int blocks, float* sums)
        where TFormat : struct, IBlockFormat
    {
        float* scales = (float*)(input + (blocks * BlockRows.BlockColumns));
        int* starts = (int*)(scales + blocks);
        Vector128<float> s0 = Vector128<float>.Zero, s1 = s0, s2 = s0, s3 = s0;
        for (int block = 0; block < blocks; block++)
        {
            Vector128<int> i0 = Vector128.Create(starts[block]), i1 = i0, i2 = i0, i3 = i0;
            for (int step = 0; step < 8; step++)
            {
                Vector128<sbyte> x = Vector128.Create(*(int*)(input + (4 * step))).AsSByte();
                i0 = TFormat.Dot(i0, TFormat.LoadQuarter(numbers, step, 0), x);
                i1 = TFormat.Dot(i1, TFormat.LoadQuarter(numbers, step, 1), x);
                i2 = TFormat.Dot(i2, TFormat.LoadQuarter(numbers, step, 2), x);
                i3 = TFormat.Dot(i3, TFormat.LoadQuarter(numbers, step, 3), x);
            }

            Vector128<float> scale = Vector128.Create(scales[block]);
            s0 = F128.MultiplyAdd(new F128(Vector128.ConvertToSingle(i0)), new F128(Scales128(halves) * scale), new F128(s0)).Value;
            s1 = F128.MultiplyAdd(new F128(Vector128.ConvertToSingle(i1)), new F128(Scales128(halves + 8) * scale), new F128(s1)).Value;
            s2 = F128.MultiplyAdd(new F128(Vector128.ConvertToSingle(i2)), new F128(Scales128(halves + 16) * scale), new F128(s2)).Value;
            s3 = F128.MultiplyAdd(new F128(Vector128.ConvertToSingle(i3)), new F128(Scales128(halves + 24) * scale), new F128(s3)).Value;
            input += BlockRows.BlockColumns;
            halves += 2 * BlockRows.GroupRows;
            numbers += TFormat.Bytes;
        }

        s0.Store(sums);
        s1.Store(sums + 4);
        s2.Store(sums + 8);
        s3.Store(sums + 12);
    }
}
