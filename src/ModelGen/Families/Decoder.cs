using System.Collections.Generic;
using System.Linq;
using ModelGen.Compiler.Programs;

namespace ModelGen.Compiler.Families;

/// <summary>
/// The decoder-only Transformers that came after GPT-2, which are one graph with different parts: Llama (Touvron et al. 2023) is what it is by default. Presets are
/// other defaults under a name of their own.
/// </summary>
internal sealed partial class Decoder(DecoderPreset preset) : IFamily
{
    /// <summary>[Decoder] and its presets.</summary>
    public static IReadOnlyList<IFamily> All { get; } = [.. DecoderPreset.All.Select(preset => new Decoder(preset))];

    public string Name => preset.Name;

    public string AttributeMetadataName => $"ModelGen.{preset.Name}Attribute";

    public bool HasSequence => true;

    public ModelProgram Describe(ModelSpec spec)
    {
        DecoderOptions options = DecoderOptions.Of(spec, preset);
        var inside = new InsideOutputs(
            options.HiddenStates ? options.Layers + 1 : 0, options.Width, options.AttentionWeights ? options.AttentionLayers : 0, options.Heads);
        return CommonPrograms.CausalLanguageModel(spec, options.Vocabulary, options.Context, (tokens, targets) => new DecoderBuilder(options, targets is not null).Build(tokens, targets), inside, options.HasPositions) with { Files = Files(options) };
    }
}
