using System.Globalization;

namespace ModelGen.Jinja;

/// <summary>Reads a template: statements and expressions, by Jinja's precedences. What Jinja has and chat templates do not use (inheritance, imports, call blocks) is refused.</summary>
internal sealed class JinjaParser
{
    // Of brackets, conditions and statements inside each other.
    private const int LargestDepth = 100;

    private readonly List<JinjaToken> _tokens;
    private int _at;
    private int _depth;

    private JinjaParser(List<JinjaToken> tokens) => _tokens = tokens;

    private JinjaToken Current => _tokens[_at];

    public static IReadOnlyList<JinjaNode> Read(string source)
    {
        var parser = new JinjaParser(JinjaLexer.Read(source));
        List<JinjaNode> body = parser.Body();
        return parser.Current.Kind == JinjaTokenKind.End ? body : throw parser.Unexpected("the end of the template");
    }

    // Up to a tag that none of these statements begins with: what ends it is the caller's.
    private List<JinjaNode> Body(params string[] ends)
    {
        using Nesting nesting = Enter();
        var body = new List<JinjaNode>();
        while (Current.Kind != JinjaTokenKind.End)
        {
            JinjaToken token = Current;
            switch (token.Kind)
            {
                case JinjaTokenKind.Data:
                    _at++;
                    body.Add(new DataStatement(JinjaText.Own(token.Value), token.Line));
                    break;

                case JinjaTokenKind.OutputBegin:
                    _at++;
                    JinjaExpression value = Tuple();
                    Expect(JinjaTokenKind.OutputEnd, "}}");
                    body.Add(new OutputStatement(value, token.Line));
                    break;

                default:
                    JinjaToken name = _tokens[_at + 1];
                    if (name.Kind != JinjaTokenKind.Name)
                    {
                        _at++;
                        throw Unexpected("the name of a statement");
                    }

                    if (ends.Contains(name.Value))
                    {
                        return body;
                    }

                    _at += 2;
                    body.Add(Statement(name.Value, token.Line));
                    break;
            }
        }

        return ends.Length == 0 ? body : throw new JinjaException($"Expected {string.Join(" or ", ends)}, found the end of the template.", Current.Line);
    }

    private JinjaNode Statement(string name, int line)
    {
        switch (name)
        {
            case "if":
                return If(line);

            case "for":
                return For(line);

            case "set":
                return Set(line);

            case "macro":
                return Macro(line);

            case "filter":
                JinjaExpression filter = Filters(null, line, isFirst: true);
                EndTag();
                List<JinjaNode> filtered = Body("endfilter");
                End("endfilter");
                return new FilterStatement(filter, filtered, line);

            // What marks the assistant's parts for training.
            case "generation":
                EndTag();
                List<JinjaNode> body = Body("endgeneration");
                End("endgeneration");
                return new BlockStatement(body, line);

            case "break" or "continue":
                EndTag();
                return new LoopControlStatement(name == "break", line);

            default:
                throw new JinjaException($"The statement '{name}' is not known here: if, for, set, macro, filter, generation, break and continue are.", line);
        }
    }

    private IfStatement If(int line)
    {
        var branches = new List<(JinjaExpression, IReadOnlyList<JinjaNode>)>();
        IReadOnlyList<JinjaNode> otherwise = [];
        JinjaExpression condition = Tuple();
        EndTag();
        while (true)
        {
            branches.Add((condition, Body("elif", "else", "endif")));
            string end = TagName();
            if (end == "elif")
            {
                condition = Tuple();
                EndTag();
                continue;
            }

            EndTag();
            if (end == "else")
            {
                otherwise = Body("endif");
                End("endif");
            }

            return new IfStatement(branches, otherwise, line);
        }
    }

    private ForStatement For(int line)
    {
        List<string> names = Names();
        if (!TakeName("in"))
        {
            throw Unexpected("in");
        }

        JinjaExpression items = Tuple(withConditions: false);
        JinjaExpression? filter = TakeName("if") ? Expression() : null;
        if (TakeName("recursive"))
        {
            throw new JinjaException("Recursive loops are not known here.", line);
        }

        EndTag();
        List<JinjaNode> body = Body("else", "endfor");
        IReadOnlyList<JinjaNode> otherwise = [];
        string end = TagName();
        EndTag();
        if (end == "else")
        {
            otherwise = Body("endfor");
            End("endfor");
        }

        return new ForStatement(names, items, filter, body, otherwise, line);
    }

    private JinjaNode Set(int line)
    {
        List<string> names = Names();
        string? member = TakeOperator(".") ? NameToken() : null;
        if (names.Count == 1 && member is null && !IsOperator("="))
        {
            JinjaExpression? filter = IsOperator("|") ? Filters(null, line, isFirst: false) : null;
            EndTag();
            List<JinjaNode> body = Body("endset");
            End("endset");
            return new SetBlockStatement(names[0], filter, body, line);
        }

        if (!TakeOperator("="))
        {
            throw Unexpected("=");
        }

        JinjaExpression value = Tuple();
        EndTag();
        return new SetStatement(names, member, value, line);
    }

