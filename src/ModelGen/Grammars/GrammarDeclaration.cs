using System;
using System.Collections.Generic;
using System.Collections.Immutable;
using System.Linq;
using System.Threading;
using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.CSharp.Syntax;
using ModelGen.Compiler.Declarations;
using ModelGen.Compiler.Diagnostics;

namespace ModelGen.Compiler.Grammars;

/// <summary>A grammar's declaration as values.</summary>
/// <param name="Type">The class.</param>
/// <param name="IsSchema">Whether it is a JSON schema and no grammar.</param>
/// <param name="Text">The text, where the attribute has it.</param>
/// <param name="File">The name of the file that has the text, where the attribute has it not.</param>
/// <param name="Vocabulary">The name of the file with the vocabulary.</param>
/// <param name="MaskBytes">How many bytes masks may have.</param>
/// <param name="Unsupported">Why the class cannot be extended; null if it can.</param>
internal sealed record GrammarDeclaration(TypeIdentity Type, bool IsSchema, string? Text, string? File, string? Vocabulary, int MaskBytes, string? Unsupported)
{
    public const string GrammarName = "ModelGen.GrammarAttribute";
    public const string SchemaName = "ModelGen.JsonSchemaAttribute";

    public const int LargestMaskBytes = 1 << 24;

    /// <summary>Reads the declaration of an attribute that the C# compiler takes no offence at; null otherwise.</summary>
    public static GrammarDeclaration? Read(INamedTypeSymbol type, AttributeData attribute, CancellationToken cancellation)
    {
        bool isSchema = attribute.AttributeClass?.Name == "JsonSchemaAttribute";
        var declared = new DeclaredAttribute(isSchema ? "JsonSchema" : "Grammar", attribute);
        if (declared.HasErrors)
        {
            return null;
        }

        return new GrammarDeclaration(
            TypeIdentityReader.Read(type),
            isSchema,
            String(isSchema ? "Schema" : "Gbnf"),
            String("File"),
            String("Vocabulary"),
            (int)declared.Integer("MaskBytes", 1 << 18),
            WhyNot(type, attribute, cancellation));

        string? String(string name) => declared.Arguments.FirstOrDefault(argument => argument.Key == name).Value is { Kind: TypedConstantKind.Primitive, Value: string value } ? value : null;
    }

    /// <summary>The attributes on a class that declare a grammar.</summary>
    public static IEnumerable<AttributeData> AttributesOf(INamedTypeSymbol type)
        => type.GetAttributes().Where(static attribute => attribute.AttributeClass?.ToDisplayString() is GrammarName or SchemaName);

    /// <summary>The files whose path a name is the end of.</summary>
    public static IEnumerable<AdditionalText> Find(ImmutableArray<AdditionalText> files, string name)
    {
        string wanted = "/" + name.Replace('\\', '/').TrimStart('/');
        return files.Where(file => ("/" + file.Path.Replace('\\', '/')).EndsWith(wanted, StringComparison.Ordinal));
    }

    private static string? WhyNot(INamedTypeSymbol type, AttributeData attribute, CancellationToken cancellation)
    {
        if (type.TypeKind != TypeKind.Class || type.IsRecord)
        {
            return "it is no class";
        }

        if (type.Arity > 0)
        {
            return "it is generic";
        }

        if (AttributesOf(type).Count() > 1)
        {
            return "it declares two";
        }

        for (INamedTypeSymbol? symbol = type; symbol is not null; symbol = symbol.ContainingType)
        {
            if (symbol.IsFileLocal)
            {
                return "it is visible in one file only";
            }
        }

        foreach (BaseTypeDeclarationSyntax around in attribute.ApplicationSyntaxReference?.GetSyntax(cancellation).Ancestors().OfType<BaseTypeDeclarationSyntax>() ?? [])
        {
            if (!TypeChecks.IsPartial(around))
            {
                return $"'{around.Identifier.ValueText}' is not partial";
            }
        }

        return null;
    }
}

