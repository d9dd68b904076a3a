using System.Globalization;

namespace ModelGen.Jinja;

/// <summary>Methods of texts, lists and mappings, as Python has them, without those that change a value.</summary>
internal static class JinjaMethods
{
    public static JinjaFunction? Find(object? target, string name) => target switch
    {
        JinjaText text => OfText(text, name) is { } method ? Looking(text, method) : null,
        JinjaMapping mapping => OfMapping(mapping, name),
        List<object?> list => OfList(list, name),
        _ => null,
    };

    public static JinjaText Strip(JinjaText text, string? characters, bool atStart, bool atEnd)
    {
        int start = 0;
        int end = text.Length;
        while (atStart && start < end && IsStripped(text.Value[start]))
        {
            start++;
        }

        while (atEnd && end > start && IsStripped(text.Value[end - 1]))
        {
            end--;
        }

        return text.Slice(start, end - start);

        bool IsStripped(char c) => characters is null ? char.IsWhiteSpace(c) : characters.Contains(c, StringComparison.Ordinal);
    }

    /// <summary>The text with another one in the place of a part, everywhere or so many times.</summary>
    public static JinjaText Replace(JinjaRun run, JinjaText text, JinjaText part, JinjaText other, long count)
    {
        var parts = new List<JinjaText> { JinjaText.Empty };
        int start = 0;
        long done = 0;
        if (part.Length == 0)
        {
            // Between all characters, and around them.
            run.Step(text.Length);
            run.CheckLength(((long)text.Length + 1) * (other.Length + 1));
            for (int i = 0; i <= text.Length; i++)
            {
                if (count < 0 || done++ < count)
                {
                    parts.Add(other);
                }

                if (i < text.Length)
                {
                    parts.Add(text.Slice(i, 1));
                }
            }

            return run.New(JinjaText.Concat(parts));
        }

        while ((count < 0 || done < count) && text.Value.IndexOf(part.Value, start, StringComparison.Ordinal) is >= 0 and int at)
        {
            parts.Add(text.Slice(start, at - start));
            parts.Add(other);
            start = at + part.Length;
            done++;
            run.Step();
        }

        run.CheckLength(text.Length + (done * other.Length));
        parts.Add(text.Slice(start, text.Length - start));
        return run.New(JinjaText.Concat(parts));
    }

    private static JinjaFunction? OfText(JinjaText text, string name) => name switch
    {
        "strip" or "lstrip" or "rstrip" => (run, arguments, _) => run.New(Strip(text, arguments.Count > 0 && arguments[0] is not null ? Text(arguments, 0, name).Value : null, name != "rstrip", name != "lstrip")),
        "upper" => (run, _, _) => run.New(JinjaText.Made(text.Value.ToUpperInvariant(), text.HasGiven)),
        "lower" => (run, _, _) => run.New(JinjaText.Made(text.Value.ToLowerInvariant(), text.HasGiven)),
        "title" => (run, _, _) => run.New(JinjaText.Made(Title(text.Value), text.HasGiven)),
        "capitalize" => (run, _, _) => run.New(JinjaText.Made(Capitalized(text.Value), text.HasGiven)),
        "split" or "rsplit" => (run, arguments, named) => Split(run, text, arguments, named, name == "rsplit"),
        "splitlines" => (run, _, _) => Lines(run, text),
        "startswith" or "endswith" => (_, arguments, _) => (arguments.Count > 0 && arguments[0] is List<object?> several ? several : [Text(arguments, 0, name)]).Exists(part => part is JinjaText affix
            && (name == "startswith" ? text.Value.StartsWith(affix.Value, StringComparison.Ordinal) : text.Value.EndsWith(affix.Value, StringComparison.Ordinal))),
        "replace" => (run, arguments, _) => Replace(run, text, Text(arguments, 0, name), Text(arguments, 1, name), arguments.Count > 2 ? Integer(arguments, 2, name) : -1),
        "find" => (_, arguments, _) => (long)text.Value.IndexOf(Text(arguments, 0, name).Value, StringComparison.Ordinal),
        "rfind" => (_, arguments, _) => (long)text.Value.LastIndexOf(Text(arguments, 0, name).Value, StringComparison.Ordinal),
        "count" => (run, arguments, _) => Text(arguments, 0, name) is { Length: > 0 } part ? Split(run, text, [part], null, false).Count - 1L : text.Length + 1L,
        "isdigit" => (_, _, _) => text.Length > 0 && text.Value.All(char.IsDigit),
        "isalpha" => (_, _, _) => text.Length > 0 && text.Value.All(char.IsLetter),
        "isalnum" => (_, _, _) => text.Length > 0 && text.Value.All(char.IsLetterOrDigit),
        "isspace" => (_, _, _) => text.Length > 0 && text.Value.All(char.IsWhiteSpace),
        "isupper" => (_, _, _) => text.Value.Any(char.IsUpper) && !text.Value.Any(char.IsLower),
        "islower" => (_, _, _) => text.Value.Any(char.IsLower) && !text.Value.Any(char.IsUpper),
        "join" => (run, arguments, _) => Join(run, text, arguments.Count > 0 ? arguments[0] : null),
        _ => null,
    };

