using ModelGen.Runtime;

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

    private BigramTrainer(ModelWeights weights, TrainerLayout layout, Optimizer optimizer, TrainerOptions? options)
        : base(weights, layout, optimizer, options)
    {
        Weights = weights;
        _vocabulary = layout.VocabularySize;
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
        var layout = new TrainerLayout
        {
            ModelName = name,
            ArenaBytes = (2 * count + 16) * sizeof(float),
            StateBytes = carriesState ? 64 : 0,
            ScratchBytes = vocabulary * sizeof(float),
            BatchSize = batchSize,
            SequenceLength = sequenceLength,
            InputSize = 1,
            TargetSize = 1,
            VocabularySize = vocabulary,
            TargetClasses = vocabulary,
            InputOffset = 0,
            TargetOffset = count,
            LossOffset = 2 * count,
        };
        var optimizer = new AdamW { LearningRate = learningRate, Schedule = new WarmupCosine(3, 60), GradientClip = 1 };
        return new BigramTrainer(ModelWeights.Create(table, 7), layout, optimizer, new TrainerOptions { Threads = 1, AccumulationSteps = accumulation });
    }

    protected override void ExecuteStep(in PlanContext context, Worker worker)
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

    protected override void ExecuteEvaluate(in PlanContext context, Worker worker)
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
            loss += MathF.Log(sum) + maximum - logits[targets[i]];
            if (!train)
                continue;
            float scale = context.LossNormalizer * context.GradientScale;
            float* gradient = context.Gradients + row * _vocabulary;
            for (int v = 0; v < _vocabulary; v++)
                gradient[v] += scale * (probabilities[v] / sum - (v == targets[i] ? 1 : 0));
        }
        context.Arena[2 * _count] = loss * context.LossNormalizer;
        if (_carriesState)
            context.State[0]++;
    }
}
