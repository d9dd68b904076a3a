using ModelGen.Benchmarks.Measuring;
using ModelGen.Runtime;

namespace ModelGen.Benchmarks.Rows;

/// <summary>Prompts and single tokens.</summary>
internal static unsafe class InferenceRows
{
    private const int DecodedTokens = 64;
    private const int PromptTokens = 256;
    private const int GeneratedTokens = 256;

    public static IEnumerable<Measurement> Decode(MeasureSettings settings)
    {
        MeasureSettings own = settings.Default(repeats: 5, seconds: 0.1);
        Gpt2 model = Gpt2.Create(1);
        foreach (int threads in settings.ThreadCounts(1, 2))
        {
            using CausalSession session = model.CreateSession(new SessionOptions { Threads = threads });

            // All weights but the table of positions, of which one row is read, and the keys and values of half the tokens on the average.
            double weightBytes = Gpt2.WeightBytes - (4.0 * 768 * Gpt2.ContextLength);
            yield return new Measurement
            {
                Row = "decode-gpt2",
                Threads = threads,
                Tokens = 1,
                Flops = Gpt2.FlopsPerToken,
                Bytes = weightBytes + (Gpt2.KvBytesPerToken * DecodedTokens / 2.0),
                Seconds = PerToken(DecodedTokens, Stopclock.Run(own, count =>
                {
                    for (int i = 0; i < count; i++)
                    {
                        session.Reset();
                        for (int token = 0; token < DecodedTokens; token++)
                        {
                            session.Decode(token);
                        }
                    }
                })),
            };
        }
    }

    public static IEnumerable<Measurement> Prefill(MeasureSettings settings)
    {
        MeasureSettings own = settings.Default(repeats: 7, seconds: 0.2);
        Gpt2 model = Gpt2.Create(1);
        var prompt = new int[PromptTokens];
        for (int i = 0; i < prompt.Length; i++)
        {
            prompt[i] = i * 191 % Gpt2.VocabularySize;
        }

        // Products over all tokens, half a square of attention (two products), and logits for the last token alone.
        const double layers = 12, width = 768;
        double flops = (2 * layers * 12 * width * width * PromptTokens) + (layers * 2 * PromptTokens * (PromptTokens + 1.0) * width) + (2 * width * Gpt2.VocabularySize);
        foreach (int threads in settings.ThreadCounts(1, 2))
        {
            using CausalSession session = model.CreateSession(new SessionOptions { Threads = threads });
            yield return new Measurement
            {
                Row = "prefill-gpt2",
                Threads = threads,
                Tokens = PromptTokens,
                Flops = flops,
                Seconds = Stopclock.Run(own, count =>
                {
                    for (int i = 0; i < count; i++)
                    {
                        session.Reset();
                        session.Prefill(prompt);
                    }
                }),
            };
        }
    }

    public static IEnumerable<Measurement> Decode260K(MeasureSettings settings)
    {
        MeasureSettings own = settings.Default(repeats: 9, seconds: 0.1);
        Gpt260K model = Gpt260K.Create(1);
        foreach (int threads in settings.ThreadCounts(1))
        {
            using CausalSession session = model.CreateSession(new SessionOptions { Threads = threads });
            var generator = new TokenGenerator(session, new Sampler(new SamplingOptions { Temperature = 0 }, session.VocabularySize));
            int[] prompt = [1];
            yield return new Measurement
            {
                Row = "decode-260k",
                Threads = threads,
                Tokens = 1,
                Flops = Gpt260K.FlopsPerToken,
                Seconds = PerToken(GeneratedTokens, Stopclock.Run(own, count =>
                {
                    for (int i = 0; i < count; i++)
                    {
                        session.Reset();
                        generator.Start(prompt);
                        for (int token = 0; token < GeneratedTokens; token++)
                        {
                            generator.Next();
                        }
                    }
                })),
            };
        }
    }