    private MacroStatement Macro(int line)
    {
        string name = NameToken();
        ExpectOperator("(");
        var parameters = new List<(string, JinjaExpression?)>();
        while (!TakeOperator(")"))
        {
            if (parameters.Count > 0)
            {
                ExpectOperator(",");
                if (TakeOperator(")"))
                {
                    break;
                }
            }

            string parameter = NameToken();
            parameters.Add((parameter, TakeOperator("=") ? Expression() : null));
        }

        EndTag();
        List<JinjaNode> body = Body("endmacro");
        End("endmacro");
        return new MacroStatement(name, parameters, body, line);
    }

    private List<string> Names()
    {
        var names = new List<string>();
        bool isBracketed = TakeOperator("(");
        do
        {
            names.Add(NameToken());
        }
        while (TakeOperator(","));
        if (isBracketed)
        {
            ExpectOperator(")");
        }

        return names;
    }

    // One expression, or several with commas between, which are a list.
    private JinjaExpression Tuple(bool withConditions = true)
    {
        int line = Current.Line;
        JinjaExpression first = withConditions ? Expression() : Or();
        if (!IsOperator(","))
        {
            return first;
        }

        var items = new List<JinjaExpression> { first };
        while (TakeOperator(","))
        {
            if (Current.Kind is JinjaTokenKind.BlockEnd or JinjaTokenKind.OutputEnd || IsOperator(")"))
            {
                break;
            }

            items.Add(withConditions ? Expression() : Or());
        }

        return new ListExpression(items, IsTuple: true, line);
    }

    private JinjaExpression Expression()
    {
        using Nesting nesting = Enter();
        int depth = 0;
        JinjaExpression value = Or();
        while (Current is { Kind: JinjaTokenKind.Name, Value: "if" })
        {
            int line = Current.Line;
            _at++;
            JinjaExpression condition = Or();
            value = new ConditionalExpression(value, condition, TakeName("else") ? Expression() : null, line);
            depth++;
            Deepen();
        }

        _depth -= depth;

        return value;
    }

    private JinjaExpression Or()
    {
        int depth = _depth;
        JinjaExpression left = And();
        while (Current is { Kind: JinjaTokenKind.Name, Value: "or" } token)
        {
            _at++;
            left = new BinaryExpression("or", left, And(), token.Line);
            Deepen();
        }

        _depth = depth;
        return left;
    }

    private JinjaExpression And()
    {
        int depth = _depth;
        JinjaExpression left = Not();
        while (Current is { Kind: JinjaTokenKind.Name, Value: "and" } token)
        {
            _at++;
            left = new BinaryExpression("and", left, Not(), token.Line);
            Deepen();
        }

        _depth = depth;
        return left;
    }

    private JinjaExpression Not()
    {
        int line = Current.Line;
        if (!TakeName("not"))
        {
            return Comparison();
        }

        using Nesting nesting = Enter();
        return new UnaryExpression("not", Not(), line);
    }

    private JinjaExpression Comparison()
    {
        JinjaExpression first = Sum();
        var rest = new List<(string, JinjaExpression)>();
        while (true)
        {
            JinjaToken token = Current;
            if (token.Kind == JinjaTokenKind.Operator && token.Value is "==" or "!=" or "<" or ">" or "<=" or ">=")
            {
                _at++;
                rest.Add((token.Value, Sum()));
            }
            else if (TakeName("in"))
            {
                rest.Add(("in", Sum()));
            }
            else if (token is { Kind: JinjaTokenKind.Name, Value: "not" } && _tokens[_at + 1] is { Kind: JinjaTokenKind.Name, Value: "in" })
            {
                _at += 2;
                rest.Add(("not in", Sum()));
            }
            else
            {
                return rest.Count == 0 ? first : new ComparisonExpression(first, rest, first.Line);
            }
        }
    }

    private JinjaExpression Sum() => Binary(Concatenation, "+", "-");

    private JinjaExpression Concatenation() => Binary(Product, "~");

    private JinjaExpression Product() => Binary(Power, "*", "/", "//", "%");

    private JinjaExpression Power() => Binary(() => Unary(withFilters: true), "**");

    private JinjaExpression Binary(Func<JinjaExpression> operand, params string[] operators)
    {
        int depth = _depth;
        JinjaExpression left = operand();
        while (Current.Kind == JinjaTokenKind.Operator && operators.Contains(Current.Value))
        {
            JinjaToken token = Current;
            _at++;
            left = new BinaryExpression(token.Value, left, operand(), token.Line);
            Deepen();
        }

        _depth = depth;
        return left;
    }

