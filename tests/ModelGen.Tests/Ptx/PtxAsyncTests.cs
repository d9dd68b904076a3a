using System.Globalization;
using System.Runtime.InteropServices;

namespace ModelGen.Tests.Ptx;

/// <summary>
/// What the machine for PTX knows of the copy engine and of products of four warps: layouts of factors and sums as the manual has them, and what it finds, each with a
/// program that has the fault.
/// </summary>
public sealed unsafe class PtxAsyncTests
{
    private const int Threads = 160;

    // Rows of 128 bytes whose chunks change places, eight of them 1,024 bytes behind the eight before.
    private const ulong Descriptor = (1UL << 62) | (64UL << 32) | (1UL << 16);

    /// <summary>One thread of the fifth warp has 8 KB copied; four warps wait, multiply 64 x 16 of it with 16 x 8 of it, wait, and store a sum each.</summary>
    private static readonly string Program = $$"""
        ld.param.u64 %rd0, [p0];
        mov.u32 %r0, %tid.x;
        shr.u32 %r1, %r0, 5;
        mov.u32 %r2, asked;
        add.s32 %r2, %r2, 1023;
        and.b32 %r2, %r2, -1024;
        add.s32 %r3, %r2, 8192;
        setp.lt.s32 %p4, %r0, 0;
        setp.ne.s32 %p0, %r0, 0;
        @%p0 bra MADE;
        mbarrier.init.shared::cta.b64 [%r3], 1;
        fence.proxy.async.shared::cta;
        MADE:
        bar.sync 0;
        setp.ne.s32 %p1, %r0, 128;
        @%p1 bra TOLD;
        mbarrier.arrive.expect_tx.shared::cta.b64 _, [%r3], 8192;
        cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%r2], [%rd0], 8192, [%r3];
        TOLD:
        setp.ge.s32 %p3, %r1, 4;
        AGAIN:
        mbarrier.try_wait.parity.shared::cta.b64 %p2, [%r3], 0;
        @!%p2 bra AGAIN;
        @%p3 bra EXIT;
        shr.u32 %r4, %r2, 4;
        cvt.u64.u32 %rd1, %r4;
        or.b64 %rd1, %rd1, {{Descriptor}};
        wgmma.fence.sync.aligned;
        wgmma.mma_async.sync.aligned.m64n8k16.f32.bf16.bf16 {%f0, %f1, %f2, %f3}, %rd1, %rd1, %p4, 1, 1, 0, 0;
        wgmma.commit_group.sync.aligned;
        wgmma.wait_group.sync.aligned 0;
        mul.wide.s32 %rd3, %r0, 4;
        add.s64 %rd2, %rd0, %rd3;
        st.global.f32 [%rd2+8192], %f0;
        """;

    private const string Product = "wgmma.mma_async.sync.aligned.m64n8k16.f32.bf16.bf16 {%f0, %f1, %f2, %f3}, %rd1, %rd1, %p4, 1, 1, 0, 0;";
    private const string CopyOfAll = "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%r2], [%rd0], 8192, [%r3];";

