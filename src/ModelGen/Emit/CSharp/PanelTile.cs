namespace ModelGen.Compiler.Emit.CSharp;

/// <summary>
/// The register tile of matrix products: for each step of the contraction a row of <c>Vectors</c> vectors from a packed panel, and
/// an element of each of <c>Rows</c> rows, either from a packed strip or from where the rows lie. It knows no shape, so the runtime
/// has it.
/// </summary>
/// <param name="V">The vector width.</param>
/// <param name="Rows">Rows that are computed.</param>
/// <param name="Vectors">Vectors of a row.</param>
/// <param name="StripStep">Elements from one step of a packed strip to the next; 0 where the left operand's rows are read where they lie.</param>
/// <param name="AheadVectors">Vectors of a row of what is multiplied next, where such rows are copied, one after each so many steps; otherwise 0.</param>
/// <param name="Fetches">Whether rows that are multiplied next, as far apart as those of the tile, are asked for meanwhile.</param>
internal sealed record PanelTile(Spelling V, int Rows, int Vectors, int StripStep, int AheadVectors, bool Fetches = false)
{
    /// <summary>A call of the tile.</summary>
    /// <param name="left">The strip, or the first row and the elements from one row to the next.</param>
    /// <param name="right">The panel.</param>
    /// <param name="result">The result's first element.</param>
    /// <param name="stride">Elements from one row of the result to the next.</param>
    /// <param name="depth">Steps of the contraction.</param>
    /// <param name="adds">A condition: whether the sums are added to what the result holds.</param>
    /// <param name="ahead">The steps for each row that is copied, or the elements from the rows to those that are asked for.</param>
    public string Call(string left, string right, string result, string stride, string depth, string adds = "false", string? ahead = null)
    {
        string name = $"RegisterTile.Multiply{(StripStep == 0 ? "Rows" : "Strip")}{(Fetches ? "Fetching" : AheadVectors > 0 ? "Ahead" : "")}<F{V.Bits}>";
        string shape = Fetches || AheadVectors > 0 ? CodeWriter.Number(Vectors) : $"{Rows}, {Vectors}";
        string strip = StripStep == 0 ? left : $"{left}, {StripStep}";
        string rest = Fetches ? $", {ahead}" : AheadVectors > 0 ? $", {adds}, &ahead, {AheadVectors}, {ahead}" : adds == "false" ? "" : $", {adds}";
        return $"{name}({shape}, {strip}, {right}, {Vectors * V.Lanes}, {result}, {stride}, {depth}{rest});";
    }
}