    // A method of a text looks at all of it.
    private static JinjaFunction Looking(JinjaText text, JinjaFunction method) => (run, arguments, named) =>
    {
        run.Look(text);
        return method(run, arguments, named);
    };

    private static object? Entry(JinjaRun run, JinjaMapping mapping, IReadOnlyList<object?> arguments, IReadOnlyDictionary<string, object?> named)
    {
        run.Look(arguments.Count > 0 ? arguments[0] : null);
        return arguments.Count > 0 && mapping.TryGet(JinjaRun.Key(arguments[0]), out object? value) ? value : arguments.Count > 1 ? arguments[1] : named.GetValueOrDefault("default");
    }

    private static JinjaFunction? OfMapping(JinjaMapping mapping, string name) => name switch
    {
        "items" => (run, _, _) => Counted(run, mapping).Entries.Select(static entry => (object?)new JinjaTuple([entry.Key, entry.Value])).ToList(),
        "keys" => (run, _, _) => Counted(run, mapping).Entries.Select(static entry => (object?)entry.Key).ToList(),
        "values" => (run, _, _) => Counted(run, mapping).Entries.Select(static entry => entry.Value).ToList(),
        "get" => (run, arguments, named) => Entry(run, mapping, arguments, named),
        _ => null,
    };

    private static JinjaFunction? OfList(List<object?> list, string name) => name switch
    {
        "index" => (run, arguments, _) => arguments.Count == 1 && list.FindIndex(item => JinjaValues.AreEqual(run, item, arguments[0])) is >= 0 and int place ? (long)place : throw new JinjaException("index: the value is none of the list."),
        "count" => (run, arguments, _) => (long)list.Count(item => JinjaValues.AreEqual(run, item, arguments.Count > 0 ? arguments[0] : null)),
        _ => null,
    };

    public static JinjaText Join(JinjaRun run, JinjaText between, object? items)
    {
        var parts = new List<JinjaText> { JinjaText.Empty };
        long length = 0;
        foreach (object? item in run.Items(items))
        {
            if (parts.Count > 1)
            {
                parts.Add(between);
            }

            JinjaText part = JinjaValues.Text(run, item);
            length += part.Length + between.Length;
            run.CheckLength(length);
            parts.Add(part);
        }

        return run.New(JinjaText.Concat(parts));
    }

    public static string Title(string text)
    {
        char[] characters = text.ToLowerInvariant().ToCharArray();
        bool isInWord = false;
        for (int i = 0; i < characters.Length; i++)
        {
            characters[i] = isInWord ? characters[i] : char.ToUpperInvariant(characters[i]);
            isInWord = char.IsLetter(characters[i]);
        }

        return new string(characters);
    }

    public static string Capitalized(string text) => text.Length == 0 ? "" : char.ToUpperInvariant(text[0]) + text[1..].ToLowerInvariant();

    private static JinjaMapping Counted(JinjaRun run, JinjaMapping mapping)
    {
        run.Step(mapping.Count);
        return mapping;
    }

    private static JinjaText Text(IReadOnlyList<object?> arguments, int index, string name)
        => index < arguments.Count && arguments[index] is JinjaText text ? text : throw new JinjaException($"{name}: expected a text, found {(index < arguments.Count ? JinjaValues.TypeName(arguments[index]) : "nothing")}.");

