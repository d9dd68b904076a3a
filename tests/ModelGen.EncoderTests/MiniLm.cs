using System.Reflection;
using FastBertTokenizer;

namespace ModelGen.EncoderTests;

/// <summary>all-MiniLM-L6-v2 (Reimers and Gurevych, "Sentence-BERT", 2019): a trained encoder of sentences, six layers of 384.</summary>
[Bert(Layers = 6, DModel = 384, Heads = 12, FeedForward = 1536, Vocab = 30522, Context = 512, MaxBatch = 12, Embeddings = Pooling.Mean, Normalize = true)]
public partial class MiniLm
{
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
        using var vocabulary = new StreamReader(new MemoryStream(TrainedEncoder.Vocabulary(AssemblyPath)));
        tokenizer.LoadVocabulary(vocabulary, convertInputToLowercase: true);

        IReadOnlyDictionary<string, TrainedEncoder.Tensor> weights = TrainedEncoder.Read(AssemblyPath);
        MiniLm model = Create();
        foreach (ParameterInfo parameter in Parameters)
        {
            weights[parameter.Name["bert.".Length..]].Values.CopyTo(model.Parameter(parameter.Name));
        }

        return (model, tokenizer);
    }
}
