using System;
using System.Collections.Generic;
using ModelGen.Compiler.Graph;

namespace ModelGen.Compiler.Architectures;

/// <summary>One model family: which attribute declares it, which declarations of it make sense, and its forward graph.</summary>
internal interface IArchitecture
{
    /// <summary>The family's name, as <see cref="ModelSpec.Family"/> carries it.</summary>
    string Name { get; }

    /// <summary>The full metadata name of the attribute that declares a model of this family.</summary>
    string AttributeMetadataName { get; }

    /// <summary>Whether a trainer of this family is declared with a sequence length.</summary>
    bool HasSequence { get; }

    /// <summary>What kind of class a declaration becomes, valid or not.</summary>
    ModelSurface Surface(ModelSpec spec);

    /// <summary>Reports everything that is wrong with a declaration, not only the first problem.</summary>
    void Validate(ModelSpec spec, Action<SpecProblem> report);

    /// <summary>Builds the forward graph of a declaration that <see cref="Validate"/> found nothing wrong with.</summary>
    ModelGraph Build(ModelSpec spec, BuildMode mode);

    /// <summary>What files of such a declaration look like and record.</summary>
    FileConventions Files(ModelSpec spec);
}

/// <summary>
/// The kind of a model's public surface: whether it continues sequences of tokens (a session with prefill and decode), and
/// whether a trainer's targets are numbers rather than classes.
/// </summary>
internal sealed record ModelSurface(bool Streams, bool NumericTargets);

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
internal static class ArchitectureRegistry
{
    public static IReadOnlyList<IArchitecture> All { get; } = [new Gpt(), new Mlp(), new RecurrentLm()];

    public static IArchitecture Get(string family)
    {
        foreach (IArchitecture architecture in All)
        {
            if (architecture.Name == family)
            {
                return architecture;
            }
        }

        throw new ArgumentException($"There is no model family '{family}'.", nameof(family));
    }
}
