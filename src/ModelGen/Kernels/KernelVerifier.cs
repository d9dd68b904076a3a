using System;
using System.Collections.Generic;
using System.Linq;
using System.Runtime.CompilerServices;
using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Ops;

namespace ModelGen.Compiler.Kernels;

/// <summary>
/// The rules that hold for a program of kernels after every stage: what kernels say of themselves is complete, every operand lies inside its
/// buffer for all counts, what is read has been written, and no element is written twice but to be added to.
/// </summary>
internal static class KernelVerifier
{
    /// <summary>Checks a program.</summary>
    /// <exception cref="GraphException">A rule is broken.</exception>
    public static void Verify(KernelProgram program, string after, bool gradientsAdd = true)
        => Verify(program.Kernels, program.Inputs.Values.Select(v => v.Buffer), program.Counts, after, gradientsAdd);

    /// <summary>Checks kernels in order.</summary>
    /// <param name="kernels">The kernels, before memory is planned or after.</param>
    /// <param name="inputs">Buffers that the caller fills.</param>
    /// <param name="counts">The symbolic extents with their largest values.</param>
    /// <param name="after">The stage that came before, for the message.</param>
    /// <param name="gradientsAdd">Whether it has been decided which contributions to a gradient are added.</param>
    /// <exception cref="GraphException">A rule is broken.</exception>
    public static void Verify(IReadOnlyList<Kernel> kernels, IEnumerable<PlanBuffer> inputs, IReadOnlyList<Dim> counts, string after, bool gradientsAdd = true)
    {
        var writes = new Dictionary<PlanBuffer, List<Write>>();
        var given = new HashSet<PlanBuffer>(inputs);
        foreach (Kernel kernel in kernels)
        {
            if (kernel is not LoopKernel loop)
            {
                Visit(kernel, null, []);
                continue;
            }

            // What a step reads of an earlier step's, in another slot of the same buffer, that step has written.
            Write[] ofSteps = loop.Body.SelectMany(k => WritesOf(k, loop)).ToArray();
            foreach (Kernel inner in loop.Body)
            {
                Require(inner is not LoopKernel, inner, $"it is a loop inside a loop");
                Visit(inner, loop, ofSteps);
            }
        }

        void Visit(Kernel kernel, LoopKernel? loop, Write[] ofSteps)
        {
            VerifyParts(kernel, Require);
            Footprint[] touched = Enumerable.Range(0, kernel.Operands.Count).Select(i => Footprint.Of(kernel, i)).ToArray();
            for (int i = 0; i < touched.Length; i++)
            {
                KernelOperand operand = kernel.Operands[i];
                Footprint whole = Expand(touched[i], loop);
                long last = whole.Last + (operand.View.LastStride == 0 ? 0 : operand.View.LastStride * (counts.Where(c => c.Symbol == operand.View.LastExtent).Select(c => (long)c.Maximum).DefaultIfEmpty(1).Max() - 1));
                Require(whole.View.Offset >= 0 && last < operand.View.Buffer.Elements, kernel,
                    $"{operand.Name} is elements {whole.View.Offset} to {last} of the buffer {operand.View.Buffer}, which has {operand.View.Buffer.Elements}");
                Require(operand.Access.Format == operand.View.Buffer.Format, kernel, $"{operand.Name} is taken for {operand.Access.Format}, but the buffer {operand.View.Buffer} holds {operand.View.Buffer.Format}");
                Require(operand.View.StepStride == 0 || loop is not null, kernel, $"{operand.Name} moves with the steps of no loop");
                for (int j = 0; j < i; j++)
                {
                    Require(!(operand.IsWritten || kernel.Operands[j].IsWritten) || operand.View.Buffer.Space == MemorySpace.Gradients || touched[i].IsApartFrom(touched[j]) || IsReplaced(kernel, i, j), kernel, $"{operand.Name} and {kernel.Operands[j].Name} overlap, and one of them is written");
                }

                if (!operand.IsWritten && operand.View.Buffer.Space == MemorySpace.Arena && !given.Contains(operand.View.Buffer))
                {
                    VerifyWritten(kernel, operand, touched[i], whole, ofSteps);
                }
            }

            foreach (Write write in WritesOf(kernel, loop))
            {
                List<Write> earlier = Listed(write.Region.View.Buffer);
                if (write.Region.View.Buffer.Space is MemorySpace.Arena || (gradientsAdd && write.Region.View.Buffer.Space is MemorySpace.Gradients))
                {
                    Require(DistinctElements(write), kernel, $"it writes elements of {write.Region.View.Buffer} more than once");
                    foreach (Write other in earlier)
                    {
                        Require(write.Mode == StoreMode.Add || write.Region.IsApartFrom(other.Region), kernel, $"it writes over what {other.Kernel.Name} wrote in {write.Region.View.Buffer}");
                    }
                }

                earlier.Add(write);
            }
        }

        void VerifyWritten(Kernel kernel, KernelOperand operand, Footprint read, Footprint whole, Write[] ofSteps)
        {
            List<Footprint> sources = Listed(operand.View.Buffer).Select(w => w.Region).ToList();
            if (read.View.StepStride != 0)
            {
                sources.AddRange(ofSteps.Where(w => w.Region.View.Buffer == operand.View.Buffer && w.Step.View.StepStride != 0 && w.Step.IsApartFrom(read)).Select(w => w.Region));
            }

            // As many elements as are read, and from the first to the last one without a gap between what was written.
            long elements = (sources.Count > 1 ? sources.Distinct() : sources).Sum(s => s.Elements);
            long reached = whole.View.Offset;
            foreach (Footprint source in sources.OrderBy(s => s.View.Offset))
            {
                if (source.View.Offset <= reached)
                {
                    reached = Math.Max(reached, source.Last + 1);
                }
            }

            Require(sources.Count > 0 && (sources.Any(s => s.View.PositionStride != 0 || s.View.LastStride != 0) || (elements >= whole.Elements && reached > whole.Last)), kernel,
                $"{operand.Name} reads elements {whole.View.Offset} to {whole.Last} of {operand.View.Buffer}, of which what was written before reaches to {reached - 1}, {elements} elements");
        }

        List<Write> Listed(PlanBuffer buffer)
        {
            if (!writes.TryGetValue(buffer, out List<Write>? list))
            {
                writes.Add(buffer, list = []);
            }

            return list;
        }

        void Require(bool condition, Kernel kernel, [InterpolatedStringHandlerArgument(nameof(condition))] ProblemText problem)
        {
            if (!condition)
            {
                throw new GraphException($"after {after}: the {kernel.GetType().Name} '{kernel.Name}': {problem}");
            }
        }
    }