    private JinjaExpression Unary(bool withFilters)
    {
        JinjaToken token = Current;
        JinjaExpression value;
        if (IsOperator("-") || IsOperator("+"))
        {
            _at++;
            using Nesting nesting = Enter();
            value = new UnaryExpression(token.Value, Unary(withFilters: false), token.Line);
        }
        else
        {
            value = Postfix(Primary());
        }

        return withFilters ? FiltersAndTests(value) : value;
    }

    private JinjaExpression Primary()
    {
        JinjaToken token = Current;
        _at++;
        switch (token.Kind)
        {
            case JinjaTokenKind.Name:
                return token.Value switch
                {
                    "true" or "True" => new LiteralExpression(true, token.Line),
                    "false" or "False" => new LiteralExpression(false, token.Line),
                    "none" or "None" => new LiteralExpression(null, token.Line),
                    _ => new NameExpression(token.Value, token.Line),
                };

            case JinjaTokenKind.Text:
                string text = token.Value;
                while (Current.Kind == JinjaTokenKind.Text)
                {
                    text += Current.Value;
                    _at++;
                }

                return new LiteralExpression(JinjaText.Own(text), token.Line);

            case JinjaTokenKind.Integer:
                return new LiteralExpression(long.TryParse(token.Value, NumberStyles.None, CultureInfo.InvariantCulture, out long integer) ? integer : throw new JinjaException($"The number {token.Value} is too large.", token.Line), token.Line);

            case JinjaTokenKind.Real:
                return new LiteralExpression(double.Parse(token.Value, CultureInfo.InvariantCulture), token.Line);

            case JinjaTokenKind.Operator when token.Value == "(":
                if (TakeOperator(")"))
                {
                    return new ListExpression([], IsTuple: true, token.Line);
                }

                JinjaExpression inside = Tuple();
                ExpectOperator(")");
                return inside;

            case JinjaTokenKind.Operator when token.Value == "[":
                return new ListExpression(Items("]"), IsTuple: false, token.Line);

            case JinjaTokenKind.Operator when token.Value == "{":
                var entries = new List<(JinjaExpression, JinjaExpression)>();
                while (!TakeOperator("}"))
                {
                    if (entries.Count > 0)
                    {
                        ExpectOperator(",");
                        if (TakeOperator("}"))
                        {
                            break;
                        }
                    }

                    JinjaExpression key = Expression();
                    ExpectOperator(":");
                    entries.Add((key, Expression()));
                }

                return new MappingExpression(entries, token.Line);

            default:
                _at--;
                throw Unexpected("an expression");
        }
    }

    private List<JinjaExpression> Items(string end)
    {
        var items = new List<JinjaExpression>();
        while (!TakeOperator(end))
        {
            if (items.Count > 0)
            {
                ExpectOperator(",");
                if (TakeOperator(end))
                {
                    break;
                }
            }

            items.Add(Expression());
        }

        return items;
    }

    private JinjaExpression Postfix(JinjaExpression value)
    {
        int depth = _depth;
        try
        {
            while (true)
            {
                JinjaToken token = Current;
                if (TakeOperator("."))
                {
                    value = new MemberExpression(value, new LiteralExpression(JinjaText.Own(Current.Kind == JinjaTokenKind.Integer ? IntegerToken() : NameToken()), token.Line), IsName: true, token.Line);
                }
                else if (TakeOperator("["))
                {
                    value = Subscript(value, token.Line);
                }
                else if (TakeOperator("("))
                {
                    value = new CallExpression(value, Arguments(), token.Line);
                }
                else
                {
                    return value;
                }

                // A chain of these is as deep to compute as brackets are.
                Deepen();
            }
        }
        finally
        {
            _depth = depth;
        }
    }

    private JinjaExpression Subscript(JinjaExpression target, int line)
    {
        JinjaExpression? start = IsOperator(":") ? null : Expression();
        if (TakeOperator("]"))
        {
            return new MemberExpression(target, start!, IsName: false, line);
        }

        ExpectOperator(":");
        JinjaExpression? end = IsOperator(":") || IsOperator("]") ? null : Expression();
        JinjaExpression? step = TakeOperator(":") && !IsOperator("]") ? Expression() : null;
        ExpectOperator("]");
        return new SliceExpression(target, start, end, step, line);
    }

    private JinjaArguments Arguments()
    {
        var positional = new List<JinjaExpression>();
        var named = new List<(string, JinjaExpression)>();
        while (!TakeOperator(")"))
        {
            if (positional.Count + named.Count > 0)
            {
                ExpectOperator(",");
                if (TakeOperator(")"))
                {
                    break;
                }
            }

            if (Current.Kind == JinjaTokenKind.Name && _tokens[_at + 1] is { Kind: JinjaTokenKind.Operator, Value: "=" })
            {
                string name = NameToken();
                _at++;
                named.Add((name, Expression()));
            }
            else if (named.Count > 0)
            {
                throw Unexpected("a named argument");
            }
            else
            {
                positional.Add(Expression());
            }
        }

        return new JinjaArguments(positional, named);
    }