    /// <summary>What is in the program, what stands in its place, and what is said.</summary>
    public static TheoryData<string, string, string> Faults => new()
    {
        // Descriptors.
        { "shr.u32 %r4, %r2, 4;", "add.s32 %r4, %r2, 128;\nshr.u32 %r4, %r4, 4;", "begins within a pattern" },
        { "shr.u32 %r4, %r2, 4;", "add.s32 %r4, %r2, 112;\nshr.u32 %r4, %r4, 4;", "reaches beyond its rows" },
        { "shr.u32 %r4, %r2, 4;", "add.s32 %r4, %r2, 9216;\nshr.u32 %r4, %r4, 4;", "of shared memory" },
        { "shr.u32 %r4, %r2, 4;", "add.s32 %r4, %r2, 8192;\nshr.u32 %r4, %r4, 4;", "reaches into a barrier" },
        { "shr.u32 %r4, %r2, 4;", "shr.u32 %r4, %r2, 4;\nor.b32 %r4, %r4, 49152;", "bits of a descriptor that are none" },
        { "shr.u32 %r4, %r2, 4;", "shr.u32 %r4, %r2, 4;\nadd.s32 %r4, %r4, %r0;", "different descriptors" },
        { "shr.u32 %r4, %r2, 4;", "add.s32 %r4, %r2, %r1;\nshl.b32 %r5, %r1, 5;\nadd.s32 %r4, %r2, %r5;\nshr.u32 %r4, %r4, 4;", "one of them comes to" },

        // Sums in registers.
        { "wgmma.fence.sync.aligned;", "", "no fence before the first product" },
        { "wgmma.fence.sync.aligned;", "wgmma.fence.sync.aligned;\nmov.f32 %f2, 0f00000000;", "no fence between what touches a sum and the product" },
        { "wgmma.wait_group.sync.aligned 0;", "", "a sum of products that was not waited for" },
        { "wgmma.wait_group.sync.aligned 0;", "wgmma.wait_group.sync.aligned 1;", "a sum of products that was not waited for" },
        { "wgmma.commit_group.sync.aligned;", "", "a sum of products that was not waited for" },
        { "wgmma.commit_group.sync.aligned;", "mov.f32 %f3, 0f00000000;\nwgmma.commit_group.sync.aligned;", "a sum of products that was not waited for" },
        { "st.global.f32 [%rd2+8192], %f0;", Product, "products are on their way that nobody waited for" },
        { Product, Product + "\nwgmma.mma_async.sync.aligned.m64n16k16.f32.bf16.bf16 {%f0, %f1, %f2, %f3, %f4, %f5, %f6, %f7}, %rd1, %rd1, %p4, 1, 1, 0, 0;", "of another shape" },
        { Product, "setp.eq.s32 %p5, %r1, 3;\n@%p5 bra EXIT;\n" + Product, "not all four warps" },
        { Product, "setp.eq.s32 %p5, %r0, 3;\n@%p5 bra EXIT;\n" + Product, "not all threads of the warp" },
        { "setp.lt.s32 %p4, %r0, 0;", "setp.lt.s32 %p4, %r0, 7;", "do not agree on whether to add" },

        // Barriers.
        { "mbarrier.init.shared::cta.b64 [%r3], 1;", "", "is no barrier" },
        { "mbarrier.init.shared::cta.b64 [%r3], 1;", "mbarrier.init.shared::cta.b64 [%r3], 0;", "a barrier of 0 arrivals" },
        { "mbarrier.init.shared::cta.b64 [%r3], 1;", "mbarrier.init.shared::cta.b64 [%r3+4], 1;", "misaligned" },
        { "mbarrier.init.shared::cta.b64 [%r3], 1;", "mbarrier.init.shared::cta.b64 [%r3], 2;", "1 of 2 arrivals and 0 bytes missing" },
        { "bar.sync 0;", "", "that another warp may not have made yet" },
        { "MADE:\nbar.sync 0;", "bar.sync 0;\nMADE:", "a barrier that not all threads" },
        { "fence.proxy.async.shared::cta;", "", "no fence has made known to the engine" },
        { "shared::cta.b64 %p2, [%r3], 0;", "shared::cta.b64 %p2, [%r3], 1;", "that nobody wrote" },
        { "shared::cta.b64 %p2, [%r3], 0;", "shared::cta.b64 %p2, [%r3], 2;", "the parity of no turn" },
        { "@!%p2 bra AGAIN;", "", "whose copy was not waited for" },
        { "TOLD:", "mbarrier.arrive.shared::cta.b64 _, [%r3];\nTOLD:", "more arrive at a barrier than the 1" },
        { "TOLD:", "ld.shared.u32 %r5, [%r3];\nTOLD:", "a barrier is accessed as memory" },
        { "TOLD:", "mbarrier.arrive.shared::cta.b64 _, [%r3+8];\nTOLD:", "is no barrier" },

        // Copies.
        { "[%r3], 8192;", "[%r3], 8176;", "8192 bytes are copied, and their barrier expects 8176" },
        { "[%r3], 8192;", "[%r3], 8208;", "16 bytes missing" },
        { "mbarrier.arrive.expect_tx.shared::cta.b64 _, [%r3], 8192;", "mbarrier.arrive.shared::cta.b64 _, [%r3];", "their barrier expects 0" },
        { CopyOfAll, CopyOfAll.Replace("[%rd0], 8192", "[%rd0], 8", StringComparison.Ordinal), "a bulk copy of 8 bytes" },
        { CopyOfAll, CopyOfAll.Replace("[%rd0]", "[%rd0+8]", StringComparison.Ordinal), "misaligned" },
        { CopyOfAll, CopyOfAll.Replace("[%r2]", "[%r2+8]", StringComparison.Ordinal), "misaligned" },
        { CopyOfAll, CopyOfAll.Replace("[%rd0]", "[%rd0+12288]", StringComparison.Ordinal), "bytes from the beginning of memory" },
        { CopyOfAll, CopyOfAll.Replace("[%r2]", "[%r2+1024]", StringComparison.Ordinal), "a barrier is accessed as memory" },
        { CopyOfAll, CopyOfAll.Replace("[%r2]", "[%r2+4096]", StringComparison.Ordinal), "a barrier is accessed as memory" },
        { "TOLD:", "mbarrier.arrive.expect_tx.shared::cta.b64 _, [%r3], 8192;\nTOLD:", "more arrive at a barrier" },
        { "AGAIN:", "@!%p3 bra AGAIN;\nld.shared.u32 %r5, [%r2];\nAGAIN:", "that a copy is on its way to" },
        { "AGAIN:", "setp.eq.s32 %p5, %r1, 2;\n@%p5 bra PASSED;\nAGAIN:", "that nobody wrote" },
        { "AGAIN:", "bra EXIT;\nAGAIN:", "a block ends while copies are on their way" },

        // What threads write themselves.
        { "shr.u32 %r4, %r2, 4;", "st.shared.u32 [%r2], %r1;\nshr.u32 %r4, %r2, 4;", "two threads write|that another thread writes" },
        { "shr.u32 %r4, %r2, 4;", "setp.ne.s32 %p5, %r0, 0;\n@%p5 bra STORED;\nst.shared.u32 [%r2], %r1;\nSTORED:\nshr.u32 %r4, %r2, 4;", "without a fence behind it|that another thread writes" },
        { Product, Product + "\nsetp.ne.s32 %p5, %r0, 0;\n@%p5 bra STORED;\nst.shared.u32 [%r2], %r1;\nSTORED:", "that a product still reads|that another thread writes" },
        { "TOLD:", "TOLD:\nsetp.ne.s32 %p5, %r0, 0;\n@%p5 bra STORED;\nst.shared.u32 [%r2], %r1;\nSTORED:", "that a copy is on its way to|without a fence between" },
        { "bar.sync 0;", "shl.b32 %r5, %r0, 4;\nadd.s32 %r5, %r2, %r5;\nst.shared.u32 [%r5], %r1;\nbar.sync 0;", "what threads have written without a fence between" },
    };

