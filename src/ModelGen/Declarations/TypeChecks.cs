using System;
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
    public static bool Check(INamedTypeSymbol type, DeclaredAttribute family, CancellationToken cancellation, Action<SpecProblem> report)
    {
        if (family.Syntax is not { } reference
            || DeclaredAttribute.FindDeclaration(reference.GetSyntax(cancellation)) is not { } declaration)
        {
            return false;
        }

        bool canExtend = CheckKind(type, declaration, report);
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

    private static bool CheckKind(INamedTypeSymbol type, BaseTypeDeclarationSyntax declaration, Action<SpecProblem> report)
    {
        string? kind = type switch
        {
            { TypeKind: not TypeKind.Class } => "not a class",
            { IsRecord: true } => "a record",
            { IsStatic: true } => "static",
            { Arity: > 0 } => "generic",
            _ when IsFileLocal(type) => "visible in one file only",
            _ when HasPrimaryConstructor(type, declaration) => "declared with a primary constructor",
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

    private static SpecProblem OnType(string id, int depth, params string[] arguments)
        => new(id, null, new EquatableArray<string>(arguments)) { EnclosingType = depth };
}
