using Microsoft.CodeAnalysis;
using ModelGen.Compiler.Declarations;

namespace ModelGen.Tests.Generator;

/// <summary>The front end alone, without what follows it.</summary>
internal static class DeclarationReading
{
    /// <summary>Reads the one declaration that the source holds.</summary>
    public static Declaration Read(params IEnumerable<string> sources)
    {
        Compilation compilation = GeneratorHarness.Compile(sources);
        List<Declaration> declarations = [];
        foreach (INamedTypeSymbol type in compilation.GetSymbolsWithName(_ => true, SymbolFilter.Type).Cast<INamedTypeSymbol>())
        {
            DeclaredAttributes attributes = DeclaredAttributes.Of(type, CancellationToken.None);
            if (attributes.Families.Count > 0)
            {
                declarations.Add(DeclarationReader.Read(type, attributes, compilation, CancellationToken.None));
            }
        }

        return Assert.Single(declarations);
    }
}
