using ModelGen.Compiler;
using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Ops;

namespace ModelGen.Tests.Compiler;

/// <summary>
/// A padded batch of ragged sequences through an embedding, attention, an LSTM and a loss: what the same sequences give alone, forwards and
/// backwards, whatever the padding holds.
/// </summary>
public sealed class PaddedBatchTests
{
    private const int Vocabulary = 11;
    private const int Features = 3;
    private const int Width = 8;

    public static TheoryData<int, bool, bool> Batches
    {
        get
        {
            var data = new TheoryData<int, bool, bool>();
            foreach (int steps in new[] { 1, 7, 8, 9, 15, 16, 17 })
            {
                data.Add(steps, true, false);
                data.Add(steps, false, true);
            }

            return data;
        }
    }

    [Theory]
    [MemberData(nameof(Batches))]
    public void A_padded_batch_is_its_sequences_alone(int steps, bool causal, bool reverse)
    {
        int[] lengths = [steps, 0, 1, Math.Max(0, steps - 1), Math.Min(5, steps), Math.Min(13, steps)];
        int[] distinct = [.. lengths.Where(l => l > 0).Distinct()];
        ModelGraph padded = KernelCases.PrepareTraining(Graph(lengths.Length, steps, causal, reverse, hasLengths: true));
        ModelGraph[] alone = [.. distinct.Select(length => KernelCases.PrepareTraining(Graph(1, length, causal, reverse, hasLengths: false)))];
        GraphFunction[] functions = GraphFunction.Compile([padded, .. alone], BufferPlacement.RedZones);
        RunArguments run = Arguments(padded, lengths, steps, new Random(steps));
        RunResults batch = functions[0].Run(run, threads: 2);
        KernelCheck.Near(ReferenceInterpreter.Run(padded, run), batch, 2e-5, "the batch");

        // One normalizer for all: losses and gradients add up.
        double loss = 0;
        var gradients = run.Parameters.ToDictionary(p => p.Key, p => new Tensor(p.Value.Dims));
        for (int b = 0; b < lengths.Length; b++)
        {
            if (lengths[b] == 0)
            {
                Assert.All(Row(batch.Outputs["final"], b).Data, h => Assert.Equal(0, h));
                continue;
            }

            var one = run with { Inputs = run.Inputs.Where(i => i.Key != "lengths").ToDictionary(i => i.Key, i => Steps(Row(i.Value, b), lengths[b])), State = [] };
            RunResults result = functions[1 + Array.IndexOf(distinct, lengths[b])].Run(one);
            loss += result.Outputs["loss"].Data[0];
            GradientCheck.Near(result.Outputs["final"], Row(batch.Outputs["final"], b), 1e-6, 1e-5, $"final state of {lengths[b]} steps");
            Tensor logits = Row(batch.Outputs["logits"], b);
            GradientCheck.Near(new Tensor([lengths[b], Vocabulary], result.Outputs["logits"].Data), new Tensor([lengths[b], Vocabulary], logits.Data[..(lengths[b] * Vocabulary)]), 1e-5, 1e-5, $"logits of {lengths[b]} steps");
            foreach ((string name, Tensor gradient) in result.Gradients)
            {
                for (int i = 0; i < gradient.Data.Length; i++)
                {
                    gradients[name].Data[i] += gradient.Data[i];
                }
            }
        }

        Assert.Equal(loss, batch.Outputs["loss"].Data[0], 1e-5 * Math.Max(1, Math.Abs(loss)));
        foreach ((string name, Tensor gradient) in gradients)
        {
            GradientCheck.Near(gradient, batch.Gradients[name], 1e-5, 1e-4, "gradient of " + name);
        }

        // What stands in the padding, however large, changes no bit.
        var random = new Random(99);
        for (int b = 0; b < lengths.Length; b++)
        {
            for (int t = lengths[b]; t < steps; t++)
            {
                run.Inputs["tokens"].Data[(b * steps) + t] = random.Next(Vocabulary);
                for (int c = 0; c < Features; c++)
                {
                    run.Inputs["features"].Data[(((b * steps) + t) * Features) + c] = (random.NextDouble() - 0.5) * 1e6;
                }
            }
        }

        RunResults other = functions[0].Run(run);
        GradientCheck.Same(batch.Gradients, other.Gradients, 0, "gradient with other padding");
        Assert.Equal(batch.Outputs["loss"].Data, other.Outputs["loss"].Data);
        Assert.Equal(batch.Outputs["final"].Data, other.Outputs["final"].Data);
        for (int b = 0; b < lengths.Length; b++)
        {
            Assert.Equal(Row(batch.Outputs["logits"], b).Data[..(lengths[b] * Vocabulary)], Row(other.Outputs["logits"], b).Data[..(lengths[b] * Vocabulary)]);
        }
    }

