namespace ModelGen.Jinja;

/// <summary>Operators and members of values, as Python has them; nothing changes a value but what sets a member of a namespace.</summary>
internal static class JinjaOperators
{
    public static object? Binary(JinjaRun run, string name, object? left, object? right)
    {
        if (name == "~")
        {
            return run.New(JinjaText.Concat([JinjaValues.Text(run, left), JinjaValues.Text(run, right)]));
        }

        switch (name, left, right)
        {
            case ("+", JinjaText a, JinjaText b):
                return run.New(JinjaText.Concat([a, b]));
            case ("+", List<object?> a, List<object?> b):
                run.Step(a.Count + b.Count);
                return (List<object?>)[.. a, .. b];
            case ("*", JinjaText text, _) when JinjaValues.Integer(right) is { } count:
                count = Math.Clamp(count, 0, int.MaxValue);
                run.CheckLength(count * text.Length);
                run.Step(count);
                return run.New(JinjaText.Concat([JinjaText.Empty, .. Enumerable.Repeat(text, (int)count)]));
            case ("*", List<object?> list, _) when JinjaValues.Integer(right) is { } count:
                count = Math.Clamp(count, 0, int.MaxValue);
                run.Step(count * Math.Max(1, list.Count));
                return Enumerable.Repeat(list, (int)count).SelectMany(static items => items).ToList();
        }

        if (JinjaValues.Integer(left) is { } x && JinjaValues.Integer(right) is { } y)
        {
            switch (name)
            {
                case "+": return checked(x + y);
                case "-": return checked(x - y);
                case "*": return checked(x * y);
                case "/": return y != 0 ? (double)x / y : throw DividedByZero();
                case "//": return y != 0 ? (x == long.MinValue && y == -1 ? throw new OverflowException() : (x / y) - ((x % y != 0) && (x < 0 != y < 0) ? 1 : 0)) : throw DividedByZero();
                case "%": return y is 0 ? throw DividedByZero() : y is -1 or 1 ? 0L : x % y is not 0 and long rest && rest < 0 != y < 0 ? rest + y : x % y;
                case "**" when y >= 0: return Power(x, y);
                case "**": return Math.Pow(x, y);
            }
        }

        if (JinjaValues.Number(left) is { } u && JinjaValues.Number(right) is { } v)
        {
            switch (name)
            {
                case "+": return u + v;
                case "-": return u - v;
                case "*": return u * v;
                case "/": return v != 0 ? u / v : throw DividedByZero();
                case "//": return v != 0 ? Math.Floor(u / v) : throw DividedByZero();
                case "%": return v != 0 ? u - (v * Math.Floor(u / v)) : throw DividedByZero();
                case "**": return Math.Pow(u, v);
            }
        }

        throw new JinjaException($"Expected values for '{name}', found {JinjaValues.TypeName(left)} and {JinjaValues.TypeName(right)}.");
    }

    public static bool Compare(JinjaRun run, string name, object? left, object? right) => name switch
    {
        "==" => JinjaValues.AreEqual(run, left, right),
        "!=" => !JinjaValues.AreEqual(run, left, right),
        "in" => Contains(run, right, left),
        "not in" => !Contains(run, right, left),
        "<" => Order(run, left, right) < 0,
        ">" => Order(run, left, right) > 0,
        "<=" => Order(run, left, right) <= 0,
        _ => Order(run, left, right) >= 0,
    };

    public static int Order(JinjaRun run, object? left, object? right)
    {
        run.Step();
        run.Look(left);
        return (left, right) switch
        {
            (JinjaText a, JinjaText b) => string.CompareOrdinal(a.Value, b.Value),
            _ when JinjaValues.Integer(left) is { } a && JinjaValues.Integer(right) is { } b => a.CompareTo(b),
            _ when JinjaValues.Number(left) is { } a && JinjaValues.Number(right) is { } b => a.CompareTo(b),
            (List<object?> a, List<object?> b) => Enumerable.Range(0, Math.Min(a.Count, b.Count)).Select(i => Order(run, a[i], b[i])).FirstOrDefault(static order => order != 0, a.Count.CompareTo(b.Count)),
            _ => throw new JinjaException($"Expected values that have an order, found {JinjaValues.TypeName(left)} and {JinjaValues.TypeName(right)}."),
        };
    }

