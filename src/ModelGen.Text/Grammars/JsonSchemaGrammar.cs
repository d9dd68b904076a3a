using System.Globalization;
using System.Text.Json;

namespace ModelGen.Grammars;

/// <summary>The JSON texts that a schema lets pass, or a part of them: members come in the schema's order, and others than it names do not come. A keyword that would be broken by that is refused.</summary>
internal sealed class JsonSchemaGrammar
{
    private const int LargestDepth = 64;
    private const int LargestCount = 2000;

    private static readonly HashSet<string> s_annotations = ["title", "description", "default", "examples", "$schema", "$id", "$comment", "$defs", "definitions", "deprecated", "readOnly", "writeOnly"];

    private readonly GrammarBuilder _builder;
    private readonly JsonElement _root;
    private readonly Dictionary<string, int> _references = new(StringComparer.Ordinal);
    private readonly int _space;
    private readonly int _character;
    private int _value = -1;

    private JsonSchemaGrammar(JsonElement root, GrammarBuilder builder, (int Space, int Character) shared)
        => (_root, _builder, _space, _character) = (root, builder, shared.Space, shared.Character);

    public static GrammarRules Read(JsonElement schema)
    {
        var builder = new GrammarBuilder();
        var grammar = new JsonSchemaGrammar(schema, builder, Shared(builder));
        builder.Define(builder.Named("root"), [[grammar.Schema(schema, "#", 0)]]);
        return builder.Build("root");
    }

    /// <summary>Answers with calls of tools in them.</summary>
    public static GrammarRules ReadTools(IReadOnlyList<ToolDefinition> tools, ToolCallSyntax syntax, bool isRequired, bool mayBeSeveral)
    {
        var builder = new GrammarBuilder();
        (int Space, int Character) shared = Shared(builder);
        int space = GrammarBuilder.Reference(shared.Space);
        var alternatives = new List<List<int>>();
        foreach (ToolDefinition tool in tools)
        {
            using JsonDocument document = JsonDocument.Parse(tool.ParametersSchema);
            JsonElement schema = document.RootElement;

            // A tool without parameters takes none, though a schema without properties lets any pass.
            bool isEmpty = schema.ValueKind == JsonValueKind.Object && !schema.TryGetProperty("additionalProperties", out _) && !schema.TryGetProperty("$ref", out _)
                && (!schema.TryGetProperty("properties", out JsonElement properties) || (properties.ValueKind == JsonValueKind.Object && !properties.EnumerateObject().Any()));
            List<int> arguments = isEmpty ? [.. builder.Text("{"), space, .. builder.Text("}")] : [new JsonSchemaGrammar(schema, builder, shared).Schema(schema, $"{tool.Name}#", 0)];
            alternatives.Add(
            [
                .. builder.Text("{"), space, .. Key(syntax.NameKey), .. builder.Text(JsonSerializer.Serialize(tool.Name)), space, .. builder.Text(","), space, .. Key(syntax.ArgumentsKey), .. arguments, space, .. builder.Text("}"),
            ]);
        }

        int call = GrammarBuilder.Reference(builder.Add(alternatives));
        List<int> one = [.. builder.Text(syntax.Begin), space, call, space, .. builder.Text(syntax.End)];
        int several = mayBeSeveral ? -1 : 0;

        // Behind the mark that begins them, which texts are searched for.
        List<int> calls = syntax.IsList
            ? [space, .. builder.Text("["), space, call, space, .. builder.Repeat([.. builder.Text(","), space, call, space], 0, several), .. builder.Text("]"), .. builder.Text(syntax.End)]
            : [space, call, .. syntax.End.Length > 0 ? [space, .. builder.Text(syntax.End)] : System.Array.Empty<int>(), .. syntax.Begin.Length > 0 ? builder.Repeat([space, .. one], 0, several) : []];
        int behind = GrammarBuilder.Reference(builder.Add([calls]));
        List<int> whole = [.. builder.Text(syntax.Begin), behind];
        int root = builder.Named("root");
        if (isRequired)
        {
            builder.Define(root, [whole]);
        }
        else if (syntax.Begin.Length == 0)
        {
            // An answer is a call if it begins as an object does.
            int first = builder.Characters([('{', '{'), (' ', ' '), ('\t', '\t'), ('\n', '\n'), ('\r', '\r')], isNegated: true);
            List<int> any = builder.Repeat([builder.Characters([(0, 0)], isNegated: true)], 0, -1);
            builder.Define(root, [whole, [], [first, .. any]]);
        }
        else
        {
            builder.Define(root, [[GrammarBuilder.Reference(Until(builder, syntax.Begin, behind))]]);
        }

        return builder.Build("root");

        List<int> Key(string name) => [.. builder.Text(JsonSerializer.Serialize(name)), space, .. builder.Text(":"), space];
    }