    /// <summary>A batch that is nothing but padding has no loss and no gradient, and no NaN.</summary>
    [Fact]
    public void A_batch_of_padding_has_no_loss()
    {
        ModelGraph graph = KernelCases.PrepareTraining(Graph(3, 5, causal: true, reverse: false, hasLengths: true));
        RunArguments run = Arguments(graph, [0, 0, 0], 5, new Random(1));
        RunResults results = GraphFunction.Compile([graph], BufferPlacement.Planned)[0].Run(run);
        Assert.Equal([0.0], results.Outputs["loss"].Data);
        Assert.All(results.Gradients, gradient => Assert.All(gradient.Value.Data, g => Assert.Equal(0, g)));
    }

    /// <summary>Attention and scans do not read their padding at all: numbers that spoil whatever they enter change no bit of anything.</summary>
    [Theory]
    [InlineData(false, null, false)]
    [InlineData(true, null, false)]
    [InlineData(false, 2, true)]
    [InlineData(true, 2, true)]
    public void Padding_is_not_read(bool causal, int? window, bool reverse)
    {
        const int Steps = 19;
        double[] lengths = [7, 0, 19, 1];
        var attention = new Attention(2, 2, 5, 0.5, new KeyRange { IsCausal = causal, Window = window, HasQueryLengths = true, HasKeyLengths = true });
        ModelGraph[] graphs =
        [
            OperatorCases.Case("attention", b => [OperatorCases.Attend(b, attention, lengths.Length, Steps, Steps)]).Graph,
            OperatorCases.Case("scan", b =>
            {
                var body = new GraphBuilder();
                Value Leaf(BodyInputKind kind, params Dim[] dims) => body.Add(new BodyInput(kind, 0, TensorType.Float(Shape.Of(dims))), kind.ToString());
                Value product = body.Add(new MatMul(MatMulForm.NT), "product", Leaf(BodyInputKind.Sequence, lengths.Length, 6), Leaf(BodyInputKind.Invariant, 6, 6));
                Value h = body.Add(new Tanh(), "h", body.Add(new Add(), "sum", product, body.Add(new Multiply(), "decayed", Leaf(BodyInputKind.Carry, lengths.Length, 6), Leaf(BodyInputKind.Sequence, lengths.Length, 6))));
                body.Output("h", h);
                body.Output("y", product);
                Value given = OperatorCases.Indices(b, "queryLengths", Steps + 1, lengths.Length);
                return b.AddMany(new ScanOverLengths(new Scan(body.Build(), Steps, reverse, 1, 1)), "scan",
                    [OperatorCases.Parameter(b, "h0", lengths.Length, 6), OperatorCases.Parameter(b, "x", Steps, lengths.Length, 6), OperatorCases.Parameter(b, "w", 6, 6), given]);
            }).Graph,
        ];
        ModelGraph[] training = [.. graphs.Select(g => KernelCases.PrepareTraining(GradientCheck.WithLoss(g)))];
        GraphFunction[] functions = GraphFunction.Compile(training, BufferPlacement.Planned);
        for (int i = 0; i < training.Length; i++)
        {
            RunArguments run = CaseData.Random(training[i], 5);
            run.Inputs["queryLengths"] = run.Inputs["keyLengths"] = new Tensor([lengths.Length], lengths);
            RunResults clean = functions[i].Run(run);
            KernelCheck.Near(ReferenceInterpreter.Run(training[i], run), clean, 5e-5, "clean");
            foreach (string name in i == 0 ? new[] { "q", "k", "v" } : ["x"])
            {
                Tensor x = run.Parameters[name];
                for (int e = 0; e < x.Data.Length; e++)
                {
                    int row = e / x.Columns, b = i == 0 ? row / Steps : row % lengths.Length, t = i == 0 ? row % Steps : row / lengths.Length;
                    x.Data[e] = t < lengths[b] ? x.Data[e] : double.NaN;
                }
            }

            GradientCheck.Same(clean, functions[i].Run(run), 0, "with NaN in the padding");
        }
    }

    private static RunArguments Arguments(ModelGraph graph, int[] lengths, int steps, Random random)
    {
        RunArguments run = CaseData.Random(graph, steps) with { LossNormalizer = 1.0 / Math.Max(1, lengths.Sum()) };
        run.Inputs["lengths"] = new Tensor([lengths.Length], [.. lengths.Select(l => (double)l)]);
        run.Inputs["targets"] = Tensor.Filled([lengths.Length, steps], i => i % steps < lengths[i / steps] ? random.Next(Vocabulary) : -1);
        return run;
    }

