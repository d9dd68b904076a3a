using System.Text;

namespace ModelGen.Runtime;

/// <summary>
/// What ends a training step on a device: the gradients' norm, clipping, and the update of the weights. No model's shape appears in it: parameters
/// are cut into chunks, whose places a table has, and a block of threads takes a chunk. Sums have one order: each thread's numbers, then trees of
/// shuffles, then the warps in turn, then the chunks in the same way. The updates are element by element, with the operations and the roundings of the
/// processor's, so that equal gradients give equal bits.
/// </summary>
internal static class CudaOptimizers
{
    /// <summary>Threads of a block.</summary>
    public const int Threads = 256;

    /// <summary>Bytes of a chunk in the table: where it begins in bytes, its length, the number of its coefficients, and where its copy in bfloat16 begins, or zero.</summary>
    public const int ChunkBytes = 24;

    /// <summary>The numbers of one set of coefficients: of a group's parameters with weight decay, or of those without.</summary>
    public const int Coefficients = 8;

    /// <summary>The kernels by their number in the module.</summary>
    public const int SumOfSquares = 0;

    /// <inheritdoc cref="SumOfSquares"/>
    public const int Norm = 1;

    /// <summary>Where the result of <see cref="Norm"/> has the norm, in floats; behind it what gradients are multiplied with.</summary>
    public const int NormResult = 0;

    /// <summary>Makes the copies in bfloat16 of weights that have come from elsewhere.</summary>
    public const int Round = 2;

    private static readonly string[] s_kernels = ["SumOfSquares", "Norm", "Round", nameof(AdamW), nameof(Sgd), "SgdMomentum", "SgdNesterov"];

    private static readonly byte[] s_module = Encoding.UTF8.GetBytes(Module());

    /// <summary>The module.</summary>
    public static CudaLayout Layout { get; } = new()
    {
        Module = static () => s_module,
        Kernels = s_kernels,
        ArenaBytes = 0,
        Entries = [],
        Launch = static (_, _) => { },
    };

    /// <summary>The number of a kernel.</summary>
    public static int NumberOf(string kernel) => Array.IndexOf(s_kernels, kernel);

    private static string Module() =>
        $$"""
        .version 7.0
        .target sm_80
        .address_size 64

        // Of each chunk of gradients, the sum of the squares.
        .visible .entry SumOfSquares(
        	.param .u64 chunks,
        	.param .u64 gradients,
        	.param .u64 sums
        )
        .maxntid 256, 1, 1
        {
        	.reg .f32 %f<8>;
        	.reg .b32 %r<16>;
        	.reg .b64 %rd<16>;
        	.reg .pred %p<4>;
        	.shared .align 16 .b8 warps[32];
        {{Chunk}}
        	ld.param.u64 %rd5, [gradients];
        	cvta.to.global.u64 %rd5, %rd5;
        	add.s64 %rd5, %rd5, %rd2;
        {{Sum("fma.rn.f32 %f0, %f1, %f1, %f0;")}}
        	ld.param.u64 %rd8, [sums];
        	cvta.to.global.u64 %rd8, %rd8;
        	mul.wide.s32 %rd9, %r1, 4;
        	add.s64 %rd8, %rd8, %rd9;
        	st.global.f32 [%rd8], %f0;
        EXIT:
        	ret;
        }

        // The norm of all gradients, and what they are multiplied with: limit / (norm + 1e-6) where a limit is given and that is below one.
        .visible .entry Norm(
        	.param .u64 sums,
        	.param .u32 count,
        	.param .u64 limit,
        	.param .u64 result
        )
        .maxntid 256, 1, 1
        {
        	.reg .f32 %f<8>;
        	.reg .b32 %r<16>;
        	.reg .b64 %rd<16>;
        	.reg .pred %p<4>;
        	.shared .align 16 .b8 warps[32];
        	mov.u32 %r0, %tid.x;
        	mov.u32 %r4, %tid.x;
        	ld.param.u64 %rd5, [sums];
        	cvta.to.global.u64 %rd5, %rd5;
        	ld.param.u32 %r2, [count];
        {{Sum("add.rn.f32 %f0, %f0, %f1;")}}
        	sqrt.rn.f32 %f1, %f0;
        	ld.param.u64 %rd8, [limit];
        	cvta.to.global.u64 %rd8, %rd8;
        	ld.global.f32 %f2, [%rd8];
        	add.rn.f32 %f3, %f1, 0f358637BD;
        	div.rn.f32 %f4, %f2, %f3;
        	setp.ge.f32 %p2, %f4, 0f3F800000;
        	selp.f32 %f4, 0f3F800000, %f4, %p2;
        	setp.eq.f32 %p3, %f2, 0f00000000;
        	selp.f32 %f4, 0f3F800000, %f4, %p3;
        	ld.param.u64 %rd9, [result];
        	cvta.to.global.u64 %rd9, %rd9;
        	st.global.f32 [%rd9], %f1;
        	st.global.f32 [%rd9+4], %f4;
        EXIT:
        	ret;
        }

        // The copy of a chunk of weights in bfloat16.
        .visible .entry Round(
        	.param .u64 chunks,
        	.param .u64 weights
        )
        .maxntid 256, 1, 1
        {
        	.reg .f32 %f<4>;
        	.reg .b16 %h<1>;
        	.reg .b32 %r<8>;
        	.reg .b64 %rd<20>;
        	.reg .pred %p<2>;
        {{Chunk}}
        	ld.param.u64 %rd5, [weights];
        	cvta.to.global.u64 %rd5, %rd5;
        	add.s64 %rd5, %rd5, %rd2;
        {{Copied}}
        L0:
        	setp.ge.s32 %p0, %r0, %r2;
        	@%p0 bra EXIT;
        	mul.wide.s32 %rd9, %r0, 4;
        	add.s64 %rd10, %rd5, %rd9;
        	ld.global.f32 %f2, [%rd10];
        {{Rounded}}
        	add.s32 %r0, %r0, 256;
        	bra L0;
        EXIT:
        	ret;
        }

        // m = m b1 + g (1 - b1); v = v b2 + g (1 - b2) g; w = w decay - m rate / (sqrt(v) / root + epsilon). Coefficients: decay, b1, b2, 1 - b1, 1 - b2, epsilon, root, -rate.
        {{Update(nameof(AdamW), AdamWElement)}}

        // w = w - rate (g + decay w). Coefficients of descent: decay, -rate, momentum.
        {{Update(nameof(Sgd), Decayed + Descended)}}

        // b = b momentum + g + decay w; w = w - rate b.
        {{Update("SgdMomentum", Decayed + Buffer + AlongBuffer)}}

        // As before, but w = w - rate (g + decay w + b momentum).
        {{Update("SgdNesterov", Decayed + Buffer + AheadOfBuffer)}}
        """;

