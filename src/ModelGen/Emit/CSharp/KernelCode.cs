using System;
using System.Collections.Generic;
using System.Linq;
using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Kernels;

namespace ModelGen.Compiler.Emit.CSharp;

/// <summary>The arguments beside its pointers that a kernel's text may need, found by looking at what it holds.</summary>
internal readonly record struct ArgumentKinds
{
    private ArgumentKinds(int flags, EquatableArray<string> extents) => (Flags, Extents) = (flags, extents);

    public static ArgumentKinds None => default;

    public static ArgumentKinds Position => new(1, []);

    public static ArgumentKinds Seed => new(2, []);

    public static ArgumentKinds LossNormalizer => new(4, []);

    public static ArgumentKinds GradientScale => new(8, []);

    public static ArgumentKinds Accumulate => new(16, []);

    /// <summary>The named extents whose count is needed, in the order of their names.</summary>
    public EquatableArray<string> Extents { get; }

    private int Flags { get; }

    public static ArgumentKinds CountOf(string extent) => new(0, [extent]);

    public static ArgumentKinds operator |(ArgumentKinds a, ArgumentKinds b)
        => new(a.Flags | b.Flags, new([.. a.Extents.Union(b.Extents, StringComparer.Ordinal).OrderBy(e => e, StringComparer.Ordinal)]));

    /// <summary>Whether one of the arguments that are no counts is needed.</summary>
    public bool Has(ArgumentKinds kind) => (Flags & kind.Flags) != 0;
}

internal static class Arguments
{
    private static readonly (ArgumentKinds Kind, string Declaration, string Value)[] All =
    [
        (ArgumentKinds.Position, "int position", "context.Position"),
        (ArgumentKinds.Seed, "ulong seed", "context.Seed"),
        (ArgumentKinds.LossNormalizer, "float lossNormalizer", "context.LossNormalizer"),
        (ArgumentKinds.GradientScale, "float gradientScale", "context.GradientScale"),
        (ArgumentKinds.Accumulate, "bool accumulate", "context.Accumulate"),
    ];

    public static string Name(RuntimeScalarKind kind) => kind == RuntimeScalarKind.LossNormalizer ? "lossNormalizer" : "gradientScale";

    public static IEnumerable<string> Declarations(ArgumentKinds kinds)
        => kinds.Extents.Select(e => "int " + Text.CountOf(e)).Concat(All.Where(a => kinds.Has(a.Kind)).Select(a => a.Declaration));

    public static IEnumerable<string> Names(ArgumentKinds kinds) => Declarations(kinds).Select(d => d.Split(' ')[1]);

    /// <summary>What a plan passes, whose run brings along <paramref name="counts"/>; <paramref name="accumulates"/> takes the place of the run's own flag.</summary>
    public static IEnumerable<string> Values(ArgumentKinds kinds, IReadOnlyList<Dim> counts, string? accumulates = null)
        => kinds.Extents.Select(e => Count(e, counts))
            .Concat(All.Where(a => kinds.Has(a.Kind)).Select(a => a.Kind == ArgumentKinds.Accumulate && accumulates is not null ? accumulates : a.Value));

    /// <summary>The count of an extent in a plan.</summary>
    public static string Count(string extent, IReadOnlyList<Dim> counts)
    {
        int place = Enumerable.Range(0, counts.Count).First(i => counts[i].Symbol == extent);
        return place == 0 ? "context.Count" : $"context.Counts[{CodeWriter.Number(place)}]";
    }

    public static ArgumentKinds Of(RowExtent extent) => extent.Factors.Aggregate(ArgumentKinds.None, (kinds, dim) => kinds | ArgumentKinds.CountOf(dim.Symbol!));

    public static ArgumentKinds Of(IEnumerable<Store> stores)
    {
        ArgumentKinds kinds = ArgumentKinds.None;
        foreach (Store store in stores)
        {
            kinds |= Of(store.Value) | (store.Mode == StoreMode.AddWhenAccumulating ? ArgumentKinds.Accumulate : ArgumentKinds.None);
        }

        return kinds;
    }

    public static ArgumentKinds Of(Expr expr)
    {
        ArgumentKinds kinds = ArgumentKinds.None;
        ExprTransforms.Visit(expr, e => kinds |= e switch
        {
            UniformExpr => ArgumentKinds.Seed,
            RuntimeScalarExpr { Kind: RuntimeScalarKind.LossNormalizer } => ArgumentKinds.LossNormalizer,
            RuntimeScalarExpr => ArgumentKinds.GradientScale,
            _ => ArgumentKinds.None,
        });
        return kinds;
    }
}

