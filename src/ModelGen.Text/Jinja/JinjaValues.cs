using System.Globalization;
using System.Runtime.CompilerServices;
using System.Text;

namespace ModelGen.Jinja;

/// <summary>What stands for a variable that nothing was assigned to, or a member that is not there.</summary>
/// <param name="Name">What was looked for.</param>
internal sealed record JinjaUndefined(string Name);

/// <summary>A list that is written with round brackets.</summary>
/// <param name="items">Its items.</param>
internal sealed class JinjaTuple(IEnumerable<object?> items) : List<object?>(items);

/// <summary>A mapping, in the order in which it was made. Of a <c>namespace</c>, entries may be set.</summary>
internal sealed class JinjaMapping(bool isNamespace = false)
{
    private readonly Dictionary<object, int> _places = [];
    private readonly List<KeyValuePair<object, object?>> _entries = [];

    public bool IsNamespace => isNamespace;

    public int Count => _entries.Count;

    public IReadOnlyList<KeyValuePair<object, object?>> Entries => _entries;

    public object? this[object key]
    {
        set
        {
            if (_places.TryGetValue(key, out int place))
            {
                _entries[place] = new(key, value);
            }
            else
            {
                _places.Add(key, _entries.Count);
                _entries.Add(new(key, value));
            }
        }
    }

    public bool TryGet(object key, out object? value)
    {
        bool isThere = _places.TryGetValue(key, out int place);
        value = isThere ? _entries[place].Value : null;
        return isThere;
    }
}

/// <summary>What can be called: a macro, a function, a method of a value.</summary>
internal delegate object? JinjaFunction(JinjaRun run, IReadOnlyList<object?> arguments, IReadOnlyDictionary<string, object?> named);

/// <summary>What Python does with values: the truth of them, their order, how they are written. Values are null, bool, long, double, <see cref="JinjaText"/>, lists, <see cref="JinjaMapping"/>, functions and <see cref="JinjaUndefined"/>.</summary>
internal static class JinjaValues
{
    public static bool IsTrue(object? value) => value switch
    {
        null or JinjaUndefined => false,
        bool flag => flag,
        long integer => integer != 0,
        double real => real != 0,
        JinjaText text => text.Length > 0,
        List<object?> list => list.Count > 0,
        JinjaMapping { IsNamespace: false } mapping => mapping.Count > 0,
        _ => true,
    };

    /// <summary>A value of a program as one of a template's. Texts count as given.</summary>
    public static object? FromOutside(object? value) => value switch
    {
        string text => JinjaText.FromOutside(text),
        int integer => (long)integer,
        IEnumerable<KeyValuePair<string, object?>> entries => Mapping(entries),
        IEnumerable<object?> items => items.Select(FromOutside).ToList(),
        _ => value,
    };

    private static JinjaMapping Mapping(IEnumerable<KeyValuePair<string, object?>> entries)
    {
        var mapping = new JinjaMapping();
        foreach ((string key, object? value) in entries)
        {
            mapping[JinjaText.FromOutside(key)] = FromOutside(value);
        }

        return mapping;
    }

    public static bool AreEqual(JinjaRun run, object? left, object? right)
    {
        // Values may lie as deep in each other as a template's steps allow.
        RuntimeHelpers.EnsureSufficientExecutionStack();
        run.Step();
        run.Look(left);
        if (Number(left) is { } a && Number(right) is { } b)
        {
            return left is double || right is double ? a == b : Integer(left) == Integer(right);
        }

        return (left, right) switch
        {
            (List<object?> one, List<object?> other) => one.Count == other.Count && one.Zip(other).All(pair => AreEqual(run, pair.First, pair.Second)),
            (JinjaMapping one, JinjaMapping other) => one.Count == other.Count && one.Entries.All(entry => Looked(entry.Key) && other.TryGet(entry.Key, out object? value) && AreEqual(run, entry.Value, value)),
            (JinjaUndefined, JinjaUndefined) => true,
            _ => Equals(left, right),
        };

        bool Looked(object key)
        {
            run.Look(key);
            return true;
        }
    }

