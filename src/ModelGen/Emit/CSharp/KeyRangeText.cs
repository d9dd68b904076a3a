using System.Linq;
using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Ops;

namespace ModelGen.Compiler.Emit.CSharp;

/// <summary>
/// The text of a key range: which keys of a sequence a kernel looks at, and which of them each of its queries sees. Kernels count keys from the
/// first one that any query of the run sees; <c>keys</c> is how many follow from there.
/// </summary>
/// <param name="range">The range.</param>
/// <param name="count">How many queries a sequence has at the most, as an expression.</param>
/// <param name="isLiteral">Whether that is a literal.</param>
/// <param name="rows">Rows of a sequence's keys in memory.</param>
/// <param name="lengthName">What a variable that holds a sequence's number of queries is called.</param>
internal sealed class KeyRangeText(KeyRange range, string count, bool isLiteral, RowExtent rows, string lengthName = "queries")
{
    private readonly string _rows = Text.RowCount(rows);

    /// <summary>Queries of a sequence.</summary>
    public string Queries { get; } = range.HasQueryLengths || (range.HasPositions && !range.IsRing) ? lengthName : count;

    /// <summary>Whether some queries of a sequence may be none.</summary>
    public bool HasPadding => Queries != count;

    /// <summary>Whether a query may see no key.</summary>
    public bool MayBeEmpty => range.HasKeyLengths;

    /// <summary>Whether a query's keys may begin behind the first one, or end before what its position says.</summary>
    public bool IsBounded => range.Window is not null || range.HasKeyLengths;

    /// <summary>Whether what queries of a sequence see begins at a key of its own: <c>first</c>.</summary>
    private bool IsShifted => range is { IsCached: true, Window: not null };

    /// <summary>The position of a sequence's first query, counted as keys are.</summary>
    private string Origin => IsShifted ? "origin" : range.IsCached ? "position" : "";

    /// <summary>Declares what a kernel of several queries needs to know of a sequence.</summary>
    public void Declare(CodeWriter w)
    {
        if (range.HasPositions)
        {
            w.Line("int position = positions[sequence];");
        }

        if (HasPadding)
        {
            string length = !range.HasQueryLengths ? count : isLiteral ? "queryLengths[sequence]" : $"Math.Min(queryLengths[sequence], {count})";
            w.Line($"int {lengthName} = {(range.HasPositions && !range.IsRing ? $"Math.Min({length}, {_rows} - position)" : length)};");
        }

        if (IsShifted)
        {
            w.Line($"int first = Math.Max(0, position - {range.Window}), origin = position - first;");
        }

        string beyond = range.IsCausal || range.Window is null ? "" : CodeWriter.Number(range.Window.Value);
        string keys = range.HasKeyLengths ? (range.IsCausal || range.Window is not null ? $"Math.Min({Length}, {Sum(Origin, Queries, beyond)})" : Length)
            : range.IsCached ? Sum(Origin, Queries)
            : !HasPadding || !(range.IsCausal || range.Window is not null) ? _rows
            : range.IsCausal ? Queries : $"Math.Min({_rows}, {Sum(Queries, beyond)})";
        w.Line($"{(keys == _rows && !rows.IsDynamic ? "const " : "")}int keys = {keys};");
    }

    /// <summary>The end of the keys that some neighbouring queries see, of which <paramref name="next"/> comes after the last.</summary>
    public string Limit(string next)
        => range.IsCausal ? AtMostKeys(Sum(Origin, next)) : range.Window is { } window ? $"Math.Min(keys, {Sum(Origin, next, CodeWriter.Number(window))})" : "keys";

    /// <summary>The end of the keys that a query sees.</summary>
    public string High(string query)
        => range.IsCausal ? AtMostKeys(Sum(Origin, query, "1")) : range.Window is { } window ? $"Math.Min(keys, {Sum(Origin, query, CodeWriter.Number(window + 1L))})" : "keys";

    /// <summary>The first key that a query sees.</summary>
    public string Low(string query) => range.Window is { } window ? $"Math.Max(0, {Sum(Origin, query)} - {window})" : "0";

    /// <summary>The first key that any of some neighbouring queries sees, in whole tiles of <c>columns</c>; null where that is the first one there is.</summary>
    public string? Begin(string query) => range.Window is null ? null : $"{Low(query)} / columns * columns";

    /// <summary>What the number of a key is less than that of a query: their relative position.</summary>
    public string Relative(string key, string query) => $"{key} - ({Sum(Origin, query)})";

    /// <summary>The position of a sequence's first key relative to that of its single query.</summary>
    public string FirstOfSingle => IsShifted ? "first - position" : range.IsCached ? "-position" : "0";

    /// <summary>Declares which keys a sequence's single query sees.</summary>
    public void DeclareSingle(CodeWriter w)
    {
        if (range.HasPositions)
        {
            w.Line("int position = positions[sequence];");
        }

        if (IsShifted && range.VariesBySequence)
        {
            w.Line($"int first = Math.Max(0, position - {range.Window});");
        }

        string shift = IsShifted ? " - first" : "";
        string own = Sum(range.IsCached ? "position" : "", "1"), beyond = range.Window is { } window ? Sum(range.IsCached ? "position" : "", CodeWriter.Number(window + 1L)) : "";
        string keys = range.HasKeyLengths ? (range.IsCausal ? $"Math.Min({Existing}, {own})" : range.Window is null ? Existing : $"Math.Min({Existing}, {beyond})") + shift
            : range.IsCached ? own + shift
            : range.IsCausal ? "1" : _rows;
        if (!range.VariesBySequence)
        {
            w.Line(!range.IsCached ? $"{(keys == _rows && rows.IsDynamic ? "" : "const ")}int keys = {keys};" : IsShifted ? $"int first = Math.Max(0, position - {range.Window}), keys = {keys};" : $"int keys = {keys};");
            return;
        }

        w.Line($"int keys = {(range.HasQueryLengths ? $"queryLengths[sequence] < 1 ? 0 : {keys}" : keys)};");
    }

    /// <summary>Whether the single query of a sequence may see nothing.</summary>
    public bool SingleMayBeEmpty => range.HasKeyLengths || range.HasQueryLengths;

    /// <summary>The row of a sequence's memory that a key lies in.</summary>
    public string Row(string key) => !IsShifted ? key : range.IsRing ? $"(first + {key}) % {_rows}" : $"first + {key}";

    /// <summary>Whether a key lies in the row that <see cref="Row"/> says and the next one in the next row.</summary>
    public bool RowsFollow => !range.IsRing;

    /// <summary>The row of the first key.</summary>
    public string FirstRow => !IsShifted ? "0" : range.IsRing ? $"first % {_rows}" : "first";

    /// <summary>The position of the first key.</summary>
    public string FirstPosition => IsShifted ? "first" : "0";

    private string Length => IsShifted ? $"{Existing} - first" : Existing;

    // A caller's lengths are checked against the most keys that there can be, and a run may have fewer.
    private string Existing => rows.IsDynamic ? $"Math.Min(keyLengths[sequence], {_rows})" : "keyLengths[sequence]";

    private string AtMostKeys(string end) => range.HasKeyLengths ? $"Math.Min(keys, {end})" : end;

    private static string Sum(params string[] terms) => string.Join(" + ", terms.Where(t => t.Length > 0));
}
