namespace ModelGen.Jinja;

/// <summary>
/// One run of a template, within limits: a template comes from a file that nobody has looked at. Every part that is computed is a step, and every text that is made counts.
/// </summary>
internal sealed class JinjaRun
{
    private const long LargestSteps = 2_000_000;
    private const long LargestCharacters = 16 << 20;
    private const int LargestOutput = 4 << 20;

    // What is looked at takes time too, though nothing is made of it.
    private const int CharactersOfStep = 64;
    private const int LargestDepth = 250;

    private readonly List<Dictionary<string, object?>> _scopes = [];
    private readonly CancellationToken _cancellation;
    private List<JinjaText> _output = [];
    private long _steps;
    private long _characters;
    private int _written;
    private int _depth;

    public JinjaRun(IReadOnlyDictionary<string, object?> variables, DateTimeOffset now, CancellationToken cancellation)
    {
        Now = now;
        _cancellation = cancellation;
        _scopes.Add(JinjaFunctions.Globals());
        _scopes.Add(new Dictionary<string, object?>(variables, StringComparer.Ordinal));
    }

    private enum Flow
    {
        On,
        Break,
        Continue,
    }

    /// <summary>The time that a template may ask for.</summary>
    public DateTimeOffset Now { get; }

    public JinjaText Render(IReadOnlyList<JinjaNode> template)
    {
        Execute(template);
        return JinjaText.Concat([.. _output]);
    }

    public void Step(long count = 1)
    {
        _steps += count;
        if (_steps > LargestSteps)
        {
            throw new JinjaException($"The template computes more than {LargestSteps} parts.");
        }

        if ((_steps & 0xFFF) < count)
        {
            _cancellation.ThrowIfCancellationRequested();
        }
    }

    /// <summary>Counts what is looked at from one end to the other, if it is a text.</summary>
    public void Look(object? value)
    {
        if (value is JinjaText text)
        {
            Step(text.Length / CharactersOfStep);
        }
    }

    /// <summary>Counts a text that was made.</summary>
    public JinjaText New(JinjaText text)
    {
        _characters += text.Length;
        CheckLength(0);
        return text;
    }

    /// <summary>Requires that a text of this length may be made.</summary>
    public void CheckLength(long length)
    {
        if (_characters + length > LargestCharacters)
        {
            throw new JinjaException($"The template makes texts of more than {LargestCharacters} characters.");
        }
    }

    public void CheckDepth(int depth)
    {
        if (depth > LargestDepth)
        {
            throw new JinjaException("Values lie too deep inside each other.");
        }
    }

    public object? Evaluate(JinjaExpression expression)
    {
        Step();
        if (++_depth > LargestDepth)
        {
            throw new JinjaException("The template calls itself too deep.", expression.Line);
        }

        try
        {
            return Compute(expression);
        }
        catch (JinjaException exception) when (exception.Line == 0)
        {
            throw new JinjaException(exception.Message, expression.Line);
        }
        catch (OverflowException)
        {
            throw new JinjaException("A number does not fit 64 bits.", expression.Line);
        }
        finally
        {
            _depth--;
        }
    }

    /// <summary>Runs a part of a template and gives what it writes, in a scope of its own.</summary>
    public JinjaText Capture(IReadOnlyList<JinjaNode> body, Dictionary<string, object?>? variables)
    {
        List<JinjaText> outer = _output;
        int written = _written;
        _output = [];
        if (variables is not null)
        {
            _scopes.Add(variables);
        }

        try
        {
            Execute(body);
            return JinjaText.Concat([.. _output]);
        }
        finally
        {
            _output = outer;
            _written = written;
            if (variables is not null)
            {
                _scopes.RemoveAt(_scopes.Count - 1);
            }
        }
    }

    public object? Call(object? function, IReadOnlyList<object?> arguments, IReadOnlyDictionary<string, object?> named)
        => function is JinjaFunction callable ? callable(this, arguments, named) : throw new JinjaException($"Expected a function, found {JinjaValues.TypeName(function)}.");