    /// <summary>Truth values count as 0 and 1.</summary>
    public static long? Integer(object? value) => value switch
    {
        long integer => integer,
        bool flag => flag ? 1 : 0,
        _ => null,
    };

    public static double? Number(object? value) => value is double real ? real : Integer(value);

    /// <summary>Python's <c>str</c>.</summary>
    public static JinjaText Text(JinjaRun run, object? value)
    {
        if (value is JinjaText text)
        {
            return text;
        }

        var shown = new StringBuilder();
        Write(run, shown, value, isInside: false);
        return run.New(JinjaText.Made(shown.ToString(), HasGiven(run, value)));
    }

    public static bool HasGiven(JinjaRun run, object? value)
    {
        RuntimeHelpers.EnsureSufficientExecutionStack();
        run.Step();
        return value switch
        {
            JinjaText text => text.HasGiven,
            List<object?> list => list.Any(item => HasGiven(run, item)),
            JinjaMapping mapping => mapping.Entries.Any(entry => HasGiven(run, entry.Key) || HasGiven(run, entry.Value)),
            _ => false,
        };
    }

    public static string TypeName(object? value) => value switch
    {
        null => "None",
        JinjaUndefined undefined => $"nothing: '{undefined.Name}' is undefined",
        bool => "a truth value",
        long or double => "a number",
        JinjaText => "a text",
        List<object?> => "a list",
        JinjaMapping => "a mapping",
        _ => "a function",
    };

    /// <summary>A number as Python writes it.</summary>
    public static string Real(double value)
    {
        if (double.IsNaN(value))
        {
            return "nan";
        }

        if (double.IsInfinity(value))
        {
            return value > 0 ? "inf" : "-inf";
        }

        double size = Math.Abs(value);
        if (size is not 0 and (< 1e-4 or >= 1e16))
        {
            // .NET writes an exponent here too, of two digits at least, but for numbers of 17 digits.
            string shortest = value.ToString("R", CultureInfo.InvariantCulture).Replace('E', 'e');
            if (shortest.Contains('e', StringComparison.Ordinal))
            {
                return shortest;
            }

            string digits = shortest.TrimStart('-');
            return string.Create(CultureInfo.InvariantCulture, $"{(value < 0 ? "-" : "")}{digits[0]}.{digits[1..].TrimEnd('0')}e+{digits.Length - 1:00}");
        }

        // Shortest digits, which .NET writes with an exponent from 1e15 on.
        string text = value.ToString("R", CultureInfo.InvariantCulture);
        text = text.Contains('E', StringComparison.Ordinal) ? value.ToString("F0", CultureInfo.InvariantCulture) : text;
        return text.Contains('.', StringComparison.Ordinal) ? text : text + ".0";
    }

