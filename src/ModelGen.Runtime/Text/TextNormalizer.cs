using System.Text;
using ModelGen.Runtime;

namespace ModelGen;

/// <summary>How texts are made alike before they are cut into tokens. Immutable.</summary>
public sealed record TextNormalizer
{
    /// <summary>Leaves texts as they are.</summary>
    public static TextNormalizer None { get; } = new() { Compose = false };

    /// <summary>Whether characters and their marks are composed: Unicode's normalization form C, so that é is one character however it was written, with or without the globalization data of the system. Default: true.</summary>
    public bool Compose { get; init; } = true;

    /// <summary>Whether letters become small, by the invariant culture. Default: false.</summary>
    public bool Lowercase { get; init; }

    /// <summary>Whether each run of white space becomes one space, and none is left at the ends. Default: false.</summary>
    public bool CollapseWhiteSpace { get; init; }

    /// <summary>Makes a text alike.</summary>
    /// <param name="text">The text.</param>
    /// <exception cref="ArgumentException">The text has a lone surrogate.</exception>
    public string Normalize(string text)
    {
        ArgumentNullException.ThrowIfNull(text);
        SurrogateCheck.Require(text);
        text = Compose ? CanonicalComposition.Compose(text) : text;
        text = Lowercase ? text.ToLowerInvariant() : text;
        return CollapseWhiteSpace ? Collapse(text) : text;
    }

    private static string Collapse(string text)
    {
        var collapsed = new StringBuilder(text.Length);
        bool space = false;
        foreach (char c in text)
        {
            if (char.IsWhiteSpace(c))
            {
                space = collapsed.Length > 0;
                continue;
            }

            if (space)
            {
                collapsed.Append(' ');
            }

            space = false;
            collapsed.Append(c);
        }

        return collapsed.ToString();
    }
}
