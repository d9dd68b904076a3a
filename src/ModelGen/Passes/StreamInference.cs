using System.Collections.Generic;
using System.Linq;
using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Ops;

namespace ModelGen.Compiler.Passes;

/// <summary>
/// Turns a graph over whole sequences into one that continues a sequence: causal attention reads caches that grow by
/// this run's keys and values, and what reads some steps back is carried them from run to run (scans carry state already), and of the output only the last row may be wanted.
/// Guarantees: running the result over a sequence in pieces gives what the input graph gives over the whole.
/// </summary>
internal static class StreamInference
{
    /// <param name="graph">A graph over whole sequences.</param>
    /// <param name="output">The output that is wanted of the last step alone.</param>
    /// <param name="caches">How many keys and values a sequence has caches for.</param>
    /// <param name="everyStep">Whether all outputs are wanted instead, for every step of the run.</param>
    public static ModelGraph Run(ModelGraph graph, string output, SequenceCaches caches, bool everyStep = false)
    {
        Dictionary<(Value Rows, KeyRange Range), string> owners = SequenceCaches.Owners(graph);
        return GraphRewriter.Rewrite(graph, (builder, node, inputs) =>
        {
            Value Cache(string owner, string name, Value rows, KeyRange cached)
            {
                var state = builder.Add(new StateRead(owner + "." + name, Shape.Of(caches.Rows(cached), rows.Shape[-1])), owner + "." + name);
                return builder.Add(new AppendState { IsRing = cached.IsRing, Kept = cached.IsRing ? cached.Kept : 0 }, owner + "." + name, state, rows);
            }

            if (node.Op is AttentionWeights { Of.Range: { IsCausal: true, IsCached: false } seen } weights)
            {
                // Their keys are those of the attention that they belong to.
                KeyRange all = caches.Cached(seen);
                return [builder.Add(weights with { Of = weights.Of with { Range = all } }, node.Name, [inputs[0], Cache(owners[(node.Inputs[1], seen)], "key_cache", inputs[1], all), .. inputs.Skip(2)])];
            }

            if (node.Op is Preceded { Steps: var steps } preceded && inputs.Count == 1)
            {
                string state = node.Name + ".state";
                Value whole = builder.Add(preceded, node.Name, inputs[0], builder.Add(new StateRead(state, preceded.Before(inputs[0].Shape)), state));
                builder.UpdateState(state, builder.Add(new LastSteps(steps), state, whole));
                return [whole];
            }

            if (node.Op is not Attention { Range: { IsCausal: true, IsCached: false } range } attention)
            {
                return null;
            }

            if (range.VariesBySequence)
            {
                throw new GraphException($"{node}: a sequence that goes on has no lengths");
            }

            KeyRange cached = caches.Cached(range);
            return builder.AddMany(attention with { Range = cached }, node.Name, [inputs[0], Cache(owners[(node.Inputs[1], range)], "key_cache", inputs[1], cached), Cache(owners[(node.Inputs[2], range)], "value_cache", inputs[2], cached), .. inputs.Skip(3)]);
        }, (builder, map) =>
        {
            if (!everyStep)
            {
                builder.Output(output, builder.Add(new LastRow(), output, map[graph.Output(output)]));
            }
        }, keepOutputs: everyStep);
    }
}
