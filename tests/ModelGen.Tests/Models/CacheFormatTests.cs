using ModelGen.Runtime;
using ModelGen.Tests.Infrastructure;
using ModelGen.Tests.Runtime;

namespace ModelGen.Tests.Models;

/// <summary>Keys and values that do not lie in memory as floats: what sessions remember of them, and what is stored.</summary>
[Collection(SerialCollection.Name)]
public sealed unsafe class CacheFormatTests
{
    /// <summary>Every pattern of 16 bits comes back as it was, and what lies between two goes to the nearer one, of two to the even one.</summary>
    [Fact]
    public void Halves_are_rounded_to_the_nearest()
    {
        const int Count = 8;
        float* source = stackalloc float[Count], back = stackalloc float[Count];
        byte* stored = stackalloc byte[2 * Count];
        var random = new Random(1);
        for (int bits = 0; bits < 0x7C00; bits++)
        {
            float low = (float)BitConverter.UInt16BitsToHalf((ushort)bits), high = Math.Min(65504f, (float)BitConverter.UInt16BitsToHalf((ushort)(bits + 1)));
            (source[0], source[1], source[2], source[3]) = (low, -low, (low + high) / 2, -(low + high) / 2);
            (source[4], source[5], source[6]) = (MathF.BitIncrement((low + high) / 2), MathF.BitDecrement((low + high) / 2), low + (random.NextSingle() * (high - low)));
            source[7] = bits == 0 ? float.PositiveInfinity : 1e30f;
            CacheRows.StoreF16(source, Count, stored);
            CacheRows.LoadF16<F128>(stored, 0, Count, 1, 0, Count, back, 0);
            for (int i = 0; i < Count - 1; i++)
            {
                Assert.Equal((float)(Half)Math.Clamp(source[i], -65504f, 65504f), back[i]);
            }

            Assert.Equal(65504f, back[7]);
        }
    }

    [Fact]
    public void Blocks_have_the_scale_of_their_largest()
    {
        const int Columns = 96;
        float* source = stackalloc float[Columns], back = stackalloc float[Columns];
        byte* stored = stackalloc byte[Columns / 8 * 9];
        var random = new Random(2);
        for (int trial = 0; trial < 500; trial++)
        {
            for (int i = 0; i < Columns; i++)
            {
                source[i] = i < 32 && trial == 0 ? 0 : (random.NextSingle() - 0.5f) * MathF.Pow(10, (trial % 30) - 15);
            }

            CacheRows.StoreQ8_0(source, Columns, stored);
            CacheRows.LoadQ8_0<F256>(stored, 0, Columns, 1, 0, Columns, back, 0);
            for (int block = 0; block < Columns; block += 32)
            {
                float most = 0;
                for (int i = block; i < block + 32; i++)
                {
                    most = Math.Max(most, Math.Abs(source[i]));
                }

                for (int i = block; i < block + 32; i++)
                {
                    Assert.InRange(Math.Abs(back[i] - source[i]), 0, most / 253.9f);
                }
            }

            float[] wide = new float[32];
            fixed (float* to = wide)
            {
                CacheRows.LoadQ8_0<F128>(stored, 0, Columns, 1, 32, 32, to, 0);
                Assert.Equal(new Span<float>(back + 32, 32).ToArray(), wide);
                CacheRows.LoadQ8_0<F512>(stored, 0, Columns, 1, 32, 32, to, 0);
                Assert.Equal(new Span<float>(back + 32, 32).ToArray(), wide);
            }
        }
    }

    [Fact]
    public void Rounded_caches_give_nearly_what_floats_give()
    {
        Agree<F16CacheDecoder>(1e-3);
        Agree<Q8CacheDecoder>(0.02);

        static void Agree<TModel>(double tolerance)
            where TModel : ICausalLanguageModel<TModel>
        {
            using CausalSession exact = SingleCacheDecoder.Create(seed: 3).CreateSession(null), rounded = TModel.Create(seed: 3).CreateSession(null);
            double most = 0;
            foreach (int token in (ReadOnlySpan<int>)[3, 14, 15, 92, 65, 35, 89, 79, 32, 38, 46, 26, 43])
            {
                float[] a = exact.Decode(token).ToArray(), b = rounded.Decode(token).ToArray();
                double range = a.Max(Math.Abs);
                for (int i = 0; i < a.Length; i++)
                {
                    Assert.InRange(Math.Abs(a[i] - b[i]), 0, tolerance * range);
                    most = Math.Max(most, Math.Abs(a[i] - b[i]));
                }
            }

            Assert.True(most > 0, "nothing was rounded");
        }
    }

    [Fact]
    public void Bits_do_not_depend_on_threads_on_sequences_beside_or_on_what_was_taken_back()
    {
        Check<F16CacheDecoder>();
        Check<Q8CacheDecoder>();

        static void Check<TModel>()
            where TModel : ICausalLanguageModel<TModel>
        {
            TModel model = TModel.Create(seed: 3);
            int[] tokens = [.. Enumerable.Range(0, 23).Select(i => i * 31 % 101)];
            using CausalSession one = model.CreateSession(new SessionOptions { Threads = 1 });
            float[] prefill = one.Prefill(tokens).ToArray();
            SessionState state = one.Capture();
            float[] decode = one.Decode(5).ToArray();
            for (int threads = 2; threads <= 3; threads++)
            {
                using CausalSession session = model.CreateSession(new SessionOptions { Threads = threads });
                Compare.Bits(prefill, session.Prefill(tokens).ToArray(), $"{typeof(TModel).Name}, a prompt with {threads} threads");
                Compare.Bits(decode, session.Decode(5).ToArray(), $"{typeof(TModel).Name}, a token with {threads} threads");
                session.Prefill([1, 2, 3]);
                session.Rewind(tokens.Length);
                Compare.Bits(decode, session.Decode(5).ToArray(), $"{typeof(TModel).Name}, taken back");
                session.Reset();
                session.Restore(state);
                Compare.Bits(decode, session.Decode(5).ToArray(), $"{typeof(TModel).Name}, restored");
            }

            using CausalSession batch = model.CreateSession(new SessionOptions { Threads = 2, Batch = 3 });
            batch.Prefill(1, tokens);
            batch.Prefill(2, [7, 8]);
            Compare.Bits(decode, batch.Decode([-1, 5, 9]).Slice(TModel.VocabularySize, TModel.VocabularySize).ToArray(), $"{typeof(TModel).Name}, beside another sequence");
        }
    }

    [Fact]
    public void The_card_says_what_a_token_takes()
    {
        // Two layers of keys and of values, two heads of 32 each.
        Assert.Equal(4 * 64 * 4, SingleCacheDecoder.KvBytesPerToken);
        Assert.Equal(4 * 64 * 2, F16CacheDecoder.KvBytesPerToken);
        Assert.Equal(4 * 72, Q8CacheDecoder.KvBytesPerToken);
    }
}