    private Flow Execute(IReadOnlyList<JinjaNode> body)
    {
        foreach (JinjaNode node in body)
        {
            Step();
            if (++_depth > LargestDepth)
            {
                throw new JinjaException("The template calls itself too deep.", node.Line);
            }

            Flow flow = Execute(node);
            _depth--;
            if (flow != Flow.On)
            {
                return flow;
            }
        }

        return Flow.On;
    }

    private Flow Execute(JinjaNode node)
    {
        switch (node)
        {
            case DataStatement data:
                Write(data.Text);
                return Flow.On;

            case OutputStatement output:
                Write(JinjaValues.Text(this, Evaluate(output.Value)));
                return Flow.On;

            case IfStatement condition:
                foreach ((JinjaExpression test, IReadOnlyList<JinjaNode> branch) in condition.Branches)
                {
                    if (JinjaValues.IsTrue(Evaluate(test)))
                    {
                        return Execute(branch);
                    }
                }

                return Execute(condition.Else);

            case ForStatement loop:
                return Loop(loop);

            case SetStatement set:
                Set(set);
                return Flow.On;

            case SetBlockStatement set:
                object? captured = Capture(set.Body, []);
                _scopes[^1][set.Name] = set.Filter is null ? captured : Filtered(set.Filter, captured);
                return Flow.On;

            case FilterStatement filter:
                Write(JinjaValues.Text(this, Filtered(filter.Filter, Capture(filter.Body, []))));
                return Flow.On;

            case MacroStatement macro:
                _scopes[^1][macro.Name] = Macro(macro);
                return Flow.On;

            case BlockStatement block:
                return Execute(block.Body);

            case LoopControlStatement control:
                return control.IsBreak ? Flow.Break : Flow.Continue;

            default:
                throw new JinjaException("A statement is not known here.", node.Line);
        }
    }

    private void Write(JinjaText text)
    {
        if (text.Length > 0)
        {
            _written += text.Length;
            if (_written > LargestOutput)
            {
                throw new JinjaException($"The template writes more than {LargestOutput} characters.");
            }

            New(text);
            _output.Add(text);
        }
    }

    private Flow Loop(ForStatement loop)
    {
        List<object?> items = Items(Evaluate(loop.Items), loop.Line);
        if (loop.Filter is { } filter)
        {
            var kept = new List<object?>();
            foreach (object? item in items)
            {
                var scope = new Dictionary<string, object?>(StringComparer.Ordinal);
                Assign(scope, loop.Names, item, loop.Line);
                _scopes.Add(scope);
                bool isKept = JinjaValues.IsTrue(Evaluate(filter));
                _scopes.RemoveAt(_scopes.Count - 1);
                if (isKept)
                {
                    kept.Add(item);
                }
            }

            items = kept;
        }

        for (int i = 0; i < items.Count; i++)
        {
            var scope = new Dictionary<string, object?>(StringComparer.Ordinal) { ["loop"] = State(items, i) };
            Assign(scope, loop.Names, items[i], loop.Line);
            _scopes.Add(scope);
            Flow flow = Execute(loop.Body);
            _scopes.RemoveAt(_scopes.Count - 1);
            if (flow == Flow.Break)
            {
                break;
            }
        }

        return items.Count == 0 ? Execute(loop.Else) : Flow.On;
    }

    private static JinjaMapping State(List<object?> items, int index)
    {
        var state = new JinjaMapping();
        Set("index", index + 1L);
        Set("index0", (long)index);
        Set("revindex", (long)items.Count - index);
        Set("revindex0", items.Count - 1L - index);
        Set("first", index == 0);
        Set("last", index == items.Count - 1);
        Set("length", (long)items.Count);
        Set("depth", 1L);
        Set("depth0", 0L);
        Set("previtem", index > 0 ? items[index - 1] : new JinjaUndefined("loop.previtem"));
        Set("nextitem", index + 1 < items.Count ? items[index + 1] : new JinjaUndefined("loop.nextitem"));
        Set("cycle", new JinjaFunction((_, arguments, _) => arguments.Count > 0 ? arguments[index % arguments.Count] : throw new JinjaException("cycle: expected values.")));
        return state;

        void Set(string name, object? value) => state[JinjaText.Own(name)] = value;
    }

