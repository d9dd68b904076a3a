using System.Reflection;
using ModelGen.Compiler.Families;
using static ModelGen.Tests.Cuda.DeviceCheck;

namespace ModelGen.Tests.Cuda;

/// <summary>Sessions on a device, through the runtime's loader and launches, against the same sessions on the processor.</summary>
public sealed class DeviceSessionTests
{
    [Fact]
    public void Gpt() => LanguageModel<DeviceGpt>(9);

    [Fact]
    public void Gpt_with_a_window() => LanguageModel<DeviceWindowGpt>(12);

    [Fact]
    public void Decoder() => LanguageModel<DeviceDecoder>(9);

    [Fact]
    public void Several_sequences_of_a_decoder_in_any_order() => Batch<DeviceDecoder>();

    [Fact]
    public void Lstm() => LanguageModel<DeviceLstm>(9);

    [Fact]
    public void State_space() => LanguageModel<DeviceStateSpace>(9);

    [Fact]
    public void Gated_delta_rule() => LanguageModel<DeviceDelta>(9);

    [Fact]
    public void Several_sequences_of_recurrences_in_any_order()
    {
        Batch<DeviceStateSpace>();
        Batch<DeviceDelta>();
    }

    [Fact]
    public void Several_sequences_of_a_gpt_in_any_order() => Batch<DeviceWindowGpt>();

    [Fact]
    public void Several_sequences_of_an_lstm_in_any_order() => Batch<DeviceLstm>();

    [Fact]
    public void Transformer() => Pairs<DeviceTransformer>();

    [Fact]
    public void T5() => Pairs<DeviceT5>();

    [Fact]
    public void Recurrent_encoder_and_decoder() => Pairs<DeviceSeq2Seq>();

    /// <summary>None is left out of these tests: a family that comes gets a tiny model here. Presets of one family are one.</summary>
    [Fact]
    public void Every_family_has_a_model()
    {
        HashSet<string?> attributes = [.. typeof(DeviceGpt).Assembly.GetTypes().Where(type => type.Namespace == typeof(DeviceGpt).Namespace && type.GetCustomAttribute<CudaAttribute>() is not null)
            .SelectMany(type => type.GetCustomAttributes()).Select(attribute => attribute.GetType().FullName)];
        Assert.Equal(
            FamilyRegistry.All.Select(family => family.GetType()).Distinct(),
            FamilyRegistry.All.Where(family => attributes.Contains(family.AttributeMetadataName)).Select(family => family.GetType()).Distinct());
    }

    [Fact]
    public void Scores_and_hidden_states()
    {
        using var driver = new StandInDriver();
        DeviceWindowGpt model = DeviceWindowGpt.Create(seed: 7);
        using DeviceWindowGpt.Session expected = model.CreateSession(), actual = model.CreateSession(Session(driver));
        float[] wanted = new float[7], scores = new float[7];
        expected.Score(Ids(8, 17), wanted);
        actual.Score(Ids(8, 17), scores);
        Near(driver, wanted, scores);
        float[][] outputs = [.. Enumerable.Range(0, 4).Select(i => new float[i < 2 ? 4 * 17 : 3 * 4 * 12])];
        expected.Forward(Ids(4, 17), outputs[0], outputs[2]);
        actual.Forward(Ids(4, 17), outputs[1], outputs[3]);
        Near(driver, outputs[0], outputs[1]);
        Near(driver, outputs[2], outputs[3]);
    }

    [Fact]
    public void Mlp()
    {
        using var driver = new StandInDriver();
        DeviceMlp model = DeviceMlp.Create(seed: 7);
        using DeviceMlp.Session expected = model.CreateSession(), actual = model.CreateSession(Session(driver));
        foreach (int rows in new[] { 1, 3, 300 })
        {
            float[] inputs = Numbers(rows * 5), outputs = new float[rows * 3], wanted = new float[rows * 3];
            expected.Predict(inputs, wanted);
            actual.Predict(inputs, outputs);
            Near(driver, wanted, outputs);
        }
    }

