using System;
using System.Collections.Generic;
using System.Linq;
using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Kernels;
using ModelGen.Compiler.Targets.Cpu;

namespace ModelGen.Compiler.Emit.CSharp;

/// <summary>Sums over rows: a block of columns at a time, so that sums stay in registers and no worker adds to another's.</summary>
internal sealed class ColumnSumEmitter
{
    private const int BlockVectors = 4;

    private const int MostLanes = 16;

    private static readonly Spelling V = Spelling.Generic;

    private readonly CodeWriter _w;
    private readonly ColumnSumKernel _kernel;

    private ColumnSumEmitter(CodeWriter w, ColumnSumKernel kernel)
    {
        _w = w;
        _kernel = kernel;
    }

    public static KernelCode Emit(ColumnSumKernel kernel)
    {
        ArgumentKinds arguments = Arguments.Of(kernel.Sums) | Addressing.Arguments(kernel.Kept.Concat(kernel.Summed), kernel.Operands);
        bool keeps = KeepsRows(kernel);
        var code = new KernelCode($"ColumnSum_{Text.Extent(kernel.SummedRows * kernel.KeptRows)}x{kernel.Columns}" + (keeps ? $"_{Text.Extent(kernel.KeptRows)}" : ""),
            $"{Text.Describe(kernel)}: sums over {kernel.SummedRows} rows of {kernel.Columns} columns{(keeps ? $", for each of {kernel.KeptRows} rows" : "")}.", kernel, arguments);
        code.Generic(w => new ColumnSumEmitter(w, kernel).Emit());
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

    private void Emit()
    {
        if (KeepsRows(_kernel))
        {
            Text.Range(_w, _kernel.IsSerial(), Text.RowCount(_kernel.KeptRows), 1);
            _w.Open("for (int p = start; p < end; p++)");
            Blocks("0", CodeWriter.Number(_kernel.Columns));
            _w.Close();
        }
        else
        {
            Text.Range(_w, _kernel.IsSerial(), CodeWriter.Number(_kernel.Columns), V.LanesOf(BlockVectors));
            Blocks("start", "end");
        }
    }

    // Shares begin at whole blocks, so that what is left over is known at compile time.
    private void Blocks(string start, string end)
    {
        int columns = _kernel.Columns;
        if (columns % (BlockVectors * MostLanes) == 0)
        {
            _w.Open($"for (int c = {start}; c < {end}; c += {V.LanesOf(BlockVectors)})");
            Block(BlockVectors, null);
            _w.Close();
            return;
        }

        _w.Line($"int c = {start};");
        foreach (int vectors in new[] { BlockVectors, 1 })
        {
            // Four lanes are the fewest of a vector.
            if (4 * vectors <= columns)
            {
                _w.Open($"for (; c <= {end} - {V.LanesOf(vectors)}; c += {V.LanesOf(vectors)})");
                Block(vectors, null);
                _w.Close();
            }
        }

        if (columns % MostLanes != 0)
        {
            _w.Open($"if (c < {end})");
            Block(1, $"{columns} % V.Lanes");
            _w.Close();
        }
    }

    private void Block(int vectors, string? tail)
    {
        for (int s = 0; s < _kernel.Sums.Count; s++)
        {
            _w.Line($"V {string.Join(", ", Enumerable.Range(0, vectors).Select(j => $"sum{s}_{j} = V.Zero"))};");
        }

        _w.Open($"for (int r = 0; r < {Text.RowCount(_kernel.SummedRows)}; r++)");
        foreach (KernelOperand operand in _kernel.Operands.Where(o => !o.IsWritten && o.Access.Kind == AccessKind.Element))
        {
            _w.Line($"float* {operand.Name}_r = {Addressing.Column($"{operand.Name} + {Row(_kernel, operand.Access.RowStrides)}", "c", operand.Access.ColumnStride)};");
        }

        var scalars = new Dictionary<Expr, string>();
        var broadcasts = new Dictionary<Expr, string>();
        for (int j = 0; j < vectors; j++)
        {
            var emitter = new ExprEmitter(_w, V, new Leaves(_kernel, j, tail), $"e{j}", scalars, broadcasts);
            foreach (Store sum in _kernel.Sums)
            {
                emitter.Count(sum.Value);
            }

            for (int s = 0; s < _kernel.Sums.Count; s++)
            {
                _w.Line($"sum{s}_{j} += {emitter.Vector(_kernel.Sums[s].Value)};");
            }
        }

        _w.Close();
        for (int s = 0; s < _kernel.Sums.Count; s++)
        {
            KernelOperand target = _kernel.Operands[_kernel.Sums[s].Operand];
            string row = KeepsRows(_kernel) ? $"{target.Name} + {Addressing.Row(_kernel.Kept, [.. target.Access.RowStrides.Take(_kernel.Kept.Count)], "p")}" : target.Name;
            for (int j = 0; j < vectors; j++)
            {
                Addressing.Store(_w, V, $"sum{s}_{j}", Addressing.Column(row, "c" + Ahead(j), target.Access.ColumnStride), tail, _kernel.Sums[s].Mode, target.Access.ColumnStride);
            }
        }
    }

    private static string Ahead(int vectors) => vectors == 0 ? "" : $" + {V.LanesOf(vectors)}";

    private sealed class Leaves(ColumnSumKernel kernel, int vector, string? tail) : IExprLeaves
    {
        public string Accumulator => throw new InvalidOperationException("a sum over rows has no accumulator");

        public string Column => "c" + Ahead(vector);

        public string Element => $"({Row(kernel, kernel.RowNumber)}) * {kernel.Columns} + {Column}";

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
            string pointer = o.Access.Kind == AccessKind.Element ? $"{o.Name}_r" : Addressing.Column(o.Name, "c", stride);
            return Addressing.Load(V, vector == 0 ? pointer : Addressing.Column(pointer, V.LanesOf(vector), stride), tail, stride);
        }
    }
}

