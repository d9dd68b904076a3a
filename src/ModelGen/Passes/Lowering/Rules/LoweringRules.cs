using System;
using System.Collections.Generic;
using System.Linq;
using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Kernels;
using ModelGen.Compiler.Ops;

namespace ModelGen.Compiler.Passes;

/// <summary>
/// How each operator with kernels of its own becomes kernels: one rule for each. Element-wise operators, row reductions and products are
/// lowered in clusters (<see cref="ClusterRule"/>), and views are addresses (<see cref="Placement"/>).
/// </summary>
internal static class LoweringRules
{
    private static readonly Dictionary<Type, Action<Lowering, Node>> Rules = new()
    {
        [typeof(Constant)] = LowerConstant,
        [typeof(ColumnSum)] = ColumnSumRule.Lower,
        [typeof(Embedding)] = LowerEmbedding,
        [typeof(EmbeddingGradient)] = LowerEmbeddingGradient,
        [typeof(TransposeIndices)] = LowerTransposeIndices,
        [typeof(AppendState)] = LowerAppendState,
        [typeof(ScatterRows)] = LowerScatterRows,
        [typeof(Attention)] = LowerAttention,
        [typeof(AttentionWeights)] = LowerAttentionWeights,
        [typeof(AttentionGradient)] = LowerAttentionGradient,
        [typeof(ConcatColumns)] = LowerConcatColumns,
        [typeof(PadRows)] = LowerPadding,
        [typeof(PadColumns)] = LowerPadding,
        [typeof(Preceded)] = LowerLongerSequence,
        [typeof(PadSteps)] = LowerLongerSequence,
        [typeof(Route)] = LowerRoute,
        [typeof(ExpertMatMul)] = LowerExpertMatMul,
        [typeof(ExpertWeightGradient)] = LowerExpertWeightGradient,
        [typeof(ChunkedRecurrence)] = LowerRecurrence,
        [typeof(Scan)] = ScanRule.Lower,
    };

    /// <exception cref="GraphException">An operator that needs kernels of its own has no rule.</exception>
    public static void Lower(Lowering lowering, Node node)
    {
        if (Rules.TryGetValue(node.Op.GetType(), out Action<Lowering, Node>? rule))
        {
            rule(lowering, node);
        }
        else if (node.Op is CompositeOperator || (node.Op is KernelOperator && !Fusion.IsRowDomain(node)))
        {
            throw new GraphException($"{node}: no rule lowers {node.Op.Mnemonic}");
        }
    }

    private static void LowerConstant(Lowering lowering, Node node)
    {
        var value = new Value(node, 0);
        if (lowering.Fusion.IsStored(value))
        {
            lowering.Fill(lowering.Placement.PlaceOf(value), value.Shape, ((Constant)node.Op).Value, "zeros", lowering.PositionOf(node));
        }
    }

    private static void LowerEmbedding(Lowering lowering, Node node)
    {
        Shape shape = node.Outputs[0].Shape;
        KernelOperand[] operands = [Read(lowering, node, 0, "table"), ReadIndices(lowering, node, 1, "indices"), Write(lowering, node, 0, "output")];
        Add(lowering, node, new EmbeddingKernel(node.Name, operands, shape.Rows, shape.Columns, 8L * shape.MaximumElements));
    }

    private static void LowerEmbeddingGradient(Lowering lowering, Node node)
    {
        int rows = ((EmbeddingGradient)node.Op).Rows;
        Shape cotangent = node.Inputs[1].Shape;
        KernelOperand[] operands = [ReadIndices(lowering, node, 0, "indices"), Read(lowering, node, 1, "rows"), Write(lowering, node, 0, "table")];
        Add(lowering, node, new EmbeddingGradientKernel(node.Name, operands, cotangent.Rows, cotangent.Columns, rows, lowering.Placement.ModeOf(new Value(node, 0)), (8L * cotangent.MaximumElements) + (4L * rows * cotangent.Columns)));
    }

    private static void LowerRoute(Lowering lowering, Node node)
    {
        Shape scores = node.Inputs[0].Shape;
        int chosen = ((Route)node.Op).Chosen;
        KernelOperand choices = Write(lowering, node, Route.Choices, "choices");
        Add(lowering, node, new ChooseKernel(node.Name, [Read(lowering, node, 0, "scores"), choices, Write(lowering, node, Route.Mask, "mask")], scores.Rows, scores.Columns, chosen, node.Op.Flops(node), 8L * scores.MaximumElements));
        KernelOperand[] operands = [choices with { IsWritten = false }, Write(lowering, node, Route.Rows, "rows"), Write(lowering, node, Route.Experts, "experts"), Write(lowering, node, Route.Copies, "copies")];
        Add(lowering, node, new SortKernel(node.Name, operands, scores.Rows, scores.Columns, chosen, 16L * scores.Rows.Maximum * chosen));
    }

