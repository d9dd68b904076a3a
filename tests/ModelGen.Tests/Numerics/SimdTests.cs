using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;
using ModelGen.Runtime;
using ModelGen.Tests.Infrastructure;

namespace ModelGen.Tests.Numerics;

/// <summary>Tails in guarded memory, reductions, multiply-add and the choice of the width.</summary>
public sealed unsafe class SimdTests
{
    [Fact]
    public void TailsStayInsideTheirMemory() => Tails();

    [Fact]
    public void ReductionsAndSelections() => Lanes();

    [Theory]
    [InlineData("DOTNET_EnableHWIntrinsic", "0")]
    [InlineData("DOTNET_EnableAVX", "0")]
    [InlineData("DOTNET_EnableAVX2", "0")]
    [InlineData("DOTNET_EnableAVX512", "0")]
    [InlineData("MODELGEN_VECTOR_BITS", "512")]
    public void OnEveryPath(string variable, string value)
    {
        ChildProcess.RunCheck(Tails, (variable, value));
        ChildProcess.RunCheck(Lanes, (variable, value));
    }

    [Theory]
    [InlineData(null, 0)]
    [InlineData("", 0)]
    [InlineData("128", 128)]
    [InlineData("256", 256)]
    [InlineData("512", 512)]
    [InlineData("64", -1)]
    [InlineData("-256", -1)]
    [InlineData("0256x", -1)]
    [InlineData("AVX2", -1)]
    [InlineData("99999999999", -1)]
    public void WidthIsParsed(string? text, int expected) => Assert.Equal(expected, Simd.ParseVectorBits(text));

    [Fact]
    public void ForcedWidthIsTaken()
    {
        ChildProcess.RunCheck(Expect128, ("MODELGEN_VECTOR_BITS", "128"));
        ChildProcess.RunCheck(Expect256, ("MODELGEN_VECTOR_BITS", "256"));
        ChildProcess.RunCheck(Expect512, ("MODELGEN_VECTOR_BITS", "512"));
        ChildProcess.RunCheck(ExpectProperty, ("MODELGEN_VECTOR_BITS", ""));
        ChildProcess.RunCheck(ExpectEnvironmentBeforeProperty, ("MODELGEN_VECTOR_BITS", "512"));
    }

    [Fact]
    public void InvalidWidthIsNamed() => ChildProcess.RunCheck(ExpectInvalid, ("MODELGEN_VECTOR_BITS", "1024"));

    [Fact]
    public void HardwareDecidesTheWidthOtherwise()
    {
        ChildProcess.RunCheck(ExpectHardware, ("MODELGEN_VECTOR_BITS", ""));
        if (RuntimeInformation.ProcessArchitecture != Architecture.X64) return;
        ChildProcess.RunCheck(ExpectScalar, ("MODELGEN_VECTOR_BITS", ""), ("DOTNET_EnableHWIntrinsic", "0"));
        ChildProcess.RunCheck(ExpectSse, ("MODELGEN_VECTOR_BITS", ""), ("DOTNET_EnableAVX2", "0"));
        ChildProcess.RunCheck(ExpectSse, ("MODELGEN_VECTOR_BITS", ""), ("DOTNET_EnableAVX", "0"));
    }

    [Check]
    private static void Expect128() => ExpectWidth(128);

    [Check]
    private static void Expect256() => ExpectWidth(256);

    [Check]
    private static void Expect512() => ExpectWidth(512);

    [Check]
    private static void ExpectProperty()
    {
        AppContext.SetData("ModelGen.VectorBits", "128");
        ExpectWidth(128);
    }

    [Check]
    private static void ExpectEnvironmentBeforeProperty()
    {
        AppContext.SetData("ModelGen.VectorBits", 128);
        ExpectWidth(512);
    }

