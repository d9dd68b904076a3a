using System.Collections.Immutable;
using System.Linq;
using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.CSharp.Syntax;
using Microsoft.CodeAnalysis.Diagnostics;
using Microsoft.CodeAnalysis.Text;
using ModelGen.Compiler.Declarations;
using ModelGen.Compiler.Diagnostics;

namespace ModelGen.Compiler.Grammars;

/// <summary>Reports what is wrong with declared grammars, JSON schemas and vocabularies: in a file where it stands, and otherwise on the attribute's argument.</summary>
[DiagnosticAnalyzer(LanguageNames.CSharp)]
public sealed class GrammarAnalyzer : DiagnosticAnalyzer
{
    /// <inheritdoc/>
    public override ImmutableArray<DiagnosticDescriptor> SupportedDiagnostics => DiagnosticDescriptors.OfGrammars;

    /// <inheritdoc/>
    public override void Initialize(AnalysisContext context)
    {
        context.EnableConcurrentExecution();
        context.ConfigureGeneratedCodeAnalysis(GeneratedCodeAnalysisFlags.Analyze | GeneratedCodeAnalysisFlags.ReportDiagnostics);
        context.RegisterSymbolAction(Analyze, SymbolKind.NamedType);
    }

    private static void Analyze(SymbolAnalysisContext context)
    {
        var type = (INamedTypeSymbol)context.Symbol;
        foreach (AttributeData attribute in GrammarDeclaration.AttributesOf(type))
        {
            if (GrammarDeclaration.Read(type, attribute, context.CancellationToken) is not { } declaration)
            {
                continue;
            }

            var request = GrammarRequest.From(declaration, context.Options.AdditionalFiles, context.CancellationToken);
            foreach (GrammarProblem problem in new[] { request.Parse().Problem, request.ParseVocabulary().Problem }.OfType<GrammarProblem>())
            {
                context.ReportDiagnostic(Diagnostic.Create(DiagnosticDescriptors.Get(problem.Id), Locate(problem, attribute, context), [.. problem.Arguments]));
            }
        }
    }

    private static Location? Locate(GrammarProblem problem, AttributeData attribute, SymbolAnalysisContext context)
    {
        if (problem.File is { } name && GrammarDeclaration.Find(context.Options.AdditionalFiles, name).FirstOrDefault() is { } file && file.GetText(context.CancellationToken) is { } text)
        {
            int line = problem.Place is { } place ? System.Math.Min(place.Line, text.Lines.Count) - 1 : 0;
            int column = problem.Place is { } at ? System.Math.Min(at.Column - 1, text.Lines[line].Span.Length) : 0;
            int start = text.Lines[line].Start + column;
            var span = new TextSpan(start, System.Math.Min(1, text.Length - start));
            return Location.Create(file.Path, span, text.Lines.GetLinePositionSpan(span));
        }

        if (attribute.ApplicationSyntaxReference?.GetSyntax(context.CancellationToken) is not AttributeSyntax syntax)
        {
            return null;
        }

        AttributeArgumentSyntax? argument = problem.Argument is null ? null : syntax.ArgumentList?.Arguments.FirstOrDefault(given
            => (given.NameEquals?.Name.Identifier.ValueText ?? (given.NameColon is { } colon ? DeclaredAttribute.PropertyName(colon.Name.Identifier.ValueText) : problem.Argument is "Gbnf" or "Schema" ? problem.Argument : null)) == problem.Argument);
        return argument?.Expression.GetLocation() ?? syntax.Name.GetLocation();
    }
}