    private static void LowerExpertMatMul(Lowering lowering, Node node)
    {
        (Shape x, Shape weights, Shape y) = (node.Inputs[0].Shape, node.Inputs[1].Shape, node.Outputs[0].Shape);
        KernelOperand[] operands = [Read(lowering, node, 0, "input"), Read(lowering, node, 1, "weights"), ReadIndices(lowering, node, 2, "indices"), Write(lowering, node, 0, "output")];
        int matrices = weights[0].Maximum;
        long bytes = (4 * (x.MaximumElements + y.MaximumElements)) + (operands[1].Access.Format.Bytes(weights.MaximumElements) / matrices * Math.Min(matrices, x.Rows.Maximum));
        Add(lowering, node, new ExpertProductKernel(node.Name, operands, x.Rows, matrices, y.Columns, x.Columns, ((ExpertMatMul)node.Op).IsTransposed, node.Op.Flops(node), bytes));
    }

    private static void LowerExpertWeightGradient(Lowering lowering, Node node)
    {
        (Shape left, Shape right, Shape matrices) = (node.Inputs[0].Shape, node.Inputs[1].Shape, node.Outputs[0].Shape);
        if (left.Rows.IsDynamic)
        {
            throw new GraphException($"{node}: adds up a dynamic number of rows");
        }

        KernelOperand[] operands = [Read(lowering, node, 0, "lefts"), Read(lowering, node, 1, "rights"), ReadIndices(lowering, node, 2, "indices"), Write(lowering, node, 0, "matrices")];
        long bytes = 4 * (left.MaximumElements + right.MaximumElements + matrices.MaximumElements);
        Add(lowering, node, new ExpertGradientKernel(node.Name, operands, left.Rows.Maximum, matrices[0].Maximum, left.Columns, right.Columns, lowering.Placement.ModeOf(new Value(node, 0)), node.Op.Flops(node), bytes));
    }

    private static void LowerTransposeIndices(Lowering lowering, Node node)
    {
        Shape input = node.Inputs[0].Shape;
        if (!input[0].IsLiteral)
        {
            throw new GraphException($"{node}: a dynamic batch");
        }

        KernelOperand[] operands = [ReadIndices(lowering, node, 0, "input"), Write(lowering, node, 0, "output")];
        Add(lowering, node, new TransposeIndicesKernel(node.Name, operands, input[0].Maximum, RowExtent.Of(input[1]), 8L * input.MaximumElements));
    }

    private static void LowerAppendState(Lowering lowering, Node node)
    {
        var append = (AppendState)node.Op;
        Shape rows = node.Inputs[1].Shape;
        TensorView state = lowering.ViewOf(node.Inputs[0]);
        if (append is { IsRing: false, HasPositions: false, HasLengths: false } && state.Base.Buffer.Format.IsPlain)
        {
            TensorView sequences = state.Strides.Count == 2 ? state.Prepend(RowExtent.Literal(0)) : state;
            lowering.Copy(node.Inputs[1], sequences with { Base = sequences.Base with { PositionStride = TensorView.Literal(sequences.Strides[1]) } }, StoreMode.Replace, node.Name, lowering.PositionOf(node));
            return;
        }

        KernelOperand[] operands = [Read(lowering, node, 1, "rows"), Write(node, "state", node.Inputs[0].Type, state), .. Indices(lowering, node, 2, append.InputNames)];
        Add(lowering, node, new AppendRowsKernel(node.Name, operands, RowExtent.Of(rows[0]), RowExtent.Of(rows[1]), node.Inputs[0].Shape[-2].Maximum, rows.Columns, append.IsRing, 8L * rows.MaximumElements) { Kept = append.Kept });
    }

