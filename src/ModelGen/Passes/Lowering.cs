using System;
using System.Collections.Generic;
using System.Globalization;
using System.Linq;
using System.Threading;
using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Kernels;
using ModelGen.Compiler.Ops;

namespace ModelGen.Compiler.Passes;

/// <summary>
/// Turns a graph into kernels in order: chooses clusters (<see cref="Fusion"/>), gives every stored value a place (its own
/// buffer, or directly where it is wanted: a column range of a concatenation, a gradient, one step of a sequence), builds
/// each kernel's expressions, and sorts.
/// Guarantees: kernels run in an order that respects all dependencies; every read of a value comes after its write.
/// </summary>
internal sealed class Lowering
{
    private readonly ModelLayout _layout;
    private readonly ModelGraph _graph;
    private readonly Fusion _fusion;
    private readonly Dictionary<Value, View> _views;
    private readonly Dictionary<Value, (View View, StoreMode Mode)> _targets;
    private readonly List<PlanBuffer> _buffers;
    private readonly List<(long Key, Kernel Kernel, int[] After, Value[] Reads)> _kernels = [];
    private readonly Dictionary<Node, List<int>> _producers = [];
    private readonly HashSet<Value> _reads = [];
    private readonly ILookup<Value, Node> _readers;
    private readonly bool _insideLoop;

    private Lowering(ModelLayout layout, ModelGraph graph, IEnumerable<Value> required, Dictionary<Value, View> leaves, Dictionary<Value, (View, StoreMode)> targets, List<PlanBuffer> buffers, bool insideLoop)
    {
        _layout = layout;
        _graph = graph;
        _views = leaves;
        _targets = targets;
        _buffers = buffers;
        _insideLoop = insideLoop;
        _fusion = Fusion.Run(graph, required);
        _readers = graph.Nodes.SelectMany(n => n.Inputs.Select(i => (i, n))).ToLookup(p => p.i, p => p.n);
    }

    public static KernelProgram Run(ModelGraph graph, ModelLayout layout, CancellationToken cancellation)
    {
        var buffers = new List<PlanBuffer>();
        var inputs = new Dictionary<string, View>();
        var leaves = new Dictionary<Value, View>();
        foreach (Node node in graph.NodesOf<Input>())
        {
            var input = (Input)node.Op;
            var buffer = new PlanBuffer(input.InputName, MemorySpace.Arena, input.Type.Shape.MaximumElements);
            buffers.Add(buffer);
            var view = new View(buffer, 0, input.Type.Element == ElementType.Int32 ? 1 : input.Type.Shape.Columns);
            leaves.Add(new Value(node, 0), view);
            inputs.Add(input.InputName, view);
        }

        var lowering = new Lowering(layout, graph, graph.Results.Select(GradientValue), leaves, [], buffers, insideLoop: false);
        List<Kernel> kernels = GradientStores.Run(lowering.Lower(cancellation));
        var outputs = graph.Outputs.ToDictionary(o => o.Name, o => lowering.ViewOf(o.Value));
        kernels = ChunkRows.Run(kernels, layout.Caches, [.. inputs.Values.Concat(outputs.Values).Select(v => v.Buffer)], buffers);
        return new KernelProgram(kernels, inputs, outputs, buffers);
    }

    private static Value GradientValue(Value value) => value.Op is PadRows ? value.Node.Inputs[0] : value;

    private List<Kernel> Lower(CancellationToken cancellation)
    {
        ChooseTargets();

        // In the graph's order: where a scan's results lie is known once the scan has been lowered.
        foreach (Node node in _graph.Nodes)
        {
            cancellation.ThrowIfCancellationRequested();
            LowerNode(node);
            if (_fusion.ClusterOf(node) is { } cluster && cluster.LastIndex == _fusion.IndexOf(node))
            {
                LowerCluster(cluster);
            }
        }

        LowerCopies();
        return Sort();
    }

    // ---------------------------------------------------------------- places

