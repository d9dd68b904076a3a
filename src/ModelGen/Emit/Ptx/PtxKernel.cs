using System;
using System.Collections.Generic;
using System.Linq;
using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Kernels;

namespace ModelGen.Compiler.Emit.Ptx;

/// <summary>Where the numbers of a run lie in the record that every entry gets the address of, in bytes.</summary>
internal static class RunRecord
{
    public const int Seed = 0;
    public const int Position = 8;
    public const int Accumulate = 12;
    public const int LossNormalizer = 16;
    public const int GradientScale = 20;
    public const int Counts = 24;

    /// <summary>The counters at which blocks meet that stay for several kernels, a word each: zeros, as each run has a record of its own.</summary>
    public const int Meetings = 128;

    /// <summary>Bytes of a record with so many counts.</summary>
    public static int Bytes(int counts) => Counts + (4 * counts);
}

/// <summary>
/// What the entries of all kernel classes share: operands' addresses, counts, expressions. An entry gets the address of the run's record,
/// the step of the loop around it, the number of a kernel that draws, and of each operand the address of its first element at position, step and count zero.
/// </summary>
/// <param name="writer">Where instructions go.</param>
/// <param name="kernel">The kernel.</param>
/// <param name="counts">The extents that a run counts, in the order of its record.</param>
internal sealed class PtxKernel(PtxWriter writer, Kernel kernel, IReadOnlyList<Dim> counts)
{
    private readonly Dictionary<int, string> _bases = [];

    public PtxWriter W { get; } = writer;

    private string Run => W.Parameter(".u64", "run");

    /// <summary>The run's position in its sequence.</summary>
    public string Position => Loaded("u32", RunRecord.Position);

    public string Seed => Loaded("u64", RunRecord.Seed);

    /// <summary>What tells this kernel's draws from those of others, in registers or as literals: its own number, and in a loop whose steps read other places the step.</summary>
    public IEnumerable<string> Draws
        => kernel.Operands.Any(operand => operand.View.StepStride != 0) ? [W.Parameter(".u32", "draw"), W.Parameter(".u32", "step")] : [W.Parameter(".u32", "draw")];

    /// <summary>Whether gradients are added to those there are.</summary>
    public string Accumulates => W.Once("setp.ne.s32", Loaded("u32", RunRecord.Accumulate), "0");

    public string Scalar(RuntimeScalarKind kind) => Loaded("f32", kind == RuntimeScalarKind.LossNormalizer ? RunRecord.LossNormalizer : RunRecord.GradientScale);

    /// <summary>An operand.</summary>
    public KernelOperand Operand(int operand) => kernel.Operands[operand];

    /// <summary>A number of rows, as a register or a literal.</summary>
    public string Extent(RowExtent extent)
    {
        if (!extent.IsDynamic)
        {
            return PtxWriter.Int(extent.Coefficient);
        }

        string? product = null;
        foreach (Dim factor in extent.Factors)
        {
            string count = Count(factor.Symbol!);
            count = factor.Plus == 0 ? count : W.Once("add.s32", count, PtxWriter.Int(factor.Plus));
            product = product is null ? count : W.Once("mul.lo.s32", product, count);
        }

        return extent.Coefficient == 1 ? product! : W.Once("mul.lo.s32", product!, PtxWriter.Int(extent.Coefficient));
    }

    /// <summary>Has the entry do something only in runs of so many rows or more, or, <paramref name="isBelow"/>, of fewer.</summary>
    public void Only(RowExtent rows, int fewest, bool isBelow)
    {
        string other = W.Register('p');
        W.Ahead($"{(isBelow ? "setp.ge.s32" : "setp.lt.s32")} {other}, {Extent(rows)}, {PtxWriter.Int(fewest)};");
        W.Ahead($"@{other} bra {PtxWriter.Exit};");
    }

    /// <summary>Whether an operand lies in the memory that a block has for itself, whose addresses have 32 bits.</summary>
    public bool IsOfBlock(int operand) => kernel.Operands[operand].View.Buffer.Space == MemorySpace.Block;