    private static void Assign(Dictionary<string, object?> scope, IReadOnlyList<string> names, object? value, int line)
    {
        if (names.Count == 1)
        {
            scope[names[0]] = value;
            return;
        }

        if (value is not List<object?> parts || parts.Count != names.Count)
        {
            throw new JinjaException($"Expected {names.Count} values to take apart, found {(value is List<object?> list ? $"{list.Count}" : JinjaValues.TypeName(value))}.", line);
        }

        for (int i = 0; i < names.Count; i++)
        {
            scope[names[i]] = parts[i];
        }
    }

    /// <summary>What a loop goes over: items of a list, keys of a mapping, characters of a text, nothing of what is undefined.</summary>
    public List<object?> Items(object? value, int line = 0)
    {
        // Before anything is made of it.
        Step(value switch { List<object?> list => list.Count, JinjaMapping mapping => mapping.Count, JinjaText text => text.Length, _ => 0 });
        return value switch
        {
            List<object?> list => list,
            JinjaMapping mapping => [.. mapping.Entries.Select(static entry => entry.Key)],
            JinjaText text => [.. Enumerable.Range(0, text.Length).Select(i => text.Slice(i, 1))],
            JinjaUndefined => [],
            _ => throw new JinjaException($"Expected something to go over, found {JinjaValues.TypeName(value)}.", line),
        };
    }

    private void Set(SetStatement set)
    {
        object? value = Evaluate(set.Value);
        if (set.Member is null)
        {
            Assign(_scopes[^1], set.Names, value, set.Line);
            return;
        }

        object? target = Variable(set.Names[0]);
        if (target is not JinjaMapping { IsNamespace: true } space)
        {
            throw new JinjaException($"Expected a namespace to set '{set.Member}' of, found {JinjaValues.TypeName(target)}.", set.Line);
        }

        space[JinjaText.Own(set.Member)] = value;
    }

    private static JinjaFunction Macro(MacroStatement macro) => (run, arguments, named) =>
    {
        var scope = new Dictionary<string, object?>(StringComparer.Ordinal);
        if (arguments.Count > macro.Parameters.Count || named.Keys.Any(name => macro.Parameters.All(parameter => parameter.Name != name)))
        {
            throw new JinjaException($"The macro '{macro.Name}' has {macro.Parameters.Count} parameters, and is called with others.");
        }

        for (int i = 0; i < macro.Parameters.Count; i++)
        {
            (string name, JinjaExpression? byDefault) = macro.Parameters[i];
            scope[name] = i < arguments.Count ? arguments[i] : named.TryGetValue(name, out object? given) ? given : byDefault is null ? new JinjaUndefined(name) : run.Evaluate(byDefault);
        }

        return run.Capture(macro.Body, scope);
    };

    private object? Variable(string name)
    {
        for (int i = _scopes.Count - 1; i >= 0; i--)
        {
            if (_scopes[i].TryGetValue(name, out object? value))
            {
                return value;
            }
        }

        return new JinjaUndefined(name);
    }

