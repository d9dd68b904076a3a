using ModelGen.Runtime;

namespace ModelGen.Tests.Runtime;

/// <summary>Models with hand-written plans that stand in for emitted ones, to test the classes that emitted code derives from.</summary>
internal static class FakeModels
{
    public const int Vocabulary = 11;

    /// <summary>Parameters of ragged lengths, one longer than a chunk of the optimizer, one stored transposed.</summary>
    public static ParameterTable Table(int wide = 4321, string name = "Fake") => new(
        name,
        new ParameterInfo("block.0.weight", [7, 5], 0, TransposedInFile: true, ParameterInitializerKind.Normal, 0.5f, WeightDecay: true),
        new ParameterInfo("block.0.bias", [1], 48, TransposedInFile: false, ParameterInitializerKind.Zeros, 0, WeightDecay: false),
        new ParameterInfo("wide", [wide], 64, TransposedInFile: false, ParameterInitializerKind.Uniform, 0.25f, WeightDecay: true),
        new ParameterInfo("gain", [3, 11], (64 + wide + 15) / 16 * 16, TransposedInFile: false, ParameterInitializerKind.Ones, 0, WeightDecay: false));

    public static ProgramLayout Layout(int stateFloats = 5)
        => FakeLayouts.Trainer("Fake", 1024, stateFloats, 2, 3, 1, 1, Vocabulary, Vocabulary, step: (16, 32, 48), evaluate: (116, 132, 148));

    public static int[] Tokens(int count, int seed)
    {
        var random = new Random(seed);
        return [.. Enumerable.Range(0, count).Select(_ => random.Next(Vocabulary))];
    }
}

/// <summary>
/// A trainer whose gradient for weight i is a function of the weight, the micro-batch, the carried state and the dropout seed, so
/// that everything the base class hands to a plan shows in the weights.
/// </summary>
internal sealed unsafe class FakeTrainer : TokenTrainer
{
    private readonly ParameterTable _table;

    public FakeTrainer(ModelWeights weights, Optimizer optimizer, TrainerOptions? options = null, ProgramLayout? layout = null)
        : base(weights, layout ?? FakeModels.Layout(), optimizer, options)
    {
        _table = weights.Table;
    }

    public List<ulong> Seeds { get; } = [];

    public List<float> Normalizers { get; } = [];

    /// <summary>Called by the first worker in a step's second micro-batch.</summary>
    public Action? InUpdate { get; set; }

    public static double Mean(ReadOnlySpan<int> inputs, ReadOnlySpan<int> targets)
    {
        double sum = 0;
        for (int i = 0; i < inputs.Length; i++)
        {
            sum += targets[i] < 0 ? 0 : inputs[i] - (0.5 * targets[i]);
        }

        return sum;
    }

    protected override void Execute(int entry, in PlanContext context, Worker worker)
    {
        if (entry == 0)
        {
            Step(in context, worker);
        }
        else
        {
            Evaluate(in context, worker);
        }
    }

    private void Step(in PlanContext context, Worker worker)
    {
        if (worker.Index == 0)
        {
            Seeds.Add(context.Seed);
            Normalizers.Add(context.LossNormalizer);
            if (context.Accumulate)
            {
                InUpdate?.Invoke();
            }
        }

        float signal = Signal(in context, 0);
        float carried = context.State[0];
        worker.Range(_table.TotalLength, 16, out long start, out long end);
        for (long i = start; i < end; i++)
        {
            // Gaps stay as they are: zero.
            if (!IsParameter(i))
            {
                continue;
            }

            float gradient = ((context.Weights[i] * 0.1f) + (signal * MathF.Sin(i)) + carried) * context.GradientScale;
            context.Gradients[i] = context.Accumulate ? context.Gradients[i] + gradient : gradient;
        }

        worker.Barrier();
        if (worker.Index == 0)
        {
            context.Arena[48] = signal;
            context.State[0] = (carried * 0.5f) + (signal * 0.01f) + ((context.Seed % 1000) * 1e-6f);
        }
    }

    private static void Evaluate(in PlanContext context, Worker worker)
    {
        if (worker.Index == 0)
        {
            // The sum of the losses is the mean times what counts.
            new Span<float>(context.Arena + 148, 6).Clear();
            context.Arena[150] = (Signal(in context, 100) + context.State[0]) / context.LossNormalizer;
            context.State[0] += 1000;
        }
    }

