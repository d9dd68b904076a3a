using System.Globalization;
using System.Runtime.InteropServices;
using System.Text;

namespace ModelGen.Runtime;

/// <summary>What a step of a chain does on a device, as the kernel has it.</summary>
internal enum CudaDrawingKind
{
    /// <summary>Divides the logits.</summary>
    Temperature,

    /// <summary>Leaves the likeliest so many.</summary>
    TopK,

    /// <summary>Leaves the fewest of the likeliest that have this part of the probability.</summary>
    TopP,

    /// <summary>Leaves those whose logits are this much from the largest, or less: a difference of 0 or below.</summary>
    MinP,

    /// <summary>Draws: the last step, which the kernel puts behind the others.</summary>
    Draw,
}

/// <summary>A step of a chain as it lies in a device's memory.</summary>
[StructLayout(LayoutKind.Sequential)]
internal readonly struct CudaDrawingStep(CudaDrawingKind kind, int count, double number)
{
    public CudaDrawingKind Kind { get; } = kind;

    public int Count { get; } = count;

    public double Number { get; } = number;
}

/// <summary>A chain of steps that a device does, each of which keeps the likeliest of what is left, so that what is left is told by the last one that is.</summary>
internal sealed class CudaChain(CudaDrawingStep[] steps, bool drawsAlways)
{
    /// <summary>The most steps that a device takes.</summary>
    public const int MaximumSteps = 15;

    /// <summary>The steps.</summary>
    public ReadOnlySpan<CudaDrawingStep> Steps => steps;

    /// <summary>Whether a number is drawn where one token is left.</summary>
    public bool DrawsAlways => drawsAlways;
}

/// <summary>
/// Draws a token from logits that lie on a device, by one block of threads. Weights exp(l − max l) are computed in double precision and added up as integers, whose sums have no order; what of the sorted tokens is kept, and which one is drawn,
/// is found two bits of the logits at a time, and no token is moved. Where a decision is so close that the processor's roundings may decide otherwise, no token is given, and the processor decides by the logits.
/// </summary>
internal static class CudaDrawing
{
    /// <summary>The kernel's name.</summary>
    public const string Name = "Draw";

    /// <summary>What comes in the place of a token where the processor has to decide.</summary>
    public const int Undecided = -1;

    /// <summary>Bytes of scratch memory: each logit as the steps have left it, and its weight.</summary>
    public static long ScratchBytes(long count) => 16 * count;

    /// <summary>How far weights are shifted to be integers, so that the sum of so many stays below 2^62.</summary>
    public static int ShiftOf(int count) => 62 - (32 - int.LeadingZeroCount(count));

    // e^r of |r| ≤ ln 2 / 2 by its series: the terms behind the 13th are below 2^-57.
    private const int Terms = 13;

