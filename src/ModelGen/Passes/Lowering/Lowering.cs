using System.Collections.Generic;
using System.Linq;
using System.Threading;
using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Kernels;
using ModelGen.Compiler.Ops;

namespace ModelGen.Compiler.Passes;

/// <summary>
/// Turns a graph, of which <see cref="Fusion"/> has said what shares a kernel, into kernels in order: gives every stored value a place
/// (<see cref="Placement"/>), builds each kernel (<see cref="LoweringRules"/>, <see cref="KernelExpressions"/>), and sorts (<see cref="Schedule"/>).
/// Guarantees: kernels run in an order that respects all dependencies; every read of a value comes after its write.
/// </summary>
internal sealed class Lowering
{
    /// <summary>The counts that a run of a plan can bring along: the length of the runtime's <c>ExtentCounts</c>.</summary>
    private const int MostExtents = 4;

    private readonly Dictionary<Value, TensorView> _copies = [];

    private Lowering(ModelLayout layout, ModelGraph graph, Fusion fusion, Dictionary<Value, TensorView> leaves, Dictionary<Value, (TensorView View, StoreMode Mode)> targets, List<PlanBuffer> buffers, HashSet<string> names, bool insideLoop)
    {
        Layout = layout;
        Graph = graph;
        InsideLoop = insideLoop;
        Fusion = fusion;
        Readers = graph.Nodes.SelectMany(n => n.Inputs.Select(i => (i, n))).ToLookup(p => p.i, p => p.n);
        Placement = new Placement(layout, graph, Readers, leaves, targets, buffers, names);
    }

    public ModelLayout Layout { get; }

    public ModelGraph Graph { get; }

    public Fusion Fusion { get; }

    public Placement Placement { get; }

    public Schedule Schedule { get; } = new();

    /// <summary>The nodes that read each value.</summary>
    public ILookup<Value, Node> Readers { get; }

    /// <summary>Whether the graph is the body of a scan.</summary>
    public bool InsideLoop { get; }

    /// <param name="graph">A simple graph.</param>
    /// <param name="fusion">Which of its nodes share a kernel.</param>
    /// <param name="layout">Where parameters, gradients and states lie.</param>
    /// <param name="cancellation">Ends it.</param>
    public static KernelProgram Run(ModelGraph graph, Fusion fusion, ModelLayout layout, CancellationToken cancellation)
    {
        var buffers = new List<PlanBuffer>();
        var inputs = new Dictionary<string, View>();
        var leaves = new Dictionary<Value, TensorView>();
        foreach (Node node in graph.NodesOf<Input>())
        {
            var input = (Input)node.Op;
            var buffer = new PlanBuffer(input.InputName, MemorySpace.Arena, StorageFormat.Of(input.Type.Element), input.Type.Shape.MaximumElements) { Columns = input.Type.Shape.Columns };
            buffers.Add(buffer);
            var view = TensorView.Dense(new View(buffer, 0), input.Type.Shape);
            leaves.Add(new Value(node, 0), view);
            inputs.Add(input.InputName, view.Base);
        }

        var lowering = new Lowering(layout, graph, fusion, leaves, [], buffers, [.. layout.Names, .. buffers.Select(b => b.Name)], insideLoop: false);
        lowering.LowerNodes(cancellation);
        Dictionary<string, View> outputs = graph.Outputs.ToDictionary(o => o.Name, o => lowering.OutputOf(o.Value));
        Dim[] counts = [.. graph.Nodes.SelectMany(n => n.Outputs).SelectMany(t => t.Shape.Dims).Where(d => !d.IsLiteral).Select(d => d + -d.Plus).Distinct()];
        if (counts.Select(c => c.Symbol).Distinct().Count() < counts.Length || counts.Length > MostExtents)
        {
            throw new GraphException($"the extents {string.Join(", ", counts.Select(c => $"{c} up to {c.Maximum}"))}: a run has at most {MostExtents}, each with one maximum");
        }

        return new KernelProgram(lowering.Schedule.Sort(), inputs, outputs, buffers, counts);
    }

