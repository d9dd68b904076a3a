using System.Reflection;
using System.Runtime.Loader;

namespace ModelGen.RoslynMatrix;

/// <summary>Loads a compiler from a folder of the caller's choice, and with it the generator and this program again.</summary>
internal sealed class CompilerContext(string compilerFolder) : AssemblyLoadContext("compiler")
{
    private static readonly string[] OfTheCompiler = ["Microsoft.CodeAnalysis", "System.Collections.Immutable", "System.Reflection.Metadata"];

    private static readonly string[] OfThisProgram = ["ModelGen.RoslynMatrix", "ModelGen.Generator"];

    /// <inheritdoc/>
    protected override Assembly? Load(AssemblyName assemblyName)
    {
        string name = assemblyName.Name ?? "";
        string? folder = OfThisProgram.Contains(name) ? AppContext.BaseDirectory
            : OfTheCompiler.Any(prefix => name.StartsWith(prefix, StringComparison.Ordinal)) ? compilerFolder
            : null;
        string path = Path.Combine(folder ?? "", name + ".dll");

        // What a compiler has not brought with it is the framework's.
        return folder is not null && File.Exists(path) ? LoadFromAssemblyPath(path) : null;
    }
}
