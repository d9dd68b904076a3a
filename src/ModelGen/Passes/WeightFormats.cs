using System;
using System.Collections.Generic;
using System.Linq;
using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Kernels;
using ModelGen.Compiler.Ops;

namespace ModelGen.Compiler.Passes;

/// <summary>
/// How parameters lie in memory: as the declaration says, where everything that reads one of them can read that, and in single precision elsewhere. Readers are products that
/// contract the rows of both factors, of which it is the second, and embeddings.
/// </summary>
internal static class WeightFormats
{
    /// <summary>The formats of the parameters that are not single precision.</summary>
    /// <param name="graphs">The graphs that are lowered.</param>
    /// <param name="spec">The declaration.</param>
    public static IReadOnlyDictionary<string, StorageFormat> Of(IReadOnlyList<ModelGraph> graphs, ModelSpec spec)
    {
        var formats = new Dictionary<string, StorageFormat>();
        if (spec.WeightFormat == WeightFormat.F32)
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
                    if (!((node.Op is MatMul { Form: MatMulForm.NT } && i == 1) || (node.Op is Embedding && i == 0)))
                    {
                        Refuse(node.Inputs[i]);
                    }
                }
            }
        }

        foreach (Parameter parameter in graphs.SelectMany(g => g.NodesOf<Parameter>()).Select(n => (Parameter)n.Op))
        {
            if (!parameter.IsTable && parameter.Shape.Rank == 2 && !others.Contains(parameter.ParameterName) && FormatOf(spec.WeightFormat, parameter.Shape.Columns) is { } format)
            {
                formats[parameter.ParameterName] = format;
            }
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

    /// <summary>How rows of so many elements are stored; null where they are not in this format.</summary>
    private static StorageFormat? FormatOf(WeightFormat format, int columns) => format switch
    {
        WeightFormat.F16 => StorageFormat.Float16,
        WeightFormat.BF16 => StorageFormat.BFloat16,
        WeightFormat.Q8_0 when columns % StorageFormat.BlockColumns == 0 => StorageFormat.InGroups("Q8_0", columns, 32),
        WeightFormat.Q4_0 when columns % StorageFormat.BlockColumns == 0 => StorageFormat.InGroups("Q4_0", columns, 16),
        WeightFormat.Q8_0 or WeightFormat.Q4_0 => null,
        _ => throw new ArgumentOutOfRangeException(nameof(format)),
    };
}
