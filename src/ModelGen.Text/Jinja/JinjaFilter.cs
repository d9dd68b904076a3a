using System.Globalization;
using System.Text;

namespace ModelGen.Jinja;

/// <summary>The filters that templates may use: one of them, with what it is given.</summary>
/// <param name="run">The run of the template.</param>
/// <param name="name">The filter's name.</param>
/// <param name="value">What stands before it.</param>
/// <param name="arguments">Its arguments by place.</param>
/// <param name="named">Its arguments by name.</param>
internal sealed class JinjaFilter(JinjaRun run, string name, object? value, IReadOnlyList<object?> arguments, IReadOnlyDictionary<string, object?> named)
{
    private const int LargestIndent = 32;

    /// <summary>What the filter makes of its value.</summary>
    /// <exception cref="JinjaException">There is none of this name, or it does not take what it is given.</exception>
    public static object? Apply(JinjaRun run, string name, object? value, IReadOnlyList<object?> arguments, IReadOnlyDictionary<string, object?> named)
    {
        run.Look(value);
        return new JinjaFilter(run, name, value, arguments, named).Result();
    }

    private object? Result() => name switch
    {
        // Of any value.
        "default" or "d" => Default(),
        "string" => Text(),
        "safe" => value,
        "tojson" => ToJson(),

        // Of texts.
        "trim" => run.New(JinjaMethods.Strip(Text(), Get(0, "chars") is JinjaText characters ? characters.Value : null, atStart: true, atEnd: true)),
        "upper" => Rewritten(static text => text.ToUpperInvariant()),
        "lower" => Rewritten(static text => text.ToLowerInvariant()),
        "title" => Rewritten(JinjaMethods.Title),
        "capitalize" => Rewritten(JinjaMethods.Capitalized),
        "e" or "escape" or "forceescape" => Escaped(),
        "replace" => JinjaMethods.Replace(run, Text(), Part(0, "old"), Part(1, "new"), Get(2, "count") is { } count ? JinjaValues.Integer(count) ?? throw Wrong("a count") : -1),
        "indent" => Indented(),
        "wordcount" => WordCount(Text().Value),

        // Of numbers.
        "int" => ToInteger() ?? Get(0, "default") ?? 0L,
        "float" => ToReal() ?? Get(0, "default") ?? 0.0,
        "abs" => Absolute(),
        "round" => Rounded(),

        // Of lists and mappings.
        "length" or "count" => Length(),
        "first" => run.Items(value) is [var first, ..] ? first : new JinjaUndefined("the first item"),
        "last" => run.Items(value) is [.., var last] ? last : new JinjaUndefined("the last item"),
        "list" => (List<object?>)[.. run.Items(value)],
        "reverse" => Reversed(),
        "join" => Joined(),
        "items" => value is JinjaUndefined ? new List<object?>() : value is JinjaMapping pairs ? run.Call(JinjaMethods.Find(pairs, "items"), [], named) : throw Wrong("a mapping"),
        "dictsort" => SortedEntries(),
        "map" => Mapped(),
        "select" => run.Items(value).FindAll(item => Passes(item, 0)),
        "reject" => run.Items(value).FindAll(item => !Passes(item, 0)),
        "selectattr" => WithMember(keeps: true),
        "rejectattr" => WithMember(keeps: false),
        "unique" => Unique(),
        "sort" => Sorted(),
        "min" => Extreme(isLeast: true),
        "max" => Extreme(isLeast: false),
        "sum" => Sum(),
        _ => throw new JinjaException($"The filter '{name}' is not known here."),
    };

    private JinjaText Text() => JinjaValues.Text(run, value);

    private object? Get(int index, string argument) => index < arguments.Count ? arguments[index] : named.GetValueOrDefault(argument);

    private JinjaText Part(int index, string argument) => Get(index, argument) as JinjaText ?? throw Wrong("two texts");

    private JinjaException Wrong(string expected) => new($"{name}: expected {expected}.");

    private object? Default()
    {
        bool isMissing = value is JinjaUndefined || (JinjaValues.IsTrue(Get(1, "boolean")) && !JinjaValues.IsTrue(value));
        return isMissing ? arguments.Count > 0 ? arguments[0] : named.GetValueOrDefault("default_value", JinjaText.Empty) : value;
    }

