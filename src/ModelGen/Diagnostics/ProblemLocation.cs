using System.Collections.Generic;
using System.Linq;
using System.Threading;
using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.CSharp;
using Microsoft.CodeAnalysis.CSharp.Syntax;
using ModelGen.Compiler.Declarations;
using ModelGen.Compiler.Families;

namespace ModelGen.Compiler.Diagnostics;

/// <summary>Finds what to underline for a problem.</summary>
internal static class ProblemLocation
{
    public static Location Find(SpecProblem problem, DeclaredAttributes attributes, CancellationToken cancellation)
    {
        if (attributes.Find(problem.Attribute)?.Syntax?.GetSyntax(cancellation) is not AttributeSyntax attribute)
        {
            return Location.None;
        }

        if (problem.EnclosingType is { } depth)
        {
            return attribute.Ancestors().OfType<BaseTypeDeclarationSyntax>().ElementAtOrDefault(depth)?.Identifier.GetLocation()
                ?? attribute.Name.GetLocation();
        }

        return (problem.Argument is { } name ? FindArgument(attribute, name, problem.Element) : null)?.GetLocation()
            ?? attribute.Name.GetLocation();
    }

    /// <summary>The expression given for a property; null when it was not given, so that a default is to blame.</summary>
    private static ExpressionSyntax? FindArgument(AttributeSyntax attribute, string name, int element)
    {
        if (attribute.ArgumentList is not { } list)
        {
            return null;
        }

        foreach (AttributeArgumentSyntax argument in list.Arguments)
        {
            string? given = argument.NameEquals?.Name.Identifier.ValueText
                ?? (argument.NameColon is { } colon ? DeclaredAttribute.PropertyName(colon.Name.Identifier.ValueText) : null);
            if (given == name)
            {
                return element < 0 ? argument.Expression : ElementOf([argument.Expression], element) ?? argument.Expression;
            }
        }

        List<ExpressionSyntax> positional = [.. list.Arguments
            .Where(argument => argument.NameEquals is null && argument.NameColon is null)
            .Select(argument => argument.Expression)];
        return element >= 0 ? ElementOf(positional, element) : positional.FirstOrDefault();
    }

    /// <summary>An element of a list that was written as separate arguments or as one array.</summary>
    private static ExpressionSyntax? ElementOf(List<ExpressionSyntax> positional, int element)
    {
        IReadOnlyList<ExpressionSyntax>? elements = positional.Count == 1 ? positional[0] switch
        {
            ArrayCreationExpressionSyntax { Initializer: { } initializer } => [.. initializer.Expressions],
            ImplicitArrayCreationExpressionSyntax { Initializer: { } initializer } => [.. initializer.Expressions],
            CollectionExpressionSyntax collection when collection.Elements.All(e => e.IsKind(SyntaxKind.ExpressionElement))
                => [.. collection.Elements.Cast<ExpressionElementSyntax>().Select(e => e.Expression)],
            _ => null,
        } : null;
        elements ??= positional;
        return element >= 0 && element < elements.Count ? elements[element] : positional.FirstOrDefault();
    }
}
