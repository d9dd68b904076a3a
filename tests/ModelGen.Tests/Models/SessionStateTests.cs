using ModelGen.Tests.Infrastructure;
using ModelGen.Tests.Runtime;

namespace ModelGen.Tests.Models;

/// <summary>Sequences that are taken back, captured, saved and restored, and texts whose next tokens are guessed first.</summary>
[Collection(SerialCollection.Name)]
public sealed class SessionStateTests
{
    [Fact]
    public void What_was_taken_back_leaves_no_trace()
    {
        Rewinds<DraftedGpt>();
        Rewinds<DraftedDecoder>();
        Rewinds<RelativeGpt>();

        static void Rewinds<TModel>()
            where TModel : ICausalLanguageModel<TModel>
        {
            TModel model = TModel.Create(seed: 3);
            using CausalSession session = model.CreateSession(new SessionOptions { Threads = 2 }), other = model.CreateSession(null);
            Assert.True(session.CanRewind);
            int[] text = Ids(TModel.VocabularySize, 20);
            session.Prefill(text.AsSpan(0, 12));
            other.Prefill(text.AsSpan(0, 12));
            foreach (int kept in new[] { 12, 5, 1, 0, 9 })
            {
                // What is behind the place is another text each time.
                if (session.Position < kept)
                {
                    session.Prefill(text.AsSpan(session.Position, kept - session.Position));
                    other.Prefill(text.AsSpan(other.Position, kept - other.Position));
                }

                byte[] before = session.Capture().Bytes;
                for (int i = 0; i < 6; i++)
                {
                    session.Decode((i * 7) % TModel.VocabularySize);
                }

                session.Prefill(text.AsSpan(0, 5));
                session.Rewind(kept);
                Assert.Equal(kept, session.Position);
                other.Rewind(kept);
                if (session.Position == kept && before.Length == session.Capture().Bytes.Length)
                {
                    Assert.Equal(before, session.Capture().Bytes);
                }

                Assert.Equal(other.Decode(2).ToArray(), session.Decode(2).ToArray());
                session.Rewind(kept);
                other.Rewind(kept);
            }

            Assert.Throws<ArgumentOutOfRangeException>(() => session.Rewind(session.Position + 1));
            Assert.Throws<ArgumentOutOfRangeException>(() => session.Rewind(-1));
            Assert.Throws<ArgumentOutOfRangeException>(() => session.Rewind(0, row: 1));
        }
    }

    [Fact]
    public void What_forgets_is_not_taken_back()
    {
        Refuses<LstmLm>();
        Refuses<EndlessGpt>();
        Refuses<Lfm2Decoder>();
        Refuses<DeltaDecoder>();
        Refuses<Mamba2Decoder>();
        Refuses<ChunkedDecoder>();

        static void Refuses<TModel>()
            where TModel : ICausalLanguageModel<TModel>
        {
            using CausalSession session = TModel.Create(seed: 3).CreateSession(null);
            session.Prefill(Ids(TModel.VocabularySize, 6));
            float[] expected = session.Decode(1).ToArray();
            Assert.False(session.CanRewind);
            Assert.Throws<InvalidOperationException>(() => session.Rewind(3));
            Assert.Equal(7, session.Position);
            session.Rewind(7);
            session.Rewind(0);
            session.Prefill(Ids(TModel.VocabularySize, 6));
            Assert.Equal(expected, session.Decode(1).ToArray());
        }
    }

    /// <summary>Caches, rings, the states of recurrences and of short convolutions, in another session, in another place, and through a file.</summary>
    [Fact]
    public void A_state_goes_on_anywhere()
    {
        GoesOn<DraftedGpt>();
        GoesOn<LstmLm>();
        GoesOn<BatchedLstm>();
        GoesOn<EndlessGpt>();
        GoesOn<BatchedGpt>();
        GoesOn<Lfm2Decoder>();
        GoesOn<DeltaDecoder>();
        GoesOn<GraniteHybrid>();
        GoesOn<ChunkedDecoder>();
        GoesOn<Gemma4Decoder>();

        static void GoesOn<TModel>()
            where TModel : ICausalLanguageModel<TModel>
        {
            using var file = new TemporaryFile("state.safetensors");
            TModel model = TModel.Create(seed: 3);
            using CausalSession session = model.CreateSession(null), other = model.CreateSession(null);
            int[] text = Ids(TModel.VocabularySize, 11);
            foreach (int length in new[] { 0, 1, 11 })
            {
                session.Reset();
                if (length > 0)
                {
                    session.Prefill(text.AsSpan(0, length));
                }

                SessionState state = session.Capture();
                Assert.Equal(length, state.Position);
                float[] expected = [.. session.Decode(3).ToArray(), .. session.Decode(1).ToArray()];
                state.Save(file.Path);
                SessionState loaded = SessionState.Load(file.Path);
                Assert.Equal(state.Position, loaded.Position);
                other.Prefill(text);
                foreach (SessionState from in new[] { state, loaded, state })
                {
                    other.Restore(from);
                    Assert.Equal(length, other.Position);
                    Assert.Equal(expected, (float[])[.. other.Decode(3).ToArray(), .. other.Decode(1).ToArray()]);
                }
            }
        }
    }

