using System.Collections.Generic;
using System.Linq;
using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Kernels;
using ModelGen.Compiler.Ops;

namespace ModelGen.Compiler.Passes;

/// <summary>
/// Gives every stored value a place: a buffer of its own, or directly where it is wanted: a column range of a concatenation, a gradient,
/// one step of a sequence. Views are other strides over the place of what they look at.
/// </summary>
internal sealed class Placement
{
    private readonly ModelLayout _layout;
    private readonly ModelGraph _graph;
    private readonly Dictionary<Value, TensorView> _views;
    private readonly Dictionary<Value, (TensorView View, StoreMode Mode)> _targets;
    private readonly List<PlanBuffer> _buffers;
    private readonly HashSet<string> _names;
    private readonly ILookup<Value, Node> _readers;

    /// <param name="layout">Where parameters, gradients and states lie.</param>
    /// <param name="graph">The graph whose values are placed.</param>
    /// <param name="readers">The nodes that read each value.</param>
    /// <param name="leaves">Where values lie that come from outside.</param>
    /// <param name="targets">Where values are wanted.</param>
    /// <param name="buffers">Every buffer of the plan; new ones are added.</param>
    /// <param name="names">What buffers of any space are called already; new ones are added.</param>
    public Placement(ModelLayout layout, ModelGraph graph, ILookup<Value, Node> readers, Dictionary<Value, TensorView> leaves, Dictionary<Value, (TensorView View, StoreMode Mode)> targets, List<PlanBuffer> buffers, HashSet<string> names)
    {
        (_layout, _graph, _readers, _views, _targets, _buffers, _names) = (layout, graph, readers, leaves, targets, buffers, names);
        ChooseTargets();
    }

    public List<PlanBuffer> Buffers => _buffers;

    public HashSet<string> Names => _names;

    public PlanBuffer NewBuffer(string name, TensorType type) => NewBuffer(name, StorageFormat.Of(type.Element), type.Shape.MaximumElements, type.Shape.Columns);

    /// <summary>A buffer of its own, called like none before it: readers know values by their names.</summary>
    public PlanBuffer NewBuffer(string name, StorageFormat format, long elements, int columns)
    {
        var buffer = new PlanBuffer(OperandNames.Unique(name, _names), MemorySpace.Arena, format, elements) { Columns = columns };
        _buffers.Add(buffer);
        _names.Add(buffer.Name);
        return buffer;
    }

    /// <summary>The value whose contributions a gradient's rows are.</summary>
    public static Value GradientValue(Value value) => value.Op is PadRows ? value.Node.Inputs[0] : value;

    /// <summary>Where a contribution to a gradient is stored: in the parameter's rows that it is of.</summary>
    public TensorView GradientPlace(GradientContribution gradient)
    {
        Shape shape = GradientValue(gradient.Value).Shape;
        long above = gradient.Value.Op is PadRows { Offset: > 0 and int rows } ? rows * shape.DropFirst().MaximumElements : 0;
        return TensorView.Dense(new View(_layout.Gradient(gradient.Parameter), above), shape);
    }

    public TensorView StatePlace(string state, Shape shape) => TensorView.Dense(new View(_layout.State(state, shape), 0), shape);

    /// <summary>Where a state of every sequence lies: one of each, as far apart as the states of a sequence are long.</summary>
    public TensorView StatesPlace(string state, Shape shape)
    {
        PlanBuffer states = _layout.States(state, shape);
        return TensorView.Dense(new View(states, 0), shape.DropFirst()).Prepend(RowExtent.Literal(checked((int)_layout.StatesApart(states.Format))));
    }

    public StoreMode ModeOf(Value value) => _targets.TryGetValue(value, out (TensorView View, StoreMode Mode) target) ? target.Mode : StoreMode.Replace;

    /// <summary>Whether what computes a value stores it there.</summary>
    public bool IsStoredAt(Value value, TensorView place) => _targets.TryGetValue(value, out (TensorView View, StoreMode Mode) target) && target.View == place;

    /// <summary>Says where a value lies that is no node's own to place.</summary>
    public void SetView(Value value, TensorView view) => _views[value] = view;

    /// <summary>Where a computed value is stored.</summary>
    public TensorView PlaceOf(Value value)
    {
        if (!_targets.TryGetValue(value, out (TensorView View, StoreMode Mode) target))
        {
            var buffer = NewBuffer(value.Name.Length > 0 ? value.OwnName : value.Op is Constant { Value: 0 } ? "zeros" : value.Op.Mnemonic, value.Type);
            target = (TensorView.Dense(new View(buffer, 0), value.Shape), StoreMode.Replace);
            _targets.Add(value, target);
        }

        _views[value] = target.View;
        return target.View;
    }

