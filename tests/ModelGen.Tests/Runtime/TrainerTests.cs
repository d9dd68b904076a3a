using ModelGen.Runtime;
using ModelGen.Tests.Infrastructure;

namespace ModelGen.Tests.Runtime;

[Collection(SerialCollection.Name)]
public sealed class TrainerTests
{
    [Theory]
    [InlineData(0f)]
    [InlineData(0.5f)]
    public void Weights_have_the_same_bits_for_any_number_of_threads(float clip)
    {
        uint[]? first = null;
        foreach (int threads in new[] { 1, 2, 3, 5 })
        {
            using ModelWeights weights = ModelWeights.Create(FakeModels.Table(wide: 50_001), seed: 4);
            using var trainer = new FakeTrainer(weights, Adam(clip), new TrainerOptions { Threads = threads, AccumulationSteps = 2, Seed = 9 });
            float norm = 0;
            for (int step = 0; step < 10; step++)
            {
                trainer.Step(FakeModels.Tokens(12, step), FakeModels.Tokens(12, step + 100));
                norm += trainer.GradientNorm;
            }

            uint[] bits = [.. Bits(weights), BitConverter.SingleToUInt32Bits(norm)];
            first ??= bits;
            Assert.Equal(first, bits);
        }
    }

    [Fact]
    public void Clipping_scales_all_gradients_by_their_global_norm()
    {
        using ModelWeights clipped = ModelWeights.Create(FakeModels.Table(), seed: 4);
        using ModelWeights free = ModelWeights.Create(FakeModels.Table(), seed: 4);
        float[] before = [.. clipped.Parameter("wide")];
        using var clippedTrainer = new FakeTrainer(clipped, new Sgd { LearningRate = 1, GradientClip = 0.25f });
        using var freeTrainer = new FakeTrainer(free, new Sgd { LearningRate = 1, GradientClip = 1e6f });
        int[] inputs = FakeModels.Tokens(6, 1);
        int[] targets = FakeModels.Tokens(6, 2);
        clippedTrainer.Step(inputs, targets);
        freeTrainer.Step(inputs, targets);

        double squares = 0;
        foreach (ParameterInfo parameter in clipped.Table.Parameters)
        {
            foreach (float gradient in clippedTrainer.Gradient(parameter.Name))
            {
                squares += (double)gradient * gradient;
            }
        }

        double norm = Math.Sqrt(squares);
        Assert.True(norm > 1);
        Assert.Equal(norm, clippedTrainer.GradientNorm, norm * 1e-6);
        Assert.Equal(clippedTrainer.GradientNorm, freeTrainer.GradientNorm);
        double factor = 0.25 / (norm + 1e-6);
        for (int i = 0; i < before.Length; i++)
        {
            float gradient = clippedTrainer.Gradient("wide")[i];
            Assert.Equal(before[i] - (factor * gradient), clipped.Parameter("wide")[i], 1e-6);
            Assert.Equal(before[i] - gradient, free.Parameter("wide")[i]);
        }
    }

    [Fact]
    public void Accumulation_averages_micro_batches()
    {
        using ModelWeights weights = ModelWeights.Create(FakeModels.Table(), seed: 4);
        using var one = new FakeTrainer(weights, new Sgd { LearningRate = 0 });
        using var three = new FakeTrainer(weights, new Sgd { LearningRate = 0 }, new TrainerOptions { AccumulationSteps = 3 });
        int[] inputs = FakeModels.Tokens(18, 1);
        int[] targets = FakeModels.Tokens(18, 2);
        targets[7] = targets[8] = -1;
        double[] expected = new double[weights.Parameter("wide").Length];
        double loss = 0;
        for (int micro = 0; micro < 3; micro++)
        {
            one.ResetState();
            loss += one.Step(inputs.AsSpan(micro * 6, 6), targets.AsSpan(micro * 6, 6)) / 3;
            for (int i = 0; i < expected.Length; i++)
            {
                expected[i] += one.Gradient("wide")[i] / 3;
            }
        }

        // Two steps: the second must overwrite what the first accumulated.
        for (int repeat = 0; repeat < 2; repeat++)
        {
            three.ResetState();
            Assert.Equal(loss, three.Step(inputs, targets), 1e-5);
        }

        // Within a step the state is carried from one micro-batch to the next, which shifts all gradients alike.
        ReadOnlySpan<float> gradient = three.Gradient("wide");
        double shift = gradient[0] - expected[0];
        for (int i = 0; i < expected.Length; i++)
        {
            Assert.Equal(expected[i] + shift, gradient[i], 1e-5);
        }

        Assert.Equal([1 / 6f, 1 / 4f, 1 / 6f], three.Normalizers[..3]);
    }

