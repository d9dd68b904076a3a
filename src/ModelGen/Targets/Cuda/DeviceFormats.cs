using System.Collections.Generic;
using System.Linq;
using ModelGen.Compiler.Emit.Ptx;
using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Kernels;
using ModelGen.Compiler.Ops;

namespace ModelGen.Compiler.Targets.Cuda;

/// <summary>
/// How parameters lie in a device's memory: as on the processor, packed, where its kernels read that; in single precision where they do not, widened once when they are copied there.
/// </summary>
internal static class DeviceFormats
{
    /// <summary>The formats of the parameters that are not single precision on a device.</summary>
    /// <param name="graphs">The graphs that are lowered.</param>
    /// <param name="formats">The formats on the processor.</param>
    public static IReadOnlyDictionary<string, StorageFormat> Of(IReadOnlyList<ModelGraph> graphs, IReadOnlyDictionary<string, StorageFormat> formats)
    {
        var widened = new HashSet<string>(formats.Where(format => !PtxPacked.IsKnown(format.Value)).Select(format => format.Key));
        foreach (Node node in graphs.SelectMany(graph => graph.Nodes))
        {
            for (int i = 0; i < node.Inputs.Count; i++)
            {
                if (node.Inputs[i].Op is Parameter parameter && !((node.Op is MatMul { Form: MatMulForm.NT or MatMulForm.NN } && i == 1) || (node.Op is ExpertMatMul && i == 1) || (node.Op is Embedding && i == 0)))
                {
                    widened.Add(parameter.ParameterName);
                }
            }
        }

        return formats.Where(format => !widened.Contains(format.Key)).ToDictionary(format => format.Key, format => format.Value);
    }
}
