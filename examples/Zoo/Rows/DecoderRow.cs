using ModelGen;
using ModelGen.Plots;

namespace Zoo.Rows;

/// <summary>A decoder of today's parts in the proportions of Qwen3.5: two layers of the gated delta rule, whose memory does not grow, and one of attention.</summary>
[Qwen(Layers = 3, DModel = 96, Heads = 4, KeyValueHeads = 2, HeadWidth = 24, FeedForward = 192, Vocab = 512, Context = 128, Mixers = new[] { TokenMixer.GatedDelta, TokenMixer.GatedDelta, TokenMixer.Attention },
    LinearKeyHeads = 4, LinearKeyWidth = 24, Norm = Normalization.OffsetRootMeanSquare, AttentionOutputGate = true, RotaryFraction = 0.5, TieEmbeddings = true)]
[Trainable(BatchSize = 16, SequenceLength = 128)]
public partial class WordDecoder;

/// <summary>The same with adapters, which learn to tell stories otherwise.</summary>
[Qwen(Layers = 3, DModel = 96, Heads = 4, KeyValueHeads = 2, HeadWidth = 24, FeedForward = 192, Vocab = 512, Context = 128, Mixers = new[] { TokenMixer.GatedDelta, TokenMixer.GatedDelta, TokenMixer.Attention },
    LinearKeyHeads = 4, LinearKeyWidth = 24, Norm = Normalization.OffsetRootMeanSquare, AttentionOutputGate = true, RotaryFraction = 0.5, TieEmbeddings = true)]
[Lora(Rank = 8, Alpha = 16)]
[Trainable(BatchSize = 16, SequenceLength = 128)]
public partial class AdaptedWordDecoder;

/// <summary>A hybrid of recurrent layers and attention over stories; then adapters beside its weights, for stories whose sentences are said backwards.</summary>
internal sealed class DecoderRow : ZooRow
{
    private const int Length = 128;
    private const int Batch = 16;
    private const int Steps = 1000;
    private const int AdaptationSteps = 300;

    public override string Name => "decoder";

    public override string Family => "Decoder";

    public override string Description => "A hybrid of the gated delta rule and attention over the words of stories, beside the best n-gram model; then low-rank adapters for stories whose sentences run backwards.";

    public override string? TextHelp => "a text for each line; the last tenth of the lines is held out";

    public override (string Name, string Description)? Argument => ("prompt", "The beginning of a story to continue.");

    public override RowOutcome Run(RowContext context)
    {
        WordTexts texts = WordTexts.Load(context, WordDecoder.VocabularySize, stories: 12_000);
        (double ngram, int order) = texts.BestNGram(WordDecoder.VocabularySize, Length);
        var stories = new Texts(texts, texts.Training, texts.HeldOut, context.Seed);
        WordDecoder model = WordDecoder.Create(context.Seed);
        double loss;
        var optimizer = new AdamW { LearningRate = 3e-3f, Beta2 = 0.99f, WeightDecay = 0.1f, GradientClip = 1, Schedule = context.Cosine(Steps, warmup: 100) };
        using (WordDecoder.Trainer trainer = model.CreateTrainer(optimizer))
        {
            context.Export("decoder", model.Save, optimizer, Steps)?.Batch("inputs", stories.Inputs, Batch, Length).Batch("targets", stories.Targets, Batch, Length)
                .Data("inputs", stories.HeldOutInputs, stories.HeldOut.Count, Length).Data("targets", stories.HeldOutTargets, stories.HeldOut.Count, Length);
            context.Train("stories", Steps, "tokens", Batch * Length, _ => stories.Step(trainer), trainer);
            loss = trainer.Evaluate(stories.HeldOutInputs, stories.HeldOutTargets);
        }
        if (context.Plot("decoder-loss") is { } plot)
            Pictures.LossCurves("A hybrid decoder over the words of stories", [Line.OfSteps("training", context.Losses), new Line($"{order}-gram, held out", [1, context.Losses.Count], [ngram, ngram])]).SaveBoth(plot);
        using (WordDecoder.Session session = model.CreateSession())
            texts.Continue(context, session);

        (double before, double after, long adapters) = Adapt(context, texts, model);
        return new RowOutcome(WordDecoder.ParameterCount,
            new Figure($"perplexity of held-out stories (target: the {order}-gram model's)", Math.Exp(loss), Math.Exp(ngram), LowerIsBetter: true) { Peer = "decoder" },
            new Figure("perplexity of held-out stories with sentences backwards, adapters alone trained", after, 4, LowerIsBetter: true),
            new Figure("the same, relative to the perplexity without adapters", after / before, 0.1, LowerIsBetter: true),
            new Figure("numbers of adapters, relative to the decoder's", (double)adapters / WordDecoder.ParameterCount, 0.15, LowerIsBetter: true));
    }

