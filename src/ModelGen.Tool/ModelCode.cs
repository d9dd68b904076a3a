using System.Reflection;

namespace ModelGen.Tool;

/// <summary>A declaration as C# text.</summary>
/// <param name="Attribute">The attribute's name without its suffix: <c>Gpt</c>.</param>
/// <param name="Arguments">What is declared, each with its C# text.</param>
internal sealed record ModelCode(string Attribute, IReadOnlyList<(string Name, string Value)> Arguments)
{
    /// <summary>The class that is declared.</summary>
    public const string TypeName = "FileModel";

    /// <summary>Another attribute beside it, as a user writes it; empty for none.</summary>
    public string Beside { get; init; } = "";

    /// <summary>The attribute as a user writes it.</summary>
    public string Shown => (Beside.Length > 0 ? Beside + "\n" : "") + $"[{Attribute}({string.Join(", ", Arguments.Select(static argument => $"{argument.Name} = {argument.Value}"))})]";

    /// <summary>A source file with the declaration.</summary>
    public string SourceText(string typeName = TypeName) => $"using ModelGen;\n\n{Shown}\npublic partial class {typeName};\n";

    /// <summary>The declaration with another value of an argument, or with one more.</summary>
    public ModelCode With(string name, string value)
        => this with { Arguments = [.. Arguments.Where(argument => argument.Name != name), (name, value)] };

    /// <summary>The attribute's class; null if the runtime has none of that name.</summary>
    public static Type? AttributeType(string attribute)
        => typeof(GptAttribute).Assembly.GetType($"ModelGen.{attribute}Attribute") is { IsAbstract: false, IsPublic: true } type && type.IsSubclassOf(typeof(Attribute)) ? type : null;

    /// <summary>An option of the attribute; null if it has none of that name that can be set.</summary>
    public static PropertyInfo? Option(Type attribute, string name)
        => attribute.GetProperty(name, BindingFlags.Public | BindingFlags.Instance) is { CanWrite: true } option ? option : null;
}
