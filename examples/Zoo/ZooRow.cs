namespace Zoo;

/// <summary>
/// One family of the zoo: a model that is trained on data that can go wrong, and the figure that says whether it has learned. A row is a file in Rows, which declares its models too,
/// and a line in <see cref="ZooRows.All"/>.
/// </summary>
internal abstract class ZooRow
{
    /// <summary>The sub-command.</summary>
    public abstract string Name { get; }

    /// <summary>The family, as its attribute is called: Mlp, Gpt, ….</summary>
    public abstract string Family { get; }

    /// <summary>The file of the family in the repository, whose lines are counted: of the compiler, but for what needs no declaration.</summary>
    public virtual string FamilyFile => $"src/ModelGen/Families/{Family}.cs";

    /// <summary>One sentence: what is trained on what.</summary>
    public abstract string Description { get; }

    /// <summary>Whether <c>--text</c> gives the row data of the user's: what it is, for the help; null where the row makes its own and nothing else would do.</summary>
    public virtual string? TextHelp => null;

    /// <summary>An argument of the row's own, such as a sentence to translate: its name and what it is; null for none.</summary>
    public virtual (string Name, string Description)? Argument => null;

    /// <summary>Trains and measures.</summary>
    /// <param name="context">What was asked for, and what a row needs to train.</param>
    public abstract RowOutcome Run(RowContext context);
}

/// <summary>A figure that a row must reach.</summary>
/// <param name="Name">What it is, with its unit.</param>
/// <param name="Value">What came out.</param>
/// <param name="Target">What should.</param>
/// <param name="LowerIsBetter">Whether the value should be at most the target; otherwise at least.</param>
internal sealed record Figure(string Name, double Value, double Target, bool LowerIsBetter = false)
{
    /// <summary>The name under which its training is exported for PyTorch to repeat; null if it is not.</summary>
    public string? Peer { get; init; }

    public bool Met => LowerIsBetter ? Value <= Target : Value >= Target;
}

/// <summary>What a row achieved.</summary>
/// <param name="Parameters">The number of the model's parameters.</param>
/// <param name="Figures">The figures, the row's own first. All must be met.</param>
internal sealed record RowOutcome(long Parameters, params IReadOnlyList<Figure> Figures)
{
    public bool Met => Figures.All(figure => figure.Met);
}
