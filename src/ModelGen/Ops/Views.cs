using System;
using System.Collections.Generic;
using System.Globalization;
using System.Linq;
using ModelGen.Compiler.Autodiff;
using ModelGen.Compiler.Graph;

namespace ModelGen.Compiler.Ops;

/// <summary>The same elements under another shape.</summary>
internal sealed record Reshape(Shape Shape) : ViewOperator
{
    public override string Mnemonic => "reshape";

    public override Operator BindExtents(Func<Dim, Dim> bind) => this with { Shape = Shape.Select(bind) };

    public override IReadOnlyList<TensorType> Infer(IReadOnlyList<TensorType> inputs)
    {
        Require(inputs.Count == 1 && inputs[0].Shape.MaximumElements == Shape.MaximumElements, $"cannot see {List(inputs)} as {Shape}");
        return Single(inputs[0] with { Shape = Shape });
    }

    public override void Gradient(GradientContext context)
        => context.Accumulate(0, () => context.Add(new Reshape(context.Input(0).Shape), context.OutputCotangent(0)));
}

/// <summary>The same elements with one more extent, of one, before the last <c>Behind</c> extents.</summary>
internal sealed record Unsqueeze(int Behind) : ViewOperator
{
    public override string Mnemonic => "unsqueeze";

    public override string Attributes => Behind.ToString(CultureInfo.InvariantCulture);

    public override IReadOnlyList<TensorType> Infer(IReadOnlyList<TensorType> inputs)
    {
        Require(inputs.Count == 1 && inputs[0].Element == ElementType.Float32 && Behind >= 0 && Behind <= inputs[0].Shape.Rank, $"{List(inputs)} has not {Attributes} extents");
        int before = inputs[0].Shape.Rank - Behind;
        return Single(TensorType.Float(new Shape([.. inputs[0].Shape.Dims.Take(before), 1, .. inputs[0].Shape.Dims.Skip(before)])));
    }

    public override void Gradient(GradientContext context)
        => context.Accumulate(0, () => context.Add(new Reshape(context.Input(0).Shape), context.OutputCotangent(0)));
}

/// <summary><c>Length</c> columns from column <c>Offset</c> on.</summary>
internal sealed record SliceColumns(int Offset, int Length) : ViewOperator
{
    public override string Mnemonic => "slice_columns";

    public override string Attributes => string.Format(CultureInfo.InvariantCulture, "{0}..{1}", Offset, Offset + Length);

    public override bool IsRowWise => true;

    public override IReadOnlyList<TensorType> Infer(IReadOnlyList<TensorType> inputs)
    {
        Require(inputs.Count == 1 && Offset >= 0 && Offset + Length <= inputs[0].Shape.Columns, $"columns {Attributes} are not in {List(inputs)}");
        return Single(inputs[0] with { Shape = inputs[0].Shape.WithLast(Length) });
    }

    public override void Gradient(GradientContext context)
        => context.Accumulate(0, () => context.Add(new PadColumns(Offset, context.Input(0).Shape.Columns), context.OutputCotangent(0)));
}

/// <summary>
/// The input as columns <c>Offset</c> … of a wider tensor that is zero elsewhere: a slice, backwards. Sums of these
/// become one <see cref="ConcatColumns"/> while cotangents are added up, and none is left when kernels are made.
/// </summary>
internal sealed record PadColumns(int Offset, int Columns) : ViewOperator
{
    public override string Mnemonic => "pad_columns";

    public override string Attributes => string.Format(CultureInfo.InvariantCulture, "at {0} of {1}", Offset, Columns);

    public override IReadOnlyList<TensorType> Infer(IReadOnlyList<TensorType> inputs) => Single(inputs[0] with { Shape = inputs[0].Shape.WithLast(Columns) });
}

/// <summary>Tensors with the same rows beside each other. Producers write their columns in place where they can.</summary>
internal sealed record ConcatColumns : KernelOperator
{
    public override string Mnemonic => "concat_columns";

    public override bool IsRowWise => true;

    public override IReadOnlyList<TensorType> Infer(IReadOnlyList<TensorType> inputs)
    {
        Require(inputs.Count > 0 && inputs.All(i => i.Shape.Dims.Take(i.Shape.Rank - 1).SequenceEqual(inputs[0].Shape.Dims.Take(inputs[0].Shape.Rank - 1))), $"rows differ: {List(inputs)}");
        return Single(inputs[0] with { Shape = inputs[0].Shape.WithLast(inputs.Sum(i => i.Shape.Columns)) });
    }

    public override void Gradient(GradientContext context)
    {
        int offset = 0;
        for (int i = 0; i < context.Node.Inputs.Count; i++)
        {
            int columns = context.Input(i).Shape.Columns;
            context.Accumulate(i, () => context.Add(new SliceColumns(offset, columns), context.OutputCotangent(0)));
            offset += columns;
        }
    }
}

