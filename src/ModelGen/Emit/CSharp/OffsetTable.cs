using System.Collections.Generic;
using System.Linq;
using ModelGen.Compiler.Kernels;

namespace ModelGen.Compiler.Emit.CSharp;

/// <summary>Where buffers of one block of memory begin, as constants of a class, one for each buffer that is spoken of; one for those of several layers that have the same name and place.</summary>
/// <param name="className">The class.</param>
/// <param name="summary">What the block holds.</param>
/// <param name="names">The declaration's names.</param>
internal sealed class OffsetTable(string className, string summary, DeclaredNames names)
{
    private const int LineLength = 140;

    private readonly Dictionary<(string Name, long Offset), (string Identifier, string Name)> _identifiers = [];
    private readonly HashSet<string> _taken = [className];
    private readonly List<(string Scope, string Text)> _constants = [];
    private bool _isShared;

    /// <summary>What the class is called where its constants are used.</summary>
    public string Name => className;

    public bool IsEmpty => _constants.Count == 0;

    /// <summary>The constant that says where a buffer begins: an earlier layer's where that one's buffer of the same name lies there.</summary>
    public string Of(PlanBuffer buffer) => Of(buffer, buffer.Name);

    /// <summary>The constant that says where a workspace begins; those at one place are one.</summary>
    public string OfWorkspace(PlanBuffer buffer) => Of(buffer, "workspace");

    /// <summary>Prints the class, the constants of one scope together; nothing where no buffer was spoken of.</summary>
    public void Print(CodeWriter w, string name)
    {
        if (IsEmpty)
        {
            return;
        }

        w.Line($"// {summary}{(_isShared ? " A layer's that lies where an earlier layer's of the same name does is called by that one's." : "")}");
        w.Open($"internal static class {name}");
        w.Line("public const long");
        string[] lines = [.. _constants.GroupBy(c => c.Scope).SelectMany(g => Lines(g.Select(c => c.Text)))];
        for (int i = 0; i < lines.Length; i++)
        {
            w.Line("  " + lines[i] + (i < lines.Length - 1 ? "," : ";"));
        }

        w.Close();
    }

    private string Of(PlanBuffer buffer, string name)
    {
        // Layers that do the same mostly have the same places for it, one after the other.
        string scope = names.ScopeOf(name);
        (string, long) key = (scope.Length == 0 ? name : $"{names.Short(name, scope)} of {scope.Substring(0, scope.LastIndexOf('.') + 1)}", buffer.Offset);
        if (_identifiers.TryGetValue(key, out (string Identifier, string Name) first))
        {
            _isShared |= first.Name != name;
            return $"{className}.{first.Identifier}";
        }

        string wanted = names.Identifier(name), identifier = wanted;
        for (int i = 2; !_taken.Add(identifier); i++)
        {
            identifier = $"{wanted}_{i}";
        }

        _identifiers.Add(key, (identifier, name));
        _constants.Add((name.Substring(0, System.Math.Max(0, name.LastIndexOf('.'))), $"{identifier} = {CodeWriter.Number(buffer.WordOf(0))}"));
        return $"{className}.{identifier}";
    }

    private static IEnumerable<string> Lines(IEnumerable<string> constants)
    {
        string line = "";
        foreach (string constant in constants)
        {
            if (line.Length > 0 && line.Length + constant.Length > LineLength)
            {
                yield return line;
                line = "";
            }

            line += line.Length == 0 ? constant : ", " + constant;
        }

        yield return line;
    }
}
