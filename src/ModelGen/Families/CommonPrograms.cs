using System;
using System.Collections.Generic;
using System.Linq;
using ModelGen.Compiler.Declarations;
using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Ops;
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
    public static ModelProgram CausalLanguageModel(ModelSpec spec, int vocabulary, int context, GraphOf build, InsideOutputs? inside = null)
    {
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

        if (inside is { Names.Count: > 0 })
        {
            inference.Add(new EntryPoint("Forward", EntryKind.Infer, [tokens], ["logits", .. inside.Names], forward) { Time = Dim.Time(inside.Chunk(chunk, context)), Continues = true, EveryStep = true });
        }

        int most = MaxBatch(spec);
        if (most > 1)
        {
            Dim rows = Dim.Batch(most);
            Input[] where = [new Input(EntryPoint.SequencesInput, TensorType.Int(Shape.Of(rows)), most), .. context > 0 ? [new Input(EntryPoint.PositionsInput, TensorType.Int(Shape.Of(rows)), context)] : Array.Empty<Input>()];
            inference.Add(new EntryPoint("DecodeBatch", EntryKind.Infer, [tokens, .. where], ["logits"], forward) { Batch = rows, ContinuesEach = true });
        }

        return Of(ProgramAdapter.CausalLanguageModel, spec, tokens, targets, build, inference) with { Context = context, MaxBatch = most };
    }

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
    {
        var entries = new List<EntryPoint>(inference);
        if (spec.Training is { } training)
        {
            Func<ModelGraph> graph = Once(() => build(inputs, targets));
            foreach ((string name, EntryKind kind, string output) in new[] { ("Step", EntryKind.Step, "loss"), ("Evaluate", EntryKind.Evaluate, "losses") })
            {
                entries.Add(new EntryPoint(name, kind, [inputs, targets], [output], graph) { Batch = training.BatchSize, Time = Math.Max(1, training.SequenceLength) });
            }
        }

        return new ModelProgram(adapter, entries) { Training = spec.Training };
    }

    private static Func<ModelGraph> Once(Func<ModelGraph> build)
    {
        var graph = new Lazy<ModelGraph>(build);
        return () => graph.Value;
    }
}

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
