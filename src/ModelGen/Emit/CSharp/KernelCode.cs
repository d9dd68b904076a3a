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
    private readonly List<(string Suffix, string Parameters, Action<CodeWriter, Func<string, string>> Body, string? Comment)> _methods = [];

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
    public string Pointers => string.Join(", ", kernel.Operands.Select(o => $"{(o.Access.Element == ElementType.Int32 ? "int" : "float")}* {o.Name}"));

    public string PointerNames => string.Join(", ", kernel.Operands.Select(o => o.Name));

    /// <summary>Pointers that only the text knows, such as a workspace.</summary>
    public string? Workspace { get; set; }

    public string Parameters => Join(Pointers, Workspace is null ? "" : "float* " + Workspace, string.Join(", ", Arguments.Declarations(Extra)), "Worker worker");

    public string Passed => Join(PointerNames, Workspace ?? "", string.Join(", ", Arguments.Names(Extra)), "worker");

    /// <summary>Adds a method called the kernel's name plus <paramref name="suffix"/>; the body is given a function from suffixes to names.</summary>
    public void Method(string suffix, string parameters, Action<CodeWriter, Func<string, string>> body, string? comment = null) => _methods.Add((suffix, parameters, body, comment));

    /// <summary>Adds the entry for each width.</summary>
    public void ForEachWidth(Action<CodeWriter, Func<string, string>, Spelling> body)
    {
        foreach (Spelling spelling in Spelling.All)
        {
            Method(spelling.Bits.ToString(System.Globalization.CultureInfo.InvariantCulture), Parameters, (w, name) => body(w, name, spelling));
        }
    }

    /// <summary>Gives the kernel one method for all widths, whose vector is its type argument <c>V</c>.</summary>
    public void Generic(Action<CodeWriter> body)
    {
        IsGeneric = true;
        Method("", Parameters, (w, _) => body(w));
    }

    /// <summary>Whether the kernel's vector is a type argument.</summary>
    public bool IsGeneric { get; private set; }

    /// <summary>What stands between a generic method's parameters and its body.</summary>
    public const string Constraint = "where V : struct, IVector<V>";

    /// <summary>The kernel's text under a name; methods that it shares go to <paramref name="library"/>.</summary>
    public string Print(string name, KernelLibrary library)
    {
        _library = library;
        var writer = new CodeWriter();
        writer.Line($"// {summary}");
        writer.Line("[@MethodImpl(MethodImplOptions.AggressiveOptimization)]");
        if (_methods.Any(m => m.Suffix == "256"))
        {
            writer.OpenMethod($"public static void {name}({Parameters})");
            writer.Open("if (Simd.Use512)").Line($"{name}_512({Passed});").Close();
            writer.Open("else if (Simd.Use256)").Line($"{name}_256({Passed});").Close();
            writer.Open("else").Line($"{name}_128({Passed});").Close();
            writer.Close();
        }

        foreach ((string suffix, string parameters, Action<CodeWriter, Func<string, string>> body, string? comment) in _methods)
        {
            if (suffix.Length > 0)
            {
                writer.Line();
                if (comment is not null)
                {
                    writer.Line("// " + comment);
                }

                writer.Line("[@MethodImpl(MethodImplOptions.AggressiveOptimization)]");
            }

            string own = suffix.Length == 0 ? name + (IsGeneric ? "<V>" : "") : $"{name}_{suffix}";
            writer.OpenMethod($"{(suffix.Length == 0 ? "public" : "private")} static void {own}({parameters}){(IsGeneric && suffix.Length == 0 ? " " + Constraint : "")}");
            body(writer, s => name + "_" + s);
            writer.Close();
        }

        return writer.ToString();
    }

    private static string Join(params string[] parts) => string.Join(", ", parts.Where(p => p.Length > 0));
}
