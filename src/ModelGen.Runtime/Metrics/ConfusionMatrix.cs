using System.Globalization;
using System.Text;

namespace ModelGen;

/// <summary>Counts which classes were predicted for which: accuracy, precision, recall and F1 of each class and on average.</summary>
/// <remarks>A measure whose denominator is zero is 0, as scikit-learn has it.</remarks>
public sealed class ConfusionMatrix
{
    private readonly long[] _counts;

    /// <summary>Makes a matrix of zeros.</summary>
    /// <param name="classes">The number of classes, 0 to one below it.</param>
    /// <exception cref="ArgumentOutOfRangeException"><paramref name="classes"/> is not positive, or the matrix would be too large.</exception>
    public ConfusionMatrix(int classes)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(classes);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(classes, 32_768);
        ClassCount = classes;
        _counts = new long[classes * classes];
    }

    /// <summary>The number of classes.</summary>
    public int ClassCount { get; }

    /// <summary>The number of examples.</summary>
    public long Count { get; private set; }

    /// <summary>How many examples of a class were taken for another one (or for itself).</summary>
    /// <param name="expected">The right class.</param>
    /// <param name="predicted">The class that was predicted.</param>
    /// <exception cref="ArgumentOutOfRangeException">There is no such class.</exception>
    public long this[int expected, int predicted] => _counts[(Check(expected, nameof(expected)) * ClassCount) + Check(predicted, nameof(predicted))];

    /// <summary>The part of examples whose class was predicted; with one class for each example it is micro-averaged F1, too.</summary>
    public double Accuracy => Ratio(Enumerable.Range(0, ClassCount).Sum(c => this[c, c]), Count);

    /// <summary>The mean of the classes' F1, among the classes that occur or were predicted.</summary>
    public double MacroF1
    {
        get
        {
            double[] occurring = [.. Enumerable.Range(0, ClassCount).Where(c => Expected(c) + Predicted(c) > 0).Select(F1)];
            return occurring.Length == 0 ? 0 : occurring.Average();
        }
    }

    /// <summary>The mean of the classes' F1, each counted as often as it is right.</summary>
    public double WeightedF1 => Count == 0 ? 0 : Enumerable.Range(0, ClassCount).Sum(c => Expected(c) * F1(c)) / Count;

    /// <summary>Adds an example.</summary>
    /// <param name="expected">The right class; -1 does not count.</param>
    /// <param name="predicted">The class that was predicted.</param>
    /// <exception cref="ArgumentOutOfRangeException">There is no such class. Nothing was added.</exception>
    public void Add(int expected, int predicted)
    {
        if (expected == -1)
        {
            return;
        }

        _counts[(Check(expected, nameof(expected)) * ClassCount) + Check(predicted, nameof(predicted))]++;
        Count++;
    }

    /// <summary>Adds examples.</summary>
    /// <param name="expected">The right classes; -1 does not count.</param>
    /// <param name="predicted">The classes that were predicted.</param>
    /// <exception cref="ArgumentException">There are not as many of both.</exception>
    /// <exception cref="ArgumentOutOfRangeException">There is no such class.</exception>
    public void Add(ReadOnlySpan<int> expected, ReadOnlySpan<int> predicted)
    {
        if (expected.Length != predicted.Length)
        {
            throw new ArgumentException(FormattableString.Invariant($"Expected {expected.Length} predictions, found {predicted.Length}."), nameof(predicted));
        }

        for (int i = 0; i < expected.Length; i++)
        {
            Add(expected[i], predicted[i]);
        }
    }

    /// <summary>Of the examples for which a class was predicted, the part that is of it.</summary>
    /// <param name="class">The class.</param>
    public double Precision(int @class) => Ratio(this[@class, @class], Predicted(@class));

    /// <summary>Of the examples of a class, the part for which it was predicted.</summary>
    /// <param name="class">The class.</param>
    public double Recall(int @class) => Ratio(this[@class, @class], Expected(@class));

    /// <summary>The harmonic mean of a class's precision and recall.</summary>
    /// <param name="class">The class.</param>
    public double F1(int @class) => Ratio(2 * this[@class, @class], Expected(@class) + Predicted(@class));

    /// <summary>F1 over the counts of some classes together: micro-averaged, as where one class means that there is nothing.</summary>
    /// <param name="classes">The classes that count.</param>
    public double MicroF1(params ReadOnlySpan<int> classes)
    {
        long right = 0, all = 0;
        foreach (int c in classes)
        {
            right += this[c, c];
            all += Expected(c) + Predicted(c);
        }

        return Ratio(2 * right, all);
    }

    /// <summary>The matrix as text: a row for each right class, a column for each predicted one.</summary>
    public override string ToString()
    {
        int width = 1 + _counts.Max().ToString(CultureInfo.InvariantCulture).Length;
        var text = new StringBuilder();
        for (int row = 0; row < ClassCount; row++)
        {
            for (int column = 0; column < ClassCount; column++)
            {
                text.Append(this[row, column].ToString(CultureInfo.InvariantCulture).PadLeft(width));
            }

            text.Append('\n');
        }

        return text.ToString();
    }

    private long Expected(int c)
    {
        long sum = 0;
        for (int predicted = 0; predicted < ClassCount; predicted++)
        {
            sum += this[c, predicted];
        }

        return sum;
    }

    private long Predicted(int c)
    {
        long sum = 0;
        for (int expected = 0; expected < ClassCount; expected++)
        {
            sum += this[expected, c];
        }

        return sum;
    }

    private static double Ratio(long part, long whole) => whole == 0 ? 0 : (double)part / whole;

    private int Check(int c, string name)
        => (uint)c < (uint)ClassCount ? c : throw new ArgumentOutOfRangeException(name, c, FormattableString.Invariant($"The classes are 0 to {ClassCount - 1}."));
}
