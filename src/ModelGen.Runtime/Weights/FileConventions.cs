using System.ComponentModel;

namespace ModelGen.Runtime;

/// <summary>
/// A second name of a parameter: a file may hold a copy of it under this name, such as the head's of a tied embedding, or may hold it
/// under this name alone.
/// </summary>
/// <param name="Name">The name in files.</param>
/// <param name="Parameter">The parameter.</param>
[EditorBrowsable(EditorBrowsableState.Never)]
public sealed record TensorAlias(string Name, string Parameter);

/// <summary>A tensor that files may hold and that carries no weights, such as a causal mask.</summary>
/// <param name="Pattern">The name, in which <c>#</c> stands for a number.</param>
/// <param name="Rank">The number of extents: a tensor of another rank is something else.</param>
[EditorBrowsable(EditorBrowsableState.Never)]
public sealed record KnownBuffer(string Pattern, int Rank);

/// <summary>One option of a model's declaration, as its files record it: weights computed with under another one are another model's.</summary>
/// <param name="Name">The option.</param>
/// <param name="Value">Its value; where it was not given, the one that holds.</param>
/// <param name="TrainingOnly">Whether only training computes with it, so that a checkpoint must agree but a weight file need not.</param>
[EditorBrowsable(EditorBrowsableState.Never)]
public sealed record DeclaredOption(string Name, string Value, bool TrainingOnly = false)
{
    /// <summary>The value that a file has which records a declaration and not this option, since models of that value do not record it; null where it may be any.</summary>
    public string? Absent { get; init; }

    /// <summary>Whether it only says how long sequences may be: a file of another limit fits, and a trainer tells of it (<see cref="Trainer.ChangedSettings"/>).</summary>
    public bool IsLimit { get; init; }
}
