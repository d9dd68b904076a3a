using System;
using System.Collections.Generic;
using System.Linq;
using ModelGen.Compiler.Declarations;
using ModelGen.Compiler.Graph;

namespace ModelGen.Compiler.Families;

/// <summary>A declaration's options, with the defaults in the place of what was not given.</summary>
internal sealed record DecoderOptions(int Layers, int Width, int Heads, int Vocabulary, int Context)
{
    public int KeyValueHeads { get; private init; }

    public int HeadWidth { get; private init; }

    /// <summary>The sizes of layers, from the first one again where there are more layers; empty where all have the one above.</summary>
    public EquatableArray<int> LayerHeadWidths { get; private init; } = [];

    public EquatableArray<int> LayerKeyValueHeads { get; private init; } = [];

    public EquatableArray<int> LayerFeedForward { get; private init; } = [];

    /// <summary>How many of the last layers take the keys and values of earlier ones.</summary>
    public int SharedKeyValueLayers { get; private init; }

    public bool ValueNorm { get; private init; }

    public bool AttentionSinks { get; private init; }

    /// <summary>The width of what each layer knows of a token beside the residual stream; 0 for nothing.</summary>
    public int PerLayerWidth { get; private init; }

    public bool LayerScale { get; private init; }

    /// <summary>The residual streams; a block computes the first of them.</summary>
    public int Streams { get; private init; } = 1;

    /// <summary>The rank of the product beside attention; 0 for none.</summary>
    public int LaurelRank { get; private init; }

    /// <summary>The share of each layer's gates that is left out, from the first layer again where there are more; empty for none.</summary>
    public EquatableArray<double> LayerSparsity { get; private init; } = [];

    /// <summary>What a gate is at the most, and what it lets through in either direction; 0 for anything.</summary>
    public double GateLimit { get; private init; }

    public double UpOffset { get; private init; }

    public bool RouterBias { get; private init; }

    private double GivenAttentionScale { get; init; }

    public SelfAttentionOptions Attention { get; private init; } = null!;

    public RotaryOptions Rotary { get; private init; } = null!;

    public TokenMixerOptions Mixing { get; private init; } = null!;

    public bool AttentionOutputGate { get; private init; }

    /// <summary>Feed-forward networks of a layer's mixture; 0 for one network that all tokens go through.</summary>
    public int Experts { get; private init; }

    public int ActiveExperts { get; private init; }

    public bool NormalizeExperts { get; private init; }

    public int SharedFeedForward { get; private init; }

    public bool SharedExpertGate { get; private init; }

    public double BalanceLoss { get; private init; }

    public double AttentionScale { get; private init; }

    public double AttentionSoftCap { get; private init; }

    public QueryKeyNorm QueryKeyNorm { get; private init; }

    public int FeedForward { get; private init; }

    public Activation Activation { get; private init; }

    public bool GatedFeedForward { get; private init; }

    public Normalization Norm { get; private init; }

    public NormPlacement NormPlacement { get; private init; }

    public double NormEpsilon { get; private init; }

    public bool NormBias { get; private init; }

    /// <summary>Whether norms subtract the mean, and may have biases.</summary>
    public bool HasLayerNorm => Norm is Normalization.Layer or Normalization.OffsetLayer;

    /// <summary>Whether the sum of the embeddings is normalized.</summary>
    public bool EmbeddingNorm { get; private init; }

    public BlockForm Form { get; private init; }

    public bool TieEmbeddings { get; private init; }

    public bool QkvBias { get; private init; }

    public bool OutputBias { get; private init; }

    public bool FeedForwardBias { get; private init; }

    public bool HeadBias { get; private init; }

    public double EmbeddingMultiplier { get; private init; }

    public double ResidualMultiplier { get; private init; }

    public double LogitScale { get; private init; }

    public double LogitSoftCap { get; private init; }

    public double Dropout { get; private init; }