/// <summary>
/// One kernel's text: a method per vector width behind a method that chooses. Kernels whose text is the same but for the
/// name are one, which is how layers of one shape share their code.
/// </summary>
internal sealed class KernelCode(string baseName, string summary, Kernel kernel, ArgumentKinds arguments)
{
    private readonly List<Method> _methods = [];

    // What each width calls where there are several algorithms.
    private readonly SortedDictionary<int, Entry> _entries = [];

    private KernelLibrary? _library;

    /// <summary>What kernels of this class do, where their operations do not say it.</summary>
    public string Operation { get; } = baseName.Substring(0, baseName.IndexOf('_'));

    /// <summary>The kernel's shape, as the end of a name.</summary>
    public string Shape { get; } = baseName.Substring(baseName.IndexOf('_'));

    /// <summary>The name of a method that this kernel's text calls and others may share. To be asked for while the text is being printed.</summary>
    public string Share(string name, Func<string, string> print)
        => (_library ?? throw new InvalidOperationException("methods are shared while a kernel is printed")).Share(name, print);

    public ArgumentKinds Extra { get; } = arguments;

    /// <summary>The kernel's pointers, in the order of its operands.</summary>
    public string Pointers => string.Join(", ", kernel.Operands.Select(o => $"{Pointed(o)}* {o.Name}"));

    /// <summary>What an operand's pointer points at: what is packed, at bytes.</summary>
    public static string Pointed(KernelOperand operand) => !operand.Access.Format.IsPlain ? "byte" : operand.Access.Element == ElementType.Int32 ? "int" : "float";

    public string PointerNames => string.Join(", ", kernel.Operands.Select(o => o.Name));

    /// <summary>Pointers that only the text knows, such as a workspace.</summary>
    public string? Workspace { get; set; }

    /// <summary>Whether it computes columns that its caller took, <c>first</c> to <c>last</c> in units of <see cref="Targets.Cpu.ColumnPieces"/>.</summary>
    public bool IsOfPiece { get; init; }

    public string Parameters => ParametersBehind(Workspace is null ? "" : "float* " + Workspace);

    public string Passed => PassedBehind(Workspace ?? "");

    /// <summary>The parameters of a method that needs no workspace.</summary>
    public string ParametersWithoutWorkspace => ParametersBehind("");

    /// <summary>What a method is passed that needs no workspace.</summary>
    public string PassedWithoutWorkspace => PassedBehind("");

    /// <summary>Gives the kernel one method that computes with no vectors.</summary>
    public void Plain(Action<CodeWriter> body) => _methods.Add(new Method("", Parameters, (w, _) => body(w)));

    /// <summary>Adds a method called the kernel's name plus <paramref name="suffix"/>, which one width calls.</summary>
    public void ForWidth(int bits, string suffix, Action<CodeWriter> body)
    {
        _entries.Add(bits, new Entry(suffix, null));
        _methods.Add(new Method(suffix, Parameters, (w, _) => body(w)));
    }

    /// <summary>Adds a method that computes with vectors <c>V</c>: what some widths call, or what other methods do.</summary>
    /// <param name="suffix">Follows the kernel's name.</param>
    /// <param name="parameters">The method's.</param>
    /// <param name="widths">The widths that call it, and the bits of the vectors that they have it compute with.</param>
    /// <param name="body">Prints the body, given a function from suffixes to names.</param>
    public void Generic(string suffix, string parameters, IEnumerable<(int Bits, int VectorBits)> widths, Action<CodeWriter, Func<string, string>> body)
    {
        foreach ((int bits, int vectorBits) in widths)
        {
            _entries.Add(bits, new Entry(suffix, bits == vectorBits ? "V" : $"F{vectorBits}"));
        }

        _methods.Add(new Method(suffix, parameters, body));
    }

    /// <summary>Gives the kernel one method for all widths, whose vector is <c>V</c>.</summary>
    public void Generic(Action<CodeWriter> body)
    {
        _methods.Add(new Method("", Parameters, (w, _) => body(w)));
    }

