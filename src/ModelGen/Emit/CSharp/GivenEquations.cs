using System;
using System.Collections.Generic;
using System.Globalization;
using System.Text;

namespace ModelGen.Compiler.Emit.CSharp;

/// <summary>
/// The equations that a plan's text has given. What is said of a value of one layer holds for those of later layers, whose equations differ in nothing but the number:
/// a reader finds them where they stand first.
/// </summary>
internal sealed class GivenEquations
{
    // What was given, with layers counted from the one that it was given for, and that one's scope.
    private readonly Dictionary<string, string> _scopes = new(StringComparer.Ordinal);

    /// <summary>What the plan's heading says of equations that are missing; empty where none is.</summary>
    public string Remark { get; private set; } = "";

    /// <summary>Whether an equation has to be given, since no earlier scope of its kind has it.</summary>
    /// <param name="scope">Whose turn it is: <c>layers.3</c>; empty for none.</param>
    /// <param name="method">The kernel's method.</param>
    /// <param name="equation">The equation, in the scope's words.</param>
    public bool IsNew(string scope, string method, string equation)
    {
        int dot = scope.LastIndexOf('.');
        if (!int.TryParse(scope.Substring(dot + 1), NumberStyles.None, CultureInfo.InvariantCulture, out int number))
        {
            return true;
        }

        string layers = scope.Substring(0, dot + 1);
        string key = $"{layers} {method} {Relative(equation, layers, number)}";
        if (_scopes.TryGetValue(key, out string? first) && first != scope)
        {
            Remark = " Equations that differ from an earlier layer's in nothing but its number are given there.";
            return false;
        }

        _scopes[key] = scope;
        return true;
    }

    // Layers' numbers as distances: that of layers.2.norm in layers.3 is what layers.1.norm is in layers.2.
    private static string Relative(string equation, string layers, int number)
    {
        if (layers.Length == 0)
        {
            return equation;
        }

        var text = new StringBuilder(equation.Length);
        int from = 0;
        for (int at = equation.IndexOf(layers, StringComparison.Ordinal); at >= 0; at = equation.IndexOf(layers, Math.Max(from, at + 1), StringComparison.Ordinal))
        {
            int end = at + layers.Length;
            while (end < equation.Length && equation[end] is >= '0' and <= '9')
            {
                end++;
            }

            bool isName = (at == 0 || !(char.IsLetterOrDigit(equation[at - 1]) || equation[at - 1] is '_' or '.')) && (end == equation.Length || !(char.IsLetter(equation[end]) || equation[end] == '_'));
            if (isName && int.TryParse(equation.Substring(at + layers.Length, end - at - layers.Length), NumberStyles.None, CultureInfo.InvariantCulture, out int other))
            {
                text.Append(equation, from, at + layers.Length - from).Append('(').Append(other - number).Append(')');
                from = end;
            }
        }

        return text.Append(equation, from, equation.Length - from).ToString();
    }
}
