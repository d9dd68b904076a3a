using System;
using System.Collections.Generic;
using System.Linq;
using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Kernels;
using ModelGen.Compiler.Ops;
using ModelGen.Compiler.Targets.Cpu;

namespace ModelGen.Compiler.Emit.CSharp;

/// <summary>
/// What a kernel computes, as equations over the buffers, parameters and states that it reads and writes:
/// <c>ln_1 = layer_norm(embeddings, ln_1.weight, ln_1.bias)  [256, 768]</c>. A gradient is spelled <c>d x</c>, the backward pass of an operation f as
/// <c>f'</c>, what is added to what is there <c>+=</c>. Of what is read in part it is said which: rows <c>[8..16]</c>, columns <c>[.., 8..16]</c>, or the row
/// of the step <c>[t]</c>, of the sequence's position, or of the last time step. What a state held before the kernel overwrites it is <c>(old: c)</c>.
/// </summary>
internal sealed class KernelEquation
{
    // A term that several others read, and that is longer than this, has a line of its own.
    private const int LongestRepeated = 24;

    private readonly Kernel _kernel;
    private readonly DeclaredNames _names;
    private readonly string _scope;
    private readonly string? _variable;
    private readonly bool _hasPosition;
    private readonly bool _adds;
    private readonly IReadOnlyList<Term> _terms;

    private KernelEquation(Kernel kernel, DeclaredNames names, string scope, string? variable, bool hasPosition, bool adds)
    {
        (_kernel, _names, _scope, _variable, _hasPosition, _adds) = (kernel, names, scope, variable, hasPosition, adds);
        _terms = kernel.Derivation.Terms;
    }

    /// <summary>The equations and the result's shape.</summary>
    /// <param name="kernel">The kernel.</param>
    /// <param name="names">The declaration's names.</param>
    /// <param name="scope">The scope whose values are called by what follows it; empty for none.</param>
    /// <param name="variable">The variable of the loop around the kernel; null for none.</param>
    /// <param name="hasPosition">Whether runs begin at other positions of a sequence than its first.</param>
    /// <param name="adds">Whether the loop's later blocks add to what its earlier ones stored.</param>
    public static string Of(Kernel kernel, DeclaredNames names, string scope, string? variable = null, bool hasPosition = true, bool adds = false)
        => new KernelEquation(kernel, names, scope, variable, hasPosition, adds).Text() + ShapeOf(kernel);

    private string Text()
    {
        if (_kernel is PackKernel)
        {
            return $"{Name(1)} = {Name(0)}, in panels of columns";
        }

        if (_kernel is RoundKernel)
        {
            return $"{Name(1)} = {Name(0)}, in blocks of 32 numbers of 8 bits";
        }

        var equations = new List<string>();
        var known = new Dictionary<int, string>();
        var alone = new List<string>();
        for (int i = 0; i < _terms.Count; i++)
        {
            Term term = _terms[i];
            string text = Formula(term, known);
            int readers = _terms.Sum(t => t.Inputs.Count(input => input.Term == i));
            if (term.Stored.Count > 0)
            {
                equations.Add($"{Results(term.Stored)} {(Adds(term.Stored) ? "+=" : "=")} {Bare(text)}");
                known[i] = text;
            }
            else if (readers > 1 && text.Length > LongestRepeated)
            {
                string name = Unused(_names.Short(term.Name.Length > 0 ? term.Name : term.Mnemonic, _scope), alone);
                equations.Add($"{name} = {Bare(text)}");
                alone.Add(name);
                known[i] = name;
            }
            else
            {
                known[i] = text;
            }
        }

        return string.Join(CSharp.Text.Sentence, equations);
    }

    // What is not stored is called by a name that nothing which the kernel reads or writes has.
    private string Unused(string name, List<string> alone)
        => OperandNames.Unique(name, [.. alone, .. _kernel.Operands.Select(o => NameOf(o.View.Buffer))]);

