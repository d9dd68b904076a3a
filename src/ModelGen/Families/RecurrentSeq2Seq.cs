using System;
using System.Collections.Generic;
using System.Linq;
using ModelGen.Compiler.Declarations;
using ModelGen.Compiler.Diagnostics;
using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Ops;
using ModelGen.Compiler.Programs;

namespace ModelGen.Compiler.Families;

internal sealed class RecurrentSeq2Seq : IFamily
{
    private const string Memory = "encoder.outputs";
    private const string MemoryKeys = "attention.keys";

    public string Name => "RecurrentSeq2Seq";

    public string AttributeMetadataName => "ModelGen.RecurrentSeq2SeqAttribute";

    public bool HasSequence => true;

    public void Validate(ModelSpec spec, Action<SpecProblem> report)
    {
        RecurrentSeq2SeqOptions options = RecurrentSeq2SeqOptions.Of(spec);
        var checks = new ArgumentChecks(spec, report);
        bool holds = checks.OptionalSize("Layers") && checks.AtMost("Layers", "Layers", options.Layers, SizeLimits.Layers);
        holds &= checks.RequireSize("Hidden");
        holds &= checks.OptionalSize("Embedding", minimum: 0);
        holds &= checks.RequireSize("SourceVocab");
        holds &= checks.RequireSize("TargetVocab");
        holds &= checks.OptionalSize("SourceContext");
        checks.OptionalProbability("Dropout");
        if (options.AttentionWeights && options.Attention == RecurrentAttention.None)
        {
            report(new SpecProblem(DiagnosticIds.UnsupportedCombination, "AttentionWeights", ["AttentionWeights", "RecurrentAttention.None", "a decoder without attention looks at no token of the source"]));
        }

        if (!holds)
        {
            return;
        }

        (double hidden, double embedding) = (options.Hidden, options.Embedding);
        double gates = options.Cell.Gates() * hidden;
        double read = embedding + (options.Attention == RecurrentAttention.Additive ? hidden : 0);
        double vocabulary = Math.Max(options.SourceVocabulary, options.TargetVocabulary);

        // Training with additive attention keeps what each target's step sees of each source's.
        double sourceLength = spec.Training is { } training ? Math.Max(training.SourceLength > 0 ? training.SourceLength : training.SequenceLength, 1) : 1;
        double widest = Math.Max(Math.Max(vocabulary, gates), Math.Max(embedding, options.Attention == RecurrentAttention.Additive ? sourceLength * hidden : 2 * hidden));
        checks.ModelSize(spec, Math.Max(Math.Max(gates * Math.Max(read, hidden), vocabulary * Math.Max(embedding, hidden)), 2 * hidden * hidden), inferred: Math.Max(vocabulary, options.SourceContext * Math.Max(gates, embedding)), widest, widestOfSource: Math.Max(gates, embedding));
        CommonPrograms.ValidateSessions(spec, checks, states: options.SourceContext * hidden, Math.Max(Math.Max(vocabulary, gates), options.SourceContext * hidden));
    }

    public ModelProgram Describe(ModelSpec spec)
    {
        RecurrentSeq2SeqOptions options = RecurrentSeq2SeqOptions.Of(spec);
        var sizes = new EncoderDecoderSizes(options.SourceVocabulary, options.TargetVocabulary, options.SourceContext, TargetContext: 0, DecodesWithLengths: options.Attention != RecurrentAttention.None) { AttentionLayers = options.AttentionWeights ? 1 : 0 };
        var graphs = new EncoderDecoderGraphs(
            source => Encode(options, source),
            (tokens, lengths) => Decode(options, tokens, lengths),
            (source, lengths, inputs, targets) => Train(options, source, lengths, inputs, targets));
        return CommonPrograms.EncoderDecoder(spec, sizes, graphs) with { Files = Files(options) };
    }

