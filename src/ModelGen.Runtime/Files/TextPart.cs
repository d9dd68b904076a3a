namespace ModelGen.Runtime;

/// <summary>
/// The language model of a checkpoint that has encoders of pictures or sound beside it, under the names that it has alone: of <c>model.language_model.layers.0.…</c> beside <c>model.vision_tower.…</c>, <c>model.layers.0.…</c>, and of <c>language_model.model.layers.0.…</c>, which older files have, the same.
/// </summary>
internal static class TextPart
{
    private const string Inner = "model.language_model.";
    private const string Outer = "language_model.";
    private const string Head = "lm_head.";

    /// <summary>The file, or a view of its language model that is to be closed instead.</summary>
    public static WeightFile Of(WeightFile file)
        => file.Tensors.Has(static tensor => tensor.Name.StartsWith(Inner, StringComparison.Ordinal)) ? RearrangedFile.Of(file, static tensor =>
            tensor.Name.StartsWith(Inner, StringComparison.Ordinal) ? [RearrangedFile.Rows.Of(string.Concat("model.", tensor.Name.AsSpan(Inner.Length)), tensor.Shape, tensor)]
                : tensor.Name.StartsWith(Head, StringComparison.Ordinal) ? null
                : [])
        : file.Tensors.Has(static tensor => tensor.Name.StartsWith(Outer + "model.", StringComparison.Ordinal)) ? RearrangedFile.Of(file, static tensor =>
            tensor.Name.StartsWith(Outer, StringComparison.Ordinal) ? [RearrangedFile.Rows.Of(tensor.Name[Outer.Length..], tensor.Shape, tensor)] : [])
        : file;
}
