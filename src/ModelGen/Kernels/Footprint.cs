using System;
using System.Collections.Generic;
using System.Linq;
using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Ops;

namespace ModelGen.Compiler.Kernels;

/// <summary>The elements of its buffer that a kernel touches through one operand: the sums of a view's offset and any step of each stride.</summary>
/// <param name="View">Where they begin.</param>
/// <param name="Steps">Strides, and how many indices each is taken with.</param>
internal sealed record Footprint(View View, IReadOnlyList<(RowExtent Stride, RowExtent Count)> Steps)
{
    /// <summary>The last element for the largest counts, at position zero.</summary>
    public long Last => View.Offset + Reach(0);

    /// <summary>How many elements they are, at the most, where no two sums are the same.</summary>
    public long Elements
    {
        get
        {
            long product = 1;
            for (int i = 0; i < Steps.Count; i++)
            {
                product *= Steps[i].Stride.Coefficient != 0 ? Steps[i].Count.Maximum : 1;
            }

            return product;
        }
    }

    /// <summary>What a kernel reads, or what it writes; a loop's over all of its steps.</summary>
    public static IEnumerable<Footprint> Of(Kernel kernel, bool written)
    {
        if (kernel is LoopKernel loop)
        {
            return loop.Body.SelectMany(k => Of(k, written)).Select(f => new Footprint(
                f.View with { StepStride = 0 }, f.View.StepStride == 0 ? f.Steps : [.. f.Steps, (RowExtent.Literal(checked((int)f.View.StepStride)), loop.Steps)]));
        }

        return kernel.Operands.Select((o, i) => (o, i)).Where(p => p.o.IsWritten == written).Select(p => Of(kernel, p.i));
    }