    /// <summary>Whether a state's next element is stored where the one that it is computed from has been read for the last time.</summary>
    private static bool IsReplaced(Kernel kernel, int first, int second)
        => kernel.Operands[first].View is { Buffer.Space: MemorySpace.State } view && view == kernel.Operands[second].View
            && kernel.InPlaceCandidates.Any(p => (p.Read == first && p.Written == second) || (p.Read == second && p.Written == first));

    /// <summary>How a kernel's stores through an operand meet what is there.</summary>
    private static StoreMode ModeOf(Kernel kernel, int operand) => kernel switch
    {
        RowKernel k => ModeOf(k.Phases.SelectMany(p => p.Stores), operand),
        ColumnSumKernel k => ModeOf(k.Sums, operand),
        MatMulKernel k => ModeOf(k.Stores, operand),
        EmbeddingGradientKernel k => k.Mode,
        ExpertGradientKernel k => k.Mode,
        _ => StoreMode.Replace,
    };

    private static StoreMode ModeOf(IEnumerable<Store> stores, int operand) => stores.First(s => s.Operand == operand).Mode;

    /// <summary>The operands that are written, in the order in which they are.</summary>
    private static IEnumerable<int> WrittenOf(Kernel kernel)
        => kernel is RowKernel row ? row.Phases.SelectMany(p => p.Stores).Select(s => s.Operand) : Enumerable.Range(0, kernel.Operands.Count).Where(i => kernel.Operands[i].IsWritten);

    private static IEnumerable<Write> WritesOf(Kernel kernel, LoopKernel? loop)
        => WrittenOf(kernel).Select(i =>
        {
            Footprint step = Footprint.Of(kernel, i);

            // What is summed over has no stride in the result, which is one element all the while.
            step = kernel is ColumnSumKernel ? step with { Steps = [.. step.Steps.Where(s => s.Stride.Coefficient != 0)] } : step;
            return new Write(kernel, step, Expand(step, loop), ModeOf(kernel, i));
        });

    private static Footprint Expand(Footprint step, LoopKernel? loop)
        => loop is null || step.View.StepStride == 0 ? step
            : new Footprint(step.View with { StepStride = 0 }, [.. step.Steps, (RowExtent.Literal(checked((int)step.View.StepStride)), loop.Steps)]);

