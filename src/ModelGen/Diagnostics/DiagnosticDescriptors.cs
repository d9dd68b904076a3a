using System.Collections.Immutable;
using System.Globalization;
using System.Linq;
using Microsoft.CodeAnalysis;
using ModelGen.Compiler.Families;

namespace ModelGen.Compiler.Diagnostics;

/// <summary>What each diagnostic says. All are errors: none of these declarations can become a model.</summary>
internal static class DiagnosticDescriptors
{
    private const string Category = "ModelGen";

    private const string HelpRoot = "https://github.com/modelgen/modelgen/blob/main/docs/diagnostics/";

    public static readonly DiagnosticDescriptor NotPartial = new(
        DiagnosticIds.NotPartial,
        "A model's class must be partial",
        "'{0}' must be partial, so that its model can be added to it",
        Category,
        DiagnosticSeverity.Error,
        isEnabledByDefault: true,
        helpLinkUri: HelpRoot + DiagnosticIds.NotPartial + ".md");

    public static readonly DiagnosticDescriptor ContainerNotPartial = new(
        DiagnosticIds.ContainerNotPartial,
        "A type around a model's class must be partial",
        "'{0}' must be partial, because the model '{1}' is nested in it",
        Category,
        DiagnosticSeverity.Error,
        isEnabledByDefault: true,
        helpLinkUri: HelpRoot + DiagnosticIds.ContainerNotPartial + ".md");

    public static readonly DiagnosticDescriptor UnsupportedType = new(
        DiagnosticIds.UnsupportedType,
        "This kind of type cannot be a model",
        "'{0}' cannot be a model, because it is {1}; declare a plain partial class",
        Category,
        DiagnosticSeverity.Error,
        isEnabledByDefault: true,
        helpLinkUri: HelpRoot + DiagnosticIds.UnsupportedType + ".md");

    public static readonly DiagnosticDescriptor SeveralFamilies = new(
        DiagnosticIds.SeveralFamilies,
        "A class declares one model",
        "'{0}' is already declared by [{1}]; a class declares one model, so remove [{2}] or move it to another class",
        Category,
        DiagnosticSeverity.Error,
        isEnabledByDefault: true,
        helpLinkUri: HelpRoot + DiagnosticIds.SeveralFamilies + ".md");

    public static readonly DiagnosticDescriptor NoFamily = new(
        DiagnosticIds.NoFamily,
        "An attribute that has no model to apply to",
        "[{0}] has no effect on '{1}', which declares no model; add one of {2}",
        Category,
        DiagnosticSeverity.Error,
        isEnabledByDefault: true,
        helpLinkUri: HelpRoot + DiagnosticIds.NoFamily + ".md");

    public static readonly DiagnosticDescriptor MissingArgument = new(
        DiagnosticIds.MissingArgument,
        "A required argument is missing",
        "[{0}] requires {1}",
        Category,
        DiagnosticSeverity.Error,
        isEnabledByDefault: true,
        helpLinkUri: HelpRoot + DiagnosticIds.MissingArgument + ".md");

    public static readonly DiagnosticDescriptor SizeTooSmall = new(
        DiagnosticIds.SizeTooSmall,
        "A size is too small",
        "{0} must be at least {1}, but is {2}",
        Category,
        DiagnosticSeverity.Error,
        isEnabledByDefault: true,
        helpLinkUri: HelpRoot + DiagnosticIds.SizeTooSmall + ".md");

    public static readonly DiagnosticDescriptor HeadsDoNotDivide = new(
        DiagnosticIds.HeadsDoNotDivide,
        "DModel must be a multiple of Heads, and Heads of KeyValueHeads",
        "{0} must be a multiple of {1}, but {2} is not a multiple of {3}",
        Category,
        DiagnosticSeverity.Error,
        isEnabledByDefault: true,
        helpLinkUri: HelpRoot + DiagnosticIds.HeadsDoNotDivide + ".md");

    public static readonly DiagnosticDescriptor ContextTooShort = new(
        DiagnosticIds.ContextTooShort,
        "SequenceLength must not exceed Context",
        "SequenceLength must not exceed Context, but is {0} where Context is {1}",
        Category,
        DiagnosticSeverity.Error,
        isEnabledByDefault: true,
        helpLinkUri: HelpRoot + DiagnosticIds.ContextTooShort + ".md");

    public static readonly DiagnosticDescriptor OutOfRange = new(
        DiagnosticIds.OutOfRange,
        "A value is out of range",
        "{0} must be {1}, but is {2}",
        Category,
        DiagnosticSeverity.Error,
        isEnabledByDefault: true,
        helpLinkUri: HelpRoot + DiagnosticIds.OutOfRange + ".md");

