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
        { Own + "setp.lt.s32 %p0, %r0, 7;\n@%p0 bra L;\nshfl.sync.bfly.b32 %r1, %r0, 1, 31, -1;\nL:", "not all threads of the warp" },
    };

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
    public void Instructions_that_a_target_does_not_have_are_refused(string body, int isa, int processor)
        => Assert.Contains("needs PTX", Assert.Throws<PtxException>(() => PtxEntryPoint.Read(Module(body, isa, processor))).Message, StringComparison.Ordinal);

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
    private static float[] Run(string body)
    {
        float[] words = new float[64];
        GCHandle pinned = GCHandle.Alloc(words, GCHandleType.Pinned);
        try
        {
            nint address = pinned.AddrOfPinnedObject();
            var machine = new PtxMachine();
            machine.Allow((void*)address, 256, "memory");
            machine.Launch(PtxEntryPoint.Read(Module(body))["E"], 2, 1, 64, BitConverter.GetBytes(address));
        }
        finally
        {
            pinned.Free();
        }

        return words;
    }
}
