using System.Buffers.Binary;
using System.Globalization;
using System.Runtime.InteropServices;
using ModelGen.Tests.Infrastructure;

namespace ModelGen.Tests.Models;

/// <summary>[Decoder] against PyTorch, and a trained Llama.</summary>
public sealed class DecoderTests
{
    [Fact]
    public void Llama_logits() => Parity.Logits<LlamaDecoder>("decoder-llama");

    [Fact]
    public void Llama_gradients_with_ignored_targets() => Parity.Gradients<LlamaDecoder>("decoder-llama", LlamaDecoder.Parameters);

    [Fact]
    public void Llama_training() => Parity.Training<LlamaDecoder>("decoder-llama");

    [Fact]
    public void Half_turned_interleaved_logits() => Parity.Logits<InterleavedDecoder>("decoder-interleaved");

    [Fact]
    public void Half_turned_interleaved_gradients() => Parity.Gradients<InterleavedDecoder>("decoder-interleaved", InterleavedDecoder.Parameters);

    [Fact]
    public void Half_turned_interleaved_training() => Parity.Training<InterleavedDecoder>("decoder-interleaved");

    [Fact]
    public void Biases_logits() => Parity.Logits<BiasedDecoder>("decoder-biased");

    [Fact]
    public void Biases_gradients() => Parity.Gradients<BiasedDecoder>("decoder-biased", BiasedDecoder.Parameters);

    [Fact]
    public void Biases_training() => Parity.Training<BiasedDecoder>("decoder-biased");

    [Fact]
    public void Qwen_logits() => Parity.Logits<QwenDecoder>("decoder-qwen");

    [Fact]
    public void Qwen_gradients() => Parity.Gradients<QwenDecoder>("decoder-qwen", QwenDecoder.Parameters);

    [Fact]
    public void Qwen_training() => Parity.Training<QwenDecoder>("decoder-qwen");

    [Fact]
    public void Gemma_logits() => Parity.Logits<GemmaDecoder>("decoder-gemma");

    [Fact]
    public void Gemma_gradients() => Parity.Gradients<GemmaDecoder>("decoder-gemma", GemmaDecoder.Parameters);

    [Fact]
    public void Gemma_training() => Parity.Training<GemmaDecoder>("decoder-gemma");

    [Fact]
    public void Capped_logits() => Parity.Logits<CappedDecoder>("decoder-capped");

    [Fact]
    public void Capped_gradients() => Parity.Gradients<CappedDecoder>("decoder-capped", CappedDecoder.Parameters);

    [Fact]
    public void Capped_training() => Parity.Training<CappedDecoder>("decoder-capped");

    [Fact]
    public void Phi_logits() => Parity.Logits<PhiDecoder>("decoder-phi");

    [Fact]
    public void Phi_gradients() => Parity.Gradients<PhiDecoder>("decoder-phi", PhiDecoder.Parameters);

    [Fact]
    public void Phi_training() => Parity.Training<PhiDecoder>("decoder-phi");

    [Fact]
    public void Neox_logits() => Parity.Logits<NeoxDecoder>("decoder-neox");

    [Fact]
    public void Neox_gradients() => Parity.Gradients<NeoxDecoder>("decoder-neox", NeoxDecoder.Parameters);

    [Fact]
    public void Neox_training() => Parity.Training<NeoxDecoder>("decoder-neox");

    [Fact]
    public void Granite_logits() => Parity.Logits<GraniteDecoder>("decoder-granite");

    [Fact]
    public void Granite_gradients() => Parity.Gradients<GraniteDecoder>("decoder-granite", GraniteDecoder.Parameters);

    [Fact]
    public void Granite_training() => Parity.Training<GraniteDecoder>("decoder-granite");

    [Fact]
    public void Olmo_logits() => Parity.Logits<OlmoDecoder>("decoder-olmo");

    [Fact]
    public void Olmo_gradients() => Parity.Gradients<OlmoDecoder>("decoder-olmo", OlmoDecoder.Parameters);

