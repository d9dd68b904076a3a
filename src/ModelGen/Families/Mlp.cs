using System;
using System.Collections.Generic;
using System.Linq;
using ModelGen.Compiler.Declarations;
using ModelGen.Compiler.Diagnostics;
using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Ops;
using ModelGen.Compiler.Programs;

namespace ModelGen.Compiler.Families;

internal sealed class Mlp : IFamily
{
    public string Name => "Mlp";

    public string AttributeMetadataName => "ModelGen.MlpAttribute";

    public bool HasSequence => false;

    public void Validate(ModelSpec spec, Action<SpecProblem> report)
    {
        MlpOptions options = MlpOptions.Of(spec);
        var checks = new ArgumentChecks(spec, report);
        EquatableArray<int> sizes = options.Sizes;
        if (sizes.Count < 2)
        {
            report(new SpecProblem(DiagnosticIds.TooFewSizes, sizes.Count == 0 ? null : "Sizes", [$"{sizes.Count}"]));
            return;
        }

        bool sizesHold = checks.AtMost(null, "The number of layers", sizes.Count - 1, SizeLimits.Layers);
        double largest = 0;
        double widest = 0;
        for (int i = 0; i < sizes.Count; i++)
        {
            widest = Math.Max(widest, sizes[i]);
            largest = Math.Max(largest, i == 0 ? 0 : (double)sizes[i - 1] * sizes[i]);
            if (sizes[i] < 1)
            {
                report(new SpecProblem(DiagnosticIds.SizeTooSmall, "Sizes", [$"sizes[{i}]", "1", $"{sizes[i]}"]) { Element = i });
                sizesHold = false;
            }
        }

        if (sizesHold)
        {
            checks.ModelSize(spec, largest, inferred: widest, widest);
        }

        if (spec.Has("Activations"))
        {
            if (spec.Has("Activation"))
            {
                report(new SpecProblem(DiagnosticIds.UnsupportedCombination, "Activation", ["Activation", "Activations", "that gives each hidden layer its own"]));
            }

            int given = spec.Ints("Activations").Count;
            if (given != sizes.Count - 2)
            {
                report(new SpecProblem(DiagnosticIds.OutOfRange, "Activations", ["Activations", $"a list of {sizes.Count - 2}, one for each hidden layer", $"a list of {given}"]));
            }
        }

        // Without training the loss is not used, so its default obliges to nothing.
        Loss loss = options.Loss;
        if (spec.Training is null && !spec.Has("Loss"))
        {
            return;
        }

        int last = sizes.Count - 1;
        if (loss == Loss.CrossEntropy && sizes[last] == 1)
        {
            report(new SpecProblem(DiagnosticIds.OutputDoesNotFitLoss, "Sizes", [$"{loss}", "at least 2 classes", "1"]) { Element = last });
        }

        Activation output = options.OutputActivation;
        if (loss is Loss.CrossEntropy or Loss.BinaryCrossEntropy && output != Activation.Identity)
        {
            report(new SpecProblem(
                DiagnosticIds.UnsupportedCombination,
                "OutputActivation",
                [$"OutputActivation = {output}", $"Loss.{loss}", "this loss is computed from logits, so the output has no activation"]));
        }
    }

    public ModelProgram Describe(ModelSpec spec)
    {
        MlpOptions options = MlpOptions.Of(spec);
        EquatableArray<int> sizes = options.Sizes;
        Dim batch = Dim.Batch(spec.Training?.BatchSize ?? 1);
        int outputs = sizes.Count > 0 ? sizes[sizes.Count - 1] : 0;
        Input targets = options.Loss == Loss.CrossEntropy
            ? new Input("targets", TensorType.Int(Shape.Of(batch)), outputs) { MayBeIgnored = true }
            : new Input("targets", TensorType.Float(Shape.Of(batch, outputs)), 0);
        return CommonPrograms.FeedForward(spec, sizes.Count > 0 ? sizes[0] : 0, targets, (inputs, wanted) => Build(options, inputs, wanted)) with { Files = Files(options) };
    }

    private static FileConventions Files(MlpOptions options) => new(
    [
        FileOption.Of("Sizes", options.Sizes),
        new FileOption("Activation", string.Join(", ", options.Hidden.Distinct().Count() > 1 ? options.Hidden : [options.Hidden.FirstOrDefault()])),
        FileOption.Of("OutputActivation", options.Loss == Loss.BinaryCrossEntropy ? Activation.Sigmoid : options.OutputActivation),
        FileOption.Of("Bias", options.Bias),
        FileOption.Of("Loss", options.Loss) with { TrainingOnly = true },
    ]);

    /// <summary>y = f(W₂ f(W₁x + b₁) + b₂) and so on, for any number of layers; parameters are named fc1, fc2, ….</summary>
    private static ModelGraph Build(MlpOptions options, Input features, Input? wanted)
    {
        EquatableArray<int> sizes = options.Sizes;
        var b = new GraphBuilder();
        Value x = b.Add(features, features.InputName);
        for (int layer = 1; layer < sizes.Count; layer++)
        {
            Initializer uniform = Initializer.Uniform(1 / Math.Sqrt(sizes[layer - 1]));
            x = b.Linear($"fc{layer}", x, sizes[layer], options.Bias, uniform, uniform);
            x = b.Activate($"fc{layer}.activation", x, layer < sizes.Count - 1 ? options.Hidden[layer - 1] : options.OutputActivation);
        }

        // Losses take logits, which is exact where probabilities would round; a caller gets the probability.
        b.Output("outputs", options.Loss == Loss.BinaryCrossEntropy ? b.Add(new Sigmoid(), "probability", x) : x);
        if (wanted is not null)
        {
            Value targets = b.Add(wanted, wanted.InputName);
            Operator rows = options.Loss switch
            {
                Loss.CrossEntropy => new CrossEntropy(),
                Loss.SquaredError => new SquaredError(),
                _ => new BinaryCrossEntropy(),
            };
            b.Loss(b.Add(rows, "loss.rows", x, targets));
        }

        return b.Build();
    }

}

/// <summary>A declaration's options, with the defaults in the place of what was not given.</summary>
/// <param name="Hidden">The activation after each layer but the last.</param>
internal sealed record MlpOptions(EquatableArray<int> Sizes, IReadOnlyList<Activation> Hidden, Activation OutputActivation, Loss Loss, bool Bias)
{
    public static MlpOptions Of(ModelSpec spec) => new(
        spec.Ints("Sizes"),
        spec.Has("Activations")
            ? [.. spec.Ints("Activations").Select(activation => (Activation)activation)]
            : [.. Enumerable.Repeat(spec.Choice("Activation", Activation.Relu), Math.Max(1, spec.Ints("Sizes").Count - 2))],
        spec.Choice("OutputActivation", Activation.Identity),
        spec.Choice("Loss", Loss.CrossEntropy),
        spec.Flag("Bias", true));
}