    public static readonly DiagnosticDescriptor UndefinedChoice = new(
        DiagnosticIds.UndefinedChoice,
        "A value that its enumeration does not define",
        "{0} must be one of {1}.{2}, but is {3}",
        Category,
        DiagnosticSeverity.Error,
        isEnabledByDefault: true,
        helpLinkUri: HelpRoot + DiagnosticIds.UndefinedChoice + ".md");

    public static readonly DiagnosticDescriptor UnsupportedCombination = new(
        DiagnosticIds.UnsupportedCombination,
        "Two arguments do not go together",
        "{0} cannot be combined with {1}: {2}",
        Category,
        DiagnosticSeverity.Error,
        isEnabledByDefault: true,
        helpLinkUri: HelpRoot + DiagnosticIds.UnsupportedCombination + ".md");

    public static readonly DiagnosticDescriptor TooFewSizes = new(
        DiagnosticIds.TooFewSizes,
        "A multilayer perceptron has at least two sizes",
        "[Mlp] requires at least two sizes, those of its input and its output, but has {0}",
        Category,
        DiagnosticSeverity.Error,
        isEnabledByDefault: true,
        helpLinkUri: HelpRoot + DiagnosticIds.TooFewSizes + ".md");

    public static readonly DiagnosticDescriptor OutputDoesNotFitLoss = new(
        DiagnosticIds.OutputDoesNotFitLoss,
        "The output size does not fit the loss",
        "Loss.{0} requires an output of {1}, but the output has size {2}",
        Category,
        DiagnosticSeverity.Error,
        isEnabledByDefault: true,
        helpLinkUri: HelpRoot + DiagnosticIds.OutputDoesNotFitLoss + ".md");

    public static readonly DiagnosticDescriptor SequenceLengthWithoutSequence = new(
        DiagnosticIds.SequenceLengthWithoutSequence,
        "SequenceLength given for a model without sequences",
        "[{0}] has no sequences, so SequenceLength has no meaning for it; remove it",
        Category,
        DiagnosticSeverity.Error,
        isEnabledByDefault: true,
        helpLinkUri: HelpRoot + DiagnosticIds.SequenceLengthWithoutSequence + ".md");

    public static readonly DiagnosticDescriptor TooLarge = new(
        DiagnosticIds.TooLarge,
        "The model is too large",
        "{0} must be at most {1}, but is {2}",
        Category,
        DiagnosticSeverity.Error,
        isEnabledByDefault: true,
        helpLinkUri: HelpRoot + DiagnosticIds.TooLarge + ".md");

    public static readonly DiagnosticDescriptor BudgetExceeded = new(
        DiagnosticIds.BudgetExceeded,
        "The model exceeds its memory budget",
        "{0} allows {1} bytes, but '{2}' needs {3}: {4}",
        Category,
        DiagnosticSeverity.Error,
        isEnabledByDefault: true,
        helpLinkUri: HelpRoot + DiagnosticIds.BudgetExceeded + ".md");

    public static readonly DiagnosticDescriptor UnsafeNotAllowed = new(
        DiagnosticIds.UnsafeNotAllowed,
        "A project with models must allow unsafe code",
        "'{0}' cannot be compiled, because its kernels use pointers and this project does not allow unsafe code; set AllowUnsafeBlocks to true in the project file",
        Category,
        DiagnosticSeverity.Error,
        isEnabledByDefault: true,
        helpLinkUri: HelpRoot + DiagnosticIds.UnsafeNotAllowed + ".md");

    public static readonly DiagnosticDescriptor LanguageVersionTooOld = new(
        DiagnosticIds.LanguageVersionTooOld,
        "Models need C# 12 or later",
        "'{0}' cannot be compiled as C# {1}; models need C# 12 or later, so raise or remove LangVersion in the project file",
        Category,
        DiagnosticSeverity.Error,
        isEnabledByDefault: true,
        helpLinkUri: HelpRoot + DiagnosticIds.LanguageVersionTooOld + ".md");

    public static readonly DiagnosticDescriptor MemberCollision = new(
        DiagnosticIds.MemberCollision,
        "A name that the model needs is taken",
        "'{0}' is a member of every [{1}] model; rename this one",
        Category,
        DiagnosticSeverity.Error,
        isEnabledByDefault: true,
        helpLinkUri: HelpRoot + DiagnosticIds.MemberCollision + ".md");

