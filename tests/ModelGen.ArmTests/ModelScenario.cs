using ModelGen.Compiler;
using ModelGen.Compiler.Autodiff;
using ModelGen.Compiler.Emit.CSharp;
using ModelGen.Compiler.Families;
using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Kernels;
using ModelGen.Compiler.Ops;
using ModelGen.Compiler.Passes;
using ModelGen.Compiler.Targets.Cpu;
using ModelGen.Leaf;
using ModelGen.Tests.Compiler;

namespace ModelGen.ArmTests;

/// <summary>Numbers that a run leaves in an image, and what they are in double precision.</summary>
internal sealed record Readout(string Name, long Offset, double[] Expected);

/// <summary>A declared model, and what is done with it: two micro-batches of training, an evaluation, and a prompt continued token by token.</summary>
internal sealed class ModelScenario
{
    private const ulong Seed = 0x9E37_79B9_7F4A_7C15;
    private const float GradientScale = 0.5f;

    // The prompt comes in two runs, so that the second finds a cache; then single tokens follow.
    private static readonly int[] Prefills = [9, 5];
    private const int Decodes = 3;

    private readonly CompiledPlans _plans;
    private readonly ModelSpec _spec;
    private readonly int _vocabulary;
    private readonly bool _accumulates;
    private readonly Dictionary<string, Tensor> _parameters = [];

    /// <param name="name">A name for test output.</param>
    /// <param name="family">The family.</param>
    /// <param name="batch">Sequences of a micro-batch.</param>
    /// <param name="sequence">Tokens of a sequence.</param>
    /// <param name="vocabulary">The number of token ids.</param>
    /// <param name="accumulates">Whether the second micro-batch's gradients are added to the first's, or take their place.</param>
    /// <param name="arguments">The declaration's other arguments.</param>
    public ModelScenario(string name, string family, int batch, int sequence, int vocabulary, bool accumulates, params DeclaredArgument[] arguments)
    {
        Name = name;
        _vocabulary = vocabulary;
        _accumulates = accumulates;
        _spec = new ModelSpec(
            new TypeIdentity("Arm", [], name, "public", "Arm." + name), family, [.. arguments, DeclaredArgument.Of("Vocab", vocabulary)], new TrainingSpec(batch, sequence), null);
        _plans = ModelCompiler.Plan(_spec, CacheSizes.Default, default);
        Files = ModelEmitter.Emit(_plans, default);

        var random = new Random(1);
        foreach ((Parameter parameter, _) in _plans.Layout.Parameters)
        {
            // Scales of normalizations lie around one; everything else is small enough for nothing to saturate.
            double centre = parameter.Shape.Rank == 1 && parameter.ParameterName.EndsWith(".weight", StringComparison.Ordinal) ? 1 : 0;
            int[] dims = [.. parameter.Shape.Dims.Select(dim => dim.Maximum)];
            _parameters.Add(parameter.ParameterName, Tensor.Filled(dims, _ => centre + (0.6 * (random.NextDouble() - 0.5))).InSinglePrecision());
        }
    }

    public string Name { get; }

    /// <summary>What the generator emits.</summary>
    public IReadOnlyList<EmittedFile> Files { get; }

    /// <summary>Puts the model's memory and runs into the image.</summary>
    /// <returns>What to compare afterwards.</returns>
    public IReadOnlyList<Readout> AddTo(MemoryImage image, LeafAssembly assembly)
    {
        long weights = image.Reserve(_plans.Layout.WeightElements);
        foreach ((Parameter parameter, long offset) in _plans.Layout.Parameters)
        {
            image.Write<float>(weights + (offset * sizeof(float)), _parameters[parameter.ParameterName].ToSingle());
        }

        long scratch = image.Reserve((_plans.ScratchBytes + sizeof(float) - 1) / sizeof(float));
        var readouts = new List<Readout>();
        AddTraining(image, assembly, weights, scratch, readouts);
        AddInference(image, assembly, weights, scratch, readouts);
        return readouts;
    }

