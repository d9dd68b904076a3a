using System;
using ModelGen.Compiler.Declarations;
using ModelGen.Compiler.Diagnostics;
using ModelGen.Compiler.Graph;

namespace ModelGen.Compiler.Architectures;

internal sealed class Mlp : IArchitecture
{
    public string Name => "Mlp";

    public string AttributeMetadataName => "ModelGen.MlpAttribute";

    public bool HasSequence => false;

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
        double parameters = 0;
        double widest = 0;
        for (int i = 0; i < sizes.Count; i++)
        {
            widest = Math.Max(widest, sizes[i]);
            parameters += i == 0 ? 0 : ((double)sizes[i - 1] + 1) * sizes[i];
            if (sizes[i] < 1)
            {
                report(new SpecProblem(DiagnosticIds.SizeTooSmall, "Sizes", [$"sizes[{i}]", "1", $"{sizes[i]}"]) { Element = i });
                sizesHold = false;
            }
        }

        if (sizesHold)
        {
            checks.ModelSize(spec, parameters, widest, rows: 1);
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

    public ModelGraph Build(ModelSpec spec, BuildMode mode) => throw new InvalidOperationException();
}
