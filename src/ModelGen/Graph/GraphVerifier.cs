using System.Collections.Generic;
using System.Linq;
using ModelGen.Compiler.Ops;

namespace ModelGen.Compiler.Graph;

/// <summary>
/// The rules that hold between passes: every input is defined above its use, every type is what the operator's
/// shape rule gives, identifiers and state names are unique, and every innermost extent is a literal.
/// </summary>
internal static class GraphVerifier
{
    public static void Verify(ModelGraph graph, string after)
    {
        var defined = new HashSet<Node>();
        var ids = new HashSet<int>();
        foreach (Node node in graph.Nodes)
        {
            Require(ids.Add(node.Id), node, "its identifier is taken");
            foreach (Value input in node.Inputs)
            {
                Require(defined.Contains(input.Node), node, $"its input {input} is not defined above it");
                Require(input.Index >= 0 && input.Index < input.Node.Outputs.Count, node, $"its input {input} does not exist");
            }

            IReadOnlyList<TensorType> expected = node.Op.Infer(node.Inputs.Select(i => i.Type).ToArray());
            Require(expected.SequenceEqual(node.Outputs), node, $"its type is {string.Join(", ", node.Outputs)} and its shape rule gives {string.Join(", ", expected)}");
            foreach (TensorType output in node.Outputs)
            {
                Require(output.Element == ElementType.Int32 || output.Shape.Rank == 0 || output.Shape[-1].IsLiteral, node, "its innermost extent is symbolic");
            }

            if (node.Op is Scan scan)
            {
                Verify(scan.Body, after + ", in the body of " + node.Name);
            }

            defined.Add(node);
        }

        foreach (Value result in graph.Results)
        {
            if (!defined.Contains(result.Node))
            {
                throw new GraphException($"after {after}: result {result} is not in the graph");
            }
        }

        void Require(bool condition, Node node, string problem)
        {
            if (!condition)
            {
                throw new GraphException($"after {after}: {node}: {problem}");
            }
        }
    }
}
