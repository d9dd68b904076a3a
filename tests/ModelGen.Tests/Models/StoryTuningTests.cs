using System.Buffers.Binary;
using System.Text;
using Corpora;
using ModelGen.Tests.Infrastructure;

namespace ModelGen.Tests.Models;

/// <summary>A model that was trained on stories by others (llama2.c's stories260K) learns to tell new ones: those that examples/Corpora writes, some of which it never sees.</summary>
public sealed class StoryTuningTests
{
    private const int Rows = 4, Columns = 128, Steps = 60;

    [Fact]
    public void Adapters_lower_the_loss_on_new_stories()
    {
        LoraStories260K model = LoraStories260K.Load(Weights);
        float[] before = model.Parameter("model.layers.2.self_attn.q_proj.weight").ToArray();
        using LoraStories260K.Trainer trainer = model.CreateTrainer(new AdamW { LearningRate = 5e-3f, GradientClip = 1 });
        (double first, double last) = Tune(trainer);
        Assert.InRange(first, 2.0, 4.5);
        Assert.True(last < first - 0.8, FormattableString.Invariant($"the loss went from {first} to {last}"));
        Assert.Equal(before, model.Parameter("model.layers.2.self_attn.q_proj.weight").ToArray());

        // A file of a few kilobytes over the model's own.
        using TemporaryFile file = new();
        model.SaveAdapters(file.Path);
        Assert.True(new FileInfo(file.Path).Length < LoraStories260K.GradientBytes + 30_000);
        LoraStories260K other = LoraStories260K.Load(Weights);
        other.LoadAdapters(file.Path);
        using LoraStories260K.Trainer evaluation = other.CreateTrainer(new AdamW());
        Assert.Equal(last, Loss(evaluation, HeldOut()));
    }

    [Fact]
    public void Training_of_all_weights_lowers_the_loss_on_new_stories()
    {
        using TunedStories260K.Trainer trainer = TunedStories260K.Load(Weights).CreateTrainer(new AdamW { LearningRate = 1e-3f, GradientClip = 1 });
        (double first, double last) = Tune(trainer);
        Assert.True(last < first - 0.8, FormattableString.Invariant($"the loss went from {first} to {last}"));
    }

    private static string Weights => TestData.File("stories260K", "stories260K.bin");

    private static IReadOnlyList<Story> HeldOut() => StoryCorpus.Generate(training: 400, heldOut: 60).HeldOut;

    /// <summary>The loss of stories that are not trained on, before and after training on others.</summary>
    private static (double First, double Last) Tune(TokenTrainer trainer)
    {
        IReadOnlyList<Story> heldOut = HeldOut();
        int[] tokens = Encode(StoryCorpus.Generate(training: 400, heldOut: 60).Training);
        double first = Loss(trainer, heldOut);
        var random = new Random(1);
        for (int step = 0; step < Steps; step++)
        {
            (int[] inputs, int[] targets) = Batch(tokens, [.. Enumerable.Range(0, Rows).Select(_ => random.Next(tokens.Length - Columns - 1))]);
            trainer.Step(inputs, targets);
        }

        return (first, Loss(trainer, heldOut));
    }

    private static double Loss(TokenTrainer trainer, IReadOnlyList<Story> stories)
    {
        int[] tokens = Encode(stories);
        int batches = (tokens.Length - 1) / (Rows * Columns);
        Assert.True(batches > 3);
        return Enumerable.Range(0, batches).Average(batch =>
        {
            (int[] inputs, int[] targets) = Batch(tokens, [.. Enumerable.Range(0, Rows).Select(row => ((batch * Rows) + row) * Columns)]);
            return (double)trainer.Evaluate(inputs, targets);
        });
    }

    private static (int[] Inputs, int[] Targets) Batch(int[] tokens, int[] starts)
        => ([.. starts.SelectMany(start => tokens[start..(start + Columns)])], [.. starts.SelectMany(start => tokens[(start + 1)..(start + Columns + 1)])]);

    /// <summary>Token ids by the model's vocabulary, in llama2.c's form: pairs are merged, the best score first.</summary>
    private static int[] Encode(IReadOnlyList<Story> stories)
    {
        byte[] file = File.ReadAllBytes(TestData.File("stories260K", "tok512.bin"));
        var ids = new Dictionary<string, int>();
        var scores = new List<float>();
        for (int at = sizeof(int); at < file.Length;)
        {
            float score = BinaryPrimitives.ReadSingleLittleEndian(file.AsSpan(at));
            int length = BinaryPrimitives.ReadInt32LittleEndian(file.AsSpan(at + 4));
            ids.TryAdd(Encoding.UTF8.GetString(file, at + 8, length), scores.Count);
            scores.Add(score);
            at += 8 + length;
        }

        Assert.Equal(512, scores.Count);
        var tokens = new List<int>();
        foreach (Story story in stories)
        {
            List<string> pieces = [.. (" " + story.Text).Select(c => c.ToString())];
            while (true)
            {
                int best = -1;
                for (int i = 0; i + 1 < pieces.Count; i++)
                {
                    if (ids.TryGetValue(pieces[i] + pieces[i + 1], out int id) && (best < 0 || scores[id] > scores[ids[pieces[best] + pieces[best + 1]]]))
                    {
                        best = i;
                    }
                }

                if (best < 0)
                {
                    break;
                }

                pieces[best] += pieces[best + 1];
                pieces.RemoveAt(best + 1);
            }

            tokens.Add(1);
            tokens.AddRange(pieces.Select(piece => ids[piece]));
        }

        return [.. tokens];
    }
}