    [Fact]
    public void Real_targets_are_averaged_over_examples_and_summed_within_them()
    {
        using ModelWeights weights = ModelWeights.Create(FakeModels.Table(), seed: 4);
        using var trainer = new FakeRegressionTrainer(weights, new TrainerOptions { Threads = 2, AccumulationSteps = 2 });
        float[] inputs = [.. Enumerable.Range(0, 24).Select(static i => (float)i)];
        float[] targets = [.. Enumerable.Range(0, 16).Select(static i => 100f * i)];
        float expected = (inputs.Sum() + targets.Sum()) / 8;
        Assert.Equal(expected, trainer.Step(inputs, targets), 1e-3);
        Assert.Equal(expected, trainer.Evaluate(inputs, targets), 1e-3);
        Assert.Throws<ArgumentException>("inputs", () => trainer.Step(inputs.AsSpan(1), targets));
        Assert.Throws<ArgumentException>("targets", () => trainer.Step(inputs, targets.AsSpan(1)));
        Assert.Throws<ArgumentException>("targets", () => trainer.Evaluate(inputs, targets.AsSpan(8)));
    }

    [Fact]
    public void Each_micro_batch_has_its_own_dropout_seed()
    {
        using ModelWeights weights = ModelWeights.Create(FakeModels.Table(), seed: 4);
        using var trainer = new FakeTrainer(weights, Adam(0), new TrainerOptions { AccumulationSteps = 2, Seed = 3 });
        using var other = new FakeTrainer(weights, Adam(0), new TrainerOptions { AccumulationSteps = 2, Seed = 4 });
        for (int step = 0; step < 50; step++)
        {
            trainer.Step(FakeModels.Tokens(12, step), FakeModels.Tokens(12, step));
            other.Step(FakeModels.Tokens(12, step), FakeModels.Tokens(12, step));
        }

        Assert.Equal(200, trainer.Seeds.Concat(other.Seeds).Distinct().Count());
    }

    [Fact]
    public void Steps_follow_the_schedule()
    {
        using ModelWeights weights = ModelWeights.Create(FakeModels.Table(), seed: 4);
        using var trainer = new FakeTrainer(weights, new Sgd { LearningRate = 0.1f, Schedule = new WarmupCosine(3, 10, 0.2) });
        for (int step = 0; step < 12; step++)
        {
            Assert.Equal(step, trainer.StepCount);
            trainer.Step(FakeModels.Tokens(6, step), FakeModels.Tokens(6, step));
            Assert.Equal((float)((double)0.1f * new WarmupCosine(3, 10, 0.2).Factor(step)), trainer.LearningRate);
        }
    }

    /// <summary>Whether the factor is no number to train by or what it makes of a rate is none: of the optimizer's, or of a group's alone.</summary>
    [Theory]
    [InlineData(double.NaN, 0.1f, null, "expected a finite factor of 0 or more")]
    [InlineData(-1.0, 0.1f, null, "expected a finite factor of 0 or more")]
    [InlineData(double.PositiveInfinity, 0.1f, null, "expected a finite factor of 0 or more")]
    [InlineData(double.PositiveInfinity, 0f, null, "expected a finite factor of 0 or more")]
    [InlineData(1e300, 0.1f, null, "which makes the learning rate of 0.1 more than a float holds")]
    [InlineData(4.0, float.MaxValue, null, "more than a float holds")]
    [InlineData(4.0, 0.1f, float.MaxValue, "more than a float holds")]
    public void A_schedule_that_gives_no_learning_rate_is_refused_and_changes_nothing(double factor, float rate, float? groups, string expected)
    {
        using ModelWeights weights = ModelWeights.Create(FakeModels.Table(), seed: 4);
        using var trainer = new FakeTrainer(weights, new Sgd { LearningRate = rate, Schedule = new Given(factor), Groups = groups is null ? [] : [new OptimizerGroup("") { LearningRate = groups }] });
        uint[] before = Bits(weights);
        Assert.Contains(expected, Assert.Throws<InvalidOperationException>(() => trainer.Step(FakeModels.Tokens(6, 1), FakeModels.Tokens(6, 1))).Message, StringComparison.Ordinal);
        Assert.Equal(before, Bits(weights));
        Assert.Equal(0, trainer.StepCount);
    }

