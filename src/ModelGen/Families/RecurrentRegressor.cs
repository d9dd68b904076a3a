using System;
using System.Linq;
using ModelGen.Compiler.Declarations;
using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Ops;
using ModelGen.Compiler.Programs;

namespace ModelGen.Compiler.Families;

internal sealed class RecurrentRegressor : IFamily
{
    public string Name => "RecurrentRegressor";

    public string AttributeMetadataName => "ModelGen.RecurrentRegressorAttribute";

    public bool HasSequence => true;

    public void Validate(ModelSpec spec, Action<SpecProblem> report)
    {
        RecurrentRegressorOptions options = RecurrentRegressorOptions.Of(spec);
        var checks = new ArgumentChecks(spec, report);
        bool holds = checks.OptionalSize("Layers") && checks.AtMost("Layers", "Layers", options.Layers, SizeLimits.Layers);
        holds &= checks.RequireSize("Hidden");
        holds &= checks.RequireSize("Inputs");
        holds &= checks.OptionalSize("Outputs");
        checks.OptionalProbability("Dropout");
        if (holds)
        {
            double hidden = options.Hidden;
            double gates = options.Cell.Gates() * hidden;
            double widest = Math.Max(Math.Max(options.Inputs, options.Outputs), gates);
            double largest = Math.Max(gates * Math.Max(options.Inputs, hidden), hidden * options.Outputs);
            checks.ModelSize(spec, largest, inferred: CommonPrograms.LargestChunk * widest, widest);
        }
    }

    public ModelProgram Describe(ModelSpec spec)
    {
        RecurrentRegressorOptions options = RecurrentRegressorOptions.Of(spec);
        (Dim batch, Dim time) = (Dim.Batch(spec.Training?.BatchSize ?? 1), Dim.Time(Math.Max(1, spec.Training?.SequenceLength ?? 1)));
        var inputs = new Input("inputs", TensorType.Float(Shape.Of(batch, time, options.Inputs)), 0);
        var targets = new Input("targets", TensorType.Float(Shape.Of(batch, time, options.Outputs)), 0);
        Func<ModelGraph> forward = CommonPrograms.Once(() => Build(options, inputs, null));
        EntryPoint[] inference =
        [
            new("Next", EntryKind.Infer, [inputs], ["outputs"], forward) { Continues = true },
            new("Predict", EntryKind.Infer, [inputs], ["outputs"], forward) { Time = Dim.Time(CommonPrograms.LargestChunk), Continues = true, EveryStep = true },
        ];
        return CommonPrograms.WithTraining(ProgramAdapter.None, spec, [inputs, targets], inference, () => Build(options, inputs, targets)) with { Files = Files(options) };
    }

    private static FileConventions Files(RecurrentRegressorOptions options) => new(
    [
        FileOption.Of("Cell", options.Cell),
        FileOption.Of("Layers", options.Layers),
        FileOption.Of("Hidden", options.Hidden),
        FileOption.Of("Inputs", options.Inputs),
        FileOption.Of("Outputs", options.Outputs),
        FileOption.Of("Dropout", options.Dropout) with { TrainingOnly = true },
    ]);

    /// <summary>
    /// hₜ = g(hₜ₋₁, xₜ), layer upon layer, and yₜ = W hₜ + b. A session carries the state from call to call; a training step begins its windows with zeros,
    /// or with the state that the step before ended in.
    /// </summary>
    private static ModelGraph Build(RecurrentRegressorOptions options, Input features, Input? wanted)
    {
        BuildMode mode = wanted is null ? BuildMode.Inference : BuildMode.Training;
        bool carries = wanted is null || options.CarryState;
        Initializer uniform = Initializer.Uniform(1 / Math.Sqrt(options.Hidden));

        var b = new GraphBuilder();
        Value x = b.Add(new Permute([1, 0, 2]), "inputs.time_major", b.Add(features, features.InputName));
        Shape state = Shape.Of(x.Shape[1], options.Hidden);
        for (int layer = 0; layer < options.Layers; layer++)
        {
            string suffix = RecurrentCells.Suffix(layer);
            string[] states = [.. options.Cell.States().Select(name => $"rnn.{name}{suffix}")];
            Value[] initial = [.. states.Select(name => b.Add(carries ? new StateRead(name, state) : new Constant(0, state), name))];
            RecurrentLayer result = b.Recurrent("rnn", suffix, options.Cell, x, initial, uniform);
            for (int i = 0; carries && i < states.Length; i++)
            {
                b.UpdateState(states[i], result.Final[i]);
            }

            x = layer < options.Layers - 1 ? b.Dropout($"dropout{suffix}", result.Outputs, options.Dropout, mode) : result.Outputs;
        }

        Value outputs = b.Linear("head", x, options.Outputs, bias: true, uniform, uniform);
        b.Output("outputs", outputs);
        if (wanted is not null)
        {
            // Rows of losses are those of the examples one after the other.
            Value predicted = b.Add(new Permute([1, 0, 2]), "outputs.batch_major", outputs);
            b.Loss(b.Add(new SquaredError(), "loss.rows", predicted, b.Add(wanted, wanted.InputName)));
        }

        return b.Build();
    }
}

/// <summary>A declaration's options, with the defaults in the place of what was not given.</summary>
internal sealed record RecurrentRegressorOptions(Cell Cell, int Layers, int Hidden, int Inputs, int Outputs, double Dropout, bool CarryState)
{
    public static RecurrentRegressorOptions Of(ModelSpec spec) => new(
        spec.Choice("Cell", Cell.Lstm),
        spec.Int("Layers", 1),
        spec.Int("Hidden", 0),
        spec.Int("Inputs", 0),
        spec.Int("Outputs", 1),
        spec.Real("Dropout", 0),
        spec.Flag("CarryState", false));
}
