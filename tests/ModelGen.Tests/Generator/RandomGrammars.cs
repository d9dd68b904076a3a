namespace ModelGen.Tests.Generator;

/// <summary>Small grammars, each a function of its number, and the texts that they are tried on.</summary>
internal static class RandomGrammars
{
    public const int Count = 400;

    /// <summary>The alternatives of each rule: names of rules, and texts in quotes. Some begin with themselves.</summary>
    public static Dictionary<string, List<List<string>>> Rules(int number)
    {
        var random = new Random(number);
        var rules = new Dictionary<string, List<List<string>>>();
        int count = random.Next(1, 5);
        for (int rule = 0; rule < count; rule++)
        {
            rules[rule == 0 ? "root" : $"r{rule}"] = [.. Enumerable.Range(0, random.Next(1, 4)).Select(_ => Enumerable.Range(0, random.Next(0, 4)).Select(_ => random.Next(3) == 0 ? $"r{random.Next(1, Math.Max(2, count))}" : $"\"{"abé"[random.Next(3)]}\"").Where(symbol => !symbol.StartsWith('r') || count > 1).ToList())];
        }

        return rules;
    }

    /// <summary>The grammar in GBNF.</summary>
    public static string Text(Dictionary<string, List<List<string>>> rules)
        => string.Join('\n', rules.Select(static rule => $"{rule.Key} ::= {string.Join(" | ", rule.Value.Select(static sequence => string.Join(' ', sequence)))}"));

    /// <summary>All texts of those letters up to a length.</summary>
    public static IEnumerable<string> Texts(int longest) => longest == 0 ? [""] : Texts(longest - 1).SelectMany(static text => (string[])[text, text + "a", text + "b", text + "é"]).Distinct();
}