    // Registers: %r0 thread, %r1 logits, %r2 lane, %r3 where its warp leaves sums, %r4 where its lane finds one, %r5 and %r6 what is left: keys above %r5, and of those that
    // equal it the ids up to %r6; %r7 whether they count as sorted, %r8 the step, %r9 the number of steps, %r10 the step's kind, %r12 the shift, %r13 the prefix that is found, %r14 the key that was found first,
    // %r15 an id, %r16 its key, %r24 the largest id of a whole number of pairs of bits, %r25 the shift that ids begin with, %r26 bits that weights are shifted by.
    // %rd0 logits, %rd1 them as they are left, %rd2 weights, %rd3 steps, %rd4 the largest, %rd5 what stands before the one that is found, %rd6 what is to be reached, %rd7 the sum of all, %rd8 how close is too close, %rd9 the step's number.
    // %p4 whether weights count, or else tokens; %p5 whether the second part is at work, which goes by ids; %p6 whether those of any key take part in it.
    public static string Entry(int threads) =>
        $$"""
        // Draws a token from logits: its id, or {{Undecided}}, and whether there were others.
        .visible .entry {{Name}}(
        	.param .u64 logits,
        	.param .u32 count,
        	.param .u64 scratch,
        	.param .u64 steps,
        	.param .u32 number,
        	.param .u32 shift,
        	.param .u64 uniform,
        	.param .u64 result
        )
        .maxntid {{threads}}, 1, 1
        {
        	.reg .f32 %f<3>;
        	.reg .b32 %r<32>;
        	.reg .b64 %rd<32>;
        	.reg .pred %p<10>;
        	.shared .align 16 .b8 sums[{{3 * 32 * 8}}];
        	ld.param.u64 %rd0, [logits];
        	cvta.to.global.u64 %rd0, %rd0;
        	ld.param.u32 %r1, [count];
        	ld.param.u64 %rd1, [scratch];
        	cvta.to.global.u64 %rd1, %rd1;
        	mul.wide.s32 %rd2, %r1, 8;
        	add.s64 %rd2, %rd1, %rd2;
        	ld.param.u64 %rd3, [steps];
        	cvta.to.global.u64 %rd3, %rd3;
        	ld.param.u32 %r9, [number];
        	ld.param.u32 %r26, [shift];
        	mov.u32 %r0, %tid.x;
        	and.b32 %r2, %r0, 31;
        	shr.u32 %r3, %r0, 5;
        	shl.b32 %r3, %r3, 3;
        	mov.u32 %r17, sums;
        	add.s32 %r3, %r3, %r17;
        	shl.b32 %r4, %r2, 3;
        	add.s32 %r4, %r4, %r17;
        	setp.eq.s32 %p9, %r2, 0;
        	// Ids in pairs of bits.
        	sub.s32 %r17, %r1, 1;
        	or.b32 %r17, %r17, 1;
        	bfind.u32 %r17, %r17;
        	and.b32 %r25, %r17, 30;
        	mov.u32 %r18, 4;
        	shl.b32 %r24, %r18, %r25;
        	sub.s32 %r24, %r24, 1;
        	// The largest logit, and all of them in double precision.
        	mov.f32 %f0, 0fFF800000;
        {{ForEach("A", $"""
        	mul.wide.s32 %rd12, %r15, 4;
        	add.s64 %rd12, %rd0, %rd12;
        	ld.global.f32 %f1, [%rd12];
        	max.NaN.f32 %f0, %f0, %f1;
        	cvt.f64.f32 %rd13, %f1;
        {AddressOf("%rd1", "%rd12")}
        	st.global.u64 [%rd12], %rd13;
        """, threads)}}
        {{Combine([("mov.b32 %r17, %f0;", "mov.b32 %f1, %r18;", "max.NaN.f32 %f0, %f0, %f1;", "%f0")])}}
        	abs.f32 %f1, %f0;
        	setp.lt.f32 %p0, %f1, 0f7F800000;
        	@!%p0 bra UNDECIDED;
        	cvt.f64.f32 %rd4, %f0;
        	mov.u32 %r5, 0;
        	mov.u32 %r6, -1;
        	mov.u32 %r7, 0;
        	mov.u32 %r8, 0;
        STEP:
        	mul.wide.s32 %rd12, %r8, 16;
        	add.s64 %rd12, %rd3, %rd12;
        	ld.global.u32 %r10, [%rd12];
        	ld.global.u32 %r11, [%rd12+4];
        	ld.global.u64 %rd9, [%rd12+8];
        	setp.eq.s32 %p0, %r10, {{(int)CudaDrawingKind.TopK}};
        	@%p0 bra TOPK;
        	setp.ge.s32 %p0, %r10, {{(int)CudaDrawingKind.MinP}};
        	setp.eq.s32 %p1, %r10, {{(int)CudaDrawingKind.MinP}};
        	@%p1 bra MINP;
        	@%p0 bra WEIGH;
        	setp.eq.s32 %p0, %r10, {{(int)CudaDrawingKind.TopP}};
        	@%p0 bra WEIGH;
        	// Temperature.
        {{ForEach("B", $"""
        {AddressOf("%rd1", "%rd12")}
        	ld.global.u64 %rd13, [%rd12];
        	div.rn.f64 %rd13, %rd13, %rd9;
        	st.global.u64 [%rd12], %rd13;
        """, threads)}}
        	div.rn.f64 %rd4, %rd4, %rd9;
        	bra NEXT;
        MINP:
        	// The smallest key that reaches it.
        	add.rn.f64 %rd9, %rd4, %rd9;
        	mov.u32 %r22, -1;
        {{ForEach("C", $"""
        {Included}
        {AddressOf("%rd1", "%rd12")}
        	ld.global.u64 %rd13, [%rd12];
        	setp.ge.f64 %p2, %rd13, %rd9;
        	and.pred %p1, %p1, %p2;
        	min.u32 %r17, %r22, %r16;
        	selp.b32 %r22, %r17, %r22, %p1;
        """, threads)}}
        {{Combine([("", "", "min.u32 %r22, %r22, %r18;", "%r22")])}}
        	setp.eq.s32 %p0, %r22, %r5;
        	selp.b32 %r6, %r6, -1, %p0;
        	mov.u32 %r5, %r22;
        	bra NEXT;
        TOPK:
        	// Tokens count one each. Where there are no more than that, nothing changes.
        	mov.u64 %rd7, 0;
        {{ForEach("D", $"""
        {Included}
        	@%p1 add.s64 %rd7, %rd7, 1;
        """, threads)}}
        {{Combine([Sum("%rd7")])}}
        	cvt.u64.u32 %rd6, %r11;
        	setp.ge.s64 %p0, %rd6, %rd7;
        	@%p0 bra NEXT;
        	mov.u64 %rd8, -1;
        	setp.ne.s32 %p4, %r0, %r0;
        	mov.u32 %r7, 1;
        	bra SORTED;
        WEIGH:
        	// exp(x - max x), shifted to be an integer; %rd7 is the sum of those that are left, %rd10 their number.
        	mov.u64 %rd7, 0;
        	mov.u64 %rd10, 0;
        {{ForEach("E", $"""
        {Included}
        {AddressOf("%rd1", "%rd12")}
        	ld.global.u64 %rd13, [%rd12];
        	sub.rn.f64 %rd13, %rd13, %rd4;
        	setp.gt.f64 %p2, %rd13, {Double(-80)};
        	selp.b64 %rd13, %rd13, 0, %p2;
        	mul.rn.f64 %rd14, %rd13, {Double(1 / Math.Log(2))};
        	cvt.rni.s32.f64 %r17, %rd14;
        	cvt.rn.f64.s32 %rd14, %r17;
        	fma.rn.f64 %rd13, %rd14, {Double(-LogTwoHigh)}, %rd13;
        	fma.rn.f64 %rd13, %rd14, {Double(-LogTwoLow)}, %rd13;
        	mov.f64 %rd14, {Double(1 / Factorial(Terms))};
        {string.Join('\n', Enumerable.Range(0, Terms).Select(i => $"	fma.rn.f64 %rd14, %rd14, %rd13, {Double(1 / Factorial(Terms - 1 - i))};"))}
        	add.s32 %r17, %r17, %r26;
        	add.s32 %r17, %r17, 1023;
        	cvt.u64.u32 %rd13, %r17;
        	shl.b64 %rd13, %rd13, 52;
        	mul.rn.f64 %rd14, %rd14, %rd13;
        	cvt.rni.s64.f64 %rd14, %rd14;
        	selp.b64 %rd14, %rd14, 0, %p2;
        {AddressOf("%rd2", "%rd12")}
        	st.global.u64 [%rd12], %rd14;
        	@%p1 add.s64 %rd7, %rd7, %rd14;
        	@%p1 add.s64 %rd10, %rd10, 1;
        """, threads)}}
        {{Combine([Sum("%rd7"), Sum("%rd10")])}}
        	// What roundings can come to, here and there: half a unit for each weight, and of the sum a part that grows with the number of terms and with the size of the logits that were subtracted.
        	cvt.rn.f64.s32 %rd13, %r1;
        	abs.f64 %rd14, %rd4;
        	add.rn.f64 %rd14, %rd14, {{Double(1000)}};
        	fma.rn.f64 %rd14, %rd14, {{Double(4)}}, %rd13;
        	mul.rn.f64 %rd14, %rd14, {{Double(Math.ScaleB(1, -51))}};
        	cvt.rn.f64.s64 %rd15, %rd7;
        	fma.rn.f64 %rd14, %rd14, %rd15, %rd13;
        	cvt.rni.s64.f64 %rd8, %rd14;
        	setp.eq.s32 %p4, %r0, %r0;
        	setp.eq.s32 %p0, %r10, {{(int)CudaDrawingKind.Draw}};
        	ld.param.u64 %rd13, [uniform];
        	selp.b64 %rd9, %rd13, %rd9, %p0;
        	mul.rn.f64 %rd13, %rd9, %rd15;
        	cvt.rzi.s64.f64 %rd6, %rd13;
        	add.s64 %rd6, %rd6, 1;
        	setp.gt.s64 %p1, %rd6, %rd7;
        	selp.b64 %rd6, %rd7, %rd6, %p1;
        	@%p0 bra DRAW;
        	mov.u32 %r7, 1;
        SORTED:
        	// The one at which the sorted amounts reach what they are to, by key and then by id.
        	setp.ne.s32 %p5, %r0, %r0;
        	setp.eq.s32 %p6, %r0, %r0;
        	mov.u32 %r12, 30;
        	mov.u32 %r14, 0;
        	bra SEARCH;
        DRAW:
        	setp.ne.s32 %p0, %r7, 0;
        	@%p0 bra SORTED;
        	setp.eq.s32 %p5, %r0, %r0;
        	setp.eq.s32 %p6, %r0, %r0;
        	mov.u32 %r12, %r25;
        	mov.u32 %r14, 0;
        SEARCH:
        	mov.u64 %rd5, 0;
        PART:
        	mov.u32 %r13, 0;
        DIGIT:
        	mov.u64 %rd20, 0;
        	mov.u64 %rd21, 0;
        	mov.u64 %rd22, 0;
        {{ForEach("F", $"""
        {Included}
        	setp.eq.s32 %p2, %r16, %r14;
        	or.pred %p2, %p2, %p6;
        	and.pred %p1, %p1, %p2;
        	sub.s32 %r19, %r24, %r15;
        	selp.b32 %r20, %r19, %r16, %p5;
        	xor.b32 %r20, %r20, %r13;
        	shr.u32 %r20, %r20, %r12;
        	shr.u32 %r21, %r20, 2;
        	setp.eq.s32 %p2, %r21, 0;
        	and.pred %p1, %p1, %p2;
        	and.pred %p7, %p1, %p4;
        {AddressOf("%rd2", "%rd12")}
        	mov.u64 %rd13, 1;
        	@%p7 ld.global.u64 %rd13, [%rd12];
        {string.Join('\n', Enumerable.Range(1, 3).Select(digit => FormattableString.Invariant($"	setp.ge.s32 %p2, %r20, {digit};\n	and.pred %p2, %p2, %p1;\n	@%p2 add.s64 %rd{19 + digit}, %rd{19 + digit}, %rd13;")))}
        """, threads)}}
        {{Combine([Sum("%rd20"), Sum("%rd21"), Sum("%rd22")])}}
        	// The digit is the largest whose amounts reach it, with what stands before.
        {{string.Join('\n', Enumerable.Range(0, 3).Select(i => FormattableString.Invariant($"""
        	add.s64 %rd13, %rd5, %rd{22 - i};
        	setp.ge.s64 %p{i}, %rd13, %rd6;
        """)))}}
        	mov.u32 %r17, 0;
        	selp.b32 %r17, 1, %r17, %p2;
        	selp.b32 %r17, 2, %r17, %p1;
        	selp.b32 %r17, 3, %r17, %p0;
        	selp.b64 %rd13, %rd21, %rd20, %p2;
        	selp.b64 %rd13, %rd22, %rd13, %p1;
        	selp.b64 %rd13, 0, %rd13, %p0;
        	add.s64 %rd5, %rd5, %rd13;
        	shl.b32 %r17, %r17, %r12;
        	or.b32 %r13, %r13, %r17;
        	sub.s32 %r12, %r12, 2;
        	setp.ge.s32 %p0, %r12, 0;
        	@%p0 bra DIGIT;
        	@%p5 bra FOUND;
        	// Among equals by their ids.
        	mov.u32 %r14, %r13;
        	setp.eq.s32 %p5, %r0, %r0;
        	setp.ne.s32 %p6, %r0, %r0;
        	mov.u32 %r12, %r25;
        	bra PART;
        FOUND:
        	sub.s32 %r13, %r24, %r13;
        	@!%p4 bra KEEP;
        	mul.wide.s32 %rd12, %r13, 8;
        	add.s64 %rd12, %rd2, %rd12;
        	ld.global.u64 %rd13, [%rd12];

        	// All have looked at the weight before its thread computes it again.
        	bar.sync 0;
        	add.s64 %rd13, %rd13, %rd5;
        	sub.s64 %rd13, %rd13, %rd6;
        	setp.gt.s64 %p0, %rd13, %rd8;
        	sub.s64 %rd13, %rd6, %rd5;
        	setp.gt.s64 %p1, %rd13, %rd8;
        	and.pred %p0, %p0, %p1;
        	setp.eq.s32 %p1, %r10, {{(int)CudaDrawingKind.Draw}};
        	@%p1 bra GIVE;
        	@!%p0 bra UNDECIDED;
        KEEP:
        	mov.u32 %r5, %r14;
        	mov.u32 %r6, %r13;
        NEXT:
        	add.s32 %r8, %r8, 1;
        	setp.lt.s32 %p0, %r8, %r9;
        	@%p0 bra STEP;
        	bra UNDECIDED;
        GIVE:
        	// One token alone is drawn without a number.
        	setp.gt.s64 %p1, %rd10, 1;
        	selp.b32 %r17, 1, 0, %p1;
        	setp.eq.s32 %p2, %r17, 0;
        	or.pred %p0, %p0, %p2;
        	selp.b32 %r13, %r13, {{Undecided}}, %p0;
        	bra STORE;
        UNDECIDED:
        	mov.u32 %r13, {{Undecided}};
        	mov.u32 %r17, 0;
        STORE:
        	setp.ne.s32 %p0, %r0, 0;
        	@%p0 bra EXIT;
        	ld.param.u64 %rd12, [result];
        	cvta.to.global.u64 %rd12, %rd12;
        	st.global.u32 [%rd12], %r13;
        	st.global.u32 [%rd12+4], %r17;
        EXIT:
        	ret;
        }
        """;

