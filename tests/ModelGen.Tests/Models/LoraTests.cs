using System.Text.Json;
using ModelGen.Tests.Infrastructure;
using ModelGen.Tests.Runtime;
using ModelGen.Tests.Text;

namespace ModelGen.Tests.Models;

/// <summary>Low-rank adapters: against PyTorch, frozen in memory, and in files of their own.</summary>
[Collection(SerialCollection.Name)]
public sealed class LoraTests
{
    private static readonly int[] Inputs = [.. Enumerable.Range(0, 2 * 17).Select(i => ((i * 7) + (i / 5)) % 53)];
    private static readonly int[] Targets = [.. Inputs.Select((x, i) => i % 11 == 3 ? -1 : (x + i) % 53)];

    private static IReadOnlyList<ParameterInfo> Trained(IReadOnlyList<ParameterInfo> parameters) => [.. parameters.Where(p => !p.IsFrozen)];

    [Fact]
    public void Decoder_logits() => Parity.Logits<LoraDecoder>("lora-decoder");

    [Fact]
    public void Decoder_gradients() => Parity.Gradients<LoraDecoder>("lora-decoder", Trained(LoraDecoder.Parameters));

    [Fact]
    public void Decoder_training() => Parity.Training<LoraDecoder>("lora-decoder");

    [Fact]
    public void Gpt_logits() => Parity.Logits<LoraGpt>("lora-gpt");

    [Fact]
    public void Gpt_gradients() => Parity.Gradients<LoraGpt>("lora-gpt", Trained(LoraGpt.Parameters));

    [Fact]
    public void Gpt_training() => Parity.Training<LoraGpt>("lora-gpt");

    [Fact]
    public void Lstm_logits() => Parity.Logits<LoraLstm>("lora-lstm");

    [Fact]
    public void Lstm_gradients() => Parity.Gradients<LoraLstm>("lora-lstm", Trained(LoraLstm.Parameters));

    [Fact]
    public void Lstm_gradients_with_carried_state() => Parity.SecondWindow<LoraLstm>("lora-lstm", Trained(LoraLstm.Parameters));

    [Fact]
    public void Lstm_training() => Parity.Training<LoraLstm>("lora-lstm");

    [Fact]
    public void What_is_adapted_is_frozen_and_takes_no_memory_but_its_weights()
    {
        ParameterInfo[] adapters = [.. LoraDecoder.Parameters.Where(p => p.Adapts is not null)];
        Assert.Equal(2 * 2 * 5, adapters.Length);
        Assert.All(LoraDecoder.Parameters, p => Assert.Equal(p.Adapts is null, p.IsFrozen));
        Assert.Equal(LlamaDecoder.Parameters.Select(p => p.Name).Order(), LoraDecoder.Parameters.Where(p => p.Adapts is null).Select(p => p.Name).Order());
        Assert.All(adapters, p => Assert.Equal(p.Name.Contains("lora_A") ? 3 : LoraDecoder.Parameters.Single(w => w.Name == p.Adapts).Shape[0], p.Shape[0]));

        long bytes = adapters.Sum(p => (p.Length + 15) / 16 * 16 * sizeof(float));
        Assert.Equal(LoraDecoder.GradientBytes, bytes);
        Assert.Equal(LoraDecoder.WeightBytes, LlamaDecoder.WeightBytes + bytes);
        Assert.True(bytes < LlamaDecoder.WeightBytes / 4);
        using LoraDecoder.Trainer trainer = LoraDecoder.Create().CreateTrainer(new AdamW());
        Assert.Equal(LoraDecoder.AdamWTrainingBytes, trainer.MemoryBytes);
        Assert.True(LoraDecoder.AdamWTrainingBytes < LlamaDecoder.AdamWTrainingBytes);

        // GPT-2's head is its embedding, which takes no adapter.
        Assert.DoesNotContain(LoraGpt.Parameters, p => p.Adapts is not null && p.Adapts.Contains("wte"));
    }

    [Fact]
    public void A_new_model_computes_what_it_adapts()
    {
        using TemporaryFile file = new();
        LlamaDecoder plain = LlamaDecoder.Create(3);
        plain.Save(file.Path);

        // Two declarations over one file.
        float[] expected = Logits(plain.CreateSession());
        LoraDecoder adapted = LoraDecoder.Load(file.Path);
        Assert.Equal(expected, Logits(adapted.CreateSession()));
        Assert.Equal(expected, Logits(DropoutLoraDecoder.Load(file.Path, new LoadOptions { Seed = 4 }).CreateSession()));

        // A is drawn as the paper has it, B is zero.
        float[] first = adapted.Parameter("model.layers.1.mlp.down_proj.lora_A.weight").ToArray();
        Assert.Equal(1 / 52.0, first.Average(x => (double)x * x), 0.01);
        Assert.All(adapted.Parameter("model.layers.1.mlp.down_proj.lora_B.weight").ToArray(), x => Assert.Equal(0, x));
    }