/// <summary>
/// One row of each matrix: [.., N, C] to [.., C], such as the first token of every sequence. Where the number of rows varies, only the first
/// one is there in every run.
/// </summary>
internal sealed record SelectRow(int Row) : ViewOperator
{
    public override string Mnemonic => "select_row";

    public override string Attributes => Row.ToString(CultureInfo.InvariantCulture);

    public override IReadOnlyList<TensorType> Infer(IReadOnlyList<TensorType> inputs)
    {
        Require(inputs.Count == 1 && inputs[0].Element == ElementType.Float32 && inputs[0].Shape.Rank > 1 && Row >= 0 && Row < (inputs[0].Shape[-2].IsLiteral ? inputs[0].Shape[-2].Maximum : 1), $"row {Attributes} is not in {List(inputs)}");
        Shape shape = inputs[0].Shape;
        return Single(TensorType.Float(new Shape(shape.Dims.Where((_, i) => i != shape.Rank - 2))));
    }

    public override void Gradient(GradientContext context)
    {
        Shape from = context.Input(0).Shape;
        context.Accumulate(0, () => context.Add(new Reshape(from), context.Add(new PadColumns(Row * from.Columns, from[-2].Maximum * from.Columns), context.OutputCotangent(0))));
    }
}

/// <summary>
/// The rows of a table [N, C] for the time steps of this run, <c>position</c> … <c>position + T − 1</c>: [T, C].
/// In training the position is zero.
/// </summary>
internal sealed record RowsAtPosition(Dim Time) : ViewOperator
{
    public override string Mnemonic => "rows_at_position";

    public override Operator BindExtents(Func<Dim, Dim> bind) => this with { Time = bind(Time) };

    public override IReadOnlyList<TensorType> Infer(IReadOnlyList<TensorType> inputs)
    {
        Require(inputs.Count == 1 && inputs[0].Shape.Rank == 2 && Time.Maximum <= inputs[0].Shape[0].Maximum, $"{Time} rows are not in {List(inputs)}");
        return Single(inputs[0] with { Shape = inputs[0].Shape.WithFirst(Time) });
    }

    public override void Gradient(GradientContext context)
        => context.Accumulate(0, () => context.Add(new PadRows(context.Input(0).Shape[0].Maximum), context.OutputCotangent(0)));
}

/// <summary><c>Length</c> rows of a matrix, or elements of a vector, from row <c>Offset</c> on.</summary>
internal sealed record SliceRows(int Offset, int Length) : ViewOperator
{
    public override string Mnemonic => "slice_rows";

    public override string Attributes => string.Format(CultureInfo.InvariantCulture, "{0}..{1}", Offset, Offset + Length);

    public override IReadOnlyList<TensorType> Infer(IReadOnlyList<TensorType> inputs)
    {
        Require(inputs.Count == 1 && inputs[0].Shape.Rank is 1 or 2 && inputs[0].Shape[0].IsLiteral && Offset >= 0 && Length > 0 && Offset + Length <= inputs[0].Shape[0].Maximum, $"rows {Attributes} are not in {List(inputs)}");
        return Single(inputs[0] with { Shape = inputs[0].Shape.WithFirst(Length) });
    }

    public override void Gradient(GradientContext context)
        => context.Accumulate(0, () => context.Add(new PadRows(context.Input(0).Shape[0].Maximum, Offset), context.OutputCotangent(0)));
}

/// <summary>The input as the rows from <c>Offset</c> on of a taller tensor [<c>Rows</c>, C] that is zero above and below.</summary>
internal sealed record PadRows(int Rows, int Offset = 0) : ViewOperator
{
    public override string Mnemonic => "pad_rows";

    public override string Attributes => Offset == 0 ? "" : string.Format(CultureInfo.InvariantCulture, "at {0}", Offset);

    public override IReadOnlyList<TensorType> Infer(IReadOnlyList<TensorType> inputs)
    {
        Require(inputs.Count == 1 && Offset + (long)inputs[0].Shape[0].Maximum <= Rows, $"{Rows} rows do not hold {List(inputs)} from {Offset} on");
        return Single(inputs[0] with { Shape = inputs[0].Shape.WithFirst(Rows) });
    }
}

/// <summary>The last time step of one sequence: [.., T, .., C] with all other outer extents one, to [1, C].</summary>
internal sealed record LastRow : ViewOperator
{
    public override string Mnemonic => "last_row";

    public override IReadOnlyList<TensorType> Infer(IReadOnlyList<TensorType> inputs)
    {
        Require(inputs.Count == 1 && (!inputs[0].Shape.Rows.IsDynamic || inputs[0].Shape.Rows is { Coefficient: 1, Factors.Count: 1 }), $"takes one sequence and got {List(inputs)}");
        return Single(inputs[0] with { Shape = Shape.Of(1, inputs[0].Shape[-1]) });
    }
}
