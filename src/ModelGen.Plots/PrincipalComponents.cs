namespace ModelGen.Plots;

/// <summary>Principal component analysis (Pearson, 1901): the directions in which vectors differ most.</summary>
public static class PrincipalComponents
{
    private const int Iterations = 1000;

    /// <summary>Brings vectors to the plane of their two greatest variances, their mean in the middle.</summary>
    /// <param name="vectors">The vectors, one after the other: count × size.</param>
    /// <param name="size">The numbers in a vector.</param>
    /// <returns>Two coordinates for each vector. The same vectors give the same coordinates.</returns>
    /// <exception cref="ArgumentException">The numbers are no whole number of vectors.</exception>
    /// <exception cref="ArgumentOutOfRangeException"><paramref name="size"/> is not positive.</exception>
    public static IReadOnlyList<(double X, double Y)> Project(ReadOnlySpan<float> vectors, int size)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(size);
        (int count, int rest) = Math.DivRem(vectors.Length, size);
        if (rest != 0)
            throw new ArgumentException(FormattableString.Invariant($"Expected whole vectors of {size} numbers, found {vectors.Length} numbers."), nameof(vectors));
        if (count == 0)
            return [];

        var centred = new double[vectors.Length];
        for (int column = 0; column < size; column++)
        {
            double mean = 0;
            for (int row = 0; row < count; row++)
                mean += vectors[row * size + column] / (double)count;
            for (int row = 0; row < count; row++)
                centred[row * size + column] = vectors[row * size + column] - mean;
        }

        double[] x = Direction(centred, size, null), y = Direction(centred, size, x);
        var result = new (double, double)[count];
        for (int row = 0; row < count; row++)
            result[row] = (Dot(centred, row * size, x), Dot(centred, row * size, y));
        return result;
    }

    /// <summary>The direction of the greatest variance, across another one, by power iteration on the covariance, which is never formed.</summary>
    private static double[] Direction(double[] centred, int size, double[]? across)
    {
        int count = centred.Length / size;
        var direction = new double[size];
        for (int i = 0; i < size; i++)
            direction[i] = Math.Cos(1.7 * i + (across is null ? 0 : 1));
        var next = new double[size];
        for (int iteration = 0; iteration < Iterations; iteration++)
        {
            double before = Math.Sqrt(Dot(direction, 0, direction));
            if (across is not null)
            {
                // Twice, since what is left of a vector that lies along the other one is rounding, and lies anywhere.
                Remove(direction, across);
                Remove(direction, across);
            }
            double norm = Math.Sqrt(Dot(direction, 0, direction));
            if (norm < 1e-300 || norm < 1e-12 * before)
                return new double[size];
            for (int i = 0; i < size; i++)
                direction[i] /= norm;
            Array.Clear(next);
            for (int row = 0; row < count; row++)
            {
                double dot = Dot(centred, row * size, direction);
                for (int i = 0; i < size; i++)
                    next[i] += dot * centred[row * size + i];
            }
            if (iteration + 1 == Iterations)
                break;
            (direction, next) = (next, direction);
        }

        // The sign of a direction says nothing: its largest entry is made positive.
        int largest = 0;
        for (int i = 1; i < size; i++)
        {
            if (Math.Abs(direction[i]) > Math.Abs(direction[largest]))
                largest = i;
        }
        if (direction[largest] < 0)
        {
            for (int i = 0; i < size; i++)
                direction[i] = -direction[i];
        }
        return direction;
    }

    private static void Remove(double[] direction, double[] across)
    {
        double along = Dot(direction, 0, across);
        for (int i = 0; i < direction.Length; i++)
            direction[i] -= along * across[i];
    }

    private static double Dot(double[] values, int start, double[] direction)
    {
        double sum = 0;
        for (int i = 0; i < direction.Length; i++)
            sum += values[start + i] * direction[i];
        return sum;
    }
}