    [Fact]
    public void Bert()
    {
        using var driver = new StandInDriver();
        DeviceBert model = DeviceBert.Create(seed: 7);
        using DeviceBert.Session expected = model.CreateSession(), actual = model.CreateSession(Session(driver));
        foreach ((int batch, int steps) in new[] { (1, 3), (3, 7), (2, 5) })
        {
            int[] tokens = Ids(batch * steps, 13), segments = Ids(batch * steps, 2), lengths = [.. Enumerable.Range(0, batch).Select(b => steps - b)];
            float[] wanted = new float[batch * 12], embeddings = new float[batch * 12];
            expected.Embed(batch, steps, tokens, segments, lengths, wanted);
            actual.Embed(batch, steps, tokens, segments, lengths, embeddings);
            Near(driver, wanted, embeddings);
            float[] wantedLogits = new float[batch * steps * 13], logits = new float[batch * steps * 13], wantedNext = new float[batch * 2], next = new float[batch * 2];
            expected.Predict(batch, steps, tokens, [], lengths, wantedLogits, wantedNext);
            actual.Predict(batch, steps, tokens, [], lengths, logits, next);
            Near(driver, wantedLogits, logits);
            Near(driver, wantedNext, next);
        }
    }

    [Fact]
    public void Words_from_a_window_and_codes_of_words()
    {
        using var driver = new StandInDriver();
        DeviceNnlm words = DeviceNnlm.Create(seed: 7);
        using DeviceNnlm.Session expected = words.CreateSession(), actual = words.CreateSession(Session(driver));
        float[] wanted = new float[4 * 11], logits = new float[4 * 11];
        expected.Predict(Ids(12, 11), wanted);
        actual.Predict(Ids(12, 11), logits);
        Near(driver, wanted, logits);

        DeviceWords codes = DeviceWords.Create(seed: 7);
        using DeviceWords.Session expectedCodes = codes.CreateSession(), actualCodes = codes.CreateSession(Session(driver));
        (wanted, logits) = (new float[5 * 4], new float[5 * 4]);
        expectedCodes.Encode(Ids(5, 9), wanted);
        actualCodes.Encode(Ids(5, 9), logits);
        Near(driver, wanted, logits);
    }

    [Fact]
    public void Regressor_whose_state_goes_on()
    {
        using var driver = new StandInDriver();
        DeviceRegressor model = DeviceRegressor.Create(seed: 7);
        using DeviceRegressor.Session expected = model.CreateSession(), actual = model.CreateSession(Session(driver));
        for (int i = 0; i < 5; i++)
        {
            Near(driver, expected.Next(Numbers(2)), actual.Next(Numbers(2)));
        }

        actual.Reset();
        expected.Reset();
        Near(driver, expected.Next(Numbers(2)), actual.Next(Numbers(2)));
    }

    [Fact]
    public void Tagger()
    {
        using var driver = new StandInDriver();
        DeviceTagger model = DeviceTagger.Create(seed: 7);
        using DeviceTagger.Session expected = model.CreateSession(), actual = model.CreateSession(Session(driver));
        float[] wanted = new float[5 * 4], logits = new float[5 * 4];
        expected.Predict(Ids(5, 11), wanted);
        actual.Predict(Ids(5, 11), logits);
        Near(driver, wanted, logits);
        Near(driver, expected.PredictBatch(Ids(21, 11), [7, 2, 5]), actual.PredictBatch(Ids(21, 11), [7, 2, 5]));
    }

    [Fact]
    public void A_token_is_one_launch_and_nothing_managed()
    {
        using var driver = new StandInDriver();
        using DeviceGpt.Session session = DeviceGpt.Create(seed: 7).CreateSession(Session(driver));
        session.Decode(1);
        session.Decode(2);
        driver.Calls.Clear();
        session.Decode(3);
        Assert.Equal(
            ["cuLaunchCooperativeKernel 1", "cuMemcpyDtoHAsync_v2 1", "cuMemcpyHtoDAsync_v2 1", "cuStreamSynchronize 1"],
            driver.Calls.OrderBy(c => c.Key, StringComparer.Ordinal).Select(c => FormattableString.Invariant($"{c.Key} {c.Value}")));
    }