    // Any text; where a mark stands in it, something else follows. A rule for each part of the mark that the text may end with, as in Knuth, Morris and Pratt's search (1977).
    private static int Until(GrammarBuilder builder, string mark, int behind)
    {
        int[] rules = [.. mark.Select(_ => builder.Add(null))];
        char[] characters = [.. mark.Distinct()];
        int other = builder.Characters([(0, 0), .. characters.Select(static c => ((int)c, (int)c))], isNegated: true);
        for (int state = 0; state < mark.Length; state++)
        {
            List<List<int>> alternatives = [[], [other, GrammarBuilder.Reference(rules[0])]];
            foreach (char c in characters)
            {
                string text = mark[..state] + c;
                int next = text.Length;
                while (!mark.StartsWith(text[^next..], StringComparison.Ordinal))
                {
                    next--;
                }

                alternatives.Add([.. builder.Text(c.ToString()), next == mark.Length ? behind : GrammarBuilder.Reference(rules[next])]);
            }

            builder.Define(rules[state], alternatives);
        }

        return rules[0];
    }

    private static (int Space, int Character) Shared(GrammarBuilder builder)
    {
        // None, one space, or a line and its indentation: what people write, and nothing that goes on without end.
        List<int> indentation = builder.Repeat([builder.Characters([(' ', ' '), ('\t', '\t')], isNegated: false)], 0, 20);
        int space = builder.Add([[], [.. builder.Text(" ")], [.. builder.Text("\n"), .. indentation]]);
        int hexadecimal = builder.Characters([('0', '9'), ('a', 'f'), ('A', 'F')], isNegated: false);
        int unit = builder.Characters([('0', '9'), ('a', 'c'), ('A', 'C'), ('e', 'f'), ('E', 'F')], isNegated: false);
        int escaped = builder.Characters([('"', '"'), ('\\', '\\'), ('/', '/'), ('b', 'b'), ('f', 'f'), ('n', 'n'), ('r', 'r'), ('t', 't')], isNegated: false);

        // Characters beyond U+FFFF are written as they are: an escape is no half of one.
        int plain = builder.Characters([('"', '"'), ('\\', '\\'), (0, 0x1F), (0x7F, 0x7F)], isNegated: true);
        int low = builder.Characters([('0', '7')], isNegated: false);
        int first = builder.Add([[unit, hexadecimal], [builder.Characters([('d', 'd'), ('D', 'D')], isNegated: false), low]]);
        int character = builder.Add([[plain], [.. builder.Text("\\"), escaped], [.. builder.Text("\\u"), GrammarBuilder.Reference(first), hexadecimal, hexadecimal]]);
        return (space, character);
    }

    private static GrammarException Wrong(string path, string message) => new($"JSON schema, {path}: {message}");

