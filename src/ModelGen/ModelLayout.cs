using System;
using System.Collections.Generic;
using System.Linq;
using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Kernels;
using ModelGen.Compiler.Ops;
using ModelGen.Compiler.Passes;
using ModelGen.Compiler.Targets.Cuda;

namespace ModelGen.Compiler;

/// <summary>Where parameters, their gradients and states lie: the same for every plan of a model, and settled before any plan is made.</summary>
internal sealed class ModelLayout
{
    private readonly Dictionary<string, Parameter> _parameters = [];
    private readonly Dictionary<string, PlanBuffer> _weights = [];
    private readonly Dictionary<string, PlanBuffer> _gradients = [];
    private readonly Dictionary<string, PlanBuffer> _states = [];
    private readonly Dictionary<(string, int), PlanBuffer> _statesOfSequences = [];
    private readonly IReadOnlyDictionary<string, StorageFormat> _formats;
    private long _gradientEnd;
    private RoundedCopies? _copies;

    // What it has the parameters of, if it was made for some states of that.
    private ModelLayout? _whole;

    private readonly IReadOnlyDictionary<string, StorageFormat> _stateFormats;

    private ModelLayout(IReadOnlyDictionary<string, StorageFormat>? formats, IReadOnlyDictionary<string, StorageFormat>? stateFormats)
        => (_formats, _stateFormats) = (formats ?? new Dictionary<string, StorageFormat>(), stateFormats ?? new Dictionary<string, StorageFormat>());

    /// <summary>Every parameter with its offset, in the order of declaration.</summary>
    public List<(Parameter Parameter, long Offset)> Parameters { get; } = [];

    /// <summary>The words of all parameters: as many elements, where all of them are single precision.</summary>
    public long WeightElements { get; private set; }

    /// <summary>The words of the parameters that training changes, which come first.</summary>
    public long TrainedElements { get; private set; }

    /// <summary>The elements of the gradients of these parameters, which are single precision, whatever the parameters are: optimizer slots mirror them.</summary>
    public long GradientElements { get; private set; }

    /// <summary>Whether a parameter that training changes is not stored in single precision: a trainer has a master copy then.</summary>
    public bool HasMasters => Parameters.Any(p => p.Offset < TrainedElements && _formats.ContainsKey(p.Parameter.ParameterName));

    /// <summary>The bytes of all states of a sequence.</summary>
    public long StateBytes { get; private set; }

    /// <summary>Parameters that are not stored in single precision, and how they are.</summary>
    public IReadOnlyDictionary<string, StorageFormat> Formats => _formats;

    /// <summary>How a state is stored.</summary>
    public StorageFormat FormatOfState(string name) => _stateFormats.TryGetValue(name, out StorageFormat? format) ? format : StorageFormat.Float32;

    /// <summary>Every parameter and state of some graphs, in the order in which the graphs name them first, but what is frozen after what is trained, and tables last.</summary>
    public static ModelLayout Of(IReadOnlyList<ModelGraph> graphs, Func<Parameter, bool>? isFrozen = null, IReadOnlyDictionary<string, StorageFormat>? formats = null, IReadOnlyDictionary<string, StorageFormat>? stateFormats = null)
    {
        var layout = new ModelLayout(formats, stateFormats);
        Parameter[] parameters = [.. graphs.SelectMany(g => g.NodesOf<Parameter>()).Select(n => (Parameter)n.Op)];
        foreach (Parameter parameter in parameters.Where(p => !p.IsTable && (isFrozen is null || !isFrozen(p))))
        {
            layout.Add(parameter);
        }

        (layout.TrainedElements, layout.GradientElements) = (layout.WeightElements, layout._gradientEnd);
        foreach (Parameter parameter in parameters.OrderBy(p => p.IsTable))
        {
            layout.Add(parameter);
        }

        layout.AddStates(graphs);
        return layout;
    }

    public static ModelLayout Of(ModelGraph graph) => Of([graph]);

    /// <summary>The same parameters with the states of other graphs: those that one session or one trainer holds.</summary>
    public ModelLayout WithStates(IReadOnlyList<ModelGraph> graphs)
    {
        var layout = new ModelLayout(_formats, _stateFormats) { _whole = _whole ?? this };
        foreach ((Parameter parameter, _) in Parameters)
        {
            layout.Add(parameter);
        }

        (layout.TrainedElements, layout.GradientElements) = (TrainedElements, GradientElements);
        layout.AddStates(graphs);
        return layout;
    }

    /// <summary>The copies of weights in bfloat16 that a device's programs read: one set, whatever states a layout has.</summary>
    public RoundedCopies Copies => _whole is not null ? _whole.Copies : _copies ??= new RoundedCopies(WeightElements);

