namespace ModelGen.Jinja;

/// <summary>
/// A text of a template's run, which knows of every character whether it is the template's own or was given to it. What was given is never read as the name of a special token.
/// </summary>
/// <param name="Value">The characters.</param>
/// <param name="Given">Of each character whether it was given; null if none was.</param>
internal sealed record JinjaText(string Value, bool[]? Given)
{
    public static readonly JinjaText Empty = new("", null);

    public int Length => Value.Length;

    public static JinjaText Own(string value) => value.Length == 0 ? Empty : new JinjaText(value, null);

    public static JinjaText FromOutside(string value)
    {
        bool[] given = new bool[value.Length];
        Array.Fill(given, true);
        return new JinjaText(value, given);
    }

    /// <summary>A text made of others in a way that loses which character comes from where: given if any of theirs is.</summary>
    public static JinjaText Made(string value, bool isGiven) => isGiven ? FromOutside(value) : Own(value);

    /// <summary>Whether any character was given.</summary>
    public bool HasGiven => Given is not null && Array.IndexOf(Given, true) >= 0;

    public JinjaText Slice(int start, int length) => length == Value.Length ? this : length == 0 ? Empty : new JinjaText(Value.Substring(start, length), Given?.AsSpan(start, length).ToArray());

    public static JinjaText Concat(IReadOnlyList<JinjaText> parts)
    {
        if (parts.Count == 1)
        {
            return parts[0];
        }

        string value = string.Concat(parts.Select(static part => part.Value));
        if (parts.All(static part => part.Given is null))
        {
            return Own(value);
        }

        bool[] given = new bool[value.Length];
        int at = 0;
        foreach (JinjaText part in parts)
        {
            part.Given?.CopyTo(given, at);
            at += part.Length;
        }

        return new JinjaText(value, given);
    }

    // Texts are compared by their characters.
    public bool Equals(JinjaText? other) => other is not null && Value == other.Value;

    public override int GetHashCode() => Value.GetHashCode(StringComparison.Ordinal);

    public override string ToString() => Value;
}
