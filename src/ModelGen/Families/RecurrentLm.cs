using System;
using System.Collections.Generic;
using System.Linq;
using ModelGen.Compiler.Declarations;
using ModelGen.Compiler.Diagnostics;
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

        if (options.TieEmbeddings && options.Embedding != options.Hidden)
        {
            report(new SpecProblem(DiagnosticIds.TiedSizesDiffer, "Embedding", [$"{options.Embedding}", $"{options.Hidden}"]));
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
        (Cell cell, int gates, int hidden) = (options.Cell, options.Gates, options.Hidden);
        Shape state = Shape.Of(x.Shape[1], hidden);
        var carries = new List<(string Name, Value Initial)>();
        foreach (string name in cell == Cell.Lstm ? ["h", "c"] : new[] { "h" })
        {
            carries.Add(($"rnn.{name}_l{layer}", b.Add(new StateRead($"rnn.{name}_l{layer}", state), $"rnn.{name}_l{layer}")));
        }

        Value[] weights =
        [
            b.Parameter($"rnn.weight_ih_l{layer}", Shape.Of(gates * hidden, x.Shape[-1]), uniform),
            b.Parameter($"rnn.weight_hh_l{layer}", Shape.Of(gates * hidden, hidden), uniform),
            b.Parameter($"rnn.bias_ih_l{layer}", Shape.Of(gates * hidden), uniform),
            b.Parameter($"rnn.bias_hh_l{layer}", Shape.Of(gates * hidden), uniform),
        ];

        var step = new GraphBuilder();
        using (step.Scope($"rnn.l{layer}"))
        {
            Value Leaf(BodyInputKind kind, int number, TensorType type, string name) => step.Add(new BodyInput(kind, number, type), name);
            Value input = Leaf(BodyInputKind.Sequence, 0, x.Type with { Shape = x.Shape.DropFirst() }, "x");
            Value h = Leaf(BodyInputKind.Carry, 0, TensorType.Float(state), "h");
            Value[] w = [.. Enumerable.Range(0, 4).Select(i => Leaf(BodyInputKind.Invariant, i, weights[i].Type, weights[i].Name))];
            Value fromInput = step.Add(new Add(), "input_gates", step.Add(new MatMul(MatMulForm.NT), "input_product", input, w[0]), w[2]);
            Value fromHidden = step.Add(new Add(), "hidden_gates", step.Add(new MatMul(MatMulForm.NT), "hidden_product", h, w[1]), w[3]);
            switch (cell)
            {
                case Cell.Rnn:
                    step.Output("h", step.Add(new Tanh(), "h", step.Add(new Add(), "gates", fromInput, fromHidden)));
                    break;
                case Cell.Lstm:
                    Value c = Leaf(BodyInputKind.Carry, 1, TensorType.Float(state), "c");
                    Value all = step.Add(new Add(), "gates", fromInput, fromHidden);
                    Value Gate(int index, string name) => step.Add(new SliceColumns(index * hidden, hidden), name, all);
                    Value kept = step.Add(new Multiply(), "kept", step.Add(new Sigmoid(), "f", Gate(1, "gates.f")), c);
                    Value added = step.Add(new Multiply(), "added", step.Add(new Sigmoid(), "i", Gate(0, "gates.i")), step.Add(new Tanh(), "g", Gate(2, "gates.g")));
                    Value next = step.Add(new Add(), "c", kept, added);
                    Value output = step.Add(new Sigmoid(), "o", Gate(3, "gates.o"));
                    step.Output("h", step.Add(new Multiply(), "h", output, step.Add(new Tanh(), "c.tanh", next)));
                    step.Output("c", next);
                    break;
                default:
                    Value Part(Value gatesOf, int index, string name) => step.Add(new SliceColumns(index * hidden, hidden), name, gatesOf);
                    Value Sum(int index, string name) => step.Add(new Add(), "gates." + name, Part(fromInput, index, "input_gates." + name), Part(fromHidden, index, "hidden_gates." + name));
                    Value reset = step.Add(new Sigmoid(), "r", Sum(0, "r"));
                    Value update = step.Add(new Sigmoid(), "z", Sum(1, "z"));
                    Value candidate = step.Add(new Tanh(), "n", step.Add(new Add(), "gates.n", Part(fromInput, 2, "input_gates.n"), step.Add(new Multiply(), "reset_gates.n", reset, Part(fromHidden, 2, "hidden_gates.n"))));
                    step.Output("h", step.Add(new Add(), "h", candidate, step.Add(new Multiply(), "h.kept", update, step.Add(new Subtract(), "h.change", h, candidate))));
                    break;
            }
        }

        var scan = new Scan(step.Build(), x.Shape[0], Reverse: false, carries.Count, Sequences: 1);
        Value[] results = b.AddMany(scan, $"rnn.l{layer}", [.. carries.Select(c => c.Initial), x, .. weights]);
        for (int i = 0; i < carries.Count; i++)
        {
            b.UpdateState(carries[i].Name, results[Scan.Final(i)]);
        }

        return results[Scan.After(0)];
    }
}

/// <summary>A declaration's options, with the defaults in the place of what was not given.</summary>
internal sealed record RecurrentLmOptions(Cell Cell, int Layers, int Hidden, int Embedding, int Vocabulary, bool TieEmbeddings, double Dropout)
{
    /// <summary>The gates of a cell, each as wide as the layer.</summary>
    public int Gates => Cell switch { Cell.Rnn => 1, Cell.Gru => 3, _ => 4 };

    public bool HiddenStates { get; private init; }

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