    [Check]
    private static void ExpectHardware()
    {
        ExpectWidth(Vector512.IsHardwareAccelerated ? 512 : Vector256.IsHardwareAccelerated ? 256 : 128);
        string[] names = Vector512.IsHardwareAccelerated ? ["AVX-512"] : Vector256.IsHardwareAccelerated ? ["AVX2+FMA", "AVX2"] : ["NEON", "SSE", "scalar"];
        Assert.Contains(Simd.PathName, names);
        Assert.Equal(Simd.PathName, ComputePath.Name);
        Assert.Equal(Simd.VectorBits, ComputePath.VectorBits);
        Assert.Equal(Simd.HasFusedMultiplyAdd, ComputePath.HasFusedMultiplyAdd);
    }

    [Check]
    private static void ExpectScalar()
    {
        ExpectWidth(128);
        Assert.Equal("scalar", Simd.PathName);
        Assert.False(Simd.HasFusedMultiplyAdd);
    }

    [Check]
    private static void ExpectSse()
    {
        ExpectWidth(128);
        Assert.Equal("SSE", Simd.PathName);
        Assert.False(Simd.HasFusedMultiplyAdd);
    }

    [Check]
    private static void ExpectInvalid()
    {
        foreach (Action read in (Action[])[() => _ = Simd.Use512, () => _ = Simd.Use256, () => _ = Simd.VectorBits, () => _ = Simd.PathName, () => _ = ComputePath.Name, () => _ = ComputePath.VectorBits])
        {
            string message = Assert.Throws<InvalidOperationException>(read).Message;
            foreach (string part in (string[])["'1024'", "MODELGEN_VECTOR_BITS", "128", "256", "512"]) Assert.Contains(part, message);
        }
    }

    private static void ExpectWidth(int bits)
    {
        Assert.Equal(bits, Simd.VectorBits);
        Assert.Equal(bits >= 512, Simd.Use512);
        Assert.Equal(bits >= 256, Simd.Use256);
    }

    [Check]
    private static void Tails()
    {
        foreach (GuardSide side in (GuardSide[])[GuardSide.After, GuardSide.Before])
        {
            for (int count = 0; count <= 16; count++)
            {
                using GuardedBuffer source = new(count, side);
                for (int i = 0; i < count; i++) source.Pointer[i] = i + 0.5f;
                CheckTail(Simd.LoadTail512(source.Pointer, count).GetLower(), count, 0);
                CheckTail(Simd.LoadTail512(source.Pointer, count).GetUpper(), count, 8);
                if (count <= 8) CheckTail(Simd.LoadTail256(source.Pointer, count), count, 0);
                if (count <= 4) CheckTail(Simd.LoadTail128(source.Pointer, count).ToVector256(), count, 0);

                CheckStore(side, count, p => Simd.StoreTail512(p, Simd.Lanes512, count));
                if (count <= 8) CheckStore(side, count, p => Simd.StoreTail256(p, Simd.Lanes256, count));
                if (count <= 4) CheckStore(side, count, p => Simd.StoreTail128(p, Simd.Lanes128, count));
            }
        }
    }

    private delegate void Store(float* p);

    private static void CheckStore(GuardSide side, int count, Store store)
    {
        using GuardedBuffer exact = new(count, side);
        store(exact.Pointer);
        for (int i = 0; i < count; i++) Assert.Equal(i, exact.Pointer[i]);

        // With room behind it, nothing but the count may change there either.
        using GuardedBuffer roomy = new(count + 16, side);
        store(roomy.Pointer);
        for (int i = 0; i < count + 16; i++) Assert.Equal(i < count ? i : float.NaN, roomy.Pointer[i]);
    }

    private static void CheckTail(Vector256<float> loaded, int count, int firstLane)
    {
        for (int i = 0; i < 8; i++)
        {
            float expected = firstLane + i < count ? firstLane + i + 0.5f : 0f;
            Assert.Equal(BitConverter.SingleToInt32Bits(expected), BitConverter.SingleToInt32Bits(loaded.GetElement(i)));
        }
    }

