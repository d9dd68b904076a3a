using System;
using System.Collections.Generic;
using System.Linq;
using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Kernels;
using ModelGen.Compiler.Ops;

namespace ModelGen.Compiler.Passes;

/// <summary>A cluster of fused nodes: a row kernel, or a matrix product with an epilogue.</summary>
internal static class ClusterRule
{
    public static void Lower(Lowering lowering, Cluster cluster)
    {
        Node[] members = cluster.Indices.OrderBy(i => i).Select(i => lowering.Graph.Nodes[i]).ToArray();
        Value[] stored = members.Select(n => new Value(n, 0)).Where(lowering.Fusion.IsStored).ToArray();
        if (stored.Length == 0)
        {
            return;
        }

        // All members have the same rows, but for extents of one in front.
        Dim[] rows = members.Select(Domain).OrderByDescending(s => s.Rank).First() is { Rank: > 0 } domain ? domain.Dims.Take(domain.Rank - 1).ToArray() : [];
        if (cluster.MatMul is { } product)
        {
            ProductRule.Lower(lowering, product, stored, new KernelExpressions(lowering, cluster, rows, cluster.Columns, "input", product.Op is MatMul { Form: MatMulForm.TN } ? "other" : "weight"));
            return;
        }

        // A value is known in the phase after the reductions it depends on; a store happens as soon as its value is known.
        var build = new KernelExpressions(lowering, cluster, rows, cluster.Columns);
        foreach (Value value in stored.OrderBy(v => v.Op is RowReduction))
        {
            build.Of(value);
        }

        var stores = new List<(int Phase, Store Store)>();
        var places = new Dictionary<Value, int>();
        foreach (Value value in stored)
        {
            Expr expr = build.Of(value);
            places.Add(value, build.Write(value));
            stores.Add((build.PhaseOf(expr), new Store(places[value], expr, lowering.Placement.ModeOf(value))));
        }

        int phases = Math.Max(stores.Max(s => s.Phase), build.Reductions.Count == 0 ? 0 : build.Reductions.Max(r => r.Phase)) + 1;
        RowPhase[] list = Enumerable.Range(0, phases)
            .Select(p => new RowPhase(build.Reductions.Where(r => r.Phase == p).Select(r => r.Reduction).ToArray(), stores.Where(s => s.Phase == p).Select(s => s.Store).ToArray()))
            .ToArray();
        long elements = (long)cluster.Rows.Maximum * cluster.Columns;
        int cost = list.SelectMany(p => p.Reductions.Select(r => r.Value).Concat(p.Stores.Select(s => s.Value))).Sum(ExprTransforms.Cost);
        RowKernel kernel = RowKernels.Of(NameOf(stored), build.Operands, rows, cluster.Columns, list, elements * Math.Max(1, cost), 4 * elements * build.Operands.Count);
        kernel.Derivation = Derivations.Of(lowering, places, build.Reads);
        lowering.Schedule.Add(kernel, members.Max(lowering.PositionOf));
    }

    /// <summary>What a kernel that stores these values computes.</summary>
    public static string NameOf(IEnumerable<Value> values) => string.Join(", ", values.Select(v => v.Name).Where(n => n.Length > 0).Distinct());

    private static Shape Domain(Node node) => node.Op is RowReduction ? node.Inputs[0].Shape : node.Outputs[0].Shape;
}
