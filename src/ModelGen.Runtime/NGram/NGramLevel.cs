namespace ModelGen.Runtime;

/// <summary>The n-grams of one length, sorted by their contexts (n-grams of one token less) and then by their last tokens.</summary>
/// <param name="Tokens">The last token of each.</param>
/// <param name="First">Of each context, the place of the first n-gram; and one more.</param>
/// <param name="LogProbabilities">log p(last token | context) of each.</param>
/// <param name="BackOffs">Of each n-gram as a context, the logarithm of the factor for what did not follow it; none at the highest order.</param>
internal sealed record NGramLevel(int[] Tokens, int[] First, float[] LogProbabilities, float[] BackOffs)
{
    /// <summary>The place of an n-gram; -1 if it was not seen.</summary>
    public int Find(int context, int token)
    {
        int place = Array.BinarySearch(Tokens, First[context], First[context + 1] - First[context], token);
        return place < 0 ? -1 : place;
    }
}