    private static FileConventions Files(RecurrentSeq2SeqOptions options) => new(
    [
        FileOption.Of("Cell", options.Cell),
        FileOption.Of("Layers", options.Layers),
        FileOption.Of("Hidden", options.Hidden),
        FileOption.Of("Embedding", options.Embedding),
        FileOption.Of("SourceVocab", options.SourceVocabulary),
        FileOption.Of("TargetVocab", options.TargetVocabulary),
        FileOption.Of("Attention", options.Attention),
        FileOption.Of("Dropout", options.Dropout) with { TrainingOnly = true },
    ]);

    // ---------------------------------------------------------------- entry points

    private static ModelGraph Encode(RecurrentSeq2SeqOptions options, Input source)
    {
        var b = new GraphBuilder();
        Encoded encoded = Encoder(b, options, source, lengths: null, BuildMode.Inference);
        for (int i = 0; i < encoded.Final.Length; i++)
        {
            b.UpdateState(options.States[i], encoded.Final[i]);
        }

        if (encoded.Rows is { } rows)
        {
            b.Remember(Memory, rows, options.SourceContext);
        }

        if (encoded.Keys is { } keys)
        {
            b.Remember(MemoryKeys, keys, options.SourceContext);
        }

        return b.Build();
    }

    private static ModelGraph Decode(RecurrentSeq2SeqOptions options, Input tokens, Input? lengths)
    {
        var b = new GraphBuilder();
        Dim batch = tokens.Type.Shape[0];
        Value[] carried = [.. options.States.Select(name => b.Add(new StateRead(name, Shape.Of(batch, options.Hidden)), name))];
        var encoded = new Encoded(
            carried,
            options.Attention == RecurrentAttention.None ? null : b.Recall(Memory, batch, options.SourceContext, options.Hidden),
            options.Attention == RecurrentAttention.Additive ? b.Recall(MemoryKeys, batch, options.SourceContext, options.Hidden) : null);
        Decoded decoded = Decoder(b, options, tokens, encoded, lengths is null ? null : b.Add(lengths, lengths.InputName), BuildMode.Inference);
        for (int i = 0; i < carried.Length; i++)
        {
            b.UpdateState(options.States[i], decoded.Final[i]);
        }

        b.Output("logits", decoded.Logits);
        if (decoded.Weights is { } weights)
        {
            b.Output(CommonPrograms.AttentionWeights(0), weights);
        }

        return b.Build();
    }

    private static ModelGraph Train(RecurrentSeq2SeqOptions options, Input source, Input lengths, Input inputs, Input targets)
    {
        var b = new GraphBuilder();
        Value given = b.Add(lengths, lengths.InputName);
        Decoded decoded = Decoder(b, options, inputs, Encoder(b, options, source, given, BuildMode.Training), given, BuildMode.Training);
        b.Output("logits", decoded.Logits);
        Value wanted = b.Add(targets, targets.InputName);
        b.Loss(b.Add(new CrossEntropy(), "loss.rows", decoded.Logits, decoded.IsTimeMajor ? b.Add(new TransposeIndices(), "targets.time_major", wanted) : wanted));
        return b.Build();
    }

    // ---------------------------------------------------------------- the two halves

    /// <summary>What the decoder takes from the encoder: what it begins with, and what it looks at, [B, S, hidden] each.</summary>
    private sealed record Encoded(Value[] Final, Value? Rows, Value? Keys);

    /// <summary>What the decoder gives; the weights of its attention [B, .., T, S] only where they are asked for.</summary>
    private sealed record Decoded(Value Logits, Value[] Final, bool IsTimeMajor, Value? Weights);