    /// <summary>The kernel's text under a name; methods that it shares go to <paramref name="library"/>.</summary>
    public string Print(string name, KernelLibrary library)
    {
        _library = library;
        var writer = new CodeWriter();
        writer.Line($"// {summary}");
        var rest = new List<Method>(_methods);
        var called = new HashSet<string>();
        string Named(string suffix)
        {
            called.Add(suffix);
            return name + "_" + suffix;
        }

        if (_entries.Count > 0 && _entries.Values.All(e => e.Vector == "V"))
        {
            // Every width computes with its own vectors: one method has all algorithms.
            rest.RemoveAll(IsEntry);
            OpenEntry(writer, name);
            IGrouping<Entry, KeyValuePair<int, Entry>>[] algorithms = [.. _entries.GroupBy(e => e.Value).OrderBy(g => g.Count())];
            for (int i = 0; i < algorithms.Length; i++)
            {
                if (algorithms.Length > 1)
                {
                    string condition = string.Join(" || ", algorithms[i].Select(e => $"typeof(V) == typeof(F{e.Key})"));
                    writer.Open(i == 0 ? $"if ({condition})" : i < algorithms.Length - 1 ? $"else if ({condition})" : "else");
                }

                _methods.Single(m => m.Suffix == algorithms[i].Key.Suffix).Body(writer, Named);
                if (algorithms.Length > 1)
                {
                    writer.Close();
                }
            }

            writer.Close();
        }
        else if (_entries.Count > 0)
        {
            Choose(writer, name);
        }

        for (int i = 0; i < rest.Count; i++)
        {
            (string suffix, string parameters, Action<CodeWriter, Func<string, string>> body) = rest[i];
            if (suffix.Length > 0 && !IsEntry(rest[i]) && !called.Contains(suffix))
            {
                // A step of the others that none of them takes.
                continue;
            }

            if (_entries.Count > 0 || i > 0)
            {
                writer.Line();
            }

            writer.Line("[@MethodImpl(AggressiveOptimization)]");
            writer.OpenMethod($"{(suffix.Length == 0 ? "public" : "private")} static void {name}{(suffix.Length == 0 ? "" : "_" + suffix)}({parameters})");
            body(writer, Named);
            writer.Close();
        }

        return writer.ToString();
    }

    private void OpenEntry(CodeWriter writer, string name)
    {
        writer.Line("[@MethodImpl(AggressiveOptimization)]");
        writer.OpenMethod($"public static void {name}({Parameters})");
    }

    // Calls the method that a width takes, of another vector or of none.
    private void Choose(CodeWriter writer, string name)
    {
        OpenEntry(writer, name);
        Entry last = _entries.Values.Last();
        foreach (IGrouping<Entry, KeyValuePair<int, Entry>> group in _entries.Where(e => e.Value != last).GroupBy(e => e.Value))
        {
            writer.Open($"if ({string.Join(" || ", group.Select(e => $"typeof(V) == typeof(F{e.Key})"))})");
            writer.Line(Call(group.Key));
            writer.Line("return;");
            writer.Close();
            writer.Line();
        }

        writer.Line(Call(last));
        writer.Close();

        string Call(Entry entry) => $"{(entry.Vector is null or "V" ? "" : $"{PlanEmitter.KernelClass}<{entry.Vector}>.")}{name}_{entry.Suffix}({Passed});";
    }

    private string ParametersBehind(string workspace) => Join(Pointers, workspace, string.Join(", ", Arguments.Declarations(Extra)), IsOfPiece ? "int first, int last" : "", "Worker worker");

    private string PassedBehind(string workspace) => Join(PointerNames, workspace, string.Join(", ", Arguments.Names(Extra)), IsOfPiece ? "first, last" : "", "worker");

    private bool IsEntry(Method method) => _entries.Values.Any(e => e.Suffix == method.Suffix);

    private static string Join(params string[] parts) => string.Join(", ", parts.Where(p => p.Length > 0));

    /// <summary>A method of the kernel's.</summary>
    /// <param name="Suffix">Follows the kernel's name.</param>
    /// <param name="Parameters">What it is given.</param>
    /// <param name="Body">Prints its body, given a function from suffixes to names.</param>
    private sealed record Method(string Suffix, string Parameters, Action<CodeWriter, Func<string, string>> Body);

    /// <summary>What a width calls.</summary>
    /// <param name="Suffix">Follows the kernel's name.</param>
    /// <param name="Vector">The vector that it computes with: that of the width, <c>V</c>, or a narrower one; null for a text of that width alone.</param>
    private sealed record Entry(string Suffix, string? Vector);
}
