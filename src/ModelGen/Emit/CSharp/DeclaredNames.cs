using System;
using System.Collections.Generic;
using System.Linq;
using System.Text;

namespace ModelGen.Compiler.Emit.CSharp;

/// <summary>The names of a declaration's values, as emitted comments and identifiers have them.</summary>
internal sealed class DeclaredNames
{
    // The compiler's lower half knows no Roslyn. Words that are keywords only in some places are names everywhere else.
    private static readonly HashSet<string> Keywords =
    [
        .. ("abstract as base bool break byte case catch char checked class const continue decimal default delegate do double else enum event explicit extern false "
            + "finally fixed float for foreach goto if implicit in int interface internal is lock long namespace new null object operator out override params private "
            + "protected public readonly ref return sbyte sealed short sizeof stackalloc static string struct switch this throw true try typeof uint ulong unchecked "
            + "unsafe ushort using virtual void volatile while").Split(' '),
    ];

    private const string Cotangent = "d ";

    private readonly string _common;

    /// <param name="parameters">The parameters' names: the scope that most of them are in goes without saying.</param>
    public DeclaredNames(IEnumerable<string> parameters)
    {
        string[] names = [.. parameters];
        IGrouping<string, string>? largest = names.Where(n => n.IndexOf('.') > 0).GroupBy(n => n.Substring(0, n.IndexOf('.') + 1)).OrderByDescending(g => g.Count()).FirstOrDefault();
        _common = largest is not null && 2 * largest.Count() > names.Length ? largest.Key : "";
    }

    /// <summary>What everything that has no scope of its own lies in.</summary>
    public string Whole => _common.Length == 0 ? "model" : _common.TrimEnd('.');

    /// <summary>The name without the scope that all have: <c>d h.0.ln_1</c>.</summary>
    public string Short(string name)
        => IsGradient(name) ? Cotangent + Short(name.Substring(Cotangent.Length).Replace("." + Cotangent, "."))
            : _common.Length > 0 && name.Length > _common.Length && name.StartsWith(_common, StringComparison.Ordinal) ? name.Substring(_common.Length) : name;

    /// <summary>The name as it is called in a scope: <c>d ln_1</c> in <c>h.0</c>.</summary>
    public string Short(string name, string scope)
    {
        string value = Short(name);
        string prefix = (IsGradient(value) ? Cotangent : "") + scope + ".";
        return scope.Length > 0 && value.StartsWith(prefix, StringComparison.Ordinal) ? (IsGradient(value) ? Cotangent : "") + value.Substring(prefix.Length) : value;
    }

    /// <summary>The scope of a value that is one of several equal ones: what its name begins with, up to a number. Empty if it has none.</summary>
    public string ScopeOf(string name)
    {
        string[] parts = (IsGradient(name) ? Short(name.Substring(Cotangent.Length)) : Short(name)).Split('.');
        int number = Array.FindIndex(parts, p => p.Length > 0 && p.All(c => c is >= '0' and <= '9'));
        return number < 0 || number == parts.Length - 1 ? "" : string.Join(".", parts.Take(number + 1));
    }

    /// <summary>Whether a name is that of a gradient.</summary>
    public static bool IsGradient(string name) => name.StartsWith(Cotangent, StringComparison.Ordinal);

    /// <summary>The name as an identifier: <c>d_h0_ln_1</c>.</summary>
    public string Identifier(string name)
    {
        var text = new StringBuilder();
        string value = Short(name);
        for (int i = 0; i < value.Length; i++)
        {
            char c = value[i];
            if (c is >= 'a' and <= 'z' or >= 'A' and <= 'Z' or >= '0' and <= '9')
            {
                text.Append(c);
            }
            else if (text.Length > 0 && text[text.Length - 1] != '_' && !(c == '.' && i + 1 < value.Length && value[i + 1] is >= '0' and <= '9'))
            {
                text.Append('_');
            }
        }

        string identifier = text.ToString().TrimEnd('_');
        return identifier.Length == 0 || identifier[0] is >= '0' and <= '9' || Keywords.Contains(identifier) ? "_" + identifier : identifier;
    }
}
