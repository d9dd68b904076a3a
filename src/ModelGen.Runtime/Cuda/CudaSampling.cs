using System.Text;

namespace ModelGen.Runtime;

/// <summary>What is chosen on a device from the logits that lie there, so that they need not come back: the likeliest token, the lowest id among equals, or one that is drawn.</summary>
internal static class CudaSampling
{
    /// <summary>Threads of the one block that looks at all logits.</summary>
    public const int Threads = 1024;

    /// <summary>The kernel by its number in the module: a block's threads find the largest logit, which is no number where one of them is none, and the first that equals it.</summary>
    public const int Largest = 0;

    /// <summary>The kernel that draws a token (<see cref="CudaDrawing"/>).</summary>
    public const int Draw = 1;

    private static readonly byte[] s_module = Encoding.UTF8.GetBytes(Module() + "\n\n" + CudaDrawing.Entry(Threads) + "\n");

    /// <summary>The module.</summary>
    public static CudaLayout Layout { get; } = new()
    {
        Module = static () => s_module,
        Kernels = [nameof(Largest), CudaDrawing.Name],
        ArenaBytes = 0,
        Entries = [],
        Launch = static (_, _) => { },
    };

    private static string Module() =>
        $$"""
        .version 7.0
        .target sm_80
        .address_size 64

        // The largest of some floats and the lowest index of it: 2147483647 where it is no number.
        .visible .entry Largest(
        	.param .u64 logits,
        	.param .u32 count,
        	.param .u64 result
        )
        .maxntid {{Threads}}, 1, 1
        {
        	.reg .f32 %f<3>;
        	.reg .b32 %r<12>;
        	.reg .b64 %rd<4>;
        	.reg .pred %p<4>;
        	.shared .align 16 .b8 values[128];
        	.shared .align 16 .b8 places[128];
        	ld.param.u64 %rd0, [logits];
        	cvta.to.global.u64 %rd0, %rd0;
        	ld.param.u32 %r1, [count];
        	mov.u32 %r0, %tid.x;
        	and.b32 %r2, %r0, 31;
        	setp.ne.s32 %p3, %r2, 0;
        	shr.u32 %r3, %r0, 5;
        	shl.b32 %r3, %r3, 2;
        	shl.b32 %r4, %r2, 2;
        	mov.f32 %f0, 0fFF800000;
        	mov.u32 %r5, %r0;
        L0:
        	setp.ge.s32 %p0, %r5, %r1;
        	@%p0 bra L1;
        	mul.wide.s32 %rd1, %r5, 4;
        	add.s64 %rd2, %rd0, %rd1;
        	ld.global.f32 %f1, [%rd2];
        	max.NaN.f32 %f0, %f0, %f1;
        	add.s32 %r5, %r5, {{Threads}};
        	bra L0;
        L1:
        {{Lanes("mov.b32 %r8, %f0;", "mov.b32 %f1, %r9;", "max.NaN.f32 %f0, %f0, %f1;")}}
        {{Warps("values", "%f0", "L2")}}
        	ld.shared.f32 %f0, [%r7];
        {{Lanes("mov.b32 %r8, %f0;", "mov.b32 %f1, %r9;", "max.NaN.f32 %f0, %f0, %f1;")}}
        	mov.u32 %r6, 2147483647;
        	mov.u32 %r5, %r0;
        L3:
        	setp.ge.s32 %p0, %r5, %r1;
        	@%p0 bra L4;
        	mul.wide.s32 %rd1, %r5, 4;
        	add.s64 %rd2, %rd0, %rd1;
        	ld.global.f32 %f1, [%rd2];
        	setp.eq.f32 %p1, %f1, %f0;
        	min.s32 %r10, %r6, %r5;
        	selp.b32 %r6, %r10, %r6, %p1;
        	add.s32 %r5, %r5, {{Threads}};
        	bra L3;
        L4:
        {{Lanes("", "", "min.s32 %r6, %r6, %r9;", "%r6")}}
        	mov.b32 %f2, %r6;
        {{Warps("places", "%f2", "L5")}}
        	ld.shared.f32 %f2, [%r7];
        	mov.b32 %r6, %f2;
        {{Lanes("", "", "min.s32 %r6, %r6, %r9;", "%r6")}}
        	setp.ne.s32 %p0, %r0, 0;
        	@%p0 bra EXIT;
        	ld.param.u64 %rd3, [result];
        	cvta.to.global.u64 %rd3, %rd3;
        	st.global.f32 [%rd3], %f0;
        	st.global.u32 [%rd3+4], %r6;
        EXIT:
        	ret;
        }
        """;

    /// <summary>Combines what the lanes of a warp have, in each of them.</summary>
    private static string Lanes(string take, string give, string combine, string register = "%r8")
        => string.Join("\n", ((int[])[16, 8, 4, 2, 1]).SelectMany(distance => (string[])[take, FormattableString.Invariant($"shfl.sync.bfly.b32 %r9, {register}, {distance}, 31, -1;"), give, combine]).Where(line => line.Length > 0).Select(line => "\t" + line));

    /// <summary>Leaves what each warp has in memory that the block shares, a word each, and the address of this lane's in %r7.</summary>
    private static string Warps(string memory, string value, string label) =>
        $"""
        	@%p3 bra {label};
        	mov.u32 %r7, {memory};
        	add.s32 %r7, %r7, %r3;
        	st.shared.f32 [%r7], {value};
        {label}:
        	bar.sync 0;
        	mov.u32 %r7, {memory};
        	add.s32 %r7, %r7, %r4;
        """;
}