    [Check]
    private static void Lanes()
    {
        Random random = new(7);
        Span<float> a = stackalloc float[16], b = stackalloc float[16], c = stackalloc float[16], actual = stackalloc float[16];
        for (int round = 0; round < 200; round++)
        {
            for (int i = 0; i < 16; i++)
            {
                (a[i], b[i], c[i]) = (Next(random), Next(random), Next(random));
            }

            Assert.Equal(Tree(a[..4], Add), Simd.Sum(Vector128.Create<float>(a)));
            Assert.Equal(Tree(a[..8], Add), Simd.Sum(Vector256.Create<float>(a)));
            Assert.Equal(Tree(a, Add), Simd.Sum(Vector512.Create<float>(a)));
            Assert.Equal(Tree(a[..4], MathF.Max), Simd.Max(Vector128.Create<float>(a)));
            Assert.Equal(Tree(a[..8], MathF.Max), Simd.Max(Vector256.Create<float>(a)));
            Assert.Equal(Tree(a, MathF.Max), Simd.Max(Vector512.Create<float>(a)));
            Assert.Equal(Tree(a[..4], MathF.Max), Simd.MaxNative(Vector128.Create<float>(a)));
            Assert.Equal(Tree(a[..8], MathF.Max), Simd.MaxNative(Vector256.Create<float>(a)));
            Assert.Equal(Tree(a, MathF.Max), Simd.MaxNative(Vector512.Create<float>(a)));

            Simd.MultiplyAdd(Vector512.Create<float>(a), Vector512.Create<float>(b), Vector512.Create<float>(c)).CopyTo(actual);
            ExpectProducts(a, b, c, actual);
            Simd.MultiplyAdd(Vector256.Create<float>(a), Vector256.Create<float>(b), Vector256.Create<float>(c)).CopyTo(actual);
            ExpectProducts(a[..8], b, c, actual);
            Simd.MultiplyAdd(Vector128.Create<float>(a), Vector128.Create<float>(b), Vector128.Create<float>(c)).CopyTo(actual);
            ExpectProducts(a[..4], b, c, actual);
        }

        // Whole numbers, whose sums are exact in any order: only the places are in question.
        var vectors = new Vector512<float>[16];
        var sums = new float[16];
        for (int i = 0; i < 16; i++)
        {
            for (int lane = 0; lane < 16; lane++) a[lane] = random.Next(1000);
            vectors[i] = Vector512.Create<float>(a);
            sums[i] = Vector512.Sum(vectors[i]);
        }
        Vector512<float>[] quarters = [.. Enumerable.Range(0, 4).Select(i => Simd.PartialSums(vectors[4 * i], vectors[(4 * i) + 1], vectors[(4 * i) + 2], vectors[(4 * i) + 3]))];
        Simd.SumsOfParts(quarters[0], quarters[1], quarters[2], quarters[3]).CopyTo(actual);
        Assert.Equal<float>(sums, actual);
        Simd.Sums(vectors[0], vectors[1], vectors[2], vectors[3]).CopyTo(actual);
        Assert.Equal<float>(sums.AsSpan(0, 4), actual[..4]);
        Vector256<float>[] halves = [.. vectors.Select(v => v.GetUpper())];
        Simd.SumsOfParts(Simd.PartialSums(halves[0], halves[1], halves[2], halves[3]), Simd.PartialSums(halves[4], halves[5], halves[6], halves[7])).CopyTo(actual);
        for (int i = 0; i < 8; i++) Assert.Equal(Vector256.Sum(halves[i]), actual[i]);
        Simd.SumsOfHalves(quarters[0], quarters[1]).CopyTo(actual);
        for (int i = 0; i < 8; i++)
        {
            Assert.Equal(Vector256.Sum(vectors[i].GetLower()), actual[(i / 4 * 8) + (i % 4)]);
            Assert.Equal(Vector256.Sum(vectors[i].GetUpper()), actual[(i / 4 * 8) + 4 + (i % 4)]);
        }

        const int Stride = 7;
        var expected = new float[(3 * Stride) + 4];
        for (int i = 0; i < 16; i++) expected[(i % 4 * Stride) + (i / 4)] = vectors[0].GetElement(i);
        (Vector256<float> rows01, Vector256<float> rows23) = (vectors[0].GetLower(), vectors[0].GetUpper());
        ExpectColumns(expected, p => Simd.StoreColumns(vectors[0], (float*)p, Stride));
        ExpectColumns(expected, p => Simd.StoreColumns(rows01, rows23, (float*)p, Stride));
        ExpectColumns(expected, p => Simd.StoreColumns(rows01.GetLower(), rows01.GetUpper(), rows23.GetLower(), rows23.GetUpper(), (float*)p, Stride));
        Assert.Equal(vectors[0], Simd.Join(vectors[0].GetLower(), vectors[0].GetUpper()));
        Assert.Equal(halves[0], Simd.Join(halves[0].GetLower(), halves[0].GetUpper()));

        for (int position = 0; position < 16; position++)
        {
            a.Fill(1f);
            a[position] = float.NaN;
            Assert.Equal(float.NaN, Simd.Max(Vector512.Create<float>(a)));
            if (position < 8) Assert.Equal(float.NaN, Simd.Max(Vector256.Create<float>(a)));
            if (position < 4) Assert.Equal(float.NaN, Simd.Max(Vector128.Create<float>(a)));
            fixed (float* scores = a)
            {
                Assert.Equal(float.NaN, AttentionRows.Exponentials(scores, 16, 16, 1, out _));
                Assert.Equal(float.NaN, scores[position]);
            }
        }

        for (int count = 0; count <= 16; count++)
        {
            Simd.FirstLanes512(Simd.Lanes512, count, -1f).CopyTo(actual);
            ExpectFirst(actual, count);
            Simd.FirstLanes256(Simd.Lanes256, count, -1f).CopyTo(actual);
            ExpectFirst(actual[..8], count);
            Simd.FirstLanes128(Simd.Lanes128, count, -1f).CopyTo(actual);
            ExpectFirst(actual[..4], count);
        }
    }

