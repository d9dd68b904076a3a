using System;
using System.Collections.Generic;
using System.Linq;
using ModelGen.Compiler.Declarations;
using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Ops;
using ModelGen.Compiler.Programs;

namespace ModelGen.Compiler.Families;

internal sealed class RecurrentTagger : IFamily
{
    public string Name => "RecurrentTagger";

    public string AttributeMetadataName => "ModelGen.RecurrentTaggerAttribute";

    public bool HasSequence => true;

    public void Validate(ModelSpec spec, Action<SpecProblem> report)
    {
        RecurrentTaggerOptions options = RecurrentTaggerOptions.Of(spec);
        var checks = new ArgumentChecks(spec, report);
        bool holds = checks.OptionalSize("Layers") && checks.AtMost("Layers", "Layers", options.Layers, SizeLimits.Layers);
        holds &= checks.RequireSize("Hidden");
        holds &= checks.OptionalSize("Embedding", minimum: 0);
        holds &= checks.RequireSize("Vocab");
        holds &= checks.RequireSize("Tags");
        holds &= checks.OptionalSize("Context");
        holds &= checks.OptionalSize("MaxBatch") && checks.AtMost("MaxBatch", "MaxBatch", options.MaxBatch, SizeLimits.SequencesOfSession);
        checks.OptionalProbability("Dropout");
        if (holds)
        {
            double gates = options.Cell.Gates() * (double)options.Hidden;
            double outputs = options.Directions * (double)options.Hidden;
            double widest = Math.Max(Math.Max(options.Embedding, options.Tags), Math.Max(gates, outputs));
            double largest = Math.Max((double)options.Vocabulary * options.Embedding, Math.Max(gates * Math.Max(options.Embedding, outputs), outputs * options.Tags));
            checks.ModelSize(spec, largest, inferred: options.Context * (double)options.MaxBatch * widest, widest);
        }
    }

    public ModelProgram Describe(ModelSpec spec)
    {
        RecurrentTaggerOptions options = RecurrentTaggerOptions.Of(spec);
        Input Tokens(Dim batch, Dim time) => new("tokens", TensorType.Int(Shape.Of(batch, time)), options.Vocabulary);
        Input Lengths(Dim batch, int steps) => new("lengths", TensorType.Int(Shape.Of(batch)), steps + 1);
        Input one = Tokens(1, Dim.Time(Math.Max(1, options.Context)));
        var inference = new List<EntryPoint>
        {
            new("Predict", EntryKind.Infer, [one], ["logits"], CommonPrograms.Once(() => Build(options, one, null, null))) { Time = Dim.Time(Math.Max(1, options.Context)) },
        };
        if (options.MaxBatch > 1)
        {
            (Input tokens, Input lengths) = (Tokens(options.MaxBatch, Math.Max(1, options.Context)), Lengths(options.MaxBatch, Math.Max(1, options.Context)));
            inference.Add(new("PredictBatch", EntryKind.Infer, [tokens, lengths], ["logits"], CommonPrograms.Once(() => Build(options, tokens, lengths, null))));
        }

        int steps = Math.Max(1, spec.Training?.SequenceLength ?? 1);
        (Dim batch, Dim time) = (Dim.Batch(spec.Training?.BatchSize ?? 1), Dim.Time(steps));
        (Input trained, Input given) = (Tokens(batch, time), Lengths(batch, steps));
        var targets = new Input("targets", TensorType.Int(Shape.Of(batch, time)), options.Tags) { MayBeIgnored = true };
        return CommonPrograms.WithTraining(ProgramAdapter.None, spec, [trained, given, targets], inference, () => Build(options, trained, given, targets)) with { Files = Files(options) };
    }

    private static FileConventions Files(RecurrentTaggerOptions options) => new(
    [
        FileOption.Of("Cell", options.Cell),
        FileOption.Of("Layers", options.Layers),
        FileOption.Of("Hidden", options.Hidden),
        FileOption.Of("Embedding", options.Embedding),
        FileOption.Of("Vocab", options.Vocabulary),
        FileOption.Of("Tags", options.Tags),
        FileOption.Of("Bidirectional", options.Bidirectional),
        FileOption.Of("Dropout", options.Dropout) with { TrainingOnly = true },
    ]);

    /// <summary>
    /// An embedding, layers of cells that read a sentence forwards and, where the declaration says so, backwards from each row's own last token, their
    /// outputs beside each other, and a linear head over each token.
    /// </summary>
    private static ModelGraph Build(RecurrentTaggerOptions options, Input tokenIds, Input? lengthsOfRows, Input? wanted)
    {
        BuildMode mode = wanted is null ? BuildMode.Inference : BuildMode.Training;
        Initializer uniform = Initializer.Uniform(1 / Math.Sqrt(options.Hidden));

        var b = new GraphBuilder();
        Value tokens = b.Add(tokenIds, tokenIds.InputName);
        Value? lengths = lengthsOfRows is null ? null : b.Add(lengthsOfRows, lengthsOfRows.InputName);
        Value table = b.Parameter("embedding.weight", Shape.Of(options.Vocabulary, options.Embedding), Initializer.Uniform(0.1));
        Value x = b.Add(new Embedding(), "embedding", table, b.Add(new TransposeIndices(), "tokens.time_major", tokens));
        Shape state = Shape.Of(x.Shape[1], options.Hidden);
        for (int layer = 0; layer < options.Layers; layer++)
        {
            x = b.Dropout($"dropout_l{layer}", x, options.Dropout, mode);
            Value[] read = [.. Enumerable.Range(0, options.Directions).Select(direction =>
            {
                string suffix = RecurrentCells.Suffix(layer, reverse: direction == 1);
                Value[] initial = [.. options.Cell.States().Select(name => b.Add(new Constant(0, state), $"rnn.{name}{suffix}"))];
                return b.Recurrent("rnn", suffix, options.Cell, x, initial, uniform, reverse: direction == 1, lengths).Outputs;
            })];
            x = read.Length == 1 ? read[0] : b.Add(new ConcatColumns(), $"rnn.both_l{layer}", read);
        }

        x = b.Dropout("dropout", x, options.Dropout, mode);
        Value logits = b.Linear("head", x, options.Tags, bias: true, uniform, Initializer.Zeros);
        b.Output("logits", b.Add(new Permute([1, 0, 2]), "logits.batch_major", logits));
        if (wanted is not null)
        {
            Value targets = b.Add(wanted, wanted.InputName);
            b.Loss(b.Add(new CrossEntropy(), "loss.rows", logits, b.Add(new TransposeIndices(), "targets.time_major", targets)));
        }

        return b.Build();
    }
}

/// <summary>A declaration's options, with the defaults in the place of what was not given.</summary>
internal sealed record RecurrentTaggerOptions(Cell Cell, int Layers, int Hidden, int Embedding, int Vocabulary, int Tags, bool Bidirectional, double Dropout, int Context, int MaxBatch)
{
    /// <summary>How many layers read a sentence side by side.</summary>
    public int Directions => Bidirectional ? 2 : 1;

    public static RecurrentTaggerOptions Of(ModelSpec spec)
    {
        int hidden = spec.Int("Hidden", 0);
        return new RecurrentTaggerOptions(
            spec.Choice("Cell", Cell.Lstm),
            spec.Int("Layers", 1),
            hidden,
            spec.Size("Embedding", hidden),
            spec.Int("Vocab", 0),
            spec.Int("Tags", 0),
            spec.Flag("Bidirectional", true),
            spec.Real("Dropout", 0),
            spec.Int("Context", 256),
            spec.Int("MaxBatch", 1));
    }
}
