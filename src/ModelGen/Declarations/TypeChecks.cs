using System;
using System.Collections.Generic;
using System.Linq;
using System.Threading;
using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.CSharp;
using Microsoft.CodeAnalysis.CSharp.Syntax;
using ModelGen.Compiler.Diagnostics;
using ModelGen.Compiler.Families;

namespace ModelGen.Compiler.Declarations;

/// <summary>Checks that a model can be added to the type that declares it.</summary>
internal static class TypeChecks
{
    /// <summary>Reports everything that is wrong with the type; false when no part of it can be emitted.</summary>
    public static bool Check(INamedTypeSymbol type, DeclaredAttribute family, Compilation compilation, CancellationToken cancellation, Action<SpecProblem> report)
    {
        if (family.Syntax is not { } reference
            || DeclaredAttribute.FindDeclaration(reference.GetSyntax(cancellation)) is not { } declaration)
        {
            return false;
        }

        bool canExtend = CheckKind(type, declaration, compilation, cancellation, report);
        if (!IsPartial(declaration) && canExtend)
        {
            report(OnType(DiagnosticIds.NotPartial, 0, type.Name));
            canExtend = false;
        }

        int depth = 0;
        foreach (BaseTypeDeclarationSyntax container in declaration.Ancestors().OfType<BaseTypeDeclarationSyntax>())
        {
            depth++;
            if (!IsPartial(container))
            {
                report(OnType(DiagnosticIds.ContainerNotPartial, depth, container.Identifier.ValueText, type.Name));
                canExtend = false;
            }
        }

        return canExtend;
    }

    /// <summary>Whether a part of a type is declared partial.</summary>
    public static bool IsPartial(SyntaxNode declaration)
        => declaration is BaseTypeDeclarationSyntax { Modifiers: var modifiers } && modifiers.Any(SyntaxKind.PartialKeyword);

    private static bool CheckKind(INamedTypeSymbol type, BaseTypeDeclarationSyntax declaration, Compilation compilation, CancellationToken cancellation, Action<SpecProblem> report)
    {
        string? kind = type switch
        {
            { TypeKind: not TypeKind.Class } => "not a class",
            { IsRecord: true } => "a record",
            { IsStatic: true } => "static",
            { Arity: > 0 } => "generic",
            _ when IsFileLocal(type) => "visible in one file only",
            _ when HasPrimaryConstructor(type, declaration) => "declared with a primary constructor",
            _ when Ancestors(type).FirstOrDefault(ancestor => DeclaredAttributes.Of(ancestor, cancellation).Families.Count > 0) is { } model => $"derived from '{model.Name}', which is a model itself",
            _ when !CanConstructBase(type, compilation) => $"derived from '{type.BaseType!.Name}', whose constructors all take arguments or are out of its reach",
            _ when RequiredMember(type) is { } required => $"not complete without '{required.Name}', a required member",
            _ => null,
        };
        if (kind is not null)
        {
            report(OnType(DiagnosticIds.UnsupportedType, 0, type.Name, kind));
            return false;
        }

        // The surface of an abstract class can be emitted, so that its uses are no errors of their own.
        if (type.IsAbstract)
        {
            report(OnType(DiagnosticIds.UnsupportedType, 0, type.Name, "abstract"));
        }

        return true;
    }

    private static bool IsFileLocal(INamedTypeSymbol type)
    {
        for (INamedTypeSymbol? symbol = type; symbol is not null; symbol = symbol.ContainingType)
        {
            if (symbol.IsFileLocal)
            {
                return true;
            }
        }

        return false;
    }

    private static bool HasPrimaryConstructor(INamedTypeSymbol type, BaseTypeDeclarationSyntax declaration)
        => declaration is TypeDeclarationSyntax { ParameterList: not null }
            || type.DeclaringSyntaxReferences.Any(part => part.GetSyntax() is TypeDeclarationSyntax { ParameterList: not null });

    private static IEnumerable<INamedTypeSymbol> Ancestors(INamedTypeSymbol type)
    {
        for (INamedTypeSymbol? ancestor = type.BaseType; ancestor is not null; ancestor = ancestor.BaseType)
        {
            yield return ancestor;
        }
    }

    /// <summary>Whether the emitted constructor, which gives its base class nothing, finds a constructor there. What the base class is may be an error of its own, and one in parts may have the constructor from another generator, whose files no generator sees.</summary>
    private static bool CanConstructBase(INamedTypeSymbol type, Compilation compilation)
        => type.BaseType is not { TypeKind: TypeKind.Class } ancestor
            || ancestor.InstanceConstructors.Any(constructor => constructor.Parameters.All(parameter => parameter.IsOptional || parameter.IsParams) && compilation.IsSymbolAccessibleWithin(constructor, type))
            || ancestor.DeclaringSyntaxReferences.Any(part => IsPartial(part.GetSyntax()));

    /// <summary>A member that whoever constructs the class must set, which <c>Create</c> and <c>Load</c> could not.</summary>
    private static ISymbol? RequiredMember(INamedTypeSymbol type)
        => Ancestors(type).Prepend(type).SelectMany(part => part.GetMembers()).FirstOrDefault(member => member is IPropertySymbol { IsRequired: true } or IFieldSymbol { IsRequired: true });

    private static SpecProblem OnType(string id, int depth, params string[] arguments)
        => new(id, null, new EquatableArray<string>(arguments)) { EnclosingType = depth };
}