    /// <summary>Lets producers write where their value is wanted. What cannot be forwarded is copied afterwards.</summary>
    private void ChooseTargets()
    {
        foreach (Node concat in _graph.NodesOf<ConcatColumns>())
        {
            var whole = new Value(concat, 0);
            View target = PlaceOf(whole);
            int offset = 0;
            foreach (Value part in concat.Inputs)
            {
                if (CanForward(part))
                {
                    _targets.Add(part, (target with { Offset = target.Offset + offset }, StoreMode.Replace));
                }

                offset += part.Shape.Columns;
            }
        }

        foreach (GradientContribution gradient in _graph.Gradients)
        {
            Value value = GradientValue(gradient.Value);
            if (CanForward(value) && value.Op is ElementwiseOperator or RowReduction or MatMul or ColumnSum or EmbeddingGradient && !_readers[value].Any() && _graph.Gradients.Count(g => GradientValue(g.Value) == value) == 1)
            {
                _targets.Add(value, (new View(_layout.Gradient(gradient.Parameter), 0, value.Shape.Columns), StoreMode.AddWhenAccumulating));
            }
        }
    }

    private bool CanForward(Value value)
        => value.Op is not (LeafOperator or ViewOperator or ConcatColumns or Scan or AppendState) && !_targets.ContainsKey(value) && !_views.ContainsKey(value);

    private PlanBuffer NewBuffer(string name, long size)
    {
        var buffer = new PlanBuffer(name, MemorySpace.Arena, size);
        _buffers.Add(buffer);
        return buffer;
    }

    /// <summary>Where a computed value is stored.</summary>
    private View PlaceOf(Value value)
    {
        if (_targets.TryGetValue(value, out (View View, StoreMode Mode) target))
        {
            return target.View;
        }

        var view = new View(NewBuffer(value.Name.Length > 0 ? value.Name : value.Op.Mnemonic, value.Shape.MaximumElements), 0, value.Type.Element == ElementType.Int32 ? 1 : value.Shape.Columns);
        _targets.Add(value, (view, StoreMode.Replace));
        return view;
    }

    /// <summary>Where a value is read from.</summary>
    private View ViewOf(Value value)
    {
        if (_views.TryGetValue(value, out View? known))
        {
            return known;
        }

        View Base() => ViewOf(value.Node.Inputs[0]);
        View view;
        switch (value.Op)
        {
            case Parameter parameter:
                view = new View(_layout.Weight(parameter.ParameterName), 0, parameter.Shape.Columns);
                break;
            case StateRead state:
                view = new View(_layout.State(state.State, state.Shape), 0, state.Shape.Columns);
                break;
            case AppendState:
                view = Base();
                break;
            case Reshape:
                Shape from = value.Node.Inputs[0].Shape;
                View seen = Base();
                bool sameColumns = value.Type.Element == ElementType.Int32 || from.Columns == value.Shape.Columns;
                if (!sameColumns && seen.RowStride != from.Columns && from.Rows.Maximum > 1)
                {
                    throw new GraphException($"{value.Node}: a reshape of strided rows");
                }

                view = sameColumns ? seen : seen with { RowStride = value.Shape.Columns };
                break;
            case SliceColumns slice:
                view = Base() with { Offset = Base().Offset + slice.Offset };
                break;
            case RowsAtPosition:
                view = Base() with { PositionStride = Base().RowStride };
                break;
            case LastRow:
                View rows = Base();
                RowExtent extent = value.Node.Inputs[0].Shape.Rows;
                view = extent.IsDynamic
                    ? rows with { Offset = rows.Offset + ((long)extent.Plus * rows.RowStride), LastStride = rows.RowStride }
                    : rows with { Offset = rows.Offset + ((extent.Maximum - 1L) * rows.RowStride) };
                break;
            default:
                view = PlaceOf(value);
                break;
        }

        _views[value] = view;
        return view;
    }

    // ---------------------------------------------------------------- clusters