    private static void LowerScatterRows(Lowering lowering, Node node)
    {
        var value = new Value(node, 0);
        TensorView states = lowering.ViewOf(node.Inputs[0]);
        Shape shape = value.Shape, rows = node.Inputs[1].Shape;
        bool hasPositions = node.Inputs.Count == 4;
        KernelOperand[] indices = [ReadIndices(lowering, node, 2, "sequences"), .. hasPositions ? [ReadIndices(lowering, node, 3, "positions")] : Array.Empty<KernelOperand>()];
        var table = new KernelOperand("states", states.Base, Access.Matrix(TensorView.Literal(states.Strides[0]), states.Base.Buffer.Format), IsWritten: true);
        KernelOperand[] operands = [Read(lowering, node, 1, "input"), table, .. indices];
        var kernel = new ScatterKernel(node.Name, operands, rows.Rows, rows.Columns, shape[0].Maximum,
            hasPositions ? shape[1].Maximum : 1, hasPositions ? TensorView.Literal(states.Strides[1]) : 0, 8 * rows.MaximumElements)
        { Derivation = Derivations.Of(node, operands), IsRing = ((ScatterRows)node.Op).IsRing, Kept = ((ScatterRows)node.Op).Kept };

        // What nobody reads as it is then is written when nobody reads any more what it was before.
        lowering.Schedule.Add(kernel, lowering.PositionOf(node), lowering.Readers[value].Any() ? Turn.Node : Turn.Last);
    }

    private static void LowerAttention(Lowering lowering, Node node)
    {
        var attention = (Attention)node.Op;
        Shape q = node.Inputs[0].Shape;
        bool ofSequences = attention.Range.HasSequences;
        bool logSumExp = lowering.Readers[new Value(node, 1)].Any();
        var operands = new List<KernelOperand> { Read(lowering, node, 0, "q"), Keys(lowering, node, attention.Range, 1, "k"), Keys(lowering, node, attention.Range, 2, "v"), Write(lowering, node, 0, "output") };
        if (logSumExp)
        {
            operands.Add(Write(lowering, node, 1, "logsumexp"));
        }

        operands.AddRange(Indices(lowering, node, 3, attention.Range.InputNames));
        operands.AddRange(Table(lowering, node, attention));
        Add(lowering, node, new AttentionKernel(node.Name, operands, attention, RowExtent.Of(q[0]), RowExtent.Of(q[1]), RowExtent.Of(node.Inputs[1].Shape[-2]), logSumExp, attention.Flops(node), 16L * q.MaximumElements)
        {
            Caches = ofSequences ? node.Inputs[1].Shape[0].Maximum : 0,
            CacheStride = ofSequences ? TensorView.Literal(lowering.ViewOf(node.Inputs[1]).Strides[0]) : 0,
        });
    }

    /// <summary>Keys or values. Those of sequences have other states between them; what is one's own is a matrix.</summary>
    private static KernelOperand Keys(Lowering lowering, Node node, KeyRange range, int input, string name)
    {
        if (!range.HasSequences)
        {
            return Read(lowering, node, input, name);
        }

        TensorView caches = lowering.ViewOf(node.Inputs[input]);
        return new KernelOperand(name, caches.Base, Access.Matrix(TensorView.Literal(caches.Strides[1]), caches.Base.Buffer.Format), IsWritten: false);
    }

    /// <summary>The table of a learned bias, which is the last input.</summary>
    private static IEnumerable<KernelOperand> Table(Lowering lowering, Node node, Attention attention)
        => attention.HasTable ? [Read(lowering, node, node.Inputs.Count - 1, "bias")] : [];

    private static void LowerAttentionWeights(Lowering lowering, Node node)
    {
        var weights = (AttentionWeights)node.Op;
        Shape shape = node.Outputs[0].Shape;
        bool ofSequences = weights.Of.Range.HasSequences;
        KernelOperand[] operands =
        [
            Read(lowering, node, 0, "q"), Keys(lowering, node, weights.Of.Range, 1, "k"), Read(lowering, node, 2, "logsumexp"), Write(lowering, node, 0, "weights"),
            .. Indices(lowering, node, AttentionWeights.Tensors, weights.Of.Range.InputNames), .. Table(lowering, node, weights.Of),
        ];
        Add(lowering, node, new AttentionWeightsKernel(node.Name, operands, weights.Of, RowExtent.Of(shape[0]), RowExtent.Of(shape[2]), RowExtent.Of(node.Inputs[1].Shape[-2]), shape.Columns, weights.Flops(node), 4 * shape.MaximumElements)
        {
            Caches = ofSequences ? node.Inputs[1].Shape[0].Maximum : 0,
            CacheStride = ofSequences ? TensorView.Literal(lowering.ViewOf(node.Inputs[1]).Strides[0]) : 0,
        });
    }