/// <summary>Gathers, scatters and index shuffles: memory traffic without arithmetic.</summary>
internal static class GatherEmitter
{
    public static KernelCode Emit(EmbeddingKernel kernel)
    {
        var code = new KernelCode($"Embedding_{Text.Extent(kernel.Rows)}x{kernel.Columns}", $"Rows of a table by index: [{kernel.Rows}, {kernel.Columns}].", kernel, Arguments.Of(kernel.Rows));
        code.Plain(w =>
        {
            Text.Range(w, kernel.IsSerial(), Text.RowCount(kernel.Rows), 1);
            w.Open("for (int r = start; r < end; r++)");
            if (kernel.Operands[0].Access.Format is { IsPlain: false } packed)
            {
                w.Line($"BlockRows.Read(global::ModelGen.WeightFormat.{packed}, table, indices[r], {kernel.Columns}, output + (long)r * {kernel.Operands[2].Access.RowStride});");
                w.Close();
                return;
            }

            w.Line($"new global::System.ReadOnlySpan<float>(table + (long)indices[r] * {kernel.Operands[0].Access.RowStride}, {kernel.Columns}).CopyTo(new global::System.Span<float>(output + (long)r * {kernel.Operands[2].Access.RowStride}, {kernel.Columns}));");
            w.Close();
        });
        return code;
    }

    public static KernelCode Emit(ScatterKernel kernel)
    {
        var code = new KernelCode($"ScatterRows_{Text.Extent(kernel.Rows)}x{kernel.Columns}", $"Writes [{kernel.Rows}, {kernel.Columns}] into rows of states by the number of their sequence{(kernel.HasPositions ? " and their position" : "")}{(kernel.IsRing ? " in a ring" : "")}.", kernel, Arguments.Of(kernel.Rows));
        code.Plain(w =>
        {
            Text.Range(w, kernel.IsSerial(), Text.RowCount(kernel.Rows), 1);
            w.Open("for (int r = start; r < end; r++)");
            string row = kernel.IsRing ? RingRow("positions[r]", kernel.Positions, kernel.Kept) : "positions[r]";
            KernelOperand states = kernel.Operands[1];
            string target = $"states + (long)sequences[r] * {CacheText.Step(states, states.Access.RowStride)}{(kernel.HasPositions ? $" + (long){row} * {CacheText.Step(states, kernel.PositionStride)}" : "")}";
            w.Line(CacheText.Copy(states, $"input + (long)r * {kernel.Operands[0].Access.RowStride}", kernel.Columns, target));
            w.Close();
        });
        return code;
    }

    /// <summary>The row that a position lies in, of a ring of so many rows of which the first ones are kept.</summary>
    public static string RingRow(string position, int rows, int kept)
        => kept == 0 ? $"(int)((uint){position} % {rows})" : $"({position} < {kept} ? {position} : {kept} + (int)((uint)({position} - {kept}) % {rows - kept}))";

