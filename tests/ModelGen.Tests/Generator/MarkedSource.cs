using System.Collections.Immutable;
using Microsoft.CodeAnalysis.Testing;
using Microsoft.CodeAnalysis.Text;

namespace ModelGen.Tests.Generator;

/// <summary>
/// Source text in which the expected diagnostics are marked where they are expected: <c>Heads = {|MG0007:0|}</c>. Several
/// identifiers at one place are separated by commas.
/// </summary>
internal sealed record MarkedSource(string Text, IReadOnlyList<(string Id, TextSpan Span)> Expected)
{
    public static MarkedSource Parse(string marked)
    {
        TestFileMarkupParser.GetSpans(marked, out string text, out ImmutableDictionary<string, ImmutableArray<TextSpan>> spans);
        return new MarkedSource(text, [.. spans.SelectMany(mark => mark.Key.Split(',').SelectMany(id => mark.Value.Select(span => (id, span))))]);
    }
}
