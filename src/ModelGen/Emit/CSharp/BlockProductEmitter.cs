using System;
using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Kernels;
using ModelGen.Compiler.Targets.Cpu;

namespace ModelGen.Compiler.Emit.CSharp;

/// <summary>
/// Products with quantized weights: the rows of the input are rounded to blocks of 8-bit numbers, and groups of 16 rows of the weights meet them, a block at a time, in integer
/// products. Of a single row, memory gives the weights once, and the epilogue reads many sums at a time; of several, a group stays in the first-level cache while all rows meet it.
/// </summary>
internal static class BlockProductEmitter
{
    private const int Group = StorageFormat.GroupRows;

    /// <summary>The most rows of one call of the epilogue.</summary>
    private const int MostRows = 32;

    public static KernelCode Emit(MatMulKernel kernel, BlockProductPlan plan, bool ofPiece)
    {
        StorageFormat format = kernel.Operands[1].Access.Format;
        var code = new KernelCode($"Linear_{Text.Extent(kernel.Rows)}x{kernel.Depth}x{kernel.Columns}_{format.Name}",
            $"{Text.Describe(kernel)}: [{kernel.Rows}, {kernel.Depth}] · [{kernel.Columns}, {kernel.Depth}]ᵀ, of {format} weights{(ofPiece ? ", some columns" : "")}.", kernel, Arguments.Of(kernel.Rows) | MatMulEmitter.EpilogueArguments(kernel))
        {
            IsOfPiece = ofPiece,
        };
        code.Generic("Each", code.Parameters, [(512, 512), (256, 256), (128, 128)], (w, name) => Emit(w, name, kernel, plan, format, ofPiece));
        MatMulEmitter.AddEpilogue(code, kernel);
        return code;
    }

    public static KernelCode Emit(RoundKernel kernel)
    {
        int bytes = BlockProductPlan.BytesOfRow(kernel.Depth);
        var code = new KernelCode($"Round_{Text.Extent(kernel.Rows)}x{kernel.Depth}", $"[{kernel.Rows}, {kernel.Depth}] in blocks of {StorageFormat.BlockColumns} numbers of 8 bits with a scale.",
            kernel, Arguments.Of(kernel.Rows));
        code.Generic(w =>
        {
            KernelOperand source = kernel.Operands[0];
            if (kernel.Rows == RowExtent.Literal(1))
            {
                w.Line($"BlockRows.Quantize({source.Name}, {kernel.Depth}, (byte*){kernel.Operands[1].Name});");
                return;
            }

            Text.Range(w, kernel.IsSerial(), Text.RowCount(kernel.Rows), 1);
            w.Open("for (int r = start; r < end; r++)");
            w.Line($"BlockRows.Quantize({source.Name} + (long)r * {source.Access.RowStride}, {kernel.Depth}, (byte*){kernel.Operands[1].Name} + (long)r * {bytes});");
            w.Close();
        });
        return code;
    }

