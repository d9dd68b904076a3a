using System.Collections.Generic;
using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Kernels;
using ModelGen.Compiler.Ops;
using ModelGen.Compiler.Passes;

namespace ModelGen.Compiler;

/// <summary>Where parameters, their gradients and states lie: the same for every plan of a model.</summary>
internal sealed class ModelLayout
{
    private readonly Dictionary<string, PlanBuffer> _weights = [];
    private readonly Dictionary<string, PlanBuffer> _gradients = [];
    private readonly Dictionary<string, PlanBuffer> _states = [];

    /// <summary>Every parameter with its offset, in the order of declaration.</summary>
    public List<(Parameter Parameter, long Offset)> Parameters { get; } = [];

    public long WeightElements { get; private set; }

    public long StateElements { get; private set; }

    public static ModelLayout Of(ModelGraph graph)
    {
        var layout = new ModelLayout();
        foreach (Node node in graph.Nodes)
        {
            if (node.Op is Parameter parameter && !layout._weights.ContainsKey(parameter.ParameterName))
            {
                long size = parameter.Shape.MaximumElements;
                layout._weights.Add(parameter.ParameterName, new PlanBuffer(parameter.ParameterName, MemorySpace.Weights, size) { Offset = layout.WeightElements });
                layout._gradients.Add(parameter.ParameterName, new PlanBuffer(parameter.ParameterName, MemorySpace.Gradients, size) { Offset = layout.WeightElements });
                layout.Parameters.Add((parameter, layout.WeightElements));
                layout.WeightElements += MemoryPlanner.Align(size);
            }
        }

        return layout;
    }

    public PlanBuffer Weight(string name) => _weights[name];

    public PlanBuffer Gradient(string name) => _gradients[name];

    public PlanBuffer State(string name, Shape shape)
    {
        if (!_states.TryGetValue(name, out PlanBuffer? buffer))
        {
            buffer = new PlanBuffer(name, MemorySpace.State, shape.MaximumElements) { Offset = StateElements };
            StateElements += MemoryPlanner.Align(buffer.Size);
            _states.Add(name, buffer);
        }

        return buffer;
    }
}
