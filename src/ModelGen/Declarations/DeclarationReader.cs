using System;
using System.Collections.Generic;
using System.Collections.Immutable;
using System.Globalization;
using System.Linq;
using System.Threading;
using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.CSharp;
using Microsoft.CodeAnalysis.CSharp.Syntax;
using ModelGen.Compiler.Diagnostics;
using ModelGen.Compiler.Families;
using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Ops;
using ModelGen.Compiler.Passes;
using ModelGen.Compiler.Programs;

namespace ModelGen.Compiler.Declarations;

/// <summary>
/// Reads a class's attributes into a <see cref="Declaration"/>. The generator and the analyzer share it, so that what
/// the one reports is what the other refuses to compile.
/// </summary>
internal static class DeclarationReader
{
    /// <summary>The first version of C# in which emitted code compiles.</summary>
    private const LanguageVersion MinimumLanguageVersion = LanguageVersion.CSharp12;

    /// <summary>Whether a node that carries a family's attribute may declare a model; only its kind is looked at.</summary>
    public static bool IsCandidate(SyntaxNode node, CancellationToken cancellation) => node is TypeDeclarationSyntax;

    /// <summary>
    /// Reads the declaration for the generator; null when another attribute of the same class already stands for it,
    /// so that a class that carries several is emitted once.
    /// </summary>
    public static Declaration? Read(GeneratorAttributeSyntaxContext context, IFamily family, CancellationToken cancellation)
    {
        if (context.TargetSymbol is not INamedTypeSymbol type)
        {
            return null;
        }

        DeclaredAttributes attributes = DeclaredAttributes.Of(type, cancellation);
        return attributes.Families.Count > 0
            && attributes.Families[0].Family == family
            && attributes.Families[0].Attribute.Syntax is { } syntax
            && syntax.SyntaxTree == context.TargetNode.SyntaxTree
            && context.TargetNode.FullSpan.Contains(syntax.Span)
                ? Read(type, attributes, context.SemanticModel.Compilation, cancellation)
                : null;
    }

    /// <summary>Reads the declaration of a class that carries at least one family's attribute.</summary>
    public static Declaration Read(INamedTypeSymbol type, DeclaredAttributes attributes, Compilation compilation, CancellationToken cancellation)
    {
        (IFamily family, DeclaredAttribute attribute) = attributes.Families[0];
        bool hasErrors = attribute.HasErrors || attributes.Training is { HasErrors: true } || attributes.Budget is { HasErrors: true } || attributes.Cuda is { HasErrors: true } || attributes.Lora is { HasErrors: true };
        var spec = new ModelSpec(
            TypeIdentityReader.Read(type),
            family.Name,
            attribute.ToValues(),
            ReadTraining(attributes.Training, family),
            ReadBudget(attributes.Budget))
        {
            HasCuda = attributes.Cuda is not null,
            CudaPrecision = (CudaPrecision)(attributes.Cuda?.Integer("Precision", 0) ?? 0),
            CudaRounding = (CudaRounding)(attributes.Cuda?.Integer("Rounding", 0) ?? 0),
            CudaLaunches = (CudaLaunches)(attributes.Cuda?.Integer("Launches", 0) ?? 0),
            CudaProducts = (CudaProducts)(attributes.Cuda?.Integer("Products", 0) ?? 0),
            WeightsOf = attribute.Strings("WeightsOf"),
            Lora = ReadLora(attributes.Lora),
        };

        var problems = new List<SpecProblem>();
        bool canExtend = TypeChecks.Check(type, attribute, compilation, cancellation, problems.Add);
        canExtend &= CheckCompilation(type, attribute, compilation, problems);
        CheckFamilies(type, attributes, problems);
        cancellation.ThrowIfCancellationRequested();
        if (!hasErrors)
        {
            CheckChoices(attribute, null, problems);
            if (attributes.Cuda is { } cuda)
            {
                CheckChoices(cuda, DeclaredAttributes.CudaPath, problems);
            }

            CheckTraining(attributes.Training, family, spec, problems);
            CheckBudget(attributes.Budget, attributes.Training is not null, problems);
            CheckWeights(spec, problems);
            family.Validate(spec, problems.Add);
            bool isLora = CheckLora(attributes.Lora, spec, problems);
            if (problems.Count == 0 && isLora)
            {
                CheckParameters(family.Describe(spec), spec, problems);
            }
        }

        return new Declaration(spec, new EquatableArray<SpecProblem>([.. problems]), hasErrors, canExtend);
    }

