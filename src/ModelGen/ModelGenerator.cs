using System;
using System.Linq;
using System.Threading;
using Microsoft.CodeAnalysis;
using ModelGen.Compiler.Declarations;
using ModelGen.Compiler.Diagnostics;
using ModelGen.Compiler.Families;
using ModelGen.Compiler.Targets.Cpu;

namespace ModelGen.Compiler;

/// <summary>
/// Writes the models that a project declares: attributes to a <see cref="ModelSpec"/>, a <see cref="ModelSpec"/> to
/// source files. Problems of a declaration are reported by <see cref="ModelDeclarationAnalyzer"/>, not here: a
/// location in the pipeline would compile a model again whenever a line above it is edited.
/// </summary>
[Generator(LanguageNames.CSharp)]
public sealed class ModelGenerator : IIncrementalGenerator
{
    private readonly Func<ModelSpec, CacheSizes, CancellationToken, CompiledModel> _compile;
    private readonly Func<ModelSpec, string, CancellationToken, CompiledModel> _compileSurface;

    /// <summary>Creates the generator, as the C# compiler does.</summary>
    public ModelGenerator()
        : this(ModelCompiler.Compile, ModelCompiler.CompileSurface)
    {
    }

    /// <summary>Creates a generator around another compiler of models: tests show what becomes of one that fails.</summary>
    internal ModelGenerator(
        Func<ModelSpec, CacheSizes, CancellationToken, CompiledModel> compile,
        Func<ModelSpec, string, CancellationToken, CompiledModel> compileSurface)
    {
        _compile = compile;
        _compileSurface = compileSurface;
    }

    /// <inheritdoc/>
    public void Initialize(IncrementalGeneratorInitializationContext context)
    {
        IncrementalValueProvider<CacheSizes> caches = context.AnalyzerConfigOptionsProvider
            .Select(static (options, _) => CacheOptions.Read(options.GlobalOptions))
            .WithTrackingName(StepNames.Caches);
        foreach (IFamily family in FamilyRegistry.All)
        {
            IncrementalValuesProvider<Declaration> declarations = context.SyntaxProvider
                .ForAttributeWithMetadataName(
                    family.AttributeMetadataName,
                    DeclarationReader.IsCandidate,
                    (target, cancellation) => DeclarationReader.Read(target, family, cancellation))
                .Where(static declaration => declaration is { CanExtend: true })
                .Select(static (declaration, _) => declaration!)
                .WithTrackingName(StepNames.Declaration);

            IncrementalValuesProvider<CompileRequest> requests = declarations
                .Combine(caches)
                .Select(static (pair, _) => CompileRequest.From(pair.Left, pair.Right))
                .WithTrackingName(StepNames.ModelSpec);

            IncrementalValuesProvider<CompileOutcome> outcomes = requests
                .Select(Compile)
                .WithTrackingName(StepNames.CompiledModel);

            context.RegisterSourceOutput(outcomes, Emit);

            // Where a declaration stands is looked up of those that failed alone: others have nothing to do with an edit elsewhere.
            context.RegisterSourceOutput(outcomes.Where(static outcome => outcome.Failure is not null).Combine(context.CompilationProvider), (output, pair) => Report(output, pair.Left, pair.Right, family));
        }
    }

    private CompileOutcome Compile(CompileRequest request, CancellationToken cancellation)
    {
        string? failure = null;
        bool isLimit = false;
        EquatableArray<EmittedFile> files = [];
        if (request.Problem is null)
        {
            failure = Attempt(() => files = _compile(request.Spec, request.Caches, cancellation).Files, out isLimit);
        }

        // A model that cannot be compiled still gets its surface, so that its uses are no errors of their own.
        if ((request.Problem ?? failure) is { } problem)
        {
            string? second = Attempt(() => files = _compileSurface(request.Spec, problem, cancellation).Files, out _);
            failure ??= second;
        }

        return new CompileOutcome(request.Spec.Type, files, failure) { IsDeviceLimit = isLimit };
    }

    /// <summary>Runs a part of the compiler; the text of the exception if it has a defect, or if the model is beyond what a device counts. Being cancelled is none.</summary>
    private static string? Attempt(Action action, out bool isDeviceLimit)
    {
        isDeviceLimit = false;
        try
        {
            action();
            return null;
        }
        catch (Graph.DeviceLimitException exception)
        {
            isDeviceLimit = true;
            return exception.Message;
        }
        catch (Exception exception) when (exception is not OperationCanceledException)
        {
            return exception.GetType().Name + ": " + exception.Message.Replace("\r", "").Replace('\n', ' ');
        }
    }

    private static void Emit(SourceProductionContext context, CompileOutcome outcome)
    {
        foreach (EmittedFile file in outcome.Files)
        {
            context.CancellationToken.ThrowIfCancellationRequested();
            context.AddSource(file.HintName, Microsoft.CodeAnalysis.Text.SourceText.From(file.Text, System.Text.Encoding.UTF8));
        }
    }

    private static void Report(SourceProductionContext context, CompileOutcome outcome, Compilation compilation, IFamily family)
    {
        // By the attribute that asks for too much, or that the compiler has failed with.
        string attribute = outcome.IsDeviceLimit ? "ModelGen.CudaAttribute" : family.AttributeMetadataName;
        INamedTypeSymbol? type = compilation.GetSymbolsWithName(outcome.Type.Name.TrimStart('@'), SymbolFilter.Type, context.CancellationToken)
            .OfType<INamedTypeSymbol>()
            .FirstOrDefault(symbol => TypeIdentityReader.Read(symbol) == outcome.Type);
        SyntaxReference? place = type?.GetAttributes().FirstOrDefault(data => data.AttributeClass?.ToDisplayString() == attribute)?.ApplicationSyntaxReference;
        Location location = place?.GetSyntax(context.CancellationToken).GetLocation() ?? type?.Locations.FirstOrDefault() ?? Location.None;
        context.ReportDiagnostic(Diagnostic.Create(outcome.IsDeviceLimit ? DiagnosticDescriptors.DeviceLimit : DiagnosticDescriptors.InternalError, location, outcome.Type.Name, outcome.Failure));
    }
}