    [Fact]
    public void Olmo_training() => Parity.Training<OlmoDecoder>("decoder-olmo");

    [Fact]
    public void LongRoPE_beyond_the_first_context_logits() => Parity.Logits<LongRopeDecoder>("decoder-longrope");

    [Fact]
    public void LongRoPE_beyond_the_first_context_gradients() => Parity.Gradients<LongRopeDecoder>("decoder-longrope", LongRopeDecoder.Parameters);

    [Fact]
    public void LongRoPE_beyond_the_first_context_training() => Parity.Training<LongRopeDecoder>("decoder-longrope");

    [Fact]
    public void LongRoPE_within_the_first_context_logits() => Parity.Logits<ShortRopeDecoder>("decoder-longrope-short");

    [Fact]
    public void LongRoPE_within_the_first_context_gradients() => Parity.Gradients<ShortRopeDecoder>("decoder-longrope-short", ShortRopeDecoder.Parameters);

    [Fact]
    public void LongRoPE_within_the_first_context_training() => Parity.Training<ShortRopeDecoder>("decoder-longrope-short");

    [Fact]
    public void A_base_stretched_by_the_context_logits() => Parity.Logits<DynamicRopeDecoder>("decoder-dynamic");

    [Fact]
    public void A_base_stretched_by_the_context_gradients() => Parity.Gradients<DynamicRopeDecoder>("decoder-dynamic", DynamicRopeDecoder.Parameters);

    [Fact]
    public void A_base_stretched_by_the_context_training() => Parity.Training<DynamicRopeDecoder>("decoder-dynamic");

    [Fact]
    public void Bloom_logits() => Parity.Logits<BloomDecoder>("decoder-bloom");

    [Fact]
    public void Bloom_gradients() => Parity.Gradients<BloomDecoder>("decoder-bloom", BloomDecoder.Parameters);

    [Fact]
    public void Bloom_training() => Parity.Training<BloomDecoder>("decoder-bloom");

    [Fact]
    public void GptJ_logits() => Parity.Logits<GptJDecoder>("decoder-gptj");

    [Fact]
    public void GptJ_gradients() => Parity.Gradients<GptJDecoder>("decoder-gptj", GptJDecoder.Parameters);

    [Fact]
    public void GptJ_training() => Parity.Training<GptJDecoder>("decoder-gptj");

    [Fact]
    public void Nemotron_logits() => Parity.Logits<NemotronDecoder>("decoder-nemotron");

    [Fact]
    public void Nemotron_gradients() => Parity.Gradients<NemotronDecoder>("decoder-nemotron", NemotronDecoder.Parameters);

    [Fact]
    public void Nemotron_training() => Parity.Training<NemotronDecoder>("decoder-nemotron");

    [Fact]
    public void Cohere_logits() => Parity.Logits<CohereDecoder>("decoder-cohere");

    [Fact]
    public void Cohere_gradients() => Parity.Gradients<CohereDecoder>("decoder-cohere", CohereDecoder.Parameters);

    [Fact]
    public void Cohere_training() => Parity.Training<CohereDecoder>("decoder-cohere");

    [Fact]
    public void Gemma3n_logits() => Parity.Logits<Gemma3nDecoder>("decoder-gemma3n");

    [Fact]
    public void Gemma3n_gradients() => Parity.Gradients<Gemma3nDecoder>("decoder-gemma3n", Gemma3nDecoder.Parameters);

    [Fact]
    public void Gemma3n_training() => Parity.Training<Gemma3nDecoder>("decoder-gemma3n");

    [Fact]
    public void Mixtral_logits() => Parity.Logits<MixtralDecoder>("decoder-mixtral");

    [Fact]
    public void Mixtral_gradients_with_the_balance_loss() => Parity.Gradients<MixtralDecoder>("decoder-mixtral", MixtralDecoder.Parameters);

    [Fact]
    public void Mixtral_training() => Parity.Training<MixtralDecoder>("decoder-mixtral");