    /// <summary>The state space of an operand, as loads and stores name it.</summary>
    public string SpaceOf(int operand) => IsOfBlock(operand) ? "shared" : "global";

    /// <summary>The address of an operand's first element in this run and step.</summary>
    public string Base(int operand)
    {
        if (IsOfBlock(operand))
        {
            return W.Parameter(".u32", FormattableString.Invariant($"p{operand}"));
        }

        if (!_bases.TryGetValue(operand, out string? address))
        {
            View view = kernel.Operands[operand].View;
            address = W.Once("cvta.to.global.u64", W.Parameter(".u64", FormattableString.Invariant($"p{operand}")));
            if (view.PositionStride != 0)
            {
                address = Moved(address, Position, view.PositionStride);
            }

            if (view.LastStride != 0)
            {
                address = Moved(address, W.Once("sub.s32", Count(view.LastExtent!), "1"), view.LastStride);
            }

            if (view.StepStride != 0)
            {
                address = Moved(address, W.Parameter(".u32", "step"), view.StepStride);
            }

            _bases.Add(operand, address);
        }

        return address;

        string Moved(string from, string index, long stride)
            => W.Once("add.s64", from, W.Once("mul.lo.s64", W.Once("cvt.s64.s32", index), PtxWriter.Int(stride * PlanBuffer.WordBytes)));
    }

    /// <summary>The address of an element so many further on than the first; null for the first.</summary>
    public string Address(int operand, string? element) => Address(operand, null, element);

    /// <summary>The address of an element so many further on than the one <paramref name="far"/> bytes behind the first.</summary>
    public string Address(int operand, string? far, string? element)
    {
        if (IsOfBlock(operand))
        {
            return far is not null ? throw new GraphException($"{kernel.Operands[operand].View.Buffer.Name} of a block has no rows far away")
                : element is null or "0" ? Base(operand) : W.Op("mad.lo.s32", element, PtxWriter.Int(PlanBuffer.WordBytes), Base(operand));
        }

        string first = far is null ? Base(operand) : W.Op("add.s64", Base(operand), far);
        int bytes = kernel.Operands[operand].Access.Format is { BlockElements: 1 } format ? format.BlockBytes : throw new GraphException($"elements of {kernel.Operands[operand].Access.Format} have no address");
        return element is null or "0" ? first : W.Op("add.s64", first, W.Op("mul.wide.s32", element, PtxWriter.Int(bytes)));
    }

    /// <summary>
    /// Bytes to a row that an index names, in 64 bits: the states of all sequences are more than 32 bits count. All other distances are
    /// within what <see cref="PtxEmitter.Reach"/> is for, and are counted in 32.
    /// </summary>
    public string Far(string row, long stride) => FarBytes(row, stride * PlanBuffer.WordBytes);

    /// <summary>The same, of rows so many bytes apart.</summary>
    public string FarBytes(string row, long bytes)
        => bytes <= int.MaxValue ? W.Op("mul.wide.s32", row, PtxWriter.Int(bytes)) : W.Op("mul.lo.s64", W.Op("cvt.s64.s32", row), PtxWriter.Int(bytes));

    /// <summary>Elements from an operand's first one to the first one of a row; null where that is the first one.</summary>
    public string? RowOffset(IReadOnlyList<RowExtent> axes, IReadOnlyList<RowExtent> strides, string row)
    {
        string? sum = null;
        RowExtent below = RowExtent.Literal(1);
        for (int last = axes.Count - 1; last >= 0;)
        {
            // A run of axes that follow each other evenly in this operand has one index.
            int first = last;
            RowExtent span = axes[last];
            while (first > 0 && strides[first - 1] == strides[first] * axes[first])
            {
                first--;
                span *= axes[first];
            }

            if (strides[last].Coefficient != 0 && span != RowExtent.Literal(1))
            {
                string index = below == RowExtent.Literal(1) ? row : W.Op("div.s32", row, Extent(below));
                index = first > 0 ? W.Op("rem.s32", index, Extent(span)) : index;
                sum = Sum(sum, Times(index, Extent(strides[last])));
            }

            below *= span;
            last = first - 1;
        }

        return sum;
    }

