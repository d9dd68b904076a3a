using System;
using System.Globalization;
using ModelGen.Compiler.Diagnostics;
using ModelGen.Compiler.Families;

namespace ModelGen.Compiler.Declarations;

/// <summary>
/// The checks that arguments of every attribute have in common. A check returns whether the argument can be built on, so that
/// one mistake is not reported twice.
/// </summary>
/// <param name="arguments">The attribute's arguments.</param>
/// <param name="attributeName">The attribute's name as messages spell it.</param>
/// <param name="target">The attribute to underline, as <see cref="SpecProblem.Attribute"/> names it.</param>
/// <param name="report">Where problems go.</param>
internal sealed class ArgumentChecks(EquatableArray<DeclaredArgument> arguments, string attributeName, string? target, Action<SpecProblem> report)
{
    public ArgumentChecks(ModelSpec spec, Action<SpecProblem> report)
        : this(spec.Arguments, spec.Family, null, report)
    {
    }

    /// <summary>An argument that must be given, with a value of at least <paramref name="minimum"/>.</summary>
    public bool RequireSize(string name, long minimum = 1)
    {
        if (Find(name) is null)
        {
            Missing(name);
            return false;
        }

        return OptionalSize(name, minimum);
    }

    /// <summary>An argument that, when given, has a value of at least <paramref name="minimum"/>.</summary>
    public bool OptionalSize(string name, long minimum = 1)
    {
        if (Find(name) is not { } argument || argument.Integer >= minimum)
        {
            return true;
        }

        report(new SpecProblem(DiagnosticIds.SizeTooSmall, name, [name, Text(minimum), Text(argument.Integer)], target));
        return false;
    }

    /// <summary>An argument that must be given.</summary>
    public bool Require(string name)
    {
        if (Find(name) is not null)
        {
            return true;
        }

        Missing(name);
        return false;
    }

    /// <summary>A probability: at least 0 and less than 1.</summary>
    public bool OptionalProbability(string name)
        => Find(name) is not { } argument || InRange(argument, argument.Real is >= 0 and < 1, "at least 0 and less than 1");

    /// <summary>A finite value greater than 0. What counts is what is left of it in single precision.</summary>
    public bool OptionalPositive(string name)
        => Find(name) is not { } argument || InRange(argument, (float)argument.Real is > 0 and < float.PositiveInfinity, "finite and greater than 0 in single precision");

    /// <summary>As <see cref="OptionalPositive"/>, or 0, which stands for a default.</summary>
    public bool OptionalPositiveOrZero(string name) => (Find(name) is { } argument && argument.Real.Equals(0.0)) || OptionalPositive(name);

    /// <summary>A number that, when given, holds what the family expects of it, as <paramref name="expectation"/> says.</summary>
    public bool OptionalReal(string name, bool holds, string expectation) => Find(name) is not { } argument || InRange(argument, holds, expectation);

    /// <summary>A count or size that must not exceed what the compiler or the runtime can represent.</summary>
    public bool AtMost(string? argument, string what, double value, long maximum)
    {
        if (value <= maximum)
        {
            return true;
        }

        report(new SpecProblem(DiagnosticIds.TooLarge, argument, [what, Text(maximum), Text(value)], target));
        return false;
    }

    /// <summary>Checks the totals that follow from the sizes. They are real numbers, since as integers they could overflow.</summary>
    /// <param name="spec">The declaration.</param>
    /// <param name="largestParameter">The number of elements of the largest parameter.</param>
    /// <param name="inferred">The number of elements of the largest activation or state of inference.</param>
    /// <param name="widest">The row length of the widest activation of training.</param>
    /// <param name="widestOfSource">That of those that have a row for each token of a source, where sources have a length of their own.</param>
    public void ModelSize(ModelSpec spec, double largestParameter, double inferred, double widest, double widestOfSource = 0)
    {
        const string Elements = "The number of elements of the largest activation";
        AtMost(null, "The number of elements of the largest parameter", largestParameter, SizeLimits.TensorElements);
        if (AtMost(null, Elements, inferred, SizeLimits.TensorElements)
            && spec.Training is { BatchSize: > 0, SequenceLength: > 0 } training)
        {
            double elements = training.BatchSize * Math.Max(training.SequenceLength * widest, training.SourceLength * widestOfSource);
            new ArgumentChecks([], DeclaredAttributes.Trainable, DeclaredAttributes.Trainable, report)
                .AtMost("BatchSize", Elements, elements, SizeLimits.TensorElements);
        }
    }

    private static string Text(long value) => value.ToString(CultureInfo.InvariantCulture);

    private static string Text(double value)
        => value < 1e18 ? ((long)value).ToString(CultureInfo.InvariantCulture) : value.ToString("E3", CultureInfo.InvariantCulture);

    private bool InRange(DeclaredArgument argument, bool holds, string expectation)
    {
        if (!holds)
        {
            report(new SpecProblem(
                DiagnosticIds.OutOfRange,
                argument.Name,
                [argument.Name, expectation, argument.Real.ToString("R", CultureInfo.InvariantCulture)],
                target));
        }

        return holds;
    }

    private void Missing(string name)
        => report(new SpecProblem(DiagnosticIds.MissingArgument, null, [attributeName, name], target));

    private DeclaredArgument? Find(string name)
    {
        foreach (DeclaredArgument argument in arguments)
        {
            if (argument.Name == name)
            {
                return argument;
            }
        }

        return null;
    }
}