    [Fact]
    public void Olmoe_with_a_shared_expert_logits() => Parity.Logits<OlmoeDecoder>("decoder-olmoe");

    [Fact]
    public void Olmoe_with_a_shared_expert_gradients() => Parity.Gradients<OlmoeDecoder>("decoder-olmoe", OlmoeDecoder.Parameters);

    [Fact]
    public void Olmoe_with_a_shared_expert_training() => Parity.Training<OlmoeDecoder>("decoder-olmoe");

    [Fact]
    public void Lfm2_logits() => Parity.Logits<Lfm2Decoder>("decoder-lfm2");

    [Fact]
    public void Lfm2_gradients() => Parity.Gradients<Lfm2Decoder>("decoder-lfm2", Lfm2Decoder.Parameters);

    [Fact]
    public void Lfm2_training() => Parity.Training<Lfm2Decoder>("decoder-lfm2");

    [Fact]
    public void Gated_delta_logits() => Parity.Logits<DeltaDecoder>("decoder-delta");

    [Fact]
    public void Gated_delta_gradients() => Parity.Gradients<DeltaDecoder>("decoder-delta", DeltaDecoder.Parameters);

    [Fact]
    public void Gated_delta_training() => Parity.Training<DeltaDecoder>("decoder-delta");

    [Fact]
    public void Mamba2_logits() => Parity.Logits<Mamba2Decoder>("decoder-mamba2");

    [Fact]
    public void Mamba2_gradients() => Parity.Gradients<Mamba2Decoder>("decoder-mamba2", Mamba2Decoder.Parameters);

    [Fact]
    public void Mamba2_training() => Parity.Training<Mamba2Decoder>("decoder-mamba2");

    [Fact]
    public void Granite_hybrid_logits() => Parity.Logits<GraniteHybrid>("decoder-granite-hybrid");

    [Fact]
    public void Granite_hybrid_gradients() => Parity.Gradients<GraniteHybrid>("decoder-granite-hybrid", GraniteHybrid.Parameters);

    [Fact]
    public void Granite_hybrid_training() => Parity.Training<GraniteHybrid>("decoder-granite-hybrid");

    /// <summary>Files that call parameters otherwise, of a model of state spaces alone and of a hybrid whose two projections of a gated network are one tensor, are read as our own are.</summary>
    [Fact]
    public void State_spaces_load_by_their_own_names()
    {
        CheckRenamed<Mamba2Decoder>(Mamba2Decoder.Parameters, name => name.Replace(".input_layernorm.", ".norm.", StringComparison.Ordinal).Replace(".mamba.", ".mixer.", StringComparison.Ordinal)
            .Replace("model.embed_tokens", "backbone.embeddings", StringComparison.Ordinal).Replace("model.norm.", "backbone.norm_f.", StringComparison.Ordinal).Replace("model.", "backbone.", StringComparison.Ordinal));
        CheckRenamed<GraniteHybrid>(GraniteHybrid.Parameters, name => name.Replace(".mlp.gate_proj", ".shared_mlp.input_linear", StringComparison.Ordinal).Replace(".mlp.up_proj", ".shared_mlp.input_linear", StringComparison.Ordinal)
            .Replace(".mlp.down_proj", ".shared_mlp.output_linear", StringComparison.Ordinal));

        static void CheckRenamed<TModel>(IReadOnlyList<ParameterInfo> parameters, Func<string, string> rename)
            where TModel : ICausalLanguageModel<TModel>
        {
            using var file = new TemporaryFile("renamed.safetensors");
            TModel model = TModel.Create(seed: 3);
            var writer = new SafetensorsWriter();
            foreach (IGrouping<string, ParameterInfo> group in parameters.GroupBy(parameter => rename(parameter.Name)))
            {
                // Convolutions have an extent of one more in such files.
                int[] shape = [.. group.First().Shape];
                float[] values = [.. group.SelectMany(parameter => FileOrder(model, parameter))];
                shape = group.First().TransposedInFile ? [shape[1], shape[0]] : shape;
                shape[0] *= group.Count();
                writer.Add(group.Key, group.Key.Contains("conv1d.weight", StringComparison.Ordinal) ? [shape[0], 1, shape[1]] : shape, values);
            }

            writer.Save(file.Path);
            TModel loaded = TModel.Load(file.Path);
            using CausalSession expected = model.CreateSession(), found = loaded.CreateSession();
            Assert.Equal(expected.Prefill([1, 2, 3]).ToArray(), found.Prefill([1, 2, 3]).ToArray());
        }

        static float[] FileOrder<TModel>(TModel model, ParameterInfo parameter)
            where TModel : ICausalLanguageModel<TModel>
        {
            float[] values = model.Parameter(parameter.Name).ToArray();
            if (!parameter.TransposedInFile)
            {
                return values;
            }

            (int rows, int columns) = (parameter.Shape[0], parameter.Shape[1]);
            return [.. Enumerable.Range(0, values.Length).Select(i => values[(i % rows * columns) + (i / rows)])];
        }
    }

