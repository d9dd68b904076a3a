using System;
using System.Collections.Generic;
using System.Linq;
using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Kernels;
using ModelGen.Compiler.Ops;

namespace ModelGen.Compiler.Passes;

/// <summary>
/// How parameters lie in memory: as the declaration says, where everything that reads one of them can read that, and in single precision elsewhere. Readers are products that
/// contract the rows of both factors, of which it is the second; those of their input gradients; products of rows with a matrix of several each; and embeddings. What is trained is in single precision or bfloat16,
/// and adapters are in single precision.
/// </summary>
internal static class WeightFormats
{
    /// <summary>The formats of the parameters that are not single precision.</summary>
    /// <param name="graphs">The graphs that are lowered.</param>
    /// <param name="spec">The declaration.</param>
    /// <param name="aliases">Second names of parameters, which rules may have them by as well: files know some parameters by those alone.</param>
    public static IReadOnlyDictionary<string, StorageFormat> Of(IReadOnlyList<ModelGraph> graphs, ModelSpec spec, IReadOnlyList<(string Name, string Parameter)> aliases)
    {
        var formats = new Dictionary<string, StorageFormat>();
        if (spec.WeightFormat == WeightFormat.F32 && spec.WeightsOf.Count == 0)
        {
            return formats;
        }

        var others = new HashSet<string>();
        foreach (ModelGraph graph in graphs)
        {
            foreach (Value result in graph.Results)
            {
                Refuse(result);
            }

            foreach (Node node in graph.Nodes)
            {
                for (int i = 0; i < node.Inputs.Count; i++)
                {
                    if (!((node.Op is MatMul { Form: MatMulForm.NT or MatMulForm.NN } or ExpertMatMul && i == 1) || (node.Op is Embedding && i == 0)))
                    {
                        Refuse(node.Inputs[i]);
                    }
                }
            }
        }

        ILookup<string, string> otherNames = aliases.ToLookup(alias => alias.Parameter, alias => alias.Name);
        foreach (Parameter parameter in graphs.SelectMany(g => g.NodesOf<Parameter>()).Select(n => (Parameter)n.Op))
        {
            if (parameter is { IsTable: false, Adapts: null, Shape.Rank: 2 or 3 } && !parameter.ParameterName.EndsWith(".bias", StringComparison.Ordinal) && !others.Contains(parameter.ParameterName)
                && FormatOf(Declared(spec, parameter.ParameterName, otherNames[parameter.ParameterName]), parameter.Shape.Columns) is { } format && BeginGroups(parameter.Shape, format))
            {
                formats[parameter.ParameterName] = format;
            }
        }

        foreach (string trained in graphs.SelectMany(graph => graph.Gradients).Select(gradient => gradient.Parameter).Where(name => formats.TryGetValue(name, out StorageFormat? format) && format != StorageFormat.BFloat16).ToArray())
        {
            formats.Remove(trained);
        }

        return formats;

        void Refuse(Value value)
        {
            if (value.Op is Parameter parameter)
            {
                others.Add(parameter.ParameterName);
            }
        }
    }

    /// <summary>A pattern of names and a format; null where the text is none.</summary>
    public static (string Pattern, WeightFormat Format)? Rule(string text)
    {
        int colon = text.LastIndexOf(':');
        return colon > 0 && Enum.TryParse(text.Substring(colon + 1).Trim(), out WeightFormat format) && Enum.IsDefined(typeof(WeightFormat), format) ? (text.Substring(0, colon).Trim(), format) : null;
    }

    /// <summary>Whether a name is a pattern's, in which * stands for anything.</summary>
    public static bool Fits(string name, string pattern)
    {
        string[] parts = pattern.Split('*');
        int at = parts[0].Length;
        if (parts.Length == 1)
        {
            return name == pattern;
        }

        if (!name.StartsWith(parts[0], StringComparison.Ordinal))
        {
            return false;
        }

        for (int i = 1; i < parts.Length - 1; i++)
        {
            int found = name.IndexOf(parts[i], at, StringComparison.Ordinal);
            if (found < 0)
            {
                return false;
            }

            at = found + parts[i].Length;
        }

        string last = parts[parts.Length - 1];
        return name.Length - last.Length >= at && name.EndsWith(last, StringComparison.Ordinal);
    }

    private static WeightFormat Declared(ModelSpec spec, string name, IEnumerable<string> otherNames)
    {
        foreach (string text in spec.WeightsOf)
        {
            if (Rule(text) is { } rule && (Fits(name, rule.Pattern) || otherNames.Any(other => Fits(other, rule.Pattern))))
            {
                return rule.Format;
            }
        }

        return spec.WeightFormat;
    }

    /// <summary>Whether each of several matrices begins a group of rows, where rows lie in groups: their addresses are those of groups.</summary>
    private static bool BeginGroups(Shape shape, StorageFormat format) => shape.Rank == 2 || !format.IsInGroups || shape[-2].Maximum % StorageFormat.GroupRows == 0;

    /// <summary>How rows of so many elements are stored; null where they are not in this format.</summary>
    private static StorageFormat? FormatOf(WeightFormat format, int columns) => format switch
    {
        WeightFormat.F32 => null,
        WeightFormat.F16 => StorageFormat.Float16,
        WeightFormat.BF16 => StorageFormat.BFloat16,
        WeightFormat.Q8_0 when columns % StorageFormat.BlockColumns == 0 => StorageFormat.InGroups("Q8_0", columns, 32),
        WeightFormat.Q4_0 when columns % StorageFormat.BlockColumns == 0 => StorageFormat.InGroups("Q4_0", columns, 16),
        WeightFormat.Q4_1 when columns % StorageFormat.BlockColumns == 0 => StorageFormat.InInterleavedGroups("Q4_1", columns, 20),
        WeightFormat.Q5_0 when columns % StorageFormat.BlockColumns == 0 => StorageFormat.InInterleavedGroups("Q5_0", columns, 22),
        WeightFormat.Q5_1 when columns % StorageFormat.BlockColumns == 0 => StorageFormat.InInterleavedGroups("Q5_1", columns, 24),
        WeightFormat.IQ4_NL when columns % StorageFormat.BlockColumns == 0 => StorageFormat.InInterleavedGroups("IQ4_NL", columns, 18),
        WeightFormat.MXFP4 when columns % StorageFormat.BlockColumns == 0 => StorageFormat.InInterleavedGroups("MXFP4", columns, 18),
        WeightFormat.Q4_K when columns % StorageFormat.SuperColumns == 0 => StorageFormat.InSuperBlocks("Q4_K", columns, 2368),
        WeightFormat.Q6_K when columns % StorageFormat.SuperColumns == 0 => StorageFormat.InSuperBlocks("Q6_K", columns, 3392),
        WeightFormat.Q5_K when columns % StorageFormat.SuperColumns == 0 => StorageFormat.InSuperBlocks("Q5_K", columns, 2880),
        WeightFormat.Q4_K or WeightFormat.Q5_K or WeightFormat.Q6_K => FormatOf(WeightFormat.Q8_0, columns),
        WeightFormat.Q8_0 or WeightFormat.Q4_0 or WeightFormat.Q4_1 or WeightFormat.Q5_0 or WeightFormat.Q5_1 or WeightFormat.IQ4_NL or WeightFormat.MXFP4 => null,
        _ => throw new ArgumentOutOfRangeException(nameof(format)),
    };
}
