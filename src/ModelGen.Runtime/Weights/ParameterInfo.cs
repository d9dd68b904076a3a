using System.Collections.Immutable;

namespace ModelGen;

/// <summary>How a parameter starts out in a newly created model.</summary>
public enum ParameterInitializerKind
{
    /// <summary>Every element is 0.</summary>
    Zeros,

    /// <summary>Every element is 1.</summary>
    Ones,

    /// <summary>Independent normal elements of mean 0, whose standard deviation is the parameter's scale.</summary>
    Normal,

    /// <summary>Independent elements, uniform from minus the parameter's scale to plus its scale.</summary>
    Uniform,
}

/// <summary>One trained tensor of a model: its name, where it lies, and how it is initialized, stored and trained.</summary>
/// <param name="Name">The name in weight files.</param>
/// <param name="Shape">The extents in memory, row-major; a linear layer's weight is [outputs, inputs].</param>
/// <param name="Offset">Where the parameter starts, in floats from the start of the weight block; a multiple of 16.</param>
/// <param name="TransposedInFile">Whether weight files hold the transposed matrix.</param>
/// <param name="Kind">The distribution of the initial elements.</param>
/// <param name="Scale">The standard deviation or half range of the initial elements, where <paramref name="Kind"/> has one.</param>
/// <param name="WeightDecay">Whether an optimizer's weight decay applies.</param>
public sealed record ParameterInfo(
    string Name,
    ImmutableArray<int> Shape,
    long Offset,
    bool TransposedInFile,
    ParameterInitializerKind Kind,
    float Scale,
    bool WeightDecay)
{
    /// <summary>The number of elements.</summary>
    /// <exception cref="OverflowException">The product of the extents exceeds a 64-bit integer.</exception>
    public long Length
    {
        get
        {
            long length = 1;
            foreach (int extent in Shape)
            {
                length = checked(length * extent);
            }

            return length;
        }
    }

    /// <summary>The extents as a weight file holds them.</summary>
    public ImmutableArray<int> ShapeInFile => TransposedInFile ? [Shape[1], Shape[0]] : Shape;

    /// <summary>Whether both describe the same parameter, shapes compared by value.</summary>
    /// <param name="other">The parameter to compare with.</param>
    public bool Equals(ParameterInfo? other)
        => other is not null && Name == other.Name && Shape.AsSpan().SequenceEqual(other.Shape.AsSpan()) && Offset == other.Offset
            && TransposedInFile == other.TransposedInFile && Kind == other.Kind && Scale.Equals(other.Scale) && WeightDecay == other.WeightDecay;

    /// <inheritdoc/>
    public override int GetHashCode() => HashCode.Combine(Name, Offset, Shape.Length);
}