    [Fact]
    public void Dropped_inputs_are_dropped_in_training_alone()
    {
        DropoutLoraDecoder model = Trainable();
        using DropoutLoraDecoder.Trainer trainer = model.CreateTrainer(new AdamW { LearningRate = 0 });
        float evaluated = trainer.Evaluate(Inputs, Targets), first = trainer.Step(Inputs, Targets), second = trainer.Step(Inputs, Targets);
        Assert.NotEqual(first, second);
        Assert.NotEqual(evaluated, first);
        Assert.Equal(evaluated, first, 0.2);
    }

    [Fact]
    public void Training_learns_and_goes_on_from_a_checkpoint_bit_for_bit()
    {
        using TemporaryFile file = new();
        DropoutLoraDecoder model = DropoutLoraDecoder.Create(3);
        using DropoutLoraDecoder.Trainer trainer = model.CreateTrainer(new AdamW { LearningRate = 1e-2f, GradientClip = 1 });
        float before = trainer.Evaluate(Inputs, Targets);
        for (int step = 0; step < 100; step++)
        {
            trainer.Step(Inputs, Targets);
        }

        Assert.True(trainer.Evaluate(Inputs, Targets) < 0.7 * before);
        trainer.SaveCheckpoint(file.Path);
        DropoutLoraDecoder other = DropoutLoraDecoder.Create(99);
        using DropoutLoraDecoder.Trainer resumed = other.CreateTrainer(new AdamW { LearningRate = 1e-2f, GradientClip = 1 }, new TrainerOptions { Threads = 2 });
        resumed.LoadCheckpoint(file.Path);
        for (int step = 0; step < 3; step++)
        {
            Assert.Equal(trainer.Step(Inputs, Targets), resumed.Step(Inputs, Targets));
        }

        Assert.All(DropoutLoraDecoder.Parameters, p => Assert.Equal(model.Parameter(p.Name).ToArray(), other.Parameter(p.Name).ToArray()));
    }

    [Fact]
    public void A_step_allocates_nothing()
    {
        using LoraDecoder.Trainer trainer = LoraDecoder.Create().CreateTrainer(new AdamW(), new TrainerOptions { Threads = 2 });
        Assert.Equal(0, Allocated.Least(() => trainer.Step(Inputs, Targets)));
    }

    [Fact]
    public void Merging_changes_no_output()
    {
        DropoutLoraDecoder model = Trainable();
        float[] expected = Logits(model.CreateSession());
        using TemporaryFile merged = new(), whole = new();
        model.SaveMerged(merged.Path);
        model.Save(whole.Path);
        Assert.Equal(expected, Logits(model.CreateSession()));

        // Into a declaration without adapters, which what has them does not fit.
        LlamaDecoder plain = LlamaDecoder.Load(merged.Path);
        Compare.Absolute(expected, Logits(plain.CreateSession()), 1e-5, "merged in the file");
        Assert.Contains("lora_A", Assert.Throws<ModelFileException>(() => LlamaDecoder.Load(whole.Path)).Message, StringComparison.Ordinal);

        model.MergeAdapters();
        Compare.Absolute(expected, Logits(model.CreateSession()), 1e-5, "merged in memory");
        Assert.All(LlamaDecoder.Parameters, p => Assert.Equal(plain.Parameter(p.Name).ToArray(), model.Parameter(p.Name).ToArray()));
        float[] once = Logits(model.CreateSession());
        model.MergeAdapters();
        Assert.Equal(once, Logits(model.CreateSession()));

        // Weights that files hold the other way round.
        LoraGpt gpt = LoraGpt.Load(SourceTree.Fixture("lora-gpt.safetensors"));
        float[] before = Logits(gpt.CreateSession());
        gpt.SaveMerged(merged.Path);
        ReferenceFile file = new(merged.Path);
        Assert.Equal([30, 90], file.Shape("transformer.h.0.attn.c_attn.weight"));
        Assert.DoesNotContain(file.Names, name => name.Contains("lora"));
        gpt.MergeAdapters();
        Compare.Absolute(before, Logits(gpt.CreateSession()), 1e-5, "GPT-2, merged in memory");
        Compare.Absolute(before, Logits(LoraGpt.Load(merged.Path).CreateSession()), 1e-5, "GPT-2, merged in the file");
    }