    private void LowerCluster(Cluster cluster)
    {
        var members = cluster.Indices.OrderBy(i => i).Select(i => _graph.Nodes[i]).ToArray();
        Value[] stored = members.Select(n => new Value(n, 0)).Where(_fusion.IsStored).ToArray();
        if (stored.Length == 0)
        {
            return;
        }

        var build = new KernelExpressions(this, cluster, cluster.Rows, cluster.Columns);
        if (cluster.MatMul is { } matmul)
        {
            LowerMatMul(matmul, stored, build);
            return;
        }

        // A value is known in the phase after the reductions it depends on; a store happens as soon as its value is known.
        Expr[] values = stored.Where(v => v.Op is not RowReduction).Select(build.Of).ToArray();
        foreach (Value reduction in stored.Where(v => v.Op is RowReduction))
        {
            build.Of(reduction);
        }

        var stores = new List<(int Phase, Store Store)>();
        foreach (Value value in stored)
        {
            Expr expr = build.Of(value);
            stores.Add((build.PhaseOf(expr), new Store(build.AddWritten(value), expr, ModeOf(value))));
        }

        int phases = Math.Max(stores.Max(s => s.Phase), build.Reductions.Count == 0 ? 0 : build.Reductions.Max(r => r.Phase)) + 1;
        RowPhase[] list = Enumerable.Range(0, phases)
            .Select(p => new RowPhase(build.Reductions.Where(r => r.Phase == p).Select(r => r.Reduction).ToArray(), stores.Where(s => s.Phase == p).Select(s => s.Store).ToArray()))
            .ToArray();
        long elements = (long)cluster.Rows.Maximum * cluster.Columns;
        int cost = list.SelectMany(p => p.Reductions.Select(r => r.Value).Concat(p.Stores.Select(s => s.Value))).Sum(ExprTransforms.Cost);
        AddKernel(members, new RowKernel(NameOf(stored), build.Operands, cluster.Rows, cluster.Columns, list, elements * Math.Max(1, cost), 4 * elements * build.Operands.Count));
    }

    private void LowerMatMul(Node node, Value[] stored, KernelExpressions build)
    {
        var op = (MatMul)node.Op;
        Shape a = node.Inputs[0].Shape;
        Shape b = node.Inputs[1].Shape;
        (RowExtent rows, int columns) = (node.Outputs[0].Shape.Rows, node.Outputs[0].Shape.Columns);
        RowExtent contracted = a.Rows;
        if (op.Form == MatMulForm.TN && contracted.IsDynamic)
        {
            throw new GraphException($"{node}: contracts over a dynamic number of rows");
        }

        int depth = op.Form == MatMulForm.TN ? contracted.Maximum : a.Columns;
        build.AddRead(node.Inputs[0], AccessKind.Element, "input");
        build.AddRead(node.Inputs[1], AccessKind.Element, op.Form == MatMulForm.TN ? "other" : "weight");
        Store[] stores = stored.Select(v => (v, build.Of(v))).Select(p => new Store(build.AddWritten(p.v), p.Item2, ModeOf(p.v))).ToArray();
        long flops = 2L * rows.Maximum * columns * depth;
        long bytes = 4 * (a.MaximumElements + b.MaximumElements + ((long)rows.Maximum * columns));
        AddKernel([node, .. stored.Select(s => s.Node)], WithWorkspace(new MatMulKernel(NameOf(stored), build.Operands, op.Form, rows, columns, depth, stores, _layout.Caches, flops, bytes)));
    }

    private MatMulKernel WithWorkspace(MatMulKernel kernel)
    {
        if (kernel.WorkspaceElements is > 0 and long elements)
        {
            kernel.Workspace = NewBuffer(kernel.Name + ".packed", elements);
        }

        return kernel;
    }

    private StoreMode ModeOf(Value value) => _targets.TryGetValue(value, out (View View, StoreMode Mode) target) ? target.Mode : StoreMode.Replace;

    private static string NameOf(IEnumerable<Value> values) => string.Join(", ", values.Select(v => v.Name).Where(n => n.Length > 0).Distinct());

    // ---------------------------------------------------------------- kernels of their own

