using System.Globalization;

namespace ModelGen.Tests.Compiler;

/// <summary>A tensor of the reference interpreter: double precision, dense, row-major. Integers are whole numbers.</summary>
internal sealed class Tensor
{
    public Tensor(IReadOnlyList<int> dims, double[]? data = null)
    {
        Dims = [.. dims];
        int length = Dims.Aggregate(1, (product, dim) => checked(product * dim));
        Data = data ?? new double[length];
        if (Data.Length != length)
        {
            throw new ArgumentException($"{Data.Length} elements do not fill [{string.Join(", ", Dims)}].", nameof(data));
        }
    }

    public int[] Dims { get; }

    public double[] Data { get; }

    public int Rank => Dims.Length;

    /// <summary>The innermost extent; one for a scalar.</summary>
    public int Columns => Rank == 0 ? 1 : Dims[^1];

    /// <summary>The product of all extents but the innermost.</summary>
    public int Rows => Data.Length / Math.Max(1, Columns);

    public double this[int row, int column]
    {
        get => Data[(row * Columns) + column];
        set => Data[(row * Columns) + column] = value;
    }

    public static Tensor Scalar(double value) => new([], [value]);

    public static Tensor Filled(IReadOnlyList<int> dims, Func<int, double> element)
    {
        var result = new Tensor(dims);
        for (int i = 0; i < result.Data.Length; i++)
        {
            result.Data[i] = element(i);
        }

        return result;
    }

    /// <summary>The same elements under another shape; the memory is shared.</summary>
    public Tensor As(IReadOnlyList<int> dims) => new(dims, Data);

    public Tensor Clone() => new(Dims, (double[])Data.Clone());

    /// <summary>Rounds every element to single precision, so that kernels can be given exactly the same numbers.</summary>
    public Tensor InSinglePrecision() => new(Dims, [.. Data.Select(x => (double)(float)x)]);

    public float[] ToSingle() => [.. Data.Select(x => (float)x)];

    /// <summary>The step <paramref name="index"/> of the outermost extent, copied.</summary>
    public Tensor Step(int index)
    {
        int[] dims = Dims[1..];
        int length = Data.Length / Dims[0];
        return new Tensor(dims, Data[(index * length)..((index + 1) * length)]);
    }

    public void SetStep(int index, Tensor step) => step.Data.CopyTo(Data, index * step.Data.Length);

    public override string ToString() => string.Create(CultureInfo.InvariantCulture, $"[{string.Join(", ", Dims)}] {string.Join(" ", Data.Take(16).Select(d => d.ToString("G6", CultureInfo.InvariantCulture)))}{(Data.Length > 16 ? " …" : "")}");
}
