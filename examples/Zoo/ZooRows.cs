using Zoo.Rows;

namespace Zoo;

internal static class ZooRows
{
    /// <summary>Every row, in the order of the table.</summary>
    public static IReadOnlyList<ZooRow> All { get; } =
    [
        new MlpRow(),
        new NGramRow(),
        new GptRow(),
        new DecoderRow(),
        new TagRow(),
        new GradientsRow(),
        new SeriesRow(),
        new TranslateRow(),
        new TransformerRow(),
        new InContextRow(),
        new LongAttentionRow(),
        new WordsRow(),
        new NnlmRow(),
        new BertRow(),
    ];
}
