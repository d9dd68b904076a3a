using System;
using ModelGen.Compiler.Kernels;
using ModelGen.Compiler.Targets.Cpu;

namespace ModelGen.Compiler.Emit.CSharp;

/// <summary>
/// How vectors are spelled in C#: <see cref="Generic"/> in kernels whose vector <c>V</c> is a type argument, the others in those that
/// are printed once for each width. A width also says which register tiles it has.
/// </summary>
internal sealed class Spelling(int bits)
{
    public static Spelling[] All { get; } = [new Spelling(512), new Spelling(256), new Spelling(128)];

    /// <summary>Vectors of the width that a kernel is called with.</summary>
    public static Spelling Generic { get; } = new(0);

    public bool IsGeneric => Bits == 0;

    public int Bits { get; } = bits;

    public int Lanes => IsGeneric ? throw new InvalidOperationException("the number of lanes is not known here") : Bits / 32;

    /// <summary>The tile of matrix products whose operands are packed.</summary>
    public RegisterTile PanelTile => RegisterTile.Of(RegisterTile.Products, Lanes);

    /// <summary>The tile of attention.</summary>
    public RegisterTile HeadTile => RegisterTile.Of(RegisterTile.Heads, Lanes);

    /// <summary>Vectors of a row of the attention tile.</summary>
    public int TileVectors => HeadTile.Vectors;

    /// <summary>Columns of a row of the attention tile.</summary>
    public int TileColumns => HeadTile.Columns;

    /// <summary>The width of so many lanes.</summary>
    public static Spelling OfLanes(int lanes) => Array.Find(All, s => s.Lanes == lanes);

    /// <summary>The widest spelling, no wider than this one, whose vectors are filled by so many elements; the narrowest, where none is.</summary>
    public Spelling FilledBy(int elements) => Array.Find(All, s => s.Bits <= Bits && s.Lanes <= elements) ?? All[All.Length - 1];

    public string Class => IsGeneric ? "V" : $"Vector{Bits}";

    public string Type => IsGeneric ? "V" : $"Vector{Bits}<float>";

    public string Zero => $"{Type}.Zero";

    /// <summary>The numbers of the lanes.</summary>
    public string Indices => IsGeneric ? "V.Indices" : $"Simd.Lanes{Bits}";

    /// <summary>The lanes of so many vectors, as an expression.</summary>
    public string LanesOf(int vectors) => !IsGeneric ? CodeWriter.Number(vectors * Lanes) : vectors == 1 ? "V.Lanes" : $"{CodeWriter.Number(vectors)} * V.Lanes";

    public string Load(string pointer) => $"{Class}.Load({pointer})";

    public string LoadTail(string pointer, string count) => IsGeneric ? $"V.LoadTail({pointer}, {count})" : $"Simd.LoadTail{Bits}({pointer}, {count})";

    public string Store(string value, string pointer) => $"{Class}.Store({value}, {pointer});";

    public string StoreTail(string value, string pointer, string count) => IsGeneric ? $"V.StoreTail({value}, {pointer}, {count});" : $"Simd.StoreTail{Bits}({pointer}, {value}, {count});";

    public string FirstLanes(string value, string count, string fill) => IsGeneric ? $"V.FirstLanes({value}, {count}, {fill})" : $"Simd.FirstLanes{Bits}({value}, {count}, {fill})";

    /// <summary>Lanes that lie some elements apart.</summary>
    public string LoadStrided(string pointer, int stride, string? tail)
        => tail is null ? (IsGeneric ? $"V.LoadStrided({pointer}, {stride})" : $"Strided.Load{Bits}({pointer}, {stride})")
            : IsGeneric ? $"V.LoadStridedTail({pointer}, {stride}, {tail})" : $"Strided.LoadTail{Bits}({pointer}, {stride}, {tail})";

    public string StoreStrided(string value, string pointer, int stride, string? tail)
        => tail is null ? (IsGeneric ? $"V.StoreStrided({value}, {pointer}, {stride});" : $"Strided.Store{Bits}({pointer}, {stride}, {value});")
            : IsGeneric ? $"V.StoreStridedTail({value}, {pointer}, {stride}, {tail});" : $"Strided.StoreTail{Bits}({pointer}, {stride}, {value}, {tail});";

    public string Broadcast(string scalar) => $"{Class}.Create({scalar})";

    public string MultiplyAdd(string a, string b, string c) => $"{(IsGeneric ? "V" : "Simd")}.MultiplyAdd({a}, {b}, {c})";

    public string Maximum(string a, string b) => $"{Class}.Max({a}, {b})";

    /// <summary>A number made of a vector's lanes: their sum or the largest of them.</summary>
    public string Reduced(ReductionKind kind, string vector) => $"{(IsGeneric ? "V" : "Simd")}.{(kind == ReductionKind.Sum ? "Sum" : "Max")}({vector})";

    /// <summary>Uniform numbers of neighbouring counters, from that of the first lane on.</summary>
    public string Uniform(string counter, string key0, string key1)
        => IsGeneric ? $"V.Uniform({counter}, {key0}, {key1})" : $"Simd.Uniform({Class}.Create({counter}) + Vector{Bits}<uint>.Indices, {key0}, {key1})";
}

/// <summary>How expression nodes are spelled, for vectors or for single numbers.</summary>
internal static class ExprSpelling
{
    public static string Unary(UnaryFunction function, string x, Spelling? vector) => function switch
    {
        UnaryFunction.Negate => $"-{x}",
        UnaryFunction.Sqrt => vector is null ? $"MathF.Sqrt({x})" : $"{vector.Class}.Sqrt({x})",
        _ => $"{(vector is { IsGeneric: true } ? "V" : "VectorMath")}.{function}({x})",
    };

    public static string Binary(BinaryFunction function, string a, string b, Spelling? vector) => function switch
    {
        BinaryFunction.Add => $"{a} + {b}",
        BinaryFunction.Subtract => $"{a} - {b}",
        BinaryFunction.Multiply => $"{a} * {b}",
        BinaryFunction.Divide => $"{a} / {b}",
        BinaryFunction.Maximum => vector is null ? $"MathF.Max({a}, {b})" : $"{vector.Class}.Max({a}, {b})",
        _ => vector is null ? $"MathF.Min({a}, {b})" : $"{vector.Class}.Min({a}, {b})",
    };

    public static string Select(Comparison comparison, string a, string b, string then, string otherwise, Spelling? vector)
    {
        if (vector is null)
        {
            string sign = comparison switch { Comparison.Equal => "==", Comparison.GreaterThan => ">", _ => ">=" };
            return $"{a} {sign} {b} ? {then} : {otherwise}";
        }

        if (vector.IsGeneric)
        {
            return $"V.Select(V.{comparison}({a}, {b}), {then}, {otherwise})";
        }

        string name = comparison switch { Comparison.Equal => "Equals", _ => comparison.ToString() };
        return $"{vector.Class}.ConditionalSelect({vector.Class}.{name}({a}, {b}), {then}, {otherwise})";
    }
}
