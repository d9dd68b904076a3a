using System.ComponentModel;

namespace ModelGen.Runtime;

/// <summary>A model's low-rank adapters.</summary>
/// <param name="Rank">The rank of an update.</param>
/// <param name="Alpha">What an update is scaled with, times the rank.</param>
/// <exception cref="ArgumentOutOfRangeException">The rank is less than 1, or alpha is no positive, finite number.</exception>
[EditorBrowsable(EditorBrowsableState.Never)]
public sealed record AdapterOptions(int Rank, float Alpha)
{
    /// <summary>The rank of an update.</summary>
    public int Rank { get; init; } = Rank >= 1 ? Rank : throw new ArgumentOutOfRangeException(nameof(Rank), Rank, "The rank of an update must be at least 1.");

    /// <summary>What an update is scaled with, times the rank.</summary>
    public float Alpha { get; init; } = Alpha > 0 && float.IsFinite(Alpha) ? Alpha : throw new ArgumentOutOfRangeException(nameof(Alpha), Alpha, "Alpha must be a positive, finite number.");

    /// <summary>What stands before the names of the options of adapters among those of a declaration.</summary>
    internal const string Prefix = "Lora.";

    /// <summary>What an update is multiplied with.</summary>
    internal double Scale => (double)Alpha / Rank;
}
