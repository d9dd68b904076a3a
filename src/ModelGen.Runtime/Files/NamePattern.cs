namespace ModelGen.Runtime;

/// <summary>Patterns of names, in which <c>*</c> stands for any number of any characters.</summary>
internal static class NamePattern
{
    /// <summary>Whether a name is one of some patterns'.</summary>
    public static bool IsOneOf(string name, IReadOnlyList<string> patterns)
    {
        for (int i = 0; i < patterns.Count; i++)
        {
            if (Fits(name, patterns[i]))
            {
                return true;
            }
        }

        return false;
    }

    /// <summary>Whether a name is a pattern's. What stands between two stars is looked for once, where it is first: no pattern takes more than the product of both lengths.</summary>
    public static bool Fits(ReadOnlySpan<char> name, ReadOnlySpan<char> pattern)
    {
        int star = pattern.IndexOf('*');
        if (star < 0)
        {
            return name.SequenceEqual(pattern);
        }

        int last = pattern.LastIndexOf('*');
        if (name.Length < star + (pattern.Length - last - 1) || !name.StartsWith(pattern[..star], StringComparison.Ordinal) || !name.EndsWith(pattern[(last + 1)..], StringComparison.Ordinal))
        {
            return false;
        }

        ReadOnlySpan<char> middle = name[star..^(pattern.Length - last - 1)];
        while (star < last)
        {
            ReadOnlySpan<char> rest = pattern[(star + 1)..];
            int length = rest.IndexOf('*');
            int at = middle.IndexOf(rest[..length]);
            if (at < 0)
            {
                return false;
            }

            middle = middle[(at + length)..];
            star += length + 1;
        }

        return true;
    }
}
