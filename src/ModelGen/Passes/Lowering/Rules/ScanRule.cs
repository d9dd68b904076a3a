using System;
using System.Collections.Generic;
using System.Linq;
using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Kernels;
using ModelGen.Compiler.Ops;

namespace ModelGen.Compiler.Passes;

/// <summary>A recurrence: a loop over the kernels of its body, whose views move by a step at a time.</summary>
internal static class ScanRule
{
    public static void Lower(Lowering lowering, Node node)
    {
        var scan = (Scan)node.Op;
        Placement placement = lowering.Placement;
        if (lowering.InsideLoop)
        {
            throw new GraphException($"{node}: a scan inside a scan");
        }

        // One buffer of T + 1 slots holds a carry's whole history: "before" and "after" are two views of it.
        var leaves = new Dictionary<Value, TensorView>();
        var targets = new Dictionary<Value, (TensorView View, StoreMode Mode)>();
        var copies = new List<(Value Value, TensorView Place)>();
        RowExtent steps = RowExtent.Of(scan.Extent);
        for (int i = 0; i < scan.Carries; i++)
        {
            string name = node.Name + "." + scan.Body.Outputs[i].Name;
            Shape slot = node.Outputs[Scan.Final(i)].Shape;
            int size = checked((int)slot.MaximumElements);
            var history = placement.NewBuffer(name, StorageFormat.Float32, (scan.Extent.Maximum + 1L) * size, slot.Columns);
            TensorView first = TensorView.Dense(new View(history, 0), slot);
            TensorView second = first.Move(size);
            (TensorView before, TensorView after) = scan.Reverse ? (second, first) : (first, second);
            placement.SetView(new Value(node, Scan.Before(i)), before.Prepend(RowExtent.Literal(size)));
            placement.SetView(new Value(node, Scan.After(i)), after.Prepend(RowExtent.Literal(size)));

            // Slot T of a run of T steps: with a dynamic T it moves with the count.
            TensorView last = steps.IsDynamic ? second with { Base = second.Base with { LastStride = size, LastExtent = scan.Extent.Symbol } } : first.Move((long)scan.Extent.Maximum * size);
            (TensorView initial, TensorView final) = scan.Reverse ? (last, first) : (first, last);
            placement.SetView(new Value(node, Scan.Final(i)), final);
            lowering.Copy(node.Inputs[i], initial, StoreMode.Replace, name + ".initial", lowering.PositionOf(node), Turn.Before);

            Bind(BodyInputKind.Carry, i, before.Prepend(RowExtent.Literal(size)).Step());
            Target(scan.Body.Outputs[i].Value, after.Prepend(RowExtent.Literal(size)).Step());
        }

        for (int i = scan.Carries; i < node.Inputs.Count; i++)
        {
            (BodyInputKind kind, int number) = scan.KindOf(i);
            TensorView view = lowering.ViewOf(node.Inputs[i]);
            Bind(kind, number, kind == BodyInputKind.Sequence ? view.Step() : view);
        }

        for (int i = 0; i < scan.OutputSequences; i++)
        {
            var output = new Value(node, scan.Sequence(i));
            Value value = scan.Body.Outputs[scan.Carries + i].Value;
            if (targets.TryGetValue(value, out (TensorView View, StoreMode Mode) known))
            {
                placement.SetView(output, new TensorView(known.View.Base with { StepStride = 0 }, known.View.Strides).Prepend(RowExtent.Literal(checked((int)known.View.Base.StepStride))));
                continue;
            }

            string own = value.Name.Length > 0 ? value.Name : scan.Body.Outputs[scan.Carries + i].Name;
            string name = own.StartsWith(node.Name + ".", StringComparison.Ordinal) ? own : node.Name + "." + own;
            TensorView place = TensorView.Dense(new View(placement.NewBuffer(name, output.Type), 0), output.Shape);
            placement.SetView(output, place);
            Target(value, place.Step());
        }

        List<Kernel> kernels = lowering.LowerBody(scan, leaves, targets, copies);
        lowering.Schedule.Add(new LoopKernel(node.Name, steps, scan.Reverse, kernels), lowering.PositionOf(node));

        void Bind(BodyInputKind kind, int number, TensorView view)
        {
            foreach (Node leaf in scan.Body.Nodes)
            {
                if (leaf.Op is BodyInput b && b.Kind == kind && b.Number == number)
                {
                    leaves[new Value(leaf, 0)] = view;
                }
            }
        }

        void Target(Value value, TensorView place)
        {
            if (value.Op is LeafOperator or ViewOperator || targets.ContainsKey(value))
            {
                copies.Add((value, place));
            }
            else
            {
                targets.Add(value, (place, StoreMode.Replace));
            }
        }
    }
}
