using System;
using System.Collections.Generic;
using System.Linq;
using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Ops;

namespace ModelGen.Compiler.Autodiff;

/// <summary>
/// Reverse-mode differentiation over the representation: walks a graph's nodes backwards, asks each operator for its
/// gradient rule, and appends the backward program to a builder. It knows no operator and no family; a recurrence is
/// differentiated by the gradient rule of <see cref="Scan"/>, which runs this engine on the recurrence's body.
/// </summary>
internal sealed class ReverseMode(GraphBuilder builder, Func<Value, Value> forward)
{
    private readonly Dictionary<Value, List<Value>> _cotangents = [];
    private HashSet<Value> _needed = [];

    public GraphBuilder Builder { get; } = builder;

    /// <summary>Called before a node's gradient rule.</summary>
    private Action<Node>? Entering { get; init; }

    /// <summary>The value in the backward program that stands for a value of the differentiated graph.</summary>
    public Value Forward(Value value) => forward(value);

    public bool Needs(Value value) => _needed.Contains(value);

    public bool HasCotangent(Value value) => _cotangents.ContainsKey(value);

    public void Accumulate(Value value, Value cotangent)
    {
        if (!_cotangents.TryGetValue(value, out List<Value>? contributions))
        {
            _cotangents.Add(value, contributions = []);
        }

        contributions.Add(cotangent);
    }

    /// <summary>The contributions to a value's cotangent, not yet added up, but with column ranges put together.</summary>
    public IReadOnlyList<Value> Contributions(Value value) => _cotangents.TryGetValue(value, out List<Value>? list) ? Concatenate(list, value.OwnName) : [];

    /// <summary>A value's cotangent: its contributions added up, or zeros.</summary>
    public Value Cotangent(Value value)
    {
        if (!_cotangents.TryGetValue(value, out List<Value>? contributions))
        {
            return Builder.Add(new Constant(0, value.Shape), "");
        }

        if (contributions.Count > 1 || contributions[0].Op is PadColumns)
        {
            // A sum of parts of one operation's gradient is part of it; another is the value's own, and none of that of the operation that asks for it first.
            Origin? asking = Builder.Within;
            Builder.Within = contributions.All(c => c.Node.Within is { } within && within.Equals(contributions[0].Node.Within)) ? contributions[0].Node.Within : new Origin("add", "d " + value.OwnName, [], IsGradient: true);
            Value sum = Concatenate(contributions, value.OwnName).Aggregate((sum, term) => Builder.Add(new Add(), "d " + value.OwnName, sum, term));
            Builder.Within = asking;
            contributions.Clear();
            contributions.Add(sum);
        }

        return contributions[0];
    }

    /// <summary>Differentiates <paramref name="graph"/> for the leaves that <paramref name="isVariable"/> names; results' cotangents have been accumulated before.</summary>
    public void Run(ModelGraph graph, Func<Node, bool> isVariable)
    {
        _needed = [];
        foreach (Node node in graph.Nodes)
        {
            bool needed = node.Op is LeafOperator ? isVariable(node) : node.Inputs.Any(_needed.Contains);
            for (int i = 0; needed && i < node.Outputs.Count; i++)
            {
                if (node.Outputs[i].Element == ElementType.Float32)
                {
                    _needed.Add(new Value(node, i));
                }
            }
        }

        foreach (Node node in graph.Nodes.Reverse())
        {
            if (node.Op is LeafOperator || !Enumerable.Range(0, node.Outputs.Count).Any(i => HasCotangent(new Value(node, i)) && Needs(new Value(node, i))))
            {
                continue;
            }

            Entering?.Invoke(node);
            Builder.Within = node.Origin with { IsGradient = true };
            node.Op.Gradient(new GradientContext(this, node));
            Builder.Within = null;
        }
    }

    /// <summary>
    /// Appends the gradients of the output <paramref name="loss"/> for every parameter, or for those that <paramref name="isTrained"/> names,
    /// to a copy of the graph. The loss's own cotangent is the run's gradient scale.
    /// </summary>
    public static ModelGraph Differentiate(ModelGraph graph, string loss, Func<Parameter, bool>? isTrained = null)
    {
        var builder = new GraphBuilder();
        ValueMap map = builder.Import(graph);
        foreach (GraphOutput output in graph.Outputs)
        {
            builder.Output(output.Name, map[output.Value]);
        }

        foreach (StateUpdate update in graph.StateUpdates)
        {
            builder.UpdateState(update.State, map[update.Value]);
        }

        // A region that is to be computed again is so when the walk backwards enters it.
        var again = new Dictionary<Value, Value>();
        var regions = new HashSet<string>();
        Value Known(Value value) => again.TryGetValue(value, out Value copy) ? copy : map[value];
        void Recompute(Node node)
        {
            if (node.Recomputed.Region is not { } region || !regions.Add(region))
            {
                return;
            }

            foreach (Node inner in graph.Nodes.Where(n => n.Recomputed.Region == region))
            {
                builder.Within = inner.Within;
                builder.Recomputed = new Recomputed(region, regions.Count);
                Value[] results = builder.AddMany(inner.Op, inner.Name, inner.Inputs.Select(Known).ToArray());
                for (int i = 0; i < results.Length; i++)
                {
                    again[new Value(inner, i)] = results[i];
                }
            }

            builder.Within = null;
            builder.Recomputed = default;
        }

        var engine = new ReverseMode(builder, Known) { Entering = Recompute };
        Value seed = builder.Add(new RuntimeScalar(Kernels.RuntimeScalarKind.GradientScale), "");
        Value lossValue = graph.Output(loss);
        engine.Accumulate(lossValue, builder.Add(new BroadcastTo(lossValue.Shape), "d " + loss, seed));
        engine.Run(graph, node => node.Op is Parameter { IsTable: false } parameter && (isTrained is null || isTrained(parameter)));
        foreach (Node node in graph.Nodes)
        {
            if (node.Op is Parameter parameter)
            {
                foreach (Value contribution in engine.Contributions(new Value(node, 0)))
                {
                    builder.AddGradient(parameter.ParameterName, contribution);
                }
            }
        }

        return builder.Build();
    }

    /// <summary>The contributions in the order they came, with disjoint column ranges as one concatenation.</summary>
    private List<Value> Concatenate(IReadOnlyList<Value> contributions, string name)
    {
        Value[] padded = contributions.Where(c => c.Op is PadColumns).OrderBy(c => ((PadColumns)c.Op).Offset).ToArray();
        var terms = contributions.Where(c => c.Op is not PadColumns).ToList();
        while (padded.Length > 0)
        {
            var taken = new List<Value>();
            var rest = new List<Value>();
            int end = 0;
            foreach (Value candidate in padded)
            {
                int offset = ((PadColumns)candidate.Op).Offset;
                if (offset < end)
                {
                    rest.Add(candidate);
                    continue;
                }

                if (offset > end)
                {
                    taken.Add(Zeros(candidate.Shape.WithLast(offset - end)));
                }

                Value content = candidate.Node.Inputs[0];
                taken.Add(content);
                end = offset + content.Shape.Columns;
            }

            Value first = padded[0];
            if (end < first.Shape.Columns)
            {
                taken.Add(Zeros(first.Shape.WithLast(first.Shape.Columns - end)));
            }

            terms.Add(Builder.Add(new ConcatColumns(), "d " + name, taken.ToArray()));
            padded = rest.ToArray();
        }

        return terms;

        Value Zeros(Shape shape) => Builder.Add(new Constant(0, shape), "");
    }
}
