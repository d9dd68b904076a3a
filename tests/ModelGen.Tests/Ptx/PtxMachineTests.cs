using System.Runtime.InteropServices;

namespace ModelGen.Tests.Ptx;

/// <summary>What the machine for PTX finds, each with a program that has the fault.</summary>
public sealed unsafe class PtxMachineTests
{
    private const string Registers = """
        .reg .f32 %f<4>;
        .reg .b32 %r<8>;
        .reg .b64 %rd<8>;
        .reg .pred %p<4>;
        """;

    /// <summary>Leaves the address of this thread's word in %rd1 and the thread's number in %r0.</summary>
    private const string Own = """
        ld.param.u64 %rd0, [p0];
        mov.u32 %r0, %tid.x;
        mul.wide.s32 %rd1, %r0, 4;
        add.s64 %rd1, %rd0, %rd1;

        """;

    public static TheoryData<string, string> Refused => new()
    {
        { "unknown.f32 %f0, %f1;", "unknown instruction" },
        { "add.rn.f32 %f0, %f1, %f9;", "not declared" },
        { "add.rn.f32 %f0, %f1, %r1;", "of another type" },
        { "add.s32 %r0, %r1, 0f3F800000;", "no operand of this type" },
        { "add.s32 %r0, %r1, 4294967296;", "does not fit 32 bits" },
        { "add.s32 %r0, %r1;", "takes 3 operands" },
        { "mov.u32 5, %r1;", "no register" },
        { "cvt.rn.f32.s32 %f0, 0;", "a literal is converted" },
        { "bra NOWHERE;", "no place is called NOWHERE" },
        { "ld.param.u64 %rd0, [q];", "no parameter" },
        { "ld.param.u32 %r0, [p0];", "a parameter of 8 bytes" },
        { "ld.global.f32 %f0, [%r0];", "of another type" },
        { "@%r0 bra EXIT;", "of another type" },
        { "L:\nL:", "two places are called L" },
        { ".shared .align 16 .b8 large[65536];", "more than a block has" },
        { "ld.global.v4.f32 {%f0, %f1, %f2}, [%rd0];", "are not 4 registers" },
        { "ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%f0, %f1, %f2, %f3}, [%r0];", "of another type" },
        { "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%f0, %f1, %f2, %f3}, {%r0, %r1, %r2, %r3}, {%f0, %f1}, {%f0, %f1, %f2, %f3};", "of another type" },
        { "mma.sync.aligned.m16n8k4.row.col.f32.tf32.tf32.f32 {%f0, %f1, %f2, %f3}, {%r0, %r1}, {%r0}, {%f0, %f1, %f2, %f3};", "unknown instruction" },
        { "cp.async.cg.shared.global [%r0], [%rd0], 8, 8;", "no size of a copy" },
        { "cp.async.ca.shared.global [%r0], [%rd0], 12, 12;", "no size of a copy" },
        { "cp.async.ca.shared.global [%rd0], [%rd0], 4, 4;", "of another type" },
        { "cp.async.wait_group %r0;", "no literal" },
        { "cvt.rn.bf16x2.f32 %r0, 0f3F800000, %f0;", "a literal is converted" },
    };