    /// <summary>This block's chunk: its first byte in %rd2, its length in %r2, its coefficients' number in %r3, the thread in %r0 and %r4, the chunk in %r1.</summary>
    private const string Chunk = """
        	mov.u32 %r0, %tid.x;
        	mov.u32 %r4, %tid.x;
        	mov.u32 %r1, %ctaid.x;
        	ld.param.u64 %rd0, [chunks];
        	cvta.to.global.u64 %rd0, %rd0;
        	mul.wide.s32 %rd1, %r1, 24;
        	add.s64 %rd0, %rd0, %rd1;
        	ld.global.u64 %rd2, [%rd0];
        	ld.global.u32 %r2, [%rd0+8];
        	ld.global.u32 %r3, [%rd0+12];
        """;

    /// <summary>Where the chunk's copy begins, in %rd16, of weights whose chunk begins at %rd5; whether there is one, in %p1.</summary>
    private const string Copied = """
        	ld.global.u64 %rd15, [%rd0+16];
        	setp.gt.s64 %p1, %rd15, 0;
        	sub.s64 %rd16, %rd5, %rd2;
        	add.s64 %rd16, %rd16, %rd15;
        """;

    /// <summary>Rounds the weight in %f2 to its copy.</summary>
    private const string Rounded = """
        	@!%p1 bra L2;
        	cvt.rn.bf16.f32 %h0, %f2;
        	mul.wide.s32 %rd17, %r0, 2;
        	add.s64 %rd17, %rd16, %rd17;
        	st.global.b16 [%rd17], %h0;
        L2:
        """;

    /// <summary>The sum over the %r2 floats at %rd5 in the first thread's %f0; the other threads leave.</summary>
    /// <param name="add">Adds a float, %f1, to %f0.</param>
    private static string Sum(string add) =>
        $$"""
        	mov.f32 %f0, 0f00000000;
        L0:
        	setp.ge.s32 %p0, %r0, %r2;
        	@%p0 bra L1;
        	mul.wide.s32 %rd6, %r0, 4;
        	add.s64 %rd7, %rd5, %rd6;
        	ld.global.f32 %f1, [%rd7];
        	{{add}}
        	add.s32 %r0, %r0, 256;
        	bra L0;
        L1:
        {{Total}}
        	setp.ne.s32 %p1, %r4, 0;
        	@%p1 bra EXIT;
        """;

    /// <summary>The sum of all threads' %f0 in the first thread's: of each warp by shuffles, and the warps in their order.</summary>
    private static string Total
    {
        get
        {
            var text = new StringBuilder();
            foreach (int distance in (int[])[16, 8, 4, 2, 1])
            {
                text.Append($"\tmov.b32 %r5, %f0;\n\tshfl.sync.bfly.b32 %r6, %r5, {distance}, 31, -1;\n\tmov.b32 %f1, %r6;\n\tadd.rn.f32 %f0, %f0, %f1;\n");
            }

            text.Append(
                """
                	and.b32 %r7, %r4, 31;
                	setp.ne.s32 %p0, %r7, 0;
                	@%p0 bra L2;
                	shr.u32 %r8, %r4, 5;
                	shl.b32 %r8, %r8, 2;
                	mov.u32 %r9, warps;
                	add.s32 %r9, %r9, %r8;
                	st.shared.f32 [%r9], %f0;
                L2:
                	bar.sync 0;
                	mov.u32 %r9, warps;
                	ld.shared.f32 %f0, [%r9];
                """);
            for (int warp = 1; warp < Threads / 32; warp++)
            {
                text.Append($"\n\tld.shared.f32 %f1, [%r9+{4 * warp}];\n\tadd.rn.f32 %f0, %f0, %f1;");
            }

            return text.ToString();
        }
    }