    public static bool Contains(JinjaRun run, object? container, object? value)
    {
        switch (container)
        {
            case JinjaText text:
                run.Step(1 + (text.Length / 64));
                return value is JinjaText part ? text.Value.Contains(part.Value, StringComparison.Ordinal) : throw new JinjaException($"Expected a text to look for in a text, found {JinjaValues.TypeName(value)}.");
            case List<object?> list:
                return list.Exists(item => JinjaValues.AreEqual(run, item, value));
            case JinjaMapping mapping:
                run.Look(value);
                return value is not null && mapping.TryGet(JinjaRun.Key(value), out _);
            case JinjaUndefined:
                return false;
            default:
                throw new JinjaException($"Expected something that holds values, found {JinjaValues.TypeName(container)}.");
        }
    }

    /// <summary>A member by name or by index: entries of a mapping, items of a list, methods.</summary>
    public static object? Member(object? target, object? key, bool isName)
    {
        string shown = key is JinjaText name ? name.Value : $"{key}";
        switch (target)
        {
            case JinjaUndefined undefined:
                throw new JinjaException($"'{undefined.Name}' is undefined, and has no '{shown}'.");

            case JinjaMapping mapping:
                // A name is a method first where it is asked for with a point, as Python's attributes are.
                if (isName && !mapping.IsNamespace && JinjaMethods.Find(target, shown) is { } method)
                {
                    return method;
                }

                return key is JinjaText or long or bool or double && mapping.TryGet(key, out object? value) ? value : !isName && JinjaMethods.Find(target, shown) is { } other ? other : new JinjaUndefined(shown);

            case List<object?> list when JinjaValues.Integer(key) is { } index:
                return index >= -list.Count && index < list.Count ? list[(int)(index < 0 ? index + list.Count : index)] : new JinjaUndefined($"item {index}");

            case JinjaText text when JinjaValues.Integer(key) is { } index:
                return index >= -text.Length && index < text.Length ? text.Slice((int)(index < 0 ? index + text.Length : index), 1) : new JinjaUndefined($"character {index}");

            default:
                return key is JinjaText ? JinjaMethods.Find(target, shown) ?? (object)new JinjaUndefined(shown) : new JinjaUndefined(shown);
        }
    }

    public static object? Slice(JinjaRun run, object? target, long? start, long? end, long? step)
    {
        long by = step ?? 1;
        if (by == 0)
        {
            throw new JinjaException("The step of a slice is 0.");
        }

        long length = target switch
        {
            List<object?> list => list.Count,
            JinjaText text => text.Length,
            _ => throw new JinjaException($"Expected a list or a text to take a part of, found {JinjaValues.TypeName(target)}."),
        };
        long from = Place(start, by > 0 ? 0 : length - 1);
        long to = end is null && by < 0 ? -1 : Place(end, length);
        if (by == 1 && target is JinjaText whole)
        {
            return run.New(whole.Slice((int)from, (int)Math.Max(0, to - from)));
        }

        var places = new List<int>();
        for (long at = from; by > 0 ? at < to : at > to; at += by)
        {
            if (at >= 0 && at < length)
            {
                places.Add((int)at);
            }

            if (Math.Abs(by) >= length)
            {
                break;
            }
        }

        run.Step(places.Count);
        return target is List<object?> items ? places.ConvertAll(place => items[place]) : run.New(JinjaText.Concat([JinjaText.Empty, .. places.Select(place => ((JinjaText)target).Slice(place, 1))]));

        // As Python: from the end where negative, and never outside.
        long Place(long? index, long byDefault)
        {
            long place = index is null ? byDefault : index < 0 ? Math.Max(index.Value, -length - 1) + length : Math.Min(index.Value, length);
            return by > 0 ? Math.Clamp(place, 0, length) : Math.Clamp(place, -1, length - 1);
        }
    }

    private static long Power(long x, long y)
    {
        long result = 1;
        if (x is 0 or 1 or -1)
        {
            return y == 0 ? 1 : x == -1 && y % 2 == 0 ? 1 : x;
        }

        for (; y > 0; y--)
        {
            result = checked(result * x);
        }

        return result;
    }

    private static JinjaException DividedByZero() => new("A number is divided by zero.");
}
