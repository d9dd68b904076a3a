using ModelGen;
using ModelGen.Plots;

namespace Zoo.Rows;

/// <summary>A decoder-only Transformer over the words of stories.</summary>
[Gpt(Layers = 3, DModel = 96, Heads = 4, Vocab = 512, Context = 128)]
[Trainable(BatchSize = 16, SequenceLength = 128)]
public partial class WordGpt;

/// <summary>A GPT over stories, which remembers over sentences what an n-gram model cannot: who the hero is, what he owns and where he lives.</summary>
internal sealed class GptRow : ZooRow
{
    private const int Length = 128;
    private const int Batch = 16;
    private const int Steps = 2000;

    public override string Name => "gpt";

    public override string Family => "Gpt";

    public override string Description => "A decoder-only Transformer over the words of stories, beside the best n-gram model of the same text.";

    public override string? TextHelp => "a text for each line; the last tenth of the lines is held out";

    public override (string Name, string Description)? Argument => ("prompt", "The beginning of a story to continue.");

    public override RowOutcome Run(RowContext context)
    {
        WordTexts texts = WordTexts.Load(context, WordGpt.VocabularySize, stories: 12_000);
        (double ngram, int order) = BestNGram(texts);
        var random = new CounterRandom((ulong)context.Seed, 1);
        int[] inputs = new int[Batch * Length], targets = new int[Batch * Length];
        List<double> at = [], validation = [];
        WordGpt model = WordGpt.Create(context.Seed);
        double loss;
        using (WordGpt.Trainer trainer = model.CreateTrainer(new AdamW { LearningRate = 3e-3f, Beta2 = 0.99f, WeightDecay = 0.1f, GradientClip = 1, Schedule = context.Cosine(Steps, warmup: 100) }))
        {
            context.Train("stories", Steps, "tokens", Batch * Length, _ =>
            {
                for (int row = 0; row < Batch; row++)
                    Fill(texts.Training[random.NextInt32(texts.Training.Count)], row, inputs, targets);
                return trainer.Step(inputs, targets);
            }, trainer, (step, view) =>
            {
                if (step % 500 == 0)
                {
                    at.Add(step);
                    validation.Add(Evaluate(trainer, texts.HeldOut));
                    view.Evaluation(new TrainingEvaluation(step, validation[^1], validation.Min(), validation[^1] == validation.Min()));
                }
            });
            loss = Evaluate(trainer, texts.HeldOut);
        }
        Write(context, texts, model);
        if (context.Plot("gpt-loss") is { } plot)
        {
            Pictures.LossCurves("GPT over the words of stories", [Line.OfSteps("training", context.Losses), new Line("held out", at, validation), new Line($"{order}-gram, held out", [1, context.Losses.Count], [ngram, ngram])]).SaveBoth(plot);
        }
        return new RowOutcome(WordGpt.ParameterCount, new Figure($"perplexity of held-out stories (target: the {order}-gram model's)", Math.Exp(loss), Math.Exp(ngram), LowerIsBetter: true));
    }

    /// <summary>The n-gram model, of those of two to six words, that does best on the held-out part itself.</summary>
    private static (double Loss, int Order) BestNGram(WordTexts texts) => Enumerable.Range(2, 5)
        .Select(order => (NGramModel.Train(texts.Training, new NGramOptions { Order = order, VocabularySize = WordGpt.VocabularySize }).Evaluate(texts.HeldOut.Select(Cut)), order))
        .Min();

    /// <summary>What of a text the GPT sees: the same words are predicted by both.</summary>
    private static int[] Cut(int[] text) => text.Length > Length + 1 ? text[..(Length + 1)] : text;

    /// <summary>A text as a row of a batch: each word's target is the next one; behind its end nothing counts.</summary>
    private static void Fill(int[] text, int row, int[] inputs, int[] targets)
    {
        for (int t = 0; t < Length; t++)
        {
            inputs[row * Length + t] = t + 1 < text.Length ? text[t] : WordTexts.End;
            targets[row * Length + t] = t + 1 < text.Length ? text[t + 1] : -1;
        }
    }

    /// <summary>The mean loss of all words of the texts, in nats.</summary>
    private static double Evaluate(TokenTrainer trainer, IReadOnlyList<int[]> texts)
    {
        int[] inputs = new int[Length], targets = new int[Length];
        double sum = 0;
        long count = 0;
        foreach (int[] text in texts)
        {
            Fill(text, 0, inputs, targets);
            int words = targets.Count(target => target >= 0);
            sum += trainer.Evaluate(inputs, targets) * words;
            count += words;
        }
        return sum / count;
    }

    private static void Write(RowContext context, WordTexts texts, WordGpt model)
    {
        string prompt = context.Argument ?? "once there was";
        using WordGpt.Session session = model.CreateSession();
        var generator = new TokenGenerator(session, new Sampler(new SamplingOptions { Temperature = 0.7f, Seed = (ulong)context.Seed }, session.VocabularySize));
        int[] start = texts.Encode(WordTexts.Split(prompt))[..^1];
        generator.Start(start);
        var words = new List<int>();
        while (words.Count + start.Length < WordGpt.ContextLength)
        {
            int word = generator.Next();
            if (word == WordTexts.End)
                break;
            words.Add(word);
        }
        context.Message($"{prompt} {texts.Decode(words)}");
    }
}
