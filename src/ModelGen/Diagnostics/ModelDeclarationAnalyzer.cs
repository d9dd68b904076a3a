using System;
using System.Collections.Generic;
using System.Collections.Immutable;
using System.Globalization;
using System.Linq;
using System.Threading;
using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.CSharp.Syntax;
using Microsoft.CodeAnalysis.Diagnostics;
using ModelGen.Compiler.Declarations;
using ModelGen.Compiler.Families;

namespace ModelGen.Compiler.Diagnostics;

/// <summary>
/// Reports what is wrong with model declarations, all of it at once, on the arguments that are to blame. It reads
/// declarations with the generator's own front end, so that both agree on what a valid one is.
/// </summary>
[DiagnosticAnalyzer(LanguageNames.CSharp)]
public sealed class ModelDeclarationAnalyzer : DiagnosticAnalyzer
{
    /// <inheritdoc/>
    public override ImmutableArray<DiagnosticDescriptor> SupportedDiagnostics => DiagnosticDescriptors.OfDeclarations;

    /// <inheritdoc/>
    public override void Initialize(AnalysisContext context)
    {
        context.EnableConcurrentExecution();

        // A declaration in a file that is marked as generated is compiled like any other, so it is checked like any other.
        context.ConfigureGeneratedCodeAnalysis(GeneratedCodeAnalysisFlags.Analyze | GeneratedCodeAnalysisFlags.ReportDiagnostics);
        context.RegisterSymbolAction(AnalyzeType, SymbolKind.NamedType);
    }

    private static void AnalyzeType(SymbolAnalysisContext context)
    {
        var type = (INamedTypeSymbol)context.Symbol;
        ReportAsContainer(context, type);
        DeclaredAttributes attributes = DeclaredAttributes.Of(type, context.CancellationToken);
        if (!attributes.Any)
        {
            return;
        }

        if (attributes.Families.Count == 0)
        {
            ReportWithoutFamily(context, type, attributes);
            return;
        }

        Declaration declaration = DeclarationReader.Read(type, attributes, context.Compilation, context.CancellationToken);
        foreach (SpecProblem problem in declaration.Problems)
        {
            if (problem.EnclosingType is null or 0)
            {
                Report(context, attributes, problem);
            }
        }

        if (declaration.Problems.Count == 0 && !declaration.HasArgumentErrors)
        {
            MemoryBudgetCheck.Check(type, declaration.Spec, problem => Report(context, attributes, problem));
        }

        MemberCollisionCheck.Check(type, declaration.Spec, context.ReportDiagnostic, context.CancellationToken);
    }

    /// <summary>
    /// Reports a type that should be partial for the sake of a model inside it. That is reported while the outer type is
    /// analyzed, because an editor drops what is reported outside of the type that it is looking at.
    /// </summary>
    private static void ReportAsContainer(SymbolAnalysisContext context, INamedTypeSymbol type)
    {
        if (type.GetTypeMembers().IsEmpty
            || type.DeclaringSyntaxReferences.All(part => TypeChecks.IsPartial(part.GetSyntax(context.CancellationToken))))
        {
            return;
        }

        foreach ((INamedTypeSymbol inner, int depth) in Nested(type, 1))
        {
            DeclaredAttributes attributes = DeclaredAttributes.Of(inner, context.CancellationToken);
            if (attributes.Families.Count == 0)
            {
                continue;
            }

            Declaration declaration = DeclarationReader.Read(inner, attributes, context.Compilation, context.CancellationToken);
            if (declaration.Problems.FirstOrDefault(problem => problem.EnclosingType == depth) is { } found)
            {
                Report(context, attributes, found);
                return;
            }
        }
    }

    private static IEnumerable<(INamedTypeSymbol Type, int Depth)> Nested(INamedTypeSymbol type, int depth)
        => type.GetTypeMembers().SelectMany(inner => Nested(inner, depth + 1).Prepend((inner, depth)));

    private static void ReportWithoutFamily(SymbolAnalysisContext context, INamedTypeSymbol type, DeclaredAttributes attributes)
    {
        string families = string.Join(", ", FamilyRegistry.All.Select(family => "[" + family.Name + "]"));
        foreach (DeclaredAttribute attribute in new[] { attributes.Training, attributes.Budget, attributes.Cuda, attributes.Lora }.OfType<DeclaredAttribute>())
        {
            Report(context, attributes, new SpecProblem(DiagnosticIds.NoFamily, null, [attribute.Name, type.Name, families], attribute.Name));
        }
    }

    private static void Report(SymbolAnalysisContext context, DeclaredAttributes attributes, SpecProblem problem)
        => context.ReportDiagnostic(Diagnostic.Create(
            DiagnosticDescriptors.Get(problem.DiagnosticId),
            ProblemLocation.Find(problem, attributes, context.CancellationToken),
            [.. problem.MessageArguments]));
}
