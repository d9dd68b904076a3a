using System;
using System.Collections.Generic;
using System.Globalization;
using System.Linq;

namespace ModelGen.Compiler.Programs;

/// <summary>
/// What a declaration says of its model's files beyond the parameters' names: how else they may be spelled, what they may hold beside
/// them, and which options they record, so that weights do not come into a model that computes something else with them.
/// </summary>
/// <param name="Options">Every option of the family that shapes parameters or changes what is computed, with the value that holds.</param>
internal sealed record FileConventions(IReadOnlyList<FileOption> Options)
{
    /// <summary>The family that files name, where several attributes declare one; null for the attribute's.</summary>
    public string? Family { get; init; }

    /// <summary>What stands before parameters' names and may be left out.</summary>
    public IReadOnlyList<string> OptionalPrefixes { get; init; } = [];

    /// <summary>Second names of parameters, under which a file may hold a copy: a tied head's.</summary>
    public IReadOnlyList<(string Name, string Parameter)> Aliases { get; init; } = [];

    /// <summary>Tensors that are no parameters, such as masks: their name, with # for a number, and their rank.</summary>
    public IReadOnlyList<(string Pattern, int Rank)> Buffers { get; init; } = [];
}

/// <summary>One option as files record it.</summary>
/// <param name="Name">The attribute's property.</param>
/// <param name="Value">Its value in invariant culture.</param>
/// <param name="TrainingOnly">Whether only training computes with it.</param>
internal sealed record FileOption(string Name, string Value, bool TrainingOnly = false)
{
    /// <summary>The value that a file has which records a declaration and not this option; null where it may be any.</summary>
    public string? Absent { get; init; }

    /// <summary>Whether it only says how long sequences may be: no tensor's shape follows from it, nor what is computed of shorter ones.</summary>
    public bool IsLimit { get; init; }

    public static FileOption Of(string name, int value) => new(name, value.ToString(CultureInfo.InvariantCulture));

    public static FileOption Of(string name, bool value) => new(name, value ? "true" : "false");

    public static FileOption Of(string name, double value) => new(name, value.ToString("R", CultureInfo.InvariantCulture));

    public static FileOption Of<TEnum>(string name, TEnum value)
        where TEnum : struct, Enum
        => new(name, value.ToString());

    public static FileOption Of(string name, IEnumerable<int> values) => new(name, string.Join(", ", values));

    public static FileOption Of(string name, IEnumerable<double> values) => new(name, string.Join(", ", values.Select(value => value.ToString("R", CultureInfo.InvariantCulture))));
}
