using System;
using System.Collections.Generic;
using System.Globalization;
using System.Linq;
using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Ops;

namespace ModelGen.Compiler.Passes;

/// <summary>
/// Moves work out of recurrences, as the fast recurrent libraries do: what does not depend on a carried value is computed
/// for all time steps at once before the scan, and a matrix product that only an output sequence needs is computed for all
/// of them after it. Outputs that nothing reads are dropped, with the inputs that only they needed.
/// Guarantees: the same values; a scan's body holds only what the recurrence itself needs.
/// </summary>
internal static class ScanMotion
{
    public static ModelGraph Run(ModelGraph graph)
    {
        if (!graph.Contains<Scan>())
        {
            return graph;
        }

        ModelGraph pruned = Prune(graph);
        return Prune(GraphRewriter.Rewrite(pruned, (builder, node, inputs) => node.Op is Scan scan ? Move(builder, node.Name, scan, inputs) : null));
    }

    private static IReadOnlyList<Value> Move(GraphBuilder outer, string name, Scan scan, IReadOnlyList<Value> inputs)
    {
        HashSet<Node> carried = scan.Reached(Enumerable.Range(0, scan.Carries).Select(i => (BodyInputKind.Carry, i)).ToList());
        var stepped = new HashSet<Node>();
        var outside = new Dictionary<Value, Value>();
        foreach (Node node in scan.Body.Nodes)
        {
            if (node.Op is BodyInput leaf)
            {
                if (leaf.Kind != BodyInputKind.Carry)
                {
                    outside[new Value(node, 0)] = inputs[scan.Carries + leaf.Number + (leaf.Kind == BodyInputKind.Sequence ? 0 : scan.Sequences)];
                    if (leaf.Kind == BodyInputKind.Sequence)
                    {
                        stepped.Add(node);
                    }
                }
            }
            else if (node.Op is LeafOperator)
            {
                outside[new Value(node, 0)] = outer.Add(node.Op, node.Name);
            }
            else if (!carried.Contains(node) && CanHoist(node, stepped) && node.Inputs.All(outside.ContainsKey))
            {
                Value[] results = outer.AddMany(node.Op, node.Name, node.Inputs.Select(i => outside[i]).ToArray());
                for (int i = 0; i < results.Length; i++)
                {
                    outside[new Value(node, i)] = results[i];
                }

                if (node.Inputs.Any(i => stepped.Contains(i.Node)))
                {
                    stepped.Add(node);
                }
            }
        }

        // The body again, with what was hoisted as sequences and invariants.
        var body = new GraphBuilder();
        var sequences = new List<Value>();
        var invariants = new List<Value>();
        var map = new Dictionary<Value, Value>();
        Value InBody(Value value)
        {
            if (map.TryGetValue(value, out Value known))
            {
                return known;
            }

            Value result;
            if (value.Op is BodyInput { Kind: BodyInputKind.Carry })
            {
                result = body.Add(value.Op, value.Name);
            }
            else if (value.Op is LeafOperator and not BodyInput)
            {
                result = body.Add(value.Op, value.Name);
            }
            else if (outside.TryGetValue(value, out Value hoisted))
            {
                bool step = stepped.Contains(value.Node);
                List<Value> list = step ? sequences : invariants;
                int number = list.IndexOf(hoisted);
                if (number < 0)
                {
                    number = list.Count;
                    list.Add(hoisted);
                }

                result = body.Add(new BodyInput(step ? BodyInputKind.Sequence : BodyInputKind.Invariant, number, value.Type), value.Name);
            }
            else
            {
                result = body.AddMany(value.Op, value.Name, value.Node.Inputs.Select(InBody).ToArray())[value.Index];
            }

            map[value] = result;
            return result;
        }

        // Body nodes keep their order: it is the order in which kernels run and memory is freed.
        foreach (Node node in scan.Body.Nodes)
        {
            if (node.Op is not LeafOperator && !outside.ContainsKey(new Value(node, 0)))
            {
                for (int i = 0; i < node.Outputs.Count; i++)
                {
                    InBody(new Value(node, i));
                }
            }
        }

        for (int i = 0; i < scan.Carries; i++)
        {
            body.Output(scan.Body.Outputs[i].Name, InBody(scan.Body.Outputs[i].Value));
        }

        ILookup<Value, Node> readers = scan.Body.Nodes.SelectMany(n => n.Inputs.Select(i => (i, n))).ToLookup(p => p.i, p => p.n);
        var finishers = new List<Func<Value[], Scan, Value>>();
        int kept = 0;
        int Keep(string outputName, Value value)
        {
            body.Output(outputName, InBody(value));
            return kept++;
        }

        foreach (GraphOutput output in scan.Body.Outputs.Skip(scan.Carries))
        {
            Value value = output.Value;
            if (outside.TryGetValue(value, out Value hoisted) && stepped.Contains(value.Node))
            {
                finishers.Add((_, _) => hoisted);
            }
            else if (value.Op is BodyInput { Kind: BodyInputKind.Carry } carry)
            {
                finishers.Add((results, _) => results[Scan.Before(carry.Number)]);
            }
            else if (value.Op is MatMul { IsRowWise: true } && !readers[value].Any()
                && scan.Body.Outputs.Take(scan.Carries).All(o => o.Value != value)
                && outside.TryGetValue(value.Node.Inputs[1], out Value weight) && !stepped.Contains(value.Node.Inputs[1].Node))
            {
                Value rows = value.Node.Inputs[0];
                if (rows.Op is BodyInput { Kind: BodyInputKind.Carry } carryRows)
                {
                    finishers.Add((results, _) => outer.Add(value.Op, value.Name, results[Scan.Before(carryRows.Number)], weight));
                }
                else
                {
                    int number = Keep(output.Name + ".rows", rows);
                    finishers.Add((results, moved) => outer.Add(value.Op, value.Name, results[moved.Sequence(number)], weight));
                }
            }
            else
            {
                int number = Keep(output.Name, value);
                finishers.Add((results, moved) => results[moved.Sequence(number)]);
            }
        }

        var movedScan = new Scan(body.Build(), scan.Extent, scan.Reverse, scan.Carries, sequences.Count);
        Value[] all = outer.AddMany(movedScan, name, [.. inputs.Take(scan.Carries), .. sequences, .. invariants]);
        return [.. all.Take(3 * scan.Carries), .. finishers.Select(f => f(all, movedScan))];
    }