    public string? Sum(string? a, string? b) => a is null or "0" ? b : b is null or "0" ? a : W.Op("add.s32", a, b);

    public string Times(string index, string factor) => factor == "1" ? index : factor == "0" ? "0" : W.Op("mul.lo.s32", index, factor);

    /// <summary>An operand's element as a number to compute with.</summary>
    public string Number(int operand, string? element)
        => kernel.Operands[operand].Access.Element == ElementType.Int32 ? W.Op("cvt.rn.f32.s32", Load(operand, element)) : Load(operand, element);

    public string Load(int operand, string? element) => Load(operand, null, element);

    public string Load(int operand, string? far, string? element) => !kernel.Operands[operand].Access.Format.IsPlain ? throw new GraphException($"{kernel.Name} reads {kernel.Operands[operand].Access.Format} as words") : W.Op($"ld.{SpaceOf(operand)}.{(kernel.Operands[operand].Access.Element == ElementType.Int32 ? "u32" : "f32")}", $"[{Address(operand, far, element)}]");

    public void Store(int operand, string? element, string value, StoreMode mode) => Store(operand, null, element, value, mode);

    public void Store(int operand, string? far, string? element, string value, StoreMode mode)
    {
        string address = Address(operand, far, element), space = SpaceOf(operand);
        StorageFormat format = kernel.Operands[operand].Access.Format;
        if (!format.IsPlain)
        {
            string half = format == StorageFormat.BFloat16 && mode == StoreMode.Replace ? W.Op("cvt.rn.bf16.f32", value[0] == '%' ? value : W.Op("mov.f32", value)) : throw new GraphException($"{kernel.Name} stores {format}");
            W.Line($"st.global.b16 [{address}], {half};");
            return;
        }

        switch (mode)
        {
            case StoreMode.Replace:
                W.Line($"st.{space}.f32 [{address}], {value};");
                break;
            case StoreMode.Add:
                W.Line($"st.{space}.f32 [{address}], {W.Op("add.rn.f32", W.Op($"ld.{space}.f32", $"[{address}]"), value)};");
                break;
            default:
                // What is not to be added to is not read either: it may hold anything.
                string sum = W.Register('f');
                W.Set(sum, "mov.f32", value);
                W.If(Accumulates, () => W.Set(sum, "add.rn.f32", W.Op($"ld.{space}.f32", $"[{address}]"), value));
                W.Line($"st.{space}.f32 [{address}], {sum};");
                break;
        }
    }

    /// <summary>A sum over the lanes of a warp, or the largest of them, in every lane: the same tree whatever the run.</summary>
    public string AllLanes(string value, ReductionKind kind = ReductionKind.Sum) => Lanes(value, [16, 8, 4, 2, 1], kind);

    /// <summary>The same over the lanes that lie so far from each other.</summary>
    public string Lanes(string value, int[] distances, ReductionKind kind = ReductionKind.Sum)
    {
        foreach (int distance in distances)
        {
            string bits = W.Register('r'), other = W.Register('f');
            W.Set(bits, "mov.b32", value);
            W.Set(other, "mov.b32", W.Op("shfl.sync.bfly.b32", bits, PtxWriter.Int(distance), "31", "-1"));
            value = W.Op(kind == ReductionKind.Sum ? "add.rn.f32" : "max.NaN.f32", value, other);
        }

        return value;
    }

    /// <summary>The index of this thread among all that work on elements, with those behind the last one at the exit.</summary>
    public string Element(string total, int threads)
    {
        string index = W.Op("mad.lo.s32", W.Special("%ctaid.x"), PtxWriter.Int(threads), W.Special("%tid.x"));
        W.Line($"@{W.Op("setp.ge.u32", index, total)} bra {PtxWriter.Exit};");
        return index;
    }

    private string Count(string symbol)
    {
        int index = counts.ToList().FindIndex(c => c.Symbol == symbol);
        return index < 0 ? throw new GraphException($"no run counts {symbol}") : Loaded("u32", RunRecord.Counts + (4 * index));
    }

