using System;
using ModelGen.Compiler.Kernels;
using ModelGen.Compiler.Targets.Cpu;

namespace ModelGen.Compiler.Emit.CSharp;

/// <summary>How one vector width is spelled in C#, and which register tiles it has.</summary>
internal sealed class Spelling(int bits)
{
    public static Spelling[] All { get; } = [new Spelling(512), new Spelling(256), new Spelling(128)];

    public int Bits { get; } = bits;

    public int Lanes => Bits / 32;

    /// <summary>The tile of matrix products whose operands are packed.</summary>
    public RegisterTile PanelTile => RegisterTile.Of(RegisterTile.Products, Lanes);

    /// <summary>The tile of attention.</summary>
    public RegisterTile HeadTile => RegisterTile.Of(RegisterTile.Heads, Lanes);

    /// <summary>Vectors of a row of the attention tile.</summary>
    public int TileVectors => HeadTile.Vectors;

    /// <summary>Columns of a row of the attention tile.</summary>
    public int TileColumns => HeadTile.Columns;

    /// <summary>The widest spelling, no wider than this one, whose vectors are filled by so many elements; the narrowest, where none is.</summary>
    public Spelling FilledBy(int elements) => Array.Find(All, s => s.Bits <= Bits && s.Lanes <= elements) ?? All[All.Length - 1];

    public string Class => $"Vector{Bits}";

    public string Type => $"Vector{Bits}<float>";

    public string Load(string pointer) => $"{Class}.Load({pointer})";

    public string LoadTail(string pointer, string count) => $"Simd.LoadTail{Bits}({pointer}, {count})";

    public string Store(string value, string pointer) => $"{Class}.Store({value}, {pointer});";

    public string StoreTail(string value, string pointer, string count) => $"Simd.StoreTail{Bits}({pointer}, {value}, {count});";

    public string FirstLanes(string value, string count, string fill) => $"Simd.FirstLanes{Bits}({value}, {count}, {fill})";

    public string Broadcast(string scalar) => $"{Class}.Create({scalar})";

    public string MultiplyAdd(string a, string b, string c) => $"Simd.MultiplyAdd({a}, {b}, {c})";
}

/// <summary>How expression nodes are spelled, for vectors of one width or for single numbers.</summary>
internal static class ExprSpelling
{
    public static string Unary(UnaryFunction function, string x, Spelling? vector) => function switch
    {
        UnaryFunction.Negate => $"-{x}",
        UnaryFunction.Sqrt => vector is null ? $"MathF.Sqrt({x})" : $"{vector.Class}.Sqrt({x})",
        _ => $"VectorMath.{function}({x})",
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

        string name = comparison switch { Comparison.Equal => "Equals", _ => comparison.ToString() };
        return $"{vector.Class}.ConditionalSelect({vector.Class}.{name}({a}, {b}), {then}, {otherwise})";
    }
}