    // Outside, a stepped value has one extent more in front, so it must have had all the others already, and what lies beside
    // steps must be stepped itself.
    private static bool CanHoist(Node node, HashSet<Node> stepped)
    {
        int rank = node.Outputs[0].Shape.Rank;
        return node.Op.IsRowWise && node.Op is not BroadcastTo
            && node.Inputs.Where(i => stepped.Contains(i.Node)).All(i => i.Shape.Rank + (i.Type.Element == ElementType.Int32 ? 1 : 0) == rank)
            && (node.Op is not MatMul || !stepped.Contains(node.Inputs[1].Node))
            && (node.Op is not ConcatColumns || node.Inputs.Select(i => stepped.Contains(i.Node)).Distinct().Count() == 1);
    }

    private static ModelGraph Prune(ModelGraph graph)
    {
        var read = new HashSet<Value>(graph.Nodes.SelectMany(n => n.Inputs).Concat(graph.Results));
        return GraphRewriter.Rewrite(graph, (builder, node, inputs) =>
        {
            if (node.Op is not Scan scan)
            {
                return null;
            }

            int[] kept = Enumerable.Range(0, scan.OutputSequences).Where(i => read.Contains(new Value(node, scan.Sequence(i)))).ToArray();
            var selected = new GraphBuilder();
            ValueMap map = selected.Import(scan.Body);
            foreach (GraphOutput output in scan.Body.Outputs.Take(scan.Carries).Concat(kept.Select(k => scan.Body.Outputs[scan.Carries + k])))
            {
                selected.Output(output.Name, map[output.Value]);
            }

            ModelGraph body = selected.Build();
            var used = new HashSet<(BodyInputKind, int)>(body.Nodes.Select(n => n.Op).OfType<BodyInput>().Select(b => (b.Kind, b.Number)));
            int[] inputsKept = Enumerable.Range(0, inputs.Count).Where(i => i < scan.Carries || used.Contains(scan.KindOf(i))).ToArray();
            var numbers = new Dictionary<(BodyInputKind, int), int>();
            foreach (int input in inputsKept)
            {
                (BodyInputKind kind, int _) = scan.KindOf(input);
                numbers.Add(scan.KindOf(input), numbers.Keys.Count(k => k.Item1 == kind));
            }

            body = GraphRewriter.Rewrite(body, (b, n, i) => n.Op is BodyInput leaf ? b.AddMany(leaf with { Number = numbers[(leaf.Kind, leaf.Number)] }, n.Name, i) : null);
            var pruned = new Scan(body, scan.Extent, scan.Reverse, scan.Carries, inputsKept.Count(i => scan.KindOf(i).Kind == BodyInputKind.Sequence));
            Value[] results = builder.AddMany(pruned, node.Name, inputsKept.Select(i => inputs[i]).ToArray());
            var all = new Value[node.Outputs.Count];
            Array.Copy(results, all, 3 * scan.Carries);
            for (int i = 0; i < kept.Length; i++)
            {
                all[scan.Sequence(kept[i])] = results[pruned.Sequence(i)];
            }

            return all;
        });
    }

    /// <summary>Gives every scan its body's values as outputs, for the differentiation that comes next.</summary>
    public static ModelGraph SaveForBackward(ModelGraph graph)
        => !graph.Contains<Scan>() ? graph : GraphRewriter.Rewrite(graph, (builder, node, inputs) => node.Op is Scan scan
            ? Reordered(builder.AddMany(scan.SaveForBackward(), node.Name, inputs), node.Outputs.Count)
            : null);

    private static IReadOnlyList<Value> Reordered(Value[] results, int count) => results.Take(count).ToArray();
}
