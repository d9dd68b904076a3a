using System;
using System.Collections.Generic;
using System.Linq;
using ModelGen.Compiler.Kernels;
using ModelGen.Compiler.Ops;
using ModelGen.Compiler.Targets.Cpu;

namespace ModelGen.Compiler.Emit.CSharp;

/// <summary>
/// The text of a matrix product, at vector widths at which only its numbers differ: those that do become constants at its top. What is
/// here is the same whatever the workers divide among themselves.
/// </summary>
internal abstract class MatMulProduct
{
    private const int ConstantsOfLine = 4;

    private readonly Dictionary<string, long[]> _constants = [];

    protected MatMulProduct(Func<string, string> name, MatMulKernel kernel, ProductPlan plan, IReadOnlyList<MatMulBlocking> widths)
    {
        (Name, Kernel, Plan, Widths) = (name, kernel, plan, widths);
        Structure = widths[0].Structure;
        Rows = Text.RowCount(kernel.Rows);
        Depth = Structure.CutsDepth ? "depth" : CodeWriter.Number(kernel.Depth);
    }

    /// <summary>What is printed behind the constants.</summary>
    protected CodeWriter W { get; } = new();

    protected Func<string, string> Name { get; }

    protected MatMulKernel Kernel { get; }

    protected ProductPlan Plan { get; }

    /// <summary>How the product is cut, for each of the widths.</summary>
    protected IReadOnlyList<MatMulBlocking> Widths { get; }

    protected ProductStructure Structure { get; }

    protected KernelOperand Left => Kernel.Operands[0];

    protected KernelOperand Right => Kernel.Operands[1];

    /// <summary>Rows of the result.</summary>
    protected string Rows { get; }

    /// <summary>Rows of a strip.</summary>
    protected string Height => Constant("height", b => b.Height);

    /// <summary>Columns of a panel.</summary>
    protected string Width => Constant("width", b => b.Width);

    /// <summary>Steps of the contraction that are multiplied together.</summary>
    protected string Depth { get; }

    public static MatMulProduct Of(Func<string, string> name, MatMulKernel kernel, ProductPlan plan, IReadOnlyList<MatMulBlocking> widths) => widths[0].Division switch
    {
        MatMulDivision.Panels => new PanelProduct(name, kernel, plan, widths),
        MatMulDivision.Strips => new StripProduct(name, kernel, plan, widths),
        _ => new TransposedProduct(name, kernel, plan, widths),
    };

    /// <summary>Prints a method's body.</summary>
    public void Emit(CodeWriter w)
    {
        Body();
        foreach (IGrouping<string, string> line in _constants
            .Select((c, i) => (Type: c.Value.Max() > int.MaxValue ? "long" : "int", Text: $"{c.Key} = Simd.Of<V>({string.Join(", ", c.Value.Select(CodeWriter.Number))})", Line: i / ConstantsOfLine))
            .GroupBy(c => $"{c.Line} {c.Type}", c => c.Text))
        {
            w.Line($"{line.Key.Substring(line.Key.IndexOf(' ') + 1)} {string.Join(", ", line)};");
        }

        w.Lines(W.ToString().TrimEnd('\n'));
    }

    protected abstract void Body();

    /// <summary>A number, or the name of a constant where it is another one at other widths.</summary>
    protected string Constant(string name, Func<MatMulBlocking, long> value)
    {
        if (Widths.Select(value).Distinct().Count() == 1)
        {
            return CodeWriter.Number(value(Widths[0]));
        }

        _constants[name] = [.. Spelling.All.Select(s => Widths.FirstOrDefault(b => b.Lanes == s.Lanes) is { } b ? value(b) : 0)];
        return name;
    }

    /// <summary>A pointer to a part of a worker's own memory.</summary>
    protected string Scratch(string part, string name)
        => Constant(name, b => b.Scratch.Has(part) ? b.Scratch.OffsetOf(part) : 0) is var offset && offset == "0" ? "(float*)worker.Scratch" : $"(float*)worker.Scratch + {offset}";

    /// <summary>How many units cover a number.</summary>
    protected static string Quotient(string total, string unit)
        => int.TryParse(unit, out int literal) ? literal == 1 ? total : $"({total} + {literal - 1}) / {literal}" : $"({total} + {unit} - 1) / {unit}";

    /// <summary>A number of 64 bits.</summary>
    protected static string Long(string number) => long.TryParse(number, out _) ? number + "L" : number.Contains(' ') && number[0] != '(' ? $"(long)({number})" : "(long)" + number;

