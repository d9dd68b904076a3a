using System;
using System.Collections.Generic;
using System.Globalization;
using System.Linq;
using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Kernels;
using ModelGen.Compiler.Targets.Cpu;

namespace ModelGen.Compiler.Emit.CSharp;

/// <summary>Phrases that several kernel classes share.</summary>
internal static class Text
{
    /// <summary>What stands between the equations of one kernel.</summary>
    public const string Sentence = "; ";

    /// <summary>A row extent as part of a name: <c>768</c> or <c>N</c>.</summary>
    public static string Extent(RowExtent rows) => rows.IsDynamic ? (rows.Coefficient == 1 ? "N" : CodeWriter.Number(rows.Coefficient) + "N") : CodeWriter.Number(rows.Coefficient);

    /// <summary>The name of a kernel's argument that is the count of an extent.</summary>
    public static string CountOf(string extent) => extent == ExtentNames.Time ? "count" : "count" + extent;

    /// <summary>A row extent as an expression: a product, which binds as tightly as one; <paramref name="count"/> spells the counts of named extents.</summary>
    public static string RowCount(RowExtent rows, Func<string, string>? count = null)
        => string.Join(" * ", (rows.Coefficient == 1 && rows.IsDynamic ? [] : new[] { CodeWriter.Number(rows.Coefficient) }).Concat(rows.Factors.Select(f => Count(f, (count ?? CountOf)(f.Symbol!)))));

    private static string Count(Dim dim, string counted)
        => dim.Plus == 0 ? counted : string.Format(CultureInfo.InvariantCulture, "({0} {1} {2})", counted, dim.Plus > 0 ? "+" : "-", System.Math.Abs(dim.Plus));

    /// <summary>A pointer some elements further on.</summary>
    public static string Plus(string pointer, long offset) => offset == 0 ? pointer : $"{pointer} + {CodeWriter.Number(offset)}";

    /// <summary>Some lanes of a vector, as a narrower one.</summary>
    public static string Lanes(string vector, int bits, int first, int count)
    {
        int lanes = bits / 32;
        return count == lanes ? vector : first < lanes / 2 ? Lanes($"Vector{bits}.GetLower({vector})", bits / 2, first, count) : Lanes($"Vector{bits}.GetUpper({vector})", bits / 2, first - (lanes / 2), count);
    }

    /// <summary>Declares <c>start</c> and <c>end</c>: this worker's share of <paramref name="total"/>.</summary>
    public static void Range(CodeWriter w, bool serial, string total, int granularity) => Range(w, serial, total, CodeWriter.Number(granularity));

    /// <summary>As the other, where whole shares depend on the vector's lanes.</summary>
    public static void Range(CodeWriter w, bool serial, string total, string granularity)
        => w.Line(serial
            ? $"int start = 0, end = {total};"
            : $"worker.Range({total}, {granularity}, out int start, out int end);");

    /// <summary>Opens a loop over this worker's share of units, and over what it takes from others'.</summary>
    public static void OpenUnits(CodeWriter w, Kernel kernel, string units, string name)
    {
        if (kernel.IsHelped())
        {
            w.Line($"worker.Share({units});");
            w.Open("while (worker.Take())");
            w.Line($"int {name} = worker.Unit;");
            return;
        }

        Range(w, kernel.IsSerial(), units, 1);
        w.Open($"for (int {name} = start; {name} < end; {name}++)");
    }

    public static void VectorStore(CodeWriter w, Spelling v, string value, string pointer, string? tail, StoreMode mode)
    {
        string present = tail is null ? v.Load(pointer) : v.LoadTail(pointer, tail);
        string stored = mode switch
        {
            StoreMode.Replace => value,
            StoreMode.Add => $"{present} + {value}",
            _ => $"accumulate ? {present} + {value} : {value}",
        };
        w.Line(tail is null ? v.Store(stored, pointer) : v.StoreTail(stored, pointer, tail));
    }

    /// <summary>Sentences in a line or, where that is too long, in a line each; those that are still too long go on, indented, behind one of the marks.</summary>
    public static IEnumerable<string> Wrap(string text, int length, string[] marks)
        => text.Length <= length ? [text] : text.Split([Sentence], StringSplitOptions.None).SelectMany(s => Lines(s, length, marks));

    private static IEnumerable<string> Lines(string text, int length, string[] marks)
    {
        string indent = "";
        while (indent.Length + text.Length > length)
        {
            int room = length - indent.Length;
            int end = marks.Select(m => LastEnd(text, m, room)).FirstOrDefault(e => e > length / 3);
            end = end > 0 ? end : text.LastIndexOf(' ', room) is > 0 and int space ? space + 1 : text.Length;
            yield return indent + text.Substring(0, end).TrimEnd();
            text = text.Substring(end);
            indent = "    ";
        }

        yield return indent + text;
    }

    // Not inside of brackets.
    private static int LastEnd(string text, string mark, int room)
    {
        int at = room - mark.Length + 1;
        do
        {
            at = at > 0 ? text.LastIndexOf(mark, at - 1, StringComparison.Ordinal) : -1;
        }
        while (at > 0 && text.Take(at).Count(c => c == '[') > text.Take(at).Count(c => c == ']'));

        return at < 0 ? -1 : at + mark.Length;
    }

    /// <summary>What a kernel computes, by the roles of what it stores.</summary>
    public static string Describe(Kernel kernel)
        => string.Join(", ", kernel.Operands.Where(o => o.IsWritten).Select(o => o.Name)) + " from " + string.Join(", ", kernel.Operands.Where(o => !o.IsWritten).Select(o => o.Name).DefaultIfEmpty("nothing"));
}
