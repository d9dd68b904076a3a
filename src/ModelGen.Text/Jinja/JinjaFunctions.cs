using System.Globalization;
using System.Text;

namespace ModelGen.Jinja;

/// <summary>The functions, filters and tests that templates may use.</summary>
internal static class JinjaFunctions
{
    private const int LargestIndent = 32;

    public static Dictionary<string, object?> Globals() => new(StringComparer.Ordinal)
    {
        ["range"] = new JinjaFunction(Range),
        ["namespace"] = new JinjaFunction((run, arguments, named) => Mapping(run, arguments, named, isNamespace: true)),
        ["dict"] = new JinjaFunction((run, arguments, named) => Mapping(run, arguments, named, isNamespace: false)),
        ["raise_exception"] = new JinjaFunction((run, arguments, _) => throw new JinjaException("The template refuses the messages: " + JinjaValues.Text(run, arguments.Count > 0 ? arguments[0] : null).Value)),
        ["strftime_now"] = new JinjaFunction((run, arguments, _) => run.New(JinjaText.Own(JinjaMethods.Time(run.Now, Required(arguments, 0, "strftime_now"))))),
    };

    public static bool Test(JinjaRun run, string name, object? value, IReadOnlyList<object?> arguments)
    {
        run.Look(value);
        return Holds(run, name, value, arguments);
    }

    private static bool Holds(JinjaRun run, string name, object? value, IReadOnlyList<object?> arguments) => name switch
    {
        "defined" => value is not JinjaUndefined,
        "undefined" => value is JinjaUndefined,
        "none" => value is null,
        "boolean" => value is bool,
        "true" => value is true,
        "false" => value is false,
        "string" => value is JinjaText,
        "number" => value is long or double or bool,
        "integer" => value is long,
        "float" => value is double,
        "mapping" => value is JinjaMapping { IsNamespace: false },
        "sequence" => value is JinjaText or List<object?> or JinjaMapping { IsNamespace: false },
        "iterable" => value is JinjaText or List<object?> or JinjaMapping { IsNamespace: false } or JinjaUndefined,
        "callable" => value is JinjaFunction,
        "odd" => JinjaOperators.Binary(run, "%", value, 2L) is 1L,
        "even" => JinjaOperators.Binary(run, "%", value, 2L) is 0L,
        "divisibleby" => JinjaOperators.Binary(run, "%", value, Argument(arguments, name)) is 0L,
        "eq" or "equalto" or "==" => JinjaValues.AreEqual(run, value, Argument(arguments, name)),
        "ne" or "!=" => !JinjaValues.AreEqual(run, value, Argument(arguments, name)),
        "sameas" => value is null or bool ? Equals(value, Argument(arguments, name)) : ReferenceEquals(value, Argument(arguments, name)) || (value is long or double && Equals(value, Argument(arguments, name))),
        "in" => JinjaOperators.Contains(run, Argument(arguments, name), value),
        "lt" or "lessthan" => JinjaOperators.Order(run, value, Argument(arguments, name)) < 0,
        "le" => JinjaOperators.Order(run, value, Argument(arguments, name)) <= 0,
        "gt" or "greaterthan" => JinjaOperators.Order(run, value, Argument(arguments, name)) > 0,
        "ge" => JinjaOperators.Order(run, value, Argument(arguments, name)) >= 0,
        "lower" => value is JinjaText lower && lower.Value.Any(char.IsLetter) && !lower.Value.Any(char.IsUpper),
        "upper" => value is JinjaText upper && upper.Value.Any(char.IsLetter) && !upper.Value.Any(char.IsLower),
        _ => throw new JinjaException($"The test '{name}' is not known here."),
    };

