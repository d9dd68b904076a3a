using System;
using System.Collections.Generic;
using System.Linq;
using ModelGen.Compiler.Declarations;
using ModelGen.Compiler.Diagnostics;
using ModelGen.Compiler.Passes;
using ModelGen.Compiler.Programs;

namespace ModelGen.Compiler.Families;

/// <content>Which declarations make sense.</content>
internal sealed partial class Decoder
{
    // Each is predicted from each.
    private const int MostStreams = 16;

    // A worker counts what each of them gets on its stack.
    private const int MostExperts = 1024;

    public void Validate(ModelSpec spec, Action<SpecProblem> report)
    {
        DecoderOptions options = DecoderOptions.Of(spec, preset);
        var checks = new ArgumentChecks(spec, report);
        bool layersHold = checks.RequireSize("Layers") && checks.AtMost("Layers", "Layers", options.Layers, SizeLimits.Layers);
        bool modelHolds = checks.RequireSize("DModel");
        bool headsHold = options.Attends ? checks.RequireSize("Heads") : checks.OptionalSize("Heads", minimum: 0);
        bool keyHeadsHold = checks.OptionalSize("KeyValueHeads", minimum: 0);
        bool headWidthHolds = checks.OptionalSize("HeadWidth", minimum: 0);
        bool vocabHolds = checks.RequireSize("Vocab");
        bool feedForwardHolds = options.Mixing.Is(TokenMixer.StateSpace) ? checks.OptionalSize("FeedForward", minimum: 0) : checks.RequireSize("FeedForward");
        SelfAttentionOptions attention = options.Attention;
        if (feedForwardHolds && options.FeedForward == 0)
        {
            foreach (string name in new[] { "Activation", "GatedFeedForward", "FeedForwardBias", "Experts", "Form" }.Where(spec.Has))
            {
                report(new SpecProblem(DiagnosticIds.UnsupportedCombination, name, [name, "no FeedForward", "there is no network behind the mixer"]));
            }
        }

        bool contextHolds = options.IsEndless ? checks.OptionalSize("Context", minimum: 0) : checks.RequireSize("Context");
        bool attentionHolds = attention.Validate(spec, checks, options.Layers, modelHolds ? options.Width : 0, report);
        if (options.AttentionWeights && options.IsEndless && contextHolds && options.Context == 0)
        {
            report(new SpecProblem(DiagnosticIds.UnsupportedCombination, "AttentionWeights", ["AttentionWeights", "no Context", "weights are handed out for every position that a sequence may have"]));
        }

        bool mixersHold = options.Mixing.Validate(spec, checks, options.Layers, layersHold, report);
        bool expertsHold = ValidateExperts(spec, checks, options, report);
        bool listsHold = ValidateLayerSizes(spec, checks, options, layersHold, report) & checks.OptionalSize("Streams") && checks.AtMost("Streams", "Streams", options.Streams, MostStreams);
        ValidateGates(spec, checks, options, report);
        checks.OptionalPositive("NormEpsilon");
        bool scaleHolds = checks.OptionalPositiveOrZero("AttentionScale");
        checks.OptionalPositiveOrZero("EmbeddingMultiplier");
        checks.OptionalPositive("ResidualMultiplier");
        bool logitsHold = checks.OptionalPositive("LogitScale");
        Cap("LogitSoftCap", options.LogitSoftCap, logitsHold, options.LogitScale);
        if (Cap("AttentionSoftCap", options.AttentionSoftCap, scaleHolds, options.AttentionScale)
            && options.AttentionSoftCap > 0 && attention.Positions is PositionEncoding.Alibi or PositionEncoding.Relative)
        {
            report(new SpecProblem(DiagnosticIds.UnsupportedCombination, "AttentionSoftCap", ["AttentionSoftCap", $"PositionEncoding.{attention.Positions}", "a bias that grows with the distance is not capped"]));
        }

        if (spec.Has("NormBias") && !options.HasLayerNorm)
        {
            report(new SpecProblem(DiagnosticIds.UnsupportedCombination, "NormBias", ["NormBias", $"Normalization.{options.Norm}", "only Normalization.Layer and OffsetLayer have biases"]));
        }

        if (options is { Form: not BlockForm.Sequential, NormPlacement: not NormPlacement.Before })
        {
            report(new SpecProblem(DiagnosticIds.UnsupportedCombination, "NormPlacement", [$"NormPlacement.{options.NormPlacement}", $"BlockForm.{options.Form}", "what runs beside each other is normalized before"]));
        }

        checks.OptionalProbability("Dropout");
        if (modelHolds && headsHold && headWidthHolds && spec.Int("HeadWidth", 0) == 0 && options.LayerHeadWidths.Count == 0 && options.Width % options.Heads != 0)
        {
            headWidthHolds = false;
            report(new SpecProblem(DiagnosticIds.HeadsDoNotDivide, "DModel", ["DModel", "Heads", $"{options.Width}", $"{options.Heads}"]));
        }

        if (headsHold && keyHeadsHold && options.Heads % options.KeyValueHeads != 0)
        {
            report(new SpecProblem(DiagnosticIds.HeadsDoNotDivide, "KeyValueHeads", ["Heads", "KeyValueHeads", $"{options.Heads}", $"{options.KeyValueHeads}"]));
        }

        bool sizesHold = modelHolds && headsHold && headWidthHolds && listsHold;
        if (sizesHold && keyHeadsHold)
        {
            foreach (int keyHeads in options.LayerKeyValueHeads.Where(h => options.Heads % h != 0).Distinct())
            {
                report(new SpecProblem(DiagnosticIds.HeadsDoNotDivide, "LayerKeyValueHeads", ["Heads", "LayerKeyValueHeads", $"{options.Heads}", $"{keyHeads}"]));
            }

            sizesHold &= ValidateSharing(options, layersHold && mixersHold && attentionHolds, report);
        }

        if (sizesHold && keyHeadsHold && (options.LayerHeadWidths.Count == 0 ? [options.HeadWidth] : options.LayerHeadWidths).FirstOrDefault(width => !CacheFormats.Suits(spec.KeyValueCache, width)) is > 0 and int unsuited)
        {
            report(new SpecProblem(DiagnosticIds.UnsupportedCombination, "KeyValueCache", [$"CacheFormat.{spec.KeyValueCache}", $"heads of {unsuited}", "its blocks are 32 numbers of one head"]));
        }

        bool rotaryHolds = options.Rotary.Validate(spec, checks, layersHold ? options.Layers : 0, attention.Positions == PositionEncoding.Rotary, sizesHold && options.LayerHeadWidths.Count == 0 ? options.HeadWidth : 0, attention.Positions, report);
        if (rotaryHolds && sizesHold && attention.Positions == PositionEncoding.Rotary && options.LayerHeadWidths.FirstOrDefault(w => !options.Rotary.Fits(w)) is > 0 and int odd)
        {
            rotaryHolds = options.Rotary.ValidateWidth(spec, odd, "LayerHeadWidths", report);
        }

        if (contextHolds && options.Context > 0 && spec.Training is { } training && training.SequenceLength > options.Context)
        {
            report(new SpecProblem(DiagnosticIds.ContextTooShort, "SequenceLength", [$"{training.SequenceLength}", $"{options.Context}"], "Trainable"));
        }

        if (layersHold && mixersHold && expertsHold && sizesHold && keyHeadsHold && vocabHolds && contextHolds && attentionHolds && rotaryHolds && feedForwardHolds)
        {
            // Real numbers, since as integers the products could overflow.
            double width = options.Width, headWidth = options.HeadWidths.Max(), vocabulary = options.Vocabulary;
            double KeysOf(int layer) => options.KeyValueHeadsOf(layer) * (double)options.HeadWidthOf(layer);
            double queries = options.Heads * headWidth, keys = Enumerable.Range(0, options.Layers).Max(KeysOf), perLayer = options.Layers * (double)options.PerLayerWidth;
            double hidden = Math.Max(Math.Max(options.Mixing.Widest(width), queries + (2 * keys) + (options.AttentionOutputGate ? queries : 0)), Math.Max(Math.Max(Math.Max(1, options.ActiveExperts) * Math.Max((double)options.WidestFeedForward, options.Experts > 0 ? width : 0), perLayer), Math.Max(options.SharedFeedForward, options.Experts)));
            double table = attention.Positions == PositionEncoding.Rotary ? options.Context * headWidth : attention.HasTable ? options.Context * width : 1;
            double largest = Math.Max(Math.Max(Math.Max(table, perLayer * vocabulary), options.Experts * width * options.WidestFeedForward), width * Math.Max(vocabulary, hidden));

            // A run takes a chunk of the context and gives one row of logits; the caches hold all keys that are seen.
            double[] caches = [.. Enumerable.Range(0, options.Layers).Select(layer => options.MixerOf(layer) == TokenMixer.Attention && options.KeysFrom(layer) == layer ? attention.CacheRows(layer, options.Context) : 0)];
            double carried = Enumerable.Range(0, options.Layers).Sum(layer => options.Mixing.Carried(options.MixerOf(layer), width));
            double rows = caches.Max();
            double inferred = Math.Max(vocabulary, Math.Max(Math.Min(rows, CommonPrograms.LargestChunk) * hidden, rows * keys));
            double biases = attention.BiasElements(options.Heads) / Math.Max(1, spec.Training?.SequenceLength ?? 1);
            checks.ModelSize(spec, largest, inferred, widest: Math.Max(Math.Max(vocabulary, hidden), biases));
            CommonPrograms.ValidateSessions(spec, checks, states: (2 * caches.Select((cached, layer) => cached * KeysOf(layer)).Sum()) + carried, Math.Max(vocabulary, hidden));
        }

        // What is capped is divided by the cap and multiplied by it: neither may overflow in single precision.
        bool Cap(string name, double cap, bool factorHolds, double factor)
            => checks.OptionalPositiveOrZero(name)
                && (cap.Equals(0.0) || !factorHolds || checks.OptionalReal(name, (float)(cap / factor) is > 0 and < float.PositiveInfinity && (float)(factor / cap) is > 0 and < float.PositiveInfinity, "neither too large nor too small beside the factor of what it caps, in single precision"));
    }