    /// <summary>
    /// An embedding and layers of cells over each source's own tokens, which are all of them where there are no lengths; what each carries behind the last is what
    /// the decoder's begins with.
    /// </summary>
    private static Encoded Encoder(GraphBuilder b, RecurrentSeq2SeqOptions options, Input source, Value? lengths, BuildMode mode)
    {
        Value table = b.Parameter("encoder.embedding.weight", Shape.Of(options.SourceVocabulary, options.Embedding), Initializer.Uniform(0.1));
        Value x = b.Add(new Embedding(), "encoder.embedding", table, b.Add(new TransposeIndices(), "source.time_major", b.Add(source, source.InputName)));
        Shape state = Shape.Of(x.Shape[1], options.Hidden);
        var final = new List<Value>();
        for (int layer = 0; layer < options.Layers; layer++)
        {
            string suffix = RecurrentCells.Suffix(layer);
            x = b.Dropout($"encoder.dropout{suffix}", x, options.Dropout, mode);
            Value[] initial = [.. options.Cell.States().Select(name => b.Add(new Constant(0, state), $"encoder.rnn.{name}{suffix}"))];
            RecurrentLayer result = b.Recurrent("encoder.rnn", suffix, options.Cell, x, initial, options.Uniform, lengths: lengths);
            final.AddRange(result.Final);
            x = result.Outputs;
        }

        if (options.Attention == RecurrentAttention.None)
        {
            return new Encoded([.. final], null, null);
        }

        Value rows = b.Add(new Permute([1, 0, 2]), Memory, x);
        Value? keys = options.Attention == RecurrentAttention.Additive ? b.Linear("attention.key", rows, options.Hidden, bias: false, options.Uniform) : null;
        return new Encoded([.. final], rows, keys);
    }

    /// <summary>
    /// An embedding, layers of cells over the target, and a head. With attention, the head reads h̃ = tanh(W [c; h] + b) (Luong et al. 2015, equation 5), where c is
    /// the mean of the encoder's outputs weighted by softmax(score): h · r of this step's state (their dot product, equation 8), or v · tanh(Wh' + Ur) of the state
    /// before, whose c the cell then reads beside the token (Bahdanau et al. 2015, appendix A.1.2).
    /// </summary>
    private static Decoded Decoder(GraphBuilder b, RecurrentSeq2SeqOptions options, Input tokens, Encoded encoded, Value? lengths, BuildMode mode)
    {
        Value table = b.Parameter("decoder.embedding.weight", Shape.Of(options.TargetVocabulary, options.Embedding), Initializer.Uniform(0.1));
        Value x = b.Add(new Embedding(), "decoder.embedding", table, b.Add(new TransposeIndices(), "target.time_major", b.Add(tokens, tokens.InputName)));
        x = b.Dropout("decoder.dropout", x, options.Dropout, mode);
        Value[] final;
        Value? weights = null;
        bool asksForWeights = options.AttentionWeights && mode == BuildMode.Inference;
        bool isTimeMajor = options.Attention != RecurrentAttention.Dot;
        if (options.Attention == RecurrentAttention.Additive)
        {
            (Value hidden, Value context, weights, final) = Attentive(b, options, x, encoded, lengths!.Value, asksForWeights);
            x = Combined(b, options, context, hidden);
        }
        else
        {
            int each = options.Cell.States().Length;
            var carried = new List<Value>();
            for (int layer = 0; layer < options.Layers; layer++)
            {
                RecurrentLayer result = b.Recurrent("decoder.rnn", RecurrentCells.Suffix(layer), options.Cell, x, [.. encoded.Final.Skip(layer * each).Take(each)], options.Uniform);
                carried.AddRange(result.Final);
                x = result.Outputs;
            }

            final = [.. carried];
            if (options.Attention == RecurrentAttention.Dot)
            {
                Value hidden = b.Add(new Permute([1, 0, 2]), "decoder.outputs", x);
                var attention = new Attention(1, 1, options.Hidden, 1, KeyRange.All with { HasKeyLengths = true });
                Value rows = encoded.Rows!.Value;
                Value[] seen = b.AddMany(attention, "attention", [hidden, rows, rows, lengths!.Value]);
                weights = asksForWeights ? b.Add(new AttentionWeights(attention, options.SourceContext), "attention.weights", [hidden, rows, seen[1], lengths.Value]) : null;
                x = Combined(b, options, seen[0], hidden);
            }
        }

        x = b.Dropout("dropout", x, options.Dropout, mode);
        return new Decoded(b.Linear("head", x, options.TargetVocabulary, bias: true, options.Uniform, Initializer.Zeros), final, isTimeMajor, weights);
    }