    private JinjaExpression FiltersAndTests(JinjaExpression value)
    {
        int depth = _depth;
        try
        {
            while (true)
            {
                JinjaToken token = Current;
                if (IsOperator("|"))
                {
                    value = Filters(value, token.Line, isFirst: false);
                }
                else if (TakeName("is"))
                {
                    value = Test(value, token.Line);
                }
                else if (IsOperator("("))
                {
                    _at++;
                    value = new CallExpression(value, Arguments(), token.Line);
                }
                else
                {
                    return value;
                }

                Deepen();
            }
        }
        finally
        {
            _depth = depth;
        }
    }

    // A statement names its first filter without a bar.
    private JinjaExpression Filters(JinjaExpression? value, int line, bool isFirst)
    {
        int depth = _depth;
        try
        {
            while (isFirst || TakeOperator("|"))
            {
                isFirst = false;
                string name = NameToken();
                value = new FilterExpression(value, name, TakeOperator("(") ? Arguments() : JinjaArguments.None, line);
                Deepen();
            }

            return value!;
        }
        finally
        {
            _depth = depth;
        }
    }

    private JinjaExpression Test(JinjaExpression value, int line)
    {
        bool isNegated = TakeName("not");
        string name = NameToken();
        JinjaArguments arguments = JinjaArguments.None;
        if (TakeOperator("("))
        {
            arguments = Arguments();
        }
        else if (Current.Kind is JinjaTokenKind.Text or JinjaTokenKind.Integer or JinjaTokenKind.Real || IsOperator("[") || IsOperator("{")
            || (Current.Kind == JinjaTokenKind.Name && Current.Value is not ("else" or "or" or "and" or "is" or "if" or "in" or "not" or "recursive")))
        {
            arguments = new JinjaArguments([Postfix(Primary())], []);
        }

        JinjaExpression test = new TestExpression(value, name, arguments, line);
        return isNegated ? new UnaryExpression("not", test, line) : test;
    }

    private string TagName()
    {
        Expect(JinjaTokenKind.BlockBegin, "{%");
        return NameToken();
    }

    private void End(string name)
    {
        string found = TagName();
        if (found != name)
        {
            throw new JinjaException($"Expected {name}, found {found}.", Current.Line);
        }

        // Names of what ends may be repeated.
        if (Current.Kind == JinjaTokenKind.Name)
        {
            _at++;
        }

        EndTag();
    }

    private void EndTag() => Expect(JinjaTokenKind.BlockEnd, "%}");

    private void Expect(JinjaTokenKind kind, string shown)
    {
        if (Current.Kind != kind)
        {
            throw Unexpected(shown);
        }

        _at++;
    }

    private string NameToken()
    {
        JinjaToken token = Current;
        Expect(JinjaTokenKind.Name, "a name");
        return token.Value;
    }

    private string IntegerToken()
    {
        JinjaToken token = Current;
        _at++;
        return token.Value;
    }

    private bool TakeName(string name)
    {
        bool isIt = Current.Kind == JinjaTokenKind.Name && Current.Value == name;
        _at += isIt ? 1 : 0;
        return isIt;
    }

    private bool IsOperator(string text) => Current.Kind == JinjaTokenKind.Operator && Current.Value == text;

    private bool TakeOperator(string text)
    {
        bool isIt = IsOperator(text);
        _at += isIt ? 1 : 0;
        return isIt;
    }

    private void ExpectOperator(string text)
    {
        if (!TakeOperator(text))
        {
            throw Unexpected(text);
        }
    }

    private JinjaException Unexpected(string expected)
    {
        string found = Current.Kind switch
        {
            JinjaTokenKind.End => "the end of the template",
            JinjaTokenKind.BlockEnd => "%}",
            JinjaTokenKind.OutputEnd => "}}",
            JinjaTokenKind.BlockBegin => "{%",
            JinjaTokenKind.OutputBegin => "{{",
            _ => Current.Value.Length > 40 ? Current.Value[..40] : Current.Value,
        };
        return new JinjaException($"Expected {expected}, found '{found}'.", Current.Line);
    }

    private Nesting Enter()
    {
        Deepen();
        return new Nesting(this);
    }

    private void Deepen()
    {
        if (++_depth > LargestDepth)
        {
            throw new JinjaException($"Parts of the template stand more than {LargestDepth} deep inside each other.", Current.Line);
        }
    }

    private readonly struct Nesting(JinjaParser parser) : IDisposable
    {
        public void Dispose() => parser._depth--;
    }
}