    private static void ValidateGates(ModelSpec spec, ArgumentChecks checks, DecoderOptions options, Action<SpecProblem> report)
    {
        checks.OptionalPositiveOrZero("GateLimit");
        checks.OptionalReal("UpOffset", (float)options.UpOffset is > float.NegativeInfinity and < float.PositiveInfinity, "finite in single precision");
        foreach (string name in new[] { "GateLimit", "UpOffset" }.Where(name => !options.GatedFeedForward && spec.Has(name)))
        {
            report(new SpecProblem(DiagnosticIds.UnsupportedCombination, name, [name, "GatedFeedForward = false", "only a gated network has a gate and what it lets through"]));
        }

        if (spec.Has("GlobalRotaryFraction") && options.Rotary.Layout == RotaryLayout.Interleaved)
        {
            report(new SpecProblem(DiagnosticIds.UnsupportedCombination, "GlobalRotaryFraction", ["GlobalRotaryFraction", "RotaryLayout.Interleaved", "pairs that stand still are columns half a head apart"]));
        }

        if (checks.OptionalSize("LaurelRank", minimum: 0) && options.LaurelRank > 0 && (options.Form != BlockForm.Sequential || options.NormPlacement == NormPlacement.After))
        {
            report(new SpecProblem(DiagnosticIds.UnsupportedCombination, spec.Has("LaurelRank") ? "LaurelRank" : options.Form != BlockForm.Sequential ? "Form" : "NormPlacement",
                ["LaurelRank", options.Form != BlockForm.Sequential ? $"BlockForm.{options.Form}" : "NormPlacement.After", "what stands beside attention reads what is normalized before it"]));
        }

        if (spec.Has("LayerSparsity") && (!options.GatedFeedForward || options.Experts > 0))
        {
            report(new SpecProblem(DiagnosticIds.UnsupportedCombination, "LayerSparsity", ["LayerSparsity", options.Experts > 0 ? "Experts" : "GatedFeedForward = false", "only the gate of one network is left out in parts"]));
        }

        if (spec.Has("LayerSparsity") && options.LayerSparsity.Count == 0)
        {
            report(new SpecProblem(DiagnosticIds.OutOfRange, "LayerSparsity", ["LayerSparsity", "a list of shares", "an empty list"]));
        }

        for (int i = 0; i < options.LayerSparsity.Count; i++)
        {
            if (options.LayerSparsity[i] is not (>= 0 and <= 0.9999))
            {
                report(new SpecProblem(DiagnosticIds.OutOfRange, "LayerSparsity", [$"LayerSparsity[{i}]", "0 to 0.9999", options.LayerSparsity[i].ToString("R", System.Globalization.CultureInfo.InvariantCulture)]) { Element = i });
            }
        }

        if (options.PerLayerWidth > 0 && options.Form != BlockForm.Sequential)
        {
            report(new SpecProblem(DiagnosticIds.UnsupportedCombination, "PerLayerWidth", ["PerLayerWidth", $"BlockForm.{options.Form}", "what a layer knows of its token follows the feed-forward network"]));
        }
    }

