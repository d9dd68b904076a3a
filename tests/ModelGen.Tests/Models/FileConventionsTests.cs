using ModelGen.Tests.Infrastructure;

namespace ModelGen.Tests.Models;

/// <summary>Weight files and checkpoints of compiled models: spelled as their families' public files are, and of no other declaration.</summary>
public sealed class FileConventionsTests : IDisposable
{
    private readonly TemporaryFile _file = new();

    public void Dispose() => _file.Dispose();

    [Fact]
    public void A_public_gpt_file_loads_without_its_prefix_and_with_its_buffers()
    {
        TiedGpt model = TiedGpt.Create(seed: 3);
        Rewrite(model.Save, static name => name.Replace("transformer.", "", StringComparison.Ordinal), writer =>
        {
            for (int layer = 0; layer < 3; layer++)
            {
                writer.Add($"h.{layer}.attn.bias", [1, 1, 37, 37], new float[37 * 37]);
                writer.Add($"h.{layer}.attn.masked_bias", [], new float[1]);
            }

            writer.Add("lm_head.weight", [97, 30], model.Parameter("transformer.wte.weight").ToArray());
        });
        Same(model, TiedGpt.Load(_file.Path));
    }

    [Fact]
    public void An_untied_head_is_not_passed_over()
    {
        UntiedGpt untied = UntiedGpt.Create(seed: 3);
        untied.Save(_file.Path);
        ModelFileException refused = Assert.Throws<ModelFileException>(() => TiedUntiedGpt.Load(_file.Path));
        Assert.Contains(refused.Problems, static problem => problem.Field == "tensor 'lm_head.weight'");
        Assert.Contains(refused.Problems, static problem => problem == new ModelFileProblem("declaration, TieEmbeddings", "true", "'false'"));
    }

    [Fact]
    public void Biases_are_not_passed_over()
    {
        // Without metadata, as other programs write it.
        Rewrite(TiedGpt.Create(seed: 3).Save, static name => name, static writer => writer.Metadata.Clear());
        ModelFileException refused = Assert.Throws<ModelFileException>(() => BiasFreeGpt.Load(_file.Path));
        Assert.Equal((3 * 6) + 1, refused.Problems.Count);
        Assert.All(refused.Problems, static problem => Assert.EndsWith(".bias'", problem.Field, StringComparison.Ordinal));
        Assert.Equal(BiasFreeGpt.ParameterCount, BiasFreeGpt.Load(_file.Path, new LoadOptions { IgnoreUnexpected = true }).Parameter("transformer.wte.weight").Length
            + BiasFreeGpt.Parameters.Skip(1).Sum(static parameter => (int)parameter.Length));
    }

    [Fact]
    public void A_checkpoint_of_other_heads_and_activation_does_not_resume()
    {
        using (TiedGpt.Trainer trainer = TiedGpt.Create(seed: 3).CreateTrainer(new AdamW()))
        {
            trainer.SaveCheckpoint(_file.Path);
            trainer.LoadCheckpoint(_file.Path);
        }

        using OtherHeadsGpt.Trainer other = OtherHeadsGpt.Create(seed: 3).CreateTrainer(new AdamW());
        ModelFileException refused = Assert.Throws<ModelFileException>(() => other.LoadCheckpoint(_file.Path));
        Assert.Equal(
            [
                new("declaration, Heads", "3", "'5'"),
                new("declaration, KeyValueHeads", "3", "'5'"),
                new("declaration, Activation", "Relu", "'GeluTanh'"),
                new("declaration, Dropout", "0.25", "'0'"),
            ],
            refused.Problems);

        // What differs only in training loads as weights.
        refused = Assert.Throws<ModelFileException>(() => OtherHeadsGpt.Load(_file.Path));
        Assert.Equal(3, refused.Problems.Count);
        OtherHeadsGpt.Load(_file.Path, new LoadOptions { IgnoreDeclaration = true });
    }

    [Fact]
    public void A_carried_state_is_of_one_batch_size()
    {
        using (LstmLm.Trainer trainer = LstmLm.Create(seed: 3).CreateTrainer(new AdamW()))
        {
            trainer.SaveCheckpoint(_file.Path);
        }

        using OtherBatchLstm.Trainer other = OtherBatchLstm.Create(seed: 3).CreateTrainer(new AdamW());
        Assert.Equal(new ModelFileProblem("declaration, BatchSize", "4", "'3'"), Assert.Single(Assert.Throws<ModelFileException>(() => other.LoadCheckpoint(_file.Path)).Problems));
        OtherBatchLstm.Load(_file.Path);
    }

