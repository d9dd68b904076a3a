using System.Collections.Generic;
using System.Linq;
using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Passes;

namespace ModelGen.Compiler.Programs;

/// <summary>The typed classes of the runtime that stand over a model's entry points.</summary>
internal enum ProgramAdapter
{
    /// <summary>None: a method for each entry point.</summary>
    None,

    /// <summary>Token ids in, the logits of the next token out: <c>Prefill</c> and <c>Decode</c>, and a trainer from tokens to tokens.</summary>
    CausalLanguageModel,

    /// <summary>Rows in, rows out: <c>Predict</c>, and a trainer from rows to classes or to rows.</summary>
    FeedForward,

    /// <summary>A source's token ids in, then the logits of the next token of a target: <c>Encode</c> and <c>Decode</c>, and a trainer from pairs of sequences.</summary>
    EncoderDecoder,
}

/// <summary>
/// A model as the compiler sees it: entry points over parameters and states, which are those of the entry points' graphs. It is described
/// for invalid declarations too, whose graphs are never built.
/// </summary>
internal sealed record ModelProgram(ProgramAdapter Adapter, IReadOnlyList<EntryPoint> Entries)
{
    /// <summary>The most tokens that a sequence may hold; 0 where there is no limit.</summary>
    public int Context { get; init; }

    /// <summary>The most tokens that an encoder takes; 0 where there is none.</summary>
    public int SourceContext { get; init; }

    /// <summary>The number of positions that a sequence may have, by which runs find what came before; 0 where they need none.</summary>
    public int Positions { get; init; }

    /// <summary>The most sequences that a session may hold.</summary>
    public int MaxBatch { get; init; } = 1;

    /// <summary>How many keys and values a sequence has caches for.</summary>
    public SequenceCaches Caches => new(Context, Entries.Where(e => e.Continues).Select(e => e.Time.Maximum).DefaultIfEmpty(1).Max());

    /// <summary>The sequences (or examples) and the time steps of a training micro-batch; null where there is no training.</summary>
    public TrainingSpec? Training { get; init; }

    /// <summary>The parameters that no step updates, whatever group they are in.</summary>
    public ParameterGroup Frozen => new(Training?.Frozen ?? []);

    /// <summary>What weight files of the model look like and record.</summary>
    public FileConventions Files { get; init; } = new([]);

    public EntryPoint Entry(string name) => Entries.First(e => e.Name == name);

    public EntryPoint? Find(EntryKind kind) => Entries.FirstOrDefault(e => e.Kind == kind);
}