    private static void LanguageModel<TModel>(int tokens)
        where TModel : ICausalLanguageModel<TModel>
    {
        using var driver = new StandInDriver();
        var model = TModel.Create(seed: 7);
        using (CausalSession expected = model.CreateSession(null), actual = model.CreateSession(Session(driver)))
        {
            Assert.Equal("Stand-in (CUDA device 0)", actual.Device.ToString());
            int[] ids = Ids(tokens, TModel.VocabularySize);
            Near(driver, expected.Prefill(ids.AsSpan(0, 3)), actual.Prefill(ids.AsSpan(0, 3)));
            foreach (int token in ids[3..])
            {
                Near(driver, expected.Decode(token), actual.Decode(token));
            }

            Assert.Equal(tokens, actual.Position);
            expected.Reset();
            actual.Reset();
            Near(driver, expected.Prefill(ids.AsSpan(4, 3)), actual.Prefill(ids.AsSpan(4, 3)));

            // A state of the device's goes on here, and one of ours there.
            SessionState theirs = actual.Capture(), ours = expected.Capture();
            expected.Restore(theirs);
            actual.Restore(ours);
            Near(driver, expected.Decode(1), actual.Decode(1));
            expected.Restore(ours);
            actual.Restore(theirs);
            if (actual.CanRewind)
            {
                expected.Rewind(2);
                actual.Rewind(2);
                Near(driver, expected.Decode(1), actual.Decode(1));
            }

            expected.Reset();
            actual.Reset();
            Near(driver, expected.Prefill(ids.AsSpan(4, 2)), actual.Prefill(ids.AsSpan(4, 2)));
        }

        Empty(driver);
    }

    private static void Batch<TModel>()
        where TModel : ICausalLanguageModel<TModel>
    {
        using var driver = new StandInDriver();
        var model = TModel.Create(seed: 7);
        using (CausalSession expected = model.CreateSession(new SessionOptions { Batch = 3 }), actual = model.CreateSession(Session(driver, batch: 3)))
        {
            for (int row = 0; row < 3; row++)
            {
                int[] ids = Ids(2 + row, TModel.VocabularySize, row);
                Near(driver, expected.Prefill(row, ids), actual.Prefill(row, ids));
            }

            Near(driver, expected.Decode([1, 2, 3]), actual.Decode([1, 2, 3]));
            Near(driver, expected.Decode([4, -1, 5]), actual.Decode([4, -1, 5]));

            // A cycle, a row twice, and an end.
            foreach (int[] order in new[] { new[] { 1, 2, 0 }, [2, 2, 1] })
            {
                expected.Reorder(order);
                actual.Reorder(order);
                Near(driver, expected.Decode([1, 2, 3]), actual.Decode([1, 2, 3]));
            }

            expected.Reset(1);
            actual.Reset(1);
            Near(driver, expected.Decode([6, 7, 8]), actual.Decode([6, 7, 8]));
        }

        Empty(driver);
    }

    private static void Pairs<TModel>()
        where TModel : IEncoderDecoderModel<TModel>
    {
        using var driver = new StandInDriver();
        var model = TModel.Create(seed: 7);
        using (EncoderDecoderSession expected = model.CreateSession(new SessionOptions { Batch = 3 }), actual = model.CreateSession(Session(driver, batch: 3)))
        {
            for (int row = 0; row < 3; row++)
            {
                int[] ids = Ids(2 + (2 * row), TModel.SourceVocabularySize, row);
                expected.Encode(row, ids);
                actual.Encode(row, ids);
            }

            Near(driver, expected.Decode([1, 2, 3]), actual.Decode([1, 2, 3]));
            Near(driver, expected.Decode([-1, 4, -1]), actual.Decode([-1, 4, -1]));
            expected.Reorder([0, 0, 2]);
            actual.Reorder([0, 0, 2]);
            Near(driver, expected.Decode([5, 6, 7]), actual.Decode([5, 6, 7]));
            for (int row = 0; row < 3 && expected.AttentionLayers > 0; row++)
            {
                Near(driver, expected.AttentionWeights(row, 1, 1), actual.AttentionWeights(row, 1, 1));
            }
        }

        Empty(driver);
    }
}
