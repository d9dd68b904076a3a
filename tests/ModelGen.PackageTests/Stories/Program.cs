using System.Globalization;
using ModelGen;

// Continues the sequence that begins with token 1, by the weights of a file of any format that the package reads.
Stories model = Stories.Load(args[0]);
using var session = model.CreateSession(new SessionOptions { Threads = 1 });
var generator = new TokenGenerator(session, new Sampler(new SamplingOptions { Temperature = 0 }, Stories.VocabularySize));
generator.Start([1]);
for (int i = int.Parse(args[1], CultureInfo.InvariantCulture); i > 0; i--)
{
    Console.WriteLine(generator.Next());
}

[Decoder(Layers = 5, DModel = 64, Heads = 8, KeyValueHeads = 4, FeedForward = 172, Vocab = 512, Context = 512, RotaryLayout = RotaryLayout.Interleaved, TieEmbeddings = true)]
public partial class Stories;