    private static void ExpectColumns(float[] expected, Action<nint> store)
    {
        var actual = new float[expected.Length];
        fixed (float* p = actual) store((nint)p);
        Assert.Equal(expected, actual);
    }

    private static float Next(Random random) => (random.NextSingle() - 0.5f) * MathF.Pow(2, random.Next(-20, 20));

    private static float Add(float a, float b) => a + b;

    /// <summary>Adds the upper half to the lower until one lane is left: the tree that the documentation promises.</summary>
    private static float Tree(ReadOnlySpan<float> values, Func<float, float, float> combine)
    {
        float[] lanes = values.ToArray();
        for (int half = lanes.Length / 2; half > 0; half /= 2)
        {
            for (int i = 0; i < half; i++) lanes[i] = combine(lanes[i], lanes[i + half]);
        }

        return lanes[0];
    }

    private static void ExpectProducts(ReadOnlySpan<float> a, ReadOnlySpan<float> b, ReadOnlySpan<float> c, ReadOnlySpan<float> actual)
    {
        for (int i = 0; i < a.Length; i++)
        {
            float expected = Simd.HasFusedMultiplyAdd ? MathF.FusedMultiplyAdd(a[i], b[i], c[i]) : (a[i] * b[i]) + c[i];
            Assert.Equal(expected, actual[i]);
            Assert.Equal(expected, Simd.MultiplyAdd(a[i], b[i], c[i]));
        }
    }

    private static void ExpectFirst(ReadOnlySpan<float> actual, int count)
    {
        for (int i = 0; i < actual.Length; i++) Assert.Equal(i < count ? i : -1f, actual[i]);
    }
}
