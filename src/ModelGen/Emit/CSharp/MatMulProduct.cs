using System;
using System.Collections.Generic;
using System.Linq;
using ModelGen.Compiler.Kernels;
using ModelGen.Compiler.Targets.Cpu;
using ModelGen.Compiler.Ops;

namespace ModelGen.Compiler.Emit.CSharp;

/// <summary>One matrix product at one vector width: what is the same whatever the workers divide among themselves.</summary>
internal abstract class MatMulProduct
{
    /// <summary>Multiply-adds that one worker does together, at least.</summary>
    private const long LeastTogether = 1 << 19;

    protected MatMulProduct(CodeWriter w, KernelCode code, Func<string, string> name, MatMulKernel kernel, ProductPlan plan, Spelling v)
    {
        (W, Code, Name, Kernel, Plan, V) = (w, code, name, kernel, plan, v);
        Blocking = plan.Blocking(v.Lanes);
        Rows = Text.RowCount(kernel.Rows);
        StripCount = kernel.Rows.IsDynamic ? "strips" : CodeWriter.Number(Blocking.Strips);
        Depth = Blocking.DepthBlocks == 1 || kernel.Depth % Blocking.DepthBlock == 0 ? CodeWriter.Number(Blocking.DepthBlock) : "depth";
    }

    protected CodeWriter W { get; }

    protected KernelCode Code { get; }

    protected Func<string, string> Name { get; }

    protected MatMulKernel Kernel { get; }

    protected ProductPlan Plan { get; }

    protected Spelling V { get; }

    protected MatMulBlocking Blocking { get; }

    /// <summary>Steps of the contraction that are multiplied together.</summary>
    protected string Depth { get; }

    /// <summary>Rows of the result.</summary>
    protected string Rows { get; }

    /// <summary>Strips of the left operand's rows.</summary>
    protected string StripCount { get; }

    public static MatMulProduct Of(CodeWriter w, KernelCode code, Func<string, string> name, MatMulKernel kernel, ProductPlan plan, Spelling v) => plan.Blocking(v.Lanes).Division switch
    {
        MatMulDivision.Panels => new PanelProduct(w, code, name, kernel, plan, v),
        MatMulDivision.Strips => new StripProduct(w, code, name, kernel, plan, v),
        _ => new TransposedProduct(w, code, name, kernel, plan, v),
    };

    /// <summary>Prints the kernel's body.</summary>
    public abstract void Emit();

    /// <summary>Pointers to what is packed together, and to the copy of the last rows.</summary>
    protected void Memory(string shared)
    {
        if (Blocking.SharedElements > 0)
        {
            string place = Blocking.IsSharedInScratch ? Scratch(MatMulBlocking.Shared) : Text.Plus("workspace", Blocking.PartialElements);
            W.Line($"float* {shared} = {place};");
        }

        if (Blocking.Scratch.Has(MatMulBlocking.Padded))
        {
            W.Line($"float* padded = {Scratch(MatMulBlocking.Padded)};");
        }
    }

    /// <summary>A pointer to a part of a worker's own memory.</summary>
    protected string Scratch(string part) => Text.Plus("(float*)worker.Scratch", Blocking.Scratch.OffsetOf(part));

