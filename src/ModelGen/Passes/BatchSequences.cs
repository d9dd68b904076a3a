using System.Collections.Generic;
using System.Linq;
using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Ops;

namespace ModelGen.Compiler.Passes;

/// <summary>
/// Turns a graph over the next step of a batch of sequences into one over any of those that a session holds, each at a position of its own:
/// states are gathered from, and written to, those of the sequences that an input names; what moves with the position is
/// taken by an input of positions; and products are summed row by row.
/// Guarantees: each row is bit for bit what the graph over its sequence alone gives; states of other sequences stay as they are.
/// </summary>
internal static class BatchSequences
{
    /// <param name="graph">A graph over [B, 1] steps, with no scan.</param>
    /// <param name="sequences">The numbers of the sequences, i32 [B].</param>
    /// <param name="positions">Their positions, i32 [B]; null where nothing depends on them.</param>
    /// <param name="caches">How many keys and values a sequence has caches for.</param>
    public static ModelGraph Run(ModelGraph graph, Input sequences, Input? positions, SequenceCaches caches)
    {
        Value Sequences(GraphBuilder b) => b.Add(sequences, sequences.InputName);
        Value Positions(GraphBuilder b, Node node) => positions is null
            ? throw new GraphException($"{node}: moves with the position of a sequence, and no input has those")
            : b.Add(positions, positions.InputName);
        var states = new Dictionary<string, Value>();
        Dictionary<(Value Rows, KeyRange Range), string> owners = SequenceCaches.Owners(graph);
        return GraphRewriter.Rewrite(graph, (b, node, inputs) =>
        {
            Value Stored(Value of) => b.Add(new SequenceStates(((StateRead)of.Op).State, of.Shape.WithFirst(sequences.Classes)), of.Name);
            switch (node.Op)
            {
                case StateRead state:
                    Value all = b.Add(new SequenceStates(state.State, Shape.Of(sequences.Classes, Elements(state.Shape))), node.Name);
                    states[state.State] = all;
                    Value own = b.Add(new Embedding(), node.Name, all, Sequences(b));
                    return [own.Shape.Equals(state.Shape) ? own : b.Add(new Reshape(state.Shape), node.Name, own)];
                case Attention { Range: { IsCausal: false, IsCached: false, HasSequences: false, Window: null } seen } attention when IsState(node.Inputs[1]) && IsState(node.Inputs[2]):
                    // Keys and values that were there before are read where they lie.
                    return b.AddMany(attention with { Range = seen with { HasSequences = true } }, node.Name, [inputs[0], Stored(node.Inputs[1]), Stored(node.Inputs[2]), Sequences(b), .. inputs.Skip(3)]);
                case AttentionWeights { Of.Range: { IsCausal: false, IsCached: false, HasSequences: false } of } weights when IsState(node.Inputs[1]):
                    return [b.Add(weights with { Of = weights.Of with { Range = of with { HasSequences = true } } }, node.Name, [inputs[0], Stored(node.Inputs[1]), inputs[2], Sequences(b), .. inputs.Skip(AttentionWeights.Tensors)])];
                case AttentionWeights { Of.Range: { IsCausal: false, IsCached: false, HasSequences: false } }:
                case Attention { Range: { IsCausal: false, IsCached: false, HasSequences: false, Window: null } }:
                    return null;
                case RowsAtPosition rows when rows.Time == (Dim)1:
                    Value picked = b.Add(new Embedding(), node.Name, inputs[0], Positions(b, node));
                    return [b.Add(new Reshape(Shape.Of(picked.Shape[0], 1, picked.Shape[-1])), node.Name, picked)];
                case Attention { Range: { IsCausal: true, IsCached: false, VariesBySequence: false } range } attention:
                    KeyRange cached = caches.Cached(range) with { HasSequences = true, HasPositions = true };
                    Value Cache(string name, int input)
                    {
                        Value rows = inputs[input];
                        name = owners[(node.Inputs[input], range)] + "." + name;
                        Value all = b.Add(new SequenceStates(name, Shape.Of(sequences.Classes, caches.Rows(cached), rows.Shape[-1])), name);
                        return b.Add(new ScatterRows { IsRing = cached.IsRing, Kept = cached.IsRing ? cached.Kept : 0 }, name, all, rows, Sequences(b), Positions(b, node));
                    }

                    return b.AddMany(attention with { Range = cached }, node.Name, [inputs[0], Cache("key_cache", 1), Cache("value_cache", 2), Sequences(b), Positions(b, node), .. inputs.Skip(3)]);
                case Preceded preceded when inputs.Count == 1:
                    string carried = node.Name + ".state";
                    Shape before = preceded.Before(inputs[0].Shape);
                    Value every = b.Add(new SequenceStates(carried, Shape.Of(sequences.Classes, Elements(before))), carried);
                    Value past = b.Add(new Reshape(before), carried, b.Add(new Embedding(), carried, every, Sequences(b)));
                    Value whole = b.Add(preceded, node.Name, inputs[0], past);
                    b.UpdateState(carried, b.Add(new ScatterRows(), carried, every, Flat(b, b.Add(new LastSteps(preceded.Steps), carried, whole)), Sequences(b)));
                    return [whole];
                case Scan or LastRow or Attention or AttentionWeights:
                    throw new GraphException($"{node}: takes several steps, and each sequence has one");
                case MatMul { Form: MatMulForm.NT } product:
                    return [b.Add(product with { RowByRow = true }, node.Name, [.. inputs])];
                default:
                    return null;
            }
        }, update: (b, update, value) => b.Add(new ScatterRows(), update.State, states[update.State], Flat(b, value), Sequences(b)));

        static bool IsState(Value value) => value is { Op: StateRead, Shape.Rank: 3 };
        static int Elements(Shape shape) => checked((int)shape.DropFirst().MaximumElements);
        static Value Flat(GraphBuilder b, Value value)
            => value.Shape.Rank == 2 ? value : b.Add(new Reshape(Shape.Of(value.Shape[0], Elements(value.Shape))), value.Name, value);
    }
}