    /// <summary>Trains adapters on stories whose sentences run backwards. The decoder's own weights stay.</summary>
    private static (double Before, double After, long Parameters) Adapt(RowContext context, WordTexts texts, WordDecoder model)
    {
        var backwards = new Texts(texts, texts.Training.Take(2000).Select(text => Backwards(texts, text)), texts.HeldOut.Select(text => Backwards(texts, text)), context.Seed + 1);
        string path = Path.GetTempFileName();
        try
        {
            model.Save(path);
            AdaptedWordDecoder adapted = AdaptedWordDecoder.Load(path);
            using AdaptedWordDecoder.Trainer trainer = adapted.CreateTrainer(new AdamW { LearningRate = 1e-2f, GradientClip = 1, Schedule = context.Cosine(AdaptationSteps, warmup: 20) });
            double before = trainer.Evaluate(backwards.HeldOutInputs, backwards.HeldOutTargets);
            context.Train("adapters", AdaptationSteps, "tokens", Batch * Length, _ => backwards.Step(trainer), trainer);
            return (Math.Exp(before), Math.Exp(trainer.Evaluate(backwards.HeldOutInputs, backwards.HeldOutTargets)), AdaptedWordDecoder.ParameterCount - WordDecoder.ParameterCount);
        }
        finally
        {
            File.Delete(path);
        }
    }

    /// <summary>A story with the words of each sentence in the opposite order, full stops where they were.</summary>
    private static int[] Backwards(WordTexts texts, int[] story)
    {
        int stop = texts.Tokenizer.EncodeText(".", beginning: false)[0];
        int[] result = [.. story];
        for (int start = 1, i = 1; i < result.Length; i++)
        {
            if (result[i] == stop || result[i] == texts.Tokenizer.Vocabulary.EndId)
            {
                Array.Reverse(result, start, i - start);
                start = i + 1;
            }
        }
        return result;
    }

    /// <summary>Texts to train on and held-out ones. Each word's target is the next one; behind the end nothing counts.</summary>
    private sealed class Texts
    {
        private readonly SequenceDataset _training;
        private readonly SequenceBatchLoader _loader;
        private readonly int[] _rows = new int[Batch];
        private readonly int _padding;

        public Texts(WordTexts texts, IEnumerable<int[]> training, IEnumerable<int[]> heldOut, int seed)
        {
            (_training, HeldOut, _padding) = (texts.Sequences(training, Length), texts.Sequences(heldOut, Length), texts.Tokenizer.Vocabulary.PaddingId);
            _loader = new SequenceBatchLoader(_training, Batch, seed: (ulong)seed);
            (HeldOutInputs, HeldOutTargets) = (new int[HeldOut.Count * Length], new int[HeldOut.Count * Length]);
            HeldOut.CopyShifted([.. Enumerable.Range(0, HeldOut.Count)], _padding, HeldOutInputs, HeldOutTargets);
        }

        public SequenceDataset HeldOut { get; }

        public int[] HeldOutInputs { get; }

        public int[] HeldOutTargets { get; }

        public int[] Inputs { get; } = new int[Batch * Length];

        public int[] Targets { get; } = new int[Batch * Length];

        public float Step(TokenTrainer trainer)
        {
            _loader.Next(_rows);
            _training.CopyShifted(_rows, _padding, Inputs, Targets);
            return trainer.Step(Inputs, Targets);
        }
    }
}
