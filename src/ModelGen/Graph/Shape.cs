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

/// <summary>The names of the extents that models have; a graph may have others.</summary>
internal static class ExtentNames
{
    /// <summary>Sequences, or examples, in a batch.</summary>
    public const string Batch = "B";

    /// <summary>Time steps of a run.</summary>
    public const string Time = "T";
}

/// <summary>
/// One extent of a shape: a literal, or a named number that a run brings along, plus a literal (<c>T + 1</c>). <paramref name="Maximum"/> is the
/// literal itself, or the largest value that the extent can take, which is what memory is planned for.
/// </summary>
/// <param name="Maximum">The largest value.</param>
/// <param name="Symbol">The name of a symbolic extent; null for a literal.</param>
/// <param name="Plus">What is added to the named number.</param>
internal readonly record struct Dim(int Maximum, string? Symbol, int Plus)
{
    public bool IsLiteral => Symbol is null;

    public static implicit operator Dim(int literal) => new(literal, null, 0);

    public static Dim Named(string symbol, int maximum) => new(maximum, symbol, 0);

    public static Dim Batch(int maximum) => Named(ExtentNames.Batch, maximum);

    public static Dim Time(int maximum) => Named(ExtentNames.Time, maximum);

    public static Dim operator +(Dim extent, int plus)
        => extent.IsLiteral ? extent.Maximum + plus : extent with { Maximum = extent.Maximum + plus, Plus = extent.Plus + plus };

    public bool Equals(Dim other) => Maximum == other.Maximum && Plus == other.Plus && Symbol == other.Symbol;

    public override int GetHashCode() => unchecked((((Symbol?.GetHashCode() ?? 0) * 31) + Plus) * 31) + Maximum;

    public override string ToString() => (Symbol ?? Maximum.ToString(CultureInfo.InvariantCulture)) + (IsLiteral ? 0 : Plus) switch
    {
        0 => "",
        > 0 => "+" + Plus.ToString(CultureInfo.InvariantCulture),
        _ => Plus.ToString(CultureInfo.InvariantCulture),
    };
}

/// <summary>The extents of a tensor, outermost first; no extents is a scalar.</summary>
internal sealed class Shape : IEquatable<Shape>
{
    private readonly Dim[] _dims;

    public Shape(IEnumerable<Dim> dims)
        : this(dims.ToArray())
    {
    }

    private Shape(Dim[] dims) => _dims = dims;

    public static Shape Scalar { get; } = new([]);

    public static Shape Of(params Dim[] dims) => new((Dim[])dims.Clone());

    public int Rank => _dims.Length;

    public IReadOnlyList<Dim> Dims => _dims;

    public Dim this[int index] => _dims[index < 0 ? _dims.Length + index : index];

    /// <summary>The innermost extent, which is always a literal; one for a scalar.</summary>
    public int Columns => Rank == 0 ? 1 : _dims[Rank - 1].Maximum;

    /// <summary>The product of all extents but the innermost.</summary>
    public RowExtent Rows
    {
        get
        {
            RowExtent product = RowExtent.Literal(1);
            for (int i = 0; i < Rank - 1; i++)
            {
                product *= RowExtent.Of(_dims[i]);
            }

            return product;
        }
    }

    /// <summary>The number of elements that memory is planned for.</summary>
    public long MaximumElements
    {
        get
        {
            long product = 1;
            foreach (Dim dim in _dims)
            {
                product = checked(product * dim.Maximum);
            }

            return product;
        }
    }

    public Shape WithLast(Dim columns) => With(_dims.Length - 1, columns);

    public Shape WithFirst(Dim first) => With(0, first);

    public Shape DropFirst() => new(_dims.Skip(1));

    public Shape Prepend(Dim first) => new(new[] { first }.Concat(_dims));

    public Shape Select(Func<Dim, Dim> map) => new(Array.ConvertAll(_dims, dim => map(dim)));

    /// <summary>Whether all extents but the innermost are those of another shape.</summary>
    public bool HasRowsOf(Shape other)
    {
        if (Rank != other.Rank)
        {
            return false;
        }

        for (int i = 0; i < Rank - 1; i++)
        {
            if (_dims[i] != other._dims[i])
            {
                return false;
            }
        }

        return true;
    }

    public bool Equals(Shape? other) => ReferenceEquals(this, other) || (other is not null && HasRowsOf(other) && (Rank == 0 || _dims[Rank - 1] == other._dims[Rank - 1]));

