using System;
using ModelGen.Compiler.Declarations;
using ModelGen.Compiler.Diagnostics;
using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Ops;

namespace ModelGen.Compiler.Architectures;

internal sealed class Mlp : IArchitecture
{
    public string Name => "Mlp";

    public string AttributeMetadataName => "ModelGen.MlpAttribute";

    public bool HasSequence => false;

    public ModelSurface Surface(ModelSpec spec) => new(Streams: false, NumericTargets: spec.Choice("Loss", Loss.CrossEntropy) != Loss.CrossEntropy);

    public void Validate(ModelSpec spec, Action<SpecProblem> report)
    {
        var checks = new ArgumentChecks(spec, report);
        EquatableArray<int> sizes = spec.Ints("Sizes");
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

        // Without training the loss is not used, so its default obliges to nothing.
        Loss loss = spec.Choice("Loss", Loss.CrossEntropy);
        if (spec.Training is null && !spec.Has("Loss"))
        {
            return;
        }

        int last = sizes.Count - 1;
        if (loss == Loss.CrossEntropy && sizes[last] == 1)
        {
            report(new SpecProblem(DiagnosticIds.OutputDoesNotFitLoss, "Sizes", [$"{loss}", "at least 2 classes", "1"]) { Element = last });
        }

        Activation output = spec.Choice("OutputActivation", Activation.Identity);
        if (loss is Loss.CrossEntropy or Loss.BinaryCrossEntropy && output != Activation.Identity)
        {
            report(new SpecProblem(
                DiagnosticIds.UnsupportedCombination,
                "OutputActivation",
                [$"OutputActivation = {output}", $"Loss.{loss}", "this loss is computed from logits, so the output has no activation"]));
        }
    }

    /// <summary>y = f(W₂ f(W₁x + b₁) + b₂) and so on, for any number of layers; parameters are named fc1, fc2, ….</summary>
    public ModelGraph Build(ModelSpec spec, BuildMode mode)
    {
        EquatableArray<int> sizes = spec.Ints("Sizes");
        Activation activation = spec.Choice("Activation", Activation.Relu);
        Loss loss = spec.Choice("Loss", Loss.CrossEntropy);
        bool bias = spec.Flag("Bias", true);

        var b = new GraphBuilder();
        Dim batch = Dim.Batch(spec.Training?.BatchSize ?? 1);
        Value x = b.Add(new Input("inputs", TensorType.Float(Shape.Of(batch, sizes[0])), 0), "inputs");
        for (int layer = 1; layer < sizes.Count; layer++)
        {
            Initializer uniform = Initializer.Uniform(1 / Math.Sqrt(sizes[layer - 1]));
            x = b.Linear($"fc{layer}", x, sizes[layer], bias, uniform, uniform);
            x = b.Activate($"fc{layer}.activation", x, layer < sizes.Count - 1 ? activation : spec.Choice("OutputActivation", Activation.Identity));
        }

        // Losses take logits, which is exact where probabilities would round; a caller gets the probability.
        b.Output("outputs", loss == Loss.BinaryCrossEntropy ? b.Add(new Sigmoid(), "probability", x) : x);
        if (mode == BuildMode.Training)
        {
            TensorType type = loss == Loss.CrossEntropy ? TensorType.Int(Shape.Of(batch)) : x.Type;
            Value targets = b.Add(new Input("targets", type, loss == Loss.CrossEntropy ? sizes[sizes.Count - 1] : 0), "targets");
            Operator rows = loss switch
            {
                Loss.CrossEntropy => new CrossEntropy(),
                Loss.SquaredError => new SquaredError(),
                _ => new BinaryCrossEntropy(),
            };
            b.Output("loss", b.Add(new MeanLoss(), "loss", b.Add(rows, "loss.rows", x, targets)));
        }

        return b.Build();
    }

    public FileConventions Files(ModelSpec spec)
    {
        Loss loss = spec.Choice("Loss", Loss.CrossEntropy);
        return new FileConventions(
        [
            FileOption.Of("Sizes", spec.Ints("Sizes")),
            FileOption.Of("Activation", spec.Choice("Activation", Activation.Relu)),
            FileOption.Of("OutputActivation", loss == Loss.BinaryCrossEntropy ? Activation.Sigmoid : spec.Choice("OutputActivation", Activation.Identity)),
            FileOption.Of("Bias", spec.Flag("Bias", true)),
            FileOption.Of("Loss", loss) with { TrainingOnly = true },
        ]);
    }
}