    [Fact]
    public void Chunks_logits() => Parity.Logits<ChunkedDecoder>("decoder-chunks");

    [Fact]
    public void Chunks_gradients() => Parity.Gradients<ChunkedDecoder>("decoder-chunks", ChunkedDecoder.Parameters);

    [Fact]
    public void Chunks_training() => Parity.Training<ChunkedDecoder>("decoder-chunks");

    /// <summary>Heads are divided among workers, and each is computed by one: a prompt's bits are the same however many there are.</summary>
    [Fact]
    public void Chunks_of_a_prompt_are_the_same_for_any_number_of_threads()
    {
        ChunkedDecoder model = ChunkedDecoder.Create(5);
        int[] tokens = [.. Enumerable.Range(0, 101).Select(i => i * 17 % 43)];
        float[][] logits = [.. new[] { 1, 2, 3, 5 }.Select(threads =>
        {
            using ChunkedDecoder.Session session = model.CreateSession(new SessionOptions { Threads = threads });
            session.Prefill(tokens.AsSpan(0, 45));
            return session.Prefill(tokens.AsSpan(45)).ToArray();
        })];
        Assert.All(logits, other => Assert.Equal(logits[0], other));
    }

    /// <summary>Prompts in pieces of any length, and one token at a time, give the same logits: the last inputs of convolutions, and what recurrences carry, go along.</summary>
    [Fact]
    public void Pieces_of_a_sequence_continue_it()
    {
        CheckPieces<Lfm2Decoder>(43);
        CheckPieces<DeltaDecoder>(43);
        CheckPieces<Mamba2Decoder>(43);
        CheckPieces<GraniteHybrid>(43);
        CheckPieces<MixtralDecoder>(43);
        CheckPieces<GptOssDecoder>(43);
        CheckPieces<Gemma4Decoder>(41);
        CheckPieces<SinkDecoder>(43);
        CheckPieces<ChunkedDecoder>(43, 33, 1, 1, 64, 5, 2, 22);
    }

    private static void CheckPieces<TModel>(int vocabulary, params int[] lengths)
        where TModel : ICausalLanguageModel<TModel>
    {
        TModel model = TModel.Create(5);
        using CausalSession pieces = model.CreateSession(), steps = model.CreateSession(), fresh = model.CreateSession();
        lengths = lengths.Length > 0 ? lengths : [7, 1, 1, 2, 13, 1, 5];
        int[] tokens = [.. Enumerable.Range(0, lengths.Sum()).Select(i => i * 17 % vocabulary)];
        int position = 0;
        foreach (int length in lengths)
        {
            float[] expected = [];
            foreach (int token in tokens.AsSpan(position, length))
            {
                expected = steps.Decode(token).ToArray();
            }

            ReadOnlySpan<float> found = pieces.Prefill(tokens.AsSpan(position, length));
            for (int i = 0; i < expected.Length; i++)
            {
                Assert.Equal(expected[i], found[i], 1e-5f);
            }

            position += length;
        }

        // An emptied session begins anew.
        pieces.Reset();
        Assert.Equal(fresh.Prefill(tokens).ToArray(), pieces.Prefill(tokens).ToArray());
    }