    // ln 2 as 42 bits, whose products with exponents are exact, and what is left of it.
    private const double LogTwoHigh = 0x2C5C85FDF47 / 4398046511104.0;

    private const double LogTwoLow = 5.497923018708371e-14;

    // Whether the token %r15 is left, in %p1, and its key in %r16: keys of greater logits are greater, and those of both zeros the same.
    private const string Included = """
        	mul.wide.s32 %rd12, %r15, 4;
        	add.s64 %rd12, %rd0, %rd12;
        	ld.global.f32 %f1, [%rd12];
        	add.rn.f32 %f1, %f1, 0f00000000;
        	mov.b32 %r16, %f1;
        	shr.s32 %r17, %r16, 31;
        	or.b32 %r17, %r17, -2147483648;
        	xor.b32 %r16, %r16, %r17;
        	setp.lt.u32 %p1, %r5, %r16;
        	setp.eq.s32 %p2, %r16, %r5;
        	setp.ge.u32 %p3, %r6, %r15;
        	and.pred %p2, %p2, %p3;
        	or.pred %p1, %p1, %p2;
        """;

    private static string AddressOf(string memory, string register) =>
        $"""
        	mul.wide.s32 {register}, %r15, 8;
        	add.s64 {register}, {memory}, {register};
        """;

