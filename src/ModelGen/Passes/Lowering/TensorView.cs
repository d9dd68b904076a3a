using System.Collections.Generic;
using System.Linq;
using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Kernels;

namespace ModelGen.Compiler.Passes;

/// <summary>Where a tensor lies: the address of its first element, and the elements from one index to the next of each of its extents.</summary>
internal sealed record TensorView(View Base, EquatableArray<RowExtent> Strides)
{
    /// <summary>A tensor whose elements follow each other in row-major order.</summary>
    public static TensorView Dense(View origin, Shape shape) => new(origin, new(DenseStrides(shape)));

    public TensorView Move(long elements) => this with { Base = Base with { Offset = Base.Offset + elements } };

    /// <summary>Some columns, from column <paramref name="first"/> on.</summary>
    public TensorView Columns(int first) => first == 0 ? this : Move((long)first * Literal(ColumnStride));

    /// <summary>Elements from one column to the next.</summary>
    public RowExtent ColumnStride => Strides.Count == 0 ? RowExtent.Literal(1) : Strides[Strides.Count - 1];

    public TensorView Permute(IReadOnlyList<int> axes) => this with { Strides = new([.. axes.Select(a => Strides[a])]) };

    /// <summary>A tensor with one more extent in front.</summary>
    public TensorView Prepend(RowExtent stride) => this with { Strides = new([stride, .. Strides]) };

    /// <summary>A tensor with one more extent, of one, behind.</summary>
    public TensorView Append() => this with { Strides = new([.. Strides, RowExtent.Literal(1)]) };

    /// <summary>A tensor with one more extent, of one, at a place.</summary>
    public TensorView Insert(int at) => this with { Strides = new([.. Strides.Take(at), RowExtent.Literal(1), .. Strides.Skip(at)]) };

    /// <summary>One step of the outermost extent, at an address that moves with the loop's.</summary>
    public TensorView Step() => new(Base with { StepStride = Literal(Strides[0]) }, new([.. Strides.Skip(1)]));

    /// <summary>Whether elements follow each other in row-major order.</summary>
    public bool IsDense(Shape shape)
    {
        RowExtent[] dense = DenseStrides(shape);
        return Enumerable.Range(0, shape.Rank).All(i => IsOne(shape[i]) || Strides[i] == dense[i]);
    }

    /// <summary>The elements from one row to the next, where rows follow each other evenly and their columns are contiguous.</summary>
    public int? MatrixStride(TensorType type)
    {
        // Indices are one number a row.
        Shape shape = type.Element == ElementType.Int32 ? new Shape(type.Shape.Dims.Append(1)) : type.Shape;
        RowExtent[] strides = type.Element == ElementType.Int32 ? [.. Strides, RowExtent.Literal(1)] : [.. Strides];
        if (shape.Columns > 1 && strides[shape.Rank - 1] != RowExtent.Literal(1))
        {
            return null;
        }

        RowExtent? stride = null;
        RowExtent span = RowExtent.Literal(1);
        for (int i = shape.Rank - 2; i >= 0; i--)
        {
            if (IsOne(shape[i]))
            {
                continue;
            }

            if (stride is null)
            {
                stride = strides[i];
            }
            else if (strides[i] != stride.Value * span)
            {
                return null;
            }

            span *= RowExtent.Of(shape[i]);
        }

        return stride is null ? shape.Columns : stride.Value.IsDynamic ? null : stride.Value.Coefficient;
    }

    /// <summary>The same elements under another shape, or null where no strides say it.</summary>
    public TensorView? Reshape(Shape from, Shape to)
    {
        if (IsDense(from))
        {
            return Dense(Base, to);
        }

        // Extents that follow each other evenly are one block of elements, innermost first.
        var blocks = new List<(RowExtent Count, RowExtent Stride)>();
        for (int i = from.Rank - 1; i >= 0; i--)
        {
            RowExtent extent = RowExtent.Of(from[i]);
            if (blocks.Count > 0 && Strides[i] == blocks[blocks.Count - 1].Stride * blocks[blocks.Count - 1].Count)
            {
                blocks[blocks.Count - 1] = (blocks[blocks.Count - 1].Count * extent, blocks[blocks.Count - 1].Stride);
            }
            else if (!IsOne(from[i]))
            {
                blocks.Add((extent, Strides[i]));
            }
        }

        // The new extents divide the blocks.
        var strides = new RowExtent[to.Rank];
        int block = 0;
        RowExtent taken = RowExtent.Literal(1);
        for (int i = to.Rank - 1; i >= 0; i--)
        {
            strides[i] = block < blocks.Count ? blocks[block].Stride * taken : RowExtent.Literal(1);
            if (IsOne(to[i]))
            {
                continue;
            }

            taken *= RowExtent.Of(to[i]);
            if (block == blocks.Count || blocks[block].Count.DividedBy(taken) is not { } rest)
            {
                return null;
            }

            if (rest == RowExtent.Literal(1))
            {
                block++;
                taken = RowExtent.Literal(1);
            }
        }

        return this with { Strides = new(strides) };
    }

    public static bool IsOne(Dim dim) => dim == (Dim)1;

    /// <summary>A stride that must be a literal: addresses that move with a step or a position move by one number.</summary>
    public static int Literal(RowExtent stride) => stride.IsDynamic ? throw new GraphException($"an address that moves by {stride} elements") : stride.Coefficient;

    private static RowExtent[] DenseStrides(Shape shape)
    {
        var strides = new RowExtent[shape.Rank];
        RowExtent below = RowExtent.Literal(1);
        for (int i = shape.Rank - 1; i >= 0; i--)
        {
            strides[i] = below;
            below *= RowExtent.Of(shape[i]);
        }

        return strides;
    }
}