    [Fact]
    public void A_state_goes_on_in_one_of_several_sequences()
    {
        BatchedGpt model = BatchedGpt.Create(seed: 3);
        using CausalSession alone = model.CreateSession(), several = model.CreateSession(new SessionOptions { Batch = 3 });
        int vocabulary = alone.VocabularySize;
        alone.Prefill(Ids(vocabulary, 9));
        SessionState state = alone.Capture();
        several.Prefill(0, Ids(vocabulary, 4));
        several.Restore(state, row: 2);
        Assert.Equal([4, 0, 9], several.Positions);
        float[] logits = several.Decode([5, -1, 5]).ToArray();
        Assert.Equal(alone.Decode(5).ToArray(), logits[(2 * vocabulary)..]);
        alone.Restore(several.Capture(row: 0));
        Assert.Equal(several.Decode([1, -1, -1]).ToArray()[..vocabulary], alone.Decode(1).ToArray());
    }

    [Fact]
    public void States_of_other_models_and_damaged_files_are_refused()
    {
        using var file = new TemporaryFile("state.safetensors");
        using CausalSession session = DraftedGpt.Create(seed: 1).CreateSession(), other = DraftedDecoder.Create(seed: 1).CreateSession();
        session.Prefill([1, 2, 3]);
        other.Prefill([1, 2]);
        SessionState state = session.Capture();
        Assert.Throws<ArgumentException>(() => other.Restore(state));
        Assert.Equal(2, other.Position);
        Assert.Throws<ArgumentOutOfRangeException>(() => session.Restore(state, row: 1));
        Assert.Throws<ArgumentOutOfRangeException>(() => session.Capture(row: -1));
        state.Save(file.Path);
        byte[] bytes = File.ReadAllBytes(file.Path);
        for (int length = 0; length < bytes.Length; length += 64)
        {
            File.WriteAllBytes(file.Path, bytes[..length]);
            Assert.Throws<ModelFileException>(() => SessionState.Load(file.Path));
        }

        foreach ((string key, string value, string field) in new[] { ("position", "-3", "__metadata__ 'modelgen.session.position'"), ("position", "x", "__metadata__ 'modelgen.session.position'") })
        {
            var writer = new SafetensorsWriter();
            writer.Metadata["modelgen.session.model"] = "DraftedGpt";
            writer.Metadata["modelgen.session." + key] = value;
            writer.Add("state", [3], new byte[3]);
            writer.Save(file.Path);
            Assert.Equal(field, Assert.Throws<ModelFileException>(() => SessionState.Load(file.Path)).Field);
        }

        // As many bytes as of another step, and a step beyond the context.
        foreach (int position in new[] { 4, int.MaxValue })
        {
            var writer = new SafetensorsWriter();
            writer.Metadata["modelgen.session.model"] = nameof(DraftedGpt);
            writer.Metadata["modelgen.session.position"] = position.ToString(System.Globalization.CultureInfo.InvariantCulture);
            writer.Add("state", [(int)state.ByteLength], new byte[state.ByteLength]);
            writer.Save(file.Path);
            Assert.Throws<ArgumentException>(() => session.Restore(SessionState.Load(file.Path)));
        }

        Assert.Equal(3, session.Position);
    }

