using System.Globalization;
using ModelGen.Tests.Infrastructure;

namespace ModelGen.Tests.Models;

/// <summary>Compares a compiled language model with what PyTorch computed from the same parameters (<c>tests/fixtures/make_fixtures.py</c>).</summary>
internal static class Parity
{
    public const double LogitsTolerance = 1e-4;
    public const double GradientTolerance = 1e-5;
    public const double LossTolerance = 1e-4;
    private const int Steps = 20;

    /// <summary>The logits at every position: token by token, from prompts of several lengths, and from a prompt in two parts.</summary>
    public static void Logits<TModel>(string fixture)
        where TModel : ICausalLanguageModel<TModel>
    {
        ReferenceFile reference = ReferenceFile.OfFixture(fixture + ".reference");
        float[] logits = reference.Floats("logits");
        int[] inputs = reference.Ints("inputs");
        int[] shape = reference.Shape("logits");
        (int batch, int time, int vocabulary) = (shape[0], shape[1], shape[2]);
        Assert.Equal(vocabulary, TModel.VocabularySize);

        TModel model = TModel.Load(SourceTree.Fixture(fixture + ".safetensors"));
        using CausalSession session = model.CreateSession(new SessionOptions { Threads = 2 });
        for (int b = 0; b < batch; b++)
        {
            int[] tokens = inputs[(b * time)..((b + 1) * time)];
            void Check(ReadOnlySpan<float> actual, int position, string how)
                => Compare.Absolute(logits.AsSpan(((b * time) + position) * vocabulary, vocabulary), actual, LogitsTolerance, $"{fixture}, sequence {b}, position {position}, {how}");

            session.Reset();
            for (int t = 0; t < time; t++)
            {
                Check(session.Decode(tokens[t]), t, "decode");
                Assert.Equal(t + 1, session.Position);
            }

            for (int length = 1; length <= time; length++)
            {
                session.Reset();
                Check(session.Prefill(tokens.AsSpan(0, length)), length - 1, "prefill");
                if (length < time)
                {
                    Check(session.Decode(tokens[length]), length, "decode after prefill");
                }

                if (length + 2 <= time)
                {
                    Check(session.Prefill(tokens.AsSpan((length + 1)..)), time - 1, "second prefill");
                }
            }
        }
    }

    /// <summary>The loss, every gradient tensor and the gradient norm of the first step.</summary>
    public static void Gradients<TModel>(string fixture, IReadOnlyList<ParameterInfo> parameters)
        where TModel : ITrainableLanguageModel<TModel>
    {
        ReferenceFile reference = ReferenceFile.OfFixture(fixture + ".reference");
        TModel model = TModel.Load(SourceTree.Fixture(fixture + ".safetensors"));
        using TokenTrainer trainer = model.CreateTrainer(new AdamW { LearningRate = 1e-3f }, new TrainerOptions { Threads = 2 });
        float loss = Step(trainer, reference, 0);
        Assert.Equal(reference.Floats("losses")[0], loss, LossTolerance);
        CheckGradients(trainer, reference, parameters, "gradients.", fixture);
        Assert.Equal(reference.Floats("norms")[0], trainer.GradientNorm, GradientTolerance * reference.Floats("norms")[0]);
    }

    /// <summary>The gradients of a second window that starts from the state the first one ended in, with the parameters unchanged.</summary>
    public static void SecondWindow<TModel>(string fixture, IReadOnlyList<ParameterInfo> parameters)
        where TModel : ITrainableLanguageModel<TModel>
    {
        ReferenceFile reference = ReferenceFile.OfFixture(fixture + ".reference");
        TModel model = TModel.Load(SourceTree.Fixture(fixture + ".safetensors"));
        using TokenTrainer trainer = model.CreateTrainer(new Sgd { LearningRate = 0 }, new TrainerOptions { Threads = 2 });
        float first = Step(trainer, reference, 0);
        Step(trainer, reference, 1);
        CheckGradients(trainer, reference, parameters, "second.gradients.", fixture + ", second window");

        trainer.ResetState();
        Assert.Equal(first, Step(trainer, reference, 0));
        CheckGradients(trainer, reference, parameters, "gradients.", fixture + ", after ResetState");
    }