    /// <summary>The lists of sizes that layers have, and the counts beside them.</summary>
    private static bool ValidateLayerSizes(ModelSpec spec, ArgumentChecks checks, DecoderOptions options, bool layersHold, Action<SpecProblem> report)
    {
        bool holds = checks.OptionalSize("PerLayerWidth", minimum: 0) & checks.OptionalSize("SharedKeyValueLayers", minimum: 0)
            && (!layersHold || checks.AtMost("SharedKeyValueLayers", "SharedKeyValueLayers, fewer than there are layers,", options.SharedKeyValueLayers, options.Layers - 1));
        foreach ((string name, EquatableArray<int> sizes) in new[] { ("LayerHeadWidths", options.LayerHeadWidths), ("LayerKeyValueHeads", options.LayerKeyValueHeads), ("LayerFeedForward", options.LayerFeedForward) })
        {
            if (!spec.Has(name))
            {
                continue;
            }

            if (sizes.Count == 0 || (layersHold && sizes.Count > options.Layers))
            {
                report(new SpecProblem(DiagnosticIds.OutOfRange, name, [name, $"a list of sizes, for {(options.Layers == 1 ? "1 layer" : $"{options.Layers} layers")} at the most", sizes.Count == 0 ? "an empty list" : $"a list of {sizes.Count}"]));
                holds = false;
            }

            for (int i = 0; i < sizes.Count; i++)
            {
                if (sizes[i] < 1)
                {
                    report(new SpecProblem(DiagnosticIds.OutOfRange, name, [$"{name}[{i}]", "1 or more", $"{sizes[i]}"]) { Element = i });
                    holds = false;
                }
            }
        }

        return holds;
    }

