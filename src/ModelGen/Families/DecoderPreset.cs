using System.Collections.Generic;
using ModelGen.Compiler.Declarations;

namespace ModelGen.Compiler.Families;

/// <summary>The defaults of a decoder's options, under the name of the attribute that has them.</summary>
internal sealed record DecoderPreset(string Name)
{
    public static DecoderPreset Plain { get; } = new("Decoder");

    public static IReadOnlyList<DecoderPreset> All { get; } =
    [
        Plain,
        new("Llama"),
        new("Mistral"),
        new("Qwen") { NormEpsilon = 1e-6, RotaryBase = 1e6, QueryKeyNorm = QueryKeyNorm.Head },
        new("Gemma")
        {
            NormEpsilon = 1e-6, RotaryBase = 1e6, WindowRotaryBase = 10_000, QueryKeyNorm = QueryKeyNorm.Head, Norm = Normalization.OffsetRootMeanSquare, NormPlacement = NormPlacement.Both,
            Activation = Activation.GeluTanh, TieEmbeddings = true, ScaleEmbeddings = true,
        },
        new("Lfm2") { RotaryBase = 1e6, QueryKeyNorm = QueryKeyNorm.Head, TieEmbeddings = true },
        new("Mamba2") { Mixer = TokenMixer.StateSpace, ConvolutionTaps = 4, ConvolutionBias = true, Positions = PositionEncoding.None, TieEmbeddings = true },
        new("Granite") { ConvolutionTaps = 4, ConvolutionBias = true, Positions = PositionEncoding.None, TieEmbeddings = true },
        new("GptOss") { RotaryBase = 150_000, Bias = true, RouterBias = true, AttentionSinks = true, Activation = Activation.QuickGelu, GateLimit = 7, UpOffset = 1 },
        new("Gemma4")
        {
            NormEpsilon = 1e-6, RotaryBase = 1e6, WindowRotaryBase = 10_000, GlobalRotaryFraction = 0.25, QueryKeyNorm = QueryKeyNorm.Head, ValueNorm = true, AttentionScale = 1, NormPlacement = NormPlacement.Both,
            Activation = Activation.GeluTanh, LayerScale = true, TieEmbeddings = true, ScaleEmbeddings = true,
        },
        new("Gemma3n")
        {
            NormEpsilon = 1e-6, RotaryBase = 1e6, WindowRotaryBase = 10_000, QueryKeyNorm = QueryKeyNorm.Head, ValueNorm = true, AttentionScale = 1, NormPlacement = NormPlacement.Both, Activation = Activation.GeluTanh, TieEmbeddings = true,
            ScaleEmbeddings = true, Streams = 4, LaurelRank = 64,
        },
        new("Phi") { Norm = Normalization.Layer, Form = BlockForm.Parallel, Activation = Activation.GeluTanh, GatedFeedForward = false, Bias = true, HeadBias = true },
    ];

    public double NormEpsilon { get; init; } = 1e-5;

    public double RotaryBase { get; init; } = 10_000;

    /// <summary>0 where it is <see cref="RotaryBase"/>.</summary>
    public double WindowRotaryBase { get; init; }

    public double GlobalRotaryFraction { get; init; } = 1;

    public bool ValueNorm { get; init; }

    public bool AttentionSinks { get; init; }

    /// <summary>0 where it follows from the width of heads.</summary>
    public double AttentionScale { get; init; }

    public bool LayerScale { get; init; }

    public bool RouterBias { get; init; }

    public int Streams { get; init; } = 1;

    public int LaurelRank { get; init; }

    /// <summary>0 for none.</summary>
    public double GateLimit { get; init; }

    public double UpOffset { get; init; }

    public bool TieEmbeddings { get; init; }

    /// <summary>Whether embeddings are multiplied by the square root of their width.</summary>
    public bool ScaleEmbeddings { get; init; }

    /// <summary>Whether the projections of attention and of the feed-forward network have biases.</summary>
    public bool Bias { get; init; }

    public bool HeadBias { get; init; }

    public Normalization Norm { get; init; }

    public NormPlacement NormPlacement { get; init; }

    public QueryKeyNorm QueryKeyNorm { get; init; }

    public BlockForm Form { get; init; }

    public Activation Activation { get; init; } = Activation.Silu;

    public bool GatedFeedForward { get; init; } = true;

    public PositionEncoding Positions { get; init; } = PositionEncoding.Rotary;

    /// <summary>What all layers have where none are declared.</summary>
    public TokenMixer Mixer { get; init; }

    public int ConvolutionTaps { get; init; } = 3;

    public bool ConvolutionBias { get; init; }
}
