namespace ModelGen.Tests.Models;

/// <summary>The constants of a class against the memory that its sessions and trainers really have, and really use.</summary>
public sealed class MemoryTests
{
    // No plan computes this pattern: a quiet not-a-number with a payload.
    private static readonly float s_untouched = BitConverter.Int32BitsToSingle(0x7FC5A5A5);

    [Fact]
    public void Tied_gpt() => Sequences<TiedGpt>(TiedGpt.InferenceArenaBytes, TiedGpt.SessionStateBytes, TiedGpt.TrainingArenaBytes, TiedGpt.AdamWTrainingBytes);

    [Fact]
    public void Untied_gpt() => Sequences<UntiedGpt>(UntiedGpt.InferenceArenaBytes, UntiedGpt.SessionStateBytes, UntiedGpt.TrainingArenaBytes, UntiedGpt.AdamWTrainingBytes);

    [Fact]
    public void Gpt_with_dropout() => Sequences<DropoutGpt>(DropoutGpt.InferenceArenaBytes, DropoutGpt.SessionStateBytes, DropoutGpt.TrainingArenaBytes, DropoutGpt.AdamWTrainingBytes);

    [Fact]
    public void Lstm() => Sequences<LstmLm>(LstmLm.InferenceArenaBytes, LstmLm.SessionStateBytes, LstmLm.TrainingArenaBytes, LstmLm.AdamWTrainingBytes);

    [Fact]
    public void Gru() => Sequences<GruLm>(GruLm.InferenceArenaBytes, GruLm.SessionStateBytes, GruLm.TrainingArenaBytes, GruLm.AdamWTrainingBytes);

    [Fact]
    public void Rnn() => Sequences<RnnLm>(RnnLm.InferenceArenaBytes, RnnLm.SessionStateBytes, RnnLm.TrainingArenaBytes, RnnLm.AdamWTrainingBytes);

    [Fact]
    public void Mlp()
    {
        SpiralMlp model = SpiralMlp.Create();
        using (FeedForwardSession session = model.CreateSession())
        {
            float[] inputs = new float[session.MaximumBatch * session.InputSize];
            IsUsed(session.Arena, SpiralMlp.InferenceArenaBytes, () => session.Predict(inputs, new float[session.MaximumBatch * session.OutputSize]));
        }

        using ClassifierTrainer trainer = model.CreateTrainer(new AdamW());
        Assert.Equal(SpiralMlp.AdamWTrainingBytes, trainer.MemoryBytes);
        IsUsed(trainer.Arena, SpiralMlp.TrainingArenaBytes, () =>
        {
            trainer.Step(new float[97 * 2], new int[97]);
            trainer.Evaluate(new float[97 * 2], new int[97]);
        });
    }

    [Fact]
    public void A_gradient_takes_as_much_as_its_weights_and_plain_descent_needs_no_slots()
    {
        using TokenTrainer trainer = TiedGpt.Create().CreateTrainer(new Sgd());
        Assert.Equal(TiedGpt.AdamWTrainingBytes - (2 * TiedGpt.WeightBytes), trainer.MemoryBytes);
    }

    private static void Sequences<TModel>(long inferenceArena, long state, long trainingArena, long training)
        where TModel : ITrainableLanguageModel<TModel>
    {
        TModel model = TModel.Create();
        using (CausalSession session = model.CreateSession())
        {
            Assert.InRange(session.StateBytes, state, state + 63);
            int[] prompt = new int[session.ContextLength > 0 ? session.ContextLength : 300];
            IsUsed(session.Arena, inferenceArena, () =>
            {
                session.Prefill(prompt);
                session.Reset();
                session.Decode(0);
            });
        }

        using TokenTrainer trainer = model.CreateTrainer(new AdamW());
        Assert.InRange(trainer.MemoryBytes, training, training + 127);
        int[] tokens = new int[TModel.TrainingBatchSize * TModel.TrainingSequenceLength];
        IsUsed(trainer.Arena, trainingArena, () =>
        {
            trainer.Step(tokens, tokens);
            trainer.Evaluate(tokens, tokens);
        });
    }

    /// <summary>
    /// An arena has the size of its constant, and the plans use it to its end, but for a little: what aligns a buffer, and the part of
    /// a kernel's workspace that only another vector width needs.
    /// </summary>
    private static void IsUsed(Span<float> arena, long constant, Action run)
    {
        Assert.Equal(constant, arena.Length * sizeof(float));
        arena.Fill(s_untouched);
        run();
        int last = arena.Length - 1;
        while (last >= 0 && BitConverter.SingleToInt32Bits(arena[last]) == BitConverter.SingleToInt32Bits(s_untouched))
        {
            last--;
        }

        Assert.InRange((last + 1) * sizeof(float), constant - (constant / 8), constant);
    }
}