    private void LowerNode(Node node)
    {
        KernelOperand Read(int input, string name, AccessKind kind = AccessKind.Element)
        {
            View view = Reading(node.Inputs[input]);
            return new KernelOperand(name, view, new Access(kind, view.RowStride, 0, node.Inputs[input].Type.Element), false);
        }

        KernelOperand Write(int output, string name)
        {
            var value = new Value(node, output);
            View view = ViewOf(value);
            return new KernelOperand(name, view, new Access(AccessKind.Element, view.RowStride, 0, value.Type.Element), true);
        }

        switch (node.Op)
        {
            case Constant constant when _fusion.IsStored(new Value(node, 0)):
                AddFill(new Value(node, 0), constant.Value);
                break;

            case ColumnSum sum:
                LowerColumnSum(node, sum);
                break;

            case Embedding:
                RowExtent rows = node.Outputs[0].Shape.Rows;
                AddKernel([node], new EmbeddingKernel(node.Name, [Read(0, "table"), Read(1, "indices"), Write(0, "output")], rows, node.Outputs[0].Shape.Columns, 8L * node.Outputs[0].Shape.MaximumElements));
                break;

            case EmbeddingGradient gradient:
                var result = new Value(node, 0);
                KernelOperand written = Write(0, "table");
                Shape cotangent = node.Inputs[1].Shape;
                AddKernel([node], new EmbeddingGradientKernel(node.Name, [Read(0, "indices"), Read(1, "rows"), written], cotangent.Rows.Maximum, cotangent.Columns, gradient.Rows, ModeOf(result), (8L * cotangent.MaximumElements) + (4L * gradient.Rows * cotangent.Columns)));
                break;

            case TransposeIndices:
                Shape input = node.Inputs[0].Shape;
                if (!input[0].IsLiteral)
                {
                    throw new GraphException($"{node}: a dynamic batch");
                }

                AddKernel([node], new TransposeIndicesKernel(node.Name, [Read(0, "input"), Write(0, "output")], input[0].Maximum, RowExtent.Product([input[1]]), 8L * input.MaximumElements));
                break;

            case AppendState:
                View state = ViewOf(node.Inputs[0]);
                AddCopy(node, node.Inputs[1], state with { PositionStride = state.RowStride }, StoreMode.Replace, node.Name);
                break;

            case Attention attention:
                Shape q = node.Inputs[0].Shape;
                bool logSumExp = _readers[new Value(node, 1)].Any();
                var operands = new List<KernelOperand> { Read(0, "q"), Read(1, "k"), Read(2, "v"), Write(0, "output") };
                if (logSumExp)
                {
                    operands.Add(Write(1, "logsumexp"));
                }

                AddKernel([node], new AttentionKernel(node.Name, operands, attention, q[0].Maximum, RowExtent.Product([q[1]]), node.Inputs[1].Shape[-2].Maximum, logSumExp, attention.Flops(node), 16L * q.MaximumElements));
                break;

            case AttentionGradient gradient:
                Shape queries = node.Inputs[0].Shape;
                AddKernel([node], new AttentionGradientKernel(
                    node.Name,
                    [Read(0, "q"), Read(1, "k"), Read(2, "v"), Read(3, "output"), Read(4, "logsumexp"), Read(5, "d_output"), Write(0, "dq"), Write(1, "dk"), Write(2, "dv")],
                    gradient.Of, queries[0].Maximum, queries[1].Maximum, node.Inputs[1].Shape[1].Maximum, _layout.Caches, gradient.Flops(node), 36L * queries.MaximumElements));
                break;

            case ConcatColumns:
                View whole = ViewOf(new Value(node, 0));
                int offset = 0;
                foreach (Value part in node.Inputs)
                {
                    View place = whole with { Offset = whole.Offset + offset };
                    if (!(_targets.TryGetValue(part, out (View View, StoreMode Mode) target) && target.View == place))
                    {
                        AddCopy(node, part, place, StoreMode.Replace, node.Name);
                    }

                    offset += part.Shape.Columns;
                }

                break;

            case Scan scan:
                LowerScan(node, scan);
                break;
        }
    }

    private void LowerColumnSum(Node node, ColumnSum sum)
    {
        Value input = node.Inputs[0];
        var output = new Value(node, 0);
        var build = new KernelExpressions(this, null, input.Shape.Rows, input.Shape.Columns);
        Expr value = build.Of(input);
        int written = build.AddWritten(output, AccessKind.Element);
        int period = sum.Shape.Rows.Maximum;
        long elements = input.Shape.MaximumElements;
        AddKernel([node], new ColumnSumKernel(node.Name, build.Operands, input.Shape.Rows.Maximum, period, input.Shape.Columns, [new Store(written, value, ModeOf(output))], elements * (1 + ExprTransforms.Cost(value)), 4 * elements * build.Operands.Count));
    }

