using System.Collections.Generic;
using System.Linq;
using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Kernels;
using ModelGen.Compiler.Targets.Cpu;

namespace ModelGen.Compiler.Emit.CSharp;

/// <summary>Sums over rows: a block of columns at a time, so that sums stay in registers and no worker adds to another's.</summary>
internal static class ColumnSumEmitter
{
    private const int BlockVectors = 4;

    public static KernelCode Emit(ColumnSumKernel kernel)
    {
        ArgumentKinds arguments = Arguments.Of(kernel.Sums) | Addressing.Arguments(kernel.Kept.Concat(kernel.Summed), kernel.Operands);
        bool keeps = KeepsRows(kernel);
        var code = new KernelCode($"ColumnSum_{Text.Extent(kernel.SummedRows * kernel.KeptRows)}x{kernel.Columns}" + (keeps ? $"_{Text.Extent(kernel.KeptRows)}" : ""),
            $"{Text.Describe(kernel)}: sums over {kernel.SummedRows} rows of {kernel.Columns} columns{(keeps ? $", for each of {kernel.KeptRows} rows" : "")}.", kernel, arguments);
        code.ForEachWidth((w, _, v) =>
        {
            if (keeps)
            {
                Text.Range(w, kernel.IsSerial(), Text.RowCount(kernel.KeptRows), 1);
                w.Open("for (int p = start; p < end; p++)");
                Blocks(w, kernel, v, "0", CodeWriter.Number(kernel.Columns), literalEnd: true);
                w.Close();
            }
            else
            {
                Text.Range(w, kernel.IsSerial(), CodeWriter.Number(kernel.Columns), BlockVectors * v.Lanes);
                Blocks(w, kernel, v, "start", "end", literalEnd: false);
            }
        });
        return code;
    }

    private static bool KeepsRows(ColumnSumKernel kernel) => kernel.KeptRows != RowExtent.Literal(1);

    /// <summary>Elements to the row that the loops over the kept and over the summed rows are at.</summary>
    private static string Row(ColumnSumKernel kernel, IReadOnlyList<RowExtent> strides)
    {
        string kept = Addressing.Row(kernel.Kept, [.. strides.Take(kernel.Kept.Count)], "p");
        string summed = Addressing.Row(kernel.Summed, [.. strides.Skip(kernel.Kept.Count)]);
        return kept == "0" || !KeepsRows(kernel) ? summed : summed == "0" ? kept : $"{kept} + {summed}";
    }

    private static void Blocks(CodeWriter w, ColumnSumKernel kernel, Spelling v, string start, string end, bool literalEnd)
    {
        w.Line($"int c = {start};");
        foreach (int vectors in new[] { BlockVectors, 1 })
        {
            if (vectors * v.Lanes > kernel.Columns)
            {
                continue;
            }

            w.Open($"for (; c <= {end} - {vectors * v.Lanes}; c += {vectors * v.Lanes})");
            Block(w, kernel, v, vectors, null);
            w.Close();
        }

        if (kernel.Columns % v.Lanes != 0)
        {
            w.Open($"if (c < {end})");
            Block(w, kernel, v, 1, CodeWriter.Number(kernel.Columns % v.Lanes));
            w.Close();
        }
    }

    private static void Block(CodeWriter w, ColumnSumKernel kernel, Spelling v, int vectors, string? tail)
    {
        for (int s = 0; s < kernel.Sums.Count; s++)
        {
            w.Line($"{v.Type} {string.Join(", ", Enumerable.Range(0, vectors).Select(j => $"sum{s}_{j} = {v.Type}.Zero"))};");
        }

        w.Open($"for (int r = 0; r < {Text.RowCount(kernel.SummedRows)}; r++)");
        foreach (KernelOperand operand in kernel.Operands.Where(o => !o.IsWritten && o.Access.Kind == AccessKind.Element))
        {
            w.Line($"float* {operand.Name}_r = {Addressing.Column($"{operand.Name} + {Row(kernel, operand.Access.RowStrides)}", "c", operand.Access.ColumnStride)};");
        }

        var scalars = new Dictionary<Expr, string>();
        var broadcasts = new Dictionary<Expr, string>();
        for (int j = 0; j < vectors; j++)
        {
            var emitter = new ExprEmitter(w, v, new Leaves(kernel, v, j, tail), $"e{j}", scalars, broadcasts);
            foreach (Store sum in kernel.Sums)
            {
                emitter.Count(sum.Value);
            }

            for (int s = 0; s < kernel.Sums.Count; s++)
            {
                w.Line($"sum{s}_{j} += {emitter.Vector(kernel.Sums[s].Value)};");
            }
        }

        w.Close();
        for (int s = 0; s < kernel.Sums.Count; s++)
        {
            KernelOperand target = kernel.Operands[kernel.Sums[s].Operand];
            string row = KeepsRows(kernel) ? $"{target.Name} + {Addressing.Row(kernel.Kept, [.. target.Access.RowStrides.Take(kernel.Kept.Count)], "p")}" : target.Name;
            for (int j = 0; j < vectors; j++)
            {
                string column = j == 0 ? "c" : $"c + {j * v.Lanes}";
                Addressing.Store(w, v, $"sum{s}_{j}", Addressing.Column(row, column, target.Access.ColumnStride), tail, kernel.Sums[s].Mode, target.Access.ColumnStride);
            }
        }
    }