    [Fact]
    public void Convolutions_logits() => Parity.Logits<ConvolutionDecoder>("decoder-convolutions");

    [Fact]
    public void Convolutions_gradients() => Parity.Gradients<ConvolutionDecoder>("decoder-convolutions", ConvolutionDecoder.Parameters);

    [Fact]
    public void Convolutions_training() => Parity.Training<ConvolutionDecoder>("decoder-convolutions");

    [Fact]
    public void Gpt_oss_logits() => Parity.Logits<GptOssDecoder>("decoder-gpt-oss");

    [Fact]
    public void Gpt_oss_gradients() => Parity.Gradients<GptOssDecoder>("decoder-gpt-oss", GptOssDecoder.Parameters);

    [Fact]
    public void Gpt_oss_training() => Parity.Training<GptOssDecoder>("decoder-gpt-oss");

    [Fact]
    public void Gemma_4_logits() => Parity.Logits<Gemma4Decoder>("decoder-gemma4");

    [Fact]
    public void Gemma_4_gradients() => Parity.Gradients<Gemma4Decoder>("decoder-gemma4", Gemma4Decoder.Parameters);

    [Fact]
    public void Gemma_4_training() => Parity.Training<Gemma4Decoder>("decoder-gemma4");

    [Fact]
    public void Sinks_and_shared_keys_logits() => Parity.Logits<SinkDecoder>("decoder-sinks");

    [Fact]
    public void Sinks_and_shared_keys_gradients() => Parity.Gradients<SinkDecoder>("decoder-sinks", SinkDecoder.Parameters);

    [Fact]
    public void Sinks_and_shared_keys_training() => Parity.Training<SinkDecoder>("decoder-sinks");

    /// <summary>What a head gives its sink is missing from the weights that are handed out.</summary>
    [Fact]
    public void Weights_beside_a_sink_add_up_to_less_than_one()
    {
        SinkDecoder model = SinkDecoder.Create(5);
        model.Parameter("model.layers.1.self_attn.sinks").Fill(1.5f);
        using SinkDecoder.Session session = model.CreateSession();
        int[] tokens = [3, 14, 15, 9, 26, 5];
        var logits = new float[tokens.Length * 43];
        var weights = new float[2 * 3 * tokens.Length * tokens.Length];
        session.Forward(tokens, logits, weights);
        for (int row = 0; row < 2 * 3 * tokens.Length; row++)
        {
            int seen = (row % tokens.Length) + 1;
            float sum = weights.AsSpan(row * tokens.Length, tokens.Length).ToArray().Sum();

            // Scores of a model that is not trained are near 0: each key has about the same part, and a sink at 1.5 has e^1.5 of them.
            double expected = seen / (seen + Math.Exp(row / tokens.Length < 3 ? 0 : 1.5));
            Assert.InRange(sum, expected - 0.1, expected + 0.1);
        }
    }

    /// <summary>Layers that share keys and values have no cache of their own, and no parameters for them.</summary>
    [Fact]
    public void Shared_keys_have_one_cache()
    {
        // Three layers keep keys and values: two of 2 heads of 8 in rings, which a run and a window fit into, and one of a head of 16 for all positions.
        string[] names = [.. Gemma4Decoder.Parameters.Select(p => p.Name)];
        Assert.Contains("model.layers.2.self_attn.k_proj.weight", names);
        Assert.DoesNotContain(names, name => name.StartsWith("model.layers.3.self_attn.k", StringComparison.Ordinal) || name.StartsWith("model.layers.4.self_attn.v", StringComparison.Ordinal));
        Assert.Equal(3 * 2 * 16 * sizeof(float), Gemma4Decoder.KvBytesPerToken);
    }