    // Each stride passes over all that the smaller ones reach.
    private static bool DistinctElements(Write write)
    {
        long reach = 0;
        foreach ((RowExtent stride, RowExtent count) in write.Step.Steps.Where(s => s.Count.Maximum > 1).OrderBy(s => s.Stride.Maximum))
        {
            if (stride.Maximum <= reach)
            {
                return false;
            }

            reach += (long)stride.Maximum * (count.Maximum - 1);
        }

        return true;
    }

    private static void VerifyParts(Kernel kernel, Check require)
    {
        switch (kernel)
        {
            case RowKernel k:
                VerifyOperands(k.Operands, k.Axes.Count, anyColumns: true);
                var known = new HashSet<int>();
                foreach (RowPhase phase in k.Phases)
                {
                    VerifyStores(phase.Stores, known, accumulator: false);
                    foreach (Reduction reduction in phase.Reductions)
                    {
                        VerifyExpr(reduction.Value, known, accumulator: false);
                    }

                    known.UnionWith(phase.Reductions.Select(r => r.Index));
                }

                break;
            case ColumnSumKernel k:
                VerifyOperands(k.Operands, k.Kept.Count + k.Summed.Count, anyColumns: true);
                VerifyStores(k.Sums, [], accumulator: false);
                require(k.RowNumber.Count == k.Kept.Count + k.Summed.Count, k, $"its rows are not numbered along every axis");
                break;
            case MatMulKernel k:
                require(RowExtent.Product(k.Axes) == k.Rows, k, $"its axes make {RowExtent.Product(k.Axes)} rows of {k.Rows}");
                VerifyOperands(k.Operands.Skip(2), k.Axes.Count, anyColumns: false);
                VerifyMatrices(k.Operands.Take(2));
                VerifyStores(k.Stores, [], accumulator: true);
                require(k.Form == MatMulForm.NT || !k.RowByRow, k, $"only the rows of a linear layer are summed one by one");
                break;
            case AttentionKernel k:
                VerifyMatrices(k.Operands);
                VerifyIndices(k.HasLogSumExp ? 5 : 4, k.Range.InputNames, k.Op.HasTable ? ["bias"] : []);
                require(!k.Range.IsRing || (k.Range is { IsCached: true, IsCausal: true, Window: { } window } && k.Range.Kept + window + (long)k.Queries.Maximum <= k.MaximumKeys), k, $"its ring of {k.MaximumKeys} rows does not hold what {k.Queries} queries see");
                require(k.Caches > 0 == k.Range.HasSequences && (k.Caches < 2 || k.CacheStride >= (long)k.MaximumKeys * k.Operands[1].Access.RowStride), k, $"its {k.Caches} caches lie {k.CacheStride} elements apart");
                require(k.Range.IsCached || k.Range is { IsCausal: false, Window: null, Pattern: null } || k.Queries == k.Keys, k, $"it has {k.Queries} queries for {k.Keys} keys of one sequence");
                require(!k.Range.IsCached || !k.Keys.IsDynamic, k, $"its caches have {k.Keys} rows");
                break;
            case AttentionWeightsKernel k:
                VerifyMatrices(k.Operands);
                VerifyIndices(4, k.Op.Range.InputNames, k.Op.HasTable ? ["bias"] : []);
                require(k.Caches > 0 == k.Op.Range.HasSequences && (k.Caches < 2 || k.CacheStride >= (long)k.MaximumKeys * k.Operands[1].Access.RowStride), k, $"its {k.Caches} caches lie {k.CacheStride} elements apart");
                require(k.Op.Range.IsRing || k.Columns >= k.MaximumKeys, k, $"it has {k.Columns} weights for {k.Keys} keys");
                require(k.Op.Range.IsCached || k.Op.Range is { IsCausal: false, Window: null, Pattern: null } || k.Queries == k.Keys, k, $"it has {k.Queries} queries for {k.Keys} keys of one sequence");
                require(!k.Op.Range.IsRing || (k.Op.Range is { IsCached: true, IsCausal: true, Window: { } seen } && k.Op.Range.Kept + seen + (long)k.Queries.Maximum <= k.MaximumKeys), k, $"its ring of {k.MaximumKeys} rows does not hold what {k.Queries} queries see");
                require(!k.Op.Range.IsCached || !k.Keys.IsDynamic, k, $"its caches have {k.Keys} rows");
                break;
            case AttentionGradientKernel k:
                VerifyMatrices(k.Operands);
                VerifyIndices(9, k.Range.InputNames, k.Op.HasTable ? ["bias", "d_bias"] : []);
                require(!k.Range.IsCached, k, $"caches have no gradient");
                break;
            case ScatterKernel k:
                VerifyMatrices(k.Operands);
                VerifyIndices(2, k.HasPositions ? ["sequences", "positions"] : ["sequences"]);
                require(k.Operands[1].Access.RowStride >= k.Columns + ((k.Positions - 1L) * k.PositionStride) && (k.Positions == 1 || k.PositionStride >= k.Columns), k, $"its {k.Positions} positions of {k.Sequences} sequences overlap");
                break;
            case AppendRowsKernel k:
                VerifyMatrices(k.Operands);
                VerifyIndices(2, new[] { "positions", "lengths" }.Where(k.Has));
                require(k.Rows.Maximum <= k.StateRows - k.Kept && k.Kept >= 0 && (k.IsRing || k.Kept == 0), k, $"it appends {k.Rows} rows to {k.StateRows}");
                break;
            case RecurrenceKernel k:
                VerifyOperands(k.Operands.Take(k.Output + 1), axes: 3, anyColumns: false);
                VerifyMatrices(k.Operands.Skip(k.Output + 1));
                require(k.Operands.Count == k.Output + (k.HasState ? 2 : 1) && Enumerable.Range(0, k.Output + 1).All(i => k.RowsOf(i).Columns == 1 || k.Operands[i].Access.ColumnStride == 1), k, $"its heads' columns do not follow each other");
                require(!k.HasState || k.Operands[k.Output + 1].Access.RowStride == k.Sizes.ValueWidth, k, $"its states do not follow each other");
                break;
            default:
                VerifyMatrices(kernel.Operands);
                break;
        }

        // Behind the first operands, one number for each sequence; then those that are none.
        void VerifyIndices(int first, IEnumerable<string> names, params string[] others)
            => require(kernel.Operands.Skip(first).Select(o => o.Name).SequenceEqual(names.Concat(others)) && kernel.Operands.Skip(first).All(o => others.Contains(o.Name) || (!o.IsWritten && o.Access is { Element: ElementType.Int32, RowStride: 1 })), kernel,
                $"behind {first} operands it has {string.Join(", ", kernel.Operands.Skip(first).Select(o => $"{o.Name} ({o.Access.Element})"))} for {string.Join(", ", names)} of each sequence");

        void VerifyOperands(IEnumerable<KernelOperand> operands, int axes, bool anyColumns)
        {
            foreach (KernelOperand operand in operands)
            {
                require(operand.Access.RowStrides.Count == axes, kernel, $"{operand.Name} has {operand.Access.RowStrides.Count} strides for {axes} axes");
                require(operand.Access.Element == ElementType.Float32 || operand.Access.ColumnStride == 0, kernel, $"{operand.Name} are indices along the columns");
                require(anyColumns || operand.Access.ColumnStride is 0 or 1, kernel, $"{operand.Name} has columns {operand.Access.ColumnStride} elements apart");
            }
        }

        void VerifyMatrices(IEnumerable<KernelOperand> operands)
        {
            foreach (KernelOperand operand in operands)
            {
                require(operand.Access.IsMatrix, kernel, $"{operand.Name} is no matrix of evenly spaced rows");
            }
        }

        void VerifyStores(IEnumerable<Store> stores, HashSet<int> known, bool accumulator)
        {
            foreach (Store store in stores)
            {
                require(store.Operand >= 0 && store.Operand < kernel.Operands.Count && kernel.Operands[store.Operand].IsWritten, kernel, $"it stores into operand {store.Operand}, which is no result");
                VerifyExpr(store.Value, known, accumulator);
            }
        }

        void VerifyExpr(Expr root, HashSet<int> known, bool accumulator) => ExprTransforms.Visit(root, e =>
        {
            switch (e)
            {
                case OperandExpr o:
                    require(o.Operand >= 0 && o.Operand < kernel.Operands.Count && !kernel.Operands[o.Operand].IsWritten, kernel, $"it reads operand {o.Operand}, which is nothing to read");
                    break;
                case RowValueExpr r:
                    require(known.Contains(r.Index), kernel, $"it reads the reduction {r.Index}, which no earlier phase computes");
                    break;
                case AccumulatorExpr:
                    require(accumulator, kernel, $"it reads the accumulator of a product that it is not");
                    break;
            }
        });
    }

    private delegate void Check(bool condition, Kernel kernel, [InterpolatedStringHandlerArgument(nameof(condition))] ProblemText problem);

    /// <summary>What one operand of a kernel writes: in one step, and in all of them.</summary>
    private sealed record Write(Kernel Kernel, Footprint Step, Footprint Region, StoreMode Mode);
}
