namespace ModelGen.Grammars;

/// <content>Answers that may call tools.</content>
internal sealed partial class JsonSchemaGrammar
{
    /// <summary>Answers with calls of tools in them.</summary>
    public static GrammarRules ReadTools(IReadOnlyList<ToolDefinition> tools, ToolCallSyntax syntax, bool isRequired, bool mayBeSeveral)
    {
        var builder = new GrammarBuilder();
        (int Space, int Character) shared = Shared(builder);
        int space = GrammarBuilder.Reference(shared.Space);
        var alternatives = new List<List<int>>();
        foreach (ToolDefinition tool in tools)
        {
            SchemaJson schema = SchemaJson.Parse(tool.ParametersSchema);

            // A tool without parameters takes none, though a schema without properties lets any pass.
            bool isEmpty = schema.Kind == SchemaJsonKind.Object && schema.Find("additionalProperties") is null && schema.Find("$ref") is null
                && schema.Find("properties") is null or { Kind: SchemaJsonKind.Object, Members.Count: 0 };
            List<int> arguments = isEmpty ? [.. builder.Text("{"), space, .. builder.Text("}")] : [new JsonSchemaGrammar(schema, builder, shared).Schema(schema, $"{tool.Name}#", 0)];
            alternatives.Add(
            [
                .. builder.Text("{"), space, .. Key(syntax.NameKey), .. builder.Text(SchemaJson.Quoted(tool.Name)), space, .. builder.Text(","), space, .. Key(syntax.ArgumentsKey), .. arguments, space, .. builder.Text("}"),
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

        List<int> Key(string name) => [.. builder.Text(SchemaJson.Quoted(name)), space, .. builder.Text(":"), space];
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
}