    private int Schema(JsonElement schema, string path, int depth)
    {
        if (depth > LargestDepth)
        {
            throw Wrong(path[..Math.Min(path.Length, 100)], FormattableString.Invariant($"schemas stand more than {LargestDepth} deep inside each other."));
        }

        if (schema.ValueKind == JsonValueKind.True)
        {
            return Anything();
        }

        if (schema.ValueKind != JsonValueKind.Object)
        {
            throw Wrong(path, "expected a schema.");
        }

        string[] keys = [.. schema.EnumerateObject().Select(static member => member.Name).Where(static name => !s_annotations.Contains(name))];
        if (schema.TryGetProperty("$ref", out JsonElement reference))
        {
            Require(keys, path, "$ref");
            return Reference(reference.GetString() ?? "", path, depth);
        }

        if (schema.TryGetProperty("const", out JsonElement constant))
        {
            Require(keys, path, "const", "type");
            return Rule([[.. _builder.Text(constant.GetRawText() is var text && constant.ValueKind is JsonValueKind.Object or JsonValueKind.Array ? JsonSerializer.Serialize(constant) : text)]]);
        }

        if (schema.TryGetProperty("enum", out JsonElement values))
        {
            Require(keys, path, "enum", "type");
            return Rule([.. Array(values, path + "/enum").Select(value => _builder.Text(value.GetRawText()).ToList())]);
        }

        foreach (string name in (string[])["anyOf", "oneOf"])
        {
            if (schema.TryGetProperty(name, out JsonElement several))
            {
                Require(keys, path, name);
                return Rule([.. Array(several, $"{path}/{name}").Select((one, i) => new List<int> { Schema(one, $"{path}/{name}/{i}", depth + 1) })]);
            }
        }

        if (schema.TryGetProperty("allOf", out JsonElement all) && all.ValueKind == JsonValueKind.Array && all.GetArrayLength() == 1)
        {
            Require(keys, path, "allOf");
            return Schema(all[0], path + "/allOf/0", depth + 1);
        }

        if (!schema.TryGetProperty("type", out JsonElement type))
        {
            return keys.Length == 0 ? Anything()
                : schema.TryGetProperty("properties", out _) ? Object(schema, keys, path, depth)
                : schema.TryGetProperty("items", out _) || schema.TryGetProperty("prefixItems", out _) ? List(schema, keys, path, depth)
                : throw Wrong(path, $"expected a type; {string.Join(", ", keys)} alone are not known here.");
        }

        return type.ValueKind == JsonValueKind.Array
            ? Rule([.. Array(type, path + "/type").Select(one => new List<int> { Typed(schema, one.GetString() ?? "", keys, path, depth, isOneOfSeveral: true) })])
            : Typed(schema, type.GetString() ?? "", keys, path, depth, isOneOfSeveral: false);
    }

    private int Typed(JsonElement schema, string type, string[] keys, string path, int depth, bool isOneOfSeveral)
    {
        switch (type)
        {
            case "object":
                return Object(schema, isOneOfSeveral ? [] : keys, path, depth);
            case "array":
                return List(schema, isOneOfSeveral ? [] : keys, path, depth);
            case "string":
                Check("type", "minLength", "maxLength");
                (int least, int most) = Range(schema, "minLength", "maxLength", path);
                return Rule([[.. _builder.Text("\""), .. _builder.Repeat([GrammarBuilder.Reference(_character)], least, most), .. _builder.Text("\"")]]);
            case "integer":
                Check("type");
                return Rule([[.. Integer()]]);
            case "number":
                Check("type");
                int digit = _builder.Characters([('0', '9')], isNegated: false);
                List<int> fraction = _builder.Repeat([GrammarBuilder.Reference(_builder.Add([[.. _builder.Text("."), .. _builder.Repeat([digit], 1, 16)]]))], 0, 1);
                int sign = _builder.Add([[], [.. _builder.Text("+")], [.. _builder.Text("-")]]);
                List<int> exponent = _builder.Repeat([GrammarBuilder.Reference(_builder.Add([[_builder.Characters([('e', 'e'), ('E', 'E')], isNegated: false), GrammarBuilder.Reference(sign), .. _builder.Repeat([digit], 1, 2)]]))], 0, 1);
                return Rule([[.. Integer(), .. fraction, .. exponent]]);
            case "boolean":
                Check("type");
                return Rule([[.. _builder.Text("true")], [.. _builder.Text("false")]]);
            case "null":
                Check("type");
                return Rule([[.. _builder.Text("null")]]);
            default:
                throw Wrong(path, $"the type '{(type.Length > 40 ? type[..40] : type)}' is not known.");
        }

        void Check(params string[] known)
        {
            if (!isOneOfSeveral)
            {
                Require(keys, path, known);
            }
        }
    }

