using System.Collections.Generic;
using System.Linq;
using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Kernels;
using ModelGen.Compiler.Targets.Cpu;

namespace ModelGen.Compiler.Emit.CSharp;

/// <summary>
/// A linear recurrence of matrices, a head of a sequence at a time: a chunk of its steps after the other, in products of matrices, while what is kept between them stays in the worker's own memory.
/// </summary>
internal static class RecurrenceEmitter
{
    public static KernelCode Emit(RecurrenceKernel kernel, RecurrencePlan plan)
    {
        (int groups, int heads, int width, int columns, int chunk) = kernel.Sizes;
        ArgumentKinds arguments = Arguments.Of(kernel.Batch) | Arguments.Of(kernel.Steps) | kernel.Operands.SelectMany(o => o.Access.RowStrides).Aggregate(ArgumentKinds.None, (kinds, stride) => kinds | Arguments.Of(stride));
        string rule = kernel.IsCorrected ? "S ← eᵍS + k ⊗ β(v − Sᵀk)" : "S ← eᵍS + k ⊗ v";
        var code = new KernelCode($"LinearRecurrence_{Text.Extent(kernel.Batch)}x{Text.Extent(kernel.Steps)}_{heads}x{width}x{columns}", $"{rule}, o = Sᵀq, {chunk} steps at a time, {heads} heads of [{width}, {columns}].", kernel, arguments);
        code.Generic(w =>
        {
            foreach (string part in new[] { RecurrencePlan.Kept, RecurrencePlan.KeysTransposed, RecurrencePlan.Taken, RecurrencePlan.Read, RecurrencePlan.Scores, RecurrencePlan.Links, RecurrencePlan.Factors }.Where(plan.Scratch(0).Has))
            {
                w.Line($"float* {part} = (float*)worker.Scratch{(plan.At(part) == 0 ? "" : $" + {CodeWriter.Number(plan.At(part))}")};");
            }

            w.Line($"float* sums = {RecurrencePlan.Factors}, fromStart = sums + {plan.StepColumns}, toEnd = fromStart + {plan.StepColumns};");
            Text.OpenUnits(w, kernel, Text.RowCount(kernel.Batch * RowExtent.Literal(heads)), "task");
            int share = heads / groups;
            w.Line($"int {(kernel.Batch == RowExtent.Literal(1) ? "" : $"sequence = task / {heads}, ")}head = task % {heads}{(share == 1 ? "" : $", group = head / {share}")};");
            string group = share == 1 ? "head" : "group";
            foreach ((string name, int operand, string at) in new[] { ("queries", 0, group), ("keys", 1, group), ("values", 2, "head"), ("logs", 3, "head"), ("strengths", RecurrenceKernel.Strengths, "head"), ("rows", kernel.Output, "head") })
            {
                if (kernel.IsCorrected || name != "strengths")
                {
                    IReadOnlyList<RowExtent> strides = kernel.Operands[operand].Access.RowStrides;
                    string ofSequence = kernel.Batch == RowExtent.Literal(1) ? "" : $" + (long)sequence * {Text.RowCount(strides[0])}";
                    w.Line($"float* {name} = {kernel.Operands[operand].Name}{ofSequence} + (long){at} * {Text.RowCount(strides[2])};");
                }
            }

            if (kernel.HasState)
            {
                w.Line($"float* own = state + (long)task * {CodeWriter.Number((long)width * columns)};");
                w.Line($"Panels.PackRows(own, {columns}, {width}, {columns}, {RecurrencePlan.Kept}, {plan.ValueStride});");
            }
            else
            {
                w.Line($"new global::System.Span<float>({RecurrencePlan.Kept}, {CodeWriter.Number((long)width * plan.ValueStride)}).Clear();");
            }

            string count = Text.RowCount(kernel.Steps);
            w.Open($"for (int t = 0; t < {count}; t += {chunk})");
            w.Line($"int steps = Math.Min({chunk}, {count} - t);");
            string Step(int operand) => Text.RowCount(kernel.Operands[operand].Access.RowStrides[1]);
            string At(string name, int operand) => $"{name} + (long)t * {Step(operand)}";
            string product = $"{RecurrencePlan.KeysTransposed}, {plan.StepStride}", kept = $"{RecurrencePlan.Kept}, {plan.ValueStride}", taken = $"{RecurrencePlan.Taken}, {plan.ValueStride}", read = $"{RecurrencePlan.Read}, {plan.ValueStride}";
            w.Line($"float total = RecurrenceChunks.Decays({At("logs", 3)}, {Step(3)}, steps, sums, fromStart, toEnd);");
            w.Line($"Panels.PackTransposed({At("keys", 1)}, {Step(1)}, {width}, steps, {RecurrencePlan.KeysTransposed}, {plan.StepColumns}, {plan.StepStride});");
            w.Line($"RecurrenceChunks.Multiply<V>(steps, {plan.StepColumns}, {At("queries", 0)}, {Step(0)}, {product}, {RecurrencePlan.Scores}, {plan.StepStride}, {width});");
            w.Line($"RecurrenceChunks.Decay<V>({RecurrencePlan.Scores}, {plan.StepStride}, steps, sums);");
            if (kernel.IsCorrected)
            {
                string strengths = $"{At("strengths", RecurrenceKernel.Strengths)}, {Step(RecurrenceKernel.Strengths)}";
                w.Line($"RecurrenceChunks.Multiply<V>(steps, {plan.StepColumns}, {At("keys", 1)}, {Step(1)}, {product}, {RecurrencePlan.Links}, {plan.StepStride}, {width});");
                w.Line($"RecurrenceChunks.Decay<V>({RecurrencePlan.Links}, {plan.StepStride}, steps, sums, {strengths});");
                w.Line($"RecurrenceChunks.Multiply<V>(steps, {plan.ValueColumns}, {At("keys", 1)}, {Step(1)}, {kept}, {taken}, {width});");
                w.Line($"RecurrenceChunks.Errors<V>({taken}, steps, {columns}, {At("values", 2)}, {Step(2)}, fromStart, {strengths});");
                w.Line($"RecurrenceChunks.Solve<V>({RecurrencePlan.Links}, {plan.StepStride}, {taken}, steps, {plan.ValueColumns});");
            }
            else
            {
                w.Line($"Panels.PackRows({At("values", 2)}, {Step(2)}, steps, {columns}, {taken});");
            }

            w.Line($"RecurrenceChunks.Multiply<V>(steps, {plan.ValueColumns}, {At("queries", 0)}, {Step(0)}, {kept}, {read}, {width});");
            w.Line($"RecurrenceChunks.Scale<V>({read}, steps, {plan.ValueColumns}, fromStart);");
            w.Line($"RecurrenceChunks.AddBelow<V>({RecurrencePlan.Scores}, {plan.StepStride}, {taken}, {read}, steps, {plan.ValueColumns});");
            w.Line($"AttentionTiles.Store<V>({read}, steps, {columns}, {At("rows", kernel.Output)}, {Step(kernel.Output)});");
            w.Line($"RecurrenceChunks.Scale<V>({taken}, steps, {plan.ValueColumns}, toEnd);");
            w.Line($"RecurrenceChunks.Scale<V>({kept}, {width}, {plan.ValueColumns}, total);");
            w.Line($"RecurrenceChunks.Multiply<V>({width}, {plan.ValueColumns}, {product}, {taken}, {kept}, steps, adds: true);");
            w.Close();
            if (kernel.HasState)
            {
                w.Line();
                w.Line($"AttentionTiles.Store<V>({kept}, {width}, {columns}, own, {columns});");
            }

            w.Close();
        });
        return code;
    }
}