    private string Formula(Term term, Dictionary<int, string> known)
    {
        string[] inputs = [.. term.Inputs.Select(i => i.Text ?? (i.Operand >= 0 ? Read(i) : known[i.Term]))];
        return term.Kind switch
        {
            TermKind.Copy => term.Inputs[0].Text ?? Name(term.Inputs[0].Operand),
            TermKind.Sum => $"({string.Join(" + ", inputs)})",
            TermKind.Product => Product((MatMulKernel)_kernel, inputs),
            TermKind.Operator when term.Operator!.Spell(inputs) is { } spelled => spelled,
            TermKind.Operator => $"{term.Operator!.Mnemonic}({string.Join(", ", inputs.Select(Bare).Concat(term.Operator.Constants))})",
            _ => $"{term.Mnemonic}({string.Join(", ", inputs.Select(Bare))})",
        };
    }

    // A linear layer is spelled as its declaration has it.
    private static string Product(MatMulKernel kernel, string[] factors)
        => kernel.Form == MatMulForm.NT && !kernel.Derivation.Origins[0].IsGradient ? $"matmul({Bare(factors[0])}, {Bare(factors[1])})"
            : $"({Factor(factors[0], kernel.Form == MatMulForm.TN)} · {Factor(factors[1], kernel.Form == MatMulForm.NT)})";

    private static string Factor(string name, bool isTransposed) => !isTransposed ? name : name.IndexOf(' ') >= 0 && name[0] != '(' ? $"({name})ᵀ" : name + "ᵀ";

    private bool Adds(IReadOnlyList<int> stored)
    {
        IEnumerable<Store> stores = _kernel switch
        {
            RowKernel k => k.Phases.SelectMany(p => p.Stores),
            MatMulKernel k => k.Stores,
            ColumnSumKernel k => k.Sums,
            _ => [],
        };
        return _adds || _kernel is EmbeddingGradientKernel { Mode: StoreMode.Add } or ExpertGradientKernel { Mode: StoreMode.Add } || stores.Any(s => s.Mode == StoreMode.Add && stored.Contains(s.Operand));
    }

    /// <summary>What is stored; parts of one buffer that follow each other are one.</summary>
    private string Results(IReadOnlyList<int> stored)
        => string.Join(", ", stored.GroupBy(i => _kernel.Operands[i].View.Buffer).SelectMany(g => Wholly(g.Key, [.. g]) ? [NameOf(g.Key)] : g.Select(Name)).Distinct());

    private bool Wholly(PlanBuffer buffer, int[] operands)
    {
        long end = 0;
        foreach (int operand in operands.OrderBy(i => _kernel.Operands[i].View.Offset))
        {
            (_, int columns) = Extent(operand);
            if (operands.Length == 1 || columns == 0 || _kernel.Operands[operand].View.Offset != end || _kernel.Operands[operand].View.StepStride != 0)
            {
                return false;
            }

            end += columns;
        }

        return end == buffer.Columns;
    }

    private string Read(TermInput input)
    {
        PlanBuffer buffer = _kernel.Operands[input.Operand].View.Buffer;
        string name = Name(input.Operand), own = NameOf(buffer);
        (_, int columns) = Extent(input.Operand);
        if (buffer.Space == MemorySpace.State && !_kernel.Operands[input.Operand].IsWritten && _kernel.Operands.Any(o => o.IsWritten && o.View.Buffer == buffer))
        {
            return $"(old: {name})";
        }

        return input.Label is { } label && buffer.Space == MemorySpace.Arena && columns > 1 && columns < buffer.Columns && own != label && !own.EndsWith("." + label, StringComparison.Ordinal) ? $"({label}: {name})" : name;
    }

    private string NameOf(PlanBuffer buffer) => _names.Short((buffer.Space == MemorySpace.Gradients ? "d " : "") + buffer.Name, _scope);

    private string Name(int operand)
    {
        KernelOperand o = _kernel.Operands[operand];
        string part = Part(o, Extent(operand));
        return NameOf(o.View.Buffer) + (part.Length == 0 ? "" : $"[{part}]");
    }