    /// <summary>The same parameters, in other formats where they are not trained: those of a device.</summary>
    public ModelLayout WithFormats(IReadOnlyDictionary<string, StorageFormat> formats)
    {
        if (formats.Count == _formats.Count)
        {
            return this;
        }

        var layout = new ModelLayout(formats, _stateFormats);
        foreach ((Parameter parameter, _) in Parameters)
        {
            layout.Add(parameter);
        }

        (layout.TrainedElements, layout.GradientElements) = (TrainedElements, GradientElements);
        return layout;
    }

    /// <summary>What parameters, their gradients and states are called.</summary>
    public IEnumerable<string> Names => [.. _weights.Keys, .. _gradients.Keys.Select(n => "d " + n), .. _states.Keys];

    public PlanBuffer Weight(string name) => _weights[name];

    public PlanBuffer Gradient(string name) => _gradients[name];

    public PlanBuffer State(string name, Shape shape)
        => _states.TryGetValue(name, out PlanBuffer? buffer) && buffer.Elements == shape.MaximumElements
            ? buffer
            : throw new GraphException($"the state {name} of shape {shape} is not in the layout");

    /// <summary>How far apart a state of one sequence and that of the next lie, in elements of the state's format.</summary>
    /// <exception cref="GraphException">That is no whole number of blocks.</exception>
    public long StatesApart(StorageFormat format)
        => StateBytes % format.BlockBytes == 0 ? StateBytes / format.BlockBytes * format.BlockElements : throw new GraphException($"states of {StateBytes} bytes are no whole number of blocks of {format}");

    /// <summary>A state of all sequences [N, ..], from the first one's to the last one's, with the other states between them.</summary>
    public PlanBuffer States(string name, Shape shape)
    {
        PlanBuffer one = State(name, shape.DropFirst());
        int sequences = shape[0].Maximum;
        if (!_statesOfSequences.TryGetValue((name, sequences), out PlanBuffer? buffer))
        {
            buffer = new PlanBuffer(name, MemorySpace.State, one.Format, ((sequences - 1) * StatesApart(one.Format)) + one.Elements) { Offset = one.Offset, Columns = one.Columns };
            _statesOfSequences.Add((name, sequences), buffer);
        }

        return buffer;
    }

    private void Add(Parameter parameter)
    {
        string name = parameter.ParameterName;
        if (_parameters.TryGetValue(name, out Parameter? other))
        {
            if (!other.Equals(parameter))
            {
                throw new GraphException($"two parameters are called {name}: one of shape {other.Shape}, one of shape {parameter.Shape}");
            }

            return;
        }

        // Gradients are single precision.
        StorageFormat format = _formats.TryGetValue(name, out StorageFormat? declared) ? declared : StorageFormat.Float32;
        long elements = parameter.Shape.MaximumElements;
        long offset = WeightElements * PlanBuffer.WordBytes;
        _parameters.Add(name, parameter);
        var weight = new PlanBuffer(name, MemorySpace.Weights, format, (elements + format.BlockElements - 1) / format.BlockElements * format.BlockElements) { Offset = offset, Columns = parameter.Shape.Columns };
        _weights.Add(name, weight);
        var gradient = new PlanBuffer(name, MemorySpace.Gradients, StorageFormat.Float32, elements) { Offset = _gradientEnd * PlanBuffer.WordBytes, Columns = parameter.Shape.Columns };
        _gradients.Add(name, gradient);
        _gradientEnd += MemoryPlanner.Align(gradient.Bytes) / PlanBuffer.WordBytes;
        Parameters.Add((parameter, WeightElements));
        WeightElements += MemoryPlanner.Align(weight.Bytes) / PlanBuffer.WordBytes;
    }

    private void AddStates(IReadOnlyList<ModelGraph> graphs)
    {
        foreach ((string name, Shape shape) in graphs.SelectMany(States))
        {
            if (!_states.TryGetValue(name, out PlanBuffer? buffer))
            {
                buffer = new PlanBuffer(name, MemorySpace.State, FormatOfState(name), shape.MaximumElements) { Offset = StateBytes, Columns = shape.Columns };
                _states.Add(name, buffer);
                StateBytes += MemoryPlanner.Align(buffer.Bytes);
            }
            else if (buffer.Elements != shape.MaximumElements)
            {
                throw new GraphException($"the state {name} of {buffer.Elements} elements is of shape {shape} elsewhere");
            }
        }

        // The states of one sequence and of the next are whole blocks apart, and whole cache lines.
        while (_states.Values.Any(s => StateBytes % s.Format.BlockBytes != 0))
        {
            StateBytes += MemoryPlanner.Align(1);
        }
    }

    private static IEnumerable<(string Name, Shape Shape)> States(ModelGraph graph)
        => graph.NodesOf<StateRead>().Select(n => (StateRead)n.Op).Select(s => (s.State, s.Shape))
            .Concat(graph.NodesOf<SequenceStates>().Select(n => (SequenceStates)n.Op).Select(s => (s.State, s.Shape.DropFirst())))
            .Concat(graph.StateUpdates.Where(u => u.Value.Op is not ScatterRows).Select(u => (u.State, u.Value.Shape)));
}
