using System;
using System.Collections.Generic;
using System.Globalization;
using System.Linq;

namespace ModelGen.Compiler.Graph;

/// <summary>What one element of a tensor is.</summary>
internal enum ElementType
{
    Float32,
    Int32,
}

/// <summary>Whose value an extent takes: its own literal, or that of one of the two symbolic extents.</summary>
internal enum ExtentSymbol
{
    None,
    Batch,
    Time,
}

/// <summary>
/// One extent of a shape: a literal, or a symbol plus a literal (<c>T + 1</c>). <paramref name="Maximum"/> is the
/// literal itself, or the largest value that the symbolic extent can take, which is what memory is planned for.
/// </summary>
internal readonly record struct Dim(int Maximum, ExtentSymbol Symbol, int Plus)
{
    public bool IsLiteral => Symbol == ExtentSymbol.None;

    public static implicit operator Dim(int literal) => new(literal, ExtentSymbol.None, 0);

    public static Dim Batch(int maximum) => new(maximum, ExtentSymbol.Batch, 0);

    public static Dim Time(int maximum) => new(maximum, ExtentSymbol.Time, 0);

    public static Dim operator +(Dim extent, int plus)
        => extent.IsLiteral ? extent.Maximum + plus : extent with { Maximum = extent.Maximum + plus, Plus = extent.Plus + plus };

    public override string ToString() => Symbol switch
    {
        ExtentSymbol.None => Maximum.ToString(CultureInfo.InvariantCulture),
        var s => (s == ExtentSymbol.Batch ? "B" : "T") + Plus switch
        {
            0 => "",
            > 0 => "+" + Plus.ToString(CultureInfo.InvariantCulture),
            _ => Plus.ToString(CultureInfo.InvariantCulture),
        },
    };
}

/// <summary>The extents of a tensor, outermost first; no extents is a scalar.</summary>
internal sealed class Shape(IEnumerable<Dim> dims) : IEquatable<Shape>
{
    private readonly Dim[] _dims = dims.ToArray();

    public static Shape Scalar { get; } = new([]);

    public static Shape Of(params Dim[] dims) => new(dims);

    public int Rank => _dims.Length;

    public IReadOnlyList<Dim> Dims => _dims;

    public Dim this[int index] => _dims[index < 0 ? _dims.Length + index : index];

    /// <summary>The innermost extent, which is always a literal; one for a scalar.</summary>
    public int Columns => Rank == 0 ? 1 : _dims[Rank - 1].Maximum;

    /// <summary>The product of all extents but the innermost.</summary>
    public RowExtent Rows => RowExtent.Product(_dims.Take(Math.Max(0, Rank - 1)));

    /// <summary>The number of elements that memory is planned for.</summary>
    public long MaximumElements => _dims.Aggregate(1L, (product, dim) => checked(product * dim.Maximum));

    public Shape WithLast(Dim columns) => new(_dims.Take(Rank - 1).Append(columns));

    public Shape WithFirst(Dim first) => new(new[] { first }.Concat(_dims.Skip(1)));

    public Shape DropFirst() => new(_dims.Skip(1));

    public Shape Prepend(Dim first) => new(new[] { first }.Concat(_dims));

    public Shape Select(Func<Dim, Dim> map) => new(_dims.Select(map));

    public bool Equals(Shape? other) => other is not null && _dims.SequenceEqual(other._dims);

    public override bool Equals(object? obj) => Equals(obj as Shape);

    public override int GetHashCode() => _dims.Aggregate(17, (hash, dim) => unchecked((hash * 31) + dim.GetHashCode()));

    public override string ToString() => "[" + string.Join(", ", _dims) + "]";

    /// <summary>The shape of an element-wise result: extents are aligned at the innermost, and an extent of one stretches.</summary>
    public static Shape Broadcast(Shape a, Shape b)
    {
        int rank = Math.Max(a.Rank, b.Rank);
        var dims = new Dim[rank];
        for (int i = 1; i <= rank; i++)
        {
            Dim x = i <= a.Rank ? a[a.Rank - i] : 1;
            Dim y = i <= b.Rank ? b[b.Rank - i] : 1;
            dims[rank - i] = x == y || y == (Dim)1 ? x
                : x == (Dim)1 ? y
                : throw new GraphException($"shapes {a} and {b} do not broadcast: extent {x} meets {y}");
        }

        return new Shape(dims);
    }
}

/// <summary>A number of rows: <c>Coefficient</c>, or <c>Coefficient · (T + Plus)</c> where time is still symbolic.</summary>
internal readonly record struct RowExtent(int Coefficient, bool IsDynamic, int Plus, int TimeMaximum)
{
    /// <summary>The largest value, or the value itself where it is literal.</summary>
    public int Maximum => checked(Coefficient * (IsDynamic ? TimeMaximum : 1));

    public static RowExtent Literal(int rows) => new(rows, false, 0, 0);

    public static RowExtent Product(IEnumerable<Dim> dims)
    {
        int coefficient = 1;
        Dim? symbolic = null;
        foreach (Dim dim in dims)
        {
            if (dim.IsLiteral)
            {
                coefficient = checked(coefficient * dim.Maximum);
            }
            else if (symbolic is null)
            {
                symbolic = dim;
            }
            else
            {
                throw new GraphException($"extents {symbolic} and {dim} are both symbolic; bind the batch before rows are counted");
            }
        }

        return symbolic is { } s ? new RowExtent(coefficient, true, s.Plus, s.Maximum) : Literal(coefficient);
    }

    public override string ToString() => !IsDynamic ? Coefficient.ToString(CultureInfo.InvariantCulture)
        : (Coefficient == 1 ? "" : Coefficient.ToString(CultureInfo.InvariantCulture) + "·")
            + (Plus == 0 ? "T" : "(T+" + Plus.ToString(CultureInfo.InvariantCulture) + ")");
}

/// <summary>Element type and shape of a value.</summary>
internal sealed record TensorType(ElementType Element, Shape Shape)
{
    public static TensorType Float(Shape shape) => new(ElementType.Float32, shape);

    public static TensorType Int(Shape shape) => new(ElementType.Int32, shape);

    public override string ToString() => (Element == ElementType.Float32 ? "f32" : "i32") + Shape;
}

/// <summary>A graph that breaks the rules of the representation: always a defect of the compiler, never of a declaration.</summary>
internal sealed class GraphException(string message) : Exception(message);
