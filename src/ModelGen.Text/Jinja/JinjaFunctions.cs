using System.Globalization;
using System.Text;

namespace ModelGen.Jinja;

/// <summary>The functions and tests that templates may use.</summary>
internal static class JinjaFunctions
{
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

    private static object? Argument(IReadOnlyList<object?> arguments, string name) => arguments.Count > 0 ? arguments[0] : throw new JinjaException($"The test '{name}' needs a value.");

    public static string Required(IReadOnlyList<object?> arguments, int index, string name)
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
