using System.Collections.Immutable;
using ModelGen.Runtime;

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

    /// <summary>The sinusoids of positions, a row for each: sines in even columns and cosines in odd ones; the scale is the first row's position.</summary>
    Sinusoids,

    /// <summary>The sinusoids of positions, a row for each: sines in the first half of the columns, cosines in the second; the scale is the first row's position.</summary>
    SinusoidHalves,

    /// <summary>Rotary positions, a row for each: the cosines of its angles and, behind them, the sines, all of them times the scale.</summary>
    Rotary,
}

/// <summary>One parameter of a model: its name, where it lies, and how it is initialized, stored and trained.</summary>
/// <param name="Name">The name in weight files.</param>
/// <param name="Shape">The extents in memory, row-major; a linear layer's weight is [outputs, inputs].</param>
/// <param name="Offset">Where the parameter starts, in floats' worth of memory from the start of the weight block; a multiple of 16.</param>
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
    /// <summary>Whether training leaves it as it is: it has no gradient and no optimizer state, and lies behind everything that is trained.</summary>
    public bool IsFrozen { get; init; }

    /// <summary>Whether it is no parameter but a table of numbers that its initializer says all of: it is not listed, nothing trains it, and no file holds it.</summary>
    public bool IsTable { get; init; }

    /// <summary>The name of the weight that it is a low-rank factor of an update of (<see cref="LoraAttribute"/>); null for what is none.</summary>
    public string? Adapts { get; init; }

    /// <summary>Of rotary positions, the radians that each pair of columns is turned by from one position to the next.</summary>
    public ImmutableArray<double> Frequencies { get; init; } = [];

    /// <summary>How the elements lie in memory.</summary>
    public WeightFormat Format { get; init; }

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

    /// <summary>The elements of a row of a matrix, or of a stack of matrices.</summary>
    internal int Columns => Shape[^1];

    /// <summary>The rows of a matrix, or of all matrices of a stack.</summary>
    internal int Rows => checked((int)(Length / Columns));

    /// <summary>The floats' worth of memory that the elements take, in their format.</summary>
    internal long Words => (BlockRows.Bytes(Format, Shape.AsSpan()) + sizeof(float) - 1) / sizeof(float);

    /// <summary>The extents as a weight file holds them.</summary>
    public ImmutableArray<int> ShapeInFile => TransposedInFile ? [Shape[1], Shape[0]] : Shape;

    /// <summary>Copies the parameter's numbers, or its gradient's, from their order in memory to that of weight files (PyTorch's, for its layouts).</summary>
    /// <param name="memory">The numbers in the shape of <see cref="Shape"/>, row-major.</param>
    /// <param name="file">Where they go, in the shape of <see cref="ShapeInFile"/>, row-major.</param>
    /// <exception cref="ArgumentException">A span has not as many elements as the parameter.</exception>
    public void ToFile(ReadOnlySpan<float> memory, Span<float> file) => Copy(memory, file, toFile: true);

    /// <summary>Copies numbers from their order in weight files to that in memory.</summary>
    /// <param name="file">The numbers in the shape of <see cref="ShapeInFile"/>, row-major.</param>
    /// <param name="memory">Where they go, in the shape of <see cref="Shape"/>, row-major.</param>
    /// <exception cref="ArgumentException">A span has not as many elements as the parameter.</exception>
    public void FromFile(ReadOnlySpan<float> file, Span<float> memory) => Copy(file, memory, toFile: false);

    private void Copy(ReadOnlySpan<float> source, Span<float> target, bool toFile)
    {
        if (source.Length != Length || target.Length != Length)
        {
            throw new ArgumentException(FormattableString.Invariant($"The parameter '{Name}' has {Length} elements, but the spans have {source.Length} and {target.Length}."));
        }

        if (!TransposedInFile)
        {
            source.CopyTo(target);
            return;
        }

        (int rows, int columns) = toFile ? (Shape[0], Shape[1]) : (Shape[1], Shape[0]);
        for (int row = 0; row < rows; row++)
        {
            for (int column = 0; column < columns; column++)
            {
                target[(column * rows) + row] = source[(row * columns) + column];
            }
        }
    }

    /// <summary>Whether both describe the same parameter, shapes compared by value.</summary>
    /// <param name="other">The parameter to compare with.</param>
    public bool Equals(ParameterInfo? other)
        => other is not null && Name == other.Name && Shape.AsSpan().SequenceEqual(other.Shape.AsSpan()) && Offset == other.Offset
            && TransposedInFile == other.TransposedInFile && Kind == other.Kind && Scale.Equals(other.Scale) && WeightDecay == other.WeightDecay && IsFrozen == other.IsFrozen && Format == other.Format && Adapts == other.Adapts
            && Frequencies.AsSpan().SequenceEqual(other.Frequencies.AsSpan());

    /// <inheritdoc/>
    public override int GetHashCode() => HashCode.Combine(Name, Offset, Shape.Length);
}
