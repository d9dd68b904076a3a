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

    /// <summary>What stands behind it in the name of how many rows of each expert were summed up.</summary>
    public const string Counts = "counts:";

    private const char Separator = '|';

    /// <summary>The graph with the outputs. Weights of recurrences, whose rows are counted otherwise, have none; those of experts have the sums of each expert's rows, [experts, columns], and beside them how many those are.</summary>
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

            var experts = new Dictionary<Value, (Value Sent, List<string> Names)>();
            var routed = new List<Value>();
            foreach (Node node in graph.NodesOf<ExpertMatMul>())
            {
                if (node.Op is not ExpertMatMul { IsTransposed: false } || node.Inputs[1].Op is not Parameter { IsTable: false, Shape.Rank: 3 } weight || node.Inputs[2] is not { Op: Route, Index: Route.Experts })
                {
                    continue;
                }

                if (!experts.TryGetValue(node.Inputs[0], out (Value Sent, List<string> Names) reader))
                {
                    experts.Add(node.Inputs[0], reader = (node.Inputs[2], []));
                    routed.Add(node.Inputs[0]);
                }

                reader.Names.Add(weight.ParameterName);
            }

            foreach (Value rows in routed)
            {
                (Value sent, List<string> names) = experts[rows];
                string name = string.Join(Separator.ToString(), names);
                Value mask = map[new Value(sent.Node, Route.Mask)], x = map[rows];
                int all = mask.Shape.Columns;
                Value squares = builder.Add(new Multiply(), rows.Name + ".squares", x, x);
                builder.Output(Prefix + name, builder.Add(new EmbeddingGradient(all), rows.Name + ".square_sums", map[sent], squares));
                builder.Output(Prefix + Counts + name, builder.Add(new ColumnSum(Shape.Of(all)), rows.Name + ".counts", mask));
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