    /// <summary>The losses and gradient norms of 20 AdamW steps, and what they made of every parameter.</summary>
    public static void Training<TModel>(string fixture)
        where TModel : ITrainableLanguageModel<TModel>
    {
        ReferenceFile reference = ReferenceFile.OfFixture(fixture + ".reference");
        TModel model = TModel.Load(SourceTree.Fixture(fixture + ".safetensors"));
        using TokenTrainer trainer = model.CreateTrainer(
            new AdamW { LearningRate = 1e-3f, WeightDecay = 0.1f, GradientClip = 1 },
            new TrainerOptions { Threads = 2 });
        CheckTraining(fixture, reference, trainer, step => Step(trainer, reference, step), model.Save);
    }

    public static void CheckGradients(Trainer trainer, ReferenceFile reference, IReadOnlyList<ParameterInfo> parameters, string prefix, string what)
    {
        Assert.Equal(
            reference.Names.Where(n => n.StartsWith(prefix, StringComparison.Ordinal)).Select(n => n[prefix.Length..]).Order(StringComparer.Ordinal),
            parameters.Select(p => p.Name).Order(StringComparer.Ordinal));
        foreach (ParameterInfo parameter in parameters)
        {
            float[] expected = reference.Floats(prefix + parameter.Name);
            if (parameter.TransposedInFile)
            {
                expected = Transpose(expected, rows: parameter.Shape[1], columns: parameter.Shape[0]);
            }

            Compare.RelativeToNorm(expected, trainer.Gradient(parameter.Name), GradientTolerance, $"{what}: gradient of {parameter.Name}");
        }
    }

    public static void CheckTraining(string fixture, ReferenceFile reference, Trainer trainer, Func<int, float> step, Action<string> save)
    {
        float[] losses = reference.Floats("losses");
        float[] norms = reference.Floats("norms");
        for (int i = 0; i < Steps; i++)
        {
            string what = string.Create(CultureInfo.InvariantCulture, $"{fixture}: loss of step {i + 1}");
            Compare.Absolute([losses[i]], [step(i)], LossTolerance, what);
            Compare.RelativeToNorm([norms[i]], [trainer.GradientNorm], 1e-4, $"{fixture}: gradient norm of step {i + 1}");
        }

        Assert.Equal(Steps, trainer.StepCount);
        using TemporaryFile file = new();
        save(file.Path);
        ReferenceFile initial = ReferenceFile.OfFixture(fixture);
        ReferenceFile updated = new(file.Path);
        Assert.Equal(initial.Names.Order(StringComparer.Ordinal), updated.Names.Order(StringComparer.Ordinal));
        foreach (string name in initial.Names)
        {
            Assert.Equal(initial.Shape(name), updated.Shape(name));
            float[] before = initial.Floats(name);
            float[] after = updated.Floats(name);
            float[] final = reference.Floats("final." + name);
            if (final[1] == 0)
            {
                // It is frozen.
                Compare.Bits(before, after, $"{fixture}: {name} after {Steps} steps");
                continue;
            }

            // Adam divides by the gradient's own size, so that elements whose gradient is zero but for rounding move by rounding:
            // the bias of the keys is all of that kind, since it shifts the scores of a row alike.
            double tolerance = name.EndsWith("c_attn.bias", StringComparison.Ordinal) || name.EndsWith("in_proj_bias", StringComparison.Ordinal) ? 1e-3 : 1e-4;
            Compare.RelativeToNorm([final[0]], [Norm(after)], tolerance, $"{fixture}: norm of {name} after {Steps} steps");
            Compare.RelativeToNorm([final[1]], [Norm([.. after.Zip(before, (a, b) => a - b)])], 1e-2, $"{fixture}: change of {name} in {Steps} steps");
        }
    }

    public static ReadOnlySpan<int> Ints(int[] all, int step) => all.AsSpan(step * (all.Length / Steps), all.Length / Steps);

    public static ReadOnlySpan<float> Floats(float[] all, int step) => all.AsSpan(step * (all.Length / Steps), all.Length / Steps);

    private static float Step(TokenTrainer trainer, ReferenceFile reference, int step)
        => trainer.Step(Ints(reference.Ints("inputs"), step), Ints(reference.Ints("targets"), step));

    private static float Norm(float[] values) => (float)Math.Sqrt(values.Sum(v => (double)v * v));

    private static float[] Transpose(float[] values, int rows, int columns)
    {
        float[] result = new float[values.Length];
        for (int r = 0; r < rows; r++)
        {
            for (int c = 0; c < columns; c++)
            {
                result[(c * rows) + r] = values[(r * columns) + c];
            }
        }

        return result;
    }
}
