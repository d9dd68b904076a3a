using System.Collections.Generic;
using System.Linq;
using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Kernels;
using ModelGen.Compiler.Ops;

namespace ModelGen.Compiler.Passes;

/// <summary>
/// How states lie in memory: as the declaration says of keys and values, where rows are added to a state and attention alone reads it, and in single precision elsewhere.
/// </summary>
internal static class CacheFormats
{
    /// <summary>The formats of the states that are not single precision.</summary>
    /// <param name="graphs">The graphs that are lowered.</param>
    /// <param name="declared">The declaration.</param>
    public static IReadOnlyDictionary<string, StorageFormat> Of(IReadOnlyList<ModelGraph> graphs, CacheFormat declared)
    {
        var formats = new Dictionary<string, StorageFormat>();
        if (declared == CacheFormat.F32)
        {
            return formats;
        }

        var others = new HashSet<string>();
        foreach (ModelGraph graph in graphs)
        {
            var rows = new Dictionary<Value, (string State, int Columns)>();
            foreach (Node node in graph.Nodes)
            {
                switch (node.Op)
                {
                    case StateRead state:
                        rows[new Value(node, 0)] = (state.State, 0);
                        break;
                    case SequenceStates states:
                        rows[new Value(node, 0)] = (states.State, 0);
                        break;
                }

                for (int i = 0; i < node.Inputs.Count; i++)
                {
                    if (!rows.TryGetValue(node.Inputs[i], out (string State, int Columns) read))
                    {
                        continue;
                    }

                    int columns = node.Inputs[i].Shape.Columns;
                    if (i == 0 && read.Columns == 0 && (node.Op is AppendState || (node.Op is ScatterRows && node.Inputs.Count == 4)) && FormatOf(declared, columns) is { } format)
                    {
                        rows[new Value(node, 0)] = (read.State, columns);
                        formats[read.State] = format;
                    }
                    else if (!(read.Columns > 0 && i is 1 or 2 && node.Op is Attention { Range: { IsCached: true, Pattern: null } } attention && Suits(declared, attention)))
                    {
                        others.Add(read.State);
                    }
                }
            }

            others.UnionWith(graph.StateUpdates.Select(update => update.State));
            others.UnionWith(graph.Results.Where(rows.ContainsKey).Select(value => rows[value].State));
        }

        foreach (string state in others)
        {
            formats.Remove(state);
        }

        return formats;
    }

    /// <summary>Whether heads are whole blocks.</summary>
    public static bool Suits(CacheFormat format, int headWidth) => format != CacheFormat.Q8_0 || headWidth % StorageFormat.BlockColumns == 0;

    private static bool Suits(CacheFormat format, Attention attention) => Suits(format, attention.HeadDim);

    private static StorageFormat? FormatOf(CacheFormat format, int columns) => format switch
    {
        CacheFormat.F16 when columns % 2 == 0 => StorageFormat.Float16,
        CacheFormat.Q8_0 when columns % StorageFormat.BlockColumns == 0 => StorageFormat.InRows("Q8_0", columns),
        _ => null,
    };
}