    /// <summary>Layers that take the keys and values of earlier ones need one with the same heads, that sees the same.</summary>
    private static bool ValidateSharing(DecoderOptions options, bool layersHold, Action<SpecProblem> report)
    {
        if (!layersHold || options.SharedKeyValueLayers == 0)
        {
            return true;
        }

        for (int layer = options.Layers - options.SharedKeyValueLayers; layer < options.Layers; layer++)
        {
            if (options.MixerOf(layer) == TokenMixer.Attention && options.KeysFrom(layer) == layer)
            {
                report(new SpecProblem(DiagnosticIds.UnsupportedCombination, "SharedKeyValueLayers", ["SharedKeyValueLayers", $"layer {layer}", "no layer that keeps its keys and values has its window, its head width and its heads"]));
                return false;
            }
        }

        return true;
    }

    private static bool ValidateExperts(ModelSpec spec, ArgumentChecks checks, DecoderOptions options, Action<SpecProblem> report)
    {
        if (!checks.OptionalSize("Experts", minimum: 0) || !checks.AtMost("Experts", "Experts", options.Experts, MostExperts))
        {
            return false;
        }

        if (options.Experts == 0)
        {
            foreach (string name in new[] { "ActiveExperts", "NormalizeExperts", "RouterBias", "SharedFeedForward", "SharedExpertGate", "BalanceLoss" }.Where(spec.Has))
            {
                report(new SpecProblem(DiagnosticIds.UnsupportedCombination, name, [name, "no Experts", "only a mixture of experts chooses"]));
            }

            return true;
        }

        if (spec.Has("SharedExpertGate") && options.SharedFeedForward == 0)
        {
            report(new SpecProblem(DiagnosticIds.UnsupportedCombination, "SharedExpertGate", ["SharedExpertGate", "no SharedFeedForward", "there is nothing to let through"]));
        }

        checks.OptionalReal("BalanceLoss", (float)options.BalanceLoss is >= 0 and < float.PositiveInfinity, "finite and at least 0 in single precision");
        return checks.OptionalSize("SharedFeedForward", minimum: 0) & (checks.RequireSize("ActiveExperts") && checks.AtMost("ActiveExperts", "ActiveExperts, of so many Experts,", options.ActiveExperts, options.Experts));
    }
}