    private static TrainingSpec? ReadTraining(DeclaredAttribute? training, IFamily family)
        => training is null
            ? null
            : new TrainingSpec(
                (int)training.Integer("BatchSize", 0),
                family.HasSequence ? (int)training.Integer("SequenceLength", 0) : 1)
            {
                Frozen = training.Strings("Frozen"),
                SourceLength = (int)training.Integer("SourceLength", 0),
            };

    private static LoraSpec? ReadLora(DeclaredAttribute? lora)
    {
        if (lora is null)
        {
            return null;
        }

        int rank = (int)lora.Integer("Rank", 0);
        double alpha = lora.Real("Alpha", 0);
        return new LoraSpec(rank, alpha.Equals(0.0) ? rank : alpha, lora.Real("Dropout", 0), lora.Has("On") ? lora.Strings("On") : ["*"]);
    }

    private static MemoryBudgetSpec? ReadBudget(DeclaredAttribute? budget)
        => budget is null ? null : new MemoryBudgetSpec(budget.Integer("InferenceBytes", 0), budget.Integer("TrainingBytes", 0));

    /// <summary>Checks what the whole project must allow; false when emitted code could not even be parsed.</summary>
    private static bool CheckCompilation(INamedTypeSymbol type, DeclaredAttribute attribute, Compilation compilation, List<SpecProblem> problems)
    {
        if (compilation is not CSharpCompilation { Options.AllowUnsafe: true })
        {
            problems.Add(new SpecProblem(DiagnosticIds.UnsafeNotAllowed, null, [type.Name]));
        }

        // The options of the tree, not of the compilation: that is what the emitted trees are parsed with.
        if (attribute.Syntax?.SyntaxTree.Options is CSharpParseOptions { LanguageVersion: < MinimumLanguageVersion } options)
        {
            problems.Add(new SpecProblem(DiagnosticIds.LanguageVersionTooOld, null, [type.Name, options.LanguageVersion.ToDisplayString()]));
            return false;
        }

        return true;
    }

    private static void CheckFamilies(INamedTypeSymbol type, DeclaredAttributes attributes, List<SpecProblem> problems)
    {
        string first = attributes.Families[0].Family.Name;
        IEnumerable<string> others = attributes.Families.Select(family => family.Family.Name).Distinct().Where(name => name != first);
        foreach (string other in others)
        {
            problems.Add(new SpecProblem(DiagnosticIds.SeveralFamilies, null, [type.Name, first, other], other));
        }
    }

    /// <param name="attribute">The attribute.</param>
    /// <param name="name">Its name where it is not the family's.</param>
    /// <param name="problems">What is wrong with it.</param>
    private static void CheckChoices(DeclaredAttribute attribute, string? name, List<SpecProblem> problems)
    {
        foreach (KeyValuePair<string, TypedConstant> argument in attribute.Arguments)
        {
            IReadOnlyList<TypedConstant> choices = argument.Value is { Kind: TypedConstantKind.Array, IsNull: false } ? argument.Value.Values : ImmutableArray.Create(argument.Value);
            for (int element = 0; element < choices.Count; element++)
            {
                if (choices[element] is { Kind: TypedConstantKind.Enum, Type: { } type, Value: { } value })
                {
                    List<IFieldSymbol> members = [.. type.GetMembers().OfType<IFieldSymbol>().Where(member => member.HasConstantValue)];
                    if (!members.Any(member => value.Equals(member.ConstantValue)))
                    {
                        problems.Add(new SpecProblem(
                            DiagnosticIds.UndefinedChoice,
                            argument.Key,
                            [argument.Key, type.Name, string.Join(", ", members.Select(member => member.Name)), string.Format(CultureInfo.InvariantCulture, "{0}", value)],
                            name)
                        { Element = element });
                    }
                }
            }
        }
    }

    private static void CheckTraining(DeclaredAttribute? training, IFamily family, ModelSpec spec, List<SpecProblem> problems)
    {
        if (training is null)
        {
            return;
        }

        var checks = new ArgumentChecks(training.ToValues(), DeclaredAttributes.Trainable, DeclaredAttributes.Trainable, problems.Add);
        checks.RequireSize("BatchSize");
        if (checks.OptionalSize("SourceLength", minimum: 0) && training.Integer("SourceLength", 0) > 0 && family.Describe(spec).Adapter != ProgramAdapter.EncoderDecoder)
        {
            problems.Add(new SpecProblem(DiagnosticIds.UnsupportedCombination, "SourceLength", ["SourceLength", $"[{family.Name}]", "it has no sources"], DeclaredAttributes.Trainable));
        }

        if (family.HasSequence)
        {
            checks.RequireSize("SequenceLength");
        }
        else if (training.Has("SequenceLength"))
        {
            problems.Add(new SpecProblem(
                DiagnosticIds.SequenceLengthWithoutSequence,
                "SequenceLength",
                [family.Name],
                DeclaredAttributes.Trainable));
        }
    }