    private JinjaText Rewritten(Func<string, string> rewrite)
    {
        JinjaText text = Text();
        return run.New(JinjaText.Made(rewrite(text.Value), text.HasGiven));
    }

    private object Length() => value switch
    {
        JinjaText text => (long)text.Length,
        List<object?> list => (long)list.Count,
        JinjaMapping mapping => (long)mapping.Count,
        JinjaUndefined => 0L,
        _ => throw new JinjaException($"length: expected a text, a list or a mapping, found {JinjaValues.TypeName(value)}."),
    };

    private object? ToReal() => value is not JinjaText text ? JinjaValues.Number(value)
        : double.TryParse(text.Value.Trim(), NumberStyles.Float, CultureInfo.InvariantCulture, out double parsed) ? parsed : null;

    private object Absolute() => value is double real ? (object)Math.Abs(real) : JinjaValues.Integer(value) is { } integer ? checked(Math.Abs(integer)) : throw Wrong("a number");

    private static object WordCount(string text) => (long)Enumerable.Range(0, text.Length).Count(i => !char.IsWhiteSpace(text[i]) && (i == 0 || char.IsWhiteSpace(text[i - 1])));

    private object Reversed()
    {
        List<object?> items = [.. Enumerable.Reverse(run.Items(value))];
        return value is JinjaText ? run.New(JinjaText.Concat([JinjaText.Empty, .. items.Cast<JinjaText>()])) : items;
    }

    private object? Joined()
    {
        IEnumerable<object?> items = run.Items(value);
        items = Get(1, "attribute") is { } attribute ? items.Select(item => Member(item, attribute)) : items;
        return JinjaMethods.Join(run, JinjaValues.Text(run, Get(0, "d") ?? JinjaText.Empty), items.ToList());
    }

    private List<object?> SortedEntries()
    {
        run.Items(value);
        return (value as JinjaMapping ?? throw Wrong("a mapping")).Entries.OrderBy(static entry => entry.Key.ToString(), StringComparer.OrdinalIgnoreCase).Select(static entry => (object?)new JinjaTuple([entry.Key, entry.Value])).ToList();
    }

    // Each item's member, or what another filter makes of it.
    private List<object?> Mapped()
    {
        if (named.TryGetValue("attribute", out object? member))
        {
            return run.Items(value).ConvertAll(item => Member(item, member) is var found && found is JinjaUndefined && named.TryGetValue("default", out object? instead) ? instead : found);
        }

        string filter = JinjaFunctions.Required(arguments, 0, name);
        return run.Items(value).ConvertAll(item => Apply(run, filter, item, [.. arguments.Skip(1)], named));
    }

    // Whether the test that the arguments name from one of them on lets an item pass, or, if they name none, whether it is true.
    private bool Passes(object? item, int from)
        => arguments.Count == from ? JinjaValues.IsTrue(item) : JinjaFunctions.Test(run, JinjaFunctions.Required(arguments, from, name), item, [.. arguments.Skip(from + 1)]);

    private List<object?> WithMember(bool keeps)
    {
        object? key = arguments.Count > 0 ? arguments[0] : throw Wrong("the name of a member");
        return run.Items(value).FindAll(item => keeps == Passes(Member(item, key), 1));
    }

    private List<object?> Unique()
    {
        var seen = new List<object?>();
        foreach (object? item in run.Items(value))
        {
            if (!JinjaOperators.Contains(run, seen, item))
            {
                seen.Add(item);
            }
        }

        return seen;
    }

    private object? Extreme(bool isLeast)
    {
        List<object?> items = run.Items(value);
        return items.Count == 0 ? new JinjaUndefined($"the {name} of nothing") : items.Aggregate((one, other) => (isLeast ? JinjaOperators.Order(run, other, one) : JinjaOperators.Order(run, one, other)) < 0 ? other : one);
    }

    private object? Sum() => run.Items(value).Aggregate<object?, object?>(
        Get(1, "start") ?? 0L, (sum, item) => JinjaOperators.Binary(run, "+", sum, named.TryGetValue("attribute", out object? member) ? Member(item, member) : item));