    public static object? Filter(JinjaRun run, string name, object? value, IReadOnlyList<object?> arguments, IReadOnlyDictionary<string, object?> named)
    {
        run.Look(value);
        switch (name)
        {
            case "trim":
                return run.New(JinjaMethods.Strip(Text(), Get(0, "chars") is JinjaText characters ? characters.Value : null, atStart: true, atEnd: true));
            case "upper":
                return run.New(JinjaText.Made(Text().Value.ToUpperInvariant(), Text().HasGiven));
            case "lower":
                return run.New(JinjaText.Made(Text().Value.ToLowerInvariant(), Text().HasGiven));
            case "title":
                return run.New(JinjaText.Made(JinjaMethods.Title(Text().Value), Text().HasGiven));
            case "capitalize":
                return run.New(JinjaText.Made(JinjaMethods.Capitalized(Text().Value), Text().HasGiven));
            case "length" or "count":
                return value switch
                {
                    JinjaText text => (long)text.Length,
                    List<object?> list => list.Count,
                    JinjaMapping mapping => mapping.Count,
                    JinjaUndefined => 0L,
                    _ => throw new JinjaException($"length: expected a text, a list or a mapping, found {JinjaValues.TypeName(value)}."),
                } is var length ? Convert.ToInt64(length, CultureInfo.InvariantCulture) : 0;
            case "first":
                List<object?> firsts = run.Items(value);
                return firsts.Count > 0 ? firsts[0] : new JinjaUndefined("the first item");
            case "last":
                List<object?> lasts = run.Items(value);
                return lasts.Count > 0 ? lasts[^1] : new JinjaUndefined("the last item");
            case "default" or "d":
                bool isMissing = value is JinjaUndefined || (JinjaValues.IsTrue(Get(1, "boolean")) && !JinjaValues.IsTrue(value));
                return isMissing ? arguments.Count > 0 ? arguments[0] : named.GetValueOrDefault("default_value", JinjaText.Empty) : value;
            case "string":
                return JinjaValues.Text(run, value);
            case "safe":
                return value;
            case "e" or "escape" or "forceescape":
                return Escaped(run, Text());
            case "int":
                return ToInteger(value) ?? (Get(0, "default") ?? 0L);
            case "float":
                return value is JinjaText number ? double.TryParse(number.Value.Trim(), NumberStyles.Float, CultureInfo.InvariantCulture, out double parsed) ? parsed : Get(0, "default") ?? 0.0 : JinjaValues.Number(value) ?? Get(0, "default") ?? 0.0;
            case "abs":
                return value is double real ? (object)Math.Abs(real) : JinjaValues.Integer(value) is { } integer ? checked(Math.Abs(integer)) : throw Wrong("a number");
            case "round":
                return Rounded();
            case "list":
                return (List<object?>)[.. run.Items(value)];
            case "reverse":
                List<object?> reversed = [.. Enumerable.Reverse(run.Items(value))];
                return value is JinjaText ? run.New(JinjaText.Concat([JinjaText.Empty, .. reversed.Cast<JinjaText>()])) : reversed;
            case "join":
                IEnumerable<object?> joined = run.Items(value);
                joined = Get(1, "attribute") is { } attribute ? joined.Select(item => JinjaOperators.Member(item, attribute, isName: false)) : joined;
                return JinjaMethods.Join(run, JinjaValues.Text(run, Get(0, "d") ?? JinjaText.Empty), joined.ToList());
            case "replace":
                return JinjaMethods.Replace(run, Text(), Part(0, "old"), Part(1, "new"), Get(2, "count") is { } count ? JinjaValues.Integer(count) ?? throw Wrong("a count") : -1);
            case "items":
                return value is JinjaUndefined ? new List<object?>() : value is JinjaMapping pairs ? run.Call(JinjaMethods.Find(pairs, "items"), [], named) : throw Wrong("a mapping");
            case "dictsort":
                run.Items(value);
                return (value as JinjaMapping ?? throw Wrong("a mapping")).Entries.OrderBy(static entry => entry.Key.ToString(), StringComparer.OrdinalIgnoreCase).Select(static entry => (object?)new JinjaTuple([entry.Key, entry.Value])).ToList();
            case "tojson":
                return ToJson();
            case "indent":
                return Indented();
            case "wordcount":
                string words = Text().Value;
                return (long)Enumerable.Range(0, words.Length).Count(i => !char.IsWhiteSpace(words[i]) && (i == 0 || char.IsWhiteSpace(words[i - 1])));
            case "map":
                if (named.TryGetValue("attribute", out object? member))
                {
                    return run.Items(value).ConvertAll(item => JinjaOperators.Member(item, member, isName: false) is var found && found is JinjaUndefined && named.TryGetValue("default", out object? instead) ? instead : found);
                }

                string mapped = Required(arguments, 0, name);
                return run.Items(value).ConvertAll(item => Filter(run, mapped, item, [.. arguments.Skip(1)], named));
            case "select" or "reject":
                bool isSelect = name == "select";
                return run.Items(value).FindAll(item => isSelect == (arguments.Count == 0 ? JinjaValues.IsTrue(item) : Test(run, Required(arguments, 0, name), item, [.. arguments.Skip(1)])));
            case "selectattr" or "rejectattr":
                bool keeps = name == "selectattr";
                object? key = arguments.Count > 0 ? arguments[0] : throw Wrong("the name of a member");
                return run.Items(value).FindAll(item => keeps == (JinjaOperators.Member(item, key, isName: false) is var found && (arguments.Count == 1 ? JinjaValues.IsTrue(found) : Test(run, Required(arguments, 1, name), found, [.. arguments.Skip(2)]))));
            case "unique":
                var seen = new List<object?>();
                foreach (object? item in run.Items(value))
                {
                    if (!JinjaOperators.Contains(run, seen, item))
                    {
                        seen.Add(item);
                    }
                }

                return seen;
            case "sort":
                return Sorted();
            case "min" or "max":
                List<object?> compared = run.Items(value);
                return compared.Count == 0 ? new JinjaUndefined($"the {name} of nothing") : compared.Aggregate((one, other) => (name == "min" ? JinjaOperators.Order(run, other, one) : JinjaOperators.Order(run, one, other)) < 0 ? other : one);
            case "sum":
                return run.Items(value).Aggregate<object?, object?>(Get(1, "start") ?? 0L, (sum, item) => JinjaOperators.Binary(run, "+", sum, named.TryGetValue("attribute", out object? of) ? JinjaOperators.Member(item, of, isName: false) : item));
            default:
                throw new JinjaException($"The filter '{name}' is not known here.");
        }