    private object? Compute(JinjaExpression expression)
    {
        switch (expression)
        {
            case LiteralExpression literal:
                return literal.Value;

            case NameExpression variable:
                return Variable(variable.Name);

            case ListExpression list:
                return list.IsTuple ? new JinjaTuple(list.Items.Select(Evaluate)) : list.Items.Select(Evaluate).ToList();

            case MappingExpression mapping:
                var made = new JinjaMapping();
                foreach ((JinjaExpression key, JinjaExpression value) in mapping.Items)
                {
                    object name = Key(Evaluate(key));
                    Look(name);
                    made[name] = Evaluate(value);
                }

                return made;

            case UnaryExpression unary:
                return Unary(unary.Operator, Evaluate(unary.Operand));

            case BinaryExpression { Operator: "or" } or:
                object? first = Evaluate(or.Left);
                return JinjaValues.IsTrue(first) ? first : Evaluate(or.Right);

            case BinaryExpression { Operator: "and" } and:
                object? condition = Evaluate(and.Left);
                return JinjaValues.IsTrue(condition) ? Evaluate(and.Right) : condition;

            case BinaryExpression binary:
                return JinjaOperators.Binary(this, binary.Operator, Evaluate(binary.Left), Evaluate(binary.Right));

            case ComparisonExpression comparison:
                object? left = Evaluate(comparison.First);
                foreach ((string text, JinjaExpression operand) in comparison.Rest)
                {
                    object? right = Evaluate(operand);
                    if (!JinjaOperators.Compare(this, text, left, right))
                    {
                        return false;
                    }

                    left = right;
                }

                return true;

            case ConditionalExpression choice:
                return JinjaValues.IsTrue(Evaluate(choice.Condition)) ? Evaluate(choice.Then) : choice.Else is null ? new JinjaUndefined("the other case") : Evaluate(choice.Else);

            case MemberExpression member:
                object? target = Evaluate(member.Target), at = Evaluate(member.Key);
                Look(at);
                return JinjaOperators.Member(target, at, member.IsName);

            case SliceExpression slice:
                return JinjaOperators.Slice(this, Evaluate(slice.Target), Optional(slice.Start), Optional(slice.End), Optional(slice.Step));

            case CallExpression call:
                object? function = Evaluate(call.Target);
                (List<object?> arguments, Dictionary<string, object?> named) = Arguments(call.Arguments);
                return Call(function, arguments, named);

            case FilterExpression filter:
                return Filtered(filter, filter.Operand is null ? throw new JinjaException("A filter has nothing to work on.") : Evaluate(filter.Operand));

            case TestExpression test:
                return JinjaFunctions.Test(this, test.Name, Evaluate(test.Operand), Arguments(test.Arguments).Positional);

            default:
                throw new JinjaException("An expression is not known here.");
        }
    }

    // Filters of a statement begin with what it has captured.
    private object? Filtered(JinjaExpression expression, object? value)
    {
        var filter = (FilterExpression)expression;
        object? operand = filter.Operand is FilterExpression inner && IsOfStatement(inner) ? Filtered(inner, value) : value;
        (List<object?> arguments, Dictionary<string, object?> named) = Arguments(filter.Arguments);
        return JinjaFilter.Apply(this, filter.Name, operand, arguments, named);
    }

    private static bool IsOfStatement(FilterExpression filter) => filter.Operand is null || (filter.Operand is FilterExpression inner && IsOfStatement(inner));

    private long? Optional(JinjaExpression? expression)
        => expression is null || Evaluate(expression) is not { } value ? null : JinjaValues.Integer(value) ?? throw new JinjaException($"Expected an integer, found {JinjaValues.TypeName(value)}.");

    private (List<object?> Positional, Dictionary<string, object?> Named) Arguments(JinjaArguments arguments)
    {
        List<object?> positional = [.. arguments.Positional.Select(Evaluate)];
        var named = new Dictionary<string, object?>(StringComparer.Ordinal);
        foreach ((string name, JinjaExpression value) in arguments.Named)
        {
            named[name] = Evaluate(value);
        }

        return (positional, named);
    }

    /// <summary>A value that a mapping can have as a key.</summary>
    public static object Key(object? value) => value is JinjaText or long or bool or double ? value : throw new JinjaException($"Expected a key, found {JinjaValues.TypeName(value)}.");

    private static object? Unary(string name, object? value) => (name, value) switch
    {
        ("not", _) => !JinjaValues.IsTrue(value),
        ("-", double real) => -real,
        ("+", double) => value,
        (_, _) when JinjaValues.Integer(value) is { } integer => name == "-" ? checked(-integer) : integer,
        _ => throw new JinjaException($"Expected a number, found {JinjaValues.TypeName(value)}."),
    };
}
