using System.Collections;
using ModelGen.Compiler;
using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Kernels;
using ModelGen.Compiler.Ops;
using ModelGen.Compiler.Passes;

namespace ModelGen.Tests.Compiler;

/// <summary>Rules for the formats of single parameters, which have them by their own names and by those that files know them by.</summary>
public sealed class WeightRuleTests
{
    [Fact]
    public void A_rule_is_of_the_parameter_that_one_of_its_names_fits()
    {
        (string, string)[] aliases = [("file.up", "m.up"), ("file.down", "m.down"), ("other.down", "m.down"), ("file.gone", "m.gone")];
        Assert.Equal(["m.down: F16"], Formats(aliases, "other.*: F16"));
        Assert.Equal(["m.down: BF16", "m.up: F16"], Formats(aliases, "*.up: F16", "file.*: BF16"));
        Assert.Equal(["m.down: F16", "m.up: F16"], Formats(aliases, "file.*: F16"));
        Assert.Equal(["m.up: F16"], Formats(aliases, "m.up: F16", "m.gone: F16", "file.gone: BF16"));
        Assert.Equal([], Formats([], "file.*: F16"));
    }

    /// <summary>A file of one format for each tensor has as many rules as matrices, and a mixture's experts as many other names: each with each would be minutes.</summary>
    [Fact]
    public void Other_names_are_gone_through_once_whatever_the_number_of_rules()
    {
        var aliases = new Counted([.. Enumerable.Range(0, 500).Select(static i => ($"file.{i}", i % 2 == 0 ? "m.up" : "m.down"))]);
        Assert.Equal(["m.down: F16"], Formats(aliases, [.. Enumerable.Range(0, 300).Select(static i => $"absent.{i}: BF16"), "file.499: F16"]));
        Assert.InRange(aliases.Read, 1, aliases.Count);
    }

    private static string[] Formats(IReadOnlyList<(string Name, string Parameter)> aliases, params string[] rules)
    {
        var b = new GraphBuilder();
        Value x = OperatorCases.Parameter(b, "x", 3, 64);
        b.Output("y", b.Add(new MatMul(MatMulForm.NT), "y", b.Add(new MatMul(MatMulForm.NT), "up", x, OperatorCases.Parameter(b, "m.up", 64, 64)), OperatorCases.Parameter(b, "m.down", 32, 64)));
        ModelSpec spec = Families.All.Values.First() with { WeightsOf = [.. rules] };
        return [.. WeightFormats.Of([b.Build()], spec, aliases).Select(static format => $"{format.Key}: {(format.Value == StorageFormat.BFloat16 ? "BF16" : format.Value == StorageFormat.Float16 ? "F16" : "another")}").Order(StringComparer.Ordinal)];
    }

    private sealed class Counted((string Name, string Parameter)[] names) : IReadOnlyList<(string Name, string Parameter)>
    {
        public int Read { get; private set; }

        public int Count => names.Length;

        public (string Name, string Parameter) this[int index]
        {
            get
            {
                Read++;
                return names[index];
            }
        }

        public IEnumerator<(string Name, string Parameter)> GetEnumerator()
        {
            for (int i = 0; i < names.Length; i++)
            {
                yield return this[i];
            }
        }

        IEnumerator IEnumerable.GetEnumerator() => GetEnumerator();
    }
}
