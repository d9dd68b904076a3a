namespace ModelGen;

/// <summary>Counts how many elements, and how many whole sequences, are as expected.</summary>
public sealed class SequenceAccuracy
{
    /// <summary>The number of elements that were expected.</summary>
    public long ElementCount { get; private set; }

    /// <summary>How many of them are right.</summary>
    public long RightElements { get; private set; }

    /// <summary>The number of sequences.</summary>
    public long SequenceCount { get; private set; }

    /// <summary>How many of them are right in every element and in length.</summary>
    public long RightSequences { get; private set; }

    /// <summary>The part of elements that are right; NaN without elements.</summary>
    public double Accuracy => (double)RightElements / ElementCount;

    /// <summary>The part of sequences that are right as a whole; NaN without sequences.</summary>
    public double ExactMatch => (double)RightSequences / SequenceCount;

    /// <summary>Adds a sequence. What is expected counts element by element; an element too many spoils the exact match only.</summary>
    /// <param name="expected">What is right; elements of -1 do not count.</param>
    /// <param name="predicted">What was predicted.</param>
    public void Add(ReadOnlySpan<int> expected, ReadOnlySpan<int> predicted)
    {
        bool all = expected.Length == predicted.Length;
        for (int i = 0; i < expected.Length; i++)
        {
            if (expected[i] == -1)
            {
                continue;
            }

            bool right = i < predicted.Length && expected[i] == predicted[i];
            ElementCount++;
            RightElements += right ? 1 : 0;
            all &= right;
        }

        SequenceCount++;
        RightSequences += all ? 1 : 0;
    }

    /// <summary>Adds a text that counts as a whole.</summary>
    /// <param name="expected">What is right.</param>
    /// <param name="predicted">What was predicted.</param>
    public void Add(string expected, string predicted)
    {
        bool right = string.Equals(expected, predicted, StringComparison.Ordinal);
        ElementCount++;
        RightElements += right ? 1 : 0;
        SequenceCount++;
        RightSequences += right ? 1 : 0;
    }
}
