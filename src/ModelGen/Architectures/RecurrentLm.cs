using System;
using ModelGen.Compiler.Declarations;
using ModelGen.Compiler.Diagnostics;
using ModelGen.Compiler.Graph;

namespace ModelGen.Compiler.Architectures;

internal sealed class RecurrentLm : IArchitecture
{
    public string Name => "RecurrentLm";

    public string AttributeMetadataName => "ModelGen.RecurrentLmAttribute";

    public bool HasSequence => true;

    public void Validate(ModelSpec spec, Action<SpecProblem> report)
    {
        var checks = new ArgumentChecks(spec, report);
        bool layersHold = checks.OptionalSize("Layers") && checks.AtMost("Layers", "Layers", spec.Int("Layers", 1), SizeLimits.Layers);
        bool hiddenHolds = checks.RequireSize("Hidden");
        bool embeddingHolds = checks.OptionalSize("Embedding", minimum: 0);
        bool vocabHolds = checks.RequireSize("Vocab");
        checks.OptionalProbability("Dropout");
        if (!hiddenHolds || !embeddingHolds)
        {
            return;
        }

        int hidden = spec.Int("Hidden", 0);
        int embedding = spec.Int("Embedding", 0) is > 0 and int given ? given : hidden;
        bool tied = spec.Flag("TieEmbeddings", false);
        if (tied && embedding != hidden)
        {
            report(new SpecProblem(DiagnosticIds.TiedSizesDiffer, "Embedding", [$"{embedding}", $"{hidden}"]));
        }

        if (layersHold && vocabHolds)
        {
            double h = hidden;
            double v = spec.Int("Vocab", 0);
            int gates = spec.Choice("Cell", Cell.Lstm) switch { Cell.Lstm => 4, Cell.Gru => 3, _ => 1 };
            double cells = gates * ((h * (embedding + h + 2)) + ((spec.Int("Layers", 1) - 1) * h * ((2 * h) + 2)));
            double parameters = (v * embedding) + cells + (tied ? 0 : v * h) + v;
            checks.ModelSize(spec, parameters, widest: Math.Max(v, Math.Max(gates * h, embedding)), rows: 1);
        }
    }

    public ModelGraph Build(ModelSpec spec, BuildMode mode) => throw new InvalidOperationException();
}
