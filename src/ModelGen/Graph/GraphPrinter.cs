using System.Linq;
using System.Text;
using ModelGen.Compiler.Ops;

namespace ModelGen.Compiler.Graph;

/// <summary>The text of a graph: one node a line, as the snapshot tests and a person debugging a pass read it.</summary>
internal static class GraphPrinter
{
    public static string Print(ModelGraph graph)
    {
        var text = new StringBuilder();
        Print(text, graph, "");
        return text.ToString();
    }

    private static void Print(StringBuilder text, ModelGraph graph, string indent)
    {
        foreach (Node node in graph.Nodes)
        {
            text.Append(indent).Append('%').Append(node.Id).Append(" = ").Append(node.Op.Mnemonic).Append('(')
                .Append(string.Join(", ", node.Inputs)).Append(')');
            string attributes = node.Op.Attributes;
            if (attributes.Length > 0)
            {
                text.Append(" {").Append(attributes).Append('}');
            }

            text.Append(" : ").Append(string.Join(", ", node.Outputs));
            if (node.Name.Length > 0)
            {
                text.Append("  # ").Append(node.Name);
            }

            text.Append('\n');
            if (node.Op is Scan scan)
            {
                Print(text, scan.Body, indent + "    ");
            }
        }

        foreach (GraphOutput output in graph.Outputs)
        {
            text.Append(indent).Append("output ").Append(output.Name).Append(" = ").Append(output.Value).Append('\n');
        }

        foreach (StateUpdate update in graph.StateUpdates)
        {
            text.Append(indent).Append("state ").Append(update.State).Append(" = ").Append(update.Value).Append('\n');
        }

        foreach (GradientContribution gradient in graph.Gradients)
        {
            text.Append(indent).Append("gradient ").Append(gradient.Parameter).Append(" += ").Append(gradient.Value).Append('\n');
        }
    }
}
