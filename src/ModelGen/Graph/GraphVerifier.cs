using System;
using System.Collections.Generic;
using System.Linq;
using System.Runtime.CompilerServices;
using ModelGen.Compiler.Ops;

namespace ModelGen.Compiler.Graph;

/// <summary>
/// The rules that hold between passes: every input is defined above its use, every type is what the operator's
/// shape rule gives, integers that callers give lead nowhere outside what they point into, identifiers, outputs and states are unique by name, every innermost extent is a literal, a state is
/// updated once and with a value of its shape, and a gradient has its parameter's shape.
/// </summary>
internal static class GraphVerifier
{
    public static void Verify(ModelGraph graph, string after) => Verify(graph, after, static _ => null);

    /// <param name="graph">The graph, or the body of a scan.</param>
    /// <param name="after">What has made it, for messages.</param>
    /// <param name="outside">The input that a body's leaf is given outside of the body.</param>
    private static void Verify(ModelGraph graph, string after, Func<BodyInput, Input?> outside)
    {
        // The nodes so far, by identifier.
        var defined = new Node?[graph.Nodes.Count == 0 ? 0 : Math.Max(0, graph.Nodes.Max(n => n.Id)) + 1];
        var named = new Dictionary<string, Shape>();
        foreach (Node node in graph.Nodes)
        {
            Require(node.Id >= 0 && defined[node.Id] is null, node, $"its identifier is taken");
            foreach (Value input in node.Inputs)
            {
                Require(IsDefined(input.Node), node, $"its input {input} is not defined above it");
                Require(input.Index >= 0 && input.Index < input.Node.Outputs.Count, node, $"its input {input} does not exist");
            }

            for (int i = 0; i < node.Inputs.Count; i++)
            {
                if (node.Op.IndexLimit(node, i) is { } limit && Given(node.Inputs[i]) is { } given)
                {
                    Require(given.Classes <= limit && !given.MayBeIgnored, node, $"its integers are below {limit}, and those of the input {given.InputName} are {(given.MayBeIgnored ? -1 : 0)} to {given.Classes - 1}");
                }
            }

            IReadOnlyList<TensorType> expected = node.Op.Infer(node.Inputs.Select(i => i.Type).ToArray());
            Require(expected.SequenceEqual(node.Outputs), node, $"its type is {string.Join(", ", node.Outputs)} and its shape rule gives {string.Join(", ", expected)}");
            foreach (TensorType output in node.Outputs)
            {
                Require(output.Element == ElementType.Int32 || output.Shape.Rank == 0 || output.Shape[-1].IsLiteral, node, $"its innermost extent is symbolic");
            }

            if (node.Op is Parameter or StateRead or SequenceStates)
            {
                string name = node.Op switch { Parameter p => Key(p.ParameterName), StateRead s => s.State, _ => ((SequenceStates)node.Op).State };
                Require(!named.ContainsKey(name), node, $"another leaf has its name");
                named.Add(name, node.Outputs[0].Shape);
            }

            if (node.Op is Scan scan)
            {
                Verify(scan.Body, after + ", in the body of " + node.Name, leaf => leaf.Kind switch
                {
                    BodyInputKind.Sequence => Given(node.Inputs[scan.Carries + leaf.Number]),
                    BodyInputKind.Invariant => Given(node.Inputs[scan.Carries + scan.Sequences + leaf.Number]),
                    _ => null,
                });
            }

            defined[node.Id] = node;
        }

        foreach (Value result in graph.Results)
        {
            if (!IsDefined(result.Node))
            {
                throw new GraphException($"after {after}: result {result} is not in the graph");
            }
        }

        var outputs = new HashSet<string>();
        foreach (GraphOutput output in graph.Outputs)
        {
            Require(outputs.Add(output.Name), output.Value.Node, $"a second output is called {output.Name}");
        }

        var updated = new HashSet<string>();
        foreach (StateUpdate update in graph.StateUpdates)
        {
            Require(updated.Add(update.State), update.Value.Node, $"it updates the state {update.State} a second time");
            Require(!named.TryGetValue(update.State, out Shape? state) || state.Equals(update.Value.Shape), update.Value.Node, $"it is {update.Value.Type} and updates the state {update.State} of shape {state}");
        }

        foreach (GradientContribution gradient in graph.Gradients)
        {
            Require(named.TryGetValue(Key(gradient.Parameter), out Shape? parameter) && parameter.Equals(gradient.Value.Shape), gradient.Value.Node, $"it is {gradient.Value.Type} and the gradient of {gradient.Parameter}, which is {parameter?.ToString() ?? "not in the graph"}");
        }

        // The input that integers come from, whatever way they are looked at.
        Input? Given(Value value) => value.Op switch
        {
            Input input => input,
            BodyInput leaf => outside(leaf),
            ViewOperator or TransposeIndices => Given(value.Node.Inputs[0]),
            _ => null,
        };

        bool IsDefined(Node node) => node.Id >= 0 && node.Id < defined.Length && defined[node.Id] == node;

        static string Key(string parameter) => "parameter " + parameter;

        void Require(bool condition, Node node, [InterpolatedStringHandlerArgument(nameof(condition))] ProblemText problem)
        {
            if (!condition)
            {
                throw new GraphException($"after {after}: {node}: {problem}");
            }
        }
    }
}