    private static Value Combined(GraphBuilder b, RecurrentSeq2SeqOptions options, Value context, Value hidden)
        => b.Add(new Tanh(), "attention.combined", b.Linear("attention.combine", b.Add(new ConcatColumns(), "attention.seen", context, hidden), options.Hidden, bias: true, options.Uniform, Initializer.Zeros));

    /// <summary>All layers over time at once, since the first one reads what the last one's state before looked at.</summary>
    private static (Value Hidden, Value Context, Value? Weights, Value[] Final) Attentive(GraphBuilder b, RecurrentSeq2SeqOptions options, Value x, Encoded encoded, Value lengths, bool asksForWeights)
    {
        (int hidden, int embedding) = (options.Hidden, options.Embedding);
        string[] states = options.Cell.States();
        Value rows = encoded.Rows!.Value, keys = encoded.Keys!.Value;
        (Dim batch, Dim steps) = (rows.Shape[0], rows.Shape[1]);
        Value mask = b.Add(new LengthMask(steps.Maximum), "attention.mask", lengths);
        Value query = b.Parameter("attention.query.weight", Shape.Of(hidden, hidden), options.Uniform);
        Value energy = b.Parameter("attention.energy.weight", Shape.Of(1, hidden), options.Uniform);
        Value[][] weights = [.. Enumerable.Range(0, options.Layers).Select(layer => b.CellParameters("decoder.rnn", RecurrentCells.Suffix(layer), options.Cell, layer == 0 ? embedding + hidden : hidden, hidden, options.Uniform))];

        // The first layer's product with the token does not wait for the state, and so is apart from that with the context.
        Value ofToken = b.Add(new SliceColumns(0, embedding), "decoder.rnn.weight_it_l0", weights[0][0]);
        Value ofContext = b.Add(new SliceColumns(embedding, hidden), "decoder.rnn.weight_ic_l0", weights[0][0]);
        Value[] invariants = [rows, keys, mask, query, energy, ofToken, ofContext, .. weights.SelectMany((w, layer) => layer == 0 ? w.Skip(1) : w)];

        var step = new GraphBuilder();
        using (step.Scope("decoder"))
        {
            Value token = step.Add(new BodyInput(BodyInputKind.Sequence, 0, x.Type with { Shape = x.Shape.DropFirst() }), "x");
            Value[] carried = [.. encoded.Final.Select((initial, i) => step.Add(new BodyInput(BodyInputKind.Carry, i, initial.Type), $"{states[i % states.Length]}_l{i / states.Length}"))];
            Value[] given = [.. invariants.Select((value, i) => step.Add(new BodyInput(BodyInputKind.Invariant, i, value.Type), value.Name))];

            Value before = carried[(options.Layers - 1) * states.Length];
            Value asked = step.Add(new Reshape(Shape.Of(batch, 1, hidden)), "attention.query", step.Add(new MatMul(MatMulForm.NT), "attention.query", before, given[3]));
            Value inner = step.Add(new Tanh(), "attention.inner", step.Add(new Add(), "attention.sum", given[1], asked));
            Value energies = step.Add(new RowSum(), "attention.energy", step.Add(new Multiply(), "attention.products", inner, given[4]));
            Value scores = step.Add(new Where(), "attention.scores", given[2], step.Add(new Reshape(Shape.Of(batch, steps)), "attention.energy", energies), step.Add(new Constant(-1e30, Shape.Scalar), ""));
            Value shifted = step.Add(new Subtract(), "attention.shifted", scores, step.Add(new StopGradient(), "attention.shift", step.Add(new RowMax(), "attention.maximum", scores)));
            Value exponentials = step.Add(new Exp(), "attention.exp", shifted);
            Value probabilities = step.Add(new Divide(), "attention.weights", exponentials, step.Add(new RowSum(), "attention.total", exponentials));
            Value weighted = step.Add(new Multiply(), "attention.weighted", step.Add(new Reshape(Shape.Of(batch, steps, 1)), "attention.weights", probabilities), given[0]);
            Value context = step.Add(new Reshape(Shape.Of(batch, hidden)), "attention.context", step.Add(new ColumnSum(Shape.Of(batch, 1, hidden)), "attention.context", weighted));

            var next = new List<Value>();
            Value? below = null;
            for (int layer = 0; layer < options.Layers; layer++)
            {
                Value[] state = [.. carried.Skip(layer * states.Length).Take(states.Length)];
                Value[] w = [.. given.Skip(7 + (layer == 0 ? 0 : (4 * layer) - 1)).Take(layer == 0 ? 3 : 4)];
                using (step.Scope($"rnn.l{layer}"))
                {
                    Value gates = below is { } input
                        ? step.InputGates(input, w[0], w[2])
                        : step.Add(new Add(), "input_gates", step.InputGates(token, given[5], w[1]), step.Add(new MatMul(MatMulForm.NT), "context_product", context, given[6]));
                    Value[] after = step.CellStep(options.Cell, gates, state, below is null ? w[0] : w[1], below is null ? w[2] : w[3]);
                    next.AddRange(after);
                    below = after[0];
                }
            }

            for (int i = 0; i < next.Count; i++)
            {
                step.Output($"{states[i % states.Length]}_l{i / states.Length}", next[i]);
            }

            step.Output("context", context);
            if (asksForWeights)
            {
                step.Output("weights", probabilities);
            }
        }

        var scan = new Scan(step.Build(), x.Shape[0], Reverse: false, encoded.Final.Length, Sequences: 1);
        Value[] results = b.AddMany(scan, "decoder", [.. encoded.Final, x, .. invariants]);
        Value outputs = results[Scan.After((options.Layers - 1) * states.Length)];
        Value? attended = asksForWeights ? b.Add(new Permute([1, 0, 2]), "attention.weights", results[scan.Sequence(1)]) : null;
        return (outputs, results[scan.Sequence(0)], attended, [.. encoded.Final.Select((_, i) => results[Scan.Final(i)])]);
    }
}

