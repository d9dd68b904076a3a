using ModelGen.Tests.Infrastructure;

namespace ModelGen.Tests.Models;

/// <summary>Each family against PyTorch: logits, each gradient tensor, and twenty steps of training.</summary>
public sealed class PyTorchParityTests
{
    [Fact]
    public void Tied_gpt_logits() => Parity.Logits<TiedGpt>("gpt-tied");

    [Fact]
    public void Tied_gpt_gradients() => Parity.Gradients<TiedGpt>("gpt-tied", TiedGpt.Parameters);

    [Fact]
    public void Tied_gpt_training() => Parity.Training<TiedGpt>("gpt-tied");

    [Fact]
    public void Untied_gpt_logits() => Parity.Logits<UntiedGpt>("gpt-untied");

    [Fact]
    public void Untied_gpt_gradients_with_ignored_targets() => Parity.Gradients<UntiedGpt>("gpt-untied", UntiedGpt.Parameters);

    [Fact]
    public void Untied_gpt_training_with_ignored_targets() => Parity.Training<UntiedGpt>("gpt-untied");

    [Fact]
    public void Shared_keys_gpt_logits() => Parity.Logits<SharedKeysGpt>("gpt-shared-keys");

    [Fact]
    public void Shared_keys_gpt_gradients() => Parity.Gradients<SharedKeysGpt>("gpt-shared-keys", SharedKeysGpt.Parameters);

    [Fact]
    public void Shared_keys_gpt_training() => Parity.Training<SharedKeysGpt>("gpt-shared-keys");

    [Fact]
    public void Alibi_gpt_logits() => Parity.Logits<AlibiGpt>("gpt-window-alibi");

    [Fact]
    public void Alibi_gpt_gradients() => Parity.Gradients<AlibiGpt>("gpt-window-alibi", AlibiGpt.Parameters);

    [Fact]
    public void Alibi_gpt_training() => Parity.Training<AlibiGpt>("gpt-window-alibi");

    [Fact]
    public void Relative_gpt_logits() => Parity.Logits<RelativeGpt>("gpt-relative");

    [Fact]
    public void Relative_gpt_gradients() => Parity.Gradients<RelativeGpt>("gpt-relative", RelativeGpt.Parameters);

    [Fact]
    public void Relative_gpt_training() => Parity.Training<RelativeGpt>("gpt-relative");

    [Fact]
    public void Strided_gpt_logits() => Parity.Logits<StridedGpt>("gpt-strided");

    [Fact]
    public void Strided_gpt_gradients() => Parity.Gradients<StridedGpt>("gpt-strided", StridedGpt.Parameters);

    [Fact]
    public void Strided_gpt_training() => Parity.Training<StridedGpt>("gpt-strided");

    [Fact]
    public void Fixed_gpt_logits() => Parity.Logits<FixedGpt>("gpt-fixed");

    [Fact]
    public void Fixed_gpt_gradients() => Parity.Gradients<FixedGpt>("gpt-fixed", FixedGpt.Parameters);

    [Fact]
    public void Fixed_gpt_training() => Parity.Training<FixedGpt>("gpt-fixed");

    [Fact]
    public void Global_gpt_logits() => Parity.Logits<GlobalGpt>("gpt-global");

    [Fact]
    public void Global_gpt_gradients() => Parity.Gradients<GlobalGpt>("gpt-global", GlobalGpt.Parameters);

    [Fact]
    public void Global_gpt_training() => Parity.Training<GlobalGpt>("gpt-global");

    [Fact]
    public void Lstm_logits() => Parity.Logits<LstmLm>("lstm");

    [Fact]
    public void Lstm_gradients() => Parity.Gradients<LstmLm>("lstm", LstmLm.Parameters);

    [Fact]
    public void Lstm_gradients_with_carried_state() => Parity.SecondWindow<LstmLm>("lstm", LstmLm.Parameters);

    [Fact]
    public void Lstm_training() => Parity.Training<LstmLm>("lstm");

    [Fact]
    public void Gru_logits() => Parity.Logits<GruLm>("gru");

    [Fact]
    public void Gru_gradients() => Parity.Gradients<GruLm>("gru", GruLm.Parameters);

    [Fact]
    public void Gru_gradients_with_carried_state() => Parity.SecondWindow<GruLm>("gru", GruLm.Parameters);

    [Fact]
    public void Gru_training() => Parity.Training<GruLm>("gru");

    [Fact]
    public void Rnn_logits() => Parity.Logits<RnnLm>("rnn");

    [Fact]
    public void Rnn_gradients() => Parity.Gradients<RnnLm>("rnn", RnnLm.Parameters);

    [Fact]
    public void Rnn_gradients_with_carried_state() => Parity.SecondWindow<RnnLm>("rnn", RnnLm.Parameters);

    [Fact]
    public void Rnn_training() => Parity.Training<RnnLm>("rnn");

    [Fact]
    public void Projected_gru_logits() => Parity.Logits<ProjectedGruLm>("gru-projected");

    [Fact]
    public void Projected_gru_gradients() => Parity.Gradients<ProjectedGruLm>("gru-projected", ProjectedGruLm.Parameters);

    [Fact]
    public void Projected_gru_training() => Parity.Training<ProjectedGruLm>("gru-projected");