    private static void Emit(CodeWriter w, Func<string, string> name, MatMulKernel kernel, BlockProductPlan plan, StorageFormat format, bool ofPiece)
    {
        (KernelOperand input, KernelOperand weight) = (kernel.Operands[0], kernel.Operands[1]);
        string rows = Text.RowCount(kernel.Rows), blocks = CodeWriter.Number(kernel.Depth / StorageFormat.BlockColumns), groupBytes = CodeWriter.Number((long)format.BlockBytes);
        bool isSingle = kernel.Rows == RowExtent.Literal(1);
        int groups = plan.Pieces.Units;
        bool isRagged = kernel.Columns % Group != 0;
        if (plan.Blocks is not null)
        {
            w.Line($"byte* x = (byte*){input.Name}; // in blocks of {StorageFormat.BlockColumns} numbers of 8 bits with a scale");
        }
        else
        {
            w.Line($"// {input.Name} in blocks of {StorageFormat.BlockColumns} numbers of 8 bits with a scale.");
            w.Line("byte* x = worker.Scratch;");
            if (!isSingle)
            {
                w.Open($"for (int r = 0; r < {rows}; r++)");
            }

            w.Line(isSingle ? $"BlockRows.Quantize({input.Name}, {kernel.Depth}, x);" : $"BlockRows.Quantize({input.Name} + (long)r * {input.Access.RowStride}, {kernel.Depth}, x + (long)r * {plan.InputBytes});");
            if (!isSingle)
            {
                w.Close();
            }
        }

        if (plan.IsUnpacked)
        {
            long at = plan.Scratch(0).OffsetOf(BlockProductPlan.Group) * PlanBuffer.WordBytes;
            w.Line($"byte* unpacked = {Text.Plus("worker.Scratch", at)};");
        }

        w.Line();
        int most = plan.Pieces.Most;
        w.Line($"float* sums = stackalloc float[{(isSingle ? most : Math.Min(MostRows, Math.Max(1, kernel.Rows.Maximum))) * Group}];");
        bool takesSeveral = isSingle || kernel.IsHelped() || ofPiece;
        if (ofPiece)
        {
            // The caller has taken the groups.
        }
        else if (kernel.IsHelped())
        {
            w.Line($"worker.Share({groups});");
            w.Open($"while (worker.Take({plan.Pieces.Least}, {most}, out int first, out int last))");
        }
        else
        {
            Text.Range(w, kernel.IsSerial(), CodeWriter.Number(groups), 1);
            if (isSingle)
            {
                w.Open($"for (int first = start; first < end; first += {most})");
                w.Line($"int last = Math.Min(first + {most}, end);");
            }
        }

        w.Open(takesSeveral ? "for (int group = first; group < last; group++)" : "for (int group = start; group < end; group++)");
        if (isSingle)
        {
            w.Line($"BlockTile.Multiply<V, {format}>(x, {weight.Name} + group * {groupBytes}L, {blocks}, sums + (group - first) * {Group});");
            w.Close();
            w.Line();
            w.Line($"int column = first * {Group};");
            w.Line($"int columns = {(isRagged ? $"Math.Min((last - first) * {Group}, {kernel.Columns} - column)" : $"(last - first) * {Group}")};");
            w.Line(MatMulEmitter.EpilogueCall(name, kernel, "sums", "0", "1", "column", "columns"));
        }
        else
        {
            w.Line($"int column = group * {Group};");
            bool hasFew = plan.IsUnpacked && kernel.Rows.IsDynamic;
            if (hasFew)
            {
                w.Open($"if ({rows} > {BlockProductPlan.FewRows})");
            }

            if (plan.IsUnpacked)
            {
                w.Line($"BlockTile.Unpack<{format}>({weight.Name} + group * {groupBytes}L, {blocks}, unpacked);");
            }

            if (hasFew)
            {
                w.Close();
                w.Line();
            }

            if (isRagged)
            {
                w.Line($"int columns = Math.Min({Group}, {kernel.Columns} - column);");
            }

            int mostRows = Math.Min(MostRows, kernel.Rows.Maximum);
            w.Open($"for (int row = 0; row < {rows}; row += {mostRows})");
            w.Line($"int height = Math.Min({mostRows}, {rows} - row);");
            if (hasFew)
            {
                w.Open($"if ({rows} <= {BlockProductPlan.FewRows})");
                w.Open("for (int r = 0; r < height; r++)");
                w.Line($"BlockTile.Multiply<V, {format}>(x + (long)(row + r) * {plan.InputBytes}, {weight.Name} + group * {groupBytes}L, {blocks}, sums + r * {Group});");
                w.Close();
                w.Close();
                w.Open("else");
            }

            w.Line(plan.IsUnpacked ? $"BlockTile.MultiplyUnpacked<V, {format}>(x + (long)row * {plan.InputBytes}, height, unpacked, {blocks}, sums);"
                : $"BlockTile.Multiply<V, {format}>(x + (long)row * {plan.InputBytes}, height, {weight.Name} + group * {groupBytes}L, {blocks}, sums);");
            if (hasFew)
            {
                w.Close();
                w.Line();
            }

            if (isRagged)
            {
                // Rows of a narrower tile would lie closer to each other.
                w.Open($"if (columns < {Group})");
                w.Open("for (int r = 0; r < height; r++)");
                w.Line(MatMulEmitter.EpilogueCall(name, kernel, $"sums + r * {Group}", "(row + r)", "1", "column", "columns"));
                w.Close();
                w.Line();
                w.Line("continue;");
                w.Close();
                w.Line();
            }

            w.Line(MatMulEmitter.EpilogueCall(name, kernel, "sums", "row", "height", "column", CodeWriter.Number(Group)));
            w.Close();
            w.Close();
        }

        if (takesSeveral && !ofPiece)
        {
            w.Close();
        }
    }
}
