using ModelGen;

namespace Zoo.Rows;

/// <summary>Counting: what every neural language model has to beat.</summary>
internal sealed class NGramRow : ZooRow
{
    private const int Order = 5;

    public override string Name => "ngram";

    public override string Family => "NGram";

    public override string FamilyFile => "src/ModelGen.Runtime/NGram/NGramModel.cs";

    public override string Description => "An n-gram model of the stories, by words: modified Kneser–Ney of order five beside shorter and plainer ones.";

    public override string? TextHelp => "a text, a line of which is a text of its own; the last tenth is held out";

    public override RowOutcome Run(RowContext context)
    {
        WordTexts texts = WordTexts.Load(context, maximumSize: 0);
        VocabularyTokenizer tokenizer = texts.Tokenizer;
        (IReadOnlyList<int[]> seen, IReadOnlyList<int[]> unseen, int words) = (texts.Training, texts.HeldOut, tokenizer.VocabularySize);

        NGramModel model = NGramModel.Train(seen, new NGramOptions { Order = Order, VocabularySize = words });
        double Perplexity(int order, NGramSmoothing smoothing)
            => Math.Exp(NGramModel.Train(seen, new NGramOptions { Order = order, VocabularySize = words, Smoothing = smoothing }).Evaluate(unseen));
        double unigram = Perplexity(1, NGramSmoothing.ModifiedKneserNey), bigram = Perplexity(2, NGramSmoothing.ModifiedKneserNey), katz = Perplexity(Order, NGramSmoothing.Katz);

        // A step scores a held-out text, and allocates nothing.
        var scores = new float[unseen.Max(text => text.Length)];
        var perplexity = new Perplexity();
        context.Train("held-out texts are scored", unseen.Count, "words", (int)unseen.Average(text => text.Length - 1), step =>
        {
            int[] text = unseen[(int)(step % unseen.Count)];
            Span<float> own = scores.AsSpan(0, text.Length - 1);
            model.Score(text, own);
            if (step < unseen.Count)
                perplexity.Add(own);
            float sum = 0;
            foreach (float logProbability in own)
                sum -= logProbability;
            return sum / own.Length;
        });

        var sampler = new SequenceSampler(
            model.CreateDecoder(3), new DecodingOptions { MaxLength = 40, EndTokens = [tokenizer.Vocabulary.EndId] }, new SamplingOptions { Temperature = 0.8f, Seed = (ulong)context.Seed }, samples: 3);
        sampler.Sample([tokenizer.Vocabulary.BeginningId]);
        for (int sample = 0; sample < 3; sample++)
            context.Message(tokenizer.DecodeText(sampler.Result(0, sample).Content));
        context.Figures(
            ("vocabulary", FormattableString.Invariant($"{words}")),
            ("perplexity, order 1", FormattableString.Invariant($"{unigram:F2}")),
            ("perplexity, order 2", FormattableString.Invariant($"{bigram:F2}")),
            ("perplexity, Katz's back-off, order 5", FormattableString.Invariant($"{katz:F2}")));

        double value = perplexity.Value;
        return new RowOutcome(
            model.NGramCount,
            new Figure("held-out perplexity per word", value, context.TextPath is null ? TargetPerplexity : bigram, LowerIsBetter: true),
            new Figure("held-out perplexity divided by that of pairs of words", value / bigram, 0.9, LowerIsBetter: true),
            new Figure("held-out perplexity divided by that of Katz's back-off", value / katz, 1, LowerIsBetter: true));
    }

    private const double TargetPerplexity = 4;
}
