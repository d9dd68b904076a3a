using System;
using System.Collections.Generic;
using System.Linq;
using ModelGen.Compiler.Declarations;
using ModelGen.Compiler.Diagnostics;
using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Ops;
using ModelGen.Compiler.Passes;
using ModelGen.Compiler.Programs;

namespace ModelGen.Compiler.Families;

/// <summary>The entry points that families have in common.</summary>
internal static class CommonPrograms
{
    /// <summary>Tokens of one prefill run, and rows of one feed-forward run: enough to fill the matrix tiles.</summary>
    public const int LargestChunk = 256;

    /// <summary>Builds a forward graph from its inputs: the tokens or features, and the targets where it is for training.</summary>
    public delegate ModelGraph GraphOf(Input inputs, Input? targets);

    /// <summary>A model of sequences of tokens, whose graph has the outputs <c>logits</c> [.., vocabulary] and, for training, those of <see cref="Layers.Loss"/>.</summary>
    /// <param name="spec">The declaration.</param>
    /// <param name="vocabulary">The number of token ids.</param>
    /// <param name="context">The most tokens of a sequence; 0 where there is no limit.</param>
    /// <param name="build">The forward graph.</param>
    /// <param name="inside">What the graph hands out of its inside; null for nothing.</param>
    /// <param name="hasPositions">Whether a step depends on how many came before.</param>
    public static ModelProgram CausalLanguageModel(ModelSpec spec, int vocabulary, int context, GraphOf build, InsideOutputs? inside = null, bool hasPositions = false)
    {
        int positions = !hasPositions ? 0 : context > 0 ? context : SizeLimits.Positions;
        Shape sequences = Shape.Of(Dim.Batch(spec.Training?.BatchSize ?? 1), Dim.Time(context > 0 ? context : Math.Max(1, spec.Training?.SequenceLength ?? 1)));
        var tokens = new Input("tokens", TensorType.Int(sequences), vocabulary);
        var targets = new Input("targets", TensorType.Int(sequences), vocabulary) { MayBeIgnored = true };
        Func<ModelGraph> forward = Once(() => build(tokens, null));
        int chunk = context > 0 ? Math.Min(context, LargestChunk) : LargestChunk;
        var inference = new List<EntryPoint>
        {
            new("Prefill", EntryKind.Infer, [tokens], ["logits"], forward) { Time = Dim.Time(chunk), Continues = true },
            new("Decode", EntryKind.Infer, [tokens], ["logits"], forward) { Continues = true },
        };
        if (spec.Flag("Score", false))
        {
            inference.Add(new EntryPoint("Score", EntryKind.Infer, [tokens, targets], ["losses"], Once(() => build(tokens, targets))) { Time = Dim.Time(chunk), Continues = true, EveryStep = true });
        }

        if (spec.Int("Drafts", 0) is > 0 and int drafts)
        {
            inference.Add(new EntryPoint("Verify", EntryKind.Infer, [tokens], ["logits"], forward) { Time = Dim.Time(Math.Min(chunk, drafts + 1)), Continues = true, EveryStep = true });
        }

        if (inside is { Names.Count: > 0 })
        {
            inference.Add(new EntryPoint("Forward", EntryKind.Infer, [tokens], ["logits", .. inside.Names], forward) { Time = Dim.Time(inside.Chunk(chunk, context)), Continues = true, EveryStep = true });
        }

        if (spec.Flag("MeasureInputs", false))
        {
            inference.Add(new EntryPoint("Measure", EntryKind.Infer, [tokens], ["logits", InputSquares.Prefix + EntryPoint.Any], Once(() => InputSquares.Add(forward()))) { Time = Dim.Time(chunk), Continues = true, EveryStep = true });
        }

        int most = MaxBatch(spec);
        if (most > 1)
        {
            Dim rows = Dim.Batch(most);
            Input[] where = [new Input(EntryPoint.SequencesInput, TensorType.Int(Shape.Of(rows)), most), .. positions > 0 ? [new Input(EntryPoint.PositionsInput, TensorType.Int(Shape.Of(rows)), positions)] : Array.Empty<Input>()];
            inference.Add(new EntryPoint("DecodeBatch", EntryKind.Infer, [tokens, .. where], ["logits"], forward) { Batch = rows, ContinuesEach = true });
        }

        return Of(ProgramAdapter.CausalLanguageModel, spec, tokens, targets, build, inference) with { Context = context, Positions = positions, MaxBatch = most };
    }

