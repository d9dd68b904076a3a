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

    /// <summary>The most groups of one call of the epilogue, where there is one row.</summary>
    private const int MostGroups = 64;

    /// <summary>The fewest groups that a worker takes together.</summary>
    private const int LeastGroups = 4;

    /// <summary>The most rows of one call of the epilogue.</summary>
    private const int MostRows = 32;

    public static KernelCode Emit(MatMulKernel kernel, BlockProductPlan plan)
    {
        StorageFormat format = kernel.Operands[1].Access.Format;
        var code = new KernelCode($"Linear_{Text.Extent(kernel.Rows)}x{kernel.Depth}x{kernel.Columns}_{format.Name}",
            $"{Text.Describe(kernel)}: [{kernel.Rows}, {kernel.Depth}] · [{kernel.Columns}, {kernel.Depth}]ᵀ, of {format} weights.", kernel, Arguments.Of(kernel.Rows) | MatMulEmitter.EpilogueArguments(kernel))
        {
            Workspace = plan.Workspace is null ? null : "workspace",
        };
        code.Generic("Each", code.Parameters, [(512, 512), (256, 256), (128, 128)], (w, name) => Emit(w, name, kernel, plan, format));
        MatMulEmitter.AddEpilogue(code, kernel);
        return code;
    }

    private static void Emit(CodeWriter w, Func<string, string> name, MatMulKernel kernel, BlockProductPlan plan, StorageFormat format)
    {
        (KernelOperand input, KernelOperand weight) = (kernel.Operands[0], kernel.Operands[1]);
        string rows = Text.RowCount(kernel.Rows), blocks = CodeWriter.Number(kernel.Depth / StorageFormat.BlockColumns), groupBytes = CodeWriter.Number((long)format.BlockBytes);
        bool isSingle = kernel.Rows == RowExtent.Literal(1);
        int groups = (kernel.Columns + Group - 1) / Group;
        bool isRagged = kernel.Columns % Group != 0;
        w.Line($"// {input.Name} in blocks of {StorageFormat.BlockColumns} numbers of 8 bits with a scale.");
        if (plan.IsInputShared)
        {
            w.Line("byte* x = (byte*)workspace;");
            w.Line($"BlockRows.QuantizeRows<{format}>(worker, {input.Name}, {input.Access.RowStride}, {rows}, {kernel.Depth}, x);");
        }
        else
        {
            w.Line("byte* x = worker.Scratch;");
            if (!isSingle)
            {
                w.Open($"for (int r = 0; r < {rows}; r++)");
            }

            w.Line(isSingle ? $"BlockRows.Quantize<{format}>({input.Name}, {kernel.Depth}, x);" : $"BlockRows.Quantize<{format}>({input.Name} + (long)r * {input.Access.RowStride}, {kernel.Depth}, x + (long)r * {plan.InputBytes});");
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
        int most = Math.Min(MostGroups, groups);
        w.Line($"float* sums = stackalloc float[{(isSingle ? most : Math.Min(MostRows, Math.Max(1, kernel.Rows.Maximum))) * Group}];");
        bool takesSeveral = isSingle || kernel.IsHelped();
        if (kernel.IsHelped())
        {
            w.Line($"worker.Share({groups});");
            w.Open($"while (worker.Take({(isSingle ? Math.Min(LeastGroups, most) : 1)}, {(isSingle ? most : LeastGroups)}, out int first, out int last))");
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
            if (plan.IsUnpacked)
            {
                w.Line($"BlockTile.Unpack<{format}>({weight.Name} + group * {groupBytes}L, {blocks}, unpacked);");
            }

            if (isRagged)
            {
                w.Line($"int columns = Math.Min({Group}, {kernel.Columns} - column);");
            }

            int mostRows = Math.Min(MostRows, kernel.Rows.Maximum);
            w.Open($"for (int row = 0; row < {rows}; row += {mostRows})");
            w.Line($"int height = Math.Min({mostRows}, {rows} - row);");
            w.Line(plan.IsUnpacked ? $"BlockTile.MultiplyUnpacked<V, {format}>(x + (long)row * {plan.InputBytes}, height, unpacked, {blocks}, sums);"
                : $"BlockTile.Multiply<V, {format}>(x + (long)row * {plan.InputBytes}, height, {weight.Name} + group * {groupBytes}L, {blocks}, sums);");
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

        if (takesSeveral)
        {
            w.Close();
        }
    }
}
