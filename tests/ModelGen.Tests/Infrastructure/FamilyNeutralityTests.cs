using System.Text.RegularExpressions;
using ModelGen.Compiler.Families;

namespace ModelGen.Tests.Infrastructure;

/// <summary>The mechanism knows no model family: none is named where graphs are differentiated, transformed, lowered and emitted.</summary>
public sealed class FamilyNeutralityTests
{
    private static readonly string[] Neutral = ["Autodiff", "Passes", "Kernels", "Emit"];

    // Families are told by more names than their attributes'.
    private static readonly string[] OtherNames = ["rnn", "lstm", "gru", "perceptron", "bert", "llama"];

    // An encoder–decoder is a kind of interface of the runtime, as a causal language model is: no family, though a family's name is part of it.
    private static readonly Regex InterfaceKinds = new("EncoderDecoder", RegexOptions.CultureInvariant);

    [Fact]
    public void No_family_is_named_outside_its_file()
    {
        string[] names = [.. FamilyRegistry.All.Select(a => a.Name), .. OtherNames];

        // Inside identifiers too (BuildLstmStep), but not inside other words (a "grus" or "grumble").
        Regex pattern = new($"(?<![a-z])({string.Join('|', names)})(?![a-z])|({string.Join('|', names.Select(n => char.ToUpperInvariant(n[0]) + n[1..]))})(?![a-z])", RegexOptions.CultureInvariant);
        Regex anyCase = new($@"\b({string.Join('|', names)})", RegexOptions.IgnoreCase | RegexOptions.CultureInvariant);
        List<string> found = [];
        int files = 0;
        foreach (string folder in Neutral)
        {
            string path = Path.Combine(SourceTree.Root, "src", "ModelGen", folder);
            Assert.True(Directory.Exists(path), $"There is no folder {folder}.");
            foreach (string file in Directory.EnumerateFiles(path, "*.cs", SearchOption.AllDirectories).Order(StringComparer.Ordinal))
            {
                files++;
                string[] lines = File.ReadAllLines(file);
                for (int i = 0; i < lines.Length; i++)
                {
                    string line = InterfaceKinds.Replace(lines[i], "");
                    if (pattern.IsMatch(line) || anyCase.IsMatch(line))
                    {
                        found.Add($"{folder}/{Path.GetFileName(file)}({i + 1}): {lines[i].Trim()}");
                    }
                }
            }
        }

        Assert.InRange(files, Neutral.Length, int.MaxValue);
        Assert.Empty(found);
    }

    [Fact]
    public void Each_family_is_one_file()
    {
        // A family may have presets: attributes of their own that differ in their defaults.
        foreach (IGrouping<Type, IFamily> family in FamilyRegistry.All.GroupBy(f => f.GetType()))
        {
            Assert.True(File.Exists(Path.Combine(SourceTree.Root, "src", "ModelGen", "Families", family.Key.Name + ".cs")));
            Assert.Contains(family, f => f.Name == family.Key.Name);
        }
    }
}
