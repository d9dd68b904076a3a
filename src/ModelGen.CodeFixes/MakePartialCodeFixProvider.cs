using System;
using System.Collections.Generic;
using System.Collections.Immutable;
using System.Composition;
using System.Linq;
using System.Threading;
using System.Threading.Tasks;
using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.CodeActions;
using Microsoft.CodeAnalysis.CodeFixes;
using Microsoft.CodeAnalysis.CSharp;
using Microsoft.CodeAnalysis.CSharp.Syntax;
using ModelGen.Compiler.Diagnostics;

namespace ModelGen.CodeFixes;

/// <summary>Makes a model's class partial, and with it the types that it is nested in.</summary>
[ExportCodeFixProvider(LanguageNames.CSharp, Name = nameof(MakePartialCodeFixProvider))]
[Shared]
public sealed class MakePartialCodeFixProvider : CodeFixProvider
{
    private const string Title = "Make it partial";

    /// <inheritdoc/>
    public override ImmutableArray<string> FixableDiagnosticIds { get; } =
        ImmutableArray.Create(DiagnosticIds.NotPartial, DiagnosticIds.ContainerNotPartial);

    /// <summary>
    /// All fixes of a document are made in one edit: two models in one type ask for the same modifier, and merging two edits
    /// that insert it would insert it twice.
    /// </summary>
    public override FixAllProvider GetFixAllProvider()
        => FixAllProvider.Create(async (context, document, diagnostics)
            => await MakePartialAsync(document, diagnostics, context.CancellationToken).ConfigureAwait(false));

    /// <inheritdoc/>
    public override Task RegisterCodeFixesAsync(CodeFixContext context)
    {
        context.RegisterCodeFix(
            CodeAction.Create(
                Title,
                cancellation => MakePartialAsync(context.Document, context.Diagnostics, cancellation),
                equivalenceKey: Title),
            context.Diagnostics);
        return Task.CompletedTask;
    }

    private static async Task<Document> MakePartialAsync(Document document, ImmutableArray<Diagnostic> diagnostics, CancellationToken cancellation)
    {
        if (await document.GetSyntaxRootAsync(cancellation).ConfigureAwait(false) is not { } root)
        {
            return document;
        }

        IEnumerable<TypeDeclarationSyntax> types = diagnostics
            .SelectMany(diagnostic => root.FindToken(diagnostic.Location.SourceSpan.Start).Parent?.AncestorsAndSelf().OfType<TypeDeclarationSyntax>() ?? [])
            .Where(type => !type.Modifiers.Any(SyntaxKind.PartialKeyword))
            .Distinct();
        return document.WithSyntaxRoot(root.ReplaceNodes(types, static (_, type) => AddPartial(type)));
    }

    /// <summary>Adds the modifier where the language wants it, last, and leaves all white space and comments where they are.</summary>
    private static TypeDeclarationSyntax AddPartial(TypeDeclarationSyntax type)
    {
        SyntaxToken partial = SyntaxFactory.Token(SyntaxKind.PartialKeyword).WithTrailingTrivia(SyntaxFactory.Space);
        if (type.Modifiers.Count > 0)
        {
            return (TypeDeclarationSyntax)type.AddModifiers(partial);
        }

        // Without modifiers, what stands before the keyword belongs before the new one.
        SyntaxToken keyword = type.Keyword;
        return (TypeDeclarationSyntax)type
            .WithKeyword(keyword.WithLeadingTrivia())
            .AddModifiers(partial.WithLeadingTrivia(keyword.LeadingTrivia));
    }
}