    private void LowerScan(Node node, Scan scan)
    {
        if (_insideLoop)
        {
            throw new GraphException($"{node}: a scan inside a scan");
        }

        // One buffer of T + 1 slots holds a carry's whole history: "before" and "after" are two views of it.
        var leaves = new Dictionary<Value, View>();
        var targets = new Dictionary<Value, (View View, StoreMode Mode)>();
        var copies = new List<(Value Value, View Place)>();
        var initialized = new List<int>();
        RowExtent steps = RowExtent.Product([scan.Extent]);
        for (int i = 0; i < scan.Carries; i++)
        {
            var before = new Value(node, Scan.Before(i));
            Shape slot = node.Outputs[Scan.Final(i)].Shape;
            int size = checked((int)slot.MaximumElements);
            var history = NewBuffer(node.Name + "." + scan.Body.Outputs[i].Name, (scan.Extent.Maximum + 1L) * size);
            var first = new View(history, 0, slot.Columns);
            View second = first with { Offset = size };
            _views[before] = scan.Reverse ? second : first;
            _views[new Value(node, Scan.After(i))] = scan.Reverse ? first : second;

            // Slot T of a run of T steps: with a dynamic T it moves with the count.
            View last = steps.IsDynamic ? first with { Offset = size, LastStride = size } : first with { Offset = (long)scan.Extent.Maximum * size };
            View initial = scan.Reverse ? last : first;
            _views[new Value(node, Scan.Final(i))] = scan.Reverse ? first : last;
            initialized.Add(AddCopy(node, node.Inputs[i], initial, StoreMode.Replace, node.Name + "." + scan.Body.Outputs[i].Name + ".initial", before: true));

            Bind(BodyInputKind.Carry, i, (scan.Reverse ? second : first) with { StepStride = size });
            Target(scan.Body.Outputs[i].Value, (scan.Reverse ? first : second) with { StepStride = size });
        }

        var sources = new List<Value>();
        for (int i = scan.Carries; i < node.Inputs.Count; i++)
        {
            (BodyInputKind kind, int number) = scan.KindOf(i);
            View view = ViewOf(node.Inputs[i]);
            sources.Add(Fusion.Root(node.Inputs[i]));
            if (kind == BodyInputKind.Sequence)
            {
                view = view with { StepStride = (long)node.Inputs[i].Shape.DropFirst().Rows.Maximum * view.RowStride };
            }

            Bind(kind, number, view);
        }

        for (int i = 0; i < scan.OutputSequences; i++)
        {
            var output = new Value(node, scan.Sequence(i));
            Value value = scan.Body.Outputs[scan.Carries + i].Value;
            if (targets.TryGetValue(value, out (View View, StoreMode Mode) known))
            {
                _views[output] = known.View with { StepStride = 0 };
                continue;
            }

            Shape step = value.Shape;
            var place = new View(NewBuffer(node.Name + "." + (value.Name.Length > 0 ? value.Name : scan.Body.Outputs[scan.Carries + i].Name), output.Shape.MaximumElements), 0, step.Columns);
            _views[output] = place;
            Target(value, place with { StepStride = step.MaximumElements });
        }

        var body = new Lowering(_layout, scan.Body, scan.Body.Results, leaves, targets, _buffers, insideLoop: true);
        List<Kernel> kernels = body.Lower(default);
        foreach ((Value value, View place) in copies)
        {
            kernels.Add(body.CopyKernel(value, place, StoreMode.Replace, value.Name + ".kept"));
        }

        if (scan.Extent.Maximum > 1)
        {
            PackInvariants(node, scan, kernels, initialized);
        }

        _reads.UnionWith(sources);
        AddKernel([node], new LoopKernel(node.Name, steps, scan.Reverse, kernels), 0, [.. initialized]);

        void Bind(BodyInputKind kind, int number, View view)
        {
            foreach (Node leaf in scan.Body.Nodes)
            {
                if (leaf.Op is BodyInput b && b.Kind == kind && b.Number == number)
                {
                    leaves[new Value(leaf, 0)] = view;
                }
            }
        }

        void Target(Value value, View place)
        {
            if (value.Op is LeafOperator or ViewOperator or ConcatColumns || targets.ContainsKey(value))
            {
                if (value.Op is ConcatColumns && !targets.ContainsKey(value))
                {
                    targets.Add(value, (place, StoreMode.Replace));
                }
                else
                {
                    copies.Add((value, place));
                }
            }
            else
            {
                targets.Add(value, (place, StoreMode.Replace));
            }
        }
    }

