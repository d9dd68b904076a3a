using System.Runtime.InteropServices;

namespace ModelGen.Tests.Ptx;

/// <summary>Blocks that are there at once and meet: what the machine for PTX makes of them, and what it finds, each with a program that has the fault.</summary>
public sealed unsafe class PtxTogetherTests
{
    private const int Blocks = 3;
    private const int Threads = 64;

    /// <summary>All threads of all blocks meet, for the so-many-th time in <c>goal</c>.</summary>
    private const string Meet = """
        .func Meet(
        .param .u64 counter,
        .param .u32 goal
        )
        {
        .reg .b32 %r<4>;
        .reg .b64 %rd<2>;
        .reg .pred %p<2>;
        ld.param.u64 %rd0, [counter];
        ld.param.u32 %r0, [goal];
        bar.sync 0;
        mov.u32 %r1, %tid.x;
        setp.ne.s32 %p0, %r1, 0;
        @%p0 bra DONE;
        red.release.gpu.global.add.u32 [%rd0], 1;
        AGAIN:
        ld.acquire.gpu.global.u32 %r2, [%rd0];
        setp.lt.u32 %p1, %r2, %r0;
        @%p1 bra AGAIN;
        DONE:
        bar.sync 0;
        ret;
        }
        """;

    /// <summary>The counter's address is in %rd0, this thread's word among all in %rd1, its block's neighbour's in %rd2.</summary>
    private const string Begin = """
        ld.param.u64 %rd0, [p0];
        mov.u32 %r0, %tid.x;
        mov.u32 %r1, %ctaid.x;
        mov.u32 %r2, %nctaid.x;
        mad.lo.s32 %r3, %r1, 64, %r0;
        mul.wide.s32 %rd1, %r3, 4;
        add.s64 %rd1, %rd0, %rd1;
        add.s32 %r4, %r1, 1;
        rem.u32 %r4, %r4, %r2;
        xor.b32 %r5, %r0, 63;
        mad.lo.s32 %r3, %r4, 64, %r5;
        mul.wide.s32 %rd2, %r3, 4;
        add.s64 %rd2, %rd0, %rd2;
        cvt.rn.f32.s32 %f0, %r0;
        cvt.rn.f32.s32 %f1, %r1;
        fma.rn.f32 %f0, %f1, 0f42C80000, %f0;

        """;

    private const string Call = """

        {
        .param .b64 q0;
        st.param.b64 [q0], %rd0;
        .param .b32 q1;
        st.param.b32 [q1], %r2;
        call.uni Meet, (q0, q1);
        }

        """;

    // Words begin behind the counter.
    private const string Write = "st.global.f32 [%rd1+256], %f0;";
    private const string Read = "ld.global.f32 %f2, [%rd2+256];\n";
    private const string Keep = "st.global.f32 [%rd1+1024], %f2;";

    public static TheoryData<string, string> Faults => new()
    {
        { Begin + Write + "\n" + Read, "what another" },
        { Begin + "st.global.f32 [%rd0+256], %f0;", "two threads write in memory" },
        { Begin + Read + Write, "what another" },
        { Begin + Read + Call + Write + "\n" + Read, "what another" },
        { Begin + "setp.eq.s32 %p0, %r1, 1;\n@%p0 bra EXIT;\n" + Write + Call + Read, "blocks 0, 2 of 3 wait for what never comes" },
        { Begin + "add.s32 %r2, %r2, 1;\n" + Call, "blocks 0, 1, 2 of 3 wait for what never comes" },
        { Begin + "mov.u32 %r2, 1;\n" + Write + Call + Read, "what another" },
        { Begin + Call + "ld.global.f32 %f2, [%rd0];", "a word that threads meet at is accessed otherwise" },
        { Begin + "setp.eq.s32 %p0, %r0, 0;\n@%p0 bra L;\nbra EXIT;\nL:\nst.global.f32 [%rd0], %f0;\nred.release.gpu.global.add.u32 [%rd0], 1;", "a word that threads meet at is accessed otherwise" },
        { Begin + "setp.lt.s32 %p0, %r0, 40;\n@!%p0 bra EXIT;\n" + Call, "not all threads of the warp are at: call.uni" },
        { Begin + "setp.lt.s32 %p0, %r0, 32;\n@!%p0 bra EXIT;\n" + Call, "a barrier that not all threads of the block reach" },
        { Begin + "prefetch.global.L2 [%rd0+4096];", "bytes from the beginning of memory" },
    };

    public static TheoryData<string, string> Refused => new()
    {
        { "call.uni Nowhere, (q0);", "no function before it is called Nowhere" },
        { "{\n.param .b64 q0;\ncall.uni Meet, (q0);\n}", "Meet takes 2 parameters" },
        { "{\n.param .b64 q0;\n.param .b64 q1;\ncall.uni Meet, (q0, q1);\n}", "q1 is no parameter of 4 bytes" },
        { "{\n.param .b64 q0;\n}\n{\n.param .b32 q1;\ncall.uni Meet, (q0, q1);\n}", "q0 is no parameter of 8 bytes" },
        { "{\n.param .b64 q0;\nst.param.b32 [q0], %r0;\n}", "a parameter of 8 bytes" },
        { "st.param.b32 [q0], %r0;", "no parameter" },
        { ".param .b64 q0;\n.param .b64 q0;", "two parameters are called q0" },
    };