        JinjaText Text() => JinjaValues.Text(run, value);

        object? Get(int index, string argument) => index < arguments.Count ? arguments[index] : named.GetValueOrDefault(argument);

        JinjaText Part(int index, string argument) => Get(index, argument) as JinjaText ?? throw Wrong("two texts");

        JinjaException Wrong(string expected) => new($"{name}: expected {expected}.");

        object? Rounded()
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

        JinjaText ToJson()
        {
            int? indent = Get(0, "indent") is { } width ? Indent(width) : null;
            (string comma, string colon) = named.GetValueOrDefault("separators") is List<object?> { Count: 2 } separators && separators[0] is JinjaText one && separators[1] is JinjaText two
                ? (one.Value, two.Value)
                : (indent is null ? ", " : ",", ": ");
            var json = new StringBuilder();
            JinjaValues.WriteJson(run, json, value, indent, 0, comma, colon, JinjaValues.IsTrue(named.GetValueOrDefault("sort_keys")));
            return run.New(JinjaText.Made(json.ToString(), JinjaValues.HasGiven(run, value)));
        }

        int Indent(object? width) => JinjaValues.Integer(width) is { } columns and >= 0 and <= LargestIndent ? (int)columns : throw Wrong($"an indentation of 0 to {LargestIndent}");

        JinjaText Indented()
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

        List<object?> Sorted()
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

            object? Key(object? item) => attribute is null ? item : JinjaOperators.Member(item, attribute, isName: false);
        }
    }

    private static object? ToInteger(object? value) => value switch
    {
        JinjaText text => long.TryParse(text.Value.Trim(), NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out long parsed) ? parsed
            : double.TryParse(text.Value.Trim(), NumberStyles.Float, CultureInfo.InvariantCulture, out double real) && Math.Abs(real) < 9e18 ? (long)real : null,
        double real => Math.Abs(real) < 9e18 ? (long)real : null,
        _ => JinjaValues.Integer(value),
    };

    private static JinjaText Escaped(JinjaRun run, JinjaText text)
    {
        foreach ((string character, string entity) in ((string, string)[])[("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ("'", "&#39;"), ("\"", "&#34;")])
        {
            text = JinjaMethods.Replace(run, text, JinjaText.Own(character), JinjaText.Own(entity), -1);
        }

        return text;
    }

    private static object? Argument(IReadOnlyList<object?> arguments, string name) => arguments.Count > 0 ? arguments[0] : throw new JinjaException($"The test '{name}' needs a value.");

    private static string Required(IReadOnlyList<object?> arguments, int index, string name)
        => index < arguments.Count && arguments[index] is JinjaText text ? text.Value : throw new JinjaException($"{name}: expected a text.");

    private static object? Range(JinjaRun run, IReadOnlyList<object?> arguments, IReadOnlyDictionary<string, object?> named)
    {
        long[] numbers = [.. arguments.Select(static argument => JinjaValues.Integer(argument) ?? throw new JinjaException($"range: expected integers, found {JinjaValues.TypeName(argument)}."))];
        (long start, long end, long step) = numbers.Length switch
        {
            1 => (0, numbers[0], 1),
            2 => (numbers[0], numbers[1], 1),
            3 when numbers[2] != 0 => (numbers[0], numbers[1], numbers[2]),
            _ => throw new JinjaException("range: expected one to three integers, and a step other than 0."),
        };
        var items = new List<object?>();
        for (Int128 at = start; step > 0 ? at < end : at > end; at += step)
        {
            run.Step();
            items.Add((long)at);
        }

        return items;
    }

    private static JinjaMapping Mapping(JinjaRun run, IReadOnlyList<object?> arguments, IReadOnlyDictionary<string, object?> named, bool isNamespace)
    {
        var mapping = new JinjaMapping(isNamespace);
        foreach (object? argument in arguments)
        {
            run.Step(argument is JinjaMapping { Count: var count } ? count : 0);
            foreach ((object key, object? value) in (argument as JinjaMapping ?? throw new JinjaException($"Expected a mapping, found {JinjaValues.TypeName(argument)}.")).Entries)
            {
                mapping[key] = value;
            }
        }

        foreach ((string key, object? value) in named)
        {
            mapping[JinjaText.Own(key)] = value;
        }

        return mapping;
    }
}
