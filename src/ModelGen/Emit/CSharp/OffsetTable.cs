using System.Collections.Generic;
using System.Linq;
using ModelGen.Compiler.Kernels;

namespace ModelGen.Compiler.Emit.CSharp;

/// <summary>Where buffers of one block of memory begin, as constants of a class, one for each buffer that is spoken of.</summary>
/// <param name="className">The class.</param>
/// <param name="summary">What the block holds.</param>
/// <param name="names">The declaration's names.</param>
internal sealed class OffsetTable(string className, string summary, DeclaredNames names)
{
    private const int LineLength = 140;

    private readonly Dictionary<(string Name, long Offset), string> _identifiers = [];
    private readonly HashSet<string> _taken = [className];
    private readonly List<(string Scope, string Text)> _constants = [];

    /// <summary>What the class is called where its constants are used.</summary>
    public string Name => className;

    public bool IsEmpty => _constants.Count == 0;

    /// <summary>The constant that says where a buffer begins.</summary>
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

        w.Line($"// {summary}");
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
        if (!_identifiers.TryGetValue((name, buffer.Offset), out string? identifier))
        {
            string wanted = names.Identifier(name);
            identifier = wanted;
            for (int i = 2; !_taken.Add(identifier); i++)
            {
                identifier = $"{wanted}_{i}";
            }

            _identifiers.Add((name, buffer.Offset), identifier);
            _constants.Add((name.Substring(0, System.Math.Max(0, name.LastIndexOf('.'))), $"{identifier} = {CodeWriter.Number(buffer.WordOf(0))}"));
        }

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