    [Fact]
    public void What_is_written_before_a_meeting_is_read_behind_it()
    {
        float[] words = Run(Begin + Write + Call + Read + Keep);
        for (int block = 0; block < Blocks; block++)
        {
            Assert.Equal(Enumerable.Range(0, Threads).Select(i => (100f * ((block + 1) % Blocks)) + 63 - i), words.AsSpan(256 + (block * Threads), Threads).ToArray());
        }
    }

    [Fact]
    public void What_is_read_before_a_meeting_may_be_written_behind_it()
        => Run(Begin + Read + Call + Write + "\nadd.s32 %r2, %r2, %r2;" + Call + Read);

    [Theory]
    [MemberData(nameof(Faults))]
    public void What_blocks_that_meet_may_not_do_is_reported(string body, string problem)
        => Assert.Contains(problem, Assert.Throws<PtxException>(() => Run(body)).Message, StringComparison.Ordinal);

    /// <summary>Each part of a meeting is there for something.</summary>
    [Theory]
    [InlineData("red.release", "red.relaxed", "what another")]
    [InlineData("ld.acquire", "ld.relaxed", "what another")]
    [InlineData("bar.sync 0;\nmov", "mov", "what another")]
    [InlineData("bar.sync 0;\nret", "ret", "what another")]
    [InlineData("@%p1 bra AGAIN;", "", "what another")]
    [InlineData("[%rd0], 1;", "[%rd0], 0;", "blocks 0, 1, 2 of 3 wait for what never comes")]
    public void A_meeting_that_lacks_something_is_found(string part, string other, string problem)
    {
        string changed = Meet.Replace(part, other, StringComparison.Ordinal);
        Assert.NotEqual(Meet, changed);
        Assert.Contains(problem, Assert.Throws<PtxException>(() => Run(Begin + Write + Call + Read, changed)).Message, StringComparison.Ordinal);
    }

    [Theory]
    [MemberData(nameof(Refused))]
    public void Calls_that_an_assembler_refuses_are_refused(string body, string problem)
        => Assert.Contains(problem, Assert.Throws<PtxException>(() => PtxEntryPoint.Read(Module(body, Meet))).Message, StringComparison.Ordinal);

    /// <summary>In an ordinary launch one block may wait for another that does not begin before it ends.</summary>
    [Fact]
    public void Blocks_that_meet_are_launched_together()
    {
        Assert.Contains("need not be there at once", Assert.Throws<PtxException>(() => Run(Begin + Call, together: false)).Message, StringComparison.Ordinal);
        Run(Begin + Call, together: false, blocks: 1);
    }

    /// <summary>A function's registers hold anything when it is called again.</summary>
    [Fact]
    public void A_call_leaves_nothing_to_the_next_one()
    {
        string late = Meet.Replace("ld.param.u32 %r0, [goal];", "ld.param.u32 %r3, [goal];\nsetp.ge.u32 %p1, %r3, 6;\n@%p1 bra L;\nmov.u32 %r0, %r3;\nL:", StringComparison.Ordinal);
        Run(Begin + Call, late);
        Assert.Contains("wait for what never comes", Assert.Throws<PtxException>(() => Run(Begin + Call + "add.s32 %r2, %r2, %r2;" + Call, late)).Message, StringComparison.Ordinal);
    }

    private static string Module(string body, string meet)
        => $".version 7.0\n.target sm_80\n.address_size 64\n{meet}\n.visible .entry E(\n.param .u64 p0\n)\n.maxntid 64, 1, 1\n{{\n.reg .f32 %f<4>;\n.reg .b32 %r<8>;\n.reg .b64 %rd<8>;\n.reg .pred %p<4>;\n{Indented(body)}\nEXIT:\nret;\n}}\n";

    // A brace in the first column ends an entry.
    private static string Indented(string body) => string.Join("\n", body.Split('\n').Select(line => "\t" + line));

    private static float[] Run(string body, string meet = Meet, bool together = true, int blocks = Blocks)
    {
        float[] words = new float[512];
        GCHandle pinned = GCHandle.Alloc(words, GCHandleType.Pinned);
        try
        {
            nint address = pinned.AddrOfPinnedObject();
            var machine = new PtxMachine();
            machine.Allow((void*)address, words.Length * sizeof(float), "memory");
            PtxEntryPoint entry = PtxEntryPoint.Read(Module(body, meet))["E"];
            if (together)
            {
                machine.LaunchTogether(entry, blocks, Threads, BitConverter.GetBytes(address));
            }
            else
            {
                machine.Launch(entry, blocks, 1, Threads, BitConverter.GetBytes(address));
            }
        }
        finally
        {
            pinned.Free();
        }

        return words;
    }
}