    /// <summary>
    /// Declares <c>first</c> and <c>last</c>: a piece of this worker's share of <paramref name="total"/> and then another, also from
    /// others' shares where the kernel is worth it and a share has more than one.
    /// </summary>
    /// <param name="total">What is divided, as it is at run time.</param>
    /// <param name="maximum">The most that there can be of it.</param>
    /// <param name="unit">What a worker takes at least.</param>
    /// <param name="most">What it takes at most, a multiple of the unit.</param>
    /// <param name="unitWork">Multiply-adds of a unit.</param>
    /// <param name="body">Prints the work.</param>
    protected void ForPieces(string total, int maximum, int unit, int most, long unitWork, Action body)
    {
        int units = (maximum + unit - 1) / unit;
        long least = Math.Min(most / unit, Math.Max(1, LeastTogether / unitWork));
        if (Kernel.IsHelped() && 2 * least <= units)
        {
            string count = unit == 1 ? total : CodeWriter.Number(units);
            string name = unit == 1 ? "" : "Unit";
            W.Line($"worker.Share({count});");
            W.Open($"while (worker.Take({least}, {most / unit}, out int first{name}, out int last{name}))");
            if (unit > 1)
            {
                W.Line($"int first = firstUnit * {unit};");
                W.Line(maximum % unit == 0 ? $"int last = lastUnit * {unit};" : $"int last = Math.Min(lastUnit * {unit}, {total});");
            }

            body();
            W.Close();
        }
        else if (most < maximum)
        {
            W.Line($"worker.Range({total}, {unit}, out int start, out int end);");
            W.Open($"for (int first = start; first < end; first += {most})");
            W.Line($"int last = Math.Min(first + {most}, end);");
            body();
            W.Close();
        }
        else
        {
            W.Line($"worker.Range({total}, {unit}, out int first, out int last);");
            body();
        }
    }

    /// <summary>All panels: whole ones in a loop, and a last one that has fewer vectors.</summary>
    /// <param name="at">A name for a panel's first column.</param>
    /// <param name="body">Prints the work, given that name and the panel's vectors.</param>
    protected void ForPanels(string at, Action<string, int> body)
    {
        if (WholePanels > 0)
        {
            W.Open($"for (int p = 0; p < {WholePanels}; p++)");
            Panel(at, "p", body);
        }

        if (HasNarrowerPanel)
        {
            W.Open("");
            NarrowerPanel(at, body);
        }
    }

    /// <summary>Whether the last panel has fewer vectors than the others.</summary>
    protected bool HasNarrowerPanel => Blocking.LastVectors < Blocking.Vectors;

    /// <summary>Panels that have as many vectors as there are in one.</summary>
    protected int WholePanels => HasNarrowerPanel ? Blocking.Panels - 1 : Blocking.Panels;

    /// <summary>One panel, and the end of the block it stands in.</summary>
    protected void Panel(string at, string index, Action<string, int> body)
    {
        W.Line($"int {at} = {index} * {Blocking.Width};");
        body(at, Blocking.Vectors);
        W.Close();
    }

    /// <summary>The panel that has fewer vectors, and the end of the block it stands in.</summary>
    protected void NarrowerPanel(string at, Action<string, int> body)
    {
        W.Line($"const int {at} = {WholePanels * Blocking.Width};");
        body(at, Blocking.LastVectors);
        W.Close();
    }

    /// <summary>
    /// The last rows of an operand that is read in place are copied, with zeros for those that a tile would read beyond them. The
    /// answer is what the rows then lie apart.
    /// </summary>
    protected string PadRows(int stride, string condition, string rows, string depth, int height)
    {
        string step = CodeWriter.Number(stride);
        bool differs = step != depth;
        if (differs)
        {
            W.Line($"int step = {step};");
        }

        W.Open($"if ({condition})");
        W.Line($"Panels.PadRows(a, {step}, {rows}, {depth}, padded, {height});");
        W.Line("a = padded;");
        if (differs)
        {
            W.Line($"step = {depth};");
        }

        W.Close();
        W.Line();
        return differs ? "step" : step;
    }

    /// <summary>What the epilogue reads comes from memory while the tile multiplies.</summary>
    protected void PrefetchEpilogue(string row, string rows, string column, string columns)
    {
        foreach (KernelOperand operand in Plan.FetchedOperands)
        {
            W.Line($"Panels.PrefetchTile({operand.Name} + (long){row} * {operand.Access.RowStride} + {column}, {operand.Access.RowStride}, {rows}, {columns});");
        }
    }

    protected string EpilogueCall(string tile, string row, string rows, string column, string columns)
        => MatMulEmitter.EpilogueCall(Name, Kernel, V, tile, row, rows, column, columns);
}