    /// <summary>Packs the right operands of a loop's products that are the same at every step once, before the loop.</summary>
    private void PackInvariants(Node node, Scan scan, List<Kernel> kernels, List<int> initialized)
    {
        var packed = new Dictionary<(View, MatMulForm), KernelOperand>();
        for (int i = 0; i < kernels.Count; i++)
        {
            if (kernels[i] is not MatMulKernel { IsDotProducts: false } product || product.Operands[1].View is not { StepStride: 0 } view)
            {
                continue;
            }

            Value? invariant = node.Inputs.Skip(scan.Carries).Where((_, n) => scan.KindOf(scan.Carries + n).Kind == BodyInputKind.Invariant).Cast<Value?>().FirstOrDefault(v => ViewOf(v!.Value) == view);
            if (invariant is null && view.Buffer.Space != MemorySpace.Weights)
            {
                continue;
            }

            if (!packed.TryGetValue((view, product.Form), out KernelOperand? operand))
            {
                KernelOperand source = product.Operands[1];
                var place = new View(NewBuffer(product.Operands[1].View.Buffer.Name + ".panels", PackKernel.PackedElements(product.Columns, product.Depth)), 0, 1);
                operand = new KernelOperand(source.Name, place, new Access(AccessKind.Element, 1, 0, ElementType.Float32), false);
                packed.Add((view, product.Form), operand);
                if (invariant is { } value)
                {
                    _reads.Add(Fusion.Root(value));
                }

                var kernel = new PackKernel(source.View.Buffer.Name + ", in panels", [source, operand with { Name = "panels", IsWritten = true }], product.Form, product.Columns, product.Depth, 8L * product.Columns * product.Depth);
                initialized.Add(AddKernel([node], kernel, -1));
            }

            kernels[i] = WithWorkspace(product.With([product.Operands[0], operand, .. product.Operands.Skip(2)], isRightPacked: true));
        }
    }

    // ---------------------------------------------------------------- copies

    private void LowerCopies()
    {
        foreach (GradientContribution gradient in _graph.Gradients)
        {
            Value value = GradientValue(gradient.Value);
            var place = new View(_layout.Gradient(gradient.Parameter), 0, value.Shape.Columns);
            if (!(_targets.TryGetValue(value, out (View View, StoreMode Mode) target) && target.View == place))
            {
                Register([], CopyKernel(value, place, StoreMode.AddWhenAccumulating, gradient.Parameter + ".gradient"), (4L * _fusion.IndexOf(value.Node)) + 2, []);
            }
        }

        // States are overwritten when nothing will read them any more.
        foreach (StateUpdate update in _graph.StateUpdates)
        {
            var place = new View(_layout.State(update.State, update.Value.Shape), 0, update.Value.Shape.Columns);
            if (ViewOf(update.Value) != place)
            {
                Register([], CopyKernel(update.Value, place, StoreMode.Replace, update.State), long.MaxValue, []);
            }
        }
    }

    private int AddCopy(Node node, Value value, View place, StoreMode mode, string name, bool before = false)
        => AddKernel([node], CopyKernel(value, place, mode, name), before ? -1 : 0);

    private void AddFill(Value value, double constant)
    {
        View place = PlaceOf(value);
        var operand = new KernelOperand("output", place, new Access(AccessKind.Element, place.RowStride, 0, ElementType.Float32), true);
        AddKernel([value.Node], new RowKernel("zeros", [operand], value.Shape.Rows, value.Shape.Columns, [new RowPhase([], [new Store(0, constant, StoreMode.Replace)])], 0, 4 * value.Shape.MaximumElements));
    }

    private Kernel CopyKernel(Value value, View place, StoreMode mode, string name)
    {
        var write = new KernelOperand("output", place, new Access(AccessKind.Element, place.RowStride, 0, ElementType.Float32), true);
        if (value.Op is Constant constant)
        {
            return new RowKernel(name, [write], value.Shape.Rows, value.Shape.Columns, [new RowPhase([], [new Store(0, constant.Value, mode)])], 0, 4 * value.Shape.MaximumElements);
        }

        View view = Reading(value);
        var read = new KernelOperand("input", view, new Access(AccessKind.Element, view.RowStride, 0, ElementType.Float32), false);
        return new RowKernel(name, [read, write], value.Shape.Rows, value.Shape.Columns, [new RowPhase([], [new Store(1, new OperandExpr(0), mode)])], 0, 8 * value.Shape.MaximumElements);
    }