    /// <summary>A product of factors, those that are numbers multiplied.</summary>
    protected static string Product(params string[] factors)
    {
        long literal = 1;
        string text = "";
        foreach (string factor in factors)
        {
            if (long.TryParse(factor, out long number))
            {
                literal *= number;
            }
            else
            {
                text += (text.Length == 0 ? "" : " * ") + factor;
            }
        }

        return text.Length == 0 ? CodeWriter.Number(literal) : literal == 1 ? text : $"{text} * {literal}";
    }

    /// <summary>As many of a unit as there are left.</summary>
    protected static string Rest(string unit, string total, string at) => $"Math.Min({unit}, {total} - {at})";

    /// <summary>Whether something is not a multiple of its unit, at any of the widths.</summary>
    protected bool IsRagged(Func<MatMulBlocking, bool> isWhole) => Widths.Any(b => !isWhole(b));

    /// <summary>Pointers to what is packed together, and to the copy of the last rows.</summary>
    protected void Memory(string shared)
    {
        if (Structure.HasShared)
        {
            string place = Structure.IsSharedInScratch ? Scratch(MatMulBlocking.Shared, "sharedAt") : Constant("sumElements", b => b.PartialElements) is var sums && sums == "0" ? "workspace" : $"workspace + {sums}";
            W.Line($"float* {shared} = {place};");
        }

        if (HasPadding)
        {
            W.Line($"float* padded = {Scratch(MatMulBlocking.Padded, "paddedAt")};");
        }
    }

    /// <summary>Whether the last rows of an operand that is read in place are copied.</summary>
    protected bool HasPadding => Widths.Any(b => b.PaddedElements > 0);

    /// <summary>
    /// Declares <c>first</c> and <c>last</c>: a piece of this worker's share and then another, also from others' shares where the kernel
    /// is worth it. What is opened is closed by the caller.
    /// </summary>
    protected void OpenPieces(string total)
    {
        string unit = Constant("group", b => b.Unit), most = Constant("most", b => b.MostUnits);
        if (Structure.Work == WorkDivision.Pieces)
        {
            W.Line($"worker.Share({Quotient(total, unit)});");
            string least = Constant("least", b => b.LeastUnits);
            if (unit == "1")
            {
                W.Open($"while (worker.Take({least}, {most}, out int first, out int last))");
                return;
            }

            W.Open($"while (worker.Take({least}, {most}, out int firstUnit, out int lastUnit))");
            W.Line($"int first = firstUnit * {unit}, last = Math.Min(lastUnit * {unit}, {total});");
            return;
        }

        W.Line($"worker.Range({total}, {unit}, out int start, out int end);");
        string step = Product(most, unit);
        W.Open($"for (int first = start; first < end; first += {step})");
        W.Line($"int last = Math.Min(first + {step}, end);");
    }

    /// <summary>Declares what of a panel is there: <c>columns</c>, or other rows than those of a strip, and the <c>vectors</c> that hold them.</summary>
    protected void Extent(string name, string total, string at)
        => W.Line($"int {name} = {Rest(Width, total, at)}, vectors = ({name} + V.Lanes - 1) / V.Lanes;");

    /// <summary>
    /// The last rows of an operand that is read in place are copied, with zeros for those that a tile would read beyond them: declares
    /// <c>a</c>, the rows to be read.
    /// </summary>
    /// <returns>Elements from one of these rows to the next.</returns>
    protected string PadRows(string rows, int stride, string count, string height)
    {
        bool isDense = CodeWriter.Number(stride) == Depth;
        W.Line($"float* a = {rows};");
        if (!isDense)
        {
            W.Line($"long step = {stride};");
        }

        W.Open($"if ({count} < {height})");
        W.Line($"Panels.PadRows(a, {stride}, {count}, {Depth}, padded, {height});");
        W.Line("a = padded;");
        if (!isDense)
        {
            W.Line($"step = {Depth};");
        }

        W.Close();
        W.Line();
        return isDense ? Depth : "step";
    }

    /// <summary>What the epilogue reads comes from memory while the tile multiplies.</summary>
    protected void PrefetchEpilogue(string row, string rows, string column, string columns)
    {
        foreach (KernelOperand operand in Plan.FetchedOperands)
        {
            W.Line($"Panels.PrefetchTile({operand.Name} + (long){row} * {operand.Access.RowStride} + {column}, {operand.Access.RowStride}, {rows}, {columns});");
        }
    }

    protected void Epilogue(string tile, string row, string rows, string column, string columns)
        => W.Line(MatMulEmitter.EpilogueCall(Name, Kernel, tile, row, rows, column, columns));

    /// <summary>Packs rows, or columns, into panels: by this worker alone, or by all together.</summary>
    protected void Pack(bool transposed, string source, int stride, string count, string target, string width, string granule, bool together = false)
        => W.Line($"Panels.PackPanels{(transposed ? "Transposed" : "")}({(together ? "worker, " : "")}{source}, {stride}, {Depth}, {count}, {target}, {width}, {granule});");
}
