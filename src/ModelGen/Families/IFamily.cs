using System;
using System.Collections.Generic;
using System.Linq;
using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Programs;

namespace ModelGen.Compiler.Families;

/// <summary>One model family: which attribute declares it, which declarations of it make sense, and what program one becomes.</summary>
internal interface IFamily
{
    /// <summary>The family's name, as <see cref="ModelSpec.Family"/> carries it.</summary>
    string Name { get; }

    /// <summary>The full metadata name of the attribute that declares a model of this family.</summary>
    string AttributeMetadataName { get; }

    /// <summary>Whether a trainer of this family is declared with a sequence length.</summary>
    bool HasSequence { get; }

    /// <summary>Reports everything that is wrong with a declaration, not only the first problem.</summary>
    void Validate(ModelSpec spec, Action<SpecProblem> report);

    /// <summary>
    /// A declaration's entry points. Their graphs are built only where <see cref="Validate"/> found nothing wrong; the rest is asked for
    /// any declaration, since an invalid one gets its members too.
    /// </summary>
    ModelProgram Describe(ModelSpec spec);
}

/// <summary>What the graph is for: dropout is part of a training graph only.</summary>
internal enum BuildMode
{
    Inference,
    Training,
}

/// <summary>
/// One thing wrong with a declaration. <paramref name="Argument"/> names the attribute argument to underline
/// (of the attribute <paramref name="Attribute"/>, or of the family's when null); null underlines the attribute itself.
/// </summary>
internal sealed record SpecProblem(string DiagnosticId, string? Argument, EquatableArray<string> MessageArguments, string? Attribute = null)
{
    /// <summary>Which element of a list argument to underline; -1 for the whole argument.</summary>
    public int Element { get; init; } = -1;

    /// <summary>When set, a type's name is underlined and no attribute: 0 is the model's class, 1 the type around it, and so on outwards.</summary>
    public int? EnclosingType { get; init; }
}

/// <summary>The families there are. A new family is a new file and a line here.</summary>
internal static class FamilyRegistry
{
    public static IReadOnlyList<IFamily> All { get; } =
    [
        new Gpt(),
        new Mlp(),
        new RecurrentLm(),
        new RecurrentRegressor(),
        new RecurrentTagger(),
        .. Bert.All,
        new Nnlm(),
        new WordAutoencoder(),
        new RecurrentSeq2Seq(),
        new Transformer(),
        new T5(),
        .. Decoder.All,
    ];

    public static IFamily Get(string name)
        => All.FirstOrDefault(family => family.Name == name) ?? throw new ArgumentException($"There is no model family '{name}'.", nameof(name));

    /// <summary>The forward graph of a valid declaration: that of its inference, or of its training with the loss.</summary>
    public static ModelGraph Build(this IFamily family, ModelSpec spec, BuildMode mode)
    {
        EntryKind kind = mode == BuildMode.Training ? EntryKind.Step : EntryKind.Infer;
        return (family.Describe(spec).Find(kind) ?? throw new ArgumentException($"The declaration has no entry point of the kind {kind}.", nameof(spec))).Build();
    }
}