    private string Loaded(string type, int offset) => W.Once("ld.global." + type, FormattableString.Invariant($"[{W.Once("cvta.to.global.u64", Run)}+{offset}]"));
}

/// <summary>Expressions as instructions: each node once in its scope, what is the same for a whole row in the row's.</summary>
/// <param name="k">The kernel.</param>
/// <param name="operand">An operand's element.</param>
/// <param name="varies">Whether an operand differs between the columns of a row.</param>
internal sealed class PtxExpressions(PtxKernel k, Func<int, string> operand, Func<int, bool> varies)
{
    private readonly Dictionary<Expr, string> _row = [];
    private Dictionary<Expr, string> _element = [];
    private readonly ExprTable _table = new();
    private readonly Dictionary<Expr, bool> _varies = [];

    /// <summary>The accumulator of a product.</summary>
    public string Accumulator { get; set; } = "";

    /// <summary>The column being computed, and the position of its element in row-major order.</summary>
    public string Column { get; set; } = "";

    public string Position { get; set; } = "";

    /// <summary>Results of reductions.</summary>
    public Dictionary<int, string> RowValues { get; } = [];

    /// <summary>Begins another element.</summary>
    public void NextElement() => _element = [];

    /// <summary>Computes what does not vary along a row, ahead of the loop over its columns.</summary>
    public void Hoist(Expr root) => ExprTransforms.Visit(_table.Unify(root), e =>
    {
        if (!Varies(e))
        {
            Value(e);
        }
    });

    public string Of(Expr expr) => Value(_table.Unify(expr));

    private string Value(Expr expr)
    {
        if (expr is ConstantExpr constant)
        {
            return PtxWriter.Float(constant.Value);
        }

        Dictionary<Expr, string> known = Varies(expr) ? _element : _row;
        if (!known.TryGetValue(expr, out string? value))
        {
            value = expr switch
            {
                OperandExpr o => operand(o.Operand),
                AccumulatorExpr => Accumulator,
                RowValueExpr r => RowValues[r.Index],
                ColumnExpr => Column == "0" ? PtxWriter.Float(0) : k.W.Op("cvt.rn.f32.s32", Column),
                RuntimeScalarExpr s => k.Scalar(s.Kind),
                UniformExpr u => PtxFunctions.Uniform(k.W, Position, u.Stream, k.Seed),
                UnaryExpr u => PtxFunctions.Apply(k.W, u.Function, Value(u.Operand)),
                BinaryExpr { Function: BinaryFunction.Add, Left: BinaryExpr { Function: BinaryFunction.Multiply } m } b when !known.ContainsKey(m) => PtxFunctions.Fma(k.W, Value(m.Left), Value(m.Right), Value(b.Right)),
                BinaryExpr { Function: BinaryFunction.Add, Right: BinaryExpr { Function: BinaryFunction.Multiply } m } b when !known.ContainsKey(m) => PtxFunctions.Fma(k.W, Value(m.Left), Value(m.Right), Value(b.Left)),
                BinaryExpr b => PtxFunctions.Apply(k.W, b.Function, Value(b.Left), Value(b.Right)),
                SelectExpr s => k.W.Op("selp.f32", Value(s.Then), Value(s.Otherwise), k.W.Op($"setp.{Comparing(s.Comparison)}.f32", Value(s.Left), Value(s.Right))),
                _ => throw new GraphException($"{expr.GetType().Name} is not known here"),
            };
            known[expr] = value;
        }

        return value;
    }

    private bool Varies(Expr expr)
    {
        if (!_varies.TryGetValue(expr, out bool result))
        {
            result = expr switch
            {
                OperandExpr o => varies(o.Operand),
                ColumnExpr or UniformExpr or AccumulatorExpr => true,
                _ => ExprTransforms.Children(expr).Any(Varies),
            };
            _varies.Add(expr, result);
        }

        return result;
    }

    private static string Comparing(Comparison comparison) => comparison switch
    {
        Comparison.Equal => "eq",
        Comparison.GreaterThan => "gt",
        _ => "ge",
    };
}
