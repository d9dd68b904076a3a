using System.Collections.Generic;
using System.Linq;
using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Kernels;

namespace ModelGen.Compiler.Emit.Ptx;

/// <summary>
/// A linear recurrence of matrices in one launch: columns of a head's matrix know nothing of each other, so that a warp keeps some of them in registers from the first step to the last, each column's rows
/// shared out among lanes, and threads never meet but in the shuffles that sum over a column. What the next step reads is on its way while this one is computed. A step is taken at a time: its sums
/// are those of the recurrence as it is written, in single precision in every precision.
/// </summary>
internal static class PtxRecurrence
{
    private const int Lanes = 32;

    // Rows of a column that a lane has at the most, where a column has lanes enough.
    private const int MostRows = 16;

    public static PtxEntry Emit(RecurrenceKernel kernel, IReadOnlyList<Dim> counts)
    {
        var w = new PtxWriter();
        var k = new PtxKernel(w, kernel, counts);
        (int heads, int keys, int values) = (kernel.Sizes.Heads, kernel.Sizes.KeyWidth, kernel.Sizes.ValueWidth);
        int share = 1;
        while (share < Lanes && (keys + share - 1) / share > MostRows)
        {
            share *= 2;
        }

        int rows = (keys + share - 1) / share, columns = Lanes / share, parts = (values + columns - 1) / columns;
        RowExtent warps = kernel.Batch * RowExtent.Literal(heads * parts);
        string lane = w.Once("and.b32", w.Special("%tid.x"), PtxWriter.Int(Lanes - 1));
        string index = w.Op("mad.lo.s32", w.Special("%ctaid.x"), PtxWriter.Int(PtxEmitter.Threads / Lanes), w.Op("shr.u32", w.Special("%tid.x"), "5"));
        w.Line($"@{w.Op("setp.ge.s32", index, k.Extent(warps))} bra {PtxWriter.Exit};");
        string part = w.Op("rem.s32", index, PtxWriter.Int(parts)), above = w.Op("div.s32", index, PtxWriter.Int(parts));
        string head = w.Op("rem.s32", above, PtxWriter.Int(heads)), sequence = w.Op("div.s32", above, PtxWriter.Int(heads));
        string group = w.Op("div.s32", head, PtxWriter.Int(heads / kernel.Sizes.Groups));
        string column = w.Op("mad.lo.s32", part, PtxWriter.Int(columns), w.Op("div.s32", lane, PtxWriter.Int(share))), first = w.Op("rem.s32", lane, PtxWriter.Int(share));
        string isColumn = w.Op("setp.lt.s32", column, PtxWriter.Int(values)), isFirst = w.Op("and.pred", isColumn, w.Op("setp.eq.s32", first, "0"));
        string[] row = [.. Enumerable.Range(0, rows).Select(i => i == 0 ? first : w.Op("add.s32", first, PtxWriter.Int(i * share)))];

        // Rows beyond the last one are zeros, and take nothing in.
        string?[] isRow = [.. row.Select((r, i) => (i + 1) * share <= keys ? null : w.Op("setp.lt.s32", r, PtxWriter.Int(keys)))];
        string[] state = [.. row.Select(_ => Zero())];
        int states = kernel.Output + 1;
        string[] places = [];
        if (kernel.HasState)
        {
            string matrix = w.Op("mul.lo.s32", w.Op("mad.lo.s32", sequence, PtxWriter.Int(heads), head), PtxWriter.Int(keys));
            places = [.. row.Select(r => $"[{k.Address(states, w.Op("mad.lo.s32", w.Op("add.s32", matrix, r), PtxWriter.Int(kernel.Operands[states].Access.RowStride), column))}]")];
            for (int i = 0; i < rows; i++)
            {
                w.Line($"@{IsThere(i)} ld.global.f32 {state[i]}, {places[i]};");
            }
        }

        string steps = k.Extent(kernel.Steps);
        Input[] inputs = [.. Enumerable.Range(0, kernel.Output).Select(operand => new Input(operand, operand < 2 ? rows : 1))];
        foreach (Input input in inputs)
        {
            Fetch(input, "0");
        }

        string output = Begin(kernel.Output, head);
        w.For("0", steps, "1", step =>
        {
            string[][] now = [.. inputs.Select(input => input.Registers.Select(register => w.Op("mov.f32", register)).ToArray())];
            string next = w.Op("add.s32", step, "1");
            w.If(w.Op("setp.lt.s32", next, steps), () =>
            {
                foreach (Input input in inputs)
                {
                    Fetch(input, next);
                }
            });
            string decay = PtxFunctions.Exp(w, now[3][0]), taken = now[2][0];
            foreach (string each in state)
            {
                w.Set(each, "mul.rn.f32", each, decay);
            }

            if (kernel.IsCorrected)
            {
                taken = w.Op("mul.rn.f32", w.Op("sub.rn.f32", taken, Dot(now[1])), now[RecurrenceKernel.Strengths][0]);
            }

            for (int i = 0; i < rows; i++)
            {
                w.Set(state[i], "fma.rn.f32", now[1][i], taken, state[i]);
            }

            string read = Dot(now[0]);
            w.If(isFirst, () => k.Store(kernel.Output, w.Op("mad.lo.s32", step, k.Extent(Strides(kernel.Output)[1]), w.Op("add.s32", output, column)), read, StoreMode.Replace));
        });
        for (int i = 0; i < places.Length; i++)
        {
            w.Line($"@{IsThere(i)} st.global.f32 {places[i]}, {state[i]};");
        }

        return new PtxEntry(
            $"Recurrence_{PtxEmitter.Text(kernel.Steps)}x{heads}x{keys}x{values}", $"{kernel.Name}: a recurrence of [{keys}, {values}] in {heads} heads, {kernel.Steps} steps{(kernel.IsCorrected ? ", corrected" : "")}.",
            w, PtxEmitter.BlocksFor((long)warps.Maximum * Lanes), PtxEmitter.Threads);

        string Zero() => w.Op("mov.f32", PtxWriter.Float(0));
        string IsThere(int i) => isRow[i] is { } there ? w.Op("and.pred", isColumn, there) : isColumn;
        IReadOnlyList<RowExtent> Strides(int operand) => kernel.Operands[operand].Access.RowStrides;

        // Elements to the first step's row of a sequence and a head.
        string Begin(int operand, string own)
            => w.Op("mad.lo.s32", sequence, k.Extent(Strides(operand)[0]), w.Op("mul.lo.s32", own, k.Extent(Strides(operand)[2])));

        void Fetch(Input input, string step)
        {
            int operand = input.Operand;
            input.Begin ??= Begin(operand, operand < 2 ? group : head);
            string at = step == "0" ? input.Begin : w.Op("mad.lo.s32", step, k.Extent(Strides(operand)[1]), input.Begin);
            if (input.Registers.Length == 0)
            {
                input.Registers = [.. Enumerable.Range(0, input.Count).Select(_ => Zero())];
            }

            for (int i = 0; i < input.Count; i++)
            {
                string element = operand < 2 ? w.Op("add.s32", at, row[i]) : operand == 2 ? w.Op("add.s32", at, column) : at;
                string guard = operand < 2 ? isRow[i] is { } there ? $"@{there} " : "" : operand == 2 ? $"@{isColumn} " : "";
                w.Line($"{guard}ld.global.f32 {input.Registers[i]}, [{k.Address(operand, element)}];");
            }
        }

        // The sum over a column of what a lane's rows are multiplied with, in every lane of the column.
        string Dot(string[] factors)
        {
            string sum = w.Op("mul.rn.f32", factors[0], state[0]);
            for (int i = 1; i < rows; i++)
            {
                sum = PtxFunctions.Fma(w, factors[i], state[i], sum);
            }

            return k.Lanes(sum, [.. new[] { 16, 8, 4, 2, 1 }.Where(distance => distance < share)]);
        }
    }

    /// <summary>What a step reads of an operand, in registers that the next step's come to.</summary>
    private sealed class Input(int operand, int count)
    {
        public int Operand { get; } = operand;

        public int Count { get; } = count;

        public string[] Registers { get; set; } = [];

        public string? Begin { get; set; }
    }
}