    /// <summary>Checks that what the weights' format asks for is there to be had.</summary>
    private static void CheckWeights(ModelSpec spec, List<SpecProblem> problems)
    {
        const string Trained = "weights are trained in single precision or bfloat16", OnDevice = "a device trains single precision: leave it out and write [Cuda(Precision = CudaPrecision.BF16)], where products multiply copies in bfloat16 of master weights in single precision";
        bool isTrained = spec.Training is not null && spec.Lora is null;
        for (int i = 0; i < spec.WeightsOf.Count; i++)
        {
            if (WeightFormats.Rule(spec.WeightsOf[i]) is { } rule)
            {
                if (isTrained && rule.Format is not (WeightFormat.F32 or WeightFormat.BF16))
                {
                    problems.Add(new SpecProblem(DiagnosticIds.UnsupportedCombination, "WeightsOf", [$"WeightFormat.{rule.Format}", "[Trainable] without [Lora]", Trained]) { Element = i });
                }
                else if (isTrained && spec.HasCuda && rule.Format == WeightFormat.BF16)
                {
                    problems.Add(new SpecProblem(DiagnosticIds.UnsupportedCombination, "WeightsOf", [$"WeightFormat.{rule.Format}", "[Trainable] with [Cuda]", OnDevice]) { Element = i });
                }
            }
            else
            {
                problems.Add(new SpecProblem(DiagnosticIds.OutOfRange, "WeightsOf", ["WeightsOf", $"a pattern of names and one of {string.Join(", ", Enum.GetNames(typeof(WeightFormat)))} behind a colon", $"'{spec.WeightsOf[i]}'"]) { Element = i });
            }
        }

        if (spec.CudaRounding == CudaRounding.Stochastic && spec.CudaPrecision != CudaPrecision.BF16)
        {
            problems.Add(new SpecProblem(DiagnosticIds.UnsupportedCombination, "Rounding", ["CudaRounding.Stochastic", $"CudaPrecision.{spec.CudaPrecision}", "bfloat16 alone is rounded by draws"], DeclaredAttributes.CudaPath));
        }

        if (spec.WeightFormat == WeightFormat.F32 || !Enum.IsDefined(typeof(WeightFormat), spec.WeightFormat))
        {
            return;
        }

        if (isTrained && spec.WeightFormat != WeightFormat.BF16)
        {
            problems.Add(new SpecProblem(DiagnosticIds.UnsupportedCombination, "Weights", [$"WeightFormat.{spec.WeightFormat}", "[Trainable] without [Lora]", Trained]));
        }

        if (isTrained && spec.HasCuda && spec.WeightFormat == WeightFormat.BF16)
        {
            problems.Add(new SpecProblem(DiagnosticIds.UnsupportedCombination, "Weights", [$"WeightFormat.{spec.WeightFormat}", "[Trainable] with [Cuda]", OnDevice]));
        }
    }

    /// <summary>Checks what adapters are asked for, but for the weights that they are to be on; whether those can be looked for.</summary>
    private static bool CheckLora(DeclaredAttribute? lora, ModelSpec spec, List<SpecProblem> problems)
    {
        if (lora is null)
        {
            return true;
        }

        var checks = new ArgumentChecks(lora.ToValues(), DeclaredAttributes.LowRank, DeclaredAttributes.LowRank, problems.Add);
        bool isRank = checks.RequireSize("Rank");
        bool isRest = checks.OptionalPositiveOrZero("Alpha") & checks.OptionalProbability("Dropout");
        return isRank && isRest && (spec.Training is not { } training
            || checks.AtMost("Rank", "The number of elements of the largest activation", (double)training.BatchSize * Math.Max(training.SequenceLength, training.SourceLength) * spec.Lora!.Rank, SizeLimits.TensorElements));
    }