    /// <summary>
    /// A model from one sequence of tokens to another (Sutskever et al. 2014): <c>Encode</c> fills states from a source, and <c>Decode</c>
    /// continues a target by one token, reading them. The graphs of targets have the output <c>logits</c> [B, T, vocabulary] (or [T, B, ..]) and, for
    /// training, those of <see cref="Layers.Loss"/>.
    /// </summary>
    /// <param name="spec">The declaration.</param>
    /// <param name="sizes">Vocabularies and contexts.</param>
    /// <param name="graphs">The family's graphs.</param>
    public static ModelProgram EncoderDecoder(ModelSpec spec, EncoderDecoderSizes sizes, EncoderDecoderGraphs graphs)
    {
        int most = MaxBatch(spec), sourceContext = Math.Max(1, sizes.SourceContext);
        Dim one = Dim.Batch(1), steps = Dim.Time(sizes.TargetContext > 0 ? sizes.TargetContext : 1);
        Input Lengths(Dim rows, int longest) => new(EntryPoint.SourceLengthsInput, TensorType.Int(Shape.Of(rows)), longest + 1);
        var tokens = new Input("tokens", TensorType.Int(Shape.Of(one, steps)), sizes.TargetVocabulary);
        Input? lengths = sizes.DecodesWithLengths ? Lengths(one, sourceContext) : null;
        Input[] decoded = [tokens, .. lengths is null ? Array.Empty<Input>() : [lengths]];
        Func<ModelGraph> decode = Once(() => graphs.Decode(tokens, lengths));
        string[] outputs = ["logits", .. Enumerable.Range(0, sizes.AttentionLayers).Select(AttentionWeights)];
        var source = new Input("source", TensorType.Int(Shape.Of(1, Dim.Named("S", sourceContext))), sizes.SourceVocabulary);
        var entries = new List<EntryPoint>
        {
            new("Encode", EntryKind.Infer, [source], [], Once(() => graphs.Encode(source))),
            new("Decode", EntryKind.Infer, decoded, outputs, decode) { Continues = true, EveryStep = sizes.AttentionLayers > 0 },
        };
        if (most > 1)
        {
            Dim rows = Dim.Batch(most);
            Input[] where = [new Input(EntryPoint.SequencesInput, TensorType.Int(Shape.Of(rows)), most), .. sizes.TargetContext > 0 ? [new Input(EntryPoint.PositionsInput, TensorType.Int(Shape.Of(rows)), sizes.TargetContext)] : Array.Empty<Input>()];
            entries.Add(new EntryPoint("DecodeBatch", EntryKind.Infer, [.. decoded, .. where], outputs, decode) { Batch = rows, ContinuesEach = true });
        }

        if (spec.Training is { } training)
        {
            Dim batch = Dim.Batch(training.BatchSize), time = Dim.Time(Math.Max(1, training.SequenceLength));
            int sourceLength = Math.Max(1, training.SourceLength > 0 ? training.SourceLength : training.SequenceLength);
            var sources = new Input("source", TensorType.Int(Shape.Of(batch, sourceLength)), sizes.SourceVocabulary);
            Input sourceLengths = Lengths(batch, sourceLength);
            var inputs = new Input("inputs", TensorType.Int(Shape.Of(batch, time)), sizes.TargetVocabulary);
            var targets = new Input("targets", TensorType.Int(Shape.Of(batch, time)), sizes.TargetVocabulary) { MayBeIgnored = true };
            Func<ModelGraph> graph = Once(() => graphs.Train(sources, sourceLengths, inputs, targets));
            entries.AddRange(Training(training, [sources, sourceLengths, inputs, targets], graph));
        }

        return new ModelProgram(ProgramAdapter.EncoderDecoder, entries) { Training = spec.Training, Context = sizes.TargetContext, SourceContext = sizes.SourceContext, MaxBatch = most };
    }

    /// <summary>Checks the lengths of a micro-batch against what an encoder and a decoder take; 0 stands for no limit.</summary>
    public static void ValidateLengths(TrainingSpec training, int sourceContext, int targetContext, Action<SpecProblem> report)
    {
        if (targetContext > 0 && training.SequenceLength > targetContext)
        {
            report(new SpecProblem(DiagnosticIds.ContextTooShort, "SequenceLength", [$"{training.SequenceLength}", $"{targetContext}"], "Trainable"));
        }

        (string argument, int length) = training.SourceLength > 0 ? ("SourceLength", training.SourceLength) : ("SequenceLength", training.SequenceLength);
        if (sourceContext > 0 && length > sourceContext)
        {
            report(new SpecProblem(DiagnosticIds.OutOfRange, argument, [argument == "SourceLength" ? argument : "SequenceLength, which SourceLength is where it is not given,", $"at most {sourceContext}, the most tokens of a source", $"{length}"], "Trainable"));
        }
    }

