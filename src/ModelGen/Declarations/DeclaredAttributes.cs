using System.Collections.Generic;
using System.Threading;
using Microsoft.CodeAnalysis;
using ModelGen.Compiler.Families;

namespace ModelGen.Compiler.Declarations;

/// <summary>ModelGen's attributes on one type.</summary>
internal sealed class DeclaredAttributes
{
    public const string Trainable = "Trainable";

    public const string MemoryBudget = "MemoryBudget";

    public const string CudaPath = "Cuda";

    public const string LowRank = "Lora";

    private const string Namespace = "ModelGen";

    private const string Suffix = "Attribute";

    /// <summary>The attributes that declare a model, in the order of the source. The first one counts.</summary>
    public List<(IFamily Family, DeclaredAttribute Attribute)> Families { get; } = [];

    public DeclaredAttribute? Training { get; private set; }

    public DeclaredAttribute? Budget { get; private set; }

    public DeclaredAttribute? Cuda { get; private set; }

    public DeclaredAttribute? Lora { get; private set; }

    /// <summary>Whether there is any of them at all.</summary>
    public bool Any => Families.Count > 0 || Training is not null || Budget is not null || Cuda is not null || Lora is not null;

    public static DeclaredAttributes Of(INamedTypeSymbol type, CancellationToken cancellation)
    {
        var found = new DeclaredAttributes();
        foreach (AttributeData data in type.GetAttributes())
        {
            cancellation.ThrowIfCancellationRequested();
            if (data.AttributeClass is not { ContainingNamespace: { Name: Namespace, ContainingNamespace.IsGlobalNamespace: true } } attribute)
            {
                continue;
            }

            switch (attribute.Name)
            {
                case Trainable + Suffix:
                    found.Training ??= new DeclaredAttribute(Trainable, data);
                    break;
                case MemoryBudget + Suffix:
                    found.Budget ??= new DeclaredAttribute(MemoryBudget, data);
                    break;
                case CudaPath + Suffix:
                    found.Cuda ??= new DeclaredAttribute(CudaPath, data);
                    break;
                case LowRank + Suffix:
                    found.Lora ??= new DeclaredAttribute(LowRank, data);
                    break;
                default:
                    if (FindFamily(attribute.Name) is { } family)
                    {
                        found.Families.Add((family, new DeclaredAttribute(family.Name, data)));
                    }

                    break;
            }
        }

        return found;
    }

    /// <summary>The attribute that a problem's <see cref="SpecProblem.Attribute"/> names; the family's for null.</summary>
    public DeclaredAttribute? Find(string? name) => name switch
    {
        Trainable => Training,
        MemoryBudget => Budget,
        CudaPath => Cuda,
        LowRank => Lora,
        null => Families.Count > 0 ? Families[0].Attribute : null,
        _ => Families.Find(family => family.Family.Name == name).Attribute,
    };

    private static IFamily? FindFamily(string attributeClass)
    {
        foreach (IFamily family in FamilyRegistry.All)
        {
            if (family.AttributeMetadataName == Namespace + "." + attributeClass)
            {
                return family;
            }
        }

        return null;
    }
}