    private IEnumerable<int> Integer()
    {
        int digit = _builder.Characters([('0', '9')], isNegated: false);
        int number = _builder.Add([[.. _builder.Text("0")], [_builder.Characters([('1', '9')], isNegated: false), .. _builder.Repeat([digit], 0, 15)]]);
        return [.. _builder.Repeat([.. _builder.Text("-")], 0, 1), GrammarBuilder.Reference(number)];
    }

    private int Object(JsonElement schema, string[] keys, string path, int depth)
    {
        Require(keys, path, "type", "properties", "required", "additionalProperties");
        JsonProperty[] members = schema.TryGetProperty("properties", out JsonElement properties) ? properties.ValueKind == JsonValueKind.Object ? [.. properties.EnumerateObject()] : throw Wrong(path + "/properties", "expected an object.") : [];
        HashSet<string> required = schema.TryGetProperty("required", out JsonElement names) ? [.. Array(names, path + "/required").Select(static name => name.GetString() ?? "")] : [];
        if (required.FirstOrDefault(name => !members.Any(member => member.Name == name)) is { } missing)
        {
            throw Wrong(path + "/required", $"'{missing}' is none of the properties.");
        }

        int space = GrammarBuilder.Reference(_space);
        if (members.Length == 0 && !(schema.TryGetProperty("additionalProperties", out JsonElement more) && more.ValueKind == JsonValueKind.False))
        {
            int value = schema.TryGetProperty("additionalProperties", out more) && more.ValueKind == JsonValueKind.Object ? Schema(more, path + "/additionalProperties", depth + 1) : Anything();
            return Rule([[.. _builder.Text("{"), space, .. Separated([Text(), .. Colon(), value], 0, -1), .. _builder.Text("}")]]);
        }

        // From each member on, with and without one before it. The last is made first.
        int afterNone = _builder.Add([[]]);
        int afterSome = _builder.Add([[]]);
        for (int i = members.Length - 1; i >= 0; i--)
        {
            JsonProperty member = members[i];
            List<int> pair = [.. _builder.Text(JsonSerializer.Serialize(member.Name)), .. Colon(), Schema(member.Value, $"{path}/properties/{member.Name}", depth + 1), space];
            bool isRequired = required.Contains(member.Name);
            List<List<int>> some = [[.. _builder.Text(","), space, .. pair, GrammarBuilder.Reference(afterSome)]];
            List<List<int>> none = [[.. pair, GrammarBuilder.Reference(afterSome)]];
            if (!isRequired)
            {
                some.Add([GrammarBuilder.Reference(afterSome)]);
                none.Add([GrammarBuilder.Reference(afterNone)]);
            }

            (afterNone, afterSome) = (_builder.Add(none), _builder.Add(some));
        }

        return Rule([[.. _builder.Text("{"), space, GrammarBuilder.Reference(afterNone), .. _builder.Text("}")]]);
    }

    private int List(JsonElement schema, string[] keys, string path, int depth)
    {
        Require(keys, path, "type", "items", "prefixItems", "minItems", "maxItems");
        (int least, int most) = Range(schema, "minItems", "maxItems", path);
        int space = GrammarBuilder.Reference(_space);
        if (schema.TryGetProperty("prefixItems", out JsonElement prefix))
        {
            Require(keys, path, "type", "prefixItems", "items");
            List<int> all = [];
            int i = 0;
            foreach (JsonElement item in Array(prefix, path + "/prefixItems"))
            {
                all.AddRange(i > 0 ? [.. _builder.Text(","), space] : []);
                all.Add(Schema(item, $"{path}/prefixItems/{i++}", depth + 1));
                all.Add(space);
            }

            return Rule([[.. _builder.Text("["), space, .. all, .. _builder.Text("]")]]);
        }

        int element = schema.TryGetProperty("items", out JsonElement items) ? Schema(items, path + "/items", depth + 1) : Anything();
        return Rule([[.. _builder.Text("["), space, .. Separated([element], least, most), .. _builder.Text("]")]]);
    }