    /// <summary>What a declaration leaves as it is by default no file mentions: a plain model's does not go into one with a window without a word.</summary>
    [Fact]
    public void A_plain_model_is_not_one_with_a_window()
    {
        WindowGpt.Create(seed: 3).Save(_file.Path);
        Strip("Attention", "Window");
        ModelFileException refused = Assert.Throws<ModelFileException>(() => WindowGpt.Load(_file.Path));
        Assert.Equal([new("declaration, Attention", "Window", "'Full'")], refused.Problems);
        WindowGpt.Load(_file.Path, new LoadOptions { IgnoreDeclaration = true });

        // A file that records nothing is another program's.
        Rewrite(WindowGpt.Create(seed: 3).Save, static name => name, static _ => { });
        WindowGpt.Load(_file.Path);

        GlobalGpt.Create(seed: 3).Save(_file.Path);
        Strip("GlobalTokens");
        Assert.Equal([new("declaration, GlobalTokens", "3", "'0'")], Assert.Throws<ModelFileException>(() => GlobalGpt.Load(_file.Path)).Problems);

        EndlessGpt.Create(seed: 3).Save(_file.Path);
        Strip("Positions");
        Assert.Equal([new("declaration, Positions", "None", "'Learned'")], Assert.Throws<ModelFileException>(() => EndlessGpt.Load(_file.Path)).Problems);

        void Strip(params string[] options)
        {
            Dictionary<string, string> metadata;
            using (SafetensorsFile original = SafetensorsFile.Open(_file.Path))
            {
                metadata = new(original.Metadata);
            }

            foreach (string option in options)
            {
                Assert.True(metadata.Remove("modelgen.declaration." + option));
            }

            Rewrite(static _ => { }, static name => name, writer =>
            {
                foreach ((string key, string value) in metadata)
                {
                    writer.Metadata[key] = value;
                }
            });
        }
    }

    /// <summary>A context that shapes no parameter is no part of the model: trained with one, decoded with another; a trainer tells of it.</summary>
    [Fact]
    public void A_longer_context_takes_a_model_without_learned_positions()
    {
        ShortAlibiGpt trained = ShortAlibiGpt.Create(seed: 3);
        using ShortAlibiGpt.Trainer trainer = trained.CreateTrainer(new AdamW());
        trainer.SaveCheckpoint(_file.Path);
        using LongAlibiGpt.Trainer longer = LongAlibiGpt.Create(seed: 4).CreateTrainer(new AdamW());
        longer.LoadCheckpoint(_file.Path);
        Assert.Equal([new ChangedSetting("Context", "16", "64")], longer.ChangedSettings);
        trainer.LoadCheckpoint(_file.Path);
        Assert.Empty(trainer.ChangedSettings);

        trained.Save(_file.Path);
        using LongAlibiGpt.Session on = LongAlibiGpt.Load(_file.Path).CreateSession();
        using ShortAlibiGpt.Session before = trained.CreateSession();
        for (int t = 0; t < 64; t++)
        {
            float[] logits = on.Decode(t % 11).ToArray();
            if (t < 16)
            {
                Compare.Absolute(before.Decode(t % 11), logits, 1e-5, $"token {t}");
            }
        }

        // Learned positions are a parameter.
        OtherHeadsGpt.Create(seed: 3).Save(_file.Path);
        ModelFileException refused = Assert.Throws<ModelFileException>(() => LongOtherHeadsGpt.Load(_file.Path));
        Assert.Equal(2, refused.Problems.Count);
        Assert.Equal("declaration, Context", refused.Problems[0].Field);
        Assert.EndsWith("shape", refused.Problems[1].Field, StringComparison.Ordinal);
    }

    [Fact]
    public void A_model_of_another_family_names_it()
    {
        CrossEntropyMlp.Create(seed: 1).Save(_file.Path);
        ModelFileException refused = Assert.Throws<ModelFileException>(() => TiedGpt.Load(_file.Path));
        Assert.Equal(new ModelFileProblem("declaration, Family", "Gpt", "'Mlp'"), refused.Problems[0]);
        Assert.Single(refused.Problems, static problem => problem.Field.StartsWith("declaration", StringComparison.Ordinal));
    }

