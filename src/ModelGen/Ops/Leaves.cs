using System;
using System.Collections.Generic;
using System.Globalization;
using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Kernels;

namespace ModelGen.Compiler.Ops;

/// <summary>How a parameter is drawn before training.</summary>
internal enum InitializerKind
{
    Zeros,
    Ones,
    Normal,
    Uniform,
    Sinusoids,
    SinusoidHalves,
    Rotary,
}

/// <summary>A distribution: normal with standard deviation <c>Scale</c>, or uniform in ±<c>Scale</c>; or the sinusoids of positions from <c>Scale</c> on; or the cosines and sines of rotary positions, times <c>Scale</c>.</summary>
internal sealed record Initializer(InitializerKind Kind, double Scale)
{
    /// <summary>The radians that each pair of columns is turned by from one position to the next, where the tensor holds rotary positions.</summary>
    public EquatableArray<double> Frequencies { get; private init; } = [];

    public static Initializer Zeros { get; } = new(InitializerKind.Zeros, 0);

    public static Initializer Ones { get; } = new(InitializerKind.Ones, 1);

    public static Initializer Normal(double standardDeviation) => new(InitializerKind.Normal, standardDeviation);

    public static Initializer Uniform(double bound) => new(InitializerKind.Uniform, bound);

    /// <summary>The sinusoids of positions (Vaswani et al. 2017, section 3.5), a row for each, from position <paramref name="first"/> on.</summary>
    /// <param name="first">The position of the first row.</param>
    /// <param name="halves">Whether sines come first and cosines behind them, of frequencies from 1 to 1/10,000, both included; otherwise they alternate.</param>
    public static Initializer Sinusoids(int first, bool halves) => new(halves ? InitializerKind.SinusoidHalves : InitializerKind.Sinusoids, first);

    /// <summary>A row for each position: the cosines of its angles and, behind them, the sines, each times <paramref name="factor"/>.</summary>
    public static Initializer Rotary(EquatableArray<double> frequencies, double factor) => new(InitializerKind.Rotary, factor) { Frequencies = frequencies };
}

/// <summary>
/// A trained tensor under the name that weight files give it. A linear layer's weight is [out, in] in memory;
/// <c>TransposedInFile</c> says that files hold [in, out]. <c>WeightDecay</c> says whether decay applies to it.
/// </summary>
internal sealed record Parameter(string ParameterName, Shape Shape, Initializer Initializer, bool WeightDecay, bool TransposedInFile) : LeafOperator
{
    public override string Mnemonic => "parameter";

    public override string Attributes => IsTable ? ParameterName + " table" : ParameterName;

    /// <summary>Whether it is no parameter but a table that its initializer says all of: nothing trains it, no file holds it, and it does not count.</summary>
    public bool IsTable { get; init; }

    /// <summary>The weight that it is a low-rank factor of an update of; null for what is none.</summary>
    public string? Adapts { get; init; }

    public override Operator BindExtents(Func<Dim, Dim> bind) => this with { Shape = Shape.Select(bind) };

    public override IReadOnlyList<TensorType> Infer(IReadOnlyList<TensorType> inputs) => Single(TensorType.Float(Shape));
}

/// <summary>What the caller gives to each run: token ids, features, targets.</summary>
internal sealed record Input(string InputName, TensorType Type, int Classes) : LeafOperator
{
    public override string Mnemonic => "input";

    /// <summary>The number of values that an integer may take; zero for floats.</summary>
    public int Classes { get; } = Classes;

    /// <summary>Whether an integer may also be −1, which says that its row does not count.</summary>
    public bool MayBeIgnored { get; init; }

    /// <summary>What all elements are where a caller leaves the input out; null where it must be given.</summary>
    public double? Default { get; init; }

    public override string Attributes => InputName;

    public override Operator BindExtents(Func<Dim, Dim> bind) => this with { Type = Type.Select(bind) };

    public override IReadOnlyList<TensorType> Infer(IReadOnlyList<TensorType> inputs) => Single(Type);
}

/// <summary>Memory that outlives a run: a key/value cache, the carried state of a recurrence. Zero at first.</summary>
internal sealed record StateRead(string State, Shape Shape) : LeafOperator
{
    public override string Mnemonic => "state";

    public override string Attributes => State;

    public override Operator BindExtents(Func<Dim, Dim> bind) => this with { Shape = Shape.Select(bind) };

    public override IReadOnlyList<TensorType> Infer(IReadOnlyList<TensorType> inputs) => Single(TensorType.Float(Shape));
}

/// <summary>The same number everywhere.</summary>
internal sealed record Constant(double Value, Shape Shape) : LeafOperator
{
    public override string Mnemonic => "constant";

    public override string Attributes => Value.ToString("R", CultureInfo.InvariantCulture);

    public override Operator BindExtents(Func<Dim, Dim> bind) => this with { Shape = Shape.Select(bind) };

    public override IReadOnlyList<TensorType> Infer(IReadOnlyList<TensorType> inputs) => Single(TensorType.Float(Shape));
}

/// <summary>A scalar that is known when a plan runs.</summary>
internal sealed record RuntimeScalar(RuntimeScalarKind Kind) : LeafOperator
{
    public override string Mnemonic => "runtime_scalar";

    public override string Attributes => Kind.ToString();

    public override IReadOnlyList<TensorType> Infer(IReadOnlyList<TensorType> inputs) => Single(TensorType.Float(Shape.Scalar));
}

/// <summary>Which of a scan's inputs a leaf of its body stands for.</summary>
internal enum BodyInputKind
{
    Carry,
    Sequence,
    Invariant,
}

/// <summary>A leaf of a scan's body: a carried value, one time step of a sequence, or a value that is the same in every step.</summary>
internal sealed record BodyInput(BodyInputKind Kind, int Number, TensorType Type) : LeafOperator
{
    public override string Mnemonic => Kind.ToString().ToLowerInvariant();

    public override string Attributes => Number.ToString(CultureInfo.InvariantCulture);

    public override Operator BindExtents(Func<Dim, Dim> bind) => this with { Type = Type.Select(bind) };

    public override IReadOnlyList<TensorType> Infer(IReadOnlyList<TensorType> inputs) => Single(Type);
}
