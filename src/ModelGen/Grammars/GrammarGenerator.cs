using System;
using System.Collections.Immutable;
using System.Globalization;
using System.Linq;
using System.Threading;
using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.CSharp;
using Microsoft.CodeAnalysis.CSharp.Syntax;
using Microsoft.CodeAnalysis.Text;
using ModelGen.Compiler.Declarations;
using ModelGen.Compiler.Diagnostics;
using ModelGen.Compiler.Emit;
using ModelGen.Compiler.Emit.CSharp;

namespace ModelGen.Compiler.Grammars;

/// <summary>
/// Compiles the grammars and JSON schemas that a project declares to constant data: their rules, the states of their automata, and, for a vocabulary that is known, the masks of tokens. Problems are reported by <see cref="GrammarAnalyzer"/>.
/// </summary>
[Generator(LanguageNames.CSharp)]
public sealed class GrammarGenerator : IIncrementalGenerator
{
    // More states are found at run time, as they are needed.
    private const int LargestStates = 512;

    // Numbers in a line of data.
    private const int Columns = 12;

    /// <inheritdoc/>
    public void Initialize(IncrementalGeneratorInitializationContext context)
    {
        IncrementalValueProvider<ImmutableArray<AdditionalText>> files = context.AdditionalTextsProvider.Collect();
        foreach (string name in new[] { GrammarDeclaration.GrammarName, GrammarDeclaration.SchemaName })
        {
            IncrementalValuesProvider<GrammarDeclaration> declarations = context.SyntaxProvider
                .ForAttributeWithMetadataName(
                    name,
                    static (node, _) => node is TypeDeclarationSyntax,
                    static (target, cancellation) => target.TargetSymbol is INamedTypeSymbol type ? GrammarDeclaration.Read(type, target.Attributes[0], cancellation) : null)
                .Where(static declaration => declaration is { Unsupported: null })
                .Select(static (declaration, _) => declaration!)
                .WithTrackingName(StepNames.GrammarDeclaration);

            IncrementalValuesProvider<EmittedFile> emitted = declarations
                .Combine(files)
                .Select(static (pair, cancellation) => GrammarRequest.From(pair.Left, pair.Right, cancellation))
                .WithTrackingName(StepNames.GrammarRequest)
                .Select(static (request, cancellation) => Emit(request, cancellation))
                .WithTrackingName(StepNames.CompiledGrammar);

            context.RegisterSourceOutput(emitted, static (output, file) => output.AddSource(file.HintName, SourceText.From(file.Text, System.Text.Encoding.UTF8)));
        }
    }

    private static EmittedFile Emit(GrammarRequest request, CancellationToken cancellation)
    {
        (GrammarRules? rules, GrammarProblem? problem) = request.Parse();
        (TokenTable? tokens, GrammarProblem? second) = request.ParseVocabulary();
        problem ??= second;
        byte[] data = [];
        if (problem is null)
        {
            try
            {
                data = CompiledGrammar.Write(rules!, tokens, LargestStates, request.Declaration.MaskBytes, cancellation);
            }
            catch (GrammarException)
            {
                // More open rules than are kept: the rules alone, and the rest at run time.
                data = CompiledGrammar.Write(rules!, null, 1, 0, cancellation);
            }
        }

        TypeIdentity type = request.Declaration.Type;
        var w = new CodeWriter();
        w.Lines(ModelEmitter.Header);
        if (type.Namespace.Length > 0)
        {
            w.Open("namespace " + type.Namespace);
        }

        foreach (ContainerDeclaration container in type.Containers)
        {
            w.Open($"partial {container.Keyword} {container.NameWithTypeParameters}");
        }

        w.Open($"partial class {type.Name}");
        if (problem is not null)
        {
            w.Line("/// <summary>The declaration of this grammar is not valid.</summary>");
            w.Line($"public static global::ModelGen.Grammar Grammar => throw new global::System.InvalidOperationException({SymbolDisplay.FormatLiteral(problem.Describe(), quote: true)});");
        }
        else
        {
            Comment(w, request.Declaration.IsSchema ? "JSON by this schema:" : "This grammar:", request.Source, cancellation);
            w.Line($"public static global::ModelGen.Grammar Grammar {{ get; }} = global::ModelGen.Grammar.FromCompiled(global::System.Runtime.InteropServices.MemoryMarshal.AsBytes(CompiledGrammar).Slice(0, {data.Length.ToString(CultureInfo.InvariantCulture)}));");
            w.Line();
            w.Line("/// <summary>The rules of the grammar, the first states of its automaton, and the masks of a vocabulary's tokens in them, if one was given: eight bytes a number, the lowest first.</summary>");
            Table(w, "CompiledGrammar", data, cancellation);
        }

        w.Close();
        foreach (ContainerDeclaration _ in type.Containers)
        {
            w.Close();
        }

        if (type.Namespace.Length > 0)
        {
            w.Close();
        }

        return new EmittedFile(type.HintName + ".Grammar.g.cs", w.ToString());
    }

    // A compiler's time goes by the elements of a table, and most of it into their nullable states: eight bytes are one element, and none has a state.
    private static void Table(CodeWriter w, string name, byte[] data, CancellationToken cancellation)
    {
        string[] words = new string[(data.Length + 7) / 8];
        for (int i = 0; i < words.Length; i++)
        {
            ulong word = 0;
            for (int at = Math.Min(data.Length, (i * 8) + 8) - 1; at >= i * 8; at--)
            {
                word = (word << 8) | data[at];
            }

            words[i] = word < 10 ? word.ToString(CultureInfo.InvariantCulture) : "0x" + word.ToString("X", CultureInfo.InvariantCulture);
        }

        w.Line("#nullable disable");
        w.Line($"private static global::System.ReadOnlySpan<ulong> {name} => new ulong[]");
        w.Line("{");
        for (int start = 0; start < words.Length; start += Columns)
        {
            cancellation.ThrowIfCancellationRequested();
            w.Line("  " + string.Join(",", words, start, Math.Min(Columns, words.Length - start)) + ",");
        }

        w.Line("};");
        w.Line("#nullable enable");
    }

    // The text of the grammar as documentation, if it is one for people.
    private static void Comment(CodeWriter w, string what, string source, CancellationToken cancellation)
    {
        const int LargestLines = 40;
        string[] lines = source.Replace("\r", "").Split('\n');
        w.Line($"/// <summary>{what}");
        w.Line("/// <code>");
        foreach (string line in lines.Take(LargestLines))
        {
            cancellation.ThrowIfCancellationRequested();
            w.Line("/// " + new string([.. (line.Length > 200 ? line.Substring(0, 200) + "…" : line).Select(static c => c < ' ' || c is '\u0085' or '\u2028' or '\u2029' || char.IsSurrogate(c) ? ' ' : c)]).Replace("&", "&amp;").Replace("<", "&lt;").Replace(">", "&gt;"));
        }

        w.Line(lines.Length > LargestLines ? "/// …</code></summary>" : "/// </code></summary>");
    }
}
