using System.Collections.Generic;

namespace ModelGen.Compiler.Emit.CSharp;

/// <summary>
/// A member of a model's class. It is described once, and printed with its body or, where the declaration is not valid, with one that
/// throws: users' code then has no errors of its own.
/// </summary>
internal abstract record Member
{
    /// <summary>Prints the member; <paramref name="thrown"/> is the expression in the place of its body, or null.</summary>
    public abstract void Print(CodeWriter w, string? thrown);
}

/// <summary>A number that is known at compile time, zero in an invalid declaration, and where it has a term a line of the model card.</summary>
internal sealed record ConstantMember(string Type, string Name, long Value, string Summary) : Member
{
    /// <summary>What the model card calls it; null for nothing.</summary>
    public string? Term { get; init; }

    /// <summary>The number as the model card shows it.</summary>
    public string Text { get; init; } = "";

    public override void Print(CodeWriter w, string? thrown)
        => w.Line($"/// <summary>{Summary}</summary>").Line($"public const {Type} {Name} = {CodeWriter.Number(thrown is null ? Value : 0)};");
}

/// <summary>A method or property, whose body is an expression or a block of lines.</summary>
internal sealed record BodyMember(string Declaration, params string[] Body) : Member
{
    /// <summary>Lines of XML documentation; explicit implementations have none.</summary>
    public IReadOnlyList<string> Documentation { get; init; } = [];

    /// <summary>Whether the body is a block, even of a single line.</summary>
    public bool IsBlock { get; init; }

    public override void Print(CodeWriter w, string? thrown)
    {
        foreach (string line in Documentation)
        {
            w.Line("/// " + line);
        }

        if (thrown is not null || !IsBlock)
        {
            w.Line($"{Declaration} => {thrown ?? Body[0]};");
            return;
        }

        w.Open(Declaration);
        foreach (string line in Body)
        {
            w.Line(line);
        }

        w.Close();
    }
}

/// <summary>What only a valid declaration needs, and nobody outside the class sees.</summary>
internal sealed record PrivateMember(string Line) : Member
{
    public override void Print(CodeWriter w, string? thrown)
    {
        if (thrown is null)
        {
            w.Line(Line);
        }
    }
}

/// <summary>A class inside the model's that derives from one of the runtime's: its constructor hands over what the runtime must know.</summary>
internal sealed record NestedClass(string Name, string Base, string Summary, string Parameters, IReadOnlyList<string> BaseArguments, string BaseOfInvalid, IReadOnlyList<BodyMember> Methods) : Member
{
    public override void Print(CodeWriter w, string? thrown)
    {
        w.Line($"/// <summary>{Summary}</summary>");
        w.Open($"public sealed class {Name} : {Base}");
        if (thrown is null)
        {
            w.Line($"internal {Name}({Parameters})");
            for (int i = 0; i < BaseArguments.Count; i++)
            {
                w.Line("  " + (i == 0 ? ": base(" : "") + BaseArguments[i] + (i == BaseArguments.Count - 1 ? ")" : ""));
            }

            w.Line("{").Line("}");
        }
        else
        {
            w.Line($"internal {Name}() : base({BaseOfInvalid}) => {thrown};");
        }

        foreach (BodyMember method in Methods)
        {
            w.Line();
            method.Print(w, thrown);
        }

        w.Close();
    }
}
