using System;
using System.Collections.Generic;
using System.Linq;
using ModelGen.Compiler.Declarations;
using ModelGen.Compiler.Diagnostics;
using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Ops;

namespace ModelGen.Compiler.Architectures;

internal sealed class RecurrentLm : IArchitecture
{
    public string Name => "RecurrentLm";

    public string AttributeMetadataName => "ModelGen.RecurrentLmAttribute";

    public bool HasSequence => true;

    public ModelSurface Surface(ModelSpec spec) => new(Streams: true, NumericTargets: false);

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
            double wider = Math.Max(embedding, h);
            double widest = Math.Max(v, Math.Max(gates * h, embedding));
            checks.ModelSize(spec, wider * Math.Max(v, gates * h), inferred: widest, widest);
        }
    }

    /// <summary>
    /// A recurrent language model: embedding, layers of cells over time, and a linear decoder. Cells, gate orders and
    /// parameter names are PyTorch's. The state is carried from run to run: truncated back-propagation through time.
    /// </summary>
    public ModelGraph Build(ModelSpec spec, BuildMode mode)
    {
        int hidden = spec.Int("Hidden", 0);
        int width = spec.Int("Embedding", 0) is > 0 and int declared ? declared : hidden;
        int vocabulary = spec.Int("Vocab", 0);
        double dropout = spec.Real("Dropout", 0);
        Cell cell = spec.Choice("Cell", Cell.Lstm);
        Initializer uniform = Initializer.Uniform(1 / Math.Sqrt(hidden));

        var b = new GraphBuilder();
        Dim time = Dim.Time(spec.Training?.SequenceLength is > 0 and int length ? length : 1);
        Dim batch = Dim.Batch(spec.Training?.BatchSize ?? 1);
        Value tokens = b.Add(new Input("tokens", TensorType.Int(Shape.Of(batch, time)), vocabulary), "tokens");
        Value table = b.Parameter("embedding.weight", Shape.Of(vocabulary, width), Initializer.Uniform(0.1));
        Value x = b.Add(new Embedding(), "embedding", table, b.Add(new TransposeIndices(), "tokens.time_major", tokens));
        for (int layer = 0; layer < spec.Int("Layers", 1); layer++)
        {
            x = b.Dropout($"dropout_l{layer}", x, dropout, mode);
            x = Layer(b, cell, layer, x, hidden, uniform);
        }

        x = b.Dropout("dropout", x, dropout, mode);
        Value logits = spec.Flag("TieEmbeddings", false)
            ? b.Add(new Add(), "decoder", b.Add(new MatMul(MatMulForm.NT), "decoder.product", x, table), b.Parameter("decoder.bias", Shape.Of(vocabulary), Initializer.Zeros))
            : b.Linear("decoder", x, vocabulary, bias: true, uniform, Initializer.Zeros);
        b.Output("logits", logits);
        if (mode == BuildMode.Training)
        {
            Value targets = b.Add(new Input("targets", TensorType.Int(Shape.Of(batch, time)), vocabulary), "targets");
            Value rows = b.Add(new CrossEntropy(), "loss.rows", logits, b.Add(new TransposeIndices(), "targets.time_major", targets));
            b.Output("loss", b.Add(new MeanLoss(), "loss", rows));
        }

        return b.Build();
    }

    public FileConventions Files(ModelSpec spec)
    {
        int hidden = spec.Int("Hidden", 0);
        bool tied = spec.Flag("TieEmbeddings", false);
        return new FileConventions(
        [
            FileOption.Of("Cell", spec.Choice("Cell", Cell.Lstm)),
            FileOption.Of("Layers", spec.Int("Layers", 1)),
            FileOption.Of("Hidden", hidden),
            FileOption.Of("Embedding", spec.Int("Embedding", 0) is > 0 and int given ? given : hidden),
            FileOption.Of("Vocab", spec.Int("Vocab", 0)),
            FileOption.Of("TieEmbeddings", tied),
            FileOption.Of("Dropout", spec.Real("Dropout", 0)) with { TrainingOnly = true },
        ])
        {
            Aliases = tied ? [("decoder.weight", "embedding.weight")] : [],
        };
    }

    private static Value Layer(GraphBuilder b, Cell cell, int layer, Value x, int hidden, Initializer uniform)
    {
        int gates = cell switch { Cell.Rnn => 1, Cell.Gru => 3, _ => 4 };
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