    /// <summary>Which part of its buffer an operand is; empty for all of it.</summary>
    private string Part(KernelOperand operand, (int Rows, int Columns) extent)
    {
        View view = operand.View;
        PlanBuffer buffer = view.Buffer;
        int width = buffer.Columns > 0 ? buffer.Columns : (int)Math.Min(int.MaxValue, buffer.Elements);
        (long offset, string moving) = (view.Offset, "");
        if (view.StepStride == 1 && width > 1)
        {
            // A step is a column.
            return $".., {_variable}{(offset == 0 ? "" : " + " + CodeWriter.Number(offset))}";
        }

        if (view.StepStride != 0)
        {
            long step = offset / view.StepStride;
            moving = _variable + (step == 0 ? "" : " + " + CodeWriter.Number(step));
            offset -= step * view.StepStride;
        }
        else if (view.PositionStride != 0 && _hasPosition)
        {
            moving = extent.Rows == 1 ? "position" : "position..";
        }
        else if (view.LastStride != 0)
        {
            moving = "last";
        }

        if (extent.Columns == 0 || (moving.Length == 0 && offset == 0 && Math.Max(extent.Rows, MaximumRows(operand)) * extent.Columns >= buffer.Elements))
        {
            return moving;
        }

        if (extent.Columns == 1 && operand.Access.RowStrides.Count > 0 && operand.Access.RowStrides[operand.Access.RowStrides.Count - 1] == RowExtent.Literal(1))
        {
            // Numbers that follow each other, one for each row.
            width = 1;
        }
        else if (extent.Rows == 1 && extent.Columns > width)
        {
            width = (int)Math.Min(int.MaxValue, buffer.Elements);
        }

        (long row, long column) = (offset / width, offset % width);
        if (width > 1 && extent.Columns > 1 && operand.Access.ColumnStride >= width)
        {
            // Vectors run along the rows of a column.
            return moving.Length > 0 ? $"{moving}, {column}" : $".., {column}";
        }

        string columns = Columns(operand, extent.Columns, column, width);
        if (moving.Length > 0)
        {
            return columns.Length > 0 ? $"{moving}, {columns}" : moving;
        }

        long rows = buffer.Elements / width;
        bool isPart = row > 0 || (extent.Rows > 0 && extent.Rows < rows && extent.Columns <= width);
        string rowText = !isPart || rows == 1 ? "" : extent.Rows == 1 ? CodeWriter.Number(row) : extent.Rows > 0 ? $"{row}..{row + extent.Rows}" : $"{row}..";
        return columns.Length == 0 ? rowText : rowText.Length > 0 ? $"{rowText}, {columns}" : rows == 1 ? columns : $".., {columns}";
    }

    /// <summary>The rows that an operand of a kernel over rows has at the most; 0 of one whose rows are not counted by axes.</summary>
    private long MaximumRows(KernelOperand operand) => _kernel switch
    {
        RowKernel k => Touched(operand, k.Axes, 1, e => e.Maximum).Rows,
        ColumnSumKernel k => Touched(operand, [.. k.Kept, .. k.Summed], 1, e => e.Maximum).Rows,
        MatMulKernel k when operand != k.Operands[0] && operand != k.Operands[1] => Touched(operand, k.Axes, 1, e => e.Maximum).Rows,
        _ => 0,
    };

    private static string Columns(KernelOperand operand, int columns, long column, int width)
    {
        int stride = Math.Max(1, operand.Access.ColumnStride);
        return columns >= width || column + columns > width ? "" : stride > 1 ? (stride < width ? $"{column}.. by {stride}" : "") : columns == 1 ? CodeWriter.Number(column) : $"{column}..{column + columns}";
    }

    private static int Literal(params RowExtent[] extents) => extents.Any(e => e.IsDynamic) ? 0 : extents.Aggregate(1, (product, e) => product * e.Maximum);

