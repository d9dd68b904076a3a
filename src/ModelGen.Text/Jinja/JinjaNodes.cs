namespace ModelGen.Jinja;

/// <summary>A part of a template.</summary>
/// <param name="Line">The line where it begins.</param>
internal abstract record JinjaNode(int Line);

/// <summary>What gives a value.</summary>
internal abstract record JinjaExpression(int Line) : JinjaNode(Line);

internal sealed record LiteralExpression(object? Value, int Line) : JinjaExpression(Line);

internal sealed record NameExpression(string Name, int Line) : JinjaExpression(Line);

internal sealed record ListExpression(IReadOnlyList<JinjaExpression> Items, bool IsTuple, int Line) : JinjaExpression(Line);

internal sealed record MappingExpression(IReadOnlyList<(JinjaExpression Key, JinjaExpression Value)> Items, int Line) : JinjaExpression(Line);

internal sealed record UnaryExpression(string Operator, JinjaExpression Operand, int Line) : JinjaExpression(Line);

internal sealed record BinaryExpression(string Operator, JinjaExpression Left, JinjaExpression Right, int Line) : JinjaExpression(Line);

internal sealed record ComparisonExpression(JinjaExpression First, IReadOnlyList<(string Operator, JinjaExpression Operand)> Rest, int Line) : JinjaExpression(Line);

internal sealed record ConditionalExpression(JinjaExpression Then, JinjaExpression Condition, JinjaExpression? Else, int Line) : JinjaExpression(Line);

internal sealed record MemberExpression(JinjaExpression Target, JinjaExpression Key, bool IsName, int Line) : JinjaExpression(Line);

internal sealed record SliceExpression(JinjaExpression Target, JinjaExpression? Start, JinjaExpression? End, JinjaExpression? Step, int Line) : JinjaExpression(Line);

internal sealed record CallExpression(JinjaExpression Target, JinjaArguments Arguments, int Line) : JinjaExpression(Line);

internal sealed record FilterExpression(JinjaExpression? Operand, string Name, JinjaArguments Arguments, int Line) : JinjaExpression(Line);

internal sealed record TestExpression(JinjaExpression Operand, string Name, JinjaArguments Arguments, int Line) : JinjaExpression(Line);

internal sealed record JinjaArguments(IReadOnlyList<JinjaExpression> Positional, IReadOnlyList<(string Name, JinjaExpression Value)> Named)
{
    public static readonly JinjaArguments None = new([], []);
}

internal sealed record DataStatement(JinjaText Text, int Line) : JinjaNode(Line);

internal sealed record OutputStatement(JinjaExpression Value, int Line) : JinjaNode(Line);

internal sealed record IfStatement(IReadOnlyList<(JinjaExpression Condition, IReadOnlyList<JinjaNode> Body)> Branches, IReadOnlyList<JinjaNode> Else, int Line) : JinjaNode(Line);

internal sealed record ForStatement(IReadOnlyList<string> Names, JinjaExpression Items, JinjaExpression? Filter, IReadOnlyList<JinjaNode> Body, IReadOnlyList<JinjaNode> Else, int Line) : JinjaNode(Line);

internal sealed record SetStatement(IReadOnlyList<string> Names, string? Member, JinjaExpression Value, int Line) : JinjaNode(Line);

internal sealed record SetBlockStatement(string Name, JinjaExpression? Filter, IReadOnlyList<JinjaNode> Body, int Line) : JinjaNode(Line);

internal sealed record FilterStatement(JinjaExpression Filter, IReadOnlyList<JinjaNode> Body, int Line) : JinjaNode(Line);

internal sealed record MacroStatement(string Name, IReadOnlyList<(string Name, JinjaExpression? Default)> Parameters, IReadOnlyList<JinjaNode> Body, int Line) : JinjaNode(Line);

internal sealed record BlockStatement(IReadOnlyList<JinjaNode> Body, int Line) : JinjaNode(Line);

internal sealed record LoopControlStatement(bool IsBreak, int Line) : JinjaNode(Line);