    private static float Signal(in PlanContext context, int place)
        => (float)Mean(new ReadOnlySpan<int>(context.Arena + place + 16, context.Count), new ReadOnlySpan<int>(context.Arena + place + 32, context.Count)) * context.LossNormalizer;

    private bool IsParameter(long offset)
    {
        foreach (ParameterInfo parameter in _table.AsSpan())
        {
            if (offset >= parameter.Offset && offset < parameter.Offset + parameter.Length)
            {
                return true;
            }
        }

        return false;
    }
}

/// <summary>A trainer with real targets, whose loss is the sum of what it was given, normalized.</summary>
internal sealed unsafe class FakeRegressionTrainer(ModelWeights weights, TrainerOptions? options = null)
    : RegressionTrainer(weights, Layout, new Sgd(), options)
{
    private static ProgramLayout Layout => FakeLayouts.Trainer("Fake", 256, 0, 4, 1, 3, 2, 0, 0, step: (0, 16, 32), evaluate: (0, 16, 32));

    protected override void Execute(int entry, in PlanContext context, Worker worker)
    {
        if (worker.Index == 0)
        {
            float total = 0;
            for (int example = 0; example < 4; example++)
            {
                float sum = 0;
                for (int i = 0; i < 3; i++)
                {
                    sum += context.Arena[(3 * example) + i];
                }

                for (int i = 0; i < 2; i++)
                {
                    sum += context.Arena[16 + (2 * example) + i];
                }

                total += sum;
                context.Arena[32 + example] = sum;
            }

            if (entry == 0)
            {
                context.Arena[32] = total * context.LossNormalizer;
            }
        }
    }
}

/// <summary>A session that counts: logit j after tokens is the running sum of all of them, plus j.</summary>
internal sealed unsafe class FakeSession(ModelWeights weights, SessionOptions? options = null, int contextLength = 20)
    : CausalSession(weights, Layout(contextLength), options)
{
    public List<(int Position, int Count)> Runs { get; } = [];

    public bool Fail { get; set; }

    protected override void Execute(int entry, in PlanContext context, Worker worker)
    {
        if (entry == 0)
        {
            Execute(in context, worker, 16, 32);
        }
        else
        {
            Execute(in context, worker, 96, 64);
        }
    }

    private static ProgramLayout Layout(int contextLength)
        => FakeLayouts.Causal("Fake", 256, 16, FakeModels.Vocabulary, contextLength, chunk: 8, prefill: (16, 32), decode: (96, 64), scratchBytes: 128);

    private void Execute(in PlanContext context, Worker worker, int tokens, int logits)
    {
        if (Fail)
        {
            throw new FormatException("on purpose");
        }

        if (worker.Index == 0)
        {
            Runs.Add((context.Position, context.Count));
            foreach (int token in new ReadOnlySpan<int>(context.Arena + tokens, context.Count))
            {
                context.State[0] += token;
            }
        }

        worker.Barrier();
        worker.Range(FakeModels.Vocabulary, 1, out int start, out int end);
        for (int j = start; j < end; j++)
        {
            context.Arena[logits + j] = context.State[0] + j;
        }
    }
}

/// <summary>A session whose output is the sum of the inputs of a row, and their number.</summary>
internal sealed unsafe class FakeFeedForwardSession(ModelWeights weights) : FeedForwardSession(weights, Layout, new SessionOptions { Threads = 2 })
{
    public List<int> Runs { get; } = [];

    private static ProgramLayout Layout => FakeLayouts.FeedForward("Fake", 64, inputSize: 3, outputSize: 2, batch: 4, inputs: 16, outputs: 32);

    protected override void Execute(int entry, in PlanContext context, Worker worker)
    {
        if (worker.Index == 0)
        {
            Runs.Add(context.Count);
        }

        worker.Range(context.Count, 1, out int start, out int end);
        for (int row = start; row < end; row++)
        {
            float* inputs = context.Arena + 16 + (row * 3);
            context.Arena[32 + (row * 2)] = inputs[0] + inputs[1] + inputs[2];
            context.Arena[32 + (row * 2) + 1] = 3;
        }
    }
}
