using System;
using System.Collections.Generic;
using System.Globalization;
using System.Linq;
using System.Text;
using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.CSharp;

namespace ModelGen.Compiler.Declarations;

/// <summary>Reads where the emitted part of a class belongs.</summary>
internal static class TypeIdentityReader
{
    public static TypeIdentity Read(INamedTypeSymbol type)
    {
        var containers = new List<ContainerDeclaration>();
        for (INamedTypeSymbol? container = type.ContainingType; container is not null; container = container.ContainingType)
        {
            containers.Insert(0, new ContainerDeclaration(Keyword(container), NameWithTypeParameters(container)));
        }

        return new TypeIdentity(
            NamespaceOf(type),
            new EquatableArray<ContainerDeclaration>([.. containers]),
            Escape(type.Name),
            SyntaxFacts.GetText(type.DeclaredAccessibility),
            HintName(type))
        {
            Reference = InheritsTypeOf(type.Name, type) ? type.ToDisplayString(SymbolDisplayFormat.FullyQualifiedFormat) : Escape(type.Name),
        };
    }

    private static bool InheritsTypeOf(string name, INamedTypeSymbol type)
    {
        for (INamedTypeSymbol? ancestor = type.BaseType; ancestor is not null; ancestor = ancestor.BaseType)
        {
            if (!ancestor.GetTypeMembers(name).IsEmpty)
            {
                return true;
            }
        }

        return false;
    }

    /// <summary>An identifier as source must spell it.</summary>
    public static string Escape(string identifier)
        => SyntaxFacts.GetKeywordKind(identifier) != SyntaxKind.None || SyntaxFacts.GetContextualKeywordKind(identifier) != SyntaxKind.None
            ? "@" + identifier
            : identifier;

    private static string NamespaceOf(INamedTypeSymbol type)
    {
        var names = new List<string>();
        for (INamespaceSymbol? space = type.ContainingNamespace; space is { IsGlobalNamespace: false }; space = space.ContainingNamespace)
        {
            names.Insert(0, Escape(space.Name));
        }

        return string.Join(".", names);
    }

    private static string Keyword(INamedTypeSymbol type) => type switch
    {
        { TypeKind: TypeKind.Interface } => "interface",
        { TypeKind: TypeKind.Struct, IsRecord: true } => "record struct",
        { TypeKind: TypeKind.Struct } => "struct",
        { IsRecord: true } => "record",
        _ => "class",
    };

    private static string NameWithTypeParameters(INamedTypeSymbol type)
        => type.TypeParameters.IsEmpty
            ? Escape(type.Name)
            : $"{Escape(type.Name)}<{string.Join(", ", type.TypeParameters.Select(parameter => Escape(parameter.Name)))}>";

    /// <summary>
    /// A name for the emitted files that no other class of the compilation has: <c>Space.Outer-1+Inner</c>, where 1 is the
    /// number of type parameters. Roslyn and some file systems ignore case, so names that differ in nothing else carry a hash.
    /// </summary>
    private static string HintName(INamedTypeSymbol type)
    {
        var name = new StringBuilder();
        bool ambiguous = false;
        for (INamespaceOrTypeSymbol? symbol = type; symbol is not null and not INamespaceSymbol { IsGlobalNamespace: true }; symbol = Parent(symbol))
        {
            var named = symbol as INamedTypeSymbol;
            if (named is { Arity: > 0 })
            {
                name.Insert(0, "-" + named.Arity.ToString(CultureInfo.InvariantCulture));
            }

            name.Insert(0, symbol.Name);
            if (Parent(symbol) is not INamespaceSymbol { IsGlobalNamespace: true })
            {
                name.Insert(0, named?.ContainingType is null ? '.' : '+');
            }

            ambiguous |= HasSiblingOfOtherCase(symbol);
        }

        string result = name.ToString();
        return ambiguous ? result + "-" + StableHash.Of(result).ToString("x8", CultureInfo.InvariantCulture) : result;
    }

    private static INamespaceOrTypeSymbol? Parent(INamespaceOrTypeSymbol symbol)
        => symbol.ContainingType ?? (INamespaceOrTypeSymbol?)symbol.ContainingNamespace;

    private static bool HasSiblingOfOtherCase(INamespaceOrTypeSymbol symbol)
    {
        foreach (ISymbol sibling in Parent(symbol)!.GetMembers())
        {
            if (sibling is INamespaceOrTypeSymbol
                && !string.Equals(sibling.Name, symbol.Name, StringComparison.Ordinal)
                && string.Equals(sibling.Name, symbol.Name, StringComparison.OrdinalIgnoreCase))
            {
                return true;
            }
        }

        return false;
    }
}
