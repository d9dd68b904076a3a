using System.Collections.Generic;
using System.Globalization;
using System.Linq;
using ModelGen.Compiler.Graph;

namespace ModelGen.Compiler.Ops;

/// <summary>
/// A <see cref="LinearRecurrence"/> over any number of steps, some at a time, which a kernel of its own computes in products of matrices, head by head. It has no gradient: where there is one, the recurrence is written in the graph's operators.
/// Inputs: those of the recurrence, and optionally the state that it goes on from, [B, G, H / G, K, V]. Results: what is read, [B, T, H, V], and that state as it is then: it is written where it lies.
/// </summary>
/// <param name="Chunk">The steps that are taken at once; the last ones may be fewer.</param>
/// <param name="IsCorrected">Whether there are strengths β, with which errors are corrected.</param>
internal sealed record ChunkedRecurrence(int Chunk, bool IsCorrected) : KernelOperator
{
    /// <summary>The inputs before the state.</summary>
    public int Tensors => IsCorrected ? 5 : 4;

    public override string Mnemonic => "linear_recurrence";

    public override string Attributes => $"by {Chunk.ToString(CultureInfo.InvariantCulture)}";

    public override IReadOnlyList<string>? ResultNames => ["", "state"];

    /// <summary>The shape of what a recurrence of these inputs carries on.</summary>
    public static Shape StateOf(Shape keys, Shape values) => Shape.Of(keys[0], keys[2], values[2].Maximum / keys[2].Maximum, keys[3], values[3]);

    public override IReadOnlyList<TensorType> Infer(IReadOnlyList<TensorType> inputs)
    {
        Require(Chunk > 0 && (inputs.Count == Tensors || inputs.Count == Tensors + 1), $"takes {Tensors} inputs and a state, and got {List(inputs)}");
        TensorType read = new LinearRecurrence().Infer([.. inputs.Take(Tensors)])[0];
        if (inputs.Count == Tensors)
        {
            return Single(read);
        }

        TensorType state = TensorType.Float(StateOf(inputs[1].Shape, inputs[2].Shape));
        Require(inputs[Tensors].Equals(state), $"goes on from {inputs[Tensors]}, and its state is {state}");
        return [read, state];
    }

    public override long Flops(Node node)
    {
        (long all, int keys, int values) = (node.Inputs[2].Shape.MaximumElements, node.Inputs[1].Shape.Columns, node.Inputs[2].Shape.Columns);
        return (all / values * Chunk * ((IsCorrected ? 4L : 2L) * keys + (IsCorrected ? 2L : 1L) * values)) + (all * keys * (IsCorrected ? 6 : 4));
    }
}