/// <summary>A declaration's options, with the defaults in the place of what was not given.</summary>
internal sealed record RecurrentSeq2SeqOptions(Cell Cell, int Layers, int Hidden, int Embedding, int SourceVocabulary, int TargetVocabulary, RecurrentAttention Attention, int SourceContext, double Dropout)
{
    /// <summary>Whether sessions hand out what each step attends to.</summary>
    public bool AttentionWeights { get; private init; }

    public Initializer Uniform => Initializer.Uniform(1 / Math.Sqrt(Hidden));

    /// <summary>The states that the decoder carries, layer by layer.</summary>
    public string[] States => [.. Enumerable.Range(0, Layers).SelectMany(layer => Cell.States().Select(name => $"decoder.rnn.{name}{RecurrentCells.Suffix(layer)}"))];

    public static RecurrentSeq2SeqOptions Of(ModelSpec spec)
    {
        int hidden = spec.Int("Hidden", 0);
        return new RecurrentSeq2SeqOptions(
            spec.Choice("Cell", Cell.Gru),
            spec.Int("Layers", 1),
            hidden,
            spec.Size("Embedding", hidden),
            spec.Int("SourceVocab", 0),
            spec.Int("TargetVocab", 0),
            spec.Choice("Attention", RecurrentAttention.None),
            spec.Int("SourceContext", 64),
            spec.Real("Dropout", 0))
        {
            AttentionWeights = spec.Flag("AttentionWeights", false),
        };
    }
}