    [Fact]
    public void A_tied_recurrent_model_takes_the_decoders_copy()
    {
        RnnLm model = RnnLm.Create(seed: 3);
        Rewrite(model.Save, static name => "module." + name, writer => writer.Add("module.decoder.weight", [41, 21], model.Parameter("embedding.weight").ToArray()));
        RnnLm loaded = RnnLm.Load(_file.Path);
        Assert.True(model.Parameter("embedding.weight").SequenceEqual(loaded.Parameter("embedding.weight")));
    }

    [Fact]
    public void Loading_is_a_function_of_a_path_as_it_was()
    {
        TiedGpt model = TiedGpt.Create(seed: 3);
        model.Save(_file.Path);
        Func<string, TiedGpt> load = TiedGpt.Load;
        Func<string, LoadOptions?, TiedGpt> loadWith = TiedGpt.Load;
        Same(model, load(_file.Path));
        Same(model, loadWith(_file.Path, null));
        Same(model, new[] { _file.Path }.Select(TiedGpt.Load).Single());
        Same(model, Generic<TiedGpt>(_file.Path));

        static TModel Generic<TModel>(string path)
            where TModel : ICausalLanguageModel<TModel>
        {
            Assert.Throws<ModelFileException>(() => TModel.Load(path, new LoadOptions { NamePrefix = "none." }));
            return TModel.Load(path);
        }
    }

    private static void Same(TiedGpt expected, TiedGpt found)
    {
        using TiedGpt.Session left = expected.CreateSession();
        using TiedGpt.Session right = found.CreateSession();
        Assert.True(left.Prefill([1, 2, 3]).SequenceEqual(right.Prefill([1, 2, 3])));
    }

    /// <summary>Saves a model, and writes its file again with other names and more tensors.</summary>
    private void Rewrite(Action<string> save, Func<string, string> spelled, Action<SafetensorsWriter> more)
    {
        save(_file.Path);
        var writer = new SafetensorsWriter();
        using (SafetensorsFile original = SafetensorsFile.Open(_file.Path))
        {
            foreach (SafetensorsTensor tensor in original.Tensors)
            {
                float[] values = new float[tensor.Length];
                original.ReadFloats(tensor, 0, values);
                writer.Add(spelled(tensor.Name), [.. tensor.Shape.Select(static extent => (int)extent)], values);
            }
        }

        more(writer);
        writer.Save(_file.Path);
    }
}

[Gpt(Layers = 2, DModel = 40, Heads = 4, FeedForward = 56, Vocab = 50, Context = 16, Activation = Activation.Relu, Bias = false)]
public partial class TiedUntiedGpt;

[Gpt(Layers = 3, DModel = 30, Heads = 5, Vocab = 97, Context = 37, Bias = false)]
public partial class BiasFreeGpt;

[Gpt(Layers = 3, DModel = 30, Heads = 3, Vocab = 97, Context = 37, Activation = Activation.Relu, Dropout = 0.25)]
[Trainable(BatchSize = 3, SequenceLength = 29)]
public partial class OtherHeadsGpt;

[Gpt(Layers = 3, DModel = 30, Heads = 3, Vocab = 97, Context = 41, Activation = Activation.Relu, Dropout = 0.25)]
public partial class LongOtherHeadsGpt;

[Gpt(Layers = 2, DModel = 12, Heads = 3, Vocab = 11, Context = 16, Positions = PositionEncoding.Alibi)]
[Trainable(BatchSize = 1, SequenceLength = 8)]
public partial class ShortAlibiGpt;

[Gpt(Layers = 2, DModel = 12, Heads = 3, Vocab = 11, Context = 64, Positions = PositionEncoding.Alibi)]
[Trainable(BatchSize = 1, SequenceLength = 8)]
public partial class LongAlibiGpt;

[RecurrentLm(Cell = Cell.Lstm, Layers = 2, Embedding = 18, Hidden = 24, Vocab = 41)]
[Trainable(BatchSize = 4, SequenceLength = 13)]
public partial class OtherBatchLstm;