    [Theory]
    [MemberData(nameof(Faults))]
    public void What_no_program_may_do_is_reported(string text, string instead, string problems)
    {
        Assert.Contains(text, Program.ReplaceLineEndings("\n"), StringComparison.Ordinal);
        string program = Program.ReplaceLineEndings("\n").Replace("@%p3 bra EXIT;\nshr", "@%p3 bra EXIT;\nPASSED:\nshr", StringComparison.Ordinal);
        int at = program.IndexOf(text, StringComparison.Ordinal);
        string message = Assert.Throws<PtxException>(() => Run(program[..at] + instead + program[(at + text.Length)..], new float[4096])).Message;
        Assert.True(problems.Split('|').Any(p => message.Contains(p, StringComparison.Ordinal)), message);
    }

    public static TheoryData<string, string> Refused => new()
    {
        { "wgmma.mma_async.sync.aligned.m64n8k16.f32.bf16.bf16 {%f0, %f1, %f2}, %rd1, %rd1, %p4, 1, 1, 0, 0;", "are not 4 registers" },
        { "wgmma.mma_async.sync.aligned.m64n12k16.f32.bf16.bf16 {%f0, %f1, %f2, %f3, %f4, %f5}, %rd1, %rd1, %p4, 1, 1, 0, 0;", "unknown instruction" },
        { "wgmma.mma_async.sync.aligned.m64n8k16.f32.bf16.bf16 {%f0, %f1, %f2, %f3}, %rd1, %rd1, %p4, 2, 1, 0, 0;", "negated" },
        { "wgmma.mma_async.sync.aligned.m64n8k16.f32.bf16.bf16 {%f0, %f1, %f2, %f3}, %rd1, %rd1, %p4, 1, 1, 0, -1;", "turned or not" },
        { "wgmma.mma_async.sync.aligned.m64n8k16.f32.bf16.bf16 {%f0, %f1, %f2, %f3}, %r1, %rd1, %p4, 1, 1, 0, 0;", "of another type" },
        { "wgmma.mma_async.sync.aligned.m64n8k16.f32.bf16.bf16 {%f0, %f1, %f2, %f3}, %rd1, %rd1, %p4;", "takes 8 operands" },
        { "wgmma.wait_group.sync.aligned %r1;", "no literal" },
        { "mbarrier.try_wait.parity.shared::cta.b64 %r1, [%r3], 0;", "of another type" },
        { "mbarrier.arrive.shared::cta.b64 %rd1, [%r3];", "is a state" },
        { "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%rd0], [%rd0], 16, [%r3];", "of another type" },
    };

