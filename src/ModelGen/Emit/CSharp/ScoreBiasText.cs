using System;
using System.Linq;
using ModelGen.Compiler.Ops;
using ModelGen.Compiler.Targets.Cpu;

namespace ModelGen.Compiler.Emit.CSharp;

/// <summary>
/// The text of what attention adds to scores. A head's biases are written once into a row of a worker's memory, one for each relative position,
/// divided by the factor of the scores, which they are added to before that factor is applied.
/// </summary>
/// <param name="attention">The attention.</param>
/// <param name="tableStride">Elements from one row of a learned table to the next; 0 where nothing is learned.</param>
/// <param name="cotangentStride">Likewise of the table's cotangent.</param>
internal sealed class ScoreBiasText(Attention attention, int tableStride, int cotangentStride = 0)
{
    /// <summary>Whether there is any.</summary>
    public bool Exists => attention.Bias is not null;

    /// <summary>Whether it is learned.</summary>
    public bool IsLearned => attention.HasTable;

    /// <summary>What follows the description of attention in a comment.</summary>
    public static string Describe(Attention attention) => attention.SoftCap > 0 ? $", capped at {CodeWriter.Literal(attention.SoftCap)}" : attention.Bias switch
    {
        AlibiBias => ", less a slope times the distance",
        RelativeBias => ", with a learned bias for each bucket of distances",
        _ => "",
    };

    /// <summary>Declares what does not depend on the head.</summary>
    public void Declare(CodeWriter w)
    {
        switch (attention.Bias)
        {
            case AlibiBias:
                w.Line($"global::System.ReadOnlySpan<float> slopes = [{string.Join(", ", AlibiBias.Slopes(attention.Heads).Select(m => CodeWriter.Literal(m)))}];");
                break;
            case RelativeBias relative:
                w.Line($"global::System.ReadOnlySpan<int> starts = [{string.Join(", ", relative.Starts.Select(s => CodeWriter.Number(s)))}];");
                break;
        }
    }

    /// <summary>Writes a head's biases of some relative positions.</summary>
    public void Fill(CodeWriter w, string first, string count, string head = "head")
    {
        switch (attention.Bias)
        {
            case AlibiBias:
                string slope = attention.Scale == 1 ? $"slopes[{head}]" : $"slopes[{head}] * {Factor}";
                w.Line($"AttentionBias.Linear({AttentionPlan.Biases}, {first}, {count}, {slope});");
                break;
            case RelativeBias relative:
                w.Line($"AttentionBias.Buckets({AttentionPlan.Biases}, {first}, {count}, starts, {Both(relative)}, bias + {head}, {tableStride}, {Factor});");
                break;
        }
    }

    /// <summary>Adds a head's biases of keys that are listed to their scores.</summary>
    public void AddListed(CodeWriter w, string scores, string query)
    {
        switch (attention.Bias)
        {
            case AlibiBias:
                w.Line($"AttentionBias.LinearOfListed({scores}, listed, n, {query}, slopes[head] * {Factor});");
                break;
            case RelativeBias relative:
                w.Line($"AttentionBias.BucketsOfListed({scores}, listed, n, {query}, starts, {Both(relative)}, bias + head, {tableStride}, {Factor});");
                break;
        }
    }

    /// <summary>Adds the cotangents of listed keys' scores to those of the table of a sequence.</summary>
    public void SumListed(CodeWriter w, string cotangents, string query)
        => w.Line($"AttentionBias.SumsOfListed({cotangents}, listed, n, {query}, starts, {Both((RelativeBias)attention.Bias!)}, {TableCotangent} + head, {cotangentStride}, {Factor});");

    /// <summary>The cotangent of the table of a sequence.</summary>
    public string TableCotangent => $"d_bias + (sequence * {(attention.Bias?.TableRows ?? 0) * cotangentStride})";

    /// <summary>Sums a head's cotangents of some relative positions into those of the table of a sequence.</summary>
    public void Sum(CodeWriter w, string first, string count)
    {
        if (attention.Bias is RelativeBias relative)
        {
            w.Line($"AttentionBias.BucketSums({AttentionPlan.BiasCotangents}, {first}, {count}, starts, {Both(relative)}, d_bias + (sequence * {relative.TableRows * cotangentStride}) + head, {cotangentStride}, {Factor});");
        }
    }

    private string Factor => CodeWriter.Literal(1 / attention.Scale);

    private static string Both(RelativeBias relative) => relative.IsBidirectional ? "true" : "false";
}