    /// <summary>What a kernel touches through one of its operands.</summary>
    public static Footprint Of(Kernel kernel, int operand)
    {
        KernelOperand o = kernel.Operands[operand];
        return new Footprint(o.View, [.. Steps()]);

        IEnumerable<(RowExtent, RowExtent)> Steps() => kernel switch
        {
            RowKernel k => Over(k.Axes, k.Columns),
            ColumnSumKernel k => Over(k.Kept.Concat(k.Summed), k.Columns),
            MatMulKernel k => operand switch
            {
                0 => k.Form == MatMulForm.TN ? Matrix(RowExtent.Literal(k.Depth), k.Rows.Maximum) : Matrix(k.Rows, k.Depth),
                1 => k.Form == MatMulForm.NT ? Matrix(RowExtent.Literal(k.Columns), k.Depth) : Matrix(RowExtent.Literal(k.Depth), k.Columns),
                _ => Over(k.Axes, k.Columns),
            },
            AttentionKernel k => operand switch
            {
                _ when k.Op.HasTable && operand == k.Operands.Count - 1 => Matrix(RowExtent.Literal(k.Op.Bias!.TableRows), k.Op.Heads),
                0 or 3 => Matrix(k.Batch * k.Queries, k.Op.Heads * k.Op.HeadDim),
                1 or 2 when k.Caches > 0 => [(RowExtent.Literal(k.CacheStride), RowExtent.Literal(k.Caches)), .. Matrix(RowExtent.Literal(k.MaximumKeys), k.Op.KeyValueHeads * k.Op.HeadDim)],
                1 or 2 => Matrix(k.Batch * k.Keys, k.Op.KeyValueHeads * k.Op.HeadDim),
                4 when k.HasLogSumExp => Matrix(k.Batch * k.Queries, k.Op.Heads),
                _ when o.Name is AttentionKernel.NewestKeys or AttentionKernel.NewestValues => Matrix(RowExtent.Literal(1), k.Op.KeyValueHeads * k.Op.HeadDim),
                _ => Matrix(k.Batch, 1),
            },
            AttentionWeightsKernel k => operand switch
            {
                _ when k.Op.HasTable && operand == k.Operands.Count - 1 => Matrix(RowExtent.Literal(k.Op.Bias!.TableRows), k.Op.Heads),
                0 => Matrix(k.Batch * k.Queries, k.Op.Heads * k.Op.HeadDim),
                1 when k.Caches > 0 => [(RowExtent.Literal(k.CacheStride), RowExtent.Literal(k.Caches)), .. Matrix(RowExtent.Literal(k.MaximumKeys), k.Op.KeyValueHeads * k.Op.HeadDim)],
                1 => Matrix(k.Batch * k.Keys, k.Op.KeyValueHeads * k.Op.HeadDim),
                2 => Matrix(k.Batch * k.Queries, k.Op.Heads),
                3 => Matrix(k.Batch * k.Queries * RowExtent.Literal(k.Op.Heads), k.Columns),
                _ => Matrix(k.Batch, 1),
            },
            AttentionGradientKernel k => operand switch
            {
                _ when k.Op.HasTable && operand >= k.Operands.Count - 2 => Matrix(RowExtent.Literal(k.Op.Bias!.TableRows * (operand == k.Operands.Count - 1 ? k.Batch : 1)), k.Op.Heads),
                > 8 => Matrix(RowExtent.Literal(k.Batch), 1),
                4 => Matrix(RowExtent.Literal(k.Batch * k.Queries), k.Op.Heads),
                1 or 2 or 7 or 8 => Matrix(RowExtent.Literal(k.Batch * k.Keys), k.Op.KeyValueHeads * k.Op.HeadDim),
                _ => Matrix(RowExtent.Literal(k.Batch * k.Queries), k.Op.Heads * k.Op.HeadDim),
            },
            EmbeddingKernel k => operand switch
            {
                // The last row may end with its columns.
                0 => Matrix(RowExtent.Literal(checked((int)((o.View.Buffer.Elements - o.View.Offset + o.Access.RowStride - 1) / o.Access.RowStride))), k.Columns),
                1 => Matrix(k.Rows, 1),
                _ => Matrix(k.Rows, k.Columns),
            },
            ScatterKernel k => operand switch
            {
                0 => Matrix(k.Rows, k.Columns),
                1 => [.. Matrix(RowExtent.Literal(k.Sequences), k.Columns), (RowExtent.Literal(k.PositionStride), RowExtent.Literal(k.Positions))],
                _ => Matrix(k.Rows, 1),
            },
            EmbeddingGradientKernel k => operand switch
            {
                0 => Matrix(k.Rows, 1),
                1 => Matrix(k.Rows, k.Columns),
                _ => Matrix(RowExtent.Literal(k.TableRows), k.Columns),
            },
            AppendRowsKernel k => operand switch
            {
                0 => Matrix(k.Batch * k.Rows, k.Columns),
                1 => Matrix(k.Batch * RowExtent.Literal(k.StateRows), k.Columns),
                _ => Matrix(k.Batch, 1),
            },
            ChooseKernel k => operand is 0 or 2 ? Matrix(k.Rows, k.Experts) : Matrix(k.Rows * RowExtent.Literal(k.Chosen), 1),
            SortKernel k => Matrix(k.Rows * RowExtent.Literal(k.Chosen), 1),
            ExpertProductKernel k => operand switch
            {
                0 => Matrix(k.Rows, k.Depth),
                1 => Matrix(RowExtent.Literal(k.Matrices * k.MatrixRows), k.MatrixColumns),
                2 => Matrix(k.Rows, 1),
                _ => Matrix(k.Rows, k.Columns),
            },
            ExpertGradientKernel k => operand switch
            {
                0 => Matrix(RowExtent.Literal(k.Rows), k.MatrixRows),
                1 => Matrix(RowExtent.Literal(k.Rows), k.MatrixColumns),
                2 => Matrix(RowExtent.Literal(k.Rows), 1),
                _ => Matrix(RowExtent.Literal(k.Matrices * k.MatrixRows), k.MatrixColumns),
            },
            RecurrenceKernel k when operand > k.Output => Matrix(k.Batch * RowExtent.Literal(k.Sizes.Heads * k.Sizes.KeyWidth), k.Sizes.ValueWidth),
            RecurrenceKernel k => Over([k.Batch, k.Steps, RowExtent.Literal(k.RowsOf(operand).Rows)], k.RowsOf(operand).Columns),
            TransposeIndicesKernel k => [Run(RowExtent.Literal(k.Outer) * k.Inner)],
            _ => throw new GraphException($"{kernel.GetType().Name} does not say what it touches"),
        };

        IEnumerable<(RowExtent, RowExtent)> Over(IEnumerable<RowExtent> axes, int columns)
            => axes.Select((extent, i) => (o.Access.RowStrides[i], extent)).Append((RowExtent.Literal(o.Access.ColumnStride), RowExtent.Literal(o.Access.ColumnStride == 0 ? 1 : columns)));

        IEnumerable<(RowExtent, RowExtent)> Matrix(RowExtent rows, int columns) => [(RowExtent.Literal(o.Access.RowStride), rows), (RowExtent.Literal(1), RowExtent.Literal(columns))];
    }