    // ---------------------------------------------------------------- order

    /// <summary>Adds a kernel that computes some nodes from the values that were read since the last one was added.</summary>
    private int AddKernel(IEnumerable<Node> members, Kernel kernel, int nudge = 0, params int[] after)
    {
        Node[] nodes = members.Distinct().ToArray();
        return Register(nodes, kernel, nodes.Max(n => 4L * _fusion.IndexOf(n)) + 1 + nudge, after);
    }

    private int Register(Node[] nodes, Kernel kernel, long key, int[] after)
    {
        int index = _kernels.Count;
        _kernels.Add((key, kernel, after, _reads.ToArray()));
        _reads.Clear();
        foreach (Node node in nodes)
        {
            if (!_producers.TryGetValue(node, out List<int>? list))
            {
                _producers.Add(node, list = []);
            }

            list.Add(index);
        }

        return index;
    }

    /// <summary>
    /// Orders kernels so that every value is written before it is read. Ties go to the position of their last node in the
    /// graph, which puts a weight's gradient next to the product that frees its operands. State updates come last.
    /// </summary>
    private List<Kernel> Sort()
    {
        int[] order = Enumerable.Range(0, _kernels.Count).OrderBy(i => _kernels[i].Key).ToArray();
        var rank = new int[order.Length];
        for (int i = 0; i < order.Length; i++)
        {
            rank[order[i]] = i;
        }

        var waits = new int[order.Length];
        List<int>[] followers = order.Select(_ => new List<int>()).ToArray();
        for (int i = 0; i < order.Length; i++)
        {
            foreach (int writer in _kernels[i].Reads.SelectMany(r => ProducersOf(r.Node)).Concat(_kernels[i].After).Distinct())
            {
                if (writer != i)
                {
                    followers[writer].Add(i);
                    waits[i]++;
                }
            }
        }

        var ready = new SortedSet<int>(Enumerable.Range(0, order.Length).Where(i => waits[i] == 0).Select(i => rank[i]));
        var ordered = new List<Kernel>();
        while (ready.Count > 0)
        {
            int next = ready.Min;
            ready.Remove(next);
            ordered.Add(_kernels[order[next]].Kernel);
            foreach (int follower in followers[order[next]])
            {
                if (--waits[follower] == 0)
                {
                    ready.Add(rank[follower]);
                }
            }
        }

        return ordered.Count == order.Length ? ordered
            : throw new GraphException("the kernels depend on each other in a circle: " + string.Join("; ", _kernels.Where((_, i) => waits[i] > 0).Select(k => k.Kernel.Name)));
    }

    // A concatenation is written by the producers of its parts, and by copies of those that could not be forwarded.
    private IEnumerable<int> ProducersOf(Node node)
    {
        IEnumerable<int> own = _producers.TryGetValue(node, out List<int>? list) ? list : [];
        return node.Op is ConcatColumns ? own.Concat(node.Inputs.SelectMany(i => ProducersOf(Fusion.Root(i).Node))) : own;
    }

    /// <summary>Where a kernel that is being built reads a value from.</summary>
    private View Reading(Value value)
    {
        _reads.Add(Fusion.Root(value));
        return ViewOf(value);
    }

    internal static IEnumerable<PlanBuffer> Buffers(Kernel kernel, bool written)
    {
        IEnumerable<PlanBuffer> own = kernel.Operands.Where(o => o.IsWritten == written).Select(o => o.View.Buffer);
        if (kernel is MatMulKernel { Workspace: { } workspace } && written)
        {
            own = own.Append(workspace);
        }

        return (kernel is LoopKernel loop ? own.Concat(loop.Body.SelectMany(k => Buffers(k, written))) : own).Distinct();
    }

    // ---------------------------------------------------------------- expressions

    /// <summary>Builds one kernel's expressions and collects its operands.</summary>
    private sealed class KernelExpressions(Lowering lowering, Cluster? cluster, RowExtent rows, int columns)
    {
        private readonly Dictionary<Value, Expr> _exprs = [];
        private readonly ExprTable _unique = new();
        private readonly Dictionary<(View, AccessKind), int> _reads = [];
        private readonly Dictionary<Expr, int> _phases = [];
        private readonly List<KernelOperand> _operands = [];

