using System.Collections.Generic;
using System.Linq;
using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Ops;

namespace ModelGen.Compiler.Passes;

/// <summary>
/// Turns a graph over whole sequences into one that continues a sequence: causal attention reads caches that grow by
/// this run's keys and values (scans carry state already), and of the output only the last row may be wanted.
/// Guarantees: running the result over a sequence in pieces gives what the input graph gives over the whole.
/// </summary>
internal static class StreamInference
{
    /// <param name="graph">A graph over whole sequences.</param>
    /// <param name="output">The output that is wanted.</param>
    /// <param name="context">The rows of a cache.</param>
    /// <param name="everyStep">Whether the output is wanted for every step of the run, or for the last.</param>
    public static ModelGraph Run(ModelGraph graph, string output, int context, bool everyStep = false)
    {
        return GraphRewriter.Rewrite(graph, (builder, node, inputs) =>
        {
            if (node.Op is not Attention { Range: { IsCausal: true, IsCached: false } range } attention)
            {
                return null;
            }

            if (range.VariesBySequence)
            {
                throw new GraphException($"{node}: a sequence that goes on has no lengths");
            }

            Value Cache(string name, Value rows)
            {
                var state = builder.Add(new StateRead(node.Name + "." + name, Shape.Of(context, rows.Shape[-1])), node.Name + "." + name);
                return builder.Add(new AppendState(), node.Name + "." + name, state, rows);
            }

            return builder.AddMany(attention with { Range = range with { IsCached = true } }, node.Name, [inputs[0], Cache("key_cache", inputs[1]), Cache("value_cache", inputs[2])]);
        }, (builder, map) => builder.Output(output, everyStep ? map[graph.Output(output)] : builder.Add(new LastRow(), output, map[graph.Output(output)])), keepOutputs: false);
    }
}