    /// <summary>Remembers rows [1, S, C] of an encoder in a state of <paramref name="most"/> rows, for the decoder.</summary>
    public static void Remember(this GraphBuilder b, string name, Value rows, int most)
    {
        Value memory = b.Add(new StateRead(b.Qualify(name), Shape.Of(1, most, rows.Shape[-1])), name);
        b.UpdateState(b.Qualify(name), rows.Shape[1] == (Dim)most ? rows : b.Add(new AppendState(), name, memory, rows));
    }

    /// <summary>What an encoder remembered, [B, <paramref name="most"/>, <paramref name="columns"/>]: what stands behind a source's length is anything.</summary>
    public static Value Recall(this GraphBuilder b, string name, Dim batch, int most, int columns) => b.Add(new StateRead(b.Qualify(name), Shape.Of(batch, most, columns)), name);

    /// <summary>The name of the output that a layer's hidden states are; layer 0 may be what the first one reads.</summary>
    public static string HiddenStates(int layer) => FormattableString.Invariant($"hidden_states.{layer}");

    /// <summary>The name of the output that a layer's attention weights are.</summary>
    public static string AttentionWeights(int layer) => FormattableString.Invariant($"attentions.{layer}");

    /// <summary>The most sequences of a session, as the declaration gives it.</summary>
    public static int MaxBatch(ModelSpec spec) => spec.Int("MaxBatch", 1);

    /// <summary>Checks what the declaration of a model of sequences asks of its sessions.</summary>
    /// <param name="spec">The declaration.</param>
    /// <param name="checks">Its checks.</param>
    /// <param name="states">The number of elements of a sequence's states; real, as an integer it could overflow.</param>
    /// <param name="widest">The row length of the widest activation of a step.</param>
    public static void ValidateSessions(ModelSpec spec, ArgumentChecks checks, double states, double widest)
    {
        if (checks.OptionalSize("Drafts", minimum: 0))
        {
            checks.AtMost("Drafts", "Drafts", spec.Int("Drafts", 0), LargestChunk - 1);
        }

        if (checks.OptionalSize("MaxBatch") && checks.AtMost("MaxBatch", "MaxBatch", MaxBatch(spec), SizeLimits.SequencesOfSession) && MaxBatch(spec) > 1)
        {
            checks.AtMost("MaxBatch", "With MaxBatch, the number of elements of a sequence's states", states, SizeLimits.TensorElements);
            checks.AtMost("MaxBatch", "The number of elements of the largest activation", MaxBatch(spec) * widest, SizeLimits.TensorElements);
        }
    }

    /// <summary>A model from rows to rows, whose graph has the output <c>outputs</c> and, for training, those of <see cref="Layers.Loss"/>.</summary>
    /// <param name="spec">The declaration.</param>
    /// <param name="inputSize">The features of an example.</param>
    /// <param name="targets">What training compares an example's outputs with.</param>
    /// <param name="build">The forward graph.</param>
    public static ModelProgram FeedForward(ModelSpec spec, int inputSize, Input targets, GraphOf build)
    {
        var inputs = new Input("inputs", TensorType.Float(Shape.Of(targets.Type.Shape[0], inputSize)), 0);
        var predict = new EntryPoint("Predict", EntryKind.Infer, [inputs], ["outputs"], Once(() => build(inputs, null))) { Batch = Dim.Batch(LargestChunk) };
        return Of(ProgramAdapter.FeedForward, spec, inputs, targets, build, [predict]);
    }

    private static ModelProgram Of(ProgramAdapter adapter, ModelSpec spec, Input inputs, Input targets, GraphOf build, IEnumerable<EntryPoint> inference)
        => WithTraining(adapter, spec, [inputs, targets], inference, () => build(inputs, targets));