/// <summary>What is wrong with a declaration of a grammar.</summary>
/// <param name="Id">The diagnostic.</param>
/// <param name="Arguments">Its arguments.</param>
/// <param name="File">The file that is to blame, if it is one.</param>
/// <param name="Place">Where in that file, or in the attribute's text.</param>
/// <param name="Argument">The attribute's argument that is to blame, where no file is.</param>
internal sealed record GrammarProblem(string Id, EquatableArray<string> Arguments, string? File, TextPlace? Place, string? Argument)
{
    public string Describe() => DiagnosticDescriptors.Describe(new Families.SpecProblem(Id, null, Arguments));
}

/// <summary>A declaration with the texts of the files that it names: all that is needed to compile it.</summary>
internal sealed record GrammarRequest(GrammarDeclaration Declaration, string Source, string? Vocabulary, GrammarProblem? Problem)
{
    /// <summary>Looks a declaration's files up.</summary>
    public static GrammarRequest From(GrammarDeclaration declaration, ImmutableArray<AdditionalText> files, CancellationToken cancellation)
    {
        string type = declaration.Type.Name;
        GrammarProblem? problem = null;
        string argument = declaration.IsSchema ? "Schema" : "Gbnf";
        if (declaration.Unsupported is { } why)
        {
            problem = new GrammarProblem(DiagnosticIds.GrammarOnOtherType, [type, why], null, null, null);
        }
        else if ((declaration.Text is null) == (declaration.File is null))
        {
            problem = new GrammarProblem(DiagnosticIds.GrammarFileMissing, [type, declaration.Text is null ? $"neither {argument} nor File is given" : $"both {argument} and File are given"], null, null, declaration.Text is null ? null : "File");
        }
        else if (declaration.MaskBytes is < 0 or > GrammarDeclaration.LargestMaskBytes)
        {
            problem = new GrammarProblem(DiagnosticIds.OutOfRange, ["MaskBytes", FormattableString.Invariant($"0 to {GrammarDeclaration.LargestMaskBytes}"), declaration.MaskBytes.ToString(System.Globalization.CultureInfo.InvariantCulture)], null, null, "MaskBytes");
        }

        string source = declaration.Text ?? (problem is null ? Read(declaration.File!, "File") : "");
        string? vocabulary = problem is null && declaration.Vocabulary is { } name ? Read(name, "Vocabulary") : null;
        return new GrammarRequest(declaration, source, vocabulary, problem);

        string Read(string name, string from)
        {
            AdditionalText[] found = [.. GrammarDeclaration.Find(files, name)];
            if (found.Length == 1 && found[0].GetText(cancellation) is { } text)
            {
                return text.ToString();
            }

            problem ??= new GrammarProblem(DiagnosticIds.GrammarFileMissing, [type, found.Length > 1 ? $"several of the project's AdditionalFiles end in '{name}'" : $"none of the project's AdditionalFiles ends in '{name}'"], null, null, from);
            return "";
        }
    }

    /// <summary>The rules, or what is wrong.</summary>
    public (GrammarRules? Rules, GrammarProblem? Problem) Parse()
    {
        if (Problem is not null)
        {
            return (null, Problem);
        }

        try
        {
            return (Declaration.IsSchema ? JsonSchemaGrammar.Read(Source) : GrammarReader.Read(Source), null);
        }
        catch (GrammarException exception)
        {
            return (null, new GrammarProblem(
                DiagnosticIds.GrammarWrong,
                [Declaration.Type.Name, exception.Message],
                Declaration.File,
                exception.Line > 0 ? new TextPlace(exception.Line, exception.Column) : null,
                Declaration.IsSchema ? "Schema" : "Gbnf"));
        }
    }

    /// <summary>The vocabulary, or what is wrong with it; neither where none is named.</summary>
    public (TokenTable? Tokens, GrammarProblem? Problem) ParseVocabulary()
    {
        if (Vocabulary is null || Problem is not null)
        {
            return (null, null);
        }

        try
        {
            return (TokenTableJson.IsOne(Vocabulary) ? TokenTableJson.Read(Vocabulary) : TokenTableText.Read(Vocabulary), null);
        }
        catch (GrammarException exception)
        {
            return (null, new GrammarProblem(DiagnosticIds.VocabularyWrong, [Declaration.Vocabulary!, exception.Message], Declaration.Vocabulary, exception.Line > 0 ? new TextPlace(exception.Line, exception.Column) : null, "Vocabulary"));
        }
    }
}