    /// <summary>JSON as Python's <c>json.dumps</c> writes it, without escapes of what is no ASCII.</summary>
    public static void WriteJson(JinjaRun run, StringBuilder json, object? value, int? indent, int depth, string comma, string colon, bool sortsKeys)
    {
        run.Step();
        run.CheckLength(json.Length);
        run.CheckDepth(depth);
        switch (value)
        {
            case null:
                json.Append("null");
                break;
            case bool flag:
                json.Append(flag ? "true" : "false");
                break;
            case long integer:
                json.Append(integer.ToString(CultureInfo.InvariantCulture));
                break;
            case double real:
                json.Append(double.IsNaN(real) ? "NaN" : double.IsInfinity(real) ? real > 0 ? "Infinity" : "-Infinity" : Real(real));
                break;
            case JinjaText text:
                WriteJsonText(json, text.Value);
                break;
            case List<object?> list:
                json.Append('[');
                for (int i = 0; i < list.Count; i++)
                {
                    json.Append(i > 0 ? comma : "");
                    Line(depth + 1);
                    WriteJson(run, json, list[i], indent, depth + 1, comma, colon, sortsKeys);
                }

                if (list.Count > 0)
                {
                    Line(depth);
                }

                json.Append(']');
                break;
            case JinjaMapping mapping:
                json.Append('{');
                bool isFirst = true;
                IEnumerable<KeyValuePair<object, object?>> entries = mapping.Entries;
                entries = sortsKeys ? entries.OrderBy(static entry => entry.Key.ToString(), StringComparer.Ordinal) : entries;
                foreach ((object key, object? item) in entries)
                {
                    json.Append(isFirst ? "" : comma);
                    isFirst = false;
                    Line(depth + 1);
                    WriteJsonText(json, key is JinjaText name ? name.Value : key is bool flag ? flag ? "true" : "false" : Convert.ToString(key, CultureInfo.InvariantCulture)!);
                    json.Append(colon);
                    WriteJson(run, json, item, indent, depth + 1, comma, colon, sortsKeys);
                }

                if (!isFirst)
                {
                    Line(depth);
                }

                json.Append('}');
                break;
            default:
                throw new JinjaException($"Expected what JSON can hold, found {TypeName(value)}.");
        }

        void Line(int level)
        {
            if (indent is { } width)
            {
                json.Append('\n').Append(' ', width * level);
            }
        }
    }

    private static void WriteJsonText(StringBuilder json, string text)
    {
        json.Append('"');
        foreach (char c in text)
        {
            switch (c)
            {
                case '"': json.Append("\\\""); break;
                case '\\': json.Append("\\\\"); break;
                case '\n': json.Append("\\n"); break;
                case '\r': json.Append("\\r"); break;
                case '\t': json.Append("\\t"); break;
                case '\b': json.Append("\\b"); break;
                case '\f': json.Append("\\f"); break;
                case < ' ': json.Append(CultureInfo.InvariantCulture, $"\\u{(int)c:x4}"); break;
                default: json.Append(c); break;
            }
        }

        json.Append('"');
    }

    private static void Write(JinjaRun run, StringBuilder shown, object? value, bool isInside)
    {
        RuntimeHelpers.EnsureSufficientExecutionStack();
        run.Step();
        run.CheckLength(shown.Length);
        switch (value)
        {
            case null:
                shown.Append("None");
                break;
            case JinjaUndefined:
                break;
            case bool flag:
                shown.Append(flag ? "True" : "False");
                break;
            case long integer:
                shown.Append(integer.ToString(CultureInfo.InvariantCulture));
                break;
            case double real:
                shown.Append(Real(real));
                break;
            case JinjaText text when isInside:
                char quote = text.Value.Contains('\'', StringComparison.Ordinal) && !text.Value.Contains('"', StringComparison.Ordinal) ? '"' : '\'';
                shown.Append(quote);
                foreach (char c in text.Value)
                {
                    shown.Append(c switch
                    {
                        '\\' => "\\\\",
                        '\n' => "\\n",
                        '\r' => "\\r",
                        '\t' => "\\t",
                        _ when c == quote => "\\" + c,
                        _ => c.ToString(),
                    });
                }

                shown.Append(quote);
                break;
            case JinjaText text:
                shown.Append(text.Value);
                break;
            case List<object?> list:
                shown.Append(list is JinjaTuple ? '(' : '[');
                for (int i = 0; i < list.Count; i++)
                {
                    shown.Append(i > 0 ? ", " : "");
                    Write(run, shown, list[i], isInside: true);
                }

                shown.Append(list is JinjaTuple ? list.Count == 1 ? ",)" : ")" : "]");
                break;
            case JinjaMapping mapping:
                shown.Append('{');
                for (int i = 0; i < mapping.Count; i++)
                {
                    shown.Append(i > 0 ? ", " : "");
                    Write(run, shown, mapping.Entries[i].Key, isInside: true);
                    shown.Append(": ");
                    Write(run, shown, mapping.Entries[i].Value, isInside: true);
                }

                shown.Append('}');
                break;
            default:
                throw new JinjaException($"Expected a value that can be written, found {TypeName(value)}.");
        }
    }
}
