using System.Collections.Generic;
using System.Linq;
using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Ops;

namespace ModelGen.Compiler.Passes;

/// <summary>
/// Hands out, of every row that linear layers read, the sum of its elements' squares over all rows of a run: what quantizing a weight goes by to be exact where it counts. Weights that read the
/// same rows have one output, whose name lists them. Guarantees: nothing else of the graph changes.
/// </summary>
internal static class InputSquares
{
    /// <summary>What stands before the names of weights, with | between them.</summary>
    public const string Prefix = "input_squares:";

    private const char Separator = '|';

    /// <summary>The graph with the outputs. Weights of recurrences and of experts, whose rows are counted otherwise, have none.</summary>
    public static ModelGraph Add(ModelGraph graph)
        => GraphRewriter.Rewrite(graph, static (_, _, _) => null, (builder, map) =>
        {
            var readers = new Dictionary<Value, List<string>>();
            var order = new List<Value>();
            foreach (Node node in graph.NodesOf<MatMul>())
            {
                if (node.Op is not MatMul { Form: MatMulForm.NT } || node.Inputs[1].Op is not Parameter { IsTable: false, Shape.Rank: 2 } weight)
                {
                    continue;
                }

                if (!readers.TryGetValue(node.Inputs[0], out List<string>? names))
                {
                    readers.Add(node.Inputs[0], names = []);
                    order.Add(node.Inputs[0]);
                }

                names.Add(weight.ParameterName);
            }

            foreach (Value rows in order)
            {
                string name = string.Join(Separator.ToString(), readers[rows]);
                Value x = map[rows];
                Value squares = builder.Add(new Multiply(), rows.Name + ".squares", x, x);
                builder.Output(Prefix + name, builder.Add(new ColumnSum(Shape.Of(x.Shape[-1])), rows.Name + ".square_sums", squares));
            }
        });
}
