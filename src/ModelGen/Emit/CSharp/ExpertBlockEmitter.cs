using System;
using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Kernels;
using ModelGen.Compiler.Targets.Cpu;

namespace ModelGen.Compiler.Emit.CSharp;

/// <summary>
/// Rows that each meet a quantized matrix of their own, by runs of rows that meet the same one. Workers divide the groups of 16 rows that a matrix has: of a run of few rows each reads the group as it lies; of a longer one the
/// group is unpacked once, where that pays. A row's bits are the same either way.
/// </summary>
internal static class ExpertBlockEmitter
{
    private const int Group = StorageFormat.GroupRows;

    /// <summary>The most rows whose sums wait to be stored.</summary>
    private const int MostRows = 32;

    /// <summary>Rows of a run from which on a group is unpacked: as many as meet it together.</summary>
    private const int UnpackedRows = 4;

    public static KernelCode Emit(ExpertProductKernel kernel, ExpertBlockPlan plan)
    {
        StorageFormat format = kernel.Operands[1].Access.Format;
        var code = new KernelCode($"ExpertMatMul_{Text.Extent(kernel.Rows)}x{kernel.Depth}x{kernel.Columns}_{format}",
            $"Each of [{kernel.Rows}, {kernel.Depth}] times its matrix of {kernel.Matrices} of [{kernel.MatrixRows}, {kernel.MatrixColumns}], of {format} weights.", kernel, Arguments.Of(kernel.Rows));
        code.Generic(w => Emit(w, kernel, plan, format));
        return code;
    }

    private static void Emit(CodeWriter w, ExpertProductKernel kernel, ExpertBlockPlan plan, StorageFormat format)
    {
        KernelOperand input = kernel.Operands[0];
        string rows = Text.RowCount(kernel.Rows), blocks = CodeWriter.Number(kernel.Depth / StorageFormat.BlockColumns), inputBytes = CodeWriter.Number(plan.InputBytes), groups = CodeWriter.Number(plan.Groups);
        int stride = kernel.Operands[3].Access.RowStride;
        if (plan.Blocks is not null)
        {
            w.Line($"byte* x = (byte*){input.Name}; // in blocks of {StorageFormat.BlockColumns} numbers of 8 bits with a scale");
        }
        else
        {
            w.Line($"// {input.Name} in blocks of {StorageFormat.BlockColumns} numbers of 8 bits with a scale.");
            w.Line("byte* x = worker.Scratch;");
            w.Open($"for (int i = 0; i < {rows}; i++)");
            w.Line($"BlockRows.Quantize({input.Name} + (long)i * {input.Access.RowStride}, {kernel.Depth}, x + (long)i * {inputBytes});");
            w.Close();
            w.Line();
        }

        if (plan.IsUnpacked)
        {
            w.Line($"byte* unpacked = {Text.Plus("worker.Scratch", plan.Scratch(0).OffsetOf(BlockProductPlan.Group) * PlanBuffer.WordBytes)};");
        }

        w.Line($"float* sums = stackalloc float[{Math.Min(MostRows, kernel.Rows.Maximum) * Group}];");
        if (kernel.IsHelped())
        {
            w.Line($"worker.Share({groups});");
            w.Open($"while (worker.Take({Math.Min(ExpertBlockPlan.LeastGroups, plan.Groups)}, {Math.Min(ExpertBlockPlan.MostGroups, plan.Groups)}, out int start, out int end))");
        }
        else
        {
            Text.Range(w, kernel.IsSerial(), groups, 1);
        }

        ExpertEmitter.OpenRuns(w, rows);
        w.Line($"byte* matrix = weights + expert * {CodeWriter.Number(format.Distance((long)kernel.MatrixRows * kernel.MatrixColumns))}L;");
        w.Open("for (int group = start; group < end; group++)");
        w.Line($"byte* those = matrix + group * {CodeWriter.Number((long)format.BlockBytes)}L;");
        w.Line($"int row = r;");
        int height = Math.Min(MostRows, kernel.Rows.Maximum);
        if (kernel.Rows.Maximum >= UnpackedRows)
        {
            w.Open($"if (last - r >= {UnpackedRows})");
            if (plan.IsUnpacked)
            {
                w.Line($"BlockTile.Unpack<{format}>(those, {blocks}, unpacked);");
            }

            w.Open($"for (; row < last; row += {height})");
            w.Line($"int several = Math.Min({height}, last - row);");
            w.Line(plan.IsUnpacked ? $"BlockTile.MultiplyUnpacked<V, {format}>(x + (long)row * {inputBytes}, several, unpacked, {blocks}, sums);" : $"BlockTile.Multiply<V, {format}>(x + (long)row * {inputBytes}, several, those, {blocks}, sums);");
            w.Open("for (int i = 0; i < several; i++)");
            w.Line($"new global::System.Span<float>(sums + i * {Group}, {Group}).CopyTo(new global::System.Span<float>(output + (long)(row + i) * {stride} + group * {Group}, {Group}));");
            w.Close();
            w.Close();
            w.Close();
            w.Line();
        }

        w.Open("for (; row < last; row++)");
        w.Line($"BlockTile.Multiply<V, {format}>(x + (long)row * {inputBytes}, those, {blocks}, output + (long)row * {stride} + group * {Group});");
        w.Close();
        w.Close();
        w.Line();
        w.Line("r = last;");
        w.Close();
        if (kernel.IsHelped())
        {
            w.Close();
        }
    }
}
