using System.ComponentModel;
using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.Arm;
using System.Runtime.Intrinsics.X86;

namespace ModelGen.Runtime;

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

    // Weights that are asked for ahead, in bytes, into the second-level cache, where they drive no input out: streams of one core end at each page, the next of which is not looked for before it is met.
    private const int Ahead = 8192;

    // Known to the JIT; what is compiled ahead for several processors asks for it.
    private static bool HasDotProduct
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        get => AvxVnni.IsSupported || Dp.IsSupported;
    }

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
        if (HasDotProduct)
        {
            Multiply<TVector, TFormat, ByteDotProduct>(input, rows, group, blocks, sums);
        }
        else
        {
            Multiply<TVector, TFormat, BytePairs>(input, rows, group, blocks, sums);
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Multiply<TVector, TFormat, TBytes>(byte* input, int rows, byte* group, int blocks, float* sums)
        where TVector : struct, IVector<TVector>
        where TFormat : struct, IBlockFormat
        where TBytes : struct, IByteProducts
    {
        int step = BlockRows.InputBytes(blocks * BlockRows.BlockColumns);
        byte* numbers = group + BlockRows.ScaleLine;
        int row = 0;
        if (TVector.Lanes == 4 || !Avx2.IsSupported)
        {
            for (; row < rows; row++)
            {
                Row128<TFormat, TBytes>(input, group, numbers, blocks, sums);
                input += step;
                sums += BlockRows.GroupRows;
            }

            return;
        }

        for (; row <= rows - Rows; row += Rows)
        {
            Rows256<TFormat, TBytes>(input, step, group, numbers, blocks, sums);
            input += Rows * step;
            sums += Rows * BlockRows.GroupRows;
        }

        for (; row < rows; row++)
        {
            Row256<TFormat, TBytes>(input, group, numbers, blocks, sums);
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
        if (HasDotProduct)
        {
            Multiply<TVector, TFormat, ByteDotProduct>(input, group, blocks, sums);
        }
        else
        {
            Multiply<TVector, TFormat, BytePairs>(input, group, blocks, sums);
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Multiply<TVector, TFormat, TBytes>(byte* input, byte* group, int blocks, float* sums)
        where TVector : struct, IVector<TVector>
        where TFormat : struct, IBlockFormat
        where TBytes : struct, IByteProducts
    {
        if (TFormat.ScaleBytes == 0)
        {
            SuperRow<TVector, TFormat, TBytes>(input, group, blocks, sums);
            return;
        }

        byte* numbers = group + BlockRows.ScaleLine;
        if (IsWide<TVector>() && typeof(TFormat) == typeof(IQ4_NL))
        {
            IQ4NLRow512(input, group, numbers, blocks, sums);
        }
        else if (IsWide<TVector>())
        {
            Row512<TFormat>(input, group, numbers, blocks, sums);
        }
        else if (TVector.Lanes == 4 || !Avx2.IsSupported)
        {
            Row128<TFormat, TBytes>(input, group, numbers, blocks, sums);
        }
        else
        {
            Row256<TFormat, TBytes>(input, group, numbers, blocks, sums);
        }
    }

    /// <summary>As the formats', of signed numbers, where there are no instructions of x86.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal static Vector128<int> Dot<TBytes>(Vector128<int> sums, Vector128<sbyte> weights, Vector128<sbyte> input)
        where TBytes : struct, IByteProducts
    {
        if (TBytes.HasDotProduct)
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

    /// <summary>The numbers of a table of 16, which each 16 bytes of it hold, that those of 4 bits stand for.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal static Vector512<byte> LookUp(Vector512<byte> table, Vector512<byte> numbers)
        => Avx512BW.IsSupported ? Avx512BW.Shuffle(table, numbers) : Vector512.Create(LookUp(table.GetLower(), numbers.GetLower()), LookUp(table.GetLower(), numbers.GetUpper()));

    /// <inheritdoc cref="LookUp(Vector512{byte}, Vector512{byte})"/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal static Vector256<byte> LookUp(Vector256<byte> table, Vector256<byte> numbers)
        => Avx2.IsSupported ? Avx2.Shuffle(table, numbers) : Vector256.Create(LookUp(table.GetLower(), numbers.GetLower()), LookUp(table.GetLower(), numbers.GetUpper()));

    /// <inheritdoc cref="LookUp(Vector512{byte}, Vector512{byte})"/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal static Vector128<byte> LookUp(Vector128<byte> table, Vector128<byte> numbers)
        => Ssse3.IsSupported ? Ssse3.Shuffle(table, numbers) : AdvSimd.Arm64.IsSupported ? AdvSimd.Arm64.VectorTableLookup(table, numbers) : Vector128.Shuffle(table, numbers);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector256<float> Scales256(byte* halves) => Halves.LoadF16256((ushort*)halves);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector256<float> Scales256<TFormat>(byte* halves)
        where TFormat : struct, IBlockFormat
        => TFormat.HasUpperHalves ? Halves.LoadBF16256((ushort*)halves) : Halves.LoadF16256((ushort*)halves);

    // What a sum of products begins with, which numbers that are more by an offset add: the offset times what the input notes of a block, or of a half of it.
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector256<int> Start256<TFormat, TBytes>(byte* pair, int part)
        where TFormat : struct, IBlockFormat
        where TBytes : struct, IByteProducts
    {
        if (TFormat.Offset<TBytes>() == 0)
        {
            return Vector256<int>.Zero;
        }

        Vector256<short> offsets = TFormat.ScaleColumns == 32 ? Vector256.Create((short)TFormat.Offset<TBytes>()) : Vector256.Create(TFormat.Offset<TBytes>() << (16 * part)).AsInt16();
        return Avx2.MultiplyAddAdjacent(Vector256.Create(*(int*)pair).AsInt16(), offsets);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector128<int> Start128<TFormat, TBytes>(byte* pair, int part)
        where TFormat : struct, IBlockFormat
        where TBytes : struct, IByteProducts
        => TFormat.Offset<TBytes>() == 0 ? Vector128<int>.Zero : Vector128.Create(TFormat.Offset<TBytes>() * (TFormat.ScaleColumns == 32 ? ((short*)pair)[0] + ((short*)pair)[1] : ((short*)pair)[part]));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector256<float> MultiplyAdd(Vector256<float> a, Vector256<float> b, Vector256<float> c) => F256.MultiplyAdd(new F256(a), new F256(b), new F256(c)).Value;

    // Sums of products of eight rows. Without an instruction that sums up four, those of some steps are sums of 16 bits first.
    private struct Sums256<TFormat, TBytes>
        where TFormat : struct, IBlockFormat
        where TBytes : struct, IByteProducts
    {
        private Vector256<short> _pairs;

        /// <summary>The steps between two calls of <see cref="End"/>.</summary>
        public static int Steps
        {
            [MethodImpl(MethodImplOptions.AggressiveInlining)]
            get => TBytes.HasDotProduct ? 1 : TFormat.PairSteps;
        }

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public void Add(ref Vector256<int> sums, Vector256<byte> weights, Vector256<sbyte> input)
        {
            if (Steps == 1)
            {
                sums = TFormat.Dot<TBytes>(sums, weights, input);
            }
            else
            {
                _pairs += Avx2.MultiplyAddAdjacent(weights, input);
            }
        }

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public void End(ref Vector256<int> sums)
        {
            if (Steps > 1)
            {
                sums += Avx2.MultiplyAddAdjacent(_pairs, Vector256<short>.One);
                _pairs = Vector256<short>.Zero;
            }
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector256<sbyte> Four256(byte* input) => Vector256.Create(*(int*)input).AsSByte();

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Row256<TFormat, TBytes>(byte* input, byte* halves, byte* numbers, int blocks, float* sums)
        where TFormat : struct, IBlockFormat
        where TBytes : struct, IByteProducts
    {
        float* scales = (float*)(input + (blocks * BlockRows.BlockColumns)), less = scales + blocks;
        int* pairs = (int*)(less + blocks);
        Vector256<float> s0 = Vector256<float>.Zero, s1 = s0;
        for (int block = 0; block < blocks; block++)
        {
            Sse.Prefetch1(halves + Ahead);
            Vector256<int> i0 = Start256<TFormat, TBytes>((byte*)(pairs + block), 0), i1 = i0;
            Sums256<TFormat, TBytes> p0 = default, p1 = default;
            Step256<TFormat, TBytes>(input, numbers, 0, ref p0, ref p1, ref i0, ref i1);
            Step256<TFormat, TBytes>(input, numbers, 1, ref p0, ref p1, ref i0, ref i1);
            Step256<TFormat, TBytes>(input, numbers, 2, ref p0, ref p1, ref i0, ref i1);
            Step256<TFormat, TBytes>(input, numbers, 3, ref p0, ref p1, ref i0, ref i1);
            Step256<TFormat, TBytes>(input, numbers, 4, ref p0, ref p1, ref i0, ref i1);
            Step256<TFormat, TBytes>(input, numbers, 5, ref p0, ref p1, ref i0, ref i1);
            Step256<TFormat, TBytes>(input, numbers, 6, ref p0, ref p1, ref i0, ref i1);
            Step256<TFormat, TBytes>(input, numbers, 7, ref p0, ref p1, ref i0, ref i1);
            Vector256<float> scale = Vector256.Create(scales[block]);
            s0 = MultiplyAdd(Vector256.ConvertToSingle(i0), Scales256<TFormat>(halves) * scale, s0);
            s1 = MultiplyAdd(Vector256.ConvertToSingle(i1), Scales256<TFormat>(halves + 16) * scale, s1);
            if (TFormat.HasMinima)
            {
                Vector256<float> by = Vector256.Create(less[block]);
                s0 = MultiplyAdd(Scales256(halves + 32), by, s0);
                s1 = MultiplyAdd(Scales256(halves + 48), by, s1);
            }

            input += BlockRows.BlockColumns;
            Next<TFormat>(block, ref halves, ref numbers);
        }

        s0.Store(sums);
        s1.Store(sums + 8);
    }

    // From a block's scales and numbers to the next one's: behind a line of scales lie the numbers of the block, or of the two blocks, whose scales it has.
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Next<TFormat>(nint block, ref byte* scales, ref byte* numbers)
        where TFormat : struct, IBlockFormat
    {
        if (TFormat.ScaleBytes == BlockRows.ScaleLine)
        {
            scales += BlockRows.ScaleLine + TFormat.Bytes;
            numbers += BlockRows.ScaleLine + TFormat.Bytes;
        }
        else
        {
            nint isSecond = block & 1;
            scales += TFormat.ScaleBytes + (isSecond * 2 * TFormat.Bytes);
            numbers += TFormat.Bytes + (isSecond * BlockRows.ScaleLine);
        }
    }

    // A line of a block that is met later.
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void PrefetchStep<TFormat>(byte* numbers, int step)
        where TFormat : struct, IBlockFormat
    {
        if (64 * step < TFormat.Bytes)
        {
            Sse.Prefetch1(numbers + (64 * step) + Ahead);
        }
    }

    // What lies before the numbers of a block of 256 that is met later: a line or two for each two parts.
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void PrefetchHeader(byte* group, int part)
    {
        Sse.Prefetch1(group + (32 * part) + Ahead);
        if (part == 6)
        {
            Sse.Prefetch1(group + 256 + Ahead);
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Step256<TFormat, TBytes>(byte* input, byte* numbers, int step, ref Sums256<TFormat, TBytes> p0, ref Sums256<TFormat, TBytes> p1, ref Vector256<int> i0, ref Vector256<int> i1)
        where TFormat : struct, IBlockFormat
        where TBytes : struct, IByteProducts
    {
        Vector256<sbyte> x = Four256(input + (4 * step));
        PrefetchStep<TFormat>(numbers, step);

        p0.Add(ref i0, TFormat.Load(numbers, step, 0), x);
        p1.Add(ref i1, TFormat.Load(numbers, step, 1), x);
        if ((step + 1) % Sums256<TFormat, TBytes>.Steps == 0)
        {
            p0.End(ref i0);
            p1.End(ref i1);
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Rows256<TFormat, TBytes>(byte* input, int inputStep, byte* halves, byte* numbers, int blocks, float* sums)
        where TFormat : struct, IBlockFormat
        where TBytes : struct, IByteProducts
    {
        nint at = blocks * BlockRows.BlockColumns;
        nint less = at + (blocks * sizeof(float)), starts = less + (blocks * sizeof(float));
        byte* x0 = input, x1 = x0 + inputStep, x2 = x1 + inputStep, x3 = x2 + inputStep;
        Vector256<float> s00 = Vector256<float>.Zero, s01 = s00, s10 = s00, s11 = s00, s20 = s00, s21 = s00, s30 = s00, s31 = s00;
        for (nint block = 0; block < blocks; block++)
        {
            nint start = starts + (block * 4);
            Vector256<int> i00 = Start256<TFormat, TBytes>(x0 + start, 0), i01 = i00, i10 = Start256<TFormat, TBytes>(x1 + start, 0), i11 = i10;
            Vector256<int> i20 = Start256<TFormat, TBytes>(x2 + start, 0), i21 = i20, i30 = Start256<TFormat, TBytes>(x3 + start, 0), i31 = i30;
            nint column = block * BlockRows.BlockColumns;
            for (int step = 0; step < 8; step += Sums256<TFormat, TBytes>.Steps)
            {
                Sums256<TFormat, TBytes> p00 = default, p01 = default, p10 = default, p11 = default, p20 = default, p21 = default, p30 = default, p31 = default;
                for (int k = step; k < step + Sums256<TFormat, TBytes>.Steps; k++)
                {
                    Vector256<byte> w0 = TFormat.Load(numbers, k, 0), w1 = TFormat.Load(numbers, k, 1);
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

            Vector256<float> h0 = Scales256<TFormat>(halves), h1 = Scales256<TFormat>(halves + 16);
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
            if (TFormat.HasMinima)
            {
                h0 = Scales256(halves + 32);
                h1 = Scales256(halves + 48);
                scale = less + (block * 4);
                d = Vector256.Create(*(float*)(x0 + scale));
                s00 = MultiplyAdd(h0, d, s00);
                s01 = MultiplyAdd(h1, d, s01);
                d = Vector256.Create(*(float*)(x1 + scale));
                s10 = MultiplyAdd(h0, d, s10);
                s11 = MultiplyAdd(h1, d, s11);
                d = Vector256.Create(*(float*)(x2 + scale));
                s20 = MultiplyAdd(h0, d, s20);
                s21 = MultiplyAdd(h1, d, s21);
                d = Vector256.Create(*(float*)(x3 + scale));
                s30 = MultiplyAdd(h0, d, s30);
                s31 = MultiplyAdd(h1, d, s31);
            }

            Next<TFormat>(block, ref halves, ref numbers);
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
    private static Vector128<float> Scales128<TFormat>(byte* halves)
        where TFormat : struct, IBlockFormat
        => TFormat.HasUpperHalves ? Halves.LoadBF16128((ushort*)halves) : Halves.LoadF16128((ushort*)halves);

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Row128<TFormat, TBytes>(byte* input, byte* halves, byte* numbers, int blocks, float* sums)
        where TFormat : struct, IBlockFormat
        where TBytes : struct, IByteProducts
    {
        float* scales = (float*)(input + (blocks * BlockRows.BlockColumns)), less = scales + blocks;
        int* pairs = (int*)(less + blocks);
        Vector128<float> s0 = Vector128<float>.Zero, s1 = s0, s2 = s0, s3 = s0;
        for (int block = 0; block < blocks; block++)
        {
            Vector128<int> i0 = Start128<TFormat, TBytes>((byte*)(pairs + block), 0), i1 = i0, i2 = i0, i3 = i0;
            for (int step = 0; step < 8; step++)
            {
                Vector128<sbyte> x = Vector128.Create(*(int*)(input + (4 * step))).AsSByte();
                i0 = TFormat.Dot<TBytes>(i0, TFormat.LoadQuarter(numbers, step, 0), x);
                i1 = TFormat.Dot<TBytes>(i1, TFormat.LoadQuarter(numbers, step, 1), x);
                i2 = TFormat.Dot<TBytes>(i2, TFormat.LoadQuarter(numbers, step, 2), x);
                i3 = TFormat.Dot<TBytes>(i3, TFormat.LoadQuarter(numbers, step, 3), x);
            }

            Vector128<float> scale = Vector128.Create(scales[block]);
            s0 = MultiplyAdd(Vector128.ConvertToSingle(i0), Scales128<TFormat>(halves) * scale, s0);
            s1 = MultiplyAdd(Vector128.ConvertToSingle(i1), Scales128<TFormat>(halves + 8) * scale, s1);
            s2 = MultiplyAdd(Vector128.ConvertToSingle(i2), Scales128<TFormat>(halves + 16) * scale, s2);
            s3 = MultiplyAdd(Vector128.ConvertToSingle(i3), Scales128<TFormat>(halves + 24) * scale, s3);
            if (TFormat.HasMinima)
            {
                Vector128<float> by = Vector128.Create(less[block]);
                s0 = MultiplyAdd(Scales128<TFormat>(halves + 32), by, s0);
                s1 = MultiplyAdd(Scales128<TFormat>(halves + 40), by, s1);
                s2 = MultiplyAdd(Scales128<TFormat>(halves + 48), by, s2);
                s3 = MultiplyAdd(Scales128<TFormat>(halves + 56), by, s3);
            }

            input += BlockRows.BlockColumns;
            Next<TFormat>(block, ref halves, ref numbers);
        }

        s0.Store(sums);
        s1.Store(sums + 4);
        s2.Store(sums + 8);
        s3.Store(sums + 12);
    }
}
