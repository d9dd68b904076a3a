using System;
using System.Collections.Generic;
using System.Linq;

namespace ModelGen.Compiler;

/// <summary>
/// What a declaration says, and nothing of where it says it. Every member is compared by value, since the
/// incremental pipeline decides by this equality whether a model is compiled again: no symbol, syntax node,
/// location or compilation may ever be held here.
/// </summary>
internal sealed record ModelSpec(
    TypeIdentity Type,
    string Family,
    EquatableArray<DeclaredArgument> Arguments,
    TrainingSpec? Training,
    MemoryBudgetSpec? Budget)
{
    /// <summary>Whether a path for CUDA devices is asked for.</summary>
    public bool HasCuda { get; init; }

    /// <summary>What that path rounds the factors of matrix products to.</summary>
    public CudaPrecision CudaPrecision { get; init; }

    /// <summary>How weights lie in memory while the model runs.</summary>
    public WeightFormat WeightFormat => Choice("Weights", WeightFormat.F32);

    /// <summary>The low-rank adapters that are asked for; null for none.</summary>
    public LoraSpec? Lora { get; init; }

    /// <summary>How the keys and values that sessions remember lie in memory.</summary>
    public CacheFormat KeyValueCache => Choice("KeyValueCache", CacheFormat.F32);

    /// <summary>Which kernels of that path are launched together.</summary>
    public CudaLaunches CudaLaunches { get; init; }

    /// <summary>Which products of that path are by groups of four warps.</summary>
    public CudaProducts CudaProducts { get; init; }

    /// <summary>How that path rounds factors in training, where they are rounded to bfloat16.</summary>
    public CudaRounding CudaRounding { get; init; }

    /// <summary>Patterns of parameters' names with the formats of those that they fit, as they were declared: <c>"*.v_proj.weight: Q6_K"</c>.</summary>
    public EquatableArray<string> WeightsOf { get; init; } = [];

    public bool Has(string name) => Find(name) is not null;

    public int Int(string name, int otherwise) => Find(name) is { } a ? checked((int)a.Integer) : otherwise;

    /// <summary>A size that stands for <paramref name="otherwise"/> where it is zero or not given.</summary>
    public int Size(string name, int otherwise) => Int(name, 0) is not 0 and int given ? given : otherwise;

    public double Real(string name, double otherwise) => Find(name) is { } a ? a.Real : otherwise;

    public bool Flag(string name, bool otherwise) => Find(name) is { } a ? a.Integer != 0 : otherwise;

    public TEnum Choice<TEnum>(string name, TEnum otherwise)
        where TEnum : struct, Enum
        => Find(name) is { } a ? (TEnum)Enum.ToObject(typeof(TEnum), (int)a.Integer) : otherwise;

    public EquatableArray<int> Ints(string name) => Find(name)?.Integers ?? [];

    public EquatableArray<double> Reals(string name) => Find(name)?.Reals ?? [];

    private DeclaredArgument? Find(string name)
    {
        foreach (DeclaredArgument argument in Arguments)
        {
            if (argument.Name == name)
            {
                return argument;
            }
        }

        return null;
    }
}

/// <summary>One argument of the family's attribute: a number, a flag (0 or 1), an enumeration value, or a list of integers or of real numbers.</summary>
internal sealed record DeclaredArgument(string Name, long Integer, double Real, EquatableArray<int> Integers)
{
    public EquatableArray<double> Reals { get; init; } = [];

    public static DeclaredArgument Of(string name, long value) => new(name, value, value, []);

    public static DeclaredArgument Of(string name, double value) => new(name, 0, value, []);

    public static DeclaredArgument Of(string name, IEnumerable<int> values) => new(name, 0, 0, new EquatableArray<int>(values.ToArray()));

    public static DeclaredArgument OfReals(string name, IEnumerable<double> values) => new(name, 0, 0, []) { Reals = new EquatableArray<double>(values.ToArray()) };
}

internal sealed record TrainingSpec(int BatchSize, int SequenceLength)
{
    /// <summary>The tokens of each source of a micro-batch; 0 where they are as many as those of the other sequence.</summary>
    public int SourceLength { get; init; }

    /// <summary>What the names of the parameters begin with that training leaves as they are.</summary>
    public EquatableArray<string> Frozen { get; init; } = [];
}

/// <summary>Low-rank adapters of the weights whose names fit a pattern.</summary>
internal sealed record LoraSpec(int Rank, double Alpha, double Dropout, EquatableArray<string> On)
{
    /// <summary>What an adapter's output is multiplied with.</summary>
    public double Scale => Alpha / Rank;
}

/// <summary>Upper limits in bytes that the compiled model must keep; zero where none was declared.</summary>
internal sealed record MemoryBudgetSpec(long InferenceBytes, long TrainingBytes);

/// <summary>Where the emitted partial class belongs. <paramref name="Containers"/> run from the outermost type to the innermost.</summary>
internal sealed record TypeIdentity(
    string Namespace,
    EquatableArray<ContainerDeclaration> Containers,
    string Name,
    string Accessibility,
    string HintName)
{
    /// <summary>The class as the emitted part means it: by its full name where a base class has a nested type of its name.</summary>
    public string Reference { get; init; } = Name;
}

/// <summary>A type that the model's class is nested in, as the partial declaration must repeat it: <c>class Outer&lt;T&gt;</c>.</summary>
internal sealed record ContainerDeclaration(string Keyword, string NameWithTypeParameters);