    [Theory]
    [MemberData(nameof(Refused))]
    public void What_an_assembler_refuses(string instruction, string problem)
        => Assert.Contains(problem, Assert.Throws<PtxException>(() => Run(instruction, new float[4])).Message, StringComparison.Ordinal);

    [Fact]
    public void A_block_has_no_more_memory_than_it_asks_for()
    {
        Run(Program, new float[4096]);
        Assert.Contains("of shared memory", Assert.Throws<PtxException>(() => Run(Program, new float[4096], sharedBytes: 8192)).Message, StringComparison.Ordinal);
        Assert.Contains("more than a block may have", Assert.Throws<PtxException>(() => Run(Program, new float[4096], sharedBytes: 240 * 1024)).Message, StringComparison.Ordinal);
    }

    /// <summary>
    /// Both factors in every layout that the manual writes down for two bytes an element, T = 8 of which are a chunk: along the contracted extent ((8, m), (T, 2)) : ((w T, SBO), (1, T)), and (1, LBO) where no chunks change places;
    /// across it ((T, w, m), (8, k)) : ((1, T, LBO), (w T, SBO)), and ((T, 1, m), (8, k)) : ((1, T, SBO), (T, LBO)); the result goes through Swizzle&lt;log2 w, 4, 3&gt;.
    /// </summary>
    [Theory]
    [InlineData(0, false)]
    [InlineData(0, true)]
    [InlineData(1, false)]
    [InlineData(1, true)]
    [InlineData(2, false)]
    [InlineData(2, true)]
    [InlineData(3, false)]
    [InlineData(3, true)]
    public void Factors_lie_as_the_manual_says(int mode, bool turned)
    {
        const int Columns = 64, Depth = 16, T = 8, Image = 32 * 1024, Half = Image / 2;
        int log = mode switch { 1 => 3, 2 => 2, 3 => 1, _ => 0 }, w = 1 << log;
        ushort[] image = new ushort[Image / 2];
        var random = new Random(mode);
        double[] a = Numbers(64 * Depth), b = Numbers(Columns * Depth);
        ulong left = Lay(a, 64, 0), right = Lay(b, Columns, Half);
        float[] memory = new float[(Image / 4) + (128 * Columns / 2)];
        MemoryMarshal.Cast<ushort, float>(image).CopyTo(memory);
        string sums = string.Join(", ", Enumerable.Range(0, Columns / 2).Select(i => $"%f{i}"));
        string program = Program.ReplaceLineEndings("\n")
            .Replace("add.s32 %r3, %r2, 8192;", $"add.s32 %r3, %r2, {Image};", StringComparison.Ordinal)
            .Replace("[%r3], 8192;", $"[%r3], {Image};", StringComparison.Ordinal)
            .Replace("[%rd0], 8192", $"[%rd0], {Image}", StringComparison.Ordinal)
            .Replace($"or.b64 %rd1, %rd1, {Descriptor};", $"add.s64 %rd2, %rd1, {(long)right};\nadd.s64 %rd1, %rd1, {(long)left};", StringComparison.Ordinal)
            .Replace(Product, $"wgmma.mma_async.sync.aligned.m64n{Columns}k16.f32.bf16.bf16 {{{sums}}}, %rd1, %rd2, %p4, 1, 1, {(turned ? "1, 1" : "0, 0")};", StringComparison.Ordinal);
        program = program[..program.IndexOf("mul.wide.s32", StringComparison.Ordinal)]
            + $"mul.wide.s32 %rd3, %r0, {Columns * 2};\nadd.s64 %rd2, %rd0, %rd3;\n"
            + string.Concat(Enumerable.Range(0, Columns / 2).Select(i => FormattableString.Invariant($"st.global.f32 [%rd2+{Image + (4 * i)}], %f{i};\n")));
        float[] result = Run(program, memory, Image + 4096);
        for (int row = 0; row < 64; row++)
        {
            for (int column = 0; column < Columns; column++)
            {
                // The manual's figure of sums: a warp has 16 rows, a thread of it two columns of eight, and the same of the row eight further down.
                int thread = (32 * (row / 16)) + (4 * (row % 8)) + (column % 8 / 2), register = (4 * (column / 8)) + (2 * (row % 16 / 8)) + (column % 2);
                double sum = Enumerable.Range(0, Depth).Sum(d => a[(row * Depth) + d] * b[(column * Depth) + d]);
                Assert.Equal((float)sum, result[(Image / 4) + (thread * Columns / 2) + register]);
            }
        }

        // Numbers that bfloat16 has, and their sums single precision.
        double[] Numbers(int count) => [.. Enumerable.Range(0, count).Select(_ => (double)random.Next(-32, 32))];

        ulong Lay(double[] factor, int across, int begin)
        {
            // In elements: what is a matrix of its own behind each other, with some distance where a descriptor allows any.
            int stride, leading;
            if (turned)
            {
                (leading, stride) = mode == 0 ? (across / T * 64 + 64, 64) : (2 * w * 64 + 512, w * 64);
            }
            else
            {
                (leading, stride) = mode == 0 ? (64, 192) : (T, w * 64 + 512);
            }

            for (int x = 0; x < across; x++)
            {
                for (int d = 0; d < Depth; d++)
                {
                    int at = turned
                        ? mode == 0
                            ? (x % T) + (x / T * stride) + (d % 8 * T) + (d / 8 * leading)
                            : (x % T) + (x / T % w * T) + (x / (T * w) * leading) + (d % 8 * w * T) + (d / 8 * stride)
                        : (x % 8 * w * T) + (x / 8 * stride) + (d % T) + (d / T * leading);
                    int bytes = (2 * at) + begin;
                    bytes ^= ((bytes >> 7) & (w - 1)) << 4;
                    image[bytes / 2] = (ushort)(BitConverter.SingleToUInt32Bits((float)factor[(x * Depth) + d]) >> 16);
                }
            }

            ulong first = turned || mode == 0 ? (uint)(2 * leading / 16) : 1;
            return ((ulong)(uint)mode << 62) | ((ulong)(uint)(2 * stride / 16) << 32) | (first << 16) | (uint)(begin / 16);
        }
    }

