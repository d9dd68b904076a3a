namespace ModelGen.Runtime;

/// <summary>
/// The two orders in which files keep the rows of query and key projections under rotary positions. A rotation turns pairs of a head's channels: Hugging Face's
/// layout pairs channel i with i + half of them, that of Meta's Llama, of llama2.c and of GGUF files of the architecture llama pairs neighbours.
/// </summary>
internal static class RotaryRows
{
    /// <summary>Where the row of the halves' layout lies among neighbours.</summary>
    public static long ToNeighbours(long row, int headWidth)
    {
        long within = row % headWidth;
        int half = headWidth / 2;
        return row - within + (within < half ? 2 * within : (2 * (within - half)) + 1);
    }

    /// <summary>Where the row of neighbours lies in the halves' layout.</summary>
    public static long ToHalves(long row, int headWidth)
    {
        long within = row % headWidth;
        return row - within + (within / 2) + (within % 2 == 0 ? 0 : headWidth / 2);
    }
}