    /// <summary>The rows, 0 for as many as a run brings along, and columns of an operand that the kernel touches; no columns where it touches all of it, or what indices choose.</summary>
    private (int Rows, int Columns) Extent(int operand)
    {
        KernelOperand o = _kernel.Operands[operand];
        switch (_kernel)
        {
            case RowKernel k:
                return Touched(o, k.Axes, k.Columns);
            case ColumnSumKernel k:
                return Touched(o, [.. k.Kept, .. k.Summed], k.Columns);
            case MatMulKernel k when operand == 0:
                return k.Form == MatMulForm.TN ? (k.Depth, k.Rows.Maximum) : (Literal(k.Rows), k.Depth);
            case MatMulKernel k when operand == 1:
                return k.Form == MatMulForm.NT ? (k.Columns, k.Depth) : (k.Depth, k.Columns);
            case MatMulKernel k:
                return Touched(o, k.Axes, k.Columns);
            case AttentionKernel k:
                return OfAttention(o, k.Op, Literal(k.Batch, k.Queries), Literal(k.Batch, k.Keys));
            case AttentionWeightsKernel k:
                return OfAttention(o, k.Op, Literal(k.Batch, k.Queries), Literal(k.Batch, k.Keys));
            case AttentionGradientKernel k:
                return OfAttention(o, k.Op, k.Batch * k.Queries, k.Batch * k.Keys);
            case EmbeddingKernel k when operand == 2:
                return (Literal(k.Rows), k.Columns);
            case EmbeddingGradientKernel k when operand == 1:
                return (Literal(k.Rows), k.Columns);
            case AppendRowsKernel k when operand == 0:
                return (Literal(k.Batch, k.Rows), k.Columns);
            case ScatterKernel k when operand == 0:
                return (Literal(k.Rows), k.Columns);
            case ChooseKernel k when operand == 0:
                return (Literal(k.Rows), k.Experts);
            case ExpertProductKernel k when operand is 0 or 3:
                return (Literal(k.Rows), operand == 0 ? k.Depth : k.Columns);
            case ExpertGradientKernel k when operand < 2:
                return (k.Rows, operand == 0 ? k.MatrixRows : k.MatrixColumns);
            default:
                return (0, 0);
        }
    }

    private static (int Rows, int Columns) Touched(KernelOperand operand, IReadOnlyList<RowExtent> axes, int columns, Func<RowExtent, int>? count = null)
    {
        int rows = 1;
        for (int i = 0; i < axes.Count && i < operand.Access.RowStrides.Count; i++)
        {
            rows *= operand.Access.RowStrides[i].Coefficient != 0 ? (count ?? (e => Literal(e)))(axes[i]) : 1;
        }

        return (rows, operand.Access.ColumnStride != 0 ? columns : 1);
    }

    private static (int Rows, int Columns) OfAttention(KernelOperand operand, Attention op, int queries, int keys) => operand.Name switch
    {
        "q" or "output" or "d_output" or "dq" => (queries, op.Heads * op.HeadDim),
        "k" or "v" or "dk" or "dv" => (op.Range.IsCached ? 0 : keys, op.KeyValueHeads * op.HeadDim),
        _ => (0, 0),
    };

    /// <summary>The text without parentheses around all of it.</summary>
    private static string Bare(string text)
    {
        int depth = 0;
        for (int i = 0; i < text.Length; i++)
        {
            depth += text[i] switch { '(' => 1, ')' => -1, _ => 0 };
            if (depth == 0 && i < text.Length - 1)
            {
                return text;
            }
        }

        return text.Length > 1 && text[0] == '(' ? text.Substring(1, text.Length - 2) : text;
    }

    private static string ShapeOf(Kernel kernel) => kernel switch
    {
        RowKernel k => Shape(k.Rows, k.Operands.Any(o => o.IsWritten && o.Access.Kind is (AccessKind.Element or AccessKind.ColumnVector)) ? k.Columns : 1),
        MatMulKernel k => Shape(k.Rows, k.Columns),
        ColumnSumKernel k => Shape(k.KeptRows, k.Columns),
        EmbeddingKernel k => Shape(k.Rows, k.Columns),
        ExpertProductKernel k => Shape(k.Rows, k.Columns),
        RecurrenceKernel k => $"  [{k.Batch}, {k.Steps}, {k.Sizes.Heads}, {k.Sizes.ValueWidth}]",
        AppendRowsKernel k => $"  [{k.Batch}, {k.Rows}, {k.Columns}]",
        AttentionKernel k => $"  [{k.Batch}, {k.Queries}, {k.Op.Heads * k.Op.HeadDim}]",
        _ => "",
    };

    private static string Shape(RowExtent rows, int columns)
        => rows == RowExtent.Literal(1) ? (columns == 1 ? "" : $"  [{columns}]") : columns == 1 ? $"  [{rows}]" : $"  [{rows}, {columns}]";
}