    /// <summary>A class of the same name with states of the same size: of another build of the program, say.</summary>
    [Fact]
    public void States_of_the_same_name_and_size_are_refused_where_the_declaration_is_another()
    {
        using var file = new TemporaryFile("state.safetensors");
        using CausalSession session = States.Twin.Create(seed: 1).CreateSession();
        session.Prefill([1, 2, 3]);
        SessionState state = session.Capture();
        state.Save(file.Path);
        SessionState.Load(file.Path).Save(file.Path);
        using CausalSession heads = OtherHeads.Twin.Create(seed: 1).CreateSession(), positions = OtherPositions.Twin.Create(seed: 1).CreateSession(), longer = Longer.Twin.Create(seed: 1).CreateSession();
        foreach (SessionState each in new[] { state, SessionState.Load(file.Path) })
        {
            Assert.Equal("The state is of a Twin that was declared otherwise: Heads, expected 4, found '2'. (Parameter 'state')", Assert.Throws<ArgumentException>(() => heads.Restore(each)).Message);
            Assert.Equal("The state is of a Twin that was declared otherwise: Positions, expected None, found 'Alibi'. (Parameter 'state')", Assert.Throws<ArgumentException>(() => positions.Restore(each)).Message);
            Assert.Equal(0, heads.Position + positions.Position);

            // How long sequences may be is no other model.
            longer.Restore(each);
            Assert.Equal(3, longer.Position);
        }

        // Files of earlier versions say nothing of the declaration.
        var writer = new SafetensorsWriter();
        writer.Metadata["modelgen.session.model"] = "Twin";
        writer.Metadata["modelgen.session.position"] = "3";
        writer.Add("state", [(int)state.ByteLength], state.Bytes);
        writer.Save(file.Path);
        session.Reset();
        session.Restore(SessionState.Load(file.Path));
        Assert.Equal(state.Bytes, session.Capture().Bytes);
    }

    [Fact]
    public void A_pass_of_several_tokens_gives_what_each_gives()
    {
        using CausalSession session = DraftedGpt.Create(seed: 3).CreateSession(new SessionOptions { Threads = 2 }), other = DraftedGpt.Create(seed: 3).CreateSession();
        int[] text = Ids(41, 17);
        Assert.Equal(5, session.MaximumDrafts);
        session.Prefill(text.AsSpan(0, 4));
        other.Prefill(text.AsSpan(0, 4));
        for (int at = 4, count = 1; at + count <= text.Length; at += count, count++)
        {
            float[] logits = new float[count * 41];
            session.Verify(text.AsSpan(at, count), logits);
            for (int i = 0; i < count; i++)
            {
                Compare.Absolute(other.Decode(text[at + i]), logits.AsSpan(i * 41, 41), 1e-5, $"token {at + i}");
            }
        }

        Assert.Throws<ArgumentException>(() => session.Verify([], []));
        Assert.Throws<ArgumentException>(() => session.Verify(new int[7], new float[7 * 41]));
        Assert.Throws<ArgumentException>(() => session.Verify([1, 2], new float[41]));
        Assert.Throws<ArgumentOutOfRangeException>(() => session.Verify([41], new float[41]));
        using CausalSession plain = TiedGpt.Create(seed: 1).CreateSession();
        Assert.Equal(0, plain.MaximumDrafts);
        Assert.Throws<InvalidOperationException>(() => plain.Verify([1], new float[plain.VocabularySize]));
    }

    /// <summary>Whoever guesses, and however wrong: token for token what is generated without guesses, beyond the end of the context too.</summary>
    [Theory]
    [InlineData("lookup", 0f)]
    [InlineData("lookup", 0.8f)]
    [InlineData("itself", 0f)]
    [InlineData("itself", 1f)]
    [InlineData("another", 0f)]
    [InlineData("another", 1.2f)]
    [InlineData("nonsense", 1f)]
    public void Guesses_change_no_text(string kind, float temperature)
    {
        DraftedGpt model = DraftedGpt.Create(seed: 9);
        using CausalSession session = model.CreateSession(new SessionOptions { Threads = 2 }), plain = model.CreateSession();
        using CausalSession small = kind == "another" ? DraftedDecoder.Create(seed: 4).CreateSession() : model.CreateSession();
        DraftSource drafts = kind switch { "lookup" => new PromptLookup(), "nonsense" => new Nonsense(), _ => new ModelDraft(small) };
        var options = new SamplingOptions { Temperature = temperature, Seed = 5, TopK = temperature > 1 ? 7 : 0 };
        var expected = new TokenGenerator(plain, new Sampler(options, 41));
        var generator = new SpeculativeGenerator(session, new Sampler(options, 41), drafts);
        foreach (int[] prompt in new[] { Ids(41, 9), [7], Ids(41, 100) })
        {
            expected.Start(prompt);
            generator.Start(prompt);
            for (int i = 0; i < 150; i++)
            {
                Assert.Equal(expected.Next(), generator.Next());
            }
        }

        Assert.InRange(generator.Accepted, 0, generator.Drafted);
        switch (kind)
        {
            case "itself" when temperature == 0:
                // All but what the end of a context cuts off, and near ties.
                Assert.InRange(generator.Accepted, generator.Drafted * 9 / 10, generator.Drafted);
                Assert.InRange(generator.Passes, 1, 450 / 4);
                break;
            case "nonsense":
                Assert.InRange(generator.Accepted, 0, generator.Drafted / 4);
                break;
            case "lookup" when temperature == 0:
                // Greedy texts of small models repeat themselves.
                Assert.InRange(generator.Accepted, generator.Drafted / 2, generator.Drafted);
                break;
        }

        Assert.Equal(0, Allocated.Least(() => generator.Next()));
    }