    /// <summary>Checks what the declaration says of parameters by their names: which are frozen, and which are adapted.</summary>
    private static void CheckParameters(ModelProgram program, ModelSpec spec, List<SpecProblem> problems)
    {
        bool hasFrozen = program.Training is { Frozen.Count: > 0 } && program.Find(EntryKind.Step) is not null;
        if (!hasFrozen && spec.Lora is null)
        {
            return;
        }

        ModelGraph[] graphs = [.. program.Entries.Where(entry => spec.Lora is not null || entry.Kind == EntryKind.Step).Select(entry => entry.Build())];
        if (spec.Lora is { } lora)
        {
            CheckAdapted(graphs, lora, problems);
            if (problems.Count > 0)
            {
                return;
            }

            graphs = LowRankAdapters.Add(graphs, lora, program.Entries);
        }

        if (hasFrozen)
        {
            CheckFrozen(program, graphs[spec.Lora is null ? 0 : program.Entries.ToList().FindIndex(entry => entry.Kind == EntryKind.Step)], problems);
        }
    }

    /// <summary>Checks that every pattern is one of weights that take adapters, and that these are of a size to count.</summary>
    private static void CheckAdapted(ModelGraph[] graphs, LoraSpec lora, List<SpecProblem> problems)
    {
        IReadOnlyList<Parameter> candidates = LowRankAdapters.Candidates(graphs, out IReadOnlyCollection<string> repeated);
        for (int i = 0; i < lora.On.Count; i++)
        {
            if (!candidates.Any(weight => LowRankAdapters.Fits(weight, lora.On[i])))
            {
                problems.Add(new SpecProblem(DiagnosticIds.OutOfRange, "On", ["On", "a pattern of names of weights that only linear layers read", $"'{lora.On[i]}'"], DeclaredAttributes.LowRank) { Element = i });
            }
        }

        if (lora.On.Count == 0)
        {
            problems.Add(new SpecProblem(DiagnosticIds.OutOfRange, "On", ["On", "one pattern of names or more", "an empty list"], DeclaredAttributes.LowRank));
        }

        Parameter[] adapted = [.. candidates.Where(weight => LowRankAdapters.Fits(weight, lora))];
        new ArgumentChecks([], DeclaredAttributes.LowRank, DeclaredAttributes.LowRank, problems.Add).AtMost(
            "Rank", "The number of elements of the largest parameter", adapted.Select(weight => (double)lora.Rank * Math.Max(weight.Shape[0].Maximum, weight.Shape[1].Maximum)).DefaultIfEmpty(0).Max(), SizeLimits.TensorElements);
        if (lora.Dropout > 0 && adapted.FirstOrDefault(weight => repeated.Contains(weight.ParameterName)) is { } inScan)
        {
            problems.Add(new SpecProblem(DiagnosticIds.UnsupportedCombination, "Dropout", ["Dropout", $"an adapter of {inScan.ParameterName}", "a recurrence reads it anew in each step"], DeclaredAttributes.LowRank));
        }
    }

    /// <summary>Checks that what is to be frozen exists, and that something is left to train.</summary>
    private static void CheckFrozen(ModelProgram program, ModelGraph step, List<SpecProblem> problems)
    {
        Parameter[] parameters = [.. LowRankAdapters.Trained(step)];
        EquatableArray<string> frozen = program.Training!.Frozen;
        foreach (string beginning in frozen)
        {
            if (!parameters.Any(ParameterGroup.Of(beginning).Contains))
            {
                problems.Add(new SpecProblem(DiagnosticIds.OutOfRange, "Frozen", ["Frozen", "what names of parameters begin with", $"'{beginning}'"], DeclaredAttributes.Trainable));
            }
        }

        if (parameters.All(program.Frozen.Contains))
        {
            problems.Add(new SpecProblem(DiagnosticIds.OutOfRange, "Frozen", ["Frozen", "a part of the parameters", "all of them"], DeclaredAttributes.Trainable));
        }
    }

    private static void CheckBudget(DeclaredAttribute? budget, bool isTrainable, List<SpecProblem> problems)
    {
        if (budget is null)
        {
            return;
        }

        // Zero stands for no limit.
        var checks = new ArgumentChecks(budget.ToValues(), DeclaredAttributes.MemoryBudget, DeclaredAttributes.MemoryBudget, problems.Add);
        checks.OptionalSize("InferenceBytes", minimum: 0);
        if (checks.OptionalSize("TrainingBytes", minimum: 0) && budget.Integer("TrainingBytes", 0) > 0 && !isTrainable)
        {
            problems.Add(new SpecProblem(
                DiagnosticIds.UnsupportedCombination,
                "TrainingBytes",
                ["TrainingBytes", "a model without [Trainable]", "it has no training code to keep within a budget"],
                DeclaredAttributes.MemoryBudget));
        }
    }
}