    private void AddTraining(MemoryImage image, LeafAssembly assembly, long weights, long scratch, List<Readout> readouts)
    {
        TrainingSpec training = _spec.Training!;
        CompiledPlan step = _plans.Training.Single(plan => plan.Name == "Step");
        CompiledPlan evaluate = _plans.Training.Single(plan => plan.Name == "Evaluate");
        ModelGraph bound = ExpandComposites.BeforeDifferentiation(
            BindExtents.Run(FamilyRegistry.Get(_spec.Family).Build(_spec, BuildMode.Training).WithOutputs("loss", "losses"), training.BatchSize, training.SequenceLength));
        ModelGraph differentiated = ReverseMode.Differentiate(ScanMotion.SaveForBackward(bound), "loss");

        long arena = image.Reserve(_plans.TrainingArenaBytes / sizeof(float));
        long gradients = image.Reserve(_plans.Layout.WeightElements, zero: true);
        long state = image.Reserve(_plans.TrainingStateBytes / sizeof(float), zero: true);
        var random = new Random(2);
        var sums = new Dictionary<string, double[]>();
        Dictionary<string, Tensor> carried = [];
        for (int micro = 0; micro < 2; micro++)
        {
            (int[] tokens, int[] targets) = Batch(random, training);
            RunArguments run = Arguments(training, tokens, targets, carried) with { Seed = Seed + (ulong)micro };
            RunResults expected = ReferenceInterpreter.Run(differentiated, run);
            carried = expected.State;
            Run(step, tokens, targets, run, arena, state, accumulate: micro > 0 && _accumulates);
            readouts.Add(new Readout($"loss of step {micro}", image.Keep(arena + (step.OutputOffset("loss") * sizeof(float)), 1), expected.Outputs["loss"].Data));

            long kept = image.Keep(gradients, _plans.Layout.WeightElements);
            foreach ((Parameter parameter, long offset) in _plans.Layout.Parameters)
            {
                if (!expected.Gradients.TryGetValue(parameter.ParameterName, out Tensor? found))
                {
                    // A table, of angles for instance, is not trained.
                    continue;
                }

                double[] gradient = found.Data;
                if (_accumulates && sums.TryGetValue(parameter.ParameterName, out double[]? sum))
                {
                    gradient = [.. gradient.Zip(sum, (a, b) => a + b)];
                }

                sums[parameter.ParameterName] = gradient;
                readouts.Add(new Readout($"gradient of {parameter.ParameterName} after step {micro}", kept + (offset * sizeof(float)), gradient));
            }
        }

        (int[] inputs, int[] classes) = Batch(random, training);
        RunArguments evaluation = Arguments(training, inputs, classes, []);
        Run(evaluate, inputs, classes, evaluation, arena, image.Reserve(_plans.TrainingStateBytes / sizeof(float), zero: true), accumulate: false);
        readouts.Add(new Readout(
            "losses of the evaluation",
            image.Keep(arena + (evaluate.OutputOffset("losses") * sizeof(float)), training.BatchSize * training.SequenceLength),
            ReferenceInterpreter.Run(RemoveDropout.Run(bound), evaluation).Outputs["losses"].Data));

        void Run(CompiledPlan plan, int[] tokens, int[] targets, RunArguments run, long arena, long state, bool accumulate)
        {
            image.Copy(image.Place<int>(tokens), arena + (plan.InputOffset("tokens") * sizeof(float)), tokens.Length);
            image.Copy(image.Place<int>(targets), arena + (plan.InputOffset("targets") * sizeof(float)), targets.Length);
            image.Add(new Command
            {
                Kind = CommandKind.Plan,
                Which = assembly.Plan(Name, plan.Name),
                Weights = weights,
                Gradients = gradients,
                Arena = arena,
                State = state,
                Scratch = scratch,
                ScratchBytes = _plans.ScratchBytes,
                Count = training.BatchSize,
                Seed = run.Seed,
                LossNormalizer = (float)run.LossNormalizer,
                GradientScale = GradientScale,
                Accumulate = accumulate ? 1 : 0,
            });
        }
    }

    private void AddInference(MemoryImage image, LeafAssembly assembly, long weights, long scratch, List<Readout> readouts)
    {
        int length = Prefills.Sum() + Decodes;
        ModelGraph forward = FamilyRegistry.Get(_spec.Family).Build(_spec, BuildMode.Inference);
        var random = new Random(3);
        int[] tokens = [.. Enumerable.Range(0, length).Select(_ => random.Next(_vocabulary))];
        var run = new RunArguments { Parameters = _parameters, Inputs = { ["tokens"] = Integers([1, length], tokens) }, Time = length };

        // All positions at once, without a cache.
        Tensor logits = ReferenceInterpreter.Run(BindExtents.Run(forward, 1, length), run).Outputs["logits"];

        long arena = image.Reserve(_plans.InferenceArenaBytes / sizeof(float));
        long state = image.Reserve(_plans.InferenceStateBytes / sizeof(float), zero: true);
        int position = 0;
        foreach ((string name, int count) in Prefills.Select(count => ("Prefill", count)).Concat(Enumerable.Repeat(("Decode", 1), Decodes)))
        {
            CompiledPlan plan = _plans.Inference.Single(plan => plan.Name == name);
            image.Copy(image.Place<int>(tokens.AsSpan(position, count)), arena + (plan.InputOffset("tokens") * sizeof(float)), count);
            image.Add(new Command
            {
                Kind = CommandKind.Plan,
                Which = assembly.Plan(Name, name),
                Weights = weights,
                Arena = arena,
                State = state,
                Scratch = scratch,
                ScratchBytes = _plans.ScratchBytes,
                Count = count,
                Position = position,
            });
            position += count;
            double[] expected = logits.Data[((position - 1) * _vocabulary)..(position * _vocabulary)];
            readouts.Add(new Readout($"logits of {name} up to token {position}", image.Keep(arena + (plan.OutputOffset("logits") * sizeof(float)), _vocabulary), expected));
        }
    }

    private (int[] Tokens, int[] Targets) Batch(Random random, TrainingSpec training)
    {
        int length = training.BatchSize * training.SequenceLength;
        int[] tokens = [.. Enumerable.Range(0, length).Select(_ => random.Next(_vocabulary))];

        // Some targets are ignored.
        int[] targets = [.. Enumerable.Range(0, length).Select(i => i % 7 == 3 ? -1 : random.Next(_vocabulary))];
        return (tokens, targets);
    }

    private RunArguments Arguments(TrainingSpec training, int[] tokens, int[] targets, Dictionary<string, Tensor> state) => new()
    {
        Parameters = _parameters,
        Inputs = { ["tokens"] = Integers([training.BatchSize, training.SequenceLength], tokens), ["targets"] = Integers([training.BatchSize, training.SequenceLength], targets) },
        State = state,
        Batch = training.BatchSize,
        Time = training.SequenceLength,
        Seed = Seed,
        LossNormalizer = 1f / targets.Count(target => target >= 0),
        GradientScale = GradientScale,
    };

    private static Tensor Integers(int[] dims, int[] values) => new(dims, [.. values.Select(value => (double)value)]);
}
