using ModelGen.Runtime;
using ModelGen.Tests.Runtime;

namespace ModelGen.Tests.Training;

/// <summary>
/// A model small enough to write by hand, with the base classes that emitted trainers use: logits of the next token are a row of a
/// table. It also carries a state from step to step, as a recurrence does: a counter that shifts every input, so that training
/// depends on when the state is reset.
/// </summary>
internal sealed unsafe class BigramTrainer : TokenTrainer
{
    private const int StateShift = 3;
    private readonly int _vocabulary;
    private readonly int _count;
    private readonly bool _carriesState;

    private BigramTrainer(ModelWeights weights, ProgramLayout layout, Optimizer optimizer, TrainerOptions? options)
        : base(weights, layout, optimizer, options)
    {
        Weights = weights;
        _vocabulary = layout.Entries[0].Inputs[0].Classes;
        _count = layout.BatchSize * layout.SequenceLength;
        _carriesState = layout.StateBytes > 0;
    }

    public ModelWeights Weights { get; }

    /// <summary>How often the carried state was found fresh at the start of a step.</summary>
    public int FreshSteps { get; private set; }

    public Action? BeforeEvaluation { get; set; }

    public Action? BeforeStep { get; set; }

    public static BigramTrainer Create(
        int batchSize, int sequenceLength, int vocabulary = 17, int accumulation = 1, float learningRate = 0.1f, bool carriesState = true, string name = "Bigram")
    {
        int count = batchSize * sequenceLength;
        var table = new ParameterTable(name, new ParameterInfo("table", [vocabulary, vocabulary], 0, false, ParameterInitializerKind.Normal, 0.1f, true));
        ProgramLayout layout = FakeLayouts.Trainer(
            name, (3 * count) + 16, carriesState ? 16 : 0, batchSize, sequenceLength, 1, 1, vocabulary, vocabulary,
            step: (0, count, 2 * count), evaluate: (0, count, 2 * count), scratchBytes: vocabulary * sizeof(float));
        var optimizer = new AdamW { LearningRate = learningRate, Schedule = new WarmupCosine(3, 60), GradientClip = 1 };
        return new BigramTrainer(ModelWeights.Create(table, 7), layout, optimizer, new TrainerOptions { Threads = 1, AccumulationSteps = accumulation });
    }

    protected override void Execute(int entry, in PlanContext context, Worker worker)
    {
        if (entry == 0)
            Step(in context, worker);
        else
            Evaluate(in context, worker);
    }

    private void Step(in PlanContext context, Worker worker)
    {
        if (worker.Index != 0)
            return;
        BeforeStep?.Invoke();
        if (!context.Accumulate)
            new Span<float>(context.Gradients, _vocabulary * _vocabulary).Clear();
        if (!_carriesState || context.State[0] == 0)
            FreshSteps++;
        Run(context, (float*)worker.Scratch, train: true);
    }

    private void Evaluate(in PlanContext context, Worker worker)
    {
        if (worker.Index != 0)
            return;
        BeforeEvaluation?.Invoke();
        Run(context, (float*)worker.Scratch, train: false);
    }

    private void Run(in PlanContext context, float* probabilities, bool train)
    {
        int* inputs = (int*)context.Arena;
        int* targets = inputs + _count;
        int shift = _carriesState ? (int)context.State[0] % StateShift : 0;
        float loss = 0;
        for (int i = 0; i < _count; i++)
        {
            if (!train)
                context.Arena[(2 * _count) + i] = 0;
            if (targets[i] < 0)
                continue;
            int row = (inputs[i] + shift) % _vocabulary;
            float* logits = context.Weights + row * _vocabulary;
            float maximum = logits[0];
            for (int v = 1; v < _vocabulary; v++)
                maximum = MathF.Max(maximum, logits[v]);
            float sum = 0;
            for (int v = 0; v < _vocabulary; v++)
                sum += probabilities[v] = MathF.Exp(logits[v] - maximum);
            float own = MathF.Log(sum) + maximum - logits[targets[i]];
            loss += own;
            if (!train)
            {
                context.Arena[(2 * _count) + i] = own;
                continue;
            }
            float scale = context.LossNormalizer * context.GradientScale;
            float* gradient = context.Gradients + row * _vocabulary;
            for (int v = 0; v < _vocabulary; v++)
                gradient[v] += scale * (probabilities[v] / sum - (v == targets[i] ? 1 : 0));
        }
        if (train)
            context.Arena[2 * _count] = loss * context.LossNormalizer;
        if (_carriesState)
            context.State[0]++;
    }
}