    /// <summary>Said when the trainer is made, and not when its first checkpoint is to be saved.</summary>
    [Fact]
    public void An_optimizers_slots_have_names_of_their_own()
    {
        using ModelWeights weights = ModelWeights.Create(FakeModels.Table(), seed: 4);
        Assert.Contains("are null", Refused(null!), StringComparison.Ordinal);
        Assert.Contains("Slot 1 of the optimizer Named has no name", Refused(["a", null!]), StringComparison.Ordinal);
        Assert.Contains("The slots 0 and 2 of the optimizer Named are both called 'a'", Refused(["a", "b", "a"]), StringComparison.Ordinal);
        using var trainer = new FakeTrainer(weights, new Named(["a", "A", "a.b", ""]));
        using var file = new TemporaryFile("slots.safetensors");
        trainer.Step(FakeModels.Tokens(6, 1), FakeModels.Tokens(6, 1));
        trainer.SaveCheckpoint(file.Path);
        trainer.LoadCheckpoint(file.Path);

        string Refused(string[] names) => Assert.Throws<ArgumentException>("optimizer", () => new FakeTrainer(weights, new Named(names))).Message;
    }

    [Fact]
    public void Evaluation_carries_its_own_state_and_changes_nothing()
    {
        using ModelWeights weights = ModelWeights.Create(FakeModels.Table(), seed: 4);
        using ModelWeights same = ModelWeights.Create(FakeModels.Table(), seed: 4);
        using var trainer = new FakeTrainer(weights, Adam(1));
        using var undisturbed = new FakeTrainer(same, Adam(1));
        int[] inputs = FakeModels.Tokens(12, 1);
        int[] targets = FakeModels.Tokens(12, 2);
        targets[0] = targets[1] = targets[2] = -1;
        double expected = (FakeTrainer.Mean(inputs, targets) + (6 * 1000)) / 9;
        for (int step = 0; step < 5; step++)
        {
            trainer.ResetEvaluationState();
            Assert.Equal(expected, trainer.Evaluate(inputs, targets), 1e-3);
            Assert.NotEqual(expected, trainer.Evaluate(inputs, targets), 1e-3);
            trainer.Step(FakeModels.Tokens(6, step), FakeModels.Tokens(6, step));
            undisturbed.Step(FakeModels.Tokens(6, step), FakeModels.Tokens(6, step));
        }

        Assert.Equal(Bits(same), Bits(weights));
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Training_resumed_from_a_checkpoint_continues_bit_for_bit(bool sgd)
    {
        using var file = new TemporaryFile();
        using ModelWeights weights = ModelWeights.Create(FakeModels.Table(), seed: 4);
        using var trainer = new FakeTrainer(weights, Make(), new TrainerOptions { AccumulationSteps = 2, Seed = 77 });
        Train(trainer, 0, 5);
        trainer.SaveCheckpoint(file.Path, new Dictionary<string, string> { ["data.position"] = "5", ["text"] = "\n\"Ω" });
        Train(trainer, 5, 10);

        using ModelWeights resumed = ModelWeights.Create(FakeModels.Table(), seed: 5);
        using var second = new FakeTrainer(resumed, Make(), new TrainerOptions { AccumulationSteps = 2, Threads = 3 });
        Train(second, 0, 2);
        IReadOnlyDictionary<string, string> metadata = second.LoadCheckpoint(file.Path);
        Assert.Equal(2, metadata.Count);
        Assert.Equal("5", metadata["data.position"]);
        Assert.Equal("\n\"Ω", metadata["text"]);
        Assert.Equal(5, second.StepCount);
        Train(second, 5, 10);
        Assert.Equal(Bits(weights), Bits(resumed));
        Assert.Equal(trainer.LearningRate, second.LearningRate);

        // The model alone can be loaded from a checkpoint too.
        using ModelWeights alone = ModelWeights.Load(FakeModels.Table(), file.Path);
        using ModelWeights fifth = ModelWeights.Create(FakeModels.Table(), seed: 4);
        using var again = new FakeTrainer(fifth, Make(), new TrainerOptions { AccumulationSteps = 2, Seed = 77 });
        Train(again, 0, 5);
        Assert.Equal(Bits(fifth), Bits(alone));

        Optimizer Make() => sgd ? new Sgd { Momentum = 0.9f, Schedule = new WarmupCosine(2, 8) } : Adam(0.5f);

        static void Train(FakeTrainer trainer, int from, int to)
        {
            for (int step = from; step < to; step++)
            {
                trainer.Step(FakeModels.Tokens(12, step), FakeModels.Tokens(12, step + 50));
            }
        }
    }

    [Fact]
    public void A_checkpoint_that_does_not_fit_is_refused_and_changes_nothing()
    {
        using var file = new TemporaryFile();
        using ModelWeights weights = ModelWeights.Create(FakeModels.Table(), seed: 4);
        using var trainer = new FakeTrainer(weights, Adam(0));
        trainer.Step(FakeModels.Tokens(6, 1), FakeModels.Tokens(6, 2));
        trainer.SaveCheckpoint(file.Path);

        using ModelWeights otherWeights = ModelWeights.Create(FakeModels.Table(wide: 4322, name: "Other"), seed: 4);
        using var other = new FakeTrainer(otherWeights, Adam(0));
        uint[] before = Bits(otherWeights);
        ModelFileException exception = Assert.Throws<ModelFileException>(() => other.LoadCheckpoint(file.Path));
        Assert.Equal("model", exception.Field);
        Assert.Contains("Other", exception.Expected, StringComparison.Ordinal);
        Assert.Contains("Fake", exception.Found, StringComparison.Ordinal);
        Assert.Contains(exception.Problems, static problem => problem == new ModelFileProblem("tensor 'wide', shape", "[4322] for Other", "[4321]"));
        Assert.Contains("tensor 'optimizer", Extra("optimizer.exp_avg.other"), StringComparison.Ordinal);
        Assert.Contains("tensor 'block.1.bias'", Extra("block.1.bias"), StringComparison.Ordinal);
        Assert.Equal(before, Bits(otherWeights));
        Assert.Equal(0, other.StepCount);

        using var sgd = new FakeTrainer(weights, new Sgd { Momentum = 0.9f });
        exception = Assert.Throws<ModelFileException>(() => sgd.LoadCheckpoint(file.Path));
        Assert.Contains("optimizer", exception.Field, StringComparison.Ordinal);
        Assert.Contains("Sgd", exception.Expected, StringComparison.Ordinal);
        Assert.Contains("AdamW", exception.Found, StringComparison.Ordinal);

        using var wider = new FakeTrainer(weights, Adam(0), layout: FakeModels.Layout(stateFloats: 50));
        exception = Assert.Throws<ModelFileException>(() => wider.LoadCheckpoint(file.Path));
        Assert.Contains("trainer.state", exception.Field, StringComparison.Ordinal);

        weights.Save(file.Path);
        exception = Assert.Throws<ModelFileException>(() => trainer.LoadCheckpoint(file.Path));
        Assert.Contains("checkpoint", exception.Field, StringComparison.Ordinal);

        string Extra(string name)
        {
            using var extra = new TemporaryFile();
            Change(file.Path, extra.Path, writer => writer.Add(name, [1], new float[1]));
            return Assert.Throws<ModelFileException>(() => trainer.LoadCheckpoint(extra.Path)).Field;
        }

        foreach ((string key, string value) in new[] { ("step", "-1"), ("step", "x"), ("step", "9223372036854775808"), ("seed", "99999999999999999999"), ("checkpoint", "2") })
        {
            trainer.SaveCheckpoint(file.Path);
            Change(file.Path, file.Path, writer => writer.Metadata["modelgen." + key] = value);
            exception = Assert.Throws<ModelFileException>(() => trainer.LoadCheckpoint(file.Path));
            Assert.Contains(key, exception.Field, StringComparison.Ordinal);
            Assert.Contains(value, exception.Found, StringComparison.Ordinal);
        }

        Assert.Equal(1, trainer.StepCount);
    }

    /// <summary>Who writes a file may have computed a real number in another precision than who reads it; integers are what they are.</summary>
    [Theory]
    [InlineData("0.1", "0.10000000149011612", true)]
    [InlineData("1", "1.0", false)]
    [InlineData("1E-05", "0.00001", true)]
    [InlineData("0.1", "0.1000001", false)]
    [InlineData("16777217", "16777216", false)]
    [InlineData("Gelu", "Relu", false)]
    public void Recorded_real_numbers_are_compared_in_single_precision(string declared, string recorded, bool isSame)
    {
        using var file = new TemporaryFile();
        ModelWeights.Create(Table(recorded), seed: 4).Save(file.Path);
        ParameterTable table = Table(declared);
        if (isSame)
        {
            ModelWeights.Load(table, file.Path).Dispose();
        }
        else
        {
            Assert.Equal("declaration, Option", Assert.Single(Assert.Throws<ModelFileException>(() => ModelWeights.Load(table, file.Path)).Problems).Field);
        }

        static ParameterTable Table(string option) => new("Fake", [.. FakeModels.Table().Parameters]) { Declaration = [new("Family", "F"), new("Option", option)] };
    }

    [Fact]
    public void A_checkpoint_of_another_declaration_is_refused_with_every_option_that_differs()
    {
        DeclaredOption[] declared = [new("Family", "F"), new("Heads", "3"), new("Activation", "Gelu"), new("Dropout", "0.1", TrainingOnly: true)];
        using var file = new TemporaryFile();
        Trainer(declared).SaveCheckpoint(file.Path);
        Trainer(declared).LoadCheckpoint(file.Path);
        ModelFileException refused = Assert.Throws<ModelFileException>(
            () => Trainer(new("Family", "F"), new("Heads", "4"), new("Activation", "Relu"), new("Dropout", "0", TrainingOnly: true)).LoadCheckpoint(file.Path));
        Assert.Equal(
            [new("declaration, Heads", "4", "'3'"), new("declaration, Activation", "Relu", "'Gelu'"), new("declaration, Dropout", "0", "'0.1'")],
            refused.Problems);

        // An option that the file does not know was not there yet; one that only the file knows may change everything.
        Trainer([.. declared, new("Newer", "1")]).LoadCheckpoint(file.Path);
        refused = Assert.Throws<ModelFileException>(() => Trainer(declared[..2]).LoadCheckpoint(file.Path));
        Assert.Equal(new ModelFileProblem("declaration, Activation", "no such option", "'Gelu'"), Assert.Single(refused.Problems));

        // Weights alone do not depend on what only training computes with.
        ModelWeights.Load(Table([.. declared[..3], new("Dropout", "0", TrainingOnly: true)]), file.Path).Dispose();
        ParameterTable other = Table([.. declared[..2], new("Activation", "Relu")]);
        refused = Assert.Throws<ModelFileException>(() => ModelWeights.Load(other, file.Path));
        Assert.Equal("declaration, Activation", Assert.Single(refused.Problems).Field);
        Assert.Contains("LoadOptions.IgnoreDeclaration", refused.Message, StringComparison.Ordinal);
        ModelWeights.Load(other, file.Path, new LoadOptions { IgnoreDeclaration = true }).Dispose();

        // A checkpoint of a version that recorded no declaration.
        using var old = new TemporaryFile();
        Change(file.Path, old.Path, static writer =>
        {
            foreach (string key in writer.Metadata.Keys.Where(static key => key.Contains("declaration", StringComparison.Ordinal) || key.Contains("training", StringComparison.Ordinal)).ToArray())
            {
                writer.Metadata.Remove(key);
            }
        });
        Trainer(new DeclaredOption("Heads", "4")).LoadCheckpoint(old.Path);

        static FakeTrainer Trainer(params DeclaredOption[] options) => new(ModelWeights.Create(Table(options), seed: 4), Adam(0));
        static ParameterTable Table(DeclaredOption[] options) => new("Fake", [.. FakeModels.Table().Parameters]) { Declaration = options };
    }

    [Fact]
    public void A_checkpoint_tells_in_which_settings_its_run_was_another()
    {
        using var file = new TemporaryFile();
        using var old = new TemporaryFile();
        using ModelWeights weights = ModelWeights.Create(FakeModels.Table(), seed: 4);
        Optimizer before = new AdamW { LearningRate = 0.01f, GradientClip = 1, Schedule = new WarmupCosine(2, 8), Groups = [new OptimizerGroup("wide") { LearningRate = 0.5f }] };
        using var first = new FakeTrainer(weights, before);
        first.Step(FakeModels.Tokens(6, 1), FakeModels.Tokens(6, 2));
        first.SaveCheckpoint(file.Path);
        Assert.Empty(first.ChangedSettings);
        Assert.Empty(Changes(before));
        Assert.Equal([new("Beta2", "0.999", "0.95")], Changes(new AdamW { LearningRate = 0.01f, GradientClip = 1, Schedule = before.Schedule, Groups = before.Groups, Beta2 = 0.95f }));
        Assert.Equal(
            [
                new("LearningRate", "0.01", "0.001"), new("Schedule", "WarmupCosine(2, 8, 0.1)", "none"), new("GradientClip", "1", "0"), new("Beta1", "0.9", "0"), new("Epsilon", "1E-08", "0.25"),
                new("WeightDecay", "0.01", "0"), new("AccumulationSteps", "1", "2"), new("Groups[0]", "wide; LearningRate 0.5", null),
            ],
            Changes(new AdamW { Beta1 = 0, Epsilon = 0.25f, WeightDecay = 0 }, accumulation: 2));
        Assert.Equal(
            [new("Groups[0]", "wide; LearningRate 0.5", "gain; WeightDecay 0"), new("Groups[1]", null, "wide, gain")],
            Changes(new AdamW { LearningRate = 0.01f, GradientClip = 1, Schedule = before.Schedule, Groups = [new OptimizerGroup("gain") { WeightDecay = 0 }, new OptimizerGroup("wide", "gain")] }));

        // A file of a version that recorded none.
        Change(file.Path, old.Path, static writer =>
        {
            foreach (string key in writer.Metadata.Keys.Where(static key => key.StartsWith("modelgen.setting.", StringComparison.Ordinal)).ToArray())
            {
                writer.Metadata.Remove(key);
            }
        });
        Assert.Empty(Changes(new AdamW { Beta2 = 0.5f }, path: old.Path));

        // A file that has any number of them, of any text; and one that is refused, which changes nothing.
        Change(file.Path, old.Path, static writer =>
        {
            for (int index = 0; index < 500; index++)
            {
                writer.Metadata["modelgen.setting.\u001b" + index] = new string('\u001b', 5000);
            }
        });
        using var same = new FakeTrainer(weights, before);
        same.LoadCheckpoint(old.Path);
        Assert.Equal(20, same.ChangedSettings.Count);
        Assert.All(same.ChangedSettings, static change => Assert.True(change.Name[0] == '\ufffd' && change.Before!.Length <= 201 && !change.Before.Contains('\u001b', StringComparison.Ordinal) && change.Now is null));
        Change(file.Path, file.Path, static writer => writer.Metadata["modelgen.seed"] = "x");
        Assert.Throws<ModelFileException>(() => same.LoadCheckpoint(file.Path));
        Assert.Equal(20, same.ChangedSettings.Count);

        IReadOnlyList<ChangedSetting> Changes(Optimizer optimizer, int accumulation = 1, string? path = null)
        {
            using var trainer = new FakeTrainer(weights, optimizer, new TrainerOptions { AccumulationSteps = accumulation });
            trainer.LoadCheckpoint(path ?? file.Path);
            return trainer.ChangedSettings;
        }
    }

    [Fact]
    public void Saving_while_a_trainer_changes_the_weights_is_refused()
    {
        using var file = new TemporaryFile();
        using var other = new TemporaryFile();
        using ModelWeights weights = ModelWeights.Create(FakeModels.Table(), seed: 4);
        using var trainer = new FakeTrainer(weights, Adam(0), new TrainerOptions { AccumulationSteps = 2 });
        using var second = new FakeTrainer(weights, Adam(0));
        weights.Save(file.Path);
        byte[] saved = File.ReadAllBytes(file.Path);

        // Two steps at once, of which one ends before the other.
        weights.BeginChange();
        weights.BeginChange();
        weights.EndChange();
        Assert.Throws<InvalidOperationException>(() => weights.Save(file.Path));
        weights.EndChange();
        weights.Save(file.Path);

        // Inside a step, and around one.
        int refusals = 0;
        trainer.InUpdate = () =>
        {
            Assert.Contains("Fake", Assert.Throws<InvalidOperationException>(() => weights.Save(file.Path)).Message, StringComparison.Ordinal);
            Assert.Throws<InvalidOperationException>(() => second.SaveCheckpoint(other.Path));
            refusals++;
        };
        trainer.Step(FakeModels.Tokens(12, 1), FakeModels.Tokens(12, 2));
        Assert.Equal(1, refusals);
        trainer.InUpdate = null;
        Assert.Throws<InvalidOperationException>(() => second.SaveCheckpoint(other.Path, new Stepping(trainer)));
        Assert.Equal(saved, File.ReadAllBytes(file.Path));
        Assert.False(File.Exists(other.Path));

        // A step that fails ends its change, too.
        trainer.InUpdate = static () => throw new TimeoutException();
        Assert.Throws<TimeoutException>(() => trainer.Step(FakeModels.Tokens(12, 1), FakeModels.Tokens(12, 2)));
        trainer.InUpdate = null;
        weights.Save(file.Path);
        Assert.NotEqual(saved, File.ReadAllBytes(file.Path));
        second.SaveCheckpoint(other.Path);
        second.LoadCheckpoint(other.Path);
        weights.Save(file.Path);
    }

    /// <summary>Metadata during whose reading a trainer steps.</summary>
    private sealed class Stepping(FakeTrainer trainer) : IReadOnlyDictionary<string, string>
    {
        public int Count => 0;

        public IEnumerable<string> Keys => [];

        public IEnumerable<string> Values => [];

        public string this[string key] => throw new KeyNotFoundException();

        public bool ContainsKey(string key) => false;

        public bool TryGetValue(string key, out string value)
        {
            value = "";
            return false;
        }

        public IEnumerator<KeyValuePair<string, string>> GetEnumerator()
        {
            trainer.Step(FakeModels.Tokens(12, 1), FakeModels.Tokens(12, 2));
            return Enumerable.Empty<KeyValuePair<string, string>>().GetEnumerator();
        }

        System.Collections.IEnumerator System.Collections.IEnumerable.GetEnumerator() => GetEnumerator();
    }

    [Fact]
    public void Numbers_that_nobody_could_train_on_from_are_refused()
    {
        using var file = new TemporaryFile();
        using var damaged = new TemporaryFile();
        using ModelWeights weights = ModelWeights.Create(FakeModels.Table(), seed: 4);
        using var trainer = new FakeTrainer(weights, Adam(0));
        trainer.Step(FakeModels.Tokens(6, 1), FakeModels.Tokens(6, 2));
        trainer.SaveCheckpoint(file.Path);
        uint[] before = Bits(weights);
        foreach ((string tensor, float value) in new[]
        {
            ("wide", float.NaN), ("gain", float.NegativeInfinity), ("optimizer.exp_avg.wide", float.PositiveInfinity), ("optimizer.exp_avg_sq.block.0.weight", -1e-30f),
            ("optimizer.exp_avg_sq.gain", float.NaN), ("trainer.state", float.NaN), ("trainer.evaluation_state", float.PositiveInfinity),
        })
        {
            Change(file.Path, damaged.Path, static _ => { }, (name, values) => values[^1] = name == tensor ? value : values[^1]);
            ModelFileException refused = Assert.Throws<ModelFileException>(() => trainer.LoadCheckpoint(damaged.Path));
            Assert.Equal($"tensor '{tensor}'", refused.Field);
            Assert.StartsWith(value.ToString(System.Globalization.CultureInfo.InvariantCulture), refused.Found, StringComparison.Ordinal);
        }

        Assert.Equal(before, Bits(weights));

        // The last step there may be: it loads and is saved, and none follows.
        Change(file.Path, damaged.Path, static writer => writer.Metadata["modelgen.step"] = "9007199254740993");
        Assert.Throws<ModelFileException>(() => trainer.LoadCheckpoint(damaged.Path));
        Change(file.Path, damaged.Path, static writer => writer.Metadata["modelgen.step"] = "9007199254740992");
        trainer.LoadCheckpoint(damaged.Path);
        Assert.Throws<InvalidOperationException>(() => trainer.Step(FakeModels.Tokens(6, 1), FakeModels.Tokens(6, 2)));
        trainer.SaveCheckpoint(damaged.Path);
        trainer.LoadCheckpoint(damaged.Path);

        // What could not be loaded again is not written over what can.
        weights.Parameter("wide")[4000] = float.NaN;
        Assert.Contains("wide is NaN at 4000", Assert.Throws<ArithmeticException>(() => trainer.SaveCheckpoint(file.Path)).Message, StringComparison.Ordinal);
        trainer.LoadCheckpoint(file.Path);
        Assert.Equal(before, Bits(weights));
    }

    [Theory]
    [InlineData(0)]
    [InlineData(7)]
    [InlineData(8)]
    [InlineData(33)]
    public void A_number_outside_its_range_is_found_wherever_it_is(int length)
    {
        float[] values = new float[length];
        Assert.Equal(-1, FloatRange.FirstOutside(values, nonNegative: true));
        for (int at = 0; at < length; at++)
        {
            foreach (float bad in new[] { float.NaN, float.PositiveInfinity, float.NegativeInfinity, -float.Epsilon })
            {
                values[at] = bad;
                Assert.Equal(at, FloatRange.FirstOutside(values, nonNegative: true));
                Assert.Equal(float.IsFinite(bad) ? -1 : at, FloatRange.FirstOutside(values, nonNegative: false));
            }

            values[at] = 0;
        }
    }

    [Fact]
    public void Bad_inputs_are_refused_before_anything_happens()
    {
        using ModelWeights weights = ModelWeights.Create(FakeModels.Table(), seed: 4);
        using var trainer = new FakeTrainer(weights, Adam(0), new TrainerOptions { AccumulationSteps = 2 });
        uint[] before = Bits(weights);
        int[] tokens = FakeModels.Tokens(12, 1);

        ArgumentException wrong = Assert.Throws<ArgumentException>("inputs", () => trainer.Step(tokens.AsSpan(0, 11), tokens));
        Assert.Contains("12", wrong.Message, StringComparison.Ordinal);
        Assert.Contains("11", wrong.Message, StringComparison.Ordinal);
        Assert.Throws<ArgumentException>("targets", () => trainer.Step(tokens, tokens.AsSpan(0, 6)));
        Assert.Throws<ArgumentException>("inputs", () => trainer.Evaluate(tokens.AsSpan(0, 7), tokens));
        Assert.Throws<ArgumentException>("inputs", () => trainer.Evaluate([], []));
        Assert.Throws<ArgumentException>("targets", () => trainer.Evaluate(tokens, tokens.AsSpan(0, 6)));

        ArgumentOutOfRangeException outside = Assert.Throws<ArgumentOutOfRangeException>("inputs", () => trainer.Step(With(10, 11), tokens));
        Assert.Contains("index 10", outside.Message, StringComparison.Ordinal);
        Assert.Throws<ArgumentOutOfRangeException>("inputs", () => trainer.Step(With(0, -1), tokens));
        outside = Assert.Throws<ArgumentOutOfRangeException>("targets", () => trainer.Step(tokens, With(11, 11)));
        Assert.Contains("index 11", outside.Message, StringComparison.Ordinal);
        Assert.Throws<ArgumentOutOfRangeException>("targets", () => trainer.Evaluate(tokens, With(3, -2)));

        int[] ignored = [.. tokens[..6], -1, -1, -1, -1, -1, -1];
        Assert.Throws<ArgumentException>("targets", () => trainer.Step(tokens, ignored));
        Assert.Throws<ArgumentException>("name", () => { trainer.Gradient("none"); });

        Assert.Equal(before, Bits(weights));
        Assert.Empty(trainer.Seeds);
        Assert.Equal(0, trainer.StepCount);

        Assert.Throws<ArgumentOutOfRangeException>(() => new FakeTrainer(weights, Adam(0), new TrainerOptions { AccumulationSteps = 0 }));
        Assert.Throws<ArgumentOutOfRangeException>(() => new FakeTrainer(weights, Adam(0), new TrainerOptions { Threads = -1 }));

        trainer.Dispose();
        trainer.Dispose();
        Assert.Throws<ObjectDisposedException>(() => trainer.Step(tokens, tokens));
        Assert.Throws<ObjectDisposedException>(() => trainer.Evaluate(tokens, tokens));
        Assert.Throws<ObjectDisposedException>(() => trainer.SaveCheckpoint("x"));
        Assert.Throws<ObjectDisposedException>(() => trainer.LoadCheckpoint("x"));
        Assert.Throws<ObjectDisposedException>(() => { trainer.Gradient("wide"); });

        int[] With(int index, int value)
        {
            int[] copy = [.. tokens];
            copy[index] = value;
            return copy;
        }
    }

    [Fact]
    public void A_step_allocates_nothing()
    {
        using ModelWeights weights = ModelWeights.Create(FakeModels.Table(), seed: 4);
        using var trainer = new FakeTrainer(weights, Adam(1), new TrainerOptions { Threads = 2, AccumulationSteps = 2 });
        using var sgd = new FakeTrainer(weights, new Sgd { Momentum = 0.9f }, new TrainerOptions { Threads = 3, AccumulationSteps = 2 });
        List<ulong>[] allSeeds = [trainer.Seeds, sgd.Seeds];
        int[] inputs = FakeModels.Tokens(12, 1);
        int[] targets = FakeModels.Tokens(12, 2);
        Assert.Equal(0, Allocated.Least(() =>
        {
            foreach (List<ulong> seeds in allSeeds)
            {
                seeds.Clear();
            }

            trainer.Normalizers.Clear();
            sgd.Normalizers.Clear();
            trainer.Step(inputs, targets);
            sgd.Step(inputs, targets);
            trainer.Evaluate(inputs, targets);
        }));
    }

    private static AdamW Adam(float clip) => new() { LearningRate = 0.01f, GradientClip = clip, Schedule = new WarmupCosine(2, 8) };

    private static unsafe uint[] Bits(ModelWeights weights) => new ReadOnlySpan<uint>(weights.Pointer, (int)weights.Length).ToArray();

    /// <summary>Copies a file of floats with something in it changed.</summary>
    private static void Change(string path, string target, Action<SafetensorsWriter> change, Action<string, float[]>? changeValues = null)
    {
        var changed = new SafetensorsWriter();
        using (SafetensorsFile original = SafetensorsFile.Open(path))
        {
            foreach ((string key, string value) in original.Metadata)
            {
                changed.Metadata[key] = value;
            }

            foreach (SafetensorsTensor tensor in original.Tensors)
            {
                float[] values = new float[tensor.Length];
                original.ReadFloats(tensor, 0, values);
                changeValues?.Invoke(tensor.Name, values);
                changed.Add(tensor.Name, [.. tensor.Shape.Select(static extent => (int)extent)], values);
            }
        }

        change(changed);
        changed.Save(target);
    }

    private sealed class Given(double factor) : ILearningRateSchedule
    {
        public double Factor(long step) => factor;
    }

    private sealed class Named(string[] names) : Optimizer(1e-3f)
    {
        public override string Name => nameof(Named);

        public override IReadOnlyList<string> Slots => names;

        public override void Update(in OptimizerRange range)
        {
            for (int slot = 0; slot < names.Length; slot++)
            {
                range.Slot(slot).Fill(slot);
            }
        }
    }
}