    /// <summary>The kernels of a scan's body.</summary>
    /// <param name="scan">The scan.</param>
    /// <param name="leaves">Where the body's inputs lie.</param>
    /// <param name="targets">Where the body's results are wanted.</param>
    /// <param name="copies">Results that are wanted where their producers cannot put them.</param>
    public List<Kernel> LowerBody(Scan scan, Dictionary<Value, TensorView> leaves, Dictionary<Value, (TensorView View, StoreMode Mode)> targets, IEnumerable<(Value Value, TensorView Place)> copies)
    {
        var lowering = new Lowering(Layout, scan.Body, Fusion.OfBody(scan), leaves, targets, Placement.Buffers, Placement.Names, insideLoop: true);
        lowering.LowerNodes(default);
        Kernel[] last = [.. copies.Select(c => lowering.CopyKernel(c.Value, c.Place, StoreMode.Replace, c.Value.Name + ".kept"))];
        return [.. lowering.Schedule.Sort(), .. last];
    }

    /// <summary>The position of a node in the graph, which orders what does not depend on each other.</summary>
    public int PositionOf(Node node) => Fusion.IndexOf(node);

    /// <summary>Where a value is read from, as rows that follow each other evenly, with contiguous columns: where it lies, or a copy.</summary>
    public (TensorView View, Access Access) MatrixOf(Value value)
    {
        TensorView view = ViewOf(value);
        int stride = view.MatrixStride(value.Type) is { } known ? known : (view = CopyOf(value)).MatrixStride(value.Type)!.Value;
        return (view, Access.Matrix(stride, view.Base.Buffer.Format));
    }

    /// <summary>Where a value is read from.</summary>
    public TensorView ViewOf(Value value) => Placement.ViewOf(value) ?? CopyOf(value);

    /// <summary>A copy of a value whose elements follow each other in row-major order.</summary>
    public TensorView CopyOf(Value value)
    {
        if (_copies.TryGetValue(value, out TensorView? known))
        {
            return known;
        }

        // What strides cannot look at is looked at in a copy of what it looks at.
        if (Placement.ViewOf(value) is null)
        {
            TensorView seen = Placement.Look(value, CopyOf(value.Node.Inputs[0])) ?? throw new GraphException($"{value.Node}: a copy is seen no better");
            Placement.SetView(value, seen);
            return seen;
        }

        if (value.Type.Element != ElementType.Float32)
        {
            throw new GraphException($"{value.Node}: indices that do not follow each other");
        }

        var place = TensorView.Dense(new View(Placement.NewBuffer(value.Name + ".dense", value.Type), 0), value.Shape);
        _copies.Add(value, place);
        Copy(value, place, StoreMode.Replace, value.Name + ".dense", PositionOf(value.Node));
        return place;
    }

    /// <summary>Adds a copy of a value at a place.</summary>
    public void Copy(Value value, TensorView place, StoreMode mode, string name, int position, Turn turn = Turn.Node)
        => Schedule.Add(CopyKernel(value, place, mode, name), position, turn);

    private RowKernel CopyKernel(Value value, TensorView place, StoreMode mode, string name)
    {
        TensorView? source = value.Op is Constant ? null : ViewOf(value);
        Shape shape = value.Shape;
        if (source is { ColumnStride.IsDynamic: true })
        {
            // Columns are a literal number of elements apart, rows need not be.
            shape = new Shape(shape.Dims.Append(1));
            (source, place) = (source.Append(), place.Append());
        }

        TensorType type = TensorType.Float(shape);
        Dim[] rows = shape.Dims.Take(System.Math.Max(0, shape.Rank - 1)).ToArray();
        var output = PendingOperand.Of("output", place, type, rows, shape.Columns, isWritten: true);
        RowKernel kernel = source is null
            ? RowKernels.Map(name, [output], rows, shape.Columns, [new Store(0, ((Constant)value.Op).Value, mode)], 0, 4 * shape.MaximumElements)
            : RowKernels.Map(name, [PendingOperand.Of("input", source, type, rows, shape.Columns, isWritten: false), output], rows, shape.Columns,
                [new Store(1, new OperandExpr(0), mode)], 0, 8 * shape.MaximumElements);
        kernel.Derivation = Derivations.OfCopy(name, source is null ? null : value, source is null ? ((Constant)value.Op).Value : 0);
        return kernel;
    }