    [Fact]
    public void A_trained_llama_tells_the_known_story()
    {
        Stories260K model = Stories260K.Create();
        foreach ((string name, float[] values) in Stories())
        {
            values.CopyTo(model.Parameter(name));
        }

        using Stories260K.Session session = model.CreateSession();
        CheckStory(() => session);
    }

    /// <summary>The same with the rows of the query and key projections in Hugging Face's order, decoded among other sequences.</summary>
    [Fact]
    public void A_trained_llama_in_halves_tells_the_known_story()
    {
        Stories260KInHalves model = InHalves();
        using Stories260KInHalves.Session session = model.CreateSession();
        CheckStory(() => session);
    }

    /// <summary>Prompts in pieces of any length, and one token at a time, give the same logits.</summary>
    [Fact]
    public void Pieces_of_a_story_continue_it()
    {
        Stories260KInHalves model = InHalves();
        int[] story = Story();
        using Stories260KInHalves.Session steps = model.CreateSession();
        var expected = new List<float[]>();
        foreach (int token in story)
        {
            expected.Add(steps.Decode(token).ToArray());
        }

        foreach (int length in new[] { 1, 7, 64, 200 })
        {
            using Stories260KInHalves.Session session = model.CreateSession();
            for (int begin = 0; begin < story.Length; begin += length)
            {
                int[] piece = story[begin..Math.Min(story.Length, begin + length)];
                Compare.Absolute(expected[begin + piece.Length - 1], session.Prefill(piece), 2e-4, FormattableString.Invariant($"pieces of {length} at {begin}"));
            }
        }
    }

    /// <summary>Steps of several sequences at positions of their own are bit for bit those of each alone.</summary>
    [Fact]
    public void Sequences_at_other_positions_do_not_matter()
    {
        Stories260KInHalves model = InHalves();
        int[] story = Story();
        using Stories260KInHalves.Session batch = model.CreateSession(new SessionOptions { Batch = 3 });
        int[] begins = [0, 5, 41];
        for (int sequence = 0; sequence < begins.Length; sequence++)
        {
            if (begins[sequence] > 0)
            {
                batch.Prefill(sequence, story.AsSpan(0, begins[sequence]));
            }
        }

        var alone = begins.Select(begin =>
        {
            Stories260KInHalves.Session session = model.CreateSession();
            if (begin > 0)
            {
                session.Prefill(story.AsSpan(0, begin));
            }

            return session;
        }).ToArray();
        for (int step = 0; step < 20; step++)
        {
            int[] tokens = [.. begins.Select(begin => story[begin + step])];
            ReadOnlySpan<float> logits = batch.Decode(tokens);
            for (int sequence = 0; sequence < begins.Length; sequence++)
            {
                Assert.Equal(alone[sequence].Decode(tokens[sequence]).ToArray(), logits.Slice(sequence * 512, 512).ToArray());
            }
        }

        Array.ForEach(alone, session => session.Dispose());
    }

    /// <summary>A model that knows one story learns from others.</summary>
    [Fact]
    public void Training_goes_on_from_a_trained_model()
    {
        Stories260K model = Stories260K.Create();
        foreach ((string name, float[] values) in Stories())
        {
            values.CopyTo(model.Parameter(name));
        }

        // Stories that the model tells itself at a temperature, with other names in them: not what it was trained on, and not noise.
        const int Rows = 4, Steps = 128;
        var random = new Random(5);
        var text = new int[Rows * (Steps + 1)];
        using (Stories260K.Session session = model.CreateSession())
        {
            for (int row = 0; row < Rows; row++)
            {
                session.Reset();
                int token = 1;
                for (int i = 0; i <= Steps; i++)
                {
                    text[(row * (Steps + 1)) + i] = token;
                    float[] logits = session.Decode(token).ToArray();
                    double[] weights = [.. logits.Select(l => Math.Exp((l - logits.Max()) / 1.3))];
                    double at = random.NextDouble() * weights.Sum();
                    token = 0;
                    while (token < 511 && (at -= weights[token]) > 0)
                    {
                        token++;
                    }
                }
            }
        }

        int[] inputs = [.. Enumerable.Range(0, Rows).SelectMany(row => text[(row * (Steps + 1))..((row + 1) * (Steps + 1) - 1)])];
        int[] targets = [.. Enumerable.Range(0, Rows).SelectMany(row => text[((row * (Steps + 1)) + 1)..((row + 1) * (Steps + 1))])];
        using Stories260K.Trainer trainer = model.CreateTrainer(new AdamW { LearningRate = 3e-4f });
        float first = trainer.Step(inputs, targets), last = first;
        for (int step = 0; step < 15; step++)
        {
            last = trainer.Step(inputs, targets);
        }

        Assert.InRange(first, 1.5f, 4.5f);
        Assert.True(last < first - 0.5f, FormattableString.Invariant($"the loss went from {first} to {last}"));
    }