        public IReadOnlyList<KernelOperand> Operands => _operands;

        public List<(int Phase, Reduction Reduction)> Reductions { get; } = [];

        public Expr Of(Value value)
        {
            if (_exprs.TryGetValue(value, out Expr? known))
            {
                return known;
            }

            Expr expr;
            if (value.Op is Constant constant)
            {
                expr = constant.Value;
            }
            else if (value.Op is RuntimeScalar scalar)
            {
                expr = new RuntimeScalarExpr(scalar.Kind);
            }
            else if (cluster?.MatMul == value.Node)
            {
                expr = new AccumulatorExpr();
            }
            else if (cluster is not null && value.Op is RowReduction op && cluster.Nodes.Contains(value.Node))
            {
                Expr input = Of(value.Node.Inputs[0]);
                int index = Reductions.Count;
                Reductions.Add((PhaseOf(input), new Reduction(index, op is RowSum ? ReductionKind.Sum : ReductionKind.Maximum, input)));
                expr = new RowValueExpr(index);
            }
            else if (value.Op is ElementwiseOperator elementwise && (cluster is not null && cluster.Nodes.Contains(value.Node) || !lowering._fusion.IsStored(value)))
            {
                expr = elementwise.Express(value.Node.Inputs.Select(Of).ToArray());
            }
            else
            {
                expr = new OperandExpr(AddRead(value, KindOf(value), null));
            }

            expr = _unique.Unify(expr);
            _exprs.Add(value, expr);
            return expr;
        }

        /// <summary>The phase in which an expression is known: one after that of every reduction it reads.</summary>
        public int PhaseOf(Expr expr)
        {
            if (!_phases.TryGetValue(expr, out int phase))
            {
                phase = expr switch
                {
                    RowValueExpr r => Reductions.First(x => x.Reduction.Index == r.Index).Phase + 1,
                    UnaryExpr u => PhaseOf(u.Operand),
                    BinaryExpr b => Math.Max(PhaseOf(b.Left), PhaseOf(b.Right)),
                    SelectExpr s => Math.Max(Math.Max(PhaseOf(s.Left), PhaseOf(s.Right)), Math.Max(PhaseOf(s.Then), PhaseOf(s.Otherwise))),
                    _ => 0,
                };
                _phases.Add(expr, phase);
            }

            return phase;
        }

        public int AddRead(Value value, AccessKind kind, string? name)
        {
            View view = lowering.Reading(value);
            if (!_reads.TryGetValue((view, kind), out int index) || name is not null)
            {
                index = _operands.Count;
                int period = kind is AccessKind.Element or AccessKind.RowScalar && value.Type.Element == ElementType.Float32 && value.Shape.Rows != rows && name is null ? value.Shape.Rows.Maximum : 0;
                _operands.Add(new KernelOperand(Unique(name ?? OperandNames.Role(value.Name)), view, new Access(kind, view.RowStride, period, value.Type.Element), false));
                if (name is null)
                {
                    _reads[(view, kind)] = index;
                }
            }

            return index;
        }

        public int AddWritten(Value value, AccessKind? kind = null)
        {
            View view = lowering.PlaceOf(value);
            lowering._views[value] = view;
            AccessKind written = kind ?? (value.Shape.Columns == 1 && columns > 1 ? AccessKind.RowScalar : AccessKind.Element);
            _operands.Add(new KernelOperand(Unique(OperandNames.Role(value.Name)), view, new Access(written, view.RowStride, 0, ElementType.Float32), true));
            return _operands.Count - 1;
        }

        private AccessKind KindOf(Value value)
        {
            if (value.Type.Element == ElementType.Int32)
            {
                return AccessKind.RowScalar;
            }

            Shape shape = value.Shape;
            if (shape.MaximumElements == 1 && (rows.Maximum != 1 || rows.IsDynamic || columns != 1))
            {
                return AccessKind.Scalar;
            }

            if (shape.Columns == 1 && columns > 1)
            {
                return AccessKind.RowScalar;
            }

            return shape.Rows == RowExtent.Literal(1) && rows != RowExtent.Literal(1) ? AccessKind.ColumnVector : AccessKind.Element;
        }

        private string Unique(string name) => OperandNames.Unique(name, _operands.Select(o => o.Name).ToArray());
    }
}