    public static TheoryData<string, string> Faults => new()
    {
        { Own + "ld.global.f32 %f0, [%rd1+252];", "bytes from the beginning of memory" },
        { Own + "add.s64 %rd1, %rd1, 2;\nld.global.f32 %f0, [%rd1];", "misaligned" },
        { Own + "st.global.f32 [%rd0], 0f00000000;", "two threads write" },
        { Own + "ld.global.f32 %f0, [%rd1];\nxor.b32 %r1, %r0, 1;\nmul.wide.s32 %rd2, %r1, 4;\nadd.s64 %rd2, %rd0, %rd2;\nst.global.f32 [%rd2], 0f00000000;", "a thread writes what another reads" },
        { Own + "st.global.f32 [%rd1], 0f00000000;\nld.global.f32 %f0, [%rd0];", "a thread reads what another writes" },
        { Own + "mov.u32 %r1, %ctaid.x;\nsetp.eq.s32 %p0, %r0, 0;\n@!%p0 bra EXIT;\nst.global.f32 [%rd0], 0f00000000;", "two threads write" },
        { ".shared .align 16 .b8 words[256];\nmov.u32 %r2, words;\nld.shared.f32 %f0, [%r2];", "that nobody wrote" },
        { ".shared .align 16 .b8 words[256];\nmov.u32 %r2, words;\nst.shared.f32 [%r2+256], 0f00000000;", "byte 256 of 256" },
        { ".shared .align 16 .b8 words[256];\nmov.u32 %r2, words;\nst.shared.f32 [%r2], 0f00000000;", "two threads write" },
        { ".shared .align 16 .b8 words[256];\nmov.u32 %r2, words;\nmov.u32 %r0, %tid.x;\nshl.b32 %r1, %r0, 2;\nadd.s32 %r3, %r2, %r1;\nst.shared.f32 [%r3], 0f00000000;\nld.shared.f32 %f0, [%r2];", "a thread reads what another writes" },
        { Own + "setp.lt.s32 %p0, %r0, 7;\n@%p0 bra L;\nbar.sync 0;\nL:", "a barrier that not all threads of a warp reach" },
        { Own + "setp.lt.s32 %p0, %r0, 32;\n@%p0 bra L;\nbar.sync 0;\nL:", "a barrier that not all threads of the block reach" },
        { Own + "setp.lt.s32 %p0, %r0, 7;\n@%p0 bra L;\nvote.sync.ballot.b32 %r1, %p0, -1;\nL:", "not all threads of the warp" },
        { Own + "setp.lt.s32 %p0, %r0, 7;\n@%p0 bra L;\nshfl.sync.bfly.b32 %r1, %r0, 1, 31, -1;\nL:", "not all threads of the warp" },
    };

    /// <summary>Leaves the address of 16 bytes of this thread's in shared memory in %r3, and that of its four words of the first 16 threads' in %rd1.</summary>
    private const string Tile = Own + """
        .shared .align 16 .b8 tile[1024];
        mov.u32 %r2, tile;
        shl.b32 %r3, %r0, 4;
        and.b32 %r4, %r3, 255;
        add.s32 %r3, %r2, %r3;
        mul.wide.s32 %rd1, %r4, 1;
        add.s64 %rd1, %rd0, %rd1;

        """;

    private const string Copy = Tile + "cp.async.cg.shared.global [%r3], [%rd1], 16, 16;\n";

    /// <summary>Tensor cores, matrices and copies, each with a program that has the fault.</summary>
    public static TheoryData<string, string> TensorFaults => new()
    {
        { Own + "ld.global.v4.f32 {%f0, %f1, %f2, %f3}, [%rd1];", "misaligned" },
        { Tile + "ld.global.v4.f32 {%f0, %f1, %f2, %f3}, [%rd0+256];", "bytes from the beginning of memory" },
        { Tile + "st.shared.v2.f32 [%r3+4], {%f0, %f1};", "misaligned" },
        { Tile + "cp.async.cg.shared.global [%r3+8], [%rd1], 16, 16;", "misaligned" },
        { Tile + "cp.async.cg.shared.global [%r3], [%rd1+8], 16, 16;", "misaligned" },
        { Tile + "cp.async.cg.shared.global [%r3], [%rd1+256], 16, 16;", "bytes from the beginning of memory" },
        { Tile + "cp.async.cg.shared.global [%r3+1024], [%rd1], 16, 16;", "of 1024 of shared memory" },
        { Tile + "cp.async.cg.shared.global [%r3], [%rd1], 16, 20;", "a copy of 16 bytes reads 20" },
        { Tile + "cp.async.cg.shared.global [%r2], [%rd1], 16, 16;", "that a copy is on its way to" },
        { Tile + "st.shared.f32 [%r3], 0f00000000;\nxor.b32 %r3, %r3, 16;\ncp.async.cg.shared.global [%r3], [%rd1], 16, 16;", "two threads write" },
        { Tile + "st.shared.f32 [%r3], 0f00000000;\nbar.sync 0;\nld.shared.f32 %f0, [%r3];\nxor.b32 %r3, %r3, 512;\nsetp.ge.s32 %p0, %r0, 32;\n@%p0 cp.async.cg.shared.global [%r3], [%rd1], 16, 16;", "a thread writes what another reads" },
        { Copy + "ld.shared.f32 %f0, [%r3];", "that a copy is on its way to" },
        { Copy + "cp.async.commit_group;\nbar.sync 0;\nld.shared.f32 %f0, [%r3];", "that a copy is on its way to" },
        { Copy + "cp.async.commit_group;\ncp.async.wait_group 1;\nld.shared.f32 %f0, [%r3];", "that a copy is on its way to" },
        { Copy + "cp.async.wait_group 0;\nld.shared.f32 %f0, [%r3];", "that a copy is on its way to" },
        { Copy + "cp.async.commit_group;\ncp.async.wait_group 0;\nxor.b32 %r3, %r3, 16;\nld.shared.f32 %f0, [%r3];", "a thread reads what another writes" },
        { Copy + "cp.async.commit_group;\ncp.async.wait_group 0;\nldmatrix.sync.aligned.m8n8.x4.shared.b16 {%r4, %r5, %r6, %r7}, [%r2];", "a thread reads what another writes" },
        { Copy + "cp.async.commit_group;\nldmatrix.sync.aligned.m8n8.x4.shared.b16 {%r4, %r5, %r6, %r7}, [%r2];", "that a copy is on its way to" },
        { Tile + "ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%r4, %r5, %r6, %r7}, [%r3];", "that nobody wrote" },
        { Tile + "ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%r4, %r5, %r6, %r7}, [%r3+8];", "misaligned" },
        { Tile + "ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%r4, %r5, %r6, %r7}, [%r3+1024];", "of 1024 of shared memory" },
        { Tile + "setp.lt.s32 %p0, %r0, 7;\n@%p0 ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%r4, %r5, %r6, %r7}, [%r3];", "not all threads of the warp" },
        { "mov.u32 %r0, %tid.x;\nsetp.lt.s32 %p0, %r0, 40;\n@%p0 mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%f0, %f1, %f2, %f3}, {%r4, %r5, %r6, %r7}, {%r4, %r5}, {%f0, %f1, %f2, %f3};", "not all threads of the warp" },
        { "mov.u32 %r4, 0;\nmov.u32 %r5, 1065353217;\nmma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%f0, %f1, %f2, %f3}, {%r4, %r4, %r4, %r4}, {%r4, %r5}, {%f0, %f1, %f2, %f3};", "a factor that is not rounded" },
    };