    private JinjaText ToJson()
    {
        int? indent = Get(0, "indent") is { } width ? Indent(width) : null;
        (string comma, string colon) = named.GetValueOrDefault("separators") is List<object?> { Count: 2 } separators && separators[0] is JinjaText one && separators[1] is JinjaText two
            ? (one.Value, two.Value)
            : (indent is null ? ", " : ",", ": ");
        var json = new StringBuilder();
        JinjaValues.WriteJson(run, json, value, indent, 0, comma, colon, JinjaValues.IsTrue(named.GetValueOrDefault("sort_keys")));
        return run.New(JinjaText.Made(json.ToString(), JinjaValues.HasGiven(run, value)));
    }

    private int Indent(object? width) => JinjaValues.Integer(width) is { } columns and >= 0 and <= LargestIndent ? (int)columns : throw Wrong($"an indentation of 0 to {LargestIndent}");

    private JinjaText Indented()
    {
        object? width = Get(0, "width");
        JinjaText margin = width is JinjaText given ? given : JinjaText.Own(new string(' ', Indent(width ?? 4L)));
        bool first = JinjaValues.IsTrue(Get(1, "first"));
        bool blank = JinjaValues.IsTrue(Get(2, "blank"));
        JinjaText text = Text();
        var parts = new List<JinjaText> { JinjaText.Empty };
        long length = 0;
        int start = 0;
        for (int line = 0; start <= text.Length; line++)
        {
            int end = text.Value.IndexOf('\n', start) is >= 0 and int found ? found + 1 : text.Length + 1;
            int count = Math.Min(end, text.Length) - start;
            bool isBlank = text.Value.AsSpan(start, count).IsWhiteSpace();
            if (line == 0 ? first : blank || !isBlank)
            {
                parts.Add(margin);
                length += margin.Length;
            }

            parts.Add(text.Slice(start, count));
            run.Step();
            run.CheckLength(length += count);
            start = end;
        }

        return run.New(JinjaText.Concat(parts));
    }

    private object Rounded()
    {
        double number = JinjaValues.Number(value) ?? throw Wrong("a number");
        int digits = (int)Math.Clamp(JinjaValues.Integer(Get(0, "precision")) ?? 0, 0, 15);
        string method = Get(1, "method") is JinjaText how ? how.Value : "common";
        double scale = Math.Pow(10, digits);
        return method switch
        {
            "ceil" => Math.Ceiling(number * scale) / scale,
            "floor" => Math.Floor(number * scale) / scale,
            _ => Math.Round(number, digits, MidpointRounding.ToEven),
        };
    }

    private List<object?> Sorted()
    {
        List<object?> items = run.Items(value);
        object? attribute = named.GetValueOrDefault("attribute");
        bool respectsCase = JinjaValues.IsTrue(Get(1, "case_sensitive"));
        bool isReversed = JinjaValues.IsTrue(Get(0, "reverse"));
        Comparer<object?> order = Comparer<object?>.Create((one, other) => JinjaOperators.Order(run, Folded(one), Folded(other)));

        object? Folded(object? item)
        {
            run.Look(item);
            return item is JinjaText text && !respectsCase ? JinjaText.Own(text.Value.ToLowerInvariant()) : item;
        }

        IEnumerable<object?> sorted = isReversed
            ? Enumerable.Reverse(items).OrderBy(Key, order).Reverse()
            : items.OrderBy(Key, order);
        try
        {
            return [.. sorted];
        }
        catch (InvalidOperationException exception) when (exception.InnerException is JinjaException inner)
        {
            throw inner;
        }

        object? Key(object? item) => attribute is null ? item : Member(item, attribute);
    }

    private object? ToInteger() => value switch
    {
        JinjaText text => long.TryParse(text.Value.Trim(), NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out long parsed) ? parsed
            : double.TryParse(text.Value.Trim(), NumberStyles.Float, CultureInfo.InvariantCulture, out double real) && Math.Abs(real) < 9e18 ? (long)real : null,
        double real => Math.Abs(real) < 9e18 ? (long)real : null,
        _ => JinjaValues.Integer(value),
    };

    private JinjaText Escaped()
    {
        JinjaText text = Text();
        foreach ((string character, string entity) in ((string, string)[])[("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ("'", "&#39;"), ("\"", "&#34;")])
        {
            text = JinjaMethods.Replace(run, text, JinjaText.Own(character), JinjaText.Own(entity), -1);
        }

        return text;
    }

    private static object? Member(object? item, object? key) => JinjaOperators.Member(item, key, isName: false);
}