    private static void LowerRecurrence(Lowering lowering, Node node)
    {
        var recurrence = (ChunkedRecurrence)node.Op;
        (Shape keys, Shape values) = (node.Inputs[1].Shape, node.Inputs[2].Shape);
        KernelOperand OfHeads(string name, Value value, TensorView view, bool isWritten)
        {
            RowExtent[] strides = [.. view.Strides.Take(3)];
            return new KernelOperand(name, view.Base, new Access(view.Base.Buffer.Format, new(strides), value.Shape.Rank > 3 ? 1 : 0), isWritten);
        }

        // Heads lie apart in rows of something wider; their columns follow each other.
        KernelOperand ReadHeads(int input, string name)
        {
            Value value = node.Inputs[input];
            TensorView view = lowering.ViewOf(value);
            return OfHeads(name, value, value.Shape.Rank > 3 && value.Shape.Columns > 1 && view.Strides[3] != RowExtent.Literal(1) ? lowering.CopyOf(value) : view, isWritten: false);
        }

        var read = new Value(node, 0);
        var operands = new List<KernelOperand> { ReadHeads(0, "q"), ReadHeads(1, "k"), ReadHeads(2, "v"), ReadHeads(3, "decays") };
        if (recurrence.IsCorrected)
        {
            operands.Add(ReadHeads(RecurrenceKernel.Strengths, "beta"));
        }

        operands.Add(OfHeads("output", read, lowering.Placement.PlaceOf(read), isWritten: true));
        bool hasState = node.Inputs.Count > recurrence.Tensors;
        if (hasState)
        {
            Value state = node.Inputs[recurrence.Tensors];
            TensorView place = state.Op is StateRead ? lowering.ViewOf(state) : throw new GraphException($"{node}: goes on from {state}, which is no state");
            operands.Add(Write(node, "state", state.Type, place));
            lowering.Placement.SetView(new Value(node, 1), place);
        }

        var sizes = new RecurrenceSizes(keys[2].Maximum, values[2].Maximum, keys.Columns, values.Columns, recurrence.Chunk);
        Add(lowering, node, new RecurrenceKernel(node.Name, operands, RowExtent.Of(keys[0]), RowExtent.Of(keys[1]), sizes, recurrence.IsCorrected, hasState, recurrence.Flops(node), 8 * (keys.MaximumElements + values.MaximumElements)));
    }

    private static void LowerAttentionGradient(Lowering lowering, Node node)
    {
        var gradient = (AttentionGradient)node.Op;
        Shape q = node.Inputs[0].Shape;
        if (!q[0].IsLiteral || !q[1].IsLiteral || !node.Inputs[1].Shape[1].IsLiteral)
        {
            throw new GraphException($"{node}: a gradient over dynamic extents");
        }

        string[] reads = ["q", "k", "v", "output", "logsumexp", "d_output"];
        string[] writes = ["dq", "dk", "dv"];
        KernelOperand[] operands = [.. reads.Select((name, i) => Read(lowering, node, i, name)), .. writes.Select((name, i) => Write(lowering, node, i, name)),
            .. Indices(lowering, node, AttentionGradient.Tensors, gradient.Of.Range.InputNames),
            .. Table(lowering, node, gradient.Of), .. gradient.Of.HasTable ? [Write(lowering, node, 3, "d_bias")] : Array.Empty<KernelOperand>()];
        Add(lowering, node, new AttentionGradientKernel(node.Name, operands, gradient.Of, q[0].Maximum, q[1].Maximum, node.Inputs[1].Shape[1].Maximum, gradient.Flops(node), 36L * q.MaximumElements));
    }

    private static void LowerConcatColumns(Lowering lowering, Node node)
    {
        TensorView whole = lowering.ViewOf(new Value(node, 0));
        int offset = 0;
        foreach (Value part in node.Inputs)
        {
            TensorView place = whole.Columns(offset);
            if (!lowering.Placement.IsStoredAt(part, place))
            {
                lowering.Copy(part, place, StoreMode.Replace, node.Name, lowering.PositionOf(node));
            }

            offset += part.Shape.Columns;
        }
    }

