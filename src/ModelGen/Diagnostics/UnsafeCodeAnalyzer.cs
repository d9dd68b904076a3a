using System.Collections.Immutable;
using System.Linq;
using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.CSharp;
using Microsoft.CodeAnalysis.Diagnostics;

namespace ModelGen.Compiler.Diagnostics;

/// <summary>
/// Keeps the word of a project that sets <c>AllowUnsafeBlocks</c> to false: the package allows unsafe code for the emitted files'
/// sake all the same, and this analyzer refuses it in all others.
/// </summary>
[DiagnosticAnalyzer(LanguageNames.CSharp)]
public sealed class UnsafeCodeAnalyzer : DiagnosticAnalyzer
{
    /// <summary>Set by the package's targets.</summary>
    private const string Property = "build_property.ModelGenOnlyEmittedCodeIsUnsafe";

    /// <inheritdoc/>
    public override ImmutableArray<DiagnosticDescriptor> SupportedDiagnostics { get; } = ImmutableArray.Create(DiagnosticDescriptors.UnsafeForbidden);

    /// <inheritdoc/>
    public override void Initialize(AnalysisContext context)
    {
        context.EnableConcurrentExecution();
        context.ConfigureGeneratedCodeAnalysis(GeneratedCodeAnalysisFlags.None);
        context.RegisterSyntaxTreeAction(AnalyzeTree);
    }

    private static void AnalyzeTree(SyntaxTreeAnalysisContext context)
    {
        if (!context.Options.AnalyzerConfigOptionsProvider.GlobalOptions.TryGetValue(Property, out string? value) || value != "true")
        {
            return;
        }

        // Pointers need an unsafe context, and that needs this word.
        foreach (SyntaxToken token in context.Tree.GetRoot(context.CancellationToken).DescendantTokens().Where(token => token.IsKind(SyntaxKind.UnsafeKeyword)))
        {
            context.ReportDiagnostic(Diagnostic.Create(DiagnosticDescriptors.UnsafeForbidden, token.GetLocation()));
        }
    }
}