    /// <summary>Adds what fills a place with a number.</summary>
    public void Fill(TensorView place, Shape shape, double constant, string name, int position)
    {
        Dim[] rows = shape.Dims.Take(System.Math.Max(0, shape.Rank - 1)).ToArray();
        PendingOperand output = PendingOperand.Of("output", place, TensorType.Float(shape), rows, shape.Columns, isWritten: true);
        RowKernel kernel = RowKernels.Map(name, [output], rows, shape.Columns, [new Store(0, constant, StoreMode.Replace)], 0, 4 * shape.MaximumElements);
        kernel.Derivation = Derivations.OfCopy(name, null, constant);
        Schedule.Add(kernel, position);
    }

    /// <summary>The operations that nodes, and what their clusters compute for them, belong to.</summary>
    public Origin[] OriginsOf(IEnumerable<Node> nodes)
    {
        var found = new HashSet<Node>();
        var pending = new Stack<Node>(nodes);
        while (pending.Count > 0)
        {
            Node node = pending.Pop();
            if (found.Add(node) && Fusion.ClusterOf(node) is { } cluster)
            {
                foreach (Value input in node.Inputs.Where(i => cluster.Nodes.Contains(i.Node)))
                {
                    pending.Push(input.Node);
                }
            }
        }

        return found.OrderBy(Fusion.IndexOf).Select(n => n.Origin).GroupBy(o => (o.Mnemonic, o.Name, o.IsGradient)).Select(g => g.First()).ToArray();
    }

    private void LowerNodes(CancellationToken cancellation)
    {
        // In the graph's order: where a scan's results lie is known once the scan has been lowered.
        foreach (Node node in Graph.Nodes)
        {
            cancellation.ThrowIfCancellationRequested();
            LoweringRules.Lower(this, node);
            if (Fusion.ClusterOf(node) is { } cluster && cluster.LastIndex == Fusion.IndexOf(node))
            {
                ClusterRule.Lower(this, cluster);
            }
        }

        foreach (GradientContribution gradient in Graph.Gradients)
        {
            Value value = Placement.GradientValue(gradient.Value);
            TensorView place = Placement.GradientPlace(gradient);
            if (!Placement.IsStoredAt(value, place))
            {
                Copy(value, place, StoreMode.AddWhenAccumulating, gradient.Parameter + ".gradient", PositionOf(value.Node), Turn.After);
            }
        }

        foreach (StateUpdate update in Graph.StateUpdates)
        {
            if (update.Value.Op is ScatterRows)
            {
                // It has been written where it is.
                continue;
            }

            TensorView place = Placement.StatePlace(update.State, update.Value.Shape);
            if (ViewOf(update.Value) != place)
            {
                Copy(update.Value, place, StoreMode.Replace, update.State, Graph.Nodes.Count, Turn.Last);
            }
        }
    }

    /// <summary>Where the outside finds an output: in row-major order, at an address that does not move.</summary>
    private View OutputOf(Value value)
    {
        TensorView view = ViewOf(value);
        bool stays = view.Base is { Buffer.Space: MemorySpace.Arena, PositionStride: 0, LastStride: 0, StepStride: 0 };
        return (stays && view.IsDense(value.Shape) ? view : CopyOf(value)).Base;
    }

    /// <summary>The buffers that a kernel reads, or those that it writes.</summary>
    internal static IEnumerable<PlanBuffer> Buffers(Kernel kernel, bool written)
    {
        IEnumerable<PlanBuffer> own = kernel.Operands.Where(o => o.IsWritten == written).Select(o => o.View.Buffer);
        return (kernel is LoopKernel loop ? own.Concat(loop.Body.SelectMany(k => Buffers(k, written))) : own).Distinct();
    }
}
