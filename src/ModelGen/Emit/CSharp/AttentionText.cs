using System;
using System.Collections.Generic;
using System.Linq;
using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Kernels;
using ModelGen.Compiler.Ops;
using ModelGen.Compiler.Targets.Cpu;

namespace ModelGen.Compiler.Emit.CSharp;

/// <summary>How pieces are spelled that several of attention's kernels have.</summary>
internal static class AttentionText
{
    /// <summary>Vectors of a row of the register tile, at every width.</summary>
    public static readonly int Vectors = RegisterTile.Heads.Select(t => t.Vectors).Distinct().Single();

    public static ScoreBiasText BiasOf(Attention op, Kernel kernel)
        => new(op, StrideOf(kernel, "bias"), StrideOf(kernel, "d_bias"));

    private static int StrideOf(Kernel kernel, string operand) => kernel.Operands.FirstOrDefault(o => o.Name == operand)?.Access.RowStride ?? 0;

    public static KeyRangeText RangeOf(AttentionKernel kernel) => new(kernel.Range, Text.RowCount(kernel.Queries), !kernel.Queries.IsDynamic, kernel.Keys);

    public static int Stride(Kernel kernel, int operand) => kernel.Operands[operand].Access.RowStride;

    /// <summary>A statement that squeezes scores into the cap.</summary>
    public static string Capped(Attention op, string scores, string count) => $"AttentionCap.Apply({scores}, {count}, {CodeWriter.Literal(op.CapOfProducts)});";

    /// <summary>The method that takes a row of scores and cotangents back, and the last of its arguments.</summary>
    public static string Backwards(Attention op) => op.SoftCap > 0 ? "AttentionCap.Backward" : "AttentionRows.Backward";

    public static string Factors(Attention op) => (op.SoftCap > 0 ? $"{CodeWriter.Literal(op.Scale)}, {CodeWriter.Literal(op.CapOfProducts)}" : CodeWriter.Literal(op.Scale)) + Sinks(op);

    /// <summary>What tells functions of rows that a row of one key has a probability of less than 1.</summary>
    public static string Sinks(Attention op) => op.HasSinks ? ", hasSink: true" : "";

    /// <summary>Of the register tile: rows, and the elements from one row of scores, or of a padded head, to the next.</summary>
    public static (string Rows, string Scores, string Padded) Constants(CodeWriter w, IReadOnlyList<AttentionScheme> schemes)
    {
        w.Line($"int columns = {Vectors} * V.Lanes;");
        return (Constant(w, schemes, "rows", s => s.Tile.Rows), Constant(w, schemes, "scoreStride", s => s.ScoreStride), Constant(w, schemes, "padded", s => s.PaddedHead));
    }

    /// <summary>A number of schemes: a literal, or a constant of this name where widths differ in it.</summary>
    public static string Constant(CodeWriter w, IReadOnlyList<AttentionScheme> schemes, string name, Func<AttentionScheme, long> value)
    {
        if (schemes.Select(value).Distinct().Count() == 1)
        {
            return CodeWriter.Number(value(schemes[0]));
        }

        w.Line($"int {name} = Simd.Of<V>({string.Join(", ", Spelling.All.Select(s => CodeWriter.Number(schemes.FirstOrDefault(x => x.Tile.Lanes == s.Lanes) is { } scheme ? value(scheme) : 0)))});");
        return name;
    }

    /// <summary>Declares parts of a worker's own memory, where the plan put them.</summary>
    public static void Scratch(CodeWriter w, IReadOnlyList<AttentionScheme> schemes, params string[] parts)
    {
        foreach (string part in parts)
        {
            w.Line($"float* {part} = {(Constant(w, schemes, part + "At", s => s.Scratch.OffsetOf(part)) is var offset && offset == "0" ? "(float*)worker.Scratch" : $"(float*)worker.Scratch + {offset}")};");
        }
    }

    /// <summary>Whether the kernel of a single query each goes from sequence to sequence.</summary>
    public static bool HasSequences(AttentionKernel kernel) => kernel.Batch != RowExtent.Literal(1) || kernel.Range.VariesBySequence;

    /// <summary>Elements to the cache that an index names as a sequence's.</summary>
    public static string CacheAt(AttentionKernel kernel) => $"(long)sequences[sequence] * {kernel.CacheStride}";

    /// <summary>The address of a row of a rounded cache.</summary>
    public static string RowOf(AttentionKernel kernel, int index, string operand, string row, bool several)
    {
        KernelOperand cache = kernel.Operands[index];
        string sequence = kernel.Range.HasSequences ? $" + (long)sequences[sequence] * {CacheText.Step(cache, kernel.CacheStride)}"
            : several ? $" + (long)sequence * {CacheText.Step(cache, (long)kernel.MaximumKeys * cache.Access.RowStride)}" : "";
        return $"{operand}{sequence} + (long)({row}) * {CacheText.Step(cache, cache.Access.RowStride)}";
    }

    /// <summary>Transposes a head's rows; they end in zeros up to a whole tile, so that a tile may always be read whole.</summary>
    public static void Transpose(CodeWriter w, string rows, string target, int stride, int d, string scores)
    {
        w.Open("for (int j = 0; j < keys; j += columns)");
        w.Line($"Panels.PackTransposed({rows} + (long)j * {stride}, {stride}, {d}, Math.Min(columns, keys - j), {target} + j, columns, {scores});");
        w.Close();
        w.Line();
    }

    /// <summary>Opens a loop over tiles of a ring's rows, each of which ends where the ring does.</summary>
    public static void OpenRing(CodeWriter w, KeyRangeText range, string keyRows)
    {
        w.Open($"for (int j = 0, row = {range.FirstRow}, height; j < keys; j += height, row = (row + height) % {keyRows})");
        w.Line($"height = Math.Min(columns, Math.Min(keys - j, {keyRows} - row));");
    }

    public static void Clear(CodeWriter w, string pointer, string elements) => w.Line($"new global::System.Span<float>({pointer}, {elements}).Clear();");
}