    private static int[] Story()
        => [1, .. File.ReadAllText(TestData.File("stories260K", "expected_greedy_tokens.txt")).Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries).Select(t => int.Parse(t, CultureInfo.InvariantCulture))];

    private static void CheckStory(Func<CausalSession> session)
    {
        int[] story = Story();
        int token = story[0];
        var told = new List<int>();
        for (int i = 1; i < story.Length; i++)
        {
            token = Sampler.ArgMax(session().Decode(token));
            told.Add(token);
        }

        Assert.Equal(200, told.Count);
        Assert.Equal(story[1..], told);
    }

    private static Stories260KInHalves InHalves()
    {
        const int HeadWidth = 8;
        Stories260KInHalves model = Stories260KInHalves.Create();
        foreach ((string name, float[] values) in Stories())
        {
            Span<float> target = model.Parameter(name);
            if (!name.Contains("q_proj", StringComparison.Ordinal) && !name.Contains("k_proj", StringComparison.Ordinal))
            {
                values.CopyTo(target);
                continue;
            }

            int columns = 64;
            for (int row = 0; row < values.Length / columns; row++)
            {
                // Row 2i of a head is its row i, and row 2i + 1 its row i + half.
                int inHead = row % HeadWidth, to = row - inHead + (inHead / 2) + (inHead % 2 * (HeadWidth / 2));
                values.AsSpan(row * columns, columns).CopyTo(target[(to * columns)..]);
            }
        }

        return model;
    }

    /// <summary>The tensors of llama2.c's file, in its order (Karpathy's run.c, version 0), under Hugging Face's names.</summary>
    private static IEnumerable<(string Name, float[] Values)> Stories()
    {
        byte[] file = File.ReadAllBytes(TestData.File("stories260K", "stories260K.bin"));
        int[] sizes = [.. Enumerable.Range(0, 7).Select(i => BinaryPrimitives.ReadInt32LittleEndian(file.AsSpan(4 * i)))];
        Assert.Equal([64, 172, 5, 8, 4, 512, 512], sizes);
        (int width, int hidden, int layers, int keys) = (sizes[0], sizes[1], sizes[2], sizes[0] / sizes[3] * sizes[4]);
        int at = 7 * sizeof(int);
        float[] Next(int count)
        {
            float[] values = MemoryMarshal.Cast<byte, float>(file.AsSpan(at, count * sizeof(float))).ToArray();
            at += count * sizeof(float);
            return values;
        }

        yield return ("model.embed_tokens.weight", Next(sizes[5] * width));
        foreach ((string name, int count) in new[]
        {
            ("input_layernorm", width), ("self_attn.q_proj", width * width), ("self_attn.k_proj", keys * width), ("self_attn.v_proj", keys * width), ("self_attn.o_proj", width * width),
            ("post_attention_layernorm", width), ("mlp.gate_proj", hidden * width), ("mlp.down_proj", hidden * width), ("mlp.up_proj", hidden * width),
        })
        {
            for (int layer = 0; layer < layers; layer++)
            {
                yield return (FormattableString.Invariant($"model.layers.{layer}.{name}.weight"), Next(count));
            }
        }

        yield return ("model.norm.weight", Next(width));
    }
}