    [Fact]
    public void Mlp_with_cross_entropy()
    {
        ReferenceFile reference = ReferenceFile.OfFixture("mlp-cross-entropy.reference");
        float[] inputs = reference.Floats("inputs");
        int[] targets = reference.Ints("targets");
        CrossEntropyMlp Load() => CrossEntropyMlp.Load(SourceTree.Fixture("mlp-cross-entropy.safetensors"));

        using (FeedForwardSession session = Load().CreateSession())
        {
            CheckOutputs(session, reference, "mlp-cross-entropy");
        }

        using (ClassifierTrainer trainer = Load().CreateTrainer(new AdamW { LearningRate = 1e-3f }))
        {
            trainer.Step(Parity.Floats(inputs, 0), Parity.Ints(targets, 0));
            Parity.CheckGradients(trainer, reference, CrossEntropyMlp.Parameters, "gradients.", "mlp-cross-entropy");
        }

        CrossEntropyMlp model = Load();
        using (ClassifierTrainer trainer = model.CreateTrainer(new AdamW { LearningRate = 1e-3f, WeightDecay = 0.1f, GradientClip = 1 }))
        {
            Parity.CheckTraining("mlp-cross-entropy", reference, trainer, i => trainer.Step(Parity.Floats(inputs, i), Parity.Ints(targets, i)), model.Save);
        }
    }

    [Fact]
    public void Mlp_with_squared_error()
    {
        ReferenceFile reference = ReferenceFile.OfFixture("mlp-squared-error.reference");
        SquaredErrorMlp Load() => SquaredErrorMlp.Load(SourceTree.Fixture("mlp-squared-error.safetensors"));
        using (FeedForwardSession session = Load().CreateSession())
        {
            CheckOutputs(session, reference, "mlp-squared-error");
        }

        SquaredErrorMlp first = Load();
        SquaredErrorMlp second = Load();
        CheckRegression("mlp-squared-error", reference, (optimizer, again) => (again ? second : first).CreateTrainer(optimizer), SquaredErrorMlp.Parameters, second.Save);
    }

    [Fact]
    public void Mlp_of_every_activation()
    {
        ReferenceFile reference = ReferenceFile.OfFixture("mlp-activations.reference");
        MixedMlp Load() => MixedMlp.Load(SourceTree.Fixture("mlp-activations.safetensors"));
        using (FeedForwardSession session = Load().CreateSession())
        {
            CheckOutputs(session, reference, "mlp-activations");
        }

        MixedMlp first = Load();
        MixedMlp second = Load();
        CheckRegression("mlp-activations", reference, (optimizer, again) => (again ? second : first).CreateTrainer(optimizer), MixedMlp.Parameters, second.Save);
    }

    [Fact]
    public void Mlp_with_binary_cross_entropy()
    {
        ReferenceFile reference = ReferenceFile.OfFixture("mlp-binary.reference");
        BinaryMlp Load() => BinaryMlp.Load(SourceTree.Fixture("mlp-binary.safetensors"));
        using (FeedForwardSession session = Load().CreateSession())
        {
            // The model's output is the probability; the loss is computed from the logit.
            CheckOutputs(session, reference, "mlp-binary", logit => 1 / (1 + Math.Exp(-logit)));
        }

        BinaryMlp first = Load();
        BinaryMlp second = Load();
        CheckRegression("mlp-binary", reference, (optimizer, again) => (again ? second : first).CreateTrainer(optimizer), BinaryMlp.Parameters, second.Save);
    }

    private static void CheckRegression(
        string fixture,
        ReferenceFile reference,
        Func<Optimizer, bool, RegressionTrainer> create,
        IReadOnlyList<ParameterInfo> parameters,
        Action<string> save)
    {
        float[] inputs = reference.Floats("inputs");
        float[] targets = reference.Floats("targets");
        using (RegressionTrainer trainer = create(new AdamW { LearningRate = 1e-3f }, false))
        {
            trainer.Step(Parity.Floats(inputs, 0), Parity.Floats(targets, 0));
            Parity.CheckGradients(trainer, reference, parameters, "gradients.", fixture);
        }

        using (RegressionTrainer trainer = create(new AdamW { LearningRate = 1e-3f, WeightDecay = 0.1f, GradientClip = 1 }, true))
        {
            Parity.CheckTraining(fixture, reference, trainer, i => trainer.Step(Parity.Floats(inputs, i), Parity.Floats(targets, i)), save);
        }
    }

    private static void CheckOutputs(FeedForwardSession session, ReferenceFile reference, string what, Func<double, double>? output = null)
    {
        float[] expected = Array.ConvertAll(reference.Floats("logits"), y => output is null ? y : (float)output(y));
        float[] outputs = new float[expected.Length];
        ReadOnlySpan<float> inputs = Parity.Floats(reference.Floats("inputs"), 0);
        session.Predict(inputs, outputs);
        Compare.Absolute(expected, outputs, Parity.LogitsTolerance, what);

        // One row at a time, and more rows than a block holds.
        int rows = inputs.Length / session.InputSize;
        float[] one = new float[session.OutputSize];
        for (int row = 0; row < rows; row++)
        {
            session.Predict(inputs.Slice(row * session.InputSize, session.InputSize), one);
            Compare.Absolute(expected.AsSpan(row * session.OutputSize, session.OutputSize), one, Parity.LogitsTolerance, what + ", single row");
        }

        int copies = (session.MaximumBatch / rows) + 2;
        float[] many = new float[copies * inputs.Length];
        float[] manyOutputs = new float[copies * expected.Length];
        for (int i = 0; i < copies; i++)
        {
            inputs.CopyTo(many.AsSpan(i * inputs.Length));
        }

        session.Predict(many, manyOutputs);
        for (int i = 0; i < copies; i++)
        {
            Compare.Absolute(expected, manyOutputs.AsSpan(i * expected.Length, expected.Length), Parity.LogitsTolerance, what + ", many rows");
        }
    }
}