    private static long Integer(IReadOnlyList<object?> arguments, int index, string name)
        => JinjaValues.Integer(arguments[index]) ?? throw new JinjaException($"{name}: expected an integer, found {JinjaValues.TypeName(arguments[index])}.");

    private static List<object?> Split(JinjaRun run, JinjaText text, IReadOnlyList<object?> arguments, IReadOnlyDictionary<string, object?>? named, bool fromEnd)
    {
        object? limit = arguments.Count > 1 ? arguments[1] : named?.GetValueOrDefault("maxsplit");
        long most = limit is null ? -1 : JinjaValues.Integer(limit) ?? throw new JinjaException("split: expected how often as an integer.");
        object? separator = arguments.Count > 0 ? arguments[0] : named?.GetValueOrDefault("sep");
        var places = new List<(int Start, int Length)>();
        if (separator is null)
        {
            for (int i = 0; i < text.Length; i++)
            {
                int start = i;
                while (i < text.Length && char.IsWhiteSpace(text.Value[i]))
                {
                    i++;
                }

                if (i > start)
                {
                    places.Add((start, i - start));
                }
            }

            // Space around the text is no place to cut.
            text = text.Slice(0, text.Length);
            if (places.Count > 0 && places[^1].Start + places[^1].Length == text.Length)
            {
                text = text.Slice(0, places[^1].Start);
                places.RemoveAt(places.Count - 1);
            }

            if (places.Count > 0 && places[0].Start == 0)
            {
                int cut = places[0].Length;
                text = text.Slice(cut, text.Length - cut);
                places.RemoveAt(0);
                places = places.ConvertAll(place => (place.Start - cut, place.Length));
            }

            if (text.Length == 0)
            {
                return [];
            }
        }
        else if (separator is JinjaText { Length: > 0 } part)
        {
            for (int at = text.Value.IndexOf(part.Value, StringComparison.Ordinal); at >= 0; at = text.Value.IndexOf(part.Value, at + part.Length, StringComparison.Ordinal))
            {
                places.Add((at, part.Length));
            }
        }
        else
        {
            throw new JinjaException("split: expected a text that is not empty.");
        }

        run.Step(places.Count);
        if (most >= 0 && places.Count > most)
        {
            places = fromEnd ? places[(places.Count - (int)most)..] : places[..(int)most];
        }

        var parts = new List<object?>(places.Count + 1);
        int from = 0;
        foreach ((int start, int length) in places)
        {
            parts.Add(run.New(text.Slice(from, start - from)));
            from = start + length;
        }

        parts.Add(run.New(text.Slice(from, text.Length - from)));
        return parts;
    }

    private static List<object?> Lines(JinjaRun run, JinjaText text)
    {
        List<object?> lines = Split(run, text, [JinjaText.Own("\n")], null, fromEnd: false);
        if (lines[^1] is JinjaText { Length: 0 })
        {
            lines.RemoveAt(lines.Count - 1);
        }

        return lines;
    }

    /// <summary>A time by the letters of C's strftime.</summary>
    public static string Time(DateTimeOffset time, string format)
    {
        var shown = new System.Text.StringBuilder();
        for (int i = 0; i < format.Length; i++)
        {
            if (format[i] != '%' || i + 1 == format.Length)
            {
                shown.Append(format[i]);
                continue;
            }

            shown.Append(format[++i] switch
            {
                'Y' => Shown("yyyy"),
                'y' => Shown("yy"),
                'm' => Shown("MM"),
                'B' => Shown("MMMM"),
                'b' or 'h' => Shown("MMM"),
                'd' => Shown("dd"),
                'e' => time.Day.ToString(CultureInfo.InvariantCulture).PadLeft(2),
                'A' => Shown("dddd"),
                'a' => Shown("ddd"),
                'H' => Shown("HH"),
                'I' => Shown("hh"),
                'p' => Shown("tt"),
                'M' => Shown("mm"),
                'S' => Shown("ss"),
                'j' => time.DayOfYear.ToString("000", CultureInfo.InvariantCulture),
                'F' => Shown("yyyy-MM-dd"),
                'T' => Shown("HH:mm:ss"),
                '%' => "%",
                char other => throw new JinjaException($"strftime_now: '%{other}' is not known here."),
            });
        }

        return shown.ToString();

        string Shown(string pattern) => time.ToString(pattern, CultureInfo.InvariantCulture);
    }
}