    /// <summary>Entry points that infer, and <c>Step</c> and <c>Evaluate</c> beside them where the declaration asks for training.</summary>
    /// <param name="adapter">What stands over them.</param>
    /// <param name="spec">The declaration.</param>
    /// <param name="inputs">What a training step takes.</param>
    /// <param name="inference">The entry points that infer.</param>
    /// <param name="build">The forward graph with the outputs of <see cref="Layers.Loss"/>.</param>
    public static ModelProgram WithTraining(ProgramAdapter adapter, ModelSpec spec, IReadOnlyList<Input> inputs, IEnumerable<EntryPoint> inference, Func<ModelGraph> build)
    {
        var entries = new List<EntryPoint>(inference);
        if (spec.Training is { } training)
        {
            entries.AddRange(Training(training, inputs, Once(build)));
        }

        return new ModelProgram(adapter, entries) { Training = spec.Training };
    }

    /// <summary>A step and an evaluation over one graph, in the extents of a micro-batch.</summary>
    public static IEnumerable<EntryPoint> Training(TrainingSpec training, IReadOnlyList<Input> inputs, Func<ModelGraph> graph)
        => new[] { ("Step", EntryKind.Step, "loss"), ("Evaluate", EntryKind.Evaluate, "losses") }
            .Select(e => new EntryPoint(e.Item1, e.Item2, inputs, [e.Item3], graph) { Batch = training.BatchSize, Time = Math.Max(1, training.SequenceLength) });

    /// <summary>A graph that is built when it is first asked for.</summary>
    public static Func<ModelGraph> Once(Func<ModelGraph> build)
    {
        var graph = new Lazy<ModelGraph>(build);
        return () => graph.Value;
    }
}

/// <summary>The sizes of a model from one sequence of tokens to another.</summary>
/// <param name="SourceVocabulary">The number of token ids of sources.</param>
/// <param name="TargetVocabulary">The number of token ids of targets.</param>
/// <param name="SourceContext">The most tokens of a source.</param>
/// <param name="TargetContext">The most tokens of a target; 0 where there is no limit.</param>
/// <param name="DecodesWithLengths">Whether the decoder's graph takes the lengths of sources, as one with attention does.</param>
internal sealed record EncoderDecoderSizes(int SourceVocabulary, int TargetVocabulary, int SourceContext, int TargetContext, bool DecodesWithLengths)
{
    /// <summary>The layers whose weights of attention to the source each step of the decoder hands out (<see cref="CommonPrograms.AttentionWeights"/>), [B, heads, 1, S] each.</summary>
    public int AttentionLayers { get; init; }
}

/// <summary>The graphs of a family of models from one sequence of tokens to another.</summary>
/// <param name="Encode">
/// From one source i32 [1, S], all of whose tokens count, to updates of the states that the decoder reads
/// (<see cref="CommonPrograms.Remember"/>). States are zero before.
/// </param>
/// <param name="Decode">
/// From the target's tokens i32 [B, T] and, where asked for, the sources' lengths i32 [B] to <c>logits</c>. States are [B, ..]: what the encoder filled
/// (<see cref="CommonPrograms.Recall"/>) and what the decoder carries on.
/// </param>
/// <param name="Train">
/// From sources i32 [B, S], their lengths i32 [B], the targets shifted right behind the first token i32 [B, T], and the targets, −1 where none
/// counts, to the loss.
/// </param>
internal sealed record EncoderDecoderGraphs(Func<Input, ModelGraph> Encode, Func<Input, Input?, ModelGraph> Decode, Func<Input, Input, Input, Input, ModelGraph> Train);

/// <summary>What a declaration asks a model of sequences to hand out of its inside, step by step.</summary>
/// <param name="HiddenStates">The number of hidden states of a step.</param>
/// <param name="Width">The width of each.</param>
/// <param name="AttentionLayers">The layers whose attention weights are handed out.</param>
/// <param name="Heads">The heads of each.</param>
internal sealed record InsideOutputs(int HiddenStates, int Width, int AttentionLayers, int Heads)
{
    /// <summary>The most attention weights of a run, all of which exist at its end: 64 MiB of them, unless a single step has more.</summary>
    private const long MostWeights = 1 << 24;

    /// <summary>The outputs, hidden states first.</summary>
    public IReadOnlyList<string> Names
        => [.. Enumerable.Range(0, HiddenStates).Select(CommonPrograms.HiddenStates), .. Enumerable.Range(0, AttentionLayers).Select(CommonPrograms.AttentionWeights)];

    /// <summary>The steps of a run, which has as many weights for each step as there are layers, heads and positions.</summary>
    public int Chunk(int most, int context)
        => AttentionLayers == 0 ? most : (int)Math.Max(1, Math.Min(most, MostWeights / Math.Max(1, (long)AttentionLayers * Heads * context)));
}