    /// <summary>loss = the cross-entropy of (attention(x) + lstm(x))·W of x, embedded tokens beside features.</summary>
    private static ModelGraph Graph(int batch, int steps, bool causal, bool reverse, bool hasLengths)
    {
        var b = new GraphBuilder();
        Value Weight(string name, params Dim[] dims) => OperatorCases.Parameter(b, name, dims);
        Value Linear(string name, Value x, int columns) => b.Add(new MatMul(MatMulForm.NT), name, x, Weight(name + ".weight", columns, x.Shape[-1]));
        Value tokens = OperatorCases.Indices(b, "tokens", Vocabulary, batch, steps);
        Value targets = b.Add(new Input("targets", TensorType.Int(Shape.Of(batch, steps)), Vocabulary) { MayBeIgnored = true }, "targets");
        Value features = b.Add(new Input("features", TensorType.Float(Shape.Of(batch, steps, Features)), 0), "features");
        Value[] lengths = hasLengths ? [OperatorCases.Indices(b, "lengths", steps + 1, batch)] : [];
        Value x = b.Add(new ConcatColumns(), "x", b.Add(new Embedding(), "embedding", Weight("table", Vocabulary, Width), tokens), features);

        var range = new KeyRange { IsCausal = causal, HasQueryLengths = hasLengths, HasKeyLengths = hasLengths };
        Value attended = b.Add(new Attention(2, 1, Width / 2, 0.5, range), "attention", [Linear("q", x, Width), Linear("k", x, Width / 2), Linear("v", x, Width / 2), .. lengths, .. lengths]);

        var step = new GraphBuilder();
        Value Leaf(BodyInputKind kind, int number, params Dim[] dims) => step.Add(new BodyInput(kind, number, TensorType.Float(Shape.Of(dims))), kind + " " + number);
        Value h = Leaf(BodyInputKind.Carry, 0, batch, Width), c = Leaf(BodyInputKind.Carry, 1, batch, Width);
        Value gates = step.Add(new Add(), "gates",
            step.Add(new MatMul(MatMulForm.NT), "fromInput", Leaf(BodyInputKind.Sequence, 0, batch, x.Shape[-1]), Leaf(BodyInputKind.Invariant, 0, 4 * Width, x.Shape[-1])),
            step.Add(new MatMul(MatMulForm.NT), "fromHidden", h, Leaf(BodyInputKind.Invariant, 1, 4 * Width, Width)));
        Value Gate(int index) => step.Add(new SliceColumns(index * Width, Width), "gate", gates);
        Value Sigmoid(int index) => step.Add(new Sigmoid(), "sigmoid", Gate(index));
        Value next = step.Add(new Add(), "c", step.Add(new Multiply(), "kept", Sigmoid(1), c), step.Add(new Multiply(), "added", Sigmoid(0), step.Add(new Tanh(), "g", Gate(2))));
        step.Output("h", step.Add(new Multiply(), "h", Sigmoid(3), step.Add(new Tanh(), "c.tanh", next)));
        step.Output("c", next);
        var scan = new Scan(step.Build(), steps, reverse, 2, 1);
        Value zero = OperatorCases.Constant(b, 0, Shape.Of(batch, Width));
        Value[] inputs = [zero, zero, b.Add(new Permute([1, 0, 2]), "x.time_major", x), Weight("weight_ih", 4 * Width, x.Shape[-1]), Weight("weight_hh", 4 * Width, Width), .. lengths];
        Value[] states = b.AddMany(hasLengths ? new ScanOverLengths(scan) : scan, "lstm", inputs);

        Value hidden = b.Add(new Add(), "hidden", attended, b.Add(new Permute([1, 0, 2]), "lstm.batch_major", states[Scan.After(0)]));
        Value logits = Linear("logits", hidden, Vocabulary);
        b.Output("logits", logits);
        b.Output("final", states[Scan.Final(0)]);
        b.Output("loss", b.Add(new MeanLoss(), "loss", b.Add(new CrossEntropy(), "losses", logits, targets)));
        return b.Build();
    }

    private static Tensor Row(Tensor x, int row)
    {
        int each = x.Data.Length / x.Dims[0];
        return new Tensor([1, .. x.Dims[1..]], x.Data[(row * each)..((row + 1) * each)]);
    }

    private static Tensor Steps(Tensor x, int steps) => new([1, steps, .. x.Dims[2..]], x.Data[..(x.Data.Length / x.Dims[1] * steps)]);
}
