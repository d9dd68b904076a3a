namespace ModelGen;

/// <summary>Finds names in a text, the longest where several begin at one place.</summary>
internal sealed class NameMatcher
{
    private readonly Dictionary<char, (string Name, int Id)[]> _byFirst;

    public NameMatcher(IEnumerable<KeyValuePair<string, int>> names)
        => _byFirst = names.Where(static name => name.Key.Length > 0)
            .GroupBy(static name => name.Key[0])
            .ToDictionary(static group => group.Key, static group => group.OrderByDescending(static name => name.Key.Length).Select(static name => (name.Key, name.Value)).ToArray());

    public bool IsEmpty => _byFirst.Count == 0;

    /// <summary>The name at a place; null if there is none.</summary>
    public (string Name, int Id)? At(ReadOnlySpan<char> text)
    {
        if (!text.IsEmpty && _byFirst.TryGetValue(text[0], out (string Name, int Id)[]? names))
        {
            foreach ((string Name, int Id) name in names)
            {
                if (text.StartsWith(name.Name, StringComparison.Ordinal))
                {
                    return name;
                }
            }
        }

        return null;
    }

    /// <summary>The parts of a text between names, and the names' ids: -1 for a part.</summary>
    /// <param name="text">The text.</param>
    /// <param name="isName">Whether what stands at a place, with a length, may be a name; null where everything may.</param>
    public IEnumerable<(int Start, int Length, int Id)> Cut(string text, Func<int, int, bool>? isName = null)
    {
        int start = 0;
        for (int at = 0; at < text.Length;)
        {
            if (At(text.AsSpan(at)) is { } found && isName?.Invoke(at, found.Name.Length) != false)
            {
                if (at > start)
                {
                    yield return (start, at - start, -1);
                }

                yield return (at, found.Name.Length, found.Id);
                at += found.Name.Length;
                start = at;
            }
            else
            {
                at++;
            }
        }

        if (start < text.Length)
        {
            yield return (start, text.Length - start, -1);
        }
    }
}