    [Fact]
    public void Adapters_are_saved_and_loaded_alone_under_the_names_of_PEFT()
    {
        using var folder = new TemporaryFolder();
        string path = Path.Combine(folder.Path, "adapter_model.safetensors"), config = Path.Combine(folder.Path, "adapter_config.json");
        LoraDecoder model = LoraDecoder.Load(SourceTree.Fixture("lora-decoder.safetensors"));
        float[] expected = Logits(model.CreateSession());
        model.SaveAdapters(path);
        ReferenceFile file = new(path);
        Assert.Equal(LoraDecoder.Parameters.Where(p => p.Adapts is not null).Select(p => "base_model.model." + p.Name).Order(StringComparer.Ordinal), file.Names.Order(StringComparer.Ordinal));
        Assert.Contains("base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight", file.Names);
        Assert.Equal([3, 40], file.Shape("base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight"));
        using (JsonDocument json = JsonDocument.Parse(File.ReadAllText(config)))
        {
            Assert.Equal(3, json.RootElement.GetProperty("r").GetInt32());
            Assert.Equal(6, json.RootElement.GetProperty("lora_alpha").GetDouble());
            Assert.Contains("model.layers.0.self_attn.q_proj", json.RootElement.GetProperty("target_modules").EnumerateArray().Select(e => e.GetString()));
        }

        // Over a model without them.
        using TemporaryFile merged = new();
        model.MergeAdapters();
        Assert.NotEqual(expected, Logits(LoraDecoder.Create(9).CreateSession()));
        LoraDecoder again = LoraDecoder.Load(SourceTree.Fixture("lora-decoder.safetensors"));
        foreach (ParameterInfo adapter in LoraDecoder.Parameters.Where(p => p.Adapts is not null))
        {
            again.Parameter(adapter.Name).Clear();
        }

        Assert.NotEqual(expected, Logits(again.CreateSession()));
        again.LoadAdapters(path);
        Assert.Equal(expected, Logits(again.CreateSession()));

        // A file of PEFT's records nothing of ours; its configuration says how it is scaled.
        var writer = new SafetensorsWriter();
        foreach (string name in file.Names)
        {
            writer.Add(name, file.Shape(name), file.Floats(name));
        }

        writer.Save(path);
        LoraDecoder third = LoraDecoder.Load(SourceTree.Fixture("lora-decoder.safetensors"));
        third.LoadAdapters(path);
        Assert.Equal(expected, Logits(third.CreateSession()));
        File.WriteAllText(config, """{ "r": 3, "lora_alpha": 12, "use_dora": true }""");
        ModelFileException exception = Assert.Throws<ModelFileException>(() => third.LoadAdapters(path));
        Assert.Contains("lora_alpha: expected a scale of 2, found 4", exception.Message, StringComparison.Ordinal);
        Assert.Contains("use_dora", exception.Message, StringComparison.Ordinal);
        foreach (string text in new[] { "", "[", "[1]", "{ \"r\": {", new string('[', 100) })
        {
            File.WriteAllText(config, text);
            Assert.Throws<ModelFileException>(() => third.LoadAdapters(path));
        }

        // What does not fit changes nothing.
        File.Delete(config);
        writer = new SafetensorsWriter();
        writer.Add("base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight", [4, 40], new float[160]);
        writer.Add("base_model.model.lm_head.weight", [4], new float[4]);
        writer.Save(path);
        exception = Assert.Throws<ModelFileException>(() => third.LoadAdapters(path));
        Assert.Contains("[4, 40]", exception.Message, StringComparison.Ordinal);
        Assert.Contains("lm_head", exception.Message, StringComparison.Ordinal);
        Assert.Equal(expected, Logits(third.CreateSession()));
        DropoutLoraDecoder.Create().SaveAdapters(path);
        exception = Assert.Throws<ModelFileException>(() => third.LoadAdapters(path));
        Assert.Contains("Lora.Rank", exception.Message, StringComparison.Ordinal);
    }

    private static DropoutLoraDecoder Trainable()
    {
        DropoutLoraDecoder model = DropoutLoraDecoder.Create(3);
        var random = new Random(1);
        foreach (ParameterInfo parameter in DropoutLoraDecoder.Parameters.Where(p => p.Adapts is not null))
        {
            foreach (ref float x in model.Parameter(parameter.Name))
            {
                x = (float)(random.NextDouble() - 0.5) * 0.3f;
            }
        }

        return model;
    }

    private static float[] Logits(CausalSession session)
    {
        using (session)
        {
            return session.Prefill([1, 5, 2, 40, 17, 3, 9]).ToArray();
        }
    }
}