    // A sequence among other steps, which are those before it or zeros.
    private static void LowerLongerSequence(Lowering lowering, Node node)
    {
        TensorView whole = lowering.ViewOf(new Value(node, 0));
        Value content = node.Inputs[0];
        Shape shape = content.Shape;
        TensorView place = Placement.PartOf(whole, node.Op);
        if (!lowering.Placement.IsStoredAt(content, place))
        {
            lowering.Copy(content, place, StoreMode.Replace, node.Name, lowering.PositionOf(node));
        }

        if (node.Inputs.Count > 1)
        {
            lowering.Copy(node.Inputs[1], whole, StoreMode.Replace, node.Name + ".before", lowering.PositionOf(node));
            return;
        }

        int before = node.Op is PadSteps pad ? pad.Offset : ((Preceded)node.Op).Steps, behind = node.Op is PadSteps of ? of.Steps - before - shape[1].Maximum : 0;
        Zeros(whole, before);
        Zeros(behind == 0 ? whole : whole.Move((before + (long)shape[1].Maximum) * TensorView.Literal(whole.Strides[1])), behind);

        void Zeros(TensorView part, int steps)
        {
            if (steps > 0)
            {
                lowering.Fill(part, Shape.Of(shape[0], steps, shape[2]), 0, node.Name + ".zeros", lowering.PositionOf(node));
            }
        }
    }

    // What is zero but for some rows or columns; a gradient leaves out the rows that it has nothing for instead.
    private static void LowerPadding(Lowering lowering, Node node)
    {
        var value = new Value(node, 0);
        if (!lowering.Readers[value].Any() && lowering.Graph.Outputs.All(o => o.Value != value) && lowering.Graph.StateUpdates.All(u => u.Value != value))
        {
            return;
        }

        if (node.Op is PadRows && !value.Shape[0].IsLiteral)
        {
            throw new GraphException($"{node}: a dynamic number of rows to fill up");
        }

        Value content = node.Inputs[0];
        TensorView place = lowering.Placement.PlaceOf(value);
        int columns = value.Shape.Columns;
        if (node.Op is PadColumns pad)
        {
            int end = pad.Offset + content.Shape.Columns;
            lowering.Copy(content, place.Columns(pad.Offset), StoreMode.Replace, node.Name, lowering.PositionOf(node));
            Zeros(place, value.Shape.WithLast(pad.Offset));
            Zeros(place.Columns(end), value.Shape.WithLast(columns - end));
        }
        else
        {
            int above = ((PadRows)node.Op).Offset, end = above + content.Shape[0].Maximum;
            long row = value.Shape.DropFirst().MaximumElements;
            lowering.Copy(content, place.Move(above * row), StoreMode.Replace, node.Name, lowering.PositionOf(node));
            Zeros(place, value.Shape.WithFirst(above));
            Zeros(place.Move(end * row), value.Shape.WithFirst(value.Shape[0].Maximum - end));
        }

        void Zeros(TensorView part, Shape shape)
        {
            if (shape.MaximumElements > 0)
            {
                lowering.Fill(part, shape, 0, node.Name + ".zeros", lowering.PositionOf(node));
            }
        }
    }

    private static void Add(Lowering lowering, Node node, Kernel kernel)
    {
        kernel.Derivation = Derivations.Of(node, kernel.Operands);
        lowering.Schedule.Add(kernel, lowering.PositionOf(node));
    }

    private static KernelOperand Read(Lowering lowering, Node node, int input, string name)
    {
        (TensorView view, Access access) = lowering.MatrixOf(node.Inputs[input]);
        return new KernelOperand(name, view.Base, access, IsWritten: false);
    }

    /// <summary>Indices that follow each other.</summary>
    private static KernelOperand ReadIndices(Lowering lowering, Node node, int input, string name)
    {
        KernelOperand operand = Read(lowering, node, input, name);
        return operand.Access.RowStride == 1 ? operand : throw new GraphException($"{node}: indices that do not follow each other");
    }

    /// <summary>Operands of one integer for each sequence, from the first of some inputs on.</summary>
    private static IEnumerable<KernelOperand> Indices(Lowering lowering, Node node, int first, IReadOnlyList<string> names)
        => names.Select((name, i) => ReadIndices(lowering, node, first + i, name));

    private static KernelOperand Write(Lowering lowering, Node node, int output, string name)
    {
        var value = new Value(node, output);
        return Write(node, name, value.Type, lowering.Placement.PlaceOf(value));
    }

    private static KernelOperand Write(Node node, string name, TensorType type, TensorView place)
    {
        int stride = place.MatrixStride(type) ?? throw new GraphException($"{node}: its {name} is wanted in rows that do not follow each other evenly");
        return new KernelOperand(name, place.Base, Access.Matrix(stride, place.Base.Buffer.Format), IsWritten: true);
    }
}