    // Each thread has every so-manieth token, in all passes the same ones.
    private static string ForEach(string label, string body, int threads) =>
        $"""
        	mov.u32 %r15, %r0;
        {label}0:
        	setp.ge.s32 %p0, %r15, %r1;
        	@%p0 bra {label}1;
        {body}
        	add.s32 %r15, %r15, {threads.ToString(CultureInfo.InvariantCulture)};
        	bra {label}0;
        {label}1:
        """;

    private static (string Take, string Give, string Combine, string Register) Sum(string register) => ("", "", $"add.s64 {register}, {register}, %rd16;", register);

    /// <summary>Combines what all threads have, in each of them: among the lanes of a warp, and then among warps.</summary>
    private static string Combine((string Take, string Give, string Combine, string Register)[] values)
    {
        var text = new StringBuilder();
        Lanes();
        for (int i = 0; i < values.Length; i++)
        {
            string at = FormattableString.Invariant($"[%r3+{256 * i}]"), high = FormattableString.Invariant($"[%r3+{(256 * i) + 4}]");
            string register = values[i].Register;
            if (IsLong(register))
            {
                Line($"cvt.u32.u64 %r17, {register};");
                Line($"shr.u64 %rd16, {register}, 32;");
                Line("cvt.u32.u64 %r18, %rd16;");
                Line($"@%p9 st.shared.u32 {at}, %r17;");
                Line($"@%p9 st.shared.u32 {high}, %r18;");
            }
            else
            {
                Line($"@%p9 st.shared.{Type(register)} {at}, {register};");
            }
        }

        Line("bar.sync 0;");
        for (int i = 0; i < values.Length; i++)
        {
            string at = FormattableString.Invariant($"[%r4+{256 * i}]"), high = FormattableString.Invariant($"[%r4+{(256 * i) + 4}]");
            string register = values[i].Register;
            if (IsLong(register))
            {
                Line($"ld.shared.u32 %r18, {at};");
                Line($"ld.shared.u32 %r19, {high};");
                Together(register);
            }
            else
            {
                Line($"ld.shared.{Type(register)} {register}, {at};");
            }
        }

        Lanes();

        // The next sums are left at the same place.
        Line("bar.sync 0;");
        return text.ToString().TrimEnd('\n');

        void Line(string line) => text.Append('\t').Append(line).Append('\n');

        void Together(string register)
        {
            Line($"cvt.u64.u32 {register}, %r19;");
            Line($"shl.b64 {register}, {register}, 32;");
            Line("cvt.u64.u32 %rd17, %r18;");
            Line($"or.b64 {register}, {register}, %rd17;");
        }

        void Lanes()
        {
            foreach ((string take, string give, string combine, string register) in values)
            {
                for (int distance = 16; distance > 0; distance /= 2)
                {
                    if (IsLong(register))
                    {
                        Line($"cvt.u32.u64 %r17, {register};");
                        Line($"shr.u64 %rd16, {register}, 32;");
                        Line("cvt.u32.u64 %r20, %rd16;");
                        Line(FormattableString.Invariant($"shfl.sync.bfly.b32 %r18, %r17, {distance}, 31, -1;"));
                        Line(FormattableString.Invariant($"shfl.sync.bfly.b32 %r19, %r20, {distance}, 31, -1;"));
                        Together("%rd16");
                        Line(combine);
                        continue;
                    }

                    if (take.Length > 0)
                    {
                        Line(take);
                    }

                    Line(FormattableString.Invariant($"shfl.sync.bfly.b32 %r18, {(take.Length > 0 ? "%r17" : register)}, {distance}, 31, -1;"));
                    if (give.Length > 0)
                    {
                        Line(give);
                    }

                    Line(combine);
                }
            }
        }

        static bool IsLong(string register) => register.StartsWith("%rd", StringComparison.Ordinal);

        static string Type(string register) => register[1] == 'f' ? "f32" : "u32";
    }

    private static string Double(double value) => string.Create(CultureInfo.InvariantCulture, $"0d{BitConverter.DoubleToInt64Bits(value):X16}");

    private static double Factorial(int n) => n < 2 ? 1 : n * Factorial(n - 1);
}