    /// <summary>
    /// Whether two footprints have no element in common for any counts: one ends before the other begins, or the larger strides of
    /// both are multiples of one number, within which their smaller strides stay apart, as two ranges of columns do.
    /// </summary>
    public bool IsApartFrom(Footprint other)
    {
        if (View.Buffer != other.View.Buffer)
        {
            return true;
        }

        if (IsBehind(other) || other.IsBehind(this))
        {
            return true;
        }

        if (View.PositionStride != other.View.PositionStride || View.LastStride != other.View.LastStride || View.LastExtent != other.View.LastExtent || View.StepStride != other.View.StepStride)
        {
            return false;
        }

        if (Last < other.View.Offset || other.Last < View.Offset)
        {
            return true;
        }

        foreach (int stride in Steps.Concat(other.Steps).Where(s => s.Count != RowExtent.Literal(1)).Select(s => s.Stride.Coefficient).Where(s => s > 1).Distinct())
        {
            (long first, long last) = Within(stride);
            (long otherFirst, long otherLast) = other.Within(stride);
            if (last < stride && otherLast < stride && (last < otherFirst || otherLast < first))
            {
                return true;
            }
        }

        return Steps.Any(s => s.Stride.IsDynamic && other.Steps.Contains(s) && Along(s) is { } own && other.Along(s) is { } others && (own.Last < others.View.Offset || others.Last < own.View.Offset));
    }

    // What it touches at the first index of a step within which it stays for all counts, as steps of a sequence do within the sequence; null where it does not. A reach and a stride are of the first degree in each
    // count, so that what holds for the least and the largest of them holds between.
    private Footprint? Along((RowExtent Stride, RowExtent Count) step)
    {
        Footprint rest = new(View, [.. Steps.Where(s => s != step)]);
        Dim[] counts = [.. rest.Steps.SelectMany(s => s.Stride.Factors.Concat(s.Count.Factors)).Concat(step.Stride.Factors).Select(d => d + -d.Plus).Distinct()];
        bool stays = Enumerable.Range(0, 1 << counts.Length).All(corner =>
        {
            long Of(RowExtent extent) => extent.Factors.Aggregate((long)extent.Coefficient, (product, d) => product * (((corner >> Array.IndexOf(counts, d + -d.Plus)) & 1) == 0 ? 1 + d.Plus : d.Maximum));
            return View.Offset + rest.Steps.Sum(s => Of(s.Stride) * (Of(s.Count) - 1)) < Of(step.Stride);
        });
        return stays ? rest : null;
    }

    // Whether it moves with the last index of an extent, and begins behind what the other touches at that index, its last: for any count of the extent.
    private bool IsBehind(Footprint other)
    {
        if (View.LastStride <= 0 || other.View.LastStride != 0 || View.PositionStride != other.View.PositionStride || View.StepStride != other.View.StepStride)
        {
            return false;
        }

        int along = other.Steps.ToList().FindIndex(s => s.Stride == RowExtent.Literal(checked((int)View.LastStride)) && s.Count is { Coefficient: 1, Factors: { Count: 1 } factors } && factors[0].Symbol == View.LastExtent && factors[0].Plus == 0);
        return along >= 0 && new Footprint(other.View, [.. other.Steps.Where((_, i) => i != along)]).Last < View.Offset;
    }

    // Where the strides that are no multiples of a number reach, from the offset's place within it.
    private (long First, long Last) Within(int modulus)
    {
        long first = View.Offset % modulus;
        return (first, first + Reach(modulus));
    }

    // The elements from the first to the last along the strides that are no multiples of a number; along all of them for zero.
    private long Reach(int modulus)
    {
        long reach = 0;
        for (int i = 0; i < Steps.Count; i++)
        {
            (RowExtent stride, RowExtent count) = Steps[i];
            reach += modulus == 0 || stride.Coefficient % modulus != 0 ? (long)stride.Maximum * (count.Maximum - 1) : 0;
        }

        return reach;
    }

    private static (RowExtent Stride, RowExtent Count) Run(RowExtent count) => (RowExtent.Literal(1), count);
}
