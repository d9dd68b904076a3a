using System.Collections.Generic;
using System.Linq;
using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Ops;

namespace ModelGen.Compiler.Passes;

/// <summary>
/// Turns recurrences that begin at zero with a sequence into ones that go on where the last run ended: what they carry is read from a state, and written to it.
/// Guarantees: running the result over a sequence in pieces, from zero states on, gives what the input graph gives over the whole.
/// </summary>
internal static class CarryStates
{
    public static ModelGraph Run(ModelGraph graph) => !graph.Contains<Scan>() && !graph.Contains<ChunkedRecurrence>() ? graph : GraphRewriter.Rewrite(graph, (builder, node, inputs) =>
    {
        if (node.Op is ChunkedRecurrence recurrence && inputs.Count == recurrence.Tensors)
        {
            string state = node.Name + "." + LinearRecurrence.State;
            Value[] both = builder.AddMany(recurrence, node.Name, [.. inputs, builder.Add(new StateRead(state, ChunkedRecurrence.StateOf(inputs[1].Shape, inputs[2].Shape)), state)]);
            builder.UpdateState(state, both[1]);
            return [both[0]];
        }

        if (node.Op is not Scan { Reverse: false } scan || !Begun(scan, inputs).Any())
        {
            return null;
        }

        Value[] continued = [.. inputs];
        string NameOf(int carry) => node.Name + "." + scan.Body.Outputs[carry].Name;
        foreach (int carry in Begun(scan, inputs))
        {
            continued[carry] = builder.Add(new StateRead(NameOf(carry), inputs[carry].Shape), NameOf(carry));
        }

        Value[] results = builder.AddMany(scan, node.Name, continued);
        foreach (int carry in Begun(scan, inputs))
        {
            builder.UpdateState(NameOf(carry), results[Scan.Final(carry)]);
        }

        return results;
    });

    private static IEnumerable<int> Begun(Scan scan, IReadOnlyList<Value> inputs) => Enumerable.Range(0, scan.Carries).Where(carry => inputs[carry].Op is Constant { Value: 0 });
}