    /// <summary>
    /// The whole decode plan of a model that is little more than the cell: the row of an embedding, the cell's two products and its
    /// activations, the carried state, and a head of two outputs. What a peer counts as a cell's step is less.
    /// </summary>
    public static IEnumerable<Measurement> LstmCell(MeasureSettings settings)
    {
        MeasureSettings own = settings.Default(repeats: 9, seconds: 0.1);
        foreach (int threads in settings.ThreadCounts(1))
        {
            using var team8 = new WorkerTeam(threads, LstmCell8.WorkerScratchBytes);
            using var memory8 = new CellMemory(LstmCell8.WeightBytes, LstmCell8.InferenceArenaBytes, LstmCell8.SessionStateBytes);
            yield return new Measurement
            {
                Row = "lstm-cell",
                Case = "hidden 8",
                Threads = threads,
                Flops = 2.0 * 4 * 8 * 16,
                Seconds = Stopclock.Run(own, team8, worker => Generated.ModelGen_Benchmarks_LstmCell8_Code.DecodePlan.Run(in memory8.Context, worker)),
            };

            using var team64 = new WorkerTeam(threads, LstmCell64.WorkerScratchBytes);
            using var memory64 = new CellMemory(LstmCell64.WeightBytes, LstmCell64.InferenceArenaBytes, LstmCell64.SessionStateBytes);
            yield return new Measurement
            {
                Row = "lstm-cell",
                Case = "hidden 64",
                Threads = threads,
                Flops = 2.0 * 4 * 64 * 128,
                Seconds = Stopclock.Run(own, team64, worker => Generated.ModelGen_Benchmarks_LstmCell64_Code.DecodePlan.Run(in memory64.Context, worker)),
            };
        }
    }

    /// <summary>A step as a user calls it, by a session: checks, copies and all.</summary>
    public static IEnumerable<Measurement> SeriesStep(MeasureSettings settings)
    {
        MeasureSettings own = settings.Default(repeats: 9, seconds: 0.1);
        foreach (int threads in settings.ThreadCounts(1))
        {
            using Series8.Session lstm = Series8.Create(1).CreateSession(new SessionOptions { Threads = threads });
            using GruSeries8.Session gru = GruSeries8.Create(1).CreateSession(new SessionOptions { Threads = threads });
            float x = 0.1f;
            yield return new Measurement
            {
                Row = "series-step",
                Case = "lstm",
                Threads = threads,
                Flops = 2.0 * ((4 * 8 * 9) + 8),
                Seconds = Stopclock.Run(own, count =>
                {
                    for (int i = 0; i < count; i++)
                    {
                        x = lstm.Next(new ReadOnlySpan<float>(in x))[0];
                    }
                }),
            };
            yield return new Measurement
            {
                Row = "series-step",
                Case = "gru",
                Threads = threads,
                Flops = 2.0 * ((3 * 8 * 9) + 8),
                Seconds = Stopclock.Run(own, count =>
                {
                    for (int i = 0; i < count; i++)
                    {
                        x = gru.Next(new ReadOnlySpan<float>(in x))[0];
                    }
                }),
            };
        }
    }

    private static double[] PerToken(int tokens, double[] seconds) => [.. seconds.Select(s => s / tokens)];

    private sealed class CellMemory : IDisposable
    {
        public PlanContext Context;
        private readonly FloatBlock _weights;
        private readonly FloatBlock _arena;
        private readonly FloatBlock _state;

        public CellMemory(long weightBytes, long arenaBytes, long stateBytes)
        {
            _weights = new FloatBlock(weightBytes / sizeof(float));
            _arena = new FloatBlock(arenaBytes / sizeof(float));
            _state = new FloatBlock(stateBytes / sizeof(float));

            // The one token id of the plan, wherever in the arena it lies.
            new Span<float>(_arena.Pointer, (int)_arena.Length).Clear();
            Context = new PlanContext { Weights = _weights.Pointer, Arena = _arena.Pointer, State = _state.Pointer, Count = 1 };
        }

        public void Dispose()
        {
            _weights.Dispose();
            _arena.Dispose();
            _state.Dispose();
        }
    }
}
