using System;
using System.Collections.Generic;
using System.Linq;
using System.Threading;
using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.CSharp;
using Microsoft.CodeAnalysis.CSharp.Syntax;
using ModelGen.Compiler.Families;

namespace ModelGen.Compiler.Diagnostics;

/// <summary>
/// Finds members that the user's part of a class and its emitted part both declare. The emitted part is looked at as it
/// is, so there is no second list of names to keep in step with it.
/// </summary>
internal static class MemberCollisionCheck
{
    public static void Check(INamedTypeSymbol type, ModelSpec spec, Action<Diagnostic> report, CancellationToken cancellation)
    {
        ILookup<string, ISymbol> emitted = type.GetMembers()
            .Where(member => IsDeclared(member) && member.DeclaringSyntaxReferences.Any(part => IsEmitted(part, spec)))
            .ToLookup(member => member.Name);
        if (emitted.Count == 0)
        {
            return;
        }

        foreach (ISymbol member in type.GetMembers().Where(IsDeclared))
        {
            cancellation.ThrowIfCancellationRequested();
            if (emitted[member.Name].Any(other => Collide(member, other))
                && member.DeclaringSyntaxReferences.FirstOrDefault(part => !IsEmitted(part, spec)) is { } part)
            {
                string name = member is IMethodSymbol { MethodKind: MethodKind.Constructor } ? type.Name : member.Name;
                report(Create(LocationOf(member, part), name, spec));
            }
        }

        // A member cannot have the name of its class.
        if (emitted.Contains(type.Name)
            && type.DeclaringSyntaxReferences.FirstOrDefault(part => !IsEmitted(part, spec))?.GetSyntax(cancellation) is BaseTypeDeclarationSyntax declaration)
        {
            report(Create(declaration.Identifier.GetLocation(), type.Name, spec));
        }
    }

    private static Diagnostic Create(Location location, string name, ModelSpec spec)
        => Diagnostic.Create(DiagnosticDescriptors.MemberCollision, location, name, spec.Family);

    private static bool IsDeclared(ISymbol member)
        => !member.IsImplicitlyDeclared && member is not IMethodSymbol { AssociatedSymbol: not null };

    private static bool IsEmitted(SyntaxReference part, ModelSpec spec)
    {
        string path = part.SyntaxTree.FilePath;
        string file = path.Substring(path.LastIndexOfAny(['/', '\\']) + 1);
        return file.StartsWith(spec.Type.HintName + ".", StringComparison.Ordinal) && file.EndsWith(".g.cs", StringComparison.Ordinal);
    }

    private static bool Collide(ISymbol member, ISymbol emitted)
    {
        if (member is INamedTypeSymbol type && SymbolEqualityComparer.Default.Equals(type, emitted))
        {
            // The parts of a nested type make one symbol; they only get along when all are partial.
            return type.DeclaringSyntaxReferences.Length > 1
                && !type.DeclaringSyntaxReferences.All(part => part.GetSyntax() is BaseTypeDeclarationSyntax declaration && declaration.Modifiers.Any(SyntaxKind.PartialKeyword));
        }

        if (SymbolEqualityComparer.Default.Equals(member, emitted))
        {
            return false;
        }

        return member is not IMethodSymbol method || emitted is not IMethodSymbol other || HaveSameSignature(method, other);
    }

    private static bool HaveSameSignature(IMethodSymbol left, IMethodSymbol right)
        => left.Arity == right.Arity
            && left.IsStatic == right.IsStatic | left.MethodKind != MethodKind.Constructor
            && left.Parameters.Length == right.Parameters.Length
            && left.Parameters.Zip(right.Parameters, (a, b) => (a.RefKind == RefKind.None) == (b.RefKind == RefKind.None)
                && SymbolEqualityComparer.Default.Equals(a.Type, b.Type)).All(same => same);

    private static Location LocationOf(ISymbol member, SyntaxReference part)
        => member.Locations.FirstOrDefault(location => location.SourceTree == part.SyntaxTree && part.Span.Contains(location.SourceSpan))
            ?? part.GetSyntax().GetLocation();
}
