using System.Collections.Generic;
using System.Linq;
using ModelGen.Compiler.Graph;

namespace ModelGen.Compiler.Kernels;

/// <summary>Runs its kernels once for every step, upwards or downwards; their views move by their step stride.</summary>
internal sealed class LoopKernel(string name, RowExtent steps, bool reverse, IReadOnlyList<Kernel> body)
    : Kernel(name, [], body.Sum(k => k.Flops) * steps.Maximum, body.Sum(k => k.Bytes) * steps.Maximum)
{
    public RowExtent Steps { get; } = steps;

    public bool Reverse { get; } = reverse;

    public IReadOnlyList<Kernel> Body { get; } = body;

    /// <summary>Rows of a step where the loop runs over blocks of rows, which sums over rows are added up over; 0 where it runs over time.</summary>
    public int BlockRows { get; init; }

    /// <inheritdoc/>
    public override IEnumerable<Kernel> Leaves => Body.SelectMany(k => k.Leaves);
}