    // Elements with commas between them, and space behind each.
    private List<int> Separated(List<int> element, int least, int most)
    {
        int space = GrammarBuilder.Reference(_space);
        if (most == 0)
        {
            return [];
        }

        List<int> some = [.. element, space, .. _builder.Repeat([.. _builder.Text(","), space, .. element, space], Math.Max(0, least - 1), most < 0 ? -1 : most - 1)];
        return least > 0 ? some : [GrammarBuilder.Reference(_builder.Add([some, []]))];
    }

    private List<int> Colon() => [GrammarBuilder.Reference(_space), .. _builder.Text(":"), GrammarBuilder.Reference(_space)];

    private int Text() => Rule([[.. _builder.Text("\""), .. _builder.Repeat([GrammarBuilder.Reference(_character)], 0, -1), .. _builder.Text("\"")]]);

    private int Anything()
    {
        if (_value >= 0)
        {
            return GrammarBuilder.Reference(_value);
        }

        _value = _builder.Add(null);
        int any = GrammarBuilder.Reference(_value);
        int space = GrammarBuilder.Reference(_space);
        using JsonDocument none = JsonDocument.Parse("{}");
        _builder.Define(_value,
        [
            [.. _builder.Text("{"), space, .. Separated([Text(), .. Colon(), any], 0, -1), .. _builder.Text("}")],
            [.. _builder.Text("["), space, .. Separated([any], 0, -1), .. _builder.Text("]")],
            [Text()],
            [Typed(none.RootElement, "number", [], "#", 0, isOneOfSeveral: true)],
            [.. _builder.Text("true")],
            [.. _builder.Text("false")],
            [.. _builder.Text("null")],
        ]);
        return any;
    }

    private int Reference(string reference, string path, int depth)
    {
        if (_references.TryGetValue(reference, out int rule))
        {
            return GrammarBuilder.Reference(rule);
        }

        JsonElement target = _root;
        string[] parts = reference.StartsWith('#') ? reference[1..].Split('/', StringSplitOptions.RemoveEmptyEntries) : throw Wrong(path, "expected a reference within the schema, which begins with #.");
        foreach (string part in parts)
        {
            string name = Uri.UnescapeDataString(part).Replace("~1", "/", StringComparison.Ordinal).Replace("~0", "~", StringComparison.Ordinal);
            target = target.ValueKind == JsonValueKind.Object && target.TryGetProperty(name, out JsonElement inside) ? inside : throw Wrong(path, $"there is no {reference}.");
        }

        // Known before it is read: it may refer to itself.
        rule = _builder.Add(null);
        _references.Add(reference, rule);
        _builder.Define(rule, [[Schema(target, reference, depth + 1)]]);
        return GrammarBuilder.Reference(rule);
    }

    private int Rule(List<List<int>> alternatives) => GrammarBuilder.Reference(_builder.Add(alternatives.Count > 0 ? alternatives : throw new GrammarException("JSON schema: expected at least one value to choose from.")));

    private static void Require(string[] keys, string path, params string[] known)
    {
        if (keys.FirstOrDefault(key => !known.Contains(key)) is { } other)
        {
            throw Wrong(path, $"'{(other.Length > 40 ? other[..40] : other)}' is not known here beside {string.Join(", ", known)}.");
        }
    }

    private static (int Least, int Most) Range(JsonElement schema, string least, string most, string path)
    {
        int from = Number(least) ?? 0;
        int to = Number(most) ?? -1;
        return to < 0 || to >= from ? (from, to) : throw Wrong(path, $"{most} is less than {least}.");

        int? Number(string name) => !schema.TryGetProperty(name, out JsonElement value) ? null
            : value.ValueKind == JsonValueKind.Number && value.TryGetInt32(out int number) && number is >= 0 and <= LargestCount ? number
            : throw Wrong(path, string.Create(CultureInfo.InvariantCulture, $"{name}: expected 0 to {LargestCount}."));
    }

    private static IEnumerable<JsonElement> Array(JsonElement value, string path) => value.ValueKind == JsonValueKind.Array ? value.EnumerateArray() : throw Wrong(path, "expected a list.");
}