    public Recomputation Recompute { get; private init; }

    public bool HiddenStates { get; private init; }

    public bool AttentionWeights { get; private init; }

    /// <summary>Whether any layer may have attention.</summary>
    public bool Attends => Mixing.Mixers.Count == 0 || Mixing.Mixes(TokenMixer.Attention);

    /// <summary>The layers that have attention.</summary>
    public int AttentionLayers => Enumerable.Range(0, Layers).Count(layer => MixerOf(layer) == TokenMixer.Attention);

    public int HeadWidthOf(int layer) => LayerHeadWidths.Count == 0 ? HeadWidth : LayerHeadWidths[layer % LayerHeadWidths.Count];

    public int KeyValueHeadsOf(int layer) => LayerKeyValueHeads.Count == 0 ? KeyValueHeads : LayerKeyValueHeads[layer % LayerKeyValueHeads.Count];

    public double SparsityOf(int layer) => LayerSparsity.Count == 0 ? 0 : LayerSparsity[layer % LayerSparsity.Count];

    public int FeedForwardOf(int layer) => LayerFeedForward.Count == 0 ? FeedForward : LayerFeedForward[layer % LayerFeedForward.Count];

    /// <summary>The widths of heads that there are, the first layer's first.</summary>
    public IReadOnlyList<int> HeadWidths => LayerHeadWidths.Count == 0 ? [HeadWidth] : [.. LayerHeadWidths.Distinct()];

    public int WidestFeedForward => LayerFeedForward.Count == 0 ? FeedForward : LayerFeedForward.Max();

    public double AttentionScaleOf(int layer) => GivenAttentionScale > 0 ? GivenAttentionScale : 1 / Math.Sqrt(Math.Max(1, HeadWidthOf(layer)));

    /// <summary>The layer whose keys and values a layer takes: its own or, for the last ones, the last of the others that sees the same with the same heads.</summary>
    public int KeysFrom(int layer)
    {
        int first = Layers - SharedKeyValueLayers;
        for (int source = first - 1; layer >= first && source >= 0; source--)
        {
            if (MixerOf(source) == TokenMixer.Attention && Attention.RangeOf(source, isCausal: true).Equals(Attention.RangeOf(layer, isCausal: true))
                && HeadWidthOf(source) == HeadWidthOf(layer) && KeyValueHeadsOf(source) == KeyValueHeadsOf(layer) && Rotary.Turns(source) == Rotary.Turns(layer))
            {
                return source;
            }
        }

        return layer;
    }

    public TokenMixer MixerOf(int layer) => Mixing.MixerOf(layer);

    /// <summary>Whether a token's place matters: to attention, or since it is added to its embedding.</summary>
    public bool HasPositions => AttentionLayers > 0 || Attention is { HasTable: true, Positions: not PositionEncoding.Rotary };

    /// <summary>Whether sequences have no last position.</summary>
    public bool IsEndless => AttentionLayers == 0 ? !Attention.HasTable : Attention.IsEndless;