    private sealed class Leaves(ColumnSumKernel kernel, Spelling v, int vector, string? tail) : IExprLeaves
    {
        public string Accumulator => "";

        public string Columns => $"({v.Broadcast($"(float)(c + {vector * v.Lanes})")} + Simd.Lanes{v.Bits})";

        public string Elements => $"{v.Class}.Create((uint)(({Row(kernel, kernel.RowNumber)}) * {kernel.Columns} + c + {vector * v.Lanes})) + Vector{v.Bits}<uint>.Indices";

        public bool VariesByColumn(int operand) => kernel.Operands[operand].Access.Kind is AccessKind.Element or AccessKind.ColumnVector;

        public string Scalar(OperandExpr operand)
        {
            KernelOperand o = kernel.Operands[operand.Operand];
            return $"{o.Name}[{Row(kernel, o.Access.RowStrides)}]";
        }

        public string Vector(OperandExpr operand)
        {
            KernelOperand o = kernel.Operands[operand.Operand];
            int stride = o.Access.ColumnStride;
            string pointer = Text.Plus(o.Access.Kind == AccessKind.Element ? $"{o.Name}_r" : Addressing.Column(o.Name, "c", stride), vector * v.Lanes * stride);
            return Addressing.Load(v, pointer, tail, stride);
        }
    }
}

/// <summary>Gathers, scatters and index shuffles: memory traffic without arithmetic.</summary>
internal static class GatherEmitter
{
    public static KernelCode Emit(EmbeddingKernel kernel)
    {
        var code = new KernelCode($"Embedding_{Text.Extent(kernel.Rows)}x{kernel.Columns}", $"Rows of a table by index: [{kernel.Rows}, {kernel.Columns}].", kernel, Arguments.Of(kernel.Rows));
        code.Method("", code.Parameters, (w, _) =>
        {
            Text.Range(w, kernel.IsSerial(), Text.RowCount(kernel.Rows), 1);
            w.Open("for (int r = start; r < end; r++)");
            w.Line($"new global::System.ReadOnlySpan<float>(table + (long)indices[r] * {kernel.Operands[0].Access.RowStride}, {kernel.Columns}).CopyTo(new global::System.Span<float>(output + (long)r * {kernel.Operands[2].Access.RowStride}, {kernel.Columns}));");
            w.Close();
        });
        return code;
    }

    // Workers divide the columns: every table element is one worker's, and rows are added in their order.
    public static KernelCode Emit(EmbeddingGradientKernel kernel)
    {
        var code = new KernelCode($"EmbeddingGradient_{kernel.Rows}x{kernel.Columns}", $"Adds {kernel.Rows} rows of {kernel.Columns} into the table rows that the indices name.", kernel,
            kernel.Mode == StoreMode.AddWhenAccumulating ? ArgumentKinds.Accumulate : ArgumentKinds.None);
        code.ForEachWidth((w, _, v) =>
        {
            Text.Range(w, kernel.IsSerial(), CodeWriter.Number(kernel.Columns), 16);
            if (kernel.Mode != StoreMode.Add)
            {
                if (kernel.Mode == StoreMode.AddWhenAccumulating)
                {
                    w.Open("if (!accumulate)");
                }

                w.Open($"for (int r = 0; r < {kernel.TableRows}; r++)");
                w.Line($"new global::System.Span<float>(table + (long)r * {kernel.Operands[2].Access.RowStride} + start, end - start).Clear();");
                w.Close();
                if (kernel.Mode == StoreMode.AddWhenAccumulating)
                {
                    w.Close();
                }
            }

            w.Open($"for (int r = 0; r < {kernel.Rows}; r++)");
            w.Line($"float* row = rows + (long)r * {kernel.Operands[1].Access.RowStride};");
            w.Line($"float* target = table + (long)indices[r] * {kernel.Operands[2].Access.RowStride};");
            w.Line("int c = start;");
            w.Open($"for (; c <= end - {v.Lanes}; c += {v.Lanes})");
            Text.VectorStore(w, v, v.Load("row + c"), "target + c", null, StoreMode.Add);
            w.Close();
            w.Open("if (c < end)");
            Text.VectorStore(w, v, v.LoadTail("row + c", "end - c"), "target + c", "end - c", StoreMode.Add);
            w.Close();
            w.Close();
        });
        return code;
    }

    public static KernelCode Emit(TransposeIndicesKernel kernel)
    {
        var code = new KernelCode($"TransposeIndices_{kernel.Outer}x{Text.Extent(kernel.Inner)}", $"Indices [{kernel.Outer}, {kernel.Inner}] as [{kernel.Inner}, {kernel.Outer}].", kernel, Arguments.Of(kernel.Inner));
        code.Method("", code.Parameters, (w, _) =>
        {
            string inner = Text.RowCount(kernel.Inner);
            Text.Range(w, kernel.IsSerial(), inner, 16);
            w.Open($"for (int b = 0; b < {kernel.Outer}; b++)");
            w.Open("for (int t = start; t < end; t++)");
            w.Line($"output[t * {kernel.Outer} + b] = input[b * {inner} + t];");
            w.Close();
            w.Close();
        });
        return code;
    }
}