    /// <summary>Where a value is read from; null where a view's elements are not where strides would find them.</summary>
    public TensorView? ViewOf(Value value)
    {
        if (_views.TryGetValue(value, out TensorView? known))
        {
            return known;
        }

        TensorView? view = value.Op switch
        {
            Parameter parameter => TensorView.Dense(new View(_layout.Weight(parameter.ParameterName), 0), parameter.Shape),
            StateRead state => StatePlace(state.State, state.Shape),
            SequenceStates states => StatesPlace(states.State, states.Shape),
            _ when value.Op is ViewOperator or AppendState or ScatterRows => ViewOf(value.Node.Inputs[0]) is { } seen ? Look(value, seen) : null,
            _ => PlaceOf(value),
        };
        if (view is not null)
        {
            _views[value] = view;
        }

        return view;
    }

    /// <summary>A view of a tensor that lies at <paramref name="seen"/>.</summary>
    public TensorView? Look(Value value, TensorView seen)
    {
        Shape from = value.Node.Inputs[0].Shape;
        switch (value.Op)
        {
            case AppendState or ScatterRows:
                return seen;
            case Reshape reshape:
                return seen.Reshape(from, reshape.Shape);
            case Permute permute:
                return seen.Permute(permute.Axes);
            case Unsqueeze unsqueeze:
                return seen.Insert(from.Rank - unsqueeze.Behind);
            case SliceColumns slice:
                return seen.ColumnStride.IsDynamic ? null : seen.Columns(slice.Offset);
            case SelectRow select:
                TensorView rows = seen with { Strides = new([.. seen.Strides.Where((_, i) => i != from.Rank - 2)]) };
                return select.Row == 0 ? rows : rows.Move((long)select.Row * TensorView.Literal(seen.Strides[from.Rank - 2]));
            case SliceRows slice:
                return seen.Move((long)slice.Offset * TensorView.Literal(seen.Strides[0]));
            case RowsAtPosition:
                return seen with { Base = seen.Base with { PositionStride = TensorView.Literal(seen.Strides[0]) } };
            case LastRow when seen.MatrixStride(value.Node.Inputs[0].Type) is { } stride:
                bool moves = from.Rows.IsDynamic;
                TensorView last = TensorView.Dense(seen.Base, value.Shape).Move((moves ? from.Rows.Factors[0].Plus : from.Rows.Maximum - 1L) * stride);
                return moves ? last with { Base = last.Base with { LastStride = stride, LastExtent = from.Rows.Factors[0].Symbol } } : last;
            case LastRow:
                return null;
            case SliceSteps slice:
                return seen.Move((long)slice.Offset * TensorView.Literal(seen.Strides[1]));
            case LastSteps end:
                // A varying extent counts from its last one: what is added to it lies behind that.
                Dim steps = from[1];
                int step = TensorView.Literal(seen.Strides[1]);
                TensorView first = seen.Move((steps.IsLiteral ? steps.Maximum - end.Steps : (long)steps.Plus + 1 - end.Steps) * step);
                return steps.IsLiteral ? first : first with { Base = first.Base with { LastStride = step, LastExtent = steps.Symbol } };
            case PadRows or PadColumns:
                return PlaceOf(value);
            default:
                throw new GraphException($"{value.Node}: nothing says how this view looks at memory");
        }
    }

    /// <summary>Where a sequence stands in a longer one.</summary>
    public static TensorView PartOf(TensorView whole, Operator of) => whole.Move((of is PadSteps pad ? pad.Offset : (long)((Preceded)of).Steps) * TensorView.Literal(whole.Strides[1]));

    /// <summary>Lets producers write where their value is wanted. What cannot be forwarded is copied afterwards.</summary>
    private void ChooseTargets()
    {
        foreach (Node concat in _graph.NodesOf<ConcatColumns>())
        {
            TensorView whole = PlaceOf(new Value(concat, 0));
            int offset = 0;
            foreach (Value part in concat.Inputs)
            {
                if (CanForward(part))
                {
                    _targets.Add(part, (whole.Columns(offset), StoreMode.Replace));
                }

                offset += part.Shape.Columns;
            }
        }

        foreach (Node whole in _graph.Nodes.Where(n => n.Op is Preceded or PadSteps))
        {
            if (CanForward(whole.Inputs[0]) && whole.Inputs[0].Op is ElementwiseOperator or RowReduction or MatMul)
            {
                _targets.Add(whole.Inputs[0], (PartOf(PlaceOf(new Value(whole, 0)), whole.Op), StoreMode.Replace));
            }
        }

        Dictionary<Value, int> contributions = _graph.Gradients.GroupBy(g => GradientValue(g.Value)).ToDictionary(g => g.Key, g => g.Count());
        foreach (GradientContribution gradient in _graph.Gradients)
        {
            Value value = GradientValue(gradient.Value);
            if (CanForward(value) && value.Op is ElementwiseOperator or RowReduction or MatMul or ColumnSum or EmbeddingGradient or ExpertWeightGradient && !_readers[value].Any() && contributions[value] == 1)
            {
                _targets.Add(value, (GradientPlace(gradient), StoreMode.AddWhenAccumulating));
            }
        }
    }

    private bool CanForward(Value value)
        => value.Op is not (LeafOperator or ViewOperator or ConcatColumns or Preceded or PadSteps or Scan or AppendState or ScatterRows) && !_targets.ContainsKey(value) && !_views.ContainsKey(value);
}