    [Fact]
    public void Lookup_finds_the_latest_of_the_longest()
    {
        var lookup = new PromptLookup();
        int[] drafts = new int[3];
        Assert.Equal(3, lookup.Propose([1, 2, 3, 9, 8, 2, 3, 7, 6, 5, 1, 2, 3], drafts));
        Assert.Equal([9, 8, 2], drafts);
        Assert.Equal(3, lookup.Propose([2, 3, 9, 4, 2, 3, 7, 6, 5, 2, 3], drafts));
        Assert.Equal([7, 6, 5], drafts);
        Assert.Equal(1, lookup.Propose([4, 4], drafts));
        Assert.Equal(4, drafts[0]);
        Assert.Equal(0, lookup.Propose([1, 2, 3], drafts));
        Assert.Equal(0, lookup.Propose([1], drafts));
        Assert.Equal(0, new PromptLookup(3, 2).Propose([3, 1, 2, 3], drafts));
        Assert.Throws<ArgumentOutOfRangeException>(() => new PromptLookup(0));
        Assert.Throws<ArgumentOutOfRangeException>(() => new PromptLookup(2, 3));
    }

    [Fact]
    public void Models_that_cannot_be_checked_are_refused()
    {
        using CausalSession lstm = LstmLm.Create(seed: 1).CreateSession(), plain = TiedGpt.Create(seed: 1).CreateSession(), drafted = DraftedGpt.Create(seed: 1).CreateSession();
        Assert.Throws<ArgumentException>(() => new ModelDraft(lstm));
        Assert.Throws<ArgumentException>(() => new SpeculativeGenerator(lstm, new Sampler(new SamplingOptions(), lstm.VocabularySize), new PromptLookup()));
        Assert.Throws<ArgumentException>(() => new SpeculativeGenerator(plain, new Sampler(new SamplingOptions(), plain.VocabularySize), new PromptLookup()));
        Assert.Throws<ArgumentException>(() => new SpeculativeGenerator(drafted, new Sampler(new SamplingOptions(), 40), new PromptLookup()));
        var generator = new SpeculativeGenerator(drafted, new Sampler(new SamplingOptions(), 41), new PromptLookup());
        Assert.Throws<InvalidOperationException>(() => generator.Next());
        Assert.Throws<ArgumentException>(() => generator.Start([]));
    }

    private static int[] Ids(int vocabulary, int count) => [.. Enumerable.Range(0, count).Select(i => ((i * i) + (i / 3)) % vocabulary)];

    /// <summary>Guesses what is hardly ever right, and tokens that there are not.</summary>
    private sealed class Nonsense : DraftSource
    {
        public override int Propose(ReadOnlySpan<int> text, Span<int> drafts)
        {
            for (int i = 0; i < drafts.Length; i++)
            {
                drafts[i] = (text[^1] + (11 * text.Length) + i) % 47;
            }

            return text.Length % (drafts.Length + 1);
        }
    }
}

/// <summary>A model, and below others of its name.</summary>
public static partial class States
{
    [Gpt(Layers = 1, DModel = 8, Heads = 2, Vocab = 11, Context = 16, Positions = PositionEncoding.Alibi)]
    public partial class Twin;
}

public static partial class OtherHeads
{
    [Gpt(Layers = 1, DModel = 8, Heads = 4, Vocab = 11, Context = 16, Positions = PositionEncoding.Alibi)]
    public partial class Twin;
}

public static partial class OtherPositions
{
    [Gpt(Layers = 1, DModel = 8, Heads = 2, Vocab = 11, Context = 16, Positions = PositionEncoding.None)]
    public partial class Twin;
}

public static partial class Longer
{
    [Gpt(Layers = 1, DModel = 8, Heads = 2, Vocab = 11, Context = 24, Positions = PositionEncoding.Alibi)]
    public partial class Twin;
}
