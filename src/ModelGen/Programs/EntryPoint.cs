using System;
using System.Collections.Generic;
using System.Linq;
using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Ops;

namespace ModelGen.Compiler.Programs;

/// <summary>What a run of an entry point does beside computing its outputs.</summary>
internal enum EntryKind
{
    /// <summary>Nothing but to continue the states that it reads.</summary>
    Infer,

    /// <summary>Computes the gradients of its loss, from which an optimizer updates its parameters.</summary>
    Step,

    /// <summary>Nothing: the loss of a step without dropout and without gradients.</summary>
    Evaluate,
}

/// <summary>
/// Something that a caller can ask of a model: <c>Prefill</c>, <c>Step</c>, <c>Encode</c>. Everything a user calls, and every check of what
/// is passed, is derived from the list of a model's entry points.
/// </summary>
/// <param name="Name">The name of the plan, and of what the user calls.</param>
/// <param name="Kind">What a run does beside computing outputs.</param>
/// <param name="Inputs">What a caller passes, in order.</param>
/// <param name="Outputs">What a run hands out, in order; of a step the first is the mean loss, of an evaluation the loss of every row.</param>
/// <param name="Build">The forward graph, in symbolic extents; called for valid declarations only.</param>
internal sealed record EntryPoint(string Name, EntryKind Kind, IReadOnlyList<Input> Inputs, IReadOnlyList<string> Outputs, Func<ModelGraph> Build)
{
    /// <summary>The sequences (or examples) of a run.</summary>
    public Dim Batch { get; init; } = 1;

    /// <summary>The time steps of a run.</summary>
    public Dim Time { get; init; } = 1;

    /// <summary>Whether a run continues the sequence that earlier runs began; the outputs are those of its last step.</summary>
    public bool Continues { get; init; }

    /// <summary>Whether the outputs of a run that continues a sequence are those of each of its steps, and not of the last alone.</summary>
    public bool EveryStep { get; init; }

    /// <summary>
    /// Whether each row of a batch of one step continues a sequence of its own, at a position of its own, where otherwise a session has
    /// one sequence. The inputs <see cref="SequencesInput"/> and, where positions matter, <see cref="PositionsInput"/> say which and where.
    /// </summary>
    public bool ContinuesEach { get; init; }

    /// <summary>An output's name that ends in this stands for all of the graph's that begin as it does.</summary>
    public const string Any = "*";

    /// <summary>The entry point with the names of its graph's outputs in place of <see cref="Any"/>.</summary>
    public EntryPoint WithOutputsOf(ModelGraph graph) => !Outputs.Any(name => name.EndsWith(Any, StringComparison.Ordinal)) ? this : this with
    {
        Outputs = [.. Outputs.SelectMany(name => !name.EndsWith(Any, StringComparison.Ordinal) ? [name] : graph.Outputs.Select(output => output.Name).Where(output => output.StartsWith(name.Substring(0, name.Length - Any.Length), StringComparison.Ordinal)))],
    };

    /// <summary>The name of the input that says which of the session's sequences each row is of.</summary>
    public const string SequencesInput = "sequences";

    /// <summary>The name of the input that says how many steps each row's sequence has.</summary>
    public const string PositionsInput = "positions";

    /// <summary>The name of the input that says how many tokens each row's source has: of a decoder, the one that was encoded last.</summary>
    public const string SourceLengthsInput = "sourceLengths";

    /// <summary>The parameters that a step updates.</summary>
    public ParameterGroup Group { get; init; } = ParameterGroup.All;

    /// <summary>The outputs that a caller may leave out.</summary>
    public IReadOnlyList<string> OptionalOutputs { get; init; } = [];

    /// <summary>The extents that a caller varies, in the order in which inputs have them: where there is one, the inputs' lengths say its count, and otherwise the caller does.</summary>
    public IReadOnlyList<Dim> Extents => [.. Inputs.SelectMany(i => i.Type.Shape.Dims).Select(Bind).Where(d => !d.IsLiteral).Select(d => d + -d.Plus).Distinct()];

    /// <summary>An extent of a graph as a run of this entry point has it.</summary>
    public Dim Bind(Dim dim) => dim.Symbol switch
    {
        ExtentNames.Batch => Batch + dim.Plus,
        ExtentNames.Time => Time + dim.Plus,
        _ => dim,
    };

    /// <summary>The input of a name; null where there is none.</summary>
    public Input? Input(string name) => Inputs.FirstOrDefault(i => i.InputName == name);

    public bool Trains => Kind == EntryKind.Step;

    /// <summary>Whether a run hands out one output of a fixed size, which a call can return; otherwise a caller brings the memory.</summary>
    public bool Returns => Outputs.Count == 1 && ((Continues && !EveryStep) || Extents.Count == 0);

    /// <summary>Whether a trainer runs it, with a trainer's states, rather than a session.</summary>
    public bool BelongsToTrainer => Kind != EntryKind.Infer;
}

/// <summary>Parameters that a step updates: those whose names begin with one of the prefixes.</summary>
internal sealed record ParameterGroup(EquatableArray<string> Prefixes)
{
    public static ParameterGroup All { get; } = new([""]);

    public static ParameterGroup Of(params string[] prefixes) => new([.. prefixes]);

    public bool Contains(Parameter parameter)
    {
        foreach (string prefix in Prefixes)
        {
            if (parameter.ParameterName.StartsWith(prefix, StringComparison.Ordinal))
            {
                return true;
            }
        }

        return false;
    }
}
