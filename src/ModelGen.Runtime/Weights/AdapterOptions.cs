using System.ComponentModel;

namespace ModelGen.Runtime;

/// <summary>A model's low-rank adapters.</summary>
/// <param name="Rank">The rank of an update.</param>
/// <param name="Alpha">What an update is scaled with, times the rank.</param>
[EditorBrowsable(EditorBrowsableState.Never)]
public sealed record AdapterOptions(int Rank, float Alpha)
{
    /// <summary>What stands before the names of the options of adapters among those of a declaration.</summary>
    internal const string Prefix = "Lora.";

    /// <summary>What an update is multiplied with.</summary>
    internal double Scale => (double)Alpha / Rank;
}
