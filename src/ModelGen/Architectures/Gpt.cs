using System;
using ModelGen.Compiler.Declarations;
using ModelGen.Compiler.Diagnostics;
using ModelGen.Compiler.Graph;

namespace ModelGen.Compiler.Architectures;

internal sealed class Gpt : IArchitecture
{
    public string Name => "Gpt";

    public string AttributeMetadataName => "ModelGen.GptAttribute";

    public bool HasSequence => true;

    public void Validate(ModelSpec spec, Action<SpecProblem> report)
    {
        var checks = new ArgumentChecks(spec, report);
        bool layersHold = checks.RequireSize("Layers") && checks.AtMost("Layers", "Layers", spec.Int("Layers", 0), SizeLimits.Layers);
        bool modelHolds = checks.RequireSize("DModel");
        bool headsHold = checks.RequireSize("Heads");
        bool vocabHolds = checks.RequireSize("Vocab");
        bool contextHolds = checks.RequireSize("Context");
        bool feedForwardHolds = checks.OptionalSize("FeedForward", minimum: 0);
        checks.OptionalPositive("LayerNormEpsilon");
        checks.OptionalProbability("Dropout");

        int model = spec.Int("DModel", 0);
        int heads = spec.Int("Heads", 0);
        int context = spec.Int("Context", 0);
        if (modelHolds && headsHold && model % heads != 0)
        {
            report(new SpecProblem(DiagnosticIds.HeadsDoNotDivide, "DModel", [$"{model}", $"{heads}"]));
        }

        if (contextHolds && spec.Training is { } training && training.SequenceLength > context)
        {
            report(new SpecProblem(DiagnosticIds.ContextTooShort, "SequenceLength", [$"{training.SequenceLength}", $"{context}"], "Trainable"));
        }

        if (layersHold && modelHolds && vocabHolds && contextHolds && feedForwardHolds)
        {
            double d = model;
            double f = spec.Int("FeedForward", 0) is > 0 and int given ? given : 4 * d;
            double v = spec.Int("Vocab", 0);
            double blocks = spec.Int("Layers", 0) * ((4 * d * d) + (2 * d * f));
            double embeddings = (v * d) + (context * d) + (spec.Flag("TieEmbeddings", true) ? 0 : v * d);
            checks.ModelSize(spec, parameters: blocks + embeddings, widest: Math.Max(v, Math.Max(3 * d, f)), rows: context);
        }
    }

    public ModelGraph Build(ModelSpec spec, BuildMode mode) => throw new InvalidOperationException();
}
