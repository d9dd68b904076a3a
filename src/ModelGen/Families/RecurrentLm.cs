using System;
using System.Linq;
using ModelGen.Compiler.Declarations;
using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Ops;
using ModelGen.Compiler.Programs;

namespace ModelGen.Compiler.Families;

internal sealed class RecurrentLm : IFamily
{
    public string Name => "RecurrentLm";

    public string AttributeMetadataName => "ModelGen.RecurrentLmAttribute";

    public bool HasSequence => true;

    public void Validate(ModelSpec spec, Action<SpecProblem> report)
    {
        RecurrentLmOptions options = RecurrentLmOptions.Of(spec);
        var checks = new ArgumentChecks(spec, report);
        bool layersHold = checks.OptionalSize("Layers") && checks.AtMost("Layers", "Layers", options.Layers, SizeLimits.Layers);
        bool hiddenHolds = checks.RequireSize("Hidden");
        bool embeddingHolds = checks.OptionalSize("Embedding", minimum: 0);
        bool vocabHolds = checks.RequireSize("Vocab");
        checks.OptionalProbability("Dropout");
        if (!hiddenHolds || !embeddingHolds)
        {
            return;
        }

        if (layersHold && vocabHolds)
        {
            double hidden = options.Hidden;
            double vocabulary = options.Vocabulary;
            double gates = options.Gates * hidden;
            double widest = Math.Max(vocabulary, Math.Max(gates, options.Embedding));
            checks.ModelSize(spec, Math.Max(options.Embedding, hidden) * Math.Max(vocabulary, gates), inferred: widest, widest);
            CommonPrograms.ValidateSessions(spec, checks, states: 2 * hidden * options.Layers, widest);
        }
    }

    public ModelProgram Describe(ModelSpec spec)
    {
        RecurrentLmOptions options = RecurrentLmOptions.Of(spec);
        var inside = new InsideOutputs(options.HiddenStates ? options.Layers : 0, options.Hidden, 0, 0);
        return CommonPrograms.CausalLanguageModel(spec, options.Vocabulary, context: 0, (tokens, targets) => Build(options, tokens, targets), inside) with { Files = Files(options) };
    }

    private static FileConventions Files(RecurrentLmOptions options) => new(
    [
        FileOption.Of("Cell", options.Cell),
        FileOption.Of("Layers", options.Layers),
        FileOption.Of("Hidden", options.Hidden),
        FileOption.Of("Embedding", options.Embedding),
        FileOption.Of("Vocab", options.Vocabulary),
        FileOption.Of("TieEmbeddings", options.TieEmbeddings),
        FileOption.Of("Dropout", options.Dropout) with { TrainingOnly = true },
    ])
    {
        Aliases = options.TieEmbeddings ? [("decoder.weight", "embedding.weight")] : [],
    };

    /// <summary>
    /// A recurrent language model: embedding, layers of cells over time, and a linear decoder. Cells, gate orders and
    /// parameter names are PyTorch's. The state is carried from run to run: truncated back-propagation through time.
    /// </summary>
    private static ModelGraph Build(RecurrentLmOptions options, Input tokenIds, Input? targetIds)
    {
        BuildMode mode = targetIds is null ? BuildMode.Inference : BuildMode.Training;
        Initializer uniform = Initializer.Uniform(1 / Math.Sqrt(options.Hidden));

        var b = new GraphBuilder();
        Value tokens = b.Add(tokenIds, tokenIds.InputName);
        Value table = b.Parameter("embedding.weight", Shape.Of(options.Vocabulary, options.Embedding), Initializer.Uniform(0.1));
        Value x = b.Add(new Embedding(), "embedding", table, b.Add(new TransposeIndices(), "tokens.time_major", tokens));
        for (int layer = 0; layer < options.Layers; layer++)
        {
            x = b.Dropout($"dropout_l{layer}", x, options.Dropout, mode);
            x = Layer(b, options, layer, x, uniform);
            if (options.HiddenStates && targetIds is null)
            {
                b.Output(CommonPrograms.HiddenStates(layer), x);
            }
        }

        x = b.Dropout("dropout", x, options.Dropout, mode);
        if (options.HasProjection)
        {
            // To the width of the embedding, which the head shares (Press and Wolf, 2017).
            x = b.Linear("projection", x, options.Embedding, bias: false, uniform);
        }

        Value logits = options.TieEmbeddings
            ? b.Add(new Add(), "decoder", b.Add(new MatMul(MatMulForm.NT), "decoder.product", x, table), b.Parameter("decoder.bias", Shape.Of(options.Vocabulary), Initializer.Zeros))
            : b.Linear("decoder", x, options.Vocabulary, bias: true, uniform, Initializer.Zeros);
        b.Output("logits", logits);
        if (targetIds is not null)
        {
            Value targets = b.Add(targetIds, targetIds.InputName);
            Value rows = b.Add(new CrossEntropy(), "loss.rows", logits, b.Add(new TransposeIndices(), "targets.time_major", targets));
            b.Loss(rows);
        }

        return b.Build();
    }

    private static Value Layer(GraphBuilder b, RecurrentLmOptions options, int layer, Value x, Initializer uniform)
    {
        string suffix = RecurrentCells.Suffix(layer);
        Shape state = Shape.Of(x.Shape[1], options.Hidden);
        string[] states = [.. options.Cell.States().Select(name => $"rnn.{name}{suffix}")];
        Value[] carried = [.. states.Select(name => b.Add(new StateRead(name, state), name))];
        RecurrentLayer result = b.Recurrent("rnn", suffix, options.Cell, x, carried, uniform);
        for (int i = 0; i < states.Length; i++)
        {
            b.UpdateState(states[i], result.Final[i]);
        }

        return result.Outputs;
    }
}

/// <summary>A declaration's options, with the defaults in the place of what was not given.</summary>
internal sealed record RecurrentLmOptions(Cell Cell, int Layers, int Hidden, int Embedding, int Vocabulary, bool TieEmbeddings, double Dropout)
{
    public int Gates => Cell.Gates();

    public bool HiddenStates { get; private init; }

    /// <summary>Whether something must stand between layers and a head that is as wide as the embedding.</summary>
    public bool HasProjection => TieEmbeddings && Embedding != Hidden;

    public static RecurrentLmOptions Of(ModelSpec spec)
    {
        int hidden = spec.Int("Hidden", 0);
        return new RecurrentLmOptions(
            spec.Choice("Cell", Cell.Lstm),
            spec.Int("Layers", 1),
            hidden,
            spec.Size("Embedding", hidden),
            spec.Int("Vocab", 0),
            spec.Flag("TieEmbeddings", false),
            spec.Real("Dropout", 0))
        {
            HiddenStates = spec.Flag("HiddenStates", false),
        };
    }
}
