using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace ModelGen.Runtime;

// Single rows with vectors of 512 bits, which hold four columns of all 16 rows of a group: where there are such vectors of bytes and no instruction that sums up four products.
public static unsafe partial class BlockTile
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static bool IsWide<TVector>()
        where TVector : struct, IVector<TVector>
        => TVector.Lanes == 16 && Avx512BW.IsSupported && !AvxVnni.IsSupported;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector512<float> Scales512<TFormat>(byte* halves)
        where TFormat : struct, IBlockFormat
        => TFormat.HasUpperHalves ? Halves.LoadBF16512((ushort*)halves) : Halves.LoadF16512((ushort*)halves);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector512<float> MultiplyAdd(Vector512<float> a, Vector512<float> b, Vector512<float> c) => F512.MultiplyAdd(new F512(a), new F512(b), new F512(c)).Value;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector512<sbyte> Four512(byte* input) => Vector512.Create(*(int*)input).AsSByte();

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector512<float> Bytes512(byte* p) => Vector512.ConvertToSingle(Avx512F.ConvertToVector512Int32(Vector128.Load(p)));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector512<float> SignedBytes512(byte* p) => Vector512.ConvertToSingle(Avx512F.ConvertToVector512Int32(Vector128.Load((sbyte*)p)));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector512<int> Start512<TFormat>(byte* pair, int part)
        where TFormat : struct, IBlockFormat
    {
        if (TFormat.Offset<BytePairs>() == 0)
        {
            return Vector512<int>.Zero;
        }

        Vector512<short> offsets = TFormat.ScaleColumns == 32 ? Vector512.Create((short)TFormat.Offset<BytePairs>()) : Vector512.Create(TFormat.Offset<BytePairs>() << (16 * part)).AsInt16();
        return Avx512BW.MultiplyAddAdjacent(Vector512.Create(*(int*)pair).AsInt16(), offsets);
    }

    // As Sums256.
    private struct Sums512<TFormat>
        where TFormat : struct, IBlockFormat
    {
        private Vector512<short> _pairs;

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public void Add(ref Vector512<int> sums, Vector512<byte> weights, Vector512<sbyte> input)
        {
            if (TFormat.PairSteps == 1)
            {
                // Magnitudes of weights, and inputs of their signs.
                Vector512<sbyte> signed = (weights ^ Vector512.Create((byte)0x80)).AsSByte();
                Vector512<sbyte> turned = Vector512.ConditionalSelect(Vector512.LessThan(signed, Vector512<sbyte>.Zero), Vector512<sbyte>.Zero - input, input);
                sums += Avx512BW.MultiplyAddAdjacent(Avx512BW.MultiplyAddAdjacent(Avx512BW.Abs(signed), turned), Vector512<short>.One);
            }
            else
            {
                _pairs += Avx512BW.MultiplyAddAdjacent(weights, input);
            }
        }

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public void End(ref Vector512<int> sums)
        {
            if (TFormat.PairSteps > 1)
            {
                sums += Avx512BW.MultiplyAddAdjacent(_pairs, Vector512<short>.One);
                _pairs = Vector512<short>.Zero;
            }
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Row512<TFormat>(byte* input, byte* halves, byte* numbers, int blocks, float* sums)
        where TFormat : struct, IBlockFormat
    {
        float* scales = (float*)(input + (blocks * BlockRows.BlockColumns)), less = scales + blocks;
        int* pairs = (int*)(less + blocks);
        Vector512<float> s = Vector512<float>.Zero;
        for (int block = 0; block < blocks; block++)
        {
            Sse.Prefetch1(halves + Ahead);
            Vector512<int> i = Start512<TFormat>((byte*)(pairs + block), 0);
            Sums512<TFormat> p = default;
            Step512<TFormat>(input, numbers, 0, ref p, ref i);
            Step512<TFormat>(input, numbers, 1, ref p, ref i);
            Step512<TFormat>(input, numbers, 2, ref p, ref i);
            Step512<TFormat>(input, numbers, 3, ref p, ref i);
            Step512<TFormat>(input, numbers, 4, ref p, ref i);
            Step512<TFormat>(input, numbers, 5, ref p, ref i);
            Step512<TFormat>(input, numbers, 6, ref p, ref i);
            Step512<TFormat>(input, numbers, 7, ref p, ref i);
            s = MultiplyAdd(Vector512.ConvertToSingle(i), Scales512<TFormat>(halves) * Vector512.Create(scales[block]), s);
            if (TFormat.HasMinima)
            {
                s = MultiplyAdd(Scales512<TFormat>(halves + 32), Vector512.Create(less[block]), s);
            }

            input += BlockRows.BlockColumns;
            Next<TFormat>(block, ref halves, ref numbers);
        }

        s.Store(sums);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Step512<TFormat>(byte* input, byte* numbers, int step, ref Sums512<TFormat> p, ref Vector512<int> i)
        where TFormat : struct, IBlockFormat
    {
        PrefetchStep<TFormat>(numbers, step);
        p.Add(ref i, TFormat.LoadAll(numbers, step), Four512(input + (4 * step)));
        if ((step + 1) % TFormat.PairSteps == 0)
        {
            p.End(ref i);
        }
    }

    // Numbers that are more by 128, as their upper and their lower four bits, each from a table: sums of 16 bits hold a block's products of either, where they hold two of whole numbers.
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void IQ4NLRow512(byte* input, byte* halves, byte* numbers, int blocks, float* sums)
    {
        float* scales = (float*)(input + (blocks * BlockRows.BlockColumns));
        int* pairs = (int*)(scales + (2 * blocks));
        Vector512<byte> fifteen = Vector512.Create((byte)15), low = IQ4_NL.Table512 & fifteen, high = (IQ4_NL.Table512.AsUInt16() >>> 4).AsByte() & fifteen;
        Vector512<short> sixteens = Vector512.Create((short)16);
        Vector512<float> s = Vector512<float>.Zero;
        for (int block = 0; block < blocks; block++)
        {
            Sse.Prefetch1(halves + Ahead);
            Vector512<short> lower = Vector512<short>.Zero, upper = lower;
            for (int step = 0; step < 4; step++)
            {
                Sse.Prefetch1(numbers + (64 * step) + Ahead);
                Vector512<byte> v = Vector512.Load(numbers + (64 * step)), v0 = v & fifteen, v1 = (v.AsUInt16() >>> 4).AsByte() & fifteen;
                Vector512<sbyte> x0 = Four512(input + (4 * step)), x1 = Four512(input + 16 + (4 * step));
                lower += Avx512BW.MultiplyAddAdjacent(Avx512BW.Shuffle(low, v0), x0) + Avx512BW.MultiplyAddAdjacent(Avx512BW.Shuffle(low, v1), x1);
                upper += Avx512BW.MultiplyAddAdjacent(Avx512BW.Shuffle(high, v0), x0) + Avx512BW.MultiplyAddAdjacent(Avx512BW.Shuffle(high, v1), x1);
            }

            Vector512<int> i = Avx512BW.MultiplyAddAdjacent(Vector512.Create(pairs[block]).AsInt16(), Vector512.Create((short)128));
            i += Avx512BW.MultiplyAddAdjacent(lower, Vector512<short>.One) + Avx512BW.MultiplyAddAdjacent(upper, sixteens);
            s = MultiplyAdd(Vector512.ConvertToSingle(i), Scales512<IQ4_NL>(halves) * Vector512.Create(scales[block]), s);
            input += BlockRows.BlockColumns;
            Next<IQ4_NL>(block, ref halves, ref numbers);
        }

        s.Store(sums);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Q4KRow512(byte* input, byte* group, int blocks, float* sums)
    {
        float* scales = (float*)(input + (blocks * BlockRows.BlockColumns)), less = scales + blocks;
        Vector512<byte> fifteen = Vector512.Create((byte)15);
        Vector512<float> s = Vector512<float>.Zero;
        for (int first = 0; first < blocks; first += SuperParts)
        {
            Vector512<float> d = Scales512<Q4_K>(group), m = Scales512<Q4_K>(group + 32);
            byte* parts = group + SuperBlocks.ScalesAt, words = group + SuperBlocks.HeaderBytes;
            for (int part = 0; part < SuperParts; part += 2)
            {
                Vector512<int> a = Vector512<int>.Zero, b = a;
                PrefetchHeader(group, part);
                for (int step = 0; step < 8; step += Q4_K.PairSteps)
                {
                    Sums512<Q4_K> sa = default, sb = default;
                    for (int k = step; k < step + Q4_K.PairSteps; k++)
                    {
                        Sse.Prefetch1(words + (64 * k) + Ahead);
                        Vector512<byte> v = Vector512.Load(words + (64 * k)), v0 = v & fifteen, v1 = (v.AsUInt16() >>> 4).AsByte() & fifteen;
                        sa.Add(ref a, v0, Four512(input + (4 * k)));
                        sb.Add(ref b, v1, Four512(input + 32 + (4 * k)));
                    }

                    sa.End(ref a);
                    sb.End(ref b);
                }

                s = MultiplyAdd(Vector512.ConvertToSingle(a), Bytes512(parts) * d * Vector512.Create(scales[part]), s);
                s = MultiplyAdd(Bytes512(parts + 128) * m, Vector512.Create(less[part]), s);
                s = MultiplyAdd(Vector512.ConvertToSingle(b), Bytes512(parts + 16) * d * Vector512.Create(scales[part + 1]), s);
                s = MultiplyAdd(Bytes512(parts + 144) * m, Vector512.Create(less[part + 1]), s);
                parts += 32;
                words += 512;
                input += 64;
            }

            scales += SuperParts;
            less += SuperParts;
            group += SuperBlocks.HeaderBytes + Q4_K.Bytes;
        }

        s.Store(sums);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Q5KRow512(byte* input, byte* group, int blocks, float* sums)
    {
        float* scales = (float*)(input + (blocks * BlockRows.BlockColumns)), less = scales + blocks;
        Vector512<float> s = Vector512<float>.Zero;
        for (int first = 0; first < blocks; first += SuperParts)
        {
            Vector512<float> d = Scales512<Q5_K>(group), m = Scales512<Q5_K>(group + 32);
            byte* parts = group + SuperBlocks.ScalesAt, words = group + SuperBlocks.HeaderBytes;
            Vector512<int> i0 = Vector512<int>.Zero, i1 = i0, i2 = i0, i3 = i0, i4 = i0, i5 = i0, i6 = i0, i7 = i0;
            for (int step = 0; step < 8; step += Q5_K.PairSteps)
            {
                PrefetchHeader(group, step);
                PrefetchHeader(group, step + 2);
                Sums512<Q5_K> p0 = default, p1 = default, p2 = default, p3 = default, p4 = default, p5 = default, p6 = default, p7 = default;
                for (int k = step; k < step + Q5_K.PairSteps; k++)
                {
                    byte* line = words + (SuperBlocks.FifthsStep * k), four = input + (4 * k);
                    Sse.Prefetch1(line + Ahead);
                    Sse.Prefetch1(line + 64 + Ahead);
                    Sse.Prefetch1(line + 128 + Ahead);
                    Sse.Prefetch1(line + 192 + Ahead);
                    Sse.Prefetch1(line + 256 + Ahead);
                    Vector512<ushort> high = Vector512.Load(line + 256).AsUInt16();
                    p0.Add(ref i0, Fives512(line, false, high << 4), Four512(four));
                    p1.Add(ref i1, Fives512(line, true, high << 3), Four512(four + 32));
                    p2.Add(ref i2, Fives512(line + 64, false, high << 2), Four512(four + 64));
                    p3.Add(ref i3, Fives512(line + 64, true, high << 1), Four512(four + 96));
                    p4.Add(ref i4, Fives512(line + 128, false, high), Four512(four + 128));
                    p5.Add(ref i5, Fives512(line + 128, true, high >>> 1), Four512(four + 160));
                    p6.Add(ref i6, Fives512(line + 192, false, high >>> 2), Four512(four + 192));
                    p7.Add(ref i7, Fives512(line + 192, true, high >>> 3), Four512(four + 224));
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

            s = Part512(i0, parts, 0, d, m, scales, less, s);
            s = Part512(i1, parts, 1, d, m, scales, less, s);
            s = Part512(i2, parts, 2, d, m, scales, less, s);
            s = Part512(i3, parts, 3, d, m, scales, less, s);
            s = Part512(i4, parts, 4, d, m, scales, less, s);
            s = Part512(i5, parts, 5, d, m, scales, less, s);
            s = Part512(i6, parts, 6, d, m, scales, less, s);
            s = Part512(i7, parts, 7, d, m, scales, less, s);
            input += SuperBlocks.Columns;
            scales += SuperParts;
            less += SuperParts;
            group += SuperBlocks.HeaderBytes + Q5_K.Bytes;
        }

        s.Store(sums);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector512<float> Part512(Vector512<int> products, byte* parts, int part, Vector512<float> d, Vector512<float> m, float* scales, float* less, Vector512<float> sum)
    {
        sum = MultiplyAdd(Vector512.ConvertToSingle(products), Bytes512(parts + (16 * part)) * d * Vector512.Create(scales[part]), sum);
        return MultiplyAdd(Bytes512(parts + 128 + (16 * part)) * m, Vector512.Create(less[part]), sum);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector512<byte> Fives512(byte* line, bool isUpper, Vector512<ushort> fifths)
    {
        Vector512<byte> v = Vector512.Load(line);
        return ((isUpper ? (v.AsUInt16() >>> 4).AsByte() : v) & Vector512.Create((byte)15)) | (fifths.AsByte() & Vector512.Create((byte)16));
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Q6KRow512(byte* input, byte* group, int blocks, float* sums)
    {
        float* scales = (float*)(input + (blocks * BlockRows.BlockColumns));
        int* starts = (int*)(scales + (2 * blocks));
        Vector512<byte> fifteen = Vector512.Create((byte)15), sixteens = Vector512.Create((byte)0x30);
        Vector512<float> s = Vector512<float>.Zero;
        for (int first = 0; first < blocks; first += SuperParts)
        {
            Vector512<float> all = Scales512<Q6_K>(group);
            byte* parts = group + SuperBlocks.ScalesAt, words = group + SuperBlocks.HeaderBytes;
            for (int half = 0; half < 2; half++)
            {
                // Four blocks at a time, of which a step has three lines; each in two halves.
                PrefetchHeader(group, 4 * half);
                PrefetchHeader(group, (4 * half) + 2);
                Vector512<int> a0 = Start512<Q6_K>((byte*)starts, 0), b0 = Start512<Q6_K>((byte*)(starts + 1), 0), c0 = Start512<Q6_K>((byte*)(starts + 2), 0), d0 = Start512<Q6_K>((byte*)(starts + 3), 0);
                Vector512<int> a1 = Start512<Q6_K>((byte*)starts, 1), b1 = Start512<Q6_K>((byte*)(starts + 1), 1), c1 = Start512<Q6_K>((byte*)(starts + 2), 1), d1 = Start512<Q6_K>((byte*)(starts + 3), 1);
                Q6KSteps512(words, input, fifteen, sixteens, ref a0, ref b0, ref c0, ref d0);
                Q6KSteps512(words + 384, input + 8, fifteen, sixteens, ref a0, ref b0, ref c0, ref d0);
                Q6KSteps512(words + 768, input + 16, fifteen, sixteens, ref a1, ref b1, ref c1, ref d1);
                Q6KSteps512(words + 1152, input + 24, fifteen, sixteens, ref a1, ref b1, ref c1, ref d1);
                s = Q6KPart512(a0, a1, parts, all, scales[0], s);
                s = Q6KPart512(b0, b1, parts + 32, all, scales[1], s);
                s = Q6KPart512(c0, c1, parts + 64, all, scales[2], s);
                s = Q6KPart512(d0, d1, parts + 96, all, scales[3], s);
                words += 1536;
                input += 128;
                parts += 128;
                scales += 4;
                starts += 4;
            }

            group += SuperBlocks.HeaderBytes + Q6_K.Bytes;
        }

        s.Store(sums);
    }

    // As many steps as sums of 16 bits hold: two.
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Q6KSteps512(byte* words, byte* input, Vector512<byte> fifteen, Vector512<byte> sixteens, ref Vector512<int> a, ref Vector512<int> b, ref Vector512<int> c, ref Vector512<int> d)
    {
        Sums512<Q6_K> pa = default, pb = default, pc = default, pd = default;
        for (int step = 0; step < 2; step++)
        {
            Sse.Prefetch1(words + Ahead);
            Sse.Prefetch1(words + 64 + Ahead);
            Sse.Prefetch1(words + 128 + Ahead);
            Vector512<byte> v0 = Vector512.Load(words), v1 = Vector512.Load(words + 64);
            Vector512<ushort> h = Vector512.Load(words + 128).AsUInt16();
            pa.Add(ref a, (v0 & fifteen) | ((h << 4).AsByte() & sixteens), Four512(input));
            pb.Add(ref b, (v1 & fifteen) | ((h << 2).AsByte() & sixteens), Four512(input + 32));
            pc.Add(ref c, ((v0.AsUInt16() >>> 4).AsByte() & fifteen) | (h.AsByte() & sixteens), Four512(input + 64));
            pd.Add(ref d, ((v1.AsUInt16() >>> 4).AsByte() & fifteen) | ((h >>> 2).AsByte() & sixteens), Four512(input + 96));
            words += 192;
            input += 4;
        }

        pa.End(ref a);
        pb.End(ref b);
        pc.End(ref c);
        pd.End(ref d);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector512<float> Q6KPart512(Vector512<int> first, Vector512<int> second, byte* parts, Vector512<float> all, float scale, Vector512<float> sum)
    {
        Vector512<float> by = Vector512.Create(scale);
        sum = MultiplyAdd(Vector512.ConvertToSingle(first), SignedBytes512(parts) * all * by, sum);
        return MultiplyAdd(Vector512.ConvertToSingle(second), SignedBytes512(parts + 16) * all * by, sum);
    }
}