    [Theory]
    [MemberData(nameof(TensorFaults))]
    public void What_no_program_may_do_on_tensor_cores_is_reported(string body, string problem)
        => Assert.Contains(problem, Assert.Throws<PtxException>(() => Run(body)).Message, StringComparison.Ordinal);

    /// <summary>What is copied is there once it was waited for, for others behind a barrier; what was not read is zeros.</summary>
    [Fact]
    public void Copies_arrive()
    {
        float[] result = Run(Tile + """
            setp.lt.s32 %p0, %r0, 16;
            cvt.rn.f32.s32 %f0, %r0;
            mov.u32 %r5, %ctaid.x;
            setp.ne.s32 %p1, %r5, 0;
            @%p1 bra EXIT;
            @!%p0 bra COPIED;
            st.global.f32 [%rd1+4], %f0;
            st.global.f32 [%rd1+12], %f0;
            cp.async.cg.shared.global [%r3], [%rd1], 16, 8;
            COPIED:
            cp.async.commit_group;
            cp.async.wait_group 0;
            bar.sync 0;
            @!%p0 bra EXIT;
            xor.b32 %r3, %r3, 16;
            ld.shared.f32 %f1, [%r3+4];
            ld.shared.f32 %f2, [%r3+12];
            st.global.f32 [%rd1], %f1;
            st.global.f32 [%rd1+8], %f2;
            """);
        Assert.Equal(Enumerable.Range(0, 16).SelectMany(i => new float[] { i ^ 1, i, 0, i }), result);
    }

    /// <summary>The registers of a matrix of halves and of its transpose, as the manual draws them: 8 x 8 numbers 0, 1, … from %r3 on.</summary>
    [Theory]
    [InlineData("", false)]
    [InlineData(".trans", true)]
    public void Matrices_are_spread_over_lanes(string transposed, bool isTransposed)
    {
        // Every lane stores the words of half a row: row lane / 4 (of 8), words lane % 4; 256 r + c is in each half.
        float[] result = Run(Tile + $$"""
            setp.ge.s32 %p0, %r0, 32;
            @%p0 bra EXIT;
            mov.u32 %r5, %ctaid.x;
            setp.ne.s32 %p1, %r5, 0;
            @%p1 bra EXIT;
            shr.u32 %r5, %r0, 2;
            shl.b32 %r5, %r5, 4;
            and.b32 %r6, %r0, 3;
            shl.b32 %r6, %r6, 1;
            add.s32 %r6, %r6, %r5;
            add.s32 %r7, %r6, 1;
            shl.b32 %r7, %r7, 16;
            or.b32 %r6, %r6, %r7;
            mov.b32 %f0, %r6;
            shl.b32 %r5, %r0, 2;
            add.s32 %r5, %r2, %r5;
            st.shared.f32 [%r5], %f0;
            bar.warp.sync -1;
            and.b32 %r5, %r0, 7;
            shl.b32 %r5, %r5, 4;
            add.s32 %r5, %r2, %r5;
            ldmatrix.sync.aligned.m8n8.x4{{transposed}}.shared.b16 {%r4, %r5, %r6, %r7}, [%r5];
            mul.wide.s32 %rd1, %r0, 4;
            add.s64 %rd1, %rd0, %rd1;
            mov.b32 %f0, %r4;
            st.global.f32 [%rd1], %f0;
            """);
        for (int lane = 0; lane < 32; lane++)
        {
            (int r, int c) = (lane / 4, 2 * (lane % 4));
            (int low, int high) = isTransposed ? ((16 * c) + r, (16 * (c + 1)) + r) : ((16 * r) + c, (16 * r) + c + 1);
            Assert.Equal(low | (high << 16), BitConverter.SingleToInt32Bits(result[lane]));
        }
    }