    public override bool Equals(object? obj) => Equals(obj as Shape);

    public override int GetHashCode()
    {
        int hash = 17;
        foreach (Dim dim in _dims)
        {
            hash = unchecked((hash * 31) + dim.GetHashCode());
        }

        return hash;
    }

    public override string ToString() => "[" + string.Join(", ", _dims) + "]";

    /// <summary>The shape of an element-wise result: extents are aligned at the innermost, and an extent of one stretches.</summary>
    public static Shape Broadcast(Shape a, Shape b)
    {
        if (a.Equals(b))
        {
            return a;
        }

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

    private Shape With(int index, Dim dim)
    {
        if (Rank == 0)
        {
            return new Shape([dim]);
        }

        var dims = (Dim[])_dims.Clone();
        dims[index] = dim;
        return new Shape(dims);
    }
}

/// <summary>
/// A number of rows, or of elements from one row to the next: a literal times the extents that are still symbolic. Two that are
/// equal are equal as records.
/// </summary>
internal readonly record struct RowExtent
{
    private RowExtent(int coefficient, EquatableArray<Dim> factors)
    {
        Coefficient = coefficient;
        Factors = factors;
    }

    public int Coefficient { get; }

    /// <summary>The symbolic extents, in one order whatever order they were multiplied in.</summary>
    public EquatableArray<Dim> Factors { get; }

    public bool IsDynamic => Factors.Count > 0;

    /// <summary>The largest value, or the value itself where it is literal.</summary>
    public int Maximum
    {
        get
        {
            int product = Coefficient;
            foreach (Dim dim in Factors)
            {
                product = checked(product * dim.Maximum);
            }

            return product;
        }
    }

    public static RowExtent Literal(int rows) => new(rows, []);

    public static RowExtent Of(Dim dim) => dim.IsLiteral ? Literal(dim.Maximum) : new(1, [dim]);

    public static RowExtent Product(IEnumerable<Dim> dims) => dims.Aggregate(Literal(1), (product, dim) => product * Of(dim));

    public static RowExtent Product(IEnumerable<RowExtent> extents) => extents.Aggregate(Literal(1), (product, extent) => product * extent);

    public static RowExtent operator *(RowExtent a, RowExtent b)
    {
        int coefficient = checked(a.Coefficient * b.Coefficient);
        return coefficient == 0 ? Literal(0)
            : !a.IsDynamic ? new(coefficient, b.Factors)
            : !b.IsDynamic ? new(coefficient, a.Factors)
            : new(coefficient, new([.. a.Factors.Concat(b.Factors).OrderBy(d => d.Symbol, StringComparer.Ordinal).ThenBy(d => d.Plus).ThenBy(d => d.Maximum)]));
    }

    /// <summary>The number that gives this one when it is multiplied by <paramref name="other"/>, or null where there is none for all extents.</summary>
    public RowExtent? DividedBy(RowExtent other)
    {
        List<Dim> rest = [.. Factors];
        return other.Coefficient != 0 && Coefficient % other.Coefficient == 0 && other.Factors.All(rest.Remove) ? new(Coefficient / other.Coefficient, new([.. rest])) : null;
    }

    public override string ToString()
    {
        if (!IsDynamic)
        {
            return Coefficient.ToString(CultureInfo.InvariantCulture);
        }

        string factors = string.Join("·", Factors.Select(d => d.Plus == 0 ? d.ToString() : "(" + d + ")"));
        return Coefficient == 1 ? factors : Coefficient.ToString(CultureInfo.InvariantCulture) + "·" + factors;
    }
}

/// <summary>Element type and shape of a value.</summary>
internal sealed record TensorType(ElementType Element, Shape Shape)
{
    public TensorType Select(Func<Dim, Dim> map) => this with { Shape = Shape.Select(map) };

    public static TensorType Float(Shape shape) => new(ElementType.Float32, shape);

    public static TensorType Int(Shape shape) => new(ElementType.Int32, shape);

    public override string ToString() => (Element == ElementType.Float32 ? "f32" : "i32") + Shape;
}

/// <summary>A graph that breaks the rules of the representation: always a defect of the compiler, never of a declaration.</summary>
internal class GraphException(string message) : Exception(message);

/// <summary>A model is right, and more than a device counts: the declaration's fault, not the compiler's.</summary>
internal sealed class DeviceLimitException(string message) : GraphException(message);
