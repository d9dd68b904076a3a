using System;
using System.Collections.Generic;
using System.Globalization;
using System.Linq;

#if MODELGEN_COMPILER
namespace ModelGen.Compiler.Grammars;
#else
namespace ModelGen.Grammars;
#endif

/// <summary>The JSON texts that a schema lets pass, or a part of them: members come in the schema's order, and others than it names do not come. A keyword that would be broken by that is refused.</summary>
internal sealed partial class JsonSchemaGrammar
{
    private const int LargestDepth = 64;
    private const int LargestCount = 2000;

    // What asks for nothing: "format" too, which by the standard's default vocabulary says what a text means and forbids none (JSON Schema 2020-12, Validation, section 7.2.1).
    private static readonly HashSet<string> s_annotations = ["format", "title", "description", "default", "examples", "$schema", "$id", "$comment", "$defs", "definitions", "deprecated", "readOnly", "writeOnly"];

    private static readonly string[] s_ofObjects = ["type", "properties", "required", "additionalProperties"];
    private static readonly string[] s_ofLists = ["type", "items", "prefixItems", "minItems", "maxItems"];
    private static readonly string[] s_ofTexts = ["type", "minLength", "maxLength"];
    private static readonly string[] s_ofNumbers = ["type", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"];
    private static readonly string[] s_ofOthers = ["type"];

    private static readonly char[] s_slash = ['/'];

    private static readonly SchemaJson s_any = SchemaJson.Parse("{}");

    private readonly GrammarBuilder _builder;
    private readonly SchemaJson _root;
    private readonly Dictionary<string, int> _references = new(StringComparer.Ordinal);
    private readonly int _space;
    private readonly int _character;
    private SchemaJson _at;
    private int _value = -1;

    private JsonSchemaGrammar(SchemaJson root, GrammarBuilder builder, (int Space, int Character) shared)
        => (_root, _at, _builder, _space, _character) = (root, root, builder, shared.Space, shared.Character);

    /// <summary>Reads a schema.</summary>
    /// <exception cref="GrammarException">It is none that is understood here.</exception>
    public static GrammarRules Read(string text)
    {
        SchemaJson schema = SchemaJson.Parse(text);
        var builder = new GrammarBuilder();
        var grammar = new JsonSchemaGrammar(schema, builder, Shared(builder));
        builder.Define(builder.Named("root"), [[grammar.Schema(schema, "#", 0)]]);
        return builder.Build("root");
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

    private GrammarException Wrong(string path, string message) => GrammarException.At(_at.Place, $"JSON schema, {path}: {message}");

    private static string Short(string text, int length) => text.Length > length ? text.Substring(0, length) : text;

    private string TextOf(SchemaJson value, string path) => value.Kind == SchemaJsonKind.String ? value.Text : throw Wrong(path, "expected a text.");

    private int Schema(SchemaJson schema, string path, int depth)
    {
        SchemaJson outer = _at;
        _at = schema;
        int symbol = SchemaAt(schema, path, depth);
        _at = outer;
        return symbol;
    }

    private int SchemaAt(SchemaJson schema, string path, int depth)
    {
        if (depth > LargestDepth)
        {
            throw Wrong(Short(path, 100), FormattableString.Invariant($"schemas stand more than {LargestDepth} deep inside each other."));
        }

        if (schema.Kind == SchemaJsonKind.True)
        {
            return Anything();
        }

        if (schema.Kind != SchemaJsonKind.Object)
        {
            throw Wrong(path, "expected a schema.");
        }

        string[] keys = [.. schema.Members.Select(static member => member.Name).Where(static name => !s_annotations.Contains(name))];
        if (schema.Find("$ref") is { } reference)
        {
            Require(keys, path, "$ref");
            return Reference(TextOf(reference, path + "/$ref"), path, depth);
        }

        if (schema.Find("const") is { } constant)
        {
            Require(keys, path, "const", "type");
            return OneOf(schema, [constant], path);
        }

        if (schema.Find("enum") is { } values)
        {
            Require(keys, path, "enum", "type");
            return OneOf(schema, Array(values, path + "/enum"), path);
        }

        foreach (string name in new[] { "anyOf", "oneOf" })
        {
            if (schema.Find(name) is { } several)
            {
                Require(keys, path, name);
                return Rule([.. Array(several, $"{path}/{name}").Select((one, i) => new List<int> { Schema(one, $"{path}/{name}/{i}", depth + 1) })]);
            }
        }

        if (schema.Find("allOf") is { } all && all.Kind == SchemaJsonKind.Array && all.Items.Count == 1)
        {
            Require(keys, path, "allOf");
            return Schema(all.Items[0], path + "/allOf/0", depth + 1);
        }

        if (schema.Find("type") is not { } type)
        {
            return keys.Length == 0 ? Anything()
                : schema.Find("properties") is not null ? Untyped("object")
                : schema.Find("items") is not null || schema.Find("prefixItems") is not null ? Untyped("array")
                : throw Wrong(path, $"expected a type; {string.Join(", ", keys)} alone are not known here.");
        }

        // What is asked of one of several types is asked of no other, but nothing may be asked that none of them keeps.
        string[] types = Types(type, path);
        Require(keys, path, [.. types.SelectMany(KeywordsOf).Distinct()]);
        int[] symbols = [.. types.Select(one => Typed(schema, one, [.. keys.Where(key => KeywordsOf(one).Contains(key))], path, depth))];
        return symbols.Length == 1 ? symbols[0] : Rule([.. symbols.Select(static symbol => new List<int> { symbol })]);

        int Untyped(string meant)
        {
            Require(keys, path, KeywordsOf(meant));
            return Typed(schema, meant, keys, path, depth);
        }
    }

    private static string[] KeywordsOf(string type) => type switch
    {
        "object" => s_ofObjects,
        "array" => s_ofLists,
        "string" => s_ofTexts,
        "integer" or "number" => s_ofNumbers,
        _ => s_ofOthers,
    };

    private string[] Types(SchemaJson type, string path) => type.Kind == SchemaJsonKind.Array ? [.. Array(type, path + "/type").Select(one => TextOf(one, path + "/type"))] : [TextOf(type, path + "/type")];

    // Of some values those that are of the schema's types, if it names any.
    private int OneOf(SchemaJson schema, IReadOnlyList<SchemaJson> values, string path)
    {
        string[]? types = schema.Find("type") is { } type ? Types(type, path) : null;
        List<List<int>> texts = [.. values.Where(value => types is null || types.Any(value.Is)).Select(value => _builder.Text(value.Compact()).ToList())];
        return texts.Count > 0 ? Rule(texts) : throw Wrong(path, types is null ? "expected at least one value to choose from." : $"no value is of the type {string.Join(", ", types.Select(static one => Short(one, 40)))}.");
    }

    private int Typed(SchemaJson schema, string type, string[] keys, string path, int depth)
    {
        switch (type)
        {
            case "object":
                return Object(schema, path, depth);
            case "array":
                return List(schema, keys, path, depth);
            case "string":
                (int least, int most) = Range(schema, "minLength", "maxLength", path);
                return Rule([[.. _builder.Text("\""), .. _builder.Repeat([GrammarBuilder.Reference(_character)], least, most), .. _builder.Text("\"")]]);
            case "integer":
            case "number":
                return Number(schema, type == "integer", path);
            case "boolean":
                return Rule([[.. _builder.Text("true")], [.. _builder.Text("false")]]);
            case "null":
                return Rule([[.. _builder.Text("null")]]);
            default:
                throw Wrong(path, $"the type '{Short(type, 40)}' is not known.");
        }
    }

    private int Object(SchemaJson schema, string path, int depth)
    {
        IReadOnlyList<(string Name, SchemaJson Value)> members = schema.Find("properties") is { } properties ? properties.Kind == SchemaJsonKind.Object ? properties.Members : throw Wrong(path + "/properties", "expected an object.") : [];
        if (members.GroupBy(static member => member.Name).FirstOrDefault(static same => same.Count() > 1) is { } repeated)
        {
            throw Wrong(path + "/properties", $"'{Short(repeated.Key, 40)}' is there twice.");
        }

        HashSet<string> required = schema.Find("required") is { } names ? [.. Array(names, path + "/required").Select(name => TextOf(name, path + "/required"))] : [];
        if (required.FirstOrDefault(name => !members.Any(member => member.Name == name)) is { } missing)
        {
            throw Wrong(path + "/required", $"'{missing}' is none of the properties.");
        }

        int space = GrammarBuilder.Reference(_space);
        SchemaJson? more = schema.Find("additionalProperties");
        if (members.Count == 0 && more is not { Kind: SchemaJsonKind.False })
        {
            int value = more is { Kind: SchemaJsonKind.Object } ? Schema(more, path + "/additionalProperties", depth + 1) : Anything();
            return Rule([[.. _builder.Text("{"), space, .. Separated([Text(), .. Colon(), value], 0, -1), .. _builder.Text("}")]]);
        }

        // From each member on, with and without one before it. The last is made first.
        int afterNone = _builder.Add([[]]);
        int afterSome = _builder.Add([[]]);
        for (int i = members.Count - 1; i >= 0; i--)
        {
            (string Name, SchemaJson Value) member = members[i];
            List<int> pair = [.. _builder.Text(SchemaJson.Quoted(member.Name)), .. Colon(), Schema(member.Value, $"{path}/properties/{member.Name}", depth + 1), space];
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

    private int List(SchemaJson schema, string[] keys, string path, int depth)
    {
        (int least, int most) = Range(schema, "minItems", "maxItems", path);
        int space = GrammarBuilder.Reference(_space);
        if (schema.Find("prefixItems") is { } prefix)
        {
            Require(keys, path, "type", "prefixItems", "items");
            List<int> all = [];
            int i = 0;
            foreach (SchemaJson item in Array(prefix, path + "/prefixItems"))
            {
                all.AddRange(i > 0 ? [.. _builder.Text(","), space] : []);
                all.Add(Schema(item, $"{path}/prefixItems/{i++}", depth + 1));
                all.Add(space);
            }

            return Rule([[.. _builder.Text("["), space, .. all, .. _builder.Text("]")]]);
        }

        int element = schema.Find("items") is { } items ? Schema(items, path + "/items", depth + 1) : Anything();
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
        _builder.Define(_value,
        [
            [.. _builder.Text("{"), space, .. Separated([Text(), .. Colon(), any], 0, -1), .. _builder.Text("}")],
            [.. _builder.Text("["), space, .. Separated([any], 0, -1), .. _builder.Text("]")],
            [Text()],
            [Typed(s_any, "number", [], "#", 0)],
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

        SchemaJson target = _root;
        string[] parts = reference.StartsWith("#", StringComparison.Ordinal) ? reference.Substring(1).Split(s_slash, StringSplitOptions.RemoveEmptyEntries) : throw Wrong(path, "expected a reference within the schema, which begins with #.");
        foreach (string part in parts)
        {
            string name = Uri.UnescapeDataString(part).Replace("~1", "/").Replace("~0", "~");
            target = target.Find(name) is { } inside ? inside : throw Wrong(path, $"there is no {reference}.");
        }

        // Known before it is read: it may refer to itself.
        rule = _builder.Add(null);
        _references.Add(reference, rule);
        _builder.Define(rule, [[Schema(target, reference, depth + 1)]]);
        return GrammarBuilder.Reference(rule);
    }

    private int Rule(List<List<int>> alternatives) => GrammarBuilder.Reference(_builder.Add(alternatives.Count > 0 ? alternatives : throw Wrong("", "expected at least one value to choose from.")));

    private void Require(string[] keys, string path, params string[] known)
    {
        if (keys.FirstOrDefault(key => !known.Contains(key)) is { } other)
        {
            throw Wrong(path, $"'{Short(other, 40)}' is not known here beside {string.Join(", ", known)}.");
        }
    }

    private (int Least, int Most) Range(SchemaJson schema, string least, string most, string path)
    {
        int from = Number(least) ?? 0;
        int to = Number(most) ?? -1;
        return to < 0 || to >= from ? (from, to) : throw Wrong(path, $"{most} is less than {least}.");

        int? Number(string name) => schema.Find(name) is not { } value ? null
            : value.Kind == SchemaJsonKind.Number && int.TryParse(value.Raw, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out int number) && number is >= 0 and <= LargestCount ? number
            : throw Wrong(path, FormattableString.Invariant($"{name}: expected 0 to {LargestCount}."));
    }

    private IReadOnlyList<SchemaJson> Array(SchemaJson value, string path) => value.Kind == SchemaJsonKind.Array ? value.Items : throw Wrong(path, "expected a list.");
}