    private const string AdamWElement = """
        	ld.global.f32 %f3, [%rd12];
        	ld.global.f32 %f4, [%rd13];
        	mul.rn.f32 %f3, %f3, %f11;
        	mul.rn.f32 %f5, %f1, %f13;
        	add.rn.f32 %f3, %f3, %f5;
        	mul.rn.f32 %f4, %f4, %f12;
        	mul.rn.f32 %f5, %f1, %f14;
        	mul.rn.f32 %f5, %f5, %f1;
        	add.rn.f32 %f4, %f4, %f5;
        	st.global.f32 [%rd12], %f3;
        	st.global.f32 [%rd13], %f4;
        	sqrt.rn.f32 %f5, %f4;
        	div.rn.f32 %f5, %f5, %f16;
        	add.rn.f32 %f5, %f5, %f15;
        	mul.rn.f32 %f6, %f3, %f17;
        	div.rn.f32 %f6, %f6, %f5;
        	mul.rn.f32 %f2, %f2, %f10;
        	add.rn.f32 %f2, %f2, %f6;
        """;

    /// <summary>The gradient with the penalty's, in %f1.</summary>
    private const string Decayed = "\tmul.rn.f32 %f5, %f2, %f10;\n\tadd.rn.f32 %f1, %f1, %f5;\n";

    /// <summary>The momentum's buffer, in %f3.</summary>
    private const string Buffer = "\tld.global.f32 %f3, [%rd12];\n\tmul.rn.f32 %f3, %f3, %f12;\n\tadd.rn.f32 %f3, %f3, %f1;\n\tst.global.f32 [%rd12], %f3;\n";

    private const string Descended = "\tmul.rn.f32 %f5, %f1, %f11;\n\tadd.rn.f32 %f2, %f2, %f5;\n";

    private const string AlongBuffer = "\tmul.rn.f32 %f5, %f3, %f11;\n\tadd.rn.f32 %f2, %f2, %f5;\n";

    private const string AheadOfBuffer = "\tmul.rn.f32 %f5, %f3, %f12;\n\tadd.rn.f32 %f5, %f1, %f5;\n\tmul.rn.f32 %f5, %f5, %f11;\n\tadd.rn.f32 %f2, %f2, %f5;\n";

    /// <summary>A kernel that updates a chunk: the scaled gradient is in %f1, the weight in %f2, coefficients from %f10 on, the slots' addresses in %rd12 and %rd13.</summary>
    private static string Update(string name, string element) =>
        $$"""
        .visible .entry {{name}}(
        	.param .u64 chunks,
        	.param .u64 coefficients,
        	.param .u64 norm,
        	.param .u64 weights,
        	.param .u64 gradients,
        	.param .u64 slots0,
        	.param .u64 slots1
        )
        .maxntid 256, 1, 1
        {
        	.reg .f32 %f<20>;
        	.reg .b16 %h<1>;
        	.reg .b32 %r<8>;
        	.reg .b64 %rd<20>;
        	.reg .pred %p<2>;
        {{Chunk}}
        	ld.param.u64 %rd3, [coefficients];
        	cvta.to.global.u64 %rd3, %rd3;
        	mul.wide.s32 %rd4, %r3, 32;
        	add.s64 %rd3, %rd3, %rd4;
        {{string.Join("\n", Enumerable.Range(0, Coefficients).Select(i => $"\tld.global.f32 %f{10 + i}, [%rd3+{4 * i}];"))}}
        	ld.param.u64 %rd4, [norm];
        	cvta.to.global.u64 %rd4, %rd4;
        	ld.global.f32 %f0, [%rd4+4];
        {{string.Join("\n", ((string[])["weights", "gradients", "slots0", "slots1"]).Select((block, i) => $"\tld.param.u64 %rd{5 + i}, [{block}];\n\tcvta.to.global.u64 %rd{5 + i}, %rd{5 + i};\n\tadd.s64 %rd{5 + i}, %rd{5 + i}, %rd2;"))}}
        {{Copied}}
        L0:
        	setp.ge.s32 %p0, %r0, %r2;
        	@%p0 bra EXIT;
        	mul.wide.s32 %rd9, %r0, 4;
        	add.s64 %rd10, %rd5, %rd9;
        	add.s64 %rd11, %rd6, %rd9;
        	add.s64 %rd12, %rd7, %rd9;
        	add.s64 %rd13, %rd8, %rd9;
        	ld.global.f32 %f1, [%rd11];
        	mul.rn.f32 %f1, %f1, %f0;
        	ld.global.f32 %f2, [%rd10];
        {{element.TrimEnd('\n')}}
        	st.global.f32 [%rd10], %f2;
        {{Rounded}}
        	add.s32 %r0, %r0, 256;
        	bra L0;
        EXIT:
        	ret;
        }
        """;
}