    private static float[] Run(string body, float[] memory, int sharedBytes = 8192 + 1040)
    {
        string module = $$"""
            .version 8.0
            .target sm_90a
            .address_size 64
            .extern .shared .align 16 .b8 asked[];
            .visible .entry Test(
                .param .u64 p0
            )
            .maxntid {{Threads.ToString(CultureInfo.InvariantCulture)}}, 1, 1
            {
            .reg .f32 %f<64>;
            .reg .b32 %r<16>;
            .reg .b64 %rd<8>;
            .reg .pred %p<8>;
            {{body}}
            EXIT:
            ret;
            }
            """;
        PtxEntryPoint entry = PtxEntryPoint.Read(module.ReplaceLineEndings("\n"))["Test"];
        float* data = (float*)NativeMemory.AlignedAlloc((nuint)(4 * memory.Length), 256);
        try
        {
            memory.CopyTo(new Span<float>(data, memory.Length));
            var machine = new PtxMachine();
            machine.Allow(data, 4 * memory.Length, "memory");
            machine.Launch(entry, 1, 1, Threads, BitConverter.GetBytes((ulong)data), sharedBytes);
            return new Span<float>(data, memory.Length).ToArray();
        }
        finally
        {
            NativeMemory.AlignedFree(data);
        }
    }
}