    public static DecoderOptions Of(ModelSpec spec, DecoderPreset preset)
    {
        var mixing = TokenMixerOptions.Of(spec, preset);

        // Where no layer attends, nothing has heads.
        int width = spec.Int("DModel", 0), heads = mixing.Mixers.Count == 0 || mixing.Mixes(TokenMixer.Attention) ? spec.Int("Heads", 0) : spec.Size("Heads", 1), headWidth = spec.Size("HeadWidth", width / Math.Max(1, heads));
        double Real(string name, double otherwise) => spec.Real(name, 0) is not 0 and double given ? given : otherwise;
        return new DecoderOptions(spec.Int("Layers", 0), width, heads, spec.Int("Vocab", 0), spec.Int("Context", 0))
        {
            KeyValueHeads = spec.Size("KeyValueHeads", heads),
            HeadWidth = headWidth,
            Attention = SelfAttentionOptions.Of(spec, AttentionDirections.Causal, preset.Positions, hasRotary: true),
            Rotary = RotaryOptions.Of(spec, preset.RotaryBase, preset.WindowRotaryBase, preset.GlobalRotaryFraction),
            Mixing = mixing,
            LayerHeadWidths = spec.Ints("LayerHeadWidths"),
            LayerKeyValueHeads = spec.Ints("LayerKeyValueHeads"),
            LayerFeedForward = spec.Ints("LayerFeedForward"),
            SharedKeyValueLayers = spec.Int("SharedKeyValueLayers", 0),
            ValueNorm = spec.Flag("ValueNorm", preset.ValueNorm),
            AttentionSinks = spec.Flag("AttentionSinks", preset.AttentionSinks),
            PerLayerWidth = spec.Int("PerLayerWidth", 0),
            LayerScale = spec.Flag("LayerScale", preset.LayerScale),
            Streams = spec.Int("Streams", preset.Streams),
            LaurelRank = spec.Int("LaurelRank", preset.LaurelRank),
            LayerSparsity = spec.Reals("LayerSparsity"),
            GateLimit = spec.Real("GateLimit", preset.GateLimit),
            UpOffset = spec.Real("UpOffset", preset.UpOffset),
            RouterBias = spec.Flag("RouterBias", preset.RouterBias),
            GivenAttentionScale = Real("AttentionScale", preset.AttentionScale),
            AttentionOutputGate = spec.Flag("AttentionOutputGate", false),
            Experts = spec.Int("Experts", 0),
            ActiveExperts = spec.Int("ActiveExperts", 0),
            NormalizeExperts = spec.Flag("NormalizeExperts", true),
            SharedFeedForward = spec.Int("SharedFeedForward", 0),
            SharedExpertGate = spec.Flag("SharedExpertGate", false),
            BalanceLoss = spec.Real("BalanceLoss", 0),
            AttentionScale = Real("AttentionScale", preset.AttentionScale > 0 ? preset.AttentionScale : 1 / Math.Sqrt(Math.Max(1, headWidth))),
            AttentionSoftCap = spec.Real("AttentionSoftCap", 0),
            QueryKeyNorm = spec.Choice("QueryKeyNorm", preset.QueryKeyNorm),
            FeedForward = spec.Int("FeedForward", 0),
            Activation = spec.Choice("Activation", preset.Activation),
            GatedFeedForward = spec.Flag("GatedFeedForward", preset.GatedFeedForward),
            Norm = spec.Choice("Norm", preset.Norm),
            NormPlacement = spec.Choice("NormPlacement", preset.NormPlacement),
            NormEpsilon = spec.Real("NormEpsilon", preset.NormEpsilon),
            NormBias = spec.Flag("NormBias", true),
            EmbeddingNorm = spec.Flag("EmbeddingNorm", false),
            Form = spec.Choice("Form", preset.Form),
            TieEmbeddings = spec.Flag("TieEmbeddings", preset.TieEmbeddings),
            QkvBias = spec.Flag("QkvBias", preset.Bias),
            OutputBias = spec.Flag("OutputBias", preset.Bias),
            FeedForwardBias = spec.Flag("FeedForwardBias", preset.Bias),
            HeadBias = spec.Flag("HeadBias", preset.HeadBias),
            EmbeddingMultiplier = Real("EmbeddingMultiplier", preset.ScaleEmbeddings ? Math.Sqrt(width) : 1),
            ResidualMultiplier = spec.Real("ResidualMultiplier", 1),
            LogitScale = spec.Real("LogitScale", 1),
            LogitSoftCap = spec.Real("LogitSoftCap", 0),
            Dropout = spec.Real("Dropout", 0),
            Recompute = spec.Choice("Recompute", Recomputation.None),
            HiddenStates = spec.Flag("HiddenStates", false),
            AttentionWeights = spec.Flag("AttentionWeights", false),
        };
    }
}