    [Theory]
    [InlineData(1.0f, 0x3F800000u, 0x3F80u)]
    [InlineData(1.00048828125f, 0x3F802000u, 0x3F80u)]
    [InlineData(1.000488f, 0x3F800000u, 0x3F80u)]
    [InlineData(-1.00048828125f, 0xBF802000u, 0xBF80u)]
    [InlineData(1.00390625f, 0x3F808000u, 0x3F80u)]
    [InlineData(1.01171875f, 0x3F818000u, 0x3F82u)]
    [InlineData(float.PositiveInfinity, 0x7F800000u, 0x7F80u)]
    [InlineData(3.4028235e38f, 0x7F800000u, 0x7F80u)]
    public void Numbers_are_rounded(float number, uint tf32, uint bf16)
    {
        float[] result = Run(Own + $"mov.f32 %f0, 0f{BitConverter.SingleToUInt32Bits(number):X8};\ncvt.rna.tf32.f32 %r1, %f0;\nmov.f32 %f2, 0f00000000;\ncvt.rn.bf16x2.f32 %r2, %f2, %f0;\n" + """
            mov.u32 %r5, %ctaid.x;
            setp.ne.s32 %p1, %r5, 0;
            @%p1 bra EXIT;
            mov.b32 %f1, %r1;
            mov.b32 %f2, %r2;
            setp.eq.s32 %p0, %r0, 0;
            selp.f32 %f1, %f1, %f2, %p0;
            st.global.f32 [%rd1], %f1;
            """);
        Assert.Equal(tf32, BitConverter.SingleToUInt32Bits(result[0]));
        Assert.Equal(bf16, BitConverter.SingleToUInt32Bits(result[1]));
    }

    [Theory]
    [MemberData(nameof(Refused))]
    public void A_module_that_an_assembler_refuses_is_refused(string body, string problem)
        => Assert.Contains(problem, Assert.Throws<PtxException>(() => PtxEntryPoint.Read(Module(body))).Message, StringComparison.Ordinal);

    [Theory]
    [MemberData(nameof(Faults))]
    public void What_no_program_may_do_is_reported(string body, string problem)
        => Assert.Contains(problem, Assert.Throws<PtxException>(() => Run(body)).Message, StringComparison.Ordinal);

    [Theory]
    [InlineData("max.NaN.f32 %f0, %f1, %f2;", 70, 75)]
    [InlineData("max.NaN.f32 %f0, %f1, %f2;", 65, 80)]
    [InlineData("bar.warp.sync -1;", 50, 80)]
    [InlineData("cp.async.commit_group;", 70, 75)]
    [InlineData("cvt.rna.tf32.f32 %r0, %f0;", 65, 80)]
    [InlineData("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%r0, %r1, %r2, %r3}, [%r4];", 64, 80)]
    [InlineData("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%f0, %f1, %f2, %f3}, {%r0, %r1, %r2, %r3}, {%r0, %r1}, {%f0, %f1, %f2, %f3};", 70, 75)]
    public void Instructions_that_a_target_does_not_have_are_refused(string body, int isa, int processor)
        => Assert.Contains("needs PTX", Assert.Throws<PtxException>(() => PtxEntryPoint.Read(Module(body, isa, processor))).Message, StringComparison.Ordinal);