    // Workers divide the columns: every table element is one worker's, and rows are added in their order.
    public static KernelCode Emit(EmbeddingGradientKernel kernel)
    {
        var code = new KernelCode($"EmbeddingGradient_{Text.Extent(kernel.Rows)}x{kernel.Columns}", $"Adds {kernel.Rows} rows of {kernel.Columns} into the table rows that the indices name.", kernel,
            Arguments.Of(kernel.Rows) | (kernel.Mode == StoreMode.AddWhenAccumulating ? ArgumentKinds.Accumulate : ArgumentKinds.None));
        code.Generic(w =>
        {
            const int MostLanes = 16;
            Spelling v = Spelling.Generic;
            Text.Range(w, kernel.IsSerial(), CodeWriter.Number(kernel.Columns), MostLanes);
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

            w.Open($"for (int r = 0; r < {Text.RowCount(kernel.Rows)}; r++)");
            w.Line($"float* row = rows + (long)r * {kernel.Operands[1].Access.RowStride};");
            w.Line($"float* target = table + (long)indices[r] * {kernel.Operands[2].Access.RowStride};");
            if (kernel.Columns % MostLanes == 0)
            {
                w.Open("for (int c = start; c < end; c += V.Lanes)");
                Text.VectorStore(w, v, v.Load("row + c"), "target + c", null, StoreMode.Add);
                w.Close();
            }
            else
            {
                w.Line("int c = start;");
                w.Open("for (; c <= end - V.Lanes; c += V.Lanes)");
                Text.VectorStore(w, v, v.Load("row + c"), "target + c", null, StoreMode.Add);
                w.Close();
                w.Open("if (c < end)");
                Text.VectorStore(w, v, v.LoadTail("row + c", "end - c"), "target + c", "end - c", StoreMode.Add);
                w.Close();
            }

            w.Close();
        });
        return code;
    }

    public static KernelCode Emit(AppendRowsKernel kernel)
    {
        bool hasPositions = kernel.Has("positions"), hasLengths = kernel.Has("lengths");
        string count = Text.RowCount(kernel.Rows);
        var code = new KernelCode($"AppendRows_{Text.Extent(kernel.Batch)}x{Text.Extent(kernel.Rows)}x{kernel.Columns}",
            $"Rows [{kernel.Batch}, {kernel.Rows}, {kernel.Columns}] into states of {kernel.StateRows} rows, at {(hasPositions ? "each sequence's" : "the run's")} position{(kernel.IsRing ? " in a ring" : "")}.", kernel,
            Arguments.Of(kernel.Batch) | Arguments.Of(kernel.Rows) | (hasPositions ? ArgumentKinds.None : ArgumentKinds.Position));
        code.Plain(w =>
        {
            KernelOperand states = kernel.Operands[1];
            string stride = CacheText.Step(states, states.Access.RowStride), row = kernel.IsRing ? RingRow("(position + t)", kernel.StateRows, kernel.Kept) : "(position + t)";
            if (CacheText.IsRounded(states) && kernel.Batch == RowExtent.Literal(1) && !hasPositions && !hasLengths)
            {
                // Rounding is work: of one sequence, its rows are divided.
                Text.Range(w, kernel.IsSerial(), count, 1);
                w.Open($"for (int t = start; t < {(kernel.IsRing ? "end" : $"Math.Min(end, {kernel.StateRows} - position)")}; t++)");
                w.Line(CacheText.Copy(states, $"rows + (long)t * {kernel.Operands[0].Access.RowStride}", kernel.Columns, $"state + (long){row} * {stride}"));
                w.Close();
                return;
            }

            Text.OpenUnits(w, kernel, Text.RowCount(kernel.Batch), "sequence");
            if (hasPositions)
            {
                w.Line("int position = positions[sequence];");
            }

            string length = hasLengths ? $"Math.Min(lengths[sequence], {count})" : count;
            w.Line($"int length = {(kernel.IsRing ? length : $"Math.Min({length}, {kernel.StateRows} - position)")};");
            w.Line($"float* source = rows + (long)sequence * {count} * {kernel.Operands[0].Access.RowStride};");
            w.Line($"{KernelCode.Pointed(states)}* target = state + (long)sequence * {CacheText.Step(states, (long)kernel.StateRows * states.Access.RowStride)};");
            w.Open("for (int t = 0; t < length; t++)");
            w.Line(CacheText.Copy(states, $"source + (long)t * {kernel.Operands[0].Access.RowStride}", kernel.Columns, $"target + (long){row} * {stride}"));
            w.Close();
            w.Close();
        });
        return code;
    }

    public static KernelCode Emit(TransposeIndicesKernel kernel)
    {
        var code = new KernelCode($"TransposeIndices_{kernel.Outer}x{Text.Extent(kernel.Inner)}", $"Indices [{kernel.Outer}, {kernel.Inner}] as [{kernel.Inner}, {kernel.Outer}].", kernel, Arguments.Of(kernel.Inner));
        code.Plain(w =>
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