    public static readonly DiagnosticDescriptor UnsafeForbidden = new(
        DiagnosticIds.UnsafeForbidden,
        "Only emitted code may be unsafe here",
        "This project sets AllowUnsafeBlocks to false, so its own code cannot be unsafe; only what ModelGen emits is",
        Category,
        DiagnosticSeverity.Error,
        isEnabledByDefault: true,
        helpLinkUri: HelpRoot + DiagnosticIds.UnsafeForbidden + ".md");

    public static readonly DiagnosticDescriptor DeviceLimit = new(
        DiagnosticIds.DeviceLimit,
        "The model is more than a CUDA device counts",
        "The model '{0}' was not compiled, because [Cuda] asks for more than a device counts: {1}",
        Category,
        DiagnosticSeverity.Error,
        isEnabledByDefault: true,
        helpLinkUri: HelpRoot + DiagnosticIds.DeviceLimit + ".md");

    public static readonly DiagnosticDescriptor GrammarWrong = new(
        DiagnosticIds.GrammarWrong,
        "A grammar or a JSON schema is wrong",
        "The grammar of '{0}' was not compiled: {1}",
        Category,
        DiagnosticSeverity.Error,
        isEnabledByDefault: true,
        helpLinkUri: HelpRoot + DiagnosticIds.GrammarWrong + ".md");

    public static readonly DiagnosticDescriptor GrammarFileMissing = new(
        DiagnosticIds.GrammarFileMissing,
        "A grammar has no text",
        "The grammar of '{0}' was not compiled: {1}",
        Category,
        DiagnosticSeverity.Error,
        isEnabledByDefault: true,
        helpLinkUri: HelpRoot + DiagnosticIds.GrammarFileMissing + ".md");

    public static readonly DiagnosticDescriptor GrammarOnOtherType = new(
        DiagnosticIds.GrammarOnOtherType,
        "This type cannot have a grammar",
        "'{0}' cannot have a grammar, because {1}; declare it on a partial class of its own",
        Category,
        DiagnosticSeverity.Error,
        isEnabledByDefault: true,
        helpLinkUri: HelpRoot + DiagnosticIds.GrammarOnOtherType + ".md");

    public static readonly DiagnosticDescriptor VocabularyWrong = new(
        DiagnosticIds.VocabularyWrong,
        "A vocabulary file is wrong",
        "The vocabulary '{0}' was not read: {1}",
        Category,
        DiagnosticSeverity.Error,
        isEnabledByDefault: true,
        helpLinkUri: HelpRoot + DiagnosticIds.VocabularyWrong + ".md");

    public static readonly DiagnosticDescriptor InternalError = new(
        DiagnosticIds.InternalError,
        "The model compiler failed",
        "The model '{0}' was not compiled, because of a defect in ModelGen; please report it with the declaration: {1}",
        Category,
        DiagnosticSeverity.Error,
        isEnabledByDefault: true,
        helpLinkUri: HelpRoot + DiagnosticIds.InternalError + ".md");

    /// <summary>The diagnostics about declarations, which the analyzer reports.</summary>
    public static ImmutableArray<DiagnosticDescriptor> OfDeclarations { get; } = ImmutableArray.Create(
        NotPartial,
        ContainerNotPartial,
        UnsupportedType,
        SeveralFamilies,
        NoFamily,
        MissingArgument,
        SizeTooSmall,
        HeadsDoNotDivide,
        ContextTooShort,
        OutOfRange,
        UndefinedChoice,
        UnsupportedCombination,
        TooFewSizes,
        OutputDoesNotFitLoss,
        SequenceLengthWithoutSequence,
        TooLarge,
        BudgetExceeded,
        UnsafeNotAllowed,
        LanguageVersionTooOld,
        MemberCollision);

    /// <summary>The diagnostics about grammars, which their analyzer reports.</summary>
    public static ImmutableArray<DiagnosticDescriptor> OfGrammars { get; } = ImmutableArray.Create(
        GrammarWrong,
        GrammarFileMissing,
        GrammarOnOtherType,
        VocabularyWrong,
        OutOfRange);

    public static DiagnosticDescriptor Get(string id) => OfDeclarations.Concat(OfGrammars).First(descriptor => descriptor.Id == id);

    /// <summary>The problem as one line of text, for the exception that an invalid model's members throw.</summary>
    public static string Describe(SpecProblem problem)
        => problem.DiagnosticId + ": " + string.Format(
            CultureInfo.InvariantCulture,
            Get(problem.DiagnosticId).MessageFormat.ToString(CultureInfo.InvariantCulture),
            [.. problem.MessageArguments]);
}
