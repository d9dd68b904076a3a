using ModelGen.Tests.Infrastructure;

namespace ModelGen.Tests.Models;

/// <summary>Groups of parameters with a learning rate and a weight decay of their own, and parameters through interfaces.</summary>
public sealed class ParameterGroupTests
{
    private static readonly int[] Inputs = [.. Enumerable.Range(0, LearningGpt.BatchSize * LearningGpt.SequenceLength).Select(i => (i * 3) % 19)];
    private static readonly int[] Targets = [.. Inputs.Select(x => (x + 1) % 19)];

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void A_group_has_its_own_rate_and_decay(bool clips)
    {
        var groups = new[]
        {
            new OptimizerGroup("transformer.wte", "transformer.wpe") { LearningRate = 0 },
            new OptimizerGroup("transformer.h.0.ln_1") { WeightDecay = 0.5f },
            new OptimizerGroup("transformer.h.0.") { LearningRate = 0.02f, WeightDecay = 0 },
        };
        foreach (Func<IReadOnlyList<OptimizerGroup>, float, float, Optimizer> make in new Func<IReadOnlyList<OptimizerGroup>, float, float, Optimizer>[]
        {
            (g, rate, decay) => new AdamW { LearningRate = rate, WeightDecay = decay, GradientClip = clips ? 0.5f : 0, Groups = g },
            (g, rate, decay) => new Sgd { LearningRate = rate, WeightDecay = decay, Momentum = 0.5f, GradientClip = clips ? 0.5f : 0, Groups = g },
        })
        {
            // What each parameter becomes under its group's numbers is what an optimizer with these for all makes of it.
            Dictionary<string, float[]> grouped = Trained(make(groups, 0.01f, 0.1f));
            Dictionary<string, float[]> frozen = Trained(make([], 0, 0.1f));
            Dictionary<string, float[]> others = Trained(make([], 0.01f, 0.1f));
            Dictionary<string, float[]> decaying = Trained(make([new OptimizerGroup("") { WeightDecay = 0.5f }], 0.01f, 0.1f));
            Dictionary<string, float[]> faster = Trained(make([], 0.02f, 0));
            foreach ((string name, float[] weights) in grouped)
            {
                Dictionary<string, float[]> expected = name.StartsWith("transformer.w", StringComparison.Ordinal) ? frozen
                    : name.StartsWith("transformer.h.0.ln_1", StringComparison.Ordinal) ? decaying
                    : name.StartsWith("transformer.h.0.", StringComparison.Ordinal) ? faster
                    : others;
                Assert.Equal(expected[name], weights);
            }

            Assert.NotEqual(others["transformer.h.0.ln_1.weight"], decaying["transformer.h.0.ln_1.weight"]);
        }
    }

    [Fact]
    public void A_group_without_parameters_is_an_error()
    {
        ArgumentException thrown = Assert.Throws<ArgumentException>(() => LearningGpt.Create().CreateTrainer(new AdamW { Groups = [new OptimizerGroup("h.0.")] }));
        Assert.Contains("'h.0.'", thrown.Message, StringComparison.Ordinal);
        Assert.Throws<ArgumentException>(() => new OptimizerGroup());
        Assert.Throws<ArgumentException>(() => new OptimizerGroup("a", null!));
        Assert.Throws<ArgumentOutOfRangeException>(() => new OptimizerGroup("a") { LearningRate = -1 });
    }

    [Fact]
    public void Parameters_are_reached_through_interfaces_and_copied_in_the_order_of_files()
    {
        Check<LearningGpt>();
        static void Check<TModel>()
            where TModel : ITrainableLanguageModel<TModel>
        {
            TModel model = TModel.Create(3);
            using TokenTrainer trainer = model.CreateTrainer(new Sgd());
            trainer.Step(Inputs, Targets);
            using TemporaryFile file = new();
            model.Save(file.Path);
            ReferenceFile saved = new(file.Path);
            Assert.Contains(TModel.Parameters, p => p.TransposedInFile);
            foreach (ParameterInfo parameter in TModel.Parameters)
            {
                float[] asInFile = new float[parameter.Length];
                parameter.ToFile(model.Parameter(parameter.Name), asInFile);
                Assert.Equal(saved.Floats(parameter.Name), asInFile);
                float[] back = new float[parameter.Length];
                parameter.FromFile(asInFile, back);
                Assert.Equal(model.Parameter(parameter.Name).ToArray(), back);
                parameter.ToFile(trainer.Gradient(parameter.Name), asInFile);
                Assert.Throws<ArgumentException>(() => parameter.ToFile(new float[parameter.Length + 1], asInFile));
            }
        }
    }

    /// <summary>One step: what comes after depends on all parameters.</summary>
    private static Dictionary<string, float[]> Trained(Optimizer optimizer)
    {
        LearningGpt model = LearningGpt.Create(3);
        using LearningGpt.Trainer trainer = model.CreateTrainer(optimizer, new TrainerOptions { Threads = 2 });
        trainer.Step(Inputs, Targets);
        return LearningGpt.Parameters.ToDictionary(p => p.Name, p => model.Parameter(p.Name).ToArray());
    }
}
