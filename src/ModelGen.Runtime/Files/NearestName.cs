namespace ModelGen.Runtime;

/// <summary>Finds which of a file's names may have been meant by one that it lacks.</summary>
internal sealed class NearestName(IEnumerable<WeightTensor> candidates)
{
    // Names that are compared, and their length: a file may have any number of any length.
    private const int CandidateLimit = 1000;
    private const int LengthLimit = 200;

    // Comparisons of single characters for all searches together, a fraction of a second.
    private const long WorkLimit = 50_000_000;

    private readonly string[] _candidates = candidates.Filter(static tensor => tensor.Name.Length <= LengthLimit).Leading(CandidateLimit).Map(static tensor => tensor.Name);
    private readonly int[] _row = new int[LengthLimit + 1];
    private long _work;

    /// <summary>The name with the fewest insertions, deletions and replacements, if they are fewer than a third of its characters; else null.</summary>
    public string? Of(string name)
    {
        string? nearest = null;
        int least = ((name.Length + 2) / 3) - 1;
        foreach (string candidate in _candidates)
        {
            if (Math.Abs(candidate.Length - name.Length) > least || name.Length > LengthLimit || _work > WorkLimit)
            {
                continue;
            }

            int distance = Distance(name, candidate);
            if (distance <= least)
            {
                nearest = candidate;
                least = distance - 1;
            }
        }

        return nearest;
    }

    // Levenshtein's distance, row by row.
    private int Distance(string a, string b)
    {
        _work += (long)a.Length * b.Length;
        Span<int> row = _row.AsSpan(0, b.Length + 1);
        for (int j = 0; j <= b.Length; j++)
        {
            row[j] = j;
        }

        for (int i = 1; i <= a.Length; i++)
        {
            int diagonal = row[0];
            row[0] = i;
            for (int j = 1; j <= b.Length; j++)
            {
                int above = row[j];
                row[j] = Math.Min(Math.Min(above, row[j - 1]) + 1, diagonal + (a[i - 1] == b[j - 1] ? 0 : 1));
                diagonal = above;
            }
        }

        return row[b.Length];
    }
}