    /// <summary>Lanes that want other words of one bank are served one after the other; of 16 bytes, eight lanes at a time.</summary>
    [Theory]
    [InlineData("mov.f32 %f0, 0f00000000;\nst.shared.f32 [%r3], %f0;", 3)]
    [InlineData("shl.b32 %r5, %r0, 2;\nadd.s32 %r5, %r2, %r5;\nst.shared.f32 [%r5], %f0;", 0)]
    [InlineData("mov.f32 %f0, 0f00000000;\nst.shared.v2.f32 [%r3], {%f0, %f1};", 2)]
    [InlineData("cp.async.cg.shared.global [%r3], [%rd1], 16, 16;", 0)]
    public void Conflicts_in_banks_are_counted(string body, int ofAWarp) => Run(Tile + body, machine => Assert.Equal(4 * ofAWarp, machine.BankConflicts));

    [Fact]
    public void Launches_must_fit_the_entry()
    {
        PtxEntryPoint entry = PtxEntryPoint.Read(Module(Own))["E"];
        byte[] address = new byte[8];
        Assert.Contains("threads", Assert.Throws<PtxException>(() => new PtxMachine().Launch(entry, 1, 1, 96, address)).Message, StringComparison.Ordinal);
        Assert.Contains("threads", Assert.Throws<PtxException>(() => new PtxMachine().Launch(entry, 0, 1, 64, address)).Message, StringComparison.Ordinal);
        Assert.Contains("bytes of parameters", Assert.Throws<PtxException>(() => new PtxMachine().Launch(entry, 1, 1, 64, address.AsSpan(4))).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_barrier_orders_what_lies_before_it_and_behind_it()
    {
        float[] result = Run("""
            .shared .align 16 .b8 words[256];
            mov.u32 %r2, words;
            """ + "\n" + Own + """

            shl.b32 %r1, %r0, 2;
            add.s32 %r3, %r2, %r1;
            cvt.rn.f32.s32 %f0, %r0;
            st.shared.f32 [%r3], %f0;
            bar.sync 0;
            xor.b32 %r4, %r0, 63;
            shl.b32 %r4, %r4, 2;
            add.s32 %r4, %r2, %r4;
            ld.shared.f32 %f1, [%r4];
            mov.u32 %r5, %ctaid.x;
            setp.ne.s32 %p0, %r5, 0;
            @%p0 bra EXIT;
            st.global.f32 [%rd1], %f1;
            """);
        Assert.Equal(Enumerable.Range(0, 64).Select(i => 63f - i), result);
    }

    [Fact]
    public void Threads_that_part_meet_again()
    {
        // Odd threads take twice as many turns of a loop; a shuffle behind it needs all of them.
        float[] result = Run(Own + """

            and.b32 %r1, %r0, 1;
            add.s32 %r1, %r1, 1;
            mov.u32 %r2, 0;
            mov.f32 %f0, 0f00000000;
            AGAIN:
            setp.ge.s32 %p0, %r2, %r1;
            @%p0 bra DONE;
            add.rn.f32 %f0, %f0, 0f3F800000;
            add.s32 %r2, %r2, 1;
            bra AGAIN;
            DONE:
            mov.b32 %r3, %f0;
            shfl.sync.bfly.b32 %r4, %r3, 1, 31, -1;
            mov.b32 %f1, %r4;
            mov.u32 %r5, %ctaid.x;
            setp.ne.s32 %p1, %r5, 0;
            @%p1 bra EXIT;
            st.global.f32 [%rd1], %f1;
            """);
        Assert.Equal(Enumerable.Range(0, 64).Select(i => i % 2 == 0 ? 2f : 1f), result);
    }

    private static string Module(string body, int isa = 70, int processor = 80)
        => $".version {isa / 10}.{isa % 10}\n.target sm_{processor}\n.address_size 64\n.visible .entry E(\n.param .u64 p0\n)\n.maxntid 64, 1, 1\n{{\n{Registers}\n{body}\nEXIT:\nret;\n}}\n";

    /// <summary>Runs two blocks of 64 threads over 64 words.</summary>
    private static float[] Run(string body, Action<PtxMachine>? look = null)
    {
        float[] words = new float[64];
        void* memory = NativeMemory.AlignedAlloc(256, 256);
        try
        {
            NativeMemory.Clear(memory, 256);
            var machine = new PtxMachine();
            machine.Allow(memory, 256, "memory");
            machine.Launch(PtxEntryPoint.Read(Module(body))["E"], 2, 1, 64, BitConverter.GetBytes((ulong)memory));
            look?.Invoke(machine);
            new Span<float>(memory, 64).CopyTo(words);
        }
        finally
        {
            NativeMemory.AlignedFree(memory);
        }

        return words;
    }
}
